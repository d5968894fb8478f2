//! The token's file.

use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::write_file;
use crate::rootfs::output::OutputOption;
use crate::rootfs::{Sysroot, split};
use crate::text;

/// The option for the token's file.
pub(super) const OUT: OutputOption = OutputOption { name: "--out", takes_standard: true };

/// A file to write, in an existing directory.
pub(crate) struct TokenFile {
    pub(crate) path: String,
    host: Sysroot,
}

impl TokenFile {
    /// Checks the path, before any server is asked.
    pub(super) fn open(path: String) -> Result<TokenFile> {
        let output = TokenFile { path, host: Sysroot::open(Path::new("/"))? };
        OUT.check(&output.host, &output.path)?;
        let (parent, _) = split(&output.path);
        let directory = output
            .host
            .directory(parent)
            .map_err(|error| error.hint("create the directory first, or name another with `--out FILE`"))?;
        if !directory.is_writable() {
            return Err(Error::usage("`--out` cannot be written to")
                .at(text::escape(&output.path))
                .hint("name a file in an existing directory that you can write to"));
        }
        Ok(output)
    }

    /// Writes the token, whole or not at all.
    pub(crate) fn write(&self, token: &str) -> Result<Vec<String>> {
        let content = Zeroizing::new(format!("{token}\n"));
        let attributes = Attributes { mode: 0o600, owner: None, modified: None };
        write_file(&self.host, &self.path, content.as_bytes(), attributes)
    }
}
