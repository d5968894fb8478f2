//! What a database contained before a certificate was added, so that [`super::Databases::remove`] can restore it.
//!
//! It is stored as JSON in the state; a value read from there is checked against the certificate before use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::{self, AttributeNumber};
use super::database::{MAX_ID, ObjectRow};
use super::objects;
use crate::pki::cert::Certificate;
use crate::versioned::UnknownFields;

/// What an addition replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Whether the certificate itself was there, so that it stays.
    pub(super) certificate: bool,
    /// The trust settings for it.
    pub(super) trust: Vec<FormerTrust>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl Former {
    /// Whether the certificate itself was there, without trust settings yet.
    pub(super) fn new(certificate: bool) -> Self {
        Former { certificate, trust: Vec::new(), unknown: UnknownFields::default() }
    }

    /// Whether this can be the result of [`super::Databases::add`] for `certificate`.
    pub(super) fn fits(&self, certificate: &Certificate) -> bool {
        let serial = objects::serial_number(certificate);
        self.trust.iter().all(|former| {
            former.row().is_some_and(|row| {
                (1..=MAX_ID).contains(&row.id)
                    && objects::is_trust(&row)
                    && row.get(attributes::ISSUER) == Some(certificate.issuer_der())
                    && row.get(attributes::SERIAL_NUMBER) == Some(&serial)
            })
        })
    }
}

/// The former trust settings: attributes and values in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormerTrust {
    id: u32,
    values: BTreeMap<String, String>,
    signatures: BTreeMap<String, String>,
    /// Whether NSS accepted them: no password was set, or the signatures were good.
    pub(super) believed: bool,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl FormerTrust {
    pub(super) fn new(
        row: &ObjectRow,
        signatures: &BTreeMap<AttributeNumber, Vec<u8>>,
        believed: bool,
    ) -> FormerTrust {
        FormerTrust {
            id: row.id,
            values: to_hex(&row.values),
            signatures: to_hex(signatures),
            believed,
            unknown: UnknownFields::default(),
        }
    }

    /// The object; `None` if this was not written by us.
    pub(super) fn row(&self) -> Option<ObjectRow> {
        Some(ObjectRow { id: self.id, values: from_hex(&self.values)? })
    }

    /// Its signatures.
    pub(super) fn signatures(&self) -> BTreeMap<AttributeNumber, Vec<u8>> {
        from_hex(&self.signatures).unwrap_or_default()
    }
}

fn to_hex(values: &BTreeMap<AttributeNumber, Vec<u8>>) -> BTreeMap<String, String> {
    values.iter().map(|(attribute, value)| (attributes::column(*attribute), hex::encode(value))).collect()
}

fn from_hex(values: &BTreeMap<String, String>) -> Option<BTreeMap<AttributeNumber, Vec<u8>>> {
    values
        .iter()
        .map(|(name, value)| Some((attributes::attribute(name)?, hex::decode(value).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t38_unknown_fields_are_kept() {
        let text = r#"{"certificate":true,"trust":[{"id":7,"values":{},"signatures":{},"believed":true,"future":[1]}],"later":{}}"#;
        let former: Former = serde_json::from_str(text).expect("read");
        assert_eq!(serde_json::to_string(&former).expect("written"), text);
    }
}
