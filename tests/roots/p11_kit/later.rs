//! What others do after us: the tool without our file, the vendor's next package.

use super::*;

/// What the real tool makes of an anchor that is gone, after the built-in updater brought it.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tool_can_take_it_out() {
    for family in FAMILIES {
        let root = family.base.copy();
        let before = root.tree();
        let run = builtin(&root, &[&ca::root("Taken Out").pem]);
        let file = run.json()["anchors"][0]["file"].as_str().unwrap().trim_start_matches('/').to_owned();
        root.remove(&file);
        family.update(&root);
        before.assert_same(&root.tree(), "after the file was removed and the tool ran");
        // Then untrust has nothing left to do.
        root.trustup(["untrust", "--all"]).ok();
        before.assert_same(&Tree::of(root.path()), "after untrust");
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
            family.update(root);
        }
        let updated = root.tree();
        builtin(&root, &[&ca.pem]);
        updated.assert_same(&root.tree(), "a run after the update");
        root.trustup(["untrust", "--all"]).ok();
        let now = Tree::of(root.path());
        plain.tree().assert_same(&now, "the update alone (-), after untrust (+)");
    }
}
