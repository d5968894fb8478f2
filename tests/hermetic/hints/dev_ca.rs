//! Hints of the development CA: it starts, or gives a certificate, once the hint is followed.

use std::net::TcpListener;
use std::process::Command;

use super::cases::Cases;
use crate::support::dev_ca::DevCaProcess;
use crate::support::network::in_own_network;
use crate::support::program::copy_for_all;
use crate::support::run::Trustup;
use crate::support::{binary, hints};

/// One that keeps nothing; it would run until somebody ends it.
fn start(arguments: &[&str]) -> Trustup {
    Trustup::new(["dev-ca"]).args(arguments)
}

#[test]
fn a_name_covers_all_names_below_it() {
    start(&["--name", "*.example.com"])
        .fails(2)
        .says(["a host name includes all names below it: `--name example.com`"]);
    let ca = DevCaProcess::start(&["--name", "example.com"]);
    let place = tempfile::tempdir().unwrap();
    let enroll = |name: &str| {
        Trustup::new(["enroll", "provisioner", name, "--ca-url", ca.url(), "--fingerprint", ca.fingerprint()])
            .arg("--password-file")
            .arg(ca.password_file())
            .arg("--cert")
            .arg(place.path().join(format!("{name}.crt")))
            .arg("--key")
            .arg(place.path().join(format!("{name}.key")))
    };
    for name in ["example.com", "web.example.com", "a.b.example.com"] {
        enroll(name).ok();
    }
    assert_ne!(enroll("example.org").run().code, Some(0), "it is not for every name");
}

#[test]
fn an_address_to_listen_at_is_chosen_as_the_hint_says() {
    let listen = |address: &str| start(&["--listen", address]);
    listen("0.0.0.0:0")
        .fails(2)
        .says(["use `--allow-other-hosts` if you want that, such as for the containers of a compose file"]);
    DevCaProcess::start(&["--listen", "0.0.0.0:0", "--allow-other-hosts"]);

    start(&["--listen", "192.0.2.1:0", "--allow-other-hosts"])
        .fails(1)
        .says(["does the address belong to this machine? `--listen ADDRESS:PORT` chooses another"]);
    DevCaProcess::start(&["--listen", "127.0.0.1:0", "--allow-other-hosts"]);

    // An address whose free ports no other test takes.
    let taken = TcpListener::bind("127.98.0.2:0").unwrap();
    let (address, port) =
        (taken.local_addr().unwrap().to_string(), taken.local_addr().unwrap().port().to_string());
    let refused = listen(&address).fails(1);
    refused.says(["another program uses that port: stop it, or listen on another port ("]);
    let option = hints::command(&refused, "--listen");
    DevCaProcess::start(&option.split(' ').collect::<Vec<_>>());
    drop(taken);
    let ca = DevCaProcess::start(&["--listen", &address]);
    assert!(ca.url().ends_with(&port), "{}", ca.url());
}

/// In a network of its own, where the port is free and, as everywhere, for root.
#[test]
fn a_port_below_1024_is_chosen_as_the_hint_says() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    in_own_network("hints::dev_ca::a_port_below_1024_is_chosen_as_the_hint_says", || {
        let outside = tempfile::tempdir().unwrap();
        std::fs::set_permissions(outside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let program = copy_for_all(binary::trustup(), outside.path(), 0o755);
        let refused = start(&["--listen", "127.0.0.1:443"]).binary(&program).uid(1000).fails(1);
        refused.says(["ports below 1024 need root: listen on another port"]);
        let option = hints::command(&refused, "--listen");
        let running = start(&option.split(' ').collect::<Vec<_>>()).binary(&program).uid(1000).start();
        crate::support::servers::wait_for("the CA", || std::net::TcpStream::connect("127.0.0.1:8443").ok());
        drop(running);
        // Root without the capability, and with it.
        let mut without = Command::new("setpriv");
        without.arg("--bounding-set=-net_bind_service").arg(binary::trustup());
        binary::clear(&mut without);
        let run = Trustup::through(without, start(&["--listen", "127.0.0.1:443"]).arguments());
        let refused = run.env("PATH", "/usr/bin:/bin").fails(1);
        refused.says([
            "ports below 1024 need a capability that root lacks here: `--cap-add NET_BIND_SERVICE`; or listen on another port",
        ]);
        let option = hints::command(&refused, "--listen");
        DevCaProcess::start(&option.split(' ').collect::<Vec<_>>());
        DevCaProcess::start(&["--listen", "127.0.0.1:443"]);
    });
}

#[test]
fn the_directory_of_a_running_ca_is_left_to_it() {
    let mut cases = Cases::default();
    let mut ca = DevCaProcess::start(&[]);
    let state = ca.state();
    let second = |state: &std::path::Path| start(&["--listen", "127.0.0.1:0", "--state"]).arg(state);
    cases.case(
        "use that one, or stop it first; a second CA needs another directory (`--state DIR`)",
        second(&state),
        [],
    );
    // That one works.
    let root = crate::support::run::unpacked("debian-12-minimal");
    let trust = ["--dry-run", "bootstrap", "--ca-url", ca.url(), "--fingerprint", ca.fingerprint()];
    Trustup::at(root.path(), trust).ok();
    // Another directory.
    let other = DevCaProcess::start(&[]);
    assert_ne!(other.fingerprint(), ca.fingerprint());
    // It is stopped first.
    let fingerprint = ca.fingerprint().to_owned();
    assert_eq!(ca.terminate(), Some(0));
    ca.start_again(&[]);
    assert_eq!(ca.fingerprint(), fingerprint);
    cases.end();
}
