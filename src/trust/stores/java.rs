//! Java's keystores: every file that a Java in the root file system opens by default.

use std::collections::BTreeMap;

use super::{Addition, Found, Root, Selection, Stores, Wish, offer_of};
use crate::cert::Certificate;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::keystore::{Content, Keystore, Password, alias_for, find};
use crate::sysroot::split;
use crate::tree::{File, Node};
use crate::trust::updater::{Desired, OutputKind, Updater};
use crate::trust::verify::Offer;
use crate::trust::view::View;

/// What keystores are called that Java opens by default.
pub(super) const NAMES: [&str; 4] = ["cacerts", "jssecacerts", "java-cacerts", "java-cacerts.jks"];

/// Debian's package begins its aliases so; they end with the name of the certificate's link.
const DEBIAN: &str = "debian:";

/// Finds the keystores, those that an earlier run changed included.
pub(super) fn find(
    view: &View,
    updater: &dyn Updater,
    selection: &Selection,
    added: &super::Additions,
    stores: &mut Stores,
) -> Result<()> {
    let sysroot = view.sysroot();
    let mut paths: Vec<String> = Vec::new();
    if selection.java != Wish::No {
        let search = find::find(sysroot, &selection.java_homes);
        for error in search.problems {
            if selection.java == Wish::Named {
                return Err(error);
            }
            stores.warnings.push(error.to_string());
        }
        for missing in search.missing {
            stores.warnings.push(format!(
                "the Java of `{missing}` has no keystore there: it trusts nobody, and nothing is added"
            ));
        }
        paths.extend(search.found.into_iter().map(|found| found.path));
    }
    for path in added.keys().filter(|path| NAMES.contains(&split(path).1)) {
        if !paths.contains(path) && sysroot.stat(path)?.is_some() {
            paths.push(path.clone());
        }
    }
    // What the family's own update writes is an output of its own, also where a link there leads elsewhere.
    let outputs = updater.outputs(view)?;
    paths.retain(|path| {
        let is_output = updater.native_writes(path) || outputs.iter().any(|output| output.path == *path);
        !is_output && NAMES.contains(&split(path).1)
    });
    for path in paths {
        stores.found.push(Found {
            kind: OutputKind::Keystore,
            path,
            skipped: None,
            exists: true,
            owner: None,
        });
    }
    Ok(())
}

/// The keystore with the wanted roots; answers with what of them we will have added.
pub(super) fn plan(
    view: &View,
    selection: &Selection,
    found: &Found,
    wanted: &[Root],
    before: &BTreeMap<Fingerprint, Addition>,
    stores: &mut Stores,
) -> Result<BTreeMap<Fingerprint, Addition>> {
    let path = &found.path;
    let at = |error: Error| error.at(view.sysroot().display(path));
    let actual = view.actual(path)?;
    let Node::File(file) = actual.as_ref() else {
        return Err(at(Error::failed(format!("{} stands where a keystore should be", actual.kind()))));
    };
    if file.mount_point {
        return Err(at(Error::unsupported("it is a mount point, which cannot be replaced")));
    }
    let password = selection.java_password.clone().unwrap_or_default();
    let open =
        |content: &[u8]| Keystore::parse(content, &password).map_err(|problem| at(problem.into_error()));
    let keystore = open(&file.content)?;
    let there = keystore.fingerprints();
    let base = if view.is_as_we_left_it(path)? {
        view.original(path)?
    } else {
        let mut keystore = open(&file.content)?;
        let gone: usize = before.keys().map(|fingerprint| keystore.remove(fingerprint)).sum();
        let content = if gone == 0 { file.content.clone() } else { keystore.to_bytes(&mut random)? };
        std::rc::Rc::new(Node::File(File { content, modified: None, ..file.clone() }))
    };
    let Node::File(base_file) = base.as_ref() else {
        return Err(at(Error::failed("it was no file before trustup")));
    };
    let mut rest = open(&base_file.content)?;
    stores.offers.insert(path.clone(), offer_of(OutputKind::Keystore, Ok(Some(names(&keystore)))));
    stores.original.insert(path.clone(), offer_of(OutputKind::Keystore, Ok(Some(names(&rest)))));
    stores.warnings.extend(unloadable(path, &rest));
    let is_debian = rest.entries().iter().any(|entry| entry.alias().starts_with(DEBIAN));
    let mut added = BTreeMap::new();
    for (certificate, name) in wanted {
        let alias =
            if is_debian { format!("{DEBIAN}{}.pem", name.to_lowercase()) } else { alias_for(certificate) };
        // What is there already keeps the date that it has.
        let entry =
            keystore.entries().iter().find(|entry| entry.fingerprint() == Some(certificate.fingerprint()));
        let date = entry.and_then(|entry| entry.date()).unwrap_or(selection.date);
        if rest.add(&alias, certificate, date).map_err(|problem| at(problem.into_error()))? {
            added.insert(certificate.fingerprint(), Addition::default());
        }
    }
    let all_there = wanted.iter().all(|(certificate, _)| there.contains(&certificate.fingerprint()));
    let stale = before.keys().any(|one| !added.contains_key(one) && there.contains(one));
    let node = if all_there && !stale && (!added.is_empty() || before.is_empty()) {
        // As it should be: written again it would have other salts, or another date.
        actual.as_ref().clone()
    } else if added.is_empty() {
        base.as_ref().clone()
    } else {
        let content = rest.to_bytes(&mut random)?;
        Node::File(File { content, modified: None, ..file.clone() })
    };
    stores.bases.insert(path.clone(), base.as_ref().clone());
    stores.nodes.push(Desired { path: path.clone(), node, reason: "Java trusts what is in here".to_owned() });
    Ok(added)
}

/// What others put into a keystore and Java cannot load: with such an entry it may load none of the others (threat T39).
fn unloadable(path: &str, keystore: &Keystore) -> Option<String> {
    keystore.entries().iter().find_map(|entry| {
        let Content::Trusted { der, .. } = entry.content() else { return None };
        // What is no certificate here has been read as one by Java, or by nobody.
        let why = Certificate::from_der(der).ok()?.refused_by_java()?;
        Some(format!(
            "Java may load no root of `{}`: {why} (the entry `{}`, which trustup did not add)",
            crate::text::escape(path),
            crate::text::escape(entry.alias())
        ))
    })
}

/// What Java finds in the keystore at `path`.
pub(super) fn offer(after: &View, path: &str, selection: &Selection) -> Offer {
    let read = || -> Result<Option<BTreeMap<Fingerprint, String>>> {
        let node = after.actual(path)?;
        let Node::File(file) = node.as_ref() else { return Ok(None) };
        let password: Password = selection.java_password.clone().unwrap_or_default();
        let keystore = Keystore::parse(&file.content, &password).map_err(|problem| problem.into_error())?;
        Ok(Some(names(&keystore)))
    };
    offer_of(OutputKind::Keystore, read())
}

fn names(keystore: &Keystore) -> BTreeMap<Fingerprint, String> {
    let entries = keystore.entries().iter();
    entries.filter_map(|entry| Some((entry.fingerprint()?, crate::text::escape(entry.alias())))).collect()
}

/// From the kernel.
fn random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::failed("the kernel gives no random bytes").because(error))?;
    }
    Ok(())
}
