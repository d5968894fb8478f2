//! The signals that ask this process to end, as one value that is passed down to whatever waits.
//!
//! A command that waits for servers handles them ([`Shutdown::handle`]): the first one ends every wait like an error, so
//! that what was published is removed, and locks, keys and files are left as after any failure. The second one ends the
//! process at once. Every other command keeps the default action, also as process 1 of a container, for which the
//! kernel has none. A daemon has other uses for two of them ([`Shutdown::handle_as_daemon`]).

use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use rustix::fs::{CWD, Mode, OFlags, openat};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// The signals that end a command.
const ENDING: [(i32, &str); 3] = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP")];

/// Whether this process was asked to end, and how to wait for that. The default is never asked.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Option<Arc<Handled>>);

#[derive(Debug)]
struct Handled {
    /// While it is set, a signal has its default action: exit.
    is_default: Arc<AtomicBool>,
    /// The number of the signal that came; 0 for none.
    came: Arc<AtomicUsize>,
    /// The signals that are handled; none before [`Shutdown::handle`].
    signals: OnceLock<Vec<i32>>,
}

impl Shutdown {
    /// That of this process. Call it once. As process 1, signals have a default action from now on: the exit code is
    /// the one that a shell would return.
    ///
    /// # Errors
    /// The system accepts no handler.
    pub fn of_process() -> Result<Self> {
        let handled = Handled {
            is_default: Arc::new(AtomicBool::new(true)),
            came: Arc::default(),
            signals: OnceLock::new(),
        };
        if is_process_1() {
            for (signal, _) in ENDING {
                let exit = flag::register_conditional_shutdown(
                    signal,
                    128 + signal,
                    Arc::clone(&handled.is_default),
                );
                exit.map_err(no_signals)?;
            }
        }
        Ok(Shutdown(Some(Arc::new(handled))))
    }

    /// From now on the first signal is only noted, and ends what waits. Ignored signals stay ignored (nohup).
    ///
    /// # Errors
    /// The system accepts no handler.
    pub fn handle(&self) -> Result<()> {
        self.handle_those(not_ignored)
    }

    /// As [`Shutdown::handle`], for a daemon: SIGHUP and SIGUSR1 do not end it, but are what the result returns.
    ///
    /// # Errors
    /// The system accepts no handler.
    pub(crate) fn handle_as_daemon(&self) -> Result<DaemonSignals> {
        // First, so that none of them has its default action in between.
        let reload = signal(SignalKind::from_raw(SIGHUP)).map_err(no_signals)?;
        let renew = signal(SignalKind::from_raw(SIGUSR1)).map_err(no_signals)?;
        self.handle_those(|| not_ignored().into_iter().filter(|signal| *signal != SIGHUP).collect())?;
        Ok(DaemonSignals { reload, renew })
    }

    fn handle_those(&self, which: impl FnOnce() -> Vec<i32>) -> Result<()> {
        let Some(Handled { is_default, came, signals }) = self.0.as_deref() else { return Ok(()) };
        if !is_default.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        for &signal in signals.get_or_init(which) {
            // In this order: the first signal sets the flag after the action of the second was passed by.
            if !is_process_1() {
                flag::register_conditional_default(signal, Arc::clone(is_default)).map_err(no_signals)?;
            }
            flag::register(signal, Arc::clone(is_default)).map_err(no_signals)?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(came), number).map_err(no_signals)?;
        }
        Ok(())
    }

    /// Call this before starting anything else.
    ///
    /// # Errors
    /// A signal came.
    pub(crate) fn check(&self) -> Result<()> {
        let came = self.0.as_ref().map_or(0, |handled| handled.came.load(Ordering::SeqCst));
        let signal = ENDING.iter().find(|(signal, _)| usize::try_from(*signal) == Ok(came));
        signal.map_or(Ok(()), |(_, name)| Err(ended_by(name)))
    }

    /// Returns when a signal has come, as the error that tells it.
    pub(crate) async fn requested(&self) -> Error {
        let Some(signals) = self.0.as_ref().and_then(|handled| handled.signals.get()) else {
            return pending().await;
        };
        // Before the flag is read: no signal is missed.
        let streams = signals.iter().map(|number| signal(SignalKind::from_raw(*number)));
        let mut streams: Vec<Signal> = match streams.collect() {
            Ok(streams) => streams,
            Err(error) => return no_signals(error),
        };
        loop {
            if let Err(ended) = self.check() {
                return ended;
            }
            poll_fn(|context| {
                // All of them: each must know whom to wake.
                let came = streams.iter_mut().filter_map(|stream| match stream.poll_recv(context) {
                    Poll::Ready(_) => Some(()),
                    Poll::Pending => None,
                });
                if came.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Awaits `future`, which is dropped if a signal comes first, or came before.
    ///
    /// # Errors
    /// The signal.
    pub(crate) async fn or<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        self.check()?;
        tokio::select! {
            biased;
            ended = self.requested() => Err(ended),
            done = future => Ok(done),
        }
    }
}

/// What a signal asks a daemon to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DaemonRequest {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: renew now.
    Renew,
}

/// The signals that a daemon handles without ending.
#[derive(Debug)]
pub(crate) struct DaemonSignals {
    reload: Signal,
    renew: Signal,
}

impl DaemonSignals {
    /// The next one. Several of one kind that came before count as one.
    pub(crate) async fn next(&mut self) -> DaemonRequest {
        let next = tokio::select! {
            biased;
            came = self.reload.recv() => came.map(|()| DaemonRequest::Reload),
            came = self.renew.recv() => came.map(|()| DaemonRequest::Renew),
        };
        match next {
            Some(next) => next,
            // The runtime ends.
            None => pending().await,
        }
    }
}

fn is_process_1() -> bool {
    rustix::process::getpid().is_init()
}

/// The signals of [`ENDING`] that our caller does not have ignored, as far as /proc tells.
fn not_ignored() -> Vec<i32> {
    let status = own_status().unwrap_or_default();
    let ignored = String::from_utf8_lossy(&status)
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok())
        .unwrap_or_default();
    let ending = ENDING.iter().map(|(signal, _)| *signal);
    ending.filter(|signal| ignored & (1 << (signal - 1)) == 0).collect()
}

/// What the kernel says about this process, as far as one read returns it.
fn own_status() -> rustix::io::Result<Vec<u8>> {
    let file = openat(CWD, "/proc/self/status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut status = vec![0; 64 * 1024];
    let length = rustix::io::read(file, &mut status)?;
    status.truncate(length);
    Ok(status)
}

fn ended_by(name: &str) -> Error {
    Error::failed(format!("ended by {name}")).hint("run it again")
}

fn no_signals(error: std::io::Error) -> Error {
    Error::failed("could not wait for signals").because(error)
}
