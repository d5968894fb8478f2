//! Keystores in a root with Java 25 as Debian 13 ships it: its keytool and its TLS client beside our edits.

use std::rc::Rc;

use trustup::pki::cert::Certificate;
use trustup::pki::keystore::{KeystoreFormat, alias_for};
use trustup::rootfs::Sysroot;
use trustup::trust::stores::java::find;

use crate::support::java::{CHANGEIT, Java, compile_client};
use crate::support::keystores::{read, survives, write};
use crate::support::roots::{Base, RootFs};
use crate::support::{ca, tls_server::TlsServer, tree::Tree};

const CACERTS: &str = "etc/ssl/certs/java/cacerts";

/// The root's Java; its directory is the root's exchange.
fn java(root: &Rc<RootFs>) -> Java {
    let root = Rc::clone(root);
    Java::new("Debian 13", move |_, program, arguments| {
        let program = format!("/usr/bin/{program}");
        root.command(&[&["sh", "-c", "cd /mnt && exec \"$@\"", "sh", &program], arguments].concat())
    })
}

#[test]
#[ignore = "needs root and debootstrap"]
fn keystores_of_java_25_survive_our_edits() {
    let root = Rc::new(Base::Java.copy());
    let java = java(&root);
    let version = java.output(root.exchange(), "java", &["-version"]);
    assert!(String::from_utf8_lossy(&version.stderr).contains("version \"25"), "{version:?}");
    survives(&java, std::slice::from_ref(&java), root.exchange());
}

#[test]
#[ignore = "needs root, debootstrap and openjdk-17-jdk-headless"]
fn java_25_with_its_defaults_trusts_what_we_added_and_nothing_before() {
    let root = Rc::new(Base::Java.copy());
    let java = java(&root);
    compile_client(root.exchange());
    let held_out = ca::root("Held Out Root");
    let server = TlsServer::start(&held_out);
    let held_out = Certificate::from_der(&held_out.der).expect("parses");

    // The one file that all names lead to.
    let search = find::find(&Sysroot::open(root.path()).expect("opens"), &[]);
    let paths: Vec<&str> = search.found.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, [format!("/{CACERTS}")]);
    assert!(search.missing.is_empty() && search.problems.is_empty(), "{search:?}");

    let mut keystore = read(root.path(), CACERTS, CHANGEIT);
    assert!(keystore.format() == KeystoreFormat::Jks && keystore.entries().len() > 100);
    let first = root.read(CACERTS);
    let accepts = || java.accepts(root.exchange(), &[], &server.url());
    assert!(accepts().expect_err("before").contains("PKIX path"));
    keystore.add(&alias_for(&held_out), &held_out, 1).expect("added");
    write(root.path(), CACERTS, &keystore);
    accepts().expect("after");
    keystore.remove(&held_out.fingerprint());
    write(root.path(), CACERTS, &keystore);
    accepts().expect_err("removed");
    assert_eq!(root.read(CACERTS), first);
}

/// The whole life through the command line, as Java with its defaults sees it: the built-in updater from outside, and
/// Debian's own tool with the hook of ca-certificates-java inside.
#[test]
#[ignore = "needs root, debootstrap and openjdk-17-jdk-headless"]
fn bootstrap_and_untrust_as_java_sees_them() {
    for updater in ["builtin", "native"] {
        let root = Rc::new(Base::Java.copy());
        let java = java(&root);
        compile_client(root.exchange());
        let held_out = ca::root("Held Out Root");
        held_out.write(root.exchange(), "root.pem");
        let server = TlsServer::start(&held_out);
        let accepts = || java.accepts(root.exchange(), &[], &server.url());
        assert!(accepts().expect_err("before").contains("PKIX path"));
        let before = root.tree();
        let bootstrap = ["bootstrap", "--json", "--updater", updater, "--ca-file", "/mnt/root.pem"];
        let run = root.trustup_inside(bootstrap).ok();
        assert!(run.json()["stores"].to_string().contains(CACERTS), "{run}");
        accepts().expect("after");
        // As the package names what it adds.
        let listed = java.list(root.exchange(), &format!("/{CACERTS}"), CHANGEIT);
        let ours =
            listed.iter().find(|(_, entry)| entry.fingerprint == held_out.fingerprint).expect("listed");
        assert!(ours.0.starts_with("debian:held_out_root-") && ours.0.ends_with(".pem"), "{ours:?}");
        let again = root.trustup_inside(bootstrap).ok();
        assert_eq!(again.json()["changed"], false, "{again}");
        root.trustup_inside(["status"]).ok();
        root.trustup_inside(["untrust", "--all", "--updater", updater]).ok();
        accepts().expect_err("after untrust");
        // What the package's hook tells dpkg is its own.
        let but_for_the_hook = |tree: Tree| {
            ["var/lib/ca-certificates-java", "var/lib/dpkg", "var/log"].into_iter().fold(tree, Tree::without)
        };
        but_for_the_hook(before).assert_same(&but_for_the_hook(root.tree()), updater);
    }
}
