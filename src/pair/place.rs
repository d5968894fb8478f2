//! Puts a pair where it belongs: plain files, each by a rename, or a directory of this version and one swap of a link.
//! Where a step fails, what was there before comes back.
//!
//! Whoever is killed in between has saved the whole pair before (`pending`): the next run places it again.

use super::{Content, FILE_LIMIT, Layout, Outputs};
use crate::checkpoint::Checkpoints;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::sysroot::directory::{Attributes, Directory};
use crate::sysroot::{Kind, Meta, Sysroot, split};
use crate::trust::view::child;

/// Directories on the way that are made.
const DIRECTORY_MODE: u32 = 0o755;
/// The end of the name of a file that is about to be renamed.
const NEW: &str = ".trustup-new";

/// What was done.
#[derive(Debug, Default)]
pub struct Placed {
    /// The paths that are different now.
    pub changed: Vec<String>,
    /// Of these, those that were written in place, because they are mounted one by one.
    pub in_place: Vec<String>,
}

/// Makes the directories that are missing, and tries whether files with the wanted owner and mode can be made there.
/// Answers with the directories made, outermost first.
///
/// # Errors
/// They cannot; nothing is left behind.
pub fn prepare(host: &Sysroot, outputs: &Outputs) -> Result<Vec<String>> {
    let mut made = Vec::new();
    let prepared = try_out(host, outputs, &mut made);
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

fn try_out(host: &Sysroot, outputs: &Outputs, made: &mut Vec<String>) -> Result<()> {
    for (option, path) in outputs.paths() {
        make_directories(host, split(path).0, made)?;
        if let Some(why) = outputs.unsafe_way(host, path)? {
            return Err(Error::failed(format!("this is no place for a key and its certificate: {why}"))
                .at(host.display(path))
                .hint("use a directory that nobody else can write, such as `/run/tls`, or take the right away (`chmod go-w`)")
                .hint("a volume that only containers of yours share, such as Kubernetes' emptyDir: `--allow-shared-directory`"));
        }
        let (directory, name) = open(host, path)?;
        let meta = directory.lstat(&name)?;
        match meta.map(|meta| meta.kind) {
            Some(Kind::Directory | Kind::Special) => {
                return Err(Error::usage(format!("no file can stand where `{option}` should go"))
                    .at(host.display(path))
                    .hint("name another path, or remove what is there"));
            }
            Some(Kind::File) if is_mounted(meta.as_ref()) => {
                if outputs.layout == Layout::Versioned {
                    return Err(Error::usage("a file that is mounted by itself cannot become a link")
                        .at(host.display(path))
                        .hint("mount the directory instead of the file, or use `--layout files`"));
                }
                continue;
            }
            _ => {}
        }
        let probe = format!(".{name}{NEW}");
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
    while path != "/" && host.stat(path)?.is_none() {
        missing.push(path);
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
    File(zeroize::Zeroizing<Vec<u8>>, Meta),
    Link(String),
}

/// A file that is to be placed.
struct File<'a> {
    directory: Directory,
    name: String,
    shown: String,
    content: &'a [u8],
    attributes: Attributes,
    former: Former,
    mounted: bool,
}

impl File<'_> {
    fn temporary(&self) -> String {
        format!(".{}{NEW}", self.name)
    }

    fn is_there(&self) -> bool {
        let Former::File(content, meta) = &self.former else { return false };
        let owner = self.attributes.owner.is_none_or(|owner| owner == (meta.uid, meta.gid));
        content.as_slice() == self.content && meta.mode == self.attributes.mode && owner
    }

    fn bring_back(&self) -> Result<()> {
        let temporary = self.temporary();
        self.directory.remove(&temporary)?;
        match &self.former {
            Former::Absent => self.directory.remove(&self.name),
            Former::Link(target) => self.directory.replace_link(&temporary, &self.name, target, None),
            Former::File(content, meta) => {
                let (owner, modified) = (Some((meta.uid, meta.gid)), Some(meta.modified));
                let attributes = Attributes { mode: meta.mode, owner, modified };
                if self.mounted {
                    self.directory.overwrite(&self.name, content, attributes)
                } else {
                    self.directory.replace_file(&temporary, &self.name, content, attributes)
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
            Some(Kind::File) => match directory.read(&name, FILE_LIMIT)? {
                Some((bytes, meta)) => Former::File(zeroize::Zeroizing::new(bytes), meta),
                None => Former::Absent,
            },
            Some(Kind::Link) => directory.read_link(&name)?.map_or(Former::Absent, Former::Link),
            _ => Former::Absent,
        };
        let (attributes, mounted) = (attributes(outputs, mode), is_mounted(meta.as_ref()));
        let shown = host.display(path);
        files.push(File { directory, name, shown, content, attributes, former, mounted });
    }
    files.retain(|file| !file.is_there());
    // First all that can fail for want of space or rights.
    for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.mounted) {
        let temporary = file.temporary();
        let written = file
            .directory
            .remove(&temporary)
            .and_then(|()| file.directory.create_file(&temporary, file.content, file.attributes));
        if let Err(error) = written {
            for file in &files[..index] {
                let _ = file.directory.remove(&file.temporary());
            }
            return Err(error);
        }
    }
    let mut placed = Placed::default();
    for (index, file) in files.iter().enumerate() {
        checkpoints.pass();
        let done = if file.mounted {
            placed.in_place.push(file.shown.clone());
            file.directory.overwrite(&file.name, file.content, file.attributes)
        } else {
            file.directory.rename(&file.temporary(), &file.name)
        };
        let done = done.and_then(|()| file.directory.sync());
        if let Err(error) = done {
            // A file that was written in place may be half written.
            let begun = if file.mounted { index + 1 } else { index };
            let left = files[..begun].iter().rev().filter(|file| file.bring_back().is_err());
            let left: Vec<String> = left.map(|file| file.shown.clone()).collect();
            for file in &files {
                let _ = file.directory.remove(&file.temporary());
            }
            return Err(error.with_changed(left));
        }
        placed.changed.push(file.shown.clone());
    }
    checkpoints.pass();
    Ok(placed)
}

/// The link that says which version is the current one, beside the key and named after it.
fn current(outputs: &Outputs) -> String {
    format!(".{}.current", split(&outputs.key).1)
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
    // Named by what is in it: the same pair twice is the same directory.
    let mut all = content.cert.clone().into_bytes();
    all.extend_from_slice(
        format!("{:?}{:o}{:o}", outputs.owner, outputs.cert_mode, outputs.key_mode).as_bytes(),
    );
    let prefix = format!(".{}.", split(&outputs.key).1);
    let version = format!("{prefix}{}", Fingerprint::of(&all).short(16));
    let mut placed = Placed::default();
    let links: Vec<(String, String)> = outputs
        .paths()
        .map(|(_, path)| (split(path).1.to_owned(), format!("{current}/{}", split(path).1)))
        .collect();
    if former.as_deref() != Some(&version) {
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
        let temporary = format!("{current}{NEW}");
        directory.remove(&temporary)?;
        directory.replace_link(&temporary, &current, &version, None)?;
        directory.sync()?;
        placed.changed.extend(outputs.paths().map(|(_, path)| host.display(path)));
    }
    // Only the first time do these change.
    for (name, target) in &links {
        checkpoints.pass();
        if directory.read_link(name)?.as_deref() == Some(target) {
            continue;
        }
        let temporary = format!(".{name}{NEW}");
        directory.remove(&temporary)?;
        let linked = directory.replace_link(&temporary, name, target, None);
        let shown = host.display(&child(parent, name));
        linked.map_err(|error| error.with_changed(placed.changed.clone()))?;
        if !placed.changed.contains(&shown) {
            placed.changed.push(shown);
        }
    }
    directory.sync()?;
    checkpoints.pass();
    // Former versions: what holds a key that nobody needs goes.
    for name in directory.list()? {
        let digits = name.strip_prefix(&prefix).unwrap_or_default();
        let is_version = digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit());
        if is_version && name != version {
            remove_version(host, &directory, &name, parent)?;
        }
    }
    Ok(placed)
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
