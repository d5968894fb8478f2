//! trustup always accepts a state that it wrote: long random sequences of runs with foreign changes between them (a
//! package upgrade, an administrator, a program that writes its own database). After each step every command that only
//! reads accepts the state; at the end `untrust --all` succeeds and a second bootstrap works. The seeds are fixed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use trustup::pki::keystore::Keystore;

use crate::sequences::Random;
use crate::support::ca::{self, Root};
use crate::support::keystores;
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::tree::{Tree, inside};

const STATE: &str = "var/lib/trustup/state.json";
const ROOTS: usize = 3;
const STEPS: usize = 10;
/// How many obstacles of foreign changes a person removes at the end, as the errors ask, before the test gives up.
const OBSTACLES: usize = 40;
/// Where a bundle really is that a known path links to.
const LINKED: &str = "opt/company/bundle.pem";
const POLICY: &str = "etc/firefox/policies/policies.json";

struct World {
    root: tempfile::TempDir,
    given: tempfile::TempDir,
    roots: Vec<Root>,
    stranger: Root,
    random: Random,
    story: Vec<String>,
    fixture: &'static str,
    seed: u64,
}

impl World {
    fn new(fixture: &'static str, seed: u64) -> World {
        let given = tempfile::tempdir().unwrap();
        let roots: Vec<Root> =
            ["Foreign Root", "Foreign Root", "Dritte Wurzel"].map(ca::root).into_iter().collect();
        for (number, root) in roots.iter().enumerate() {
            root.write(given.path(), &format!("{number}.pem"));
        }
        let root = unpacked(fixture);
        let world = World {
            root,
            given,
            roots,
            stranger: ca::root("A Stranger's Root"),
            random: Random(seed),
            story: Vec::new(),
            fixture,
            seed,
        };
        // Users with homes, a Java, a bundle behind a link: what real images have beside the family's stores.
        world.lay("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
        fs::create_dir_all(world.at("root")).unwrap();
        fs::create_dir_all(world.at("home/user")).unwrap();
        let mut keystore = Keystore::new_jks();
        keystore.add("vendor", &keystores::root("Vendor"), 0).unwrap();
        world
            .lay("opt/java/openjdk/lib/security/cacerts", &keystore.to_bytes(&mut keystores::salts).unwrap());
        if !world.exists("etc/ssl1.1/cert.pem") {
            world.lay(LINKED, ca::root("Company").pem.as_bytes());
            fs::create_dir_all(world.at("etc/ssl1.1")).unwrap();
            symlink("/opt/company/bundle.pem", world.at("etc/ssl1.1/cert.pem")).unwrap();
        }
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// Writes a file of the image.
    fn lay(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    /// Writes a file inside the tree, as a program in it would: links lead inside.
    fn write(&self, path: &str, content: &[u8]) {
        let Some(place) = inside(self.root.path(), &format!("/{}", path.trim_start_matches('/'))) else {
            return;
        };
        if fs::create_dir_all(place.parent().unwrap()).is_ok() {
            let _ = fs::write(place, content);
        }
    }

    fn when(&self) -> String {
        format!("{}, seed {:#x}:\n  {}", self.fixture, self.seed, self.story.join("\n  "))
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.root.path(), args).env("SOURCE_DATE_EPOCH", "1700000000")
    }

    fn bootstrap(&self, number: usize) -> Trustup {
        self.trustup(["bootstrap", "--ca-file"]).arg(self.given.path().join(format!("{number}.pem")))
    }

    /// No command calls what trustup itself wrote forged or damaged, none aborts, and one that fails says what to do.
    #[track_caller]
    fn accepted(&self, run: &Run) {
        let when = self.when();
        assert!(run.code.is_some_and(|code| code < 7), "{when}\n{run}");
        let rejected = ["state.json", "journal.json", "the state ", "the journal "];
        assert!(!rejected.iter().any(|words| run.stderr.contains(words)), "{when}\n{run}");
        if run.stderr.contains("error:") {
            assert!(run.stderr.contains("hint:"), "an error without a next step: {when}\n{run}");
        }
    }

    fn read_only(&self) {
        let before = self.tree();
        for command in ["status", "detect", "doctor"] {
            self.accepted(&self.trustup([command]).run());
        }
        self.accepted(&self.bootstrap(0).args(["--dry-run", "--create-nss"]).run());
        self.accepted(&self.trustup(["untrust", "--all", "--dry-run"]).run());
        before.assert_same(&self.tree(), &self.when());
    }

    fn tree(&self) -> Tree {
        Tree::of(self.root.path()).without("var/lib/trustup/lock")
    }

    /// One run of trustup.
    fn our_step(&mut self) {
        let number = self.random.below(ROOTS);
        let extra: &[&str] = [
            &[][..],
            &["--create-nss"],
            &["--create-nss", "--stores", "nss"],
            &["--stores", "java,system"],
            &["--firefox-policy"],
            &["--firefox-policy", "--create-nss"],
            &["--nss-db", "/srv/data/nssdb"],
            &["--repair"],
        ][self.random.below(8)];
        let pin = self.roots[number].pin();
        let (words, run) = match self.random.below(10) {
            0 => ("untrust --all".to_owned(), self.trustup(["untrust", "--all"])),
            1 | 2 => (format!("untrust {number}"), self.trustup(["untrust", "--fingerprint", &pin])),
            3 => ("env --install".to_owned(), self.trustup(["env", "--install"])),
            _ => (format!("bootstrap {number} {}", extra.join(" ")), self.bootstrap(number).args(extra)),
        };
        let kill = (self.random.below(5) == 0).then(|| 1 + self.random.below(10));
        self.story.push(format!("{words}, kill {kill:?}"));
        let before = self.tree();
        let run = match kill {
            None => run.run(),
            Some(step) => run.killed_at_if_it_gets_there(step).run(),
        };
        self.story.last_mut().unwrap().push_str(&format!(" -> {:?}", run.code));
        if kill.is_some() && run.code.is_none() {
            return;
        }
        self.accepted(&run);
        if run.code != Some(0) && !before.lines.contains_key("var/lib/trustup/journal.json") {
            before.assert_same(&self.tree(), &format!("{}\n{run}", self.when()));
        }
    }

    /// The paths that the state names, and what others may change beside them.
    fn interesting(&self) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        if let Ok(bytes) = fs::read(self.at(STATE)) {
            let state: Value = serde_json::from_slice(&bytes).unwrap();
            paths.extend(state["records"].as_object().unwrap().keys().cloned());
            let anchors = state["anchors"].as_array().unwrap();
            paths.extend(anchors.iter().filter_map(|anchor| anchor["file"].as_str().map(str::to_owned)));
        }
        paths.extend(["/etc/ssl1.1/cert.pem", "/opt/company/bundle.pem"].map(str::to_owned));
        // What holds the whole tree, or the state, is not replaced.
        paths.retain(|path| {
            !["/etc", "/usr", "/var", "/var/lib", "/opt", "/root", "/home"].contains(&path.as_str())
        });
        paths
    }

    /// One change that somebody else makes.
    fn foreign_step(&mut self) {
        let paths = self.interesting();
        let path = paths[self.random.below(paths.len())].clone();
        let place = self.at(&path);
        // Through a link the tree would be left: what is behind it has a path of its own.
        if inside(self.root.path(), &path).is_none_or(|real| real.parent() != place.parent()) {
            return;
        }
        let is_file = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_file());
        let is_directory = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir());
        let kind = self.random.below(13);
        let words = match kind {
            0 => {
                remove(&place);
                "is removed"
            }
            1 => {
                remove(&place);
                let _ = fs::create_dir_all(place.join("sub"));
                "becomes a directory"
            }
            2 => {
                remove(&place);
                let _ = symlink("/nowhere", &place);
                "becomes a dangling link"
            }
            3 => {
                remove(&place);
                let _ = symlink(place.file_name().unwrap(), &place);
                "becomes a loop"
            }
            4 if !is_directory => {
                remove(&place);
                self.write(&path, self.stranger.pem.as_bytes());
                "is replaced by an upgrade"
            }
            5 if !is_directory => {
                remove(&place);
                self.write(&path, b"nothing of use\n");
                "becomes nonsense"
            }
            6 if is_file => {
                let mut content = fs::read(&place).unwrap();
                content.extend(self.stranger.pem.as_bytes());
                fs::write(&place, content).unwrap();
                "is appended to"
            }
            7 if is_file => {
                let content = [b"# by hand\n".to_vec(), fs::read(&place).unwrap()].concat();
                fs::write(&place, content).unwrap();
                "gets a comment"
            }
            8 if is_file => {
                let modes = [0o600, 0o666, 0o2644, 0o4755, 0o1644];
                let mode = modes[self.random.below(modes.len())];
                fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
                "gets another mode"
            }
            9 if is_directory => {
                fs::set_permissions(&place, fs::Permissions::from_mode(0o2775)).unwrap();
                "gets another mode"
            }
            10 if rustix::process::geteuid().is_root() => {
                let _ = std::os::unix::fs::lchown(&place, Some(1000), Some(1000));
                "gets another owner"
            }
            11 if self.exists(POLICY) => {
                let names =
                    r#"{"policies": {"Certificates": {"Install": ["/a.pem", OURS, "/b.pem"]}}, "x": 1}"#;
                let text = fs::read_to_string(self.at(POLICY)).unwrap_or_default();
                let ours: Vec<&str> = text.lines().filter(|line| line.trim().starts_with("\"/")).collect();
                let list = ours.iter().map(|line| line.trim().trim_end_matches(','));
                let list: Vec<&str> = list.collect();
                let text =
                    if list.is_empty() { text } else { names.replace("OURS", &list.join(", \"/c.pem\", ")) };
                self.write(POLICY, text.as_bytes());
                "stays: the policy is edited"
            }
            _ => {
                let directory = if is_directory { path.clone() } else { parent(&path) };
                self.write(&format!("{directory}/pkcs11.txt"), b"library=\n");
                "gets a foreign file beside it"
            }
        };
        self.story.push(format!("{path} {words}"));
    }

    /// Runs `run` until it succeeds, doing what a person would do: removing what the error names.
    fn insist(&mut self, what: &str, run: impl Fn(&World) -> Trustup) -> Run {
        for _ in 0..OBSTACLES {
            let ran = run(self).run();
            self.story.push(format!("{what} -> {:?}", ran.code));
            self.accepted(&ran);
            if ran.code == Some(0) {
                return ran;
            }
            let error = ran.stderr.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
            let root = self.root.path().to_str().unwrap();
            let mut paths = error.split('`').map(|part| part.strip_prefix(root).unwrap_or(part));
            let named = paths.rfind(|part| part.starts_with('/')).map(str::to_owned);
            let named = named.unwrap_or_else(|| panic!("names nothing to remove: {}\n{ran}", self.when()));
            assert!(self.exists(&named), "names a path that is not there: {}\n{ran}", self.when());
            remove(&self.at(&named));
            self.story.push(format!("{named} is removed, as asked"));
        }
        panic!("does not come to an end: {}", self.when());
    }

    /// Whether any file that trustup wrote still holds one of the roots.
    fn held(&self) -> Vec<String> {
        let tree = self.tree();
        let lines =
            self.roots.iter().map(|root| root.pem.lines().nth(3).unwrap().to_owned()).collect::<Vec<_>>();
        let files = tree
            .lines
            .iter()
            .filter(|(path, line)| line.starts_with('f') && *path != STATE)
            .map(|(path, _)| path);
        let holds = |path: &&String| {
            let text = fs::read(self.at(path)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            lines.iter().any(|line| text.contains(line))
        };
        files.filter(holds).cloned().collect()
    }

    fn end(&mut self) {
        let last = self.insist("untrust --all", |world| world.trustup(["untrust", "--all"]));
        for path in self.held() {
            assert!(last.stderr.contains(&path), "{path} is not explained: {}\n{last}", self.when());
        }
        self.is_forgotten(&last);
        assert_eq!(self.trustup(["status"]).run().code, Some(4), "{}", self.when());
        self.insist("a second bootstrap", |world| world.bootstrap(0));
        self.read_only();
        let last = self.insist("the last untrust --all", |world| world.trustup(["untrust", "--all"]));
        self.is_forgotten(&last);
    }

    /// Nothing is recorded any more, but for a store that cannot be changed now, which the run has named.
    fn is_forgotten(&self, last: &Run) {
        if let Ok(bytes) = fs::read(self.at(STATE)) {
            let state: Value = serde_json::from_slice(&bytes).unwrap();
            let added =
                state["added"].as_object().unwrap_or_else(|| panic!("{}\n{last}\n{state:#}", self.when()));
            assert!(state["anchors"].as_array().unwrap().is_empty(), "{}\n{last}", self.when());
            for store in added.keys() {
                assert!(last.stderr.contains(&format!("`{store}` is left alone")), "{}\n{last}", self.when());
            }
        }
    }
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
}

fn sequences(fixtures: &[&'static str]) {
    // More by hand: the same test with other seeds.
    let more: u64 = std::env::var("TRUSTUP_TEST_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for fixture in fixtures {
        for number in 0..more {
            let name = fixture.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
            let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * number + 1) ^ name;
            let mut world = World::new(fixture, seed);
            for _ in 0..STEPS {
                if world.random.below(2) == 0 {
                    world.our_step();
                } else {
                    world.foreign_step();
                }
                world.read_only();
            }
            world.end();
        }
    }
}

#[test]
fn foreign_changes_on_debian_leave_the_state_acceptable() {
    sequences(&["debian-12", "debian-12-minimal", "debian-12-openjdk-17"]);
}

#[test]
fn foreign_changes_on_alpine_leave_the_state_acceptable() {
    sequences(&["alpine-3.23-ca-certificates", "alpine-3.9", "chainguard-static"]);
}

#[test]
fn foreign_changes_on_red_hat_leave_the_state_acceptable() {
    sequences(&["ubi-9", "amazonlinux-2023", "fedora-42"]);
}

#[test]
fn foreign_changes_on_arch_suse_and_photon_leave_the_state_acceptable() {
    sequences(&["arch", "opensuse-tumbleweed", "photon-5"]);
}

#[test]
fn foreign_changes_without_a_family_leave_the_state_acceptable() {
    sequences(&["scratch", "distroless-static-debian12", "busybox", "nix-dockertools"]);
}

/// A tree with a user, and two roots to give.
fn small(fixture: &'static str) -> World {
    World::new(fixture, 1)
}

/// A program that opens the database writes a file of its own beside it: the directories are that program's from then on.
#[test]
fn a_file_beside_a_database_that_we_made_keeps_the_directories_and_nothing_else() {
    let world = small("debian-12");
    world.bootstrap(0).arg("--create-nss").ok();
    let directory = "root/.local/share/pki/nssdb";
    world.write(&format!("{directory}/pkcs11.txt"), b"library=\n");
    let untrusted = world.trustup(["untrust", "--all"]).ok();
    assert!(untrusted.stderr.contains(&format!("{directory}` is kept")), "{untrusted}");
    assert!(
        world.exists(&format!("{directory}/pkcs11.txt")) && !world.exists(&format!("{directory}/cert9.db"))
    );
    assert!(!world.exists(STATE), "nothing is left to record");
    world.read_only();
    world.bootstrap(0).arg("--create-nss").ok();
    world.trustup(["status"]).ok();
}

/// What trustup wrote before it gave such directories up.
#[test]
fn a_state_that_lists_only_directories_is_accepted_and_forgotten() {
    let world = small("debian-12");
    fs::create_dir_all(world.at("root/.local/share/pki/nssdb")).unwrap();
    world.lay("root/.local/share/pki/nssdb/pkcs11.txt", b"library=\n");
    let made = serde_json::json!({ "before": "absent", "after": "directory" });
    let records: serde_json::Map<String, Value> =
        ["/root/.local", "/root/.local/share", "/root/.local/share/pki", "/root/.local/share/pki/nssdb"]
            .map(|path| (path.to_owned(), made.clone()))
            .into_iter()
            .collect();
    let state = serde_json::json!({
        "schema": 1, "row": "debian", "web_pki": false, "anchors": [], "sources": {}, "records": records,
        "directories": ["/var", "/var/lib"],
    });
    world.lay(STATE, state.to_string().as_bytes());
    fs::set_permissions(world.at("var/lib/trustup"), fs::Permissions::from_mode(0o700)).unwrap();
    world.read_only();
    world.trustup(["untrust", "--all"]).ok();
    assert!(!world.exists(STATE));
    world.bootstrap(0).ok();
    world.trustup(["status"]).ok();
}

/// The bundle behind a known link was ours to change while the link was there.
#[test]
fn a_bundle_whose_link_is_gone_is_left_and_named() {
    let world = small("debian-12");
    world.bootstrap(0).ok();
    assert!(fs::read_to_string(world.at(LINKED)).unwrap().contains(world.roots[0].pem.trim()));
    fs::remove_file(world.at("etc/ssl1.1/cert.pem")).unwrap();
    world.read_only();
    world.bootstrap(1).ok();
    world.read_only();
    let world = small("debian-12");
    world.bootstrap(0).ok();
    fs::remove_file(world.at("etc/ssl1.1/cert.pem")).unwrap();
    let untrusted = world.trustup(["untrust", "--all"]).ok();
    assert!(untrusted.stderr.contains(&format!("{LINKED}` is left as it is")), "{untrusted}");
    assert!(!world.exists(STATE), "{untrusted}");
    world.read_only();
}

/// Set-id bits are neither copied nor given back, and that is said.
#[test]
fn t38_set_id_bits_are_spoken_of() {
    let world = small("debian-12");
    let bundle = world.at("etc/ssl/certs/ca-certificates.crt");
    let mode = || fs::symlink_metadata(&bundle).unwrap().permissions().mode() & 0o7777;
    fs::set_permissions(&bundle, fs::Permissions::from_mode(0o2644)).unwrap();
    let installed = world.bootstrap(0).ok();
    assert!(installed.stderr.contains("had set-id bits"), "{installed}");
    assert_eq!(mode(), 0o644);
    world.read_only();
    assert_eq!(world.bootstrap(0).arg("--json").ok().json()["changed"], false);
    let untrusted = world.trustup(["untrust", "--all"]).ok();
    assert!(untrusted.stderr.contains("chmod 2644 "), "{untrusted}");
    assert_eq!(mode(), 0o644);
}

/// Somebody wrote between our entries of Firefox's policy.
#[test]
fn a_policy_that_is_edited_between_our_entries_is_still_ours_to_clean() {
    let world = small("debian-12");
    world.bootstrap(0).arg("--firefox-policy").ok();
    world.bootstrap(1).ok();
    let text = fs::read_to_string(world.at(POLICY)).unwrap();
    let theirs = "\"/etc/corp/a-rather-long-name-that-takes-some-room.pem\"";
    world.write(POLICY, text.replacen(".crt\",", &format!(".crt\",\n{theirs},"), 1).as_bytes());
    assert!(fs::read_to_string(world.at(POLICY)).unwrap().contains(theirs), "the case changes nothing");
    world.bootstrap(2).ok();
    world.read_only();
    world.trustup(["untrust", "--all"]).ok();
    let left: Value = serde_json::from_str(&fs::read_to_string(world.at(POLICY)).unwrap()).unwrap();
    let named = left["policies"]["Certificates"]["Install"].as_array().unwrap().len();
    assert_eq!(named, 1, "{left}");
    world.read_only();
}
