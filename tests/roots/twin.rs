//! The built-in updater against the real tool: trustup works on one root; on its twin the same anchor files are dropped
//! under the same names and the distribution's own `update-ca-certificates` runs. The trees have to be the same, file
//! for file and link for link, and after `untrust` the tree has to be the first one.

use std::path::PathBuf;

use crate::support::ca::{self, Root};
use crate::support::roots::{Base, RootFs};
use crate::support::run::Run;
use crate::support::tree::Tree;

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// What `apt-get install` writes differently each time: logs with times, caches with inode numbers.
const UNSTABLE: [&str; 2] = ["var/log", "var/cache"];

/// Roots as files on this machine, and in the exchange directory of a root.
fn given(root: &RootFs, roots: &[Root]) -> Vec<PathBuf> {
    let write = |(n, root_ca): (usize, &Root)| root_ca.write(root.exchange(), &format!("given-{n}.pem"));
    roots.iter().enumerate().map(write).collect()
}

/// `bootstrap --ca-file F… --updater builtin` from outside.
#[track_caller]
fn builtin(root: &RootFs, roots: &[Root]) -> Run {
    let mut run = root.trustup(["--json", "bootstrap", "--updater", "builtin"]);
    for file in given(root, roots) {
        run = run.arg("--ca-file").arg(file);
    }
    let run = run.ok();
    assert_eq!(run.json()["updater"], "builtin", "{run}");
    run
}

/// `bootstrap --ca-file F… --updater native` inside.
#[track_caller]
fn native(root: &RootFs, roots: &[Root]) -> Run {
    let mut run = root.trustup_inside(["--json", "bootstrap", "--updater", "native"]);
    for file in given(root, roots) {
        run = run.arg("--ca-file").arg(PathBuf::from("/mnt").join(file.file_name().unwrap()));
    }
    let run = run.ok();
    assert_eq!(run.json()["updater"], "native", "{run}");
    run
}

/// `bootstrap --ca-file F… -- COMMAND` inside: the built-in updater, although the tool is there.
#[track_caller]
fn before_service(root: &RootFs, roots: &[Root]) -> Run {
    let mut run = root.trustup_inside(["--json", "bootstrap"]);
    for file in given(root, roots) {
        run = run.arg("--ca-file").arg(PathBuf::from("/mnt").join(file.file_name().unwrap()));
    }
    let run = run.args(["--", "/bin/true"]).ok();
    assert_eq!(run.json()["updater"], "builtin", "{run}");
    assert!(run.json()["updater_why"].as_str().is_some_and(|why| why.contains("a command follows")), "{run}");
    run
}

/// The file that a run says it wrote for `root_ca`, relative to the root.
#[track_caller]
fn anchor_file(run: &Run, root_ca: &Root) -> String {
    let json = run.json();
    let anchors = json["anchors"].as_array().unwrap();
    let ours = anchors.iter().find(|anchor| anchor["fingerprint"] == root_ca.pin().as_str());
    let file = ours.and_then(|anchor| anchor["file"].as_str()).unwrap_or_else(|| panic!("no file: {run}"));
    file.trim_start_matches('/').to_owned()
}

/// Drops the anchor files of `done` into `twin`, and runs the real tool there.
#[track_caller]
fn drop_and_run_tool(done: &RootFs, run: &Run, roots: &[Root], twin: &RootFs) {
    for root_ca in roots {
        let file = anchor_file(run, root_ca);
        twin.write(&file, done.read(&file));
    }
    twin.run(&["update-ca-certificates"]);
}

#[track_caller]
fn same_as_the_tool(base: Base, bootstrap: fn(&RootFs, &[Root]) -> Run, names: &[&str]) {
    let root = base.copy();
    let before = root.tree();
    let twin = root.twin();
    let roots: Vec<Root> = names.iter().map(|name| ca::root(name)).collect();
    let run = bootstrap(&root, &roots);
    drop_and_run_tool(&root, &run, &roots, &twin);
    assert!(!before.differences(&root.tree()).is_empty(), "nothing changed: {run}");
    same(&twin, &root, base);

    // A second run has nothing to do.
    let done = Tree::of(root.path());
    assert_eq!(bootstrap(&root, &roots).json()["changed"], false);
    done.assert_same(&Tree::of(root.path()), "after a second run");

    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
}

/// The trees are the same. Alpine's tool reads the anchor directory in whatever order the file system gives: with more
/// than one local anchor its bundle is compared block by block, in any order.
#[track_caller]
fn same(twin: &RootFs, root: &RootFs, base: Base) {
    let (mut theirs, mut ours) = (twin.tree(), root.tree());
    if base == Base::Alpine {
        let blocks = |root: &RootFs| {
            let text = String::from_utf8(root.read(BUNDLE)).unwrap();
            // The line feeds between them belong to no block: a file without one at its end leaves no empty line.
            let mut blocks: Vec<String> = text
                .split_inclusive("-----END CERTIFICATE-----")
                .map(|block| block.trim().to_owned())
                .collect();
            blocks.sort();
            blocks
        };
        assert!(blocks(twin) == blocks(root), "the blocks of the bundles differ");
        // Type, size, mode and owner remain.
        for tree in [&mut theirs, &mut ours] {
            let line = tree.lines.get_mut(BUNDLE).unwrap();
            *line = line.split(' ').filter(|part| !part.starts_with("sha256=")).collect::<Vec<_>>().join(" ");
        }
    }
    theirs.assert_same(&ours, "the real tool's tree (-) and ours (+)");
}

macro_rules! twins {
    ($($name:ident: $base:ident, $how:ident, $names:expr;)*) => {$(
        #[test]
        #[ignore = "needs root and real root file systems"]
        fn $name() {
            same_as_the_tool(Base::$base, $how, &$names);
        }
    )*};
}

twins! {
    debian_12_builtin_with_one_anchor: Debian12, builtin, ["Twin Root"];
    debian_12_before_a_service: Debian12, before_service, ["Twin Start One", "Twin Start Two"];
    debian_13_before_a_service: Debian13, before_service, ["Twin Start One", "Twin Start Two"];
    alpine_before_a_service: Alpine, before_service, ["Twin Start One"];
    debian_12_builtin_with_two_anchors: Debian12, builtin, ["Twin Root (a), x", "aaa first"];
    debian_12_native_with_one_anchor: Debian12, native, ["Twin Root"];
    debian_12_native_with_two_anchors: Debian12, native, ["Twin Root (a), x", "aaa first"];
    debian_13_builtin_with_one_anchor: Debian13, builtin, ["Twin Root"];
    debian_13_builtin_with_two_anchors: Debian13, builtin, ["Twin Root (a), x", "aaa first"];
    debian_13_native_with_one_anchor: Debian13, native, ["Twin Root"];
    debian_13_native_with_two_anchors: Debian13, native, ["Twin Root (a), x", "aaa first"];
    // The same subject twice: the hash links of both are numbered.
    debian_12_builtin_with_one_subject_twice: Debian12, builtin, ["Twin Root", "Twin Root"];
    debian_12_native_with_one_subject_twice: Debian12, native, ["Twin Root", "Twin Root"];
    alpine_builtin_with_one_anchor: Alpine, builtin, ["Twin Root"];
    alpine_builtin_with_two_anchors: Alpine, builtin, ["Twin Root (a), x", "aaa first"];
    alpine_native_with_one_anchor: Alpine, native, ["Twin Root"];
    alpine_native_with_two_anchors: Alpine, native, ["Twin Root (a), x", "aaa first"];
}

/// One anchor after the other, one of them taken out again: as with the tool after the same steps.
#[track_caller]
fn step_by_step(base: Base) {
    let root = base.copy();
    let before = root.tree();
    let roots = [ca::root("Step One"), ca::root("Step Two")];
    let [one, two] = &roots;
    builtin(&root, std::slice::from_ref(one));
    let after_one = root.tree();
    let run = builtin(&root, std::slice::from_ref(two));
    let both = root.tree();

    let twin = base.copy();
    builtin(&twin, std::slice::from_ref(one));
    drop_and_run_tool(&root, &run, std::slice::from_ref(two), &twin);
    same(&twin, &root, base);

    root.trustup(["untrust", "--fingerprint", &two.pin()]).ok();
    after_one.assert_same(&root.tree(), "after untrust of the second");
    builtin(&root, std::slice::from_ref(two));
    both.assert_same(&root.tree(), "after the second came back");
    root.trustup(["untrust", "--fingerprint", &one.pin()]).ok();
    root.trustup(["untrust", "--fingerprint", &two.pin()]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust of both");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_12_step_by_step() {
    step_by_step(Base::Debian12);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_13_step_by_step() {
    step_by_step(Base::Debian13);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn alpine_step_by_step() {
    step_by_step(Base::Alpine);
}

/// A native install, taken out with the native tool as well.
#[track_caller]
fn native_untrust(base: Base) {
    let root = base.copy();
    let before = root.tree();
    let roots = [ca::root("Native One"), ca::root("Native Two")];
    native(&root, &roots);
    root.trustup_inside(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust inside");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_12_untrust_inside() {
    native_untrust(Base::Debian12);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_13_untrust_inside() {
    native_untrust(Base::Debian13);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn alpine_untrust_inside() {
    native_untrust(Base::Alpine);
}

/// Bare Debian: what a later `apt-get install ca-certificates` makes of our tree is what it makes of a tree where only
/// the anchor file had been dropped; and what is left after `untrust` is what the packages alone make.
#[track_caller]
fn package_installed_later(base: Base) {
    let root = base.copy();
    let (before, twin, plain) = (root.tree(), root.twin(), root.twin());
    let roots = [ca::root("Before the Package")];
    let run = builtin(&root, &roots);
    let file = &anchor_file(&run, &roots[0]);
    assert_eq!(run.json()["row"], "debian", "{run}");

    // Bare and without the package first: out again without a trace.
    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust without the package");

    builtin(&root, &roots);
    twin.write(file, root.read(file));
    let install = "exec apt-get install -y --no-download /var/cache/apt/archives/*.deb";
    let install = ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install];
    for root in [&root, &twin, &plain] {
        root.run(&install);
    }
    let stable = |root: &RootFs| UNSTABLE.iter().fold(root.tree(), |tree, path| tree.without(path));
    stable(&twin).assert_same(&stable(&root), "a dropped file (-) and trustup (+), then the package");
    assert!(
        String::from_utf8(root.read(BUNDLE)).unwrap().contains(&roots[0].pem),
        "our root is in the bundle"
    );

    // The package makes the anchor directory only where there is none, so it counts as ours and goes.
    root.trustup(["untrust", "--all"]).ok();
    let plain = stable(&plain).without("usr/local/share/ca-certificates");
    plain.assert_same(&stable(&root), "the package alone (-) and after untrust (+)");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_12_package_installed_later() {
    package_installed_later(Base::Debian12Bare);
}

#[test]
#[ignore = "needs root and real root file systems"]
fn debian_13_package_installed_later() {
    package_installed_later(Base::Debian13Bare);
}

/// Alpine's tool puts local anchors into the bundle in the order of the directory, which is any: what it wrote counts as
/// done, and `untrust` finds ours wherever they are.
#[test]
#[ignore = "needs root and real root file systems"]
fn alpine_bundle_in_another_order() {
    for one_by_one in [false, true] {
        let root = Base::Alpine.copy();
        let before = root.tree();
        let roots = [ca::root("Order One"), ca::root("Order Two")];
        builtin(&root, &roots);
        let text = String::from_utf8(root.read(BUNDLE)).unwrap();
        let mut blocks: Vec<&str> = text.split_inclusive("\n\n").collect();
        let last = blocks.len() - 1;
        blocks.swap(last - 1, last);
        root.write(BUNDLE, blocks.concat());

        let swapped = Tree::of(root.path());
        let run = builtin(&root, &roots);
        assert_eq!(run.json()["changed"], false, "{run}");
        swapped.assert_same(&Tree::of(root.path()), "after a second run");

        if one_by_one {
            root.trustup(["untrust", "--fingerprint", &roots[1].pin()]).ok();
            root.trustup(["untrust", "--fingerprint", &roots[0].pin()]).ok();
        } else {
            root.trustup(["untrust", "--all"]).ok();
        }
        before.assert_same(&Tree::of(root.path()), "after untrust");
    }
}

/// What administrators leave: every oddity here is something that the real tool takes in its stride.
fn odd_local_files(root: &RootFs, base: Base) {
    let local = "usr/local/share/ca-certificates";
    let odd = |n: u32| ca::root(&format!("Odd {n}"));
    let crlf = |pem: &str| format!("a text before\r\n{}", pem.replace('\n', "\r\n"));
    root.write(&format!("{local}/Lab (b), x.crt"), odd(1).pem);
    root.write(&format!("{local}/no-newline.crt"), odd(2).pem.trim_end());
    root.write(&format!("{local}/.dot.crt"), odd(3).pem);
    root.write(&format!("{local}/windows.crt"), crlf(&odd(4).pem));
    root.write(&format!("{local}/two.crt"), odd(5).pem + &odd(6).pem);
    root.write(
        &format!("{local}/vendor-again.crt"),
        root.read("usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"),
    );
    std::os::unix::fs::symlink("windows.crt", root.at(&format!("{local}/linked.crt"))).unwrap();
    if base != Base::Alpine {
        // Alpine's tool has no rule for these: their order in the bundle, and what c_rehash makes of them, varies.
        root.write(&format!("{local}/README"), "not a certificate\n");
        root.write(&format!("{local}/other.pem"), odd(7).pem);
        root.write(&format!("{local}/deep/er/below.crt"), odd(8).pem);
        root.write(&format!("{local}/empty.crt"), "");
        root.write(
            &format!("{local}/AA-vendor.crt"),
            root.read("usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"),
        );
        let subject = ca::root("Odd Subject");
        root.write(&format!("{local}/same-1.crt"), &subject.pem);
        root.write(&format!("{local}/same-2.crt"), ca::root("Odd Subject").pem);
    }
    root.run(&["update-ca-certificates"]);
}

/// The same, in the hashed directory: what is none of the tool's business, and what it tidies up.
fn odd_hashed_directory(root: &RootFs) {
    let certs = "etc/ssl/certs";
    root.write(&format!("{certs}/by-hand.pem"), ca::root("By Hand").pem);
    root.write(&format!("{certs}/notes.txt"), "keep\n");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, root.at(&format!("{certs}/{name}"))).unwrap();
    };
    link("ACCVRAIZ1.pem", "deadbeef.0");
    link("/nowhere", "dangling.pem");
    link("/nowhere", "abcdabcd.0");
    link("../../../usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt", "relative.pem");
}

#[track_caller]
fn same_on_a_customised_root(base: Base, customise: impl Fn(&RootFs)) {
    let root = base.copy();
    customise(&root);
    let before = root.tree();
    let twin = root.twin();
    let roots = [ca::root("On Top")];
    let run = builtin(&root, &roots);
    drop_and_run_tool(&root, &run, &roots, &twin);
    same(&twin, &root, base);
    root.trustup(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn odd_files_of_an_administrator() {
    for base in [Base::Debian12, Base::Debian13, Base::Alpine] {
        same_on_a_customised_root(base, |root| odd_local_files(root, base));
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn odd_entries_of_the_hashed_directory() {
    for base in [Base::Debian12, Base::Debian13] {
        same_on_a_customised_root(base, odd_hashed_directory);
    }
}

/// Roots that the administrator deselected stay out.
#[test]
#[ignore = "needs root and real root file systems"]
fn deselected_vendor_roots() {
    for base in [Base::Debian12, Base::Debian13] {
        same_on_a_customised_root(base, |root| {
            let list = String::from_utf8(root.read("etc/ca-certificates.conf")).unwrap();
            let list = list.replace("mozilla/ISRG_Root_X1.crt", "!mozilla/ISRG_Root_X1.crt");
            root.write("etc/ca-certificates.conf", list + "mozilla/not-there.crt\n");
            root.run(&["update-ca-certificates"]);
        });
    }
}
