//! The native tool when something is wrong with it: each case runs inside a real root, where trustup would use the tool.

use std::fs;

use crate::support::ca::{self, Root, fingerprints};
use crate::support::hints::command;
use crate::support::program::write_program;
use crate::support::roots::{Base, RootFs};
use crate::support::run::Run;
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const TOOL: &str = "usr/sbin/update-ca-certificates";
const HOOKS: &str = "etc/ca-certificates/update.d";

/// A real root, a root certificate in its exchange directory, and the tree before.
struct Case {
    root: RootFs,
    ca: Root,
    before: Tree,
}

impl Case {
    /// `damage` happens before the first look at the tree.
    fn new(base: Base, damage: impl FnOnce(&RootFs)) -> Case {
        let root = base.copy();
        damage(&root);
        let ca = ca::root("Native Test Root");
        ca.write(root.exchange(), "root.pem");
        let before = root.tree();
        Case { root, ca, before }
    }

    fn bootstrap(&self, updater: &str) -> Run {
        self.root
            .trustup_inside(["--json", "bootstrap", "--updater", updater, "--ca-file", "/mnt/root.pem"])
            .run()
    }

    /// It failed with one of `codes`, says each of `words`, and everything is as it was.
    #[track_caller]
    fn failed_and_undone(&self, run: &Run, codes: &[i32], words: &[&str]) {
        assert!(run.code.is_some_and(|code| codes.contains(&code)), "exit code of {run}");
        let said = run.json()["error"].to_string() + &run.stderr;
        for word in words {
            assert!(said.contains(word), "does not say `{word}`: {run}");
        }
        self.before.assert_same(&self.root.tree(), "after a failed run");
    }

    /// It worked with `updater`, ours is in the bundle and in the hashed directory, and `untrust` undoes it.
    #[track_caller]
    fn worked(&self, run: &Run, updater: &str) {
        assert_eq!(run.code, Some(0), "{run}");
        assert_eq!(run.json()["updater"], updater, "{run}");
        let bundle = String::from_utf8(self.root.read(BUNDLE)).unwrap();
        assert!(fingerprints(&bundle).contains(&self.ca.fingerprint), "not in the bundle: {run}");
    }

    #[track_caller]
    fn undone_by_untrust(&self) {
        let run = self.root.trustup_inside(["untrust", "--all"]).ok();
        self.before.assert_same(&Tree::of(self.root.path()), &format!("after {run}"));
    }
}

/// A fake tool: runs the real one, then `after`.
fn wrap_tool(root: &RootFs, after: &str) {
    replace_tool(root, &format!("/usr/sbin/real-tool \"$@\"\n{after}"));
}

/// A fake tool that does `script`; the real one is /usr/sbin/real-tool.
fn replace_tool(root: &RootFs, script: &str) {
    fs::rename(root.at(TOOL), root.at("usr/sbin/real-tool")).unwrap();
    root.write_program(TOOL, &format!("#!/bin/sh\n{script}\n"));
}

/// Takes the first certificate out of the bundle.
const LOSE_FIRST: &str = "sed -i '1,/-----END/d' /etc/ssl/certs/ca-certificates.crt";
/// Takes the last certificate out of the bundle: ours, the only local one.
const LOSE_LAST: &str = "n=$(grep -n -e '-----BEGIN' /etc/ssl/certs/ca-certificates.crt | tail -n 1 | cut -d: -f1)\n\
                         sed -i \"$n,\\$d\" /etc/ssl/certs/ca-certificates.crt";

#[test]
#[ignore = "needs root and real root file systems"]
fn without_openssl_auto_is_builtin_and_native_an_error() {
    let case = Case::new(Base::Debian12, |root| root.remove("usr/bin/openssl"));
    let words = ["openssl", "`--updater auto` uses the built-in updater"];
    case.failed_and_undone(&case.bootstrap("native"), &[5], &words);
    assert!(!case.root.at("var/lib/trustup").exists(), "state of a run that did nothing");
    case.worked(&case.bootstrap("auto"), "builtin");
    case.undone_by_untrust();
}

/// A repository of the packages that a bare root keeps, so that apt needs no network.
const LOCAL_REPOSITORY: &str = "mkdir /srv/debs; cp /var/cache/apt/archives/*.deb /srv/debs; cd /srv/debs\n\
    for deb in *.deb; do\n\
        dpkg-deb -f \"$deb\"; echo \"Filename: ./$deb\"; echo \"Size: $(stat -c %s \"$deb\")\"\n\
        echo \"SHA256: $(sha256sum \"$deb\" | cut -d' ' -f1)\"; echo\n\
    done >Packages\n\
    echo 'deb [trusted=yes] file:/srv/debs ./' >/etc/apt/sources.list";

#[test]
#[ignore = "needs root and real root file systems"]
fn the_package_of_the_hint_brings_the_tool() {
    let case = Case::new(Base::Debian12Bare, |root| {
        root.run(&["sh", "-euc", LOCAL_REPOSITORY]);
    });
    let refused = case.bootstrap("native");
    case.failed_and_undone(&refused, &[5], &["to install it: `apt-get update && apt-get install "]);
    case.root.run(&["sh", "-euc", &command(&refused, "apt-get ")]);
    case.worked(&case.bootstrap("native"), "native");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn with_everything_there_auto_is_native() {
    for base in [Base::Debian12, Base::Debian13, Base::Alpine] {
        let case = Case::new(base, |_| {});
        case.worked(&case.bootstrap("auto"), "native");
        case.undone_by_untrust();
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_leftover_of_a_killed_tool_is_cleared_first() {
    let case = Case::new(Base::Debian12, |_| {});
    let leftover = "etc/ssl/certs/ca-certificates.crt.new";
    case.root.write(leftover, "-----BEGIN CERTIFICATE-----\nleft over\n");
    case.worked(&case.bootstrap("native"), "native");
    assert!(!case.root.at(leftover).exists());
    let bundle = String::from_utf8(case.root.read(BUNDLE)).unwrap();
    assert!(!bundle.contains("left over"), "the leftover is in the bundle");
    case.root.run(&["openssl", "verify", "-CAfile", &format!("/{BUNDLE}"), "/mnt/root.pem"]);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn appended_certificates_survive_auto_and_stop_native() {
    for base in [Base::Debian12, Base::Alpine] {
        let appended = ca::root("Appended by Hand");
        let case = Case::new(base, |root| root.append(BUNDLE, &appended.pem));
        let named = appended.pin();
        case.failed_and_undone(&case.bootstrap("native"), &[5], &[&named[..16]]);
        let run = case.bootstrap("auto");
        case.worked(&run, "builtin");
        let said = run.json()["warnings"].to_string() + &run.json()["updater_why"].to_string() + &run.stderr;
        assert!(
            said.contains("would drop certificates that another program added")
                && said.contains(&named[..16]),
            "does not say why it is the built-in updater: {run}"
        );
        let bundle = String::from_utf8(case.root.read(BUNDLE)).unwrap();
        assert!(bundle.contains(&appended.pem), "the appended certificate is gone");
        case.undone_by_untrust();
    }
}

/// Debian's tool reports a failing hook and goes on; Alpine's ends with the hook's failure.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_failing_hook() {
    let hook = "#!/bin/sh\necho hook was here\nexit 3\n";
    let case = Case::new(Base::Debian12, |root| root.write_program(&format!("{HOOKS}/failing"), hook));
    let run = case.bootstrap("native");
    case.worked(&run, "native");
    assert!(
        (run.json()["warnings"].to_string() + &run.stderr).contains("failing"),
        "silent about the hook: {run}"
    );

    let case = Case::new(Base::Alpine, |root| root.write_program(&format!("{HOOKS}/failing"), hook));
    case.failed_and_undone(&case.bootstrap("native"), &[1], &["failing", "hook was here"]);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_fails_is_undone_and_its_output_shown() {
    for base in [Base::Debian12, Base::Alpine] {
        let damage =
            "rm /etc/ssl/certs/*.0 /etc/ssl/certs/*ACCVRAIZ1.pem\necho half done; echo broken >&2; exit 9";
        let case = Case::new(base, |root| wrap_tool(root, damage));
        let hint = "`--updater builtin` writes the same files without it";
        case.failed_and_undone(&case.bootstrap("native"), &[1], &["half done", "broken", "9", "hook", hint]);
        let run = case.bootstrap("auto");
        case.failed_and_undone(&run, &[1], &["broken", hint]);
        case.worked(&case.bootstrap("builtin"), "builtin");
        let twin = Case::new(base, |_| {});
        fs::copy(case.root.exchange().join("root.pem"), twin.root.exchange().join("root.pem")).unwrap();
        let run = twin.bootstrap("native");
        assert_eq!(run.code, Some(0), "{run}");
        let written = |case: &Case| case.root.tree().without(TOOL).without("usr/sbin/real-tool");
        written(&twin).assert_same(&written(&case), "the real tool (-) and ours (+)");
    }
}

/// A fake openssl, whose `rehash` is `script`; everything else the real one does.
fn replace_rehash(root: &RootFs, script: &str) {
    fs::rename(root.at("usr/bin/openssl"), root.at("usr/bin/real-openssl")).unwrap();
    let real = "exec /usr/bin/real-openssl \"$@\"";
    root.write_program(
        "usr/bin/openssl",
        &format!("#!/bin/sh\nif [ \"$1\" = rehash ]; then {script}; fi\n{real}\n"),
    );
}

/// OpenSSL's own search of the hashed directory finds ours and a vendor's root.
#[track_caller]
fn found_by_hash(root: &RootFs) {
    let vendor = "/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt";
    let verify = [
        "openssl",
        "verify",
        "-no-CAfile",
        "-no-CAstore",
        "-CApath",
        "/etc/ssl/certs",
        "/mnt/root.pem",
        vendor,
    ];
    root.run(&verify);
}

/// As in cross builds, where an emulator runs openssl: `rehash` does nothing, or crashes. What the tool did is turned back;
/// `auto` goes on with the built-in updater and says so, `native` is an error.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_rehash_that_does_nothing_or_crashes() {
    for base in [Base::Debian12, Base::Debian13] {
        for script in ["exit 0", "exit 1", "kill -SEGV $$", "kill -ILL $$", "exit 127"] {
            let case = Case::new(base, |root| replace_rehash(root, script));
            let words = if script == "exit 0" {
                ["Native Test Root", "hook"]
            } else {
                ["trust update failed", "hook"]
            };
            case.failed_and_undone(&case.bootstrap("native"), &[1], &words);
            let run = case.bootstrap("auto");
            case.worked(&run, "builtin");
            let warned = run.json()["warnings"].to_string();
            for word in ["update-ca-certificates` failed here", "undone", "built-in updater"] {
                assert!(warned.contains(word), "{script}: does not say `{word}`: {run}");
            }
            found_by_hash(&case.root);
            let second = case.bootstrap("auto");
            assert_eq!(
                (second.code, second.json()["changed"].as_bool()),
                (Some(0), Some(false)),
                "{script}: {second}"
            );
            // The tool is used again, fails again, and is turned back again.
            case.undone_by_untrust();
        }
    }
}

/// The links that such a tool did not make, or somebody removed, are found, and what doctor recommends makes them.
#[test]
#[ignore = "needs root and real root file systems"]
fn missing_hash_links_are_found_and_repaired() {
    for base in [Base::Debian12, Base::Alpine] {
        let case = Case::new(base, |_| {});
        case.worked(&case.bootstrap("auto"), "native");
        let whole = case.root.tree();
        let kinds = || {
            let found = case.root.trustup_inside(["--json", "doctor"]).run().json()["findings"].clone();
            let found = found.as_array().unwrap().clone();
            let links = found.iter().filter(|one| one["kind"].as_str().unwrap().ends_with("-hash-links"));
            links
                .map(|one| {
                    (
                        one["kind"].as_str().unwrap().to_owned(),
                        one["first_to_change"].as_str().unwrap().to_owned(),
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(), []);
        case.root.run(&["sh", "-c", "rm /etc/ssl/certs/*.[0-9]"]);
        let found = kinds();
        assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["missing-hash-links"]);
        let command = found[0].1.split('`').nth(1).unwrap().to_owned();
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        case.root.trustup_inside(words).ok();
        assert_eq!(kinds(), []);
        whole.assert_same(&case.root.tree(), "after the repair");
        if base != Base::Alpine {
            found_by_hash(&case.root);
        }
        case.undone_by_untrust();
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_loses_a_root_is_undone() {
    for base in [Base::Debian12, Base::Alpine] {
        let case = Case::new(base, |root| wrap_tool(root, LOSE_FIRST));
        let bundle = String::from_utf8(case.root.read(BUNDLE)).unwrap();
        let lost = fingerprints(&bundle)[0].hex();
        let hint = "this run was undone; `--updater builtin` keeps every root that is there";
        case.failed_and_undone(&case.bootstrap("native"), &[1], &[&lost[..16], "hook", hint]);
        case.worked(&case.bootstrap("builtin"), "builtin");
        case.undone_by_untrust();
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_loses_a_root_from_the_hashed_directory_is_undone() {
    let case = Case::new(Base::Debian12, |root| {
        wrap_tool(root, "rm /etc/ssl/certs/4042bcee.0 /etc/ssl/certs/ISRG_Root_X1.pem");
    });
    case.failed_and_undone(&case.bootstrap("native"), &[1], &["ISRG Root X1"]);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_leaves_ours_out_is_undone() {
    for base in [Base::Debian12, Base::Alpine] {
        let case = Case::new(base, |root| wrap_tool(root, LOSE_LAST));
        let pin = case.ca.pin();
        let hint =
            "this run was undone; `--updater builtin` writes the stores without the distribution's tool";
        case.failed_and_undone(&case.bootstrap("native"), &[1], &[&pin[..16], hint]);
        case.worked(&case.bootstrap("builtin"), "builtin");
        case.undone_by_untrust();
    }
}

/// A hook that leaves a file which spoils the bundle, once.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_file_that_spoils_the_tools_bundle_is_named() {
    let broken = "usr/local/share/ca-certificates/AAA.crt";
    let case = Case::new(Base::Debian12, |root| {
        let pem = ca::root("Broken Root").pem;
        root.write("usr/share/broken", pem.replace("END CERTIFICATE-----", "END CERTIFICATE----"));
        let once = format!("[ -e /usr/share/once ] || cp /usr/share/broken /{broken}; touch /usr/share/once");
        replace_tool(root, &format!("{once}\n/usr/sbin/real-tool \"$@\""));
    });
    let run = case.bootstrap("native");
    assert_eq!(run.code, Some(1), "{run}");
    run.says([&format!("hint: repair or remove `/{broken}` (")[..]]);
    case.root.remove(broken);
    case.worked(&case.bootstrap("native"), "native");
}

/// The keystore that the tool makes would hold a root with which Java loads nothing.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_that_java_cannot_load_is_not_given_to_the_tool() {
    let case = Case::new(Base::RedHat, |_| {});
    let odd = ca::no_java("Constrained Root").write(case.root.exchange(), "odd.pem");
    assert!(odd.is_file());
    let run = |updater: &str| {
        case.root.trustup_inside(["bootstrap", "--updater", updater, "--ca-file", "/mnt/odd.pem"])
    };
    run("native")
        .fails(5)
        .says(["hint: use `--updater auto`: the built-in updater omits the root from the keystore"]);
    run("auto").ok();
}

/// T14: a tool that others can write to is not run.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_of_another_owner_or_writable_by_others_is_not_run() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let changes: [fn(&RootFs); 3] = [
        |root| chown(root.at(TOOL), Some(1000), None).unwrap(),
        |root| std::fs::set_permissions(root.at(TOOL), PermissionsExt::from_mode(0o775)).unwrap(),
        |root| std::fs::set_permissions(root.at("usr/sbin"), PermissionsExt::from_mode(0o777)).unwrap(),
    ];
    for change in changes {
        let case = Case::new(Base::Debian12, |root| {
            wrap_tool(root, ": > /mnt/ran");
            change(root);
        });
        case.failed_and_undone(&case.bootstrap("native"), &[5], &["usr/sbin"]);
        case.worked(&case.bootstrap("auto"), "builtin");
        assert!(!case.root.exchange().join("ran").exists(), "the tool ran");
        case.undone_by_untrust();
    }
}

/// T14: the time-out ends the tool and what it started.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_hangs_is_ended_with_its_children() {
    // Who is to be looked for is written first: the real tool may take all the time that there is.
    let hang = "echo $$ > /mnt/pid\nsleep 1000 &\necho $! > /mnt/child\n/usr/sbin/real-tool \"$@\"\nwait";
    let case = Case::new(Base::Debian12, |root| replace_tool(root, hang));
    let run = case
        .root
        .trustup_inside(["--json", "--timeout", "5s", "bootstrap", "--updater", "native"])
        .args(["--ca-file", "/mnt/root.pem"])
        .run();
    case.failed_and_undone(&run, &[1, 6, 7], &["update-ca-certificates"]);
    for file in ["pid", "child"] {
        let pid = std::fs::read_to_string(case.root.exchange().join(file)).unwrap();
        // No pid namespace: its numbers are the machine's. A zombie that nobody reaped has no command line.
        let command = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        assert!(command.is_empty(), "{file} still runs: {}", String::from_utf8_lossy(&command));
    }
}

/// T14: nothing of the caller's environment reaches the tool or its hooks, and no descriptor either.
#[test]
#[ignore = "needs root and real root file systems"]
fn no_trap_of_the_callers_environment_fires() {
    let case = Case::new(Base::Clients, |root| {
        // Shows what a program started by the tool gets; bash would read BASH_ENV.
        let hook =
            "#!/bin/bash\nenv > /mnt/environment\nls -l /proc/self/fd > /mnt/descriptors\ncat > /mnt/stdin\n";
        root.write_program(&format!("{HOOKS}/witness"), hook);
    });
    let traps = case.root.exchange().join("traps");
    std::fs::create_dir_all(traps.join("tmp")).unwrap();
    for program in
        ["update-ca-certificates", "openssl", "sh", "sed", "mktemp", "run-parts", "c_rehash", "find"]
    {
        write_program(&traps.join(program), "#!/bin/sh\n: > /mnt/fired-path\nexit 1\n");
    }
    std::fs::write(traps.join("shell.sh"), ": > /mnt/fired-shell\n").unwrap();
    let source = traps.join("trap.c");
    std::fs::write(
        &source,
        "#include <fcntl.h>\n__attribute__((constructor)) static void fire(void) \
         { open(\"/mnt/fired-library\", O_CREAT | O_WRONLY, 0600); }\n",
    )
    .unwrap();
    crate::support::roots::run(
        std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(traps.join("trap.so"))
            .arg(&source),
    );
    std::fs::write(
        traps.join("openssl.cnf"),
        "openssl_conf = a\n[a]\nproviders = b\n[b]\ntrap = c\n[c]\nmodule = /mnt/traps/trap.so\nactivate = 1\n",
    )
    .unwrap();
    let variables = [
        "PATH=/mnt/traps:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_PRELOAD=/mnt/traps/trap.so",
        "LD_LIBRARY_PATH=/mnt/traps",
        "TMPDIR=/mnt/traps/tmp",
        "OPENSSL_CONF=/mnt/traps/openssl.cnf",
        "BASH_ENV=/mnt/traps/shell.sh",
        "ENV=/mnt/traps/shell.sh",
        "SECRET_OF_THE_CALLER=1",
    ];
    // The traps work: the tool alone, with this environment, falls into them.
    let fired = |name: &str| case.root.exchange().join(name).exists();
    let command = [&["env"], &variables[1..], &["/bin/bash", "-c", "openssl version"]].concat();
    drop(case.root.command(&command).output().unwrap());
    assert!(fired("fired-shell") && fired("fired-library"), "the traps do not work");
    let command = [&["env"], &variables[..1], &["sh", "-c", "openssl version"]].concat();
    drop(case.root.command(&command).output().unwrap());
    assert!(fired("fired-path"), "the trap in PATH does not work");
    for name in ["fired-shell", "fired-library", "fired-path"] {
        std::fs::remove_file(case.root.exchange().join(name)).unwrap();
    }

    // LD_PRELOAD is set by `env`, so only trustup (a static program) and what it starts could fall into it.
    let run = case
        .root
        .trustup_inside_after("", &variables, ["--json", "bootstrap", "--updater", "native"])
        .args(["--ca-file", "/mnt/root.pem"])
        .run();
    case.worked(&run, "native");
    for name in ["fired-shell", "fired-library", "fired-path"] {
        assert!(!fired(name), "{name}: {run}");
    }
    assert_eq!(
        std::fs::read_dir(traps.join("tmp")).unwrap().count(),
        0,
        "something used the caller's TMPDIR"
    );

    let seen = |name: &str| std::fs::read_to_string(case.root.exchange().join(name)).unwrap();
    let environment = seen("environment");
    let of_bash = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names = environment.lines().filter_map(|line| line.split('=').next());
    let foreign: Vec<&str> = names
        .filter(|name| {
            !of_bash.contains(name)
                && !["PATH", "LC_ALL", "HOME", "TMPDIR", "P11_KIT_NO_USER_CONFIG"].contains(name)
        })
        .collect();
    assert!(foreign.is_empty(), "the hook's environment: {environment}");
    assert!(environment.contains("LC_ALL=C"), "{environment}");
    let descriptors = seen("descriptors");
    let high = descriptors.lines().filter_map(|line| line.split_whitespace().nth(8)?.parse::<u32>().ok());
    // 3 is the directory that `ls` reads; run-parts' pipe to the tool's loop may be there as 10 or above of dash.
    assert!(!descriptors.contains("trustup") && high.clone().count() >= 4, "{descriptors}");
    assert!(seen("stdin").contains("+/etc/ssl/certs/"), "the hook gets the tool's list: {}", seen("stdin"));
}

/// trustup and the tool are killed together, with the tool's work half done: the next run clears the leftovers, does the
/// whole work, and `untrust` gives back the first tree.
#[test]
#[ignore = "needs root and real root file systems"]
fn killed_together_with_the_tool() {
    for base in [Base::Debian12, Base::Alpine] {
        for next in ["native", "builtin", "untrust"] {
            let case = Case::new(base, |_| {});
            fs::rename(case.root.at(TOOL), case.root.at("usr/sbin/real-tool")).unwrap();
            let half = "#!/bin/sh\ncd /etc/ssl/certs\nhead -n 40 ca-certificates.crt > ca-certificates.crt.new\n\
                        rm -f *ACCVRAIZ1.pem\nln -s /nowhere half.pem\nkill -9 $PPID $$\n";
            case.root.write_program(TOOL, half);
            let run = case.bootstrap("native");
            assert_eq!(run.code, None, "was to be killed: {run}");
            assert!(
                !case.before.differences(&case.root.tree()).is_empty(),
                "the tool left nothing half done"
            );
            fs::rename(case.root.at("usr/sbin/real-tool"), case.root.at(TOOL)).unwrap();

            if next != "untrust" {
                case.worked(&case.bootstrap(next), next);
                let twin = base.copy();
                for entry in std::fs::read_dir(case.root.at("usr/local/share/ca-certificates")).unwrap() {
                    let name =
                        format!("usr/local/share/ca-certificates/{}", entry.unwrap().file_name().display());
                    twin.write(&name, case.root.read(&name));
                }
                twin.run(&["update-ca-certificates"]);
                twin.tree()
                    .assert_same(&case.root.tree(), &format!("{base:?} {next}: the real tool (-), ours (+)"));
            }
            case.undone_by_untrust();
        }
    }
}

/// Databases that are not there yet are watched while the distribution's program runs, and are made in the same run.
#[test]
#[ignore = "needs root and real root file systems"]
fn databases_are_made_beside_the_native_tool() {
    for base in [Base::Debian12, Base::Alpine] {
        let root = base.copy();
        let before = root.tree();
        let ca = ca::root("Beside The Tool");
        ca.write(root.exchange(), "root.pem");
        let args = ["bootstrap", "--updater", "native", "--create-nss", "--nss-user", "root", "--ca-file"];
        root.trustup_inside(args).arg("/mnt/root.pem").ok();
        assert!(root.at("root/.local/share/pki/nssdb/cert9.db").exists(), "{base:?}");
        root.trustup_inside(["status"]).ok();
        root.trustup_inside(["untrust", "--all"]).ok();
        before.assert_same(&root.tree(), &format!("{base:?}"));
    }
}

/// Before a service, `auto` uses the built-in updater, unless a hook does what it does not.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_hook_that_is_not_known_runs_before_a_service() {
    let start = |case: &Case| {
        let run = case.root.trustup_inside(["--json", "bootstrap", "--ca-file", "/mnt/root.pem"]);
        run.args(["--", "/bin/true"]).run()
    };
    let hook = "#!/bin/sh\n: > /mnt/hook-ran\n";
    for base in [Base::Debian12, Base::Alpine] {
        let ran = |case: &Case| case.root.exchange().join("hook-ran").exists();
        let case = Case::new(base, |root| root.write_program(&format!("{HOOKS}/witness"), hook));
        let run = start(&case);
        case.worked(&run, "native");
        assert!(ran(&case), "the hook did not run: {run}");
        let why = run.json()["updater_why"].to_string();
        assert!(why.contains("/etc/ca-certificates/update.d/witness"), "{run}");
        case.undone_by_untrust();

        // What is no program is no hook, and a plan says which updater a start would use.
        let case = Case::new(base, |root| root.write(&format!("{HOOKS}/README"), "hooks go here"));
        let dry = ["--json", "--dry-run", "bootstrap", "--ca-file", "/mnt/root.pem", "--", "/bin/true"];
        assert_eq!(case.root.trustup_inside(dry).ok().json()["updater"], "builtin");
        case.worked(&start(&case), "builtin");
        case.undone_by_untrust();

        // Asked for, the tool is used.
        let case = Case::new(base, |_| {});
        let run = case.root.trustup_inside(["--json", "bootstrap", "--ca-file", "/mnt/root.pem"]);
        case.worked(&run.args(["--updater", "native", "--", "/bin/true"]).run(), "native");
    }
    // A known hook with another text is another hook.
    let changed = "#!/bin/sh\n: > /mnt/hook-ran\nexec /usr/bin/c_rehash /etc/ssl/certs\n";
    let case = Case::new(Base::Alpine, |root| root.write_program(&format!("{HOOKS}/certhash"), changed));
    case.worked(&start(&case), "native");
}
