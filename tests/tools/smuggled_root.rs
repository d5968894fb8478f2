//! Threat T4 beside the real p11-kit: a common name with a PEM block in it becomes a second trusted root when
//! `trust extract --comment` writes the name into the bundle as a comment. We refuse such a name beforehand.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use trustup::pki::cert::policy::{self, AcceptancePolicy};
use trustup::pki::cert::{Certificate, input, pem};

use crate::support::der::{TestCertificate, common_name};

/// What p11-kit makes of a bundle, labels as comments. The bundle lies over the one file that Debian's p11-kit reads,
/// in a mount namespace of its own: the machine's store is not touched.
fn extract(directory: &Path, bundle: &str) -> Vec<u8> {
    std::fs::write(directory.join("bundle.pem"), bundle).expect("written");
    let script = "mount --bind bundle.pem /etc/ssl/certs/ca-certificates.crt && \
                  trust extract --format=pem-bundle --comment --filter=ca-anchors --overwrite out.pem";
    let output = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("P11_KIT_NO_USER_CONFIG", "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(directory.join("out.pem")).expect("extracted")
}

#[test]
#[ignore = "needs p11-kit, ca-certificates, and root for a mount namespace"]
fn t4_a_root_in_the_name_of_another_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let strict = AcceptancePolicy { now: 1_795_392_000, allow_expired: false, allow_intermediate: false };
    let honest =
        Certificate::from_der(&TestCertificate::named(common_name("Honest Root")).der()).expect("parses");
    assert_eq!(policy::check(&honest, &strict), Ok(()));
    let extracted = extract(directory.path(), &honest.to_pem());
    assert_eq!(pem::blocks(&extracted).len(), 1, "one root in, one out");

    let hidden =
        Certificate::from_der(&TestCertificate::named(common_name("Hidden Root")).der()).expect("parses");
    let name = format!("Honest Root\n{}", hidden.to_pem());
    let carrier = Certificate::from_der(&TestCertificate::named(common_name(&name)).der()).expect("parses");
    let extracted = extract(directory.path(), &carrier.to_pem());
    let roots = input::read(&extracted, "out.pem").expect("roots").certificates;
    assert!(roots.contains(&carrier));
    assert!(
        roots.contains(&hidden),
        "p11-kit 0.24.1 was fooled: is this one repaired? then this line can go"
    );

    let reason = policy::check(&carrier, &strict).expect_err("refused");
    assert!(reason.contains(&carrier.fingerprint().hex()) && !reason.contains('\n'), "{reason}");
}
