//! The pipeline of bootstrap: get certificates, install them, and keep in the cache what a hash pins. The command, and
//! what refreshes the trust stores of a running container, are callers that report its results.

use super::install::{Done, install, known};
use super::request::TrustRequest;
use super::selection::selection;
use super::trees::Trees;
use crate::error::Result;
use crate::net::NetContext;
use crate::process::Children;
use crate::settings::Settings;
use crate::settings::rows::{CACHE, COMMAND, DRY_RUN, stamp};
use crate::trust::reconcile::ReconcileOptions;
use crate::trust::source::cache::{Cache, keep};
use crate::trust::source::{self, Acquired, Known};

/// What a run works with.
pub(crate) struct Pipeline<'a> {
    /// All layers, with those of trustup.toml.
    settings: &'a Settings,
    /// Variables, clock and signals.
    network: NetContext<'a>,
    /// The owner of the native trust update.
    children: &'a Children,
    /// The date of reproducible builds, seconds since 1970.
    stamp: Option<i64>,
    cache: Option<Cache>,
}

impl<'a> Pipeline<'a> {
    /// # Errors
    /// The cache cannot be used; SOURCE_DATE_EPOCH is wrong.
    pub(crate) fn new(
        settings: &'a Settings,
        network: NetContext<'a>,
        children: &'a Children,
    ) -> Result<Self> {
        let stamp = stamp(network.env)?;
        let cache = settings.get(&CACHE).map(|path| Cache::open(path)).transpose()?;
        Ok(Pipeline { settings, network, children, stamp, cache })
    }

    /// The certificates of all sources of the request; none if it only repairs.
    ///
    /// # Errors
    /// As [`source::acquire`]; the stores cannot be read.
    pub(crate) async fn acquire(&self, request: &TrustRequest, trees: &Trees) -> Result<Acquired> {
        if request.is_only_repair() {
            return Ok(Acquired::default());
        }
        // Files are read anyway: existing roots matter only to sources that are fetched over the network.
        let known = if request.is_of_files() { Known::default() } else { known(trees)? };
        source::acquire(&request.sources, &known, &self.network, self.cache.as_ref()).await
    }

    /// Installs them. The second part of the result is a warning.
    ///
    /// # Errors
    /// The stores cannot be written as requested; a signal.
    pub(crate) async fn install(
        &self,
        request: &TrustRequest,
        trees: &mut Trees,
        acquired: &Acquired,
    ) -> Result<(Done, Option<String>)> {
        let NetContext { env, shutdown, .. } = &self.network;
        let settings = self.settings;
        let dry_run = settings.is(&DRY_RUN);
        let selection = selection(settings, env, trees, request.wishes())?;
        let options = ReconcileOptions {
            stores: Some(&selection),
            updater: request.updater,
            before_service: !settings.all(&COMMAND).is_empty(),
            leave_unwritable: trees.system.is_host(),
            strict: request.strict,
            require_pin: request.sources.require_pin,
            repair: request.repair,
            dry_run,
            patience: settings.timeout(),
            tool_timeout: settings.tool_timeout(),
            children: self.children,
            shutdown,
            stamp: self.stamp,
            now: env.now(),
        };
        shutdown.check()?;
        let done = install(trees, options, request, acquired).await;
        let tidied = if dry_run { Ok(()) } else { trees.tidy(self.stamp) };
        let done = done?;
        tidied?;
        // Not before the stores have them: what is refused there is not kept.
        let cache = self.cache.as_ref().filter(|_| !dry_run);
        Ok((done, cache.and_then(|cache| keep(cache, acquired))))
    }
}
