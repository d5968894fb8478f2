//! Publishes what the CA must see, and removes it afterwards whatever happened.

mod dns_update;
mod hook;
mod http;
mod rfc2136;
mod tls_alpn;
mod webroot;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use self::hook::Hook;
use self::rfc2136::Zone;
use self::webroot::Webroot;
use super::order::Answer;
use super::{AcmeContext, AcmeSettings, ChallengeType, DnsSolver, Report};
use crate::error::{Error, Result};
use crate::host::privilege;
use crate::net::listener::Listener;

/// Whether the configuration can be used; no server is asked, and nothing is published.
///
/// # Errors
/// A webroot that is not a directory, a hook that is not safe to run, an invalid name server.
pub(super) fn check(settings: &AcmeSettings) -> Result<()> {
    if let Some(webroot) = &settings.webroot {
        Webroot::open(webroot)?;
    }
    match &settings.dns {
        Some(DnsSolver::Hook(command)) => hook::check(command),
        Some(DnsSolver::Rfc2136(server)) => rfc2136::check(server),
        None => Ok(()),
    }
}

/// The solvers of all challenges, and what they published.
pub(super) struct Solvers<'a> {
    settings: &'a AcmeSettings,
    listeners: Vec<Listener>,
    webroot: Option<Webroot>,
    hook: Option<Hook<'a>>,
    zone: Option<Zone<'a>>,
}

impl<'a> Solvers<'a> {
    /// The solvers of these settings, checked with [`check`]; nothing is published.
    pub(super) fn new(context: &AcmeContext<'a>, settings: &'a AcmeSettings) -> Result<Self> {
        let AcmeContext { client, children, .. } = *context;
        let (hook, zone) = match &settings.dns {
            Some(DnsSolver::Hook(command)) => (Hook::new(command, client, children), None),
            Some(DnsSolver::Rfc2136(server)) => (None, Some(Zone::new(server, client)?)),
            None => (None, None),
        };
        let webroot = settings.webroot.as_deref().map(Webroot::open).transpose()?;
        Ok(Solvers { settings, listeners: Vec::new(), webroot, hook, zone })
    }

    /// Publishes the answers; they are visible when this returns. After an error, [`Solvers::take_away`] also removes
    /// what was published.
    pub(super) async fn put_up(&mut self, answers: &[Answer], report: &Report<'_>) -> Result<()> {
        let of = |kind| answers.iter().filter(move |answer| answer.kind == kind).collect::<Vec<_>>();
        let http = of(ChallengeType::Http01);
        match &mut self.webroot {
            Some(webroot) if !http.is_empty() => {
                webroot.put_up(&http)?;
                report.say(&format!("http-01: answers are in `{}`", webroot.shown()));
            }
            None if !http.is_empty() => {
                let listener = bind(self.settings.http_listen, 80, ChallengeType::Http01)?;
                self.listen(http::serve(listener, &http), ChallengeType::Http01, report)?;
            }
            _ => {}
        }
        let tls = of(ChallengeType::TlsAlpn01);
        if !tls.is_empty() {
            let listener = bind(self.settings.tls_listen, 443, ChallengeType::TlsAlpn01)?;
            let listener = tls_alpn::serve(listener, &tls)?;
            self.listen(listener, ChallengeType::TlsAlpn01, report)?;
        }
        let dns = of(ChallengeType::Dns01);
        if let Some(hook) = &mut self.hook {
            hook.put_up(&dns, report).await?;
        }
        if let Some(zone) = &mut self.zone {
            zone.put_up(&dns, report).await?;
        }
        Ok(())
    }

    fn listen(
        &mut self,
        started: io::Result<Listener>,
        kind: ChallengeType,
        report: &Report<'_>,
    ) -> Result<()> {
        let listener =
            started.map_err(|error| Error::failed(format!("could not listen for {kind}")).because(error))?;
        report.say(&format!("{kind}: listening at {}", listener.address()));
        self.listeners.push(listener);
        Ok(())
    }

    /// Removes everything. What cannot be removed is reported: the certificate does not depend on it.
    pub(super) async fn take_away(self, report: &Report<'_>) {
        drop(self.listeners);
        let mut failures = Vec::new();
        if let Some(webroot) = self.webroot {
            failures.extend(webroot.take_away());
        }
        if let Some(hook) = self.hook {
            failures.extend(hook.take_away().await);
        }
        if let Some(zone) = self.zone {
            failures.extend(zone.take_away().await);
        }
        for failure in failures {
            report.warn(&format!("could not remove the answer to a challenge: {failure}"));
        }
    }
}

/// The address that was given, else `port` of all addresses.
fn bind(given: Option<SocketAddr>, port: u16, kind: ChallengeType) -> Result<TcpListener> {
    let bound = Listener::bind(given.unwrap_or(Listener::all(port)));
    let option = if kind == ChallengeType::Http01 { "--http-listen" } else { "--tls-listen" };
    bound.map_err(|error| {
        let place = given.map_or_else(|| format!("port {port}"), |address| address.to_string());
        let hint = match error.kind() {
            // Docker gives a capability to root alone: for other users it is not in the ambient set.
            io::ErrorKind::PermissionDenied if privilege::is_root() => format!(
                "ports below 1024 need a capability that root lacks here: `--cap-add NET_BIND_SERVICE`; or listen on another port (`{option} :8{port:03}`) and publish it as port {port}"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "ports below 1024 are for root: listen on another port (`{option} :8{port:03}`) and publish it as port {port} (`docker run -p {port}:8{port:03}`), or lower the limit (`--sysctl net.ipv4.ip_unprivileged_port_start={port}`)"
            ),
            io::ErrorKind::AddrInUse if kind == ChallengeType::Http01 => format!(
                "another program uses the port: let that program publish the answer (`--webroot DIR`), or listen elsewhere (`{option} ADDRESS:PORT`)"
            ),
            io::ErrorKind::AddrInUse => {
                format!("another program uses the port: stop it for the time of the challenge, or listen elsewhere (`{option} ADDRESS:PORT`)")
            }
            _ => format!("`{option} ADDRESS:PORT` chooses another address"),
        };
        Error::failed(format!("could not listen for {kind}")).at(place).because(error).hint(hint)
    })
}
