//! By a one-time token that another program made: it is read once, checked as far as it can be checked here, and spent
//! once.

use std::path::Path;

use url::Url;
use zeroize::Zeroizing;

use super::row::{Building, MethodRow, Published, TIMEOUT};
use super::{Issue, IssueFacts, IssueOrder, Method, Spending, sign};
use crate::certificate::issue::trust::{self, FromToken};
use crate::error::{Error, Result};
use crate::pki::cert::SubjectAltName;
use crate::pki::fingerprint::Fingerprint;
use crate::pki::jose::jws;
use crate::rootfs::host;
use crate::settings::secret::{Secret, SecretReader, SecretSource};
use crate::settings::{Opt, Origin, Reason, Settings};
use crate::step_ca::diagnosis;

const WHAT: &str = "the token";
/// Where container engines mount a token given as a secret.
const SECRETS: [&str; 2] = ["/run/secrets/trustup_token", "/run/secrets/ca_token"];
/// The token of published images.
const PUBLISHED: &str = "CA_TOKEN";

static TOKEN: Opt<Zeroizing<String>> =
    Opt::new("token", "TOKEN", "a token", |text| Ok(Zeroizing::new(text.to_owned())))
        .never(Reason::ReadByItsMethod)
        .excludes(&["token-file"])
        .help("The token itself: better in a file or in TRUSTUP_TOKEN, since others see command lines");
static TOKEN_FILE: Opt<SecretSource> = Opt::secret("token-file")
    .keys(&["enroll.token"])
    .help("The token: a file, `-` for standard input, or `fd:N` [default: TRUSTUP_TOKEN, /run/secrets/trustup_token, /run/secrets/ca_token]");

/// Its row in the table of methods.
pub(super) static ROW: MethodRow = MethodRow {
    word: "token",
    help: "With a one-time token that the CA's administrator made (`trustup token`, `step ca token`)",
    example: (
        "With a one-time token, which names the CA and its root by itself",
        "--token-file /run/secrets/ca_token --cert /run/tls/server.crt --key /run/tls/server.key",
    ),
    options: &[TOKEN.taken(), TOKEN_FILE.taken()],
    rows: &[&TOKEN, &TOKEN_FILE],
    required: &[],
    beside_file: &[&TOKEN, &TOKEN_FILE],
    published: Published::If(PUBLISHED),
    timeout: TIMEOUT,
    build: |settings, building| Ok(Box::new(TokenMethod::new(find(settings, building)?))),
    // A location that no setting names is checked only then.
    is_complete: |settings| Ok(settings.has(&TOKEN) || settings.has(&TOKEN_FILE)),
};

/// The location of the token, the first that exists: the command line's, TRUSTUP_TOKEN_FILE, TRUSTUP_TOKEN, the file's,
/// that of published images, a secret of the container engine.
fn find(settings: &Settings, building: &mut Building<'_>) -> Result<SecretSource> {
    if let Some(token) = settings.get(&TOKEN) {
        building.warnings.push("a token on the command line is visible to every user of this machine: put it into a file (`--token-file`) or into TRUSTUP_TOKEN".to_owned());
        return Ok(SecretSource::Value("--token".to_owned(), token.clone()));
    }
    let variable = |name: &str| {
        let token = building.env.var(name)?;
        Some(SecretSource::Value(name.to_owned(), Zeroizing::new(token.to_owned())))
    };
    let of_file = matches!(settings.origin(&TOKEN_FILE), Some(Origin::File { .. }));
    let file = settings.get(&TOKEN_FILE).cloned();
    let named = match (file, variable("TRUSTUP_TOKEN")) {
        (Some(file), None) => Some(file),
        (Some(file), Some(_)) if !of_file => Some(file),
        (_, variable) => variable,
    };
    if let Some(source) = named.or_else(|| variable(PUBLISHED)) {
        return Ok(source);
    }
    for path in SECRETS {
        if host::stat(Path::new(path))?.is_some() {
            return Ok(SecretSource::File(path.into()));
        }
    }
    let why =
        format!("none of `--token-file`, TRUSTUP_TOKEN, `{}` and `{}` gives one", SECRETS[0], SECRETS[1]);
    Ok(SecretSource::Missing("token".to_owned(), why))
}

/// A one-time token.
pub(crate) struct TokenMethod {
    secret: SecretReader,
}

/// The parsed token.
struct Read {
    secret: Secret,
    said: jws::DecodedToken,
}

impl TokenMethod {
    /// The token at `source`, read when it is needed: a spent one may be gone while the pair is good.
    pub(crate) fn new(source: SecretSource) -> Self {
        TokenMethod { secret: SecretReader::new(source, WHAT) }
    }

    fn read(&self) -> Result<Read> {
        let secret = self.secret.read().map_err(|error| {
            error.hint("make one on the CA's host with `trustup token` or `step ca token`, and hand it over as a file (`--token-file`) or in TRUSTUP_TOKEN")
        })?;
        let said = jws::peek(secret.text(WHAT)?).map_err(|error| error.at(self.secret.source()))?;
        Ok(Read { secret, said })
    }
}

impl Read {
    /// The names that it allows, unchanged: its list, else its subject.
    fn texts(&self) -> Vec<&str> {
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

    /// Whether the CA, which compares letter by letter, finds our names in the token. `step ca token DB.Internal` keeps
    /// the capitals, and so does the certificate.
    fn is_to_the_letter(&self, names: &[SubjectAltName]) -> bool {
        self.texts().iter().all(|text| names.iter().any(|name| name.to_string() == **text))
    }
}

impl Method for TokenMethod {
    fn name(&self) -> &'static str {
        "token"
    }

    fn identity(&self) -> String {
        // Another token may be of another provisioner.
        let token = self.read().ok().and_then(|read| read.secret.text(WHAT).ok().map(str::to_owned));
        token.map(|token| Fingerprint::of(token.as_bytes()).hex()).unwrap_or_default()
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

    fn check(&self, about: &IssueFacts<'_>) -> Result<()> {
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
            .at(self.secret.source())
            .hint("omit the names, or make a token for them: `trustup token NAME --san NAME …`"));
        }
        if read.said.claims.contains_key("cnf") {
            return Err(Error::usage("the token is for one certificate signing request only, and `enroll` makes a key and a request of its own")
                .at(self.secret.source())
                .hint("make one without `--cnf-csr`; or use it with the key of that request: `step ca sign REQUEST.csr SERVER.crt --token …`"));
        }
        let facts = diagnosis::RefusalFacts {
            token: read.secret.text(WHAT)?,
            now: about.env.now(),
            skew: None,
            ca_url: about.ca.url()?,
            ca_names: &[],
            provisioners: None,
            presented_before: None,
        };
        diagnosis::before(&facts).map(drop).map_err(|error| error.at(self.secret.source()))
    }

    fn issue<'a>(&'a self, order: &'a mut IssueOrder<'_>) -> Issue<'a> {
        Box::pin(async move {
            let read = self.read()?;
            if let Some(warning) = &read.secret.warning {
                (order.warn)(warning);
            }
            // Whether the CA answers, and whether it is the right CA, is checked before the token is spent.
            order.ca()?.health().await?;
            // Without names in the request the CA uses the token's.
            let names = if read.is_to_the_letter(order.about.names) { order.about.names } else { &[] };
            sign(order, self.name(), names, read.secret.text(WHAT)?, Spending::Once).await
        })
    }
}
