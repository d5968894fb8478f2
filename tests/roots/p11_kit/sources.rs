//! What stands in the source directories: blocked and distrusted roots, files with trust of their own.

use super::*;

/// Refused, and nothing changes.
#[track_caller]
fn refused(root: &RootFs, pem: &str, says: &str) {
    let before = root.tree();
    let file = &given(root, &[pem])[0];
    let run = root.trustup(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(file).run();
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.stderr.contains(says), "{says}: {run}");
    before.assert_same(&Tree::of(root.path()), "after a refusal");
}

/// The anchor alone, where the real tool runs: which outputs take it?
#[track_caller]
fn the_tool_leaves_out(family: Family, root: &RootFs, pem: &str) {
    let twin = root.twin();
    twin.write(&format!("{}/left-out.pem", family.anchors()), pem);
    family.update(&twin);
    let tls = fingerprints(&String::from_utf8(twin.read(family.tls)).unwrap());
    assert!(!tls.contains(&fingerprints(pem)[0]), "{:?}: the real tool takes it", family.base);
}

/// What the vendor distrusts, or the administrator blocks, is refused: p11-kit would leave it out.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_distrusted_root() {
    for family in FAMILIES {
        let root = family.base.copy();
        let pem = family.vendor_stanza(&root, "x-distrusted: true");
        the_tool_leaves_out(family, &root, &pem);
        refused(&root, &pem, family.vendor);

        let blocked = ca::root("Blocked").pem;
        let file = format!("{}/blocklist/blocked.pem", family.admin);
        root.write(&file, &blocked);
        family.update(&root);
        the_tool_leaves_out(family, &root, &blocked);
        refused(&root, &blocked, &file);
    }
}

/// NSS distrusts some roots by issuer and serial number, without having them.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_distrusted_by_issuer_and_serial_number() {
    for family in FAMILIES {
        let root = family.base.copy();
        let ca = ca::root("By Number");
        let certificate = trustup::pki::cert::Certificate::from_der(&ca.der).unwrap();
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let serial = [&[2, certificate.serial().len() as u8], certificate.serial()].concat();
        root.append(
            family.vendor,
            format!(
                "\n[p11-kit-object-v1]\nlabel: \"By Number\"\nclass: certificate\ncertificate-type: x-509\n\
                 issuer: \"{}\"\nserial-number: \"{}\"\nx-distrusted: true\n",
                escaped(certificate.issuer_der()),
                escaped(&serial)
            ),
        );
        family.update(&root);
        the_tool_leaves_out(family, &root, &ca.pem);
        refused(&root, &ca.pem, family.vendor);
    }
}

/// A TRUSTED CERTIFICATE block with these settings (DER).
fn trusted(ca: &Root, settings: &[u8]) -> String {
    ca::pem("TRUSTED CERTIFICATE", &[&ca.der, settings].concat())
}

/// Settings: serverAuth is trusted, another alias.
const FOR_SERVERS: &[u8] = b"\x30\x13\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\x0c\x05Alias";
/// Settings: emailProtection is trusted.
const FOR_EMAIL: &[u8] = b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x04";
/// Settings: an alias. p11-kit reads that as distrust.
const ALIAS: &[u8] = b"\x30\x07\x0c\x05Alias";

/// Files of every kind in the sources, with ours beside them: each output is the tool's.
#[test]
#[ignore = "needs root and real root file systems"]
fn files_with_trust_of_their_own() {
    for family in FAMILIES {
        let root = family.base.copy();
        let [token, stanza, mail, vendor] =
            ["In the Token", "In a Stanza", "For Mail", "More of the Vendor"].map(ca::root);
        // One file a directory: p11-kit 0.24.1 reads them in the order of the file system.
        root.write(&format!("{}/own.pem", family.admin), trusted(&token, FOR_SERVERS));
        let persist =
            format!("[p11-kit-object-v1]\nlabel: \"Label of Its Own\"\ntrusted: true\n{}", stanza.pem);
        let vendor_anchors = family.vendor.rsplit_once('/').unwrap().0.to_owned() + "/anchors";
        root.write(&format!("{vendor_anchors}/more.pem"), trusted(&vendor, FOR_EMAIL));
        family.update(&root);
        same_as_the_tool_on(family, &root, "files beside the anchors", &[&ca::root("Beside Them").pem]);

        // Another anchor with trust of its own, read before ours or behind it as the file system has it.
        for (what, content) in [("a stanza", persist), ("for e-mail", trusted(&mail, FOR_EMAIL))] {
            let ours =
                anchor_listed_behind(&root, "another.p11-kit", "Ours", |pin| format!("Ours-{pin}.pem"));
            root.write(&format!("{}/another.p11-kit", family.anchors()), content);
            family.update(&root);
            same_as_the_tool_on(family, &root, what, &[&ours.pem]);
            root.remove(&format!("{}/another.p11-kit", family.anchors()));
        }
    }
}

/// A root whose anchor file the file system lists in the order of the names, beside `other`.
fn anchor_listed_behind(root: &RootFs, other: &str, name: &str, file: impl Fn(&str) -> String) -> Root {
    for _ in 0..500 {
        let ca = ca::root(name);
        let probe = tempfile::tempdir_in(root.exchange().parent().unwrap()).unwrap();
        for file in [other, &file(&ca.pin()[..16])] {
            std::fs::write(probe.path().join(file), "").unwrap();
        }
        if std::fs::read_dir(probe.path()).unwrap().map(|entry| entry.unwrap().file_name()).is_sorted() {
            return ca;
        }
    }
    panic!("this file system never lists two files in order");
}

/// What a file of the administrator's says of a root holds, whatever else stands in the anchors.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_that_another_file_decides_about() {
    for family in FAMILIES {
        for (what, settings) in [("for e-mail", FOR_EMAIL), ("no purpose", ALIAS)] {
            let root = family.base.copy();
            let ca = ca::root("Decided");
            let file = format!("{}/decided.pem", family.admin);
            root.write(&file, trusted(&ca, settings));
            family.update(&root);
            the_tool_leaves_out(family, &root, &ca.pem);
            refused(&root, &ca.pem, &file);

            // For TLS servers it is there already then.
            root.write(&file, trusted(&ca, FOR_SERVERS));
            family.update(&root);
            let run = builtin(&root, &[&ca.pem]);
            assert_eq!(run.json()["anchors"][0]["status"], "vendor", "{what}: {run}");
        }
        // The vendor's distrust holds against an administrator's anchor too.
        let root = family.base.copy();
        let ca = ca::root("Distrusted");
        let vendor = family.vendor.rsplit_once('/').unwrap().0;
        root.write(&format!("{vendor}/distrusted.pem"), trusted(&ca, ALIAS));
        family.update(&root);
        the_tool_leaves_out(family, &root, &ca.pem);
        refused(&root, &ca.pem, "distrusted.pem");
    }
}
