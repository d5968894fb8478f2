//! The crates of a Rust program that lists them: the section `.dep-v0` of cargo-auditable, JSON compressed with zlib. They
//! decide which library verifies servers, and which roots it reads. A program without that list shows neither.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::elf::Elf;

/// Compressed, the largest list has 30 KiB.
const LIMIT: u64 = 1024 * 1024;
/// As JSON, at most.
const TEXT_LIMIT: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct AuditList {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// `build` for what only the build used.
    #[serde(default)]
    kind: Option<String>,
}

/// The names of the crates that are in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Crates(BTreeSet<String>);

/// Where a Rust program's roots come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CrateRoots {
    /// Mozilla's, inside it.
    CompiledIn,
    /// The system's, as rustls-native-certs finds them.
    System,
    /// It has the crates for both, and the code decides.
    Either,
    /// It has neither: the code names its roots.
    Own,
}

/// What the crates say of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RustTls {
    /// There is none.
    None,
    /// rustls.
    Rustls(CrateRoots),
    /// OpenSSL, whose places openssl-probe finds or not.
    OpenSsl {
        /// It is inside the program.
        is_inside: bool,
        /// openssl-probe names the places.
        is_probed: bool,
    },
    /// Another library.
    Other,
    /// More than one: the code decides.
    Several,
}

impl Crates {
    /// Reads the list; `None` if the program has none.
    pub(super) fn read(elf: &Elf) -> Option<Crates> {
        Crates::of(&elf.section(".dep-v0", LIMIT)?)
    }

    fn of(bytes: &[u8]) -> Option<Crates> {
        let text = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(bytes, TEXT_LIMIT).ok()?;
        let list: AuditList = serde_json::from_slice(&text).ok()?;
        let in_program = list.packages.into_iter().filter(|package| package.kind.as_deref() != Some("build"));
        Some(Crates(in_program.map(|package| package.name).collect()))
    }

    /// The TLS in them.
    pub(super) fn tls(&self) -> RustTls {
        let has = |name: &str| self.0.contains(name);
        let has_rustls = has("rustls");
        let has_openssl = has("openssl") || has("openssl-sys") && (has("native-tls") || has("curl-sys"));
        let has_other =
            has("boring-sys") || has("s2n-tls-sys") || has("wolfssl-sys") || has("mbedtls-sys-auto");
        match (has_rustls, has_openssl, has_other) {
            (false, false, false) => RustTls::None,
            (true, false, false) => RustTls::Rustls(
                match (
                    has("webpki-roots") || has("webpki-root-certs"),
                    has("rustls-native-certs") || has("rustls-platform-verifier"),
                ) {
                    (true, false) => CrateRoots::CompiledIn,
                    (false, true) => CrateRoots::System,
                    (true, true) => CrateRoots::Either,
                    (false, false) => CrateRoots::Own,
                },
            ),
            (false, true, false) => {
                RustTls::OpenSsl { is_inside: has("openssl-src"), is_probed: has("openssl-probe") }
            }
            (false, false, true) => RustTls::Other,
            _ => RustTls::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Crates {
        let packages: Vec<_> = names
            .iter()
            .map(|name| match name.strip_prefix("build:") {
                Some(name) => serde_json::json!({ "name": name, "version": "1.0.0", "kind": "build" }),
                None => serde_json::json!({ "name": name, "version": "1.0.0", "source": "crates.io" }),
            })
            .collect();
        let text = serde_json::json!({ "packages": packages }).to_string();
        Crates::of(&miniz_oxide::deflate::compress_to_vec_zlib(text.as_bytes(), 6)).unwrap()
    }

    #[test]
    fn crates_decide_which_roots() {
        let tls = |names: &[&str]| list(names).tls();
        assert_eq!(tls(&["serde", "build:rustls"]), RustTls::None);
        assert_eq!(tls(&["rustls", "webpki-roots"]), RustTls::Rustls(CrateRoots::CompiledIn));
        assert_eq!(tls(&["rustls", "rustls-platform-verifier"]), RustTls::Rustls(CrateRoots::System));
        assert_eq!(
            tls(&["rustls", "webpki-roots", "rustls-native-certs"]),
            RustTls::Rustls(CrateRoots::Either)
        );
        assert_eq!(tls(&["rustls"]), RustTls::Rustls(CrateRoots::Own));
        let native = ["native-tls", "openssl", "openssl-sys", "openssl-probe", "build:openssl-src"];
        assert_eq!(tls(&native), RustTls::OpenSsl { is_inside: false, is_probed: true });
        assert_eq!(tls(&["rustls", "openssl"]), RustTls::Several);
        assert_eq!(tls(&["boring-sys"]), RustTls::Other);
        // A hash needs no TLS.
        assert_eq!(tls(&["openssl-sys"]), RustTls::None);
    }

    #[test]
    fn damaged_lists_are_none() {
        for bytes in [&b""[..], b"not zlib", &miniz_oxide::deflate::compress_to_vec_zlib(b"{}", 6)] {
            assert_eq!(Crates::of(bytes), None);
        }
        // What would be larger than allowed is not unpacked (threat T36).
        let large = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; TEXT_LIMIT + 1], 6);
        assert!(large.len() < 64 * 1024 && Crates::of(&large).is_none());
    }
}
