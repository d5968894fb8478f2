//! A SOCKS5 proxy (RFC 1928, RFC 1929) that connects everything to one address, whatever was asked for, and remembers
//! what that was.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct SocksProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Rules {
    target: Option<SocketAddr>,
    login: Option<(&'static str, &'static str)>,
}

impl SocksProxy {
    /// Connects to `target`, for anybody.
    pub fn to(target: SocketAddr) -> SocksProxy {
        SocksProxy::start(Rules { target: Some(target), login: None })
    }

    /// The same for one user.
    pub fn with_login(target: SocketAddr, user: &'static str, password: &'static str) -> SocksProxy {
        SocksProxy::start(Rules { target: Some(target), login: Some((user, password)) })
    }

    /// Answers that no host can be reached (RFC 1928 section 6: 4).
    pub fn reaching_nobody() -> SocksProxy {
        SocksProxy::start(Rules { target: None, login: None })
    }

    fn start(rules: Rules) -> SocksProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let (log, rules) = (Arc::clone(&log), rules.clone());
                thread::spawn(move || serve(client, &rules, &log));
            }
        });
        SocksProxy { address, asked }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `domain NAME:PORT`, `address ADDRESS:PORT` for each request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("log").clone()
    }
}

fn serve(mut client: TcpStream, rules: &Rules, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let [_, count] = read::<2>(&mut client)?;
    let mut methods = vec![0; usize::from(count)];
    client.read_exact(&mut methods)?;
    let method = if rules.login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, method])?;
    if let Some((user, password)) = rules.login {
        let [_] = read::<1>(&mut client)?;
        let given = [text(&mut client)?, text(&mut client)?];
        if given != [user, password] {
            return client.write_all(&[1, 1]);
        }
        client.write_all(&[1, 0])?;
    }
    let [_, _, _, kind] = read::<4>(&mut client)?;
    let host = match kind {
        1 => format!("address {}", SocketAddr::from((read::<4>(&mut client)?, 0)).ip()),
        4 => format!("address {}", Ipv6Addr::from(read::<16>(&mut client)?)),
        _ => format!("domain {}", text(&mut client)?),
    };
    let port = u16::from_be_bytes(read::<2>(&mut client)?);
    log.lock().expect("log").push(format!("{host}:{port}"));
    let Some(target) = rules.target else {
        return client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    let mut server = TcpStream::connect(target)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut server, &mut client).map(drop)
}

fn read<const LENGTH: usize>(client: &mut TcpStream) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A length and as many bytes.
fn text(client: &mut TcpStream) -> io::Result<String> {
    let [length] = read::<1>(client)?;
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
