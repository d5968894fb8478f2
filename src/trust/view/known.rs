//! What is known of the bytes of files, so that no run computes anything of the same bytes twice: not when several outputs
//! hold the same roots, and not when the files are read back after they were written.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::View;
use super::contents::{self, FileCertificates};
use crate::error::Result;
use crate::pki::cert::CertificateCache;
use crate::rootfs::budget;
use crate::rootfs::content::Content;
use crate::rootfs::tree::Node;

/// What was computed from the bytes of files, each once: by where the bytes are in memory, which they keep, and by the
/// type of the result.
type Derived = HashMap<(usize, TypeId), (Content, Rc<dyn Any>)>;

/// What is known; views of one run share it.
#[derive(Debug)]
pub(super) struct KnownContents {
    /// The contents that were read or are planned, by location.
    contents: RefCell<HashMap<String, Vec<Content>>>,
    derived: RefCell<Derived>,
    certificates: Rc<CertificateCache>,
}

impl Default for KnownContents {
    fn default() -> Self {
        let most = usize::try_from(budget::CERTIFICATES).unwrap_or(usize::MAX);
        KnownContents {
            contents: RefCell::default(),
            derived: RefCell::default(),
            certificates: Rc::new(CertificateCache::of_at_most(most)),
        }
    }
}

impl KnownContents {
    /// `node`, which was read at `location`, with the content that is known there if its bytes are the same.
    pub(super) fn node(&self, location: &str, mut node: Node) -> Node {
        if let Node::File(file) = &mut node {
            file.content = self.content(location, file.content.clone());
        }
        node
    }

    /// The content that is known at `location` if it has the bytes of `content`, else that.
    pub(super) fn content(&self, location: &str, content: Content) -> Content {
        let mut contents = self.contents.borrow_mut();
        let known = contents.entry(location.to_owned()).or_default();
        match known.iter().find(|known| **known == content) {
            Some(known) => known.clone(),
            None => {
                known.push(content.clone());
                content
            }
        }
    }
}

impl View<'_> {
    /// Notes that these nodes are planned at these paths: when a later view reads the same bytes there, it need not hash
    /// and parse them.
    pub(crate) fn expect<'n>(&self, nodes: impl IntoIterator<Item = (&'n str, &'n Node)>) -> Result<()> {
        for (path, node) in nodes {
            if let Node::File(file) = node {
                let location = self.location(path)?;
                self.known.contents.borrow_mut().entry(location).or_default().push(file.content.clone());
            }
        }
        Ok(())
    }

    /// What is in a node that is, or would be, at `location`.
    pub(crate) fn contents(&self, location: &str, node: &Node) -> Rc<FileCertificates> {
        match node {
            Node::File(file) => self.derive(&file.content, |content| self.parse(location, content)),
            _ => Rc::default(),
        }
    }

    /// What `compute` makes of the bytes of a file, computed once for these bytes.
    pub(crate) fn derive<T: 'static>(&self, content: &Content, compute: impl FnOnce(&Content) -> T) -> Rc<T> {
        let key = (content.address(), TypeId::of::<T>());
        let known = self.known.derived.borrow().get(&key).map(|(_, known)| Rc::clone(known));
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok()) {
            return known;
        }
        let new = Rc::new(compute(content));
        self.known.derived.borrow_mut().insert(key, (content.clone(), Rc::<T>::clone(&new)));
        new
    }

    /// What was parsed in this run.
    pub(crate) fn parsed(&self) -> &CertificateCache {
        &self.known.certificates
    }

    /// Nothing if the run has parsed as many certificates as it may: then [`budget::check`] fails.
    fn parse(&self, location: &str, content: &Content) -> FileCertificates {
        let place = self.sysroot.display(location);
        let certificates = &self.known.certificates;
        let before = certificates.len();
        let contents = contents::parse(content, certificates, budget::certificates_left(&place));
        // The total of the file is not known if too many of its certificates are new.
        let of_this_file = (certificates.len() - before) as u64;
        if budget::certificates(&place, of_this_file).is_ok() {
            contents.unwrap_or_default()
        } else {
            FileCertificates::default()
        }
    }
}
