//! The ACME client as the command drives it: a store for the account, a key and a request of the test's own, the lines of
//! the report.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use trustup::acme::{
    Accept, AccountStore, AcmeContext, AcmeSettings, KeptOrder, RenewalInfo, Report, obtain, renewal_info,
};
use trustup::error::{Error, Result};
use trustup::host::env::Env;
use trustup::net::dns;
use trustup::net::{Net, Trust};
use trustup::pki::cert::{Certificate, SubjectAltName};
use trustup::pki::key::{KeyType, PrivateKey};
use trustup::process::Children;
use url::Url;
use zeroize::Zeroizing;

use super::program::write_program;

/// An account in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pub content: Option<Vec<u8>>,
    /// How often it was saved.
    pub saved: usize,
    /// What was set aside.
    pub aside: Vec<Vec<u8>>,
    /// The order in progress.
    pub order: Option<KeptOrder>,
    /// It cannot be saved.
    pub is_full: bool,
}

impl AccountStore for MemoryStore {
    fn place(&self) -> String {
        "/memory/account.pem".to_owned()
    }

    fn prepare(&mut self) -> Result<()> {
        if self.is_full { Err(Error::failed("could not create").at(self.place())) } else { Ok(()) }
    }

    fn order(&mut self) -> Result<Option<KeptOrder>> {
        Ok(self.order.clone())
    }

    fn save_order(&mut self, order: Option<&KeptOrder>) -> Result<()> {
        self.order = order.cloned();
        Ok(())
    }

    fn before_request(&mut self) -> Result<()> {
        Ok(())
    }

    fn set_aside(&mut self) -> Result<Option<String>> {
        self.aside.extend(self.content.clone());
        Ok(self.content.is_some().then(|| format!("{}.old", self.place())))
    }

    fn load(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.content.clone().map(Zeroizing::new))
    }

    fn save(&mut self, content: &[u8]) -> Result<()> {
        self.content = Some(content.to_vec());
        self.saved += 1;
        Ok(())
    }
}

impl MemoryStore {
    /// The account's URL in what was saved.
    pub fn account_url(&self) -> String {
        let content = String::from_utf8(self.content.clone().expect("saved")).expect("text");
        let line = content.lines().find_map(|line| line.strip_prefix("Account: ")).expect("a URL");
        line.to_owned()
    }
}

/// One who asks an ACME server for certificates.
pub struct AcmeClient {
    pub settings: AcmeSettings,
    pub store: MemoryStore,
    pub timeout: Duration,
    pub variables: Vec<(String, String)>,
    /// `/etc/hosts`.
    pub hosts: String,
    /// Called with every line of the report.
    pub on_line: Box<dyn Fn(&str) + Sync>,
    /// Whether a chain may be used.
    pub accept: Box<Accept<'static>>,
    roots: Vec<CertificateDer<'static>>,
    lines: Mutex<Vec<String>>,
}

impl AcmeClient {
    /// For the server with this directory, whose HTTPS ends in `root` (DER).
    pub fn new(directory: &str, root: &[u8]) -> AcmeClient {
        AcmeClient {
            settings: AcmeSettings {
                directory: Url::parse(directory).expect("URL"),
                challenge: None,
                http_listen: None,
                tls_listen: None,
                webroot: None,
                dns: None,
                eab: None,
                contact: Vec::new(),
                agree_tos: true,
                profile: None,
                not_after: None,
                replaces: None,
                preferred_chain: None,
                account_key_type: KeyType::EcP256,
            },
            store: MemoryStore::default(),
            timeout: Duration::from_secs(60),
            variables: Vec::new(),
            hosts: String::new(),
            on_line: Box::new(|_| {}),
            accept: Box::new(|_| Ok(())),
            roots: vec![CertificateDer::from(root.to_vec())],
            lines: Mutex::default(),
        }
    }

    /// Listens for http-01 at a port of loopback.
    pub fn listening(mut self, port: u16) -> AcmeClient {
        self.settings.http_listen = Some(loopback(port));
        self
    }

    /// A certificate for the names, checked as far as the caller of the client checks it at least: for our key, our
    /// names, with an issuer behind it.
    pub fn obtain(&mut self, names: &[&str]) -> Result<Vec<Certificate>> {
        let names: Vec<SubjectAltName> = names.iter().map(|name| name.parse().expect("name")).collect();
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap_or_default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key).expect("request");
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = Env::fixed(variables, Env::os().now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let (store, settings, lines, on_line) = (&mut self.store, &self.settings, &self.lines, &self.on_line);
        let accept = &*self.accept;
        lines.lock().expect("lines").clear();
        let hosts = dns::ResolverSettings::from_texts(None, Some(self.hosts.as_bytes()));
        let chain = runtime.block_on(async {
            let net = Net::new(&env, &hosts, self.timeout)?.within(self.timeout, None);
            let trust = Trust::Roots { roots: self.roots.clone(), vouched_by: "the test's root".to_owned() };
            let client = net.client(&settings.directory, &trust)?;
            let report = |line: &str| {
                lines.lock().expect("lines").push(line.to_owned());
                on_line(line);
            };
            let report = Report { say: &report, warn: &report };
            let children = Children::default();
            let context = AcmeContext { client: &client, children: &children, report };
            let obtained = obtain(context, settings, store, &names, csr.der(), accept).await;
            obtained.map_err(|failed| failed.error)
        })?;
        // The command does this when it has placed the pair.
        self.store.order = None;
        let mut got = chain[0].subject_alt_names().expect("names");
        let mut wanted = names;
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted);
        assert_eq!(chain[0].public_key(), key.subject_public_key_info());
        assert!(
            chain.len() > 1 && chain[0].issuer_der() == chain[1].subject_der(),
            "an issuer behind the leaf"
        );
        Ok(chain)
    }

    /// When the server wants `leaf` renewed.
    pub fn renewal_info(&self, leaf: &Certificate) -> RenewalInfo {
        let env = Env::fixed([], Env::os().now());
        let hosts = dns::ResolverSettings::from_texts(None, Some(self.hosts.as_bytes()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let net = Net::new(&env, &hosts, self.timeout).expect("network").within(self.timeout, None);
            let trust = Trust::Roots { roots: self.roots.clone(), vouched_by: "the test's root".to_owned() };
            let client = net.client(&self.settings.directory, &trust).expect("client");
            let life = leaf.not_before()..=leaf.not_after();
            renewal_info(&client, &self.settings.directory, leaf, &life).await
        })
    }

    /// A request for a certificate that must fail: the error is fit to be shown.
    #[track_caller]
    pub fn fails(&mut self, names: &[&str]) -> Error {
        let error = match self.obtain(names) {
            Ok(_) => panic!("a certificate was issued; {:#?}", self.lines()),
            Err(error) => error,
        };
        let shown = format!("{error} {}", error.hints().join(" "));
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        error
    }

    /// What was reported the last time.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// Whether a line with `words` was reported the last time.
    pub fn said(&self, words: &str) -> bool {
        self.lines.lock().expect("lines").iter().any(|line| line.contains(words))
    }
}

/// A new private key in PEM, as other software keeps that of its account.
pub fn key_of_other_software(kind: KeyType) -> Vec<u8> {
    PrivateKey::generate(kind).expect("key").to_pem().as_bytes().to_vec()
}

/// 127.0.0.1 and a port.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A program that does `script` with what the hook gets as `$1` (present or cleanup), `$2` and `$3`.
pub fn hook(directory: &Path, script: &str) -> String {
    let path = directory.join("hook");
    write_program(&path, &format!("#!/bin/sh\nset -eu\n{script}\n"));
    path.to_str().expect("UTF-8").to_owned()
}
