//! Programs that read certificate and key in a tight loop during 1,000 renewals, each with a new key.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use trustup::pki::cert::{Certificate, pem};
use trustup::pki::key::PrivateKey;

use crate::support::dev_ca::DevCaProcess;
use crate::support::enrollment::write;
use crate::support::run::Trustup;
use crate::support::servers::wait_for;

const RENEWALS: u64 = 1000;

/// A certificate and a key, PEM.
type Pair = (Vec<u8>, Vec<u8>);

/// What a reader saw.
#[derive(Debug, Default)]
struct Seen {
    pairs: usize,
    certificates: BTreeSet<Vec<u8>>,
    /// Certificates that were read with the key of another one.
    mismatches: usize,
}

struct Scene {
    _ca: DevCaProcess,
    place: TempDir,
}

impl Scene {
    fn new(layout: &str) -> Scene {
        let ca = DevCaProcess::start(&[]);
        let place = TempDir::new().expect("a directory");
        let text = format!(
            "[ca]\nurl = \"{}\"\nfingerprint = \"{}\"\n[renew]\nrekey = true\n\
             [[certificate]]\nnames = [\"web.test\"]\ncert = \"{tls}/web.crt\"\nkey = \"{tls}/web.key\"\nlayout = \"{layout}\"\n\
             [[certificate.enroll]]\nmethod = \"provisioner\"\npassword_file = \"{}\"\n",
            ca.url(),
            ca.fingerprint(),
            ca.password_file().display(),
            tls = place.path().display(),
        );
        write(&place.path().join("trustup.toml"), text.as_bytes(), 0o600);
        Scene { _ca: ca, place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn renewals(&self) -> u64 {
        let text = fs::read_to_string(self.path(".web.crt.renewal.json")).unwrap_or_default();
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        record["totals"]["renewals"].as_u64().unwrap_or_default()
    }

    /// As a program does that opens one path after the other.
    fn read_paths(&self) -> Option<Pair> {
        Some((fs::read(self.path("web.crt")).ok()?, fs::read(self.path("web.key")).ok()?))
    }

    /// As a program does that opens the directory of the current version and reads both there.
    fn read_version(&self) -> Option<Pair> {
        let directory = fs::File::open(self.path(".web.key.current")).ok()?;
        // Removed meanwhile: the program opens the directory again.
        let read = |name: &str| fs::read(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())).ok();
        Some((read("web.crt")?, read("web.key")?))
    }

    /// Renews so often while `read` reads.
    fn renew(&self, read: impl Fn() -> Option<Pair> + Sync) -> Seen {
        // One reader keeps a core busy: two at once would keep both from the daemon.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon =
            Trustup::new(["--timeout", "20s", "renew", "--daemon", "--allow-shared-config", "--config"]);
        let daemon = daemon.arg(self.path("trustup.toml")).env("HOME", self.place.path()).start();
        wait_for("the first pair", || (self.renewals() >= 1).then_some(()));
        let ended = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let mut seen = Seen::default();
                let mut last = Pair::default();
                while !ended.load(Ordering::Relaxed) {
                    let Some(pair) = read() else { continue };
                    seen.pairs += 1;
                    if pair != last {
                        seen.mismatches += usize::from(!is_pair(&pair));
                        seen.certificates.insert(pair.0.clone());
                        last = pair;
                    }
                }
                seen
            });
            for wanted in self.renewals() + 1..=RENEWALS {
                daemon.signal(Signal::USR1);
                wait_for("a renewal", || (self.renewals() >= wanted).then_some(()));
            }
            ended.store(true, Ordering::Relaxed);
            daemon.signal(Signal::TERM);
            let run = daemon.end();
            assert_eq!(run.code, Some(0), "{run}");
            reader.join().expect("a reader")
        })
    }
}

fn is_pair((cert, key): &Pair) -> bool {
    let leaf = pem::blocks(cert).first().map(|block| Certificate::from_block(block).expect("a certificate"));
    let key = PrivateKey::from_pem(key).expect("a key");
    leaf.expect("a certificate").public_key() == key.public_key()
}

#[test]
#[ignore = "slow"]
fn the_versioned_layout_never_shows_two_versions() {
    let scene = Scene::new("versioned");
    let seen = scene.renew(|| scene.read_version());
    println!(
        "{} reads, {} certificates, {} mismatches",
        seen.pairs,
        seen.certificates.len(),
        seen.mismatches
    );
    assert_eq!(seen.mismatches, 0);
    assert!(seen.pairs > 1000 && seen.certificates.len() > 200, "{} {}", seen.pairs, seen.certificates.len());
}

/// The guide: two files are replaced one after the other. Each of them is whole at every moment, and they belong together
/// but for the moment in between.
#[test]
#[ignore = "slow"]
fn plain_files_are_whole_and_belong_together_but_for_a_moment() {
    let scene = Scene::new("files");
    let seen = scene.renew(|| scene.read_paths());
    println!(
        "{} reads, {} certificates, {} mismatches",
        seen.pairs,
        seen.certificates.len(),
        seen.mismatches
    );
    // All files were read whole: `is_pair` parses both.
    assert!(seen.pairs > 1000 && seen.certificates.len() > 200, "{} {}", seen.pairs, seen.certificates.len());
    assert!(
        seen.mismatches <= 2 * seen.certificates.len(),
        "{} in {}",
        seen.mismatches,
        seen.certificates.len()
    );
    assert!(is_pair(&scene.read_paths().expect("a pair")));
}
