//! Who cannot write the system's stores: an ordinary user, a read-only root, an image for any uid. The private store,
//! its place (threat T12), its variables, and real programs that use it because of them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::clients::go_client;
use crate::support::binary;
use crate::support::ca::{self, Root};
use crate::support::java::compile_client;
use crate::support::program::copy_program;
use crate::support::roots::{self, Base, RootFs, Said};
use crate::support::run::{Run, Trustup};
use crate::support::tls_server::TlsServer;

/// Where the user's private store is by default.
pub(crate) const STORE: &str = "/home/user/.local/state/trustup";

/// A root, what whoever works in it is, and a certificate to trust.
pub(crate) struct Scene {
    pub(crate) root: RootFs,
    ca: Root,
    uid: u32,
    gid: u32,
    /// `NAME=VALUE`
    variables: Vec<String>,
    /// Shell commands before each run: mounts.
    before: &'static str,
}

impl Scene {
    /// As the ordinary user of the root.
    pub(crate) fn user(base: Base) -> Scene {
        let root = base.copy();
        let ca = ca::root("Unprivileged Root");
        std::fs::set_permissions(root.exchange(), std::fs::Permissions::from_mode(0o755)).unwrap();
        ca.write(root.exchange(), "root.pem");
        let variables = vec!["HOME=/home/user".to_owned()];
        if !root.at("home/user").exists() {
            make_directory(&root, "home/user", 1000, 0o755);
        }
        Scene { root, ca, uid: 1000, gid: 1000, variables, before: "" }
    }

    pub(crate) fn with(mut self, uid: u32, gid: u32, variables: &[&str], before: &'static str) -> Scene {
        (self.uid, self.gid, self.before) = (uid, gid, before);
        self.variables = variables.iter().map(|&variable| variable.to_owned()).collect();
        self
    }

    /// A command as that user.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let mut whole =
            vec!["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", "env", "RUST_BACKTRACE=1"];
        whole.extend(self.variables.iter().map(String::as_str));
        whole.extend(command);
        self.root.command_after(self.before, &whole)
    }

    pub(crate) fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        let program = self.root.exchange().join("trustup");
        if !program.exists() {
            copy_program(binary::shipped(), &program);
        }
        Trustup::through(self.command(&["/mnt/trustup"]), args)
    }

    pub(crate) fn bootstrap(&self) -> Trustup {
        self.trustup(["bootstrap", "--ca-file", "/mnt/root.pem"])
    }

    fn store(&self) -> String {
        STORE.trim_start_matches('/').to_owned()
    }
}

fn make_directory(root: &RootFs, path: &str, uid: u32, mode: u32) {
    std::fs::create_dir_all(root.at(path)).unwrap();
    std::os::unix::fs::chown(root.at(path), Some(uid), Some(uid)).unwrap();
    std::fs::set_permissions(root.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn directory_of(run: &Run) -> Value {
    run.json()["private"]["directory"].clone()
}

/// The programs, each with how it says that it does not trust the server.
const PROGRAMS: [(&str, &[&str], &str); 7] = [
    ("curl", &["curl", "-fsS", "--max-time", "20", "URL"], "SSL certificate problem"),
    (
        "requests of PyPI",
        &[
            "env",
            "PYTHONPATH=/opt/pypi",
            "PYTHONDONTWRITEBYTECODE=1",
            "python3",
            "-c",
            "import sys, requests; assert requests.__file__.startswith('/opt/pypi/'); \
             r = requests.get(sys.argv[1], timeout=20); r.raise_for_status(); print(r.text)",
            "URL",
        ],
        "CERTIFICATE_VERIFY_FAILED",
    ),
    (
        "python3 ssl",
        &[
            "python3",
            "-c",
            "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read())",
            "URL",
        ],
        "CERTIFICATE_VERIFY_FAILED",
    ),
    (
        "Node",
        &[
            "node",
            "-e",
            "require('https').get(process.argv[1], r => r.resume()).on('error', e => { console.error(e.code); process.exit(1) })",
            "URL",
        ],
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    ),
    (
        "git",
        &["git", "-c", "credential.helper=", "ls-remote", "URLrepository.git"],
        "server certificate verification failed",
    ),
    ("Go", &["/mnt/go-client", "URL"], "certificate signed by unknown authority"),
    (
        "openssl s_client",
        &[
            "sh",
            "-c",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -verify_hostname localhost \
             -connect AUTHORITY",
        ],
        "unable to get local issuer certificate",
    ),
];

/// Runs a program with the shell commands `first` before it, as the user.
fn run_program(scene: &Scene, server: &TlsServer, command: &[&str], first: &str) -> Output {
    let command: Vec<String> = command
        .iter()
        .map(|part| part.replace("URL", &server.url()).replace("AUTHORITY", &server.authority()))
        .collect();
    let script = format!("{first}\nexec \"$@\"");
    let mut whole = vec!["sh", "-euc", &script, "sh"];
    whole.extend(command.iter().map(String::as_str));
    scene.command(&whole).output().unwrap()
}

#[track_caller]
fn refuses(scene: &Scene, server: &TlsServer, program: &(&str, &[&str], &str)) {
    let (name, command, refusal) = program;
    let output = run_program(scene, server, command, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{name} accepts the server: {}", Said(&output));
    assert!(said.contains(refusal), "{name} fails for another reason: {}", Said(&output));
}

#[track_caller]
fn accepts(scene: &Scene, server: &TlsServer, name: &str, command: &[&str], first: &str) {
    let accepted = server.accepted();
    let output = run_program(scene, server, command, first);
    assert!(output.status.success(), "{name} fails: {}", Said(&output));
    assert!(server.accepted() > accepted, "{name} did not reach the server: {}", Said(&output));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn programs_of_an_ordinary_user_succeed_with_the_variables_and_fail_without() {
    let scene = Scene::user(Base::Runtimes);
    copy_program(go_client(), &scene.root.exchange().join("go-client"));
    let server = TlsServer::start(&scene.ca);
    let before = scene.root.tree();
    let run = scene.bootstrap().ok();
    run.says(["cannot be written", STORE, "trustup env"]);
    let last = run.stderr.lines().last().unwrap();
    assert!(last.contains("only with its variables set"), "{run}");
    scene.root.tree().without("home/user/.local").assert_same(&before, "outside of the private store");
    for program in &PROGRAMS {
        refuses(&scene, &server, program);
    }
    for (name, command, _) in &PROGRAMS {
        accepts(&scene, &server, name, command, "eval \"$(/mnt/trustup env)\"");
    }
    // The command of bootstrap gets them without a word.
    for (name, command, _) in &PROGRAMS {
        let through: Vec<&str> = ["/mnt/trustup", "bootstrap", "--quiet", "--ca-file", "/mnt/root.pem", "--"]
            .iter()
            .chain(*command)
            .copied()
            .collect();
        accepts(&scene, &server, name, &through, "");
    }
    // What the image's user set is not ours to change.
    let kept = run_program(
        &scene,
        &server,
        &["sh", "-c", "echo \"$SSL_CERT_FILE $GIT_SSL_CAINFO\""],
        "SSL_CERT_FILE=/srv/mine.pem; export SSL_CERT_FILE; eval \"$(/mnt/trustup env)\"",
    );
    let kept = String::from_utf8(kept.stdout).unwrap();
    assert_eq!(kept.trim(), format!("/srv/mine.pem {STORE}/ca-bundle.pem"));
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.root.tree(), "after untrust");
    assert_eq!(scene.trustup(["env"]).fails(4).stdout, "");
}

/// Cargo speaks to a registry: its configuration and a search, answered by one and the same object.
#[test]
#[ignore = "needs root and real root file systems"]
fn cargo_of_an_ordinary_user_succeeds_with_the_variables_and_fails_without() {
    let scene = Scene::user(Base::Runtimes);
    let cargo = roots::run(Command::new("rustup").args(["which", "cargo"])).stdout;
    let cargo = String::from_utf8(cargo).unwrap();
    copy_program(Path::new(cargo.trim()), &scene.root.exchange().join("cargo"));
    let server = TlsServer::start(&scene.ca);
    let url = server.url();
    let url = url.trim_end_matches('/');
    server.serve(&format!(r#"{{"dl":"{url}","api":"{url}","crates":[],"meta":{{"total":0}}}}"#));
    let index = format!("CARGO_REGISTRIES_TEST_INDEX=sparse+{url}/");
    let command =
        ["env", &index, "CARGO_NET_RETRY=0", "/mnt/cargo", "search", "--registry", "test", "anything"];
    scene.bootstrap().ok();
    refuses(&scene, &server, &("cargo", &command, "SSL"));
    accepts(&scene, &server, "cargo", &command, "eval \"$(/mnt/trustup env)\"");
}

/// Java reads no bundle: the private store has a keystore for it, which its defaults find because of the variable.
#[test]
#[ignore = "needs root and real root file systems"]
fn java_of_an_ordinary_user_succeeds_with_the_variables_and_fails_without() {
    let scene = Scene::user(Base::Java);
    compile_client(scene.root.exchange());
    let server = TlsServer::start(&scene.ca);
    let url = server.url();
    let before = scene.root.tree();
    scene.bootstrap().ok();
    scene.root.tree().without("home/user/.local").assert_same(&before, "outside of the private store");
    let keystore = format!("{}/cacerts", scene.store());
    let held = ca::held(&scene.root.read(&keystore));
    let systems = ca::held(&scene.root.read("etc/ssl/certs/java/cacerts"));
    assert!(systems.len() > 100);
    assert_eq!(held, [systems, vec![scene.ca.fingerprint]].concat());

    let java = |first: &str, then: &[&str]| {
        let accepted = server.accepted();
        let client = ["java", "-cp", "/mnt", "Client", &url];
        let output = run_program(&scene, &server, &[then, &client].concat(), first);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // Some refusals come when the server has said all that it has to say.
        (
            said.lines().last().unwrap_or_default().to_owned(),
            server.accepted() > accepted,
            Said(&output).to_string(),
        )
    };
    let fails = |first: &str| {
        let (said, _, all) = java(first, &[]);
        assert!(said.starts_with("refused ") && said.contains("PKIX path"), "{all}");
    };
    let passes = |first: &str, then: &[&str]| {
        let (said, reached, all) = java(first, then);
        assert!(said == "answer 200" && reached, "{all}");
        all
    };
    fails("");
    let eval = "eval \"$(/mnt/trustup env)\"";
    passes(eval, &[]);
    // What is set stays, and works.
    let both = format!("JAVA_TOOL_OPTIONS='-Dmine=\"a b\"'; export JAVA_TOOL_OPTIONS; {eval}; {eval}");
    let all = passes(&both, &[]);
    assert!(
        all.contains("Picked up JAVA_TOOL_OPTIONS: -Dmine=\"a b\" -Djavax.net.ssl.trustStore=/"),
        "{all}"
    );
    passes("", &["/mnt/trustup", "bootstrap", "--quiet", "--ca-file", "/mnt/root.pem", "--"]);
    // The last of two passwords counts.
    let password = "-Djavax.net.ssl.trustStorePassword=another";
    passes(&format!("JAVA_TOOL_OPTIONS={password}; export JAVA_TOOL_OPTIONS; {eval}"), &[]);
    // Who names a trust store keeps it.
    fails(&format!(
        "JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=/etc/ssl/certs/java/cacerts; export JAVA_TOOL_OPTIONS; {eval}"
    ));
    let store = scene.root.at(&scene.store());
    std::fs::copy(store.join("cacerts"), scene.root.exchange().join("cacerts")).unwrap();
    let listed = scene.root.run(&["keytool", "-list", "-keystore", "/mnt/cacerts", "-storepass", "changeit"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("contains {} entries", held.len())), "{listed}");

    assert_eq!(scene.bootstrap().arg("--json").ok().json()["changed"], false);
    scene.trustup(["untrust", "--all"]).ok();
    before.assert_same(&scene.root.tree(), "after untrust");
    fails("");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn require_system_makes_it_an_error() {
    let scene = Scene::user(Base::Debian12);
    let before = scene.root.tree();
    scene.bootstrap().arg("--require-system").fails(1).says([
        "cannot be written",
        "--require-system",
        "USER root",
    ]);
    before.assert_same(&scene.root.tree(), "nothing changed");
    let scene = scene.with(0, 0, &[], "");
    scene.bootstrap().arg("--require-system").ok();
}

/// A root that root's own bootstrap trusts already needs no private store; nor does another run of an ordinary user.
#[test]
#[ignore = "needs root and real root file systems"]
fn what_the_system_trusts_needs_no_private_store() {
    let scene = Scene::user(Base::Debian12);
    scene.root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
    let before = scene.root.tree();
    let run = scene.bootstrap().arg("--json").ok();
    assert_eq!(
        (run.json()["changed"].clone(), directory_of(&run)),
        (Value::from(false), Value::Null),
        "{run}"
    );
    before.assert_same(&scene.root.tree(), "nothing changed");
    scene.trustup(["env"]).ok();
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_place_that_somebody_else_made_is_refused() {
    type Plant = fn(&RootFs, &str);
    let plant: [(&str, Plant); 4] = [
        ("belongs to user 1001", |root, path| make_directory(root, path, 1001, 0o755)),
        ("it is a link", |root, path| {
            make_directory(root, "srv/other", 1001, 0o755);
            std::os::unix::fs::symlink("/srv/other", root.at(path)).unwrap();
            std::os::unix::fs::lchown(root.at(path), Some(1001), Some(1001)).unwrap();
        }),
        ("other users can write it (mode 0777)", |root, path| make_directory(root, path, 1000, 0o777)),
        ("it is not a directory", |root, path| root.write(path, "")),
    ];
    for (says, plant) in plant {
        for (place, variables) in [(STORE, ["HOME=/home/user"]), ("/tmp/trustup-1000", ["NO=HOME"])] {
            let scene = Scene::user(Base::Debian12Bare).with(1000, 1000, &variables, "");
            for parent in ["home/user/.local", "home/user/.local/state"] {
                make_directory(&scene.root, parent, 1000, 0o700);
            }
            plant(&scene.root, place.trim_start_matches('/'));
            let before = scene.root.tree();
            scene.bootstrap().fails(1).says([says, place, "--private-dir"]);
            assert_eq!(scene.trustup(["env"]).fails(1).says([says]).stdout, "");
            scene.trustup(["status"]).fails(1).says([says]);
            before.assert_same(&scene.root.tree(), says);
            // Another place is taken at once.
            scene.bootstrap().args(["--private-dir", "/home/user/mine"]).ok();
        }
    }
}

/// No home, a home of somebody else, one that others can write: the next candidate serves, down to /tmp.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_next_place_serves_where_one_cannot_be_made() {
    let in_tmp = "/tmp/trustup-1000";
    for (variables, home, wanted) in [
        (["NO=HOME"], (1000, 0o755), in_tmp),
        (["HOME=/"], (1000, 0o755), in_tmp),
        (["HOME=/nonexistent"], (1000, 0o755), in_tmp),
        (["HOME=/home/user"], (1001, 0o755), in_tmp),
        (["HOME=/home/user"], (1000, 0o777), in_tmp),
        (["HOME=/home/user"], (1000, 0o700), STORE),
        (["XDG_STATE_HOME=/home/user/x"], (1000, 0o700), "/home/user/x/trustup"),
    ] {
        let scene = Scene::user(Base::Debian12Bare).with(1000, 1000, &variables, "");
        make_directory(&scene.root, "home/user", home.0, home.1);
        let run = scene.bootstrap().arg("--json").ok();
        assert_eq!(directory_of(&run), wanted, "{variables:?} {home:?}");
        scene.trustup(["status"]).ok();
        let said = scene.trustup(["env"]).ok().stdout;
        assert!(said.contains(&format!("{wanted}/ca-bundle.pem")), "{said}");
        // With a home at last, what is there is still found.
        if wanted == in_tmp {
            make_directory(&scene.root, "home/user", 1000, 0o755);
            let scene = scene.with(1000, 1000, &["HOME=/home/user"], "");
            scene.trustup(["status"]).ok();
            scene.trustup(["untrust", "--all"]).ok();
            assert!(!scene.root.at("tmp/trustup-1000").exists());
        }
    }
}

/// An image for any uid of group 0, as OpenShift runs it: what the group can write is used, the rest is private.
#[test]
#[ignore = "needs root and real root file systems"]
fn an_image_for_any_uid_gets_what_is_writable() {
    let scene = Scene::user(Base::RedHat).with(1_000_650_000, 0, &["HOME=/"], "");
    let writable = ["etc/pki/ca-trust/extracted/pem", "etc/pki/ca-trust/source/anchors"];
    for path in writable {
        std::fs::set_permissions(scene.root.at(path), std::fs::Permissions::from_mode(0o775)).unwrap();
    }
    let before = scene.root.tree();
    let run = scene.bootstrap().arg("--json").ok();
    let json = run.json();
    let bundle = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    assert!(ca::held(&scene.root.read(bundle)).contains(&scene.ca.fingerprint), "{run}");
    let unwritable = json["unwritable"].to_string();
    assert!(unwritable.contains("ca-bundle.trust.crt") && !unwritable.contains("tls-ca-bundle"), "{run}");
    assert_eq!(directory_of(&run), "/tmp/trustup-1000650000");
    scene.trustup(["status"]).ok();
    let again = scene.bootstrap().arg("--json").ok();
    assert_eq!(again.json()["changed"], false, "{again}");
    scene.trustup(["untrust", "--all"]).ok();
    // The bytes are back; a file that was written belongs to whoever wrote it.
    let content = |root: &RootFs| ca::held(&root.read(bundle));
    assert!(!content(&scene.root).contains(&scene.ca.fingerprint));
    assert!(!scene.root.at("tmp/trustup-1000650000").exists());
    let changed: Vec<String> = before.changed_paths(&scene.root.tree());
    assert!(changed.iter().all(|path| path.starts_with("etc/pki/ca-trust/extracted/pem")), "{changed:?}");
}

/// A read-only root with a tmpfs, as root and as a user: the store goes to /tmp.
#[test]
#[ignore = "needs root and real root file systems"]
fn on_a_read_only_root_the_store_is_in_tmp() {
    const READ_ONLY: &str = "mount --bind \"$ROOT\" \"$ROOT\"; for at in proc dev mnt; do :; done\n\
        mount -t proc proc \"$ROOT/proc\"; mount --bind \"$EXCHANGE\" \"$ROOT/mnt\"\n\
        mount -o remount,bind,ro \"$ROOT\"; mount -t tmpfs -o mode=1777 tmp \"$ROOT/tmp\"";
    for uid in [0, 1000] {
        let scene = Scene::user(Base::Debian12).with(uid, uid, &["HOME=/root"], READ_ONLY);
        let before = scene.root.tree();
        let script = "/mnt/trustup bootstrap --ca-file /mnt/root.pem --json && /mnt/trustup status >&2 && \
            /mnt/trustup env >&2 && /mnt/trustup untrust --all && ls -A /tmp >&2";
        scene.trustup(["--version"]).ok();
        let output = scene.command(&["sh", "-c", script]).output().unwrap();
        let place = format!("/tmp/trustup-{uid}");
        assert!(output.status.success(), "{}", Said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains(&place), "{}", Said(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("{place}/ca-bundle.pem")), "{}", Said(&output));
        before.assert_same(&scene.root.tree(), "a read-only root");
    }
}

/// The private store follows the system: what the vendor adds or withdraws is so at the next run.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_private_store_follows_the_system() {
    let scene = Scene::user(Base::Debian12);
    scene.bootstrap().ok();
    let (other, gone) = (ca::root("Vendor's New Root"), {
        let bundle = String::from_utf8(scene.root.read("etc/ssl/certs/ca-certificates.crt")).unwrap();
        ca::fingerprints(&bundle)[0]
    });
    let bundle = String::from_utf8(scene.root.read("etc/ssl/certs/ca-certificates.crt")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let without_first = &bundle[bundle.find(end).unwrap() + end.len()..];
    scene.root.write("etc/ssl/certs/ca-certificates.crt", format!("{without_first}{}", other.pem));
    let run = scene.bootstrap().ok();
    let held = ca::held(&scene.root.read(&format!("{}/ca-bundle.pem", scene.store())));
    assert!(held.contains(&other.fingerprint) && held.contains(&scene.ca.fingerprint), "{run}");
    assert!(!held.contains(&gone), "{run}");
    scene.trustup(["status"]).ok();
}
