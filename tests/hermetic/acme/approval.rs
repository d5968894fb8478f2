//! Orders that a CA works on for longer than a run lasts, such as until somebody approves them: each run goes on with the
//! one order, and places no second one.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::command::Place;
use super::issuing::{DAY, Issuing};
use super::resumed::{ORDER, RESUMED, change, counts, enroll, hanging, killed, pending_order};
use super::server::{Asked, Instead};
use crate::support::run::Run;

const KEY: &str = ".tls.key.trustup/key.pem";

/// Runs that end because the CA wants more time than there is.
fn not_yet(place: &Place, ca: &Issuing, options: &[&str]) -> Run {
    let began = Instant::now();
    let run = enroll(place, "60s").args(options).fails(6);
    assert!(began.elapsed() < Duration::from_secs(50), "nobody waits for what comes in an hour: {run}");
    run.says(["still working on the order `https://127.0.0.1:", "/order/1`", "check again in 60 min"]);
    assert!(place.path(ORDER).exists() && !place.path("tls.crt").exists(), "{run}");
    assert_eq!(ca.server.count("/order"), 1, "{run}");
    run
}

#[test]
fn a_certificate_that_is_approved_later_is_fetched_by_a_later_run() {
    let ca = Issuing::start(DAY, |_, _| None);
    ca.keep_busy(true);
    let place = Place::at(&ca.server);
    let run = not_yet(&place, &ca, &["--not-after", "24h"]);
    run.says(["the order and its key are kept in `", "`, and the next run goes on with them"]);
    let key = fs::read(place.path(KEY)).expect("the key in progress");
    for _ in 0..2 {
        not_yet(&place, &ca, &["--not-after", "24h"]).says([RESUMED, "the order and its key are kept in `"]);
        assert_eq!(fs::read(place.path(KEY)).expect("the key in progress"), key);
    }
    // However long it takes: the end that was asked for is over by now.
    change(&place, "not_after", json!("2020-01-01T00:00:00Z"));
    not_yet(&place, &ca, &["--not-after", "24h"]).says([RESUMED]);
    ca.keep_busy(false);
    change(&place, "not_after", json!(from_now(20)));
    let run = enroll(&place, "60s").args(["--not-after", "24h"]).ok();
    run.says([RESUMED]);
    assert_eq!(counts(&ca.server), [1, 1, 1], "{run}");
    assert_eq!(fs::read(place.path("tls.key")).expect("key"), key);
    assert!(!place.path(ORDER).exists() && !place.path(KEY).exists(), "nothing is in progress");
}

/// The moment in so many hours.
fn from_now(hours: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now + hours * 3600).expect("moment").to_string()
}

#[test]
fn an_order_that_is_approved_later_is_finished_by_a_later_run() {
    let approved = Arc::new(AtomicBool::new(false));
    let is_approved = Arc::clone(&approved);
    let waits = move |asked: &Asked, base: &str| {
        let waits = asked.path == "/order/1" && !is_approved.load(Ordering::SeqCst);
        let Instead::Json(status, order) = pending_order(base) else { panic!("an order") };
        waits.then(|| Instead::With(status, vec![("Retry-After", "3600".to_owned())], order))
    };
    let ca = Issuing::start(DAY, waits);
    let place = Place::at(&ca.server);
    not_yet(&place, &ca, &[]).says(["the order is kept, and the next run goes on with it"]);
    not_yet(&place, &ca, &[]).says([RESUMED, "the order is kept, and the next run goes on with it"]);
    approved.store(true, Ordering::SeqCst);
    let run = enroll(&place, "60s").ok();
    run.says([RESUMED]);
    assert_eq!(counts(&ca.server), [1, 1, 1], "{run}");
}

#[test]
fn an_order_whose_lifetime_is_mostly_over_is_not_worth_it() {
    for (hours, is_resumed) in [(17, true), (15, false), (-1, false)] {
        let ca = hanging(|_, _| None);
        let place = Place::at(&ca.server);
        killed(&place, &ca.server, &["--not-after", "24h"]);
        let record: Value =
            serde_json::from_slice(&fs::read(place.path(ORDER)).expect("record")).expect("JSON");
        assert_eq!(record["lifetime"], json!(24 * 3600));
        change(&place, "not_after", json!(from_now(hours)));
        let run = enroll(&place, "20s").args(["--not-after", "24h"]).ok();
        let orders = if is_resumed { 1 } else { 2 };
        assert_eq!((ca.server.count("/order"), run.stderr.contains(RESUMED)), (orders, is_resumed), "{run}");
    }
}
