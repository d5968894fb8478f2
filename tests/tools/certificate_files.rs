//! Files as openssl writes them: what we read of them is what it put in, and its private keys are recognised in
//! every format that it has.

use std::path::Path;

use tempfile::TempDir;
use trustup::error::ErrorKind;
use trustup::pki::cert::{Certificate, input};

use crate::openssl::openssl;

/// A directory with a root `a.pem` (subject `CN=A`, key `a.key`) and another, `b.pem`.
fn two_roots() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for name in ["a", "b"] {
        let subject = format!("/CN={}", name.to_uppercase());
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        openssl(directory.path(), &arguments);
    }
    directory
}

fn read(directory: &Path, name: &str) -> trustup::error::Result<input::CertificateFile> {
    input::read(&std::fs::read(directory.join(name)).expect("read"), name)
}

fn labels(directory: &Path, name: &str) -> Vec<String> {
    read(directory, name).expect(name).certificates.iter().map(Certificate::label).collect()
}

#[test]
#[ignore = "needs openssl"]
fn every_form_that_openssl_writes_is_read() {
    let directory = two_roots();
    let run = |line: &str| openssl(directory.path(), &line.split(' ').collect::<Vec<_>>());
    run("x509 -in a.pem -outform DER -out a.der");
    run("x509 -in a.pem -text -out text.pem");
    run("crl2pkcs7 -nocrl -certfile a.pem -certfile b.pem -out both.p7b");
    run("crl2pkcs7 -nocrl -certfile a.pem -certfile b.pem -outform DER -out both.p7c");
    run("pkcs7 -in both.p7b -print_certs -out printed.pem");
    for name in ["a.pem", "a.der", "text.pem"] {
        assert_eq!(labels(directory.path(), name), ["A"], "{name}");
    }
    for name in ["both.p7b", "both.p7c", "printed.pem"] {
        assert_eq!(labels(directory.path(), name), ["A", "B"], "{name}");
    }
    run("crl2pkcs7 -nocrl -out none.p7b");
    let error = read(directory.path(), "none.p7b").expect_err("empty");
    assert!(error.what().contains("PKCS#7 without certificates"), "{error}");

    let fingerprint = run("x509 -in a.pem -noout -fingerprint -sha256");
    let (_, fingerprint) = fingerprint.trim().split_once('=').expect("name=value");
    let root = &read(directory.path(), "a.der").expect("a root").certificates[0];
    assert_eq!(root.fingerprint(), fingerprint.parse().expect("a fingerprint"));
}

#[test]
#[ignore = "needs openssl"]
fn t3_trust_settings_that_openssl_writes_are_obeyed() {
    let directory = two_roots();
    for (options, accepted) in [
        (&["-trustout"][..], true),
        (&["-setalias", "My CA"], true),
        (&["-addtrust", "serverAuth"], true),
        (&["-addtrust", "emailProtection", "-addtrust", "anyExtendedKeyUsage"], true),
        (&["-addreject", "emailProtection"], true),
        (&["-addtrust", "emailProtection"], false),
        (&["-addreject", "serverAuth"], false),
        (&["-addtrust", "serverAuth", "-addreject", "serverAuth"], false),
        (&["-addreject", "anyExtendedKeyUsage"], false),
    ] {
        let arguments = [&["x509", "-in", "a.pem", "-out", "trusted.pem"], options].concat();
        openssl(directory.path(), &arguments);
        let text = std::fs::read_to_string(directory.path().join("trusted.pem")).expect("read");
        assert!(text.starts_with("-----BEGIN TRUSTED CERTIFICATE"), "{options:?}");
        match read(directory.path(), "trusted.pem") {
            Ok(file) => assert!(accepted && file.certificates[0].label() == "A", "{options:?}"),
            Err(error) => {
                assert!(!accepted && error.what().contains("trust settings"), "{options:?}: {error}")
            }
        }
    }
}

#[test]
#[ignore = "needs openssl"]
fn t6_private_keys_are_recognised_in_every_format() {
    let directory = two_roots();
    let run = |line: &str| openssl(directory.path(), &line.split(' ').collect::<Vec<_>>());
    run("genrsa -out pkcs8.pem 2048");
    run("rsa -in pkcs8.pem -traditional -out pkcs1.pem");
    run("rsa -in pkcs8.pem -traditional -aes128 -passout pass:x -out pkcs1-encrypted.pem");
    run("pkcs8 -topk8 -in pkcs8.pem -passout pass:x -out pkcs8-encrypted.pem");
    run("rsa -in pkcs8.pem -traditional -outform DER -out pkcs1.der");
    run("pkcs8 -topk8 -nocrypt -in pkcs8.pem -outform DER -out pkcs8.der");
    run("pkcs8 -topk8 -in pkcs8.pem -passout pass:x -outform DER -out pkcs8-encrypted.der");
    run("ec -in a.key -out sec1.pem");
    run("ec -in a.key -outform DER -out sec1.der");
    run("genpkey -algorithm ED25519 -out ed25519.pem");
    run("genpkey -algorithm ED25519 -outform DER -out ed25519.der");
    run("genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.param");
    run("genpkey -paramfile dsa.param -out dsa8.pem");
    run("dsa -in dsa8.pem -outform DER -out dsa.der");
    run("pkcs12 -export -in a.pem -inkey a.key -passout pass:x -out both.p12");
    run("pkcs12 -export -in a.pem -nokeys -passout pass:x -out certificate-only.p12");
    run("ecparam -name prime256v1 -genkey -out with-parameters.pem");
    for entry in std::fs::read_dir(directory.path()).expect("listed") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        if ["a.pem", "b.pem", "dsa.param"].contains(&name.as_str()) {
            continue;
        }
        let error = read(directory.path(), &name).expect_err(&name);
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.what().contains("private key"), "{name}: {error}");
    }
    // What is public is not mistaken for a key, though it is no certificate either.
    run("pkey -in a.key -pubout -out public.pem");
    run("pkey -in a.key -pubout -outform DER -out public.der");
    run("req -new -key a.key -subj /CN=x -out request.pem");
    run("req -new -key a.key -subj /CN=x -outform DER -out request.der");
    for name in ["public.pem", "public.der", "request.pem", "request.der", "dsa.param"] {
        let error = read(directory.path(), name).expect_err(name);
        assert!(!error.what().contains("private key"), "{name}: {error}");
    }
}
