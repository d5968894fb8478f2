//! Bootstrap's use of the roots: which are accepted, which stores, and how.

use std::path::PathBuf;

use crate::settings::{Group, Opt, Reason};

/// Where roots may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    /// The system's bundles and hashed directories; where they cannot be written, the private store
    System,
    /// A combined bundle and a hashed directory of your own, which programs use once variables say so
    Private,
    /// Java's keystores
    Java,
    /// NSS databases: browsers, and curl on old Red Hat systems
    Nss,
    /// No store: only check the pin and record the root
    None,
}

/// Which updater the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UpdaterChoice {
    /// The distribution's program where it can run and loses no root, else our own.
    #[default]
    Auto,
    /// The distribution's program, or an error.
    Native,
    /// Our own.
    Builtin,
}

pub(crate) static ALL_ROOTS: Opt<bool> = Opt::switch("all-roots")
    .group(Group::Widening)
    .keys(&["trust.all_roots"])
    .help("Also take the step-ca's other roots, over TLS verified by the pinned one");
pub(crate) static REQUIRE_FRESH: Opt<bool> = Opt::switch("require-fresh")
    .keys(&["trust.require_fresh"])
    .help("Make a bundle that cannot be reached an error even if an earlier run installed it");
pub(crate) static ALLOW_EXPIRED: Opt<bool> = Opt::switch("allow-expired")
    .never(Reason::LoosensACheck)
    .help("Accept roots that are expired or not yet valid");
pub(crate) static ALLOW_INTERMEDIATE: Opt<bool> = Opt::switch("allow-intermediate")
    .never(Reason::LoosensACheck)
    .help("Accept intermediate CA certificates");
pub(crate) static ALLOW_ROLLBACK: Opt<bool> = Opt::switch("allow-rollback")
    .never(Reason::LoosensACheck)
    .help("Accept roots that were removed from this bundle and are in it again");
pub(crate) static NAME: Opt<String> = Opt::text("name", "NAME")
    .keys(&["trust.name"])
    .help("Name of the anchor file, without extension [default: from subject and fingerprint]");
pub(crate) static REQUIRE_SYSTEM: Opt<bool> = Opt::switch("require-system")
    .keys(&["trust.require_system"])
    .help("Make it an error if the system's stores cannot be written, instead of using the private store");
pub(crate) static STORES: Opt<Store, true> = Opt::words("stores", "LIST")
    .repeatable()
    .delimited()
    .keys(&["trust.stores"])
    .help("Which stores to write [default: system, java and nss, where they exist]");
pub(crate) static STRICT: Opt<bool> = Opt::switch("strict")
    .keys(&["trust.strict"])
    .help("Make it an error if any store cannot be changed (the system's, a Java without a keystore, a database), and if a certificate file or store of the distribution is damaged");
pub(crate) static CREATE_JAVA: Opt<bool> = Opt::switch("create-java")
    .keys(&["trust.create_java"])
    .help("Create a keystore from the system's roots and yours for each Java that has none (a dangling link, a link to a bundle)");
pub(crate) static CREATE_NSS: Opt<bool> = Opt::switch("create-nss")
    .keys(&["trust.create_nss"])
    .help("Create the NSS database that browsers share, where there is none");
pub(crate) static UPDATER: Opt<UpdaterChoice> = Opt::words("updater", "WHICH")
    .default("auto", || UpdaterChoice::Auto)
    .keys(&["trust.updater"])
    .help("Which trust update to use");
pub(crate) static REPAIR: Opt<bool> = Opt::switch("repair")
    .never(Reason::OneRun)
    .help("Repair damage in the system's stores that `trustup doctor` reports; works without a source, too");
pub(crate) static WITH_WEB_PKI: Opt<bool> = Opt::switch("with-web-pki")
    .keys(&["trust.with_web_pki"])
    .help("If the image has no bundle, start it with the Web PKI's roots");
pub(crate) static CA_OUT: Opt<PathBuf> = Opt::path("ca-out", "FILE")
    .keys(&["trust.ca_out", "certificate.ca_out"])
    .published("TLS_CA_CERT_LOCATION")
    .help("The roots that the chain ends at, PEM");
pub(crate) static FIREFOX_POLICY: Opt<bool> = Opt::switch("firefox-policy")
    .keys(&["trust.firefox_policy"])
    .help("Also name the roots in Firefox's policy file (/etc/firefox/policies/policies.json), for profiles that do not exist yet");
pub(crate) static JAVA_STOREPASS_FILE: Opt<PathBuf> = Opt::path("java-storepass-file", "FILE")
    .keys(&["trust.java_storepass_file"])
    .help("File with the password of Java's keystores [default: Java's own, `changeit`]");
pub(crate) static NSS_PASSWORD_FILE: Opt<PathBuf> = Opt::path("nss-password-file", "FILE")
    .keys(&["trust.nss_password_file"])
    .help("File with the password of NSS databases [default: those without one are opened]");
pub(crate) static NSS_USER: Opt<String, true> = Opt::text("nss-user", "USER")
    .repeatable()
    .keys(&["trust.nss_user"])
    .help("A user whose NSS databases are searched for (repeatable) [default: the current user; in a sysroot, all users]");
pub(crate) static NSS_DB: Opt<PathBuf, true> = Opt::path("nss-db", "DIR")
    .repeatable()
    .keys(&["trust.nss_db"])
    .help("A directory with an NSS database, which is created if it does not exist (repeatable)");
