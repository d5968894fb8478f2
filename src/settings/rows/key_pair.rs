//! One certificate and its key: which names, and the files.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::pki::cert::{NotAfter, SubjectAltName};
use crate::pki::key::KeyType;
use crate::settings::{Opt, Reason};

const MODE: &str = "a file mode in octal, such as `\"0640\"`";
const LIFE: &str = "a duration of at least a second or a moment (`2026-12-24T18:00:00Z`): whole numbers with units, such as `30s`, `1h30m` or `30d`; a plain number is seconds";

/// How the files of a pair are laid out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// Plain files, each replaced by a rename
    #[default]
    Files,
    /// Links into a directory of this version, so that one swap of a link replaces all of them at once
    Versioned,
}

pub(crate) static NAMES: Opt<SubjectAltName, true> =
    Opt::address("NAME", "NAME", "a host name, an address, an e-mail address or a URI", str::parse)
        .repeatable()
        .positional()
        .published("TLS_DOMAINS")
        .keys(&["certificate.names"])
        .help("The certificate's names: host names, addresses, e-mail addresses, URIs");
pub(crate) static CERT: Opt<PathBuf> = Opt::path("cert", "FILE")
    .keys(&["certificate.cert"])
    .published("TLS_CERT_LOCATION")
    .help("The certificate with its intermediates, PEM");
pub(crate) static KEY: Opt<PathBuf> = Opt::path("key", "FILE")
    .keys(&["certificate.key"])
    .published("TLS_KEY_LOCATION")
    .help("The private key, PKCS#8 PEM");
pub(crate) static CHAIN: Opt<PathBuf> =
    Opt::path("chain", "FILE").keys(&["certificate.chain"]).help("The intermediates alone");
pub(crate) static OWNER: Opt<String> = Opt::text("owner", "USER:GROUP").keys(&["certificate.owner"]).help(
    "Owner of the files: names from /etc/passwd and /etc/group, or ids [default: the user who runs trustup]",
);
pub(crate) static CERT_MODE: Opt<u32> = Opt::new("cert-mode", "MODE", MODE, mode)
    .integers(8)
    .keys(&["certificate.cert_mode"])
    .help("Mode of the certificates [default: 0644]");
pub(crate) static KEY_MODE: Opt<u32> = Opt::new("key-mode", "MODE", MODE, mode)
    .integers(8)
    .keys(&["certificate.key_mode"])
    .help("Mode of the key [default: 0600]");
pub(crate) static LAYOUT: Opt<Layout> = Opt::words("layout", "LAYOUT")
    .keys(&["certificate.layout"])
    .help("How the files are laid out [default: files]");
pub(crate) static KEY_TYPE: Opt<KeyType> =
    Opt::words("key-type", "TYPE").keys(&["certificate.key_type"]).help("Kind of the key [default: ec-p256]");
pub(crate) static NOT_AFTER: Opt<NotAfter> = Opt::new("not-after", "WHEN", LIFE, str::parse)
    .moments()
    .integers(10)
    .keys(&["certificate.not_after"])
    .published("STEP_NOT_AFTER")
    .help("How long it is valid: 24h, 30d, or a time (RFC 3339) [default: the CA decides]");
pub(crate) static FORCE: Opt<bool> =
    Opt::switch("force").never(Reason::LoosensACheck).help("Replace a valid key pair, too");
pub(crate) static ALLOW_EXTRA_NAMES: Opt<bool> = Opt::switch("allow-extra-names")
    .never(Reason::LoosensACheck)
    .help("Accept names that the CA adds to those that were requested");
pub(crate) static ISSUER_ROOT: Opt<PathBuf> = Opt::path("issuer-root", "FILE")
    .keys(&["certificate.issuer_root"])
    .help("A file with the root that the issued chain ends at, where that is not the root of the CA's own connection");

/// Permission bits, octal.
fn mode(text: &str) -> Result<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Ok(mode),
        _ => Err(Error::usage("write it in octal, such as 0640")),
    }
}
