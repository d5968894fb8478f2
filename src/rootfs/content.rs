//! The bytes of a file: shared by all that holds them, and hashed at most once.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroize as _;

use crate::pki::fingerprint::Fingerprint;

/// The bytes of a file; a clone shares them, and their hash.
#[derive(Clone)]
pub(crate) struct Content(Arc<HashedBytes>);

struct HashedBytes {
    bytes: Vec<u8>,
    sha256: OnceLock<Fingerprint>,
}

impl Content {
    /// SHA-256 over the bytes.
    pub(crate) fn sha256(&self) -> Fingerprint {
        *self.0.sha256.get_or_init(|| Fingerprint::of(&self.0.bytes))
    }

    /// Whether the two share their bytes in memory: then they are equal, and stay so.
    pub(crate) fn is_shared_with(&self, other: &Content) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Overwrites the bytes in memory, unless another clone still needs them.
    pub(crate) fn wipe(&mut self) {
        if let Some(alone) = Arc::get_mut(&mut self.0) {
            alone.bytes.zeroize();
        }
    }

    /// Where the bytes are in memory: the same for all that share them, while one of these exists.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content(Arc::new(HashedBytes { bytes, sha256: OnceLock::new() }))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.is_shared_with(other) || **self == **other
    }
}

impl Eq for Content {}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they end up in messages.
        write!(f, "Content({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_equal_whether_they_are_shared_or_not() {
        let one = Content::from(b"abc".to_vec());
        let (shared, other) = (one.clone(), Content::from(b"abc".to_vec()));
        assert!(one.is_shared_with(&shared) && one.address() == shared.address());
        assert!(!one.is_shared_with(&other));
        assert_eq!((&one, one.sha256()), (&other, Fingerprint::of(b"abc")));
        assert_ne!(one, Content::from(b"abd".to_vec()));
    }

    #[test]
    fn bytes_that_nobody_else_needs_are_wiped() {
        let mut one = Content::from(b"key".to_vec());
        let mut shared = one.clone();
        shared.wipe();
        assert_eq!(&*one, b"key");
        drop(shared);
        one.wipe();
        assert_eq!(&*one, b"");
    }
}
