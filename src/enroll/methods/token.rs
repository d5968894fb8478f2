//! By a one-time token that somebody else made: it is read once, checked as far as it can be checked here, and spent
//! once.

use std::cell::OnceCell;

use url::Url;

use super::{About, Issue, Method, Order, Spending, sign};
use crate::cert::SubjectAltName;
use crate::enroll::trust::{self, FromToken};
use crate::error::{Error, Result};
use crate::jose::jws;
use crate::secret::{Secret, Source};
use crate::step_ca::diagnosis;

const WHAT: &str = "the token";

/// A one-time token.
pub struct Token {
    source: Source,
    /// Read once, since a pipe gives it once; also where it turns out to be no token.
    secret: OnceCell<Secret>,
    said: OnceCell<jws::DecodedToken>,
}

/// What was read.
struct Read<'a> {
    secret: &'a Secret,
    said: &'a jws::DecodedToken,
}

impl Token {
    /// The token at `source`, which is read when it is needed: a spent one may be gone while the pair is good.
    pub fn new(source: Source) -> Self {
        Token { source, secret: OnceCell::new(), said: OnceCell::new() }
    }

    fn read(&self) -> Result<Read<'_>> {
        let secret = match self.secret.get() {
            Some(secret) => secret,
            None => {
                let secret = Secret::read(&self.source, WHAT).map_err(|error| {
                    error.hint("make one on the CA's host with `trustup token` or `step ca token`, and hand it over as a file (`--token-file`) or in TRUSTUP_TOKEN")
                })?;
                self.secret.get_or_init(|| secret)
            }
        };
        let said = match self.said.get() {
            Some(said) => said,
            None => {
                let said = jws::peek(secret.text(WHAT)?).map_err(|error| error.at(&self.source))?;
                self.said.get_or_init(|| said)
            }
        };
        Ok(Read { secret, said })
    }
}

impl<'a> Read<'a> {
    /// The names that it allows as it has them: its list, else its subject.
    fn texts(&self) -> Vec<&'a str> {
        let listed = self.said.texts("sans");
        if listed.is_empty() { self.said.claim("sub").into_iter().collect() } else { listed }
    }

    /// The same as names, each once.
    fn names(&self) -> Result<Vec<SubjectAltName>> {
        let mut names: Vec<SubjectAltName> = Vec::new();
        for text in self.texts() {
            let name = text.parse()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether the CA, which compares letter by letter, finds our names in the token. `step ca token DB.Internal` keeps the
    /// capitals, and so does the certificate.
    fn is_to_the_letter(&self, names: &[SubjectAltName]) -> bool {
        self.texts().iter().all(|text| names.iter().any(|name| name.to_string() == **text))
    }
}

impl Method for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn token(&self) -> Result<Option<FromToken>> {
        let said = self.read()?.said;
        let audiences = said.audience().into_iter().filter_map(|audience| Url::parse(audience).ok());
        let audiences = audiences.filter(|url| url.scheme() == "https" && url.has_host()).collect();
        let root = match said.claim("sha") {
            Some(text) => Some(text.parse()?),
            None => None,
        };
        Ok(Some(FromToken { audiences, root }))
    }

    fn token_names(&self) -> Result<Option<Vec<SubjectAltName>>> {
        self.read()?.names().map(Some)
    }

    fn check(&self, about: &About<'_>) -> Result<()> {
        let read = self.read()?;
        about.ca.url()?;
        if let Some(token) = self.token()? {
            trust::agree(about.ca, &token)?;
        }
        let allowed = read.names()?;
        let same =
            allowed.len() == about.names.len() && about.names.iter().all(|name| allowed.contains(name));
        if !same {
            let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(Error::usage(format!(
                "the token is for {list}, and not for exactly the requested names"
            ))
            .at(&self.source)
            .hint("omit the names, or make a token for them: `trustup token NAME --san NAME …`"));
        }
        if read.said.claims.contains_key("cnf") {
            return Err(Error::usage("the token is for one certificate signing request only, and `enroll` makes a key and a request of its own")
                .at(&self.source)
                .hint("make one without `--cnf-csr`; or use it with the key of that request: `step ca sign REQUEST.csr SERVER.crt --token …`"));
        }
        let facts = diagnosis::RefusalFacts {
            token: read.secret.text(WHAT)?,
            now: about.env.now(),
            skew: None,
            ca_url: about.ca.url()?,
            provisioners: None,
            presented_before: None,
            ca_started: None,
        };
        diagnosis::before(&facts).map(drop).map_err(|error| error.at(&self.source))
    }

    fn issue<'a>(&'a self, order: &'a mut Order<'_>) -> Issue<'a> {
        Box::pin(async move {
            let read = self.read()?;
            if let Some(warning) = &read.secret.warning {
                (order.warn)(warning);
            }
            // Whether the CA answers, and whether it is that CA, is found out before the token is spent.
            order.ca()?.health().await?;
            // Without names in the request the CA takes the token's.
            let names = if read.is_to_the_letter(order.about.names) { order.about.names } else { &[] };
            sign(order, self.name(), names, read.secret.text(WHAT)?, Spending::Once).await
        })
    }
}
