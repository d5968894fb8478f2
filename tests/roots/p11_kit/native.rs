//! The native updater: the family's own tool, read back and undone.

use super::*;

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
            assert!(!run.stderr.contains("built-in"), "no word of what the other updater would do: {run}");
            drop_and_extract(family, &root, &run, &twin);
            twin.tree().assert_same(&root.tree(), "the real tool (-), ours (+)");
            assert!(holds(&root.read(family.keystore), &ca.der), "the keystore holds it");
            let done = root.tree();
            assert_eq!(inside(&root, updater, &[&ca.pem]).json()["changed"], false);
            done.assert_same(&root.tree(), "after a second run");

            root.trustup_inside(["untrust", "--all"]).ok();
            before.assert_same(&Tree::of(root.path()), "after untrust");
        }
    }
}

fn holds(content: &[u8], der: &[u8]) -> bool {
    content.windows(der.len()).any(|window| window == der)
}

fn wrap_tool(family: Family, root: &RootFs, after: &str) {
    std::fs::rename(root.at(family.tool), root.at("usr/bin/real-tool")).unwrap();
    root.write_program(family.tool, &format!("#!/bin/sh\n/usr/bin/real-tool \"$@\"\n{after}\n"));
}

/// T5: what the tool did is undone, the keystore too, byte for byte.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_tool_that_spoils_an_output_is_undone() {
    for family in FAMILIES {
        let spoils = [
            format!("rm -f /{0}; : > /{0}", family.tls),
            format!("rm -f /{0}; : > /{0}", family.other),
            format!("rm -f /{}/ISRG_Root_X1.pem", family.hashed[0]),
            format!("sed -i '1,/-----END/d' /{}", family.tls),
            "exit 3".to_owned(),
        ];
        for spoil in &spoils {
            let root = family.base.copy();
            wrap_tool(family, &root, spoil);
            let before = root.tree();
            let run = inside(&root, "native", &[&ca::root("Spoilt").pem]);
            assert_eq!(run.code, Some(1), "{spoil}: {run}");
            before.assert_same(&root.tree(), &format!("after `{spoil}` and {run}"));
        }
    }
}

/// p11-kit says nothing of a root that it leaves out: the error says why.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_root_that_the_tool_leaves_out() {
    for family in FAMILIES {
        let root = family.base.copy();
        let ca = ca::root("Left Out");
        // Somebody blocks it just before the real tool runs.
        let block = format!("cp /{0}/anchors/Left_Out-*.pem /{0}/blocklist/", family.admin);
        std::fs::rename(root.at(family.tool), root.at("usr/bin/real-tool")).unwrap();
        root.write_program(family.tool, &format!("#!/bin/sh\n{block}\nexec /usr/bin/real-tool \"$@\"\n"));
        let before = root.tree();
        let run = inside(&root, "native", &[&ca.pem]);
        assert_eq!(run.code, Some(1), "{run}");
        for word in ["left `Left Out`", "blocked by `", "/blocklist/Left_Out-"] {
            assert!(run.stderr.contains(word), "{word}: {run}");
        }
        let blocked = format!("{}/blocklist", family.admin);
        before.without(&blocked).assert_same(&root.tree().without(&blocked), "after the failure");
    }
}

/// SUSE's tool would move a directory at `/etc/ssl/certs` away, with whatever somebody put there.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_directory_that_the_tool_would_move_away() {
    let root = SUSE.base.copy();
    root.remove("etc/ssl/certs");
    root.write("etc/ssl/certs/local.pem", ca::root("Local").pem);
    let before = root.tree();
    let ca = ca::root("Beside the Directory");
    let run = inside(&root, "native", &[&ca.pem]);
    assert_eq!(run.code, Some(5), "{run}");
    assert!(run.stderr.contains("/etc/ssl/certs"), "{run}");
    before.assert_same(&root.tree(), "after the refusal");

    let run = inside(&root, "auto", &[&ca.pem]);
    assert_eq!((run.code, run.json()["updater"].as_str()), (Some(0), Some("builtin")), "{run}");
    let directory = |tree: Tree| Tree {
        lines: tree.lines.into_iter().filter(|(path, _)| path.starts_with("etc/ssl")).collect(),
    };
    directory(before.clone()).assert_same(&directory(root.tree()), "etc/ssl is left alone");
    root.trustup_inside(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
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
        let directory = format!("/{}", family.hashed[0]);
        root.run(&["openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", &directory, "/mnt/leaf.pem"]);
        root.trustup_inside(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}
