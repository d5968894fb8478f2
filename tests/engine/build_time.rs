//! Trust at build time: a `RUN` step of every kind of base image, and what stops a build.

use crate::authority::Authority;
use crate::dockerd::{Ended, engine};
use crate::images::{
    Build, assert_distrusts, assert_trusts, browsers, busybox, debian, debian_with_ca_certificates, java,
    laid_out_as, nix, photon, run,
};
use crate::support::java::compile_client;
use crate::support::roots::Base;

/// Builds `target` with the pinned root of a fresh authority; gives image and a server that it must reach.
fn build(target: &'static str, tag: &str, before: Option<&str>) -> (Authority, crate::authority::Server) {
    let authority = Authority::new(&format!("Root of {target}"));
    let server = authority.serve(&[]);
    if let Some(base) = before {
        assert_distrusts(base, &server.url("/"));
    }
    Build::of(target)
        .argument("CA_URL", &server.url(""))
        .argument("CA_FINGERPRINT", &authority.fingerprint())
        .into(tag)
        .passed();
    assert_trusts(tag, &server.url("/"));
    let stranger = Authority::new("Nobody's Root").serve(&[]);
    assert_distrusts(tag, &stranger.url("/"));
    (authority, server)
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn debian_without_ca_certificates() {
    build("debian", "trustup-test/built-debian", Some(debian()));
    run("trustup-test/built-debian", &[], &["trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn debian_with_ca_certificates_by_its_own_tool() {
    let tag = "trustup-test/built-debian-with-ca-certificates";
    let (_, server) = build("debian-with-ca-certificates", tag, Some(debian_with_ca_certificates()));
    // The image's own programs believe it too, each by its own way: a bundle file, a hashed directory.
    let curl = run(tag, &["--entrypoint", "curl"], &["--silent", "--show-error", &server.url("/")]).passed();
    assert!(curl.contains(crate::authority::GREETING), "{curl}");
    let address = server.url("").replace("https://", "");
    let openssl =
        ["s_client", "-connect", &address, "-verify_return_error", "-CApath", "/etc/ssl/certs", "-no-CAfile"];
    run(tag, &["--entrypoint", "openssl"], &openssl).passed();
    run("trustup-test/debian-with-ca-certificates", &["--entrypoint", "openssl"], &openssl).failed();
    run(tag, &[], &["trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn debian_without_leaving_the_binary() {
    let tag = "trustup-test/built-without-the-binary";
    build("without-the-binary", tag, Some(debian()));
    run(tag, &[], &["test", "!", "-e", "/trustup"]).passed();
}

/// The families of p11-kit: OpenSSL finds the root in the bundle and in the hashed directory.
#[track_caller]
fn laid_out(base: Base, argument: &str, target: &'static str, bundle: &str) {
    let (tag, before) = (format!("trustup-test/built-{target}"), laid_out_as(base));
    let authority = Authority::new(&format!("Root of {target}"));
    let server = authority.serve(&[]);
    assert_distrusts(before, &server.url("/"));
    let said = Build::of(target)
        .argument(argument, before)
        .argument("CA_URL", &server.url(""))
        .argument("CA_FINGERPRINT", &authority.fingerprint())
        .into(&tag)
        .passed();
    // The built-in updater says that it leaves the Java keystore alone.
    assert!(!said.contains("not by the built-in updater"), "the image's own tool did not run: {said}");
    assert_trusts(&tag, &server.url("/"));
    let address = server.url("").replace("https://", "");
    for way in [["-no-CAfile", "-CApath", "/etc/ssl/certs"], ["-no-CApath", "-CAfile", bundle]] {
        let openssl =
            [&["s_client", "-connect", &address, "-verify_return_error", "-no-CAstore"], &way[..]].concat();
        run(&tag, &["--entrypoint", "openssl"], &openssl).passed();
        run(before, &["--entrypoint", "openssl"], &openssl).failed();
    }
    run(&tag, &[], &["trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn red_hat_by_its_own_tool() {
    laid_out(Base::RedHat, "RED_HAT", "red-hat", "/etc/pki/tls/certs/ca-bundle.crt");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn arch_by_its_own_tool() {
    laid_out(Base::Arch, "ARCH", "arch", "/etc/ssl/cert.pem");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn suse_by_its_own_tool() {
    laid_out(Base::Suse, "SUSE", "suse", "/etc/ssl/ca-bundle.pem");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn bundle_only_base() {
    build("bundle-only", "trustup-test/built-bundle-only", Some(busybox()));
    run("trustup-test/built-bundle-only", &[], &["/usr/local/bin/trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn photon_by_its_own_tool() {
    let tag = "trustup-test/built-photon";
    let (_, server) = build("photon", tag, Some(photon()));
    let bundle =
        ["--silent", "--show-error", "--cacert", "/etc/pki/tls/certs/ca-bundle.crt", &server.url("/")];
    let curl = run(tag, &["--entrypoint", "curl"], &bundle).passed();
    assert!(curl.contains(crate::authority::GREETING), "{curl}");
    run("trustup-test/photon", &["--entrypoint", "curl"], &bundle).failed();
    run(tag, &[], &["trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn nix_base() {
    let tag = "trustup-test/built-nix";
    let (_, server) = build("nix", tag, Some(nix()));
    // The variables of the published image name the profile's bundle; the target's own name the file that has the root.
    let profile = "SSL_CERT_FILE=/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt";
    // Go reads a directory as well, /etc/ssl/certs unless told otherwise.
    let options = ["--env", profile, "--env", "SSL_CERT_DIR=/nowhere", "--entrypoint", "/client"];
    run(tag, &options, &[&server.url("/")]).failed();
    run(tag, &options[2..], &[&server.url("/")]).passed();
    for variable in ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "GIT_SSL_CAINFO"] {
        let format = "--format={{range .Config.Env}}{{println .}}{{end}}";
        let image = engine().docker().args(["image", "inspect", format, tag]).output().unwrap();
        let said = Ended::from(image).passed();
        assert!(said.contains(&format!("{variable}=/etc/ssl/certs/ca-bundle.crt\n")), "{said}");
    }
    run(tag, &[], &["/usr/bin/trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn java_with_its_own_keystore() {
    let authority = Authority::new("Root of java");
    let server = authority.serve(&[]);
    let directory = tempfile::tempdir().unwrap();
    compile_client(directory.path());
    let volume = format!("{}:/classes:ro", directory.path().display());
    let fetch = |image: &str| {
        let url = server.url("/");
        run(image, &["--volume", &volume, "--entrypoint", "java"], &["-cp", "/classes", "Client", &url])
            .passed()
    };
    let before = fetch(java());
    assert!(
        before.starts_with("refused ") && before.contains("unable to find valid certification path"),
        "{before}"
    );
    let tag = "trustup-test/built-java";
    Build::of("java")
        .argument("JAVA", java())
        .argument("CA_URL", &server.url(""))
        .argument("CA_FINGERPRINT", &authority.fingerprint())
        .into(tag)
        .passed();
    assert_eq!(fetch(tag), "answer 200\n");
    let status = run(tag, &[], &["trustup", "status"]).passed();
    assert!(status.contains("/etc/ssl/certs/java/cacerts (keystore)"), "{status}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn browsers_of_a_ci_image() {
    let authority = Authority::new("Root of browsers");
    let server = authority.serve(&[]);
    let dom = |image: &str| {
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--user-data-dir=/tmp/profile",
            "--dump-dom",
        ];
        let url = server.url("/");
        run(image, &["--entrypoint", "chromium"], &[&flags[..], &[&url]].concat()).passed()
    };
    let before = dom(browsers());
    assert!(before.contains("ERR_CERT_AUTHORITY_INVALID"), "{before}");
    assert!(!before.contains(crate::authority::GREETING), "{before}");
    let tag = "trustup-test/built-browsers";
    Build::of("browsers")
        .argument("BROWSERS", browsers())
        .argument("CA_URL", &server.url(""))
        .argument("CA_FINGERPRINT", &authority.fingerprint())
        .into(tag)
        .passed();
    let after = dom(tag);
    assert!(after.contains(crate::authority::GREETING), "{after}");
    let status = run(tag, &[], &["trustup", "status", "--nss-user", "root"]).passed();
    for store in [
        "/root/.local/share/pki/nssdb (nss-database)",
        "/etc/firefox/policies/policies.json (firefox-policy)",
    ] {
        assert!(status.contains(store), "{status}");
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn scratch() {
    build("from-scratch", "trustup-test/built-from-scratch", None);
    run("trustup-test/built-from-scratch", &[], &["/trustup", "status"]).passed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_wrong_pin_stops_the_build() {
    let (authority, other) = (Authority::new("Right Root"), Authority::new("Wrong Root"));
    // The server gives its root whatever is asked for, as an attacker's would.
    let server = authority.serve(&[(
        &format!("/root/{}", other.fingerprint()),
        serde_json::json!({ "ca": authority.pem() }).to_string(),
    )]);
    for target in ["debian", "debian-with-ca-certificates", "bundle-only", "from-scratch"] {
        let said = Build::of(target)
            .argument("CA_URL", &server.url(""))
            .argument("CA_FINGERPRINT", &other.fingerprint())
            .into("trustup-test/never")
            .failed();
        assert!(
            said.contains(&other.fingerprint()) && said.contains(&authority.fingerprint()),
            "{target}:\n{said}"
        );
        assert!(said.contains("hint:"), "{target}:\n{said}");
    }
    let image =
        Ended::from(engine().docker().args(["image", "inspect", "trustup-test/never"]).output().unwrap());
    image.failed();
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_missing_pin_stops_the_build_before_any_connection() {
    let server = Authority::new("Unpinned Root").serve(&[]);
    let said = Build::of("debian").argument("CA_URL", &server.url("")).into("trustup-test/never").failed();
    assert!(said.contains("CA_FINGERPRINT") || said.contains("--fingerprint"), "{said}");
    let said = Build::of("debian")
        .argument("CA_URL", &server.url(""))
        .argument("CA_FINGERPRINT", "")
        .into("trustup-test/never")
        .failed();
    assert!(said.contains("CA_FINGERPRINT"), "{said}");
    assert_eq!(server.connections(), 0);
}
