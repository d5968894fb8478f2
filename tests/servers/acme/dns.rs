//! dns-01: hooks that talk to challtestsrv, updates of a zone of BIND.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use trustup::acme::{DnsSolver, Rfc2136};
use zeroize::Zeroizing;

use super::{challtestsrv_hook, client, pebble, rfc2136, step_ca};
use crate::support::acme::hook;
use crate::support::servers::{Bind, ChallTestSrv, Pebble, PebbleOptions, StepCaOptions};

#[test]
#[ignore = "needs pebble and curl"]
fn dns_01_by_a_hook() {
    let (pebble, dns) = pebble(PebbleOptions::default());
    let directory = TempDir::new().expect("directory");
    let mut client = client(&pebble);
    client.settings.dns = Some(challtestsrv_hook(directory.path(), &dns));
    client.obtain(&["*.a.test", "a.test", "b.test"]).expect("issued");
    let calls = std::fs::read_to_string(directory.path().join("calls")).expect("calls");
    let of = |action: &str| {
        let lines = calls.lines().filter(|line| line.starts_with(&format!("--first argument {action} ")));
        let mut records: Vec<String> =
            lines.map(|line| line.rsplit_once(action).expect("call").1.to_owned()).collect();
        records.sort();
        records
    };
    assert_eq!(of("present").len(), 3, "{calls}");
    assert_eq!(of("present"), of("cleanup"), "{calls}");
    assert!(of("present")[0].starts_with(" _acme-challenge.a.test. "), "{calls}");
}

#[test]
#[ignore = "needs pebble and curl"]
fn every_name_has_the_challenge_that_it_can_have() {
    let (pebble, dns) = pebble(PebbleOptions::default());
    let directory = TempDir::new().expect("directory");
    let mut client = client(&pebble).listening(pebble.http_port());
    client.settings.dns = Some(challtestsrv_hook(directory.path(), &dns));
    client.obtain(&["*.a.test", "127.0.0.1"]).expect("issued");
    for line in ["`*.a.test`: dns-01", "`127.0.0.1`: http-01"] {
        assert!(client.said(line), "{:#?}", client.lines());
    }
}

#[test]
#[ignore = "needs pebble"]
fn a_hook_that_fails_is_quoted_and_cleaned_up_after() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let directory = TempDir::new().expect("directory");
    let log = directory.path().join("calls");
    let script = format!(
        "echo \"$1\" >> {}\nif [ $1 = present ]; then echo no such zone >&2; exit 7; fi",
        log.display()
    );
    let mut client = client(&pebble);
    client.settings.dns = Some(DnsSolver::Hook(vec![hook(directory.path(), &script)]));
    let error = client.fails(&["a.test"]);
    assert!(
        error.to_string().contains("no such zone") && error.to_string().contains("exit status: 7"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&log).expect("calls"), "present\ncleanup\n");

    let script =
        format!("echo \"$1\" >> {}\nif [ $1 = present ]; then sleep 600 & sleep 600; fi", log.display());
    client.settings.dns = Some(DnsSolver::Hook(vec![hook(directory.path(), &script)]));
    client.timeout = Duration::from_secs(5);
    let started = Instant::now();
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains("was stopped"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(std::fs::read_to_string(&log).expect("calls"), "present\ncleanup\npresent\ncleanup\n");
}

#[test]
#[ignore = "needs pebble and BIND"]
fn dns_01_by_updates_of_a_real_zone() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let mut client = client(&pebble);
    client.settings.dns = Some(DnsSolver::Rfc2136(rfc2136(&bind)));
    client.obtain(&["*.example.test", "example.test", "deep.below.example.test"]).expect("issued");
    assert!(client.said("in the zone `example.test.`"), "{:#?}", client.lines());
    for name in ["_acme-challenge.example.test", "_acme-challenge.deep.below.example.test"] {
        assert_eq!(bind.txt(name), [""; 0], "{name}: taken away");
    }

    // A key for one name only, and the zone given.
    let narrow = Rfc2136 {
        key_name: Bind::NARROW_KEY_NAME.to_owned(),
        zone: Some(Bind::ZONE.to_owned()),
        ..rfc2136(&bind)
    };
    client.settings.dns = Some(DnsSolver::Rfc2136(narrow));
    client.obtain(&["example.test"]).expect("issued");
    let error = client.fails(&["other.example.test"]);
    assert!(
        error.to_string().contains("it refuses") && error.hints()[0].contains("update-policy"),
        "{error}"
    );
}

#[test]
#[ignore = "needs pebble and BIND"]
fn aliases_are_followed_as_the_ca_follows_them() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    for zone in [None, Some(Bind::ZONE.to_owned())] {
        // An account of its own each time: what pebble validated before, it may take for valid.
        let mut client = client(&pebble);
        client.settings.dns = Some(DnsSolver::Rfc2136(Rfc2136 { zone, ..rfc2136(&bind) }));
        client.obtain(&["alias.example.test"]).expect("issued");
        assert!(client.said("written at `written.alias.example.test.`"), "{:#?}", client.lines());
        assert_eq!(bind.txt("written.alias.example.test"), ["beside"], "taken away, and nothing else");
        let error = client.fails(&["away.example.test"]);
        assert!(error.to_string().contains("is an alias (CNAME) of `written.elsewhere.test.`"), "{error}");
        // An alias by a wildcard only: a record of its own goes before it.
        client.obtain(&["a.wild.example.test"]).expect("issued");
        assert!(client.said("written at `_acme-challenge.a.wild.example.test.`"), "{:#?}", client.lines());
    }
}

#[test]
#[ignore = "needs pebble and BIND"]
fn a_zone_that_takes_no_update_says_why() {
    let bind = Bind::start();
    let pebble = Pebble::start(PebbleOptions { dns: Some(bind.address()), ..PebbleOptions::default() });
    let mut client = client(&pebble);
    for (settings, words) in [
        (Rfc2136 { key_name: "nobody".to_owned(), ..rfc2136(&bind) }, "does not know a key"),
        (Rfc2136 { secret: Zeroizing::new(b"wrong".to_vec()), ..rfc2136(&bind) }, "signature is wrong"),
        (Rfc2136 { zone: Some("other.test".to_owned()), ..rfc2136(&bind) }, "not authoritative"),
    ] {
        client.settings.dns = Some(DnsSolver::Rfc2136(settings));
        let error = client.fails(&["example.test"]);
        assert!(error.to_string().contains(words), "{error}");
    }
    client.settings.dns = Some(DnsSolver::Rfc2136(rfc2136(&bind)));
    let error = client.fails(&["elsewhere.test"]);
    assert!(error.to_string().contains("does not report the zone"), "{error}");
}

#[test]
#[ignore = "needs step-ca, pebble-challtestsrv and curl"]
fn step_ca_finds_the_record_of_a_hook() {
    let dns = ChallTestSrv::start();
    let (_ca, mut client) = step_ca(StepCaOptions { resolver: Some(dns.dns()), ..StepCaOptions::default() });
    let directory = TempDir::new().expect("directory");
    client.settings.dns = Some(challtestsrv_hook(directory.path(), &dns));
    client.obtain(&["*.a.test", "a.test"]).expect("issued");
}
