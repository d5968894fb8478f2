//! Messages about servers: whom trustup does not trust, and what is not the server that it should be.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::Varying;
use super::errors::{Messages, scene};
use crate::acme::command::Place;
use crate::acme::server::{AcmeServer, Instead, problem};
use crate::support::ca::Root;
use crate::support::run::Trustup;
use crate::support::silent_server::SilentServer;
use crate::support::tls_server::TlsServer;

/// A server for `localhost` whose certificate `root` signed, changed before.
fn server(root: &Root, change: impl FnOnce(&mut CertificateParams)) -> TlsServer {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    TlsServer::with(root.sign_for(params, &key), &key)
}

#[test]
fn of_servers_that_are_not_trusted() {
    let (scene, varying) = scene();
    let mut messages = Messages::of("servers", varying);
    let file = scene.file("root.pem").display().to_string();
    let bundle = |url: &str| {
        let url = format!("{}bundle.pem", url.replace("127.0.0.1", "localhost"));
        // The pinned root vouches for the bundle's host.
        let arguments =
            ["bootstrap", "--ca-file", &file, "--fingerprint", &scene.ca.pin(), "--bundle-url", &url];
        scene.trustup(arguments).args(["--timeout", "20s"])
    };
    let other = crate::support::ca::root("Another Root");
    messages.of_run("4-unknown-issuer", bundle(&server(&other, |_| {}).url()));
    let expired = server(&scene.ca, |params| {
        params.not_before = date_time_ymd(2021, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 1);
    });
    messages.of_run("4-expired", bundle(&expired.url()));
    let early = server(&scene.ca, |params| {
        params.not_before = date_time_ymd(2089, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
    });
    messages.of_run("4-not-valid-yet", bundle(&early.url()));
    let name = server(&scene.ca, |params| {
        *params = CertificateParams::new(["other.test".to_owned()]).unwrap();
    });
    messages.of_run("4-other-name", bundle(&name.url()));
    let of_a_ca = server(&scene.ca, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    messages.of_run("4-certificate-of-a-ca", bundle(&of_a_ca.url()));
    let silent = SilentServer::start();
    messages.of_run(
        "6-silent",
        scene
            .trustup(["bootstrap", "--ca-url", &silent.url(), "--fingerprint", &"12".repeat(32)])
            .args(["--timeout", "1s"]),
    );
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut stream = plain.accept().unwrap().0;
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let url = format!("https://{address}");
    let run = scene.trustup(["bootstrap", "--ca-url", &url, "--fingerprint", &"12".repeat(32)]);
    messages.of_run("1-no-tls", run);
    thread.join().unwrap();
    messages.end();
}

#[test]
fn of_acme() {
    let message =
        |messages: &mut Messages, name: &str, server: &AcmeServer, run: &dyn Fn(&Place) -> Trustup| {
            let place = Place::at(server);
            messages.varying = Varying::default().path(place.directory.path(), "[DIR]");
            messages.of_run(name, run(&place));
        };
    let mut messages = Messages::of("acme", Varying::default());
    let enroll = |place: &Place| place.enroll();
    message(&mut messages, "4-order-refused", &AcmeServer::start(|_, _| None), &enroll);
    let terms = AcmeServer::start(|asked, _| {
        let refusal = || problem("userActionRequired", "agree to the new terms");
        (asked.path == "/order").then(|| Instead::Json(403, refusal()))
    });
    message(&mut messages, "2-terms", &terms, &enroll);
    let limited = AcmeServer::start(|asked, _| {
        let headers = vec![("Retry-After", "5400".to_owned())];
        (asked.path == "/order")
            .then(|| Instead::With(429, headers, problem("rateLimited", "too many certificates")))
    });
    message(&mut messages, "6-rate-limited", &limited, &enroll);
    let failed = AcmeServer::start(|asked, base| {
        (asked.path == "/authz").then(|| {
            let mut authorization = crate::acme::server::authorization(base, "token", "pending");
            if asked.before > 0 {
                authorization["challenges"][0]["status"] = json!("invalid");
                authorization["challenges"][0]["error"] = problem("unauthorized", "the wrong answer");
            }
            Instead::Json(200, authorization)
        })
    });
    message(&mut messages, "4-not-validated", &failed, &enroll);
    let only_dns = AcmeServer::start(|asked, base| {
        (asked.path == "/authz").then(|| {
            let mut authorization = crate::acme::server::authorization(base, "token", "pending");
            authorization["challenges"].as_array_mut().unwrap().retain(|one| one["type"] == "dns-01");
            Instead::Json(200, authorization)
        })
    });
    message(&mut messages, "5-no-challenge", &only_dns, &enroll);
    let revoked = AcmeServer::start(|asked, base| {
        (asked.path == "/authz")
            .then(|| Instead::Json(200, crate::acme::server::authorization(base, "token", "revoked")))
    });
    message(&mut messages, "4-revoked", &revoked, &enroll);
    messages.end();
}
