//! Options that do not go together, and the command line beside trustup.toml.

use crate::support::enrollment::{Scene, done, mode, write};
use crate::support::run::Trustup;

/// An option that would be taken in silence and do nothing is an error, which says what it is for.
#[test]
fn an_option_that_the_method_does_not_take_is_refused() {
    let file = "/nowhere/file";
    // What somebody gives, with its value; the methods that take it.
    let options: [(&[&str], &[&str]); 14] = [
        (&["--token-file", file], &["token"]),
        (&["--token", "abc"], &["token"]),
        (&["--provisioner", "dev"], &["provisioner", "x5c", "acme"]),
        (&["--password-file", file], &["provisioner"]),
        (&["--provisioner-key", file], &["provisioner"]),
        (&["--x5c-cert", file], &["x5c"]),
        (&["--x5c-key", file], &["x5c"]),
        (&["--directory", "https://localhost/directory"], &["acme"]),
        (&["--http-listen", "127.0.0.1:80"], &["acme"]),
        (&["--webroot", "/nowhere"], &["acme"]),
        (&["--dns-hook", "/nowhere/hook"], &["acme"]),
        (&["--eab-kid", "1", "--eab-hmac-key-file", file], &["acme"]),
        (&["--agree-tos"], &["acme"]),
        (&["--profile", "short"], &["acme"]),
    ];
    let scene = Scene::new();
    for (given, methods) in options {
        for method in ["token", "provisioner", "x5c", "acme"] {
            if methods.contains(&method) {
                continue;
            }
            let run = scene.plain(method).arg("web.test").args(given).fails(2);
            run.says([
                &*format!("`{}` is not an option of `{method}`", given[0]),
                &*format!("`{}`", methods[0]),
            ]);
        }
        if methods != ["token"] {
            let run = Trustup::new(["enroll"]).args(given).fails(2);
            run.says([&*format!("`{}` needs a method", given[0]), "trustup.toml"]);
        }
    }
    // Variables are there for everything that runs in a container.
    scene.enroll().env("TRUSTUP_WEBROOT", "/nowhere").env("TRUSTUP_TOKEN_FILE", file).ok();
    for option in ["--cert", "--key", "--chain", "--ca-out"] {
        let run = Trustup::new(["enroll", option, file]).fails(2);
        run.says([&*format!("`{option}` needs a method")]);
    }
}

/// Where published images' variables ask by ACME, the rest is said as with the method, but for what they say themselves.
#[test]
fn what_published_variables_leave_open_can_be_said() {
    let scene = Scene::new();
    let enroll = || {
        let run = Trustup::new(["enroll"]).env("HOME", "/none").env("TLS_DOMAINS", "web.test");
        run.env("TLS_CERT_LOCATION", scene.path("server.crt"))
            .env("TLS_KEY_LOCATION", scene.path("server.key"))
    };
    let missing = "/nowhere/webroot";
    let directory = ["--directory", "https://127.0.0.1:1/directory"];
    enroll().args(directory).args(["--webroot", missing]).fails(2).says([missing]);
    enroll().args(directory).env("TRUSTUP_WEBROOT", missing).fails(2).says([missing]);
    for other in [["--password-file", "/nowhere"], ["--chain", "/nowhere"]] {
        enroll().args(other).fails(2).says([&*format!("`{}` needs a method", other[0])]);
    }
    for run in [enroll().args(["--http-listen", "8080"]), enroll().env("TRUSTUP_HTTP_LISTEN", "8080")] {
        run.fails(2).says(["--http-listen", "`:8080` for all addresses"]);
    }
    // Compose fills a missing variable with nothing.
    let empty = enroll().env("CA_TOKEN", "").args(directory).args(["--webroot", missing]).fails(2);
    empty.says(["`CA_TOKEN` is set, and empty", "requested with `acme`"]);
    let by_token = enroll().env("CA_TOKEN", "abc");
    by_token.args(["--webroot", missing]).fails(2).says(["`--webroot` needs a method"]);
    assert!(!scene.path("server.key").exists());
}

/// The same for a challenge that is chosen: what it never uses is no wish that can be met.
#[test]
fn an_option_of_another_challenge_is_refused() {
    let scene = Scene::new();
    let none = "/nowhere/file";
    let options: [(&[&str], &str); 5] = [
        (&["--http-listen", "127.0.0.1:80"], "http-01"),
        (&["--webroot", none], "http-01"),
        (&["--tls-listen", "127.0.0.1:443"], "tls-alpn-01"),
        (&["--dns-hook", none], "dns-01"),
        (&["--rfc2136-server", "127.0.0.1", "--rfc2136-key-name", "k", "--rfc2136-key-file", none], "dns-01"),
    ];
    let enroll = || {
        let run = scene.plain("acme").args(["web.test", "--timeout", "1s"]);
        run.args(["--directory", "https://127.0.0.1:1/directory"])
    };
    for (given, own) in options {
        for challenge in ["http-01", "tls-alpn-01", "dns-01"] {
            let run = enroll().args(["--challenge", challenge]).args(given).run();
            let wanted = format!("`{}` is not for the challenge {challenge}", given[0]);
            assert_eq!(run.stderr.contains(&wanted), own != challenge, "{run}");
            if own != challenge {
                assert_eq!(run.code, Some(2), "{run}");
                run.says([&*format!("it is for {own}")]);
            }
        }
    }
    // Variables are for everything that runs here.
    let run = enroll().args(["--challenge", "tls-alpn-01"]).env("TRUSTUP_HTTP_LISTEN", "127.0.0.1:80");
    run.fails(6);
    // In the file all of it is said.
    let file = scene.path("trustup.toml");
    let text = "[[certificate]]\nnames = [\"a.test\"]\ncert = \"/c\"\nkey = \"/k\"\nenroll = {method = \"acme\", challenge = \"dns-01\", dns_hook = [\"/bin/hook\"], webroot = \"/srv\"}\n";
    write(&file, text.as_bytes(), 0o600);
    let run = Trustup::new(["config", "check", "--config"]).arg(&file).fails(2);
    run.says(["`webroot` is not for the challenge dns-01", "it is for http-01"]);
}

/// Variables are options, too: what means something only together is there whole, or that is said.
#[test]
fn what_belongs_together_may_come_from_both_and_must_be_whole() {
    let scene = Scene::new();
    let at = |directory: &str| {
        scene.plain("acme").args(["*.web.test", "--directory", directory, "--timeout", "1s"])
    };
    let enroll = || at("https://127.0.0.1:1/directory");
    let none = "/nowhere/key";
    for (run, words) in [
        (enroll().env("TRUSTUP_EAB_KID", "1"), ["`--eab-kid` needs `--eab-hmac-key-file`", "TRUSTUP_"]),
        (enroll().args(["--eab-kid", "1"]).env("TRUSTUP_EAB_HMAC_KEY_FILE", none), [none, "error"]),
        (
            enroll().env("TRUSTUP_RFC2136_SERVER", "127.0.0.1").args(["--rfc2136-key-name", "k"]),
            ["`--rfc2136-server`, `--rfc2136-key-name` needs `--rfc2136-key-file`", "give all of them"],
        ),
        (enroll().args(["--rfc2136-zone", "test"]), ["`--rfc2136-zone` needs `--rfc2136-server`", "hint"]),
        (
            enroll().args(["--dns-hook", "/nowhere/hook", "--rfc2136-server", "127.0.0.1"]),
            ["both configure DNS updates", "omit one of them"],
        ),
        // A hook of the command line goes before a name server of the variables.
        (
            enroll().args(["--dns-hook", "/nowhere/hook"]).env("TRUSTUP_RFC2136_SERVER", "127.0.0.1"),
            ["the DNS hook does not exist", "/nowhere/hook"],
        ),
        (at("https://u:hunter2@[/"), ["not a URL", "***"]),
    ] {
        let run = run.fails(2);
        run.says(words);
        assert!(!run.stderr.contains("hunter2"), "{run}");
    }
    // A provisioner of ours goes before that of published images.
    let published = |run: Trustup| {
        run.env("TLS_DOMAINS", "web.test")
            .env("TLS_CERT_LOCATION", scene.path("server.crt"))
            .env("TLS_KEY_LOCATION", scene.path("server.key"))
            .env("CA_URL", scene.server.url())
            .env("CA_FINGERPRINT", scene.ca.fingerprint().hex())
            .env("CA_PROVISIONER_NAME", "theirs")
            .env("HOME", "/none")
    };
    let asked = published(Trustup::new(["enroll", "-v", "--provisioner", "ours", "--timeout", "5s"])).run();
    assert!(asked.stderr.contains("no provisioner `ours`") && !asked.stderr.contains("theirs"), "{asked}");
}

#[test]
fn what_the_command_line_says_goes_before_what_the_file_says() {
    let scene = Scene::new();
    let config = format!(
        "[ca]\nurl = {:?}\nfingerprint = {:?}\n[[certificate]]\nnames = [\"web.test\"]\ncert = {:?}\nkey = {:?}\n\
         key_mode = \"0640\"\ncert_mode = \"0604\"\nkey_type = \"ec-p384\"\n\
         enroll = {{ method = \"provisioner\", password_file = {:?} }}\n",
        scene.server.url(),
        scene.ca.fingerprint().hex(),
        scene.path("server.crt"),
        scene.path("server.key"),
        scene.path("password"),
    );
    write(&scene.path("trustup.toml"), config.as_bytes(), 0o600);
    let run = || {
        Trustup::new(["--json", "enroll", "--config"]).arg(scene.path("trustup.toml")).env("HOME", "/none")
    };
    let modes = || (mode(&scene.path("server.key")), mode(&scene.path("server.crt")));
    assert_eq!(done(&run().ok()).0, "issued");
    assert_eq!(modes(), (0o640, 0o604));
    run().args(["--key-mode", "0600"]).ok();
    assert_eq!(modes(), (0o600, 0o604), "the one that is given, and no other");
    let key = || {
        trustup::pki::key::PrivateKey::from_pem(&std::fs::read(scene.path("server.key")).unwrap()).unwrap()
    };
    assert_eq!(key().key_type(), Some(trustup::pki::key::KeyType::EcP384));
    run().args(["--key-type", "ec-p256"]).ok();
    assert_eq!(key().key_type(), Some(trustup::pki::key::KeyType::EcP256));
    run().args(["--token-file", "/nowhere"]).fails(2).says(["no certificate uses the method `token`"]);
    let by_token = config.replace("\"provisioner\", password_file", "\"token\", token_file");
    write(&scene.path("trustup.toml"), by_token.as_bytes(), 0o600);
    run().args(["--force", "--token-file", "/nowhere/token"]).fails(2).says(["/nowhere/token"]);
}
