//! Options of every command, and those of every command that changes or inspects something.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::a_duration;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::settings::{Opt, Reason, Settings};

/// What a duration should be, for messages.
pub(super) const DURATION: &str = "a duration: whole numbers with units, such as `500ms`, `30s`, `5m`, `1h30m` or `30d`; a plain number is seconds";
/// How long to wait for servers, and for other runs that hold the lock.
const SERVERS: Duration = Duration::from_secs(30);
/// How long the distribution's own tool may take; its hooks may start a JVM, and emulation is slow.
const TOOL: Duration = Duration::from_secs(300);

pub(crate) static SYSROOT: Opt<PathBuf> = Opt::path("sysroot", "DIR")
    .help("Work on the root file system in DIR instead of `/`; none of its programs is run");
pub(crate) static PRIVATE_DIR: Opt<PathBuf> = Opt::path("private-dir", "DIR")
    .keys(&["trust.private_dir"])
    .help("Where the private store is, for users who cannot write the system's stores [default: below $XDG_STATE_HOME, ~/.local/state or /tmp]");
pub(crate) static ALLOW_SHARED_DIRECTORY: Opt<bool> = Opt::switch("allow-shared-directory")
    .never(Reason::AcceptsSharedPlaces)
    .keys(&["trust.allow_shared_directory", "certificate.allow_shared_directory"])
    .help("Accept directories that other users can write to, such as a volume that only your containers share (Kubernetes' emptyDir), for the private store and for key pairs");
pub(crate) static DRY_RUN: Opt<bool> = Opt::switch("dry-run").help("Show what would change, and stop");
pub(crate) static TIMEOUT: Opt<Duration> = Opt::new("timeout", "DURATION", DURATION, a_duration)
    .integers(10)
    .keys(&["certificate.timeout"])
    .help("How long everything may take, such as 30s or 2m [default: 30s for servers, 5m for ACME and for the distribution's tool]");
pub(crate) static WAIT: Opt<Duration> = Opt::new("wait", "DURATION", DURATION, a_duration)
    .help("How long to keep trying while a server cannot be reached yet");
pub(crate) static CONFIG: Opt<PathBuf> = Opt::path("config", "FILE")
    .help("The configuration file [default: /etc/trustup/trustup.toml, if it is there]");
pub(crate) static ALLOW_SHARED_CONFIG: Opt<bool> = Opt::switch("allow-shared-config")
    .never(Reason::LoosensACheck)
    .help("Accept a configuration file that other users could have written, such as one in a directory of your laptop; a read-only mount needs no flag");
pub(crate) static COMMAND: Opt<OsString, true> =
    Opt::words_of_command("COMMAND").repeatable().trailing().help("Exec COMMAND on success");

impl Settings {
    /// How long to wait for servers, and for other runs that hold the lock.
    pub(crate) fn timeout(&self) -> Duration {
        self.get(&TIMEOUT).copied().unwrap_or(SERVERS)
    }

    /// How long the distribution's own tool may take.
    pub(crate) fn tool_timeout(&self) -> Duration {
        self.get(&TIMEOUT).copied().unwrap_or(TOOL)
    }

    /// How long an unreachable server is retried.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.get(&WAIT).copied()
    }

    /// The directory of the root file system.
    pub(crate) fn root(&self) -> &Path {
        self.get(&SYSROOT).map_or(Path::new("/"), PathBuf::as_path)
    }
}

/// `SOURCE_DATE_EPOCH` in seconds: the times of what we write, never "now" (threat T7).
///
/// # Errors
/// Not a number.
pub(crate) fn stamp(env: &Env) -> Result<Option<i64>> {
    let Some(value) = env.var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    match value.parse() {
        Ok(seconds) => Ok(Some(seconds)),
        Err(error) => Err(Error::usage("SOURCE_DATE_EPOCH is not a number of seconds")
            .because(error)
            .hint("set it to what `git log -1 --pretty=%ct` prints, or unset it")),
    }
}
