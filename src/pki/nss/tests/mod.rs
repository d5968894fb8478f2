//! Round trips without NSS. `tests/tools/nss` compares with NSS itself.
#![allow(clippy::disallowed_methods, reason = "tests spoil databases with SQLite itself")]

mod hostile;

use aes::Aes256;
use cbc::Encryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use rusqlite::{Connection, MAIN_DB};

use super::attributes::AttributeNumber;
use super::*;
use crate::error::ErrorKind;
use crate::pki::cert::testing::{TestCertificate, common_name, rsa_key, sequence, tlv};

fn root(name: &str) -> Certificate {
    Certificate::from_der(&TestCertificate::named(common_name(name)).der()).expect("parses")
}

fn new_files() -> Files {
    Databases::new().expect("new").into_files().expect("bytes")
}

fn open(files: &Files, password: Option<&NssPassword>) -> Databases {
    Databases::open(&files.cert9, &files.key4, password).expect("opens")
}

/// `bytes` after `sql`, by SQLite without any of our settings.
fn after(bytes: &[u8], work: impl FnOnce(&Connection)) -> Vec<u8> {
    let mut connection = Connection::open_in_memory().expect("memory");
    connection.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), false).expect("a database");
    work(&connection);
    connection.serialize(MAIN_DB).expect("bytes").to_vec()
}

fn after_sql(bytes: &[u8], sql: &str) -> Vec<u8> {
    after(bytes, |connection| connection.execute_batch(sql).expect(sql))
}

/// The DER of PBKDF2's parameters with this INTEGER as the count.
fn pbkdf2_der(salt: &[u8], count: &[u8]) -> Vec<u8> {
    let hmac = sequence(&[&tlv(0x06, password::HMAC_SHA256)]);
    let parameters = sequence(&[&tlv(0x04, salt), &tlv(0x02, count), &tlv(0x02, &[32]), &hmac]);
    sequence(&[&tlv(0x06, password::PBKDF2), &parameters])
}

/// A password entry's second item, as NSS makes it.
fn password_item(salt: &[u8], password: &str, count: u32) -> Vec<u8> {
    let hash = <sha1::Sha1 as sha1::Digest>::digest([salt, password.as_bytes()].concat());
    let parameters = password::Pbkdf2 { salt: vec![7; 32], iterations: count };
    let vector = tlv(0x04, &[9; 14]);
    // A count beyond the limit must be refused: no key is derived with it.
    let key = if count > MAX_ITERATIONS { [0; 32] } else { *parameters.derive(&hash) };
    let initial: [u8; 16] = vector.clone().try_into().expect("16 bytes");
    let mut buffer = *b"password-check--";
    let encryptor = Encryptor::<Aes256>::new(&key.into(), &initial.into());
    let encrypted = encryptor.encrypt_padded::<Pkcs7>(&mut buffer, 14).expect("fits").to_vec();
    let aes = sequence(&[&tlv(0x06, b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a"), &vector]);
    let count = [&[0][..], &count.to_be_bytes()].concat();
    let parameters = sequence(&[&pbkdf2_der(&[7; 32], &count), &aes]);
    let pbes2 = sequence(&[&tlv(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"), &parameters]);
    sequence(&[&pbes2, &tlv(0x04, &encrypted)])
}

fn with_entry(files: &Files, item2: &[u8]) -> Files {
    let key4 = after(&files.key4, |connection| {
        let sql = "INSERT INTO metaData VALUES ('password', ?, ?)";
        connection.execute(sql, rusqlite::params![&[5u8; 20][..], item2]).expect("inserted");
    });
    Files { key4, cert9: files.cert9.clone() }
}

/// New databases with a password.
fn protected(password: &str, count: u32) -> Files {
    with_entry(&new_files(), &password_item(&[5; 20], password, count))
}

#[test]
fn new_databases_are_the_same_bytes_each_time() {
    let build = || {
        let mut databases = Databases::new().expect("new");
        for name in ["A", "B", "C"] {
            let former = databases.add(&root_of(name), name).expect("added");
            assert_eq!(former, Some(Former::new(false)));
        }
        databases.into_files().expect("bytes")
    };
    // One certificate each: a new signature would be other bytes.
    fn root_of(name: &str) -> Certificate {
        use std::sync::OnceLock;
        static ROOTS: OnceLock<Vec<(String, Certificate)>> = OnceLock::new();
        let roots = ROOTS.get_or_init(|| ["A", "B", "C"].map(|name| (name.to_owned(), root(name))).into());
        roots.iter().find(|(other, _)| other == name).expect("there").1.clone()
    }
    let files = build();
    assert_eq!(files, build());
    for bytes in [&files.cert9, &files.key4] {
        // Page size 4096, rollback journal, user_version 0, UTF-8.
        assert_eq!((&bytes[16..20], &bytes[56..64]), (&[0x10, 0, 1, 1][..], &[0, 0, 0, 1, 0, 0, 0, 0][..]));
        assert_eq!(bytes.len() % 4096, 0);
    }
    let entries = open(&files, None).entries().expect("listed");
    assert_eq!(entries.iter().map(|entry| &entry.nickname[..]).collect::<Vec<_>>(), ["A", "B", "C"]);
    assert!(entries.iter().all(|entry| entry.is_trusted() && entry.signed == SettingsSignature::NotNeeded));
}

#[test]
fn what_was_added_is_found_and_goes_again() {
    let password = NssPassword::from_file(b"secret\r\nnot this\n");
    assert_eq!(format!("{password:?}"), "Password(***)");
    for (files, protection, signed) in [
        (new_files(), SettingsProtection::None, SettingsSignature::NotNeeded),
        (protected("", 1), SettingsProtection::Empty, SettingsSignature::Valid),
        (protected("secret", 1000), SettingsProtection::Unlocked, SettingsSignature::Valid),
        (protected("secret", 1), SettingsProtection::Unlocked, SettingsSignature::Valid),
    ] {
        let (ours, other) = (root("Ours"), root("Other"));
        let mut databases = open(&files, Some(&password));
        assert_eq!(databases.protection(), protection);
        databases.add(&other, "other").expect("added");
        let mut databases = open(&databases.into_files().expect("bytes"), Some(&password));
        let before = databases.cert9.all(&attributes::COLUMNS).expect("rows");
        let former = databases.add(&ours, "ours").expect("added").expect("new");
        assert_eq!(former, Former::new(false));
        assert_eq!(databases.add(&ours, "again").expect("there"), None);
        let files = databases.into_files().expect("bytes");
        let mut databases = open(&files, Some(&password));
        let entries = databases.entries().expect("listed");
        let wanted = NssCertificate {
            certificate: ours.clone(),
            fingerprint: ours.fingerprint(),
            nickname: "ours".to_owned(),
            trust: ServerTrust::Trusted,
            signed,
        };
        assert_eq!(entries[1], wanted);
        assert!(databases.remove(&ours, Some(&former)).expect("removed"));
        assert!(!databases.remove(&ours, Some(&former)).expect("nothing left"));
        assert_eq!(databases.cert9.all(&attributes::COLUMNS).expect("rows"), before);
        // Nothing done, nothing changed, not even a counter.
        let files = databases.into_files().expect("bytes");
        let mut databases = open(&files, Some(&password));
        assert_eq!(databases.add(&other, "other").expect("there"), None);
        assert_eq!(databases.into_files().expect("bytes"), files);
    }
}

#[test]
fn a_password_is_needed_and_has_to_be_right() {
    let files = protected("secret", 2000);
    let wrong = Databases::open(&files.cert9, &files.key4, Some(&NssPassword::new("Secret"))).err();
    assert_eq!(wrong, Some(NssRefusal::WrongPassword));
    let mut locked = open(&files, None);
    assert_eq!(locked.protection(), SettingsProtection::Locked);
    assert_eq!(locked.add(&root("Ours"), "ours"), Err(NssRefusal::Locked));
    assert_eq!(locked.into_files().expect("bytes"), files);
    // With existing settings, a locked database shows what NSS does before the password is entered.
    let mut databases = open(&files, Some(&NssPassword::new("secret")));
    let ours = root("Ours");
    databases.add(&ours, "ours").expect("added");
    let mut locked = open(&databases.into_files().expect("bytes"), None);
    assert_eq!(locked.entries().expect("listed")[0].signed, SettingsSignature::Unknown);
    assert_eq!(locked.add(&ours, "ours").expect("there"), None);
    assert!(locked.remove(&ours, None).expect("needs no password"));
    assert_eq!(NssRefusal::Locked.into_error().kind(), ErrorKind::Usage);
    assert!(NssRefusal::Locked.into_error().hints()[0].contains("--nss-password-file"));
}

#[test]
fn thousands_of_rows_are_no_trouble() {
    let mut databases = open(&protected("", 1), None);
    let roots: Vec<Certificate> = (0..2000)
        .map(|index| {
            let draft = TestCertificate {
                public_key: Some(rsa_key(1024)),
                ..TestCertificate::named(common_name(&format!("Root {index}")))
            };
            Certificate::from_der(&draft.der()).expect("parses")
        })
        .collect();
    for root in &roots {
        databases.add(root, &nickname_for(root)).expect("added").expect("new");
    }
    let mut databases = open(&databases.into_files().expect("bytes"), None);
    let entries = databases.entries().expect("listed");
    assert_eq!(entries.len(), roots.len());
    for (entry, root) in entries.iter().zip(&roots) {
        assert!(entry.is_trusted() && entry.signed == SettingsSignature::Valid);
        assert_eq!((entry.fingerprint, &entry.nickname), (root.fingerprint(), &nickname_for(root)));
    }
    for root in roots.iter().step_by(2) {
        assert!(databases.remove(root, None).expect("removed"));
    }
    let left = open(&databases.into_files().expect("bytes"), None).entries().expect("listed");
    assert_eq!(left.len(), roots.len() / 2);
}

#[test]
fn numbers_that_are_taken_are_left_alone() {
    let ours = root("Ours");
    let preferred = preferred_id(&ours);
    let files = protected("", 1);
    // An object that is not a certificate has the first number, a signature of nothing the second.
    let sql = format!("INSERT INTO nssPublic (id, a0) VALUES ({preferred}, x'00000002')");
    let orphan =
        format!("INSERT INTO metaData VALUES ('sig_cert_{:08x}_ce536358', x'00', NULL)", preferred + 1);
    let files = Files { cert9: after_sql(&files.cert9, &sql), key4: after_sql(&files.key4, &orphan) };
    let mut databases = open(&files, None);
    databases.add(&ours, "ours").expect("added");
    let ids: Vec<u32> = databases.cert9.all(&[]).expect("rows").iter().map(|row| row.id).collect();
    assert_eq!(ids, [preferred, preferred + 2, preferred + 3]);
    databases.remove(&ours, None).expect("removed");
    assert_eq!(databases.cert9.all(&[]).expect("rows").len(), 1);
    assert_eq!(databases.cert9.free_id(0, &databases.key4), Ok(1));
    assert_eq!(databases.cert9.free_id(u32::MAX, &databases.key4), Ok(MAX_ID));
}

#[test]
fn another_certificate_with_the_same_serial_number_is_never_touched() {
    // The same issuer, serial number and so on; the key is another.
    let ours = root("Twin");
    let draft =
        TestCertificate { public_key: Some(rsa_key(2048)), ..TestCertificate::named(common_name("Twin")) };
    let theirs = Certificate::from_der(&draft.der()).expect("parses");
    let mut databases = Databases::new().expect("new");
    databases.add(&theirs, "theirs").expect("added");
    let files = databases.into_files().expect("bytes");
    let mut databases = open(&files, None);
    assert_eq!(databases.add(&ours, "ours"), Err(NssRefusal::SerialTaken));
    assert!(!databases.remove(&ours, None).expect("not there"));
    assert_eq!(databases.into_files().expect("bytes"), files);
}

/// Adds the columns of NSS 3.114 and later, and a trust object of PKCS#11 3.2 with these settings.
fn with_pkcs11_trust(files: &Files, certificate: &Certificate, server: u32, hash: &[u8]) -> Files {
    let cert9 = after(&files.cert9, |connection| {
        for column in ["a8c", "a62c", "a62d", "a62e", "a62f", "a635"] {
            let sql = format!("ALTER TABLE nssPublic ADD COLUMN {column}");
            connection.execute_batch(&sql).expect("added");
        }
        let sql = "INSERT INTO nssPublic (id, a0, a1, a2, a81, a82, a8c, a62c, a62d, a62e, a62f, a635) \
                   VALUES (77, x'0000000b', x'01', x'00', ?, ?, x'00000250', ?, x'00000002', x'00000000', x'00000003', ?)";
        let serial = objects::serial_number(certificate);
        connection
            .execute(
                sql,
                rusqlite::params![certificate.issuer_der(), serial, &server.to_be_bytes()[..], hash],
            )
            .expect("inserted");
    });
    let mut databases = open(&Files { cert9, key4: files.key4.clone() }, None);
    let rows = databases.cert9.find(&[(attributes::CLASS, &[0, 0, 0, 0xb])]).expect("found");
    databases.change(|databases| databases.sign(&rows[0])).expect("signed");
    databases.into_files().expect("bytes")
}

#[test]
fn trust_of_pkcs11_3_2_comes_first_and_is_put_back() {
    for files in [new_files(), protected("", 1)] {
        let ours = root("Ours");
        let mut databases = open(&files, None);
        databases.add(&ours, "ours").expect("added");
        let files = databases.into_files().expect("bytes");
        let hash = ours.fingerprint();
        for (server, hash, trust) in [
            (attributes::TRUST_ANCHOR, &hash.bytes()[..], ServerTrust::Trusted),
            (attributes::TRUST_ANCHOR, &[1; 32], ServerTrust::Distrusted),
            (attributes::NOT_TRUSTED, &hash.bytes()[..], ServerTrust::Distrusted),
            (4, &hash.bytes()[..], ServerTrust::Unset),
        ] {
            let files = with_pkcs11_trust(&files, &ours, server, hash);
            let mut databases = open(&files, None);
            assert_eq!(databases.entries().expect("listed")[0].trust, trust);
            let before = (databases.cert9.find(&[]).is_err(), snapshot(&databases));
            let former = databases.add(&ours, "ours").expect("added");
            assert_eq!(former.is_none(), trust == ServerTrust::Trusted);
            assert!(databases.entries().expect("listed")[0].is_trusted());
            let Some(former) = former else { continue };
            let row = &databases.cert9.find(&[(attributes::CLASS, &[0, 0, 0, 0xb])]).expect("found")[0];
            assert_eq!(row.number(attributes::TRUST_CLIENT_AUTH), Some(2), "the others stay");
            assert!(databases.remove(&ours, Some(&former)).expect("removed"));
            assert_eq!((databases.cert9.find(&[]).is_err(), snapshot(&databases)), before);
        }
    }
}

/// All objects of `cert9.db` with their signatures, by number.
fn snapshot(databases: &Databases) -> BTreeMap<u32, (ObjectRow, BTreeMap<AttributeNumber, Vec<u8>>)> {
    let rows = databases.cert9.all(&[attributes::COLUMNS.to_vec(), attributes::SIGNED.to_vec()].concat());
    rows.expect("rows")
        .into_iter()
        .map(|row| (row.id, (row.clone(), databases.key4.signatures(row.id).expect("read"))))
        .collect()
}

#[test]
fn a_database_in_wal_mode_stays_one() {
    let mut files = new_files();
    for bytes in [&mut files.cert9, &mut files.key4] {
        bytes[18..20].copy_from_slice(&[2, 2]);
    }
    let untouched = open(&files, None).into_files().expect("bytes");
    assert_eq!(untouched, files);
    let mut databases = open(&files, None);
    let ours = root("Ours");
    databases.add(&ours, "ours").expect("added");
    let changed = databases.into_files().expect("bytes");
    assert_eq!(&changed.cert9[18..20], [2, 2]);
    assert!(open(&changed, None).entries().expect("listed")[0].is_trusted());
    // A version that SQLite does not know.
    files.cert9[18] = 3;
    assert!(matches!(
        Databases::open(&files.cert9, &files.key4, None).err(),
        Some(NssRefusal::Damaged(CERT_DB, _))
    ));
}

#[test]
fn a_kill_between_the_two_files_never_leaves_an_unsigned_setting() {
    let password = NssPassword::new("secret");
    for empty in [protected("", 1), protected("secret", 10)] {
        for changed in ["", "UPDATE nssPublic SET ace536358 = x'ce534353' WHERE a0 = x'ce534353'"] {
            let (ours, other) = (root("Ours"), root("Other"));
            let mut databases = open(&empty, Some(&password));
            databases.add(&other, "other").expect("added");
            if !changed.is_empty() {
                databases.add(&ours, "ours").expect("added");
            }
            let mut files = databases.into_files().expect("bytes");
            if !changed.is_empty() {
                files.cert9 = after_sql(&files.cert9, changed);
                let databases = open(&files, Some(&password));
                let rows = databases.cert9.all(&attributes::SIGNED).expect("rows");
                let mut databases = databases;
                databases
                    .change(|databases| {
                        rows.iter()
                            .filter(|row| row.get(attributes::NSS_CERT_SHA1_HASH).is_some())
                            .try_for_each(|row| databases.sign(row))
                    })
                    .expect("signed");
                files = databases.into_files().expect("bytes");
            }
            let signed = |cert9: &[u8], key4: &[u8]| {
                let databases = Databases::open(cert9, key4, Some(&password)).expect("opens");
                let entries = databases.entries().expect("listed");
                let settings = |entry: &NssCertificate| {
                    entry.trust != ServerTrust::Unset || entry.signed != SettingsSignature::NotNeeded
                };
                assert!(entries.iter().any(settings));
                entries
                    .iter()
                    .filter(|entry| settings(entry))
                    .all(|entry| entry.signed == SettingsSignature::Valid)
            };
            assert!(signed(&files.cert9, &files.key4));
            let mut databases = open(&files, Some(&password));
            let former = databases.add(&ours, "ours").expect("added").expect("changed");
            assert_eq!(former == Former::new(false), changed.is_empty());
            let added = databases.into_files().expect("bytes");
            assert!(signed(&files.cert9, &added.key4) && signed(&added.cert9, &added.key4));
            let mut databases = open(&added, Some(&password));
            databases.remove(&ours, Some(&former)).expect("removed");
            let removed = databases.into_files().expect("bytes");
            assert!(signed(&removed.cert9, &added.key4) && signed(&removed.cert9, &removed.key4));
        }
    }
}

#[test]
fn a_database_without_meta_data_was_never_given_a_password() {
    let files = new_files();
    let files = Files { key4: after_sql(&files.key4, "DROP TABLE metaData"), ..files };
    let ours = root("Ours");
    let mut databases = open(&files, None);
    assert_eq!(databases.protection(), SettingsProtection::None);
    let former = databases.add(&ours, "ours").expect("added");
    let added = databases.into_files().expect("bytes");
    assert_eq!(added.key4, files.key4);
    let mut databases = open(&added, None);
    assert!(databases.entries().expect("listed")[0].is_trusted());
    assert!(databases.remove(&ours, former.as_ref()).expect("removed"));
}

#[test]
fn a_nickname_names_one_subject() {
    let mut databases = Databases::new().expect("new");
    let (ours, other) = (root("Ours"), root("Other"));
    databases.add(&other, "name").expect("added");
    assert_eq!(databases.add(&ours, "name"), Err(NssRefusal::NicknameTaken));
    databases.add(&ours, "another").expect("added");
    assert_eq!(databases.add(&ours, "name").expect("there"), None, "it keeps its own");
}
