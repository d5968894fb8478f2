//! trustup.toml: what is read, and the errors that are reported. The tests of requests are with their builders.

use std::time::Duration;

use super::file::{Checked, parse};
use super::rows::*;
use super::*;
use crate::certificate::Layout;
use crate::certificate::issue::methods::table::{by_word, variants};
use crate::host::env::Env;
use crate::pki::cert::{NotAfter, SubjectAltName};
use crate::pki::key::KeyType;
use crate::rootfs::sharing::Sharing;
use crate::settings::secret::Secret;
use std::path::Path;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SECRET: &str = "hunter2-correct-horse";

fn env() -> Env {
    Env::fixed([("HOST", "web"), ("PIN", HEX), ("PASSWORD", SECRET), ("EMPTY", ""), ("YES", "true")], 0)
}

fn read(text: &str) -> Checked {
    parse(&env(), Path::new("/etc/trustup/trustup.toml"), text, (Scope::All, &variants()), Sharing::default())
}

#[track_caller]
fn good(text: &str) -> ConfigFile {
    let Checked { file, problems } = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    file
}

/// The problems, each with its line.
fn problems(text: &str) -> Vec<String> {
    let lines = |error: &Error| {
        let place = error.place().unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned();
        format!("{place}: {} {}", error.what(), error.hints().join(" "))
    };
    read(text).problems.iter().map(lines).collect()
}

/// A certificate whose other settings are `rest`.
fn certificate(rest: &str) -> String {
    format!("[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\n{rest}\n")
}

fn method(rest: &str) -> String {
    certificate(&format!("[certificate.enroll]\n{rest}"))
}

/// The values of an option in a layer, by the option's name.
fn shown(layer: &Layer, name: &str) -> Vec<String> {
    let rows = variants().iter().flat_map(|variant| variant.rows.to_vec()).collect::<Vec<_>>();
    let row = rows.into_iter().chain(ALL.iter().copied()).find(|row| row.spec().name == name);
    layer.shown(row.expect("an option")).to_vec()
}

/// The secret of an `enroll` table.
fn secret(table: &EntryTable) -> crate::error::Result<Secret> {
    let rows = by_word(table.word).expect("a method").rows;
    let found = rows.iter().find_map(|row| table.layer.source(*row));
    let (source, _) = found.expect("a secret");
    Secret::read(source, "it")
}

#[test]
fn an_empty_file_asks_for_nothing() {
    let config = good("# nothing\n");
    assert!(!config.names_sources() && config.certificates.is_empty());
}

#[test]
fn everything_that_can_be_said_arrives() {
    let text = format!(
        r#"
        [ca]
        url = "${{HOST}}.test:9000"
        fingerprint = ["{HEX}", "${{PIN}}"]
        provisioner = "ops"

        [[certificate]]
        names = ["${{HOST}}.test", "10.0.0.5", "a@b.test", "spiffe://x/y"]
        cert = "/run/tls/${{HOST}}.pem"
        key = "/run/tls/key.pem"
        chain = "/run/tls/chain.pem"
        ca_out = "/run/tls/ca.pem"
        key_type = "ec-p384"
        owner = "postgres:tls"
        cert_mode = "0640"
        key_mode = 0o600
        not_after = "24h"
        layout = "versioned"
        issuer_root = "/etc/root.pem"
        timeout = 90

        [[certificate.enroll]]
        method = "token"
        token_file = "/run/secrets/token"
        [[certificate.enroll]]
        method = "provisioner"
        provisioner = "dev"
        password = "x${{PASSWORD}}"
        [[certificate.enroll]]
        method = "x5c"
        x5c_cert = "/birth.pem"
        x5c_key = "/birth.key"
        [[certificate.enroll]]
        method = "acme"
        directory = "https://ca.test/dir"
        http_listen = ":8080"
        tls_listen = "[::1]:8443"
        webroot = "/srv/www"
        dns_hook = ["/bin/hook", "--zone", ""]
        "#
    );
    // An empty argument is an empty value.
    assert_eq!(read(&text).problems.len(), 1);
    let text = text.replace("\"--zone\", \"\"", "\"--zone\"")
        + r#"
        eab_kid = "kid"
        eab_hmac_key = "${PASSWORD}"
        account_key = "/var/account.key"
        contact = ["mailto:a@b.test"]
        agree_tos = "${YES}"
        profile = "short"
        preferred_chain = "Root X1"
        account_key_type = "rsa-2048"
        "#;
    let config = good(&text);
    assert_eq!(config.ca.values(&CA_URL), ["web.test:9000"]);
    assert_eq!(config.ca.values(&FINGERPRINT), [HEX.parse().unwrap(), HEX.parse().unwrap()]);
    let one = &config.certificates[0];
    let layer = &one.layer;
    assert_eq!(layer.values(&NAMES).len(), 4);
    assert_eq!(layer.values(&NAMES)[0], SubjectAltName::Dns("web.test".to_owned()));
    assert_eq!(layer.values(&CERT), [Path::new("/run/tls/web.pem")]);
    assert_eq!(layer.shown(&CERT), ["/run/tls/${HOST}.pem"]);
    assert_eq!((layer.values(&CERT_MODE), layer.values(&KEY_MODE)), (&[0o640][..], &[0o600][..]));
    assert_eq!(layer.values(&KEY_TYPE), [KeyType::EcP384]);
    assert_eq!(layer.values(&NOT_AFTER), [NotAfter::Duration(86_400)]);
    assert_eq!(layer.values(&LAYOUT), [Layout::Versioned]);
    assert_eq!(layer.values(&TIMEOUT), [Duration::from_secs(90)]);
    assert_eq!(one.place, "/etc/trustup/trustup.toml:7");
    let origin =
        Origin::File { place: "/etc/trustup/trustup.toml:9".to_owned(), key: "certificate.cert".to_owned() };
    assert_eq!(layer.entry(&CERT).map(|entry| &entry.origin), Some(&origin));
    let words: Vec<&str> = one.enroll.iter().map(|table| table.word).collect();
    assert_eq!(words, ["token", "provisioner", "x5c", "acme"]);
    assert_eq!(secret(&one.enroll[1]).unwrap().bytes(), format!("x{SECRET}").as_bytes());
    let acme = &one.enroll[3].layer;
    assert_eq!(shown(acme, "dns-hook"), ["/bin/hook", "--zone"]);
    assert_eq!(shown(acme, "eab-kid"), ["kid"]);
    assert_eq!(secret(&one.enroll[3]).unwrap().bytes(), SECRET.as_bytes());
    for name in [
        "agree-tos",
        "http-listen",
        "tls-listen",
        "webroot",
        "directory",
        "account-key",
        "contact",
        "profile",
        "preferred-chain",
        "account-key-type",
    ] {
        let row = by_word("acme").unwrap().rows.iter().find(|row| row.spec().name == name).unwrap();
        assert!(acme.entry(*row).is_some(), "{name}");
    }
    // T23: no secret is in any possible output.
    assert!(!format!("{config:?}").contains(SECRET), "{config:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let cases: &[(&str, &[&str])] = &[
        ("[cas]\nurl = 1", &["1: unknown key `cas` did you mean `ca`?"]),
        ("[ca]\nurl = 1", &["2: `ca.url` is a number, expected a string"]),
        ("[ca]\nurl = \"\"", &["2: `ca.url` is empty"]),
        ("[ca]\nurl = \"http://ca.test\"", &["2: `ca.url` should be the https address"]),
        ("[ca]\n\nurl = \"${NOPE}\"", &["3: `ca.url`: the variable `NOPE` is not set"]),
        ("[ca]\nfingerprint = \"\"", &["2: `ca.fingerprint` is empty"]),
        (
            "[ca]\nfingerprint = \"${EMPTY}\"",
            &["2: `ca.fingerprint`: the variable `EMPTY` is set, and empty"],
        ),
        ("[ca]\nfingerprint = \"abc\"", &["2: `ca.fingerprint` should be the 64 hex digits"]),
        ("[ca]\nfingerprint = []", &["2: `ca.fingerprint` is empty"]),
        ("[ca]\nfingerprnt = \"x\"", &["2: unknown key `ca.fingerprnt` did you mean `fingerprint`?"]),
        ("[ca]\nroot = \"root.pem\"", &["2: `ca.root` should be an absolute path"]),
        ("[ca]\nroot = \"/etc/../root.pem\"", &["2: `ca.root` should be an absolute path"]),
        ("[ca]\nroot_file = \"/root.pem\"", &["2: unknown key `ca.root_file` did you mean `root`?"]),
        ("[ca]\nprovisioner = \"a\\nb\"", &["2: `ca.provisioner` has a control character"]),
        ("ca = 3", &["1: `ca` is a number, expected a table"]),
        (
            "[trust]\nallow_expired = true",
            &["2: unknown key `trust.allow_expired` an option that loosens a check"],
        ),
        ("[trust]\nrepair = true", &["2: unknown key `trust.repair` `--repair` is for the command line"]),
        ("[trust]\nca_url = \"x\"", &["2: unknown key `trust.ca_url` it is `url` in `[ca]`"]),
        ("[trust]\nrequire_pin = 1", &["2: `trust.require_pin` is a number"]),
        ("[trust]\nrequire_pin = \"maybe\"", &["2: `trust.require_pin` should be `true` or `false`"]),
        ("[trust]\nstores = \"sytem\"", &["2: `trust.stores` is `sytem`, expected one of `system`"]),
        (
            "[trust]\nbundle_url = \"pki.test/x\"",
            &["2: `trust.bundle_url` should be an http or https address"],
        ),
        ("[certificate]", &["missing", "missing", "missing", "missing"]),
        (&method("method = \"tokne\""), &["6: `certificate.enroll.method` is `tokne`"]),
        (
            &method("method = \"token\"\npassword = \"x\""),
            &["7: unknown key `certificate.enroll.password` `password` belongs to the method `provisioner`"],
        ),
        (
            &method("method = \"acme\"\ntoken_file = \"/x\""),
            &["7: unknown key `certificate.enroll.token_file` `token_file` belongs to the method `token`"],
        ),
        (
            &method("method = \"provisioner\"\nprovisioner_key = \"dev.jwk\""),
            &["7: `certificate.enroll.provisioner_key` should be an absolute path"],
        ),
        (
            &method("method = \"x5c\"\nx5c_cert = \"/x\"\nx5c_key = \"/x\"\nprovisioner_key = \"/x\""),
            &[
                "9: unknown key `certificate.enroll.provisioner_key` `provisioner_key` belongs to the method `provisioner`",
            ],
        ),
        (
            &method("method = \"provisioner\"\npassword = \"\""),
            &["7: `certificate.enroll.password` is empty"],
        ),
        (
            &method("method = \"provisioner\"\npassword = \"x\"\npassword_file = \"/x\""),
            &["8: `certificate.enroll.password_file` and `certificate.enroll.password` are both given"],
        ),
        (&method("method = \"x5c\"\nx5c_cert = \"/x\""), &["5: `certificate.enroll.x5c_key` is missing"]),
        (&method("method = \"acme\"\nchallenge = \"dns\""), &["7: `certificate.enroll.challenge` is `dns`"]),
        (
            &method("method = \"acme\"\nhttp_listen = \"80\""),
            &["7: `certificate.enroll.http_listen` should be an address and a port"],
        ),
        (
            &certificate("cert_mode = 640\nkey_mode = \"rw\"\nenroll = {method = \"token\"}"),
            &["5: `certificate.cert_mode` should be a file mode in octal", "6: `certificate.key_mode`"],
        ),
        (
            &certificate("timeout = \"soon\"\nenroll = {method = \"token\"}"),
            &["5: `certificate.timeout` should be a duration"],
        ),
        (
            &certificate("key_type = \"ec-p521\"\nenroll = {method = \"token\"}"),
            &["5: `certificate.key_type` is `ec-p521`"],
        ),
        (&certificate("enroll = []"), &["5: `certificate.enroll` is empty"]),
    ];
    for (text, wanted) in cases {
        let found = problems(text);
        assert_eq!(found.len(), wanted.len(), "{text}\n{found:#?}");
        for (found, wanted) in found.iter().zip(*wanted) {
            assert!(found.contains(wanted), "{text}\n{found}\nlacks {wanted}");
        }
    }
}

#[test]
fn no_file_is_written_twice() {
    let two = |more: &str| {
        certificate("enroll = {method = \"token\"}\nca_out = \"/ca\"")
            + &format!("[[certificate]]\nnames = \"b.test\"\nenroll = {{method = \"token\"}}\n{more}")
    };
    good(&two("cert = \"/c2\"\nkey = \"/k2\""));
    good(&two("cert = \"/c2\"\nkey = \"/k2\"\nca_out = \"/ca\""));
    for more in [
        "cert = \"/c\"\nkey = \"/k2\"",
        "cert = \"/k\"\nkey = \"/k2\"",
        "cert = \"/ca\"\nkey = \"/k2\"",
        "cert = \"//c\"\nkey = \"/k2\"",
        "cert = \"/x\"\nkey = \"/y\"\nca_out = \"/k\"",
        "cert = \"/x\"\nkey = \"/y\"\nchain = \"/c\"",
    ] {
        let found = problems(&two(more));
        assert_eq!(found.len(), 1, "{more}: {found:#?}");
        assert!(found[0].contains("written twice") || found[0].contains("the same path"), "{found:?}");
    }
}

#[test]
fn a_life_may_end_at_a_moment() {
    for (text, wanted) in [
        ("2026-12-24T18:00:00Z", Some(NotAfter::Moment(1_798_135_200))),
        ("\"2026-12-24T18:00:00Z\"", Some(NotAfter::Moment(1_798_135_200))),
        ("\"30d\"", Some(NotAfter::Duration(30 * 86_400))),
        ("2026-12-24", None),
        ("90", Some(NotAfter::Duration(90))),
        ("\"1d12h\"", Some(NotAfter::Duration(36 * 3600))),
        ("\"500ms\"", None),
        ("-90", None),
        ("true", None),
    ] {
        let Checked { file, problems } =
            read(&certificate(&format!("not_after = {text}\nenroll = {{method = \"token\"}}")));
        assert_eq!(
            (file.certificates[0].layer.values(&NOT_AFTER).first().copied(), problems.len()),
            (wanted, usize::from(wanted.is_none())),
            "{text}"
        );
    }
}

#[test]
fn a_damaged_file_is_never_quoted() {
    for text in [
        format!("password = \"{SECRET}\n"),
        format!("password = {SECRET}\n"),
        format!("[certificate\npassword = \"{SECRET}\""),
        format!("a = 1\na = \"{SECRET}\""),
        SECRET.to_owned(),
        format!("a = \"\\{SECRET}\""),
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
    ] {
        let Checked { problems, .. } = read(&text);
        assert!(!problems.is_empty(), "{text:.50}");
        let said = format!("{problems:?}");
        assert!(!said.contains("hunter2"), "{said:.500}");
    }
}

#[test]
fn a_secret_is_missed_when_it_is_needed() {
    let config = good(&method("method = \"token\"\ntoken = \"${NOPE}\""));
    let error = secret(&config.certificates[0].enroll[0]).expect_err("unset").to_string();
    assert!(error.contains("`NOPE` is not set") && error.contains("trustup.toml:7"), "{error}");
    let config = good(&method("method = \"token\"\ntoken_file = \"/nowhere/token\""));
    assert_eq!(
        secret(&config.certificates[0].enroll[0]).expect_err("missing").place(),
        Some("/nowhere/token")
    );
}

#[test]
fn values_come_from_files_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (url, names, pin) = (
        file("url", "https://ca.test\r\n"),
        file("names", "a.test\n\n b.test \n"),
        file("pin", &format!("{HEX}\n")),
    );
    let (password, empty, two) = (file("password", "a b \n\n"), file("empty", "\n"), file("two", "a\nb\n"));
    let config = good(&format!(
        "[ca]\nurl_file = \"{url}\"\nfingerprint_file = \"{pin}\"\n[[certificate]]\nnames_file = \"{names}\"\ncert = \"/c\"\nkey = \"/k\"\nenroll = {{method = \"provisioner\", password_file = \"{password}\"}}"
    ));
    assert_eq!(config.ca.values(&CA_URL), ["https://ca.test"]);
    assert_eq!(config.ca.values(&FINGERPRINT).len(), 1);
    assert_eq!(config.certificates[0].layer.values(&NAMES).len(), 2);
    let password = secret(&config.certificates[0].enroll[0]).unwrap();
    assert_eq!(password.bytes(), b"a b");
    for (text, wanted) in [
        (format!("[ca]\nprovisioner_file = \"{empty}\""), "2: `ca.provisioner` is empty"),
        (format!("[ca]\nprovisioner_file = \"{two}\""), "2: `ca.provisioner` has a control character"),
        (format!("[ca]\nfingerprint_file = \"{empty}\""), "2: `ca.fingerprint` is empty"),
        ("[ca]\nprovisioner_file = \"x\"".to_owned(), "2: `ca.provisioner_file` should be an absolute path"),
        ("[ca]\nprovisioner_file = 3".to_owned(), "2: `ca.provisioner_file` is a number"),
        ("[ca]\nprovisioner_file = \"/nowhere/x\"".to_owned(), "no such file `ca.provisioner_file` names it"),
        (format!("[ca]\nprovisioner = \"x\"\nprovisioner_file = \"{two}\""), "both given"),
    ] {
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].contains(wanted), "{text}: {found:?}");
    }
}

#[test]
fn what_is_not_wanted_may_be_incomplete() {
    let env = Env::fixed([], 0);
    let text =
        format!("[ca]\nprovisioner = \"x\"\n{}", method("method = \"token\"\ntoken = 3\nx = \"${NOPE}\""));
    let path = Path::new("/x");
    assert_eq!(parse(&env, path, &text, (Scope::Trust, &variants()), Sharing::default()).problems.len(), 0);
    assert_eq!(parse(&env, path, &text, (Scope::All, &variants()), Sharing::default()).problems.len(), 2);
}

#[test]
fn t1_sources_of_the_file_count_together_or_not_at_all() {
    let names = |layer: &Layer| -> Vec<&str> {
        ALL.iter().filter(|row| layer.entry(**row).is_some()).map(|row| row.spec().name).collect()
    };
    let file = good(&format!(
        "[ca]\nurl = \"https://ca.test\"\nfingerprint = \"{HEX}\"\nprovisioner = \"x\"\n[trust]\nca_file = \"/x.pem\"\nstores = [\"system\"]\nall_roots = true\nrequire_pin = true\nstrict = false\nfingerprint = \"{HEX}\""
    ));
    let all = file.trust_layer();
    assert_eq!(
        names(&all),
        ["ca-url", "ca-file", "fingerprint", "ca.provisioner", "require-pin", "all-roots", "stores"]
    );
    assert_eq!(all.values(&FINGERPRINT).len(), 2, "the pins of both tables");
    assert_eq!(names(&file.without_sources()), ["ca.provisioner", "require-pin", "stores"]);
    assert!(file.names_sources() && !good("[ca]\nprovisioner = \"x\"").names_sources());
}

#[test]
fn layers_count_in_their_order_and_know_where_a_value_is_from() {
    let file = good("[trust]\nname = \"file\"\nstrict = true\nstores = \"java\"");
    let variables = Env::fixed(
        [("TRUSTUP_NAME", "variable"), ("TRUSTUP_STRICT", "0"), ("TRUSTUP_STORES", "nss,system")],
        0,
    );
    let taken = [NAME.taken(), STRICT.taken(), STORES.taken()];
    let (environment, unheeded) = from_environment(&taken, &Layer::default(), &variables).unwrap();
    assert!(unheeded.ignored.is_empty());
    let settings = Settings::new([environment, file.trust.clone()]);
    assert_eq!(settings.get(&NAME).map(String::as_str), Some("variable"));
    assert_eq!(settings.name(&NAME), "TRUSTUP_NAME");
    // T1: off is the same as unset, so a variable disables no check that the file requires.
    assert!(settings.is(&STRICT));
    assert_eq!(settings.name(&STRICT), "trust.strict");
    assert_eq!(settings.all(&STORES), [Store::Nss, Store::System]);
    assert_eq!(settings.origin(&UPDATER), None);
    assert_eq!(settings.or_default(&UPDATER), crate::trust::facts::UpdaterChoice::Auto);
}
