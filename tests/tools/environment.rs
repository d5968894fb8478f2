//! What `env` prints, read by those whom it is printed for (threat T15): dash and bash. A directory whose name is a trap
//! comes out byte for byte, and nothing of it runs.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use trustup::trust::runtimes::{ProgramVariable, RootLocations, profile, render, variables};

use crate::support::binary;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["bash", "--posix"]];
/// Every kind of quote, expansions of each kind, spaces, a pattern, a comment, a history expansion, letters beyond ASCII.
const TRAP: &str = "it's a \"trap\" $(touch x) `touch x` ${IFS} $HOME \\' \\\\ * ~ #! ; & | < ü 日本 -n";

/// A directory with a name that is a trap, a bundle in it, and an empty directory to run in.
struct Scene {
    directory: tempfile::TempDir,
    roots: RootLocations,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let trap = directory.path().join(TRAP);
        fs::create_dir_all(trap.join("certs")).unwrap();
        fs::create_dir(directory.path().join("here")).unwrap();
        for name in ["bundle.pem", "anchor.crt"] {
            fs::write(trap.join(name), "roots\n").unwrap();
        }
        let path = |name: &str| trap.join(name).into_os_string().into_string().unwrap();
        let roots = RootLocations {
            bundle: path("bundle.pem"),
            directory: Some(path("certs")),
            anchor: Some(path("anchor.crt")),
            keystore: None,
        };
        Scene { directory, roots }
    }

    fn here(&self) -> PathBuf {
        self.directory.path().join("here")
    }

    /// Runs `script` with `argument` as `$1`; it must succeed, say nothing on stderr and leave nothing behind.
    fn shell(&self, shell: &[&str], options: &str, script: &str, argument: &str) -> Vec<u8> {
        self.shell_with(shell, options, script, argument, &[])
    }

    fn shell_with(
        &self,
        shell: &[&str],
        options: &str,
        script: &str,
        argument: &str,
        set: &[(&str, &str)],
    ) -> Vec<u8> {
        let Output { status, stdout, stderr } = Command::new(shell[0])
            .args(&shell[1..])
            .args([options, script, "sh", argument])
            .current_dir(self.here())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(set.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the shell starts");
        let said = String::from_utf8_lossy(&stderr);
        // Where there is a Java: its options cannot name such a path, which is said.
        let rest: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("warning: JAVA_TOOL_OPTIONS is left out: "))
            .collect();
        assert!(status.success() && rest.is_empty(), "{shell:?} {options} {script}: {status} {said}");
        for place in [self.here(), self.directory.path().join(TRAP)] {
            assert!(!place.join("x").exists(), "{shell:?}: something ran");
        }
        assert_eq!(fs::read_dir(self.here()).unwrap().count(), 0, "{shell:?}: something was written");
        stdout
    }

    fn wanted(&self) -> Vec<ProgramVariable> {
        variables(&self.roots, |_| None)
    }
}

/// `NAME=value`, NUL behind each, as `env -0` prints them; sorted.
fn split(environment: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        environment.split(|b| *b == 0).filter(|one| !one.is_empty()).map(<[u8]>::to_vec).collect();
    all.sort();
    all
}

/// What a shell adds by itself goes; what is left is ours.
fn ours(environment: &[u8]) -> Vec<Vec<u8>> {
    let mut all = split(environment);
    all.retain(|one| {
        !["PWD=", "OLDPWD=", "SHLVL=", "_=", "PATH="].iter().any(|name| one.starts_with(name.as_bytes()))
    });
    all
}

fn expected(variables: &[ProgramVariable]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        variables.iter().map(|one| format!("{}={}", one.name, one.value).into_bytes()).collect();
    all.sort();
    all
}

#[test]
#[ignore = "needs dash and bash"]
fn t15_eval_brings_every_byte_and_runs_nothing() {
    let scene = Scene::new();
    let wanted = scene.wanted();
    assert!(wanted.iter().all(|variable| variable.value.contains("$(touch x)")));
    let printed = render::sh(&wanted).unwrap().join("\n");
    // As people write it: what a program printed, evaluated. `cat` stands for the program.
    let file = scene.directory.path().join("printed");
    fs::write(&file, format!("{printed}\n")).unwrap();
    for shell in SHELLS {
        for options in ["-c", "-euc"] {
            let script = "eval \"$(cat \"$1\")\"; env -0";
            let environment = scene.shell(shell, options, script, file.to_str().unwrap());
            assert_eq!(ours(&environment), expected(&wanted), "{shell:?} {options}");
        }
    }
}

#[test]
#[ignore = "needs dash and bash"]
fn t15_a_comment_about_what_is_kept_runs_nothing() {
    let scene = Scene::new();
    let set = "/x\ntouch x\r\n$(touch x)\u{2028}`touch x`'";
    let kept = variables(&scene.roots, |name| (name == "SSL_CERT_FILE").then(|| set.to_owned()));
    let printed = render::sh(&kept).unwrap().join("\n");
    let given: Vec<ProgramVariable> = kept.into_iter().filter(|variable| variable.kept.is_none()).collect();
    for shell in SHELLS {
        let environment = scene.shell(shell, "-euc", "eval \"$1\"; env -0", &printed);
        assert_eq!(ours(&environment), expected(&given), "{shell:?}");
    }
}

#[test]
#[ignore = "needs dash and bash"]
fn t15_the_file_for_login_shells_sets_what_is_there() {
    let scene = Scene::new();
    let file = scene.directory.path().join("trustup.sh");
    let read = |roots: &RootLocations| fs::write(&file, profile::content(roots).unwrap()).unwrap();
    let source = ". \"$1\"; env -0";
    let path = file.to_str().unwrap();
    read(&scene.roots);
    for shell in SHELLS {
        for options in ["-c", "-euc"] {
            let environment = scene.shell(shell, options, source, path);
            assert_eq!(ours(&environment), expected(&scene.wanted()), "{shell:?} {options}");
            // Read twice, as by a login shell in a login shell.
            let twice = scene.shell(shell, options, ". \"$1\"; . \"$1\"; env -0", path);
            assert_eq!(ours(&twice), expected(&scene.wanted()), "{shell:?} {options}");
        }
        // What is set stays, and nothing goes before it; what is set and empty is not set.
        let set = [("SSL_CERT_FILE", "/user's own $(touch x).pem"), ("GIT_SSL_CAINFO", "")];
        let kept = variables(&scene.roots, |name| {
            set.iter()
                .find(|(known, value)| *known == name && !value.is_empty())
                .map(|(_, value)| (*value).to_owned())
        });
        let mut given = expected(&kept.into_iter().filter(|one| one.kept.is_none()).collect::<Vec<_>>());
        given.push(format!("SSL_CERT_FILE={}", set[0].1).into_bytes());
        given.sort();
        let environment = scene.shell_with(shell, "-euc", source, path, &set);
        assert_eq!(ours(&environment), given, "{shell:?}");
    }
    // Its roots are gone: it sets nothing, and no shell fails.
    let gone = |path: &str| format!("{path}.gone");
    read(&RootLocations {
        bundle: gone(&scene.roots.bundle),
        directory: scene.roots.directory.as_deref().map(gone),
        anchor: scene.roots.anchor.as_deref().map(gone),
        keystore: None,
    });
    for shell in SHELLS {
        let environment = scene.shell(shell, "-euc", source, path);
        assert_eq!(ours(&environment), Vec::<Vec<u8>>::new(), "{shell:?}");
    }
    // Only the anchor's file is gone: Node would complain of it at every start.
    read(&RootLocations { anchor: Some("/nowhere/anchor.crt".to_owned()), ..scene.roots.clone() });
    for shell in SHELLS {
        let environment = scene.shell(shell, "-euc", source, path);
        let adds = |one: &Vec<u8>| one.starts_with(b"NODE_EXTRA_CA_CERTS=") || one.starts_with(b"DENO_CERT=");
        let set = ours(&environment);
        assert!(!set.iter().any(adds) && set.len() == scene.wanted().len() - 2, "{shell:?}");
    }
}

/// End to end, with the program itself: the shell that a person has.
#[test]
#[ignore = "needs dash and bash"]
fn t15_a_shell_evaluates_the_programs_own_output() {
    let scene = Scene::new();
    let sysroot = scene.directory.path().join(TRAP).join("sysroot");
    fs::create_dir(&sysroot).unwrap();
    fs::create_dir(sysroot.join("etc")).unwrap();
    let root = scene.directory.path().join("root.der");
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&root, parameters.self_signed(&key).unwrap().der()).unwrap();
    let trustup = |args: &[&str]| {
        let mut command = binary::command();
        command.arg("--sysroot").arg(&sysroot).args(args);
        command
    };
    let bootstrapped = trustup(&["bootstrap", "--ca-file"]).arg(&root).output().unwrap();
    assert!(bootstrapped.status.success(), "{}", String::from_utf8_lossy(&bootstrapped.stderr));
    let script = format!("eval \"$({:?} --sysroot \"$1\" env)\"; env -0", binary::trustup());
    for shell in SHELLS {
        let environment = scene.shell(shell, "-euc", &script, sysroot.to_str().unwrap());
        let file = b"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt".to_vec();
        assert!(ours(&environment).contains(&file), "{shell:?}");
    }
    // A private store of that name: what is evaluated has the trap in it.
    let store = scene.directory.path().join(TRAP).join("store");
    let private = |args: &[&str]| {
        let mut command = binary::command();
        command.arg("--private-dir").arg(&store).args(args);
        command
    };
    let bootstrapped =
        private(&["bootstrap", "--stores", "private", "--ca-file"]).arg(&root).output().unwrap();
    assert!(bootstrapped.status.success(), "{}", String::from_utf8_lossy(&bootstrapped.stderr));
    let script = script.replace("--sysroot", "--private-dir");
    for shell in SHELLS {
        let environment = scene.shell(shell, "-euc", &script, store.to_str().unwrap());
        let set = ours(&environment);
        let wanted = format!("SSL_CERT_FILE={}/ca-bundle.pem", store.display()).into_bytes();
        assert!(set.contains(&wanted), "{shell:?}");
        for one in set {
            let value = String::from_utf8(one).unwrap();
            let (name, path) = value.split_once('=').unwrap();
            assert!(
                path.starts_with(store.to_str().unwrap()) && Path::new(path).exists(),
                "{shell:?}: {name}"
            );
        }
    }
    assert!(private(&["untrust", "--all"]).output().unwrap().status.success());
    // Nothing installed: nothing to evaluate, and a shell under `-e` that uses the answer stops.
    assert!(trustup(&["untrust", "--all"]).output().unwrap().status.success());
    let refused = trustup(&["env"]).output().unwrap();
    assert_eq!((refused.status.code(), refused.stdout), (Some(4), Vec::new()));
}
