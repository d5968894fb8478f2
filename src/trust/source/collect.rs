//! Accepts or omits, one certificate at a time, and checks at the end that every pin was met. All sources go through
//! here, so that one rule holds for all. Pure: no file, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::cache::CacheEntry;
use super::{Acquired, AcquiredAnchor, LeftOut, SourceReport, SourceRequest};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::Certificate;
use crate::pki::cert::input::CertificateFile;
use crate::pki::cert::policy::{self, AcceptancePolicy};
use crate::pki::fingerprint::Fingerprint;

/// The hint for a fingerprint that does not match. Never a ready option with the received value: a user who copies that
/// trusts first and never checks (threat T8).
pub(super) const COMPARE_HINT: &str = "compare on the CA's host: `step certificate fingerprint $(step path)/certs/root_ca.crt` (or `openssl x509 -in root_ca.crt -noout -fingerprint -sha256`); if it differs from the expected value, the pin is wrong or old; if it is the same, the connection is intercepted";

/// How many received certificates an error lists.
const LISTED: usize = 5;

/// Where a batch of certificates comes from.
pub(super) struct CertificateOrigin<'a> {
    /// Source id.
    pub(crate) id: &'a str,
    /// The file, for file sources.
    pub(crate) file: Option<&'a Path>,
    /// Whether unsuitable ones are omitted (a source of many roots) or fail the run (a source that names one).
    pub(crate) many: bool,
}

pub(super) struct Collected<'a> {
    request: &'a SourceRequest,
    policy: AcceptancePolicy,
    anchors: Vec<AcquiredAnchor>,
    left_out: Vec<LeftOut>,
    reports: Vec<(usize, SourceReport)>,
    /// What was accepted from each source, by id, even if another also brought it.
    brought: BTreeMap<String, Vec<Fingerprint>>,
    warnings: Vec<String>,
    /// Pins that a certificate was accepted for.
    met: BTreeSet<Fingerprint>,
    /// Why a source could not meet a pin.
    misses: Vec<(Fingerprint, Error)>,
    /// What came instead: subject and fingerprint.
    received: Vec<(String, Fingerprint)>,
    /// Bundles that a hash pins.
    bundles: Vec<CacheEntry>,
}

impl<'a> Collected<'a> {
    pub(super) fn new(request: &'a SourceRequest, env: &Env) -> Self {
        Collected {
            request,
            policy: AcceptancePolicy {
                now: env.now(),
                allow_expired: request.allow_expired,
                allow_intermediate: request.allow_intermediate,
            },
            anchors: Vec::new(),
            left_out: Vec::new(),
            reports: Vec::new(),
            brought: BTreeMap::new(),
            warnings: Vec::new(),
            met: BTreeSet::new(),
            misses: Vec::new(),
            received: Vec::new(),
            bundles: Vec::new(),
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A bundle that its hash pins, for the cache.
    pub(super) fn keep(&mut self, bundle: CacheEntry) {
        self.bundles.push(bundle);
    }

    /// Finishes a source; its accepted certificates are filled in at the end.
    pub(super) fn report(&mut self, index: usize, report: SourceReport) {
        self.reports.push((index, report));
    }

    pub(super) fn has_met(&self, pin: &Fingerprint) -> bool {
        self.met.contains(pin)
    }

    /// A source that cannot meet `pin`: an error only if no other source does.
    pub(super) fn missed(&mut self, pin: Fingerprint, why: Error) {
        self.misses.push((pin, why));
    }

    /// The accepted anchors that a pin names.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &AcquiredAnchor> {
        self.anchors.iter().filter(|anchor| anchor.pinned)
    }

    /// Accepts the content of a certificate file, against `pins` if there are any. Returns how many were accepted.
    pub(super) fn take_file(
        &mut self,
        origin: &CertificateOrigin,
        file: CertificateFile,
        pins: &[Fingerprint],
    ) -> Result<usize> {
        let many = origin.many || file.certificates.len() + file.problems.len() > 1;
        for problem in file.problems {
            if !many {
                return Err(
                    Error::usage(format!("unsuitable certificate: {}", problem.what)).at(place(origin))
                );
            }
            self.leave_out(origin, String::new(), problem.fingerprint, problem.what);
        }
        let mut accepted = 0;
        for certificate in file.certificates {
            accepted += usize::from(self.take(origin, certificate, pins, many)?);
        }
        Ok(accepted)
    }

    /// Accepts one certificate. `Ok(false)`: omitted.
    pub(super) fn take(
        &mut self,
        origin: &CertificateOrigin,
        certificate: Certificate,
        pins: &[Fingerprint],
        many: bool,
    ) -> Result<bool> {
        let fingerprint = certificate.fingerprint();
        let pinned = pins.contains(&fingerprint);
        if !pinned && !pins.is_empty() {
            if self.request.require_pin && origin.file.is_some() {
                return Err(Error::not_trusted(format!(
                    "`{}` is not pinned, and `--require-pin` is given",
                    certificate.subject()
                ))
                .at(place(origin))
                .hint(
                    "add its `--fingerprint` after comparing it on the CA's host, or take it out of the file",
                ));
            }
            self.received.push((certificate.subject(), fingerprint));
            self.leave_out(
                origin,
                certificate.subject(),
                Some(fingerprint),
                "it matches no `--fingerprint`".to_owned(),
            );
            return Ok(false);
        }
        if let Err(reason) = policy::check(&certificate, &self.policy) {
            if pinned || !many {
                let error =
                    Error::usage(format!("unsuitable certificate `{}`: {reason}", certificate.subject()))
                        .at(place(origin));
                // An option that ignores the clock is no remedy for a wrong clock.
                if self.policy.now < certificate.not_before() && !self.policy.allow_expired {
                    return Err(error.hint(format!(
                        "this machine's clock says {}: if that is wrong, set the clock of the host, which containers share; if it is right, the CA's clock was wrong when it made the root, or the root is for later",
                        crate::text::moment(self.policy.now)
                    )));
                }
                return Err(match policy::remedy(&certificate, &self.policy) {
                    Some(option) => error.hint(format!("`{option}` accepts it anyway")),
                    None => error.hint(
                        "what becomes trusted must be a CA's root certificate, valid now; for a step-ca it is `$(step path)/certs/root_ca.crt`",
                    ),
                });
            }
            self.leave_out(origin, certificate.subject(), Some(fingerprint), reason);
            return Ok(false);
        }
        if pinned {
            self.met.insert(fingerprint);
        }
        let brought = self.brought.entry(origin.id.to_owned()).or_default();
        if !brought.contains(&fingerprint) {
            brought.push(fingerprint);
        }
        match self.anchors.iter_mut().find(|anchor| anchor.certificate.fingerprint() == fingerprint) {
            Some(anchor) => anchor.pinned |= pinned,
            None => self.anchors.push(AcquiredAnchor {
                certificate,
                source: origin.id.to_owned(),
                pinned,
                file: origin.file.map(Path::to_path_buf),
            }),
        }
        Ok(true)
    }

    /// Names what is not accepted.
    pub(super) fn leave_out(
        &mut self,
        origin: &CertificateOrigin,
        subject: String,
        fingerprint: Option<Fingerprint>,
        reason: String,
    ) {
        let source = match origin.file {
            Some(file) => file.display().to_string(),
            None => origin.id.to_owned(),
        };
        let entry = LeftOut { subject, fingerprint, source, reason };
        if !self.left_out.contains(&entry) {
            self.left_out.push(entry);
        }
    }

    /// An error for a source of which nothing is left, with the reasons.
    pub(super) fn nothing_left(&self, origin: &CertificateOrigin) -> Error {
        let reasons: Vec<String> = self
            .left_out
            .iter()
            .filter(|left| left.source.starts_with(origin.id))
            .map(|left| match left.subject.as_str() {
                "" => left.reason.clone(),
                subject => format!("`{subject}`: {}", left.reason),
            })
            .collect();
        let error = Error::usage("it has no usable certificate").at(place(origin));
        match reasons.len() {
            0 => error,
            count => {
                let more =
                    if count > LISTED { format!("; and {} more", count - LISTED) } else { String::new() };
                error.because(anyhow::anyhow!("{}{more}", reasons[..count.min(LISTED)].join("; ")))
            }
        }
    }

    /// Every pin must have been met.
    pub(super) fn check_pins(&mut self) -> Result<()> {
        let pins = self.request.pins.iter().chain(&self.request.ca_url_pin);
        let Some(missing) = pins.copied().find(|pin| !self.met.contains(pin)) else { return Ok(()) };
        if let Some(at) = self.misses.iter().position(|(pin, _)| *pin == missing) {
            return Err(self.misses.swap_remove(at).1);
        }
        Err(mismatch(missing, &self.received))
    }

    pub(super) fn finish(mut self) -> Acquired {
        self.reports.sort_by_key(|(index, _)| *index);
        for (_, report) in &mut self.reports {
            report.fingerprints = self.brought.get(&report.id).cloned().unwrap_or_default();
        }
        // Files are here at each start.
        let roots = self.anchors.iter().filter(|anchor| anchor.pinned && anchor.file.is_none());
        let roots = roots.map(|anchor| CacheEntry::Root(anchor.certificate.clone()));
        Acquired {
            pinned: roots.chain(self.bundles).collect(),
            anchors: self.anchors,
            left_out: self.left_out,
            sources: self.reports.into_iter().map(|(_, report)| report).collect(),
            warnings: self.warnings,
        }
    }
}

fn place(origin: &CertificateOrigin) -> String {
    origin.file.map_or_else(|| origin.id.to_owned(), |file| file.display().to_string())
}

/// The message of threat T8: what was expected, what came, and where to compare.
pub(super) fn mismatch(expected: Fingerprint, received: &[(String, Fingerprint)]) -> Error {
    let came: Vec<String> = received
        .iter()
        .take(LISTED)
        .map(|(subject, fingerprint)| format!("{fingerprint} (`{subject}`)"))
        .collect();
    let came = match received.len() {
        0 => "no certificate".to_owned(),
        count if count > LISTED => format!("{} and {} more", came.join(", "), count - LISTED),
        _ => came.join(", "),
    };
    Error::not_trusted(format!("the fingerprint does not match: expected {expected}, received {came}"))
        .hint(COMPARE_HINT)
}
