//! Errors of rustls and webpki in words: their own texts are for programmers (`Other(OtherError(CaUsedAsEndEntity))`,
//! seconds since 1970).

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::pki::cert::signature;
use crate::text::{self, words};

/// The error of a TLS configuration that cannot be made.
pub(crate) fn could_not_set_up(error: &rustls::Error) -> crate::error::Error {
    crate::error::Error::failed("could not set up TLS").because(anyhow::anyhow!("{}", tls(error)))
}

/// The fault of a TLS connection, in a form that can follow a colon.
pub(crate) fn tls(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(reason) => format!("the certificate is refused: {}", certificate(reason)),
        Error::InvalidMessage(reason) => format!("received a corrupt message: {}", words(reason)),
        Error::InappropriateMessage { got_type, .. } => {
            format!("received an unexpected message: {}", words(got_type))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            format!("received an unexpected handshake message: {}", words(got_type))
        }
        Error::PeerIncompatible(reason) => format!("the other side is incompatible: {}", words(reason)),
        Error::PeerMisbehaved(reason) => format!("the other side broke the protocol: {}", words(reason)),
        // The name in RFC 8446 section 6, and in every other program's log.
        Error::AlertReceived(alert) => {
            format!("received the TLS alert {}", words(alert).replace(' ', "_"))
        }
        Error::InvalidCertRevocationList(reason) => {
            format!("the certificate revocation list is refused: {}", words(reason))
        }
        Error::InvalidEncryptedClientHello(reason) => {
            format!("the encrypted client hello failed: {}", words(reason))
        }
        Error::InconsistentKeys(reason) => {
            format!("certificate and key do not belong together: {}", words(reason))
        }
        Error::General(reason) => text::escape(reason),
        Error::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => format!("the certificate is refused: {}", chain(error)),
            None => text::escape(&other.0.to_string()),
        },
        // The others have texts, and no content.
        other => text::escape(&other.to_string()),
    }
}

/// The fault of a certificate, in a form that can follow a colon: "it" is the certificate.
pub(crate) fn certificate(error: &CertificateError) -> String {
    use CertificateError as Reason;
    let words = match error {
        Reason::BadEncoding => "it is malformed",
        Reason::Expired => "it has expired",
        Reason::ExpiredContext { not_after, .. } => return format!("it expired at {}", moment(*not_after)),
        Reason::NotValidYet => "it is not valid yet",
        Reason::NotValidYetContext { not_before, .. } => {
            return format!("it is not valid before {}", moment(*not_before));
        }
        Reason::Revoked => "it is revoked",
        Reason::UnhandledCriticalExtension => "it has a critical extension that is not supported",
        Reason::UnknownIssuer => "it was not issued by a trusted root",
        Reason::BadSignature => "a signature in its chain is wrong",
        Reason::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: signature, .. } => {
            return not_verified(signature, None);
        }
        Reason::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: signature,
            public_key_algorithm_id: key,
        } => return not_verified(signature, Some(key)),
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => "it is for another name",
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => "it is not meant for this purpose",
        Reason::UnknownRevocationStatus => "whether it is revoked is not known",
        Reason::ExpiredRevocationList | Reason::ExpiredRevocationListContext { .. } => {
            "the revocation list of its CA has expired"
        }
        Reason::InvalidOcspResponse => "the server sent an invalid OCSP response",
        Reason::ApplicationVerificationFailure => "it is refused",
        Reason::Other(other) => {
            return match other.0.downcast_ref::<webpki::Error>() {
                Some(error) => chain(error),
                None => text::escape(&other.0.to_string()),
            };
        }
        // A variant of a later rustls, or a deprecated one that this rustls does not make.
        other => return words(other),
    };
    words.to_owned()
}

/// The fault of a chain of certificates, in a form that can follow a colon: "it" is the leaf.
pub(crate) fn chain(error: &webpki::Error) -> String {
    use webpki::Error;
    let words = match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => "it is malformed",
        Error::CaUsedAsEndEntity => "it is a CA certificate, and no server's (basic constraints)",
        Error::EndEntityUsedAsCa => "it was issued by a certificate that is not a CA's (basic constraints)",
        Error::CertExpired { not_after, .. } => {
            return format!("it or its issuer expired at {}", moment(*not_after));
        }
        Error::CertNotValidYet { not_before, .. } => {
            return format!("it or its issuer is not valid before {}", moment(*not_before));
        }
        Error::InvalidCertValidity => "its validity ends before it begins",
        Error::UnknownIssuer => "it was not issued by a trusted root",
        Error::InvalidSignatureForPublicKey => "a signature in its chain is wrong",
        Error::NameConstraintViolation => "its CA may not issue such names (name constraints)",
        Error::PathLenConstraintViolated => "its chain is longer than one of the CAs allows (path length)",
        Error::MaximumPathDepthExceeded => "its chain is too long",
        Error::MaximumPathBuildCallsExceeded | Error::MaximumSignatureChecksExceeded => {
            "its chain has too many possible paths"
        }
        Error::MaximumNameConstraintComparisonsExceeded => "its CAs have too many name constraints",
        Error::MalformedDnsIdentifier => {
            "one of the names in it is not a DNS name that a client compares (subject alternative name)"
        }
        Error::MalformedNameConstraint => "one of its CAs has a malformed name constraint",
        Error::InvalidNetworkMaskConstraint => {
            "one of its CAs has a name constraint with an invalid network mask"
        }
        Error::UnsupportedNameType => "it has a name of a kind that is not supported",
        Error::MalformedExtensions | Error::ExtensionValueInvalid => "it has a malformed extension",
        Error::EmptyEkuExtension => "its list of purposes is empty (extended key usage)",
        Error::InvalidSerialNumber => "its serial number is invalid (longer than 20 bytes, zero or negative)",
        Error::SignatureAlgorithmMismatch => "it names two different signature algorithms",
        Error::CertNotValidForName(_) => "it is for another name",
        Error::CertDistrusted => "it is distrusted",
        Error::CertRevoked => "it is revoked",
        Error::UnknownRevocationStatus => "whether it is revoked is not known",
        Error::CrlExpired { .. } => "the revocation list of its CA has expired",
        Error::InvalidCrlNumber
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlIssuingDistributionPoint
        | Error::UnsupportedCrlVersion
        | Error::UnsupportedDeltaCrl
        | Error::UnsupportedIndirectCrl
        | Error::UnsupportedRevocationReason
        | Error::UnsupportedRevocationReasonsPartitioning
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            return format!("the revocation list of its CA cannot be used: {}", words(error));
        }
        Error::UnsupportedCertVersion => "it is not a certificate of X.509 version 3",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not supported",
        Error::RequiredEkuNotFoundContext(_) => "it is not meant for this purpose (extended key usage)",
        Error::UnsupportedSignatureAlgorithmContext(context) => {
            return not_verified(&context.signature_algorithm_id, None);
        }
        Error::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            return not_verified(&context.signature_algorithm_id, Some(&context.public_key_algorithm_id));
        }
        // As above.
        other => return words(other),
    };
    words.to_owned()
}

fn not_verified(signature: &[u8], key: Option<&[u8]>) -> String {
    let name = signature::unusable_name(signature, key);
    format!("its chain has a signature that trustup does not accept: {name}")
}

fn moment(time: UnixTime) -> String {
    text::moment(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::{AlertDescription, InvalidMessage, OtherError, PeerIncompatible};

    use super::*;

    /// None has the syntax of Rust, or a time in seconds.
    #[test]
    fn every_error_is_words() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (now, then) = (time(1_795_469_814), time(1_700_000_000));
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        let certificates = [
            (CertificateError::BadEncoding, "it is malformed"),
            (
                CertificateError::ExpiredContext { time: now, not_after: then },
                "it expired at 2023-11-14 22:13:20 UTC",
            ),
            (
                CertificateError::NotValidYetContext { time: then, not_before: now },
                "it is not valid before 2026-11-23 21:36:54 UTC",
            ),
            (
                other(webpki::Error::CaUsedAsEndEntity),
                "it is a CA certificate, and no server's (basic constraints)",
            ),
            (
                other(webpki::Error::InvalidSerialNumber),
                "its serial number is invalid (longer than 20 bytes, zero or negative)",
            ),
            (CertificateError::ApplicationVerificationFailure, "it is refused"),
        ];
        for (error, wanted) in certificates {
            assert_eq!(certificate(&error), wanted);
        }
        let connections = [
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                "received the TLS alert handshake_failure",
            ),
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "received a corrupt message: invalid content type",
            ),
            (
                rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                "the other side is incompatible: tls12 not offered or enabled",
            ),
            (
                rustls::Error::InvalidCertificate(other(webpki::Error::EndEntityUsedAsCa)),
                "the certificate is refused: it was issued by a certificate that is not a CA's (basic constraints)",
            ),
        ];
        for (error, wanted) in connections {
            assert_eq!(tls(&error), wanted);
        }
    }

    /// A word with a capital inside, as only identifiers have: `CaUsedAsEndEntity`. `trustUp` and OIDs are none.
    fn identifier(text: &str) -> Option<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(|word| {
            let chars: Vec<char> = word.chars().collect();
            chars.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
        })
    }

    /// All errors that rustls 0.23 and webpki 0.103 have, in words of their own: `words` is for later ones.
    #[test]
    fn no_error_is_shown_by_its_identifier() {
        use webpki::{DerTypeId, Error as Chain, InvalidNameContext};
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_795_469_814));
        let algorithm = || webpki::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![0x2b, 0x65, 0x70],
            supported_algorithms: Vec::new(),
        };
        let for_key = || webpki::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![0x2b, 0x65, 0x70],
            public_key_algorithm_id: vec![0x2b, 0x65, 0x70],
        };
        let name = || rustls::pki_types::ServerName::try_from("web.test").expect("a name");
        let chains = [
            Chain::BadDer,
            Chain::BadDerTime,
            Chain::CaUsedAsEndEntity,
            Chain::CertDistrusted,
            Chain::CertExpired { time, not_after: time },
            Chain::CertNotValidForName(InvalidNameContext { expected: name(), presented: Vec::new() }),
            Chain::CertNotValidYet { time, not_before: time },
            Chain::CertRevoked,
            Chain::CrlExpired { time, next_update: time },
            Chain::EmptyEkuExtension,
            Chain::EndEntityUsedAsCa,
            Chain::ExtensionValueInvalid,
            Chain::InvalidCertValidity,
            Chain::InvalidCrlNumber,
            Chain::InvalidNetworkMaskConstraint,
            Chain::InvalidSerialNumber,
            Chain::InvalidCrlSignatureForPublicKey,
            Chain::InvalidSignatureForPublicKey,
            Chain::IssuerNotCrlSigner,
            Chain::MalformedDnsIdentifier,
            Chain::MalformedExtensions,
            Chain::MalformedNameConstraint,
            Chain::MaximumNameConstraintComparisonsExceeded,
            Chain::MaximumPathBuildCallsExceeded,
            Chain::MaximumPathDepthExceeded,
            Chain::MaximumSignatureChecksExceeded,
            Chain::NameConstraintViolation,
            Chain::PathLenConstraintViolated,
            Chain::SignatureAlgorithmMismatch,
            Chain::TrailingData(DerTypeId::Certificate),
            Chain::UnknownIssuer,
            Chain::UnknownRevocationStatus,
            Chain::UnsupportedCertVersion,
            Chain::UnsupportedCriticalExtension,
            Chain::UnsupportedCrlIssuingDistributionPoint,
            Chain::UnsupportedCrlVersion,
            Chain::UnsupportedDeltaCrl,
            Chain::UnsupportedIndirectCrl,
            Chain::UnsupportedNameType,
            Chain::UnsupportedRevocationReason,
            Chain::UnsupportedRevocationReasonsPartitioning,
            Chain::UnsupportedCrlSignatureAlgorithmContext(algorithm()),
            Chain::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(for_key()),
            Chain::UnsupportedSignatureAlgorithmContext(algorithm()),
            Chain::UnsupportedSignatureAlgorithmForPublicKeyContext(for_key()),
        ];
        let mut shown: Vec<(String, String)> = Vec::new();
        for error in chains {
            let own = chain(&error);
            assert_ne!(own, words(&error), "{error:?} has no words of its own");
            shown.push((format!("{error:?}"), own));
            let wrapped = CertificateError::Other(OtherError(Arc::new(error)));
            shown.push((format!("{wrapped:?}"), certificate(&wrapped)));
            shown.push((format!("{wrapped:?}"), tls(&rustls::Error::InvalidCertificate(wrapped.clone()))));
        }
        use CertificateError as Reason;
        let certificates = [
            Reason::BadEncoding,
            Reason::Expired,
            Reason::ExpiredContext { time, not_after: time },
            Reason::NotValidYet,
            Reason::NotValidYetContext { time, not_before: time },
            Reason::Revoked,
            Reason::UnhandledCriticalExtension,
            Reason::UnknownIssuer,
            Reason::UnknownRevocationStatus,
            Reason::ExpiredRevocationList,
            Reason::ExpiredRevocationListContext { time, next_update: time },
            Reason::BadSignature,
            Reason::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![0x2b, 0x65, 0x70],
                supported_algorithms: Vec::new(),
            },
            Reason::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![0x2b, 0x65, 0x70],
                public_key_algorithm_id: vec![0x2b, 0x65, 0x70],
            },
            Reason::NotValidForName,
            Reason::NotValidForNameContext { expected: name(), presented: Vec::new() },
            Reason::InvalidPurpose,
            Reason::InvalidOcspResponse,
            Reason::ApplicationVerificationFailure,
        ];
        for error in certificates {
            let own = certificate(&error);
            assert_ne!(own, words(&error), "{error:?} has no words of its own");
            shown.push((format!("{error:?}"), own));
        }
        use rustls::{Error, InconsistentKeys, PeerMisbehaved};
        let connections = [
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::ApplicationData,
            },
            Error::InvalidMessage(InvalidMessage::MissingData("ServerHello")),
            Error::InvalidMessage(InvalidMessage::UnexpectedMessage("EncryptedExtensions")),
            Error::InvalidMessage(InvalidMessage::DuplicateExtension(7)),
            Error::NoCertificatesPresented,
            Error::UnsupportedNameType,
            Error::DecryptError,
            Error::EncryptError,
            Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(None)),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::PeerMisbehaved(PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported),
            Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec),
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::UnknownPSKIdentity),
            Error::General("a text of rustls".to_owned()),
            Error::FailedToGetCurrentTime,
            Error::FailedToGetRandomBytes,
            Error::HandshakeNotComplete,
            Error::PeerSentOversizedRecord,
            Error::NoApplicationProtocol,
            Error::BadMaxFragmentSize,
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
            Error::Other(OtherError(Arc::new(Chain::MalformedDnsIdentifier))),
        ];
        shown.extend(connections.iter().map(|error| (format!("{error:?}"), tls(error))));
        for (error, text) in shown {
            assert_eq!(identifier(&text), None, "{error}: {text}");
            assert!(!text.contains("::") && !text.contains(" { ") && text.len() > 8, "{error}: {text}");
        }
    }
}
