//! What is put up for a challenge: webroots, hooks and ports that are not as they should be (threat T20).

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use trustup::acme::{ChallengeType, DnsSolver};

use super::command::Place;
use super::server::{AcmeServer, Instead, authorization, challenge, dns_value};
use super::{FINISHED, honest, is_empty, server};
use crate::support::acme::{AcmeClient, hook, loopback};
use crate::support::tree::Tree;

#[test]
fn t20_nothing_is_written_through_a_link_below_the_webroot() {
    let server = honest();
    let outside = TempDir::new().expect("outside");
    type Plant = fn(&Path, &Path);
    let plant: [(&str, Plant); 5] = [
        ("directory", |root, outside| symlink(outside, root.join(".well-known")).expect("link")),
        ("last directory", |root, outside| {
            std::fs::create_dir(root.join(".well-known")).expect("directory");
            symlink(outside, root.join(".well-known/acme-challenge")).expect("link");
        }),
        ("file", |root, outside| {
            std::fs::create_dir_all(root.join(".well-known/acme-challenge")).expect("directory");
            symlink(outside.join("target"), root.join(".well-known/acme-challenge/token")).expect("link");
        }),
        ("other file", |root, _| {
            std::fs::create_dir_all(root.join(".well-known/acme-challenge")).expect("directory");
            std::fs::write(root.join(".well-known/acme-challenge/token"), "theirs").expect("file");
        }),
        ("file for a directory", |root, _| std::fs::write(root.join(".well-known"), "theirs").expect("file")),
    ];
    for (what, plant) in plant {
        let root = TempDir::new().expect("webroot");
        plant(root.path(), outside.path());
        let before = Tree::of(root.path());
        let mut client = server.client();
        client.settings.webroot = Some(root.path().to_owned());
        let error = client.fails(&["a.test"]);
        assert!(!error.to_string().contains(FINISHED), "{what}: {error}");
        assert!(is_empty(outside.path()), "{what}");
        before.assert_same(&Tree::of(root.path()), what);
    }
    assert_eq!(server.count("/challenge"), 0);
}

#[test]
fn the_answer_in_a_webroot_can_be_read_by_its_web_server() {
    let root = TempDir::new().expect("webroot");
    let place = root.path().join(".well-known/acme-challenge");
    let there = place.clone();
    let server = server("/challenge", move |_, base| {
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o7777;
        let content = std::fs::read_to_string(there.join("token")).expect("the answer");
        assert!(content.starts_with("token.") && content.len() == 6 + 43, "{content}");
        let modes = [mode(&there.join("token")), mode(&there), mode(there.parent().expect("parent"))];
        let mut answer = challenge(base, "http-01", "token", "processing");
        answer["modes"] = json!(modes);
        assert_eq!(modes, [0o644, 0o755, 0o755]);
        Instead::Json(200, answer)
    });
    let mut client = server.client();
    client.settings.webroot = Some(root.path().to_owned());
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    assert!(is_empty(root.path()), "and nothing is left");
    client.settings.webroot = Some(root.path().join("missing"));
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
}

#[test]
fn the_answer_of_a_run_that_was_killed_is_taken_over() {
    let server = AcmeServer::start(|asked, _| {
        // The first run is never told how its challenge is.
        let hangs = asked.path == "/challenge" && asked.before == 0;
        hangs.then(|| {
            Instead::Raw(Box::new(|stream| {
                let _ = stream.read(&mut [0])?;
                Ok(())
            }))
        })
    });
    let place = Place::at(&server);
    let file = place.path("webroot/.well-known/acme-challenge/token");
    std::fs::create_dir(place.path("webroot")).expect("webroot");
    let enroll = || {
        let webroot = place.path("webroot").into_os_string();
        place.enroll_by(&["--webroot".into(), webroot], "20s")
    };
    let run = enroll().start();
    crate::support::servers::wait_for("the challenge", || (server.count("/challenge") > 0).then_some(()));
    drop(run);
    let left = std::fs::read(&file).expect("what the killed run left");
    // Another order, for which the CA gives out the same token again.
    let forget = || std::fs::remove_file(place.path(".tls.key.trustup/order.json")).expect("an order");
    forget();
    enroll().fails(4).says([FINISHED]);
    assert!(!file.exists(), "and it is taken away");

    // Whatever is not exactly that stays as it is.
    let plant = |content: &[u8]| {
        std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
        std::fs::write(&file, content).expect("file");
    };
    let mut longer = left.clone();
    longer.push(b'\n');
    for content in [longer, left[1..].to_vec(), Vec::new()] {
        plant(&content);
        enroll().fails(1).says(["another file is where the answer to the challenge should go"]);
        assert_eq!(std::fs::read(&file).expect("theirs"), content);
        forget();
    }
    if rustix::process::geteuid().is_root() {
        plant(&left);
        std::os::unix::fs::chown(&file, Some(65_534), None).expect("owner");
        enroll().fails(1).says(["another file is where the answer to the challenge should go"]);
        assert!(file.exists());
    }
}

#[test]
fn t20_a_value_that_begins_with_a_dash_is_the_last_argument_like_any_other() {
    let directory = TempDir::new().expect("directory");
    let calls = directory.path().join("calls");
    let program = hook(directory.path(), &format!("echo \"$#|$1|$2|$3\" >> {}", calls.display()));
    let server = with_dashes();
    let mut client = server.client();
    client.settings.dns = Some(DnsSolver::Hook(vec![program]));
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}: {:?}", client.lines());
    assert_eq!(server.count("/order"), 1, "no other order is placed for it");
    let calls = std::fs::read_to_string(&calls).expect("calls");
    let calls: Vec<Vec<&str>> = calls.lines().map(|call| call.split('|').collect()).collect();
    let [present, cleanup] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(present[..3], ["3", "present", "_acme-challenge.a.test."]);
    assert_eq!(cleanup[1..], ["cleanup", present[2], present[3]]);
    let is_base64url = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let value = present[3];
    assert!(value.starts_with('-') && value.len() == 43 && value.bytes().all(is_base64url), "{value}");
}

/// A server with a token whose TXT value begins with `-`, as one in 64 does.
fn with_dashes() -> AcmeServer {
    let key = std::sync::Mutex::new(Value::Null);
    AcmeServer::start(move |asked, base| {
        if asked.path == "/account" {
            *key.lock().expect("lock") = asked.protected.clone();
        }
        let key = key.lock().expect("lock").clone();
        let mut tokens = (0..).map(|number| format!("token-{number}"));
        let mut token = || tokens.find(|token| dns_value(token, &key).starts_with('-')).expect("a token");
        (asked.path == "/authz").then(|| {
            let status = if asked.told { "valid" } else { "pending" };
            Instead::Json(200, authorization(base, &token(), status))
        })
    })
}

#[test]
fn a_hook_that_fails_can_be_tried_by_hand() {
    let server = honest();
    let directory = TempDir::new().expect("directory");
    let program = hook(directory.path(), "exit 3");
    let mut client = server.client();
    client.settings.dns = Some(DnsSolver::Hook(vec![program.clone(), "--zone=a".to_owned()]));
    let error = client.fails(&["a.test"]);
    assert!(error.hints()[0].contains("run this very command by hand"), "{error:?}");
    let line = format!("{program} --zone=a present _acme-challenge.a.test. ");
    assert!(error.place().is_some_and(|place| place.starts_with(&line)), "{error:?}");
}

#[test]
fn a_hook_must_be_safe_to_run() {
    let server = honest();
    let directory = TempDir::new().expect("directory");
    let program = hook(directory.path(), "exit 0");
    let mut client = server.client();
    for command in [vec![], vec!["hook".to_owned()], vec!["./hook".to_owned()]] {
        client.settings.dns = Some(DnsSolver::Hook(command));
        let error = client.fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.hints()[0].contains("`--dns-hook /path/to/program`"), "{error:?}");
    }
    client.settings.dns = Some(DnsSolver::Hook(vec![program.clone()]));
    assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
    let refused = |client: &mut AcmeClient, words: &str| {
        let error = client.fails(&["a.test"]);
        assert!(error.kind().exit_code() == 2 && error.to_string().contains(words), "{error}");
    };
    let set = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("mode");
    };
    for (path, words) in [(Path::new(&program), "mode is 0777"), (directory.path(), "other users can write")]
    {
        set(path, 0o777);
        refused(&mut client, words);
        set(path, 0o755);
    }
    // A directory further up, and that of a program that a link leads to.
    let (above, elsewhere) = (directory.path().join("above"), directory.path().join("elsewhere"));
    for path in [&above.join("below"), &elsewhere] {
        std::fs::create_dir_all(path).expect("directory");
    }
    let below = hook(&above.join("below"), "exit 0");
    hook(&elsewhere, "exit 0");
    let link = directory.path().join("link");
    symlink("elsewhere/hook", &link).expect("link");
    for (program, open) in [(below, &above), (link.to_str().expect("UTF-8").to_owned(), &elsewhere)] {
        client.settings.dns = Some(DnsSolver::Hook(vec![program]));
        assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
        // Where everybody can write, and nobody but root says who may remove what.
        for mode in [0o777, 0o775] {
            set(open, mode);
            refused(&mut client, "other users can write");
        }
        set(open, 0o755);
    }
    // Like /tmp: what is ours there stays ours.
    set(&above, 0o1777);
    let program = hook(&above, "exit 0");
    client.settings.dns = Some(DnsSolver::Hook(vec![program]));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(client.fails(&["a.test"]).to_string().contains(FINISHED), is_root);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = honest();
    let taken = crate::servers::listen();
    let port = taken.local_addr().expect("address").port();
    let mut client = server.client().listening(port);
    let error = client.fails(&["a.test"]);
    assert!(error.place() == Some(&loopback(port).to_string()), "{error}");
    assert!(error.hints()[0].contains("--webroot"), "{:?}", error.hints());
    client.settings.challenge = Some(ChallengeType::TlsAlpn01);
    client.settings.tls_listen = Some(loopback(port));
    assert!(client.fails(&["a.test"]).hints()[0].contains("--tls-listen"));
    assert_eq!(server.count("/challenge"), 0, "the CA is told only when the answer is up");
}

#[test]
fn a_hook_that_had_too_little_time_may_do_another_time() {
    let server = honest();
    let directory = TempDir::new().expect("directory");
    let program = hook(directory.path(), "if [ $1 = present ]; then sleep 600; fi");
    let mut client = server.client();
    client.settings.dns = Some(DnsSolver::Hook(vec![program]));
    client.timeout = Duration::from_secs(2);
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 6 && error.to_string().contains("was ended"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--timeout")), "{:?}", error.hints());
}
