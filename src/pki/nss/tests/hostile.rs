//! Malicious files, counts and states.

use super::*;
use crate::pki::cert::testing::{Xorshift, counted};

#[test]
fn t18_sqlite_is_new_enough() {
    assert!(rusqlite::version_number() >= 3_054_001, "{}", rusqlite::version());
}

#[test]
fn t19_costly_counts_are_answered_at_once() {
    let asked = [5_000_001, (1 << 31) - 1, u32::MAX].map(|count| (count, protected("secret", count)));
    for (count, files) in asked {
        let open = || Databases::open(&files.cert9, &files.key4, Some(&NssPassword::new("secret"))).err();
        assert_eq!(counted(open), (Some(NssRefusal::Iterations(u64::from(count))), 0));
    }
    for (count, given, wanted) in [(1, None, 1), (1, Some("x"), 2), (7, None, 0), (7, Some("x"), 7)] {
        let files = protected("secret", count);
        let databases = Databases::read(&files.cert9, &files.key4).expect("opened");
        let cost = || databases.cost_of_unlocking(given.map(NssPassword::new).as_ref());
        assert_eq!(counted(cost), (Ok(wanted), 0));
    }
    // Counts that no number holds, negative ones and none.
    for count in [&[1; 9][..], &[0xff], &[0], &[]] {
        let item = [pbkdf2_der(&[7; 32], count), vec![]].concat();
        let pbes2 = sequence(&[&tlv(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"), &sequence(&[&item])]);
        let files = with_entry(&new_files(), &sequence(&[&pbes2, &tlv(0x04, &[0; 16])]));
        let error = Databases::open(&files.cert9, &files.key4, None).err();
        assert!(
            matches!(error, Some(NssRefusal::Iterations(u64::MAX) | NssRefusal::Encryption)),
            "{error:?}"
        );
    }
}

#[test]
fn t19_signatures_cannot_cost_more_than_a_budget() {
    let files = protected("", 1);
    let mut databases = open(&files, None);
    for index in 0..8 {
        databases.add(&root(&format!("Root {index}")), &format!("r{index}")).expect("added");
    }
    let files = databases.into_files().expect("bytes");
    // The count of every signature becomes 4,999,999: one would do, eight are refused before the first is derived.
    let key4 = after(&files.key4, |connection| {
        let mac = sequence(&[&tlv(0x06, password::HMAC_SHA256)]);
        let pbmac1 = sequence(&[&pbkdf2_der(&[7; 32], &[0x4c, 0x4b, 0x3f]), &mac]);
        let pbmac1 = sequence(&[&tlv(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e"), &pbmac1]);
        let signature = sequence(&[&pbmac1, &tlv(0x04, &[0; 32])]);
        let sql = "UPDATE metaData SET item1 = ? WHERE id LIKE 'sig_cert_%'";
        assert_eq!(connection.execute(sql, [signature]).expect("updated"), 56);
    });
    let databases = open(&Files { key4, cert9: files.cert9 }, None);
    // Two attributes of each root decide.
    assert_eq!(counted(|| databases.cost_of_checking()), (Ok(8 * 2 * 4_999_999), 0));
    assert_eq!(counted(|| databases.entries()), (Err(NssRefusal::Costs), 0));
}

#[test]
fn what_the_state_remembers_is_checked() {
    let (ours, other) = (root("Ours"), root("Other"));
    let mut databases = Databases::new().expect("new");
    databases.add(&ours, "ours").expect("added");
    let files = databases.into_files().expect("bytes");
    // Settings without the hash of the certificate: adding changes them.
    let cert9 = after_sql(&files.cert9, "UPDATE nssPublic SET ace5363b4 = NULL");
    let mut databases = open(&Files { cert9, ..files }, None);
    let former = databases.add(&ours, "ours").expect("added").expect("changed");
    let text = serde_json::to_string(&former).expect("JSON");
    assert_eq!(serde_json::from_str::<Former>(&text).expect("read back"), former);
    assert_eq!(databases.remove(&other, Some(&former)), Err(NssRefusal::Former));
    let id = format!("\"id\":{}", preferred_id(&ours) + 1);
    for (from, to) in [
        ("\"a0\":\"ce534353\"", "\"a0\":\"00000001\""),
        ("\"a0\":\"ce534353\"", "\"a0\":\"xx\""),
        ("\"a170\"", "\"a170; DROP TABLE nssPublic\""),
        (&id, "\"id\":4294967295"),
        (&id, "\"id\":0"),
        ("\"a81\":\"30", "\"a81\":\"31"),
    ] {
        assert!(text.contains(from), "{text}");
        let spoiled: Former = serde_json::from_str(&text.replace(from, to)).expect("JSON all the same");
        assert_eq!(databases.remove(&ours, Some(&spoiled)), Err(NssRefusal::Former), "{to}");
    }
    assert!(databases.remove(&ours, Some(&former)).expect("removed"));
    let left = databases.entries().expect("listed");
    assert_eq!((left.len(), left[0].is_trusted()), (1, false), "the certificate was there before");
}

#[test]
fn t4_nicknames_are_plain() {
    let mut databases = Databases::new().expect("new");
    let ours = root("Ours");
    for nickname in ["", "-x", ".x", "a:b", "a\nb", "a b", "ä", &"a".repeat(201)] {
        assert_eq!(databases.add(&ours, nickname), Err(NssRefusal::Nickname), "{nickname}");
    }
    let nickname = nickname_for(&ours);
    assert!(nickname.contains(&ours.fingerprint().short(16)));
    databases.add(&ours, &nickname).expect("added");
}

#[test]
fn t18_a_schema_that_does_things_is_refused() {
    let files = new_files();
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON nssPublic BEGIN DELETE FROM nssPublic; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE other (a)",
        "DROP TABLE nssPublic; CREATE VIEW nssPublic AS SELECT 1 AS id",
        "DROP TABLE nssPublic; CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a0 DEFAULT (1))",
        "DROP INDEX issuer; CREATE INDEX issuer ON nssPublic (abs(a81))",
        "DROP TABLE nssPublic",
    ] {
        let cert9 = after_sql(&files.cert9, sql);
        let error = Databases::open(&cert9, &files.key4, None).err().expect(sql);
        assert!(matches!(error, NssRefusal::Schema(CERT_DB, _)), "{sql}: {error}");
    }
    // What `ANALYZE` and a later NSS leave is accepted.
    let cert9 = after_sql(&files.cert9, "ALTER TABLE nssPublic ADD COLUMN a62c; ANALYZE");
    open(&Files { cert9, ..files }, None).add(&root("Ours"), "ours").expect("added");
}

#[test]
fn what_is_no_database_is_told() {
    let files = new_files();
    let not = |bytes: &[u8]| Databases::open(bytes, &files.key4, None).err();
    assert_eq!(not(b""), Some(NssRefusal::NotSqlite(CERT_DB)));
    assert_eq!(not(&vec![0; SIZE_LIMIT + 1]), Some(NssRefusal::TooLarge(CERT_DB)));
    assert!(matches!(not(&files.key4), Some(NssRefusal::Schema(CERT_DB, _))));
    let swapped = Databases::open(&files.cert9, &files.cert9, None).err();
    assert!(matches!(swapped, Some(NssRefusal::Schema(KEY_DB, _))));
}

#[test]
fn no_damage_panics_or_is_written() {
    let mut databases = open(&protected("", 1), None);
    for index in 0..20 {
        databases.add(&root(&format!("Root {index}")), &format!("r{index}")).expect("added");
    }
    let good = databases.into_files().expect("bytes");
    let ours = root("Ours");
    for length in (0..good.cert9.len()).step_by(512).chain([good.cert9.len() - 1]) {
        let opened = Databases::open(&good.cert9[..length], &good.key4, None);
        assert!(opened.is_err(), "{length} bytes");
    }
    let mut random = Xorshift(0x5eed_0017);
    let (mut opened, mut changed) = (0, 0);
    for round in 0..600 {
        let mut files = good.clone();
        let bytes = if round % 2 == 0 { &mut files.cert9 } else { &mut files.key4 };
        if round % 3 == 0 {
            *bytes = random.mutate(bytes);
        } else {
            for _ in 0..=random.below(3) {
                // Headers of the file and of pages decide most.
                let page = random.below(bytes.len() / 4096) * 4096;
                let at = page + random.below(if round % 3 == 1 { 120 } else { 4096 });
                bytes[at] ^= 1 << random.below(8);
            }
        }
        let Ok(mut databases) = Databases::open(&files.cert9, &files.key4, None) else { continue };
        opened += 1;
        let _ = databases.entries();
        if databases.add(&ours, "ours").is_err() {
            continue;
        }
        let Ok(written) = databases.into_files() else { continue };
        changed += 1;
        let again = Databases::open(&written.cert9, &written.key4, None).expect("what was written opens");
        let entries = again.entries().expect("listed");
        assert!(entries.iter().any(|e| e.fingerprint == ours.fingerprint() && e.is_trusted()), "{round}");
    }
    assert!(opened > 50 && changed > 50, "the damage reaches beyond the header: {opened}, {changed}");
}
