//! trustup.toml through the binary: `config check`, who may have written the file (threat T23), what bootstrap takes of
//! it (threat T1).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::cli::Scene;
use crate::support::binary;
use crate::support::ca;
use crate::support::run::Trustup;

const SECRET: &str = "hunter2-correct-horse";
const PAIR: &str = "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\n";

fn check(file: &Path) -> Trustup {
    Trustup::new(["config", "check", "--config"]).arg(file)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file that is right as it stands.
fn right(directory: &Path) -> PathBuf {
    let path = directory.join("trustup.toml");
    let hook = "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\nenroll = {method = \"acme\", dns_hook = [\"/bin/hook\"]}\n";
    fs::write(&path, hook).unwrap();
    mode(&path, 0o644);
    path
}

#[test]
fn check_says_what_it_would_do_and_all_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = right(directory.path());
    let run = check(&file).ok();
    assert!(run.stdout.contains("a.test: /c and /k, by acme") && run.stderr.is_empty(), "{run}");
    let json = check(&file).arg("--json").ok().json();
    assert_eq!(
        (&json["ok"], &json["certificates"][0]["methods"][0]),
        (&true.into(), &"acme".into()),
        "{json}"
    );
    // Named by the variable.
    Trustup::new(["config", "check"]).env("TRUSTUP_CONFIG", &file).ok();

    fs::write(
        &file,
        "[ca]\nurll = \"x\"\n[[certificate]]\nnames = [\"${NAME}\", \"bad name\"]\ncert = \"c\"\nkey = \"/k\"\n[[certificate.enroll]]\nmethod = \"token\"\ntoken_file = \"/nowhere/token\"\n[[certificate.enroll]]\nmethod = \"provisioner\"\npassword = \"${NOPE}\"\n",
    )
    .unwrap();
    let place = file.display().to_string();
    let run = check(&file).env("NAME", "a.test").fails(2);
    let wanted = [
        "unknown key `ca.urll`",
        "did you mean `url`?",
        "`certificate.names` should be a host name",
        "`certificate.cert` should be an absolute path",
        "could not read `certificate.enroll.token`: `/nowhere/token`",
        "no such file",
        "`certificate.enroll.token_file` names it",
        "`certificate.enroll.password` is not there",
        "the variable `NOPE` is not set",
    ];
    run.says(wanted).says([format!("{place}:2").as_str(), &format!("{place}:12")]);
    let json = check(&file).arg("--json").fails(2).json();
    assert_eq!((&json["ok"], json["problems"].as_array().map(Vec::len)), (&false.into(), Some(6)), "{json}");
    assert_eq!(json["problems"][0]["exit_code"], 2);
}

#[test]
fn a_variable_may_have_a_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trustup.toml");
    let with = |names: &str| {
        let text = format!(
            "[[certificate]]\nnames = [\"{names}\"]\ncert = \"/c\"\nkey = \"/k\"\ntimeout = \"${{PATIENCE:-2m}}\"\nenroll = {{method = \"acme\"}}\n"
        );
        fs::write(&file, text).unwrap();
        mode(&file, 0o600);
        check(&file)
    };
    for value in [None, Some(""), Some("b.test")] {
        let set = |run: Trustup| value.into_iter().fold(run, |run, value| run.env("NAME", value));
        // As it is in the file, whatever the variable says.
        let run = set(with("${NAME:-a.test}")).ok();
        assert!(run.stdout.contains("${NAME:-a.test}: /c") && !run.stdout.contains("b.test"), "{run}");
        match value {
            Some("b.test") => set(with("${NAME:-bad name}")).ok(),
            _ => set(with("${NAME:-bad name}")).fails(2),
        };
    }
    with("${NAME:-a.test}").env("PATIENCE", "soon").fails(2).says(["certificate.timeout", "a duration"]);
    for (names, words) in [
        ("${NAME-a.test}", "write `${NAME:-default}`"),
        ("${NAME:?no name}", "write `${NAME}`"),
        ("${NAME:-${OTHER}}", "without variables"),
        ("${NAME:-a.test", "never closed"),
        ("${NAME:-}", "certificate.names"),
    ] {
        with(names).fails(2).says([words, &format!("{}:2", file.display())]);
    }
}

/// As enroll does: what one method lacks is no error where another one has all that it needs.
#[test]
fn a_secret_that_is_gone_is_a_warning_beside_a_complete_method() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trustup.toml");
    let password = directory.path().join("password");
    fs::write(&password, SECRET).unwrap();
    mode(&password, 0o600);
    let with = |behind: &str| {
        let text = "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\n[[certificate.enroll]]\nmethod = \"token\"\ntoken_file = \"/nowhere/token\"\n[[certificate.enroll]]\n";
        fs::write(&file, format!("{text}{behind}")).unwrap();
        mode(&file, 0o600);
    };
    for behind in [
        format!("method = \"provisioner\"\npassword_file = {password:?}\n"),
        "method = \"acme\"\n".to_owned(),
        format!("method = \"x5c\"\nx5c_cert = {password:?}\nx5c_key = {password:?}\n"),
    ] {
        with(&behind);
        check(&file).ok().says(["warning", "/nowhere/token", "can be used now"]);
        let json = check(&file).arg("--json").ok().json();
        assert_eq!(
            (&json["ok"], json["warnings"].as_array().map(Vec::len)),
            (&true.into(), Some(1)),
            "{json}"
        );
    }
    for behind in [
        "method = \"provisioner\"\npassword_file = \"/nowhere/password\"\n",
        "method = \"x5c\"\nx5c_cert = \"/nowhere/crt\"\nx5c_key = \"/nowhere/key\"\n",
        "method = \"token\"\n",
    ] {
        with(behind);
        check(&file).fails(2).says(["error", "/nowhere/token"]);
    }
}

#[test]
fn a_named_file_has_to_be_there_and_be_a_small_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trustup.toml");
    check(&file).fails(2).says(["no such configuration file", "hint:"]);
    Trustup::new(["bootstrap"]).env("TRUSTUP_CONFIG", &file).fails(2).says(["no such configuration file"]);
    check(directory.path()).fails(2).says(["directory"]);
    fs::write(&file, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    check(&file).fails(1).says(["larger"]);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    check(&file).fails(2).says(["UTF-8"]);
    fs::remove_file(&file).unwrap();
    mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    check(&file).fails(2).says(["FIFO"]);
}

#[test]
fn t23_a_file_that_others_could_have_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let file = right(&inner);
    let refused = |what: &str| {
        for run in [check(&file), Trustup::new(["bootstrap", "--config"]).arg(&file)] {
            run.fails(2).says(["another user could have written this file", "hint:", what]);
        }
    };
    check(&file).ok();
    mode(&file, 0o666);
    refused("0666");
    mode(&file, 0o664);
    refused("0664");
    mode(&file, 0o600);
    mode(&inner, 0o777);
    refused("0777");
    // Sticky is enough only where root owns the directory.
    mode(&inner, 0o755);
    mode(directory.path(), 0o777);
    refused("0777");
    mode(directory.path(), 0o755);
    check(&file).ok();

    // A link counts with its own directory and with every one that it leads through.
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    symlink(&file, open.join("second")).unwrap();
    symlink(open.join("second"), inner.join("first")).unwrap();
    check(&inner.join("first")).ok();
    mode(&open, 0o777);
    check(&open.join("second")).fails(2).says(["0777"]);
    check(&inner.join("first")).fails(2).says(["0777"]);

    // A file that fills a value is held to the same.
    let pin = inner.join("pin");
    fs::write(&pin, "00".repeat(32)).unwrap();
    mode(&pin, 0o666);
    fs::write(&file, format!("[ca]\nfingerprint_file = \"{}\"\n", pin.display())).unwrap();
    check(&file).fails(2).says(["another user could have written", "0666", "`ca.fingerprint_file` names it"]);
    mode(&pin, 0o644);
    check(&file).ok();
    // PowerShell's redirection writes UTF-16; `iconv` is followed by what it would write.
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain("00".repeat(32).encode_utf16()).flat_map(u16::to_le_bytes).collect();
    fs::write(&pin, wide).unwrap();
    check(&file).fails(2).says(["text in UTF-16", "pin", "`iconv -f UTF-16 -t UTF-8 FILE >NEW` converts it"]);
    fs::write(&pin, "00".repeat(32)).unwrap();
    check(&file).ok();

    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1001), None).unwrap();
        refused("belongs to user 1001");
    }
}

#[test]
fn t23_the_current_directory_is_never_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let root = ca::root("Root Of A Stranger").write(directory.path(), "root.pem");
    fs::create_dir_all(directory.path().join("etc/trustup")).unwrap();
    for name in ["trustup.toml", ".trustup.toml", "etc/trustup/trustup.toml"] {
        fs::write(directory.path().join(name), format!("[ca]\nroot = \"{}\"\n", root.display())).unwrap();
    }
    let scene = Scene::new("debian-12");
    let mut command = binary::command();
    command.current_dir(directory.path()).arg("--sysroot").arg(scene.root.path());
    let run = Trustup::through(command, ["bootstrap"]);
    scene.refuses(run, 2, ["no source of certificates is given"]);
    // Nor is what lies in a foreign root file system.
    fs::create_dir_all(scene.root.path().join("etc/trustup")).unwrap();
    fs::copy(directory.path().join("trustup.toml"), scene.root.path().join("etc/trustup/trustup.toml"))
        .unwrap();
    scene.trustup(["bootstrap"]).fails(2).says(["no source of certificates is given"]);
}

/// T1: command line before environment before file; who names a source names all of them.
#[test]
fn bootstrap_takes_what_nobody_else_says() {
    let scene = Scene::new("debian-12");
    let other = ca::root("Root Of The File");
    let other_file = other.write(scene.given.path(), "other.pem");
    let config = scene.put(
        "trustup.toml",
        format!(
            "[ca]\nurl = \"https://127.0.0.1:1\"\nroot = \"{}\"\nfingerprint = \"${{PIN}}\"\n[trust]\nname = \"corp\"\nstores = [\"system\"]\n[[certificate]]\nnames = \"${{NOPE}}\"\n",
            other_file.display()
        ),
    );
    let pin = other.pin();
    let bundle = |scene: &Scene| {
        ca::fingerprint_set(
            &fs::read_to_string(scene.root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap(),
        )
    };
    let anchor = "usr/local/share/ca-certificates/corp.crt";

    // The file alone; what its certificates lack does not matter here.
    let alone = Scene::new("debian-12");
    alone.trustup(["bootstrap", "--config"]).arg(&config).env("PIN", &pin).ok();
    assert!(bundle(&alone).contains(&other.fingerprint) && alone.root.path().join(anchor).exists());
    // Its pin counts.
    let wrong = Scene::new("debian-12");
    let run = wrong.trustup(["bootstrap", "--config"]).arg(&config).env("PIN", scene.ca.pin());
    wrong.refuses(run, 4, [pin.as_str()]);
    // An empty one is none.
    let run = wrong.trustup(["bootstrap", "--config"]).arg(&config).env("PIN", "");
    wrong.refuses(run, 2, ["`PIN` is set, and empty"]);

    // The command line, or a variable, names a source: none of the file's is taken, its other settings are.
    let file = scene.file("root.pem");
    for published in [None, Some("TRUSTUP_CA_FILE")] {
        let scene = Scene::new("debian-12");
        let run = match published {
            None => scene.with_file(&file),
            Some(name) => scene.trustup(["bootstrap"]).env(name, &file),
        };
        let run = run.env("TRUSTUP_CONFIG", &config).env("PIN", &pin).ok();
        run.says(["ignored, since the command line or the environment names a source", "trustup.toml"]);
        let held = bundle(&scene);
        assert!(!held.contains(&other.fingerprint), "{run}");
        assert!(scene.root.path().join(anchor).exists(), "{run}");
    }
    let run = wrong.trustup(["bootstrap"]).env("CA_FINGERPRINT", &pin).env("TRUSTUP_CONFIG", &config);
    wrong.refuses(run.env("PIN", &pin), 2, ["no source of certificates is given"]);

    // Options one by one: command line before environment before file.
    let run = scene.trustup(["bootstrap", "--config"]).arg(&config).env("PIN", &pin);
    run.env("TRUSTUP_NAME", "of-variable").args(["--name", "of-line"]).ok();
    assert!(scene.root.path().join("usr/local/share/ca-certificates/of-line.crt").exists());
}

#[test]
fn a_step_ca_of_the_file_needs_its_pin() {
    let scene = Scene::new("debian-12");
    let config = scene.put(
        "trustup.toml",
        "[ca]\nurl = \"https://127.0.0.1:1\"\n[trust]\nbundle_url = \"https://127.0.0.1:1/b.pem\"\n",
    );
    let run = scene.trustup(["bootstrap", "--config"]).arg(&config);
    scene.refuses(run, 2, ["`ca.url` needs a fingerprint"]);
    check(&config).fails(2).says(["`ca.url` needs a fingerprint", "trustup.toml:2"]);
    // Enroll may know the root from an earlier bootstrap.
    let config = scene.put(
        "trustup.toml",
        format!("[ca]\nurl = \"https://127.0.0.1:1\"\n{PAIR}enroll = {{method = \"acme\"}}\n"),
    );
    check(&config).ok().says(["bootstrap would refuse this: `ca.url` needs a fingerprint"]);
}

/// T23: whatever is filled in is shown nowhere, when all is well and when it is not.
#[test]
fn t23_what_was_filled_in_is_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret_file = directory.path().join("secret");
    fs::write(&secret_file, format!("{SECRET}\n")).unwrap();
    let file = directory.path().join("trustup.toml");
    let keys = [
        "[ca]\nurl = VALUE",
        "[ca]\nfingerprint = VALUE",
        "[ca]\nroot = VALUE",
        "[ca]\nprovisioner = VALUE",
        "[trust]\nstores = VALUE",
        "[trust]\nca_file = VALUE",
        "[trust]\nbundle_url = VALUE",
        "[trust]\nstrict = VALUE",
        "[[certificate]]\nnames = [VALUE]\ncert = \"/c\"\nkey = \"/k\"\nenroll = {method = \"token\", token = VALUE}",
        "[[certificate]]\nnames = [\"${X}.test\"]\ncert = \"/c/${X}\"\nkey = \"/k/${X}\"\nowner = VALUE\nenroll = {method = \"token\", token = VALUE}",
        "[[certificate]]\nnames = [\"a b\"]\ncert = VALUE\nkey = VALUE\nkey_mode = VALUE\nlayout = VALUE\nkey_type = VALUE\ntimeout = VALUE\nenroll = {method = VALUE}",
        "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\nenroll = {method = \"acme\", directory = VALUE, challenge = VALUE, http_listen = VALUE, webroot = VALUE, dns_hook = VALUE, eab_kid = VALUE, eab_hmac_key = VALUE, agree_tos = VALUE, rfc2136 = {server = VALUE, zone = VALUE, key_name = VALUE, algorithm = VALUE, secret = VALUE}}",
    ];
    let from_variable = ["\"${X}\"", "\"x-${X}\""].map(str::to_owned);
    for keys in keys {
        for value in &from_variable {
            fs::write(&file, keys.replace("VALUE", value)).unwrap();
            for run in [
                check(&file).env("X", SECRET).run(),
                check(&file).arg("--json").env("X", SECRET).run(),
                Trustup::new(["bootstrap", "--dry-run", "--stores", "none", "--config"])
                    .arg(&file)
                    .env("X", SECRET)
                    .env("CA_FINGERPRINT", "x")
                    .run(),
            ] {
                assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{keys}\n{run}");
            }
        }
    }
    // From a file.
    let text = format!(
        "[ca]\nfingerprint_file = \"{0}\"\n[[certificate]]\nnames_file = \"{0}\"\ncert = \"/c\"\nkey = \"/k\"\nowner_file = \"{0}\"\nenroll = {{method = \"provisioner\", password_file = \"{0}\"}}\n",
        secret_file.display()
    );
    fs::write(&file, text).unwrap();
    for run in [check(&file).fails(2), check(&file).arg("--json").fails(2)] {
        assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{run}");
    }
}

/// Nor when it is used: whatever key an error is about, and whichever part of the program finds it.
#[test]
fn t23_no_error_of_a_run_shows_what_was_filled_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trustup.toml");
    let ca = ca::root("Fill Root").write(directory.path(), "root.pem");
    // A server that speaks no TLS, and says what it got.
    let pair = "cert = \"/nowhere/c\"\nkey = \"/nowhere/k\"";
    let names = "names = [\"a.test\"]";
    let acme = |keys: &str| {
        format!(
            "enroll = {{method = \"acme\", directory = \"https://127.0.0.1:1/\", agree_tos = true, {keys}}}"
        )
    };
    let token = "enroll = {method = \"token\", token = \"x.y.z\"}";
    let ca_url = "url = \"https://127.0.0.1:1\"";
    let cases = [
        (ca_url.to_owned(), format!("{names}\n{pair}\nowner = VALUE\n{token}")),
        (ca_url.to_owned(), format!("{names}\n{pair}\nowner = \"root:${{X}}\"\n{token}")),
        (ca_url.to_owned(), format!("{names}\n{pair}\nowner_file = \"FILE\"\n{token}")),
        (
            ca_url.to_owned(),
            format!("{names}\n{pair}\n{}", acme("webroot = \"/w\", contact = [VALUE, \"a b\"]")),
        ),
        (
            ca_url.to_owned(),
            format!("{names}\n{pair}\n{}", acme("webroot = \"/w\", contact = \"mailto:${X} x\"")),
        ),
        (ca_url.to_owned(), format!("{names}\n{pair}\n{}", acme("webroot = \"/w/${X}\""))),
        (ca_url.to_owned(), format!("{names}\n{pair}\n{}", acme("dns_hook = [\"/hooks/${X}\", VALUE]"))),
        (
            ca_url.to_owned(),
            format!(
                "{names}\n{pair}\n{}",
                acme("webroot = \"/w\", profile = VALUE, account_key = \"/k/${X}\"")
            ),
        ),
        (
            ca_url.to_owned(),
            format!(
                "{names}\n{pair}\n{}",
                acme("rfc2136 = {server = VALUE, zone = VALUE, key_name = VALUE, secret = \"c2VjcmV0\"}")
            ),
        ),
        (ca_url.to_owned(), format!("names = [\"${{X}}.test\"]\n{pair}\n{token}")),
        (
            ca_url.to_owned(),
            format!("{names}\ncert = \"/nowhere/${{X}}/c\"\nkey = \"/nowhere/${{X}}/k\"\n{token}"),
        ),
        (ca_url.to_owned(), format!("{names}\ncert = \"/dev/${{X}}\"\nkey = \"/nowhere/k\"\n{token}")),
        (ca_url.to_owned(), format!("{names}\n{pair}\nca_out = \"/proc/${{X}}\"\n{token}")),
        (ca_url.to_owned(), format!("{names}\n{pair}\nissuer_root = \"/nowhere/${{X}}\"\n{token}")),
        (
            ca_url.to_owned(),
            format!(
                "{names}\n{pair}\nenroll = {{method = \"x5c\", x5c_cert = \"/nowhere/${{X}}\", x5c_key = \"/nowhere/k\"}}"
            ),
        ),
        (
            ca_url.to_owned(),
            format!(
                "{names}\n{pair}\nenroll = {{method = \"provisioner\", provisioner = VALUE, password_file = \"/nowhere/${{X}}\"}}"
            ),
        ),
        ("url = \"https://${X}.invalid\"".to_owned(), format!("{names}\n{pair}\n{token}")),
        (
            "url = \"https://127.0.0.1:1\"\nroot = \"/nowhere/${X}\"".to_owned(),
            format!("{names}\n{pair}\n{token}"),
        ),
    ];
    let secret_file = directory.path().join("secret");
    fs::write(&secret_file, format!("{SECRET}\n")).unwrap();
    let nowhere = directory.path().join("nowhere");
    // As a value is, and in the case that a host name gets.
    for secret in [SECRET, "Hunter2-Mixed-Case"] {
        for (ca_keys, certificate) in &cases {
            let pin = if ca_keys.contains("root =") {
                String::new()
            } else {
                format!("root = \"{}\"\n", ca.display())
            };
            let text = format!("[ca]\n{ca_keys}\n{pin}[[certificate]]\n{certificate}\n");
            let text = text.replace("VALUE", "\"${X}\"").replace("FILE", secret_file.to_str().unwrap());
            let text = text.replace("/nowhere", nowhere.to_str().unwrap());
            fs::write(&file, &text).unwrap();
            for json in [false, true] {
                let run = Trustup::new(["--timeout", "3s", "enroll", "--config"]).arg(&file).env("X", secret);
                let run = if json { run.arg("--json") } else { run }.env("HOME", directory.path()).run();
                let said = format!("{}{}", run.stdout, run.stderr).to_lowercase();
                assert_ne!(run.code, Some(0), "{text}\n{run}");
                assert!(!said.contains("hunter2"), "{text}\n{run}");
            }
        }
    }
    assert!(!nowhere.exists());
}
