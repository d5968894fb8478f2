//! What common clients refuse of every server below a root, from the root's own properties.

use super::path::own_faults;
use super::rules::{Effect, Fault, Position, Rules};
use super::words;
use crate::doctor::library::TlsLibrary;
use crate::pki::cert::Certificate;

/// A property of a root, and the clients that refuse its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootWarning {
    /// The clients, in words.
    pub(crate) clients: String,
    /// The property, with the root as the subject: "has basicConstraints that are not marked critical".
    pub(crate) predicate: String,
}

/// The clients that people have, by their library.
fn common() -> Vec<(&'static str, Rules)> {
    let openssl = |strict| TlsLibrary::OpenSsl { version: Some((3, 5)), strict, partial_chain: strict };
    let clients = [
        ("OpenSSL", openssl(false), ""),
        ("Python 3.13 and later", openssl(true), "python"),
        ("GnuTLS", TlsLibrary::GnuTls, "git"),
        ("Go", TlsLibrary::Go { version: Some((1, 26)), debug: Vec::new() }, "go"),
        ("Java", TlsLibrary::Java { release: Some(25) }, "java"),
        ("rustls", TlsLibrary::Rustls, ""),
        ("Chromium", TlsLibrary::Chromium, ""),
        ("Firefox", TlsLibrary::MozillaPkix, ""),
    ];
    clients
        .into_iter()
        .filter_map(|(words, library, client)| Some((words, Rules::of(&library, client, "")?)))
        .collect()
}

/// What common clients refuse of every server below this root at `now` (seconds since 1970); one entry for a reason.
/// Nothing for what other parts say: its validity, and what a library cannot even load.
pub(crate) fn root_warnings(root: &Certificate, now: i64) -> Vec<RootWarning> {
    let Ok(facts) = root.facts() else { return Vec::new() };
    let clients = common();
    let mut warnings: Vec<RootWarning> = Vec::new();
    for fault in own_faults(root, &facts, Position::Root, now) {
        let is_said_elsewhere = matches!(
            fault,
            Fault::Expired(_)
                | Fault::NotYetValid(_)
                | Fault::NegativeSerial
                | Fault::UnreadableForGo(_)
                | Fault::UnreadableForJava(_)
                | Fault::UnreadableForRustls(_)
                | Fault::UnreadableForOpenSsl(_)
        );
        let refusing: Vec<&str> = clients
            .iter()
            .filter(|(_, rules)| rules.effect(&fault, Position::Root) == Effect::Refuses)
            .map(|(words, _)| *words)
            .collect();
        // Python is OpenSSL with more rules.
        let refusing: Vec<&str> = match refusing.as_slice() {
            ["OpenSSL", "Python 3.13 and later", rest @ ..] => [&["OpenSSL"], rest].concat(),
            others => others.to_vec(),
        };
        if is_said_elsewhere || refusing.is_empty() {
            continue;
        }
        let clients = enumerated(&refusing);
        let predicate = words::predicate(&fault);
        match warnings.iter_mut().find(|known| known.clients == clients) {
            Some(known) => known.predicate = format!("{} and {predicate}", known.predicate),
            None => warnings.push(RootWarning { clients, predicate }),
        }
    }
    warnings
}

/// `A`, `A and B`, `A, B and C`.
fn enumerated(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.concat(),
    }
}
