//! The rules of every format, on keystores that are built here; `tests/tools/keystore.rs` has Java's own.

mod cost;
mod hostile;

use super::kdf::Hash;
use super::testing::{
    bag, certificate, certificate_bag, encrypted, friendly, jks, jks_key, jks_trusted, key_bag, mac,
    mac_sha256, pbes2, pbmac1, pfx, pfx_of_keytool, pfx_plain, pkcs12_pbe, plain, salts, trusted_bag,
};
use super::*;
use crate::pki::cert::testing::{TestCertificate, UTF8, Xorshift as Generator, attribute, common_name, name};

pub(super) const HMAC_SHA256: Option<&str> = Some("1.2.840.113549.2.9");

pub(super) fn parse(bytes: &[u8]) -> Keystore {
    Keystore::parse(bytes, &StorePassword::default()).unwrap()
}

pub(super) fn bytes_of(keystore: &Keystore) -> Vec<u8> {
    keystore.to_bytes(&mut salts(7)).unwrap()
}

pub(super) fn aliases(keystore: &Keystore) -> Vec<&str> {
    keystore.entries().iter().map(KeystoreEntry::alias).collect()
}

pub(super) fn problem(bytes: &[u8]) -> KeystoreProblem {
    Keystore::parse(bytes, &StorePassword::default()).unwrap_err()
}

/// A keystore of each kind that has a password, with the vendor's certificate and a private key; few iterations.
pub(super) fn with_password(password: &str) -> Vec<(&'static str, Vec<u8>)> {
    let key_and = |part: Vec<u8>, mac: &dyn Fn(&[u8]) -> Vec<u8>| pfx(&[plain(&[key_bag()]), part], mac);
    let vendor = [trusted_bag("vendor", certificate("Vendor").der())];
    let of = |algorithm: &[u8]| encrypted(algorithm, password, &vendor);
    let sha256 = |content: &[u8]| mac_sha256(password, 3, content);
    let aes = pbes2(256, HMAC_SHA256, 4);
    let jks = jks(
        2,
        password,
        &[
            jks_key(b"mykey", 1_700_000_000_123),
            jks_trusted(b"vendor", 1_600_000_000_000, certificate("Vendor").der()),
        ],
    );
    vec![
        ("jks", jks),
        ("keytool's", pfx_of_keytool(password, &aes)),
        ("aes-128, sha-512", key_and(of(&pbes2(128, Some("1.2.840.113549.2.11"), 3)), &sha256)),
        ("aes-192, sha-384", key_and(of(&pbes2(192, Some("1.2.840.113549.2.10"), 3)), &sha256)),
        ("aes-256, sha-1 by default", key_and(of(&pbes2(256, None, 3)), &sha256)),
        ("triple des", key_and(of(&pkcs12_pbe(3, 3)), &sha256)),
        ("rc2 of 128 bits", key_and(of(&pkcs12_pbe(5, 3)), &sha256)),
        ("rc2 of 40 bits, sha-1", {
            let sha1 = |content: &[u8]| mac("1.3.14.3.2.26", Hash::Sha1, password, 3, content);
            key_and(of(&pkcs12_pbe(6, 3)), &sha1)
        }),
        ("mac of sha-512, plain", {
            let sha512 = |content: &[u8]| mac("2.16.840.1.101.3.4.2.3", Hash::Sha512, password, 3, content);
            key_and(plain(&vendor), &sha512)
        }),
        ("pbmac1", key_and(of(&aes), &|content| pbmac1(password, 3, content))),
    ]
}

#[test]
fn a_new_keystore_is_a_jks_as_java_writes_it() {
    let (ours, date) = (certificate("Ours"), 1_700_000_000_000);
    let mut keystore = Keystore::new_jks();
    assert_eq!(bytes_of(&keystore), jks(2, "changeit", &[]));
    let alias = alias_for(&ours);
    assert!(keystore.add(&alias, &ours, date).unwrap());
    let bytes = bytes_of(&keystore);
    assert_eq!(bytes, jks(2, "changeit", &[jks_trusted(alias.as_bytes(), date, ours.der())]));
    let again = parse(&bytes);
    assert_eq!((again.format(), again.fingerprints()), (KeystoreFormat::Jks, vec![ours.fingerprint()]));
    assert_eq!((aliases(&again), again.entries()[0].date()), (vec![&alias[..]], Some(date)));
}

#[test]
fn without_a_password_adding_and_removing_gives_the_first_bytes_back() {
    let vendor = certificate("Vendor");
    let bag = || trusted_bag("vendor", vendor.der());
    let untrusted = certificate_bag(certificate("Chain").der(), &[friendly("chain")]);
    for (what, first) in [
        ("new", bytes_of(&Keystore::new_jks())),
        ("jks", with_password("changeit").remove(0).1),
        ("version 1", {
            let entry = jks_trusted(b"a", 5, vendor.der());
            let at = entry.windows(7).position(|part| part == b"\0\x05X.509").unwrap();
            jks(1, "changeit", &[[&entry[..at], &entry[at + 7..]].concat()])
        }),
        ("nothing", pfx_plain(&[])),
        ("one", pfx_plain(&[plain(&[bag()])])),
        ("an empty part", pfx_plain(&[plain(&[])])),
        ("a key and a chain", pfx_plain(&[plain(&[key_bag()]), plain(&[untrusted.clone(), bag()])])),
        ("certificates first", pfx_plain(&[plain(&[bag(), untrusted]), plain(&[key_bag()])])),
        ("only a key", pfx_plain(&[plain(&[key_bag()])])),
    ] {
        assert_eq!(bytes_of(&parse(&first)), first, "{what}");
        let (ours, others) = (certificate("Ours"), certificate("Other"));
        let mut keystore = parse(&first);
        let before = keystore.fingerprints();
        assert!(keystore.add("ours", &ours, 1).unwrap() && keystore.add("other", &others, 2).unwrap());
        let with = bytes_of(&keystore);
        let mut keystore = parse(&with);
        assert_eq!(
            keystore.fingerprints(),
            [&before[..], &[ours.fingerprint(), others.fingerprint()]].concat(),
            "{what}"
        );
        assert_eq!(bytes_of(&keystore), with, "{what}");
        assert_eq!(keystore.remove(&ours.fingerprint()), 1);
        assert_eq!([1, 0].map(|_| keystore.remove(&others.fingerprint())), [1, 0]);
        assert_eq!(bytes_of(&keystore), first, "{what}");
    }
}

#[test]
fn with_a_password_all_but_ours_stays() {
    for password in ["changeit", "hunter2 über", ""] {
        for (what, first) in with_password(password) {
            let secret = StorePassword::new(password.to_owned());
            let mut keystore = Keystore::parse(&first, &secret).expect(what);
            assert_eq!(bytes_of(&keystore), first, "unchanged: {what}");
            let key = keystore.entries().iter().find(|entry| entry.alias() == "mykey").unwrap();
            assert!(
                (key.content(), key.date()) == (&EntryContent::PrivateKey, Some(1_700_000_000_123)),
                "{what}"
            );
            assert_eq!(keystore.fingerprints(), [certificate("Vendor").fingerprint()], "{what}");
            let before: Vec<_> = keystore.entries().iter().map(|entry| entry.raw.clone()).collect();

            let ours = certificate("Ours");
            assert!(keystore.add(&alias_for(&ours), &ours, 1).unwrap());
            assert!(!keystore.add("again", &ours, 1).unwrap(), "there already");
            let with = bytes_of(&keystore);
            assert_ne!(
                keystore.to_bytes(&mut salts(8)).unwrap() == with,
                what != "jks",
                "fresh salts: {what}"
            );
            let mut keystore = Keystore::parse(&with, &secret).expect(what);
            assert_eq!(keystore.fingerprints().last(), Some(&ours.fingerprint()), "{what}");
            assert!(with.len().abs_diff(first.len()) > ours.der().len(), "{what}");
            let wrong = StorePassword::new("other".to_owned());
            assert_eq!(Keystore::parse(&with, &wrong).unwrap_err(), KeystoreProblem::WrongPassword, "{what}");

            assert_eq!(keystore.remove(&ours.fingerprint()), 1);
            let without = Keystore::parse(&bytes_of(&keystore), &secret).expect(what);
            let after: Vec<_> = without.entries().iter().map(|entry| entry.raw.clone()).collect();
            assert_eq!(after, before, "{what}");
            assert_eq!(bytes_of(&keystore).len(), first.len(), "same parameters: {what}");
        }
    }
}

#[test]
fn encrypted_parts_that_do_not_change_are_not_encrypted_again() {
    let secrets = encrypted(&pbes2(256, HMAC_SHA256, 2), "changeit", &[bag("1.2.3", &[5, 0], &[])]);
    let certificates = [trusted_bag("vendor", certificate("Vendor").der())];
    let certificates = encrypted(&pbes2(128, HMAC_SHA256, 2), "changeit", &certificates);
    let first = pfx(&[certificates, secrets.clone()], |content| mac_sha256("changeit", 2, content));
    let mut keystore = parse(&first);
    keystore.add("ours", &certificate("Ours"), 0).unwrap();
    let with = bytes_of(&keystore);
    assert!(with.windows(secrets.len()).any(|part| part == secrets));
    assert_eq!(aliases(&parse(&with)), ["vendor", "ours", ""]);
}

#[test]
fn iterations_are_never_lowered() {
    // Only a MAC: what keytool leaves when the last entry is removed.
    let empty = pfx(&[], |content| mac_sha256("changeit", 12_345, content));
    let mut keystore = parse(&empty);
    keystore.add("ours", &certificate("Ours"), 0).unwrap();
    let with = bytes_of(&keystore);
    // Of the new part and of the MAC.
    let count = [2, 2, 0x30, 0x39];
    assert_eq!(with.windows(4).filter(|part| *part == count).count(), 2);
    // And the encrypted part keeps them when it is empty.
    let mut keystore = parse(&with);
    for fingerprint in keystore.fingerprints() {
        keystore.remove(&fingerprint);
    }
    let without = bytes_of(&keystore);
    assert_eq!(without.windows(4).filter(|part| *part == count).count(), 2);
    assert_eq!(parse(&without).entries().len(), 0);
}

#[test]
fn encrypted_without_a_mac_needs_the_password_all_the_same() {
    let part = encrypted(&pbes2(256, HMAC_SHA256, 2), "hunter2", &[trusted_bag("a", certificate("A").der())]);
    let first = pfx_plain(&[part]);
    assert_eq!(KeystoreFormat::of(&first), Ok(KeystoreFormat::Pkcs12));
    assert_eq!(problem(&first), KeystoreProblem::WrongPassword);
    let mut keystore = Keystore::parse(&first, &StorePassword::new("hunter2".to_owned())).unwrap();
    keystore.add("ours", &certificate("Ours"), 0).unwrap();
    let with = Keystore::parse(&bytes_of(&keystore), &StorePassword::new("hunter2".to_owned())).unwrap();
    assert_eq!(aliases(&with), ["a", "ours"]);
}

#[test]
fn an_empty_password_may_be_none_at_all() {
    // With not even the final zero in what the key is derived from.
    let of = |content: &[u8]| {
        let key = Hash::Sha256.pkcs12(
            kdf::DerivationPurpose::Mac,
            &kdf::EncodedPassword::nothing(),
            b"salt of the mac",
            2,
            32,
        );
        let good = mac_sha256("x", 2, content);
        let wrong = Hash::Sha256.pkcs12(
            kdf::DerivationPurpose::Mac,
            &kdf::EncodedPassword::of(&StorePassword::new("x".to_owned())),
            b"salt of the mac",
            2,
            32,
        );
        let (good_value, wrong_value) =
            (Hash::Sha256.hmac(&key, content), Hash::Sha256.hmac(&wrong, content));
        let at = good.windows(32).position(|part| part == wrong_value).unwrap();
        [&good[..at], &good_value, &good[at + 32..]].concat()
    };
    let first = pfx(&[plain(&[])], of);
    let empty = StorePassword::new(String::new());
    let mut keystore = Keystore::parse(&first, &empty).unwrap();
    keystore.add("ours", &certificate("Ours"), 0).unwrap();
    assert_eq!(Keystore::parse(&bytes_of(&keystore), &empty).unwrap().entries().len(), 1);
    assert_eq!(problem(&first), KeystoreProblem::WrongPassword);
}

#[test]
fn a_certificate_that_java_does_not_trust_is_no_entry_of_trust() {
    let root = certificate("Root");
    let first = pfx_plain(&[plain(&[certificate_bag(root.der(), &[friendly("root")])])]);
    let mut keystore = parse(&first);
    assert!(keystore.fingerprints().is_empty() && keystore.entries()[0].content() == &EntryContent::Other);
    assert_eq!(keystore.remove(&root.fingerprint()), 0);
    assert_eq!(keystore.add("Root", &root, 0), Err(KeystoreProblem::Alias("Root".to_owned())));
    assert!(keystore.add(&alias_for(&root), &root, 0).unwrap());
    assert_eq!(parse(&bytes_of(&keystore)).fingerprints(), [root.fingerprint()]);
}

#[test]
fn nothing_but_trusted_certificates_is_ever_removed() {
    let mut keystore = parse(&with_password("changeit").remove(0).1);
    assert_eq!(aliases(&keystore), ["mykey", "vendor"]);
    assert_eq!(
        keystore.add("MyKey", &certificate("Ours"), 0),
        Err(KeystoreProblem::Alias("MyKey".to_owned())),
        "Java compares without case"
    );
}

#[test]
fn javas_own_utf_8_is_read() {
    let der = certificate("Root").der().to_vec();
    for (bytes, wanted) in [
        (&b"plain"[..], Some("plain")),
        ("Größe 日本".as_bytes(), Some("Größe 日本")),
        (b"a\xc0\x80b", Some("a\0b")),
        (b"\xed\xa0\xbd\xed\xb4\x92", Some("\u{1f512}")),
        (b"\xed\xa0\xbd", Some("\u{fffd}")),
        ("\u{1f512}".as_bytes(), None),
        (b"\x80", None),
        (b"\xc3", None),
        (b"\xc3a", None),
    ] {
        let first = jks(2, "changeit", &[jks_trusted(bytes, 0, &der)]);
        match Keystore::parse(&first, &StorePassword::default()) {
            Ok(keystore) => {
                assert_eq!((Some(keystore.entries()[0].alias()), bytes_of(&keystore)), (wanted, first));
            }
            Err(error) => {
                assert!(wanted.is_none() && error == KeystoreProblem::Damaged("the entries"), "{bytes:?}")
            }
        }
    }
    let mut keystore = Keystore::new_jks();
    keystore.add("\0ö日\u{1f512}", &certificate("Ours"), 0).unwrap();
    let bytes = bytes_of(&keystore);
    let wanted = b"\0\x0d\xc0\x80\xc3\xb6\xe6\x97\xa5\xed\xa0\xbd\xed\xb4\x92";
    assert!(bytes.windows(wanted.len()).any(|part| part == wanted));
    assert_eq!(aliases(&parse(&bytes)), ["\0ö日\u{1f512}"]);
    let long = "x".repeat(70_000);
    assert_eq!(keystore.add(&long, &certificate("Long"), 0), Err(KeystoreProblem::Alias(long)));
}

#[test]
fn any_alias_and_any_subject_go_in_and_come_out() {
    const CHARACTERS: &[char] = &[
        'a',
        'B',
        '0',
        ' ',
        '-',
        '.',
        '\0',
        '\n',
        '\x7f',
        'ü',
        'ß',
        'İ',
        '日',
        '\u{202e}',
        '\u{ffff}',
        '\u{1f512}',
    ];
    let mut random = Generator(4);
    let mut text = |limit: usize| -> String {
        (0..random.below(limit)).map(|_| CHARACTERS[random.below(CHARACTERS.len())]).collect()
    };
    for first in [bytes_of(&Keystore::new_jks()), pfx_plain(&[]), with_password("changeit").remove(1).1] {
        let mut keystore = parse(&first);
        let start = keystore.entries().len();
        let mut wanted = Vec::new();
        for number in 0..40 {
            let alias = format!("{}{number}", text(30));
            let subject = name(&[&[&attribute("2.5.4.3", UTF8, text(40).as_bytes())]]);
            let serial = TestCertificate {
                issuer: Some(common_name(&number.to_string())),
                ..TestCertificate::named(subject)
            };
            let root = Certificate::from_der(&serial.der()).unwrap();
            assert!(keystore.add(&alias, &root, number).unwrap());
            wanted.push((alias, root));
        }
        let mut keystore = parse(&bytes_of(&keystore));
        let found: Vec<_> = keystore.entries()[start..].iter().map(KeystoreEntry::alias).collect();
        assert_eq!(found, wanted.iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>());
        for (alias, root) in &wanted {
            let ours = alias_for(root);
            assert!(ours.ends_with(&format!("-{}", root.fingerprint())) && ours.len() <= 64 + 65);
            assert!(ours.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')));
            assert_eq!(keystore.remove(&root.fingerprint()), 1, "{alias:?}");
        }
        assert_eq!(keystore.entries().len(), start);
    }
}

#[test]
fn thousands_of_entries_are_no_trouble() {
    const COUNT: usize = 3000;
    let ders: Vec<Vec<u8>> = (0..COUNT).map(|at| at.to_string().into_bytes()).collect();
    let named: Vec<(String, &Vec<u8>)> =
        ders.iter().enumerate().map(|(at, der)| (format!("e{at}"), der)).collect();
    let entries: Vec<_> = named.iter().map(|(alias, der)| jks_trusted(alias.as_bytes(), 0, der)).collect();
    let bags: Vec<_> = named.iter().map(|(alias, der)| trusted_bag(alias, der)).collect();
    for first in [jks(2, "changeit", &entries), pfx_plain(&[plain(&bags)])] {
        let mut keystore = parse(&first);
        assert_eq!(keystore.entries().len(), COUNT);
        keystore.add("ours", &certificate("Ours"), 0).unwrap();
        keystore.remove(&Fingerprint::of(&ders[COUNT / 2]));
        assert_eq!(parse(&bytes_of(&keystore)).fingerprints().len(), COUNT);
    }
}

#[test]
fn without_a_password_java_sees_what_is_not_encrypted() {
    let vendor = certificate("Vendor").fingerprint();
    for (what, file) in with_password("hunter2") {
        let seen = Keystore::trusted_without_password(&file).expect(what);
        let plain = ["jks", "mac of sha-512, plain"].contains(&what);
        assert_eq!(seen, if plain { vec![vendor] } else { Vec::new() }, "{what}");
    }
    let bags = plain(&[trusted_bag("vendor", certificate("Vendor").der())]);
    assert_eq!(Keystore::trusted_without_password(&pfx_plain(&[bags])), Ok(vec![vendor]));
    assert_eq!(Keystore::trusted_without_password(b"x"), Err(KeystoreProblem::NotAKeystore));
}

#[test]
fn secrets_are_never_shown() {
    let password = StorePassword::new("hunter2".to_owned());
    assert!(!format!("{password:?}").contains("hunter2"));
    for (_, file) in with_password("hunter2") {
        let keystore = Keystore::parse(&file, &password).unwrap();
        assert!(!format!("{keystore:?}").contains("hunter2"));
        let wrong = Keystore::parse(&file, &StorePassword::new("swordfish".to_owned())).unwrap_err();
        let error = wrong.into_error();
        let shown = format!("{error:?} {error} {:?}", error.hints());
        assert!(!shown.contains("swordfish") && !shown.contains("hunter2"), "{shown}");
        assert!(error.hints()[0].contains("--java-storepass-file"));
    }
}
