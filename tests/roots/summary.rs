//! `status`, `doctor` and `env` of a user who may not read root's record of what trustup installed: by its summary, and by
//! what is really in the stores.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::ca::{self, Root};
use crate::support::roots::{Base, RootFs, STATE};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

const SUMMARY: &str = "var/lib/trustup-summary/summary.json";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

struct Scene {
    root: RootFs,
    ca: Root,
    before: Tree,
}

impl Scene {
    fn new(base: Base) -> Scene {
        let root = base.copy();
        fs::set_permissions(root.exchange(), fs::Permissions::from_mode(0o755)).unwrap();
        let ca = ca::root("Root of Everybody");
        ca.write(root.exchange(), "root.pem");
        let before = Tree::of(root.path());
        Scene { root, ca, before }
    }

    fn bootstrap(&self, more: &[&str]) -> Trustup {
        self.root.trustup_inside([&["bootstrap", "--ca-file", "/mnt/root.pem"], more].concat())
    }

    fn user(&self, args: &[&str]) -> Trustup {
        let before = "printf '#!/bin/sh\\nexec /usr/sbin/chroot --userspec=1000:1000 --groups=1000 \"$@\"\\n' \
                      > \"$EXCHANGE/chroot\"; chmod 755 \"$EXCHANGE/chroot\"; PATH=\"$EXCHANGE:$PATH\"";
        self.root.trustup_inside_after(before, &["HOME=/nonexistent"], args)
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_user_other_than_root_sees_what_root_installed() {
    for base in
        [Base::Debian12, Base::Debian12Bare, Base::Alpine, Base::RedHat, Base::Arch, Base::Suse, Base::Java]
    {
        let scene = Scene::new(base);
        scene.user(&["status"]).fails(4).says(["trustup installed no root here"]);
        scene.bootstrap(&[]).ok();
        for (path, wanted) in [
            (STATE.to_owned(), 0o700),
            (format!("{STATE}/state.json"), 0o600),
            ("var/lib/trustup-summary".to_owned(), 0o755),
            (SUMMARY.to_owned(), 0o644),
        ] {
            assert_eq!(mode(&scene.root.at(&path)), wanted, "{base:?} {path}");
        }
        let mut of_root = scene.root.trustup_inside(["status", "--json"]).ok().json();
        // Where it came from is not for everybody.
        of_root["anchors"][0]["sources"] = serde_json::json!([]);
        let of_user = scene.user(&["status", "--json"]).ok().json();
        assert_eq!(of_user, of_root, "{base:?}");
        assert_eq!(of_user["all_there"], true);
        assert_eq!(of_user["anchors"][0]["fingerprint"], scene.ca.fingerprint.hex());
        let run = scene.user(&["doctor"]).run();
        assert!(!run.stderr.contains("only root can read"), "{base:?}: {run}");
        assert!(run.stdout.contains("Root of Everybody"), "{base:?}: {run}");
        let run = scene.user(&["env"]).ok();
        assert!(!run.stderr.contains("no summary"), "{base:?}: {run}");

        // A second run, and one as that user, change nothing.
        let installed = Tree::of(scene.root.path());
        let run = scene.bootstrap(&["--json"]).ok();
        assert_eq!(run.json()["changed"], false);
        scene.user(&["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        installed.assert_same(&Tree::of(scene.root.path()), &format!("{base:?}: again"));

        scene.root.trustup_inside(["untrust", "--all"]).ok();
        // ca-certificates-java's hook leaves a line in dpkg's log.
        let of_dpkg = |tree: Tree| tree.without("var/log").without("var/lib/dpkg");
        of_dpkg(scene.before.clone())
            .assert_same(&of_dpkg(Tree::of(scene.root.path())), &format!("{base:?}: untrust"));
        scene.user(&["status"]).fails(4).says(["trustup installed no root here"]);
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn t34_the_summary_is_a_claim_and_the_stores_decide() {
    let scene = Scene::new(Base::Debian12);
    let bundle = scene.root.read(BUNDLE);
    scene.bootstrap(&[]).ok();
    scene.user(&["status"]).ok();
    // The bundle lost the root.
    let with_root = scene.root.read(BUNDLE);
    scene.root.write(BUNDLE, &bundle);
    let run = scene.user(&["status"]).fails(4);
    assert!(run.stdout.contains("missing    /etc/ssl/certs/ca-certificates.crt"), "{run}");
    scene.user(&["env"]).fails(4).says(["the bundle lacks"]);
    scene.root.write(BUNDLE, with_root);
    scene.user(&["status"]).ok();

    // What others than root could have written says nothing.
    let path = scene.root.at(SUMMARY);
    for open in [0o666, 0o664] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        scene.user(&["status"]).fails(1).says(["only root can read"]);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, "{").unwrap();
    scene.user(&["status"]).fails(1).says(["summary", "damaged", "trustup bootstrap"]);
    fs::write(&path, good.replace("\"schema\": 1", "\"schema\": 99")).unwrap();
    scene.user(&["status"]).fails(1).says(["a newer trustup wrote the summary"]);
    // A forged fingerprint.
    fs::write(&path, good.replace(&scene.ca.fingerprint.hex(), &"0".repeat(64))).unwrap();
    scene.user(&["status"]).fails(1).says(["damaged"]);
    // Root reads its own record, whatever the summary says, and writes the summary again.
    scene.root.trustup_inside(["status"]).ok();
    scene.bootstrap(&[]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), good);

    // An image of an older trustup: that is said, with what to do; that works.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let left = "left no summary for other users: run `trustup bootstrap` of this version as root";
    scene.user(&["status"]).fails(1).says(["only root can read", "hint: ", left]);
    scene.user(&["env"]).ok().says(["only root can read", left]);
    scene.root.trustup_inside(["status"]).ok();
    scene.bootstrap(&[]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    scene.user(&["status"]).ok();

    // A link in its place is not followed.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    fs::create_dir(scene.root.at("srv/elsewhere")).unwrap();
    std::os::unix::fs::symlink("/srv/elsewhere", path.parent().unwrap()).unwrap();
    scene.bootstrap(&[]).ok();
    assert_eq!(fs::read_dir(scene.root.at("srv/elsewhere")).unwrap().count(), 0);
    fs::remove_file(path.parent().unwrap()).unwrap();
    fs::remove_dir(scene.root.at("srv/elsewhere")).unwrap();

    scene.root.trustup_inside(["untrust", "--all"]).ok();
    let left = Tree::of(scene.root.path());
    scene.before.assert_same(&left, "untrust");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn two_builds_of_an_image_have_the_same_summary() {
    let scene = Scene::new(Base::Debian12);
    let twin = scene.root.twin();
    fs::copy(scene.root.exchange().join("root.pem"), twin.exchange().join("root.pem")).unwrap();
    let mut seen = Vec::new();
    for root in [&scene.root, &twin] {
        let variables = ["SOURCE_DATE_EPOCH=1700000000"];
        root.trustup_inside_after("", &variables, ["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        let times: Vec<_> = [SUMMARY, "var/lib/trustup-summary", "var/lib"]
            .map(|path| fs::metadata(root.at(path)).unwrap().modified().unwrap())
            .into();
        let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        assert!(times.iter().all(|time| *time == epoch), "{times:?}");
        seen.push(root.read(SUMMARY));
    }
    assert_eq!(seen[0], seen[1]);
}
