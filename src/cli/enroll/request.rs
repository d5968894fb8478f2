//! What is asked for: the command line with a method, or the certificates of trustup.toml, or the variables of published
//! images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as _;

use super::acme::{self, AcmeArgs};
use super::{Context, EnrollArgs, MethodWord};
use crate::cli::variables::{Parsed, PublishedSources};
use crate::config::{self, CertificateConfig, Config, Scope};
use crate::enroll::methods::Method;
use crate::enroll::methods::acme::Acme;
use crate::enroll::methods::provisioner::Provisioner;
use crate::enroll::methods::token::Token;
use crate::enroll::methods::x5c::X5c;
use crate::enroll::{Request, trust};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::pair::decide::Policy;
use crate::pair::{CERT_MODE, KEY_MODE, Outputs, owner};
use crate::privilege;
use crate::rootfs::output::{OutputOption, OutputTarget};
use crate::rootfs::{Sysroot, host as files};
use crate::secret::Source;

/// The methods that have a word of their own.
const ALL: [MethodWord; 4] = [MethodWord::Token, MethodWord::Provisioner, MethodWord::X5c, MethodWord::Acme];
/// Where container engines put a token that was given to them as a secret.
const SECRETS: [&str; 2] = ["/run/secrets/trustup_token", "/run/secrets/ca_token"];
/// For everything, if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An ACME server looks at names from outside, and takes its time.
const ACME_TIMEOUT: Duration = Duration::from_secs(300);

/// What is asked for, in the order in which it is done.
///
/// # Errors
/// Nothing is, or it cannot be meant so.
pub(super) fn requests(
    context: &Context,
    args: &EnrollArgs,
    said: &Parsed,
    host: &Sysroot,
) -> Result<Vec<Request>> {
    let published = &said.sources;
    // What the certificates of the file lack does not matter to one that the command line names.
    let scope = match args.method {
        Some(word) if word != MethodWord::Any => Scope::Trust,
        _ => Scope::All,
    };
    let mut config = config::load_scope(context.env, args.file.path(), scope)?;
    let of_variables = match (&scope, &config) {
        (Scope::Trust, _) => None,
        (Scope::All, Some(config)) if !config.certificates.is_empty() => None,
        (Scope::All, _) => config::published(context.env)?,
    };
    refuse_unused(args, &said.given, of_variables.as_ref())?;
    if let Some(config) = config.as_ref().filter(|config| !config.certificates.is_empty())
        && scope == Scope::All
        && context.env.var("TLS_DOMAINS").is_some()
    {
        context.ui.say(format!(
            "ignored, since `{}` says which certificates to get: TLS_DOMAINS, and what belongs to it",
            crate::text::escape(&config.path.to_string_lossy())
        ));
    }
    if of_variables.as_ref().is_some_and(|one| one.enroll.iter().any(is_acme))
        && context.env.raw("CA_TOKEN") == Some("")
    {
        context.ui.warn("`CA_TOKEN` is set, and empty: the certificate is asked for by ACME, as without it");
    }
    let of_variables = of_variables.map(|one| completed(args, &said.given, one)).transpose()?;
    let own =
        trust::Given { url: args.ca_url.clone(), pins: args.fingerprint.clone(), root: args.ca_root.clone() };
    ignore_ca(context, &own, published, config.as_mut());
    let ca = given(own, published, config.as_ref())?;
    match args.method {
        Some(word) if word != MethodWord::Any => {
            Ok(vec![one(context, args, &said.given, word, ca, config.as_ref(), host)?])
        }
        _ => several(context, args, &said.given, &ca, config, of_variables, host),
    }
}

/// What somebody says has a meaning, or is an error: an option is not taken in silence by a method that it is not for.
/// `given` has the ids of what the command line says; variables are there for everything that runs here. `of_variables` is
/// what published images' variables ask for.
fn refuse_unused(
    args: &EnrollArgs,
    given: &[String],
    of_variables: Option<&CertificateConfig>,
) -> Result<()> {
    use MethodWord::{Acme, Any, Provisioner, Token, X5c};
    let of_acme = AcmeArgs::augment_args(clap::Command::new(""));
    let methods_of = |id: &str| -> Option<&[MethodWord]> {
        match id {
            "cert" | "key" | "chain" | "ca_out" => Some(&ALL),
            "token" | "token_file" => Some(&[Token, Any]),
            "provisioner" => Some(&[Provisioner, X5c, Acme]),
            "password_file" | "provisioner_key" => Some(&[Provisioner]),
            "x5c_cert" | "x5c_key" => Some(&[X5c]),
            id => of_acme.get_arguments().any(|arg| arg.get_id() == id).then_some(&[Acme]),
        }
    };
    let method = args.method.unwrap_or(Any);
    // What those variables leave open is said as with the method; where the files go, they say themselves.
    let by_acme = of_variables.is_some_and(|one| one.enroll.iter().any(is_acme));
    let taken = |methods: &[MethodWord]| {
        methods.contains(&method) || (by_acme && methods.contains(&Acme) && methods != ALL)
    };
    let unused = given.iter().find_map(|id| Some((id, methods_of(id).filter(|methods| !taken(methods))?)));
    let Some((id, methods)) = unused else { return Ok(()) };
    let option = format!("`--{}`", id.replace('_', "-"));
    let named = methods.iter().map(|method| format!("`{method}`")).collect::<Vec<_>>().join(", ");
    Err(if method == Any {
        Error::usage(format!("{option} needs a method")).hint(format!(
            "it is for {named}: `trustup enroll {} NAME… --cert FILE --key FILE`; without a method, trustup.toml says all of it",
            methods[0]
        ))
    } else {
        Error::usage(format!("{option} does not go with `{method}`"))
            .hint(format!("it is for {named}: leave it out, or choose another method"))
    })
}

fn is_acme(method: &config::Method) -> bool {
    matches!(method, config::Method::Acme { .. })
}

/// What published images' variables ask for by ACME, with what they have no variables for: how challenges are answered,
/// and with which account.
fn completed(args: &EnrollArgs, given: &[String], mut one: CertificateConfig) -> Result<CertificateConfig> {
    for method in &mut one.enroll {
        if let config::Method::Acme { options, .. } = method {
            let provisioner = args.provisioner.clone().or_else(|| options.provisioner.take());
            **options = acme::options(&args.acme, given, provisioner)?;
        }
    }
    Ok(one)
}

/// Who names a CA or a pin elsewhere has nothing of the file's `[ca]` (threat T1), and is told.
pub(in crate::cli) fn ignore_ca(
    context: &Context,
    own: &trust::Given,
    published: &PublishedSources,
    config: Option<&mut Config>,
) {
    let named = own.url.is_some() || !own.pins.is_empty() || own.root.is_some();
    let named = named || published.ca_url.is_some() || published.ca_fingerprint.is_some();
    let Some(config) = config.filter(|_| named) else { return };
    if config.ca.take_if(|ca| ca.url.is_some() || !ca.fingerprints.is_empty() || ca.root.is_some()).is_some()
    {
        let path = crate::text::escape(&config.path.to_string_lossy());
        context.ui.say(format!(
            "ignored, since the command line or the environment names a CA: `[ca]` of `{path}`"
        ));
    }
}

/// The CA: `own` of the command line, else of published images' variables, else of the file.
///
/// # Errors
/// `CA_FINGERPRINT` is none.
pub(in crate::cli) fn given(
    own: trust::Given,
    published: &PublishedSources,
    config: Option<&Config>,
) -> Result<trust::Given> {
    let pin: Option<Fingerprint> = match &published.ca_fingerprint {
        Some(text) => Some(text.parse().map_err(|error: Error| error.at("CA_FINGERPRINT"))?),
        None => None,
    };
    let pins = if own.pins.is_empty() { pin.into_iter().collect() } else { own.pins };
    let url = own.url.or_else(|| published.ca_url.clone());
    if url.is_some() || !pins.is_empty() || own.root.is_some() {
        return Ok(trust::Given { url, pins, root: own.root });
    }
    let ca = config.and_then(|config| config.ca.clone()).unwrap_or_default();
    Ok(trust::Given { url: ca.url.map(String::from), pins: ca.fingerprints, root: ca.root })
}

/// One certificate, as the command line says.
fn one(
    context: &Context,
    args: &EnrollArgs,
    given: &[String],
    word: MethodWord,
    ca: trust::Given,
    config: Option<&Config>,
    host: &Sysroot,
) -> Result<Request> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        let error = Error::usage("where the certificate and its key go is not given")
            .hint("add `--cert FILE` and `--key FILE`, for example `--cert /run/tls/server.crt --key /run/tls/server.key`");
        return Err(match config {
            Some(_) => error.hint("the certificates of trustup.toml are for `trustup enroll` without a method, or `trustup enroll any NAME…`"),
            None => error,
        });
    };
    let names = args.names.iter().map(|name| name.parse()).collect::<Result<Vec<_>>>()?;
    let default_provisioner = config.and_then(|config| config.ca.as_ref()?.provisioner.clone());
    let provisioner = args.provisioner.clone().or(default_provisioner);
    let method = method(context, args, given, word, provisioner)?;
    let path = |path: &Option<PathBuf>, option| path.as_deref().map(|path| output(path, option)).transpose();
    Ok(Request {
        names,
        outputs: Outputs {
            cert: output(cert, "--cert")?,
            key: output(key, "--key")?,
            chain: path(&args.chain, "--chain")?,
            ca_out: path(&args.ca_out, "--ca-out")?,
            owner: owner_of(host, args.owner.as_deref())?,
            cert_mode: args.cert_mode.unwrap_or(CERT_MODE),
            key_mode: args.key_mode.unwrap_or(KEY_MODE),
            layout: args.layout.unwrap_or_default(),
            allow_shared: args.allow_shared_directory,
        },
        key_type: args.key_type.unwrap_or_default(),
        not_after: args.not_after,
        ca,
        issuer_root: args.issuer_root.clone(),
        timeout: patience(context, None, std::slice::from_ref(&method)),
        methods: vec![method],
        force: args.force,
        policy: Policy::default(),
    })
}

/// The path of a file that is written. A pair is read back and replaced where it stands, so none of its files can be
/// standard output.
fn output(path: &Path, name: &'static str) -> Result<String> {
    let option = OutputOption { name, takes_standard: false };
    match option.parse(path)? {
        OutputTarget::File(path) => Ok(path),
        OutputTarget::Standard => files::absolute_text(path),
    }
}

/// For everything: `--timeout`, and `--wait` for a server that is not there yet.
fn patience(context: &Context, configured: Option<Duration>, methods: &[Box<dyn Method>]) -> Duration {
    let by_method = if methods.iter().any(|method| method.name() == "acme") { ACME_TIMEOUT } else { TIMEOUT };
    let timeout = context.global.timeout.or(configured).unwrap_or(by_method);
    timeout.saturating_add(context.global.wait.unwrap_or_default())
}

fn method(
    context: &Context,
    args: &EnrollArgs,
    given: &[String],
    word: MethodWord,
    provisioner: Option<String>,
) -> Result<Box<dyn Method>> {
    let missing = |options: &str, hint: &str| Error::usage(format!("this method needs {options}")).hint(hint);
    Ok(match word {
        MethodWord::Token | MethodWord::Any => Box::new(Token::new(token(context, args)?)),
        MethodWord::Provisioner => {
            let parse = |text: &Option<String>| text.as_deref().map(str::parse).transpose();
            let (password, key) = (parse(&args.password_file)?, parse(&args.provisioner_key)?);
            if password.is_none() && key.is_none() {
                return Err(missing(
                    "`--password-file` or `--provisioner-key`",
                    "`--password-file FILE` holds the provisioner's password, `--provisioner-key FILE` its key; `-` is standard input",
                ));
            }
            Box::new(Provisioner::new(provisioner, password, key))
        }
        MethodWord::X5c => {
            let (Some(cert), Some(key)) = (&args.x5c_cert, &args.x5c_key) else {
                return Err(missing(
                    "`--x5c-cert` and `--x5c-key`",
                    "they are the birth certificate with its intermediates, and its key",
                ));
            };
            Box::new(X5c { name: provisioner, cert: cert.clone(), key: key.clone() })
        }
        MethodWord::Acme => Box::new(Acme::new(acme::options(&args.acme, given, args.provisioner.clone())?)),
    })
}

/// Where the token is, the first that is there.
fn token(context: &Context, args: &EnrollArgs) -> Result<Source> {
    if let Some(token) = &args.token {
        context.ui.warn("a token on the command line is seen by everybody on this machine: put it into a file (`--token-file`) or into TRUSTUP_TOKEN");
        return Ok(Source::Value("--token".to_owned(), token.clone().into()));
    }
    if let Some(file) = &args.token_file {
        return file.parse();
    }
    for name in ["TRUSTUP_TOKEN", "CA_TOKEN"] {
        if let Some(token) = context.env.var(name) {
            return Ok(Source::Value(name.to_owned(), token.to_owned().into()));
        }
    }
    for path in SECRETS {
        if files::stat(Path::new(path))?.is_some() {
            return Ok(Source::File(path.into()));
        }
    }
    let why =
        format!("neither `--token-file`, TRUSTUP_TOKEN, `{}` nor `{}` says one", SECRETS[0], SECRETS[1]);
    Ok(Source::Missing("token".to_owned(), why))
}

/// The certificates of the file, else that of the variables of published images; those that have one of the names, if
/// names are given.
fn several(
    context: &Context,
    args: &EnrollArgs,
    given: &[String],
    ca: &trust::Given,
    config: Option<Config>,
    of_variables: Option<CertificateConfig>,
    host: &Sysroot,
) -> Result<Vec<Request>> {
    if args.cert.is_some() || args.key.is_some() {
        return Err(Error::usage("`TRUSTUP_CERT` and `TRUSTUP_KEY` need a method")
            .hint("`trustup enroll token|provisioner|x5c|acme NAME…`; without a method, trustup.toml says all of it"));
    }
    let of_file = config.as_ref().map(|config| config.certificates.clone()).unwrap_or_default();
    let provisioner = config.as_ref().and_then(|config| config.ca.as_ref()?.provisioner.clone());
    let mut certificates: Vec<CertificateConfig> = of_file.into_iter().chain(of_variables).collect();
    if certificates.is_empty() {
        return Err(Error::usage("nothing says which certificate to get").hint(format!(
            "name a method (`trustup enroll token|provisioner|x5c|acme NAME… --cert FILE --key FILE`), or write a `[[certificate]]` into `{}`",
            config.map_or_else(|| config::DEFAULT.to_owned(), |config| config.path.display().to_string())
        )));
    }
    if !args.names.is_empty() {
        let wanted = args
            .names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<crate::cert::SubjectAltName>>>()?;
        if let Some(unknown) =
            wanted.iter().find(|name| !certificates.iter().any(|one| one.names.contains(name)))
        {
            return Err(Error::usage("no certificate of the configuration has this name")
                .at(unknown)
                .hint("leave the names out to get all of them; `trustup config check` lists them"));
        }
        certificates.retain(|one| one.names.iter().any(|name| wanted.contains(name)));
    }
    let takes_token = |one: &CertificateConfig| {
        one.enroll.iter().any(|method| matches!(method, config::Method::Token { .. }))
    };
    let gives_token = given.iter().any(|id| matches!(id.as_str(), "token" | "token_file"));
    if gives_token && !certificates.iter().any(takes_token) {
        return Err(Error::usage("a token is given, and no certificate is had by one")
            .hint("`trustup enroll token --cert FILE --key FILE` takes it; in trustup.toml it is `method = \"token\"`"));
    }
    let request = |one: CertificateConfig| {
        let place = one.place.clone();
        configured(context, args, ca, one, provisioner.as_deref(), host)
            .map_err(|error| error.hint(format!("that is said at {place}")))
    };
    certificates.into_iter().map(request).collect()
}

/// One certificate of the file. What the command line says of all certificates goes before what the file says.
fn configured(
    context: &Context,
    args: &EnrollArgs,
    ca: &trust::Given,
    one: CertificateConfig,
    provisioner: Option<&str>,
    host: &Sysroot,
) -> Result<Request> {
    let owner = owner_of(host, args.owner.as_deref().or(one.owner.as_deref()))?;
    let outputs = one.outputs(owner);
    let outputs = Outputs {
        cert_mode: args.cert_mode.unwrap_or(outputs.cert_mode),
        key_mode: args.key_mode.unwrap_or(outputs.key_mode),
        layout: args.layout.unwrap_or(outputs.layout),
        allow_shared: args.allow_shared_directory,
        ..outputs
    };
    let methods: Vec<Box<dyn Method>> = one
        .enroll
        .into_iter()
        .map(|method| of_file(context, args, method, provisioner))
        .collect::<Result<_>>()?;
    Ok(Request {
        outputs,
        names: one.names,
        key_type: args.key_type.or(one.key_type).unwrap_or_default(),
        not_after: args.not_after.or(one.not_after),
        ca: ca.clone(),
        issuer_root: args.issuer_root.clone().or(one.issuer_root),
        timeout: patience(context, one.timeout, &methods),
        methods,
        force: args.force,
        policy: Policy::default(),
    })
}

/// Whether the command line or a variable of ours says a token: it goes before that of the file.
fn names_token(context: &Context, args: &EnrollArgs) -> bool {
    args.token.is_some() || args.token_file.is_some() || context.env.var("TRUSTUP_TOKEN").is_some()
}

fn of_file(
    context: &Context,
    args: &EnrollArgs,
    method: config::Method,
    default: Option<&str>,
) -> Result<Box<dyn Method>> {
    let or_default = |name: Option<String>| name.or_else(|| default.map(ToOwned::to_owned));
    Ok(match method {
        config::Method::Token { token: Some(token) } if !names_token(context, args) => {
            Box::new(Token::new(token.source()))
        }
        config::Method::Token { .. } => Box::new(Token::new(token(context, args)?)),
        config::Method::Provisioner { provisioner, password, key } => {
            let password = password.map(|password| password.source());
            Box::new(Provisioner::new(or_default(provisioner), password, key.map(Source::File)))
        }
        config::Method::X5c { provisioner, cert, key } => {
            Box::new(X5c { name: or_default(provisioner), cert, key })
        }
        config::Method::Acme { options, .. } => Box::new(Acme::new(*options)),
    })
}

/// Owners are looked up before anything is spent; only root can give files away.
fn owner_of(host: &Sysroot, text: Option<&str>) -> Result<Option<(u32, u32)>> {
    let Some(text) = text else { return Ok(None) };
    let owner = owner::resolve(host, text)?;
    let (us, is_root) = (privilege::uid(), privilege::is_root());
    if !is_root && owner.0 != us {
        return Err(Error::usage("only root can give files to another user")
            .at(crate::text::escape(text))
            .hint("run trustup as that user, or as root; or leave the owner out"));
    }
    if !is_root && !is_ours(owner.1) {
        return Err(Error::usage("only root can give files to a group that the user is not in")
            .at(crate::text::escape(text))
            .hint(
                "run trustup with this group (`docker run --group-add`), or as root; or leave the owner out",
            ));
    }
    Ok(Some(owner))
}

/// Whether the current user is in this group.
fn is_ours(group: u32) -> bool {
    let groups = rustix::process::getgroups().unwrap_or_default();
    privilege::gid() == group || groups.iter().any(|gid| gid.as_raw() == group)
}
