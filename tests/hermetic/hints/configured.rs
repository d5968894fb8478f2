//! What trustup.toml, variables and the command line ask for together: each hint is followed as it is printed.

use std::iter::once_with;

use super::cases::Cases;
use super::methods::{ca_of, make_token, plain, text};
use crate::support::enrollment::{Scene, write};
use crate::support::run::Trustup;

/// `[ca]` of the scene's CA.
fn of_ca(scene: &Scene) -> String {
    format!("[ca]\nurl = {:?}\nfingerprint = {:?}\n", scene.server.url(), scene.ca.fingerprint().hex())
}

/// A `[[certificate]]` for `NAME.test` in `NAME.crt` and `NAME.key`.
fn certificate(scene: &Scene, name: &str, enroll: &str) -> String {
    let [crt, key] = ["crt", "key"].map(|end| scene.path(&format!("{name}.{end}")));
    format!("[[certificate]]\nnames = [\"{name}.test\"]\ncert = {crt:?}\nkey = {key:?}\nenroll = {enroll}\n")
}

fn by_password(scene: &Scene) -> String {
    format!("{{ method = \"provisioner\", password_file = {:?} }}", scene.path("password"))
}

/// The file `trustup.toml` of the scene.
fn file(scene: &Scene, content: &str) -> String {
    let file = scene.path("trustup.toml");
    write(&file, content.as_bytes(), 0o600);
    text(file)
}

fn run(scene: &Scene, args: &[&str]) -> Trustup {
    Trustup::new(["--timeout", "20s"]).args(args).env("HOME", scene.directory.path())
}

#[test]
fn the_command_line_beside_the_file() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let whole = of_ca(&scene) + &certificate(&scene, "web", &by_password(&scene));
    let config = file(&scene, &whole);
    let enroll = |args: &[&str]| run(&scene, &["enroll"]).args(args).args(["--config", &config]);
    let password = text(scene.path("password"));
    let [crt, key] = ["server.crt", "server.key"].map(|name| text(scene.path(name)));
    let pair = ["--cert", &*crt, "--key", &*key];
    let described = |args: &[&str]| enroll(args).args(["--password-file", &password]);

    cases.case(
        &format!("omit the names to get all of them; `trustup config check --config {config}` lists them"),
        enroll(&["any", "other.test"]),
        [enroll(&[]), enroll(&["any", "web.test"])],
    );
    // That is where the name is listed.
    run(&scene, &["config", "check", "--config", &config]).ok();
    let listed = run(&scene, &["config", "check", "--config", &config]).ok();
    assert!(format!("{}{}", listed.stdout, listed.stderr).contains("web.test"), "{listed}");
    cases.case(
        "the certificates of trustup.toml are for `trustup enroll` without a method, or `trustup enroll any NAME…`",
        described(&["provisioner", "web.test"]),
        [enroll(&[]), enroll(&["any", "web.test"]), described(&["provisioner", "web.test"]).args(pair)],
    );
    cases.case(
        "it is for `provisioner`: `trustup enroll provisioner NAME… --cert FILE --key FILE`; without a method, trustup.toml has all settings",
        described(&[]),
        [described(&["provisioner", "web.test"]).args(pair), enroll(&[])],
    );
    let token = make_token(&scene, "token");
    cases.case(
        "it is for `token`: omit it, or choose another method",
        described(&["provisioner", "web.test", "--token-file", &token]).args(pair),
        [
            described(&["provisioner", "web.test"]).args(pair),
            enroll(&["token", "--force", "--token-file", &token]).args(pair),
        ],
    );
    let of_variables = |args: &[&str]| {
        run(&scene, &["enroll"]).args(args).env("TRUSTUP_CERT", &crt).env("TRUSTUP_KEY", &key)
    };
    cases.case(
        "`trustup enroll token|provisioner|x5c|acme NAME…`; without a method, trustup.toml has all settings",
        of_variables(&["--config", &config]),
        [
            of_variables(&["provisioner", "web.test", "--password-file", &password]).args(ca_of(&scene)),
            enroll(&[]),
        ],
    );
    let token = make_token(&scene, "token");
    let with_token = || enroll(&["--token-file", &token]);
    cases.case(
        "`trustup enroll token --cert FILE --key FILE` takes it; in trustup.toml it is `method = \"token\"`",
        with_token(),
        std::iter::once(enroll(&["token", "--force", "--token-file", &token]).args(pair)).chain(once_with(
            || {
                make_token(&scene, "token");
                file(
                    &scene,
                    &(of_ca(&scene)
                        + &certificate(&scene, "new", "{ method = \"token\" }")
                            .replace("new.test", "web.test")),
                );
                with_token()
            },
        )),
    );
    let nothing = file(&scene, &of_ca(&scene));
    let bare = || run(&scene, &["enroll", "--config", &nothing]);
    cases.case(
        &format!(
            "name a method (`trustup enroll token|provisioner|x5c|acme NAME… --cert FILE --key FILE`), or write a `[[certificate]]` into `{nothing}`"
        ),
        bare(),
        std::iter::once(described(&["provisioner", "web.test"]).args(pair)).chain(once_with(|| {
            file(&scene, &whole);
            bare()
        })),
    );
    cases.case(
        "for example `--cert /run/tls/server.crt --key /run/tls/server.key`",
        plain_at(&scene, &["--cert", "/run/tls/../server.crt", "--key", "/run/tls/server.key"]),
        [plain_at(&scene, &["--cert", "/run/tls/server.crt", "--key", "/run/tls/server.key"])],
    );
    cases.end();
}

/// A dry run, since the paths of a hint are those of a container.
fn plain_at(scene: &Scene, pair: &[&str]) -> Trustup {
    let run = run(scene, &["--dry-run", "enroll", "provisioner", "web.test", "--password-file"]);
    run.arg(scene.path("password")).args(ca_of(scene)).args(pair)
}

#[test]
fn the_methods_of_the_file() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let config = text(scene.path("trustup.toml"));
    let with = |command: &[&str], enroll: &str| {
        file(&scene, &(of_ca(&scene) + &certificate(&scene, "web", enroll)));
        run(&scene, command).args(["--config", &config])
    };
    let secret = text(scene.path("missing"));
    let missing = format!("{{ method = \"provisioner\", password_file = {secret:?} }}");
    cases.case(
        "`certificate.enroll.password_file` names it",
        with(&["config", "check"], &missing),
        once_with(|| with(&["config", "check"], &by_password(&scene))),
    );
    let eab =
        |more: &str| format!("{{ method = \"acme\", directory = \"https://acme.test/directory\"{more} }}");
    let password = text(scene.path("password"));
    cases.case(
        "give all of them, or none",
        with(&["config", "check"], &eab(", eab_kid = \"1\"")),
        [eab(""), eab(&format!(", eab_kid = \"1\", eab_hmac_key_file = {password:?}"))]
            .iter()
            .map(|enroll| with(&["config", "check"], enroll)),
    );
    let token = text(scene.path("token"));
    let both = |password: &str| {
        format!(
            "[{{ method = \"token\", token_file = {token:?} }}, {{ method = \"provisioner\", password_file = {password:?} }}]"
        )
    };
    cases.case(
        "`provisioner` was tried as well: could not read the provisioner's password",
        with(&["enroll"], &both(&secret)),
        once_with(|| with(&["enroll"], &both(&password))),
    );
    cases.end();
}

/// Published images configure themselves by variables.
#[test]
fn the_variables_of_published_images() {
    let scene = Scene::new();
    let mut cases = Cases::default();
    let (url, pin) = (scene.server.url(), scene.ca.fingerprint().hex());
    let by_url = |value: &str| {
        let run = plain(&scene, "provisioner", &["web.test", "--password-file"]).env("CA_URL", value);
        run.arg(scene.path("password"))
    };
    by_url("").fails(2).says(["`CA_URL` is set, and empty, which counts as unset", "the CA is not given"]);
    by_url(&url).env("CA_FINGERPRINT", &pin).ok();

    let token = |names: &[&str]| {
        let run = Trustup::new(["token", names[0], "--san", &names.join(",")]).args(ca_of(&scene));
        let run = run.arg("--password-file").arg(scene.path("password")).env("HOME", "/none");
        run.ok().stdout
    };
    let published = |domains: &str, token: &str| {
        let run = run(&scene, &["--dry-run", "enroll"]).env("CA_URL", &url).env("CA_FINGERPRINT", &pin);
        run.env("TLS_DOMAINS", domains).env("CA_TOKEN", token)
    };
    let own = token(&["web.test"]);
    let pair = |run: Trustup| {
        run.env("TLS_CERT_LOCATION", "/run/tls/server.crt").env("TLS_KEY_LOCATION", "/run/tls/server.key")
    };
    cases.case(
        "set it to a path, such as `TLS_CERT_LOCATION=/run/tls/server.crt`",
        published("web.test", &own).env("TLS_KEY_LOCATION", "/run/tls/server.key"),
        [pair(published("web.test", &own))],
    );
    cases.case(
        "set it to a path, such as `TLS_KEY_LOCATION=/run/tls/server.key`",
        published("web.test", &own).env("TLS_CERT_LOCATION", "/run/tls/server.crt"),
        [pair(published("web.test", &own))],
    );
    cases.case(
        "such as `TLS_DOMAINS=db.internal,10.0.0.5`",
        pair(published(", ,", &own)),
        [pair(published("db.internal,10.0.0.5", &token(&["db.internal", "10.0.0.5"])))],
    );
    cases.end();
}
