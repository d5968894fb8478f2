//! Whom it asks and believes: what is pinned, what bootstrap recorded, what a token says, and nobody else (threats T1,
//! T22).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use trustup::dev_ca::{DevCa, Server};
use trustup::host::env::Env;
use trustup::pki::cert::SubjectAltName;
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::jose::jws;
use trustup::step_ca::mint::{self, Signer};

use super::{Scene, done, write};
use crate::support::ca::root;
use crate::support::run::Trustup;

/// A token for `web.test`, written to `token`: for the CA at `url` with this root.
fn token(scene: &Scene, url: &str, root: Option<Fingerprint>) -> std::path::PathBuf {
    token_with(scene, url, root, |_| {})
}

/// The token of the scene's CA.
pub(super) fn own_token(scene: &Scene) -> std::path::PathBuf {
    token(scene, &scene.server.url(), Some(scene.ca.fingerprint()))
}

/// The same with other claims.
pub(crate) fn token_with(
    scene: &Scene,
    url: &str,
    root: Option<Fingerprint>,
    change: impl FnOnce(&mut Map<String, Value>),
) -> std::path::PathBuf {
    let names: Vec<SubjectAltName> = vec!["web.test".parse().unwrap()];
    let password = || Ok(scene.ca.password().to_owned().into_bytes().into());
    let key = mint::read_key(scene.ca.provisioner_key().as_bytes(), password).unwrap();
    let request = mint::TokenRequest {
        provisioner: scene.ca.provisioner(),
        subject: "web.test",
        names: &names,
        ca_url: &url::Url::parse(url).unwrap(),
        hosts: &[],
        root,
        now: Env::os().now(),
        valid_for: Duration::from_secs(300),
        csr: None,
    };
    let token = mint::mint(&request, &Signer::Jwk { key: &key.key, kid: &key.kid }).unwrap();
    let mut said = jws::peek(&token).unwrap();
    change(&mut said.claims);
    let token = jws::sign(&key.key, said.header, &said.claims).unwrap();
    write(&scene.path("token"), token.as_bytes(), 0o600);
    scene.path("token")
}

pub(super) fn by_token(scene: &Scene, token: &std::path::Path) -> Trustup {
    scene.plain("token").arg("--token-file").arg(token)
}

#[test]
fn t22_a_token_alone_is_enough_and_may_be_gone_afterwards() {
    let scene = Scene::new();
    let file = token(&scene, &scene.server.url(), Some(scene.ca.fingerprint()));
    assert_eq!(done(&by_token(&scene, &file).ok()).0, "issued");
    scene.pair();
    let connections = scene.server.connections();
    assert_eq!(done(&by_token(&scene, &file).ok()).0, "kept");
    // Secrets are taken away, containers are started again.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(done(&by_token(&scene, &file).ok()).0, "kept");
    assert_eq!(done(&scene.plain("token").ok()).0, "kept");
    assert_eq!(scene.server.connections(), connections);
    let run = scene.plain("token").arg("--force").fails(2);
    run.says(["make one on the CA's host"]);
}

#[test]
fn a_token_works_once_and_a_second_time_that_is_said() {
    let scene = Scene::new();
    let file = token(&scene, &scene.server.url(), Some(scene.ca.fingerprint()));
    by_token(&scene, &file).ok();
    let before = scene.pair();
    let run = by_token(&scene, &file).arg("--force").fails(4);
    run.says(["used"]);
    assert_eq!(scene.pair(), before);
}

#[test]
fn t22_a_token_goes_to_its_own_ca_only() {
    let scene = Scene::new();
    let other = Arc::new(DevCa::new(&Env::os()).unwrap());
    let listen = "127.0.0.1:0".parse().unwrap();
    let elsewhere = Server::start(Arc::clone(&other), listen, &["localhost"]).unwrap();
    // Another host than the configured one.
    let foreign = token(&scene, "https://other.test", Some(scene.ca.fingerprint()));
    let pinned = |file: &std::path::Path| {
        by_token(&scene, file).args([
            "--ca-url",
            &scene.server.url(),
            "--fingerprint",
            &scene.ca.fingerprint().hex(),
        ])
    };
    pinned(&foreign).fails(2).says(["the token is for another CA"]);
    // Another root than the pinned one.
    let foreign = token(&scene, &scene.server.url(), Some(other.fingerprint()));
    pinned(&foreign).fails(4).says(["a CA with another root"]);
    // A server that has not the root of the token.
    let foreign = token(&scene, &elsewhere.url(), Some(scene.ca.fingerprint()));
    by_token(&scene, &foreign).fails(4);
    // A token that says too little, and nobody says more.
    let silent = token(&scene, &scene.server.url(), None);
    by_token(&scene, &silent).fails(2).says(["does not name the CA's root"]);
    pinned(&silent).ok();
    scene.pair();
}

#[test]
fn names_that_the_token_does_not_allow_are_found_before_it_is_spent() {
    let scene = Scene::new();
    let file = token(&scene, &scene.server.url(), Some(scene.ca.fingerprint()));
    by_token(&scene, &file).arg("other.test").fails(2).says(["the token is for `web.test`"]);
    assert_eq!(scene.server.connections(), 0);
    by_token(&scene, &file).arg("web.test").ok();
}

/// `enroll` has a key of its own: the CA would refuse, and the token would be spent.
#[test]
fn a_token_for_another_request_is_not_spent() {
    let scene = Scene::new();
    let bound = token_with(&scene, &scene.server.url(), Some(scene.ca.fingerprint()), |claims| {
        claims
            .insert("cnf".to_owned(), json!({ "x5rt#S256": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU" }));
    });
    let run = by_token(&scene, &bound).fails(2);
    run.says(["for one certificate signing request only", "without `--cnf-csr`"]);
    assert_eq!(scene.server.connections(), 0);
}

#[test]
fn a_name_that_a_token_has_twice_is_one_name() {
    let scene = Scene::new();
    let twice = token_with(&scene, &scene.server.url(), Some(scene.ca.fingerprint()), |claims| {
        claims.insert("sans".to_owned(), json!(["web.test", "web.test"]));
    });
    by_token(&scene, &twice).ok();
    scene.pair();
}

/// Who gives bootstrap the root's file says what to trust, and not where the CA is: that the token may say, whose root it is.
#[test]
fn t22_a_token_names_the_ca_whose_root_bootstrap_recorded() {
    let scene = Scene::new();
    let token = own_token(&scene);
    let root = scene.path("root.pem");
    write(&root, scene.ca.root_pem().as_bytes(), 0o644);
    let state = scene.path("state");
    std::fs::create_dir(&state).unwrap();
    let bootstrap = |file: &std::path::Path| {
        let run = Trustup::new(["bootstrap", "--stores", "private", "--private-dir"]);
        run.arg(&state).arg("--ca-file").arg(file).env("HOME", scene.directory.path()).ok()
    };
    let enroll = || by_token(&scene, &token).arg("--private-dir").arg(&state);
    // Some other root is not enough: that the token vouches for itself does not count where somebody said what to trust.
    let other = root_file(&scene, "Other Root");
    bootstrap(&other);
    enroll().fails(2).says(["the CA is not given"]);
    assert_eq!(scene.server.connections(), 0);
    bootstrap(&root);
    assert_eq!(done(&enroll().ok()).0, "issued");
    scene.pair();
}

/// One cannot be chosen by chance.
#[test]
fn of_several_bootstrapped_cas_one_has_to_be_named() {
    let (scene, other) = (Scene::new(), Scene::new());
    let state = scene.path("state");
    std::fs::create_dir(&state).unwrap();
    for one in [&scene, &other] {
        let run = Trustup::new([
            "bootstrap",
            "--stores",
            "private",
            "--ca-url",
            &one.server.url(),
            "--fingerprint",
        ]);
        let run = run.arg(one.ca.fingerprint().hex()).arg("--private-dir").arg(&state);
        run.env("HOME", scene.directory.path()).ok();
    }
    let enroll = || {
        let run =
            scene.plain("provisioner").arg("web.test").arg("--password-file").arg(scene.path("password"));
        run.arg("--private-dir").arg(&state)
    };
    enroll().fails(2).says(["bootstrap was given several CAs", &scene.server.url(), &other.server.url()]);
    enroll().args(["--ca-url", &scene.server.url()]).ok();
    scene.pair();
}

fn root_file(scene: &Scene, name: &str) -> std::path::PathBuf {
    root(name).write(scene.directory.path(), "other-root.pem")
}

/// The key and the CA's answer are saved; what brought them need not be there any more.
#[test]
fn an_answer_is_taken_up_without_the_token_that_brought_it() {
    // Before the first file is placed, and between key and certificate.
    for (gone, step) in [("expired", 3), ("removed", 3), ("garbage", 4), ("removed", 5)] {
        let scene = Scene::new();
        let file = own_token(&scene);
        let killed = by_token(&scene, &file).killed_at(step).run();
        assert_eq!(killed.code, None, "{killed}");
        let issued = std::fs::read(scene.path(".server.key.trustup/issued.pem")).expect("the answer");
        assert!(!scene.path("server.crt").exists(), "not placed yet");
        match gone {
            "removed" => std::fs::remove_file(&file).unwrap(),
            "garbage" => write(&file, b"no token", 0o600),
            _ => {
                token_with(&scene, &scene.server.url(), Some(scene.ca.fingerprint()), |claims| {
                    let past = Env::os().now() - 3600;
                    claims.insert("exp".to_owned(), past.into());
                });
            }
        }
        let connections = scene.server.connections();
        let run = by_token(&scene, &file).ok();
        assert_eq!(done(&run).0, "taken-up", "{gone}: {run}");
        assert_eq!(std::fs::read(scene.path("server.crt")).unwrap(), issued);
        assert_eq!(scene.server.connections(), connections, "nobody has to be asked again");
        scene.pair();
    }
}

/// A token is spent whatever the CA says to the request; the next run knows why it is refused.
#[test]
fn a_token_that_was_refused_for_something_else_is_known_to_be_spent() {
    let scene = Scene::new();
    let file = own_token(&scene);
    let refused = by_token(&scene, &file).args(["--not-after", "9000h"]).fails(4);
    refused.says(["the CA does not allow this"]);
    assert!(!scene.path(".server.key.trustup/key.pem").exists(), "no key without a use");
    by_token(&scene, &file).fails(4).says(["it was presented before"]);
    // With a new one it works, and what stays is where the pair came from and which tokens are spent.
    by_token(&scene, &own_token(&scene)).ok();
    let entries = std::fs::read_dir(scene.path(".server.key.trustup")).unwrap();
    let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["enrolled.json", "history.json"]);
}

/// What can be read once is read once.
#[test]
fn secrets_come_through_pipes() {
    let scene = Scene::new();
    let pinned = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let by_password = || scene.plain("provisioner").args(["web.test", "--password-file", "-"]).args(pinned);
    by_password().stdin(scene.ca.password()).ok();
    // What is no token is called so, not empty.
    let run = scene.plain("token").args(["--token-file", "-", "--force"]).stdin("hello").fails(2);
    run.says(["not a token"]);
    let token = std::fs::read_to_string(own_token(&scene)).unwrap();
    scene.plain("token").args(["--token-file", "-", "--force"]).stdin(token).ok();
    scene.pair();
}

/// On the command line everybody sees it: it works, and that is said.
#[test]
fn a_token_on_the_command_line_gets_a_warning() {
    let scene = Scene::new();
    let token = std::fs::read_to_string(own_token(&scene)).unwrap();
    let run = scene.plain("token").args(["--token", &token]).ok();
    run.says(["warning: a token on the command line is visible to every user", "--token-file"]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!said.contains(&token) && !said.contains(&token[token.len() - 40..]), "{run}");
}

#[test]
fn t1_a_ca_needs_a_pin_and_a_pin_a_ca() {
    let scene = Scene::new();
    let with = |args: &[&str]| {
        scene
            .plain("provisioner")
            .arg("web.test")
            .arg("--password-file")
            .arg(scene.path("password"))
            .args(args)
    };
    with(&["--ca-url", &scene.server.url()]).fails(2).says(["no fingerprint"]);
    with(&["--fingerprint", &scene.ca.fingerprint().hex()]).fails(2).says(["the CA is not given"]);
    with(&[]).fails(2).says(["the CA is not given"]);
    with(&["--ca-url", &scene.server.url()]).env("TRUSTUP_FINGERPRINT", "").fails(2);
    with(&[]).env("CA_URL", scene.server.url()).env("CA_FINGERPRINT", "").fails(2).says(["CA_FINGERPRINT"]);
    let wrong = Fingerprint::of(b"another root").hex();
    with(&["--ca-url", &scene.server.url(), "--fingerprint", &wrong]).fails(4);
    // The command line names a source: those of the environment do not count.
    let run = with(&["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
        .env("CA_URL", "https://elsewhere.test")
        .env("CA_FINGERPRINT", &wrong)
        .ok();
    run.says(["ignored"]);
}

/// The way to the CA is said, without what opens it.
#[test]
fn t17_a_proxy_is_shown_without_its_credentials() {
    let scene = Scene::new();
    write(&scene.path("root.pem"), scene.ca.root_pem().as_bytes(), 0o644);
    let nobody = crate::support::servers::Port::reserve();
    let proxy = format!("http://user:hunter2@127.0.0.1:{}", nobody.number());
    let run = scene.plain("provisioner").args(["web.test", "-v", "--ca-url", "https://ca.test"]);
    let run =
        run.arg("--ca-root").arg(scene.path("root.pem")).arg("--password-file").arg(scene.path("password"));
    let run = run.args(["--timeout", "1s"]).env("https_proxy", &proxy).fails(6);
    run.says(["`https://ca.test/` is asked through http://", &nobody.number().to_string(), "https_proxy"]);
    assert!(!format!("{run}").replace(&proxy, "").contains("hunter2"), "{run}");
}

/// Neither the root that is pinned nor anything else can be had: it is asked for until the time is over.
#[test]
fn a_ca_that_is_not_up_is_asked_again() {
    let scene = Scene::new();
    let nobody = crate::support::servers::Port::reserve();
    let url = format!("https://127.0.0.1:{}", nobody.number());
    for method in ["provisioner", "acme"] {
        let run = scene.plain(method).args(["web.test", "-v", "--ca-url", &url]);
        let run = run.args(["--fingerprint", &"ab".repeat(32)]);
        let run = match method {
            "provisioner" => run.arg("--password-file").arg(scene.path("password")),
            _ => run,
        };
        let run = run.args(["--timeout", "1s"]).fails(6);
        run.says(["trying again", "refused the connection", "--wait"]);
        assert!(!scene.path(".server.key.trustup").exists() && !scene.path("server.key").exists());
    }
}

#[test]
fn the_root_may_come_from_a_file() {
    let scene = Scene::new();
    write(&scene.path("root.pem"), scene.ca.root_pem().as_bytes(), 0o644);
    let with = |root: &str, more: &[&str]| {
        scene
            .plain("provisioner")
            .args(["web.test", "--ca-url", &scene.server.url()])
            .arg("--password-file")
            .arg(scene.path("password"))
            .arg("--ca-root")
            .arg(scene.path(root))
            .args(more)
    };
    let other = root("Other Root");
    other.write(scene.directory.path(), "other.pem");
    with("other.pem", &[]).fails(4).says(["is not trusted"]);
    with("root.pem", &["--fingerprint", &other.pin()]).fails(4).says(["no root in this file"]);
    // A chain that ends elsewhere than where it should is refused, and nothing of it is kept.
    with("root.pem", &["--issuer-root", scene.path("other.pem").to_str().unwrap()])
        .fails(4)
        .says(["its chain does not end at"]);
    let left: Vec<_> = std::fs::read_dir(scene.path(".server.key.trustup")).unwrap().collect();
    let left: Vec<_> = left.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    // The refusal alone, so that the next start does not have one signed again.
    assert_eq!(left, ["refusals.json"]);
    assert!(!scene.path("server.crt").exists());
    with("root.pem", &[]).ok();
    scene.pair();
}

#[test]
fn published_images_variables_work_alone() {
    let scene = Scene::new();
    let file = token(&scene, &scene.server.url(), Some(scene.ca.fingerprint()));
    let token = std::fs::read_to_string(file).unwrap();
    let run = || {
        Trustup::new(["--json", "enroll"])
            .env("HOME", scene.directory.path())
            .env("CA_URL", scene.server.url())
            .env("CA_FINGERPRINT", scene.ca.fingerprint().hex())
            .env("CA_TOKEN", &token)
            .env("TLS_DOMAINS", "web.test")
            .env("TLS_CERT_LOCATION", scene.path("server.crt"))
            .env("TLS_KEY_LOCATION", scene.path("server.key"))
            .env("TLS_CA_CERT_LOCATION", scene.path("ca.crt"))
    };
    assert_eq!(done(&run().ok()).0, "issued");
    scene.pair();
    assert_eq!(super::chain(&scene.path("ca.crt"))[0].fingerprint(), scene.ca.fingerprint());
    assert_eq!(done(&run().ok()).0, "kept");
}

/// The start-up scripts of published images call `step ca certificate`, which takes its flags from variables.
#[test]
fn step_not_after_of_published_images_is_the_lifetime() {
    let scene = Scene::new();
    let life = |variables: &[(&str, &str)], arguments: &[&str]| {
        let file = token(&scene, &scene.server.url(), Some(scene.ca.fingerprint()));
        let token = std::fs::read_to_string(file).unwrap();
        let run = Trustup::new(["--json", "enroll", "--force"])
            .args(arguments)
            .env("HOME", scene.directory.path())
            .env("CA_URL", scene.server.url())
            .env("CA_FINGERPRINT", scene.ca.fingerprint().hex())
            .env("CA_TOKEN", &token)
            .env("TLS_DOMAINS", "web.test")
            .env("TLS_CERT_LOCATION", scene.path("server.crt"))
            .env("TLS_KEY_LOCATION", scene.path("server.key"));
        variables.iter().fold(run, |run, (name, value)| run.env(name, value))
    };
    let seconds = || {
        let leaf = &super::chain(&scene.path("server.crt"))[0];
        leaf.not_after() - leaf.not_before()
    };
    // step and step-ca begin a certificate a minute early.
    for (text, wanted) in [("5m", 300), ("0.25h", 900), ("1h0m30s", 3630)] {
        life(&[("STEP_NOT_AFTER", text)], &[]).ok();
        assert!((wanted..=wanted + 60).contains(&seconds()), "{text}: {}", seconds());
    }
    for text in ["30d", "soon", "-5m", "300"] {
        let run = life(&[("STEP_NOT_AFTER", text)], &[]).fails(2);
        run.says(["`STEP_NOT_AFTER` is neither a duration nor a time", text]);
    }
    // What is trustup's own goes before it.
    life(&[("STEP_NOT_AFTER", "5m")], &["--not-after", "10m"]).ok();
    assert!((600..=660).contains(&seconds()), "{}", seconds());
    life(&[("STEP_NOT_AFTER", "5m"), ("TRUSTUP_NOT_AFTER", "10m")], &[]).ok();
    assert!((600..=660).contains(&seconds()), "{}", seconds());
    // What else step would read is named; what Kubernetes sets for a service is nothing.
    let run = life(
        &[
            ("STEP_KTY", "RSA"),
            ("STEP_NOT_BEFORE", "1m"),
            ("STEP_CA_SERVICE_HOST", "10.0.0.1"),
            ("STEP_CA_PORT", "tcp://10.0.0.1:443"),
            ("STEP_CA_PORT_443_TCP", "tcp://10.0.0.1:443"),
        ],
        &[],
    )
    .ok();
    run.says(["`STEP_KTY` is set, which `step ca certificate` reads and trustup does not: use `--key-type`"]);
    run.says(["`STEP_NOT_BEFORE` is set"]);
    assert!(!run.stderr.contains("STEP_CA_"), "{run}");
}

/// A server that hangs does not use up the time of the methods behind it, nor of the certificates.
#[test]
fn who_hangs_leaves_the_others_their_time() {
    let scene = Scene::new();
    let silent = crate::support::silent_server::SilentServer::start();
    let certificate = |name: &str| {
        format!(
            "[[certificate]]\nnames = [\"{name}\"]\ncert = {:?}\nkey = {:?}\n\
             [[certificate.enroll]]\nmethod = \"acme\"\ndirectory = \"{}/directory\"\nhttp_listen = \"127.0.0.1:0\"\n",
            scene.path(&format!("{name}.crt")),
            scene.path(&format!("{name}.key")),
            silent.url(),
        )
    };
    let by_password = format!(
        "[[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = {:?}\n",
        scene.path("password")
    );
    let ca =
        format!("[ca]\nurl = {:?}\nfingerprint = {:?}\n", scene.server.url(), scene.ca.fingerprint().hex());
    let config = ca + &certificate("hangs.test") + &certificate("web.test") + &by_password;
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    let began = std::time::Instant::now();
    let run = Trustup::new(["--json", "--timeout", "12s", "enroll", "--config"])
        .arg(scene.path("trustup.toml"))
        .env("HOME", "/none")
        .fails(6);
    assert!(began.elapsed() < Duration::from_secs(30), "{run}");
    // What failed is named, and what was done all the same is said.
    run.says([&*format!("that is about `{}`", scene.path("hangs.test.crt").display())]);
    assert_eq!(run.json()["changed"], true, "{run}");
    let certificates = &run.json()["certificates"];
    assert_eq!(certificates[1]["method"], "provisioner", "{run}");
    assert_eq!(certificates[1]["skipped"][0]["method"], "acme", "{run}");
}

#[test]
fn variables_and_command_line_go_before_the_file_and_published_variables() {
    let scene = Scene::new();
    let spent = own_token(&scene);
    by_token(&scene, &spent).ok();
    let spent = std::fs::read_to_string(spent).unwrap();
    write(&scene.path("spent"), spent.as_bytes(), 0o600);
    let config = format!(
        "[[certificate]]\nnames = [\"web.test\"]\ncert = {:?}\nkey = {:?}\nenroll = {{ method = \"token\", token_file = {:?} }}\n",
        scene.path("server.crt"),
        scene.path("server.key"),
        scene.path("spent"),
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    let run = || {
        Trustup::new(["enroll", "--force", "--config"]).arg(scene.path("trustup.toml")).env("HOME", "/none")
    };
    run().fails(4).says(["presented before"]);
    let fresh = std::fs::read_to_string(own_token(&scene)).unwrap();
    // What the file says is what counts, and what does not count is named.
    let run = run().env("TRUSTUP_TOKEN", fresh).env("TLS_DOMAINS", "other.test").ok();
    run.says(["ignored, since", "trustup.toml", "TLS_DOMAINS"]);
    scene.pair();
}

#[test]
fn the_configured_methods_are_tried_in_their_order() {
    let scene = Scene::new();
    let config = format!(
        "[ca]\nurl = {:?}\nfingerprint = {:?}\n[[certificate]]\nnames = [\"web.test\"]\ncert = {:?}\nkey = {:?}\n\
         [[certificate.enroll]]\nmethod = \"token\"\ntoken_file = {:?}\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\nprovisioner = {:?}\npassword_file = {:?}\n",
        scene.server.url(),
        scene.ca.fingerprint().hex(),
        scene.path("server.crt"),
        scene.path("server.key"),
        scene.path("no-token"),
        scene.ca.provisioner(),
        scene.path("password"),
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    let run = || {
        Trustup::new(["--json", "enroll", "--config"]).arg(scene.path("trustup.toml")).env("HOME", "/none")
    };
    let first = run().ok();
    let result = super::result(&first);
    assert_eq!((&result["action"], &result["method"]), (&"issued".into(), &"provisioner".into()), "{first}");
    assert_eq!(result["skipped"][0]["method"], "token", "{first}");
    assert_eq!(done(&run().ok()).0, "kept");
    run().args(["any", "web.test"]).ok();
    run().args(["any", "other.test"]).fails(2).says(["no certificate in the configuration has this name"]);
}

/// A private store that records the scene's CA as `bootstrap` was told, and its state file.
fn recorded(scene: &Scene, pinned: bool) -> (std::path::PathBuf, std::path::PathBuf) {
    let state = scene.path("state");
    std::fs::create_dir(&state).unwrap();
    bootstrap(scene, &state, pinned);
    let file = walk(&state).into_iter().find(|path| path.ends_with("state.json")).expect("a state");
    (state, file)
}

fn bootstrap(scene: &Scene, state: &std::path::Path, pinned: bool) {
    let run = Trustup::new(["bootstrap", "--stores", "private", "--private-dir"]).arg(state);
    let run = if pinned {
        run.args(["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()])
    } else {
        let root = scene.path("root.pem");
        write(&root, scene.ca.root_pem().as_bytes(), 0o644);
        run.arg("--ca-file").arg(root)
    };
    run.env("HOME", scene.directory.path()).ok();
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn by_password(scene: &Scene, state: &std::path::Path) -> Trustup {
    let run = scene.plain("provisioner").arg("web.test").arg("--password-file").arg(scene.path("password"));
    run.arg("--private-dir").arg(state)
}

/// What an earlier run recorded may have come with the image: it is said each time, and `--require-pin` ignores it.
#[test]
fn t34_a_recorded_root_is_named_each_time_and_ignored_with_require_pin() {
    let scene = Scene::new();
    let (state, _) = recorded(&scene, true);
    let pin = scene.ca.fingerprint().hex();
    let refused = by_password(&scene, &state).arg("--require-pin").fails(2);
    refused.says(["--require-pin", "--fingerprint HEX"]);
    assert_eq!(by_password(&scene, &state).env("TRUSTUP_REQUIRE_PIN", "1").run().code, Some(2));
    assert_eq!(scene.server.connections(), 1, "only bootstrap asked the CA");
    let pinned = by_password(&scene, &state).args(["--require-pin", "--ca-url", &scene.server.url()]);
    pinned.args(["--fingerprint", &pin]).ok();
    for _ in 0..2 {
        by_password(&scene, &state).ok().says([&*pin, &*format!("`{}/`", scene.server.url())]);
    }
    scene.pair();
}

/// A root that came without a fingerprint, or that an older version recorded, vouches for no CA.
#[test]
fn t34_a_recorded_root_without_a_fingerprint_vouches_for_no_ca() {
    let scene = Scene::new();
    let (state, file) = recorded(&scene, true);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(value["anchors"][0]["pinned"], json!(true));
    value["anchors"][0].as_object_mut().unwrap().remove("pinned");
    std::fs::write(&file, value.to_string()).unwrap();
    let connections = scene.server.connections();
    by_password(&scene, &state).fails(2).says(["without a fingerprint", "hint: "]);
    let url = scene.server.url();
    by_password(&scene, &state).args(["--ca-url", &url]).fails(2).says(["without a fingerprint"]);
    assert_eq!(scene.server.connections(), connections);
    // The hint works: bootstrap once more, with the fingerprint.
    bootstrap(&scene, &state, true);
    by_password(&scene, &state).ok();
    scene.pair();
    let other = Scene::new();
    let (state, _) = recorded(&other, false);
    by_password(&other, &state)
        .args(["--ca-url", &other.server.url()])
        .fails(2)
        .says(["without a fingerprint"]);
    assert_eq!(other.server.connections(), 0);
}

/// A pin that differs from what was recorded for the same CA: one of the two is wrong.
#[test]
fn t34_a_fingerprint_that_differs_from_the_recorded_one_is_an_error() {
    let scene = Scene::new();
    let (state, _) = recorded(&scene, true);
    let connections = scene.server.connections();
    let other = "ab".repeat(32);
    let asked =
        || by_password(&scene, &state).args(["--ca-url", &scene.server.url(), "--fingerprint", &other]);
    asked().fails(4).says(["recorded", &scene.ca.fingerprint().hex(), "--require-pin"]);
    assert_eq!(scene.server.connections(), connections);
    // With it, the given one alone counts: the CA has no such root.
    asked().arg("--require-pin").fails(4);
    assert!(scene.server.connections() > connections);
}
