//! The service manager that started us, such as systemd: it is told what the daemon does (sd_notify(3)), and that it is
//! alive (sd_watchdog_enabled(3)).
//!
//! Nothing here fails: without a manager, or with one that does not listen, a message is lost.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::host::env::Env;

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// How long a message may wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where messages go.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that `env` names. No program that we start gets these variables from now on: it could speak for us.
    pub(crate) fn of(env: &Env) -> Self {
        [SOCKET, WATCHDOG, WATCHDOG_PROCESS].into_iter().for_each(|name| env.withhold(name));
        let socket = env.var(SOCKET).and_then(address).and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(PATIENCE)).ok()?;
            Some((socket, address))
        });
        let us = rustix::process::getpid().as_raw_nonzero().to_string();
        let is_ours = env.var(WATCHDOG_PROCESS).is_none_or(|process| process == us);
        let limit = env.var(WATCHDOG).and_then(|micros| micros.parse().ok()).filter(|micros| *micros > 0);
        let watchdog = limit.filter(|_| is_ours && socket.is_some()).map(Duration::from_micros);
        ServiceManager { socket, watchdog }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// How often it waits for [`ServiceManager::alive`]: half of its limit, as sd_watchdog_enabled(3) recommends. `None`
    /// if it does not wait.
    pub(crate) fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|limit| (limit / 2).max(Duration::from_millis(1)))
    }

    /// The daemon works; `status` is one line for people.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The configuration is read again; [`ServiceManager::ready`] follows, also if it is refused.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// What the daemon does, in one line for people.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The daemon's loop turns.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The daemon ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // A manager that is gone costs nothing but this message.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// The address in NOTIFY_SOCKET: an absolute path, or `@` and a name without a file.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None if text.starts_with('/') => SocketAddr::from_pathname(text).ok(),
        None => None,
    }
}

/// A second line would be another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).expect("UTF-8")
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_a_name_without_a_file() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("notify").display().to_string();
        let name = format!("trustup-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let by_name = UnixDatagram::bind_addr(&address).expect("a socket");
        for (variable, socket) in [(path, by_path), (format!("@{name}"), by_name)] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
            let env = Env::fixed([(SOCKET, variable.as_str())], 0);
            let manager = ServiceManager::of(&env);
            manager.ready("a\nWATCHDOG=1");
            assert_eq!(received(&socket), "READY=1\nSTATUS=a WATCHDOG=1", "one assignment in a line");
            manager.reloading();
            let reloading = received(&socket);
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
            assert!(micros.parse::<u64>().expect("a number") > 0);
            manager.alive();
            manager.status("b");
            manager.stopping();
            assert_eq!([(); 3].map(|()| received(&socket)), ["WATCHDOG=1", "STATUS=b", "STOPPING=1"]);
            assert!(
                env.is_withheld(SOCKET) && env.is_withheld(WATCHDOG) && env.is_withheld(WATCHDOG_PROCESS)
            );
        }
    }

    #[test]
    fn a_manager_that_does_not_listen_costs_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let gone = place.path().join("gone").display().to_string();
        let long = format!("/{}", "x".repeat(200));
        for socket in ["", "relative", "@", "vsock:2:1", &gone, &long] {
            let manager = ServiceManager::of(&Env::fixed([(SOCKET, socket)], 0));
            manager.ready("x");
            manager.stopping();
        }
        // One that never reads: more than its queue holds.
        let path = place.path().join("full").display().to_string();
        let _full = UnixDatagram::bind(&path).expect("a socket");
        let manager = ServiceManager::of(&Env::fixed([(SOCKET, path.as_str())], 0));
        let started = std::time::Instant::now();
        // Linux keeps ten, unless `net.unix.max_dgram_qlen` says otherwise; then this proves less.
        for _ in 0..13 {
            manager.alive();
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_watchdog_is_that_of_this_process() {
        let us = std::process::id().to_string();
        for (limit, process, pulse) in [
            ("2000000", Some(us.as_str()), Some(1_000_000)),
            ("2000000", None, Some(1_000_000)),
            ("2000000", Some("1"), None),
            ("0", None, None),
            ("", None, None),
            ("soon", None, None),
            ("1", None, Some(1000)),
        ] {
            let variables = [(SOCKET, "/run/none"), (WATCHDOG, limit)];
            let process = process.map(|process| (WATCHDOG_PROCESS, process));
            let manager = ServiceManager::of(&Env::fixed(variables.into_iter().chain(process), 0));
            assert_eq!(manager.pulse(), pulse.map(Duration::from_micros), "{limit} {process:?}");
        }
        let without = ServiceManager::of(&Env::fixed([(WATCHDOG, "2000000")], 0));
        assert_eq!(without.pulse(), None, "nobody to tell");
    }
}
