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
MORE
export container=lxc SYSTEMD_UNIT_PATH=UNITS SYSTEMD_GENERATOR_PATH= SYSTEMD_LOG_TARGET=console
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

/// Units that every other one depends on, empty here: nothing but what the test is about runs.
const STUBS: [&str; 7] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "timers.target",
    "network-online.target",
    "time-set.target",
    "time-sync.target",
];

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

/// Boots systemd with `boot.sh` of the scene, and waits until it powers off.
fn boot(scene: &Scene) {
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
}

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
    let boot_script = BOOT.replace("MORE\n", "").replace("UNITS", "PLACE/units");
    fs::create_dir(scene.path("units")).expect("a directory");
    for (name, text) in [
        ("boot.sh", boot_script.as_str()),
        ("script.sh", SCRIPT),
        ("units/t.target", TARGET),
        ("units/daemon.service", DAEMON),
        ("units/script.service", SCRIPT_UNIT),
    ] {
        let text = text.replace("PLACE", &place).replace("TRUSTUP", binary::trustup_str());
        write(&scene.path(name), text.as_bytes(), 0o644);
    }
    boot(&scene);
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

/// As in an installed system: units of the administrator, and a directory of certificates below /etc.
const INSTALLED: &str = "mount -t tmpfs tmpfs /etc/systemd/system
mount -t tmpfs tmpfs /etc/ssl/private
cp PLACE/units/* /etc/systemd/system";

const TIMER_SCRIPT: &str = "
install() { TRUSTUP renew --install-timer systemd --config PLACE/trustup.toml --allow-shared-config 2>&1; }
install | sed 's/^/installed: /'
systemctl is-enabled trustup-renew.timer
systemctl is-active trustup-renew.timer
systemctl start trustup-renew.service
systemctl show trustup-renew.service -p Result --value
[ -s /etc/ssl/private/web.crt ] && echo certificate
cat PLACE/hook.log
install
TRUSTUP renew --remove-timer 2>&1
systemctl is-active trustup-renew.timer
ls /etc/systemd/system | grep trustup
ls /etc/systemd/system/timers.target.wants 2>/dev/null
TRUSTUP renew --remove-timer 2>&1
systemctl --force poweroff
";

/// T46: the hardened service renews into a directory of the system, runs its hook, and goes without a trace.
#[test]
#[ignore = "needs root, Debian's systemd and util-linux"]
fn a_timer_is_installed_runs_and_is_removed() {
    let scene = Scene::new();
    let place = scene.directory.path().display().to_string();
    let hook = format!("#!/bin/sh\necho \"hook $TRUSTUP_EVENT\" >> {place}/hook.log\n");
    write(&scene.path("hook"), hook.as_bytes(), 0o755);
    let config = format!(
        "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n[[certificate]]\nnames = [\"web.test\"]\ncert = \"/etc/ssl/private/web.crt\"\nkey = \"/etc/ssl/private/web.key\"\n\
         [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{place}/password\"\n[[certificate.hook]]\ncommand = [\"{place}/hook\"]\n",
        scene.server.url(),
        scene.ca.fingerprint(),
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    fs::create_dir(scene.path("units")).expect("a directory");
    let boot_script = BOOT.replace("MORE", INSTALLED).replace("UNITS", "/etc/systemd/system");
    let target = TARGET.replace("daemon.service ", "");
    let script_unit = SCRIPT_UNIT.replace("After=daemon.service\n", "");
    for (name, text) in [
        ("boot.sh", boot_script.as_str()),
        ("script.sh", TIMER_SCRIPT),
        ("units/t.target", target.as_str()),
        ("units/script.service", script_unit.as_str()),
    ] {
        let text = text.replace("PLACE", &place).replace("TRUSTUP", binary::trustup_str());
        write(&scene.path(name), text.as_bytes(), 0o644);
    }
    for stub in STUBS {
        write(&scene.path(&format!("units/{stub}")), b"[Unit]\nDefaultDependencies=no\n", 0o644);
    }
    boot(&scene);
    let read = |name: &str| fs::read_to_string(scene.path(name)).unwrap_or_default();
    let wanted = "installed: wrote: /etc/systemd/system/trustup-renew.service
installed: wrote: /etc/systemd/system/trustup-renew.timer
installed: wrote: /etc/systemd/system/timers.target.wants/trustup-renew.timer
installed: the timer runs: `systemctl list-timers trustup-renew.timer`
enabled
active
success
certificate
hook enrolled
the timer is installed already
removed: /etc/systemd/system/trustup-renew.service
removed: /etc/systemd/system/trustup-renew.timer
removed: /etc/systemd/system/timers.target.wants/trustup-renew.timer
inactive
there is no timer of trustup
";
    assert_eq!(read("script.log"), wanted, "--- console\n{}", read("console.log"));
}

/// What systemd itself says of the units, without running it.
#[test]
#[ignore = "needs root, Debian's systemd and util-linux"]
fn systemd_verifies_the_units_and_finds_them_hardened() {
    let scene = Scene::new();
    scene.enroll().ok();
    let install = |root: &str| {
        // In a mount namespace of its own: units and what says that systemd runs are not those of this machine.
        let (cert, key) = (scene.path("server.crt"), scene.path("server.key"));
        let script = format!(
            "set -e; mount --make-rprivate /; mount -t tmpfs tmpfs /etc/systemd/system; mount -t tmpfs tmpfs /run
             {} renew --install-timer systemd --cert {} --key {}
             cp -a /etc/systemd/system {root}; cd /etc/systemd/system
             systemd-analyze verify ./trustup-renew.service ./trustup-renew.timer
             systemd-analyze security --offline=true --threshold=35 --no-pager ./trustup-renew.service",
            binary::trustup_str(),
            cert.display(),
            key.display(),
        );
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", scene.directory.path());
        command.args(["--mount", "/bin/sh", "-c", &script]).output().expect("unshare starts")
    };
    let copied = scene.path("copied");
    let done = install(&copied.display().to_string());
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("it starts the timer at the next boot"), "{said}");
    let link = fs::read_link(copied.join("timers.target.wants/trustup-renew.timer")).expect("a link");
    assert_eq!(link.to_str(), Some("/etc/systemd/system/trustup-renew.timer"));
    let service = fs::read_to_string(copied.join("trustup-renew.service")).expect("a service");
    let line = service.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    assert!(line.contains("\"--cert=") && line.contains("\"renew\" \"--quiet\""), "{line}");
    assert!(!said.contains("Unknown key") && !said.contains("Failed to parse"), "{said}");
}

/// Each hint is followed once, where it is shown.
#[test]
#[ignore = "needs root, Debian's systemd and util-linux"]
fn what_keeps_a_timer_from_being_installed_is_said_and_corrected() {
    let scene = Scene::new();
    scene.enroll().ok();
    let script = format!(
        "set -e; mount --make-rprivate /; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /etc/systemd
         mount -t tmpfs tmpfs /etc/ssl/private; mount -t tmpfs tmpfs /usr/lib/systemd
         cert={0}/server.crt key={0}/server.key
         renew() {{ {1} renew \"$@\" 2>&1; }}
         timer() {{ renew --install-timer systemd --key $key --cert \"$@\" || echo \"exit $?\"; }}
         timer $cert
         renew --quiet --cert $cert --key $key && echo from cron
         mkdir /etc/systemd/system
         echo '[Timer]' > /etc/systemd/system/trustup-renew.timer
         timer $cert
         renew --remove-timer || echo \"exit $?\"
         rm /etc/systemd/system/trustup-renew.timer
         timer /etc/ssl/private/tls/server.crt
         mkdir -p /etc/ssl/private/tls; cp $cert /etc/ssl/private/tls
         timer /etc/ssl/private/tls/server.crt
         timer $cert --due 50%
         grep -c -- --due=50%% /etc/systemd/system/trustup-renew.service
         renew --remove-timer",
        scene.directory.path().display(),
        binary::trustup_str(),
    );
    let mut command = Command::new("unshare");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", scene.directory.path());
    let done = command.args(["--mount", "/bin/sh", "-c", &script]).output().expect("unshare starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    let mut rest = said.as_str();
    for wanted in [
        "there is no systemd here",
        "let cron start `trustup renew --quiet` (`docs/guide/renewal.md` has a line)",
        "exit 5",
        "from cron",
        "there is a unit of this name that trustup did not write",
        "remove or rename it first",
        "exit 1",
        "there is a unit of this name that trustup did not write",
        "exit 1",
        "does not exist yet",
        "make it first: `mkdir -p /etc/ssl/private/tls`",
        "exit 2",
        "wrote: /etc/systemd/system/trustup-renew.timer",
        "wrote: /etc/systemd/system/trustup-renew.service",
        "\n1\n",
        "removed: /etc/systemd/system/timers.target.wants/trustup-renew.timer",
    ] {
        let Some(at) = rest.find(wanted) else {
            panic!("`{wanted}` is missing, or not in its place: {said}")
        };
        rest = &rest[at + wanted.len()..];
    }
    assert!(done.status.success(), "{said}");
}
