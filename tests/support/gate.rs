//! What stands between a client and a server: a relay that can be slow, drop connections, or keep them waiting.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMode {
    /// It is relayed, each piece so much later.
    Open(SocketAddr, Duration),
    /// It is closed at once.
    Drop,
    /// Nobody answers.
    Hang,
}

/// A relay on loopback that runs until it is dropped.
pub struct Gate {
    address: SocketAddr,
    mode: Arc<Mutex<GateMode>>,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    pub fn start(mode: GateMode) -> Gate {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("address");
        let (mode, stop) = (Arc::new(Mutex::new(mode)), Arc::new(AtomicBool::new(false)));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (now, stopped, counted) = (Arc::clone(&mode), Arc::clone(&stop), Arc::clone(&accepted));
        let thread = std::thread::spawn(move || {
            let mut waiting = Vec::new();
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                counted.fetch_add(1, Ordering::SeqCst);
                match *now.lock().expect("lock") {
                    GateMode::Drop => {}
                    GateMode::Hang => waiting.push(client),
                    GateMode::Open(server, delay) => relay(client, server, delay),
                }
            }
        });
        Gate { address, mode, accepted, stop, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What becomes of later connections.
    pub fn set(&self, mode: GateMode) {
        *self.mode.lock().expect("lock") = mode;
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Relays in both directions, on threads that end with their connection.
fn relay(client: TcpStream, server: SocketAddr, delay: Duration) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let other = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let pairs = [(other(&client), other(&server)), (server, client)];
    for (from, to) in pairs {
        std::thread::spawn(move || pass(from, to, delay));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer)
        && count > 0
    {
        if !delay.is_zero() {
            sleep(delay);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept().
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
