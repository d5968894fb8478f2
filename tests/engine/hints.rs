//! Hints about what an engine gives a container: the situation with the real engine, the hint followed as printed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::dockerd::{Container, Ended, engine};
use crate::enroll::{bare, directory};

fn run(options: &[&str], command: &[&str]) -> Ended {
    let mut docker = engine().docker();
    docker.args(["run", "--rm"]).args(options).arg(bare()).args(command);
    Ended::from(docker.output().expect("client"))
}

/// Root without capabilities gives the files to the service: the hint names the capabilities, not "root".
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn root_without_capabilities_is_told_which() {
    let place = tempfile::tempdir().expect("directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let state = directory(place.path(), "state", 0);
    let volume = format!("{}:/state", state.display());
    let options = ["--network", "host", "--volume", &volume];
    let command = ["/trustup", "--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", "/state"];
    let ca = Container::start(bare(), &options, &command);
    let said = ca.ready();
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    let (url, pin) = (text("url"), text("fingerprint"));
    let out = directory(place.path(), "out", 0);
    let volumes = [format!("{}:/out", out.display()), format!("{}:/state:ro", state.display())];
    let enroll = |more: &[&str], owner: &[&str]| {
        let options =
            [&["--network", "host", "--volume", &volumes[0], "--volume", &volumes[1]], more].concat();
        #[rustfmt::skip]
        let command = [&[
            "/trustup", "--timeout", "10s", "enroll", "provisioner", "web.internal", "--ca-url", &url, "--fingerprint",
            &pin, "--password-file", "/state/password", "--cert", "/out/web.pem", "--key", "/out/web.key",
        ], owner].concat();
        run(&options, &command)
    };
    let dropped = ["--cap-drop", "ALL"];
    let refused = enroll(&dropped, &["--owner", "1000:1000"]).failed();
    assert!(!refused.contains("USER root"), "{refused}");
    let hint = refused.lines().find(|line| line.contains("hint: root lacks capabilities")).expect(&refused);
    let named: Vec<&str> = hint.split('`').nth(1).expect("options").split(' ').collect();
    assert_eq!(named.first(), Some(&"--cap-add"), "{hint}");
    enroll(&[&dropped[..], &named].concat(), &["--owner", "1000:1000"]).passed();
    assert_eq!(fs::metadata(out.join("web.key")).expect("key").uid(), 1000);

    // A directory of the service: its owner is named, and taken.
    let out = directory(place.path(), "of-the-service", 1000);
    let volumes = [format!("{}:/out", out.display()), volumes[1].clone()];
    let enroll = |owner: &[&str]| {
        #[rustfmt::skip]
        let command = [&[
            "/trustup", "--timeout", "10s", "enroll", "provisioner", "web.internal", "--ca-url", &url, "--fingerprint",
            &pin, "--password-file", "/state/password", "--cert", "/out/web.pem", "--key", "/out/web.key",
        ], owner].concat();
        run(&["--network", "host", "--volume", &volumes[0], "--volume", &volumes[1]], &command)
    };
    let refused = enroll(&[]).failed();
    assert!(refused.contains("`--owner 1000:1000`") && !refused.contains("chmod"), "{refused}");
    enroll(&["--owner", "1000:1000"]).passed();
    assert_eq!(ca.stop(), "0");
}

/// The engine makes a directory where the source of a file's mount is missing.
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_missing_source_of_a_mount_is_explained() {
    let place = tempfile::tempdir().expect("directory");
    let source = place.path().join("trustup.toml");
    let volume = format!("{}:/etc/trustup/trustup.toml", source.display());
    let check = || run(&["--volume", &volume], &["/trustup", "config", "check"]);
    let refused = check().failed();
    assert!(refused.contains("Docker makes an empty one where the source of `-v SOURCE:"), "{refused}");
    assert!(Path::new(&source).is_dir(), "the engine made it");
    fs::remove_dir(&source).expect("removed");
    fs::write(&source, "[trust]\nca_file = [\"/root.pem\"]\n").expect("written");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o644)).expect("mode");
    check().passed();
}
