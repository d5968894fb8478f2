//! Certificates that are issued: how long they live, and which chain is taken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm, date_time_ymd};
use serde_json::{Value, json};
use trustup::pki::cert::Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::command::Place;
use super::server::{AcmeServer, Asked, Instead, problem};
use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup};

/// A server that issues for whatever it is sent, without looking: two roots over one intermediate, so that there is an
/// alternate chain at `/alternate/1`.
pub(super) struct Issuing {
    pub(super) server: AcmeServer,
    first: Root,
    second: Root,
    served: Arc<Mutex<Served>>,
}

/// What is served.
#[derive(Default)]
struct Served {
    chain: Option<String>,
    alternate: String,
    /// What `Link` says; the alternate if empty.
    links: String,
    /// It is still working on what it was asked for.
    is_busy: bool,
}

/// The public key of a request.
struct Subject(Vec<u8>);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

pub(super) const DAY: i64 = 24 * 3600;

impl Issuing {
    /// Its certificates live for `life` seconds, whatever is asked for. `instead` goes before what it would answer.
    pub(super) fn start(
        life: i64,
        instead: impl Fn(&Asked, &str) -> Option<Instead> + Send + Sync + 'static,
    ) -> Issuing {
        let (first, second) = (ca::root("First Root"), ca::root("Second Root"));
        let (params, key) = (ca::root_params("Intermediate"), KeyPair::generate().expect("key"));
        let signed = |root: &Root| ca::pem("CERTIFICATE", &root.sign_for(params.clone(), &key));
        let intermediates = [signed(&first), signed(&second)];
        let issuer = Issuer::new(params, key);
        let all = Arc::new(Mutex::new(Served::default()));
        let served = Arc::clone(&all);
        let server = AcmeServer::start(move |asked, base| {
            if let Some(answer) = instead(asked, base) {
                return Some(answer);
            }
            let mut served = served.lock().expect("lock");
            let order = |status: &str| {
                json!({ "status": status, "authorizations": [format!("{base}/authz")],
                    "finalize": format!("{base}/finalize"), "certificate": format!("{base}/certificate"),
                    "identifiers": [{ "type": "dns", "value": "a.test" }] })
            };
            let finalized = |is_busy: bool| match is_busy {
                true => Instead::With(200, vec![("Retry-After", "3600".to_owned())], order("processing")),
                false => Instead::Json(200, order("valid")),
            };
            let pem = "application/pem-certificate-chain";
            match asked.path.as_str() {
                "/order" => served.chain = None,
                "/order/1" if served.chain.is_some() => return Some(finalized(served.is_busy)),
                "/order/1" if !asked.told => return Some(Instead::Json(200, order("pending"))),
                "/finalize" => {
                    let leaf = leaf(&issuer, &asked.payload, life);
                    served.chain = Some(format!("{leaf}{}", intermediates[0]));
                    served.alternate = format!("{leaf}{}", intermediates[1]);
                    return Some(finalized(served.is_busy));
                }
                "/certificate" => {
                    let link = match served.links.as_str() {
                        "" => format!("<{base}/alternate/1>;rel=\"alternate\""),
                        links => links.to_owned(),
                    };
                    let chain = served.chain.clone().unwrap_or_default();
                    return Some(Instead::TextWith(200, pem, vec![("Link", link)], chain));
                }
                "/alternate/1" => return Some(Instead::Text(200, pem, served.alternate.clone())),
                _ => {}
            }
            None
        });
        Issuing { server, first, second, served: all }
    }

    /// Works on what it is asked for, and wants to be asked again in an hour, until it is told otherwise.
    pub(super) fn keep_busy(&self, is_busy: bool) {
        self.served.lock().expect("lock").is_busy = is_busy;
    }

    /// Answers with these links beside the chain.
    fn link(&self, links: &str) {
        links.clone_into(&mut self.served.lock().expect("lock").links);
    }
}

/// For the key of the request, PEM.
fn leaf(issuer: &Issuer<'_, KeyPair>, payload: &Value, life: i64) -> String {
    let csr = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().expect("a CSR")).expect("base64url");
    let (_, csr) = X509CertificationRequest::from_der(&csr).expect("PKCS#10");
    let key = Subject(csr.certification_request_info.subject_pki.subject_public_key.data.to_vec());
    let mut params = CertificateParams::new(["a.test".to_owned()]).expect("name");
    let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs());
    let now = jiff::Timestamp::now().as_second();
    (params.not_before, params.not_after) = (at(now - 60), at(now + life));
    params.use_authority_key_identifier_extension = true;
    ca::pem("CERTIFICATE", params.signed_by(&key, issuer).expect("signed").der())
}

/// `trustup enroll acme a.test` with these options.
fn enroll(place: &Place, options: &[&str]) -> Trustup {
    place.enroll().args(options)
}

/// What the topmost certificate that was placed says of its issuer.
fn top(place: &Place) -> String {
    let pem = std::fs::read_to_string(place.path("tls.crt")).expect("certificate");
    let (_, last) = pem.rsplit_once("-----BEGIN CERTIFICATE-----").expect("PEM");
    let last = format!("-----BEGIN CERTIFICATE-----{last}");
    let (_, block) = x509_parser::pem::parse_x509_pem(last.as_bytes()).expect("PEM");
    Certificate::from_der(&block.contents).expect("certificate").issuer_common_name().expect("a name")
}

fn pinned(run: &Run) -> bool {
    run.json()["certificates"][0]["pinned"] == true
}

#[test]
fn the_order_says_when_the_certificate_is_to_end() {
    let ca = Issuing::start(DAY, |_, _| None);
    let place = Place::at(&ca.server);
    let run = enroll(&place, &["--not-after", "24h"]).ok();
    assert!(!run.stderr.contains("a life of"), "{run}");
    let order = ca.server.asked().into_iter().find(|asked| asked.path == "/order").expect("order");
    let wanted: jiff::Timestamp =
        order.payload["notAfter"].as_str().expect("notAfter").parse().expect("RFC 3339");
    let left = wanted.as_second() - jiff::Timestamp::now().as_second();
    assert!((DAY - 60..=DAY).contains(&left), "{left}");
    enroll(&place, &["--not-after", "2040-02-03T04:05:06Z", "--force"]).ok();
    let order = ca.server.asked().into_iter().rfind(|asked| asked.path == "/order").expect("order");
    assert_eq!(order.payload["notAfter"], "2040-02-03T04:05:06Z");
    enroll(&place, &["--not-after", "+300000-01-01T00:00:00Z", "--force"]).fails(2);
}

#[test]
fn a_ca_that_does_what_it_likes_is_said_to() {
    let ca = Issuing::start(90 * DAY, |_, _| None);
    let place = Place::at(&ca.server);
    enroll(&place, &["--not-after", "24h"]).ok().says(["for 7776060 s, and 86400 s were requested"]);
    let run = enroll(&place, &["--force", "--not-after", "2040-02-03T04:05:06Z"]).ok();
    run.says(["another end than requested", "2040-02-03"]);
}

#[test]
fn a_ca_that_refuses_the_end_leads_to_the_option() {
    for (path, status, kind, wanted) in [
        ("/order", 400, "malformed", true),
        ("/order", 403, "rejectedIdentifier", false),
        ("/finalize", 500, "serverInternal", true),
        ("/finalize", 403, "unauthorized", true),
        ("/finalize", 403, "caa", false),
    ] {
        let ca = Issuing::start(DAY, move |asked, _| {
            (asked.path == path).then(|| Instead::Json(status, problem(kind, "no")))
        });
        for life in [true, false] {
            let place = Place::at(&ca.server);
            let options: &[&str] = if life { &["--not-after", "24h"] } else { &[] };
            let run = enroll(&place, options).run();
            assert_ne!(run.code, Some(0), "{run}");
            assert_eq!(run.stderr.contains("omit `--not-after`"), wanted && life, "{path} {kind}: {run}");
        }
    }
    // The order is lost afterwards.
    let ca = Issuing::start(DAY, |asked, base| {
        let lost = json!({ "status": "invalid", "authorizations": [], "finalize": format!("{base}/finalize"),
            "error": problem("serverInternal", "no") });
        (asked.path == "/finalize").then(|| Instead::Json(200, lost))
    });
    enroll(&Place::at(&ca.server), &["--not-after", "24h"]).fails(4).says(["omit `--not-after`"]);
}

#[test]
fn the_chain_that_is_preferred_is_taken() {
    let ca = Issuing::start(DAY, |_, _| None);
    let place = Place::at(&ca.server);
    let get = |options: &[&str]| {
        let run = enroll(&place, options).args(["--force", "--json"]).ok();
        (top(&place), ca.server.count("/alternate/1"), run)
    };
    let (name, asked, _) = get(&[]);
    assert_eq!((name.as_str(), asked), ("First Root", 0), "nobody asked for another");
    let (name, asked, _) = get(&["--preferred-chain", "First Root"]);
    assert_eq!((name.as_str(), asked), ("First Root", 0), "it is the CA's own choice");
    let (name, asked, run) = get(&["--preferred-chain", "Second Root"]);
    assert_eq!((name.as_str(), asked), ("Second Root", 1));
    assert!(!run.stderr.contains("--preferred-chain"), "{run}");
    for unknown in ["Third Root", "second root", "Second", "CN=Second Root"] {
        let (name, _, run) = get(&["--preferred-chain", unknown]);
        assert_eq!(name, "First Root", "{run}");
        run.says([&*format!("no chain to `{unknown}`"), "lead to `First Root`, `Second Root`"]);
    }
}

#[test]
fn the_pin_decides_before_the_name() {
    let ca = Issuing::start(DAY, |_, _| None);
    let place = Place::at(&ca.server);
    let file = |root: &Root, name: &str| root.write(place.directory.path(), name).display().to_string();
    let (first, second) = (file(&ca.first, "first.pem"), file(&ca.second, "second.pem"));
    let other = file(&ca::root("Other Root"), "other.pem");
    let get = |options: &[&str]| {
        let run = enroll(&place, options).args(["--force", "--json"]).ok();
        assert!(pinned(&run), "{run}");
        (top(&place), run)
    };
    assert_eq!(get(&["--issuer-root", &first]).0, "First Root");
    assert_eq!(ca.server.count("/alternate/1"), 0);
    // Where the CA's own choice does not end at the pin, an alternate that does is what is wanted.
    assert_eq!(get(&["--issuer-root", &second]).0, "Second Root");
    assert_eq!(get(&["--issuer-root", &second, "--preferred-chain", "Second Root"]).0, "Second Root");
    let (name, run) = get(&["--issuer-root", &first, "--preferred-chain", "Second Root"]);
    assert_eq!(name, "First Root");
    run.says(["chain to `Second Root` is not used, because it does not end at a root that is trusted here"]);
    let (name, run) = get(&["--issuer-root", &second, "--preferred-chain", "First Root"]);
    assert_eq!(name, "Second Root");
    run.says(["chain to `First Root` is not used"]);
    let placed = std::fs::read(place.path("tls.crt")).expect("certificate");
    let run =
        enroll(&place, &["--force", "--issuer-root", &other, "--preferred-chain", "Second Root"]).fails(4);
    run.says(["does not end at"]);
    assert_eq!(std::fs::read(place.path("tls.crt")).expect("certificate"), placed);
}

#[test]
fn t20_alternates_are_bounded_and_of_the_same_certificate() {
    let many: Vec<String> = (0..1000).map(|at| format!("</many/{at}>;rel=alternate")).collect();
    for (links, words, asked) in [
        (many.join(", "), "the CA sent no certificate", 10),
        ("<https://elsewhere.test/alternate/1>;rel=alternate".to_owned(), "another origin", 0),
        ("<https://u:hunter2@127.0.0.1/alternate/1>;rel=alternate".to_owned(), "another origin", 0),
        ("</other>;rel=alternate".to_owned(), "for another certificate", 1),
    ] {
        let other = ca::root("Elsewhere").pem;
        let ca = Issuing::start(DAY, move |asked, _| match asked.path.as_str() {
            "/other" => Some(Instead::Text(200, "text/plain", other.clone())),
            path => path.starts_with("/many/").then(|| Instead::Text(200, "text/html", "<html>".to_owned())),
        });
        ca.link(&links);
        let place = Place::at(&ca.server);
        let run = enroll(&place, &["--preferred-chain", "Second Root"]).ok();
        run.says([words, "no chain to `Second Root`"]);
        assert!(!run.stderr.contains("hunter2"), "{run}");
        assert_eq!(top(&place), "First Root");
        let is_alternate = |asked: &Asked| asked.path == "/other" || asked.path.starts_with("/many/");
        assert_eq!(ca.server.asked().into_iter().filter(is_alternate).count(), asked, "{run}");
    }
}
