//! When certificates are renewed, and how; what the daemon offers.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::duration;
use crate::error::{Error, Result};
use crate::settings::{Opt, Reason};

const DUE_WANTED: &str = "a part of its life (`66%`) or a time before its end (`8h`, `30d`)";

/// From when on a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// When this part of its life is over, in hundredths: 1 to 99.
    Used(u8),
    /// When this much of its life is left: at least a second.
    Left(Duration),
}

impl Default for Due {
    /// Two thirds of its life, as step and most others do: one third is left to survive an outage.
    fn default() -> Self {
        Due::Used(66)
    }
}

impl FromStr for Due {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wanted =
            || Error::usage("expected `1%` to `99%` of the life, or the time that is left, such as `8h`");
        if let Some(percent) = text.strip_suffix('%') {
            return match percent.trim_end().parse() {
                Ok(percent @ 1..=99) => Ok(Due::Used(percent)),
                _ => Err(wanted()),
            };
        }
        match duration::parse(text) {
            Ok(left) if left >= Duration::from_secs(1) => Ok(Due::Left(left)),
            Ok(_) => Err(wanted()),
            Err(why) => Err(Error::usage(why)),
        }
    }
}

/// How the daemon writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object on each line
    Json,
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
pub(crate) static METRICS: Opt<PathBuf> = Opt::path("metrics", "FILE").keys(&["renew.metrics"]).help(
    "Write metrics for Prometheus to FILE after each run or change (node_exporter's textfile collector)",
);
pub(crate) static LISTEN: Opt<String> = Opt::text("listen", "HOST:PORT")
    .keys(&["renew.listen"])
    .help("Serve /metrics, /healthz and /readyz by HTTP, for example on 127.0.0.1:9180 (with --daemon)");
pub(crate) static LOG_FORMAT: Opt<LogFormat> = Opt::words("log-format", "FORMAT")
    .keys(&["renew.log_format"])
    .help("How the daemon writes its log [default: text]");
pub(crate) static EXIT_WHEN_EXPIRED: Opt<bool> = Opt::switch("exit-when-expired")
    .keys(&["renew.exit_when_expired"])
    .help("End the daemon with an error when a certificate has expired and cannot be renewed, so that an orchestrator restarts it");
pub(crate) static DAEMON: Opt<bool> = Opt::switch("daemon")
    .never(Reason::OneRun)
    .help("Keep running, and renew each certificate when it is due");
pub(crate) static CHECK: Opt<bool> = Opt::switch("check")
    .never(Reason::OneRun)
    .help("Only look: exit 0 if one is due, 3 if none is; no server is asked");
pub(crate) static NOT_DUE_EXIT: Opt<u8> =
    Opt::new("not-due-exit", "CODE", "an exit code, 0 to 255", exit_code)
        .integers(10)
        .help("The exit code if nothing was due [default: 0]");

fn exit_code(text: &str) -> Result<u8> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        Error::usage("expected a number from 0 to 255").because(error)
    })
}
