//! Hints about programs and files that mounts, rights and a missing shell are in the way of: each situation is made in a
//! mount namespace, the hint is followed, and it works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::enrollment::write;
use crate::support::program::{copy_program, write_program};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::{binary, ca};

/// A place with a root certificate, for the private store.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = tempfile::tempdir().unwrap();
        ca::root("Root of Starts").write(place.path(), "root.pem");
        Place(place)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `trustup bootstrap … -- COMMAND`, after the shell commands `before` in a mount namespace of its own; PLACE is here.
    fn start<S: AsRef<std::ffi::OsStr>>(&self, before: &str, service: impl IntoIterator<Item = S>) -> Run {
        let mut command = Command::new("unshare");
        let script = format!("{before}\nexec \"$@\"");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
        command.arg(binary::trustup()).arg("--private-dir").arg(self.at("private"));
        command.args(["bootstrap", "--stores", "private", "--ca-file"]).arg(self.at("root.pem")).arg("--");
        binary::clear(&mut command);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PLACE", self.0.path());
        Trustup::through(command, service).run()
    }
}

#[track_caller]
fn starts(run: &Run) {
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
#[ignore = "needs root, unshare"]
fn a_volume_without_the_right_to_execute() {
    let place = Place::new();
    fs::create_dir(place.at("volume")).unwrap();
    let mount = |options: &str| {
        format!(
            "mount -t tmpfs -o mode=755{options} volume \"$PLACE/volume\"\ncp /bin/true \"$PLACE/volume\""
        )
    };
    let program = place.at("volume/true");
    let refused = place.start(&mount(",noexec"), [&program]);
    assert_eq!(refused.code, Some(126), "{refused}");
    refused.says(["put the program into the image, or mount that volume without `noexec`"]);
    starts(&place.start(&mount(""), [&program]));
    copy_program(Path::new("/bin/true"), &place.at("true"));
    starts(&place.start(&mount(",noexec"), [place.at("true")]));
}

/// An image without a shell: all of Debian's shells are below /usr/bin.
const NO_SHELL: &str = "mount -t tmpfs -o mode=755 empty /usr/bin";

#[test]
#[ignore = "needs root, unshare"]
fn an_image_without_a_shell() {
    let place = Place::new();
    copy_program(Path::new("/bin/true"), &place.at("server"));
    let server = place.at("server").display().to_string();
    // What Docker makes of `CMD /app/server --port 80`.
    let refused = place.start(NO_SHELL, ["/bin/sh", "-c", &format!("{server} --port 80")]);
    assert_eq!(refused.code, Some(127), "{refused}");
    refused.says([
        "Docker runs a CMD in shell form by /bin/sh; write it in exec form, such as `CMD [\"/app/server\"",
    ]);
    starts(&place.start(NO_SHELL, [&*server, "--port", "80"]));

    // A text without `#!` is the shell's.
    let script = place.at("script");
    write_program(&script, "exit 0\n");
    let refused = place.start(NO_SHELL, [&script]);
    assert_eq!(refused.code, Some(127), "{refused}");
    refused.says(["hint: name its interpreter in the first line, and install that interpreter in the image"]);
    copy_program(Path::new("/bin/sh"), &place.at("interpreter"));
    write_program(&script, &format!("#!{}\nexit 0\n", place.at("interpreter").display()));
    starts(&place.start(NO_SHELL, [&script]));
}

#[test]
#[ignore = "needs root, unshare and openjdk-17-jdk-headless"]
fn an_archive_of_java_is_run_by_java() {
    let place = Place::new();
    fs::write(
        place.at("Main.java"),
        "class Main { public static void main(String[] a) { System.out.println(\"runs\"); } }",
    )
    .unwrap();
    for words in [
        &["javac", "-proc:none", "Main.java"][..],
        &["jar", "--create", "--file", "app.jar", "--main-class", "Main", "Main.class"],
    ] {
        let made = Command::new(words[0]).args(&words[1..]).current_dir(place.0.path()).output().unwrap();
        assert!(made.status.success(), "{words:?}: {made:?}");
    }
    let jar = place.at("app.jar");
    fs::set_permissions(&jar, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = place.start("", [&jar]);
    assert_eq!(refused.code, Some(126), "{refused}");
    refused.says(["name the program that runs it, such as `java -jar FILE`"]);
    let followed = place.start("", [Path::new("java"), Path::new("-jar"), &jar]);
    starts(&followed);
    assert_eq!(followed.stdout, "runs\n", "{followed}");
}

/// trustup.toml in a directory that others can write, mounted so that nobody can.
#[test]
#[ignore = "needs root, unshare"]
fn a_configuration_that_others_could_write_is_mounted_read_only() {
    let place = Place::new();
    fs::create_dir(place.at("shared")).unwrap();
    fs::set_permissions(place.at("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    write(
        &place.at("shared/trustup.toml"),
        format!("[trust]\nca_file = [{:?}]\n", place.at("root.pem")).as_bytes(),
        0o666,
    );
    let sysroot = unpacked("debian-12-minimal");
    let run = |before: &str| {
        let mut command = Command::new("unshare");
        let script = format!("{before}\nexec \"$@\"");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
        command.arg(binary::trustup()).arg("--sysroot").arg(sysroot.path());
        command.args(["--dry-run", "bootstrap", "--config"]).arg(place.at("shared/trustup.toml"));
        binary::clear(&mut command);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PLACE", place.0.path());
        Trustup::from(command).run()
    };
    let refused = run("");
    assert_eq!(refused.code, Some(2), "{refused}");
    refused.says(["or mount it read-only: `docker run -v …:ro`, a ConfigMap or a Secret of Kubernetes"]);
    let read_only =
        "mount --bind \"$PLACE/shared\" \"$PLACE/shared\"\nmount -o remount,bind,ro \"$PLACE/shared\"";
    starts(&run(read_only));
}
