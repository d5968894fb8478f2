//! Every output of the built-in updater beside the real extraction, byte for byte.

use super::*;

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
fn suse_builtin_with_one_anchor() {
    same_as_the_tool(SUSE, "one", &[&ca::root("P11 Root").pem]);
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
            same_as_the_tool(family, what, &[&subject(parts).pem]);
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
        let pem = family.vendor_root(&model, "Izenpe.com");
        let fingerprint = fingerprints(&pem)[0];
        let tls = |root: &RootFs| fingerprints(&String::from_utf8(root.read(family.tls)).unwrap());
        assert!(!tls(&model).contains(&fingerprint), "trusted for e-mail only");
        builtin(&model, &[&pem]);
        assert_eq!(tls(&model)[0], fingerprint, "first in the TLS bundle");
        same_as_the_tool(family, "for e-mail only", &[&pem]);
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
        drop_and_extract(family, &root, &run, &twin);
        let (theirs, ours) = (family.tree_in_any_order(&twin), family.tree_in_any_order(&root));
        theirs.0.assert_same(&ours.0, "the real tool (-), ours (+)");
        assert!(theirs.1 == ours.1, "{family:?}: the lists hold different blocks");

        root.trustup(["untrust", "--fingerprint", &roots[2].pin()]).env(DATE, EPOCH).ok();
        let names: Vec<String> = std::fs::read_dir(twin.at(&family.anchors()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("aa-"))
            .collect();
        twin.remove(&format!("{}/{}", family.anchors(), names[0]));
        family.update(&twin);
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
        let directories = family.hashed.iter().map(|directory| format!("/{directory}"));
        let directories: Vec<String> = directories.chain(["/etc/ssl/certs".to_owned()]).collect();
        let files = [family.tls, family.link].map(|file| format!("/{file}"));
        let mut ways: Vec<[&str; 3]> = Vec::new();
        ways.extend(files.iter().map(|file| ["-no-CApath", "-CAfile", file]));
        ways.extend(directories.iter().map(|directory| ["-no-CAfile", "-CApath", directory]));
        let verified = |way: &[&str; 3]| {
            let command = [&["openssl", "verify", "-no-CAstore"], &way[..], &["/mnt/leaf.pem"]].concat();
            root.command(&command).output().unwrap().status.success()
        };
        for way in &ways {
            assert!(!verified(way), "{way:?} accepts it before");
        }
        builtin(&root, &[&ca.pem]);
        for way in &ways {
            assert!(verified(way), "{way:?} does not accept it");
        }
        // Names of links: p11-kit numbers roots of one subject in its own order, so targets may differ there.
        let links = |directory: &str| -> BTreeSet<String> {
            let below = Tree::of(&root.at(directory));
            let links = below.lines.iter().filter(|(_, line)| line.starts_with("l -> "));
            links.map(|(name, _)| name.clone()).collect()
        };
        for directory in family.hashed {
            let made = links(directory);
            assert!(made.len() > 200, "{made:?}");
            let script = format!(
                "rm -rf /root/rehashed && cp -a /{directory} /root/rehashed && \
                 find /root/rehashed -type l -delete && openssl rehash -compat /root/rehashed"
            );
            root.run(&["sh", "-ec", &script]);
            assert_eq!(made, links("root/rehashed"), "{directory}");
        }
    }
}
