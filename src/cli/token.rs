//! `trustup token`: makes a one-time token on the host for a container, as `step ca token` does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::Context;
use super::config::ConfigArg;
use super::enroll::{given, ignore_ca, recorded};
use super::output::token::TokenReport;
use super::variables::PublishedSources;
use crate::cert::{Certificate, SubjectAltName, pem};
use crate::config::{self, Scope};
use crate::enroll::methods::{self, x5c};
use crate::enroll::trust::{self, Ca, Given};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::key::PrivateKey;
use crate::net::Net;
use crate::net::dns::Settings;
use crate::net::retry::{Backoff, Retry};
use crate::net::url::masked;
use crate::pair::check::Roots;
use crate::rootfs::directory::Attributes;
use crate::rootfs::file_set::write_file;
use crate::rootfs::output::{OutputOption, OutputTarget};
use crate::rootfs::{Sysroot, host, split};
use crate::runtime;
use crate::secret::{Secret, Source};
use crate::step_ca::mint::{self, ProvisionerKey, Signer};
use crate::step_ca::{StepCaClient, diagnosis};
use crate::text;
use crate::ui::json::UtcTime;

/// The largest certificate signing request, in bytes.
const LIMIT: u64 = 256 * 1024;

/// Where the token goes.
const OUT: OutputOption = OutputOption { name: "--out", takes_standard: true };

/// Make a one-time token for a container: on standard output, or in a file that only you can read
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  With the provisioner's password; the CA is asked for the encrypted key:
    trustup token web.internal --ca-url https://ca.internal:9000 --fingerprint 2f0c…9a --provisioner dev \\
      --password-file ./password --out ./token
    docker run -v ./token:/run/secrets/ca_token:ro …
  With the provisioner's key, without any network:
    trustup token web.internal --ca-url https://ca.internal:9000 --fingerprint 2f0c…9a --provisioner dev \\
      --provisioner-key ./dev.jwk --password-file ./password
  With a birth certificate, for more than one name, for one request only:
    trustup token web.internal --san web.internal --san 10.0.0.7 --provisioner birth --x5c-cert birth.crt \\
      --x5c-key birth.key --cnf-csr web.csr

A token works once, and until it expires. It names the CA and its root, so the container needs nothing else:
`trustup enroll token --token-file /run/secrets/ca_token …`. CA and root are those that `trustup bootstrap` was given,
unless you name others.")]
pub(super) struct TokenArgs {
    /// What the certificate will be for: a host name, an address, an e-mail address or a URI
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// All names that the certificate may have [default: SUBJECT] (repeatable)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    san: Vec<String>,
    /// The CA [default: the one that `trustup bootstrap` was given]
    #[arg(long, value_name = "URL")]
    ca_url: Option<String>,
    /// SHA-256 fingerprint of the CA's root [default: the root that bootstrap got with a fingerprint]
    #[arg(long, value_name = "HEX", value_delimiter = ',', value_parser = super::fingerprint)]
    fingerprint: Vec<Fingerprint>,
    /// A file with the CA's root, instead of a fingerprint
    #[arg(long, value_name = "FILE")]
    ca_root: Option<PathBuf>,
    /// The provisioner's name [default: with --password-file the CA's only JWK provisioner]
    #[arg(long, value_name = "NAME")]
    provisioner: Option<String>,
    /// The password of its key: a file, `-` for standard input, or `fd:N`
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// Its key: a private JWK, encrypted or not, or PEM; then the CA is not asked
    #[arg(long, value_name = "FILE")]
    provisioner_key: Option<String>,
    /// A birth certificate with its intermediates, for an X5C provisioner
    #[arg(long, value_name = "FILE")]
    x5c_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    x5c_key: Option<String>,
    /// The only certificate signing request that the token is for (step-ca 0.27.3 and newer)
    #[arg(long, value_name = "FILE")]
    cnf_csr: Option<PathBuf>,
    /// How long the token works: 10s to 24h [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = super::duration::parse)]
    valid_for: Option<Duration>,
    /// Write it here (0600), not to standard output (`-`)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigArg,
}

/// With what the token is to be signed.
enum Means {
    /// The provisioner's key, which the CA keeps under this password.
    AtTheCa(Secret),
    /// What was given.
    Here(With),
}

/// With what the token is signed.
enum With {
    /// The provisioner's key.
    Key(ProvisionerKey),
    /// A birth certificate and its key.
    Birth(Vec<Certificate>, PrivateKey),
}

pub(super) fn run(context: &Context, args: &TokenArgs, published: &PublishedSources) -> Result<u8> {
    let (env, ui) = (context.env, context.ui);
    if !published.ignored.is_empty() {
        ui.say(format!("ignored, since the command line names a source: {}", published.ignored.join(", ")));
    }
    let own = Given { url: args.ca_url.clone(), pins: args.fingerprint.clone(), root: args.ca_root.clone() };
    let mut config = config::load_scope(env, args.file.path(), Scope::Trust)?;
    ignore_ca(context, &own, published, config.as_mut());
    let configured = config.as_ref().and_then(|config| config.ca.as_ref()?.provisioner.as_deref());
    let named = args.provisioner.as_deref().or(configured);
    if named.is_none() && !args.asks_the_ca() {
        return Err(Error::usage("which provisioner the token is of is not said")
            .hint("add `--provisioner NAME`; on the CA's host `step ca provisioner list` shows them"));
    }
    let subject = args.subject.parse::<SubjectAltName>()?;
    let names = args.san.iter().map(|name| name.parse()).collect::<Result<Vec<SubjectAltName>>>()?;
    for doubt in names.iter().chain([&subject]).filter_map(SubjectAltName::doubt) {
        ui.warn(doubt);
    }
    let subject = subject.to_string();
    let csr = args.cnf_csr.as_deref().map(request).transpose()?;
    let out = match args.out.as_deref().map(|path| OUT.parse(path)).transpose()? {
        Some(OutputTarget::File(path)) => Some(OutputFile::open(path)?),
        Some(OutputTarget::Standard) | None => None,
    };
    let ca = trust::resolve(&given(own, published, config.as_ref())?, &recorded(context, false)?, None)?;
    for root in &ca.recorded {
        context.ui.say(format!("using the CA's root that `trustup bootstrap` recorded: {root}"));
    }
    let ca_url = ca.url()?;
    let means = args.means(context)?;
    if context.global.dry_run {
        let of = match named {
            Some(name) => format!("the provisioner `{}`", text::escape(name)),
            None => "the only JWK provisioner".to_owned(),
        };
        ui.say(format!("would make a token for `{subject}`, of {of} at `{}`", masked(ca_url)));
        ui.result(&TokenReport {
            changed: false,
            dry_run: true,
            subject: &subject,
            provisioner: named,
            ca_url: masked(ca_url),
            root: root_of(&ca),
            expires: None,
            out: out.as_ref().map(|out| out.path.as_str()),
            token: None,
        })?;
        return Ok(0);
    }
    let fetched;
    let (ca, provisioner, with) = match means {
        Means::AtTheCa(password) => {
            let (roots, name, key) = fetch(context, &ca, named, &password)?;
            fetched = Ca { roots: Some(roots), ..ca.clone() };
            (&fetched, name, With::Key(key))
        }
        Means::Here(with) => (&ca, named.unwrap_or_default().to_owned(), with),
    };
    let root = root_of(ca);
    if root.is_none() {
        ui.warn("the token does not name the CA's root, since there are several: the container needs `--fingerprint`");
    }
    let now = env.now();
    let valid_for = args.valid_for.unwrap_or(mint::VALID_FOR);
    let request = mint::TokenRequest {
        provisioner: &provisioner,
        subject: &subject,
        names: &names,
        ca_url,
        root,
        now,
        valid_for,
        csr: csr.as_deref(),
    };
    let signer = match &with {
        With::Key(key) => Signer::Jwk { key: &key.key, kid: &key.kid },
        With::Birth(chain, key) => Signer::X5c { key, chain },
    };
    let token = mint::mint(&request, &signer)?;
    let expires = now.saturating_add(i64::try_from(valid_for.as_secs()).unwrap_or(i64::MAX));
    let until = text::moment(expires);
    match &out {
        Some(out) => {
            out.write(&token)?.iter().for_each(|warning| ui.warn(warning));
            ui.say(format!(
                "wrote a token for `{subject}` to `{}`; it works once, until {until}",
                text::escape(&out.path)
            ));
        }
        None if ui.json => {}
        None => {
            ui.data(token.as_str())?;
            ui.detail(format!("it works once, until {until}"));
        }
    }
    let report = TokenReport {
        changed: out.is_some(),
        dry_run: false,
        subject: &subject,
        provisioner: Some(&provisioner),
        ca_url: masked(ca_url),
        root,
        expires: Some(UtcTime(expires)),
        out: out.as_ref().map(|out| out.path.as_str()),
        token: out.is_none().then_some(token.as_str()),
    };
    ui.result(&report).map_err(|lost| {
        let file = out.as_ref().map(|out| text::escape(&out.path));
        lost.after_work(out.is_some(), "the token works; its time limit is in the token itself")
            .with_changed(file)
    })?;
    Ok(0)
}

impl TokenArgs {
    /// Whether the CA is asked for the provisioner's key, and so knows which provisioners there are.
    fn asks_the_ca(&self) -> bool {
        let signs_here = [&self.x5c_key, &self.provisioner_key].into_iter().any(Option::is_some);
        self.password_file.is_some() && self.x5c_cert.is_none() && !signs_here
    }

    /// What the token is to be signed with; read before anybody is asked.
    fn means(&self, context: &Context) -> Result<Means> {
        let read = |path: &str, what: &str| {
            let secret = Secret::read(&path.parse::<Source>()?, what)?;
            if let Some(warning) = &secret.warning {
                context.ui.warn(warning);
            }
            Ok::<_, Error>(secret)
        };
        let password = || match &self.password_file {
            Some(path) => read(path, "the password"),
            None => Err(Error::usage("the provisioner's key is encrypted, and there is no password")
                .hint("add `--password-file FILE`")),
        };
        match (&self.x5c_cert, &self.x5c_key, &self.provisioner_key, &self.password_file) {
            (Some(cert), Some(key), None, None) => {
                let chain = x5c::birth_certificate(cert)?;
                let key = PrivateKey::from_pem(read(key, "the birth certificate's key")?.bytes())
                    .map_err(|error| error.at(text::escape(key)))?;
                mint::check_birth_certificate(&chain, &key, context.env.now())?;
                Ok(Means::Here(With::Birth(chain, key)))
            }
            (None, None, Some(path), _) => {
                let secret = read(path, "the provisioner's key")?;
                let bytes = || Ok(Zeroizing::new(password()?.bytes().to_vec()));
                let key = mint::read_key(secret.bytes(), bytes).map_err(|error| match error.place() {
                    None => error.at(text::escape(path)),
                    Some(_) => error,
                });
                Ok(Means::Here(With::Key(key?)))
            }
            (None, None, None, Some(_)) => password().map(Means::AtTheCa),
            (None, None, None, None) => Err(Error::usage("there is nothing to sign the token with").hint(
                "give `--password-file FILE`, `--provisioner-key FILE`, or `--x5c-cert FILE --x5c-key FILE`",
            )),
            (Some(_), None, ..) | (None, Some(_), ..) => {
                Err(Error::usage("a birth certificate and its key go together")
                    .hint("give both `--x5c-cert FILE` and `--x5c-key FILE`"))
            }
            _ => Err(Error::usage("a token is signed with one key")
                .hint("give either a birth certificate, or the provisioner's password or key")),
        }
    }
}

/// The CA's roots, and from the CA the provisioner's name and key: of the one that is named, else of the only one.
fn fetch(
    context: &Context,
    ca: &Ca,
    named: Option<&str>,
    password: &Secret,
) -> Result<(Roots, String, ProvisionerKey)> {
    let (env, ui) = (context.env, context.ui);
    let warn = |line: &str| ui.warn(line);
    let url = ca.url()?;
    let busy = ui.busy("asking the CA");
    let roots = match &ca.roots {
        Some(roots) => roots.clone(),
        None => trust::fetch(url, &ca.pins, env, context.timeout(), context.global.wait, &warn)?,
    };
    let names = Settings::of_root(Path::new("/"), &mut |line| ui.warn(line));
    let (name, key) = runtime::block_on(async {
        let net = Net::new(env, &names, context.timeout(), context.global.wait)?;
        let client = StepCaClient::new(&net, env, url, &methods::trust(&roots))?;
        let last_start = Instant::now() + context.global.wait.unwrap_or_default();
        let mut retry = Retry::until(last_start, Backoff::STARTING);
        let provisioners =
            retry.run(async || client.provisioners().await.map_err(|failed| failed.error)).await?;
        // The token's times are ours.
        if let Some(warning) = client.skew().and_then(diagnosis::clock_warning) {
            ui.warn(format!("the CA may refuse the token: {warning}"));
        }
        let name = match named {
            Some(name) => name.to_owned(),
            None => methods::only(&provisioners, "JWK")?,
        };
        let key = mint::decrypt_key(&provisioners, &name, password.bytes())?;
        Ok((name, key))
    })
    .flatten()?;
    drop(busy);
    Ok((roots, name, key))
}

/// The root that the token names: the pinned one, else the only one that is known.
fn root_of(ca: &Ca) -> Option<Fingerprint> {
    let known = ca.roots.as_ref().map(|roots| roots.certificates.as_slice()).unwrap_or_default();
    match (ca.pins.as_slice(), known) {
        ([pin, ..], _) => Some(*pin),
        ([], [root]) => Some(root.fingerprint()),
        _ => None,
    }
}

/// The DER of a certificate signing request, PEM or DER; its own signature is checked.
fn request(path: &Path) -> Result<Vec<u8>> {
    let bytes = host::read_file(path, LIMIT)?;
    let labels = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
    let block = pem::blocks(&bytes).into_iter().find(|block| labels.contains(&block.label.as_str()));
    let der = match block {
        Some(block) => block.der.unwrap_or_default(),
        None => bytes,
    };
    let is_good = matches!(
        X509CertificationRequest::from_der(&der),
        Ok((&[], request)) if request.verify_signature().is_ok()
    );
    if is_good {
        return Ok(der);
    }
    Err(Error::usage("this is no certificate signing request, or it is damaged")
        .at(path.display())
        .hint("`openssl req -in FILE -verify -noout` says more"))
}

/// A file that is to be written, in a directory that is there.
struct OutputFile {
    path: String,
    host: Sysroot,
}

impl OutputFile {
    /// Checks where it goes, before anything is asked.
    fn open(path: String) -> Result<OutputFile> {
        let output = OutputFile { path, host: Sysroot::open(Path::new("/"))? };
        OUT.check(&output.host, &output.path)?;
        let (parent, _) = split(&output.path);
        let directory = output
            .host
            .directory(parent)
            .map_err(|error| error.hint("make the directory first, or name another with `--out FILE`"))?;
        if !directory.is_writable() {
            return Err(Error::usage("`--out` cannot be written to")
                .at(text::escape(&output.path))
                .hint("name a file in a directory that is there and that you can write to"));
        }
        Ok(output)
    }

    /// Puts the token there, whole or not at all.
    fn write(&self, token: &str) -> Result<Vec<String>> {
        let content = Zeroizing::new(format!("{token}\n"));
        let attributes = Attributes { mode: 0o600, owner: None, modified: None };
        write_file(&self.host, &self.path, content.as_bytes(), attributes)
    }
}
