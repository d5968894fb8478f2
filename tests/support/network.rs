//! A network of a test's own, in which every port is free and nobody else listens.

use std::path::Path;
use std::process::{Command, Output};

/// Set in the copy of this program that runs in a network of its own.
const INSIDE: &str = "TRUSTUP_TEST_OWN_NETWORK";

/// Runs `body` in a copy of this program that has a network namespace of its own; `name` is the calling test. Every
/// address of the world leads back to it, so that what is sent to anybody arrives here. Needs root.
pub fn in_own_network(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        for arguments in
            ["link set lo up", "route add local default dev lo", "-6 route add local default dev lo"]
        {
            let ip =
                ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists());
            let ip = Command::new(ip.expect("package iproute2")).args(arguments.split(' ')).output();
            let ip = ip.expect("ip");
            assert!(ip.status.success(), "{}", said(&ip));
        }
        return body();
    }
    let copy = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    // Indented, so that whoever sums up result lines does not count this one too.
    let said = said(&copy).replace('\n', "\n  | ");
    assert!(copy.status.success() && said.contains("1 passed"), "in a network of its own:\n  | {said}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
