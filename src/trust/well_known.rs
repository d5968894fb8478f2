//! The paths at which programs look for the system's root certificates: one list, in the order of Go's `crypto/x509`
//! (root_linux.go). Whether a file exists, and what it contains, is decided elsewhere.

/// Bundles: PEM files with every root. Debian; Fedora and Red Hat; openSUSE; OpenELEC; Red Hat 7 and newer; Alpine;
/// then the paths that rustls-native-certs and others add, and last the copies that only one program reads (kaniko's
/// executor, Amazon ECS's exec agent).
pub(crate) const BUNDLES: [&str; 11] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl1.1/cert.pem",
    "/kaniko/ssl/certs/ca-certificates.crt",
    "/var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem",
];

/// The bundles that Go looks for, in its order.
pub(crate) fn bundles_of_go() -> &'static [&'static str] {
    &BUNDLES[..6]
}

/// The bundles whose names are compiled into libraries.
pub(crate) fn compiled_in_bundles() -> &'static [&'static str] {
    &BUNDLES[..7]
}

/// The bundles that more than one program reads.
pub(crate) fn widely_read_bundles() -> &'static [&'static str] {
    &BUNDLES[..9]
}

/// Directories of single certificates, which Go reads if there is no bundle.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
