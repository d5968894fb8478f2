//! Keystores that keytool makes, edited by us: what any Java has to find in them.

use std::path::Path;

use trustup::pki::cert::Certificate;
use trustup::pki::keystore::{
    EntryContent, Keystore, KeystoreEntry, KeystoreFormat, StorePassword, alias_for,
};

use super::ca;
use super::java::Java;

/// keytool's name of a keystore type and the options that make it; what it is for us.
pub const KINDS: [(&str, &str, KeystoreFormat); 8] = [
    ("jks", "-storetype JKS", KeystoreFormat::Jks),
    ("default", "-storetype PKCS12", KeystoreFormat::Pkcs12),
    (
        "plain",
        "-storetype PKCS12 -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -J-Dkeystore.pkcs12.macAlgorithm=NONE",
        KeystoreFormat::Pkcs12Plain,
    ),
    (
        "with-mac",
        "-storetype PKCS12 -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE",
        KeystoreFormat::Pkcs12,
    ),
    ("without-mac", "-storetype PKCS12 -J-Dkeystore.pkcs12.macAlgorithm=NONE", KeystoreFormat::Pkcs12),
    ("legacy", "-storetype PKCS12 -J-Dkeystore.pkcs12.legacy", KeystoreFormat::Pkcs12),
    (
        "triple-des",
        "-storetype PKCS12 -J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithSHA1AndDESede",
        KeystoreFormat::Pkcs12,
    ),
    (
        "sha-512",
        "-storetype PKCS12 -J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithHmacSHA512AndAES_128 -J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA512 -J-Dkeystore.pkcs12.macIterationCount=20000",
        KeystoreFormat::Pkcs12,
    ),
];

pub fn salts(bytes: &mut [u8]) -> trustup::error::Result<()> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    Ok(())
}

pub fn read(directory: &Path, file: &str, password: &str) -> Keystore {
    let bytes = std::fs::read(directory.join(file)).expect("read");
    Keystore::parse(&bytes, &StorePassword::new(password.to_owned()))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub fn write(directory: &Path, file: &str, keystore: &Keystore) {
    std::fs::write(directory.join(file), keystore.to_bytes(&mut salts).expect("bytes")).expect("written");
}

pub fn root(name: &str) -> Certificate {
    Certificate::from_der(&ca::root(name).der).expect("parses")
}

/// `maker` makes a keystore of each kind with a key and a trusted certificate; all that it can tell stays true after
/// our edits, and it goes on working with the file.
/// Everything happens in the directory `at`.
pub fn survives(maker: &Java, readers: &[Java], at: &Path) {
    let password = "hunter2";
    std::fs::write(at.join("vendor.pem"), ca::root("Vendor").pem).expect("written");
    std::fs::write(at.join("later.pem"), ca::root("Later").pem).expect("written");
    for (file, options, format) in KINDS {
        let open = format!("-keystore {file} -storepass {password}");
        let make = format!("{open} {options}");
        maker.keytool(
            at,
            &format!("-genkeypair -alias MyKey -keyalg EC -dname CN=x -keypass {password} {make}"),
        );
        maker.keytool(at, &format!("-importcert -noprompt -alias Vendor -file vendor.pem {make}"));
        let first = std::fs::read(at.join(file)).expect("read");
        let listed = maker.list(at, file, password);
        assert_eq!(listed.len(), 2, "{listed:?}");

        let ours = root("Ours");
        let alias = alias_for(&ours);
        let mut keystore = read(at, file, password);
        assert_eq!(keystore.format(), format, "{file}");
        assert_eq!(keystore.fingerprints(), [listed["vendor"].fingerprint]);
        let keys = keystore.entries().iter().filter(|entry| entry.content() == &EntryContent::PrivateKey);
        assert!(keys.clone().count() == 1 && keys.clone().all(|entry| entry.date().is_some()), "{file}");
        assert_eq!(keystore.to_bytes(&mut salts).expect("bytes"), first, "{file}: read and written");
        assert!(keystore.add(&alias, &ours, 1_700_000_000_000).expect("added"));
        write(at, file, &keystore);
        for reader in readers {
            let mut with = reader.list(at, file, password);
            let added = with.remove(&alias).unwrap_or_else(|| panic!("{}: {file}", reader.name));
            assert_eq!((added.kind.as_str(), added.fingerprint), ("trustedCertEntry", ours.fingerprint()));
            assert_eq!(with, listed, "{}: {file}", reader.name);
        }
        // Needs the private key.
        maker.keytool(at, &format!("-certreq -alias mykey {open}"));

        // keytool adds to it with its options; it keeps password and format, and we read it.
        maker.keytool(at, &format!("-importcert -noprompt -alias later -file later.pem {make}"));
        let mut keystore = read(at, file, password);
        assert_eq!((keystore.format(), keystore.fingerprints().len()), (format, 3), "{file}");
        let later = keystore.entries().iter().find(|entry| entry.alias() == "later");
        let later = later.and_then(KeystoreEntry::fingerprint).expect("added");
        assert_eq!([later, ours.fingerprint()].map(|one| keystore.remove(&one)), [1, 1]);
        write(at, file, &keystore);
        assert_eq!(maker.list(at, file, password), listed, "{file}");
        maker.keytool(at, &format!("-certreq -alias mykey {open}"));

        // Ours alone in and out: the first bytes, where nothing is encrypted or signed.
        let secret = StorePassword::new(password.to_owned());
        let mut keystore = Keystore::parse(&first, &secret).expect(file);
        keystore.add(&alias, &ours, 1).expect("added");
        let with = keystore.to_bytes(&mut salts).expect("bytes");
        let mut keystore = Keystore::parse(&with, &secret).expect(file);
        keystore.remove(&ours.fingerprint());
        let without = keystore.to_bytes(&mut salts).expect("bytes");
        assert_eq!(
            without == first,
            matches!(format, KeystoreFormat::Jks | KeystoreFormat::Pkcs12Plain),
            "{file}"
        );
        assert_eq!(without.len(), first.len(), "{file}");
    }
}
