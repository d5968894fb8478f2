//! Passwords and private keys in a wrong form: each is named, and its hint is followed until the token is made.

use std::fs;
use std::process::Command;

use crate::support::enrollment::{Scene, write};
use crate::support::hints;
use crate::support::run::{Run, Trustup};

fn token(scene: &Scene) -> Trustup {
    let run = Trustup::new(["token", "web.test", "--ca-url", &scene.server.url(), "--fingerprint"]);
    run.arg(scene.ca.fingerprint().hex()).env("HOME", "/none")
}

#[test]
#[ignore = "needs iconv"]
fn a_password_in_another_encoding_is_named_and_the_hint_works() {
    let scene = Scene::new();
    for (case, make, program) in [
        ("UTF-16 with a mark", "iconv -f UTF-8 -t UTF-16 password >wrong", "(umask 077; iconv"),
        ("UTF-16LE", "iconv -f UTF-8 -t UTF-16LE password >wrong", "(umask 077; iconv"),
        ("UTF-16BE", "iconv -f UTF-8 -t UTF-16BE password >wrong", "(umask 077; iconv"),
        ("a mark", "(printf '\\357\\273\\277'; cat password) >wrong", "(umask 077; tail"),
    ] {
        let directory = scene.directory.path();
        let _ = fs::remove_file(directory.join("NEW"));
        let made = Command::new("sh").args(["-ec", make]).current_dir(directory).status().unwrap();
        assert!(made.success(), "{case}");
        let with = |name: &str| token(&scene).arg("--password-file").arg(scene.path(name));
        let run = with("wrong").fails(2);
        run.says(["wrong", "byte order mark"]);
        let command =
            hints::commands(&run).into_iter().find(|command| command.starts_with(program)).expect(case);
        hints::follow(&command, directory, &[("FILE", "wrong")], "");
        with("NEW").ok();
        assert_eq!(crate::support::enrollment::mode(&scene.path("NEW")), 0o600, "{case}");
    }
}

/// How it is made of `key.pem`, what trustup says, and the program of the hint that makes `key.pem` of it.
#[test]
#[ignore = "needs openssl, ssh-keygen, iconv"]
fn each_wrong_private_key_is_named_and_its_hint_works() {
    let cases = [
        (
            "base64 of PEM",
            "base64 -w0 key >wrong",
            "PEM that is encoded in base64 once more",
            "(umask 077; base64",
        ),
        (
            "base64 of DER",
            "openssl pkey -in key -outform DER | base64 >wrong",
            "base64 without",
            "(umask 077; base64",
        ),
        (
            "a Secret",
            "printf 'apiVersion: v1\\nkind: Secret\\ndata:\\n  tls.key: %s\\n' \"$(base64 -w0 key)\" >wrong",
            "a Kubernetes Secret (YAML)",
            "(umask 077; grep",
        ),
        (
            "literal line ends",
            "sed ':a;N;$!ba;s/\\n/\\\\n/g' key >wrong",
            "the two characters `\\n`",
            "(umask 077; printf",
        ),
        ("en dashes", "sed 's/-/–/g' key >wrong", "U+2013", "(umask 077; sed"),
        ("DER", "openssl pkey -in key -outform DER -out wrong", "not PEM", "openssl pkey"),
        (
            "encrypted",
            "openssl pkey -in key -aes256 -passout pass:hunter2 -out wrong",
            "is encrypted",
            "openssl pkey",
        ),
        (
            "PKCS#12",
            "openssl req -x509 -key key -subj /CN=x -out c; openssl pkcs12 -export -inkey key -in c -passout pass:hunter2 -out wrong",
            "a PKCS#12 file",
            "openssl pkcs12",
        ),
        (
            "OpenSSH's format",
            "cp key wrong; chmod 600 wrong; ssh-keygen -q -p -N '' -f wrong",
            "OpenSSH's own format",
            "ssh-keygen",
        ),
    ];
    let scene = Scene::new();
    let directory = scene.directory.path();
    let password = || Ok(scene.ca.password().as_bytes().to_vec().into());
    let key = trustup::step_ca::mint::read_key(scene.ca.provisioner_key().as_bytes(), password).unwrap();
    write(&scene.path("key"), key.key.to_pem().as_bytes(), 0o600);
    let with = |name: &str| -> Run {
        let run = token(&scene).args(["--provisioner", scene.ca.provisioner()]).arg("--provisioner-key");
        run.arg(scene.path(name)).run()
    };
    assert_eq!(with("key").code, Some(0), "the key itself works");
    for (case, make, wanted, program) in cases {
        for name in ["wrong", "key.pem", "PLAIN-KEY"] {
            let _ = fs::remove_file(directory.join(name));
        }
        let made = Command::new("sh").args(["-ec", make]).current_dir(directory).output().unwrap();
        assert!(made.status.success(), "{case}: {}", String::from_utf8_lossy(&made.stderr));
        let run = with("wrong");
        assert!(matches!(run.code, Some(2 | 5)), "{case}: {run}");
        run.says([wanted, "wrong"]);
        let command = hints::commands(&run).into_iter().find(|command| command.starts_with(program));
        let command = command.unwrap_or_else(|| panic!("{case}: {run}"));
        let words: &[(&str, &str)] = match command.contains("FILE") {
            true => &[("FILE", "wrong")],
            false => &[("PLAIN-KEY", "key.pem"), ("KEY", "wrong")],
        };
        hints::follow(&command, directory, words, "hunter2\n");
        let made = if scene.path("key.pem").exists() { "key.pem" } else { "wrong" };
        let run = with(made);
        assert_eq!(run.code, Some(0), "{case}, after `{command}`: {run}");
    }
    // Something else, with what to give.
    for (make, wanted) in [
        ("openssl req -x509 -key key -subj /CN=x -out wrong", "but a certificate"),
        (
            "openssl req -x509 -key key -subj /CN=x -outform DER -out wrong",
            "this is a certificate, not a private key",
        ),
        ("openssl req -new -key key -subj /CN=x -out wrong", "a certificate signing request (CSR)"),
        ("openssl pkey -in key -pubout -out wrong", "but a public key"),
        ("printf '<html>Sign in' >wrong", "a web page (HTML)"),
        ("gzip -c key >wrong", "a gzip archive"),
    ] {
        let made = Command::new("sh").args(["-ec", make]).current_dir(directory).output().unwrap();
        assert!(made.status.success(), "{make}: {}", String::from_utf8_lossy(&made.stderr));
        let run = with("wrong");
        assert_eq!(run.code, Some(2), "{make}: {run}");
        run.says([wanted, "wrong", "hint: "]);
    }
}
