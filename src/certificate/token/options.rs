//! The options of `trustup token` that no other command has.

use std::path::PathBuf;
use std::time::Duration;

use crate::pki::cert::SubjectAltName;
use crate::settings::Opt;
use crate::settings::rows::a_duration;

const NAME: &str = "a host name, an address, an e-mail address or a URI";

pub(crate) static SUBJECT: Opt<SubjectAltName> = Opt::address("SUBJECT", "SUBJECT", NAME, str::parse)
    .positional()
    .help("What the certificate will be for: a host name, an address, an e-mail address or a URI");
pub(crate) static SAN: Opt<SubjectAltName, true> = Opt::address("san", "NAME", NAME, str::parse)
    .repeatable()
    .delimited()
    .help("All names that the certificate may have [default: SUBJECT] (repeatable)");
pub(crate) static CNF_CSR: Opt<PathBuf> = Opt::path("cnf-csr", "FILE")
    .help("The only certificate signing request that the token is for (step-ca 0.27.3 and newer)");
pub(crate) static VALID_FOR: Opt<Duration> = Opt::new("valid-for", "DURATION", "a duration", a_duration)
    .help("How long the token works: 10s to 24h [default: 5m]");
pub(crate) static OUT: Opt<PathBuf> =
    Opt::path("out", "FILE").help("Write it here (0600), not to standard output (`-`)");
