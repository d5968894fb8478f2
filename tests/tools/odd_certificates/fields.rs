//! Names, serial numbers, times, versions, algorithms, and how it is all encoded.

use super::odd::{Cases, ECDSA, Odd, named};
use crate::support::der::{
    BMP, IA5, NUMERIC, PRINTABLE, T61, UNIVERSAL, UTF8, VISIBLE, attribute, common_name, name, oid, sequence,
    tlv,
};

fn names(cases: &mut Cases) {
    let of = |subject: Vec<u8>| Odd { subject, ..Odd::default() };
    let cn = |tag, value: &[u8]| named(&[&attribute("2.5.4.10", tag, value)]);
    cases.add("name empty", &Odd { subject: sequence(&[]), ..Odd::default() });
    cases.add(
        "name subject-empty",
        &Odd { subject: sequence(&[]), issuer: Some(common_name("Issuer")), ..Odd::default() },
    );
    cases.add("name issuer-empty", &Odd { issuer: Some(sequence(&[])), ..Odd::default() });
    cases.add("name rdn-empty", &of(name(&[&[]])));
    cases.add("name rdn-empty-among", &of(tlv(0x30, &[&named(&[])[2..], &tlv(0x31, &[])].concat())));
    for (what, tag, value) in [
        ("utf8", UTF8, "Größe 日本".as_bytes()),
        ("utf8-invalid", UTF8, b"a\xffb"),
        ("utf8-overlong", UTF8, b"\xc0\x80"),
        ("utf8-surrogate", UTF8, b"\xed\xa0\x80"),
        ("utf8-empty", UTF8, b""),
        ("utf8-nul", UTF8, b"a\0b"),
        ("utf8-newline", UTF8, b"a\nb"),
        ("numeric", NUMERIC, b"123 4"),
        ("numeric-letters", NUMERIC, b"abc"),
        ("printable-at", PRINTABLE, b"a@b"),
        ("printable-star", PRINTABLE, b"a*b"),
        ("printable-amp", PRINTABLE, b"a&b"),
        ("printable-underscore", PRINTABLE, b"a_b"),
        ("printable-latin1", PRINTABLE, b"a\xfc"),
        ("printable-nul", PRINTABLE, b"a\0"),
        ("t61", T61, b"Gr\xf6\xdfe"),
        ("t61-controls", T61, b"\x1b[2K"),
        ("t61-ascii", T61, b"plain"),
        ("videotex", 0x15, b"x"),
        ("ia5", IA5, b"plain"),
        ("ia5-latin1", IA5, b"\xfc"),
        ("graphic", 0x19, b"x"),
        ("visible", VISIBLE, b"x"),
        ("general", 0x1b, b"x"),
        ("universal", UNIVERSAL, b"\0\0\0A"),
        ("universal-odd", UNIVERSAL, b"\0\0\0A\0"),
        ("universal-beyond", UNIVERSAL, b"\0\x11\0\0"),
        ("bmp", BMP, b"\0A\x65\xe5"),
        ("bmp-odd", BMP, b"\0A\0"),
        ("bmp-surrogates", BMP, b"\xd8\x3d\xdd\x12"),
        ("bmp-lone-surrogate", BMP, b"\xd8\x3d\0A"),
        ("bmp-empty", BMP, b""),
        ("octets", 0x04, b"x"),
        ("integer", 0x02, b"\x05"),
        ("boolean", 0x01, b"\xff"),
        ("null", 0x05, b""),
        ("sequence", 0x30, b""),
        ("set", 0x31, b""),
        ("time", 0x17, b"200101000000Z"),
        ("oid", 0x06, b"\x2a\x03"),
        ("bits", 0x03, b"\x00\x05"),
        ("bits-unused", 0x03, b"\x01\x05"),
        ("context", 0x80, b"x"),
        ("constructed-utf8", 0x2c, b"\x0c\x01x"),
    ] {
        cases.add(format!("name value {what}"), &of(cn(tag, value)));
        cases.add(format!("name cn {what}"), &of(name(&[&[&attribute("2.5.4.3", tag, value)]])));
    }
    for (what, kind, tag, value) in [
        ("country-1", "2.5.4.6", PRINTABLE, &b"D"[..]),
        ("country-3", "2.5.4.6", PRINTABLE, b"DEU"),
        ("country-utf8", "2.5.4.6", UTF8, b"DE"),
        ("country-empty", "2.5.4.6", PRINTABLE, b""),
        ("country-lower", "2.5.4.6", PRINTABLE, b"de"),
        ("email-utf8", "1.2.840.113549.1.9.1", UTF8, b"a@b"),
        ("email-ia5", "1.2.840.113549.1.9.1", IA5, b"a@b"),
        ("dc-utf8", "0.9.2342.19200300.100.1.25", UTF8, b"example"),
        ("dc-ia5", "0.9.2342.19200300.100.1.25", IA5, b"example"),
        ("dc-latin1", "0.9.2342.19200300.100.1.25", IA5, b"\xfc"),
        ("serial-utf8", "2.5.4.5", UTF8, b"123"),
        ("dn-qualifier-utf8", "2.5.4.46", UTF8, b"123"),
        ("unique-id-bits", "2.5.4.45", 0x03, b"\x00\x05"),
        ("unique-id-utf8", "2.5.4.45", UTF8, b"x"),
        ("postal-address", "2.5.4.16", 0x30, b"\x0c\x01x"),
        ("unknown", "1.2.3.4", UTF8, b"x"),
        ("unknown-arc-2-31", "1.2.2147483648", UTF8, b"x"),
        ("unknown-arc-2-32", "1.2.4294967296", UTF8, b"x"),
        ("unknown-arc-2-63", "1.2.9223372036854775808", UTF8, b"x"),
        ("unknown-octets", "1.2.3.4", 0x04, b"x"),
        ("date-of-birth", "1.3.6.1.5.5.7.9.1", 0x18, b"19700101000000Z"),
        ("organization-70", "2.5.4.10", UTF8, &[b'x'; 70]),
        ("organization-1000", "2.5.4.10", UTF8, &[b'x'; 1000]),
        ("organization-70000", "2.5.4.10", UTF8, &[b'x'; 70_000]),
        ("country-70000", "2.5.4.6", PRINTABLE, &[b'x'; 70_000]),
    ] {
        cases.add(format!("name {what}"), &of(named(&[&attribute(kind, tag, value)])));
    }
    let a = attribute("2.5.4.3", UTF8, b"A");
    let b = attribute("2.5.4.10", UTF8, b"B");
    let own = |rdn: &[u8]| tlv(0x30, &[&tlv(0x31, rdn)[..], &named(&[])[2..]].concat());
    for (what, subject) in [
        ("rdn-sorted", own(&[a.clone(), b.clone()].concat())),
        ("rdn-unsorted", own(&[b.clone(), a.clone()].concat())),
        ("rdn-same-twice", own(&[a.clone(), a.clone()].concat())),
        ("rdn-same-type", own(&[a.clone(), attribute("2.5.4.3", UTF8, b"B")].concat())),
        ("rdn-sequence", tlv(0x30, &tlv(0x30, &a))),
        ("attribute-bare", tlv(0x30, &a)),
        ("attribute-empty", own(&sequence(&[]))),
        ("attribute-no-value", own(&sequence(&[&oid("2.5.4.3")]))),
        ("attribute-two-values", own(&sequence(&[&oid("2.5.4.3"), &tlv(UTF8, b"A"), &tlv(UTF8, b"B")]))),
        ("attribute-oid-empty", own(&sequence(&[&[6, 0], &tlv(UTF8, b"A")]))),
        ("attribute-oid-padded", own(&sequence(&[&[6, 3, 0x2a, 0x80, 1], &tlv(UTF8, b"A")]))),
        (
            "attribute-oid-huge",
            own(&sequence(&[
                &tlv(6, &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
                &tlv(UTF8, b"A"),
            ])),
        ),
        ("attribute-oid-many-arcs", own(&sequence(&[&tlv(6, &[0x2a; 130]), &tlv(UTF8, b"A")]))),
        ("attribute-oid-2.999", own(&sequence(&[&oid("2.999"), &tlv(UTF8, b"A")]))),
        ("many-attributes", name(&vec![&[&a[..]][..]; 300])),
        ("cn-twice", name(&[&[&a], &[&attribute("2.5.4.3", UTF8, b"B")]])),
        ("set", tlv(0x31, &tlv(0x31, &a))),
    ] {
        cases.add(format!("name {what}"), &of(subject));
    }
}

fn numbers(cases: &mut Cases) {
    for (what, body) in [
        ("0", vec![0]),
        ("1", vec![1]),
        ("negative", vec![0xfe]),
        ("negative-9", vec![0x85, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("empty", vec![]),
        ("padded", vec![0, 1]),
        ("padded-negative", vec![0xff, 0xfe]),
        ("20-bytes", vec![0x7f; 20]),
        ("21-bytes", [vec![0], vec![0xf1; 20]].concat()),
        ("22-bytes", vec![0x7f; 22]),
        ("64-bytes", vec![0x7f; 64]),
        ("65-bytes", vec![0x7f; 65]),
        ("127-bytes", vec![0x7f; 127]),
        ("200-bytes", vec![0x7f; 200]),
        ("5000-bytes", vec![0x7f; 5000]),
    ] {
        cases.add(format!("serial {what}"), &Odd { serial: tlv(2, &body), ..Odd::default() });
    }
    cases.add("serial octets", &Odd { serial: tlv(4, &[1]), ..Odd::default() });
    for (what, version, extensions) in [
        ("1", vec![], false),
        ("1 with extensions", vec![], true),
        ("1 written", tlv(0xa0, &[2, 1, 0]), false),
        ("1 written with extensions", tlv(0xa0, &[2, 1, 0]), true),
        ("2", tlv(0xa0, &[2, 1, 1]), false),
        ("2 with extensions", tlv(0xa0, &[2, 1, 1]), true),
        ("3 without extensions", tlv(0xa0, &[2, 1, 2]), false),
        ("4", tlv(0xa0, &[2, 1, 3]), true),
        ("128", tlv(0xa0, &[2, 2, 0, 0x80]), true),
        ("negative", tlv(0xa0, &[2, 1, 0xff]), true),
        ("padded", tlv(0xa0, &[2, 2, 0, 2]), true),
        ("empty", tlv(0xa0, &[]), true),
        ("no digits", tlv(0xa0, &[2, 0]), true),
        ("trailing", tlv(0xa0, &[2, 1, 2, 5, 0]), true),
        ("implicit", tlv(0x80, &[2]), true),
    ] {
        let extensions = if extensions { Odd::default().extensions } else { Vec::new() };
        cases.add(format!("version {what}"), &Odd { version, extensions, ..Odd::default() });
    }
    for (what, unique_ids, version) in [
        ("issuer", tlv(0x81, &[0, 1, 2]), 2),
        ("subject", tlv(0x82, &[0, 1, 2]), 2),
        ("both", [tlv(0x81, &[0, 1]), tlv(0x82, &[0, 1])].concat(), 2),
        ("order", [tlv(0x82, &[0, 1]), tlv(0x81, &[0, 1])].concat(), 2),
        ("empty", tlv(0x81, &[]), 2),
        ("no-bits", tlv(0x81, &[0]), 2),
        ("unused", tlv(0x81, &[4, 0xf0]), 2),
        ("unused-set", tlv(0x81, &[4, 0xff]), 2),
        ("unused-9", tlv(0x81, &[9, 0xff]), 2),
        ("constructed", tlv(0xa1, &tlv(3, &[0, 1])), 2),
        ("in-v1", tlv(0x81, &[0, 1, 2]), 0),
        ("field 4", tlv(0xa4, &[5, 0]), 2),
    ] {
        let version = if version == 0 { Vec::new() } else { tlv(0xa0, &[2, 1, version]) };
        cases.add(format!("unique id {what}"), &Odd { unique_ids, version, ..Odd::default() });
    }
}

fn times(cases: &mut Cases) {
    const FROM: (u8, &[u8]) = (0x17, b"200101000000Z");
    for (what, from, to) in [
        ("general", FROM, (0x18, &b"20600101000000Z"[..])),
        ("general-early", FROM, (0x18, b"20400101000000Z")),
        ("general-before", (0x18, &b"20200101000000Z"[..]), (0x17, b"400101000000Z")),
        ("utc-1950", (0x17, b"500101000000Z"), (0x17, b"400101000000Z")),
        ("utc-2049", FROM, (0x17, b"491231235959Z")),
        ("9999", FROM, (0x18, b"99991231235959Z")),
        ("0000", (0x18, b"00000101000000Z"), (0x17, b"400101000000Z")),
        ("0001", (0x18, b"00010101000000Z"), (0x17, b"400101000000Z")),
        ("1582", (0x18, b"15821010000000Z"), (0x17, b"400101000000Z")),
        ("1899", (0x18, b"18991231235959Z"), (0x17, b"400101000000Z")),
        ("1969", (0x17, b"691231235959Z"), (0x17, b"400101000000Z")),
        ("2038", FROM, (0x17, b"380119031408Z")),
        ("2106", FROM, (0x18, b"21060207062816Z")),
        ("2262", FROM, (0x18, b"22620412000000Z")),
        ("reversed", (0x17, b"400101000000Z"), (0x17, b"200101000000Z")),
        ("same", FROM, FROM),
        ("no-seconds", FROM, (0x17, b"4001010000Z")),
        ("no-seconds-general", FROM, (0x18, b"204001010000Z")),
        ("offset", FROM, (0x17, b"400101000000+0100")),
        ("offset-0", FROM, (0x17, b"400101000000+0000")),
        ("fraction", FROM, (0x18, b"20400101000000.5Z")),
        ("fraction-0", FROM, (0x18, b"20400101000000.0Z")),
        ("no-zone", FROM, (0x17, b"400101000000")),
        ("no-zone-general", FROM, (0x18, b"20400101000000")),
        ("lower-z", FROM, (0x17, b"400101000000z")),
        ("month-13", FROM, (0x17, b"401301000000Z")),
        ("month-0", FROM, (0x17, b"400001000000Z")),
        ("day-0", FROM, (0x17, b"400100000000Z")),
        ("day-32", FROM, (0x17, b"400132000000Z")),
        ("february-30", FROM, (0x17, b"400230000000Z")),
        ("february-29", FROM, (0x17, b"400229000000Z")),
        ("no-leap-year", FROM, (0x17, b"410229000000Z")),
        ("hour-24", FROM, (0x17, b"400101240000Z")),
        ("minute-60", FROM, (0x17, b"400101006000Z")),
        ("second-60", FROM, (0x17, b"400101000060Z")),
        ("second-61", FROM, (0x17, b"400101000061Z")),
        ("letters", FROM, (0x17, b"4001010000xxZ")),
        ("spaces", FROM, (0x17, b"40 101000000Z")),
        ("empty", FROM, (0x17, b"")),
        ("trailing", FROM, (0x17, b"400101000000Z\0")),
        ("string", FROM, (0x13, b"400101000000Z")),
        ("negative", FROM, (0x17, b"-40101000000Z")),
    ] {
        let validity = sequence(&[&tlv(from.0, from.1), &tlv(to.0, to.1)]);
        cases.add(format!("time {what}"), &Odd { validity, ..Odd::default() });
    }
    let one = tlv(0x17, b"400101000000Z");
    for (what, validity) in [
        ("missing", sequence(&[&one])),
        ("three", sequence(&[&one, &one, &one])),
        ("none", sequence(&[])),
        ("field-missing", vec![]),
    ] {
        cases.add(format!("time {what}"), &Odd { validity, ..Odd::default() });
    }
}

fn algorithms(cases: &mut Cases) {
    let rsa = "1.2.840.113549.1.1.11";
    for (what, algorithm) in [
        ("unknown", sequence(&[&oid("1.2.3.4")])),
        ("unknown-arc-2-31", sequence(&[&oid("1.2.2147483648")])),
        ("unknown-arc-2-63", sequence(&[&oid("1.2.9223372036854775808")])),
        (
            "unknown-huge",
            sequence(&[&tlv(6, &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]),
        ),
        ("ecdsa-null", sequence(&[&oid(ECDSA), &[5, 0]])),
        ("ecdsa-sequence", sequence(&[&oid(ECDSA), &sequence(&[])])),
        ("ecdsa-sha1", sequence(&[&oid("1.2.840.10045.4.1")])),
        ("ecdsa-sha3", sequence(&[&oid("2.16.840.1.101.3.4.3.10")])),
        (
            "ecdsa-specified",
            sequence(&[&oid("1.2.840.10045.4.3"), &sequence(&[&oid("2.16.840.1.101.3.4.2.1")])]),
        ),
        ("rsa", sequence(&[&oid(rsa), &[5, 0]])),
        ("rsa-no-parameters", sequence(&[&oid(rsa)])),
        ("rsa-sequence", sequence(&[&oid(rsa), &sequence(&[])])),
        ("rsa-md5", sequence(&[&oid("1.2.840.113549.1.1.4"), &[5, 0]])),
        ("rsa-md2", sequence(&[&oid("1.2.840.113549.1.1.2"), &[5, 0]])),
        ("rsa-key-as-signature", sequence(&[&oid("1.2.840.113549.1.1.1"), &[5, 0]])),
        ("pss-none", sequence(&[&oid("1.2.840.113549.1.1.10")])),
        ("pss-null", sequence(&[&oid("1.2.840.113549.1.1.10"), &[5, 0]])),
        ("pss-empty", sequence(&[&oid("1.2.840.113549.1.1.10"), &sequence(&[])])),
        ("pss-garbage", sequence(&[&oid("1.2.840.113549.1.1.10"), &sequence(&[&[2, 1, 0]])])),
        (
            "pss-sha256",
            sequence(&[
                &oid("1.2.840.113549.1.1.10"),
                &sequence(&[&tlv(0xa0, &sequence(&[&oid("2.16.840.1.101.3.4.2.1"), &[5, 0]]))]),
            ]),
        ),
        ("ed25519", sequence(&[&oid("1.3.101.112")])),
        ("ed25519-null", sequence(&[&oid("1.3.101.112"), &[5, 0]])),
        ("ml-dsa", sequence(&[&oid("2.16.840.1.101.3.4.3.17")])),
        ("gost", sequence(&[&oid("1.2.643.7.1.1.3.2")])),
        ("sm2", sequence(&[&oid("1.2.156.10197.1.501")])),
        ("dsa", sequence(&[&oid("1.2.840.10040.4.3")])),
        ("octets", sequence(&[&oid("1.2.3.4"), &tlv(4, &[1])])),
        ("integer", sequence(&[&oid("1.2.3.4"), &[2, 1, 1]])),
        ("boolean", sequence(&[&oid("1.2.3.4"), &[1, 1, 0xff]])),
        ("set", sequence(&[&oid("1.2.3.4"), &tlv(0x31, &[])])),
        ("context", sequence(&[&oid("1.2.3.4"), &tlv(0xa0, &[])])),
        ("sequence-garbage", sequence(&[&oid("1.2.3.4"), &tlv(0x30, &[7, 7, 7])])),
        ("two", sequence(&[&oid(ECDSA), &[5, 0, 5, 0]])),
        ("empty", sequence(&[])),
        ("null-with-a-byte", sequence(&[&oid(ECDSA), &[5, 1, 0]])),
        ("oid-empty", sequence(&[&[6, 0]])),
    ] {
        cases.add(format!("algorithm {what}"), &Odd { algorithm, ..Odd::default() });
    }
    for (what, outer) in [
        ("mismatch", sequence(&[&oid("1.2.840.10045.4.3.3")])),
        ("null-outside", sequence(&[&oid(ECDSA), &[5, 0]])),
        ("missing-outside", vec![]),
    ] {
        cases.add(format!("algorithm {what}"), &Odd { outer_algorithm: Some(outer), ..Odd::default() });
    }
    for (what, signature) in [
        ("empty", tlv(3, &[])),
        ("no-bits", tlv(3, &[0])),
        ("garbage", tlv(3, &[0, 1, 2, 3])),
        ("unused-bits", tlv(3, &[1, 2])),
        ("unused-9", tlv(3, &[9, 2])),
        ("octets", tlv(4, &[0, 1])),
        ("constructed", tlv(0x23, &tlv(3, &[0, 1]))),
        ("sequence-empty", tlv(3, &[0, 0x30, 0])),
        ("negative", tlv(3, &[&[0][..], &sequence(&[&[2, 1, 0xff], &[2, 1, 0xff]])].concat())),
        ("large", tlv(3, &[0; 60_000])),
        ("missing", vec![]),
    ] {
        cases.add(format!("signature {what}"), &Odd { signature: Some(signature), ..Odd::default() });
    }
}

/// The same fields in other encodings.
fn encodings(cases: &mut Cases) {
    cases.add("plain", &Odd::default());
    cases.add("trailing in the certificate", &Odd { outer_tail: vec![5, 0], ..Odd::default() });
    cases.add("trailing in the body", &Odd { tail: vec![5, 0], ..Odd::default() });
    cases.add("trailing context 5", &Odd { tail: tlv(0xa5, &[5, 0]), ..Odd::default() });
    cases.add_der("trailing byte", [Odd::default().der(), vec![0]].concat());
    let der = Odd::default().der();
    cases.add_der("cut off", der[..der.len() - 1].to_vec());
    // 30 82 hh ll 30 82 hh ll …
    cases.add_der("length of 3 bytes", [&[0x30, 0x83, 0][..], &der[2..]].concat());
    cases.add_der("indefinite", [&[0x30, 0x80][..], &der[4..], &[0, 0]].concat());
    let total = usize::from(der[2]) << 8 | usize::from(der[3]);
    let longer = [&[0x30, 0x82][..], &(total as u16 + 1).to_be_bytes(), &[0x30, 0x83, 0], &der[6..]].concat();
    cases.add_der("body length of 3 bytes", longer);
    let subject = named(&[]);
    cases.add(
        "name long length",
        &Odd { subject: [&[0x30, 0x81][..], &subject[1..]].concat(), ..Odd::default() },
    );
    cases.add(
        "name indefinite",
        &Odd { subject: [&[0x30, 0x80][..], &subject[2..], &[0, 0]].concat(), ..Odd::default() },
    );
    cases.add("serial long length", &Odd { serial: vec![2, 0x81, 2, 0x55, 1], ..Odd::default() });
    cases.add(
        "algorithm long length",
        &Odd { algorithm: [&[0x30, 0x81][..], &sequence(&[&oid(ECDSA)])[1..]].concat(), ..Odd::default() },
    );
}

pub(super) fn add(cases: &mut Cases) {
    names(cases);
    numbers(cases);
    times(cases);
    algorithms(cases);
    encodings(cases);
}
