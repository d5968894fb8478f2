//! Errors of rustls and webpki in words: their own texts are for programmers (`Other(OtherError(CaUsedAsEndEntity))`,
//! seconds since 1970).

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::cert::signature;
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
        Reason::Other(other) => {
            return match other.0.downcast_ref::<webpki::Error>() {
                Some(error) => chain(error),
                None => text::escape(&other.0.to_string()),
            };
        }
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
        Error::UnsupportedCertVersion => "it is not a certificate of X.509 version 3",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not supported",
        Error::RequiredEkuNotFoundContext(_) => "it is not meant for this purpose (extended key usage)",
        Error::UnsupportedSignatureAlgorithmContext(context) => {
            return not_verified(&context.signature_algorithm_id, None);
        }
        Error::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            return not_verified(&context.signature_algorithm_id, Some(&context.public_key_algorithm_id));
        }
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
            (other(webpki::Error::InvalidSerialNumber), "invalid serial number"),
            (CertificateError::ApplicationVerificationFailure, "application verification failure"),
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
}
