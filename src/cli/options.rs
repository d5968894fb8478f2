//! Options of every command, and those about what is printed.

use clap::Arg;

use crate::cli::ui::Color;
use crate::settings::rows::{ALLOW_SHARED_DIRECTORY, DRY_RUN, PRIVATE_DIR, SYSROOT, TIMEOUT, WAIT};
use crate::settings::{Flag, Opt, Taken};
use crate::trust::target::DISTRIBUTION;

pub(super) static JSON: Opt<bool> =
    Opt::switch("json").help("Print plan and result as one JSON object on stdout");
pub(super) static VERBOSE: Opt<bool> =
    Opt::switch("verbose").short('v').help("Show every step and its reason");
pub(super) static QUIET: Opt<bool> =
    Opt::switch("quiet").short('q').excludes(&["verbose"]).help("Print errors only");
pub(super) static COLOR: Opt<Color> =
    Opt::words("color", "WHEN").default("auto", || Color::Auto).help("When to use colour");

const HEADING: &str = "Options of every command";

pub(super) static GLOBAL: &[Taken] = &[
    SYSROOT.taken().under(HEADING),
    DISTRIBUTION.taken().under(HEADING),
    PRIVATE_DIR.taken().under(HEADING),
    ALLOW_SHARED_DIRECTORY.taken().under(HEADING),
    DRY_RUN.taken().under(HEADING),
    JSON.taken().under(HEADING),
    VERBOSE.taken().under(HEADING),
    QUIET.taken().under(HEADING),
    COLOR.taken().under(HEADING),
    TIMEOUT.taken().under(HEADING),
    WAIT.taken().under(HEADING),
];

/// As clap arguments; published variables are not arguments.
pub(super) fn args(taken: &[Taken]) -> impl Iterator<Item = Arg> {
    taken.iter().filter(|taken| taken.row.spec().flag != Flag::Absent).map(Taken::arg)
}

/// Nothing but options.
pub(super) fn plain(command: clap::Command, own: &[Taken]) -> clap::Command {
    command.args(args(own))
}
