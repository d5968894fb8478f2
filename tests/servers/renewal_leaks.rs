//! 10,000 cycles of the daemon under a simulated clock, which jumps to the next moment at which something is due, and once
//! by ten days: neither memory nor descriptors grow.
//!
//! The daemon runs in a copy of this program, since the shipped binary has no clock but the system's.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use trustup::dev_ca::{DevCa, Server};
use trustup::host::env::Env;

use crate::support::enrollment::{chain, write};
use crate::support::servers::{wait_for, wait_for_long};

/// Set in the copy of this program.
const INSIDE: &str = "TRUSTUP_TEST_LEAKS";
/// How many renewals succeed, and how many attempts there are in all. Each of the others fails without a network: an attempt
/// at a CA that is away takes seconds by any clock.
const RENEWALS: u64 = 400;
const CYCLES: u64 = 10_000;
/// What the first cycles fill: caches and pools.
const WARM: u64 = 150;

#[test]
#[ignore = "slow"]
fn ten_thousand_cycles_keep_memory_and_descriptors() {
    if std::env::var_os(INSIDE).is_some() {
        return println!("{}", inside());
    }
    let copy = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "renewal_leaks::ten_thousand_cycles_keep_memory_and_descriptors"])
        .args(["--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("a copy");
    let said = String::from_utf8_lossy(&copy.stdout).into_owned() + &String::from_utf8_lossy(&copy.stderr);
    // Indented, so that whoever sums up result lines does not count this one too.
    let shown: Vec<&str> = said.lines().rev().take(40).collect();
    let shown = shown.into_iter().rev().collect::<Vec<_>>().join("\n  | ");
    assert!(copy.status.success() && said.contains("1 passed"), "in a copy:\n  | {shown}");
    println!("{}", said.lines().filter(|line| line.contains("KiB")).collect::<Vec<_>>().join("\n"));
}

/// Resident memory in KiB, and open descriptors.
fn used() -> (u64, usize) {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let memory = line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
    (memory, fs::read_dir("/proc/self/fd").expect("descriptors").count())
}

/// Returns what it measured.
fn inside() -> String {
    let env = Env::fixed([], Env::os().now());
    let place = TempDir::new().expect("a directory");
    let at = |name: &str| place.path().join(name);
    let ca = Arc::new(DevCa::new(&env).expect("CA"));
    let listen = "127.0.0.1:0".parse().expect("address");
    let server = Server::start(Arc::clone(&ca), listen, &["localhost", "127.0.0.1"]).expect("server");
    write(&at("password"), ca.password().as_bytes(), 0o600);
    let text = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n[[certificate]]\nnames = [\"web.test\"]\ncert = \"{tls}/web.crt\"\nkey = \"{tls}/web.key\"\nnot_after = \"2m\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{}\"\n",
        server.url(),
        ca.fingerprint(),
        at("password").display(),
        tls = place.path().display(),
    );
    write(&at("trustup.toml"), text.as_bytes(), 0o600);
    let config = at("trustup.toml");
    let clock = env.clone();
    let daemon = std::thread::spawn(move || {
        let words = ["trustup", "-q", "renew", "--daemon", "--allow-shared-config", "--config"];
        let words = words.into_iter().map(OsString::from).chain([config.into_os_string()]);
        trustup::cli::main(words.collect(), &env)
    });
    let total = |name: &str| {
        let text = fs::read_to_string(at(".web.crt.renewal.json")).unwrap_or_default();
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        record["totals"][name].as_u64().unwrap_or_default()
    };
    let reached = |name: &str, count: u64| {
        wait_for_long(&format!("{count} {name}"), || (total(name) >= count).then(used));
    };
    reached("renewals", WARM);
    let warm = used();
    reached("renewals", RENEWALS);
    let renewed = used();
    // The clock jumps ahead, beyond the end of the certificate: another method gets the next one. The daemon may be about to
    // set the clock, too.
    let ahead = clock.now() + 10 * 86_400;
    wait_for("a clock that is ahead", || {
        clock.set_clock(clock.now().max(ahead));
        (clock.now() >= ahead).then_some(())
    });
    reached("renewals", RENEWALS + 10);
    let leaf = chain(&at("web.crt")).remove(0);
    assert!(leaf.not_before() >= ahead - 120 && leaf.not_after() >= ahead, "{} {ahead}", leaf.not_before());
    for name in ["password", "web.crt", "web.key"] {
        fs::remove_file(at(name)).expect("removed");
    }
    reached("attempts", RENEWALS + 5 * WARM);
    let away = used();
    reached("attempts", CYCLES);
    let end = used();
    kill_process(getpid(), Signal::TERM).expect("a signal");
    drop(server);
    assert_eq!(daemon.join().expect("the daemon"), 0);
    // The moment decides which of them an attempt has open.
    assert!(renewed.1 <= warm.1 + 16 && end.1 <= away.1 + 16, "descriptors");
    // What the allocator keeps is no leak; one of 300 bytes in each cycle would be three megabytes. The CA of this process
    // remembers what it issued.
    assert!(renewed.0 <= warm.0 + 4096, "renewals take memory");
    assert!(end.0 <= away.0 + 2048, "failures take memory");
    format!(
        "{WARM} renewals {warm:?}, {RENEWALS} {renewed:?}; failing {away:?}, {CYCLES} cycles {end:?} (KiB, descriptors)"
    )
}
