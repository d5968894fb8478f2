//! `trustup enroll acme`, the command itself, against the server that does as it is told: what it waits for, what it keeps,
//! and what it says of both.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::FINISHED;
use super::server::{AcmeServer, Instead, problem};
use crate::support::run::Trustup;

/// A place for a pair, and the server's root.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) url: String,
}

impl Place {
    pub(crate) fn at(server: &AcmeServer) -> Place {
        let (url, root) = server.known_as();
        let directory = TempDir::new().expect("directory");
        fs::write(directory.path().join("root.pem"), root).expect("root");
        Place { directory, url }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `trustup enroll acme a.test`, listening somewhere.
    pub(crate) fn enroll(&self) -> Trustup {
        self.enroll_within("20s")
    }

    fn enroll_within(&self, timeout: &str) -> Trustup {
        self.enroll_by(&["--http-listen".into(), "127.0.0.1:0".into()], timeout)
    }

    /// The same with other means.
    pub(crate) fn enroll_by(&self, means: &[OsString], timeout: &str) -> Trustup {
        let files = [("--cert", "tls.crt"), ("--key", "tls.key"), ("--ca-root", "root.pem")];
        let files = files.map(|(option, name)| [option.into(), self.path(name).into_os_string()]);
        Trustup::new(["--timeout", timeout, "enroll", "acme", "a.test", "--agree-tos"])
            .args(["--directory", &self.url])
            .args(files.concat())
            .args(means)
            .env("HOME", self.directory.path())
    }
}

#[test]
fn a_ca_behind_a_proxy_is_waited_for_until_it_is_up() {
    let run = |status: u16| {
        // More often than the client of the protocol asks by itself.
        let server = AcmeServer::start(move |asked, _| {
            let is_down = asked.path == "/dir" && asked.before < 5;
            is_down.then(|| Instead::Text(status, "text/html", "<html>starting</html>".to_owned()))
        });
        let run = Place::at(&server).enroll().arg("-v").fails(4);
        run.says([FINISHED, &format!("HTTP status {status}"), "trying again in"]);
        assert_eq!(server.count("/dir"), 6, "and it is fetched once: {run}");
    };
    // At the same time: the pauses add up.
    std::thread::scope(|scope| {
        for status in [429, 502, 503, 504] {
            scope.spawn(move || run(status));
        }
    });
}

#[test]
fn a_directory_that_is_none_is_not_waited_for() {
    let far = vec![("Retry-After", "3600".to_owned())];
    let server = AcmeServer::start(move |asked, _| {
        (asked.path == "/dir").then(|| Instead::With(503, far.clone(), json!({})))
    });
    Place::at(&server).enroll().fails(6).says(["HTTP status 503"]);
    assert_eq!(server.count("/dir"), 1, "it says that it is too early");
    let server = AcmeServer::start(|asked, _| {
        (asked.path == "/dir").then(|| Instead::Text(404, "text/html", "<html>".to_owned()))
    });
    Place::at(&server).enroll().fails(1).says(["HTTP status 404"]);
    assert_eq!(server.count("/dir"), 1);
}

/// What is sent back at `/finalize`, and at `/certificate`.
type Ending = fn(&str) -> [Instead; 2];

fn finished(status: &str, base: &str) -> Instead {
    let order = json!({ "status": status, "authorizations": [], "finalize": format!("{base}/finalize"),
        "certificate": format!("{base}/certificate") });
    Instead::Json(200, order)
}

fn html(status: u16) -> Instead {
    Instead::Text(status, "text/html", "<html>".to_owned())
}

/// The key of a request that was sent, if it is kept, and what was said.
fn ended_by(ending: Ending) -> (Option<Vec<u8>>, String) {
    let finalized = AtomicBool::new(false);
    let server = AcmeServer::start(move |asked, base| match asked.path.as_str() {
        "/order" => {
            finalized.store(false, Ordering::SeqCst);
            None
        }
        "/finalize" => {
            finalized.store(true, Ordering::SeqCst);
            ending(base).into_iter().next()
        }
        "/order/1" if finalized.load(Ordering::SeqCst) => Some(finished("processing", base)),
        "/certificate" => ending(base).into_iter().nth(1),
        _ => None,
    });
    let place = Place::at(&server);
    let run = place.enroll_within("3s").run();
    assert_ne!(run.code, Some(0), "{run}");
    assert_eq!(server.count("/finalize"), 1, "{run}");
    assert!(!place.path("tls.crt").exists() && !place.path("tls.key").exists(), "{run}");
    let kept = fs::read(place.path(".tls.key.trustup/key.pem")).ok();
    if let Some(key) = &kept {
        let record = fs::read_to_string(place.path(".tls.key.trustup/pending.json")).expect("a record");
        assert!(record.contains(r#""method":"acme""#), "{record}");
        // The next run asks with the same one.
        place.enroll_within("3s").run();
        assert_eq!(fs::read(place.path(".tls.key.trustup/key.pem")).ok().as_ref(), Some(key));
    }
    (kept, run.stderr)
}

/// The earlier "not now" must not hide that the last try was sent: the CA may have issued.
#[test]
fn a_try_that_is_lost_after_a_refusal_keeps_the_key() {
    let tries = AtomicUsize::new(0);
    let server = AcmeServer::start(move |asked, _| match asked.path.as_str() {
        "/finalize" if tries.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(Instead::With(503, vec![("Retry-After", "1".to_owned())], json!({})))
        }
        // Until the client gives up.
        "/finalize" => Some(Instead::Raw(Box::new(|stream| {
            while stream.read(&mut [0; 64])? > 0 {}
            Ok(())
        }))),
        _ => None,
    });
    let place = Place::at(&server);
    let run = place.enroll_within("4s").run();
    assert_eq!((run.code, server.count("/finalize")), (Some(6), 2), "{run}");
    run.says(["no complete answer", "the order and its key are kept in"]);
    assert!(place.path(".tls.key.trustup/key.pem").exists(), "{run}");
}

#[test]
fn an_answer_that_is_lost_keeps_the_key() {
    let lost: [(&str, Ending); 6] = [
        ("nothing comes back", |_| [Instead::Raw(Box::new(|_| Ok(()))), html(404)]),
        ("a proxy has no patience", |_| [html(504), html(404)]),
        ("nonsense comes back", |_| [html(200), html(404)]),
        ("it takes too long", |base| [finished("processing", base), html(404)]),
        ("the chain does not come", |base| [finished("valid", base), html(404)]),
        ("the chain is none", |base| [finished("valid", base), html(200)]),
    ];
    // At the same time: one of them takes its time.
    std::thread::scope(|scope| {
        for (what, ending) in lost {
            scope.spawn(move || {
                let (kept, said) = ended_by(ending);
                assert!(kept.is_some(), "{what}: {said}");
                assert!(said.contains("the order and its key are kept in `"), "{what}: {said}");
            });
        }
    });
}

#[test]
fn a_refusal_keeps_nothing() {
    let refused: [(&str, Ending); 2] = [
        ("it says no", |_| [Instead::Json(403, problem("badCSR", "no")), html(404)]),
        ("the order is lost", |base| [finished("invalid", base), html(404)]),
    ];
    for (what, ending) in refused {
        let (kept, said) = ended_by(ending);
        assert!(kept.is_none() && !said.contains("are kept in"), "{what}: {said}");
    }
}
