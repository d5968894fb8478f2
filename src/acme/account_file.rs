//! The account as it is kept: a PKCS#8 key in PEM, and above it (RFC 7468 section 5.2 allows text there) the URLs of the
//! directory and the account. To and from text only.

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// An account's key is less than a kibibyte.
const MAX_SIZE: usize = 64 * 1024;

const DIRECTORY: &str = "Directory: ";
const ACCOUNT: &str = "Account: ";

/// What an account file says.
pub(super) struct Kept {
    /// PKCS#8, DER.
    pub(super) key: Zeroizing<Vec<u8>>,
    /// The account's URL; `None` in a key that other software made.
    pub(super) url: Option<String>,
}

impl Kept {
    /// Reads what [`Kept::to_text`] wrote, or a bare key.
    ///
    /// # Errors
    /// There is no PKCS#8 key in it. The error shows nothing of the content.
    pub(super) fn from_text(content: &[u8]) -> Result<Self> {
        let no_key = || {
            Error::usage("the account's key file holds no PKCS#8 key in PEM").hint(
                "an EC P-256 key in another format becomes one with `openssl pkcs8 -topk8 -nocrypt`; without the file a new account is made",
            )
        };
        if content.len() > MAX_SIZE {
            return Err(no_key());
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(content).map_err(|_| no_key())?;
        let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
        // Only what stands above the key is ours.
        let text = String::from_utf8_lossy(content);
        let head = text.lines().take_while(|line| !line.starts_with("-----BEGIN"));
        let url = head.filter_map(|line| line.strip_prefix(ACCOUNT)).next();
        Ok(Kept { key, url: url.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()) })
    }

    /// The text to keep.
    pub(super) fn to_text(&self, directory: &str) -> Zeroizing<String> {
        use base64::Engine as _;
        const COLUMNS: usize = 64;
        let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*self.key));
        let url = self.url.as_deref().unwrap_or_default();
        let mut text =
            Zeroizing::new(String::with_capacity(body.len() * 2 + directory.len() + url.len() + 200));
        text.push_str(
            "ACME account of trustup. Keep it secret, and keep it: the account can be used with it alone.\n",
        );
        for part in [DIRECTORY, directory, "\n", ACCOUNT, url, "\n-----BEGIN PRIVATE KEY-----\n"] {
            text.push_str(part);
        }
        for (at, c) in body.char_indices() {
            if at > 0 && at % COLUMNS == 0 {
                text.push('\n');
            }
            text.push(c);
        }
        text.push_str("\n-----END PRIVATE KEY-----\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let key = rcgen::KeyPair::generate().expect("key").serialize_der();
        let kept = Kept { key: Zeroizing::new(key.clone()), url: Some("https://ca.test/acct/1".to_owned()) };
        let text = kept.to_text("https://ca.test/dir");
        let again = Kept::from_text(text.as_bytes()).expect("readable");
        assert_eq!((&*again.key, again.url.as_deref()), (&key, Some("https://ca.test/acct/1")));
        assert!(text.lines().all(|line| line.len() < 110), "{}", text.len());
        let bare = &text[text.find("-----BEGIN").expect("key")..];
        assert_eq!(Kept::from_text(bare.as_bytes()).expect("a bare key").url, None);
    }

    #[test]
    fn what_holds_no_key_is_refused_without_showing_it() {
        for content in ["", "secret", "-----BEGIN PRIVATE KEY-----\nsecret\n", "Account: https://secret/\n"] {
            let Err(error) = Kept::from_text(content.as_bytes()) else { panic!("{content}") };
            assert!(!error.to_string().contains("secret") && error.kind().exit_code() == 2, "{error}");
        }
    }
}
