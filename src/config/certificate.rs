//! `[[certificate]]`: which names, which files, and how to get it, in the order to be tried.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::document::Section;
use super::{CertificateConfig, Method, Secret, Shown};
use crate::acme::ChallengeType;
use crate::duration;
use crate::enroll::methods::acme::{Dns, Options};
use crate::error::Error;
use crate::listener::Listener;
use crate::pair::{CERT_MODE, KEY_MODE, Outputs};

/// All keys of an `enroll` block but `method`, with the methods that have them.
const METHODS: [(&str, &[&str]); 4] = [
    ("token", &["token"]),
    ("provisioner", &["provisioner", "password", "provisioner_key"]),
    ("x5c", &["provisioner", "x5c_cert", "x5c_key"]),
    (
        "acme",
        &[
            "directory",
            "provisioner",
            "challenge",
            "http_listen",
            "tls_listen",
            "webroot",
            "dns_hook",
            "rfc2136",
            "eab_kid",
            "eab_hmac_key",
            "account_key",
            "contact",
            "agree_tos",
            "profile",
            "preferred_chain",
            "account_key_type",
        ],
    ),
];

/// Keys that only some challenges use.
const OF_CHALLENGES: [&str; 5] = ["http_listen", "tls_listen", "webroot", "dns_hook", "rfc2136"];

const MODE: &str = "a file mode in octal, such as `\"0640\"`";

/// What is missing or wrong is said, and empty in the answer.
pub(super) fn certificate(section: &Section<'_>) -> CertificateConfig {
    let names = section.list("names");
    let path = |key| section.path(key).map(|(path, value)| (path, value.shown));
    let (cert, key, chain) = (path("cert"), path("key"), path("chain"));
    for key in ["names", "cert", "key", "enroll"] {
        section.require(key);
    }
    let parsed = names.iter().filter_map(|name| {
        let wanted = "a host name, an address, an e-mail address or a URI";
        section.parse(name, wanted, |text| text.parse().ok())
    });
    let parsed: Vec<_> = parsed.collect();
    let mode = |key| {
        section.plain(key, MODE, |text, base| {
            u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && matches!(base, 0 | 8))
        })
    };
    let life =
        format!("a duration of at least a second or a moment (`2026-12-24T18:00:00Z`): {}", duration::FORM);
    let time = |key| {
        section.plain(key, &format!("a duration: {}", duration::FORM), |text, _| duration::parse(text).ok())
    };
    let settings = CertificateConfig {
        names: parsed,
        cert: cert.as_ref().map(|(path, _)| path.clone()).unwrap_or_default(),
        key: key.as_ref().map(|(path, _)| path.clone()).unwrap_or_default(),
        chain: chain.map(|(path, _)| path),
        ca_out: path("ca_out").map(|(path, _)| path),
        key_type: section.choice("key_type"),
        owner: section.string("owner").map(|value| value.text.to_string()),
        cert_mode: mode("cert_mode"),
        key_mode: mode("key_mode"),
        not_after: section.plain("not_after", &life, |text, _| text.parse().ok()),
        layout: section.choice("layout"),
        issuer_root: path("issuer_root").map(|(path, _)| path),
        timeout: time("timeout"),
        enroll: section.sections("enroll").iter().filter_map(method).collect(),
        place: section.place(),
        shown: Shown {
            names: names.into_iter().map(|name| name.shown).collect(),
            cert: cert.as_ref().map(|(_, shown)| shown.clone()).unwrap_or_default(),
            key: key.as_ref().map(|(_, shown)| shown.clone()).unwrap_or_default(),
        },
    };
    if cert.is_some() && key.is_some() {
        // What enroll would refuse; its error may name a path that was filled in.
        let outputs = settings.outputs(None);
        if let Err(error) = outputs.validate() {
            let what = Error::usage(format!("`certificate`: {}", error.what()));
            section.problem(section.line(), error.hints().iter().fold(what, Error::hint));
        }
    }
    section.finish(|_| None);
    settings
}

impl CertificateConfig {
    /// Where the pair goes, with the usual modes and layout where the file says none.
    pub fn outputs(&self, owner: Option<(u32, u32)>) -> Outputs {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        Outputs {
            cert: text(&self.cert),
            key: text(&self.key),
            chain: self.chain.as_ref().map(text),
            ca_out: self.ca_out.as_ref().map(text),
            owner,
            cert_mode: self.cert_mode.unwrap_or(CERT_MODE),
            key_mode: self.key_mode.unwrap_or(KEY_MODE),
            layout: self.layout.unwrap_or_default(),
            allow_shared: false,
        }
    }
}

fn method(section: &Section<'_>) -> Option<Method> {
    let words = METHODS.map(|(word, _)| word);
    section.require("method");
    let Some(word) = section.word("method", &words) else {
        // What the other keys should be depends on it.
        return None;
    };
    let text = |key| section.string(key).map(|value| value.text.to_string());
    let path = |key| section.path(key).map(|(path, _)| path);
    let method = match word.as_str() {
        "token" => Some(Method::Token { token: section.secret("token") }),
        "provisioner" => {
            let has_key = section.has("provisioner_key");
            if !has_key {
                section.require("password");
            }
            let (provisioner, password) = (text("provisioner"), section.secret("password"));
            let key = path("provisioner_key");
            let method = Method::Provisioner { provisioner, password, key };
            (has_key || !method.secrets().is_empty()).then_some(method)
        }
        "x5c" => {
            ["x5c_cert", "x5c_key"].iter().for_each(|key| section.require(key));
            let (provisioner, cert, key) = (text("provisioner"), path("x5c_cert"), path("x5c_key"));
            cert.zip(key).map(|(cert, key)| Method::X5c { provisioner, cert, key })
        }
        _ => Some(acme(section)),
    };
    section.finish(|key| {
        let base = key.strip_suffix("_file").unwrap_or(key);
        let has = |keys: &[&str]| keys.contains(&base) || keys.contains(&key);
        let others = METHODS.iter().filter(|(_, keys)| has(keys)).map(|(word, _)| format!("`{word}`"));
        let others: Vec<String> = others.collect();
        let of = others.join(" and ");
        (!others.is_empty()).then(|| format!("`{key}` belongs to the method {of}"))
    });
    method
}

fn acme(section: &Section<'_>) -> Method {
    let mut secrets = Vec::new();
    let text = |key| section.string(key).map(|value| value.text.to_string());
    let listen = |key| {
        let wanted = "an address and a port, such as `127.0.0.1:8080`, or `:8080` for all addresses";
        section.parsed(key, wanted, Listener::parse)
    };
    let hook = section.list("dns_hook");
    if let Some(program) = hook.first()
        && !program.text.starts_with('/')
    {
        let error =
            Error::usage(format!("`{}` should begin with the absolute path of a program", program.name));
        section.problem(program.line, error.hint("it is run without a shell, and found without PATH"));
    }
    let rfc2136 = section.section("rfc2136").and_then(|section| rfc2136(&section));
    let hook: Vec<String> = hook.into_iter().map(|value| value.text.to_string()).collect();
    let dns = match (rfc2136, hook.is_empty()) {
        (Some(_), false) => {
            together(section, "`dns_hook` and `rfc2136` both say who changes the zone: leave one out");
            None
        }
        (Some((rfc2136, secret)), true) => {
            secrets.push(secret);
            Some(rfc2136)
        }
        (None, false) => Some(Dns::Hook(hook)),
        (None, true) => None,
    };
    if section.has("directory") && section.has("provisioner") {
        together(section, "`directory` and `provisioner` both say where the ACME server is: leave one out");
    }
    let eab = match (text("eab_kid"), section.secret("eab_hmac_key")) {
        (Some(kid), Some(hmac_key)) => {
            let source = hmac_key.source();
            secrets.push(hmac_key);
            Some((kid, source))
        }
        (None, None) => None,
        _ => {
            together(section, "`eab_kid` and `eab_hmac_key` (or `eab_hmac_key_file`) go together");
            None
        }
    };
    let challenges = ChallengeType::ALL.map(|kind| kind.to_string());
    let challenge: Option<ChallengeType> = section
        .word("challenge", &challenges.each_ref().map(String::as_str))
        .and_then(|word| word.parse().ok());
    let there = OF_CHALLENGES.into_iter().filter(|key| section.has(key));
    if let Some((key, own)) = challenge.and_then(|chosen| chosen.unused(there)) {
        together(
            section,
            &format!("`{key}` is for the challenge {own}, and another one is chosen: leave one out"),
        );
    }
    let options = Options {
        directory: section.parsed("directory", "an https address", |text| {
            Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())
        }),
        provisioner: text("provisioner"),
        challenge,
        http_listen: listen("http_listen"),
        tls_listen: listen("tls_listen"),
        webroot: section.path("webroot").map(|(path, _)| path),
        dns,
        eab,
        account_key: section.path("account_key").map(|(path, _)| path),
        contact: section.list("contact").into_iter().map(|value| value.text.to_string()).collect(),
        agree_tos: section.switch("agree_tos").unwrap_or(false),
        profile: text("profile"),
        preferred_chain: text("preferred_chain"),
        account_key_type: section.choice("account_key_type"),
    };
    Method::Acme { options: Box::new(options), secrets }
}

fn rfc2136(section: &Section<'_>) -> Option<(Dns, Secret)> {
    for key in ["server", "key_name", "secret"] {
        section.require(key);
    }
    let text = |key| section.string(key).map(|value| value.text.to_string());
    let (server, zone, key_name) = (text("server"), text("zone"), text("key_name"));
    // The one there is: whoever copies a key's description writes it down.
    section.word("algorithm", &["hmac-sha256"]);
    let secret = section.secret("secret");
    section.finish(|_| None);
    let secret = secret?;
    let rfc2136 = Dns::Rfc2136 { server: server?, zone, key_name: key_name?, secret: secret.source() };
    Some((rfc2136, secret))
}

fn together(section: &Section<'_>, what: &str) {
    section.problem(section.line(), Error::usage(what));
}

/// No file is written twice by two certificates, but for the roots: those of one CA are the same.
pub(super) fn check_paths(certificates: &[CertificateConfig]) -> Vec<Error> {
    // Paths compare by components: `//` makes no other path.
    let mut seen: BTreeMap<&Path, (&str, bool)> = BTreeMap::new();
    let mut problems = Vec::new();
    for certificate in certificates {
        let pair = [&certificate.cert, &certificate.key].into_iter().chain(&certificate.chain);
        let paths = pair.map(|path| (path, false)).chain(certificate.ca_out.iter().map(|path| (path, true)));
        for (path, is_roots) in paths.filter(|(path, _)| !path.as_os_str().is_empty()) {
            let place = certificate.place.as_str();
            let (other, other_is_roots) = *seen.entry(path).or_insert((place, is_roots));
            // Of one certificate that was said.
            if other != place && !(is_roots && other_is_roots) {
                problems.push(
                    Error::usage(format!("a file would be written twice: the other is that of `{other}`"))
                        .at(place)
                        .hint("give each certificate, key and chain a file of its own"),
                );
            }
        }
    }
    problems
}
