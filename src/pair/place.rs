//! Puts a pair where it belongs: plain files, each by a rename, or a directory of this version and one swap of a link.
//! Where a step fails, what was there before comes back.
//!
//! Whoever is killed in between has saved the whole pair before (`pending`): the next run places it again.

use super::{Content, FILE_LIMIT, Layout, Outputs};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::rootfs::checkpoint::Checkpoints;
use crate::rootfs::directory::{Attributes, Directory};
use crate::rootfs::path::child;
use crate::rootfs::{Kind, Meta, Sysroot, split};

/// Directories on the way that are made.
const DIRECTORY_MODE: u32 = 0o755;
/// The end of the name of a file that is about to be renamed.
const NEW: &str = "trustup-new";

/// What was done.
#[derive(Debug, Default)]
pub struct Placed {
    /// The paths that are different now.
    pub changed: Vec<String>,
    /// Of these, those that were written in place, because they are mounted one by one.
    pub in_place: Vec<String>,
    /// Links of ours into a former version that nobody asks for any more, and that are gone with it.
    pub dropped: Vec<String>,
}

/// Makes the directories that are missing. Answers with those that were made, outermost first.
///
/// # Errors
/// They cannot be made, or others could put files there; nothing is left behind.
pub fn prepare(host: &Sysroot, outputs: &Outputs) -> Result<Vec<String>> {
    let mut made = Vec::new();
    let prepared = make_all_directories(host, outputs, &mut made);
    if prepared.is_err() {
        unmake(host, &made);
    }
    prepared.map(|()| made)
}

/// Takes directories away again that [`prepare`] made, as far as nothing is in them.
pub fn unmake(host: &Sysroot, made: &[String]) {
    host.look_again();
    for path in made.iter().rev() {
        let (parent, name) = split(path);
        // Somebody else may have used it since; then it stays.
        let _ = host.directory(parent).and_then(|directory| directory.remove_empty_directory(name));
    }
}

fn make_all_directories(host: &Sysroot, outputs: &Outputs, made: &mut Vec<String>) -> Result<()> {
    for (_, path) in outputs.paths() {
        make_directories(host, split(path).0, made)?;
        if let Some(why) = outputs.unsafe_way(host, path)? {
            return Err(Error::failed(format!("this is no place for a key and its certificate: {why}"))
                .at(host.display(path))
                .hint("use a directory that nobody else can write, such as `/run/tls`, or take the right away (`chmod go-w`)")
                .hint("a volume that only containers of yours share, such as Kubernetes' emptyDir: `--allow-shared-directory`"));
        }
    }
    Ok(())
}

/// Tries whether files with the wanted owner and mode can stand where they should. Only who holds the pair's lock may: the
/// files that are tried have the names of those that are placed.
///
/// # Errors
/// They cannot; nothing is changed.
pub fn try_out(host: &Sysroot, outputs: &Outputs) -> Result<()> {
    for (option, path) in outputs.paths() {
        let (directory, name) = open(host, path)?;
        let meta = directory.lstat(&name)?;
        match meta.map(|meta| meta.kind) {
            Some(Kind::Directory | Kind::Special) => {
                return Err(Error::usage(format!("no file can stand where `{option}` should go"))
                    .at(host.display(path))
                    .hint("name another path"));
            }
            Some(Kind::File) if is_mounted(meta.as_ref()) => {
                if outputs.layout == Layout::Versioned {
                    return Err(Error::usage("a file that is mounted by itself cannot become a link")
                        .at(host.display(path))
                        .hint("mount the directory instead of the file, or use `--layout files`"));
                }
                directory.check_overwrite(&name).map_err(|error| {
                    error.hint("the file is mounted by itself: mount it without `ro`, or mount its directory")
                })?;
                continue;
            }
            _ => {}
        }
        let probe = temporary(outputs, &name);
        directory.remove(&probe)?;
        let attributes = attributes(outputs, 0o600);
        directory.create_file(&probe, b"", attributes).map_err(|error| {
            error.hint(
                "`--cert` and `--key` need a directory that trustup can write, such as a volume or a tmpfs",
            )
        })?;
        directory.remove(&probe)?;
    }
    Ok(())
}

fn make_directories(host: &Sysroot, path: &str, made: &mut Vec<String>) -> Result<()> {
    let mut missing = Vec::new();
    let mut path = path;
    while path != "/" {
        match host.stat(path)? {
            None => missing.push(path),
            Some(meta) if meta.kind == Kind::Directory => break,
            Some(_) => {
                return Err(Error::usage(
                    "what stands here is no directory, and files are to stand below it",
                )
                .at(host.display(path))
                .hint("name another path"));
            }
        }
        path = split(path).0;
    }
    for path in missing.into_iter().rev() {
        let (parent, name) = split(path);
        let attributes = Attributes { mode: DIRECTORY_MODE, owner: None, modified: None };
        host.directory(parent)?.make_directory(name, attributes)?;
        made.push(path.to_owned());
    }
    if !made.is_empty() {
        host.look_again();
    }
    Ok(())
}

/// Places the files.
///
/// # Errors
/// A step failed: what was there before is back, or the error names what is not.
pub(crate) fn place(
    host: &Sysroot,
    outputs: &Outputs,
    content: &Content,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    match outputs.layout {
        Layout::Files => place_files(host, outputs, content, checkpoints),
        Layout::Versioned => place_version(host, outputs, content, checkpoints),
    }
}

/// What stood at a path, to bring it back.
enum Former {
    Absent,
    /// A file of somebody else's: it can be replaced, and not brought back.
    Unreadable,
    File(zeroize::Zeroizing<Vec<u8>>, Meta),
    Link(String),
}

/// The name of the file that is renamed to `name`. Pairs that share a file, such as that of their roots, have locks of
/// their own: each has names of its own, too.
fn temporary(outputs: &Outputs, name: &str) -> String {
    format!(".{name}.{}.{NEW}", Fingerprint::of(outputs.key.as_bytes()).short(8))
}

/// A file that is to be placed.
struct File<'a> {
    directory: Directory,
    name: String,
    temporary: String,
    shown: String,
    content: &'a [u8],
    attributes: Attributes,
    former: Former,
    mounted: bool,
}

impl File<'_> {
    fn is_there(&self) -> bool {
        let Former::File(content, meta) = &self.former else { return false };
        let owner = self.attributes.owner.is_none_or(|owner| owner == (meta.uid, meta.gid));
        content.as_slice() == self.content && meta.mode == self.attributes.mode && owner
    }

    /// Puts the file where it belongs: by the rename, or in place where it turns out to be mounted by itself (not every
    /// kernel tells beforehand).
    fn put(&mut self) -> Result<()> {
        if !self.mounted && self.directory.try_rename(&self.temporary, &self.name)? {
            return Ok(());
        }
        self.mounted = true;
        self.directory.remove(&self.temporary)?;
        self.directory.overwrite(&self.name, self.content, self.attributes)
    }

    fn bring_back(&self) -> Result<()> {
        let temporary = &self.temporary;
        self.directory.remove(temporary)?;
        match &self.former {
            Former::Absent => self.directory.remove(&self.name),
            Former::Unreadable => Err(Error::failed("what stood there before could not be read")),
            Former::Link(target) => self.directory.replace_link(temporary, &self.name, target, None),
            Former::File(content, meta) => {
                let (owner, modified) = (Some((meta.uid, meta.gid)), Some(meta.modified));
                let attributes = Attributes { mode: meta.mode, owner, modified };
                if self.mounted {
                    self.directory.overwrite(&self.name, content, attributes)
                } else {
                    self.directory.replace_file(temporary, &self.name, content, attributes)
                }
            }
        }
    }
}

fn place_files(
    host: &Sysroot,
    outputs: &Outputs,
    content: &Content,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    let mut files = Vec::new();
    for (path, content, mode) in content.files(outputs) {
        let (directory, name) = open(host, path)?;
        let meta = directory.lstat(&name)?;
        let former = match meta.as_ref().map(|meta| meta.kind) {
            Some(Kind::File) => match directory.read(&name, FILE_LIMIT) {
                Ok(Some((bytes, meta))) => Former::File(zeroize::Zeroizing::new(bytes), meta),
                Ok(None) => Former::Absent,
                Err(_) if meta.as_ref().is_some_and(is_foreign) => Former::Unreadable,
                Err(error) => return Err(error),
            },
            Some(Kind::Link) => directory.read_link(&name)?.map_or(Former::Absent, Former::Link),
            _ => Former::Absent,
        };
        let (attributes, mounted) = (attributes(outputs, mode), is_mounted(meta.as_ref()));
        let (shown, temporary) = (host.display(path), temporary(outputs, &name));
        files.push(File { directory, name, temporary, shown, content, attributes, former, mounted });
    }
    files.retain(|file| !file.is_there());
    // First all that can fail for want of space or rights.
    for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.mounted) {
        let written = file
            .directory
            .remove(&file.temporary)
            .and_then(|()| file.directory.create_file(&file.temporary, file.content, file.attributes));
        if let Err(error) = written {
            for file in &files[..index] {
                let _ = file.directory.remove(&file.temporary);
            }
            return Err(error);
        }
    }
    let mut placed = Placed::default();
    for index in 0..files.len() {
        checkpoints.pass();
        let put = files[index].put();
        let file = &files[index];
        if file.mounted {
            placed.in_place.push(file.shown.clone());
        }
        // A file that was written in place may be half written.
        let begun = if put.is_ok() || file.mounted { index + 1 } else { index };
        if let Err(error) = put.and_then(|()| file.directory.sync()) {
            let left = files[..begun].iter().rev().filter(|file| file.bring_back().is_err());
            let left: Vec<String> = left.map(|file| file.shown.clone()).collect();
            for file in &files {
                let _ = file.directory.remove(&file.temporary);
            }
            return Err(error.with_changed(left));
        }
        placed.changed.push(file.shown.clone());
    }
    checkpoints.pass();
    // From here on the pair is placed. A link and versions of the other layout hold a key that nobody needs.
    let _ = remove_versions(host, outputs, &mut placed);
    Ok(placed)
}

/// Takes away what `--layout versioned` left beside the key.
fn remove_versions(host: &Sysroot, outputs: &Outputs, placed: &mut Placed) -> Result<()> {
    let (directory, _) = open(host, &outputs.key)?;
    let current = current(outputs);
    if directory.read_link(&current)?.is_none() {
        return Ok(());
    }
    drop_links(host, outputs, &directory, &[], placed)?;
    directory.remove(&current)?;
    remove_other_versions(host, &directory, outputs, None)?;
    directory.sync()
}

/// Takes links of ours into the current version away but those of `kept`: they would lead nowhere.
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
            directory.remove(&name)?;
            placed.dropped.push(host.display(&child(split(&outputs.key).0, &name)));
        }
    }
    Ok(())
}

/// Takes every version's directory away but `kept`.
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
            remove_version(host, directory, &name, split(&outputs.key).0)?;
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
    content: &Content,
    checkpoints: &mut Checkpoints,
) -> Result<Placed> {
    let (directory, _) = open(host, &outputs.key)?;
    let parent = split(&outputs.key).0;
    let current = current(outputs);
    let former = directory.read_link(&current)?;
    let names = version_names(outputs, content);
    let is_whole = |name: &str| is_version_whole(host, outputs, content, &real(host, parent, name)?);
    let mut placed = Placed::default();
    let version = match &former {
        Some(former) if names.contains(former) && is_whole(former)? => former.clone(),
        // The same once more, where the one that stands there is damaged.
        former => names.into_iter().find(|name| Some(name) != former.as_ref()).unwrap_or_default(),
    };
    if former.as_ref() != Some(&version) {
        remove_version(host, &directory, &version, parent)?;
        let attributes_of = |mode| attributes(outputs, mode);
        directory.make_directory(&version, attributes_of(DIRECTORY_MODE))?;
        host.look_again();
        let filled = host.directory_without_links(&real(host, parent, &version)?).and_then(|inside| {
            for (path, bytes, mode) in content.files(outputs) {
                inside.create_file(split(path).1, bytes, attributes_of(mode))?;
            }
            inside.sync()
        });
        if let Err(error) = filled.and_then(|()| directory.sync()) {
            let _ = remove_version(host, &directory, &version, parent);
            return Err(error);
        }
        checkpoints.pass();
        let temporary = temporary(outputs, &current);
        directory.remove(&temporary)?;
        directory.replace_link(&temporary, &current, &version, None)?;
        placed.changed.extend(outputs.paths().map(|(_, path)| host.display(path)));
    }
    let linked = link_all(host, outputs, &directory, &current, &mut placed, checkpoints);
    linked.and_then(|()| directory.sync()).map_err(|error| error.with_changed(placed.changed.clone()))?;
    checkpoints.pass();
    // Former versions: what holds a key that nobody needs goes. What cannot be taken away now goes the next time.
    let names: Vec<&str> = outputs.paths().map(|(_, path)| split(path).1).collect();
    let _ = drop_links(host, outputs, &directory, &names, &mut placed)
        .and_then(|()| remove_other_versions(host, &directory, outputs, Some(&version)));
    Ok(placed)
}

/// The links from the files' own names; only the first time do they change.
fn link_all(
    host: &Sysroot,
    outputs: &Outputs,
    directory: &Directory,
    current: &str,
    placed: &mut Placed,
    checkpoints: &mut Checkpoints,
) -> Result<()> {
    directory.sync()?;
    for (_, path) in outputs.paths() {
        checkpoints.pass();
        let name = split(path).1;
        let target = format!("{current}/{name}");
        if directory.read_link(name)?.as_deref() == Some(&target) {
            continue;
        }
        let temporary = temporary(outputs, name);
        directory.remove(&temporary)?;
        directory.replace_link(&temporary, name, &target, None)?;
        let shown = host.display(path);
        if !placed.changed.contains(&shown) {
            placed.changed.push(shown);
        }
    }
    Ok(())
}

/// The names that a version with this content may have, by what is in it: the same twice has the same name, and a second
/// one is for when the first is damaged.
fn version_names(outputs: &Outputs, content: &Content) -> [String; 2] {
    let mut all = format!("{:?}\n", outputs.owner).into_bytes();
    for (path, bytes, mode) in content.files(outputs) {
        all.extend_from_slice(format!("{} {mode:o} {}\n", split(path).1, Fingerprint::of(bytes)).as_bytes());
    }
    let prefix = version_prefix(outputs);
    let first = Fingerprint::of(&all);
    let second = Fingerprint::of(first.hex().as_bytes());
    [first, second].map(|of| format!("{prefix}{}", of.short(16)))
}

/// Whether the version's directory holds just these files, as asked for.
fn is_version_whole(host: &Sysroot, outputs: &Outputs, content: &Content, path: &str) -> Result<bool> {
    let Ok(inside) = host.directory_without_links(path) else { return Ok(false) };
    for (path, bytes, mode) in content.files(outputs) {
        let Ok(Some((found, meta))) = inside.read(split(path).1, FILE_LIMIT) else { return Ok(false) };
        if found != bytes || !is_as_asked(&meta, outputs, mode) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a version's directory away, with the plain files in it and nothing else.
fn remove_version(host: &Sysroot, directory: &Directory, name: &str, parent: &str) -> Result<()> {
    if directory.lstat(name)?.is_none_or(|meta| meta.kind != Kind::Directory) {
        return Ok(());
    }
    host.look_again();
    let inside = host.directory_without_links(&real(host, parent, name)?)?;
    for file in inside.list()? {
        if inside.lstat(&file)?.is_some_and(|meta| meta.kind == Kind::File) {
            inside.remove(&file)?;
        }
    }
    directory.remove_empty_directory(name).map(drop)
}

fn real(host: &Sysroot, parent: &str, name: &str) -> Result<String> {
    let parent = host.canonical(parent)?.unwrap_or_else(|| parent.to_owned());
    Ok(child(&parent, name))
}

fn open(host: &Sysroot, path: &str) -> Result<(Directory, String)> {
    let (parent, name) = split(path);
    Ok((host.directory(parent)?, name.to_owned()))
}

fn attributes(outputs: &Outputs, mode: u32) -> Attributes {
    Attributes { mode, owner: outputs.owner, modified: None }
}

fn is_mounted(meta: Option<&Meta>) -> bool {
    meta.is_some_and(|meta| meta.mount_point)
}

fn is_foreign(meta: &Meta) -> bool {
    let us = rustix::process::geteuid();
    !us.is_root() && meta.uid != us.as_raw()
}

/// Whether a file has the owner that is asked for, and this mode.
pub(super) fn is_as_asked(meta: &Meta, outputs: &Outputs, mode: u32) -> bool {
    meta.mode == mode && outputs.owner.is_none_or(|owner| owner == (meta.uid, meta.gid))
}
