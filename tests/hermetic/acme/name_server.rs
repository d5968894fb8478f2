//! dns-01 by updates, at name servers that are not as they should be.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use serde_json::json;
use trustup::acme::{DnsSolver, Rfc2136};
use zeroize::Zeroizing;

use super::command::Place;
use super::server::{AcmeServer, Asked, Instead, authorization, usual};
use super::{FINISHED, honest};
use crate::support::acme::AcmeClient;
use crate::support::enrollment::write;

/// What it does other than it should.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// UDP is closed.
    NoUdp,
    /// Answers over UDP are cut.
    Cut,
    /// Answers over UDP are none at first: other numbers, noise.
    Noise,
    /// It takes every update, and never has the record.
    Forgets,
    /// It answers nothing at all.
    Silent,
    /// It takes updates, and does not say what texts a name has.
    Mute,
    /// `_acme-challenge.a.test` is an alias, over another one.
    Alias,
    /// An alias of a name that is served elsewhere.
    AliasAway,
    /// The same, and it serves that name, too.
    AliasServed,
    /// It does not say which zone a name is in.
    NoZone,
    /// Two names that are aliases of each other.
    Circle,
    /// Every name that has no record of its own is an alias.
    Wildcard,
    /// It is gone when records are to be taken away.
    Leaves,
}

/// A name server for `test.` that has what it was told last.
struct NameServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Updates, in order.
    updates: Arc<Mutex<Vec<Record>>>,
}

impl NameServer {
    fn start(fault: Fault) -> NameServer {
        // A port that is free for both.
        let (tcp, udp) = std::iter::repeat_with(|| {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let udp = UdpSocket::bind(tcp.local_addr().expect("address")).ok()?;
            Some((tcp, udp))
        })
        .find_map(|pair| pair)
        .expect("a port");
        let address = tcp.local_addr().expect("address");
        let (stop, updates) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        if fault == Fault::NoUdp {
            drop(udp);
        } else {
            udp.set_read_timeout(Some(Duration::from_millis(50))).expect("time-out");
            let (stop, updates) = (Arc::clone(&stop), Arc::clone(&updates));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::SeqCst) {
                    let Ok((length, peer)) = udp.recv_from(&mut buffer) else { continue };
                    if fault == Fault::Noise {
                        for noise in [
                            &b""[..],
                            b"x",
                            &[0xff; 40],
                            &[buffer[0] ^ 1, buffer[1], 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                        ] {
                            udp.send_to(noise, peer).expect("sent");
                        }
                    }
                    if fault == Fault::Cut {
                        let mut cut =
                            Message::from_vec(&buffer[..length]).expect("a message").into_response();
                        (cut.metadata.truncation, cut.authorities, cut.additionals) =
                            (true, Vec::new(), Vec::new());
                        udp.send_to(&cut.to_vec().expect("bytes"), peer).expect("sent");
                        continue;
                    }
                    let asked = &buffer[..length];
                    if fault == Fault::Silent
                        || fault == Fault::Leaves && is_deletion(asked)
                        || fault == Fault::Mute && is_for_text(asked)
                    {
                        continue;
                    }
                    let answer = answer(&buffer[..length], &updates, fault);
                    udp.send_to(&answer, peer).expect("sent");
                }
            });
        }
        let (stopped, told) = (Arc::clone(&stop), Arc::clone(&updates));
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in tcp.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                if matches!(fault, Fault::Silent | Fault::Leaves | Fault::Mute) {
                    held.push(stream);
                    continue;
                }
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).expect("whole");
                let answer = answer(&question, &told, fault);
                stream.write_all(&u16::try_from(answer.len()).expect("short").to_be_bytes()).expect("sent");
                stream.write_all(&answer).expect("sent");
            }
        });
        NameServer { address, stop, updates }
    }

    fn client(&self, server: &super::server::AcmeServer) -> AcmeClient {
        let mut client = server.client();
        client.settings.dns = Some(DnsSolver::Rfc2136(Rfc2136 {
            server: self.address.to_string(),
            zone: None,
            key_name: "key".to_owned(),
            secret: Zeroizing::new(b"secret".to_vec()),
        }));
        client
    }

    /// What was added, and what was deleted.
    fn told(&self) -> [usize; 2] {
        let updates = self.updates.lock().expect("lock");
        [DNSClass::IN, DNSClass::NONE]
            .map(|class| updates.iter().filter(|record| record.dns_class == class).count())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// What the name is an alias of.
fn alias(fault: Fault, name: &Name) -> Option<Name> {
    let to = |name: &str| Some(name.parse().expect("name"));
    match (fault, name.to_string().as_str()) {
        (Fault::Alias, "_acme-challenge.a.test.") => to("over.test."),
        (Fault::Alias, "over.test.") => to("Written.TEST."),
        (Fault::AliasAway | Fault::AliasServed, "_acme-challenge.a.test.") => {
            to("written.elsewhere.example.")
        }
        (Fault::Circle, "_acme-challenge.a.test.") => to("back.test."),
        (Fault::Circle, "back.test.") => to("_acme-challenge.a.test."),
        (Fault::Wildcard, name) if name != "test." => to("any.elsewhere.example."),
        _ => None,
    }
}

/// The zone that it serves and that has this name.
fn zone_of(fault: Fault, name: &Name) -> Option<&'static str> {
    let zones = if fault == Fault::AliasServed { &["test.", "elsewhere.example."][..] } else { &["test."] };
    zones.iter().copied().find(|zone| name.to_string().ends_with(zone))
}

fn answer(question: &[u8], updates: &Mutex<Vec<Record>>, fault: Fault) -> Vec<u8> {
    let asked = Message::from_vec(question).expect("a message");
    let mut answer = asked.clone().into_response();
    (answer.authorities, answer.additionals) = (Vec::new(), Vec::new());
    let mut updates = updates.lock().expect("lock");
    if asked.metadata.op_code == OpCode::Update {
        let record = &asked.authorities[0];
        let is_there = asked.queries[0].name().zone_of(&record.name);
        if !is_there {
            answer.metadata.response_code = ResponseCode::NotZone;
        } else if fault == Fault::Wildcard || alias(fault, &record.name).is_none() {
            updates.extend(asked.authorities);
        }
        return answer.to_vec().expect("bytes");
    }
    let name = asked.queries[0].name();
    let found = updates.iter().rfind(|record| record.name == *name).cloned();
    if let Some(target) = alias(fault, name).filter(|_| found.is_none()) {
        answer.add_answer(Record::from_rdata(name.clone(), 1, RData::CNAME(CNAME(target))));
    } else if asked.queries[0].query_type() == RecordType::SOA && fault == Fault::NoZone {
        answer.metadata.response_code = ResponseCode::NotImp;
    } else if let Some(zone) = zone_of(fault, name)
        && asked.queries[0].query_type() == RecordType::SOA
    {
        let name = |name: &str| name.parse().expect("name");
        let soa = SOA::new(name("ns.test."), name("admin.test."), 1, 1, 1, 1, 1);
        answer.add_authority(Record::from_rdata(name(zone), 1, RData::SOA(soa)));
    } else if zone_of(fault, name).is_none() {
        answer.metadata.response_code = ResponseCode::Refused;
    } else if fault != Fault::Forgets {
        answer.add_answers(found);
    }
    answer.to_vec().expect("bytes")
}

fn is_deletion(question: &[u8]) -> bool {
    let asked = Message::from_vec(question).expect("a message");
    asked.metadata.op_code == OpCode::Update
        && asked.authorities.iter().any(|record| record.dns_class == DNSClass::NONE)
}

fn is_for_text(question: &[u8]) -> bool {
    let asked = Message::from_vec(question).expect("a message");
    asked.metadata.op_code == OpCode::Query && asked.queries[0].query_type() == RecordType::TXT
}

#[test]
fn a_name_server_is_asked_over_tcp_where_udp_does_not_do() {
    for fault in [Fault::NoUdp, Fault::Cut, Fault::Noise] {
        let (server, names) = (honest(), NameServer::start(fault));
        let mut client = names.client(&server);
        let error = client.fails(&["a.test"]);
        assert!(error.to_string().contains(FINISHED), "{error}");
        assert!(client.said("in the zone `test.`"), "{:?}", client.lines());
        assert_eq!(names.told(), [1, 1]);
    }
}

#[test]
fn the_record_of_an_alias_is_written_where_it_leads() {
    let (server, names) = (honest(), NameServer::start(Fault::Alias));
    let mut client = names.client(&server);
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    assert!(
        client.said("`written.test.`, of which `_acme-challenge.a.test.` is an alias,"),
        "{:?}",
        client.lines()
    );
    assert_eq!(names.told(), [1, 1], "and taken away there");
    let updates = names.updates.lock().expect("lock");
    assert!(updates.iter().all(|record| record.name.to_string() == "written.test."), "{updates:?}");

    // A name that is one by a wildcard only has a record of its own.
    let names = NameServer::start(Fault::Wildcard);
    let mut client = names.client(&server);
    let error = client.fails(&["a.test"]);
    assert!(error.to_string().contains(FINISHED), "{error}");
    assert!(client.said("at `_acme-challenge.a.test.` in the zone `test.`"), "{:?}", client.lines());
    assert_eq!(names.told(), [1, 1]);
}

#[test]
fn an_alias_that_leads_nowhere_is_named() {
    let server = honest();
    for zone in [None, Some("test".to_owned())] {
        for (fault, words) in [
            (
                Fault::AliasAway,
                "`_acme-challenge.a.test.` is an alias (CNAME) of `written.elsewhere.example.`",
            ),
            (Fault::Circle, "more than 8 aliases"),
        ] {
            let names = NameServer::start(fault);
            let mut client = names.client(&server);
            if let Some(DnsSolver::Rfc2136(settings)) = &mut client.settings.dns {
                settings.zone = zone.clone();
            }
            let error = client.fails(&["a.test"]);
            assert!(error.kind().exit_code() == 1 && error.to_string().contains(words), "{error}");
            assert_eq!((names.told(), server.count("/challenge")), ([0, 0], 0));
        }
    }
}

#[test]
fn a_record_that_never_appears_is_taken_away_when_the_time_is_up() {
    let (server, names) = (honest(), NameServer::start(Fault::Forgets));
    let mut client = names.client(&server);
    client.timeout = Duration::from_secs(2);
    let started = Instant::now();
    let error = client.fails(&["a.test"]);
    assert!(
        error.kind().exit_code() == 6 && error.to_string().contains("does not answer with the record"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((names.told(), server.count("/challenge")), ([1, 1], 0));
}

#[test]
fn a_name_server_that_says_nothing_takes_no_more_than_the_time() {
    let (server, names) = (honest(), NameServer::start(Fault::Silent));
    let mut client = names.client(&server);
    client.timeout = Duration::from_secs(2);
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 6 && error.to_string().contains("does not answer"), "{error}");
    // Nothing was written, so that nothing is taken away, and no more time is spent on that.
    assert_eq!((names.told(), server.count("/challenge")), ([0, 0], 0));
    let lines = client.lines();
    assert!(
        !lines.iter().any(|line| line.contains("could not remove the answer to a challenge")),
        "{lines:?}"
    );
}

/// From the moment that a record is written it is one to take away, whatever is waited for.
#[test]
fn a_record_is_taken_away_where_the_time_ends_right_behind_it() {
    let (server, names) = (honest(), NameServer::start(Fault::Mute));
    let mut client = names.client(&server);
    client.timeout = Duration::from_secs(2);
    let error = client.fails(&["a.test"]);
    assert!(error.kind().exit_code() == 6 && error.to_string().contains("does not answer"), "{error}");
    assert_eq!((names.told(), server.count("/challenge")), ([1, 1], 0));
}

#[test]
fn records_that_cannot_be_taken_away_take_their_time_together() {
    // Three names, and a server that is gone when they are to be taken away.
    let names = NameServer::start(Fault::Leaves);
    let server = AcmeServer::start(three_names);
    let mut client = names.client(&server);
    client.timeout = Duration::from_secs(60);
    let started = Instant::now();
    client.fails(&["a.test", "b.test", "c.test"]);
    assert_eq!(names.told(), [3, 0]);
    let left = client
        .lines()
        .iter()
        .filter(|line| line.contains("could not remove the answer to a challenge"))
        .count();
    assert_eq!(left, 3, "{:?}", client.lines());
    // One alone takes nine seconds.
    assert!(started.elapsed() < Duration::from_secs(22), "{:?}", started.elapsed());
}

/// The command line that is wrong says what helps, and that works.
#[test]
fn the_hints_about_a_name_server_are_followed() {
    let server = honest();
    let place = Place::at(&server);
    write(&place.path("tsig"), b"c2VjcmV0\n", 0o600);
    let file = place.path("tsig");
    let [silent, loops, away, served, mute] =
        [Fault::Silent, Fault::Circle, Fault::AliasAway, Fault::AliasServed, Fault::NoZone]
            .map(NameServer::start);
    let good = NameServer::start(Fault::Alias);
    let with = |names: &NameServer, more: &[&str]| {
        let address = names.address.to_string();
        let key = ["--rfc2136-key-name", "key", "--rfc2136-key-file", file.to_str().expect("UTF-8")];
        let means = [&["--rfc2136-server", &address], &key[..], more].concat();
        place.enroll_by(
            &means.iter().map(Into::into).collect::<Vec<_>>(),
            if names.address == silent.address { "2s" } else { "20s" },
        )
    };
    with(&silent, &[]).fails(6).says(["it must be reachable over UDP or TCP from here"]);
    with(&good, &[]).fails(4).says([FINISHED]);
    with(&loops, &[]).fails(1).says(["hint: is it a loop?"]);
    with(&good, &[]).fails(4).says([FINISHED]);
    with(&mute, &[]).fails(1).says(["hint: `--rfc2136-zone ZONE` names it"]);
    with(&mute, &["--rfc2136-zone", "test"]).fails(4).says([FINISHED]);
    with(&away, &[])
        .fails(1)
        .says(["`--rfc2136-server` must serve the name that is written, and the key must be valid for it"]);
    with(&served, &[]).fails(4).says([FINISHED]);
    assert_eq!((served.told(), mute.told()), ([1, 1], [1, 1]));
}

/// An order for three names, each with an authorization of its own.
pub(super) fn three_names(asked: &Asked, base: &str) -> Option<Instead> {
    let name = asked.path.strip_prefix("/authz-");
    if let Some(name) = name {
        let status = if asked.before == 0 { "pending" } else { "valid" };
        let mut authorization = authorization(base, &format!("token-{name}"), status);
        authorization["identifier"]["value"] = json!(format!("{name}.test"));
        return Some(Instead::Json(200, authorization));
    }
    match usual(asked, base) {
        Instead::With(status, headers, mut order) if asked.path == "/order" => {
            order["authorizations"] = json!(["a", "b", "c"].map(|name| format!("{base}/authz-{name}")));
            Some(Instead::With(status, headers, order))
        }
        _ => None,
    }
}
