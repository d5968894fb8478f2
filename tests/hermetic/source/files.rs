//! Source 4: files, directories.

use super::*;

#[test]
fn files_need_no_pin_and_directories_are_read_as_the_kubelet_mounts_them() {
    let (one, other) = (ca(), ca());
    let mount = TempDir::new().expect("mount");
    let at = |name: &str| mount.path().join(name);
    fs::create_dir_all(at("..2026_11_23/")).expect("data");
    fs::write(at("..2026_11_23/ca.crt"), one.root_pem()).expect("file");
    symlink("..2026_11_23", at("..data")).expect("link");
    symlink("..data/ca.crt", at("ca.crt")).expect("link");
    fs::write(at("other.der"), other.root_der()).expect("file");
    fs::write(at("README"), "mounted by the operator\n").expect("file");
    fs::create_dir(at("subdirectory")).expect("directory");
    symlink("nowhere", at("broken.crt")).expect("link");
    symlink("loop.crt", at("loop.crt")).expect("link");

    let acquired = Run::new([file(mount.path())]).succeeds();
    assert_eq!(fingerprints(&acquired), [one.fingerprint(), other.fingerprint()]);
    assert_eq!(acquired.anchors[0].file.as_deref(), Some(at("ca.crt").as_path()));
    let left: Vec<String> = acquired.left_out.iter().map(|left| left.source.clone()).collect();
    let wanted = ["README", "broken.crt", "loop.crt"].map(|name| at(name).display().to_string());
    assert_eq!(left, wanted);

    let acquired = Run::new([file(mount.path())]).pin(other.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [other.fingerprint()]);
    assert!(acquired.anchors[0].pinned);
}

#[test]
fn a_private_key_anywhere_fails_the_run() {
    let ca = ca();
    let mount = TempDir::new().expect("mount");
    fs::write(mount.path().join("ca.crt"), ca.root_pem()).expect("file");
    let secret = private_key();
    let body: String = secret.lines().nth(1).expect("body").to_owned();
    for (name, content) in [("tls.key", "anything"), ("TLS.KEY", ""), ("tls.txt", secret.as_str())] {
        let path = mount.path().join(name);
        fs::write(&path, content).expect("key");
        for source in [mount.path(), path.as_path()] {
            let error = Run::new([file(source)]).fails(ErrorKind::Usage, &["private key"]);
            assert!(!format!("{error:?}").contains(&body), "the key is quoted");
        }
        fs::remove_file(path).expect("removed");
    }
    assert_eq!(Run::new([file(mount.path())]).succeeds().anchors.len(), 1);
}

#[test]
fn t6_files_that_others_can_write_are_warned_of() {
    let ca = ca();
    let mount = TempDir::new().expect("mount");
    let path = mount.path().join("ca.crt");
    fs::write(&path, ca.root_pem()).expect("file");
    let warnings = || Run::new([file(mount.path())]).succeeds().warnings;
    assert_eq!(warnings(), Vec::<String>::new());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("mode");
    assert!(warnings()[0].contains("ca.crt") && warnings()[0].contains("0666"), "{:?}", warnings());
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o777)).expect("mode");
    assert_eq!(warnings().len(), 2, "{:?}", warnings());
}

#[test]
fn t6_require_pin_makes_an_unpinned_certificate_an_error() {
    let (one, other) = (ca(), ca());
    let place = TempDir::new().expect("directory");
    let path = place.path().join("ca.pem");
    fs::write(&path, one.root_pem()).expect("file");
    let strict = |run: Run| run.with(|request| request.require_pin = true);
    strict(Run::new([file(&path)])).fails(ErrorKind::Usage, &["--require-pin"]);
    assert_eq!(strict(Run::new([file(&path)]).pin(one.fingerprint())).succeeds().anchors.len(), 1);
    fs::write(&path, one.root_pem() + &other.root_pem()).expect("file");
    strict(Run::new([file(&path)]).pin(one.fingerprint())).fails(ErrorKind::NotTrusted, &["not pinned"]);
}

#[test]
fn a_file_that_names_one_root_must_be_a_root() {
    let ca = ca();
    let place = TempDir::new().expect("directory");
    let path = place.path().join("x.crt");
    fs::write(&path, leaf(&ca)).expect("file");
    let error = Run::new([file(&path)]).run().expect_err("a leaf");
    assert!(error.kind() == ErrorKind::Usage && error.what().contains("unsuitable"), "{error}");
    fs::write(&path, pem::encode(&leaf(&ca)) + &ca.root_pem()).expect("file");
    assert_eq!(
        fingerprints(&Run::new([file(&path)]).succeeds()),
        [ca.fingerprint()],
        "with several it is left out"
    );
    let missing = place.path().join("missing");
    Run::new([file(&missing)]).fails(ErrorKind::Usage, &["no such file", "mounted"]);
}
