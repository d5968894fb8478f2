//! Whether a client accepts a server, by the rules of the library that verifies for it: what the server sent and what
//! the client reads, and nothing else. Chains are built as the library builds them ([`path`]); what it refuses in one is
//! in one table ([`rules`]), from which also come the warnings of [`root_warnings`]. The decision is in
//! docs/decisions/0031-rules-of-verifiers.md.
//!
//! A pure function: reads no file, asks nobody, and does not know the time unless told.

mod constraints;
mod host;
mod path;
mod rules;
mod warnings;
mod words;

pub(super) use host::HostNames;
pub(super) use path::FactsByFingerprint;
use path::{Builder, Chain, DeadEnd, Found, Member, Occasion, facts_of};
use rules::{Effect, Rules};
pub(crate) use warnings::{RootWarning, root_warnings};

use super::library::TlsLibrary;
use super::reading::RootsByFingerprint;
use crate::net::handshake::Presented;
use crate::pki::cert::Certificate;
use crate::pki::cert::signature::SignatureVerdict;

/// What a client would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It accepts the server.
    Accepts,
    /// It refuses it; why, and what to change. Without a change: a root that it does not read would help.
    Refuses { why: String, change: Option<String> },
    /// trustup does not know, and why.
    CannotJudge(String),
}

/// Who judges: a row of the table of clients and its library, on a row of the table of distributions.
pub(super) struct Judge<'a> {
    pub(super) client: &'a str,
    pub(super) library: &'a TlsLibrary,
    pub(super) distribution: &'a str,
    /// How the client compares names, if that is known from more than its row and library.
    pub(super) names: Option<HostNames>,
}

impl Judge<'_> {
    /// How such clients compare names; several if that is not known.
    fn usual_names(&self) -> &'static [HostNames] {
        match (self.library, self.client) {
            (TlsLibrary::OpenSsl { .. }, "curl" | "git" | "cargo") => &[HostNames::Curl],
            (TlsLibrary::OpenSsl { .. }, "python") => &[HostNames::Python],
            // With the flags of Python 3.13 it is a new one.
            (TlsLibrary::OpenSsl { strict: true, .. }, "requests") => &[HostNames::Urllib3],
            (TlsLibrary::OpenSsl { .. }, "requests" | "pip") => {
                &[HostNames::Urllib3, HostNames::Urllib3Old, HostNames::Python]
            }
            (TlsLibrary::OpenSsl { .. }, "node") => &[HostNames::Node],
            (TlsLibrary::OpenSsl { .. }, "ruby") => &[HostNames::Ruby],
            (TlsLibrary::OpenSsl { .. }, "php") => &[HostNames::Php],
            (TlsLibrary::OpenSsl { .. }, "openssl" | "wget") => &[HostNames::OpenSsl],
            (TlsLibrary::OpenSsl { .. }, _) => {
                &[HostNames::OpenSsl, HostNames::Python, HostNames::Curl, HostNames::Plain]
            }
            (TlsLibrary::GnuTls, _) => &[HostNames::GnuTls],
            (TlsLibrary::Java { .. }, _) => &[HostNames::Java],
            _ => &[HostNames::Plain],
        }
    }

    /// What the client does with this server, if it reads these roots.
    pub(super) fn judge(
        &self,
        presented: &Presented,
        roots: &RootsByFingerprint,
        facts: &mut FactsByFingerprint,
    ) -> Judgement {
        let Some(rules) = Rules::of(self.library, self.client, self.distribution) else {
            return Judgement::CannotJudge(format!(
                "trustup does not know the rules of {}",
                self.library.shown()
            ));
        };
        let mut sent = Vec::new();
        for der in &presented.chain {
            let member = Certificate::from_der(der).and_then(|certificate| {
                let facts = certificate.facts().map_err(|part| format!("its {part} is malformed"))?;
                Ok(Member { certificate, facts: facts.into() })
            });
            match member {
                Ok(member) => sent.push(member),
                Err(why) => {
                    return Judgement::CannotJudge(format!(
                        "the server sent a certificate that trustup cannot read: {why}"
                    ));
                }
            }
        }
        if sent.is_empty() {
            return Judgement::CannotJudge("the server sent no certificate".to_owned());
        }
        let occasion = Occasion {
            host: presented.host(),
            names: self.names.as_ref().map_or_else(|| self.usual_names(), std::slice::from_ref),
            now: presented.now(),
            is_stapled: presented.is_stapled,
        };
        let mut builder = Builder {
            rules: &rules,
            sent: &sent,
            roots,
            now: occasion.now,
            facts,
            found: Vec::new(),
            dead_end: DeadEnd::default(),
        };
        builder.build();
        let Builder { found, dead_end, .. } = builder;
        if found.is_empty() {
            return without_chain(&rules, &sent, &dead_end, roots, facts);
        }
        best(&rules, &found, &occasion)
    }
}

/// Of several chains that which decides.
fn best(rules: &Rules, chains: &[Chain], occasion: &Occasion<'_>) -> Judgement {
    let mut judged: Vec<(usize, Judgement)> =
        chains.iter().map(|chain| of_chain(rules, chain, occasion)).collect();
    let is_same =
        judged.windows(2).all(|two| std::mem::discriminant(&two[0].1) == std::mem::discriminant(&two[1].1));
    if rules.may_miss_issuers() && !is_same {
        return Judgement::CannotJudge(format!(
            "several certificates fit as issuers, and {} may take any of them",
            rules.words
        ));
    }
    judged.sort_by_key(|(faults, judgement)| {
        let rank = match judgement {
            Judgement::Accepts => 0,
            Judgement::CannotJudge(_) => 1,
            _ => 2,
        };
        (rank, *faults)
    });
    judged.swap_remove(0).1
}

/// The judgement on one chain, and the number of faults that it is for.
fn of_chain(rules: &Rules, chain: &Chain, occasion: &Occasion<'_>) -> (usize, Judgement) {
    let faults = chain.faults(occasion);
    let with = |wanted: Effect| -> Vec<&Found> {
        faults.iter().filter(|found| rules.effect(&found.fault, found.position) == wanted).collect()
    };
    let refusing = with(Effect::Refuses);
    if !refusing.is_empty() {
        let reasons: Vec<String> = refusing.iter().map(|found| words::reason(found)).collect();
        let why = format!("{} refuses it: {}", rules.words, reasons.join("; "));
        let change = Some(words::change(&refusing));
        return (refusing.len(), Judgement::Refuses { why, change });
    }
    let unknown = with(Effect::Unknown);
    if let Some(first) = unknown.first() {
        let why = format!(
            "{}, and trustup does not know whether {} accepts that",
            words::reason(first),
            rules.words
        );
        return (unknown.len(), Judgement::CannotJudge(why));
    }
    if chain.names_differ(occasion) {
        let why = "trustup does not know which names of the certificate this client compares".to_owned();
        return (1, Judgement::CannotJudge(why));
    }
    (0, Judgement::Accepts)
}

/// No chain ends in the store.
fn without_chain(
    rules: &Rules,
    sent: &[Member],
    dead_end: &DeadEnd,
    roots: &RootsByFingerprint,
    facts: &mut FactsByFingerprint,
) -> Judgement {
    if let Some(anchor) = &dead_end.not_a_root {
        return Judgement::Refuses {
            why: format!(
                "{} wants a root at the end of the chain, and it reads only {}, which {} issued",
                rules.words,
                anchor.subject(),
                anchor.issuer()
            ),
            change: Some(format!(
                "install the root {} instead, with `trustup bootstrap`: an intermediate is not enough for this client",
                anchor.issuer()
            )),
        };
    }
    let Some((last, depth)) = &dead_end.last else {
        return Judgement::CannotJudge("the chain is too long".to_owned());
    };
    let is_self_issued = last.is_self_issued();
    if *depth == 1 && is_self_issued {
        return Judgement::Refuses {
            why: "the server's certificate signed itself, and is not among the roots that it reads"
                .to_owned(),
            change: Some(
                "give the server a certificate of a CA whose root is installed (`trustup enroll` gets one)"
                    .to_owned(),
            ),
        };
    }
    // The same name with another key, or one that cannot be read.
    let same_name: Vec<&Certificate> =
        roots.values().filter(|root| root.subject_der() == last.issuer_der() && **root != *last).collect();
    if let Some(other) = same_name.first() {
        if facts_of(facts, other).is_none() {
            return Judgement::CannotJudge(format!("the root {} is malformed", other.subject()));
        }
        // It looks for the identifier first.
        if last.signature_by(other) == SignatureVerdict::Valid {
            return Judgement::Refuses {
                why: format!(
                    "{} refuses it: {} names another key of its issuer in authorityKeyIdentifier than {} has",
                    rules.words,
                    last.subject(),
                    other.subject()
                ),
                change: Some(if *depth == 1 {
                    "give the server another certificate, with the issuer's identifier in authorityKeyIdentifier"
                        .to_owned()
                } else {
                    format!("have the CA sign the intermediate {} anew", last.subject())
                }),
            };
        }
        return Judgement::Refuses {
            why: format!(
                "the chain ends at a root {} with another key than the one of that name that it reads",
                last.issuer()
            ),
            change: Some(format!("install the CA's current root {} with `trustup bootstrap`", last.issuer())),
        };
    }
    let sent_names: Vec<&[u8]> = sent.iter().map(|member| member.certificate.subject_der()).collect();
    let what = if is_self_issued || sent_names.contains(&last.issuer_der()) {
        format!("the chain ends at {}, which is not among the roots that it reads", last.issuer())
    } else {
        format!(
            "the chain ends at none of the roots that it reads; its last certificate was issued by {}",
            last.issuer()
        )
    };
    Judgement::Refuses { why: what, change: None }
}
