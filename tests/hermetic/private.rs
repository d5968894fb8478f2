//! The private store (threat T12) where no other user is needed to prove it: its life, its place, and what is refused.
//! The system is the one that the tests run in; it is only read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use trustup::pki::cert::{Certificate, pem};
use trustup::pki::fingerprint::Fingerprint;

use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

struct Home {
    directory: tempfile::TempDir,
    ca: Root,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let ca = ca::root("Private Store Root");
        ca.write(directory.path(), "root.pem");
        Home { directory, ca }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Where it is by default.
    fn store(&self) -> PathBuf {
        self.home().join(".local/state/trustup")
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        // A keystore (where there is a Java) has the date in it.
        Trustup::new(args).env("HOME", self.home()).env("SOURCE_DATE_EPOCH", "1700000000")
    }

    fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--stores", "private", "--ca-file"])
            .arg(self.directory.path().join("root.pem"))
    }

    fn tree(&self) -> Tree {
        Tree::of(&self.home())
    }
}

fn held(path: &Path) -> BTreeSet<Fingerprint> {
    ca::fingerprint_set(&fs::read_to_string(path).unwrap())
}

#[test]
fn it_holds_the_systems_roots_and_ours_and_goes_without_a_trace() {
    let home = Home::new();
    let before = home.tree();
    let dry = home.bootstrap().arg("--dry-run").arg("--json").ok();
    assert_eq!(dry.json()["private"]["plan"][0]["path"], home.store().to_str().unwrap());
    home.tree().assert_same(&before, "a dry run changes nothing");

    let answer = home.bootstrap().arg("--json").ok().json();
    assert_eq!(answer["private"]["directory"], home.store().to_str().unwrap());
    assert_eq!(answer["changed"], true);
    let bundle = held(&home.store().join("ca-bundle.pem"));
    assert!(bundle.contains(&home.ca.fingerprint));
    for path in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"] {
        if let Ok(system) = fs::read_to_string(path) {
            let lost: Vec<_> =
                ca::fingerprints(&system).into_iter().filter(|one| !bundle.contains(one)).collect();
            assert!(lost.is_empty(), "{path}: {lost:?}");
            break;
        }
    }
    // Every root stands in the hashed directory under its own hash, numbered without holes.
    let mut hashed = BTreeSet::new();
    for entry in fs::read_dir(home.store().join("certs")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (hash, number) = name.split_once('.').unwrap();
        let blocks = pem::blocks(&fs::read(entry.path()).unwrap());
        let certificate = Certificate::from_block(&blocks[0]).unwrap();
        assert_eq!(format!("{:08x}", certificate.subject_hash()), hash);
        for before in 0..number.parse::<usize>().unwrap() {
            assert!(home.store().join(format!("certs/{hash}.{before}")).exists(), "{name} without {before}");
        }
        hashed.insert(certificate.fingerprint());
    }
    assert_eq!(hashed, bundle);

    let after = home.tree();
    let again = home.bootstrap().arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{again}");
    home.tree().assert_same(&after, "a second run changes nothing");
    home.trustup(["status"]).ok();
    home.trustup(["untrust", "--all"]).ok();
    home.tree().assert_same(&before, "untrust gives the home back, our directories with it");
    home.trustup(["status"]).fails(4);
}

#[test]
fn directories_that_were_there_before_stay() {
    let home = Home::new();
    fs::create_dir_all(home.home().join(".local/state")).unwrap();
    let before = home.tree();
    home.bootstrap().ok();
    home.trustup(["untrust", "--fingerprint", &home.ca.pin()]).ok();
    home.tree().assert_same(&before, "the user's own empty directories");
}

#[test]
fn its_place_is_named_by_options_and_variables_in_this_order() {
    let home = Home::new();
    let [given, state] = ["given", "state"].map(|name| home.directory.path().join(name));
    let place =
        |run: Trustup| run.arg("--json").ok().json()["private"]["directory"].as_str().unwrap().to_owned();
    let given_text = given.to_str().unwrap();
    assert_eq!(
        place(home.bootstrap().arg("--private-dir").arg(&given).env("XDG_STATE_HOME", &state)),
        given_text
    );
    home.trustup(["untrust", "--all", "--private-dir", given_text]).ok();
    assert!(!given.exists());
    assert_eq!(place(home.bootstrap().env("TRUSTUP_PRIVATE_DIR", &given)), given_text);
    let below_state = state.join("trustup");
    assert_eq!(place(home.bootstrap().env("XDG_STATE_HOME", &state)), below_state.to_str().unwrap());
    // A relative path is no path for the XDG specification; the home is next.
    assert_eq!(place(home.bootstrap().env("XDG_STATE_HOME", "state")), home.store().to_str().unwrap());
}

/// What is at the store's place beforehand, and what the error says of it.
#[test]
fn what_others_may_have_planted_is_refused() {
    type Plant = fn(&Path);
    let plant: [(&str, Plant); 4] = [
        ("it is a link", |path| {
            fs::create_dir(path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        }),
        ("other users can write it (mode 0777)", |path| {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("it is not a directory", |path| fs::write(path, "").unwrap()),
        ("other users can write its parent directory `", |path| {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        }),
    ];
    for (says, plant) in plant {
        let home = Home::new();
        fs::create_dir_all(home.store().parent().unwrap()).unwrap();
        plant(&home.store());
        let before = home.tree();
        home.bootstrap().arg("--private-dir").arg(home.store()).fails(1).says([says, "--private-dir"]);
        home.trustup(["status", "--private-dir"]).arg(home.store()).fails(1).says([says]);
        home.trustup(["untrust", "--all", "--private-dir"]).arg(home.store()).fails(1).says([says]);
        home.tree().assert_same(&before, says);
    }
}

#[test]
fn bad_places_are_usage_errors() {
    let home = Home::new();
    for place in ["relative", "/", "/x/../y", ""] {
        home.bootstrap().arg("--private-dir").arg(place).fails(2);
    }
    let sysroot = tempfile::tempdir().unwrap();
    fs::create_dir(sysroot.path().join("etc")).unwrap();
    Trustup::at(sysroot.path(), ["--private-dir", "/x", "status"]).fails(2).says(["--sysroot"]);
    Trustup::at(sysroot.path(), ["bootstrap", "--stores", "private", "--ca-file"])
        .arg(home.directory.path().join("root.pem"))
        .fails(5)
        .says(["foreign sysroot"]);
    home.bootstrap().args(["--ca-out", "/run/copy.pem"]).fails(2).says(["--ca-out"]);
}

#[test]
fn a_second_root_joins_and_leaves_alone() {
    let home = Home::new();
    home.bootstrap().ok();
    let first = Tree::of(&home.store()).without("state");
    let other = ca::root("Another Private Root");
    let file = other.write(home.directory.path(), "other.pem");
    home.trustup(["bootstrap", "--stores", "private", "--ca-file"]).arg(file).ok();
    let bundle = held(&home.store().join("ca-bundle.pem"));
    assert!(bundle.contains(&home.ca.fingerprint) && bundle.contains(&other.fingerprint));
    home.trustup(["untrust", "--fingerprint", &other.pin()]).ok();
    Tree::of(&home.store()).without("state").assert_same(&first, "after the second root left");
}

/// SIGKILL before every step: the next run ends where a run without interruption ends.
#[test]
fn killed_at_any_step_the_next_run_completes_it() {
    let whole = Home::new();
    whole.bootstrap().ok();
    let wanted = held(&whole.store().join("ca-bundle.pem")).len();
    for step in [1, 2, 3, 4, 40, 10_000] {
        let home = Home::new();
        let before = home.tree();
        let killed = home.bootstrap().killed_at(step).run();
        assert_eq!(killed.code.is_none(), step < 10_000, "step {step}: {killed}");
        home.bootstrap().ok();
        assert_eq!(held(&home.store().join("ca-bundle.pem")).len(), wanted, "step {step}");
        home.trustup(["status"]).ok();
        home.trustup(["untrust", "--all"]).ok();
        home.tree().assert_same(&before, "after a killed run");
    }
}
