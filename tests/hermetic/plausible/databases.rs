//! Keystores and NSS databases beside the family's outputs: what a forged state says of them raises no trust.

use std::collections::BTreeMap;

use rusqlite::types::Value as Column;
use rusqlite::{Connection, params};
use trustup::pki::cert::Certificate;
use trustup::pki::keystore::Keystore;
use trustup::pki::nss::{Databases, NssCertificate, ServerTrust};

use super::*;
use crate::support::keystores;

const DIRECTORY: &str = "/home/user/.pki/nssdb";
const KEYSTORE: &str = "/opt/java/openjdk/lib/security/cacerts";
/// The columns of the trust settings for servers and e-mail, and what they may say.
const SERVER: &str = "ace536358";
const EMAIL: &str = "ace53635b";
const DISTRUSTED: u32 = 0xce53_435a;
const TRUSTED_PEER: u32 = 0xce53_4351;
const TRUSTED_CA: u32 = 0xce53_4352;

/// An image with a user's database that holds the evil root.
fn with_database() -> Image {
    let image = Image::new("debian-12");
    image.lay("/etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    let mut databases = Databases::new().unwrap();
    databases.add(&Certificate::from_der(&image.evil.der).unwrap(), "Evil").unwrap();
    let files = databases.into_files().unwrap();
    image.lay(&format!("{DIRECTORY}/cert9.db"), files.cert9);
    image.lay(&format!("{DIRECTORY}/key4.db"), files.key4);
    image
}

fn set(image: &Image, column: &str, value: u32) {
    let connection = Connection::open(image.at(&format!("{DIRECTORY}/cert9.db"))).unwrap();
    let sql = format!("UPDATE nssPublic SET {column} = ? WHERE {SERVER} IS NOT NULL");
    assert_eq!(connection.execute(&sql, params![value.to_be_bytes().to_vec()]).unwrap(), 1);
}

/// The trust settings as the state would keep them.
fn settings(image: &Image) -> Value {
    let connection = Connection::open(image.at(&format!("{DIRECTORY}/cert9.db"))).unwrap();
    let mut statement =
        connection.prepare(&format!("SELECT * FROM nssPublic WHERE {SERVER} IS NOT NULL")).unwrap();
    let names: Vec<String> = statement.column_names().map(ToOwned::to_owned).collect();
    statement
        .query_row([], |row| {
            let mut values = BTreeMap::new();
            for (index, name) in names.iter().enumerate().skip(1) {
                if let Column::Blob(bytes) = row.get(index)? {
                    values.insert(name.clone(), hex::encode(bytes));
                }
            }
            let id: u32 = row.get(0)?;
            Ok(json!({ "id": id, "values": values, "signatures": {}, "believed": true }))
        })
        .unwrap()
}

fn entry(image: &Image) -> Option<NssCertificate> {
    let read = |name: &str| fs::read(image.at(&format!("{DIRECTORY}/{name}"))).unwrap();
    let databases = Databases::open(&read("cert9.db"), &read("key4.db"), None).unwrap();
    databases.entries().unwrap().into_iter().find(|entry| entry.fingerprint == image.evil.fingerprint)
}

fn plant_addition(image: &Image, former: &Value) {
    image.plant_state(&[anchor(&image.evil, "beside", "https://ca.corp.example:9000/")], &[]);
    let mut state: Value = serde_json::from_slice(&fs::read(image.at(STATE)).unwrap()).unwrap();
    state["kinds"] = json!({ "java": true, "nss": true });
    state["added"] =
        json!({ DIRECTORY: { image.evil.pin(): { "former": { "certificate": true, "trust": [former] } } } });
    image.plant(STATE, &state);
}

#[test]
fn t34_a_former_setting_of_the_state_raises_no_trust() {
    for (now, former, wanted) in [
        // What the user distrusts stays distrusted.
        (DISTRUSTED, TRUSTED_CA, Some(ServerTrust::Distrusted)),
        (DISTRUSTED, TRUSTED_PEER, Some(ServerTrust::Distrusted)),
        // What is not trusted is not trusted afterwards.
        (0xce53_4353, TRUSTED_CA, Some(ServerTrust::Unset)),
    ] {
        let image = with_database();
        set(&image, SERVER, former);
        set(&image, EMAIL, TRUSTED_CA);
        let settings = settings(&image);
        set(&image, SERVER, now);
        set(&image, EMAIL, DISTRUSTED);
        plant_addition(&image, &settings);
        let run = image.untrust().run();
        let trust = entry(&image).map(|entry| entry.trust);
        assert!(
            trust == wanted || trust.is_none() && now != DISTRUSTED,
            "{now:x} {former:x}: {trust:?}\n{run}"
        );
        let connection = Connection::open(image.at(&format!("{DIRECTORY}/cert9.db"))).unwrap();
        let sql = format!("SELECT count(*) FROM nssPublic WHERE {EMAIL} = ? OR {SERVER} = ? OR {SERVER} = ?");
        let raised: u32 = connection
            .query_row(
                &sql,
                params![TRUSTED_CA.to_be_bytes(), TRUSTED_CA.to_be_bytes(), TRUSTED_PEER.to_be_bytes()],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(raised, 0, "{now:x} {former:x}: {run}");
    }
}

#[test]
fn t34_a_former_database_of_the_state_raises_no_trust() {
    for how in ["trusted", "another root", "no distrust"] {
        let image = with_database();
        let path = format!("{DIRECTORY}/cert9.db");
        let trusted = fs::read(image.at(&path)).unwrap();
        set(&image, SERVER, DISTRUSTED);
        let before = match how {
            "trusted" => trusted,
            "no distrust" => Databases::new().unwrap().into_files().unwrap().cert9,
            _ => {
                let distrusted = fs::read(image.at(&path)).unwrap();
                let keys = fs::read(image.at(&format!("{DIRECTORY}/key4.db"))).unwrap();
                let mut databases = Databases::open(&distrusted, &keys, None).unwrap();
                databases.add(&Certificate::from_der(&ca::root("Other").der).unwrap(), "other").unwrap();
                databases.into_files().unwrap().cert9
            }
        };
        let now = fs::read(image.at(&path)).unwrap();
        let record = json!({ "before": saved(&before, 0o644, 0), "after": image.mark(&path) });
        image.plant_state(&[], &[(&path, record)]);
        image.bootstrap().args(["--stores", "system"]).ok().says(["record"]);
        assert_eq!(fs::read(image.at(&path)).unwrap(), now, "{how}");
        let untrusted = image.untrust().ok();
        assert_eq!(
            entry(&image).map(|entry| entry.trust),
            Some(ServerTrust::Distrusted),
            "{how}: {untrusted}"
        );
    }
}

/// A keystore that the state says held the evil root, and an anchor that is only in one of two stores.
#[test]
fn t34_a_former_keystore_of_the_state_adds_no_root() {
    let image = Image::new("debian-12");
    let mut keystore = Keystore::new_jks();
    keystore.add("vendor", &keystores::root("Vendor"), 0).unwrap();
    let now = keystore.to_bytes(&mut keystores::salts).unwrap();
    keystore.add("evil", &Certificate::from_der(&image.evil.der).unwrap(), 0).unwrap();
    let before = keystore.to_bytes(&mut keystores::salts).unwrap();
    image.lay(KEYSTORE, &now);
    let record = json!({ "before": saved(&before, 0o644, 0), "after": image.mark(KEYSTORE) });
    image.plant_state(&[], &[(KEYSTORE, record)]);
    let run = image.bootstrap().args(["--json", "--require-pin"]).ok();
    assert!(gained(&run).is_empty() && image.holds(&image.evil).is_empty(), "{run}");
    run.says(["record"]);
    let untrusted = image.untrust().ok();
    assert!(image.holds(&image.evil).is_empty(), "{untrusted}");
    let left = Keystore::trusted_without_password(&fs::read(image.at(KEYSTORE)).unwrap()).unwrap();
    assert_eq!(left.len(), 1, "{untrusted}");
}

/// An anchor of the record that is in one store comes into the others only by name.
#[test]
fn t33_a_recorded_root_that_comes_into_another_store_is_named() {
    let image = with_database();
    let mut keystore = Keystore::new_jks();
    keystore.add("vendor", &keystores::root("Vendor"), 0).unwrap();
    image.lay(KEYSTORE, keystore.to_bytes(&mut keystores::salts).unwrap());
    image.plant_state(&[anchor(&image.evil, "beside", "https://ca.corp.example:9000/")], &[]);
    let before = image.tree();
    image.bootstrap().arg("--require-pin").fails(4).says([&*image.evil.pin(), "hint: "]);
    before.assert_same(&image.tree(), "refused");
    let run = image.bootstrap().arg("--json").ok();
    assert_eq!(gained(&run), BTreeSet::from([image.evil.pin()]), "{run}");
    run.says([&*image.evil.pin(), KEYSTORE]);
}
