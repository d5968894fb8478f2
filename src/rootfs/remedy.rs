//! What a user can do about a path, for hints. The words depend on what is there and on who we are, so that each hint
//! can be followed: a mount point cannot be removed, a mode is changed only by the owner, and root in a container may
//! lack the rights of root. Only inspects.

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::{FileKind, Meta, meta_of};
use crate::host::privilege;

/// How to remove what is at `path` (on this machine): begins with a verb. A mount point cannot be removed (EBUSY).
pub(crate) fn remove(path: &str) -> String {
    mounted(path).unwrap_or_else(|| format!("remove `{path}`"))
}

/// How to remove the directory at `path` (on this machine), or to move it away if it is another program's.
pub(crate) fn remove_directory(path: &str) -> String {
    mounted(path).unwrap_or_else(|| "remove the directory".to_owned())
}

/// How to move what is at `path` (on this machine) away.
pub(crate) fn move_away(path: &str) -> String {
    mounted(path).unwrap_or_else(|| "move it away".to_owned())
}

/// What to do with a mount point instead.
fn mounted(path: &str) -> Option<String> {
    let meta = inspect(path).filter(|meta| meta.mount_point)?;
    let shown = quoted(path);
    Some(match meta.kind {
        FileKind::Directory => {
            format!("empty it (a mount point cannot be removed): `find {shown} -mindepth 1 -delete`")
        }
        _ => format!(
            "unmount `{shown}` (a mount point cannot be removed): omit its `-v` of Docker or its `volumeMounts` of Kubernetes"
        ),
    })
}

/// For a path where a regular file is expected and something else is.
pub(crate) fn not_a_file(path: &str) -> String {
    match inspect(path) {
        Some(meta) if meta.mount_point && meta.kind == FileKind::Directory => format!(
            "a directory is mounted at `{path}`: Docker makes an empty one where the source of `-v SOURCE:{path}` is missing; mount the existing file, or name another path"
        ),
        _ => format!("check what `{path}` is, and replace it with a regular file or name another path"),
    }
}

/// Who can change the mode of `path`, and how: `change` is an argument of chmod.
pub(crate) fn chmod(path: &str, owner: u32, change: &str) -> String {
    let command = format!("`chmod {change} {}`", quoted(path));
    let us = privilege::uid();
    if owner == us || privilege::is_root() {
        command
    } else {
        format!("{command}, as root or as user {owner}, who owns it")
    }
}

/// How to make us the owner of `path`; only root can.
pub(crate) fn chown(path: &str) -> String {
    let command = format!("`chown {} {}`", privilege::uid(), quoted(path));
    if privilege::is_root() { command } else { format!("{command}, as root") }
}

/// What gives trustup the rights that it lacks for a path of user `owner`, if the owner is known.
pub(crate) fn permission(owner: Option<u32>) -> String {
    const AS_ROOT: &str = "as root (in a Dockerfile: `USER root` before, the service's user after)";
    let us = privilege::uid();
    let as_owner = match owner {
        Some(owner) if owner == us => None,
        Some(owner) => Some(format!("as user {owner}, who owns this path (`--user {owner}`)")),
        None => Some("as the owner of this path (`--user UID`)".to_owned()),
    };
    if !privilege::is_root() {
        return match (owner, as_owner) {
            (Some(0), _) => format!("run trustup {AS_ROOT}"),
            (_, Some(as_owner)) => format!("run trustup {as_owner}, or {AS_ROOT}"),
            (_, None) => format!("give yourself the right (`chmod u+rwX`), or run trustup {AS_ROOT}"),
        };
    }
    let or_as_owner = as_owner.map(|as_owner| format!(", or run trustup {as_owner}")).unwrap_or_default();
    let lacking: Vec<&str> = [
        (CapabilitySet::CHOWN, "CHOWN"),
        (CapabilitySet::DAC_OVERRIDE, "DAC_OVERRIDE"),
        (CapabilitySet::FOWNER, "FOWNER"),
    ]
    .into_iter()
    .filter(|(capability, _)| !privilege::has(*capability))
    .map(|(_, name)| name)
    .collect();
    if lacking.is_empty() {
        // NFS with `root_squash`, a user namespace in which the owner does not exist, a security module.
        return format!(
            "the file system refuses this even to root (NFS, a user namespace, the immutable attribute): use another directory{or_as_owner}"
        );
    }
    let options: Vec<String> = lacking.iter().map(|name| format!("--cap-add {name}")).collect();
    format!("root lacks capabilities here: start the container with `{}`{or_as_owner}", options.join(" "))
}

/// The owner of what is at `path` (on this machine), or of the nearest directory above it that can be inspected.
pub(crate) fn owner_on_the_way(path: &str) -> Option<u32> {
    let mut path = path.trim_end_matches('/');
    loop {
        if let Some(meta) = inspect(if path.is_empty() { "/" } else { path }) {
            return Some(meta.uid);
        }
        path = path.rsplit_once('/')?.0;
    }
}

fn inspect(path: &str) -> Option<Meta> {
    // Not through `Sysroot`, whose errors have hints from here.
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let name = path.trim_start_matches('/');
    let name = if name.is_empty() { "." } else { name };
    meta_of(&root, name, AtFlags::SYMLINK_NOFOLLOW).ok().flatten()
}

/// A path as an argument in a shell.
pub(crate) fn quoted(path: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '@' | '%');
    if !path.is_empty() && path.chars().all(is_plain) && !path.starts_with('-') {
        return path.to_owned();
    }
    crate::text::escape(&format!("'{}'", path.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_depend_on_what_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("it's a file");
        let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
        assert_eq!(remove(&path(&file)), format!("remove `{}`", path(&file)));
        assert_eq!(quoted(&path(&file)), format!(r"'{}/it'\''s a file'", path(directory.path())));
        assert_eq!(remove_directory(&path(directory.path())), "remove the directory");
        // procfs is mounted wherever tests run.
        assert!(remove("/proc").contains("a mount point cannot be removed"));
        assert!(move_away("/proc").contains("a mount point cannot be removed"));
        assert!(not_a_file("/proc").contains("Docker makes an empty one"));
        assert!(chmod("/x", privilege::uid(), "go-w") == "`chmod go-w /x`");
        assert!(permission(Some(u32::MAX - 1)).contains("`--user 4294967294`"));
    }
}
