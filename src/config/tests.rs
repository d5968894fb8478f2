use super::*;
use crate::acme::ChallengeType;
use crate::enroll::methods::acme::Dns;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SECRET: &str = "hunter2-correct-horse";

fn read(text: &str) -> Checked {
    let env =
        Env::fixed([("HOST", "web"), ("PIN", HEX), ("PASSWORD", SECRET), ("EMPTY", ""), ("YES", "true")], 0);
    parse(&env, Path::new("/etc/trustup/trustup.toml"), text, Scope::All)
}

#[track_caller]
fn good(text: &str) -> Config {
    let Checked { config, problems } = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    config
}

/// What is wrong, each with its line.
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

#[test]
fn an_empty_file_asks_for_nothing() {
    let config = good("# nothing\n");
    assert!(config.ca.is_none() && config.trust.is_none() && config.certificates.is_empty());
}

#[test]
fn a_challenge_takes_its_own_keys() {
    for (word, kind, keys) in [
        ("http-01", ChallengeType::Http01, "http_listen = \":8080\"\nwebroot = \"/srv\""),
        ("tls-alpn-01", ChallengeType::TlsAlpn01, "tls_listen = \":8443\""),
        ("dns-01", ChallengeType::Dns01, "dns_hook = [\"/bin/hook\"]"),
    ] {
        let config = good(&method(&format!("method = \"acme\"\nchallenge = \"{word}\"\n{keys}")));
        let Method::Acme { options, .. } = &config.certificates[0].enroll[0] else { panic!("{word}") };
        assert_eq!(options.challenge, Some(kind));
    }
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
    let ca = config.ca.as_ref().expect("ca");
    assert_eq!(ca.url.as_ref().map(Url::as_str), Some("https://web.test:9000/"));
    assert_eq!(ca.fingerprints, [HEX.parse().unwrap(), HEX.parse().unwrap()]);
    let one = &config.certificates[0];
    assert_eq!(one.names.len(), 4);
    assert_eq!(one.names[0], SubjectAltName::Dns("web.test".to_owned()));
    assert_eq!(
        (one.cert.to_str(), one.shown.cert.as_str()),
        (Some("/run/tls/web.pem"), "/run/tls/${HOST}.pem")
    );
    assert_eq!((one.cert_mode, one.key_mode), (Some(0o640), Some(0o600)));
    assert_eq!((one.key_type, one.not_after), (Some(KeyType::EcP384), Some(NotAfter::Duration(86_400))));
    assert_eq!((one.layout, one.timeout), (Some(Layout::Versioned), Some(Duration::from_secs(90))));
    assert_eq!(one.place, "/etc/trustup/trustup.toml:7");
    assert_eq!(
        one.enroll.iter().map(Method::word).collect::<Vec<_>>(),
        ["token", "provisioner", "x5c", "acme"]
    );
    let Method::Provisioner { password, .. } = &one.enroll[1] else { panic!("{:?}", one.enroll[1]) };
    let password = password.as_ref().expect("a password");
    assert_eq!(password.read().unwrap().bytes(), format!("x{SECRET}").as_bytes());
    let Method::Acme { options: acme, .. } = &one.enroll[3] else { panic!("{:?}", one.enroll[3]) };
    assert!(acme.agree_tos && acme.challenge.is_none());
    assert!(matches!(&acme.dns, Some(Dns::Hook(hook)) if hook.len() == 2));
    assert_eq!(acme.eab.as_ref().map(|(kid, _)| kid.as_str()), Some("kid"));
    assert_eq!(acme.preferred_chain.as_deref(), Some("Root X1"));
    assert_eq!(acme.account_key_type, Some(KeyType::Rsa2048));
    assert_eq!(one.enroll[3].secrets().len(), 1);
    // T23: no secret is in what might be printed.
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn a_provisioners_key_needs_no_password() {
    for (more, has_password) in [("", false), ("\npassword = \"x\"", true)] {
        let keys = format!("method = \"provisioner\"\nprovisioner_key = \"/dev.jwk\"{more}");
        let config = good(&method(&keys));
        let Method::Provisioner { password, key, .. } = &config.certificates[0].enroll[0] else {
            panic!("{keys}")
        };
        assert_eq!((key.as_deref(), password.is_some()), (Some(Path::new("/dev.jwk")), has_password));
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let cases: &[(&str, &[&str])] = &[
        ("[cas]\nurl = 1", &["1: unknown key `cas` did you mean `ca`?"]),
        ("[ca]\nurl = 1", &["2: `ca.url` is a number, and should be a string"]),
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
        ("ca = 3", &["1: `ca` is a number, and should be a table"]),
        ("[trust]\nallow_expired = true", &["2: unknown key `trust.allow_expired` what loosens a check"]),
        ("[trust]\nrepair = true", &["2: unknown key `trust.repair` `--repair` is for the command line"]),
        ("[trust]\nca_url = \"x\"", &["2: unknown key `trust.ca_url` the CA's address is `url` in `[ca]`"]),
        ("[trust]\nrequire_pin = 1", &["2: `trust.require_pin` is a number"]),
        ("[trust]\nrequire_pin = \"maybe\"", &["2: `trust.require_pin` should be `true` or `false`"]),
        ("[trust]\nstores = \"sytem\"", &["2: `trust.stores` is `sytem`, and should be one of `system`"]),
        (
            "[trust]\nbundle_url = \"pki.test/x\"",
            &["2: `trust.bundle_url` should be an http or https address"],
        ),
        (&format!("[trust]\nbundle_sha256 = \"{HEX}\""), &["1: `trust.bundle_sha256` has nothing to pin"]),
        ("[trust]\nall_roots = true", &["1: `trust.all_roots` asks a step-ca"]),
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
        (&method("method = \"provisioner\""), &["5: `certificate.enroll.password` is missing"]),
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
            &method("method = \"acme\"\nchallenge = \"http-01\"\ntls_listen = \":8443\""),
            &["5: `tls_listen` is for the challenge tls-alpn-01, and another one is chosen"],
        ),
        (
            &method("method = \"acme\"\nhttp_listen = \"80\""),
            &["7: `certificate.enroll.http_listen` should be an address and a port"],
        ),
        (
            &method("method = \"acme\"\neab_kid = \"x\""),
            &["5: `eab_kid` and `eab_hmac_key` (or `eab_hmac_key_file`) go together"],
        ),
        (
            &method("method = \"acme\"\ndns_hook = [\"hook\"]"),
            &["7: `certificate.enroll.dns_hook` should begin with the absolute path"],
        ),
        (
            &method("method = \"acme\"\ndirectory = \"https://x/\"\nprovisioner = \"y\""),
            &["5: `directory` and `provisioner`"],
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
        (
            &certificate("key_mode = \"0644\"\nenroll = {method = \"token\"}"),
            &["1: `certificate`: a private key cannot have the mode 0644"],
        ),
        (
            &certificate("chain = \"/x/chain\"\nlayout = \"versioned\"\nenroll = {method = \"token\"}"),
            &["1: `certificate`: the files of a versioned pair must be in one directory"],
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
        "cert = \"/x\"\nkey = \"/x\"",
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
        let Checked { config, problems } =
            read(&certificate(&format!("not_after = {text}\nenroll = {{method = \"token\"}}")));
        assert_eq!(
            (config.certificates[0].not_after, problems.len()),
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
    let secrets = config.certificates[0].enroll[0].secrets();
    let error = secrets[0].read().expect_err("unset").to_string();
    assert!(error.contains("`NOPE` is not set") && error.contains("trustup.toml:7"), "{error}");
    let config = good(&method("method = \"token\"\ntoken_file = \"/nowhere/token\""));
    let secrets = config.certificates[0].enroll[0].secrets();
    assert_eq!(secrets[0].read().expect_err("missing").place(), Some("/nowhere/token"));
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
    let ca = config.ca.expect("ca");
    assert_eq!((ca.url.map(String::from).as_deref(), ca.fingerprints.len()), (Some("https://ca.test/"), 1));
    assert_eq!(config.certificates[0].names.len(), 2);
    let password = config.certificates[0].enroll[0].secrets()[0].read().unwrap();
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
    assert_eq!(parse(&env, path, &text, Scope::Trust).problems.len(), 0);
    assert_eq!(parse(&env, path, &text, Scope::All).problems.len(), 2);
}

#[test]
fn t1_sources_count_together_or_not_at_all() {
    let options = |text: &str, with: bool| good(text).bootstrap_options(with);
    let names = |options: &Options| options.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let text = format!(
        "[ca]\nurl = \"https://ca.test\"\nfingerprint = \"{HEX}\"\n[trust]\nca_file = \"/x.pem\"\nstores = [\"system\"]\nall_roots = true\nrequire_pin = true\nstrict = false\nfingerprint = \"{HEX}\""
    );
    let all = options(&text, true).unwrap();
    assert_eq!(names(&all), ["ca_file", "fingerprint", "all_roots", "require_pin", "stores", "ca_url"]);
    assert_eq!(all[1].1.len(), 2, "{all:?}");
    assert_eq!(names(&options(&text, false).unwrap()), ["require_pin", "stores"]);
    // The file is the root: nothing is fetched.
    let text = "[ca]\nurl = \"https://ca.test\"\nroot = \"/root.pem\"";
    assert_eq!(names(&options(text, true).unwrap()), ["ca_file"]);
    assert!(good(text).names_sources() && !good("[ca]\nprovisioner = \"x\"").names_sources());
    let error = options("[ca]\nurl = \"https://ca.test\"", true).expect_err("no pin");
    assert!(error.what().contains("needs a fingerprint"), "{error}");
    assert!(options("[ca]\nurl = \"https://ca.test\"", false).is_ok());
}

#[test]
fn variables_of_published_images() {
    let all = [
        ("TLS_DOMAINS", "db.test, 10.0.0.5\tb.test"),
        ("TLS_CERT_LOCATION", "/run/tls/server.crt"),
        ("TLS_KEY_LOCATION", "/run/tls/server.key"),
        ("TLS_CA_CERT_LOCATION", "/run/tls/ca.crt"),
        ("CA_PROVISIONER_NAME", "acme"),
        ("CA_TOKEN", SECRET),
    ];
    let with =
        |names: &[&str]| published(&Env::fixed(all.into_iter().filter(|(name, _)| names.contains(name)), 0));
    let files = ["TLS_DOMAINS", "TLS_CERT_LOCATION", "TLS_KEY_LOCATION"];
    let given =
        with(&[files[0], files[1], files[2], "CA_TOKEN", "TLS_CA_CERT_LOCATION"]).unwrap().expect("asked");
    assert_eq!(given.shown.names, ["db.test", "10.0.0.5", "b.test"]);
    assert_eq!(given.ca_out, Some("/run/tls/ca.crt".into()));
    let [Method::Token { token: Some(token) }] = &given.enroll[..] else { panic!("{given:?}") };
    assert_eq!(token.read().unwrap().bytes(), SECRET.as_bytes());
    assert!(!format!("{given:?}").contains(SECRET));
    let given = with(&[files[0], files[1], files[2], "CA_PROVISIONER_NAME"]).unwrap().expect("asked");
    let [Method::Acme { options: acme, .. }] = &given.enroll[..] else { panic!("{given:?}") };
    assert_eq!(acme.provisioner.as_deref(), Some("acme"));
    assert!(with(&["CA_TOKEN", files[1], files[2]]).unwrap().is_none());
    for missing in [1, 2] {
        let error = with(&[files[0], files[missing]]).expect_err("a path is missing");
        assert!(error.what().contains(files[3 - missing]), "{error}");
    }
    for (name, value) in [
        ("TLS_DOMAINS", " , "),
        ("TLS_CERT_LOCATION", "server.crt"),
        ("TLS_KEY_LOCATION", "/run/tls/server.crt"),
    ] {
        let mut changed = all;
        changed.iter_mut().filter(|(this, _)| *this == name).for_each(|(_, old)| *old = value);
        assert!(published(&Env::fixed(changed, 0)).is_err(), "{name}={value}");
    }
}
