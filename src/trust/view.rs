//! A root file system as it would be without us: its current content with everything that the state records undone.
//! Plans are made from this view, so that a second run finds nothing to do and `untrust` is the same computation with
//! fewer anchors.
//!
//! Where another program changed a file after us, our certificates are removed from its current content; links that
//! others made to our anchor files count as absent.

mod contents;
mod doubts;
mod known;
mod planned;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

pub(crate) use self::contents::FileCertificates;
use self::known::KnownContents;
use crate::error::{Error, Result};
use crate::pki::cert::Certificate;
use crate::rootfs::path::{child, join};
use crate::rootfs::tree::{self, Node};
use crate::rootfs::{MAX_HOPS, Meta, Obstacle, Sysroot, remedy, split};
use crate::trust::ours::Ours;
use crate::trust::owners::{self, Existing, Rest};

/// The node at a path, and its `statx` result (`None`: there was nothing).
type Stood = (Option<Meta>, Rc<Node>);

/// For a private store: what the system beneath it trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct BaseTrust {
    /// The roots of its bundle.
    pub(crate) roots: Vec<Certificate>,
    /// The roots of its Java, in the keystore's order; `None` without Java.
    pub(crate) java: Option<Vec<Certificate>>,
}

/// No system.
pub(crate) static NOTHING_BENEATH: BaseTrust = BaseTrust { roots: Vec::new(), java: None };

/// The view; reads each path once.
#[derive(Debug)]
pub struct View<'a> {
    sysroot: &'a Sysroot,
    ours: Rc<Ours>,
    beneath: Rc<BaseTrust>,
    /// The recorded paths, by where they really are.
    recorded: BTreeMap<String, String>,
    /// Our anchor files, by where they really are.
    our_files: BTreeSet<String>,
    /// Directories by where they really are.
    directories: RefCell<HashMap<String, Option<String>>>,
    actual: RefCell<HashMap<String, Stood>>,
    /// What an earlier view saw: a path that the kernel reports as unchanged is not read again.
    before: HashMap<String, Stood>,
    original: RefCell<HashMap<String, Rc<Node>>>,
    known: Rc<KnownContents>,
    /// The names in directories, without us and with us.
    names: RefCell<BTreeMap<String, Vec<String>>>,
    actual_names: RefCell<BTreeMap<String, Vec<String>>>,
    frozen: Cell<bool>,
    /// Planned nodes, by location: whether anything will exist there.
    planned: BTreeMap<String, bool>,
    /// Recorded paths whose former content is not accepted, and why.
    doubts: Rc<RefCell<BTreeMap<String, String>>>,
    /// What of a former mode or owner is not restored, by path.
    lessened: Rc<RefCell<BTreeMap<String, String>>>,
}

impl<'a> View<'a> {
    /// The view of `sysroot` without what is `ours`.
    ///
    /// # Errors
    /// A recorded path leads through links that loop.
    pub fn new(sysroot: &'a Sysroot, ours: Ours) -> Result<Self> {
        View::of(sysroot, Rc::new(ours))
    }

    fn of(sysroot: &'a Sysroot, ours: Rc<Ours>) -> Result<Self> {
        let mut view = View {
            sysroot,
            ours: Rc::clone(&ours),
            beneath: Rc::default(),
            recorded: BTreeMap::new(),
            our_files: BTreeSet::new(),
            directories: RefCell::default(),
            actual: RefCell::default(),
            before: HashMap::new(),
            original: RefCell::default(),
            known: Rc::default(),
            names: RefCell::default(),
            actual_names: RefCell::default(),
            frozen: Cell::new(false),
            planned: BTreeMap::new(),
            doubts: Rc::default(),
            lessened: Rc::default(),
        };
        for path in ours.records.keys() {
            let location = view.location(path)?;
            view.recorded.insert(location, path.clone());
        }
        for path in &ours.files {
            let location = view.location(path)?;
            view.our_files.insert(location);
        }
        // A directory of ours that is gone by now must not be cached as missing: it may be restored.
        view.directories.borrow_mut().clear();
        Ok(view)
    }

    /// The same view of a private store, above a system that trusts this.
    #[must_use]
    pub(crate) fn over_system(self, system: &BaseTrust) -> Self {
        View { beneath: Rc::new(system.clone()), ..self }
    }

    /// For a private store: what the system beneath it trusts.
    pub(crate) fn beneath(&self) -> &BaseTrust {
        &self.beneath
    }

    /// The real location of `path`: links in its directories resolved, its last component as it is. A path whose
    /// directories do not exist stays as it is.
    pub(crate) fn location(&self, path: &str) -> Result<String> {
        let (directory, name) = split(path);
        if name.is_empty() {
            return Ok(path.to_owned());
        }
        if let Some(known) = self.directories.borrow().get(directory) {
            return Ok(known.as_ref().map_or_else(|| path.to_owned(), |directory| child(directory, name)));
        }
        let canonical = self.sysroot.canonical(directory)?;
        let location = canonical.as_ref().map_or_else(|| path.to_owned(), |directory| child(directory, name));
        self.directories.borrow_mut().insert(directory.to_owned(), canonical);
        Ok(location)
    }

    /// Whether the current user may change what is in `directory`, or make it: never where only another program writes.
    pub(crate) fn is_writable(&self, directory: &str) -> Result<bool> {
        Ok(self.directory_obstacle(directory)?.is_none())
    }

    /// Why the current user cannot change what is in `directory`, or make it; `None` if it can.
    pub(crate) fn directory_obstacle(&self, directory: &str) -> Result<Option<Obstacle>> {
        let real = self.location(&child(directory, "x"))?;
        match owners::closed(&real) {
            Some(closed) => Ok(Some(closed.obstacle())),
            None => self.sysroot.directory_obstacle(directory),
        }
    }

    /// Why the current user cannot replace the node at `path` (a link at its end is not followed); `None` if it can.
    pub(crate) fn obstacle(&self, path: &str) -> Result<Option<Obstacle>> {
        let location = self.location(path)?;
        match self.directory_obstacle(split(&location).0)? {
            Some(why) => Ok(Some(why)),
            None => self.sysroot.entry_obstacle(&location),
        }
    }

    /// The root file system inspected.
    pub(crate) fn sysroot(&self) -> &'a Sysroot {
        self.sysroot
    }

    /// What is ours in the tree.
    pub(crate) fn ours(&self) -> &Ours {
        &self.ours
    }

    /// Reads `paths` and then never inspects the root file system again: from here on the view shows this moment,
    /// whatever is changed; a path that it has not seen counts as absent.
    pub(crate) fn freeze<'p>(&self, paths: impl IntoIterator<Item = &'p String>) -> Result<()> {
        for path in paths {
            self.original(path)?;
        }
        self.frozen.set(true);
        Ok(())
    }

    /// The node at `path` now.
    pub(crate) fn actual(&self, path: &str) -> Result<Rc<Node>> {
        let path = &self.location(path)?;
        if let Some((_, node)) = self.actual.borrow().get(path) {
            return Ok(Rc::clone(node));
        }
        let meta = if self.frozen.get() { None } else { self.sysroot.lstat(path)? };
        let node = match (&meta, self.before.get(path)) {
            (None, _) => Rc::new(Node::Absent),
            (Some(_), Some((before, node))) if *before == meta => Rc::clone(node),
            (Some(meta), _) => Rc::new(self.known.node(path, tree::read_known(self.sysroot, path, meta)?)),
        };
        self.actual.borrow_mut().insert(path.to_owned(), (meta, Rc::clone(&node)));
        Ok(node)
    }

    /// The node at `path` without us.
    pub(crate) fn original(&self, path: &str) -> Result<Rc<Node>> {
        let path = &self.location(path)?;
        if let Some(node) = self.original.borrow().get(path) {
            return Ok(Rc::clone(node));
        }
        let actual = self.actual(path)?;
        let recorded = match self.recorded.get(path).and_then(|recorded| self.ours.records.get(recorded)) {
            Some(record) if record.after.matches(&actual) => {
                match record.before.restore_as(&actual, |content| self.known.content(path, content)) {
                    Some(before) => self.believed(path, before)?,
                    None => None,
                }
            }
            _ => None,
        };
        let node = match recorded {
            Some(mut before) => {
                keep_foreign_attributes(&mut before, &actual);
                Rc::new(before)
            }
            None => self.without_ours(path, actual)?,
        };
        self.original.borrow_mut().insert(path.to_owned(), Rc::clone(&node));
        Ok(node)
    }

    /// From now on `node` is the node at `path` without us: the previous one is damage that is repaired and must not be
    /// restored.
    pub(crate) fn assume(&self, path: &str, node: Node) -> Result<()> {
        self.original.borrow_mut().insert(self.location(path)?, Rc::new(node));
        self.names.borrow_mut().clear();
        Ok(())
    }

    /// Whether the node at `path` is exactly what our last run left there.
    pub(crate) fn is_as_we_left_it(&self, path: &str) -> Result<bool> {
        let location = self.location(path)?;
        let record = self.recorded.get(&location).and_then(|recorded| self.ours.records.get(recorded));
        Ok(match record {
            // A rejected record is no evidence of what was there.
            Some(record) if record.after.matches(&*self.actual(&location)?) => {
                self.original(&location)?;
                let path = self.recorded.get(&location).map_or(location.as_str(), String::as_str);
                !self.doubts.borrow().contains_key(path)
            }
            _ => false,
        })
    }

    /// Whether our last run did not change the node at `path`.
    pub(crate) fn is_unrecorded(&self, path: &str) -> Result<bool> {
        Ok(!self.recorded.contains_key(&self.location(path)?))
    }

    /// The node without our certificates, for what is not (or no longer) as we left it.
    fn without_ours(&self, path: &str, actual: Rc<Node>) -> Result<Rc<Node>> {
        if self.ours.installed.is_empty() && self.ours.named.is_empty() {
            return Ok(actual);
        }
        match actual.as_ref() {
            // Another program's file beside our anchors is an input that we never touched, whatever is in it.
            Node::File(_) if self.is_beside_our_anchors(path) => Ok(actual),
            Node::File(file) => {
                let recorded = self.recorded.get(path).map(String::as_str);
                let existing = Existing { location: path, recorded, content: &file.content };
                Ok(match owners::without_ours(&existing, &self.ours) {
                    None | Some(Rest::Same) => actual,
                    Some(Rest::Nothing) => Rc::new(Node::Absent),
                    Some(Rest::Content(content)) => {
                        Rc::new(Node::File(tree::File { content: content.into(), ..file.clone() }))
                    }
                })
            }
            // Another program may have linked our anchor file; a link that only dangled before us is not ours.
            Node::Link { target } => {
                let end = self.follow_actual(&join(split(path).0, target))?;
                let leads_to_ours = end.is_some_and(|(location, _)| self.our_files.contains(&location));
                Ok(if leads_to_ours { Rc::new(Node::Absent) } else { actual })
            }
            _ => Ok(actual),
        }
    }

    fn is_beside_our_anchors(&self, location: &str) -> bool {
        let directory = split(location).0;
        !self.recorded.contains_key(location)
            && !self.our_files.contains(location)
            && self.our_files.iter().any(|file| split(file).0 == directory)
    }

    /// The names in the directory `path` without us, sorted; empty if there is none.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        if let Some(names) = self.names.borrow().get(path) {
            return Ok(names.clone());
        }
        let mut names = BTreeSet::new();
        for name in self.actual_names(path)? {
            if *self.original(&child(path, &name))? != Node::Absent {
                names.insert(name);
            }
        }
        let prefix = child(&self.location(&child(path, "x"))?, "");
        let prefix = prefix.strip_suffix("x/").unwrap_or(&prefix);
        for (recorded, _) in self.recorded.range(prefix.to_owned()..) {
            let Some(name) = recorded.strip_prefix(prefix) else { break };
            if !name.contains('/') && *self.original(recorded)? != Node::Absent {
                names.insert(name.to_owned());
            }
        }
        let names: Vec<String> = names.into_iter().collect();
        self.names.borrow_mut().insert(path.to_owned(), names.clone());
        Ok(names)
    }

    /// Every name in the directory `path` now.
    pub(crate) fn actual_names(&self, path: &str) -> Result<Vec<String>> {
        if let Some(names) = self.actual_names.borrow().get(path) {
            return Ok(names.clone());
        }
        let names = self.sysroot.list(path)?.unwrap_or_default();
        let names = self.with_planned_names(path, names)?;
        self.actual_names.borrow_mut().insert(path.to_owned(), names.clone());
        Ok(names)
    }

    /// Where `path` leads without us: the path of the node at the end of the links, every link on the way resolved,
    /// and that node. `None` if it leads nowhere. For reading: what is written goes to [`View::target`].
    ///
    /// # Errors
    /// The links loop.
    pub(crate) fn follow(&self, path: &str) -> Result<Option<(String, Rc<Node>)>> {
        self.follow_links(path, |_| Ok(()))
    }

    /// The same where something is to be written at the end: a link that another user owns may lead only to what that
    /// user owns (threat T35).
    ///
    /// # Errors
    /// The links loop, or one of another user leads to something that this user does not own.
    pub(crate) fn target(&self, path: &str) -> Result<Option<(String, Rc<Node>)>> {
        let foreign = Cell::new(None);
        let end = self.follow_links(path, |link| {
            let owner = self.owner(link)?.filter(|uid| !self.sysroot.is_trusted(*uid));
            if let Some(uid) = owner {
                foreign.set(Some(uid));
            }
            Ok(())
        })?;
        if let (Some(uid), Some((real, _))) = (foreign.get(), &end)
            && self.owner(real)? != Some(uid)
        {
            return Err(Error::failed(format!(
                "a symbolic link on this path is owned by user {uid}, and it leads to `{}`, which this user does not own",
                self.sysroot.display(real)
            ))
            .at(self.sysroot.display(path))
            .hint(format!(
                "make root the owner of the link: `chown -h 0:0 {}`",
                remedy::quoted(&self.sysroot.display(path))
            )));
        }
        Ok(end)
    }

    /// The owner of the node at `location` now; `None` if there is nothing.
    fn owner(&self, location: &str) -> Result<Option<u32>> {
        let location = &self.location(location)?;
        self.actual(location)?;
        Ok(self.actual.borrow().get(location).and_then(|(meta, _)| meta.map(|meta| meta.uid)))
    }

    fn follow_links(
        &self,
        path: &str,
        passes: impl Fn(&str) -> Result<()>,
    ) -> Result<Option<(String, Rc<Node>)>> {
        let mut path = path.to_owned();
        for _ in 0..MAX_HOPS {
            // The directories on the way contain no links of ours, so the sysroot's own resolution serves.
            let canonical = self.location(&path)?;
            let node = self.original(&canonical)?;
            match node.as_ref() {
                Node::Absent => return Ok(None),
                Node::Link { target } => {
                    passes(&canonical)?;
                    path = join(split(&canonical).0, target);
                }
                _ => return Ok(Some((canonical, node))),
            }
        }
        Err(Error::failed("the links in this path loop")
            .at(self.sysroot.display(&path))
            .hint("check the link: it must lead to a file; then run again"))
    }

    /// The content of the file at `path` without us, links followed; `None` if there is nothing.
    ///
    /// # Errors
    /// Something other than a file is there.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Rc<Node>>> {
        match self.follow(path)? {
            None => Ok(None),
            Some((_, node)) if matches!(node.as_ref(), Node::File(_)) => Ok(Some(node)),
            Some((real, node)) => Err(Error::failed(format!("expected a file, found {}", node.kind()))
                .at(self.sysroot.display(&real))
                .hint(format!(
                    "check what `{}` is, and replace it with a regular file",
                    self.sysroot.display(&real)
                ))),
        }
    }

    /// Where `path` leads now, with us: as [`View::follow`], for the current nodes.
    pub(crate) fn follow_actual(&self, path: &str) -> Result<Option<(String, Rc<Node>)>> {
        let mut path = path.to_owned();
        for _ in 0..MAX_HOPS {
            let location = self.location(&path)?;
            let node = self.actual(&location)?;
            match node.as_ref() {
                Node::Absent => return Ok(None),
                Node::Link { target } => path = join(split(&location).0, target),
                _ => return Ok(Some((location, node))),
            }
        }
        Ok(None)
    }

    /// The certificates in the file at `path` without us; what cannot be parsed is omitted.
    pub(crate) fn certificates(&self, path: &str) -> Result<Vec<Certificate>> {
        if self.read(path)?.is_none() {
            return Ok(Vec::new());
        }
        Ok(match self.follow(path)? {
            Some((location, node)) => self.contents(&location, &node).certificates.clone(),
            None => Vec::new(),
        })
    }

    /// The certificates in the file at `path` as it is now; `None` if it cannot be read as a file.
    pub(crate) fn actual_certificates(&self, path: &str) -> Option<Vec<Certificate>> {
        let (location, node) = self.follow_actual(path).ok()??;
        matches!(node.as_ref(), Node::File(_)).then(|| self.contents(&location, &node).certificates.clone())
    }

    /// The same tree, in which this is ours instead.
    pub(crate) fn with_ours(&self, ours: Ours) -> Result<View<'a>> {
        Ok(View {
            actual: self.actual.clone(),
            known: Rc::clone(&self.known),
            beneath: Rc::clone(&self.beneath),
            ..View::of(self.sysroot, Rc::new(ours))?
        })
    }

    /// A view that reads everything again, for the time after this one. It takes over only nodes with the same inode
    /// that have not changed according to the kernel's own count (which no program can set).
    pub(crate) fn afresh(&self) -> Result<View<'a>> {
        self.sysroot.look_again();
        let view = View::of(self.sysroot, Rc::clone(&self.ours))?;
        Ok(View {
            before: self.actual.borrow().clone(),
            known: Rc::clone(&self.known),
            beneath: Rc::clone(&self.beneath),
            ..view
        })
    }
}

/// Keeps the mode and owner that another program gave the file after us.
fn keep_foreign_attributes(before: &mut Node, actual: &Node) {
    if let (Node::File(before), Node::File(actual)) = (before, actual) {
        before.mount_point = actual.mount_point;
    }
}
