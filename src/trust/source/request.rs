//! The user's request, as a value that can be checked before anything is opened or requested (threat T1). Pure: no
//! file, no network.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::error::{Error, Result};
use crate::net::url::{masked, parse, step_ca_base, with_scheme};
use crate::pki::fingerprint::Fingerprint;
use crate::text;

/// Extensions of certificate files, as in the `CA_URL` of published Dockerfiles.
const CERTIFICATE_ENDINGS: [&str; 6] = [".crt", ".pem", ".cer", ".der", ".p7b", ".p7c"];

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A step-ca: `/root/{fingerprint}` for each pin, and `/roots` over TLS verified by those.
    StepCa {
        /// Scheme (`https://` if none is given), host and port; a path is ignored.
        url: String,
        /// Whether `/roots` is requested for the CA's other roots, which need no pin.
        all_roots: bool,
        /// Whether `CA_URL` named this, so that `CA_FINGERPRINT` pins it.
        from_ca_url: bool,
    },
    /// Certificates at any address: PEM, DER or PKCS#7.
    RootUrl {
        /// An http or https URL.
        url: String,
        /// Whether `CA_URL` named this, so that `CA_FINGERPRINT` pins it.
        from_ca_url: bool,
    },
    /// A file of many roots, whose host must be vouched for (threat T2).
    Bundle {
        /// An https URL, or an http URL with `sha256`.
        url: String,
        /// The SHA-256 of the file.
        sha256: Option<Fingerprint>,
    },
    /// A file, a directory of files, or standard input (`-`).
    File {
        /// A path of the root that we run in.
        path: PathBuf,
    },
}

/// The masked URL, and the hash of the whole if that hides something. The password is not part of it: a weak one could
/// be guessed from the hash, which reports show. Nor is the fragment, which no server sees.
fn identified(url: &Url) -> String {
    let mut whole = url.clone();
    whole.set_fragment(None);
    // A URL without a host has no password to remove.
    let _ = whole.set_password(None);
    let shown = masked(url);
    let mut bare = whole.clone();
    bare.set_query(None);
    let _ = bare.set_username("");
    if bare == whole {
        return shown;
    }
    format!("{shown} (sha256 {})", Fingerprint::of(whole.as_str().as_bytes()).short(HASH_SHOWN))
}

/// Hexadecimal digits of a URL's hash in the name of a source.
const HASH_SHOWN: usize = 16;

impl Source {
    /// What the variable `CA_URL` means: published Dockerfiles set it to step-ca's base URL or to the address of a
    /// certificate. An empty path is step-ca, a last segment such as `root_ca.crt` is a certificate.
    pub fn from_ca_url(value: &str, all_roots: bool) -> Result<Source> {
        let url = parse(&with_scheme(value), "CA_URL")?;
        let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        let last = last.to_ascii_lowercase();
        if matches!(url.path(), "" | "/") {
            Ok(Source::StepCa { url: url.into(), all_roots, from_ca_url: true })
        } else if CERTIFICATE_ENDINGS.iter().any(|ending| last.len() > ending.len() && last.ends_with(ending))
        {
            Ok(Source::RootUrl { url: url.into(), from_ca_url: true })
        } else {
            Err(Error::usage("`CA_URL` is neither the address of a step-ca nor of a certificate").at(text::mask_url(value)).hint(
                "a step-ca has no path (`https://ca.example.internal`): for one, use `--ca-url`; for a certificate at any address use `--root-url`",
            ))
        }
    }

    /// Its name in reports and in the state: the path, or the masked URL; if masked, with the URL's hash, so that two
    /// addresses that differ in their query are two sources.
    ///
    /// # Errors
    /// A URL that cannot be fetched.
    pub fn id(&self) -> Result<String> {
        Ok(match self {
            Source::File { path } => path.to_string_lossy().into_owned(),
            // Not the CA's own: what a run without `--all-roots` recorded does not cover the other roots.
            Source::StepCa { url, all_roots: true, .. } => format!("{}roots", masked(&step_ca_base(url)?)),
            Source::StepCa { .. } => self.url()?.map(|url| masked(&url)).unwrap_or_default(),
            _ => self.url()?.map(|url| identified(&url)).unwrap_or_default(),
        })
    }

    /// The name that older versions gave it, if different: two sources may have had it.
    pub(crate) fn former_id(&self) -> Option<String> {
        let url = self.url().ok().flatten()?;
        let (id, former) = (self.id().ok()?, masked(&url));
        (id != former && !matches!(self, Source::StepCa { .. })).then_some(former)
    }

    /// The URL that it is fetched from; for a step-ca its base.
    pub(super) fn url(&self) -> Result<Option<Url>> {
        match self {
            Source::StepCa { url, .. } => step_ca_base(url).map(Some),
            Source::RootUrl { url, .. } => parse(url, "--root-url").map(Some),
            Source::Bundle { url, .. } => parse(url, "--bundle-url").map(Some),
            Source::File { .. } => Ok(None),
        }
    }

    fn is_from_ca_url(&self) -> bool {
        matches!(self, Source::StepCa { from_ca_url: true, .. } | Source::RootUrl { from_ca_url: true, .. })
    }
}

/// What to trust, and under which conditions.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// At least one.
    pub sources: Vec<Source>,
    /// `--fingerprint`: for all sources but bundles.
    pub pins: Vec<Fingerprint>,
    /// `CA_FINGERPRINT`: pins only what `CA_URL` brings.
    pub ca_url_pin: Option<Fingerprint>,
    /// `--require-pin`: certificates of files must be pinned too.
    pub require_pin: bool,
    /// `--require-fresh`: an earlier run's certificates do not replace a source that cannot be reached.
    pub require_fresh: bool,
    /// A CA is asked for its list of roots again, although an earlier answer is here (threat T42).
    pub ask_again: bool,
    /// `--allow-expired`
    pub allow_expired: bool,
    /// `--allow-intermediate`
    pub allow_intermediate: bool,
    /// `--allow-rollback`: a root that left a bundle may come back.
    pub allow_rollback: bool,
    /// `--timeout`: for all requests together.
    pub timeout: Duration,
    /// `--wait`: how long an unreachable server is retried.
    pub wait: Option<Duration>,
}

impl SourceRequest {
    /// The pins that certificates of `source` are compared with. None for a bundle.
    pub(super) fn pins_for(&self, source: &Source) -> &[Fingerprint] {
        match (source, &self.ca_url_pin) {
            (Source::Bundle { .. }, _) => &[],
            (source, Some(pin)) if source.is_from_ca_url() => std::slice::from_ref(pin),
            _ => &self.pins,
        }
    }

    /// Checks all that can be checked without inspecting any file (threat T1).
    ///
    /// # Errors
    /// Usage errors, each naming the wrong option or variable.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.sources.is_empty() {
            return Err(Error::usage("no source of certificates is given").hint(
                "give `--ca-url URL --fingerprint HEX`, `--root-url URL --fingerprint HEX`, `--bundle-url URL` or `--ca-file FILE`",
            ));
        }
        let mut standard_input = 0;
        let mut ids: Vec<(String, &Source)> = Vec::new();
        for source in &self.sources {
            // Fails for an invalid URL.
            let url = source.url()?;
            let place = url.as_ref().map(masked).unwrap_or_default();
            match source {
                Source::StepCa { .. } | Source::RootUrl { .. } if self.pins_for(source).is_empty() => {
                    return Err(self.missing_pin(source).at(place));
                }
                Source::Bundle { sha256: None, .. } if url.is_some_and(|url| url.scheme() == "http") => {
                    return Err(Error::usage("a bundle over plain http must be pinned").at(place).hint(
                        "use an https URL, or add `--bundle-sha256 HEX` (made with `sha256sum` where the file comes from)",
                    ));
                }
                Source::File { path } if self.require_pin && self.pins.is_empty() => {
                    return Err(Error::usage("`--require-pin` is given, but no fingerprint")
                        .at(path.display())
                        .hint("add `--fingerprint HEX` for each certificate of the file"));
                }
                Source::File { path } if path.as_os_str() == "-" => standard_input += 1,
                _ => {}
            }
            let id = source.id()?;
            if ids.iter().any(|(other, earlier)| *other == id && **earlier != *source) {
                return Err(Error::usage("two sources have the same address, apart from what is secret in it").at(id).hint(
                    "what an address holds is recorded under it without its password: fetch the two with two runs, or give them two paths",
                ));
            }
            ids.push((id, source));
        }
        if standard_input > 1 {
            return Err(Error::usage("standard input can be read only once").at("-"));
        }
        let uses_pins = |source: &Source| match source {
            Source::Bundle { .. } => false,
            source => !(self.ca_url_pin.is_some() && source.is_from_ca_url()),
        };
        if !self.pins.is_empty() && !self.sources.iter().any(uses_pins) {
            return Err(Error::usage("`--fingerprint` (or TRUSTUP_FINGERPRINT) has nothing to pin").hint(
                "it pins what `--ca-url`, `--root-url` or `--ca-file` brings; a bundle's file is pinned with `--bundle-sha256`",
            ));
        }
        if self.ca_url_pin.is_some() && !self.sources.iter().any(Source::is_from_ca_url) {
            return Err(Error::usage("`CA_FINGERPRINT` has nothing to pin").hint(
                "set `CA_URL` to the address of the CA or of its root certificate, or unset `CA_FINGERPRINT`",
            ));
        }
        Ok(())
    }

    fn missing_pin(&self, source: &Source) -> Error {
        let (name, pin) = match source {
            source if source.is_from_ca_url() => ("CA_URL", "CA_FINGERPRINT"),
            Source::StepCa { .. } => ("--ca-url", "--fingerprint"),
            _ => ("--root-url", "--fingerprint"),
        };
        Error::usage(format!("`{name}` needs a fingerprint: nothing else vouches for its answer"))
            .hint(format!("on the CA's host run `step certificate fingerprint $(step path)/certs/root_ca.crt`, and give what it prints as `{pin}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sources: Vec<Source>) -> SourceRequest {
        SourceRequest {
            sources,
            pins: Vec::new(),
            ca_url_pin: None,
            require_pin: false,
            require_fresh: false,
            ask_again: false,
            allow_expired: false,
            allow_intermediate: false,
            allow_rollback: false,
            timeout: Duration::from_secs(30),
            wait: None,
        }
    }

    fn step_ca(url: &str) -> Source {
        Source::StepCa { url: url.to_owned(), all_roots: false, from_ca_url: false }
    }

    fn bundle(url: &str) -> Source {
        Source::Bundle { url: url.to_owned(), sha256: None }
    }

    fn file(path: &str) -> Source {
        Source::File { path: path.into() }
    }

    fn pin() -> Fingerprint {
        Fingerprint::of(b"pin")
    }

    #[test]
    fn ca_url_means_what_published_dockerfiles_mean() {
        for (value, wanted) in [
            ("https://ca.test:9000", "https://ca.test:9000/"),
            ("https://ca.test/", "https://ca.test/"),
            ("ca.test:9000", "https://ca.test:9000/"),
        ] {
            let source = Source::from_ca_url(value, true).expect(value);
            assert_eq!(
                source,
                Source::StepCa { url: wanted.to_owned(), all_roots: true, from_ca_url: true },
                "{value}"
            );
        }
        for value in
            ["https://pki.test/root_ca.crt", "http://pki.test/a/ROOT.PEM", "https://pki.test/x.p7b?v=1"]
        {
            assert!(
                matches!(Source::from_ca_url(value, false), Ok(Source::RootUrl { from_ca_url: true, .. })),
                "{value}"
            );
        }
        for value in [
            "https://pki.test/roots",
            "https://pki.test/.crt",
            "https://pki.test/a.crt/",
            "https://pki.test/a.txt",
        ] {
            let error = Source::from_ca_url(value, false).expect_err(value);
            let hint = error.hints().join(" ");
            assert!(hint.contains("--ca-url") && hint.contains("--root-url"), "{hint}");
        }
    }

    #[test]
    fn a_step_ca_is_its_origin() {
        for value in
            ["ca.test", "https://ca.test", "https://ca.test/", "https://ca.test/1.0/roots?x#y", " ca.test "]
        {
            assert_eq!(step_ca(value).id().expect(value), "https://ca.test/", "{value}");
        }
        assert!(step_ca("http://ca.test").id().is_err());
    }

    #[test]
    fn t1_pins_and_sources_belong_together() {
        let with = |sources: Vec<Source>, pins: Vec<Fingerprint>, ca_url_pin: Option<Fingerprint>| {
            SourceRequest { pins, ca_url_pin, ..request(sources) }
        };
        let from_ca_url = || Source::from_ca_url("https://ca.test", false).expect("CA_URL");
        let https = || bundle("https://pki.test/b.pem");
        let good = [
            with(vec![step_ca("ca.test")], vec![pin()], None),
            with(vec![from_ca_url()], vec![], Some(pin())),
            with(vec![from_ca_url()], vec![pin()], None),
            with(vec![from_ca_url(), https()], vec![], Some(pin())),
            with(vec![https()], vec![], None),
            with(vec![file("/x.pem")], vec![], None),
            with(vec![file("/x.pem"), from_ca_url()], vec![pin()], Some(pin())),
        ];
        for request in good {
            request.validate().expect("a good request");
        }
        let bad = [
            ("no source of certificates", with(vec![], vec![], None)),
            ("--ca-url", with(vec![step_ca("ca.test")], vec![], None)),
            ("CA_URL", with(vec![from_ca_url(), https()], vec![], None)),
            ("CA_FINGERPRINT", with(vec![https()], vec![], Some(pin()))),
            ("CA_FINGERPRINT", with(vec![step_ca("ca.test")], vec![pin()], Some(pin()))),
            ("--fingerprint", with(vec![https()], vec![pin()], None)),
            ("--fingerprint", with(vec![from_ca_url(), https()], vec![pin()], Some(pin()))),
            ("plain http", with(vec![bundle("http://pki.test/b.pem")], vec![], None)),
            ("--require-pin", SourceRequest { require_pin: true, ..with(vec![file("/x")], vec![], None) }),
            ("once", with(vec![file("-"), file("-")], vec![], None)),
            (
                "same address",
                with(vec![bundle("https://u:one@a.test/b"), bundle("https://u:two@a.test/b")], vec![], None),
            ),
            ("--bundle-url", with(vec![bundle("pki.test/b.pem")], vec![], None)),
        ];
        for (words, request) in bad {
            let error = request.validate().expect_err(words);
            assert_eq!(error.kind().exit_code(), 2, "{error}");
            if words != "once" {
                assert!(error.what().contains(words) && !error.hints().is_empty(), "{words}: {error}");
            }
        }
    }

    #[test]
    fn ca_fingerprint_pins_only_what_ca_url_brings() {
        let other = Fingerprint::of(b"other");
        let request = SourceRequest {
            pins: vec![other],
            ca_url_pin: Some(pin()),
            ..request(vec![Source::from_ca_url("https://ca.test", false).expect("CA_URL"), file("/x")])
        };
        assert_eq!(request.pins_for(&request.sources[0]), [pin()]);
        assert_eq!(request.pins_for(&request.sources[1]), [other]);
    }
}
