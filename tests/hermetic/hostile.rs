//! Hostile trees (threats T9, T10, T11): whatever an image holds, nothing outside of it is read or changed, nothing
//! hangs, and a run either does its whole job, reversibly, or says why not and changes nothing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup, fixtures};
use crate::support::tree::{Tree, inside};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
pub(super) const LOCAL: &str = "usr/local/share/ca-certificates";
const STATE: &str = "var/lib/trustup";

/// A sysroot and, beside it, what must not be touched.
pub(super) struct Scene {
    pub(super) directory: tempfile::TempDir,
    root: Root,
    /// Resolve links without openat2.
    fallback: bool,
}

impl Scene {
    pub(super) fn new(fixture: &str, fallback: bool) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let scene = Scene { directory, root: ca::root("Hostile Test Root"), fallback };
        for place in [scene.sysroot(), scene.outside()] {
            fs::create_dir(&place).unwrap();
            trustup::demo::fixture::Fixture::load(&fixtures().join(fixture)).unwrap().unpack(&place).unwrap();
        }
        // So that a row that was read outside shows.
        let release = scene.outside().join("etc/os-release");
        fs::create_dir_all(release.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&release);
        fs::write(release, "ID=gentoo\n").unwrap();
        scene.root.write(scene.directory.path(), "root.pem");
        scene
    }

    pub(super) fn sysroot(&self) -> PathBuf {
        self.directory.path().join("sysroot")
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.sysroot().join(path)
    }

    /// Puts something else at a path: takes away what is there first.
    fn instead(&self, path: &str) -> PathBuf {
        let path = self.at(path);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => fs::create_dir_all(path.parent().unwrap()).unwrap(),
        }
        path
    }

    pub(super) fn trustup(&self, args: &[&str]) -> Trustup {
        let run = Trustup::at(&self.sysroot(), args);
        if self.fallback { run.without_openat2() } else { run }
    }

    pub(super) fn bootstrap(&self) -> Trustup {
        self.trustup(&["bootstrap", "--ca-file"]).arg(self.directory.path().join("root.pem"))
    }

    /// Bootstraps. Either all is done, proven and reversible, or it failed and nothing changed; outside nothing ever
    /// changes. The answer is the first run's.
    fn is_sound(&self, case: &str) -> Run {
        let before = Tree::of(&self.sysroot());
        let outside = Tree::of(&self.outside());
        let run = self.bootstrap().run();
        outside.assert_same(&Tree::of(&self.outside()), &format!("{case}: outside, after bootstrap"));
        match run.code {
            Some(0) => {
                self.trustup(&["status"]).ok();
                self.trustup(&["untrust", "--all"]).ok();
                let after = Tree::of(&self.sysroot());
                if run.stderr.contains("the distribution removed it") {
                    // Its files are gone, as if the vendor had withdrawn them: that is named, and no root comes back by
                    // the state's word alone (threat T34).
                    let changed = before.changed_paths(&after);
                    assert!(
                        changed.iter().all(|path| path.starts_with("etc/ssl/certs/")),
                        "{case}: {changed:?}"
                    );
                } else {
                    before.assert_same(&after, &format!("{case}: after untrust"));
                }
                outside.assert_same(&Tree::of(&self.outside()), &format!("{case}: outside, after untrust"));
            }
            Some(1 | 2 | 5) => {
                before.assert_same(&Tree::of(&self.sysroot()), &format!("{case}: after a failure\n{run}"));
                assert!(run.stderr.contains("error"), "{case}: {run}");
            }
            _ => panic!("{case}: exit code: {run}"),
        }
        self.trustup(&["detect"]).run();
        outside.assert_same(&Tree::of(&self.outside()), &format!("{case}: outside, after detect"));
        run
    }
}

/// A way to spoil a tree.
type Spoil = (&'static str, fn(&Scene));

/// Runs every case with openat2 and without; `verdict` looks at the run. Fails with the names of all that fail.
fn each(fixture: &str, cases: &[Spoil], verdict: impl Fn(&str, &Run)) {
    let mut failed = Vec::new();
    for (case, spoil) in cases {
        for fallback in [false, true] {
            let case = format!("{case} ({})", if fallback { "own walk" } else { "openat2" });
            eprintln!("--- {case}");
            let sound = catch_unwind(AssertUnwindSafe(|| {
                let scene = Scene::new(fixture, fallback);
                spoil(&scene);
                verdict(&case, &scene.is_sound(&case));
            }));
            if sound.is_err() {
                failed.push(case);
            }
        }
    }
    assert!(failed.is_empty(), "{} cases failed in {fixture}: {failed:#?}", failed.len());
}

fn wants(code: i32) -> impl Fn(&str, &Run) {
    move |case, run| assert_eq!(run.code, Some(code), "{case}: {run}")
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// `/dev/zero`; only root can make one, others get a FIFO.
fn device(path: &Path) {
    let zero = rustix::fs::makedev(1, 5);
    if rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o644), zero).is_err() {
        fifo(path);
    }
}

fn sparse(path: &Path) {
    fs::File::create(path).unwrap().set_len(10 << 30).unwrap();
}

#[test]
fn an_os_release_that_is_no_small_file_is_refused() {
    each(
        "debian-12",
        &[
            ("FIFO", |scene| fifo(&scene.instead("etc/os-release"))),
            ("device", |scene| device(&scene.instead("etc/os-release"))),
            ("directory", |scene| fs::create_dir(scene.instead("etc/os-release")).unwrap()),
            ("sparse 10 GB", |scene| sparse(&scene.instead("etc/os-release"))),
            ("64 KiB and a byte", |scene| {
                fs::write(scene.instead("etc/os-release"), vec![b'#'; 65_537]).unwrap()
            }),
            ("loop", |scene| symlink("os-release", scene.instead("etc/os-release")).unwrap()),
        ],
        wants(1),
    );
}

#[test]
fn an_os_release_that_says_nothing_means_bundle_only() {
    let cases: &[Spoil] = &[
        ("lone quote", |scene| fs::write(scene.instead("etc/os-release"), "ID=\"\n").unwrap()),
        ("lone single quote", |scene| fs::write(scene.instead("etc/os-release"), "ID='").unwrap()),
        ("NUL bytes", |scene| fs::write(scene.instead("etc/os-release"), "ID=deb\0ian\n\0\0").unwrap()),
        ("not UTF-8", |scene| fs::write(scene.instead("etc/os-release"), b"ID=\xff\xfe\n").unwrap()),
        ("empty", |scene| fs::write(scene.instead("etc/os-release"), "").unwrap()),
        ("missing", |scene| {
            fs::remove_file(scene.at("etc/os-release")).unwrap();
            fs::remove_file(scene.at("usr/lib/os-release")).unwrap();
        }),
        ("link to a file outside", |scene| {
            symlink(scene.outside().join("etc/os-release"), scene.instead("etc/os-release")).unwrap();
            fs::remove_file(scene.at("usr/lib/os-release")).unwrap();
        }),
        ("relative link to a file outside", |scene| {
            symlink("../../outside/etc/os-release", scene.instead("etc/os-release")).unwrap();
            fs::remove_file(scene.at("usr/lib/os-release")).unwrap();
        }),
        ("link through procfs", |scene| {
            let target = format!("/proc/self/root{}/etc/os-release", scene.outside().display());
            symlink(target, scene.instead("etc/os-release")).unwrap();
            fs::remove_file(scene.at("usr/lib/os-release")).unwrap();
        }),
    ];
    each("debian-12", cases, wants(0));
    for (case, spoil) in cases {
        for fallback in [false, true] {
            let scene = Scene::new("debian-12", fallback);
            spoil(&scene);
            let facts = scene.trustup(&["detect", "--json"]).ok().json();
            assert_eq!(facts["row"], "bundle-only", "{case}");
        }
    }
}

#[test]
fn an_os_release_with_carriage_returns_is_read() {
    let scene = Scene::new("debian-12", false);
    fs::write(scene.instead("etc/os-release"), "NAME=\"Debian\"\r\nID=debian\r\nVERSION_ID=\"12\"\r\n")
        .unwrap();
    assert_eq!(scene.trustup(&["detect", "--json"]).ok().json()["row"], "debian");
    wants(0)("CRLF", &scene.is_sound("CRLF"));
}

#[test]
fn a_bundle_that_is_no_file_within_the_limit_is_refused() {
    for fixture in ["debian-12", "alpine-3.20", "distroless-static-debian12"] {
        each(
            fixture,
            &[
                ("FIFO", |scene| fifo(&scene.instead(BUNDLE))),
                ("device", |scene| device(&scene.instead(BUNDLE))),
                ("directory", |scene| fs::create_dir(scene.instead(BUNDLE)).unwrap()),
                ("sparse 10 GB", |scene| sparse(&scene.instead(BUNDLE))),
                ("32 MiB and a byte", |scene| {
                    fs::write(scene.instead(BUNDLE), vec![b'\n'; (32 << 20) + 1]).unwrap();
                }),
                ("link to itself", |scene| symlink("ca-certificates.crt", scene.instead(BUNDLE)).unwrap()),
            ],
            wants(1),
        );
    }
}

#[test]
fn something_else_in_the_way_is_no_disaster() {
    each(
        "debian-12",
        &[
            ("etc/ssl is a file", |scene| fs::write(scene.instead("etc/ssl"), "x").unwrap()),
            ("etc/ssl/certs is a FIFO", |scene| fifo(&scene.instead("etc/ssl/certs"))),
            ("etc/ssl loops", |scene| symlink("../etc/ssl", scene.instead("etc/ssl")).unwrap()),
            ("the anchor directory is a file", |scene| fs::write(scene.instead(LOCAL), "x").unwrap()),
            ("the anchor directory is a FIFO", |scene| fifo(&scene.instead(LOCAL))),
            ("the state directory is a file", |scene| fs::write(scene.instead(STATE), "x").unwrap()),
            ("var is a file", |scene| fs::write(scene.instead("var"), "x").unwrap()),
        ],
        wants(1),
    );
    each(
        "debian-12",
        &[
            ("the state directory is a link", |scene| symlink("../../tmp", scene.instead(STATE)).unwrap()),
            ("a FIFO among the anchors", |scene| fifo(&scene.at(LOCAL).join("x.crt"))),
            ("a device among the anchors", |scene| device(&scene.at(LOCAL).join("x.crt"))),
            ("a directory among the anchors", |scene| fs::create_dir(scene.at(LOCAL).join("x.crt")).unwrap()),
            ("a sparse file among the anchors", |scene| sparse(&scene.at(LOCAL).join("x.crt"))),
            ("a broken link among the anchors", |scene| {
                symlink("nowhere", scene.at(LOCAL).join("x.crt")).unwrap()
            }),
            ("a name that is not UTF-8 among the anchors", |scene| {
                let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.crt");
                fs::write(scene.at(LOCAL).join(name), "x").unwrap();
            }),
            ("an anchor directory that holds itself", |scene| {
                symlink(".", scene.at(LOCAL).join("again")).unwrap()
            }),
            ("an anchor outside", |scene| {
                symlink(scene.outside().join("usr/lib/os-release"), scene.at(LOCAL).join("x.crt")).unwrap();
            }),
            ("deep folders", |scene| {
                let mut path = scene.at(LOCAL);
                for _ in 0..200 {
                    path.push("d");
                    fs::create_dir(&path).unwrap();
                }
            }),
            ("the configuration is a FIFO", |scene| fifo(&scene.instead("etc/ca-certificates.conf"))),
            ("the configuration is 10 GB", |scene| sparse(&scene.instead("etc/ca-certificates.conf"))),
            ("the configuration leads outside", |scene| {
                let lines = "../../../../outside/etc/os-release\n/etc/passwd\nmozilla/ISRG_Root_X1.crt\n";
                fs::write(scene.at("etc/ca-certificates.conf"), lines).unwrap();
            }),
            ("a vendor root is a FIFO", |scene| {
                fifo(&scene.instead("usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"));
            }),
            ("a FIFO in the hashed directory", |scene| fifo(&scene.at("etc/ssl/certs/x.pem"))),
            ("a link to a FIFO in the hashed directory", |scene| {
                fifo(&scene.at("tmp/fifo"));
                symlink("/tmp/fifo", scene.at("etc/ssl/certs/x.pem")).unwrap();
            }),
            ("a directory named like a hash", |scene| {
                fs::create_dir(scene.at("etc/ssl/certs/12345678.0")).unwrap()
            }),
            ("a hash link outside", |scene| {
                symlink(scene.outside().join("usr/lib/os-release"), scene.at("etc/ssl/certs/12345678.0"))
                    .unwrap();
            }),
        ],
        |_, _| {},
    );
}

#[test]
fn links_mean_the_sysroot() {
    each(
        "alpine-3.20",
        &[
            ("absolute link to a directory", |scene| {
                fs::create_dir(scene.at("opt")).unwrap();
                fs::rename(scene.at("etc/ssl"), scene.at("opt/ssl")).unwrap();
                symlink("/opt/ssl", scene.at("etc/ssl")).unwrap();
            }),
            ("more `..` than the depth", |scene| {
                let target = "../../../../../../../../etc/ssl/certs/real.crt";
                fs::rename(scene.at(BUNDLE), scene.at("etc/ssl/certs/real.crt")).unwrap();
                symlink(target, scene.at(BUNDLE)).unwrap();
            }),
            ("a chain of links", |scene| {
                fs::rename(scene.at(BUNDLE), scene.at("etc/ssl/certs/real.crt")).unwrap();
                symlink("c20", scene.at(BUNDLE)).unwrap();
                for n in 1..=20 {
                    symlink(format!("c{}", n - 1), scene.at(&format!("etc/ssl/certs/c{n}"))).unwrap();
                }
                symlink("/etc/ssl/certs/real.crt", scene.at("etc/ssl/certs/c0")).unwrap();
            }),
        ],
        wants(0),
    );
    // The file at the end of the link is what changed, and the link is still one.
    let scene = Scene::new("alpine-3.20", false);
    fs::rename(scene.at(BUNDLE), scene.at("etc/real.crt")).unwrap();
    symlink("../../../../../../etc/real.crt", scene.at(BUNDLE)).unwrap();
    scene.bootstrap().ok();
    assert!(fs::symlink_metadata(scene.at(BUNDLE)).unwrap().is_symlink());
    let held = ca::fingerprint_set(&fs::read_to_string(scene.at("etc/real.crt")).unwrap());
    assert!(held.contains(&scene.root.fingerprint));
}

#[test]
fn links_that_lead_outside_change_nothing_there() {
    const PLACES: [&str; 9] = [
        "etc/ssl",
        "etc/ssl/certs",
        BUNDLE,
        "etc/ca-certificates.conf",
        "usr/share/ca-certificates",
        "usr/local",
        LOCAL,
        "var/lib",
        STATE,
    ];
    for fixture in ["debian-12", "alpine-3.20"] {
        for place in PLACES {
            for absolute in [true, false] {
                for fallback in [false, true] {
                    let scene = Scene::new(fixture, fallback);
                    let depth = place.matches('/').count();
                    let target = if absolute {
                        scene.outside().join(place)
                    } else {
                        Path::new(&"../".repeat(depth + 1)).join("outside").join(place)
                    };
                    fs::create_dir_all(scene.outside().join("var/lib/trustup")).unwrap();
                    symlink(target, scene.instead(place)).unwrap();
                    scene.is_sound(&format!("{fixture}: {place}, absolute {absolute}, fallback {fallback}"));
                }
            }
        }
    }
}

#[test]
fn a_file_with_another_name_outside_is_not_written_in_place() {
    for fixture in ["debian-12", "alpine-3.9", "distroless-static-debian12"] {
        for fallback in [false, true] {
            let scene = Scene::new(fixture, fallback);
            let linked =
                [BUNDLE, "etc/ssl/cert.pem", "etc/ca-certificates.conf", "etc/ssl/certs/ISRG_Root_X1.pem"];
            let linked: Vec<&str> = linked.into_iter().filter(|path| scene.at(path).is_file()).collect();
            for (number, path) in linked.iter().enumerate() {
                let file = inside(&scene.sysroot(), &format!("/{path}")).unwrap();
                fs::hard_link(file, scene.outside().join(format!("linked-{number}"))).unwrap();
            }
            let outside = Tree::of(&scene.outside()).ignoring_hard_links();
            let before = Tree::of(&scene.sysroot()).ignoring_hard_links();
            scene.bootstrap().ok();
            outside
                .assert_same(&Tree::of(&scene.outside()).ignoring_hard_links(), "outside, after bootstrap");
            scene.trustup(&["untrust", "--all"]).ok();
            before.assert_same(&Tree::of(&scene.sysroot()).ignoring_hard_links(), "after untrust");
            outside.assert_same(&Tree::of(&scene.outside()).ignoring_hard_links(), "outside, after untrust");
        }
    }
}
