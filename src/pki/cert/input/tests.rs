//! Every form that is read, and what is refused with which words.

use super::super::cert_aux::tests::aux;
use super::super::pkcs7::tests::bag;
use super::super::testing::{
    CLIENT_AUTH, SERVER_AUTH, TestCertificate, Xorshift, common_name, key, sequence,
};
use super::*;
use crate::error::ErrorKind;

fn named(name: &str) -> Vec<u8> {
    TestCertificate::named(common_name(name)).der()
}

fn armor(label: &str, der: &[u8]) -> String {
    pem::encode(der).replace("CERTIFICATE", label)
}

fn labels(bytes: &[u8]) -> Vec<String> {
    let file = read(bytes, "test").expect("certificates");
    assert_eq!(file.problems, []);
    file.certificates.iter().map(Certificate::label).collect()
}

/// The error's one line, followed by its hints.
fn error(bytes: &[u8]) -> String {
    let error = read(bytes, "/x/ca.crt").expect_err("refused");
    assert_eq!((error.kind(), error.place()), (ErrorKind::Usage, Some("/x/ca.crt")));
    assert!(!error.hints().is_empty());
    format!("{error} {}", error.hints().join(" "))
}

#[test]
fn every_form_is_read() {
    let (a, b) = (named("A"), named("B"));
    let both = format!("{}{}", pem::encode(&a), armor("X509 CERTIFICATE", &b));
    assert_eq!(labels(both.as_bytes()), ["A", "B"]);
    assert_eq!(labels(format!("\u{feff}# text\r\n{}", both.replace('\n', "\r\n")).as_bytes()), ["A", "B"]);
    assert_eq!(labels(&a), ["A"]);
    assert_eq!(labels(armor("TRUSTED CERTIFICATE", &a).as_bytes()), ["A"]);
    let bag = bag(&[&a, &b]);
    assert_eq!(labels(&bag), ["A", "B"]);
    assert_eq!(labels(armor("PKCS7", &bag).as_bytes()), ["A", "B"]);
    assert_eq!(labels(pem::encode(&bag).as_bytes()), ["A", "B"]);
    let mixed = format!("{}{}{}", armor("PKCS7", &bag), pem::encode(&named("C")), pem::encode(&b).trim_end());
    assert_eq!(labels(mixed.as_bytes()), ["A", "B", "C"]);
}

#[test]
fn text_that_begins_like_der_is_still_pem() {
    let text = format!(" 0 s:CN = A\n0 s:\n{}", pem::encode(&named("A")));
    assert_eq!(labels(text.as_bytes()), ["A"]);
    assert_eq!(labels(text.trim_start().as_bytes()), ["A"]);
    // And DER that holds PEM is still DER.
    let inner = pem::encode(&named("Hidden"));
    let outer = TestCertificate::named(common_name(&format!("Root\n{inner}"))).der();
    let file = read(&outer, "test").expect("one");
    assert_eq!((file.certificates.len(), file.certificates[0].der()), (1, &outer[..]));
}

#[test]
fn a_bad_block_among_good_ones_is_named() {
    let good = pem::encode(&named("A"));
    let no_base64 = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let no_end = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let no_certificate = pem::encode(&sequence(&[b"\x02\x01\x05"]));
    let request = armor("CERTIFICATE REQUEST", &sequence(&[]));
    let text = format!("{no_base64}{no_end}{no_certificate}{request}{}{good}", armor("PKCS7", &bag(&[])));
    let file = read(text.as_bytes(), "test").expect("one good");
    assert_eq!(file.certificates.len(), 1);
    let problems: Vec<&str> = file.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert!(problems[0].starts_with("PEM block 1 at line 1: its body is not base64"), "{problems:?}");
    assert!(problems[1].starts_with("PEM block 2 at line 4: its END line is missing"), "{problems:?}");
    assert!(problems[2].starts_with("PEM block 3 at line 6: not an X.509 certificate"), "{problems:?}");
    assert!(problems[3].contains("`CERTIFICATE REQUEST` is not a certificate"), "{problems:?}");
    assert!(problems[4].contains("PKCS#7 without certificates"), "{problems:?}");
    assert_eq!(problems.len(), 5);
    assert!(file.problems[2].fingerprint.is_some() && file.problems[0].fingerprint.is_none());
}

#[test]
fn what_holds_no_certificate_says_what_it_is() {
    let good = pem::encode(&named("A"));
    let request = armor("CERTIFICATE REQUEST", &sequence(&[]));
    for (bytes, wanted) in [
        (&b""[..], "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"hello\n", "it has no certificate"),
        (b"\0\x01\x02", "it has no certificate"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n<HTML lang=en>", "web page"),
        (b"<p>404</p>", "web page"),
        (format!("<html><pre>\n{good}</pre>").as_bytes(), "web page"),
        (b"{\"ca\": \"x\"}", "JSON"),
        (b"\xff\xfe-\0-\0", "UTF-16"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02", "Java keystore"),
        (b"-----BEGIN CERTIFICATE----\nAAAA\n", "damaged"),
        (&good.as_bytes()[..good.len() / 2], "cut off"),
        (format!("{good}{}", &good[..good.len() - 4]).as_bytes(), "cut off"),
        (good.lines().filter(|line| !line.contains('-')).collect::<String>().as_bytes(), "base64 without"),
        (&named("A")[..100], "not an X.509 certificate"),
        (&bag(&[]), "PKCS#7 without certificates"),
        (armor("PKCS7", &bag(&[])).as_bytes(), "PKCS#7 without certificates"),
        (armor("PKCS7", b"\x30\x00").as_bytes(), "malformed PKCS#7"),
        (&[0x30, 0x80, 0x06, 0x00], "BER"),
        (request.as_bytes(), "`CERTIFICATE REQUEST` is not"),
        (format!("{request}{request}").as_bytes(), "not one of 2 parts"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "not an X.509"),
    ] {
        let error = error(bytes);
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn a_flood_of_blocks_is_refused() {
    let good = pem::encode(&named("A"));
    let flood = |count: usize| format!("{}{good}", "-----BEGIN X-----\n-----END X-----\n".repeat(count));
    assert_eq!(read(flood(BLOCKS_LIMIT - 1).as_bytes(), "x").expect("one").problems.len(), BLOCKS_LIMIT - 1);
    assert!(error(flood(BLOCKS_LIMIT).as_bytes()).contains("more than 10000"));
}

#[test]
fn t3_bytes_behind_a_certificate_fail_the_whole_input() {
    let (good, mut bad) = (named("A"), named("B"));
    let fingerprint = Fingerprint::of(&bad).hex();
    bad.extend(named("Hidden"));
    for bytes in [bad.clone(), format!("{}{}", pem::encode(&good), pem::encode(&bad)).into_bytes()] {
        let error = error(&bytes);
        assert!(error.contains("bytes behind it") && error.contains(&fingerprint), "{error}");
    }
    // Trust settings are such bytes under a label that allows none.
    let stapled = [named("B"), aux(None, None)].concat();
    assert!(error(pem::encode(&stapled).as_bytes()).contains("bytes behind it"));
    assert!(error(&bag(&[&good, b"\x30\x00x"])).contains("malformed PKCS#7"));
}

#[test]
fn t3_a_p11_kit_stanza_fails_the_whole_input() {
    let text = format!("[p11-kit-object-v1]\nclass: certificate\n{}", pem::encode(&named("A")));
    assert!(error(text.as_bytes()).contains("p11-kit"));
    assert!(
        error(format!("{}# [p11-kit-object-v1]", pem::encode(&named("A"))).as_bytes()).contains("p11-kit")
    );
}

#[test]
fn t3_trust_settings_of_the_file_are_obeyed() {
    let der = named("A");
    let read_with = |aux: &[u8]| {
        let trusted = armor("TRUSTED CERTIFICATE", &[&der, aux].concat());
        read(format!("{}{trusted}", pem::encode(&named("Good"))).as_bytes(), "test")
    };
    let file = read_with(&aux(Some(&[SERVER_AUTH]), Some(&[CLIENT_AUTH]))).expect("trusted");
    assert_eq!(file.certificates[1].der(), der, "the settings are not taken along");
    for aux in [aux(None, Some(&[SERVER_AUTH])), aux(Some(&[CLIENT_AUTH]), None), b"\x30".to_vec()] {
        let error = read_with(&aux).expect_err("distrusted");
        assert!(error.what().contains(&Fingerprint::of(&der).hex()), "{error}");
        assert!(error.what().contains("trust settings"), "{error}");
    }
}

#[test]
fn t6_a_private_key_fails_the_whole_input_and_is_not_quoted() {
    let secret = key().serialize_der();
    let pem = armor("PRIVATE KEY", &secret);
    let certificate = pem::encode(&named("A"));
    for bytes in [
        secret.clone(),
        pem.clone().into_bytes(),
        format!("{certificate}{pem}").into_bytes(),
        format!("{pem}{certificate}").into_bytes(),
        format!("{certificate}{}", &pem[..60]).into_bytes(),
        pem::encode(&secret).into_bytes(),
    ] {
        assert!(holds_private_key(&bytes));
        let error = read(&bytes, "-").expect_err("refused");
        let shown = format!("{error:?} {error}");
        assert!(error.what().contains("private key"), "{shown}");
        for line in pem.lines().filter(|line| !line.contains("---")) {
            assert!(!shown.contains(&line[..16]), "{shown}");
        }
    }
    assert!(!holds_private_key(certificate.as_bytes()));
    assert!(!error(b"S3cret-token-of-somebody").contains("S3cret"));
}

#[test]
fn no_input_makes_it_panic_and_only_parsed_bytes_come_out() {
    let (a, b) = (named("A"), named("B"));
    let seeds = [
        format!("x\r\n{}{}", pem::encode(&a), pem::encode(&b)).into_bytes(),
        armor("TRUSTED CERTIFICATE", &[a.clone(), aux(Some(&[SERVER_AUTH]), None)].concat()).into_bytes(),
        armor("PKCS7", &bag(&[&a, &b])).into_bytes(),
        bag(&[&a, &b]),
        a.clone(),
    ];
    let mut random = Xorshift(0x5eed_0005);
    let mut good = 0;
    for round in 0..20_000 {
        let bytes = random.mutate(&seeds[round % seeds.len()]);
        match read(&bytes, "x") {
            Ok(file) => {
                good += 1;
                assert!(!file.certificates.is_empty());
                for certificate in &file.certificates {
                    assert_eq!(Certificate::from_der(certificate.der()).as_ref(), Ok(certificate));
                }
            }
            Err(error) => assert!(!error.what().is_empty() && !error.hints().is_empty()),
        }
    }
    assert!(good > 1000, "mutations that leave something: {good}");
}

#[test]
fn no_wrong_input_makes_it_panic() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/input");
    #[allow(clippy::disallowed_methods, reason = "tests read their fixtures")]
    let files = std::fs::read_dir(fixtures).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let pem = pem::encode(&named("A"));
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut seeds: Vec<Vec<u8>> = files.collect();
    seeds.extend([
        pem::encode(pem.as_bytes()).into_bytes(),
        format!("{{\"ca.crt\":\"{}\"}}", pem.replace('\n', "\\n")).into_bytes(),
        format!("kind: Secret\ndata:\n  ca.crt: {}\n", pem.replace('\n', "")).into_bytes(),
        wide(&pem),
        [pem.clone().into_bytes(), wide(&pem)].concat(),
    ]);
    let try_it = |bytes: &[u8]| {
        let _ = read(bytes, "https://x");
        let _ = recognise::recognise(bytes, Asked::PrivateKey);
        let _ = recognise::in_der(bytes, Asked::PrivateKey);
        let _ = (encoding::foreign(bytes), encoding::mixed_line(bytes));
    };
    let mut random = Xorshift(0x5eed_0015);
    for seed in &seeds {
        for length in 0..seed.len().min(200) {
            try_it(&seed[..length]);
        }
        for _ in 0..1_000 {
            try_it(&random.mutate(seed));
        }
    }
}
