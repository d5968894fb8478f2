//! What others left in the stores, and in the variables: links that lead nowhere, files of an update that was killed,
//! bundles that programs refuse, roots replaced by one, anchors that no store knows. Looks only; what of it is ours to
//! mend is mended by `bootstrap --repair` ([`super::repair`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cert::{Certificate, Purpose, input, pem};
use crate::dev_ca::ROOT_NAME;
use crate::env::Env;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::sysroot::Kind;
use crate::text;
use crate::tree::Node;
use crate::trust::facts::Facts;
use crate::trust::readers::{self, Reader as PemReader, openssl};
use crate::trust::runtimes::{Effect, TABLE as VARIABLES};
use crate::trust::updater::{OutputKind, rehash};
use crate::trust::view::{View, child};

/// A root that lives no longer (seconds) is one of a throwaway CA: threat T25's lives 30 days.
const SHORT_LIFE: i64 = 31 * 24 * 3600;
/// What development CAs, ours and others', call their roots.
const DEVELOPMENT: [&str; 4] = [ROOT_NAME, "mkcert development CA", "Caddy Local Authority", "localhost"];
/// A bundle with fewer times as many roots as the system's is no whole one.
const FEWER: usize = 4;
/// How many names are shown of a group.
const SHOWN: usize = 3;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Hash links that lead nowhere.
    DanglingHashLinks,
    /// Hash links to a certificate of another name, or behind a hole in the numbers.
    StaleHashLinks,
    /// Certificates of a hash directory without a hash link.
    MissingHashLinks,
    /// The unfinished file of a killed update.
    KilledUpdate,
    /// END and BEGIN on one line.
    JoinedBlocks,
    /// No line end at the end: whoever appends joins two blocks.
    NoFinalNewline,
    /// A block that some programs cannot read.
    DamagedBlock,
    /// A certificate file in the anchor directory that no program reads.
    UnreadInput,
    /// A certificate file that would spoil the bundle at the next run of the distribution's update.
    BrokenInput,
    /// A variable that puts a few roots in the place of all.
    FewRoots,
    /// A variable that names what is not there.
    MissingFile,
    /// An anchor file whose certificate is in no bundle.
    OutOfStep,
    /// A root of a development CA.
    DevelopmentRoot,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: What,
    /// Where: a path, or a variable.
    pub place: String,
    /// What was found, for people.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// The first thing to do.
    pub first_to_change: String,
    /// Whether `bootstrap --repair` mends it.
    pub mendable: bool,
}

const REPAIR: &str = "`trustup bootstrap --repair` repairs it";

/// Looks through the stores of `facts` and the variables of `env`.
///
/// # Errors
/// A store cannot be read.
pub fn findings(view: &View, facts: &Facts, env: &Env) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for output in &facts.outputs {
        if output.kind == OutputKind::HashDirectory {
            hash_links(view, &output.path, &mut found)?;
            missing_hash_links(view, facts, &output.path, &mut found)?;
        }
    }
    leftovers(view, facts, &mut found)?;
    bundles(view, facts, &mut found)?;
    broken_inputs(view, facts, &mut found)?;
    unread_inputs(view, facts, &mut found)?;
    variables(view, facts, env, &mut found)?;
    out_of_step(view, facts, &mut found)?;
    development_roots(view, facts, &mut found)?;
    Ok(found)
}

/// What is wrong with the hash links of a directory.
#[derive(Debug, Default)]
pub(super) struct HashLinks {
    /// Names of links that lead nowhere.
    pub(super) dangling: BTreeSet<String>,
    /// Names of those that OpenSSL does not find, or finds in vain.
    pub(super) stale: BTreeSet<String>,
}

/// Looks at every hash link of a directory as it stands.
pub(super) fn look_at_hash_links(view: &View, directory: &str) -> Result<HashLinks> {
    let mut links = HashLinks::default();
    let mut next: BTreeMap<u32, usize> = BTreeMap::new();
    let mut names: Vec<(u32, usize, String)> = view
        .actual_names(directory)?
        .into_iter()
        .filter_map(|name| rehash::parse_name(&name).map(|(hash, number)| (hash, number, name)))
        .collect();
    names.sort();
    for (hash, number, name) in names {
        let path = child(directory, &name);
        let is_link = matches!(view.actual(&path)?.as_ref(), Node::Link { .. });
        let Ok(Some((location, node))) = view.follow_actual(&path) else {
            links.dangling.insert(name);
            continue;
        };
        let of_name = |one: &Certificate| one.subject_hash() == hash || one.subject_hash_old() == hash;
        let fits = view.contents(&location, &node).certificates.iter().any(of_name);
        let expected = next.entry(hash).or_default();
        if *expected == number && fits {
            *expected += 1;
        } else if is_link {
            links.stale.insert(name);
        }
    }
    Ok(links)
}

fn hash_links(view: &View, directory: &str, found: &mut Vec<Finding>) -> Result<()> {
    let links = look_at_hash_links(view, directory)?;
    let place = shown(view, directory);
    if !links.dangling.is_empty() {
        found.push(Finding {
            kind: What::DanglingHashLinks,
            place: place.clone(),
            what: format!(
                "{} lead nowhere: {}",
                count(links.dangling.len(), "hash link"),
                group(&links.dangling)
            ),
            why: "OpenSSL ends its search at a link that leads nowhere, and misses what is numbered after it",
            first_to_change: REPAIR.to_owned(),
            mendable: true,
        });
    }
    if !links.stale.is_empty() {
        found.push(Finding {
            kind: What::StaleHashLinks,
            place,
            what: format!(
                "{} of another certificate's name, or behind a hole in the numbers: {}",
                count(links.stale.len(), "hash link"),
                group(&links.stale)
            ),
            why: "OpenSSL does not find these certificates in the directory",
            first_to_change: REPAIR.to_owned(),
            mendable: true,
        });
    }
    Ok(())
}

/// The certificates of a hash directory that OpenSSL does not find there, since no link has their hash: the names of
/// their files. Nothing where no package makes the links.
pub(super) fn look_for_missing_hash_links(
    view: &View,
    facts: &Facts,
    directory: &str,
) -> Result<BTreeSet<String>> {
    let mut missing = BTreeSet::new();
    if !facts.row.updater.is_managed(view)? {
        return Ok(missing);
    }
    let names = view.actual_names(directory)?;
    let mut linked: BTreeSet<(u32, Fingerprint)> = BTreeSet::new();
    for name in &names {
        if let Some((hash, _)) = rehash::parse_name(name)
            && let Ok(Some((location, node))) = view.follow_actual(&child(directory, name))
        {
            let contents = view.contents(&location, &node);
            linked.extend(contents.certificates.iter().map(|one| (hash, one.fingerprint())));
        }
    }
    let bundles: BTreeSet<&str> = facts
        .outputs
        .iter()
        .filter(|output| output.kind == OutputKind::Bundle)
        .map(|output| output.path.as_str())
        .collect();
    for name in names.iter().filter(|name| rehash::is_candidate(name)) {
        let path = child(directory, name);
        if bundles.contains(path.as_str()) {
            continue;
        }
        let Ok(Some((location, node))) = view.follow_actual(&path) else { continue };
        let Node::File(file) = node.as_ref() else { continue };
        let contents = view.contents(&location, &node);
        // A file of several certificates gets no link.
        if openssl::only_certificate(&file.content).is_some()
            && let [certificate] = contents.certificates.as_slice()
            && !linked.contains(&(certificate.subject_hash(), certificate.fingerprint()))
        {
            missing.insert(name.clone());
        }
    }
    Ok(missing)
}

fn missing_hash_links(view: &View, facts: &Facts, directory: &str, found: &mut Vec<Finding>) -> Result<()> {
    let missing = look_for_missing_hash_links(view, facts, directory)?;
    if !missing.is_empty() {
        found.push(Finding {
            kind: What::MissingHashLinks,
            place: shown(view, directory),
            what: format!("no hash link for {}: {}", count(missing.len(), "certificate"), group(&missing)),
            why: "OpenSSL does not find these certificates in the directory",
            first_to_change: REPAIR.to_owned(),
            mendable: true,
        });
    }
    Ok(())
}

/// The first few names.
fn group(names: &BTreeSet<String>) -> String {
    let first: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", text::escape(name))).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// The files that a killed update of the family leaves.
pub(super) fn leftovers_of(view: &View, facts: &Facts) -> Result<Vec<String>> {
    let known = facts.row.updater.native().map_or(&[][..], |tool| tool.leftovers);
    let mut there = Vec::new();
    for path in known {
        if *view.actual(path)? != Node::Absent {
            there.push((*path).to_owned());
        }
    }
    Ok(there)
}

fn leftovers(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
    for path in leftovers_of(view, facts)? {
        found.push(Finding {
            kind: What::KilledUpdate,
            place: shown(view, &path),
            what: "the unfinished file of an update that was killed".to_owned(),
            why: "the next run of the distribution's update appends to it, and roots are there twice",
            first_to_change: REPAIR.to_owned(),
            mendable: true,
        });
    }
    Ok(())
}

/// What is wrong with the bytes of a bundle.
pub(super) struct BundleFaults {
    pub(super) joined: bool,
    /// Where and what, if a program loses a root for it.
    pub(super) damaged: Option<String>,
    pub(super) no_final_newline: bool,
}

/// Looks at a bundle as its readers do.
pub(super) fn inspect_bundle(content: &[u8], purpose: Option<Purpose>) -> BundleFaults {
    let blocks = pem::blocks(content);
    let readers: &[PemReader] =
        if purpose.is_some() { &PemReader::OF_BUNDLES } else { &[PemReader::OpenSsl] };
    let joined = blocks.iter().any(|block| block.der.is_some() && !block.own_lines);
    BundleFaults {
        joined,
        // Blocks that share a line are a matter of their own.
        damaged: readers::read(content, readers).problem().filter(|_| !joined),
        no_final_newline: !blocks.is_empty() && !content.ends_with(b"\n"),
    }
}

/// Certificate files that spoil the bundle whenever the distribution's own update runs.
fn broken_inputs(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
    for input in facts.row.updater.broken_inputs(view)? {
        let place = shown(view, &input.path);
        found.push(Finding {
            kind: What::BrokenInput,
            what: format!("{}", input.fault),
            why: "the distribution's update copies it into the bundle, and programs then lose roots",
            first_to_change: if input.certificates.is_empty() {
                format!("remove `{place}`, or put a readable certificate there")
            } else {
                format!("write it anew: `openssl x509 -in {place} -out {place}`, or remove it")
            },
            mendable: false,
            place,
        });
    }
    Ok(())
}

fn bundles(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
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
            found.push(Finding {
                kind,
                place: shown(view, &output.path),
                what: what.to_owned(),
                why,
                first_to_change: if mendable {
                    REPAIR.to_owned()
                } else {
                    format!("take the block out of it; to make it anew: `{}`", facts.row.install_hint)
                },
                mendable,
            });
        };
        if faults.joined {
            let why = "OpenSSL, and all that is built on it, refuses the whole file";
            add(What::JoinedBlocks, "a certificate begins on the line on which another ends", why, true);
        }
        if faults.no_final_newline {
            let why = "who appends a certificate joins two lines, and OpenSSL refuses the whole file then";
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

fn variables(view: &View, facts: &Facts, env: &Env, found: &mut Vec<Finding>) -> Result<()> {
    let of_servers = facts.outputs.iter().filter(|output| output.purpose == Some(Purpose::ServerAuth));
    let bundle = of_servers.clone().find(|output| output.kind == OutputKind::Bundle);
    let bundle_roots =
        bundle.and_then(|bundle| facts.offers.get(&bundle.path)).map_or(0, |offer| offer.roots.len());
    for row in VARIABLES {
        let Some(value) = env.var(row.name) else { continue };
        let paths: Vec<&str> = match row.effect {
            // Options of which a keystore may be one: Java's own row tells.
            Effect::JavaOptions => continue,
            Effect::ReplacesDirectory => value.split(':').filter(|path| !path.is_empty()).collect(),
            Effect::Replaces | Effect::Adds => vec![value],
        };
        let mut roots = 0;
        let mut missing = false;
        for path in paths {
            match view.sysroot().stat(path).ok().flatten() {
                None => {
                    missing = true;
                    found.push(Finding {
                        kind: What::MissingFile,
                        place: row.name.to_owned(),
                        what: format!("it names `{}`, which is not there", text::escape(path)),
                        why: "some of its readers stop with an error, others go on without any root",
                        first_to_change: match bundle {
                            Some(bundle) => format!("unset {}, or set it to `{}`", row.name, bundle.path),
                            None => format!("unset {}", row.name),
                        },
                        mendable: false,
                    });
                }
                Some(meta) if meta.kind == Kind::Directory => {
                    for name in view.actual_names(path)? {
                        roots += view.actual_certificates(&child(path, &name)).map_or(0, |found| found.len());
                    }
                }
                Some(_) => roots += view.actual_certificates(path).map_or(0, |found| found.len()),
            }
        }
        if row.effect != Effect::Adds && !missing && roots * FEWER < bundle_roots {
            let path = bundle.map_or("", |bundle| &bundle.path);
            found.push(Finding {
                kind: What::FewRoots,
                place: row.name.to_owned(),
                what: format!(
                    "it names `{}`, with {}; the system has {bundle_roots}",
                    text::escape(value),
                    count(roots, "root")
                ),
                why: "it does not add to the roots of its readers, it replaces them: they trust these and no others",
                first_to_change: format!("unset {}, or set it to `{path}`", row.name),
                mendable: false,
            });
        }
    }
    Ok(())
}

/// The anchor files whose certificates a bundle for TLS clients lacks: path of the file, certificate, path of the bundle.
pub(super) fn out_of_step_anchors(view: &View, facts: &Facts) -> Result<Vec<(String, Certificate, String)>> {
    let updater = facts.row.updater;
    let mut lacking = Vec::new();
    let Some(directory) = updater.anchor_directory() else { return Ok(lacking) };
    let mut files: BTreeMap<String, Vec<Certificate>> = updater.standing(view)?.into_iter().collect();
    for path in view.ours().files.iter().filter(|path| path.starts_with(&format!("{}/", directory.path))) {
        files.insert(path.clone(), view.actual_certificates(path).unwrap_or_default());
    }
    for (path, certificates) in files {
        for certificate in certificates {
            if updater.left_out(view, &certificate)?.is_some() || !certificate.allows(Purpose::ServerAuth) {
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

/// Files with certificates in the anchor directory that the distribution's update does not read, or reads in vain.
fn unread_inputs(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
    let updater = facts.row.updater;
    let Some(directory) = updater.anchor_directory() else { return Ok(()) };
    let read: BTreeMap<String, Vec<Certificate>> = updater.standing(view)?.into_iter().collect();
    let broken = updater.broken_inputs(view)?;
    let vendor = updater.vendor_names(view)?;
    for name in view.names(directory.path)? {
        let path = child(directory.path, &name);
        let stem = name.strip_suffix(directory.extension).unwrap_or(&name);
        // The directory of the anchors may be an output, too.
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
            found.push(Finding {
                kind: What::UnreadInput,
                what,
                why: "the distribution's update does not take the certificate from this file, so that no program trusts it",
                first_to_change: format!("`trustup bootstrap --ca-file {place}`"),
                mendable: false,
                place,
            });
        }
    }
    Ok(())
}

/// What `bootstrap --repair` should have repaired and did not, in the same form as every finding.
///
/// # Errors
/// A store cannot be read.
pub fn unrepaired(view: &View, facts: &Facts) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::HashDirectory) {
        hash_links(view, &output.path, &mut found)?;
        missing_hash_links(view, facts, &output.path, &mut found)?;
    }
    leftovers(view, facts, &mut found)?;
    bundles(view, facts, &mut found)?;
    out_of_step(view, facts, &mut found)?;
    Ok(found)
}

fn out_of_step(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
    let managed = facts.row.updater.is_managed(view)?;
    for (path, certificate, bundle) in out_of_step_anchors(view, facts)? {
        found.push(Finding {
            kind: What::OutOfStep,
            place: shown(view, &path),
            what: format!("{} is not in `{bundle}`", certificate.subject()),
            why: "an anchor file alone is trusted by nobody: the stores have to be made from it",
            first_to_change: if managed {
                REPAIR.to_owned()
            } else {
                format!("`trustup bootstrap --ca-file {}`", text::escape(&path))
            },
            mendable: managed,
        });
    }
    Ok(())
}

fn development_roots(view: &View, facts: &Facts, found: &mut Vec<Finding>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for output in facts.outputs.iter().filter(|output| output.kind == OutputKind::Bundle) {
        for root in view.actual_certificates(&output.path).unwrap_or_default() {
            let label = root.label();
            let short = root.not_after() - root.not_before() <= SHORT_LIFE;
            let known = DEVELOPMENT.iter().any(|name| label.starts_with(name));
            if (short || known) && seen.insert(root.fingerprint()) {
                found.push(Finding {
                    kind: What::DevelopmentRoot,
                    place: shown(view, &output.path),
                    what: format!("{} is a root of a development CA ({})", root.subject(), root.fingerprint()),
                    why: "whoever has the key of such a CA, which is kept for convenience, can be any server for this system",
                    first_to_change: "keep it out of images that leave your machine: `trustup untrust` takes out what trustup put in".to_owned(),
                    mendable: false,
                });
            }
        }
    }
    Ok(())
}

fn shown(view: &View, path: &str) -> String {
    text::escape(&view.sysroot().display(path))
}

/// `1 root`, `2 roots`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
