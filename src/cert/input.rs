//! Input: a file, a body from the network, standard input. The strict reader: it names all that it does not accept,
//! refuses private keys, and accepts nothing that it did not parse (threat T3).
//!
//! Never quotes content: a file that was given by mistake may be a secret (threat T6).

use std::collections::BTreeSet;

use super::der::{self, DerReader};
use super::pem::{self, PemBlock, PemFault};
use super::{Certificate, cert_aux, pkcs7, private_key};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::text;

/// p11-kit reads a file that contains this anywhere as its own format, in which roots can hide from a PEM reader.
const P11_KIT: &[u8] = b"[p11-kit-object-v1]";

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// More PEM blocks than any bundle has; a hostile one could hold millions of empty ones.
const BLOCKS_LIMIT: usize = 10_000;

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFile {
    /// The certificates in order, each once. At least one.
    pub certificates: Vec<Certificate>,
    /// What else was there and was not accepted.
    pub problems: Vec<InputProblem>,
}

/// A part of a file that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    /// Where and why, in one line that is safe to show.
    pub(crate) what: String,
    /// The certificate's fingerprint, if it is one.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// Reads PEM (`CERTIFICATE`, `X509 CERTIFICATE`, `TRUSTED CERTIFICATE`, `PKCS7`; any number), DER (one certificate), or
/// PKCS#7 as DER. `origin` is the path or the masked URL, for errors.
///
/// A damaged block among good ones is a [`InputProblem`]. These fail the whole input: no certificate at all, a
/// truncated file, a private key anywhere, bytes after a certificate's DER, p11-kit's format, a certificate that the
/// file itself distrusts for TLS servers.
pub fn read(bytes: &[u8], origin: &str) -> Result<CertificateFile> {
    read_any(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
        .map_err(|error| error.at(text::escape(origin)))
}

/// Whether `bytes` contain a recognisable private key: then [`read`] fails, and so must a run that would skip an
/// unreadable file (a directory of mounted files).
pub(crate) fn holds_private_key(bytes: &[u8]) -> bool {
    private_key::find(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)).is_some()
}

fn read_any(bytes: &[u8]) -> Result<CertificateFile> {
    if bytes.trim_ascii().is_empty() {
        return Err(
            Error::usage("the file is empty").hint("give a certificate as PEM or DER, or a bundle of them")
        );
    }
    if let Some(kind) = private_key::find(bytes) {
        return Err(Error::usage(format!("it has a private key ({kind})")).hint(
            "give certificates only: `openssl x509 -in FILE -out ca.crt`, or for PKCS#12 \
             `openssl pkcs12 -in FILE -cacerts -nokeys -out ca.crt`",
        ));
    }
    if bytes.windows(P11_KIT.len()).any(|window| window == P11_KIT) {
        return Err(Error::usage(
            "this is a file in p11-kit's own format, which can hold more than it shows",
        )
        .hint(
            "give its certificates as PEM: `trust extract --format=pem-bundle --filter=ca-anchors ca.pem`",
        ));
    }
    // No text has such a second byte, and no text that is one short element can hold a certificate.
    if matches!(bytes, [0x30, 0x80..=0x84, ..]) || der::only(bytes, der::SEQUENCE).is_some() {
        return read_der(bytes);
    }
    let blocks: Vec<PemBlock> = pem::iter(bytes).take(BLOCKS_LIMIT + 1).collect();
    if blocks.len() > BLOCKS_LIMIT {
        return Err(Error::usage(format!("it has more than {BLOCKS_LIMIT} PEM blocks"))
            .hint("give a bundle of roots: the largest in use has a few hundred"));
    }
    if blocks.is_empty() || looks_like_web_page(bytes) {
        return Err(not_certificates(bytes));
    }
    read_pem(bytes, &blocks)
}

fn read_der(bytes: &[u8]) -> Result<CertificateFile> {
    let mut found = InputContents::default();
    if bytes[1] == 0x80 {
        return Err(Error::usage("this is BER with indefinite lengths, not DER")
            .hint("convert it: `openssl pkcs7 -inform DER -in FILE -print_certs -out ca.pem`"));
    }
    if pkcs7::is_pkcs7(bytes) {
        found.pkcs7(bytes, "")?;
    } else {
        found.certificate(bytes, "")?;
    }
    found.finish()
}

fn read_pem(bytes: &[u8], blocks: &[PemBlock]) -> Result<CertificateFile> {
    let mut found = InputContents::default();
    let mut line = 1;
    let mut counted = 0;
    for (index, block) in blocks.iter().enumerate() {
        line += bytes[counted..block.range.start].iter().filter(|byte| **byte == b'\n').count();
        counted = block.range.start;
        let place = format!("PEM block {} at line {line}: ", index + 1);
        let Some(der) = &block.der else {
            if block.fault == Some(PemFault::NoEnd) && block.range.end == bytes.len() {
                return Err(Error::usage(format!("{place}the END line is missing: the file is cut off"))
                    .hint("copy or download it again, whole"));
            }
            found.problem(match block.fault {
                Some(PemFault::NoEnd) => format!("{place}its END line is missing"),
                _ => format!("{place}its body is not base64"),
            });
            continue;
        };
        match block.label.as_str() {
            // Microsoft's CA uses this label for PKCS#7.
            "CERTIFICATE" if pkcs7::is_pkcs7(der) => found.pkcs7(der, &place)?,
            "CERTIFICATE" | "X509 CERTIFICATE" => found.certificate(der, &place)?,
            "TRUSTED CERTIFICATE" => found.trusted_certificate(der, &place)?,
            // OpenSSL's label, Netscape's, RFC 7468's.
            "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => found.pkcs7(der, &place)?,
            other => found.problem(format!("{place}a `{}` is not a certificate", text::escape(other))),
        }
    }
    found.finish()
}

/// What has been read so far.
#[derive(Default)]
struct InputContents {
    file: CertificateFile,
    seen: BTreeSet<Fingerprint>,
}

impl InputContents {
    fn problem(&mut self, what: String) {
        self.file.problems.push(InputProblem { what, fingerprint: None });
    }

    /// Accepts one certificate; `place` is the prefix of messages about it.
    fn certificate(&mut self, der: &[u8], place: &str) -> Result<()> {
        let mut reader = DerReader::new(der);
        let whole = reader.take(der::SEQUENCE);
        if let Some(certificate) = whole.filter(|_| !reader.is_empty()) {
            return Err(Error::usage(format!(
                "{place}certificate {} has {} behind it",
                Fingerprint::of(certificate.raw),
                super::bytes(reader.rest().len())
            ))
            .hint("create it again from the original: `openssl x509 -in FILE -out ca.crt`"));
        }
        match Certificate::from_der(der) {
            Ok(certificate) => {
                if self.seen.insert(certificate.fingerprint()) {
                    self.file.certificates.push(certificate);
                }
            }
            Err(reason) => self.file.problems.push(InputProblem {
                what: format!("{place}{}", text::escape(&reason)),
                fingerprint: whole.map(|whole| Fingerprint::of(whole.raw)),
            }),
        }
        Ok(())
    }

    /// OpenSSL's certificate followed by trust settings. A reader that drops them installs what the file distrusts
    /// (threat T3).
    fn trusted_certificate(&mut self, der: &[u8], place: &str) -> Result<()> {
        let mut reader = DerReader::new(der);
        let Some(certificate) = reader.take(der::SEQUENCE) else {
            self.problem(format!("{place}not DER"));
            return Ok(());
        };
        if let Err(reason) = cert_aux::tls_server_trust(reader.rest()) {
            let fingerprint = Fingerprint::of(certificate.raw);
            return Err(Error::usage(format!("{place}certificate {fingerprint} {reason}"))
                .hint("remove it from the file; if you trust it anyway, convert it to a plain certificate: `openssl x509 -in FILE -out ca.crt`"));
        }
        self.certificate(certificate.raw, place)
    }

    fn pkcs7(&mut self, bytes: &[u8], place: &str) -> Result<()> {
        let members = match pkcs7::certificates(bytes) {
            Ok(members) => members,
            Err(reason) => {
                self.problem(format!("{place}{reason}"));
                return Ok(());
            }
        };
        if members.is_empty() {
            self.problem(format!("{place}PKCS#7 without certificates"));
        }
        for (index, member) in members.into_iter().enumerate() {
            self.certificate(member, &format!("{place}PKCS#7 member {}: ", index + 1))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<CertificateFile> {
        let problems = &self.file.problems;
        let error = match (&self.file.certificates[..], &problems[..]) {
            ([_, ..], _) => return Ok(self.file),
            ([], [problem]) => Error::usage(problem.what.clone()),
            ([], problems) => {
                let first = problems.first().map_or_else(String::new, |problem| problem.what.clone());
                Error::usage(format!("not one of {} parts is a certificate", problems.len()))
                    .because(anyhow::Error::msg(first))
            }
        };
        Err(error.hint("give a certificate as PEM or DER; `openssl x509 -in FILE -noout -text` must show it"))
    }
}

fn looks_like_web_page(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes.trim_ascii_start().iter().take(16).map(u8::to_ascii_lowercase).collect();
    [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<?xml"].iter().any(|tag| start.starts_with(tag))
}

/// The error for what is neither PEM nor DER.
fn not_certificates(bytes: &[u8]) -> Error {
    const SHOW: &str = "give a certificate as PEM (`-----BEGIN CERTIFICATE-----`) or DER";
    let text = bytes.trim_ascii();
    if looks_like_web_page(bytes) || text.starts_with(b"<") {
        Error::usage("this looks like a web page (HTML), not a certificate").hint(
            "give the address of the certificate itself; the server may have sent a login or error page",
        )
    } else if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        Error::usage("this is text in UTF-16, not a certificate").hint("save it as plain ASCII or UTF-8")
    } else if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || bytes.starts_with(&[0xce, 0xce, 0xce, 0xce]) {
        Error::usage("this is a Java keystore, not a certificate").hint(
            "export the certificate: `keytool -exportcert -rfc -keystore FILE -alias NAME -file ca.crt`",
        )
    } else if text.starts_with(b"{") {
        Error::usage("this looks like JSON, not a certificate").hint(SHOW)
    } else if pem::decode_base64(text).is_some_and(|decoded| decoded.starts_with(&[0x30])) {
        Error::usage("this is base64 without the BEGIN and END lines of PEM").hint(SHOW)
    } else if text.windows(10).any(|window| window == b"-----BEGIN") {
        Error::usage("it has a damaged BEGIN line").hint(SHOW)
    } else {
        Error::usage("it has no certificate").hint(SHOW)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            labels(format!("\u{feff}# text\r\n{}", both.replace('\n', "\r\n")).as_bytes()),
            ["A", "B"]
        );
        assert_eq!(labels(&a), ["A"]);
        assert_eq!(labels(armor("TRUSTED CERTIFICATE", &a).as_bytes()), ["A"]);
        let bag = bag(&[&a, &b]);
        assert_eq!(labels(&bag), ["A", "B"]);
        assert_eq!(labels(armor("PKCS7", &bag).as_bytes()), ["A", "B"]);
        assert_eq!(labels(pem::encode(&bag).as_bytes()), ["A", "B"]);
        let mixed =
            format!("{}{}{}", armor("PKCS7", &bag), pem::encode(&named("C")), pem::encode(&b).trim_end());
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
            (
                good.lines().filter(|line| !line.contains('-')).collect::<String>().as_bytes(),
                "base64 without",
            ),
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
        assert_eq!(
            read(flood(BLOCKS_LIMIT - 1).as_bytes(), "x").expect("one").problems.len(),
            BLOCKS_LIMIT - 1
        );
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
            error(format!("{}# [p11-kit-object-v1]", pem::encode(&named("A"))).as_bytes())
                .contains("p11-kit")
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
}
