//! The root file system that a command works on.

use clap::builder::{PossibleValuesParser, ValueParser};

use crate::error::Result;
use crate::rootfs::Sysroot;
use crate::rootfs::image::refuse_other_than_root;
use crate::settings::{Opt, Settings};
use crate::trust::distro::DISTROS;

pub(crate) static DISTRIBUTION: Opt<String> = Opt::one_of(
    "distribution",
    "ROW",
    distribution_words,
    |text| Ok(text.to_owned()),
)
.clap(distribution_parser)
.hides_words()
.help(
    "Treat the root file system as this distribution, whatever its os-release says (`trustup detect --list`)",
);
fn distribution_words() -> Vec<String> {
    DISTROS.iter().map(|row| row.id.to_owned()).collect()
}

fn distribution_parser() -> ValueParser {
    PossibleValuesParser::new(DISTROS.iter().map(|row| row.id)).into()
}

/// The root file system of these settings, treated as the named distribution.
///
/// # Errors
/// It does not exist, or holds no root file system.
pub(crate) fn sysroot(settings: &Settings) -> Result<Sysroot> {
    let sysroot = Sysroot::open(settings.root())?;
    // The root that we run in is one, whatever is in it: an image FROM scratch has nothing but trustup.
    if !sysroot.is_host() {
        refuse_other_than_root(&sysroot)?;
    }
    Ok(sysroot.with_distribution(settings.get(&DISTRIBUTION).cloned()))
}
