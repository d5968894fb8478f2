//! The CA's provisioners, as `/provisioners` lists them. Kinds and members that are not needed are ignored: every
//! version of step-ca adds some.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::pki::jose::jwk;
use crate::pki::key::PublicKey;
use crate::text;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioner {
    /// Its name: `iss` of its tokens.
    pub(crate) name: String,
    /// Its kind, with the relevant details.
    pub(crate) kind: ProvisionerKind,
}

/// What a provisioner accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProvisionerKind {
    /// Tokens signed with a key of its own.
    Jwk {
        /// Key id: `kid` of its tokens.
        kid: String,
        /// `None` if it is of a kind that is not supported here.
        key: Option<PublicKey>,
        /// The private key under a password (compact JWE), if the CA keeps it.
        encrypted_key: Option<String>,
    },
    /// Tokens signed with the key of a certificate.
    X5c,
    /// ACME orders.
    Acme {
        /// Whether accounts must be bound to an external one.
        requires_eab: bool,
    },
    /// Anything else, by step-ca's word for it.
    Other(String),
}

impl Provisioner {
    /// Reads one entry of the list; `None` if it cannot be one.
    pub(super) fn parse(entry: &Value) -> Option<Self> {
        let member = |name: &str| entry.get(name)?.as_str().filter(|value| !value.is_empty());
        let name = member("name")?.to_owned();
        let word = member("type")?;
        let kind = match word.to_ascii_uppercase().as_str() {
            "JWK" => {
                let public = entry.get("key")?;
                let key = jwk::parse(public).ok();
                let kid = public.get("kid").and_then(Value::as_str).map(ToOwned::to_owned);
                let kid = kid.or_else(|| key.as_ref().map(jwk::thumbprint))?;
                ProvisionerKind::Jwk {
                    kid,
                    key,
                    encrypted_key: member("encryptedKey").map(ToOwned::to_owned),
                }
            }
            "X5C" => ProvisionerKind::X5c,
            "ACME" => ProvisionerKind::Acme {
                requires_eab: entry.get("requireEAB").and_then(Value::as_bool).unwrap_or_default(),
            },
            _ => ProvisionerKind::Other(word.to_owned()),
        };
        Some(Provisioner { name, kind })
    }

    /// For people: `JWK`, `X5C`, `ACME`, …
    pub(crate) fn word(&self) -> &str {
        match &self.kind {
            ProvisionerKind::Jwk { .. } => "JWK",
            ProvisionerKind::X5c => "X5C",
            ProvisionerKind::Acme { .. } => "ACME",
            ProvisionerKind::Other(word) => word,
        }
    }
}

/// How the CA gets a provisioner of this kind (`JWK`, `X5C`, `ACME`): the whole command, as step needs it.
pub(crate) fn hint_to_add(word: &str) -> String {
    let more = match word {
        "JWK" => " --create",
        "X5C" => " --x5c-roots FILE",
        _ => "",
    };
    format!("`step ca provisioner add NAME --type {word}{more}` on the CA's host adds one")
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioners(pub Vec<Provisioner>);

impl Provisioners {
    /// Those with this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Provisioner> {
        self.0.iter().filter(move |provisioner| provisioner.name == name)
    }

    /// Requires that one of this kind (`JWK`, `X5C`, `ACME`) has this name.
    ///
    /// # Errors
    /// There is none: as [`Provisioners::missing`].
    pub(crate) fn require(&self, name: &str, word: &str) -> Result<()> {
        if self.named(name).any(|provisioner| provisioner.word() == word) {
            return Ok(());
        }
        Err(self.missing(name, word))
    }

    /// The encrypted keys of the JWK provisioners with this name (there may be several, each with a key of its own).
    ///
    /// # Errors
    /// There is none, or the CA does not keep the key.
    pub fn encrypted_keys(&self, name: &str) -> Result<Vec<(&str, &str)>> {
        let of_kind: Vec<_> = self
            .named(name)
            .filter_map(|provisioner| match &provisioner.kind {
                ProvisionerKind::Jwk { kid, encrypted_key, .. } => {
                    Some((kid.as_str(), encrypted_key.as_deref()))
                }
                _ => None,
            })
            .collect();
        self.require(name, "JWK")?;
        let keys: Vec<_> = of_kind.iter().filter_map(|(kid, key)| Some((*kid, (*key)?))).collect();
        if keys.is_empty() {
            return Err(Error::usage(format!(
                "the CA does not keep the private key of the provisioner `{}`",
                text::escape(name)
            ))
            .hint(
                "give the key as a file with `--provisioner-key FILE` (`provisioner_key` in trustup.toml)",
            ));
        }
        Ok(keys)
    }

    /// The error for a name that no provisioner of this kind has; it lists the existing ones.
    pub(crate) fn missing(&self, name: &str, word: &str) -> Error {
        const SHOWN: usize = 10;
        let shown = text::escape(name);
        let of_kind: Vec<&Provisioner> =
            self.0.iter().filter(|provisioner| provisioner.word() == word).collect();
        let mut names: Vec<String> = of_kind
            .iter()
            .take(SHOWN)
            .map(|provisioner| format!("`{}`", text::escape(&provisioner.name)))
            .collect();
        if of_kind.len() > SHOWN {
            names.push(format!("{} more", of_kind.len() - SHOWN));
        }
        let error = match self.named(name).next() {
            Some(other) => Error::usage(format!(
                "the provisioner `{shown}` is of type {}, not {word}",
                text::escape(other.word())
            )),
            None => Error::usage(format!("the CA has no provisioner `{shown}`")),
        };
        if names.is_empty() {
            error.hint(format!("it has none of type {word}: {}", hint_to_add(word)))
        } else {
            error.hint(format!("those of type {word} are {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::{KeyType, PrivateKey};
    use serde_json::json;

    #[test]
    fn what_is_known_is_read_and_the_rest_passed_over() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
        let mut public = jwk::of(key.public());
        let thumbprint = jwk::thumbprint(key.public());
        let parsed = |entry: Value| Provisioner::parse(&entry);
        let jwk = |kid: &str, key: Option<&PublicKey>, encrypted: Option<&str>| {
            let (kid, key) = (kid.to_owned(), key.cloned());
            ProvisionerKind::Jwk { kid, key, encrypted_key: encrypted.map(ToOwned::to_owned) }
        };
        let found =
            parsed(json!({"type": "jwk", "name": "a", "key": public, "encryptedKey": "x", "claims": {}}));
        assert_eq!(found.expect("a provisioner").kind, jwk(&thumbprint, Some(key.public()), Some("x")));
        public["kid"] = json!("own");
        let found = parsed(json!({"type": "JWK", "name": "a", "key": public, "encryptedKey": ""}));
        assert_eq!(found.expect("a provisioner").kind, jwk("own", Some(key.public()), None));
        let odd = json!({"kty": "EC", "crv": "P-521", "kid": "k"});
        assert_eq!(
            parsed(json!({"type": "JWK", "name": "a", "key": odd})).expect("a provisioner").kind,
            jwk("k", None, None)
        );
        assert_eq!(
            parsed(json!({"type": "X5C", "name": "b", "roots": "eA=="})).expect("one").kind,
            ProvisionerKind::X5c
        );
        let acme = parsed(json!({"type": "ACME", "name": "c", "requireEAB": true})).expect("one");
        assert_eq!(acme.kind, ProvisionerKind::Acme { requires_eab: true });
        assert_eq!(parsed(json!({"type": "Nebula", "name": "d"})).expect("one").word(), "Nebula");
        for entry in [
            json!({}),
            json!(5),
            json!({"name": "a"}),
            json!({"type": "JWK", "name": "a"}),
            json!({"type": "X5C", "name": ""}),
        ] {
            assert_eq!(parsed(entry), None);
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_explained() {
        let jwk = |kid: &str, encrypted_key: Option<&str>| ProvisionerKind::Jwk {
            kid: kid.to_owned(),
            key: None,
            encrypted_key: encrypted_key.map(ToOwned::to_owned),
        };
        let all = Provisioners(
            [
                ("dev", jwk("1", Some("one"))),
                ("dev", jwk("2", Some("two"))),
                ("bare", jwk("3", None)),
                ("birth", ProvisionerKind::X5c),
            ]
            .map(|(name, kind)| Provisioner { name: name.to_owned(), kind })
            .into(),
        );
        assert_eq!(all.encrypted_keys("dev").expect("keys"), [("1", "one"), ("2", "two")]);
        for (name, what, hint) in [
            ("bare", "does not keep", "`--provisioner-key FILE`"),
            ("birth", "of type X5C", "`dev`, `dev`, `bare`"),
            ("nobody\x1b", r"no provisioner `nobody\u{1b}`", "`dev`"),
        ] {
            let error = all.encrypted_keys(name).expect_err(name);
            assert!(error.what().contains(what) && error.hints()[0].contains(hint), "{error:?}");
            assert_eq!(error.kind().exit_code(), 2);
        }
        assert!(all.require("birth", "X5C").is_ok() && all.require("dev", "X5C").is_err());
        assert!(Provisioners::default().missing("x", "ACME").hints()[0].contains("provisioner add"));
    }
}
