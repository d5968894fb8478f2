//! dns-01 by updates of a zone (RFC 2136): the record is there when the server itself answers with it.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dns_update::{self as message, Key, UpdateAction};
use crate::acme::Report;
use crate::acme::order::Answer;
use crate::acme::settings::Rfc2136;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Client;
use crate::net::retry::Backoff;
use crate::text;

const PORT: u16 = 53;

/// For one try, and how many there are over UDP before TCP is tried.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
const UDP_TRIES: u32 = 2;
/// The most aliases that may lead to the written name.
const MAX_ALIASES: usize = 8;
/// For removing all records, even when the total time is over.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(15);

/// A record that was written.
struct Written {
    zone: Name,
    name: Name,
    value: String,
}

/// The server, and what was written there.
pub(super) struct Zone<'a> {
    settings: &'a Rfc2136,
    client: &'a Client,
    key: Key,
    host: String,
    port: u16,
    /// Of the host, resolved once.
    addresses: OnceLock<Vec<IpAddr>>,
    written: Vec<Written>,
}

/// Whether server, zone and key are valid.
pub(super) fn check(settings: &Rfc2136) -> Result<()> {
    settings.zone.as_deref().map(message::fqdn).transpose()?;
    parts(settings).map(drop)
}

fn parts(settings: &Rfc2136) -> Result<(Key, String, u16)> {
    let key = Key::new(&settings.key_name, &settings.secret)?;
    let (host, port) = host_and_port(&settings.server).ok_or_else(|| {
        Error::usage("not a name server")
            .at(text::escape(&settings.server))
            .hint("`ns1.example.org` or `192.0.2.1:53`")
    })?;
    Ok((key, host, port))
}

impl<'a> Zone<'a> {
    pub(super) fn new(settings: &'a Rfc2136, client: &'a Client) -> Result<Self> {
        let (key, host, port) = parts(settings)?;
        Ok(Zone { settings, client, key, host, port, addresses: OnceLock::new(), written: Vec::new() })
    }

    /// Writes all records, and waits until the server answers with them, or the time is up.
    pub(super) async fn put_up(&mut self, answers: &[&Answer], report: &Report<'_>) -> Result<()> {
        let (shutdown, left) = (self.client.shutdown().clone(), self.client.left());
        match shutdown.or(timeout(left, self.write(answers, report))).await? {
            Ok(done) => done,
            Err(_) => Err(self.silent().hint("`--timeout 10m` gives it more time")),
        }
    }

    async fn write(&mut self, answers: &[&Answer], report: &Report<'_>) -> Result<()> {
        for answer in answers {
            let name = message::fqdn(&format!("_acme-challenge.{}", answer.name))?;
            let at = self.write_record(&name, &answer.dns_value).await?;
            let alias =
                if at.name == name { String::new() } else { format!(", of which `{name}` is an alias,") };
            report.say(&format!("dns-01: record written at `{}`{alias} in the zone `{}`", at.name, at.zone));
        }
        for written in &self.written {
            self.wait_for(written).await?;
        }
        Ok(())
    }

    /// Writes the record at `name`, or at its target if it is an alias (CNAME): the CA follows it, too, and a server
    /// ignores or refuses records beside one (RFC 2136 section 3.4.2.2). `name` is tried first: a name that has an
    /// alias only by a wildcard can have a record of its own.
    async fn write_record(&mut self, name: &Name, value: &str) -> Result<&Written> {
        let mut at = name.clone();
        for _ in 0..=MAX_ALIASES {
            let done = self.update(&at, value).await;
            let is_silent = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable);
            let target = if is_silent { None } else { self.alias_of(&at).await? };
            match (done, target) {
                (Err(error), None) if at == *name => return Err(error),
                (Err(error), None) => return Err(behind_alias(error, name, &at)),
                (Ok(()), None) => break,
                (done, Some(target)) => {
                    if done.is_ok() {
                        // Ignored, like any record beside an alias.
                        self.written.pop();
                    }
                    at = target;
                }
            }
        }
        self.written.last().filter(|written| written.name == at && written.value == value).ok_or_else(|| {
            let what = format!("`{name}` leads through more than {MAX_ALIASES} aliases (CNAME)");
            Error::failed(what).at(&at).hint("is it a loop?")
        })
    }

    /// Sends one update; only the server's answer tells its result. Unless it was refused, the record is among those
    /// that are removed, however this ends.
    async fn update(&mut self, name: &Name, value: &str) -> Result<()> {
        let zone = match &self.settings.zone {
            Some(zone) => message::fqdn(zone)?,
            None => self.find_zone(name).await?,
        };
        let written = Written { zone, name: name.clone(), value: value.to_owned() };
        let (id, request) = self.message(&written, UpdateAction::Add)?;
        // Before the answer: an update that was not answered may have been made nevertheless.
        self.written.push(written);
        let done = self.send(name, id, &request).await;
        if done.as_ref().is_err_and(|error| error.kind() != ErrorKind::Unreachable) {
            self.written.pop();
        }
        done
    }

    /// The name that `name` is an alias of, according to the server; `None` if it is not an alias.
    async fn alias_of(&self, name: &Name) -> Result<Option<Name>> {
        let (id, request) = message::question(name, RecordType::TXT)?;
        Ok(message::target(&self.ask(id, &request).await?, name))
    }

    /// Removes all records. Returns the errors.
    pub(super) async fn take_away(self) -> Vec<Error> {
        let mut errors = Vec::new();
        let until = Instant::now() + CLEANUP_TIMEOUT;
        for written in self.written.iter().rev() {
            let done = async {
                let (id, request) = self.message(written, UpdateAction::Delete)?;
                self.send(&written.name, id, &request).await
            };
            match timeout_at(until, done).await {
                Ok(done) => errors.extend(done.err()),
                Err(_) => errors.push(self.silent().at(&written.name)),
            }
        }
        errors
    }

    /// The number of the update, and its bytes.
    fn message(&self, written: &Written, action: UpdateAction) -> Result<(u16, Vec<u8>)> {
        let now = u64::try_from(self.client.env().now()).unwrap_or_default();
        let Written { zone, name, value } = written;
        message::update(zone, name, value, action, &self.key, now)
    }

    async fn send(&self, name: &Name, id: u16, request: &[u8]) -> Result<()> {
        match message::refusal(&self.ask(id, request).await?) {
            None => Ok(()),
            Some((why, hint)) => {
                let what = format!(
                    "the name server `{}` did not accept the update: {why}",
                    text::escape(&self.host)
                );
                Err(Error::failed(what).at(name).hint(hint))
            }
        }
    }

    /// The zone of `name`: the server names it with its SOA record. For an alias it names that of the target, so the
    /// names above are queried.
    async fn find_zone(&self, name: &Name) -> Result<Name> {
        let mut at = name.clone();
        loop {
            let (id, request) = message::question(&at, RecordType::SOA)?;
            let answer = self.ask(id, &request).await?;
            if let Some(zone) = message::zone_of(&answer).filter(|zone| zone.zone_of(name)) {
                return Ok(zone);
            }
            if message::target(&answer, &at).is_none() || at.is_root() {
                let what = format!(
                    "the name server `{}` does not report the zone of the name ({})",
                    text::escape(&self.host),
                    answer.metadata.response_code
                );
                return Err(Error::failed(what).at(name).hint("`--rfc2136-zone ZONE` names it"));
            }
            at = at.base_name();
        }
    }

    async fn wait_for(&self, written: &Written) -> Result<()> {
        let mut pause = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        loop {
            let (id, request) = message::question(&written.name, RecordType::TXT)?;
            if message::has_text(&self.ask(id, &request).await?, &written.value) {
                return Ok(());
            }
            let wait = pause.take();
            if wait >= self.client.left() {
                let what = format!(
                    "the name server `{}` accepted the update, but does not answer with the record",
                    text::escape(&self.host)
                );
                return Err(Error::new(ErrorKind::Unreachable, what).at(&written.name));
            }
            sleep(wait).await;
        }
    }

    fn silent(&self) -> Error {
        Error::unreachable(format!("the name server `{}` does not answer", text::escape(&self.host)))
            .hint("it must be reachable over UDP or TCP from here")
    }

    /// Sends a message until it is answered: over UDP, and over TCP if that fails or the answer is truncated.
    async fn ask(&self, id: u16, request: &[u8]) -> Result<Message> {
        let addresses = match (self.addresses.get(), self.host.parse()) {
            (Some(known), _) => known,
            (None, Ok(address)) => self.addresses.get_or_init(|| vec![address]),
            (None, Err(_)) => {
                let found = self.client.addresses(&self.host).await?;
                self.addresses.get_or_init(|| found)
            }
        };
        let mut last = None;
        for &address in addresses {
            let server = SocketAddr::new(address, self.port);
            for attempt in 0..=UDP_TRIES {
                let exchange = async {
                    if attempt < UDP_TRIES {
                        over_udp(server, id, request).await
                    } else {
                        over_tcp(server, id, request).await
                    }
                };
                match timeout(TRY_TIMEOUT, exchange).await {
                    Ok(Ok(Some(answer))) => return Ok(answer),
                    // Truncated: only TCP has it whole.
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => last = None,
                }
            }
        }
        Err(match last {
            Some(error) => self.silent().because(error),
            None => self.silent(),
        })
    }
}

/// An error at the name that `name` is an alias of.
fn behind_alias(error: Error, name: &Name, target: &Name) -> Error {
    let what = format!("`{name}` is an alias (CNAME) of `{target}`, where the record could not be written");
    let (kind, hints) = (error.kind(), error.hints().to_vec());
    let whole = Error::new(kind, what).at(target).because(error);
    hints
        .into_iter()
        .fold(whole, Error::hint)
        .hint("`--rfc2136-server` must serve the name that is written, and the key must be valid for it")
}

/// `None` if the answer is truncated.
async fn over_udp(server: SocketAddr, id: u16, request: &[u8]) -> std::io::Result<Option<Message>> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = message::answer(&buffer[..length], id) {
            return Ok((!answer.metadata.truncation).then_some(answer));
        }
    }
}

async fn over_tcp(server: SocketAddr, id: u16, request: &[u8]) -> std::io::Result<Option<Message>> {
    let mut stream = TcpStream::connect(server).await?;
    let framed = message::framed(request).map_err(std::io::Error::other)?;
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Ok(message::answer(&buffer, id))
}

/// `host`, `host:port`, `address`, `[address]:port`.
fn host_and_port(server: &str) -> Option<(String, u16)> {
    if let Ok(address) = server.parse::<IpAddr>() {
        return Some((address.to_string(), PORT));
    }
    if let Ok(address) = server.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port()));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (server, PORT),
    };
    let plain = !host.is_empty()
        && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'));
    plain.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        for (text, wanted) in [
            ("ns1.example.org", Some(("ns1.example.org", 53))),
            ("ns1.example.org:5353", Some(("ns1.example.org", 5353))),
            ("192.0.2.1", Some(("192.0.2.1", 53))),
            ("192.0.2.1:54", Some(("192.0.2.1", 54))),
            ("2001:db8::1", Some(("2001:db8::1", 53))),
            ("[2001:db8::1]:54", Some(("2001:db8::1", 54))),
            ("", None),
            (":53", None),
            ("a b", None),
            ("ns1:port", None),
            ("ns1:70000", None),
        ] {
            let found = host_and_port(text);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), wanted, "{text}");
        }
    }
}
