//! Which proxy a URL goes through: `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy` (lower case first, then upper
//! case), as curl and Go read them. An unusable value is an error for each host that would go through it, never silently
//! no proxy; hosts of `no_proxy` and this machine do not need it.
//!
//! Schemes are `http` and curl's four of SOCKS (`socks5` resolves the name here, `socks5h` lets the proxy do it). TLS to
//! the proxy is not spoken: it would need roots before there are any, and reqwest has one set of roots for proxy and
//! server. Where people write `https://`, the proxy almost always speaks plain http.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::url::{is_loopback, masked};
use crate::error::{Error, Result};
use crate::host::env::Env;

/// The proxies of an environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Setting>,
    https: Option<Setting>,
    exceptions: Vec<Exception>,
}

/// What a variable says.
#[derive(Clone, Debug)]
enum Setting {
    Usable(Proxy),
    /// The variable, and why its value cannot be used.
    Unusable(&'static str, String),
}

/// The schemes that are spoken to a proxy, each with its default port; those of SOCKS as curl names them.
const SCHEMES: [(&str, u16); 5] =
    [("http", 80), ("socks5", 1080), ("socks5h", 1080), ("socks4", 1080), ("socks4a", 1080)];

/// One proxy, and the variable that set it.
#[derive(Clone)]
pub(crate) struct Proxy {
    url: Url,
    variable: &'static str,
}

impl Proxy {
    /// With its credentials, for the client only.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The variable that names it.
    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether it wants an address: the name is resolved here.
    pub(super) fn resolves_here(&self) -> bool {
        matches!(self.url.scheme(), "socks4" | "socks5")
    }

    /// Without its credentials.
    pub(crate) fn shown(&self) -> String {
        masked(&self.url)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({} from {})", self.shown(), self.variable)
    }
}

impl Proxies {
    /// Reads the variables. Whether a value can be used is an error only for what would go through it.
    pub(crate) fn from_env(env: &Env) -> Self {
        let all = read(env, &["all_proxy", "ALL_PROXY"]);
        // A CGI program's HTTP_PROXY is the client's `Proxy:` header (CVE-2016-5385).
        let http_names: &[&'static str] =
            if env.raw("REQUEST_METHOD").is_some() { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        let http = read(env, http_names).or_else(|| all.clone());
        let https = read(env, &["https_proxy", "HTTPS_PROXY"]).or(all);
        let exceptions = env.var("no_proxy").or_else(|| env.var("NO_PROXY")).unwrap_or_default();
        let exceptions = exceptions.split(|char: char| char == ',' || char.is_whitespace());
        Proxies { http, https, exceptions: exceptions.filter_map(Exception::parse).collect() }
    }

    /// The proxy for `url`: none for loopback (threat T17) and for what `no_proxy` lists.
    ///
    /// # Errors
    /// The value of its variable cannot be used.
    pub(crate) fn for_url(&self, url: &Url) -> Result<Option<&Proxy>> {
        let setting = if url.scheme() == "https" { self.https.as_ref() } else { self.http.as_ref() };
        if is_loopback(url) || self.exceptions.iter().any(|exception| exception.matches(url)) {
            return Ok(None);
        }
        match setting {
            None => Ok(None),
            Some(Setting::Usable(proxy)) => Ok(Some(proxy)),
            Some(Setting::Unusable(variable, why)) => {
                let host = url.host_str().unwrap_or_default();
                Err(Error::usage(format!(
                    "the proxy in the variable `{variable}` cannot be used: {why}"
                ))
                .at(masked(url))
                .hint(format!("set it to `{variable}=http://HOST:PORT` (most proxies speak plain http, for https:// addresses as well) or `{variable}=socks5h://HOST:PORT`"))
                .hint(format!("if `{host}` needs no proxy, add it to the variable `no_proxy`")))
            }
        }
    }
}

fn read(env: &Env, names: &[&'static str]) -> Option<Setting> {
    let (variable, value) = names.iter().find_map(|name| Some((*name, env.var(name)?)))?;
    let value = value.trim();
    let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    Some(match usable(&whole) {
        Ok(url) => Setting::Usable(Proxy { url, variable }),
        Err(why) => Setting::Unusable(variable, why),
    })
}

/// The address of a proxy with its port, or why it cannot be used: without any part of the value, which may be a
/// password.
fn usable(value: &str) -> Result<Url, String> {
    if value.contains(['"', '\'', '`']) {
        return Err("it contains quotation marks (`--env-file` and `ENV` in exec form keep them)".to_owned());
    }
    let mut url = Url::parse(value).map_err(|error| format!("it is not a URL ({error})"))?;
    let scheme = url.scheme().to_owned();
    let Some((_, port)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
        return Err(match scheme.as_str() {
            "https" => "its scheme is `https`, and trustup does not speak TLS to a proxy".to_owned(),
            _ => {
                let known: Vec<String> = SCHEMES.iter().map(|(name, _)| format!("`{name}`")).collect();
                format!("its scheme is `{}`, not one of {}", crate::text::escape(&scheme), known.join(", "))
            }
        });
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".to_owned());
    }
    if url.port().is_none() && scheme != "http" {
        // The client would take that of http.
        url.set_port(Some(*port)).map_err(|()| "it names no host".to_owned())?;
    }
    Ok(url)
}

/// One entry of `no_proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// Addresses: the network and how many of its leading bits count.
    Network {
        address: IpAddr,
        bits: u8,
    },
    /// A domain and all below it, at one port or any.
    Domain {
        name: String,
        port: Option<u16>,
    },
    /// One address at one port.
    Socket {
        address: IpAddr,
        port: u16,
    },
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Exception::Everything);
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Exception::Network { address, bits: width(address) });
        }
        if let Some((address, bits)) = bare.split_once('/') {
            let address = address.parse::<IpAddr>().ok()?.to_canonical();
            let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= width(address))?;
            return Some(Exception::Network { address, bits });
        }
        if let Ok(socket) = entry.parse::<std::net::SocketAddr>() {
            return Some(Exception::Socket { address: socket.ip().to_canonical(), port: socket.port() });
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.').to_owned();
        (!name.is_empty()).then_some(Exception::Domain { name, port })
    }

    fn matches(&self, url: &Url) -> bool {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address).to_canonical()),
            _ => None,
        };
        match self {
            Exception::Everything => true,
            Exception::Network { address: network, bits } => {
                address.is_some_and(|address| shares_prefix(address, *network, *bits))
            }
            Exception::Socket { address: wanted, port } => {
                address == Some(*wanted) && url.port_or_known_default() == Some(*port)
            }
            Exception::Domain { name, port } => {
                let Some(Host::Domain(host)) = url.host() else { return false };
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str());
                below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn shares_prefix(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differing = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let env = Env::fixed(variables.iter().copied(), 0);
        let proxies = Proxies::from_env(&env);
        proxies.for_url(&Url::parse(url).expect("test URL")).expect("a valid proxy").map(Proxy::shown)
    }

    #[test]
    fn the_variable_of_the_scheme_wins_and_credentials_are_masked() {
        let variables = [
            ("https_proxy", "http://user:secret@p.test:3128"),
            ("all_proxy", "q.test:80"),
            ("HTTPS_PROXY", "http://r.test"),
        ];
        assert_eq!(shown(&variables, "https://ca.test/"), Some("http://***@p.test:3128/".to_owned()));
        assert_eq!(shown(&variables, "http://ca.test/"), Some("http://q.test/".to_owned()));
        assert_eq!(
            shown(&[("HTTPS_PROXY", "http://r.test")], "https://ca.test/"),
            Some("http://r.test/".to_owned())
        );
        assert_eq!(shown(&[("https_proxy", "")], "https://ca.test/"), None, "empty counts as unset");
    }

    #[test]
    fn a_cgi_request_cannot_choose_the_proxy() {
        let variables = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil.test")];
        assert_eq!(shown(&variables, "http://ca.test/"), None);
        assert_eq!(shown(&variables[1..], "http://ca.test/"), Some("http://evil.test/".to_owned()));
    }

    #[test]
    fn never_for_loopback() {
        for url in
            ["https://127.0.0.1:9000/", "https://localhost/", "https://[::1]/", "https://ca.localhost/"]
        {
            assert_eq!(shown(&[("https_proxy", "http://p.test")], url), None, "{url}");
        }
    }

    #[test]
    fn no_proxy_lists_domains_networks_and_ports() {
        let direct =
            |list: &str, url: &str| shown(&[("https_proxy", "p.test"), ("no_proxy", list)], url).is_none();
        for (list, url, wanted) in [
            ("internal", "https://ca.internal/", true),
            (".internal", "https://ca.internal/", true),
            ("*.internal", "https://ca.internal./", true),
            ("ternal", "https://ca.internal/", false),
            ("a.test, ca.test", "https://CA.test/", true),
            ("ca.test:8443", "https://ca.test:8443/", true),
            ("ca.test:8443", "https://ca.test/", false),
            ("10.0.0.0/8", "https://10.2.3.4/", true),
            ("10.0.0.0/8", "https://11.2.3.4/", false),
            ("0.0.0.0/0", "https://11.2.3.4/", true),
            ("0.0.0.0/0", "https://[fd00::1]/", false),
            ("fd00::/8", "https://[fd12::1]/", true),
            ("10.2.3.4", "https://10.2.3.4/", true),
            ("10.2.3.4:443", "https://10.2.3.4/", true),
            ("10.2.3.4:444", "https://10.2.3.4/", false),
            ("*", "https://anything.test/", true),
            ("a.test\tca.test\n", "https://ca.test/", true),
            ("[fd00::1]", "https://[fd00::1]/", true),
            ("[fd00::1]:443", "https://[fd00::1]/", true),
            ("[fd00::1]:444", "https://[fd00::1]/", false),
            ("10.0.0.0/99, :x, ,", "https://10.2.3.4/", false),
        ] {
            assert_eq!(direct(list, url), wanted, "no_proxy={list} {url}");
        }
    }

    #[test]
    fn a_bad_proxy_is_an_error_for_what_would_go_through_it() {
        let hosts = [("https://ca.test/", true), ("https://ca.internal/", false), ("https://[::1]/", false)];
        for value in [
            "https://u:secret@p.test",
            "http://",
            "http://u:secret@:80",
            "://x",
            "http://p.test:99999",
            "socks5://",
            "socks6://u:secret@p.test",
            "\"http://u:secret@p.test:3128\"",
            "ftp://p.test",
        ] {
            let env = Env::fixed([("HTTPS_PROXY", value), ("NO_PROXY", ".internal")], 0);
            let proxies = Proxies::from_env(&env);
            for (url, is_used) in hosts {
                let found = proxies.for_url(&Url::parse(url).expect("test URL"));
                assert_eq!(found.is_err(), is_used, "{value} {url}");
                let Err(error) = found else { continue };
                assert_eq!(error.kind().exit_code(), 2, "{value}");
                assert!(error.what().contains("`HTTPS_PROXY`"), "{error}");
                assert!(error.hints().iter().any(|hint| hint.contains("`no_proxy`")), "{error:?}");
                assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            }
        }
    }

    #[test]
    fn socks_has_a_port_of_its_own() {
        for (value, wanted) in [
            ("socks5://u:secret@p.test", "socks5://***@p.test:1080"),
            ("socks5h://p.test:9050", "socks5h://p.test:9050"),
            ("socks4://10.0.0.1", "socks4://10.0.0.1:1080"),
            ("socks4a://[fd00::1]", "socks4a://[fd00::1]:1080"),
            ("SOCKS5H://p.test/", "socks5h://p.test:1080/"),
        ] {
            let found = shown(&[("ALL_PROXY", value)], "https://ca.test/");
            assert_eq!(found.as_deref(), Some(wanted), "{value}");
        }
    }
}
