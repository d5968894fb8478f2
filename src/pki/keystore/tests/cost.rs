//! The cost of opening and writing a keystore is known beforehand (threat T36): counted, not timed.

use super::with_password;
use crate::pki::cert::testing::counted;
use crate::pki::keystore::testing::{
    certificate, encrypted, key_bag, mac_sha256, pbes2, pfx, pfx_plain, pkcs12_pbe, plain, salts, trusted_bag,
};
use crate::pki::keystore::*;

fn parse(bytes: &[u8]) -> Keystore {
    Keystore::parse(bytes, &StorePassword::default()).unwrap()
}

fn bytes_of(keystore: &Keystore) -> Vec<u8> {
    keystore.to_bytes(&mut salts(7)).unwrap()
}

#[test]
fn t36_the_cost_of_a_keystore_is_what_opening_and_writing_take() {
    for (what, bytes) in with_password("changeit") {
        let cost = Keystore::cost(&bytes);
        let (mut keystore, opening) = counted(|| parse(&bytes));
        let is_encrypted = !matches!(what, "jks" | "mac of sha-512, plain");
        assert_eq!(cost == opening, is_encrypted || what == "jks", "{what}: {cost}, {opening}");
        assert!(opening <= cost, "{what}: {cost}, {opening}");
        assert!(keystore.add("ours", &certificate("Ours"), 1).unwrap());
        let (_, writing) = counted(|| bytes_of(&keystore));
        assert!(writing <= cost, "{what}: {cost}, {writing}");
    }
    // A part for certificates is made, with keytool's iterations and SHA-256, and a MAC of three.
    let alone = pfx(&[plain(&[key_bag()])], |content| mac_sha256("changeit", 3, content));
    assert_eq!(Keystore::cost(&alone), 10_003);
    let mut keystore = parse(&alone);
    assert!(keystore.add("ours", &certificate("Ours"), 1).unwrap());
    assert_eq!(counted(|| bytes_of(&keystore)).1, 10_003);
    // Two blocks of SHA-1 for the key of 32 bytes; two for the key of 24 and one for the initial value.
    let bag = [trusted_bag("a", certificate("A").der())];
    for (algorithm, blocks) in [(pbes2(256, None, 7), 2), (pkcs12_pbe(3, 7), 3), (pkcs12_pbe(6, 7), 2)] {
        assert_eq!(Keystore::cost(&pfx_plain(&[encrypted(&algorithm, "changeit", &bag)])), 7 * blocks);
    }
}
