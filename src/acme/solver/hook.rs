//! dns-01 by a program of the user's: `PROGRAM ARGUMENT… present|cleanup FQDN. VALUE`, without a shell (the same call
//! that lego's `exec` provider makes). It gets none of our secrets (threat T16), and an end if it hangs.

use std::path::Path;
use std::time::Duration;

use crate::acme::Report;
use crate::acme::order::Answer;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::native;
use crate::net::Client;
use crate::sysroot::host;
use crate::text;

/// The longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// For taking a record away, also when the time for everything is over.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

/// One of the ways to run a program.
type Run = fn(&Env, &str, &[&str], Duration) -> Result<()>;

/// The program, and the records that it was asked to write.
pub(super) struct Hook<'a> {
    program: &'a str,
    arguments: &'a [String],
    client: &'a Client,
    present: Vec<[String; 2]>,
}

/// Whether the program may be run: named by its absolute path, and nobody but root and us can replace it.
pub(super) fn check(command: &[String]) -> Result<()> {
    let Some(program) = command.first() else {
        return Err(Error::usage("the DNS hook is empty").hint("`--dns-hook /path/to/program`"));
    };
    if !program.starts_with('/') {
        return Err(Error::usage("the DNS hook must be named by its absolute path").at(text::escape(program)));
    }
    let path = Path::new(program);
    if host::stat(path)?.is_none() {
        return Err(Error::usage("the DNS hook is not there").at(path.display()));
    }
    for path in [Some(path), path.parent()].into_iter().flatten() {
        if let Some(why) = host::writable_by_others(path)? {
            return Err(Error::usage("the DNS hook could be replaced by others")
                .at(path.display())
                .because(anyhow::anyhow!("{why}"))
                .hint(
                    "it and its directory must belong to root or to you, and nobody else may write there",
                ));
        }
    }
    Ok(())
}

impl<'a> Hook<'a> {
    /// For a command that was checked.
    pub(super) fn new(command: &'a [String], client: &'a Client) -> Option<Self> {
        let (program, arguments) = command.split_first()?;
        Some(Hook { program, arguments, client, present: Vec::new() })
    }

    /// Has all records written.
    pub(super) fn put_up(&mut self, answers: &[&Answer], report: &Report<'_>) -> Result<()> {
        for answer in answers {
            let record = [format!("_acme-challenge.{}.", answer.name), answer.dns_value.clone()];
            // Before the call: one that failed half-way may have written it.
            self.present.push(record.clone());
            let timeout = self.client.left().min(CALL_TIMEOUT);
            self.call(native::run_hook, "present", &record, timeout)?;
            report.say(&format!("dns-01: `{}` wrote the record at {}", self.program, record[0]));
        }
        Ok(())
    }

    /// Has all records taken away. The errors, if any.
    pub(super) fn take_away(mut self) -> Vec<Error> {
        self.clean_up()
    }

    fn clean_up(&mut self) -> Vec<Error> {
        let records = std::mem::take(&mut self.present);
        let clean_up = |record| self.call(native::run_hook_after_all, "cleanup", record, CLEANUP_TIMEOUT);
        let called = records.iter().rev().map(clean_up);
        called.filter_map(Result::err).collect()
    }

    fn call(&self, run: Run, action: &str, record: &[String; 2], timeout: Duration) -> Result<()> {
        // Nothing that a server chose may look like an option (threat T20).
        if record.iter().any(|value| value.starts_with('-')) {
            return Err(Error::failed("the DNS hook would get a value that looks like an option"));
        }
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).chain([action, &record[0], &record[1]]).collect();
        run(self.client.env(), self.program, &arguments, timeout)
    }
}

impl Drop for Hook<'_> {
    fn drop(&mut self) {
        // For when nobody waited for us: there is nobody left to tell.
        drop(self.clean_up());
    }
}
