//! `--ca-out FILE`: the accepted roots as a PEM file for one service (`/run/tls/ca.crt`). A copy, not a trust store:
//! it is not recorded, and `untrust` leaves it.

use std::path::Path;

use crate::cert::Certificate;
use crate::error::{Error, Result};
use crate::sysroot::directory::Attributes;
use crate::sysroot::{Sysroot, split};
use crate::tree::{self, File, Node};

/// New directories on the way and the file itself: anybody may read roots.
const FILE_MODE: u32 = 0o644;

/// Where to write.
pub(super) struct Target {
    path: String,
}

impl Target {
    /// Checks the path: absolute, as seen inside the sysroot.
    pub(super) fn new(sysroot: &Sysroot, path: &Path) -> Result<Self> {
        let Some(path) = path.to_str().filter(|path| path.starts_with('/') && !path.ends_with('/')) else {
            return Err(Error::usage("`--ca-out` needs the absolute path of a file")
                .at(path.display())
                .hint("such as `--ca-out /run/tls/ca.crt`; it is taken inside the sysroot"));
        };
        match tree::read(sysroot, path)? {
            Node::Absent | Node::File(_) => Ok(Target { path: path.to_owned() }),
            other => Err(Error::usage(format!("{} stands where `--ca-out` should go", other.kind()))
                .at(sysroot.display(path))
                .hint("name another file, or remove what is there")),
        }
    }

    /// Writes the roots, if the file does not hold exactly them; says whether it changed.
    pub(super) fn write(
        &self,
        sysroot: &Sysroot,
        roots: &[&Certificate],
        stamp: Option<i64>,
    ) -> Result<bool> {
        let content: String = roots.iter().map(|root| root.to_pem()).collect();
        let node = Node::File(File::new(content.clone().into_bytes(), FILE_MODE));
        if tree::read(sysroot, &self.path)?.satisfies(&node) {
            return Ok(false);
        }
        let (parent, name) = split(&self.path);
        let mut directory = String::new();
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            let above = if directory.is_empty() { "/".to_owned() } else { directory.clone() };
            directory = format!("{directory}/{part}");
            if sysroot.stat(&directory)?.is_none() {
                let attributes = Attributes { mode: 0o755, owner: None, modified: None };
                sysroot.directory(&above)?.make_directory(part, attributes)?;
            }
        }
        let attributes =
            Attributes { mode: FILE_MODE, owner: None, modified: stamp.map(|seconds| (seconds, 0)) };
        let directory = sysroot.directory(parent)?;
        let temporary = format!(".{name}.trustup.tmp");
        directory.remove(&temporary)?;
        directory.replace_file(&temporary, name, content.as_bytes(), attributes)?;
        directory.sync()?;
        Ok(true)
    }
}
