//! Files that people give by mistake (public reports): each is named, and none loses a root silently. What openssl and
//! other programs write is in `tests/tools/wrong_input.rs`, where the hints are followed.

use std::path::PathBuf;

use super::cli::Scene;
use crate::support::ca;

fn given(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/input").join(name)
}

/// SHA-256 of the root in most of these files.
const GOOD: &str = "c5e4d662e76b907838c25a95bcbf5c0e701f3813a8bddd1282712500e510f5e9";

#[test]
fn files_of_the_field_are_read_or_named() {
    // What AD CS and Windows write is read.
    for name in ["certnew-p7-labelled-certificate.p7b", "trust-only.p12", "bom.pem", "good.crt"] {
        let scene = Scene::new("debian-12-minimal");
        let answer = scene.with_file(&given(name)).arg("--json").ok().json();
        assert_eq!(answer["anchors"][0]["fingerprint"], GOOD, "{name}: {answer}");
    }
    let named = [
        ("crl.der", "this is a certificate revocation list (CRL), not a certificate"),
        ("endash.pem", "in place of its hyphens (U+2013"),
        ("enddash4.pem", "its END line is damaged"),
        ("literal-n.pem", "its line ends are written as the two characters `\\n`"),
        ("mixed-utf8-utf16.pem", "two encodings: from line 13 on, a part of it is in UTF-16"),
        ("utf16le.pem", "text in UTF-16"),
    ];
    let scene = Scene::new("debian-12-minimal");
    for (name, wanted) in named {
        scene.refuses(scene.with_file(&given(name)), 2, [wanted, name, "hint:"]);
        let bytes = std::fs::read(given(name)).unwrap();
        scene.refuses(scene.trustup(["bootstrap", "--ca-file", "-"]).stdin(bytes), 2, [wanted]);
    }
}

/// In a directory, where unreadable files are skipped, each is named too.
#[test]
fn in_a_directory_each_is_named() {
    let scene = Scene::new("debian-12-minimal");
    let directory = scene.file("certificates");
    std::fs::create_dir(&directory).unwrap();
    let names =
        ["good.crt", "trust-only.p12", "crl.der", "endash.pem", "literal-n.pem", "mixed-utf8-utf16.pem"];
    for name in names {
        std::fs::copy(given(name), directory.join(name)).unwrap();
    }
    let answer = scene.with_file(&directory).arg("--json").ok().json();
    assert_eq!(answer["anchors"].as_array().map(Vec::len), Some(1), "{answer}");
    let left_out = answer["left_out"].as_array().unwrap();
    for (name, wanted) in [
        ("crl.der", "CRL"),
        ("endash.pem", "hyphens"),
        ("literal-n.pem", "`\\n`"),
        ("mixed-utf8-utf16.pem", "UTF-16"),
    ] {
        let is_named = left_out.iter().any(|left| {
            left["source"].as_str().unwrap().ends_with(name)
                && left["reason"].as_str().unwrap().contains(wanted)
        });
        assert!(is_named, "{name}: {answer}");
    }
}

/// Whatever is wrong with the second root of a file: it is installed, or the run says that it is not.
#[test]
fn no_root_is_dropped_silently() {
    let other = ca::root("The Other Root");
    let pem = &other.pem;
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(pem)
    };
    let body: String =
        pem.lines().filter(|line| !line.contains("---")).map(|line| format!("{line}\n")).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("BEGIN with four hyphens", pem.replacen("-----BEGIN", "----BEGIN", 1).into()),
        ("BEGIN with four hyphens behind", pem.replacen("CERTIFICATE-----", "CERTIFICATE----", 1).into()),
        ("END with four hyphens", pem.replacen("-----END", "----END", 1).into()),
        (
            "small letters",
            pem.replace("BEGIN CERTIFICATE", "begin certificate").replace("END CERT", "end cert").into(),
        ),
        ("en dashes", pem.replace('-', "\u{2013}").into()),
        ("minus signs", pem.replace("-----", "\u{2212}\u{2212}\u{2212}\u{2212}\u{2212}").into()),
        ("a space among the hyphens", pem.replace("-----BEGIN", "- ----BEGIN").into()),
        ("a non-breaking space in the marker", pem.replace("BEGIN CERT", "BEGIN\u{a0}CERT").into()),
        ("a non-breaking space in the body", pem.replacen("\nMII", "\n\u{a0}MII", 1).into()),
        ("no BEGIN line", pem.split_once('\n').unwrap().1.into()),
        ("no END line", pem.split("-----END").next().unwrap().into()),
        ("neither", body.clone().into()),
        ("neither, on one line", body.replace('\n', "").into()),
        ("base64 of PEM", base64.into()),
        ("UTF-16", wide(pem)),
        ("UTF-16 with a mark", wide(&format!("\u{feff}{pem}"))),
        ("DER", other.der.clone()),
        ("literal line ends", pem.replace('\n', "\\n").into()),
        ("a CRL's label", pem.replace("CERTIFICATE", "X509 CRL").into()),
        ("another END", pem.replace("END CERTIFICATE", "END X509 CERTIFICATE").into()),
    ];
    for (case, broken) in cases {
        for behind in [true, false] {
            let scene = Scene::new("debian-12-minimal");
            let good = scene.ca.pem.clone().into_bytes();
            let content = if behind { [good, broken.clone()] } else { [broken.clone(), good] }.concat();
            let file = scene.put("two.pem", content);
            let run = scene.with_file(&file).arg("--json").run();
            let answer = run.json();
            if run.code == Some(0) {
                let anchors = answer["anchors"].to_string();
                let is_there = anchors.contains(&other.pin());
                let is_named = answer["left_out"].as_array().is_some_and(|left| !left.is_empty());
                assert!(is_there || is_named, "{case}, behind: {behind}: {run}");
            } else {
                assert_eq!(run.code, Some(2), "{case}: {run}");
                assert!(answer["error"].to_string().contains("two.pem"), "{case}: {run}");
            }
        }
    }
}

/// T6: a key in any of these forms fails the run, is never accepted and never quoted.
#[test]
fn t6_a_key_in_any_form_is_refused() {
    use base64::Engine as _;
    let scene = Scene::new("debian-12-minimal");
    let (pem, key) = (&scene.ca.pem, &scene.ca.key_pem);
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("UTF-16 without a mark", wide(key)),
        ("a certificate, and a key in UTF-16", [pem.clone().into_bytes(), wide(key)].concat()),
        ("base64 of PEM", base64(key).into()),
        ("base64 of both", base64(&format!("{pem}{key}")).into()),
        (
            "a Kubernetes Secret",
            format!(
                "apiVersion: v1\nkind: Secret\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
                base64(pem),
                base64(key)
            )
            .into(),
        ),
        (
            "the same as JSON",
            format!(
                "{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{{\"tls.crt\":\"{}\",\"tls.key\":\"{}\"}}}}",
                base64(pem),
                base64(key)
            )
            .into(),
        ),
        ("literal line ends", format!("{pem}{key}").replace('\n', "\\n").into()),
        ("en dashes", format!("{pem}{}", key.replace('-', "\u{2013}")).into()),
    ];
    let secret: Vec<&str> = key.lines().filter(|line| !line.contains('-')).collect();
    for (case, content) in cases {
        eprintln!("--- {case}");
        let file = scene.put("secret.yaml", content);
        let run = scene.refuses(scene.with_file(&file), 2, ["private key", "secret.yaml"]);
        assert!(!secret.iter().any(|line| run.stderr.contains(line)), "{run}");
        let directory = scene.file("certificates");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::copy(&file, directory.join("a.yaml")).unwrap();
        scene.ca.write(&directory, "b.pem");
        scene.refuses(scene.with_file(&directory), 2, ["private key"]);
    }
}

/// What OpenSSL, keytool, Windows and browsers print, wherever a fingerprint is written.
#[test]
fn a_fingerprint_is_read_as_programs_print_it() {
    let colons = |pin: &str| {
        let pairs: Vec<String> =
            pin.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
        pairs.join(":")
    };
    let scene = Scene::new("debian-12-minimal");
    let file = scene.put("root.pem", &scene.ca.pem);
    let pin = scene.ca.pin();
    for spelling in [
        format!("sha256 Fingerprint={}", colons(&pin)),
        format!("SHA256 Fingerprint={}\n", colons(&pin)),
        format!("SHA-256:{pin}"),
        format!("  \"sha256:{}\"  ", pin.to_uppercase()),
    ] {
        let run =
            scene.with_file(&file).args(["--dry-run", "--require-pin", "--fingerprint", &spelling]).ok();
        assert!(run.stdout.contains(&pin) || run.stderr.contains(&pin), "{run}");
        // The source and its pin come from one layer (threat T1).
        let variables = scene.trustup(["bootstrap", "--dry-run", "--require-pin"]);
        variables.env("TRUSTUP_CA_FILE", &file).env("TRUSTUP_FINGERPRINT", &spelling).ok();
        let toml = scene.put(
            "trustup.toml",
            format!(
                "[trust]\nca_file = [{:?}]\nrequire_pin = true\nfingerprint = [{:?}]\n",
                file.to_str().unwrap(),
                spelling.trim()
            ),
        );
        scene.trustup(["bootstrap", "--dry-run", "--config"]).arg(toml).ok();
    }
    for wrong in [&format!("SHA1 Fingerprint={}", colons(&pin[..40])), &pin[..40], &colons(&pin[..40])] {
        let run = scene.with_file(&file).args(["--fingerprint", wrong]);
        scene.refuses(run, 2, ["SHA-1", "SHA-256", "-sha256"]);
    }
}
