//! The one table of distributions, and the pure function that chooses a row of it.
//!
//! A row names the os-release values, the updater of the family's files, and how the row is proven. A new distribution
//! is a row here and a folder in `distro-fixtures/`; no other code asks which distribution it is.

mod families;

use self::families::{ALPINE, ARCH, BUNDLES, DEBIAN, NIX, PHOTON, RED_HAT, SUSE};
use crate::trust::os_release::Release;
use crate::trust::updater::Updater;
use crate::trust::updater::private::PrivateStore;

/// A row of the table.
#[derive(Debug)]
pub struct Distro {
    /// The row's name in messages, JSON and state.
    pub id: &'static str,
    /// The family's common name.
    pub(crate) name: &'static str,
    /// The values of os-release's `ID` (lower case) that choose this row; `ID_LIKE` is compared with the same list.
    pub(crate) ids: &'static [&'static str],
    /// Values of `ID` that several families share, with the prefix of os-release's `NAME` that identifies this one.
    /// They override `ids`.
    pub(crate) named: &'static [(&'static str, &'static str)],
    /// Which files the family has and what its tool does with them.
    pub(crate) updater: &'static dyn Updater,
    /// How to get the family's native tool; empty where there is none.
    pub(crate) install_hint: &'static str,
    /// How the row is proven, for the listing.
    pub(crate) proof: Proof,
}

/// How a row is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Against the distribution's own tool in a real root file system.
    RealTool,
    /// The same tool as a proven row's, and a fixture of this distribution's image.
    SameTool(&'static str),
    /// With programs that read the result, in a real container; there is no native tool to compare with.
    RealClients,
}

impl Proof {
    /// The proof in a few words, for `detect --list` and the README.
    pub(crate) fn describe(self) -> String {
        match self {
            Proof::RealTool => "real tool, file for file".to_owned(),
            Proof::SameTool(row) => format!("fixture; same tool as {row}"),
            Proof::RealClients => "real clients in a container".to_owned(),
        }
    }
}

/// Every distribution that trustup knows. The last row matches what no other row matches.
pub static DISTROS: &[Distro] = &[
    Distro {
        id: "debian",
        name: "Debian, Ubuntu and derivatives, deepin, Kylin and UnionTech desktops",
        // Kylin's and UnionTech's desktops; their servers have the same ID.
        ids: &[
            "debian",
            "ubuntu",
            "raspbian",
            "kali",
            "linuxmint",
            "neon",
            "pika",
            "devuan",
            "pop",
            "deepin",
            "kylin",
            "uos",
        ],
        named: &[],
        updater: &DEBIAN,
        install_hint: "apt-get update && apt-get install -y --no-install-recommends ca-certificates",
        proof: Proof::RealTool,
    },
    Distro {
        id: "gentoo",
        name: "Gentoo",
        ids: &["gentoo"],
        named: &[],
        updater: &DEBIAN,
        install_hint: "emerge app-misc/ca-certificates",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "void",
        name: "Void",
        ids: &["void"],
        named: &[],
        updater: &DEBIAN,
        install_hint: "xbps-install -S ca-certificates",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "slackware",
        name: "Slackware",
        ids: &["slackware"],
        named: &[],
        updater: &DEBIAN,
        install_hint: "slackpkg install ca-certificates openssl",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "yocto",
        name: "Yocto's Poky and OpenEmbedded",
        ids: &["poky", "openembedded", "nodistro"],
        named: &[],
        updater: &DEBIAN,
        install_hint: "IMAGE_INSTALL:append = \" ca-certificates openssl-bin\" in local.conf",
        proof: Proof::SameTool("debian"),
    },
    Distro {
        id: "alpine",
        name: "Alpine, Alpaquita",
        ids: &["alpine", "alpaquita"],
        named: &[],
        updater: &ALPINE,
        install_hint: "apk add --no-cache ca-certificates",
        proof: Proof::RealTool,
    },
    Distro {
        id: "wolfi",
        name: "Wolfi, Chainguard, MinimOS",
        ids: &["wolfi", "chainguard", "minimos"],
        named: &[],
        updater: &ALPINE,
        install_hint: "apk add --no-cache ca-certificates",
        proof: Proof::SameTool("alpine"),
    },
    Distro {
        id: "red-hat",
        name: "RHEL, UBI, Fedora, CentOS, Rocky, Alma, Oracle, Amazon, openEuler, Azure Linux, Kylin and UnionTech servers",
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
        named: &[("kylin", "Kylin Linux Advanced Server"), ("uos", "UnionTech OS Server")],
        updater: &RED_HAT,
        install_hint: "dnf install -y ca-certificates p11-kit-trust",
        proof: Proof::RealTool,
    },
    Distro {
        id: "arch",
        name: "Arch and its relatives",
        ids: &["arch", "archarm", "artix", "cachyos", "manjaro", "manjaro-arm", "endeavouros"],
        named: &[],
        updater: &ARCH,
        install_hint: "pacman -S --noconfirm ca-certificates-utils",
        proof: Proof::RealTool,
    },
    Distro {
        id: "photon",
        name: "Photon",
        ids: &["photon"],
        named: &[],
        updater: &PHOTON,
        install_hint: "tdnf install -y ca-certificates openssl-c_rehash",
        proof: Proof::RealTool,
    },
    Distro {
        id: "nix",
        name: "NixOS",
        ids: &["nixos"],
        named: &[],
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
        named: &[],
        updater: &SUSE,
        install_hint: "zypper --non-interactive install ca-certificates ca-certificates-mozilla",
        proof: Proof::RealTool,
    },
    Distro {
        id: "bundle-only",
        name: "BusyBox, scratch, Nix images, everything unknown",
        ids: &[],
        named: &[],
        updater: &BUNDLES,
        install_hint: "",
        proof: Proof::RealClients,
    },
];

/// No distribution: the private store of a user who cannot write the system's stores.
pub(crate) static PRIVATE: Distro = Distro {
    id: "private",
    name: "private stores",
    ids: &[],
    named: &[],
    updater: &PrivateStore,
    install_hint: "",
    proof: Proof::RealClients,
};

/// The row for this os-release and why it was chosen: `ID` first (with `NAME` where families share one), then `ID_LIKE`
/// in its order. Without os-release, or with an unknown one, the row is "bundle-only". Nothing else counts: real images
/// contain directories of other families.
pub(crate) fn choose(release: Option<&Release>) -> (&'static Distro, String) {
    let fallback = &DISTROS[DISTROS.len() - 1];
    let Some(release) = release else {
        return (fallback, "there is no os-release".to_owned());
    };
    let named = |row: &&Distro| {
        row.named.iter().any(|(id, name)| *id == release.id && release.name.starts_with(name))
    };
    if let Some(row) = DISTROS.iter().find(named) {
        return (row, format!("ID={} and NAME={} in {}", release.id, release.name, release.file));
    }
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

/// The row with this name, for state written by an earlier run; a private store has only its own row.
pub(crate) fn by_id(id: &str, is_private: bool) -> Option<&'static Distro> {
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
    fn families_that_share_an_id_are_told_apart_by_name() {
        let row = |id: &str, name: &str| {
            let release = Release { id: id.to_owned(), name: name.to_owned(), ..Release::default() };
            choose(Some(&release)).0.id
        };
        assert_eq!(row("kylin", "Kylin Linux Advanced Server"), "red-hat");
        assert_eq!(row("kylin", "Kylin"), "debian");
        assert_eq!(row("uos", "UnionTech OS Server 20"), "red-hat");
        assert_eq!(row("uos", "uos"), "debian");
        assert_eq!(
            row("made-up", "Kylin Linux Advanced Server"),
            "bundle-only",
            "the name alone says nothing"
        );
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
