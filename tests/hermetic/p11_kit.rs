//! What p11-kit's families (Red Hat's, Arch's) do with blocked roots, roots for e-mail only, bundles that somebody
//! appended to, and the order of several anchors.

use std::fs;
use std::path::Path;

use trustup::pki::fingerprint::Fingerprint;

use crate::stores::{Scene, shared};
use crate::support::ca;
use crate::support::run::{Trustup, fixtures, unpacked};
use crate::support::tree::Tree;

/// A fixture, its lists of roots, its anchors.
struct Family {
    fixture: &'static str,
    /// For TLS servers.
    tls: &'static [&'static str],
    /// Lists that hold the root for e-mail too.
    email: &'static [&'static str],
    anchors: &'static str,
}

const FEDORA: Family = Family {
    fixture: "fedora-42",
    tls: &["etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/pki/ca-trust/extracted/edk2/cacerts.bin"],
    email: &[
        "etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
    ],
    anchors: "etc/pki/ca-trust/source/anchors",
};

const FAMILIES: [Family; 4] = [
    FEDORA,
    Family { fixture: "ubi-8", ..FEDORA },
    Family {
        fixture: "arch",
        tls: &[
            "etc/ca-certificates/extracted/tls-ca-bundle.pem",
            "etc/ca-certificates/extracted/edk2-cacerts.bin",
        ],
        email: &[
            "etc/ca-certificates/extracted/email-ca-bundle.pem",
            "etc/ca-certificates/extracted/ca-bundle.trust.crt",
        ],
        anchors: "etc/ca-certificates/trust-source/anchors",
    },
    Family {
        fixture: "opensuse-leap-15.6",
        tls: &["var/lib/ca-certificates/ca-bundle.pem"],
        email: &[],
        anchors: "etc/pki/trust/anchors",
    },
];

impl Family {
    fn lists(&self) -> impl Iterator<Item = &'static str> {
        self.tls.iter().chain(self.email).copied()
    }

    /// Whether its bundles have comments.
    fn has_comments(&self) -> bool {
        !self.email.is_empty()
    }
}

/// The keystore has the date of the last change in it.
fn dated(run: Trustup) -> Trustup {
    run.env("SOURCE_DATE_EPOCH", "1700000000")
}

fn held(root: &Path, path: &str) -> Vec<Fingerprint> {
    ca::held(&fs::read(root.join(path)).unwrap())
}

#[test]
fn a_blocked_root_is_refused_and_nothing_changes() {
    let blocked = fixtures().join("roots/ISRG_Root_X2.pem");
    let (_, fingerprint) = shared("ISRG_Root_X2.pem");
    let scene = Scene::new("rocky-9");
    let before = scene.tree();
    let refused = scene.trustup(["bootstrap", "--ca-file"]).arg(&blocked).fails(4);
    refused.says(["/etc/pki/ca-trust/source/blocklist/ISRG_Root_X2.pem", "hint:"]);
    before.assert_same(&scene.tree(), "after the refusal");

    // With another one it is left out, and said.
    let both = scene.bootstrap().arg("--ca-file").arg(&blocked).ok();
    both.says(["ISRG_Root_X2.pem"]);
    assert_eq!(held(scene.root.path(), FEDORA.tls[0])[0], scene.ca.fingerprint);
    for path in FEDORA.tls {
        assert!(!held(scene.root.path(), path).contains(&fingerprint), "{path} holds the blocked root");
    }
    assert_eq!(fs::read_dir(scene.at(FEDORA.anchors)).unwrap().count(), 1);
    scene.untrust().ok();
    before.assert_same(&scene.tree(), "after untrust");
}

#[test]
fn a_root_that_the_vendor_distrusts_is_refused() {
    let scene = Scene::new("ubi-9");
    let vendor = scene.at("usr/share/pki/ca-trust-source/ca-bundle.trust.p11-kit");
    let text = fs::read_to_string(&vendor).unwrap();
    let stanza = format!("\n[p11-kit-object-v1]\nlabel: \"Gone\"\nx-distrusted: true\n{}", scene.ca.pem);
    fs::write(&vendor, text + &stanza).unwrap();
    let before = scene.tree();
    scene.bootstrap().fails(4).says(["ca-bundle.trust.p11-kit", "hint:"]);
    before.assert_same(&scene.tree(), "after the refusal");
}

/// The administrator's copy replaces the vendor's entry: at the front, for all purposes.
#[test]
fn a_root_for_email_only_becomes_one_for_tls() {
    let (_, fingerprint) = shared("Hongkong_Post_Root_CA_1.pem");
    for family in FAMILIES {
        let root = unpacked(family.fixture);
        let first = Tree::of(root.path());
        let before: Vec<_> = family.lists().map(|path| (path, held(root.path(), path))).collect();
        for (path, held) in &before {
            assert_eq!(held.contains(&fingerprint), family.email.contains(path), "{path} of the fixture");
        }
        let run = || {
            // It has expired; this test is about its purposes.
            Trustup::at(root.path(), ["bootstrap", "--json", "--allow-expired", "--ca-file"])
                .arg(fixtures().join("roots/Hongkong_Post_Root_CA_1.pem"))
        };
        let answer = run().ok().json();
        assert_eq!(answer["anchors"][0]["status"], "installed", "{answer}");
        for (path, before) in before {
            let mut wanted = vec![fingerprint];
            wanted.extend(before.into_iter().filter(|other| *other != fingerprint));
            assert_eq!(held(root.path(), path), wanted, "{}: {path}", family.fixture);
        }
        assert_eq!(run().ok().json()["changed"], false, "{}", family.fixture);
        let status = Trustup::at(root.path(), ["status"]).fails(4);
        assert!(status.stdout.contains("there ") && !status.stdout.contains("missing"), "{status}");
        Trustup::at(root.path(), ["untrust", "--all"]).ok();
        first.assert_same(&Tree::of(root.path()), family.fixture);
    }
}

#[test]
fn a_bundle_of_another_shape_gets_ours_in_front() {
    let theirs = ca::root("Appended By Hand");
    for family in FAMILIES.into_iter().filter(Family::has_comments) {
        let bundle = fs::read(unpacked(family.fixture).path().join(family.tls[0])).unwrap();
        let text = String::from_utf8(bundle).unwrap();
        let shapes = [
            ("appended without a comment", format!("{text}{}", theirs.pem)),
            ("appended with text", format!("{text}\n\n=== ours ===\n{}\n\n", theirs.pem)),
            ("no final newline", text.trim_end().to_owned()),
            ("CRLF", text.replace('\n', "\r\n")),
            ("one without a comment in front", format!("{}{text}", theirs.pem)),
        ];
        for (shape, content) in shapes {
            let scene = Scene::new(family.fixture);
            fs::write(scene.at(family.tls[0]), &content).unwrap();
            let before = scene.tree();
            let held_before = held(scene.root.path(), family.tls[0]);
            let case = format!("{}, {shape}", family.fixture);
            scene.bootstrap().ok();
            let now = fs::read_to_string(scene.at(family.tls[0])).unwrap();
            assert!(now.starts_with(&format!("# Store Test Root\n{}", scene.ca.pem)), "{case}: {now}");
            assert!(now.ends_with(&content), "{case}: what was there is kept as it was");
            let mut wanted = vec![scene.ca.fingerprint];
            wanted.extend(held_before);
            assert_eq!(held(scene.root.path(), family.tls[0]), wanted, "{case}");
            scene.trustup(["status"]).ok();
            let after = scene.tree();
            scene.bootstrap().ok();
            after.assert_same(&scene.tree(), &format!("{case}: again"));
            scene.untrust().ok();
            before.assert_same(&scene.tree(), &case);
        }
    }
}

/// A root that somebody appended to one output is not in all of them: ours is the administrator's copy in front, and
/// theirs stays when ours goes.
#[test]
fn a_root_that_was_appended_by_hand_stays_when_ours_goes() {
    for family in FAMILIES {
        let scene = Scene::new(family.fixture);
        scene.append(family.tls[0], &scene.ca.pem);
        let before = scene.tree();
        scene.bootstrap().ok();
        for path in family.lists() {
            assert_eq!(held(scene.root.path(), path)[0], scene.ca.fingerprint, "{}: {path}", family.fixture);
        }
        let after = scene.tree();
        scene.bootstrap().ok();
        after.assert_same(&scene.tree(), "again");
        scene.untrust().ok();
        before.assert_same(&scene.tree(), family.fixture);
    }
}

/// A package upgrade runs the family's tool, which writes every output anew, with ours and with other vendor roots.
#[test]
fn ours_goes_out_of_what_the_tool_wrote_since() {
    let without_links = ["ubi-8", "opensuse-leap-15.6"];
    for family in FAMILIES.into_iter().filter(|family| without_links.contains(&family.fixture)) {
        let scene = Scene::new(family.fixture);
        let outputs: Vec<&str> = family.lists().collect();
        let before = scene.tree();
        let content = |path: &str| fs::read(scene.at(path)).unwrap();
        let first: Vec<Vec<u8>> = outputs.iter().map(|path| content(path)).collect();
        scene.bootstrap().ok();
        // The vendor's last root is withdrawn.
        let mut upgraded = Vec::new();
        for (path, first) in outputs.iter().zip(&first) {
            let cut = |bytes: &[u8]| match path.ends_with(".bin") {
                true => bytes[..bytes.len() - last_list(bytes)].to_vec(),
                false => {
                    let text = std::str::from_utf8(bytes).unwrap();
                    let last = if family.has_comments() { "\n# " } else { "-----BEGIN" };
                    bytes[..text.rfind(last).unwrap()].to_vec()
                }
            };
            upgraded.push(cut(first));
            fs::write(scene.at(path), cut(&content(path))).unwrap();
        }
        scene.trustup(["status"]).ok();
        scene.bootstrap().ok();
        scene.untrust().ok();
        for ((path, wanted), first) in outputs.iter().zip(upgraded).zip(&first) {
            assert_eq!(content(path), wanted, "{path} after untrust");
            fs::write(scene.at(path), first).unwrap();
        }
        before.assert_same(&scene.tree(), "all but the upgraded outputs");
    }
}

/// The size of the last EFI signature list.
fn last_list(mut lists: &[u8]) -> usize {
    loop {
        let size = u32::from_le_bytes(lists[16..20].try_into().unwrap()) as usize;
        if size == lists.len() {
            return size;
        }
        lists = &lists[size..];
    }
}

/// The order of the anchors is that of their files' names, whatever came first.
#[test]
fn anchors_stand_in_the_order_of_their_names() {
    for family in FAMILIES {
        let [one, two] = ["First Given", "Second Given"].map(ca::root);
        let given = tempfile::tempdir().unwrap();
        let files = [one.write(given.path(), "1.pem"), two.write(given.path(), "2.pem")];
        for (names, wanted) in
            [(["aaa", "zzz"], [&one, &two]), (["zzz", "aaa"], [&two, &one]), (["b", "B"], [&two, &one])]
        {
            let root = unpacked(family.fixture);
            let first = Tree::of(root.path());
            let vendor: Vec<_> = family.lists().map(|path| (path, held(root.path(), path))).collect();
            let mut trees = Vec::new();
            for (name, file) in names.iter().zip(&files) {
                dated(Trustup::at(root.path(), ["bootstrap", "--name", name, "--ca-file"])).arg(file).ok();
                trees.push(Tree::of(root.path()).without("var/lib/trustup"));
                assert!(root.path().join(family.anchors).join(format!("{name}.pem")).exists());
            }
            for (path, vendor) in &vendor {
                let mut wanted: Vec<Fingerprint> = wanted.iter().map(|root| root.fingerprint).collect();
                wanted.extend(vendor);
                assert_eq!(held(root.path(), path), wanted, "{}, {names:?}: {path}", family.fixture);
            }
            Trustup::at(root.path(), ["status"]).ok();
            dated(Trustup::at(root.path(), ["untrust", "--fingerprint", &two.pin()])).ok();
            let now = Tree::of(root.path()).without("var/lib/trustup");
            trees[0].assert_same(&now, &format!("{}, {names:?}: the second went", family.fixture));
            Trustup::at(root.path(), ["untrust", "--all"]).ok();
            first.assert_same(&Tree::of(root.path()), &format!("{}, {names:?}", family.fixture));
        }
    }
}
