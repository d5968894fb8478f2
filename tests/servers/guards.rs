//! Each guard brings up a server that others can use, and takes it away.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::servers::{
    Bind, Caddy, ChallTestSrv, Database, Pebble, PebbleOptions, Port, StepCa, StepCaOptions, get, passes,
    said, step,
};

#[test]
#[ignore = "needs step-ca and step"]
fn step_ca_is_up_and_the_real_client_gets_a_certificate() {
    let ca = StepCa::start(StepCaOptions::default());
    let (status, provisioners) = ca.get("/provisioners");
    assert_eq!(status, 200);
    for name in [StepCa::PROVISIONER, StepCa::X5C, StepCa::ACME] {
        assert!(provisioners.contains(&format!("\"name\":\"{name}\"")), "{provisioners}");
    }
    let home = TempDir::new().expect("home");
    passes(&mut step(
        home.path(),
        ["ca", "bootstrap", "--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()],
    ));
    let password = ca.password_file();
    let password = password.to_str().expect("UTF-8");
    let wanted =
        ["ca", "certificate", "app.test", "app.pem", "app.key", "--provisioner", StepCa::PROVISIONER];
    passes(step(home.path(), wanted).args(["--provisioner-password-file", password]));
    let birth = ca.birth_pair(home.path(), "app.test");
    let wanted = ["ca", "certificate", "app.test", "x5c.pem", "x5c.key", "--provisioner", StepCa::X5C];
    passes(step(home.path(), wanted).arg("--x5c-cert").arg(birth.cert).arg("--x5c-key").arg(birth.key));
    let listen = format!("127.0.0.1:{}", ca.http_port());
    let wanted = ["ca", "certificate", "localhost", "acme.pem", "acme.key", "--provisioner", StepCa::ACME];
    passes(step(home.path(), wanted).args(["--standalone", "--http-listen", &listen]));
}

#[test]
#[ignore = "needs step-ca and step"]
fn step_ca_refuses_tokens_from_before_a_restart() {
    let mut ca = StepCa::start(StepCaOptions { database: Database::Badger, ..StepCaOptions::default() });
    let home = TempDir::new().expect("home");
    let root = ca.root_file();
    let password = ca.password_file();
    let common = |command: &mut std::process::Command| {
        command.args(["--ca-url", &ca.url(), "--root"]).arg(&root);
    };
    let mut mint = step(home.path(), ["ca", "token", "app.test", "--provisioner", StepCa::PROVISIONER]);
    mint.arg("--provisioner-password-file").arg(&password);
    common(&mut mint);
    let token = String::from_utf8(passes(&mut mint).stdout).expect("token").trim().to_owned();
    let mut spend = step(home.path(), ["ca", "certificate", "app.test", "a.pem", "a.key", "--token", &token]);
    common(&mut spend);
    ca.restart();
    let output = spend.output().expect("step");
    assert!(!output.status.success(), "{}", said(&output));
    assert!(ca.log().contains("issued before the bootstrap"), "{}", ca.log());
}

#[test]
#[ignore = "needs pebble"]
fn pebble_serves_its_directory_and_its_root() {
    let dns = ChallTestSrv::start();
    dns.set_txt("_acme-challenge.x.test.", "value");
    let mut pebble = Pebble::start(PebbleOptions {
        dns: Some(dns.dns()),
        external_accounts: [("kid-1".to_owned(), b"a key of thirty-two bytes or more".to_vec())].into(),
        profiles: [("default".to_owned(), 7_776_000), ("short".to_owned(), 518_400)].into(),
        ..PebbleOptions::default()
    });
    let (status, directory) = get(pebble.address(), "localhost", pebble.root_der(), "/dir").expect("answer");
    let directory: serde_json::Value = serde_json::from_str(&directory).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(directory["meta"]["externalAccountRequired"], true, "{directory}");
    assert!(directory["meta"]["profiles"]["short"].is_string(), "{directory}");
    assert!(directory["renewalInfo"].is_string(), "{directory}");
    let first = pebble.issuer_root();
    assert!(first.contains("BEGIN CERTIFICATE"));
    pebble.restart();
    assert_ne!(first, pebble.issuer_root(), "its root is made anew");
}

#[test]
#[ignore = "needs Debian's caddy"]
fn caddy_serves_its_acme_directory() {
    let caddy = Caddy::acme_server();
    let (one, other) = (caddy.identifier(), Caddy::acme_server().identifier());
    assert_ne!(one, other);
    let listener = TcpListener::bind((one, caddy.address().port())).expect("an address of loopback");
    drop(listener);
    let pem = std::fs::read(caddy.root_file()).expect("root");
    let (_, root) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
    let directory =
        get(caddy.address(), "localhost", &root.contents, "/acme/local/directory").expect("answer");
    assert!(directory.1.contains("newOrder"), "{directory:?}");
}

#[test]
#[ignore = "needs Debian's bind9 and bind9-dnsutils"]
fn bind_takes_updates_with_a_key_and_no_others() {
    let bind = Bind::start();
    let place = TempDir::new().expect("directory");
    let update = |key: Option<&str>, name: &str| {
        let mut command = std::process::Command::new("/usr/bin/nsupdate");
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(key) = key {
            let file = place.path().join(key);
            let (algorithm, secret) = (Bind::ALGORITHM, bind.secret());
            let text = format!("key \"{key}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n");
            std::fs::write(&file, text).expect("key file");
            command.arg("-k").arg(file);
        }
        let mut child = command.spawn().expect("nsupdate");
        let (server, zone) = (bind.address(), Bind::ZONE);
        let lines = format!(
            "server {} {}\nzone {zone}\nupdate add {name} 1 TXT \"one two\"\nsend\n",
            server.ip(),
            server.port()
        );
        child.stdin.take().expect("stdin").write_all(lines.as_bytes()).expect("written");
        child.wait_with_output().expect("nsupdate").status.success()
    };
    let name = "_acme-challenge.www.example.test";
    assert!(!update(None, name), "an update without a key");
    assert!(!update(Some(Bind::NARROW_KEY_NAME), name), "an update that the key does not allow");
    assert_eq!(bind.txt(name), Vec::<String>::new());
    assert!(update(Some(Bind::KEY_NAME), name), "{}", bind.log());
    assert_eq!(bind.txt(name), ["one two"]);
    assert!(update(Some(Bind::NARROW_KEY_NAME), "_acme-challenge.example.test"), "{}", bind.log());
}

#[test]
#[ignore = "needs step-ca"]
fn a_server_goes_with_its_guard() {
    let ca = StepCa::start(StepCaOptions { database: Database::None, ..StepCaOptions::default() });
    let address = ca.address();
    drop(ca);
    assert!(TcpStream::connect(address).is_err(), "step-ca still listens");
    let ports: Vec<Port> = (0..50).map(|_| Port::reserve()).collect();
    let numbers: std::collections::BTreeSet<u16> = ports.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), 50, "two ports are the same");
}
