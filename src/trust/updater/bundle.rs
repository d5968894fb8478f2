//! Bundles: PEM files with every root, at the paths where programs look for one. Shared by all families, and all there
//! is for images that have no update program.
//!
//! Programs read the first file that they find. So the anchor is appended to every distinct existing bundle, and a path
//! that we add beside an existing bundle is a link to it, never a file with our root alone. A bundle in Nix's store
//! stays as it is: the first link that leads to it becomes a file, the others lead to that file.

use std::collections::{BTreeMap, BTreeSet};

use super::inputs;
use super::nix_links::{self, Way};
use super::{AnchorDirectory, Desires, NativeTool, Output, OutputKind, Ownership, Updater, UpdaterInput};
use crate::error::{Error, Result};
use crate::pki::cert::readers::{self, Reader};
use crate::pki::cert::{Certificate, Purpose, pem};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::tree::{File, Node};
use crate::rootfs::{is_denied, split};
use crate::trust::nix_store;
use crate::trust::owners::Owner;
use crate::trust::view::View;
use crate::trust::well_known::BUNDLES;

/// The known paths of bundles, as an owner: the distribution decides which file they lead to.
#[derive(Debug)]
pub(crate) struct WellKnown;

impl Owner for WellKnown {
    fn known_paths(&self) -> &'static [&'static str] {
        &BUNDLES
    }
}

/// The bundles of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bundles {
    /// The path that must exist afterwards.
    pub(crate) primary: &'static str,
    /// Paths that become links to it if the image has no bundle at all.
    pub(crate) links: &'static [&'static str],
}

/// A distinct bundle.
struct DistinctBundle {
    /// Its real path, every link resolved.
    real: String,
    /// The name that we use: the first known path that is this file, or its real path.
    path: String,
    file: File,
    /// If it is in Nix's store: the links through which known paths lead there, `path` first.
    links: Vec<String>,
    /// A known path leads into Nix's store through a directory: it cannot be updated.
    shut: Option<&'static str>,
}

impl Bundles {
    /// Every known path, the primary one first.
    fn known(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        let primary = self.primary;
        std::iter::once(primary).chain(BUNDLES.into_iter().filter(move |path| *path != primary))
    }

    /// Every known path but those, the primary one aside, that the caller may not even look at: its programs read none
    /// of them.
    fn open_to_us(&self, view: &View) -> Vec<&'static str> {
        let is_closed = |path: &str| view.sysroot().stat(path).is_err_and(|error| is_denied(&error));
        self.known().filter(|path| *path == self.primary || !is_closed(path)).collect()
    }

    fn found(&self, view: &View) -> Result<Vec<DistinctBundle>> {
        let known = self.open_to_us(view);
        let mut replaceable = BTreeMap::new();
        for &path in &known {
            replaceable.entry(view.location(path)?).or_insert(path);
        }
        let mut found: Vec<DistinctBundle> = Vec::new();
        for path in known {
            let Some((real, _)) = view.target(path)? else { continue };
            let location = view.location(path)?;
            let way = nix_links::way(view, path, &replaceable)?;
            let shut = (way == Way::Directory).then_some(path);
            let link = if let Way::Link(link) = way { Some(link) } else { None };
            if let Some(known) = found.iter_mut().find(|found| found.real == real) {
                if location == real && known.path == real {
                    known.path = path.to_owned();
                }
                known.links.extend(link.filter(|link| !known.links.contains(link)));
                known.shut = known.shut.or(shut);
                continue;
            }
            let Some(node) = view.read(path)? else { continue };
            let Node::File(file) = node.as_ref() else { continue };
            let path = match &link {
                Some(link) => link.clone(),
                None if shut.is_some() || location == real => path.to_owned(),
                None => real.clone(),
            };
            found.push(DistinctBundle { real, path, file: file.clone(), links: Vec::from_iter(link), shut });
        }
        Ok(found)
    }

    /// The bundles that are there or will be made, each once, at its real path.
    pub(crate) fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        let mut outputs: Vec<Output> = Vec::new();
        for found in self.found(view)? {
            outputs.push(Output {
                path: found.path,
                kind: OutputKind::Bundle,
                purpose: Some(Purpose::ServerAuth),
            });
        }
        if view.follow(self.primary)?.is_none() {
            outputs.insert(
                0,
                Output {
                    path: self.primary.to_owned(),
                    kind: OutputKind::Bundle,
                    purpose: Some(Purpose::ServerAuth),
                },
            );
        }
        Ok(outputs)
    }

    /// Every known bundle path that exists now.
    pub(crate) fn watched(&self, view: &View) -> Result<Vec<String>> {
        let mut locations = BTreeSet::new();
        let mut paths = Vec::new();
        for path in self.open_to_us(view) {
            if *view.actual(path)? != Node::Absent && locations.insert(view.location(path)?) {
                paths.push(path.to_owned());
            }
        }
        Ok(paths)
    }

    /// Whether `path` is a known bundle or a directory on the way to one.
    pub(crate) fn owns(&self, path: &str) -> Ownership {
        let mut known = self.known().chain(self.links.iter().copied());
        if known.clone().any(|known| known == path) {
            Ownership::Entry
        } else if known.any(|known| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))) {
            Ownership::OnTheWay
        } else {
            Ownership::Foreign
        }
    }

    /// Appends what is `wanted` to every existing bundle (except `done`, already written), makes the primary one if it
    /// is missing, and the links if there is no bundle at all.
    pub(crate) fn append(
        &self,
        view: &View,
        wanted: &UpdaterInput,
        done: &[&str],
        desires: &mut Desires,
    ) -> Result<()> {
        let found = self.found(view)?;
        for DistinctBundle { path, file, links, shut, .. } in &found {
            let is_done = done.contains(&path.as_str());
            if is_done && links.is_empty() {
                continue;
            }
            refuse_other_files(view, path, &file.content)?;
            let contents = view.contents(path, &Node::File(file.clone()));
            let reading = contents.reading();
            let base = match reading.problem() {
                None => file.content.to_vec(),
                Some(problem) => {
                    desires.warnings.push(was_damaged(path, &problem, &file.content));
                    inputs::rewritten(&file.content)
                }
            };
            let content = with_anchors(view, &base, wanted);
            if *content == *file.content {
                continue;
            }
            if let Some(path) = shut {
                // No user can write there: the planner reports it, or omits the path.
                let node = Node::File(File::new(content.clone(), 0o644));
                desires.want(*path, node, "programs read this bundle");
                if links.is_empty() {
                    continue;
                }
            }
            if let Some((first, others)) = links.split_first() {
                if !is_done {
                    let reason = "replaces a link into Nix's store: the roots of its target, and yours";
                    desires.want(first, Node::File(File::new(content, 0o644)), reason);
                }
                for link in others {
                    let target = relative_target(&view.location(link)?, &view.location(first)?);
                    desires.want(link, Node::Link { target }, "it led to the same file in Nix's store");
                }
                if view.is_writable(split(first).0)? {
                    desires.warnings.push(what_lasts(view, first)?);
                }
                continue;
            }
            let node = File { content: content.into(), modified: None, ..file.clone() };
            desires.want(path.clone(), Node::File(node), "programs read this bundle");
        }
        if done.contains(&self.primary) {
            return Ok(());
        }
        match found.first() {
            None => {
                let mut content = Vec::new();
                if wanted.web_pki {
                    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
                        content.extend_from_slice(pem::encode(der).as_bytes());
                    }
                }
                let content = with_anchors(view, &content, wanted);
                let reason = "the first bundle of an image that has none";
                desires.want(self.primary, Node::File(File::new(content, 0o644)), reason);
                for link in self.links {
                    let target = relative_target(&view.location(link)?, &view.location(self.primary)?);
                    if *view.original(link)? == Node::Absent {
                        desires.want(*link, Node::Link { target }, "other programs look here");
                    }
                }
            }
            Some(first) if view.follow(self.primary)?.is_none() => {
                let target = relative_target(&view.location(self.primary)?, &view.location(&first.path)?);
                let reason = "programs look here first, and must find what the existing bundle holds";
                desires.want(self.primary, Node::Link { target }, reason);
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// The warning for a bundle that programs could not read before.
pub(super) fn was_damaged(path: &str, problem: &str, content: &[u8]) -> String {
    let left_out = inputs::undecodable(content);
    let mut text = format!(
        "`{path}` was damaged before this run, {problem}: it is written anew from the certificates in it"
    );
    if !left_out.is_empty() {
        let named = left_out.iter().map(|one| format!("{} ({})", one.subject(), one.fingerprint()));
        text.push_str(", without those that programs cannot decode: ");
        text.push_str(&named.collect::<Vec<_>>().join(", "));
    }
    text
}

/// `bundle` with the wanted roots that it lacks appended.
fn with_anchors(view: &View, bundle: &[u8], wanted: &UpdaterInput) -> Vec<u8> {
    let present: BTreeSet<Fingerprint> =
        readers::read_with(bundle, &Reader::OF_BUNDLES, view.parsed()).offered.into_iter().collect();
    let mut content = bundle.to_vec();
    for anchor in &wanted.anchors {
        if !present.contains(&anchor.certificate.fingerprint()) {
            push_certificate(&mut content, &anchor.certificate);
        }
    }
    content
}

/// Appends a certificate, on a line of its own: OpenSSL refuses a whole bundle in which END and BEGIN share one.
pub(crate) fn push_certificate(bundle: &mut Vec<u8>, certificate: &Certificate) {
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(certificate.to_pem().as_bytes());
}

/// A file without any block is another kind of file, to which a link leads.
fn refuse_other_files(view: &View, path: &str, content: &[u8]) -> Result<()> {
    if pem::spans(content).next().is_none() && !content.iter().all(u8::is_ascii_whitespace) {
        let place = view.sysroot().display(path);
        return Err(Error::failed("expected a CA bundle, found a file without any PEM block")
            .at(&place)
            .hint(format!(
                "find out what `{place}` is; if it should be a bundle, move it to another place and run again"
            )));
    }
    Ok(())
}

/// The warning for a bundle that was copied from Nix's store.
fn what_lasts(view: &View, path: &str) -> Result<String> {
    Ok(if view.sysroot().lstat(nix_store::NIXOS)?.is_some() {
        format!(
            "the next activation of NixOS makes `{path}` a link again: run this again then, or name the root in `security.pki.certificateFiles`, which lasts"
        )
    } else {
        format!(
            "a variable that names a file below `/nix` (SSL_CERT_FILE, NIX_SSL_CERT_FILE, GIT_SSL_CAINFO) makes programs read the roots without this one: set it to `{path}`"
        )
    })
}

/// The shortest relative target of a link at `link` that leads to `target`.
pub(super) fn relative_target(link: &str, target: &str) -> String {
    let from: Vec<&str> = split(link).0.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = target.split('/').filter(|part| !part.is_empty()).collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; from.len() - shared];
    parts.extend(&to[shared..]);
    parts.join("/")
}

impl Updater for Bundles {
    fn native(&self) -> Option<&NativeTool> {
        None
    }

    fn anchor_directory(&self) -> Option<AnchorDirectory> {
        None
    }

    fn is_managed(&self, _view: &View) -> Result<bool> {
        Ok(false)
    }

    fn outputs(&self, view: &View) -> Result<Vec<Output>> {
        Bundles::outputs(self, view)
    }

    fn native_writes(&self, _path: &str) -> bool {
        false
    }

    fn native_directories(&self) -> Vec<String> {
        Vec::new()
    }

    fn watched(&self, view: &View) -> Result<Vec<String>> {
        Bundles::watched(self, view)
    }

    fn owns(&self, path: &str) -> Ownership {
        Bundles::owns(self, path)
    }

    fn standing(&self, _view: &View) -> Result<Vec<(String, Vec<Certificate>)>> {
        Ok(Vec::new())
    }

    fn vendor_names(&self, _view: &View) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn unsourced(&self, _view: &View) -> Result<Vec<Certificate>> {
        Ok(Vec::new())
    }

    fn withdrawn(&self, _view: &View) -> Result<Vec<Fingerprint>> {
        Ok(Vec::new())
    }

    fn regenerated(&self, _view: &View) -> Result<Desires> {
        Ok(Desires::default())
    }

    fn desired(&self, view: &View, wanted: &UpdaterInput) -> Result<Desires> {
        let mut desires = Desires::default();
        if !wanted.anchors.is_empty() || wanted.web_pki {
            self.append(view, wanted, &[], &mut desires)?;
        }
        Ok(desires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_targets_are_relative_and_short() {
        for (link, target, wanted) in [
            ("/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "certs/ca-certificates.crt"),
            ("/etc/ssl/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "ca-certificates.crt"),
            ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "../cert.pem"),
            ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/x", "../../../ssl/certs/x"),
        ] {
            assert_eq!(relative_target(link, target), wanted);
        }
    }

    #[test]
    fn directories_on_the_way_are_ours_to_make() {
        let bundles = Bundles { primary: BUNDLES[0], links: &[] };
        assert_eq!(bundles.owns("/etc"), Ownership::OnTheWay);
        assert_eq!(bundles.owns("/etc/ssl/certs"), Ownership::OnTheWay);
        assert_eq!(bundles.owns("/etc/ssl/cert.pem"), Ownership::Entry);
        assert_eq!(bundles.owns("/etc/passwd"), Ownership::Foreign);
        assert_eq!(bundles.owns("/etc/ssl/certs/other"), Ownership::Foreign);
    }
}
