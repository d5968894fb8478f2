//! The two changes of a pair of databases: a root is added, and removed again.

use super::database::ObjectRow;
use super::former::FormerTrust;
use super::{
    Databases, Former, MAX_ID, NssRefusal, Result, SettingsSignature, There, attributes, levels, objects,
    preferred_id,
};
use crate::pki::cert::Certificate;

impl Databases {
    /// Makes these databases trust the certificate. Returns what was there before.
    pub(super) fn set(&mut self, certificate: &Certificate, nickname: &str, there: There) -> Result<Former> {
        let mut former = Former::new(!there.certificates.is_empty());
        if !former.certificate {
            let id = self.cert9.free_id(preferred_id(certificate), &self.key4)?;
            self.cert9.insert(&objects::certificate(id, certificate, nickname))?;
        }
        for row in &there.trust {
            let believed = self.is_signed(row)? != SettingsSignature::Invalid;
            former.trust.push(FormerTrust::new(row, &self.key4.signatures(row.id)?, believed));
            // A new number; the signatures of the old one stay: so either `cert9.db` is valid with this `key4.db`.
            let changed = objects::trusting(row, certificate);
            let id = self.cert9.free_id(preferred_id(certificate) % MAX_ID + 1, &self.key4)?;
            self.cert9.delete(row.id)?;
            self.write(&ObjectRow { id, ..changed })?;
        }
        let is_own = |row: &ObjectRow| row.number(attributes::CLASS) == Some(attributes::CLASS_NSS_TRUST);
        if !there.trust.iter().any(is_own) {
            let id = self.cert9.free_id(preferred_id(certificate) % MAX_ID + 1, &self.key4)?;
            self.write(&objects::trust(id, certificate))?;
        }
        Ok(former)
    }

    /// Undoes that: what was there before is restored, as far as it trusts no more than what is there now.
    pub(super) fn unset(
        &mut self,
        certificate: &Certificate,
        former: Option<&Former>,
        there: There,
    ) -> Result<()> {
        let stays = former.is_some_and(|former| former.certificate);
        let gone = if stays { &[][..] } else { &there.certificates[..] };
        // Trust settings are found by issuer and serial number: those of another certificate stay.
        let settings = if there.another { &[][..] } else { &there.trust[..] };
        for row in gone.iter().chain(settings) {
            self.cert9.delete(row.id)?;
            self.key4.delete_signatures(row.id)?;
        }
        // If its owner has removed the certificate since, its former trust is removed as well.
        if there.certificates.is_empty() || there.another {
            return Ok(());
        }
        let mut restored = Vec::new();
        for former in former.iter().flat_map(|former| &former.trust) {
            let Some(mut row) = former.row() else { return Err(NssRefusal::Former) };
            // The state may be forged: it never trusts more than what is there (threat T34).
            let lowered = levels::lowered(&row, &there.trust, certificate);
            let is_as_it_was = lowered == row;
            row = lowered;
            let signatures = former.signatures();
            if !self.cert9.has(row.id)? {
                self.key4.delete_signatures(row.id)?;
            }
            let id = self.cert9.free_id(row.id, &self.key4)?;
            let moved = id != row.id;
            row.id = id;
            self.cert9.insert(&row)?;
            if !moved && is_as_it_was && self.key4.has_meta_data() {
                for (attribute, signature) in &signatures {
                    self.key4.insert_signature(id, *attribute, signature)?;
                }
            }
            if former.believed || !is_as_it_was {
                restored.push(row);
            }
        }
        self.afford(&restored)?;
        // NSS accepts again what it accepted before, even if a password was set or changed since.
        for row in &restored {
            if self.is_signed(row)? == SettingsSignature::Invalid {
                self.sign(row)?;
            }
        }
        Ok(())
    }
}
