//! Points at which the crash tests kill us, so that every instant of a change can be inspected, and others stop us, to
//! change something at that instant. Does nothing outside debug builds.

use rustix::process::Signal;

use crate::host::env;

/// The checkpoints that a run passes between two changes: each has a number, and a name of what comes next.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints(usize);

impl Checkpoints {
    /// For what is not a step of a change: nothing is counted, and no process is killed.
    pub(crate) fn off() -> Self {
        Checkpoints(usize::MAX)
    }

    /// Passes the next checkpoint, before `step` of `path`: the process ends here if the test named its number, or
    /// `STEP PATH`.
    pub(crate) fn pass(&mut self, step: &str, path: &str) {
        if self.0 == usize::MAX {
            return;
        }
        self.0 += 1;
        for (hook, signal) in [(env::TestHook::StopAt, Signal::STOP), (env::TestHook::KillAt, Signal::KILL)] {
            let Some(wanted) = env::test_hook(hook) else { continue };
            let here = match wanted.parse::<usize>() {
                Ok(number) => self.0 == number,
                Err(_) => wanted.split_once(' ') == Some((step, path)),
            };
            if here {
                let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
            }
        }
    }
}
