//! Bundles in Nix's store, and other odd places: whatever the links say, nothing below /nix changes, and what programs
//! read holds ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::stores::{Scene, shared};
use crate::support::ca::fingerprint_set;
use crate::support::tree::{Tree, inside};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const STATE: &str = "var/lib/trustup";
const STORE: &str = "nix/store/1111-nss-cacert/etc/ssl/certs/ca-bundle.crt";

/// Writes a file, its directories with it.
fn write(scene: &Scene, path: &str, content: &str) {
    let path = scene.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Makes a link, its directories with it, in place of what is there.
fn link(scene: &Scene, target: &str, path: &str) {
    let path = scene.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.symlink_metadata().is_ok() {
        fs::remove_file(&path).unwrap();
    }
    symlink(target, path).unwrap();
}

/// BusyBox with a bundle in the store, to which nothing leads yet.
fn with_store() -> Scene {
    let scene = Scene::new("busybox");
    write(&scene, STORE, &shared("ISRG_Root_X1.pem").0);
    scene
}

/// What a program reads at `path`.
#[track_caller]
fn holds_ours(scene: &Scene, path: &str) -> bool {
    let file = inside(scene.root.path(), path).unwrap_or_else(|| panic!("{path} does not resolve"));
    fingerprint_set(&fs::read_to_string(file).unwrap()).contains(&scene.ca.fingerprint)
}

fn store(root: &Path) -> Tree {
    Tree::of(&root.join("nix"))
}

/// Bootstrap twice and back: ours is read at `names`, nothing below /nix changes.
#[track_caller]
fn lives(case: &str, scene: &Scene, names: &[&str]) {
    let (first, before) = (scene.tree(), store(scene.root.path()));
    scene.bootstrap().ok();
    for name in names {
        assert!(holds_ours(scene, name), "{case}: {name}");
    }
    before.assert_same(&store(scene.root.path()), case);
    let done = scene.tree();
    let again = scene.bootstrap().arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{case}: {again}");
    done.assert_same(&scene.tree(), case);
    scene.trustup(["status"]).ok();
    scene.untrust().ok();
    first.assert_same(&scene.tree(), &format!("{case}: after untrust"));
}

#[test]
fn every_way_into_the_store() {
    let both = ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-bundle.crt"];
    type Lay = fn(&Scene);
    let cases: [(&str, &[&str], Lay); 8] = [
        ("absolute links", &both, |scene| {
            link(scene, &format!("/{STORE}"), BUNDLE);
            link(scene, &format!("/{STORE}"), "etc/ssl/certs/ca-bundle.crt");
        }),
        ("a relative link", &both[..1], |scene| link(scene, &format!("../../../{STORE}"), BUNDLE)),
        ("one known path leads to the other", &both, |scene| {
            link(scene, &format!("/{STORE}"), "etc/ssl/certs/ca-bundle.crt");
            link(scene, "ca-bundle.crt", BUNDLE);
        }),
        ("two hops, the second unknown", &both[..1], |scene| {
            link(scene, "/opt/bundle.pem", BUNDLE);
            link(scene, &format!("../{STORE}"), "opt/bundle.pem");
        }),
        ("through /etc/static", &both[..1], |scene| {
            link(scene, &format!("/{STORE}"), "nix/store/2222-etc/etc/ssl/certs/ca-certificates.crt");
            link(scene, "/nix/store/2222-etc/etc", "etc/static");
            link(scene, "/etc/static/ssl/certs/ca-certificates.crt", BUNDLE);
        }),
        ("/etc/static is a directory", &both[..1], |scene| {
            write(scene, "etc/static/ssl/certs/ca-certificates.crt", &shared("ISRG_Root_X2.pem").0);
            link(scene, "/etc/static/ssl/certs/ca-certificates.crt", BUNDLE);
        }),
        ("two bundles in the store", &both, |scene| {
            write(scene, "nix/store/3333/ca-bundle.crt", &shared("ISRG_Root_X2.pem").0);
            link(scene, &format!("/{STORE}"), BUNDLE);
            link(scene, "/nix/store/3333/ca-bundle.crt", "etc/ssl/certs/ca-bundle.crt");
        }),
        ("a link that nothing is behind any more", &both[..1], |scene| {
            link(scene, "/nix/store/gone/ca-bundle.crt", BUNDLE);
        }),
    ];
    for (case, names, lay) in cases {
        let scene = with_store();
        lay(&scene);
        eprintln!("--- {case}");
        lives(case, &scene, names);
    }
}

/// The rule belongs to no row.
#[test]
fn any_row_leaves_the_store_alone() {
    const RED_HAT: &str = "etc/pki/tls/certs/ca-bundle.crt";
    let second = "etc/ssl/certs/ca-bundle.crt";
    let cases: [(&str, &[&str]); 6] = [
        ("debian-12", &[BUNDLE, second]),
        ("alpine-3.20", &[BUNDLE, second]),
        ("photon-5", &[RED_HAT, second]),
        ("photon-4", &[RED_HAT, second]),
        ("rocky-9", &[RED_HAT]),
        ("arch", &[BUNDLE]),
    ];
    for (fixture, links) in cases {
        let scene = Scene::new(fixture);
        let there = inside(scene.root.path(), &format!("/{}", links[0])).unwrap();
        write(&scene, STORE, &fs::read_to_string(there).unwrap());
        for path in links {
            link(&scene, &format!("/{STORE}"), path);
        }
        eprintln!("--- {fixture}");
        let names: Vec<String> = links.iter().map(|path| format!("/{path}")).collect();
        lives(fixture, &scene, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_file_is_everybodys_to_read_and_the_variables_are_named() {
    let scene = Scene::new("nixos-nix-2.31");
    let answer = scene.bootstrap().arg("--json").ok().json();
    assert_eq!(scene.at(BUNDLE).symlink_metadata().unwrap().mode(), 0o100_644);
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("NIX_SSL_CERT_FILE") && !warnings.contains("security.pki"), "{answer}");
    let scene = Scene::new("nixos-25.11");
    let answer = scene.bootstrap().arg("--json").ok().json();
    assert!(answer["warnings"].to_string().contains("security.pki.certificateFiles"), "{answer}");
}

/// What NixOS and profiles do later: the links are back, with other content behind them.
#[test]
fn a_later_generation_is_seen() {
    let (more, added) = shared("NetLock_Arany.pem");
    for fixture in ["nixos-nix-2.31", "nixos-25.11", "nix-dockertools"] {
        let scene = Scene::new(fixture);
        scene.bootstrap().ok();
        write(&scene, "nix/store/9999/ca-bundle.crt", &more);
        for name in ["etc/ssl/certs/ca-bundle.crt", BUNDLE] {
            link(&scene, "/nix/store/9999/ca-bundle.crt", name);
        }
        let second = scene.tree().without(STATE);
        scene.trustup(["status"]).fails(4);
        scene.bootstrap().ok();
        assert_eq!(scene.held(BUNDLE), [scene.ca.fingerprint, added].into(), "{fixture}");
        scene.trustup(["status"]).ok();
        let again = scene.bootstrap().arg("--json").ok().json();
        assert_eq!(again["changed"], false, "{fixture}: {again}");
        scene.untrust().ok();
        for name in ["etc/ssl/certs/ca-bundle.crt", BUNDLE] {
            let target = fs::read_link(scene.at(name)).unwrap();
            assert_eq!(target, PathBuf::from("/nix/store/9999/ca-bundle.crt"), "{fixture}: {name}");
        }
        // What was put back by hand is all that may differ from the state of the new generation.
        let mut wanted = second;
        let third = wanted.lines.remove("etc/pki/tls/certs/ca-bundle.crt");
        let mut now = scene.tree();
        assert_eq!(third.is_some(), now.lines.remove("etc/pki/tls/certs/ca-bundle.crt").is_some());
        for tree in [&mut wanted, &mut now] {
            tree.lines.retain(|path, _| path.starts_with("etc/") || path.starts_with("nix/"));
        }
        wanted.assert_same(&now, fixture);
    }
}

/// An upgrade of the profile changes what is behind links that we replaced: the next run takes that over, a root that
/// the vendor withdrew included.
#[test]
fn an_upgraded_profile_is_taken_over() {
    let scene = Scene::new("nixos-nix-2.31");
    let first = scene.tree().without(STATE);
    scene.bootstrap().ok();
    let [(new, added), (kept, stays), (_, gone)] =
        ["NetLock_Arany.pem", "ISRG_Root_X1.pem", "GTS_Root_R4.pem"].map(shared);
    assert!(scene.held(BUNDLE).contains(&gone));
    let profile = "nix/store/9999-user-environment/etc/ssl/certs/ca-bundle.crt";
    write(&scene, profile, &format!("{kept}\n{new}"));
    link(&scene, "/nix/store/9999-user-environment", "nix/var/nix/profiles/default-2-link");
    link(&scene, "/nix/var/nix/profiles/default-2-link", "nix/var/nix/profiles/default");
    scene.bootstrap().ok();
    assert_eq!(scene.held(BUNDLE), [scene.ca.fingerprint, added, stays].into());
    let again = scene.bootstrap().arg("--json").ok().json();
    assert_eq!(again["changed"], false, "{again}");
    scene.untrust().ok();
    let [mut before, mut now] = [first, scene.tree()];
    for tree in [&mut before, &mut now] {
        tree.lines.retain(|path, _| path.starts_with("etc/"));
    }
    before.assert_same(&now, "the links of /etc");
}

/// A directory on the way is a link into the store: there is no link of a file to replace.
#[test]
fn a_directory_in_the_store_is_an_error_that_changes_nothing() {
    for (path, target) in [
        ("etc/ssl/certs", "/nix/store/1111-nss-cacert/etc/ssl/certs"),
        ("etc/ssl", "../nix/store/1111-nss-cacert/etc/ssl"),
    ] {
        for fixture in ["busybox", "photon-4", "ubi-9-micro-bare"] {
            let scene = Scene::new(fixture);
            write(&scene, STORE, &shared("ISRG_Root_X1.pem").0);
            let at = scene.at(path);
            if at.exists() {
                fs::remove_dir_all(&at).unwrap();
            }
            link(&scene, target, path);
            let before = scene.tree();
            let run = scene.bootstrap().fails(5);
            run.says(["Nix's store", "hint:"]);
            before.assert_same(&scene.tree(), &format!("{fixture}, {path}"));
            let facts = scene.trustup(["detect", "--json"]).ok().json();
            for output in facts["outputs"].as_array().unwrap() {
                let shut = output["real_path"].as_str().is_some_and(|real| real.starts_with("/nix/"));
                assert!(!shut || output["writable"] == false, "{facts}");
            }
            before.assert_same(&scene.tree(), "after detect");
        }
    }
}

/// A state that says we changed the store is not believed.
#[test]
fn a_state_that_names_the_store_is_refused() {
    let scene = with_store();
    link(&scene, &format!("/{STORE}"), BUNDLE);
    scene.bootstrap().ok();
    let state = scene.at("var/lib/trustup/state.json");
    let text = fs::read_to_string(&state).unwrap();
    link(&scene, &format!("/{STORE}"), BUNDLE);
    fs::write(&state, text.replace("\"/etc/ssl/certs/ca-certificates.crt\"", &format!("\"/{STORE}\"")))
        .unwrap();
    let before = scene.tree();
    scene.untrust().fails(1).says(["not a path that trustup changes"]);
    scene.bootstrap().fails(1);
    before.assert_same(&scene.tree().without("var/lib/trustup/lock"), "a planted state");
}

#[test]
fn a_copy_does_not_go_into_the_store() {
    let scene = with_store();
    let before = scene.tree();
    scene.bootstrap().args(["--ca-out", "/nix/store/copy.pem"]).fails(5).says(["Nix's store"]);
    before.assert_same(&scene.tree(), "--ca-out");
}

/// Images with no package have bundles in odd places.
#[test]
fn odd_places_of_a_bundle() {
    type Lay = fn(&Scene);
    let cases: [(&str, Lay); 6] = [
        ("the bundle is a link to nothing", |scene| link(scene, "/nowhere/bundle.pem", BUNDLE)),
        ("a relative link to nothing", |scene| link(scene, "../gone.pem", BUNDLE)),
        ("two absolute hops", |scene| {
            write(scene, "opt/real.pem", &shared("ISRG_Root_X1.pem").0);
            link(scene, "/opt/real.pem", "srv/hop.pem");
            link(scene, "/srv/hop.pem", BUNDLE);
        }),
        ("two relative hops", |scene| {
            write(scene, "opt/real.pem", &shared("ISRG_Root_X1.pem").0);
            link(scene, "../opt/real.pem", "srv/hop.pem");
            link(scene, "../../../srv/hop.pem", BUNDLE);
        }),
        ("only a later name is there, a link to nothing", |scene| {
            link(scene, "/nowhere/bundle.pem", "etc/pki/tls/certs/ca-bundle.crt");
        }),
        ("the directory is missing", |scene| assert!(!scene.at("etc/ssl").exists())),
    ];
    for (case, lay) in cases {
        let scene = with_store();
        lay(&scene);
        eprintln!("--- {case}");
        lives(case, &scene, &["/etc/ssl/certs/ca-certificates.crt"]);
    }
}
