//! Hints of the ACME method, against the server that does as it is told: what follows the hint comes as far as that server
//! goes, which issues nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use trustup::pki::key::KeyType;

use super::cases::Cases;
use crate::acme::command::Place;
use crate::acme::server::{AcmeServer, Instead, authorization, challenge, directory, problem, usual};
use crate::acme::{FINISHED, honest};
use crate::support::acme::{hook, key_of_other_software};
use crate::support::enrollment::{Scene, write};
use crate::support::hints;
use crate::support::run::Trustup;

const LISTEN: [&str; 2] = ["--http-listen", "127.0.0.1:0"];

/// `trustup enroll acme a.test`, with these means of validation.
fn by(place: &Place, means: &[&str]) -> Trustup {
    place.enroll_by(&means.iter().map(Into::into).collect::<Vec<_>>(), "20s")
}

impl Cases {
    /// What follows the hint comes as far as the server goes.
    fn finishes(&mut self, hint: &str, wrong: Trustup, right: impl IntoIterator<Item = Trustup>) {
        self.as_far_as(FINISHED, 4, hint, wrong, right);
    }
}

#[test]
fn terms_profiles_and_directories_are_given_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = AcmeServer::start(|asked, base| {
        (asked.path == "/dir" || asked.path == "/acme/acme/directory").then(|| {
            let mut directory = directory(base);
            directory["meta"] =
                json!({ "termsOfService": format!("{base}/terms"), "profiles": { "classic": "the usual one" } });
            Instead::Json(200, directory)
        })
    });
    let place = Place::at(&server);
    let without_agreement = || {
        let arguments = place.enroll().arguments();
        Trustup::new(arguments.into_iter().filter(|argument| argument != "--agree-tos"))
            .env("HOME", place.directory.path())
    };
    let terms = place.url.replace("/dir", "/terms");
    cases.finishes(
        &format!("read `{terms}`, then agree with `--agree-tos`"),
        without_agreement(),
        [without_agreement().arg("--agree-tos")],
    );
    cases.finishes(
        "its profiles are `classic`",
        place.enroll().args(["--profile", "short"]),
        [place.enroll().args(["--profile", "classic"])],
    );
    let plain = honest();
    let without = Place::at(&plain);
    cases.finishes(
        "this CA has no profiles: omit `--profile`",
        without.enroll().args(["--profile", "short"]),
        [without.enroll()],
    );
    let at = |url: String| Place { directory: tempfile::tempdir().unwrap(), url };
    let host = place.url.trim_start_matches("https://").trim_end_matches("/dir");
    let form = "https://HOST/acme/PROVISIONER/directory";
    let [home, page, right] = [
        format!("https://{host}/"),
        format!("https://{host}/acme/acme"),
        form.replace("HOST", host).replace("PROVISIONER", "acme"),
    ]
    .map(at);
    for place in [&home, &page, &right] {
        fs::write(place.path("root.pem"), server.known_as().1).unwrap();
    }
    for wrong in [&home, &page] {
        cases.finishes(
            &format!("is this the directory? step-ca's is `{form}`"),
            wrong.enroll(),
            [right.enroll()],
        );
    }
    // User and password in the URL.
    let secret = place.path("eab");
    write(&secret, b"c2VjcmV0", 0o600);
    let with_login = Place { directory: tempfile::tempdir().unwrap(), url: plain.known_as().0 };
    fs::write(with_login.path("root.pem"), plain.known_as().1).unwrap();
    let url = with_login.url.clone();
    let run = |url: &str| {
        let arguments = with_login.enroll().arguments();
        Trustup::new(
            arguments.into_iter().map(
                |argument| {
                    if argument == with_login.url { url.to_owned() } else { argument }
                },
            ),
        )
        .env("HOME", with_login.directory.path())
    };
    let secret = secret.to_str().unwrap();
    cases.finishes(
        "omit them from `--directory`; if the CA gave both, they may be those of `--eab-kid` and `--eab-hmac-key-file`",
        run(&url.replace("https://", "https://kid:c2VjcmV0@")),
        [run(&url), run(&url).args(["--eab-kid", "kid", "--eab-hmac-key-file", secret])],
    );
    cases.end();
}

#[test]
fn a_challenge_is_chosen_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = honest();
    let place = Place::at(&server);
    let webroot = tempfile::tempdir().unwrap();
    let webroot = ["--webroot", webroot.path().to_str().unwrap()];
    cases.finishes(
        "omit `--webroot` or `--http-listen 127.0.0.1:0`",
        by(&place, &[webroot, LISTEN].concat()),
        [by(&place, &webroot), by(&place, &LISTEN)],
    );
    // A CA with one kind of challenge only.
    let offering = AcmeServer::start(|asked, base| {
        (asked.path == "/authz").then(|| {
            let mut authorization =
                authorization(base, "token", if asked.told { "valid" } else { "pending" });
            authorization["challenges"] = json!([challenge(base, "tls-alpn-01", "token", "pending")]);
            Instead::Json(200, authorization)
        })
    });
    let tls = Place::at(&offering);
    let ports = ["--http-listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"];
    cases.finishes(
        "omit `--challenge` to use what the CA offers",
        by(&tls, &LISTEN).args(["--challenge", "http-01"]),
        [by(&tls, &ports)],
    );
    // An address, and a name that no ACME server validates.
    let program = hook(place.directory.path(), "exit 0");
    let acme = |name: &str, means: &[&str]| {
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| place.path(name));
        Trustup::new(["--timeout", "1s", "enroll", "acme", name, "--directory", "https://127.0.0.1:1/dir"])
            .args(means)
            .arg("--cert")
            .arg(cert)
            .arg("--key")
            .arg(key)
            .env("HOME", place.directory.path())
    };
    let by_dns = ["--dns-hook", &program];
    cases.ends_with(
        6,
        "omit `--challenge`: an address is validated by http-01 or tls-alpn-01",
        acme("192.0.2.1", &by_dns).args(["--challenge", "dns-01"]),
        [acme("192.0.2.1", &by_dns)],
    );
    let scene = Scene::new();
    let address = "bob@web.test";
    cases.ends_with(
        6,
        "omit the name, or get it from step-ca: `trustup enroll token` or `trustup enroll provisioner`",
        acme(address, &LISTEN).arg("web.test"),
        [acme("web.test", &LISTEN)],
    );
    scene.enroll_for(&[address]).ok();
    let token = scene.path("token");
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let minted = Trustup::new(["token", address]).args(ca).arg("--password-file").arg(scene.path("password"));
    minted.arg("--out").arg(&token).ok();
    scene.plain("token").args([address, "--force"]).args(ca).arg("--token-file").arg(&token).ok();
    cases.end();
}

#[test]
fn an_external_account_is_given_as_the_hint_says() {
    let mut cases = Cases::default();
    // It knows one external account.
    let server = AcmeServer::start(|asked, _| {
        let header = asked.payload["externalAccountBinding"]["protected"].as_str();
        let header = header.and_then(|header| URL_SAFE_NO_PAD.decode(header).ok()).unwrap_or_default();
        let header: Value = serde_json::from_slice(&header).unwrap_or_default();
        (asked.path == "/account" && header["kid"] != "known")
            .then(|| Instead::Json(403, problem("unauthorized", "no such external account")))
    });
    let (place, other) = (Place::at(&server), Place::at(&server));
    let file = |name: &str, content: &str| {
        write(&place.path(name), content.as_bytes(), 0o600);
        place.path(name).to_str().unwrap().to_owned()
    };
    let (good, bad) = (file("hmac", "c2VjcmV0\n"), file("not-base64", "kid: known, key: secret\n"));
    let run = |kid: &str, key: &str| place.enroll().args(["--eab-kid", kid, "--eab-hmac-key-file", key]);
    cases.finishes(
        "copy both as the CA shows them: the identifier goes to `--eab-kid`, the key to the file of `--eab-hmac-key-file`",
        run("known", &bad),
        [other.enroll().args(["--eab-kid", "known", "--eab-hmac-key-file", &good])],
    );
    cases.finishes(
        "check identifier and key of the external account: each usually works for one account",
        run("used before", &good),
        [run("known", &good)],
    );
    cases.end();
}

#[test]
fn an_account_that_cannot_be_used_is_replaced_as_the_hint_says() {
    // It has deactivated the first account that it is asked for.
    let first = Mutex::new(None::<Value>);
    let server = AcmeServer::start(move |asked, base| {
        let key = &asked.protected["jwk"];
        let is_first = asked.path == "/account" && *first.lock().unwrap().get_or_insert(key.clone()) == *key;
        is_first.then(|| {
            let location = vec![("Location", format!("{base}/account/0"))];
            Instead::With(200, location, json!({ "status": "deactivated" }))
        })
    });
    let place = Place::at(&server);
    let account = place.path("account.pem");
    write(&account, &key_of_other_software(KeyType::EcP256), 0o600);
    let run = |account: &std::path::Path| place.enroll().arg("--account-key").arg(account);
    let refused = run(&account).fails(4);
    refused.says(["a new key creates a new account: remove `", "where the old one is kept, and try again"]);
    let named = hints::command(&refused, "/");
    assert_eq!(named, account.to_str().unwrap());
    fs::remove_file(named).unwrap();
    run(&account).fails(4).says([FINISHED]);

    // The file of a good account that somebody edited.
    let content = fs::read_to_string(&account).unwrap();
    write(&account, content.replace("Version: 1", "Version: one").as_bytes(), 0o600);
    run(&account).fails(1).says([
        "correct that line, or name a file that does not exist yet with `--account-key`: a new account is made for it",
    ]);
    run(&place.path("another.pem")).fails(4).says([FINISHED]);
    write(&account, content.as_bytes(), 0o600);
    run(&account).fails(4).says([FINISHED]);
}

#[test]
fn a_hook_is_corrected_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = honest();
    let place = Place::at(&server);
    let outside = tempfile::tempdir().unwrap();
    let program = hook(outside.path(), "exit 0");
    let run = |program: &str| by(&place, &["--dns-hook", program]);
    cases.finishes("hint: `--dns-hook /path/to/program`", run(""), [run(&program)]);

    // In trustup.toml, which is checked without a server.
    let check = |program: &str| {
        let (file, [cert, key]) =
            (place.path("trustup.toml"), ["a.crt", "a.key"].map(|name| place.path(name)));
        let text = format!(
            "[[certificate]]\nnames = [\"a.test\"]\ncert = {cert:?}\nkey = {key:?}\n[certificate.enroll]\n\
             method = \"acme\"\ndirectory = {:?}\ndns_hook = [{program:?}]\n",
            place.url
        );
        write(&file, text.as_bytes(), 0o600);
        Trustup::new(["config", "check", "--config"]).arg(file).env("HOME", place.directory.path())
    };
    check("hook").fails(2).says(["it is run without a shell, and found without PATH"]);
    check(&program).ok();

    // One that another user can write.
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let refused = run(&program).fails(2);
    refused.says([
        "it and every directory above it must belong to root or to you, and no other user may write there: `chmod",
    ]);
    hints::follow(&hints::command(&refused, "chmod"), outside.path(), &[], "");
    run(&program).fails(4).says([FINISHED]);

    // One that fails, and shows why when it is run by hand.
    let failing = tempfile::tempdir().unwrap();
    let script = "test -e \"$(dirname \"$0\")/zone\" || { echo there is no zone >&2; exit 3; }";
    let program = hook(failing.path(), script);
    let refused = run(&program).fails(1);
    let us = rustix::process::geteuid().as_raw();
    refused.says([&*format!("run the command by hand, as this user (uid {us}), to see its error")]);
    let line = refused.stderr.split('`').find(|part| part.starts_with(&program)).unwrap();
    let by_hand = Command::new("sh").args(["-c", line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&by_hand.stderr), "there is no zone\n", "{line}");
    fs::write(failing.path().join("zone"), "").unwrap();
    run(&program).fails(4).says([FINISHED]);

    // One that needs longer.
    let slow = tempfile::tempdir().unwrap();
    let program = hook(slow.path(), "if [ $1 = present ]; then sleep 3; fi");
    let within = |time: &str| place.enroll_by(&["--dns-hook".into(), (&program).into()], time);
    cases.finishes("`--timeout 10m` gives it more time", within("2s"), [within("10m")]);
    cases.end();
}

#[test]
fn a_port_is_chosen_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = honest();
    let place = Place::at(&server);
    let webroot = tempfile::tempdir().unwrap();
    let webroot = webroot.path().to_str().unwrap();
    for (option, challenge) in [("--http-listen", "http-01"), ("--tls-listen", "tls-alpn-01")] {
        let at = |address: &str| by(&place, &["--challenge", challenge, option, address]);
        cases.finishes(
            &format!("`{option} ADDRESS:PORT` chooses another address"),
            at("192.0.2.1:8080"),
            [at("127.0.0.1:0")],
        );
        // An address whose free ports no other test takes.
        let taken = TcpListener::bind("127.98.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        if option == "--http-listen" {
            cases.finishes(
                "another program uses the port: let that program publish the answer (`--webroot DIR`), or listen elsewhere (`--http-listen ADDRESS:PORT`)",
                at(&address),
                [by(&place, &["--webroot", webroot]), at("127.0.0.1:0")],
            );
        } else {
            cases.finishes(
                "another program uses the port: stop it for the time of the challenge, or listen elsewhere (`--tls-listen ADDRESS:PORT`)",
                at(&address),
                [at("127.0.0.1:0")],
            );
            drop(taken);
            at(&address).fails(4).says([FINISHED]);
        }
    }
    cases.end();
}

#[test]
fn a_webroot_is_corrected_as_the_hint_says() {
    let mut cases = Cases::default();
    let server = honest();
    let place = Place::at(&server);
    let site = tempfile::tempdir().unwrap();
    let (linked, elsewhere) = (site.path().join("linked"), site.path().join("elsewhere"));
    for directory in [&linked, &elsewhere.join(".well-known")] {
        fs::create_dir_all(directory).unwrap();
    }
    let run = |webroot: &std::path::Path| by(&place, &["--webroot", webroot.to_str().unwrap()]);
    cases.finishes(
        "`--webroot DIR` names the directory that the web server publishes as `/`",
        run(&site.path().join("missing")),
        [run(site.path())],
    );
    symlink("../elsewhere/.well-known", linked.join(".well-known")).unwrap();
    cases.finishes(
        "trustup follows no link below the webroot: name the directory itself with `--webroot`",
        run(&linked),
        [run(&elsewhere)],
    );
    let answer = elsewhere.join(".well-known/acme-challenge/token");
    fs::create_dir_all(answer.parent().unwrap()).unwrap();
    fs::write(&answer, "another program's").unwrap();
    run(&elsewhere).fails(1).says(["hint: move it away and run again: trustup does not replace it"]);
    fs::rename(&answer, site.path().join("moved")).unwrap();
    run(&elsewhere).fails(4).says([FINISHED]);
    cases.end();
}

#[test]
fn a_server_that_needs_more_is_given_it_as_the_hint_says() {
    let mut cases = Cases::default();
    // Of each order, the first look at the validation is too early.
    let is_early = AtomicBool::new(true);
    let server = AcmeServer::start(move |asked, base| {
        if asked.path == "/order" {
            is_early.store(true, Ordering::SeqCst);
        }
        let early = asked.path == "/authz" && asked.told && is_early.swap(false, Ordering::SeqCst);
        early.then(|| {
            let later = vec![("Retry-After", "4".to_owned())];
            Instead::With(200, later, authorization(base, "token", "pending"))
        })
    });
    let place = Place::at(&server);
    let within = |time: &str| place.enroll_by(&LISTEN.map(Into::into), time);
    let refused = within("3s").fails(6);
    refused.says(["it asks to check again in 4", "; raise `--timeout`"]);
    within("20s").fails(4).says([FINISHED]);

    // A server behind a proxy that asks it by another name.
    let by_another_name = std::sync::Arc::new(AtomicBool::new(true));
    let changed = std::sync::Arc::clone(&by_another_name);
    let server = AcmeServer::start(move |asked, base| {
        let named = base.replace("127.0.0.1", "localhost");
        Some(usual(asked, if changed.load(Ordering::SeqCst) { &named } else { base }))
    });
    let place = Place::at(&server);
    let named =
        Place { directory: tempfile::tempdir().unwrap(), url: place.url.replace("127.0.0.1", "localhost") };
    fs::copy(place.path("root.pem"), named.path("root.pem")).unwrap();
    let here = place.url.trim_end_matches("/dir");
    cases.finishes(
        &format!(
            "its addresses must begin with `{here}`: name the directory by the host that they have (`--directory`), or have the proxy in front of it keep the Host header"
        ),
        place.enroll(),
        [named.enroll()],
    );
    by_another_name.store(false, Ordering::SeqCst);
    place.enroll().fails(4).says([FINISHED]);
    cases.end();
}
