//! Hints about where certificates come from: addresses, what their servers answer, and what vouches for it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use rcgen::CertificateParams;
use serde_json::{Value, json};
use tempfile::TempDir;
use trustup::pki::fingerprint::Fingerprint;

use super::cases::Cases;
use crate::servers::{WebServer, path_of, respond};
use crate::support::ca::{self, Root};
use crate::support::enrollment::Scene;
use crate::support::run::{Trustup, unpacked};

/// A CA with an address, a root file system, and a root that a web server hands out.
struct Place {
    scene: Scene,
    sysroot: TempDir,
    given: Root,
}

impl Place {
    fn new() -> Place {
        Place { scene: Scene::new(), sysroot: unpacked("debian-12-minimal"), given: ca::root("Given Root") }
    }

    /// A server of the CA: the root at `/root.crt` and `/other.crt`, a page at `/login`, nothing else.
    fn https(&self) -> WebServer {
        let pem = self.given.pem.clone();
        let issued = self.scene.ca.issue(&["127.0.0.1"]).unwrap();
        WebServer::https(issued, move |head, stream| match path_of(head) {
            "/root.crt" | "/other.crt" => respond(stream, 200, &[], pem.as_bytes()),
            "/login" => respond(stream, 200, &[], b"<!DOCTYPE html><title>Sign in</title>"),
            _ => respond(stream, 404, &[], b"not found"),
        })
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.scene.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn at(&self, args: &[&str]) -> Trustup {
        Trustup::at(self.sysroot.path(), ["--timeout", "20s", "--dry-run", "bootstrap"]).args(args)
    }

    /// The certificates that this system trusts.
    fn trusting(&self, roots: &str, args: &[&str]) -> Trustup {
        self.at(args).env("SSL_CERT_FILE", roots)
    }
}

fn sha256(content: &str) -> String {
    Fingerprint::of(content.as_bytes()).hex()
}

#[test]
fn a_pinned_source_says_what_to_give() {
    let place = Place::new();
    let mut cases = Cases::default();
    let server = place.https();
    let (url, pin) = (place.scene.server.url(), place.scene.ca.fingerprint().hex());
    let (root, own) = (server.url("/root.crt"), place.given.pin());
    let by_url = || place.at(&["--ca-url", &url, "--fingerprint", &pin]);
    let by_root = || place.at(&["--root-url", &root, "--fingerprint", &own]);
    cases.case(
        "is this the address of a step-ca? A certificate at any other address is fetched with `--root-url`",
        place.at(&["--ca-url", &root, "--fingerprint", &own]),
        [by_root()],
    );
    let page = WebServer::https(place.scene.ca.issue(&["127.0.0.1"]).unwrap(), {
        let pem = place.given.pem.clone();
        move |_, stream| respond(stream, 200, &[], pem.as_bytes())
    });
    cases.case(
        "a certificate at any other address is fetched with `--root-url URL --fingerprint HEX`",
        place.at(&["--ca-url", &page.url(""), "--fingerprint", &own]),
        [place.at(&["--root-url", &page.url(""), "--fingerprint", &own])],
    );
    let with_path = format!("{url}/acme/x");
    cases.case(
        "a step-ca has no path (`https://ca.example.internal`): for one, use `--ca-url`; for a certificate at any address use `--root-url`",
        place.at(&[]).env("CA_URL", &with_path).env("CA_FINGERPRINT", &pin),
        [
            place.at(&["--ca-url", &with_path, "--fingerprint", &pin]),
            place.at(&[]).env("CA_URL", &url).env("CA_FINGERPRINT", &pin),
            by_root(),
        ],
    );
    cases.case(
        "certs/root_ca.crt`, and give what it prints as `--fingerprint`",
        place.at(&["--ca-url", &url]),
        [by_url()],
    );
    cases.case(
        "certs/root_ca.crt`, and give what it prints as `CA_FINGERPRINT`",
        place.at(&[]).env("CA_URL", &url),
        [place.at(&[]).env("CA_URL", &url).env("CA_FINGERPRINT", &pin)],
    );
    let file = place.file("given.pem", &place.given.pem);
    cases.case(
        "set `CA_URL` to the address of the CA or of its root certificate, or unset `CA_FINGERPRINT`",
        place.at(&[]).env("TRUSTUP_CA_FILE", &file).env("CA_FINGERPRINT", &own),
        [
            place.at(&[]).env("CA_URL", &url).env("CA_FINGERPRINT", &pin),
            place.at(&[]).env("CA_URL", &root).env("CA_FINGERPRINT", &own),
            place.at(&[]).env("TRUSTUP_CA_FILE", &file),
        ],
    );
    // A certificate at an address with a login, and a bundle there with another.
    let with_login = |login: &str, path: &str| server.url(path).replace("://", &format!("://{login}@"));
    let by_login = || place.at(&["--root-url", &with_login("me:a", "/root.crt"), "--fingerprint", &own]);
    let bundle = |path: &str| ["--bundle-url".to_owned(), with_login("me:b", path)];
    let trusted = place.file("trusted.pem", &place.scene.ca.root_pem());
    cases.case(
        "fetch the two with two runs, or give them two paths",
        by_login().args(bundle("/root.crt")).env("SSL_CERT_FILE", &trusted),
        [
            by_login(),
            place.trusting(&trusted, &[]).args(bundle("/root.crt")),
            by_root().args(["--ca-url", &url, "--fingerprint", &pin]).args(bundle("/other.crt")),
        ],
    );
    cases.case(
        "give the address of the certificate itself; the server may have sent a login or error page",
        place.at(&["--root-url", &server.url("/login"), "--fingerprint", &own]),
        [by_root()],
    );
    cases.end();
}

#[test]
fn a_bundle_says_what_vouches_for_it() {
    let place = Place::new();
    let mut cases = Cases::default();
    let server = place.https();
    let (url, pin) = (place.scene.server.url(), place.scene.ca.fingerprint().hex());
    let (bundle, content) = (server.url("/root.crt"), place.given.pem.clone());
    let hash = sha256(&content);
    let own = place.file("own.pem", &place.scene.ca.root_pem());
    let foreign = place.file("foreign.pem", &ca::root("Foreign Root").pem);
    let by_bundle = ["--bundle-url", bundle.as_str()];
    let by_hash = || place.trusting(&foreign, &by_bundle).args(["--bundle-sha256", &hash]);
    let by_ca = || place.trusting(&foreign, &by_bundle).args(["--ca-url", &url, "--fingerprint", &pin]);
    cases.case(
        "the CA's own root can vouch for the host: add `--ca-url URL --fingerprint HEX`",
        place.trusting(&foreign, &by_bundle),
        [by_ca()],
    );
    cases.case(
        "or pin the file, whoever serves it: `--bundle-sha256 HEX`",
        place.trusting(&foreign, &by_bundle),
        [by_hash()],
    );
    let other = Scene::new();
    let (other_url, other_pin) = (other.server.url(), other.ca.fingerprint().hex());
    cases.case(
        "with a pinned root, that root alone vouches for the bundle's host, not the roots of this system",
        place.trusting(&own, &by_bundle).args(["--ca-url", &other_url, "--fingerprint", &other_pin]),
        // The root that is pinned is that of the host, or none is pinned.
        [by_ca(), place.trusting(&own, &by_bundle)],
    );
    cases.case(
        "compare with `sha256sum` of the file where it is made: a newer bundle needs a new `--bundle-sha256`",
        place.trusting(&foreign, &by_bundle).args(["--bundle-sha256", &sha256("an older bundle")]),
        [by_hash()],
    );
    let plain = WebServer::http(move |_, stream| respond(stream, 200, &[], content.as_bytes()));
    let by_plain = plain.url("/root.crt");
    cases.case(
        "use an https URL, or add `--bundle-sha256 HEX` (made with `sha256sum` where the file comes from)",
        place.trusting(&own, &["--bundle-url", &by_plain]),
        [
            place.trusting(&own, &by_bundle),
            place.trusting(&own, &["--bundle-url", &by_plain, "--bundle-sha256", &hash]),
        ],
    );
    cases.case(
        "it pins what `--ca-url`, `--root-url` or `--ca-file` brings; a bundle's file is pinned with `--bundle-sha256`",
        place.trusting(&own, &by_bundle).args(["--fingerprint", &place.given.pin()]),
        [
            by_hash(),
            place.at(&["--root-url", &bundle, "--fingerprint", &place.given.pin()]),
            by_ca(),
        ],
    );
    cases.end();
}

/// A copy of an old bundle, after its newer version.
#[test]
fn a_root_that_left_a_bundle_comes_back_with_leave() {
    let place = Place::new();
    let mut cases = Cases::default();
    let own = place.file("own.pem", &place.scene.ca.root_pem());
    let old = format!("{}{}", place.given.pem, ca::root("Leaving Root").pem);
    let served = Arc::new(Mutex::new(old.clone()));
    let server = WebServer::https(place.scene.ca.issue(&["127.0.0.1"]).unwrap(), {
        let served = Arc::clone(&served);
        move |_, stream| respond(stream, 200, &[], served.lock().unwrap().as_bytes())
    });
    let url = server.url("/bundle.pem");
    let run = || {
        let run = Trustup::at(place.sysroot.path(), ["--timeout", "20s", "bootstrap", "--bundle-url", &url]);
        run.env("SSL_CERT_FILE", &own)
    };
    run().ok();
    served.lock().unwrap().clone_from(&place.given.pem);
    run().ok();
    served.lock().unwrap().clone_from(&old);
    cases.case(
        "an old copy of the bundle does that; ask who serves it, and if the root is to be trusted again, use `--allow-rollback`",
        run(),
        [run().arg("--allow-rollback"), run()],
    );
    cases.end();
}

#[test]
fn certificates_say_which_of_them_is_accepted() {
    let place = Place::new();
    let mut cases = Cases::default();
    let second = ca::root("Second Root");
    let file = place.file("given.pem", &place.given.pem);
    let both = place.file("both.pem", &format!("{}{}", place.given.pem, second.pem));
    let pinned =
        |file: &str| place.at(&["--require-pin", "--ca-file", file, "--fingerprint", &place.given.pin()]);
    cases.case(
        "add its `--fingerprint` after comparing it on the CA's host, or take it out of the file",
        pinned(&both),
        [pinned(&both).args(["--fingerprint", &second.pin()]), pinned(&file)],
    );
    let below = place.file("intermediate.pem", &place.given.intermediate("Intermediate").pem);
    cases.case(
        "`--allow-intermediate` accepts it anyway",
        place.at(&["--ca-file", &below]),
        [place.at(&["--ca-file", &below, "--allow-intermediate"])],
    );
    let leaf = place.given.sign(CertificateParams::new(["ca.test".to_owned()]).unwrap());
    let leaf = place.file("leaf.pem", &leaf);
    // Where step-ca has its root.
    let of_step = place.file("step/certs/root_ca.crt", &place.given.pem);
    cases.case(
        "what becomes trusted must be a CA's root certificate, valid now; for a step-ca it is `$(step path)/certs/root_ca.crt`",
        place.at(&["--ca-file", &leaf]),
        [place.at(&["--ca-file", &of_step])],
    );
    cases.end();
}

/// Files whose hint has no command: what it asks for is given.
#[test]
fn files_say_what_to_give_instead() {
    let place = Place::new();
    let mut cases = Cases::default();
    let root = &place.given;
    let whole = place.file("whole.pem", &root.pem);
    let given = |file: &str| place.at(&["--ca-file", file]);
    let cut = place.file("cut.pem", &root.pem[..root.pem.len() / 2]);
    cases.case("copy or download it again, whole", given(&cut), [given(&whole)]);
    let bundle = place.file("bundle.pem", &format!("{}{}", root.pem, ca::root("Second Root").pem));
    let empty = place.file("empty.pem", "");
    let hint = "give a certificate as PEM or DER, or a bundle of them";
    let der = place.scene.path("root.der");
    fs::write(&der, &root.der).unwrap();
    cases.case(hint, given(&empty), [given(&whole), given(der.to_str().unwrap()), given(&bundle)]);
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let endless = place.file("endless.pem", &format!("{}{}", root.pem, block.repeat(10_001)));
    cases.case(
        "give a bundle of roots: the largest in use has a few hundred",
        given(&endless),
        [given(&bundle)],
    );
    let key = place.file("secret.pem", &root.key_pem);
    cases.case(
        "give the certificate that belongs to it, or the root of its CA; keep the key where it is",
        given(&key),
        [given(&whole)],
    );
    cases.end();
}

/// As the kubelet mounts a Secret or ConfigMap: a file for each key.
fn mounted(place: &Place, manifest: &Value) -> PathBuf {
    let directory = place.scene.path("mounted");
    fs::create_dir_all(&directory).unwrap();
    let is_secret = manifest["kind"] == "Secret";
    for (field, is_base64) in [("data", is_secret), ("binaryData", true)] {
        for (name, value) in manifest[field].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            let standard = base64::engine::general_purpose::STANDARD;
            let content = if is_base64 { standard.decode(value).unwrap() } else { value.into() };
            fs::write(directory.join(name), content).unwrap();
        }
    }
    directory
}

#[test]
fn a_manifest_is_mounted() {
    let base64 = |content: &[u8]| base64::engine::general_purpose::STANDARD.encode(content);
    for (kind, hint) in [
        ("Secret", "; or mount it into the container: each of its keys is a file then"),
        (
            "ConfigMap",
            "mount it into the container, and give one of the files: each of its keys is a file then",
        ),
    ] {
        let place = Place::new();
        let manifest = match kind {
            "Secret" => json!({"apiVersion": "v1", "kind": kind,
                "data": {"root": base64(place.given.pem.as_bytes())}}),
            _ => json!({"apiVersion": "v1", "kind": kind, "binaryData": {"root": base64(&place.given.der)}}),
        };
        let file = place.file("manifest.json", &manifest.to_string());
        place.at(&["--ca-file", &file]).fails(2).says([hint]);
        place.at(&["--ca-file"]).arg(mounted(&place, &manifest).join("root")).ok();
    }
}

/// A file that is not there until it is mounted.
#[test]
fn a_missing_file_is_mounted() {
    let place = Place::new();
    let file = place.scene.path("mounted.pem");
    let given = || place.at(&["--ca-file"]).arg(&file);
    given().fails(2).says(["is it mounted into the container?"]);
    place.given.write(file.parent().unwrap(), "mounted.pem");
    given().ok();
}

#[test]
fn a_value_that_is_miswritten_says_how_to_write_it() {
    let place = Place::new();
    let mut cases = Cases::default();
    let (url, pin) = (place.scene.server.url(), place.scene.ca.fingerprint().hex());
    let by_url = |url: &str| place.at(&["--ca-url", url, "--fingerprint", &pin]);
    cases.case(
        "give the value itself, or omit the option and set its variable (`docker run -e`, ENV)",
        by_url("${CA_URL}"),
        [
            by_url(&url),
            place.at(&[]).env("CA_URL", &url).env("CA_FINGERPRINT", &pin),
            place.at(&[]).env("TRUSTUP_CA_URL", &url).env("TRUSTUP_FINGERPRINT", &pin),
        ],
    );
    let by_variables = |url: &str| place.at(&[]).env("CA_URL", url).env("CA_FINGERPRINT", &pin);
    cases.case(
        "write it without them: files for `--env-file`, and variables in Compose and Kubernetes, need no quotes around a value",
        by_variables(&format!("\"{url}\"")),
        [by_variables(&url)],
    );
    cases.end();
}

/// Each kind of name that the hint lists; the token is for it.
#[test]
fn a_name_that_is_none_says_what_names_are() {
    let place = Place::new();
    let mut cases = Cases::default();
    let (url, pin) = (place.scene.server.url(), place.scene.ca.fingerprint().hex());
    let token = |name: &str| {
        let run = Trustup::new(["token", name, "--ca-url", &url, "--fingerprint", &pin, "--password-file"]);
        run.arg(place.scene.path("password")).env("HOME", "/none")
    };
    cases.case(
        "a certificate is for host names (`web.internal`), addresses (`10.0.0.1`), e-mail addresses or URIs (`spiffe://…`)",
        token("web internal"),
        ["web.internal", "10.0.0.1", "jane@example.test", "spiffe://example.test/web"].map(token),
    );
    cases.end();
}
