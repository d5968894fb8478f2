//! Private keys and requests beside the real openssl: it reads what we write, we read what it writes, and what we refuse
//! is mended by the command that we name.

use std::path::Path;

use tempfile::TempDir;
use trustup::pki::cert::pem;
use trustup::pki::key::{KeyType, PrivateKey};

use super::openssl::{openssl, try_openssl};

fn place() -> TempDir {
    TempDir::new().expect("a directory")
}

fn read(place: &Path, name: &str) -> trustup::error::Result<PrivateKey> {
    PrivateKey::from_pem(&std::fs::read(place.join(name)).expect("a key"))
}

/// The public half of a key, as openssl sees it.
fn public(place: &Path, name: &str) -> Vec<u8> {
    let text = openssl(place, &["pkey", "-in", name, "-pubout"]);
    pem::blocks(text.as_bytes())[0].der.clone().expect("DER")
}

#[test]
#[ignore = "needs openssl"]
fn openssl_reads_our_keys_and_requests() {
    let place = place();
    let place = place.path();
    for kind in KeyType::ALL {
        let key = PrivateKey::generate(kind).expect("a key");
        std::fs::write(place.join("key.pem"), key.to_pem().as_bytes()).expect("written");
        assert_eq!(public(place, "key.pem"), key.public_key(), "{kind}");
        if kind != KeyType::Ed25519 {
            // It checks these; of Ed25519 there is nothing to check.
            openssl(place, &["pkey", "-in", "key.pem", "-check", "-noout"]);
        }
        // Byte for byte what openssl would write itself.
        assert_eq!(
            openssl(place, &["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem"]),
            *key.to_pem(),
            "{kind}"
        );

        let names = ["web.internal", "*.web.internal", "10.0.0.7", "::1", "a@b.test", "spiffe://x/y"];
        let names = names.map(|name| name.parse().expect("a name"));
        std::fs::write(place.join("csr.der"), key.csr(&names, Some("web.internal")).expect("a request"))
            .expect("written");
        let text = openssl(place, &["req", "-inform", "DER", "-in", "csr.der", "-verify", "-noout", "-text"]);
        for wanted in [
            "CN = web.internal",
            "DNS:web.internal, DNS:*.web.internal, IP Address:10.0.0.7, IP Address:0:0:0:0:0:0:0:1, email:a@b.test, URI:spiffe://x/y",
        ] {
            assert!(text.contains(wanted), "{kind}: {wanted}: {text}");
        }
        let of_request = openssl(place, &["req", "-inform", "DER", "-in", "csr.der", "-pubkey", "-noout"]);
        assert_eq!(pem::blocks(of_request.as_bytes())[0].der.as_deref(), Some(key.public_key()), "{kind}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn we_read_what_openssl_writes() {
    let place = place();
    let place = place.path();
    for (name, arguments) in [
        ("p256", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("sec1", "ecparam -name prime256v1 -genkey"),
        ("sec1-bare", "ecparam -name secp384r1 -genkey -noout"),
        ("rsa", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("rsa-3072", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"),
        ("pkcs1", "genrsa -traditional 2048"),
        ("ed25519", "genpkey -algorithm ED25519"),
    ] {
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        // The number of bits has to stand last.
        arguments.splice(1..1, ["-out", name]);
        openssl(place, &arguments);
        let key = read(place, name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(key.public_key(), public(place, name), "{name}");
        assert!(key.public().verifies(b"message", &key.sign(b"message").expect("signed")), "{name}");
        assert_eq!(key.key_type().is_some(), name != "rsa-3072");
    }
}

#[test]
#[ignore = "needs openssl"]
fn what_we_refuse_is_mended_by_the_command_that_we_name() {
    let place = place();
    let place = place.path();
    openssl(place, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "plain"]);
    for (arguments, wanted) in [
        ("pkcs8 -topk8 -v2 aes256 -passout pass:x -in plain -out KEY", "encrypted"),
        ("ec -aes256 -passout pass:x -in plain -out KEY", "encrypted"),
        ("ec -no_public -in plain -out KEY", "public half is missing"),
        ("ec -conv_form compressed -in plain -out KEY", "public half is missing or compressed"),
        ("pkey -outform DER -in plain -out KEY", "not PEM"),
    ] {
        openssl(place, &arguments.split(' ').collect::<Vec<_>>());
        let error = read(place, "KEY").expect_err(arguments);
        assert!(error.what().contains(wanted), "{arguments}: {error}");
        let command = error.hints()[0].split('`').nth(1).expect("a command").to_owned();
        let mut words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words.remove(0), "openssl", "{command}");
        if wanted == "encrypted" {
            words.extend(["-passin", "pass:x"]);
        }
        openssl(place, &words);
        let written = words[words.iter().position(|word| *word == "-out").expect("-out") + 1].to_owned();
        let mended = read(place, &written).unwrap_or_else(|error| panic!("{command}: {error:?}"));
        assert_eq!(mended.public_key(), public(place, "plain"), "{command}");
    }
    openssl(place, &["ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", "p521"]);
    assert_eq!(read(place, "p521").expect_err("P-521").kind().exit_code(), 5);
    openssl(place, &["genpkey", "-algorithm", "ED448", "-out", "ed448"]);
    assert_eq!(read(place, "ed448").expect_err("Ed448").kind().exit_code(), 5);
    assert!(try_openssl(place, &["pkey", "-in", "p521", "-noout"]).is_ok(), "for openssl it is a key");
}
