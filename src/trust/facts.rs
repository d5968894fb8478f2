//! Everything that a plan depends on, gathered once, read-only: the kind of root file system, the location of its trust
//! stores, what its update program can do.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::process;
use crate::rootfs::budget;
use crate::rootfs::tree::Node;
use crate::rootfs::{FileKind, Obstacle};
pub(crate) use crate::settings::rows::UpdaterChoice;
use crate::text;
use crate::trust::distro::{self, Distro};
use crate::trust::nix_store;
use crate::trust::os_release::{self, Release};
use crate::trust::updater::{NativeTool, Output, OutputKind};
use crate::trust::verify::{self, Side};
use crate::trust::view::View;

/// Which updater is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpdaterUsed {
    /// The distribution's, at this absolute path.
    Native(String),
    /// Our own.
    Builtin,
}

impl UpdaterUsed {
    /// Which of the two it is.
    pub(crate) fn kind(&self) -> UpdaterKind {
        match self {
            UpdaterUsed::Native(_) => UpdaterKind::Native,
            UpdaterUsed::Builtin => UpdaterKind::Builtin,
        }
    }
}

/// Who writes the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UpdaterKind {
    /// The distribution's own program.
    Native,
    /// trustup itself.
    Builtin,
}

impl UpdaterKind {
    /// The word shown to people, the same as in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            UpdaterKind::Native => "native",
            UpdaterKind::Builtin => "builtin",
        }
    }
}

/// The updater chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Native or built-in.
    pub(crate) updater: UpdaterUsed,
    /// Why.
    pub(crate) why: String,
    /// Whether to report it without being asked: the native updater exists, and would do harm.
    pub(crate) notable: bool,
}

/// Why the native updater is not used.
enum WhyNot {
    /// It is not there, or cannot run.
    Unusable(String),
    /// It could run, and would lose roots or fail midway.
    Harmful(String),
}

/// What a root file system is.
#[derive(Debug)]
pub struct Facts {
    /// The row of the table.
    pub(crate) row: &'static Distro,
    /// Why that row.
    pub(crate) why: String,
    /// Whether the user named it.
    pub(crate) is_named: bool,
    /// os-release, if there is one.
    pub(crate) release: Option<Release>,
    /// The outputs that exist or will be made.
    pub(crate) outputs: Vec<Output>,
    /// What each of them offers now.
    pub(crate) offers: verify::Offers,
}

impl Facts {
    /// Gathers the facts; os-release chooses the row, unless the user names it, now or in an earlier run.
    ///
    /// # Errors
    /// Something cannot be read; there is no such row.
    pub fn gather(view: &View) -> Result<Self> {
        if view.sysroot().is_private() {
            return Facts::of_row(view, &distro::PRIVATE, "a private store".to_owned(), None);
        }
        let named = match (view.sysroot().distribution(), view.ours().distribution.as_deref()) {
            (Some(id), _) => Some((id, "`--distribution` names it")),
            (None, Some(id)) => Some((id, "an earlier run was given it with `--distribution`")),
            (None, None) => None,
        };
        if let Some((id, why)) = named {
            let row = distro::by_id(id, false).ok_or_else(|| {
                Error::usage(format!("unknown distribution `{}`", text::escape(id)))
                    .hint("`trustup detect --list` lists the names")
            })?;
            let facts = Facts::of_row(view, row, why.to_owned(), os_release::read(view.sysroot())?)?;
            return Ok(Facts { is_named: true, ..facts });
        }
        let release = os_release::read(view.sysroot())?;
        let (row, why) = distro::choose(release.as_ref());
        Facts::of_row(view, row, text::escape(&why), release)
    }

    /// The facts as an earlier run saw them, whatever os-release contains now: to remove what that run installed.
    pub(crate) fn gather_as(view: &View, row: &'static Distro) -> Result<Self> {
        Facts::of_row(view, row, "an earlier run worked with this row".to_owned(), None)
    }

    fn of_row(view: &View, row: &'static Distro, why: String, release: Option<Release>) -> Result<Self> {
        let outputs = row.updater.outputs(view)?;
        let offers = verify::offers(view, Side::Actual, &outputs);
        budget::check()?;
        Ok(Facts { row, why, is_named: false, release, outputs, offers })
    }

    /// Chooses between the family's program and our own, and gives the reason.
    ///
    /// # Errors
    /// `native` was asked for and cannot be used.
    pub(crate) fn updater(&self, view: &View, choice: UpdaterChoice) -> Result<Chosen> {
        let builtin = |why, notable| Chosen { updater: UpdaterUsed::Builtin, why, notable };
        if choice == UpdaterChoice::Builtin {
            return Ok(builtin("asked for".to_owned(), false));
        }
        match self.native(view)? {
            Ok(program) => {
                let why = format!("`{program}` exists and has everything it needs");
                Ok(Chosen { updater: UpdaterUsed::Native(program), why, notable: false })
            }
            Err(WhyNot::Harmful(why)) if choice == UpdaterChoice::Auto => Ok(builtin(why, true)),
            Err(WhyNot::Unusable(why)) if choice == UpdaterChoice::Auto => Ok(builtin(why, false)),
            Err(WhyNot::Harmful(why) | WhyNot::Unusable(why)) => Err(self.no_native(&why)),
        }
    }

    /// The choice of `auto` before a service: the built-in updater, which takes a hundredth of the time, where tests on real
    /// systems show that it writes the same files, and no hook does anything that it does not.
    ///
    /// # Errors
    /// The directories of hooks cannot be read.
    pub(crate) fn at_start(&self, view: &View, chosen: Chosen) -> Result<Chosen> {
        let (UpdaterUsed::Native(program), Some(tool)) = (&chosen.updater, self.row.updater.native()) else {
            return Ok(chosen);
        };
        if self.row.proof != distro::Proof::RealTool {
            return Ok(chosen);
        }
        if let Some(hook) = unknown_hook(view, tool)? {
            let why = format!("{}, and runs `{}`, which only it does", chosen.why, text::escape(&hook));
            return Ok(Chosen { why, ..chosen });
        }
        let why =
            format!("a command follows, and the built-in updater writes what `{program}` would, sooner");
        Ok(Chosen { updater: UpdaterUsed::Builtin, why, notable: false })
    }

    /// The error of `--updater native` where the family's program cannot be used.
    pub(crate) fn no_native(&self, why: &str) -> Error {
        let error = Error::unsupported(format!("the distribution's own trust update cannot be used: {why}"))
            .hint("`--updater auto` uses the built-in updater instead");
        let install = self.row.install_hint;
        if install.is_empty() { error } else { error.hint(format!("to install it: `{install}`")) }
    }

    /// The family's program, or why it cannot be used.
    fn native(&self, view: &View) -> Result<Result<String, WhyNot>> {
        let sysroot = view.sysroot();
        let updater = self.row.updater;
        let Some(tool) = updater.native() else {
            return Ok(Err(WhyNot::Unusable(format!("{} have none", self.row.name))));
        };
        if !sysroot.is_host() {
            return Ok(Err(WhyNot::Unusable("programs of a foreign sysroot are never run".to_owned())));
        }
        let Some(program) = process::find(sysroot, tool.program)? else {
            return Ok(Err(WhyNot::Unusable(format!("there is no `{}`", tool.program))));
        };
        for needed in tool.needs {
            if process::find(sysroot, needed)?.is_none() {
                return Ok(Err(WhyNot::Unusable(format!("`{program}` needs `{needed}`, which is missing"))));
            }
        }
        if !crate::host::privilege::is_root() {
            return Ok(Err(WhyNot::Unusable(format!("`{program}` needs root"))));
        }
        if let Some(why) = process::unsafe_to_run(sysroot, &program)? {
            return Ok(Err(WhyNot::Unusable(why)));
        }
        if let Some((path, _)) = self.offers.iter().find(|(_, offer)| offer.mount_point) {
            return Ok(Err(WhyNot::Harmful(format!(
                "`{path}` is a mount point, and `{program}` would try to replace it"
            ))));
        }
        for output in &self.outputs {
            let end = view.follow(&output.path)?;
            if end.is_some_and(|(real, _)| nix_store::holds(&real)) {
                return Ok(Err(WhyNot::Harmful(format!(
                    "`{}` leads into Nix's store, and `{program}` would write there",
                    output.path
                ))));
            }
        }
        for (path, target) in tool.links {
            let is_that_link = |node: &Node| matches!(node, Node::Link { target: it } if it == target);
            if !is_that_link(&*view.actual(path)?) {
                return Ok(Err(WhyNot::Harmful(format!(
                    "`{path}` is not the link to `{target}` that `{program}` would put in its place"
                ))));
            }
        }
        if !updater.is_managed(view)? {
            return Ok(Err(WhyNot::Harmful(format!(
                "`{program}` has no list of the vendor's roots and would drop them all"
            ))));
        }
        let unsourced = updater.unsourced(view)?;
        if !unsourced.is_empty() {
            let names: Vec<String> = unsourced
                .iter()
                .take(5)
                .map(|certificate| {
                    format!("`{}` ({})", text::escape(&certificate.label()), certificate.fingerprint())
                })
                .collect();
            let more = unsourced.len().saturating_sub(names.len());
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            return Ok(Err(WhyNot::Harmful(format!(
                "`{program}` would drop certificates that another program added to an output: {}{more}",
                names.join(", ")
            ))));
        }
        Ok(Ok(program))
    }
}

/// A program that the tool runs at its end and whose work the built-in updater does not do.
fn unknown_hook(view: &View, tool: &NativeTool) -> Result<Option<String>> {
    /// Known hooks are a few lines.
    const LIMIT: u64 = 64 * 1024;
    let sysroot = view.sysroot();
    for directory in tool.hooks {
        for name in sysroot.list(directory)?.unwrap_or_default() {
            let path = format!("{directory}/{name}");
            let is_program = sysroot
                .stat(&path)?
                .is_some_and(|meta| meta.kind == FileKind::File && meta.mode & 0o111 != 0);
            if !is_program {
                continue;
            }
            let is_known = match tool.known_hooks.iter().find(|(known, _)| *known == path) {
                None => false,
                Some((_, None)) => true,
                Some((_, Some(wanted))) => {
                    sysroot.read(&path, LIMIT)?.is_some_and(|(bytes, _)| bytes == wanted.as_bytes())
                }
            };
            if !is_known {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// An output as `detect` shows it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OutputView {
    /// Where programs read it.
    pub(crate) path: String,
    /// How it is read.
    pub(crate) kind: OutputKind,
    /// Whether it is there.
    pub(crate) exists: bool,
    /// The path with every link resolved.
    pub(crate) real_path: Option<String>,
    /// How many roots it offers.
    pub(crate) certificates: usize,
    /// Whether it can be replaced by the current user.
    pub(crate) writable: bool,
    /// Something is mounted exactly at this path: it is never replaced.
    pub(crate) mounted: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damage: Option<String>,
}

/// Why the current user cannot write an output, links followed; `None` if it can.
pub(crate) fn output_obstacle(view: &View, kind: OutputKind, path: &str) -> Result<Option<Obstacle>> {
    match (kind, view.follow_actual(path)?) {
        (OutputKind::HashDirectory | OutputKind::NssDatabase, _) => view.directory_obstacle(path),
        (_, Some((real, _))) => view.obstacle(&real),
        (_, None) => view.obstacle(path),
    }
}

/// The outputs as `detect` shows them.
pub(crate) fn output_views(view: &View, facts: &Facts) -> Result<Vec<OutputView>> {
    let sysroot = view.sysroot();
    let mut views = Vec::new();
    for output in &facts.outputs {
        let offer = facts.offers.get(&output.path).cloned().unwrap_or_default();
        views.push(OutputView {
            path: output.path.clone(),
            kind: output.kind,
            exists: offer.exists,
            real_path: sysroot.canonical(&output.path)?,
            certificates: offer.roots.len(),
            writable: output_obstacle(view, output.kind, &output.path)?.is_none(),
            mounted: offer.mount_point,
            damage: offer.damage,
        });
    }
    Ok(views)
}
