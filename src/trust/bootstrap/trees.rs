//! The trees that a command works on: the root file system, and the private store of the current user.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::{Certificate, Purpose};
use crate::pki::keystore::Keystore;
use crate::rootfs::Sysroot;
use crate::rootfs::tree::FILE_LIMIT;
use crate::settings::Settings;
use crate::settings::rows::{ALLOW_SHARED_DIRECTORY, PRIVATE_DIR};
use crate::text;
use crate::trust::apply;
use crate::trust::facts::Facts;
use crate::trust::ours::Ours;
use crate::trust::private_store::{self, StoreLocation};
use crate::trust::state::{self, State, StoredAnchor};
use crate::trust::stores::java;
use crate::trust::stores::java::find::FoundKeystore;
use crate::trust::summary;
use crate::trust::target::sysroot;
use crate::trust::updater::OutputKind;
use crate::trust::view::{BaseTrust, View};

/// The root file system, and the location of the private store.
pub(crate) struct Trees {
    /// The root file system.
    pub(crate) system: Sysroot,
    /// The private store, if there is one.
    pub(crate) private: Option<Sysroot>,
    /// The location of the private store, whether it exists or not.
    place: Option<StoreLocation>,
    /// Why there is none.
    unfit: Option<Error>,
    /// The caller's JAVA_HOME.
    java_home: Option<String>,
}

/// What is recorded of the system, as far as the current user may read it.
pub(crate) struct SystemRecord {
    /// Roots and kinds of stores. Root's are of its summary if the user may not read root's state.
    pub(crate) state: State,
    /// What is this user's in the tree, for the view: a summary undoes nothing.
    pub(crate) ours: Ours,
    /// If root's summary was read: the stores beside the family's outputs that it names.
    pub(crate) stores: Option<Vec<String>>,
    /// Root keeps a record, and there is no summary of it.
    pub(crate) is_hidden: bool,
}

/// What to say and do about an image that a trustup without summaries bootstrapped.
pub(crate) const HIDDEN: &str = "only root can read its record of what trustup installed here";
pub(crate) const HIDDEN_HINT: &str = "the trustup that installed them left no summary for other users: run `trustup bootstrap` of this version as root with the same options (in a Dockerfile: before `USER`); as root, `trustup status` works as it is";

impl Trees {
    /// Opens the root file system and finds the private store. Users other than root record there what they did to the
    /// system (threat T11), as does root if the system's own state directory is read-only.
    ///
    /// # Errors
    /// There is no such root file system; another user could have written the private store.
    pub(crate) fn open(settings: &Settings, env: &Env) -> Result<Self> {
        let mut system = sysroot(settings)?;
        let given = settings.get(&PRIVATE_DIR).map(PathBuf::as_path);
        if !system.is_host() {
            if given.is_some() {
                return Err(Error::usage("a private store belongs to the running system")
                    .at(system.path().display())
                    .hint("omit `--private-dir`, or `--sysroot`"));
            }
            let unfit = Error::unsupported("a foreign sysroot has no private store")
                .hint("run trustup inside that root file system, as the user who needs it");
            return Ok(Trees { system, private: None, place: None, unfit: Some(unfit), java_home: None });
        }
        let is_root = crate::host::privilege::is_root();
        let (place, unfit) = match private_store::find(env, given, settings.is(&ALLOW_SHARED_DIRECTORY)) {
            Ok(place) => (Some(place), None),
            // For root a planted directory matters only if it is needed.
            Err(error) if is_root && given.is_none() => (None, Some(error)),
            Err(error) => return Err(error),
        };
        if let Some(place) = &place {
            let own = system.state_directory();
            if !is_root || system.lstat(own)?.is_none() && !system.is_writable(own)? {
                system = system.with_state_directory(place.system_state());
            }
        }
        let private = place.as_ref().filter(|place| place.exists()).map(StoreLocation::open).transpose()?;
        let java_home = env.var("JAVA_HOME").map(ToOwned::to_owned);
        Ok(Trees { system, private, place, unfit, java_home })
    }

    /// The path of the private store, whether it exists or not.
    pub(crate) fn private_path(&self) -> Option<&str> {
        self.place.as_ref().map(StoreLocation::path)
    }

    /// For `-v`: why no other user counts where the private store is; `None` without one.
    pub(crate) fn note(&self) -> Option<&str> {
        self.private.as_ref().and(self.place.as_ref()).and_then(StoreLocation::note)
    }

    /// The options with which another command finds the private store, in the form of a shell; empty for the default
    /// place.
    pub(crate) fn options_of_private(&self, settings: &Settings) -> String {
        let directory = settings.get(&PRIVATE_DIR).map(|path| {
            let path = text::escape(&path.to_string_lossy());
            let plain = path.bytes().all(|c| c.is_ascii_alphanumeric() || b"/._-".contains(&c));
            if plain { format!(" --private-dir {path}") } else { format!(" --private-dir '{path}'") }
        });
        let shared = self.place.as_ref().is_some_and(StoreLocation::is_shared);
        let shared = if shared { " --allow-shared-directory" } else { "" };
        format!("{}{shared}", directory.unwrap_or_default())
    }

    /// Whether there is a private store, or a location for one.
    pub(crate) fn can_be_private(&self) -> bool {
        self.place.as_ref().is_some_and(StoreLocation::is_usable)
    }

    /// The private store; its directory is made if it does not exist.
    ///
    /// # Errors
    /// There is no safe location for it.
    pub(crate) fn make_private(&mut self, stamp: Option<i64>) -> Result<&Sysroot> {
        let Some(place) = &mut self.place else {
            return Err(self.unfit.take().unwrap_or_else(|| Error::unsupported("there is no private store")));
        };
        place.make(stamp)?;
        match &mut self.private {
            Some(private) => Ok(private),
            none => Ok(none.insert(place.open()?)),
        }
    }

    /// Whether our changes to the system are recorded in the private directory, which has to exist first.
    pub(crate) fn records_privately(&self) -> bool {
        self.place.as_ref().is_some_and(|place| self.system.state_directory() == place.system_state())
    }

    /// Removes the private directory if nothing is left in it.
    pub(crate) fn tidy(&mut self, stamp: Option<i64>) -> Result<()> {
        self.place.as_mut().map_or(Ok(()), |place| place.tidy(stamp))
    }

    /// What a private store above the system is made of: the roots in the system's first existing bundle, and those of
    /// its Java.
    pub(crate) fn beneath(&self) -> Result<BaseTrust> {
        let state = State::load(&self.system)?;
        let view = View::new(&self.system, state.ours())?;
        let facts = Facts::gather(&view)?;
        let servers = Some(Purpose::ServerAuth);
        // The first one may not exist yet.
        let mut bundles = facts.outputs.iter().filter(|output| output.kind == OutputKind::Bundle);
        let first = bundles
            .find_map(|output| view.actual_certificates(&output.path).filter(|_| output.purpose == servers));
        Ok(BaseTrust { roots: first.unwrap_or_default(), java: self.java_roots() })
    }

    /// The roots of the keystore that Java on the system reads: that of the caller's JAVA_HOME, else the first; none if
    /// it cannot be read. `None` without Java.
    fn java_roots(&self) -> Option<Vec<Certificate>> {
        let search = java::find::find(&self.system, self.java_home.as_slice());
        if search.found.is_empty() && search.missing.is_empty() {
            return None;
        }
        let named = self.java_home.as_ref().and_then(|home| self.system.canonical(home).ok().flatten());
        let of_home = |found: &&FoundKeystore| {
            named.as_ref().is_some_and(|home| {
                found
                    .names
                    .iter()
                    .any(|name| name.strip_prefix(home.as_str()).is_some_and(|rest| rest.starts_with('/')))
            })
        };
        let Some(found) = search.found.iter().find(of_home).or(search.found.first()) else {
            return Some(Vec::new());
        };
        let content = self.system.read(&found.path, FILE_LIMIT).ok().flatten();
        let roots = content.and_then(|(content, _)| Keystore::roots_without_password(&content).ok());
        Some(roots.unwrap_or_default())
    }

    /// Refuses to change any tree where a newer trustup left its state or its journal in one of them.
    ///
    /// # Errors
    /// A newer trustup wrote such a file.
    pub(crate) fn refuse_newer(&self) -> Result<()> {
        for tree in self.all() {
            state::refuse_newer(tree)?;
            apply::was_killed(tree)?;
        }
        Ok(())
    }

    /// What bootstrap recorded of CAs, as far as the current user may read it; with `--require-pin` none of it counts
    /// by itself.
    ///
    /// # Errors
    /// A state file that is damaged.
    pub(crate) fn states(&self) -> Result<Vec<State>> {
        let mut states = Vec::new();
        for tree in self.all() {
            if !state::is_closed(tree)? {
                states.push(State::load(tree)?);
            }
        }
        Ok(states)
    }

    /// What is recorded of the system, as far as the current user may read it: by this user, and by root in its summary.
    ///
    /// # Errors
    /// A state file or the summary is damaged, or of a newer trustup.
    pub(crate) fn system_record(&self) -> Result<SystemRecord> {
        let is_closed = state::is_closed(&self.system)?;
        // Users other than root keep a record of their own of what they changed on `/`.
        let own = match !is_closed || self.records_privately() {
            true => State::load(&self.system)?,
            false => State::default(),
        };
        let mut record = SystemRecord { ours: own.ours(), state: own, stores: None, is_hidden: false };
        if !is_closed {
            return Ok(record);
        }
        let Some(summary) = summary::load(&self.system)? else {
            record.is_hidden = true;
            return Ok(record);
        };
        let of_root = summary.state();
        let known = |anchor: &StoredAnchor| {
            record.state.anchors.iter().any(|known| known.fingerprint == anchor.fingerprint)
        };
        let others: Vec<StoredAnchor> =
            of_root.anchors.iter().filter(|anchor| !known(anchor)).cloned().collect();
        record.state.anchors.extend(others);
        record.state.kinds.java |= of_root.kinds.java;
        record.state.kinds.nss |= of_root.kinds.nss;
        record.state.firefox_policy |= of_root.firefox_policy;
        record.ours = summary.ours(record.ours);
        record.stores = Some(summary.stores);
        Ok(record)
    }

    /// Every tree that may contain something of ours.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Sysroot> {
        std::iter::once(&self.system).chain(&self.private)
    }
}
