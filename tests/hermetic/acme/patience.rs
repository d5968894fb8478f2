//! Servers that are slow, busy or ill: what is asked again, how often, until when, and what is said in the end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{AcmeServer, Instead, authorization, problem};
use super::{FINISHED, listening, server};

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    for after in [json!("1"), json!(null)] {
        let server = AcmeServer::start(move |asked, _| {
            let first = ["/dir", "/order"].contains(&asked.path.as_str()) && asked.before == 0;
            let after = match &after {
                Value::String(seconds) => seconds.clone(),
                _ => (jiff::Timestamp::now() + Duration::from_secs(1))
                    .strftime("%a, %d %b %Y %H:%M:%S GMT")
                    .to_string(),
            };
            first.then(|| Instead::With(503, vec![("Retry-After", after)], json!({})))
        });
        let error = listening(&server).fails(&["a.test"]);
        assert!(error.to_string().contains(FINISHED), "{error}");
        assert_eq!((server.count("/dir"), server.count("/order")), (2, 2));
    }
}

#[test]
fn a_server_that_wants_more_time_than_there_is_is_not_waited_for() {
    for path in ["/authz", "/order/1"] {
        let server = AcmeServer::start(move |asked, base| {
            let answer = match path {
                "/authz" => authorization(base, "token", "pending"),
                _ => {
                    json!({ "status": "processing", "authorizations": [], "finalize": format!("{base}/finalize") })
                }
            };
            let after = vec![("Retry-After", "3600".to_owned())];
            (asked.path == path).then(|| Instead::With(200, after, answer))
        });
        let started = Instant::now();
        let error = listening(&server).fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), 6, "{error}");
        assert!(error.hints()[0].contains("in 60 min"), "{:?}", error.hints());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)), "{path}");
        assert!(started.elapsed() < Duration::from_secs(20), "{path}");
    }
}

#[test]
fn a_server_that_says_to_ask_at_once_is_asked_with_pauses() {
    let past = jiff::Timestamp::now() - Duration::from_secs(3600);
    let past = past.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for after in ["0".to_owned(), past] {
        for (path, status) in [("/authz", 200), ("/order/1", 200), ("/nonce", 503)] {
            let after = after.clone();
            let server = AcmeServer::start(move |asked, base| {
                let answer = match path {
                    "/authz" => authorization(base, "token", "pending"),
                    _ => {
                        json!({ "status": "processing", "authorizations": [], "finalize": format!("{base}/finalize") })
                    }
                };
                let after = vec![("Retry-After", after.clone())];
                (asked.path == path).then(|| Instead::With(status, after, answer))
            });
            let mut client = listening(&server);
            client.timeout = Duration::from_secs(2);
            let error = client.fails(&["a.test"]);
            assert_eq!(error.kind().exit_code(), 6, "{path}: {error}");
            // A pause of a quarter of a second to begin with is seven times, and each has a nonce of its own.
            let count = server.asked().len();
            assert!((2..30).contains(&count), "{path}: {count} requests in 2 s");
        }
    }
}

#[test]
fn nonces_that_are_never_good_are_given_up_on() {
    let server = server("/order", |_, _| Instead::Json(400, problem("badNonce", "again")));
    let error = listening(&server).fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 6, "{error}");
    assert!((10..100).contains(&server.count("/order")), "{}", server.count("/order"));
}

#[test]
fn what_only_reads_is_asked_again_while_there_is_time() {
    let run = |path: &'static str, status: u16| {
        // More often than what may arrive once only.
        let server = server(path, move |asked, base| match asked.before {
            0..5 => Instead::Text(status, "text/html", "<html>".to_owned()),
            _ => super::server::usual(asked, base),
        });
        let error = listening(&server).fails(&["a.test"]);
        assert!(error.to_string().contains(FINISHED), "{path}, {status}: {error}");
    };
    // At the same time: the pauses add up.
    std::thread::scope(|scope| {
        for (path, status) in
            [("/nonce", 503), ("/nonce", 429), ("/authz", 502), ("/order/1", 429), ("/order/1", 504)]
        {
            scope.spawn(move || run(path, status));
        }
    });
}

#[test]
fn what_may_arrive_once_only_is_sent_once() {
    for path in ["/account", "/order", "/challenge", "/finalize"] {
        let server = server(path, |_, _| Instead::Text(502, "text/html", "<html>".to_owned()));
        let error = listening(&server).fails(&["a.test"]);
        assert_eq!((error.kind().exit_code(), server.count(path)), (6, 1), "{path}: {error}");
    }
}

#[test]
fn a_server_that_is_ill_is_told_from_one_that_refuses() {
    for (status, kind, code) in [
        (500, "urn:ietf:params:acme:error:serverInternal", 6),
        (500, "about:blank", 6),
        (500, "urn:example:database", 6),
        (503, "urn:ietf:params:acme:error:unheardOf", 6),
        (500, "urn:ietf:params:acme:error:rejectedIdentifier", 4),
        (400, "urn:example:database", 4),
    ] {
        let answer = json!({ "type": kind, "detail": "no" });
        let server = server("/order", move |_, _| Instead::Json(status, answer.clone()));
        let error = listening(&server).fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), code, "{status}, {kind}: {error}");
    }
    for (status, code) in [(429, 6), (502, 6), (503, 6), (504, 6), (500, 1), (404, 1)] {
        let server = server("/nonce", move |_, _| Instead::Json(status, Value::Null));
        let mut client = listening(&server);
        client.timeout = Duration::from_secs(1);
        let error = client.fails(&["a.test"]);
        let text = error.to_string();
        assert!(
            error.kind().exit_code() == code && text.contains(&format!("HTTP status {status}")),
            "{text}"
        );
    }
}

#[test]
fn a_long_refusal_is_read_to_its_end() {
    let names: Vec<Value> = (0..400)
        .map(|number| {
            json!({ "type": "urn:ietf:params:acme:error:caa", "detail": "x".repeat(200),
            "identifier": { "type": "dns", "value": format!("host-{number}.a.test") } })
        })
        .collect();
    let mut refusal = problem("rejectedIdentifier", "too many to name");
    refusal["subproblems"] = json!(names);
    let server = server("/order", move |_, _| Instead::Json(403, refusal.clone()));
    let error = listening(&server).fails(&["a.test"]);
    let text = error.to_string();
    assert!(text.contains("too many to name") && text.contains("and 395 more"), "{text}");
}

#[test]
fn a_clock_that_is_far_from_the_cas_is_worth_a_word() {
    for (ahead, words) in [(-7200, Some("2 h ahead of")), (7200, Some("2 h behind")), (10, None)] {
        let server = server("/dir", move |_, base| {
            let there = jiff::Timestamp::now().as_second() + ahead + if ahead > 0 { 30 } else { -30 };
            let there = jiff::Timestamp::from_second(there).expect("time");
            let date = vec![("Date", there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())];
            Instead::With(200, date, super::server::directory(base))
        });
        let mut client = listening(&server);
        // And no more than a word.
        assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
        let said = client.lines().into_iter().find(|line| line.contains("this machine's clock"));
        assert_eq!(said.is_some(), words.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().contains(words.unwrap_or_default()));
    }
}
