//! Bundles and certificate files: damaged ones, unfinished ones, and those that no program reads. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{StoreFinding, What, command, repair, shown};
use crate::error::Result;
use crate::pki::cert::readers::{self, Reader as PemReader};
use crate::pki::cert::{Certificate, Purpose, input, malformed_part, pem};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::trust::facts::Facts;
use crate::trust::updater::{OutputKind, rehash};
use crate::trust::view::View;

/// The files that a killed update of the family leaves.
pub(in crate::doctor) fn leftovers_of(view: &View, facts: &Facts) -> Result<Vec<String>> {
    let known = facts.row.updater.native().map_or(&[][..], |tool| tool.leftovers);
    let mut there = Vec::new();
    for path in known {
        if *view.actual(path)? != Node::Absent {
            there.push((*path).to_owned());
        }
    }
    Ok(there)
}

pub(super) fn leftovers(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    for path in leftovers_of(view, facts)? {
        found.push(StoreFinding {
            kind: What::KilledUpdate,
            place: shown(view, &path),
            what: "the unfinished file of an update that was killed".to_owned(),
            why: "the next run of the distribution's update appends to it, and roots are there twice",
            first_to_change: repair(view),
            mendable: true,
        });
    }
    Ok(())
}

/// The faults in the bytes of a bundle.
pub(in crate::doctor) struct BundleFaults {
    pub(in crate::doctor) joined: bool,
    /// Where and what, if a program loses a root because of it.
    pub(in crate::doctor) damaged: Option<String>,
    pub(in crate::doctor) no_final_newline: bool,
}

/// Inspects a bundle as its readers do.
pub(in crate::doctor) fn inspect_bundle(content: &[u8], purpose: Option<Purpose>) -> BundleFaults {
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

/// Certificates in a bundle that trustup would not install: GnuTLS, for one, loads no root of a bundle in which a subject
/// alternative name is malformed (threat T39).
pub(super) fn malformed_certificates(
    view: &View,
    facts: &Facts,
    found: &mut Vec<StoreFinding>,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::Bundle) {
        for certificate in view.actual_certificates(&output.path).unwrap_or_default() {
            if let Some(part) = malformed_part(certificate.der())
                && seen.insert(certificate.fingerprint())
            {
                found.push(StoreFinding {
                    kind: What::MalformedCertificate,
                    place: shown(view, &output.path),
                    what: format!(
                        "{} ({}) is malformed: {part}",
                        certificate.subject(),
                        certificate.fingerprint()
                    ),
                    why: "some programs refuse the whole bundle for such a certificate, GnuTLS among them",
                    first_to_change: format!(
                        "remove it from the files that the bundle is made of; to make the bundle again: `{}`",
                        facts.row.install_hint
                    ),
                    mendable: false,
                });
            }
        }
    }
    Ok(())
}

/// Certificate files that spoil the bundle whenever the distribution's own update runs.
pub(super) fn broken_inputs(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    for input in facts.row.updater.broken_inputs(view)? {
        let place = shown(view, &input.path);
        found.push(StoreFinding {
            kind: What::BrokenInput,
            what: format!("{}", input.fault),
            why: "the distribution's update copies it into the bundle, and programs then lose roots",
            first_to_change: if input.certificates.is_empty() {
                format!("remove `{place}`, or put a readable certificate there")
            } else {
                let install = command(view, &format!("bootstrap --ca-file {place}"));
                format!("{install} installs what is in it from a file of its own; then remove `{place}`")
            },
            mendable: false,
            place,
        });
    }
    Ok(())
}

pub(super) fn bundles(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    let managed = facts.row.updater.is_managed(view)?;
    let mut seen = BTreeSet::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::Bundle) {
        let Ok(Some((location, node))) = view.follow_actual(&output.path) else { continue };
        let Node::File(file) = node.as_ref() else { continue };
        if !seen.insert(location) {
            continue;
        }
        let faults = inspect_bundle(&file.content, output.purpose);
        let mut add = |kind, what: &str, why, mendable: bool| {
            found.push(StoreFinding {
                kind,
                place: shown(view, &output.path),
                what: what.to_owned(),
                why,
                first_to_change: if mendable {
                    repair(view)
                } else {
                    format!("remove the block from it; to make it again: `{}`", facts.row.install_hint)
                },
                mendable,
            });
        };
        if faults.joined {
            let why = "OpenSSL, and everything built on it, refuses the whole file";
            add(What::JoinedBlocks, "a certificate begins on the line on which another ends", why, true);
        }
        if faults.no_final_newline {
            let why = "appending a certificate joins two lines, and OpenSSL then refuses the whole file";
            add(What::NoFinalNewline, "it does not end with a line end", why, true);
        }
        if let Some(damage) = &faults.damaged {
            let why = "programs lose roots, or all of them";
            let repairable = (managed || output.purpose.is_some()) && !file.mount_point;
            add(What::DamagedBlock, damage, why, repairable);
        }
    }
    Ok(())
}

/// The anchor files whose certificates a bundle for TLS clients lacks: path of the file, certificate, path of the bundle.
pub(in crate::doctor) fn out_of_step_anchors(
    view: &View,
    facts: &Facts,
) -> Result<Vec<(String, Certificate, String)>> {
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
            let lacks = |output: &&crate::trust::updater::Output| {
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

/// Files with certificates in the anchor directory that the distribution's update ignores, or cannot read.
pub(super) fn unread_inputs(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    let updater = facts.row.updater;
    let Some(directory) = updater.anchor_directory() else { return Ok(()) };
    let read: BTreeMap<String, Vec<Certificate>> = updater.standing(view)?.into_iter().collect();
    let broken = updater.broken_inputs(view)?;
    let vendor = updater.vendor_names(view)?;
    for name in view.names(directory.path)? {
        let path = child(directory.path, &name);
        let stem = name.strip_suffix(directory.extension).unwrap_or(&name);
        // The anchor directory may be an output, too.
        let is_output = rehash::parse_name(&name).is_some()
            || vendor.iter().any(|known| known == stem)
            || facts.outputs.iter().any(|output| output.path == path);
        let is_known = is_output
            || read.get(&path).is_some_and(|certificates| !certificates.is_empty())
            || broken.iter().any(|input| input.path == path);
        let Some((_, node)) = view.follow(&path)? else { continue };
        let (false, Node::File(file)) = (is_known, node.as_ref()) else { continue };
        let holds_certificates = input::read(&file.content, &path).is_ok();
        if holds_certificates {
            let place = shown(view, &path);
            let what = match readers::faults(&file.content).first() {
                _ if !read.contains_key(&path) => {
                    "the distribution's update does not read files of this name".to_owned()
                }
                Some(fault) => fault.to_string(),
                None => "it is not a plain PEM certificate".to_owned(),
            };
            found.push(StoreFinding {
                kind: What::UnreadInput,
                what,
                why: "the distribution's update does not take the certificate from this file, so that no program trusts it",
                first_to_change: command(view, &format!("bootstrap --ca-file {place}")),
                mendable: false,
                place,
            });
        }
    }
    Ok(())
}

pub(super) fn out_of_step(view: &View, facts: &Facts, found: &mut Vec<StoreFinding>) -> Result<()> {
    let managed = facts.row.updater.is_managed(view)?;
    for (path, certificate, bundle) in out_of_step_anchors(view, facts)? {
        found.push(StoreFinding {
            kind: What::OutOfStep,
            place: shown(view, &path),
            what: format!("{} is not in `{bundle}`", certificate.subject()),
            why: "no program reads an anchor file alone: the stores must be made from it",
            first_to_change: if managed {
                repair(view)
            } else {
                command(view, &format!("bootstrap --ca-file {}", shown(view, &path)))
            },
            mendable: managed,
        });
    }
    Ok(())
}
