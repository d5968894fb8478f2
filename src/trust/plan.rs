//! A plan: what would change, step by step, each with its reason. Pure functions make it, `ui` shows it, and only
//! `apply` executes it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::pki::cert::holds_only_certificates;
use crate::rootfs::output::OutputOption;
use crate::rootfs::record::{Mark, PathRecord, Saved};
use crate::rootfs::tree::{File, Node};
use crate::rootfs::{FileKind, split};
use crate::trust::ours::Ours;
use crate::trust::owners;
use crate::trust::updater::{Desires, Ownership, Updater};
use crate::trust::view::View;

/// Mode of new directories on the way to an output, as in every family's package.
const DIRECTORY_MODE: u32 = 0o755;
/// A copy of public certificates: any user may read it.
const COPY_MODE: u32 = 0o644;

/// What would change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// In the order of execution.
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// One path changes.
    Change(PlannedChange),
    /// The family's own program runs.
    Run(ToolRun),
}

impl Step {
    /// The path that changes; `None` for a program that runs.
    pub(crate) fn change(&self) -> Option<&PlannedChange> {
        match self {
            Step::Change(change) => Some(change),
            Step::Run(_) => None,
        }
    }
}

/// A path that changes.
#[derive(Clone, Debug)]
pub(crate) struct PlannedChange {
    /// The path.
    pub(crate) path: String,
    /// The current node; if another is found, the step fails.
    pub(crate) from: Node,
    /// The new node.
    pub(crate) to: Node,
    /// Why.
    pub(crate) reason: String,
    /// A copy for one service (`--ca-out`): not a store, so it is neither recorded nor removed by untrust.
    pub(crate) is_copy: bool,
}

/// A run of the family's own program.
#[derive(Clone, Debug)]
pub(crate) struct ToolRun {
    /// Its absolute path.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Every existing path that it may change.
    pub(crate) watched: Vec<String>,
    /// The directories in which it may create new paths.
    pub(crate) directories: Vec<String>,
    /// Its files that remain if it is killed.
    pub(crate) leftovers: Vec<String>,
    /// Why.
    pub(crate) reason: String,
}

impl Plan {
    /// Whether nothing would change.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The paths that change (not what a native tool changes).
    pub(crate) fn changes(&self) -> impl Iterator<Item = &PlannedChange> {
        self.steps.iter().filter_map(Step::change)
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepAction {
    /// Make a directory, or give it another mode.
    MakeDirectory,
    /// Write a file.
    WriteFile,
    /// Make a symbolic link.
    MakeLink,
    /// Remove a file or link.
    Remove,
    /// Remove an empty directory.
    RemoveDirectory,
    /// Run a program.
    Run,
}

impl StepAction {
    /// The word shown to people, the same as in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StepAction::MakeDirectory => "make-directory",
            StepAction::WriteFile => "write-file",
            StepAction::MakeLink => "make-link",
            StepAction::Remove => "remove",
            StepAction::RemoveDirectory => "remove-directory",
            StepAction::Run => "run",
        }
    }
}

/// A step as data, for `--json`, and as one line.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StepView {
    /// What it does.
    pub(crate) action: StepAction,
    /// The path changed, or the program run.
    pub(crate) path: String,
    /// A link's target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// A file's mode, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// A program's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<Vec<String>>,
    /// Why.
    pub(crate) reason: String,
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        match step {
            Step::Run(run) => StepView {
                action: StepAction::Run,
                path: run.program.clone(),
                target: None,
                mode: None,
                arguments: Some(run.arguments.clone()),
                reason: run.reason.clone(),
            },
            Step::Change(change) => {
                let action = match (&change.from, &change.to) {
                    (_, Node::Directory { .. }) => StepAction::MakeDirectory,
                    (_, Node::File(_)) => StepAction::WriteFile,
                    (_, Node::Link { .. }) => StepAction::MakeLink,
                    (Node::Directory { .. }, _) => StepAction::RemoveDirectory,
                    _ => StepAction::Remove,
                };
                let (target, mode) = match &change.to {
                    Node::Link { target } => (Some(target.clone()), None),
                    Node::File(file) => (None, Some(format!("{:04o}", file.mode))),
                    Node::Directory { mode } => (None, Some(format!("{mode:04o}"))),
                    Node::Absent | Node::Special => (None, None),
                };
                let reason = change.reason.clone();
                StepView { action, path: change.path.clone(), target, mode, arguments: None, reason }
            }
        }
    }
}

/// The changes from the current to the desired nodes, for every path that the desires, the state or the outputs name. A
/// path that is no longer desired is restored to what it was without us.
pub(crate) fn changes(view: &View, updater: &dyn Updater, desires: &Desires) -> Result<Vec<PlannedChange>> {
    let mut wanted: BTreeMap<&str, (&Node, &str)> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for desired in &desires.nodes {
        if wanted.insert(&desired.path, (&desired.node, &desired.reason)).is_none() {
            order.push(&desired.path);
        }
    }
    let mut reverted: BTreeSet<String> = view.ours().records.keys().cloned().collect();
    reverted.extend(updater.watched(view)?);
    // The file of one of our anchors is ours, even if the state was altered so that it does not record it.
    reverted.extend(view.ours().files.iter().cloned());

    let mut made = Vec::new();
    let mut removed = Vec::new();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut ready: BTreeSet<&str> = BTreeSet::new();
    for path in order {
        let (node, reason) = wanted[path];
        // Hundreds of files may be in one directory.
        if *node != Node::Absent && ready.insert(split(path).0) {
            for directory in missing_ancestors(view, path)? {
                if kept.insert(directory.clone()) {
                    made.push(PlannedChange {
                        from: Node::Absent,
                        to: Node::Directory { mode: DIRECTORY_MODE },
                        reason: "a parent directory".to_owned(),
                        path: directory,
                        is_copy: false,
                    });
                }
            }
            kept.extend(ancestors(path));
        }
        if matches!(node, Node::Directory { .. }) {
            kept.insert(path.to_owned());
        }
        let actual = view.actual(path)?;
        if !actual.satisfies(node) {
            let change = PlannedChange {
                path: path.to_owned(),
                from: (*actual).clone(),
                to: node.clone(),
                reason: reason.to_owned(),
                is_copy: false,
            };
            if *node == Node::Absent { removed.push(change) } else { made.push(change) }
        }
    }
    let mut settled = BTreeSet::new();
    for path in wanted.keys().copied().chain(kept.iter().map(String::as_str)) {
        settled.insert(view.location(path)?);
    }
    for path in reverted {
        if !settled.insert(view.location(&path)?) {
            continue;
        }
        let (actual, original) = (view.actual(&path)?, view.original(&path)?);
        if actual.satisfies(&original) {
            continue;
        }
        let reason = match original.as_ref() {
            Node::Absent => "it was not there before",
            _ => "as it was before",
        };
        let change = PlannedChange {
            path,
            from: (*actual).clone(),
            to: (*original).clone(),
            reason: reason.to_owned(),
            is_copy: false,
        };
        if *original == Node::Absent { removed.push(change) } else { made.push(change) }
    }
    // Directories last, the deepest first: they are empty only then.
    removed.sort_by_key(|change| {
        let is_directory = matches!(change.from, Node::Directory { .. });
        (is_directory, std::cmp::Reverse(if is_directory { change.path.matches('/').count() } else { 0 }))
    });
    made.extend(removed);
    Ok(made)
}

/// Refuses changes in places where only another program writes, whatever links and state name.
///
/// # Errors
/// There is such a change.
pub(crate) fn refuse_closed(view: &View, changes: &[PlannedChange]) -> Result<()> {
    changes.iter().try_for_each(|change| refuse_if_closed(view, &change.path))
}

fn refuse_if_closed(view: &View, path: &str) -> Result<()> {
    match owners::closed(&view.location(path)?) {
        None => Ok(()),
        Some(closed) => {
            Err(Error::unsupported(closed.refusal).at(view.sysroot().display(path)).hint(closed.remedy))
        }
    }
}

/// Where to write a copy of the roots.
pub(crate) const CA_OUT: OutputOption = OutputOption { name: "--ca-out", takes_standard: true };

/// The changes that put a copy of the roots (PEM) at `path`, for one service.
///
/// # Errors
/// The path is one of the trust stores or of trustup's own files, is occupied by something other than a bundle, or
/// cannot be reached.
pub(crate) fn copy(
    view: &View,
    updater: &dyn Updater,
    path: &str,
    content: String,
) -> Result<Vec<PlannedChange>> {
    let place = view.sysroot().display(path);
    let elsewhere = || "`--ca-out` writes a copy for one service, such as `/run/tls/ca.crt`".to_owned();
    if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| matches!(part, "." | ".."))
    {
        return Err(Error::usage("`--ca-out` needs the absolute path of a file inside the sysroot")
            .at(path)
            .hint(elsewhere()));
    }
    refuse_if_closed(view, path)?;
    CA_OUT.check(view.sysroot(), path)?;
    let mut changes = Vec::new();
    for directory in missing_ancestors(view, path)? {
        let to = Node::Directory { mode: DIRECTORY_MODE };
        let reason = "a parent directory".to_owned();
        changes.push(PlannedChange { path: directory, from: Node::Absent, to, reason, is_copy: true });
    }
    let location = view.location(path)?;
    let mut taken = updater.owns(path) != Ownership::Foreign || updater.owns(&location) != Ownership::Foreign;
    taken |= [path, location.as_str()]
        .iter()
        .any(|path| path.starts_with(view.sysroot().state_directory()) || owners::is_own_file(path));
    for output in updater.outputs(view)? {
        taken |= view.location(&output.path)? == location;
    }
    if taken {
        return Err(Error::usage("`--ca-out` names a path of the trust stores themselves")
            .at(place)
            .hint(elsewhere()));
    }
    let from = view.actual(path)?;
    let refusal = match from.as_ref() {
        Node::Absent => None,
        Node::File(file) if holds_only_certificates(&file.content) => None,
        Node::File(_) => {
            Some("`--ca-out` would replace a file that has other content than certificates".to_owned())
        }
        other => Some(format!("`--ca-out` would replace {}", other.kind())),
    };
    if let Some(refusal) = refusal {
        return Err(Error::usage(refusal).at(place).hint("name another file"));
    }
    let to = Node::File(File::new(content.into_bytes(), COPY_MODE));
    if !from.satisfies(&to) {
        let reason = "a copy of the accepted roots (--ca-out)".to_owned();
        changes.push(PlannedChange {
            path: path.to_owned(),
            from: (*from).clone(),
            to,
            reason,
            is_copy: true,
        });
    }
    Ok(changes)
}

/// What to record after the changes: for each path that now differs from its state without us (`original`), how to
/// restore it. `now` reads the node after the changes.
pub(crate) fn records(
    paths: impl IntoIterator<Item = String>,
    original: impl Fn(&str) -> Result<Node>,
    now: impl Fn(&str) -> Result<Node>,
) -> Result<BTreeMap<String, PathRecord>> {
    let mut records = BTreeMap::new();
    for path in paths {
        let (original, after) = (original(&path)?, now(&path)?);
        if after.satisfies(&original) {
            continue;
        }
        if let Some(mark) = Mark::of(&after) {
            records.insert(path, PathRecord::new(Saved::new(&original, &after)?, mark));
        }
    }
    Ok(records)
}

/// Every path that a run may have changed: those that earlier runs recorded, and those that this plan changes.
pub(crate) fn touched(ours: &Ours, plan: &Plan) -> BTreeSet<String> {
    let mut paths: BTreeSet<String> = ours.records.keys().chain(&ours.files).cloned().collect();
    for step in &plan.steps {
        match step {
            Step::Change(change) if change.is_copy => {}
            Step::Change(change) => {
                paths.insert(change.path.clone());
            }
            Step::Run(run) => paths.extend(run.watched.iter().cloned()),
        }
    }
    paths
}

fn ancestors(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = split(path).0;
    while path != "/" {
        found.push(path.to_owned());
        path = split(path).0;
    }
    found.reverse();
    found
}

/// The missing directories on the way to `path`, outermost first.
fn missing_ancestors(view: &View, path: &str) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for directory in ancestors(path) {
        match view.sysroot().stat(&directory)? {
            Some(meta) if meta.kind == FileKind::Directory => {}
            Some(_) => {
                return Err(Error::failed("expected a directory, found a file")
                    .at(view.sysroot().display(&directory))
                    .hint("move the file to another place, and run again"));
            }
            None if view.sysroot().lstat(&directory)?.is_some() => {
                return Err(Error::failed("expected a directory, found a dangling symlink")
                    .at(view.sysroot().display(&directory))
                    .hint("create the directory that it names, and run again"));
            }
            None => missing.push(directory),
        }
    }
    Ok(missing)
}
