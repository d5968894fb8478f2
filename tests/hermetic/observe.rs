//! What others see of `trustup renew`: metrics as a file and over HTTP, probes, what a service manager is told, and the log
//! as JSON.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::acme::listeners::talk;
use crate::renew::{config, configured, record};
use crate::renewal_hooks::with_hook;
use crate::support::enrollment::{Scene, mode, write};
use crate::support::run::{Running, Trustup};
use crate::support::schema;
use crate::support::servers::{Port, wait_for};

/// The status and the body of an answer; 0 if nobody listens.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    if TcpStream::connect(address).is_err() {
        return (0, String::new());
    }
    let answer = talk(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).0;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A daemon whose standard error goes to `log` in the scene's directory.
fn daemon(scene: &Scene, run: Trustup) -> Running {
    run.arg("--daemon").redirected(&format!("2>{}", scene.path("log").display())).start()
}

fn log(scene: &Scene) -> String {
    fs::read_to_string(scene.path("log")).unwrap_or_default()
}

/// Waits until the record counts so many renewals.
fn renewed(scene: &Scene, times: u64) {
    let is_there = || scene.path(".server.crt.renewal.json").exists().then(|| record(scene));
    wait_for("a renewal", || {
        is_there().filter(|record| record["totals"]["renewals"].as_u64() >= Some(times))
    });
}

/// The value of a metric of `web.test`.
fn value(metrics: &str, name: &str) -> Option<i64> {
    let start = format!("trustup_{name}{{name=\"web.test\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

#[test]
fn t46_a_daemon_answers_its_three_pages_and_nothing_else() {
    let scene = Scene::new();
    let port = Port::reserve();
    let config = config(&scene, &format!("[renew]\nlisten = \"localhost:{}\"\n", port.number()));
    let daemon = daemon(&scene, configured(&scene, &config));
    renewed(&scene, 1);
    let address = port.address();
    wait_for("a page", || (get(address, "/healthz").0 == 200).then_some(()));
    assert!(log(&scene).contains(&format!("listening at http://{address}: /metrics")), "{}", log(&scene));
    let metrics = wait_for("the renewal on the page", || {
        Some(get(address, "/metrics")).filter(|(_, text)| value(text, "renewal_successes_total") == Some(1))
    });
    assert_eq!(metrics.0, 200);
    assert!(value(&metrics.1, "certificate_remaining_seconds") > Some(3600), "{}", metrics.1);
    assert_eq!(value(&metrics.1, "certificate_healthy"), Some(1));
    let directory = scene.directory.path().display().to_string();
    assert!(!metrics.1.contains(&directory) && !metrics.1.contains(&scene.server.url()), "{}", metrics.1);
    assert_eq!(get(address, "/readyz"), (200, "ok\n".to_owned()));

    // Another program removes the certificate: probes see it at once.
    fs::rename(scene.path("server.crt"), scene.path("elsewhere.crt")).expect("renamed");
    let ready = wait_for("a reason", || Some(get(address, "/readyz")).filter(|(status, _)| *status == 503));
    assert_eq!(ready.1, "web.test: it is not there\n");
    write(&scene.path("server.crt"), b"password", 0o644);
    let ready =
        wait_for("another", || Some(get(address, "/readyz")).filter(|(_, text)| !text.contains("not there")));
    assert_eq!(ready, (503, "web.test: it is unreadable\n".to_owned()));
    assert_eq!(get(address, "/healthz").0, 200, "the daemon itself works");
    fs::rename(scene.path("elsewhere.crt"), scene.path("server.crt")).expect("renamed");
    wait_for("readiness", || (get(address, "/readyz").0 == 200).then_some(()));

    // Nothing else is answered, and nothing ends the daemon.
    let ask = |request: String| talk(address, request.as_bytes());
    let page = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()).0;
    assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
    assert!(ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()).0.ends_with("\r\n\r\n"), "no body");
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let post = ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned());
    assert_eq!(status(&post.0), "405");
    for path in ["/", "/metrics/../../etc/passwd", "/etc/passwd", "/%2e%2e/trustup.toml"] {
        assert_eq!(get(address, path).0, 404, "{path}");
    }
    let long = ask(format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(9 * 1024)));
    assert!(!long.0.contains("trustup_"), "{}", long.0);
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address).expect("connected")).collect();
    let slow = ask("GET /metrics HTTP/1.1\r\nHost:".to_owned());
    assert!(slow.0.is_empty() && slow.1 < Duration::from_secs(10), "{slow:?}");
    assert_eq!(get(address, "/healthz").0, 200, "with 200 silent connections before it");
    drop(silent);

    // A port in use is an error at start.
    let second = || configured(&scene, &config).arg("--daemon");
    let refused = second().args(["--listen", &address.to_string()]).fails(1);
    refused.says([
        "could not start the listener",
        "another program uses that port: stop it, or listen on another port",
    ]);
    second().fails(1);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().code, Some(0));
    assert_eq!(get(address, "/healthz").0, 0, "nobody listens any more");
}

#[test]
fn t46_an_address_to_listen_at_names_its_host() {
    let scene = Scene::new();
    let config = config(&scene, "");
    let run = || configured(&scene, &config);
    let refused = run().args(["--daemon", "--listen", ":0"]).fails(2);
    refused.says(["`127.0.0.1:0` is for programs on this machine, `0.0.0.0:0` for all that can reach it"]);
    run().args(["--daemon", "--listen", "web.test:80"]).fails(2);
    run()
        .args(["--listen", "127.0.0.1:0"])
        .fails(2)
        .says(["`--listen` is for a daemon", "hint: add `--daemon`"]);
    for (address, warns) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let daemon = daemon(&scene, run().args(["--listen", address]));
        wait_for("the listener", || log(&scene).contains("listening at http://").then_some(()));
        wait_for("the daemon", || daemon.has_handler(Signal::USR1).then_some(()));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.end().code, Some(0));
        assert_eq!(log(&scene).contains("can read the names of the certificates"), warns, "{}", log(&scene));
    }
    // From trustup.toml, at a reload too: the former one stays in force if the new one is not possible.
    let (first, second) = (Port::reserve(), Port::reserve());
    let at = |listen: &str| self::config(&scene, &format!("[renew]\nlisten = \"{listen}\"\n"));
    at(&first.address().to_string());
    let daemon = daemon(&scene, run());
    wait_for("the first", || (get(first.address(), "/readyz").0 == 200).then_some(()));
    at("192.0.2.1:1");
    daemon.signal(Signal::HUP);
    wait_for("the refusal", || log(&scene).contains("the former one stays in force").then_some(()));
    assert_eq!(get(first.address(), "/readyz").0, 200);
    at(&second.address().to_string());
    daemon.signal(Signal::HUP);
    wait_for("the second", || (get(second.address(), "/readyz").0 == 200).then_some(()));
    wait_for("the end of the first", || (get(first.address(), "/readyz").0 == 0).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.end();
}

#[test]
fn metrics_are_a_file_that_every_user_may_read() {
    let scene = Scene::new();
    let config = config(&scene, "");
    let file = scene.path("trustup.prom");
    let read = || fs::read_to_string(&file).unwrap_or_default();
    let run = || configured(&scene, &config).arg("--metrics").arg(&file);
    run().arg("--dry-run").ok();
    assert!(!file.exists());
    run().ok();
    assert_eq!((value(&read(), "renewal_successes_total"), mode(&file)), (Some(1), 0o644), "{}", read());
    let text = read();
    let last = value(&text, "certificate_not_after_timestamp_seconds").expect("an end");
    assert_eq!(last, scene.pair().0.not_after());
    assert!(
        value(&text, "renewal_last_success_timestamp_seconds")
            <= value(&text, "renewal_last_check_timestamp_seconds")
    );

    // Failures are counted by their kind.
    let away =
        Trustup::new(["--timeout", "1s", "renew", "--force", "--cert"]).env("HOME", scene.directory.path());
    let away = away.arg(scene.path("server.crt")).arg("--key").arg(scene.path("server.key"));
    let pin = scene.ca.fingerprint().hex();
    let away =
        away.args(["--ca-url", "https://127.0.0.1:9", "--fingerprint", &pin]).arg("--metrics").arg(&file);
    away.fails(6);
    assert!(
        read().contains("trustup_renewal_failures_total{name=\"web.test\",kind=\"unreachable\"} 1\n"),
        "{}",
        read()
    );
    assert_eq!(value(&read(), "renewal_failures_in_a_row"), Some(1));

    // What cannot be written costs monitoring only; another program's file stays.
    let serial = scene.pair().0.serial().to_vec();
    let other = scene.path("password");
    let before = fs::read(&other).expect("a file");
    for path in [&other, &scene.path("missing/trustup.prom"), scene.directory.path()] {
        let run = configured(&scene, &config).args(["--force", "--metrics"]).arg(path).ok();
        run.says(["warning: the metrics could not be written: "]);
    }
    assert_eq!(fs::read(&other).expect("a file"), before);
    assert_ne!(scene.pair().0.serial(), serial, "renewed nevertheless");

    // The daemon, by trustup.toml.
    fs::remove_file(&file).expect("removed");
    self::config(&scene, &format!("[renew]\nmetrics = \"{}\"\n", file.display()));
    let done = record(&scene)["totals"]["renewals"].as_i64().expect("a count");
    let daemon = daemon(&scene, configured(&scene, &config));
    wait_for("the metrics", || (value(&read(), "renewal_successes_total") == Some(done)).then_some(()));
    daemon.signal(Signal::USR1);
    wait_for("the change", || (value(&read(), "renewal_successes_total") == Some(done + 1)).then_some(()));
    assert_eq!(mode(&file), 0o644);
    let is_staged = |name: &Path| name.to_string_lossy().contains(".trustup-");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().code, Some(0));
    let left = fs::read_dir(scene.directory.path())
        .expect("a directory")
        .filter(|entry| is_staged(&entry.as_ref().expect("an entry").path()));
    assert_eq!(left.count(), 0, "nothing is left beside it");
}

/// What arrives until a message begins so; heartbeats and lines of status in between are passed over.
#[track_caller]
fn until(socket: &UnixDatagram, start: &str) -> String {
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).expect("a message");
        let message = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
        if message.starts_with(start) {
            return message;
        }
        assert!(message.starts_with("WATCHDOG=1") || message.starts_with("STATUS="), "{start}: {message}");
    }
}

#[test]
fn a_service_manager_is_told_what_the_daemon_does() {
    let scene = Scene::new();
    let config = with_hook(&scene);
    let path = scene.path("notify").display().to_string();
    let name = format!("trustup observe {}", std::process::id());
    let without_file = UnixAddress::from_abstract_name(&name).expect("a name");
    let sockets = [
        (path.clone(), UnixDatagram::bind(&path).expect("a socket")),
        (format!("@{name}"), UnixDatagram::bind_addr(&without_file).expect("a socket")),
    ];
    for (variable, socket) in sockets {
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let text = fs::read_to_string(&config).expect("the configuration");
        let run = configured(&scene, &config).env("NOTIFY_SOCKET", &variable).env("WATCHDOG_USEC", "300000");
        let daemon = daemon(&scene, run);
        let ready = until(&socket, "READY=1");
        assert!(ready.starts_with("READY=1\nSTATUS=1 certificate"), "{ready}");
        let status = until(&socket, "STATUS=1 certificate, next attempt at ");
        assert_eq!(status.lines().count(), 1, "{status}");
        for _ in 0..3 {
            until(&socket, "WATCHDOG=1");
        }
        // The hook gets nothing of that.
        daemon.signal(Signal::USR1);
        wait_for("the hook", || scene.path("environment").exists().then_some(()));
        let environment = wait_for("its environment", || {
            Some(fs::read_to_string(scene.path("environment")).ok()?)
                .filter(|text| text.contains("TRUSTUP_CERT="))
        });
        assert!(
            !environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG_"),
            "{environment}"
        );
        for broken in [false, true] {
            let now = if broken { "not toml" } else { &text };
            write(&config, now.as_bytes(), 0o600);
            daemon.signal(Signal::HUP);
            let reloading = until(&socket, "RELOADING=1");
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the time");
            let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let age = clock.tv_sec - micros.parse::<i64>().expect("a number") / 1_000_000;
            assert!((0..60).contains(&age), "{age}");
            until(&socket, "READY=1");
        }
        write(&config, text.as_bytes(), 0o600);
        daemon.signal(Signal::TERM);
        until(&socket, "STOPPING=1");
        assert_eq!(daemon.end().code, Some(0));
        fs::remove_file(scene.path("environment")).expect("removed");
    }
    // Of one that is not there nobody needs to know; the hook of a single run does not speak for us either.
    let gone = scene.path("gone").display().to_string();
    let run = configured(&scene, &config).arg("--force").env("NOTIFY_SOCKET", &gone).ok();
    assert!(!run.stderr.contains("gone"), "{run}");
    let environment = fs::read_to_string(scene.path("environment")).expect("the hook ran");
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
    let daemon = daemon(&scene, configured(&scene, &config).env("NOTIFY_SOCKET", &gone));
    wait_for("the daemon", || daemon.has_handler(Signal::USR1).then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().code, Some(0));
}

/// Every line is an object as its schema says.
#[track_caller]
fn objects(text: &str) -> Vec<Value> {
    let objects = text.lines().map(|line| {
        let object = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        schema::check(&object);
        object
    });
    objects.collect()
}

#[test]
fn each_line_of_a_log_may_be_an_object() {
    let scene = Scene::new();
    let config = config(&scene, "");
    let cert = scene.path("server.crt").display().to_string();
    let events = |objects: &[Value]| -> Vec<String> {
        objects.iter().map(|line| line["event"].as_str().expect("an event").to_owned()).collect()
    };
    let run = configured(&scene, &config).args(["--log-format", "json"]).ok();
    let lines = objects(&run.stderr);
    assert_eq!(events(&lines), ["renewed"], "{run}");
    assert_eq!(
        (lines[0]["certificate"].as_str(), lines[0]["level"].as_str()),
        (Some(cert.as_str()), Some("info"))
    );
    assert!(run.json()["changed"].as_bool().expect("a report"), "{run}");

    let log_of_daemon = || objects(&log(&scene));
    let running = daemon(&scene, configured(&scene, &config).args(["--log-format", "json"]));
    let kept = wait_for("an entry", || log_of_daemon().into_iter().find(|line| line["event"] == "kept"));
    assert!(kept["next_attempt"].is_string() && kept["time"].is_string(), "{kept}");
    write(&config, b"not toml", 0o600);
    running.signal(Signal::HUP);
    let refused = wait_for("the refusal", || {
        log_of_daemon().into_iter().find(|line| line["event"] == "reload-refused")
    });
    assert_eq!((refused["level"].as_str(), refused["kind"].as_str()), (Some("error"), Some("usage")));
    running.signal(Signal::TERM);
    assert_eq!(running.end().code, Some(0));

    // A CA that is away; errors come even if nothing else is wanted.
    let mut scene = scene;
    let other = Scene::new();
    let config = self::config(&scene, "");
    drop(std::mem::replace(&mut scene.server, other.server));
    let log_of_daemon = || objects(&log(&scene));
    let run = Trustup::new([
        "--quiet",
        "--timeout",
        "1s",
        "renew",
        "--log-format",
        "json",
        "--allow-shared-config",
    ]);
    let running = daemon(&scene, run.arg("--config").arg(&config).env("HOME", scene.directory.path()));
    wait_for("the daemon", || running.has_handler(Signal::USR1).then_some(()));
    running.signal(Signal::USR1);
    let failed =
        wait_for("the failure", || log_of_daemon().into_iter().find(|line| line["event"] == "failed"));
    assert_eq!(
        (failed["kind"].as_str(), failed["certificate"].as_str()),
        (Some("unreachable"), Some(cert.as_str()))
    );
    assert!(failed["error"].is_string() && failed["next_attempt"].is_string(), "{failed}");
    assert!(events(&log_of_daemon()).iter().all(|event| event == "failed"), "{}", log(&scene));
    running.signal(Signal::TERM);
    running.end();
    let run =
        configured(&scene, &config).args(["--force", "--log-format", "json", "--timeout", "1s"]).fails(6);
    let lines = objects(&run.stderr);
    let lines: Vec<Value> = lines.into_iter().filter(|line| line["event"] != "warning").collect();
    assert_eq!(events(&lines), ["failed", "ended"], "{run}");
    assert!(lines[0]["hints"].is_array(), "{run}");
}
