//! The one table: which library refuses what in a chain. The verdicts of `doctor` and the warnings of `bootstrap` both
//! come from here. Each cell was seen with the real library (`tests/roots/verdicts`), or is from its source where its
//! comment says so; what neither shows is "cannot judge".

use crate::doctor::library::{TlsLibrary, Version};
use crate::pki::cert::facts::KeyKind;

/// Where a certificate is in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    /// The server's own.
    Server,
    /// One that the server sends with it.
    Intermediate,
    /// The one in the store, which ends the chain.
    Root,
    /// The server's own, which is itself in the store.
    Alone,
}

impl Position {
    fn letter(self) -> char {
        match self {
            Position::Server => 'S',
            Position::Intermediate => 'I',
            Position::Root => 'R',
            Position::Alone => 'A',
        }
    }
}

/// A property for which some library refuses a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its end, seconds since 1970.
    Expired(i64),
    /// Its begin, seconds since 1970.
    NotYetValid(i64),
    /// An extension that is marked critical: its identifier.
    CriticalExtension(Vec<u8>),
    /// `CA:FALSE`.
    NotACa,
    /// Version 3 without basicConstraints, and keyUsage says that it signs certificates.
    NoBasicConstraints,
    /// Without basicConstraints and without such a keyUsage.
    NothingSaysCa,
    /// Version 1 or 2.
    OldVersion,
    /// keyUsage without keyCertSign.
    NoCertSign,
    /// A CA without keyUsage.
    NoKeyUsage,
    /// A CA whose basicConstraints are not critical.
    BasicConstraintsNotCritical,
    /// A CA without subjectKeyIdentifier.
    NoSubjectKeyId,
    /// Not the last of the chain, and without the key's identifier in authorityKeyIdentifier.
    NoAuthorityKeyId,
    /// authorityKeyIdentifier names another key than the issuer's subjectKeyIdentifier.
    OtherAuthorityKeyId,
    /// keyCertSign without `CA:TRUE`.
    CertSignWithoutCa,
    /// A path length without `CA:TRUE` and keyCertSign.
    PathLengthWithoutCa,
    /// No subject, and subjectAltName is not critical.
    NamelessUncritical,
    /// More intermediates follow than it allows.
    PathTooLong,
    /// extendedKeyUsage has neither serverAuth nor anyExtendedKeyUsage.
    OtherPurpose,
    /// extendedKeyUsage has anyExtendedKeyUsage, and not serverAuth.
    AnyPurpose,
    /// keyUsage has neither digitalSignature nor an exchange of keys.
    UselessKeyUsage,
    /// keyUsage exchanges keys, but lacks digitalSignature.
    NoDigitalSignature,
    /// The serial number is negative.
    NegativeSerial,
    /// Go cannot parse it, for another reason.
    UnreadableForGo(String),
    /// Java cannot parse it, perhaps.
    UnreadableForJava(String),
    /// rustls-webpki cannot parse it.
    UnreadableForRustls(String),
    /// OpenSSL takes it for no CA.
    UnreadableForOpenSsl(String),
    /// The key.
    Key(KeyKind),
    /// Its signature uses SHA-1.
    Sha1,
    /// Its signature uses MD5 or worse.
    Md5,
    /// Its signature cannot be verified by trustup: the algorithm.
    Unverifiable(String),
    /// The key of the certificate after it did not make its signature.
    OtherKey,
    /// A name below is not in its constraints.
    ViolatesName(String),
    /// A common name below is not.
    ViolatesCommonName(String),
    /// A subject below is not.
    ViolatesSubject,
    /// Its constraints, critical or not, have a directoryName.
    ConstrainsDirectory(bool),
    /// Its constraints exclude a directoryName.
    ExcludesDirectory,
    /// Its constraints, critical or not, have otherName or registeredID.
    ConstrainsOther(bool),
    /// Its constraints would be compared with an e-mail address or a URI.
    ConstraintsNotCompared,
    /// It requires policies, and certificates of the chain have none.
    RequiresPolicy,
    /// It requires policies, and some have them.
    PolicyNotCompared,
    /// It requires a stapled answer of OCSP, and the server sends none.
    MustStaple,
    /// It is a CA.
    CaAsServer,
    /// It is not for this host.
    WrongName(String),
}

/// What a library does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Ignores,
    Refuses,
    /// Not known here.
    Unknown,
}

/// The columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    OpenSsl,
    GnuTls,
    Go,
    Java,
    Rustls,
    Chromium,
    Firefox,
}

/// A row: in which positions (`S`, `I`, `R`, `A`) each library refuses; in small letters where that is not known. The
/// second column is what VERIFY_X509_STRICT adds to OpenSSL's own.
struct Row([&'static str; 8]);

/// The rows. Columns: OpenSSL, strict, GnuTLS, Go, Java, rustls, Chromium, Firefox.
#[rustfmt::skip]
fn row(fault: &Fault) -> Row {
    Row(match fault {
        //                                       OpenSSL  strict   GnuTLS   Go      Java    rustls  Chromium Firefox
        Fault::Expired(_)
        | Fault::NotYetValid(_)             => ["SIRA",   "",      "SIRA",  "SIRA", "SI",   "SIA",  "SIra",  "SIra"],
        // Of one that the library does not know.
        Fault::CriticalExtension(_)         => ["SIRA",   "",      "SIR",   "SIRA", "SI",   "SIRA", "SIra",  "SIra"],
        Fault::NotACa                       => ["IR",     "",      "IR",    "IR",   "IR",   "I",    "IR",    "IR"],
        Fault::NoBasicConstraints           => ["I",      "RA",    "I",     "IR",   "IR",   "I",    "Ir",    "Ir"],
        Fault::NothingSaysCa                => ["IR",     "",      "I",     "IR",   "IR",   "I",    "Ir",    "Ir"],
        Fault::OldVersion                   => ["I",      "RA",    "I",     "I",    "I",    "I",    "Ir",    "Ir"],
        Fault::NoCertSign                   => ["IR",     "",      "IR",    "IR",   "IR",   "",     "Ir",    "Ir"],
        Fault::NoKeyUsage                   => ["",       "IR",    "",      "",     "",     "",     "",      ""],
        Fault::BasicConstraintsNotCritical  => ["",       "SIR",   "",      "",     "",     "",     "",      ""],
        Fault::NoSubjectKeyId               => ["",       "SIR",   "",      "",     "",     "",     "",      ""],
        Fault::NoAuthorityKeyId             => ["",       "SI",    "",      "",     "",     "",     "",      ""],
        Fault::OtherAuthorityKeyId          => ["SI",     "",      "si",    "",     "SI",   "",     "si",    "si"],
        Fault::CertSignWithoutCa            => ["",       "S",     "",      "",     "",     "",     "s",     "s"],
        Fault::PathLengthWithoutCa          => ["",       "SIR",   "",      "",     "",     "",     "sir",   "sir"],
        Fault::NamelessUncritical           => ["",       "S",     "",      "",     "S",    "",     "",      "s"],
        Fault::PathTooLong                  => ["IR",     "",      "IR",    "IR",   "I",    "I",    "Ir",    "Ir"],
        Fault::OtherPurpose                 => ["SIRA",   "",      "SIA",   "SIRA", "S",    "SIA",  "SIra",  "SIra"],
        Fault::AnyPurpose                   => ["SIRA",   "",      "I",     "",     "",     "SIA",  "",      "SIra"],
        Fault::UselessKeyUsage              => ["SA",     "",      "SA",    "",     "Sa",   "",     "Sa",    "Sa"],
        Fault::NoDigitalSignature           => ["",       "",      "SA",    "",     "Sa",   "",     "sa",    "sa"],
        Fault::NegativeSerial               => ["",       "",      "",      "SIRA", "",     "",     "sira",  "sira"],
        Fault::UnreadableForGo(_)           => ["",       "",      "",      "SIRA", "",     "",     "sira",  "sira"],
        Fault::UnreadableForJava(_)         => ["",       "",      "",      "",     "sira", "",     "sira",  "sira"],
        Fault::UnreadableForRustls(_)       => ["",       "",      "",      "",     "",     "SIRA", "sira",  "sira"],
        Fault::UnreadableForOpenSsl(_)      => ["IR",     "",      "",      "",     "",     "",     "sira",  "sira"],
        Fault::Key(KeyKind::Rsa(bits)) if *bits < 1024
                                            => ["SIRA",   "",      "SIRA",  "SIRA", "SIRA", "SIRA", "SIRA",  "SIRA"],
        Fault::Key(KeyKind::Rsa(bits)) if *bits < 2048
                                            => ["SIRA",   "",      "",      "",     "",     "SIRA", "sira",  "sira"],
        Fault::Key(KeyKind::RsaPss(_))      => ["",       "",      "",      "SIRA", "",     "SIRA", "SIRA",  "SIRA"],
        // ring has no P-521, aws-lc has.
        Fault::Key(KeyKind::P521)           => ["",       "",      "",      "",     "",     "sira", "Sira",  "sira"],
        Fault::Key(KeyKind::OtherCurve(_))  => ["sa",     "",      "SIRA",  "SIRA", "SIRa", "SIRA", "SIRA",  "SIRA"],
        Fault::Key(KeyKind::ExplicitCurve)  => ["SIRA",   "",      "SIRA",  "SIRA", "SIRa", "SIRA", "SIRA",  "SIRA"],
        Fault::Key(KeyKind::Ed25519)        => ["",       "",      "",      "",     "",     "",     "SIRA",  "SIRA"],
        Fault::Key(KeyKind::Other(_))       => ["sira",   "",      "sira",  "SIRA", "sira", "SIRA", "SIRA",  "SIRA"],
        Fault::Key(_)                       => ["",       "",      "",      "",     "",     "",     "",      ""],
        // A root's own signature is verified by none.
        Fault::Sha1                         => ["SI",     "",      "SI",    "SI",   "",     "SI",   "SI",    "SI"],
        Fault::Md5                          => ["SI",     "",      "SI",    "SI",   "SI",   "SI",   "SI",    "SI"],
        Fault::Unverifiable(_)              => ["si",     "",      "si",    "si",   "si",   "si",   "si",    "si"],
        Fault::OtherKey                     => ["SI",     "",      "SI",    "SI",   "SI",   "SI",   "SI",    "SI"],
        // Java applies the constraints of intermediates, not those of roots.
        Fault::ViolatesName(_)              => ["IR",     "",      "IR",    "IR",   "I",    "IR",   "IR",    "IR"],
        Fault::ViolatesCommonName(_)        => ["",       "",      "IR",    "",     "i",    "",     "",      ""],
        Fault::ViolatesSubject              => ["IR",     "",      "",      "",     "I",    "IR",   "IR",    "IR"],
        // webpki refuses them whatever the subject; Go only if they are critical, see `effect`.
        Fault::ConstrainsDirectory(_)       => ["",       "",      "",      "IR",   "",     "IR",   "",      ""],
        Fault::ExcludesDirectory            => ["",       "",      "IR",    "",     "",     "",     "",      ""],
        Fault::ConstrainsOther(_)           => ["",       "",      "IR",    "IR",   "i",    "ir",   "ir",    "ir"],
        Fault::ConstraintsNotCompared       => ["ir",     "",      "ir",    "ir",   "i",    "ir",   "ir",    "ir"],
        Fault::RequiresPolicy               => ["",       "",      "",      "I",    "I",    "",     "I",     "i"],
        Fault::PolicyNotCompared            => ["",       "",      "",      "i",    "i",    "",     "i",     "i"],
        Fault::MustStaple                   => ["",       "",      "SA",    "",     "",     "",     "",      "SA"],
        Fault::CaAsServer                   => ["",       "",      "",      "",     "",     "SA",   "s",     "SA"],
        Fault::WrongName(_)                 => ["SA",     "",      "SA",    "SA",   "SA",   "SA",   "SA",    "SA"],
    })
}

/// A library as a program uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    column: Column,
    strict: bool,
    /// Any certificate in the store ends a chain, not only one that signed itself.
    pub(super) partial_chain: bool,
    /// OpenSSL's security level; `None`: not known.
    level: Option<u8>,
    version: Option<Version>,
    /// Go takes negative serial numbers.
    takes_negative: Option<bool>,
    /// The program checks extendedKeyUsage, and keyUsage; `None`: not known.
    purposes: Option<bool>,
    usages: Option<bool>,
    /// In sentences.
    pub(super) words: String,
}

/// Since this Go, a negative serial number is an error of parsing.
const GO_REFUSES_NEGATIVE: Version = (1, 23);

impl Rules {
    /// The rules of `library` in `client` (a row of doctor's table), on a distribution (a row of its table). `None`: its
    /// rules are not known here.
    pub(crate) fn of(library: &TlsLibrary, client: &str, distribution: &str) -> Option<Rules> {
        let plain = |column| Rules {
            column,
            strict: false,
            partial_chain: true,
            level: None,
            version: None,
            takes_negative: None,
            purposes: Some(true),
            usages: Some(true),
            words: library.shown(),
        };
        Some(match library {
            TlsLibrary::OpenSsl { version, strict, partial_chain } => {
                // Debian builds 3.0 with level 2; 3.2 has it itself; CPython asks for it in its list of ciphers.
                let is_of_debian = distribution == "debian" && !matches!(client, "node" | "cargo");
                let is_two = *version >= Some((3, 2)) || is_of_debian || client == "python" || *strict;
                Rules {
                    strict: *strict,
                    partial_chain: *partial_chain,
                    level: is_two.then_some(2),
                    version: *version,
                    ..plain(Column::OpenSsl)
                }
            }
            TlsLibrary::GnuTls => {
                // Programs that do not name a purpose to GnuTLS check none: seen with wget, and libcurl in git.
                let (purposes, usages) = match client {
                    "gnutls" => (Some(true), Some(true)),
                    "curl" | "git" => (Some(false), Some(true)),
                    "wget" => (Some(false), Some(false)),
                    _ => (None, None),
                };
                Rules { purposes, usages, ..plain(Column::GnuTls) }
            }
            TlsLibrary::Go { version, debug } => {
                let switched = debug.iter().any(|one| one == "x509negativeserial=1");
                let takes_negative =
                    if switched { Some(true) } else { version.map(|version| version < GO_REFUSES_NEGATIVE) };
                Rules { version: *version, takes_negative, ..plain(Column::Go) }
            }
            TlsLibrary::Java { .. } => plain(Column::Java),
            TlsLibrary::Rustls => plain(Column::Rustls),
            TlsLibrary::Chromium => plain(Column::Chromium),
            TlsLibrary::MozillaPkix => plain(Column::Firefox),
            TlsLibrary::Nss
            | TlsLibrary::MbedTls
            | TlsLibrary::WolfSsl
            | TlsLibrary::Unverified
            | TlsLibrary::Unknown => return None,
        })
    }

    /// Whether it takes the first fitting issuer, one of the store before one that the server sends, instead of trying
    /// all.
    pub(super) fn takes_first(&self) -> bool {
        self.column == Column::OpenSsl
    }

    /// Whether it does not try every issuer that fits, so that the first decides, whichever that is: OpenSSL, and GnuTLS
    /// (3.7 refuses where 3.8 accepts).
    pub(super) fn may_miss_issuers(&self) -> bool {
        matches!(self.column, Column::OpenSsl | Column::GnuTls)
    }

    /// Whether an issuer must have the identifier that the certificate names.
    pub(super) fn compares_key_ids(&self) -> bool {
        matches!(self.column, Column::OpenSsl | Column::GnuTls | Column::Java)
    }

    /// Whether a server's certificate that is in the store is enough, although another key signed it.
    pub(super) fn takes_servers(&self) -> bool {
        match self.column {
            Column::OpenSsl => self.partial_chain,
            Column::GnuTls | Column::Go | Column::Java => true,
            Column::Rustls | Column::Chromium | Column::Firefox => false,
        }
    }

    /// What it does about a fault in a certificate in this position.
    pub(crate) fn effect(&self, fault: &Fault, position: Position) -> Effect {
        let Row([openssl, strict, gnutls, go, java, rustls, chromium, firefox]) = row(fault);
        let cells = match self.column {
            Column::OpenSsl if self.strict => [openssl, strict],
            Column::OpenSsl => [openssl, ""],
            Column::GnuTls => [gnutls, ""],
            Column::Go => [go, ""],
            Column::Java => [java, ""],
            Column::Rustls => [rustls, ""],
            Column::Chromium => [chromium, ""],
            Column::Firefox => [firefox, ""],
        };
        let letter = position.letter();
        let effect = if cells.iter().any(|cell| cell.contains(letter)) {
            Effect::Refuses
        } else if cells.iter().any(|cell| cell.contains(letter.to_ascii_lowercase())) {
            Effect::Unknown
        } else {
            return Effect::Ignores;
        };
        self.refined(fault, effect)
    }

    /// The same, where more than the position matters.
    fn refined(&self, fault: &Fault, effect: Effect) -> Effect {
        let is = |known: Option<bool>| match known {
            Some(true) => effect,
            Some(false) => Effect::Ignores,
            None => Effect::Unknown,
        };
        match (fault, self.column) {
            (Fault::CriticalExtension(oid), column) => match knows(column, oid) {
                Some(true) => Effect::Ignores,
                Some(false) => effect,
                None => Effect::Unknown,
            },
            (Fault::OtherPurpose | Fault::AnyPurpose, Column::GnuTls) => is(self.purposes),
            (Fault::UselessKeyUsage | Fault::NoDigitalSignature, Column::GnuTls) => is(self.usages),
            // Level 1 wants 80 bits, level 2 112; SHA-1 has fewer than 80 since OpenSSL 3.0.
            (Fault::Key(KeyKind::Rsa(1024..)), Column::OpenSsl) => is(self.level.map(|level| level >= 2)),
            (Fault::Sha1 | Fault::Key(KeyKind::ExplicitCurve), Column::OpenSsl) => {
                is((self.level == Some(2) || self.version >= Some((3, 0))).then_some(true))
            }
            (Fault::ConstrainsDirectory(false) | Fault::ConstrainsOther(false), Column::Go) => {
                Effect::Ignores
            }
            (Fault::NegativeSerial, Column::Go) => is(self.takes_negative.map(|takes| !takes)),
            _ => effect,
        }
    }
}

/// Object identifiers below 2.5.29 (the arc of X.509's extensions), by their last arc.
const KEY_USAGE: u8 = 15;
const ALT_NAME: u8 = 17;
const BASIC: u8 = 19;
const NAME_CONSTRAINTS: u8 = 30;
const CRL_POINTS: u8 = 31;
const POLICIES: u8 = 32;
const MAPPINGS: u8 = 33;
const POLICY_CONSTRAINTS: u8 = 36;
const PURPOSES: u8 = 37;
const INHIBIT_ANY: u8 = 54;
const SUBJECT_KEY_ID: u8 = 14;
const AUTHORITY_KEY_ID: u8 = 35;

/// Whether a library processes an extension, so that it may be critical.
fn knows(column: Column, oid: &[u8]) -> Option<bool> {
    const ALL: [u8; 7] = [KEY_USAGE, ALT_NAME, BASIC, NAME_CONSTRAINTS, PURPOSES, POLICIES, INHIBIT_ANY];
    let [0x55, 0x1d, last] = oid else {
        // Private ones are known to nobody; those of PKIX, Netscape and RFC 7633 to some.
        let is_standard = oid.starts_with(&[0x2b, 6, 1, 5, 5, 7, 1])
            || oid.starts_with(&[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42]);
        return (!is_standard).then_some(false);
    };
    match column {
        // crypto/x509/v3_purp.c, supported_nids
        Column::OpenSsl => {
            Some(ALL.contains(last) || [CRL_POINTS, MAPPINGS, POLICY_CONSTRAINTS].contains(last))
        }
        Column::GnuTls if *last == POLICY_CONSTRAINTS => Some(false),
        Column::GnuTls => {
            (ALL.contains(last) || [SUBJECT_KEY_ID, AUTHORITY_KEY_ID].contains(last)).then_some(true)
        }
        // crypto/x509/parser.go; a critical identifier is an error of parsing.
        Column::Go => Some(
            ALL.contains(last)
                || [CRL_POINTS, MAPPINGS, POLICY_CONSTRAINTS, SUBJECT_KEY_ID, AUTHORITY_KEY_ID]
                    .contains(last),
        ),
        Column::Java => (ALL.contains(last) || [MAPPINGS, POLICY_CONSTRAINTS].contains(last)).then_some(true),
        // rustls-webpki, cert.rs
        Column::Rustls => {
            Some([KEY_USAGE, ALT_NAME, BASIC, NAME_CONSTRAINTS, PURPOSES, CRL_POINTS].contains(last))
        }
        Column::Chromium => {
            (ALL.contains(last) || [MAPPINGS, POLICY_CONSTRAINTS].contains(last)).then_some(true)
        }
        Column::Firefox => {
            [KEY_USAGE, ALT_NAME, BASIC, NAME_CONSTRAINTS, PURPOSES, POLICIES].contains(last).then_some(true)
        }
    }
}
