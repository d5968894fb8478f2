//! Which trust update does the work: the distribution's program, or the built-in updater. Decided once, from all that
//! was found, with the reason.

use super::ReconcileOptions;
use super::desired_state::DesiredState;
use super::tree_facts::TreeFacts;
use super::unwritable::Guard;
use crate::error::{Error, Result};
use crate::trust::facts::{Chosen, UpdaterChoice, UpdaterUsed};
use crate::trust::updater::BrokenInput;

/// Chooses the updater.
///
/// # Errors
/// The distribution's was asked for, and cannot do the work; with `--strict`, an input file would spoil an output.
pub(super) fn choose_updater(
    tree: &TreeFacts,
    guard: &Guard,
    desired: &DesiredState,
    options: &ReconcileOptions,
) -> Result<Chosen> {
    let TreeFacts { view, facts, .. } = tree;
    // Without an anchor to place, nothing is copied from them.
    let broken = if desired.accepted.wanted.anchors.is_empty() { &[][..] } else { &tree.broken_inputs };
    let builtin = |why: String, notable| Ok(Chosen { updater: UpdaterUsed::Builtin, why, notable });
    if let Some(why) = &guard.failed.tool {
        return builtin(why.clone(), false);
    }
    let choice = options.updater;
    let available = facts.updater(view, choice)?;
    let available = match choice {
        UpdaterChoice::Auto if options.before_service => facts.at_start(view, available)?,
        _ => available,
    };
    let program = match &available.updater {
        UpdaterUsed::Native(program) => Some(program.clone()),
        UpdaterUsed::Builtin => None,
    };
    // With `native`, that program is available: otherwise it was an error already.
    let must_be_native = choice == UpdaterChoice::Native;
    if !broken.is_empty() && (options.strict || must_be_native) {
        return Err(spoilt_bundle(broken));
    }
    let spoilt_for_java =
        program.as_ref().zip(desired.accepted.spoilt_for_java.as_ref()).map(|(program, path)| {
            format!("`{program}` puts every anchor into `{path}`, and Java could then load nothing from it")
        });
    if let (true, Some(why)) = (must_be_native, &spoilt_for_java) {
        return Err(Error::unsupported(why)
            .hint("use `--updater auto`: the built-in updater omits the root from the keystore"));
    }
    if !tree.repair.is_empty() {
        return builtin("the built-in updater repairs what is damaged".to_owned(), false);
    }
    if let Some(BrokenInput { path, fault, .. }) = broken.first() {
        return builtin(format!("`{path}`, {fault}, would spoil the bundle"), false);
    }
    if let Some(why) = spoilt_for_java {
        return builtin(format!("{why}, and does so at the distribution's next update"), true);
    }
    if let Some(program) = program
        && let Some((path, why)) = guard.unwritable_by_tool(facts, &desired.changes, &desired.skipped)?
    {
        let why = format!("`{program}` would have to write `{path}`: {why}");
        return if must_be_native { Err(facts.no_native(&why)) } else { builtin(why, false) };
    }
    Ok(available)
}

/// The error that names every input file that would spoil an output.
fn spoilt_bundle(broken: &[BrokenInput]) -> Error {
    let path = broken.first().map_or("", |input| &input.path);
    let faults: Vec<String> =
        broken.iter().map(|input| format!("`{}`, {}", input.path, input.fault)).collect();
    Error::failed("an input file would make the distribution's CA bundle unreadable")
        .at(path)
        .because(anyhow::anyhow!("{}", faults.join("; ")))
        .hint(format!(
            "move `{path}` out of that directory; if its root is wanted, give the file with `--ca-file`"
        ))
        .hint("`--updater auto` without `--strict` writes a normalized copy into the outputs")
}
