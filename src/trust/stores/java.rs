//! Java's keystores: every file that a Java in the root file system opens by default.

pub mod find;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Addition, FoundStore, NamedRoot, Selection, StorePolicy, Stores, offer_of, set_aside};
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, Purpose, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::{
    EntryContent, Keystore, KeystoreFormat, KeystoreProblem, StorePassword, alias_for, p11_kit,
};
use crate::random::Seed;
use crate::rootfs::tree::{File, Node};
use crate::rootfs::{is_denied, split};
use crate::trust::ours::Ours;
use crate::trust::owners::{Existing, Owner, Rest};
use crate::trust::plausible;
use crate::trust::updater::{Desired, OutputKind, Updater};
use crate::trust::verify::Offer;
use crate::trust::view::View;

/// The names of keystores that Java opens by default.
pub(super) const NAMES: [&str; 4] = ["cacerts", "jssecacerts", "java-cacerts", "java-cacerts.jks"];

/// Mode of a keystore that we make: roots are public.
const MODE: u32 = 0o644;

/// How often a run derives the keys of one keystore at most: it is opened three times and written twice for a plan, and
/// opened again to read it back.
const OPENINGS: u64 = 6;

/// The prefix of aliases in Debian's package; they end with the name of the certificate's link.
const DEBIAN: &str = "debian:";

/// Keystores, as an owner.
#[derive(Debug)]
pub(crate) struct Keystores;

impl Owner for Keystores {
    fn is_store_name(&self, name: &str) -> bool {
        NAMES.contains(&name)
    }

    fn known_paths(&self) -> &'static [&'static str] {
        &find::SHARED
    }

    /// Only for keystores that open without a password.
    fn without_ours(&self, file: &Existing, ours: &Ours) -> Option<Rest> {
        if ours.installed.is_empty() {
            return None;
        }
        p11_kit::without(file.content, &ours.installed).map(Rest::Content)
    }

    fn differ_only_in_certificates(&self, one: &[u8], other: &[u8]) -> bool {
        plausible::is_keystore(one) && plausible::is_keystore(other)
    }
}

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
    let mut made: Vec<String> = Vec::new();
    // What the family's own update writes is an output of its own, even where a link there leads elsewhere.
    let outputs = updater.outputs(view)?;
    let is_output = |path: &str| outputs.iter().any(|output| output.path == path);
    if selection.java != StorePolicy::No {
        let mut search = find::find(sysroot, &selection.java_homes);
        let mut problems = std::mem::take(&mut search.problems);
        let mut missing = std::mem::take(&mut search.missing);
        stores.closed.extend(search.closed.iter().map(|path| sysroot.display(path)));
        let mut in_turn = Vec::new();
        for found in &search.found {
            in_turn.push((sysroot.others_way(&found.path)?.is_some(), found));
        }
        // Stores of root's or the caller's come first, so that another user cannot use up what is left for them.
        in_turn.sort_by_key(|(is_anothers, _)| *is_anothers);
        for (_, found) in in_turn {
            let mut store = store_at(found.path.clone(), true);
            if !stores.admit(view, selection, &mut store)? {
                stores.found.push(store);
                continue;
            }
            let held = match held_by(view, found) {
                // Another user's: no Java of the caller reads it.
                Err(error) if is_denied(&error) && !added.contains_key(&found.path) => {
                    if found.is_named {
                        problems.push(error);
                    } else {
                        stores.closed.push(sysroot.display(&found.path));
                    }
                    continue;
                }
                held => held?,
            };
            match held {
                // The family's own update has to write it, and cannot.
                Held::Keystore if updater.native_writes(&found.path) && !is_output(&found.path) => {
                    let error = Error::unsupported("the update of the distribution cannot change this keystore")
                        .at(sysroot.display(&found.path))
                        .hint("`keytool -importkeystore -deststoretype JKS` into a new file with the password `changeit` makes a keystore that it can change");
                    problems.push(error);
                }
                Held::Keystore if NAMES.contains(&split(&found.path).1) => paths.push(found.path.clone()),
                Held::Keystore => {
                    let error = Error::unsupported("a keystore of this name is not changed")
                        .at(sysroot.display(&found.path))
                        .hint(format!(
                            "rename it to `cacerts`, and point Java's links to it; expected one of {}",
                            NAMES.join(", ")
                        ));
                    problems.push(error);
                }
                Held::Nothing(names) => missing.extend(names),
            }
        }
        paths.sort();
        for name in missing {
            let location = view.location(&name)?;
            let place = sysroot.display(&name);
            match search.foreign_way(&name) {
                Some(why) => problems.push(
                    Error::unsupported(format!(
                        "this Java has no keystore, and trustup did not create one: {why}"
                    ))
                    .at(place)
                    .hint("run trustup as that user, with `--create-java`"),
                ),
                None if selection.create_java || added.contains_key(&location) => {
                    if !made.contains(&location) {
                        made.push(location);
                    }
                }
                None => problems.push(
                    Error::unsupported("this Java has no keystore, so it trusts no server")
                        .at(place)
                        .hint("`--create-java` makes one from the roots of the system and yours"),
                ),
            }
        }
        for error in problems {
            if selection.java == StorePolicy::Named {
                return Err(error);
            }
            let hints = error.hints().iter().map(|hint| format!("; {hint}")).collect::<String>();
            stores.warnings.push(format!("{error}{hints}"));
        }
    }
    let left_alone: Vec<String> = stores.found.iter().map(|found| found.path.clone()).collect();
    for path in added.keys().filter(|path| NAMES.contains(&split(path).1) && !left_alone.contains(path)) {
        if !paths.contains(path) && !made.contains(path) && sysroot.stat(path)?.is_some() {
            paths.push(path.clone());
        }
    }
    paths.retain(|path| !updater.native_writes(path) && !is_output(path));
    let found = paths.into_iter().map(|path| (path, true)).chain(made.into_iter().map(|path| (path, false)));
    for (path, exists) in found {
        stores.found.push(store_at(path, exists));
    }
    Ok(())
}

fn store_at(path: String, exists: bool) -> FoundStore {
    FoundStore { kind: OutputKind::Keystore, path, skipped: None, exists, owner: None }
}

/// What the names of a keystore lead to.
enum Held {
    /// A keystore, or something that is damaged.
    Keystore,
    /// No keystore: these names in a Java lead to something else, such as the bundle.
    Nothing(Vec<String>),
}

fn held_by(view: &View, found: &find::FoundKeystore) -> Result<Held> {
    // A keystore for all Javas belongs to none as long as no Java has a link to it.
    let of_homes = || found.names.iter().filter(|name| name.contains("/lib/security/")).cloned().collect();
    let node = view.actual(&found.path)?;
    let Node::File(file) = node.as_ref() else { return Ok(Held::Keystore) };
    let is_text = file.content.iter().all(u8::is_ascii_whitespace) || !pem::blocks(&file.content).is_empty();
    let is_other = is_text || !NAMES.contains(&split(&found.path).1);
    let names: Vec<String> = of_homes();
    let is_nobodys = names.is_empty() && NAMES.contains(&split(&found.path).1);
    Ok(match KeystoreFormat::of(&file.content) {
        Err(KeystoreProblem::NotAKeystore) if is_other && !is_nobodys => Held::Nothing(names),
        _ => Held::Keystore,
    })
}

/// Whether a node is a file with something that is a keystore, or was one.
fn is_keystore(node: &Node) -> bool {
    matches!(node, Node::File(file) if KeystoreFormat::of(&file.content) != Err(KeystoreProblem::NotAKeystore))
}

/// The keystore that we make for a Java without one, in place of `base` (nothing, a link, a file that is not a
/// keystore): the system's roots for TLS servers, then ours. It follows the system at every run.
fn make(
    view: &View,
    updater: &dyn Updater,
    selection: &Selection,
    found: &FoundStore,
    wanted: &[NamedRoot],
    base: Rc<Node>,
    stores: &mut Stores,
) -> Result<BTreeMap<Fingerprint, Addition>> {
    let path = &found.path;
    stores.bases.insert(path.clone(), base.as_ref().clone());
    let offer = |node: &Node| match node {
        Node::File(file) => Keystore::trusted_without_password(&file.content)
            .map(|found| found.into_iter().map(|one| (one, one.short(16))).collect())
            .ok(),
        _ => None,
    };
    let actual = view.actual(path)?;
    stores.offers.insert(path.clone(), offer_of(OutputKind::Keystore, Ok(offer(&actual))));
    stores.original.insert(path.clone(), offer_of(OutputKind::Keystore, Ok(offer(&base))));
    if wanted.is_empty() {
        let reason = "as it was before".to_owned();
        stores.nodes.push(Desired { path: path.clone(), node: base.as_ref().clone(), reason });
        return Ok(BTreeMap::new());
    }
    let servers = Some(Purpose::ServerAuth);
    let mut outputs = updater.outputs(view)?.into_iter();
    let bundle = outputs.find(|output| output.kind == OutputKind::Bundle && output.purpose == servers);
    let mut system = match bundle {
        Some(bundle) => view.certificates(&bundle.path)?,
        None => Vec::new(),
    };
    // Even if the distribution is careless: one certificate that Java cannot load makes the whole keystore unreadable.
    system.retain(|root| root.allows(Purpose::ServerAuth) && OutputKind::Keystore.refusal(root).is_none());
    if system.is_empty() {
        stores.warnings.push(format!(
            "this system has no roots of its own, so the keystore `{}` contains only yours",
            crate::text::escape(path)
        ));
    }
    let mut seen = BTreeSet::new();
    let mut roots = Vec::new();
    // Java can load all of ours: the others were omitted before.
    for certificate in system.iter().chain(wanted.iter().map(|(root, _)| root)) {
        if seen.insert(certificate.fingerprint()) {
            roots.push(p11_kit::ListedRoot {
                alias: alias_for(certificate),
                certificate: certificate.clone(),
            });
        }
    }
    let standing = if let Node::File(file) = actual.as_ref() { &file.content[..] } else { &[] };
    let content = p11_kit::renew(&roots, standing, selection.date)
        .map_err(|problem| problem.into_error().at(view.sysroot().display(path)))?;
    stores.nodes.push(Desired {
        path: path.clone(),
        node: Node::File(File::new(content, MODE)),
        reason: "this Java has no keystore: the roots of the system and yours".to_owned(),
    });
    Ok(wanted.iter().map(|(root, _)| (root.fingerprint(), Addition::default())).collect())
}

/// The keystore with the wanted roots; returns which of them we will have added.
pub(super) fn plan(
    view: &View,
    updater: &dyn Updater,
    (selection, salts): (&Selection, &Seed),
    found: &FoundStore,
    wanted: &[NamedRoot],
    before: &BTreeMap<Fingerprint, Addition>,
    stores: &mut Stores,
) -> Result<BTreeMap<Fingerprint, Addition>> {
    let path = &found.path;
    let at = |error: Error| error.at(view.sysroot().display(path));
    let actual = view.actual(path)?;
    let as_left = view.is_as_we_left_it(path)?;
    let before_us = if as_left { view.original(path)? } else { Rc::clone(&actual) };
    if !found.exists || as_left && !is_keystore(&before_us) {
        return make(view, updater, selection, found, wanted, before_us, stores);
    }
    let Node::File(file) = actual.as_ref() else {
        return Err(at(Error::failed(format!("expected a keystore, found {}", actual.kind()))));
    };
    set_aside(
        view.sysroot(),
        selection,
        found.kind,
        path,
        OPENINGS.saturating_mul(Keystore::cost(&file.content)),
    )?;
    let password = selection.java_password.clone().unwrap_or_default();
    let open =
        |content: &[u8]| Keystore::parse(content, &password).map_err(|problem| at(problem.into_error()));
    let keystore = open(&file.content)?;
    let there = keystore.fingerprints();
    let base = if as_left {
        before_us
    } else {
        let mut keystore = open(&file.content)?;
        let gone: usize = before.keys().map(|fingerprint| keystore.remove(fingerprint)).sum();
        let content = if gone == 0 {
            file.content.clone()
        } else {
            keystore.to_bytes(&mut salts.stream(&[path, "without trustup's"]))?.into()
        };
        Rc::new(Node::File(File { content, modified: None, ..file.clone() }))
    };
    let Node::File(base_file) = base.as_ref() else {
        return Err(at(Error::failed("it was not a file before trustup")));
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
        // Existing entries keep their date.
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
        // Already correct: written again it would have other salts, or another date.
        actual.as_ref().clone()
    } else if added.is_empty() {
        base.as_ref().clone()
    } else {
        let content = rest.to_bytes(&mut salts.stream(&[path, "with trustup's"]))?.into();
        Node::File(File { content, modified: None, ..file.clone() })
    };
    stores.bases.insert(path.clone(), base.as_ref().clone());
    stores.nodes.push(Desired { path: path.clone(), node, reason: "Java reads this keystore".to_owned() });
    Ok(added)
}

/// What others put into a keystore and Java cannot load: because of it, Java may load no other entry (threat T39).
fn unloadable(path: &str, keystore: &Keystore) -> Option<String> {
    keystore.entries().iter().find_map(|entry| {
        let EntryContent::Trusted { der, .. } = entry.content() else { return None };
        // What is not a certificate here has been read as one by Java, or by no program.
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
        set_aside(after.sysroot(), selection, OutputKind::Keystore, path, Keystore::cost(&file.content))?;
        let password: StorePassword = selection.java_password.clone().unwrap_or_default();
        let keystore = Keystore::parse(&file.content, &password).map_err(|problem| problem.into_error())?;
        Ok(Some(names(&keystore)))
    };
    offer_of(OutputKind::Keystore, read())
}

fn names(keystore: &Keystore) -> BTreeMap<Fingerprint, String> {
    let entries = keystore.entries().iter();
    entries.filter_map(|entry| Some((entry.fingerprint()?, crate::text::escape(entry.alias())))).collect()
}
