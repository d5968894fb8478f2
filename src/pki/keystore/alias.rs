//! Names of entries: ours, with the whole fingerprint in them, because common names and serial numbers have collided
//! in real images; and those of p11-kit.

use std::collections::{HashMap, HashSet};

use crate::pki::cert::Certificate;
use crate::text;

/// The name of an entry of ours: the subject's label, in lower case (Java compares without case), and the SHA-256 in
/// hex. ASCII letters, digits, `.`, `_`, `-` only (threat T4).
pub fn alias_for(certificate: &Certificate) -> String {
    let name = text::slug(&certificate.label()).to_ascii_lowercase();
    format!("{name}-{}", certificate.fingerprint())
}

/// p11-kit's alias for a label, before it numbers those that clash: ASCII in lower case without white space; `None` (a
/// certificate without a label) is `unlabeled`.
pub(crate) fn p11_alias(label: Option<&str>) -> String {
    let kept = |c: &char| c.is_ascii() && !matches!(c, ' ' | '\t'..='\r');
    label.unwrap_or("unlabeled").chars().filter(kept).map(|c| c.to_ascii_lowercase()).collect()
}

/// Numbers those that clash as p11-kit does: the second `x` is `x-1`, the third `x-2`; empty ones stay empty (seen on
/// 0.24.1).
pub(super) fn numbered<'a>(aliases: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    // The numbers below are taken, and stay so: an image can have thousands of roots with one label (threat T36).
    let mut next: HashMap<&str, u32> = HashMap::new();
    let mut numbered = Vec::new();
    for alias in aliases {
        let mut name = alias.to_owned();
        let number = next.entry(alias).or_default();
        while !alias.is_empty() && (*number > 0 || !taken.insert(name.clone())) {
            *number += 1;
            name = format!("{alias}-{number}");
            if taken.insert(name.clone()) {
                break;
            }
        }
        numbered.push(name);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::cert::testing::{PRINTABLE, TestCertificate, attribute, common_name, name};

    fn root(subject: Vec<u8>) -> Certificate {
        Certificate::from_der(&TestCertificate::named(subject).der()).unwrap()
    }

    #[test]
    fn t4_ours_have_plain_characters_and_the_whole_fingerprint() {
        let nameless = name(&[&[&attribute("2.5.4.6", PRINTABLE, b"DE")]]);
        for (subject, wanted) in [
            (common_name("Held Out Root (R1), ü"), "held_out_root_r1"),
            (common_name("../x"), "x"),
            (common_name("$(id)"), "id"),
            (common_name("a\x1b[0m\nb\u{202e}"), "a_0m_b"),
            (common_name("日本"), "certificate"),
            (nameless, "certificate"),
        ] {
            let root = root(subject);
            assert_eq!(alias_for(&root), format!("{wanted}-{}", root.fingerprint().hex()));
        }
    }

    #[test]
    fn labels_become_aliases_as_p11_kit_makes_them() {
        for (label, wanted) in [
            (Some("Held Out Root (R1), ü"), "heldoutroot(r1),"),
            (Some("Größe 日本 X"), "grex"),
            (Some("a\tB\x0b\nc"), "abc"),
            (Some("日本"), ""),
            (None, "unlabeled"),
        ] {
            assert_eq!(p11_alias(label), wanted);
        }
        assert_eq!(
            numbered(["a", "b", "a", "a-1", "", "a", "", "b"]),
            ["a", "b", "a-1", "a-1-1", "", "a-2", "", "b-1"]
        );
        assert_eq!(
            numbered(["a-1", "a", "a", "a-1", "a", "a-2", "a"]),
            ["a-1", "a", "a-2", "a-1-1", "a-3", "a-2-1", "a-4"]
        );
        // If each tried every lower number, this would take minutes.
        let many = numbered(std::iter::repeat_n("x", 200_000));
        assert_eq!((many[0].as_str(), many[199_999].as_str()), ("x", "x-199999"));
    }
}
