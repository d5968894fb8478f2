//! Trust at start: the three entry points, each in front of a service (here the TLS client), as process 1.

use crate::authority::{Authority, GREETING};
use crate::dockerd::{Container, Ended, engine};
use crate::images::{Build, assert_distrusts, run};
use crate::programs::client;
use crate::support::silent_server::SilentServer;

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn mounted_certificates() {
    let image = "trustup-test/mounted-certificates";
    Build::of("mounted-certificates").into(image).passed();
    let authority = Authority::new("Mounted Root");
    let server = authority.serve(&[]);
    assert_distrusts(image, &server.url("/"));
    // As an orchestrator mounts it: the visible name is a link through a directory whose name begins with two dots.
    let mount = tempfile::tempdir().unwrap();
    std::fs::create_dir(mount.path().join("..2026_11_23")).unwrap();
    std::fs::write(mount.path().join("..2026_11_23/root.crt"), authority.pem()).unwrap();
    std::os::unix::fs::symlink("..2026_11_23", mount.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/root.crt", mount.path().join("root.crt")).unwrap();
    let volume = format!("{}:/certificates:ro", mount.path().display());
    let said = run(image, &["--volume", &volume], &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
    // Nothing mounted: the service is not started on trust that is not there.
    let said = run(image, &[], &["/client", &server.url("/")]).failed();
    assert!(said.contains("/certificates") && !said.contains("x509"), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn bundle_from_the_web() {
    let (web, wanted) = (Authority::new("Root of the Web"), Authority::new("Root from the Bundle"));
    let bundle = web.serve(&[("/roots.pem", wanted.pem())]);
    let server = wanted.serve(&[]);
    // An image that already trusts the bundle's host.
    Build::of("debian-with-ca-certificates")
        .argument("CA_URL", &bundle.url(""))
        .argument("CA_FINGERPRINT", &web.fingerprint())
        .into("trustup-test/web-trusted")
        .passed();
    let image = "trustup-test/bundle-from-the-web";
    Build::of("bundle-from-the-web").argument("WEB_TRUSTED", "trustup-test/web-trusted").into(image).passed();
    assert_distrusts(image, &server.url("/"));
    let variable = format!("CA_BUNDLE_URL={}", bundle.url("/roots.pem"));
    let said = run(image, &["--env", &variable], &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
    // A host that the image does not trust can give it no root.
    let hostile = Authority::new("Root of an Attacker").serve(&[("/roots.pem", wanted.pem())]);
    let variable = format!("CA_BUNDLE_URL={}", hostile.url("/roots.pem"));
    run(image, &["--env", &variable], &["/client", &server.url("/")]).failed();
    assert_eq!(hostile.requests(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn pinned_root_then_bundle() {
    let image = "trustup-test/pinned-root-then-bundle";
    Build::of("pinned-root-then-bundle").into(image).passed();
    let (pinned, bundled) = (Authority::new("Pinned Root"), Authority::new("Root from the Bundle"));
    let ca = pinned.serve(&[("/roots.pem", bundled.pem())]);
    let server = bundled.serve(&[]);
    assert_distrusts(image, &ca.url("/"));
    let variables = [
        format!("CA_URL={}", ca.url("/root_ca.crt")),
        format!("CA_FINGERPRINT={}", pinned.fingerprint()),
        format!("CA_BUNDLE_URL={}", ca.url("/roots.pem")),
    ];
    let options: Vec<&str> = variables.iter().flat_map(|variable| ["--env", variable]).collect();
    for url in [server.url("/"), ca.url("/")] {
        let said = run(image, &options, &["/client", &url]).passed();
        assert!(said.contains(GREETING), "{said}");
    }

    // One variable empty, as a Dockerfile leaves it without the build argument: no start, no connection.
    let before = ca.connections();
    for empty in ["CA_FINGERPRINT=", "CA_URL="] {
        let options: Vec<&str> =
            options.iter().map(|option| if option.starts_with(empty) { empty } else { option }).collect();
        let said = run(image, &options, &["/client", &server.url("/")]).failed();
        assert!(said.contains("CA_FINGERPRINT") && !said.contains("x509"), "{empty}\n{said}");
    }
    assert_eq!(ca.connections(), before);
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_second_start_asks_no_server() {
    let image = "trustup-test/second-start";
    Build::of("pinned-root-then-bundle").into(image).passed();
    let authority = Authority::new("Root of a Second Start");
    let (ca, server) = (authority.serve(&[]), authority.serve(&[]));
    let (url, pin) =
        (format!("CA_URL={}", ca.url("")), format!("CA_FINGERPRINT={}", authority.fingerprint()));
    let name = "second-start";
    let docker = |arguments: &[&str]| Ended::from(engine().docker().args(arguments).output().unwrap());
    let volume = format!("{}:/client:ro", client().display());
    let made =
        ["create", "--name", name, "--network", "host", "--volume", &volume, "--env", &url, "--env", &pin];
    docker(&[&made[..], &[image, "/client", &server.url("/")]].concat()).passed();
    let first = docker(&["start", "--attach", name]).passed();
    let asked = ca.connections();
    let second = docker(&["start", "--attach", name]).passed();
    docker(&["rm", name]).passed();
    assert!(first.contains(GREETING) && second.contains(GREETING), "{first}\n{second}");
    assert!(asked > 0, "the first start fetches the root");
    assert_eq!(ca.connections(), asked, "the second start needs no server");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_start_that_waits_for_its_ca_ends_when_it_is_stopped() {
    let image = "trustup-test/stopped-start";
    Build::of("pinned-root-then-bundle").into(image).passed();
    let silent = SilentServer::start();
    let (url, pin) = (format!("CA_URL={}", silent.url()), format!("CA_FINGERPRINT={}", "ab".repeat(32)));
    let options = ["--network", "host", "--env", &url, "--env", &pin, "--env", "TRUSTUP_TIMEOUT=10m"];
    let container = Container::start(image, &options, &["echo", "the service"]);
    let asked = silent.asked();
    assert_eq!(container.stop(), "1", "{}", container.logs());
    drop(asked);
    let said = container.logs();
    assert!(said.contains("ended by SIGTERM") && !said.contains("the service"), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn the_service_is_process_one() {
    let image = "trustup-test/process-one";
    Build::of("mounted-certificates").into(image).passed();
    let mount = tempfile::tempdir().unwrap();
    std::fs::write(mount.path().join("root.crt"), Authority::new("Mounted Root").pem()).unwrap();
    let volume = format!("{}:/certificates:ro", mount.path().display());
    let said = run(image, &["--volume", &volume], &["readlink", "/proc/1/exe"]).passed();
    assert!(said.contains("readlink"), "{said}");
}
