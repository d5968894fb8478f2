//! When certificates are renewed, and how; what the daemon offers.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::duration;
use crate::error::{Error, Result};
use crate::settings::{Opt, Reason};

const DUE_WANTED: &str = "a part of its life (`66%`) or a time before its end (`8h`, `30d`)";

/// How to write when a certificate is due, for errors.
const FORM: &str = "how much of the life is over then, `1%` to `99%`, or how much is left: whole numbers with units, such as `8h` or `30d`";

/// The part of a life, or the time before its end, at which a certificate is due: `66%`, `8h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// When so many hundredths of its life are over.
    Used(u8),
    /// When so many seconds are left.
    Left(u64),
}

impl Default for Due {
    /// Two thirds of its life, as step and most others do: one third is left to survive an outage.
    fn default() -> Self {
        Due::Used(66)
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::Used(percent) => write!(f, "{percent}%"),
            Due::Left(seconds) => match (seconds % 86_400, seconds % 3_600, seconds % 60) {
                (0, ..) => write!(f, "{}d", seconds / 86_400),
                (_, 0, _) => write!(f, "{}h", seconds / 3_600),
                (.., 0) => write!(f, "{}m", seconds / 60),
                _ => write!(f, "{seconds}s"),
            },
        }
    }
}

impl FromStr for Due {
    type Err = Error;

    /// A percentage from 1 to 99, or a duration of at least a second.
    fn from_str(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let due = match trimmed.strip_suffix('%') {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().ok().filter(|percent| (1..=99).contains(percent)).map(Due::Used)
            }
            Some(_) => None,
            None => duration::parse(trimmed)
                .ok()
                .map(|left| left.as_secs())
                .filter(|left| *left > 0)
                .map(Due::Left),
        };
        due.ok_or_else(|| Error::usage(format!("write {FORM}")))
    }
}

pub(crate) static DUE: Opt<Due> =
    Opt::new("due", "WHEN", DUE_WANTED, str::parse).keys(&["renew.due", "certificate.due"]).help(
        "From when on it is renewed: a part of its life (66%) or a time before its end (8h) [default: 66%]",
    );
pub(crate) static REKEY: Opt<bool> = Opt::switch("rekey")
    .keys(&["renew.rekey", "certificate.rekey"])
    .help("Make a new key; the pair is replaced as one");
pub(crate) static NO_MTLS: Opt<bool> = Opt::switch("no-mtls")
    .keys(&["renew.no_mtls"])
    .help("Do not present the certificate to step-ca in the TLS handshake, but sign a token with its key: for proxies that end TLS");
pub(crate) static EXIT_WHEN_EXPIRED: Opt<bool> = Opt::switch("exit-when-expired")
    .keys(&["renew.exit_when_expired"])
    .help("End the daemon with an error when a certificate has expired and cannot be renewed, so that an orchestrator restarts it");
pub(crate) static DAEMON: Opt<bool> = Opt::switch("daemon")
    .never(Reason::OneRun)
    .excludes(&["check", "dry-run", "force", "not-due-exit"])
    .help("Keep running, and renew each certificate when it is due");
pub(crate) static REFRESH_TRUST: Opt<Duration> =
    Opt::new("refresh-trust", "DURATION", "a duration of one minute or more, such as `24h`", refresh)
        .keys(&["trust.refresh"])
        .help("How often a daemon gets the roots of the configured sources again, as `trustup bootstrap` without options does [default: never]");
pub(crate) static CHECK: Opt<bool> = Opt::switch("check")
    .never(Reason::OneRun)
    .help("Only look: exit 0 if one is due, 3 if none is; no server is asked");
pub(crate) static NOT_DUE_EXIT: Opt<u8> =
    Opt::new("not-due-exit", "CODE", "an exit code, 0 to 255", exit_code)
        .integers(10)
        .help("The exit code if nothing was due [default: 0]");
pub(crate) static INSTALL_TIMER: Opt<Scheduler> = Opt::words("install-timer", "SCHEDULER")
    .never(Reason::OneRun)
    .excludes(&["daemon", "check", "force", "remove-timer"])
    .help("Write and enable a timer that runs this command, with the other options that are given; as root");
pub(crate) static REMOVE_TIMER: Opt<bool> = Opt::switch("remove-timer")
    .never(Reason::OneRun)
    .excludes(&["daemon", "check", "force"])
    .help("Disable and remove the timer that `--install-timer` made");

/// What starts timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheduler {
    /// A service and a timer of systemd
    Systemd,
}

pub(crate) static METRICS: Opt<PathBuf> = Opt::path("metrics", "FILE").keys(&["renew.metrics"]).help(
    "Write what is known of the certificates to FILE in Prometheus's text format; node_exporter's textfile collector reads `*.prom`",
);
/// Also that of the development CA: one name, one meaning.
pub(crate) static LISTEN: Opt<SocketAddr> = Opt::new("listen", "ADDRESS:PORT", LISTEN_WANTED, listen)
    .keys(&["renew.listen"])
    .help("With `--daemon`: serve /metrics, /healthz and /readyz over HTTP at this address; port 0 is any free one");
pub(crate) static LOG_FORMAT: Opt<LogFormat> = Opt::words("log-format", "FORMAT")
    .default("text", || LogFormat::Text)
    .help("What standard error has: lines for people, or one JSON object per line");

/// What standard error has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

const LISTEN_WANTED: &str = "an address and a port, such as `127.0.0.1:9443` or `localhost:9443`";

/// An IP address or `localhost`, and a port. A host part is required (threat T46): `:PORT` would be all addresses.
fn listen(text: &str) -> Result<SocketAddr> {
    let wrong = || Error::usage(format!("it should be {LISTEN_WANTED}"));
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()) {
        return Err(wrong().hint(format!(
            "`127.0.0.1:{port}` is for programs on this machine, `0.0.0.0:{port}` for all that can reach it"
        )));
    }
    let port = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok());
    port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).or_else(|| text.parse().ok()).ok_or_else(wrong)
}

fn refresh(text: &str) -> Result<Duration> {
    let every = duration::parse(text).map_err(Error::usage)?;
    let limits = Duration::from_secs(60)..=Duration::from_secs(366 * 86_400);
    if limits.contains(&every) { Ok(every) } else { Err(Error::usage("expected one minute to one year")) }
}

fn exit_code(text: &str) -> Result<u8> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        Error::usage("expected a number from 0 to 255").because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t46_an_address_to_listen_at_has_a_host() {
        let read = |text: &str| listen(text).map(|address| address.to_string()).ok();
        for (text, address) in [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:9090", "[::1]:9090"),
            ("0.0.0.0:9090", "0.0.0.0:9090"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address));
        }
        for wrong in
            [":9090", "9090", "", ":", "localhost", "localhost:", "localhost:x", "web.test:80", "127.0.0.1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
