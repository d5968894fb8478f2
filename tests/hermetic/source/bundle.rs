//! Source 3: bundles.

use std::time::Instant;

use super::*;

#[test]
fn t2_the_systems_roots_vouch_for_a_bundle_without_a_pin() {
    let (ca, inside) = (ca(), ca());
    let server = giving(&ca, inside.root_pem());
    let acquired = Run::new([bundle(server.url("/b.pem"))]).file(SYSTEM_BUNDLE, ca.root_pem()).succeeds();
    assert_eq!(fingerprints(&acquired), [inside.fingerprint()]);
    let report = &acquired.sources[0];
    assert!(report.replaces && report.fresh, "{report:?}");
    assert!(report.vouched_by.as_deref().is_some_and(|who| who.contains(SYSTEM_BUNDLE)), "{report:?}");

    // Not somebody else's roots.
    Run::new([bundle(server.url("/b.pem"))])
        .file(SYSTEM_BUNDLE, self::ca().root_pem())
        .fails(ErrorKind::NotTrusted, &["not issued by", SYSTEM_BUNDLE, "--bundle-sha256"]);
}

#[test]
fn t2_a_pinned_root_vouches_alone() {
    let (ca, inside, trusted) = (ca(), ca(), ca());
    let step = serve(&ca);
    let own = giving(&ca, inside.root_pem());
    let acquired =
        Run::new([bundle(own.url("/b.pem")), step_ca(step.url(), false)]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint(), inside.fingerprint()]);
    assert_eq!(acquired.sources[0].id, own.url("/b.pem"), "reports are in the request's order");
    assert!(acquired.sources[0].vouched_by.as_deref().is_some_and(|who| who.contains("pinned root")));

    // The system trusts this server, the pinned root does not.
    let foreign = giving(&trusted, inside.root_pem());
    Run::new([step_ca(step.url(), false), bundle(foreign.url("/b.pem"))])
        .pin(ca.fingerprint())
        .file(SYSTEM_BUNDLE, trusted.root_pem())
        .fails(ErrorKind::NotTrusted, &["not issued by the pinned root", "that root alone"]);
}

#[test]
fn t2_an_empty_or_damaged_store_vouches_for_nobody() {
    let ca = ca();
    let server = giving(&ca, ca.root_pem());
    for content in
        ["", "# no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        Run::new([bundle(server.url("/b.pem"))]).file(SYSTEM_BUNDLE, content).fails(
            ErrorKind::NotTrusted,
            &["holds no certificate", "update-ca-certificates", "--bundle-sha256"],
        );
    }
    assert_eq!(server.connections(), 0, "nobody vouches, so nobody is asked");
    // No store at all: the compiled-in roots, which do not know this CA.
    Run::new([bundle(server.url("/b.pem"))]).fails(ErrorKind::NotTrusted, &["compiled into trustup"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn t2_the_variables_of_openssl_name_the_systems_roots() {
    let ca = ca();
    let server = giving(&ca, ca.root_pem());
    let place = TempDir::new().expect("directory");
    let named = place.path().join("roots.pem");
    fs::write(&named, ca.root_pem()).expect("roots");
    let run = || Run::new([bundle(server.url("/b.pem"))]).file(SYSTEM_BUNDLE, self::ca().root_pem());
    assert_eq!(run().variable("SSL_CERT_FILE", named.display().to_string()).succeeds().anchors.len(), 1);
    let directories = format!("/nonexistent-for-this-test:{}", place.path().display());
    assert_eq!(run().variable("SSL_CERT_DIR", directories).succeeds().anchors.len(), 1);
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        run()
            .variable(name, "/nonexistent-for-this-test")
            .fails(ErrorKind::NotTrusted, &["holds no certificate", name]);
    }
}

#[test]
fn a_pinned_file_needs_no_host_to_be_trusted() {
    let ca = ca();
    let content = ca.root_pem();
    let sha256 = Fingerprint::of(content.as_bytes());
    let plain = WebServer::http(move |_, stream| respond(stream, 200, &[], content.as_bytes()));
    let source = |sha256| Source::Bundle { url: plain.url("/b.pem"), sha256 };
    assert_eq!(Run::new([source(Some(sha256))]).succeeds().anchors.len(), 1);
    Run::new([source(None)]).fails(ErrorKind::Usage, &["plain http", "--bundle-sha256"]);
    let wrong = Fingerprint::of(b"another file");
    let error =
        Run::new([source(Some(wrong))]).fails(ErrorKind::NotTrusted, &["expected", "received", &wrong.hex()]);
    let received = sha256.hex();
    assert!(error.what().contains(&received) && !error.hints().join(" ").contains(&received), "{error}");
    assert_eq!(plain.connections(), 2, "the refused request was never made");
}

#[test]
fn a_bundle_leaves_the_unsuitable_out_and_fails_if_nothing_is_left() {
    let ca = ca();
    let leaf = leaf(&ca);
    let broken = "-----BEGIN CERTIFICATE-----\nMAIBAA==\n-----END CERTIFICATE-----\n";
    let server = giving(&ca, pem::encode(&leaf) + broken + &ca.root_pem());
    let acquired = Run::new([bundle(server.url("/b.pem"))]).file(SYSTEM_BUNDLE, ca.root_pem()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert_eq!(acquired.left_out.len(), 2, "{:?}", acquired.left_out);
    assert!(acquired.left_out.iter().all(|left| !left.reason.is_empty()));

    let server = giving(&ca, pem::encode(&leaf));
    let error = match Run::new([bundle(server.url("/b.pem"))]).file(SYSTEM_BUNDLE, ca.root_pem()).run() {
        Ok(acquired) => panic!("{acquired:?}"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("no usable certificate"), "{error}");
}

#[test]
fn an_unreachable_bundle_is_a_warning_if_an_earlier_run_had_it() {
    let ca = ca();
    let url = format!("https://{}/b.pem", nobody());
    let run = || Run::new([bundle(&url)]).file(SYSTEM_BUNDLE, ca.root_pem());
    run().fails(ErrorKind::Unreachable, &["refused"]);

    let known = || run().knowing(&ca).previous(&url, &[ca.fingerprint()], &[]);
    let acquired = known().succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert!(!acquired.sources[0].fresh && !acquired.sources[0].replaces, "{:?}", acquired.sources);
    assert!(
        acquired.warnings[0].contains("1 of 1") && acquired.warnings[0].contains("--require-fresh"),
        "{:?}",
        acquired.warnings
    );

    known().with(|request| request.require_fresh = true).fails(ErrorKind::Unreachable, &["refused"]);
    // Recorded, but not on this system any more: there is nothing to go on with.
    run().previous(&url, &[ca.fingerprint()], &[]).fails(ErrorKind::Unreachable, &["refused"]);
    // Reached and not trusted is not unreachable.
    let foreign = giving(&self::ca(), ca.root_pem());
    let url = foreign.url("/b.pem");
    Run::new([bundle(&url)])
        .file(SYSTEM_BUNDLE, ca.root_pem())
        .knowing(&ca)
        .previous(&url, &[ca.fingerprint()], &[])
        .fails(ErrorKind::NotTrusted, &["not issued by"]);
}

#[test]
fn t5_a_root_that_left_the_bundle_may_not_come_back() {
    let (ca, gone) = (ca(), ca());
    let server = giving(&ca, ca.root_pem() + &gone.root_pem());
    let url = server.url("/b.pem");
    let run = || {
        Run::new([bundle(&url)]).file(SYSTEM_BUNDLE, ca.root_pem()).previous(
            &url,
            &[ca.fingerprint()],
            &[gone.fingerprint()],
        )
    };
    run().fails(ErrorKind::NotTrusted, &[&gone.fingerprint().hex(), "--allow-rollback"]);
    let acquired = run().with(|request| request.allow_rollback = true).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint(), gone.fingerprint()]);
}

#[test]
fn a_bundle_of_nothing_but_broken_parts_is_refused_in_time() {
    let ca = ca();
    for part in [
        "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        "-----BEGIN X-----\nAAAA\n-----END X-----\n",
    ] {
        let content = ca.root_pem() + &part.repeat(200_000);
        let sha256 = Some(Fingerprint::of(content.as_bytes()));
        let server = WebServer::http(move |_, stream| respond(stream, 200, &[], content.as_bytes()));
        let started = Instant::now();
        Run::new([Source::Bundle { url: server.url("/b.pem"), sha256 }])
            .fails(ErrorKind::Usage, &["10000 PEM blocks"]);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}
