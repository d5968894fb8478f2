//! Places a pair: plain files, each by a rename, or a directory of this version and one swap of a link. If a step
//! fails, what was there before is restored.
//!
//! A run that is killed in between has already saved the whole pair (`pending`): the next run places it again.

use super::{FILE_LIMIT, Layout, Outputs, PairContent, pending};
use crate::error::{Error, ErrorKind, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::file_set::{After, Before, Change, FileSet, Rules};
use crate::rootfs::path::child;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Meta, Sysroot, split};

/// Mode of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// The changed paths.
    pub(crate) changed: Vec<String>,
    /// Of these, those that were written in place, because they are mounted individually.
    pub(crate) in_place: Vec<String>,
    /// Links of ours into a former version that are no longer requested, and were removed with it.
    pub(crate) dropped: Vec<String>,
    /// What else to report to the user.
    pub(crate) warnings: Vec<String>,
}

/// Makes the missing directories. The set can undo that, as long as they are empty.
///
/// # Errors
/// They cannot be made, or others could put files there; nothing is left behind.
pub(crate) fn prepare<'a>(host: &'a Sysroot, outputs: &Outputs) -> Result<FileSet<'a>> {
    let mut made = file_set(host, outputs);
    let prepared = make_all_directories(host, outputs, &mut made);
    if prepared.is_err() {
        made.undo();
    }
    prepared.map(|()| made)
}

fn make_all_directories(host: &Sysroot, outputs: &Outputs, made: &mut FileSet) -> Result<()> {
    for (_, path) in outputs.paths() {
        make_directories(host, split(path).0, made)?;
        let protection = outputs.protection(host, path)?;
        if let Some(why) = &protection.danger {
            let error =
                Error::failed(format!("this directory is not safe for a key and its certificate: {why}"))
                    .at(host.display(path));
            let remedy = protection.remedy().unwrap_or_default();
            let error = match protection.foreign_owner() {
                // Usual: the service's own directory.
                Some((owner, group)) => error.hint(format!(
                    "if this user is to have the files: `--owner {owner}:{group}`, with trustup as root; or run trustup as this user (`docker run --user {owner}`)"
                )).hint(format!("else use a directory that no other user can write, such as `/run/tls`, or take it over: {remedy}")),
                None => error.hint(format!(
                    "use a directory that no other user can write, such as `/run/tls`, or remove that right: {remedy}"
                )),
            };
            return Err(if protection.acceptable {
                error.hint("a volume that only containers of yours share, such as Kubernetes' emptyDir: `--allow-shared-directory`")
            } else {
                error
            });
        }
    }
    Ok(())
}

fn make_directories(host: &Sysroot, path: &str, made: &mut FileSet) -> Result<()> {
    let mut missing = Vec::new();
    let mut path = path;
    while path != "/" {
        match host.stat(path)? {
            None => missing.push(path),
            Some(meta) if meta.kind == FileKind::Directory => break,
            Some(_) => {
                return Err(Error::usage("expected a directory for the files, found something else")
                    .at(host.display(path))
                    .hint("name another path"));
            }
        }
        path = split(path).0;
    }
    let change = |path| Change {
        path,
        before: Before::Is(&Node::Absent),
        after: After::Directory(DIRECTORY_MODE, None),
        rules: Rules::default(),
    };
    let changes: Vec<Change> = missing.into_iter().rev().map(change).collect();
    if !changes.is_empty() {
        made.apply(&changes, &mut Checkpoints::off()).map_err(|(_, error)| error)?;
        host.look_again();
    }
    Ok(())
}

/// Tests whether files with the wanted owner and mode can be written at their paths. Only for a run that holds the
/// pair's lock: the test files have the names of those that are placed.
///
/// # Errors
/// They cannot; nothing is changed.
pub(crate) fn try_out(host: &Sysroot, outputs: &Outputs) -> Result<()> {
    let paths: Vec<(&str, &str)> = outputs.paths().collect();
    let probe = |path| file(path, b"", attributes(outputs, 0o600), outputs.layout == Layout::Files);
    let changes: Vec<Change> = paths.iter().map(|(_, path)| probe(path)).collect();
    file_set(host, outputs).try_out(&changes).map_err(|(index, error)| match error.kind() {
        ErrorKind::Usage => error.hint(format!(
            "`{}` needs the path of a file: name another path, or move the existing one away",
            paths[index].0
        )),
        ErrorKind::Unsupported => Error::usage("a file that is mounted by itself cannot become a link")
            .at(host.display(paths[index].1))
            .hint("mount the directory instead of the file, or use `--layout files`"),
        _ => error.hint(
            "`--cert` and `--key` need a directory that trustup can write, such as a volume or a tmpfs",
        ),
    })
}

/// Places the files.
///
/// # Errors
/// A step failed: what was there before is restored, or the error names what is not.
pub(crate) fn place(
    host: &Sysroot,
    outputs: &Outputs,
    content: &PairContent,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    match outputs.layout {
        Layout::Files => place_files(host, outputs, content, checkpoints),
        Layout::Versioned => place_version(host, outputs, content, checkpoints),
    }
}

/// An empty set of this pair's files. Pairs that share a file, such as that of their roots, have separate locks, so
/// each also stages under its own names.
fn file_set<'a>(host: &'a Sysroot, outputs: &Outputs) -> FileSet<'a> {
    FileSet::new(host, pending::directory_path(outputs), None)
}

/// A file that replaces whatever file or link is at `path`.
fn file<'c>(path: &'c str, content: &'c [u8], attributes: Attributes, in_place: bool) -> Change<'c> {
    let rules = Rules { in_place, ..Rules::default() };
    Change { path, before: Before::Anything, after: After::File(content, attributes), rules }
}

/// A link at `path` that replaces whatever file or link is there; with no target, nothing is there afterwards.
fn link<'c>(path: &'c str, target: Option<&'c str>) -> Change<'c> {
    let after = target.map_or(After::Absent, After::Link);
    Change { path, before: Before::Anything, after, rules: Rules::default() }
}

/// Makes the changes of a set and writes them to disk; on an error, everything that the set did is undone.
fn apply(set: &mut FileSet, changes: &[Change], checkpoints: &mut Checkpoints) -> Result<()> {
    let applied = set.apply(changes, checkpoints).map_err(|(_, error)| error);
    applied.and_then(|()| set.sync()).map_err(|error| error.with_changed(set.undo()))
}

fn place_files(
    host: &Sysroot,
    outputs: &Outputs,
    content: &PairContent,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    let mut set = file_set(host, outputs);
    let files = content.files(outputs);
    let changes: Vec<Change> = files
        .iter()
        .map(|(path, content, mode)| file(path, content, attributes(outputs, *mode), true))
        .collect();
    apply(&mut set, &changes, checkpoints)?;
    checkpoints.pass("placed", &outputs.key);
    let mut placed = Placed {
        changed: set.changed(),
        in_place: set.written_in_place().to_vec(),
        warnings: set.warnings(),
        dropped: Vec::new(),
    };
    // From here on the pair is placed. A link and versions of the other layout hold a key that is no longer needed.
    let _ = remove_versions(host, outputs, &mut placed);
    Ok(placed)
}

/// Removes what `--layout versioned` left beside the key.
fn remove_versions(host: &Sysroot, outputs: &Outputs, placed: &mut Placed) -> Result<()> {
    let (directory, _) = open(host, &outputs.key)?;
    if directory.read_link(&current(outputs))?.is_none() {
        return Ok(());
    }
    drop_links(host, outputs, &directory, &[], placed)?;
    remove(host, outputs, &child(split(&outputs.key).0, &current(outputs)))?;
    remove_other_versions(host, &directory, outputs, None)
}

/// Removes links of ours into the current version except those of `kept`: they would be dangling.
fn drop_links(
    host: &Sysroot,
    outputs: &Outputs,
    directory: &Directory,
    kept: &[&str],
    placed: &mut Placed,
) -> Result<()> {
    for name in directory.list()? {
        if !kept.contains(&name.as_str())
            && directory.read_link(&name)? == Some(format!("{}/{name}", current(outputs)))
        {
            let path = child(split(&outputs.key).0, &name);
            remove(host, outputs, &path)?;
            placed.dropped.push(host.display(&path));
        }
    }
    Ok(())
}

/// Removes a file or a link.
fn remove(host: &Sysroot, outputs: &Outputs, path: &str) -> Result<()> {
    apply(&mut file_set(host, outputs), &[link(path, None)], &mut Checkpoints::off())
}

/// Removes every version's directory but `kept`.
fn remove_other_versions(
    host: &Sysroot,
    directory: &Directory,
    outputs: &Outputs,
    kept: Option<&str>,
) -> Result<()> {
    let prefix = version_prefix(outputs);
    for name in directory.list()? {
        let digits = name.strip_prefix(&prefix).unwrap_or_default();
        let is_version = digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit());
        if is_version && Some(name.as_str()) != kept {
            remove_version(host, directory, outputs, &name)?;
        }
    }
    Ok(())
}

/// The link that says which version is the current one, beside the key and named after it.
pub(super) fn current(outputs: &Outputs) -> String {
    format!(".{}.current", split(&outputs.key).1)
}

fn version_prefix(outputs: &Outputs) -> String {
    format!(".{}.", split(&outputs.key).1)
}

fn place_version(
    host: &Sysroot,
    outputs: &Outputs,
    content: &PairContent,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    let (directory, _) = open(host, &outputs.key)?;
    let parent = split(&outputs.key).0;
    let current = current(outputs);
    let former = directory.read_link(&current)?;
    let names = version_names(outputs, content);
    let version = match &former {
        Some(former) if names.contains(former) && is_version_whole(&directory, outputs, content, former)? => {
            former.clone()
        }
        // The same content again, if the existing version is damaged.
        former => names.into_iter().find(|name| Some(name) != former.as_ref()).unwrap_or_default(),
    };
    let mut set = file_set(host, outputs);
    let current_path = child(parent, &current);
    let is_new = former.as_ref() != Some(&version);
    if is_new {
        remove_version(host, &directory, outputs, &version)?;
        let version_path = child(parent, &version);
        let of_version: Vec<(String, &[u8], u32)> = content
            .files(outputs)
            .into_iter()
            .map(|(path, bytes, mode)| (child(&version_path, split(path).1), bytes, mode))
            .collect();
        let mut changes = vec![Change {
            path: &version_path,
            before: Before::Is(&Node::Absent),
            after: After::Directory(DIRECTORY_MODE, outputs.owner),
            rules: Rules::default(),
        }];
        changes.extend(
            of_version.iter().map(|(path, bytes, mode)| file(path, bytes, attributes(outputs, *mode), false)),
        );
        // On disk before a link leads there.
        apply(&mut set, &changes, checkpoints)?;
        apply(&mut set, &[link(&current_path, Some(&version))], checkpoints)?;
    }
    // The links from the files' own names; they change only the first time.
    let links: Vec<(&str, String)> =
        outputs.paths().map(|(_, path)| (path, format!("{current}/{}", split(path).1))).collect();
    let changes: Vec<Change> = links.iter().map(|(path, target)| link(path, Some(target))).collect();
    apply(&mut set, &changes, checkpoints)?;
    checkpoints.pass("placed", &outputs.key);
    let all = outputs.paths().map(|(_, path)| host.display(path));
    let changed = set.changed();
    let changed = all.filter(|path| is_new || changed.contains(path)).collect();
    let mut placed = Placed { changed, warnings: set.warnings(), ..Placed::default() };
    // Former versions: what holds a key that is no longer needed is removed. If that fails, the next run removes it.
    let names: Vec<&str> = outputs.paths().map(|(_, path)| split(path).1).collect();
    let _ = drop_links(host, outputs, &directory, &names, &mut placed)
        .and_then(|()| remove_other_versions(host, &directory, outputs, Some(&version)));
    Ok(placed)
}

/// The names that a version with this content may have, derived from the content: equal content has the same name, and
/// the second name is for when the first is damaged.
fn version_names(outputs: &Outputs, content: &PairContent) -> [String; 2] {
    let mut all = format!("{:?}\n", outputs.owner).into_bytes();
    for (path, bytes, mode) in content.files(outputs) {
        all.extend_from_slice(format!("{} {mode:o} {}\n", split(path).1, Fingerprint::of(bytes)).as_bytes());
    }
    let prefix = version_prefix(outputs);
    let first = Fingerprint::of(&all);
    let second = Fingerprint::of(first.hex().as_bytes());
    [first, second].map(|of| format!("{prefix}{}", of.short(16)))
}

/// Whether the version's directory holds exactly these files, as requested.
fn is_version_whole(
    directory: &Directory,
    outputs: &Outputs,
    content: &PairContent,
    version: &str,
) -> Result<bool> {
    let Ok(inside) = directory.child(version) else { return Ok(false) };
    for (path, bytes, mode) in content.files(outputs) {
        let Ok(Some((found, meta))) = inside.read(split(path).1, FILE_LIMIT) else { return Ok(false) };
        if found != bytes || !is_as_asked(&meta, outputs, mode) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a version's directory, with the plain files in it and nothing else.
fn remove_version(host: &Sysroot, directory: &Directory, outputs: &Outputs, name: &str) -> Result<()> {
    let Some(meta) = directory.lstat(name)?.filter(|meta| meta.kind == FileKind::Directory) else {
        return Ok(());
    };
    let path = child(split(&outputs.key).0, name);
    let inside = directory.child(name)?;
    let mut files = Vec::new();
    for file in inside.list()? {
        if inside.lstat(&file)?.is_some_and(|meta| meta.kind == FileKind::File) {
            files.push(child(&path, &file));
        }
    }
    let version = Node::Directory { mode: meta.mode };
    let mut changes: Vec<Change> = files.iter().map(|path| link(path, None)).collect();
    let (before, after) = (Before::Is(&version), After::Absent);
    changes.push(Change { path: &path, before, after, rules: Rules::default() });
    let mut set = file_set(host, outputs);
    set.apply(&changes, &mut Checkpoints::off()).map_err(|(_, error)| error)
}

fn open(host: &Sysroot, path: &str) -> Result<(Directory, String)> {
    let (parent, name) = split(path);
    Ok((host.directory(parent)?, name.to_owned()))
}

fn attributes(outputs: &Outputs, mode: u32) -> Attributes {
    Attributes { mode, owner: outputs.owner, modified: None }
}

/// Whether a file has the requested owner, and this mode.
pub(super) fn is_as_asked(meta: &Meta, outputs: &Outputs, mode: u32) -> bool {
    meta.mode == mode && outputs.owner.is_none_or(|owner| owner == (meta.uid, meta.gid))
}
