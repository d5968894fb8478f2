//! Files that some program cannot read: beside our anchor, given as `--ca-file`, and as outputs. What trustup calls proven
//! is offered by every reader of an output; `tests/tools/readers` holds the models of the readers against the real ones.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use trustup::pki::cert::readers::Reader;
use trustup::pki::fingerprint::Fingerprint;

use crate::stores::Scene;
use crate::support::ca::{self, Root};
use crate::support::run::Trustup;
use crate::support::tree::Tree;

/// A fixture whose program copies files into a bundle as they are.
struct Copying {
    fixture: &'static str,
    /// The directory of the administrator's files.
    directory: &'static str,
    /// What the names of the files end in that the program reads.
    ending: &'static str,
    /// A name that the program does not read.
    overlooked: &'static str,
    bundle: &'static str,
}

const COPYING: [Copying; 3] = [
    Copying {
        fixture: "debian-12",
        directory: "usr/local/share/ca-certificates",
        ending: ".crt",
        overlooked: "corp.pem",
        bundle: "etc/ssl/certs/ca-certificates.crt",
    },
    Copying {
        fixture: "alpine-3.23-ca-certificates",
        directory: "usr/local/share/ca-certificates",
        ending: ".crt",
        overlooked: ".corp.crt",
        bundle: "etc/ssl/certs/ca-certificates.crt",
    },
    Copying {
        fixture: "photon-5",
        directory: "etc/ssl/certs",
        ending: ".pem",
        overlooked: "corp.cer",
        bundle: "etc/pki/tls/certs/ca-bundle.crt",
    },
];

/// A file of one root that spoils a bundle, and whether the root in it can be made out.
fn broken(root: &Root) -> Vec<(&'static str, Vec<u8>, bool)> {
    let pem = &root.pem;
    let end = pem.find("-----END").expect("PEM");
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    vec![
        ("an empty line before END", format!("{}\n{}", &pem[..end], &pem[end..]).into(), true),
        ("a line of blanks", pem.replacen('\n', "\n   \n", 2).into(), true),
        ("a form feed", pem.replacen("\n-----END", "\n\x0c\n-----END", 1).into(), true),
        ("doubled line ends", pem.replace('\n', "\n\n").into(), true),
        ("RFC 1421 headers", pem.replacen('\n', "\nComment: text\n\n", 1).into(), true),
        ("text before BEGIN", format!("subject=CN {pem}").into(), true),
        ("text behind END", format!("{} text\n", pem.trim_end()).into(), true),
        ("four dashes behind END", pem.replace("END CERTIFICATE-----", "END CERTIFICATE----").into(), false),
        (
            "four dashes behind BEGIN",
            pem.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----").into(),
            false,
        ),
        ("cut off", pem[..end].into(), false),
        ("a byte order mark", format!("\u{feff}{pem}").into(), true),
        ("a NUL behind", [pem.as_bytes(), b"\0\n"].concat(), true),
        ("UTF-16", [&[0xff, 0xfe][..], &utf_16(pem)].concat(), false),
        ("UTF-16 without a mark", utf_16(pem), false),
    ]
}

/// What every reader finds in a bundle.
fn offered(bundle: &[u8]) -> BTreeSet<Fingerprint> {
    let mut readers = Reader::OF_BUNDLES.iter().map(|reader| {
        let found = reader.read(bundle);
        assert_eq!(found.gives_up, None, "{} gives up", reader.name());
        found.certificates.iter().map(|der| Fingerprint::of(der)).collect::<BTreeSet<_>>()
    });
    let first = readers.next().expect("readers");
    readers.fold(first, |common, found| common.intersection(&found).copied().collect())
}

fn tree(scene: &Scene) -> Tree {
    scene.tree().without("var/lib/trustup")
}

fn findings(scene: &Scene, kind: &str) -> Vec<Value> {
    let answer = scene.trustup(["doctor", "--json"]).run().json();
    let all = answer["findings"].as_array().expect("findings").clone();
    all.into_iter().filter(|finding| finding["kind"] == kind).collect()
}

/// The words of the command that a finding recommends: it names the root file system that was looked at.
fn recommended(finding: &Value) -> Vec<String> {
    let command = finding["first_to_change"].as_str().unwrap().split('`').nth(1).unwrap();
    command.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_broken_file_beside_ours_is_written_anew() {
    for Copying { fixture, directory, ending, bundle, .. } in COPYING {
        let neighbour = ca::root("Neighbour");
        for (what, bytes, is_kept) in broken(&neighbour) {
            let scene = Scene::new(fixture);
            let vendor = offered(&fs::read(scene.at(bundle)).unwrap());
            fs::create_dir_all(scene.at(directory)).unwrap();
            let name = format!("neighbour{ending}");
            fs::write(scene.at(directory).join(&name), bytes).unwrap();
            let before = tree(&scene);
            let context = format!("{fixture}, {what}");

            let refused = scene.bootstrap().arg("--strict").fails(1);
            refused.says([&*name, "line ", "hint: "]);
            before.assert_same(&tree(&scene), &context);

            let run = scene.bootstrap().ok();
            run.says([&*name, "line "]);
            // What programs did not trust before is named.
            let is_named = run.stderr.contains(&neighbour.fingerprint.hex());
            assert_eq!(is_named, is_kept, "{context}: {run}");
            let found = offered(&fs::read(scene.at(bundle)).unwrap());
            assert!(found.contains(&scene.ca.fingerprint), "{context}: {run}");
            assert!(found.is_superset(&vendor), "{context}: {run}");
            assert_eq!(found.contains(&neighbour.fingerprint), is_kept, "{context}: {run}");
            scene.trustup(["status"]).ok();

            let after = tree(&scene);
            let again = scene.bootstrap().arg("--json").ok().json();
            assert_eq!(again["changed"], false, "{context}: {again}");
            after.assert_same(&tree(&scene), &context);
            let file = findings(&scene, "broken-input");
            assert!(
                file.iter().any(|one| one["place"].as_str().unwrap().ends_with(&name)),
                "{context}: {file:?}"
            );
            assert_eq!(findings(&scene, "missing-hash-links"), [] as [Value; 0], "{context}");

            scene.untrust().ok();
            before.assert_same(&tree(&scene), &context);
        }
    }
}

/// The broken file holds the very root that is asked for: it stays somebody else's, and the second run finds the same.
#[test]
fn a_broken_file_may_hold_the_same_root() {
    for Copying { fixture, directory, ending, bundle, .. } in COPYING {
        for (what, bytes, _) in broken(&ca::root("Only For The Kinds")) {
            let scene = Scene::new(fixture);
            let bytes =
                broken(&scene.ca).into_iter().find(|(kind, _, _)| *kind == what).map_or(bytes, |one| one.1);
            fs::create_dir_all(scene.at(directory)).unwrap();
            fs::write(scene.at(directory).join(format!("same{ending}")), bytes).unwrap();
            let before = tree(&scene);
            let context = format!("{fixture}, {what}");
            let first = scene.bootstrap().arg("--json").ok().json();
            assert_eq!(first["anchors"][0]["status"], "installed", "{context}: {first}");
            assert!(
                offered(&fs::read(scene.at(bundle)).unwrap()).contains(&scene.ca.fingerprint),
                "{context}"
            );
            let after = tree(&scene);
            let again = scene.bootstrap().arg("--json").ok().json();
            assert_eq!(again["changed"], false, "{context}: {again}");
            after.assert_same(&tree(&scene), &context);
            assert_eq!(findings(&scene, "broken-input").len(), 1, "{context}");
            assert_eq!(findings(&scene, "missing-hash-links"), [] as [Value; 0], "{context}");
            scene.untrust().ok();
            before.assert_same(&tree(&scene), &context);
        }
    }
}

/// A file in the anchor directory that no program reads does not make its root trusted, wherever it was named.
#[test]
fn a_root_is_adopted_only_from_a_file_that_programs_read() {
    for Copying { fixture, directory, ending, overlooked, bundle } in COPYING {
        let root = ca::root("Unread");
        let label = |label: &str| root.pem.replace("CERTIFICATE", label).into_bytes();
        for (what, name, bytes) in [
            ("DER", format!("corp{ending}"), root.der.clone()),
            ("CR only", format!("corp{ending}"), root.pem.replace('\n', "\r").into_bytes()),
            ("an overlooked name", overlooked.to_owned(), root.pem.clone().into_bytes()),
            ("an old label", format!("corp{ending}"), label("X509 CERTIFICATE")),
            ("trust settings", format!("corp{ending}"), label("TRUSTED CERTIFICATE")),
            ("an empty line", format!("corp{ending}"), root.pem.replacen('\n', "\n\n", 4).into_bytes()),
        ] {
            let scene = Scene::new(fixture);
            fs::create_dir_all(scene.at(directory)).unwrap();
            let file = scene.at(directory).join(&name);
            fs::write(&file, bytes).unwrap();
            let before = tree(&scene);
            let run = scene.trustup(["bootstrap", "--json", "--ca-file", file.to_str().unwrap()]).ok().json();
            let anchor = &run["anchors"][0];
            assert_eq!(anchor["status"], "installed", "{fixture}, {what}: {run}");
            assert!(!anchor["file"].as_str().unwrap().ends_with(&name), "{fixture}, {what}: {run}");
            let own = fs::read(scene.at(anchor["file"].as_str().unwrap().trim_start_matches('/'))).unwrap();
            assert_eq!(own, root.pem.as_bytes(), "{fixture}, {what}");
            assert!(
                offered(&fs::read(scene.at(bundle)).unwrap()).contains(&root.fingerprint),
                "{fixture}, {what}"
            );
            scene.untrust().ok();
            before.assert_same(&tree(&scene), &format!("{fixture}, {what}"));
        }
        // The control: what programs read is adopted.
        let scene = Scene::new(fixture);
        fs::create_dir_all(scene.at(directory)).unwrap();
        let file = scene.at(directory).join(format!("corp{ending}"));
        fs::write(&file, &root.pem).unwrap();
        let run = scene.trustup(["bootstrap", "--json", "--ca-file", file.to_str().unwrap()]).ok().json();
        assert_eq!(run["anchors"][0]["status"], "mounted", "{fixture}: {run}");
    }
}

/// The bundle has the root's bytes, and no program takes them for a root.
#[test]
fn a_bundle_offers_only_what_its_readers_find() {
    for fixture in ["distroless-static-debian12", "debian-12", "fedora-42"] {
        let root = ca::root("In Disguise");
        let label = |label: &str| root.pem.replace("CERTIFICATE", label);
        for (what, text) in [
            ("another label", label("FOO")),
            ("the label of a list", label("PKCS7")),
            (
                "encryption headers",
                root.pem.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1),
            ),
            ("text before BEGIN", format!("subject=CN {}", root.pem)),
        ] {
            let scene = Scene::new(fixture);
            root.write(scene.given.path(), "root.pem");
            let outputs = scene.trustup(["detect", "--json"]).ok().json();
            let outputs = outputs["outputs"].as_array().unwrap();
            let first = outputs.iter().find(|one| one["kind"] == "bundle" && one["exists"] == true).unwrap();
            let bundle = scene.at(first["real_path"].as_str().unwrap().trim_start_matches('/'));
            let vendor = offered(&fs::read(&bundle).unwrap());
            fs::write(&bundle, [&fs::read(&bundle).unwrap(), text.as_bytes()].concat()).unwrap();
            let run = scene.bootstrap().arg("--json").ok().json();
            assert_eq!(run["anchors"][0]["status"], "installed", "{fixture}, {what}: {run}");
            let found = offered(&fs::read(&bundle).unwrap());
            assert!(found.contains(&root.fingerprint), "{fixture}, {what}: {run}");
            assert!(found.is_superset(&vendor), "{fixture}, {what}");
            scene.trustup(["status"]).ok();
        }
    }
}

/// Where no package makes the bundle anew: it is written anew from what is in it, with a warning.
#[test]
fn a_bundle_that_was_damaged_before_is_written_anew() {
    for fixture in
        ["distroless-static-debian12", "fedora-42", "debian-12", "alpine-3.23-ca-certificates", "arch"]
    {
        for command in [&["bootstrap"][..], &["bootstrap", "--repair"]] {
            let scene = Scene::new(fixture);
            let outputs = scene.trustup(["detect", "--json"]).ok().json();
            let outputs = outputs["outputs"].as_array().unwrap();
            let first = outputs.iter().find(|one| one["kind"] == "bundle" && one["exists"] == true).unwrap();
            let bundle = scene.at(first["real_path"].as_str().unwrap().trim_start_matches('/'));
            let good = fs::read_to_string(&bundle).unwrap();
            let vendor = offered(good.as_bytes());
            // In the last certificate, so that nothing is regular any more.
            let at = good.rfind("\n-----END").unwrap();
            fs::write(&bundle, format!("{}\n\n{}", &good[..at], &good[at + 1..])).unwrap();
            let before = tree(&scene);
            assert_eq!(findings(&scene, "damaged-block").len(), 1, "{fixture}");

            scene.bootstrap().arg("--strict").fails(1).says(["line ", "hint: "]);
            before.assert_same(&tree(&scene), fixture);

            let file = scene.given.path().join("root.pem");
            let args = [command, &["--ca-file", file.to_str().unwrap()]].concat();
            let run = scene.trustup(args).ok();
            let found = offered(&fs::read(&bundle).unwrap());
            assert!(found.contains(&scene.ca.fingerprint) && found.is_superset(&vendor), "{fixture}: {run}");
            assert_eq!(findings(&scene, "damaged-block"), [] as [Value; 0], "{fixture}");
            scene.trustup(["status"]).ok();
        }
    }
}

/// doctor recommends what helps: each recommendation is carried out, and the finding is gone.
#[test]
fn recommendations_for_broken_files_work() {
    for Copying { fixture, directory, ending, overlooked, bundle } in COPYING {
        let neighbour = ca::root("Neighbour");
        for (what, bytes, _) in broken(&neighbour) {
            // The distribution's program ran with that file there: the bundle has its bytes.
            let scene = Scene::new(fixture);
            fs::create_dir_all(scene.at(directory)).unwrap();
            fs::write(scene.at(directory).join(format!("neighbour{ending}")), &bytes).unwrap();
            let good = fs::read(scene.at(bundle)).unwrap();
            fs::write(scene.at(bundle), [&good[..], &bytes, b"\n"].concat()).unwrap();
            let damaged = findings(&scene, "damaged-block");
            for finding in &damaged {
                assert_eq!(finding["mendable"], true, "{fixture}, {what}");
                assert_eq!(recommended(finding)[3..], ["bootstrap", "--repair"], "{fixture}, {what}");
            }
            scene.trustup(["bootstrap", "--repair"]).ok();
            assert_eq!(findings(&scene, "damaged-block"), [] as [Value; 0], "{fixture}, {what}");
            assert!(
                offered(&fs::read(scene.at(bundle)).unwrap()).is_superset(&offered(&good)),
                "{fixture}, {what}"
            );
            // The file itself: the recommendation removes it, or writes it anew with the real openssl (roots/broken_files).
            let inputs = findings(&scene, "broken-input");
            assert_eq!(inputs.len(), 1, "{fixture}, {what}: {inputs:?}");
        }
        // What nobody reads is installed from where it is.
        let scene = Scene::new(fixture);
        fs::create_dir_all(scene.at(directory)).unwrap();
        fs::write(scene.at(directory).join(overlooked), &neighbour.pem).unwrap();
        let unread = findings(&scene, "unread-input");
        assert_eq!(unread.len(), 1, "{fixture}: {unread:?}");
        Trustup::new(&recommended(&unread[0])[1..]).ok();
        assert!(offered(&fs::read(scene.at(bundle)).unwrap()).contains(&neighbour.fingerprint), "{fixture}");
    }
}

/// What cannot be repaired is an error that says why, and nothing is called done.
#[test]
fn a_repair_that_leaves_damage_fails() {
    let scene = Scene::new("fedora-42");
    let trusted = scene.at("etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt");
    let text = fs::read_to_string(&trusted).unwrap();
    let at = text.rfind("\n-----END").unwrap();
    fs::write(&trusted, format!("{}\n\n{}", &text[..at], &text[at + 1..])).unwrap();
    let before = tree(&scene);
    let run = scene.trustup(["bootstrap", "--repair"]).fails(1);
    run.says(["could not repair", "ca-bundle.trust.crt", "line ", "hint: "]);
    before.assert_same(&tree(&scene), "after a repair in vain");
}

/// A certificate that trustup itself would refuse, in a bundle of somebody else's: it is reported, and stays.
#[test]
fn a_malformed_certificate_of_others_is_reported() {
    let scene = Scene::new("distroless-static-debian12");
    let bundle = scene.at("etc/ssl/certs/ca-certificates.crt");
    let mut params = ca::root_params("Malformed");
    // A subject alternative name that is no sequence of names.
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![4, 1, 0])];
    let malformed = ca::root_with(params);
    let text = fs::read_to_string(&bundle).unwrap() + &malformed.pem;
    fs::write(&bundle, &text).unwrap();
    let found = findings(&scene, "malformed-certificate");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0]["what"].as_str().unwrap().contains(&malformed.fingerprint.hex()), "{found:?}");
    scene.bootstrap().ok();
    assert!(fs::read_to_string(&bundle).unwrap().starts_with(&text));
}
