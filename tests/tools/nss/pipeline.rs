//! The same through the command line: bootstrap, status and untrust on databases that NSS' tools judge.

use tempfile::TempDir;

use super::{ALL, Made, SECRET, Store};
use crate::support::ca::{Root, root};
use crate::support::run::Trustup;
use crate::support::tls_server::TlsServer;

/// A root file system with the store's directory in it.
struct Scene {
    // First: its directory is in the sysroot's.
    store: Store,
    sysroot: TempDir,
    root: Root,
}

impl Scene {
    fn new(made: Made) -> Scene {
        let sysroot = TempDir::new().unwrap();
        let store = Store::made_in(TempDir::new_in(sysroot.path()).unwrap(), made);
        let scene = Scene { store, sysroot, root: root("NSS Pipeline Root") };
        std::fs::write(scene.store.path("root.pem"), &scene.root.pem).unwrap();
        scene
    }

    fn trustup<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Trustup {
        Trustup::at(self.sysroot.path(), args)
    }

    /// The database's directory as seen inside.
    fn name(&self) -> String {
        format!("/{}", self.store.directory.path().file_name().unwrap().to_str().unwrap())
    }

    fn bootstrap(&self) -> Trustup {
        let run = self.trustup(["bootstrap", "--stores", "nss", "--nss-db", &self.name(), "--ca-file"]);
        run.arg(self.store.path("root.pem"))
    }

    fn with_password(&self, run: Trustup) -> Trustup {
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
