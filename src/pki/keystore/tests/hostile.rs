//! Files that are no keystore, that are damaged, or that ask for too much.

use std::time::{Duration, Instant};

use super::{HMAC_SHA256, aliases, bytes_of, problem, with_password};
use crate::pki::cert::testing::{Xorshift as Generator, counted};
use crate::pki::keystore::kdf::Hash;
use crate::pki::keystore::testing::{
    certificate, jks, jks_key, jks_trusted, key_bag, mac, mac_sha256, pbes2, pfx, pfx_plain, pkcs12_pbe,
    plain, trusted_bag,
};
use crate::pki::keystore::*;

#[test]
fn what_is_no_keystore_of_ours_says_what_it_is() {
    let unsupported = |bytes: &[u8], wanted: &str| match problem(bytes) {
        KeystoreProblem::Unsupported(what) => assert!(what.contains(wanted), "{what}"),
        other => panic!("{other:?}, not {wanted}"),
    };
    unsupported(&[0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2], "JCEKS");
    unsupported(&[0, 0, 0, 2, 0, 0, 0, 20], "BKS");
    unsupported(&[0, 0, 0, 1, 0, 0, 0, 20], "BKS");
    unsupported(&[0x30, 0x80, 2, 1, 3, 0x30, 0x80], "BER");
    unsupported(&jks(3, "changeit", &[]), "version 3");
    // RC4; AES-GCM; scrypt; MD5 as MAC.
    let scheme = |algorithm: &[u8]| Scheme::read(algorithm).unwrap_err();
    use crate::pki::cert::testing::{oid, sequence, tlv};
    use crate::pki::keystore::pbe::Scheme;
    assert_eq!(
        scheme(&pkcs12_pbe(1, 1)),
        KeystoreProblem::Unsupported("the encryption algorithm 1.2.840.113549.1.12.1.1".to_owned())
    );
    let pbes2_of = |parts: &[&[u8]]| sequence(&[&oid("1.2.840.113549.1.5.13"), &sequence(parts)]);
    let scrypt = sequence(&[&oid("1.3.6.1.4.1.11591.4.11"), &sequence(&[])]);
    assert!(
        matches!(scheme(&pbes2_of(&[&scrypt, &scrypt])), KeystoreProblem::Unsupported(what) if what.contains("11591.4.11"))
    );
    let md5 = |content: &[u8]| mac("1.2.840.113549.2.5", Hash::Sha1, "changeit", 1, content);
    unsupported(&pfx(&[], md5), "MAC algorithm 1.2.840.113549.2.5");
    // A signed one.
    let signed = sequence(&[&tlv(2, &[3]), &sequence(&[&oid("1.2.840.113549.1.7.2"), &tlv(0xa0, &[5, 0])])]);
    unsupported(&signed, "signed");
    for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----", b"SQLite format 3\0", certificate("A").der()] {
        assert_eq!(problem(bytes), KeystoreProblem::NotAKeystore, "{bytes:x?}");
    }
    assert_eq!(problem(&[0xfe, 0xed, 0xfe, 0xed]), KeystoreProblem::Damaged("it is cut off"));
}

#[test]
fn t19_costs_are_refused_before_derivation() {
    let bag = || vec![trusted_bag("a", certificate("A").der())];
    // An encrypted part; nobody gets as far as what is in it.
    let with = |algorithm: &[u8]| {
        use crate::pki::cert::testing::{oid, sequence, tlv};
        let inner = sequence(&[&oid("1.2.840.113549.1.7.1"), algorithm, &tlv(0x80, &[0; 64])]);
        sequence(&[&oid("1.2.840.113549.1.7.6"), &tlv(0xa0, &sequence(&[&tlv(2, &[0]), &inner]))])
    };
    let dear_mac = |count: u64| {
        move |content: &[u8]| {
            use crate::pki::cert::testing::sequence;
            let cheap = mac_sha256("changeit", 1, content);
            let body = &cheap[2..cheap.len() - 3];
            sequence(&[body, &super::testing::integer(count)])
        }
    };
    for count in [5_000_001, (1 << 31) - 1, 1 << 31, 1 << 32, u64::MAX] {
        for bytes in [
            pfx_plain(&[with(&pbes2(256, HMAC_SHA256, count))]),
            pfx_plain(&[with(&pkcs12_pbe(6, count))]),
            pfx(&[plain(&bag())], dear_mac(count)),
        ] {
            assert_eq!(counted(|| problem(&bytes)), (KeystoreProblem::TooCostly, 0), "{count}");
        }
    }
    // Many that are allowed one by one.
    let many = pfx_plain(&vec![with(&pbes2(256, HMAC_SHA256, 4_000_000)); 3]);
    assert_eq!(counted(|| problem(&many)), (KeystoreProblem::TooCostly, 0));
    for zero in [pfx_plain(&[with(&pbes2(256, HMAC_SHA256, 0))]), pfx(&[], dear_mac(0))] {
        assert_eq!(problem(&zero), KeystoreProblem::Damaged("an iteration count"));
    }
}

#[test]
fn t19_lengths_are_checked_against_what_is_there() {
    let many = |count: u32, rest: &[u8]| {
        let mut file = vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
        file.extend(count.to_be_bytes());
        file.extend(rest);
        file.extend([0; 20]);
        file
    };
    let huge_key = [&jks_key(b"k", 0)[..15], &[0xff; 8]].concat();
    let huge_alias = [0, 0, 0, 2, 0xff, 0xff, b'a'];
    for file in [
        many(u32::MAX, &[]),
        many(1, &huge_key),
        many(1, &huge_alias),
        many(0, &[1]),
        many(u32::MAX, &jks_trusted(b"a", 0, b"x").repeat(100)),
    ] {
        // No memory holds four thousand million entries, and no test lives long enough to see them read.
        assert_eq!(problem(&file), KeystoreProblem::Damaged("the entries"));
    }
}

#[test]
fn damaged_files_are_errors_and_never_change_their_meaning() {
    let mut random = Generator(19);
    let mut files = with_password("changeit");
    files.push(("plain", pfx_plain(&[plain(&[key_bag(), trusted_bag("a", certificate("A").der())])])));
    for (what, file) in &files {
        for length in 0..file.len() {
            assert!(Keystore::parse(&file[..length], &StorePassword::default()).is_err(), "{what}: {length}");
        }
        let start = Instant::now();
        for _ in 0..400 {
            let mutant = random.mutate(file);
            let Ok(keystore) = Keystore::parse(&mutant, &StorePassword::default()) else { continue };
            // What opens is written again as it was read.
            assert_eq!(bytes_of(&keystore), mutant, "{what}");
            // With a checksum over everything that has a meaning.
            if *what != "plain" {
                let first = Keystore::parse(file, &StorePassword::default()).unwrap();
                assert_eq!(aliases(&keystore), aliases(&first), "{what}");
                assert_eq!(keystore.fingerprints(), first.fingerprints(), "{what}");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", start.elapsed());
    }
}
