//! What NSS' tools made or changed, and we change or put back.

use super::*;

#[test]
#[ignore = "needs libnss3-tools"]
fn what_certutil_made_comes_back_as_it_was() {
    for made in [Made::Empty, Made::Real] {
        for (flags, after) in [
            ("C,,", "C,,"),
            ("CT,C,C", "CT,C,C"),
            (",,", "C,,"),
            ("c,c,c", "C,c,c"),
            ("p,p,p", "pC,p,p"),
            ("T,,", "CT,,"),
            ("P,,", "CP,,"),
        ] {
            let (store, root, other) = (Store::new(made), root("Theirs"), root("Another"));
            add_by_certutil(&store, &other, "another", "CT,C,C");
            add_by_certutil(&store, &root, "their name", flags);
            let server = TlsServer::start(&root);
            let before = store.content();
            let was_valid = store.is_valid("their name");
            let trusted = |entries: Vec<trustup::pki::nss::NssCertificate>| {
                entries.iter().find(|entry| entry.nickname == "their name").is_some_and(|e| e.is_trusted())
            };
            assert_eq!(trusted(store.open().entries().expect("listed")), flags.starts_with('C'), "{flags}");
            let former = store.add(&root);
            assert!(store.is_valid("their name"), "{made:?} {flags}");
            assert!(store.connects(&server), "{made:?} {flags}");
            assert_eq!(former.is_none(), flags.starts_with('C'), "{flags}");
            let listed = store.list();
            assert_eq!(listed.len(), 2, "{listed:?}");
            assert_eq!(listed["their name"], after, "{flags}");
            if let Some(former) = former {
                assert!(!was_absent(&former));
                // It survives the state file.
                let kept = serde_json::to_string(&former).expect("JSON");
                store.remove(&root, Some(&serde_json::from_str(&kept).expect("read back")));
            }
            assert_eq!(store.content(), before, "{made:?} {flags}");
            assert_eq!(store.is_valid("their name"), was_valid);
        }
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn certutil_changes_and_removes_what_we_added() {
    for made in ALL {
        let (store, root, other) = (Store::new(made), root("Ours"), root("Theirs"));
        add_by_certutil(&store, &other, "theirs", "C,,");
        let before = store.content();
        store.add(&root);
        store.certutil(&["-D", "-n", &nickname(&root)]);
        assert_eq!(store.content(), before, "{made:?}");

        let former = store.add(&root).expect("it was not there");
        store.certutil(&["-M", "-n", &nickname(&root), "-t", "p,p,p"]);
        assert!(!store.is_valid(&nickname(&root)), "{made:?}");
        let entries = store.open().entries().expect("listed");
        let entry = entries.iter().find(|entry| entry.nickname == nickname(&root)).expect("there");
        assert_eq!(entry.trust, ServerTrust::Distrusted, "{made:?}");
        assert_eq!(store.list()[&nickname(&root)], "p,p,p", "{made:?}");
        // Its owner distrusts it now: that stays, and nothing of it is trusted again (threat T34).
        let distrusted = store.content();
        let certificate = Certificate::from_der(&root.der).expect("parses");
        assert!(!store.open().remove(&certificate, Some(&former)).expect("looked at"), "{made:?}");
        assert_eq!(store.content(), distrusted, "{made:?}");
        store.certutil(&["-D", "-n", &nickname(&root)]);
        assert_eq!(store.content(), before, "{made:?}");

        add_by_certutil(&store, &root, "again", "C,,");
        assert_eq!(store.add(&root), None, "{made:?}: under another nickname");
        assert_eq!(store.list().keys().collect::<Vec<_>>(), ["again", "theirs"]);
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn a_changed_password_signs_what_comes_back() {
    let (mut store, root) = (Store::new(Made::Empty), root("Theirs"));
    add_by_certutil(&store, &root, "their name", "CT,C,C");
    store.certutil(&["-M", "-n", "their name", "-t", "T,C,C"]);
    let former = store.add(&root).expect("changed");
    // The salt of the database changes with the password, so that no old signature holds.
    std::fs::write(store.path("empty"), "\n").expect("written");
    store.run("certutil", &["-W", "-f", "empty", "-@", "password", "-d", "sql:."]).expect("a new password");
    store.password = Some(SECRET);
    assert_eq!(store.open().protection(), SettingsProtection::Unlocked);
    assert!(store.is_valid("their name"));
    store.remove(&root, Some(&former));
    assert_eq!(store.list()["their name"], "T,C,C");
    let entry = &store.open().entries().expect("listed")[0];
    assert_eq!((entry.trust, entry.signed), (ServerTrust::Unset, SettingsSignature::Valid));
}

#[test]
#[ignore = "needs libnss3-tools and firefox-esr"]
fn a_later_nss_believes_us_and_gets_its_own_settings_back() {
    for made in ALL {
        let (store, ours, theirs) = (Store::new(made), root("Ours"), root("Theirs"));
        store.add(&ours);
        assert!(store.is_valid_later(&nickname(&ours)), "{made:?}");
        add_by_certutil(&store, &theirs, "theirs", ",,");
        // The later NSS stores a change as an object of its own, beside what certutil wrote.
        for flags in ["c,c,c", "p,p,p"] {
            assert!(!store.library(LATER, "theirs", flags), "{made:?} {flags}");
            let before = store.content();
            let own = |(_, row): &(String, BTreeMap<String, String>)| {
                row.get("a0").is_some_and(|class| class == "Blob([0, 0, 0, 11])")
            };
            assert_eq!(before.iter().filter(|row| own(row)).count(), 1);
            let entries = store.open().entries().expect("listed");
            let entry = entries.iter().find(|entry| entry.nickname == "theirs").expect("there");
            let wanted = if flags == "p,p,p" { ServerTrust::Distrusted } else { ServerTrust::Unset };
            assert_eq!(
                (entry.trust, entry.signed == SettingsSignature::Invalid),
                (wanted, false),
                "{made:?}"
            );
            let former = store.add(&theirs).expect("changed");
            assert!(store.is_valid_later("theirs") && store.is_valid("theirs"), "{made:?} {flags}");
            assert!(store.is_valid_later(&nickname(&ours)), "{made:?}");
            store.remove(&theirs, Some(&former));
            assert_eq!(store.content(), before, "{made:?} {flags}");
            assert!(!store.is_valid_later("theirs"), "{made:?} {flags}");
        }
        // What the later NSS trusts is trusted here too.
        assert!(store.library(LATER, "theirs", "C,,"), "{made:?}");
        assert_eq!(store.add(&theirs), None, "{made:?}");
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn a_kill_between_the_two_files_changes_nothing_for_nss() {
    let (store, ours, theirs) = (Store::new(Made::Empty), root("Ours"), root("Theirs"));
    add_by_certutil(&store, &theirs, "theirs", "T,C,C");
    let (before, listed) = (std::fs::read(store.path(CERT_DB)).expect("read"), store.list());
    assert_eq!(listed["theirs"], "T,C,C", "with a bad signature it would be `,,`");
    let formers = [store.add(&ours), store.add(&theirs)];
    let after = std::fs::read(store.path(CERT_DB)).expect("read");
    // Killed when only the signatures were written.
    std::fs::write(store.path(CERT_DB), &before).expect("written");
    assert_eq!(store.list(), listed);
    // Killed when only the objects were taken out again.
    std::fs::write(store.path(CERT_DB), &after).expect("written");
    let signatures = std::fs::read(store.path(KEY_DB)).expect("read");
    for (root, former) in [&ours, &theirs].into_iter().zip(&formers) {
        store.remove(root, former.as_ref());
    }
    std::fs::write(store.path(KEY_DB), signatures).expect("written");
    assert_eq!(store.list(), listed);
}
