//! When a server wants a certificate renewed (ARI), and orders that name the certificate that they replace.

use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use trustup::pki::cert::Certificate;

use super::command::Place;
use super::issuing::{DAY, Issuing};
use super::server::{AcmeServer, Asked, Instead, directory, problem};
use super::{FINISHED, honest, listening};
use crate::support::ca;

const INFO: &str = "/renewal-info/";

/// A certificate that names the key of its issuer, or not.
fn leaf(names_issuer: bool) -> Certificate {
    let mut params = CertificateParams::new(["a.test".to_owned()]).expect("name");
    params.use_authority_key_identifier_extension = names_issuer;
    let key = KeyPair::generate().expect("key");
    Certificate::from_der(&ca::root("Root").sign_for(params, &key)).expect("certificate")
}

fn directory_with(base: &str, renewal_info: &Value) -> Instead {
    let mut directory = directory(base);
    directory["renewalInfo"] = renewal_info.clone();
    Instead::Json(200, directory)
}

/// A server that gives this answer about every certificate.
fn saying(answer: impl Fn() -> Instead + Send + Sync + 'static) -> AcmeServer {
    AcmeServer::start(move |asked, base| match asked.path.as_str() {
        "/dir" => Some(directory_with(base, &json!(format!("{base}{}", INFO.trim_end_matches('/'))))),
        path => path.starts_with(INFO).then(&answer),
    })
}

fn window(start: &str, end: &str) -> Value {
    json!({ "suggestedWindow": { "start": start, "end": end }, "explanationURL": "https://ca.test/why" })
}

#[test]
fn a_window_is_asked_for_without_an_account() {
    let leaf = leaf(true);
    let moments = [leaf.not_before() + 1000, leaf.not_before() + 2000];
    let texts = moments.map(|moment| jiff::Timestamp::from_second(moment).expect("moment").to_string());
    let answer = window(&texts[0], &texts[1]);
    let server =
        saying(move || Instead::With(200, vec![("Retry-After", "21600".to_owned())], answer.clone()));
    let info = server.client().renewal_info(&leaf);
    let window = info.window.expect("a window");
    assert_eq!([window.start, window.end], moments);
    assert_eq!((info.problem, info.again.as_secs()), (None, 21_600));
    assert_eq!(info.explanation.as_deref(), Some("https://ca.test/why"));
    let asked: Vec<String> =
        server.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let id = asked[1].strip_prefix("GET /renewal-info/").expect("the question");
    let parts: Vec<&str> = id.split('.').collect();
    assert!(parts.len() == 2 && !id.contains('='), "{id}");
}

#[test]
fn a_server_without_windows_is_asked_nothing() {
    let server = honest();
    let info = server.client().renewal_info(&leaf(true));
    assert_eq!((info.window, info.problem, info.again.as_secs()), (None, None, 24 * 3600));
    assert_eq!(server.asked().len(), 1);
    // Nor about a certificate that it could not identify.
    let server = saying(|| Instead::Json(200, json!({})));
    let info = server.client().renewal_info(&leaf(false));
    assert!(info.problem.is_some_and(|why| why.contains("does not name the key of its issuer")));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn the_ca_is_asked_hourly_at_most() {
    for (after, again) in
        [("1", 3600), ("0", 3600), ("7200", 7200), ("99999999", 24 * 3600), ("soon", 6 * 3600)]
    {
        let server = saying(move || {
            Instead::With(
                200,
                vec![("Retry-After", after.to_owned())],
                window("2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
            )
        });
        let info = server.client().renewal_info(&leaf(true));
        assert_eq!(info.again.as_secs(), again, "{after}");
    }
}

#[test]
fn junk_is_a_reason_and_no_window() {
    let swapped = window("2100-01-01T00:00:00Z", "2000-01-01T00:00:00Z");
    let never = window("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z");
    let refusal = problem("malformed", "no such\ncertificate");
    let answers: [(u16, String, &str); 9] = [
        (200, "<html>".to_owned(), "answer is invalid"),
        (200, String::new(), "answer is invalid"),
        (200, "[]".to_owned(), "answer is invalid"),
        (200, json!({ "suggestedWindow": { "start": 1, "end": 2 } }).to_string(), "answer is invalid"),
        (200, window("\u{1b}[31m", "soon").to_string(), "is no time"),
        (200, swapped.to_string(), "ends before it begins"),
        (200, never.to_string(), "outside of the certificate's life"),
        (404, refusal.to_string(), "no such"),
        (302, String::new(), "redirects"),
    ];
    for (status, body, words) in answers {
        let server = saying(move || Instead::Text(status, "application/json", body.clone()));
        let info = server.client().renewal_info(&leaf(true));
        let why = info.problem.unwrap_or_else(|| panic!("{words}: {:?}", info.window));
        assert!(why.contains(words) && !why.chars().any(char::is_control), "{why}");
        assert!(info.window.is_none() && (3600..=24 * 3600).contains(&info.again.as_secs()), "{words}");
    }
    // What only explains does no harm.
    let server = saying(|| {
        Instead::Json(
            200,
            json!({ "suggestedWindow": {
        "start": "2000-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z" }, "explanationURL": ["javascript:alert(1)"] }),
        )
    });
    let info = server.client().renewal_info(&leaf(true));
    assert!(info.window.is_some() && info.explanation.is_none() && info.problem.is_none());
}

#[test]
fn t20_windows_are_not_asked_for_elsewhere() {
    for url in [
        "https://elsewhere.test/info",
        "http://127.0.0.1/info",
        "file:///etc/passwd",
        "",
        "https://u:hunter2@127.0.0.1/info",
    ] {
        let server = AcmeServer::start(move |asked, base| {
            (asked.path == "/dir").then(|| directory_with(base, &json!(url)))
        });
        let info = server.client().renewal_info(&leaf(true));
        let why = info.problem.unwrap_or_default();
        assert!(why.contains("another origin") || why.contains("invalid URL"), "{url}: {why}");
        assert!(info.window.is_none() && !why.contains("hunter2"), "{url}: {why}");
        assert_eq!(server.asked().len(), 1, "{url}");
    }
}

/// The orders that were asked for.
fn orders(server: &AcmeServer) -> Vec<Value> {
    server.asked().into_iter().filter(|asked| asked.path == "/order").map(|asked| asked.payload).collect()
}

/// A server that issues, offers windows, and sees `instead` first.
fn issuing(instead: impl Fn(&Asked) -> Option<Instead> + Send + Sync + 'static) -> Issuing {
    Issuing::start(DAY, move |asked, base| {
        let offer = || directory_with(base, &json!(format!("{base}/renewal-info")));
        instead(asked).or_else(|| (asked.path == "/dir").then(offer))
    })
}

#[test]
fn an_order_names_the_certificate_that_it_replaces() {
    let ca = issuing(|_| None);
    let place = Place::at(&ca.server);
    place.enroll().ok();
    place.enroll().arg("--force").ok();
    let orders = orders(&ca.server);
    assert!(orders.len() == 2 && orders[0]["replaces"].is_null(), "{orders:?}");
    let id = orders[1]["replaces"].as_str().expect("the first certificate");
    assert_eq!(id.split('.').count(), 2, "{id}");
    // A server that offers no windows may not know the field, and one that did not issue it has no use for it.
    let other = Issuing::start(DAY, |_, _| None);
    let place = Place::at(&other.server);
    place.enroll().ok();
    place.enroll().arg("--force").ok();
    assert!(self::orders(&other.server).iter().all(|order| order["replaces"].is_null()));
    let moved = Place { url: Place::at(&ca.server).url, ..place };
    std::fs::write(moved.path("root.pem"), ca.server.known_as().1).expect("root");
    moved.enroll().arg("--force").ok();
    let last = self::orders(&ca.server).pop().expect("an order");
    assert!(last["replaces"].is_null(), "{last}");
}

#[test]
fn an_order_is_placed_again_where_the_certificate_is_replaced_already() {
    for (status, kind) in
        [(409, "alreadyReplaced"), (403, "unauthorized"), (404, "malformed"), (500, "serverInternal")]
    {
        let refused = Arc::new(Mutex::new(0));
        let count = Arc::clone(&refused);
        let ca = issuing(move |asked| {
            (asked.path == "/order" && !asked.payload["replaces"].is_null()).then(|| {
                *count.lock().expect("lock") += 1;
                Instead::Json(status, problem(kind, "it has a replacement"))
            })
        });
        let place = Place::at(&ca.server);
        place.enroll().ok();
        let run = place.enroll().args(["--force", "-v"]).ok();
        run.says(["the order is placed without naming the former certificate", kind]);
        assert_eq!((*refused.lock().expect("lock"), ca.server.count("/order")), (1, 3), "{run}");
    }
    // Another refusal is one.
    let server = AcmeServer::start(|asked, base| match asked.path.as_str() {
        "/dir" => Some(directory_with(base, &json!(format!("{base}/renewal-info")))),
        "/order" => Some(Instead::Json(403, problem("rejectedIdentifier", "no"))),
        _ => None,
    });
    let mut client = listening(&server);
    client.settings.replaces = Some(leaf(true));
    let error = client.fails(&["a.test"]);
    assert!(!error.to_string().contains(FINISHED), "{error}");
    assert_eq!(server.count("/order"), 1);
}
