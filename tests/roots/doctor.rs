//! `trustup doctor` judged by the real clients: what it says of each is what that client then does, before and after
//! bootstrap, with the variables that lead clients to other roots, or to none.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::clients::go_client;
use crate::support::ca;
use crate::support::java::compile_client;
use crate::support::program::copy_program;
use crate::support::roots::{self, Base, RootFs, Said};
use crate::support::tls_server::TlsServer;

/// What every command sees first.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/mnt";

/// A client: its row in doctor's table, where doctor finds it (or a part of that), and a command that succeeds only if
/// it believes the server. URL and AUTHORITY stand for the server's.
struct Client {
    id: &'static str,
    found: &'static str,
    command: &'static [&'static str],
}

const REQUESTS: &str = "import sys, requests; requests.get(sys.argv[1], timeout=20).raise_for_status()";
const NODE: &str = "require('https').get(process.argv[1], r => r.resume()).on('error', e => process.exit(1))";

const CLIENTS: [Client; 10] = [
    Client {
        id: "openssl",
        found: "/usr/bin/openssl",
        command: &["sh", "-c", "echo Q | openssl s_client -verify_return_error -connect AUTHORITY"],
    },
    Client { id: "curl", found: "/usr/bin/curl", command: &["curl", "-fsS", "--max-time", "20", "URL"] },
    Client {
        id: "wget",
        found: "/usr/bin/wget",
        command: &["wget", "--tries=1", "--timeout=20", "-qO-", "URL"],
    },
    Client {
        id: "git",
        found: "git-remote-https",
        command: &["git", "-c", "credential.helper=", "ls-remote", "URLrepository.git"],
    },
    Client {
        id: "python",
        found: "/usr/bin/python3",
        command: &[
            "python3",
            "-c",
            "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=20)",
            "URL",
        ],
    },
    Client {
        id: "requests",
        found: "/usr/lib/python3/dist-packages/requests",
        command: &["env", "PYTHONPATH=", "python3", "-c", REQUESTS, "URL"],
    },
    Client { id: "requests", found: "/opt/pypi/requests", command: &["python3", "-c", REQUESTS, "URL"] },
    Client { id: "node", found: "/usr/bin/node", command: &["node", "-e", NODE, "URL"] },
    Client { id: "go", found: "", command: &["/mnt/go-client", "URL"] },
    Client {
        id: "cargo",
        found: "/mnt/cargo",
        command: &[
            "sh",
            "-c",
            "CARGO_REGISTRIES_TEST_INDEX=sparse+$1 CARGO_NET_RETRY=0 exec cargo search --registry test anything",
            "sh",
            "URL",
        ],
    },
];

struct Scene {
    root: RootFs,
    server: TlsServer,
    ca: ca::Root,
}

impl Scene {
    fn new() -> Scene {
        let ca = ca::root("Doctor Root");
        let root = Base::Runtimes.copy();
        let server = TlsServer::start(&ca);
        let url = server.url();
        let url = url.trim_end_matches('/');
        server.serve(&format!(r#"{{"dl":"{url}","api":"{url}","crates":[],"meta":{{"total":0}}}}"#));
        copy_program(go_client(), &root.exchange().join("go-client"));
        let cargo = roots::run(Command::new("rustup").args(["which", "cargo"])).stdout;
        let cargo = String::from_utf8(cargo).unwrap();
        copy_program(Path::new(cargo.trim()), &root.exchange().join("cargo"));
        ca.write(root.exchange(), "root.pem");
        ca::root("Another Root").write(root.exchange(), "other.pem");
        for directory in ["hashed", "empty"] {
            std::fs::create_dir(root.exchange().join(directory)).unwrap();
        }
        ca.write(&root.exchange().join("hashed"), "root.pem");
        root.run(&["openssl", "rehash", "/mnt/hashed"]);
        Scene { root, server, ca }
    }

    /// What doctor says with these variables.
    fn doctor(&self, variables: &[&str]) -> Value {
        let all = [&[PATH, "PYTHONPATH=/opt/pypi", "HOME=/root"], variables].concat();
        let authority = self.server.authority();
        let run =
            self.root.trustup_inside_after("", &all, ["doctor", "--json", "--connect", &authority]).run();
        let said = run.json();
        let clients = said["clients"].as_array().unwrap();
        let good =
            clients.iter().filter(|one| one["installed"] == true).all(|one| one["verdict"] == "accepts");
        assert_eq!(
            (run.code, said["all_good"].as_bool()),
            (Some(if good { 0 } else { 4 }), Some(good)),
            "{run}"
        );
        said
    }

    fn does_accept(&self, client: &Client, variables: &[&str]) -> (bool, String) {
        // git wants an answer of its own.
        let command: Vec<String> = client
            .command
            .iter()
            .map(|part| {
                part.replace("URL", &self.server.url()).replace("AUTHORITY", &self.server.authority())
            })
            .collect();
        let fixed = ["env", PATH, "PYTHONPATH=/opt/pypi", "HOME=/root", "PYTHONDONTWRITEBYTECODE=1"];
        let mut whole: Vec<&str> = fixed.to_vec();
        whole.extend(variables);
        whole.extend(command.iter().map(String::as_str));
        let accepted = self.server.accepted();
        let output = self.root.command(&whole).output().unwrap();
        // git and cargo may not like the answer; that they asked shows that they believed.
        let asked = self.server.accepted() > accepted || client.id == "openssl" && output.status.success();
        (asked, Said(&output).to_string())
    }

    /// Every client does what doctor says; the answer is how many accept.
    #[track_caller]
    fn agree(&self, variables: &[&str]) -> usize {
        let said = self.doctor(variables);
        let mut accepting = 0;
        for client in &CLIENTS {
            let of_client = said["clients"].as_array().unwrap().iter().find(|one| {
                one["client"] == client.id && one["found"].as_str().unwrap_or_default().contains(client.found)
            });
            let of_client =
                of_client.unwrap_or_else(|| panic!("doctor does not know {}: {said:#}", client.found));
            let predicted = of_client["verdict"] == "accepts";
            let (does, output) = self.does_accept(client, variables);
            assert_eq!(predicted, does, "{} with {variables:?}: {of_client:#}\n{output}", client.id);
            assert_eq!(predicted, of_client["first_to_change"].is_null(), "{of_client:#}");
            accepting += usize::from(does);
        }
        accepting
    }
}

/// Each alone, and some together: to the root alone, to another root alone, to nothing, empty.
const VARIABLES: [&[&str]; 29] = [
    &[],
    &["SSL_CERT_FILE=/mnt/root.pem"],
    &["SSL_CERT_FILE=/mnt/other.pem"],
    &["SSL_CERT_FILE=/mnt/missing.pem"],
    &["SSL_CERT_FILE="],
    &["SSL_CERT_DIR=/mnt/hashed"],
    &["SSL_CERT_DIR=/mnt/empty"],
    &["SSL_CERT_DIR=/mnt/empty:/mnt/hashed"],
    &["SSL_CERT_DIR=/mnt/missing"],
    &["SSL_CERT_DIR="],
    &["SSL_CERT_FILE=/mnt/other.pem", "SSL_CERT_DIR=/mnt/empty"],
    &["SSL_CERT_FILE=/mnt/root.pem", "SSL_CERT_DIR=/mnt/empty"],
    &["SSL_CERT_FILE=", "SSL_CERT_DIR="],
    &["CURL_CA_BUNDLE=/mnt/root.pem"],
    &["CURL_CA_BUNDLE=/mnt/other.pem"],
    &["CURL_CA_BUNDLE=/mnt/missing.pem"],
    &["CURL_CA_BUNDLE="],
    &["REQUESTS_CA_BUNDLE=/mnt/root.pem"],
    &["REQUESTS_CA_BUNDLE=/mnt/other.pem"],
    &["REQUESTS_CA_BUNDLE=/mnt/hashed"],
    &["REQUESTS_CA_BUNDLE=/mnt/missing.pem", "CURL_CA_BUNDLE=/mnt/root.pem"],
    &["GIT_SSL_CAINFO=/mnt/root.pem"],
    &["GIT_SSL_CAINFO=/mnt/missing.pem"],
    &["GIT_SSL_CAINFO="],
    &["GIT_SSL_CAPATH=/mnt/empty"],
    &["GIT_SSL_CAPATH=/mnt/hashed"],
    &["NODE_EXTRA_CA_CERTS=/mnt/root.pem", "CARGO_HTTP_CAINFO=/mnt/root.pem"],
    &["NODE_EXTRA_CA_CERTS=/mnt/missing.pem", "CARGO_HTTP_CAINFO=/mnt/missing.pem"],
    &["NODE_OPTIONS=--use-bundled-ca", "CARGO_HTTP_CAINFO=/mnt/other.pem"],
];

#[test]
#[ignore = "needs root and real root file systems"]
fn what_doctor_says_is_what_the_clients_do() {
    let scene = Scene::new();
    for variables in VARIABLES {
        scene.agree(variables);
    }
    assert_eq!(scene.agree(&[]), 0, "nobody accepts before");
    scene.root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
    for variables in VARIABLES {
        scene.agree(variables);
    }
    // All but the requests that has a list of its own.
    assert_eq!(scene.agree(&[]), CLIENTS.len() - 1);
    let bundle = "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt";
    assert_eq!(scene.agree(&[bundle]), CLIENTS.len());
}

/// What others did to the stores shows in the clients as doctor says.
#[test]
#[ignore = "needs root and real root file systems"]
fn what_doctor_says_of_damaged_stores_is_what_the_clients_do() {
    const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
    let scene = Scene::new();
    scene.root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
    let whole = scene.root.read(BUNDLE);
    // Somebody's `cat` of files without a line end.
    let one_line = String::from_utf8(whole.clone()).unwrap().replacen(
        "-----END CERTIFICATE-----\n-----BEGIN",
        "-----END CERTIFICATE----------BEGIN",
        1,
    );
    scene.root.write(BUNDLE, one_line);
    scene.agree(&[]);
    scene.root.write(BUNDLE, "");
    scene.agree(&[]);
    scene.root.remove(BUNDLE);
    scene.agree(&[]);
    scene.root.write(BUNDLE, &whole);
    let hash = roots::run(
        Command::new("openssl")
            .args(["x509", "-noout", "-subject_hash", "-in"])
            .arg(scene.ca.write(scene.root.exchange(), "again.pem")),
    );
    let link = format!("etc/ssl/certs/{}.0", String::from_utf8(hash.stdout).unwrap().trim());
    scene.root.remove(&link);
    scene.agree(&[]);
    scene.agree(&["SSL_CERT_FILE=/mnt/other.pem", "CURL_CA_BUNDLE=/mnt/other.pem"]);
}

/// What doctor says of one client with these variables: whether it accepts.
#[track_caller]
fn predicted(root: &RootFs, server: &TlsServer, id: &str, variables: &[&str]) -> (bool, Value) {
    let arguments = ["doctor", "--json", "--connect", &server.authority()];
    let said = root.trustup_inside_after("", &[&[PATH], variables].concat(), arguments).run().json();
    let mut clients = said["clients"].as_array().unwrap().iter().filter(|one| one["client"] == id);
    let (Some(one), None) = (clients.next(), clients.next()) else { panic!("{id} is there once: {said:#}") };
    assert_eq!(one["installed"], true, "{one:#}");
    (one["verdict"] == "accepts", one.clone())
}

/// Java with its defaults, and with the variables that name its options.
#[test]
#[ignore = "needs root, debootstrap and openjdk-17-jdk-headless"]
fn what_doctor_says_of_java_is_what_java_does() {
    let root = Base::Java.copy();
    compile_client(root.exchange());
    let ca = ca::root("Doctor Root");
    ca.write(root.exchange(), "root.pem");
    ca::root("Another Root").write(root.exchange(), "other.pem");
    for name in ["root", "other"] {
        let file = format!("/mnt/{name}.pem");
        let keystore = format!("/mnt/{name}.p12");
        let import = [
            "keytool",
            "-importcert",
            "-noprompt",
            "-storepass",
            "changeit",
            "-storetype",
            "JKS",
            "-alias",
            "a",
        ];
        root.run(&[&import[..], &["-file", &file, "-keystore", &keystore]].concat());
    }
    let server = TlsServer::start(&ca);
    let option =
        |variable: &str, keystore: &str| format!("{variable}=-Djavax.net.ssl.trustStore=/mnt/{keystore}");
    let (tool, jdk, last) = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS");
    let settings = [
        vec![],
        vec![option(tool, "root.p12")],
        vec![option(tool, "other.p12")],
        vec![option(tool, "missing.p12")],
        vec![option(tool, "other.p12"), option(jdk, "root.p12")],
        vec![option(jdk, "other.p12"), option(tool, "root.p12")],
        vec![option(last, "root.p12"), option(jdk, "other.p12")],
        vec!["JAVA_TOOL_OPTIONS=-Xmx256m".to_owned()],
    ];
    let mut accepting = 0;
    for bootstrapped in [false, true] {
        if bootstrapped {
            root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        }
        for setting in &settings {
            let variables: Vec<&str> = setting.iter().map(String::as_str).collect();
            let (says, said) = predicted(&root, &server, "java", &variables);
            let url = server.url();
            let script = "cd /mnt && exec java -cp . Client \"$1\"";
            let command = [&["env", PATH], &variables[..], &["sh", "-c", script, "sh", &url]].concat();
            let output = root.command(&command).output().unwrap();
            let does = String::from_utf8_lossy(&output.stdout).starts_with("answer 200");
            assert_eq!(says, does, "{variables:?}: {said:#}\n{}", Said(&output));
            accepting += usize::from(does);
        }
    }
    assert_eq!(accepting, 3 + 6);
}

/// Alpine's curl, and the wget of BusyBox with its `ssl_client`.
#[test]
#[ignore = "needs root and real root file systems"]
fn what_doctor_says_on_alpine_is_what_the_clients_do() {
    let root = Base::Alpine.copy();
    root.write("etc/hosts", "127.0.0.1 localhost\n");
    let ca = ca::root("Doctor Root");
    let server = TlsServer::start(&ca);
    ca.write(root.exchange(), "root.pem");
    ca::root("Another Root").write(root.exchange(), "other.pem");
    std::fs::create_dir(root.exchange().join("empty")).unwrap();
    let settings: [&[&str]; 7] = [
        &[],
        &["SSL_CERT_FILE=/mnt/root.pem"],
        &["SSL_CERT_FILE=/mnt/other.pem"],
        &["SSL_CERT_FILE=/mnt/missing.pem"],
        &["SSL_CERT_FILE=/mnt/other.pem", "SSL_CERT_DIR=/mnt/empty"],
        &["SSL_CERT_FILE=/mnt/root.pem", "SSL_CERT_DIR=/mnt/empty"],
        &["CURL_CA_BUNDLE=/mnt/other.pem"],
    ];
    for bootstrapped in [false, true] {
        if bootstrapped {
            root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        }
        for variables in settings {
            for (id, command) in [
                ("curl", &["curl", "-fsS", "--max-time", "20"][..]),
                ("wget", &["wget", "-T", "20", "-q", "-O", "-"][..]),
            ] {
                let (says, said) = predicted(&root, &server, id, variables);
                let url = server.url();
                let whole = [&["env", PATH], variables, command, &[&url]].concat();
                let output = root.command(&whole).output().unwrap();
                let does = output.status.success();
                assert_eq!(says, does, "{id} with {variables:?}: {said:#}\n{}", Said(&output));
                assert!(does == bootstrapped || !variables.is_empty(), "{id}: {}", Said(&output));
            }
        }
    }
}

/// What is mended is what the distribution's own tool would have left.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tool_finds_nothing_to_do_after_a_repair() {
    for base in [Base::Debian12, Base::Alpine] {
        let root = base.copy();
        let sound = root.tree();
        let damage = || {
            let certs = root.at("etc/ssl/certs");
            std::os::unix::fs::symlink("gone.pem", certs.join("0123abcd.0")).unwrap();
            let bundle = String::from_utf8(root.read("etc/ssl/certs/ca-certificates.crt")).unwrap();
            // Alpine's has an empty line behind every certificate.
            let joined: Vec<&str> = bundle.split("-----END CERTIFICATE-----").map(str::trim_start).collect();
            root.write(
                "etc/ssl/certs/ca-certificates.crt",
                joined.join("-----END CERTIFICATE-----").trim_end(),
            );
        };
        damage();
        let said = root.trustup_inside(["doctor", "--json"]).run().json();
        assert!(said["findings"].as_array().unwrap().len() >= 3, "{base:?}: {said:#}");
        root.trustup_inside(["bootstrap", "--repair"]).ok().says(["ca-certificates.crt"]);
        sound.assert_same(&root.tree(), &format!("{base:?} repaired"));
        root.run(&["update-ca-certificates"]);
        sound.assert_same(&root.tree(), &format!("{base:?}, the tool"));
        // With a root of ours, and the native updater for the bootstrap itself.
        let ca = ca::root("Repaired Root");
        ca.write(root.exchange(), "root.pem");
        root.trustup_inside(["bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"]).ok();
        let trusting = root.tree();
        damage();
        root.trustup_inside(["bootstrap", "--repair"]).ok();
        trusting.assert_same(&root.tree(), &format!("{base:?} repaired with our root"));
        root.run(&["update-ca-certificates"]);
        trusting.assert_same(&root.tree(), &format!("{base:?}, the tool with our root"));
        root.trustup_inside(["untrust", "--all"]).ok();
        sound.assert_same(&root.tree(), &format!("{base:?} after untrust"));
    }
}
