//! Families of p11-kit against the real one (0.24.1): roots laid out as Fedora and as Arch, where the family's
//! extractions run. trustup works on one root; on its twin the same anchor files are dropped and the extraction runs.
//! The trees have to be the same, but for the Java keystore: only the real tool writes it, with the time in it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose};

use crate::support::ca::{self, Root, fingerprints, root_params, root_with};
use crate::support::roots::{Base, RootFs};
use crate::support::run::Run;
use crate::support::tree::Tree;

const TOOL: &str = "usr/bin/update-ca-trust";

/// Where a family has things, without a leading `/`.
#[derive(Clone, Copy, Debug)]
struct Family {
    base: Base,
    anchors: &'static str,
    blocklist: &'static str,
    vendor: &'static str,
    tls: &'static str,
    email: &'static str,
    hashed: &'static str,
    keystore: &'static str,
    /// Outputs whose roots stand one behind the other.
    lists: [&'static str; 5],
}

const RED_HAT: Family = Family {
    base: Base::RedHat,
    anchors: "etc/pki/ca-trust/source/anchors",
    blocklist: "etc/pki/ca-trust/source/blocklist",
    vendor: "usr/share/pki/ca-trust-source/ca-bundle.trust.p11-kit",
    tls: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    email: "etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
    hashed: "etc/pki/ca-trust/extracted/pem/directory-hash",
    keystore: "etc/pki/ca-trust/extracted/java/cacerts",
    lists: [
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
        "etc/pki/ca-trust/extracted/edk2/cacerts.bin",
    ],
};

const ARCH: Family = Family {
    base: Base::Arch,
    anchors: "etc/ca-certificates/trust-source/anchors",
    blocklist: "etc/ca-certificates/trust-source/blocklist",
    vendor: "usr/share/ca-certificates/trust-source/mozilla.trust.p11-kit",
    tls: "etc/ca-certificates/extracted/tls-ca-bundle.pem",
    email: "etc/ca-certificates/extracted/email-ca-bundle.pem",
    hashed: "etc/ca-certificates/extracted/cadir",
    keystore: "etc/ca-certificates/extracted/java-cacerts.jks",
    lists: [
        "etc/ca-certificates/extracted/tls-ca-bundle.pem",
        "etc/ca-certificates/extracted/email-ca-bundle.pem",
        "etc/ca-certificates/extracted/objsign-ca-bundle.pem",
        "etc/ca-certificates/extracted/ca-bundle.trust.crt",
        "etc/ca-certificates/extracted/edk2-cacerts.bin",
    ],
};

const FAMILIES: [Family; 2] = [RED_HAT, ARCH];

impl Family {
    fn tree(&self, root: &RootFs) -> Tree {
        root.tree().without(self.keystore)
    }

    /// What the lists hold, in any order, and the tree without their digests.
    fn tree_in_any_order(&self, root: &RootFs) -> (Tree, Vec<BTreeSet<Vec<u8>>>) {
        let mut tree = self.tree(root);
        for list in self.lists {
            let line = tree.lines.get_mut(list).unwrap();
            *line = line.split(' ').filter(|part| !part.starts_with("sha256=")).collect::<Vec<_>>().join(" ");
        }
        let parts = |list: &&str| {
            let content = root.read(list);
            if list.ends_with(".bin") { signature_lists(&content) } else { commented_blocks(&content) }
        };
        (tree, self.lists.iter().map(parts).collect())
    }

    /// The label's block of a PEM bundle.
    #[track_caller]
    fn block(&self, root: &RootFs, bundle: &str, label: &str) -> String {
        let text = String::from_utf8(root.read(bundle)).unwrap();
        let start = text.find(&format!("# {label}\n")).unwrap_or_else(|| panic!("no {label} in {bundle}"));
        let end = text[start..].find("-----END CERTIFICATE-----\n").unwrap();
        let block = &text[start..start + end + "-----END CERTIFICATE-----\n".len()];
        block[block.find("-----BEGIN").unwrap()..].to_owned()
    }
}

fn commented_blocks(content: &[u8]) -> BTreeSet<Vec<u8>> {
    let text = String::from_utf8(content.to_vec()).unwrap();
    text.split("# ").map(|block| block.trim_end().as_bytes().to_vec()).collect()
}

fn signature_lists(mut content: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut lists = BTreeSet::new();
    while !content.is_empty() {
        let (list, rest) = content.split_at(u32::from_le_bytes(content[16..20].try_into().unwrap()) as usize);
        lists.insert(list.to_vec());
        content = rest;
    }
    lists
}

fn given(root: &RootFs, pems: &[&str]) -> Vec<PathBuf> {
    let write = |(n, pem): (usize, &&str)| {
        let path = root.exchange().join(format!("given-{n}.pem"));
        std::fs::write(&path, pem).unwrap();
        path
    };
    pems.iter().enumerate().map(write).collect()
}

/// `bootstrap --ca-file F… --updater builtin` from outside.
#[track_caller]
fn builtin(root: &RootFs, pems: &[&str]) -> Run {
    let mut run = root.trustup(["--json", "bootstrap", "--updater", "builtin"]);
    for file in given(root, pems) {
        run = run.arg("--ca-file").arg(file);
    }
    let run = run.ok();
    assert_eq!(run.json()["updater"], "builtin", "{run}");
    run
}

/// `bootstrap --ca-file F… --updater UPDATER` inside.
#[track_caller]
fn inside(root: &RootFs, updater: &str, pems: &[&str]) -> Run {
    let mut run = root.trustup_inside(["--json", "bootstrap", "--updater", updater]);
    for file in given(root, pems) {
        run = run.arg("--ca-file").arg(PathBuf::from("/mnt").join(file.file_name().unwrap()));
    }
    run.run()
}

/// Drops the anchor files of `done` into `twin`, and runs the real extraction there.
#[track_caller]
fn drop_and_extract(done: &RootFs, run: &Run, twin: &RootFs) {
    for anchor in run.json()["anchors"].as_array().unwrap() {
        let file = anchor["file"].as_str().unwrap_or_else(|| panic!("no file: {run}"));
        let file = file.trim_start_matches('/');
        twin.write(file, done.read(file));
    }
    twin.run(&["update-ca-trust"]);
}

/// One anchor or several whose files the directory lists in the order of their names: everything is the same.
#[track_caller]
fn same_as_the_tool(family: Family, what: &str, pems: &[&str]) {
    let root = family.base.copy();
    let before = root.tree();
    let twin = root.twin();
    let run = builtin(&root, pems);
    drop_and_extract(&root, &run, &twin);
    let ours = family.tree(&root);
    assert!(!before.differences(&root.tree()).is_empty(), "nothing changed: {run}");
    family.tree(&twin).assert_same(&ours, &format!("{what}: the real tool (-), ours (+)"));

    // A second run has nothing to do.
    assert_eq!(builtin(&root, pems).json()["changed"], false, "{what}");
    ours.assert_same(&family.tree(&root), &format!("{what}: after a second run"));

    // The real extraction on our tree changes nothing.
    let again = root.twin();
    again.run(&["update-ca-trust"]);
    ours.assert_same(&family.tree(&again), &format!("{what}: the real tool on our tree (+)"));

    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), &format!("{what}: after untrust"));
}

/// A root with this subject.
fn subject(parts: &[(DnType, &str)]) -> Root {
    let mut params = root_params("");
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in parts {
        params.distinguished_name.push(kind.clone(), *value);
    }
    root_with(params)
}

#[test]
#[ignore = "needs root and real root file systems"]
fn red_hat_builtin_with_one_anchor() {
    same_as_the_tool(RED_HAT, "one", &[&ca::root("P11 Root").pem]);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn arch_builtin_with_one_anchor() {
    same_as_the_tool(ARCH, "one", &[&ca::root("P11 Root").pem]);
}

/// The names that p11-kit gives: files, comments, aliases, links, clashes with the vendor's.
#[test]
#[ignore = "needs root and real root file systems"]
fn odd_subjects() {
    use DnType::{CommonName, CountryName, OrganizationName, OrganizationalUnitName};
    let subjects: [(&str, &[(DnType, &str)]); 6] = [
        ("UTF-8", &[(CommonName, "Größe 日本 X"), (OrganizationName, "Ü, Inc.")]),
        ("spaces and commas", &[(CommonName, "Held  Out Root (R1), \"x\" # y")]),
        ("a vendor's label", &[(CommonName, "ISRG Root X1"), (OrganizationName, "Not That One")]),
        ("no CN", &[(CountryName, "DE"), (OrganizationalUnitName, "Unit A"), (OrganizationName, "O")]),
        ("O alone", &[(OrganizationName, "Only & Co.")]),
        ("no name at all", &[(CountryName, "DE")]),
    ];
    for family in FAMILIES {
        for (what, parts) in &subjects {
            same_as_the_tool(family, &format!("{:?}, {what}", family.base), &[&subject(parts).pem]);
        }
    }
}

/// A root that says what it is for is in the outputs for that alone.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_for_servers_alone() {
    let mut params = root_params("For Servers");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let root = root_with(params);
    for family in FAMILIES {
        same_as_the_tool(family, "server-auth", &[&root.pem]);
    }
}

/// An administrator's copy of a vendor root replaces the vendor's entry: first, and for all purposes.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_copy_of_a_vendor_root() {
    for family in FAMILIES {
        let model = family.base.copy();
        let pem = family.block(&model, family.email, "Izenpe.com");
        let fingerprint = fingerprints(&pem)[0];
        let tls = |root: &RootFs| fingerprints(&String::from_utf8(root.read(family.tls)).unwrap());
        assert!(!tls(&model).contains(&fingerprint), "trusted for e-mail only");
        builtin(&model, &[&pem]);
        assert_eq!(tls(&model)[0], fingerprint, "first in the TLS bundle");
        same_as_the_tool(family, "for e-mail only", &[&pem]);
    }
}

/// What the vendor distrusts, or the administrator blocks, is refused.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_distrusted_root() {
    for family in FAMILIES {
        for blocked in [false, true] {
            let root = family.base.copy();
            let pem = if blocked {
                let blocked = ca::root("Blocked");
                root.write(&format!("{}/blocked.pem", family.blocklist), &blocked.pem);
                root.run(&["update-ca-trust"]);
                blocked.pem
            } else {
                let text = String::from_utf8(root.read(family.vendor)).unwrap();
                let distrusted = text.split("[p11-kit-object-v1]").find(|s| s.contains("x-distrusted: true"));
                let stanza = distrusted.unwrap();
                stanza[stanza.find("-----BEGIN").unwrap()..].to_owned()
            };
            let before = root.tree();
            let file = &given(&root, &[&pem])[0];
            let run = root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(file).run();
            assert!(run.code.is_some_and(|code| code != 0), "{run}");
            before.assert_same(&Tree::of(root.path()), "after a refusal");
        }
    }
}

/// p11-kit before 0.25.6 reads anchors in the directory's order, ours is by file name.
#[test]
#[ignore = "needs root and real root file systems"]
fn several_anchors_as_a_set() {
    for family in FAMILIES {
        let root = family.base.copy();
        let before = root.tree();
        let twin = root.twin();
        let roots = ["mm", "b4", "aa", "zz", "nn"].map(ca::root);
        let run = builtin(&root, &roots.each_ref().map(|root| root.pem.as_str()));
        drop_and_extract(&root, &run, &twin);
        let (theirs, ours) = (family.tree_in_any_order(&twin), family.tree_in_any_order(&root));
        theirs.0.assert_same(&ours.0, "the real tool (-), ours (+)");
        assert!(theirs.1 == ours.1, "{family:?}: the lists hold different blocks");

        root.trustup(["untrust", "--fingerprint", &roots[2].pin()]).ok();
        let names: Vec<String> = std::fs::read_dir(twin.at(family.anchors))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("aa-"))
            .collect();
        twin.remove(&format!("{}/{}", family.anchors, names[0]));
        twin.run(&["update-ca-trust"]);
        let (theirs, ours) = (family.tree_in_any_order(&twin), family.tree_in_any_order(&root));
        theirs.0.assert_same(&ours.0, "one less: the real tool (-), ours (+)");
        assert!(theirs.1 == ours.1, "{family:?}: the lists hold different blocks");
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}

/// Roots named `name` whose anchor files the file system lists in the order of their names: then both orders are one.
fn listed_in_order(root: &RootFs, name: &str, count: usize) -> Vec<Root> {
    for _ in 0..500 {
        let roots: Vec<Root> = (0..count).map(|_| ca::root(name)).collect();
        let probe = tempfile::tempdir_in(root.exchange().parent().unwrap()).unwrap();
        for root in &roots {
            std::fs::write(
                probe.path().join(format!("{}-{}.pem", name.replace(' ', "_"), &root.pin()[..16])),
                "",
            )
            .unwrap();
        }
        let listed = std::fs::read_dir(probe.path()).unwrap().map(|entry| entry.unwrap().file_name());
        if listed.is_sorted() {
            return roots;
        }
    }
    panic!("this file system never lists {count} files in order");
}

/// Clashing file names, numbered hash links.
#[test]
#[ignore = "needs root and real root file systems"]
fn several_anchors_with_one_subject() {
    for family in FAMILIES {
        let roots = listed_in_order(&family.base.copy(), "Same Name", 3);
        let pems: Vec<&str> = roots.iter().map(|root| root.pem.as_str()).collect();
        same_as_the_tool(family, "one subject", &pems);
    }
}

/// OpenSSL finds the new root in the bundle and by its hash, and makes the same links itself.
#[test]
#[ignore = "needs root and real root file systems"]
fn openssl_accepts() {
    for family in FAMILIES {
        let root = family.base.copy();
        let ca = ca::root("Verify");
        let leaf = ca.sign(CertificateParams::new(["host.test".to_owned()]).unwrap());
        std::fs::write(root.exchange().join("leaf.pem"), leaf).unwrap();
        let (file, directory) = (format!("/{}", family.tls), format!("/{}", family.hashed));
        let ways: [&[&str]; 4] = [
            &["-no-CApath", "-CAfile", &file],
            &["-no-CAfile", "-CApath", &directory],
            &["-no-CAfile", "-CApath", "/etc/ssl/certs"],
            &["-no-CApath", "-CAfile", "/etc/ssl/certs/ca-certificates.crt"],
        ];
        let verified = |way: &[&str]| {
            let command = [&["openssl", "verify", "-no-CAstore"], way, &["/mnt/leaf.pem"]].concat();
            root.command(&command).output().unwrap().status.success()
        };
        for way in ways {
            assert!(!verified(way), "{way:?} accepts it before");
        }
        builtin(&root, &[&ca.pem]);
        for way in ways {
            assert!(verified(way), "{way:?} does not accept it");
        }
        // Names of links: p11-kit numbers roots of one subject in its own order, so targets may differ there.
        let links = |directory: &str| -> BTreeSet<String> {
            let below = Tree::of(&root.at(directory));
            let links = below.lines.iter().filter(|(_, line)| line.starts_with("l -> "));
            links.map(|(name, _)| name.clone()).collect()
        };
        let made = links(family.hashed);
        assert!(made.len() > 200, "{made:?}");
        let script = format!(
            "cp -a {directory} /root/rehashed && find /root/rehashed -type l -delete && \
                              openssl rehash -compat /root/rehashed"
        );
        root.run(&["sh", "-ec", &script]);
        assert_eq!(made, links("root/rehashed"));
    }
}

/// The native updater: the twin's tree, and back.
#[test]
#[ignore = "needs root and real root file systems"]
fn native_is_the_real_tool() {
    for family in FAMILIES {
        for updater in ["native", "auto"] {
            let root = family.base.copy();
            let before = root.tree();
            let twin = root.twin();
            let ca = ca::root("Native P11 Root");
            let run = inside(&root, updater, &[&ca.pem]);
            assert_eq!((run.code, run.json()["updater"].as_str()), (Some(0), Some("native")), "{run}");
            drop_and_extract(&root, &run, &twin);
            family.tree(&twin).assert_same(&family.tree(&root), "the real tool (-), ours (+)");
            assert!(holds(&root.read(family.keystore), &ca.der), "the keystore holds it");
            let done = root.tree();
            assert_eq!(inside(&root, updater, &[&ca.pem]).json()["changed"], false);
            done.assert_same(&root.tree(), "after a second run");

            root.trustup_inside(["untrust", "--all"]).ok();
            // The keystore too, byte for byte: the tool would have written a new date into it.
            before.assert_same(&Tree::of(root.path()), "after untrust");
        }
    }
}

fn holds(content: &[u8], der: &[u8]) -> bool {
    content.windows(der.len()).any(|window| window == der)
}

fn wrap_tool(root: &RootFs, after: &str) {
    std::fs::rename(root.at(TOOL), root.at("usr/bin/real-tool")).unwrap();
    root.write_program(TOOL, &format!("#!/bin/sh\n/usr/bin/real-tool \"$@\"\n{after}\n"));
}

/// T5: what the tool did is undone, the keystore too, byte for byte.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_spoils_an_output_is_undone() {
    for family in FAMILIES {
        let spoils = [
            format!(": > /{}", family.tls),
            format!(": > /{}", family.email),
            format!("rm -f /{}/ISRG_Root_X1.pem", family.hashed),
            format!("sed -i '1,/-----END/d' /{}", family.tls),
            "exit 3".to_owned(),
        ];
        for spoil in &spoils {
            let root = family.base.copy();
            wrap_tool(&root, spoil);
            let before = root.tree();
            let run = inside(&root, "native", &[&ca::root("Spoilt").pem]);
            assert_eq!(run.code, Some(1), "{spoil}: {run}");
            before.assert_same(&root.tree(), &format!("after `{spoil}` and {run}"));
        }
    }
}

/// A certificate that somebody appended to the bundle: the real tool would drop it.
#[test]
#[ignore = "needs root and real root file systems"]
fn appended_certificates_survive_auto_and_stop_native() {
    for family in FAMILIES {
        let root = family.base.copy();
        let appended = ca::root("Appended by Hand");
        root.append(family.tls, &appended.pem);
        let before = root.tree();
        let ca = ca::root("Beside It");
        let run = inside(&root, "native", &[&ca.pem]);
        assert_eq!(run.code, Some(5), "{run}");
        before.assert_same(&root.tree(), "after the refusal");

        let run = inside(&root, "auto", &[&ca.pem]);
        assert_eq!((run.code, run.json()["updater"].as_str()), (Some(0), Some("builtin")), "{run}");
        let bundle = String::from_utf8(root.read(family.tls)).unwrap();
        assert!(bundle.contains(&appended.pem) && bundle.contains(&ca.pem), "{run}");
        let leaf = ca.sign(CertificateParams::new(["host.test".to_owned()]).unwrap());
        std::fs::write(root.exchange().join("leaf.pem"), leaf).unwrap();
        let directory = format!("/{}", family.hashed);
        root.run(&["openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", &directory, "/mnt/leaf.pem"]);
        root.trustup_inside(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}

/// What the real tool makes of an anchor that is gone, after the built-in updater brought it.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tool_can_take_it_out() {
    for family in FAMILIES {
        let root = family.base.copy();
        let before = family.tree(&root);
        let run = builtin(&root, &[&ca::root("Taken Out").pem]);
        let file = run.json()["anchors"][0]["file"].as_str().unwrap().trim_start_matches('/').to_owned();
        root.remove(&file);
        root.run(&["update-ca-trust"]);
        before.assert_same(&family.tree(&root), "after the file was removed and the tool ran");
        // Then untrust has nothing left to do.
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()).without(family.keystore), "after untrust");
    }
}

/// The vendor's package is updated after us, and its tool runs: a second run has nothing to do, and `untrust` leaves
/// what the update alone would have made.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_vendor_adds_a_root_later() {
    for family in FAMILIES {
        let root = family.base.copy();
        let plain = root.twin();
        let ca = ca::root("Before the Update");
        builtin(&root, &[&ca.pem]);
        let added = ca::root("Added by the Vendor").pem;
        for root in [&root, &plain] {
            let stanza =
                format!("\n[p11-kit-object-v1]\nlabel: \"Added by the Vendor\"\ntrusted: true\n{added}");
            root.append(family.vendor, &stanza);
            root.run(&["update-ca-trust"]);
        }
        let updated = family.tree(&root);
        builtin(&root, &[&ca.pem]);
        updated.assert_same(&family.tree(&root), "a run after the update");
        root.trustup(["untrust", "--all"]).ok();
        let now = Tree::of(root.path()).without(family.keystore);
        family.tree(&plain).assert_same(&now, "the update alone (-), after untrust (+)");
    }
}
