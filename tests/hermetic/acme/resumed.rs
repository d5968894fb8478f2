//! Orders that an earlier run placed: resumed where they are the ones that would be placed now, and replaced where not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::command::Place;
use super::issuing::{DAY, Issuing};
use super::server::{AcmeServer, Asked, Instead, authorization, problem};
use crate::support::run::{Run, Trustup};
use crate::support::servers::wait_for;

pub(super) const ORDER: &str = ".tls.key.trustup/order.json";
pub(super) const RESUMED: &str = "resuming the order of an earlier run";

pub(super) fn enroll(place: &Place, timeout: &str) -> Trustup {
    place.enroll_by(&["--http-listen".into(), "127.0.0.1:0".into()], timeout).arg("-v")
}

/// No answer, until the client goes.
fn silence() -> Instead {
    Instead::Raw(Box::new(|stream| stream.read(&mut [0]).map(drop)))
}

/// A run that is killed after it told the CA to look.
pub(super) fn killed(place: &Place, server: &AcmeServer, options: &[&str]) {
    let run = enroll(place, "60s").args(options).start();
    wait_for("the challenge", || (server.count("/challenge") > 0).then_some(()));
    drop(run);
    assert!(place.path(ORDER).exists(), "the order is kept");
}

/// A server that never answers the first time that it is told to look.
pub(super) fn hanging(instead: impl Fn(&Asked, &str) -> Option<Instead> + Send + Sync + 'static) -> Issuing {
    Issuing::start(DAY, move |asked, base| match asked.path.as_str() {
        "/challenge" if asked.before == 0 => Some(silence()),
        _ => instead(asked, base),
    })
}

pub(super) fn counts(server: &AcmeServer) -> [usize; 3] {
    ["/order", "/challenge", "/finalize"].map(|path| server.count(path))
}

#[test]
fn a_run_that_was_killed_while_the_ca_looked_goes_on() {
    let ca = hanging(|_, _| None);
    let place = Place::at(&ca.server);
    killed(&place, &ca.server, &["--not-after", "24h"]);
    let record: Value = serde_json::from_slice(&fs::read(place.path(ORDER)).expect("record")).expect("JSON");
    assert_eq!((&record["schema"], &record["names"]), (&json!(1), &json!(["a.test"])));
    let run = enroll(&place, "20s").args(["--not-after", "24h"]).ok();
    run.says([RESUMED]);
    assert_eq!(counts(&ca.server), [1, 1, 1], "{run}");
    assert!(place.path("tls.crt").exists() && !place.path(ORDER).exists(), "nothing is in progress");
}

#[test]
fn a_certificate_that_was_issued_for_a_run_that_was_killed_is_fetched() {
    let ca = Issuing::start(DAY, |_, _| None);
    let place = Place::at(&ca.server);
    let key_path = place.path("tls.key").display().to_string();
    let run = enroll(&place, "60s").killed_before("save", &key_path).run();
    assert_eq!(run.code, None, "{run}");
    let key = fs::read(place.path(".tls.key.trustup/key.pem")).expect("the key in progress");
    let run = enroll(&place, "20s").ok();
    run.says([RESUMED]);
    assert_eq!(counts(&ca.server), [1, 1, 1], "{run}");
    assert_eq!(ca.server.count("/certificate"), 2);
    assert_eq!(fs::read(place.path("tls.key")).expect("key"), key);

    // Without that key it is of no use.
    let run = enroll(&place, "60s").arg("--force").killed_before("save", &key_path).run();
    assert_eq!(run.code, None, "{run}");
    fs::remove_file(place.path(".tls.key.trustup/key.pem")).expect("key");
    let run = enroll(&place, "20s").arg("--force").ok();
    run.says([RESUMED, "can no longer be used: placing a new one"]);
    assert_eq!(counts(&ca.server), [3, 3, 3], "{run}");
}

#[test]
fn a_certificate_that_was_issued_too_long_ago_is_not_fetched() {
    // A minute of two and a half is over when it is issued.
    let ca = Issuing::start(90, |_, _| None);
    let place = Place::at(&ca.server);
    let key_path = place.path("tls.key").display().to_string();
    let run = enroll(&place, "60s").killed_before("save", &key_path).run();
    assert_eq!(run.code, None, "{run}");
    let run = enroll(&place, "20s").ok();
    run.says([RESUMED, "can no longer be used: placing a new one"]);
    assert_eq!(ca.server.count("/order"), 2, "{run}");
}

#[test]
fn a_run_that_is_out_of_time_leaves_its_order_to_the_next() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let ca = Issuing::start(DAY, move |asked, base| {
        let mut pending = authorization(base, "token", "pending");
        match asked.path.as_str() {
            "/authz" if counted.load(Ordering::SeqCst) == 0 => {
                if asked.told {
                    pending["challenges"][0]["status"] = json!("processing");
                }
                Some(Instead::Json(200, pending))
            }
            // The next run meets it still at work, and is not to tell it again.
            "/authz" if counted.fetch_add(1, Ordering::SeqCst) < 3 => {
                pending["challenges"][0]["status"] = json!("processing");
                Some(Instead::Json(200, pending))
            }
            "/order/1" if counted.load(Ordering::SeqCst) < 4 => Some(pending_order(base)),
            _ => None,
        }
    });
    let place = Place::at(&ca.server);
    let run = enroll(&place, "2s").fails(6);
    assert!(place.path(ORDER).exists() && !place.path(".tls.key.trustup/key.pem").exists(), "{run}");
    looks.store(1, Ordering::SeqCst);
    let run = enroll(&place, "20s").ok();
    run.says([RESUMED, "http-01: listening at"]);
    assert_eq!(counts(&ca.server), [1, 1, 1], "{run}");
}

pub(super) fn pending_order(base: &str) -> Instead {
    Instead::Json(
        200,
        json!({ "status": "pending", "authorizations": [format!("{base}/authz")],
            "finalize": format!("{base}/finalize"), "identifiers": [{ "type": "dns", "value": "a.test" }] }),
    )
}

#[test]
fn an_order_for_anything_else_is_not_resumed() {
    type Change = fn(&Place);
    let cases: [(&str, &[&str], &[&str], Change); 6] = [
        ("another end", &[], &["--not-after", "24h"], |_| {}),
        ("no end", &["--not-after", "24h"], &[], |_| {}),
        (
            "another moment",
            &["--not-after", "2040-01-01T00:00:00Z"],
            &["--not-after", "2040-01-01T00:00:01Z"],
            |_| {},
        ),
        ("another profile", &["--profile", "short"], &["--profile", "long"], |_| {}),
        ("another account", &[], &[], |place| {
            let entries = fs::read_dir(place.path(".tls.key.trustup")).expect("directory");
            let names = entries.map(|entry| entry.expect("entry").path());
            let accounts = names.filter(|path| path.to_str().is_some_and(|path| path.contains("/account-")));
            accounts.for_each(|path| fs::remove_file(path).expect("account"));
        }),
        ("other names", &[], &[], |place| change(place, "names", json!(["a.test", "b.test"]))),
    ];
    for (what, first, second, between) in cases {
        let accounts = AtomicUsize::new(0);
        let ca = hanging(move |asked, base| match asked.path.as_str() {
            "/dir" => {
                let mut directory = super::server::directory(base);
                directory["meta"] = json!({ "profiles": { "short": "a", "long": "b" } });
                Some(Instead::Json(200, directory))
            }
            "/account" => {
                let url = format!("{base}/account/{}", accounts.fetch_add(1, Ordering::SeqCst));
                Some(Instead::With(201, vec![("Location", url)], json!({ "status": "valid" })))
            }
            _ => None,
        });
        let place = Place::at(&ca.server);
        killed(&place, &ca.server, first);
        between(&place);
        let run = enroll(&place, "20s").args(second).ok();
        assert_eq!((ca.server.count("/order"), run.stderr.contains(RESUMED)), (2, false), "{what}: {run}");
    }
}

/// Changes a field of the record.
pub(super) fn change(place: &Place, field: &str, value: Value) {
    let mut record: Value =
        serde_json::from_slice(&fs::read(place.path(ORDER)).expect("record")).expect("JSON");
    record[field] = value;
    fs::write(place.path(ORDER), record.to_string()).expect("record");
}

#[test]
fn an_order_that_is_good_for_nothing_is_replaced() {
    type Answer = fn(&str) -> Instead;
    let cases: [(&str, Answer); 7] = [
        ("gone", |_| Instead::Json(404, problem("malformed", "no such order"))),
        ("no answer of ACME", |_| Instead::Text(404, "text/html", "<html>".to_owned())),
        ("nonsense", |_| Instead::Text(200, "text/html", "<html>".to_owned())),
        ("lost", |base| order(base, &json!({ "status": "invalid" }))),
        ("of other names", |base| {
            order(base, &json!({ "identifiers": [{ "type": "dns", "value": "bank.test" }] }))
        }),
        ("of more names", |base| {
            let names = ["a.test", "b.test"].map(|name| json!({ "type": "dns", "value": name }));
            order(base, &json!({ "identifiers": names }))
        }),
        ("elsewhere", |base| order(base, &json!({ "finalize": "https://elsewhere.test/finalize" }))),
    ];
    for (what, answer) in cases {
        let ca =
            hanging(move |asked, base| (asked.path == "/order/1" && asked.before == 0).then(|| answer(base)));
        let place = Place::at(&ca.server);
        killed(&place, &ca.server, &[]);
        let run = enroll(&place, "20s").ok();
        assert_eq!(ca.server.count("/order"), 2, "{what}: {run}");
        assert!(!place.path(ORDER).exists(), "{what}");
    }
    // Its challenge failed in the meantime, and the CA says so only there.
    let ca = hanging(move |asked, base| {
        let mut failed = authorization(base, "token", "pending");
        failed["challenges"][0]["status"] = json!("invalid");
        match asked.path.as_str() {
            "/authz" if asked.before == 1 => Some(Instead::Json(200, failed)),
            "/order/1" if asked.before == 0 => Some(pending_order(base)),
            _ => None,
        }
    });
    let place = Place::at(&ca.server);
    killed(&place, &ca.server, &[]);
    let run = enroll(&place, "20s").ok();
    run.says([RESUMED, "can no longer be used: placing a new one"]);
    assert_eq!(ca.server.count("/order"), 2, "{run}");
}

/// The order with some members changed.
fn order(base: &str, changes: &Value) -> Instead {
    let Instead::Json(status, mut order) = pending_order(base) else { panic!("an order") };
    for (name, value) in changes.as_object().expect("changes") {
        order[name] = value.clone();
    }
    Instead::Json(status, order)
}

#[test]
fn what_is_refused_is_not_kept() {
    let refused: [fn(&Asked, &str) -> Option<Instead>; 3] = [
        |asked, _| (asked.path == "/finalize").then(|| Instead::Json(403, problem("badCSR", "no"))),
        |asked, base| (asked.path == "/order/1").then(|| order(base, &json!({ "status": "invalid" }))),
        |asked, base| {
            let invalid = authorization(base, "token", "invalid");
            (asked.path == "/authz" && asked.told).then(|| Instead::Json(200, invalid))
        },
    ];
    for answer in refused {
        let ca = Issuing::start(DAY, answer);
        let place = Place::at(&ca.server);
        let run = enroll(&place, "20s").fails(4);
        assert!(!place.path(ORDER).exists(), "{run}");
    }
}

#[test]
fn t21_a_record_proves_nothing() {
    let unused = |place: &Place, ca: &Issuing, what: &str| -> Run {
        let run = enroll(place, "20s").ok();
        assert_eq!((ca.server.count("/order"), run.stderr.contains(RESUMED)), (2, false), "{what}: {run}");
        run
    };
    for url in ["https://elsewhere.test/order/1", "file:///etc/passwd", "", "https://u:p@127.0.0.1/order/1"] {
        let ca = hanging(|_, _| None);
        let place = Place::at(&ca.server);
        killed(&place, &ca.server, &[]);
        change(&place, "order", json!(url));
        unused(&place, &ca, url);
    }
    let ca = hanging(|_, _| None);
    let place = Place::at(&ca.server);
    killed(&place, &ca.server, &[]);
    fs::write(place.path(ORDER), "{\"schema\":1}").expect("record");
    unused(&place, &ca, "damaged").says(["order.json` is damaged"]);

    // Others could have put it there.
    let ca = hanging(|_, _| None);
    let place = Place::at(&ca.server);
    killed(&place, &ca.server, &[]);
    let directory = place.path(".tls.key.trustup");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("mode");
    unused(&place, &ca, "open to others");
}
