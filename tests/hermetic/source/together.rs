//! Several sources at once, and what is known already.

use super::*;

#[test]
fn a_known_pin_needs_no_request() {
    let ca = ca();
    let server = serve(&ca);
    let id = format!("{}/roots", server.url());
    let run = |all_roots| Run::new([step_ca(server.url(), all_roots)]).pin(ca.fingerprint()).knowing(&ca);
    let acquired = run(false).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert!(acquired.anchors[0].pinned && !acquired.sources[0].contacted);
    let acquired =
        Run::new([root_url(server.url() + "/roots.pem")]).pin(ca.fingerprint()).knowing(&ca).succeeds();
    assert!(!acquired.sources[0].contacted);
    let acquired = run(true).previous(&id, &[ca.fingerprint()], &[]).succeeds();
    assert!(!acquired.sources[0].contacted);
    assert_eq!(server.connections(), 0);

    // A run without `--all-roots` recorded nothing of the other roots.
    let one = format!("{}/", server.url());
    assert!(run(true).previous(&one, &[ca.fingerprint()], &[]).succeeds().sources[0].contacted);
    assert_eq!(server.connections(), 1);

    // The other roots are not known, or are to be fresh: then the CA is asked, and only for those.
    assert!(run(true).succeeds().sources[0].contacted);
    assert_eq!(server.connections(), 2);
    let fresh =
        run(true).previous(&id, &[ca.fingerprint()], &[]).with(|request| request.require_fresh = true);
    assert!(fresh.succeeds().sources[0].contacted);
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_pin_that_a_file_meets_needs_no_request_and_is_taken_once() {
    let ca = ca();
    let server = serve(&ca);
    let place = TempDir::new().expect("directory");
    let path = place.path().join("ca.pem");
    fs::write(&path, ca.root_pem()).expect("file");
    let acquired = Run::new([step_ca(server.url(), false), file(&path), file(place.path())])
        .pin(ca.fingerprint())
        .succeeds();
    assert_eq!(acquired.anchors.len(), 1);
    assert_eq!(acquired.anchors[0].file.as_deref(), Some(path.as_path()));
    assert_eq!(server.connections(), 0);
    let contacted: Vec<bool> = acquired.sources.iter().map(|source| source.contacted).collect();
    assert_eq!(contacted, [false, true, true]);
    // Each source answers for what it brought, whoever was first, even if it is named twice.
    let server = giving(&ca, ca.root_pem());
    let twice = [bundle(server.url("/b.pem")), bundle(server.url("/b.pem")), file(&path)];
    let acquired = Run::new(twice).file(SYSTEM_BUNDLE, ca.root_pem()).succeeds();
    assert!(
        acquired.sources.iter().all(|source| source.fingerprints == [ca.fingerprint()]),
        "{:?}",
        acquired.sources
    );
}

#[test]
fn each_source_keeps_what_it_brought_before() {
    let (one, other) = (ca(), ca());
    let (first, second) = ("https://one.test/".to_owned(), "https://other.test/r.crt".to_owned());
    let acquired = Run::new([step_ca(&first, false), root_url(&second)])
        .pin(one.fingerprint())
        .pin(other.fingerprint())
        .knowing(&one)
        .knowing(&other)
        .previous(&first, &[one.fingerprint()], &[])
        .previous(&second, &[other.fingerprint()], &[])
        .succeeds();
    let brought: BTreeMap<_, _> = acquired
        .anchors
        .iter()
        .map(|anchor| (anchor.certificate.fingerprint(), anchor.source.clone()))
        .collect();
    assert_eq!(brought, BTreeMap::from([(one.fingerprint(), first), (other.fingerprint(), second)]));
}

#[test]
fn t1_a_request_that_is_wrong_asks_nobody() {
    let ca = ca();
    let server = serve(&ca);
    let from_ca_url = || Source::from_ca_url(&server.url(), false).expect("CA_URL");
    Run::new([from_ca_url()]).fails(ErrorKind::Usage, &["CA_URL", "CA_FINGERPRINT"]);
    Run::new([from_ca_url(), bundle("https://pki.test/b.pem")]).fails(ErrorKind::Usage, &["CA_FINGERPRINT"]);
    Run::new([bundle(server.url())]).pin(ca.fingerprint()).fails(ErrorKind::Usage, &["nothing to pin"]);
    Run::new([]).fails(ErrorKind::Usage, &["--ca-url"]);
    assert_eq!(server.connections(), 0);
    let acquired =
        Run::new([from_ca_url()]).with(|request| request.ca_url_pin = Some(ca.fingerprint())).succeeds();
    assert!(acquired.anchors[0].pinned);
}

#[test]
fn t17_the_proxy_is_used_and_shown_without_its_password() {
    let ca = ca();
    let server = WebServer::https(ca.issue(&["pki.test"]).expect("issued"), {
        let root = ca.root_pem();
        move |_, stream| respond(stream, 200, &[], root.as_bytes())
    });
    let proxy = ConnectProxy::to(server.address());
    let value = format!("http://bob:hunter2@{}", proxy.address());
    let run = || Run::new([root_url("https://pki.test/root.crt")]).pin(ca.fingerprint());
    let acquired = run().variable("HTTPS_PROXY", &value).succeeds();
    assert_eq!(acquired.sources[0].proxy, Some(format!("http://***@{}/", proxy.address())));
    assert_eq!(proxy.heads().len(), 1);
    run().variable("HTTPS_PROXY", "https://x").fails(ErrorKind::Usage, &["`HTTPS_PROXY`", "no_proxy"]);
    run().fails(ErrorKind::Unreachable, &["pki.test", "/etc/resolv.conf"]);
    let acquired =
        run().file("etc/hosts", "127.0.0.1 other.test\n").variable("https_proxy", &value).succeeds();
    assert!(acquired.sources[0].proxy.is_some());
}
