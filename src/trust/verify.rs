//! Proof by reading back: which roots each output really offers, before and after, compared as sets of fingerprints
//! (threat T5). Success is reported only after this.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::pki::cert::readers::{self, Reader, Reading, openssl};
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::content::Content;
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::text;
use crate::trust::cacerts;
use crate::trust::p11_format::certificates_in_edk2;
use crate::trust::updater::rehash;
use crate::trust::updater::{Output, OutputKind};
use crate::trust::view::{FileCertificates, View};

/// How many lost roots a message names.
const NAMED: usize = 20;

/// What an output offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    /// How it is read.
    pub(crate) kind: Option<OutputKind>,
    /// The purpose for which its roots are trusted.
    pub(crate) purpose: Option<Purpose>,
    /// The roots, and a name for each.
    pub(crate) roots: BTreeMap<Fingerprint, String>,
    /// Why it cannot be read as what it is.
    pub(crate) damage: Option<String>,
    /// Whether it is there.
    pub(crate) exists: bool,
    /// Whether something is mounted exactly at this path.
    pub(crate) mount_point: bool,
}

/// What each output offers, by path.
pub(crate) type Offers = BTreeMap<String, Offer>;

/// Which of the two trees is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The current tree.
    Actual,
    /// The tree without us.
    Original,
}

impl Side {
    fn follow(self, view: &View, path: &str) -> Result<Option<(String, Rc<Node>)>> {
        match self {
            Side::Actual => view.follow_actual(path),
            Side::Original => view.follow(path),
        }
    }

    fn names(self, view: &View, path: &str) -> Result<Vec<String>> {
        match self {
            Side::Actual => view.actual_names(path),
            Side::Original => view.names(path),
        }
    }
}

/// Reads every output as programs would.
pub(crate) fn offers(view: &View, side: Side, outputs: &[Output]) -> Offers {
    outputs.iter().map(|output| (output.path.clone(), offer(view, side, output))).collect()
}

fn offer(view: &View, side: Side, output: &Output) -> Offer {
    let mut offer = Offer { kind: Some(output.kind), purpose: output.purpose, ..Offer::default() };
    let read = match output.kind {
        OutputKind::Bundle => bundle(view, side, &output.path, &mut offer),
        OutputKind::HashDirectory => hash_directory(view, side, &output.path, &mut offer),
        OutputKind::SignatureList => signature_list(view, side, &output.path, &mut offer),
        OutputKind::Keystore => keystore(view, side, &output.path, &mut offer),
        // No family's own update writes such a store.
        OutputKind::NssDatabase => Ok(()),
    };
    if let Err(error) = read {
        offer.damage = Some(error.to_string());
    }
    offer
}

fn bundle(view: &View, side: Side, path: &str, offer: &mut Offer) -> Result<()> {
    let Some((location, node)) = side.follow(view, path)? else { return Ok(()) };
    offer.exists = true;
    let Node::File(file) = node.as_ref() else {
        offer.damage = Some(format!("expected a file, found {}", node.kind()));
        return Ok(());
    };
    offer.mount_point = file.mount_point;
    let contents = view.contents(&location, &node);
    let certificates = contents.certificates.iter();
    if offer.purpose.is_none() {
        // A bundle with trust settings: only OpenSSL reads it, and p11-kit's own tools.
        struct ReadByOpenssl(Reading);
        let read = |content: &Content| readers::read_with(content, &[Reader::OpenSsl], view.parsed());
        let reading = &view.derive(&file.content, |content| ReadByOpenssl(read(content))).0;
        offer.damage = reading.problem();
        let offered: BTreeSet<Fingerprint> = reading.offered.iter().copied().collect();
        offer.roots = certificates.filter(|one| offered.contains(&one.fingerprint())).map(name).collect();
        return Ok(());
    }
    let reading = contents.reading();
    offer.damage = reading.problem();
    let offered: BTreeSet<&Fingerprint> = reading.offered.iter().collect();
    offer.roots = certificates.filter(|one| offered.contains(&one.fingerprint())).map(name).collect();
    Ok(())
}

fn signature_list(view: &View, side: Side, path: &str, offer: &mut Offer) -> Result<()> {
    let Some((_, node)) = side.follow(view, path)? else { return Ok(()) };
    offer.exists = true;
    let Node::File(file) = node.as_ref() else { return Ok(()) };
    offer.mount_point = file.mount_point;
    match certificates_in_edk2(&file.content, view.parsed()) {
        Some(certificates) => offer.roots = certificates.iter().map(name).collect(),
        None => offer.damage = Some("it is not a list of EFI signatures".to_owned()),
    }
    Ok(())
}

/// What Java finds in its keystore, which it opens without a password.
fn keystore(view: &View, side: Side, path: &str, offer: &mut Offer) -> Result<()> {
    let Some((_, node)) = side.follow(view, path)? else { return Ok(()) };
    offer.exists = true;
    let Node::File(file) = node.as_ref() else { return Ok(()) };
    offer.mount_point = file.mount_point;
    match &cacerts::trusted(view, &file.content).0 {
        Ok(found) => offer.roots = found.iter().map(|one| (*one, one.short(16))).collect(),
        Err(problem) => offer.damage = Some(problem.to_string()),
    }
    Ok(())
}

/// What OpenSSL finds in a hashed directory.
fn hash_directory(view: &View, side: Side, path: &str, offer: &mut Offer) -> Result<()> {
    offer.exists = view.sysroot().stat(path)?.is_some();
    offer.roots.extend(hashed_certificates(view, side, path)?.iter().map(name));
    Ok(())
}

/// The certificates that OpenSSL finds: by subject hash, with numbers from 0 up to the first that leads nowhere.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn hashed_certificates(view: &View, side: Side, path: &str) -> Result<Vec<Certificate>> {
    let names = side.names(view, path)?;
    let mut certificates = Vec::new();
    let mut buckets: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (hash, number) in names.iter().filter_map(|name| rehash::parse_name(name)) {
        buckets.entry(hash).or_default().insert(number);
    }
    for (hash, numbers) in buckets {
        for (expected, number) in numbers.into_iter().enumerate() {
            if expected != number {
                break;
            }
            // What cannot be read as a file ends OpenSSL's search as well.
            let link = child(path, &format!("{hash:08x}.{number}"));
            let Ok(Some((location, node))) = side.follow(view, &link) else { break };
            if !matches!(node.as_ref(), Node::File(_)) {
                break;
            }
            let contents = view.contents(&location, &node);
            let of_subject =
                contents.certificates.iter().filter(|certificate| certificate.subject_hash() == hash);
            let Some((found, is_whole)) = found_by_hash(view, node.as_ref(), &contents) else {
                certificates.extend(of_subject.cloned());
                continue;
            };
            certificates.extend(of_subject.filter(|one| found.contains(&one.fingerprint())).cloned());
            // A file that it cannot read to the end ends its search, too.
            if !is_whole {
                break;
            }
        }
    }
    Ok(certificates)
}

/// What OpenSSL finds in a file to which a hash link leads, and whether it reads it to the end; `None`: everything.
fn found_by_hash(
    view: &View,
    node: &Node,
    contents: &FileCertificates,
) -> Option<(BTreeSet<Fingerprint>, bool)> {
    let Node::File(file) = node else { return None };
    if contents.is_regular() {
        return None;
    }
    let regular = readers::read_regular_as_openssl(&file.content, view.parsed());
    if regular.is_some_and(|found| !found.is_empty()) {
        return None;
    }
    let reading = contents.reading();
    let is_regular = reading.faults.is_empty() && !reading.offered.is_empty();
    if is_regular && reading.offered.len() == contents.certificates.len() {
        return None;
    }
    let findings = openssl::read_hashed(&file.content);
    let found = findings.certificates.iter().map(|der| Fingerprint::of(der)).collect();
    Some((found, findings.gives_up.is_none()))
}

fn name(certificate: &Certificate) -> (Fingerprint, String) {
    (certificate.fingerprint(), text::escape(&certificate.label()))
}

/// What may be missing afterwards without being an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excused {
    /// What each output would offer without us: anything else came with us, and may be removed.
    pub(crate) original: Offers,
    /// Roots that the vendor's or administrator's own inputs no longer hold.
    pub(crate) withdrawn: BTreeSet<Fingerprint>,
    /// The roots that trustup is known to have installed; anything else that the record attributes to an earlier run is
    /// reported when it is removed.
    pub(crate) installed: BTreeSet<Fingerprint>,
    /// Why the native tool may have omitted an anchor.
    pub(crate) left_out: BTreeMap<Fingerprint, String>,
}

/// Compares the offers after a run with those before: ours must be everywhere, and no other root may be lost. Returns
/// what to report to the user (a vendor's withdrawal that took effect).
///
/// # Errors
/// An anchor is missing somewhere, or a root was lost.
pub(crate) fn compare(
    before: &Offers,
    after: &Offers,
    anchors: &[(Certificate, bool)],
    excused: &Excused,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (path, offer) in after {
        // What was damaged before us may be damaged again.
        let was_damaged = |offers: &Offers| offers.get(path).is_some_and(|offer| offer.damage.is_some());
        if let Some(damage) = &offer.damage
            && !was_damaged(before)
            && !was_damaged(&excused.original)
        {
            return Err(
                Error::failed(format!("the output cannot be read after the update: {damage}")).at(path)
            );
        }
        let came_with_us = |fingerprint: &Fingerprint| {
            excused.original.get(path).is_none_or(|original| !original.roots.contains_key(fingerprint))
        };
        let lost: Vec<(&Fingerprint, &String)> = before
            .get(path)
            .into_iter()
            .flat_map(|before| &before.roots)
            .filter(|(fingerprint, _)| !offer.roots.contains_key(fingerprint))
            .collect();
        let mut came = Vec::new();
        for (fingerprint, name) in lost {
            if came_with_us(fingerprint) {
                if !excused.installed.contains(fingerprint) {
                    came.push(format!("`{name}` ({fingerprint})"));
                }
                continue;
            }
            if excused.withdrawn.contains(fingerprint) {
                notes.push(format!(
                    "`{path}` no longer holds `{name}` ({fingerprint}): the distribution removed it"
                ));
                continue;
            }
            return Err(Error::failed(format!(
                "the update lost a root that was trusted before: `{name}` ({fingerprint})"
            ))
            .at(path)
            .hint("this run was undone; `--updater builtin` keeps every root that is there"));
        }
        if !came.is_empty() {
            let more = came.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            came.truncate(NAMED);
            notes.push(format!(
                "`{path}` no longer holds {}{more}: the record of an earlier run says that this came with that run",
                came.join(", ")
            ));
        }
        for (certificate, must) in anchors {
            let not_for_this = offer.purpose.is_some_and(|purpose| !certificate.allows(purpose))
                || offer.kind.is_some_and(|kind| kind.refusal(certificate).is_some());
            if not_for_this || offer.roots.contains_key(&certificate.fingerprint()) {
                continue;
            }
            let name = text::escape(&certificate.label());
            let why = excused.left_out.get(&certificate.fingerprint());
            if !must {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                notes.push(format!("`{path}` does not hold `{name}`{why}"));
                continue;
            }
            let error =
                Error::failed(format!("the update left `{name}` ({}) out", certificate.fingerprint()))
                    .at(path);
            return Err(match why {
                Some(why) => error.because(anyhow::anyhow!("{why}")),
                None => {
                    error.hint("this run was undone; `--updater builtin` writes the stores without the distribution's tool")
                }
            });
        }
    }
    Ok(notes)
}
