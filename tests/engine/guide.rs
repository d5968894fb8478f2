//! The complete files of the guide, built and run as their pages say. Only the names of the base images are replaced by
//! those of the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::authority::{Authority, GREETING, Server};
use crate::dockerd::{Container, Ended, engine};
use crate::images::{
    assert_distrusts, assert_trusts, browsers, busybox, debian, debian_with_ca_certificates, java, run,
};
use crate::support::guide::file;
use crate::support::program::copy_for_all;
use crate::support::{binary, java::compile_client};

/// The base images of the pages, and what they are here.
fn bases() -> [(&'static str, &'static str); 3] {
    [
        ("debian:12-slim", debian()),
        ("eclipse-temurin:21-jre", java()),
        ("chromedp/headless-shell:stable", browsers()),
    ]
}

/// `docker build` in a directory with the binary and `files`, the first of which is the Dockerfile.
fn build(tag: &str, files: &[(&str, String)], arguments: &[(&str, &str)]) -> Ended {
    let context = TempDir::new().expect("directory");
    copy_for_all(binary::shipped(), context.path(), 0o755);
    for (name, text) in files {
        let mut text = text.clone();
        for (public, here) in bases().into_iter().filter(|_| name.starts_with("Dockerfile")) {
            text = text.replace(&format!("FROM {public}\n"), &format!("FROM {here}\n"));
        }
        fs::write(context.path().join(name), text).expect("file");
    }
    let mut docker = engine().docker();
    docker.args(["build", "--network", "host", "--tag", tag, "--file"]).arg(context.path().join(files[0].0));
    for (name, value) in arguments {
        docker.args(["--build-arg", &format!("{name}={value}")]);
    }
    Ended::from(docker.arg(context.path()).output().expect("client"))
}

/// An authority with a server that it vouches for.
fn authority(name: &str) -> (Authority, Server) {
    let authority = Authority::new(name);
    let server = authority.serve(&[]);
    (authority, server)
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn trust_in_an_image() {
    let (authority, server) = authority("Root of the Guide");
    let (url, pin) = (server.url(""), authority.fingerprint());
    let arguments = [("CA_URL", url.as_str()), ("CA_FINGERPRINT", &pin)];
    let files = [
        ("Dockerfile", file("trust-in-an-image.md", "Dockerfile")),
        ("Dockerfile.mounted", file("trust-in-an-image.md", "Dockerfile.mounted")),
        ("Dockerfile.scratch", file("trust-in-an-image.md", "Dockerfile.scratch")),
    ];
    for (name, text) in files {
        let tag = format!("trustup-test/guide-{}", name.to_lowercase().replace('.', "-"));
        build(&tag, &[(name, text)], &arguments).passed();
        assert_trusts(&tag, &server.url("/"));
    }
    // The mounted binary leaves nothing; what was built from nothing trusts the public roots, too.
    run("trustup-test/guide-dockerfile-mounted", &[], &["test", "!", "-e", "/trustup"]).passed();
    let status =
        run("trustup-test/guide-dockerfile-scratch", &[], &["/trustup", "--json", "status"]).passed();
    assert!(status.contains("\"anchors\""), "{status}");
    // Without the pin, the build stops, as the page says.
    let dockerfile = ("Dockerfile", file("trust-in-an-image.md", "Dockerfile"));
    build("trustup-test/never", &[dockerfile], &arguments[..1]).failed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn trust_in_a_ci_matrix() {
    let (authority, server) = authority("Root of the Matrix");
    let (url, pin) = (server.url(""), authority.fingerprint());
    for base in [debian(), debian_with_ca_certificates(), busybox()] {
        let arguments = [("BASE", base), ("CA_URL", url.as_str()), ("CA_FINGERPRINT", &pin)];
        let dockerfile = ("Dockerfile.ci", file("trust-in-an-image.md", "Dockerfile.ci"));
        build("trustup-test/guide-ci", &[dockerfile], &arguments).passed();
        assert_trusts("trustup-test/guide-ci", &server.url("/"));
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn trust_at_container_start() {
    let (authority, server) = authority("Root at the Start");
    let tag = "trustup-test/guide-start";
    build(tag, &[("Dockerfile", file("trust-at-start.md", "Dockerfile"))], &[]).passed();
    assert_distrusts(tag, &server.url("/"));
    let (url, pin) =
        (format!("CA_URL={}", server.url("")), format!("CA_FINGERPRINT={}", authority.fingerprint()));
    let options = ["--env", url.as_str(), "--env", pin.as_str()];
    let said = run(tag, &options, &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
    run(tag, &options, &[]).passed();
    // The service is not started on trust that could not be had.
    let said = run(tag, &["--env", url.as_str()], &["/client", &server.url("/")]).failed();
    assert!(said.contains("fingerprint") && !said.contains("x509"), "{said}");

    let tag = "trustup-test/guide-start-mounted";
    build(tag, &[("Dockerfile.mounted", file("trust-at-start.md", "Dockerfile.mounted"))], &[]).passed();
    let mount = TempDir::new().expect("directory");
    fs::write(mount.path().join("root.crt"), authority.pem()).expect("file");
    let volume = format!("{}:/certificates:ro", mount.path().display());
    let said = run(tag, &["--volume", &volume], &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn without_root() {
    let (authority, server) = authority("Root without Root");
    let tag = "trustup-test/guide-user";
    build(tag, &[("Dockerfile", file("without-root.md", "Dockerfile"))], &[]).passed();
    let (url, pin) =
        (format!("CA_URL={}", server.url("")), format!("CA_FINGERPRINT={}", authority.fingerprint()));
    let options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--env", &url, "--env", &pin];
    let said = run(tag, &options, &["/client", &server.url("/")]).passed();
    assert!(said.contains(GREETING), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn java_and_browsers() {
    let (authority, server) = authority("Root of Java and Browsers");
    let (url, pin) = (server.url(""), authority.fingerprint());
    let arguments = [("CA_URL", url.as_str()), ("CA_FINGERPRINT", &pin)];
    let tag = "trustup-test/guide-java";
    let dockerfile = ("Dockerfile.java", file("java-and-browsers.md", "Dockerfile.java"));
    build(tag, &[dockerfile], &arguments).passed();
    let classes = TempDir::new().expect("directory");
    compile_client(classes.path());
    let volume = format!("{}:/classes:ro", classes.path().display());
    let java = ["--volume", &volume, "--entrypoint", "java"];
    let answer = run(tag, &java, &["-cp", "/classes", "Client", &server.url("/")]).passed();
    assert_eq!(answer, "answer 200\n");

    let tag = "trustup-test/guide-browsers";
    let dockerfile = ("Dockerfile.browsers", file("java-and-browsers.md", "Dockerfile.browsers"));
    build(tag, &[dockerfile], &arguments).passed();
    let status = run(tag, &[], &["trustup", "status", "--nss-user", "root"]).passed();
    for store in ["(nss-database)", "(firefox-policy)"] {
        assert!(status.contains(store), "{status}");
    }
}

/// The image of the page enrolls from a CA in another container, and then executes its service.
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_certificate_at_the_start() {
    let command = ["trustup", "--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", "/state"];
    let place = TempDir::new().expect("directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).expect("mode");
    let volume = format!("{}:/state", place.path().display());
    let tag = "trustup-test/guide-certificate";
    let files = [
        ("Dockerfile", file("certificate.md", "Dockerfile")),
        ("trustup.toml", file("certificate.md", "trustup.toml")),
    ];
    build(tag, &files, &[]).passed();
    let options = ["--network", "host", "--volume", &volume, "--entrypoint", command[0]];
    let ca = Container::start(tag, &options, &command[1..]);
    let said = ca.ready();
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    let (url, pin) = (format!("CA_URL={}", text("url")), format!("CA_FINGERPRINT={}", text("fingerprint")));
    let password =
        format!("{}:/run/secrets/password:ro", Path::new(&place.path().join("password")).display());
    let options = ["--env", &url, "--env", &pin, "--volume", &password, "--tmpfs", "/run/tls:mode=0700"];
    let said =
        run(tag, &options, &["sh", "-c", "trustup status && ls /run/tls && stat -c %a /run/tls/server.key"]);
    let said = said.passed();
    assert!(said.contains("got `/run/tls/server.crt` for web.internal by `provisioner`"), "{said}");
    for line in ["ca.crt", "server.crt", "server.key", "600"] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}
