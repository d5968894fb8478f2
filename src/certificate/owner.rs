//! `USER:GROUP` as in `chown`, from `/etc/passwd` and `/etc/group` alone: no name service is asked, so that the static
//! binary gives the same answer everywhere.

use crate::error::{Error, Result};
use crate::rootfs::Sysroot;
use crate::text;

/// The largest user or group file that is read.
const LIMIT: u64 = 4 * 1024 * 1024;
/// The largest id: the ids above include the kernel's "no such user" and similar values.
const MAX_ID: u32 = i32::MAX as u32;

/// Resolves `USER`, `USER:GROUP`, `USER:` or `:GROUP` to ids; a user alone brings its own group. Digits are ids and are
/// never looked up as a name (threat T31).
///
/// # Errors
/// No such user or group; an invalid id; a user id without a group if `/etc/passwd` does not contain it.
pub(crate) fn resolve(host: &Sysroot, text: &str) -> Result<(u32, u32)> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let wrong = |what: &str| {
        Error::usage(what)
            .at(text::escape(text))
            .hint("an owner is `USER:GROUP`, `USER` or `:GROUP`; names come from /etc/passwd and /etc/group, numbers are ids")
    };
    let own = (crate::host::privilege::uid(), crate::host::privilege::gid());
    let (uid, own_group) = if user.is_empty() {
        (own.0, Some(own.1))
    } else if let Some(id) = id(user).map_err(&wrong)? {
        (id, entry(host, "/etc/passwd", |fields| fields.get(2) == Some(&user), 3)?)
    } else {
        let find = |index| entry(host, "/etc/passwd", |fields| fields.first() == Some(&user), index);
        (find(2)?.ok_or_else(|| wrong("no such user"))?, find(3)?)
    };
    let gid = if group.is_empty() {
        own_group.filter(|_| !(user.is_empty())).ok_or_else(|| wrong("this owner needs a group"))?
    } else if let Some(id) = id(group).map_err(&wrong)? {
        id
    } else {
        entry(host, "/etc/group", |fields| fields.first() == Some(&group), 2)?
            .ok_or_else(|| wrong("no such group"))?
    };
    Ok((uid, gid))
}

/// A number, if it is written as one.
fn id(text: &str) -> Result<Option<u32>, &'static str> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err("this id is too large"),
    }
}

/// The number in field `index` of the first line that `is_it`.
fn entry(host: &Sysroot, path: &str, is_it: impl Fn(&[&str]) -> bool, index: usize) -> Result<Option<u32>> {
    let Some((bytes, _)) = host.read(path, LIMIT)? else { return Ok(None) };
    let content = String::from_utf8_lossy(&bytes);
    let line = content.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| is_it(fields));
    Ok(line.and_then(|fields| fields.get(index)?.parse().ok()).filter(|id| *id <= MAX_ID))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build the trees that they look at")]

    use super::*;

    #[test]
    fn names_and_ids() {
        let temp = tempfile::tempdir().unwrap();
        let host = Sysroot::open(temp.path()).unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        let passwd = b"root:x:0:0::/root:/bin/sh\nredis:x:999:998::/:\n1000:x:5:5::/:\nbad:x:no:1::/:\nhuge:x:4294967295:1::/:\n";
        std::fs::write(temp.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(temp.path().join("etc/group"), b"root:x:0:\ntls:x:77:redis\n").unwrap();
        let own = (crate::host::privilege::uid(), crate::host::privilege::gid());
        for (text, wanted) in [
            ("redis", Some((999, 998))),
            ("redis:", Some((999, 998))),
            ("redis:tls", Some((999, 77))),
            ("redis:5", Some((999, 5))),
            ("999", Some((999, 998))),
            ("1000:1000", Some((1000, 1000))),
            (":tls", Some((own.0, 77))),
            // Digits are not a name, even if a user has that name.
            ("1000", None),
            ("nobody-here", None),
            ("redis:nobody", None),
            ("bad", None),
            ("huge", None),
            ("4294967295:1", None),
            (":", None),
            ("", None),
        ] {
            assert_eq!(resolve(&host, text).ok(), wanted, "{text}");
        }
    }
}
