//! SIGKILL right before every step on real roots (`TRUSTUP_TEST_KILL_AT`, in debug builds): every path that a finished
//! run changes is the old or the new one, the next run completes, and `untrust` gives back the first tree.

use crate::support::ca;
use crate::support::roots::{Base, RootFs, STATE};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

/// Runs with a kill before step 1, 2, …, each followed by `check`, until a run ends by itself; returns how many died.
#[track_caller]
fn kill_at_every_step(run: impl Fn() -> Trustup, mut check: impl FnMut(usize)) -> usize {
    for step in 1..1000 {
        let run = run().killed_at(step).run();
        match run.code {
            None => check(step),
            Some(0) => return step - 1,
            Some(_) => panic!("step {step}: {run}"),
        }
    }
    panic!("a thousand steps and no end");
}

/// Whatever `old` and `new` differ in is as in one of them; everything else stands.
#[track_caller]
fn old_or_new(now: &Tree, old: &Tree, new: &Tree, when: &str) {
    let changed = old.changed_paths(new);
    for path in &changed {
        let line = now.lines.get(path);
        let fine = line == old.lines.get(path) || line == new.lines.get(path);
        assert!(fine, "{when}: {path} is neither old nor new: {line:?}");
    }
    for (path, line) in &old.lines {
        if !changed.contains(path) {
            assert_eq!(now.lines.get(path), Some(line), "{when}: {path}");
        }
    }
}

/// The names of the files of the state: no temporary one may stay there either.
fn state_files(root: &RootFs) -> Vec<String> {
    Tree::of(&root.at(STATE)).lines.into_keys().collect()
}

#[track_caller]
fn killed_on(base: Base) {
    let root = base.copy();
    let [first, second] = [ca::root("Here before the Kill"), ca::root("Kill")];
    let before = Tree::of(root.path());
    // With an anchor there already, state and journal have something to lose too.
    let earlier = first.write(root.exchange(), "first.pem");
    let file = second.write(root.exchange(), "root.pem");
    // Keystores hold dates: all the same here, so that trees can be compared.
    let dated = |run: Trustup| run.env("SOURCE_DATE_EPOCH", "1700000000");
    let bootstrap =
        |root: &RootFs| dated(root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"])).arg(&file);
    let untrust = |root: &RootFs| dated(root.trustup(["untrust", "--fingerprint", &second.pin()]));

    dated(root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"])).arg(&earlier).ok();
    let old = root.tree();
    let own_files = state_files(&root);
    let model = root.twin();
    bootstrap(&model).ok();
    let new = model.tree();
    assert!(old.differences(&new).len() > 1, "a run that changes nothing proves nothing");

    let steps = kill_at_every_step(
        || bootstrap(&root),
        |step| {
            old_or_new(&root.tree(), &old, &new, &format!("bootstrap killed at step {step}"));
            bootstrap(&root).ok();
            new.assert_same(&root.tree(), &format!("the run after the kill at step {step}"));
            untrust(&root).ok();
            old.assert_same(&root.tree(), &format!("untrust after step {step}"));
            assert_eq!(state_files(&root), own_files, "leftovers after step {step}");
        },
    );
    assert!(steps >= 2, "only {steps} steps");

    let steps = kill_at_every_step(
        || untrust(&root),
        |step| {
            old_or_new(&root.tree(), &old, &new, &format!("untrust killed at step {step}"));
            untrust(&root).ok();
            old.assert_same(&root.tree(), &format!("the untrust after step {step}"));
            assert_eq!(state_files(&root), own_files, "leftovers after step {step}");
            bootstrap(&root).ok();
        },
    );
    assert!(steps >= 2, "only {steps} steps");
    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust of all");
}

/// The very first run on a root, so that directories and state are new as well.
#[track_caller]
fn first_run_killed_on(base: Base) {
    let root = base.copy();
    let before = Tree::of(root.path());
    let ca = ca::root("Kill the First");
    let file = ca.write(root.exchange(), "root.pem");
    let bootstrap =
        |root: &RootFs| root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(&file);
    let old = root.tree();
    let model = root.twin();
    bootstrap(&model).ok();
    let new = model.tree();
    let steps = kill_at_every_step(
        || bootstrap(&root),
        |step| {
            old_or_new(&root.tree(), &old, &new, &format!("killed at step {step}"));
            // Taking out what never came in clears the leftovers as well.
            if step % 2 == 0 {
                bootstrap(&root).ok();
                new.assert_same(&root.tree(), &format!("the run after the kill at step {step}"));
            }
            root.trustup(["untrust", "--all"]).ok();
            before.assert_same(&Tree::of(root.path()), &format!("untrust after step {step}"));
        },
    );
    assert!(steps >= 2, "only {steps} steps");
}

macro_rules! killed {
    ($($name:ident: $function:ident($base:ident);)*) => {$(
        #[test]
        #[ignore = "needs root and real root file systems"]
        fn $name() {
            $function(Base::$base);
        }
    )*};
}

killed! {
    debian_12: killed_on(Debian12);
    debian_12_bare: killed_on(Debian12Bare);
    alpine: killed_on(Alpine);
    red_hat: killed_on(RedHat);
    debian_12_first_run: first_run_killed_on(Debian12);
    debian_12_bare_first_run: first_run_killed_on(Debian12Bare);
    alpine_first_run: first_run_killed_on(Alpine);
}
