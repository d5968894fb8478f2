//! `bootstrap --repair`: what others damaged is mended, only with the word, and `untrust` does not bring it back.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::stores::Scene;
use crate::support::ca;
use crate::support::run::{Trustup, fixtures};
use crate::support::tree::Tree;

/// The tree without our own state, which stays as an empty directory.
fn tree(scene: &Scene) -> Tree {
    scene.tree().without("var/lib/trustup")
}

fn findings(scene: &Scene) -> Vec<String> {
    let answer = scene.trustup(["doctor", "--json"]).run().json();
    let kinds =
        answer["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap().to_owned());
    kinds.collect()
}

fn repair(scene: &Scene) -> Trustup {
    scene.trustup(["bootstrap", "--repair", "--json"])
}

/// The bundle and the hashed directory of a fixture's family, as files of the machine.
fn stores(scene: &Scene) -> (std::path::PathBuf, std::path::PathBuf) {
    let answer = scene.trustup(["detect", "--json"]).ok().json();
    let outputs = answer["outputs"].as_array().unwrap();
    let first = |kind: &str| {
        let of_kind = |one: &&Value| one["kind"] == kind && one["exists"] == true;
        let path = outputs.iter().find(of_kind).and_then(|one| one["real_path"].as_str());
        scene.at(path.unwrap_or("/none").trim_start_matches('/'))
    };
    (first("bundle"), first("hash-directory"))
}

/// All that can be mended: links, an unfinished file, blocks on one line, no line end at the end.
fn damage(scene: &Scene) {
    let (bundle, hashed) = stores(scene);
    let text = fs::read_to_string(&bundle).unwrap();
    let joined =
        text.replacen("-----END CERTIFICATE-----\n-----BEGIN", "-----END CERTIFICATE----------BEGIN", 1);
    fs::write(&bundle, joined.trim_end()).unwrap();
    if hashed.is_dir() {
        symlink("gone.pem", hashed.join("0123abcd.0")).unwrap();
        let names =
            fs::read_dir(&hashed).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut roots: Vec<String> = names.filter(|name| name.ends_with(".pem")).collect();
        roots.sort();
        if let Some(root) = roots.first() {
            symlink(root, hashed.join("0123abce.0")).unwrap();
        }
    }
    if scene.at("etc/debian_version").exists() || scene.at("etc/ca-certificates.conf").exists() {
        fs::write(scene.at("etc/ssl/certs/ca-certificates.crt.new"), "half").unwrap();
    }
}

#[test]
fn a_store_that_was_damaged_after_us_is_as_before_again() {
    for fixture in
        ["debian-12", "debian-12-customised", "alpine-3.20", "fedora-42", "opensuse-tumbleweed", "unknown-os"]
    {
        assert!(fixtures().join(fixture).exists(), "{fixture}");
        let scene = Scene::new(fixture);
        let first = tree(&scene);
        scene.bootstrap().ok();
        let sound = tree(&scene);
        let leftover = scene.at("etc/ssl/certs/ca-certificates.crt.new");
        damage(&scene);
        assert!(
            findings(&scene).contains(&"no-final-newline".to_owned()),
            "{fixture}: {:?}",
            findings(&scene)
        );
        let answer = repair(&scene).ok().json();
        assert_eq!(answer["changed"], true, "{fixture}: {answer}");
        assert_eq!(findings(&scene), [""; 0], "{fixture}");
        scene.trustup(["status"]).ok();
        // Where the family's update leaves no such file it is somebody's own.
        if fixture != "debian-12" && fixture != "debian-12-customised" && leftover.exists() {
            fs::remove_file(&leftover).unwrap();
        }
        sound.assert_same(&tree(&scene), &format!("{fixture} after the repair"));
        assert_eq!(repair(&scene).ok().json()["changed"], false, "{fixture}");
        scene.untrust().ok();
        first.assert_same(&tree(&scene), &format!("{fixture} after untrust"));
    }
}

#[test]
fn untrust_does_not_bring_back_what_was_mended() {
    for fixture in ["debian-12", "fedora-42", "unknown-os"] {
        let scene = Scene::new(fixture);
        let sound = tree(&scene);
        damage(&scene);
        // Repair and bootstrap in one run.
        let answer = scene.bootstrap().args(["--repair", "--json"]).ok().json();
        let steps = answer["plan"].as_array().unwrap();
        assert!(steps.iter().all(|step| !step["reason"].as_str().unwrap().is_empty()), "{answer}");
        assert_eq!(findings(&scene), [""; 0], "{fixture}");
        scene.trustup(["status"]).ok();
        scene.untrust().ok();
        assert_eq!(findings(&scene), [""; 0], "{fixture}");
        sound.assert_same(&tree(&scene), fixture);
        // Alone, with nothing of ours there.
        damage(&scene);
        repair(&scene).ok();
        assert_eq!(findings(&scene), [""; 0], "{fixture}");
        sound.assert_same(&tree(&scene), fixture);
        assert_eq!(repair(&scene).ok().json()["changed"], false, "{fixture}");
    }
}

#[test]
fn an_anchor_that_no_store_knew_is_in_all_of_them() {
    let scene = Scene::new("debian-12");
    let forgotten = ca::root("Forgotten");
    forgotten.write(&scene.at("usr/local/share/ca-certificates"), "forgotten.crt");
    assert_eq!(findings(&scene), ["out-of-step"]);
    repair(&scene).ok();
    assert_eq!(findings(&scene), [""; 0]);
    assert!(scene.held("etc/ssl/certs/ca-certificates.crt").contains(&forgotten.fingerprint));
    // It is the administrator's: nothing of ours is there to take out.
    scene.trustup(["status"]).fails(4).says(["installed no root here"]);
}

#[test]
fn t1_nothing_is_mended_without_the_word() {
    let scene = Scene::new("unknown-os");
    damage(&scene);
    // Looking at it changes nothing.
    let before = tree(&scene);
    let answer = repair(&scene).arg("--dry-run").ok().json();
    assert!(answer["plan"].as_array().unwrap().iter().any(|step| step["action"] == "write-file"), "{answer}");
    before.assert_same(&tree(&scene), "after --dry-run");
    scene
        .trustup(["bootstrap"])
        .env("TRUSTUP_REPAIR", "1")
        .fails(2)
        .says(["no source of certificates is given"]);
    before.assert_same(&tree(&scene), "the variable counts");
    // A bundle that programs cannot read is no place for a root: that is repaired without the word, and said.
    let (bundle, _) = stores(&scene);
    scene
        .bootstrap()
        .ok()
        .says([&*bundle.file_name().unwrap().to_string_lossy(), "was damaged before this run"]);
    assert_eq!(findings(&scene), [""; 0]);
}

#[test]
fn repair_has_its_limits() {
    let scene = Scene::new("debian-12");
    scene.trustup(["bootstrap", "--repair", "--updater", "native"]).fails(2).says(["--repair"]);
    scene.trustup(["bootstrap", "--repair", "--stores", "private"]).fails(2).says(["--repair"]);
    let pin = scene.ca.pin();
    scene
        .trustup(["bootstrap", "--repair", "--fingerprint", &pin])
        .fails(2)
        .says(["no source of certificates is given"]);
}

#[test]
fn a_repair_killed_at_every_step_is_completed_by_the_next() {
    for fixture in ["debian-12", "unknown-os"] {
        let scene = Scene::new(fixture);
        scene.bootstrap().ok();
        let sound = tree(&scene);
        let mut kills = 0;
        for step in 1.. {
            damage(&scene);
            let run = repair(&scene).killed_at(step).run();
            if run.code.is_some() {
                assert_eq!(run.code, Some(0), "{run}");
                break;
            }
            kills += 1;
            repair(&scene).ok();
            sound.assert_same(&tree(&scene), &format!("{fixture}, killed before step {step}"));
            assert_eq!(findings(&scene), [""; 0], "{fixture}");
        }
        assert!(kills > 0, "{fixture}");
        sound.assert_same(&tree(&scene), fixture);
    }
}

/// Hash links that somebody removed, or that lead to another certificate: of the vendor's roots and of ours.
#[test]
fn missing_hash_links_are_found_and_the_recommendation_makes_them() {
    let fixtures =
        ["debian-12", "alpine-3.23-ca-certificates", "fedora-42", "arch", "opensuse-tumbleweed", "photon-5"];
    for fixture in fixtures {
        let scene = Scene::new(fixture);
        let first = tree(&scene);
        scene.bootstrap().ok();
        assert!(findings(&scene).is_empty(), "{fixture}: {:?}", findings(&scene));
        let whole = tree(&scene);
        let (_, hashed) = stores(&scene);
        let links = || {
            let names = fs::read_dir(&hashed).unwrap().map(|entry| entry.unwrap().path());
            let mut links: Vec<_> =
                names.filter(|path| path.extension().is_some_and(|end| end == "0" || end == "1")).collect();
            links.sort();
            links
        };
        for all in [true, false] {
            let links = links();
            assert!(links.len() > 2, "{fixture}: {links:?}");
            let gone = if all { &links[..] } else { &links[links.len() - 1..] };
            gone.iter().for_each(|link| fs::remove_file(link).unwrap());
            let answer = scene.trustup(["doctor", "--json"]).run().json();
            let found = &answer["findings"][0];
            assert_eq!(found["kind"], "missing-hash-links", "{fixture}: {answer}");
            let command = found["first_to_change"].as_str().unwrap().split('`').nth(1).unwrap().to_owned();
            let repaired = Trustup::new(command.split(' ').skip(1)).ok();
            assert!(findings(&scene).is_empty(), "{fixture}: {repaired}");
            whole.assert_same(&tree(&scene), fixture);
        }
        // One that leads to another certificate hides the one that it should lead to.
        let links = links();
        let wrong = fs::read_link(&links[1]).unwrap_or_else(|_| links[1].clone());
        fs::remove_file(&links[0]).unwrap();
        symlink(wrong, &links[0]).unwrap();
        assert_eq!(findings(&scene), ["stale-hash-links", "missing-hash-links"], "{fixture}");
        repair(&scene).ok();
        assert!(findings(&scene).is_empty(), "{fixture}");
        whole.assert_same(&tree(&scene), fixture);
        scene.trustup(["untrust", "--all"]).ok();
        first.assert_same(&tree(&scene), fixture);
    }
}
