//! OpenSSL's trust settings: the `CertAux` that follows the certificate in a `TRUSTED CERTIFICATE` block
//! (OpenSSL's `x509_aux`). Only read, and only to obey them: a reader that drops them installs what the file itself
//! distrusts (threat T3).

use super::der::{self, DerReader, Tlv};

/// Whether `CertAux` (OpenSSL's x509_aux: trust, reject `[0]`, alias, keyid, other `[1]`) lets the certificate vouch
/// for TLS servers. Without settings it may. The error follows the certificate's fingerprint.
pub(super) fn tls_server_trust(aux: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = "has trust settings that cannot be read";
    if aux.is_empty() {
        return Ok(());
    }
    let mut fields = DerReader::new(der::only(aux, der::SEQUENCE).ok_or(MALFORMED)?.body);
    let trust = fields.take(der::SEQUENCE);
    let reject = fields.take(der::CONTEXT_0);
    fields.take(der::UTF8_STRING);
    fields.take(der::OCTET_STRING);
    fields.take(der::CONTEXT_1);
    if !fields.is_empty() {
        return Err(MALFORMED);
    }
    if names_tls_server(reject).ok_or(MALFORMED)? {
        return Err("is distrusted for TLS servers by its own trust settings");
    }
    if trust.is_some() && !names_tls_server(trust).ok_or(MALFORMED)? {
        return Err("is not trusted for TLS servers by its own trust settings");
    }
    Ok(())
}

/// Whether the settings can be read at all, whatever they say.
pub(super) fn is_well_formed(aux: &[u8]) -> bool {
    let Some(whole) = der::only(aux, der::SEQUENCE) else { return false };
    let mut fields = DerReader::new(whole.body);
    let lists = [fields.take(der::SEQUENCE), fields.take(der::CONTEXT_0)];
    fields.take(der::UTF8_STRING);
    fields.take(der::OCTET_STRING);
    fields.take(der::CONTEXT_1);
    fields.is_empty() && lists.into_iter().all(|list| names_tls_server(list).is_some())
}

/// The alias, if `CertAux` has one: for p11-kit the root's label.
pub(super) fn alias(aux: &[u8]) -> Option<String> {
    let mut fields = DerReader::new(der::only(aux, der::SEQUENCE)?.body);
    fields.take(der::SEQUENCE);
    fields.take(der::CONTEXT_0);
    String::from_utf8(fields.take(der::UTF8_STRING)?.body.to_vec()).ok()
}

/// Whether p11-kit considers the certificate distrusted if its sources contain these settings: settings that name no
/// trusted purpose (seen with 0.24.1; OpenSSL interprets them differently).
pub(super) fn is_distrusted(aux: &[u8]) -> bool {
    let trust = || DerReader::new(der::only(aux, der::SEQUENCE)?.body).take(der::SEQUENCE);
    !aux.is_empty() && trust().is_none_or(|trust| trust.body.is_empty())
}

/// Whether a list of key purposes has serverAuth or anyExtendedKeyUsage; `None` if it is malformed.
fn names_tls_server(list: Option<Tlv<'_>>) -> Option<bool> {
    /// 1.3.6.1.5.5.7.3.1
    const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    /// 2.5.29.37.0
    const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];
    let mut purposes = DerReader::new(list.map_or(&[], |list| list.body));
    let mut found = false;
    while !purposes.is_empty() {
        let purpose = purposes.take(der::OID)?.body;
        found |= purpose == SERVER_AUTH || purpose == ANY;
    }
    Some(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{ANY_USAGE, CLIENT_AUTH, SERVER_AUTH, oid, tlv};
    use super::*;

    const EMAIL: &str = "1.3.6.1.5.5.7.3.4";

    /// Trust settings with an alias.
    pub(crate) fn aux(trust: Option<&[&str]>, reject: Option<&[&str]>) -> Vec<u8> {
        let list = |tag, oids: Option<&[&str]>| {
            oids.map(|oids| tlv(tag, &oids.iter().map(|dotted| oid(dotted)).collect::<Vec<_>>().concat()))
        };
        let fields = [list(0x30, trust), list(0xa0, reject), Some(tlv(0x0c, b"An alias"))];
        tlv(0x30, &fields.into_iter().flatten().collect::<Vec<_>>().concat())
    }

    #[test]
    fn lists_decide_whether_tls_servers_are_trusted() {
        assert_eq!(tls_server_trust(b""), Ok(()));
        for (trust, reject) in [
            (None, None),
            (Some(&[SERVER_AUTH][..]), None),
            (Some(&[EMAIL, SERVER_AUTH]), Some(&[CLIENT_AUTH][..])),
            (Some(&[ANY_USAGE]), None),
            (None, Some(&[EMAIL])),
        ] {
            assert_eq!(tls_server_trust(&aux(trust, reject)), Ok(()), "{trust:?} {reject:?}");
        }
        for (trust, reject, wanted) in [
            (Some(&[][..]), None, "not trusted"),
            (Some(&[EMAIL]), None, "not trusted"),
            (None, Some(&[SERVER_AUTH][..]), "distrusted"),
            (Some(&[SERVER_AUTH]), Some(&[EMAIL, SERVER_AUTH]), "distrusted"),
            (None, Some(&[ANY_USAGE]), "distrusted"),
        ] {
            let reason = tls_server_trust(&aux(trust, reject)).expect_err("refused");
            assert!(reason.contains(wanted), "{trust:?} {reject:?}: {reason}");
        }
    }

    #[test]
    fn settings_without_a_trusted_purpose_are_distrust_for_p11_kit() {
        assert!(!is_distrusted(b""));
        assert!(!is_distrusted(&aux(Some(&[EMAIL]), Some(&[SERVER_AUTH]))));
        for (trust, reject) in [(None, None), (Some(&[][..]), None), (None, Some(&[EMAIL][..]))] {
            assert!(is_distrusted(&aux(trust, reject)), "{trust:?} {reject:?}");
        }
    }

    #[test]
    fn what_openssl_writes_is_read() {
        // serverAuth and e-mail trusted, codeSigning rejected, alias "My CA".
        let bytes = "3029301406082b0601050507030106082b06010505070304a00a06082b060105050703030c054d79204341";
        assert_eq!(tls_server_trust(&hex::decode(bytes).expect("hex")), Ok(()));
        assert_eq!(alias(&hex::decode(bytes).expect("hex")).as_deref(), Some("My CA"));
        let only_alias = "30080c06556e69742041";
        assert_eq!(tls_server_trust(&hex::decode(only_alias).expect("hex")), Ok(()));
        assert_eq!(alias(&hex::decode(only_alias).expect("hex")).as_deref(), Some("Unit A"));
        assert_eq!((alias(b"0\0"), alias(b"")), (None, None));
    }

    #[test]
    fn what_cannot_be_read_is_not_trusted() {
        for malformed in [
            &b"\x30"[..],
            b"\x30\x00\x00",
            &tlv(0x30, &tlv(0x05, b"")),
            &tlv(0x30, &tlv(0x30, b"\x06")),
            &tlv(0x30, &tlv(0x30, &tlv(0x02, b"\x01"))),
            // The fields in another order.
            &tlv(0x30, &[tlv(0x0c, b"x"), tlv(0xa0, &oid(SERVER_AUTH))].concat()),
        ] {
            assert!(tls_server_trust(malformed).expect_err("refused").contains("cannot be read"));
        }
    }
}
