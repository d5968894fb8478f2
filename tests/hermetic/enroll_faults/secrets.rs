//! Keys, tokens and passwords are seen by nobody: not on stdout or stderr, not in JSON, not in a command line, not in a
//! file but the key's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use super::hostile_ca::{Fault, PASSWORD};
use super::{Scene, Way, files};
use crate::acme::server::AcmeServer;
use crate::support::acme::hook;
use crate::support::binary;
use crate::support::run::{Run, Trustup};

/// What must not be seen of this scene: the password, the token and each of its parts, the private half of the
/// keys in PEM line by line.
fn secrets(scene: &Scene) -> Vec<String> {
    let token = fs::read_to_string(scene.path("token")).unwrap();
    let mut secrets = vec![PASSWORD.to_owned(), token.clone()];
    secrets.extend(token.split('.').skip(1).map(str::to_owned));
    for (_, content) in files(scene.directory.path()) {
        let text = String::from_utf8_lossy(&content).into_owned();
        let mut lines = text.lines();
        while lines.by_ref().any(|line| line.starts_with("-----BEGIN") && line.contains("PRIVATE KEY")) {
            // The public half, which stands in the certificate as well, comes behind them.
            secrets.extend(lines.by_ref().take(2).map(str::to_owned));
        }
    }
    assert!(secrets.iter().all(|secret| secret.len() >= 16), "{secrets:?}");
    secrets
}

#[track_caller]
fn hidden(secrets: &[String], run: &Run) {
    for secret in secrets {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "`{secret}` is seen: {run}");
    }
}

#[test]
fn nothing_secret_is_said() {
    let faults = [
        Fault::None,
        Fault::Status(401),
        Fault::Status(500),
        Fault::ClosesInTheBody,
        Fault::AnotherKey,
        Fault::HalfPem,
        Fault::Html,
        Fault::Garbage,
        Fault::Redirect,
    ];
    for fault in faults {
        for way in [Way::Token, Way::TokenAndRoot, Way::Provisioner, Way::X5c] {
            for more in [&["--json"][..], &["-v"], &["--dry-run", "-v"]] {
                let scene = Scene::new(fault, "/1.0/sign").with_old_pair();
                let mut known = secrets(&scene);
                let run = scene.enroll(way).args(more).run();
                known.extend(secrets(&scene));
                hidden(&known, &run);
                if fault == Fault::None {
                    assert_eq!(run.code, Some(0), "{run}");
                }
                // Whatever is left: the key is in files that nobody else reads, token and password in none of ours.
                for (path, content) in files(&scene.path("tls")) {
                    let text = String::from_utf8_lossy(&content);
                    let is_key = text.contains("PRIVATE KEY");
                    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                    assert!(!is_key || mode == 0o600, "{}: {mode:o}", path.display());
                    let others = known.iter().filter(|secret| !is_key && text.contains(secret.as_str()));
                    assert_eq!(others.count(), 0, "{}", path.display());
                }
            }
        }
    }
}

/// A wrong password, a damaged token.
#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let scene = Scene::new(Fault::None, "/").with_old_pair();
    let token = fs::read_to_string(scene.path("token")).unwrap();
    let body = token.split('.').nth(1).unwrap();
    for damaged in [
        &token[..token.len() / 2],
        &token.replace('.', ""),
        &format!("x{token}"),
        &format!("{token}.x"),
        body,
    ] {
        scene.put("token", damaged);
        for way in [Way::Token, Way::TokenAndRoot] {
            let run = scene.enroll(way).run();
            let parts = damaged.split('.').filter(|part| part.len() > 20).map(str::to_owned);
            hidden(&parts.collect::<Vec<_>>(), &run);
        }
    }
    scene.put("password", "correct-horse-hunter3");
    let run = scene.enroll(Way::Provisioner).run();
    assert_ne!(run.code, Some(0), "{run}");
    hidden(&["correct-horse-hunter3".to_owned()], &run);
    // A key where a certificate, a token or a password should be.
    let key = fs::read_to_string(scene.path("tls/server.key")).unwrap();
    for name in ["token", "password", "root.pem"] {
        let scene = Scene::new(Fault::None, "/").with_old_pair();
        scene.put(name, &key);
        let lines: Vec<String> =
            key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
        for way in [Way::Token, Way::TokenAndRoot, Way::Provisioner] {
            hidden(&lines, &scene.enroll(way).run());
        }
    }
}

/// T16: a hook gets the caller's variables, but for those that hold secrets: by their names, or because trustup.toml takes
/// a secret from them.
#[test]
fn t16_a_hook_gets_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let server = AcmeServer::start(|_, _| None);
    let (url, root) = server.known_as();
    fs::write(path("root.pem"), root).unwrap();
    let program = hook(
        directory.path(),
        &format!(
            "env >> {0}; tr '\\0' '\\n' < /proc/self/environ >> {0}; tr '\\0' '\\n' < /proc/$PPID/cmdline >> {0}",
            path("seen")
        ),
    );
    let config = format!(
        "[ca]\nroot = \"{}\"\n[[certificate]]\nnames = \"a.test\"\ncert = \"{}\"\nkey = \"{}\"\n[[certificate.enroll]]\nmethod = \"provisioner\"\npassword = \"${{DATABASE_WORD}}\"\n[[certificate.enroll]]\nmethod = \"acme\"\ndirectory = \"{url}\"\nchallenge = \"dns-01\"\nagree_tos = true\ndns_hook = [\"{program}\", \"--zone\", \"${{ZONE}}\"]\neab_kid = \"kid\"\neab_hmac_key = \"${{MAC_WORD}}\"\n",
        path("root.pem"),
        path("tls.crt"),
        path("tls.key")
    );
    fs::write(path("trustup.toml"), config).unwrap();
    let secrets = ["hunter2-correct-horse", "aHVudGVyMi1iYXR0ZXJ5LXN0YXBsZQ", "hunter2-token-token"];
    let run = Trustup::new(["enroll", "--timeout", "20s", "--config", &path("trustup.toml")])
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", directory.path())
        .env("DATABASE_WORD", secrets[0])
        .env("MAC_WORD", secrets[1])
        .env("TRUSTUP_TOKEN", secrets[2])
        .env("CA_TOKEN", secrets[2])
        .env("ZONE", "zone-of-the-hook")
        .run();
    // That server issues nothing; the hook was called all the same.
    assert_ne!(run.code, Some(0), "{run}");
    let seen = fs::read_to_string(path("seen")).unwrap_or_else(|error| panic!("{error}: {run}"));
    assert!(seen.contains("zone-of-the-hook") && seen.contains("HOME="), "{seen}");
    for secret in secrets {
        assert!(!seen.contains(secret), "{seen}");
    }
    hidden(&secrets.map(str::to_owned), &run);
}

/// While it runs, `/proc` shows where secrets are, not what they are; what came in a variable is in no child's environment.
#[test]
fn the_command_line_holds_no_secret() {
    for way in [Way::Token, Way::Provisioner, Way::X5c] {
        let scene = Scene::new(Fault::NeverAnswers, "/1.0/sign").with_old_pair();
        let secrets = secrets(&scene);
        let mut command = binary::command();
        // It is there until it is ended.
        let arguments = scene.arguments_within(way, "120s");
        command.env("HOME", scene.directory.path()).arg("enroll").args(arguments);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
        // The request has come: everything has been read.
        scene.ca.wait_for("/1.0/sign");
        for name in ["cmdline", "environ"] {
            let Ok(bytes) = fs::read(format!("/proc/{}/{name}", child.id())) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            assert!(name != "cmdline" || text.contains("enroll"), "{text}");
            assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{name}: {text}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
