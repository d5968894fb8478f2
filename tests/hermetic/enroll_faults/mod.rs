//! What a broken or hostile CA can do to `enroll`: every fault ends within `--timeout` in an error that says what
//! happened, the old pair stays as it was, and memory is bounded. And what must never be seen: keys, tokens, passwords.

mod hostile_ca;
mod next_run;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use rustix::process::Signal;
use trustup::pki::key::PrivateKey;

use crate::support::binary;
use crate::support::ca::{self, pem};
use crate::support::run::{Run, Trustup};
use crate::support::servers::Port;

use self::hostile_ca::{Fault, HUGE, HostileCa, NAME, PASSWORD, PROVISIONER};

/// Faults that take all the time that they are given.
const SILENT: [Fault; 4] = [Fault::NeverAnswers, Fault::HangsHalfWay, Fault::Drips, Fault::DripsItsHead];
/// What `--timeout` says with them,
const SHORT: &str = "3s";
/// and with the others, where a busy machine has to get to the fault within it.
const USUAL: &str = "6s";
/// The longer of both.
const TIMEOUT: Duration = Duration::from_secs(6);
/// A run with a machine that is busy with other tests is late by less than this.
const LATE: Duration = Duration::from_secs(20);

/// A directory with a pair, a token and a password.
struct Scene {
    directory: tempfile::TempDir,
    ca: HostileCa,
}

/// Which way to the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A token that names the CA and its root by itself.
    Token,
    /// A token, with the root in a file.
    TokenAndRoot,
    Provisioner,
    /// By a birth certificate.
    X5c,
}

impl Scene {
    fn new(fault: Fault, at: &'static str) -> Scene {
        let scene = Scene { directory: tempfile::tempdir().unwrap(), ca: HostileCa::start(fault, at) };
        scene.put("token", &scene.ca.token());
        scene.put("password", &format!("{PASSWORD}\n"));
        scene.put("root.pem", &scene.ca.root.pem);
        let key = KeyPair::generate().unwrap();
        let mut birth = CertificateParams::new(["birth.test".to_owned()]).unwrap();
        birth.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        birth.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let birth = ca::root("Root Of Birth").sign_for(birth, &key);
        scene.put("birth.crt", &pem("CERTIFICATE", &birth));
        scene.put("birth.key", &pem("PRIVATE KEY", &key.serialize_der()));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.path(name), mode).unwrap();
    }

    /// A pair that is good, of another CA.
    fn with_old_pair(self) -> Scene {
        fs::create_dir(self.path("tls")).unwrap();
        let key = KeyPair::generate().unwrap();
        let old = ca::root("Root Of Old").sign_for(CertificateParams::new([NAME.to_owned()]).unwrap(), &key);
        self.put("tls/server.crt", &pem("CERTIFICATE", &old));
        self.put("tls/server.key", &pem("PRIVATE KEY", &key.serialize_der()));
        self
    }

    fn arguments(&self, way: Way) -> Vec<String> {
        self.arguments_within(way, USUAL)
    }

    fn arguments_within(&self, way: Way, timeout: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut arguments: Vec<String> = match way {
            Way::Token => vec!["token".to_owned(), "--token-file".to_owned(), path("token")],
            Way::TokenAndRoot => {
                vec!["token".to_owned(), NAME.to_owned(), "--token-file".to_owned(), path("token")]
            }
            Way::Provisioner => {
                let password = ["--provisioner", PROVISIONER, "--password-file"].map(str::to_owned);
                ["provisioner", NAME]
                    .map(str::to_owned)
                    .into_iter()
                    .chain(password)
                    .chain([path("password")])
                    .collect()
            }
            Way::X5c => {
                let birth =
                    ["--x5c-cert".to_owned(), path("birth.crt"), "--x5c-key".to_owned(), path("birth.key")];
                ["x5c", NAME].map(str::to_owned).into_iter().chain(birth).collect()
            }
        };
        if way != Way::Token {
            arguments.extend([
                "--ca-url".to_owned(),
                self.ca.url(),
                "--ca-root".to_owned(),
                path("root.pem"),
            ]);
        }
        let files = ["--cert".to_owned(), path("tls/server.crt"), "--key".to_owned(), path("tls/server.key")];
        arguments.extend(files);
        arguments.extend(["--force", "--timeout", timeout].map(str::to_owned));
        arguments
    }

    fn enroll(&self, way: Way) -> Trustup {
        Trustup::new(["enroll"]).args(self.arguments(way)).env("HOME", self.directory.path())
    }

    /// Everything about the pair's files.
    fn pair(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, u64, i64, i64)> {
        let look = |name: &str| {
            let (path, content) = (self.path(name), fs::read(self.path(name)).unwrap());
            let meta = fs::metadata(&path).unwrap();
            (path, (content, meta.mode(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
        };
        ["tls/server.crt", "tls/server.key"].into_iter().map(look).collect()
    }
}

/// Every file below `directory` with its content.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// The one-time tokens that a CA was shown.
fn tokens(ca: &HostileCa) -> Vec<String> {
    let token = |request: &String| {
        let body: serde_json::Value = serde_json::from_str(request.split("\r\n\r\n").nth(1)?).ok()?;
        body["ott"].as_str().map(str::to_owned)
    };
    ca.requests.lock().unwrap().iter().filter_map(token).collect()
}

/// Wants one of these exit codes and one of these words, in time, an untouched pair, and an error with a hint that no
/// terminal obeys.
#[track_caller]
fn fails(fault: Fault, at: &'static str, way: Way, codes: &[i32], words: &[&str]) -> Run {
    eprintln!("--- {way:?}: {fault:?} at {at}");
    let scene = Scene::new(fault, at).with_old_pair();
    let before = scene.pair();
    let began = Instant::now();
    // With what every try met: the last one may be cut short.
    let timeout = if SILENT.contains(&fault) { SHORT } else { USUAL };
    let run = Trustup::new(["enroll"]).args(scene.arguments_within(way, timeout)).arg("-v");
    let run = run.env("HOME", scene.directory.path()).run();
    let took = began.elapsed();
    assert!(took < TIMEOUT + LATE, "{took:?}: {run}");
    assert!(run.code.is_some_and(|code| codes.contains(&code)), "{run}");
    assert!(words.iter().any(|word| run.stderr.contains(word)), "none of {words:?}: {run}");
    assert!(run.stderr.contains("hint:"), "{run}");
    assert!(!run.stderr.contains(['\u{1b}', '\u{202e}', '\0']) && !run.stdout.contains('\u{1b}'), "{run}");
    assert!(run.stderr.len() < 8 * 1024, "{run}");
    assert_eq!(before, scene.pair(), "{run}");
    // A token is shown to the CA once, whatever comes of it; one of our own making is made anew for another try.
    let shown = tokens(&scene.ca);
    assert!(shown.len() <= 1 || matches!(way, Way::Provisioner | Way::X5c), "{} times: {run}", shown.len());
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len(), "{run}");
    for (path, content) in files(&scene.path("tls")) {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(&scene.ca.token()[..40]) && !text.contains(PASSWORD), "{}", path.display());
    }
    run
}

#[test]
fn a_ca_without_a_fault_issues() {
    for way in [Way::Token, Way::TokenAndRoot, Way::Provisioner, Way::X5c] {
        let scene = Scene::new(Fault::None, "/").with_old_pair();
        let before = scene.pair();
        let run = scene.enroll(way).arg("--json").ok();
        assert_eq!(run.json()["error"], serde_json::Value::Null, "{run}");
        let after = scene.pair();
        for (path, old) in &before {
            assert_ne!(old.0, after[path].0, "{way:?}: {}", path.display());
        }
        let key = PrivateKey::from_pem(&fs::read(scene.path("tls/server.key")).unwrap()).unwrap();
        let key = KeyPair::try_from(key.pkcs8()).unwrap();
        let chain = fs::read_to_string(scene.path("tls/server.crt")).unwrap();
        assert_eq!(ca::fingerprints(&chain).len(), 2, "leaf and intermediate");
        let (_, leaf) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
        let leaf = leaf.parse_x509().unwrap();
        assert_eq!(leaf.public_key().subject_public_key.data, key.der_bytes(), "{way:?}");
        assert_eq!((scene.ca.signed.load(Ordering::SeqCst), tokens(&scene.ca).len()), (1, 1));
    }
}

/// Each of these takes all the time that it is given.
#[test]
fn what_takes_too_long() {
    let mut cases = Vec::new();
    for fault in SILENT {
        cases.extend([Way::TokenAndRoot, Way::Provisioner].map(|way| (fault, "/1.0/sign", way)));
        cases.extend([(fault, "/provisioners", Way::Provisioner), (fault, "/root/", Way::Token)]);
        cases.push((fault, "/health", Way::TokenAndRoot));
    }
    // A few at a time: each has two programs and a server to start within its three seconds.
    for some in cases.chunks(4) {
        thread::scope(|scope| {
            for &(fault, at, way) in some {
                scope.spawn(move || fails(fault, at, way, &[6], &["time", "3 s", "3s"]));
            }
        });
    }
}

#[test]
fn what_is_wrong_with_the_connection() {
    for way in [Way::TokenAndRoot, Way::Provisioner, Way::X5c] {
        for fault in [Fault::ClosesBeforeTheHead, Fault::ClosesInTheBody] {
            let run = fails(fault, "/1.0/sign", way, &[6], &["closed", "broke", "answer"]);
            // Issued, and lost: it says so, and where the key is.
            run.says(["may have issued", ".server.key.trustup"]);
        }
        fails(Fault::AnswersBeforeTheRequestIsRead, "/1.0/sign", way, &[4], &["forbidden"]);
    }
    // What the first try left open is said, whatever the last one meets.
    for way in [Way::Provisioner, Way::X5c] {
        let run = fails(Fault::ClosesAndFallsSilent, "/1.0/sign", way, &[6], &["no complete answer"]);
        run.says(["may have issued", ".server.key.trustup"]);
    }
}

/// What one run left open stays open until a CA was asked again: the key is there for it.
#[test]
fn a_key_that_may_be_certified_outlives_a_run_that_reaches_nobody() {
    let scene = Scene::new(Fault::ClosesInTheBody, "/1.0/sign").with_old_pair();
    scene.enroll(Way::TokenAndRoot).fails(6).says(["may have issued"]);
    let pending = scene.path("tls/.server.key.trustup/key.pem");
    let key = fs::read(&pending).unwrap();
    let nobody = Port::reserve();
    let url = format!("https://127.0.0.1:{}", nobody.number());
    let arguments = scene.arguments_within(Way::TokenAndRoot, "2s");
    let arguments = arguments.into_iter().map(|one| if one == scene.ca.url() { url.clone() } else { one });
    let run = Trustup::new(["enroll"]).args(arguments).env("HOME", scene.directory.path()).fails(6);
    run.says(["refused the connection"]);
    assert_eq!(fs::read(&pending).unwrap(), key, "{run}");
}

/// The last of several tries may have no time left: what the CA said before is what helps.
#[test]
fn what_an_earlier_try_met_is_said() {
    let scene = Scene::new(Fault::ClosesAndFallsSilent, "/1.0/sign").with_old_pair();
    let run = scene.enroll(Way::Provisioner).fails(6);
    run.says([
        "no complete answer",
        "hint: the attempt before failed for another reason",
        "closed the connection",
    ]);
}

#[test]
fn what_is_wrong_with_the_answer() {
    for way in [Way::TokenAndRoot, Way::Provisioner, Way::X5c] {
        let at = "/1.0/sign";
        fails(Fault::Status(500), at, way, &[1, 6], &["500"]);
        fails(Fault::Status(503), at, way, &[1, 6], &["503"]);
        for status in [400, 401, 403] {
            let code = if status == 400 { 2 } else { 4 };
            fails(Fault::Status(status), at, way, &[code], &["refused", "hunger"]);
        }
        fails(Fault::Status(404), at, way, &[1, 4, 5, 6], &["404", "step-ca"]);
        fails(Fault::Redirect, at, way, &[2], &["307"]);
        fails(Fault::Garbage, at, way, &[1, 6], &["HTTP", "answer", "step-ca"]);
        for fault in [Fault::GarbageBody, Fault::Html, Fault::HalfPem, Fault::Empty] {
            let run = fails(fault, at, way, &[1, 4, 6], &["step-ca", "certificate", "answer"]);
            // A success that cannot be read: a certificate may have been issued.
            run.says(["may have issued", ".server.key.trustup"]);
        }
    }
    for fault in [Fault::Html, Fault::GarbageBody, Fault::Garbage, Fault::Redirect, Fault::Status(500)] {
        fails(fault, "/provisioners", Way::Provisioner, &[1, 2, 4, 6], &["step-ca", "answer", "307", "500"]);
    }
    fails(Fault::NoJwe, "/provisioners", Way::Provisioner, &[2], &["encrypted key is damaged"]);
    fails(Fault::ManyIterations, "/provisioners", Way::Provisioner, &[1, 2, 4, 5], &["iterations", "rounds"]);
    fails(Fault::AnotherProvisioner, "/provisioners", Way::Provisioner, &[1, 2, 4], &["other", PROVISIONER]);
}

/// T24, and what step takes with exit 0.
#[test]
fn what_is_wrong_with_the_certificate() {
    for way in [Way::TokenAndRoot, Way::Provisioner, Way::X5c] {
        for (fault, words) in [
            (Fault::NoIntermediate, &["no intermediate"][..]),
            (Fault::AnotherKey, &["another key"]),
            (Fault::OtherNames, &["not for"]),
            (Fault::MoreNames, &["bank.test"]),
            (Fault::Expired, &["expired"]),
            (Fault::NotYetValid, &["not valid before"]),
            (Fault::ForeignRoot, &["does not end at"]),
            (Fault::Ca, &["CA:TRUE"]),
            (Fault::LongChain, &["more than"]),
            (Fault::ManyCertificates, &["more than", "larger", "too large"]),
        ] {
            let run = fails(fault, "/1.0/sign", way, &[4, 1], words);
            assert!(!run.stderr.contains("BEGIN CERTIFICATE"), "{run}");
        }
    }
}

/// Nobody knows what became of the request: the key stays for the next run, and nothing else.
#[test]
fn a_signal_ends_the_wait_for_an_answer() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let scene = Scene::new(Fault::NeverAnswers, "/1.0/sign").with_old_pair();
        let before = scene.pair();
        // It ends because of the signal, not because of the time.
        let arguments = scene.arguments_within(Way::Token, "120s");
        let run = Trustup::new(["enroll"]).args(arguments).env("HOME", scene.directory.path()).start();
        scene.ca.wait_for("/1.0/sign");
        let began = Instant::now();
        run.signal(signal);
        let run = run.end();
        assert_eq!(run.code, Some(1), "{run}");
        run.says([&*format!("ended by {name}"), "may have reached the CA", "the next run uses it again"]);
        assert!(began.elapsed() < LATE, "{run}");
        assert_eq!(before, scene.pair());
        assert!(scene.path("tls/.server.key.trustup/key.pem").exists());
    }
}

/// The largest resident set of `trustup enroll ARGS…`, in KiB; looked at all the time, since it is gone with the process.
fn peak(arguments: &[String], home: &Path) -> (Option<i32>, u64) {
    let mut command = binary::command();
    command.env("HOME", home).arg("enroll").args(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let began = Instant::now();
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), peak);
        }
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn memory_is_bounded() {
    let honest = Scene::new(Fault::None, "/").with_old_pair();
    let (code, usual) = peak(&honest.arguments(Way::Provisioner), honest.directory.path());
    assert!(code == Some(0) && usual > 0, "{code:?}");
    for (fault, at) in [
        (Fault::Huge, "/1.0/sign"),
        (Fault::HugeWithoutLength, "/1.0/sign"),
        (Fault::Huge, "/provisioners"),
        (Fault::HugeWithoutLength, "/provisioners"),
        (Fault::EndlessPages, "/provisioners"),
    ] {
        let scene = Scene::new(fault, at).with_old_pair();
        let before = scene.pair();
        // It ends because of what is too much, not because of the time.
        let arguments = scene.arguments_within(Way::Provisioner, "120s");
        let (code, peak) = peak(&arguments, scene.directory.path());
        assert!(code.is_some_and(|code| code != 0), "{fault:?} at {at}");
        let sent = scene.ca.sent.load(Ordering::SeqCst);
        eprintln!("--- {fault:?} at {at}: {peak} KiB (usual {usual}), {sent} bytes sent");
        assert!(peak < usual + 40 * 1024, "{fault:?} at {at}: {peak} KiB");
        assert!(sent < HUGE / 4, "{fault:?} at {at}: {sent} bytes");
        assert_eq!(before, scene.pair());
        fails(fault, at, Way::Provisioner, &[1, 4, 6], &["larger", "large", "does not end", "KiB", "time"]);
    }
}

/// A token of a stranger's, where trustup.toml pins a CA: it goes to neither.
#[test]
fn t23_a_foreign_token_beside_a_pinned_ca() {
    let scene = Scene::new(Fault::None, "/").with_old_pair();
    let stranger = HostileCa::start(Fault::None, "/");
    scene.put("token", &stranger.token());
    let path = |name: &str| scene.path(name).display().to_string();
    let block = format!(
        "[[certificate]]\nnames = \"{NAME}\"\ncert = \"{}\"\nkey = \"{}\"\nenroll = {{method = \"token\", token_file = \"{}\"}}\n",
        path("tls/server.crt"),
        path("tls/server.key"),
        path("token")
    );
    let pinned = format!("[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n", scene.ca.url(), scene.ca.root.pin());
    scene.put("trustup.toml", &(pinned + &block));
    let before = scene.pair();
    let enroll = || {
        let run = Trustup::new(["enroll", "--force", "--timeout", "5s", "--config", &path("trustup.toml")]);
        run.env("HOME", scene.directory.path())
    };
    let run = enroll().run();
    assert!(run.code.is_some_and(|code| code != 0) && run.stderr.contains("hint:"), "{run}");
    assert_eq!(before, scene.pair(), "{run}");
    let sent = |ca: &HostileCa| ca.requests.lock().unwrap().iter().any(|request| request.contains("ott"));
    assert!(!sent(&scene.ca) && stranger.requests.lock().unwrap().is_empty(), "{run}");
    // T1: who names another CA gets nothing of the file's, and is told.
    let run = enroll().args(["--ca-url", &stranger.url(), "--fingerprint", &stranger.root.pin()]).ok();
    run.says(["ignored, since the command line or the environment names a CA", "trustup.toml"]);
    assert!(sent(&stranger) && !sent(&scene.ca), "{run}");
}

/// A block without `token` takes the one that a single certificate would take.
#[test]
fn a_token_need_not_be_named_in_the_file() {
    let scene = Scene::new(Fault::None, "/");
    fs::create_dir(scene.path("tls")).unwrap();
    let path = |name: &str| scene.path(name).display().to_string();
    scene.put(
        "trustup.toml",
        &format!(
            "[ca]\nurl = \"{}\"\nroot = \"{}\"\n[[certificate]]\nnames = \"{NAME}\"\ncert = \"{}\"\nkey = \"{}\"\nenroll = {{method = \"token\"}}\n",
            scene.ca.url(), path("root.pem"), path("tls/server.crt"), path("tls/server.key")
        ),
    );
    let enroll = || {
        let run = Trustup::new(["enroll", "--timeout", "20s", "--config", &path("trustup.toml")]);
        run.env("HOME", scene.directory.path())
    };
    enroll().fails(2).says(["TRUSTUP_TOKEN"]);
    enroll().env("TRUSTUP_TOKEN", scene.ca.token()).ok();
    assert_eq!(tokens(&scene.ca).len(), 1);
    // It is there now.
    enroll().ok();
}
