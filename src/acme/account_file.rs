//! The stored account: its key in PEM, and above it (RFC 7468 section 5.2 allows text there) the URLs of the directory
//! and the account, and the version of the format. To and from text only.

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::pki::key::PrivateKey;
use crate::text::encoding;
use crate::versioned::{self, Field, Format};

const HEAD: &str =
    "ACME account of trustup. Whoever has the key below can use the account: keep it secret.\n";
/// A file of version 1 may lack this line, which was added later.
const VERSION: &str = "Version: ";
const FORMAT: Format = Format { what: "ACME account", field: Field::Version, newest: 1, unnamed: Some(1) };
const DIRECTORY: &str = "Directory: ";
const ACCOUNT: &str = "Account: ";

/// The content of an account file.
pub(super) struct Kept {
    pub(super) key: PrivateKey,
    /// The file stays as it is: a JSON Web Key, as certbot stores it, or another program's file.
    pub(super) stays: bool,
    /// The account's URL; `None` in a key that other software made.
    pub(super) url: Option<String>,
    /// The URL of the directory that it was made under; `None` in a key that other software made.
    pub(super) directory: Option<String>,
    /// Lines above the key that only a newer trustup knows; none in a key that other software made.
    pub(super) unknown: Vec<String>,
}

impl Kept {
    /// Reads what [`Kept::text`] made to `place`, or a bare key of other software: PEM in any of the usual forms (lego,
    /// acme.sh), or a JSON Web Key (certbot).
    ///
    /// # Errors
    /// A newer trustup wrote it; it contains no usable key. The error shows nothing of the content.
    pub(super) fn from_text(content: &[u8], place: &str) -> Result<Self> {
        let content = content.strip_prefix(encoding::UTF_8_MARK).unwrap_or(content);
        // Only the lines above the key are ours.
        let text = String::from_utf8_lossy(content);
        let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("-----BEGIN")).collect();
        let said = |name: &str| {
            let said = head.iter().find_map(|line| line.strip_prefix(name))?.trim();
            (!said.is_empty()).then(|| said.to_owned())
        };
        let (url, directory) = (said(ACCOUNT), said(DIRECTORY));
        let is_ours = url.is_some() || directory.is_some();
        match said(VERSION).map(|version| versioned::positive(&version)) {
            Some(Some(version)) => FORMAT.check(version, place)?,
            Some(None) if is_ours => {
                return Err(Error::failed("the account's key file is damaged")
                    .at(place)
                    .because(anyhow::anyhow!("expected a positive integer after `{}`", VERSION.trim()))
                    .hint("correct that line, or name a file that does not exist yet with `--account-key`: a new account is made for it"));
            }
            Some(None) | None => {}
        }
        let is_jwk = content.trim_ascii_start().first() == Some(&b'{');
        let key = if is_jwk { PrivateKey::from_jwk(content) } else { PrivateKey::from_pem(content) };
        let key = key.map_err(|error| {
            let (kind, hints) = (error.kind(), error.hints().to_vec());
            let error = Error::new(kind, "the account's key file cannot be used").at(place).because(error);
            hints.into_iter().fold(error, Error::hint)
        })?;
        let is_known = |line: &str| {
            line.is_empty()
                || line == HEAD.trim_end()
                || [VERSION, DIRECTORY, ACCOUNT].iter().any(|name| line.starts_with(name))
        };
        let unknown = head.iter().filter(|line| is_ours && !is_known(line));
        let unknown = unknown.map(|line| (*line).to_owned()).collect();
        Ok(Kept { key, stays: is_jwk, url, directory, unknown })
    }

    /// The text to keep for an account: its key, its URL, and that of the directory. `unknown` are lines of a newer trustup.
    pub(super) fn text(
        key: &PrivateKey,
        url: &str,
        directory: &str,
        unknown: &[String],
    ) -> Zeroizing<String> {
        let key = key.to_pem();
        let unknown: String = unknown.iter().flat_map(|line| [line, "\n"]).collect();
        let parts = [HEAD, VERSION, "1\n", DIRECTORY, directory, "\n", ACCOUNT, url, "\n", &unknown, &key];
        // Capacity for all of it: text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyType;

    #[test]
    fn what_is_written_is_read_again() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("key");
        let public = key.public_key().to_vec();
        let (url, directory) = ("https://ca.test/acct/1", "https://ca.test/dir");
        let unknown = vec!["Colour: blue".to_owned()];
        let text = Kept::text(&key, url, directory, &unknown);
        let again = Kept::from_text(text.as_bytes(), "/x").expect("readable");
        assert_eq!(again.unknown, unknown);
        assert_eq!(again.key.public_key(), &*public);
        assert_eq!((again.url.as_deref(), again.directory.as_deref()), (Some(url), Some(directory)));
        let bare = &text[text.find("-----BEGIN").expect("key")..];
        let bare = Kept::from_text(bare.as_bytes(), "/x").expect("a bare key");
        assert_eq!((bare.url, bare.directory), (None, None));
        let foreign = format!("Bag Attributes\n{}", &text[text.find("-----BEGIN").expect("key")..]);
        assert!(Kept::from_text(foreign.as_bytes(), "/x").expect("a bare key").unknown.is_empty());
    }

    #[test]
    fn the_version_is_read_first_and_may_be_missing() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("key").to_pem();
        let url = "https://ca.test/acct/1";
        let old = format!("{HEAD}{DIRECTORY}https://ca.test/dir\n{ACCOUNT}{url}\n{}", &*key);
        let kept = Kept::from_text(old.as_bytes(), "/x").expect("version 1");
        assert_eq!((kept.url.as_deref(), kept.unknown.is_empty()), (Some(url), true));
        // Whatever form of key a newer version has.
        for version in ["0", "-1", "one", "1.5"] {
            let damaged = old.replace(DIRECTORY, &format!("{VERSION}{version}\n{DIRECTORY}"));
            let Err(error) = Kept::from_text(damaged.as_bytes(), "/x") else { panic!("{version}") };
            assert!(!versioned::is_newer(&error), "{error}");
            // In a key of other software it is not ours.
            assert!(Kept::from_text(format!("{VERSION}{version}\n{}", &*key).as_bytes(), "/x").is_ok());
        }
        let newer = format!("{HEAD}{VERSION}99\n{ACCOUNT}{url}\n-----BEGIN SEALED KEY-----\n");
        let Err(error) = Kept::from_text(newer.as_bytes(), "/x/account.pem") else { panic!("read") };
        assert!(crate::versioned::is_newer(&error), "{error}");
        assert!(error.to_string().contains("`/x/account.pem`"), "{error}");
    }

    #[test]
    fn what_holds_no_key_is_refused_without_showing_it() {
        for content in ["", "secret", "-----BEGIN PRIVATE KEY-----\nsecret\n", "Account: https://secret/\n"] {
            let Err(error) = Kept::from_text(content.as_bytes(), "/x") else { panic!("{content}") };
            assert!(!error.to_string().contains("secret") && error.kind().exit_code() == 2, "{error}");
        }
    }
}
