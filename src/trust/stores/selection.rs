//! Which stores beside the family's outputs a run maintains, and what opens them.

use serde::{Deserialize, Serialize};

use super::FoundStore;
use crate::pki::keystore::StorePassword;
use crate::pki::nss::NssPassword;
use crate::trust::updater::OutputKind;
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
    pub(crate) java_password: Option<StorePassword>,
    /// The NSS databases' password.
    pub(crate) nss_password: Option<NssPassword>,
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
    pub(super) fn names(&self, found: &FoundStore) -> bool {
        self.names_path(found.kind, &found.path)
    }

    pub(super) fn names_path(&self, kind: OutputKind, path: &String) -> bool {
        let wish = if kind == OutputKind::NssDatabase { self.nss } else { self.java };
        wish == StorePolicy::Named || self.nss_directories.contains(path)
    }

    /// Which kinds are wanted.
    pub(crate) fn kinds(&self) -> Kinds {
        Kinds { java: self.java != StorePolicy::No, nss: self.nss != StorePolicy::No, ..Kinds::default() }
    }
}
