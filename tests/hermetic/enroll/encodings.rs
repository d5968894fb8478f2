//! Secrets as PowerShell writes them: in UTF-16, or behind a byte order mark. Each reader says so, with the file's name.

use std::fs;

use super::{Scene, write};
use crate::support::run::{Trustup, unpacked};

fn wide(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(to_bytes).collect()
}

#[test]
fn every_secret_in_utf_16_is_named() {
    let scene = Scene::new();
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let password = fs::read_to_string(scene.path("password")).unwrap();
    let marked = format!("\u{feff}{password}\r\n");
    let sysroot = unpacked("debian-12-minimal");
    write(&scene.path("root.pem"), scene.ca.root().to_pem().as_bytes(), 0o644);
    let bootstrap = |args: &[&str]| {
        Trustup::at(sysroot.path(), ["bootstrap", "--ca-file"]).arg(scene.path("root.pem")).args(args)
    };
    for (case, content, wanted) in [
        ("little-endian", wide(&marked, u16::to_le_bytes), "UTF-16 (with a byte order mark)"),
        ("big-endian", wide(&marked, u16::to_be_bytes), "UTF-16 (with a byte order mark)"),
        ("without a mark", wide(&password, u16::to_le_bytes), "UTF-16 (without a byte order mark)"),
        (
            "big-endian, without a mark",
            wide(&password, u16::to_be_bytes),
            "UTF-16 (without a byte order mark)",
        ),
    ] {
        eprintln!("--- {case}");
        let file = scene.path("from-powershell.txt");
        write(&file, &content, 0o600);
        let name = file.to_str().unwrap();
        let acme = || {
            let run = scene.plain("acme").args(["web.test", "--directory", "https://127.0.0.1:1/directory"]);
            run.args(["--timeout", "1s"])
        };
        let token = || Trustup::new(["token", "web.test"]).args(ca).env("HOME", "/none");
        let runs = [
            (
                "the provisioner's password",
                scene.plain("provisioner").arg("web.test").args(ca).args(["--password-file", name]),
            ),
            (
                "the provisioner's key",
                scene.plain("provisioner").arg("web.test").args(ca).args([
                    "--provisioner",
                    "x",
                    "--provisioner-key",
                    name,
                ]),
            ),
            ("the token", scene.plain("token").args(ca).args(["--token-file", name])),
            ("the external account's key", acme().args(["--eab-kid", "1", "--eab-hmac-key-file", name])),
            (
                "the TSIG key",
                acme().args([
                    "--rfc2136-server",
                    "127.0.0.1",
                    "--rfc2136-key-name",
                    "k",
                    "--rfc2136-key-file",
                    name,
                ]),
            ),
            ("the password", token().args(["--password-file", name])),
            ("the provisioner's key", token().args(["--provisioner", "x", "--provisioner-key", name])),
            ("the keystores' password", bootstrap(&["--stores", "java", "--java-storepass-file", name])),
            ("the NSS databases' password", bootstrap(&["--stores", "nss", "--nss-password-file", name])),
        ];
        for (what, run) in runs {
            let run = run.fails(2);
            run.says([what, wanted, name, "iconv", "PowerShell"]);
            assert!(!run.stderr.contains(password.trim()), "{run}");
        }
    }
}

/// A password behind a byte order mark is refused, since all bytes of a password count; a token or key is read, and the
/// mark is named.
#[test]
fn a_byte_order_mark_is_named() {
    let scene = Scene::new();
    let ca = ["--ca-url", &scene.server.url(), "--fingerprint", &scene.ca.fingerprint().hex()];
    let password = fs::read_to_string(scene.path("password")).unwrap();
    let file = scene.path("marked.txt");
    write(&file, format!("\u{feff}{password}").as_bytes(), 0o600);
    let name = file.to_str().unwrap();
    let sysroot = unpacked("debian-12-minimal");
    write(&scene.path("root.pem"), scene.ca.root().to_pem().as_bytes(), 0o644);
    let bootstrap = |args: &[&str]| {
        Trustup::at(sysroot.path(), ["bootstrap", "--ca-file"]).arg(scene.path("root.pem")).args(args)
    };
    let token = || Trustup::new(["token", "web.test"]).args(ca).env("HOME", "/none");
    for run in [
        scene.plain("provisioner").arg("web.test").args(ca).args(["--password-file", name]),
        token().args(["--password-file", name]),
        bootstrap(&["--stores", "java", "--java-storepass-file", name]),
        bootstrap(&["--stores", "nss", "--nss-password-file", name]),
    ] {
        run.fails(2).says(["password", "byte order mark", name, "tail -c +4", "PowerShell"]);
    }
    // A key and a token: the mark is no part of them.
    let key = scene.path("provisioner.jwk");
    write(&key, format!("\u{feff}{}", scene.ca.provisioner_key()).as_bytes(), 0o600);
    let run = token().arg("--provisioner").arg(scene.ca.provisioner()).arg("--provisioner-key").arg(&key);
    let run = run.arg("--password-file").arg(scene.path("password")).ok();
    run.says(["byte order mark", "provisioner.jwk"]);
    write(&scene.path("token"), format!("\u{feff}{}", run.stdout).as_bytes(), 0o600);
    let run = scene.plain("token").arg("--token-file").arg(scene.path("token")).ok();
    run.says(["byte order mark", "token"]);
}
