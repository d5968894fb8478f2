//! The daemon under the real systemd, which runs as process 1 of namespaces of its own: it has its own processes, mounts and
//! control groups, and cannot write the kernel's settings.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::binary;
use crate::support::enrollment::{Scene, write};

/// What is mounted before systemd starts; only its own units are there, and nothing is generated.
const BOOT: &str = "set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -o bind,ro /proc/sys /proc/sys
umount -l /sys/fs/cgroup || true
mount -t tmpfs tmpfs /sys/fs/cgroup
export container=lxc SYSTEMD_UNIT_PATH=PLACE/units SYSTEMD_GENERATOR_PATH= SYSTEMD_LOG_TARGET=console
exec /lib/systemd/systemd --system --unit=t.target
";

const TARGET: &str = "[Unit]
DefaultDependencies=no
Wants=daemon.service script.service
";

/// `systemctl` waits for READY=1 before `After=` is fulfilled.
const DAEMON: &str = "[Unit]
DefaultDependencies=no
[Service]
Type=notify
ExecStart=TRUSTUP renew --daemon --allow-shared-config --config PLACE/trustup.toml
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=3
Restart=on-failure
RestartSec=0
StandardError=append:PLACE/daemon.log
";

const SCRIPT_UNIT: &str = "[Unit]
DefaultDependencies=no
After=daemon.service
[Service]
Type=oneshot
ExecStart=/bin/sh PLACE/script.sh
StandardOutput=append:PLACE/script.log
StandardError=append:PLACE/script.log
";

/// Each line of its output is what the test expects. A wait ends after a minute.
const SCRIPT: &str = "get() { systemctl show daemon.service -p $1 --value; }
wait_for() {
    turns=0
    until eval \"$2\"; do
        turns=$((turns + 1))
        [ $turns -lt 300 ] || { echo \"not: $1\"; return; }
        sleep 0.2
    done
    echo \"$1\"
}
echo \"$(get ActiveState) $(get SubState)\"
wait_for status 'get StatusText | grep -q \"^1 certificate, next attempt at .* UTC$\"'
first=$(get WatchdogTimestampMonotonic)
wait_for heartbeats '[ $(get WatchdogTimestampMonotonic) -gt $((first + 7000000)) ]'
echo \"restarts $(get NRestarts)\"
systemctl reload daemon.service
wait_for reloaded 'grep -q \"SIGHUP: the configuration was read again\" PLACE/daemon.log'
pid=$(get MainPID)
kill -STOP $pid
wait_for 'restarted by the watchdog' '[ $(get NRestarts) = 1 ] && [ $(get ActiveState) = active ] && [ $(get MainPID) != $pid ]'
systemctl stop daemon.service
echo \"$(get ActiveState) $(get Result)\"
systemctl --force poweroff
";

#[test]
#[ignore = "needs root, Debian's systemd and util-linux"]
fn systemd_knows_what_the_daemon_does() {
    let scene = Scene::new();
    let place = scene.directory.path().display().to_string();
    let at = |name: &str| scene.path(name).display().to_string();
    let config = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n[[certificate]]\nnames = [\"web.test\"]\ncert = \"{}\"\nkey = \"{}\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{}\"\n",
        scene.server.url(),
        scene.ca.fingerprint(),
        at("server.crt"),
        at("server.key"),
        at("password"),
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    fs::create_dir(scene.path("units")).expect("a directory");
    for (name, text) in [
        ("boot.sh", BOOT),
        ("script.sh", SCRIPT),
        ("units/t.target", TARGET),
        ("units/daemon.service", DAEMON),
        ("units/script.service", SCRIPT_UNIT),
    ] {
        let text = text.replace("PLACE", &place).replace("TRUSTUP", binary::trustup_str());
        write(&scene.path(name), text.as_bytes(), 0o644);
    }
    let console = fs::File::create(scene.path("console.log")).expect("a file");
    let mut boot = Command::new("unshare");
    boot.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    boot.args([
        "--pid",
        "--fork",
        "--mount",
        "--uts",
        "--ipc",
        "--cgroup",
        "--mount-proc",
        "--kill-child",
        "/bin/sh",
    ]);
    boot.arg(scene.path("boot.sh")).stdin(Stdio::null());
    boot.stdout(console.try_clone().expect("a file")).stderr(console);
    let mut system = boot.spawn().expect("unshare starts");
    let started = Instant::now();
    while system.try_wait().expect("waits").is_none() {
        if started.elapsed() > Duration::from_secs(240) {
            // With it, everything in its namespace of processes ends.
            kill_process(Pid::from_child(&system), Signal::KILL).expect("a signal");
            system.wait().expect("waits");
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let read = |name: &str| fs::read_to_string(scene.path(name)).unwrap_or_default();
    let said = format!(
        "{}\n--- daemon\n{}\n--- console\n{}",
        read("script.log"),
        read("daemon.log"),
        read("console.log")
    );
    let lines: Vec<&str> = said.lines().take_while(|line| !line.starts_with("--- ")).collect();
    let wanted = [
        "active running",
        "status",
        "heartbeats",
        "restarts 0",
        "reloaded",
        "restarted by the watchdog",
        "inactive success",
    ];
    assert_eq!(
        lines.iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(),
        wanted.iter().collect::<Vec<_>>(),
        "{said}"
    );
    scene.pair();
}
