//! pebble on when to renew (ARI), orders that replace a certificate, and orders that take longer than a run.

use rustix::process::Signal;
use serde_json::json;
use trustup::pki::cert::Certificate;

use super::binary::Place;
use super::{client, pebble, step_ca};
use crate::support::ca;
use crate::support::enrollment::chain;
use crate::support::run::Trustup;
use crate::support::servers::{PebbleOptions, StepCaOptions, wait_for};

fn pem(certificate: &Certificate) -> String {
    ca::pem("CERTIFICATE", certificate.der())
}

#[test]
#[ignore = "needs pebble"]
fn pebble_says_when_to_renew() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    let chain = client.obtain(&["a.test"]).expect("issued");
    let leaf = &chain[0];
    let info = client.renewal_info(leaf);
    let window = info.window.unwrap_or_else(|| panic!("{info:?}"));
    assert!(leaf.not_before() < window.start && window.end < leaf.not_after(), "{info:?}");
    assert_eq!((info.again.as_secs(), info.problem), (6 * 3600, None));
    let life = leaf.not_before()..=leaf.not_after();
    let moment = window.moment(&life, leaf.not_before(), u64::MAX / 2);
    assert!((window.start..=window.end).contains(&moment), "{moment}");

    let day = |day: &str| format!("2001-01-{day}T00:00:00Z");
    let swapped = json!({ "suggestedWindow": { "start": day("02"), "end": day("01") } }).to_string();
    let early = json!({ "suggestedWindow": { "start": day("01"), "end": day("02") } }).to_string();
    for (answer, why) in [
        ("{", "answer is invalid"),
        (swapped.as_str(), "ends before it begins"),
        (early.as_str(), "outside of the certificate's life"),
    ] {
        pebble.set_renewal_info(&pem(leaf), answer);
        let info = client.renewal_info(leaf);
        assert!(
            info.window.is_none() && info.problem.is_some_and(|problem| problem.contains(why)),
            "{answer}"
        );
    }
    // Since its beginning, as for a certificate that is going to be revoked.
    let moment = |seconds: i64| jiff::Timestamp::from_second(seconds).expect("moment").to_string();
    let (start, end) = (leaf.not_before(), leaf.not_before() + 1);
    let answer = json!({ "suggestedWindow": { "start": moment(start), "end": moment(end) },
        "explanationURL": "https://ca.test/incident" });
    pebble.set_renewal_info(&pem(leaf), &answer.to_string());
    let info = client.renewal_info(leaf);
    assert_eq!(info.explanation.as_deref(), Some("https://ca.test/incident"));
    assert_eq!(info.window.expect("a window").moment(&life, end + 10, 0), end + 10, "now");
    // One that it did not issue.
    let info = client.renewal_info(&chain[1]);
    assert!(info.window.is_none() && info.problem.is_some(), "{info:?}");
}

#[test]
#[ignore = "needs pebble"]
fn pebble_learns_what_is_replaced() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut first = client(&pebble).listening(pebble.http_port());
    let chain = first.obtain(&["a.test"]).expect("issued");
    let replacements = || pebble.log().matches("is a replacement of").count();
    first.settings.replaces = Some(chain[0].clone());
    let second = first.obtain(&["a.test"]).expect("renewed");
    assert_eq!((replacements(), first.said("without naming")), (1, false), "{:#?}", first.lines());
    // A second time, and for another reason: it is issued all the same.
    first.obtain(&["a.test"]).expect("renewed again");
    assert!(
        first.said("without naming the former certificate") && first.said("alreadyReplaced"),
        "{:#?}",
        first.lines()
    );
    let mut other = client(&pebble).listening(pebble.http_port());
    other.settings.replaces = Some(second[0].clone());
    other.obtain(&["a.test"]).expect("issued for another account");
    assert!(other.said("without naming the former certificate"), "{:#?}", other.lines());
    first.settings.replaces = Some(second[0].clone());
    first.obtain(&["b.test"]).expect("issued for another name");
    assert!(first.said("without naming the former certificate"), "{:#?}", first.lines());
    assert_eq!(replacements(), 1);
}

#[test]
#[ignore = "needs pebble"]
fn the_command_names_the_certificate_that_it_replaces() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let place = Place::new();
    place.at(&pebble, &["a.test"]).ok();
    assert_eq!(pebble.log().matches("is a replacement of").count(), 0);
    place.at(&pebble, &["a.test"]).arg("--force").ok();
    assert_eq!(pebble.log().matches("is a replacement of").count(), 1);
}

#[test]
#[ignore = "needs pebble"]
fn an_order_that_takes_longer_than_a_run_is_continued() {
    let (pebble, _dns) = pebble(PebbleOptions { order_retry_after: Some(3600), ..PebbleOptions::default() });
    let place = Place::new();
    let asked = |path: &str| pebble.log().matches(&format!("POST {path}")).count();
    // pebble issues a moment after it was asked, and wants to be asked about that in an hour.
    let run = place.at(&pebble, &["a.test"]).fails(6);
    run.says(["still working on the order `https://localhost:", "check again in 60 min", "are kept in `"]);
    let key = std::fs::read(place.path(".server.key.trustup/key.pem")).expect("the key in progress");
    wait_for("the certificate", || pebble.log().contains("Issued certificate serial").then_some(()));
    place.at(&pebble, &["a.test"]).arg("-v").ok().says(["resuming the order of an earlier run"]);
    assert_eq!((asked("/order-plz"), asked("/finalize-order/")), (1, 1), "{}", pebble.log());
    assert_eq!(std::fs::read(place.path("server.key")).expect("key"), key);
}

/// The daemon learns long before a certificate is due that its CA wants it replaced, as before a mass revocation, also after
/// the server lost its accounts.
#[test]
#[ignore = "needs pebble"]
fn the_daemon_follows_the_window_of_pebble() {
    let profiles = [("default".to_owned(), 600)].into();
    let (mut pebble, _dns) = pebble(PebbleOptions { profiles, ..PebbleOptions::default() });
    let place = Place::new();
    let text = format!(
        "[ca]\nroot = \"{}\"\n[[certificate]]\nnames = [\"a.test\"]\ncert = \"{}\"\nkey = \"{}\"\nissuer_root = \"{}\"\n\
         [[certificate.enroll]]\nmethod = \"acme\"\ndirectory = \"{}\"\nagree_tos = true\nhttp_listen = \"127.0.0.1:{}\"\n",
        pebble.root_file().display(),
        place.path("server.crt"),
        place.path("server.key"),
        pebble.issuer_root_file().display(),
        pebble.directory_url(),
        pebble.http_port(),
    );
    std::fs::write(place.path("trustup.toml"), text).expect("written");
    let daemon = Trustup::new(["--timeout", "20s", "renew", "--daemon", "--allow-shared-config", "--config"]);
    let daemon = daemon.arg(place.path("trustup.toml")).env("HOME", place.path("")).start();
    let leaf = || {
        let path = place.path("server.crt");
        std::path::Path::new(&path).exists().then(|| chain(path.as_ref())[0].clone())
    };
    let is_other = |former: &Certificate| leaf().filter(|leaf| leaf.serial() != former.serial());
    let mut last = wait_for("the first certificate", leaf);
    for round in 0..4 {
        // Since its beginning: at once. Its own schedule says in seven minutes.
        let moment = |seconds: i64| jiff::Timestamp::from_second(seconds).expect("moment").to_string();
        let (start, end) = (moment(last.not_before()), moment(last.not_before() + 1));
        let answer = json!({ "suggestedWindow": { "start": start, "end": end } });
        pebble.set_renewal_info(&pem(&last), &answer.to_string());
        last = wait_for("a renewal in the window", || is_other(&last));
        assert_eq!(pebble.log().matches("is a replacement of").count(), round + 1, "{}", pebble.log());
    }
    // Accounts, orders and issuing root are new: what it has is of another root now.
    pebble.restart();
    pebble.issuer_root_file();
    daemon.signal(Signal::USR1);
    last = wait_for("a certificate of the new root", || is_other(&last));
    assert!(last.not_after() > last.not_before());
    daemon.signal(Signal::TERM);
    let run = daemon.end();
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["the CA was asked when to renew it: next attempt at"]);
}

#[test]
#[ignore = "needs step-ca"]
fn step_ca_is_asked_nothing_that_it_does_not_offer() {
    let (_ca, client) = step_ca(StepCaOptions::default());
    let root = ca::root("Root");
    let info = client.renewal_info(&Certificate::from_der(&root.der).expect("certificate"));
    assert_eq!((info.window, info.problem, info.again.as_secs()), (None, None, 24 * 3600));
}
