//! JKS, Java's own format: big-endian, entries one after the other, a SHA-1 over password and contents at the end (the
//! source is `sun.security.provider.JavaKeyStore`). Entries are kept as they were read; private keys are never parsed.

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::{EntryContent, KeystoreEntry, KeystoreProblem, StorePassword};
use crate::pki::cert::{Certificate, CertificateCache};

/// The magic number at the beginning of the file.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// The text in the checksum between password and contents.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const CHECKSUM: usize = 20;
const PRIVATE_KEY: u32 = 1;
const TRUSTED: u32 = 2;
const X509: &str = "X.509";

/// A file's version and its entries; without a password the checksum is not checked, as in Java.
pub(super) fn read(
    bytes: &[u8],
    password: Option<&StorePassword>,
    cache: &CertificateCache,
) -> Result<(u32, Vec<KeystoreEntry>), KeystoreProblem> {
    let (content, checksum) = bytes
        .len()
        .checked_sub(CHECKSUM)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(KeystoreProblem::damaged("it is cut off"))?;
    let mut reader = JksReader(content);
    reader.bytes(MAGIC.len()).ok_or(KeystoreProblem::damaged("it is cut off"))?;
    let version = reader.u32().ok_or(KeystoreProblem::damaged("it is cut off"))?;
    if !matches!(version, 1 | 2) {
        return Err(KeystoreProblem::Unsupported(format!("JKS of version {version}")));
    }
    let entries = reader.entries(version, cache).ok_or(KeystoreProblem::damaged("the entries"))?;
    if password.is_some_and(|password| checksum_of(content, password) != checksum) {
        return Err(KeystoreProblem::WrongPassword);
    }
    Ok((version, entries))
}

/// The file of these entries.
pub(super) fn write(version: u32, entries: &[KeystoreEntry], password: &StorePassword) -> Vec<u8> {
    let mut file = content(version, entries);
    let checksum = checksum_of(&file, password);
    file.extend(checksum);
    file
}

/// Whether `bytes`, whose checksum is right, are the file of these entries.
pub(super) fn is_file_of(bytes: &[u8], version: u32, entries: &[KeystoreEntry]) -> bool {
    bytes.len().checked_sub(CHECKSUM).is_some_and(|at| bytes[..at] == content(version, entries))
}

/// What comes before the checksum.
fn content(version: u32, entries: &[KeystoreEntry]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(version.to_be_bytes());
    // Each entry has more than eight bytes of a file that is in memory, and the file's own count was one of these.
    file.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    entries.iter().for_each(|entry| file.extend_from_slice(&entry.raw));
    file
}

/// A trusted certificate's entry.
pub(super) fn entry(
    version: u32,
    alias: &str,
    certificate: &Certificate,
    date: i64,
) -> Result<KeystoreEntry, KeystoreProblem> {
    let mut raw = TRUSTED.to_be_bytes().to_vec();
    push_utf(&mut raw, alias).ok_or_else(|| KeystoreProblem::Alias(alias.to_owned()))?;
    raw.extend(date.to_be_bytes());
    if version > 1 {
        push_utf(&mut raw, X509).ok_or_else(|| KeystoreProblem::Alias(X509.to_owned()))?;
    }
    // `Certificate` bounds its size.
    raw.extend(u32::try_from(certificate.der().len()).unwrap_or(u32::MAX).to_be_bytes());
    raw.extend(certificate.der());
    Ok(KeystoreEntry {
        alias: alias.to_owned(),
        date: Some(date),
        content: EntryContent::Trusted {
            der: certificate.der().to_vec(),
            fingerprint: certificate.fingerprint(),
        },
        raw: Zeroizing::new(raw),
        safe: 0,
        is_certificate: true,
    })
}

fn checksum_of(content: &[u8], password: &StorePassword) -> [u8; CHECKSUM] {
    let digest = Sha1::new().chain_update(&*password.utf_16()).chain_update(WHITENER);
    digest.chain_update(content).finalize().into()
}

/// Reads from the front; lengths are checked against what remains.
struct JksReader<'a>(&'a [u8]);

impl<'a> JksReader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Bytes after their length.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.u32()?).ok()?;
        self.bytes(count)
    }

    /// A string as Java's `writeUTF` writes it.
    fn utf(&mut self) -> Option<String> {
        let count = self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)?;
        decode_utf(self.bytes(count.into())?)
    }

    fn entries(&mut self, version: u32, cache: &CertificateCache) -> Option<Vec<KeystoreEntry>> {
        let count = self.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(self.entry(version, cache)?);
        }
        self.0.is_empty().then_some(entries)
    }

    fn entry(&mut self, version: u32, cache: &CertificateCache) -> Option<KeystoreEntry> {
        let start = self.0;
        let tag = self.u32()?;
        let alias = self.utf()?;
        let date = self.bytes(8)?.try_into().ok().map(i64::from_be_bytes)?;
        let content = match tag {
            PRIVATE_KEY => {
                self.counted()?;
                for _ in 0..self.u32()? {
                    self.certificate(version)?;
                }
                EntryContent::PrivateKey
            }
            TRUSTED => match self.certificate(version)? {
                (kind, der) if kind == X509 => EntryContent::trusted(der, cache),
                _ => EntryContent::Other,
            },
            _ => return None,
        };
        let raw = Zeroizing::new(start[..start.len() - self.0.len()].to_vec());
        let is_certificate = tag == TRUSTED;
        Some(KeystoreEntry { alias, date: Some(date), content, raw, safe: 0, is_certificate })
    }

    /// A certificate's type, which is present since version 2, and its bytes.
    fn certificate(&mut self, version: u32) -> Option<(String, &'a [u8])> {
        let kind = if version > 1 { self.utf()? } else { X509.to_owned() };
        Some((kind, self.counted()?))
    }
}

/// Java's modified UTF-8: UTF-16 units of one to three bytes each, zero in two. Half a pair reads as U+FFFD.
fn decode_utf(bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let more = match first {
            0..=0x7f => 0,
            0xc0..=0xdf => 1,
            0xe0..=0xef => 2,
            _ => return None,
        };
        let (tail, behind) = behind.split_at_checked(more)?;
        let mut unit = u16::from(if more == 0 { first } else { first & (0x3f >> more) });
        for byte in tail {
            if byte & 0xc0 != 0x80 {
                return None;
            }
            unit = unit << 6 | u16::from(byte & 0x3f);
        }
        units.push(unit);
        rest = behind;
    }
    Some(String::from_utf16_lossy(&units))
}

/// Appends a string with its length; `None` if it is too long for two bytes of length.
fn push_utf(into: &mut Vec<u8>, text: &str) -> Option<()> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let low = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
        match unit {
            1..=0x7f => bytes.push(unit as u8),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, low(0)]),
            _ => bytes.extend([0xe0 | (unit >> 12) as u8, low(6), low(0)]),
        }
    }
    into.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
    into.extend(bytes);
    Some(())
}
