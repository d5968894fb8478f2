//! Many clients of one CA, without a network: every decision is the product's own. All certificates were issued in the
//! same second, and the CA is down from the moment when the first of them is due: the worst case.

use crate::certificate::decide::{Due, RenewalPolicy};
use crate::certificate::decide::{Verdict, decide, due_millis};

use super::*;

/// How far step-ca sets the beginning of a certificate back, in seconds.
const BACKDATED: i64 = 60;
/// The largest share of the clients that may ask in one second.
const MOST: f64 = 0.02;

/// What is simulated.
#[derive(Clone, Copy)]
struct Case {
    clients: u32,
    /// In seconds, as everything here that is not said to be in milliseconds.
    life: i64,
    outage: i64,
    due: Due,
    /// What the CA answers while it cannot issue; `None` if it does not answer.
    retry_after: Option<u64>,
    is_spread: bool,
}

/// What came of it.
struct Outcome {
    requests: u64,
    /// The largest number of requests in one second.
    peak: u32,
    /// Clients whose certificate expired before they had the next one.
    expired: u32,
    /// From the end of the outage to the last renewal that it had delayed.
    recovery: i64,
}

impl Outcome {
    fn share(&self, case: Case) -> f64 {
        f64::from(self.peak) / f64::from(case.clients)
    }
}

fn simulate(case: Case) -> Outcome {
    let policy = |obtained: i64, spread| RenewalPolicy {
        due: case.due,
        obtained: Some(obtained / SECOND),
        spread: case.is_spread.then_some(spread),
        ..RenewalPolicy::default()
    };
    let issued = |at: i64| life(at / SECOND - BACKDATED, at / SECOND + case.life);
    let first = issued(0);
    let down = due_millis(&first, policy(0, u64::MAX));
    let up = down + case.outage * SECOND;
    // Until everybody has renewed twice, or has recovered.
    let horizon = (2 * case.life).max(up / SECOND + case.life / 10);
    let mut asked = vec![0_u32; usize::try_from(horizon).unwrap()];
    let mut outcome = Outcome { requests: 0, peak: 0, expired: 0, recovery: 0 };
    let mut numbers = Numbers(u64::from(case.clients));
    for _ in 0..case.clients {
        let (mut life, mut obtained, mut spread) = (issued(0), 0, numbers.next());
        let mut count = 0;
        let mut now = after_renewal(&life, due_millis(&life, policy(obtained, spread)), obtained);
        while let Some(asked) = usize::try_from(now / SECOND).ok().and_then(|second| asked.get_mut(second)) {
            let verdict = decide(&life, now / SECOND, policy(obtained, spread));
            assert!(matches!(verdict, Verdict::Due(_) | Verdict::Expired(_)), "{verdict:?} at {now}");
            *asked += 1;
            outcome.requests += 1;
            if (down..up).contains(&now) {
                count += 1;
                let retry_after = case.retry_after.map(Duration::from_secs);
                let failure = FailedAttempt { retry_after, ..failed(FailureKind::MayPass, count) };
                now = after_failure(Some(&life), failure, now, numbers.next());
                continue;
            }
            outcome.expired += u32::from(matches!(verdict, Verdict::Expired(_)));
            if count > 0 {
                outcome.recovery = outcome.recovery.max((now - up) / SECOND);
            }
            (life, obtained, spread, count) = (issued(now), now, numbers.next(), 0);
            now = after_renewal(&life, due_millis(&life, policy(obtained, spread)), obtained);
        }
    }
    outcome.peak = asked.into_iter().max().unwrap_or(0);
    outcome
}

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// Prints one line, and checks what every case has in common.
fn check(what: &str, case: Case) -> Outcome {
    let outcome = simulate(case);
    println!(
        "{what}: {:>6} clients, lives of {:>4} h, outage of {:>4.1} h: at most {:.3} % of the clients in one second ({} of them), {} expired, {} requests, all renewed {} s after the outage",
        case.clients,
        case.life / HOUR_S,
        case.outage as f64 / 3_600.0,
        100.0 * outcome.share(case),
        outcome.peak,
        outcome.expired,
        outcome.requests,
        outcome.recovery
    );
    outcome
}

fn plain(clients: u32, life: i64, outage: i64) -> Case {
    Case { clients, life, outage, due: Due::default(), retry_after: None, is_spread: true }
}

#[test]
fn an_outage_that_is_shorter_than_the_window_costs_no_certificate() {
    for clients in [1_000, 100_000] {
        for (life, outage) in [
            (DAY_S, 0),
            (DAY_S, HOUR_S),
            (90 * DAY_S, HOUR_S),
            (90 * DAY_S, DAY_S),
            // The whole window but a quarter of an hour.
            (DAY_S, DAY_S * 34 / 100 - 900),
        ] {
            let case = plain(clients, life, outage);
            let outcome = check("silent", case);
            assert_eq!(outcome.expired, 0);
            assert!(outcome.share(case) <= MOST);
            assert!(outcome.requests >= u64::from(clients) * 2, "everybody renewed twice");
        }
    }
}

#[test]
fn an_outage_that_is_longer_than_the_window_does_not_end_in_a_storm() {
    for clients in [1_000, 100_000] {
        let case = plain(clients, DAY_S, DAY_S);
        let outcome = check("silent", case);
        assert_eq!(outcome.expired, clients);
        assert!(outcome.share(case) <= MOST);
        // Nobody waits for more than the longest pause.
        assert!(outcome.recovery <= 600, "{}", outcome.recovery);
    }
}

#[test]
fn clients_that_are_told_when_to_come_back_do_not_come_together() {
    for (life, outage) in [(DAY_S, HOUR_S), (90 * DAY_S, DAY_S)] {
        let case = Case { retry_after: Some(120), ..plain(100_000, life, outage) };
        let outcome = check("busy  ", case);
        assert_eq!(outcome.expired, 0);
        assert!(outcome.share(case) <= MOST);
    }
    let case = Case { due: Due::Left(8 * 3_600), ..plain(100_000, DAY_S, HOUR_S) };
    let outcome = check("8h    ", case);
    assert_eq!(outcome.expired, 0);
    assert!(outcome.share(case) <= MOST);
}

/// What the spread is for: the same without it.
#[test]
fn without_a_spread_everybody_asks_in_the_same_second() {
    let case = Case { is_spread: false, ..plain(1_000, DAY_S, 0) };
    assert!(simulate(case).share(case) > 0.9);
}
