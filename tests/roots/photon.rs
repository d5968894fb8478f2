//! Photon: a Debian laid out as it, with the steps of its `rehash_ca_certificates.sh`. The script is the model of what
//! ours has to write, byte for byte, and finds nothing to do afterwards.

use std::path::PathBuf;

use rcgen::CertificateParams;

use crate::support::ca::{self, Root, fingerprints};
use crate::support::roots::{Base, RootFs};
use crate::support::run::{Run, unpacked};
use crate::support::tls_server::{ANSWER, TlsServer};
use crate::support::tree::Tree;

const TOOL: &str = "rehash_ca_certificates.sh";
const BUNDLE: &str = "etc/pki/tls/certs/ca-bundle.crt";
const CERTS: &str = "etc/ssl/certs";

/// `bootstrap` inside, with these roots.
fn bootstrap(root: &RootFs, updater: &str, roots: &[&Root]) -> Run {
    let mut run = root.trustup_inside(["--json", "bootstrap", "--updater", updater]);
    for (n, ca) in roots.iter().enumerate() {
        let name = format!("root-{n}.pem");
        ca.write(root.exchange(), &name);
        run = run.arg("--ca-file").arg(PathBuf::from("/mnt").join(name));
    }
    run.run()
}

#[track_caller]
fn worked(run: Run, updater: &str) -> Run {
    assert_eq!((run.code, run.json()["updater"].as_str()), (Some(0), Some(updater)), "{run}");
    run
}

/// The same anchor files in a twin, and the real steps there.
#[track_caller]
fn by_hand(before: &RootFs, done: &RootFs, run: &Run) -> RootFs {
    let twin = before.twin();
    for anchor in run.json()["anchors"].as_array().unwrap() {
        let file = anchor["file"].as_str().unwrap_or_else(|| panic!("no file: {run}"));
        twin.write(&file[1..], done.read(&file[1..]));
    }
    twin.run(&[TOOL]);
    twin
}

fn held(root: &RootFs, ca: &Root) -> bool {
    ca::held(&root.read(BUNDLE)).contains(&ca.fingerprint)
}

#[test]
#[ignore = "needs root and real root file systems"]
fn builtin_and_native_write_what_the_script_writes() {
    let subjects: [&[&str]; 3] = [&["Photon Root"], &["Zulu", "alpha", "0digit"], &["Same", "Same", "Same"]];
    for (subjects, updater) in
        subjects.into_iter().flat_map(|subjects| [(subjects, "builtin"), (subjects, "native")])
    {
        let root = Base::Photon.copy();
        let first = Tree::of(root.path());
        let before = root.twin();
        let roots: Vec<Root> = subjects.iter().map(|subject| ca::root(subject)).collect();
        let run = worked(bootstrap(&root, updater, &roots.iter().collect::<Vec<_>>()), updater);
        let done = root.tree();
        by_hand(&before, &root, &run).tree().assert_same(&done, "the script (-), ours (+)");
        root.run(&[TOOL]);
        done.assert_same(&root.tree(), &format!("{subjects:?}, {updater}: the script again"));
        assert!(roots.iter().all(|ca| held(&root, ca)));
        // The package's own last step ends with the dangling links, of which there are none.
        root.trustup_inside(["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(root.path()), &format!("{subjects:?}, {updater}: after untrust"));
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn auto_is_the_script_where_it_can_run() {
    let root = Base::Photon.copy();
    worked(bootstrap(&root, "auto", &[&ca::root("Auto")]), "native");
    root.trustup_inside(["untrust", "--all"]).ok();
    root.remove("usr/bin/find");
    let run = worked(bootstrap(&root, "auto", &[&ca::root("Auto")]), "builtin");
    assert!(run.stdout.contains("find"), "{run}");
    let run = bootstrap(&root, "native", &[&ca::root("Other")]);
    assert_eq!(run.code, Some(5), "{run}");
}

/// One of several goes; what is left is again what the script makes of it.
#[test]
#[ignore = "needs root and real root file systems"]
fn one_of_three_with_one_subject_goes() {
    for updater in ["builtin", "native"] {
        let root = Base::Photon.copy();
        let roots = ["Same", "Same", "Same"].map(ca::root);
        worked(bootstrap(&root, updater, &roots.iter().collect::<Vec<_>>()), updater);
        root.trustup_inside(["untrust", "--updater", updater, "--fingerprint", &roots[1].fingerprint.hex()])
            .ok();
        let done = root.tree();
        assert_eq!(roots.each_ref().map(|ca| held(&root, ca)), [true, false, true]);
        root.run(&[TOOL]);
        // The script keeps the numbers of links that are there; ours too.
        done.assert_same(&root.tree(), "the script after untrust");
    }
}

/// Harbor and others append to the bundle: the script would drop it, so it is not run.
#[test]
#[ignore = "needs root and real root file systems"]
fn an_appended_root_survives_auto_and_stops_native() {
    let root = Base::Photon.copy();
    let theirs = ca::root("Appended");
    root.append(BUNDLE, &theirs.pem);
    let before = Tree::of(root.path());
    let ours = ca::root("Ours");
    let run = bootstrap(&root, "native", &[&ours]);
    assert_eq!(run.code, Some(5), "{run}");
    before.assert_same(&Tree::of(root.path()), "after a refusal");
    let run = worked(bootstrap(&root, "auto", &[&ours]), "builtin");
    assert!(run.json()["warnings"].to_string().contains("Appended"), "{run}");
    assert!(held(&root, &ours) && held(&root, &theirs));
    root.trustup_inside(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
}

/// The script writes through a link, into Nix's store as anywhere: it is not run then.
#[test]
#[ignore = "needs root and real root file systems"]
fn a_bundle_in_nix_store_stops_native() {
    let root = Base::Photon.copy();
    root.write("nix/store/1111/ca-bundle.crt", root.read(BUNDLE));
    root.remove(BUNDLE);
    std::os::unix::fs::symlink("/nix/store/1111/ca-bundle.crt", root.at(BUNDLE)).unwrap();
    let before = Tree::of(root.path());
    let store = Tree::of(&root.at("nix"));
    let ours = ca::root("Ours");
    let run = bootstrap(&root, "native", &[&ours]);
    assert_eq!(run.code, Some(5), "{run}");
    before.assert_same(&Tree::of(root.path()), "after a refusal");
    worked(bootstrap(&root, "auto", &[&ours]), "builtin");
    assert!(held(&root, &ours));
    store.assert_same(&Tree::of(&root.at("nix")), "the store");
    root.trustup_inside(["untrust", "--all"]).ok();
    before.assert_same(&Tree::of(root.path()), "after untrust");
}

/// The package is upgraded after us: one root goes, one comes, its last step runs.
#[test]
#[ignore = "needs root and real root file systems"]
fn an_upgrade_of_the_package_keeps_ours() {
    let root = Base::Photon.copy();
    let ours = ca::root("Ours");
    worked(bootstrap(&root, "builtin", &[&ours]), "builtin");
    let (new, old) = (ca::root("New Vendor Root"), root.at(CERTS).join("4042bcee.pem"));
    let gone = fingerprints(&std::fs::read_to_string(&old).unwrap())[0];
    std::fs::remove_file(old).unwrap();
    std::fs::remove_file(root.at(CERTS).join("4042bcee.0")).unwrap();
    root.write("etc/ssl/certs/0123abcd.pem", &new.pem);
    root.run(&[TOOL]);
    assert!(held(&root, &ours) && held(&root, &new));
    let run = worked(bootstrap(&root, "builtin", &[&ours]), "builtin");
    assert_eq!(run.json()["changed"], false, "{run}");
    root.trustup_inside(["untrust", "--all"]).ok();
    assert!(!held(&root, &ours) && held(&root, &new));
    assert!(!ca::held(&root.read(BUNDLE)).contains(&gone), "the vendor's withdrawal");
    let done = root.tree();
    root.run(&[TOOL]);
    done.assert_same(&root.tree(), "the script after untrust");
}

#[test]
#[ignore = "needs root and real root file systems"]
fn openssl_and_curl_accept() {
    let root = Base::Photon.copy();
    let ours = ca::root("Verify");
    let leaf = ours.sign(CertificateParams::new(["host.test".to_owned()]).unwrap());
    std::fs::write(root.exchange().join("leaf.pem"), leaf).unwrap();
    let server = TlsServer::start(&ours);
    let url = server.url();
    let verify = ["openssl", "verify", "-no-CAstore"];
    let curl = ["curl", "--fail", "--silent", "--show-error", "--max-time", "20", "--cacert"];
    let ways = [
        [&verify[..], &["-no-CApath", "-CAfile", "/etc/pki/tls/certs/ca-bundle.crt", "/mnt/leaf.pem"]]
            .concat(),
        [&verify[..], &["-no-CAfile", "-CApath", "/etc/ssl/certs", "/mnt/leaf.pem"]].concat(),
        // Photon's curl is built with this path.
        [&curl[..], &["/etc/pki/tls/certs/ca-bundle.crt", &url]].concat(),
    ];
    let accepts = |way: &[&str]| root.command(way).output().unwrap();
    for way in &ways {
        assert!(!accepts(way).status.success(), "{way:?} accepts it before");
    }
    worked(bootstrap(&root, "builtin", &[&ours]), "builtin");
    for way in &ways {
        assert!(accepts(way).status.success(), "{way:?} does not accept it");
    }
    assert_eq!(String::from_utf8(accepts(&ways[2]).stdout).unwrap(), ANSWER);
}

/// The fixture of the whole package is what the script makes of its files.
#[test]
#[ignore = "needs root and real root file systems"]
fn the_script_has_nothing_to_do_in_the_fixture() {
    let fixture = unpacked("photon-5");
    let root = Base::Photon.copy();
    for directory in [CERTS, "etc/pki/tls/certs"] {
        std::fs::remove_dir_all(root.at(directory)).unwrap();
        crate::support::roots::run(
            std::process::Command::new("cp")
                .arg("-a")
                .arg(fixture.path().join(directory))
                .arg(root.at(directory)),
        );
    }
    let before = root.tree();
    root.run(&[TOOL]);
    before.assert_same(&root.tree(), "the script in the fixture");
}
