//! One certificate of the daemon: its request, its record, and when to look at it next.

use crate::certificate::issue::IssueRequest;
use crate::error::ErrorKind;
use crate::renew::record::{RenewalRecord, kind_word};
use crate::renew::schedule;
use crate::rootfs::Sysroot;
use crate::settings::Hook;

/// One certificate.
pub(super) struct Entry {
    pub(super) request: IssueRequest,
    pub(super) record: RenewalRecord,
    /// When it is looked at next, seconds since 1970.
    pub(super) renew_at: i64,
    /// When its CA is asked next when it wants it renewed; `None` if that is not known, or never.
    pub(super) ask_at: Option<i64>,
    /// Whether it is renewed then even if it is not due.
    pub(super) is_forced: bool,
    /// How many signals had asked to renew everything when work on it began.
    pub(super) asked: u64,
    /// Those of its hooks that run after a change of the trust stores: a hook of several certificates runs once.
    pub(super) trust_hooks: Vec<Hook>,
    /// How many changes of the trust stores its hooks were told of.
    pub(super) trust_changes: usize,
    /// Its files when it was looked at last.
    seen: Vec<Option<FileStamp>>,
}

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    identity: (u64, u64),
    changed: (i64, u32),
}

impl FileStamp {
    /// That of the file at `path`, if there is one that can be seen.
    pub(super) fn of(host: &Sysroot, path: &str) -> Option<Self> {
        let meta = host.stat(path).ok().flatten()?;
        Some(FileStamp { identity: meta.identity, changed: meta.changed })
    }
}

impl Entry {
    /// A certificate that is to be looked at `now` (seconds since 1970).
    pub(super) fn new(request: IssueRequest, record: RenewalRecord, now: i64) -> Self {
        Entry {
            request,
            record,
            renew_at: now,
            ask_at: None,
            is_forced: false,
            asked: 0,
            trust_hooks: Vec::new(),
            trust_changes: 0,
            seen: Vec::new(),
        }
    }

    /// As [`Entry::new`], when the daemon starts: a CA that could not be reached is left alone as long as before.
    pub(super) fn restarted(request: IssueRequest, record: RenewalRecord, now: i64) -> Self {
        let millis = |seconds: i64| seconds.saturating_mul(1000);
        let life = record.life();
        let away = kind_word(ErrorKind::Unreachable);
        let failure = record.failure.as_ref().filter(|failure| failure.kind == away);
        let next = failure.zip(record.next_attempt).map(|(failure, next)| {
            schedule::after_restart(life.as_ref(), millis(failure.last), millis(next), millis(now)) / 1000
        });
        Entry { renew_at: next.unwrap_or(now), ..Entry::new(request, record, now) }
    }

    /// When something is to be done for it.
    pub(super) fn next(&self) -> i64 {
        let hooks = self.record.hooks.iter().map(|hook| hook.next_attempt);
        hooks.chain(self.ask_at).fold(self.renew_at, i64::min)
    }

    /// Remembers the files as they are now.
    pub(super) fn remember_files(&mut self, host: &Sysroot) {
        self.seen = self.stamps(host);
    }

    /// Whether another program replaced, wrote or removed one of the files.
    pub(super) fn has_other_files(&self, host: &Sysroot) -> bool {
        self.seen != self.stamps(host)
    }

    fn stamps(&self, host: &Sysroot) -> Vec<Option<FileStamp>> {
        let stamp = |path: &String| FileStamp::of(host, path);
        [&self.request.outputs.cert, &self.request.outputs.key].into_iter().map(stamp).collect()
    }
}
