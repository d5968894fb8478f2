//! The outputs of `update-ca-certificates`, computed: the bundle, the files' links and the hash links.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{CaCertificates, Hashing, stem};
use crate::error::Result;
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::path::{child, join};
use crate::rootfs::split;
use crate::rootfs::tree::{File, Node};
use crate::trust::updater::bundle::push_certificate;
use crate::trust::updater::inputs;
use crate::trust::updater::rehash::{self, want_links};
use crate::trust::updater::{Desires, Updater as _, UpdaterInput};
use crate::trust::view::View;

impl CaCertificates {
    /// Whether a link of the hashed directory dangles, with `links` overlaid on what is there.
    fn dangling(
        &self,
        view: &View,
        links: &BTreeMap<String, Option<String>>,
        ours: &BTreeMap<String, Certificate>,
    ) -> Result<Vec<String>> {
        let mut gone = BTreeSet::new();
        // A hash link to a dangling link dangles itself, and may come before it.
        loop {
            let before = gone.len();
            for name in view.names(self.certs)? {
                // The bundle is replaced, whatever is in its place.
                let is_bundle = child(self.certs, &name) == self.bundle;
                if is_bundle || gone.contains(&name) || links.contains_key(&name) {
                    continue;
                }
                let Node::Link { target } = view.original(&child(self.certs, &name))?.as_ref().clone() else {
                    continue;
                };
                let path = join(self.certs, &target);
                let (directory, last) = split(&path);
                let here = directory == self.certs;
                let lives = ours.contains_key(&path)
                    || (here && matches!(links.get(last), Some(Some(_))))
                    || (!(here && gone.contains(last)) && view.follow(&path)?.is_some());
                if !lives {
                    gone.insert(name);
                }
            }
            if gone.len() == before {
                return Ok(gone.into_iter().collect());
            }
        }
    }

    /// The outputs as the program writes them from its inputs and our anchors.
    pub(super) fn managed(&self, view: &View, wanted: &UpdaterInput, desires: &mut Desires) -> Result<()> {
        let mut ours: BTreeMap<String, Certificate> = self.placed(wanted);
        let mut sources: Vec<(String, Vec<u8>)> = self
            .vendor_inputs(view)?
            .iter()
            .map(|input| (input.path.clone(), input.bytes().to_vec()))
            .collect();
        let mut local: BTreeMap<String, Vec<u8>> = self
            .local_inputs(view)?
            .iter()
            .map(|input| (input.path.clone(), input.bytes().to_vec()))
            .collect();
        for anchor in &wanted.anchors {
            // An existing file whose name the program ignores is still used.
            local.entry(self.path_of(anchor)).or_insert_with(|| anchor.certificate.to_pem().into_bytes());
        }
        sources.extend(self.in_the_programs_order(view, local));

        let mut links: BTreeMap<String, Option<String>> = BTreeMap::new();
        for deselected in self.configured(view)?.1 {
            let name = format!("{}{}.pem", self.link_prefix, stem(&deselected));
            if matches!(view.original(&child(self.certs, &name))?.as_ref(), Node::Link { .. }) {
                links.insert(name, None);
            }
        }
        let mut bundle = Vec::new();
        for (path, content) in &sources {
            let copied = inputs::for_bundle(content, view.parsed());
            bundle.extend_from_slice(&copied);
            if self.always_newline || (!copied.is_empty() && !copied.ends_with(b"\n")) {
                bundle.push(b'\n');
            }
            let name = self.link_name(path);
            if let Cow::Owned(normalized) = copied {
                // OpenSSL could not read the file behind a link either.
                if let [certificate] = inputs::certificates(content).as_slice() {
                    ours.insert(path.clone(), certificate.clone());
                    ours.insert(child(self.certs, &name), certificate.clone());
                }
                if !normalized.is_empty() {
                    let node = Node::File(File::new(normalized, 0o644));
                    desires.want(child(self.certs, &name), node, "a normalized copy of a damaged file");
                }
                continue;
            }
            let right = Node::Link { target: path.clone() };
            let stands = *view.original(&child(self.certs, &name))? == right;
            if !stands || links.contains_key(&name) {
                links.insert(name, Some(path.clone()));
            }
        }
        for certificate in self.unsourced(view)? {
            push_certificate(&mut bundle, &certificate);
        }
        for name in self.dangling(view, &links, &ours)? {
            links.insert(name, None);
        }
        let hashes = rehash::changes(
            &rehash::entries(view, self.certs, &links, &ours)?,
            self.hashing == Hashing::CRehash,
        );

        // The script makes a new file that root owns. We keep the owner nevertheless: a former owner who is gone by
        // then could not be told from a forged one (threat T34).
        let owner = match view.original(self.bundle)?.as_ref() {
            Node::File(file) => file.owner,
            _ => None,
        };
        let node = Node::File(File { owner, ..File::new(bundle, 0o644) });
        desires.want(self.bundle, node, "the bundle of every input");
        self.want_file_links(wanted, links, desires);
        want_links(self.certs, hashes, "OpenSSL finds it by this subject hash", desires);
        // Copies of the bundle that only some programs read.
        self.bundles().append(view, wanted, &[self.bundle], desires)
    }

    /// Wants the link of each file; where an anchor's file cannot be written, the certificate itself.
    fn want_file_links(
        &self,
        wanted: &UpdaterInput,
        mut links: BTreeMap<String, Option<String>>,
        desires: &mut Desires,
    ) {
        for anchor in wanted.anchors.iter().filter(|anchor| anchor.unplaced) {
            let path = self.path_of(anchor);
            let name = self.link_name(&path);
            if links.remove(&name).is_some() {
                let node = Node::File(File::new(anchor.certificate.to_pem().into_bytes(), 0o644));
                let reason = "the root itself: its file in the anchor directory cannot be written";
                desires.want(child(self.certs, &name), node, reason);
            }
        }
        want_links(self.certs, links, "the file's link in the hashed directory", desires);
    }

    /// Alpine's program reads the administrator's files in the order of the directory, which cannot be predicted: an
    /// order that the bundle already has is kept, and new files follow by name.
    fn in_the_programs_order(&self, view: &View, local: BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        let mut local: Vec<(String, Vec<u8>)> = local.into_iter().collect();
        if self.sorted {
            return local;
        }
        let there: Vec<Fingerprint> = view
            .actual_certificates(self.bundle)
            .unwrap_or_default()
            .iter()
            .map(Certificate::fingerprint)
            .collect();
        local.sort_by_key(|(_, content)| {
            let first = Certificate::all_in(content).first().map(Certificate::fingerprint);
            first.and_then(|first| there.iter().rposition(|one| *one == first)).unwrap_or(usize::MAX)
        });
        local
    }

    /// The outputs of an image without the package: ours appended to bundles, our links in the hashed directory.
    pub(super) fn unmanaged(&self, view: &View, wanted: &UpdaterInput, desires: &mut Desires) -> Result<()> {
        self.bundles().append(view, wanted, &[], desires)?;
        let ours = self.placed(wanted);
        let mut links: BTreeMap<String, Option<String>> = BTreeMap::new();
        for anchor in &wanted.anchors {
            let path = self.path_of(anchor);
            links.insert(self.link_name(&path), Some(path));
        }
        let names: BTreeSet<&str> = links.keys().map(String::as_str).collect();
        let entries = rehash::entries(view, self.certs, &links, &ours)?;
        let mut hashes = rehash::changes(&entries, self.hashing == Hashing::CRehash);
        // We do not remove what others left there if no package does.
        hashes.retain(|_, target| target.as_deref().is_some_and(|target| names.contains(target)));
        self.want_file_links(wanted, links.clone(), desires);
        want_links(self.certs, hashes, "OpenSSL finds it by this subject hash", desires);
        Ok(())
    }
}
