//! The table of options that several commands or the file know; those of an enrollment method are beside the method
//! (`certificate/issue/methods`), those of a single command beside the command (`cli`).

mod ca;
mod global;
mod key_pair;
mod renewal;
mod trust;

use super::Row;
use crate::duration;
use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;

pub(crate) use self::ca::*;
pub(crate) use self::global::*;
pub(crate) use self::key_pair::*;
pub(crate) use self::renewal::*;
pub(crate) use self::trust::*;

/// All of them.
pub(crate) static ALL: &[&dyn Row] = &[
    &SYSROOT,
    &PRIVATE_DIR,
    &ALLOW_SHARED_DIRECTORY,
    &DRY_RUN,
    &TIMEOUT,
    &WAIT,
    &CONFIG,
    &ALLOW_SHARED_CONFIG,
    &COMMAND,
    &CA_URL,
    &ROOT_URL,
    &BUNDLE_URL,
    &CA_FILE,
    &FINGERPRINT,
    &BUNDLE_SHA256,
    &CA_ROOT,
    &CACHE,
    &PUBLISHED_CA_URL,
    &PUBLISHED_CA_FINGERPRINT,
    &PUBLISHED_BUNDLE_URL,
    &DEFAULT_PROVISIONER,
    &REQUIRE_PIN,
    &ALL_ROOTS,
    &REQUIRE_FRESH,
    &ALLOW_EXPIRED,
    &ALLOW_INTERMEDIATE,
    &ALLOW_ROLLBACK,
    &NAME,
    &REQUIRE_SYSTEM,
    &STORES,
    &STRICT,
    &CREATE_JAVA,
    &CREATE_NSS,
    &UPDATER,
    &REPAIR,
    &WITH_WEB_PKI,
    &CA_OUT,
    &FIREFOX_POLICY,
    &JAVA_STOREPASS_FILE,
    &NSS_PASSWORD_FILE,
    &NSS_USER,
    &NSS_DB,
    &NAMES,
    &CERT,
    &KEY,
    &CHAIN,
    &OWNER,
    &CERT_MODE,
    &KEY_MODE,
    &LAYOUT,
    &KEY_TYPE,
    &NOT_AFTER,
    &FORCE,
    &ALLOW_EXTRA_NAMES,
    &ISSUER_ROOT,
    &DUE,
    &REKEY,
    &NO_MTLS,
    &EXIT_WHEN_EXPIRED,
    &REFRESH_TRUST,
    &INSTALL_TIMER,
    &REMOVE_TIMER,
    &DAEMON,
    &CHECK,
    &NOT_DUE_EXIT,
    &METRICS,
    &LISTEN,
    &LOG_FORMAT,
];

pub(crate) fn a_duration(text: &str) -> Result<std::time::Duration> {
    duration::parse(text).map_err(Error::usage)
}

fn a_fingerprint(text: &str) -> Result<Fingerprint> {
    text.parse()
}
