//! Servers on loopback that misbehave on purpose: web servers with a handler that writes raw bytes, a CONNECT
//! proxy, a name server. Each runs on threads of its own, counts, and stops when it is dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use trustup::dev_ca::IssuedPair;
use trustup::net::tls;

/// Anything that can be read and written: a TCP or TLS stream.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Answers a request (its head, as text) by writing to the stream; the connection is closed afterwards.
pub(crate) type Handler = dyn Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + Sync;

/// A web server, with or without TLS.
pub(crate) struct WebServer {
    address: SocketAddr,
    tls: bool,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl WebServer {
    /// Plain HTTP.
    pub(crate) fn http(
        handler: impl Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(listen(), None, Arc::new(handler))
    }

    /// HTTPS with this certificate.
    pub(crate) fn https(
        issued: IssuedPair,
        handler: impl Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::https_at(listen(), issued, handler)
    }

    /// HTTPS at a listener made before.
    pub(crate) fn https_at(
        listener: TcpListener,
        issued: IssuedPair,
        handler: impl Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(listener, Some(tls_config(issued)), Arc::new(handler))
    }

    /// HTTPS by this configuration.
    pub(crate) fn https_with(
        config: Arc<rustls::ServerConfig>,
        handler: impl Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(listen(), Some(config), Arc::new(handler))
    }

    fn start(
        listener: TcpListener,
        config: Option<Arc<rustls::ServerConfig>>,
        handler: Arc<Handler>,
    ) -> Self {
        let address = listener.local_addr().expect("address");
        let connections = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let tls = config.is_some();
        let (counter, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                let (config, handler) = (config.clone(), Arc::clone(&handler));
                thread::spawn(move || {
                    let timed = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    timed.expect("read time-out");
                    match config {
                        None => serve(&mut stream, handler.as_ref()),
                        Some(config) => {
                            serve(&mut accepted(config, &mut stream), handler.as_ref());
                            // Not before the client has read why: what it sent meanwhile would reset the connection.
                            let _ = stream.shutdown(Shutdown::Write);
                            let _ = io::copy(&mut stream, &mut io::sink());
                        }
                    }
                });
            }
        });
        WebServer { address, tls, connections, stop }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `path` on this server, by address.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_at(&self.address.to_string(), path)
    }

    /// `path` on this server, by another name (with its port).
    pub(crate) fn url_at(&self, authority: &str, path: &str) -> String {
        format!("{}://{authority}{path}", if self.tls { "https" } else { "http" })
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// What a TLS server with this certificate needs.
pub(crate) fn tls_config(issued: IssuedPair) -> Arc<rustls::ServerConfig> {
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(issued.chain, issued.key)
        .expect("server certificate");
    Arc::new(config)
}

/// The server's side of TLS.
pub(crate) fn accepted<S: Read + Write>(
    config: Arc<rustls::ServerConfig>,
    stream: S,
) -> rustls::StreamOwned<rustls::ServerConnection, S> {
    rustls::StreamOwned::new(rustls::ServerConnection::new(config).expect("TLS"), stream)
}

/// A web server on a unix socket at `path`, with TLS if it has a configuration for that.
pub(crate) fn serve_at(
    path: &Path,
    config: Option<Arc<rustls::ServerConfig>>,
    handler: impl Fn(&str, &mut dyn Stream) -> io::Result<()> + Send + 'static,
) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            match config.clone() {
                None => serve(&mut stream, &handler),
                Some(config) => serve(&mut accepted(config, stream), &handler),
            }
        }
    });
}

/// A listener on a free port of loopback.
pub(crate) fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

fn serve(stream: &mut dyn Stream, handler: &(impl Fn(&str, &mut dyn Stream) -> io::Result<()> + ?Sized)) {
    // A client that refuses the certificate or goes away early is part of many tests.
    let Some(head) = read_head(stream) else { return };
    let _ = handler(&head, stream);
    let _ = stream.flush();
}

fn read_head(stream: &mut dyn Stream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) if head.len() < 16 * 1024 => head.push(byte[0]),
            _ => return None,
        }
        // A TLS greeting at a plain port: what real servers do.
        if head == [0x16] {
            let _ = respond(stream, 400, &[], b"this is no TLS port");
            return None;
        }
    }
    String::from_utf8(head).ok()
}

/// The path of a request's head.
pub(crate) fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// Writes a whole answer.
pub(crate) fn respond(
    stream: &mut dyn Stream,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.write_all(body)
}

/// A proxy that tunnels every CONNECT to one address, whatever name was asked for.
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Tunnels to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::start(Some(target))
    }

    /// Refuses everybody for want of a password.
    pub(crate) fn wanting_a_password() -> Self {
        Self::start(None)
    }

    fn start(target: Option<SocketAddr>) -> Self {
        let listener = listen();
        let address = listener.local_addr().expect("address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    let Some(head) = read_head(&mut client) else { return };
                    seen.lock().expect("heads").push(head);
                    let Some(target) = target else {
                        let _ = respond(&mut client, 407, &[("Proxy-Authenticate", "Basic")], b"");
                        return;
                    };
                    let Ok(mut server) = TcpStream::connect(target) else { return };
                    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
                        return;
                    }
                    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else { return };
                    thread::spawn(move || io::copy(&mut from, &mut to));
                    let _ = io::copy(&mut server, &mut client);
                });
            }
        });
        ConnectProxy { address, heads }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("heads").clone()
    }
}

/// How a name server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers at once.
    Plain,
    /// Says over UDP that the answer is too long, and gives it over TCP.
    Truncating,
    /// Knows nothing of IPv6: questions for AAAA are "not implemented".
    WithoutIpv6,
}

/// A name server that knows one name, and remembers what it was asked.
pub(crate) struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    known: Arc<Mutex<&'static str>>,
}

impl NameServer {
    /// Knows that `name` (without the final dot) is 127.0.0.1; everything else does not exist.
    pub(crate) fn knowing(name: &'static str, manner: Manner) -> Self {
        // The same port for both, so that a resolver finds the TCP side.
        let (listener, socket) = std::iter::repeat_with(listen)
            .find_map(|listener| {
                let address = listener.local_addr().ok()?;
                UdpSocket::bind(address).ok().map(|socket| (listener, socket))
            })
            .expect("a free port");
        Self::start(listener, socket, name, manner)
    }

    /// The same at this address.
    pub(crate) fn at(address: SocketAddr, name: &'static str, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        Self::start(listener, UdpSocket::bind(address).expect("a free port"), name, manner)
    }

    fn start(listener: TcpListener, socket: UdpSocket, name: &'static str, manner: Manner) -> Self {
        let known = Arc::new(Mutex::new(name));
        let address = socket.local_addr().expect("address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, name) = (Arc::clone(&asked), Arc::clone(&known));
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                let known = *name.lock().expect("name");
                if let Some((asked, mut reply)) = answer(&packet[..length], known, manner) {
                    log.lock().expect("log").push(asked);
                    if manner == Manner::Truncating {
                        reply[2] |= 0x02;
                        reply.truncate(length);
                        reply[7] = 0;
                    }
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        let (log, name) = (Arc::clone(&asked), Arc::clone(&known));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (log, name) = (Arc::clone(&log), Arc::clone(&name));
                thread::spawn(move || {
                    // RFC 1035 section 4.2.2: each message behind its length.
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                        let whole = stream.read_exact(&mut packet).is_ok();
                        let known = *name.lock().expect("name");
                        let Some((asked, reply)) = answer(&packet, known, manner).filter(|_| whole) else {
                            return;
                        };
                        log.lock().expect("log").push(format!("{asked}/tcp"));
                        let length = u16::try_from(reply.len()).expect("short").to_be_bytes();
                        if stream.write_all(&[&length[..], &reply].concat()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        NameServer { address, asked, known }
    }

    /// From now on it knows this name, and no other.
    pub(crate) fn learns(&self, name: &'static str) {
        *self.known.lock().expect("name") = name;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `name/type` of each question so far, with `/tcp` if it came over TCP.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("log").clone()
    }
}

/// RFC 1035 sections 4.1.1 to 4.1.3, as little as will do.
fn answer(query: &[u8], known: &str, manner: Manner) -> Option<(String, Vec<u8>)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let question = query.get(12..at + 4)?;
    let kind = u16::from_be_bytes([query[at], query[at + 1]]);
    let name = labels.join(".");
    let exists = name == known;
    let answers = u8::from(exists && kind == 1);
    let code = match (exists, manner, kind) {
        (true, Manner::WithoutIpv6, 28) => 4,
        (true, ..) => 0,
        (false, ..) => 3,
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    if answers == 1 {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some((format!("{name}/{kind}"), reply))
}

/// An address at which nobody listens, another each time: not one of 127.0.0.1, whose free ports other tests take.
pub(crate) fn nobody() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let last = u8::try_from(NEXT.fetch_add(1, Ordering::SeqCst)).expect("few tests");
    SocketAddr::from(([127, 99, 0, last], 20_009))
}
