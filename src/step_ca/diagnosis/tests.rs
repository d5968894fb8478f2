//! The table of reasons, and what must not be concluded from a clock.

use super::*;
use crate::pki::key::{KeyType, PrivateKey};
use crate::step_ca::Provisioner;
use serde_json::{Map, Value, json};

const NOW: i64 = 1_800_000_000;

fn key() -> &'static PrivateKey {
    static KEY: std::sync::OnceLock<PrivateKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate(KeyType::EcP256).expect("a key"))
}

fn url() -> Url {
    Url::parse("https://ca.test:9000/").expect("a URL")
}

fn provisioners() -> Provisioners {
    let jwk =
        ProvisionerKind::Jwk { kid: "k".to_owned(), key: Some(key().public().clone()), encrypted_key: None };
    let named = |name: &str, kind: ProvisionerKind| Provisioner { name: name.to_owned(), kind };
    Provisioners(vec![named("dev", jwk), named("birth", ProvisionerKind::X5c)])
}

/// A good token with these claims changed (null removes one).
fn token(changes: Value) -> String {
    let mut claims = json!({
        "aud": "https://ca.test/1.0/sign", "iss": "dev", "sub": "web", "iat": NOW, "nbf": NOW, "exp": NOW + 300,
    });
    let mut header = Map::from_iter([("kid".to_owned(), json!("k"))]);
    for (name, value) in changes.as_object().expect("an object") {
        match name.strip_prefix("header ") {
            Some(name) => header.insert(name.to_owned(), value.clone()),
            None => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    jws::sign(key(), header, &claims).expect("signed").to_string()
}

fn facts<'a>(token: &'a str, url: &'a Url, provisioners: &'a Provisioners) -> RefusalFacts<'a> {
    RefusalFacts {
        token,
        now: NOW,
        skew: Some(0),
        ca_url: url,
        ca_names: &[],
        provisioners: Some(provisioners),
        presented_before: None,
    }
}

fn causes(findings: &[RefusalReason]) -> Vec<Cause> {
    findings.iter().map(|finding| finding.cause).collect()
}

#[test]
fn each_reason_is_found_and_no_other() {
    let (url, all) = (url(), provisioners());
    for (changes, wanted, word) in [
        (json!({}), None, ""),
        (json!({"exp": NOW - 50}), None, ""),
        (json!({"nbf": NOW + 50, "iat": NOW + 50}), None, ""),
        (json!({"aud": ["https://other/sign", "https://ca.test:1/sign"]}), None, ""),
        (json!({"aud": "step-certificate-authority"}), None, ""),
        (json!({"exp": NOW - 300}), Some(Cause::Expired), "expired 5 min ago"),
        (json!({"exp": NOW - 61}), Some(Cause::Expired), "expired 61 s ago"),
        (json!({"nbf": NOW + 100}), Some(Cause::NotYetValid), "not valid before"),
        (json!({"iat": NOW + 100, "nbf": null}), Some(Cause::NotYetValid), "not valid before"),
        (json!({"aud": "https://old.test/1.0/sign"}), Some(Cause::WrongAudience), "`old.test:443`"),
        (json!({"aud": "http://ca.test/1.0/sign"}), Some(Cause::WrongAudience), "not for signing"),
        (json!({"aud": "https://ca.test/1.0/sign/"}), Some(Cause::WrongAudience), "not for signing"),
        (json!({"aud": "https://ca.test/1.0/revoke"}), Some(Cause::WrongAudience), "/1.0/revoke"),
        (json!({"aud": "https://ca.test/1.0/sign#x5c/dev"}), Some(Cause::WrongAudience), "not for signing"),
        (json!({"aud": null}), Some(Cause::WrongAudience), "it has no audience"),
        (json!({"iss": "gone\u{1b}"}), Some(Cause::UnknownProvisioner), r"`gone\u{1b}`"),
        (json!({"header kid": "old"}), Some(Cause::UnknownKey), "`dev`"),
        (json!({"sub": ""}), Some(Cause::Incomplete), "`sub`"),
    ] {
        let token = token(changes.clone());
        let found = diagnose(&facts(&token, &url, &all));
        assert_eq!(causes(&found), wanted.into_iter().collect::<Vec<_>>(), "{changes}: {found:?}");
        for finding in &found {
            assert!(finding.what.contains(word) && !finding.hint.is_empty(), "{changes}: {finding:?}");
        }
        let checked = before(&facts(&token, &url, &all));
        assert_eq!(checked.is_ok(), wanted.is_none(), "{changes}: {checked:?}");
    }
    let used = token(json!({}));
    let found = diagnose(&RefusalFacts { presented_before: Some(NOW - 60), ..facts(&used, &url, &all) });
    assert_eq!(causes(&found), [Cause::Reused]);
    let when = text::moment(NOW - 60);
    assert!(found[0].what.contains(&format!("by an earlier run here, at {when}")), "{found:?}");
    // Changed on its way.
    let (start, end) = used.rsplit_once('.').expect("parts");
    let forged = format!("{start}.{}{}", if end.starts_with('A') { 'B' } else { 'A' }, &end[1..]);
    assert_eq!(causes(&diagnose(&facts(&forged, &url, &all))), [Cause::WrongSignature]);
    assert_eq!(causes(&diagnose(&facts("no.token", &url, &all))), [Cause::Incomplete]);
    assert_eq!(before(&facts("no.token", &url, &all)).expect_err("none").kind().exit_code(), 2);
}

#[test]
fn clocks_that_differ_are_the_reason_where_one_of_them_sees_no_other() {
    let (url, all) = (url(), provisioners());
    let good = token(json!({}));
    for (skew, wanted, side) in [
        (-50, None, ""),
        (50, None, ""),
        // Its own five minutes, and one of leeway, are over there.
        (400, Some(Cause::ClockSkew), "6 min behind"),
        // It was made in the future, as the CA sees it.
        (-90, Some(Cause::ClockSkew), "90 s ahead of"),
    ] {
        let facts = RefusalFacts { skew: Some(skew), ..facts(&good, &url, &all) };
        let found = diagnose(&facts);
        assert_eq!(causes(&found), wanted.into_iter().collect::<Vec<_>>(), "{skew}");
        assert!(found.iter().all(|finding| finding.hint.contains(side)), "{found:?}");
        // It decides nothing beforehand (threat T7), and is reported.
        let warnings = before(&facts).expect("sent");
        assert_eq!(warnings.len(), usize::from(wanted.is_some()), "{skew}");
    }
    // Without the CA's clock nothing is made up.
    assert_eq!(diagnose(&RefusalFacts { skew: None, ..facts(&good, &url, &all) }), []);
    // Expired by both clocks is expired, and the clocks are mentioned.
    let old = token(json!({"exp": NOW - 1000}));
    let facts = RefusalFacts { skew: Some(500), ..facts(&old, &url, &all) };
    let error = explain(Error::not_trusted("refused"), &facts);
    assert!(error.what().contains("expired 16 min ago"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("8 min behind")), "{error:?}");
}

#[test]
fn without_a_reason_the_unseen_ones_are_named() {
    let (url, all) = (url(), provisioners());
    let good = token(json!({}));
    let refused = || Error::not_trusted("the CA refused (HTTP status 401)").at("https://ca.test/1.0/sign");
    let error = explain(refused(), &facts(&good, &url, &all));
    assert_eq!((error.kind().exit_code(), error.hints().len()), (4, 3));
    assert!(error.hints()[0].contains("used before") && error.hints()[1].contains("started after"));
    assert!(error.causes()[0].contains("401"), "{error}");
    let several = token(json!({"exp": NOW - 300, "iss": "gone"}));
    let error = explain(refused(), &facts(&several, &url, &all));
    assert!(error.what().contains("expired") && error.hints()[1].contains("also: the CA has no provisioner"));
    for part in good.split('.').filter(|part| part.len() > 40) {
        assert!(!format!("{error:?}").contains(part));
    }
}

#[test]
fn tokens_of_birth_certificates() {
    use base64::Engine as _;
    let (url, all) = (url(), provisioners());
    let leaf = |key: &PrivateKey, year: i32| {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let der = params.self_signed(key).expect("signed").der().to_vec();
        json!([base64::engine::general_purpose::STANDARD.encode(der)])
    };
    let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let audience = "https://ca.test/1.0/sign#x5c/birth";
    for (x5c, iss, aud, wanted) in [
        (leaf(key(), 2030), "birth", audience, None),
        (leaf(key(), 2027), "birth", audience, Some(Cause::BirthCertificate)),
        (leaf(&other, 2030), "birth", audience, Some(Cause::WrongSignature)),
        (leaf(key(), 2030), "birth", "https://ca.test/1.0/sign", Some(Cause::WrongAudience)),
        (leaf(key(), 2030), "gone", "https://ca.test/1.0/sign#x5c/gone", Some(Cause::UnknownProvisioner)),
        (json!("x"), "birth", audience, None),
    ] {
        let token = token(json!({"iss": iss, "aud": aud, "header x5c": x5c}));
        let found = diagnose(&facts(&token, &url, &all));
        assert_eq!(causes(&found), wanted.into_iter().collect::<Vec<_>>(), "{found:?}");
    }
}

#[test]
fn t7_extreme_times_break_nothing() {
    let (url, all) = (url(), provisioners());
    for time in [i64::MIN, -1, 0, 978_307_200, 4_070_908_800, i64::MAX] {
        for skew in [None, Some(i64::MIN), Some(i64::MAX), Some(time)] {
            let token = token(json!({"exp": time, "iat": time, "nbf": time}));
            let facts = RefusalFacts { now: time, skew, ..facts(&token, &url, &all) };
            let _ = (diagnose(&facts), before(&facts), explain(Error::not_trusted("x"), &facts));
        }
    }
    // The earlier verdict is by our clock, whatever the CA's header says.
    let good = token(json!({}));
    for skew in [978_307_200 - NOW, 4_070_908_800 - NOW] {
        assert!(before(&RefusalFacts { skew: Some(skew), ..facts(&good, &url, &all) }).is_ok());
    }
}
