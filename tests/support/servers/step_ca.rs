//! smallstep's step-ca with provisioners of every kind that we use.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Authority, Daemon, Port, directory, get, go_program, passes, step, wait_for, write};
use crate::ca::{self, Root, root_params};

/// Where the CA keeps what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Bbolt,
    Badger,
    /// Nothing outlives the process, and there is no ACME.
    None,
}

/// How the CA is set up.
#[derive(Clone, Debug)]
pub struct StepCaOptions {
    /// Names of its own certificate, and the hosts that a token's audience may name.
    pub names: Vec<String>,
    /// Go durations.
    pub min_life: String,
    pub default_life: String,
    pub max_life: String,
    pub database: Database,
    /// Accept tokens from before the start.
    pub old_tokens: bool,
    pub renew_expired: bool,
    /// `disableRenewal`.
    pub forbids_renewal: bool,
    /// How far certificates are set back, a Go duration; step-ca's minute if `None`.
    pub backdate: Option<String>,
    /// The name server that challenges are checked with; the machine's if `None`.
    pub resolver: Option<SocketAddr>,
    /// Challenges are asked for at ports 80 and 443, as everywhere: for a test in a network of its own.
    pub usual_ports: bool,
    /// One more ACME provisioner, which wants an external account (step-ca without smallstep's hosted service has no
    /// way to make one: only the refusal can be seen).
    pub external_accounts: bool,
    /// The CA keeps the JWK provisioner's private key, encrypted, and gives it to who asks.
    pub keeps_key: bool,
    /// Provisioners before the others, so that the list has pages.
    pub more_provisioners: usize,
    /// Whose certificates it issues with; its own if `None`.
    pub authority: Option<Authority>,
    /// The template of the JWK provisioner's certificates.
    pub template: Option<String>,
}

impl Default for StepCaOptions {
    fn default() -> Self {
        StepCaOptions {
            names: ["localhost", "127.0.0.1", "ca.test"].map(str::to_owned).to_vec(),
            min_life: "5m".to_owned(),
            default_life: "24h".to_owned(),
            max_life: "24h".to_owned(),
            database: Database::Bbolt,
            old_tokens: false,
            renew_expired: false,
            forbids_renewal: false,
            backdate: None,
            resolver: None,
            usual_ports: false,
            external_accounts: false,
            keeps_key: true,
            more_provisioners: 0,
            authority: None,
            template: None,
        }
    }
}

/// A certificate and its key in files: leaf, then intermediates.
#[derive(Clone, Debug)]
pub struct PairFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A running CA.
pub struct StepCa {
    daemon: Option<Daemon>,
    directory: TempDir,
    root: Root,
    birth: Root,
    kid: String,
    resolver: Option<SocketAddr>,
    port: Port,
    /// Whether the test's own client can verify it.
    is_plain: bool,
    /// Of http-01 and tls-alpn-01; the usual ones if `None`.
    challenges: Option<[Port; 2]>,
}

impl StepCa {
    /// The JWK provisioner, whose password is in `password_file`.
    pub const PROVISIONER: &str = "dev";
    /// Takes tokens signed with certificates of `birth_pair`.
    pub const X5C: &str = "birth";
    pub const ACME: &str = "acme";
    /// Only with `external_accounts`.
    pub const ACME_EAB: &str = "acme-eab";

    /// Makes keys and certificates, writes the configuration, starts the CA and waits until it is well.
    pub fn start(options: StepCaOptions) -> StepCa {
        let directory = directory();
        let place = directory.path();
        let mut root = ca::root("Test Root CA");
        let intermediate_key = KeyPair::generate().expect("key");
        let mut params = root_params("Test Intermediate CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let mut intermediate_pem = ca::pem("CERTIFICATE", &root.sign_for(params, &intermediate_key));
        let mut key_pem = ca::pem("PRIVATE KEY", &intermediate_key.serialize_der());
        let is_plain = options.authority.is_none();
        if let Some(authority) = options.authority {
            root.replace(&authority.root_pem);
            (intermediate_pem, key_pem) = (authority.chain_pem, authority.key_pem);
        }
        let birth = ca::root("Test Birth CA");
        write(place, "password", format!("{}\n", password(place)));
        let (public, encrypted, kid) = jwk(place);
        let mut provisioners: Vec<Value> = (0..options.more_provisioners)
            .map(|number| json!({ "type": "ACME", "name": format!("more-{number}") }))
            .collect();
        let mut jwk = json!({ "type": "JWK", "name": StepCa::PROVISIONER, "key": public });
        if options.keeps_key {
            jwk["encryptedKey"] = encrypted.into();
        }
        if let Some(template) = options.template {
            jwk["options"] = json!({ "x509": { "template": template } });
        }
        provisioners.extend([
            jwk,
            json!({ "type": "X5C", "name": StepCa::X5C, "roots": STANDARD.encode(&birth.pem) }),
            json!({ "type": "ACME", "name": StepCa::ACME }),
        ]);
        if options.external_accounts {
            provisioners.push(json!({ "type": "ACME", "name": StepCa::ACME_EAB, "requireEAB": true }));
        }
        let port = Port::reserve();
        let mut config = json!({
            "root": write(place, "root.pem", &root.pem),
            "crt": write(place, "intermediate.pem", &intermediate_pem),
            "key": write(place, "intermediate.key", key_pem),
            "address": port.address().to_string(),
            "dnsNames": options.names,
            "logger": { "format": "json" },
            "authority": {
                "disableIssuedAtCheck": options.old_tokens,
                "claims": {
                    "minTLSCertDuration": options.min_life,
                    "defaultTLSCertDuration": options.default_life,
                    "maxTLSCertDuration": options.max_life,
                    "allowRenewalAfterExpiry": options.renew_expired,
                    "disableRenewal": options.forbids_renewal,
                },
                "provisioners": provisioners,
            },
        });
        let database = match options.database {
            Database::Bbolt => Some(json!({ "type": "bbolt", "dataSource": place.join("db") })),
            Database::Badger => Some(json!({ "type": "badgerv2", "dataSource": place.join("db") })),
            Database::None => None,
        };
        if let Some(database) = database {
            config["db"] = database;
        }
        if let Some(backdate) = options.backdate {
            config["authority"]["backdate"] = backdate.into();
        }
        write(place, "ca.json", config.to_string());
        let mut ca = StepCa {
            daemon: None,
            directory,
            root,
            birth,
            kid,
            resolver: options.resolver,
            port,
            is_plain,
            challenges: (!options.usual_ports).then(|| [Port::reserve(), Port::reserve()]),
        };
        ca.start_again();
        ca
    }

    /// Starts it after `stop`, with the same configuration and database.
    pub fn start_again(&mut self) {
        let mut command = Command::new(go_program("step-ca"));
        command.arg(self.directory.path().join("ca.json")).arg("--insecure");
        if let Some([http, tls]) = &self.challenges {
            command.args(["--acme-http-port", &http.number().to_string()]);
            command.args(["--acme-tls-port", &tls.number().to_string()]);
        }
        if let Some(resolver) = self.resolver {
            command.args(["--resolver", &resolver.to_string()]);
        }
        let mut daemon = Daemon::start("step-ca", command, self.directory.path());
        let (address, root) = (self.port.address(), &self.root.der);
        let is_plain = self.is_plain;
        daemon.wait_until(|| match is_plain {
            true => matches!(get(address, "localhost", root, "/health"), Ok((200, _))),
            false => std::net::TcpStream::connect(address).is_ok(),
        });
        self.daemon = Some(daemon);
    }

    /// Ends it; the port stays ours.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Ends and starts it: tokens from before are refused (unless `old_tokens`). Both times are whole seconds, so it
    /// starts in the next one.
    pub fn restart(&mut self) {
        self.stop();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let stopped = now();
        wait_for("the next second", || (now() > stopped).then_some(()));
        self.start_again();
    }

    /// From now on it names these roots (PEM), and ends at the first of them: it issues with `authority`, or as before.
    pub fn roll_over(&mut self, roots: &[&str], authority: Option<&Authority>) {
        self.stop();
        let place = self.directory.path();
        let number = |(number, root): (usize, &&str)| write(place, &format!("root-{number}.pem"), root);
        let roots: Vec<_> = roots.iter().enumerate().map(number).collect();
        let config = std::fs::read(place.join("ca.json")).expect("a configuration");
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        config["root"] = json!(roots);
        write(place, "ca.json", config.to_string());
        if let Some(authority) = authority {
            write(place, "intermediate.pem", &authority.chain_pem);
            write(place, "intermediate.key", &authority.key_pem);
            self.is_plain = false;
        }
        self.start_again();
    }

    /// `https://localhost:PORT`
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The directory of the ACME provisioner.
    pub fn acme_directory(&self) -> String {
        format!("{}/acme/{}/directory", self.url(), StepCa::ACME)
    }

    /// Where http-01 challenges are asked for.
    pub fn http_port(&self) -> u16 {
        self.challenges.as_ref().map_or(80, |[http, _]| http.number())
    }

    /// Where tls-alpn-01 challenges are asked for.
    pub fn tls_port(&self) -> u16 {
        self.challenges.as_ref().map_or(443, |[_, tls]| tls.number())
    }

    /// 64 hex digits.
    pub fn fingerprint(&self) -> String {
        self.root.pin()
    }

    pub fn root_der(&self) -> &[u8] {
        &self.root.der
    }

    pub fn root_file(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// The password of the JWK provisioner's key, and a line feed.
    pub fn password_file(&self) -> PathBuf {
        self.directory.path().join("password")
    }

    pub fn password(&self) -> String {
        password(self.directory.path())
    }

    /// The private key of the JWK provisioner, encrypted with its password, as step wrote it.
    pub fn provisioner_key_file(&self) -> PathBuf {
        self.directory.path().join("jwk.private")
    }

    /// The key id of the JWK provisioner.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it has said since it was first started: JSON lines.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).expect("log")
    }

    /// `GET path`: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.address(), "localhost", self.root_der(), path).expect("an answer of step-ca")
    }

    /// A certificate for `name` that the X5C provisioner takes, with its key, in `directory`.
    pub fn birth_pair(&self, directory: &Path, name: &str) -> PairFiles {
        self.birth_pair_with(directory, name, |_| {})
    }

    /// The same with other parameters.
    pub fn birth_pair_with(
        &self,
        directory: &Path,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> PairFiles {
        let mut params = CertificateParams::new([name.to_owned()]).expect("name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("key");
        PairFiles {
            cert: write(directory, "birth.pem", ca::pem("CERTIFICATE", &self.birth.sign_for(params, &key))),
            key: write(directory, "birth.key", ca::pem("PRIVATE KEY", &key.serialize_der())),
        }
    }
}

/// Random enough for a test, and seen nowhere else: logs and outputs are searched for it.
fn password(place: &Path) -> String {
    let name = place.file_name().expect("name").to_string_lossy();
    format!("password of {name}")
}

/// The provisioner's public key, its private key encrypted as step does it (compact), and its id.
fn jwk(place: &Path) -> (Value, String, String) {
    write(place, "password.raw", password(place));
    let arguments = ["crypto", "jwk", "create", "jwk.public", "jwk.private", "--kty", "EC", "--crv", "P-256"];
    passes(step(place, arguments).args(["--use", "sig", "--password-file", "password.raw"]));
    let read = |name: &str| -> Value {
        let text = std::fs::read(place.join(name)).expect("a key of step");
        serde_json::from_slice(&text).expect("JSON")
    };
    let (public, private) = (read("jwk.public"), read("jwk.private"));
    let part = |name: &str| private[name].as_str().expect("a part of the JWE").to_owned();
    let compact = ["protected", "encrypted_key", "iv", "ciphertext", "tag"].map(part).join(".");
    let kid = public["kid"].as_str().expect("kid").to_owned();
    (public, compact, kid)
}
