//! The first thing to change for a client that does not read the roots in question. Each recommendation changes the
//! verdict if it is followed (`tests/hermetic/recommendations.rs`).

use super::Doctor;
use super::clients::TlsClient;
use super::reading::{ReadSource, Reads};
use crate::rootfs::Sysroot;
use crate::text;
use crate::trust::runtimes::{Effect, TABLE as VARIABLES};

impl Doctor<'_, '_, '_> {
    /// What leads this client to the roots that it lacks.
    pub(super) fn change(&self, client: &TlsClient, used: &[ReadSource]) -> String {
        if !used.is_empty() && used.iter().all(|source| source.reads == Reads::CompiledIn && source.fixed) {
            return "its roots are inside it, and neither a variable nor a trust store changes them: build it to read the system's roots (in Rust with rustls-native-certs or rustls-platform-verifier)".to_owned();
        }
        // Of what a variable names first: it may be all that separates the client from its default.
        let replaced: Vec<&ReadSource> =
            used.iter().filter(|source| source.variable.is_some() && !is_extra(source)).collect();
        let mut variables: Vec<&str> = replaced.iter().filter_map(|source| source.variable).collect();
        variables.dedup();
        let change = match (replaced.first(), variables.as_slice()) {
            // One of them alone may lead nowhere.
            (Some(_), [_, _, ..]) => Some(format!("unset {}", variables.join(" and "))),
            (Some(source), _) => Some(self.instead_of(source)),
            (None, _) => self.way_to_the_stores(client, used),
        };
        match change {
            // A variable leads to the stores, and they do not hold the root yet.
            Some(change) if self.question.anchors.is_empty() => {
                format!("`trustup bootstrap` with the CA's root puts it into the trust stores; then {change}")
            }
            Some(change) => change,
            None if self.question.anchors.is_empty() => {
                "`trustup bootstrap` with the CA's root puts it there".to_owned()
            }
            None => "`trustup bootstrap` with the same options as before puts it there".to_owned(),
        }
    }

    /// What leads a client without variables to the trust stores; `None` if it reads one of them.
    fn way_to_the_stores(&self, client: &TlsClient, used: &[ReadSource]) -> Option<String> {
        let variable = client.variable.filter(|_| !is_deaf(used));
        let by_variable = |variable: &str| format!("`eval \"$(trustup env)\"` sets {variable} for it");
        // Users with a private store reach it only through variables.
        if self.question.bundle.is_some() {
            return Some(variable.map_or_else(
                || "no variable makes it read a private store: run `trustup bootstrap` as root".to_owned(),
                by_variable,
            ));
        }
        let own = |source: &ReadSource| {
            source.reads == Reads::CompiledIn
                || source.path.ends_with("/certifi/cacert.pem")
                || is_extra(source)
        };
        if used.iter().all(own) {
            return Some(variable.map_or_else(
                || {
                    "start it once and then run `trustup bootstrap`; before its first start `--create-nss` (Chromium) or `--firefox-policy` (Firefox)".to_owned()
                },
                by_variable,
            ));
        }
        let of_java = used.iter().find(|source| source.reads == Reads::Keystore);
        if let Some(keystore) = of_java.filter(|keystore| !self.is_written(keystore)) {
            let home = keystore.path.rsplit_once("/lib/security/").map_or("", |(home, _)| home);
            // In another root file system the caller's variables do not count.
            let inside = if self.reader.sysroot().is_host() { "" } else { " inside that root file system" };
            return Some(format!(
                "run `trustup bootstrap`{inside} with JAVA_HOME={} and the same options as before: it finds this Java only by that variable",
                text::escape(home)
            ));
        }
        let is_database = |source: &ReadSource| source.reads == Reads::NssDatabase;
        if used.iter().any(|source| is_database(source) || self.is_written(source)) {
            return None;
        }
        // It reads places of its own, such as those of an OpenSSL inside it.
        variable.map(by_variable)
    }

    /// Whether `bootstrap` writes into this place.
    fn is_written(&self, source: &ReadSource) -> bool {
        let real = real(self.reader.sysroot(), &source.path);
        match source.reads {
            Reads::Keystore => self.keystores.contains(&real),
            _ => self.outputs.contains(&real),
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

/// A path without links, as far as it is there.
pub(super) fn real(sysroot: &Sysroot, path: &str) -> String {
    let real = sysroot.canonical(path).ok().flatten();
    real.unwrap_or_else(|| path.trim_end_matches('/').to_owned())
}

/// Whether what the variable names is added to the client's own roots.
fn is_extra(source: &ReadSource) -> bool {
    VARIABLES.iter().any(|row| row.effect == Effect::Adds && Some(row.name) == source.variable)
}

/// Whether no variable leads the client elsewhere: GnuTLS has none.
fn is_deaf(used: &[ReadSource]) -> bool {
    used.iter().all(|source| source.fixed)
}
