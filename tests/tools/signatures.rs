//! Signatures of the real OpenSSL, with every key, hash and padding that it has: trustup's verifier agrees.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use trustup::pki::cert::signature::{SignatureVerdict, verify};

use crate::openssl::{openssl, try_openssl};

/// What `openssl genpkey` makes, and its options.
const KEYS: [(&str, &[&str]); 14] = [
    ("rsa-1024", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]),
    ("rsa-2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa-2050", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2050"]),
    (
        "rsa-exponent-3",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_pubexp:3"],
    ),
    ("pss", &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (
        "pss-sha384",
        &[
            "-algorithm",
            "RSA-PSS",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-pkeyopt",
            "rsa_pss_keygen_md:sha384",
            "-pkeyopt",
            "rsa_pss_keygen_mgf1_md:sha384",
            "-pkeyopt",
            "rsa_pss_keygen_saltlen:20",
        ],
    ),
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("k256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]),
    ("brainpool", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"]),
    ("ed25519", &["-algorithm", "ED25519"]),
    ("ed448", &["-algorithm", "ED448"]),
    ("p224", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp224r1"]),
];

/// Kinds of keys that are not verified here, with the words for them.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("k256", "ECDSA on the curve 1.3.132.0.10"),
    ("brainpool", "ECDSA on the curve 1.3.36.3.3.2.8.1.1.7"),
    ("ed448", "Ed448"),
    ("p224", "ECDSA on the curve 1.3.132.0.33"),
];

/// The options of `openssl req` for each way to sign with a key.
fn ways(key: &str) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    if key.starts_with("ed") {
        return vec![Vec::new()];
    }
    let mut ways = Vec::new();
    for hash in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
        if !key.starts_with("pss") {
            ways.push(words(&format!("-{hash}")));
        }
        if key.starts_with("rsa") || key.starts_with("pss") {
            for salt in ["digest", "0", "20", "max"] {
                ways.push(words(&format!(
                    "-{hash} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}"
                )));
            }
        }
    }
    ways
}

/// A self-signed root, DER; `None` if OpenSSL cannot sign in this way.
fn root(place: &Path, key: &str, way: &[String]) -> Option<Vec<u8>> {
    let key = format!("{key}.key");
    let mut arguments = vec!["req", "-x509", "-new", "-key", &key, "-subj", "/CN=Root", "-days", "10"];
    arguments.extend(["-outform", "DER", "-out", "root.der"]);
    arguments.extend(way.iter().map(String::as_str));
    try_openssl(place, &arguments).ok()?;
    Some(fs::read(place.join("root.der")).unwrap())
}

/// The SubjectPublicKeyInfo of a key, DER.
fn public_key(place: &Path, key: &str) -> Vec<u8> {
    let key = format!("{key}.key");
    openssl(place, &["pkey", "-in", &key, "-pubout", "-outform", "DER", "-out", "public.der"]);
    fs::read(place.join("public.der")).unwrap()
}

#[test]
#[ignore = "needs openssl"]
fn every_signature_of_openssl_is_judged_as_openssl_does() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    for (name, options) in KEYS {
        let file = format!("{name}.key");
        openssl(place, &[&["genpkey"], options, &["-out", &file]].concat());
    }
    let mut seen = 0;
    for (number, (name, _)) in KEYS.iter().enumerate() {
        // Another key of the same kind, and one of another kind.
        let (other, _) = KEYS[(number + 1) % KEYS.len()];
        openssl(place, &[&["genpkey"], KEYS[number].1, &["-out", "same.key"]].concat());
        let others = ["same", other].map(|of| public_key(place, of));
        let key = public_key(place, name);
        for way in ways(name) {
            let Some(der) = root(place, name, &way) else { continue };
            seen += 1;
            if let Some((_, words)) = UNSUPPORTED.iter().find(|(unsupported, _)| unsupported == name) {
                let wanted = SignatureVerdict::Unsupported((*words).to_owned());
                assert_eq!(verify(&der, &key), wanted, "{name} {way:?}");
                continue;
            }
            assert_eq!(verify(&der, &key), SignatureVerdict::Valid, "{name} {way:?}");
            for other in &others {
                let verdict = verify(&der, other);
                assert_ne!(verdict, SignatureVerdict::Valid, "{name} {way:?}: another key");
            }
            // Wherever a bit of it changes, in what is signed or in the signature.
            for at in [20, 60, der.len() / 2, der.len() - 40, der.len() - 1] {
                let mut damaged = der.clone();
                damaged[at] ^= 1;
                let verdict = verify(&damaged, &key);
                assert_ne!(verdict, SignatureVerdict::Valid, "{name} {way:?}: byte {at}");
            }
        }
    }
    assert!(seen > 100, "{seen} ways to sign");
}

/// A request is a structure of the same form (RFC 2986 section 4.2).
#[test]
#[ignore = "needs openssl"]
fn requests_of_openssl_are_verified() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    for curve in ["P-256", "P-384", "P-521"] {
        let curve = format!("ec_paramgen_curve:{curve}");
        openssl(place, &["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", "r.key"]);
        let request = ["req", "-new", "-key", "r.key", "-subj", "/CN=a", "-sha512", "-outform", "DER"];
        openssl(place, &[&request[..], &["-out", "r.csr"]].concat());
        let made = fs::read(place.join("r.csr")).unwrap();
        assert_eq!(verify(&made, &public_key(place, "r")), SignatureVerdict::Valid, "{curve}");
    }
}
