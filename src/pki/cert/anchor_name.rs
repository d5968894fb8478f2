//! The name of an anchor: its file, its entry in a database (threat T4). Pure.

use super::Certificate;
use crate::text;

/// A name for an anchor: from the subject and part of the fingerprint, so that two never collide.
pub fn anchor_name(certificate: &Certificate) -> String {
    format!("{}-{}", text::slug(&certificate.label()), certificate.fingerprint().short(16))
}

/// Whether an anchor may have this name: letters, digits, `.`, `_` and `-`, not hidden, not an option.
pub(crate) fn is_anchor_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    plain && !name.is_empty() && name.len() <= 200 && !name.starts_with(['.', '-'])
}
