//! Damage that other programs left in bundles, in the files of a killed update, and between anchors and bundles. Only
//! reads.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::pki::cert::readers::{self, Reader as PemReader};
use crate::pki::cert::{Certificate, Purpose, pem};
use crate::rootfs::tree::Node;
use crate::trust::facts::Facts;
use crate::trust::updater::{Output, OutputKind};
use crate::trust::view::View;

/// The files that a killed update of the family leaves.
pub(crate) fn leftovers(view: &View, facts: &Facts) -> Result<Vec<String>> {
    let known = facts.row.updater.native().map_or(&[][..], |tool| tool.leftovers);
    let mut there = Vec::new();
    for path in known {
        if *view.actual(path)? != Node::Absent {
            there.push((*path).to_owned());
        }
    }
    Ok(there)
}

/// The faults in the bytes of a bundle.
pub(crate) struct BundleFaults {
    pub(crate) joined: bool,
    /// Where and what, if a program loses a root because of it.
    pub(crate) damaged: Option<String>,
    pub(crate) no_final_newline: bool,
}

/// Inspects a bundle as its readers do.
pub(crate) fn inspect_bundle(content: &[u8], purpose: Option<Purpose>) -> BundleFaults {
    let blocks = pem::blocks(content);
    let readers: &[PemReader] =
        if purpose.is_some() { &PemReader::OF_BUNDLES } else { &[PemReader::OpenSsl] };
    let joined = blocks.iter().any(|block| block.der.is_some() && !block.own_lines);
    BundleFaults {
        joined,
        // Blocks that share a line are a separate finding.
        damaged: readers::read(content, readers).problem().filter(|_| !joined),
        no_final_newline: !blocks.is_empty() && !content.ends_with(b"\n"),
    }
}

/// The anchor files whose certificates a bundle for TLS clients lacks: path of the file, certificate, path of the bundle.
pub(crate) fn out_of_step_anchors(view: &View, facts: &Facts) -> Result<Vec<(String, Certificate, String)>> {
    let updater = facts.row.updater;
    let mut lacking = Vec::new();
    let Some(directory) = updater.anchor_directory() else { return Ok(lacking) };
    let mut files: BTreeMap<String, Vec<Certificate>> = updater.standing(view)?.into_iter().collect();
    for path in view.ours().files.iter().filter(|path| path.starts_with(&format!("{}/", directory.path))) {
        files.insert(path.clone(), view.actual_certificates(path).unwrap_or_default());
    }
    let left_out = updater.left_out(view)?;
    for (path, certificates) in files {
        for certificate in certificates {
            if left_out(&certificate).is_some() || !certificate.allows(Purpose::ServerAuth) {
                continue;
            }
            let lacks = |output: &&Output| {
                let holds = || match facts.offers.get(&output.path) {
                    // Damage is a finding of its own, which hides every root.
                    Some(offer) if offer.damage.is_some() => {
                        view.actual_certificates(&output.path).is_some_and(|held| held.contains(&certificate))
                    }
                    offer => offer.is_some_and(|offer| offer.roots.contains_key(&certificate.fingerprint())),
                };
                output.kind == OutputKind::Bundle && output.purpose == Some(Purpose::ServerAuth) && !holds()
            };
            if let Some(output) = facts.outputs.iter().find(lacks) {
                lacking.push((path.clone(), certificate.clone(), output.path.clone()));
            }
        }
    }
    Ok(lacking)
}
