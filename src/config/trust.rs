//! `[ca]` and `[trust]`: whom to trust, for bootstrap and enroll.

use url::Url;

use super::document::{Section, Value};
use super::{Ca, Config, Trust};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

/// What an option of bootstrap takes.
enum Takes {
    Switch,
    Text,
    Texts,
    Path,
    Paths,
    Url,
    Pin,
    Pins,
    Words(&'static [&'static str]),
}

/// The options of bootstrap that `[trust]` may set, by their names with `_`. A test holds them against the command line.
/// None loosens a check: those are for the command line alone (threat T1).
const OPTIONS: [(&str, Takes); 23] = [
    ("root_url", Takes::Url),
    ("bundle_url", Takes::Url),
    ("bundle_sha256", Takes::Pin),
    ("ca_file", Takes::Paths),
    ("fingerprint", Takes::Pins),
    ("all_roots", Takes::Switch),
    ("require_pin", Takes::Switch),
    ("require_fresh", Takes::Switch),
    ("require_system", Takes::Switch),
    ("name", Takes::Text),
    ("stores", Takes::Words(&["system", "private", "java", "nss", "none"])),
    ("strict", Takes::Switch),
    ("create_java", Takes::Switch),
    ("create_nss", Takes::Switch),
    ("updater", Takes::Words(&["auto", "native", "builtin"])),
    ("with_web_pki", Takes::Switch),
    ("ca_out", Takes::Path),
    ("firefox_policy", Takes::Switch),
    ("java_storepass_file", Takes::Path),
    ("nss_password_file", Takes::Path),
    ("nss_user", Takes::Texts),
    ("nss_db", Takes::Paths),
    ("private_dir", Takes::Path),
];

/// Options that say where certificates come from, pin them, or widen what is taken of a source: they count together or
/// not at all (threat T1).
const SOURCES: [&str; 6] = ["root_url", "bundle_url", "bundle_sha256", "ca_file", "fingerprint", "all_roots"];

/// Options of bootstrap by their names with `_`, and their values.
pub type Options = Vec<(&'static str, Vec<String>)>;

const PIN: &str = "the 64 hex digits of a SHA-256";

/// The options that `[trust]` may set, with the words that some take; for the test that holds them against the command
/// line.
#[cfg(test)]
pub(crate) fn known() -> impl Iterator<Item = (&'static str, Option<&'static [&'static str]>)> {
    OPTIONS.iter().map(|(key, takes)| match takes {
        Takes::Words(words) => (*key, Some(*words)),
        _ => (*key, None),
    })
}

pub(super) fn ca(section: &Section<'_>) -> Ca {
    Ca {
        url: section.parsed(
            "url",
            "the https address of the CA, such as `https://ca.internal:9000`",
            |text| {
                let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
                web_address(&text).filter(|url| url.scheme() == "https")
            },
        ),
        fingerprints: pins(section, section.list("fingerprint")),
        root: section.path("root").map(|(path, _)| path),
        provisioner: section.string("provisioner").map(|value| value.text.to_string()),
    }
}

pub(super) fn trust(section: &Section<'_>) -> Trust {
    let mut options = Vec::new();
    for (key, takes) in &OPTIONS {
        let texts = |values: Vec<Value>| values.into_iter().map(|value| value.text.to_string()).collect();
        let values: Vec<String> = match takes {
            Takes::Switch => match section.switch(key) {
                Some(true) => vec!["true".to_owned()],
                Some(false) | None => Vec::new(),
            },
            Takes::Text => section.string(key).map(|value| value.text.to_string()).into_iter().collect(),
            Takes::Texts => texts(section.list(key)),
            Takes::Path => section.path(key).map(|(_, value)| value.text.to_string()).into_iter().collect(),
            Takes::Paths => section
                .paths(key)
                .into_iter()
                .filter_map(|path| path.to_str().map(ToOwned::to_owned))
                .collect(),
            Takes::Url => {
                let url = section.parsed(key, "an http or https address", web_address);
                url.map(String::from).into_iter().collect()
            }
            Takes::Pin => pin(section, section.string(key)).map(|pin| pin.hex()).into_iter().collect(),
            Takes::Pins => pins(section, section.list(key)).iter().map(Fingerprint::hex).collect(),
            Takes::Words(words) => {
                section.list(key).iter().filter_map(|value| section.one_of(value, words)).collect()
            }
        };
        if !values.is_empty() {
            options.push((*key, values));
        }
    }
    Trust { options }
}

fn pins(section: &Section<'_>, values: Vec<Value>) -> Vec<Fingerprint> {
    values.into_iter().filter_map(|value| pin(section, Some(value))).collect()
}

/// An empty one was refused before: no value is empty (threat T1).
fn pin(section: &Section<'_>, value: Option<Value>) -> Option<Fingerprint> {
    section.parse(&value?, PIN, |text| text.parse().ok())
}

fn web_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

/// What to say of a key of `[trust]` that is not taken.
pub(super) fn why_not(key: &str) -> Option<String> {
    match key {
        "ca_url" => Some("the CA's address is `url` in `[ca]`".to_owned()),
        "repair" => Some("`--repair` is for the command line alone".to_owned()),
        key if key.starts_with("allow_") => {
            Some("what loosens a check is for the command line alone".to_owned())
        }
        _ => None,
    }
}

/// Checks what only the two together say.
pub(super) fn check(section: &Section<'_>, ca: Option<&Ca>) {
    let problem = |what: &str, hint: &str| section.problem(section.line(), Error::usage(what).hint(hint));
    if section.has("bundle_sha256") && !section.has("bundle_url") && !section.has("bundle_url_file") {
        problem("`trust.bundle_sha256` has nothing to pin", "add `bundle_url`, or leave it out");
    }
    if section.has("all_roots") && ca.is_none_or(|ca| ca.url.is_none()) {
        problem(
            "`trust.all_roots` asks a step-ca, and none is chosen",
            "add `url` and `fingerprint` to `[ca]`",
        );
    }
}

impl Trust {
    /// Bootstrap's options that are set, by their names with `_`, and their values.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.options.iter().map(|(key, values)| (*key, values.as_slice()))
    }
}

impl Config {
    /// Whether `[ca]` or `[trust]` say where certificates come from, or pin them.
    pub fn names_sources(&self) -> bool {
        let of_ca = |ca: &Ca| ca.url.is_some() || ca.root.is_some() || !ca.fingerprints.is_empty();
        let mut options = self.trust.iter().flat_map(Trust::options);
        self.ca.as_ref().is_some_and(of_ca) || options.any(|(key, _)| SOURCES.contains(&key))
    }

    /// What `[ca]` and `[trust]` mean as options of bootstrap, by their names with `_`; without what says where
    /// certificates come from, if somebody else says that (threat T1).
    ///
    /// # Errors
    /// A CA without a pin.
    pub fn bootstrap_options(&self, with_sources: bool) -> Result<Options> {
        let all = self.trust.iter().flat_map(Trust::options);
        let mut options: Options = all.map(|(key, values)| (key, values.to_vec())).collect();
        if !with_sources {
            options.retain(|(key, _)| !SOURCES.contains(key));
            return Ok(options);
        }
        let asks_ca = options.iter().any(|(key, _)| *key == "all_roots");
        let Some(ca) = &self.ca else { return Ok(options) };
        let mut add = |key: &'static str, values: Vec<String>| match options
            .iter_mut()
            .find(|(there, _)| *there == key)
        {
            _ if values.is_empty() => {}
            Some((_, there)) => there.extend(values),
            None => options.push((key, values)),
        };
        add("fingerprint", ca.fingerprints.iter().map(Fingerprint::hex).collect());
        match (&ca.root, &ca.url) {
            // The file is the root: there is nothing to fetch, but for the CA's other roots.
            (Some(root), _) if !asks_ca => add("ca_file", vec![root.display().to_string()]),
            (_, Some(_)) if ca.fingerprints.is_empty() => {
                return Err(Error::usage("`ca.url` needs a fingerprint: nothing else vouches for its answer")
                    .at(self.path.display())
                    .hint("on the CA's host run `step certificate fingerprint $(step path)/certs/root_ca.crt`, and give what it prints as `fingerprint` in `[ca]`; or name the root's file with `root`"));
            }
            (_, Some(url)) => add("ca_url", vec![url.to_string()]),
            (_, None) => {}
        }
        Ok(options)
    }
}
