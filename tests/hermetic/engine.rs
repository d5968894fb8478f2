//! The write engine from outside: what a replaced file keeps (threat T37), what is taken for a lock (T11), and what killed
//! runs leave behind.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const STATE: &str = "var/lib/trustup";

struct Scene {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    _ours: Root,
}

impl Scene {
    fn new() -> Scene {
        let (root, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = ca::root("Our Root");
        ours.write(given.path(), "root.pem");
        fs::create_dir_all(root.path().join("etc/ssl/certs")).unwrap();
        fs::create_dir_all(root.path().join("var/lib")).unwrap();
        fs::write(root.path().join(BUNDLE), ca::root("Vendor Root").pem).unwrap();
        Scene { root, given, _ours: ours }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn bootstrap(&self) -> Trustup {
        Trustup::at(self.root.path(), ["bootstrap", "--ca-file"]).arg(self.given.path().join("root.pem"))
    }

    fn untrust(&self) -> Trustup {
        Trustup::at(self.root.path(), ["untrust", "--all"])
    }

    fn attribute(&self, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(self.at(BUNDLE), name, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }
}

/// A POSIX access control list as the kernel keeps it: version 2, then tag, permissions and id of each entry.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn t37_a_replaced_file_keeps_its_attributes_and_its_access_control_list() {
    const NOBODY: u32 = u32::MAX;
    let scene = Scene::new();
    let set =
        |name: &str, value: &[u8]| rustix::fs::setxattr(scene.at(BUNDLE), name, value, XattrFlags::empty());
    // Owner rw, user 4711 r, group r, mask r, others r.
    let list = access_list(&[(1, 6, NOBODY), (2, 4, 4711), (4, 4, NOBODY), (16, 4, NOBODY), (32, 4, NOBODY)]);
    let has_attributes = set("user.origin", b"image 7").is_ok();
    let has_lists = set("system.posix_acl_access", &list).is_ok();
    assert!(
        has_attributes || has_lists,
        "this file system keeps neither; the test needs another temporary directory"
    );
    // Version 2 of capabilities(7): cap_net_raw, effective. A new content must not inherit it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let has_capability = set("security.capability", &capability).is_ok();
    let mode = |scene: &Scene| fs::metadata(scene.at(BUNDLE)).unwrap().permissions().mode();
    let before = mode(&scene);
    for run in [scene.bootstrap(), scene.untrust()] {
        let inode = fs::metadata(scene.at(BUNDLE)).unwrap().ino();
        run.ok();
        assert_ne!(fs::metadata(scene.at(BUNDLE)).unwrap().ino(), inode, "it was replaced");
        assert_eq!(scene.attribute("user.origin").is_some_and(|value| value == b"image 7"), has_attributes);
        assert_eq!(scene.attribute("system.posix_acl_access").is_some_and(|value| value == list), has_lists);
        assert_eq!(mode(&scene), before);
        if has_capability {
            assert_eq!(scene.attribute("security.capability"), None, "a capability is never copied");
        }
    }
}

/// The list of another user's file gives nobody a right to the file that takes its place.
#[test]
fn t37_the_access_control_list_of_another_users_file_is_not_kept() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let list = access_list(&[
        (1, 6, u32::MAX),
        (2, 6, 4711),
        (4, 4, u32::MAX),
        (16, 6, u32::MAX),
        (32, 4, u32::MAX),
    ]);
    rustix::fs::setxattr(scene.at(BUNDLE), "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    std::os::unix::fs::chown(scene.at(BUNDLE), Some(4711), Some(4711)).unwrap();
    scene.bootstrap().ok();
    assert_eq!(scene.attribute("system.posix_acl_access"), None);
}

/// A FIFO, a device, a directory or a link in the place of the lock is never opened.
#[test]
fn t11_only_a_regular_file_is_taken_for_the_lock() {
    let kinds = [Some((FileType::Fifo, 0)), Some((FileType::Socket, 0)), None].into_iter();
    // /dev/tty: opened without care, it becomes the terminal of the process.
    let device = rustix::process::geteuid().is_root().then_some(Some((FileType::CharacterDevice, 0x500)));
    for kind in kinds.chain(device) {
        let scene = Scene::new();
        fs::create_dir(scene.at(STATE)).unwrap();
        fs::set_permissions(scene.at(STATE), fs::Permissions::from_mode(0o700)).unwrap();
        let lock = scene.at(&format!("{STATE}/lock"));
        match kind {
            Some((kind, device)) => {
                rustix::fs::mknodat(CWD, &lock, kind, Mode::from_raw_mode(0o600), device).unwrap();
            }
            None => fs::create_dir(&lock).unwrap(),
        }
        let before = Tree::of(scene.root.path());
        let run = scene.bootstrap().fails(1);
        run.says(["expected the lock, a regular file", "hint:"]);
        before.assert_same(&Tree::of(scene.root.path()), "nothing changes");
    }
}

/// Wherever a run is killed, the next `untrust --all` leaves nothing of it, also where there is nothing to remove.
#[test]
fn what_a_killed_run_left_goes_with_the_next_run() {
    let scene = Scene::new();
    let before = Tree::of(scene.root.path());
    for (name, content) in [
        ("lock", ""),
        (".trustup-0123456789abcdef.tmp", "{"),
        // Versions before the engine staged so.
        ("state.json.new", "{"),
        ("journal.json.new", "{"),
    ] {
        fs::create_dir_all(scene.at(STATE)).unwrap();
        fs::set_permissions(scene.at(STATE), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(scene.at(STATE).join(name), content).unwrap();
        scene.untrust().ok();
        before.assert_same(&Tree::of(scene.root.path()), name);
    }
    let mut kills = 0;
    for step in 1.. {
        let run = scene.bootstrap().killed_at(step).run();
        if run.code == Some(0) {
            break;
        }
        kills += 1;
        scene.untrust().ok();
        before.assert_same(&Tree::of(scene.root.path()), &format!("killed at step {step}"));
    }
    assert!(kills >= 4, "only {kills} kills");
    scene.untrust().ok();
    // By name, too: right before the bundle is replaced.
    let run = scene.bootstrap().killed_before("place", &format!("/{BUNDLE}")).run();
    assert_eq!(run.code, None, "{run}");
    scene.untrust().ok();
    before.assert_same(&Tree::of(scene.root.path()), "killed before the bundle is placed");
}
