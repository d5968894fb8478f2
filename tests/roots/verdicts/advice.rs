//! Each kind of recommendation about a verdict, followed as it is written: it changes the verdict, and what the real
//! client does.

use std::path::Path;

use serde_json::Value;

use super::certificates::{Draft, Made, Maker};
use super::{PATH, Server};
use crate::support::roots::{Base, RootFs};

struct Advice<'a> {
    root: RootFs,
    maker: Maker<'a>,
    directory: &'a Path,
}

impl Advice<'_> {
    /// `bootstrap` with this root.
    fn install(&self, made: &Made, options: &[&str]) {
        let name = made.certificate.file_name().unwrap().to_str().unwrap();
        std::fs::copy(&made.certificate, self.root.exchange().join(name)).unwrap();
        let file = format!("/mnt/{name}");
        self.root.trustup_inside([&["bootstrap", "--ca-file", &file][..], options].concat()).ok();
    }

    fn serve(&self, name: &str, leaf: &Made, chain: &[&Made]) -> Server {
        Server::start(self.directory, name, leaf, chain)
    }

    /// What doctor says of a client.
    fn of(&self, client: &str, authority: &str) -> Value {
        let arguments = ["doctor", "--json", "--client", client, "--connect", authority];
        let said = self.root.trustup_inside_after("", &[PATH], arguments).run().json();
        said["clients"][0].clone()
    }

    /// The client refuses, as doctor says, and doctor recommends these words.
    #[track_caller]
    fn refuses(&self, client: &str, authority: &str, words: &[&str]) {
        let said = self.of(client, authority);
        assert_eq!(
            (said["verdict"].as_str(), self.does(client, authority)),
            (Some("refuses"), false),
            "{said:#}"
        );
        let change = said["first_to_change"].as_str().unwrap();
        assert!(words.iter().all(|word| change.contains(word)), "{said:#}");
    }

    #[track_caller]
    fn accepts(&self, client: &str, authority: &str) {
        let said = self.of(client, authority);
        assert_eq!(
            (said["verdict"].as_str(), self.does(client, authority)),
            (Some("accepts"), true),
            "{said:#}"
        );
    }

    /// What the real client does.
    fn does(&self, client: &str, authority: &str) -> bool {
        let host = authority.split(':').next().unwrap();
        let option = if host == "localhost" { "-verify_hostname" } else { "-verify_ip" };
        let script = match client {
            "openssl" => {
                format!("echo Q | openssl s_client -verify_return_error {option} {host} -connect {authority}")
            }
            _ => format!(
                "python3 -c \"import urllib.request as r; r.urlopen('https://{authority}/', timeout=20)\""
            ),
        };
        self.root.command(&["sh", "-c", &script]).output().unwrap().status.success()
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn each_recommendation_changes_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let advice = Advice {
        root: Base::Runtimes13.copy(),
        maker: Maker::new(directory.path()),
        directory: directory.path(),
    };
    let make =
        |role: &str, draft: Draft, issuer: Option<&Made>| advice.maker.make("advice", role, &draft, issuer);
    let root = make("root", Draft::root(), None);
    let between = make("intermediate", Draft::intermediate(), Some(&root));
    let leaf = make("leaf", Draft::leaf(), Some(&between));
    let name = "CN=advice root";

    // An intermediate as anchor: the root instead.
    advice.install(&between, &["--allow-intermediate"]);
    let whole = advice.serve("whole", &leaf, &[&between]);
    advice.refuses(
        "openssl",
        &whole.authority("localhost"),
        &["install the root", name, "trustup bootstrap"],
    );
    advice.accepts("python", &whole.authority("localhost"));
    advice.install(&root, &[]);
    advice.accepts("openssl", &whole.authority("localhost"));

    // The root is there and the server sends no intermediate: the server has to, and no `bootstrap` helps.
    let other = make("other", Draft::intermediate(), Some(&root));
    let below = make("below", Draft::leaf(), Some(&other));
    let alone = advice.serve("alone", &below, &[]);
    advice.refuses("openssl", &alone.authority("localhost"), &["have the server send"]);
    drop(alone);
    advice.accepts("openssl", &advice.serve("sends", &below, &[&other]).authority("localhost"));

    // Another name than the certificate's.
    let only = make("only", Draft::leaf().with("subjectAltName=DNS:localhost"), Some(&between));
    let named = advice.serve("named", &only, &[&between]);
    advice.refuses(
        "openssl",
        &named.authority("127.0.0.1"),
        &["connect to a name of the certificate (`localhost`)", "`127.0.0.1`"],
    );
    advice.accepts("openssl", &named.authority("localhost"));
    let with = make("with", Draft::leaf().with("subjectAltName=IP:127.0.0.1"), Some(&between));
    advice.accepts("openssl", &advice.serve("with", &with, &[&between]).authority("127.0.0.1"));

    // Python 3.13 and a root without critical basicConstraints: another root.
    let lax = make("lax", Draft::root().with("basicConstraints=CA:TRUE"), None);
    let below = make("below-lax", Draft::leaf(), Some(&lax));
    advice.install(&lax, &[]);
    let server = advice.serve("lax", &below, &[]);
    advice.refuses(
        "python",
        &server.authority("localhost"),
        &["use another root", "with critical basicConstraints", "trustup bootstrap"],
    );
    advice.accepts("openssl", &server.authority("localhost"));
    let strict = make("strict", Draft::root(), None);
    let below = make("below-strict", Draft::leaf(), Some(&strict));
    advice.install(&strict, &[]);
    advice.accepts("python", &advice.serve("strict", &below, &[]).authority("localhost"));

    // The same for an intermediate and for a server's certificate.
    let lax = make("lax-between", Draft::intermediate().with("basicConstraints=CA:TRUE"), Some(&root));
    let below = make("below-lax-between", Draft::leaf(), Some(&lax));
    let server = advice.serve("lax-between", &below, &[&lax]);
    advice.refuses(
        "python",
        &server.authority("localhost"),
        &["sign the intermediate", "anew", "with critical basicConstraints"],
    );
    let bare = make(
        "bare",
        Draft::leaf().without("authorityKeyIdentifier").with("extendedKeyUsage=clientAuth"),
        Some(&between),
    );
    let server = advice.serve("bare", &bare, &[&between]);
    let wanted = ["give the server another certificate", "serverAuth", "authorityKeyIdentifier"];
    advice.refuses("python", &server.authority("localhost"), &wanted);
    advice.accepts("python", &whole.authority("localhost"));

    // An expired root: the one that replaced it, with its name and key.
    let of_old = |draft: Draft| draft.subject("/CN=advice renewed").key("p384");
    let expired = make("renewed", of_old(Draft::root()).expired(), None);
    let below = make("below-expired", Draft::leaf(), Some(&expired));
    advice.install(&expired, &["--allow-expired"]);
    let server = advice.serve("expired", &below, &[]);
    advice.refuses(
        "openssl",
        &server.authority("localhost"),
        &["install the root that replaced CN=advice renewed", "trustup bootstrap"],
    );
    let renewed = make("renewed", of_old(Draft::root()), None);
    advice.install(&renewed, &[]);
    advice.accepts("openssl", &server.authority("localhost"));

    // An expired certificate of a server, and one that signed itself.
    let expired = make("expired-leaf", Draft::leaf().expired(), Some(&between));
    let server = advice.serve("expired-leaf", &expired, &[&between]);
    advice.refuses("openssl", &server.authority("localhost"), &["renew the server's certificate"]);
    let own = make("own", Draft::leaf().without("authorityKeyIdentifier"), None);
    let server = advice.serve("own", &own, &[]);
    advice.refuses(
        "openssl",
        &server.authority("localhost"),
        &["a certificate of a CA whose root is installed"],
    );
}

/// Debian's BusyBox has `openssl` verify, and verifies nothing where there is none.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_busybox_that_verifies_nothing_is_a_finding() {
    let directory = tempfile::tempdir().unwrap();
    let maker = Maker::new(directory.path());
    let root = Base::Runtimes13.copy();
    // In BusyBox's own image all names are hard links.
    std::fs::create_dir(root.at("opt/busybox")).unwrap();
    std::fs::hard_link(root.at("usr/bin/busybox"), root.at("opt/busybox/wget")).unwrap();
    // Its TLS has few algorithms.
    let own =
        maker.make("busybox", "own", &Draft::leaf().without("authorityKeyIdentifier").key("rsa2048"), None);
    let server = Server::start(directory.path(), "busybox", &own, &[]);
    let url = format!("https://{}/", server.authority("localhost"));
    for (path, verdict) in [("/opt/busybox", "does-not-verify"), ("/opt/busybox:/usr/bin", "refuses")] {
        let path = format!("PATH={path}");
        let authority = server.authority("localhost");
        let arguments = ["doctor", "--json", "--client", "wget", "--connect", &authority];
        let run = root.trustup_inside_after("", &[&path], arguments).run();
        let said = run.json();
        assert_eq!((run.code, said["clients"][0]["verdict"].as_str()), (Some(4), Some(verdict)), "{said:#}");
        let found = said["findings"].as_array().unwrap().iter().any(|one| one["kind"] == "verifies-nothing");
        assert_eq!(found, verdict == "does-not-verify", "{said:#}");
        let does = root
            .command(&["env", &path, "/opt/busybox/wget", "-T", "20", "-q", "-O", "/dev/null", &url])
            .output()
            .unwrap();
        assert_eq!(does.status.success(), found, "{path}: {}", crate::support::roots::Said(&does));
    }
}
