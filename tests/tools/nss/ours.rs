//! What we make, as NSS sees it.

use super::*;

#[test]
#[ignore = "needs libnss3-tools"]
fn certutil_and_tstclnt_believe_what_we_added() {
    for made in ALL {
        let (store, root) = (Store::new(made), root("Root of ours"));
        let server = TlsServer::start(&root);
        assert!(!store.connects(&server), "{made:?}: refused before");
        let former = store.add(&root).expect("it was not there");
        assert!(was_absent(&former));
        assert_eq!(store.list(), BTreeMap::from([(nickname(&root), "C,,".to_owned())]), "{made:?}");
        assert!(store.is_valid(&nickname(&root)), "{made:?}");
        assert!(store.connects(&server), "{made:?}");
        assert_eq!(store.add(&root), None, "{made:?}: there already");
        store.remove(&root, Some(&former));
        assert_eq!(store.list(), BTreeMap::new(), "{made:?}");
        assert!(!store.connects(&server), "{made:?}: refused again");
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn signatures_decide_in_nss_as_they_do_here() {
    for (made, logged_in, logged_out) in
        [(Made::New, true, true), (Made::Empty, false, false), (Made::Real, false, true)]
    {
        let (store, root) = (Store::new(made), root("Unsigned"));
        store.add(&root);
        assert!(store.is_valid(&nickname(&root)) && store.is_valid_before_login(&nickname(&root)));
        let connection = Connection::open(store.path(KEY_DB)).expect("opens");
        let removed =
            connection.execute("DELETE FROM metaData WHERE id LIKE 'sig_cert_%'", []).expect("removed");
        drop(connection);
        assert_eq!(removed, if made == Made::New { 0 } else { 7 });
        assert_eq!(store.is_valid(&nickname(&root)), logged_in, "{made:?}");
        assert_eq!(store.is_valid_before_login(&nickname(&root)), logged_out, "{made:?}");
        let entry = &store.open().entries().expect("listed")[0];
        assert_eq!((entry.trust, entry.is_trusted()), (ServerTrust::Trusted, logged_in), "{made:?}");
        let entry = &store.try_open(None).expect("opens").entries().expect("listed")[0];
        assert_eq!(entry.is_trusted(), logged_out, "{made:?}");
        // Adding it again mends it.
        let former = store.add(&root);
        assert_eq!(former.is_some(), !logged_in, "{made:?}");
        assert!(store.is_valid(&nickname(&root)), "{made:?}");
    }
}

#[test]
#[ignore = "needs libnss3-tools and openssl"]
fn our_rows_are_those_of_certutil() {
    let directory = TempDir::new().expect("a directory");
    let keys: [&[&str]; 3] = [
        &["rsa:2048"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ];
    for key in keys {
        let mut arguments =
            vec!["req", "-x509", "-nodes", "-days", "30", "-subj", "/O=Größe/CN=Wurzel", "-utf8"];
        arguments.extend(["-keyout", "k", "-outform", "DER", "-out", "root.der", "-newkey"]);
        arguments.extend(key);
        openssl(directory.path(), &arguments);
        let der = std::fs::read(directory.path().join("root.der")).expect("read");
        let certificate = Certificate::from_der(&der).expect("parses");
        let (ours, theirs) = (Store::new(Made::Empty), Store::new(Made::Empty));
        let mut databases = ours.open();
        databases.add(&certificate, "ours").expect("added");
        ours.write(databases);
        std::fs::write(theirs.path("root.der"), &der).expect("written");
        theirs.certutil(&["-A", "-n", "theirs", "-t", "C,,", "-i", "root.der"]);
        assert_eq!(objects(&ours.content()), objects(&theirs.content()), "{key:?}");
        assert_eq!(signatures(&ours.content()).len(), signatures(&theirs.content()).len(), "{key:?}");
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn passwords_are_tried_before_anything_is_written() {
    let (store, root) = (Store::new(Made::Real), root("Ours"));
    let certificate = Certificate::from_der(&root.der).expect("parses");
    let wrong = store.try_open(Some(&NssPassword::new("wrong"))).err();
    assert_eq!(wrong, Some(NssRefusal::WrongPassword));
    let mut locked = store.try_open(None).expect("can be read");
    assert_eq!(locked.protection(), SettingsProtection::Locked);
    assert_eq!(locked.add(&certificate, "ours"), Err(NssRefusal::Locked));
    let before = std::fs::read(store.path(CERT_DB)).expect("read");
    let files = locked.into_files().expect("bytes");
    assert_eq!(files.cert9, before, "untouched");
    let password = NssPassword::from_file(&std::fs::read(store.path("password")).expect("read"));
    assert_eq!(store.try_open(Some(&password)).expect("opens").protection(), SettingsProtection::Unlocked);
    // A database with the empty password needs none, whatever is given for others.
    let empty = Store::new(Made::Empty);
    assert_eq!(empty.try_open(Some(&password)).expect("opens").protection(), SettingsProtection::Empty);
}

#[test]
#[ignore = "needs libnss3-tools"]
fn nss_signs_our_rows_when_it_sets_the_first_password() {
    let (store, root) = (Store::new(Made::New), root("Ours"));
    store.add(&root);
    assert_eq!(store.open().protection(), SettingsProtection::None);
    // As a browser does at its first start: the empty password.
    store.certutil(&["-N", "--empty-password"]);
    let databases = store.open();
    assert_eq!(databases.protection(), SettingsProtection::Empty);
    let entry = &databases.entries().expect("listed")[0];
    assert_eq!((entry.trust, entry.signed), (ServerTrust::Trusted, SettingsSignature::Valid));
    assert!(store.is_valid(&nickname(&root)));
}
