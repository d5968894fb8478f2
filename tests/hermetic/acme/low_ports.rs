//! Ports below 1024: who may listen there, and what the hints say.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use super::FINISHED;
use super::command::Place;
use super::server::AcmeServer;
use crate::support::network::in_own_network;
use crate::support::program::copy_for_all;
use crate::support::run::Trustup;
use crate::support::{binary, hints};

/// A port below 1024, as an ordinary user and as root without the capability: what each hint says works.
#[test]
fn a_low_port_needs_what_the_hint_says() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    in_own_network("acme::low_ports::a_low_port_needs_what_the_hint_says", || {
        let server = AcmeServer::start(|_, _| None);
        let place = Place::at(&server);
        for path in [place.directory.path().to_owned(), place.path("root.pem")] {
            chown(&path, Some(1000), Some(1000)).unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = copy_for_all(binary::trustup(), outside.path(), 0o755);
        let as_user = |means: &[&str]| {
            let means: Vec<OsString> = means.iter().map(OsString::from).collect();
            place.enroll_by(&means, "20s").binary(&program).uid(1000).env("HOME", place.directory.path())
        };
        for (option, challenge, listener) in
            [("--http-listen", "http-01", ":8080"), ("--tls-listen", "tls-alpn-01", ":8443")]
        {
            let refused = as_user(&["--challenge", challenge]).fails(1);
            refused.says(["ports below 1024 are for root", "--sysctl net.ipv4.ip_unprivileged_port_start="]);
            assert!(!refused.stderr.contains("NET_BIND_SERVICE"), "{refused}");
            let given = hints::command(&refused, option);
            assert_eq!(given, format!("{option} {listener}"));
            let given: Vec<&str> = given.split(' ').collect();
            as_user(&[&["--challenge", challenge], &given[..]].concat()).fails(4).says([FINISHED]);
        }
        // Root without the capability, and with it.
        let as_root = |capabilities: &str, means: &[&str]| {
            let means = [&["--challenge", "http-01"], means].concat();
            let mut command = Command::new("setpriv");
            command.arg(format!("--bounding-set={capabilities}")).arg(binary::trustup());
            binary::clear(&mut command);
            Trustup::through(
                command,
                place.enroll_by(&means.iter().map(OsString::from).collect::<Vec<_>>(), "20s").arguments(),
            )
            .env("PATH", "/usr/bin:/bin")
            .run()
        };
        // The state of the other user is in the way; the hint about it is followed, too.
        let give_to = |uid: u32| {
            for path in [place.directory.path().to_owned(), place.path("root.pem")] {
                chown(&path, Some(uid), Some(uid)).unwrap();
            }
        };
        give_to(0);
        let refused = as_root("+all", &[]);
        refused.says(["if that user no longer works on the pair, remove the directory"]);
        let in_progress = || fs::remove_dir_all(place.path(".tls.key.trustup")).unwrap();
        in_progress();
        let refused = as_root("-net_bind_service", &[]);
        refused
            .says(["ports below 1024 need a capability that root lacks here: `--cap-add NET_BIND_SERVICE`"]);
        let given = hints::command(&refused, "--http-listen");
        as_root("-net_bind_service", &given.split(' ').collect::<Vec<_>>()).says([FINISHED]);
        as_root("+all", &[]).says([FINISHED]);
        // What `--sysctl` of Docker does.
        fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80").unwrap();
        in_progress();
        give_to(1000);
        let other: [OsString; 2] = ["--challenge".into(), "http-01".into()];
        let run = place.enroll_by(&other, "20s").binary(&program).uid(1000).env("HOME", outside.path());
        run.fails(4).says([FINISHED]);
    });
}
