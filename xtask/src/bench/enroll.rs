//! `trustup enroll provisioner` beside `step ca certificate` with a password: the same step-ca, the same provisioner, in one
//! run. Time, processor time, peak memory (GNU time), and the connections that the CA saw (through a forwarder that counts). What each
//! left behind is checked with `openssl verify` before its time counts. Needs the programs that `./test servers` builds.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{finish, in_bash, median, millis, processor_in, timed, wrap};
use crate::{Outcome, target_directory};

/// The budgets: ours, as a part of step's.
const WANTED_TIME: f64 = 0.75;
const WANTED_MEMORY: f64 = 1.0 / 4.0;
const WANTED_CONNECTIONS: usize = 2;

const NAME: &str = "web.internal";
const PROVISIONER: &str = "bench";
const START: Duration = Duration::from_secs(30);

/// Measures both and prints what it saw.
pub(super) fn compare(binary: &Path, runs: usize) -> Outcome {
    let arena = Arena::new(binary)?;
    let [step, ours]: [fn(&Arena, u16) -> Command; 2] = [Arena::step, Arena::trustup];
    forget(&arena.step(arena.port))?;
    forget(&arena.trustup(arena.port))?;
    // One run each that does not count: it warms the caches of the kernel for both alike.
    arena.once(step)?;
    arena.once(ours)?;
    let [mut step_times, mut our_times, mut step_processor, mut our_processor] = [const { Vec::new() }; 4];
    for _ in 0..runs {
        step_times.push(arena.once(step)?);
        our_times.push(arena.once(ours)?);
        step_processor.push(arena.processor(step)?);
        our_processor.push(arena.processor(ours)?);
    }
    let (step_time, our_time) = (median(step_times), median(our_times));
    let (step_processor, our_processor) = (median(step_processor), median(our_processor));
    let (step_memory, our_memory) = (arena.memory(step)?, arena.memory(ours)?);
    let (step_connections, our_connections) = (arena.connections(step)?, arena.connections(ours)?);
    println!(
        "a certificate with a provisioner's password; median of {runs} alternating runs, the same step-ca"
    );
    println!("                                      time      processor   peak memory   connections");
    let line = |name: &str, [time, processor]: [Duration; 2], memory, connections| {
        let [time, processor] = [time, processor].map(millis);
        println!("{name:<32}{time:>8.1} ms {processor:>8.1} ms {memory:>9} KiB {connections:>13}");
    };
    line("step ca certificate", [step_time, step_processor], step_memory, step_connections);
    line("trustup enroll provisioner", [our_time, our_processor], our_memory, our_connections);
    let verdict = |kept: bool| if kept { "kept" } else { "MISSED" };
    for (what, part, wanted) in [
        ("time", our_time.as_secs_f64() / step_time.as_secs_f64(), WANTED_TIME),
        ("processor", our_processor.as_secs_f64() / step_processor.as_secs_f64(), WANTED_TIME),
        ("memory", our_memory as f64 / step_memory as f64, WANTED_MEMORY),
    ] {
        println!("part of step's {what:<11} {part:>5.2} (budget {wanted:.2}, {})", verdict(part <= wanted));
    }
    let kept = our_connections <= WANTED_CONNECTIONS;
    println!("connections {our_connections} (budget {WANTED_CONNECTIONS}, {})", verdict(kept));
    Ok(())
}

/// A step-ca, and a place for what it is asked for.
struct Arena {
    directory: PathBuf,
    binary: PathBuf,
    port: u16,
    ca: Child,
}

impl Arena {
    fn new(binary: &Path) -> Outcome<Arena> {
        let directory = target_directory().join(format!("bench-enroll-{}", std::process::id()));
        fs::create_dir_all(&directory).map_err(|error| format!("`{}`: {error}", directory.display()))?;
        let made = Arena::make(&directory, binary);
        if made.is_err() {
            // Nothing of use is in it.
            let _ = fs::remove_dir_all(&directory);
        }
        made
    }

    fn make(directory: &Path, binary: &Path) -> Outcome<Arena> {
        write(&directory.join("password"), "a password of the benchmark\n")?;
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        #[rustfmt::skip]
        let arguments = [
            "ca", "init", "--deployment-type", "standalone", "--name", "Benchmark", "--dns", "localhost",
            "--address", &address, "--provisioner", PROVISIONER, "--password-file", "password",
        ];
        finish(bare(directory, "step")?.args(arguments))?;
        let log = directory.join("log");
        let log = fs::File::create(&log).map_err(|error| format!("`{}`: {error}", log.display()))?;
        let again = log.try_clone().map_err(|error| error.to_string())?;
        let ca = bare(directory, "step-ca")?
            .args([".step/config/ca.json", "--password-file", "password"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn()
            .map_err(|error| format!("could not start step-ca: {error}"))?;
        let mut arena = Arena { directory: directory.to_owned(), binary: binary.to_owned(), port, ca };
        let started = Instant::now();
        let root = arena.root();
        let url = format!("https://localhost:{port}");
        let health = ["ca", "health", "--ca-url", &url, "--root", &root];
        while finish(bare(directory, "step")?.args(health)).is_err() {
            let ended = arena.ca.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || started.elapsed() > START {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(format!("step-ca does not start:\n{log}"));
            }
        }
        Ok(arena)
    }

    fn root(&self) -> String {
        self.directory.join(".step/certs/root_ca.crt").display().to_string()
    }

    /// `step ca certificate` through `port`.
    fn step(&self, port: u16) -> Command {
        let mut command = bare(&self.directory, "step").unwrap_or_else(|_| Command::new("step"));
        command.args(["ca", "certificate", NAME, "out/web.pem", "out/web.key", "--provisioner", PROVISIONER]);
        command.args(["--provisioner-password-file", "password", "--root", &self.root()]);
        command.args(["--ca-url", &format!("https://localhost:{port}")]);
        command
    }

    /// `trustup enroll provisioner` through `port`.
    fn trustup(&self, port: u16) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().env("HOME", &self.directory).current_dir(&self.directory);
        command.args(["enroll", "provisioner", NAME, "--cert", "out/web.pem", "--key", "out/web.key"]);
        command.args([
            "--provisioner",
            PROVISIONER,
            "--password-file",
            "password",
            "--ca-root",
            &self.root(),
        ]);
        command.args(["--ca-url", &format!("https://localhost:{port}")]);
        command
    }

    /// An empty directory for the pair.
    fn reset(&self) -> Outcome {
        let out = self.directory.join("out");
        if out.exists() {
            fs::remove_dir_all(&out).map_err(|error| format!("`{}`: {error}", out.display()))?;
        }
        fs::create_dir(&out).map_err(|error| format!("`{}`: {error}", out.display()))
    }

    fn proven(&self) -> Outcome {
        let mut verify = Command::new("openssl");
        verify.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&self.directory);
        verify.args(["verify", "-verify_hostname", NAME, "-CAfile", &self.root()]);
        finish(verify.args(["-untrusted", "out/web.pem", "out/web.pem"]))
    }

    /// From start to end, in an empty directory.
    fn once(&self, contender: fn(&Arena, u16) -> Command) -> Outcome<Duration> {
        self.reset()?;
        let took = timed(&mut contender(self, self.port))?;
        self.proven()?;
        Ok(took)
    }

    /// The time on the processors: what is left when the machine is busy.
    fn processor(&self, contender: fn(&Arena, u16) -> Command) -> Outcome<Duration> {
        self.reset()?;
        let report = self.directory.join("report");
        finish(in_bash(&mut contender(self, self.port), &report).current_dir(&self.directory))?;
        self.proven()?;
        processor_in(&report)
    }

    /// Peak resident memory in KiB.
    fn memory(&self, contender: fn(&Arena, u16) -> Command) -> Outcome<u64> {
        self.reset()?;
        let report = self.directory.join("report");
        let mut time = Command::new("/usr/bin/time");
        time.args(["-f", "%M", "-o"]).arg(&report);
        let mut command = wrap(&mut time, &mut contender(self, self.port));
        finish(command.current_dir(&self.directory))
            .map_err(|error| format!("{error} (peak memory needs the package `time`)"))?;
        self.proven()?;
        let text = fs::read_to_string(&report).map_err(|error| format!("`{}`: {error}", report.display()))?;
        text.trim().parse().map_err(|_| format!("GNU time said {text:?}"))
    }

    /// How many connections it makes.
    fn connections(&self, contender: fn(&Arena, u16) -> Command) -> Outcome<usize> {
        self.reset()?;
        let forwarder = Forwarder::start(self.port)?;
        finish(&mut contender(self, forwarder.port))?;
        self.proven()?;
        Ok(forwarder.connections.load(Ordering::SeqCst))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.ca.kill();
        let _ = self.ca.wait();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("warning: `{}` is left: {error}", self.directory.display());
        }
    }
}

/// A program that `./test servers` built, with a home of its own and nothing of our environment.
fn bare(home: &Path, program: &str) -> Outcome<Command> {
    let path = target_directory().join("test-cache/go/bin").join(program);
    if !path.is_file() {
        return Err(format!("`{}` is not there: run `./test servers` once, which builds it", path.display()));
    }
    let mut command = Command::new(path);
    command.env_clear().env("HOME", home).env("STEPPATH", home.join(".step")).current_dir(home);
    Ok(command)
}

/// Has the kernel read the program from its disk again. Of a file that was just written it holds large pieces, each of which
/// counts as a whole as soon as a page of it is used (6.2 MiB of trustup instead of 5.4); who starts a program in a
/// container has a file that was read.
fn forget(command: &Command) -> Outcome {
    let file = command.get_program();
    finish(Command::new("sync").arg(file))?;
    let mut input = std::ffi::OsString::from("if=");
    input.push(file);
    finish(Command::new("dd").arg(input).args(["of=/dev/null", "iflag=nocache", "count=0", "status=none"]))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("`{}`: {error}", path.display()))
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// Passes connections on, and counts them; its thread ends with the process.
struct Forwarder {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Forwarder {
    fn start(to: u16) -> Outcome<Forwarder> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
                let pair = (stream.try_clone(), server.try_clone());
                if let (Ok(other_stream), Ok(other_server)) = pair {
                    std::thread::spawn(move || pass_on(stream, server));
                    std::thread::spawn(move || pass_on(other_server, other_stream));
                }
            }
        });
        Ok(Forwarder { port, connections })
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // Whatever ends it ends this direction only.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
