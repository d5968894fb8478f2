//! The view of a tree as a plan will leave it, before anything is changed.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::View;
use crate::error::Result;
use crate::rootfs::path::child;
use crate::rootfs::split;
use crate::rootfs::tree::Node;

impl<'a> View<'a> {
    /// The view with `nodes` at these paths: what is planned, seen before it is made.
    ///
    /// # Errors
    /// Links loop.
    pub(crate) fn with<'n>(&self, nodes: impl IntoIterator<Item = (&'n str, &'n Node)>) -> Result<View<'a>> {
        let view = View::of(self.sysroot, Rc::clone(&self.ours))?;
        let mut view = View {
            actual: self.actual.clone(),
            known: Rc::clone(&self.known),
            beneath: Rc::clone(&self.beneath),
            ..view
        };
        for (path, node) in nodes {
            let location = view.location(path)?;
            view.planned.insert(location.clone(), *node != Node::Absent);
            view.actual.borrow_mut().insert(location, (None, Rc::new(node.clone())));
        }
        Ok(view)
    }

    /// The names in the directory `path`, with what is planned there.
    pub(super) fn with_planned_names(&self, path: &str, names: Vec<String>) -> Result<Vec<String>> {
        if self.planned.is_empty() {
            return Ok(names);
        }
        let location = self.location(&child(path, "x"))?;
        let directory = split(&location).0;
        let mut names: BTreeSet<String> = names.into_iter().collect();
        for (planned, exists) in &self.planned {
            let (parent, name) = split(planned);
            match (parent == directory, exists) {
                (false, _) => {}
                (true, true) => drop(names.insert(name.to_owned())),
                (true, false) => drop(names.remove(name)),
            }
        }
        Ok(names.into_iter().collect())
    }
}
