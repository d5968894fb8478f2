//! A certificate authority inside this process, for the demo, for tests, and for laptops and compose files (`trustup
//! dev-ca`): a root that lives 30 days and may only name local hosts (threat T25), an intermediate, and an HTTPS server
//! with step-ca's interface: bootstrap, one-time tokens of a JWK and an X5C provisioner, renewal.
//!
//! Must not be reachable from another machine unless the user allows it, and must not be used in production: no
//! revocation, no stored log, a password whose location it shows.

mod api;
mod authority;
mod issue;
mod names;
mod provisioners;
mod request;
mod server;
mod state;
mod times;

use zeroize::Zeroizing;

pub use self::authority::IssuedPair;
pub(crate) use self::provisioners::JWK;
pub use self::provisioners::X5C;
pub use self::server::Server;
pub(crate) use self::server::{ServerSettings, allowed};
pub(crate) use self::state::KeptCa;

use self::authority::Authority;
use self::names::PermittedNames;
use self::provisioners::{JwkProvisioner, ProvisionerSet};
use crate::error::Result;
use crate::host::env::Env;
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::fingerprint::Fingerprint;

/// Characters of a password, 5 bits each.
const PASSWORD_LENGTH: usize = 32;

/// The authority: a root, an intermediate, two provisioners.
pub struct DevCa {
    env: Env,
    authority: Authority,
    provisioners: ProvisionerSet,
    password: Zeroizing<String>,
}

impl DevCa {
    /// Makes a new one, valid from now on, in memory only.
    pub fn new(env: &Env) -> Result<Self> {
        DevCa::with(env, JWK, &[])
    }

    /// The same with another name for its JWK provisioner, and host names and addresses that it may vouch for besides
    /// local ones; it also uses those names itself.
    ///
    /// # Errors
    /// A name is neither a host nor an address.
    pub(crate) fn with(env: &Env, provisioner: &str, names: &[SubjectAltName]) -> Result<Self> {
        let authority = Authority::generate(seconds(env), PermittedNames::new(names)?)?;
        let password = password()?;
        let jwk = JwkProvisioner::generate(provisioner, &password)?;
        DevCa::assemble(env, authority, jwk, password)
    }

    fn assemble(
        env: &Env,
        authority: Authority,
        jwk: JwkProvisioner,
        password: Zeroizing<String>,
    ) -> Result<Self> {
        let own = authority.names().own();
        let provisioners = ProvisionerSet::new(jwk, authority.root(), &own, env.now())?;
        Ok(DevCa { env: env.clone(), authority, provisioners, password })
    }

    /// The root's DER.
    pub fn root_der(&self) -> &[u8] {
        self.authority.root().der()
    }

    /// The root as PEM.
    pub fn root_pem(&self) -> String {
        self.root().to_pem()
    }

    /// The root.
    pub fn root(&self) -> &Certificate {
        self.authority.root()
    }

    /// What `step certificate fingerprint root_ca.crt` would print.
    pub fn fingerprint(&self) -> Fingerprint {
        self.root().fingerprint()
    }

    /// The name of the JWK provisioner.
    pub fn provisioner(&self) -> &str {
        &self.provisioners.jwk().name
    }

    /// The password of its key.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its private key under the password, a compact JWE, as `/provisioners` returns it to any client.
    pub fn provisioner_key(&self) -> &str {
        &self.provisioners.jwk().encrypted_key
    }

    /// The names that it may vouch for, for people.
    pub(crate) fn permitted(&self) -> String {
        self.authority.names().to_string()
    }

    /// Issues a server certificate for `names` (DNS names and IP addresses) that lives a day.
    pub fn issue(&self, names: &[&str]) -> Result<IssuedPair> {
        let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<SubjectAltName>>>()?;
        self.authority.serve(&names, seconds(&self.env))
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        self.env.now()
    }
}

/// Seconds since 1970, of a clock that is not set to an earlier time.
fn seconds(env: &Env) -> u64 {
    u64::try_from(env.now()).unwrap_or_default()
}

/// 160 random bits in letters and digits that are not easily confused (RFC 4648 section 6, in lower case).
fn password() -> Result<Zeroizing<String>> {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = Zeroizing::new([0; PASSWORD_LENGTH]);
    crate::random::fill(bytes.as_mut_slice())?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte & 31)])).collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::api::ApiRequest;
    use super::*;
    use crate::net::tls;
    use crate::pki::cert::pem;
    use crate::pki::cert::testing::Xorshift;
    use crate::pki::jose::{jwe, jwk, jws};
    use crate::pki::key::{KeyType, PrivateKey};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hyper::Method;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};
    use serde_json::{Map, json};

    const NOW: i64 = 1_800_000_000;

    fn ca() -> DevCa {
        DevCa::new(&Env::fixed([], NOW)).expect("demo CA")
    }

    fn verify(ca: &DevCa, name: &str, after: i64) -> Result<(), String> {
        let issued = ca.issue(&[name]).expect("issued");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.root_der().to_vec().into()).expect("root");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .expect("verifier");
        let now = UnixTime::since_unix_epoch(Duration::from_secs((NOW + after) as u64));
        let server = ServerName::try_from(name.to_owned()).expect("name");
        let verified = verifier.verify_server_cert(&issued.chain[0], &issued.chain[1..], &server, &[], now);
        verified.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn the_chain_is_good_for_local_names_only() {
        let ca = ca();
        for name in ["localhost", "127.0.0.1", "::1", "ca.test", "a.b.internal"] {
            assert_eq!(verify(&ca, name, 0), Ok(()), "{name}");
        }
        for name in ["example.com", "10.0.0.1", "test.example", "nottest"] {
            let error = verify(&ca, name, 0).expect_err(name);
            assert!(error.contains("name constraint") || error.contains("NameConstraint"), "{name}: {error}");
        }
    }

    #[test]
    fn the_root_lives_thirty_days_and_the_leaf_one() {
        let ca = ca();
        assert_eq!(verify(&ca, "localhost", 23 * 3600), Ok(()));
        assert!(verify(&ca, "localhost", 25 * 3600).is_err());
        let (_, root) = x509_parser::parse_x509_certificate(ca.root_der()).expect("root parses");
        let life = root.validity().not_after.timestamp() - NOW;
        assert_eq!(life, 30 * 24 * 3600);
        assert!(root.is_ca());
    }

    fn get(ca: &DevCa, path: &str) -> (u16, String) {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let reply = ca.answer(&ApiRequest { method: &Method::GET, path, query, body: b"", client: None });
        (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).expect("text"))
    }

    #[test]
    fn it_answers_as_step_ca_does() {
        let ca = ca();
        assert_eq!(get(&ca, "/health"), (200, "{\"status\":\"ok\"}\n".to_owned()));
        assert_eq!(get(&ca, "/roots").0, 201);
        assert_eq!(get(&ca, "/1.0/roots.pem"), (200, ca.root_pem()));
        let upper = ca.fingerprint().hex().to_uppercase();
        let (status, body) = get(&ca, &format!("/root/{upper}"));
        assert_eq!((status, body.contains("BEGIN CERTIFICATE")), (200, true));
        let (status, body) = get(&ca, "/root/00");
        assert_eq!(status, 404);
        assert!(
            body.contains(r#""message":"root certificate with fingerprint \"00\" was not found""#),
            "{body}"
        );
        for path in
            ["/", "/health/", "/1.0", "/1.0health", "/2.0/health", "/rootsx", "//health", "/root", "/acme/x"]
        {
            assert_eq!(get(&ca, path), (404, "404 page not found\n".to_owned()), "{path}");
        }
    }

    #[test]
    fn provisioners_come_in_pages() {
        let ca = ca();
        let page = |query: &str| {
            let (status, body) = get(&ca, &format!("/provisioners{query}"));
            (status, serde_json::from_str::<serde_json::Value>(&body).expect("JSON"))
        };
        let (status, all) = page("");
        assert_eq!((status, &all["nextCursor"]), (200, &"".into()));
        let (_, first) = page("?limit=1");
        assert_eq!(first["provisioners"][0], all["provisioners"][0]);
        let (_, second) = page(&format!("?limit=1&cursor={}", first["nextCursor"].as_str().expect("cursor")));
        assert_eq!(
            (&second["provisioners"][0], &second["nextCursor"]),
            (&all["provisioners"][1], &"".into())
        );
        let (status, error) = page("?limit=x");
        let sentence = "The request could not be completed: limit 'x' is not an integer.";
        assert_eq!((status, &error["message"]), (400, &sentence.into()));
        for query in ["?limit=-5", "?limit=99999999999", "?cursor=99999", "?cursor=x&limit=0", "?limit="] {
            assert_eq!(page(query).0, 200, "{query}");
        }
        let kid = all["provisioners"][0]["key"]["kid"].as_str().expect("kid");
        let (status, key) = get(&ca, &format!("/provisioners/{kid}/encrypted-key"));
        let key: serde_json::Value = serde_json::from_str(&key).expect("JSON");
        assert_eq!((status, &key["key"]), (200, &all["provisioners"][0]["encryptedKey"]));
        let private = jwe::decrypt(key["key"].as_str().expect("JWE"), ca.password().as_bytes()).expect("key");
        let private = PrivateKey::from_jwk(&private).expect("private key");
        assert_eq!(jwk::thumbprint(private.public()), kid);
        assert_eq!(get(&ca, "/provisioners/other/encrypted-key").0, 404);
    }

    #[test]
    fn t25_passwords_are_random() {
        let (one, other) = (password().expect("password"), password().expect("password"));
        assert_eq!(one.len(), 32);
        assert_ne!(*one, *other);
    }

    /// A body for `/sign` with a good token; the token comes from a certificate if `x5c`.
    fn body(ca: &DevCa, x5c: bool) -> serde_json::Value {
        let encrypted = &ca.provisioners.jwk().encrypted_key;
        let private = jwe::decrypt(encrypted, ca.password().as_bytes()).expect("key");
        let private = PrivateKey::from_jwk(&private).expect("private key");
        let key = PrivateKey::generate(KeyType::EcP256).expect("key");
        let name = "a.test".parse().expect("a name");
        let csr = pem::armor("CERTIFICATE REQUEST", &key.csr(&[name], None).expect("request"));
        let mut claims = json!({
            "iss": ca.provisioner(), "sub": "a.test", "aud": "https://localhost/sign", "iat": NOW, "exp": NOW + 60,
            // Two tokens with the same content are one to the CA.
            "jti": x5c.to_string(),
        });
        let header = Map::from_iter([("kid".to_owned(), json!(jwk::thumbprint(private.public())))]);
        let token = jws::sign(&private, header, &claims).expect("signed");
        if !x5c {
            return json!({ "csr": csr, "ott": *token });
        }
        let answer = post(ca, json!({ "csr": csr, "ott": *token }).to_string().as_bytes());
        let answer: serde_json::Value = serde_json::from_slice(&answer.1).expect("JSON");
        let ders = answer["certChain"].as_array().expect("chain").iter().map(|text| {
            let block = pem::blocks(text.as_str().expect("PEM").as_bytes()).remove(0);
            STANDARD.encode(block.der.expect("DER"))
        });
        claims["iss"] = X5C.into();
        claims["aud"] = json!(format!("https://localhost/sign#x5c/{X5C}"));
        let header = Map::from_iter([("x5c".to_owned(), ders.collect())]);
        json!({ "csr": csr, "ott": *jws::sign(&key, header, &claims).expect("signed") })
    }

    fn post(ca: &DevCa, body: &[u8]) -> (u16, Vec<u8>) {
        let reply =
            ca.answer(&ApiRequest { method: &Method::POST, path: "/sign", query: None, body, client: None });
        (reply.status.as_u16(), reply.body.to_vec())
    }

    #[test]
    fn no_body_makes_it_panic_and_no_change_is_signed() {
        let ca = ca();
        let mut random = Xorshift(0x5eed_0640);
        for x5c in [false, true] {
            let good = body(&ca, x5c);
            for member in ["csr", "ott"] {
                for _ in 0..400 {
                    let mut changed = good.clone();
                    let text = good[member].as_str().expect("text");
                    let mutated = random.mutate(text.as_bytes());
                    changed[member] = String::from_utf8_lossy(&mutated).into_owned().into();
                    if member == "ott" && changed != good {
                        let (status, _) = post(&ca, changed.to_string().as_bytes());
                        assert!(matches!(status, 400 | 401), "{status}: {}", changed["ott"]);
                    } else {
                        // Not spent: most changes of a request are detected before its token is checked.
                        let text = changed["csr"].as_str().expect("text");
                        let _ = request::Csr::parse(text);
                    }
                }
            }
            for _ in 0..400 {
                let _ = post(&ca, &random.mutate(b"{\"csr\":\"x\",\"ott\":\"a.b.c\",\"notAfter\":\"1h\"}"));
            }
            assert_eq!(
                post(&ca, good.to_string().as_bytes()).0,
                201,
                "the token was not used up by its changes"
            );
        }
    }
}
