//! Accounts: made, kept, found again, forgotten by the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use trustup::acme::Eab;
use trustup::pki::key::KeyType;

use super::command::Place;
use super::server::{AcmeServer, Instead, directory, problem};
use super::{FINISHED, honest, listening, server};
use crate::support::acme::key_of_other_software;

#[test]
fn an_account_file_that_is_none_is_an_error_without_its_content() {
    let server = honest();
    let mut client = listening(&server);
    client.store.content = Some(b"hunter2".to_vec());
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 2 && !error.to_string().contains("hunter2"), "{error}");
    assert_eq!(client.store.saved, 0);
}

#[test]
fn an_account_is_made_anew_only_where_it_is_forgotten_or_the_ca_has_moved() {
    for (kind, moved, anew) in [
        ("accountDoesNotExist", false, true),
        ("accountDoesNotExist", true, true),
        ("unauthorized", true, true),
        // step-ca before 0.25.
        ("malformed", true, true),
        // The account may have been closed, the order may be nonsense.
        ("unauthorized", false, false),
        ("malformed", false, false),
        ("rejectedIdentifier", true, false),
    ] {
        let server = AcmeServer::start(move |asked, _| {
            let old = asked.path == "/order"
                && asked.protected["kid"].as_str().is_some_and(|kid| kid.ends_with("/old"));
            old.then(|| Instead::Json(400, problem(kind, "not this account")))
        });
        let mut client = listening(&server);
        client.fails(&["a.test"]);
        let (content, url) = (client.store.content.clone().expect("saved"), client.store.account_url());
        let key = |content: &[u8]| {
            let text = String::from_utf8(content.to_vec()).expect("text");
            text[text.find("-----BEGIN").expect("key")..].to_owned()
        };
        let before = key(&content);
        let old =
            if moved { "https://elsewhere.test/old".to_owned() } else { url.replace("/account/1", "/old") };
        let content = String::from_utf8(content).expect("text").replace(&url, &old);
        client.store.content = Some(content.into_bytes());
        let error = client.fails(&["a.test"]);
        let text = format!("{kind}, moved: {moved}: {error}");
        assert_eq!(
            (error.to_string().contains(FINISHED), client.store.saved),
            (anew, if anew { 2 } else { 1 }),
            "{text}"
        );
        assert_eq!(client.store.account_url() == url, anew, "{text}");
        assert!(anew || error.kind().exit_code() == 4, "{text}");
        // The same key where only the account is gone; else the old one is still there.
        let now = key(client.store.content.as_deref().expect("kept"));
        let aside: Vec<String> = client.store.aside.iter().map(|content| key(content)).collect();
        let another = anew && kind != "accountDoesNotExist";
        assert_eq!((now != before, !aside.is_empty()), (another, another), "{text}");
        assert!(aside.iter().all(|aside| *aside == before), "{text}");
        assert_eq!(client.said("is kept in `/memory/account.pem.old`"), another, "{:?}", client.lines());
    }
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

#[test]
fn an_account_that_cannot_be_kept_is_not_made() {
    let server = honest();
    let mut client = listening(&server);
    client.store.is_full = true;
    client.fails(&["a.test"]);
    // Nor is one looked for with a key of other software.
    client.store.content = Some(key_of_other_software(KeyType::EcP256));
    client.fails(&["a.test"]);
    assert_eq!(server.count("/account"), 0);

    let place = Place::at(&server);
    fs::create_dir(place.path("directory")).expect("directory");
    let run = place.enroll().arg("--account-key").arg(place.path("missing/account.pem")).fails(1);
    run.says([
        "no such directory",
        "hint: `--account-key FILE` keeps the account's key: create its directory first",
    ]);
    assert_eq!(server.count("/account"), 0, "{run}");
    fs::create_dir(place.path("missing")).expect("directory");
    place.enroll().arg("--account-key").arg(place.path("missing/account.pem")).fails(4).says([FINISHED]);
    assert!(place.path("missing/account.pem").exists());
    // What was tried out leaves nothing behind.
    place.enroll().arg("--account-key").arg(place.path("directory/account.pem")).fails(4);
    assert_eq!((server.count("/account"), names(&place)), (2, vec!["account.pem".to_owned()]));
}

/// What is in the directory of the account.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("directory")).expect("directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn one_file_for_two_cas_loses_no_key() {
    let refuses = || {
        AcmeServer::start(|asked, base| {
            let known = asked.protected["kid"].as_str().is_none_or(|kid| kid.starts_with(base));
            (!known).then(|| Instead::Json(401, problem("unauthorized", "who is that?")))
        })
    };
    let (staging, production) = (refuses(), refuses());
    let place = Place::at(&staging);
    fs::create_dir(place.path("directory")).expect("directory");
    let account = place.path("directory/account.pem");
    place.enroll().arg("--account-key").arg(&account).fails(4).says([FINISHED]);
    let first = fs::read_to_string(&account).expect("account");
    let other = Place::at(&production);
    let run = other.enroll().arg("--account-key").arg(&account).fails(4);
    run.says([FINISHED, "is kept in", "account.pem.old-", &place.url, "--account-key"]);
    let names = names(&place);
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0] == "account.pem" && names[1].starts_with("account.pem.old-"), "{names:?}");
    let aside = place.path("directory").join(&names[1]);
    assert_eq!(fs::read_to_string(&aside).expect("set aside"), first);
    assert_eq!(fs::metadata(&aside).expect("set aside").permissions().mode() & 0o7777, 0o600);
    assert!(!fs::read_to_string(&account).expect("account").contains(&place.url));
    // Beside the pair's key, each server has a file of its own, and what is set aside is there as well.
    place.enroll().fails(4);
    let beside = place.path(".tls.key.trustup");
    let kept = |place: &std::path::Path| fs::read_dir(place).expect("directory").count();
    let before = kept(&beside);
    let file = fs::read_dir(&beside).expect("directory").next().expect("account").expect("entry").path();
    let text = fs::read_to_string(&file).expect("account");
    fs::write(
        &file,
        text.replace(&place.url["https://".len()..place.url.len() - "/dir".len()], "elsewhere.test"),
    )
    .expect("account");
    place.enroll().fails(4).says([FINISHED, "is kept in", ".old-"]);
    assert_eq!(kept(&beside), before + 1);
}

#[test]
fn contacts_and_external_account_reach_the_server_however_the_account_is_made() {
    for bare in [false, true] {
        let server = AcmeServer::start(|asked, base| match asked.path.as_str() {
            "/dir" => {
                let mut directory = directory(base);
                directory["meta"] = json!({ "externalAccountRequired": true });
                Some(Instead::Json(200, directory))
            }
            "/account" if asked.payload["onlyReturnExisting"] == true => {
                Some(Instead::Json(400, problem("accountDoesNotExist", "no such account")))
            }
            _ => None,
        });
        let mut client = listening(&server);
        client.settings.contact = vec!["admin@a.test".to_owned(), "mailto:ops@a.test".to_owned()];
        client.settings.eab = Some(Eab::from_texts("kid-1", "c2VjcmV0LXNlY3JldA").expect("EAB"));
        client.store.content = bare.then(|| key_of_other_software(KeyType::EcP256));
        assert!(client.fails(&["a.test"]).to_string().contains(FINISHED));
        let asked = server.asked();
        let mut told = asked.iter().filter(|asked| asked.path == "/account");
        if bare {
            let lookup = &told.next().expect("a lookup").payload;
            assert_eq!(*lookup, json!({ "onlyReturnExisting": true }));
        }
        let made = told.next().expect("an account");
        assert_eq!(
            (&made.payload["contact"], told.next().is_none()),
            (&json!(["mailto:admin@a.test", "mailto:ops@a.test"]), true)
        );
        // RFC 8555 section 7.3.4.
        let binding = &made.payload["externalAccountBinding"];
        let part = |name: &str| URL_SAFE_NO_PAD.decode(binding[name].as_str().expect(name)).expect(name);
        let header: Value = serde_json::from_slice(&part("protected")).expect("JSON");
        assert_eq!(header, json!({ "alg": "HS256", "kid": "kid-1", "url": made.protected["url"] }));
        let key: Value = serde_json::from_slice(&part("payload")).expect("JSON");
        assert_eq!(key, made.protected["jwk"], "bare: {bare}");
    }
}

#[test]
fn an_account_that_is_not_good_any_more_is_not_taken() {
    for status in ["deactivated", "revoked"] {
        let server = server("/account", move |_, base| {
            Instead::With(200, vec![("Location", format!("{base}/account/1"))], json!({ "status": status }))
        });
        let mut client = listening(&server);
        client.store.content = Some(key_of_other_software(KeyType::EcP256));
        let error = client.fails(&["a.test"]);
        assert!(error.kind().exit_code() == 4 && error.to_string().contains(status), "{error}");
        assert!(error.hints()[0].contains("/memory/account.pem"), "{:?}", error.hints());
        assert_eq!((client.store.saved, server.count("/order")), (0, 0));
    }
}
