//! The names that the development CA may vouch for: local names, and those that it was given (threat T25). The root's
//! name constraints tell every client; the CA refuses earlier, and in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;

/// The domains that the root may vouch for; every name below them too (RFC 5280 section 4.2.1.10).
const DOMAINS: [&str; 3] = ["localhost", "test", "internal"];

const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Local names and the given ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PermittedNames {
    given: Vec<SubjectAltName>,
}

impl PermittedNames {
    /// # Errors
    /// A given name is neither a host nor an address.
    pub(super) fn new(given: &[SubjectAltName]) -> Result<Self> {
        for name in given {
            if name.is_wildcard() || !matches!(name, SubjectAltName::Dns(_) | SubjectAltName::Ip(_)) {
                return Err(Error::usage("a name of the development CA is a host name or an address")
                    .at(name)
                    .hint("a host name includes all names below it: `--name example.com`"));
            }
        }
        Ok(PermittedNames { given: given.to_vec() })
    }

    /// The given ones.
    pub(super) fn given(&self) -> &[SubjectAltName] {
        &self.given
    }

    fn domains(&self) -> impl Iterator<Item = &str> {
        let given = self.given.iter().filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.as_str()),
            _ => None,
        });
        DOMAINS.into_iter().chain(given)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let given = self.given.iter().filter_map(|name| match name {
            SubjectAltName::Ip(address) => Some(*address),
            _ => None,
        });
        ADDRESSES.into_iter().chain(given)
    }

    /// The root's name constraints.
    pub(super) fn constraints(&self) -> NameConstraints {
        let domains = self.domains().map(|domain| GeneralSubtree::DnsName(domain.to_owned()));
        let addresses = self.addresses().map(|address| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
        });
        NameConstraints {
            permitted_subtrees: domains.chain(addresses).collect(),
            excluded_subtrees: Vec::new(),
        }
    }

    /// Whether clients accept a certificate for `name`. E-mail addresses and URIs are not constrained.
    pub(super) fn permit(&self, name: &SubjectAltName) -> bool {
        match name {
            SubjectAltName::Dns(name) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                self.domains().any(|domain| {
                    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            }
            SubjectAltName::Ip(address) => self.addresses().any(|one| one == *address),
            SubjectAltName::Email(_) | SubjectAltName::Uri(_) => true,
        }
    }

    /// The CA's own hosts: those that a token's audience may name.
    pub(super) fn own(&self) -> Vec<SubjectAltName> {
        let local = [SubjectAltName::Dns("localhost".to_owned())].into_iter();
        local.chain(ADDRESSES.map(SubjectAltName::Ip)).chain(self.given.iter().cloned()).collect()
    }
}

impl std::fmt::Display for PermittedNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let domains = self.domains().map(str::to_owned);
        let all: Vec<String> = domains.chain(self.addresses().map(|address| address.to_string())).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<SubjectAltName> {
        texts.iter().map(|text| text.parse().expect("a name")).collect()
    }

    #[test]
    fn t25_local_names_and_given_ones_only() {
        let permitted = PermittedNames::new(&names(&["ca", "example.com", "10.0.0.7"])).expect("names");
        for name in
            names(&["localhost", "a.localhost", "*.test", "x.internal", "ca", "b.ca", "10.0.0.7", "::1"])
        {
            assert!(permitted.permit(&name), "{name}");
        }
        for name in names(&["nottest", "xca", "example.org", "com", "10.0.0.8", "127.0.0.2", "*.com"]) {
            assert!(!permitted.permit(&name), "{name}");
        }
        for name in names(&["*.example.com", "a@b.test", "spiffe://x/y"]) {
            assert_eq!(PermittedNames::new(&[name]).expect_err("no host").kind().exit_code(), 2);
        }
    }
}
