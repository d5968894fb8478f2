//! Where trust comes in (threats T1, T2, T5, T6, T8, T17): every source against honest, broken and hostile servers.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use base64::Engine as _;
use tempfile::TempDir;
use trustup::cert::{Certificate, pem};
use trustup::dev_ca::{DevCa, Server};
use trustup::env::Env;
use trustup::error::{Error, Kind, Result};
use trustup::fingerprint::Fingerprint;
use trustup::source::{Acquired, Known, PreviousSource, Request, Source, acquire_in};

use crate::servers::{ConnectProxy, Stream, WebServer, nobody, path_of, respond};

/// A request, what is known, and the system that it runs on.
struct Run {
    request: Request,
    known: Known,
    system: TempDir,
    variables: Vec<(String, String)>,
    now: i64,
}

impl Run {
    fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Run {
            request: Request {
                sources: sources.into_iter().collect(),
                pins: Vec::new(),
                ca_url_pin: None,
                require_pin: false,
                require_fresh: false,
                allow_expired: false,
                allow_intermediate: false,
                allow_rollback: false,
                timeout: Duration::from_secs(20),
                wait: None,
            },
            known: Known::default(),
            system: TempDir::new().expect("system"),
            variables: Vec::new(),
            now: Env::os().now(),
        }
    }

    fn pin(mut self, fingerprint: Fingerprint) -> Self {
        self.request.pins.push(fingerprint);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.request);
        self
    }

    fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn knowing(mut self, ca: &DevCa) -> Self {
        let certificate = certificate(ca);
        self.known.certificates.insert(certificate.fingerprint(), certificate);
        self
    }

    fn previous(mut self, id: &str, fingerprints: &[Fingerprint], removed: &[Fingerprint]) -> Self {
        let previous = PreviousSource { fingerprints: fingerprints.to_vec(), removed: removed.to_vec() };
        self.known.previous.insert(id.to_owned(), previous);
        self
    }

    /// A file of the system that trustup runs in.
    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.system.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, content).expect("file");
        self
    }

    fn run(&self) -> Result<Acquired> {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = Env::fixed(variables, self.now);
        acquire_in(self.system.path(), &self.request, &self.known, &env)
    }

    fn succeeds(self) -> Acquired {
        self.run().unwrap_or_else(|error| panic!("{error} {:?}", error.hints()))
    }

    fn fails(self, kind: Kind, words: &[&str]) -> Error {
        let error = match self.run() {
            Ok(acquired) => panic!("should have failed: {acquired:?}"),
            Err(error) => error,
        };
        let shown = format!("{error} {}", error.hints().join(" "));
        assert_eq!(error.kind(), kind, "{shown}");
        assert!(!error.hints().is_empty() || error.kind() == Kind::Failed, "no hint: {shown}");
        for word in words {
            assert!(shown.contains(word), "{word:?} is missing: {shown}");
        }
        error
    }
}

fn ca() -> Arc<DevCa> {
    Arc::new(DevCa::new(&Env::os()).expect("demo CA"))
}

fn serve(ca: &Arc<DevCa>) -> Server {
    Server::start(Arc::clone(ca), "127.0.0.1:0".parse().expect("address"), &["127.0.0.1", "localhost"])
        .expect("server")
}

fn certificate(ca: &DevCa) -> Certificate {
    Certificate::from_der(ca.root_der()).expect("root")
}

fn step_ca(url: impl Into<String>, all_roots: bool) -> Source {
    Source::StepCa { url: url.into(), all_roots, from_ca_url: false }
}

fn root_url(url: impl Into<String>) -> Source {
    Source::RootUrl { url: url.into(), from_ca_url: false }
}

fn bundle(url: impl Into<String>) -> Source {
    Source::Bundle { url: url.into(), sha256: None }
}

fn file(path: impl AsRef<Path>) -> Source {
    Source::File { path: path.as_ref().to_path_buf() }
}

fn fingerprints(acquired: &Acquired) -> Vec<Fingerprint> {
    acquired.anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect()
}

/// A leaf of `ca`, which no source may bring as a root.
fn leaf(ca: &DevCa) -> Vec<u8> {
    ca.issue(&["ca.test"]).expect("issued").chain[0].to_vec()
}

/// A private key as PEM, made now.
fn private_key() -> String {
    let issued = ca().issue(&["ca.test"]).expect("issued");
    let body = base64::engine::general_purpose::STANDARD.encode(issued.key.secret_der());
    let word = "PRIVATE";
    format!("-----BEGIN {word} KEY-----\n{body}\n-----END {word} KEY-----\n")
}

/// An HTTPS server of `ca` that gives `content` to everybody.
fn giving(ca: &DevCa, content: impl Into<Vec<u8>>) -> WebServer {
    let content = content.into();
    WebServer::https(ca.issue(&["127.0.0.1", "pki.test"]).expect("issued"), move |_, stream| {
        respond(stream, 200, &[], &content)
    })
}

// --- 1: step-ca ---

#[test]
fn a_step_ca_gives_the_pinned_root_and_nothing_is_believed_before() {
    let ca = ca();
    let server = serve(&ca);
    for url in [
        server.url(),
        format!("{}/", server.url()),
        format!("127.0.0.1:{}/some/path", server.address().port()),
    ] {
        let acquired = Run::new([step_ca(&url, false)]).pin(ca.fingerprint()).succeeds();
        assert_eq!(fingerprints(&acquired), [ca.fingerprint()], "{url}");
        assert!(acquired.anchors[0].pinned && acquired.left_out.is_empty() && acquired.warnings.is_empty());
        let report = &acquired.sources[0];
        assert_eq!(report.id, format!("{}/", server.url()));
        assert!(report.contacted && report.fresh && !report.replaces && report.proxy.is_none(), "{report:?}");
    }
}

#[test]
fn t8_a_wrong_fingerprint_shows_both_and_offers_neither() {
    let (honest, other) = (ca(), ca());
    let answer = format!("{{\"ca\":{:?}}}", other.root_pem());
    let server = giving(&honest, answer);
    let expected = honest.fingerprint();
    let error = Run::new([step_ca(server.url(""), false)])
        .pin(expected)
        .fails(Kind::NotTrusted, &["expected", "received", "step certificate fingerprint"]);
    assert!(
        error.what().contains(&expected.hex()) && error.what().contains(&other.fingerprint().hex()),
        "{error}"
    );
    assert!(
        !error.hints().join(" ").contains(&other.fingerprint().hex()),
        "a hint offers the received value"
    );

    let server = giving(&honest, other.root_pem());
    let error = Run::new([root_url(server.url("/root.crt"))])
        .pin(expected)
        .fails(Kind::NotTrusted, &["expected", "received"]);
    assert!(
        error.what().contains(&expected.hex()) && error.what().contains(&other.fingerprint().hex()),
        "{error}"
    );
    assert!(!error.hints().join(" ").contains(&other.fingerprint().hex()));
}

#[test]
fn a_root_that_the_ca_does_not_know_is_not_trusted() {
    let server = serve(&ca());
    let pin = Fingerprint::of(b"another root");
    Run::new([step_ca(server.url(), false)])
        .pin(pin)
        .fails(Kind::NotTrusted, &["does not know", &pin.hex(), "--root-url"]);
}

#[test]
fn what_is_no_step_ca_is_told_apart() {
    let ca = ca();
    let two = format!("{{\"ca\":{:?}}}", ca.root_pem() + &self::ca().root_pem());
    for (content, kind, words) in [
        ("<!DOCTYPE html><html><body>It works!</body></html>".to_owned(), Kind::Usage, "--root-url"),
        ("{}".to_owned(), Kind::Usage, "does not answer as a step-ca"),
        ("{\"ca\":\"\"}".to_owned(), Kind::Usage, "empty"),
        (two, Kind::Usage, "exactly one"),
    ] {
        let server = giving(&ca, content);
        Run::new([step_ca(server.url(""), false)]).pin(ca.fingerprint()).fails(kind, &[words]);
    }
    let server = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), |_, stream| {
        respond(stream, 500, &[], b"oops")
    });
    Run::new([step_ca(server.url(""), false)]).pin(ca.fingerprint()).fails(Kind::Failed, &["500"]);
}

#[test]
fn several_pins_are_each_asked_for_and_each_must_be_found() {
    let (one, other) = (ca(), ca());
    let (first, second) = (serve(&one), serve(&other));
    let sources = || [step_ca(first.url(), false), step_ca(second.url(), false)];
    let acquired = Run::new(sources()).pin(one.fingerprint()).pin(other.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [one.fingerprint(), other.fingerprint()]);
    assert_eq!(acquired.anchors[1].source, format!("{}/", second.url()));
    let third = Fingerprint::of(b"nobody's");
    Run::new(sources()).pin(one.fingerprint()).pin(third).fails(Kind::NotTrusted, &[&third.hex()]);
}

#[test]
fn all_roots_come_over_tls_that_the_pinned_root_verifies() {
    let ca = ca();
    let server = serve(&ca);
    let acquired = Run::new([step_ca(server.url(), true)]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert!(acquired.sources[0].vouched_by.as_deref().is_some_and(|who| who.contains("pinned root")));

    // Whoever stands in between can hand on the real root, but not speak for it.
    let (attacker, evil) = (self::ca(), self::ca());
    let (root, roots) = (
        format!("{{\"ca\":{:?}}}", ca.root_pem()),
        format!("{{\"crts\":[{:?},{:?}]}}", ca.root_pem(), evil.root_pem()),
    );
    let answer = move |head: &str, stream: &mut dyn Stream| -> io::Result<()> {
        let body = if path_of(head) == "/roots" { &roots } else { &root };
        respond(stream, 200, &[], body.as_bytes())
    };
    let between = WebServer::https(attacker.issue(&["127.0.0.1"]).expect("issued"), answer.clone());
    Run::new([step_ca(between.url(""), true)])
        .pin(ca.fingerprint())
        .fails(Kind::NotTrusted, &["not issued by"]);

    // The CA itself may name others, and they need no pin.
    let honest = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), answer);
    let acquired = Run::new([step_ca(honest.url(""), true)]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint(), evil.fingerprint()]);
    assert_eq!(acquired.anchors.iter().map(|anchor| anchor.pinned).collect::<Vec<_>>(), [true, false]);
}

// --- 2: any address ---

#[test]
fn a_root_at_any_address_is_taken_in_every_form() {
    let ca = ca();
    let other = self::ca();
    for content in
        [ca.root_pem().into_bytes(), ca.root_der().to_vec(), ca.root_pem().replace('\n', "\r\n").into_bytes()]
    {
        let server = WebServer::http(move |_, stream| respond(stream, 200, &[], &content));
        let acquired = Run::new([root_url(server.url("/root.crt"))]).pin(ca.fingerprint()).succeeds();
        assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    }
    // What is not pinned is left out and named, even among the pinned.
    let server = giving(&ca, other.root_pem() + &ca.root_pem());
    let acquired = Run::new([root_url(server.url("/roots.pem"))]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert_eq!(acquired.left_out.len(), 1);
    assert_eq!(acquired.left_out[0].fingerprint, Some(other.fingerprint()));
}

#[test]
fn what_is_no_certificate_is_an_error_with_a_hint() {
    let ca = ca();
    let pem = ca.root_pem();
    let contents: [(&str, Vec<u8>); 7] = [
        ("HTML", b"<html><body>Sign in</body></html>".to_vec()),
        ("empty", Vec::new()),
        ("garbage", vec![0xff; 300]),
        ("cut off", pem.as_bytes()[..pem.len() / 2].to_vec()),
        ("JSON", b"{\"error\":1}".to_vec()),
        ("key", private_key().into_bytes()),
        ("key behind", format!("{pem}{}", private_key()).into_bytes()),
    ];
    for (what, content) in contents {
        let server = giving(&ca, content);
        for source in [root_url(server.url("/x.crt")), step_ca(server.url(""), false)] {
            let error = Run::new([source]).pin(ca.fingerprint()).fails(Kind::Usage, &[]);
            assert!(!error.to_string().contains("BEGIN"), "{what}: content is quoted: {error}");
        }
    }
}

#[test]
fn a_pinned_leaf_is_still_no_root() {
    let ca = ca();
    let leaf = leaf(&ca);
    let server = giving(&ca, leaf.clone());
    Run::new([root_url(server.url("/leaf.crt"))])
        .pin(Fingerprint::of(&leaf))
        .fails(Kind::Usage, &["unsuitable"]);
}

#[test]
fn an_expired_root_needs_leave() {
    let ca = ca();
    let server = serve(&ca);
    let mut run = Run::new([step_ca(server.url(), false)]).pin(ca.fingerprint());
    run.now += 31 * 24 * 3600;
    run.fails(Kind::Usage, &["expired", "--allow-expired"]);
    let mut run = Run::new([step_ca(server.url(), false)])
        .pin(ca.fingerprint())
        .with(|request| request.allow_expired = true);
    run.now += 31 * 24 * 3600;
    assert_eq!(fingerprints(&run.succeeds()), [ca.fingerprint()]);
}

// --- 3: bundles ---

const SYSTEM_BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

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
        .fails(Kind::NotTrusted, &["not issued by", SYSTEM_BUNDLE, "--bundle-sha256"]);
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
        .fails(Kind::NotTrusted, &["not issued by the pinned root", "that root alone"]);
}

#[test]
fn t2_an_empty_or_damaged_store_vouches_for_nobody() {
    let ca = ca();
    let server = giving(&ca, ca.root_pem());
    for content in
        ["", "# no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        Run::new([bundle(server.url("/b.pem"))])
            .file(SYSTEM_BUNDLE, content)
            .fails(Kind::NotTrusted, &["holds no certificate", "update-ca-certificates", "--bundle-sha256"]);
    }
    assert_eq!(server.connections(), 0, "nobody vouches, so nobody is asked");
    // No store at all: the compiled-in roots, which do not know this CA.
    Run::new([bundle(server.url("/b.pem"))]).fails(Kind::NotTrusted, &["compiled into trustup"]);
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
            .fails(Kind::NotTrusted, &["holds no certificate", name]);
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
    Run::new([source(None)]).fails(Kind::Usage, &["plain http", "--bundle-sha256"]);
    let wrong = Fingerprint::of(b"another file");
    let error =
        Run::new([source(Some(wrong))]).fails(Kind::NotTrusted, &["expected", "received", &wrong.hex()]);
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
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("no usable certificate"), "{error}");
}

#[test]
fn an_unreachable_bundle_is_a_warning_if_an_earlier_run_had_it() {
    let ca = ca();
    let url = format!("https://{}/b.pem", nobody());
    let run = || Run::new([bundle(&url)]).file(SYSTEM_BUNDLE, ca.root_pem());
    run().fails(Kind::Unreachable, &["refused"]);

    let known = || run().knowing(&ca).previous(&url, &[ca.fingerprint()], &[]);
    let acquired = known().succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert!(!acquired.sources[0].fresh && !acquired.sources[0].replaces, "{:?}", acquired.sources);
    assert!(
        acquired.warnings[0].contains("1 of 1") && acquired.warnings[0].contains("--require-fresh"),
        "{:?}",
        acquired.warnings
    );

    known().with(|request| request.require_fresh = true).fails(Kind::Unreachable, &["refused"]);
    // Recorded, but not on this system any more: there is nothing to go on with.
    run().previous(&url, &[ca.fingerprint()], &[]).fails(Kind::Unreachable, &["refused"]);
    // Reached and not trusted is not unreachable.
    let foreign = giving(&self::ca(), ca.root_pem());
    let url = foreign.url("/b.pem");
    Run::new([bundle(&url)])
        .file(SYSTEM_BUNDLE, ca.root_pem())
        .knowing(&ca)
        .previous(&url, &[ca.fingerprint()], &[])
        .fails(Kind::NotTrusted, &["not issued by"]);
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
    run().fails(Kind::NotTrusted, &[&gone.fingerprint().hex(), "--allow-rollback"]);
    let acquired = run().with(|request| request.allow_rollback = true).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint(), gone.fingerprint()]);
}

// --- 4: files ---

#[test]
fn files_need_no_pin_and_directories_are_read_as_the_kubelet_mounts_them() {
    let (one, other) = (ca(), ca());
    let mount = TempDir::new().expect("mount");
    let at = |name: &str| mount.path().join(name);
    fs::create_dir_all(at("..2026_11_23/")).expect("data");
    fs::write(at("..2026_11_23/ca.crt"), one.root_pem()).expect("file");
    symlink("..2026_11_23", at("..data")).expect("link");
    symlink("..data/ca.crt", at("ca.crt")).expect("link");
    fs::write(at("other.der"), other.root_der()).expect("file");
    fs::write(at("README"), "mounted by the operator\n").expect("file");
    fs::create_dir(at("subdirectory")).expect("directory");
    symlink("nowhere", at("broken.crt")).expect("link");
    symlink("loop.crt", at("loop.crt")).expect("link");

    let acquired = Run::new([file(mount.path())]).succeeds();
    assert_eq!(fingerprints(&acquired), [one.fingerprint(), other.fingerprint()]);
    assert_eq!(acquired.anchors[0].file.as_deref(), Some(at("ca.crt").as_path()));
    let left: Vec<String> = acquired.left_out.iter().map(|left| left.source.clone()).collect();
    let wanted = ["README", "broken.crt", "loop.crt"].map(|name| at(name).display().to_string());
    assert_eq!(left, wanted);

    let acquired = Run::new([file(mount.path())]).pin(other.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [other.fingerprint()]);
    assert!(acquired.anchors[0].pinned);
}

#[test]
fn a_private_key_anywhere_fails_the_run() {
    let ca = ca();
    let mount = TempDir::new().expect("mount");
    fs::write(mount.path().join("ca.crt"), ca.root_pem()).expect("file");
    let secret = private_key();
    let body: String = secret.lines().nth(1).expect("body").to_owned();
    for (name, content) in [("tls.key", "anything"), ("TLS.KEY", ""), ("tls.txt", secret.as_str())] {
        let path = mount.path().join(name);
        fs::write(&path, content).expect("key");
        for source in [mount.path(), path.as_path()] {
            let error = Run::new([file(source)]).fails(Kind::Usage, &["private key"]);
            assert!(!format!("{error:?}").contains(&body), "the key is quoted");
        }
        fs::remove_file(path).expect("removed");
    }
    assert_eq!(Run::new([file(mount.path())]).succeeds().anchors.len(), 1);
}

#[test]
fn t6_files_that_others_can_write_are_warned_of() {
    let ca = ca();
    let mount = TempDir::new().expect("mount");
    let path = mount.path().join("ca.crt");
    fs::write(&path, ca.root_pem()).expect("file");
    let warnings = || Run::new([file(mount.path())]).succeeds().warnings;
    assert_eq!(warnings(), Vec::<String>::new());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("mode");
    assert!(warnings()[0].contains("ca.crt") && warnings()[0].contains("0666"), "{:?}", warnings());
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o777)).expect("mode");
    assert_eq!(warnings().len(), 2, "{:?}", warnings());
}

#[test]
fn t6_require_pin_makes_an_unpinned_certificate_an_error() {
    let (one, other) = (ca(), ca());
    let place = TempDir::new().expect("directory");
    let path = place.path().join("ca.pem");
    fs::write(&path, one.root_pem()).expect("file");
    let strict = |run: Run| run.with(|request| request.require_pin = true);
    strict(Run::new([file(&path)])).fails(Kind::Usage, &["--require-pin"]);
    assert_eq!(strict(Run::new([file(&path)]).pin(one.fingerprint())).succeeds().anchors.len(), 1);
    fs::write(&path, one.root_pem() + &other.root_pem()).expect("file");
    strict(Run::new([file(&path)]).pin(one.fingerprint())).fails(Kind::NotTrusted, &["not pinned"]);
}

#[test]
fn a_file_that_names_one_root_must_be_a_root() {
    let ca = ca();
    let place = TempDir::new().expect("directory");
    let path = place.path().join("x.crt");
    fs::write(&path, leaf(&ca)).expect("file");
    let error = Run::new([file(&path)]).run().expect_err("a leaf");
    assert!(error.kind() == Kind::Usage && error.what().contains("unsuitable"), "{error}");
    fs::write(&path, pem::encode(&leaf(&ca)) + &ca.root_pem()).expect("file");
    assert_eq!(
        fingerprints(&Run::new([file(&path)]).succeeds()),
        [ca.fingerprint()],
        "with several it is left out"
    );
    let missing = place.path().join("missing");
    Run::new([file(&missing)]).fails(Kind::Usage, &["no such file", "mounted"]);
}

// --- together ---

#[test]
fn a_known_pin_needs_no_request() {
    let ca = ca();
    let server = serve(&ca);
    let id = format!("{}/", server.url());
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

    // The other roots are not known, or are to be fresh: then the CA is asked, and only for those.
    assert!(run(true).succeeds().sources[0].contacted);
    assert_eq!(server.connections(), 1);
    let fresh =
        run(true).previous(&id, &[ca.fingerprint()], &[]).with(|request| request.require_fresh = true);
    assert!(fresh.succeeds().sources[0].contacted);
    assert_eq!(server.connections(), 2);
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
    assert_eq!(
        acquired.sources.iter().map(|source| source.contacted).collect::<Vec<_>>(),
        [false, true, true]
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
    Run::new([from_ca_url()]).fails(Kind::Usage, &["CA_URL", "CA_FINGERPRINT"]);
    Run::new([from_ca_url(), bundle("https://pki.test/b.pem")]).fails(Kind::Usage, &["CA_FINGERPRINT"]);
    Run::new([bundle(server.url())]).pin(ca.fingerprint()).fails(Kind::Usage, &["nothing to pin"]);
    Run::new([]).fails(Kind::Usage, &["--ca-url"]);
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
    run().variable("HTTPS_PROXY", "socks5h://x").fails(Kind::Usage, &["`HTTPS_PROXY`", "no_proxy"]);
    run().fails(Kind::Unreachable, &["pki.test", "/etc/resolv.conf"]);
    let acquired =
        run().file("etc/hosts", "127.0.0.1 other.test\n").variable("https_proxy", &value).succeeds();
    assert!(acquired.sources[0].proxy.is_some());
}
