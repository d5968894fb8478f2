//! A client of step-ca's interface that sends what a test wants, sensible or not.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use trustup::pki::cert::{SubjectAltName, pem};
use trustup::pki::jose::{jwe, jwk, jws};
use trustup::pki::key::{KeyType, PrivateKey};

use super::servers::request;

/// A CA as its clients know it, and the key of its JWK provisioner.
pub struct Caller {
    pub address: SocketAddr,
    pub root: Vec<u8>,
    pub provisioner: String,
    pub kid: String,
    pub key: PrivateKey,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    pub body: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The sentence of an error, or the whole body if that is no JSON.
    pub fn message(&self) -> String {
        match serde_json::from_str::<Value>(&self.body) {
            Ok(value) => value["message"].as_str().unwrap_or_default().to_owned(),
            Err(_) => self.body.clone(),
        }
    }

    /// The chain of a certificate that was issued, PEM.
    #[track_caller]
    pub fn chain(&self) -> String {
        assert_eq!(self.status, 201, "{self:?}");
        let value = self.json();
        value["certChain"].as_array().expect("chain").iter().filter_map(Value::as_str).collect()
    }
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// A new key and its certificate request, PEM.
pub fn csr(names: &[&str], common_name: Option<&str>) -> (PrivateKey, String) {
    let key = PrivateKey::generate(KeyType::EcP256).expect("key");
    let names: Vec<SubjectAltName> = names.iter().map(|name| name.parse().expect("name")).collect();
    let der = key.csr(&names, common_name).expect("request");
    (key, armor("CERTIFICATE REQUEST", &der))
}

pub fn armor(label: &str, der: &[u8]) -> String {
    super::ca::pem(label, der)
}

impl Caller {
    /// Asks the CA for its provisioner's key, and decrypts it.
    pub fn new(address: SocketAddr, root: &[u8], provisioner: &str, password: &str) -> Caller {
        let (_, body) =
            request(address, "localhost", root, None, "GET", "/provisioners", "").expect("answer");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let all = body["provisioners"].as_array().expect("list");
        let ours =
            all.iter().find(|one| one["name"] == provisioner && one["type"] == "JWK").expect("provisioner");
        let encrypted = ours["encryptedKey"].as_str().expect("JWE");
        let private = jwe::decrypt(encrypted, password.as_bytes()).expect("decrypted");
        let key = PrivateKey::from_jwk(&private).expect("key");
        Caller {
            address,
            root: root.to_vec(),
            provisioner: provisioner.to_owned(),
            kid: jwk::thumbprint(key.public()),
            key,
        }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The claims of a good token.
    pub fn claims(&self, subject: &str, names: &[&str]) -> Value {
        let mut id = [0; 16];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
        json!({
            "iss": self.provisioner, "sub": subject, "sans": names, "aud": format!("{}/1.0/sign", self.url()),
            "iat": now(), "nbf": now(), "exp": now() + 300, "jti": hex::encode(id),
        })
    }

    /// The claims, signed with the provisioner's key.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Map::from_iter([("kid".to_owned(), json!(self.kid))]);
        jws::sign(&self.key, header, claims).expect("signed").to_string()
    }

    /// The claims, signed with the key of a certificate.
    pub fn sign_x5c(&self, key: &PrivateKey, chain: &str, claims: &Value) -> String {
        let ders = pem::blocks(chain.as_bytes()).into_iter().filter_map(|block| block.der);
        let chain: Vec<String> = ders.map(|der| STANDARD.encode(der)).collect();
        jws::sign(key, Map::from_iter([("x5c".to_owned(), json!(chain))]), claims)
            .expect("signed")
            .to_string()
    }

    pub fn call(&self, client: Option<(&str, &str)>, method: &str, path: &str, body: &str) -> Said {
        let said = request(self.address, "localhost", &self.root, client, method, path, body);
        let (status, body) = said.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        Said { status, body }
    }

    pub fn post_sign(&self, csr: &str, token: &str) -> Said {
        self.call(None, "POST", "/1.0/sign", &json!({ "csr": csr, "ott": token }).to_string())
    }

    /// A pair from a good token: chain and key, PEM.
    pub fn pair(&self, name: &str) -> (String, PrivateKey) {
        let (key, csr) = csr(&[name], None);
        let chain = self.post_sign(&csr, &self.sign(&self.claims(name, &[name]))).chain();
        (chain, key)
    }
}
