//! The one table of distributions, and the pure function that chooses a row of it.
//!
//! A row names what os-release says, the updater whose files the family has, and how it is proven. A new
//! distribution is a row here and a folder in `distro-fixtures/`; nothing else asks which distribution it is.

use crate::cert::Purpose;
use crate::trust::os_release::Release;
use crate::trust::p11_format::Format;
use crate::trust::updater::bundle::Bundles;
use crate::trust::updater::ca_certificates::{CaCertificates, Hashing};
use crate::trust::updater::p11_kit::{Copies, Extract, Hashed, P11Kit};
use crate::trust::updater::pem_directory::PemDirectory;
use crate::trust::updater::private::PrivateStore;
use crate::trust::updater::{NativeTool, Updater};

/// A row of the table.
#[derive(Debug)]
pub struct Distro {
    /// The row's name in messages, JSON and state.
    pub id: &'static str,
    /// What people call the family.
    pub name: &'static str,
    /// The values of os-release's `ID` (lower case) that choose this row; `ID_LIKE` is held against the same list.
    pub ids: &'static [&'static str],
    /// Which files the family has and what its tool does with them.
    pub updater: &'static dyn Updater,
    /// How to get the family's native tool; empty where there is none.
    pub install_hint: &'static str,
    /// How the row is proven, for the listing.
    pub proof: Proof,
}

/// How a row is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Against the distribution's own tool in a real root file system.
    RealTool,
    /// The same tool as a proven row's, and a fixture of this distribution's image.
    SameTool(&'static str),
    /// With programs that read the result, in a real container; there is no native tool to compare with.
    RealClients,
}

impl Proof {
    /// The proof in a few words, for `detect --list` and the README.
    pub fn describe(self) -> String {
        match self {
            Proof::RealTool => "real tool, file for file".to_owned(),
            Proof::SameTool(row) => format!("fixture; same tool as {row}"),
            Proof::RealClients => "real clients in a container".to_owned(),
        }
    }
}

/// Debian's `update-ca-certificates`, a shell script of package ca-certificates (read in 20230311 and 20250419).
static DEBIAN: CaCertificates = CaCertificates {
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
        // Without openssl it exits 127 half-way, with a link made and no bundle written.
        needs: &["openssl"],
        leftovers: &["/etc/ssl/certs/ca-certificates.crt.new"],
        links: &[],
    },
};

/// Alpine's `update-ca-certificates`, a C program of package ca-certificates; its hook runs its C `c_rehash`.
static ALPINE: CaCertificates = CaCertificates {
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
    },
};

/// Red Hat's `update-ca-trust`, a shell script of package ca-certificates (read in 2024.2.69): `p11-kit extract` once
/// for each output.
static RED_HAT: P11Kit = P11Kit {
    admin: "/etc/pki/ca-trust/source",
    anchors: "/etc/pki/ca-trust/source/anchors",
    vendor: "/usr/share/pki/ca-trust-source",
    extracted: "/etc/pki/ca-trust/extracted",
    extracts: &[
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::ServerAuth),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::EmailProtection),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::CodeSigning),
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
            format: Format::CommentedTrustedPem,
            purpose: None,
        },
        Extract {
            path: "/etc/pki/ca-trust/extracted/edk2/cacerts.bin",
            format: Format::Edk2,
            purpose: Some(Purpose::ServerAuth),
        },
    ],
    hashed: &[Hashed {
        path: "/etc/pki/ca-trust/extracted/pem/directory-hash",
        format: Format::PlainPem,
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
        // No word at all: the old script ignores `extract`, the new one takes nothing else, both extract without.
        arguments: &[],
        fresh_arguments: &[],
        needs: &["trust"],
        leftovers: &[],
        links: &[],
    },
};

/// Arch's `update-ca-trust` (package ca-certificates-utils), the same idea with other paths and links by name as well.
static ARCH: P11Kit = P11Kit {
    admin: "/etc/ca-certificates/trust-source",
    anchors: "/etc/ca-certificates/trust-source/anchors",
    vendor: "/usr/share/ca-certificates/trust-source",
    extracted: "/etc/ca-certificates/extracted",
    extracts: &[
        Extract {
            path: "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::ServerAuth),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/email-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::EmailProtection),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/objsign-ca-bundle.pem",
            format: Format::CommentedPem,
            purpose: Some(Purpose::CodeSigning),
        },
        Extract {
            path: "/etc/ca-certificates/extracted/ca-bundle.trust.crt",
            format: Format::CommentedTrustedPem,
            purpose: None,
        },
        Extract {
            path: "/etc/ca-certificates/extracted/edk2-cacerts.bin",
            format: Format::Edk2,
            purpose: Some(Purpose::ServerAuth),
        },
    ],
    hashed: &[Hashed {
        path: "/etc/ca-certificates/extracted/cadir",
        format: Format::PlainPem,
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
    },
};

/// SUSE's `update-ca-certificates`, a shell script of package ca-certificates (read in 2026) that shares nothing but its
/// name with Debian's: it runs `*.run` hooks, each of which extracts one output.
static SUSE: P11Kit = P11Kit {
    admin: "/etc/pki/trust",
    anchors: "/etc/pki/trust/anchors",
    vendor: "/usr/share/pki/trust",
    extracted: "/var/lib/ca-certificates",
    extracts: &[Extract {
        path: "/var/lib/ca-certificates/ca-bundle.pem",
        format: Format::PlainPem,
        purpose: Some(Purpose::ServerAuth),
    }],
    hashed: &[
        Hashed {
            path: "/var/lib/ca-certificates/pem",
            format: Format::PlainPem,
            purpose: Some(Purpose::ServerAuth),
            copies: None,
        },
        // OpenSSL's own default directory here.
        Hashed {
            path: "/var/lib/ca-certificates/openssl",
            format: Format::TrustedPem,
            purpose: None,
            copies: None,
        },
    ],
    keystore: "/var/lib/ca-certificates/java-cacerts",
    // OpenSSL's default file, and where SUSE's other programs look.
    links: &["/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"],
    tool: NativeTool {
        program: "update-ca-certificates",
        // Without -f a bundle whose time is later than the directory's is left as it is.
        arguments: &["-f"],
        fresh_arguments: &["-f"],
        needs: &["trust"],
        leftovers: &[],
        links: &[("/etc/ssl/certs", "../../var/lib/ca-certificates/pem")],
    },
};

/// Photon's `rehash_ca_certificates.sh`, a shell script of package openssl-c_rehash (read in openssl 3.0.1 and later): it
/// does all of what package ca-certificates does when it is installed.
static PHOTON: PemDirectory = PemDirectory {
    certs: "/etc/ssl/certs",
    bundle: "/etc/pki/tls/certs/ca-bundle.crt",
    tool: NativeTool {
        program: "rehash_ca_certificates.sh",
        arguments: &[],
        fresh_arguments: &[],
        // Without openssl or find it ends half-way, with the bundle as it was.
        needs: &["bash", "openssl", "find"],
        leftovers: &[],
        links: &[],
    },
};

/// NixOS, and images that say they are: nothing but links to the bundle in the store.
static NIX: Bundles = Bundles {
    primary: "/etc/ssl/certs/ca-certificates.crt",
    links: &["/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"],
};

/// Images with no tool and no place for anchors: the bundles that programs read, and nothing else.
static BUNDLES: Bundles = Bundles {
    primary: "/etc/ssl/certs/ca-certificates.crt",
    // What others look for: OpenSSL's own default on many builds, and Red Hat's and SUSE's names of the bundle.
    links: &["/etc/ssl/cert.pem", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"],
};

/// Every distribution that trustup knows. The last row takes what no other row takes.
pub static DISTROS: &[Distro] = &[
    Distro {
        id: "debian",
        name: "Debian, Ubuntu and derivatives",
        ids: &["debian", "ubuntu", "raspbian", "kali", "linuxmint", "neon", "pika", "devuan", "pop"],
        updater: &DEBIAN,
        install_hint: "apt-get update && apt-get install -y --no-install-recommends ca-certificates",
        proof: Proof::RealTool,
    },
    Distro {
        id: "gentoo",
        name: "Gentoo",
        ids: &["gentoo"],
        updater: &DEBIAN,
        install_hint: "emerge app-misc/ca-certificates",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "void",
        name: "Void",
        ids: &["void"],
        updater: &DEBIAN,
        install_hint: "xbps-install -S ca-certificates",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "alpine",
        name: "Alpine, Alpaquita",
        ids: &["alpine", "alpaquita"],
        updater: &ALPINE,
        install_hint: "apk add --no-cache ca-certificates",
        proof: Proof::RealTool,
    },
    Distro {
        id: "wolfi",
        name: "Wolfi, Chainguard, MinimOS",
        ids: &["wolfi", "chainguard", "minimos"],
        updater: &ALPINE,
        install_hint: "apk add --no-cache ca-certificates",
        proof: Proof::SameTool("alpine"),
    },
    Distro {
        id: "red-hat",
        name: "RHEL, UBI, Fedora, CentOS, Rocky, Alma, Oracle, Amazon, openEuler, Azure Linux",
        ids: &[
            "rhel",
            "fedora",
            "centos",
            "rocky",
            "almalinux",
            "ol",
            "amzn",
            "openeuler",
            "opencloudos",
            "mariner",
            "azurelinux",
        ],
        updater: &RED_HAT,
        install_hint: "dnf install -y ca-certificates p11-kit-trust",
        proof: Proof::RealTool,
    },
    Distro {
        id: "arch",
        name: "Arch and its relatives",
        ids: &["arch", "archarm", "artix", "cachyos", "manjaro", "manjaro-arm", "endeavouros"],
        updater: &ARCH,
        install_hint: "pacman -S --noconfirm ca-certificates-utils",
        proof: Proof::RealTool,
    },
    Distro {
        id: "photon",
        name: "Photon",
        ids: &["photon"],
        updater: &PHOTON,
        install_hint: "tdnf install -y ca-certificates openssl-c_rehash",
        proof: Proof::RealTool,
    },
    Distro {
        id: "nix",
        name: "NixOS",
        ids: &["nixos"],
        updater: &NIX,
        install_hint: "",
        proof: Proof::RealClients,
    },
    Distro {
        id: "suse",
        name: "openSUSE, SUSE Linux Enterprise, BCI",
        ids: &[
            "suse",
            "opensuse",
            "opensuse-leap",
            "opensuse-leap-micro",
            "opensuse-tumbleweed",
            "opensuse-slowroll",
            "opensuse-microos",
            "opensuse-aeon",
            "opensuse-kalpa",
            "sles",
            "sles_sap",
            "sled",
            "sle_hpc",
            "sle-micro",
            "sl-micro",
        ],
        updater: &SUSE,
        install_hint: "zypper --non-interactive install ca-certificates ca-certificates-mozilla",
        proof: Proof::RealTool,
    },
    Distro {
        id: "bundle-only",
        name: "BusyBox, scratch, Nix images, everything unknown",
        ids: &[],
        updater: &BUNDLES,
        install_hint: "",
        proof: Proof::RealClients,
    },
];

/// No distribution: the private store of a user who cannot write the system's stores.
pub static PRIVATE: Distro = Distro {
    id: "private",
    name: "private stores",
    ids: &[],
    updater: &PrivateStore,
    install_hint: "",
    proof: Proof::RealClients,
};

/// The row for this os-release and why it was chosen: `ID` first, then `ID_LIKE` in its order; no or an unknown
/// os-release is "bundle-only". Nothing else counts: directories of other families lie around in real images.
pub fn choose(release: Option<&Release>) -> (&'static Distro, String) {
    let fallback = &DISTROS[DISTROS.len() - 1];
    let Some(release) = release else {
        return (fallback, "there is no os-release".to_owned());
    };
    if let Some(row) = row_of(&release.id) {
        return (row, format!("ID={} in {}", release.id, release.file));
    }
    for like in &release.id_like {
        if let Some(row) = row_of(like) {
            return (row, format!("ID_LIKE names {like} in {}", release.file));
        }
    }
    let id = if release.id.is_empty() { "no ID".to_owned() } else { format!("unknown ID={}", release.id) };
    (fallback, format!("{id} in {}", release.file))
}

/// The row with this name, for state written by an earlier run; a private store has its own row and no other.
pub fn by_id(id: &str, is_private: bool) -> Option<&'static Distro> {
    let rows = if is_private { std::slice::from_ref(&PRIVATE) } else { DISTROS };
    rows.iter().find(|row| row.id == id)
}

fn row_of(id: &str) -> Option<&'static Distro> {
    DISTROS.iter().find(|row| row.ids.contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, like: &[&str]) -> &'static str {
        let release = Release {
            id: id.to_owned(),
            id_like: like.iter().map(|&id| id.to_owned()).collect(),
            ..Release::default()
        };
        choose(Some(&release)).0.id
    }

    #[test]
    fn id_wins_over_id_like_and_the_nearest_like_wins() {
        assert_eq!(row("ubuntu", &["debian"]), "debian");
        assert_eq!(row("made-up", &["ubuntu", "debian"]), "debian");
        assert_eq!(row("alpaquita", &["alpine"]), "alpine");
        assert_eq!(row("made-up", &["also-made-up", "wolfi"]), "wolfi");
        assert_eq!(row("opensuse-made-up", &["opensuse", "suse"]), "suse");
        assert_eq!(row("made-up", &[]), "bundle-only");
        assert_eq!(choose(None).0.id, "bundle-only");
    }

    #[test]
    fn no_id_stands_in_two_rows_and_all_are_lower_case() {
        let mut ids: Vec<_> = DISTROS.iter().flat_map(|row| row.ids).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(ids.iter().all(|id| id.to_lowercase() == **id));
    }
}
