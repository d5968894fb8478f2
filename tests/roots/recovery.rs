//! What the journal of a killed run brings back where the distribution's own program runs (threats T5, T34): only on `/`
//! does a journal list directories and what stood in them.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use trustup::pki::fingerprint::Fingerprint;

use crate::support::ca::{self, Root, fingerprints};
use crate::support::roots::{Base, RootFs, STATE};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const TOOL: &str = "usr/sbin/update-ca-certificates";

fn plant(root: &RootFs, journal: &Value) {
    root.write(&format!("{STATE}/journal.json"), journal.to_string());
    for (path, mode) in [(STATE.to_owned(), 0o700), (format!("{STATE}/journal.json"), 0o600)] {
        std::fs::set_permissions(root.at(&path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn journal(row: &str, directories: &[&str], watched: &[Value]) -> Value {
    json!({
        "row": row, "made": [], "steps": [], "watched": watched, "directories": directories, "leftovers": [],
        "state": null,
    })
}

fn watched(path: &str, content: &[u8]) -> Value {
    json!({ "path": path, "before": { "file": {
        "mode": 0o666, "owner": [1000, 1000], "modified": [1_700_000_000, 0],
        "sha256": Fingerprint::of(content).hex(), "prefix": 0, "suffix": 0, "middle": BASE64.encode(content),
    } } })
}

fn given(root: &RootFs) -> Root {
    let ca = ca::root("Recovery Test Root");
    ca.write(root.exchange(), "root.pem");
    ca
}

/// A journal that lists a directory and nothing of what was in it: what is there was not made by the run.
#[test]
#[ignore = "needs root and real root file systems"]
fn t34_a_journal_without_a_watch_list_empties_no_directory() {
    for (base, row, directories) in [
        (Base::Debian12, "debian", &["/etc/ssl/certs"][..]),
        (Base::Alpine, "alpine", &["/etc/ssl/certs"]),
        (
            Base::RedHat,
            "red-hat",
            &[
                "/etc/pki/ca-trust/extracted/pem",
                "/etc/pki/ca-trust/extracted/java",
                "/etc/pki/ca-trust/extracted/openssl",
            ],
        ),
    ] {
        for command in [&["untrust", "--all"][..], &["bootstrap", "--ca-file", "/mnt/root.pem"]] {
            let root = base.copy();
            given(&root);
            let before = root.tree();
            plant(&root, &journal(row, directories, &[]));
            root.trustup_inside(command.iter().copied()).ok();
            root.trustup_inside(["untrust", "--all"]).ok();
            before.assert_same(&root.tree(), &format!("{base:?} {command:?}"));
        }
    }
}

/// A watch list that says that the bundle held another root, or held nothing.
#[test]
#[ignore = "needs root and real root file systems"]
fn t34_a_watch_list_brings_no_root_and_takes_none() {
    let evil = ca::root("Evil");
    for base in [Base::Debian12, Base::Alpine] {
        let row = if base == Base::Alpine { "alpine" } else { "debian" };
        for content in ["more", "only", "nothing"] {
            let root = base.copy();
            let good = given(&root);
            let before = root.tree();
            let now = root.read(BUNDLE);
            let content_bytes = match content {
                "more" => [&now[..], evil.pem.as_bytes()].concat(),
                "only" => evil.pem.clone().into_bytes(),
                _ => Vec::new(),
            };
            plant(
                &root,
                &journal(row, &["/etc/ssl/certs"], &[watched(&format!("/{BUNDLE}"), &content_bytes)]),
            );
            let run = root.trustup_inside([
                "bootstrap",
                "--require-pin",
                "--json",
                "--fingerprint",
                &good.pin(),
                "--ca-file",
                "/mnt/root.pem",
            ]);
            let run = run.ok();
            let held = fingerprints(&String::from_utf8(root.read(BUNDLE)).unwrap());
            assert!(
                !held.contains(&evil.fingerprint) && held.contains(&good.fingerprint),
                "{content}: {run}"
            );
            assert_eq!(run.json()["gained"], json!([]), "{run}");
            root.trustup_inside(["untrust", "--all"]).ok();
            before.assert_same(&root.tree(), &format!("{base:?} {content}"));
        }
    }
}

/// trustup and the distribution's program are killed together; then the vendor withdraws a root and brings another, and
/// its package runs the program. The next run of trustup restores nothing of what was before.
#[test]
#[ignore = "needs root and real root file systems"]
fn t5_what_the_vendor_changed_after_a_kill_stays() {
    for base in [Base::Debian12, Base::Alpine] {
        for next in ["bootstrap", "untrust"] {
            let root = base.copy();
            let ours = given(&root);
            let brought = ca::root("Brought by the Vendor");
            std::fs::rename(root.at(TOOL), root.at("usr/sbin/real-tool")).unwrap();
            root.write_program(TOOL, "#!/bin/sh\n/usr/sbin/real-tool \"$@\"\nkill -9 $PPID $$\n");
            let killed =
                root.trustup_inside(["bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"]).run();
            assert_eq!(killed.code, None, "was to be killed: {killed}");
            std::fs::rename(root.at("usr/sbin/real-tool"), root.at(TOOL)).unwrap();
            // The vendor's upgrade.
            let conf = String::from_utf8(root.read("etc/ca-certificates.conf")).unwrap();
            let first = conf.lines().find(|line| line.ends_with(".crt")).unwrap().to_owned();
            let file = format!("usr/share/ca-certificates/{first}");
            let withdrawn = fingerprints(&String::from_utf8(root.read(&file)).unwrap())[0];
            root.remove(&file);
            root.write("usr/share/ca-certificates/mozilla/Brought.crt", &brought.pem);
            let conf = conf.replace(&format!("{first}\n"), "") + "mozilla/Brought.crt\n";
            root.write("etc/ca-certificates.conf", conf);
            root.run(&["update-ca-certificates", "--fresh"]);
            let held = |root: &RootFs| fingerprints(&String::from_utf8(root.read(BUNDLE)).unwrap());
            assert!(!held(&root).contains(&withdrawn) && held(&root).contains(&brought.fingerprint));

            let run = match next {
                "bootstrap" => root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]),
                _ => root.trustup_inside(["untrust", "--all"]),
            };
            let run = run.ok();
            let now = held(&root);
            assert!(!now.contains(&withdrawn), "the withdrawn root is back: {base:?} {next}: {run}");
            assert!(
                now.contains(&brought.fingerprint),
                "the vendor's new root is lost: {base:?} {next}: {run}"
            );
            assert_eq!(now.contains(&ours.fingerprint), next == "bootstrap", "{base:?} {next}: {run}");
            root.trustup_inside(["untrust", "--all"]).ok();
            // What the distribution's program makes of its files alone.
            let after = root.tree();
            root.run(&["update-ca-certificates", "--fresh"]);
            after.assert_same(&root.tree(), &format!("{base:?} {next}"));
        }
    }
}
