//! `trustup dev-ca` as a process of its own, until the guard is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::servers::Daemon;
use super::{binary, schema};

/// A running development CA, kept in a directory.
pub struct DevCaProcess {
    daemon: Option<Daemon>,
    place: TempDir,
    said: Value,
}

impl DevCaProcess {
    /// `trustup --json dev-ca --state DIR EXTRA…`, up; at a free port of loopback, unless EXTRA has `--listen`.
    pub fn start(extra: &[&str]) -> DevCaProcess {
        let place = tempfile::tempdir().expect("temporary directory");
        let mut ca = DevCaProcess { daemon: None, place, said: Value::Null };
        ca.start_again(extra);
        ca
    }

    /// Ends it (if it runs) and starts it on the same directory.
    pub fn start_again(&mut self, extra: &[&str]) {
        self.daemon = None;
        let place = self.place.path();
        // Only the first line of JSON counts.
        let _ = std::fs::remove_file(place.join("log"));
        let mut command = Command::new(binary::trustup());
        command.args(["--json", "dev-ca", "--state"]).arg(place.join("state")).args(extra);
        if !extra.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut daemon = Daemon::start("trustup dev-ca", command, place);
        let log = place.join("log");
        let object = || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let line = log.lines().find(|line| line.starts_with('{'))?;
            serde_json::from_str::<Value>(line).ok()
        };
        daemon.wait_until(|| object().is_some());
        self.said = object().expect("JSON");
        schema::check(&self.said);
        self.daemon = Some(daemon);
    }

    /// What it said in JSON when it was up.
    pub fn said(&self) -> &Value {
        &self.said
    }

    fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap_or_else(|| panic!("{name}: {}", self.said))
    }

    pub fn url(&self) -> &str {
        self.text("url")
    }

    pub fn fingerprint(&self) -> &str {
        self.text("fingerprint")
    }

    pub fn password_file(&self) -> &Path {
        Path::new(self.text("password_file"))
    }

    pub fn root_file(&self) -> &Path {
        Path::new(self.text("root_file"))
    }

    pub fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    pub fn log(&self) -> String {
        self.daemon.as_ref().expect("running").log()
    }

    /// Sends SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.daemon.take().expect("running").terminate()
    }
}
