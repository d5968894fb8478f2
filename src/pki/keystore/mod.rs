//! Java's keystores without Java: JKS and PKCS#12 are read, and written again with trusted certificates added or
//! removed. Format, password, and every other entry stay, byte for byte if the format allows it.
//!
//! Bytes in, bytes out: nothing here reads files, the clock or a source of randomness, and nothing decrypts a private
//! key. Input is untrusted: lengths are checked against the actual size, iteration counts are bounded before a key is
//! derived (threat T19), passwords and keys are wiped and never shown.

use std::fmt;

use x509_parser::der_parser::oid::Oid;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::pki::cert::{Certificate, CertificateCache};
use crate::pki::fingerprint::Fingerprint;

mod alias;
mod jks;
mod kdf;
mod mac;
pub mod p11_kit;
mod pbe;
mod pkcs12;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use alias::alias_for;
pub(crate) use alias::p11_alias;

/// The source of salts: fills the slice.
pub(crate) type SaltSource<'a> = &'a mut dyn FnMut(&mut [u8]) -> crate::error::Result<()>;

/// The format of a keystore; a changed one keeps its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeystoreFormat {
    /// Java's own, with a checksum over the password: what every JDK reads.
    Jks,
    /// PKCS#12 without MAC and without encryption, as in JDK 18 and later: opens with any password.
    Pkcs12Plain,
    /// PKCS#12 with a MAC or encrypted parts.
    Pkcs12,
}

impl KeystoreFormat {
    /// The format of `bytes`, as far as it can be determined without a password.
    pub fn of(bytes: &[u8]) -> Result<KeystoreFormat, KeystoreProblem> {
        let unsupported = |what: &str| Err(KeystoreProblem::Unsupported(what.to_owned()));
        match bytes {
            [0xfe, 0xed, 0xfe, 0xed, ..] => Ok(KeystoreFormat::Jks),
            [0x30, ..] => pkcs12::format(bytes),
            [0xce, 0xce, 0xce, 0xce, ..] => unsupported("JCEKS"),
            // Bouncy Castle writes its version first.
            [0, 0, 0, 1 | 2, ..] => unsupported("BKS"),
            _ => Err(KeystoreProblem::NotAKeystore),
        }
    }
}

/// A keystore's password; wiped when it is dropped, never shown.
#[derive(Clone)]
pub struct StorePassword(Zeroizing<String>);

impl StorePassword {
    /// This one.
    pub fn new(text: String) -> StorePassword {
        StorePassword(Zeroizing::new(text))
    }

    fn text(&self) -> &str {
        &self.0
    }

    /// UTF-16, big-endian.
    fn utf_16(&self) -> Zeroizing<Vec<u8>> {
        // Capacity for the final zero that PKCS#12 appends, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * self.0.len() + 2));
        bytes.extend(self.0.encode_utf16().flat_map(u16::to_be_bytes));
        bytes
    }
}

impl Default for StorePassword {
    /// Java's own: `changeit`.
    fn default() -> StorePassword {
        StorePassword::new("changeit".to_owned())
    }
}

impl fmt::Debug for StorePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Why a keystore cannot be read or changed; nothing has been touched then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeystoreProblem {
    /// Neither JKS nor PKCS#12, nor a kind that is known to be unsupported.
    NotAKeystore,
    /// A kind of keystore, or an algorithm in one, that is known not to be supported: which.
    Unsupported(String),
    /// The password is wrong; or the file was changed without its checksum, which cannot be distinguished.
    WrongPassword,
    /// Broken: which part.
    Damaged(&'static str),
    /// Would take too long: more than five million iterations.
    TooCostly,
    /// Another entry has this alias, or it is too long.
    Alias(String),
}

impl KeystoreProblem {
    fn damaged(part: &'static str) -> KeystoreProblem {
        KeystoreProblem::Damaged(part)
    }

    /// An algorithm (`oid` is the content of its object identifier) that is not supported.
    fn algorithm(what: &str, oid: &[u8]) -> KeystoreProblem {
        let dotted = Oid::new(oid.into()).to_id_string();
        KeystoreProblem::Unsupported(format!("the {what} algorithm {}", crate::text::escape(&dotted)))
    }

    /// For people, with what to do next; name the file with [`Error::at`].
    pub fn into_error(self) -> Error {
        let what = self.to_string();
        match self {
            KeystoreProblem::WrongPassword => {
                Error::usage(what).hint("give the file that holds the password: `--java-storepass-file FILE`")
            }
            KeystoreProblem::Unsupported(_) => Error::unsupported(what)
                .hint("`keytool -importkeystore -srckeystore FILE -destkeystore NEW -deststoretype PKCS12` converts it to a supported format"),
            KeystoreProblem::TooCostly => Error::unsupported(what),
            KeystoreProblem::NotAKeystore | KeystoreProblem::Damaged(_) | KeystoreProblem::Alias(_) => {
                Error::failed(what)
            }
        }
    }
}

impl fmt::Display for KeystoreProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeystoreProblem::NotAKeystore => f.write_str("neither a JKS nor a PKCS#12 keystore"),
            KeystoreProblem::Unsupported(what) => write!(f, "keystores with {what} are not supported"),
            KeystoreProblem::WrongPassword => {
                f.write_str("the keystore's password is wrong, or the file is damaged")
            }
            KeystoreProblem::Damaged(part) => write!(f, "the keystore is damaged: {part}"),
            KeystoreProblem::TooCostly => {
                write!(f, "the keystore asks for more than {} iterations", pbe::MOST_ITERATIONS)
            }
            KeystoreProblem::Alias(alias) => {
                write!(f, "the keystore cannot take an entry named `{}`", crate::text::escape(alias))
            }
        }
    }
}

/// The content of an entry.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryContent {
    /// A certificate that Java trusts.
    Trusted {
        /// Its DER, unchecked.
        der: Vec<u8>,
        /// SHA-256 over that.
        fingerprint: Fingerprint,
    },
    /// A private key, with its chain in a JKS.
    PrivateKey,
    /// Something else: in PKCS#12 a certificate of a chain, or one that Java does not trust.
    Other,
}

impl EntryContent {
    fn trusted(der: &[u8], cache: &CertificateCache) -> EntryContent {
        EntryContent::Trusted { der: der.to_vec(), fingerprint: cache.der(der).fingerprint() }
    }
}

/// One entry, or one bag of a PKCS#12 file.
#[derive(Clone)]
pub struct KeystoreEntry {
    alias: String,
    date: Option<i64>,
    pub(crate) content: EntryContent,
    /// As encoded in the file, or in its decrypted part.
    raw: Zeroizing<Vec<u8>>,
    /// The part of a PKCS#12 file that contains it.
    safe: usize,
    /// Whether it holds a certificate, trusted or not, and nothing else.
    is_certificate: bool,
}

impl KeystoreEntry {
    /// Its name, raw: it may hold any character. Empty if it has none.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// When it was made, in milliseconds since 1970; PKCS#12 has none for certificates.
    pub fn date(&self) -> Option<i64> {
        self.date
    }

    /// Its content.
    pub fn content(&self) -> &EntryContent {
        &self.content
    }

    /// The DER of its certificate, trusted by Java or not, if it has one and no private key.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        match &self.content {
            EntryContent::Trusted { der, .. } => Some(der),
            EntryContent::Other if self.is_certificate => pkcs12::certificate_of_bag(&self.raw),
            EntryContent::PrivateKey | EntryContent::Other => None,
        }
    }

    /// The fingerprint of a trusted certificate.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match self.content {
            EntryContent::Trusted { fingerprint, .. } => Some(fingerprint),
            EntryContent::PrivateKey | EntryContent::Other => None,
        }
    }
}

impl fmt::Debug for KeystoreEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.content {
            EntryContent::Trusted { fingerprint, .. } => fingerprint.short(16),
            EntryContent::PrivateKey => "private key".to_owned(),
            EntryContent::Other => "other".to_owned(),
        };
        write!(f, "Entry({:?} {kind})", self.alias)
    }
}

/// A keystore in memory.
pub struct Keystore {
    format: KeystoreFormat,
    password: StorePassword,
    pub(crate) entries: Vec<KeystoreEntry>,
    frame: Frame,
}

/// The structure around the entries.
enum Frame {
    Jks { version: u32 },
    Pkcs12(pkcs12::Pfx),
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({:?} {:?})", self.format, self.entries)
    }
}

pub(crate) fn read_without_password(bytes: &[u8]) -> Result<Vec<KeystoreEntry>, KeystoreProblem> {
    match KeystoreFormat::of(bytes)? {
        KeystoreFormat::Jks => Ok(jks::read(bytes, None, &CertificateCache::default())?.1),
        KeystoreFormat::Pkcs12Plain | KeystoreFormat::Pkcs12 => pkcs12::read_plain(bytes),
    }
}

impl Keystore {
    /// An empty JKS with the password `changeit`.
    pub fn new_jks() -> Keystore {
        Keystore {
            format: KeystoreFormat::Jks,
            password: StorePassword::default(),
            entries: Vec::new(),
            frame: Frame::Jks { version: 2 },
        }
    }

    /// Reads a keystore; [`KeystoreFormat::Pkcs12Plain`] opens with any password.
    pub fn parse(bytes: &[u8], password: &StorePassword) -> Result<Keystore, KeystoreProblem> {
        Keystore::parse_with(bytes, password, &CertificateCache::default())
    }

    fn parse_with(
        bytes: &[u8],
        password: &StorePassword,
        cache: &CertificateCache,
    ) -> Result<Keystore, KeystoreProblem> {
        let format = KeystoreFormat::of(bytes)?;
        let (frame, entries) = match format {
            KeystoreFormat::Jks => {
                let (version, entries) = jks::read(bytes, Some(password), cache)?;
                (Frame::Jks { version }, entries)
            }
            KeystoreFormat::Pkcs12Plain | KeystoreFormat::Pkcs12 => {
                let (pfx, entries) = pkcs12::Pfx::read(bytes, password)?;
                (Frame::Pkcs12(pfx), entries)
            }
        };
        Ok(Keystore { format, password: password.clone(), entries, frame })
    }

    /// The most iterations of key derivation that one [`Keystore::parse`] of these bytes takes, or one
    /// [`Keystore::to_bytes`] of its result; nothing is derived. 0 for what cannot be parsed.
    pub(crate) fn cost(bytes: &[u8]) -> u64 {
        match KeystoreFormat::of(bytes) {
            Ok(KeystoreFormat::Pkcs12) => pkcs12::cost(bytes).unwrap_or(0),
            _ => 0,
        }
    }

    /// Reads a keystore that Java reads whole when it opens `cacerts`, without a password, and that can be changed
    /// without randomness: a JKS with `changeit`, or PKCS#12 without MAC and encryption.
    pub(crate) fn parse_cacerts(bytes: &[u8]) -> Result<Keystore, KeystoreProblem> {
        Keystore::parse_cacerts_with(bytes, &CertificateCache::default())
    }

    /// The same with what was parsed before.
    pub(crate) fn parse_cacerts_with(
        bytes: &[u8],
        cache: &CertificateCache,
    ) -> Result<Keystore, KeystoreProblem> {
        match KeystoreFormat::of(bytes)? {
            KeystoreFormat::Jks | KeystoreFormat::Pkcs12Plain => {
                Keystore::parse_with(bytes, &StorePassword::default(), cache)
            }
            KeystoreFormat::Pkcs12 => {
                Err(KeystoreProblem::Unsupported("a MAC or encrypted entries".to_owned()))
            }
        }
    }

    /// The fingerprints of the certificates that a Java trusts that opens the file like `cacerts`: without a password.
    /// That is all of a JKS, whatever its password, and the unencrypted part of PKCS#12, often nothing.
    pub fn trusted_without_password(bytes: &[u8]) -> Result<Vec<Fingerprint>, KeystoreProblem> {
        Ok(read_without_password(bytes)?.iter().filter_map(KeystoreEntry::fingerprint).collect())
    }

    /// The same certificates; what cannot be parsed is omitted.
    pub(crate) fn roots_without_password(bytes: &[u8]) -> Result<Vec<Certificate>, KeystoreProblem> {
        let entries = read_without_password(bytes)?;
        let ders = entries.iter().filter_map(|entry| match entry.content() {
            EntryContent::Trusted { der, .. } => Some(der),
            EntryContent::PrivateKey | EntryContent::Other => None,
        });
        Ok(ders.filter_map(|der| Certificate::from_der(der).ok()).collect())
    }

    /// Its format.
    pub fn format(&self) -> KeystoreFormat {
        self.format
    }

    /// All entries, in file order.
    pub fn entries(&self) -> &[KeystoreEntry] {
        &self.entries
    }

    /// The fingerprints of the certificates that Java trusts, in file order.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.entries.iter().filter_map(KeystoreEntry::fingerprint).collect()
    }

    /// Adds a certificate that Java should trust; `date` in milliseconds since 1970, if the format keeps one. `false`
    /// if it is there already, under any alias.
    pub fn add(
        &mut self,
        alias: &str,
        certificate: &Certificate,
        date: i64,
    ) -> Result<bool, KeystoreProblem> {
        if self.fingerprints().contains(&certificate.fingerprint()) {
            return Ok(false);
        }
        // Java looks entries up without case.
        let lower = alias.to_lowercase();
        if self.entries.iter().any(|entry| entry.alias.to_lowercase() == lower) {
            return Err(KeystoreProblem::Alias(alias.to_owned()));
        }
        match &mut self.frame {
            Frame::Jks { version } => self.entries.push(jks::entry(*version, alias, certificate, date)?),
            Frame::Pkcs12(pfx) => pfx.add(&mut self.entries, alias, certificate)?,
        }
        Ok(true)
    }

    /// Removes each entry in which Java trusts this certificate; returns their number. Nothing else is ever removed.
    pub fn remove(&mut self, fingerprint: &Fingerprint) -> usize {
        let is_gone = |entry: &KeystoreEntry| entry.fingerprint().as_ref() == Some(fingerprint);
        let before = self.entries.len();
        if let Frame::Pkcs12(pfx) = &mut self.frame {
            self.entries.iter().filter(|entry| is_gone(entry)).for_each(|entry| pfx.removed(entry.safe));
        }
        self.entries.retain(|entry| !is_gone(entry));
        before - self.entries.len()
    }

    /// The file. What did not change is as it was read; `random` is asked for salts if something encrypted or signed
    /// changed.
    pub fn to_bytes(&self, random: SaltSource<'_>) -> crate::error::Result<Vec<u8>> {
        match &self.frame {
            Frame::Jks { version } => Ok(jks::write(*version, &self.entries, &self.password)),
            Frame::Pkcs12(pfx) => pfx.write(&self.entries, random),
        }
    }
}
