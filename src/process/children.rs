//! The one owner of child processes, of SIGCHLD and of exit statuses.
//!
//! A child is waited for by its number, so that its status goes to whoever started it. As process 1, or as a subreaper
//! (prctl(2)), this process also gets the orphans of its children: whoever waits for a child removes them (waitpid(2)).

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use signal_hook::consts::SIGCHLD;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// All children of this process.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<BTreeSet<i32>>>);

/// A child that leads a process group of its own. Dropped, it is killed with its group.
#[derive(Debug)]
pub(crate) struct Child {
    children: Children,
    process: std::process::Child,
    ends: SignalStream,
    is_reaped: bool,
}

impl Children {
    /// Starts `command` in a process group of its own. Only the three standard descriptors are inherited.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // Before it is started, and also if our caller blocked it: its end is not missed.
        let ends = signal(SignalKind::from_raw(SIGCHLD))?;
        nix::sys::signal::SigSet::from_iter([nix::sys::signal::Signal::SIGCHLD]).thread_unblock()?;
        close_fds::set_fds_cloexec(3, &[]);
        // Locked meanwhile: what is not listed is an orphan.
        let mut known = self.known();
        let process = command.process_group(0).spawn()?;
        known.insert(Pid::from_child(&process).as_raw_nonzero().get());
        drop(known);
        Ok(Child { children: self.clone(), process, ends, is_reaped: false })
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes orphans that have ended, if this process gets any.
    fn reap_orphans(&self) {
        let gets_orphans =
            rustix::process::getpid().is_init() || nix::sys::prctl::get_child_subreaper().unwrap_or(false);
        if !gets_orphans {
            return;
        }
        let known = self.known();
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(ended) = waitid(Id::All, look) {
            // A child of ours is left to its owner, who then comes back for the rest.
            let Some(pid) = ended.pid().filter(|pid| !known.contains(&pid.as_raw())) else { return };
            if waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG).is_err() {
                return;
            }
        }
    }
}

impl Child {
    /// Waits until it has exited. It is not removed, so that its number still names its group.
    pub(super) async fn exited(&mut self) {
        loop {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            // An error is reported by [`Child::reap`].
            if !matches!(rustix::process::waitid(WaitId::Pid(self.pid()), options), Ok(None)) {
                return;
            }
            self.children.reap_orphans();
            self.ends.recv().await;
        }
    }

    /// Sends `signal` to its process group.
    pub(super) fn signal_group(&self, signal: Signal) {
        // If it is already gone, nothing is left to end.
        let _ = rustix::process::kill_process_group(self.pid(), signal);
    }

    /// Waits until it has exited, removes it, and returns its status.
    ///
    /// # Errors
    /// The system has no status of it.
    pub(super) async fn reap(mut self) -> io::Result<ExitStatus> {
        self.exited().await;
        self.remove()
    }

    fn remove(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        let status = self.process.wait();
        self.children.known().remove(&self.pid().as_raw_nonzero().get());
        self.children.reap_orphans();
        status
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.signal_group(Signal::KILL);
            // A moment: nothing ignores that signal.
            let _ = self.remove();
        }
    }
}
