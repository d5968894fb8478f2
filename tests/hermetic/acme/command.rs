//! `trustup enroll acme`, the command itself, against the server that does as it is told: what it waits for, what it keeps,
//! and what it says of both.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::FINISHED;
use super::server::{AcmeServer, Instead};
use crate::support::run::Trustup;

/// A place for a pair, and the server's root.
pub(super) struct Place {
    pub(super) directory: TempDir,
    pub(super) url: String,
}

impl Place {
    pub(super) fn at(server: &AcmeServer) -> Place {
        let (url, root) = server.known_as();
        let directory = TempDir::new().expect("directory");
        fs::write(directory.path().join("root.pem"), root).expect("root");
        Place { directory, url }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `trustup enroll acme a.test`, listening somewhere.
    pub(super) fn enroll(&self) -> Trustup {
        let files = [("--cert", "tls.crt"), ("--key", "tls.key"), ("--ca-root", "root.pem")];
        let files = files.map(|(option, name)| [option.into(), self.path(name).into_os_string()]);
        Trustup::new([
            "--timeout",
            "20s",
            "enroll",
            "acme",
            "a.test",
            "--agree-tos",
            "--directory",
            &self.url,
        ])
        .args(files.concat())
        .args(["--http-listen", "127.0.0.1:0"])
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
