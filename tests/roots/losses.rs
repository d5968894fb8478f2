//! Threat T5 on real roots: no root is lost or comes back unexplained, as OpenSSL itself sees it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::ca::{self, Root, fingerprints};
use crate::support::roots::{Base, RootFs, Said};
use crate::support::tls_server::TlsServer;
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const LOCAL: &str = "usr/local/share/ca-certificates";

/// The vendor's roots that OpenSSL finds in the hashed directory, the bundle left aside. (Not all: of two with the same
/// subject and key it looks at the first alone, with the real tool as well.)
#[track_caller]
fn found_by_openssl(root: &RootFs) -> BTreeSet<String> {
    let verify = "exec openssl verify -no_check_time -no-CAfile -no-CAstore -CApath /etc/ssl/certs \
                  /usr/share/ca-certificates/mozilla/*.crt";
    let output = root.command(&["sh", "-c", verify]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: BTreeSet<String> =
        said.lines().filter_map(|line| line.strip_suffix(": OK")).map(str::to_owned).collect();
    assert!(found.len() > 100, "{}", Said(&output));
    found
}

fn in_bundle(root: &RootFs, ca: &Root) -> bool {
    fingerprints(&String::from_utf8(root.read(BUNDLE)).unwrap()).contains(&ca.fingerprint)
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_name_of_a_vendor_root_is_refused() {
    for base in [Base::Debian12, Base::Alpine] {
        let root = base.copy();
        let before = Tree::of(root.path());
        let ca = ca::root("Impostor");
        let file = ca.write(root.exchange(), "root.pem");
        for updater in ["auto", "builtin"] {
            let args = ["bootstrap", "--name", "ISRG_Root_X1", "--updater", updater, "--ca-file"];
            root.trustup(args).arg(&file).fails(2).says(["ISRG_Root_X1"]);
            root.trustup_inside(args).arg("/mnt/root.pem").fails(2).says(["ISRG_Root_X1"]);
            before.assert_same(&Tree::of(root.path()), "after a refused name");
        }
    }
}

/// The control: what the real tool does with such a name.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tool_loses_the_vendor_root_of_that_name() {
    let root = Base::Debian12.copy();
    let before = found_by_openssl(&root);
    root.write(&format!("{LOCAL}/ISRG_Root_X1.crt"), ca::root("Impostor").pem);
    root.run(&["update-ca-certificates", "--fresh"]);
    let after = found_by_openssl(&root);
    let lost: Vec<&String> = before.difference(&after).collect();
    assert_eq!(lost, ["/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"]);
}

/// The anchor directory is given (mounted, say) with a file that has a vendor's name: an error, and all is undone.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_name_collision_in_the_anchor_directory_fails_and_is_undone() {
    for updater in ["native", "builtin", "auto"] {
        let root = Base::Debian12.copy();
        root.write(&format!("{LOCAL}/ISRG_Root_X1.crt"), ca::root("Impostor").pem);
        let before = Tree::of(root.path());
        let found = found_by_openssl(&root);
        let run = root
            .trustup_inside(["bootstrap", "--updater", updater, "--ca-file"])
            .arg(Path::new("/").join(LOCAL))
            .run();
        assert!(run.code.is_some_and(|code| code != 0), "{updater}: {run}");
        // The file or the root that it would hide.
        assert!(
            run.stderr.contains("ISRG_Root_X1") || run.stderr.contains("ISRG Root X1"),
            "{updater}: {run}"
        );
        before.assert_same(&Tree::of(root.path()), &format!("{updater}: after {run}"));
        assert_eq!(found_by_openssl(&root), found, "{updater}");
    }
}

/// What a package upgrade that drops a root does, but for the trigger: with the vendor's inputs gone, the loss is right.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_vendor_upgrade_that_drops_a_root_goes_through() {
    for (base, updater) in [
        (Base::Debian12, "builtin"),
        (Base::Debian12, "native"),
        (Base::Alpine, "builtin"),
        (Base::Alpine, "native"),
    ] {
        let root = base.copy();
        let found = (base != Base::Alpine).then(|| found_by_openssl(&root));
        let [one, two] = [ca::root("Upgrade One"), ca::root("Upgrade Two")];
        let bootstrap = |ca: &Root| {
            ca.write(root.exchange(), "root.pem");
            root.trustup_inside(["--json", "bootstrap", "--updater", updater, "--ca-file", "/mnt/root.pem"])
                .ok()
        };
        bootstrap(&one);

        let vendor = "usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt";
        let dropped = String::from_utf8(root.read(vendor)).unwrap();
        root.remove(vendor);
        let list = String::from_utf8(root.read("etc/ca-certificates.conf")).unwrap();
        root.write("etc/ca-certificates.conf", list.replace("mozilla/ISRG_Root_X1.crt\n", ""));

        let run = bootstrap(&two);
        let bundle = String::from_utf8(root.read(BUNDLE)).unwrap();
        assert!(!bundle.contains(&dropped), "{base:?} {updater}: the distrusted root is still there: {run}");
        assert!(!root.at("etc/ssl/certs/4042bcee.0").is_symlink(), "{base:?} {updater}: {run}");
        assert!(in_bundle(&root, &one) && in_bundle(&root, &two), "{base:?} {updater}: {run}");
        let said = run.json().to_string() + &run.stderr;
        let named = said.contains("ISRG Root X1") || said.contains("ISRG_Root_X1");
        assert!(named, "{base:?} {updater}: silent about the loss: {run}");
        if let Some(mut found) = found {
            found.remove("/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt");
            assert_eq!(found_by_openssl(&root), found, "{updater}");
        }

        // After untrust: what the package alone would have made of it.
        root.trustup(["untrust", "--all"]).ok();
        let twin = base.copy();
        twin.remove(vendor);
        twin.write("etc/ca-certificates.conf", list.replace("mozilla/ISRG_Root_X1.crt\n", ""));
        twin.run(if base == Base::Alpine {
            &["update-ca-certificates"]
        } else {
            &["update-ca-certificates", "--fresh"]
        });
        twin.tree().assert_same(&Tree::of(root.path()), &format!("{base:?} {updater}: after untrust"));
    }
}

/// Bundle v1, v2 without one of its roots, v1 again: the root goes with v2, and does not come back by itself.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_that_left_its_bundle_comes_back_only_if_allowed() {
    let ca = ca::root("Vouches for the Bundle");
    let [stays, leaves] = [ca::root("Stays"), ca::root("Leaves")];
    let server = TlsServer::start(&ca);
    let root = Base::Debian12.copy();
    let before = Tree::of(root.path());
    let file = ca.write(root.exchange(), "root.pem");
    let url = server.url() + "bundle.pem";
    let bootstrap = |more: &[&str]| {
        root.trustup(["bootstrap", "--fingerprint", &ca.pin(), "--bundle-url", &url, "--ca-file"])
            .arg(&file)
            .args(more)
    };
    let (v1, v2) = (format!("{}{}", stays.pem, leaves.pem), stays.pem.clone());

    server.serve(&v1);
    bootstrap(&[]).ok();
    assert!(in_bundle(&root, &stays) && in_bundle(&root, &leaves));
    server.serve(&v2);
    bootstrap(&[]).ok();
    assert!(in_bundle(&root, &stays) && !in_bundle(&root, &leaves));
    let after_v2 = root.tree();
    server.serve(&v1);
    let run = bootstrap(&[]).run();
    assert!(run.code.is_some_and(|code| code != 0), "{run}");
    run.says(["--allow-rollback", &leaves.pin()[..16]]);
    after_v2.assert_same(&root.tree(), "after the refused third run");
    bootstrap(&["--allow-rollback"]).ok();
    assert!(in_bundle(&root, &leaves));
    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
}
