//! A file of the administrator's that spoils the bundle: with Debian's own program every client loses every root. With
//! trustup each client has ours and the distribution's, whichever updater serves, or nothing is changed and the error
//! names the file.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::clients::{CLIENTS, clients_root};
use crate::support::ca::{self, Root};
use crate::support::roots::{self, Base, RootFs, Said};
use crate::support::tls_server::TlsServer;
use crate::support::tree::Tree;

const LOCAL: &str = "usr/local/share/ca-certificates";

/// Kinds of files that spoil a bundle, after public reports; those of the field that can be had without their data.
fn broken(root: &Root) -> Vec<(&'static str, Vec<u8>)> {
    let pem = &root.pem;
    let end = pem.find("-----END").expect("PEM");
    vec![
        ("blank-before-end", format!("{}\n{}", &pem[..end], &pem[end..]).into()),
        ("form-feed", pem.replacen("\n-----END", "\n\x0c\n-----END", 1).into()),
        ("headers", pem.replacen('\n', "\nComment: text\n\n", 1).into()),
        ("doubled", pem.replace('\n', "\n\n").into()),
        ("dashes", pem.replace("END CERTIFICATE-----", "END CERTIFICATE----").into()),
        ("utf-16", pem.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ]
}

/// The roots that Python has from the bundle, and whether OpenSSL verifies `file` by each kind of store alone.
#[track_caller]
fn python_roots(root: &RootFs) -> BTreeSet<String> {
    let script = "import ssl, hashlib\n\
                  context = ssl.create_default_context(cafile='/etc/ssl/certs/ca-certificates.crt')\n\
                  for der in context.get_ca_certs(True): print(hashlib.sha256(der).hexdigest())";
    let output = root.command(&["python3", "-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[track_caller]
fn openssl_verifies(root: &RootFs, store: &[&str], file: &str) -> bool {
    let command = [&["openssl", "verify", "-no_check_time"][..], store, &[file]].concat();
    root.command(&command).output().unwrap().status.success()
}

#[test]
#[ignore = "needs root and real root file systems"]
fn no_client_loses_a_root_for_a_broken_file() {
    let ca = ca::root("Ours");
    let neighbour = ca::root("Neighbour");
    let vendor = python_roots(&clients_root());
    assert!(vendor.len() > 100, "{} roots", vendor.len());
    for (name, bytes) in broken(&neighbour) {
        let root = clients_root();
        root.write(&format!("{LOCAL}/{name}.crt"), &bytes);
        ca.write(root.exchange(), "root.pem");
        let before = root.tree();

        // Asked for by name, the distribution's own program is not run.
        let native = ["bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"];
        root.trustup_inside(native).fails(1).says([&format!("{name}.crt") as &str, "line "]);
        before.assert_same(&root.tree(), name);

        let run = root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        run.says([&format!("{name}.crt") as &str, "line "]);
        let found = python_roots(&root);
        assert!(found.contains(&ca.fingerprint.hex()) && found.is_superset(&vendor), "{name}: {run}");
        for store in [
            &["-no-CAfile", "-no-CAstore", "-CApath", "/etc/ssl/certs"][..],
            &["-no-CApath", "-no-CAstore", "-CAfile", "/etc/ssl/certs/ca-certificates.crt"],
        ] {
            assert!(openssl_verifies(&root, store, "/mnt/root.pem"), "{name}: {store:?}");
        }
        // With a file that can be made out, its own root is there, too.
        if name != "dashes" && name != "utf-16" {
            assert!(found.contains(&neighbour.fingerprint.hex()), "{name}");
        }
        root.trustup_inside(["status"]).ok();
        // Python may have written its byte code.
        root.trustup_inside(["untrust", "--all"]).ok();
        assert_eq!(root.read(&format!("{LOCAL}/{name}.crt")), bytes);
    }
}

/// The control: what Debian's program makes of them.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tool_spoils_the_bundle_for_all() {
    let root = clients_root();
    let (_, bytes) = broken(&ca::root("Neighbour")).remove(0);
    root.write(&format!("{LOCAL}/broken.crt"), &bytes);
    root.run(&["update-ca-certificates"]);
    assert_eq!(python_roots(&root), BTreeSet::new());
}

/// The bundle is spoiled already; real clients get every root back, by `bootstrap` and by `--repair` alone, and what doctor
/// recommends for the file lasts when the distribution's own program runs again.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_spoiled_bundle_is_repaired_for_every_client() {
    let ca = ca::root("Ours");
    let server = TlsServer::start(&ca);
    for repair in [false, true] {
        let root = clients_root();
        let vendor = python_roots(&root);
        let neighbour = ca::root("Neighbour");
        let (_, bytes) = broken(&neighbour).remove(0);
        root.write(&format!("{LOCAL}/broken.crt"), &bytes);
        root.run(&["update-ca-certificates"]);
        assert_eq!(python_roots(&root), BTreeSet::new());
        ca.write(root.exchange(), "root.pem");
        if repair {
            root.trustup_inside(["bootstrap", "--repair"]).ok();
            assert!(python_roots(&root).is_superset(&vendor));
        }
        root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
        for client in &CLIENTS {
            client.accepts(&root, &server);
        }
        let doctor = root.trustup_inside(["doctor", "--json"]).run().json();
        let findings = doctor["findings"].as_array().unwrap();
        let file = findings.iter().find(|one| one["kind"] == "broken-input").expect("the file");
        let recommended = file["first_to_change"].as_str().unwrap().to_owned();
        let command: Vec<&str> = recommended.split('`').nth(1).unwrap().split(' ').skip(1).collect();
        root.trustup_inside(command).ok();
        assert!(recommended.ends_with(&format!("then remove `/{LOCAL}/broken.crt`")), "{recommended}");
        root.remove(&format!("{LOCAL}/broken.crt"));
        root.run(&["update-ca-certificates"]);
        assert!(python_roots(&root).contains(&neighbour.fingerprint.hex()));
        assert!(python_roots(&root).is_superset(&vendor));
        let doctor = root.trustup_inside(["doctor", "--json"]).run().json();
        assert!(!doctor.to_string().contains("broken-input"), "{doctor}");
        for client in &CLIENTS {
            client.accepts(&root, &server);
        }
    }
}

/// Alpine's program, whose bundle BusyBox and curl read, and Debian 13's: judged by the machine's OpenSSL.
#[test]
#[ignore = "needs root and real root file systems"]
fn other_systems_keep_their_roots_beside_a_broken_file() {
    let ca = ca::root("Ours");
    for base in [Base::Alpine, Base::Debian13] {
        for (name, bytes) in broken(&ca::root("Neighbour")) {
            let root = base.copy();
            root.write(&format!("{LOCAL}/{name}.crt"), &bytes);
            ca.write(root.exchange(), "root.pem");
            let before = Tree::of(root.path());
            let context = format!("{base:?}, {name}");
            root.trustup_inside(["bootstrap", "--updater", "native", "--ca-file", "/mnt/root.pem"])
                .fails(1)
                .says([&format!("{name}.crt") as &str]);
            before.assert_same(&Tree::of(root.path()).without(roots::STATE), &context);
            root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
            let bundle = root.at("etc/ssl/certs/ca-certificates.crt");
            let verify = |file: &Path| {
                let mut command = Command::new("openssl");
                command.args(["verify", "-no_check_time", "-CAfile"]).arg(&bundle).arg(file).output().unwrap()
            };
            let ours = verify(&root.exchange().join("root.pem"));
            assert!(ours.status.success(), "{context}: {}", Said(&ours));
            let theirs = verify(&root.at("usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"));
            assert!(theirs.status.success(), "{context}: {}", Said(&theirs));
        }
    }
}
