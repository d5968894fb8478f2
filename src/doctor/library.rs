//! Which TLS library verifies servers for a program: it decides the rules, the program only which roots it reads.

/// Major and minor version.
pub(crate) type Version = (u32, u32);

/// The library that verifies a server's certificate for a program, as far as the files show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsLibrary {
    /// OpenSSL.
    OpenSsl {
        /// Of the library; `None`: unknown.
        version: Option<Version>,
        /// The program sets `X509_V_FLAG_X509_STRICT`: CPython since 3.13, and urllib3 since 2.4 with it.
        strict: bool,
        /// It sets `X509_V_FLAG_PARTIAL_CHAIN`: any certificate that it reads may end a chain. curl, and CPython since
        /// 3.13.
        partial_chain: bool,
    },
    /// GnuTLS.
    GnuTls,
    /// NSS, by its own rules.
    Nss,
    /// Firefox: mozilla::pkix on the data of NSS.
    MozillaPkix,
    /// Chromium's own verifier.
    Chromium,
    /// Go's crypto/x509.
    Go {
        /// Of the Go that built the program; `None`: unknown.
        version: Option<Version>,
        /// What of GODEBUG is in force for it (`x509negativeserial=1`): from its build, then from the variable.
        debug: Vec<String>,
    },
    /// rustls with its webpki.
    Rustls,
    /// Java's PKIX.
    Java {
        /// The feature release (17, 21, 25); `None`: unknown.
        release: Option<u32>,
    },
    /// mbed TLS, which has no roots of its own: the program names them.
    MbedTls,
    /// wolfSSL, likewise.
    WolfSsl,
    /// TLS that verifies nothing: the one inside BusyBox.
    Unverified,
    /// It has TLS, and the files do not show which.
    Unknown,
}

impl TlsLibrary {
    /// OpenSSL as most programs use it, with no flag.
    pub(super) fn openssl(version: Option<Version>) -> TlsLibrary {
        TlsLibrary::OpenSsl { version, strict: false, partial_chain: false }
    }

    /// The library of this file name (`libgnutls.so.30`), if it is one for TLS.
    pub(super) fn of_file_name(name: &str) -> Option<TlsLibrary> {
        const NAMES: [(&str, TlsLibrary); 7] = [
            ("libssl.so", TlsLibrary::OpenSsl { version: None, strict: false, partial_chain: false }),
            ("libgnutls.so", TlsLibrary::GnuTls),
            ("libssl3.so", TlsLibrary::Nss),
            ("libnss3.so", TlsLibrary::Nss),
            ("libmbedtls.so", TlsLibrary::MbedTls),
            ("libwolfssl.so", TlsLibrary::WolfSsl),
            ("libaws-lc", TlsLibrary::Unknown),
        ];
        NAMES.into_iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, library)| library)
    }

    /// The same with these flags of OpenSSL; another library stays as it is.
    pub(super) fn with_flags(self, is_strict: bool, is_partial: bool) -> TlsLibrary {
        match self {
            TlsLibrary::OpenSsl { version, .. } => {
                TlsLibrary::OpenSsl { version, strict: is_strict, partial_chain: is_partial }
            }
            other => other,
        }
    }

    /// In words for people.
    pub(crate) fn shown(&self) -> String {
        let numbered = |name: &str, version: Option<Version>| match version {
            Some((major, minor)) => format!("{name} {major}.{minor}"),
            None => name.to_owned(),
        };
        match self {
            TlsLibrary::OpenSsl { version, strict, .. } => {
                let strict = if *strict { " with VERIFY_X509_STRICT" } else { "" };
                format!("{}{strict}", numbered("OpenSSL", *version))
            }
            TlsLibrary::GnuTls => "GnuTLS".to_owned(),
            TlsLibrary::Nss => "NSS".to_owned(),
            TlsLibrary::MozillaPkix => "mozilla::pkix".to_owned(),
            TlsLibrary::Chromium => "Chromium's verifier".to_owned(),
            TlsLibrary::Go { version, .. } => numbered("Go", *version),
            TlsLibrary::Rustls => "rustls".to_owned(),
            TlsLibrary::Java { release: Some(release) } => format!("Java {release}"),
            TlsLibrary::Java { release: None } => "Java".to_owned(),
            TlsLibrary::MbedTls => "mbed TLS".to_owned(),
            TlsLibrary::WolfSsl => "wolfSSL".to_owned(),
            TlsLibrary::Unverified => "TLS that verifies nothing".to_owned(),
            TlsLibrary::Unknown => "an unknown TLS library".to_owned(),
        }
    }
}

/// `3.0` in `3.0.17`, `1.24` in `1.24.4`.
pub(super) fn version(text: &str) -> Option<Version> {
    let number = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part[..digits].parse().ok()
    };
    let mut parts = text.split('.');
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_by_their_file_names() {
        let of = |name| TlsLibrary::of_file_name(name).map(|library| library.shown());
        assert_eq!(of("libssl.so.3").as_deref(), Some("OpenSSL"));
        assert_eq!(of("libssl3.so").as_deref(), Some("NSS"));
        assert_eq!(of("libgnutls.so.30").as_deref(), Some("GnuTLS"));
        // Only hashes, or a terminal: no TLS.
        assert_eq!((of("libcrypto.so.3"), of("libc.so.6"), of("libssh2.so.1")), (None, None, None));
    }

    #[test]
    fn versions_end_where_they_end() {
        assert_eq!(version("3.0.17 1 Jul 2025"), Some((3, 0)));
        assert_eq!(version("1.25rc1"), Some((1, 25)));
        assert_eq!(version("1.1.1w"), Some((1, 1)));
        assert_eq!((version("3"), version(""), version("x.y")), (None, None, None));
    }
}
