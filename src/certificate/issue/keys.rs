//! The keys that a run may get a certificate for: that of the existing pair, and a new one, which is made and saved
//! when the first method needs it.

use super::methods::KeyUse;
use crate::certificate::pending::Pending;
use crate::error::{Error, Result};
use crate::pki::key::{KeyType, PrivateKey};

/// The keys.
pub(super) struct Keys<'a> {
    existing: Option<&'a PrivateKey>,
    /// That of an interrupted run, until one is made.
    new: Option<PrivateKey>,
    /// The kind of a new one.
    new_type: KeyType,
}

impl<'a> Keys<'a> {
    /// Those of the existing pair and of an interrupted run. `wanted`: the kind of a new one; `None` for that of the
    /// existing key.
    ///
    /// # Errors
    /// The saved key cannot be read.
    pub(super) fn new(
        existing: Option<&'a PrivateKey>,
        wanted: Option<KeyType>,
        pending: &Pending,
    ) -> Result<Self> {
        let new_type = wanted.or(existing.and_then(PrivateKey::key_type)).unwrap_or_default();
        Ok(Keys { existing, new: pending.key(wanted)?, new_type })
    }

    /// Whether an interrupted run saved a key.
    pub(super) fn has_saved(&self) -> bool {
        self.new.is_some()
    }

    /// The key for this use; a new one is on disk when this returns.
    ///
    /// # Errors
    /// There is no existing key, or a new one cannot be saved.
    pub(super) fn get(&mut self, key_use: KeyUse, pending: &mut Pending) -> Result<&PrivateKey> {
        if key_use == KeyUse::New && self.new.is_none() {
            let key = PrivateKey::generate(self.new_type)?;
            pending.save_key(&key)?;
            self.new = Some(key);
        }
        self.known(key_use)
    }

    /// The key for this use, if there is one.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn known(&self, key_use: KeyUse) -> Result<&PrivateKey> {
        let key = match key_use {
            KeyUse::Existing => self.existing,
            KeyUse::New => self.new.as_ref(),
        };
        key.ok_or_else(|| Error::failed("there is no key for the certificate"))
    }
}
