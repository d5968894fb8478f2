//! What others do to the stores before, between and after our runs (threats T3, T5, T7): vendors, administrators,
//! package managers. Nobody's root is lost, ours come and go alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use trustup::pki::fingerprint::Fingerprint;

use crate::support::ca::{self, Root};
use crate::support::run::{Trustup, fixtures, unpacked};
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const CERTS: &str = "etc/ssl/certs";
const LOCAL: &str = "usr/local/share/ca-certificates";
const STATE: &str = "var/lib/trustup";

pub(crate) struct Scene {
    pub root: tempfile::TempDir,
    pub given: tempfile::TempDir,
    pub ca: Root,
}

impl Scene {
    pub(crate) fn new(fixture: &str) -> Scene {
        let given = tempfile::tempdir().unwrap();
        let ca = ca::root("Store Test Root");
        ca.write(given.path(), "root.pem");
        Scene { root: unpacked(fixture), given, ca }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args)
    }

    pub(crate) fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    pub(crate) fn untrust(&self) -> Trustup {
        self.trustup(["untrust", "--all"])
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.root.path())
    }

    pub(crate) fn held(&self, path: &str) -> BTreeSet<Fingerprint> {
        ca::fingerprint_set(&fs::read_to_string(self.at(path)).unwrap())
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        let mut content = fs::read(self.at(path)).unwrap();
        content.extend(text.as_bytes());
        fs::write(self.at(path), content).unwrap();
    }
}

pub(crate) fn shared(name: &str) -> (String, Fingerprint) {
    let pem = fs::read_to_string(fixtures().join("roots").join(name)).unwrap();
    let fingerprint = ca::fingerprints(&pem)[0];
    (pem, fingerprint)
}

fn warnings(answer: &Value) -> String {
    answer["warnings"].to_string()
}

#[test]
fn a_root_that_the_vendor_withdrew_goes_and_is_named() {
    let scene = Scene::new("debian-12");
    let (_, withdrawn) = shared("GTS_Root_R4.pem");
    // What an upgrade of the package does before its trigger runs.
    fs::remove_file(scene.at("usr/share/ca-certificates/mozilla/GTS_Root_R4.crt")).unwrap();
    let conf = fs::read_to_string(scene.at("etc/ca-certificates.conf")).unwrap();
    fs::write(scene.at("etc/ca-certificates.conf"), conf.replace("mozilla/GTS_Root_R4.crt\n", "")).unwrap();
    let before = scene.tree();
    let there = scene.held(BUNDLE);
    let answer = scene.bootstrap().arg("--json").ok().json();
    let mut wanted = there.clone();
    assert!(wanted.remove(&withdrawn) && wanted.insert(scene.ca.fingerprint));
    assert_eq!(scene.held(BUNDLE), wanted);
    assert!(warnings(&answer).contains(&withdrawn.hex()), "the loss is named: {answer}");
    for gone in ["GTS_Root_R4.pem", "a3418fda.0"] {
        assert!(fs::symlink_metadata(scene.at(CERTS).join(gone)).is_err(), "{gone} dangles");
    }
    // It does not come back by the way out either (threats T5, T34): the rest is as before.
    let untrusted = scene.untrust().arg("--json").ok();
    wanted.remove(&scene.ca.fingerprint);
    assert_eq!(scene.held(BUNDLE), wanted, "{untrusted}");
    assert_eq!(untrusted.json()["gained"], json!([]));
    let mut changed = before.changed_paths(&scene.tree());
    changed.retain(|path| {
        !["etc/ssl/certs/GTS_Root_R4.pem", "etc/ssl/certs/a3418fda.0"].contains(&path.as_str())
    });
    assert_eq!(changed, [BUNDLE.trim_start_matches('/')], "{untrusted}");
}

#[test]
fn a_root_that_somebody_appended_stays_before_and_after() {
    for fixture in ["debian-12", "alpine-3.23-ca-certificates", "alpine-3.20", "unknown-os"] {
        let scene = Scene::new(fixture);
        let first = scene.tree();
        let bundle = fs::read(scene.at(BUNDLE)).unwrap();
        scene.bootstrap().ok();
        let theirs = ca::root("Appended By Hand");
        scene.append(BUNDLE, &theirs.pem);
        scene.trustup(["status"]).ok();
        scene.bootstrap().ok();
        assert!(
            scene.held(BUNDLE).is_superset(&[scene.ca.fingerprint, theirs.fingerprint].into()),
            "{fixture}"
        );
        scene.untrust().ok();
        let held = scene.held(BUNDLE);
        assert!(held.contains(&theirs.fingerprint) && !held.contains(&scene.ca.fingerprint), "{fixture}");
        let text = fs::read_to_string(scene.at(BUNDLE)).unwrap();
        assert!(
            text.starts_with(std::str::from_utf8(&bundle).unwrap()),
            "{fixture}: what was there first is as it was"
        );
        fs::write(scene.at(BUNDLE), bundle).unwrap();
        first.assert_same(&scene.tree(), &format!("{fixture}: all but the bundle"));
    }
}

/// apk replaces a bundle on upgrade, whatever was appended to it.
#[test]
fn a_bundle_that_a_package_manager_replaced_gets_ours_again() {
    let scene = Scene::new("alpine-3.20");
    let first = scene.tree();
    scene.bootstrap().ok();
    let (one, _) = shared("ISRG_Root_X1.pem");
    let (two, _) = shared("NetLock_Arany.pem");
    let upgraded = format!("{one}\n{two}\n");
    fs::write(scene.at(BUNDLE), &upgraded).unwrap();
    scene.trustup(["status"]).fails(4);
    let again = scene.bootstrap().arg("--json").ok().json();
    assert_eq!(again["changed"], true);
    assert_eq!(scene.held(BUNDLE).len(), 3);
    scene.trustup(["status"]).ok();
    scene.untrust().ok();
    assert_eq!(
        fs::read_to_string(scene.at(BUNDLE)).unwrap(),
        upgraded,
        "the vendor's new bundle, byte for byte"
    );
    let now = scene.tree();
    let changed: Vec<String> = first.changed_paths(&now);
    assert_eq!(changed, [BUNDLE]);
}

#[test]
fn a_root_that_the_vendor_has_is_not_added_again() {
    for fixture in ["debian-12", "alpine-3.20", "wolfi", "distroless-static-debian12"] {
        let scene = Scene::new(fixture);
        let first = scene.tree();
        let (pem, fingerprint) = shared("ISRG_Root_X1.pem");
        fs::write(scene.given.path().join("root.pem"), pem).unwrap();
        let answer = scene.bootstrap().arg("--json").ok().json();
        assert_eq!(answer["anchors"][0]["status"], "vendor", "{answer}");
        assert!(scene.held(BUNDLE).contains(&fingerprint));
        first.assert_same(&scene.tree().without(STATE), fixture);
        scene.trustup(["status"]).ok();
        scene.untrust().ok();
        first.assert_same(&scene.tree(), &format!("{fixture}: after untrust"));
    }
}

/// The recommended mount: `--ca-file` names the anchor directory itself.
#[test]
fn files_that_stand_in_the_anchor_directory_stay() {
    for fixture in ["debian-12", "debian-12-minimal", "alpine-3.20", "alpine-3.23-ca-certificates"] {
        let scene = Scene::new(fixture);
        fs::create_dir_all(scene.at(LOCAL)).unwrap();
        scene.ca.write(&scene.at(LOCAL), "mounted.crt");
        let mounted = scene.tree();
        let run = || scene.trustup(["bootstrap", "--json", "--ca-file"]).arg(scene.at(LOCAL));
        let answer = run().ok().json();
        let files: Vec<String> = fs::read_dir(scene.at(LOCAL))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(files, ["mounted.crt"], "{fixture}");
        assert!(scene.held(BUNDLE).contains(&scene.ca.fingerprint));
        let prefix = if fixture.starts_with("debian") { "" } else { "ca-cert-" };
        let link = fs::read_link(scene.at(CERTS).join(format!("{prefix}mounted.pem"))).expect(fixture);
        assert_eq!(link, Path::new("/").join(LOCAL).join("mounted.crt"));
        assert_eq!(answer["anchors"].as_array().map(Vec::len), Some(1));
        assert_eq!(run().ok().json()["changed"], false, "{fixture}: again");
        scene.untrust().ok();
        mounted.assert_same(&scene.tree(), &format!("{fixture}: the file is not ours to remove"));
    }
}

#[test]
fn odd_bundles_come_back_byte_for_byte() {
    let (one, first) = shared("ISRG_Root_X1.pem");
    let (two, second) = shared("Amazon_Root_CA_3.pem");
    let bundles: [(&str, Vec<u8>); 6] = [
        ("no final newline", format!("{one}{}", two.trim_end()).into_bytes()),
        ("CRLF", format!("{one}{two}").replace('\n', "\r\n").into_bytes()),
        ("byte order mark", format!("\u{feff}{one}{two}").into_bytes()),
        (
            "text and Latin-1 between",
            [b"# caf\xe9 ===\n".as_slice(), one.as_bytes(), b"\xff\xfe\n\n", two.as_bytes()].concat(),
        ),
        ("a certificate twice", format!("{one}{two}{one}").into_bytes()),
        ("blank lines at the end", format!("{one}{two}\n\n\n").into_bytes()),
    ];
    for fixture in ["alpine-3.20", "unknown-os", "distroless-static-debian12"] {
        for (case, bundle) in &bundles {
            let scene = Scene::new(fixture);
            fs::write(scene.at(BUNDLE), bundle).unwrap();
            let before = scene.tree();
            scene.bootstrap().ok();
            let now = fs::read(scene.at(BUNDLE)).unwrap();
            // Go does not find the first root behind a byte order mark.
            let kept = bundle.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bundle);
            assert!(now.starts_with(kept), "{fixture}, {case}: what was there is kept as it was");
            let text = String::from_utf8_lossy(&now);
            assert!(!text.contains("----------"), "{fixture}, {case}: END and BEGIN on one line");
            let held: BTreeSet<Fingerprint> =
                ca::fingerprints(text.trim_start_matches('\u{feff}')).into_iter().collect();
            assert_eq!(held, [first, second, scene.ca.fingerprint].into(), "{fixture}, {case}");
            scene.untrust().ok();
            before.assert_same(&scene.tree(), &format!("{fixture}, {case}"));
        }
    }
}

#[test]
fn an_empty_bundle_is_a_bundle() {
    for fixture in ["alpine-3.20", "unknown-os"] {
        let scene = Scene::new(fixture);
        fs::write(scene.at(BUNDLE), "").unwrap();
        let before = scene.tree();
        scene.bootstrap().ok();
        assert_eq!(scene.held(BUNDLE), [scene.ca.fingerprint].into());
        scene.untrust().ok();
        before.assert_same(&scene.tree(), fixture);
    }
}

/// A bundle that ends inside a block would swallow what is appended: better an error.
#[test]
fn a_bundle_that_is_cut_off_is_an_error_with_the_word() {
    for fixture in ["alpine-3.20", "unknown-os", "distroless-static-debian12"] {
        let scene = Scene::new(fixture);
        let bundle = fs::read(scene.at(BUNDLE)).unwrap();
        fs::write(scene.at(BUNDLE), &bundle[..bundle.len() - 100]).unwrap();
        let before = scene.tree();
        scene.bootstrap().arg("--strict").fails(1).says(["ca-certificates.crt", "hint:"]);
        before.assert_same(&scene.tree(), fixture);
        // Without the word it is written anew, and nothing that could be read is lost.
        scene.bootstrap().ok().says(["ca-certificates.crt", "was damaged before this run", "line "]);
        let held = scene.held(BUNDLE);
        let whole = ca::fingerprints(&String::from_utf8(bundle).unwrap());
        assert!(held.contains(&scene.ca.fingerprint), "{fixture}");
        assert_eq!(whole.iter().filter(|one| held.contains(one)).count(), whole.len() - 1, "{fixture}");
        scene.untrust().ok();
        before.assert_same(&scene.tree().without("var/lib/trustup"), fixture);
    }
}

/// Debian's trap: a replacement under the same name leaves the old hash link.
#[test]
fn a_name_given_again_passes_to_the_new_certificate_without_stale_links() {
    for fixture in ["debian-12", "debian-12-minimal", "alpine-3.23-ca-certificates"] {
        let scene = Scene::new(fixture);
        let first = scene.tree();
        scene.bootstrap().args(["--name", "Company"]).ok();
        let with_one = scene.tree();
        let other = ca::root("Another Root Of The Company");
        let file = other.write(scene.given.path(), "other.pem");
        scene.trustup(["bootstrap", "--name", "Company", "--ca-file"]).arg(&file).ok();
        let held = scene.held(BUNDLE);
        assert!(held.contains(&other.fingerprint) && !held.contains(&scene.ca.fingerprint), "{fixture}");
        let hash_links = |tree: &Tree| -> Vec<String> {
            let ours = |(_, line): &(&String, &String)| line.contains("Company");
            tree.lines
                .iter()
                .filter(ours)
                .map(|(path, _)| path.clone())
                .filter(|path| path.contains(".0"))
                .collect()
        };
        assert_eq!(hash_links(&with_one).len(), 1);
        assert_eq!(hash_links(&scene.tree()).len(), 1, "{fixture}");
        assert_ne!(
            hash_links(&with_one),
            hash_links(&scene.tree()),
            "{fixture}: the hash is the new certificate's"
        );
        scene.trustup(["status"]).ok();
        scene.untrust().ok();
        first.assert_same(&scene.tree(), fixture);
    }
}

/// T3: what is written is what was parsed, never input bytes.
#[test]
fn hidden_roots_and_bytes_behind_the_certificate_are_errors() {
    let scene = Scene::new("debian-12");
    let before = scene.tree();
    let hidden = ca::root("Hidden Root");
    let encoded: String = hidden.der.iter().map(|byte| format!("%{byte:02x}")).collect();
    let stanza = format!("[p11-kit-object-v1]\nclass: x-certificate\nvalue: \"{encoded}\"\ntrusted: true\n");
    let longer: Vec<u8> = scene.ca.der.iter().copied().chain([0, 0]).collect();
    let cases = [
        ("a p11-kit stanza behind", format!("{}{stanza}", scene.ca.pem)),
        ("a p11-kit stanza before", format!("{stanza}{}", scene.ca.pem)),
        ("bytes behind the DER in PEM", ca::pem("CERTIFICATE", &longer)),
    ];
    for (case, content) in cases {
        fs::write(scene.given.path().join("root.pem"), content).unwrap();
        let run = scene.bootstrap().fails(2);
        run.says(["hint:"]);
        before.assert_same(&scene.tree(), case);
    }
    fs::write(scene.given.path().join("root.pem"), &longer).unwrap();
    scene.bootstrap().fails(2);
    before.assert_same(&scene.tree(), "bytes behind the DER");
    // Text around a block, CRLF and odd columns are harmless, and none of it is copied.
    let folded = scene.ca.pem.replace('\n', "\r\n");
    fs::write(scene.given.path().join("root.pem"), format!("Subject: $(id)\r\n{folded}trailing text\r\n"))
        .unwrap();
    scene.bootstrap().ok();
    for path in scene.tree().lines.keys().filter(|path| !path.starts_with(STATE)) {
        let text = fs::read(scene.at(path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("$(id)") && !text.contains("trailing text"), "{path}");
    }
}

fn set_all_times(path: &Path, time: SystemTime) {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_symlink() {
        return;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            set_all_times(&entry.unwrap().path(), time);
        }
    }
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// T7 and reproducible layers: the epoch stamps what is written and decides nothing.
#[test]
fn source_date_epoch_stamps_files_and_changes_no_verdict() {
    for fixture in ["debian-12", "alpine-3.20", "scratch", "distroless-static-debian12"] {
        let given = tempfile::tempdir().unwrap();
        let ca = ca::root("Stamped Root");
        let file = ca.write(given.path(), "root.pem");
        let mut trees = Vec::new();
        for _ in 0..2 {
            let root = unpacked(fixture);
            set_all_times(root.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
            let before = Tree::of(root.path());
            let run = Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(&file);
            run.env("SOURCE_DATE_EPOCH", "1000000000").ok();
            let after = Tree::of(root.path());
            for path in before.changed_paths(&after) {
                let meta = fs::symlink_metadata(root.path().join(&path)).unwrap();
                assert_eq!(meta.mtime(), 1_000_000_000, "{fixture}: {path}");
            }
            trees.push(after);
        }
        trees[0].assert_same(&trees[1], &format!("{fixture}: two runs with the same epoch"));
    }
    for epoch in ["978307200", "4070908800"] {
        let scene = Scene::new("debian-12");
        scene.bootstrap().env("SOURCE_DATE_EPOCH", epoch).ok();
        let mut params = ca::root_params("Expired Root");
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let expired = ca::root_with(params).write(scene.given.path(), "expired.pem");
        let run = scene.trustup(["bootstrap", "--ca-file"]).arg(&expired).env("SOURCE_DATE_EPOCH", epoch);
        run.fails(2).says(["expired"]);
    }
    let scene = Scene::new("debian-12");
    for bad in ["soon", "-", "1.5", "99999999999999999999999"] {
        scene.bootstrap().env("SOURCE_DATE_EPOCH", bad).fails(2).says(["SOURCE_DATE_EPOCH", "hint:"]);
    }
}

#[test]
fn what_another_row_put_in_can_be_taken_out() {
    let scene = Scene::new("unknown-os");
    let before = scene.tree();
    scene.bootstrap().ok();
    // The image's next version, or the next trustup, knows the distribution.
    let path = scene.at("etc/os-release");
    let first = fs::read(&path).unwrap();
    fs::write(&path, "ID=debian\n").unwrap();
    let between = scene.tree();
    let refused = scene.bootstrap().fails(1);
    assert!(
        refused.stderr.contains("`bundle-only`") && refused.stderr.contains("untrust --all"),
        "{refused}"
    );
    between.assert_same(&scene.tree(), "refused");
    scene.untrust().ok();
    fs::write(&path, first).unwrap();
    before.assert_same(&scene.tree(), "after untrust");
    scene.bootstrap().ok();
}

#[test]
fn a_bundle_that_held_ours_before_us_keeps_it() {
    let scene = Scene::new("unknown-os");
    let held = fs::read_to_string(scene.at(BUNDLE)).unwrap() + &scene.ca.pem;
    // Another bundle of the image, which somebody gave this very root.
    let other = scene.at("kaniko/ssl/certs");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("ca-certificates.crt"), &held).unwrap();
    let before = scene.tree();
    scene.bootstrap().ok();
    assert_eq!(fs::read_to_string(other.join("ca-certificates.crt")).unwrap(), held);
    let done = scene.tree();
    let again = scene.bootstrap().arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{again}");
    done.assert_same(&scene.tree(), "a second run");
    scene.untrust().ok();
    before.assert_same(&scene.tree(), "after untrust");
}
