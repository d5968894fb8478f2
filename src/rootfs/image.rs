//! Whether a directory that was given with `--sysroot` holds a root file system at all. An image that was saved or copied
//! is a directory of archives; trustup would otherwise install roots beside them, where no program ever looks.

use std::path::Path;

use super::{FileKind, Sysroot, host, remedy};
use crate::error::{Error, Result};
use crate::text;

/// A root file system has at least one of these, as a directory or a link to one (`bin` of a merged `/usr`).
const MARKERS: [&str; 5] = ["/etc", "/usr", "/bin", "/lib", "/var"];
/// The beginning of files with one of these is read.
const HEAD: u64 = 512;
/// `docker save` and `skopeo copy` write lists and versions of this size.
const SMALL: u64 = 1024 * 1024;

/// How archives begin: the offset, the bytes, what they are.
const ARCHIVES: [(usize, &[u8], &str); 6] = [
    (257, b"ustar", "a tar archive"),
    (0, &[0x1f, 0x8b], "a gzip archive"),
    (0, &[0x28, 0xb5, 0x2f, 0xfd], "a zstd archive"),
    (0, &[0xfd, b'7', b'z', b'X', b'Z', 0], "an xz archive"),
    (0, b"hsqs", "a squashfs image"),
    (0, b"PK\x03\x04", "a zip archive"),
];

/// Refuses a directory without a root file system.
///
/// # Errors
/// It has none of the usual directories: what it is instead, and how to get the root file system out of it.
pub(crate) fn refuse_other_than_root(sysroot: &Sysroot) -> Result<()> {
    let has = |path: &str| Ok::<_, Error>(sysroot.lstat(path)?.is_some());
    for marker in MARKERS {
        let kind = sysroot.lstat(marker)?.map(|meta| meta.kind);
        if matches!(kind, Some(FileKind::Directory | FileKind::Link)) {
            return Ok(());
        }
    }
    let shown = text::escape(&sysroot.path().to_string_lossy());
    let refused = |what: &str| {
        Error::usage(format!(
            "this directory is {what}, not a root file system: it has none of etc, usr, bin, lib and var"
        ))
        .at(&shown)
    };
    let names = sysroot.list("/")?.unwrap_or_default();
    if has("/manifest.json")? && has("/version")? {
        return Err(refused("a copy that `skopeo copy … dir:` made")
            .hint(format!("load it with `skopeo copy dir:{shown} docker-daemon:IMAGE:TAG`; then:"))
            .hint(EXPORT));
    }
    let is_layout = has("/oci-layout")? || has("/index.json")? && has("/blobs")?;
    if is_docker_save(sysroot)? {
        let what = if is_layout {
            "what `docker save` wrote, unpacked (also an OCI layout)"
        } else {
            "what `docker save` wrote, unpacked"
        };
        return Err(refused(what)
            .hint(format!(
                "its layers are archives and must be unpacked: `tar -c -C {shown} . | docker load`; then:"
            ))
            .hint(EXPORT));
    }
    if is_layout {
        return Err(refused("an OCI layout").hint(format!(
            "its layers are archives and must be unpacked: `umoci unpack --image {shown}:TAG bundle`, then `--sysroot bundle/rootfs`; or `skopeo copy oci:{shown}:TAG docker-daemon:IMAGE:TAG`, then:"
        ))
        .hint(EXPORT));
    }
    for name in ["rootfs", "root", "fs", "merged", "diff", "layer"] {
        let inside =
            |marker: &&str| sysroot.stat(&format!("/{name}{marker}")).is_ok_and(|meta| meta.is_some());
        if MARKERS.iter().any(inside) {
            return Err(refused("something else")
                .hint(format!("the root file system is in it: `--sysroot {shown}/{name}`")));
        }
    }
    if let Some(file) =
        ["Dockerfile", "Containerfile"].into_iter().find(|file| names.iter().any(|name| name == file))
    {
        return Err(refused(&format!("the context of a build (`{file}`)"))
            .hint("build the image first; then:")
            .hint(EXPORT));
    }
    if let [only] = names.as_slice()
        && let Some(what) = archive_at(&sysroot.path().join(only))?
    {
        return Err(refused(&format!("a directory with {what} (`{}`) in it", text::escape(only)))
            .hint("unpack that into another directory, and name the directory")
            .hint(EXPORT));
    }
    let what = if names.is_empty() { "empty" } else { "something else" };
    Err(refused(what).hint(EXPORT).hint(format!(
        "for an image FROM scratch, whose root file system is really like this: `mkdir {}`",
        remedy::quoted(&format!("{}/etc", sysroot.path().to_string_lossy().trim_end_matches('/')))
    )))
}

/// Commands that work for every image of Docker, also for one without a command.
pub(super) const EXPORT: &str = "`mkdir rootfs && docker export \"$(docker create IMAGE x)\" | tar -x -C rootfs` unpacks an image; then `--sysroot rootfs`";

/// Whether `docker save` wrote this: its manifest is a list (that of `skopeo copy` is an object).
fn is_docker_save(sysroot: &Sysroot) -> Result<bool> {
    let is_list = |path: &str| match sysroot.read(path, SMALL) {
        Ok(Some((bytes, _))) => bytes.trim_ascii_start().starts_with(b"["),
        Ok(None) | Err(_) => false,
    };
    let is_old = sysroot.lstat("/repositories")?.is_some();
    Ok(is_list("/manifest.json") || is_old)
}

/// What archive the file at `path` (outside) is; `None` if it is none, or no file.
///
/// # Errors
/// It cannot be read.
pub(super) fn archive_at(path: &Path) -> Result<Option<&'static str>> {
    match host::stat(path)? {
        Some(meta) if meta.kind == FileKind::File => {}
        _ => return Ok(None),
    }
    let head = host::read_head(path, HEAD)?;
    let begins =
        |(at, magic, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    Ok(ARCHIVES.iter().find(begins).map(|(_, _, what)| *what))
}
