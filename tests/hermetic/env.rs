//! `env`: every format, what the user set, failures (nothing on stdout), private stores (threats T12, T15).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::cli::Scene;
use crate::support::binary;
use crate::support::ca;
use crate::support::program::copy_for_all;
use crate::support::run::{Run, Trustup};
use crate::support::tree::Tree;

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
pub(super) const ANCHOR: &str = "/usr/local/share/ca-certificates/corp.crt";
pub(super) const STATE: &str = "var/lib/trustup/state.json";
const REPLACES: [&str; 14] = [
    "HTTPLIB2_CA_CERTS",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "BUNDLE_SSL_CA_CERT",
    "HEX_CACERTS_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "NIX_SSL_CERT_FILE",
    "SSL_CERT_FILE",
];
const ADDS: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// A Debian with one root of ours, in the file [`ANCHOR`].
pub(super) fn trusting() -> Scene {
    let scene = Scene::new("debian-12");
    scene.with_file(&scene.file("root.pem")).args(["--name", "corp"]).ok();
    scene
}

/// What `env` should print: what replaces, what adds, and the directory.
fn wanted(bundle: &str, adds: &str, directory: Option<&str>) -> BTreeMap<String, String> {
    let replaces = REPLACES.iter().map(|name| (*name, bundle));
    let all = replaces.chain(ADDS.iter().map(|name| (*name, adds)));
    let all = all.chain(directory.map(|directory| ("SSL_CERT_DIR", directory)));
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What leads Java to a keystore.
pub(super) fn java_options(keystore: &str) -> String {
    format!("-Djavax.net.ssl.trustStore={keystore} -Djavax.net.ssl.trustStorePassword=changeit")
}

/// The variables that `format` prints, each line taken apart.
fn printed(run: &Run, before: &str, quote: &str) -> BTreeMap<String, String> {
    let lines = run.stdout.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let line = line.strip_prefix(before).unwrap_or_else(|| panic!("`{line}` of {run}"));
            let (name, value) = line.split_once('=').expect("an assignment");
            let value = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
            (name.to_owned(), value.expect("quotes").to_owned())
        })
        .collect()
}

fn objects(answer: &Value) -> &[Value] {
    answer["variables"].as_array().expect("variables")
}

pub(super) fn at(scene: &Scene, path: &str) -> std::path::PathBuf {
    scene.root.path().join(path)
}

#[test]
fn every_format_names_the_same_variables() {
    let scene = trusting();
    let wanted = wanted(BUNDLE, ANCHOR, Some("/etc/ssl/certs"));
    let before = Tree::of(scene.root.path());
    for (format, before, quote) in [("sh", "export ", "'"), ("dockerfile", "ENV ", "\""), ("docker", "", "")]
    {
        let run = scene.trustup(["env", "--format", format]).ok();
        assert_eq!(printed(&run, before, quote), wanted, "{format}");
        assert_eq!(run.stderr, "", "{format}");
    }
    let default = scene.trustup(["env"]).ok();
    assert_eq!(default.stdout, scene.trustup(["env", "--format", "sh"]).ok().stdout);
    let data = scene.trustup(["env", "--format", "json"]).ok();
    assert_eq!(data.stdout, scene.trustup(["env", "--json"]).ok().stdout);
    let answer = data.json();
    assert_eq!((&answer["schema_version"], &answer["command"]), (&json!(1), &json!("env")));
    assert_eq!(
        (&answer["bundle"], &answer["directory"], &answer["anchor"]),
        (&json!(BUNDLE), &json!("/etc/ssl/certs"), &json!(ANCHOR))
    );
    let rows = objects(&answer).iter().map(|row| {
        assert_eq!((&row["kept"], &row["kept_for"]), (&json!(false), &Value::Null), "{row}");
        assert!(row["readers"].as_str().is_some_and(|readers| !readers.is_empty()), "{row}");
        (row["name"].as_str().unwrap().to_owned(), row["value"].as_str().unwrap().to_owned())
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), wanted);
    before.assert_same(&Tree::of(scene.root.path()), "env only looks");
}

#[test]
fn what_adds_names_the_bundle_where_there_is_no_single_file() {
    let scene = trusting();
    ca::root("Second Root").write(scene.given.path(), "second.pem");
    scene.with_file(&scene.file("second.pem")).ok();
    let run = scene.trustup(["env"]).ok();
    assert_eq!(printed(&run, "export ", "'"), wanted(BUNDLE, BUNDLE, Some("/etc/ssl/certs")));
    // No anchor directory, no hashed directory.
    let bare = Scene::new("scratch");
    bare.with_file(&bare.file("root.pem")).ok();
    assert_eq!(printed(&bare.trustup(["env"]).ok(), "export ", "'"), wanted(BUNDLE, BUNDLE, None));
    // A root of the distribution has no file of ours.
    let vendor = Scene::new("debian-12");
    let bundle = fs::read_to_string(at(&vendor, &BUNDLE[1..])).unwrap();
    let end = bundle.find("-----END").unwrap();
    let one = vendor.put("vendor.pem", format!("{}-----END CERTIFICATE-----\n", &bundle[..end]));
    vendor.with_file(&one).ok();
    let run = vendor.trustup(["env"]).ok();
    assert_eq!(printed(&run, "export ", "'"), wanted(BUNDLE, BUNDLE, Some("/etc/ssl/certs")));
}

/// Where no package makes hash links, the directory holds no root of the distribution: whatever replaces its roots by
/// that directory would lose them.
#[test]
fn a_directory_without_the_vendors_roots_is_not_named() {
    let scene = Scene::new("alpine-3.20");
    scene.with_file(&scene.file("root.pem")).ok();
    let variables = printed(&scene.trustup(["env"]).ok(), "export ", "'");
    assert_eq!(variables.get("SSL_CERT_DIR"), None);
    assert_eq!(variables["SSL_CERT_FILE"], BUNDLE);
}

#[test]
fn paths_are_those_of_the_family() {
    let scene = Scene::new("fedora-42");
    scene.with_file(&scene.file("root.pem")).args(["--name", "corp"]).ok();
    let variables = printed(&scene.trustup(["env"]).ok(), "export ", "'");
    let tls = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    assert_eq!(variables["SSL_CERT_FILE"], tls, "neither e-mail's nor code signing's");
    assert!(variables["NODE_EXTRA_CA_CERTS"].starts_with("/etc/pki/ca-trust/source/anchors/corp"));
    for path in variables.values() {
        assert!(crate::support::tree::inside(scene.root.path(), path).is_some_and(|path| path.exists()));
    }
}

/// What it is, its content, and whether programs can be pointed at it.
type Mounted = (&'static str, fn(&Scene) -> Vec<u8>, bool);

#[test]
fn a_mounted_anchor_is_named_only_if_it_is_one_pem_certificate() {
    let cases: [Mounted; 2] = [
        ("one", |scene| scene.ca.pem.clone().into_bytes(), true),
        ("DER", |scene| scene.ca.der.clone(), false),
    ];
    for (case, content, named) in cases {
        let scene = Scene::new("fedora-42");
        let path = "/etc/pki/ca-trust/source/anchors/mounted";
        fs::write(at(&scene, &path[1..]), content(&scene)).unwrap();
        scene.with_file(&at(&scene, &path[1..])).ok();
        let variables = printed(&scene.trustup(["env"]).ok(), "export ", "'");
        assert_eq!(variables["NODE_EXTRA_CA_CERTS"] == path, named, "{case}: {variables:?}");
    }
}

#[test]
fn what_is_set_already_is_kept_and_said() {
    let scene = trusting();
    let with = |run: Trustup| {
        run.env("SSL_CERT_FILE", "/user/own.pem").env("NODE_EXTRA_CA_CERTS", ANCHOR).env("GIT_SSL_CAINFO", "")
    };
    let run = with(scene.trustup(["env"])).ok();
    let variables = printed(&run, "export ", "'");
    assert_eq!(variables.get("SSL_CERT_FILE"), None);
    assert_eq!(variables.get("CURL_CA_BUNDLE"), None, "it would go before the user's");
    assert_eq!(variables["NODE_EXTRA_CA_CERTS"], ANCHOR, "set to what it is to be");
    assert_eq!(variables["GIT_SSL_CAINFO"], BUNDLE, "empty is unset");
    assert_eq!(variables["REQUESTS_CA_BUNDLE"], BUNDLE, "requests does not read the user's");
    let comments: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with('#')).collect();
    assert!(comments.contains(&"# SSL_CERT_FILE is already set and keeps its value: /user/own.pem"), "{run}");
    assert!(comments.iter().any(|line| line.starts_with("# CURL_CA_BUNDLE stays unset")), "{run}");

    let answer = with(scene.trustup(["env", "--json"])).ok().json();
    let find = |name: &str| objects(&answer).iter().find(|row| row["name"] == name).unwrap().clone();
    let file = find("SSL_CERT_FILE");
    assert_eq!((&file["kept"], &file["value"]), (&json!(true), &json!("/user/own.pem")));
    assert_eq!(find("CURL_CA_BUNDLE")["kept_for"], "SSL_CERT_FILE");
    assert_eq!(find("NODE_EXTRA_CA_CERTS")["kept"], false);

    // Not UTF-8, so it cannot be shown as it is; but it is set.
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/odd\xff.pem");
    let run = scene.trustup(["env"]).env("SSL_CERT_FILE", odd).ok();
    assert_eq!(printed(&run, "export ", "'").get("SSL_CERT_FILE"), None);

    // Lines for a container of another root: this shell's variables are not that container's.
    for format in ["dockerfile", "docker"] {
        let run = with(scene.trustup(["env", "--format", format])).ok();
        assert_eq!(run.stdout, scene.trustup(["env", "--format", format]).ok().stdout);
    }
}

#[test]
fn a_value_that_is_kept_cannot_leave_its_comment() {
    let scene = trusting();
    let run = scene.trustup(["env"]).env("SSL_CERT_FILE", "/x\ntouch /tmp/y\r\u{202e}").ok();
    for line in run.stdout.lines() {
        assert!(line.starts_with("export ") || line.starts_with("# "), "{run}");
    }
    assert!(!run.stdout.contains(['\r', '\u{202e}']), "{run}");
}

#[test]
fn failures_print_nothing() {
    let fails = |scene: &Scene, code, words: &[&str]| {
        for format in ["sh", "dockerfile", "docker", "json"] {
            let run = scene.trustup(["env", "--format", format]).fails(code);
            assert_eq!(run.stdout, "", "{run}");
            run.says(words.iter().copied());
            run.says(["hint:"]);
        }
    };
    let nothing = Scene::new("debian-12");
    fails(&nothing, 4, &["bootstrap"]);
    let error = nothing.trustup(["env", "--json"]).fails(4).json();
    assert_eq!(error["error"]["kind"], "not-trusted");
    nothing.refuses(nothing.trustup(["env", "--install"]), 4, ["bootstrap"]);

    let recorded = Scene::new("debian-12");
    let pin = recorded.ca.pin();
    recorded.with_file(&recorded.file("root.pem")).args(["--stores", "none", "--fingerprint", &pin]).ok();
    fails(&recorded, 4, &["bootstrap"]);

    let lost = trusting();
    let bundle = at(&lost, &BUNDLE[1..]);
    let with_ours = fs::read_to_string(&bundle).unwrap();
    fs::write(&bundle, with_ours.replace(&lost.ca.pem, "")).unwrap();
    fails(&lost, 4, &[&lost.ca.pin(), BUNDLE]);
    fs::write(&bundle, with_ours.replacen("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----", 1))
        .unwrap();
    fails(&lost, 4, &["damaged"]);
    fs::remove_file(&bundle).unwrap();
    fails(&lost, 4, &[BUNDLE]);

    let planted = trusting();
    fs::write(at(&planted, STATE), "{").unwrap();
    fails(&planted, 1, &["damaged"]);

    let usage = trusting();
    for args in [
        ["env", "--json", "--format", "sh"].as_slice(),
        &["env", "--format", "csh"],
        &["env", "--install", "--format", "sh"],
    ] {
        usage.trustup(args.iter().copied()).fails(2);
    }
    assert_eq!(usage.trustup(["env", "--format", "csh"]).fails(2).stdout, "");
}

/// A private store, in a directory of a test; the system beneath it is the one that the tests run in.
struct Private {
    directory: tempfile::TempDir,
    ca: ca::Root,
}

impl Private {
    fn new() -> Private {
        let private = Private { directory: tempfile::tempdir().unwrap(), ca: ca::root("Private Root") };
        private.ca.write(private.directory.path(), "root.pem");
        let file = private.directory.path().join("root.pem");
        private.trustup(["bootstrap", "--stores", "private", "--ca-file"]).arg(file).ok();
        private
    }

    fn store(&self) -> String {
        self.directory.path().join("store").to_str().unwrap().to_owned()
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::new(["--private-dir"]).arg(self.store()).args(args)
    }
}

#[test]
fn a_private_store_is_named_whole() {
    let private = Private::new();
    let run = private.trustup(["env"]).ok();
    let answer = private.trustup(["env", "--json"]).ok().json();
    let [bundle, directory, anchor] =
        ["bundle", "directory", "anchor"].map(|name| answer[name].as_str().unwrap().to_owned());
    let mut wanted = wanted(&bundle, &anchor, Some(&directory));
    // Where there is a Java on this machine; `private_java` has one of its own.
    if let Some(keystore) = answer["keystore"].as_str() {
        wanted.insert("JAVA_TOOL_OPTIONS".to_owned(), java_options(keystore));
    }
    assert_eq!(printed(&run, "export ", "'"), wanted);
    for path in [&bundle, &directory, &anchor] {
        assert!(path.starts_with(&private.store()) && Path::new(path).exists(), "{path}");
    }
    assert_eq!(ca::fingerprints(&fs::read_to_string(anchor).unwrap()), [private.ca.fingerprint]);
    assert!(ca::fingerprint_set(&fs::read_to_string(&bundle).unwrap()).contains(&private.ca.fingerprint));

    // The user's own variable is kept; one that names the system's bundle (images set it) is not the user's wish to do
    // without the private store, which holds all of that.
    let run = private.trustup(["env"]).env("SSL_CERT_FILE", "/user/own.pem").ok();
    assert_eq!(printed(&run, "export ", "'").get("SSL_CERT_FILE"), None);
    let kept = private.trustup(["env", "--format", "docker"]).env("SSL_CERT_FILE", "/user/own.pem").ok();
    kept.says(["SSL_CERT_FILE is already set and keeps its value: /user/own.pem"]);
    assert!(!kept.stdout.contains("SSL_CERT_FILE="), "{kept}");
    let system = Trustup::new(["detect", "--json"]).ok().json();
    let outputs = system["outputs"].as_array().unwrap().iter();
    let system = outputs.filter(|output| output["kind"] == "bundle" && output["exists"] == true);
    let system = system.map(|output| output["path"].as_str().unwrap()).next();
    if let Some(system) = system {
        let run = private.trustup(["env"]).env("SSL_CERT_FILE", system).ok();
        assert_eq!(printed(&run, "export ", "'")["SSL_CERT_FILE"], bundle);
        assert!(run.stdout.contains("# SSL_CERT_FILE was set to a bundle of the system"), "{run}");
    }

    let refused = private.trustup(["env", "--install"]).fails(5);
    refused.says(["private store", "hint:"]);
    assert_eq!(refused.stdout, "");

    // T12: no longer safe to use, or no longer whole: nothing is printed.
    let text = fs::read_to_string(&bundle).unwrap();
    fs::write(&bundle, text.replace(&private.ca.pem, "")).unwrap();
    let refused = private.trustup(["env"]).fails(4);
    assert_eq!(refused.stdout, "");
    refused.says([private.ca.pin().as_str(), "hint:"]);
    fs::write(&bundle, text).unwrap();
    private.trustup(["env"]).ok();
    fs::set_permissions(private.store(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = private.trustup(["env"]).fails(1);
    assert_eq!(refused.stdout, "");
    refused.says(["other users can write", "hint:"]);
}

/// Root installed, another user asks: the record is root's alone, but that there is one says that roots were installed.
#[test]
fn another_user_than_root_gets_the_systems_bundle() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Where every user can enter.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let binary = copy_for_all(binary::trustup(), directory.path(), 0o755);
    let scene = trusting();
    open(scene.root.path());
    let moved = directory.path().join("root");
    let copied =
        std::process::Command::new("cp").arg("-a").arg(scene.root.path()).arg(&moved).status().unwrap();
    assert!(copied.success());
    let env = || Trustup::at(&moved, ["env"]).binary(&binary).uid(1000);
    let run = env().ok();
    assert_eq!(printed(&run, "export ", "'"), wanted(BUNDLE, BUNDLE, Some("/etc/ssl/certs")));
    run.says(["only root can read"]);
    assert!(!run.stderr.contains("no summary"), "{run}");
    let status = || Trustup::at(&moved, ["status"]).binary(&binary).uid(1000);
    status().ok();
    // As an older trustup left it.
    fs::remove_dir_all(moved.join("var/lib/trustup-summary")).unwrap();
    env().ok().says(["only root can read", "no summary"]);
    status().fails(1).says(["only root can read", "no summary", "hint:"]);
    Trustup::at(&moved, ["untrust", "--all"]).ok();
    let refused = env().fails(4);
    assert_eq!(refused.stdout, "");
}
