//! Each recommendation of `doctor` is followed as it is written, and changes the verdict.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use trustup::doctor::{ClientVerdict, ClientView, Question, clients};
use trustup::host::env::Env;
use trustup::net::handshake::Presented;
use trustup::pki::cert::Certificate;
use trustup::rootfs::Sysroot;
use trustup::trust::facts::Facts;
use trustup::trust::ours::Ours;
use trustup::trust::view::View;

use crate::stores::Scene;
use crate::support::ca;
use crate::support::elf::{go_program, program, rust_program};

const NOW: i64 = 1_795_400_000;
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

struct Patient {
    scene: Scene,
    variables: Vec<(String, String)>,
    presented: Presented,
}

impl Patient {
    fn new(variables: &[(&str, &str)]) -> Patient {
        let scene = Scene::new("debian-12");
        let params = CertificateParams::new(["ca.test".to_owned()]).unwrap();
        let leaf = CertificateDer::from(scene.ca.sign_for(params, &KeyPair::generate().unwrap()));
        let presented = Presented::new(vec![leaf], "ca.test", NOW).unwrap();
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let patient = Patient { scene, variables, presented };
        patient.put("other.pem", ca::root("Another Root").pem.as_bytes(), 0o644);
        patient
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) {
        let path = self.scene.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn with(self, path: &str, content: &[u8]) -> Patient {
        self.put(path, content, 0o755);
        self
    }

    fn bootstrapped(self) -> Patient {
        self.scene.bootstrap().ok();
        self
    }

    /// What doctor says of the client, with the server in question or with the installed root alone.
    fn asked(&self, id: &str, is_installed: bool) -> ClientView {
        let sysroot = Sysroot::open(self.scene.root.path()).unwrap();
        let view = View::new(&sysroot, Ours::default()).unwrap();
        let facts = Facts::gather(&view).unwrap();
        let root = [Certificate::from_der(&self.scene.ca.der).unwrap()];
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = Env::fixed(variables.collect::<Vec<_>>(), NOW);
        let anchors = if is_installed { &root[..] } else { &[] };
        let question = Question { anchors, presented: Some(&self.presented), env: &env, bundle: None };
        let mut all = clients(&view, &facts, &question).unwrap();
        all.retain(|one| one.client == id && one.installed);
        // The fixture has an OpenSSL of its own.
        if all.len() > 1 {
            all.retain(|one| one.found.as_ref().is_some_and(|path| path.starts_with("/app/")));
        }
        assert_eq!(all.len(), 1, "{id}: {all:#?}");
        all.remove(0)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The value that `trustup env` gives a variable.
    fn value(&self, name: &str) -> String {
        let answer = self.scene.trustup(["env", "--json"]).ok().json();
        let all = answer["variables"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {answer:#}"));
        one["value"].as_str().unwrap().to_owned()
    }

    /// Does what the recommendation says.
    fn follow(&mut self, said: &str) {
        let word = |from: &str| {
            let rest = said.split_once(from).unwrap_or_else(|| panic!("`{from}` in {said}")).1;
            rest.split([' ', ',', ':', ';']).next().unwrap().to_owned()
        };
        let mut known = false;
        if said.contains("`trustup bootstrap`") || said.contains("`trustup bootstrap --create-java`") {
            let run = self.scene.bootstrap();
            let run = if said.contains("--create-java") { run.arg("--create-java") } else { run };
            if said.contains("--create-nss") {
                fs::create_dir_all(self.scene.at("root")).unwrap();
                self.put("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644);
                run.args(["--create-nss", "--firefox-policy"]).ok();
            } else {
                run.ok();
            }
            known = true;
        }
        if said.contains("`eval \"$(trustup env)\"` sets ") {
            let name = word("sets ");
            let value = self.value(&name);
            self.set(&name, &value);
            known = true;
        }
        if said.contains("unset ") {
            let name = word("unset ");
            self.variables.retain(|(known, _)| *known != name);
            if said.contains(&format!("unset {name} and ")) {
                let other = word(" and ");
                self.variables.retain(|(known, _)| *known != other);
            }
            known = true;
        }
        if said.contains("set GODEBUG=") {
            let value = word("set GODEBUG=");
            self.set("GODEBUG", &value);
            known = true;
        }
        if said.contains("take `-Djavax.net.ssl.trustStore` out of ") {
            let name = word("out of ");
            self.variables.retain(|(known, _)| *known != name);
            known = true;
        }
        assert!(known, "nobody knows how to follow: {said}");
    }
}

fn go(modules: &str) -> Vec<u8> {
    go_program("go1.24.4", modules, &["crypto/tls.(*Conn).clientHandshake"])
}

/// Follows what doctor says of this client, before bootstrap and after it.
#[track_caller]
fn helps(id: &str, make: impl Fn() -> Patient, kinds: [&str; 2]) {
    for (is_installed, kind) in [(false, kinds[0]), (true, kinds[1])] {
        let mut patient = if is_installed { make().bootstrapped() } else { make() };
        let before = patient.asked(id, is_installed);
        if kind.is_empty() {
            assert_eq!(before.verdict, ClientVerdict::Accepts, "{before:#?}");
            continue;
        }
        assert!(matches!(before.verdict, ClientVerdict::Refuses | ClientVerdict::Stops), "{before:#?}");
        let said = before.first_to_change.expect("a recommendation");
        assert!(said.contains(kind), "{id}: {said}");
        assert!(
            !is_installed || !said.contains("puts it there"),
            "`nothing to do` would be the answer: {said}"
        );
        patient.follow(&said);
        let after = patient.asked(id, true);
        assert_eq!(after.verdict, ClientVerdict::Accepts, "{id}: `{said}` did not help: {after:#?}");
        assert_eq!(after.first_to_change, None);
    }
}

#[test]
fn the_stores_of_the_system() {
    let openssl = program(&["libssl.so.3"], &[]);
    for variables in [&[][..], &[("SSL_CERT_DIR", "/etc/ssl/certs")]] {
        helps("openssl", || Patient::new(variables).with("usr/bin/openssl", &openssl), ["bootstrap", ""]);
    }
    helps("go", || Patient::new(&[]).with("app/server", &go("")), ["bootstrap", ""]);
    let native = rust_program(&["rustls", "rustls-native-certs"]);
    helps("rust", || Patient::new(&[]).with("app/server", &native), ["bootstrap", ""]);
}

#[test]
fn variables_that_name_other_roots() {
    let openssl = program(&["libssl.so.3"], &[]);
    let other = [("SSL_CERT_FILE", "/other.pem"), ("SSL_CERT_DIR", "/nowhere")];
    helps("go", || Patient::new(&other[..1]).with("app/server", &go("")), ["unset SSL_CERT_FILE", ""]);
    // Either alone may still lead nowhere.
    let kinds = ["then unset SSL_CERT_FILE and SSL_CERT_DIR", "unset SSL_CERT_FILE and SSL_CERT_DIR"];
    helps("openssl", || Patient::new(&other).with("usr/bin/openssl", &openssl), kinds);
    let curl = program(&["libcurl.so.4"], &[(".rodata", b"\0curl/8.14.1\0")]);
    let curl = || {
        let library = b"\0libssl.so.3\0/etc/ssl/certs/ca-certificates.crt\0";
        let library = program(&["libssl.so.3"], &[(".rodata", library)]);
        Patient::new(&[("CURL_CA_BUNDLE", "/other.pem")])
            .with("usr/bin/curl", &curl)
            .with("usr/lib/libcurl.so.4", &library)
    };
    helps("curl", curl, ["then unset CURL_CA_BUNDLE", "unset CURL_CA_BUNDLE"]);
    // The other half of the sentence.
    let mut patient = curl().bootstrapped();
    let said = patient.asked("curl", true).first_to_change.unwrap();
    assert!(said.ends_with(&format!("or set it to `{BUNDLE}`, which has all roots")), "{said}");
    patient.set("CURL_CA_BUNDLE", BUNDLE);
    assert_eq!(patient.asked("curl", true).verdict, ClientVerdict::Accepts);
    let fallback = "dep\tgolang.org/x/crypto/x509roots/fallback\tv0.1.0\t\n";
    let debug = [("GODEBUG", "x509usefallbackroots=1")];
    let kinds = ["then set GODEBUG=x509usefallbackroots=0", "set GODEBUG=x509usefallbackroots=0"];
    helps("go", || Patient::new(&debug).with("app/server", &go(fallback)), kinds);
    let built_in = format!("{fallback}build\tDefaultGODEBUG=x509usefallbackroots=1\n");
    helps("go", || Patient::new(&[]).with("app/server", &go(&built_in)), kinds);
}

#[test]
fn programs_with_places_of_their_own() {
    // An OpenSSL inside, whose defaults nobody writes.
    let inside = program(&[], &[(".rodata", b"OpenSSL 3.5.1 1 Jul 2025\0OPENSSLDIR: \"/usr/local/ssl\"\0")]);
    let kinds = ["sets SSL_CERT_FILE for it", "sets SSL_CERT_FILE for it"];
    helps("openssl", || Patient::new(&[]).with("app/client", &inside), kinds);
    let uv = program(&["libc.so.6"], &[]);
    helps("uv", || Patient::new(&[]).with("usr/bin/uv", &uv), kinds);
    let node = program(&["libc.so.6"], &[]);
    let kinds = ["sets NODE_EXTRA_CA_CERTS for it", "sets NODE_EXTRA_CA_CERTS for it"];
    helps("node", || Patient::new(&[]).with("usr/local/bin/node", &node), kinds);
    // No advice that cannot help: only a new build changes what is inside.
    let patient =
        Patient::new(&[]).with("app/webpki", &rust_program(&["rustls", "webpki-roots"])).bootstrapped();
    let said = patient.asked("rust", true).first_to_change.unwrap();
    assert!(said.contains("rustls-native-certs") && !said.contains("bootstrap"), "{said}");
}

#[test]
fn keystores_and_databases() {
    let java = program(&["libjli.so"], &[]);
    let lost = || {
        let patient = Patient::new(&[]).with("opt/java/openjdk/bin/java", &java);
        patient.put("opt/java/openjdk/lib/security/java.security", b"", 0o644);
        patient
    };
    let patient = lost().bootstrapped();
    let said = patient.asked("java", true).first_to_change.unwrap();
    assert!(said.contains("--create-java"), "{said}");
    let mut patient = lost();
    let said = patient.asked("java", false).first_to_change.unwrap();
    patient.follow(&said);
    assert_eq!(patient.asked("java", true).verdict, ClientVerdict::Accepts, "{said}");
    let mut patient = patient;
    patient.put(
        "empty.jks",
        &trustup::pki::keystore::Keystore::new_jks().to_bytes(&mut |_| Ok(())).unwrap(),
        0o644,
    );
    patient.set("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/empty.jks");
    let before = patient.asked("java", true);
    assert_eq!(before.verdict, ClientVerdict::Stops);
    patient.follow(&before.first_to_change.unwrap());
    assert_eq!(patient.asked("java", true).verdict, ClientVerdict::Accepts);
    // A Java that bootstrap does not find by itself.
    let hidden = Patient::new(&[]).with("app/jre/bin/java", &java).bootstrapped();
    hidden.put("app/jre/lib/security/cacerts", &with_another_root(), 0o644);
    let said = hidden.asked("java", true).first_to_change.unwrap();
    assert!(said.contains("JAVA_HOME=/app/jre"), "{said}");
    // A browser without a database of its user.
    for browser in ["chromium", "firefox"] {
        let program = program(&["libc.so.6"], &[]);
        let mut patient = Patient::new(&[]).with(&format!("usr/bin/{browser}"), &program).bootstrapped();
        let said = patient.asked(browser, true).first_to_change.unwrap();
        assert!(said.contains("--create-nss") && said.contains("--firefox-policy"), "{said}");
        patient.follow(&said);
        assert_eq!(patient.asked(browser, true).verdict, ClientVerdict::Accepts, "{said}");
    }
}

fn with_another_root() -> Vec<u8> {
    let mut keystore = trustup::pki::keystore::Keystore::new_jks();
    let other = Certificate::from_der(&ca::root("Another Root").der).unwrap();
    keystore.add("other", &other, 0).unwrap();
    keystore.to_bytes(&mut |_| Ok(())).unwrap()
}
