//! Gets certificates from the user's sources, and accepts only what is pinned, verified or given as a file. Its result
//! is data: nothing here writes, and nothing is kept that was not checked (design rule 7).

mod bundle;
pub(crate) mod cache;
mod collect;
mod file;
pub(crate) mod given;
mod pinned;
mod request;
pub(crate) mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::net::dns::ResolverFiles;
use crate::net::{Net, NetContext};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;

pub use self::request::{Source, SourceRequest};

use self::cache::{Cache, CacheEntry};
use self::collect::Collected;

/// What an earlier run left on this system, so that a second start needs no network.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Certificates that are in every store already: a pin found here needs no request.
    pub certificates: BTreeMap<Fingerprint, Certificate>,
    /// By source id ([`Source::id`]).
    pub previous: BTreeMap<String, PreviousSource>,
}

/// What an earlier run recorded of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousSource {
    /// What it brought.
    pub fingerprints: Vec<Fingerprint>,
    /// What it once brought, but no longer did at a later run (threat T5).
    pub removed: Vec<Fingerprint>,
}

/// What all sources brought together.
#[derive(Clone, Debug, Default)]
pub struct Acquired {
    /// Accepted, each once: the first source that has it names it.
    pub anchors: Vec<AcquiredAnchor>,
    /// Not accepted, each with its reason.
    pub left_out: Vec<LeftOut>,
    /// One for each source, in the request's order.
    pub sources: Vec<SourceReport>,
    /// For people.
    pub warnings: Vec<String>,
    /// What a hash pins, for the cache.
    pub(crate) pinned: Vec<CacheEntry>,
}

/// A certificate that may be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquiredAnchor {
    /// The certificate.
    pub certificate: Certificate,
    /// Id of the source that brought it.
    pub source: String,
    /// Whether a fingerprint named it.
    pub pinned: bool,
    /// The file that it was read from, if any.
    pub file: Option<PathBuf>,
}

/// A certificate (or what should have been one) that is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// For people, escaped; empty if it could not be read.
    pub(crate) subject: String,
    /// If it could be read.
    pub fingerprint: Option<Fingerprint>,
    /// Id of the source, or the file within it.
    pub source: String,
    /// Why.
    pub reason: String,
}

/// The result of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// [`Source::id`]: stable, the state's key.
    pub id: String,
    /// The key that older versions gave it, if different.
    pub(crate) former_id: Option<String>,
    /// Whether to make the source's set equal to what it gave now.
    pub replaces: bool,
    /// Whether it was requested or read.
    pub contacted: bool,
    /// Whether its anchors are its current ones, not those of an earlier run.
    pub fresh: bool,
    /// Whether each certificate of it is named by a fingerprint, or came from a CA whose root is.
    pub(crate) by_pin: bool,
    /// What vouched for it, for people.
    pub vouched_by: Option<String>,
    /// The proxy through which it was requested, masked.
    pub proxy: Option<String>,
    /// Whether any of it came from the cache.
    pub(crate) cached: bool,
    /// Every certificate that was accepted from it, also those that another source named first.
    pub fingerprints: Vec<Fingerprint>,
}

/// Reads and fetches all sources of `request`.
///
/// What is pinned is taken from the cache before any server is asked; the caller keeps what came
/// ([`Acquired::pinned`]).
///
/// # Errors
/// Usage errors first (threat T1); then the first source that fails; a signal. Nothing is accepted in part.
pub(crate) async fn acquire(
    request: &SourceRequest,
    known: &Known,
    context: &NetContext<'_>,
    cache: Option<&Cache>,
) -> Result<Acquired> {
    acquire_with(Path::new("/"), request, known, context, cache).await
}

/// [`acquire`], with the files that belong to this system (resolver configuration, trusted roots) below `root`.
pub async fn acquire_in(root: &Path, request: &SourceRequest, known: &Known, env: &Env) -> Result<Acquired> {
    acquire_with(root, request, known, &env.into(), None).await
}

async fn acquire_with(
    root: &Path,
    request: &SourceRequest,
    known: &Known,
    context: &NetContext<'_>,
    cache: Option<&Cache>,
) -> Result<Acquired> {
    request.validate()?;
    let cache = cache.filter(|_| !request.require_fresh);
    let collected = Collected::new(request, context.env);
    let mut run =
        Acquisition { root, request, known, context, cache, spoiled: Vec::new(), collected, net: None };
    match run.acquire().await {
        Ok(()) => Ok(run.collected.finish()),
        // Without it, no server would have been asked.
        Err(error) => Err(run.spoiled.into_iter().fold(error, Error::hint)),
    }
}

/// One acquisition in progress.
struct Acquisition<'a> {
    root: &'a Path,
    request: &'a SourceRequest,
    known: &'a Known,
    context: &'a NetContext<'a>,
    /// Not with `--require-fresh`.
    cache: Option<&'a Cache>,
    /// Entries of the cache that are not used, and why.
    spoiled: Vec<String>,
    collected: Collected<'a>,
    net: Option<Net>,
}

impl<'a> Acquisition<'a> {
    async fn acquire(&mut self) -> Result<()> {
        let request = self.request;
        // Files first: a pin that a file satisfies needs no request. Bundles last: pinned roots vouch for them.
        for (index, source) in request.sources.iter().enumerate() {
            if let Source::File { path } = source {
                file::read(self, index, path)?;
            }
        }
        let remote = |source: &Source| !matches!(source, Source::File { .. });
        if request.sources.iter().any(remote) {
            for (index, source) in request.sources.iter().enumerate() {
                match source {
                    Source::StepCa { all_roots, .. } => pinned::step_ca(self, index, *all_roots).await?,
                    Source::RootUrl { .. } => pinned::root_url(self, index).await?,
                    Source::Bundle { .. } | Source::File { .. } => {}
                }
            }
            // Before any bundle is requested: its host must not be contacted for a pin that was not met.
            self.collected.check_pins()?;
            for (index, source) in request.sources.iter().enumerate() {
                if let Source::Bundle { sha256, .. } = source {
                    bundle::fetch(self, index, *sha256).await?;
                }
            }
        }
        self.collected.check_pins()
    }

    fn source(&self, index: usize) -> &'a Source {
        &self.request.sources[index]
    }

    /// The URL of a source that is known to have one.
    fn url(&self, index: usize) -> Result<url::Url> {
        self.source(index).url()?.ok_or_else(|| Error::failed("a source without a URL cannot be fetched"))
    }

    /// The network, set up at its first use: its clock starts then.
    fn net(&mut self) -> Result<Net> {
        if let Some(net) = &self.net {
            return Ok(net.clone());
        }
        let names = ResolverFiles::of_root(self.root, &mut |warning| self.collected.warn(warning));
        let (timeout, wait) = (self.request.timeout, self.request.wait);
        let net = Net::new(self.context.clone(), names, timeout)?.within(timeout, wait);
        Ok(self.net.insert(net).clone())
    }

    /// The root with this fingerprint in the cache.
    fn cached_root(&mut self, pin: &Fingerprint) -> Option<Certificate> {
        self.cache?.root(pin, &mut |warning| {
            self.collected.warn(warning.clone());
            self.spoiled.push(warning);
        })
    }

    /// The bundle with this hash in the cache.
    fn cached_bundle(&mut self, hash: &Fingerprint) -> Option<Vec<u8>> {
        self.cache?.bundle(hash, &mut |warning| {
            self.collected.warn(warning.clone());
            self.spoiled.push(warning);
        })
    }

    /// Warns that a password in `url` goes to a server that nothing vouches for: a man in the middle can read it.
    fn warn_of_password(&mut self, url: &url::Url) {
        if !url.username().is_empty() || url.password().is_some() {
            self.collected.warn(format!(
                "the user and password in `{}` go to a server that is not verified (its answer is): use a login that is not used elsewhere",
                crate::net::url::masked(url)
            ));
        }
    }

    /// What an earlier run recorded of the source `id`.
    fn previous(&self, id: &str) -> Option<&'a PreviousSource> {
        self.known.previous.get(id).or_else(|| {
            let mut sources = self.request.sources.iter();
            let former = sources.find(|source| source.id().is_ok_and(|other| other == id))?.former_id()?;
            self.known.previous.get(&former)
        })
    }
}
