//! The keystores that Java opens by default, without a password: each file is parsed once, whoever asks.

use std::rc::Rc;

use crate::pki::fingerprint::Fingerprint;
use crate::pki::keystore::{Keystore, KeystoreFormat, KeystoreProblem};
use crate::rootfs::content::Content;
use crate::trust::view::View;

/// A keystore that was parsed, or why it cannot be changed.
pub(crate) struct OpenedCacerts(pub(crate) Result<Keystore, KeystoreProblem>);

/// What Java trusts in a file, or why it cannot be read.
pub(crate) struct TrustedByJava(pub(crate) Result<Vec<Fingerprint>, KeystoreProblem>);

/// The keystore in these bytes, as [`Keystore::parse_cacerts`] opens it.
pub(crate) fn open(view: &View, content: &Content) -> Rc<OpenedCacerts> {
    view.derive(content, |content| OpenedCacerts(Keystore::parse_cacerts_with(content, view.parsed())))
}

/// The roots that Java trusts in these bytes, as [`Keystore::trusted_without_password`] finds them.
pub(crate) fn trusted(view: &View, content: &Content) -> Rc<TrustedByJava> {
    if let Ok(keystore) = &open(view, content).0
        && keystore.format() == KeystoreFormat::Jks
    {
        return view.derive(content, |_| TrustedByJava(Ok(keystore.fingerprints())));
    }
    view.derive(content, |content| TrustedByJava(Keystore::trusted_without_password(content)))
}
