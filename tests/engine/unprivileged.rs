//! Containers without root, without capabilities, with a read-only root file system: the private store and its variables.

use crate::authority::{Authority, GREETING};
use crate::images::{Build, assert_distrusts, reach, run};

/// Builds the target as an image with a root trusted by user 1000 in it.
fn built(image: &str) -> (Authority, crate::authority::Server) {
    let authority = Authority::new("Root of an Ordinary User");
    let ca = authority.serve(&[]);
    Build::of("ordinary-user")
        .argument("CA_URL", &ca.url(""))
        .argument("CA_FINGERPRINT", &authority.fingerprint())
        .into(image)
        .passed();
    (authority, ca)
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_run_step_as_user_1000() {
    let image = "trustup-test/ordinary-user";
    let (authority, ca) = built(image);
    let server = authority.serve(&[]);
    // Nothing of the system was changed, so the client alone does not know the root.
    assert_distrusts(image, &server.url("/"));
    let asked = ca.connections();
    let said = run(image, &[], &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
    assert_eq!(ca.connections(), asked, "what the build fetched is used");
    let said = run(image, &["--entrypoint", "trustup"], &["env", "--format", "docker"]).passed();
    assert!(said.contains("SSL_CERT_FILE=/tmp/trustup-1000/ca-bundle.pem"), "{said}");
    // Those lines are what --env-file takes.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.env");
    let lines: String =
        said.lines().filter(|line| line.contains("=/tmp/")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let options = ["--entrypoint", "/client", "--env-file", file.to_str().unwrap()];
    let said = run(image, &options, &[&server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
    let other = Authority::new("Root of an Ordinary User").serve(&[]);
    run(image, &[], &["/client", &other.url("/")]).failed();
    reach(image, &server.url("/")).failed();
}

/// A new user without anything of the build, a root without capabilities, a file system that nobody can write.
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn any_user_without_capabilities_on_a_read_only_root() {
    let image = "trustup-test/hardened";
    let (authority, _ca) = built(image);
    let server = authority.serve(&[]);
    let url = server.url("/");
    for (user, options) in [
        ("1000", &["--read-only"][..]),
        ("1000", &["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]),
        ("2000", &["--read-only", "--tmpfs", "/tmp"]),
        ("1000650000:0", &["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]),
        ("0", &["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]),
        ("0", &["--cap-drop", "ALL"]),
    ] {
        let options = [&["--user", user], options].concat();
        let said = run(image, &options, &["/client", &url]).passed();
        assert!(said.contains(GREETING), "{user} {options:?}: {said}");
    }
    // Nowhere to put anything: the service is not started on trust that is not there.
    let said = run(image, &["--user", "2000", "--read-only"], &["/client", &url]).failed();
    assert!(said.contains("--private-dir") && !said.contains("x509"), "{said}");
    let said =
        run(image, &["--user", "2000", "--env", "TRUSTUP_REQUIRE_SYSTEM=true"], &["/client", &url]).failed();
    assert!(said.contains("cannot be written") && !said.contains("x509"), "{said}");
}
