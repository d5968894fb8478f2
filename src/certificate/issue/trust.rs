//! Which CA is asked, and which roots vouch for it: the user's settings, else what bootstrap recorded, else the token
//! (threats T1 and T22). Never "insecure", and never a system store's trust for a private CA.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::certificate::check::{MAX_PINNED, Roots};
use crate::error::{Error, Result};
use crate::net::NetContext;
use crate::net::url::{host as host_of, masked, same_origin, step_ca_base};
use crate::pki::cert::Certificate;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::host;
use crate::step_ca::spelling;
use crate::trust::source::cache::{Cache, keep};
use crate::trust::source::given;
use crate::trust::source::{self, Known, Source};
use crate::trust::state::State;

/// The largest file of roots that is read: as for bundles (threat T9).
const LIMIT: u64 = 32 * 1024 * 1024;

/// The user's settings for the CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Its address.
    pub(crate) url: Option<String>,
    /// Fingerprints of its root.
    pub(crate) pins: Vec<Fingerprint>,
    /// A file with its roots.
    pub(crate) root: Option<PathBuf>,
    /// The cache of pinned roots.
    pub(crate) cache: Option<PathBuf>,
}

/// How roots are fetched.
#[derive(Clone, Copy)]
pub(crate) struct Fetching<'a> {
    /// Where requests come from.
    pub(crate) network: &'a NetContext<'a>,
    /// For all requests together.
    pub(crate) timeout: Duration,
    /// How long an unreachable server is retried.
    pub(crate) wait: Option<Duration>,
    /// Where pinned roots are kept.
    pub(crate) cache: Option<&'a Path>,
    /// Reports a problem.
    pub(crate) warn: &'a (dyn Fn(&str) + Sync),
}

/// What a one-time token says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FromToken {
    /// The origins in its audience.
    pub(crate) audiences: Vec<Url>,
    /// The fingerprint of the root.
    pub(crate) root: Option<Fingerprint>,
}

impl FromToken {
    /// The origins in its audience, each once: a token may have several spellings of one.
    fn addresses(&self) -> Vec<Url> {
        let mut addresses: Vec<Url> = Vec::new();
        for audience in &self.audiences {
            if !addresses.iter().any(|known| same_origin(known, audience)) {
                addresses.push(audience.clone());
            }
        }
        addresses
    }

    /// Whether it names one address, and one of these certificates as the CA's root.
    fn is_of_one_of(&self, roots: &[Certificate]) -> bool {
        self.addresses().len() == 1 && roots.iter().any(|root| self.root == Some(root.fingerprint()))
    }
}

/// What earlier runs left on this system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    anchors: Vec<(Certificate, Vec<String>)>,
    /// Certificates that count only if a pin names them.
    others: Vec<Certificate>,
    /// Sources that are bundles: their content vouches for no CA.
    bundles: Vec<String>,
    /// Roots that came without a fingerprint: they count only if a pin names them (threat T34), and prevent a token
    /// from naming another one (threat T22).
    unpinned: Vec<(Certificate, Vec<String>)>,
    /// Nothing that earlier runs left establishes trust (`--require-pin`).
    ignored: bool,
}

impl Recorded {
    /// What bootstrap recorded in these states; with `require_pin` (`--require-pin`) it counts only if a pin names it.
    ///
    /// # Errors
    /// A state is damaged.
    pub(crate) fn of(states: &[State], require_pin: bool) -> Result<Self> {
        let mut recorded = Recorded { ignored: require_pin, ..Recorded::default() };
        states.iter().try_for_each(|state| recorded.add(state))?;
        Ok(recorded)
    }

    fn add(&mut self, state: &State) -> Result<()> {
        for anchor in &state.anchors {
            if anchor.pinned && !self.ignored {
                self.anchors.push((anchor.certificate()?, anchor.sources.clone()));
            } else {
                self.others.push(anchor.certificate()?);
                self.unpinned.push((anchor.certificate()?, anchor.sources.clone()));
            }
        }
        let bundles = state.sources.iter().filter(|(_, source)| source.replaces);
        self.bundles.extend(bundles.map(|(id, _)| id.clone()));
        Ok(())
    }

    /// Whether what earlier runs left establishes no trust.
    pub(crate) fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// A recorded root with the sources that named it, for people.
    fn describe(&self, root: &Certificate) -> String {
        let sources = self.anchors.iter().filter(|(certificate, _)| certificate == root);
        let sources: Vec<String> = sources
            .flat_map(|(_, sources)| sources)
            .map(|source| format!("`{}`", crate::text::escape(source)))
            .collect();
        format!("{} ({}) from {}", root.subject(), root.fingerprint(), sources.join(", "))
    }

    /// Adds roots that count only if a pin names them.
    pub(crate) fn add_known(&mut self, certificates: impl IntoIterator<Item = Certificate>) {
        self.others.extend(certificates);
    }

    fn find(&self, pin: &Fingerprint) -> Option<&Certificate> {
        let anchors = self.anchors.iter().map(|(certificate, _)| certificate);
        anchors.chain(&self.others).find(|certificate| certificate.fingerprint() == *pin)
    }

    /// The step-ca that bootstrap was given, if it was exactly one.
    fn step_ca(&self) -> Option<Url> {
        <[Url; 1]>::try_from(self.step_cas()).ok().map(|[url]| url)
    }

    /// Every step-ca that bootstrap was given.
    fn step_cas(&self) -> Vec<Url> {
        let mut urls: Vec<Url> = self
            .anchors
            .iter()
            .flat_map(|(_, sources)| sources)
            .filter_map(|id| Url::parse(id).ok())
            .filter(|url| {
                url.scheme() == "https" && matches!(url.path(), "/" | "/roots") && url.query().is_none()
            })
            .map(|mut url| {
                url.set_path("/");
                url
            })
            .collect();
        urls.sort();
        urls.dedup();
        urls
    }

    /// Why existing records do not apply to the CA.
    fn unheeded(&self) -> Option<&'static str> {
        if self.ignored {
            Some(
                "give `--ca-url URL --fingerprint HEX`: with `--require-pin`, what `trustup bootstrap` recorded does not count",
            )
        } else if !self.unpinned.is_empty() {
            Some(
                "the roots that `trustup bootstrap` recorded came without a fingerprint, or from an older trustup: give `--ca-url URL --fingerprint HEX` here, or to `trustup bootstrap` once more",
            )
        } else {
            None
        }
    }

    /// Whether a token may name the CA: not if bootstrap was given other roots (threat T22).
    fn lets_name_a_ca(&self, token: &FromToken) -> bool {
        let is_bundle = |source: &String| self.bundles.contains(source);
        let mut roots = self.unpinned.iter().filter(|(_, sources)| !sources.iter().all(is_bundle)).peekable();
        self.ignored
            || roots.peek().is_none()
            || roots.any(|(root, _)| token.is_of_one_of(std::slice::from_ref(root)))
    }

    /// Refuses pins that differ from the roots recorded for the same CA: one of the two is wrong.
    fn agrees(&self, url: Option<&Url>, pins: &[Fingerprint]) -> Result<()> {
        let Some(url) = url else { return Ok(()) };
        let of_this = self.of_this_ca(url);
        let differs = !of_this.is_empty() && !of_this.iter().any(|root| pins.contains(&root.fingerprint()));
        if !differs {
            return Ok(());
        }
        let known: Vec<String> = of_this.iter().map(|root| self.describe(root)).collect();
        Err(Error::not_trusted("the given fingerprint is not that of the recorded root of this CA")
            .at(masked(url))
            .because(anyhow::anyhow!("recorded: {}", known.join("; ")))
            .hint("compare with what `step certificate fingerprint root_ca.crt` prints on the CA's host")
            .hint("if the given one is right, `--require-pin` ignores what was recorded; `trustup untrust --fingerprint HEX` forgets it"))
    }

    /// The recorded roots that came from this CA.
    fn of_this_ca(&self, url: &Url) -> Vec<Certificate> {
        self.sourced_at(url, &["/", "/roots"])
    }

    /// The recorded roots of this CA's list, which bootstrap was told to take all of.
    fn announced_by(&self, url: &Url) -> Vec<Certificate> {
        self.sourced_at(url, &["/roots"])
    }

    fn sourced_at(&self, url: &Url, paths: &[&str]) -> Vec<Certificate> {
        // A recorded source has no secrets, and may end its host with a dot.
        let is_of_this = |id: &String| {
            Url::parse(id)
                .is_ok_and(|id| same_origin(&id, url) && paths.contains(&id.path()) && id.query().is_none())
        };
        self.anchors
            .iter()
            .filter(|(_, sources)| sources.iter().any(is_of_this))
            .map(|(certificate, _)| certificate.clone())
            .collect()
    }

    /// The roots that bootstrap got from this CA; if none, those that it got from files and addresses.
    fn of_ca(&self, url: Option<&Url>) -> Vec<Certificate> {
        let from = |wanted: &dyn Fn(&str) -> bool| -> Vec<Certificate> {
            let named = self.anchors.iter().filter(|(_, sources)| sources.iter().any(|id| wanted(id)));
            named.map(|(certificate, _)| certificate.clone()).collect()
        };
        let of_this = url.map(|url| self.of_this_ca(url)).unwrap_or_default();
        if of_this.is_empty() { from(&|id| !self.bundles.iter().any(|bundle| bundle == id)) } else { of_this }
    }
}

/// The CA, and its known roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ca {
    /// Its address; not needed if only a directory is asked.
    pub(crate) url: Option<Url>,
    /// Its host in the user's spelling.
    pub(crate) written: Option<String>,
    /// Fingerprints that its roots must have; unknown roots are fetched.
    pub(crate) pins: Vec<Fingerprint>,
    /// The roots, if they are known.
    pub(crate) roots: Option<Roots>,
    /// The user named it now, rather than to bootstrap.
    pub(crate) is_given: bool,
    /// The addresses that bootstrap was given, if there are several and none is chosen.
    pub(crate) candidates: Vec<Url>,
    /// The roots that count because an earlier run recorded them, each with its fingerprint and origin: reported each
    /// time, since an image may have brought the record (threat T34).
    pub(crate) recorded: Vec<String>,
    /// Why records do not apply to the CA, with a hint.
    pub(crate) unheeded: Option<&'static str>,
}

impl Ca {
    /// Whether nothing is known of it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.url.is_none() && self.pins.is_empty() && self.roots.is_none()
    }

    /// Its address.
    ///
    /// # Errors
    /// It is not configured.
    pub(crate) fn url(&self) -> Result<&Url> {
        self.url.as_ref().ok_or_else(|| {
            if !self.candidates.is_empty() {
                let list = self.candidates.iter().map(|url| format!("`{}`", masked(url)));
                return Error::usage("bootstrap was given several CAs, and none of them is chosen")
                    .hint(format!("`--ca-url URL --fingerprint HEX`, for one of {}", list.collect::<Vec<_>>().join(", ")));
            }
            let error = Error::usage("the CA is not given");
            match self.unheeded {
                Some(why) => error.hint(why),
                None => error.hint(
                    "give `--ca-url URL --fingerprint HEX`, or run `trustup bootstrap --ca-url URL --fingerprint HEX` first",
                ),
            }
        })
    }
}

/// Resolves which CA is meant. `token` is the content of a one-time token, if one is used.
///
/// # Errors
/// A pin without anything to pin, or a CA without a pin; roots that do not match the pins; an insufficient token.
pub(crate) fn resolve(given: &Given, recorded: &Recorded, token: Option<&FromToken>) -> Result<Ca> {
    let url = given.url.as_deref().map(step_ca_base).transpose()?;
    let written = given.url.as_deref().zip(url.as_ref());
    let written = written.and_then(|(text, url)| spelling::as_written(text, url));
    let ca = choose(url, given, recorded, token)?;
    Ok(Ca { written, ..ca })
}

fn choose(url: Option<Url>, given: &Given, recorded: &Recorded, token: Option<&FromToken>) -> Result<Ca> {
    Ok(if let Some(path) = &given.root {
        let roots = from_file(path, &given.pins)?;
        Ca {
            url: url.or_else(|| recorded.step_ca()),
            pins: given.pins.clone(),
            roots: Some(roots),
            is_given: true,
            ..Ca::default()
        }
    } else if !given.pins.is_empty() {
        recorded.agrees(url.as_ref(), &given.pins)?;
        let url = url.or_else(|| recorded.step_ca());
        let ca = pinned(url, given.pins.clone(), recorded, "the pinned fingerprint");
        with_announced(ca, recorded)
    } else {
        let url = url.or_else(|| recorded.step_ca());
        let certificates = recorded.of_ca(url.as_ref());
        match (certificates.is_empty(), url, token) {
            // Bootstrap got the CA's root but not its address: the token may name that, since the root vouches for it.
            (false, None, Some(token)) if token.is_of_one_of(&certificates) => from_token(token, recorded)?,
            (false, url, _) => {
                let described = match certificates.len() {
                    1 => format!("the root that bootstrap recorded (`{}`)", certificates[0].subject()),
                    count => format!("one of {count} roots that bootstrap recorded"),
                };
                let origins = certificates.iter().map(|root| recorded.describe(root)).collect();
                Ca {
                    url,
                    roots: Some(Roots { certificates, described, or_itself: false }),
                    candidates: recorded.step_cas(),
                    recorded: origins,
                    ..Ca::default()
                }
            }
            (true, None, Some(token)) if recorded.lets_name_a_ca(token) => from_token(token, recorded)?,
            (true, None, Some(_)) => Ca { unheeded: recorded.unheeded(), ..Ca::default() },
            (true, None, None) => Ca { unheeded: recorded.unheeded(), ..Ca::default() },
            (true, Some(url), token) => {
                let error = Error::usage("the CA's address is given, but no fingerprint of its root")
                    .at(masked(&url))
                    .hint("add `--fingerprint HEX` (on the CA's host: `step certificate fingerprint root_ca.crt`) or `--ca-root FILE`");
                let error = match recorded.unheeded().filter(|_| !recorded.ignored) {
                    Some(why) => error.hint(why),
                    None => error,
                };
                return Err(match token {
                    Some(_) => error.hint("or omit `--ca-url`: the CA and root are then those of the token"),
                    None => error,
                });
            }
        }
    })
}

/// The same with the roots that the CA gave when bootstrap asked it for all of them, over TLS that a pinned one verified:
/// they count as pinned (threat T42), so that the CA may move to one of them.
fn with_announced(mut ca: Ca, recorded: &Recorded) -> Ca {
    if let (Some(url), Some(roots)) = (&ca.url, &mut ca.roots) {
        let mut announced = recorded.announced_by(url);
        announced.retain(|root| !roots.certificates.contains(root));
        if !announced.is_empty() {
            ca.recorded.extend(announced.iter().map(|root| recorded.describe(root)));
            roots.certificates.extend(announced);
            roots.described = described(&roots.certificates, "the pinned fingerprint and of this CA's list");
        }
    }
    ca
}

fn pinned(url: Option<Url>, pins: Vec<Fingerprint>, recorded: &Recorded, how: &str) -> Ca {
    let found: Option<Vec<Certificate>> = pins.iter().map(|pin| recorded.find(pin).cloned()).collect();
    let roots = found.map(|certificates| Roots {
        described: described(&certificates, how),
        certificates,
        or_itself: false,
    });
    Ca { url, pins, roots, is_given: true, ..Ca::default() }
}

/// Roots in words; more than a handful do not count as a pin.
pub(crate) fn described(certificates: &[Certificate], how: &str) -> String {
    match certificates {
        [only] => format!("the root of {how} (`{}`)", only.subject()),
        many if many.len() > MAX_PINNED => {
            format!("one of {} roots of {how} (too many to be a pin)", many.len())
        }
        many => format!("one of {} roots of {how}", many.len()),
    }
}

/// The roots of a file; if pins are given, those that they name.
pub(crate) fn from_file(path: &std::path::Path, pins: &[Fingerprint]) -> Result<Roots> {
    let place = path.display().to_string();
    let file = given::read(&host::read_file(path, LIMIT)?, &place)?;
    if let Some(problem) = file.problems.first() {
        return Err(Error::usage("a certificate in this file cannot be used")
            .at(&place)
            .because(anyhow::anyhow!("{}", problem.what))
            .hint("it must have the CA's roots as PEM or DER, and nothing else"));
    }
    let mut certificates = file.certificates;
    if !pins.is_empty() {
        certificates.retain(|certificate| pins.contains(&certificate.fingerprint()));
    }
    if certificates.is_empty() {
        return Err(Error::not_trusted("no root in this file has the pinned fingerprint")
            .at(place)
            .hint("compare with what `step certificate fingerprint root_ca.crt` prints on the CA's host"));
    }
    Ok(Roots { described: described(&certificates, &format!("`{place}`")), certificates, or_itself: false })
}

/// Gets the roots with these fingerprints from the cache or from the step-ca at `url`: no server is trusted, the
/// fingerprints decide.
///
/// # Errors
/// Unreachable, another root, not a step-ca.
pub(crate) async fn fetch(url: &Url, pins: &[Fingerprint], how: Fetching<'_>) -> Result<Roots> {
    let Fetching { network, timeout, wait, cache, warn } = how;
    let cache = cache.map(Cache::open).transpose()?;
    let request = source::SourceRequest {
        sources: vec![Source::StepCa { url: url.to_string(), all_roots: false, from_ca_url: false }],
        pins: pins.to_vec(),
        ca_url_pin: None,
        require_pin: true,
        require_fresh: false,
        ask_again: false,
        allow_expired: false,
        allow_intermediate: false,
        allow_rollback: false,
        timeout,
        wait,
    };
    let acquired = source::acquire(&request, &Known::default(), network, cache.as_ref()).await?;
    if let Some(warning) = cache.and_then(|cache| keep(&cache, &acquired)) {
        warn(&warning);
    }
    acquired.warnings.iter().for_each(|warning| warn(warning));
    let certificates: Vec<Certificate> =
        acquired.anchors.into_iter().map(|anchor| anchor.certificate).collect();
    let described = described(&certificates, "the pinned fingerprint");
    Ok(Roots { certificates, described, or_itself: false })
}

/// Threat T22: a token decides everything only if no other source decides anything.
fn from_token(token: &FromToken, recorded: &Recorded) -> Result<Ca> {
    let missing = |what: &str| {
        Error::usage(format!("no CA is configured, and the token {what}"))
            .hint("give `--ca-url URL --fingerprint HEX`, or a token that `step ca token` or `trustup token` made for this CA")
    };
    let Ok([mut url]) = <[Url; 1]>::try_from(token.addresses()) else {
        return Err(missing("does not name one address of a CA (`aud`)"));
    };
    let pin = token.root.ok_or_else(|| missing("does not name the CA's root (`sha`)"))?;
    url.set_path("/");
    url.set_fragment(None);
    url.set_query(None);
    Ok(pinned(Some(url), vec![pin], recorded, "the fingerprint in the token"))
}

/// Whether token and CA belong together (threat T22): a token goes only to the host in its audience, and its root is one
/// of the configured ones.
///
/// # Errors
/// They do not.
pub(crate) fn agree(ca: &Ca, token: &FromToken) -> Result<()> {
    if let Some(url) = &ca.url
        && !token.audiences.is_empty()
        && !token.audiences.iter().any(|audience| host_of(audience) == host_of(url))
    {
        let audience = token.audiences.iter().map(masked).collect::<Vec<_>>().join("`, `");
        return Err(Error::usage(format!("the token is for another CA, `{audience}`"))
            .at(masked(url))
            .hint("make the token with the `--ca-url` that is used here: the CA compares the host name, not the port"));
    }
    let configured: Vec<Fingerprint> = match &ca.roots {
        Some(roots) => roots.certificates.iter().map(Certificate::fingerprint).collect(),
        None => ca.pins.clone(),
    };
    match token.root {
        Some(root) if !configured.is_empty() && !configured.contains(&root) => {
            Err(Error::not_trusted("the token was made for a CA with another root")
                .because(anyhow::anyhow!("the token says {root}"))
                .hint("compare both with what `step certificate fingerprint root_ca.crt` prints on the CA's host; then make a new token"))
        }
        _ => Ok(()),
    }
}
