//! Long random sequences of runs, killed ones among them: after each, every bundle holds what it held at first and
//! exactly the roots that are installed; at the end the first tree is back. The seeds are fixed, and printed.

use std::collections::BTreeSet;
use std::fs;

use trustup::pki::cert::Certificate;
use trustup::pki::fingerprint::Fingerprint;

use crate::support::ca::{self, Root};
use crate::support::run::{Trustup, unpacked};
use crate::support::tree::{Tree, inside};

const FIXTURES: [(&str, &[&str]); 6] = [
    ("debian-12", &["/etc/ssl/certs/ca-certificates.crt"]),
    ("debian-12-minimal", &["/etc/ssl/certs/ca-certificates.crt"]),
    ("alpine-3.23-ca-certificates", &["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"]),
    ("alpine-3.9", &["/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"]),
    (
        "chainguard-static",
        &["/etc/ssl/certs/ca-certificates.crt", "/var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem"],
    ),
    ("scratch", &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]),
];
const ROOTS: usize = 4;
const STEPS: usize = 30;

/// Marsaglia's xorshift: enough to shuffle, the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

struct World {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    roots: Vec<Root>,
    bundles: &'static [&'static str],
    first: Vec<BTreeSet<Fingerprint>>,
    installed: BTreeSet<usize>,
}

impl World {
    fn new(fixture: &str, bundles: &'static [&'static str]) -> World {
        let given = tempfile::tempdir().unwrap();
        // Two with one subject: their hash links are numbered.
        let names = ["Sequence Root", "Sequence Root", "Another Root", "Dritte Wurzel"];
        let roots: Vec<Root> = names.iter().map(|name| ca::root(name)).collect();
        for (number, root) in roots.iter().enumerate() {
            root.write(given.path(), &format!("{number}.pem"));
        }
        let root = unpacked(fixture);
        let first = bundles.iter().map(|path| held(root.path(), path)).collect();
        World { root, given, roots, bundles, first, installed: BTreeSet::new() }
    }

    fn bootstrap(&self, number: usize) -> Trustup {
        Trustup::at(self.root.path(), ["bootstrap", "--ca-file"])
            .arg(self.given.path().join(format!("{number}.pem")))
    }

    fn untrust(&self, number: usize) -> Trustup {
        Trustup::at(self.root.path(), ["untrust", "--fingerprint", &self.roots[number].pin()])
    }

    fn check(&self, when: &str) {
        for (path, first) in self.bundles.iter().zip(&self.first) {
            // A path that was missing at first leads to a bundle that was there, or to none.
            let mut wanted = if first.is_empty() && !self.installed.is_empty() {
                self.first[0].clone()
            } else {
                first.clone()
            };
            wanted.extend(self.installed.iter().map(|number| self.roots[*number].fingerprint));
            assert_eq!(held(self.root.path(), path), wanted, "{when}: {path}");
        }
        if self.root.path().join("usr/local/share/ca-certificates").exists() {
            for number in &self.installed {
                self.is_found_by_hash(&self.roots[*number], when);
            }
        }
        let status = Trustup::at(self.root.path(), ["status"]).run();
        let wanted = if self.installed.is_empty() { 4 } else { 0 };
        assert_eq!(status.code, Some(wanted), "{when}: {status}");
    }
}

impl World {
    /// As OpenSSL looks: `HASH.0`, `HASH.1`, … up to the first that is missing.
    fn is_found_by_hash(&self, root: &Root, when: &str) {
        let hash = Certificate::from_der(&root.der).expect("a certificate").subject_hash();
        for number in 0.. {
            let link = format!("/etc/ssl/certs/{hash:08x}.{number}");
            let file = inside(self.root.path(), &link).filter(|file| file.is_file());
            let Some(file) = file else { panic!("{when}: {} is not found at {link}", root.fingerprint) };
            if ca::fingerprints(&fs::read_to_string(file).unwrap()) == [root.fingerprint] {
                return;
            }
        }
    }
}

fn held(root: &std::path::Path, path: &str) -> BTreeSet<Fingerprint> {
    let text = inside(root, path).and_then(|path| fs::read_to_string(path).ok());
    text.map(|text| ca::fingerprint_set(&text)).unwrap_or_default()
}

#[test]
fn any_sequence_of_runs_keeps_every_root_and_ends_where_it_began() {
    let mut kills = 0;
    for (fixture, bundles) in FIXTURES {
        for seed in [0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03] {
            let mut random = Random(seed);
            let mut world = World::new(fixture, bundles);
            let tree = Tree::of(world.root.path());
            let mut story = Vec::new();
            for _ in 0..STEPS {
                let number = random.below(ROOTS);
                let kill = (random.below(3) == 0).then(|| 1 + random.below(8));
                let brings = random.below(2) == 0;
                let run = if brings { world.bootstrap(number) } else { world.untrust(number) };
                story.push(format!(
                    "{} {number}, kill {kill:?}",
                    if brings { "bootstrap" } else { "untrust" }
                ));
                let when = format!("{fixture}, seed {seed:#x}: {}", story.join("; "));
                match kill {
                    None => {
                        run.ok();
                    }
                    Some(step) => {
                        let run = run.killed_at_if_it_gets_there(step).run();
                        if run.code.is_none() {
                            kills += 1;
                            // The next run that changes anything turns it back first: this one does so for sure.
                            let other = (number + 1) % ROOTS;
                            world.bootstrap(other).ok();
                            world.installed.insert(other);
                            world.check(&format!("{when}; then bootstrap {other}"));
                            story.push(format!("bootstrap {other}"));
                            continue;
                        }
                        assert_eq!(run.code, Some(0), "{when}: {run}");
                    }
                }
                if brings {
                    world.installed.insert(number)
                } else {
                    world.installed.remove(&number)
                };
                world.check(&when);
            }
            Trustup::at(world.root.path(), ["untrust", "--all"]).ok();
            let when = format!("{fixture}, seed {seed:#x}: {}; untrust --all", story.join("; "));
            tree.assert_same(&Tree::of(world.root.path()), &when);
        }
    }
    assert!(kills >= 10, "only {kills} kills");
}
