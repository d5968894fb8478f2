//! Names of entries: ours, with the whole fingerprint in them, because common names and serial numbers have collided
//! in real images; and those of p11-kit.

use std::collections::HashSet;

use crate::cert::Certificate;
use crate::text;

/// The name of an entry of ours: what the subject is called, in lower case (Java compares without case), and the
/// SHA-256 in hex. ASCII letters, digits, `.`, `_`, `-` only (threat T4).
pub fn alias_for(certificate: &Certificate) -> String {
    let name = text::slug(&certificate.label()).to_ascii_lowercase();
    format!("{name}-{}", certificate.fingerprint())
}

/// A label as p11-kit makes an alias of it, before it numbers those that clash: ASCII in lower case without white
/// space; `None` (a certificate without a label) is `unlabeled`.
pub fn p11_alias(label: Option<&str>) -> String {
    let kept = |c: &char| c.is_ascii() && !matches!(c, ' ' | '\t'..='\r');
    label.unwrap_or("unlabeled").chars().filter(kept).map(|c| c.to_ascii_lowercase()).collect()
}

/// Numbers those that clash as p11-kit does: the second `x` is `x-1`, the third `x-2`.
pub(super) fn numbered<'a>(aliases: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut numbered = Vec::new();
    for alias in aliases {
        let mut name = alias.to_owned();
        let mut number = 0;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{alias}-{number}");
        }
        numbered.push(name);
    }
    numbered
}
