//! `env --install` in a real root: real login shells get the variables, and `untrust`, by the family's own tool or
//! ours, gives the first tree back.

use std::collections::BTreeSet;

use crate::support::ca;
use crate::support::roots::{Base, RootFs};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const DIRECTORY: &str = "etc/profile.d";

/// What `env` prints in a shell, as lines.
fn environment(root: &RootFs, shell: &[&str]) -> BTreeSet<String> {
    let output = root.run(&[shell, &["env"]].concat());
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn remove_directory(root: &RootFs) {
    if root.at(DIRECTORY).exists() {
        std::fs::remove_dir_all(root.at(DIRECTORY)).unwrap();
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn login_shells_have_the_variables_until_untrust() {
    let cases = [
        (Base::Debian12, "native", false),
        (Base::Debian12, "builtin", true),
        (Base::Debian12, "native", true),
        (Base::Debian12Bare, "builtin", false),
    ];
    for (base, updater, without_directory) in cases {
        let case = format!("{base:?} {updater}, without the directory: {without_directory}");
        let root = base.copy();
        if without_directory {
            remove_directory(&root);
        }
        let before = root.tree();
        ca::root("Login Shell Root").write(root.exchange(), "root.pem");
        root.trustup_inside(["bootstrap", "--updater", updater, "--ca-file", "/mnt/root.pem"]).ok();
        let shells = [&["sh", "-l", "-c"][..], &["bash", "--login", "-c"], &["bash", "--login", "-euc"]];
        let without: Vec<_> = shells.iter().map(|shell| environment(&root, shell)).collect();
        root.trustup_inside(["env", "--install"]).ok();
        root.trustup_inside(["env", "--install"]).ok().says(["nothing to do"]);

        let printed = root.trustup_inside(["env"]).ok().stdout;
        let assignment = |line: &str| line.strip_prefix("export ").expect("an export").replace('\'', "");
        let wanted: BTreeSet<String> = printed.lines().map(assignment).collect();
        assert!(wanted.contains(&format!("SSL_CERT_FILE=/{BUNDLE}")), "{case}: {wanted:?}");
        for (shell, without) in shells.iter().zip(without) {
            let with = environment(&root, shell);
            let new: BTreeSet<String> = with.difference(&without).cloned().collect();
            assert_eq!(new, wanted, "{case}: {shell:?}");
        }
        root.trustup_inside(["untrust", "--all", "--updater", updater]).ok();
        before.assert_same(&root.tree(), &case);
    }
}

/// A root of the distribution: no store changes and its tool is not run; only the file comes, and goes.
#[test]
#[ignore = "needs root and real root file systems"]
fn with_a_root_of_the_distribution_only_the_file_comes_and_goes() {
    let root = Base::Debian12.copy();
    remove_directory(&root);
    let before = root.tree();
    let bundle = String::from_utf8(root.read(BUNDLE)).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let first = &bundle[..bundle.find(end).expect("a certificate") + end.len()];
    std::fs::write(root.exchange().join("root.pem"), first).unwrap();
    root.trustup_inside(["bootstrap", "--ca-file", "/mnt/root.pem"]).ok();
    root.trustup_inside(["env", "--install"]).ok();
    let changed = before.changed_paths(&root.tree().without("var/lib/trustup"));
    assert_eq!(changed, [DIRECTORY, "etc/profile.d/trustup.sh"]);
    root.trustup_inside(["untrust", "--all"]).ok();
    before.assert_same(&root.tree(), "after untrust");
}
