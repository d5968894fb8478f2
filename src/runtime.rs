//! The runtime that waits for the network, on the calling thread, and the effect of a signal on such a wait.
//!
//! By default a signal ends the process at once: nothing here needs cleanup that the next run does not do. If a command
//! requests it ([`heed_signals`]), SIGTERM and SIGINT end a wait like an error: what was published is removed, and
//! locks, keys and files are left as after any failure. As process 1 of a container this is the only way to end at all,
//! since the kernel has no default action for process 1.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// The state shared by signal handlers and waits; absent unless signals are handled.
static HEEDED: OnceLock<Heeded> = OnceLock::new();

struct Heeded {
    /// Whether the default action applies: while nothing waits.
    by_default: Arc<AtomicBool>,
    /// The number of the signal that came during a wait; 0 for none. It was meant for the whole command.
    came: Arc<AtomicUsize>,
}

/// From now on SIGTERM and SIGINT end what [`block_on`] waits for; outside of it they end the process as before, even
/// as process 1.
///
/// # Errors
/// The system accepts no handler.
pub(crate) fn heed_signals() -> Result<()> {
    let (by_default, came) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let heeded = Heeded { by_default: Arc::clone(&by_default), came: Arc::clone(&came) };
    if HEEDED.set(heeded).is_err() {
        return Ok(());
    }
    for signal in [SIGTERM, SIGINT] {
        let number = usize::try_from(signal).unwrap_or_default();
        let ends = if rustix::process::getpid().is_init() {
            // There is no default action to fall back on; the exit code is the one that a shell would return.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&by_default))
        } else {
            flag::register_conditional_default(signal, Arc::clone(&by_default))
        };
        ends.and_then(|_| flag::register_usize(signal, Arc::clone(&came), number)).map_err(no_signals)?;
    }
    Ok(())
}

/// Call this before starting anything else.
///
/// # Errors
/// A signal came while this process waited.
pub(crate) fn check() -> Result<()> {
    let came = HEEDED.get().map_or(0, |heeded| heeded.came.load(Ordering::SeqCst));
    match i32::try_from(came) {
        Ok(0) => Ok(()),
        Ok(SIGINT) => Err(ended_by("SIGINT")),
        _ => Err(ended_by("SIGTERM")),
    }
}

/// Waits for `future`, on a runtime of its own. Must not be called inside another runtime.
///
/// # Errors
/// The system provides no runtime; a signal came, now or in an earlier wait, and `future` was dropped where it waited.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    check()?;
    block_on_after_all(future)
}

/// [`block_on`] for cleaning up at the end, even if a signal came already; the next one ends it.
///
/// # Errors
/// The system provides no runtime; a signal came.
pub(crate) fn block_on_after_all<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime =
        build().map_err(|error| Error::failed("could not start the network runtime").because(error))?;
    let Some(heeded) = HEEDED.get() else {
        return Ok(runtime.block_on(future));
    };
    let done = runtime.block_on(async {
        let signals = Signals::new()?;
        heeded.by_default.store(false, Ordering::SeqCst);
        tokio::select! {
            biased;
            name = signals.next() => Err(ended_by(name)),
            done = future => Ok(done),
        }
    });
    heeded.by_default.store(true, Ordering::SeqCst);
    done
}

/// A runtime for the calling thread.
///
/// # Errors
/// The system provides none.
pub(crate) fn build() -> std::io::Result<tokio::runtime::Runtime> {
    // tokio panics if it gets no socket pair for signals, which comes after epoll, a copy of it and its waker: five
    // descriptors must be available at once.
    let room = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    drop(room);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// SIGTERM and SIGINT, to wait for. Made inside a runtime.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on neither of the two is missed.
    ///
    /// # Errors
    /// The system accepts no handler.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(no_signals);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub(crate) async fn next(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn ended_by(name: &str) -> Error {
    Error::failed(format!("ended by {name}")).hint("run it again")
}

fn no_signals(error: std::io::Error) -> Error {
    Error::failed("could not wait for signals").because(error)
}
