//! The shipped binary where there is nothing else: an empty root without `/proc`, and a network of its own in which
//! every address of the world leads back to this machine, so that a packet to any resolver would be seen.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::authority::Authority;
use crate::dockerd::Ended;
use crate::support::binary;
use crate::support::network::in_own_network;
use crate::support::program::copy_for_all;

/// An empty root with the binary in it, and these files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    copy_for_all(binary::shipped(), root.path(), 0o755);
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

/// Runs the binary with that root as its own, and no variable at all.
fn inside(root: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new("/usr/sbin/chroot");
    binary::clear(&mut command);
    command.arg(root).arg("/trustup").args(arguments);
    Ended::from(command.output().expect("chroot"))
}

/// Datagrams sent and TCP connections begun in this network so far, both address families.
fn sent() -> (u64, u64) {
    let (v4, v6) =
        (std::fs::read_to_string("/proc/self/net/snmp"), std::fs::read_to_string("/proc/self/net/snmp6"));
    let (v4, v6) = (v4.unwrap(), v6.unwrap());
    let column = |protocol: &str, name: &str| -> u64 {
        let lines: Vec<Vec<&str>> = v4
            .lines()
            .filter(|line| line.starts_with(protocol))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let place = lines[0].iter().position(|word| *word == name).expect(name);
        lines[1][place].parse().unwrap()
    };
    let datagrams_v6: u64 = v6
        .lines()
        .find_map(|line| line.strip_prefix("Udp6OutDatagrams"))
        .map(|count| count.trim().parse().unwrap())
        .expect("Udp6OutDatagrams");
    (column("Udp:", "OutDatagrams") + datagrams_v6, column("Tcp:", "ActiveOpens"))
}

/// A resolver on port 53 of every address; says that every name is 127.0.0.1. Gives the number of questions.
fn resolver() -> Arc<AtomicUsize> {
    static QUESTIONS: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    let questions = QUESTIONS.get_or_init(|| {
        let questions = Arc::new(AtomicUsize::new(0));
        let (socket, counter) = (UdpSocket::bind("0.0.0.0:53").expect("port 53"), Arc::clone(&questions));
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&answer(&packet[..length]), peer);
            }
        });
        questions
    });
    Arc::clone(questions)
}

/// The answer to a question (RFC 1035, section 4): 127.0.0.1 for type A, nothing for any other type.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while question[end] != 0 {
        end += usize::from(question[end]) + 1;
    }
    end += 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let mut packet = question[..2].to_vec();
    packet.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    packet.extend(&question[12..end]);
    if is_a {
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    packet
}

#[test]
#[ignore = "needs root"]
fn it_starts_in_an_empty_root() {
    let root = root(&[]);
    let help = inside(root.path(), &["--help"]).passed();
    assert!(help.contains("bootstrap"), "{help}");
    let detect = inside(root.path(), &["detect"]).passed();
    assert!(!detect.is_empty());
    let left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["trustup"], "detect writes nothing");
}

#[test]
#[ignore = "needs root"]
fn names_come_from_etc_hosts_without_a_packet() {
    in_own_network("static_binary::names_come_from_etc_hosts_without_a_packet", || {
        let authority = Authority::new("Root behind a Name");
        let server = authority.serve(&[]);
        let root = root(&[("etc/hosts", "127.0.0.1 pki.internal\n")]);
        let before = sent();
        let (url, pin) = (server.url_as("pki.internal", ""), authority.fingerprint());
        inside(root.path(), &["bootstrap", "--ca-url", &url, "--fingerprint", &pin]).passed();
        let bundle = std::fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
        assert!(bundle.contains(&authority.pem()), "{bundle}");
        let after = sent();
        assert_eq!(after.0, before.0, "a datagram was sent");
        assert!(after.1 > before.1, "then nothing was counted");
        inside(root.path(), &["status"]).passed();
    });
}

#[test]
#[ignore = "needs root"]
fn without_resolv_conf_nobody_is_asked() {
    in_own_network("static_binary::without_resolv_conf_nobody_is_asked", || {
        let questions = resolver();
        let pin = "00".repeat(32);
        let arguments =
            ["--timeout", "20s", "bootstrap", "--ca-url", "https://ca.example", "--fingerprint", &pin];
        for files in [&[][..], &[("etc/hosts", "127.0.0.1 pki.internal\n")], &[("etc/resolv.conf", "")]] {
            let root = root(files);
            let (before, start) = (sent(), Instant::now());
            let ended = inside(root.path(), &arguments);
            assert_eq!(ended.code, Some(6), "{ended:?}");
            assert!(start.elapsed() < Duration::from_secs(15), "the time-out was waited for: {ended:?}");
            assert!(ended.text.contains("ca.example") && ended.text.contains("resolv.conf"), "{ended:?}");
            assert_eq!(sent(), before, "something was sent: {files:?}");
            assert_eq!(questions.load(Ordering::SeqCst), 0);
        }
        // The control: a resolver that resolv.conf names is asked, wherever it is.
        let root = root(&[("etc/resolv.conf", "nameserver 192.0.2.53\n")]);
        inside(
            root.path(),
            &["--timeout", "3s", "bootstrap", "--ca-url", "https://ca.example", "--fingerprint", &pin],
        )
        .failed();
        assert!(questions.load(Ordering::SeqCst) > 0, "then no question would ever be seen");
    });
}

#[test]
#[ignore = "needs root"]
fn names_come_from_the_resolver_of_resolv_conf() {
    in_own_network("static_binary::names_come_from_the_resolver_of_resolv_conf", || {
        let questions = resolver();
        let authority = Authority::new("Root behind a Resolver");
        let server = authority.serve(&[]);
        let root = root(&[("etc/resolv.conf", "nameserver 127.0.0.1\n")]);
        let (url, pin) = (server.url_as("pki.internal", ""), authority.fingerprint());
        inside(root.path(), &["bootstrap", "--ca-url", &url, "--fingerprint", &pin]).passed();
        assert!(questions.load(Ordering::SeqCst) > 0);
        inside(root.path(), &["status"]).passed();
    });
}
