//! `trustup doctor` where there is no distribution: an image from nothing, with a service in Go and nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::dockerd::Ended;
use crate::programs::client;
use crate::support::binary;
use crate::support::program::{copy_for_all, copy_program};

/// An image with trustup and what `/etc/hosts` needs.
fn image() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    copy_for_all(binary::shipped(), root.path(), 0o755);
    for directory in ["etc", "app"] {
        std::fs::create_dir(root.path().join(directory)).unwrap();
    }
    std::fs::write(root.path().join("etc/hosts"), "127.0.0.1 pki.internal\n").unwrap();
    root
}

fn inside(root: &Path, program: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new("/usr/sbin/chroot");
    binary::clear(&mut command);
    command.arg(root).arg(program).args(arguments);
    Ended::from(command.output().expect("chroot"))
}

fn json(root: &Path, arguments: &[&str], code: i32) -> Value {
    let mut command = Command::new("/usr/sbin/chroot");
    binary::clear(&mut command);
    command.arg(root).args(["/trustup", "doctor", "--json"]).args(arguments);
    let output = command.output().expect("chroot");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

/// What doctor says of the service is what the service does.
#[test]
#[ignore = "needs root and Go"]
fn a_go_service_in_an_image_from_nothing() {
    let authority = Authority::new("Root of a Service");
    let server = authority.serve(&[]);
    let url = server.url_as("pki.internal", "/");
    let root = image();
    copy_program(client(), &root.path().join("app/server"));
    for (code, verdict) in [(4, "refuses"), (0, "accepts")] {
        let answer = json(root.path(), &["--connect", &url], code);
        let clients: Vec<&Value> =
            answer["clients"].as_array().unwrap().iter().filter(|one| one["installed"] == true).collect();
        let [service] = clients.as_slice() else { panic!("trustup itself is none: {answer:#}") };
        assert_eq!((&service["client"], &service["found"]), (&"go".into(), &"/app/server".into()));
        assert_eq!((&service["verdict"], &answer["all_good"]), (&verdict.into(), &(code == 0).into()));
        assert!(service["library"].as_str().unwrap().starts_with("Go 1."), "{service:#}");
        let does = inside(root.path(), "/app/server", &[&url]);
        assert_eq!(does.code == Some(0), code == 0, "{does:?}");
        for wanted in ["go", "/app/server"] {
            let answer = json(root.path(), &["--connect", &url, "--client", wanted], code);
            assert_eq!(answer["clients"].as_array().unwrap().len(), 1, "{answer:#}");
        }
        if code == 4 {
            let (ca, pin) = (server.url_as("pki.internal", ""), authority.fingerprint());
            inside(root.path(), "/trustup", &["bootstrap", "--ca-url", &ca, "--fingerprint", &pin]).passed();
        }
    }
    json(root.path(), &["--connect", &url, "--client", "curl,go"], 4);
}

/// Nobody who could refuse is not the same as nobody who refuses.
#[test]
#[ignore = "needs root and Go"]
fn an_image_without_a_client_is_not_green() {
    let authority = Authority::new("Root of Nobody");
    let server = authority.serve(&[]);
    let root = image();
    let (ca, pin) = (server.url_as("pki.internal", ""), authority.fingerprint());
    inside(root.path(), "/trustup", &["bootstrap", "--ca-url", &ca, "--fingerprint", &pin]).passed();
    let url = server.url_as("pki.internal", "/health");
    let ended = inside(root.path(), "/trustup", &["doctor", "--connect", &url]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    for words in [
        "no TLS client was found",
        "pki.internal:",
        "hint: run this command where the client is: in its image or container, with trustup copied there",
        "hint: a program that the search does not recognise can be named: `--client /path/of/the/program`",
        "hint: `trustup status` shows whether the trust stores hold the roots that trustup installed",
    ] {
        assert!(ended.text.contains(words), "{words}: {ended:?}");
    }
    let answer = json(root.path(), &["--connect", &url], 4);
    assert_eq!(answer["all_good"], false, "{answer:#}");
    assert!(answer["search"]["files"] == 1, "{answer:#}");
    // The stores hold the root, whoever reads them.
    inside(root.path(), "/trustup", &["status"]).passed();
    // Nobody can execute it: no program for the search, and one for whoever names it.
    let server = root.path().join("app/server");
    copy_program(client(), &server);
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o644)).unwrap();
    json(root.path(), &["--connect", &url], 4);
    let named = json(root.path(), &["--connect", &url, "--client", "/app/server"], 0);
    assert_eq!(named["clients"][0]["verdict"], "accepts", "{named:#}");
    // Where the client is, it is found.
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    json(root.path(), &["--connect", &url], 0);
}
