//! ACME's objects as they are sent (RFC 8555 section 7.1), plain data only. What is not needed is ignored; a status
//! that the RFC does not define is an error where it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::pki::cert::SubjectAltName;

/// The directory (section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcmeDirectory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    /// Where to ask when to renew a certificate (RFC 9773 section 4.1).
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: DirectoryMeta,
}

/// A directory's description of its server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryMeta {
    pub(super) terms_of_service: Option<String>,
    #[serde(default)]
    pub(super) external_account_required: bool,
    /// draft-ietf-acme-profiles: names and descriptions.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, Value>,
}

/// A request for an account (section 7.3).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewAccount {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) contact: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) terms_of_service_agreed: bool,
    /// Only finds the account of the key (section 7.3.1).
    #[serde(skip_serializing_if = "is_false")]
    pub(super) only_return_existing: bool,
    /// A JWS of the external account (section 7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_account_binding: Option<Value>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// An account (section 7.1.2), as far as it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct AccountObject {
    pub(super) status: AccountStatus,
}

/// Section 7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AccountStatus {
    Valid,
    Deactivated,
    Revoked,
}

/// What a certificate is for (section 7.1.3, RFC 8738): a DNS name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identifier {
    /// May begin with `*.`.
    Dns(String),
    Ip(IpAddr),
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identifier::Dns(name) => f.write_str(name),
            Identifier::Ip(address) => address.fmt(f),
        }
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Identifier", 2)?;
        let kind = if matches!(self, Identifier::Dns(_)) { "dns" } else { "ip" };
        object.serialize_field("type", kind)?;
        object.serialize_field("value", &self.to_string())?;
        object.end()
    }
}

impl Identifier {
    /// The name, if an ACME server can validate one of its kind.
    pub(super) fn of(name: &SubjectAltName) -> Option<Self> {
        match name {
            SubjectAltName::Dns(name) => Some(Identifier::Dns(name.clone())),
            SubjectAltName::Ip(address) => Some(Identifier::Ip(*address)),
            SubjectAltName::Email(_) | SubjectAltName::Uri(_) => None,
        }
    }
}

/// An identifier as a server sends it: it may be anything.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SentIdentifier {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

impl SentIdentifier {
    /// The identifier, if its kind can be ordered.
    pub(super) fn parsed(&self) -> Option<Identifier> {
        match self.kind.as_str() {
            "dns" => Some(Identifier::Dns(self.value.to_ascii_lowercase())),
            "ip" => self.value.parse().ok().map(Identifier::Ip),
            _ => None,
        }
    }
}

/// A request for an order (section 7.4).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewOrder<'a> {
    pub(super) identifiers: &'a [Identifier],
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<&'a str>,
    /// The identifier of the certificate that it replaces (RFC 9773 section 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<&'a str>,
}

/// An order (section 7.1.3).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct OrderObject {
    pub(super) status: OrderStatus,
    #[serde(default)]
    pub(super) identifiers: Vec<SentIdentifier>,
    pub(super) authorizations: Vec<String>,
    pub(super) finalize: String,
    pub(super) certificate: Option<String>,
    pub(super) error: Option<ProblemDocument>,
}

/// Section 7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// An authorization (section 7.1.4).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) status: AuthorizationStatus,
    pub(super) identifier: SentIdentifier,
    pub(super) challenges: Vec<Challenge>,
    #[serde(default)]
    pub(super) wildcard: bool,
}

/// Section 7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Revoked,
    Expired,
    Deactivated,
}

impl AuthorizationStatus {
    /// The RFC's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            AuthorizationStatus::Pending => "pending",
            AuthorizationStatus::Valid => "valid",
            AuthorizationStatus::Invalid => "invalid",
            AuthorizationStatus::Revoked => "revoked",
            AuthorizationStatus::Expired => "expired",
            AuthorizationStatus::Deactivated => "deactivated",
        }
    }
}

/// A challenge (section 7.1.5, section 8).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Challenge {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    pub(super) status: ChallengeStatus,
    /// Challenges of kinds that trustup does not know may have none.
    #[serde(default)]
    pub(super) token: String,
    pub(super) error: Option<ProblemDocument>,
}

/// Section 7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// A problem document (section 6.7, RFC 7807).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProblemDocument {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) detail: Option<String>,
    /// Its details on single names (section 6.7.1).
    #[serde(default)]
    pub(super) subproblems: Vec<Subproblem>,
    /// With `badSignatureAlgorithm`: what the server accepts (section 6.2).
    #[serde(default)]
    pub(super) algorithms: Vec<String>,
}

/// A problem document's details on one name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subproblem {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) identifier: Option<SentIdentifier>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_have_only_what_is_asked_for() {
        let identifiers = [Identifier::Dns("*.a.test".to_owned()), Identifier::Ip([10, 0, 0, 1].into())];
        let order = NewOrder { identifiers: &identifiers, not_after: None, profile: None, replaces: None };
        let names = json!([{ "type": "dns", "value": "*.a.test" }, { "type": "ip", "value": "10.0.0.1" }]);
        assert_eq!(serde_json::to_value(&order).expect("JSON"), json!({ "identifiers": names }));
        let order = NewOrder { not_after: Some("2030-01-01T00:00:00Z"), profile: Some("short"), ..order };
        assert_eq!(
            serde_json::to_value(&order).expect("JSON"),
            json!({ "identifiers": names, "notAfter": "2030-01-01T00:00:00Z", "profile": "short" })
        );
        let order =
            NewOrder { identifiers: &identifiers, not_after: None, profile: None, replaces: Some("a.b") };
        assert_eq!(
            serde_json::to_value(&order).expect("JSON"),
            json!({ "identifiers": names, "replaces": "a.b" })
        );
        let account = NewAccount {
            contact: Vec::new(),
            terms_of_service_agreed: false,
            only_return_existing: true,
            external_account_binding: None,
        };
        assert_eq!(serde_json::to_value(&account).expect("JSON"), json!({ "onlyReturnExisting": true }));
    }

    #[test]
    fn objects_of_the_rfc_are_read_and_odd_ones_are_not() {
        // Section 7.1.4, with a challenge of another kind beside it.
        let text = r#"{"status":"valid","expires":"2015-03-01T14:09:07.99Z","identifier":{"type":"dns","value":"WWW.example.org"},
            "challenges":[{"url":"https://e/c","type":"http-01","status":"valid","token":"DGyRejmCefe7v4NfDGDKfA","validated":"2014-12-01T12:05:58.16Z"},
            {"url":"https://e/d","type":"new-99","status":"pending"}],"wildcard":false}"#;
        let authorization: Authorization = serde_json::from_str(text).expect("an authorization");
        assert_eq!(authorization.identifier.parsed(), Some(Identifier::Dns("www.example.org".to_owned())));
        assert_eq!((authorization.challenges.len(), authorization.challenges[1].token.as_str()), (2, ""));
        assert!(serde_json::from_str::<Authorization>(&text.replace("pending", "odd")).is_err());
        for text in ["[]", "{}", r#"{"status":"odd"}"#, r#"{"status":"ready"}"#] {
            assert!(serde_json::from_str::<OrderObject>(text).is_err(), "{text}");
            assert!(serde_json::from_str::<Challenge>(text).is_err(), "{text}");
        }
    }
}
