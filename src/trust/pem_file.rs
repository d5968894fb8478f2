//! Files with PEM blocks, whatever else is in them. Every other format is asked first: this one matches our
//! certificates in any file.

use crate::pki::cert::{Certificate, pem};
use crate::trust::ours::Ours;
use crate::trust::owners::{Existing, Owner, Rest};
use crate::trust::plausible;

/// Any file with PEM blocks.
#[derive(Debug)]
pub(crate) struct PemFile;

impl Owner for PemFile {
    /// Our blocks are removed, and everything else stays as it is. If nothing is left and the file is one of our anchor
    /// files, it is removed.
    fn without_ours(&self, file: &Existing, ours: &Ours) -> Option<Rest> {
        if ours.installed.is_empty() {
            return None;
        }
        let mut rest = Vec::with_capacity(file.content.len());
        let mut from = 0;
        for block in pem::blocks(file.content) {
            let is_ours = Certificate::fingerprint_of_block(&block)
                .is_some_and(|fingerprint| ours.installed.contains(&fingerprint));
            if is_ours {
                rest.extend_from_slice(&file.content[from..block.range.start]);
                from = block.range.end;
                // Alpine's program puts an empty line after every certificate.
                let behind_empty_line = rest.is_empty() || rest.ends_with(b"\n\n");
                if behind_empty_line && file.content.get(from) == Some(&b'\n') {
                    from += 1;
                }
            }
        }
        if from == 0 {
            return None;
        }
        rest.extend_from_slice(&file.content[from..]);
        let only_ours = rest.iter().all(u8::is_ascii_whitespace);
        let made_by_us = ours.files.contains(file.location);
        Some(if only_ours && made_by_us { Rest::Nothing } else { Rest::Content(rest) })
    }

    fn differ_only_in_certificates(&self, one: &[u8], other: &[u8]) -> bool {
        plausible::differ_only_in_certificates(one, other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::trust::p11_format::tests::root;

    #[test]
    fn ours_goes_out_and_nothing_else() {
        let [ours, theirs] = ["Ours", "Theirs"].map(root);
        let of = Ours {
            installed: BTreeSet::from([ours.fingerprint()]),
            files: BTreeSet::from(["/anchors/ours.crt".to_owned()]),
            ..Ours::default()
        };
        let [ours, theirs] = [ours, theirs].map(|certificate| certificate.to_pem());
        let without = |location, content: &str| {
            let file = Existing { location, recorded: None, content: content.as_bytes() };
            PemFile.without_ours(&file, &of)
        };
        let content = |text: String| Some(Rest::Content(text.into_bytes()));
        let bundle = "/etc/ssl/cert.pem";
        assert_eq!(
            without(bundle, &format!("# a\n{theirs}{ours}# b\n")),
            content(format!("# a\n{theirs}# b\n"))
        );
        assert_eq!(without(bundle, &format!("{theirs}\n{ours}\n")), content(format!("{theirs}\n")));
        assert_eq!(without(bundle, &theirs), None);
        assert_eq!(without(bundle, &ours), content(String::new()), "a bundle stays, though empty");
        assert_eq!(without("/anchors/ours.crt", &ours), Some(Rest::Nothing));
        assert_eq!(without("/anchors/ours.crt", &format!("{theirs}{ours}")), content(theirs.clone()));
        let nobodys = Existing { location: bundle, recorded: None, content: ours.as_bytes() };
        assert_eq!(PemFile.without_ours(&nobodys, &Ours::default()), None);
    }
}
