//! Nix: a Debian whose bundles are links into a store that is mounted read-only, as NixOS has it. Real clients read the
//! file that takes the link's place, and nothing in the store changes.

use std::os::unix::fs::{MetadataExt, symlink};

use crate::support::ca::{self, Root};
use crate::support::roots::{Base, RootFs};
use crate::support::run::Run;
use crate::support::tls_server::{ANSWER, TlsServer};
use crate::support::tree::Tree;

const STORE: &str = "nix/store/1111-nss-cacert/etc/ssl/certs/ca-bundle.crt";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const NAMES: [&str; 3] =
    ["ssl/certs/ca-certificates.crt", "ssl/certs/ca-bundle.crt", "pki/tls/certs/ca-bundle.crt"];

/// What mounts the store as Nix's daemon does: nobody else writes there.
const READ_ONLY: &str =
    "mount --bind \"$ROOT/nix/store\" \"$ROOT/nix/store\"\nmount -o remount,bind,ro \"$ROOT/nix/store\"";

/// A root with Photon's programs and NixOS' files.
fn nixos() -> RootFs {
    let root = Base::Photon.copy();
    let roots = root.read("etc/pki/tls/certs/ca-bundle.crt");
    for directory in ["etc/ssl/certs", "etc/pki"] {
        std::fs::remove_dir_all(root.at(directory)).unwrap();
    }
    root.write(STORE, roots);
    root.write("usr/lib/os-release", "ID=nixos\n");
    root.write("etc/NIXOS", "");
    activate(&root, "2222-etc", STORE);
    root
}

/// What NixOS does with its links at every activation: each is there again, whatever stood in its place.
fn activate(root: &RootFs, generation: &str, bundle: &str) {
    let etc = format!("nix/store/{generation}/etc");
    for name in NAMES {
        for (link, target) in [
            (format!("{etc}/{name}"), format!("/{bundle}")),
            (format!("etc/{name}"), format!("/etc/static/{name}")),
        ] {
            let link = root.at(&link);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            let new = link.with_extension("tmp");
            symlink(target, &new).unwrap();
            std::fs::rename(new, link).unwrap();
        }
    }
    symlink(format!("/{etc}"), root.at("etc/static.tmp")).unwrap();
    std::fs::rename(root.at("etc/static.tmp"), root.at("etc/static")).unwrap();
}

fn inside(root: &RootFs, args: &[&str]) -> Run {
    root.trustup_inside_after(READ_ONLY, &[], args.iter().copied()).ok()
}

fn reads(root: &RootFs, ca: &Root) -> bool {
    let server = TlsServer::start(ca);
    let url = server.url();
    // No option names a bundle: curl reads the one that it was built with, a name that was a link into the store.
    let curl = ["curl", "--fail", "--silent", "--show-error", "--max-time", "20", &url];
    let output = root.command_after(READ_ONLY, &curl).output().unwrap();
    assert_eq!(output.status.success(), output.stdout == ANSWER.as_bytes());
    output.status.success()
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_store_stays_and_programs_are_served() {
    let root = nixos();
    let first = Tree::of(root.path());
    let ours = ca::root("Nix Test Root");
    ours.write(root.exchange(), "root.pem");
    assert!(!reads(&root, &ours));
    let bootstrap = ["--json", "bootstrap", "--ca-file", "/mnt/root.pem"];
    let run = inside(&root, &bootstrap);
    assert_eq!(run.json()["row"], "nix", "{run}");
    assert!(run.json()["warnings"].to_string().contains("security.pki.certificateFiles"), "{run}");
    assert!(reads(&root, &ours));
    let file = root.at(BUNDLE).symlink_metadata().unwrap();
    assert!(file.is_file() && file.mode() & 0o7777 == 0o644);
    assert_eq!(root.read(BUNDLE), [root.read(STORE), ours.pem.clone().into_bytes()].concat());
    for name in NAMES {
        assert_eq!(std::fs::read(root.at(&format!("etc/{name}"))).unwrap(), root.read(BUNDLE), "{name}");
    }
    let store = |tree: Tree| {
        let mut tree = tree;
        tree.lines.retain(|path, _| path == "nix" || path.starts_with("nix/"));
        tree
    };
    store(first.clone()).assert_same(&store(Tree::of(root.path())), "the store");
    let run = inside(&root, &bootstrap);
    assert_eq!(run.json()["changed"], false, "{run}");

    // The next generation has one root more, and its links are back.
    let theirs = ca::root("Next Generation Root");
    let next = "nix/store/3333-nss-cacert/etc/ssl/certs/ca-bundle.crt";
    root.write(next, [root.read(STORE), theirs.pem.clone().into_bytes()].concat());
    activate(&root, "4444-etc", next);
    let second = root.tree();
    assert!(!reads(&root, &ours) && reads(&root, &theirs));
    inside(&root, &bootstrap);
    assert!(reads(&root, &ours) && reads(&root, &theirs));
    let run = inside(&root, &bootstrap);
    assert_eq!(run.json()["changed"], false, "{run}");
    inside(&root, &["untrust", "--all"]);
    second.assert_same(&Tree::of(root.path()), "the links of the new generation");
}

/// Where a directory on the way is a link into the store there is nothing to replace: programs get a private store.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_directory_in_the_store_leads_to_the_private_store() {
    let root = nixos();
    std::fs::remove_dir_all(root.at("etc/ssl/certs")).unwrap();
    symlink("/nix/store/1111-nss-cacert/etc/ssl/certs", root.at("etc/ssl/certs")).unwrap();
    for name in ["etc/pki/tls/certs/ca-bundle.crt", "etc/static"] {
        root.remove(name);
    }
    let first = root.tree();
    let ours = ca::root("Shut Out Root");
    ours.write(root.exchange(), "root.pem");
    let bootstrap =
        ["--json", "bootstrap", "--ca-file", "/mnt/root.pem", "--private-dir", "/var/lib/private-trust"];
    let refused =
        root.trustup_inside_after(READ_ONLY, &[], [&bootstrap[..], &["--require-system"]].concat()).fails(1);
    assert!(refused.stdout.contains("/etc/ssl/certs/ca-bundle.crt"), "{refused}");
    first.assert_same(&root.tree(), "after --require-system");
    // The store may even be writable: nothing below /nix changes.
    for before in [READ_ONLY, ""] {
        let run = root.trustup_inside_after(before, &[], bootstrap).ok();
        let combined = root.read("var/lib/private-trust/ca-bundle.pem");
        assert!(ca::held(&combined).contains(&ours.fingerprint), "{run}");
        assert_eq!(ca::held(&combined).len(), ca::held(&root.read(STORE)).len() + 1, "{run}");
        assert!(!reads(&root, &ours));
        let untrust = ["untrust", "--all", "--private-dir", "/var/lib/private-trust"];
        root.trustup_inside_after(before, &[], untrust).ok();
        let now = root.tree().without("var/lib/private-trust");
        first.assert_same(&now, "all but the private store");
    }
}
