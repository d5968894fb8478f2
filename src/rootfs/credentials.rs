//! Work in a directory of another user is done with that user's rights (threats T13 and T35): in a separate thread that
//! ends afterwards, since Linux keeps credentials per thread, and the others keep theirs.

use std::thread;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Runs `work` as `user` (user and group id, no other groups); with `None`, as the current user.
///
/// # Errors
/// Those of `work`; or the credentials cannot be changed (no `CAP_SETUID`, an id that a user namespace does not map),
/// and then nothing was run.
pub(super) fn as_user<T: Send>(
    user: Option<(u32, u32)>,
    work: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Errno> {
    let Some((uid, gid)) = user else { return work() };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    thread::scope(|scope| {
        let run = move || {
            set_thread_groups(&[])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            work()
        };
        let thread = thread::Builder::new().spawn_scoped(scope, run).map_err(|_| Errno::AGAIN)?;
        thread.join().unwrap_or(Err(Errno::IO))
    })
}
