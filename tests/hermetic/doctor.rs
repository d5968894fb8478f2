//! `trustup doctor`: the rules of its table of clients, on programs that are nothing but the texts in them; what it
//! finds of others' leftovers; and what it says of a server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use trustup::doctor::{ClientVerdict, ClientView, PlaceKind, Question, clients};
use trustup::host::env::Env;
use trustup::net::handshake::Presented;
use trustup::pki::cert::Certificate;
use trustup::rootfs::Sysroot;
use trustup::trust::facts::Facts;
use trustup::trust::ours::Ours;
use trustup::trust::view::View;

use crate::servers::nobody;
use crate::stores::Scene;
use crate::support::ca::{self, Root};
use crate::support::run::{Trustup, unpacked};
use crate::support::tls_server::TlsServer;

/// 2026-11-23, within the life of the test's certificates.
const NOW: i64 = 1_795_400_000;
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A root file system with clients, and a server of a root of its own.
struct Clients {
    root: tempfile::TempDir,
    ca: Root,
    presented: Presented,
}

/// An ELF file (64 bits, little-endian) of three sections: none, `.rodata` with this text, and the names.
pub(crate) fn elf(rodata: &str) -> Vec<u8> {
    let names = "\0.rodata\0.shstrtab\0";
    let (at_text, at_names) = (64, 64 + rodata.len());
    let table = at_names + names.len();
    let section = |name: u32, kind: u32, offset: usize, size: usize| {
        let mut header = [name.to_le_bytes(), kind.to_le_bytes()].concat();
        header.extend([0; 16]);
        header.extend([offset as u64, size as u64].map(u64::to_le_bytes).concat());
        header.extend([0; 24]);
        header
    };
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(0x28, 0);
    file.extend((table as u64).to_le_bytes());
    file.resize(0x3a, 0);
    file.extend([64_u16, 3, 2].map(u16::to_le_bytes).concat());
    file.extend(rodata.as_bytes());
    file.extend(names.as_bytes());
    file.extend(section(0, 0, 0, 0));
    file.extend(section(1, 1, at_text, rodata.len()));
    file.extend(section(9, 3, at_names, names.len()));
    file
}

impl Clients {
    fn new(fixture: &str) -> Clients {
        let ca = ca::root("Doctor Root");
        let params = CertificateParams::new(["ca.test".to_owned()]).unwrap();
        let leaf = CertificateDer::from(ca.sign_for(params, &KeyPair::generate().unwrap()));
        let presented = Presented::new(vec![leaf], "ca.test", NOW).unwrap();
        Clients { root: unpacked(fixture), ca, presented }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A program or a library that says these texts of itself.
    fn program(&self, path: &str, texts: &[&str]) {
        self.write(path, elf(&format!("\0{}\0", texts.join("\0"))));
        fs::set_permissions(self.root.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Debian's curl 7.88, its libraries with it.
    fn debian_curl(&self) {
        self.program("usr/bin/curl", &["libcurl.so.4", "curl/7.88.1"]);
        let library = "usr/lib/x86_64-linux-gnu/libcurl.so.4";
        self.program(library, &["libssl.so.3", "/etc/ssl/certs", "/etc/ssl/certs/ca-certificates.crt"]);
    }

    fn all(&self, variables: &[(&str, &str)]) -> Vec<ClientView> {
        self.asked(variables, None)
    }

    fn asked(&self, variables: &[(&str, &str)], bundle: Option<&str>) -> Vec<ClientView> {
        let sysroot = Sysroot::open(self.root.path()).unwrap();
        let view = View::new(&sysroot, Ours::default()).unwrap();
        let facts = Facts::gather(&view).unwrap();
        let anchors = [Certificate::from_der(&self.ca.der).unwrap()];
        let env = Env::fixed(variables.iter().copied(), NOW);
        let bundle = bundle.map(ToOwned::to_owned);
        let question = Question { anchors: &anchors, presented: Some(&self.presented), env: &env, bundle };
        clients(&view, &facts, &question).unwrap()
    }

    #[track_caller]
    fn one(&self, id: &str, variables: &[(&str, &str)]) -> ClientView {
        let mut all = self.all(variables);
        all.retain(|client| client.client == id);
        assert_eq!(all.len(), 1, "{id}: {all:#?}");
        all.remove(0)
    }

    #[track_caller]
    fn verdict(&self, id: &str, variables: &[(&str, &str)]) -> ClientVerdict {
        self.one(id, variables).verdict
    }
}

use ClientVerdict::{Accepts, Refuses, Stops};

#[test]
fn clients_read_what_their_files_say() {
    let scene = Clients::new("debian-12");
    scene.debian_curl();
    scene.program("usr/bin/git", &[]);
    scene.program("usr/lib/git-core/git-remote-https", &["libcurl-gnutls.so.4"]);
    let gnutls = "usr/lib/x86_64-linux-gnu/libcurl-gnutls.so.4";
    scene.program(gnutls, &["libgnutls.so.30", "/etc/ssl/certs"]);
    let curl = scene.one("curl", &[]);
    let read: Vec<_> = curl.reads.iter().map(|place| (place.path.as_str(), place.kind)).collect();
    assert_eq!(
        read,
        [
            ("/etc/ssl/certs/ca-certificates.crt", PlaceKind::Bundle),
            ("/etc/ssl/certs", PlaceKind::HashDirectory)
        ]
    );
    assert_eq!((curl.verdict, curl.installed), (Refuses, true));
    assert!(curl.why.contains("issued by CN=Doctor Root"), "{}", curl.why);
    assert!(curl.first_to_change.unwrap().contains("trustup bootstrap"));
    // GnuTLS takes every file of the directory, whatever its name.
    scene.write("etc/ssl/certs/any name", &scene.ca.pem);
    assert_eq!((scene.verdict("git", &[]), scene.verdict("curl", &[])), (Accepts, Refuses));
    let git = scene.one("git", &[]);
    assert_eq!(git.reads.len(), 1);
    assert_eq!(git.reads[0].anchors, [scene.ca.fingerprint]);
    assert!(git.first_to_change.is_none());
}

#[test]
fn variables_replace_add_and_stop_as_in_each_client() {
    let scene = Clients::new("debian-12");
    scene.debian_curl();
    scene.program("usr/bin/openssl", &[]);
    scene.program("usr/bin/node", &[]);
    scene.program("usr/bin/uv", &[]);
    scene.write("root.pem", &scene.ca.pem);
    scene.write("other.pem", ca::root("Another").pem);
    let file = |variable: &'static str| [(variable, "/root.pem")];
    assert_eq!(scene.verdict("openssl", &file("SSL_CERT_FILE")), Accepts);
    assert_eq!(scene.verdict("go", &file("SSL_CERT_FILE")), Accepts);
    assert_eq!(scene.verdict("uv", &file("SSL_CERT_FILE")), Accepts);
    assert_eq!(scene.verdict("node", &file("SSL_CERT_FILE")), Refuses, "its list is inside it");
    assert_eq!(scene.verdict("node", &file("NODE_EXTRA_CA_CERTS")), Accepts);
    assert_eq!(scene.verdict("openssl", &file("CURL_CA_BUNDLE")), Refuses);
    assert_eq!(scene.verdict("curl", &file("CURL_CA_BUNDLE")), Accepts);
    // curl stops where others go on.
    let missing = [("SSL_CERT_FILE", "/missing.pem")];
    let curl = scene.one("curl", &missing);
    assert_eq!((curl.verdict, scene.verdict("openssl", &missing)), (Stops, Refuses));
    assert!(curl.why.contains("SSL_CERT_FILE") && curl.why.contains("it is not there"), "{}", curl.why);
    let change = curl.first_to_change.unwrap();
    assert!(change.contains("unset SSL_CERT_FILE") && change.contains(BUNDLE), "{change}");
    // Before 8.2 curl overlooks the file where the directory is set; the directory is no stop.
    let both = [("SSL_CERT_FILE", "/root.pem"), ("SSL_CERT_DIR", "/missing")];
    assert_eq!(scene.verdict("curl", &both), Refuses);
    scene.program("usr/bin/curl", &["libcurl.so.4", "curl/8.14.1"]);
    assert_eq!(scene.verdict("curl", &both), Accepts);
    // Node of a distribution takes OpenSSL's roots.
    scene.program("usr/bin/node", &["libnode.so.108"]);
    assert_eq!(scene.verdict("node", &file("SSL_CERT_FILE")), Accepts);
    assert_eq!(
        scene.verdict("node", &[("SSL_CERT_FILE", "/root.pem"), ("NODE_OPTIONS", "--use-bundled-ca")]),
        Refuses
    );
    // An empty variable is a name for OpenSSL, and none for Go.
    scene.write(BUNDLE, &scene.ca.pem);
    symlink("/etc/ssl/certs/ca-certificates.crt", scene.root.path().join("usr/lib/ssl/cert.pem"))
        .or_else(|error| if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .unwrap();
    let empty = [("SSL_CERT_FILE", "")];
    assert_eq!((scene.verdict("openssl", &empty), scene.verdict("go", &empty)), (Refuses, Accepts));
    assert_eq!(scene.verdict("openssl", &[]), Accepts);
    let relative = [("SSL_CERT_FILE", "root.pem")];
    assert!(scene.one("openssl", &relative).reads[0].problem.as_deref().unwrap().contains("absolute"));
}

#[test]
fn requests_reads_the_list_in_its_package_or_what_a_distribution_made_of_it() {
    let scene = Clients::new("debian-12");
    for (directory, code) in [
        ("usr/lib/python3/dist-packages", "DEBIAN_CA_CERTS_PATH = '/etc/ssl/certs/ca-certificates.crt'"),
        ("srv/venv/lib/python3.12/site-packages", "def where(): return files('certifi')"),
    ] {
        scene.write(&format!("{directory}/requests/__init__.py"), "");
        scene.write(&format!("{directory}/certifi/core.py"), code);
        // Debian leaves the file there, and does not read it.
        scene.write(&format!("{directory}/certifi/cacert.pem"), ca::root("Another").pem);
    }
    let bundle = fs::read_to_string(scene.root.path().join(BUNDLE)).unwrap();
    scene.write(BUNDLE, bundle + &scene.ca.pem);
    let of = |variables: &[(&str, &str)]| {
        let all = scene.all(variables).into_iter().filter(|client| client.client == "requests");
        all.map(|one| (one.found.unwrap(), one.verdict)).collect::<Vec<_>>()
    };
    let (own, debian) =
        ("/srv/venv/lib/python3.12/site-packages/requests", "/usr/lib/python3/dist-packages/requests");
    let venv = ("VIRTUAL_ENV", "/srv/venv");
    assert_eq!(of(&[venv]), [(own.to_owned(), Refuses), (debian.to_owned(), Accepts)]);
    scene.write("root.pem", &scene.ca.pem);
    assert_eq!(
        of(&[venv, ("CURL_CA_BUNDLE", "/root.pem")]),
        [(own.to_owned(), Accepts), (debian.to_owned(), Accepts)]
    );
    assert_eq!(
        of(&[("REQUESTS_CA_BUNDLE", "/missing"), ("CURL_CA_BUNDLE", "/root.pem")]),
        [(debian.to_owned(), Stops)]
    );
}

/// Seen with pip 24.0 and 25.3.
#[test]
fn pip_reads_the_systems_roots_since_24_2_and_what_requests_is_told_first() {
    let scene = Clients::new("debian-12");
    let packages = "usr/local/lib/python3.11/site-packages";
    scene.write(&format!("{packages}/pip/_vendor/certifi/core.py"), "def where(): return files('certifi')");
    scene.write(&format!("{packages}/pip/_vendor/certifi/cacert.pem"), ca::root("Another").pem);
    scene.write("root.pem", &scene.ca.pem);
    scene.write("other.pem", ca::root("Another").pem);
    let (ours, other) = ("/root.pem", "/other.pem");
    let verdict = |variables: &[(&str, &str)]| scene.verdict("pip", variables);
    let old = format!("{packages}/pip-24.0.dist-info/METADATA");
    scene.write(&old, "");
    assert_eq!(verdict(&[("SSL_CERT_FILE", ours)]), Refuses);
    assert_eq!(verdict(&[("PIP_CERT", ours)]), Accepts);
    assert_eq!(verdict(&[("PIP_CERT", ours), ("REQUESTS_CA_BUNDLE", other)]), Refuses);
    assert_eq!(verdict(&[("PIP_CERT", other), ("CURL_CA_BUNDLE", ours)]), Accepts);
    fs::remove_dir_all(scene.root.path().join(packages).join("pip-24.0.dist-info")).unwrap();
    scene.write(&format!("{packages}/pip-25.3.dist-info/METADATA"), "");
    assert_eq!(verdict(&[("SSL_CERT_FILE", ours)]), Accepts);
    assert_eq!(verdict(&[("SSL_CERT_FILE", ours), ("PIP_CERT", other)]), Accepts);
    assert_eq!(verdict(&[("SSL_CERT_FILE", ours), ("PIP_CERT", "/missing")]), Stops);
}

#[test]
fn who_has_a_private_store_is_led_there_by_variables() {
    let scene = Clients::new("debian-12");
    scene.debian_curl();
    scene.program("usr/bin/wget", &["libgnutls.so.30"]);
    let change = |id: &str, variables: &[(&str, &str)]| {
        let all = scene.asked(variables, Some("/private/ca-bundle.pem"));
        all.into_iter().find(|client| client.client == id).unwrap().first_to_change.unwrap()
    };
    assert!(change("curl", &[]).contains("trustup env") && change("curl", &[]).contains("CURL_CA_BUNDLE"));
    assert!(change("wget", &[]).contains("as root"), "GnuTLS has no variable");
    let named = change("curl", &[("CURL_CA_BUNDLE", "/missing.pem")]);
    assert!(named.contains("CURL_CA_BUNDLE") && named.contains("/private/ca-bundle.pem"), "{named}");
}

#[test]
fn java_and_browsers_are_looked_at_where_their_stores_are() {
    let scene = Clients::new("debian-12");
    scene.program("usr/bin/chromium", &[]);
    let java = scene.all(&[]).into_iter().filter(|client| client.client == "java").count();
    assert_eq!(java, 0, "there is no Java");
    let mut keystore = trustup::pki::keystore::Keystore::new_jks();
    keystore.add("ours", &Certificate::from_der(&scene.ca.der).unwrap(), 0).unwrap();
    let bytes = keystore.to_bytes(&mut |_| Ok(())).unwrap();
    scene.write("opt/java/openjdk/lib/security/cacerts", &bytes);
    assert_eq!(scene.verdict("java", &[]), Accepts);
    scene.write("empty.jks", trustup::pki::keystore::Keystore::new_jks().to_bytes(&mut |_| Ok(())).unwrap());
    let named = [("JAVA_TOOL_OPTIONS", "-Xmx1g -Djavax.net.ssl.trustStore=/empty.jks")];
    let java = scene.one("java", &named);
    assert_eq!(java.verdict, Stops);
    assert!(java.first_to_change.unwrap().contains("JAVA_TOOL_OPTIONS"));
    let chromium = scene.one("chromium", &[]);
    assert_eq!((chromium.verdict, chromium.reads.len()), (Refuses, 1));
    assert!(chromium.first_to_change.unwrap().contains("--create-nss"));
    let mut databases = trustup::pki::nss::Databases::new().unwrap();
    databases.add(&Certificate::from_der(&scene.ca.der).unwrap(), "ours").unwrap();
    let files = databases.into_files().unwrap();
    scene.write("home/dev/.pki/nssdb/cert9.db", &files.cert9);
    scene.write("home/dev/.pki/nssdb/key4.db", &files.key4);
    assert_eq!(scene.verdict("chromium", &[]), Accepts);
    // Firefox has databases of its own, or a policy for all.
    scene.program("usr/bin/firefox", &[]);
    assert_eq!(scene.verdict("firefox", &[]), Refuses);
    scene.write("usr/lib/mozilla/certificates/ours.pem", &scene.ca.pem);
    for (name, expected) in
        [("other.pem", Refuses), ("ours.pem", Accepts), ("/usr/lib/mozilla/certificates/ours.pem", Accepts)]
    {
        let policy = serde_json::json!({ "policies": { "Certificates": { "Install": [name] } } });
        scene.write("etc/firefox/policies/policies.json", policy.to_string());
        assert_eq!(scene.verdict("firefox", &[]), expected, "{name}");
    }
}

#[test]
fn a_server_that_no_root_helps_is_told_from_one_without_a_root() {
    let mut scene = Clients::new("debian-12");
    scene.program("usr/bin/openssl", &[]);
    scene.write("root.pem", &scene.ca.pem);
    let ours = [("SSL_CERT_FILE", "/root.pem")];
    let chain = scene.presented.chain.clone();
    scene.presented = Presented::new(chain.clone(), "other.test", NOW).unwrap();
    let openssl = scene.one("openssl", &ours);
    assert_eq!(openssl.verdict, Refuses);
    assert!(openssl.why.contains("server's certificate") && openssl.why.contains("name"), "{}", openssl.why);
    scene.presented = Presented::new(chain, "ca.test", 4_000_000_000_000).unwrap();
    assert!(scene.one("openssl", &ours).why.contains("expired"));
    assert!(Presented::new(Vec::new(), "no host name", NOW).is_err());
}

fn findings(root: &Path) -> Vec<(String, String, bool)> {
    let answer = Trustup::at(root, ["doctor", "--json"]).run().json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = answer["findings"].as_array().unwrap().iter();
    findings
        .map(|one| {
            assert!(!text(&one["why"]).is_empty() && !text(&one["first_to_change"]).is_empty(), "{one}");
            (text(&one["kind"]), text(&one["place"]), one["mendable"].as_bool().unwrap())
        })
        .collect()
}

#[test]
fn a_sound_store_has_no_findings_and_doctor_changes_nothing() {
    // Every family, and images without a package.
    for fixture in [
        "debian-12",
        "debian-13",
        "alpine-3.23-ca-certificates",
        "wolfi",
        "fedora-42",
        "ubi-9-micro",
        "rhel-7",
        "arch",
        "opensuse-tumbleweed",
        "sles-15.6-bci-micro",
        "photon-5",
        "nixos-25.11",
        "distroless-static-debian12",
        "unknown-os",
        "scratch",
    ] {
        let scene = Scene::new(fixture);
        scene.bootstrap().ok();
        let before = scene.tree();
        assert_eq!(findings(scene.root.path()), [], "{fixture}");
        before.assert_same(&scene.tree(), fixture);
    }
}

#[test]
fn what_others_left_is_found() {
    let scene = Scene::new("debian-12");
    scene.bootstrap().ok();
    let certs = scene.at("etc/ssl/certs");
    let shown = |path: &str| scene.at(path).display().to_string();
    symlink("gone.pem", certs.join("0123abcd.0")).unwrap();
    let name = fs::read_dir(&certs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let a_root = name.into_iter().find(|name| name.ends_with(".pem")).unwrap();
    symlink(&a_root, certs.join("0123abce.0")).unwrap();
    fs::write(certs.join("ca-certificates.crt.new"), "half").unwrap();
    let local = "usr/local/share/ca-certificates/forgotten.crt";
    ca::root("Forgotten").write(&scene.at("usr/local/share/ca-certificates"), "forgotten.crt");
    let text = fs::read_to_string(scene.at(BUNDLE)).unwrap();
    let joined =
        text.replacen("-----END CERTIFICATE-----\n-----BEGIN", "-----END CERTIFICATE----------BEGIN", 1);
    fs::write(scene.at(BUNDLE), joined.trim_end()).unwrap();
    let expected = [
        ("dangling-hash-links", shown("etc/ssl/certs"), true),
        ("stale-hash-links", shown("etc/ssl/certs"), true),
        ("killed-update", shown("etc/ssl/certs/ca-certificates.crt.new"), true),
        ("joined-blocks", shown(BUNDLE), true),
        ("no-final-newline", shown(BUNDLE), true),
        ("out-of-step", shown(local), true),
    ];
    let expected = expected.map(|(kind, place, mendable)| (kind.to_owned(), place, mendable));
    assert_eq!(findings(scene.root.path()), expected);
    // A block that is cut off; and a root that a development CA made.
    let cut = &text[..text.rfind("-----END").unwrap() - 30];
    fs::write(scene.at(BUNDLE), cut).unwrap();
    let kinds: Vec<String> = findings(scene.root.path()).into_iter().map(|(kind, _, _)| kind).collect();
    assert!(kinds.contains(&"damaged-block".to_owned()), "{kinds:?}");
    let development = ca::root("mkcert development CA 1");
    fs::write(scene.at(BUNDLE), format!("{text}{}", development.pem)).unwrap();
    let found = findings(scene.root.path());
    assert!(found.contains(&("development-root".to_owned(), shown(BUNDLE), false)), "{found:?}");
}

/// On `/`, where the variables count; what is installed there does not matter.
#[test]
fn variables_that_take_roots_away_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = ca::root("Alone").write(directory.path(), "alone.pem");
    let run = Trustup::new(["doctor", "--json"])
        .env("SSL_CERT_FILE", "/nonexistent-for-this-test")
        .env("CURL_CA_BUNDLE", &file)
        .env("NODE_EXTRA_CA_CERTS", &file)
        .run();
    let answer = run.json();
    let of = |variable: &str| {
        let all = answer["findings"].as_array().unwrap().iter();
        all.filter(|one| one["place"] == variable)
            .map(|one| one["kind"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("SSL_CERT_FILE"), ["missing-file"], "{run}");
    assert_eq!(of("NODE_EXTRA_CA_CERTS"), [""; 0], "it adds: {run}");
    let bundle = fs::read_to_string(Path::new("/").join(BUNDLE)).unwrap_or_default();
    let is_many = bundle.matches("BEGIN CERTIFICATE").count() > 4;
    assert_eq!(of("CURL_CA_BUNDLE"), if is_many { &["few-roots"][..] } else { &[] }, "{run}");
    // In another sysroot they are somebody else's.
    let root = unpacked("debian-12");
    let run = Trustup::at(root.path(), ["doctor", "--json"]).env("SSL_CERT_FILE", "/nonexistent").run();
    assert_eq!(run.json()["findings"], serde_json::json!([]), "{run}");
}

#[test]
fn a_server_is_asked_once_and_shown() {
    let ca = ca::root("Handshake Root");
    let server = TlsServer::start(&ca);
    let run = Trustup::new(["doctor", "--json", "--connect", &server.authority()]).run();
    let answer = run.json();
    assert_eq!(answer["connect"]["chain"][0]["issuer"], "CN=Handshake Root", "{run}");
    assert_eq!(server.accepted(), 0, "nothing is sent to it");
    let go = answer["clients"].as_array().unwrap().iter().find(|one| one["client"] == "go").unwrap();
    assert_eq!(go["verdict"], "refuses", "{run}");
    // With the variable that Go reads.
    let directory = tempfile::tempdir().unwrap();
    let file = ca.write(directory.path(), "root.pem");
    let run = Trustup::new(["doctor", "--json", "--connect", &server.authority()])
        .env("SSL_CERT_FILE", &file)
        .run()
        .json();
    let go = run["clients"].as_array().unwrap().iter().find(|one| one["client"] == "go").unwrap();
    assert_eq!(go["verdict"], "accepts", "{run}");
}

#[test]
fn a_server_that_cannot_be_asked_is_an_error() {
    let authority = nobody().to_string();
    Trustup::new(["doctor", "--connect", &authority]).fails(6).says(["could not connect", "hint:"]);
    for bad in ["localhost", "localhost:0", "localhost:http", ":443", "a b:443"] {
        let run = Trustup::new(["doctor", "--connect", bad]).run();
        assert_eq!(run.code, Some(2), "{run}");
    }
    let root = unpacked("debian-12");
    Trustup::at(root.path(), ["doctor", "--connect", &authority])
        .fails(2)
        .says(["only for the running system"]);
}

#[test]
fn doctor_exits_by_what_the_clients_that_are_there_hold() {
    let scene = Scene::new("debian-12");
    scene.trustup(["doctor"]).ok().says(["installed no root here"]);
    scene.bootstrap().ok();
    scene.trustup(["doctor"]).ok();
    let node = scene.at("usr/bin/node");
    fs::create_dir_all(node.parent().unwrap()).unwrap();
    fs::write(&node, "").unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    let run = scene.trustup(["doctor"]).fails(4);
    assert!(run.stdout.contains("Node (/usr/bin/node): lacks the root"), "{run}");
    assert!(run.stdout.contains("NODE_EXTRA_CA_CERTS"), "{run}");
}
