//! Partial root file systems of real images (`distro-fixtures/NAME/`): parses their manifests and unpacks them into a
//! directory, for the tests and (some of them, embedded) for the demo.
//!
//! The manifest is the single truth for a tree; `distro-fixtures/README.md` describes its lines. Nothing here is used
//! on a user's system, and nothing is ever written through a link: a path's parent must be a directory of the manifest.

#![expect(
    clippy::disallowed_methods,
    reason = "unpacks fixtures into a directory of ours, never into a sysroot"
)]

mod generated;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path};

use crate::error::{Error, Result};

/// A tree, in the order of its manifest (parents before children).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixture {
    entries: Vec<FixtureEntry>,
}

/// One path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FixtureEntry {
    /// Relative to the root of the tree, without `.` or `..`.
    pub(crate) path: String,
    /// Numeric, as in the image.
    pub(crate) uid: u32,
    /// Numeric, as in the image.
    pub(crate) gid: u32,
    /// Its node.
    pub(crate) node: FixtureNode,
}

/// The node at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FixtureNode {
    /// A directory with these mode bits.
    Directory {
        /// Permission bits with set-id and sticky bits.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits with set-id and sticky bits.
        mode: u32,
        /// All of its bytes.
        content: Vec<u8>,
    },
    /// A symbolic link, target as stored.
    Link {
        /// Relative or absolute; an absolute one starts at the sysroot.
        target: String,
    },
}

impl Fixture {
    /// Reads a manifest. `content` looks up a part of a file by its name in the manifest (`root/etc/os-release`: of
    /// this image; anything else, such as `roots/ISRG_Root_X1.pem`: shared).
    pub(crate) fn parse(manifest: &str, content: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Fixture> {
        let mut entries = Vec::new();
        let mut directories = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (number, line) in manifest.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let bad =
                |what: &str| Error::usage(format!("line {} of the manifest: {what}", number + 1)).at(line);
            let entry = parse_line(line, &content).map_err(|what| bad(&what))?;
            let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
            if parent.is_some_and(|parent| !directories.contains(parent)) {
                return Err(bad("its parent is not a directory of an earlier line"));
            }
            if !seen.insert(entry.path.clone()) {
                return Err(bad("this path is there twice"));
            }
            if matches!(entry.node, FixtureNode::Directory { .. }) {
                directories.insert(entry.path.clone());
            }
            entries.push(entry);
        }
        Ok(Fixture { entries })
    }

    /// Reads `directory` (`…/distro-fixtures/NAME`); shared content is in its parent.
    pub fn load(directory: &Path) -> Result<Fixture> {
        let file = directory.join("manifest.txt");
        let unreadable = |error| Error::usage("no fixture there").at(file.display()).because(error);
        let manifest = fs::read_to_string(&file).map_err(unreadable)?;
        Fixture::parse(&manifest, |name| {
            let own = name.starts_with("root/");
            let base = if own { Some(directory) } else { directory.parent() };
            fs::read(base?.join(name)).ok()
        })
        .map_err(|error| Error::usage("the fixture is not usable").at(file.display()).because(error))
    }

    /// The fixtures that are part of the binary: one with Debian's tool, one with Alpine's layout, one with nothing, one
    /// with a Java keystore, one with NSS databases.
    pub(crate) fn embedded() -> Result<Vec<(&'static str, Fixture)>> {
        EMBEDDED
            .iter()
            .map(|(name, manifest, own)| {
                let content = |wanted: &str| {
                    let found = own.iter().chain(SHARED).find(|(name, _)| *name == wanted);
                    found.map(|(_, bytes)| bytes.to_vec())
                };
                Ok((*name, Fixture::parse(manifest, content)?))
            })
            .collect()
    }

    /// Writes the tree into `into`, an existing directory of ours, which should be empty. Modes are exact whatever the
    /// umask; owners are set only if we are root.
    pub fn unpack(&self, into: &Path) -> Result<()> {
        let root = crate::host::privilege::is_root();
        for entry in &self.entries {
            entry.create(into, root).map_err(|error| {
                Error::failed("could not unpack a fixture")
                    .at(into.join(&entry.path).display())
                    .because(error)
            })?;
        }
        // Last, since a directory may forbid writing.
        for entry in self.entries.iter().rev() {
            if let FixtureNode::Directory { mode } = entry.node {
                let path = into.join(&entry.path);
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|error| {
                    Error::failed("could not set a mode").at(path.display()).because(error)
                })?;
            }
        }
        Ok(())
    }
}

impl FixtureEntry {
    fn create(&self, into: &Path, root: bool) -> std::io::Result<()> {
        let path = into.join(&self.path);
        match &self.node {
            FixtureNode::Directory { .. } => fs::create_dir(&path)?,
            FixtureNode::Link { target } => symlink(target, &path)?,
            FixtureNode::File { content, .. } => fs::write(&path, content)?,
        }
        if root {
            lchown(&path, Some(self.uid), Some(self.gid))?;
        }
        // After chown, which clears set-id bits.
        if let FixtureNode::File { mode, .. } = self.node {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

/// `d MODE UID:GID PATH` · `l UID:GID PATH -> TARGET` · `f MODE UID:GID PATH = PART…`, or `= JKS ALIAS=PART…` and its like
fn parse_line(line: &str, content: &impl Fn(&str) -> Option<Vec<u8>>) -> Result<FixtureEntry, String> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut word = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
    let kind = word("the kind")?;
    let mode = if kind == "l" { 0 } else { mode(word("the mode")?)? };
    let (uid, gid) = owner(word("the owner")?)?;
    let path = word("the path")?.to_owned();
    if Path::new(&path).components().any(|part| !matches!(part, Component::Normal(_))) || path.ends_with('/')
    {
        return Err("the path is not a plain relative one".to_owned());
    }
    let node = match kind {
        "d" => FixtureNode::Directory { mode },
        "l" => {
            if word("`->`")? != "->" {
                return Err("`->` is missing".to_owned());
            }
            FixtureNode::Link { target: word("the target")?.to_owned() }
        }
        "f" => {
            if word("`=`")? != "=" {
                return Err("`=` is missing".to_owned());
            }
            let parts: Vec<&str> = words.by_ref().collect();
            FixtureNode::File { mode, content: file(&parts, content)? }
        }
        _ => return Err(format!("`{kind}` is none of d, l, f")),
    };
    match words.next() {
        Some(rest) => Err(format!("`{rest}` is too much")),
        None => Ok(FixtureEntry { path, uid, gid, node }),
    }
}

/// The parts one after the other, or the file generated from them.
fn file(parts: &[&str], content: &impl Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    if let Some((kind, rest)) = parts.split_first()
        && let Some(made) = generated::content(kind, rest.iter().copied(), content)
    {
        return made;
    }
    let mut bytes = Vec::new();
    for part in parts {
        match *part {
            "LF" => bytes.push(b'\n'),
            part => bytes.extend(content(part).ok_or_else(|| format!("there is no content `{part}`"))?),
        }
    }
    Ok(bytes)
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && text.len() == 4 => Ok(mode),
        _ => Err(format!("`{text}` is not a mode of four octal digits")),
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is not UID:GID in numbers"))
}

type FixtureFiles = &'static [(&'static str, &'static [u8])];

macro_rules! contents {
    ($directory:literal: $($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../distro-fixtures/", $directory, $name)))),*]
    };
}

const SHARED: FixtureFiles = contents!["":
    "roots/Amazon_Root_CA_3.pem" "roots/Firmaprofesional.pem" "roots/Firmaprofesional_2.pem" "roots/GTS_Root_R4.pem"
    "roots/Hongkong_Post_Root_CA_1.pem" "roots/ISRG_Root_X1.pem" "roots/ISRG_Root_X2.pem" "roots/NetLock_Arany.pem"
    "shared/program"
];

const EMBEDDED: &[(&str, &str, FixtureFiles)] = &[
    (
        "debian-12",
        include_str!("../../distro-fixtures/debian-12/manifest.txt"),
        contents!["debian-12/":
            "root/etc/ca-certificates.conf" "root/etc/debian_version" "root/etc/ssl/openssl.cnf" "root/usr/lib/os-release"],
    ),
    (
        "alpine-3.20",
        include_str!("../../distro-fixtures/alpine-3.20/manifest.txt"),
        contents!["alpine-3.20/": "root/etc/alpine-release" "root/etc/os-release"],
    ),
    (
        "busybox",
        include_str!("../../distro-fixtures/busybox/manifest.txt"),
        contents!["busybox/": "root/etc/passwd"],
    ),
    (
        "distroless-java21-debian12",
        include_str!("../../distro-fixtures/distroless-java21-debian12/manifest.txt"),
        contents!["distroless-java21-debian12/": "root/usr/lib/os-release"],
    ),
    (
        "debian-12-ci-browsers",
        include_str!("../../distro-fixtures/debian-12-ci-browsers/manifest.txt"),
        contents!["debian-12-ci-browsers/":
            "root/etc/ca-certificates.conf" "root/etc/debian_version" "root/etc/passwd" "root/etc/ssl/openssl.cnf"
            "root/home/ci/.mozilla/firefox/profiles.ini" "root/pkcs11.txt" "root/usr/lib/os-release"],
    ),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn parse(manifest: &str) -> Result<Fixture> {
        Fixture::parse(manifest, |name| (name == "roots/A.pem").then(|| b"A\n".to_vec()))
    }

    #[test]
    fn a_manifest_is_a_tree() {
        let fixture =
            parse("# head\n\nd 0755 0:0 etc\nl 0:0 etc/x -> ../y\nf 4640 7:8 etc/f = roots/A.pem LF roots/A.pem\nf 0600 0:0 e =\n")
                .expect("parses");
        let nodes: Vec<_> =
            fixture.entries.iter().map(|entry| (entry.path.as_str(), entry.uid, &entry.node)).collect();
        assert_eq!(
            nodes,
            [
                ("etc", 0, &FixtureNode::Directory { mode: 0o755 }),
                ("etc/x", 0, &FixtureNode::Link { target: "../y".to_owned() }),
                ("etc/f", 7, &FixtureNode::File { mode: 0o4640, content: b"A\n\nA\n".to_vec() }),
                ("e", 0, &FixtureNode::File { mode: 0o600, content: Vec::new() }),
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (manifest, wanted) in [
            ("d 0755 0:0 a/b", "parent"),
            ("l 0:0 a -> b\nd 0755 0:0 a/c", "parent"),
            ("d 0755 0:0 ../a", "plain relative"),
            ("d 0755 0:0 /a", "plain relative"),
            ("d 0755 0:0 a\nd 0755 0:0 a", "twice"),
            ("d 755 0:0 a", "octal"),
            ("d 0755 root:root a", "numbers"),
            ("f 0644 0:0 a = roots/B.pem", "no content"),
            ("f 0644 0:0 a roots/A.pem", "`=`"),
            ("l 0:0 a b", "`->`"),
            ("x 0:0 a", "mode"),
            ("d 0755 0:0 a b", "too much"),
        ] {
            let error = parse(manifest).expect_err(manifest);
            assert!(error.what().contains(wanted), "{manifest}: {error}");
        }
    }

    #[test]
    fn unpacking_gives_exact_modes_and_links() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let fixture =
            parse("d 0555 0:0 etc\nf 0640 0:0 etc/f = roots/A.pem\nl 0:0 etc/l -> /etc/f\nd 1777 0:0 tmp\n")
                .expect("parses");
        fixture.unpack(directory.path()).expect("unpacks");
        let mode = |path: &str| fs::metadata(directory.path().join(path)).expect(path).mode() & 0o7777;
        assert_eq!((mode("etc"), mode("etc/f"), mode("tmp")), (0o555, 0o640, 0o1777));
        assert_eq!(fs::read(directory.path().join("etc/f")).expect("f"), b"A\n");
        assert_eq!(fs::read_link(directory.path().join("etc/l")).expect("l"), Path::new("/etc/f"));
        // So that a run without root rights can remove it again.
        fs::set_permissions(directory.path().join("etc"), fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    #[test]
    fn what_is_embedded_is_what_is_on_disk() {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("distro-fixtures");
        let embedded = Fixture::embedded().expect("all content is embedded");
        assert_eq!(embedded.len(), 5);
        for (name, fixture) in embedded {
            assert_eq!(fixture, Fixture::load(&all.join(name)).expect(name), "{name}");
        }
    }
}
