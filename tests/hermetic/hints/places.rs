//! Hints about paths that are given: files to write, files and descriptors to read, the directory of the private store.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::trust::Steps;
use crate::support::ca;
use crate::support::enrollment::Scene;
use crate::support::hints::command;
use crate::support::run::{Trustup, unpacked};

fn open_to_all(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn outputs_are_files() {
    let mut steps = Steps::default();
    let scene = Scene::new();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let password = scene.path("password");
    let ca = ["--ca-url", &url, "--fingerprint", &pin, "--password-file", password.to_str().unwrap()];
    let enroll = |option: &str, path: &str| {
        let run = Trustup::new(["--timeout", "20s", "enroll", "provisioner", "web.test", "--force"]);
        let run = run.args(ca).env("HOME", "/none").arg(option).arg(path);
        let other = if option == "--cert" { "--key" } else { "--cert" };
        run.arg(other).arg(scene.path("other"))
    };
    let directory = scene.path("tls");
    fs::create_dir(&directory).unwrap();
    let directory = directory.to_str().unwrap();
    // The printed option, with a name for the word in capitals.
    let named = |said: &str| {
        let (option, path) = said.split_once(' ').unwrap();
        enroll(option, &path.replace("FILE", "web.crt"))
    };
    steps.other("name a file in it, such as `--cert ", enroll("--cert", directory), |refused| {
        named(&command(refused, "--cert "))
    });
    steps.other("name a file, such as `--cert ", enroll("--cert", &format!("{directory}/")), |refused| {
        named(&command(refused, "--cert "))
    });
    steps.other(
        "name a file, such as `--key /run/tls/FILE`: it is read back, and replaced when it is due",
        enroll("--key", "-"),
        |refused| named(&command(refused, "--key ").replace("/run/tls", directory)),
    );
    steps.other("name the path of a regular file", enroll("--cert", "/dev/null"), |_| {
        enroll("--cert", &format!("{directory}/regular.crt"))
    });
    let token =
        |out: &str| Trustup::new(["token", "web.test"]).args(ca).env("HOME", "/none").args(["--out", out]);
    let hint = "name the path of a regular file, or `-` for standard output";
    steps.other(hint, token("/dev/null"), |_| token(&format!("{directory}/token")));
    steps.other(hint, token("/dev/null"), |_| token("-"));
    steps.end();
}

#[test]
fn inputs_are_files_and_open_descriptors() {
    let mut steps = Steps::default();
    let scene = Scene::new();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let token = || {
        let run = Trustup::new(["token", "web.test", "--ca-url", &url, "--fingerprint", &pin]);
        run.args(["--password-file", "fd:3"]).env("HOME", "/none")
    };
    let redirection = format!("3<'{}'", scene.path("password").display());
    steps.other("open it for trustup: `trustup … 3<FILE`, or `3< <(command)` in bash", token(), |_| {
        token().redirected(&redirection)
    });
    // A directory is open, and cannot be read.
    steps.other(
        "open it for the command that reads it: `trustup … 3<FILE`, or `3< <(command)` in bash",
        token().redirected("3</"),
        |_| token().redirected(&redirection),
    );
    let root = unpacked("debian-12-minimal");
    let large = scene.path("large.pem");
    File::create(&large).unwrap().set_len(64 << 20).unwrap();
    let right = ca::root("Small Root").write(scene.directory.path(), "small.pem");
    let bootstrap = |file: &Path| Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(file);
    steps.other(
        "files of this kind are never that large: check what it is, and name or mount the right file",
        bootstrap(&large),
        |_| bootstrap(&right),
    );
    steps.end();
}

#[test]
fn the_private_store_has_a_place_of_its_own() {
    let mut steps = Steps::default();
    let home = tempfile::tempdir().unwrap();
    let root = ca::root("Private Root").write(home.path(), "root.pem");
    let bootstrap = |place: &str| {
        let run = Trustup::new(["bootstrap", "--stores", "private", "--ca-file"]).arg(&root);
        run.env("HOME", home.path()).args(["--private-dir", place])
    };
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    open_to_all(&home.path().join("planted"));
    steps.other(
        "`--private-dir DIR` names another place, in a directory that no other user can write",
        bootstrap(&at("planted")),
        |_| bootstrap(&at("mine")),
    );
    open_to_all(&home.path().join("open"));
    steps.other(
        "`--private-dir DIR` names one, in a directory that you can write and no other user can",
        bootstrap(&at("open/store")),
        |_| bootstrap(&at("another")),
    );
    steps.other("such as `--private-dir \"$PWD/.trustup\"`", bootstrap(".trustup"), |refused| {
        let option = command(refused, "--private-dir ").replace("$PWD", home.path().to_str().unwrap());
        bootstrap(option.split_once(' ').unwrap().1.trim_matches('"'))
    });
    let odd = at("odd\nname");
    bootstrap(&odd).ok();
    let plain = at("plain");
    bootstrap(&plain).ok();
    let env = |place: &str| Trustup::new(["env", "--private-dir", place]).env("HOME", home.path());
    steps.other("use a directory whose name is plain text", env(&odd), |_| env(&plain));
    steps.end();
}

/// Another program changes the bundle right before a step of the run.
#[test]
fn what_changed_during_a_run_is_no_obstacle_to_the_next() {
    let mut refusals = 0;
    for step in 1..=12 {
        let scene = crate::stores::Scene::new("debian-12");
        let running = scene.bootstrap().stopped_at(step, false).start();
        if !running.stops() {
            break;
        }
        scene.append("etc/ssl/certs/ca-certificates.crt", "# theirs\n");
        running.signal(rustix::process::Signal::CONT);
        let run = running.end();
        if run.stderr.contains("hint: run again when no other program changes the root file system") {
            refusals += 1;
        }
        scene.bootstrap().ok();
        scene.trustup(["status"]).ok();
    }
    assert!(refusals > 0);
}
