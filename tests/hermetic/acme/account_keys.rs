//! The kinds of account keys, and the forms that other software keeps them in.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use trustup::pki::key::{KeyType, PrivateKey, PublicKey};
use x509_parser::der_parser::parse_der;

use super::command::Place;
use super::server::{Instead, problem};
use super::{FINISHED, honest, listening, server};
use crate::support::acme::key_of_other_software;
use crate::support::ca::pem;
use crate::support::enrollment::write;

/// Kinds with the algorithm that signs requests, and the type of the JWK.
const KINDS: [(KeyType, &str, &str); 4] = [
    (KeyType::EcP256, "ES256", "EC"),
    (KeyType::EcP384, "ES384", "EC"),
    (KeyType::Rsa2048, "RS256", "RSA"),
    (KeyType::Ed25519, "EdDSA", "OKP"),
];

#[test]
fn a_new_account_has_a_key_of_the_chosen_kind() {
    for (kind, algorithm, jwk) in KINDS {
        let server = honest();
        let mut client = listening(&server);
        client.settings.account_key_type = kind;
        for _ in 0..2 {
            assert!(client.fails(&["a.test"]).to_string().contains(FINISHED), "{kind}");
        }
        let asked = server.asked();
        let posts: Vec<_> = asked.iter().filter(|asked| asked.method == "POST").collect();
        assert!(posts.iter().all(|asked| asked.protected["alg"] == algorithm), "{kind}");
        assert_eq!((posts[0].path.as_str(), &posts[0].protected["jwk"]["kty"]), ("/account", &json!(jwk)));
        assert_eq!((client.store.saved, server.count("/account")), (1, 1), "{kind}: the second run uses it");
        let kept = PrivateKey::from_pem(client.store.content.as_deref().expect("kept")).expect("key");
        assert_eq!(kept.key_type(), Some(kind));
    }
}

#[test]
fn the_command_line_and_the_file_choose_the_kind() {
    let server = honest();
    let place = Place::at(&server);
    place.enroll().args(["--account-key-type", "ec-p384"]).fails(4).says([FINISHED]);
    let algorithm = |at: usize| server.asked()[at].protected["alg"].clone();
    let of_account = |from: usize| {
        let asked = server.asked();
        (from..asked.len()).find(|at| asked[*at].path == "/account").expect("an account")
    };
    let first = of_account(0);
    assert_eq!(algorithm(first), "ES384");
    let config = format!(
        "[ca]\nroot = \"{root}\"\n[[certificate]]\nnames = [\"a.test\"]\ncert = \"{cert}\"\nkey = \"{key}\"\n\
         [[certificate.enroll]]\nmethod = \"acme\"\ndirectory = \"{url}\"\nagree_tos = true\n\
         http_listen = \"127.0.0.1:0\"\naccount_key = \"{account}\"\naccount_key_type = \"ed25519\"\n",
        root = place.path("root.pem").display(),
        cert = place.path("other.crt").display(),
        key = place.path("other.key").display(),
        url = place.url,
        account = place.path("account.pem").display(),
    );
    fs::write(place.path("trustup.toml"), config).expect("configuration");
    let file = place.path("trustup.toml");
    let run = crate::support::run::Trustup::new(["enroll", "--config"]).arg(&file);
    run.env("HOME", place.directory.path()).fails(4).says([FINISHED]);
    assert_eq!(algorithm(of_account(first + 1)), "EdDSA");
    place.enroll().args(["--account-key-type", "ed448"]).fails(2).says(["ec-p256"]);
}

/// The numbers of an RSA key in the order of PKCS#1: version, n, e, d, p, q, dP, dQ, qInv.
fn rsa_numbers(key: &PrivateKey) -> Vec<Vec<u8>> {
    let (_, pkcs8) = parse_der(key.pkcs8()).expect("PKCS#8");
    let pkcs1 = pkcs8.as_sequence().expect("fields")[2].as_slice().expect("PKCS#1").to_vec();
    let (_, numbers) = parse_der(&pkcs1).expect("PKCS#1");
    let numbers = numbers.as_sequence().expect("numbers");
    let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    numbers.iter().map(|number| bare(number.as_slice().expect("a number"))).collect()
}

/// As certbot writes it into `private_key.json`.
fn certbots(key: &PrivateKey) -> String {
    let jwk = match key.public() {
        PublicKey::Rsa { .. } => {
            let numbers: Vec<Value> =
                rsa_numbers(key).iter().map(|number| json!(URL_SAFE_NO_PAD.encode(number))).collect();
            let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(str::to_owned);
            let mut jwk: serde_json::Map<String, Value> =
                names.into_iter().zip(numbers[1..].to_vec()).collect();
            jwk.insert("kty".to_owned(), json!("RSA"));
            Value::Object(jwk)
        }
        PublicKey::Ed25519 { bytes } => {
            let seed = &key.pkcs8()[key.pkcs8().len() - 32..];
            json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(bytes), "d": URL_SAFE_NO_PAD.encode(seed) })
        }
        PublicKey::Ec { .. } => panic!("not needed"),
    };
    jwk.to_string()
}

#[test]
fn a_key_of_certbot_finds_its_account_and_stays_as_it_is() {
    for kind in [KeyType::Rsa2048, KeyType::Ed25519] {
        let server = honest();
        let place = Place::at(&server);
        let key = PrivateKey::generate(kind).expect("key");
        let file = place.path("private_key.json");
        let written = certbots(&key);
        write(&file, written.as_bytes(), 0o400);
        for run in 1..=2 {
            let enrolled = place.enroll().arg("--account-key").arg(&file).arg("-v").fails(4);
            enrolled.says([FINISHED, "account of the given key found"]);
            assert_eq!(fs::read_to_string(&file).expect("key"), written, "certbot reads nothing else");
            assert_eq!(server.count("/account"), run, "{kind}: found by its key each time");
        }
        let lookup = server.asked().into_iter().find(|asked| asked.path == "/account").expect("a lookup");
        assert_eq!(lookup.payload, json!({ "onlyReturnExisting": true }));
        assert_eq!(fs::read_dir(place.directory.path()).expect("directory").count(), 2, "nothing beside it");
    }
}

#[test]
fn a_key_of_certbot_without_an_account_gets_one_and_stays_as_it_is() {
    let server = server("/account", |asked, base| {
        if asked.payload["onlyReturnExisting"] == true && asked.before == 0 {
            return Instead::Json(400, problem("accountDoesNotExist", "no such account"));
        }
        Instead::With(201, vec![("Location", format!("{base}/account/1"))], json!({ "status": "valid" }))
    });
    let mut client = listening(&server);
    let written = certbots(&PrivateKey::generate(KeyType::Rsa2048).expect("key")).into_bytes();
    client.store.content = Some(written.clone());
    // Nothing has to be written.
    client.store.is_full = true;
    for what in ["made", "found"] {
        assert!(client.fails(&["a.test"]).to_string().contains(FINISHED), "{what}");
        assert!(client.said(&format!("account of the given key {what}")), "{:?}", client.lines());
        assert_eq!((client.store.saved, client.store.content.as_ref()), (0, Some(&written)));
    }
    assert_eq!(server.count("/account"), 3);
}

#[test]
fn keys_in_pem_of_every_kind_and_form_are_used() {
    let mut all: Vec<(Vec<u8>, &str)> =
        KINDS.iter().map(|(kind, algorithm, _)| (key_of_other_software(*kind), *algorithm)).collect();
    // PKCS#1, as lego and acme.sh write RSA keys; SEC 1, as they write those on curves.
    for (kind, label, algorithm) in
        [(KeyType::Rsa2048, "RSA PRIVATE KEY", "RS256"), (KeyType::EcP256, "EC PRIVATE KEY", "ES256")]
    {
        let key = PrivateKey::generate(kind).expect("key");
        let (_, pkcs8) = parse_der(key.pkcs8()).expect("PKCS#8");
        let inner = pkcs8.as_sequence().expect("fields")[2].as_slice().expect("a key").to_vec();
        let inner = match kind {
            KeyType::EcP256 => with_curve(&inner),
            _ => inner,
        };
        all.push((pem(label, &inner).into_bytes(), algorithm));
    }
    for (content, algorithm) in all {
        let server = honest();
        let mut client = listening(&server);
        client.store.content = Some(content);
        assert!(client.fails(&["a.test"]).to_string().contains(FINISHED), "{algorithm}");
        assert!(client.said("account of the given key found"), "{algorithm}: {:?}", client.lines());
        assert!(
            server.asked().iter().all(|asked| asked.method != "POST" || asked.protected["alg"] == algorithm)
        );
    }
}

/// SEC 1's key on P-256 with its curve, which PKCS#8 has outside.
fn with_curve(key: &[u8]) -> Vec<u8> {
    const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    // SEQUENCE, INTEGER 1, OCTET STRING of 32 bytes; then the curve, then the point.
    let (start, point) = key.split_at(2 + 3 + 34);
    let length = u8::try_from(key.len() - 2 + CURVE.len()).expect("short");
    [&[0x30, length], &start[2..], &CURVE, point].concat()
}

#[test]
fn a_ca_that_takes_other_kinds_leads_to_the_option() {
    for (kind, algorithms, hint) in [
        (
            "badSignatureAlgorithm",
            json!(["ES256", "ES512", "RS256"]),
            "`ES256`, `ES512`, `RS256`: name a file that does not exist yet with `--account-key`, and its kind with `--account-key-type`: `ec-p256` or `rsa-2048`",
        ),
        ("badSignatureAlgorithm", json!(["ML-DSA-65"]), "`ML-DSA-65`, and trustup supports none of them"),
        ("badSignatureAlgorithm", json!(null), "`--account-key-type`: `ec-p256` (what every CA accepts)"),
        ("badPublicKey", json!([]), "`--account-key-type`: `ec-p256` (what every CA accepts)"),
    ] {
        let mut refusal = problem(kind, "not that");
        if algorithms.is_array() {
            refusal["algorithms"] = algorithms;
        }
        let server = server("/account", move |_, _| Instead::Json(400, refusal.clone()));
        let mut client = listening(&server);
        client.settings.account_key_type = KeyType::Ed25519;
        let error = client.fails(&["a.test"]);
        assert!(error.kind().exit_code() == 4 && client.store.saved == 0, "{error}");
        assert!(error.hints().iter().any(|given| given.contains(hint)), "{hint}: {:?}", error.hints());
    }
}
