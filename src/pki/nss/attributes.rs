//! PKCS#11 attributes as NSS stores them: one column each, named `a` and the number in hex; numbers as four bytes,
//! big-endian, whatever the machine; booleans as one byte.
//!
//! The numbers are those of PKCS#11 (2.40 and 3.2) and of NSS' own range (`0xce534350`). Nothing here decides what
//! a trust setting means to us.

/// The number of an attribute.
pub(super) type AttributeNumber = u32;

pub(super) const CLASS: AttributeNumber = 0x0;
pub(super) const TOKEN: AttributeNumber = 0x1;
pub(super) const PRIVATE: AttributeNumber = 0x2;
pub(super) const LABEL: AttributeNumber = 0x3;
pub(super) const VALUE: AttributeNumber = 0x11;
pub(super) const CERTIFICATE_TYPE: AttributeNumber = 0x80;
pub(super) const ISSUER: AttributeNumber = 0x81;
pub(super) const SERIAL_NUMBER: AttributeNumber = 0x82;
pub(super) const NAME_HASH_ALGORITHM: AttributeNumber = 0x8c;
pub(super) const SUBJECT: AttributeNumber = 0x101;
pub(super) const ID: AttributeNumber = 0x102;
pub(super) const MODIFIABLE: AttributeNumber = 0x170;
/// Of PKCS#11 3.2's trust objects, which NSS writes since 3.114.
pub(super) const TRUST_SERVER_AUTH: AttributeNumber = 0x62c;
pub(super) const TRUST_CLIENT_AUTH: AttributeNumber = 0x62d;
pub(super) const TRUST_CODE_SIGNING: AttributeNumber = 0x62e;
pub(super) const TRUST_EMAIL_PROTECTION: AttributeNumber = 0x62f;
pub(super) const HASH_OF_CERTIFICATE: AttributeNumber = 0x635;
/// Of NSS' own trust objects, which every NSS reads.
pub(super) const NSS_TRUST_SERVER_AUTH: AttributeNumber = 0xce53_6358;
pub(super) const NSS_TRUST_CLIENT_AUTH: AttributeNumber = 0xce53_6359;
pub(super) const NSS_TRUST_CODE_SIGNING: AttributeNumber = 0xce53_635a;
pub(super) const NSS_TRUST_EMAIL_PROTECTION: AttributeNumber = 0xce53_635b;
pub(super) const NSS_TRUST_STEP_UP_APPROVED: AttributeNumber = 0xce53_6360;
pub(super) const NSS_CERT_SHA1_HASH: AttributeNumber = 0xce53_63b4;
pub(super) const NSS_CERT_MD5_HASH: AttributeNumber = 0xce53_63b5;

/// CKO_CERTIFICATE.
pub(super) const CLASS_CERTIFICATE: u32 = 0x1;
/// CKO_TRUST of PKCS#11 3.2.
pub(super) const CLASS_TRUST: u32 = 0xb;
/// CKO_NSS_TRUST.
pub(super) const CLASS_NSS_TRUST: u32 = 0xce53_4353;

/// CKC_X_509.
pub(super) const X_509: u32 = 0;
/// CKM_SHA256, as a NAME_HASH_ALGORITHM.
pub(super) const MECHANISM_SHA256: u32 = 0x250;

/// CKT_TRUST_ANCHOR and CKT_NOT_TRUSTED of PKCS#11 3.2.
pub(super) const TRUST_ANCHOR: u32 = 2;
pub(super) const NOT_TRUSTED: u32 = 3;
/// CKT_NSS_TRUSTED_DELEGATOR: a trusted CA, the `C` (and `T`) of certutil.
pub(super) const NSS_TRUSTED_DELEGATOR: u32 = 0xce53_4352;
/// CKT_NSS_MUST_VERIFY_TRUST: no statement.
pub(super) const NSS_MUST_VERIFY_TRUST: u32 = 0xce53_4353;
/// CKT_NSS_NOT_TRUSTED: the `p` of certutil, distrust.
pub(super) const NSS_NOT_TRUSTED: u32 = 0xce53_435a;
/// CKT_NSS_VALID_DELEGATOR: the `c` of certutil, a CA that is valid but not trusted.
pub(super) const NSS_VALID_DELEGATOR: u32 = 0xce53_435b;

/// The content of a column whose attribute is present and empty.
pub(super) const EMPTY: [u8; 3] = [0xa5, 0x00, 0x5a];

/// The attributes that must be signed once a database has a password, even an empty one
/// (`sftkdb_isAuthenticatedAttribute`), as far as trust objects have them.
pub(super) const SIGNED: [AttributeNumber; 13] = [
    NAME_HASH_ALGORITHM,
    TRUST_SERVER_AUTH,
    TRUST_CLIENT_AUTH,
    TRUST_CODE_SIGNING,
    TRUST_EMAIL_PROTECTION,
    HASH_OF_CERTIFICATE,
    NSS_TRUST_SERVER_AUTH,
    NSS_TRUST_CLIENT_AUTH,
    NSS_TRUST_CODE_SIGNING,
    NSS_TRUST_EMAIL_PROTECTION,
    NSS_TRUST_STEP_UP_APPROVED,
    NSS_CERT_SHA1_HASH,
    NSS_CERT_MD5_HASH,
];

/// The name of the column of `attribute`.
pub(super) fn column(attribute: AttributeNumber) -> String {
    format!("a{attribute:x}")
}

/// The attribute of the column `name`; `None` for a name that NSS would not use.
pub(super) fn attribute(name: &str) -> Option<AttributeNumber> {
    let digits = name.strip_prefix('a')?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (column(number) == name).then_some(number)
}

/// The columns of a new database after `id`, in order: those of NSS 3.87. Later versions add theirs when they open
/// it.
#[rustfmt::skip]
pub(super) const COLUMNS: [AttributeNumber; 119] = [
    0x0, 0x1, 0x2, 0x3, 0x10, 0x11, 0x12, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b,
    0x90, 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x10b, 0x10c, 0x110, 0x111,
    0x120, 0x121, 0x122, 0x123, 0x124, 0x125, 0x126, 0x127, 0x128, 0x129, 0x130, 0x131, 0x132, 0x133, 0x134,
    0x160, 0x161, 0x162, 0x163, 0x164, 0x165, 0x166, 0x170, 0x180, 0x181, 0x200, 0x201, 0x202, 0x210, 0x300,
    0x301, 0x302, 0x400, 0x401, 0x402, 0x403, 0x404, 0x405, 0x406, 0x480, 0x481, 0x482, 0x500, 0x501, 0x502,
    0x503, 0x4000_0211, 0x4000_0212, 0x8000_0001, 0xce53_4351, 0xce53_4352, 0xce53_4353, 0xce53_4354,
    0xce53_4355, 0xce53_4356, 0xce53_4357, 0xce53_4358, 0xce53_4364, 0xce53_4365, 0xce53_4366, 0xce53_4367,
    0xce53_4368, 0xce53_4369, 0xce53_4373, 0xce53_4374, 0xce53_6351, 0xce53_6352, 0xce53_6353, 0xce53_6354,
    0xce53_6355, 0xce53_6356, 0xce53_6357, 0xce53_6358, 0xce53_6359, 0xce53_635a, 0xce53_635b, 0xce53_635c,
    0xce53_635d, 0xce53_635e, 0xce53_635f, 0xce53_6360, 0xce53_63b4, 0xce53_63b5, 0xd5a0_db00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_name() {
        for number in COLUMNS {
            assert_eq!(attribute(&column(number)), Some(number));
        }
        for other in ["id", "a", "a01", "aCE536358", "a1 ", "a+1", "a100000000", "b1"] {
            assert_eq!(attribute(other), None, "{other}");
        }
    }
}
