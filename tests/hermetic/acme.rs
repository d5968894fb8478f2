//! The ACME client against servers that lie, stall and talk nonsense (threat T20), and against a webroot and a hook that
//! are not as they should be.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use trustup::acme::{ChallengeType, DnsSolver};

use crate::acme_server::{
    AcmeServer, Asked, Instead, authorization, challenge, directory, dns_value, problem, usual,
};
use crate::servers::{WebServer, nobody, respond};
use crate::support::acme::{AcmeClient, hook, loopback};

/// A server with one answer of its own.
fn server(
    path: &'static str,
    answer: impl Fn(&Asked, &str) -> Instead + Send + Sync + 'static,
) -> AcmeServer {
    AcmeServer::start(move |asked, base| (asked.path == path).then(|| answer(asked, base)))
}

fn honest() -> AcmeServer {
    AcmeServer::start(|_, _| None)
}

/// A client that listens somewhere.
fn listening(server: &AcmeServer) -> AcmeClient {
    server.client().listening(0)
}

/// The error of a run that came as far as this server goes.
const FINISHED: &str = "this server issues nothing";

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("directory").next().is_none()
}

#[test]
fn an_honest_server_is_asked_in_order() {
    let server = honest();
    let mut client = listening(&server);
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    let asked: Vec<String> =
        server.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(
        asked[..5],
        ["GET /dir", "HEAD /nonce", "POST /account", "HEAD /nonce", "POST /order"],
        "{asked:?}"
    );
    for asked in server.asked() {
        assert!(asked.head.contains("user-agent: trustup/"), "{}", asked.head);
        assert!(
            asked.method != "POST" || asked.head.contains("content-type: application/jose+json"),
            "{}",
            asked.head
        );
    }
    let account = server.asked().into_iter().find(|asked| asked.path == "/account").expect("account");
    assert_eq!(account.payload["termsOfServiceAgreed"], true);
    let order = server.asked().into_iter().find(|asked| asked.path == "/order").expect("order");
    assert_eq!(order.payload, json!({ "identifiers": [{ "type": "dns", "value": "a.test" }] }));
    assert!(order.protected["kid"].as_str().expect("kid").ends_with("/account/1"));
}

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
fn t20_nothing_is_written_through_a_link_below_the_webroot() {
    let server = honest();
    let outside = TempDir::new().expect("outside");
    let plant: [(&str, fn(&Path, &Path)); 5] = [
        ("directory", |root, outside| symlink(outside, root.join(".well-known")).expect("link")),
        ("last directory", |root, outside| {
            std::fs::create_dir(root.join(".well-known")).expect("directory");
            symlink(outside, root.join(".well-known/acme-challenge")).expect("link");
        }),
        ("file", |root, outside| {
            std::fs::create_dir_all(root.join(".well-known/acme-challenge")).expect("directory");
            symlink(outside.join("target"), root.join(".well-known/acme-challenge/token")).expect("link");
        }),
        ("other file", |root, _| {
            std::fs::create_dir_all(root.join(".well-known/acme-challenge")).expect("directory");
            std::fs::write(root.join(".well-known/acme-challenge/token"), "theirs").expect("file");
        }),
        ("file for a directory", |root, _| std::fs::write(root.join(".well-known"), "theirs").expect("file")),
    ];
    for (what, plant) in plant {
        let root = TempDir::new().expect("webroot");
        plant(root.path(), outside.path());
        let before = crate::support::tree::Tree::of(root.path());
        let mut client = server.client();
        client.settings.webroot = Some(root.path().to_owned());
        let error = client.fails(&["a.test"]);
        assert!(!error.to_string().contains(FINISHED), "{what}: {error}");
        assert!(is_empty(outside.path()), "{what}");
        before.assert_same(&crate::support::tree::Tree::of(root.path()), what);
    }
    assert_eq!(server.count("/challenge"), 0);
}

#[test]
fn the_answer_in_a_webroot_can_be_read_by_its_web_server() {
    let root = TempDir::new().expect("webroot");
    let place = root.path().join(".well-known/acme-challenge");
    let there = place.clone();
    let server = server("/challenge", move |_, base| {
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o7777;
        let content = std::fs::read_to_string(there.join("token")).expect("the answer");
        assert!(content.starts_with("token.") && content.len() == 6 + 43, "{content}");
        let modes = [mode(&there.join("token")), mode(&there), mode(there.parent().expect("parent"))];
        let mut answer = challenge(base, "http-01", "token", "processing");
        answer["modes"] = json!(modes);
        assert_eq!(modes, [0o644, 0o755, 0o755]);
        Instead::Json(200, answer)
    });
    let mut client = server.client();
    client.settings.webroot = Some(root.path().to_owned());
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    assert!(is_empty(root.path()), "and nothing is left");
    client.settings.webroot = Some(root.path().join("missing"));
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
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
        let started = Instant::now();
        let error = client.fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), 6, "{path}: {error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{path}");
    }
}

#[test]
fn what_the_ca_refuses_has_its_exit_code_and_its_next_step() {
    for (kind, code, hint) in [
        ("rejectedIdentifier", 4, ""),
        ("unsupportedIdentifier", 4, ""),
        ("unauthorized", 4, "--account-key"),
        ("malformed", 4, ""),
        ("userActionRequired", 2, "--agree-tos"),
        ("externalAccountRequired", 2, "--eab-kid"),
        ("rateLimited", 6, "try again in 90 min"),
        ("serverInternal", 6, ""),
    ] {
        let server = server("/order", move |_, _| {
            let headers = vec![("Retry-After", "5400".to_owned())];
            Instead::With(429, headers, problem(kind, "no\u{1b}[31m\nway"))
        });
        let error = listening(&server).fails(&["a.test"]);
        assert_eq!(error.kind().exit_code(), code, "{kind}: {error}");
        assert!(
            error.to_string().contains(&format!(r"no\u{{1b}}[31m\u{{a}}way ({kind})")),
            "{kind}: {error}"
        );
        assert!(error.hints().join(" ").contains(hint), "{kind}: {:?}", error.hints());
        assert_eq!(server.count("/order"), 1, "{kind}: asked once");
    }
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    for after in [json!("1"), json!(null)] {
        let server = AcmeServer::start(move |asked, _| {
            let first = ["/dir", "/order", "/authz"].contains(&asked.path.as_str()) && asked.before == 0;
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
fn nonces_that_are_never_good_are_given_up_on() {
    let server = server("/order", |_, _| Instead::Json(400, problem("badNonce", "again")));
    let error = listening(&server).fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 6, "{error}");
    assert!((10..100).contains(&server.count("/order")), "{}", server.count("/order"));
}

#[test]
fn t20_a_hook_never_gets_a_value_that_looks_like_an_option() {
    let directory = TempDir::new().expect("directory");
    let calls = directory.path().join("calls");
    let program = hook(directory.path(), &format!("echo \"$@\" >> {}", calls.display()));
    // The first token makes such a value, the second does not.
    let key = std::sync::Mutex::new(Value::Null);
    let server = AcmeServer::start(move |asked, base| {
        if asked.path == "/account" {
            *key.lock().expect("lock") = asked.protected.clone();
        }
        let odd = asked.path == "/authz" && asked.payload["status"] != "deactivated" && asked.before < 2;
        let dash = |wanted: bool| {
            let key = key.lock().expect("lock").clone();
            let mut tokens = (0..).map(|number| format!("token-{number}"));
            tokens.find(|token| dns_value(token, &key).starts_with('-') == wanted).expect("a token")
        };
        match asked.path.as_str() {
            "/authz" if odd => Some(Instead::Json(200, authorization(base, &dash(true), "pending"))),
            "/authz" => {
                let status = if asked.before == 2 { "pending" } else { "valid" };
                Some(Instead::Json(200, authorization(base, &dash(false), status)))
            }
            _ => None,
        }
    });
    let mut client = server.client();
    client.settings.dns = Some(DnsSolver::Hook(vec![program]));
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}: {:?}", client.lines());
    assert_eq!(server.count("/order"), 2);
    let calls = std::fs::read_to_string(&calls).expect("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(
        calls[0].starts_with("present _acme-challenge.a.test. ") && calls[1].starts_with("cleanup "),
        "{calls:?}"
    );
    assert!(calls.iter().all(|call| !call.contains(" -")), "{calls:?}");
}

#[test]
fn a_hook_must_be_safe_to_run() {
    let server = honest();
    let directory = TempDir::new().expect("directory");
    let program = hook(directory.path(), "exit 0");
    let mut client = server.client();
    for command in [vec![], vec!["hook".to_owned()], vec!["./hook".to_owned()]] {
        client.settings.dns = Some(DnsSolver::Hook(command));
        assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
    }
    client.settings.dns = Some(DnsSolver::Hook(vec![program.clone()]));
    assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
    for (path, mode) in [(Path::new(&program), 0o777), (directory.path(), 0o777)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("mode");
        let error = client.fails(&["a.test"]);
        assert!(error.kind().exit_code() == 2 && error.to_string().contains("mode is 0777"), "{error}");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("mode");
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
fn a_validation_that_fails_has_the_reason_of_the_ca() {
    // As step-ca: the challenge is lost, authorization and order stay pending.
    let server = server("/authz", |asked, base| {
        let mut authorization = authorization(base, "token", "pending");
        if asked.before > 0 {
            authorization["challenges"][0]["status"] = json!("invalid");
            authorization["challenges"][0]["error"] = problem("unauthorized", "the wrong\u{7} answer");
        }
        Instead::Json(200, authorization)
    });
    let error = listening(&server).fails(&["a.test"]);
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(error.to_string().contains(r"the wrong\u{7} answer (unauthorized)"), "{error}");
    assert!(error.hints()[0].contains("port 80 of `a.test`"), "{:?}", error.hints());
}

#[test]
fn a_challenge_that_stays_pending_is_posted_again() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let server = AcmeServer::start(move |asked, base| match asked.path.as_str() {
        "/challenge" => {
            counted.fetch_add(1, Ordering::SeqCst);
            None
        }
        "/authz" if counted.load(Ordering::SeqCst) < 3 => {
            let mut authorization = authorization(base, "token", "pending");
            if asked.before > 0 {
                authorization["challenges"][0]["error"] = problem("connection", "refused");
            }
            Some(Instead::Json(200, authorization))
        }
        _ => None,
    });
    let mut client = listening(&server);
    assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
    assert_eq!(posts.load(Ordering::SeqCst), 3);
    assert_eq!(
        client.lines().iter().filter(|line| line.contains("asking again")).count(),
        1,
        "{:?}",
        client.lines()
    );
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

#[test]
fn what_cannot_be_is_said_before_anybody_is_asked() {
    let server = honest();
    let mut client = server.client();
    for names in [["a@b.test"], ["spiffe://a/b"], ["*.a.test"]] {
        assert_eq!(client.fails(&names).kind().exit_code(), 2, "{names:?}");
    }
    client.settings.challenge = Some(ChallengeType::Dns01);
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
    client.settings.challenge = None;
    let https = client.settings.directory.clone();
    client.settings.directory = https.as_str().replace("https:", "http:").parse().expect("URL");
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
    assert_eq!(server.asked().len(), 0);

    client.settings.directory = format!("https://{}/dir", nobody()).parse().expect("URL");
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 6);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = honest();
    let taken = crate::servers::listen();
    let port = taken.local_addr().expect("address").port();
    let mut client = server.client().listening(port);
    let error = client.fails(&["a.test"]);
    assert!(error.place() == Some(&loopback(port).to_string()), "{error}");
    assert!(error.hints()[0].contains("--webroot"), "{:?}", error.hints());
    client.settings.challenge = Some(ChallengeType::TlsAlpn01);
    client.settings.tls_listen = Some(loopback(port));
    assert!(client.fails(&["a.test"]).hints()[0].contains("--tls-listen"));
    assert_eq!(server.count("/challenge"), 0, "the CA is told only when the answer is up");
}

#[test]
fn an_account_file_that_is_none_is_an_error_without_its_content() {
    let server = honest();
    let mut client = listening(&server);
    client.store.content = Some(b"hunter2".to_vec());
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 2 && !error.to_string().contains("hunter2"), "{error}");
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key").serialize_pem();
    client.store.content = Some(rsa.into_bytes());
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 2 && error.to_string().contains("P-256"), "{error}");
    assert_eq!(client.store.saved, 0);
}

#[test]
fn a_new_account_is_saved_before_it_is_used() {
    let server = server("/order", |_, _| Instead::Json(403, problem("rejectedIdentifier", "no")));
    let mut client = listening(&server);
    client.fails(&["a.test"]);
    assert_eq!(client.store.saved, 1);
    assert!(client.store.account_url().ends_with("/account/1"));
    client.fails(&["a.test"]);
    assert_eq!((client.store.saved, server.count("/account")), (1, 1));
}
