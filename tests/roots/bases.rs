//! The kept roots are what the other tests take them for.

use crate::support::roots::{Base, RootFs};

fn exists(root: &RootFs, name: &str) -> bool {
    root.at(name).symlink_metadata().is_ok()
}

#[test]
#[ignore = "needs root and real root file systems"]
fn bare_debian_has_neither_tool_nor_store() {
    for base in [Base::Debian12Bare, Base::Debian13Bare] {
        let root = base.copy();
        for name in
            ["etc/ssl", "usr/sbin/update-ca-certificates", "usr/bin/openssl", "usr/share/ca-certificates"]
        {
            assert!(!exists(&root, name), "{base:?}: {name}");
        }
        assert!(exists(&root, "usr/bin/apt-get"), "{base:?}");
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_real_tools_have_nothing_to_do_at_first() {
    for base in [Base::Debian12, Base::Debian13, Base::Alpine] {
        let root = base.copy();
        let before = root.tree();
        root.run(&["update-ca-certificates"]);
        before.assert_same(&root.tree(), &format!("{base:?}"));
        assert!(exists(&root, "usr/bin/c_rehash"), "{base:?}");
    }
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_root_of_clients_has_them_all() {
    let root = Base::Clients.copy();
    for program in ["curl", "wget", "git", "openssl", "python3"] {
        assert!(exists(&root, &format!("usr/bin/{program}")), "{program}");
    }
    assert!(exists(&root, "usr/lib/python3/dist-packages/requests"));
    assert!(exists(&root, "opt/pypi/certifi/cacert.pem"));
}

#[test]
#[ignore = "needs root and real root file systems"]
fn the_newer_root_of_clients_has_them_all() {
    let root = Base::Runtimes13.copy();
    for program in
        ["curl", "wget", "git", "openssl", "python3.13", "pip3", "node", "ruby", "php", "gnutls-cli"]
    {
        assert!(exists(&root, &format!("usr/bin/{program}")), "{program}");
    }
    assert!(exists(&root, "opt/pypi/urllib3"));
}
