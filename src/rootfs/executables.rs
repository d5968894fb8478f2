//! Every executable file of a root file system: a walk within bounds that follows no link, enters no file system of the
//! kernel, and opens each file once, whatever names it has (threats T9, T36).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::budget::Category;
use super::parts::PartialFile;
use super::path::child;
use super::{FileKind, Sysroot, meta_of, walk};
use crate::error::Result;

/// Names in directories that one walk looks at. A large image has 200,000.
const ENTRIES: usize = 1_000_000;
/// Executable files that it opens. An image with a desktop and compilers has 6,000.
const FILES: usize = 20_000;
/// Deeper directories are left alone: each level is an open descriptor.
const DEPTH: usize = 100;
/// Directories in which programs usually are: these first, so that a bound is reached elsewhere.
const FIRST: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/app"];
/// Directories of the kernel, and those in which engines keep the root file systems of others.
const LEFT_ALONE: [&str; 7] = [
    "/proc",
    "/sys",
    "/dev",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/run/containerd",
];
/// File systems without programs (magic numbers of `statfs(2)`): procfs, sysfs, devpts, cgroup, cgroup2, debugfs,
/// tracefs, securityfs, bpf, mqueue, configfs, fusectl, pstore, efivarfs, binfmt_misc, nsfs, selinuxfs, autofs.
const PSEUDO: [u64; 18] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0x1980_0202,
    0x6265_6570,
    0x6573_5543,
    0x6165_676c,
    0xde5e_81e4,
    0x4249_4e4d,
    0x6e73_6673,
    0xf97c_ff8c,
    0x0187,
];

/// How a walk ended.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// The bound at which it ended early, in words that can follow "after"; `None`: it saw everything.
    pub(crate) bound: Option<String>,
    /// Executable files that could not be opened, though everyone may execute them.
    pub(crate) closed: Vec<String>,
}

/// An executable file, open.
pub(crate) struct Executable {
    /// Its path, without links.
    pub(crate) path: String,
    pub(crate) file: PartialFile,
}

/// The walk's state.
struct Search<'a> {
    sysroot: &'a Sysroot,
    visit: &'a mut dyn FnMut(Executable) -> bool,
    entries: usize,
    files: usize,
    seen: BTreeSet<(u64, u64)>,
    walked: Walked,
}

impl Sysroot {
    /// Calls `visit` for every executable regular file, until it returns `false`: it has its own bound.
    ///
    /// # Errors
    /// The root directory cannot be listed.
    pub(crate) fn executables(&self, visit: &mut dyn FnMut(Executable) -> bool) -> Result<Walked> {
        let mut search = Search {
            sysroot: self,
            visit,
            entries: 0,
            files: 0,
            seen: BTreeSet::new(),
            walked: Walked::default(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = walk::open_without_links(self, "/", flags).map_err(|error| self.open_error("/", error))?;
        search.directory(root, "/", 0);
        Ok(search.walked)
    }
}

impl Search<'_> {
    /// Looks into an open directory; `false` ends the walk.
    fn directory(&mut self, directory: OwnedFd, path: &str, depth: usize) -> bool {
        let is_pseudo = rustix::fs::fstatfs(&directory)
            .is_ok_and(|fs| PSEUDO.contains(&(fs.f_type as u64 & 0xffff_ffff)));
        if is_pseudo {
            return true;
        }
        let Ok(entries) = Dir::read_from(&directory) else { return true };
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in entries {
            let Ok(entry) = entry else { break };
            self.entries += 1;
            if self.entries > ENTRIES {
                self.walked.bound = Some(format!("{ENTRIES} names of files"));
                return false;
            }
            let Some(name) = entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."))
            else {
                continue;
            };
            match entry.file_type() {
                FileType::RegularFile => files.push(name.to_owned()),
                FileType::Directory => directories.push(name.to_owned()),
                FileType::Unknown => match meta_of(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(Some(meta)) if meta.kind == FileKind::File => files.push(name.to_owned()),
                    Ok(Some(meta)) if meta.kind == FileKind::Directory => directories.push(name.to_owned()),
                    _ => {}
                },
                _ => {}
            }
        }
        files.sort();
        directories.sort();
        for name in files {
            if !self.file(&directory, &name, child(path, &name)) {
                return false;
            }
        }
        if path == "/" {
            let first = |name: &String| FIRST.iter().position(|one| one.strip_prefix('/') == Some(name));
            directories.sort_by_key(|name| first(name).unwrap_or(FIRST.len()));
        }
        for name in directories {
            let path = child(path, &name);
            if LEFT_ALONE.contains(&path.as_str()) {
                continue;
            }
            if depth == DEPTH {
                self.walked.bound = Some(format!("{DEPTH} levels of directories"));
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // What the user may not enter holds no program of that user.
            if let Ok(opened) = rustix::fs::openat(&directory, name.as_str(), flags, Mode::empty())
                && !self.directory(opened, &path, depth + 1)
            {
                return false;
            }
        }
        true
    }

    fn file(&mut self, directory: &OwnedFd, name: &str, path: String) -> bool {
        let meta = match meta_of(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(Some(meta)) if meta.kind == FileKind::File && meta.mode & 0o111 != 0 => meta,
            _ => return true,
        };
        if !self.seen.insert(meta.identity) {
            return true;
        }
        self.files += 1;
        if self.files > FILES {
            self.walked.bound = Some(format!("{FILES} executable files"));
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(opened) => match PartialFile::of(opened, self.sysroot.display(&path), Category::Search) {
                Ok(file) => (self.visit)(Executable { path, file }),
                Err(_) => true,
            },
            Err(Errno::ACCESS | Errno::PERM) if meta.mode & 0o001 != 0 => {
                self.walked.closed.push(path);
                true
            }
            Err(_) => true,
        }
    }
}
