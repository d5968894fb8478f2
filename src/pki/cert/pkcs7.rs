//! PKCS#7 / CMS SignedData (RFC 5652 section 5.1) as a bag of certificates: `.p7b`, `.p7c`, EST's `cacerts`, AIA's
//! caIssuers. Signatures in it are not checked: the pin or the connection vouches for the certificates.

use super::der::{self, DerReader};

/// 1.2.840.113549.1.7.2, signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// 1.2.840.113549.1.7, all content types of PKCS#7.
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];

/// More members than any bag has; a hostile one could hold millions of two bytes each.
const MEMBERS_LIMIT: usize = 10_000;

/// Whether DER begins like a ContentInfo of PKCS#7.
pub(super) fn is_pkcs7(bytes: &[u8]) -> bool {
    let content =
        DerReader::new(bytes).take(der::SEQUENCE).and_then(|info| DerReader::new(info.body).take(der::OID));
    content.is_some_and(|content| content.body.starts_with(PKCS7))
}

/// The encoded members of the certificates field, whatever they are; the error is a reason.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    const MALFORMED: &str = "malformed PKCS#7";
    let info = der::only(bytes, der::SEQUENCE).ok_or("malformed PKCS#7, or bytes follow it")?;
    let mut info = DerReader::new(info.body);
    let kind = info.take(der::OID).ok_or(MALFORMED)?;
    if kind.body != SIGNED_DATA {
        return Err("PKCS#7 that is not signedData, so it carries no certificates");
    }
    let content = info.take(der::CONTEXT_0).filter(|_| info.is_empty()).ok_or(MALFORMED)?;
    let signed = der::only(content.body, der::SEQUENCE).ok_or(MALFORMED)?;

    let mut signed = DerReader::new(signed.body);
    let version = signed.take(der::INTEGER);
    let digests = signed.take(der::SET);
    let content = signed.take(der::SEQUENCE);
    if version.is_none() || digests.is_none() || content.is_none() {
        return Err(MALFORMED);
    }
    let mut members = Vec::new();
    if let Some(certificates) = signed.take(der::CONTEXT_0) {
        let mut reader = DerReader::new(certificates.body);
        while !reader.is_empty() {
            if members.len() == MEMBERS_LIMIT {
                return Err("PKCS#7 with more than 10,000 certificates");
            }
            members.push(reader.next().ok_or(MALFORMED)?.raw);
        }
    }
    // crls [1] and signerInfos; nothing may hide after them.
    signed.take(der::CONTEXT_1);
    signed.take(der::SET).filter(|_| signed.is_empty()).ok_or(MALFORMED)?;
    Ok(members)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{TestCertificate, Xorshift, common_name, oid, sequence, tlv};
    use super::*;

    /// A certificates-only SignedData.
    pub(crate) fn bag(certificates: &[&[u8]]) -> Vec<u8> {
        let content = sequence(&[&oid("1.2.840.113549.1.7.1")]);
        let certificates = match certificates {
            [] => Vec::new(),
            some => tlv(0xa0, &some.concat()),
        };
        let signed = sequence(&[
            &[0x02, 1, 1],
            &tlv(0x31, &[]),
            &content,
            &certificates,
            &tlv(0xa1, &[]),
            &tlv(0x31, &[]),
        ]);
        sequence(&[&oid("1.2.840.113549.1.7.2"), &tlv(0xa0, &signed)])
    }

    #[test]
    fn members_come_back_in_order() {
        let (a, b) = (TestCertificate::default().der(), TestCertificate::named(common_name("B")).der());
        let bag = bag(&[&a, &b]);
        assert!(is_pkcs7(&bag) && !is_pkcs7(&a));
        assert_eq!(certificates(&bag).expect("two"), [&a[..], &b[..]]);
    }

    #[test]
    fn an_empty_bag_is_empty_and_other_content_is_refused() {
        assert_eq!(certificates(&bag(&[])).expect("none"), Vec::<&[u8]>::new());
        let data = sequence(&[&oid("1.2.840.113549.1.7.1"), &tlv(0xa0, &tlv(0x04, b"x"))]);
        assert!(is_pkcs7(&data));
        assert!(certificates(&data).expect_err("data").contains("not signedData"));
        let crowd = vec![&b"\x30\0"[..]; MEMBERS_LIMIT + 1];
        assert_eq!(certificates(&bag(&crowd[1..])).expect("as many as may be").len(), MEMBERS_LIMIT);
        assert!(certificates(&bag(&crowd)).expect_err("a crowd").contains("more than 10,000"));
        let mut trailing = bag(&[&TestCertificate::default().der()]);
        trailing.push(0);
        assert!(certificates(&trailing).expect_err("trailing").contains("follow"));
    }

    #[test]
    fn no_input_makes_it_panic() {
        let bag = bag(&[&TestCertificate::default().der(), &TestCertificate::default().der()]);
        let mut random = Xorshift(0x5eed_0007);
        for _ in 0..5000 {
            let bytes = random.mutate(&bag);
            if let Ok(members) = certificates(&bytes) {
                assert!(members.iter().map(|member| member.len()).sum::<usize>() < bytes.len());
            }
        }
    }
}
