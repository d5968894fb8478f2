//! Certificates that a user put on this machine: a file, a mounted directory, standard input. Read through the bounded
//! reader only; other users who could have written them are named (threat T6), their content never.

use std::path::{Path, PathBuf};

use super::collect::CertificateOrigin;
use super::{Acquisition, SourceReport};
use crate::error::{Error, Result};
use crate::net::MAX_BODY;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::budget::{self, Category};
use crate::rootfs::sharing::{self, Sharing};
use crate::rootfs::{FileKind, Meta, host};
use crate::text;
use crate::trust::source::given;

/// Reads a `--ca-file`.
pub(super) fn read(run: &mut Acquisition<'_>, index: usize, path: &Path) -> Result<()> {
    let id = run.source(index).id()?;
    let pins = run.request.pins_for(run.source(index));
    let accepted = if path.as_os_str() == "-" {
        let origin = CertificateOrigin { id: &id, file: None, many: false };
        let file = given::read(&host::read_stdin(MAX_BODY)?, "standard input")?;
        run.collected.take_file(&origin, file, pins)?
    } else {
        let found = host::stat(path)?.ok_or_else(|| {
            Error::usage("no such file or directory")
                .at(path.display())
                .hint("is it mounted into the container?")
        })?;
        warn_if_writable(run, path)?;
        if found.kind == FileKind::Directory {
            read_directory(run, &id, pins, path)?
        } else {
            let origin = CertificateOrigin { id: &id, file: Some(path), many: false };
            refuse_key_name(path)?;
            let file = given::read(&read_paid(path, &found)?, &id)?;
            run.collected.take_file(&origin, file, pins)?
        }
    };
    if accepted == 0 {
        let origin = CertificateOrigin { id: &id, file: None, many: true };
        if pins.is_empty() {
            return Err(run.collected.nothing_left(&origin));
        }
        // The pins may be met elsewhere; if not, the final check fails.
        run.collected.warn(format!(
            "`{}` holds no pinned certificate, and nothing was taken from it",
            text::escape(&id)
        ));
    }
    run.collected.report(
        index,
        SourceReport {
            id,
            former_id: None,
            replaces: false,
            contacted: true,
            fresh: true,
            by_pin: false,
            vouched_by: None,
            proxy: None,
            cached: false,
            fingerprints: Vec::new(),
        },
    );
    Ok(())
}

/// All files of a directory, links followed; the kubelet's entries beside them (`..data`) and directories are skipped.
fn read_directory(
    run: &mut Acquisition<'_>,
    id: &str,
    pins: &[Fingerprint],
    directory: &Path,
) -> Result<usize> {
    let mut accepted = 0;
    for name in host::list_dir(directory)? {
        if name.starts_with("..") {
            continue;
        }
        let path: PathBuf = directory.join(&name);
        let origin = CertificateOrigin { id, file: Some(&path), many: true };
        let found = match host::stat(&path) {
            Ok(Some(found)) if found.kind == FileKind::Directory => continue,
            Ok(Some(found)) if found.kind == FileKind::File => found,
            Ok(None) => {
                run.collected.leave_out(&origin, String::new(), None, "a dangling symlink".to_owned());
                continue;
            }
            Ok(Some(_)) => {
                run.collected.leave_out(&origin, String::new(), None, "a device, socket or FIFO".to_owned());
                continue;
            }
            Err(error) => {
                run.collected.leave_out(&origin, String::new(), None, error.to_string());
                continue;
            }
        };
        refuse_key_name(&path)?;
        let bytes = read_paid(&path, &found)?;
        match given::read(&bytes, &path.to_string_lossy()) {
            Ok(file) => {
                budget::certificates(&path.to_string_lossy(), file.certificates.len() as u64)?;
                warn_if_writable(run, &path)?;
                accepted += run.collected.take_file(&origin, file, pins)?;
            }
            Err(error) if given::may_hold_private_key(&bytes) => return Err(error),
            Err(error) => run.collected.leave_out(&origin, String::new(), None, error.what().to_owned()),
        }
    }
    Ok(accepted)
}

/// The content of a file that was inspected before; it counts as a trust store of this run (threat T36).
fn read_paid(path: &Path, found: &Meta) -> Result<Vec<u8>> {
    if found.size <= MAX_BODY {
        let place = path.display().to_string();
        budget::pay(Category::Trust, &place, found.size).map_err(|error| error.at(place))?;
    }
    host::read_file(path, MAX_BODY)
}

/// A key is refused by its name too: it may be in a form that is not recognised.
fn refuse_key_name(path: &Path) -> Result<()> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("key")) {
        return Err(Error::usage("a private key does not belong among certificates")
            .at(path.display())
            .hint(
                "give the certificates alone: a directory without the key, or each file with `--ca-file`",
            ));
    }
    Ok(())
}

fn warn_if_writable(run: &mut Acquisition<'_>, path: &Path) -> Result<()> {
    let name = path.to_string_lossy();
    if let Some(why) = sharing::protection_of_node(path, Sharing::default())?.danger {
        run.collected.warn(format!(
            "another user may have put certificates into `{}`: {why}; `--fingerprint` would rule that out",
            text::escape(&name)
        ));
    }
    Ok(())
}
