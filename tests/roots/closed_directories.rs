//! A user other than root in an image that root prepared: directories that this user may not look into, and that
//! nobody named, are no reason for a warning or an error.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::support::ca;
use crate::support::roots::{Base, RootFs};
use crate::support::run::Trustup;

const BASES: [Base; 13] = [
    Base::Debian12Bare,
    Base::Debian12,
    Base::Debian13Bare,
    Base::Debian13,
    Base::Clients,
    Base::Runtimes,
    Base::Java,
    Base::Alpine,
    Base::RedHat,
    Base::Arch,
    Base::Photon,
    Base::Suse,
    Base::Browsers,
];

/// The trust part of the file in the guide's page on trustup.toml.
const TOML: &str = "[trust]\nca_file = [\"/mnt/root.pem\"]\nstores = [\"system\", \"java\"]\nstrict = true\n";

struct Scene {
    root: RootFs,
}

impl Scene {
    fn new(base: Base) -> Scene {
        let root = base.copy();
        fs::set_permissions(root.exchange(), fs::Permissions::from_mode(0o755)).unwrap();
        let ca = ca::root("Root of Closed Directories");
        ca.write(root.exchange(), "root.pem");
        Scene { root }
    }

    /// A directory of root's that nobody else may look into.
    fn closed(&self, path: &str) {
        fs::create_dir_all(self.root.at(path)).unwrap();
        fs::set_permissions(self.root.at(path), fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// As uid 1000 with these variables.
    fn user(&self, variables: &[&str], args: &[&str]) -> Trustup {
        // BusyBox cannot change the user as the tools of other roots do: the machine's chroot can.
        let before = "printf '#!/bin/sh\\nexec /usr/sbin/chroot --userspec=1000:1000 --groups=1000 \"$@\"\\n' \
                      > \"$EXCHANGE/chroot\"; chmod 755 \"$EXCHANGE/chroot\"; PATH=\"$EXCHANGE:$PATH\"";
        self.root.trustup_inside_after(before, variables, args)
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn what_nobody_named_is_passed_over_in_every_kept_root() {
    for base in BASES {
        let scene = Scene::new(base);
        for path in
            ["root", "root/.sdkman/candidates/java", "home/someone", "opt/jdk-closed", "opt/java/closed"]
        {
            scene.closed(path);
        }
        scene.root.write("etc/trustup/trustup.toml", TOML);
        scene.root.trustup_inside(["bootstrap"]).ok();
        // HOME as in an image whose USER has no entry in /etc/passwd, as `gosu` and `su-exec` keep it, and another's.
        for home in ["HOME=/", "HOME=/root", "HOME=/home/someone"] {
            for args in [
                &["bootstrap"][..],
                &["bootstrap", "--ca-file", "/mnt/root.pem", "--strict"],
                &["bootstrap", "--ca-file", "/mnt/root.pem", "--stores", "system,java,nss"],
            ] {
                let run = scene.user(&[home], args).ok();
                assert!(run.stderr.contains("nothing to do"), "{base:?} {home} {args:?}: {run}");
                assert!(!run.stderr.contains("warning"), "{base:?} {home} {args:?}: {run}");
            }
        }
        let run = scene.user(&["HOME=/root"], &["bootstrap", "-v"]).ok();
        run.says(["may not look there", "/root/.sdkman/candidates/java"]);
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn stores_of_others_are_passed_over_and_what_is_named_is_not() {
    let scene = Scene::new(Base::Debian12);
    let keystore = fs::read(Base::Java.kept().join("etc/ssl/certs/java/cacerts")).unwrap();
    for home in ["opt/java/closed", "root/jdk"] {
        scene.root.write(&format!("{home}/lib/security/cacerts"), &keystore);
    }
    fs::set_permissions(
        scene.root.at("opt/java/closed/lib/security/cacerts"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    // A Java whose files, and one whose keystore, lie in root's home.
    fs::create_dir_all(scene.root.at("usr/lib/jvm")).unwrap();
    std::os::unix::fs::symlink("/root/jdk", scene.root.at("usr/lib/jvm/linked")).unwrap();
    fs::create_dir_all(scene.root.at("opt/java/linked/lib/security")).unwrap();
    std::os::unix::fs::symlink(
        "/root/jdk/lib/security/cacerts",
        scene.root.at("opt/java/linked/lib/security/cacerts"),
    )
    .unwrap();
    // The user's own home, with what root left in it while the image was built.
    for path in ["home/user/.mozilla/firefox", "home/user/.pki/nssdb"] {
        fs::create_dir_all(scene.root.at(path)).unwrap();
    }
    chown(scene.root.at("home/user"), Some(1000), Some(1000)).unwrap();
    scene.closed("home/user/.mozilla");
    for name in ["cert9.db", "key4.db"] {
        scene.root.write(&format!("home/user/.pki/nssdb/{name}"), "");
        fs::set_permissions(
            scene.root.at(&format!("home/user/.pki/nssdb/{name}")),
            fs::Permissions::from_mode(0o600),
        )
        .unwrap();
    }
    scene.closed("root");
    scene.closed("etc/pki");
    scene.root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem", "--stores", "system"]).ok();
    let strict = [
        "bootstrap",
        "--ca-file",
        "/mnt/root.pem",
        "--strict",
        "--stores",
        "system,java,nss",
        "-v",
        "--dry-run",
    ];
    let run = scene.user(&["HOME=/home/user"], &strict).ok();
    assert!(!run.stderr.contains("warning"), "{run}");
    run.says([
        "may not look there",
        "/opt/java/closed/lib/security/cacerts",
        "/usr/lib/jvm/linked",
        "/home/user/.mozilla/firefox",
        "/home/user/.pki/nssdb/cert9.db",
        "/etc/pki/nssdb",
    ]);
    for args in [&["detect"][..], &["doctor"], &["status"]] {
        let run = scene.user(&["HOME=/home/user"], args).run();
        assert!(!run.stderr.contains("ermission denied"), "{args:?}: {run}");
    }

    // JAVA_HOME and --nss-user name a place.
    for home in ["JAVA_HOME=/root/jdk", "JAVA_HOME=/opt/java/closed"] {
        let run = scene.user(&["HOME=/home/user", home], &strict).fails(1);
        run.says(["ermission denied", home.trim_start_matches("JAVA_HOME=")]);
        let run = scene.user(&["HOME=/home/user", home], &["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        run.says(["warning", "ermission denied"]);
    }
    scene.root.append("etc/passwd", "user:x:1000:1000::/home/user:/bin/sh\n");
    let named = [&strict[..], &["--nss-user", "user"]].concat();
    scene.user(&["HOME=/home/user"], &named).fails(1).says(["/home/user/.mozilla", "ermission denied"]);
}
