use tempfile::TempDir;

use super::*;
use crate::certificate::{CERT_MODE, KEY_MODE};
use crate::settings::rows::Layout;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
/// 2099-01-01.
const YEAR_2099: i64 = 4_070_908_800;
const PATH: &str = "/.web.key.trustup/lease.json";

fn holder(id: &str) -> Holder {
    Holder { id: id.to_owned(), host: Some(format!("host-{id}")) }
}

/// A day's life that is due now.
fn life() -> Life {
    Life { from: NOW - DAY * 66 / 100, until: NOW + DAY * 34 / 100, limit: None }
}

fn terms() -> Terms {
    Terms::new(Some(&life()), NOW, 60)
}

/// A volume, and a pair on it.
struct Volume {
    _place: TempDir,
    host: Sysroot,
    outputs: Outputs,
}

impl Volume {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let host = Sysroot::open(place.path()).unwrap();
        let outputs = Outputs {
            cert: "/web.crt".to_owned(),
            key: "/web.key".to_owned(),
            chain: None,
            ca_out: None,
            owner: None,
            cert_mode: CERT_MODE,
            key_mode: KEY_MODE,
            layout: Layout::Files,
            allow_shared: false,
        };
        Volume { _place: place, host, outputs }
    }

    fn claim(&self, id: &str, now: i64) -> Claim {
        claim(&self.host, &self.outputs, &holder(id), terms(), now).unwrap()
    }

    fn lease(&self, id: &str, now: i64) -> Lease {
        match self.claim(id, now) {
            Claim::Ours(lease) => lease,
            Claim::Held(held) => panic!("{held:?}"),
        }
    }

    fn held(&self, id: &str, now: i64) -> Held {
        match self.claim(id, now) {
            Claim::Held(held) => held,
            Claim::Ours(lease) => panic!("{lease:?}"),
        }
    }

    /// Puts this there instead of what is there.
    fn plant(&self, content: &[u8]) {
        let own = pending::lock_at_once(&self.host, &self.outputs).unwrap();
        own.write(LEASE, content).unwrap();
    }

    fn plant_until(&self, until: i64) {
        let content = Content { schema: 1, holder: "other".to_owned(), host: None, until };
        self.plant(&serde_json::to_vec(&content).unwrap());
    }

    fn names(&self) -> Vec<String> {
        self.host.look_again();
        self.host.list("/.web.key.trustup").unwrap().unwrap_or_default()
    }

    fn content(&self) -> String {
        self.host.look_again();
        let (bytes, meta) = self.host.read_no_link(PATH, LIMIT).unwrap().unwrap();
        assert_eq!(meta.mode, 0o600);
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn one_renews_and_the_others_wait_for_its_deadline_at_most() {
    let volume = Volume::new();
    let lease = volume.lease("a", NOW);
    assert!(volume.content().contains("host-a"));
    assert_eq!(volume.held("b", NOW), Held { host: Some("host-a".to_owned()), until: NOW + 60 });
    assert_eq!(volume.held("c", NOW + 59).until, NOW + 60);
    lease.release(&volume.host, &volume.outputs);
    // Nothing is left, not even the directory.
    volume.host.look_again();
    assert_eq!(volume.host.list("/").unwrap().unwrap(), [""; 0]);
    volume.lease("b", NOW + 1).release(&volume.host, &volume.outputs);
}

#[test]
fn a_holder_that_died_is_waited_for_until_its_deadline() {
    let volume = Volume::new();
    let died = volume.lease("a", NOW);
    assert_eq!(volume.held("b", NOW + 59).until, NOW + 60);
    let taken = volume.lease("b", NOW + 60);
    assert_eq!(volume.names(), [LEASE]);
    // If the first one only slept, it does not take the lease of the second one with it.
    died.release(&volume.host, &volume.outputs);
    assert!(volume.content().contains("host-b"));
    taken.release(&volume.host, &volume.outputs);
    assert!(volume.names().is_empty());
}

#[test]
fn a_process_that_claims_again_prolongs_its_lease() {
    let volume = Volume::new();
    let _first = volume.lease("a", NOW - 100);
    let _second = volume.lease("a", NOW - 70);
    assert_eq!(volume.held("b", NOW - 69).until, NOW - 10);
}

#[test]
fn t27_a_lease_that_is_dated_2099_does_not_count() {
    for until in [YEAR_2099, i64::MAX, NOW + 61, NOW, 0, i64::MIN] {
        let volume = Volume::new();
        volume.plant_until(until);
        let lease = volume.lease("b", NOW);
        assert!(volume.content().contains("host-b"), "{until}");
        lease.release(&volume.host, &volume.outputs);
    }
    let volume = Volume::new();
    volume.plant_until(NOW + 60);
    assert_eq!(volume.held("b", NOW).until, NOW + 60);
}

#[test]
fn t27_no_lease_delays_beyond_the_moment_of_the_renewal() {
    let us = holder("b");
    let judged = |terms, until, now| judge("a", until, &us, terms, now);
    // Leases that are prolonged for ever are waited for until the bound after it was due.
    assert_eq!(judged(terms(), NOW + 100, NOW + 50), Judgement::Held(NOW + 60));
    assert_eq!(judged(terms(), NOW + 100, NOW + 60), Judgement::Void);
    // Before it is due, and near its end.
    assert_eq!(judged(terms(), NOW - 940, NOW - 1_000), Judgement::Held(NOW - 940));
    let late = Terms::new(Some(&life()), life().until - 100, 60);
    assert_eq!(judged(late, life().until - 150, life().until - 200), Judgement::Void);
    // Short lives have short leases.
    for (seconds, bound) in [(20, 1), (300, 15), (86_400, 60)] {
        let life = Life { from: NOW, until: NOW + seconds, limit: None };
        assert_eq!(Terms::new(Some(&life), NOW + seconds / 2, 60).bound, bound);
    }
    assert_eq!(Terms::new(None, NOW, 100_000), Terms { bound: 300, limit: i64::MAX });
    assert_eq!(Terms::new(None, NOW, i64::MIN).bound, 1);
    for (from, until) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MIN)] {
        let life = Life { from, until, limit: None };
        for edge in [i64::MIN, 0, i64::MAX] {
            let _ = judged(Terms::new(Some(&life), edge, edge), edge, edge);
            let _ = judged(Terms::new(Some(&life), edge, edge), i64::MAX, i64::MIN);
        }
    }
}

#[test]
fn a_lease_that_cannot_be_read_counts_from_when_it_was_written() {
    for content in ["", "{", "[]", r#"{"schema":2,"until":"soon"}"#, "\0"] {
        let volume = Volume::new();
        volume.plant(content.as_bytes());
        let written = volume.host.lstat(PATH).unwrap().unwrap().modified.0;
        let terms = Terms { bound: 60, limit: i64::MAX };
        let claim = |now| claim(&volume.host, &volume.outputs, &holder("b"), terms, now).unwrap();
        assert!(matches!(claim(written), Claim::Held(Held { until, .. }) if until == written + 60));
        // A clock that differs by more than a lease may last.
        let Claim::Ours(lease) = claim(written + 60) else { panic!("{content}") };
        lease.release(&volume.host, &volume.outputs);
        volume.plant(content.as_bytes());
        assert!(matches!(claim(written - 61), Claim::Ours(_)), "{content}");
    }
    // What a newer trustup adds changes nothing.
    let volume = Volume::new();
    volume
        .plant(format!(r#"{{"schema":2,"holder":"x","host":null,"until":{},"more":1}}"#, NOW + 9).as_bytes());
    assert_eq!(volume.held("b", NOW).until, NOW + 9);
}

#[test]
fn a_run_at_work_on_this_host_is_waited_for() {
    let volume = Volume::new();
    let own = pending::lock_at_once(&volume.host, &volume.outputs).unwrap();
    assert_eq!(volume.held("b", NOW), Held { host: None, until: NOW + 1 });
    drop(own);
    volume.lease("b", NOW).release(&volume.host, &volume.outputs);
}

/// As if the locks of several nodes did not know each other: all of them work in the directory at the same time.
#[test]
fn without_a_common_lock_only_one_makes_or_removes_the_file() {
    let volume = Volume::new();
    let own = pending::lock_at_once(&volume.host, &volume.outputs).unwrap();
    let nodes = ["a", "b", "c", "d", "e", "f"];
    let count = |work: &(dyn Fn(&str) -> bool + Sync)| {
        std::thread::scope(|scope| {
            let all: Vec<_> = nodes.iter().map(|id| scope.spawn(move || work(id))).collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>()
        })
    };
    for _ in 0..50 {
        assert_eq!(count(&|id| own.create(LEASE, id.as_bytes()).unwrap()), 1);
        let (bytes, _) = own.read(LEASE, LIMIT).unwrap().unwrap();
        assert_eq!(count(&|id| own.take_away(LEASE, &bytes, id).unwrap()), 1);
        assert!(own.read(LEASE, LIMIT).unwrap().is_none());
    }
    // What was replaced since it was read stays.
    assert!(own.create(LEASE, b"new").unwrap());
    for expected in [&b"old"[..], b"", b"newer", b"n"] {
        assert!(!own.take_away(LEASE, expected, "a").unwrap());
        assert_eq!(own.read(LEASE, LIMIT).unwrap().unwrap().0, b"new");
    }
}

#[test]
fn a_holder_is_random_and_says_where_it_is() {
    let env = Env::fixed([("HOSTNAME", "web-1")], NOW);
    let (one, other) = (Holder::draw(&env).unwrap(), Holder::draw(&env).unwrap());
    assert_eq!(one.host.as_deref(), Some("web-1"));
    assert!(one.id.len() == 32 && one.id != other.id);
}
