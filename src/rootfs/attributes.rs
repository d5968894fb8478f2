//! Extended attributes and access control lists: a file that is replaced keeps them (threat T37).

use std::os::fd::OwnedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Attributes that describe the former content or give rights to a program: never copied.
const OF_CONTENT: [&str; 3] = ["security.capability", "security.ima", "security.evm"];
/// More than any file has; a longer list counts as unreadable.
const LIMIT: usize = 64 * 1024;

/// Copies the extended attributes of `from` to `to`, POSIX access control lists among them. Returns the names of those
/// that could not be copied.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Vec<String> {
    let Ok(names) = list(from) else { return Vec::new() };
    let mut lost = Vec::new();
    for name in names.into_iter().filter(|name| !OF_CONTENT.contains(&name.as_str())) {
        let copied = value(from, &name).and_then(|value| {
            // A security module may have labelled the new file the same already, and refuse that any program does so.
            if self::value(to, &name).is_ok_and(|there| there == value) {
                return Ok(());
            }
            rustix::fs::fsetxattr(to, name.as_str(), &value, XattrFlags::empty())
        });
        if copied.is_err() {
            lost.push(name);
        }
    }
    lost
}

fn list(file: &OwnedFd) -> Result<Vec<String>, Errno> {
    // Most files have none.
    if rustix::fs::flistxattr_query(file)? == 0 {
        return Ok(Vec::new());
    }
    let mut names = vec![0_u8; LIMIT];
    let length = rustix::fs::flistxattr(file, &mut names[..])?;
    let names = names.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    Ok(names.filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn value(file: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0_u8; LIMIT];
    let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}
