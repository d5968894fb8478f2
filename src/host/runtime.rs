//! The one runtime of this process: a single thread, on which everything that waits is awaited.

use std::os::unix::net::UnixStream;

/// The runtime, for the calling thread.
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
