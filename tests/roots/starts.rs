//! Odd states of real roots at the start, and people who change things between two runs: bootstrap makes a trusted root
//! of each, and `untrust` gives back what there would be without us.

use crate::support::ca::{self, Root};
use crate::support::roots::{Base, RootFs};
use crate::support::tree::Tree;

const CERTS: &str = "etc/ssl/certs";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const LIST: &str = "etc/ca-certificates.conf";
const LOCAL: &str = "usr/local/share/ca-certificates";
const BASES: [Base; 3] = [Base::Debian12, Base::Debian13, Base::Alpine];

#[track_caller]
fn bootstrap(root: &RootFs, ca: &Root) {
    let file = ca.write(root.exchange(), "root.pem");
    root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(file).ok();
    root.trustup(["status"]).ok();
}

/// On each base: `change`, look, bootstrap, untrust, look again.
#[track_caller]
fn there_and_back(change: impl Fn(&RootFs)) {
    for base in BASES {
        let root = base.copy();
        change(&root);
        let before = Tree::of(root.path());
        let ca = ca::root("There and Back");
        bootstrap(&root, &ca);
        assert!(String::from_utf8(root.read(BUNDLE)).unwrap().contains(&ca.pem), "{base:?}");
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), &format!("{base:?}: after untrust"));
    }
}

fn remove_all(root: &RootFs, name: &str) {
    std::fs::remove_dir_all(root.at(name)).unwrap();
}

#[test]
#[ignore = "needs root and real root file systems"]
fn without_a_bundle() {
    there_and_back(|root| root.remove(BUNDLE));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn with_an_empty_bundle() {
    there_and_back(|root| root.write(BUNDLE, ""));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn without_the_directory_of_the_bundle() {
    there_and_back(|root| remove_all(root, CERTS));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn without_the_anchor_directory() {
    there_and_back(|root| remove_all(root, LOCAL));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn without_the_list_of_vendor_roots() {
    there_and_back(|root| root.remove(LIST));
    there_and_back(|root| root.write(LIST, ""));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn with_a_bundle_of_another_mode() {
    use std::os::unix::fs::{PermissionsExt, chown};
    there_and_back(|root| {
        std::fs::set_permissions(root.at(BUNDLE), PermissionsExt::from_mode(0o640)).unwrap();
        chown(root.at(BUNDLE), Some(1000), Some(1000)).unwrap();
    });
}

#[test]
#[ignore = "needs root and real root file systems"]
fn with_a_bundle_without_a_final_newline() {
    there_and_back(|root| {
        let bundle = String::from_utf8(root.read(BUNDLE)).unwrap();
        root.write(BUNDLE, bundle.trim_end());
    });
}

/// On each base: bootstrap, `change`, then `untrust`; the tree is the first one, with `mend` applied.
#[track_caller]
fn changed_in_between(change: impl Fn(&RootFs), mend: impl Fn(&RootFs)) {
    for base in BASES {
        let root = base.copy();
        let twin = root.twin();
        mend(&twin);
        bootstrap(&root, &ca::root("Changed in between"));
        change(&root);
        root.trustup(["untrust", "--all"]).ok();
        twin.tree()
            .assert_same(&Tree::of(root.path()), &format!("{base:?}: without us (-), after untrust (+)"));
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_tool_runs_in_between() {
    changed_in_between(|root| drop(root.run(&["update-ca-certificates"])), |_| {});
    changed_in_between(|root| drop(root.run(&["update-ca-certificates", "--fresh"])), |_| {});
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_administrator_adds_a_root_in_between() {
    let theirs = ca::root("The Administrator's");
    let add = |root: &RootFs| {
        root.write(&format!("{LOCAL}/theirs.crt"), &theirs.pem);
        root.run(&["update-ca-certificates"]);
    };
    changed_in_between(add, add);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_administrator_removes_our_file_in_between() {
    let remove = |root: &RootFs| {
        for entry in std::fs::read_dir(root.at(LOCAL)).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    };
    changed_in_between(remove, |_| {});
    changed_in_between(
        |root| {
            remove(root);
            root.run(&["update-ca-certificates"]);
        },
        |_| {},
    );
}

/// Damage is seen, mended by the next run, and does not come back with `untrust`.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_bundle_damaged_in_between() {
    for base in BASES {
        let root = base.copy();
        let before = Tree::of(root.path());
        let ca = ca::root("Damaged in between");
        bootstrap(&root, &ca);
        let whole = root.read(BUNDLE);
        for length in [0, 1000, whole.len() - 30] {
            root.write(BUNDLE, &whole[..length]);
            root.trustup(["status"]).fails(4);
            bootstrap(&root, &ca);
            assert!(root.read(BUNDLE) == whole, "{base:?}: not mended after {length} bytes");
        }
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), &format!("{base:?}: after untrust"));
    }
}
