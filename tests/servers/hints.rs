//! Hints that name a command of step, which is for the CA's host: each is run there as it is printed, and works.

use std::path::Path;

use serde_json::Value;

use crate::enroll::{Scene, faketime, now};
use crate::support::ca::{self, pem};
use crate::support::hints;
use crate::support::run::{Run, Trustup};
use crate::support::servers::{Database, StepCa, StepCaOptions, passes, step};
use crate::support::step_api::csr;

/// Runs the command of `step` in the hints of `run` that begins so; gives what it prints. `words` are the words in
/// capitals and what the user writes for them, `more` what it would ask for on a terminal.
#[track_caller]
fn on_the_host(scene: &Scene, run: &Run, command: &str, words: &[(&str, &str)], more: &[&str]) -> String {
    let mut filled = hints::command(run, command);
    for (word, value) in words {
        filled = filled.replace(word, value);
    }
    let arguments = filled.split(' ').skip(1).chain(more.iter().copied());
    let output = passes(&mut step(scene.place.path(), arguments));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("UTF-8").to_owned()
}

/// What step knows on the CA's host: the CA, and its root as a file.
fn host(scene: &Scene) {
    let arguments =
        ["ca", "bootstrap", "--ca-url", &scene.ca.url(), "--fingerprint", &scene.ca.fingerprint(), "--force"];
    passes(&mut step(scene.place.path(), arguments));
    std::fs::copy(scene.ca.root_file(), scene.at("root_ca.crt")).expect("copied");
}

fn by_password(scene: &Scene) -> Trustup {
    let run = scene.plain("provisioner").args(["web.internal", "--force", "--ca-url", &scene.ca.url()]);
    run.arg("--password-file").arg(scene.ca.password_file())
}

#[test]
#[ignore = "needs step-ca"]
fn step_prints_fingerprints_names_and_tokens() {
    let scene = Scene::new(StepCaOptions { database: Database::None, ..StepCaOptions::default() });
    host(&scene);
    let fingerprint = "step certificate fingerprint root_ca.crt";
    let refused = by_password(&scene).fails(2);
    refused.says(["add `--fingerprint HEX` (on the CA's host: `step certificate fingerprint root_ca.crt`)"]);
    let printed = on_the_host(&scene, &refused, fingerprint, &[], &[]);
    by_password(&scene).args(["--fingerprint", &printed]).ok();
    // The comparison shows which of two is wrong.
    let with_root = |pin: &str| {
        by_password(&scene).arg("--ca-root").arg(scene.ca.root_file()).args(["--fingerprint", pin])
    };
    let refused = with_root(&"ab".repeat(32)).fails(4);
    refused.says(["compare with what `step certificate fingerprint root_ca.crt` prints on the CA's host"]);
    with_root(&on_the_host(&scene, &refused, fingerprint, &[], &[])).ok();

    // The provisioner's name, for its key in a file.
    let key = || {
        let run = scene.of_ca("provisioner").args(["web.internal", "--force", "--provisioner-key"]);
        let run = run.arg(scene.ca.provisioner_key_file()).arg("--password-file");
        run.arg(scene.ca.password_file())
    };
    let refused = key().fails(2);
    refused.says(["name it with `--provisioner NAME` (`provisioner` in trustup.toml)"]);
    let list = on_the_host(&scene, &refused, "step ca provisioner list", &[], &[]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let list = list.as_array().expect("a list");
    let jwk = list.iter().find(|one| one["type"] == "JWK").expect("a JWK provisioner");
    key().args(["--provisioner", jwk["name"].as_str().expect("a name")]).ok();

    // A token of step's, as a file.
    let refused = scene.of_ca("token").arg("--force").fails(2);
    refused.says(["make one on the CA's host with `trustup token` or `step ca token`"]);
    let password = text(scene.ca.password_file());
    let of_step = ["web.internal", "--provisioner", StepCa::PROVISIONER, "--provisioner-password-file"];
    let more: Vec<&str> = of_step.into_iter().chain([password.as_str()]).collect();
    let token = on_the_host(&scene, &refused, "step ca token", &[], &more);
    scene.by_token(&token).arg("--force").ok();

    // A token for one request.
    let (_, request) = csr(&["web.internal"], Some("web.internal"));
    std::fs::write(scene.at("request.csr"), request).expect("written");
    let make = |more: &[&str]| {
        let run = Trustup::new(["token", "web.internal", "--ca-url", &scene.ca.url(), "--fingerprint"]);
        let run = run.arg(scene.ca.fingerprint()).arg("--password-file").arg(scene.ca.password_file());
        run.args(more).env("HOME", scene.place.path()).ok().stdout.trim_end().to_owned()
    };
    let bound = make(&["--cnf-csr", &text(scene.at("request.csr"))]);
    let refused = scene.by_token(&bound).arg("--force").fails(2);
    refused.says(["make one without `--cnf-csr`; or use it with the key of that request: `step ca sign"]);
    let words = [("REQUEST", "request"), ("SERVER", "server"), ("…", bound.as_str())];
    on_the_host(&scene, &refused, "step ca sign", &words, &[]);
    assert!(std::fs::read_to_string(scene.at("server.crt")).expect("issued").contains("CERTIFICATE"));
    scene.by_token(&make(&[])).arg("--force").ok();
}

/// Changes the list of provisioners in the CA's configuration while it is stopped.
fn with_provisioners(scene: &mut Scene, change: impl FnOnce(&mut Vec<Value>)) {
    scene.ca.stop();
    let file = scene.ca.root_file().with_file_name("ca.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    change(config["authority"]["provisioners"].as_array_mut().expect("a list"));
    std::fs::write(&file, config.to_string()).expect("written");
    scene.ca.start_again();
}

/// step changes the file of a CA without remote administration, and says to start the CA again.
#[test]
#[ignore = "needs step-ca"]
fn step_adds_provisioners_and_changes_their_keys() {
    let mut scene = Scene::new(StepCaOptions { database: Database::Bbolt, ..StepCaOptions::default() });
    host(&scene);
    let config = text(scene.ca.root_file().with_file_name("ca.json"));
    let password = text(scene.ca.password_file());
    let with_key = ["--password-file", &*password, "--ca-config", &*config];
    let run = |scene: &Scene, method: &str| {
        scene.of_ca(method).args(["web.internal", "--force"]).args(match method {
            "provisioner" => vec!["--password-file".to_owned(), text(scene.ca.password_file())],
            _ => ["cert", "key"]
                .iter()
                .flat_map(|what| [format!("--x5c-{what}"), text(scene.at(&format!("birth.{what}")))])
                .collect(),
        })
    };
    with_provisioners(&mut scene, |list| list.retain(|one| one["type"] == "ACME"));

    let refused = run(&scene, "provisioner").fails(2);
    refused.says(["`step ca provisioner add NAME --type JWK --create` on the CA's host adds one"]);
    on_the_host(&scene, &refused, "step ca provisioner add", &[("NAME", "added")], &with_key);
    scene.ca.restart();
    run(&scene, "provisioner").ok();

    let birth = ca::root("Root Of Birth");
    birth.write(scene.place.path(), "roots.pem");
    let key = rcgen::KeyPair::generate().expect("key");
    let mut params = rcgen::CertificateParams::new(["web.internal".to_owned()]).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "web.internal");
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cert = pem("CERTIFICATE", &birth.sign_for(params, &key));
    std::fs::write(scene.at("birth.cert"), cert).expect("written");
    std::fs::write(scene.at("birth.key"), pem("PRIVATE KEY", &key.serialize_der())).expect("written");
    let named = |scene: &Scene| run(scene, "x5c").args(["--provisioner", "born"]);
    let refused = named(&scene).fails(2);
    refused.says(["it has none of type X5C: `step ca provisioner add NAME --type X5C --x5c-roots FILE`"]);
    let words = [("NAME", "born"), ("FILE", "roots.pem")];
    on_the_host(&scene, &refused, "step ca provisioner add", &words, &["--ca-config", &config]);
    scene.ca.restart();
    named(&scene).ok();

    // A key in a form that no step makes any more.
    with_provisioners(&mut scene, |list| {
        let jwk = list.iter_mut().find(|one| one["type"] == "JWK").expect("a JWK provisioner");
        jwk["encryptedKey"] = "not.a.key".into();
    });
    let refused = run(&scene, "provisioner").fails(2);
    refused.says(["shows it; `step ca provisioner remove NAME`, then `step ca provisioner add NAME"]);
    let listed = on_the_host(&scene, &refused, "step ca provisioner list", &[], &[]);
    assert!(listed.contains("not.a.key"), "{listed}");
    let name = [("NAME", "added")];
    on_the_host(&scene, &refused, "step ca provisioner remove", &name, &["--ca-config", &config]);
    on_the_host(&scene, &refused, "step ca provisioner add", &name, &with_key);
    scene.ca.restart();
    run(&scene, "provisioner").ok();
}

/// The same token and the same birth certificate work by the right clock.
#[test]
#[ignore = "needs step-ca and libfaketime"]
fn a_wrong_clock_is_corrected() {
    let scene = Scene::new(StepCaOptions { database: Database::None, ..StepCaOptions::default() });
    let under = |time: &str, run: Trustup| {
        let run = run.on_debug_build().env("LD_PRELOAD", faketime()).env("FAKETIME", time);
        run.env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let token = scene.token(now(), &scene.ca.url(), &["web.internal"]);
    let run = under("-10m", scene.by_token(&token)).fails(4);
    run.says(["wait until then; or correct the clocks: the one that made the token is ahead"]);
    scene.by_token(&token).ok();
    let birth = scene.ca.birth_pair_with(scene.place.path(), "web.internal", |params| {
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    });
    let by_birth = || {
        let run = scene.of_ca("x5c").args(["web.internal", "--force", "--x5c-cert"]).arg(&birth.cert);
        run.arg("--x5c-key").arg(&birth.key)
    };
    let run = under("@2020-01-01 00:00:00", by_birth()).fails(4);
    run.says(["is not valid before 2024-01-01", "hint: check this machine's clock"]);
    by_birth().ok();
}
