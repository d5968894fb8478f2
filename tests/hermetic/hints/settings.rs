//! Hints about where a setting comes from: the command line, variables, trustup.toml.

use std::fs;
use std::iter::once_with;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::cases::Cases;
use crate::support::enrollment::{Scene, write};
use crate::support::run::{Run, Trustup, unpacked};
use crate::support::{binary, ca};

#[test]
fn the_command_line_and_variables_say_what_to_correct() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let root = unpacked("debian-12-minimal");
    let given = tempfile::tempdir().unwrap();
    let own = ca::root("Settings Hint Root");
    let file = own.write(given.path(), "root.pem");
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    Trustup::at(root.path(), ["bootstrap", "--ca-file"]).arg(&file).ok();
    let env = |args: &[&str]| Trustup::at(root.path(), ["env"]).args(args);
    cases.case(
        "omit one of them",
        env(&["--json", "--format", "sh"]),
        [env(&["--json"]), env(&["--format", "sh"])],
    );
    let (crt, key) = (scene.path("server.crt"), scene.path("server.key"));
    let enroll = |before: &[&str], after: &[&str]| {
        let run = Trustup::new(["--timeout", "20s", "enroll"]).args(before).args(["provisioner", "web.test"]);
        let run = run.args(["--fingerprint", &pin, "--password-file"]).arg(scene.path("password"));
        run.arg("--cert").arg(&crt).arg("--key").arg(&key).args(after).env("HOME", "/none")
    };
    let (ca, other) = (["--ca-url", &url], ["--ca-url", "https://127.0.0.1:1"]);
    cases.case("hint: give it once", enroll(&other, &ca), [enroll(&[], &ca), enroll(&ca, &[])]);

    let bootstrap = || Trustup::at(root.path(), ["--dry-run", "bootstrap"]);
    let by_file = || bootstrap().env("TRUSTUP_CA_FILE", &file);
    cases.case(
        "give the build argument (`--build-arg TRUSTUP_FINGERPRINT=…`), or unset the variable",
        by_file().env("TRUSTUP_FINGERPRINT", ""),
        [by_file().env("TRUSTUP_FINGERPRINT", own.pin()), by_file()],
    );
    let by_url = |url: &str| bootstrap().env("TRUSTUP_CA_URL", url).env("TRUSTUP_FINGERPRINT", &pin);
    cases.case(
        "=…`), or the variable at run time (`docker run -e TRUSTUP_CA_URL=…`)",
        by_url(""),
        [by_url(&url)],
    );
    let output = given.path().join("output");
    let detect = |redirection: &str| Trustup::at(root.path(), ["detect"]).redirected(redirection);
    cases.case(
        "redirect standard output to a file or device that can be written and has room",
        detect(">/dev/full"),
        [detect(&format!(">'{}'", output.display()))],
    );
    cases.end();
    assert!(fs::read_to_string(output).unwrap().contains("debian"), "the report is in the file");
}

/// A trustup.toml with one fault, and without.
#[test]
fn the_file_says_what_to_correct() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let root = unpacked("debian-12-minimal");
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let with = |name: &str, text: &str| {
        write(&scene.path(name), text.as_bytes(), 0o600);
        Trustup::at(root.path(), ["--dry-run", "bootstrap", "--config"]).arg(scene.path(name))
    };
    let pinned = format!("fingerprint = {pin:?}");
    let by_variable = || with("variable.toml", &format!("[ca]\nurl = \"${{HINT_URL}}\"\n{pinned}\n"));
    let by_value = with("value.toml", &format!("[ca]\nurl = {url:?}\n{pinned}\n"));
    cases.case(
        "set the variable for this process, or write the value itself",
        by_variable(),
        [by_variable().env("HINT_URL", &url), by_value],
    );
    let file = scene.path("fingerprint");
    let by_file = || with("file.toml", &format!("[ca]\nurl = {url:?}\nfingerprint_file = {file:?}\n"));
    let written = once_with(|| {
        write(&file, pin.as_bytes(), 0o600);
        by_file()
    });
    cases.case("`ca.fingerprint_file` names it", by_file(), written);
    let names = ca::root("Named Hint Root").write(scene.directory.path(), "root.pem");
    let named = |name: &str| with("name.toml", &format!("[trust]\nca_file = [{names:?}]\nname = {name:?}\n"));
    let wrong = named("../x").run();
    wrong.says([&*format!("that is set at {}:3", scene.path("name.toml").display())]);
    // What is written at line 3 is corrected.
    named("x").ok();
    cases.end();
}

/// The command in the hint is complete: it names the same file, and what accepts it.
#[test]
fn config_check_shows_the_rest() {
    let scene = Scene::new();
    let root = unpacked("debian-12-minimal");
    let place = scene.path("with space");
    fs::create_dir(&place).unwrap();
    let file = place.join("trustup.toml");
    let names = ca::root("Checked Hint Root").write(scene.directory.path(), "root.pem");
    let bootstrap = |text: &str| {
        write(&file, text.as_bytes(), 0o600);
        let run = Trustup::at(root.path(), ["--dry-run", "bootstrap", "--config"]).arg(&file);
        run.arg("--allow-shared-config")
    };
    let check = |run: &Run| {
        // A warning has it in its line.
        let command = run.stderr.split('`').find(|one| one.starts_with("trustup config check"));
        let command = command.unwrap_or_else(|| panic!("no command: {run}"));
        let script = format!("exec \"$0\" {}", command.strip_prefix("trustup ").unwrap());
        let mut shell = Command::new("/bin/sh");
        binary::clear(&mut shell);
        Trustup::from(shell).args(["-c", &script]).arg(binary::trustup()).run()
    };
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    let good = format!("[trust]\nca_file = [{names:?}]\n");

    let refused = bootstrap(&format!("{good}unheard-of = 1\nunknown-as-well = 2\n")).fails(2);
    refused.says(["` lists this and 1 more"]);
    let listed = check(&refused);
    assert_eq!(listed.code, Some(2), "{listed}");
    listed.says(["trust.unheard-of", "trust.unknown-as-well"]);
    let refused = bootstrap(&format!("{good}unheard-of = 1\n")).fails(2);
    refused.says(["` looks at the whole file"]);
    let listed = check(&refused);
    assert_eq!(listed.code, Some(2), "{listed}");
    listed.says(["trust.unheard-of"]);
    // The warning of `status`, which needs a root of its own to come to it.
    let private = |args: &[&str]| Trustup::new(["--private-dir"]).arg(scene.path("private")).args(args);
    private(&["bootstrap", "--stores", "private", "--ca-file"]).arg(&names).ok();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let warned = private(&["status", "--config"]).arg(&file).ok();
    warned.says(["lists all errors"]);
    let listed = check(&warned);
    assert_eq!(listed.code, Some(2), "{listed}");
    listed.says(["trust.unheard-of"]);
    bootstrap(&good).ok();
    assert_eq!(check(&refused).code, Some(0));
}

/// A directory that others can write, as on a laptop.
#[test]
fn a_shared_directory_is_accepted_on_the_command_line() {
    let mut cases = Cases::default();
    let root = unpacked("debian-12-minimal");
    let place = tempfile::tempdir().unwrap();
    let names = ca::root("Shared Hint Root").write(place.path(), "root.pem");
    let shared = place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let file: &Path = &shared.join("trustup.toml");
    write(file, format!("[trust]\nca_file = [{names:?}]\n").as_bytes(), 0o644);
    let run = || Trustup::at(root.path(), ["--dry-run", "bootstrap", "--config"]).arg(file);
    cases.case(
        "such as in a directory of your laptop: `--allow-shared-config` on the command line",
        run(),
        [run().arg("--allow-shared-config")],
    );
    cases.end();
}

/// One of two certificates cannot be obtained: the hint says which, so that its entry can be corrected.
#[test]
fn an_error_about_one_certificate_of_several_names_it() {
    let scene = Scene::new();
    let path = |name: &str| scene.path(name).display().to_string();
    let entry = |name: &str| {
        format!(
            "[[certificate]]\nnames = [\"{name}.test\"]\ncert = {:?}\nkey = {:?}\nenroll = {{ method = \"provisioner\", password_file = {:?} }}\n",
            path(&format!("{name}.crt")),
            path(&format!("{name}.key")),
            path(&format!("password-{name}")),
        )
    };
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let text = format!("[ca]\nurl = {url:?}\nfingerprint = {pin:?}\n{}{}", entry("one"), entry("two"));
    write(&scene.path("trustup.toml"), text.as_bytes(), 0o600);
    fs::copy(scene.path("password"), scene.path("password-one")).unwrap();
    let run = || {
        let run = Trustup::new(["--timeout", "20s", "enroll", "--config"]).arg(scene.path("trustup.toml"));
        run.env("HOME", "/none").run()
    };
    let failed = run();
    assert_ne!(failed.code, Some(0), "{failed}");
    failed.says([&*format!("hint: that is about `{}`", path("two.crt"))]);
    fs::copy(scene.path("password"), scene.path("password-two")).unwrap();
    let followed = run();
    assert_eq!(followed.code, Some(0), "{followed}");
}
