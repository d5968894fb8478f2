//! Real TLS clients in a root of their own, with an empty environment, against a real TLS server: before the bootstrap
//! each refuses the server because of its certificate, afterwards each gets the answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::support::ca::{self, Root};
use crate::support::go;
use crate::support::program::copy_program;
use crate::support::roots::{self, Base, RootFs, Said};
use crate::support::tls_server::TlsServer;

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A client: its command (URL and AUTHORITY stand for the server's), and what it says of a certificate that nobody
/// vouches for.
pub(crate) struct Client {
    name: &'static str,
    command: &'static [&'static str],
    refusal: &'static str,
}

pub(crate) const CLIENTS: [Client; 9] = [
    Client {
        name: "curl",
        command: &["curl", "--fail", "--silent", "--show-error", "--max-time", "20", "URL"],
        refusal: "SSL certificate problem: unable to get local issuer certificate",
    },
    Client {
        name: "wget",
        command: &["wget", "--tries=1", "--timeout=20", "--output-document=-", "URL"],
        refusal: "is not trusted",
    },
    Client {
        // Default paths; reads the request's answer because `-quiet` keeps the connection until the server ends it.
        name: "openssl s_client",
        command: &[
            "sh",
            "-c",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error \
             -verify_hostname localhost -connect AUTHORITY",
        ],
        refusal: "unable to get local issuer certificate",
    },
    Client {
        // The hashed directory alone: no bundle can help here.
        name: "openssl s_client with the hashed directory",
        command: &[
            "sh",
            "-c",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -no-CAfile -no-CAstore \
             -CApath /etc/ssl/certs -connect AUTHORITY",
        ],
        refusal: "unable to get local issuer certificate",
    },
    Client {
        name: "python3 ssl",
        command: &[
            "python3",
            "-c",
            "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read())",
            "URL",
        ],
        refusal: "CERTIFICATE_VERIFY_FAILED",
    },
    Client {
        name: "requests of Debian",
        command: &[
            "python3",
            "-c",
            "import sys, requests; assert '/usr/lib/' in requests.__file__; \
             r = requests.get(sys.argv[1], timeout=20); r.raise_for_status(); print(r.text)",
            "URL",
        ],
        refusal: "CERTIFICATE_VERIFY_FAILED",
    },
    Client {
        // PyPI's reads the list in its own package; the documented variable points it at the system's bundle.
        name: "requests of PyPI",
        command: &[
            "env",
            "PYTHONPATH=/opt/pypi",
            "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt",
            "python3",
            "-c",
            "import sys, requests; assert requests.__file__.startswith('/opt/pypi/'); \
             r = requests.get(sys.argv[1], timeout=20); r.raise_for_status(); print(r.text)",
            "URL",
        ],
        refusal: "CERTIFICATE_VERIFY_FAILED",
    },
    Client {
        name: "Go",
        command: &["/mnt/go-client", "URL"],
        refusal: "certificate signed by unknown authority",
    },
    Client {
        name: "git",
        command: &["git", "-c", "credential.helper=", "ls-remote", "URLrepository.git"],
        refusal: "server certificate verification failed",
    },
];

impl Client {
    fn run(&self, root: &RootFs, server: &TlsServer) -> Output {
        let command: Vec<String> = self
            .command
            .iter()
            .map(|part| part.replace("URL", &server.url()).replace("AUTHORITY", &server.authority()))
            .collect();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        root.command(&command).output().unwrap()
    }

    #[track_caller]
    pub(crate) fn refuses(&self, root: &RootFs, server: &TlsServer) {
        let accepted = server.accepted();
        let output = self.run(root, server);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} accepts the server: {}", self.name, Said(&output));
        assert!(said.contains(self.refusal), "{} fails for another reason: {}", self.name, Said(&output));
        assert_eq!(server.accepted(), accepted, "{} sent its request", self.name);
    }

    #[track_caller]
    pub(crate) fn accepts(&self, root: &RootFs, server: &TlsServer) {
        let accepted = server.accepted();
        let output = self.run(root, server);
        assert!(output.status.success(), "{} fails: {}", self.name, Said(&output));
        assert!(server.accepted() > accepted, "{} did not reach the server: {}", self.name, Said(&output));
    }
}

/// The client that the engine's ring uses too, compiled without C: it reads what Go reads, wherever it runs.
pub(crate) fn go_client() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let home = roots::cache().join("go");
        std::fs::create_dir_all(&home).unwrap();
        let client = home.join("client");
        go::build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/client/main.go"), &client);
        client
    })
}

/// A root with every client.
pub(crate) fn clients_root() -> RootFs {
    let root = Base::Clients.copy();
    copy_program(go_client(), &root.exchange().join("go-client"));
    root
}

/// All clients before, `bootstrap`, all after, `untrust`, all before again.
#[track_caller]
fn before_and_after(bootstrap: impl Fn(&RootFs, &Root)) {
    let ca = ca::root("Clients Root");
    let server = TlsServer::start(&ca);
    let root = clients_root();
    let before = root.tree();
    for client in &CLIENTS {
        client.refuses(&root, &server);
    }
    // Python may have written its byte code in the meantime; everything else stands.
    let before = tidy(&root, before);
    bootstrap(&root, &ca);
    for client in &CLIENTS {
        client.accepts(&root, &server);
    }
    // A server of another root with the same name is still refused.
    let other = TlsServer::start(&ca::root("Clients Root"));
    for client in &CLIENTS {
        let output = client.run(&root, &other);
        assert!(!output.status.success(), "{} accepts another root: {}", client.name, Said(&output));
    }
    root.trustup(["untrust", "--all"]).ok();
    for client in &CLIENTS {
        client.refuses(&root, &server);
    }
    before.assert_same(&tidy(&root, root.tree()), "after untrust");
}

/// Takes out the byte code that python wrote.
fn tidy(root: &RootFs, tree: crate::support::tree::Tree) -> crate::support::tree::Tree {
    roots::run(
        Command::new("find")
            .arg(root.path())
            .args(["-name", "__pycache__", "-prune", "-exec", "rm", "-r"])
            .args(["{}", "+"]),
    );
    let mut tree = tree;
    tree.lines.retain(|path, _| !path.contains("__pycache__"));
    tree
}

/// The control: the same clients after the distribution's own tool, without trustup.
#[test]
#[ignore = "needs root and real root file systems"]
fn clients_accept_the_server_after_the_real_tool() {
    let ca = ca::root("Control Root");
    let server = TlsServer::start(&ca);
    let root = clients_root();
    for client in &CLIENTS {
        client.refuses(&root, &server);
    }
    root.write("usr/local/share/ca-certificates/control.crt", &ca.pem);
    root.run(&["update-ca-certificates"]);
    for client in &CLIENTS {
        client.accepts(&root, &server);
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn clients_accept_the_server_after_the_builtin_updater() {
    before_and_after(|root, ca| {
        let file = ca.write(root.exchange(), "root.pem");
        root.trustup(["bootstrap", "--updater", "builtin", "--fingerprint", &ca.pin(), "--ca-file"])
            .arg(file)
            .ok();
    });
}

#[test]
#[ignore = "needs root and real root file systems"]
fn clients_accept_the_server_after_the_native_updater() {
    before_and_after(|root, ca| {
        ca.write(root.exchange(), "root.pem");
        let args =
            ["bootstrap", "--updater", "native", "--fingerprint", &ca.pin(), "--ca-file", "/mnt/root.pem"];
        root.trustup_inside(args).ok();
    });
}

/// On bare Debian there is no root at all; the one that is pinned is enough for a program that reads the bundle.
#[test]
#[ignore = "needs root and real root file systems"]
fn go_accepts_the_server_on_bare_debian() {
    let ca = ca::root("Bare Root");
    let server = TlsServer::start(&ca);
    let root = Base::Debian12Bare.copy();
    copy_program(go_client(), &root.exchange().join("go-client"));
    root.write("etc/hosts", "127.0.0.1 localhost\n");
    let go = CLIENTS.iter().find(|client| client.name == "Go").unwrap();
    go.refuses(&root, &server);
    ca.write(root.exchange(), "root.pem");
    root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
    go.accepts(&root, &server);
    assert!(root.at(BUNDLE.trim_start_matches('/')).exists());
}

/// Alpine's own clients: BusyBox wget (through `ssl_client`) and curl.
#[test]
#[ignore = "needs root and real root file systems"]
fn alpine_clients_accept_the_server() {
    let ca = ca::root("Alpine Root");
    let server = TlsServer::start(&ca);
    let root = Base::Alpine.copy();
    root.write("etc/hosts", "127.0.0.1 localhost\n");
    let curl = Client {
        name: "curl of Alpine",
        command: &["curl", "--fail", "--silent", "--show-error", "--max-time", "20", "URL"],
        refusal: "SSL certificate",
    };
    let wget = Client {
        name: "wget of BusyBox",
        command: &["wget", "-T", "20", "-O", "-", "URL"],
        refusal: "certificate verify failed",
    };
    for client in [&curl, &wget] {
        client.refuses(&root, &server);
    }
    let file = ca.write(root.exchange(), "root.pem");
    root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(file).ok();
    for client in [&curl, &wget] {
        client.accepts(&root, &server);
    }
    root.trustup(["untrust", "--all"]).ok();
    for client in [&curl, &wget] {
        client.refuses(&root, &server);
    }
}
