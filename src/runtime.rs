//! The runtime that waits for the network, on the thread that asks for it, and what a signal does to such a wait.
//!
//! By itself a signal ends the process on the spot: nothing here has to be tidied up that the next run does not. Where a
//! command asks for it ([`heed_signals`]), SIGTERM and SIGINT end a wait as an error does: what was put up for others to
//! see is taken down, and locks, keys and files are left as after any failure. As process 1 of a container it is the only
//! way to end at all, since the kernel does nothing to process 1 by itself.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// Set while the default action of the signals applies; not there at all where nobody asked to heed them.
static BY_DEFAULT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGTERM and SIGINT end what [`block_on`] waits for; outside of it they end the process as ever.
///
/// # Errors
/// The system takes no handler.
pub fn heed_signals() -> Result<()> {
    let by_default = Arc::new(AtomicBool::new(true));
    if BY_DEFAULT.set(Arc::clone(&by_default)).is_err() {
        return Ok(());
    }
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&by_default))
            .map_err(no_signals)?;
    }
    Ok(())
}

/// Waits for `future`, on a runtime of its own. Must not be called inside another.
///
/// # Errors
/// The system gives no runtime; a signal came, and `future` was dropped where it waited.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("could not start the network runtime").because(error))?;
    let Some(by_default) = BY_DEFAULT.get() else {
        return Ok(runtime.block_on(future));
    };
    let done = runtime.block_on(async {
        let signals = Signals::new()?;
        by_default.store(false, Ordering::SeqCst);
        tokio::select! {
            biased;
            name = signals.next() => {
                Err(Error::failed(format!("ended by {name}")).hint("run it again: it goes on where this one stopped"))
            }
            done = future => Ok(done),
        }
    });
    by_default.store(true, Ordering::SeqCst);
    done
}

/// SIGTERM and SIGINT, to be waited for. Made inside a runtime.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on none of the two is missed.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(no_signals);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub async fn next(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn no_signals(error: std::io::Error) -> Error {
    Error::failed("could not wait for signals").because(error)
}
