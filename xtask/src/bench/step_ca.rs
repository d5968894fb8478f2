//! A real step-ca, and what is measured of a program that asks it: time, processor time, peak memory, and connections.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::processes::{finish, in_bash, processor_in, timed, wrap};
use crate::{Outcome, target_directory};

pub(super) const NAME: &str = "web.internal";
pub(super) const PROVISIONER: &str = "bench";
const START: Duration = Duration::from_secs(30);

/// Makes the command that asks the CA through a port.
pub(super) type Contender = fn(&Arena, u16) -> Command;

/// A step-ca, and a place for what it is asked for.
pub(super) struct Arena {
    pub(super) directory: PathBuf,
    pub(super) binary: PathBuf,
    pub(super) port: u16,
    ca: Child,
    keeps_pair: bool,
}

impl Arena {
    pub(super) fn new(what: &str, binary: &Path) -> Outcome<Arena> {
        let directory = target_directory().join(format!("bench-{what}-{}", std::process::id()));
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
        let mut arena =
            Arena { directory: directory.to_owned(), binary: binary.to_owned(), port, ca, keeps_pair: false };
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

    pub(super) fn root(&self) -> String {
        self.directory.join(".step/certs/root_ca.crt").display().to_string()
    }

    /// From now on each run finds the pair of the one before.
    pub(super) fn keep_pair(&mut self) {
        self.keeps_pair = true;
    }

    fn begin(&self) -> Outcome {
        if self.keeps_pair { Ok(()) } else { self.reset() }
    }

    /// An empty directory for the pair.
    pub(super) fn reset(&self) -> Outcome {
        let out = self.directory.join("out");
        if out.exists() {
            fs::remove_dir_all(&out).map_err(|error| format!("`{}`: {error}", out.display()))?;
        }
        fs::create_dir(&out).map_err(|error| format!("`{}`: {error}", out.display()))
    }

    pub(super) fn proven(&self) -> Outcome {
        let mut verify = Command::new("openssl");
        verify.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&self.directory);
        verify.args(["verify", "-verify_hostname", NAME, "-CAfile", &self.root()]);
        finish(verify.args(["-untrusted", "out/web.pem", "out/web.pem"]))
    }

    /// From start to end, in an empty directory.
    pub(super) fn once(&self, contender: Contender) -> Outcome<Duration> {
        self.begin()?;
        let took = timed(&mut contender(self, self.port))?;
        self.proven()?;
        Ok(took)
    }

    /// The time on the processors: what is left when the machine is busy.
    pub(super) fn processor(&self, contender: Contender) -> Outcome<Duration> {
        self.begin()?;
        let report = self.directory.join("report");
        finish(in_bash(&mut contender(self, self.port), &report).current_dir(&self.directory))?;
        self.proven()?;
        processor_in(&report)
    }

    /// Peak resident memory in KiB.
    pub(super) fn memory(&self, contender: Contender) -> Outcome<u64> {
        self.begin()?;
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
    pub(super) fn connections(&self, contender: Contender) -> Outcome<usize> {
        self.begin()?;
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
pub(super) fn bare(home: &Path, program: &str) -> Outcome<Command> {
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
pub(super) fn forget(command: &Command) -> Outcome {
    let file = command.get_program();
    finish(Command::new("sync").arg(file))?;
    let mut input = std::ffi::OsString::from("if=");
    input.push(file);
    finish(Command::new("dd").arg(input).args(["of=/dev/null", "iflag=nocache", "count=0", "status=none"]))
}

pub(super) fn write(path: &Path, text: &str) -> Outcome {
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
