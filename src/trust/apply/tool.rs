//! The one step that runs an external program: its output is read, and judged if the run fails.

use super::{CarriedOut, Session};
use crate::error::Result;
use crate::process::{self, run_tool};
use crate::rootfs::directory::Directory;
use crate::rootfs::file_set::FileSet;
use crate::rootfs::path::child;
use crate::rootfs::tree::{self, Node};
use crate::text;
use crate::trust::plan::ToolRun;

/// Where a certificate is hashed to see whether `openssl rehash` works.
const PROBE: &str = "probe";
const PROBE_FILE: &str = "probe.pem";

/// How the tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolEnd {
    /// It reports success.
    Well,
    /// It failed.
    Failed {
        /// A program was killed by a signal, or could not be run.
        crashed: bool,
    },
}

impl Session<'_> {
    /// Messages of a native tool that did not fail.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Whether a run that was undone failed because the native tool does not work here, so that the built-in updater
    /// may do better: it omitted or lost what it should have kept, a program of it crashed, or the `openssl` that it
    /// runs makes no hash link (a cross build under an emulator). `pem` is a certificate to test that with. If a tool
    /// reports why it failed while its programs work, that reason is an error.
    pub(crate) async fn tool_is_at_fault(&self, uses_openssl: bool, pem: &str) -> bool {
        match self.tool {
            None => false,
            Some(ToolEnd::Well | ToolEnd::Failed { crashed: true }) => true,
            Some(ToolEnd::Failed { crashed: false }) => {
                uses_openssl && !self.rehash_works(pem).await.unwrap_or(true)
            }
        }
    }

    /// Whether `openssl rehash` makes the link of a certificate, in a directory of our own.
    async fn rehash_works(&self, pem: &str) -> Result<bool> {
        let Some(openssl) = process::find(self.sysroot, "openssl")? else { return Ok(false) };
        let hash = async |path: &str, directory: &Directory| {
            let arguments = ["rehash".to_owned(), path.to_owned()];
            let ran =
                run_tool(&openssl, &arguments, self.sysroot.state_directory(), &self.tool_context).await;
            Ok(ran.is_ok() && directory.list()?.len() > 1)
        };
        self.own.with_scratch(PROBE, (PROBE_FILE, pem.as_bytes()), hash).await?
    }

    pub(super) async fn run(&mut self, run: &ToolRun) -> Result<()> {
        let watched = run.watched.iter();
        let before = watched.map(|path| Ok((path.clone(), tree::read(self.sysroot, path)?)));
        let before = before.collect::<Result<_>>()?;
        self.done.push(CarriedOut::Run { before, directories: run.directories.clone() });
        let temporary = self.sysroot.state_directory();
        let said = run_tool(&run.program, &run.arguments, temporary, &self.tool_context).await;
        let said = said.map_err(|failure| {
            self.tool = Some(ToolEnd::Failed { crashed: failure.crashed });
            failure.error
        })?;
        self.tool = Some(ToolEnd::Well);
        // Its hooks may fail while it succeeds: Debian's prints `E:` and exits 0.
        let complaints = said
            .lines()
            .map(str::trim)
            .filter(|line| ["E: ", "W: ", "Warning!", "p11-kit: "].iter().any(|mark| line.starts_with(mark)));
        for line in complaints {
            let complaint = format!("`{}` says: {}", run.program, text::escape(line));
            // p11-kit repeats it at every extraction.
            if !self.complaints.contains(&complaint) {
                self.complaints.push(complaint);
            }
        }
        self.stamp_what_the_tool_wrote()
    }

    /// With `SOURCE_DATE_EPOCH`, what the tool made gets that time: the tool ignores the variable.
    fn stamp_what_the_tool_wrote(&self) -> Result<()> {
        let (Some(seconds), Some(CarriedOut::Run { before, directories })) =
            (self.tool_context.stamp, self.done.last())
        else {
            return Ok(());
        };
        for directory in directories {
            let Some(names) = self.sysroot.list(directory)? else { continue };
            for name in names {
                let path = child(directory, &name);
                let now = tree::read(self.sysroot, &path)?;
                if matches!(now, Node::File(_) | Node::Link { .. }) && before.get(&path) != Some(&now) {
                    FileSet::stamp_entry(self.sysroot, &path, seconds)?;
                }
            }
        }
        Ok(())
    }
}
