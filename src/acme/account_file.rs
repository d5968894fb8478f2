//! The account as it is kept: its key in PEM, and above it (RFC 7468 section 5.2 allows text there) the URLs of the
//! directory and the account. To and from text only.

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::key::{KeyType, PrivateKey};

const HEAD: &str =
    "ACME account of trustup. Whoever has the key below can use the account: keep it secret.\n";
const DIRECTORY: &str = "Directory: ";
const ACCOUNT: &str = "Account: ";

/// What an account file says.
pub(super) struct Kept {
    /// EC P-256.
    pub(super) key: PrivateKey,
    /// The account's URL; `None` in a key that other software made.
    pub(super) url: Option<String>,
    /// The URL of the directory that it was made under; `None` in a key that other software made.
    pub(super) directory: Option<String>,
}

impl Kept {
    /// Reads what [`Kept::to_text`] wrote, or a bare key in any of the usual forms.
    ///
    /// # Errors
    /// There is no usable key in it. The error shows nothing of the content.
    pub(super) fn from_text(content: &[u8]) -> Result<Self> {
        let key = PrivateKey::from_pem(content).map_err(|error| {
            let (kind, hints) = (error.kind(), error.hints().to_vec());
            let error = Error::new(kind, "the account's key file cannot be used").because(error);
            hints.into_iter().fold(error, Error::hint)
        })?;
        if key.key_type() != Some(KeyType::EcP256) {
            return Err(Error::usage("the account's key cannot be used: it is not EC P-256").hint(
                "name a file that does not exist yet with `--account-key`: a new account is made for it",
            ));
        }
        // Only what stands above the key is ours.
        let text = String::from_utf8_lossy(content);
        let said = |name: &str| {
            let mut head = text.lines().take_while(|line| !line.starts_with("-----BEGIN"));
            let url = head.find_map(|line| line.strip_prefix(name))?.trim();
            (!url.is_empty()).then(|| url.to_owned())
        };
        Ok(Kept { key, url: said(ACCOUNT), directory: said(DIRECTORY) })
    }

    /// The text to keep.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let url = self.url.as_deref().unwrap_or_default();
        let directory = self.directory.as_deref().unwrap_or_default();
        let key = self.key.to_pem();
        let parts = [HEAD, DIRECTORY, directory, "\n", ACCOUNT, url, "\n", &key];
        // Room for all of it: text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let key = PrivateKey::generate(KeyType::EcP256).expect("key");
        let public = key.public_key().to_vec();
        let (url, directory) = ("https://ca.test/acct/1", "https://ca.test/dir");
        let kept = Kept { key, url: Some(url.to_owned()), directory: Some(directory.to_owned()) };
        let text = kept.to_text();
        let again = Kept::from_text(text.as_bytes()).expect("readable");
        assert_eq!(again.key.public_key(), &*public);
        assert_eq!((again.url.as_deref(), again.directory.as_deref()), (Some(url), Some(directory)));
        let bare = &text[text.find("-----BEGIN").expect("key")..];
        let bare = Kept::from_text(bare.as_bytes()).expect("a bare key");
        assert_eq!((bare.url, bare.directory), (None, None));
        let other = PrivateKey::generate(KeyType::EcP384).expect("key");
        assert!(Kept::from_text(other.to_pem().as_bytes()).is_err());
    }

    #[test]
    fn what_holds_no_key_is_refused_without_showing_it() {
        for content in ["", "secret", "-----BEGIN PRIVATE KEY-----\nsecret\n", "Account: https://secret/\n"] {
            let Err(error) = Kept::from_text(content.as_bytes()) else { panic!("{content}") };
            assert!(!error.to_string().contains("secret") && error.kind().exit_code() == 2, "{error}");
        }
    }
}
