//! The ACME client against a small server that does as it is told: the conversation, accounts, refusals and waits.

mod account_keys;
mod accounts;
mod approval;
pub(super) mod command;
mod hostile;
mod issuing;
pub(crate) mod listeners;
mod low_ports;
mod name_server;
mod patience;
mod renewal_info;
mod resumed;
pub(crate) mod server;
mod signals;
mod solvers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use trustup::acme::ChallengeType;

use self::server::{AcmeServer, Asked, Instead, authorization, problem};
use crate::servers::nobody;
use crate::support::acme::AcmeClient;

/// A server with one answer of its own.
fn server(
    path: &'static str,
    answer: impl Fn(&Asked, &str) -> Instead + Send + Sync + 'static,
) -> AcmeServer {
    AcmeServer::start(move |asked, base| (asked.path == path).then(|| answer(asked, base)))
}

pub(super) fn honest() -> AcmeServer {
    AcmeServer::start(|_, _| None)
}

/// A client that listens somewhere.
fn listening(server: &AcmeServer) -> AcmeClient {
    server.client().listening(0)
}

/// The error of a run that came as far as this server goes.
pub(super) const FINISHED: &str = "this server issues nothing";

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
        ["GET /dir", "HEAD /nonce", "POST /account", "POST /order", "POST /authz"],
        "each answer has the nonce of the next request: {asked:?}"
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
    for asked in server.asked().iter().filter(|asked| asked.method == "POST") {
        let url = asked.protected["url"].as_str().expect("url");
        assert!(url.ends_with(&asked.path) && asked.protected["alg"] == "ES256", "{asked:?}");
        assert_eq!(asked.protected["jwk"].is_null(), asked.path != "/account", "{asked:?}");
    }
    let mut nonces: Vec<String> = server
        .asked()
        .iter()
        .filter_map(|asked| Some(asked.protected["nonce"].as_str()?.to_owned()))
        .collect();
    let all = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), all, "none is used twice");
}

#[test]
fn what_the_ca_refuses_has_its_exit_code_and_its_next_step() {
    for (kind, code, hint) in [
        ("rejectedIdentifier", 4, "administrator to allow them"),
        ("unsupportedIdentifier", 4, "does not issue for such names"),
        ("unauthorized", 4, "remove `/memory/account.pem`"),
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
        assert_eq!(error.retry_after(), Some(Duration::from_secs(5400)), "{kind}");
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
    for user in ["hunter2", "u:hunter2", ":hunter2"] {
        let with_user = https.as_str().replace("https://", &format!("https://{user}@"));
        client.settings.directory = with_user.parse().expect("URL");
        let error = client.fails(&["a.test"]);
        let shown = format!("{error} {:?}", error.hints());
        assert!(error.kind().exit_code() == 2 && !shown.contains("hunter2"), "{shown}");
    }
    client.settings.directory = format!("{https}/{}", "x".repeat(65_536)).parse().expect("URL");
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 2);
    assert_eq!(server.asked().len(), 0);

    client.settings.directory = format!("https://{}/dir", nobody()).parse().expect("URL");
    assert_eq!(client.fails(&["a.test"]).kind().exit_code(), 6);
}
