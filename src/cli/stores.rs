//! Options for Java's keystores and NSS databases, the same in every command that inspects them.

use crate::settings::Taken;
use crate::settings::rows::{JAVA_STOREPASS_FILE, NSS_DB, NSS_PASSWORD_FILE, NSS_USER};

const HEADING: &str = "Java keystores and NSS databases";

pub(super) const JAVA_PASSWORD: Taken = JAVA_STOREPASS_FILE.taken().under(HEADING);
pub(super) const NSS_PASSWORD: Taken = NSS_PASSWORD_FILE.taken().under(HEADING);
pub(super) const USERS: Taken = NSS_USER.taken().under(HEADING);
pub(super) const DATABASES: Taken = NSS_DB.taken().under(HEADING);
