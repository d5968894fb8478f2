//! The same through the command line: bootstrap, status and untrust on databases that NSS' tools judge.

use std::path::Path;

use tempfile::TempDir;

use super::{ALL, Made, SECRET, Store};
use crate::support::ca::{Root, root};
use crate::support::run::Trustup;
use crate::support::tls_server::TlsServer;

/// A root file system with the store's directory in it.
pub(super) struct Scene {
    // First: its directory is in the sysroot's.
    pub(super) store: Store,
    sysroot: TempDir,
    root: Root,
}

impl Scene {
    pub(super) fn new(made: Made) -> Scene {
        let sysroot = TempDir::new().unwrap();
        std::fs::create_dir(sysroot.path().join("etc")).unwrap();
        let store = Store::made_in(TempDir::new_in(sysroot.path()).unwrap(), made);
        let scene = Scene { store, sysroot, root: root("NSS Pipeline Root") };
        std::fs::write(scene.store.path("root.pem"), &scene.root.pem).unwrap();
        scene
    }

    pub(super) fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.sysroot.path(), args)
    }

    /// The database's directory.
    pub(super) fn directory(&self) -> &Path {
        self.store.directory.path()
    }

    /// The same as seen inside.
    pub(super) fn name(&self) -> String {
        format!("/{}", self.store.directory.path().file_name().unwrap().to_str().unwrap())
    }

    pub(super) fn bootstrap(&self) -> Trustup {
        let run = self.trustup(["bootstrap", "--stores", "nss", "--nss-db", &self.name(), "--ca-file"]);
        run.arg(self.store.path("root.pem"))
    }

    pub(super) fn with_password(&self, run: Trustup) -> Trustup {
        match self.store.password {
            Some(_) => run.arg("--nss-password-file").arg(self.store.path("password")),
            None => run,
        }
    }
}

#[test]
#[ignore = "needs certutil and tstclnt (Debian package libnss3-tools)"]
fn bootstrap_and_untrust_on_databases_of_every_kind() {
    for made in ALL {
        let scene = Scene::new(made);
        let first = scene.store.content();
        let listed = scene.store.certutil(&["-L"]);
        let server = TlsServer::start(&scene.root);
        assert!(!scene.store.connects(&server), "before");
        if made == Made::Real {
            scene.bootstrap().fails(2).says(["--nss-password-file"]);
            std::fs::write(scene.store.path("wrong"), "wrong").unwrap();
            scene.bootstrap().arg("--nss-password-file").arg(scene.store.path("wrong")).fails(2);
            assert_eq!(scene.store.content(), first, "nothing changed");
        }
        let run = scene.with_password(scene.bootstrap()).ok();
        assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{run}");
        let after = scene.store.certutil(&["-L"]);
        let line = after.lines().find(|line| line.contains("NSS_Pipeline_Root")).expect(&after);
        assert!(line.trim_end().ends_with("C,,"), "{after}");
        let nickname = line.split_whitespace().next().unwrap();
        scene.store.certutil(&["-V", "-u", "L", "-n", nickname]);
        assert!(scene.store.connects(&server), "after");
        let again = scene.with_password(scene.bootstrap()).arg("--json").ok();
        assert_eq!(again.json()["changed"], false, "{again}");
        scene.trustup(["status", "--nss-db", &scene.name()]).ok();
        scene.trustup(["untrust", "--all"]).ok();
        assert_eq!(scene.store.content(), first, "{made:?}");
        assert_eq!(scene.store.certutil(&["-L"]), listed);
        assert!(!scene.store.connects(&server), "after untrust");
    }
}

/// SIGKILL before every step: NSS opens the databases, and never takes the root for distrusted.
#[test]
#[ignore = "needs certutil (Debian package libnss3-tools)"]
fn killed_at_any_step_nss_opens_the_databases() {
    for made in ALL {
        for step in 1.. {
            let scene = Scene::new(made);
            let first = scene.store.content();
            let run = scene.with_password(scene.bootstrap()).killed_at(step).run();
            for flags in scene.store.list().values() {
                assert_eq!(flags, "C,,", "{made:?}, step {step}");
            }
            for nickname in scene.store.list().keys() {
                assert!(scene.store.is_valid(nickname), "{made:?}, step {step}: {nickname}");
            }
            scene.with_password(scene.bootstrap()).ok();
            assert_eq!(scene.store.list().len(), 1, "{made:?}, step {step}");
            scene.trustup(["untrust", "--all"]).ok();
            assert_eq!(scene.store.content(), first, "{made:?}, step {step}");
            if run.code.is_some() {
                assert!(step > 3, "{made:?}: {run}");
                break;
            }
        }
    }
}

/// NSS opens a database that we made: it writes `pkcs11.txt` beside it, and maybe a certificate into it. What we made goes
/// again, what is NSS' stays, and no later command stumbles over our own record.
#[test]
#[ignore = "needs certutil (Debian package libnss3-tools)"]
fn what_nss_writes_beside_ours_makes_no_record_forged() {
    for keeps in [true, false] {
        let sysroot = TempDir::new().unwrap();
        let at = |path: &str| sysroot.path().join(path);
        for directory in ["etc", "root"] {
            std::fs::create_dir(at(directory)).unwrap();
        }
        std::fs::write(at("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        std::fs::write(at("etc/os-release"), "ID=debian\n").unwrap();
        let given = TempDir::new().unwrap();
        let ours = root("Beside NSS").write(given.path(), "ours.pem");
        let theirs = root("Of NSS").write(given.path(), "theirs.pem");
        let database = at("root/.local/share/pki/nssdb");
        let certutil = |args: &[&str]| {
            let mut command = std::process::Command::new("certutil");
            command.env_clear().args(args).arg("-d").arg(format!("sql:{}", database.display()));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let trustup = |args: &[&str]| Trustup::at(sysroot.path(), args);
        trustup(&["bootstrap", "--create-nss", "--ca-file"]).arg(&ours).ok();
        certutil(&["-A", "-n", "theirs", "-t", ",,", "-i", theirs.to_str().unwrap()]);
        assert!(database.join("pkcs11.txt").exists(), "NSS writes it");
        if !keeps {
            certutil(&["-D", "-n", "theirs"]);
        }
        trustup(&["status"]).ok();
        let untrusted = trustup(&["untrust", "--all"]).ok();
        assert!(!at("var/lib/trustup").exists(), "{untrusted}");
        trustup(&["status"]).fails(4);
        for command in ["detect", "doctor"] {
            let run = trustup(&[command]).run();
            assert!(!run.stderr.contains("the state"), "{run}");
        }
        if keeps {
            let listed = certutil(&["-L"]);
            assert!(listed.contains("theirs") && !listed.contains("Beside_NSS"), "{listed}");
        }
        trustup(&["bootstrap", "--create-nss", "--ca-file"]).arg(&ours).ok();
        assert!(certutil(&["-L"]).contains("Beside_NSS"));
        trustup(&["untrust", "--all"]).ok();
        trustup(&["status"]).fails(4);
    }
}
