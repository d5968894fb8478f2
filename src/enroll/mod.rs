//! Enrollment: a certificate and its key, where there is no good one. Request → facts → decision → what the CA issued,
//! checked → placed → read back → recorded.
//!
//! Whatever can be checked is checked before anything is spent; the key is on disk before a CA hears of it; what the CA
//! answers is on disk before it is placed. How a certificate is had is each method's own business ([`methods`]).

mod enrolled;
pub mod methods;
mod obtain;
mod outcome;
pub mod trust;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cert::{Certificate, SubjectAltName};
use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::key::{KeyType, PrivateKey};
use crate::net::url::masked;
use crate::pair::check::{self, Roots, Vouched, Wanted};
use crate::pair::decide::{self, Policy, Verdict};
use crate::pair::facts::{self, Good, Standing};
use crate::pair::pending::{self, Attempt, Pending};
use crate::pair::place;
use crate::pair::{Content, Outputs};
use crate::runtime;
use crate::sysroot::{Meta, Sysroot, split};
use crate::text;

use self::enrolled::Enrolled;
pub use self::outcome::{Action, Outcome};

use self::methods::{About, Method};
use self::trust::{Ca, Recorded};
use crate::cert::NotAfter;

/// What is asked for.
pub struct Request {
    /// Names; none where a token says them.
    pub names: Vec<SubjectAltName>,
    /// Where the pair goes.
    pub outputs: Outputs,
    /// The kind of the key.
    pub key_type: KeyType,
    /// How long the certificate is to live; `None` leaves it to the CA.
    pub not_after: Option<NotAfter>,
    /// What the user says of the CA.
    pub ca: trust::Given,
    /// The roots that the issued chain has to end at, where they are not those of the CA's connection.
    pub issuer_root: Option<PathBuf>,
    /// The ways to try, in this order.
    pub methods: Vec<Box<dyn Method>>,
    /// For everything.
    pub timeout: Duration,
    /// A good pair that is not due is replaced all the same.
    pub force: bool,
    /// When a certificate is due.
    pub policy: Policy,
}

/// Where it is done.
pub struct World<'a> {
    /// Variables and clock.
    pub env: &'a Env,
    /// The root file system that we run in.
    pub host: &'a Sysroot,
    /// What bootstrap recorded.
    pub recorded: Recorded,
    /// Nothing is changed and nobody asked.
    pub dry_run: bool,
    /// Says what goes on, in one line.
    pub say: &'a dyn Fn(&str),
    /// Says what is not as it should be.
    pub warn: &'a dyn Fn(&str),
}

/// What is settled before anything is asked or changed.
struct Settled<'a> {
    request: &'a Request,
    ca: Ca,
    names: Vec<SubjectAltName>,
    /// What an earlier enrollment spent.
    spent: Vec<Attempt>,
    began: Instant,
}

/// Sees to it that a good pair stands there.
///
/// Blocks; must not be called inside an async runtime.
///
/// # Errors
/// There is no good pair, and none could be had; what stood there before stands there still, unless the error names it.
pub fn enroll(request: &Request, world: &World<'_>) -> Result<Outcome> {
    request.outputs.validate()?;
    let now = world.env.now();
    let settled = settle(request, world, Instant::now())?;
    let (standing, roots) = look(&settled, world, now)?;
    let (good, reason) = match standing {
        Standing::Nothing => (None, "no certificate was there".to_owned()),
        Standing::Bad(why) => {
            (world.warn)(&format!("what stands there cannot be used: {why}"));
            (None, why)
        }
        Standing::Good(good) => match decide::decide(&good.chain[0], now, request.policy) {
            // One that is valid in a minute is one that the CA issued a moment ago: clocks differ.
            Verdict::Keep(_) | Verdict::NotYetValid(_) if !request.force => {
                return keep(&settled, world, *good, &roots, now);
            }
            Verdict::Keep(_) => (Some(good), "`--force` was given".to_owned()),
            verdict => (Some(good), format!("the certificate {}", verdict.reason())),
        },
    };
    match (replace(&settled, world, &reason, now), good) {
        // It works still: a service that starts now is better off with it than without.
        // Not so where somebody wants us to end: then nothing should be started.
        (Err(error), Some(good))
            if !request.force && error.changed().is_empty() && runtime::check().is_ok() =>
        {
            let outcome = Outcome::new(Action::KeptForNow, reason);
            let outcome = outcome.with_chain(good.chain, good.vouched, &roots, request.policy, now);
            Ok(Outcome { problem: Some(error), ..outcome })
        }
        (done, _) => done,
    }
}

/// Settles whom it is about, by what is said and what is known here.
fn settle<'a>(request: &'a Request, world: &World<'_>, began: Instant) -> Result<Settled<'a>> {
    let kept = kept(world, &request.outputs)?;
    let mut recorded = world.recorded.clone();
    if let Some(kept) = &kept {
        recorded.add_known(kept.roots());
    }
    // A token that cannot be read matters only if it is needed: its method says so then.
    let token = request.methods.iter().find_map(|method| method.token(world.env).ok().flatten());
    let mut ca = trust::resolve(&request.ca, &recorded, token.as_ref())?;
    if let Some(kept) = kept.as_ref().filter(|_| ca.is_unknown()) {
        // A token that is spent may be gone; the pair that it brought is judged by the CA that it named.
        ca = kept.as_ca();
    }
    let names = names(request, world)?;
    let spent = kept.map(|kept| kept.spent).unwrap_or_default();
    Ok(Settled { request, ca, names, spent, began })
}

/// The pair stays; modes, owners and what else is not as asked for are put right.
fn keep(settled: &Settled<'_>, world: &World<'_>, good: Good, roots: &Roots, now: i64) -> Result<Outcome> {
    let request = settled.request;
    let verdict = decide::decide(&good.chain[0], now, request.policy);
    let why = format!("the pair is good, and {}", verdict.reason());
    let (is_neat, vouched) = (good.is_neat, good.vouched);
    let outcome = match (is_neat, world.dry_run) {
        (true, _) => Outcome::new(Action::Kept, why),
        (false, true) => {
            Outcome::new(Action::Planned, "files, modes or owners of the pair are not as asked for")
        }
        (false, false) => {
            place::prepare(world.host, &request.outputs)?;
            let content = Content::new(&good.key, &good.chain, roots);
            let placed = place::place(world.host, &request.outputs, &content, &mut Checkpoints::default())?;
            let why = "the pair is good; files, modes or owners were not as asked for";
            Outcome { placed, ..Outcome::new(Action::PlacedAgain, why) }
        }
    };
    if !world.dry_run {
        pending::tidy(world.host, &request.outputs);
    }
    Ok(outcome.with_chain(good.chain, vouched, roots, request.policy, now))
}

/// What an earlier enrollment left beside the key, if nobody else can have written it.
fn kept(world: &World<'_>, outputs: &Outputs) -> Result<Option<Enrolled>> {
    let path = pending::enrolled_path(outputs);
    let uid = rustix::process::geteuid().as_raw();
    let ours = |meta: Meta| meta.uid == uid && meta.mode & 0o077 == 0;
    let is_safe = world.host.lstat(split(&path).0).ok().flatten().is_some_and(ours)
        && outputs.unsafe_way(world.host, &path)?.is_none();
    if !is_safe {
        return Ok(None);
    }
    let found = world.host.read_no_link(&path, crate::pair::FILE_LIMIT).ok().flatten();
    Ok(found.filter(|(_, meta)| ours(*meta)).and_then(|(bytes, _)| Enrolled::parse(&bytes)))
}

/// The names: those that were given, else the token's, else those that the certificate has that stands there.
fn names(request: &Request, world: &World<'_>) -> Result<Vec<SubjectAltName>> {
    let mut names = request.names.clone();
    if names.is_empty() {
        let of_token = request.methods.iter().find_map(|method| method.token_names(world.env).ok().flatten());
        names = of_token.unwrap_or_default();
    }
    if names.is_empty() {
        let standing = world.host.read(&request.outputs.cert, crate::pair::FILE_LIMIT).ok().flatten();
        let chain = standing.and_then(|(bytes, _)| facts::certificates(&bytes).ok());
        names = chain.and_then(|chain| chain.first()?.subject_alt_names().ok()).unwrap_or_default();
    }
    if names.is_empty() {
        // A token that cannot be read is what is wrong, if there is one.
        for method in &request.methods {
            method.token_names(world.env)?;
        }
        return Err(Error::usage("nothing says which names the certificate is for")
            .hint("name them behind the method, such as `trustup enroll provisioner web.internal …`"));
    }
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    Ok(unique)
}

/// Where a chain of this method has to end; `None` where the roots have to be fetched first.
fn roots_for(settled: &Settled<'_>, method: &dyn Method) -> Result<Option<Roots>> {
    if let Some(path) = &settled.request.issuer_root {
        return trust::from_file(path, &[]).map(Some);
    }
    let or_itself = !method.issues_under_the_roots_of_its_connection();
    let roots = settled.ca.roots.clone().map(|roots| Roots { or_itself, ..roots });
    let nobodys = || Roots { certificates: Vec::new(), described: "no root".to_owned(), or_itself: true };
    Ok(if or_itself { roots.or_else(|| Some(nobodys())) } else { roots })
}

/// What stands there, held against the roots of each method; and those that it was held against.
fn look(settled: &Settled<'_>, world: &World<'_>, now: i64) -> Result<(Standing, Roots)> {
    let request = settled.request;
    let unknown = Roots {
        certificates: Vec::new(),
        described: "the CA's root, which is not known here yet".to_owned(),
        or_itself: false,
    };
    let mut seen: Option<(Standing, Roots)> = None;
    for method in &request.methods {
        let roots = roots_for(settled, method.as_ref())?.unwrap_or_else(|| unknown.clone());
        let about = facts::Request { names: &settled.names, key_type: request.key_type, roots: &roots };
        let standing = facts::look(world.host, &request.outputs, &about, now)?;
        let is_good = matches!(standing, Standing::Good(_));
        if seen.is_none() || is_good {
            seen = Some((standing, roots));
        }
        if is_good {
            break;
        }
    }
    Ok(seen.unwrap_or((Standing::Nothing, unknown)))
}

/// A new pair takes the place of what stands there.
fn replace(settled: &Settled<'_>, world: &World<'_>, reason: &str, now: i64) -> Result<Outcome> {
    let request = settled.request;
    let about =
        About { env: world.env, ca: &settled.ca, names: &settled.names, not_after: request.not_after };
    let usable = obtain::usable(request, &about)?;
    if world.dry_run {
        let outcome = Outcome::new(Action::Planned, reason);
        return Ok(Outcome {
            method: usable.first().map(|method| method.name()),
            skipped: usable.skipped,
            ..outcome
        });
    }
    let made = place::prepare(world.host, &request.outputs)?;
    let left = request.timeout.saturating_sub(settled.began.elapsed());
    let opened = Pending::open(world.host, &request.outputs, left);
    let done = opened.and_then(|pending| with_pending(settled, world, &about, usable, pending, now));
    if done.is_err() {
        place::unmake(world.host, &made);
    }
    done.map(|outcome| Outcome { reason: reason.to_owned(), ..outcome })
}

fn with_pending(
    settled: &Settled<'_>,
    world: &World<'_>,
    about: &About<'_>,
    usable: obtain::Usable<'_>,
    mut pending: Pending,
    now: i64,
) -> Result<Outcome> {
    let request = settled.request;
    // Another run may have been at work while we waited for it, and an interrupted one may have left more than was seen.
    world.host.look_again();
    let settled = &settle(request, world, settled.began)?;
    if let (Standing::Good(good), roots) = look(settled, world, now)?
        && matches!(decide::decide(&good.chain[0], now, request.policy), Verdict::Keep(_))
        && !request.force
    {
        let outcome = keep(settled, world, *good, &roots, now)?;
        pending.discard()?;
        return Ok(outcome);
    }
    let mut checkpoints = Checkpoints::default();
    let saved = pending.key(request.key_type)?;
    if let (Some(key), Some(answer)) = (&saved, pending.answer()?)
        && let Ok(chain) = facts::certificates(&answer)
    {
        for method in &request.methods {
            let Some(roots) = roots_for(settled, method.as_ref())? else { continue };
            let wanted = Wanted { public_key: key.public_key(), names: &settled.names, roots: &roots };
            if let Ok(vouched) = check::check(&chain, &wanted, now) {
                (world.say)(
                    "an earlier run was interrupted after the CA had answered: its certificate is placed now",
                );
                let issued = Issued { key, chain, vouched, roots, method: method.as_ref() };
                return finish(settled, world, issued, pending, Action::TakenUp, &mut checkpoints);
            }
        }
    }
    let key = match saved {
        Some(key) => key,
        None => {
            let key = PrivateKey::generate(request.key_type)?;
            pending.save_key(&key)?;
            key
        }
    };
    checkpoints.pass();
    let obtained = obtain::obtain(settled, world, about, &usable, &key, &mut pending);
    let obtained = match obtained {
        Ok(obtained) => obtained,
        Err(failure) => return Err(give_up(failure, pending)),
    };
    checkpoints.pass();
    let issued = Issued {
        key: &key,
        chain: obtained.chain,
        vouched: obtained.vouched,
        roots: obtained.roots,
        method: obtained.method,
    };
    let mut outcome = finish(settled, world, issued, pending, Action::Issued, &mut checkpoints)?;
    outcome.skipped = obtained.skipped;
    Ok(outcome)
}

/// What is kept after a failure: the key, if a CA may have issued a certificate for it.
fn give_up(failure: methods::Failure, pending: Pending) -> Error {
    if failure.unsettled {
        let kept = pending.path().to_owned();
        return failure.error.hint(format!(
            "the request may have reached the CA, which may have issued a certificate that is lost; the key is kept in `{kept}`, and the next run uses it again"
        ));
    }
    match pending.discard() {
        Ok(()) => failure.error,
        Err(_) => failure
            .error
            .hint("the key that was made for this is left beside `--key`; the next run uses it again"),
    }
}

/// A chain that is good for a key.
struct Issued<'a> {
    key: &'a PrivateKey,
    chain: Vec<Certificate>,
    vouched: Vouched,
    roots: Roots,
    method: &'a dyn Method,
}

/// Saves, places, reads back and records.
fn finish(
    settled: &Settled<'_>,
    world: &World<'_>,
    issued: Issued<'_>,
    mut pending: Pending,
    action: Action,
    checkpoints: &mut Checkpoints,
) -> Result<Outcome> {
    let request = settled.request;
    let now = world.env.now();
    let content = Content::new(issued.key, &issued.chain, &issued.roots);
    // First whose answer it is: who takes it up has to know where its chain ends.
    let ca = issued.method.asks(&settled.ca).as_ref().map(masked);
    let spent = pending.record().attempts.clone();
    pending.save_enrolled(&Enrolled::new(issued.method.name(), ca, &issued.roots, spent).to_bytes()?)?;
    pending.save_answer(&content.cert)?;
    checkpoints.pass();
    let left = format!(
        "the certificate is saved in `{}`: the next run places it, without asking the CA again",
        pending.path()
    );
    let placed = place::place(world.host, &request.outputs, &content, checkpoints)
        .map_err(|error| error.hint(&left))?;
    for path in &placed.in_place {
        (world.warn)(&format!(
            "`{path}` is mounted by itself, so it was written in place: who reads it at that moment sees half of it; mount its directory instead"
        ));
    }
    let about = facts::Request { names: &settled.names, key_type: request.key_type, roots: &issued.roots };
    match facts::look(world.host, &request.outputs, &about, now)? {
        Standing::Good(good) if good.chain == issued.chain => {}
        standing => {
            let why = match standing {
                Standing::Bad(why) => why,
                Standing::Nothing => "nothing stands there".to_owned(),
                Standing::Good(_) => "another pair stands there".to_owned(),
            };
            return Err(Error::failed("the pair is placed, and is not what stands there now")
                .at(&request.outputs.cert)
                .because(anyhow::anyhow!("{why}"))
                .hint("somebody else writes there, or the place is not safe: see the cause")
                .with_changed(placed.changed));
        }
    }
    pending.discard()?;
    if issued.vouched == Vouched::ByItself {
        (world.warn)(
            "no root was given for the issued chain: it is consistent in itself, and that is all that is known (`--issuer-root FILE` pins it)",
        );
    }
    let leaf = &issued.chain[0];
    if let Some(NotAfter::Duration(asked)) = request.not_after {
        let life = leaf.not_after().saturating_sub(leaf.not_before());
        if life.abs_diff(i64::try_from(asked).unwrap_or(i64::MAX)) > 120 {
            (world.warn)(&format!(
                "the CA gave the certificate a life of {life} s where {asked} s were asked for: it ends at {}",
                text::moment(leaf.not_after())
            ));
        }
    }
    let outcome = Outcome::new(action, String::new());
    let outcome = Outcome { method: Some(issued.method.name()), placed, ..outcome };
    Ok(outcome.with_chain(issued.chain, issued.vouched, &issued.roots, request.policy, now))
}
