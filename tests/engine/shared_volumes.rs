//! Threat T41 with the modes that Kubernetes, Docker and a laptop really give: an `emptyDir` is 0777 without the sticky
//! bit (2777 with `fsGroup`), a ConfigMap 0777 and mounted read-only, with `..data` links; a bind mount from a laptop
//! belongs to uid 1000 and its files have the mode 0664.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::authority::{Authority, GREETING, Server};
use crate::dockerd::Ended;
use crate::images::{debian_with_ca_certificates, run};
use crate::support::binary;

/// What a hardened pod has.
const HARDENED: [&str; 7] =
    ["--read-only", "--user", "1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];

struct Pod {
    directory: tempfile::TempDir,
    server: Server,
    trustup: String,
}

fn make(path: &Path, mode: u32, owner: (u32, u32)) {
    fs::create_dir_all(path).unwrap();
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn file(path: &Path, content: &str, mode: u32, owner: (u32, u32)) {
    fs::write(path, content).unwrap();
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Pod {
    fn new() -> Pod {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Authority::new("Root of a Pod");
        file(&directory.path().join("root.pem"), &authority.pem(), 0o644, (0, 0));
        let server = authority.serve(&[]);
        Pod { directory, server, trustup: format!("{}:/trustup:ro", binary::shipped().display()) }
    }

    /// A directory of this machine with these permissions.
    fn volume(&self, name: &str, mode: u32, owner: (u32, u32)) -> String {
        let path = self.directory.path().join(name);
        make(&path, mode, owner);
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, options: &[&str], command: &[&str]) -> Ended {
        let root = format!("{}:/ca/root.pem:ro", self.directory.path().join("root.pem").display());
        let all =
            [options, &["--volume", &self.trustup, "--volume", &root, "--entrypoint", "/trustup"]].concat();
        run(debian_with_ca_certificates(), &all, command)
    }

    /// `bootstrap` before the TLS client, with these options of trustup.
    fn service(&self, options: &[&str], of_trustup: &[&str]) -> Ended {
        let url = self.server.url("/");
        let command = [&["bootstrap", "-v"][..], of_trustup, &["--", "/client", &url]].concat();
        self.start(options, &command)
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_hardened_pod_keeps_its_store_in_an_empty_dir() {
    let pod = Pod::new();
    // Without and with fsGroup.
    for (name, mode, owner, options) in
        [("plain", 0o777, (0, 0), &[][..]), ("group", 0o2777, (0, 2000), &["--group-add", "2000"])]
    {
        let volume = pod.volume(name, mode, owner);
        let mount = format!("{volume}:/tmp");
        let all = [&HARDENED[..], options, &["--volume", &mount]].concat();
        let ca = ["--ca-file", "/ca/root.pem"];
        let refused = pod.service(&all, &ca);
        assert_eq!(refused.code, Some(1), "{name}: {refused:?}");
        let said = refused.failed();
        assert!(
            said.contains("no place for a private store") && said.contains("--allow-shared-directory"),
            "{said}"
        );
        assert!(said.contains("`/tmp` (mode "), "{said}");
        // No variable loosens a check.
        pod.service(&[&all[..], &["--env", "TRUSTUP_ALLOW_SHARED_DIRECTORY=true"]].concat(), &ca).failed();
        // The hint's own words; at the default place, in a HOME on the volume, and where --private-dir says.
        for (more, place) in [(&[][..], "/tmp/trustup-1000"), (&["--private-dir", "/tmp/mine"], "/tmp/mine")]
        {
            for again in [false, true] {
                let said =
                    pod.service(&all, &[&ca[..], &["--allow-shared-directory"], more].concat()).passed();
                assert!(said.contains(GREETING), "{said}");
                let note = format!("`{place}`: no other user counts: `/tmp` (mode ");
                assert!(
                    said.contains(&note) && said.contains("accepted by `--allow-shared-directory`"),
                    "{said}"
                );
                assert_eq!(said.contains("nothing to do"), again, "{said}");
            }
            let made = Path::new(&volume).join(place.trim_start_matches("/tmp/"));
            let meta = fs::metadata(&made).unwrap();
            assert_eq!(meta.permissions().mode() & 0o7777, 0o700, "{}", made.display());
            // The commands that the report names find it; without the option they do not trust it.
            let find = [&["--allow-shared-directory"][..], more].concat();
            let said = pod.start(&all, &[&find[..], &["env"]].concat()).passed();
            assert!(said.contains(place), "{said}");
            pod.start(&all, &[&find[..], &["status"]].concat()).passed();
            let said = pod.start(&all, &[more, &["env"]].concat()).failed();
            assert!(said.contains("--allow-shared-directory") && !said.contains("export"), "{said}");
        }
        for made in ["trustup-1000", "mine"] {
            fs::remove_dir_all(Path::new(&volume).join(made)).ok();
        }
        let home = [&all[..], &["--env", "HOME=/tmp/home"]].concat();
        let said = pod.service(&home, &[&ca[..], &["--allow-shared-directory"]].concat()).passed();
        assert!(said.contains("/tmp/home/.local/state/trustup") && said.contains(GREETING), "{said}");
    }
    // `medium: Memory`. (At a directory of the image Docker gives the tmpfs that directory's mode.)
    let memory = [&HARDENED[..], &["--tmpfs", "/cache:mode=0777"]].concat();
    let into = ["--ca-file", "/ca/root.pem", "--private-dir", "/cache/store"];
    let said = pod.service(&memory, &into).failed();
    assert!(said.contains("`/cache` (mode 0777)") && said.contains("--allow-shared-directory"), "{said}");
    let said = pod.service(&memory, &[&into[..], &["--allow-shared-directory"]].concat()).passed();
    assert!(said.contains(GREETING), "{said}");
    // The sticky bit alone is enough, as ever.
    let said =
        pod.service(&[&HARDENED[..], &["--tmpfs", "/tmp"]].concat(), &["--ca-file", "/ca/root.pem"]).passed();
    assert!(said.contains("has the sticky bit") && said.contains(GREETING), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn t41_nothing_of_another_user_is_taken_over_in_a_shared_directory() {
    let pod = Pod::new();
    let volume = pod.volume("shared", 0o777, (0, 0));
    let mount = format!("{volume}:/tmp");
    let all = [&HARDENED[..], &["--volume", &mount]].concat();
    let with_flag = ["--ca-file", "/ca/root.pem", "--allow-shared-directory"];
    let planted = Path::new(&volume).join("trustup-1000");
    for mode in [0o777, 0o700, 0o755] {
        make(&planted, mode, (1001, 1001));
        let said = pod.service(&all, &with_flag).failed();
        assert!(said.contains("belongs to user 1001") && !said.contains("x509"), "{said}");
        fs::remove_dir(&planted).unwrap();
    }
    make(&Path::new(&volume).join("elsewhere"), 0o777, (1000, 1000));
    symlink("/tmp/elsewhere", &planted).unwrap();
    let said = pod.service(&all, &with_flag).failed();
    assert!(said.contains("it is a link"), "{said}");
}

/// The volume of a ConfigMap as the kubelet makes it.
fn config_map(directory: &Path, text: &str, (directory_mode, file_mode, group): (u32, u32, u32)) {
    let version = directory.join("..2026_12_01_00_00_00.1234567890");
    make(directory, directory_mode, (0, group));
    make(&version, if group == 0 { 0o755 } else { 0o2755 }, (0, group));
    file(&version.join("trustup.toml"), text, file_mode, (0, group));
    file(&version.join("pin"), "", file_mode, (0, group));
    symlink(version.file_name().unwrap(), directory.join("..data")).unwrap();
    for name in ["trustup.toml", "pin"] {
        symlink(format!("..data/{name}"), directory.join(name)).unwrap();
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_configuration_from_a_config_map_or_a_laptop_is_read() {
    let pod = Pod::new();
    let text = "[trust]\nca_file = [\"/ca/root.pem\"]\nprivate_dir = \"/data/store\"\nallow_shared_directory = true\n";
    let data = format!("{}:/data", pod.volume("data", 0o777, (0, 0)));
    let directory = |name: &str| pod.directory.path().join(name);
    config_map(&directory("map"), text, (0o777, 0o644, 0));
    config_map(&directory("map-with-group"), text, (0o2777, 0o640, 2000));
    make(&directory("laptop"), 0o775, (1000, 1000));
    file(&directory("laptop/trustup.toml"), text, 0o664, (1000, 1000));
    for (name, user) in [
        ("map", "1000"),
        ("map", "0"),
        ("map-with-group", "1000"),
        ("map-with-group", "0"),
        ("laptop", "1000"),
        ("laptop", "0"),
        ("laptop", "1001"),
    ] {
        let volume = directory(name).to_str().unwrap().to_owned();
        let (read_only, writable) = (format!("{volume}:/etc/trustup:ro"), format!("{volume}:/etc/trustup"));
        let own = ["--read-only", "--user", user, "--group-add", "2000", "--volume", &data];
        fs::remove_dir_all(directory("data/store")).ok();
        for mounted in [true, false] {
            let all = [&own[..], &["--volume", if mounted { &read_only } else { &writable }]].concat();
            let plain = pod.service(&all, &[]);
            if mounted {
                let said = plain.passed();
                assert!(
                    said.contains("is mounted read-only") && said.contains(GREETING),
                    "{name} {user}: {said}"
                );
                pod.start(&all, &["config", "check"]).passed();
            } else {
                assert_eq!(plain.code, Some(2), "{name} {user}: {plain:?}");
                let said = plain.failed();
                assert!(
                    said.contains("could have written this file") && said.contains("--allow-shared-config"),
                    "{said}"
                );
                // Neither a variable nor the file itself.
                let variable = [&all[..], &["--env", "TRUSTUP_ALLOW_SHARED_CONFIG=true"]].concat();
                assert_eq!(pod.service(&variable, &[]).code, Some(2));
                let said = pod.service(&all, &["--allow-shared-config"]).passed();
                assert!(
                    said.contains("accepted by `--allow-shared-config`") && said.contains(GREETING),
                    "{said}"
                );
                pod.start(&all, &["config", "check", "--allow-shared-config"]).passed();
            }
        }
    }
    // A single file, as Swarm mounts a config.
    let single = directory("single.toml");
    file(&single, text, 0o444, (0, 0));
    let mount = format!("{}:/trustup.toml", single.display());
    let all = ["--read-only", "--user", "1000", "--volume", &data, "--volume", &mount];
    fs::remove_dir_all(directory("data/store")).ok();
    pod.service(&all, &["--config", "/trustup.toml"]).passed();
}
