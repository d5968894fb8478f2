//! Parts of a file: for files that are too large to read whole, such as programs.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::budget::{self, Category};
use super::{FileKind, Sysroot, meta_of};
use crate::error::{Error, Result};

/// A regular file, open for reading parts of it.
#[derive(Debug)]
pub(crate) struct PartialFile {
    file: OwnedFd,
    size: u64,
    place: String,
    read: Cell<u64>,
    /// The budget that is charged.
    category: Category,
}

impl Sysroot {
    /// Opens the regular file at `path`, links followed, to read parts of it. `None` if there is nothing.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened.
    pub(crate) fn parts(&self, path: &str) -> Result<Option<PartialFile>> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        PartialFile::of(file, self.display(path), Category::Programs).map(Some)
    }
}

impl PartialFile {
    /// This open file; `place` for messages, and for what it costs.
    pub(super) fn of(file: OwnedFd, place: String, category: Category) -> Result<PartialFile> {
        match meta_of(&file, "", AtFlags::EMPTY_PATH)? {
            Some(meta) if meta.kind == FileKind::File => {
                Ok(PartialFile { file, size: meta.size, place, read: Cell::new(0), category })
            }
            _ => Err(Error::failed("this path changed while it was read").at(place)),
        }
    }

    /// Bytes of the whole file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes were read.
    pub(crate) fn spent(&self) -> u64 {
        self.read.get()
    }

    /// The `length` bytes from `offset` on. They are charged like files that are read whole (threat T36).
    ///
    /// # Errors
    /// The file ends before, cannot be read, or the budget of this run for programs is used up.
    pub(crate) fn at(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let failed = |error: Errno| Error::failed("could not read").at(&self.place).because(error);
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(failed(Errno::NODATA));
        }
        self.read.set(self.read.get().saturating_add(length));
        budget::pay(self.category, &self.place, self.read.get()).map_err(|error| error.at(&self.place))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::pread(&self.file, &mut bytes[filled..], offset + filled as u64) {
                Ok(0) => return Err(failed(Errno::NODATA)),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(bytes)
    }
}
