#![allow(clippy::disallowed_methods, reason = "tests build the trees that they look at")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use super::*;
use crate::rootfs::tree::{File, Node};

const PLAIN: Attributes = Attributes { mode: 0o644, owner: None, modified: None };

fn node(content: &str) -> Node {
    Node::File(File::new(content.as_bytes().to_vec(), 0o644))
}

fn put<'c>(path: &'c str, content: &'c str) -> Change<'c> {
    Change {
        path,
        before: Before::Anything,
        after: After::File(content.as_bytes(), PLAIN),
        rules: Rules::default(),
    }
}

/// Every path below `root` with its node.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                pending.push(path.clone());
                "directory".to_owned()
            } else {
                format!("{:o} {}", meta.mode(), fs::read_to_string(&path).unwrap())
            };
            lines.push((path.strip_prefix(root).unwrap().display().to_string(), what));
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_set_is_made_as_a_whole_and_undone_in_reverse() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("old"), "before").unwrap();
    symlink("old", temp.path().join("link")).unwrap();
    fs::create_dir(temp.path().join("empty")).unwrap();
    let before = tree(temp.path());
    let sysroot = Sysroot::open(temp.path()).unwrap();
    let mut set = FileSet::new(&sysroot, "test", Some(1_000_000_000));
    let rules = Rules::default();
    let empty = Node::Directory { mode: 0o755 };
    let changes = [
        Change {
            path: "/new",
            before: Before::Is(&Node::Absent),
            after: After::Directory(0o750, None),
            rules,
        },
        put("/new/file", "1"),
        put("/old", "after"),
        Change { path: "/link", before: Before::Anything, after: After::Link("new"), rules },
        Change { path: "/empty", before: Before::Is(&empty), after: After::Absent, rules },
    ];
    set.apply(&changes, &mut Checkpoints::off()).unwrap();
    let names: Vec<String> = tree(temp.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["link", "new", "new/file", "old"], "nothing staged is left");
    assert_eq!(fs::read_to_string(temp.path().join("old")).unwrap(), "after");
    assert_eq!(fs::metadata(temp.path().join("new/file")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(set.changed().len(), 5);
    assert_eq!(set.undo(), Vec::<String>::new());
    assert_eq!(tree(temp.path()), before);
}

#[test]
fn nothing_is_placed_where_one_change_cannot_be_staged() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a"), "a").unwrap();
    fs::create_dir(temp.path().join("b")).unwrap();
    let before = tree(temp.path());
    let sysroot = Sysroot::open(temp.path()).unwrap();
    let mut set = FileSet::new(&sysroot, "test", None);
    // A directory is not a file, a wrong expectation is an error, and so is a missing directory.
    let expects = node("something else");
    let wrong = Change { before: Before::Is(&expects), ..put("/a", "x") };
    for bad in [put("/b", "x"), wrong, put("/missing/x", "x")] {
        let (index, _) = set.apply(&[put("/a", "new"), bad], &mut Checkpoints::off()).unwrap_err();
        assert_eq!(index, 1);
        assert_eq!(set.undo(), Vec::<String>::new());
        assert_eq!(tree(temp.path()), before);
        set.try_out(&[put("/a", "new"), bad]).unwrap_err();
        assert_eq!(tree(temp.path()), before);
    }
    let other = ["a-journal"];
    fs::write(temp.path().join("a-journal"), "").unwrap();
    let rules = Rules { unless_beside: &other, ..Rules::default() };
    set.apply(&[Change { rules, ..put("/a", "new") }], &mut Checkpoints::off()).unwrap_err();
    assert_eq!(fs::read_to_string(temp.path().join("a")).unwrap(), "a");
}

/// The directory that was checked is the one that is written to, wherever its path leads by then.
#[test]
fn t35_what_was_checked_is_what_is_written() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["mine", "theirs"] {
        fs::create_dir(temp.path().join(name)).unwrap();
        fs::write(temp.path().join(name).join("file"), "same").unwrap();
    }
    let sysroot = Sysroot::open(temp.path()).unwrap();
    let mut set = FileSet::new(&sysroot, "test", None);
    let mut staged = set.stage(put("/mine/file", "new")).unwrap();
    fs::rename(temp.path().join("mine"), temp.path().join("moved")).unwrap();
    symlink("theirs", temp.path().join("mine")).unwrap();
    set.place(&mut staged).unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("moved/file")).unwrap(), "new");
    assert_eq!(fs::read_to_string(temp.path().join("theirs/file")).unwrap(), "same");
    assert_eq!(set.undo(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(temp.path().join("moved/file")).unwrap(), "same");
    assert_eq!(fs::read_dir(temp.path().join("theirs")).unwrap().count(), 1);
    // A file that was replaced since it was checked is not overwritten.
    let same = node("same");
    let meta = fs::metadata(temp.path().join("theirs/file")).unwrap();
    let expected = match &same {
        Node::File(file) => Node::File(File {
            owner: crate::host::privilege::is_root().then_some((meta.uid(), meta.gid())),
            modified: Some((meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap())),
            mode: meta.mode() & 0o7777,
            ..file.clone()
        }),
        _ => unreachable!(),
    };
    let change = Change { before: Before::Is(&expected), ..put("/theirs/file", "new") };
    let mut staged = set.stage(change).unwrap();
    fs::write(temp.path().join("theirs/other"), "other").unwrap();
    fs::rename(temp.path().join("theirs/other"), temp.path().join("theirs/file")).unwrap();
    set.place(&mut staged).unwrap_err();
    assert_eq!(fs::read_to_string(temp.path().join("theirs/file")).unwrap(), "other");
}

#[test]
fn what_a_killed_run_staged_is_replaced_by_the_same_writer() {
    let temp = tempfile::tempdir().unwrap();
    let sysroot = Sysroot::open(temp.path()).unwrap();
    let mut set = FileSet::new(&sysroot, "/run/tls/.server.key.trustup", None);
    fs::write(temp.path().join(set.staged_name("/file")), "left").unwrap();
    let of_another = temp.path().join(FileSet::new(&sysroot, "/run/other", None).staged_name("/file"));
    fs::write(&of_another, "another run's").unwrap();
    set.apply(&[put("/file", "new")], &mut Checkpoints::off()).unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("file")).unwrap(), "new");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "the other writer's file stays");
    assert!(of_another.is_file());
}
