//! What a certificate says of itself.

use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::testing::{
    BASIC_CONSTRAINTS, TestCertificate, Xorshift, attribute, common_name, key, name, rsa_key, sequence,
};
use super::*;

fn parse(draft: &TestCertificate) -> Certificate {
    Certificate::from_der(&draft.der()).expect("parses")
}

#[test]
fn fields_are_those_of_the_certificate() {
    let root = parse(&TestCertificate { issuer: Some(common_name("Issuer")), ..TestCertificate::default() });
    assert_eq!(root.fingerprint(), Fingerprint::of(root.der()));
    assert_eq!(
        (root.label().as_str(), root.subject().as_str(), root.issuer().as_str()),
        ("Test Root", "CN=Test Root", "CN=Issuer")
    );
    assert_eq!(
        (root.subject_der(), root.issuer_der()),
        (&common_name("Test Root")[..], &common_name("Issuer")[..])
    );
    assert_eq!((root.serial(), root.version()), (&[0x12, 0x34][..], 3));
    assert_eq!((root.not_before(), root.not_after()), (1_577_836_800, 2_208_988_800));
    assert_eq!((root.is_ca(), root.signs_certificates(), root.serves_tls()), (Some(true), Some(true), None));
    assert_eq!(root.public_key(), rcgen::PublicKeyData::subject_public_key_info(key()));
    assert_eq!(
        (root.0.signature_algorithm.as_str(), root.weak_signature_hash()),
        ("1.2.840.10045.4.3.2", None)
    );
    assert!(!root.is_self_issued() && parse(&TestCertificate::default()).is_self_issued());
    assert_eq!(root.rsa_bits(), None);
    assert_eq!(format!("{root:?}"), format!("Certificate({} CN=Test Root)", &root.fingerprint().hex()[..16]));
    assert_eq!(pem::blocks(root.to_pem().as_bytes())[0].der.as_deref(), Some(root.der()));
}

#[test]
fn t3_nothing_may_follow_the_der() {
    let mut der = TestCertificate::default().der();
    der.extend(b"\n");
    assert!(Certificate::from_der(&der).expect_err("refused").contains("1 byte after"));
    let good = TestCertificate::default().der();
    for length in 0..good.len() {
        assert!(Certificate::from_der(&good[..length]).is_err(), "{length}");
    }
}

#[test]
fn what_is_too_large_is_not_parsed() {
    let large = |length: usize| TestCertificate::default().with("1.2.3.4", vec![0; length]).der();
    assert!(Certificate::from_der(&large(SIZE_LIMIT - 1000)).is_ok());
    assert!(Certificate::from_der(&large(SIZE_LIMIT)).expect_err("refused").contains("more than"));
}

#[test]
fn rsa_keys_are_measured_to_the_bit() {
    for bits in [512, 1023, 1024, 2047, 2048, 2049, 4096, 16384] {
        let root = parse(&TestCertificate { public_key: Some(rsa_key(bits)), ..TestCertificate::default() });
        assert_eq!(root.rsa_bits(), Some(bits));
    }
}

#[test]
fn weak_hashes_are_told_from_the_signature_algorithm() {
    for (oid, wanted) in [
        ("1.2.840.113549.1.1.4", Some(WeakHash::Md5)),
        ("1.2.840.113549.1.1.5", Some(WeakHash::Sha1)),
        ("1.2.840.10045.4.1", Some(WeakHash::Sha1)),
        ("1.2.840.113549.1.1.10", Some(WeakHash::Sha1)),
        ("1.2.840.113549.1.1.11", None),
        ("1.3.101.112", None),
    ] {
        assert_eq!(
            parse(&TestCertificate { signature: oid, ..TestCertificate::default() }).weak_signature_hash(),
            wanted,
            "{oid}"
        );
    }
}

#[test]
fn every_root_of_the_web_pki_parses() {
    assert!(TLS_SERVER_ROOT_CERTS.len() > 100);
    for der in TLS_SERVER_ROOT_CERTS {
        let root = Certificate::from_der(der).expect("a root");
        assert!(root.is_self_issued() && root.is_ca() == Some(true), "{root:?}");
    }
}

#[test]
fn malformed_or_doubled_extensions_are_refused() {
    let malformed = TestCertificate::default().with(BASIC_CONSTRAINTS, vec![0x30, 0x05, 0x01]);
    assert!(Certificate::from_der(&malformed.der()).is_err());
    let mut doubled = TestCertificate::default();
    doubled.extensions.push((BASIC_CONSTRAINTS, true, sequence(&[])));
    assert!(Certificate::from_der(&doubled.der()).expect_err("refused").contains("twice"));
}

#[test]
fn no_input_makes_it_panic() {
    let cn = attribute("2.5.4.3", 0x1e, b"\0A\0B");
    let seeds = [TestCertificate::named(name(&[&[&cn]])).der(), TLS_SERVER_ROOT_CERTS[0].to_vec()];
    let mut random = Xorshift(0x5eed_0003);
    let mut parsed = 0;
    for round in 0..20_000 {
        let bytes = random.mutate(&seeds[round % seeds.len()]);
        if let Ok(certificate) = Certificate::from_der(&bytes) {
            parsed += 1;
            assert_eq!(certificate.der(), bytes);
            let _ = (
                certificate.label(),
                certificate.subject(),
                certificate.issuer(),
                certificate.subject_hash(),
            );
            let policy = policy::AcceptancePolicy { now: 0, allow_expired: true, allow_intermediate: true };
            let _ = (policy::check(&certificate, &policy), certificate.self_signature());
        }
    }
    assert!(parsed > 100, "the mutations reach beyond the parser: {parsed}");
}
