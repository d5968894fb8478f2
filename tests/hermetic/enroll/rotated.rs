//! Secrets that are replaced while a run waits for the CA: each attempt reads them again.

use std::net::TcpListener;
use std::sync::Arc;

use trustup::dev_ca::Server;

use crate::support::enrollment::{Scene, done, write};
use crate::support::run::Trustup;
use crate::support::servers::Port;

/// The CA is down at first. After the first attempt these files get their right content, and the CA starts.
fn enrolls_after(scene: &Scene, right: &[(&str, &str)], run: impl FnOnce(Trustup) -> Trustup) {
    let port = Port::reserve();
    let down = TcpListener::bind(port.address()).expect("a listener");
    write(&scene.path("ca.pem"), scene.ca.root().to_pem().as_bytes(), 0o644);
    let url = format!("https://127.0.0.1:{}", port.number());
    let run = run(scene.plain("provisioner"))
        .args(["web.test", "--ca-url", &url, "--provisioner", scene.ca.provisioner()])
        .arg("--ca-root")
        .arg(scene.path("ca.pem"))
        .start();
    // The first attempt: it is hung up on.
    drop(down.accept().expect("a connection"));
    for (file, content) in right {
        write(&scene.path(file), content.as_bytes(), 0o600);
    }
    drop(down);
    let server = Server::start(Arc::clone(&scene.ca), port.address(), &["127.0.0.1"]).expect("the CA is up");
    let run = run.end();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(done(&run).0, "issued", "{run}");
    drop(server);
}

#[test]
fn a_password_that_is_rotated_is_read_again() {
    let scene = Scene::new();
    write(&scene.path("password"), b"yesterday's", 0o600);
    let right = [("password", scene.ca.password())];
    enrolls_after(&scene, &right, |run| run.arg("--password-file").arg(scene.path("password")));
}

#[test]
fn a_provisioners_key_that_is_rotated_is_read_again() {
    let (scene, former) = (Scene::new(), Scene::new());
    write(&scene.path("dev.jwk"), former.ca.provisioner_key().as_bytes(), 0o600);
    write(&scene.path("password"), former.ca.password().as_bytes(), 0o600);
    let right = [("dev.jwk", scene.ca.provisioner_key()), ("password", scene.ca.password())];
    enrolls_after(&scene, &right, |run| {
        let run = run.arg("--provisioner-key").arg(scene.path("dev.jwk"));
        run.arg("--password-file").arg(scene.path("password"))
    });
}

/// A stream gives its content once: it is kept for the attempts that follow.
#[test]
fn a_password_from_standard_input_is_kept() {
    let scene = Scene::new();
    let password = scene.ca.password().to_owned();
    enrolls_after(&scene, &[], |run| run.args(["--password-file", "-"]).stdin(password));
}
