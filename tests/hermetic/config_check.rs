//! `trustup config check` and the runs that it speaks for: what bootstrap or enroll would refuse in the file is an error of
//! the check, in the same words; what depends on this machine is none.

use std::fs;
use std::path::Path;

use crate::cli::Scene;
use crate::support::run::{Run, Trustup};

const PAIR: &str = "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/nowhere/c\"\nkey = \"/nowhere/k\"\n";
const PIN: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn check(file: &Path) -> Trustup {
    Trustup::new(["config", "check", "--json", "--config"]).arg(file)
}

/// The one problem that the check found, and the error of the run: both in words.
#[track_caller]
fn words(check: &Run, run: &Run) -> (String, String) {
    let problems = check.json()["problems"].as_array().cloned().unwrap_or_default();
    let [problem] = &problems[..] else { panic!("{} problems: {check}", problems.len()) };
    let text = |error: &serde_json::Value| format!("{} at {}", error["what"], error["place"]);
    (text(problem), text(&run.json()["error"]))
}

#[test]
fn check_refuses_what_bootstrap_refuses() {
    let scene = Scene::new("debian-12");
    let root = scene.file("root.pem").display().to_string();
    let cases = [
        ("[ca]\nurl = \"https://127.0.0.1:1\"".to_owned(), "`ca.url` needs a fingerprint"),
        ("[trust]\nbundle_url = \"http://127.0.0.1:1/b.pem\"".to_owned(), "plain http must be pinned"),
        ("[trust]\nall_roots = true".to_owned(), "`trust.all_roots` asks a step-ca"),
        (format!("[trust]\nbundle_sha256 = \"{PIN}\""), "`trust.bundle_sha256` pins a bundle"),
        (
            format!("[ca]\nfingerprint = \"{PIN}\"\n[trust]\nbundle_url = \"https://127.0.0.1:1/b.pem\""),
            "has nothing to pin",
        ),
        (
            "[trust]\nroot_url = \"https://127.0.0.1:1/root.pem\"".to_owned(),
            "`--root-url` needs a fingerprint",
        ),
        (format!("[trust]\nca_file = {root:?}\nrequire_pin = true"), "`--require-pin` is given"),
        (format!("[trust]\nca_file = {root:?}\nname = \"a/b\""), "the name of an anchor"),
        (format!("[trust]\nca_file = {root:?}\nstores = [\"none\", \"java\"]"), "excludes every other"),
        (format!("[trust]\nca_file = {root:?}\nstores = \"java\"\nfirefox_policy = true"), "needs `system`"),
        (format!("[trust]\nca_file = {root:?}\nstores = \"system\"\ncreate_nss = true"), "need `nss`"),
        (format!("[trust]\nca_file = {root:?}\nstores = \"system\"\nnss_db = \"/db\""), "need `nss`"),
        (format!("[trust]\nca_file = {root:?}\nstores = \"nss\"\ncreate_java = true"), "needs `java`"),
        (
            format!("[trust]\nca_file = {root:?}\nstores = \"private\"\nca_out = \"/x\""),
            "with the system's stores",
        ),
        ("[trust]\nstores = [\"none\", \"java\"]".to_owned(), "excludes every other"),
    ];
    for (text, wanted) in cases {
        let file = scene.put("trustup.toml", &text);
        let checked = check(&file).fails(2);
        let run = scene.trustup(["bootstrap", "--json", "--config"]).arg(&file).fails(2);
        let (of_check, of_run) = words(&checked, &run);
        assert_eq!(of_check, of_run, "{text}");
        assert!(of_check.contains(wanted), "{text}\n{of_check}");
    }
}

#[test]
fn check_refuses_what_enroll_refuses() {
    let scene = Scene::new("debian-12");
    let acme = |keys: &str| format!("{PAIR}enroll = {{method = \"acme\", {keys}}}");
    let token = |keys: &str| format!("{PAIR}{keys}\nenroll = {{method = \"token\", token = \"x\"}}");
    let rfc2136 = "rfc2136 = {server = \"ns\", key_name = \"k\", secret = \"c2VjcmV0\"}";
    let cases = [
        (acme("directory = \"https://x/\", provisioner = \"y\""), "`directory` and `provisioner` both"),
        (acme("eab_kid = \"x\""), "`eab_kid` needs `eab_hmac_key`"),
        (acme("challenge = \"http-01\", tls_listen = \":8443\""), "`tls_listen` is not for the challenge"),
        (acme("challenge = \"tls-alpn-01\", webroot = \"/w\""), "`webroot` is not for the challenge"),
        (acme(&format!("challenge = \"http-01\", {rfc2136}")), "`rfc2136.server` is not for the challenge"),
        (acme("dns_hook = [\"hook\"]"), "should begin with the absolute path"),
        (acme(&format!("dns_hook = [\"/bin/hook\"], {rfc2136}")), "both configure DNS updates"),
        (
            acme("directory = \"https://127.0.0.1:1/d\", challenge = \"http-01\"")
                .replace("a.test", "*.a.test"),
            "a wildcard can be validated by dns-01 only",
        ),
        (
            acme("directory = \"https://127.0.0.1:1/d\"").replace("a.test", "a@b.test"),
            "ACME has no certificates for e-mail",
        ),
        (
            acme(&format!("directory = \"https://127.0.0.1:1/d\", challenge = \"dns-01\", {rfc2136}"))
                .replace("a.test", "10.0.0.1"),
            "an address cannot be validated by dns-01",
        ),
        (token("key_mode = \"0644\""), "a private key cannot have the mode 0644"),
        (token("cert_mode = \"0666\""), "a certificate cannot have the mode 0666"),
        (token("chain = \"/x/chain\"\nlayout = \"versioned\""), "must be in one directory"),
        (token("chain = \"/nowhere/c\""), "two of the files have the same path"),
        (token("ca_out = \"/dev/stdout\""), "standard output"),
    ];
    for (text, wanted) in cases {
        let file = scene.put("trustup.toml", &text);
        let checked = check(&file).fails(2);
        let run = Trustup::new(["enroll", "--json", "--config"]).arg(&file).env("HOME", "/none").fails(2);
        let (of_check, of_run) = words(&checked, &run);
        assert_eq!(of_check, of_run, "{text}");
        assert!(of_check.contains(wanted), "{text}\n{of_check}");
    }
}

/// What the image lacks where the file is checked, another machine has.
#[test]
fn what_depends_on_the_machine_is_no_error() {
    let scene = Scene::new("debian-12");
    for (text, warnings) in [
        // Enroll knows roots that an earlier bootstrap recorded; the file does not have to name them.
        (format!("[ca]\nurl = \"https://127.0.0.1:1\"\n{PAIR}enroll = {{method = \"acme\"}}"), 1),
        (format!("[ca]\nfingerprint = \"{PIN}\"\n{PAIR}enroll = {{method = \"acme\"}}"), 1),
        (format!("{PAIR}owner = \"nobody-here:no-group\"\nenroll = {{method = \"acme\"}}"), 0),
        ("[ca]\nroot = \"/nowhere/root.pem\"".to_owned(), 0),
        (
            "[trust]\nca_file = \"/nowhere\"\njava_storepass_file = \"/nowhere\"\nnss_user = \"nobody-here\""
                .to_owned(),
            0,
        ),
        // Sources may be those of the command line.
        ("[trust]\nstores = \"system\"\nstrict = true".to_owned(), 0),
        (format!("[ca]\nprovisioner = \"x\"\n{PAIR}enroll = {{method = \"acme\"}}"), 0),
        (String::new(), 0),
    ] {
        let file = scene.put("trustup.toml", &text);
        let json = check(&file).env("HOME", "/none").ok().json();
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(warnings), "{text}\n{json}");
        assert_eq!(json["ok"], true, "{text}");
    }
}

/// The environment is that of the run: what names a source there takes the place of the file's (threat T1).
#[test]
fn check_sees_the_variables_that_the_run_sees() {
    let scene = Scene::new("debian-12");
    let file = scene.put("trustup.toml", "[trust]\nstores = \"java\"\nfirefox_policy = true\n");
    check(&file).fails(2);
    check(&file).env("TRUSTUP_STORES", "system").ok();
    let file = scene.put("trustup.toml", "[trust]\nbundle_url = \"http://127.0.0.1:1/b.pem\"\n");
    check(&file).env("TRUSTUP_CA_FILE", scene.file("root.pem")).ok();
    let run = check(&file).env("TRUSTUP_BUNDLE_SHA256", "").fails(2);
    assert!(run.stdout.contains("`TRUSTUP_BUNDLE_SHA256` is set, and empty"), "{run}");
    fs::remove_file(file).unwrap();
}

#[test]
fn options_stand_before_and_behind_the_method() {
    let scene = Scene::new("debian-12");
    let file = scene.file("no-token").display().to_string();
    let pair = ["--cert", "/nowhere/c", "--key", "/nowhere/k"];
    for line in [
        [&["enroll"], &pair[..], &["--token-file", &file, "token", "a.test"]].concat(),
        [&["enroll", "token"], &pair[..], &["a.test", "--token-file", &file]].concat(),
        [&["enroll", "--token-file", &file], &pair[..2], &["token", "a.test"], &pair[2..]].concat(),
    ] {
        Trustup::new(line).env("HOME", "/none").fails(2).says(["could not read the token", &file]);
    }
    let twice = ["enroll", "--cert", "/a", "token", "--cert", "/b"];
    Trustup::new(twice).fails(2).says(["`--cert` is given twice", "hint"]);
    let both = ["enroll", "--token", "x", "token", "--token-file", "/b"];
    Trustup::new(both).fails(2).says(["exclude each other", "--token-file"]);
    Trustup::new(["enroll", "tokne"]).fails(2).says([
        "has no method `tokne`",
        "did you mean `token`?",
        "`acme`",
    ]);
    // A command behind `--` is no method, even if it is called so.
    let run = Trustup::new(["enroll", "--", "token"]).env("HOME", "/none").env("PATH", "/none").fails(127);
    run.says(["could not start the command", "token"]);
}

#[test]
fn the_help_of_a_method_has_its_options_alone() {
    let help = Trustup::new(["enroll", "acme", "--help"]).ok().stdout;
    for wanted in ["--webroot", "--cert", "--ca-url", "Exit codes", "Examples"] {
        assert!(help.contains(wanted), "{wanted}: {help}");
    }
    for other in ["--token-file", "--x5c-cert", "--password-file"] {
        assert!(!help.contains(&format!("      {other}")), "{other}: {help}");
    }
    let top = Trustup::new(["enroll", "--help"]).ok().stdout;
    for method in ["token", "provisioner", "x5c", "acme", "any"] {
        assert!(top.contains(&format!("\n  {method} ")), "{method}: {top}");
    }
}
