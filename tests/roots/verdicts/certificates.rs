//! Certificates of every odd kind, made by the real `openssl`, which signs what rcgen would refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::support::roots::run;

/// A certificate to make.
#[derive(Clone)]
pub(super) struct Draft {
    /// A key of `Keys`.
    pub(super) key: &'static str,
    /// `None`: made from the name of the scene.
    pub(super) subject: Option<&'static str>,
    /// As for `openssl x509 -set_serial`; `None`: random.
    pub(super) serial: Option<&'static str>,
    /// notBefore and notAfter, `YYYYMMDDHHMMSSZ`; `None`: from now for a year.
    pub(super) dates: Option<(&'static str, &'static str)>,
    /// More options of `openssl x509` for the signature.
    pub(super) sign: &'static [&'static str],
    /// Lines of an extension section; none: version 1.
    pub(super) extensions: Vec<String>,
}

impl Draft {
    fn of(extensions: &[&str]) -> Draft {
        Draft {
            key: "p256",
            subject: None,
            serial: None,
            dates: None,
            sign: &["-sha256"],
            extensions: extensions.iter().map(ToString::to_string).collect(),
        }
    }

    /// A root as a careful CA makes it.
    pub(super) fn root() -> Draft {
        Draft::of(&[
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign",
            "subjectKeyIdentifier=hash",
        ])
    }

    /// Such an intermediate.
    pub(super) fn intermediate() -> Draft {
        Draft::root().with("authorityKeyIdentifier=keyid")
    }

    /// Such a certificate of a server.
    pub(super) fn leaf() -> Draft {
        Draft::of(&[
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "subjectKeyIdentifier=hash",
            "authorityKeyIdentifier=keyid",
        ])
    }

    /// With this line instead of one for the same extension.
    pub(super) fn with(mut self, line: &str) -> Draft {
        let name = line.split('=').next().unwrap();
        self = self.without(name);
        self.extensions.push(line.to_owned());
        self
    }

    pub(super) fn without(mut self, name: &str) -> Draft {
        self.extensions.retain(|line| line.split('=').next() != Some(name));
        self
    }

    pub(super) fn bare(self) -> Draft {
        Draft { extensions: Vec::new(), ..self }
    }

    pub(super) fn key(self, key: &'static str) -> Draft {
        Draft { key, ..self }
    }

    pub(super) fn subject(self, subject: &'static str) -> Draft {
        Draft { subject: Some(subject), ..self }
    }

    pub(super) fn serial(self, serial: &'static str) -> Draft {
        Draft { serial: Some(serial), ..self }
    }

    pub(super) fn signed(self, sign: &'static [&'static str]) -> Draft {
        Draft { sign, ..self }
    }

    pub(super) fn expired(self) -> Draft {
        Draft { dates: Some(("20200101000000Z", "20210101000000Z")), ..self }
    }

    pub(super) fn future(self) -> Draft {
        Draft { dates: Some(("20480101000000Z", "20490101000000Z")), ..self }
    }
}

/// A made certificate, in files.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Makes certificates in a directory.
pub(super) struct Maker<'a> {
    directory: &'a Path,
    keys: Mutex<BTreeMap<String, PathBuf>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(directory: &'a Path) -> Maker<'a> {
        Maker { directory, keys: Mutex::default() }
    }

    /// The private key of this kind and use, made once: `p256` of a root is another than that of a leaf.
    fn key(&self, kind: &str, of: &str) -> PathBuf {
        // An RSA key takes long; that of one scene may serve another.
        let of = if kind.starts_with("rsa") || kind.starts_with("pss") {
            of.split('-').next_back().unwrap()
        } else {
            of
        };
        let name = format!("{kind}-{of}");
        let mut keys = self.keys.lock().unwrap();
        if let Some(known) = keys.get(&name) {
            return known.clone();
        }
        let path = self.directory.join(format!("{name}.key"));
        let curve = |name: &str| {
            vec![
                "-algorithm".to_owned(),
                "EC".to_owned(),
                "-pkeyopt".to_owned(),
                format!("ec_paramgen_curve:{name}"),
            ]
        };
        let bits = |algorithm: &str, bits: &str| {
            vec![
                "-algorithm".to_owned(),
                algorithm.to_owned(),
                "-pkeyopt".to_owned(),
                format!("rsa_keygen_bits:{bits}"),
            ]
        };
        let arguments = match kind {
            "p256" => curve("P-256"),
            "p384" => curve("P-384"),
            "p521" => curve("P-521"),
            "secp256k1" | "brainpoolP256r1" => curve(kind),
            "explicit" => {
                [curve("P-256"), vec!["-pkeyopt".to_owned(), "ec_param_enc:explicit".to_owned()]].concat()
            }
            "rsa1024" => bits("RSA", "1024"),
            "rsa2048" => bits("RSA", "2048"),
            "pss2048" => bits("RSA-PSS", "2048"),
            "ed25519" => vec!["-algorithm".to_owned(), "ED25519".to_owned()],
            other => panic!("no key {other}"),
        };
        run(Command::new("openssl").arg("genpkey").args(&arguments).arg("-out").arg(&path));
        keys.insert(name, path.clone());
        path
    }

    /// Makes `draft`, signed by `issuer`, or by itself.
    pub(super) fn make(&self, scene: &str, role: &str, draft: &Draft, issuer: Option<&Made>) -> Made {
        let at = |suffix: &str| self.directory.join(format!("{scene}-{role}.{suffix}"));
        let key = self.key(draft.key, &format!("{scene}-{role}"));
        let subject = draft.subject.map_or_else(|| format!("/CN={scene} {role}"), str::to_owned);
        let (csr, extensions, certificate) = (at("csr"), at("ext"), at("pem"));
        std::fs::write(at("req"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        run(Command::new("openssl")
            .args(["req", "-new", "-utf8", "-subj", &subject, "-config"])
            .arg(at("req"))
            .arg("-key")
            .arg(&key)
            .arg("-out")
            .arg(&csr));
        let mut lines = String::from("[v3]\n");
        let mut sections = String::new();
        for identifier in ["subjectKeyIdentifier", "authorityKeyIdentifier"] {
            // openssl adds what is not named.
            if !draft.extensions.iter().any(|line| line.starts_with(identifier)) {
                lines.push_str(&format!("{identifier}=none\n"));
            }
        }
        for line in &draft.extensions {
            // What follows `@@` is a section of its own.
            let (line, section) = line.split_once("@@").unwrap_or((line, ""));
            lines.push_str(&format!("{line}\n"));
            if !section.is_empty() {
                sections.push_str(&format!("[section]\n{}\n", section.replace('|', "\n")));
            }
        }
        std::fs::write(&extensions, format!("{lines}{sections}")).unwrap();
        let mut command = Command::new("openssl");
        match draft.dates {
            None => {
                command.args(["x509", "-req", "-days", "365", "-in"]).arg(&csr);
                match issuer {
                    Some(issuer) => {
                        command.arg("-CA").arg(&issuer.certificate).arg("-CAkey").arg(&issuer.key);
                        if draft.serial.is_none() {
                            command.arg("-CAcreateserial").arg("-CAserial").arg(at("srl"));
                        }
                    }
                    None => drop(command.arg("-signkey").arg(&key)),
                }
                if let Some(serial) = draft.serial {
                    command.args(["-set_serial", serial]);
                }
                if !draft.extensions.is_empty() {
                    command.arg("-extfile").arg(&extensions).args(["-extensions", "v3"]);
                }
            }
            Some((from, to)) => {
                let config = "[ca]\ndefault_ca=c\n[c]\npolicy=p\nrand_serial=yes\nunique_subject=no\n\
                              database=DB\nnew_certs_dir=DIR\ndefault_md=sha256\n[p]\ncommonName=optional\n";
                let (database, directory) = (at("db"), self.directory.display().to_string());
                std::fs::write(&database, "").unwrap();
                let config = config.replace("DB", &database.display().to_string()).replace("DIR", &directory);
                std::fs::write(at("ca"), config).unwrap();
                command.args(["ca", "-batch", "-notext", "-preserveDN", "-startdate", from, "-enddate", to]);
                command.arg("-config").arg(at("ca")).arg("-in").arg(&csr);
                command.arg("-extfile").arg(&extensions).args(["-extensions", "v3"]);
                match issuer {
                    Some(issuer) => {
                        command.arg("-cert").arg(&issuer.certificate).arg("-keyfile").arg(&issuer.key);
                    }
                    None => drop(command.arg("-selfsign").arg("-keyfile").arg(&key)),
                }
            }
        }
        let signature: Vec<&str> = if draft.dates.is_some() {
            // `openssl ca` names the hash in another way.
            draft
                .sign
                .iter()
                .flat_map(|option| match option.strip_prefix("-sha") {
                    Some(_) => vec!["-md", &option[1..]],
                    None => vec![*option],
                })
                .collect()
        } else {
            draft.sign.to_vec()
        };
        run(command.args(signature).arg("-out").arg(&certificate));
        Made { certificate, key }
    }
}
