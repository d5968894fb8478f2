//! The pipeline: applies a [`TrustChange`] to a root file system. Gather, plan, apply, verify, record: bootstrap and
//! untrust differ only in the change.

mod absent;
mod accepted_anchors;
mod carry_out;
mod change;
mod chosen_stores;
mod desired_state;
mod firefox;
mod gains;
mod goal;
mod outcome;
mod proof;
mod recorded;
mod run_plan;
mod runtimes;
mod summary;
mod tree_facts;
mod unwritable;
mod updater_choice;

pub(crate) use self::absent::describe as describe_doubt;
use self::accepted_anchors::accept_anchors;
pub(crate) use self::change::{NewTrust, Removal, TrustChange, nothing_trusted};
use self::chosen_stores::{choose_stores, find_stores};
use self::desired_state::desire;
pub(crate) use self::firefox::policy_holds;
use self::gains::Baseline;
pub(crate) use self::gains::Gain;
use self::goal::Goal;
pub(crate) use self::goal::{ReconcileOptions, Target};
pub(crate) use self::outcome::{AnchorOutcome, AnchorView, Outcome, RemovedView, StoreView};
use self::run_plan::{RunPlan, plan_run};
pub(crate) use self::runtimes::{Extra, system_roots, system_stores};
use self::tree_facts::TreeFacts;
pub(crate) use self::unwritable::Skipped;
use self::unwritable::{FailedAttempts, Guard};
use self::updater_choice::choose_updater;
use crate::error::Result;
use crate::trust::apply::{Session, refusal};
use crate::trust::facts::UpdaterChoice;
use crate::trust::state::State;

/// The stages from a tree to the plan for it: the facts, the stores beside the family's outputs, the anchors that the
/// tree accepts, what those stores should hold, the state that is desired of everything, who writes it, and the steps.
/// Each only reads.
async fn plan_tree<'a>(
    target: Target<'a>,
    options: ReconcileOptions<'a>,
    change: TrustChange<'_>,
    failed: &FailedAttempts,
) -> Result<RunPlan<'a>> {
    let tree = TreeFacts::gather(target, &options, change)?;
    let guard = Guard::new(&tree.view, &options, failed)?;
    let found = find_stores(&tree, &options).await?;
    let accepted = accept_anchors(&tree, found.as_ref(), &guard, &options)?;
    let stores = choose_stores(&tree, found, &accepted)?;
    let desired = desire(&tree, &guard, accepted, stores, &options)?;
    let updater = choose_updater(&tree, &guard, &desired, &options)?;
    plan_run(tree, desired, updater, failed, options)
}

/// Applies `change` to `target`.
///
/// # Errors
/// Anything that cannot be read, planned, applied or proven; what was changed is undone, or named.
pub(crate) async fn reconcile<'a>(
    target: Target<'a>,
    options: ReconcileOptions<'a>,
    change: TrustChange<'_>,
) -> Result<Outcome> {
    let Target { sysroot, state, .. } = target;
    // The journal of a newer trustup is refused before anything is planned.
    crate::trust::apply::was_killed(sysroot)?;
    let mut failed = FailedAttempts::default();
    let first = plan_tree(target, options, change, &failed).await?;
    let baseline = Baseline::of(&first).await?;
    let journal = first.journal_gains(change)?;
    let foreseen = first.foreseen_gains(&baseline, state, &journal, options)?;
    if options.dry_run || first.cannot_write_anything(options)? || first.is_done(state)? {
        return Ok(first.outcome(state, foreseen));
    }
    let session = Session::begin(sysroot, options.patience, options.tool_context());
    let (mut session, recovered) = match options.shutdown.or(session).await.flatten() {
        Ok(session) => session,
        Err(error) => {
            // Without a record nothing may change: then the whole tree counts as unwritable.
            failed.state =
                options.leave_unwritable.then(|| refusal(&error)).flatten().map(|why| why.to_string());
            let plan = plan_tree(target, options, change, &failed).await?;
            return if plan.cannot_write_anything(options)? {
                Ok(plan.outcome(state, Vec::new()))
            } else {
                Err(error)
            };
        }
    };
    sysroot.look_again();
    let again = State::load(sysroot)?;
    let target = Target { state: &again, ..target };
    let mut plan = if recovered || again != *state {
        // Another run was faster, or a killed run was undone: inspect again.
        drop(first);
        plan_tree(target, options, change, &failed).await?
    } else {
        first
    };
    let current = target.state;
    plan.warnings.extend(session.recovery_notes());
    loop {
        plan.foreseen_gains(&baseline, current, &journal, options)?;
        let native = plan.native_with_openssl().filter(|_| options.updater == UpdaterChoice::Auto);
        let pem = plan.wanted.anchors.first().map(|anchor| anchor.certificate.to_pem()).unwrap_or_default();
        let error = match plan.carry_out(&mut session, (current, &baseline, &journal), options).await {
            Err(error) if error.changed().is_empty() => error,
            done => return done,
        };
        // Everything is as before the run.
        match (session.refused().filter(|_| options.leave_unwritable), native) {
            // What the kernel refuses is skipped, like everything else that cannot be written.
            (Some((path, why)), _) if path == sysroot.state_directory() => {
                failed.state = Some(why.to_string())
            }
            (Some((path, why)), _) => failed.note(&path, &why.to_string()),
            // The built-in updater does what the tool could not.
            (None, Some((program, uses_openssl))) => {
                if !session.tool_is_at_fault(uses_openssl, &pem).await {
                    return Err(error);
                }
                failed.tool = Some(format!("`{program}` failed here, and its changes were undone ({error})"));
            }
            (None, None) => return Err(error),
        }
        sysroot.look_again();
        plan = plan_tree(target, options, change, &failed).await?;
        if plan.cannot_write_anything(options)? {
            return Ok(plan.outcome(current, Vec::new()));
        }
    }
}
