//! `trustup env`: the variables for programs that do not read the system store; `--install` for every login shell.

use std::collections::BTreeSet;

use super::options::plain;
use super::output::env::{EnvInstallReport, EnvReport, EnvVariable};
use super::output::shown_path;
use super::{CommandRow, Context, Run};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::host::privilege;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::Sysroot;
use crate::settings::Opt;
use crate::text;
use crate::trust::bootstrap::trees::{HIDDEN, HIDDEN_HINT, Trees};
use crate::trust::facts::{Facts, UpdaterChoice};
use crate::trust::reconcile::{
    ReconcileOptions, Target, TrustChange, nothing_trusted, reconcile, system_roots, system_stores,
};
use crate::trust::runtimes::{JAVA_OPTIONS, RootLocations, TABLE, left_out, profile, render, variables};
use crate::trust::state::{self, State, StoredAnchor};
use crate::trust::verify::Offer;
use crate::trust::view::View;

/// How to write the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EnvFormat {
    /// For `eval "$(trustup env)"` in any shell
    Sh,
    /// `ENV` lines for a Dockerfile
    Dockerfile,
    /// Lines for `docker run --env-file`
    Docker,
    /// One JSON object
    Json,
}

static FORMAT: Opt<EnvFormat> =
    Opt::words("format", "FORMAT").help("How to write the variables [default: sh]");
static INSTALL: Opt<bool> = Opt::switch("install")
    .excludes(&["format"])
    .help("Write /etc/profile.d/trustup.sh, so that every login shell sets them");

pub(super) static ROW: CommandRow = CommandRow {
    name: "env",
    about: "Print the variables for programs that do not read the system store (Node, Python, git, cargo, curl, …)",
    after_help: "Examples:
  In a script, after bootstrap:
    eval \"$(trustup env)\"
  For a container:
    trustup env --format docker > ca.env && docker run --env-file ca.env …
  For a Dockerfile:
    trustup --sysroot ./rootfs env --format dockerfile
  For every login shell, until `trustup untrust --all`:
    trustup env --install

Variables that replace a program's roots name the combined bundle, those that add to them the one root. What is set
already is kept, and said; so is a variable that would go before one that is set. JAVA_TOOL_OPTIONS, which only a private
store needs, is added to. `dockerfile` and `docker` lines for another sysroot do not look at the variables of this shell.",
    options: || vec![FORMAT.taken(), INSTALL.taken()],
    reads_variables: true,
    shape: plain,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

async fn run(context: &Context<'_>) -> Result<u8> {
    if context.settings.is(&INSTALL) { install(context).await } else { print(context) }
}

/// Whether this root is one that programs were meant to trust.
fn is_in_stores(anchor: &StoredAnchor) -> bool {
    anchor.status.is_in_system()
}

/// The location of the roots, for the current user.
pub(super) struct Located {
    pub(super) roots: RootLocations,
    /// Places of the system whose roots are all in a private store: images set variables to these, and users of a
    /// private store want more than them.
    superseded: BTreeSet<String>,
}

impl Located {
    /// The current values of the variables, for [`variables`] and `for_command`.
    pub(super) fn current<'a>(&'a self, env: &'a Env) -> impl Fn(&str) -> Option<String> + 'a {
        |name| env.shown(name).filter(|value| !self.superseded.contains(*value)).map(ToOwned::to_owned)
    }

    /// The messages about the variables that named such a place.
    fn replaced(&self, env: &Env) -> Vec<String> {
        let set = TABLE.iter().filter_map(|row| Some((row.name, env.shown(row.name)?)));
        set.filter(|(_, value)| self.superseded.contains(*value))
            .map(|(name, value)| {
                format!(
                    "{name} was set to a bundle of the system, all of which is here: {}",
                    text::escape(value)
                )
            })
            .collect()
    }
}

/// Finds the roots: in the private store, if there is one, else in the system's. The only code that decides it.
///
/// # Errors
/// None was installed, or one of them is no longer where programs read.
pub(super) fn locate(context: &Context, trees: &Trees) -> Result<Located> {
    if let Some(private) = &trees.private
        && let Some((roots, held)) = of_tree(private)?
    {
        return Ok(Located { roots, superseded: superseded(&trees.system, &held)? });
    }
    let closed = state::is_closed(&trees.system)?;
    // Users other than root keep a record of their own of what they changed on `/`.
    if !closed || trees.records_privately() {
        if let Some((roots, _)) = of_tree(&trees.system)? {
            return Ok(Located { roots, superseded: BTreeSet::new() });
        }
        if !closed {
            return Err(nothing_trusted(&trees.system));
        }
    }
    let record = trees.system_record()?;
    let view = View::new(&trees.system, record.ours)?;
    let facts = Facts::gather(&view)?;
    let roots = system_stores(&view, &facts)?.ok_or_else(|| nothing_trusted(&trees.system))?;
    whole(&trees.system, &facts, &roots, &record.state.anchors)?;
    let hint = if record.is_hidden { ["; ", HIDDEN_HINT].concat() } else { String::new() };
    context.ui.say(format!("{HIDDEN}: the variables name the whole bundle{hint}"));
    Ok(Located { roots, superseded: BTreeSet::new() })
}

/// The location of the roots that we installed in this tree, and all that the bundle holds; `None` if there are none.
fn of_tree(sysroot: &Sysroot) -> Result<Option<(RootLocations, BTreeSet<Fingerprint>)>> {
    let state = State::load(sysroot)?;
    let view = View::new(sysroot, state.ours())?;
    let facts = Facts::gather(&view)?;
    let Some(roots) = system_roots(&view, &facts, &state.anchors)? else { return Ok(None) };
    let held = whole(sysroot, &facts, &roots, &state.anchors)?;
    // As programs see them.
    let outside = |path: String| if sysroot.is_private() { sysroot.display(&path) } else { path };
    let RootLocations { bundle, directory, anchor, keystore } = roots;
    let roots = RootLocations {
        bundle: outside(bundle),
        directory: directory.map(outside),
        anchor: anchor.map(outside),
        keystore: keystore.map(outside),
    };
    Ok(Some((roots, held)))
}

/// The content of the bundle, if it is sound and has all of `anchors`, and so has the keystore, if there is one.
fn whole(
    sysroot: &Sysroot,
    facts: &Facts,
    roots: &RootLocations,
    anchors: &[StoredAnchor],
) -> Result<BTreeSet<Fingerprint>> {
    if let Some(keystore) = &roots.keystore {
        holds(sysroot, facts, keystore, "keystore", anchors)?;
    }
    holds(sysroot, facts, &roots.bundle, "bundle", anchors)
}

fn holds(
    sysroot: &Sysroot,
    facts: &Facts,
    path: &str,
    kind: &str,
    anchors: &[StoredAnchor],
) -> Result<BTreeSet<Fingerprint>> {
    let offer = facts.offers.get(path);
    let missing = |anchor: &&StoredAnchor| {
        is_in_stores(anchor) && !offer.is_some_and(|offer| offer.roots.contains_key(&anchor.fingerprint))
    };
    let what = match (offer, anchors.iter().find(missing)) {
        (Some(Offer { damage: Some(damage), .. }), _) => format!("the {kind} is damaged: {damage}"),
        (_, Some(anchor)) => format!("the {kind} lacks {}", anchor.fingerprint),
        (Some(Offer { exists: true, roots, .. }), None) => return Ok(roots.keys().copied().collect()),
        (_, None) => format!("there is no {kind}"),
    };
    Err(Error::not_trusted(what)
        .at(text::escape(&sysroot.display(path)))
        .hint("`trustup bootstrap` with the same options repairs it; `trustup status` shows all stores"))
}

/// The system's places for TLS clients that offer no root other than those in `held`.
fn superseded(system: &Sysroot, held: &BTreeSet<Fingerprint>) -> Result<BTreeSet<String>> {
    let view = View::new(system, State::load(system)?.ours())?;
    let facts = Facts::gather(&view)?;
    let covered =
        facts.offers.into_iter().filter(|(_, offer)| offer.roots.keys().all(|one| held.contains(one)));
    Ok(covered.map(|(path, _)| path).collect())
}

fn print(context: &Context<'_>) -> Result<u8> {
    let (ui, json) = (context.ui, context.ui.json);
    let format = match context.settings.get(&FORMAT).copied() {
        Some(format) if json && format != EnvFormat::Json => {
            return Err(
                Error::usage("`--json` and another `--format` exclude each other").hint("omit one of them")
            );
        }
        Some(format) => format,
        None if json => EnvFormat::Json,
        None => EnvFormat::Sh,
    };
    let trees = context.trees()?;
    let sysroot = &trees.system;
    let located = locate(context, &trees)?;
    let for_container = matches!(format, EnvFormat::Dockerfile | EnvFormat::Docker);
    let looks = sysroot.is_host() || !for_container;
    let current = located.current(context.env);
    let variables = variables(&located.roots, |name| if looks { current(name) } else { None });
    let set = looks.then(|| context.env.shown(JAVA_OPTIONS)).flatten();
    left_out(&located.roots, set).iter().for_each(|why| ui.warn(why));
    let replaced = if looks { located.replaced(context.env) } else { Vec::new() };
    let lines = match format {
        EnvFormat::Sh => {
            let mut lines = render::sh(&variables)?;
            lines.extend(replaced.iter().map(|line| format!("# {line}")));
            lines
        }
        EnvFormat::Dockerfile => render::dockerfile(&variables)?,
        EnvFormat::Docker => render::docker(&variables)?,
        EnvFormat::Json => {
            // The same rules as for the other formats: readers of the object will put the values into one of them.
            render::sh(&variables)?;
            let rows = variables.iter().map(|variable| EnvVariable {
                name: variable.name,
                value: &variable.value,
                readers: variable.readers,
                kept: variable.kept.is_some(),
                kept_for: variable.kept,
            });
            let RootLocations { bundle, directory, anchor, keystore } = &located.roots;
            ui.object(&EnvReport {
                sysroot: shown_path(sysroot.path()),
                bundle,
                directory: directory.as_deref(),
                anchor: anchor.as_deref(),
                keystore: keystore.as_deref(),
                variables: rows.collect(),
            })?;
            return Ok(0);
        }
    };
    if for_container {
        render::kept(&variables).iter().chain(&replaced).for_each(|line| ui.say(line));
    }
    if !lines.is_empty() {
        ui.data(lines.join("\n"))?;
    }
    Ok(0)
}

/// Writes the file for login shells, through the pipeline: the goal is the current state plus this file.
async fn install(context: &Context<'_>) -> Result<u8> {
    let trees = context.trees()?;
    let sysroot = &trees.system;
    if let Some(private) = &trees.private
        && !State::load(private)?.anchors.is_empty()
    {
        return Err(Error::unsupported(
            "a private store is for one user, and login shells are for all users",
        )
        .at(text::escape(trees.private_path().unwrap_or_default()))
        .hint(format!(
            "put `eval \"$(trustup{} env)\"` into that user's own `~/.profile`",
            trees.options_of_private(context.settings)
        ))
        .hint(if privilege::is_root() {
            "or use the system's stores: `trustup untrust --all` removes the private one, then `trustup bootstrap` and `trustup env --install`"
        } else {
            "or run `trustup bootstrap` and `trustup env --install` as root, for the system's stores"
        }));
    }
    let (ui, dry_run) = (context.ui, context.is_dry_run());
    let options = ReconcileOptions {
        stores: None,
        updater: UpdaterChoice::Auto,
        before_service: false,
        leave_unwritable: false,
        strict: false,
        require_pin: false,
        repair: false,
        dry_run,
        patience: context.timeout(),
        tool_timeout: context.tool_timeout(),
        children: context.children,
        shutdown: context.shutdown,
        stamp: context.stamp()?,
        now: context.env.now(),
    };
    let state = State::load(sysroot)?;
    let target = Target::system(sysroot, &state);
    let outcome = reconcile(target, options, TrustChange::InstallProfile).await?;
    for warning in &outcome.warnings {
        ui.warn(warning);
    }
    if dry_run || ui.verbose {
        ui.plan(&outcome.steps);
    }
    let changed = outcome.changed && !dry_run;
    let file = text::escape(&sysroot.display(profile::PATH));
    ui.say(match (outcome.changed, dry_run) {
        (_, true) => format!("{} steps; nothing was changed (--dry-run)", outcome.steps.len()),
        (true, false) => format!("every login shell from now on reads `{file}`"),
        (false, false) => "nothing to do".to_owned(),
    });
    ui.result(&EnvInstallReport {
        sysroot: shown_path(sysroot.path()),
        row: outcome.row,
        updater: outcome.updater.0,
        changed,
        file: profile::PATH,
        plan: &outcome.steps,
        gained: &outcome.gained,
    })
    .map_err(|lost| {
        let next = "the same command again reports that there is nothing to do";
        outcome.blame(lost.after_work(changed, next), changed)
    })?;
    Ok(0)
}
