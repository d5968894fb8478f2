//! The policy file and the certificates beside it as paths of a root file system: what state and journal may record of
//! them, and the file's content without us.

use super::{CERTIFICATES, PATH, certificate_file, merged};
use crate::pki::cert::is_anchor_name;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::split;
use crate::trust::ours::Ours;
use crate::trust::owners::{Existing, Owner, Rest};

/// The policy file and the certificates beside it, as an owner.
#[derive(Debug)]
pub(crate) struct Policy;

impl Owner for Policy {
    /// A record that we make of the policy file, of a certificate beside it, or of a directory on the way.
    fn may_record(&self, path: &str, record: &PathRecord) -> bool {
        let name = path.strip_prefix(CERTIFICATES).and_then(|rest| rest.strip_prefix('/'));
        if path == PATH {
            return matches!(record.before, Saved::Absent | Saved::File { .. })
                && matches!(record.after, Mark::Absent | Mark::File(_));
        }
        if let Some(name) = name.and_then(|name| name.strip_suffix(".pem")) {
            // We replace no other file; an earlier one can only be an older one of ours, whatever mode others gave it.
            return is_anchor_name(name)
                && matches!(record.before, Saved::Absent | Saved::File { .. })
                && matches!(record.after, Mark::Absent | Mark::File(_));
        }
        let on_the_way = [PATH, CERTIFICATES]
            .iter()
            .any(|ours| ours.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        on_the_way && !path.is_empty() && record.is_of_directory()
    }

    /// We only insert into an existing policy file, so undoing only removes; and none of our own certificates existed
    /// before.
    fn objection(&self, path: &str, record: &PathRecord) -> Option<&'static str> {
        let may_keep = match &record.before {
            Saved::File { middle, places, .. } if path == PATH => middle.is_empty() && places.is_none(),
            Saved::File { .. } => split(path).0 != CERTIFICATES,
            _ => true,
        };
        (!may_keep).then_some("the state would put something into Firefox's policy that is not there")
    }

    fn own_files(&self) -> &'static [&'static str] {
        &[PATH]
    }

    fn certificate_file(&self, anchor: &str) -> Option<String> {
        Some(certificate_file(anchor))
    }

    /// Only the file that we wrote to. Damaged, it names nothing, and stays.
    fn without_ours(&self, file: &Existing, ours: &Ours) -> Option<Rest> {
        if file.recorded != Some(PATH) {
            return None;
        }
        Some(match merged(Some(file.content), &[], &ours.named) {
            Ok(Some(content)) if content != file.content => Rest::Content(content),
            Ok(None) => Rest::Nothing,
            Ok(Some(_)) | Err(_) => Rest::Same,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::firefox_policy::MODE;
    use crate::versioned::UnknownFields;

    #[test]
    fn t11_only_the_policy_file_and_our_certificates_may_be_recorded() {
        let may_keep = |path: &str, record: &PathRecord| Policy.objection(path, record).is_none();
        let record =
            |before| PathRecord::new(before, Mark::File(crate::pki::fingerprint::Fingerprint::of(b"")));
        for (path, fine) in [
            (PATH, true),
            ("/usr/lib/mozilla/certificates/Corp-0123.pem", true),
            ("/usr/lib/mozilla/certificates/../x.pem", false),
            ("/usr/lib/mozilla/certificates/.pem", false),
            ("/usr/lib/mozilla/certificates/a.so", false),
            ("/etc/firefox/policies/other.json", false),
            ("/etc/firefox", false),
            ("", false),
        ] {
            assert_eq!(Policy.may_record(path, &record(Saved::Absent)), fine, "{path}");
        }
        let directory = PathRecord::new(Saved::Absent, Mark::Directory);
        for path in ["/etc", "/etc/firefox/policies", "/usr/lib/mozilla", CERTIFICATES] {
            assert!(Policy.may_record(path, &directory), "{path}");
        }
        assert!(!Policy.may_record("/etc/fire", &directory) && !Policy.may_record("/home", &directory));
        let saved = |middle: &str| Saved::File {
            mode: MODE,
            owner: (0, 0),
            modified: (0, 0),
            sha256: crate::pki::fingerprint::Fingerprint::of(b""),
            prefix: 1,
            suffix: 1,
            middle: middle.to_owned(),
            places: None,
            unknown: UnknownFields::default(),
        };
        assert!(may_keep(PATH, &record(saved(""))));
        assert!(!may_keep(PATH, &record(saved("eA=="))));
        let elsewhere = Saved::new(
            &crate::rootfs::tree::Node::File(crate::rootfs::tree::File::new(vec![b'x'; 4096], MODE)),
            &crate::rootfs::tree::Node::File(crate::rootfs::tree::File::new(
                [vec![b'y'; 100], vec![b'x'; 3896], vec![b'y'; 100]].concat(),
                MODE,
            )),
        );
        let elsewhere = elsewhere.expect("saved");
        assert!(matches!(&elsewhere, Saved::File { places: Some(_), .. }), "bytes in several places");
        assert!(!may_keep(PATH, &record(elsewhere.clone())));
        let kept = record(elsewhere.without_content());
        assert!(may_keep(PATH, &kept), "nothing to bring in");
        assert_eq!(
            kept.before.restore(&crate::rootfs::tree::Node::Absent),
            None,
            "and nothing to bring back byte for byte"
        );
        assert!(!may_keep(&certificate_file("x"), &record(saved(""))));
    }
}
