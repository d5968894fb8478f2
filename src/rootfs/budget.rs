//! What one run may read and compute, whatever an image holds (threat T36). Limits of single files do not bound a run: an
//! image of one megabyte can hold hundreds of sparse files of 32 MiB each.
//!
//! A file costs its size, not its allocated blocks, and is charged before memory is allocated for it; so a sparse file
//! costs what it would take. Each path is charged once, with its largest size: plans are made again if something
//! changed, and a run that reads a bundle three times is as legitimate as one that reads it once. Another name of the
//! same file (a hard link) is charged again, since its content is held again.
//!
//! The counters belong to the thread, of which a command has one. A long-running service calls [`begin`] before each
//! round.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::host::read_bounded;
use crate::error::{Error, Result};
use crate::text;

/// Bytes in one MiB.
const MIB: u64 = 1024 * 1024;

/// The least that a file costs, in bytes: opening many empty files takes time and memory, too.
const LEAST: u64 = 1024;

/// Certificates that are parsed in one run, each once. The trust stores of a large distribution hold about 500.
pub(crate) const CERTIFICATES: u64 = 20_000;

/// Iterations of key derivation in stores that were not named, in one run. A keystore of keytool takes 20,000 to open,
/// and is opened a few times.
pub(crate) const ITERATIONS: u64 = 10_000_000;

/// How long one run waits for programs that are writing in databases.
pub(crate) const WAITING: Duration = Duration::from_secs(3);

/// The purpose of reading a file; each has a budget of its own, so that one cannot use up that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Category {
    /// Trust stores of the distribution, their inputs, and certificates that the user names. They stay in memory, and
    /// plans hold copies of them.
    Trust,
    /// Trust stores of one file that a search found.
    Stores,
    /// Databases that a search found.
    Databases,
    /// What `doctor` reads of the programs of its table, and of libraries.
    Programs,
    /// What its search for other programs reads of every executable file. It keeps nothing of that in memory.
    Search,
    /// Everything else.
    Other,
}

impl Category {
    const ALL: [Category; 6] = [
        Category::Trust,
        Category::Stores,
        Category::Databases,
        Category::Programs,
        Category::Search,
        Category::Other,
    ];

    /// The bytes of all files together.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Category::Trust | Category::Programs => 64 * MIB,
            Category::Stores | Category::Databases => 32 * MIB,
            Category::Search | Category::Other => 256 * MIB,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Category::Trust => "the trust stores and certificate files of this run",
            Category::Stores => "the keystores that a search found",
            Category::Databases => "the NSS databases that a search found",
            Category::Programs => "the parts of programs that a run looks at",
            Category::Search => "the parts of executable files that a search looks at",
            Category::Other => "the files that this run reads",
        }
    }
}

/// How much of one budget was used, and by which paths.
#[derive(Debug, Default)]
struct BudgetAccount {
    by_place: HashMap<String, u64>,
    spent: u64,
}

impl BudgetAccount {
    /// Notes that `place` needs `cost` in total; `false`, with nothing noted, if that is beyond `limit`.
    fn pay(&mut self, place: &str, cost: u64, limit: u64) -> bool {
        let before = self.by_place.get(place).copied().unwrap_or(0);
        let spent = self.spent.saturating_add(cost.saturating_sub(before));
        if spent > limit {
            return false;
        }
        if cost > before {
            self.by_place.insert(place.to_owned(), cost);
            self.spent = spent;
        }
        true
    }

    /// The place with the largest cost, `place` with `cost` included.
    fn largest<'a>(&'a self, place: &'a str, cost: u64) -> (&'a str, u64) {
        let others = self.by_place.iter().map(|(place, cost)| (place.as_str(), *cost));
        // Of several with the same cost the first by name, so that the message is the same in every run.
        others
            .chain([(place, cost)])
            .max_by_key(|(place, cost)| (*cost, Reverse(*place)))
            .unwrap_or((place, cost))
    }
}

#[derive(Debug, Default)]
struct CurrentBudgets {
    bytes: [BudgetAccount; 6],
    certificates: BudgetAccount,
    iterations: BudgetAccount,
    waited: Duration,
    /// The first refusal that concerns the system's own trust stores: what, and the hint.
    refused: Option<(String, String)>,
}

thread_local! {
    static RUN: RefCell<CurrentBudgets> = RefCell::default();
}

/// Begins another run: no budget is used yet.
pub(crate) fn begin() {
    RUN.with_borrow_mut(|run| *run = CurrentBudgets::default());
}

/// Charges for a file of `size` bytes at `place` (the path as it is shown), before it is read. A path that was charged
/// already is charged for its growth since, from the budget that it was first read for.
///
/// # Errors
/// All files of this category together would be larger than its limit; the error names the largest.
pub(crate) fn pay(category: Category, place: &str, size: u64) -> Result<()> {
    RUN.with_borrow_mut(|run| {
        let cost = size.max(LEAST);
        let known = Category::ALL.into_iter().find(|of| run.bytes[*of as usize].by_place.contains_key(place));
        let category = known.unwrap_or(category);
        let account = &mut run.bytes[category as usize];
        if account.pay(place, cost, category.limit()) {
            return Ok(());
        }
        let (largest, bytes) = account.largest(place, cost);
        let largest = text::escape(largest);
        let what = format!(
            "{} have more than {} MiB together; the largest is `{largest}` with {} KiB",
            category.words(),
            category.limit() / MIB,
            bytes.div_ceil(1024)
        );
        let hint = format!("check `{largest}`: if it holds no roots that you need, move it to another directory, and run again");
        Err(run.refuse(category == Category::Trust, what, hint))
    })
}

/// Reads `file`, which has `size` bytes and is shown as `place`, to its end; charges for it before.
///
/// # Errors
/// It has more than `limit` bytes, cannot be read, or the budget of this run is used up.
pub(super) fn read(file: &OwnedFd, size: u64, limit: u64, place: &str) -> Result<Vec<u8>> {
    if size <= limit {
        pay(Category::Other, place, size)?;
    }
    let bytes = read_bounded(file, size, limit)?;
    // Files of procfs have no size, others grow while they are read.
    pay(Category::Other, place, bytes.len() as u64)?;
    Ok(bytes)
}

/// Counts certificates of the file at `place` that are parsed for the first time in this run; `count` is the number in
/// that file so far.
///
/// # Errors
/// The run has parsed [`CERTIFICATES`] already; the error names the file with the most.
pub(crate) fn certificates(place: &str, count: u64) -> Result<()> {
    RUN.with_borrow_mut(|run| {
        if run.certificates.pay(place, count, CERTIFICATES) {
            return Ok(());
        }
        let (largest, most) = run.certificates.largest(place, count);
        let largest = text::escape(largest);
        let what = format!(
            "the files of this run hold more than {CERTIFICATES} certificates; `{largest}` has the most, {most} or more"
        );
        let hint = format!(
            "check `{largest}`: a distribution has a few hundred roots; remove those that you do not need, and run again"
        );
        Err(run.refuse(true, what, hint))
    })
}

/// How many more certificates of the file at `place` may be parsed in this run, including those parsed already.
pub(crate) fn certificates_left(place: &str) -> u64 {
    RUN.with_borrow(|run| {
        let account = &run.certificates;
        (CERTIFICATES - account.spent) + account.by_place.get(place).copied().unwrap_or(0)
    })
}

/// Reserves `count` iterations of key derivation for the store at `place`, which was not named: all that this run will
/// compute for it.
///
/// # Errors
/// That is more than is left of [`ITERATIONS`].
pub(crate) fn iterations(place: &str, count: u64) -> Result<()> {
    RUN.with_borrow_mut(|run| {
        if run.iterations.pay(place, count, ITERATIONS) {
            return Ok(());
        }
        let (largest, most) = run.iterations.largest(place, count);
        Err(Error::unsupported(format!(
            "stores that a search found may take {ITERATIONS} iterations of key derivation together, and this one takes {count} (`{}` takes the most, {most})",
            text::escape(largest)
        )))
    })
}

/// How much longer this run may wait for programs that are writing in databases.
pub(crate) fn patience() -> Duration {
    RUN.with_borrow(|run| WAITING.saturating_sub(run.waited))
}

/// Notes that the run waited.
pub(crate) fn waited(time: Duration) {
    RUN.with_borrow_mut(|run| run.waited += time);
}

/// Fails if a trust store or an input of the system was refused in this run, even if the caller took it for a damaged
/// file: nothing may be planned from only a part.
///
/// # Errors
/// The first such refusal.
pub(crate) fn check() -> Result<()> {
    RUN.with_borrow(|run| match &run.refused {
        Some((what, hint)) => Err(Error::failed(what).hint(hint)),
        None => Ok(()),
    })
}

impl CurrentBudgets {
    fn refuse(&mut self, is_of_the_system: bool, what: String, hint: String) -> Error {
        let error = Error::failed(&what).hint(&hint);
        if is_of_the_system {
            self.refused.get_or_insert((what, hint));
        }
        error
    }
}
