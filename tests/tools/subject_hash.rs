//! The subject hash is OpenSSL's: compared on every Mozilla root and on names that nobody sane would issue.

use tempfile::TempDir;
use trustup::pki::cert::{Certificate, input, pem};

use crate::openssl::{mozilla_roots, try_openssl};
use crate::support::der::{
    BIT_STRING, BMP, IA5, NUMERIC, PRINTABLE, T61, TestCertificate, UNIVERSAL, UTF8, attribute, name,
};
use crate::support::xorshift::Xorshift;

/// What `openssl x509 -subject_hash` prints; the error is what it says of a certificate that it cannot read.
fn hash_by_openssl(certificate: &Certificate) -> Result<String, String> {
    let directory = TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("c.der"), certificate.der()).expect("written");
    let arguments = ["x509", "-inform", "DER", "-in", "c.der", "-noout", "-subject_hash"];
    try_openssl(directory.path(), &arguments).map(|hash| hash.trim().to_owned())
}

fn assert_same(certificates: &[Certificate]) {
    for certificate in certificates {
        let wanted = hash_by_openssl(certificate);
        assert_eq!(Ok(format!("{:08x}", certificate.subject_hash())), wanted, "{certificate:?}");
    }
}

fn with_subject(subject: Vec<u8>) -> Certificate {
    Certificate::from_der(&TestCertificate::named(subject).der()).expect("parses")
}

#[test]
#[ignore = "needs openssl and ca-certificates"]
fn every_mozilla_root_has_the_hash_that_openssl_prints() {
    let roots: Vec<Certificate> = mozilla_roots()
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).expect("read");
            let mut file = input::read(&bytes, &path.display().to_string()).expect("a root");
            assert_eq!((file.certificates.len(), file.problems.len()), (1, 0), "{path:?}");
            file.certificates.remove(0)
        })
        .collect();
    assert_same(&roots);
}

#[test]
#[ignore = "needs openssl"]
fn odd_names_have_the_hash_that_openssl_prints() {
    let cn = |tag, value: &[u8]| attribute("2.5.4.3", tag, value);
    let values: &[(u8, &[u8])] = &[
        (UTF8, b"Plain"),
        (UTF8, "Größe 日本 \u{1f512} ÄÖÜ".as_bytes()),
        (UTF8, b"  Leading, \t inner \x0b\x0c and\r\ntrailing \n"),
        (UTF8, b""),
        (UTF8, b"   "),
        (UTF8, "\u{a0}a\u{a0}\u{2003}b\u{a0}".as_bytes()),
        (UTF8, b"a\0b"),
        (PRINTABLE, b"Printable (X) '+,-./:=?"),
        (PRINTABLE, b"not * printable @ at all"),
        (T61, b"Caf\xe9 \xc4\xd6 ~"),
        (T61, b"\xa0edge\xa0"),
        (IA5, b"Mail@Example.COM"),
        (IA5, b"high \xe9"),
        (NUMERIC, b"0049  89"),
        (BMP, b"\0B\0M\0P\0 \0 \0X\x65\xe5"),
        (BMP, b""),
        (BMP, b"\0 \0\xe4\0\xc4\0 "),
        (UNIVERSAL, b"\0\0\0U\0\0\0 \0\0\0 \0\x01\xf5\x12"),
        // No string type: taken as it is.
        (BIT_STRING, b"\0 Bits "),
    ];
    let mut subjects: Vec<Vec<u8>> = values.iter().map(|(tag, value)| name(&[&[&cn(*tag, value)]])).collect();

    let (a, b) = (cn(UTF8, b" Alpha "), attribute("2.5.4.10", PRINTABLE, b"BETA  Inc"));
    let long = attribute("2.5.4.11", UTF8, "long é ".repeat(60).as_bytes());
    let unknown = attribute("1.3.6.1.4.1.99999.7", UTF8, b"Unknown  Type");
    subjects.push(name(&[]));
    subjects.push(name(&[&[&a], &[&b]]));
    subjects.push(name(&[&[&b], &[&a]]));
    // One relative name with several attributes, in and out of DER's order.
    subjects.push(name(&[&[&a, &b]]));
    subjects.push(name(&[&[&b, &a, &long], &[&unknown]]));
    subjects.push(name(&[&[&unknown, &a, &a]]));
    subjects.push(name(&[&[&long], &[&long]]));
    assert_same(&subjects.into_iter().map(with_subject).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs openssl"]
fn random_names_have_the_hash_that_openssl_prints() {
    let mut random = Xorshift(0x5eed_000b);
    let alphabet: Vec<char> = "aZ  \t\u{b}é日\u{1f512}Ä-".chars().collect();
    let certificates: Vec<Certificate> = (0..200)
        .map(|_| {
            let rdns: Vec<Vec<Vec<u8>>> = (0..random.below(4))
                .map(|_| {
                    (0..=random.below(3))
                        .map(|_| {
                            let oid = ["2.5.4.3", "2.5.4.10", "2.5.4.6", "1.2.3.4"][random.below(4)];
                            let length = random.below(12);
                            let text: Vec<char> =
                                (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect();
                            let (tag, bytes) = encode(&mut random, &text);
                            attribute(oid, tag, &bytes)
                        })
                        .collect()
                })
                .collect();
            let rdns: Vec<Vec<&[u8]>> =
                rdns.iter().map(|rdn| rdn.iter().map(Vec::as_slice).collect()).collect();
            let rdns: Vec<&[&[u8]]> = rdns.iter().map(Vec::as_slice).collect();
            with_subject(name(&rdns))
        })
        .collect();
    assert_same(&certificates);
}

/// Text in one of the string types that can hold it.
fn encode(random: &mut Xorshift, text: &[char]) -> (u8, Vec<u8>) {
    match random.below(4) {
        0 if text.iter().all(|c| u32::from(*c) < 0x100) => (T61, text.iter().map(|c| *c as u8).collect()),
        1 if text.iter().all(|c| u32::from(*c) < 0xd800) => {
            (BMP, text.iter().flat_map(|c| (u32::from(*c) as u16).to_be_bytes()).collect())
        }
        2 => (UNIVERSAL, text.iter().flat_map(|c| u32::from(*c).to_be_bytes()).collect()),
        _ => (UTF8, text.iter().collect::<String>().into_bytes()),
    }
}

#[test]
#[ignore = "needs openssl and ca-certificates"]
fn every_mozilla_root_is_the_same_file_after_reading_and_writing() {
    for path in mozilla_roots() {
        let text = std::fs::read_to_string(&path).expect("read");
        let block = &pem::blocks(text.as_bytes())[0];
        let der = block.der.as_deref().expect("whole");
        assert_eq!(
            Certificate::from_der(der).expect("parses").to_pem(),
            text[block.range.clone()],
            "{path:?}"
        );
    }
}
