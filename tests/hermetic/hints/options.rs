//! Hints that name an option, a variable or a value: the wrong command line says the hint, and the command line that
//! follows it works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::date_time_ymd;

use super::cases::Cases;
use crate::support::ca;
use crate::support::enrollment::{Scene, write};
use crate::support::run::{Trustup, unpacked};

#[test]
fn bootstrap_says_what_to_give() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let root = unpacked("debian-12-minimal");
    let given = tempfile::tempdir().unwrap();
    let own = ca::root("Hint Root");
    let file = own.write(given.path(), "root.pem");
    let file = file.to_str().unwrap();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let at = |args: &[&str]| Trustup::at(root.path(), ["--dry-run", "bootstrap"]).args(args);
    let by_url = || at(&["--ca-url", &url, "--fingerprint", &pin]);

    cases.case("`--bundle-url URL` or `--ca-file FILE`", at(&[]), [by_url(), at(&["--ca-file", file])]);
    let plain = url.replace("https:", "http:");
    cases.case("write `--ca-url https://", at(&["--ca-url", &plain, "--fingerprint", &pin]), [by_url()]);
    cases.case(
        "add `--fingerprint HEX`",
        at(&["--ca-file", file, "--require-pin"]),
        [at(&["--ca-file", file, "--require-pin", "--fingerprint", &own.pin()])],
    );
    let second = ca::root("Second Hint Root");
    let both = given.path().join("both.pem");
    fs::write(&both, format!("{}{}", own.pem, second.pem)).unwrap();
    let both = both.to_str().unwrap();
    cases.case("omit `--name`", at(&["--ca-file", both, "--name", "x"]), [at(&["--ca-file", both])]);
    cases.case(
        "`--name corp-root-2026`",
        at(&["--ca-file", file, "--name", "../x"]),
        [at(&["--ca-file", file, "--name", "corp-root-2026"])],
    );
    let mut params = ca::root_params("Expired Hint Root");
    params.not_after = date_time_ymd(2021, 1, 1);
    let expired = ca::root_with(params).write(given.path(), "expired.pem");
    let expired = expired.to_str().unwrap();
    cases.case(
        "`--allow-expired` accepts it anyway",
        at(&["--ca-file", expired]),
        [at(&["--ca-file", expired, "--allow-expired"])],
    );
    let mixed = given.path().join("mixed");
    fs::create_dir_all(&mixed).unwrap();
    own.write(&mixed, "a.pem");
    fs::write(mixed.join("a.key"), "x").unwrap();
    cases.case(
        "give the certificates alone",
        at(&["--ca-file", mixed.to_str().unwrap()]),
        [at(&["--ca-file", mixed.join("a.pem").to_str().unwrap()])],
    );
    cases.case(
        "omit `--private-dir`, or `--sysroot`",
        at(&["--ca-file", file, "--private-dir", "/tmp/x"]),
        [at(&["--ca-file", file])],
    );
    cases.case("omit `-- COMMAND`", at(&["--ca-file", file, "--", "/bin/true"]), [at(&["--ca-file", file])]);
    cases.case(
        "set it to what `git log -1 --pretty=%ct` prints, or unset it",
        at(&["--ca-file", file]).env("SOURCE_DATE_EPOCH", "yesterday"),
        [at(&["--ca-file", file]).env("SOURCE_DATE_EPOCH", "1700000000"), at(&["--ca-file", file])],
    );
    cases.case(
        "set it to 1 or 0, or unset it",
        at(&["--ca-file", file]).env("TRUSTUP_STRICT", "maybe"),
        [
            at(&["--ca-file", file]).env("TRUSTUP_STRICT", "1"),
            at(&["--ca-file", file]).env("TRUSTUP_STRICT", "0"),
        ],
    );
    cases.case(
        "run `trustup bootstrap` first",
        Trustup::at(root.path(), ["env"]),
        [Trustup::at(root.path(), ["bootstrap", "--ca-file", file]), Trustup::at(root.path(), ["env"])],
    );
    cases.case(
        "omit `--connect`",
        Trustup::at(root.path(), ["doctor", "--connect", "ca.test:443"]),
        [Trustup::at(root.path(), ["doctor"])],
    );
    cases.case(
        "omit `--sysroot`",
        Trustup::at(root.path(), ["demo"]),
        [Trustup::new(["demo"]).env("TMPDIR", given.path())],
    );
    cases.end();
}

#[test]
fn enroll_says_what_to_give() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let ca = ["--ca-url", &url, "--fingerprint", &pin];
    let password = scene.path("password");
    let password = ["--password-file", password.to_str().unwrap()];
    let root = scene.path("ca.pem");
    write(&root, scene.ca.root().to_pem().as_bytes(), 0o644);
    let (crt, key) = (scene.path("server.crt"), scene.path("server.key"));
    let (crt, key) = (crt.to_str().unwrap(), key.to_str().unwrap());
    let bare = |args: &[&str]| {
        let run = Trustup::new(["--timeout", "20s", "enroll", "provisioner"]).args(args);
        run.args(password).env("HOME", "/none")
    };
    let root_fs = unpacked("debian-12-minimal");
    // Each anew: a good pair would be kept without a question.
    let enroll =
        |args: &[&str]| bare(&["web.test", "--cert", crt, "--key", key, "--force"]).args(ca).args(args);
    let plain = |args: &[&str]| bare(&["web.test", "--cert", crt, "--key", key, "--force"]).args(args);

    cases.case("name them after the method", bare(&["--cert", crt, "--key", key]).args(ca), [enroll(&[])]);
    cases.case("add `--cert FILE` and `--key FILE`", bare(&["web.test"]).args(ca), [enroll(&[])]);
    cases.case(
        "each needs a file of its own",
        bare(&["web.test", "--cert", crt, "--key", crt]).args(ca),
        [enroll(&[])],
    );
    cases.case(
        "`--key-mode` is 0600, 0400, or 0640",
        enroll(&["--key-mode", "0644"]),
        [enroll(&["--key-mode", "0600"]), enroll(&["--key-mode", "0400"]), enroll(&["--key-mode", "0640"])],
    );
    cases.case(
        "`--cert-mode` is 0644 or 0640",
        enroll(&["--cert-mode", "0666"]),
        [enroll(&["--cert-mode", "0644"]), enroll(&["--cert-mode", "0640"])],
    );
    let (one, other) = (scene.path("one"), scene.path("other"));
    for directory in [&one, &other] {
        fs::create_dir(directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let path = |directory: &std::path::Path, name: &str| directory.join(name).to_str().unwrap().to_owned();
    let apart = |args: &[&str]| {
        let files = ["web.test", "--cert", &path(&one, "c"), "--key", &path(&other, "k")].map(str::to_owned);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        bare(&files).args(ca).args(args)
    };
    let together =
        ["web.test", "--cert", &path(&one, "v.crt"), "--key", &path(&one, "v.key"), "--layout", "versioned"]
            .map(str::to_owned);
    let together: Vec<&str> = together.iter().map(String::as_str).collect();
    cases.case(
        "into one directory, or use `--layout files`",
        apart(&["--layout", "versioned"]),
        [bare(&together).args(ca), apart(&["--layout", "files"])],
    );
    cases.case(
        "those of type JWK are `dev`",
        enroll(&["--provisioner", "nobody"]),
        [enroll(&["--provisioner", scene.ca.provisioner()])],
    );
    cases.case(
        "add `--fingerprint HEX` (on the CA's host: `step certificate fingerprint root_ca.crt`) or `--ca-root FILE`",
        plain(&["--ca-url", &url]),
        [plain(&ca), plain(&["--ca-url", &url, "--ca-root", root.to_str().unwrap()])],
    );
    let fresh = path(&one, "fresh.crt");
    let nowhere = ["web.test", "--cert", &fresh, "--key", &path(&one, "fresh.key")].map(str::to_owned);
    let nowhere: Vec<&str> = nowhere.iter().map(String::as_str).collect();
    cases.case("give `--ca-url URL --fingerprint HEX`", bare(&nowhere), [bare(&nowhere).args(ca)]);
    let us = format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    cases.case(
        "an owner is `USER:GROUP`, `USER` or `:GROUP`",
        enroll(&["--owner", "no:such:owner"]),
        [enroll(&["--owner", &us])],
    );
    cases.case(
        "or a moment (`2026-12-24T18:00:00Z`)",
        enroll(&["--not-after", "soon"]),
        [enroll(&["--not-after", "1h"])],
    );
    let no_password = || {
        Trustup::new(["enroll", "provisioner", "web.test", "--cert", crt, "--key", key])
            .args(ca)
            .env("HOME", "/none")
    };
    cases.case("`--password-file FILE` holds the provisioner's password", no_password(), [enroll(&[])]);
    cases.case(
        "omit `--sysroot`",
        Trustup::at(root_fs.path(), ["enroll", "provisioner", "web.test", "--cert", crt, "--key", key])
            .args(ca),
        [enroll(&[])],
    );
    cases.case("the methods are", Trustup::new(["enroll", "provisoner"]), [enroll(&[])]);

    // Tokens.
    let token = |args: &[&str]| Trustup::new(["token"]).args(args).args(ca).env("HOME", "/none");
    cases.case(
        "give `--password-file FILE`, `--provisioner-key FILE`, or",
        token(&["web.test", "--provisioner", scene.ca.provisioner()]),
        [token(&["web.test", "--provisioner", scene.ca.provisioner()]).args(password)],
    );
    let missing = scene.path("new/token");
    let out = |directory: &std::path::Path| token(&["web.test"]).arg("--out").arg(directory).args(password);
    cases.case(
        "create the directory first, or name another with `--out FILE`",
        out(&missing),
        [out(&scene.path("token.new"))],
    );
    fs::create_dir(scene.path("new")).unwrap();
    out(&missing).ok();
    let spend = |file: &std::path::Path, names: &[&str]| {
        let run =
            Trustup::new(["enroll", "token"]).args(names).args(["--cert", crt, "--key", key, "--force"]);
        run.arg("--token-file").arg(file).args(ca).env("HOME", "/none")
    };
    let two = scene.path("two");
    token(&["other.test", "--san", "other.test", "--san", "third.test"])
        .args(password)
        .arg("--out")
        .arg(&two)
        .ok();
    cases.case(
        "omit the names, or make a token for them: `trustup token NAME --san NAME",
        spend(&missing, &["other.test"]),
        [spend(&missing, &[]), spend(&two, &["other.test", "third.test"])],
    );
    cases.end();
}

/// ACME: an address where no server is shows that the command line is accepted.
#[test]
fn acme_says_what_to_give() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let (crt, key) = (scene.path("server.crt"), scene.path("server.key"));
    let (crt, key) = (crt.to_str().unwrap(), key.to_str().unwrap());
    let acme = |args: &[&str]| {
        let run =
            Trustup::new(["--timeout", "1s", "enroll", "acme", "web.test", "--cert", crt, "--key", key]);
        run.args(["--directory", "https://127.0.0.1:1/directory"])
            .args(args)
            .env("HOME", scene.directory.path())
    };
    let secret = scene.path("tsig");
    write(&secret, b"c2VjcmV0\n", 0o600);
    let secret = secret.to_str().unwrap();
    let listen = ["--http-listen", "127.0.0.1:0"];
    cases.ends_with(
        6,
        "`--contact admin@example.org`",
        acme(&listen).args(["--contact", "nobody"]),
        [acme(&listen).args(["--contact", "admin@example.org"])],
    );
    cases.ends_with(
        6,
        "a variable such as TRUSTUP_RFC2136_KEY_NAME: give all of them, or none",
        acme(&["--rfc2136-server", "127.0.0.1"]),
        [
            acme(&["--rfc2136-server", "127.0.0.1", "--rfc2136-key-file", secret])
                .env("TRUSTUP_RFC2136_KEY_NAME", "k"),
            acme(&["--rfc2136-server", "127.0.0.1", "--rfc2136-key-name", "k", "--rfc2136-key-file", secret]),
        ],
    );
    let rfc2136 = ["--rfc2136-server", "127.0.0.1", "--rfc2136-key-name", "k", "--rfc2136-key-file", secret];
    cases.ends_with(
        6,
        "`--rfc2136-server HOST --rfc2136-key-name NAME --rfc2136-key-file FILE`",
        acme(&["--rfc2136-zone", "test"]),
        [acme(&rfc2136), acme(&rfc2136).args(["--rfc2136-zone", "test"])],
    );
    cases.ends_with(
        6,
        "it is for dns-01: omit it, or set `--challenge` to `dns-01`",
        acme(&listen).args(["--challenge", "http-01"]).args(rfc2136),
        [acme(&listen).args(["--challenge", "http-01"]), acme(&rfc2136).args(["--challenge", "dns-01"])],
    );
    cases.ends_with(
        6,
        "each of them is an option, or a variable such as TRUSTUP_EAB_HMAC_KEY_FILE",
        acme(&listen).args(["--eab-kid", "1"]),
        [acme(&listen).args(["--eab-kid", "1", "--eab-hmac-key-file", secret])],
    );
    cases.ends_with(
        6,
        "write `https://",
        Trustup::new(["--timeout", "1s", "enroll", "acme", "web.test", "--cert", crt, "--key", key])
            .args(["--directory", "http://127.0.0.1:1/directory"])
            .args(listen),
        [acme(&listen)],
    );
    cases.ends_with(
        6,
        "`ns1.example.org` or `192.0.2.1:53`",
        acme(&["--rfc2136-server", "dns://x/y", "--rfc2136-key-name", "k", "--rfc2136-key-file", secret]),
        [acme(&[
            "--rfc2136-server",
            "192.0.2.1:53",
            "--rfc2136-key-name",
            "k",
            "--rfc2136-key-file",
            secret,
        ])],
    );
    let hook = scene.path("hook");
    write(&hook, b"#!/bin/sh\n", 0o755);
    let hook = hook.to_str().unwrap();
    cases.ends_with(
        6,
        "`--dns-hook /path/to/program`",
        acme(&["--dns-hook", "hook"]),
        [acme(&["--dns-hook", hook])],
    );
    cases.ends_with(
        6,
        "install it here (a container needs it in its own image), or correct its path",
        acme(&["--dns-hook", "/nowhere/hook"]),
        [acme(&["--dns-hook", hook])],
    );
    cases.ends_with(
        6,
        "are the challenges that trustup answers",
        acme(&listen).args(["--challenge", "tls-sni-01"]),
        [acme(&listen).args(["--challenge", "http-01"])],
    );
    write(&scene.path("not-base64"), b"\"secret\"", 0o600);
    let quoted = scene.path("not-base64");
    cases.ends_with(
        6,
        "without quotes",
        acme(&[
            "--rfc2136-server",
            "192.0.2.1",
            "--rfc2136-key-name",
            "k",
            "--rfc2136-key-file",
            quoted.to_str().unwrap(),
        ]),
        [acme(&["--rfc2136-server", "192.0.2.1", "--rfc2136-key-name", "k", "--rfc2136-key-file", secret])],
    );
    cases.end();
}

/// What trustup.toml has wrong.
#[test]
fn the_configuration_says_what_to_write() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let place = scene.directory.path();
    let config = |name: &str, more: &str| {
        let file = scene.path(name);
        let text = format!(
            "[ca]\nurl = {:?}\nfingerprint = {:?}\n[[certificate]]\nnames = [\"web.test\"]\n{more}\nenroll = {{ method = \"provisioner\", password_file = {:?} }}\n",
            scene.server.url(),
            scene.ca.fingerprint().hex(),
            scene.path("password"),
        );
        write(&file, text.as_bytes(), 0o600);
        Trustup::new(["config", "check", "--config"]).arg(file).env("HOME", "/none")
    };
    let pair = format!("cert = {:?}\nkey = {:?}", place.join("a.crt"), place.join("a.key"));
    cases.case(
        "strings and modes need quotes (`key_mode = \"0640\"`)",
        config("1.toml", &format!("{pair}\nkey_mode = 0640")),
        [config("2.toml", &format!("{pair}\nkey_mode = \"0640\""))],
    );
    cases.case(
        "paths in this file are relative to nothing",
        config("3.toml", "cert = \"a.crt\"\nkey = \"a.key\""),
        [config("4.toml", &pair)],
    );
    let same = format!("{pair}\n[[certificate]]\nnames = [\"b.test\"]\n{pair}");
    cases.case("a file of its own", config("5.toml", &same), [config("6.toml", &pair)]);
    cases.case(
        "is it mounted? `--config` and TRUSTUP_CONFIG name it",
        Trustup::new(["config", "check", "--config", "/nowhere/trustup.toml"]),
        [
            Trustup::new(["config", "check", "--config"]).arg(scene.path("6.toml")),
            Trustup::new(["config", "check"]).env("TRUSTUP_CONFIG", scene.path("6.toml")),
        ],
    );
    cases.end();
}
