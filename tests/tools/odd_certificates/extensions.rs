//! Extensions: each of RFC 5280 in every odd form, Netscape's, and private ones.

use super::odd::{CRITICAL, Cases, Odd, extension};
use crate::support::der::{ANY_USAGE, SERVER_AUTH, common_name, oid, sequence, tlv, usages};

/// A SEQUENCE of these elements.
fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// Every kind of GeneralName, good and bad.
fn general_names() -> Vec<(&'static str, Vec<u8>)> {
    let directory = |body: &[u8]| tlv(0xa4, body);
    vec![
        ("dns", tlv(0x82, b"example.com")),
        ("dns-empty", tlv(0x82, b"")),
        ("dns-latin1", tlv(0x82, b"b\xfccher.example")),
        ("dns-nul", tlv(0x82, b"a\0b.example")),
        ("dns-space", tlv(0x82, b" ")),
        ("dns-star", tlv(0x82, b"*.example.com")),
        ("dns-underscore", tlv(0x82, b"a_b.example")),
        ("dns-dot", tlv(0x82, b".example.com")),
        ("dns-digit", tlv(0x82, b"1example.com")),
        ("email", tlv(0x81, b"ca@example.com")),
        ("email-empty", tlv(0x81, b"")),
        ("email-host", tlv(0x81, b"example.com")),
        ("email-dot", tlv(0x81, b".example.com")),
        ("email-latin1", tlv(0x81, b"\xfc@example.com")),
        ("uri", tlv(0x86, b"http://example.com/ca")),
        ("uri-host", tlv(0x86, b"example.com")),
        ("uri-dot", tlv(0x86, b".example.com")),
        ("uri-empty", tlv(0x86, b"")),
        ("uri-space", tlv(0x86, b"http://a b/")),
        ("uri-percent", tlv(0x86, b"http://a/%zz")),
        ("uri-port", tlv(0x86, b"http://a.example:99999/")),
        ("uri-ip", tlv(0x86, b"http://10.0.0.1/")),
        ("uri-urn", tlv(0x86, b"urn:uuid:1234")),
        ("uri-ldap", tlv(0x86, b"ldap:///CN=x,DC=y?cACertificate?base")),
        ("uri-file", tlv(0x86, b"file://\\\\server\\share\\x.crl")),
        ("uri-spiffe", tlv(0x86, b"spiffe://example.org")),
        ("uri-relative", tlv(0x86, b"//example.com")),
        ("uri-latin1", tlv(0x86, b"http://\xfc/")),
        ("ip4", tlv(0x87, &[10, 0, 0, 1])),
        ("ip16", tlv(0x87, &[0x20; 16])),
        ("ip4-mask", tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])),
        ("ip4-mask-holes", tlv(0x87, &[10, 0, 0, 0, 255, 0, 255, 0])),
        ("ip4-host-bits", tlv(0x87, &[10, 1, 2, 3, 255, 0, 0, 0])),
        ("ip16-mask", tlv(0x87, &[[0x20; 16], [0xff; 16]].concat())),
        ("ip16-mask-holes", tlv(0x87, &[[0x20; 16], [0xf0; 16]].concat())),
        ("ip5", tlv(0x87, &[10, 0, 0, 0, 1])),
        ("ip-empty", tlv(0x87, &[])),
        ("directory", directory(&common_name("Below"))),
        ("directory-empty", directory(&sequence(&[]))),
        ("directory-null", directory(&[5, 0])),
        ("directory-nothing", directory(&[])),
        ("directory-implicit", tlv(0xa4, &common_name("Below")[2..])),
        ("rid", tlv(0x88, &[0x2a, 3, 4])),
        ("rid-bad", tlv(0x88, &[0x80, 1])),
        ("rid-empty", tlv(0x88, &[])),
        ("other", tlv(0xa0, &[oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xa0, &tlv(0x0c, b"a@b"))].concat())),
        ("other-empty", tlv(0xa0, &[])),
        ("other-no-value", tlv(0xa0, &oid("1.2.3.4"))),
        ("other-bare-value", tlv(0xa0, &[oid("1.2.3.4"), tlv(0x0c, b"x")].concat())),
        ("x400", tlv(0xa3, &sequence(&[]))),
        ("x400-empty", tlv(0xa3, &[])),
        ("edi", tlv(0xa5, &tlv(0xa1, &tlv(0x0c, b"party")))),
        ("edi-empty", tlv(0xa5, &[])),
        ("tag9", tlv(0x89, b"x")),
        ("universal", tlv(0x0c, b"x")),
    ]
}

fn basic_constraints(cases: &mut Cases) {
    for (name, value) in [
        ("empty-bytes", vec![]),
        ("empty", sequence(&[])),
        ("ca-01", sequence(&[&[1, 1, 1]])),
        ("ca-false", sequence(&[&[1, 1, 0]])),
        ("path-0", sequence(&[CRITICAL, &[2, 1, 0]])),
        ("path-negative", sequence(&[CRITICAL, &[2, 1, 0xff]])),
        ("path-long", sequence(&[CRITICAL, &[2, 5, 1, 0, 0, 0, 0]])),
        ("path-i32", sequence(&[CRITICAL, &[2, 5, 0, 0xff, 0xff, 0xff, 0xff]])),
        ("path-2-31", sequence(&[CRITICAL, &[2, 4, 0x7f, 0xff, 0xff, 0xff]])),
        ("path-300", sequence(&[CRITICAL, &[2, 2, 1, 0x2c]])),
        ("path-20-bytes", sequence(&[CRITICAL, &tlv(2, &[0x11; 20])])),
        ("path-padded", sequence(&[CRITICAL, &[2, 2, 0, 1]])),
        ("path-alone", sequence(&[&[2, 1, 0]])),
        ("trailing-inside", sequence(&[CRITICAL, &[2, 1, 0], &[5, 0]])),
        ("trailing-behind", [sequence(&[CRITICAL]), vec![5, 0]].concat()),
        ("not-a-sequence", tlv(0x31, CRITICAL)),
        ("long-length", vec![0x30, 0x81, 3, 1, 1, 0xff]),
        ("indefinite", vec![0x30, 0x80, 1, 1, 0xff, 0, 0]),
    ] {
        cases.add(format!("bc {name}"), &Odd::default().with_extension("2.5.29.19", true, &value));
    }
    cases.add("bc not critical", &Odd::default().with("2.5.29.19", &sequence(&[CRITICAL])));
    let mut twice = Odd::default();
    twice.extensions.push(twice.extensions[0].clone());
    cases.add("bc twice", &twice);
}

fn usage(cases: &mut Cases) {
    for (name, value) in [
        ("no-bits", vec![3, 1, 0]),
        ("no-bits-byte", vec![3, 2, 7, 0]),
        ("all-9", vec![3, 3, 7, 0xff, 0x80]),
        ("sign-and-decipher", vec![3, 3, 7, 0x06, 0x80]),
        ("16-bits", vec![3, 3, 0, 0x06, 0xff]),
        ("long", vec![3, 5, 0, 0x06, 0, 0, 1]),
        ("unpadded", vec![3, 2, 0, 6]),
        ("unused-set", vec![3, 2, 2, 7]),
        ("unused-9", vec![3, 2, 9, 6]),
        ("empty", vec![]),
        ("bit-string-empty", vec![3, 0]),
        ("integer", vec![2, 1, 6]),
        ("trailing", vec![3, 2, 1, 6, 5, 0]),
    ] {
        cases.add(format!("ku {name}"), &Odd::default().with_extension("2.5.29.15", true, &value));
    }
    cases.add("ku not critical", &Odd::default().with("2.5.29.15", &[3, 2, 1, 6]));
    for (name, value) in [
        ("server", usages(&[SERVER_AUTH])),
        ("any", usages(&[ANY_USAGE])),
        ("empty", sequence(&[])),
        ("empty-bytes", vec![]),
        ("twice", usages(&[SERVER_AUTH, SERVER_AUTH])),
        ("unknown", usages(&[SERVER_AUTH, "1.2.3.4.5.6"])),
        ("arc-2-31", usages(&[SERVER_AUTH, "1.2.2147483648"])),
        ("arc-2-32", usages(&[SERVER_AUTH, "1.2.4294967296"])),
        ("arc-2-63", usages(&[SERVER_AUTH, "1.2.9223372036854775808"])),
        (
            "arc-huge",
            sequence(&[
                &oid(SERVER_AUTH),
                &tlv(6, &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            ]),
        ),
        ("oid-empty", sequence(&[&oid(SERVER_AUTH), &[6, 0]])),
        ("oid-padded", sequence(&[&oid(SERVER_AUTH), &[6, 3, 0x2a, 0x80, 1]])),
        ("oid-cut", sequence(&[&oid(SERVER_AUTH), &[6, 2, 0x2a, 0x83]])),
        ("integer", sequence(&[&oid(SERVER_AUTH), &[2, 1, 0]])),
        ("trailing", [usages(&[SERVER_AUTH]), vec![5, 0]].concat()),
        ("set", tlv(0x31, &oid(SERVER_AUTH))),
    ] {
        for critical in [false, true] {
            let how = if critical { " critical" } else { "" };
            cases.add(
                format!("eku {name}{how}"),
                &Odd::default().with_extension("2.5.29.37", critical, &value),
            );
        }
    }
}

fn key_ids(cases: &mut Cases) {
    let aki = "2.5.29.35";
    for (name, kind, value) in [
        ("ski 20", "2.5.29.14", tlv(4, &[7; 20])),
        ("ski empty", "2.5.29.14", tlv(4, &[])),
        ("ski empty-bytes", "2.5.29.14", vec![]),
        ("ski long", "2.5.29.14", tlv(4, &[7; 300])),
        ("ski raw", "2.5.29.14", vec![7; 20]),
        ("ski bit-string", "2.5.29.14", tlv(3, &[0, 7])),
        ("ski sequence", "2.5.29.14", sequence(&[&tlv(4, &[7; 20])])),
        ("ski trailing", "2.5.29.14", [tlv(4, &[7; 20]), vec![5, 0]].concat()),
        ("ski constructed", "2.5.29.14", tlv(0x24, &tlv(4, &[7; 20]))),
        ("aki id", aki, sequence(&[&tlv(0x80, &[7; 20])])),
        ("aki empty", aki, sequence(&[])),
        ("aki empty-bytes", aki, vec![]),
        ("aki id-empty", aki, sequence(&[&tlv(0x80, &[])])),
        ("aki serial-alone", aki, sequence(&[&tlv(0x82, &[1])])),
        ("aki issuer-alone", aki, sequence(&[&tlv(0xa1, &tlv(0xa4, &common_name("X")))])),
        (
            "aki all",
            aki,
            sequence(&[&tlv(0x80, &[7; 20]), &tlv(0xa1, &tlv(0xa4, &common_name("X"))), &tlv(0x82, &[1])]),
        ),
        ("aki serial-empty", aki, sequence(&[&tlv(0xa1, &tlv(0xa4, &common_name("X"))), &tlv(0x82, &[])])),
        (
            "aki serial-negative",
            aki,
            sequence(&[&tlv(0xa1, &tlv(0xa4, &common_name("X"))), &tlv(0x82, &[0xfe])]),
        ),
        ("aki names-empty", aki, sequence(&[&tlv(0xa1, &[]), &tlv(0x82, &[1])])),
        ("aki order", aki, sequence(&[&tlv(0x82, &[1]), &tlv(0x80, &[7; 20])])),
        ("aki octets", aki, tlv(4, &[7; 20])),
        ("aki unknown", aki, sequence(&[&tlv(0x80, &[7; 20]), &tlv(0x83, &[1])])),
        ("aki trailing", aki, [sequence(&[&tlv(0x80, &[7; 20])]), vec![5, 0]].concat()),
    ] {
        cases.add(name, &Odd::default().with(kind, &value));
        cases.add(format!("{name} critical"), &Odd::default().with_extension(kind, true, &value));
    }
}

fn names(cases: &mut Cases) {
    for (name, general) in general_names() {
        let one = seq(std::slice::from_ref(&general));
        cases.add(format!("san {name}"), &Odd::default().with("2.5.29.17", &one));
        cases.add(format!("ian {name}"), &Odd::default().with("2.5.29.18", &one));
        for critical in [false, true] {
            let how = if critical { " critical" } else { "" };
            let permitted = seq(&[tlv(0xa0, &sequence(&[&general]))]);
            let excluded = seq(&[tlv(0xa1, &sequence(&[&general]))]);
            cases.add(
                format!("nc {name}{how}"),
                &Odd::default().with_extension("2.5.29.30", critical, &permitted),
            );
            if critical {
                cases.add(
                    format!("nc excluded {name}"),
                    &Odd::default().with_extension("2.5.29.30", true, &excluded),
                );
            }
        }
    }
    for (kind, id) in [("san", "2.5.29.17"), ("ian", "2.5.29.18")] {
        for (name, value) in [
            ("empty", sequence(&[])),
            ("empty-bytes", vec![]),
            ("trailing", [sequence(&[&tlv(0x82, b"a.example")]), vec![5, 0]].concat()),
            ("octets", tlv(4, b"a.example")),
        ] {
            cases.add(format!("{kind} {name}"), &Odd::default().with(id, &value));
            cases.add(format!("{kind} {name} critical"), &Odd::default().with_extension(id, true, &value));
        }
    }
    let dns = tlv(0x82, b"example.com");
    for (name, value) in [
        ("empty", sequence(&[])),
        ("empty-bytes", vec![]),
        ("permitted-empty", sequence(&[&tlv(0xa0, &[])])),
        ("both-empty", sequence(&[&tlv(0xa0, &[]), &tlv(0xa1, &[])])),
        ("min-0", sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x80, &[0])]))])),
        ("min-1", sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x80, &[1])]))])),
        ("min-big", sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x80, &[9; 9])]))])),
        ("max-1", sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x81, &[1])]))])),
        ("min-max", sequence(&[&tlv(0xa0, &sequence(&[&dns, &tlv(0x80, &[0]), &tlv(0x81, &[1])]))])),
        ("subtree-empty", sequence(&[&tlv(0xa0, &sequence(&[]))])),
        ("order", sequence(&[&tlv(0xa1, &sequence(&[&dns])), &tlv(0xa0, &sequence(&[&dns]))])),
        ("twice", sequence(&[&tlv(0xa0, &sequence(&[&dns])), &tlv(0xa0, &sequence(&[&dns]))])),
        ("unknown-field", sequence(&[&tlv(0xa0, &sequence(&[&dns])), &tlv(0xa2, &[])])),
        ("trailing", [sequence(&[&tlv(0xa0, &sequence(&[&dns]))]), vec![5, 0]].concat()),
        ("set", tlv(0x31, &tlv(0xa0, &sequence(&[&dns])))),
    ] {
        cases.add(format!("nc {name}"), &Odd::default().with("2.5.29.30", &value));
        cases.add(format!("nc {name} critical"), &Odd::default().with_extension("2.5.29.30", true, &value));
    }
}

fn policies(cases: &mut Cases) {
    let any = oid("2.5.29.32.0");
    let other = oid("1.3.6.1.4.1.99999.1");
    let qualified = |qualifier: &[u8]| sequence(&[&sequence(&[&other, &sequence(&[qualifier])])]);
    let cps = oid("1.3.6.1.5.5.7.2.1");
    let notice = oid("1.3.6.1.5.5.7.2.2");
    for (name, id, value) in [
        ("cp any", "2.5.29.32", sequence(&[&sequence(&[&any])])),
        ("cp empty", "2.5.29.32", sequence(&[])),
        ("cp empty-bytes", "2.5.29.32", vec![]),
        ("cp twice", "2.5.29.32", sequence(&[&sequence(&[&other]), &sequence(&[&other])])),
        ("cp any-twice", "2.5.29.32", sequence(&[&sequence(&[&any]), &sequence(&[&any])])),
        ("cp info-empty", "2.5.29.32", sequence(&[&sequence(&[])])),
        ("cp bare-oid", "2.5.29.32", sequence(&[&other])),
        ("cp qualifiers-empty", "2.5.29.32", sequence(&[&sequence(&[&other, &sequence(&[])])])),
        ("cp cps", "2.5.29.32", qualified(&sequence(&[&cps, &tlv(0x16, b"http://a/")]))),
        ("cp cps-utf8", "2.5.29.32", qualified(&sequence(&[&cps, &tlv(0x0c, b"http://a/")]))),
        ("cp cps-latin1", "2.5.29.32", qualified(&sequence(&[&cps, &tlv(0x16, b"http://\xfc/")]))),
        ("cp notice", "2.5.29.32", qualified(&sequence(&[&notice, &sequence(&[&tlv(0x1a, b"text")])]))),
        (
            "cp notice-bmp-odd",
            "2.5.29.32",
            qualified(&sequence(&[&notice, &sequence(&[&tlv(0x1e, b"abc")])])),
        ),
        ("cp notice-empty", "2.5.29.32", qualified(&sequence(&[&notice, &sequence(&[])]))),
        (
            "cp notice-reference",
            "2.5.29.32",
            qualified(&sequence(&[
                &notice,
                &sequence(&[&sequence(&[&tlv(0x0c, b"o"), &sequence(&[&[2, 1, 1]])])]),
            ])),
        ),
        ("cp notice-string", "2.5.29.32", qualified(&sequence(&[&notice, &tlv(0x0c, b"x")]))),
        ("cp qualifier-unknown", "2.5.29.32", qualified(&sequence(&[&oid("1.2.3"), &[5, 0]]))),
        ("cp qualifier-none", "2.5.29.32", qualified(&sequence(&[&cps]))),
        ("cp arc-2-31", "2.5.29.32", sequence(&[&sequence(&[&oid("1.2.2147483648")])])),
        ("cp arc-2-63", "2.5.29.32", sequence(&[&sequence(&[&oid("1.2.9223372036854775808")])])),
        (
            "cp uuid-oid",
            "2.5.29.32",
            sequence(&[&sequence(&[&tlv(
                6,
                &[
                    0x69, 0x83, 0xb8, 0xa5, 0xf1, 0xf3, 0xc5, 0xe5, 0xa5, 0xf1, 0xf3, 0xc5, 0xe5, 0xa5, 0xf1,
                    0xf3, 0xc5, 0xe5, 0xa5, 0x11,
                ],
            )])]),
        ),
        ("cp trailing", "2.5.29.32", [sequence(&[&sequence(&[&any])]), vec![5, 0]].concat()),
        ("pm one", "2.5.29.33", sequence(&[&sequence(&[&other, &other])])),
        ("pm empty", "2.5.29.33", sequence(&[])),
        ("pm any", "2.5.29.33", sequence(&[&sequence(&[&any, &other])])),
        ("pm one-oid", "2.5.29.33", sequence(&[&sequence(&[&other])])),
        ("pm three-oids", "2.5.29.33", sequence(&[&sequence(&[&other, &other, &other])])),
        ("pm empty-bytes", "2.5.29.33", vec![]),
        ("pc both", "2.5.29.36", sequence(&[&tlv(0x80, &[0]), &tlv(0x81, &[0])])),
        ("pc empty", "2.5.29.36", sequence(&[])),
        ("pc negative", "2.5.29.36", sequence(&[&tlv(0x80, &[0xff])])),
        ("pc big", "2.5.29.36", sequence(&[&tlv(0x80, &[9; 9])])),
        ("pc constructed", "2.5.29.36", sequence(&[&tlv(0xa0, &[2, 1, 0])])),
        ("pc no-digits", "2.5.29.36", sequence(&[&tlv(0x80, &[])])),
        ("pc unknown", "2.5.29.36", sequence(&[&tlv(0x82, &[0])])),
        ("pc order", "2.5.29.36", sequence(&[&tlv(0x81, &[0]), &tlv(0x80, &[0])])),
        ("pc empty-bytes", "2.5.29.36", vec![]),
        ("iap 0", "2.5.29.54", vec![2, 1, 0]),
        ("iap negative", "2.5.29.54", vec![2, 1, 0xff]),
        ("iap big", "2.5.29.54", tlv(2, &[9; 9])),
        ("iap null", "2.5.29.54", vec![5, 0]),
        ("iap empty-bytes", "2.5.29.54", vec![]),
        ("iap trailing", "2.5.29.54", vec![2, 1, 0, 5, 0]),
    ] {
        cases.add(name, &Odd::default().with(id, &value));
        cases.add(format!("{name} critical"), &Odd::default().with_extension(id, true, &value));
    }
}

fn locations(cases: &mut Cases) {
    let uri = tlv(0x86, b"http://a.example/x.crl");
    let full = |name: &[u8]| tlv(0xa0, &tlv(0xa0, name));
    for (name, id, value) in [
        ("crl uri", "2.5.29.31", sequence(&[&sequence(&[&full(&uri)])])),
        ("crl empty", "2.5.29.31", sequence(&[])),
        ("crl empty-bytes", "2.5.29.31", vec![]),
        ("crl point-empty", "2.5.29.31", sequence(&[&sequence(&[])])),
        ("crl name-empty", "2.5.29.31", sequence(&[&sequence(&[&tlv(0xa0, &[])])])),
        ("crl names-empty", "2.5.29.31", sequence(&[&sequence(&[&full(&[])])])),
        (
            "crl relative",
            "2.5.29.31",
            sequence(&[&sequence(&[&tlv(
                0xa0,
                &tlv(0xa1, &sequence(&[&oid("2.5.4.3"), &tlv(0x0c, b"x")])),
            )])]),
        ),
        ("crl reasons", "2.5.29.31", sequence(&[&sequence(&[&full(&uri), &tlv(0x81, &[7, 0x80])])])),
        ("crl reasons-odd", "2.5.29.31", sequence(&[&sequence(&[&full(&uri), &tlv(0x81, &[9, 0x80])])])),
        ("crl reasons-alone", "2.5.29.31", sequence(&[&sequence(&[&tlv(0x81, &[7, 0x80])])])),
        ("crl issuer", "2.5.29.31", sequence(&[&sequence(&[&tlv(0xa2, &tlv(0xa4, &common_name("X")))])])),
        ("crl issuer-empty", "2.5.29.31", sequence(&[&sequence(&[&tlv(0xa2, &[])])])),
        ("crl unwrapped", "2.5.29.31", sequence(&[&uri])),
        ("crl latin1", "2.5.29.31", sequence(&[&sequence(&[&full(&tlv(0x86, b"http://\xfc/"))])])),
        ("crl bad-uri", "2.5.29.31", sequence(&[&sequence(&[&full(&tlv(0x86, b"http://a b/%zz"))])])),
        ("crl file-uri", "2.5.29.31", sequence(&[&sequence(&[&full(&tlv(0x86, b"file://\\\\srv\\x.crl"))])])),
        (
            "crl ldap-uri",
            "2.5.29.31",
            sequence(&[&sequence(&[&full(&tlv(
                0x86,
                b"ldap:///CN=x,CN=CDP?certificateRevocationList?base",
            ))])]),
        ),
        ("crl ip-5", "2.5.29.31", sequence(&[&sequence(&[&full(&tlv(0x87, &[1, 2, 3, 4, 5]))])])),
        ("crl trailing", "2.5.29.31", [sequence(&[&sequence(&[&full(&uri)])]), vec![5, 0]].concat()),
        ("freshest uri", "2.5.29.46", sequence(&[&sequence(&[&full(&uri)])])),
        ("freshest empty", "2.5.29.46", sequence(&[])),
        ("aia ocsp", "1.3.6.1.5.5.7.1.1", sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.48.1"), &uri])])),
        ("aia empty", "1.3.6.1.5.5.7.1.1", sequence(&[])),
        ("aia empty-bytes", "1.3.6.1.5.5.7.1.1", vec![]),
        ("aia no-location", "1.3.6.1.5.5.7.1.1", sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.48.1")])])),
        (
            "aia bad-location",
            "1.3.6.1.5.5.7.1.1",
            sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.48.1"), &tlv(0x0c, b"x")])]),
        ),
        (
            "aia bad-uri",
            "1.3.6.1.5.5.7.1.1",
            sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.48.1"), &tlv(0x86, b"http://a b/")])]),
        ),
        ("aia unknown-method", "1.3.6.1.5.5.7.1.1", sequence(&[&sequence(&[&oid("1.2.3.4"), &uri])])),
        ("sia repository", "1.3.6.1.5.5.7.1.11", sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.48.5"), &uri])])),
        ("sia empty", "1.3.6.1.5.5.7.1.11", sequence(&[])),
        ("sia null", "1.3.6.1.5.5.7.1.11", vec![5, 0]),
    ] {
        cases.add(name, &Odd::default().with(id, &value));
        cases.add(format!("{name} critical"), &Odd::default().with_extension(id, true, &value));
    }
}

fn others(cases: &mut Cases) {
    for (name, id, value) in [
        ("netscape type", "2.16.840.1.113730.1.1", vec![3, 2, 0, 7]),
        ("netscape type-empty", "2.16.840.1.113730.1.1", vec![]),
        ("netscape type-null", "2.16.840.1.113730.1.1", vec![5, 0]),
        ("netscape type-odd", "2.16.840.1.113730.1.1", vec![3, 2, 9, 7]),
        ("netscape type-long", "2.16.840.1.113730.1.1", vec![3, 4, 0, 7, 7, 7]),
        ("netscape comment", "2.16.840.1.113730.1.13", tlv(0x16, b"comment")),
        ("netscape comment-null", "2.16.840.1.113730.1.13", vec![5, 0]),
        ("netscape comment-latin1", "2.16.840.1.113730.1.13", tlv(0x16, b"\xfc")),
        ("netscape url-empty", "2.16.840.1.113730.1.2", vec![]),
        ("private null", "1.2.3.4.5", vec![5, 0]),
        ("private empty", "1.2.3.4.5", vec![]),
        ("private garbage", "1.2.3.4.5", vec![0xff; 9]),
        ("private big", "1.2.3.4.5", vec![7; 20_000]),
        ("private arc-2-31", "1.2.2147483648", vec![5, 0]),
        ("private arc-2-32", "1.2.4294967296", vec![5, 0]),
        ("private arc-2-63", "1.2.9223372036854775808", vec![5, 0]),
        ("private first-arc", "2.999.1", vec![5, 0]),
        ("ms ca-version", "1.3.6.1.4.1.311.21.1", vec![2, 1, 0]),
        ("ms ca-version-null", "1.3.6.1.4.1.311.21.1", vec![5, 0]),
        ("ms template", "1.3.6.1.4.1.311.20.2", tlv(0x1e, b"\0C\0A")),
        (
            "private-key-usage period",
            "2.5.29.16",
            sequence(&[&tlv(0x80, b"20200101000000Z"), &tlv(0x81, b"20400101000000Z")]),
        ),
        ("private-key-usage empty", "2.5.29.16", sequence(&[])),
        ("private-key-usage bad-time", "2.5.29.16", sequence(&[&tlv(0x80, b"x")])),
        ("private-key-usage utc", "2.5.29.16", sequence(&[&tlv(0x80, b"200101000000Z")])),
        ("subject-directory", "2.5.29.9", sequence(&[&sequence(&[&oid("1.2.3"), &tlv(0x31, &[2, 1, 0])])])),
        ("subject-directory empty", "2.5.29.9", sequence(&[])),
        ("ocsp-nocheck null", "1.3.6.1.5.5.7.48.1.5", vec![5, 0]),
        ("ocsp-nocheck empty", "1.3.6.1.5.5.7.48.1.5", vec![]),
        ("tls-feature", "1.3.6.1.5.5.7.1.24", sequence(&[&[2, 1, 5]])),
        ("tls-feature bad", "1.3.6.1.5.5.7.1.24", vec![5, 0]),
        ("qc", "1.3.6.1.5.5.7.1.3", sequence(&[&sequence(&[&oid("0.4.0.1862.1.1")])])),
        ("qc bad", "1.3.6.1.5.5.7.1.3", vec![5, 0]),
        ("sct bad", "1.3.6.1.4.1.11129.2.4.2", vec![4, 1, 0]),
        ("ip-blocks bad", "1.3.6.1.5.5.7.1.7", vec![5, 0]),
        ("ip-blocks", "1.3.6.1.5.5.7.1.7", sequence(&[&sequence(&[&tlv(4, &[0, 1]), &[5, 0]])])),
        ("as-ids bad", "1.3.6.1.5.5.7.1.8", vec![5, 0]),
        ("proxy bad", "1.3.6.1.5.5.7.1.14", vec![5, 0]),
        ("proxy", "1.3.6.1.5.5.7.1.14", sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.21.1")])])),
        ("crl-number", "2.5.29.20", vec![2, 1, 0]),
        ("delta-crl-indicator", "2.5.29.27", vec![2, 1, 0]),
        ("crl-idp null", "2.5.29.28", vec![5, 0]),
    ] {
        cases.add(name, &Odd::default().with(id, &value));
        cases.add(format!("{name} critical"), &Odd::default().with_extension(id, true, &value));
    }
    let none = Odd { extensions: Vec::new(), tail: tlv(0xa3, &sequence(&[])), ..Odd::default() };
    cases.add("extensions empty", &none);
    let constraint = Odd::default().extensions[0].clone();
    for (name, element) in [
        (
            "twice private",
            [extension("1.2.3.4", false, &[5, 0]), extension("1.2.3.4", false, &[5, 0])].concat(),
        ),
        ("false written", sequence(&[&oid("1.2.3.4"), &[1, 1, 0], &tlv(4, &[5, 0])])),
        ("critical 01", sequence(&[&oid("1.2.3.4"), &[1, 1, 1], &tlv(4, &[5, 0])])),
        ("critical empty", sequence(&[&oid("1.2.3.4"), &[1, 0], &tlv(4, &[5, 0])])),
        ("no value", sequence(&[&oid("1.2.3.4")])),
        ("value constructed", sequence(&[&oid("1.2.3.4"), &tlv(0x24, &tlv(4, &[5, 0]))])),
        ("value bit string", sequence(&[&oid("1.2.3.4"), &tlv(3, &[0, 5])])),
        ("trailing", sequence(&[&oid("1.2.3.4"), &tlv(4, &[5, 0]), &[5, 0]])),
        ("oid empty", sequence(&[&[6, 0], &tlv(4, &[5, 0])])),
        ("oid padded", sequence(&[&[6, 3, 0x2a, 0x80, 1], &tlv(4, &[5, 0])])),
        (
            "oid huge",
            sequence(&[
                &tlv(6, &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
                &tlv(4, &[5, 0]),
            ]),
        ),
        ("oid 200 arcs", sequence(&[&tlv(6, &[0x2a; 200]), &tlv(4, &[5, 0])])),
    ] {
        cases.add(
            format!("extension {name}"),
            &Odd { extensions: vec![constraint.clone(), element], ..Odd::default() },
        );
    }
    let many: Vec<Vec<u8>> = (0..500).map(|n| extension(&format!("1.2.3.{n}"), false, &[5, 0])).collect();
    cases.add("extension many", &Odd { extensions: [vec![constraint], many].concat(), ..Odd::default() });
}

pub(super) fn add(cases: &mut Cases) {
    basic_constraints(cases);
    usage(cases);
    key_ids(cases);
    names(cases);
    policies(cases);
    locations(cases);
    others(cases);
}
