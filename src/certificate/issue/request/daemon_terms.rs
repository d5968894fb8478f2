//! What trustup.toml and options ask of a daemon, beside the certificates that it renews.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::settings::rows::{EXIT_WHEN_EXPIRED, LISTEN, METRICS, REFRESH_TRUST};
use crate::settings::{ConfigFile, Hook, Settings};

/// What a daemon does beside renewals.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaemonTerms {
    /// It ends when a certificate has expired and cannot be renewed.
    pub(crate) exit_when_expired: bool,
    /// How often it refreshes the trust stores; `None` for never.
    pub(crate) refresh_trust: Option<Duration>,
    /// What it runs after any change.
    pub(crate) hooks: Vec<Hook>,
    /// The file that gets metrics, of a single run as well.
    pub(crate) metrics: Option<PathBuf>,
    /// Where it answers probes.
    pub(crate) listen: Option<SocketAddr>,
}

impl DaemonTerms {
    pub(super) fn new(settings: &Settings, file: Option<&ConfigFile>) -> Self {
        let Some(file) = file else { return DaemonTerms::of(settings, &[]) };
        DaemonTerms::of(&settings.over(file.renew.clone()).over(file.trust.clone()), &file.hooks)
    }

    fn of(settings: &Settings, hooks: &[Hook]) -> Self {
        DaemonTerms {
            exit_when_expired: settings.is(&EXIT_WHEN_EXPIRED),
            refresh_trust: settings.get(&REFRESH_TRUST).copied(),
            hooks: hooks.to_vec(),
            metrics: settings.get(&METRICS).cloned(),
            listen: settings.get(&LISTEN).copied(),
        }
    }
}
