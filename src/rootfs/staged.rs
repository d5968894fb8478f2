//! The names of staged files: what is written beside its place, complete, before it is renamed to it. One scheme for
//! everything, so that what a killed run left is recognised.

use crate::pki::fingerprint::Fingerprint;

const PREFIX: &str = ".trustup-";
/// No trust update reads a file of this name as a certificate.
const SUFFIX: &str = ".tmp";
/// Hexadecimal digits between the two.
const DIGITS: usize = 16;

/// The staged name of `name` for the writer `set`: the path of the directory whose lock it holds, or random bytes if it
/// holds none. Two writers never collide, and the next run of the same writer finds what this one left.
pub(crate) fn name(set: &str, name: &str) -> String {
    let digest = Fingerprint::of(format!("{set}\0{name}").as_bytes());
    format!("{PREFIX}{}{SUFFIX}", digest.short(DIGITS))
}

/// Whether this is the name of a staged file, whatever its purpose.
pub(crate) fn is_staged(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_recognised_and_belongs_to_one_writer() {
        let name = |set| super::name(set, "ca.pem");
        assert!(
            is_staged(&name("/run/a"))
                && name("/run/a") == name("/run/a")
                && name("/run/a") != name("/run/b")
        );
        assert_ne!(super::name("a", "b"), super::name("", "ab"));
        for other in [
            ".trustup-.tmp",
            ".trustup-0123.tmp",
            "trustup-0123456789abcdef.tmp",
            ".trustup-0123456789abcdeg.tmp",
        ] {
            assert!(!is_staged(other), "{other}");
        }
    }
}
