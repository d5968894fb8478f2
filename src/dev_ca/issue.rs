//! From a request and a good token, or from a certificate to renew, to a new certificate: step-ca's rules about names
//! and times, with its sentences.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateDer;

use super::DevCa;
use super::api::Reply;
use super::authority::{BACKDATE, Leaf, PROVISIONER, PROVISIONER_LEAF, common_name};
use super::provisioners::{CLAIMS, Grant};
use super::request::Csr;
use super::times::{GoDuration, When, moment};
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::key::PublicKey;

type NamePredicate = fn(&SubjectAltName) -> bool;

/// The kinds of names in the order in which step-ca compares them, and its names for them.
const KINDS: [(&str, NamePredicate); 4] = [
    ("DNS names", |name| matches!(name, SubjectAltName::Dns(_))),
    ("email addresses", |name| matches!(name, SubjectAltName::Email(_))),
    ("IP addresses", |name| matches!(name, SubjectAltName::Ip(_))),
    ("URIs", |name| matches!(name, SubjectAltName::Uri(_))),
];

impl DevCa {
    /// The certificate that `grant` allows, for the key of `csr`: its names are the token's.
    pub(super) fn issue_for(
        &self,
        csr: &Csr,
        grant: &Grant,
        not_before: When,
        not_after: When,
    ) -> Result<Certificate, Reply> {
        self.check_names(csr, grant)?;
        let (not_before, not_after) = self.validity(grant, not_before, not_after)?;
        let leaf = Leaf {
            common_name: Some(&grant.subject),
            names: &grant.names,
            key: &csr.key,
            not_before,
            not_after,
            client: true,
            provisioner: Some(grant.provisioner.clone()),
        };
        self.authority.sign(leaf).map_err(|error| Reply::internal(&error.to_string()))
    }

    fn check_names(&self, csr: &Csr, grant: &Grant) -> Result<(), Reply> {
        if let Some(name) = &csr.common_name {
            let mut allowed = vec![grant.subject.clone()];
            allowed.extend(grant.names.iter().map(ToString::to_string));
            // An X5C token allows only its subject.
            let want = match grant.credential {
                Some(_) => {
                    allowed.truncate(1);
                    grant.subject.clone()
                }
                None => listed(allowed.iter()),
            };
            if !allowed.contains(name) {
                return Err(Reply::forbidden(&format!(
                    "certificate request does not contain the valid common name - got {name}, want {want}"
                )));
            }
        }
        for (kind, is) in KINDS {
            let of = |names: &[SubjectAltName]| -> BTreeSet<SubjectAltName> {
                names.iter().filter(|name| is(name)).cloned().collect()
            };
            let (got, want) = (of(&csr.names), of(&grant.names));
            // No name of a kind is not a mismatch: the token decides.
            if !got.is_empty() && got != want {
                return Err(Reply::forbidden(&format!(
                    "certificate request does not contain the valid {kind} - got {}, want {}",
                    listed(got.iter()),
                    listed(want.iter())
                )));
            }
        }
        let permitted = self.authority.names();
        match grant.names.iter().find(|name| !permitted.permit(name)) {
            None => Ok(()),
            Some(name) => Err(Reply::forbidden(&format!(
                "{name} is not a name of this development CA: {permitted} (`--name` adds one)"
            ))),
        }
    }

    /// Seconds since 1970, both.
    fn validity(&self, grant: &Grant, not_before: When, not_after: When) -> Result<(u64, u64), Reply> {
        let now = self.now();
        let backdate = BACKDATE as i64;
        let given = not_before.resolve(now);
        let start = given.unwrap_or(now);
        let wanted = not_after.resolve(start);
        let ca_ends = self.authority.ends() as i64;
        let mut ends = wanted.unwrap_or(start.saturating_add(CLAIMS.default).min(ca_ends));
        if let Some(credential) = &grant.credential {
            if start < credential.not_before() {
                return Err(Reply::forbidden(&format!(
                    "requested certificate notBefore ({}) is before the active validity window of the provisioning credential ({})",
                    moment(start),
                    moment(credential.not_before())
                )));
            }
            if wanted.is_some_and(|wanted| wanted > credential.not_after()) {
                return Err(Reply::forbidden(&format!(
                    "requested certificate notAfter ({}) is after the expiration of the provisioning credential ({})",
                    moment(ends),
                    moment(credential.not_after())
                )));
            }
            ends = ends.min(credential.not_after());
        }
        let start = if given.is_none() { start.saturating_sub(backdate) } else { start };
        if ends < now {
            return Err(Reply::bad(&format!("notAfter cannot be in the past; na={}", moment(ends))));
        }
        if ends < start {
            return Err(Reply::bad(&format!(
                "notAfter cannot be before notBefore; na={}, nb={}",
                moment(ends),
                moment(start)
            )));
        }
        let life = ends.saturating_sub(start);
        if life < CLAIMS.min {
            return Err(Reply::forbidden(&format!(
                "requested duration of {} is less than the authorized minimum certificate duration of {}",
                GoDuration(life),
                GoDuration(CLAIMS.min)
            )));
        }
        if life > CLAIMS.max + backdate {
            return Err(Reply::forbidden(&format!(
                "requested duration of {} is more than the authorized maximum certificate duration of {}",
                GoDuration(life),
                GoDuration(CLAIMS.max + backdate)
            )));
        }
        if ends > ca_ends {
            return Err(Reply::forbidden(&format!(
                "requested certificate notAfter ({}) is after the end of this development CA ({})",
                moment(ends),
                moment(ca_ends)
            )));
        }
        Ok((start.unsigned_abs(), ends.unsigned_abs()))
    }

    /// The content of `client` again: the same names, the same lifetime; for the same key unless another is given.
    pub(super) fn reissue(
        &self,
        client: &CertificateDer<'static>,
        key: Option<&PublicKey>,
    ) -> Result<Certificate, Reply> {
        let refused = |why: &str| Reply::unauthorized(&format!("renewal refused: {why}"));
        let old = Certificate::from_der(client).map_err(|why| refused(&why))?;
        // TLS accepted a certificate of the root's, too; we renew only those of the intermediate.
        if old.issuer_der() != self.authority.intermediate().subject_der() {
            return Err(refused("the certificate is not from this CA"));
        }
        let names = old.subject_alt_names().map_err(|why| refused(&why))?;
        let old_key = PublicKey::from_der(old.public_key());
        let key = key.or(old_key.as_ref()).ok_or_else(|| refused("its key is not supported"))?;
        let now = self.now();
        let life = old.not_after().saturating_sub(old.not_before());
        let start = now.saturating_sub(BACKDATE as i64);
        let ends = start.saturating_add(life).min(self.authority.ends() as i64);
        let common_name = common_name(client);
        let leaf = Leaf {
            common_name: common_name.as_deref(),
            names: &names,
            key,
            not_before: start.unsigned_abs(),
            not_after: ends.unsigned_abs(),
            client: true,
            provisioner: provisioner_of(client),
        };
        self.authority.sign(leaf).map_err(|error| Reply::internal(&error.to_string()))
    }
}

/// The content of the extension that names the provisioner.
fn provisioner_of(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let wanted: Vec<u64> = PROVISIONER.into_iter().chain([PROVISIONER_LEAF]).collect();
    let found = parsed
        .extensions()
        .iter()
        .find(|extension| extension.oid.iter().is_some_and(|arcs| arcs.eq(wanted.iter().copied())))?;
    Some(found.value.to_vec())
}

/// A list in Go's format.
fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    format!("[{}]", items.map(|item| item.to_string()).collect::<Vec<_>>().join(" "))
}
