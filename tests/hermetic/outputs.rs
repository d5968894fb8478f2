//! Where output options write (threat T37): no device, FIFO or link to one is ever replaced, standard output is written to by
//! each of its names, and `--ca-out` replaces only what holds nothing but certificates.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::ca::{self, Root};
use crate::support::run::{Run, Trustup};

/// Things that no file may take the place of, in a directory of their own.
struct Scene {
    directory: tempfile::TempDir,
    ca: Root,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { directory: tempfile::tempdir().unwrap(), ca: ca::root("Output Root") };
        scene.ca.write(scene.directory.path(), "root.pem");
        fs::write(scene.at("key.pem"), &scene.ca.key_pem).unwrap();
        fs::write(scene.at("token"), "no token").unwrap();
        for name in ["key.pem", "token"] {
            fs::set_permissions(scene.at(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        mknodat(CWD, scene.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        drop(UnixListener::bind(scene.at("socket")).unwrap());
        fs::create_dir(scene.at("directory")).unwrap();
        symlink("/dev/null", scene.at("to-null")).unwrap();
        symlink("to-null", scene.at("to-a-link")).unwrap();
        symlink("fifo", scene.at("to-fifo")).unwrap();
        symlink("/dev", scene.at("to-dev")).unwrap();
        symlink("/dev/stdout", scene.at("to-stdout")).unwrap();
        symlink("/proc/self/fd", scene.at("to-fd")).unwrap();
        symlink("loop", scene.at("loop")).unwrap();
        if rustix::process::geteuid().is_root() {
            // Another null device: should it be replaced, the machine's own is not gone.
            let null = makedev(1, 3);
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, scene.at("device"), FileType::CharacterDevice, mode, null).unwrap();
        }
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What is there, by name: kind, inode and target.
    fn seen(&self) -> Vec<String> {
        let mut seen: Vec<String> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                format!("{} {:o} {} {:?}", path.display(), meta.mode(), meta.ino(), fs::read_link(&path).ok())
            })
            .collect();
        seen.sort();
        seen
    }

    /// Paths where no file may be written.
    fn forbidden(&self) -> Vec<String> {
        let mut names = vec![
            "fifo",
            "socket",
            "directory",
            "to-null",
            "to-a-link",
            "to-fifo",
            "to-dev/new",
            "to-stdout",
            "to-fd/1",
            "loop",
            "directory/",
            "directory/.",
            "new/",
            "directory/..",
            "fifo/x",
            "to-dev/null",
            "directory/../fifo",
        ];
        if rustix::process::geteuid().is_root() {
            names.push("device");
        }
        let mut paths: Vec<String> =
            names.into_iter().map(|name| format!("{}/{name}", self.directory.path().display())).collect();
        let everywhere = [
            "/dev/trustup-test",
            "/dev/fd/2",
            "/proc/self/fd/2",
            "/proc/self/cwd/x",
            "/proc/trustup",
            "/sys/trustup",
            "/dev/../dev/fd/2",
        ];
        paths.extend(everywhere.map(str::to_owned));
        paths
    }

    fn token(&self) -> Trustup {
        let args =
            ["token", "web.test", "--provisioner", "dev", "--ca-url", "https://127.0.0.1:1", "--fingerprint"];
        Trustup::new(args)
            .arg(self.ca.pin())
            .arg("--provisioner-key")
            .arg(self.at("key.pem"))
            .env("HOME", self.directory.path())
    }

    /// Nobody is asked before the paths are known to be good: nobody listens at the CA's port.
    fn enroll(&self, option: &str, path: &str) -> Trustup {
        let mut run = Trustup::new([
            "--timeout",
            "5s",
            "enroll",
            "token",
            "web.test",
            "--ca-url",
            "https://127.0.0.1:1",
        ])
        .args(["--fingerprint", &self.ca.pin()])
        .arg("--token-file")
        .arg(self.at("token"))
        .env("HOME", self.directory.path());
        for (other, name) in [("--cert", "new.crt"), ("--key", "new.key")] {
            if other != option {
                run = run.arg(other).arg(self.at(name));
            }
        }
        run.args([option, path])
    }

    fn bootstrap(&self, sysroot: &Path, path: &str) -> Trustup {
        Trustup::at(sysroot, ["bootstrap", "--ca-file"]).arg(self.at("root.pem")).args(["--ca-out", path])
    }
}

/// An error of the command line that names the option and a next step, which is never to remove anything.
#[track_caller]
fn is_refused(run: &Run, option: &str, path: &str) {
    assert_eq!(run.code, Some(2), "{option} {path}: {run}");
    run.says(["hint:", option]);
    assert!(!run.stderr.contains("remove"), "{option} {path}: {run}");
}

#[test]
fn t37_a_token_replaces_no_device_and_no_link_to_one() {
    let scene = Scene::new();
    let before = scene.seen();
    for path in scene.forbidden() {
        is_refused(&scene.token().args(["--out", &path]).run(), "--out", &path);
        assert_eq!(scene.seen(), before, "{path}");
    }
    // Without openat2, too.
    for path in scene.forbidden() {
        let run = scene.token().args(["--out", &path]).without_openat2().run();
        is_refused(&run, "--out", &path);
        assert_eq!(scene.seen(), before, "{path}");
    }
    assert!(Path::new("/dev/stdout").symlink_metadata().unwrap().is_symlink());
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // A link to a file of ours gives way, as ever.
    symlink("key.pem", scene.at("to-file")).unwrap();
    scene.token().arg("--out").arg(scene.at("to-file")).ok();
    assert!(scene.at("to-file").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_to_string(scene.at("key.pem")).unwrap(), scene.ca.key_pem);
}

#[test]
fn t37_each_name_of_standard_output_is_written_to() {
    let scene = Scene::new();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "//dev/./stdout"] {
        let run = scene.token().args(["--out", name]).ok();
        assert_eq!(run.stdout.trim_end().split('.').count(), 3, "{name}: {run}");
        let sysroot = tempfile::tempdir().unwrap();
        fs::create_dir(sysroot.path().join("etc")).unwrap();
        let run = scene.bootstrap(sysroot.path(), name).ok();
        assert_eq!(ca::fingerprints(&run.stdout), [scene.ca.fingerprint], "{name}: {run}");
        assert!(!sysroot.path().join("dev").exists());
        let both = scene.bootstrap(sysroot.path(), name).arg("--json").fails(2);
        assert!(both.json()["error"].to_string().contains("both write to standard output"), "{name}: {both}");
        for option in ["--cert", "--key", "--chain", "--ca-out"] {
            let run = scene.enroll(option, name).run();
            is_refused(&run, option, name);
            run.says(["cannot write to standard output"]);
        }
    }
    // Into a file, a pipe, and where nobody can write.
    let run = scene.token().args(["--out", "-"]).redirected(">/dev/full").fails(1);
    run.says(["standard output"]);
    assert!(Path::new("/dev/stdout").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn t37_a_pair_replaces_no_device_and_no_link_to_one() {
    let scene = Scene::new();
    let before = scene.seen();
    for option in ["--cert", "--key", "--chain", "--ca-out"] {
        for path in scene.forbidden() {
            is_refused(&scene.enroll(option, &path).run(), option, &path);
            assert_eq!(scene.seen(), before, "{option} {path}");
        }
    }
}

#[test]
fn t37_the_file_names_no_device_either() {
    let scene = Scene::new();
    let before = scene.seen();
    let config = scene.at("trustup.toml");
    for (key, path) in
        [("cert", "/dev/null"), ("key", "/dev/stdout"), ("chain", "/proc/self/fd/2"), ("ca_out", "FIFO")]
    {
        let path = if path == "FIFO" { scene.at("fifo").display().to_string() } else { path.to_owned() };
        let mut text = format!(
            "[ca]\nurl = \"https://127.0.0.1:1\"\nfingerprint = \"{}\"\n[[certificate]]\nnames = [\"web.test\"]\n",
            scene.ca.pin()
        );
        for (other, name) in [("cert", "new.crt"), ("key", "new.key")] {
            if other != key {
                text += &format!("{other} = \"{}\"\n", scene.at(name).display());
            }
        }
        text += &format!(
            "{key} = \"{path}\"\nenroll = {{method = \"token\", token_file = \"{}\"}}\n",
            scene.at("token").display()
        );
        fs::write(&config, text).unwrap();
        let run = Trustup::new(["--timeout", "5s", "enroll", "--config"])
            .arg(&config)
            .env("HOME", scene.directory.path())
            .run();
        assert_eq!(run.code, Some(2), "{key} {path}: {run}");
        assert!(!run.stderr.contains("remove"), "{key} {path}: {run}");
        fs::remove_file(&config).unwrap();
        assert_eq!(scene.seen(), before, "{key} {path}");
    }
}

#[test]
fn t37_a_copy_of_the_roots_replaces_only_certificates() {
    let scene = Scene::new();
    let sysroot = tempfile::tempdir().unwrap();
    let at = |name: &str| sysroot.path().join(name);
    fs::create_dir_all(at("srv")).unwrap();
    fs::create_dir_all(at("etc")).unwrap();
    let cases = [
        ("key", scene.ca.key_pem.clone()),
        ("both", format!("{}{}", scene.ca.pem, scene.ca.key_pem)),
        ("text", "password = secret\n".to_owned()),
        ("text-around", format!("{}server = 1\n", scene.ca.pem)),
        ("request", scene.ca.pem.replace("CERTIFICATE", "CERTIFICATE REQUEST")),
    ];
    for (name, content) in &cases {
        fs::write(at("srv").join(name), content).unwrap();
        let path = format!("/srv/{name}");
        let run = scene.bootstrap(sysroot.path(), &path).run();
        is_refused(&run, "--ca-out", &path);
        run.says(["other content than certificates"]);
        assert_eq!(&fs::read_to_string(at("srv").join(name)).unwrap(), content, "{name}");
        // And where a certificate is enrolled.
        let path = at("srv").join(name).display().to_string();
        is_refused(&scene.enroll("--ca-out", &path).run(), "--ca-out", &path);
        assert_eq!(&fs::read_to_string(at("srv").join(name)).unwrap(), content, "{name}");
    }
    for content in [String::new(), ca::root("Older").pem, format!("# comment\n{}", ca::root("Older").pem)] {
        fs::write(at("srv/ca.pem"), content).unwrap();
        scene.bootstrap(sysroot.path(), "/srv/ca.pem").ok();
        assert_eq!(fs::read_to_string(at("srv/ca.pem")).unwrap(), scene.ca.pem);
    }
    // What is special inside a sysroot.
    mknodat(CWD, at("srv/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink("fifo", at("srv/to-fifo")).unwrap();
    for path in ["/srv/fifo", "/srv/to-fifo", "/srv", "/srv/", "/dev/null", "/proc/1/x", "/srv/../dev/x"] {
        is_refused(&scene.bootstrap(sysroot.path(), path).run(), "--ca-out", path);
    }
    assert!(at("srv/fifo").symlink_metadata().unwrap().file_type().is_fifo());
}

/// Links of others on the way are not followed (threat T35); root's and one's own are.
#[test]
fn t37_no_link_of_another_user_is_followed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can make a link of another user");
        return;
    }
    let scene = Scene::new();
    let sysroot = tempfile::tempdir().unwrap();
    let at = |name: &str| sysroot.path().join(name);
    for directory in ["home/user", "etc/app"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("etc/app/ca.pem"), &ca::root("Older").pem).unwrap();
    symlink("/etc/app", at("home/user/out")).unwrap();
    symlink("/etc/app/ca.pem", at("home/user/ca.pem")).unwrap();
    // The same on the system that runs the test.
    symlink(at("etc/app"), at("home/user/app")).unwrap();
    for link in ["home/user/out", "home/user/ca.pem", "home/user/app"] {
        std::os::unix::fs::lchown(at(link), Some(1000), Some(1000)).unwrap();
    }
    let older = fs::read(at("etc/app/ca.pem")).unwrap();
    for fallback in [false, true] {
        // A link in the place of the file itself is neither followed nor replaced.
        let linked = "is owned by user 1000, and it leads to something that this user does not own";
        for (path, code, words) in [
            ("/home/user/out/ca.pem", 1, linked),
            ("/home/user/out/new.pem", 1, linked),
            ("/home/user/ca.pem", 2, "`--ca-out` would replace a link"),
        ] {
            let run = scene.bootstrap(sysroot.path(), path);
            let run = if fallback { run.without_openat2() } else { run }.run();
            assert_eq!(run.code, Some(code), "{run}");
            run.says([words, "hint:"]);
            assert_eq!(fs::read(at("etc/app/ca.pem")).unwrap(), older, "{path}");
            assert!(!at("etc/app/new.pem").exists());
        }
        for option in ["--cert", "--key", "--chain", "--ca-out"] {
            let path = at("home/user/app/new.pem").display().to_string();
            scene.enroll(option, &path).fails(1).says(["owned by user 1000"]);
        }
        let path = at("home/user/app/token").display().to_string();
        scene.token().args(["--out", &path]).fails(1).says(["owned by user 1000"]);
        assert!(!at("etc/app/token").exists());
    }
    // Root's own link.
    std::os::unix::fs::lchown(at("home/user/out"), Some(0), Some(0)).unwrap();
    scene.bootstrap(sysroot.path(), "/home/user/out/ca.pem").ok();
    assert_eq!(fs::read_to_string(at("etc/app/ca.pem")).unwrap(), scene.ca.pem);
}
