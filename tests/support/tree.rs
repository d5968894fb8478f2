//! A whole tree as text, one path a line, for comparing before and after: type, mode, owner, link target, digest.
//! Every path counts, so a file too many is a difference as well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use trustup::pki::fingerprint::Fingerprint;

/// Larger files are described by their size: a sparse file of 10 GB would take minutes.
const DIGEST_LIMIT: u64 = 64 << 20;

/// What is below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Path, relative and without a leading `/`, to the line that describes it.
    pub lines: BTreeMap<String, String>,
}

impl Tree {
    /// Describes everything below `root` (itself included, as the empty path), following no link.
    pub fn of(root: &Path) -> Tree {
        let mut lines = BTreeMap::new();
        describe(root, "", &mut lines);
        Tree { lines }
    }

    /// The tree without `path` and what is below it; without trustup's state, its summary for other users is gone, too.
    pub fn without(mut self, path: &str) -> Tree {
        let summary = path.ends_with("var/lib/trustup").then(|| format!("{path}-summary"));
        for path in std::iter::once(path).chain(summary.as_deref()) {
            let below = format!("{path}/");
            self.lines.retain(|name, _| name != path && !name.starts_with(&below));
        }
        self
    }

    /// The tree as if every file had one name: replacing one name of two leaves the other with one.
    pub fn ignoring_hard_links(mut self) -> Tree {
        for line in self.lines.values_mut() {
            *line = line.replace(" hard-linked", "");
        }
        self
    }

    /// What differs, readable: `- ` was there before, `+ ` is there now.
    pub fn differences(&self, after: &Tree) -> Vec<String> {
        let mut differences = Vec::new();
        for (path, line) in &self.lines {
            if after.lines.get(path) != Some(line) {
                differences.push(format!("- {path} {line}"));
                differences.extend(after.lines.get(path).map(|line| format!("+ {path} {line}")));
            }
        }
        let new = after.lines.iter().filter(|(path, _)| !self.lines.contains_key(*path));
        differences.extend(new.map(|(path, line)| format!("+ {path} {line}")));
        differences
    }

    /// The paths that differ.
    pub fn changed_paths(&self, after: &Tree) -> Vec<String> {
        let mut paths: Vec<String> = self.lines.keys().chain(after.lines.keys()).cloned().collect();
        paths.sort();
        paths.dedup();
        paths.retain(|path| self.lines.get(path) != after.lines.get(path));
        paths
    }

    /// Fails with all differences.
    #[track_caller]
    pub fn assert_same(&self, after: &Tree, when: &str) {
        let differences = self.differences(after);
        assert!(differences.is_empty(), "{when}: the tree is not the same:\n{}", differences.join("\n"));
    }
}

fn describe(path: &Path, name: &str, lines: &mut BTreeMap<String, String>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "d".to_owned()
    } else if kind.is_symlink() {
        format!("l -> {}", fs::read_link(path).unwrap().display())
    } else if kind.is_file() && meta.size() > DIGEST_LIMIT {
        format!("f size={}", meta.size())
    } else if kind.is_file() {
        // A file without permission to read is described by what can be seen.
        let digest =
            fs::read(path).map_or_else(|_| "unreadable".to_owned(), |bytes| Fingerprint::of(&bytes).hex());
        format!("f size={} sha256={digest}", meta.size())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_socket() {
        "socket".to_owned()
    } else {
        format!("device {:x}", meta.rdev())
    };
    let linked = if !kind.is_dir() && meta.nlink() > 1 { " hard-linked" } else { "" };
    let mode = if kind.is_symlink() { String::new() } else { format!(" {:04o}", meta.mode() & 0o7777) };
    lines.insert(name.to_owned(), format!("{what}{mode} {}:{}{linked}", meta.uid(), meta.gid()));
    if kind.is_dir() {
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if name.is_empty() { own } else { format!("{name}/{own}") };
            describe(&entry.path(), &name, lines);
        }
    }
}

/// Where the absolute path `path` of the tree below `root` leads, every link resolved inside it. The last component
/// may be missing; `None` if something before it is, or if links loop.
pub fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut at = PathBuf::new();
    let mut hops = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.pop();
                continue;
            }
            _ => at.push(&part),
        }
        match fs::symlink_metadata(root.join(&at)) {
            Ok(meta) if meta.is_symlink() => {
                hops += 1;
                if hops > 40 {
                    return None;
                }
                let target = fs::read_link(root.join(&at)).unwrap().into_os_string().into_string().unwrap();
                at.pop();
                if target.starts_with('/') {
                    at = PathBuf::new();
                }
                left.extend(target.split('/').rev().map(str::to_owned));
            }
            Ok(_) => {}
            Err(_) if left.iter().all(String::is_empty) => {}
            Err(_) => return None,
        }
    }
    Some(root.join(at))
}

/// Writes a file below `root`, with the directories on the way.
pub fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
    fs::write(path, content).expect("written");
}
