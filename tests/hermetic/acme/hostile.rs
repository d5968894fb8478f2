//! Servers that lie, and servers that talk nonsense (threat T20).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use trustup::acme::DnsSolver;

use super::server::{AcmeServer, Asked, Instead, authorization, directory, usual};
use super::{FINISHED, is_empty, listening, server};
use crate::servers::{WebServer, respond};
use crate::support::acme::hook;

#[test]
fn t20_a_token_that_is_none_ends_the_order_before_anything_sees_it() {
    let long = "a".repeat(129);
    for token in ["../../x", "", "a/b", "a b", "a\u{1b}[31m", "ä", "..", "a.b", &long] {
        let token = token.to_owned();
        let server =
            server("/authz", move |_, base| Instead::Json(200, authorization(base, &token, "pending")));
        let webroot = TempDir::new().expect("webroot");
        let mut client = server.client();
        client.settings.webroot = Some(webroot.path().to_owned());
        let error = client.fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), 4, "{error}");
        assert!(error.to_string().contains("base64url"), "{error}");
        assert!(is_empty(webroot.path()));

        let calls = webroot.path().join("calls");
        let program = hook(webroot.path(), &format!("echo \"$@\" >> {}", calls.display()));
        let mut client = server.client();
        client.settings.dns = Some(DnsSolver::Hook(vec![program]));
        client.fails(&["a.test"]);
        assert!(!calls.exists());

        let mut client = listening(&server);
        client.fails(&["a.test"]);
        assert!(!client.said("listening"), "{:?}", client.lines());
        assert_eq!(server.count("/challenge"), 0);
    }
}

#[test]
fn t20_no_url_leads_to_another_origin() {
    let other = WebServer::http(|_, stream| respond(stream, 200, &[], b"{}"));
    let elsewhere = [
        other.url("/x"),
        "https://ca.elsewhere.test/x".to_owned(),
        "//x".to_owned(),
        "x y".to_owned(),
        "https://u:hunter2@127.0.0.1/x".to_owned(),
    ];
    type Place = fn(&str, &Asked, &str) -> Option<Instead>;
    let places: [(&str, Place); 8] = [
        ("directory", |url, asked, base| {
            let mut directory = directory(base);
            directory["newOrder"] = json!(url);
            (asked.path == "/dir").then_some(Instead::Json(200, directory))
        }),
        ("account", |url, asked, _| {
            let headers = vec![("Location", url.to_owned())];
            (asked.path == "/account").then(|| Instead::With(201, headers, json!({ "status": "valid" })))
        }),
        ("order", |url, asked, base| {
            let Instead::With(status, _, order) = usual(asked, base) else { return None };
            (asked.path == "/order").then(|| Instead::With(status, vec![("Location", url.to_owned())], order))
        }),
        ("authorization", |url, asked, base| changed_order(asked, base, "authorizations", json!([url]))),
        ("finalize", |url, asked, base| changed_order(asked, base, "finalize", json!(url))),
        ("challenge", |url, asked, base| {
            let mut authorization = authorization(base, "token", "pending");
            authorization["challenges"][0]["url"] = json!(url);
            (asked.path == "/authz").then_some(Instead::Json(200, authorization))
        }),
        ("certificate", |url, asked, base| {
            let Instead::Json(_, mut order) =
                usual(&Asked { path: "/order/1".to_owned(), ..asked.clone() }, base)
            else {
                return None;
            };
            order["status"] = json!("valid");
            order["certificate"] = json!(url);
            (asked.path == "/finalize").then_some(Instead::Json(200, order))
        }),
        ("redirect", |url, asked, _| {
            let headers = vec![("Location", url.to_owned())];
            (asked.path == "/nonce").then(|| Instead::With(302, headers, Value::Null))
        }),
    ];
    for (place, change) in places {
        for url in elsewhere.clone() {
            let shown = format!("{place}: {url}");
            let server = AcmeServer::start(move |asked, base| change(&url, asked, base));
            let mut client = listening(&server);
            let error = client.fails(&["a.test"]);
            let text = format!("{error}");
            assert!(
                ["another origin", "no URL", "redirects", "invalid uri"]
                    .iter()
                    .any(|words| text.contains(words)),
                "{shown}: {text}"
            );
            assert!(!text.contains("hunter2") && !text.contains(FINISHED), "{shown}: {text}");
            if !["certificate"].contains(&place) {
                assert!(
                    !client.said("listening"),
                    "{shown}: before anything is put up: {:?}",
                    client.lines()
                );
            }
        }
    }
    assert_eq!(other.connections(), 0);
}

fn changed_order(asked: &Asked, base: &str, field: &str, value: Value) -> Option<Instead> {
    match usual(asked, base) {
        Instead::With(status, headers, mut order) if asked.path == "/order" => {
            order[field] = value;
            Some(Instead::With(status, headers, order))
        }
        _ => None,
    }
}

#[test]
fn a_url_that_is_one_to_some_only_is_none() {
    for name in ["newNonce", "newAccount", "newOrder"] {
        for odd in ["/no nce".to_owned(), "/\u{7f}".to_owned(), format!("/{}", "x".repeat(65_536))] {
            let server = server("/dir", move |_, base| {
                let mut directory = directory(base);
                directory[name] = json!(format!("{base}{odd}"));
                Instead::Json(200, directory)
            });
            let error = listening(&server).fails(&["a.test"]);
            assert!(error.kind().exit_code() == 1 && error.to_string().contains("no URL"), "{name}: {error}");
            assert!(error.to_string().len() < 500, "{name}: {error}");
            assert_eq!(server.asked().len(), 1, "{name}");
        }
    }
}

#[test]
fn answers_that_are_no_acme_are_named_for_what_they_are() {
    let html = "<html><head><title>\u{1b}[31mLogin</title></head></html>";
    for path in ["/dir", "/account", "/order", "/authz", "/challenge", "/order/1", "/finalize"] {
        for (status, kind, body) in [
            (500, "text/html", html),
            (404, "text/html", html),
            (403, "text/plain", ""),
            (400, "text/html", html),
            (400, "application/problem+json", "{\"type\":7}"),
            (200, "text/html", html),
            (200, "application/json", "[]"),
            (200, "application/json", ""),
            (200, "application/json", "{\"status\":\"odd\"}"),
            (301, "text/html", html),
        ] {
            let server = server(path, move |_, _| Instead::Text(status, kind, body.to_owned()));
            let error = listening(&server).fails(&["a.test"]);
            let text = error.to_string();
            assert!(error.place().is_some(), "{path} {status}: {text}");
            assert!(!text.contains(FINISHED), "{path} {status} {body}: {text}");
            assert!(
                status < 400 || text.contains(&format!("HTTP status {status}")),
                "{path} {status}: {text}"
            );
            assert!([1, 4].contains(&error.kind().exit_code()), "{path} {status}: {text}");
        }
    }
}

#[test]
fn bodies_and_waits_have_an_end() {
    for path in ["/dir", "/order", "/authz", "/finalize"] {
        let server = server(path, |_, _| {
            Instead::Raw(Box::new(|stream| {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n",
                )?;
                let chunk = vec![b' '; 1024 * 1024];
                loop {
                    stream.write_all(&chunk)?;
                }
            }))
        });
        let error = listening(&server).fails(&["a.test"]);
        assert!(error.to_string().contains("larger than 1 MiB"), "{path}: {error}");
    }
    for path in ["/dir", "/order", "/challenge"] {
        let server = server(path, |_, _| {
            Instead::Raw(Box::new(|stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    stream.write_all(b" ")?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }))
        });
        let mut client = listening(&server);
        client.timeout = Duration::from_millis(1500);
        // The whole answer would take half an hour.
        let error = client.fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), 6, "{path}: {error}");
    }
}

#[test]
fn a_wait_that_overflows_every_clock_is_just_too_long() {
    for seconds in [u64::MAX, u64::MAX / 1000, i64::MAX as u64, 1 << 40] {
        for (path, status) in [("/dir", 503), ("/order", 429), ("/authz", 200), ("/order/1", 200)] {
            let server = AcmeServer::start(move |asked, base| {
                if asked.path != path {
                    return None;
                }
                let usual = match usual(asked, base) {
                    Instead::Json(_, value) | Instead::With(_, _, value) => value,
                    _ => Value::Null,
                };
                let value = if path == "/order/1" {
                    json!({ "status": "processing", "authorizations": [], "finalize": format!("{base}/finalize") })
                } else if path == "/authz" {
                    authorization(base, "token", "pending")
                } else {
                    usual
                };
                Some(Instead::With(status, vec![("Retry-After", seconds.to_string())], value))
            });
            let mut client = listening(&server);
            client.timeout = Duration::from_secs(10);
            let started = Instant::now();
            let error = client.fails(&["a.test"]);
            assert_eq!(error.kind().exit_code(), 6, "{path}, {seconds}: {error}");
            assert!(started.elapsed() < Duration::from_secs(10), "{path}, {seconds}: it is not waited for");
        }
    }
}

#[test]
fn a_chain_that_is_none_is_refused() {
    let server_with = |chain: String| {
        AcmeServer::start(move |asked, base| match asked.path.as_str() {
            "/finalize" => {
                let Instead::Json(_, mut order) =
                    usual(&Asked { path: "/order/1".to_owned(), ..asked.clone() }, base)
                else {
                    return None;
                };
                order["status"] = json!("valid");
                order["certificate"] = json!(format!("{base}/certificate"));
                Some(Instead::Json(200, order))
            }
            "/certificate" => Some(Instead::Text(200, "application/pem-certificate-chain", chain.clone())),
            _ => None,
        })
    };
    let good = crate::support::ca::root("Root").pem;
    let half = good[..good.len() / 2].to_owned();
    let key = good.replace("CERTIFICATE", "PRIVATE KEY");
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    for (chain, words) in [
        (String::new(), "no certificate"),
        ("<html>".to_owned(), "no certificate"),
        (half.clone(), "certificate 1 of the chain that the CA sent is not whole"),
        (format!("{good}{half}"), "certificate 2 of the chain that the CA sent is not whole"),
        (format!("{good}{key}"), "certificate 2 of the chain that the CA sent is no certificate"),
        (junk, "cannot be read"),
        (good.repeat(101), "101 certificates"),
    ] {
        let error = listening(&server_with(chain)).fails(&["a.test"]);
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn an_order_has_no_more_authorizations_than_names() {
    let server = AcmeServer::start(|asked, base| {
        changed_order(asked, base, "authorizations", json!(vec![format!("{base}/authz"); 10_000]))
    });
    let error = listening(&server).fails(&["a.test"]);
    assert!(error.to_string().contains("10000 names"), "{error}");
    assert_eq!(server.count("/authz"), 0);
}

#[test]
fn names_of_the_server_are_names() {
    for name in ["a.test\n", "-x", "../x", "*.a.test", "a test", "user@a.test", ""] {
        let name = name.to_owned();
        let server = server("/authz", move |_, base| {
            let mut authorization = authorization(base, "token", "pending");
            authorization["identifier"]["value"] = json!(name);
            Instead::Json(200, authorization)
        });
        let mut client = listening(&server);
        let error = client.fails(&["a.test"]);
        assert!(error.to_string().contains("no name of the order"), "{error}");
        assert!(!client.said("listening"));
    }
}
