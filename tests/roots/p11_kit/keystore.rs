//! The date of the Java keystore, which alone is never a reason to write it.

use std::time::{SystemTime, UNIX_EPOCH};

use trustup::pki::keystore::{Keystore, StorePassword, p11_kit};

use super::*;

/// When the tool runs again.
const LATER: &str = "1800000000";

/// Milliseconds since 1970.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Without `SOURCE_DATE_EPOCH` it is now; the tool's next run changes nothing but the date, and ours then nothing.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_tools_next_run_changes_nothing_but_the_date_of_the_keystore() {
    for family in FAMILIES {
        let root = family.base.copy();
        let plain = root.twin();
        let file = root.exchange().join("root.pem");
        std::fs::write(&file, ca::root("Dated Now").pem).unwrap();
        let run =
            || root.trustup(["--json", "bootstrap", "--updater", "builtin", "--ca-file"]).arg(&file).ok();
        let from = now();
        run();
        let ours = root.tree();
        let (roots, date) = p11_kit::read(&root.read(family.keystore)).expect("as p11-kit writes it");
        let date = date.expect("it has roots");
        assert!(date % 1000 == 0 && date >= from - 1000 && date <= now(), "{date}, from {from} to {}", now());
        assert_eq!(roots[0].alias, "datednow");
        assert_eq!(run().json()["changed"], false);

        family.update_at(&root, LATER);
        assert_eq!(ours.changed_paths(&root.tree()), [family.keystore]);
        let later = LATER.parse::<i64>().unwrap() * 1000;
        assert_eq!(p11_kit::read(&root.read(family.keystore)), Some((roots, Some(later))));
        let updated = root.tree();
        assert_eq!(run().json()["changed"], false);
        root.trustup(["status"]).ok();
        updated.assert_same(&root.tree(), "a run after the tool's");

        family.update_at(&plain, LATER);
        root.trustup(["untrust", "--all"]).ok();
        plain.tree().assert_same(&Tree::of(root.path()), "the tool alone (-), after untrust (+)");
    }
}

/// The native tool is told the date.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_native_tool_dates_the_keystore_as_it_is_told() {
    for family in FAMILIES {
        let root = family.base.copy();
        std::fs::write(root.exchange().join("root.pem"), ca::root("Dated").pem).unwrap();
        let run = |variables: &[&str]| {
            let args = ["--json", "bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"];
            root.trustup_inside_after("", variables, args).ok()
        };
        run(&[&format!("{DATE}={LATER}")]);
        let (_, date) = p11_kit::read(&root.read(family.keystore)).expect("as p11-kit writes it");
        assert_eq!(date, Some(LATER.parse::<i64>().unwrap() * 1000));
        let done = root.tree();
        assert_eq!(run(&[]).json()["changed"], false);
        done.assert_same(&root.tree(), "after a second run");
    }
}

/// A root that somebody added to the keystore alone: the real tool would drop it.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_added_to_the_keystore_survives_auto_and_stops_native() {
    for family in FAMILIES {
        let root = family.base.copy();
        let theirs = ca::root("Added by keytool");
        let certificate = trustup::pki::cert::Certificate::from_der(&theirs.der).unwrap();
        let mut keystore = Keystore::parse(&root.read(family.keystore), &StorePassword::default()).unwrap();
        keystore.add("theirs", &certificate, 5).unwrap();
        root.remove(family.keystore);
        root.write(family.keystore, keystore.to_bytes(&mut |_| panic!("a JKS has no salt")).unwrap());
        let before = root.tree();
        let ca = ca::root("Beside It");
        let run = inside(&root, "native", &[&ca.pem]);
        assert_eq!(run.code, Some(5), "{run}");
        assert!(run.stderr.contains("Added by keytool"), "{run}");
        before.assert_same(&root.tree(), "after the refusal");

        let run = inside(&root, "auto", &[&ca.pem]);
        assert_eq!((run.code, run.json()["updater"].as_str()), (Some(0), Some("builtin")), "{run}");
        let held = ca::held(&root.read(family.keystore));
        assert!(held.contains(&theirs.fingerprint) && held.contains(&ca.fingerprint), "{run}");
        root.trustup_inside(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}
