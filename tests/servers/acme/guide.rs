//! The complete file of the guide's page on ACME, at a real step-ca.

use std::process::Command;

use tempfile::TempDir;

use crate::support::guide::{SHORT_FINGERPRINT, file};
use crate::support::run::Trustup;
use crate::support::servers::{StepCa, StepCaOptions, passes};

#[test]
#[ignore = "needs step-ca and openssl"]
fn a_certificate_as_the_guide_says() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = TempDir::new().expect("directory");
    let path = |name: &str| place.path().join(name).display().to_string();
    // Where the page's names lead: the CA, the port that the name's port 80 is forwarded to, the directory of the files.
    let text = file("acme.md", "trustup.toml")
        .replace("https://ca.internal:9000", &ca.url())
        .replace(SHORT_FINGERPRINT, &ca.fingerprint())
        .replace("web.internal", "localhost")
        .replace(":8080", &format!("127.0.0.1:{}", ca.http_port()))
        .replace("/run/tls", &place.path().display().to_string());
    std::fs::write(path("trustup.toml"), text).expect("file");
    let run =
        || Trustup::new(["--json", "enroll", "--config"]).arg(path("trustup.toml")).env("HOME", place.path());
    let json = run().ok().json();
    assert_eq!(json["certificates"][0]["method"], "acme", "{json}");
    passes(
        Command::new("openssl")
            .args(["verify", "-verify_hostname", "localhost", "-untrusted", &path("server.crt"), "-CAfile"])
            .arg(ca.root_file())
            .arg(path("server.crt")),
    );
    assert_eq!(run().ok().json()["changed"], false);
}
