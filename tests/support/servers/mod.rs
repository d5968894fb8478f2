//! Real servers of other makers, each held by a guard that kills it: step-ca, pebble with its challtestsrv, Caddy, BIND.
//! Every one has a temporary directory, a configuration of ours, ports of its own and no variable of the machine, so
//! that tests run side by side. What a server said is shown when its test fails.
#![allow(unused_imports, reason = "each test binary uses a part of it")]

pub mod authority;
mod bind;
mod caddy;
mod pebble;
mod step_ca;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::roots;

pub use self::authority::{Authority, Level};
pub use self::bind::Bind;
pub use self::caddy::Caddy;
pub use self::pebble::{ChallTestSrv, Pebble, PebbleOptions};
pub use self::step_ca::{Database, StepCa, StepCaOptions};

/// No server takes longer to start.
const START: Duration = Duration::from_secs(60);
/// Between two looks at something that is not there yet.
const PAUSE: Duration = Duration::from_millis(10);

/// A program that `./test` builds with Go and keeps: `step-ca`, `step`, `pebble`, `pebble-challtestsrv`.
#[track_caller]
pub fn go_program(name: &str) -> PathBuf {
    let path = roots::cache().join("go/bin").join(name);
    assert!(path.is_file(), "{} is not there: run `./test servers` once, which builds it", path.display());
    path
}

/// A program of a Debian package.
#[track_caller]
fn debian_program(name: &str, package: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/bin"].map(|place| Path::new(place).join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not there: install Debian's package `{package}`"))
}

/// The real `step`, with a home of its own and nothing of the machine's environment.
pub fn step<'a>(home: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(go_program("step"));
    command.env_clear().env("HOME", home).env("STEPPATH", home.join(".step")).env("PATH", "/usr/bin:/bin");
    command.current_dir(home).stdin(Stdio::null()).args(arguments);
    command
}

/// Runs `command`, wants success, gives its output.
#[track_caller]
pub fn passes(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    output
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Looks until `there` gives something; panics with `what` if it does not within a minute.
#[track_caller]
pub fn wait_for<T>(what: &str, there: impl FnMut() -> Option<T>) -> T {
    wait_within(START, what, there)
}

/// As [`wait_for`], for what takes up to ten minutes on a busy machine.
#[track_caller]
pub fn wait_for_long<T>(what: &str, there: impl FnMut() -> Option<T>) -> T {
    wait_within(10 * START, what, there)
}

#[track_caller]
fn wait_within<T>(time: Duration, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(started.elapsed() < time, "waited for {} s: {what}", time.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// A port of 127.0.0.1 that nobody else of these tests takes while this lives, bound or not.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// A name that only one process of the machine can hold; gone with it, however it ends.
    _hold: UnixListener,
}

impl Port {
    /// Below the ports that the kernel hands out for connections, which it would take from us.
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;

    /// Reserves a free one, for TCP and UDP.
    pub fn reserve() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = (std::process::id() % u32::from(Port::COUNT)) as u16;
        for _ in 0..Port::COUNT {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % Port::COUNT;
            let number = Port::FIRST + offset;
            let name = format!("trustup test port {number}");
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a short name");
            let Ok(hold) = UnixListener::bind_addr(&name) else { continue };
            let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
                && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok();
            if free {
                return Port { number, _hold: hold };
            }
        }
        panic!("no port of loopback is free");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 and the port.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// An address of 127.0.0.0/8 that no other test uses, for servers that insist on a port below 1024.
fn own_address() -> Ipv4Addr {
    let port = Port::reserve();
    let [high, low] = port.number.to_be_bytes();
    // The port stays reserved as long as the process lives: so does the address.
    static TAKEN: Mutex<Vec<Port>> = Mutex::new(Vec::new());
    TAKEN.lock().expect("lock").push(port);
    Ipv4Addr::new(127, 20, high, low)
}

/// A process that runs until this is dropped.
pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`, which writes what it says to the end of `directory`/log.
    pub fn start(name: &'static str, command: Command, directory: &Path) -> Daemon {
        let log = directory.join("log");
        let file = File::options().create(true).append(true).open(&log).expect("log");
        // If the tests are killed, so is the server.
        let setpriv = Path::new("/usr/bin/setpriv");
        let mut held = if setpriv.is_file() {
            let mut held = Command::new(setpriv);
            held.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
            held
        } else {
            Command::new(command.get_program())
        };
        held.args(command.get_args());
        held.env_clear().current_dir(directory);
        held.env("HOME", directory).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        held.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        held.stdin(Stdio::null()).stdout(file.try_clone().expect("log")).stderr(file);
        Daemon { name, child: spawn(held), log }
    }

    /// Waits until `ready`; panics with the log if the process ends or nothing comes of it.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        let started = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait().expect("waits") {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(started.elapsed() < START, "{} does not start:\n{}", self.name, self.log());
            std::thread::sleep(PAUSE);
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("log")).into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits; gives the exit code.
    #[track_caller]
    pub fn terminate(self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        self.ended()
    }

    /// Waits for its end; gives the exit code.
    #[track_caller]
    pub fn ended(mut self) -> Option<i32> {
        wait_for("the end of a process", || self.child.try_wait().expect("waits")).code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
            // step-ca's lines hold whole certificates.
            let lines: Vec<String> = log.lines().map(|line| line.chars().take(300).collect()).collect();
            eprintln!("--- {}:\n{}", self.name, lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Starts `command` from a thread that lives as long as this process: the kernel's signal at the parent's death is one at
/// the death of the thread.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = SPAWNER.get_or_init(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let shown = format!("{command:?}");
    let (answer, child) = mpsc::channel();
    orders.lock().expect("lock").send((command, answer)).expect("spawner");
    child.recv().expect("spawner").unwrap_or_else(|error| panic!("{shown}: {error}"))
}

/// `GET path` from a server that must have a certificate for `name` below `root` (DER): status and body.
pub fn get(address: SocketAddr, name: &str, root: &[u8], path: &str) -> std::io::Result<(u16, String)> {
    request(address, name, root, None, "GET", path, "")
}

/// Any request; `client` is a chain and a key, both PEM, that are shown to the server.
pub fn request(
    address: SocketAddr,
    name: &str,
    root: &[u8],
    client: Option<(&str, &str)>,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let other = std::io::Error::other::<rustls::Error>;
    let mut roots = RootCertStore::empty();
    roots.add(root.to_vec().into()).map_err(other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_root_certificates(roots);
    let ders = |text: &str| {
        trustup::pki::cert::pem::blocks(text.as_bytes()).into_iter().filter_map(|block| block.der)
    };
    let config = match client {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let key = ders(key).next().expect("a key");
            config
                .with_client_auth_cert(
                    ders(chain).map(Into::into).collect(),
                    PrivateKeyDer::Pkcs8(key.into()),
                )
                .map_err(other)?
        }
    };
    let server = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), server).map_err(other)?;
    let stream = connect(address)?;
    exchange(&mut StreamOwned::new(connection, stream), method, name, path, body)
}

/// `POST` of JSON to a server without TLS: status and body.
fn post_plain(address: SocketAddr, path: &str, json: &serde_json::Value) -> std::io::Result<(u16, String)> {
    exchange(&mut connect(address)?, "POST", &address.to_string(), path, &json.to_string())
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(60))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

fn exchange(
    stream: &mut (impl std::io::Read + std::io::Write),
    method: &str,
    host: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Go's servers end without a word of TLS; the whole answer is there.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no head"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| std::io::Error::other("no status"))?, body.to_owned()))
}

/// A private directory for one server.
fn directory() -> TempDir {
    tempfile::Builder::new().prefix("trustup-server-").tempdir().expect("temporary directory")
}

/// Writes a file and gives its path.
fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
