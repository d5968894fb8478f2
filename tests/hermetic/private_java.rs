//! The keystore of a private store, and the variable that leads Java to it. The Java is one that JAVA_HOME names: a
//! directory with a keystore.

use std::fs;
use std::path::PathBuf;

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::keystore::{alias_for, p11_kit};

use crate::env::java_options;
use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup};
use crate::support::tree::Tree;

const VARIABLE: &str = "JAVA_TOOL_OPTIONS";
/// The date of what trustup makes, seconds since 1970.
const EPOCH: u64 = 1_234_567_890;

/// A user's home, and a Java that trusts two roots.
struct Home {
    directory: tempfile::TempDir,
    ca: Root,
    /// The name of the directory of everything else; what a path cannot say to Java is in here.
    name: &'static str,
    vendor: Vec<Fingerprint>,
}

fn certificate(root: &Root) -> Certificate {
    Certificate::from_der(&root.der).unwrap()
}

impl Home {
    fn new() -> Home {
        Home::named("home")
    }

    fn named(name: &'static str) -> Home {
        let directory = tempfile::tempdir().unwrap();
        let ca = ca::root("Private Java Root");
        ca.write(directory.path(), "root.pem");
        let mut home = Home { directory, ca, name, vendor: Vec::new() };
        fs::create_dir_all(home.home()).unwrap();
        fs::create_dir_all(home.cacerts().parent().unwrap()).unwrap();
        home.write_cacerts(&["Zeta", "Alpha"].map(ca::root));
        home
    }

    fn write_cacerts(&mut self, vendor: &[Root]) {
        let roots: Vec<p11_kit::ListedRoot> =
            vendor.iter().map(|root| p11_kit::ListedRoot::of(&certificate(root))).collect();
        fs::write(self.cacerts(), p11_kit::write(&roots, 1000).unwrap()).unwrap();
        self.vendor = vendor.iter().map(|root| root.fingerprint).collect();
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join(self.name)
    }

    fn jdk(&self) -> PathBuf {
        self.directory.path().join("jdk")
    }

    fn cacerts(&self) -> PathBuf {
        self.jdk().join("lib/security/cacerts")
    }

    fn keystore(&self) -> PathBuf {
        self.home().join(".local/state/trustup/cacerts")
    }

    fn options(&self) -> String {
        java_options(self.keystore().to_str().unwrap())
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        let run = Trustup::new(args).env("HOME", self.home()).env("JAVA_HOME", self.jdk());
        run.env("SOURCE_DATE_EPOCH", EPOCH.to_string())
    }

    fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--stores", "private", "--ca-file"])
            .arg(self.directory.path().join("root.pem"))
    }

    fn held(&self) -> Vec<Fingerprint> {
        ca::held(&fs::read(self.keystore()).unwrap())
    }
}

/// The value that a shell gets.
fn value(run: &Run) -> Option<&str> {
    let line = run.stdout.lines().find_map(|line| line.strip_prefix("export JAVA_TOOL_OPTIONS='"));
    line.map(|value| value.strip_suffix('\'').unwrap())
}

#[test]
fn it_holds_the_roots_of_that_java_and_ours_and_goes_again() {
    let mut home = Home::new();
    let before = Tree::of(&home.home());
    let answer = home.bootstrap().arg("--json").ok().json();
    let keystore = home.keystore().to_str().unwrap().to_owned();
    assert!(answer["private"]["outputs"].as_array().unwrap().contains(&keystore.clone().into()), "{answer}");
    let wanted = [home.vendor.clone(), vec![home.ca.fingerprint]].concat();
    assert_eq!(home.held(), wanted, "the Java's own, in its order, and ours");
    let entries = ca::jks(&fs::read(&keystore).unwrap());
    assert!(entries.iter().all(|(_, date, _)| *date == EPOCH * 1000), "{entries:?}");
    assert_eq!(entries[2].0, alias_for(&certificate(&home.ca)).into_bytes());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&keystore).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o644);

    // Another date changes nothing.
    let after = Tree::of(&home.home());
    let again = home.bootstrap().env("SOURCE_DATE_EPOCH", "1").arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{again}");
    after.assert_same(&Tree::of(&home.home()), "again");
    let status = home.trustup(["status", "--json"]).ok().json();
    let stores = status["private"]["anchors"][0]["stores"].as_array().unwrap();
    let of_java = stores.iter().find(|store| store["kind"] == "keystore").unwrap();
    assert_eq!((of_java["path"].as_str(), of_java["state"].as_str()), (Some(&*keystore), Some("there")));

    // What that Java trusts now is what it holds.
    home.write_cacerts(&["New", "Zeta"].map(ca::root));
    home.bootstrap().ok();
    assert_eq!(home.held(), [home.vendor.clone(), vec![home.ca.fingerprint]].concat());

    // No Java any more: no keystore, unless this machine has one.
    home.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(&home.home()), "after untrust");
}

/// A keystore that cannot be read leads to the roots of the system's bundle.
#[test]
fn a_java_whose_keystore_cannot_be_read_gets_the_systems_roots() {
    let home = Home::new();
    fs::write(home.cacerts(), "spoilt").unwrap();
    home.bootstrap().ok();
    let bundle = fs::read(home.keystore().with_file_name("ca-bundle.pem")).unwrap();
    assert_eq!(home.held(), ca::held(&bundle));
    assert_eq!(home.held().last(), Some(&home.ca.fingerprint));
}

#[test]
fn what_is_set_is_added_to_and_never_replaced() {
    let home = Home::new();
    home.bootstrap().ok();
    let env = |set: Option<&str>| {
        let run = home.trustup(["env"]);
        if let Some(set) = set { run.env(VARIABLE, set) } else { run }.ok()
    };
    let ours = home.options();
    assert_eq!(value(&env(None)), Some(&*ours));
    assert_eq!(value(&env(Some("-Xmx1g"))), Some(&*format!("-Xmx1g {ours}")));
    assert_eq!(value(&env(Some(&format!("-Xmx1g {ours}")))), Some(&*format!("-Xmx1g {ours}")), "once");
    assert_eq!(value(&env(Some(""))), Some(&*ours));

    let theirs = "-Djavax.net.ssl.trustStore=/theirs -Xmx1g";
    let kept = env(Some(theirs));
    assert_eq!(value(&kept), None);
    assert!(
        kept.stdout.contains(&format!("# {VARIABLE} is already set and keeps its value: {theirs}")),
        "{kept}"
    );
    let json = home.trustup(["env", "--json"]).env(VARIABLE, "-Xmx1g").ok().json();
    assert_eq!(json["keystore"], home.keystore().to_str().unwrap());
    let row = json["variables"].as_array().unwrap().iter().find(|row| row["name"] == VARIABLE).unwrap();
    assert_eq!(
        (row["value"].as_str(), row["kept"].as_bool()),
        (Some(&*format!("-Xmx1g {ours}")), Some(false))
    );

    // The command of bootstrap gets the same.
    for (set, wanted) in [("-Xmx1g", format!("-Xmx1g {ours}")), (theirs, theirs.to_owned())] {
        let run = home.bootstrap().args(["--", "/bin/sh", "-c", "echo \"$JAVA_TOOL_OPTIONS\""]);
        let run = run.env(VARIABLE, set).ok();
        assert_eq!(run.stdout.trim(), wanted, "{run}");
    }
}

#[test]
fn t15_what_java_cannot_be_told_is_left_out_and_said() {
    for name in ["white space", "quo'te", "quo\"te", "tab\tbed"] {
        let home = Home::named(name);
        home.bootstrap().ok();
        assert!(home.keystore().exists());
        let run = home.trustup(["env"]).ok();
        assert_eq!(value(&run), None);
        assert!(run.stdout.contains("export SSL_CERT_FILE="), "the others are there: {run}");
        assert!(!run.stdout.contains(VARIABLE), "{run}");
        run.says([VARIABLE, "left out", "white space or quotes"]);
        let command = home.bootstrap().args(["--", "/bin/sh", "-c", "echo \"[$JAVA_TOOL_OPTIONS]\""]).ok();
        assert_eq!(command.stdout.trim(), "[]");
        command.says([VARIABLE, "left out"]);
    }
    // What cannot be repeated as it is.
    let home = Home::new();
    home.bootstrap().ok();
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"-Da=\xff");
    for set in [odd, "-Da\n-Db".as_ref()] {
        let run = home.trustup(["env"]).env(VARIABLE, set).ok();
        assert_eq!(value(&run), None);
        assert!(run.stdout.contains("export SSL_CERT_FILE="), "{run}");
        run.says([VARIABLE, "cannot be repeated"]);
    }
}

/// T12: no longer whole, and nothing is printed.
#[test]
fn a_keystore_that_lacks_ours_is_not_named() {
    let home = Home::new();
    home.bootstrap().ok();
    let whole = fs::read(home.keystore()).unwrap();
    fs::copy(home.cacerts(), home.keystore()).unwrap();
    let refused = home.trustup(["env"]).fails(4);
    assert_eq!(refused.stdout, "");
    refused.says(["the keystore lacks", "cacerts", "hint:"]);
    home.trustup(["status"]).fails(4);
    fs::write(home.keystore(), "spoilt").unwrap();
    assert_eq!(home.trustup(["env"]).fails(4).says(["the keystore is damaged"]).stdout, "");
    home.bootstrap().ok();
    assert_eq!(fs::read(home.keystore()).unwrap(), whole);
    home.trustup(["env"]).ok();
}

#[test]
fn t39_a_root_that_java_cannot_load_is_left_out_of_the_private_keystore() {
    let home = Home::new();
    let odd = crate::support::ca::no_java("Constrained Root");
    odd.write(home.directory.path(), "root.pem");
    let answer = home.bootstrap().arg("--json").ok().json();
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("/cacerts` does not get CN=Constrained Root"), "{warnings}");
    assert!(!home.held().contains(&odd.fingerprint) && home.held().len() == home.vendor.len());
    let bundle = fs::read_to_string(home.home().join(".local/state/trustup/ca-bundle.pem")).unwrap();
    assert!(ca::fingerprint_set(&bundle).contains(&odd.fingerprint));
    let status = home.trustup(["status", "--json"]).ok().json();
    assert!(status.to_string().contains("\"left-out\""), "{status}");
    assert_eq!(home.bootstrap().arg("--json").ok().json()["changed"], false);
    home.trustup(["untrust", "--all"]).ok();
}
