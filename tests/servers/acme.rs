//! Certificates from real ACME servers: pebble, step-ca, Caddy; DNS updates at a real BIND.

use crate::support::acme::AcmeClient;
use crate::support::servers::{ChallTestSrv, Pebble, PebbleOptions, StepCa, StepCaOptions};

/// pebble with a name server for it.
fn pebble(options: PebbleOptions) -> (Pebble, ChallTestSrv) {
    let dns = ChallTestSrv::start();
    (Pebble::start(PebbleOptions { dns: Some(dns.dns()), ..options }), dns)
}

fn client(pebble: &Pebble) -> AcmeClient {
    AcmeClient::new(&pebble.directory_url(), pebble.root_der())
}

#[test]
#[ignore = "needs pebble"]
fn pebble_asks_our_listener() {
    let (pebble, _dns) = pebble(PebbleOptions::default());
    let mut client = client(&pebble).listening(pebble.http_port());
    let result = client.obtain(&["a.test", "b.test"]);
    eprintln!("{:#?}", client.lines());
    result.expect("issued");
}

#[test]
#[ignore = "needs step-ca"]
fn step_ca_asks_our_listener() {
    let ca = StepCa::start(StepCaOptions::default());
    let mut client = AcmeClient::new(&ca.acme_directory(), ca.root_der()).listening(ca.http_port());
    let result = client.obtain(&["localhost"]);
    eprintln!("{:#?}", client.lines());
    result.expect("issued");
}
