//! Proxies beside curl: the same variables, the same SOCKS proxy, and the same answer to which hosts go through it.

use std::process::Command;

use crate::support::ca;
use crate::support::dev_ca::DevCaProcess;
use crate::support::run::Trustup;
use crate::support::socks::SocksProxy;

/// What went to the proxy when `run` was started.
fn asked(proxy: &SocksProxy, run: impl FnOnce()) -> Vec<String> {
    let before = proxy.asked().len();
    run();
    proxy.asked()[before..].to_vec()
}

fn curl(url: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new("/usr/bin/curl");
    command.env_clear().args(["--silent", "--max-time", "5", "--output", "/dev/null", url]);
    // Only whom it asks counts.
    command.envs(variables.iter().copied()).output().expect("curl");
}

fn trustup(url: &str, variables: &[(&str, &str)]) {
    let pin = ca::root("Nobody's").fingerprint.hex();
    let mut run = Trustup::new(["--timeout", "5s", "--dry-run", "bootstrap", "--root-url", url]);
    for (name, value) in variables {
        run = run.env(name, value);
    }
    run.args(["--fingerprint", &pin]).run();
}

#[test]
#[ignore = "needs curl"]
fn the_same_hosts_go_through_the_same_proxy_as_with_curl() {
    let proxy = SocksProxy::reaching_nobody();
    let address = proxy.address();
    let (remote, plain) = (format!("socks5h://{address}"), format!("socks5://{address}"));
    let mut used = 0;
    for (url, variables) in [
        ("https://ca.test/", vec![("https_proxy", remote.as_str())]),
        ("https://ca.test/", vec![("HTTPS_PROXY", &remote)]),
        ("https://ca.test:9000/", vec![("ALL_PROXY", &remote)]),
        ("http://ca.test/", vec![("all_proxy", &remote)]),
        ("http://ca.test/", vec![("https_proxy", &remote)]),
        ("https://ca.test/", vec![("http_proxy", &remote)]),
        ("https://192.0.2.1/", vec![("https_proxy", &plain)]),
        ("https://ca.test/", vec![("https_proxy", &plain)]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("no_proxy", "*")]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("no_proxy", "test")]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("NO_PROXY", ".test")]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("NO_PROXY", "a.test, ca.test")]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("NO_PROXY", "a.test,b.test")]),
        ("https://ca.test/", vec![("https_proxy", &remote), ("NO_PROXY", "st")]),
        ("https://192.0.2.1/", vec![("https_proxy", &remote), ("NO_PROXY", "192.0.2.0/24")]),
        ("https://192.0.2.1/", vec![("https_proxy", &remote), ("NO_PROXY", "192.0.3.0/24")]),
        ("https://192.0.2.1/", vec![("https_proxy", &remote), ("NO_PROXY", "192.0.2.1")]),
    ] {
        let theirs = asked(&proxy, || curl(url, &variables));
        let ours = asked(&proxy, || trustup(url, &variables));
        assert_eq!(ours.first(), theirs.first(), "{url} {variables:?}: ours, curl's");
        used += usize::from(!ours.is_empty());
    }
    assert!(used >= 6, "only {used} went through the proxy");
}

/// The whole way: the root from a CA that only the proxy can reach.
#[test]
#[ignore = "needs curl"]
fn a_root_comes_through_a_socks_proxy() {
    let ca = DevCaProcess::start(&[]);
    let address = ca.url().trim_start_matches("https://").replace("localhost", "127.0.0.1");
    let proxy = SocksProxy::with_login(address.parse().expect("address"), "bob", "p@ss");
    let place = tempfile::tempdir().unwrap();
    let bootstrap = || {
        let run = Trustup::new(["--json", "--private-dir"]).arg(place.path().join("private"));
        run.args(["bootstrap", "--stores", "private", "--ca-url", "https://ca.corp.test:9000"])
            .args(["--fingerprint", ca.fingerprint()])
    };
    let value = format!("socks5h://bob:p%40ss@{}", proxy.address());
    let run = bootstrap().env("HTTPS_PROXY", &value).ok();
    assert_eq!(proxy.asked(), ["domain ca.corp.test:9000"]);
    let shown = run.json()["sources"][0]["proxy"].as_str().unwrap_or_default().to_owned();
    assert_eq!(shown, format!("socks5h://***@{}", proxy.address()));
    assert!(!run.stdout.contains("p%40ss") && !run.stderr.contains("p%40ss"), "{run}");
}
