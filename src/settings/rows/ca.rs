//! Sources and pins: which CA, and which roots vouch for it. The group is read from one layer as a whole (threat T1).

use std::path::PathBuf;

use super::a_fingerprint;
use crate::net::url::{parse, step_ca_base};
use crate::pki::fingerprint::Fingerprint;
use crate::settings::{Group, Opt};

/// What a fingerprint should be, for messages.
const PIN: &str = "the 64 hex digits of a SHA-256";
const WEB: &str = "an http or https address";

pub(crate) static CA_URL: Opt<String> = Opt::address(
    "ca-url",
    "URL",
    "the https address of the CA, such as `https://ca.internal:9000`",
    |text| step_ca_base(text).map(|_| text.to_owned()),
)
.group(Group::Source)
.keys(&["ca.url"])
.help("The CA [default: the one that `trustup bootstrap` was given]");
pub(crate) static ROOT_URL: Opt<String> =
    Opt::address("root-url", "URL", WEB, |text| parse(text, "--root-url").map(|_| text.to_owned()))
        .group(Group::Source)
        .keys(&["trust.root_url"])
        .help("A certificate at any http(s) address: PEM, DER or PKCS#7");
pub(crate) static BUNDLE_URL: Opt<String> =
    Opt::address("bundle-url", "URL", WEB, |text| parse(text, "--bundle-url").map(|_| text.to_owned()))
        .group(Group::Source)
        .keys(&["trust.bundle_url"])
        .help("A file of many roots; its host is vouched for by the pinned root, or by the system's roots");
pub(crate) static CA_FILE: Opt<PathBuf, true> = Opt::path("ca-file", "FILE")
    .repeatable()
    .group(Group::Source)
    .keys(&["trust.ca_file"])
    .help("A certificate file, `-` for standard input, or a directory of them (repeatable)");
pub(crate) static FINGERPRINT: Opt<Fingerprint, true> = Opt::new("fingerprint", "HEX", PIN, a_fingerprint)
    .repeatable()
    .delimited()
    .group(Group::Pin)
    .keys(&["ca.fingerprint", "trust.fingerprint"])
    .help("SHA-256 fingerprint of a root from --ca-url, --root-url or --ca-file (repeatable)");
pub(crate) static BUNDLE_SHA256: Opt<Fingerprint> = Opt::new("bundle-sha256", "HEX", PIN, a_fingerprint)
    .group(Group::Pin)
    .keys(&["trust.bundle_sha256"])
    .help("SHA-256 of the bundle's file (`sha256sum`); without TLS it is needed");
pub(crate) static CA_ROOT: Opt<PathBuf> =
    Opt::path("ca-root", "FILE").group(Group::Source).keys(&["ca.root"]).help("A file with its root");
pub(crate) static CACHE: Opt<PathBuf> = Opt::path("cache", "DIR").keys(&["ca.cache"]).help(
    "Keep what a fingerprint or --bundle-sha256 pins in DIR, and use it before any server is asked (on a volume, a re-created container starts while the CA is down)",
);
/// Its meaning depends on the command: a step-ca, or for bootstrap also a certificate.
pub(crate) static PUBLISHED_CA_URL: Opt<String> =
    Opt::address("CA_URL", "", "the address of a step-ca or of a certificate", |text| Ok(text.to_owned()))
        .without_flag()
        .group(Group::Source)
        .published("CA_URL")
        .help("A step-ca, or for bootstrap the address of a certificate");
pub(crate) static PUBLISHED_CA_FINGERPRINT: Opt<Fingerprint> =
    Opt::new("CA_FINGERPRINT", "", PIN, a_fingerprint)
        .without_flag()
        .group(Group::Pin)
        .published("CA_FINGERPRINT")
        .help("Pins what CA_URL brings");
pub(crate) static PUBLISHED_BUNDLE_URL: Opt<String> =
    Opt::address("CA_BUNDLE_URL", "", WEB, |text| Ok(text.to_owned()))
        .without_flag()
        .group(Group::Source)
        .published("CA_BUNDLE_URL")
        .help("A file of many roots");
/// Not `--provisioner`: only some methods read it from here.
pub(crate) static DEFAULT_PROVISIONER: Opt<String> = Opt::text("ca.provisioner", "NAME")
    .without_flag()
    .keys(&["ca.provisioner"])
    .help("The provisioner for methods without one");
pub(crate) static REQUIRE_PIN: Opt<bool> = Opt::switch("require-pin").keys(&["trust.require_pin"]).help(
    "Do not trust a CA that only an earlier run recorded: a fingerprint, a file or a token must name it",
);
