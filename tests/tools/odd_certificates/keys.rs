//! Public keys: every algorithm, sizes, parameters and encodings.

use std::path::Path;
use std::process::Command;

use super::odd::{Cases, Odd};
use crate::support::der::{oid, sequence, tlv};

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";

/// A SubjectPublicKeyInfo.
fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &tlv(3, &[&[0][..], key].concat())])
}

fn keyed(public_key: Vec<u8>) -> Odd {
    Odd { public_key, ..Odd::default() }
}

/// An odd number of this many bits, as the body of a positive INTEGER.
fn number(bits: usize) -> Vec<u8> {
    let mut body = vec![0x5b; bits.div_ceil(8)];
    body[0] = 1 << ((bits - 1) % 8);
    if body[0] & 0x80 != 0 {
        body.insert(0, 0);
    }
    body
}

fn rsa_info(algorithm: &[u8], modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    info(algorithm, &sequence(&[&tlv(2, modulus), &tlv(2, exponent)]))
}

fn rsa(cases: &mut Cases) {
    let plain = sequence(&[&oid(RSA), &[5, 0]]);
    const F4: &[u8] = &[1, 0, 1];
    for bits in [512, 1023, 1024, 1536, 2047, 2048, 2049, 3072, 4096, 8191, 8192, 16384, 16385, 32768] {
        cases.add(format!("rsa {bits}"), &keyed(rsa_info(&plain, &number(bits), F4)));
    }
    let modulus = number(2048);
    let mut even = modulus.clone();
    *even.last_mut().expect("bytes") &= 0xfe;
    for (name, modulus, exponent) in [
        ("exponent 0", &modulus[..], &[0][..]),
        ("exponent 1", &modulus, &[1]),
        ("exponent 2", &modulus, &[2]),
        ("exponent 3", &modulus, &[3]),
        ("exponent 4", &modulus, &[4]),
        ("exponent even", &modulus, &[1, 0, 0]),
        ("exponent negative", &modulus, &[0xfd]),
        ("exponent 2-31", &modulus, &[0, 0x80, 0, 0, 1]),
        ("exponent 2-32", &modulus, &[1, 0, 0, 0, 1]),
        ("exponent 2-33", &modulus, &[2, 0, 0, 0, 1]),
        ("exponent 64 bits", &modulus, &number(64)),
        ("exponent 65 bits", &modulus, &number(65)),
        ("exponent 256 bits", &modulus, &number(256)),
        ("exponent 2040 bits", &modulus, &number(2040)),
        ("exponent larger", &modulus, &number(2056)),
        ("exponent padded", &modulus, &[0, 1, 0, 1]),
        ("exponent empty", &modulus, &[]),
        ("modulus negative", &modulus[1..].iter().map(|_| 0x85).collect::<Vec<u8>>(), F4),
        ("modulus zero", &[0], F4),
        ("modulus even", &even, F4),
        ("modulus padded", &[&[0, 0][..], &modulus].concat(), F4),
        ("modulus empty", &[], F4),
    ] {
        cases.add(format!("rsa {name}"), &keyed(rsa_info(&plain, modulus, exponent)));
    }
    let key = sequence(&[&tlv(2, &modulus), &tlv(2, F4)]);
    for (name, algorithm) in [
        ("no parameters", sequence(&[&oid(RSA)])),
        ("parameters an oid", sequence(&[&oid(RSA), &oid(RSA)])),
        ("parameters a sequence", sequence(&[&oid(RSA), &sequence(&[])])),
        ("null with a byte", sequence(&[&oid(RSA), &[5, 1, 0]])),
        ("two parameters", sequence(&[&oid(RSA), &[5, 0, 5, 0]])),
        ("pss", sequence(&[&oid("1.2.840.113549.1.1.10")])),
        ("pss null", sequence(&[&oid("1.2.840.113549.1.1.10"), &[5, 0]])),
        ("pss defaults", sequence(&[&oid("1.2.840.113549.1.1.10"), &sequence(&[])])),
        (
            "pss sha256",
            sequence(&[&oid("1.2.840.113549.1.1.10"), &pss("2.16.840.1.101.3.4.2.1", &[2, 1, 32])]),
        ),
        (
            "pss sha512",
            sequence(&[&oid("1.2.840.113549.1.1.10"), &pss("2.16.840.1.101.3.4.2.3", &[2, 1, 64])]),
        ),
        (
            "pss salt negative",
            sequence(&[&oid("1.2.840.113549.1.1.10"), &pss("2.16.840.1.101.3.4.2.1", &[2, 1, 0xff])]),
        ),
        ("pss unknown hash", sequence(&[&oid("1.2.840.113549.1.1.10"), &pss("1.2.3.4", &[2, 1, 32])])),
        ("pss malformed", sequence(&[&oid("1.2.840.113549.1.1.10"), &sequence(&[&[2, 1, 0]])])),
        ("oaep", sequence(&[&oid("1.2.840.113549.1.1.7"), &sequence(&[])])),
        ("signature as algorithm", sequence(&[&oid("1.2.840.113549.1.1.11"), &[5, 0]])),
        ("x500 rsa", sequence(&[&oid("2.5.8.1.1"), &[2, 2, 8, 0]])),
    ] {
        cases.add(format!("rsa {name}"), &keyed(info(&algorithm, &key)));
    }
    for (name, key) in [
        ("key empty", vec![]),
        ("key garbage", vec![7; 40]),
        ("key one number", sequence(&[&tlv(2, &modulus)])),
        ("key three numbers", sequence(&[&tlv(2, &modulus), &tlv(2, F4), &tlv(2, F4)])),
        ("key trailing", [key.clone(), vec![5, 0]].concat()),
        ("key set", tlv(0x31, &key[4..])),
    ] {
        cases.add(format!("rsa {name}"), &keyed(info(&plain, &key)));
    }
    let unused = sequence(&[&plain, &tlv(3, &[&[1][..], &key, &[0]].concat())]);
    cases.add("rsa key unused bits", &keyed(unused));
    cases.add("rsa key empty bit string", &keyed(sequence(&[&plain, &tlv(3, &[])])));
    cases.add("rsa key octets", &keyed(sequence(&[&plain, &tlv(4, &key)])));
    cases.add(
        "rsa key trailing field",
        &keyed(sequence(&[&plain, &tlv(3, &[&[0][..], &key].concat()), &[5, 0]])),
    );
    cases.add("key missing", &keyed(vec![]));
    cases.add("key algorithm empty", &keyed(sequence(&[&sequence(&[]), &tlv(3, &[0, 1])])));
}

/// RSASSA-PSS-params with this hash and salt length.
fn pss(hash: &str, salt: &[u8]) -> Vec<u8> {
    let hash = sequence(&[&oid(hash), &[5, 0]]);
    let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash]);
    sequence(&[&tlv(0xa0, &hash), &tlv(0xa1, &mask), &tlv(0xa2, salt)])
}

/// SubjectPublicKeyInfo of a new key, made by openssl.
fn openssl_key(directory: &Path, algorithm: &str, options: &[&str]) -> Vec<u8> {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("/usr/bin/openssl");
        let output =
            command.args(arguments).current_dir(directory).env_clear().output().expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let mut arguments = vec!["genpkey", "-algorithm", algorithm, "-out", "key.pem"];
    for option in options {
        arguments.extend(["-pkeyopt", option]);
    }
    run(&arguments);
    run(&["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"])
}

fn elliptic(cases: &mut Cases, directory: &Path) {
    for curve in [
        "P-224",
        "P-256",
        "P-384",
        "P-521",
        "P-192",
        "secp256k1",
        "secp160r1",
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
        "brainpoolP256t1",
        "SM2",
        "sect233k1",
        "sect283r1",
        "prime239v1",
        "wap-wsg-idm-ecid-wtls12",
    ] {
        let named = format!("ec_paramgen_curve:{curve}");
        cases.add(format!("ec {curve}"), &keyed(openssl_key(directory, "EC", &[&named])));
    }
    for curve in ["P-224", "P-256", "P-384", "P-521", "secp256k1", "sect233k1"] {
        let named = format!("ec_paramgen_curve:{curve}");
        let key = openssl_key(directory, "EC", &[&named, "ec_param_enc:explicit"]);
        cases.add(format!("ec explicit {curve}"), &keyed(key));
    }
    for algorithm in ["ED25519", "ED448", "X25519", "X448"] {
        cases.add(format!("key {algorithm}"), &keyed(openssl_key(directory, algorithm, &[])));
    }
    let good = openssl_key(directory, "EC", &["ec_paramgen_curve:P-256"]);
    let point = &good[good.len() - 65..];
    let named = sequence(&[&oid(EC), &oid(P256)]);
    let off = [&point[..64], &[point[64] ^ 1][..]].concat();
    let parity = point[64] & 1;
    for (name, key) in [
        ("compressed", [&[2 + parity][..], &point[1..33]].concat()),
        ("compressed of no point", [&[2][..], &[0xff; 32]].concat()),
        ("hybrid", [&[6 + parity][..], &point[1..]].concat()),
        ("hybrid wrong", [&[7 - parity][..], &point[1..]].concat()),
        ("infinity", vec![0]),
        ("zero", [&[4][..], &[0; 64]].concat()),
        ("off the curve", off),
        ("beyond the field", [&[4][..], &[0xff; 64]].concat()),
        ("short", point[..64].to_vec()),
        ("long", [point, &[0]].concat()),
        ("form 5", [&[5][..], &point[1..]].concat()),
        ("empty", vec![]),
        ("octet string", tlv(4, point)),
    ] {
        cases.add(format!("ec point {name}"), &keyed(info(&named, &key)));
    }
    for (name, algorithm) in [
        ("no parameters", sequence(&[&oid(EC)])),
        ("null", sequence(&[&oid(EC), &[5, 0]])),
        ("unknown curve", sequence(&[&oid(EC), &oid("1.2.3.4")])),
        ("sequence", sequence(&[&oid(EC), &sequence(&[])])),
        ("integer", sequence(&[&oid(EC), &[2, 1, 0]])),
        ("P-384 with a P-256 point", sequence(&[&oid(EC), &oid("1.3.132.0.34")])),
        ("ecdh", sequence(&[&oid("1.3.132.1.12"), &oid(P256)])),
        ("ecmqv", sequence(&[&oid("1.3.132.1.13"), &oid(P256)])),
        ("curve as algorithm", sequence(&[&oid(P256)])),
        ("sm2 oid", sequence(&[&oid("1.2.156.10197.1.301")])),
    ] {
        cases.add(format!("ec {name}"), &keyed(info(&algorithm, point)));
    }
}

fn others(cases: &mut Cases) {
    let ed = "1.3.101.112";
    for (name, id, parameters, key) in [
        ("ed25519 null", ed, vec![5, 0], vec![9; 32]),
        ("ed25519 short", ed, vec![], vec![9; 31]),
        ("ed25519 long", ed, vec![], vec![9; 33]),
        ("ed25519 zero", ed, vec![], vec![0; 32]),
        ("ed25519 beyond the field", ed, vec![], vec![0xff; 32]),
        ("ed448 short", "1.3.101.113", vec![], vec![9; 56]),
        ("x25519 short", "1.3.101.110", vec![], vec![9; 31]),
        ("ed25519 draft oid", "1.3.101.100", vec![], vec![9; 32]),
        ("ml-dsa-44", "2.16.840.1.101.3.4.3.17", vec![], vec![9; 1312]),
        ("ml-dsa-65", "2.16.840.1.101.3.4.3.18", vec![], vec![9; 1952]),
        ("slh-dsa", "2.16.840.1.101.3.4.3.20", vec![], vec![9; 32]),
        ("unknown", "1.2.3.4.5", vec![], vec![9; 32]),
        ("unknown with parameters", "1.2.3.4.5", sequence(&[&[2, 1, 0]]), vec![9; 32]),
        ("unknown arc-2-31", "1.2.2147483648", vec![], vec![9; 32]),
        ("unknown arc-2-63", "1.2.9223372036854775808", vec![], vec![9; 32]),
        (
            "gost 2012",
            "1.2.643.7.1.1.1.1",
            sequence(&[&oid("1.2.643.7.1.2.1.1.1"), &oid("1.2.643.7.1.1.2.2")]),
            tlv(4, &[9; 64]),
        ),
        ("gost 2012-512", "1.2.643.7.1.1.1.2", sequence(&[&oid("1.2.643.7.1.2.1.2.1")]), tlv(4, &[9; 128])),
        (
            "gost 2001",
            "1.2.643.2.2.19",
            sequence(&[&oid("1.2.643.2.2.35.1"), &oid("1.2.643.2.2.30.1")]),
            tlv(4, &[9; 64]),
        ),
        ("gost no parameters", "1.2.643.7.1.1.1.1", vec![], tlv(4, &[9; 64])),
        ("gost bad point", "1.2.643.7.1.1.1.1", sequence(&[&oid("1.2.643.7.1.2.1.1.1")]), vec![9; 12]),
        (
            "dsa",
            "1.2.840.10040.4.1",
            sequence(&[&tlv(2, &number(2048)), &tlv(2, &number(256)), &tlv(2, &number(2040))]),
            tlv(2, &number(2041)),
        ),
        ("dsa no parameters", "1.2.840.10040.4.1", vec![], tlv(2, &number(2041))),
        ("dsa parameters garbage", "1.2.840.10040.4.1", sequence(&[&[2, 1, 0]]), tlv(2, &number(2041))),
        ("dsa null", "1.2.840.10040.4.1", vec![5, 0], tlv(2, &number(2041))),
        (
            "dsa key garbage",
            "1.2.840.10040.4.1",
            sequence(&[&tlv(2, &number(2048)), &tlv(2, &number(256)), &tlv(2, &number(2040))]),
            vec![7; 12],
        ),
        (
            "dsa small",
            "1.2.840.10040.4.1",
            sequence(&[&tlv(2, &number(512)), &tlv(2, &number(160)), &tlv(2, &number(500))]),
            tlv(2, &number(501)),
        ),
        (
            "dh",
            "1.2.840.113549.1.3.1",
            sequence(&[&tlv(2, &number(2048)), &[2, 1, 2]]),
            tlv(2, &number(2041)),
        ),
        (
            "dh x9.42",
            "1.2.840.10046.2.1",
            sequence(&[&tlv(2, &number(2048)), &[2, 1, 2], &tlv(2, &number(256))]),
            tlv(2, &number(2041)),
        ),
        ("dh garbage", "1.2.840.113549.1.3.1", sequence(&[]), vec![7; 12]),
        ("kea", "2.16.840.1.101.2.1.1.22", tlv(4, &[1; 10]), vec![9; 128]),
        // What else Java calls RSA or DSA, and what only newer ones know.
        ("pkcs1 arc garbage", "1.2.840.113549.1.1", vec![5, 0], vec![7; 40]),
        (
            "pkcs1 arc rsa",
            "1.2.840.113549.1.1",
            vec![5, 0],
            sequence(&[&tlv(2, &number(2048)), &tlv(2, &[1, 0, 1])]),
        ),
        ("x509 rsa garbage", "2.5.8.1.1", vec![5, 0], vec![7; 40]),
        ("oiw dsa garbage", "1.3.14.3.2.12", vec![], vec![7; 12]),
        ("ml-dsa short", "2.16.840.1.101.3.4.3.18", vec![], vec![7; 1951]),
        ("ml-dsa", "2.16.840.1.101.3.4.3.18", vec![], vec![7; 1952]),
        ("ml-dsa null", "2.16.840.1.101.3.4.3.17", vec![5, 0], vec![7; 1312]),
        ("ml-kem", "2.16.840.1.101.3.4.4.1", vec![], vec![7; 800]),
        ("hss-lms garbage", "1.2.840.113549.1.9.16.3.17", vec![], vec![7; 60]),
    ] {
        cases.add(format!("key {name}"), &keyed(info(&sequence(&[&oid(id), &parameters]), &key)));
    }
}

pub(super) fn add(cases: &mut Cases, directory: &Path) {
    rsa(cases);
    elliptic(cases, directory);
    others(cases);
}
