//! Certificates of a CA that OpenSSL makes: rcgen with ring has neither P-521 nor other hashes than the usual ones.

use std::path::Path;
use std::process::Command;

use super::{directory, passes, write};

/// What `openssl genpkey` makes.
pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
pub const ED448: &[&str] = &["-algorithm", "ED448"];

/// A certificate of a CA.
#[derive(Clone, Debug)]
pub struct Level {
    /// Its common name.
    pub name: String,
    /// The kind of its key.
    pub key: &'static [&'static str],
    /// The hash of the signature below it, such as `sha512`; empty for kinds of keys that fix it.
    pub hash: &'static str,
    /// Its life in days from now; 0 is one hour.
    pub days: u32,
}

impl Level {
    pub fn new(name: &str, key: &'static [&'static str], hash: &'static str) -> Level {
        Level { name: name.to_owned(), key, hash, days: 30 }
    }
}

/// The certificates and the key that a CA issues with, PEM.
#[derive(Clone, Debug)]
pub struct Authority {
    pub root_pem: String,
    /// The nearest to the leaf first.
    pub chain_pem: String,
    /// Of the first of the chain.
    pub key_pem: String,
    /// Another root at which the chain may end.
    pub other_root: Option<String>,
}

impl Authority {
    /// From the root down.
    pub fn new(levels: &[Level]) -> Authority {
        let place = directory();
        let place = place.path();
        let read = |name: String| std::fs::read_to_string(place.join(name)).expect("a file of openssl");
        let mut chain = Vec::new();
        for (number, level) in levels.iter().enumerate() {
            let (key, cert) = (format!("{number}.key"), format!("{number}.crt"));
            openssl(place, &[&["genpkey"], level.key, &["-out", &key]].concat());
            let above = number.checked_sub(1).map(|above| (&levels[above], above));
            sign(place, level, &key, &cert, above);
            chain.insert(0, read(cert));
        }
        let root_pem = chain.pop().expect("a root");
        let key_pem = read(format!("{}.key", levels.len() - 1));
        Authority { root_pem, chain_pem: chain.concat(), key_pem, other_root: None }
    }

    /// A root that was renewed under its old name: the CA's root is the old one, `other_root` the new one, and a cross
    /// certificate leads from the new key to the old root.
    pub fn renewed() -> Authority {
        let place = directory();
        let place = place.path();
        let (root, inner) = (Level::new("Root", P256, "sha256"), Level::new("Intermediate", P256, "sha256"));
        for key in ["old.key", "new.key", "inner.key"] {
            openssl(place, &[&["genpkey"], P256, &["-out", key]].concat());
        }
        let (old, new) = (("old.crt", "old.key"), ("new.crt", "new.key"));
        sign_with(place, &root, old.1, old.0, None, "sha256");
        sign_with(place, &root, new.1, new.0, None, "sha256");
        sign_with(place, &root, new.1, "cross.crt", Some(old), "sha256");
        sign_with(place, &inner, "inner.key", "inner.crt", Some(new), "sha256");
        let read = |name: &str| std::fs::read_to_string(place.join(name)).expect("a file of openssl");
        Authority {
            root_pem: read("old.crt"),
            chain_pem: [read("inner.crt"), read("cross.crt")].concat(),
            key_pem: read("inner.key"),
            other_root: Some(read("new.crt")),
        }
    }
}

/// Signs a CA's certificate with the key above (`NUMBER.crt`, `NUMBER.key`), or with its own.
fn sign(place: &Path, level: &Level, key: &str, cert: &str, above: Option<(&Level, usize)>) {
    let hash = above.map_or(level, |(signer, _)| signer).hash;
    let files = above.map(|(_, above)| (format!("{above}.crt"), format!("{above}.key")));
    let files = files.as_ref().map(|(cert, key)| (cert.as_str(), key.as_str()));
    sign_with(place, level, key, cert, files, hash);
}

fn sign_with(place: &Path, level: &Level, key: &str, cert: &str, above: Option<(&str, &str)>, hash: &str) {
    let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                      subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    write(place, "extensions", extensions);
    let subject = format!("/CN={}", level.name);
    openssl(place, &["req", "-new", "-key", key, "-subj", &subject, "-out", "request.csr"]);
    let (hash, days) = (format!("-{hash}"), level.days.to_string());
    let mut arguments = vec!["x509", "-req", "-in", "request.csr", "-out", cert, "-extfile", "extensions"];
    arguments.extend(["-days", &days]);
    if hash.len() > 1 {
        arguments.push(&hash);
    }
    match above {
        Some((cert, key)) => arguments.extend(["-CA", cert, "-CAkey", key, "-CAcreateserial"]),
        None => arguments.extend(["-signkey", key]),
    }
    openssl(place, &arguments);
}

fn openssl(place: &Path, arguments: &[&str]) {
    passes(Command::new("/usr/bin/openssl").env_clear().current_dir(place).args(arguments));
}
