//! Bytes only: certificates, keys, tokens and the formats of trust stores. Nothing here knows a file, the clock or the
//! environment.

pub mod cert;
pub mod fingerprint;
pub mod jose;
pub mod key;
pub mod keystore;
pub mod nss;
