//! Trust stores beside the family's own outputs: Java's keystores and NSS databases, wherever they are. Found, planned
//! and read back here; written by the same executor and recorded in the same state as everything else.
//!
//! A store that was not named and that cannot be changed (unknown password, old format, in use) is skipped with a
//! warning; one that was named is an error before anything is written. Nothing here changes a file.

mod cost;
pub mod java;
pub(crate) mod nss;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::cost::{left_alone, set_aside};
use crate::error::{Error, Result};
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore;
use crate::pki::nss as database;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Sysroot, is_denied};
use crate::text;
use crate::trust::updater::{Desired, OutputKind, Updater};
use crate::trust::verify::{Offer, Offers};
use crate::trust::view::View;
use crate::versioned::UnknownFields;

/// Whether stores of a kind are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StorePolicy {
    /// No.
    #[default]
    No,
    /// Those that exist; what cannot be changed is skipped.
    IfThere,
    /// Those that exist; what cannot be changed is an error.
    Named,
}

/// Which stores, and the passwords that open them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Java's keystores.
    pub(crate) java: StorePolicy,
    /// NSS databases.
    pub(crate) nss: StorePolicy,
    /// Homes of Java that the caller's JAVA_HOME names.
    pub(crate) java_homes: Vec<String>,
    /// The keystores' password, if it is not Java's default.
    pub(crate) java_password: Option<keystore::StorePassword>,
    /// The NSS databases' password.
    pub(crate) nss_password: Option<database::NssPassword>,
    /// Homes in which NSS databases are looked for, as seen inside.
    pub(crate) homes: Vec<String>,
    /// Whether the user named these homes (`--nss-user`): what cannot be looked at there is reported.
    pub(crate) homes_named: bool,
    /// `XDG_DATA_HOME` of the current user.
    pub(crate) xdg_data_home: Option<String>,
    /// Directories of NSS databases that were named; made if they do not exist.
    pub(crate) nss_directories: Vec<String>,
    /// Make the database that browsers share, where there is none.
    pub(crate) create_nss: bool,
    /// Make a keystore for each Java that has none.
    pub(crate) create_java: bool,
    /// The date of new entries, milliseconds since 1970.
    pub(crate) date: i64,
}

/// What we added to a store, by certificate: with it, `untrust` knows what to remove from a store that another program
/// has changed since.
pub(crate) type Additions = BTreeMap<String, BTreeMap<Fingerprint, Addition>>;

/// One certificate that we added to a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addition {
    /// The earlier object in an NSS database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<database::Former>,
    /// The certificate (DER, base64) of a root that was removed everywhere else, while this store could not be changed:
    /// the run that can change it needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    pub(crate) unknown: UnknownFields,
}

/// Which kinds of stores the last bootstrap covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    /// Java's keystores.
    pub(crate) java: bool,
    /// NSS databases.
    pub(crate) nss: bool,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    pub(crate) unknown: UnknownFields,
}

impl Kinds {
    /// Whether it covered neither.
    pub(crate) fn is_none(&self) -> bool {
        !self.java && !self.nss
    }

    /// Whether there is nothing to record.
    pub(crate) fn is_default(&self) -> bool {
        *self == Kinds::default()
    }

    /// Whether it covered this kind.
    pub(crate) fn has(&self, kind: OutputKind) -> bool {
        if kind == OutputKind::NssDatabase { self.nss } else { self.java }
    }
}

impl Selection {
    /// Whether this store, or its kind, was named.
    fn names(&self, found: &FoundStore) -> bool {
        self.names_path(found.kind, &found.path)
    }

    fn names_path(&self, kind: OutputKind, path: &String) -> bool {
        let wish = if kind == OutputKind::NssDatabase { self.nss } else { self.java };
        wish == StorePolicy::Named || self.nss_directories.contains(path)
    }

    /// Which kinds are wanted.
    pub(crate) fn kinds(&self) -> Kinds {
        Kinds { java: self.java != StorePolicy::No, nss: self.nss != StorePolicy::No, ..Kinds::default() }
    }
}

/// A store that was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundStore {
    /// What it is.
    pub(crate) kind: OutputKind,
    /// The keystore, or the directory of the database; every link resolved.
    pub(crate) path: String,
    /// Why it is skipped; `None` if it is not.
    pub(crate) skipped: Option<String>,
    /// Whether it exists; otherwise it will be made.
    pub(crate) exists: bool,
    /// The user whose directory it is in, and the only one who may own it when we write (threat T13).
    pub(crate) owner: Option<(u32, u32)>,
}

/// The plan for the stores.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    /// The stores.
    pub(crate) found: Vec<FoundStore>,
    /// Those among them whose original bytes are restored without opening them: they are no longer in `found`.
    pub(crate) restored: Vec<FoundStore>,
    /// The desired nodes.
    pub(crate) nodes: Vec<Desired>,
    /// The nodes without us, where another program has changed them since.
    pub(crate) bases: BTreeMap<String, Node>,
    /// What we will have added.
    pub(crate) additions: Additions,
    /// What they offer now, and without us.
    pub(crate) offers: Offers,
    /// The same without us.
    pub(crate) original: Offers,
    /// What to report to the user.
    pub(crate) warnings: Vec<String>,
    /// Paths that the search passed over, because the caller may not look there and nobody named them; as seen outside.
    pub(crate) closed: Vec<String>,
}

/// A root that the stores must hold: the certificate, and the name of its anchor.
pub(crate) type NamedRoot = (Certificate, String);

/// Finds the stores and plans them: the wanted roots are added, and those that we added and that are no longer wanted
/// are removed (`known` has their certificates).
///
/// # Errors
/// A store that was named cannot be changed; one that a search found is skipped.
pub(crate) fn plan(
    view: &View,
    updater: &dyn Updater,
    selection: &Selection,
    wanted: &[NamedRoot],
    added: &Additions,
    known: &BTreeMap<Fingerprint, Certificate>,
) -> Result<Stores> {
    let mut stores = Stores::default();
    java::find(view, updater, selection, added, &mut stores)?;
    nss::find(view, selection, added, &mut stores)?;
    if wanted.is_empty() {
        stores.restore(view, added)?;
    }
    // The order of the steps is that in which the stores were found.
    let mut of_stores: BTreeMap<usize, Vec<Desired>> = BTreeMap::new();
    let restored = std::mem::take(&mut stores.nodes);
    for index in stores.in_turn(view)? {
        let found = stores.found[index].clone();
        let before = added.get(&found.path).cloned().unwrap_or_default();
        if found.skipped.is_some() {
            continue;
        }
        let wanted = stores.loadable(view, selection, &found, wanted)?;
        let planned = match found.kind {
            OutputKind::NssDatabase => {
                nss::plan(view, selection, &found, &wanted, &before, known, &mut stores)
            }
            _ => java::plan(view, updater, selection, &found, &wanted, &before, &mut stores),
        };
        match planned {
            Ok(now) if now.is_empty() => {}
            Ok(mut now) => {
                for (fingerprint, addition) in &mut now {
                    if let Some(known) = before.get(fingerprint) {
                        addition.unknown.clone_from(&known.unknown);
                    }
                }
                stores.additions.insert(found.path.clone(), now);
            }
            Err(error) => {
                if selection.names(&found) {
                    return Err(error);
                }
                stores.skip(view, index, &error)?;
                // What we added stays on record, for the run that can remove it.
                if !before.is_empty() {
                    stores.additions.insert(found.path.clone(), before);
                }
            }
        }
        of_stores.insert(index, std::mem::take(&mut stores.nodes));
    }
    stores.nodes = restored;
    stores.nodes.extend(of_stores.into_values().flatten());
    Ok(stores)
}

/// Finds the stores and reads what they offer.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn discover_stores(
    view: &View,
    updater: &dyn Updater,
    selection: &Selection,
    added: &Additions,
) -> Result<Stores> {
    let mut stores = Stores::default();
    java::find(view, updater, selection, added, &mut stores)?;
    nss::find(view, selection, added, &mut stores)?;
    let mut in_turn = Vec::new();
    for index in stores.in_turn(view)? {
        in_turn.push(stores.found[index].clone());
    }
    for (path, offer) in offers(view, &in_turn, selection) {
        let found = stores.found.iter_mut().find(|found| found.path == path);
        match (offer.damage.clone(), found) {
            (Some(why), Some(found)) => found.skipped = Some(why),
            _ => drop(stores.offers.insert(path, offer)),
        }
    }
    Ok(stores)
}

impl Stores {
    /// What the search passed over, for `-v`; `None` if it was nothing.
    pub(crate) fn passed_over(&self) -> Option<String> {
        let mut closed: Vec<&str> = self.closed.iter().map(String::as_str).collect();
        closed.sort_unstable();
        closed.dedup();
        (!closed.is_empty()).then(|| {
            let shown = text::escape(&closed.join(", "));
            format!("not searched for stores, since this user may not look there: {shown}")
        })
    }

    /// Restores what was there before us, if it has not been changed since: no store has to be opened for that.
    fn restore(&mut self, view: &View, added: &Additions) -> Result<()> {
        for found in std::mem::take(&mut self.found) {
            let mut as_left = added.contains_key(&found.path);
            let mut recorded = false;
            for path in found.files() {
                let unrecorded = view.is_unrecorded(&path)?;
                recorded |= !unrecorded;
                as_left &= unrecorded || view.is_as_we_left_it(&path)?;
            }
            if !as_left || !recorded {
                self.found.push(found);
                continue;
            }
            // The trust setting comes before its signature.
            for path in found.files().into_iter().rev() {
                let node = (*view.original(&path)?).clone();
                self.bases.insert(path.clone(), node.clone());
                // Other programs' files are not desired nodes: otherwise our directories around them would be, too.
                if view.is_unrecorded(&path)? {
                    continue;
                }
                self.nodes.push(Desired { path, node, reason: "as it was before".to_owned() });
            }
            self.restored.push(found);
        }
        Ok(())
    }

    /// The roots with which the store's readers can still load it (threat T39); reports what is omitted.
    ///
    /// # Errors
    /// A root would have to be omitted from a store that was named.
    fn loadable(
        &mut self,
        view: &View,
        selection: &Selection,
        found: &FoundStore,
        wanted: &[NamedRoot],
    ) -> Result<Vec<NamedRoot>> {
        let mut loadable = Vec::new();
        for root in wanted {
            let Some(why) = found.kind.refusal(&root.0) else {
                loadable.push(root.clone());
                continue;
            };
            if selection.names(found) {
                return Err(left_out_error(&root.0, &why).at(view.sysroot().display(&found.path)));
            }
            self.warnings.push(left_out_words(found.kind, &found.path, &root.0, &why));
        }
        Ok(loadable)
    }

    /// Leaves a store as it is, and reports why.
    fn skip(&mut self, view: &View, index: usize, error: &Error) -> Result<()> {
        let found = &mut self.found[index];
        let why =
            std::iter::once(error.what().to_owned()).chain(error.causes()).collect::<Vec<_>>().join(": ");
        for path in found.files() {
            let node = (*view.actual(&path)?).clone();
            self.nodes.push(Desired { path, node, reason: "it is left alone".to_owned() });
        }
        let hints: String = error.hints().iter().map(|hint| format!("; {hint}")).collect();
        self.warnings.push(left_alone(found, &format!("{why}{hints}")));
        found.skipped = Some(why);
        Ok(())
    }

    /// Notes that these paths stay as they are, since the current user cannot write them; what an earlier run added
    /// stays on record.
    pub(crate) fn leave(&mut self, paths: &BTreeSet<String>, added: &Additions) {
        for found in &mut self.found {
            if found.skipped.is_none() && found.files().iter().any(|path| paths.contains(path)) {
                found.skipped = Some("it cannot be written".to_owned());
                self.additions.remove(&found.path);
                if let Some(before) = added.get(&found.path) {
                    self.additions.insert(found.path.clone(), before.clone());
                }
            }
        }
    }

    /// The paths that each store consists of.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        self.found.iter().flat_map(FoundStore::files).collect()
    }
}

/// The stores of earlier runs, for a run that maintains none: they must stay as they are.
///
/// # Errors
/// A file of one cannot be read.
pub(crate) fn as_they_are(view: &View, added: &Additions) -> Result<Stores> {
    let mut stores = Stores::default();
    for path in added.keys() {
        let databases = [database::KEY_DB, database::CERT_DB].map(|name| format!("{path}/{name}"));
        for path in databases.into_iter().chain([path.clone()]) {
            let node = (*view.actual(&path)?).clone();
            if matches!(node, Node::File(_)) {
                let reason = "as an earlier run left it".to_owned();
                stores.nodes.push(Desired { path, node, reason });
            }
        }
    }
    Ok(stores)
}

impl FoundStore {
    /// The files of the store.
    pub(crate) fn files(&self) -> Vec<String> {
        match self.kind {
            OutputKind::NssDatabase => {
                [database::KEY_DB, database::CERT_DB].map(|name| format!("{}/{name}", self.path)).to_vec()
            }
            _ => vec![self.path.clone()],
        }
    }
}

/// What the stores offer after a run: read back from what is there.
pub(crate) fn offers(after: &View, found: &[FoundStore], selection: &Selection) -> Offers {
    let mut offers = Offers::new();
    for store in found.iter().filter(|store| store.skipped.is_none()) {
        let offer = match store.kind {
            OutputKind::NssDatabase => nss::offer(after, &store.path, selection),
            _ => java::offer(after, &store.path, selection),
        };
        offers.insert(store.path.clone(), offer);
    }
    offers
}

/// The message for a root that is omitted from an output whose readers could load nothing of it with that root.
pub(crate) fn left_out_words(kind: OutputKind, path: &str, root: &Certificate, why: &str) -> String {
    format!(
        "the {} `{}` does not get {} ({}): {why}; with it, Java could load no root of this keystore",
        kind.words(),
        text::escape(path),
        root.subject(),
        root.fingerprint()
    )
}

/// The error if that store was named.
pub(crate) fn left_out_error(root: &Certificate, why: &str) -> Error {
    Error::unsupported(format!(
        "Java cannot load {} ({}): {why}; with it, Java could load no root of this keystore",
        root.subject(),
        root.fingerprint()
    ))
    .hint("omit `java` from `--stores`, and `--strict`: the keystore then lacks this root")
    .hint("or have the CA issue a root certificate that Java can load")
}

fn offer_of(kind: OutputKind, roots: Result<Option<BTreeMap<Fingerprint, String>>>) -> Offer {
    let mut offer = Offer { kind: Some(kind), purpose: Some(Purpose::ServerAuth), ..Offer::default() };
    match roots {
        Ok(None) => {}
        Ok(Some(roots)) => (offer.exists, offer.roots) = (true, roots),
        Err(error) => offer.damage = Some(error.to_string()),
    }
    offer
}

/// Homes of the users of a root file system that have one, by name: root's and those of people (user ids from 1000).
///
/// # Errors
/// `/etc/passwd` cannot be read.
pub(crate) fn homes(sysroot: &Sysroot) -> Result<BTreeMap<String, String>> {
    let passwd = sysroot.read("/etc/passwd", 1 << 20)?.map(|(bytes, _)| bytes).unwrap_or_default();
    let mut homes = BTreeMap::new();
    for line in String::from_utf8_lossy(&passwd).lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, _, _, home, ..] = fields[..] else { continue };
        let Ok(uid) = uid.parse::<u32>() else { continue };
        // 65534 is nobody, whose home belongs to no user.
        let is_person = uid == 0 || (1000..65534).contains(&uid) || uid > 65534;
        if is_person
            && home.starts_with('/')
            && home != "/"
            && sysroot
                .stat(home)
                .or_else(|error| if is_denied(&error) { Ok(None) } else { Err(error) })?
                .is_some_and(|meta| meta.kind == FileKind::Directory)
        {
            homes.insert(name.to_owned(), home.trim_end_matches('/').to_owned());
        }
    }
    Ok(homes)
}
