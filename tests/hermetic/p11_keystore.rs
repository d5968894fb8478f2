//! The Java keystore among the outputs of p11-kit's families, where it is not as p11-kit writes it, or no longer as we
//! left it. What the real tool makes is in the ring of real root file systems.

use std::fs;
use std::path::Path;

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{Keystore, StorePassword, alias_for, p11_kit};

use crate::stores::{Scene, shared};
use crate::support::ca;

const FIXTURE: &str = "fedora-42";
const KEYSTORE: &str = "etc/pki/ca-trust/extracted/java/cacerts";
const EPOCH: (&str, &str) = ("SOURCE_DATE_EPOCH", "1234567890");

fn certificate(name: &str) -> Certificate {
    Certificate::from_der(&ca::root(name).der).unwrap()
}

fn aliases(keystore: &[u8]) -> Vec<String> {
    ca::jks(keystore).into_iter().map(|(alias, ..)| String::from_utf8(alias).unwrap()).collect()
}

fn replace(path: &Path, content: &[u8]) {
    // Its mode does not let everybody write it.
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

/// The fixture's keystore with one more root of another date: p11-kit would not write it so.
fn shaped_by_somebody(scene: &Scene) -> Vec<u8> {
    let mut keystore =
        Keystore::parse(&fs::read(scene.at(KEYSTORE)).unwrap(), &StorePassword::default()).unwrap();
    assert!(keystore.add("Theirs", &certificate("Theirs"), 5).unwrap());
    let content = keystore.to_bytes(&mut |_| panic!("a JKS has no salt")).unwrap();
    assert_eq!(p11_kit::read(&content), None);
    content
}

#[test]
fn ours_stands_in_front_with_the_given_date() {
    let scene = Scene::new(FIXTURE);
    let before = fs::read(scene.at(KEYSTORE)).unwrap();
    scene.bootstrap().env(EPOCH.0, EPOCH.1).ok();
    let entries = ca::jks(&fs::read(scene.at(KEYSTORE)).unwrap());
    assert_eq!(entries[0], (b"storetestroot".to_vec(), 1_234_567_890_000, scene.ca.fingerprint));
    assert!(entries.iter().all(|(_, date, _)| *date == 1_234_567_890_000));
    let rest: Vec<Fingerprint> = entries[1..].iter().map(|(.., fingerprint)| *fingerprint).collect();
    assert_eq!(rest, ca::held(&before));

    // Another date is no reason to write it again.
    let after = scene.tree();
    let again = scene.bootstrap().env(EPOCH.0, "1").arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{again}");
    after.assert_same(&scene.tree(), "again");
    let detected = scene.trustup(["detect", "--json"]).ok().json();
    let outputs = detected["outputs"].as_array().unwrap();
    let keystore = outputs.iter().find(|output| output["path"] == format!("/{KEYSTORE}")).unwrap();
    assert_eq!(
        (keystore["kind"].as_str(), keystore["certificates"].as_u64()),
        (Some("keystore"), Some(entries.len() as u64))
    );
    let status = scene.trustup(["status", "--json"]).ok().json();
    assert!(
        status.to_string().contains(&format!("\"path\":\"/{KEYSTORE}\",\"state\":\"there\"")),
        "{status}"
    );
}

/// SUSE's images without its tool keep the file elsewhere: the link stays a link.
#[test]
fn where_a_link_leads_to_it_the_file_is_written() {
    let scene = Scene::new("sles-15.6-bci-micro");
    let link = scene.at("var/lib/ca-certificates/java-cacerts");
    let target = fs::read_link(&link).unwrap();
    let before = scene.tree();
    scene.bootstrap().env(EPOCH.0, EPOCH.1).ok();
    assert_eq!(fs::read_link(&link).unwrap(), target);
    let file = scene.at(target.to_str().unwrap().trim_start_matches('/'));
    let entries = ca::jks(&fs::read(file).unwrap());
    assert_eq!(entries[0], (b"storetestroot".to_vec(), 1_234_567_890_000, scene.ca.fingerprint));
    let held = entries.iter().filter(|(.., one)| *one == scene.ca.fingerprint);
    assert_eq!(held.count(), 1, "in one entry");
    scene.untrust().ok();
    before.assert_same(&scene.tree(), "after untrust");
}

/// An administrator's copy takes the place and the name of the vendor's entry.
#[test]
fn a_copy_of_a_vendor_root_has_one_entry() {
    // One without hashed directories.
    let scene = Scene::new("ubi-8");
    let (pem, fingerprint) = shared("ISRG_Root_X1.pem");
    fs::write(scene.given.path().join("root.pem"), &pem).unwrap();
    let mut bundle =
        fs::read_to_string(scene.at("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")).unwrap();
    // Not in every output: else it would be there already.
    let block = bundle.find(pem.trim()).unwrap();
    bundle.replace_range(block..block + pem.trim().len() + 1, "");
    replace(&scene.at("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"), bundle.as_bytes());
    let before = scene.tree();
    scene.bootstrap().ok();
    let held = ca::held(&fs::read(scene.at(KEYSTORE)).unwrap());
    assert_eq!(held[0], fingerprint);
    assert_eq!(held.iter().filter(|one| **one == fingerprint).count(), 1);
    scene.untrust().ok();
    before.assert_same(&scene.tree(), "after untrust");
}

/// A root that every other output holds, and the vendor's file in the hashed directory with it, is not the keystore's:
/// what was there stays when ours goes.
#[test]
fn a_root_that_only_the_keystore_lacks() {
    for fixture in ["fedora-42", "arch", "opensuse-leap-15.6"] {
        let scene = Scene::new(fixture);
        let keystore = match fixture {
            "arch" => "etc/ca-certificates/extracted/java-cacerts.jks",
            "fedora-42" => KEYSTORE,
            _ => "var/lib/ca-certificates/java-cacerts",
        };
        let (pem, fingerprint) = shared("ISRG_Root_X1.pem");
        fs::write(scene.given.path().join("root.pem"), &pem).unwrap();
        let mut content =
            Keystore::parse(&fs::read(scene.at(keystore)).unwrap(), &StorePassword::default()).unwrap();
        assert_eq!(content.remove(&fingerprint), 1);
        replace(&scene.at(keystore), &content.to_bytes(&mut |_| panic!("a JKS has no salt")).unwrap());
        let before = scene.tree();
        scene.bootstrap().ok();
        assert_eq!(ca::held(&fs::read(scene.at(keystore)).unwrap())[0], fingerprint, "{fixture}");
        scene.trustup(["status"]).ok();
        let after = scene.tree();
        assert_eq!(scene.bootstrap().arg("--json").ok().json()["changed"], false, "{fixture}");
        after.assert_same(&scene.tree(), fixture);
        scene.untrust().ok();
        before.assert_same(&scene.tree(), fixture);
    }
}

#[test]
fn where_somebody_shaped_it_ours_goes_behind() {
    let scene = Scene::new(FIXTURE);
    let theirs = shaped_by_somebody(&scene);
    replace(&scene.at(KEYSTORE), &theirs);
    let before = scene.tree();
    scene.bootstrap().ok();
    let now = fs::read(scene.at(KEYSTORE)).unwrap();
    let ours = alias_for(&Certificate::from_der(&scene.ca.der).unwrap());
    assert_eq!(aliases(&now), [aliases(&theirs), vec![ours]].concat());
    let entries = ca::jks(&theirs);
    assert_eq!(ca::jks(&now)[..entries.len()], entries, "what was there is as it was");
    scene.trustup(["status"]).ok();
    let after = scene.tree();
    assert_eq!(scene.bootstrap().env(EPOCH.0, EPOCH.1).arg("--json").ok().json()["changed"], false);
    after.assert_same(&scene.tree(), "again");
    scene.untrust().ok();
    before.assert_same(&scene.tree(), "after untrust");
}

/// Somebody works on the keystore after us: theirs stays, ours goes.
#[test]
fn what_somebody_changed_since_stays_without_ours() {
    for p11_kits_own in [true, false] {
        let scene = Scene::new(FIXTURE);
        if !p11_kits_own {
            let theirs = shaped_by_somebody(&scene);
            replace(&scene.at(KEYSTORE), &theirs);
        }
        let before = fs::read(scene.at(KEYSTORE)).unwrap();
        scene.bootstrap().ok();
        let change = |content: &[u8]| {
            let mut keystore = Keystore::parse(content, &StorePassword::default()).unwrap();
            let gone = ca::jks(content).into_iter().find(|(.., one)| *one != scene.ca.fingerprint).unwrap();
            assert_eq!(keystore.remove(&gone.2), 1);
            keystore.to_bytes(&mut |_| panic!("a JKS has no salt")).unwrap()
        };
        let now = change(&fs::read(scene.at(KEYSTORE)).unwrap());
        replace(&scene.at(KEYSTORE), &now);
        scene.trustup(["status"]).ok();
        let tree = scene.tree();
        scene.bootstrap().ok();
        tree.without("var/lib/trustup").assert_same(&scene.tree().without("var/lib/trustup"), "again");
        scene.untrust().ok();
        let (left, wanted) = (fs::read(scene.at(KEYSTORE)).unwrap(), change(&before));
        let without_dates = |keystore: &[u8]| {
            ca::jks(keystore).into_iter().map(|(alias, _, one)| (alias, one)).collect::<Vec<_>>()
        };
        assert_eq!(without_dates(&left), without_dates(&wanted), "{p11_kits_own}");
        assert!(p11_kits_own || left == wanted, "byte for byte, where every entry has its own date");
    }
}

/// A password that is not Java's, another format, damage: a warning, and the other outputs get ours.
#[test]
fn what_cannot_be_read_is_left_alone_with_a_warning() {
    let whole = fs::read(Scene::new(FIXTURE).at(KEYSTORE)).unwrap();
    let flipped = [&whole[..60], &[whole[60] ^ 1], &whole[61..]].concat();
    let cases: [(&str, &[u8]); 5] = [
        ("flipped", &flipped),
        ("cut", &whole[..whole.len() / 2]),
        ("JCEKS", b"\xce\xce\xce\xce\0\0\0\x02\0\0\0\0"),
        ("no keystore", b"hello"),
        ("empty", b""),
    ];
    for (what, content) in cases {
        let scene = Scene::new(FIXTURE);
        replace(&scene.at(KEYSTORE), content);
        let before = scene.tree();
        let run = scene.bootstrap().ok();
        run.says([&format!("`/{KEYSTORE}` is left as it is")[..]]);
        assert!(fs::read(scene.at(KEYSTORE)).unwrap() == content, "{what}");
        let bundle = scene.held("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem");
        assert!(bundle.contains(&scene.ca.fingerprint), "{what}");
        scene.trustup(["status"]).ok();
        let after = scene.tree();
        scene.bootstrap().ok();
        after.assert_same(&scene.tree(), what);
        scene.untrust().ok();
        before.assert_same(&scene.tree(), what);
    }
}

#[test]
fn a_damaged_keystore_that_was_ours_stays_as_somebody_left_it() {
    let scene = Scene::new(FIXTURE);
    scene.bootstrap().ok();
    replace(&scene.at(KEYSTORE), b"spoilt");
    scene.bootstrap().ok().says(["is left as it is"]);
    scene.untrust().ok();
    assert_eq!(fs::read(scene.at(KEYSTORE)).unwrap(), b"spoilt");
}
