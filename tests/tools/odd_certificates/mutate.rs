//! Changes to certificates that keep their lengths right, so that what is odd about the result is its content.

use rcgen::PublicKeyData as _;

use crate::support::der::{key, tlv};
use crate::support::xorshift::Xorshift;

/// An element: its tag, and its content as bytes or as elements. `wrap` is what stands in front of the elements in a
/// string that holds DER (the byte of unused bits of a BIT STRING).
#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Elements { wrap: Vec<u8>, elements: Vec<Element> },
}

#[derive(Clone)]
struct Element {
    tag: u8,
    content: Content,
}

fn parse_all(mut bytes: &[u8]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    while let [tag, first, rest @ ..] = bytes {
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 if rest.len() >= 2 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
            _ => return None,
        };
        let (body, behind) = rest.split_at_checked(length)?;
        let nested = |wrap: usize| {
            let (wrap, inner) = body.split_at_checked(wrap)?;
            let elements = parse_all(inner).filter(|elements| !elements.is_empty())?;
            Some(Content::Elements { wrap: wrap.to_vec(), elements })
        };
        let content = match tag {
            0x04 if body.first().is_some_and(|first| matches!(first, 0x30 | 0x03 | 0x04)) => nested(0),
            0x03 if body.starts_with(&[0, 0x30]) => nested(1),
            tag if tag & 0x20 != 0 => nested(0),
            _ => None,
        };
        elements
            .push(Element { tag: *tag, content: content.unwrap_or_else(|| Content::Bytes(body.to_vec())) });
        bytes = behind;
    }
    bytes.is_empty().then_some(elements)
}

fn encode(element: &Element) -> Vec<u8> {
    match &element.content {
        Content::Bytes(bytes) => tlv(element.tag, bytes),
        Content::Elements { wrap, elements } => {
            tlv(element.tag, &[wrap.clone(), elements.iter().flat_map(encode).collect()].concat())
        }
    }
}

/// How many elements there are, this one included.
fn count(element: &Element) -> usize {
    match &element.content {
        Content::Bytes(_) => 1,
        Content::Elements { elements, .. } => 1 + elements.iter().map(count).sum::<usize>(),
    }
}

/// Strings and numbers that parsers trip over.
const BODIES: [&[u8]; 12] = [
    b"",
    b"\0",
    b"\xff",
    b"\x80",
    b"http://a.example/%zz",
    b"ldap:///x?y",
    b"a b",
    b"\xfc",
    b"*.a.",
    b"\0\0",
    b"\x7f\xff\xff\xff\xff",
    b"\x2a\x03",
];
const TAGS: [u8; 24] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1c, 0x1e, 0x30, 0x31,
    0x80, 0x81, 0x82, 0x86, 0x87, 0xa0, 0xa4,
];

/// Changes the element with this number, counted in the order of their tags.
fn change(element: &mut Element, at: &mut usize, random: &mut Xorshift, pool: &[Element]) {
    let Content::Elements { elements, .. } = &mut element.content else { return };
    for index in 0..elements.len() {
        let size = count(&elements[index]);
        if *at >= size {
            *at -= size;
            continue;
        }
        if *at > 0 {
            *at -= 1;
            return change(&mut elements[index], at, random, pool);
        }
        match random.below(9) {
            0 => drop(elements.remove(index)),
            1 => elements.insert(index, elements[index].clone()),
            2 => elements[index].tag = TAGS[random.below(TAGS.len())],
            3 => elements[index] = pool[random.below(pool.len())].clone(),
            4 => elements.insert(index, pool[random.below(pool.len())].clone()),
            5 => {
                elements[index].content = Content::Bytes(BODIES[random.below(BODIES.len())].to_vec());
            }
            6 if elements.len() > 1 => {
                let other = random.below(elements.len());
                elements.swap(index, other);
            }
            _ => match &mut elements[index].content {
                Content::Bytes(bytes) => match random.below(4) {
                    0 => bytes.push(random.next_u64() as u8),
                    1 => drop(bytes.pop()),
                    _ if bytes.is_empty() => bytes.push(0),
                    2 => {
                        let byte = random.below(bytes.len());
                        bytes[byte] = random.next_u64() as u8;
                    }
                    _ => {
                        let byte = random.below(bytes.len());
                        bytes[byte] ^= 1 << random.below(8);
                    }
                },
                Content::Elements { wrap, elements } => match wrap.first_mut() {
                    Some(byte) => *byte = random.next_u64() as u8 & 7,
                    None => drop(elements.pop()),
                },
            },
        }
        return;
    }
}

/// Every element of a certificate, for others.
fn collect(element: &Element, pool: &mut Vec<Element>) {
    pool.push(element.clone());
    if let Content::Elements { elements, .. } = &element.content {
        elements.iter().for_each(|element| collect(element, pool));
    }
}

/// One to three changes of `der`; parts may come from `donor`. `None` if it is too broken to be taken apart.
pub(super) fn mutate(der: &[u8], donor: &[u8], random: &mut Xorshift) -> Option<Vec<u8>> {
    let mut root = parse_all(der)?.into_iter().next()?;
    let mut pool = Vec::new();
    collect(&parse_all(donor)?.into_iter().next()?, &mut pool);
    for _ in 0..=random.below(3) {
        let mut at = random.below(count(&root) - 1);
        change(&mut root, &mut at, random, &pool);
    }
    Some(encode(&root))
}

/// The same with a signature and a P-256 key that do not depend on this run: no reader verifies a root's signature when it
/// loads it. The key is the curve's base point (SEC 2, section 2.4.2).
pub(super) fn with_fixed_key(der: &[u8]) -> Option<Vec<u8>> {
    const BASE_POINT: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                              4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let mut root = parse_all(der)?.into_iter().next()?;
    let Content::Elements { elements, .. } = &mut root.content else { return None };
    let half = tlv(0x02, &[0x5a; 32]);
    elements.last_mut()?.content =
        Content::Bytes([&[0][..], &tlv(0x30, &[half.clone(), half].concat())].concat());
    let mut bytes = encode(&root);
    let info = key().subject_public_key_info();
    let point = &info[info.len() - 65..];
    while let Some(at) = bytes.windows(65).position(|window| window == point) {
        bytes[at..at + 65].copy_from_slice(&hex::decode(BASE_POINT).ok()?);
    }
    Some(bytes)
}
