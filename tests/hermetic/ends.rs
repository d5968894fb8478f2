//! When roots and certificates end: shown by `status` and `doctor`, and a reason to act (`--within`).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::stores::Scene;
use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup};

const DAY: i64 = 24 * 3600;

/// It lives from and until so many days from now.
fn lives(params: &mut CertificateParams, from: i64, until: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let moment = |days: i64| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(now.checked_add_signed(days * DAY).unwrap())
    };
    (params.not_before, params.not_after) = (moment(from), moment(until));
}

fn root(name: &str, from: i64, until: i64) -> Root {
    let mut params = ca::root_params(name);
    lives(&mut params, from, until);
    ca::root_with(params)
}

/// A root file system in which this root is installed.
fn with(root: &Root) -> Scene {
    let scene = Scene::new("debian-12");
    let file = root.write(scene.given.path(), "dated.pem");
    scene.trustup(["bootstrap", "--allow-expired", "--ca-file"]).arg(file).ok();
    scene
}

fn early(answer: &Value) -> Vec<(String, String)> {
    let all = answer["ends_early"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned()))
        .collect()
}

fn said(run: &Run) -> String {
    format!("{}{}", run.stdout, run.stderr)
}

#[test]
fn the_end_of_every_root_is_shown_and_within_asks_for_more() {
    let scene = with(&root("Root of Forty Days", -1, 40));
    for command in ["status", "doctor"] {
        let run = scene.trustup([command]).ok();
        assert!(run.stdout.contains("valid until 20"), "{run}");
        scene.trustup([command, "--within", "30d"]).ok();
        let run = scene.trustup([command, "--within", "41d"]).fails(4);
        assert!(said(&run).contains("the root CN=Root of Forty Days ends at"), "{run}");
        let answer = scene.trustup([command, "--json", "--within", "1000h"]).fails(4).json();
        assert_eq!(early(&answer), [("CN=Root of Forty Days".to_owned(), "within".to_owned())]);
        assert_eq!(answer[if command == "status" { "all_there" } else { "all_good" }], false, "{answer:#}");
        assert!(answer["anchors"][0]["not_after"].as_str().unwrap().ends_with('Z'), "{answer:#}");
        assert!(answer["warnings"].to_string().contains("Root of Forty Days"), "{answer:#}");
        scene.trustup([command, "--within", "soon"]).fails(2);
    }
}

#[test]
fn a_root_that_has_ended_or_not_begun_is_not_green() {
    for (from, until, reason) in [(-40, -1, "ended"), (1, 40, "not-yet-valid")] {
        let scene = with(&root("Root of Another Time", from, until));
        for command in ["status", "doctor"] {
            let answer = scene.trustup([command, "--json"]).fails(4).json();
            assert_eq!(early(&answer), [("CN=Root of Another Time".to_owned(), reason.to_owned())]);
            let run = scene.trustup([command]).fails(4);
            assert!(said(&run).contains("the root CN=Root of Another Time"), "{run}");
        }
        // What is only known is not in use.
        scene.untrust().ok();
    }
}

/// On `/`, where trustup.toml says what `enroll` keeps.
#[test]
fn the_end_of_a_pair_is_the_earliest_in_its_chain() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let authority = root("Root of Pairs", -100, 400);
    let leaf = |issuer: &Root, until: i64| {
        let mut params = CertificateParams::new(["web.test".to_owned()]).unwrap();
        lives(&mut params, -2, until);
        ca::pem("CERTIFICATE", &issuer.sign_for(params, &KeyPair::generate().unwrap()))
    };
    let short = |until: i64| {
        let mut params = ca::root_params("Short Intermediate");
        lives(&mut params, -2, until);
        let key = KeyPair::generate().unwrap();
        let der = authority.sign_for(params.clone(), &key);
        (rcgen::Issuer::new(params, key), ca::pem("CERTIFICATE", &der))
    };
    let (issuer, intermediate) = short(10);
    let mut params = CertificateParams::new(["web.test".to_owned()]).unwrap();
    lives(&mut params, -2, 50);
    let below = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    fs::write(at("long.crt"), leaf(&authority, 50)).unwrap();
    fs::write(at("limited.crt"), ca::pem("CERTIFICATE", below.der()) + &intermediate).unwrap();
    fs::write(at("over.crt"), leaf(&authority, -1)).unwrap();
    fs::write(at("broken.crt"), "no certificate").unwrap();
    let certificates = ["long", "limited", "over", "broken", "missing"].map(|name| {
        let path = |end: &str| at(&format!("{name}.{end}")).display().to_string();
        format!(
            "[[certificate]]\nnames = [\"web.test\"]\ncert = \"{}\"\nkey = \"{}\"\nenroll = {{ method = \"acme\", directory = \"https://ca.test/\" }}\n",
            path("crt"),
            path("key")
        )
    });
    let config = at("trustup.toml");
    fs::write(&config, certificates.concat()).unwrap();
    let asked = |more: &[&str]| {
        let run = Trustup::new(["status", "--json", "--config"]).arg(&config).args(more).run();
        let answer = run.json();
        let of = |path: &Path| {
            let all = answer["pairs"].as_array().unwrap().iter();
            all.clone().find(|one| one["cert"] == path.to_str().unwrap()).cloned().expect("a pair")
        };
        let pairs =
            ["long", "limited", "over", "broken", "missing"].map(|name| of(&at(&format!("{name}.crt"))));
        let reasons: Vec<String> = early(&answer)
            .into_iter()
            .filter(|(name, _)| name.starts_with(directory.path().to_str().unwrap()))
            .map(|(name, reason)| format!("{}: {reason}", name.rsplit('/').next().unwrap()))
            .collect();
        (pairs, reasons)
    };
    let ([long, limited, over, broken, missing], reasons) = asked(&[]);
    assert!(long["not_after"].is_string() && long["limited_by"].is_null() && long["problem"].is_null());
    assert_eq!(limited["limited_by"], "CN=Short Intermediate");
    assert!(limited["not_after"].as_str() < long["not_after"].as_str(), "{limited:#}");
    assert!(over["not_after"].is_string() && broken["problem"].is_string() && missing["problem"].is_string());
    assert_eq!(reasons, ["over.crt: ended"]);
    let (_, reasons) = asked(&["--within", "30d"]);
    let expected = ["limited.crt: within", "over.crt: ended", "broken.crt: unknown", "missing.crt: unknown"];
    assert_eq!(reasons, expected);
    let run = Trustup::new(["status", "--config"]).arg(&config).run();
    for words in ["as the intermediate CN=Short Intermediate", "no end: it is not there"] {
        assert!(run.stdout.contains(words), "{words}: {run}");
    }
    run.says(["over.crt` ended at", "trustup enroll"]);
    // One that no file names.
    let answer = Trustup::new(["status", "--json", "--cert"]).arg(at("long.crt")).run().json();
    assert_eq!(answer["pairs"][0]["cert"], at("long.crt").to_str().unwrap());
    let answer = Trustup::new(["status", "--json"])
        .env("TLS_DOMAINS", "web.test")
        .env("TLS_CERT_LOCATION", at("over.crt"))
        .env("TLS_KEY_LOCATION", at("over.key"))
        .run()
        .json();
    assert_eq!(answer["ends_early"][0]["reason"], "ended", "{answer:#}");
    // A file that others can write is refused, and accepted as by `bootstrap`.
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let within = || Trustup::new(["status", "--within", "30d", "--config"]).arg(&config);
    within().fails(2).says(["`--allow-shared-config`"]);
    within().arg("--allow-shared-config").fails(4);
    // A file that cannot be read is not the same as no certificate.
    fs::write(&config, "[[certificate").unwrap();
    Trustup::new(["status", "--within", "30d", "--config"]).arg(&config).fails(2);
}
