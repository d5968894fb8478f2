//! The requests, from settings: one certificate that the command line describes, or those of trustup.toml, or the one
//! that the variables of published images describe. Names no method: those are rows of [`METHODS`].

pub(crate) mod configured;
mod daemon_terms;
mod published;
mod step_variables;

use std::path::Path;
use std::time::Duration;

pub(crate) use self::daemon_terms::DaemonTerms;
use super::methods::Method;
use super::methods::row::{self, Building, MethodRow};
use super::methods::table::{self, METHODS};
use super::renewals::{self, RenewalOptions};
use super::{IssueRequest, trust};
use crate::certificate::decide::RenewalPolicy;
use crate::certificate::{CERT_MODE, KEY_MODE, Outputs, owner};
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::host::privilege;
use crate::pki::cert::SubjectAltName;
use crate::rootfs::Sysroot;
use crate::rootfs::output::{OutputOption, OutputTarget};
use crate::settings::rows::{
    ALLOW_EXTRA_NAMES, ALLOW_SHARED_DIRECTORY, CA_OUT, CA_ROOT, CA_URL, CACHE, CERT,
    CERT_MODE as CERT_MODE_OPTION, CHAIN, DAEMON, DUE, FINGERPRINT, FORCE, ISSUER_ROOT, KEY,
    KEY_MODE as KEY_MODE_OPTION, KEY_TYPE, LAYOUT, NAMES, NO_MTLS, NOT_AFTER, OWNER,
    PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL, REKEY, TIMEOUT,
};
use crate::settings::secret::{Secret, SecretSource};
use crate::settings::{
    self, CertificateTable, ConfigFile, DEFAULT, EntryTable, Opt, OptionKind, Origin, Row, Scope, Settings,
};

/// Options of one certificate: for all certificates of a file, they are not allowed.
static FILES: [&dyn Row; 4] = [&CERT, &KEY, &CHAIN, &CA_OUT];

/// What requests are for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// A good pair: by this method, or by those of the file.
    Enroll(Option<&'static MethodRow>),
    /// A fresh certificate for the existing pair: by itself first, then by the methods of the file.
    Renew,
}

/// The input for requests.
#[derive(Clone, Copy)]
pub(crate) struct IssueInput<'a> {
    /// Variables that hold secrets.
    pub(crate) env: &'a Env,
    /// Command line and environment.
    pub(crate) settings: &'a Settings,
    /// The root file system that knows users and groups; without one, owners are not looked up.
    pub(crate) host: Option<&'a Sysroot>,
    /// trustup.toml, as far as it was read.
    pub(crate) file: Option<&'a ConfigFile>,
}

/// The requests, in the order in which they are executed.
#[derive(Default)]
pub(crate) struct IssueRequests {
    /// One for each certificate.
    pub(crate) requests: Vec<IssueRequest>,
    /// What to report to the user.
    pub(crate) notes: Vec<String>,
    /// What to report with `-v` only.
    pub(crate) details: Vec<String>,
    /// Problems to report.
    pub(crate) warnings: Vec<String>,
    /// What a daemon does beside renewals.
    pub(crate) daemon: DaemonTerms,
}

/// The requests for this purpose.
///
/// # Errors
/// There is none, or it is contradictory.
pub(crate) fn requests(input: IssueInput<'_>, purpose: Purpose) -> Result<IssueRequests> {
    let IssueInput { env, settings, .. } = input;
    let method = match purpose {
        Purpose::Enroll(method) => method,
        Purpose::Renew => None,
    };
    // Incomplete certificates of the file are irrelevant for one that the command line names.
    let scope = if method.is_some() { Scope::Trust } else { Scope::All };
    let file = settings::load(env, settings, scope, &table::variants())?;
    let describes = file.as_ref().is_some_and(|file| !file.certificates.is_empty());
    let of_variables = match method {
        None if !describes => published::table(env)?,
        _ => None,
    };
    if matches!(purpose, Purpose::Enroll(_)) {
        refuse_unused(settings, method, of_variables.as_ref().map(|(by, _)| *by))?;
    }
    let mut asked = IssueRequests::default();
    asked.details.extend(file.iter().flat_map(|file| file.notes.iter().cloned()));
    if let Some(file) = file.as_ref().filter(|_| describes && env.var("TLS_DOMAINS").is_some()) {
        asked.notes.push(format!(
            "ignored, since `{}` lists the certificates to get: TLS_DOMAINS and its related variables",
            crate::text::escape(&file.path.to_string_lossy())
        ));
    }
    if let Some((by, _)) = &of_variables {
        asked.warnings.extend(published::warnings(by, env));
    }
    let (all, ca) = with_ca(settings, file.as_ref(), &mut asked.notes);
    asked.daemon = DaemonTerms::new(settings, file.as_ref());
    let input = IssueInput { settings: &all, file: file.as_ref(), ..input };
    if let Some(method) = method {
        asked.requests.push(described(input, method, &ca, file.is_some(), &mut asked.warnings)?);
        return Ok(asked);
    }
    let tables = file.as_ref().map(|file| file.certificates.clone()).unwrap_or_default();
    let mut certificates: Vec<(CertificateTable, Option<&'static MethodRow>)> =
        tables.into_iter().map(|table| (table, None)).collect();
    certificates.extend(of_variables.map(|(by, table)| (table, Some(by))));
    let path = file.as_ref().map(|file| file.path.as_path());
    let has_pair = settings.has(&CERT) || settings.has(&KEY);
    // A daemon may be there for the trust stores alone.
    let is_for_trust = settings.is(&DAEMON) && asked.daemon.refresh_trust.is_some();
    if is_for_trust && certificates.is_empty() && !has_pair && settings.all(&NAMES).is_empty() {
        return Ok(asked);
    }
    let chosen = match purpose {
        Purpose::Renew if has_pair => {
            match with_files(settings, certificates)? {
                Some(listed) => vec![listed],
                // Nothing is known about it but the pair itself.
                None => {
                    let methods = Vec::new();
                    let made = request(input, input.settings, &ca, (purpose, methods), row::TIMEOUT)?;
                    asked.requests.push(made);
                    return Ok(asked);
                }
            }
        }
        _ => chosen(input, purpose, certificates, path)?,
    };
    for (table, published) in chosen {
        let request = configured(input, &table, (purpose, published), &ca, &mut asked.warnings);
        asked.requests.push(request.map_err(|error| blamed(error, &table.place))?);
    }
    Ok(asked)
}

/// The certificate of the file with the paths that the command line names, if there is one.
///
/// # Errors
/// The command line names one of two paths, or the file has another key for the certificate.
fn with_files(
    settings: &Settings,
    certificates: Vec<(CertificateTable, Option<&'static MethodRow>)>,
) -> Result<Option<(CertificateTable, Option<&'static MethodRow>)>> {
    let listed = certificates
        .into_iter()
        .find(|(table, _)| settings.has(&CERT) && table.layer.values(&CERT).first() == settings.get(&CERT));
    let has = |table: &CertificateTable| match settings.get(&KEY) {
        Some(key) => table.layer.values(&KEY).first() == Some(key),
        None => true,
    };
    match listed {
        Some((table, _)) if !has(&table) => {
            Err(Error::usage("`--key` is not the key that the configuration has for this certificate")
                .at(&table.place)
                .hint("omit `--key`"))
        }
        Some(listed) => Ok(Some(listed)),
        None if settings.has(&CERT) && settings.has(&KEY) => Ok(None),
        None => Err(Error::usage("a key pair is two files, and one of them is not named")
            .hint("add `--cert FILE` and `--key FILE`, for example `--cert /run/tls/server.crt --key /run/tls/server.key`")),
    }
}

/// The error of a certificate or of an `enroll` table of the file, with its location.
pub(crate) fn blamed(error: Error, place: &str) -> Error {
    match error.place() {
        None => error.at(place),
        Some(at)
            if at.rsplit_once(':').map(|(file, _)| file) == place.rsplit_once(':').map(|(file, _)| file) =>
        {
            error
        }
        Some(_) => error.hint(format!("that is set at {place}")),
    }
}

/// An option that the method does not use is an error: it is not silently ignored. Variables are set for everything
/// that runs here. `published` is the method that published images' variables select.
fn refuse_unused(
    settings: &Settings,
    method: Option<&'static MethodRow>,
    published: Option<&'static MethodRow>,
) -> Result<()> {
    let own = METHODS.iter().flat_map(|method| method.options.iter().map(|taken| taken.row));
    for row in FILES.into_iter().chain(own).filter(|row| settings.is_given(*row)) {
        let of_files = FILES.iter().any(|file| row::is(*file, row));
        let of: Vec<&MethodRow> = METHODS.into_iter().filter(|method| of_files || method.has(row)).collect();
        let is_taken = match method {
            Some(method) => of_files || method.has(row),
            // Those variables set the paths of the files; what they leave open is set as with the method.
            None => {
                let beside = of.iter().any(|method| method.beside_file.iter().any(|one| row::is(*one, row)));
                beside || !of_files && published.is_some_and(|published| published.has(row))
            }
        };
        if is_taken {
            continue;
        }
        let option = format!("`{}`", row.spec().shown());
        let named = of.iter().map(|method| format!("`{}`", method.word)).collect::<Vec<_>>().join(", ");
        return Err(match method {
            None => Error::usage(format!("{option} needs a method")).hint(format!(
                "it is for {named}: `trustup enroll {} NAME… --cert FILE --key FILE`; without a method, trustup.toml has all settings",
                of.first().map(|method| method.word).unwrap_or_default()
            )),
            Some(method) => Error::usage(format!("{option} is not an option of `{}`", method.word))
                .hint(format!("it is for {named}: omit it, or choose another method")),
        });
    }
    Ok(())
}

/// The settings with the file's `[ca]` below them, and the CA that they name: that of the command line or a variable, else of
/// published images' variables, else of the file. If one of the former names a CA or a pin, nothing of `[ca]` counts
/// (threat T1).
pub(crate) fn with_ca(
    settings: &Settings,
    file: Option<&ConfigFile>,
    notes: &mut Vec<String>,
) -> (Settings, trust::Given) {
    let rows: [&dyn Row; 5] = [&CA_URL, &FINGERPRINT, &CA_ROOT, &PUBLISHED_CA_URL, &PUBLISHED_CA_FINGERPRINT];
    let is_named = rows.into_iter().any(|row| settings.has(row));
    let all = match file {
        Some(file) if is_named && file.names_ca() => {
            notes.push(format!(
                "ignored, since the command line or the environment names a CA: `[ca]` of `{}`",
                crate::text::escape(&file.path.to_string_lossy())
            ));
            // The cache names no CA.
            settings.over(file.ca.without(|name| name != CACHE.taken().row.spec().name))
        }
        Some(file) => settings.over(file.ca.clone()),
        None => settings.clone(),
    };
    let own = all.all(&FINGERPRINT);
    let pins = match all.get(&PUBLISHED_CA_FINGERPRINT) {
        Some(pin) if own.is_empty() => vec![*pin],
        _ => own.to_vec(),
    };
    let url = all.get(&CA_URL).or_else(|| all.get(&PUBLISHED_CA_URL)).cloned();
    if let Some(empty) = settings.empty.first().filter(|_| url.is_none()) {
        notes.push(format!("`{empty}` is set, and empty, which counts as unset"));
    }
    let given = trust::Given { url, pins, root: all.get(&CA_ROOT).cloned(), cache: all.get(&CACHE).cloned() };
    (all, given)
}

/// One certificate, from command line and variables.
fn described(
    input: IssueInput<'_>,
    method: &'static MethodRow,
    ca: &trust::Given,
    has_file: bool,
    warnings: &mut Vec<String>,
) -> Result<IssueRequest> {
    let settings = input.settings;
    if !settings.has(&CERT) || !settings.has(&KEY) {
        let error = Error::usage("the paths of the certificate and its key are missing")
            .hint("add `--cert FILE` and `--key FILE`, for example `--cert /run/tls/server.crt --key /run/tls/server.key`");
        return Err(match has_file {
            true => error.hint("the certificates of trustup.toml are for `trustup enroll` without a method, or `trustup enroll any NAME…`"),
            false => error,
        });
    }
    let mut building = Building { env: input.env, warnings: Vec::new() };
    let built = (method.build)(settings, &mut building)?;
    warnings.append(&mut building.warnings);
    request(input, settings, ca, (Purpose::Enroll(Some(method)), vec![built]), method.timeout)
}

/// The certificates that have one of the names, if names are given.
fn chosen(
    input: IssueInput<'_>,
    purpose: Purpose,
    mut certificates: Vec<(CertificateTable, Option<&'static MethodRow>)>,
    file: Option<&Path>,
) -> Result<Vec<(CertificateTable, Option<&'static MethodRow>)>> {
    let settings = input.settings;
    let words = METHODS.map(|method| method.word).join("|");
    if settings.has(&CERT) || settings.has(&KEY) {
        return Err(Error::usage("`TRUSTUP_CERT` and `TRUSTUP_KEY` need a method").hint(format!(
            "`trustup enroll {words} NAME…`; without a method, trustup.toml has all settings"
        )));
    }
    if certificates.is_empty() && matches!(purpose, Purpose::Renew) {
        return Err(Error::usage("no certificate is named").hint(format!(
            "name the pair, such as `trustup renew --cert FILE --key FILE`, or write a `[[certificate]]` into `{}`",
            file.unwrap_or(Path::new(DEFAULT)).display()
        )));
    }
    if certificates.is_empty() {
        return Err(Error::usage("no certificate is requested").hint(format!(
            "name a method (`trustup enroll {words} NAME… --cert FILE --key FILE`), or write a `[[certificate]]` into `{}`",
            file.unwrap_or(Path::new(DEFAULT)).display()
        )));
    }
    let wanted = settings.all(&NAMES);
    if !wanted.is_empty() {
        let has = |table: &CertificateTable, name| table.layer.values(&NAMES).contains(name);
        refuse_unknown_names(settings, wanted, certificates.iter().map(|(table, _)| table))?;
        certificates.retain(|(table, _)| wanted.iter().any(|name| has(table, name)));
    }
    for method in METHODS {
        let given = method.beside_file.iter().find(|row| settings.is_given(**row));
        let is_used =
            certificates.iter().any(|(table, _)| table.enroll.iter().any(|one| one.word == method.word));
        if let Some(row) = given.filter(|_| !is_used) {
            let (option, word) = (row.spec().shown(), method.word);
            return Err(Error::usage(format!("`{option}` is given, and no certificate uses the method `{word}`"))
                .hint(format!("`trustup enroll {word} --cert FILE --key FILE` takes it; in trustup.toml it is `method = \"{word}\"`")));
        }
    }
    Ok(certificates)
}

/// Refuses a name that no certificate has.
fn refuse_unknown_names<'a>(
    settings: &Settings,
    wanted: &[SubjectAltName],
    tables: impl IntoIterator<Item = &'a CertificateTable>,
) -> Result<()> {
    let known: Vec<&SubjectAltName> =
        tables.into_iter().flat_map(|table| table.layer.values(&NAMES)).collect();
    match wanted.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(unknown) => {
            Err(Error::usage("no certificate in the configuration has this name").at(unknown).hint(format!(
                "omit the names to get all of them; `{}` lists them",
                settings::check_command(settings)
            )))
        }
    }
}

/// One certificate of the file, or of published images' variables. What the command line sets for all certificates
/// overrides the file.
pub(crate) fn configured(
    input: IssueInput<'_>,
    table: &CertificateTable,
    (purpose, published): (Purpose, Option<&'static MethodRow>),
    ca: &trust::Given,
    warnings: &mut Vec<String>,
) -> Result<IssueRequest> {
    let (mut methods, mut timeout) = (Vec::new(), Duration::ZERO);
    for entry in &table.enroll {
        let Some(method) = table::by_word(entry.word) else { continue };
        // A method of the file has its options there; what published images' variables omit is set as with the method.
        let is_kept = |name: &str| match published {
            Some(published) => published.rows.iter().any(|row| row.spec().name == name),
            None => method.beside_file.iter().any(|row| row.spec().name == name),
        };
        let of_method = input.settings.without(|name| is_of_one(name) && !is_kept(name));
        let of_method = of_method.over(entry.layer.clone());
        let mut building = Building { env: input.env, warnings: Vec::new() };
        let built = (method.build)(&of_method, &mut building);
        methods.push(built.map_err(|error| blamed(error, &entry.place))?);
        warnings.append(&mut building.warnings);
        timeout = timeout.max(method.timeout);
    }
    let of_all = input.settings.without(is_of_one);
    let made = request(input, &of_all.over(table.layer.clone()), ca, (purpose, methods), timeout)?;
    let of_all = input.file.map(|file| file.hooks.as_slice()).unwrap_or_default();
    let of_all = of_all.iter().filter(|hook| !table.hooks.iter().any(|own| own.command == hook.command));
    Ok(IssueRequest { hooks: Some(table.hooks.iter().chain(of_all).cloned().collect()), ..made })
}

/// The secrets of an `enroll` table that cannot be read now.
pub(crate) fn missing_secrets(method: &MethodRow, entry: &EntryTable) -> Vec<Error> {
    let secret = |row: &&'static dyn Row| {
        let (source, origin) = entry.layer.source(*row)?;
        let Origin::File { key, .. } = origin else { return None };
        let error = Secret::read(source, &format!("`{key}`")).err()?;
        Some(match source {
            SecretSource::File(_) => error.hint(format!("`{key}_file` names it")),
            _ => error,
        })
    };
    method
        .rows
        .iter()
        .filter(|row| matches!(row.spec().kind, OptionKind::Secret))
        .filter_map(secret)
        .collect()
}

/// Whether an option applies to one certificate: its names, its files, how to get it.
fn is_of_one(name: &str) -> bool {
    let own = METHODS.iter().flat_map(|method| method.rows.iter().copied());
    let names: &dyn Row = &NAMES;
    FILES.into_iter().chain([names]).chain(own).any(|row| row.spec().name == name)
}

fn request(
    input: IssueInput<'_>,
    settings: &Settings,
    ca: &trust::Given,
    (purpose, mut methods): (Purpose, Vec<Box<dyn Method>>),
    timeout: Duration,
) -> Result<IssueRequest> {
    // What a certificate says of itself counts before what applies to all.
    let settings = &input.file.map_or_else(|| settings.clone(), |file| settings.over(file.renew.clone()));
    let key_type = match purpose {
        Purpose::Enroll(_) => Some(settings.or_default(&KEY_TYPE)),
        Purpose::Renew => {
            let options = RenewalOptions { rekey: settings.is(&REKEY), no_mtls: settings.is(&NO_MTLS) };
            methods.splice(0..0, renewals::methods(options));
            settings.get(&KEY_TYPE).copied()
        }
    };
    let path = |option: &Opt<std::path::PathBuf>, name| {
        settings.get(option).map(|path| output(path, name)).transpose()
    };
    let owner = match (settings.get(&OWNER), input.host) {
        (Some(text), Some(host)) => Some(owner_of(host, text)?),
        _ => None,
    };
    let outputs = Outputs {
        cert: path(&CERT, "--cert")?.unwrap_or_default(),
        key: path(&KEY, "--key")?.unwrap_or_default(),
        chain: path(&CHAIN, "--chain")?,
        ca_out: path(&CA_OUT, "--ca-out")?,
        owner,
        cert_mode: settings.get(&CERT_MODE_OPTION).copied().unwrap_or(CERT_MODE),
        key_mode: settings.get(&KEY_MODE_OPTION).copied().unwrap_or(KEY_MODE),
        layout: settings.or_default(&LAYOUT),
        allow_shared: settings.is(&ALLOW_SHARED_DIRECTORY),
    };
    outputs.validate()?;
    Ok(IssueRequest {
        names: settings.all(&NAMES).to_vec(),
        outputs,
        key_type,
        not_after: settings.get(&NOT_AFTER).copied(),
        ca: ca.clone(),
        issuer_root: settings.get(&ISSUER_ROOT).cloned(),
        allow_extra_names: settings.is(&ALLOW_EXTRA_NAMES),
        methods,
        // For everything: `--timeout`, and `--wait` for a server that is not up yet.
        timeout: settings
            .get(&TIMEOUT)
            .copied()
            .unwrap_or(timeout)
            .saturating_add(settings.wait().unwrap_or_default()),
        force: settings.is(&FORCE),
        hooks: None,
        policy: RenewalPolicy { due: settings.or_default(&DUE), ..RenewalPolicy::default() },
    })
}

/// The path of a file that is written. A pair is read back and replaced in place, so none of its files can be standard
/// output.
fn output(path: &Path, name: &'static str) -> Result<String> {
    match (OutputOption { name, takes_standard: false }).parse(path)? {
        OutputTarget::File(path) => Ok(path),
        // An option that does not take it has refused it by now.
        OutputTarget::Standard => Err(Error::usage(format!("`{name}` needs the path of a file"))),
    }
}

/// Owners are looked up before anything is spent; only root can give files to another user.
fn owner_of(host: &Sysroot, text: &str) -> Result<(u32, u32)> {
    let owner = owner::resolve(host, text)?;
    let (us, is_root) = (privilege::uid(), privilege::is_root());
    if !is_root && owner.0 != us {
        return Err(Error::usage("only root can give files to another user")
            .at(crate::text::escape(text))
            .hint("run trustup as that user, or as root; or omit the owner"));
    }
    if !is_root && !privilege::is_in_group(owner.1) {
        return Err(Error::usage("only root can give files to a group that the user is not in")
            .at(crate::text::escape(text))
            .hint("run trustup with this group (`docker run --group-add`), or as root; or omit the owner"));
    }
    Ok(owner)
}
