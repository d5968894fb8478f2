//! Certificates from real ACME servers: pebble, step-ca, Caddy; DNS updates at a real BIND.

mod binary;
mod dns;
mod guide;
mod pebble;
mod renewal_info;
mod step_ca;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trustup::acme::{DnsSolver, Rfc2136};
use zeroize::Zeroizing;

use crate::support::acme::{AcmeClient, hook, loopback};
use crate::support::servers::{Bind, ChallTestSrv, Pebble, PebbleOptions, StepCa, StepCaOptions};

/// pebble with a name server for it.
fn pebble(options: PebbleOptions) -> (Pebble, ChallTestSrv) {
    let dns = ChallTestSrv::start();
    (Pebble::start(PebbleOptions { dns: Some(dns.dns()), ..options }), dns)
}

fn client(pebble: &Pebble) -> AcmeClient {
    AcmeClient::new(&pebble.directory_url(), pebble.root_der())
}

fn step_ca(options: StepCaOptions) -> (StepCa, AcmeClient) {
    let ca = StepCa::start(options);
    let client = AcmeClient::new(&ca.acme_directory(), ca.root_der());
    (ca, client)
}

/// A web server that publishes a directory, after having refused the first requests with 404.
struct FileServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    fn start(port: u16, root: &Path, refused: usize) -> FileServer {
        let listener = TcpListener::bind(loopback(port)).expect("port");
        let address = listener.local_addr().expect("address");
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter, root) = (Arc::clone(&stop), Arc::clone(&asked), root.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let file = std::fs::read_to_string(root.join(path)).ok().filter(|_| number >= refused);
                let (status, body) = file.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let length = body.len();
                drop(write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                ));
            }
        });
        FileServer { address, stop, asked, thread: Some(thread) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A hook that tells challtestsrv, and writes down how it was called.
fn challtestsrv_hook(directory: &Path, dns: &ChallTestSrv) -> DnsSolver {
    let management = dns.management();
    let log = directory.join("calls").display().to_string();
    let script = format!(
        "echo \"$*\" >> {log}\n\
         case $2 in present) path=set-txt ;; cleanup) path=clear-txt ;; *) exit 3 ;; esac\n\
         exec curl -sf --noproxy '*' -d \"{{\\\"host\\\":\\\"$3\\\",\\\"value\\\":\\\"$4\\\"}}\" http://{management}/$path"
    );
    DnsSolver::Hook(vec![hook(directory, &script), "--first argument".to_owned()])
}

fn rfc2136(bind: &Bind) -> Rfc2136 {
    Rfc2136 {
        server: bind.address().to_string(),
        zone: None,
        key_name: Bind::KEY_NAME.to_owned(),
        secret: Zeroizing::new(STANDARD.decode(bind.secret()).expect("base64")),
    }
}
