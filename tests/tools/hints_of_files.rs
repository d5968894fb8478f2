//! Hints about certificate files, keystores and what vouches for a source, where the program that the hint names is the
//! real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use tempfile::TempDir;

use crate::support::binary;
use crate::support::ca::{self, Root};
use crate::support::enrollment::Scene;
use crate::support::hints;
use crate::support::java::Java;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tls_server::TlsServer;

/// A root file system, a directory of a user's files, and a root.
struct Place {
    sysroot: TempDir,
    files: TempDir,
    root: Root,
}

impl Place {
    fn new() -> Place {
        let (sysroot, files) = (unpacked("debian-12-minimal"), TempDir::new().unwrap());
        Place { sysroot, files, root: ca::root("Root of a File") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn bootstrap(&self, args: &[&str]) -> Trustup {
        Trustup::at(self.sysroot.path(), ["--timeout", "20s", "bootstrap", "--dry-run"]).args(args)
    }

    fn given(&self, file: impl AsRef<Path>) -> Trustup {
        self.bootstrap(&["--ca-file"]).arg(file.as_ref())
    }

    fn follow(&self, command: &str, words: &[(&str, &str)], answer: &str) {
        hints::follow(command, self.files.path(), words, answer);
    }

    /// What the command of a hint prints, and whether it succeeds.
    fn prints(&self, command: &str) -> (String, bool) {
        let output =
            Command::new("sh").args(["-c", command]).current_dir(self.files.path()).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }
}

#[test]
#[ignore = "needs openssl, keytool"]
fn what_holds_no_certificate_is_shown_by_its_program() {
    let place = Place::new();
    let root = place.file("root.crt", &place.root.pem);
    let short = place.file("short", [0x30, 3, 2, 1, 1]);
    let refused = place.given(&short).fails(2);
    refused.says(["give a certificate as PEM or DER; `openssl x509 -in FILE -noout -text` must show it"]);
    let command = hints::command(&refused, "openssl x509");
    assert!(!place.prints(&command.replace("FILE", "short")).1);
    let (text, shows) = place.prints(&command.replace("FILE", "root.crt"));
    assert!(shows && text.contains("Root of a File"), "{text}");
    place.given(&root).ok();

    let java = &Java::installed()[0];
    let open = "-keystore store -storepass changeit";
    java.keytool(
        place.files.path(),
        &format!("-importcert -noprompt -alias a -file root.crt -storetype JKS {open}"),
    );
    java.keytool(place.files.path(), &format!("-delete -alias a {open}"));
    let refused = place.given(place.path("store")).fails(2);
    refused.says([
        "`keytool -list -keystore FILE` shows what is in it; give the root certificate as PEM or DER",
    ]);
    let command = hints::command(&refused, "keytool -list").replace("FILE", "store");
    let (text, shows) = place.prints(&format!("echo changeit | {command}"));
    assert!(shows && text.contains("contains 0 entries"), "{text}");
    place.given(&root).ok();
    place.given(place.file("root.der", &place.root.der)).ok();
}

/// The server hands out base64 of PEM: its answer is saved, and decoded.
#[test]
#[ignore = "needs curl"]
fn an_answer_is_saved_and_converted() {
    let place = Place::new();
    let server = TlsServer::start(&place.root);
    server.serve(&base64::engine::general_purpose::STANDARD.encode(&place.root.pem));
    let (url, pin) = (server.url(), place.root.pin());
    let refused = place.bootstrap(&["--root-url", &url, "--fingerprint", &pin]).fails(2);
    refused.says(["FILE is the server's answer: `curl -o FILE URL`; with `-k` where a fingerprint pins"]);
    let words = [("FILE", "answer"), ("URL", url.as_str())];
    let save = hints::command(&refused, "curl -o FILE URL").replacen("curl", "curl -k", 1);
    place.follow(&save, &words, "");
    place.follow(&hints::command(&refused, "base64 -d"), &words, "");
    place.given(place.path("ca.pem")).args(["--require-pin", "--fingerprint", &pin]).ok();
}

/// Compared on the CA's host with openssl: a pin that is wrong, and a connection that is intercepted.
#[test]
#[ignore = "needs openssl"]
fn a_fingerprint_that_does_not_match_is_compared() {
    let place = Place::new();
    place.file("root_ca.crt", &place.root.pem);
    let server = TlsServer::start(&place.root);
    let bootstrap = |pin: &str| place.bootstrap(&["--root-url", &server.url(), "--fingerprint", pin]);
    let compare = |refused: &Run| {
        refused.says([
            "compare on the CA's host: `step certificate fingerprint $(step path)/certs/root_ca.crt`",
        ]);
        let command = hints::command(refused, "openssl x509 -in root_ca.crt -noout -fingerprint -sha256");
        let (printed, prints) = place.prints(&command);
        assert!(prints, "{printed}");
        printed.trim().to_owned()
    };
    let digits = |printed: &str| printed.split_once('=').unwrap().1.replace(':', "").to_lowercase();
    server.serve(&place.root.pem);
    let wrong = ca::root("Former Root").pin();
    let printed = compare(&bootstrap(&wrong).fails(4));
    assert_ne!(digits(&printed), wrong, "the pin is wrong");
    bootstrap(&printed).ok();
    server.serve(&ca::root("Interceptor").pem);
    let printed = compare(&bootstrap(&place.root.pin()).fails(4));
    assert_eq!(digits(&printed), place.root.pin(), "the connection is intercepted");
}

/// Another clock through libfaketime, which the debug build can load.
#[test]
#[ignore = "needs libfaketime"]
fn a_root_of_the_future_waits_for_the_clock() {
    let place = Place::new();
    let mut params = ca::root_params("Root of Tomorrow");
    params.not_before = rcgen::date_time_ymd(2080, 1, 1);
    params.not_after = rcgen::date_time_ymd(2095, 1, 1);
    let file = ca::root_with(params).write(place.files.path(), "root.pem");
    place.given(&file).fails(2).says([
        "this machine's clock says 20",
        ": if that is wrong, set the clock of the host, which containers share; if it is right, the CA's clock was wrong",
    ]);
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let run = place.given(&file).on_debug_build().env("LD_PRELOAD", library);
    run.env("FAKETIME", "@2081-01-01 00:00:00").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").ok();
}

/// A store that holds no certificate vouches for nobody: it is repaired, or something else vouches.
#[test]
#[ignore = "needs root, unshare, update-ca-certificates"]
fn a_system_without_roots_is_repaired() {
    let place = Place::new();
    let scene = Scene::new();
    let bundle = format!("{}/roots.pem", scene.server.url());
    let by_bundle = || place.bootstrap(&["--bundle-url", &bundle]);
    place.file("vouches.crt", scene.ca.root_pem());
    // Debian's directories, empty, for these commands only.
    let in_namespace = |first: &str, run: &Trustup| {
        let mut command = Command::new("unshare");
        let script = format!(
            "for place in /etc/ssl/certs /usr/local/share/ca-certificates /etc/ca-certificates/update.d; do \
             mount -t tmpfs tmpfs $place; done; : >/etc/ssl/certs/ca-certificates.crt; \
             cp {} /usr/local/share/ca-certificates; {first} exec \"$@\"",
            place.path("vouches.crt").display()
        );
        command.args(["--mount", "sh", "-e", "-c", &script, "sh"]).arg(binary::trustup());
        binary::clear(&mut command);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Trustup::through(command, run.arguments()).run()
    };
    let refused = in_namespace("", &by_bundle());
    assert_eq!(refused.code, Some(4), "{refused}");
    refused.says(["repair it (Debian: `update-ca-certificates --fresh`), name a root that vouches"]);
    let repair = hints::command(&refused, "update-ca-certificates");
    let pin = scene.ca.fingerprint().hex();
    let hash = trustup::pki::fingerprint::Fingerprint::of(scene.ca.root_pem().as_bytes()).hex();
    for (first, run) in [
        (format!("{repair} >&2;"), by_bundle()),
        (String::new(), by_bundle().args(["--ca-url", &scene.server.url(), "--fingerprint", &pin])),
        (String::new(), by_bundle().args(["--bundle-sha256", &hash])),
    ] {
        let followed = in_namespace(&first, &run);
        assert_eq!(followed.code, Some(0), "{followed}");
    }
}

/// Java's own store, in a format that trustup does not write, and with a password of its own.
#[test]
#[ignore = "needs openjdk-17-jdk-headless"]
fn the_keystore_of_a_java_is_converted_or_opened() {
    let place = Place::new();
    let root = place.file("root.pem", &place.root.pem);
    let security = place.sysroot.path().join("opt/jdk/lib/security");
    fs::create_dir_all(&security).unwrap();
    fs::write(security.join("vendor.pem"), ca::root("Vendor").pem).unwrap();
    let bootstrap =
        || Trustup::at(place.sysroot.path(), ["bootstrap", "--stores", "java", "--ca-file"]).arg(&root);
    let java = &Java::installed()[0];
    let import = |password: &str, kind: &str| {
        let _ = fs::remove_file(security.join("cacerts"));
        let open = format!("-keystore cacerts -storepass {password} -storetype {kind}");
        java.keytool(&security, &format!("-importcert -noprompt -alias vendor -file vendor.pem {open}"));
    };
    import("changeit", "JCEKS");
    let refused = bootstrap().fails(5);
    refused.says([
        "`keytool -importkeystore -srckeystore FILE -destkeystore NEW -deststoretype PKCS12` converts",
    ]);
    let command = hints::command(&refused, "keytool -importkeystore");
    let answers = "changeit\nchangeit\nchangeit\n";
    hints::follow(&command, &security, &[("FILE", "cacerts"), ("NEW", "new")], answers);
    fs::rename(security.join("new"), security.join("cacerts")).unwrap();
    bootstrap().ok();
    let listed = java.list(&security, "cacerts", "changeit");
    assert!(listed.values().any(|entry| entry.fingerprint == place.root.fingerprint), "{listed:?}");

    import("hunter2", "PKCS12");
    let refused = bootstrap().fails(2);
    refused.says(["give the file that holds the password: `--java-storepass-file FILE`"]);
    let secret = place.file("secret", "hunter2\n");
    bootstrap().arg("--java-storepass-file").arg(secret).ok();
    let listed = java.list(&security, "cacerts", "hunter2");
    assert_eq!(listed.len(), 2, "{listed:?}");
}
