//! The default place of trustup.toml, in a real root: what is there is read, by whoever runs trustup, unless others could
//! have written it (threat T23).

use crate::support::ca;
use crate::support::roots::Base;

const FILE: &str = "etc/trustup/trustup.toml";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

#[test]
#[ignore = "needs root and real root file systems"]
fn t23_the_default_file_is_read() {
    let root = Base::Debian12.copy();
    let ca = ca::root("Root Of The Default File");
    root.write("etc/trustup/root.pem", &ca.pem);
    let certificate = "[[certificate]]\nnames = \"a.test\"\ncert = \"/run/a.crt\"\nkey = \"/run/a.key\"\nenroll = {method = \"token\", token = \"x\"}\n";
    root.write(
        FILE,
        format!("[ca]\nroot = \"/etc/trustup/root.pem\"\nfingerprint = \"{}\"\n{certificate}", ca.pin()),
    );
    let mode = |mode: &str, name: &str| drop(root.run(&["chmod", mode, name]));
    for (name, bits) in [("/etc/trustup", "0755"), ("/etc/trustup/trustup.toml", "0644")] {
        mode(bits, name);
    }
    let check = root.trustup_inside(["config", "check"]).ok();
    assert!(check.stdout.starts_with("/etc/trustup/trustup.toml\n  a.test: "), "{check}");
    // As another user, who cannot write it either.
    let as_user =
        ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "/mnt/trustup", "config", "check"];
    root.run(&["chmod", "0755", "/mnt"]);
    root.run(&as_user);
    for (name, wide, narrow) in [
        ("/etc/trustup/trustup.toml", "0666", "0644"),
        ("/etc/trustup", "0777", "0755"),
        ("/etc", "0757", "0755"),
    ] {
        mode(wide, name);
        let before = root.tree();
        root.trustup_inside(["bootstrap"]).fails(2).says(["another user could have written this file", wide]);
        before.assert_same(&root.tree(), name);
        mode(narrow, name);
    }
    root.trustup_inside(["bootstrap"]).ok();
    assert!(ca::fingerprint_set(&String::from_utf8(root.read(BUNDLE)).unwrap()).contains(&ca.fingerprint));
    // Named is instead of the default one.
    root.write("etc/other.toml", "[ca]\nprovisioner = \"x\"\n");
    root.trustup_inside_after("", &["TRUSTUP_CONFIG=/etc/other.toml"], ["bootstrap"])
        .fails(2)
        .says(["no source of certificates is given"]);
    // A link that another user could turn elsewhere.
    root.run(&["mkdir", "-m", "0777", "/srv/open"]);
    root.run(&["mv", "/etc/trustup/trustup.toml", "/srv/open/real.toml"]);
    root.run(&["ln", "-s", "/srv/open/real.toml", "/etc/trustup/trustup.toml"]);
    root.trustup_inside(["config", "check"]).fails(2).says(["another user could have written", "/srv/open"]);
}
