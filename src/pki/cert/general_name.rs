//! GeneralName (RFC 5280 section 4.2.1.6) as it is encoded, for the checks of form and of readers. Only kinds that
//! programs for TLS read: X.400 addresses and EDI party names are not, and GnuTLS refuses a whole bundle for one.

use super::der::{self, DerReader, Tlv};
use super::primitives::{is_name, is_oid};

/// One name of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GeneralName<'a> {
    /// rfc822Name.
    Email(&'a [u8]),
    /// dNSName.
    Dns(&'a [u8]),
    /// uniformResourceIdentifier.
    Uri(&'a [u8]),
    /// iPAddress: 4 or 16 bytes, in a constraint each with its mask.
    Ip(&'a [u8]),
    /// directoryName: the content of the Name.
    Directory(&'a [u8]),
    /// otherName and registeredID, which readers only parse.
    Other,
}

impl<'a> GeneralName<'a> {
    /// Reads one name; `None` if it is malformed, or of a kind that programs do not read.
    pub(super) fn read(name: &Tlv<'a>) -> Option<GeneralName<'a>> {
        match name.tag {
            0x81 => Some(GeneralName::Email(name.body)),
            0x82 => Some(GeneralName::Dns(name.body)),
            0x86 => Some(GeneralName::Uri(name.body)),
            0x87 => Some(GeneralName::Ip(name.body)),
            0x88 => is_oid(name).then_some(GeneralName::Other),
            // A Name is a choice, so its tag is explicit.
            0xa4 => {
                let name = der::only(name.body, der::SEQUENCE).filter(is_name)?;
                Some(GeneralName::Directory(name.body))
            }
            0xa0 => {
                let mut parts = DerReader::new(name.body);
                parts.take(der::OID).filter(is_oid)?;
                let value = parts.take(der::CONTEXT_0).filter(|_| parts.is_empty())?;
                is_one(value.body).then_some(GeneralName::Other)
            }
            _ => None,
        }
    }

    /// Whether it is valid as a name, and not only as a constraint: GnuTLS refuses a whole bundle for an empty one.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            GeneralName::Email(text) | GeneralName::Dns(text) | GeneralName::Uri(text) => !text.is_empty(),
            GeneralName::Ip(address) => matches!(address.len(), 4 | 16),
            GeneralName::Directory(_) | GeneralName::Other => true,
        }
    }
}

/// Whether `bytes` are exactly one element.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let mut reader = DerReader::new(bytes);
    reader.next().is_some() && reader.is_empty()
}

/// The names of a GeneralNames body, at least one; `None` if one of them is malformed.
pub(super) fn read_all(body: &[u8]) -> Option<Vec<GeneralName<'_>>> {
    let mut names = Vec::new();
    let mut reader = DerReader::new(body);
    while !reader.is_empty() {
        names.push(GeneralName::read(&reader.next()?).filter(GeneralName::is_whole)?);
    }
    Some(names).filter(|names| !names.is_empty())
}
