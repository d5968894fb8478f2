//! `trustup enroll acme`, the command itself, at real servers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use tempfile::TempDir;

use trustup::pki::key::KeyType;

use super::pebble;
use crate::support::acme::{hook, key_of_other_software};
use crate::support::binary;
use crate::support::program::copy_for_all;
use crate::support::run::{Running, Trustup};
use crate::support::servers::{Bind, Caddy, Pebble, PebbleOptions, StepCa, StepCaOptions, passes, wait_for};

/// Where a pair goes, and what it is asked for with.
pub(super) struct Place {
    directory: TempDir,
}

impl Place {
    pub(super) fn new() -> Place {
        Place { directory: TempDir::new().expect("directory") }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// `trustup enroll acme NAMES…` with the pair's files.
    fn enroll(&self, names: &[&str]) -> Trustup {
        let files = [("--cert", "server.crt"), ("--key", "server.key")];
        let files = files.iter().flat_map(|(option, name)| [(*option).to_owned(), self.path(name)]);
        Trustup::new(["enroll", "acme"]).args(names).args(files)
    }

    /// The same at this pebble.
    pub(super) fn at(&self, pebble: &Pebble, names: &[&str]) -> Trustup {
        self.enroll(names)
            .args(["--directory", &pebble.directory_url(), "--agree-tos"])
            .args(["--ca-root", pebble.root_file().to_str().expect("UTF-8")])
            .args(["--http-listen", &format!("127.0.0.1:{}", pebble.http_port())])
    }

    /// What `openssl verify` says of the pair, below `root`.
    fn verify(&self, root: &Path, name: &str) {
        passes(
            Command::new("openssl")
                .args(["verify", "-verify_hostname", name, "-untrusted", &self.path("server.crt"), "-CAfile"])
                .arg(root)
                .arg(self.path("server.crt")),
        );
    }
}

#[test]
#[ignore = "needs pebble and openssl"]
fn a_pair_from_pebble_and_a_second_run_that_asks_nobody() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    let issuer = pebble.issuer_root_file();
    let pinned = ["--issuer-root", issuer.to_str().expect("UTF-8")];
    let run = place.at(&pebble, &["a.test", "b.test"]).args(pinned).arg("--json").ok();
    assert_eq!(run.json()["certificates"][0]["action"], "issued", "{run:?}");
    assert_eq!(run.json()["certificates"][0]["pinned"], true, "{run:?}");
    for name in ["a.test", "b.test"] {
        place.verify(&issuer, name);
    }
    let asked = pebble.log();
    let run = place.at(&pebble, &["a.test", "b.test"]).args(pinned).arg("--json").ok();
    assert_eq!(run.json()["changed"], false, "{run:?}");
    assert_eq!(pebble.log(), asked, "without the network");

    // Another pair with the same account is no new account.
    place.at(&pebble, &["a.test"]).args(pinned).arg("--force").ok();
    assert_eq!(pebble.log().matches("POST /sign-me-up").count(), asked.matches("POST /sign-me-up").count());
}

#[test]
#[ignore = "needs pebble"]
fn a_chain_that_nothing_pins_is_said_to_be_so() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    let run = place.at(&pebble, &["a.test"]).arg("--json").ok();
    assert_eq!(run.json()["certificates"][0]["pinned"], false, "{run:?}");
    // Another root than the one that it ends at.
    let other = pebble.root_file();
    let run = place.at(&pebble, &["a.test"]).args(["--force", "--issuer-root"]).arg(other).fails(4);
    assert!(!run.stderr.is_empty());
}

#[test]
#[ignore = "needs pebble"]
fn what_the_ca_refuses_and_what_cannot_be_have_their_exit_codes() {
    let key = b"a key of thirty-two bytes or more".to_vec();
    let external_accounts = [("kid-1".to_owned(), key.clone())].into();
    let (pebble, _dns) = pebble(PebbleOptions { external_accounts, ..PebbleOptions::default() });
    let place = Place::new();
    place.at(&pebble, &["a.test"]).fails(2).says(["--eab-kid", "--eab-hmac-key-file"]);
    let file = place.path("eab");
    std::fs::write(&file, URL_SAFE_NO_PAD.encode(&key)).expect("key");
    let account = place.path("account.pem");
    let bound = |names: &[&str]| {
        place.at(&pebble, names).args([
            "--eab-kid",
            "kid-1",
            "--eab-hmac-key-file",
            &file,
            "--account-key",
            &account,
        ])
    };
    bound(&["blocked.test"]).fails(4).says(["rejectedIdentifier", "blocked.test"]);
    bound(&["a.test"]).args(["--profile", "none"]).fails(2).says(["`default`"]);
    bound(&["*.a.test"]).fails(2).says(["dns-01"]);
    bound(&["a@b.test"]).fails(2).says(["e-mail"]);
    bound(&["a.test"]).args(["--challenge", "http-1"]).fails(2);
    bound(&["a.test"]).ok();

    // The key through a pipe, which gives it once.
    let piped = URL_SAFE_NO_PAD.encode(&key);
    let account = place.path("another.pem");
    let run = place
        .at(&pebble, &["b.test"])
        .args(["--eab-kid", "kid-1", "--eab-hmac-key-file", "-", "--account-key", &account, "--force", "-v"])
        .stdin(piped.clone())
        .ok();
    let secrets = std::fs::read_to_string(&account).expect("account");
    let mut secrets: Vec<&str> =
        secrets.lines().filter(|line| line.len() > 40 && !line.contains(' ')).collect();
    secrets.push(&piped);
    assert!(secrets.len() > 3, "the key and its lines");
    for secret in secrets {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{run:?}");
    }
    let kept = std::fs::read_to_string(&account).expect("account");
    assert!(kept.contains(&pebble.directory_url()), "{kept:?}");
    passes(Command::new("openssl").args(["pkey", "-noout", "-in", &account]));
}

#[test]
#[ignore = "needs pebble and openssl"]
fn the_end_of_life_is_that_of_the_order() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    // pebble does as it is told, whatever its profile says; the longest and the shortest that make sense.
    for (asked, seconds) in [("24h", 24 * 3600), ("400d", 400 * 24 * 3600), ("10m", 600)] {
        let run = place.at(&pebble, &["a.test"]).args(["--force", "--not-after", asked]).ok();
        assert!(!run.stderr.contains("a life of"), "{run}");
        let pem = std::fs::read(place.path("server.crt")).expect("certificate");
        let (_, block) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
        let leaf = trustup::pki::cert::Certificate::from_der(&block.contents).expect("certificate");
        let life = leaf.not_after() - leaf.not_before();
        assert!((seconds - 60..=seconds).contains(&life), "{asked}: {life}");
    }
    // What it does not know of is an error of its own.
    let run = place.at(&pebble, &["a.test"]).args(["--force", "--not-after", "2020-01-01T00:00:00Z"]).run();
    assert_ne!(run.code, Some(0), "a certificate that is over is not placed: {run}");
}

#[test]
#[ignore = "needs pebble and openssl"]
fn alternate_chains_of_pebble() {
    let (pebble, _dns) = pebble(PebbleOptions { alternate_roots: 2, ..PebbleOptions::default() });
    let place = Place::new();
    let file = |number| match number {
        0 => pebble.issuer_root_file(),
        number => pebble.alternate_root_file(number),
    };
    let name = |number| {
        let pem = std::fs::read(file(number)).expect("root");
        let (_, block) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
        let root = trustup::pki::cert::Certificate::from_der(&block.contents).expect("certificate");
        root.issuer_common_name().expect("a name")
    };
    let text = |number| file(number).to_str().expect("UTF-8").to_owned();
    for number in 0..3 {
        // By its name, and by its pin alone.
        place.at(&pebble, &["a.test"]).args(["--force", "--preferred-chain", &name(number)]).ok();
        place.verify(&file(number), "a.test");
        let run =
            place.at(&pebble, &["a.test"]).args(["--force", "--json", "--issuer-root", &text(number)]).ok();
        assert_eq!(run.json()["certificates"][0]["pinned"], true, "{run}");
        place.verify(&file(number), "a.test");
    }
    let run = place.at(&pebble, &["a.test"]).args(["--force", "--preferred-chain", "None of them"]).ok();
    run.says(["no chain to `None of them`", &*name(0), &*name(1), &*name(2)]);
    place.verify(&file(0), "a.test");
    let run = place.at(&pebble, &["a.test"]).args(["--force", "--issuer-root", &text(0)]);
    run.args(["--preferred-chain", &name(1)]).ok().says(["is not used, because it does not end at a root"]);
    place.verify(&file(0), "a.test");
}

#[test]
#[ignore = "needs pebble"]
fn t16_a_hook_gets_the_environment_without_our_secrets() {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    let seen = place.path("seen");
    let script = format!(
        "env >> {seen}\nls -l /proc/self/fd >> {seen}\nreadlink /proc/self/fd/0 >> {seen}; cat >> {seen}"
    );
    let program = hook(place.directory.path(), &script);
    // A descriptor that our caller left open. Its number is none that a small program comes to: `ls` lists the
    // descriptor that it reads the list by, too, and that is the lowest free one.
    let file = std::fs::File::open(pebble.root_file()).expect("file");
    let mut open = std::fs::File::from(rustix::io::fcntl_dupfd_cloexec(&file, 77).expect("duplicate"));
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).expect("inheritable");
    let run = place
        .at(&pebble, &["a.test"])
        .args(["--dns-hook", &program, "--dns-hook", "--zone=a", "--timeout", "10s"])
        .env("PROVIDER_API_KEY", "of the user")
        .env("PATH", "/usr/bin:/bin")
        .env("TRUSTUP_TOKEN", "hunter2")
        .env("CA_TOKEN", "hunter2")
        .env("TRUSTUP_PASSWORD_FILE", "hunter2")
        .fails(4);
    // pebble does not find the record, of course.
    run.says(["dns-01", "_acme-challenge.a.test"]);
    let seen = std::fs::read_to_string(&seen).expect("what the hook saw");
    assert!(seen.contains("PROVIDER_API_KEY=of the user") && !seen.contains("hunter2"), "{seen}");
    assert!(seen.contains(" 0 -> pipe:"), "the list was made: {seen}");
    assert!(!seen.contains("root.pem") && !seen.contains(&format!(" {} ->", open.as_raw_fd())), "{seen}");
    open.read_exact(&mut [0]).expect("still ours");
}

#[test]
#[ignore = "needs pebble and root"]
fn any_user_can_with_one_directory() {
    use std::os::unix::fs::PermissionsExt;
    const NOBODY: u32 = 65_534;
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    let mine = place.directory.path().join("mine");
    std::fs::create_dir(&mine).expect("directory");
    std::os::unix::fs::chown(&mine, Some(NOBODY), Some(NOBODY)).expect("owner");
    std::fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).expect("mode");
    let root = place.path("root.pem");
    std::fs::copy(pebble.root_file(), &root).expect("copy");
    let mine = |name: &str| mine.join(name).to_str().expect("UTF-8").to_owned();
    let binary = copy_for_all(binary::trustup(), place.directory.path(), 0o755);
    let run = || {
        Trustup::new(["enroll", "acme", "a.test", "--agree-tos", "--ca-root", &root, "--json"])
            .binary(&binary)
            .args(["--cert", &mine("server.crt"), "--key", &mine("server.key")])
            .args(["--directory", &pebble.directory_url()])
            .args(["--http-listen", &format!("127.0.0.1:{}", pebble.http_port())])
            .uid(NOBODY)
    };
    assert_eq!(run().ok().json()["changed"], true);
    assert_eq!(run().ok().json()["changed"], false);
    // Port 80 is not for everybody; what to do instead is said. (Some engines let every user have it.)
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("sysctl");
    if first.trim().parse::<u16>().expect("port") > 81 {
        let address = "127.0.0.1:81";
        // Another name: of one that it validated before, pebble asks again in 99 of 100 cases only.
        Trustup::new(["enroll", "acme", "b.test", "--agree-tos", "--ca-root", &root, "--force"])
            .binary(&binary)
            .args(["--cert", &mine("server.crt"), "--key", &mine("server.key")])
            .args(["--directory", &pebble.directory_url(), "--http-listen", address])
            .uid(NOBODY)
            .fails(1)
            .says([address, "ports below 1024 are for root", "--http-listen :8080"]);
    }
}

#[test]
#[ignore = "needs pebble and BIND"]
fn a_wildcard_by_updates_of_a_zone() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let place = Place::new();
    let key = place.path("tsig");
    std::fs::write(&key, bind.secret()).expect("key");
    let server = bind.address().to_string();
    place
        .enroll(&["*.example.test", "example.test"])
        .args(["--directory", &pebble.directory_url(), "--agree-tos"])
        .args(["--ca-root", pebble.root_file().to_str().expect("UTF-8")])
        .args(["--rfc2136-server", &server, "--rfc2136-key-name", Bind::KEY_NAME, "--rfc2136-key-file", &key])
        .ok();
    assert_eq!(bind.txt("_acme-challenge.example.test"), [""; 0], "taken away");
}

#[test]
#[ignore = "needs pebble, BIND and openssl"]
fn what_the_file_says_after_a_token_that_is_not_there() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let place = Place::new();
    std::fs::write(place.path("tsig"), bind.secret()).expect("key");
    let config = format!(
        "[ca]\nroot = \"{root}\"\n\
         [[certificate]]\nnames = [\"*.example.test\"]\ncert = \"{cert}\"\nkey = \"{key}\"\nissuer_root = \"{issuer}\"\n\
         [[certificate.enroll]]\nmethod = \"token\"\ntoken_file = \"{missing}\"\n\
         [[certificate.enroll]]\nmethod = \"acme\"\ndirectory = \"{directory}\"\nagree_tos = true\n\
         [certificate.enroll.rfc2136]\nserver = \"{server}\"\nkey_name = \"{key_name}\"\nsecret_file = \"{tsig}\"\n",
        root = pebble.root_file().display(),
        cert = place.path("server.crt"),
        key = place.path("server.key"),
        issuer = pebble.issuer_root_file().display(),
        missing = place.path("no-token"),
        directory = pebble.directory_url(),
        server = bind.address(),
        key_name = Bind::KEY_NAME,
        tsig = place.path("tsig"),
    );
    std::fs::write(place.path("trustup.toml"), config).expect("configuration");
    let run = Trustup::new(["enroll", "--json", "--config", &place.path("trustup.toml")]).ok();
    assert_eq!(run.json()["certificates"][0]["method"], "acme", "{run:?}");
    assert_eq!(run.json()["certificates"][0]["pinned"], true, "{run:?}");
    place.verify(&pebble.issuer_root_file(), "any.example.test");
}

#[test]
#[ignore = "needs step-ca and openssl"]
fn the_acme_provisioner_of_step_ca_is_found() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = Place::new();
    let listen = format!("127.0.0.1:{}", ca.http_port());
    let common = |names: &[&str]| {
        place.enroll(names).args([
            "--ca-url",
            &ca.url(),
            "--fingerprint",
            &ca.fingerprint(),
            "--http-listen",
            &listen,
        ])
    };
    let run = common(&["localhost"]).arg("--json").ok();
    assert_eq!(run.json()["certificates"][0]["pinned"], true, "{run:?}");
    place.verify(&ca.root_file(), "localhost");
    common(&["localhost"]).args(["--force", "--provisioner", StepCa::ACME]).ok();
    // Another name than those of its list is an error before its directory is asked for.
    for (name, what) in
        [("nobody", "no provisioner `nobody`"), (StepCa::PROVISIONER, "of type JWK, not ACME")]
    {
        let run = common(&["localhost"]).args(["--force", "--provisioner", name]).fails(2);
        run.says([what, &*format!("`{}`", StepCa::ACME)]);
    }
}

#[test]
#[ignore = "needs pebble, step-ca and openssl"]
fn a_certificate_that_was_issued_for_a_run_that_was_killed_is_fetched() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    let key = place.path("server.key");
    let run = place.at(&pebble, &["a.test"]).killed_before("save", &key).run();
    assert_eq!(run.code, None, "{run}");
    place.at(&pebble, &["a.test"]).arg("-v").ok().says(["resuming the order of an earlier run"]);
    place.verify(&pebble.issuer_root_file(), "a.test");
    // pebble refuses one nonce in twenty: an order that is sent again is counted by what it says of it.
    assert_eq!(pebble.log().matches("There are now 1 orders in the db").count(), 1, "{}", pebble.log());
    assert_eq!(pebble.log().matches("There are now 2 orders in the db").count(), 0, "{}", pebble.log());

    let ca = StepCa::start(StepCaOptions::default());
    let place = Place::new();
    let listen = format!("127.0.0.1:{}", ca.http_port());
    let enroll = || {
        let options =
            ["--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint(), "--http-listen", &listen, "-v"];
        place.enroll(&["localhost"]).args(options)
    };
    let run = enroll().killed_before("save", &place.path("server.key")).run();
    assert_eq!(run.code, None, "{run}");
    enroll().ok().says(["resuming the order of an earlier run"]);
    place.verify(&ca.root_file(), "localhost");
}

/// step-ca asks again and again for what it does not find, so that a signal always meets us while everything is up.
#[test]
#[ignore = "needs step-ca, BIND and openssl"]
fn a_signal_takes_everything_down_again() {
    let bind = Bind::start();
    let ca = StepCa::start(StepCaOptions { resolver: Some(bind.address()), ..StepCaOptions::default() });
    let place = Place::new();
    let webroot = TempDir::new().expect("webroot");
    let calls = place.path("calls");
    let program = hook(place.directory.path(), &format!("echo \"$1 $2\" >> {calls}"));
    let tsig = place.path("tsig");
    std::fs::write(&tsig, bind.secret()).expect("key");
    let server = bind.address().to_string();
    let enroll = |options: &[&str]| {
        place
            .enroll(&["a.example.test"])
            .args(["--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()])
            .args(options)
    };
    let name = "_acme-challenge.a.example.test";
    let by_webroot = ["--webroot", webroot.path().to_str().expect("UTF-8")];
    let by_hook = ["--challenge", "dns-01", "--dns-hook", &program];
    let by_update =
        ["--rfc2136-server", &server, "--rfc2136-key-name", Bind::KEY_NAME, "--rfc2136-key-file", &tsig];
    let files = || std::fs::read_dir(webroot.path()).expect("webroot").count();
    let called = || std::fs::read_to_string(&calls).unwrap_or_default();
    let records = || bind.txt(name);

    let run = enroll(&by_webroot).start();
    wait_for("the answer in the webroot", || (files() > 0).then_some(()));
    ended_by(run, Signal::TERM, "SIGTERM");
    assert_eq!(files(), 0, "the answer is gone");

    let run = enroll(&by_hook).start();
    wait_for("the hook's call", || called().contains("present").then_some(()));
    ended_by(run, Signal::INT, "SIGINT");
    assert_eq!(called(), format!("present {name}.\ncleanup {name}.\n"));

    // One that waits until its record is seen everywhere is not waited for, nor is one that takes no notice of signals.
    let child = place.path("child");
    for trap in ["", "trap '' TERM; "] {
        std::fs::remove_file(&calls).expect("calls");
        let wait = format!("if [ $1 = present ]; then sleep 600 & echo $! > {child}; wait; fi");
        hook(place.directory.path(), &format!("{trap}echo \"$1 $2\" >> {calls}; {wait}"));
        let run = enroll(&by_hook).start();
        let pid = wait_for("the hook's child", || {
            std::fs::read_to_string(&child).ok()?.strip_suffix('\n').map(str::to_owned)
        });
        ended_by(run, Signal::TERM, "SIGTERM");
        assert_eq!(called(), format!("present {name}.\ncleanup {name}.\n"));
        // Who has to wait for it is not ours to say.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "its children are gone, too: {stat}");
        std::fs::remove_file(&child).expect("child");
    }

    // An update of a zone that step-ca's resolver has is seen at once: a resolver that does not know it is asked.
    let elsewhere = Bind::start();
    let ca = StepCa::start(StepCaOptions { resolver: Some(elsewhere.address()), ..StepCaOptions::default() });
    let common = ["--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()];
    let run = place.enroll(&["a.example.test"]).args(common).args(by_update).start();
    wait_for("the record", || (!records().is_empty()).then_some(()));
    ended_by(run, Signal::TERM, "SIGTERM");
    assert_eq!(records(), [""; 0], "the record is gone");

    // Nothing else is left, and the next run works.
    let mut left: Vec<_> = std::fs::read_dir(place.directory.path())
        .expect("directory")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.contains("server"))
        .collect();
    left.sort();
    assert_eq!(left, [".server.key.trustup"]);
    let kept = std::fs::read_dir(place.path(".server.key.trustup")).expect("directory");
    for entry in kept {
        let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
        assert!(name.starts_with("account-") || name == "order.json", "{name} is left");
    }
    let listen = format!("127.0.0.1:{}", ca.http_port());
    place.enroll(&["a.example.test"]).args(common).args(["--http-listen", &listen]).ok();
    place.verify(&ca.root_file(), "a.example.test");
}

#[track_caller]
fn ended_by(run: Running, signal: Signal, name: &str) {
    run.signal(signal);
    let started = Instant::now();
    let run = run.end();
    assert_eq!(run.code, Some(1), "{run}");
    run.says([&*format!("ended by {name}"), "run it again"]);
    // After the two seconds that a hook gets at most; what it was in the midst of takes minutes.
    assert!(started.elapsed() < Duration::from_secs(30), "at once");
}

#[test]
#[ignore = "needs caddy, openssl and root"]
fn caddy_over_its_private_root() {
    let caddy = Caddy::acme_server();
    let place = Place::new();
    let name = caddy.identifier().to_string();
    place
        .enroll(&[&name])
        .args(["--directory", &caddy.directory_url(), "--ca-root"])
        .arg(caddy.root_file())
        .args(["--http-listen", &format!("{name}:80")])
        .ok();
    passes(
        Command::new("openssl")
            .args(["verify", "-verify_ip", &name, "-untrusted", &place.path("server.crt"), "-CAfile"])
            .arg(caddy.root_file())
            .arg(place.path("server.crt")),
    );
}

/// A key in a directory as the kubelet mounts a Secret, with this mode; its path.
fn as_a_secret(place: &Place, kind: KeyType, mode: u32) -> String {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let secret = place.path(&format!("secret-{kind}-{mode:o}"));
    let secret = Path::new(&secret);
    let data = secret.join("..2026_12_01");
    std::fs::create_dir_all(&data).expect("directories");
    let file = data.join("account.pem");
    std::fs::write(&file, key_of_other_software(kind)).expect("key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
    symlink("..2026_12_01", secret.join("..data")).expect("link");
    symlink("..data/account.pem", secret.join("account.pem")).expect("link");
    secret.join("account.pem").to_str().expect("UTF-8").to_owned()
}

/// A Kubernetes Secret is read-only, and readable by a group or by all: its key is used as it is.
#[test]
#[ignore = "needs pebble, step-ca and openssl"]
fn an_account_key_of_a_kubernetes_secret_is_used_as_it_is() {
    use std::os::unix::fs::MetadataExt as _;
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let ca = StepCa::start(StepCaOptions::default());
    let place = Place::new();
    for (kind, mode) in [
        (KeyType::Rsa2048, 0o440),
        (KeyType::EcP384, 0o440),
        (KeyType::EcP384, 0o644),
        (KeyType::EcP256, 0o400),
        (KeyType::EcP256, 0o600),
    ] {
        let key = as_a_secret(&place, kind, mode);
        let before = (std::fs::read(&key).expect("key"), std::fs::metadata(&key).expect("a file"));
        for at_pebble in [true, true, false] {
            let run = match at_pebble {
                true => place.at(&pebble, &["a.test"]),
                false => place
                    .enroll(&["localhost"])
                    .args(["--directory", &ca.acme_directory(), "--fingerprint", &ca.fingerprint()])
                    .args(["--http-listen", &format!("127.0.0.1:{}", ca.http_port())]),
            };
            let run = run.args(["--force", "--account-key", &key]).ok();
            let is_told = run.stderr.contains("every user can read the account's key");
            assert_eq!(is_told, mode & 0o004 != 0, "{kind} {mode:o}: {run}");
            let meta = std::fs::metadata(&key).expect("a file");
            assert_eq!(std::fs::read(&key).expect("key"), before.0, "{kind} {mode:o}");
            assert_eq!(
                (meta.ino(), meta.mode(), meta.mtime()),
                (before.1.ino(), before.1.mode(), before.1.mtime())
            );
            let entries = std::fs::read_dir(Path::new(&key).parent().expect("a directory")).expect("entries");
            assert_eq!(entries.count(), 3, "nothing is beside it");
        }
    }
    // What others can replace is not used.
    let key = as_a_secret(&place, KeyType::EcP256, 0o660);
    let run = place.at(&pebble, &["a.test"]).args(["--force", "--account-key", &key]).fails(1);
    run.says(["other users can replace the account's key (mode 0660)", "chmod go-w"]);
    passes(Command::new("chmod").args(["go-w", &key]));
    place.at(&pebble, &["a.test"]).args(["--force", "--account-key", &key]).ok();
}
