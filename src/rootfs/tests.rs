#![allow(clippy::disallowed_methods, reason = "tests build the trees that they look at")]

use std::fs;
use std::os::unix::fs::symlink;

use super::directory::Attributes;
use super::file_set::write_file;
use super::*;

/// The same sysroot twice: resolved by the kernel and by our own walk.
fn both(path: &Path) -> [Sysroot; 2] {
    let mut walking = Sysroot::open(path).unwrap();
    walking.kernel_resolves = false;
    [Sysroot::open(path).unwrap(), walking]
}

#[test]
fn links_resolve_inside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), "inside").unwrap();
    symlink("/a/file", root.join("absolute")).unwrap();
    symlink("../../../../../a/file", root.join("a/b/up")).unwrap();
    symlink(outside.path(), root.join("leave")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("/a/b", root.join("dir")).unwrap();
    for sysroot in both(root) {
        assert!(!sysroot.is_host());
        for path in ["/absolute", "/a/b/up", "/dir/up", "/a/./b/../file", "a/file"] {
            assert_eq!(sysroot.read(path, 100).unwrap().expect(path).0, b"inside", "{path}");
            assert_eq!(sysroot.canonical(path).unwrap().as_deref(), Some("/a/file"), "{path}");
        }
        assert!(sysroot.read("/leave/secret", 100).unwrap().is_none());
        assert!(sysroot.read("/dangling", 100).unwrap().is_none());
        assert!(sysroot.read("/a/file/x", 100).unwrap().is_none());
        assert!(sysroot.read("/loop", 100).is_err());
        assert!(sysroot.canonical("/loop").is_err());
        assert!(sysroot.directory("/leave").is_err());
        assert_eq!(sysroot.canonical_parent("/dir/new").unwrap().as_deref(), Some("/a/b/new"));
        assert_eq!(sysroot.canonical("/").unwrap().as_deref(), Some("/"));
        assert_eq!(sysroot.lstat("/dangling").unwrap().unwrap().kind, FileKind::Link);
        assert_eq!(sysroot.list("/dir").unwrap().unwrap(), ["up"]);
        assert!(sysroot.list("/a/file").unwrap().is_none());
    }
}

#[test]
fn only_regular_files_within_the_limit_are_read() {
    let temp = tempfile::tempdir().unwrap();
    rustix::fs::mknodat(
        CWD,
        temp.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    fs::File::create(temp.path().join("sparse")).unwrap().set_len(10 << 30).unwrap();
    fs::create_dir(temp.path().join("dir")).unwrap();
    for sysroot in both(temp.path()) {
        for path in ["/fifo", "/sparse", "/dir"] {
            assert!(sysroot.read(path, 1024).is_err(), "{path}");
        }
    }
    assert!(host::read_file(&temp.path().join("fifo"), 10).is_err());
}

#[test]
fn magic_links_are_refused() {
    let sysroot = Sysroot::open(Path::new("/")).unwrap();
    assert!(sysroot.is_host());
    assert!(sysroot.canonical("/proc/self/root/etc").is_err());
    assert!(sysroot.read("/proc/self/exe", 1 << 30).is_err());
    assert!(sysroot.directory("/proc").is_err());
}

#[test]
fn a_file_is_replaced_whole_and_another_name_of_it_keeps_its_content() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("outside"), "old").unwrap();
    fs::create_dir(temp.path().join("root")).unwrap();
    fs::hard_link(temp.path().join("outside"), temp.path().join("root/bundle")).unwrap();
    let sysroot = Sysroot::open(&temp.path().join("root")).unwrap();
    let attributes = Attributes { mode: 0o604, owner: None, modified: Some((1_000_000_000, 5)) };
    write_file(&sysroot, "/bundle", b"new", attributes).unwrap();
    let (content, meta) = sysroot.read("/bundle", 10).unwrap().unwrap();
    assert_eq!(
        (content.as_slice(), meta.mode, meta.modified, meta.links),
        (&b"new"[..], 0o604, (1_000_000_000, 5), 1)
    );
    assert_eq!(fs::read(temp.path().join("outside")).unwrap(), b"old");
    assert_eq!(sysroot.directory("/").unwrap().list().unwrap(), ["bundle"], "nothing staged is left");
}

#[test]
fn the_lock_is_held_by_flock_not_by_existence() {
    let temp = tempfile::tempdir().unwrap();
    let sysroot = Sysroot::open(temp.path()).unwrap();
    let directory = sysroot.directory("/").unwrap();
    let held = directory.try_lock("lock").unwrap().expect("free");
    assert!(directory.try_lock("lock").unwrap().is_none());
    drop(held);
    assert!(directory.try_lock("lock").unwrap().is_some(), "the file is still there, the lock is free");
}
