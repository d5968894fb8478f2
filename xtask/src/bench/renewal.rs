//! `trustup renew` beside `step ca renew`, once and as a daemon: the same step-ca, the same pair, in one run. Then trustup's
//! daemon with 100 and 1,000 certificates at the embedded CA: memory, renewals, and wake-ups at rest.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::processes::{finish, median, millis};
use super::step_ca::{Arena, NAME, PROVISIONER, bare, forget, write};
use crate::Outcome;

/// The budget: the daemon's memory, as a part of step's.
const WANTED_MEMORY: f64 = 1.0 / 3.0;
/// And what each certificate may add, in KiB.
const WANTED_EACH: f64 = 16.0;
/// How long a daemon is watched at rest.
const REST: Duration = Duration::from_secs(30);
/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn compare(binary: &Path, runs: usize) -> Outcome {
    once(binary, runs)?;
    println!();
    let [few, lots] = [100, 1000];
    let resident = [many(binary, few)?, many(binary, lots)?];
    let each = resident[1].saturating_sub(resident[0]) as f64 / (lots - few) as f64;
    let verdict = if each <= WANTED_EACH { "kept" } else { "MISSED" };
    println!("each certificate more: {each:.1} KiB (budget {WANTED_EACH:.0} KiB, {verdict})");
    Ok(())
}

fn once(binary: &Path, runs: usize) -> Outcome {
    let mut arena = Arena::new("renewal", binary)?;
    forget(&step(&arena, arena.port))?;
    forget(&trustup(&arena, arena.port))?;
    arena.reset()?;
    finish(&mut first_pair(&arena))?;
    arena.keep_pair();
    let [mut step_times, mut our_times, mut step_processor, mut our_processor] = [const { Vec::new() }; 4];
    for run in 0..=runs {
        let times = [arena.once(step)?, arena.once(trustup)?];
        let processor = [arena.processor(step)?, arena.processor(trustup)?];
        // The first one does not count: it warms the caches of the kernel for both alike.
        if run > 0 {
            step_times.push(times[0]);
            our_times.push(times[1]);
            step_processor.push(processor[0]);
            our_processor.push(processor[1]);
        }
    }
    let memory = [arena.memory(step)?, arena.memory(trustup)?];
    let (step_times, our_times) = (median(step_times), median(our_times));
    let (step_processor, our_processor) = (median(step_processor), median(our_processor));
    println!("a renewal over mutual TLS; median of {runs} alternating runs, the same step-ca and pair");
    println!("                                      time      processor   peak memory");
    for (name, time, processor, memory) in [
        ("step ca renew --force", step_times, step_processor, memory[0]),
        ("trustup renew --force", our_times, our_processor, memory[1]),
    ] {
        println!("{name:<32}{:>8.1} ms {:>8.1} ms {memory:>9} KiB", millis(time), millis(processor));
    }
    let part = |ours: Duration, tool: Duration| ours.as_secs_f64() / tool.as_secs_f64();
    println!(
        "part of step's: time {:.2}, processor {:.2}, memory {:.2}",
        part(our_times, step_times),
        part(our_processor, step_processor),
        memory[1] as f64 / memory[0] as f64
    );

    let daemons = [with_daemon(step(&arena, arena.port)), with_daemon(trustup(&arena, arena.port))];
    let mut resident = Vec::new();
    for mut daemon in daemons {
        let daemon = Daemon::start(&mut daemon)?;
        // It has read the pair, and waits until that is due.
        resident.push(daemon.settled()?);
    }
    let part = resident[1] as f64 / resident[0] as f64;
    let verdict = if part <= WANTED_MEMORY { "kept" } else { "MISSED" };
    println!(
        "daemon at rest with one certificate: step {} KiB, trustup {} KiB, part {part:.2} (budget {WANTED_MEMORY:.2}, {verdict})",
        resident[0], resident[1]
    );
    Ok(())
}

/// The pair that both renew.
fn first_pair(arena: &Arena) -> Command {
    let mut command = of_trustup(arena);
    command.args(["enroll", "provisioner", NAME, "--cert", "out/web.pem", "--key", "out/web.key"]);
    command.args(["--provisioner", PROVISIONER, "--password-file", "password", "--ca-root", &arena.root()]);
    command.args(["--ca-url", &format!("https://localhost:{}", arena.port)]);
    command
}

/// With its files last: step takes no option behind them.
fn step(arena: &Arena, port: u16) -> Command {
    let mut command = bare(&arena.directory, "step").unwrap_or_else(|_| Command::new("step"));
    command.args(["ca", "renew", "--force", "--root", &arena.root()]);
    command.args(["--ca-url", &format!("https://localhost:{port}")]);
    command.args(["out/web.pem", "out/web.key"]);
    command
}

fn trustup(arena: &Arena, port: u16) -> Command {
    let mut command = of_trustup(arena);
    command.args(["renew", "--force", "--cert", "out/web.pem", "--key", "out/web.key"]);
    command.args(["--ca-root", &arena.root(), "--ca-url", &format!("https://localhost:{port}")]);
    command
}

fn of_trustup(arena: &Arena) -> Command {
    let mut command = Command::new(&arena.binary);
    command.env_clear().env("HOME", &arena.directory).current_dir(&arena.directory);
    command
}

/// The same as a daemon, which renews nothing by force.
fn with_daemon(command: Command) -> Command {
    let mut daemon = Command::new(command.get_program());
    daemon
        .args(command.get_args().map(|word| if word == "--force" { "--daemon".as_ref() } else { word }))
        .env_clear();
    for (name, value) in command.get_envs() {
        daemon.envs(value.map(|value| (name, value)));
    }
    daemon.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
    daemon
}

/// A daemon that runs until this is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Outcome<Daemon> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Daemon).map_err(|error| format!("{command:?}: {error}"))
    }

    /// A line of `/proc/PID/status`, as a number.
    fn status(&self, name: &str) -> Outcome<u64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("`{path}`: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or(format!("`{path}` has no `{name}`"))
    }

    /// Resident memory in KiB, once it stays the same for two seconds.
    fn settled(&self) -> Outcome<u64> {
        let began = Instant::now();
        let (mut last, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            let now = self.status("VmRSS")?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if began.elapsed() > PATIENCE {
                return Err("the daemon does not come to rest".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(last)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Many certificates of one daemon, at the embedded CA. Returns its resident memory in KiB.
fn many(binary: &Path, count: usize) -> Outcome<u64> {
    let place = tempdir()?;
    let place = place.0.as_path();
    let mut ca = Command::new(binary);
    ca.env_clear().env("HOME", place).args(["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state"]);
    let mut ca = ca
        .arg(place.join("ca"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let output = ca.stdout.take();
    let _ca = Daemon(ca);
    let mut line = String::new();
    output.map(|output| BufReader::new(output).read_line(&mut line));
    let word = |name: &str| {
        let from = line.find(&format!("\"{name}\":\""))? + name.len() + 4;
        line[from..].split('"').next().map(str::to_owned)
    };
    let told = word("url").zip(word("fingerprint")).zip(word("password_file"));
    let ((url, pin), password) = told.ok_or(format!("dev-ca said {line:?}"))?;
    let mut text = format!("[ca]\nurl = \"{url}\"\nfingerprint = \"{pin}\"\n");
    for number in 0..count {
        text.push_str(&format!(
            "[[certificate]]\nnames = [\"host-{number}.internal\"]\ncert = \"{0}/{number}.crt\"\nkey = \"{0}/{number}.key\"\n\
             [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{password}\"\n",
            place.display()
        ));
    }
    write(&place.join("trustup.toml"), &text)?;
    let mut daemon = Command::new(binary);
    daemon.env_clear().env("HOME", place).args(["renew", "--daemon", "--allow-shared-config", "--config"]);
    let daemon = Daemon::start(daemon.arg(place.join("trustup.toml")))?;
    let renewed = |times: u64| {
        let wanted = format!("\"renewals\": {times},");
        let is_done = |number: &usize| {
            let record = place.join(format!(".{number}.crt.renewal.json"));
            fs::read_to_string(record).is_ok_and(|text| text.contains(&wanted))
        };
        let began = Instant::now();
        let mut left: Vec<usize> = (0..count).collect();
        while !left.is_empty() {
            left.retain(|number| !is_done(number));
            if began.elapsed() > PATIENCE {
                return Err(format!("{} certificates are not renewed", left.len()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(began.elapsed())
    };
    let first = renewed(1)?;
    let idle = daemon.settled()?;
    finish(Command::new("kill").args(["-USR1", &daemon.0.id().to_string()]))?;
    let again = renewed(2)?;
    let after = daemon.settled()?;
    let before = daemon.status("voluntary_ctxt_switches")?;
    std::thread::sleep(REST);
    let wakeups = daemon.status("voluntary_ctxt_switches")? - before;
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "{count} certificates at the embedded CA: first {:.0} in a second, renewals {:.0} in a second, resident {idle} KiB, after the renewals {after} KiB, {wakeups} wake-ups in {} s at rest",
        rate(first),
        rate(again),
        REST.as_secs()
    );
    Ok(after)
}

/// A directory that is removed.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Outcome<Scratch> {
    let path = crate::target_directory().join(format!("bench-daemon-{}", std::process::id()));
    fs::create_dir_all(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    Ok(Scratch(path))
}
