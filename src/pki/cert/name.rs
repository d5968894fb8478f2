//! Distinguished names (RFC 5280 section 4.1.2.4): their attributes as text, the label that trust stores show, one line
//! for people, and why a name cannot be shown at all (threat T4).

use super::der::{self, DerReader};
use crate::text;

/// CN, OU, O: the attributes for a label, in this order.
const LABEL_OIDS: [&[u8]; 3] = [&[0x55, 4, 3], &[0x55, 4, 11], &[0x55, 4, 10]];

/// Short names of attribute types: RFC 4514 section 3, then OpenSSL's names for the others that roots have.
const SHORT_NAMES: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
];

/// One attribute of a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameAttribute<'a> {
    /// Its type: the content of the OBJECT IDENTIFIER.
    pub(super) oid: &'a [u8],
    /// The encoded type, tag and length included.
    pub(super) oid_raw: &'a [u8],
    /// Its value.
    pub(super) value: der::Tlv<'a>,
}

/// An attribute's value, as text if it is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttributeValue {
    /// A string type, decoded.
    Text(String),
    /// A string type whose bytes are not text (broken UTF-8, half a character, a surrogate).
    Broken,
    /// Not a string type.
    Binary,
}

impl NameAttribute<'_> {
    /// The value as text.
    pub(super) fn text(&self) -> AttributeValue {
        let body = self.value.body;
        let text = match self.value.tag {
            der::UTF8_STRING => str::from_utf8(body).ok().map(str::to_owned),
            // Numeric, Printable, T61, Videotex, IA5, Graphic, Visible and General strings: one byte a character,
            // read as Latin-1, as OpenSSL does.
            0x12..=0x16 | 0x19..=0x1b => Some(body.iter().copied().map(char::from).collect()),
            0x1c => wide(body.as_chunks().0, body.len() % 4, |unit: &[u8; 4]| u32::from_be_bytes(*unit)),
            0x1e => {
                wide(body.as_chunks().0, body.len() % 2, |unit: &[u8; 2]| u16::from_be_bytes(*unit).into())
            }
            _ => return AttributeValue::Binary,
        };
        text.map_or(AttributeValue::Broken, AttributeValue::Text)
    }

    fn has_type(&self, oid: &[u8]) -> bool {
        self.oid == oid
    }
}

/// Characters of a fixed width. A BMPString has no surrogate pairs (X.680 section 41.15), so a surrogate is broken.
fn wide<const N: usize>(units: &[[u8; N]], rest: usize, code: impl Fn(&[u8; N]) -> u32) -> Option<String> {
    if rest != 0 {
        return None;
    }
    units.iter().map(|unit| char::from_u32(code(unit))).collect()
}

/// The relative distinguished names of `name` (the DER of a Name), each with its attributes; `None` if malformed.
pub(super) fn rdns(name: &[u8]) -> Option<Vec<Vec<NameAttribute<'_>>>> {
    let mut sets = DerReader::new(der::only(name, der::SEQUENCE)?.body);
    let mut rdns = Vec::new();
    while !sets.is_empty() {
        let mut members = DerReader::new(sets.take(der::SET)?.body);
        let mut rdn = Vec::new();
        while !members.is_empty() {
            let mut parts = DerReader::new(members.take(der::SEQUENCE)?.body);
            let oid = parts.take(der::OID)?;
            let value = parts.next().filter(|_| parts.is_empty())?;
            rdn.push(NameAttribute { oid: oid.body, oid_raw: oid.raw, value });
        }
        rdns.push(rdn);
    }
    Some(rdns)
}

/// The name that p11-kit would show: the first CN, else OU, else O, else `certificate`. Raw: see [`unfit`].
pub(super) fn label(name: &[u8]) -> String {
    labels(name).into_iter().next().unwrap_or_else(|| "certificate".to_owned())
}

/// All names that some version of p11-kit would show: up to 0.25 it uses the first CN (OU, O), since 0.26 the last.
pub(super) fn labels(name: &[u8]) -> Vec<String> {
    let rdns = rdns(name).unwrap_or_default();
    let of_type = |oid: &&[u8]| {
        let attributes = rdns.iter().flatten().filter(|attribute| attribute.has_type(oid));
        let texts = attributes.filter_map(|attribute| match attribute.text() {
            AttributeValue::Text(text) => Some(text),
            AttributeValue::Broken => Some(String::from_utf8_lossy(attribute.value.body).into_owned()),
            AttributeValue::Binary => None,
        });
        texts.filter(|text| !text.is_empty()).collect::<Vec<String>>()
    };
    LABEL_OIDS.iter().map(of_type).find(|texts| !texts.is_empty()).unwrap_or_default()
}

/// The first common name.
pub(super) fn common_name(name: &[u8]) -> Option<String> {
    let rdns = rdns(name)?;
    rdns.iter().flatten().filter(|attribute| attribute.has_type(LABEL_OIDS[0])).find_map(|attribute| {
        match attribute.text() {
            AttributeValue::Text(text) => Some(text),
            AttributeValue::Broken | AttributeValue::Binary => None,
        }
    })
}

/// One line for people, in the style of RFC 4514 (most specific part first), escaped and cut.
pub(super) fn one_line(name: &[u8]) -> String {
    let Some(rdns) = rdns(name) else { return "(malformed name)".to_owned() };
    if rdns.is_empty() {
        return "(empty name)".to_owned();
    }
    let lines: Vec<String> = rdns
        .iter()
        .rev()
        .map(|rdn| {
            let parts: Vec<String> = rdn
                .iter()
                .map(|attribute| {
                    let dotted = dotted(attribute.oid);
                    let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == dotted).map(|(_, short)| *short);
                    let value = match attribute.text() {
                        AttributeValue::Text(text) => escape_value(&text),
                        // RFC 4514 section 2.4: `#` and the DER in hex.
                        AttributeValue::Broken | AttributeValue::Binary => {
                            format!("#{}", hex::encode(attribute.value.raw))
                        }
                    };
                    format!("{}={value}", short.unwrap_or(&dotted))
                })
                .collect();
            parts.join("+")
        })
        .collect();
    text::escape(&lines.join(","))
}

/// RFC 4514 section 2.4: what a value must not show unescaped.
fn escape_value(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (c == '#' && at == 0)
            || (c == ' ' && (at == 0 || at == last));
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// An object identifier as `2.5.4.3`; only for showing and comparing, so an unreadable one is given in hex.
pub(crate) fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc: u64 = 0;
    for byte in oid {
        match arc.checked_mul(128) {
            Some(shifted) => arc = shifted | u64::from(byte & 0x7f),
            None => return format!("#{}", hex::encode(oid)),
        }
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let Some((first, others)) =
        arcs.split_first().filter(|_| oid.last().is_some_and(|last| last & 0x80 == 0))
    else {
        return format!("#{}", hex::encode(oid));
    };
    // X.690 section 8.19.4: the first two arcs share a number.
    let root = (*first / 40).min(2);
    let mut text = format!("{root}.{}", first - 40 * root);
    for arc in others {
        text.push_str(&format!(".{arc}"));
    }
    text
}

/// Why a name cannot be shown as it is, if so: control or bidirectional characters in any attribute (p11-kit's `trust
/// extract --comment` turned such a CN into an additional trusted root), or bytes that are not text.
pub(super) fn unfit(name: &[u8]) -> Option<String> {
    let Some(rdns) = rdns(name) else { return Some("is malformed".to_owned()) };
    rdns.iter().flatten().find_map(|attribute| match attribute.text() {
        AttributeValue::Text(text) => text
            .chars()
            .find(|c| text::is_unsafe(*c))
            .map(|c| format!("has a control character (U+{:04X})", u32::from(c))),
        AttributeValue::Broken => Some("has bytes that are no text in their own encoding".to_owned()),
        AttributeValue::Binary => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        BMP, IA5, NUMERIC, PRINTABLE, T61, UNIVERSAL, UTF8, VISIBLE, attribute, name,
    };
    use super::*;

    #[test]
    fn labels_prefer_cn_then_ou_then_o() {
        let cn = attribute("2.5.4.3", UTF8, "Größe".as_bytes());
        let ou = attribute("2.5.4.11", PRINTABLE, b"Unit");
        let o = attribute("2.5.4.10", PRINTABLE, b"Org");
        let c = attribute("2.5.4.6", PRINTABLE, b"DE");
        assert_eq!(label(&name(&[&[&c], &[&o], &[&ou], &[&cn]])), "Größe");
        assert_eq!(label(&name(&[&[&c], &[&o], &[&ou]])), "Unit");
        assert_eq!(label(&name(&[&[&c], &[&o]])), "Org");
        assert_eq!(label(&name(&[&[&c]])), "certificate");
        assert_eq!(label(&name(&[])), "certificate");
        let empty = attribute("2.5.4.3", UTF8, b"");
        assert_eq!(label(&name(&[&[&empty], &[&o]])), "Org");
        let second = attribute("2.5.4.3", UTF8, b"second");
        assert_eq!(label(&name(&[&[&cn], &[&second]])), "Größe");
        assert_eq!(labels(&name(&[&[&o], &[&cn], &[&second]])), ["Größe", "second"]);
    }

    #[test]
    fn every_string_type_is_decoded() {
        for (tag, bytes, wanted) in [
            (UTF8, "é日".as_bytes(), "é日"),
            (PRINTABLE, b"abc", "abc"),
            (T61, b"caf\xe9", "café"),
            (IA5, b"a@b", "a@b"),
            (VISIBLE, b"v", "v"),
            (NUMERIC, b"12", "12"),
            (BMP, b"\x00A\x65\xe5", "A日"),
            (UNIVERSAL, b"\x00\x00\x00A\x00\x01\xf5\x12", "A\u{1f512}"),
        ] {
            assert_eq!(label(&name(&[&[&attribute("2.5.4.3", tag, bytes)]])), wanted);
        }
        for (tag, bytes) in [
            (UTF8, &b"\xff"[..]),
            (BMP, b"\x00"),
            (BMP, b"\xd8\x3d\xdd\x12"),
            (UNIVERSAL, b"\x00\x00\x41"),
            (UNIVERSAL, b"\x00\x11\x00\x00"),
        ] {
            let broken = name(&[&[&attribute("2.5.4.3", tag, bytes)]]);
            assert!(unfit(&broken).expect("refused").contains("no text"), "{tag:x} {bytes:x?}");
        }
    }

    #[test]
    fn one_line_follows_rfc_4514_and_is_escaped() {
        let cn = attribute("2.5.4.3", UTF8, b" #a, b+\"c\" ");
        let o = attribute("2.5.4.10", UTF8, b"#\x1bx");
        let odd = attribute("1.3.6.1.4.1.99999.1", 0x04, b"\x01");
        assert_eq!(
            one_line(&name(&[&[&o], &[&cn, &odd]])),
            r##"CN=\ #a\, b\+\"c\"\ +1.3.6.1.4.1.99999.1=#040101,O=\#\u{1b}x"##
        );
        assert_eq!(one_line(&name(&[])), "(empty name)");
        assert_eq!(one_line(b"\x30\x05"), "(malformed name)");
    }

    #[test]
    fn t4_control_characters_in_any_attribute_are_found() {
        for bad in ["a\nb", "\0", "\x1b[2J", "a\x7f", "\u{85}", "\u{202e}x", "\u{2066}", "a\u{2028}b"] {
            for oid in ["2.5.4.3", "2.5.4.6", "1.2.3.4.5"] {
                let good = attribute("2.5.4.3", UTF8, b"good");
                let bad = attribute(oid, UTF8, bad.as_bytes());
                assert!(unfit(&name(&[&[&good], &[&bad]])).expect("refused").contains("U+"));
                assert!(unfit(&name(&[&[&good, &bad]])).is_some());
            }
        }
        for (tag, bytes) in
            [(T61, &b"a\x9bb"[..]), (BMP, b"\x20\x2e"), (IA5, b"\n"), (0x19, b"\n"), (UNIVERSAL, b"\0\0\0\n")]
        {
            assert!(unfit(&name(&[&[&attribute("2.5.4.10", tag, bytes)]])).is_some(), "{tag:x}");
        }
        let fine = attribute("2.5.4.3", UTF8, "Ünï 日本 (R1), \u{200d}".as_bytes());
        assert_eq!(unfit(&name(&[&[&fine], &[&attribute("2.5.4.45", 0x03, b"\x00\n")]])), None);
    }

    #[test]
    fn object_identifiers_are_shown() {
        assert_eq!(dotted(&[0x55, 4, 3]), "2.5.4.3");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]), "1.2.840.113549.1.9.1");
        assert_eq!(dotted(&[0x88, 0x37]), "2.999");
        assert_eq!(dotted(&[0xff]), "#ff");
        assert_eq!(dotted(&[]), "#");
        assert_eq!(dotted(&[0xff; 40]), format!("#{}", "ff".repeat(40)));
    }
}
