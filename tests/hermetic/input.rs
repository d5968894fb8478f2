//! What comes in: certificates that are none, keys, names that harm, directories, pins (threats T4, T6, T15).

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, date_time_ymd};

use super::cli::Scene;
use crate::support::ca;
use crate::support::run::Trustup;
use crate::support::tree::Tree;

#[test]
fn a_private_key_in_the_input_fails_the_run_and_is_never_copied_or_quoted() {
    let scene = Scene::new("debian-12");
    let body = scene.ca.key_pem.lines().nth(1).unwrap();
    let contents = [
        format!("{}{}", scene.ca.pem, scene.ca.key_pem),
        format!("{}{}", scene.ca.key_pem, scene.ca.pem),
        scene.ca.key_pem.clone(),
        format!("{}{}", scene.ca.pem, scene.ca.key_pem.replace("PRIVATE KEY", "EC PRIVATE KEY")),
        format!("{}{}", scene.ca.pem, scene.ca.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
    ];
    for content in contents {
        let file = scene.put("with-key.pem", content);
        let run = scene.refuses(scene.with_file(&file), 2, ["private key"]);
        assert!(!run.stderr.contains(body), "{run}");
        // As one file of a directory as well: a key always fails the run.
        let directory = scene.file("directory");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(&file, directory.join("a.pem")).unwrap();
        scene.ca.write(&directory, "b.pem");
        scene.refuses(scene.with_file(&directory), 2, ["private key"]);
    }
}

#[test]
fn what_is_no_root_certificate_is_refused_with_its_reason() {
    let scene = Scene::new("debian-12");
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut leaf = named("leaf.test");
    leaf.is_ca = IsCa::ExplicitNoCa;
    let mut intermediate = named("An Intermediate");
    intermediate.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut early = ca::root_params("From The Future");
    early.not_before = date_time_ymd(2089, 1, 1);
    let pem = &scene.ca.pem;
    let cut = &pem[..pem.len() / 2];
    let cases: &[(&str, String, &str)] = &[
        ("empty", String::new(), "empty"),
        ("HTML", "<!DOCTYPE html><html><body>404</body></html>".to_owned(), "web page"),
        ("text", "hello\n".to_owned(), "certificate"),
        ("cut off", cut.to_owned(), "END"),
        ("leaf", scene.ca.sign(leaf.clone()), "CA"),
        ("self-signed leaf", ca::root_with(leaf).pem, "CA"),
        ("no basicConstraints", ca::root_with(named("No Constraints")).pem, "basicConstraints"),
        ("intermediate", scene.ca.sign(intermediate.clone()), "--allow-intermediate"),
        ("not yet valid", ca::root_with(early).pem, "valid"),
    ];
    for (case, content, wanted) in cases {
        eprintln!("--- {case}");
        let file = scene.put("bad.pem", content);
        scene.refuses(scene.with_file(&file), 2, [*wanted, "bad.pem"]);
        scene.refuses(scene.trustup(["bootstrap", "--ca-file", "-"]).stdin(content.as_bytes()), 2, [*wanted]);
    }
    let file = scene.put("intermediate.pem", scene.ca.sign(intermediate));
    scene.with_file(&file).arg("--allow-intermediate").ok();
}

#[test]
fn a_file_with_many_leaves_the_unsuitable_ones_out_and_names_them() {
    let scene = Scene::new("debian-12-minimal");
    let mut params = ca::root_params("Expired Root");
    params.not_after = date_time_ymd(2021, 1, 1);
    let expired = ca::root_with(params);
    let file = scene.put("many.pem", format!("{}{}", scene.ca.pem, expired.pem));
    let run = scene.with_file(&file).arg("--json").ok();
    let answer = run.json();
    assert_eq!(answer["anchors"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["anchors"][0]["fingerprint"], scene.ca.pin().as_str());
    assert_eq!(answer["left_out"][0]["fingerprint"], expired.pin().as_str());
    assert!(answer["left_out"][0]["reason"].as_str().unwrap().contains("expired"), "{answer}");
    let none = Scene::new("debian-12-minimal");
    let file = none.put("none.pem", format!("{0}{0}", expired.pem));
    none.refuses(none.with_file(&file), 2, ["expired"]);
}

#[test]
fn input_comes_from_a_directory_and_from_standard_input() {
    let scene = Scene::new("debian-12-minimal");
    let other = ca::root("Second Root");
    let directory = scene.file("certificates");
    // What Kubernetes makes of a mounted ConfigMap.
    fs::create_dir_all(directory.join("..2026")).unwrap();
    scene.ca.write(&directory.join("..2026"), "a.crt");
    other.write(&directory.join("..2026"), "b.pem");
    std::os::unix::fs::symlink("..2026", directory.join("..data")).unwrap();
    for name in ["a.crt", "b.pem"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), directory.join(name)).unwrap();
    }
    let answer = scene.with_file(&directory).arg("--json").ok().json();
    assert_eq!(answer["anchors"].as_array().map(Vec::len), Some(2), "{answer}");
    let scene = Scene::new("debian-12-minimal");
    let run = scene.trustup(["bootstrap", "--json", "--ca-file", "-"]).stdin(scene.ca.pem.as_bytes());
    assert_eq!(run.ok().json()["anchors"][0]["fingerprint"], scene.ca.pin().as_str());
}

#[test]
fn pins_choose_and_each_must_be_found() {
    let scene = Scene::new("debian-12-minimal");
    let other = ca::root("Second Root");
    let file = scene.put("both.pem", format!("{}{}", scene.ca.pem, other.pem));
    let colons: Vec<String> =
        scene.ca.pin().as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).to_uppercase()).collect();
    let answer = scene.with_file(&file).args(["--json", "--fingerprint", &colons.join(":")]).ok().json();
    assert_eq!(answer["anchors"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["left_out"][0]["fingerprint"], other.pin().as_str(), "{answer}");
    let scene = Scene::new("debian-12-minimal");
    let file = scene.put("both.pem", format!("{}{}", scene.ca.pem, other.pem));
    let missing = "f".repeat(64);
    let run = scene.with_file(&file).args(["--fingerprint", &scene.ca.pin(), "--fingerprint", &missing]);
    scene.refuses(run, 4, [missing.as_str()]);
}

/// T4 and T15: what a certificate says of itself is shown harmlessly, or refused.
#[test]
fn names_in_certificates_are_refused_or_escaped() {
    let long = "x".repeat(201);
    let subjects = ["a\nb", "a\x1b[31mred", "a\u{202e}b", "a\0b", "a\u{85}b", &long];
    for subject in subjects {
        let scene = Scene::new("debian-12");
        let file = ca::root(subject).write(scene.given.path(), "odd.pem");
        let run = scene.refuses(scene.with_file(&file), 2, ["odd.pem"]);
        for bad in ['\x1b', '\u{202e}', '\0', '\u{85}'] {
            assert!(!run.stderr.contains(bad), "{subject:?}: {run}");
        }
    }
    for (subject, slug) in
        [("$(touch x) `id`", "touch"), ("../../etc/passwd", "etc_passwd"), ("-rf", "rf"), ("Ünïcödé", "")]
    {
        let scene = Scene::new("debian-12");
        let root = ca::root(subject);
        let file = root.write(scene.given.path(), "odd.pem");
        scene.with_file(&file).ok();
        let local = scene.root.path().join("usr/local/share/ca-certificates");
        let names: Vec<String> = fs::read_dir(local)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let [name] = names.as_slice() else { panic!("{names:?}") };
        assert!(name.ends_with(&format!("{}.crt", root.fingerprint.short(16))), "{name}");
        assert!(name.contains(slug), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{name}");
        assert!(!name.starts_with(['.', '-']), "{name}");
        scene.trustup(["untrust", "--all"]).ok();
        scene.before.assert_same(&Tree::of(scene.root.path()), subject);
    }
}

#[test]
fn a_directory_that_others_can_write_is_warned_of_unless_pinned() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new("debian-12-minimal");
    let directory = scene.file("certificates");
    fs::create_dir(&directory).unwrap();
    scene.ca.write(&directory, "a.pem");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let answer = scene.with_file(&directory).arg("--json").ok().json();
    assert!(answer["warnings"].to_string().contains("0777"), "{answer}");
    let strict = Scene::new("debian-12-minimal");
    strict.refuses(strict.with_file(&directory).arg("--require-pin"), 2, ["--fingerprint"]);
    strict.with_file(&directory).args(["--require-pin", "--fingerprint", &scene.ca.pin()]).ok();
}

/// A password that stands where a port should be, and other ways to write an address wrongly: in no error (threat T15).
#[test]
fn t15_what_is_no_url_is_shown_without_its_secrets() {
    let given = tempfile::tempdir().unwrap();
    let root = ca::root("Malformed URL Root");
    let file = root.write(given.path(), "root.pem");
    let (pin, file) = (root.pin(), file.to_str().unwrap().to_owned());
    let values = [
        "https://ca.test:hunter2/x",
        "https://ca.test:hunter2",
        "https://:hunter2@ca .test/",
        "https://bob:hunter2/x@ca.test/",
        "https://ca.test:9000:hunter2/",
        "https://ca.test /hunter2",
        "https://[hunter2]/",
        "https:/\\ca.test:hunter2/",
        "https//ca.test:hunter2/",
        "ca.test:hunter2/x",
        "hunter2@ca.test:x",
        "ftp://ca.test:hunter2/",
        "ftp://bob:hunter2@ca.test/",
    ];
    for value in values {
        let place = ["--cert", "/nowhere/c", "--key", "/nowhere/k"];
        let enroll = |args: &[&str]| Trustup::new(["enroll"]).args(args).arg("web.test").args(place);
        let toml = |keys: &str| {
            let path = given.path().join("trustup.toml");
            let text = keys.replace("VALUE", &value.replace('\\', "\\\\")).replace("PIN", &pin);
            std::fs::write(&path, text).unwrap();
            Trustup::new(["bootstrap", "--stores", "none", "--config"]).arg(path)
        };
        let bootstrap = |args: &[&str]| Trustup::new(["bootstrap", "--stores", "none"]).args(args);
        let runs = [
            bootstrap(&["--ca-url", value, "--fingerprint", &pin]),
            bootstrap(&["--root-url", value, "--fingerprint", &pin]),
            bootstrap(&["--bundle-url", value]),
            bootstrap(&[]).env("CA_URL", value).env("CA_FINGERPRINT", &pin),
            bootstrap(&[]).env("CA_BUNDLE_URL", value),
            bootstrap(&[]).env("TRUSTUP_CA_URL", value).env("TRUSTUP_FINGERPRINT", &pin),
            bootstrap(&[]).env("TRUSTUP_BUNDLE_URL", value),
            bootstrap(&["--bundle-url", "https://127.0.0.1:1/"]).env("https_proxy", value),
            enroll(&["token", "--ca-url", value, "--fingerprint", &pin, "--token-file", &file]),
            enroll(&["acme", "--directory", value, "--ca-root", &file, "--webroot", "/nowhere"]),
            Trustup::new([
                "token",
                "web.test",
                "--provisioner",
                "x",
                "--provisioner-key",
                &file,
                "--ca-url",
                value,
                "--fingerprint",
                &pin,
            ]),
            Trustup::new([
                "token",
                value,
                "--provisioner",
                "x",
                "--provisioner-key",
                &file,
                "--ca-url",
                "https://ca.test",
            ]),
            toml("[ca]\nurl = \"VALUE\"\nfingerprint = \"PIN\"\n"),
            toml("[trust]\nroot_url = \"VALUE\"\nfingerprint = \"PIN\"\n"),
            toml("[trust]\nbundle_url = \"VALUE\"\n"),
        ];
        for run in runs {
            // What is said as JSON is said as text, too.
            let run = run.args(["--json", "--timeout", "3s"]).env("HOME", given.path()).run();
            assert_ne!(run.code, Some(0), "{value}: {run}");
            assert!(!format!("{}{}", run.stdout, run.stderr).contains("hunter2"), "{value}: {run}");
        }
    }
}
