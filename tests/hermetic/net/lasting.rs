//! A network and a client that a daemon keeps for days.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use trustup::dev_ca::Server;
use trustup::error::ErrorKind;
use trustup::host::env::Env;
use trustup::net::dns::ResolverFiles;
use trustup::net::{HttpRequest, Net, Trust};

use super::{block_on, ca, check, net, roots_of};
use crate::servers::{WebServer, respond};
use crate::support::silent_server::SilentServer;

#[test]
fn a_client_outlives_the_time_of_its_requests() {
    let ca = ca();
    let address = "127.0.0.1:0".parse().expect("address");
    let server = Server::start(Arc::clone(&ca), address, &["127.0.0.1"]).expect("server");
    let url: url::Url = format!("{}/health", server.url()).parse().expect("URL");
    let timeout = Duration::from_secs(3);
    block_on(async {
        let client = net(timeout).client(&url, &roots_of(&ca)).expect("client");
        let ask = async || client.send(HttpRequest::get(url.clone())).await.expect("an answer").status;
        assert_eq!(ask().await, 200);
        // Longer than a request may take: its time does not begin with the client.
        tokio::time::sleep(timeout + Duration::from_millis(100)).await;
        assert_eq!(ask().await, 200);
        // Work with a time of its own ends; the client does not.
        let short = client.within(Duration::ZERO);
        let late = short.send(HttpRequest::get(url.clone())).await.expect_err("no time left");
        check(&late.error, ErrorKind::Unreachable, &["within 0.0 s"]);
        assert_eq!(ask().await, 200);
    });
    assert!(server.connections() <= 2, "connections are reused: {}", server.connections());
}

#[test]
fn each_request_has_the_whole_time() {
    let silent = SilentServer::start();
    let url: url::Url = format!("http://{}/", silent.address()).parse().expect("URL");
    block_on(async {
        let client = net(Duration::from_millis(300)).client(&url, &Trust::Unverified).expect("client");
        for _ in 0..2 {
            let began = std::time::Instant::now();
            let error = client.send(HttpRequest::get(url.clone())).await.expect_err("no answer").error;
            check(&error, ErrorKind::Unreachable, &["0.3 s"]);
            assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        }
    });
}

#[test]
fn names_follow_their_files() {
    let root = tempfile::tempdir().expect("directory");
    fs::create_dir(root.path().join("etc")).expect("etc");
    let hosts = root.path().join("etc/hosts");
    let server = WebServer::http(|_, stream| respond(stream, 200, &[], b"named"));
    let url: url::Url =
        server.url_at(&format!("ca.test:{}", server.address().port()), "/").parse().expect("URL");
    block_on(async {
        let names = ResolverFiles::of_root(root.path(), &mut |warning| panic!("{warning}"));
        let net = Net::new(&Env::fixed([], 0), names, super::PATIENCE).expect("network");
        let client = net.client(&url, &Trust::Unverified).expect("client");
        let ask = async || client.send(HttpRequest::get(url.clone())).await.map_err(|broken| broken.error);
        check(&ask().await.expect_err("no files"), ErrorKind::Unreachable, &["is not in `/etc/hosts`"]);
        // Texts of the same length, written within one tick of the clock.
        fs::write(&hosts, "127.0.0.2 ca.test\n").expect("hosts");
        check(&ask().await.expect_err("nobody there"), ErrorKind::Unreachable, &["refused"]);
        fs::write(&hosts, "127.0.0.1 ca.test\n").expect("hosts");
        assert_eq!(ask().await.expect("found").body, b"named");
        // Half a rewrite: what was known counts.
        fs::remove_file(&hosts).expect("hosts");
        fs::create_dir(&hosts).expect("a directory in its place");
        assert_eq!(ask().await.expect("known").body, b"named");
    });
}
