//! Which certificates may become anchors. A pure function of certificate, clock and options; the first reason found is
//! reported. One refused certificate fails a source that names one root, and is omitted from a source of many: that is
//! the caller's decision.

use super::{Certificate, SelfSignature, WeakHash, key_form, name, structure};
use crate::text;

/// A longer label makes p11-kit's hash-directory extract fail: its file name is too long (threat T4).
const LABEL_LIMIT: usize = 200;

/// Below this an RSA key is refused, as OpenSSL's default security level does.
const RSA_MINIMUM: usize = 2048;

/// What the user allowed, and the current time.
#[derive(Clone, Copy, Debug)]
pub struct AcceptancePolicy {
    /// Seconds since 1970, from the real clock (threat T7).
    pub now: i64,
    /// `--allow-expired`: the validity period does not matter.
    pub allow_expired: bool,
    /// `--allow-intermediate`: the certificate need not have signed itself.
    pub allow_intermediate: bool,
}

/// Whether a certificate may become an anchor; the error is the reason, in a form that follows "left out:" or
/// "unsuitable:".
pub fn check(certificate: &Certificate, policy: &AcceptancePolicy) -> Result<(), String> {
    form(certificate)?;
    name(certificate)?;
    authority(certificate)?;
    origin(certificate, policy)?;
    key(certificate)?;
    validity(certificate, policy)
}

/// The option that would let a refused certificate pass, if a single one would.
pub(crate) fn remedy(certificate: &Certificate, policy: &AcceptancePolicy) -> Option<&'static str> {
    let passes = |policy: AcceptancePolicy| check(certificate, &policy).is_ok();
    if passes(*policy) {
        None
    } else if passes(AcceptancePolicy { allow_expired: true, ..*policy }) {
        Some("--allow-expired")
    } else if passes(AcceptancePolicy { allow_intermediate: true, ..*policy }) {
        Some("--allow-intermediate")
    } else {
        None
    }
}

/// Would every program that reads the bundle accept it?
fn form(certificate: &Certificate) -> Result<(), String> {
    structure::check(certificate.der()).map_err(|part| {
        format!(
            "its {part} is malformed: programs that cannot read it may load no root of a store that holds it"
        )
    })
}

/// Threat T4. Named by fingerprint, because the name is what cannot be shown.
fn name(certificate: &Certificate) -> Result<(), String> {
    if let Some(unfit) = name::unfit(certificate.subject_der()) {
        return Err(format!("the subject of certificate {} {unfit}", certificate.fingerprint()));
    }
    let length = name::labels(certificate.subject_der()).iter().map(String::len).max().unwrap_or_default();
    if length > LABEL_LIMIT {
        return Err(format!(
            "the name of certificate {} has {length} bytes, more than {LABEL_LIMIT}",
            certificate.fingerprint()
        ));
    }
    Ok(())
}

/// Is it a CA, and one for TLS servers?
///
/// A version 1 certificate has no basicConstraints and is refused like any other without them, although OpenSSL and
/// p11-kit accept a self-issued one as a CA: nothing in it distinguishes a root from the self-signed certificate of a
/// server, and Go, for one, will not follow a chain that has it in the middle.
fn authority(certificate: &Certificate) -> Result<(), String> {
    match certificate.is_ca() {
        Some(true) => {}
        Some(false) => {
            return Err("a leaf, not a CA certificate: its basicConstraints say CA:FALSE".to_owned());
        }
        None if certificate.version() < 3 => {
            return Err(format!(
                "no basicConstraints: an X.509 version {} certificate cannot say that it is a CA",
                certificate.version()
            ));
        }
        None => return Err("no basicConstraints: it does not say that it is a CA".to_owned()),
    }
    if certificate.signs_certificates() == Some(false) {
        return Err("its keyUsage lacks keyCertSign: it may not sign certificates".to_owned());
    }
    if certificate.serves_tls() == Some(false) {
        return Err("its extended key usage lacks serverAuth: it is not a root for TLS servers".to_owned());
    }
    Ok(())
}

/// Is it a root? Self-issued is not enough: a CA that changed its key cross-signs its own name (RFC 5280 section
/// 3.2), and such a certificate is an intermediate, which OpenSSL does not accept as an anchor. The check of the
/// signature also finds a damaged file that still parses. A root's own signature adds no trust (the pin or the
/// connection does), so its hash does not matter, only an intermediate's.
fn origin(certificate: &Certificate, policy: &AcceptancePolicy) -> Result<(), String> {
    let foreign = if !certificate.is_self_issued() {
        Some(format!("an intermediate, not a root: issued by {}", certificate.issuer()))
    } else if certificate.self_signature() == SelfSignature::Invalid {
        Some("not a root: it names itself as issuer, but its signature is not one of its own key".to_owned())
    } else {
        None
    };
    match (foreign, certificate.weak_signature_hash()) {
        (Some(reason), _) if !policy.allow_intermediate => Err(reason),
        (Some(_), Some(WeakHash::Md5)) => Err("an intermediate signed with MD5".to_owned()),
        (Some(_), Some(WeakHash::Sha1)) => Err("an intermediate signed with SHA-1".to_owned()),
        _ => Ok(()),
    }
}

fn key(certificate: &Certificate) -> Result<(), String> {
    match certificate.rsa_bits() {
        Some(bits) if bits < RSA_MINIMUM => {
            Err(format!("its RSA key has {bits} bits, fewer than {RSA_MINIMUM}"))
        }
        _ => key_form::check(certificate.public_key()),
    }
}

fn validity(certificate: &Certificate, policy: &AcceptancePolicy) -> Result<(), String> {
    if policy.allow_expired {
        Ok(())
    } else if policy.now > certificate.not_after() {
        Err(format!("expired on {}", text::date(certificate.not_after())))
    } else if policy.now < certificate.not_before() {
        Err(format!("not valid before {}", text::date(certificate.not_before())))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        ANY_USAGE, BASIC_CONSTRAINTS, CLIENT_AUTH, EXTENDED_KEY_USAGE, KEY_USAGE, SERVER_AUTH,
        TestCertificate, UTF8, VISIBLE, attribute, common_name, name, rsa_key, sequence, usages,
    };
    use super::*;

    /// 2026-11-23.
    const NOW: i64 = 1_795_392_000;
    const STRICT: AcceptancePolicy =
        AcceptancePolicy { now: NOW, allow_expired: false, allow_intermediate: false };
    const WITH_INTERMEDIATE: AcceptancePolicy = AcceptancePolicy { allow_intermediate: true, ..STRICT };

    fn parse(draft: &TestCertificate) -> Certificate {
        Certificate::from_der(&draft.der()).expect("parses")
    }

    fn reason(draft: &TestCertificate, policy: &AcceptancePolicy) -> String {
        check(&parse(draft), policy).expect_err("refused")
    }

    #[test]
    fn a_good_root_passes() {
        assert_eq!(check(&parse(&TestCertificate::default()), &STRICT), Ok(()));
        assert_eq!(remedy(&parse(&TestCertificate::default()), &STRICT), None);
        assert_eq!(check(&parse(&TestCertificate::default().without(KEY_USAGE)), &STRICT), Ok(()));
    }

    #[test]
    fn what_other_programs_cannot_decode_is_refused() {
        let visible_string = name(&[&[&attribute("2.5.4.3", VISIBLE, b"Unusual")]]);
        assert!(reason(&TestCertificate::named(visible_string), &STRICT).contains("issuer is malformed"));
        let broken = name(&[&[&attribute("2.5.4.3", UTF8, b"\xff")]]);
        let draft = TestCertificate {
            subject: broken,
            issuer: Some(common_name("Issuer")),
            ..TestCertificate::default()
        };
        assert!(reason(&draft, &WITH_INTERMEDIATE).contains("subject is malformed"));
    }

    #[test]
    fn leaves_and_what_does_not_say_that_it_is_a_ca_are_refused() {
        let leaf = TestCertificate::default().with(BASIC_CONSTRAINTS, sequence(&[]));
        assert!(reason(&leaf, &STRICT).contains("CA:FALSE"));
        let explicit = TestCertificate::default().with(BASIC_CONSTRAINTS, sequence(&[&[1, 1, 0]]));
        assert!(reason(&explicit, &STRICT).contains("CA:FALSE"));
        let silent = TestCertificate::default().without(BASIC_CONSTRAINTS);
        assert!(reason(&silent, &STRICT).contains("no basicConstraints"));
        let old = TestCertificate { version: 1, extensions: Vec::new(), ..TestCertificate::default() };
        assert!(reason(&old, &STRICT).contains("version 1"));
        for draft in [leaf, silent, old] {
            assert_eq!(remedy(&parse(&draft), &STRICT), None);
        }
    }

    #[test]
    fn usages_must_allow_a_tls_root() {
        let digital_signature_only = TestCertificate::default().with(KEY_USAGE, vec![0x03, 0x02, 0x07, 0x80]);
        assert!(reason(&digital_signature_only, &STRICT).contains("keyCertSign"));
        for (oids, allowed) in [
            (&[SERVER_AUTH][..], true),
            (&[CLIENT_AUTH, SERVER_AUTH], true),
            (&[ANY_USAGE], true),
            (&[CLIENT_AUTH], false),
            (&["1.3.6.1.5.5.7.3.4", "1.2.3.4"], false),
        ] {
            let draft = TestCertificate::default().with(EXTENDED_KEY_USAGE, usages(oids));
            assert_eq!(check(&parse(&draft), &STRICT).is_ok(), allowed, "{oids:?}");
            assert!(allowed || reason(&draft, &STRICT).contains("serverAuth"));
        }
    }

    #[test]
    fn the_validity_period_counts_to_the_second_unless_allowed() {
        let root = parse(&TestCertificate::default());
        let at = |now| check(&root, &AcceptancePolicy { now, ..STRICT });
        assert_eq!([at(root.not_before()), at(root.not_after())], [Ok(()), Ok(())]);
        assert_eq!(at(root.not_after() + 1), Err("expired on 2040-01-01".to_owned()));
        assert_eq!(at(root.not_before() - 1), Err("not valid before 2020-01-01".to_owned()));
        for now in [0, i64::MAX] {
            let policy = AcceptancePolicy { now, ..STRICT };
            assert_eq!(remedy(&root, &policy), Some("--allow-expired"));
            assert_eq!(check(&root, &AcceptancePolicy { allow_expired: true, ..policy }), Ok(()));
        }
    }

    #[test]
    fn intermediates_need_their_option_and_a_strong_signature() {
        let issuer = Some(common_name("Some Issuer"));
        let intermediate =
            TestCertificate { issuer: issuer.clone(), signed: false, ..TestCertificate::default() };
        assert!(reason(&intermediate, &STRICT).contains("issued by CN=Some Issuer"));
        assert_eq!(check(&parse(&intermediate), &WITH_INTERMEDIATE), Ok(()));
        assert_eq!(remedy(&parse(&intermediate), &STRICT), Some("--allow-intermediate"));
        for (signature, hash) in [("1.2.840.113549.1.1.4", "MD5"), ("1.2.840.113549.1.1.5", "SHA-1")] {
            let weak = TestCertificate { issuer: issuer.clone(), signature, ..TestCertificate::default() };
            assert!(reason(&weak, &WITH_INTERMEDIATE).contains(hash));
            assert!(reason(&weak, &STRICT).contains("intermediate"));
        }
    }

    #[test]
    fn a_certificate_that_only_names_itself_is_no_root() {
        let cross = TestCertificate { signed: false, ..TestCertificate::default() };
        assert!(reason(&cross, &STRICT).contains("not a root"));
        assert_eq!(remedy(&parse(&cross), &STRICT), Some("--allow-intermediate"));
        // A root's own MD5 signature does not matter.
        let old_root = TestCertificate { signature: "1.2.840.113549.1.1.4", ..TestCertificate::default() };
        assert_eq!(check(&parse(&old_root), &STRICT), Ok(()));
    }

    #[test]
    fn small_rsa_keys_are_refused() {
        for (bits, allowed) in [(1024, false), (2047, false), (2048, true), (4096, true)] {
            let draft = TestCertificate {
                public_key: Some(rsa_key(bits)),
                signed: false,
                ..TestCertificate::default()
            };
            assert_eq!(check(&parse(&draft), &WITH_INTERMEDIATE).is_ok(), allowed, "{bits}");
            assert!(allowed || reason(&draft, &WITH_INTERMEDIATE).contains("RSA key"));
        }
    }

    #[test]
    fn t4_names_that_cannot_be_shown_are_refused_by_fingerprint() {
        for bad in ["Root\n-----BEGIN CERTIFICATE-----", "a\0b", "\x1b[2K", "\u{9b}", "x\u{202e}y", "\x7f"] {
            for kind in ["2.5.4.3", "2.5.4.6", "1.2.3.4"] {
                let subject = name(&[
                    &[&attribute("2.5.4.3", UTF8, b"Fine")],
                    &[&attribute(kind, UTF8, bad.as_bytes())],
                ]);
                let certificate = parse(&TestCertificate::named(subject));
                let everything = AcceptancePolicy { now: NOW, allow_expired: true, allow_intermediate: true };
                let reason = check(&certificate, &everything).expect_err("refused");
                assert!(reason.contains(&certificate.fingerprint().hex()), "{reason}");
                assert!(!reason.chars().any(text::is_unsafe), "{reason:?}");
            }
        }
    }

    #[test]
    fn t4_labels_have_200_bytes_at_most() {
        let (short, long) = ("x".repeat(200), "x".repeat(201));
        let cn = |text: &str| attribute("2.5.4.3", UTF8, text.as_bytes());
        let two =
            |first: &str, last: &str| parse(&TestCertificate::named(name(&[&[&cn(first)], &[&cn(last)]])));
        assert_eq!(check(&two(&short, &short), &STRICT), Ok(()));
        assert!(check(&two(&short, &long), &STRICT).is_err() && check(&two(&long, &short), &STRICT).is_err());
        for (label, allowed) in [("x".repeat(200), true), ("x".repeat(201), false), ("é".repeat(101), false)]
        {
            let certificate = parse(&TestCertificate::named(common_name(&label)));
            assert_eq!(check(&certificate, &STRICT).is_ok(), allowed);
            if !allowed {
                let reason = check(&certificate, &STRICT).expect_err("refused");
                assert!(reason.contains(&certificate.fingerprint().hex()) && reason.contains("200"));
            }
        }
    }

    #[test]
    fn odd_names_without_controls_pass() {
        for label in ["", "../../etc/passwd", "$(id)", "Größe 日本", "-rf *"] {
            assert_eq!(
                check(&parse(&TestCertificate::named(common_name(label))), &STRICT),
                Ok(()),
                "{label}"
            );
        }
    }
}
