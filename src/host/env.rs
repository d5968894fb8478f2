//! The world outside the file system: variables and clock. The only module that reads either, so that tests
//! can give both.

#![expect(clippy::disallowed_methods, reason = "this module owns the environment and the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Variables and clock; Debug shows no value.
#[derive(Clone)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// Variables whose values are not UTF-8, in displayable form.
    opaque: BTreeMap<String, String>,
    /// Variables that no child process gets; clones share them.
    withheld: Arc<Mutex<BTreeSet<String>>>,
    clock: TimeSource,
}

#[derive(Clone, Debug)]
enum TimeSource {
    System,
    /// Clones share it.
    Simulated(Arc<AtomicI64>),
}

impl Env {
    /// The process's own environment; for variables that are not UTF-8, only their presence is known.
    pub fn os() -> Self {
        let mut env = Env::new(BTreeMap::new(), TimeSource::System);
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => env.variables.insert(name, value),
                Err(value) => env.opaque.insert(name, value.to_string_lossy().into_owned()),
            };
        }
        env
    }

    /// An environment without variables, and the system's clock.
    pub(crate) fn without_variables() -> Self {
        Env::new(BTreeMap::new(), TimeSource::System)
    }

    /// An environment with only these variables, and a clock that is at `now` (seconds since 1970) until it is set.
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, now: i64) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Env::new(variables, TimeSource::Simulated(Arc::new(AtomicI64::new(now))))
    }

    /// Sets the clock of [`Env::fixed`], also for clones; false if this is the system's.
    pub fn set_clock(&self, now: i64) -> bool {
        match &self.clock {
            TimeSource::System => false,
            TimeSource::Simulated(clock) => {
                clock.store(now, Ordering::SeqCst);
                true
            }
        }
    }

    /// Whether the clock moves by itself.
    pub(crate) fn has_system_clock(&self) -> bool {
        matches!(self.clock, TimeSource::System)
    }

    fn new(variables: BTreeMap<String, String>, clock: TimeSource) -> Self {
        Env { variables, opaque: BTreeMap::new(), withheld: Arc::default(), clock }
    }

    /// From now on no program that we start gets this variable: it holds a secret (threat T16).
    pub(crate) fn withhold(&self, name: &str) {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Whether no program that we start gets this variable.
    pub(crate) fn is_withheld(&self, name: &str) -> bool {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// A variable's value; an empty one counts as unset (`ENV X=${X}` without a build argument sets it so).
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A variable's value, empty or not: for pins, where empty is an error (threat T1).
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable's value in displayable form, UTF-8 or not: for callers that only need to know what is set.
    pub(crate) fn shown(&self, name: &str) -> Option<&str> {
        self.var(name).or_else(|| self.opaque.get(name).map(String::as_str))
    }

    /// The names of all variables, those whose values are not UTF-8 too.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().chain(self.opaque.keys()).map(String::as_str)
    }

    /// The names of all variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Seconds since 1970, from the real clock: never from `SOURCE_DATE_EPOCH` (threat T7).
    pub fn now(&self) -> i64 {
        match &self.clock {
            TimeSource::Simulated(clock) => clock.load(Ordering::SeqCst),
            TimeSource::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                Err(_) => 0,
            },
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The process's own variables, UTF-8 or not, for the program that replaces it.
pub(crate) fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Where the process's own PATH says that programs are; an empty one is the current directory (execvp(3)).
pub(crate) fn inherited_path() -> Option<OsString> {
    std::env::var_os("PATH")
}

/// A variable that only tests set, and only debug builds know: no shipped binary has even its name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TestHook {
    /// The number of the checkpoint at which the process ends by SIGKILL.
    KillAt,
    /// The number of the checkpoint at which the process stops by SIGSTOP, until it is continued.
    StopAt,
    /// The kernel is treated as one without openat2.
    NoOpenat2,
}

/// The value of a hook. Its name is written to the file that TRUSTUP_TEST_HOOK_SEEN names: a test that relies on a hook
/// fails if the binary has none, or never reached it.
#[cfg(debug_assertions)]
pub(crate) fn test_hook(hook: TestHook) -> Option<String> {
    let name = match hook {
        TestHook::KillAt => "TRUSTUP_TEST_KILL_AT",
        TestHook::StopAt => "TRUSTUP_TEST_STOP_AT",
        TestHook::NoOpenat2 => "TRUSTUP_TEST_NO_OPENAT2",
    };
    let value = std::env::var(name).ok()?;
    if let Some(seen) = std::env::var_os("TRUSTUP_TEST_HOOK_SEEN") {
        // The test that misses it fails.
        let _ = std::fs::write(seen, name);
    }
    Some(value)
}

/// Always unset.
#[cfg(not(debug_assertions))]
pub(crate) fn test_hook(_: TestHook) -> Option<String> {
    None
}
