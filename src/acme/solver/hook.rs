//! dns-01 by a program of the user's: `PROGRAM ARGUMENT… present|cleanup FQDN. VALUE`, without a shell (the same call
//! as lego's `exec` provider). It gets none of our secrets (threat T16), and is ended if it hangs.
//!
//! VALUE is a SHA-256 that was computed here, in base64url: 43 characters, always the last argument. One in 64 begins with
//! `-` (threat T20, docs/decisions/0028-acme-messages.md).

use std::time::{Duration, Instant};

use crate::acme::Report;
use crate::acme::order::Answer;
use crate::error::{Error, ErrorKind, Result};
use crate::host::shutdown::Shutdown;
use crate::net::Client;
use crate::process::{Children, check_hook, run_hook};
use crate::text;

/// The longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// For removing all records, even when the total time is over.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The program, and the records that it was asked to write.
pub(super) struct Hook<'a> {
    program: &'a str,
    arguments: &'a [String],
    client: &'a Client,
    children: &'a Children,
    present: Vec<[String; 2]>,
}

/// Whether the program may be run: named by its absolute path, and only root and we can replace it or put another in
/// its place.
pub(super) fn check(command: &[String]) -> Result<()> {
    let Some(program) = command.first() else {
        return Err(Error::usage("the DNS hook is empty").hint("`--dns-hook /path/to/program`"));
    };
    if !program.starts_with('/') {
        return Err(Error::usage("the DNS hook must be named by its absolute path")
            .at(text::escape(program))
            .hint("`--dns-hook /path/to/program`: it is run without a shell, and found without PATH"));
    }
    check_hook(program, ("the DNS hook", ErrorKind::Usage))
}

impl<'a> Hook<'a> {
    /// For a command that was checked.
    pub(super) fn new(command: &'a [String], client: &'a Client, children: &'a Children) -> Option<Self> {
        let (program, arguments) = command.split_first()?;
        Some(Hook { program, arguments, client, children, present: Vec::new() })
    }

    /// Has all records written.
    pub(super) async fn put_up(&mut self, answers: &[&Answer], report: &Report<'_>) -> Result<()> {
        for answer in answers {
            let record = [format!("_acme-challenge.{}.", answer.name), answer.dns_value.clone()];
            // Before the call: a failed one may have written it.
            self.present.push(record.clone());
            let left = self.client.left();
            let wrote = self.call(self.client.shutdown(), "present", &record, left.min(CALL_TIMEOUT)).await;
            wrote.map_err(|error| {
                let is_late = error.kind() == ErrorKind::Unreachable && left < CALL_TIMEOUT;
                if is_late { error.hint("`--timeout 10m` gives it more time") } else { error }
            })?;
            report.say(&format!("dns-01: `{}` wrote the record at {}", self.program, record[0]));
        }
        Ok(())
    }

    /// Has all records removed. Returns the errors.
    pub(super) async fn take_away(self) -> Vec<Error> {
        let time = self.time_to_clean_up();
        self.clean_up(time).await
    }

    /// Within `time` for all of them.
    async fn clean_up(self, time: Duration) -> Vec<Error> {
        let until = Instant::now() + time;
        let mut errors = Vec::new();
        for record in self.present.iter().rev() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = Error::unreachable("there was no time left for the DNS hook");
                errors.push(error.at(&record[0]));
                continue;
            }
            // Also after a signal: the next one ends everything.
            let anyway = Shutdown::default();
            errors.extend(self.call(&anyway, "cleanup", record, left.min(CLEANUP_TIMEOUT)).await.err());
        }
        errors
    }

    /// For all records together. While there is plenty of time, many records may take half of it; if we are told to
    /// end, or no time is left, there is a little more.
    fn time_to_clean_up(&self) -> Duration {
        match self.client.shutdown().check() {
            Ok(()) => (self.client.left() / 2).max(CLEANUP_TIMEOUT),
            Err(_) => CLEANUP_TIMEOUT,
        }
    }

    async fn call(
        &self,
        shutdown: &Shutdown,
        action: &str,
        record: &[String; 2],
        timeout: Duration,
    ) -> Result<()> {
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).chain([action, &record[0], &record[1]]).collect();
        let owner = (self.children, shutdown);
        // Another time it may be quicker.
        let ran = run_hook(
            owner,
            self.client.env(),
            self.program,
            &arguments,
            (&[], (timeout, ErrorKind::Unreachable)),
        )
        .await;
        ran.map_err(|error| {
            if error.kind() != ErrorKind::Failed {
                return error;
            }
            // The error names the command with its arguments.
            let uid = crate::host::privilege::uid();
            error.hint(format!("run the command by hand, as this user (uid {uid}), to see its error"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::env::Env;
    use crate::net::{Net, Trust, dns};

    #[test]
    fn records_that_cannot_be_taken_away_take_their_time_together() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let _inside = runtime.enter();
        let (env, names) = (Env::fixed([], 0), dns::ResolverSettings::from_texts(None, None));
        let time = Duration::from_secs(60);
        let net = Net::new(&env, &names, time).expect("net").within(time, None);
        let url = "https://ca.test/".parse().expect("URL");
        let client = net.client(&url, &Trust::Unverified).expect("client");
        let command = ["/bin/sh", "-c", "exec sleep 600"].map(str::to_owned);
        let children = Children::default();
        let mut hook = Hook::new(&command, &client, &children).expect("hook");
        hook.present =
            ["a", "b", "c"].map(|name| [format!("_acme-challenge.{name}."), "value".to_owned()]).into();
        let began = Instant::now();
        let errors = runtime.block_on(hook.clean_up(Duration::from_secs(1)));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let [last, others @ ..] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(last.to_string().contains("was stopped"), "{last}");
        assert!(others.len() == 2 && others.iter().all(|error| error.what().contains("no time left")));
    }
}
