//! How to bring back what stood at a path before us, given what stands there now: plain data, and pure. The state
//! keeps records, the view of a tree without us is made of them, the journal turns runs back with them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::tree::{File, Node};

/// All that is ours in a tree.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What stood at each path that we changed, before and after.
    pub records: BTreeMap<String, Record>,
    /// The roots that we put in.
    pub installed: BTreeSet<Fingerprint>,
    /// Their anchor files.
    pub files: BTreeSet<String>,
    /// What Firefox's policy file names for us.
    pub policy: Vec<String>,
}

/// One path that we changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What stood there before our first run.
    pub before: Saved,
    /// What we left there.
    pub after: Mark,
}

/// A node that can be brought back, given what stands there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Saved {
    /// Nothing.
    Absent,
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A link.
    Link {
        /// Its target.
        target: String,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Owner and group.
        owner: (u32, u32),
        /// Last change.
        modified: (i64, u32),
        /// SHA-256 of the content.
        sha256: Fingerprint,
        /// How many bytes it has in common with the beginning of what we left there.
        prefix: usize,
        /// And with its end.
        suffix: usize,
        /// What stood between, base64: nothing, where we only added.
        middle: String,
    },
}

/// Enough to recognise a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mark {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A link to this target.
    Link(String),
    /// A file with this SHA-256.
    File(Fingerprint),
}

impl Record {
    /// Whether a directory came or went, and nothing else.
    pub fn is_of_directory(&self) -> bool {
        matches!(self.before, Saved::Absent | Saved::Directory { .. })
            && matches!(self.after, Mark::Absent | Mark::Directory)
    }
}

impl Mark {
    /// The mark of a node; `None` for what we never touch.
    pub fn of(node: &Node) -> Option<Self> {
        Some(match node {
            Node::Absent => Mark::Absent,
            Node::Directory { .. } => Mark::Directory,
            Node::Link { target } => Mark::Link(target.clone()),
            Node::File(file) => Mark::File(Fingerprint::of(&file.content)),
            Node::Special => return None,
        })
    }

    /// Whether `node` is what was marked.
    pub fn matches(&self, node: &Node) -> bool {
        Mark::of(node).as_ref() == Some(self)
    }
}

impl Saved {
    /// Keeps `before`, given what stands there `after`: of a file only what the two do not share.
    pub fn new(before: &Node, after: &Node) -> Result<Self> {
        Ok(match before {
            Node::Absent => Saved::Absent,
            Node::Directory { mode } => Saved::Directory { mode: *mode },
            Node::Link { target } => Saved::Link { target: target.clone() },
            Node::File(file) => {
                let after: &[u8] = if let Node::File(after) = after { &after.content } else { &[] };
                let old = file.content.as_slice();
                let prefix = old.iter().zip(after).take_while(|(a, b)| a == b).count();
                let most = old.len().min(after.len()) - prefix;
                let suffix =
                    old.iter().rev().zip(after.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
                Saved::File {
                    mode: file.mode,
                    owner: file.owner.unwrap_or((0, 0)),
                    modified: file.modified.unwrap_or((0, 0)),
                    sha256: Fingerprint::of(old),
                    prefix,
                    suffix,
                    middle: BASE64.encode(&old[prefix..old.len() - suffix]),
                }
            }
            Node::Special => return Err(Error::failed("a device, socket or FIFO cannot be kept")),
        })
    }

    /// The node as it was, made from what stands there now. `None` if `now` is not what we left.
    pub fn restore(&self, now: &Node) -> Option<Node> {
        Some(match self {
            Saved::Absent => Node::Absent,
            Saved::Directory { mode } => Node::Directory { mode: *mode },
            Saved::Link { target } => Node::Link { target: target.clone() },
            Saved::File { mode, owner, modified, sha256, prefix, suffix, middle } => {
                let now: &[u8] = if let Node::File(now) = now { &now.content } else { &[] };
                let mut content = now.get(..*prefix)?.to_vec();
                content.extend(BASE64.decode(middle).ok()?);
                content.extend(now.get(now.len().checked_sub(*suffix)?..)?);
                if Fingerprint::of(&content) != *sha256 {
                    return None;
                }
                Node::File(File {
                    content,
                    mode: *mode,
                    owner: Some(*owner),
                    modified: Some(*modified),
                    mount_point: false,
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> Node {
        Node::File(File {
            content: content.to_vec(),
            mode: 0o644,
            owner: Some((1, 2)),
            modified: Some((3, 4)),
            mount_point: false,
        })
    }

    #[test]
    fn what_was_there_comes_back_from_what_is_there() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"abc", b"abc"),
            (b"abc", b"abcNEW"),
            (b"abc", b"NEWabc"),
            (b"abcabc", b"abcNEWabc"),
            (b"aaaa", b"aaaaaaa"),
            (b"aaaaaaa", b"aa"),
            (b"abXYcd", b"ab__cd"),
            (b"old", b""),
        ];
        for (before, after) in cases {
            let (before, after) = (file(before), file(after));
            let saved = Saved::new(&before, &after).unwrap();
            assert_eq!(saved.restore(&after), Some(before.clone()), "{before:?} {after:?}");
        }
        let saved = Saved::new(&file(b"abc"), &Node::Link { target: "x".into() }).unwrap();
        assert_eq!(saved.restore(&Node::Link { target: "x".into() }), Some(file(b"abc")));
    }

    #[test]
    fn only_additions_cost_nothing() {
        let old = vec![b'x'; 100_000];
        let mut new = old.clone();
        new.extend(b"our root");
        let Saved::File { middle, .. } = Saved::new(&file(&old), &file(&new)).unwrap() else { panic!() };
        assert_eq!(middle, "");
    }

    #[test]
    fn a_foreign_change_is_noticed() {
        let saved = Saved::new(&file(b"abc"), &file(b"abcNEW")).unwrap();
        assert_eq!(saved.restore(&file(b"abXNEW")), None);
        assert_eq!(saved.restore(&file(b"a")), None);
    }
}
