//! Keys made, written, read back and damaged. `tests/tools` compares them with OpenSSL.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::*;
use crate::pki::cert::testing::{Xorshift, sequence, tlv};

/// One key of each type; RSA keys are slow to make.
fn keys() -> &'static [PrivateKey] {
    static KEYS: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    KEYS.get_or_init(|| KeyType::ALL.map(|kind| PrivateKey::generate(kind).expect("a key")).into())
}

/// What PKCS#8 wraps: SEC 1 or PKCS#1.
fn inner(key: &PrivateKey) -> Vec<u8> {
    let mut fields = der::DerReader::new(der::only(&key.pkcs8, der::SEQUENCE).expect("a sequence").body);
    fields.next();
    fields.next();
    fields.next().expect("the key").body.to_vec()
}

#[test]
fn what_was_made_signs_and_is_read_back() {
    for (key, kind) in keys().iter().zip(KeyType::ALL) {
        assert_eq!(key.key_type(), Some(kind));
        let signature = key.sign(b"message").expect("signed");
        assert!(key.public().verifies(b"message", &signature), "{kind}");
        assert!(!key.public().verifies(b"massage", &signature), "{kind}");
        let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("read back");
        assert_eq!((&again.pkcs8, again.public_key()), (&key.pkcs8, key.public_key()), "{kind}");
        assert_eq!(PublicKey::from_der(key.public_key()).as_ref(), Some(key.public()), "{kind}");
        assert!(again.public().verifies(b"x", &again.sign(b"x").expect("signed")), "{kind}");
    }
}

#[test]
fn two_keys_are_never_the_same() {
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
        let key = PrivateKey::generate(kind).expect("a key");
        assert!(keys().iter().all(|other| other.public_key() != key.public_key()), "{kind}");
    }
}

#[test]
fn other_forms_of_pem_are_read() {
    for key in keys() {
        let label = match key.public() {
            PublicKey::Ec { .. } => "EC PRIVATE KEY",
            PublicKey::Rsa { .. } => "RSA PRIVATE KEY",
            PublicKey::Ed25519 { .. } => continue,
        };
        let mut der = inner(key);
        if let PublicKey::Ec { curve, point } = key.public() {
            // SEC 1 without PKCS#8 around it names the curve itself.
            let fields = der::only(&der, der::SEQUENCE).expect("a sequence").body;
            let (scalar, rest) = (&fields[..3 + 2 + curve.size()], &fields[3 + 2 + curve.size()..]);
            let name = der::element(der::CONTEXT_0, &der::element(der::OID, curve.oid()));
            der = der::element(der::SEQUENCE, &[scalar, &name, rest].concat());
            // OpenSSL writes parameters in front.
            let text = format!(
                "{}{}",
                pem::armor("EC PARAMETERS", &der::element(der::OID, curve.oid())),
                pem::armor(label, &der)
            );
            let read = PrivateKey::from_pem(text.as_bytes()).expect("SEC 1 with parameters");
            assert_eq!(read.public_key(), key.public_key());
            assert_eq!(point[0], 4);
        }
        for text in [
            pem::armor(label, &der),
            // A combined file, and a wrong label.
            format!(
                "{}{}",
                pem::encode(&crate::pki::cert::testing::TestCertificate::default().der()),
                pem::armor("PRIVATE KEY", &der)
            ),
            format!("# key\r\n{}", pem::armor(label, &der).replace('\n', "\r\n")),
        ] {
            let read = PrivateKey::from_pem(text.as_bytes()).expect("another form");
            assert_eq!((&read.pkcs8, read.public_key()), (&key.pkcs8, key.public_key()));
        }
    }
}

#[test]
fn an_ed25519_key_with_its_public_half_is_checked() {
    let key = &keys()[4];
    let PublicKey::Ed25519 { bytes } = key.public() else { panic!("an Ed25519 key") };
    let v1 = |public: &[u8]| {
        let fields = der::only(&key.pkcs8, der::SEQUENCE).expect("a sequence").body;
        let public = tlv(0x81, &[&[0], public].concat());
        pem::armor("PRIVATE KEY", &sequence(&[&[2, 1, 1], &fields[3..], &public]))
    };
    assert_eq!(
        PrivateKey::from_pem(v1(bytes).as_bytes()).expect("both halves").public_key(),
        key.public_key()
    );
    let mut other = bytes.clone();
    other[7] ^= 1;
    assert_eq!(PrivateKey::from_pem(v1(&other).as_bytes()).expect_err("halves differ").kind().exit_code(), 2);
}

#[test]
fn halves_of_two_keys_are_refused() {
    let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let PublicKey::Ec { point, .. } = other.public() else { panic!("an EC key") };
    let mut der = inner(&keys()[0]);
    let at = der.len() - point.len();
    der[at..].copy_from_slice(point);
    let text = pem::armor("EC PRIVATE KEY", &[&der[..]].concat());
    assert!(PrivateKey::from_pem(text.as_bytes()).is_err());
}

#[test]
fn what_cannot_be_used_is_named_with_a_way_out() {
    let plain = keys()[0].to_pem();
    let curve = |dotted: &str| {
        let oid = crate::pki::cert::testing::oid(dotted);
        pem::armor("EC PRIVATE KEY", &sequence(&[&[2, 1, 1], &tlv(4, &[1; 66]), &tlv(0xa0, &oid)]))
    };
    let bare = {
        let der = inner(&keys()[0]);
        let fields = der::only(&der, der::SEQUENCE).expect("a sequence").body;
        let name = tlv(0xa0, &crate::pki::cert::testing::oid("1.2.840.10045.3.1.7"));
        pem::armor("EC PRIVATE KEY", &sequence(&[&fields[..37], &name]))
    };
    for (text, code, wanted, hint) in [
        (pem::armor("ENCRYPTED PRIVATE KEY", b"x"), 2, "encrypted", "openssl pkey"),
        (
            plain.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n"),
            2,
            "encrypted",
            "openssl pkey",
        ),
        (pem::armor("OPENSSH PRIVATE KEY", b"x"), 5, "OpenSSH", "ssh-keygen"),
        (pem::armor("DSA PRIVATE KEY", b"x"), 5, "DSA", "as PEM"),
        (curve("1.3.132.0.35"), 5, "another curve", "P-384"),
        (bare, 5, "public half is missing", "openssl ec"),
        (format!("{}{}", *plain, *plain), 2, "2 private keys", "one of them"),
        (
            pem::encode(&crate::pki::cert::testing::TestCertificate::default().der()),
            2,
            "no private key",
            "BEGIN",
        ),
        (plain[..plain.len() - 40].to_owned(), 2, "damaged", ""),
        (pem::armor("PRIVATE KEY", b"x"), 2, "damaged", "-check"),
        (String::new(), 2, "no private key", "BEGIN"),
    ] {
        let error = PrivateKey::from_pem(text.as_bytes()).expect_err(wanted);
        assert_eq!(error.kind().exit_code(), code, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(hint.is_empty() || error.hints().iter().any(|given| given.contains(hint)), "{error:?}");
    }
    let der = PrivateKey::from_pem(keys()[0].pkcs8()).expect_err("DER");
    assert!(der.hints()[0].contains("-inform DER"), "{der:?}");
}

#[test]
fn small_rsa_keys_are_refused() {
    let small = super::rsa::generate(1024).expect("a small key");
    let error =
        PrivateKey::from_pem(pem::armor("RSA PRIVATE KEY", &small).as_bytes()).expect_err("1024 bits");
    assert!(error.what().contains("less than 2048"), "{error}");
}

#[test]
fn a_jwk_is_the_same_key() {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    for key in keys() {
        let secret = inner(key);
        let jwk = match key.public() {
            PublicKey::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.size());
                let fields = der::only(&secret, der::SEQUENCE).expect("a sequence").body;
                let d = &fields[5..5 + curve.size()];
                json!({"kty": "EC", "crv": curve.name(), "x": text(x), "y": text(y), "d": text(d), "use": "sig"})
            }
            PublicKey::Ed25519 { bytes } => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(bytes), "d": text(&secret[2..])})
            }
            PublicKey::Rsa { .. } => {
                let mut numbers =
                    der::DerReader::new(der::only(&secret, der::SEQUENCE).expect("numbers").body);
                numbers.next();
                let mut jwk = json!({"kty": "RSA", "alg": "RS256"});
                for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                    let number = numbers.next().expect("a number").body;
                    jwk[name] = json!(text(number.strip_prefix(&[0]).unwrap_or(number)));
                }
                jwk
            }
        };
        let read = PrivateKey::from_jwk(jwk.to_string().as_bytes()).expect("a JWK");
        assert_eq!((&read.pkcs8, read.public_key()), (&key.pkcs8, key.public_key()));
        let mut public = jwk.clone();
        public.as_object_mut().expect("an object").remove("d");
        let error = PrivateKey::from_jwk(public.to_string().as_bytes()).expect_err("public");
        assert!(error.what().contains("public one"), "{error}");
        let mut random = Xorshift(0x5eed_0101);
        for _ in 0..200 {
            // A changed number, or one that is not used.
            let _ = PrivateKey::from_jwk(&random.mutate(jwk.to_string().as_bytes()));
        }
    }
    for (jwk, code) in [
        (json!({"kty": "oct", "k": "c2VjcmV0"}), 5),
        (json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "d": "AA"}), 5),
        (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "A A"}), 2),
        (json!({"kty": "RSA", "n": "AA", "e": "AQAB", "d": "AA"}), 2),
        (json!([]), 2),
    ] {
        let error = PrivateKey::from_jwk(jwk.to_string().as_bytes()).expect_err("refused");
        assert_eq!(error.kind().exit_code(), code, "{error}");
    }
}

#[test]
fn a_request_holds_the_key_the_names_and_a_good_signature() {
    let names = ["web.internal", "*.web.internal", "10.0.0.1", "::1", "a@b.test", "spiffe://x/y"]
        .map(|name| name.parse::<SubjectAltName>().expect("a name"));
    for key in keys() {
        for common_name in [None, Some("web.internal")] {
            let der = key.csr(&names, common_name).expect("a request");
            let (rest, request) = X509CertificationRequest::from_der(&der).expect("parses");
            assert!(rest.is_empty());
            request.verify_signature().expect("its signature is good");
            let info = &request.certification_request_info;
            assert_eq!(info.subject_pki.raw, key.public_key());
            let found: Vec<&str> =
                info.subject.iter_common_name().map(|name| name.as_str().expect("text")).collect();
            assert_eq!(found, common_name.into_iter().collect::<Vec<_>>());
            let text =
                format!("{:?}", request.requested_extensions().expect("extensions").collect::<Vec<_>>());
            for wanted in ["*.web.internal", "a@b.test", "spiffe://x/y", "[10, 0, 0, 1]"] {
                assert!(text.contains(wanted), "{wanted}: {text}");
            }
        }
    }
    let bare = keys()[0].csr(&[], None).expect("a request without names");
    assert!(X509CertificationRequest::from_der(&bare).is_ok());
}

#[test]
fn no_input_makes_it_panic_and_no_error_shows_the_key() {
    let mut random = Xorshift(0x5eed_0100);
    for key in keys() {
        let pem = key.to_pem();
        let secret: String = pem.lines().nth(1).expect("a line").to_owned();
        assert!(!format!("{key:?}").contains(&secret[..20]), "{key:?}");
        for _ in 0..300 {
            let der = random.mutate(&key.pkcs8);
            for bytes in [random.mutate(pem.as_bytes()), pem::armor("PRIVATE KEY", &der).into_bytes()] {
                if let Err(error) = PrivateKey::from_pem(&bytes) {
                    assert!(!format!("{error:?}").contains(&secret[4..24]), "{error:?}");
                }
            }
            let _ =
                PrivateKey::from_pem(&random.mutate(pem::armor("EC PRIVATE KEY", &inner(key)).as_bytes()));
            let _ = PublicKey::from_der(&random.mutate(key.public_key()));
        }
    }
}
