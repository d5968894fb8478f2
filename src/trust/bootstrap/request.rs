//! What to trust and where, from settings. All that can be refused without inspecting this machine is refused here, so
//! `config check` sees it too.

use std::path::Path;

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::cert::is_anchor_name;
use crate::rootfs::output::OutputTarget;
use crate::settings::rows::{
    ALL_ROOTS, ALLOW_EXPIRED, ALLOW_INTERMEDIATE, ALLOW_ROLLBACK, BUNDLE_SHA256, BUNDLE_URL, CA_FILE, CA_OUT,
    CA_ROOT, CA_URL, CONFIG, CREATE_JAVA, CREATE_NSS, FINGERPRINT, FIREFOX_POLICY, NAME, NSS_DB,
    PUBLISHED_BUNDLE_URL, PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL, REPAIR, REQUIRE_FRESH, REQUIRE_PIN,
    REQUIRE_SYSTEM, ROOT_URL, STORES, STRICT, Store, UPDATER, WITH_WEB_PKI,
};
use crate::settings::{ConfigFile, Origin, Row, Scope, Settings, empty_source};
use crate::trust::facts::UpdaterChoice;
use crate::trust::plan::CA_OUT as CA_OUT_OPTION;
use crate::trust::source::{Acquired, Source, SourceRequest};
use crate::trust::stores::StorePolicy;

/// The request to bootstrap.
#[derive(Clone, Debug)]
pub(crate) struct TrustRequest {
    /// Where certificates come from, and what pins them; no source with `--repair` alone.
    pub(crate) sources: SourceRequest,
    /// The name of the anchor file, without extension.
    pub(crate) anchor_name: Option<String>,
    /// The named stores; if none is named, all that exist.
    pub(crate) stores: Vec<Store>,
    /// A store that cannot be changed is an error.
    pub(crate) strict: bool,
    /// System stores that cannot be written are an error.
    pub(crate) require_system: bool,
    /// Damage in the system's stores is repaired.
    pub(crate) repair: bool,
    /// Which trust update is used.
    pub(crate) updater: UpdaterChoice,
    /// An image without a bundle gets the Web PKI's roots.
    pub(crate) with_web_pki: bool,
    /// Firefox's policy file names the roots.
    pub(crate) firefox_policy: bool,
    /// The file of the sysroot that gets a copy of the accepted roots.
    pub(crate) ca_out: Option<String>,
    /// Standard output gets that copy.
    pub(crate) to_standard_output: bool,
}

/// Command line and environment, with trustup.toml below them as far as it is about this root file system.
///
/// # Errors
/// The file cannot be read, or `[ca]` or `[trust]` is wrong.
pub(crate) fn settings(above: &Settings, env: &Env) -> Result<Settings> {
    // What this machine should trust does not apply to a root file system that is stored on it.
    if above.root() != Path::new("/") && !above.has(&CONFIG) {
        return Ok(above.clone());
    }
    let file = crate::settings::load(env, above, Scope::Trust, &[])?;
    Ok(with_file(above, file.as_ref()))
}

/// The layers above, with trustup.toml below them. If one of them names a source or pin, none of the file's count (threat
/// T1).
pub(crate) fn with_file(settings: &Settings, file: Option<&ConfigFile>) -> Settings {
    let Some(file) = file else { return settings.clone() };
    let names_sources = names_sources(settings);
    let below = if names_sources { file.without_sources() } else { file.trust_layer() };
    let mut all = settings.over(below);
    all.notes.clone_from(&file.notes);
    if !names_sources {
        return all;
    }
    all.ignored_file = file.names_sources().then(|| file.path.clone());
    all
}

/// Whether these settings name or pin a source of certificates.
pub(crate) fn names_sources(settings: &Settings) -> bool {
    let mut rows = crate::settings::rows::ALL.iter();
    rows.any(|row| row.spec().group.names_sources() && settings.has(*row))
}

impl TrustRequest {
    /// The request in these settings.
    ///
    /// # Errors
    /// Usage errors, each naming the wrong option, variable or key.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self> {
        let mut request = TrustRequest::without_sources(settings)?;
        request.sources.sources = sources(settings)?;
        if !request.is_only_repair() {
            request.sources.validate().map_err(|error| with_empty_sources(settings, error))?;
        }
        Ok(request)
    }

    /// Everything but the sources of certificates, for a file that leaves those to other settings.
    ///
    /// # Errors
    /// As [`TrustRequest::from_settings`].
    pub(crate) fn without_sources(settings: &Settings) -> Result<Self> {
        let (ca_out, to_standard_output) = match settings.get(&CA_OUT) {
            None => (None, false),
            Some(path) => match CA_OUT_OPTION.parse(path)? {
                OutputTarget::Standard => (None, true),
                // A path that is not absolute is refused when the plan is made.
                OutputTarget::File(_) => (path.to_str().map(ToOwned::to_owned), false),
            },
        };
        let request = TrustRequest {
            sources: SourceRequest {
                sources: Vec::new(),
                pins: settings.all(&FINGERPRINT).to_vec(),
                ca_url_pin: settings.get(&PUBLISHED_CA_FINGERPRINT).copied(),
                require_pin: settings.is(&REQUIRE_PIN),
                require_fresh: settings.is(&REQUIRE_FRESH),
                ask_again: false,
                allow_expired: settings.is(&ALLOW_EXPIRED),
                allow_intermediate: settings.is(&ALLOW_INTERMEDIATE),
                allow_rollback: settings.is(&ALLOW_ROLLBACK),
                timeout: settings.timeout(),
                wait: settings.wait(),
            },
            // A name with the extension means the same file.
            anchor_name: settings.get(&NAME).map(|name| name.strip_suffix(".crt").unwrap_or(name).to_owned()),
            stores: settings.all(&STORES).to_vec(),
            strict: settings.is(&STRICT),
            require_system: settings.is(&REQUIRE_SYSTEM),
            repair: settings.is(&REPAIR),
            updater: settings.or_default(&UPDATER),
            with_web_pki: settings.is(&WITH_WEB_PKI),
            firefox_policy: settings.is(&FIREFOX_POLICY),
            ca_out,
            to_standard_output,
        };
        check_name(settings, &request)?;
        check_stores(settings, &request)?;
        super::selection::databases(settings)?;
        Ok(request)
    }

    /// Refuses a name for more than one certificate.
    ///
    /// # Errors
    /// A name is given, and more than one certificate came.
    pub(crate) fn check_name_of(&self, acquired: &Acquired) -> Result<()> {
        let count = acquired.anchors.len();
        if self.anchor_name.is_none() || count < 2 {
            return Ok(());
        }
        Err(Error::usage(format!("`--name` names one certificate, and {count} are to be installed"))
            .hint("omit `--name`: then each name is made from subject and fingerprint"))
    }

    /// Whether this store must be written; if none is named, all that exist.
    pub(crate) fn wants(&self, store: Store) -> bool {
        match store {
            Store::System | Store::Java | Store::Nss if self.stores.is_empty() => true,
            store => self.stores.contains(&store),
        }
    }

    /// The policies for keystores and databases.
    pub(crate) fn wishes(&self) -> (StorePolicy, StorePolicy) {
        let wish = |store| match self.wants(store) {
            false => StorePolicy::No,
            true if self.strict || self.stores.contains(&store) => StorePolicy::Named,
            true => StorePolicy::IfThere,
        };
        (wish(Store::Java), wish(Store::Nss))
    }

    /// Whether nothing has to be fetched or read: what is trusted stays as it is, and the stores are repaired.
    pub(crate) fn is_only_repair(&self) -> bool {
        let sources = &self.sources;
        self.repair && sources.sources.is_empty() && sources.pins.is_empty() && sources.ca_url_pin.is_none()
    }

    /// Whether every source is a file, which is read in any case: what is installed already is then irrelevant.
    pub(crate) fn is_of_files(&self) -> bool {
        self.sources.sources.iter().all(|source| matches!(source, Source::File { .. }))
    }
}

/// Anchor names are file names: threat T4.
fn check_name(settings: &Settings, request: &TrustRequest) -> Result<()> {
    let Some(name) = request.anchor_name.as_deref().filter(|name| !is_anchor_name(name)) else {
        return Ok(());
    };
    let error = Error::usage(
        "the name of an anchor has letters, digits, `.`, `_` and `-`, and begins with a letter or digit",
    );
    let error = error.at(crate::text::escape(name)).hint("for example `--name corp-root-2026`");
    Err(settings.blame(&NAME, error))
}

/// `none` excludes every other store, and options of a store need that store.
fn check_stores(settings: &Settings, request: &TrustRequest) -> Result<()> {
    let refused =
        |row: &dyn Row, what: &str, hint: &str| Err(settings.blame(row, Error::usage(what).hint(hint)));
    if request.stores.contains(&Store::None) && request.stores.len() > 1 {
        return refused(
            &STORES,
            "`--stores none` excludes every other store",
            "omit `none`, or the other stores",
        );
    }
    if request.firefox_policy && !request.wants(Store::System) {
        return refused(
            &FIREFOX_POLICY,
            "`--firefox-policy` needs `system` among the stores",
            "add `system` to `--stores`, or omit `--firefox-policy`",
        );
    }
    let nss: [&dyn Row; 2] = [&CREATE_NSS, &NSS_DB];
    if let Some(row) = nss.into_iter().find(|row| settings.has(*row))
        && !request.wants(Store::Nss)
    {
        return refused(
            row,
            "`--create-nss` and `--nss-db` need `nss` among the stores",
            "add `nss` to `--stores`, or omit these options",
        );
    }
    if settings.is(&CREATE_JAVA) && !request.wants(Store::Java) {
        return refused(
            &CREATE_JAVA,
            "`--create-java` needs `java` among the stores",
            "add `java` to `--stores`, or omit `--create-java`",
        );
    }
    if request.repair && !request.wants(Store::System) {
        return refused(
            &STORES,
            "`--repair` repairs the system's stores",
            "omit `--stores`, or add `system` to it",
        );
    }
    if request.repair && request.updater == UpdaterChoice::Native {
        return refused(&UPDATER, "`--repair` uses the built-in updater", "omit `--updater native`");
    }
    if settings.has(&CA_OUT) && request.stores == [Store::Private] {
        return refused(
            &CA_OUT,
            "`--ca-out` is written with the system's stores",
            "omit `--stores private`, or copy the file that `trustup env` names",
        );
    }
    Ok(())
}

/// The sources: those with a flag, and those of published Dockerfiles' variables.
fn sources(settings: &Settings) -> Result<Vec<Source>> {
    check_sources(settings)?;
    let all_roots = settings.is(&ALL_ROOTS);
    let mut sources: Vec<Source> = Vec::new();
    sources.extend(settings.all(&CA_FILE).iter().map(|path| Source::File { path: path.clone() }));
    match (settings.get(&CA_ROOT), settings.get(&CA_URL)) {
        // The file is the root: only the CA's other roots are fetched.
        (Some(root), _) if !all_roots => sources.push(Source::File { path: root.clone() }),
        (_, Some(url)) => {
            let from_ca_url = is_paired(settings, &CA_URL);
            sources.push(Source::StepCa { url: url.clone(), all_roots, from_ca_url });
        }
        (_, None) => {}
    }
    if let Some(url) = settings.get(&ROOT_URL) {
        // `CA_URL` may be the address of a certificate, too; of two sources the pin belongs to the CA.
        let from_ca_url = !settings.has(&CA_URL) && is_paired(settings, &ROOT_URL);
        sources.push(Source::RootUrl { url: url.clone(), from_ca_url });
    }
    let sha256 = settings.get(&BUNDLE_SHA256).copied();
    let bundle_url = settings.get(&BUNDLE_URL);
    if let Some(url) = bundle_url {
        sources.push(Source::Bundle { url: url.clone(), sha256 });
    }
    if let Some(value) = settings.get(&PUBLISHED_CA_URL) {
        sources.push(Source::from_ca_url(value, all_roots)?);
    }
    // Of two bundles the pin belongs to the one named by its option.
    if let Some(url) = settings.get(&PUBLISHED_BUNDLE_URL) {
        sources.push(Source::Bundle { url: url.clone(), sha256: sha256.filter(|_| bundle_url.is_none()) });
    }
    Ok(sources)
}

/// The error that no source is given, for what really is wrong: the variable that should name it is empty.
fn with_empty_sources(settings: &Settings, error: Error) -> Error {
    let Some(empty) = settings.empty.first() else { return error };
    if sources(settings).is_ok_and(|sources| !sources.is_empty()) && !settings.has(&PUBLISHED_CA_FINGERPRINT)
    {
        return error;
    }
    let pins: [&dyn Row; 2] = [&PUBLISHED_CA_FINGERPRINT, &FINGERPRINT];
    match pins.into_iter().find(|pin| settings.has(*pin)) {
        // Of its own pair, if that one is empty.
        Some(pin) => {
            let own = if pin.spec().published.is_some() { "CA_URL" } else { "TRUSTUP_CA_URL" };
            let empty = settings.empty.iter().find(|name| *name == own).unwrap_or(empty);
            empty_source(empty, &settings.name(pin))
        }
        None => error.hint(format!("`{empty}` is set, and empty, which counts as unset")),
    }
}

/// Whether `CA_FINGERPRINT` pins what this option's variable brings: without a `CA_URL` of its own and without a pin of
/// the option's own layer, the two variables belong together. Both come from the environment, so no pin of another layer
/// is widened (threat T1).
fn is_paired(settings: &Settings, row: &dyn Row) -> bool {
    matches!(settings.origin(row), Some(Origin::Variable(_)))
        && settings.has(&PUBLISHED_CA_FINGERPRINT)
        && !settings.has(&PUBLISHED_CA_URL)
        && settings.all(&FINGERPRINT).is_empty()
}

/// An option that needs a source must have one. A variable alone is set for every run of an image; a pin must never pin
/// nothing (threat T1).
fn check_sources(settings: &Settings) -> Result<()> {
    let of_file = |row: &dyn Row| matches!(settings.origin(row), Some(Origin::File { .. }));
    let refused = |row: &dyn Row, what: &str, of_others: &str, in_file: &str| {
        let hint = if of_file(row) { in_file } else { of_others };
        let what = format!("`{}` {what}", settings.name(row));
        Err(settings.blame(row, Error::usage(what).hint(hint)))
    };
    let names = |rows: [&dyn Row; 2]| rows.into_iter().any(|row| settings.has(row));
    if settings.has(&BUNDLE_SHA256) && !names([&BUNDLE_URL, &PUBLISHED_BUNDLE_URL]) {
        return refused(
            &BUNDLE_SHA256,
            "pins a bundle, and none is chosen",
            "add `--bundle-url URL`; if the command line names a source or pin, variables name none",
            "add `bundle_url`, or omit `bundle_sha256`",
        );
    }
    let is_asked = settings.is_given(&ALL_ROOTS) || of_file(&ALL_ROOTS);
    if is_asked && !names([&CA_URL, &PUBLISHED_CA_URL]) {
        return refused(
            &ALL_ROOTS,
            "asks a step-ca, and none is chosen",
            "add `--ca-url URL --fingerprint HEX`; if the command line names a source or pin, variables name none",
            "add `url` and `fingerprint` to `[ca]`",
        );
    }
    let asks_ca = settings.get(&CA_ROOT).is_none() || settings.is(&ALL_ROOTS);
    if of_file(&CA_URL) && asks_ca && settings.all(&FINGERPRINT).is_empty() {
        return refused(
            &CA_URL,
            "needs a fingerprint: nothing else vouches for its answer",
            "",
            "on the CA's host run `step certificate fingerprint $(step path)/certs/root_ca.crt`, and give what it prints as `fingerprint` in `[ca]`; or name the root's file with `root`",
        );
    }
    Ok(())
}

/// What `config check` reports on `[ca]` and `[trust]`: what bootstrap would refuse in this environment. The second:
/// whether that is the file's error: `[ca]` alone may be for `enroll`, which knows roots of an earlier bootstrap.
///
/// `settings` are the environment's, with the file below them.
pub(crate) fn check(settings: &Settings, file: &ConfigFile) -> Option<(Error, bool)> {
    let names_any = names_sources(settings);
    let asked = match names_any || settings.is(&ALL_ROOTS) {
        true => TrustRequest::from_settings(settings),
        // The sources come from the command line: errors in store options are errors in any case.
        false => TrustRequest::without_sources(settings),
    };
    let error = asked.err()?;
    let trust_names = crate::settings::rows::ALL
        .iter()
        .any(|row| row.spec().group != crate::settings::Group::None && file.trust.entry(*row).is_some());
    let is_for_bootstrap = trust_names
        || !names_any
        || TrustRequest::without_sources(settings).is_err()
        || (file.certificates.is_empty() && file.ca.entry(&CA_URL).is_some());
    Some((error, is_for_bootstrap))
}
