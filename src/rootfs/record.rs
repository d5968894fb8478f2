//! How to restore the former node of a path, given its current one: plain data, and pure. The state keeps records, the
//! view of a tree without us is made from them, the journal undoes runs with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::content::Content;
use crate::rootfs::tree::{File, Node};
use crate::versioned::UnknownFields;

/// One path that we changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PathRecord {
    /// The node before our first run.
    pub(crate) before: Saved,
    /// The node that we left.
    pub(crate) after: Mark,
    /// The known path that led there by a link, if nothing else makes the path ours to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<String>,
    /// The set-id bits that the file had before us: they are never restored, but reported (threat T38).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) special: u32,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    pub(crate) unknown: UnknownFields,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(bits: &u32) -> bool {
    *bits == 0
}

/// A node that can be restored, given the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Saved {
    /// Nothing.
    Absent,
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// What only a newer trustup knows.
        #[serde(flatten)]
        unknown: UnknownFields,
    },
    /// A link.
    Link {
        /// Its target.
        target: String,
        /// What only a newer trustup knows.
        #[serde(flatten)]
        unknown: UnknownFields,
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
        /// How many bytes it shares with the beginning of what we left there.
        prefix: usize,
        /// And with its end.
        suffix: usize,
        /// What was between, base64: empty if we only added.
        middle: String,
        /// The same for files that change in several places and stay as they are between them (databases, and keystores
        /// with a count in front and a checksum at the end): then the three fields above are unused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        places: Option<Places>,
        /// What only a newer trustup knows.
        #[serde(flatten)]
        unknown: UnknownFields,
    },
}

/// A file's former content, where it differs from the current content at the same offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    /// Its former size in bytes.
    length: usize,
    /// Offset, and the bytes from there, base64.
    changed: Vec<(usize, String)>,
    /// What only a newer trustup knows.
    #[serde(flatten)]
    unknown: UnknownFields,
}

/// So many bytes are compared at once.
const CHUNK: usize = 256;

/// How many bytes two files share at their beginning.
fn shared_prefix(one: &[u8], other: &[u8]) -> usize {
    let chunks = one.chunks_exact(CHUNK).zip(other.chunks_exact(CHUNK));
    let whole = CHUNK * chunks.take_while(|(one, other)| one == other).count();
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
}

/// How many bytes two files share at their end.
fn shared_suffix(one: &[u8], other: &[u8]) -> usize {
    let chunks = one.rchunks_exact(CHUNK).zip(other.rchunks_exact(CHUNK));
    let whole = CHUNK * chunks.take_while(|(one, other)| one == other).count();
    let rest = one[..one.len() - whole].iter().rev().zip(other[..other.len() - whole].iter().rev());
    whole + rest.take_while(|(one, other)| one == other).count()
}

/// A file that changed in more places is stored in one piece: a state may have only so many values.
const MAX_PLACES: usize = 10_000;
/// What a place takes in the state beside its bytes, approximately.
const PLACE: usize = 16;
/// Equal bytes between two changes that are cheaper to store than another change would be.
const GAP: usize = 32;

impl Places {
    /// The places, if they take less than `most` bytes in the state.
    fn new(old: &[u8], new: &[u8], most: usize) -> Option<Self> {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        let mut bytes = 0;
        // The range that may still grow. It is not in the list yet: in a file whose lines moved, nearly every byte
        // comes by here.
        let mut open: Option<(usize, usize)> = None;
        for (index, chunk) in old.chunks(CHUNK).enumerate() {
            let from = index * CHUNK;
            let there = &new[from.min(new.len())..(from + chunk.len()).min(new.len())];
            if chunk == there {
                continue;
            }
            let mut differs = |at: usize| match &mut open {
                Some((_, end)) if at - *end <= GAP => *end = at + 1,
                _ => {
                    if let Some((from, to)) = open.replace((at, at + 1)) {
                        bytes += to - from;
                        ranges.push((from, to));
                    }
                }
            };
            for (offset, (byte, other)) in chunk.iter().zip(there).enumerate() {
                if byte != other {
                    differs(from + offset);
                }
            }
            (from + there.len()..from + chunk.len()).for_each(differs);
            let (more, count) = open.map_or((0, 0), |(from, to)| (to - from, 1));
            // Base64 takes four characters for three bytes, or more.
            if (bytes + more) / 3 * 4 + (ranges.len() + count) * PLACE >= most {
                return None;
            }
        }
        ranges.extend(open);
        let changed: Vec<_> =
            ranges.into_iter().map(|(from, to)| (from, BASE64.encode(&old[from..to]))).collect();
        let places = Places { length: old.len(), changed, unknown: UnknownFields::default() };
        (places.cost() < most).then_some(places)
    }

    /// How many bytes it takes in the state, approximately.
    fn cost(&self) -> usize {
        self.changed.iter().map(|(_, bytes)| bytes.len() + PLACE).sum()
    }

    fn restore(&self, now: &[u8]) -> Option<Vec<u8>> {
        let mut content = now.get(..self.length.min(now.len()))?.to_vec();
        for (offset, bytes) in &self.changed {
            let bytes = BASE64.decode(bytes).ok()?;
            // The current file may be shorter; a gap after its end can only be forged (threat T11).
            let end = offset.checked_add(bytes.len()).filter(|end| *end <= self.length)?;
            if *offset > content.len() {
                return None;
            }
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(&bytes);
        }
        (content.len() == self.length).then_some(content)
    }
}

/// Enough to recognise a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A link to this target.
    Link(String),
    /// A file with this SHA-256.
    File(Fingerprint),
}

impl PathRecord {
    /// A record of a path that is ours by its name.
    pub(crate) fn new(before: Saved, after: Mark) -> Self {
        PathRecord { before, after, via: None, special: 0, unknown: UnknownFields::default() }
    }

    /// Keeps what only a newer trustup knows of the same path: for the former node only while that is the same.
    pub(crate) fn keep_unknown_of(&mut self, former: &PathRecord) {
        self.unknown = former.unknown.clone();
        self.before.keep_unknown_of(&former.before);
    }

    /// Whether a directory was made or removed, and nothing else.
    pub(crate) fn is_of_directory(&self) -> bool {
        matches!(self.before, Saved::Absent | Saved::Directory { .. })
            && matches!(self.after, Mark::Absent | Mark::Directory)
    }
}

impl Mark {
    /// The mark of a node; `None` for what we never touch.
    pub(crate) fn of(node: &Node) -> Option<Self> {
        Some(match node {
            Node::Absent => Mark::Absent,
            Node::Directory { .. } => Mark::Directory,
            Node::Link { target } => Mark::Link(target.clone()),
            Node::File(file) => Mark::File(file.content.sha256()),
            Node::Special => return None,
        })
    }

    /// Whether `node` is what was marked.
    pub(crate) fn matches(&self, node: &Node) -> bool {
        Mark::of(node).as_ref() == Some(self)
    }
}

impl Saved {
    /// Stores `before`, given the node `after`: of a file only what the two do not share.
    pub(crate) fn new(before: &Node, after: &Node) -> Result<Self> {
        Ok(match before {
            Node::Absent => Saved::Absent,
            Node::Directory { mode } => Saved::Directory { mode: *mode, unknown: UnknownFields::default() },
            Node::Link { target } => {
                Saved::Link { target: target.clone(), unknown: UnknownFields::default() }
            }
            Node::File(file) => {
                let after: &[u8] = if let Node::File(after) = after { &after.content } else { &[] };
                let old: &[u8] = &file.content;
                let prefix = shared_prefix(old, after);
                let most = old.len().min(after.len()) - prefix;
                let suffix = shared_suffix(&old[old.len() - most..], &after[after.len() - most..]);
                let middle = &old[prefix..old.len() - suffix];
                let most = middle.len().div_ceil(3) * 4;
                let places = if most > GAP { Places::new(old, after, most) } else { None };
                let places = places.filter(|places| places.changed.len() <= MAX_PLACES);
                let (prefix, suffix, middle) = if places.is_some() {
                    (0, 0, String::new())
                } else {
                    (prefix, suffix, BASE64.encode(middle))
                };
                Saved::File {
                    mode: file.mode,
                    owner: file.owner.unwrap_or((0, 0)),
                    modified: file.modified.unwrap_or((0, 0)),
                    sha256: file.content.sha256(),
                    prefix,
                    suffix,
                    middle,
                    places,
                    unknown: UnknownFields::default(),
                }
            }
            Node::Special => return Err(Error::failed("a device, socket or FIFO cannot be kept")),
        })
    }

    /// The same without any former byte: then [`Saved::restore`] returns `None`, and ours is removed from the current
    /// content instead.
    #[must_use]
    pub(crate) fn without_content(self) -> Self {
        match self {
            Saved::File { mode, owner, modified, sha256, unknown, .. } => Saved::File {
                mode,
                owner,
                modified,
                sha256,
                prefix: 0,
                suffix: 0,
                middle: String::new(),
                places: None,
                unknown,
            },
            other => other,
        }
    }

    fn keep_unknown_of(&mut self, former: &Saved) {
        match (self, former) {
            (Saved::Directory { unknown, .. }, Saved::Directory { unknown: kept, .. }) => {
                unknown.clone_from(kept);
            }
            (Saved::Link { target, unknown }, Saved::Link { target: was, unknown: kept })
                if target == was =>
            {
                unknown.clone_from(kept)
            }
            (
                Saved::File { sha256, places, unknown, .. },
                Saved::File { sha256: was, places: former, unknown: kept, .. },
            ) if sha256 == was => {
                unknown.clone_from(kept);
                if let (Some(places), Some(former)) = (places, former) {
                    places.unknown.clone_from(&former.unknown);
                }
            }
            _ => {}
        }
    }

    /// The node as it was, made from the current one. `None` if `now` is not what we left.
    pub(crate) fn restore(&self, now: &Node) -> Option<Node> {
        self.restore_as(now, |content| content)
    }

    /// The same with the content that is `known` to have these bytes: it may be hashed already.
    pub(crate) fn restore_as(&self, now: &Node, known: impl FnOnce(Content) -> Content) -> Option<Node> {
        Some(match self {
            Saved::Absent => Node::Absent,
            Saved::Directory { mode, .. } => Node::Directory { mode: *mode },
            Saved::Link { target, .. } => Node::Link { target: target.clone() },
            Saved::File { mode, owner, modified, sha256, prefix, suffix, middle, places, .. } => {
                let now: &[u8] = if let Node::File(now) = now { &now.content } else { &[] };
                let content = match places {
                    Some(places) => places.restore(now)?,
                    None => {
                        let mut content = now.get(..*prefix)?.to_vec();
                        content.extend(BASE64.decode(middle).ok()?);
                        content.extend(now.get(now.len().checked_sub(*suffix)?..)?);
                        content
                    }
                };
                let content = known(content.into());
                if content.sha256() != *sha256 {
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
            content: content.to_vec().into(),
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
    fn a_count_in_front_and_a_checksum_behind_cost_little() {
        let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let (old, new) = (
            [b"head 0001", &body[..], b"12345678"].concat(),
            [b"head 0002", &body[..], b"entry abcdefgh"].concat(),
        );
        for (old, new) in [(&old, &new), (&new, &old)] {
            let saved = Saved::new(&file(old), &file(new)).unwrap();
            assert!(serde_json::to_string(&saved).unwrap().len() < 400, "{saved:?}");
            assert_eq!(saved.restore(&file(new)), Some(file(old)));
            assert_eq!(saved.restore(&file(&new[1..])), None);
        }
    }

    #[test]
    fn what_is_shared_is_counted_to_the_byte() {
        let old: Vec<u8> = (0..4 * CHUNK).map(|at| (at / 7) as u8).collect();
        for at in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK - 1] {
            let mut new = old.clone();
            new[at] ^= 1;
            assert_eq!((shared_prefix(&old, &new), shared_suffix(&old, &new)), (at, old.len() - at - 1));
            assert_eq!(
                (shared_prefix(&old, &old[..at]), shared_suffix(&old, &old[at..])),
                (at, old.len() - at)
            );
        }
        assert_eq!((shared_prefix(&old, &old), shared_suffix(&old, &old)), (old.len(), old.len()));
    }

    #[test]
    fn a_foreign_change_is_noticed() {
        let saved = Saved::new(&file(b"abc"), &file(b"abcNEW")).unwrap();
        assert_eq!(saved.restore(&file(b"abXNEW")), None);
        assert_eq!(saved.restore(&file(b"a")), None);
    }
}
