//! Names to addresses, without the C library: `/etc/hosts` and the name servers of `/etc/resolv.conf`, both read
//! through the bounded reader of `rootfs::host` ([`files`]), or given as text.
//!
//! Without a `resolv.conf` there is no name server: then only `/etc/hosts`, `localhost` and literal addresses
//! work, and nothing is ever sent to a public resolver.

mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;
use std::vec;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::Name;
use hyper_util::client::legacy::connect;
use reqwest::dns::{Addrs, Resolve, Resolving};

pub use self::files::ResolverFiles;

use super::url::is_localhost;
use crate::error::{Error, Result};
use crate::text;

/// glibc and musl both use at most three name servers (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

/// How names are resolved: a plain value, made from texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSettings {
    /// `/etc/hosts`: lower-case name to its addresses, in the file's order.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Name servers in the file's order; empty if there is no `resolv.conf` or it names none.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to a short name.
    pub search: Vec<String>,
    /// A name with fewer dots is tried with the search domains first.
    pub ndots: usize,
    /// For one query to one server.
    pub timeout: Duration,
    /// Tries for each server.
    pub attempts: usize,
    /// Whether queries carry EDNS0.
    pub edns0: bool,
    /// Whether only A records are asked for (`options no-aaaa`).
    pub ipv4_only: bool,
}

impl ResolverSettings {
    /// From the texts of `/etc/resolv.conf` and `/etc/hosts`, `None` if a file does not exist. Invalid lines are
    /// skipped, as the C libraries do.
    pub fn from_texts(resolv_conf: Option<&[u8]>, hosts: Option<&[u8]>) -> Self {
        let (parsed, _bad_lines) = resolv_conf::Config::parse_with_errors(resolv_conf.unwrap_or_default());
        let servers = parsed
            .nameservers
            .iter()
            .map(|server| SocketAddr::new(IpAddr::from(server), 53))
            .take(MAX_SERVERS)
            .collect();
        ResolverSettings {
            hosts: parse_hosts(hosts.unwrap_or_default()),
            servers,
            search: parsed
                .get_last_search_or_domain()
                .filter(|domain| *domain != "--" && *domain != ".")
                .map(ToOwned::to_owned)
                .collect(),
            // The C libraries cap these at 15, 30 and 5 (resolv.conf(5)).
            ndots: parsed.ndots.min(15) as usize,
            timeout: Duration::from_secs(u64::from(parsed.timeout.clamp(1, 30))),
            attempts: parsed.attempts.clamp(1, 5) as usize,
            edns0: parsed.edns0,
            ipv4_only: parsed.no_aaaa,
        }
    }

    /// For one server only.
    fn resolver_config(&self, server: &SocketAddr) -> ResolverConfig {
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
        let server = NameServerConfig::new(server.ip(), true, connections);
        let search = self.search.iter().filter_map(|domain| Name::from_str_relaxed(domain).ok()).collect();
        ResolverConfig::from_parts(None, search, vec![server])
    }

    fn resolver_options(&self) -> ResolverOpts {
        let mut options = ResolverOpts::default();
        options.ndots = self.ndots;
        options.timeout = self.timeout;
        // Rounds are ours: see `Resolvers::lookup`.
        options.attempts = 0;
        options.edns0 = self.edns0;
        // A first: if both exist, IPv4 is what container networks have; the connector tries the rest.
        options.ip_strategy =
            if self.ipv4_only { LookupIpStrategy::Ipv4Only } else { LookupIpStrategy::Ipv4AndIpv6 };
        // `Auto` would open /etc/hosts itself.
        options.use_hosts_file = ResolveHosts::Never;
        options
    }
}

/// `address name [alias…] [# comment]`, one a line (hosts(5)).
fn parse_hosts(text: &[u8]) -> BTreeMap<String, Vec<IpAddr>> {
    let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in String::from_utf8_lossy(text).trim_start_matches('\u{feff}').lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        // A scope (`fe80::1%eth0`) cannot be used without an interface: skipped like any other bad address.
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        for name in words {
            let addresses = hosts.entry(canonical(name)).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Where addresses of names come from: settings that stay as they are, or files that may change.
#[derive(Debug)]
pub enum NameSource {
    /// Settings that stay as they are.
    Fixed(ResolverSettings),
    /// Files that are read again for each name.
    Files(ResolverFiles),
}

impl From<&ResolverSettings> for NameSource {
    fn from(settings: &ResolverSettings) -> Self {
        NameSource::Fixed(settings.clone())
    }
}

impl From<ResolverFiles> for NameSource {
    fn from(files: ResolverFiles) -> Self {
        NameSource::Files(files)
    }
}

/// The resolver of all connections.
#[derive(Debug)]
pub(crate) struct Dns(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// `None` for settings that stay as they are.
    files: Option<ResolverFiles>,
    resolvers: Arc<Resolvers>,
}

impl Dns {
    /// A resolver for this source. Sends no query yet. Must be called inside a tokio runtime.
    pub(crate) fn new(source: impl Into<NameSource>) -> Result<Self> {
        let (files, settings) = match source.into() {
            NameSource::Fixed(settings) => (None, settings),
            NameSource::Files(files) => {
                let settings = files.settings();
                (Some(files), settings)
            }
        };
        Ok(Dns(Mutex::new(Known { files, resolvers: Arc::new(Resolvers::new(&settings)?) })))
    }

    /// The addresses of `name`.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        self.resolvers().lookup(name).await
    }

    /// Those for the files as they are now; the known ones if no others can be set up.
    fn resolvers(&self) -> Arc<Resolvers> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = known.files.as_mut().and_then(ResolverFiles::read_again)
            && let Ok(resolvers) = Resolvers::new(&settings)
        {
            known.resolvers = Arc::new(resolvers);
        }
        Arc::clone(&known.resolvers)
    }
}

/// The resolvers of some settings.
struct Resolvers {
    hosts: BTreeMap<String, Vec<IpAddr>>,
    /// One for each server, in order.
    resolvers: Vec<TokioResolver>,
    attempts: usize,
}

impl fmt::Debug for Resolvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolvers")
            .field("hosts", &self.hosts.len())
            .field("servers", &self.resolvers.len())
            .finish()
    }
}

impl Resolvers {
    fn new(settings: &ResolverSettings) -> Result<Self> {
        // No servers, no resolver: the crate's own defaults are public servers.
        let resolver = |server: &SocketAddr| {
            TokioResolver::builder_with_config(
                settings.resolver_config(server),
                TokioRuntimeProvider::default(),
            )
            .with_options(settings.resolver_options())
            .build()
        };
        let resolvers = settings.servers.iter().map(resolver).collect::<Result<_, _>>();
        let resolvers =
            resolvers.map_err(|error| Error::failed("could not set up name resolution").because(error))?;
        Ok(Resolvers { hosts: settings.hosts.clone(), resolvers, attempts: settings.attempts })
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let failed = |reason| NameError { name: name.to_owned(), reason };
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        if let Some(addresses) = self.hosts.get(&canonical(name)) {
            return Ok(addresses.clone());
        }
        // As glibc does: each server in turn, each with its own time-out, for some rounds. The first answer counts,
        // even if it is that there is no such name. The resolver crate's pool has one time-out for all servers
        // together, so that a dead first one would hide the others.
        let mut reason = ResolutionFailure::NoServers;
        for _ in 0..self.attempts {
            for resolver in &self.resolvers {
                reason = match resolver.lookup_ip(name).await {
                    Ok(found) => {
                        let addresses: Vec<IpAddr> = found.iter().collect();
                        if !addresses.is_empty() {
                            return Ok(addresses);
                        }
                        return Err(failed(ResolutionFailure::NoAddress));
                    }
                    Err(NetError::Dns(DnsError::NoRecordsFound(_))) => {
                        return Err(failed(ResolutionFailure::NoAddress));
                    }
                    Err(NetError::Timeout) => ResolutionFailure::NoAnswer,
                    Err(error) => ResolutionFailure::Other(text::escape(&error.to_string())),
                };
            }
        }
        Err(failed(reason))
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameError {
    /// The name asked for.
    pub(crate) name: String,
    /// What happened.
    pub(crate) reason: ResolutionFailure,
}

/// Kinds of name errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolutionFailure {
    /// No `resolv.conf`, or it names no server, and `/etc/hosts` does not have the name.
    NoServers,
    /// The servers report that there is none.
    NoAddress,
    /// No server answered in time.
    NoAnswer,
    /// Anything else, in the resolver's words.
    Other(String),
}

impl NameError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self.reason {
            ResolutionFailure::NoServers => {
                "give this machine a name server in `/etc/resolv.conf`, a line in `/etc/hosts`, or use an IP address in the URL"
            }
            ResolutionFailure::NoAddress => {
                "check the name; in a compose file the service must be on the same network, and up (`--wait 60s` gives it a minute more)"
            }
            ResolutionFailure::NoAnswer | ResolutionFailure::Other(_) => {
                "check the name servers in `/etc/resolv.conf`; `--wait 60s` gives them a minute more"
            }
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.reason {
            ResolutionFailure::NoServers => {
                write!(f, "`{name}` is not in `/etc/hosts`, and `/etc/resolv.conf` names no server")
            }
            ResolutionFailure::NoAddress => write!(f, "the name server knows no address of `{name}`"),
            ResolutionFailure::NoAnswer => {
                write!(f, "no name server of `/etc/resolv.conf` answered for `{name}`")
            }
            ResolutionFailure::Other(text) => write!(f, "`{name}`: {text}"),
        }
    }
}

impl std::error::Error for NameError {}

/// [`Dns`] as the connectors expect it, those of reqwest and those of hyper-util.
#[derive(Clone, Debug)]
pub(super) struct Resolver(pub(super) Arc<Dns>);

impl Resolver {
    /// The addresses of `name`, with port 0: the connector has its own.
    async fn addresses(self, name: String) -> Result<vec::IntoIter<SocketAddr>, NameError> {
        let addresses = self.0.lookup(&name).await?;
        let at_no_port = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
        Ok(at_no_port.collect::<Vec<_>>().into_iter())
    }
}

impl tower_service::Service<connect::dns::Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NameError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NameError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut task::Context<'_>) -> Poll<Result<(), NameError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: connect::dns::Name) -> Self::Future {
        Box::pin(self.clone().addresses(name.as_str().to_owned()))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let found = self.clone().addresses(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(found.await?) as Addrs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
    }

    #[test]
    fn resolv_conf_is_honoured() {
        let text = b"# comment\nnameserver 10.0.0.2\nnameserver fd00::2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nnonsense\nsearch svc.cluster.local cluster.local\noptions ndots:5 timeout:3 attempts:9 no-aaaa\n";
        let settings = ResolverSettings::from_texts(Some(text), None);
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fd00::2]:53", "10.0.0.3:53"]);
        assert_eq!(settings.search, ["svc.cluster.local", "cluster.local"]);
        assert_eq!((settings.ndots, settings.timeout, settings.attempts), (5, Duration::from_secs(3), 5));
        assert!(settings.ipv4_only);
        assert_eq!(settings.resolver_options().use_hosts_file, ResolveHosts::Never);
    }

    #[test]
    fn without_resolv_conf_there_is_no_server_at_all() {
        for text in [None, Some(&b""[..]), Some(b"search example.com\n"), Some(b"nameserver nonsense\n")] {
            let settings = ResolverSettings::from_texts(text, Some(b"192.0.2.7 ca.test\n"));
            assert_eq!(settings.servers, [], "{text:?}");
            let (known, literal, unknown) = block_on(async {
                let dns = Dns::new(&settings).expect("resolver");
                assert!(dns.resolvers().resolvers.is_empty(), "nobody to ask, so nothing that could ask");
                (dns.lookup("CA.test.").await, dns.lookup("::1").await, dns.lookup("example.com").await)
            });
            assert_eq!(known, Ok(vec!["192.0.2.7".parse().expect("address")]));
            assert_eq!(literal, Ok(vec![Ipv6Addr::LOCALHOST.into()]));
            let error = unknown.expect_err("nobody can know it");
            assert_eq!(error.reason, ResolutionFailure::NoServers);
            assert!(error.to_string().contains("/etc/resolv.conf"), "{error}");
        }
    }

    #[test]
    fn hosts_file_lines() {
        let hosts = parse_hosts(
            b"\xef\xbb\xbf127.0.0.1 localhost\n10.1.2.3\tCA ca.internal # the CA\n fe80::1%eth0 scoped\nfd00::1 ca\nbad line\n10.1.2.3 ca\n",
        );
        assert_eq!(hosts.get("ca").map(Vec::len), Some(2), "both families, no duplicate");
        assert_eq!(hosts.get("ca.internal").map(Vec::len), Some(1));
        assert!(!hosts.contains_key("scoped") && !hosts.contains_key("line"));
    }

    #[test]
    fn localhost_is_loopback_whatever_the_files_say() {
        let settings = ResolverSettings::from_texts(None, Some(b"10.9.9.9 localhost x.localhost\n"));
        let found = block_on(async { Dns::new(&settings).expect("resolver").lookup("x.localhost").await });
        assert!(found.expect("addresses").iter().all(IpAddr::is_loopback));
    }
}
