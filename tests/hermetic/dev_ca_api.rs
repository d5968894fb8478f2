//! The embedded CA's tokens, renewal and limits, over the wire. (That its answers are the real one's is for the ring of
//! real servers.)

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CertificateParams;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use trustup::dev_ca::{DevCa, Server, X5C};
use trustup::host::env::Env;
use trustup::pki::cert::{Certificate, pem};
use trustup::pki::fingerprint::Fingerprint;
use trustup::pki::key::{KeyType, PrivateKey};

use crate::support::ca;
use crate::support::servers::{request, wait_for};
use crate::support::step_api::{Caller, csr, now};

/// In-process, with a client that knows its password.
struct Scene {
    ca: Arc<DevCa>,
    server: Server,
    caller: Caller,
}

fn scene() -> Scene {
    let ca = Arc::new(DevCa::new(&Env::os()).expect("CA"));
    let listen = "127.0.0.1:0".parse().expect("address");
    let server = Server::start(Arc::clone(&ca), listen, &["localhost"]).expect("server");
    let caller = Caller::new(server.address(), ca.root_der(), ca.provisioner(), ca.password());
    Scene { ca, server, caller }
}

/// The certificates of PEM text.
fn certificates(chain: &str) -> Vec<Certificate> {
    pem::blocks(chain.as_bytes())
        .iter()
        .map(|block| Certificate::from_block(block).expect("certificate"))
        .collect()
}

/// Whether a TLS server with this chain is one for `name` to who trusts the CA's root.
fn serves(scene: &Scene, chain: &str, name: &str) -> bool {
    use rustls::client::danger::ServerCertVerifier as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(scene.ca.root_der().to_vec().into()).expect("root");
    let provider = trustup::net::tls::provider();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("verifier");
    let chain: Vec<CertificateDer> =
        certificates(chain).iter().map(|one| one.der().to_vec().into()).collect();
    let name = name.to_owned().try_into().expect("name");
    let time = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now() as u64));
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], time).is_ok()
}

#[test]
fn a_token_gives_one_certificate_for_its_names() {
    let scene = scene();
    let caller = &scene.caller;
    let token = caller.sign(&caller.claims("web.test", &["web.test", "127.0.0.1"]));
    // The names are the token's, even where the request has none.
    let (key, csr_without) = csr(&[], None);
    let chain = caller.post_sign(&csr_without, &token).chain();
    let [leaf, intermediate] = &certificates(&chain)[..] else { panic!("{chain}") };
    assert_eq!(leaf.public_key(), key.public_key());
    assert_eq!(leaf.subject(), "CN=web.test");
    let names: Vec<String> =
        leaf.subject_alt_names().expect("names").iter().map(ToString::to_string).collect();
    assert_eq!(names, ["web.test", "127.0.0.1"]);
    assert_ne!(leaf.is_ca(), Some(true));
    assert_eq!(intermediate.is_ca(), Some(true));
    assert!(serves(&scene, &chain, "web.test") && serves(&scene, &chain, "127.0.0.1"));
    assert!(!serves(&scene, &chain, "other.test"));
    let life = leaf.not_after() - leaf.not_before();
    assert_eq!(life, 24 * 3600 + 60);

    let again = caller.post_sign(&csr(&["web.test"], None).1, &token);
    assert_eq!(again.status, 401);
    assert!(again.message().starts_with("The request lacked necessary authorization"), "{again:?}");
}

/// The order of P-256 (FIPS 186-4, D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The same token with the other signature that is as good: (r, n - s).
fn twin(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a token");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let mut borrow = 0;
    for (digit, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn t25_a_token_without_an_id_works_once() {
    let scene = scene();
    let caller = &scene.caller;
    let request = || csr(&["web.test"], None).1;
    for id in [None, Some(""), Some("an id")] {
        let mut claims = caller.claims("web.test", &["web.test"]);
        claims.as_object_mut().expect("claims").remove("jti");
        if let Some(id) = id {
            claims["jti"] = json!(id);
        }
        let first = caller.sign(&claims);
        // The twin is a good token: it is the first one that is shown every other time.
        let (first, second) =
            if id.is_none() { (twin(&first), first) } else { (first.clone(), twin(&first)) };
        assert_ne!(first, second);
        assert_eq!(caller.post_sign(&request(), &first).status, 201, "{id:?}");
        for token in [&first, &second] {
            let again = caller.post_sign(&request(), token);
            assert_eq!(again.status, 401, "{id:?}: {again:?}");
        }
        // Other claims are another token.
        if id != Some("an id") {
            claims["other"] = json!("claim");
            assert_eq!(caller.post_sign(&request(), &caller.sign(&claims)).status, 201, "{id:?}");
        }
    }
}

#[test]
fn a_bad_token_gives_nothing() {
    let scene = scene();
    let caller = &scene.caller;
    let stranger = PrivateKey::generate(KeyType::EcP256).expect("key");
    let good = || caller.claims("web.test", &["web.test"]);
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = good();
        claims[name] = value;
        caller.sign(&claims)
    };
    let forged = Caller {
        key: stranger,
        root: caller.root.clone(),
        kid: caller.kid.clone(),
        address: caller.address,
        provisioner: caller.provisioner.clone(),
    };
    let unsigned = {
        let token = caller.sign(&good());
        token.rsplit_once('.').expect("parts").0.to_owned() + "."
    };
    for (what, token) in [
        ("another key", forged.sign(&good())),
        ("no signature", unsigned),
        ("expired", changed("exp", json!(now() - 61))),
        ("not yet", changed("nbf", json!(now() + 120))),
        ("made later", changed("iat", json!(now() + 120))),
        ("made before the start", changed("iat", json!(now() - 3600))),
        ("another host", changed("aud", json!("https://example.com/1.0/sign"))),
        ("another purpose", changed("aud", json!("https://localhost/1.0/revoke"))),
        ("another issuer", changed("iss", json!(X5C))),
        ("junk", "a.b.c".to_owned()),
        ("too long", "x".repeat(60_000)),
    ] {
        let said = caller.post_sign(&csr(&["web.test"], None).1, &token);
        assert_eq!(said.status, 401, "{what}: {said:?}");
    }
    // Names that no client would accept below this root.
    let token = caller.sign(&caller.claims("web.example", &["web.example"]));
    let said = caller.post_sign(&csr(&[], None).1, &token);
    assert_eq!(said.status, 403);
    assert!(said.message().contains("web.example is not a name of this development CA"), "{said:?}");
}

#[test]
fn renewal_wants_the_certificate_in_tls() {
    let scene = scene();
    let caller = &scene.caller;
    let (chain, key) = caller.pair("web.test");
    let pem = key.to_pem();
    let renewed = caller.call(Some((&chain, &pem)), "POST", "/1.0/renew", "").chain();
    let (old, new) = (&certificates(&chain)[0], &certificates(&renewed)[0]);
    assert_eq!(old.public_key(), new.public_key());
    assert_eq!(old.subject_alt_names(), new.subject_alt_names());
    assert_ne!(old.serial(), new.serial());
    assert_eq!(old.not_after() - old.not_before(), new.not_after() - new.not_before());
    // The leaf alone is enough: the CA has its own intermediate.
    let leaf = pem::encode(old.der());
    assert_eq!(caller.call(Some((&leaf, &pem)), "POST", "/renew", "").status, 201);

    let (other, request) = csr(&["stolen.test"], None);
    let body = json!({ "csr": request }).to_string();
    let rekeyed = caller.call(Some((&chain, &pem)), "POST", "/rekey", &body).chain();
    let rekeyed = &certificates(&rekeyed)[0];
    assert_eq!(rekeyed.public_key(), other.public_key());
    assert_eq!(rekeyed.subject_alt_names(), old.subject_alt_names(), "only the key is the request's");

    assert_eq!(caller.call(None, "POST", "/renew", "").status, 400);
    let bearer = caller.sign(&caller.claims("web.test", &[]));
    assert_eq!(caller.call(None, "POST", "/renew", &bearer).status, 400);
}

#[test]
fn strangers_do_not_get_through_tls() {
    let scene = scene();
    let caller = &scene.caller;
    let stranger = ca::root("stranger");
    let key = rcgen::KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(["web.test".to_owned()]).expect("name");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = ca::pem("CERTIFICATE", &stranger.sign_for(params, &key));
    let pem = ca::pem("PRIVATE KEY", &key.serialize_der());
    let said = request(caller.address, "localhost", &caller.root, Some((&chain, &pem)), "POST", "/renew", "");
    // The server's alert, or its end of the connection, whichever comes first: no answer in any case.
    assert!(said.is_err(), "{said:?}");
}

#[test]
fn a_certificate_of_the_ca_makes_tokens_and_nothing_outlives_it() {
    let scene = scene();
    let caller = &scene.caller;
    let (chain, key) = caller.pair("birth.test");
    let ends = certificates(&chain)[0].not_after();
    let token = |caller: &Caller, key: &PrivateKey, chain: &str| {
        let mut claims = caller.claims("web.test", &["web.test"]);
        claims["iss"] = json!(X5C);
        claims["aud"] = json!(format!("{}/1.0/sign#x5c/{X5C}", caller.url()));
        caller.sign_x5c(key, chain, &claims)
    };
    let issued = caller.post_sign(&csr(&["web.test"], None).1, &token(caller, &key, &chain)).chain();
    assert!(certificates(&issued)[0].not_after() <= ends);
    let body =
        json!({ "csr": csr(&["web.test"], None).1, "ott": token(caller, &key, &chain), "notAfter": "24h1m" });
    let said = caller.call(None, "POST", "/sign", &body.to_string());
    assert_eq!(said.status, 403);
    assert!(said.message().contains("is after the expiration of the provisioning credential"), "{said:?}");
    // With another key, and below another root.
    let other = PrivateKey::generate(KeyType::EcP256).expect("key");
    assert_eq!(caller.post_sign(&csr(&["web.test"], None).1, &token(caller, &other, &chain)).status, 401);
    let foreign = scene_of_another();
    let said = caller.post_sign(&csr(&["web.test"], None).1, &token(caller, &foreign.1, &foreign.0));
    assert_eq!(said.status, 401);
}

/// A pair of another development CA.
fn scene_of_another() -> (String, PrivateKey) {
    let other = scene();
    assert_ne!(Fingerprint::of(other.ca.root_der()), scene().ca.fingerprint(), "no two are the same");
    other.caller.pair("birth.test")
}

#[test]
fn t26_large_bodies_are_refused_and_slow_ones_cut_off() {
    let scene = scene();
    let post = |length: usize| {
        let head = format!("POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        // The body never comes.
        let answer = crate::dev_ca::exchange(&scene.ca, &scene.server, head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    };
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| post(10));
        wait_for("the slow one in the server", || (scene.server.connections() == 1).then_some(()));
        post(65 * 1024);
        assert!(!slow.is_finished(), "a body that says that it is too large was waited for");
    });
    let said = scene.caller.call(None, "POST", "/sign", &"x".repeat(60 * 1024));
    assert_eq!(said.message(), "The request could not be completed: error decoding json.");
}
