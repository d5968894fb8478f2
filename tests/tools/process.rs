//! trustup as a process (threat T16): it refuses raised rights, and hands a service neither secrets nor descriptors.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::{fs, str};

use crate::support::binary;
use crate::support::program::copy_for_all;

fn output(command: &mut Command) -> Output {
    binary::clear(command);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().expect("the program starts")
}

/// As nobody, without capabilities.
fn as_nobody(program: &Path) -> Output {
    output(
        Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
            .arg(program)
            .args(["detect", "--list"]),
    )
}

fn copy(directory: &Path, mode: u32) -> std::path::PathBuf {
    copy_for_all(binary::trustup(), directory, mode)
}

/// A capability that a file here can give, as `setcap` takes it: one outside of the bounding set stops the start of a
/// program that wants it (EPERM, capabilities(7)), and machines differ in what they leave there.
fn capability() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("bounding set");
    let bounding = u64::from_str_radix(bounding.trim(), 16).expect("a mask");
    assert_ne!(bounding, 0, "no capability is left on this machine");
    format!("{}=ep", bounding.trailing_zeros())
}

#[test]
#[ignore = "needs root"]
fn raised_rights_are_refused() {
    // Entered by everybody, and not mounted without set-id bits, as `/tmp` may be.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let plain = as_nobody(&copy(directory.path(), 0o755));
    assert_eq!(plain.status.code(), Some(0), "{plain:?}");
    for mode in [0o4755, 0o2755] {
        let raised = as_nobody(&copy(directory.path(), mode));
        assert_eq!(raised.status.code(), Some(5), "{mode:o}: {raised:?}");
        let said = String::from_utf8(raised.stderr).unwrap();
        assert!(said.contains("raised rights"), "{said}");
        assert!(said.contains("hint: remove these bits from the binary and run it as the user"), "{said}");
        // As it says.
        fs::set_permissions(directory.path().join("trustup"), fs::Permissions::from_mode(0o755)).unwrap();
        let plain = as_nobody(&directory.path().join("trustup"));
        assert_eq!(plain.status.code(), Some(0), "{plain:?}");
    }
    let binary = copy(directory.path(), 0o755);
    let capable = output(Command::new("setcap").arg(capability()).arg(&binary));
    assert!(capable.status.success(), "{capable:?}");
    let raised = as_nobody(&binary);
    assert_eq!(raised.status.code(), Some(5), "{raised:?}");
}

#[test]
#[ignore = "needs root"]
fn the_service_gets_neither_secrets_nor_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    fs::write(directory.path().join("root.der"), root.der()).unwrap();
    // A state directory of its own, so that nothing of the machine is touched; `--stores none` touches no store.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-eu", "-c"]);
    command.arg(
        "mount -t tmpfs state /var/lib\n\
         export TRUSTUP_TOKEN=secret-a CA_TOKEN=secret-b TRUSTUP_PASSWORD=secret-c OTHER_TOKEN=theirs\n\
         echo $$\n\
         exec 7<\"$1\"\n\
         exec \"$0\" bootstrap -q --stores none --ca-file \"$1\" -- sh -c 'echo $$; env; ls /proc/$$/fd'",
    );
    let run = output(command.arg(binary::trustup()).arg(directory.path().join("root.der")));
    let said = str::from_utf8(&run.stdout).unwrap();
    assert!(run.status.success(), "{run:?}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], lines[1], "the service takes trustup's place: {said}");
    assert!(said.contains("OTHER_TOKEN=theirs") && !said.contains("secret-"), "{said}");
    let descriptors: Vec<&str> =
        lines.iter().rev().take_while(|line| line.parse::<u32>().is_ok()).copied().collect();
    // The shell itself may hold its script.
    assert!(descriptors.iter().all(|number| ["0", "1", "2", "10"].contains(number)), "{said}");
}
