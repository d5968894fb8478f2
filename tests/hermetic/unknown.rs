//! A distribution that no row knows, beside an update program that a row knows: trustup does not take it for that row,
//! warns that the program's next run drops the root, and `--distribution` is the way out.

use std::fs;
use std::path::Path;

use crate::support::ca;
use crate::support::run::{Trustup, unpacked};
use crate::support::tree::{Tree, inside};

/// A fixture whose update program is known, and the row that has it.
const TOOLS: [(&str, &str); 7] = [
    ("debian-12", "debian"),
    ("alpine-3.23-ca-certificates", "alpine"),
    ("fedora-42", "red-hat"),
    ("ubi-9", "red-hat"),
    ("arch", "arch"),
    ("opensuse-tumbleweed", "suse"),
    ("photon-5", "photon"),
];

/// The fixture's tree, of a distribution that nobody knows.
fn of_nobody(fixture: &str) -> tempfile::TempDir {
    let root = unpacked(fixture);
    let release = inside(root.path(), "/etc/os-release").unwrap();
    fs::write(release, "ID=made-up\nNAME=\"Made Up\"\n").unwrap();
    root
}

/// What comes behind the last `--distribution ` of the warning, up to the end of the quote.
fn offered(text: &str) -> Vec<&str> {
    text.split("`--distribution ").skip(1).filter_map(|rest| rest.split('`').next()).collect()
}

fn bootstrap(root: &Path, file: &Path) -> Trustup {
    Trustup::at(root, ["bootstrap", "--json", "--ca-file"]).arg(file)
}

#[test]
fn a_known_program_is_named_and_following_the_warning_works() {
    let given = tempfile::tempdir().unwrap();
    let file = ca::root("Unknown Distribution").write(given.path(), "root.pem");
    for (fixture, row) in TOOLS {
        let root = of_nobody(fixture);
        let first = Tree::of(root.path());
        let detected = Trustup::at(root.path(), ["detect", "--json"]).ok();
        assert_eq!(detected.json()["row"], "bundle-only", "{fixture}: os-release alone chooses");
        assert_eq!(offered(&detected.json()["warnings"][0].to_string()), [row], "{fixture}: {detected}");

        let warned = bootstrap(root.path(), &file).ok();
        assert_eq!(offered(&warned.stderr), [row], "{fixture}: {warned}");
        warned.says(["drops the root", "trustup untrust --all"]);

        // Done as it says.
        Trustup::at(root.path(), ["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(root.path()), fixture);
        let followed = bootstrap(root.path(), &file).args(["--distribution", row]).ok();
        assert_eq!(followed.json()["row"], row, "{followed}");
        assert_eq!(offered(&followed.stderr), [""; 0], "{followed}");
        let anchor = followed.json()["anchors"][0]["file"].as_str().map(str::to_owned);
        assert!(anchor.is_some_and(|path| inside(root.path(), &path).unwrap().is_file()), "{followed}");

        // From then on nobody has to name it again.
        let detected = Trustup::at(root.path(), ["detect", "--json"]).ok().json();
        assert_eq!(
            (&detected["row"], &detected["warnings"]),
            (&row.into(), &serde_json::json!([])),
            "{fixture}"
        );
        Trustup::at(root.path(), ["status"]).ok();
        assert_eq!(bootstrap(root.path(), &file).ok().json()["changed"], false, "{fixture}");
        let other = if row == "debian" { "alpine" } else { "debian" };
        let refused = bootstrap(root.path(), &file).args(["--distribution", other]).fails(1);
        refused.says(["untrust --all", "hint:"]);
        Trustup::at(root.path(), ["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(root.path()), fixture);
    }
}

#[test]
fn a_program_without_its_files_names_the_list_and_none_says_nothing() {
    let given = tempfile::tempdir().unwrap();
    let file = ca::root("Unknown Distribution").write(given.path(), "root.pem");
    let root = of_nobody("debian-12");
    fs::remove_file(root.path().join("etc/ca-certificates.conf")).unwrap();
    bootstrap(root.path(), &file).ok().says(["drops the root", "trustup detect --list"]);
    let root = unpacked("unknown-os");
    assert!(!bootstrap(root.path(), &file).ok().stderr.contains("--distribution"));
    // A program of another family beside a known distribution is nobody's business.
    let root = unpacked("debian-12");
    fs::copy(
        root.path().join("usr/sbin/update-ca-certificates"),
        root.path().join("usr/bin/update-ca-trust"),
    )
    .unwrap();
    assert!(!bootstrap(root.path(), &file).ok().stderr.contains("--distribution"));
}

#[test]
fn a_name_that_is_none_is_refused_with_the_list() {
    let root = unpacked("debian-12");
    Trustup::at(root.path(), ["--distribution", "debain", "detect"])
        .fails(2)
        .says(["debain", "debian", "red-hat"]);
    let named = Trustup::at(root.path(), ["--distribution", "bundle-only", "detect", "--json"]).ok().json();
    assert_eq!(named["row"], "bundle-only");
    let named =
        Trustup::at(root.path(), ["detect", "--json"]).env("TRUSTUP_DISTRIBUTION", "alpine").ok().json();
    assert_eq!(named["row"], "alpine");
}
