//! BIND with a zone that takes updates signed with TSIG (RFC 2136, RFC 8945).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{Daemon, Port, debian_program, directory, wait_for, write};
use crate::program::copy_program;

/// A running name server: `example.test` and every name below it is 127.0.0.1, until it is told otherwise.
pub struct Bind {
    daemon: Daemon,
    _directory: TempDir,
    port: Port,
    secret: String,
}

impl Bind {
    pub const ZONE: &str = "example.test";
    pub const KEY_NAME: &str = "acme-key";
    /// May change TXT records below `_acme-challenge.example.test` only.
    pub const NARROW_KEY_NAME: &str = "narrow-key";
    pub const ALGORITHM: &str = "hmac-sha256";

    pub fn start() -> Bind {
        let directory = directory();
        let place = directory.path();
        let port = Port::reserve();
        let mut secret = [0; 32];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
        let secret = STANDARD.encode(secret);
        let zone = "$TTL 1\n\
            @ IN SOA ns.example.test. admin.example.test. 1 60 60 60 1\n\
            @ IN NS ns.example.test.\n\
            @ IN A 127.0.0.1\n\
            * IN A 127.0.0.1\n\
            ns IN A 127.0.0.1\n\
            _acme-challenge.alias IN CNAME over.alias\n\
            over.alias IN CNAME written.alias\n\
            written.alias IN TXT \"beside\"\n\
            _acme-challenge.away IN CNAME written.elsewhere.test.\n\
            *.wild IN CNAME written.elsewhere.test.\n";
        write(place, "example.test.zone", zone);
        let (number, algorithm) = (port.number(), Bind::ALGORITHM);
        let keys: String = [Bind::KEY_NAME, Bind::NARROW_KEY_NAME]
            .map(|name| format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n"))
            .concat();
        let config = format!(
            "options {{\n\
               directory \"{place}\";\n\
               pid-file none;\n\
               session-keyfile none;\n\
               managed-keys-directory \"{place}\";\n\
               listen-on port {number} {{ 127.0.0.1; }};\n\
               listen-on-v6 {{ none; }};\n\
               recursion no;\n\
               dnssec-validation no;\n\
               notify no;\n\
             }};\n\
             controls {{ }};\n\
             {keys}\
             zone \"example.test\" {{\n\
               type primary;\n\
               file \"{place}/example.test.zone\";\n\
               update-policy {{\n\
                 grant {wide} zonesub ANY;\n\
                 grant {narrow} name _acme-challenge.example.test. TXT;\n\
               }};\n\
             }};\n",
            place = place.display(),
            wide = Bind::KEY_NAME,
            narrow = Bind::NARROW_KEY_NAME,
        );
        write(place, "named.conf", config);
        // A copy: where AppArmor confines the installed one, it may read /etc/bind only.
        let program = place.join("named");
        copy_program(&debian_program("named", "bind9"), &program);
        let mut command = Command::new(program);
        command.args(["-g", "-c"]).arg(place.join("named.conf"));
        let mut daemon = Daemon::start("named", command, place);
        daemon.wait_until(|| lookup(port.address(), Bind::ZONE, A).is_ok_and(|found| !found.is_empty()));
        Bind { daemon, _directory: directory, port, secret }
    }

    /// UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The secret of both keys: base64.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The TXT records of a name, each as one text.
    pub fn txt(&self, name: &str) -> Vec<String> {
        let text = |data: Vec<u8>| {
            let mut rest = data.as_slice();
            let mut text = String::new();
            while let Some((length, after)) = rest.split_first() {
                let (part, after) = after.split_at(usize::from(*length));
                text.push_str(&String::from_utf8_lossy(part));
                rest = after;
            }
            text
        };
        // No answer is not the answer that there is none: it is asked for again.
        let found = wait_for("an answer of named", || lookup(self.address(), name, TXT).ok());
        found.into_iter().map(text).collect()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

const A: u16 = 1;
const TXT: u16 = 16;

/// Asks `server` for the records of `name`: their data (RFC 1035 section 4). An error is that it does not answer.
fn lookup(server: SocketAddr, name: &str, kind: u16) -> std::io::Result<Vec<Vec<u8>>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut query = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend([kind.to_be_bytes(), [0, 1]].concat());
    socket.send(&query)?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    let count = u16::from_be_bytes([answer[6], answer[7]]);
    // The question comes back as it was sent.
    let mut rest = &answer[query.len()..];
    let mut found = Vec::new();
    for _ in 0..count {
        // BIND points back to the question for the owner's name: two bytes. Type, class, TTL, length, data.
        let length = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        found.push(rest[12..12 + length].to_vec());
        rest = &rest[12 + length..];
    }
    Ok(found)
}
