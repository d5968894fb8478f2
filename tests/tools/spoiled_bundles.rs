//! One certificate that a program cannot decode can take the whole bundle away from it. What the policy lets
//! through never does: shown by changing good certificates at random and giving to OpenSSL what is left.

use std::path::Path;

use tempfile::TempDir;
use trustup::pki::cert::policy::{self, AcceptancePolicy};
use trustup::pki::cert::{Certificate, pem};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::openssl::try_openssl;
use crate::support::der::{TestCertificate, UTF8, VISIBLE, attribute, common_name, name};
use crate::support::xorshift::Xorshift;

/// Form matters here, not date or origin.
const LAX: AcceptancePolicy =
    AcceptancePolicy { now: 1_795_392_000, allow_expired: true, allow_intermediate: true };

/// Whether openssl loads a bundle of these as its trusted roots.
fn loads(directory: &Path, bundle: &[&[u8]]) -> bool {
    let text: String = bundle.iter().map(|der| pem::encode(der)).collect();
    std::fs::write(directory.join("bundle.pem"), text).expect("written");
    let arguments = ["verify", "-CAfile", "bundle.pem", "root.pem"];
    match try_openssl(directory, &arguments) {
        Ok(_) => true,
        Err(talk) => {
            assert!(talk.contains("bundle.pem"), "openssl fails for another reason: {talk}");
            false
        }
    }
}

/// A directory with a good root `root.pem`, and that root.
fn good_root() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().expect("a directory");
    let der = TestCertificate::named(common_name("Good Root")).der();
    std::fs::write(directory.path().join("root.pem"), pem::encode(&der)).expect("written");
    (directory, der)
}

#[test]
#[ignore = "needs openssl"]
fn names_that_openssl_cannot_decode_spoil_a_bundle_and_are_refused() {
    let (directory, root) = good_root();
    assert!(loads(directory.path(), &[&root]));
    for (tag, value, spoils) in [
        (UTF8, &b"Fine"[..], false),
        (VISIBLE, b"Unusual", true),
        (UTF8, b"\xff", true),
        (0x04, b"octets", true),
        (0x1e, b"\xd8\x3d\xdd\x12", true),
    ] {
        let other = TestCertificate::named(name(&[&[&attribute("2.5.4.3", tag, value)]])).der();
        assert_eq!(loads(directory.path(), &[&root, &other]), !spoils, "{tag:x}");
        let certificate = Certificate::from_der(&other).expect("our parser reads it");
        assert_eq!(policy::check(&certificate, &LAX).is_err(), spoils, "{tag:x}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn no_changed_certificate_that_passes_spoils_a_bundle() {
    let (directory, root) = good_root();
    let mut seeds = vec![root.clone()];
    seeds.extend(TLS_SERVER_ROOT_CERTS.iter().step_by(17).map(|der| der.to_vec()));
    let mut random = Xorshift(0x5eed_000d);
    let mut passed = Vec::new();
    for round in 0..6000 {
        let mut der = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(2) {
            let at = random.below(der.len());
            der[at] ^= 1 << random.below(8);
        }
        if Certificate::from_der(&der).is_ok_and(|certificate| policy::check(&certificate, &LAX).is_ok()) {
            passed.push(der);
        }
    }
    assert!(passed.len() > 1000, "changes that pass: {}", passed.len());
    // In parts: openssl looks at every root of the same name.
    for part in passed.chunks(200) {
        let bundle: Vec<&[u8]> = std::iter::once(&root).chain(part).map(Vec::as_slice).collect();
        if !loads(directory.path(), &bundle) {
            let culprits = part.iter().filter(|der| !loads(directory.path(), &[&root, der]));
            let culprits: Vec<String> = culprits.map(|der| pem::encode(der)).collect();
            panic!("these spoil a bundle:\n{}", culprits.concat());
        }
    }
}
