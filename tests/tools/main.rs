//! Ring 2: our own formats beside the real tools that own them. Needs Debian packages (each test names its own),
//! so every test is ignored unless `./test` runs it. Writes only below temporary directories; the tools get a
//! cleared environment, because `SSL_CERT_FILE` and the like are often exported.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests drive the real world, and may panic"
)]

use trustup_test_support as support;

mod browsers;
mod certificate_files;
mod environment;
mod from_outside;
mod hints_about_keys;
mod hints_followed;
mod hints_of_files;
mod hints_of_pairs;
mod hints_of_places;
mod hints_of_starts;
mod keys;
mod keystore;
mod metrics;
mod nss;
mod odd_certificates;
mod openssl;
mod process;
mod proxies;
mod readers;
mod refused_calls;
mod signatures;
mod smuggled_root;
mod spoiled_bundles;
mod subject_hash;
mod systemd;
mod wrong_input;
mod wrong_secrets;
