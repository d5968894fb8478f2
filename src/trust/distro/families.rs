//! What each family's update program reads and writes, as data: the rows of the table name these.

use crate::pki::cert::Purpose;
use crate::trust::p11_format::P11Format;
use crate::trust::updater::NativeTool;
use crate::trust::updater::bundle::Bundles;
use crate::trust::updater::ca_certificates::{CaCertificates, Hashing};
use crate::trust::updater::p11_kit::{Copies, Extract, Hashed, P11Kit};
use crate::trust::updater::pem_directory::PemDirectory;

/// Debian's `update-ca-certificates`, a shell script of package ca-certificates (read in 20230311 and 20250419).
pub(super) static DEBIAN: CaCertificates = CaCertificates {
    conf: "/etc/ca-certificates.conf",
    vendor: "/usr/share/ca-certificates",
    local: "/usr/local/share/ca-certificates",
    sorted: true,
    recursive: true,
    extension: Some(".crt"),
    certs: "/etc/ssl/certs",
    bundle: "/etc/ssl/certs/ca-certificates.crt",
    bundle_links: &[],
    link_prefix: "",
    always_newline: false,
    hashing: Hashing::OpensslRehash,
    tool: NativeTool {
        program: "update-ca-certificates",
        arguments: &[],
        // Without --fresh the script leaves the old hash links of a removed or replaced file dangling.
        fresh_arguments: &["--fresh"],
        // Without openssl it exits 127 midway, with a link made and no bundle written.
        needs: &["openssl"],
        leftovers: &["/etc/ssl/certs/ca-certificates.crt.new"],
        links: &[],
        // A package adds one for Java's keystore or Mono's: what those do is theirs.
        hooks: &["/etc/ca-certificates/update.d"],
        known_hooks: &[],
    },
};

/// Alpine's `update-ca-certificates`, a C program of package ca-certificates; its hook runs its C `c_rehash`.
pub(super) static ALPINE: CaCertificates = CaCertificates {
    conf: "/etc/ca-certificates.conf",
    vendor: "/usr/share/ca-certificates",
    local: "/usr/local/share/ca-certificates",
    sorted: false,
    recursive: false,
    extension: None,
    certs: "/etc/ssl/certs",
    bundle: "/etc/ssl/certs/ca-certificates.crt",
    // OPENSSLDIR is /etc/ssl; package ca-certificates-bundle ships this link.
    bundle_links: &["/etc/ssl/cert.pem"],
    link_prefix: "ca-cert-",
    always_newline: true,
    hashing: Hashing::CRehash,
    tool: NativeTool {
        program: "update-ca-certificates",
        arguments: &[],
        fresh_arguments: &[],
        needs: &[],
        leftovers: &[],
        links: &[],
        hooks: &["/etc/ca-certificates/update.d"],
        known_hooks: &[(
            "/etc/ca-certificates/update.d/certhash",
            Some("#!/bin/sh\nexec /usr/bin/c_rehash /etc/ssl/certs\n"),
        )],
    },
};

/// Red Hat's `update-ca-trust`, a shell script of package ca-certificates (read in 2024.2.69): `p11-kit extract` once
/// for each output.
pub(super) static RED_HAT: P11Kit = P11Kit {
    admin: "/etc/pki/ca-trust/source",
    anchors: "/etc/pki/ca-trust/source/anchors",
    vendor: "/usr/share/pki/ca-trust-source",
    extracted: "/etc/pki/ca-trust/extracted",
    extracts: &[
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::ServerAuth),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::EmailProtection),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::CodeSigning),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
            format: P11Format::CommentedTrustedPem,
            purpose: None,
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/edk2/cacerts.bin",
            format: P11Format::Edk2,
            purpose: Some(Purpose::ServerAuth),
        },
    ],
    hashed: &[Hashed {
        path: "/etc/pki/ca-trust/extracted/pem/directory-hash",
        format: P11Format::PlainPem,
        purpose: Some(Purpose::ServerAuth),
        copies: Some(Copies { directory: "/etc/pki/tls/certs", names: false, absolute: true }),
    }],
    keystore: "/etc/pki/ca-trust/extracted/java/cacerts",
    links: &[
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/tls/cert.pem",
        "/etc/ssl/certs/ca-certificates.crt",
    ],
    tool: NativeTool {
        program: "update-ca-trust",
        // No argument: the old script ignores `extract`, the new one accepts nothing else; both extract without it.
        arguments: &[],
        fresh_arguments: &[],
        needs: &["trust"],
        leftovers: &[],
        links: &[],
        hooks: &[],
        known_hooks: &[],
    },
};

/// Arch's `update-ca-trust` (package ca-certificates-utils), the same idea with other paths and links by name as well.
pub(super) static ARCH: P11Kit = P11Kit {
    admin: "/etc/ca-certificates/trust-source",
    anchors: "/etc/ca-certificates/trust-source/anchors",
    vendor: "/usr/share/ca-certificates/trust-source",
    extracted: "/etc/ca-certificates/extracted",
    extracts: &[
        Extract {
            path: "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::ServerAuth),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/email-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::EmailProtection),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/objsign-ca-bundle.pem",
            format: P11Format::CommentedPem,
            purpose: Some(Purpose::CodeSigning),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/ca-bundle.trust.crt",
            format: P11Format::CommentedTrustedPem,
            purpose: None,
        },
        Extract {
            path: "/etc/ca-certificates/extracted/edk2-cacerts.bin",
            format: P11Format::Edk2,
            purpose: Some(Purpose::ServerAuth),
        },
    ],
    hashed: &[Hashed {
        path: "/etc/ca-certificates/extracted/cadir",
        format: P11Format::PlainPem,
        purpose: Some(Purpose::ServerAuth),
        copies: Some(Copies { directory: "/etc/ssl/certs", names: true, absolute: false }),
    }],
    keystore: "/etc/ca-certificates/extracted/java-cacerts.jks",
    links: &["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"],
    tool: NativeTool {
        program: "update-ca-trust",
        arguments: &[],
        fresh_arguments: &[],
        needs: &["trust"],
        leftovers: &[],
        links: &[],
        hooks: &[],
        known_hooks: &[],
    },
};

/// SUSE's `update-ca-certificates`, a shell script of package ca-certificates (read in 2026) that shares only its name
/// with Debian's: it runs `*.run` hooks, each of which extracts one output.
pub(super) static SUSE: P11Kit = P11Kit {
    admin: "/etc/pki/trust",
    anchors: "/etc/pki/trust/anchors",
    vendor: "/usr/share/pki/trust",
    extracted: "/var/lib/ca-certificates",
    extracts: &[Extract {
        path: "/var/lib/ca-certificates/ca-bundle.pem",
        format: P11Format::PlainPem,
        purpose: Some(Purpose::ServerAuth),
    }],
    hashed: &[
        Hashed {
            path: "/var/lib/ca-certificates/pem",
            format: P11Format::PlainPem,
            purpose: Some(Purpose::ServerAuth),
            copies: None,
        },
        // OpenSSL's own default directory here.
        Hashed {
            path: "/var/lib/ca-certificates/openssl",
            format: P11Format::TrustedPem,
            purpose: None,
            copies: None,
        },
    ],
    keystore: "/var/lib/ca-certificates/java-cacerts",
    // OpenSSL's default file, and where SUSE's other programs read the bundle.
    links: &["/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"],
    tool: NativeTool {
        program: "update-ca-certificates",
        // Without -f a bundle whose time is later than the directory's is left as it is.
        arguments: &["-f"],
        fresh_arguments: &["-f"],
        needs: &["trust"],
        leftovers: &[],
        links: &[("/etc/ssl/certs", "../../var/lib/ca-certificates/pem")],
        hooks: &["/usr/lib/ca-certificates/update.d", "/etc/ca-certificates/update.d"],
        known_hooks: &[
            ("/usr/lib/ca-certificates/update.d/50java.run", None),
            ("/usr/lib/ca-certificates/update.d/70openssl.run", None),
            ("/usr/lib/ca-certificates/update.d/80etc_ssl.run", None),
            ("/usr/lib/ca-certificates/update.d/99certbundle.run", None),
        ],
    },
};

/// Photon's `rehash_ca_certificates.sh`, a shell script of package openssl-c_rehash (read in openssl 3.0.1 and later):
/// it does all that package ca-certificates does when it is installed.
pub(super) static PHOTON: PemDirectory = PemDirectory {
    certs: "/etc/ssl/certs",
    bundle: "/etc/pki/tls/certs/ca-bundle.crt",
    tool: NativeTool {
        program: "rehash_ca_certificates.sh",
        arguments: &[],
        fresh_arguments: &[],
        // Without openssl or find it ends midway, with the bundle unchanged.
        needs: &["bash", "openssl", "find"],
        leftovers: &[],
        links: &[],
        hooks: &[],
        known_hooks: &[],
    },
};

/// NixOS, and images that identify as NixOS: nothing but links to the bundle in the store.
pub(super) static NIX: Bundles = Bundles {
    primary: "/etc/ssl/certs/ca-certificates.crt",
    links: &["/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"],
};

/// Images with no tool and no anchor directory: only the bundles that programs read.
pub(super) static BUNDLES: Bundles = Bundles {
    primary: "/etc/ssl/certs/ca-certificates.crt",
    // What other programs read: OpenSSL's own default on many builds, and Red Hat's and SUSE's names of the bundle.
    links: &["/etc/ssl/cert.pem", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"],
};
