//! The first thing to change for a client that does not read the roots in question. Each recommendation changes the
//! verdict if it is followed (`tests/hermetic/recommendations.rs`).

use super::Doctor;
use super::clients::TlsClient;
use super::reading::{ReadSource, Reads};
use crate::trust::runtimes::{Effect, TABLE as VARIABLES};

impl Doctor<'_, '_, '_> {
    /// What leads this client to the roots that it lacks.
    pub(super) fn change(&self, client: &TlsClient, used: &[ReadSource]) -> String {
        // Of what a variable names first: it may be all that separates the client from its default.
        let replaced = used.iter().find(|source| source.variable.is_some() && !is_extra(source));
        if let Some(source) = replaced {
            return self.instead_of(source);
        }
        if used.iter().all(|source| source.reads == Reads::CompiledIn && source.fixed) {
            return "its roots are inside it, and neither a variable nor a trust store changes them: build it to read the system's roots (in Rust with rustls-native-certs or rustls-platform-verifier)".to_owned();
        }
        let own = |source: &ReadSource| {
            source.reads == Reads::CompiledIn
                || source.path.ends_with("/certifi/cacert.pem")
                || is_extra(source)
        };
        // Users with a private store reach it only through variables.
        if self.question.bundle.is_some() {
            match client.variable.filter(|_| !is_deaf(used)) {
                Some(variable) => return format!("`eval \"$(trustup env)\"` sets {variable} for it"),
                None => {
                    return "no variable makes it read a private store: run `trustup bootstrap` as root"
                        .to_owned();
                }
            }
        }
        let has_database = used.iter().any(|source| source.reads == Reads::NssDatabase);
        match client.variable {
            Some(variable) if used.iter().all(own) => {
                format!("`eval \"$(trustup env)\"` sets {variable} for it")
            }
            _ if used.iter().all(own) && !has_database => {
                "start it once and then run `trustup bootstrap`; before its first start `--create-nss` (Chromium) or `--firefox-policy` (Firefox)".to_owned()
            }
            _ if self.question.anchors.is_empty() => {
                "`trustup bootstrap` with the CA's root puts it there".to_owned()
            }
            _ => "`trustup bootstrap` with the same options as before puts it there".to_owned(),
        }
    }

    /// What to do about a place that a variable names, or that is damaged.
    pub(super) fn instead_of(&self, source: &ReadSource) -> String {
        let is_no_keystore = self.reader.is_no_keystore(&source.path);
        match (source.variable, &self.bundle) {
            (Some(variable), _) if source.reads == Reads::CompiledIn => {
                format!("set {variable}=x509usefallbackroots=0: then it reads the system's roots")
            }
            (Some(variable), _) if source.reads == Reads::Keystore => {
                format!(
                    "take `-Djavax.net.ssl.trustStore` out of {variable}, or set it to a keystore with the root"
                )
            }
            (Some(variable), Some(bundle)) if source.reads != Reads::HashDirectory => {
                format!("unset {variable}, or set it to `{bundle}`, which has all roots")
            }
            (Some(variable), _) => format!("unset {variable}"),
            (None, _) if source.reads == Reads::Keystore => {
                if is_no_keystore {
                    "`trustup bootstrap --create-java` makes a keystore from the system's roots and yours"
                        .to_owned()
                } else {
                    "restore the keystore from its package or image".to_owned()
                }
            }
            (None, _) => "`trustup bootstrap` makes it".to_owned(),
        }
    }
}

/// Whether what the variable names is added to the client's own roots.
fn is_extra(source: &ReadSource) -> bool {
    VARIABLES.iter().any(|row| row.effect == Effect::Adds && Some(row.name) == source.variable)
}

/// Whether no variable leads the client elsewhere: GnuTLS has none.
fn is_deaf(used: &[ReadSource]) -> bool {
    used.iter().all(|source| source.fixed)
}
