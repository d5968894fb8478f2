//! `--sysroot` on something that is no root file system: nothing is installed beside an image that was never unpacked.

use std::fs;
use std::path::Path;

use crate::support::ca;
use crate::support::run::Trustup;
use crate::support::tree::Tree;

fn write(root: &Path, files: &[(&str, &[u8])]) {
    for (name, content) in files {
        let path = root.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

/// The beginning of a tar archive with one empty file.
fn tar() -> Vec<u8> {
    let mut archive = vec![0; 1024];
    archive[..5].copy_from_slice(b"etc/x");
    archive[257..262].copy_from_slice(b"ustar");
    archive
}

/// What it is, its files with their content, and what the message contains.
type Case<'a> = (&'a str, &'a [(&'a str, &'a [u8])], &'a [&'a str]);

#[test]
fn what_is_no_root_file_system_is_refused_by_name_and_left_as_it_is() {
    let tar = tar();
    let layer = ("0c5f/layer.tar", tar.as_slice());
    let list: &[u8] = b"[{\"Config\":\"x.json\",\"Layers\":[]}]";
    let cases: [Case; 12] = [
        ("empty", &[], &["empty", "docker export", "/etc`"]),
        ("a home directory", &[(".bashrc", b""), ("Documents/", b"")], &["something else", "docker export"]),
        (
            "docker save",
            &[("manifest.json", list), ("repositories", b"{}"), layer],
            &["docker save", "docker load"],
        ),
        ("an old docker save", &[("repositories", b"{}"), layer], &["docker save", "docker load"]),
        (
            "docker save since 25",
            &[("manifest.json", list), ("oci-layout", b"{}"), ("index.json", b"{}"), ("blobs/sha256/", b"")],
            &["docker save", "docker load"],
        ),
        (
            "an OCI layout",
            &[("oci-layout", b"{}"), ("index.json", b"{}"), ("blobs/sha256/", b"")],
            &["OCI layout", "umoci unpack"],
        ),
        (
            "an OCI layout that lost its mark",
            &[("index.json", b"{}"), ("blobs/sha256/", b"")],
            &["OCI layout"],
        ),
        (
            "skopeo's dir:",
            &[
                ("version", b"Directory Transport Version: 1.1\n"),
                ("manifest.json", b"{}"),
                ("0c5f", b"\x1f\x8b"),
            ],
            &["skopeo copy dir:"],
        ),
        (
            "a build's context",
            &[("Dockerfile", b"FROM scratch\n"), ("src/", b"")],
            &["Dockerfile", "build the image"],
        ),
        ("a bundle of runc", &[("config.json", b"{}"), ("rootfs/etc/", b"")], &["rootfs` ", "--sysroot"]),
        ("an archive in a directory", &[("rootfs.tar", &tar)], &["tar archive", "rootfs.tar"]),
        ("a file named as a directory is", &[("etc", b"")], &["not a root file system"]),
    ];
    let ca = ca::root("Root of Sysroots");
    for (what, files, words) in cases {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("image");
        fs::create_dir(&root).unwrap();
        write(&root, files);
        let pem = ca.write(place.path(), "root.pem");
        let before = Tree::of(&root);
        let commands: [&[&str]; 6] = [
            &["bootstrap", "--ca-file", pem.to_str().unwrap()],
            &["status"],
            &["untrust", "--all"],
            &["detect"],
            &["doctor"],
            &["env"],
        ];
        for command in commands {
            let run = Trustup::at(&root, command.iter().copied()).fails(2);
            assert!(!run.stderr.contains("now trusted"), "{what}: {run}");
            run.says(words.iter().map(|word| word.trim_end()).chain(["hint:"]));
        }
        before.assert_same(&Tree::of(&root), what);
    }
}

#[test]
fn an_archive_is_no_directory() {
    let place = tempfile::tempdir().unwrap();
    for (name, content, word) in [
        ("image.tar", tar().as_slice(), "a tar archive"),
        ("image.tar.gz", b"\x1f\x8b\x08\0", "a gzip archive"),
        ("layer.zst", b"\x28\xb5\x2f\xfd", "a zstd archive"),
        ("image.txt", b"text", "could not open the sysroot"),
        ("empty", b"", "could not open the sysroot"),
    ] {
        let path = place.path().join(name);
        fs::write(&path, content).unwrap();
        Trustup::at(&path, ["detect"]).fails(2).says([word, "hint:"]);
    }
    Trustup::at(&place.path().join("missing"), ["detect"]).fails(2).says(["could not open the sysroot"]);
}

#[test]
fn one_directory_of_a_root_file_system_is_enough() {
    let ca = ca::root("Root of Sysroots");
    for marker in ["etc", "usr", "bin", "lib", "var"] {
        for linked in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let pem = ca.write(place.path(), "root.pem");
            let root = place.path().join("image");
            fs::create_dir_all(&root).unwrap();
            if linked {
                // As `/bin` of a merged /usr, which an image of a single package may not even hold.
                fs::create_dir(root.join("other")).unwrap();
                std::os::unix::fs::symlink("other", root.join(marker)).unwrap();
            } else {
                fs::create_dir(root.join(marker)).unwrap();
            }
            let before = Tree::of(&root);
            Trustup::at(&root, ["bootstrap", "--ca-file", pem.to_str().unwrap()]).ok();
            Trustup::at(&root, ["status"]).ok();
            Trustup::at(&root, ["untrust", "--all"]).ok();
            before.assert_same(&Tree::of(&root), marker);
        }
    }
}
