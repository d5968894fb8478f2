//! One-time tokens between trustup, the real step-ca and the real step: ours are taken, theirs are read, and what the CA
//! refuses with one and the same sentence is told apart.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use trustup::error::Error;
use trustup::host::env::Env;
use trustup::net::dns::ResolverSettings;
use trustup::net::{Net, Trust};
use trustup::pki::cert::NotAfter;
use trustup::pki::cert::{Certificate, SubjectAltName};
use trustup::pki::jose::{jwe, jws};
use trustup::pki::key::{KeyType, PrivateKey};
use trustup::step_ca::diagnosis::{self, Cause};
use trustup::step_ca::mint::{self, ProvisionerKey, Signer};
use trustup::step_ca::{RequestFailure, SignedChain, StepCaClient};
use url::Url;

use crate::support::run::{Run, Trustup};
use crate::support::servers::{StepCa, StepCaOptions, passes, said, step};

fn place() -> TempDir {
    TempDir::new().expect("a directory")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// `trustup token --ca-url … --fingerprint … ARGS…`
fn token(ca: &StepCa, arguments: &[&str]) -> Trustup {
    let home = ca.root_file();
    Trustup::new(["token", "--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()])
        .env("HOME", home.parent().expect("a directory"))
        .args(arguments)
}

fn by_password(ca: &StepCa, arguments: &[&str]) -> Trustup {
    let password = ca.password_file();
    token(ca, &["--provisioner", StepCa::PROVISIONER, "--password-file"]).arg(password).args(arguments)
}

fn printed(run: &Run) -> String {
    let token = run.stdout.trim_end();
    assert_eq!(token.split('.').count(), 3, "a token and nothing else: {run}");
    token.to_owned()
}

/// What our client makes of this CA, by its root; `our_clock` is what we take for now.
fn with_client<T>(ca: &StepCa, our_clock: Option<i64>, work: impl AsyncFnOnce(&StepCaClient) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let env = match our_clock {
            Some(now) => Env::fixed([], now),
            None => Env::os(),
        };
        let settings = ResolverSettings::from_texts(None, Some(b"127.0.0.1 localhost"));
        let net = Net::new(&Env::fixed([], now()), &settings, Duration::from_secs(30)).expect("a network");
        let roots = vec![ca.root_der().to_vec().into()];
        let trust = Trust::Roots { roots, vouched_by: "the test's root".to_owned() };
        let url = Url::parse(&ca.url()).expect("a URL");
        work(&StepCaClient::new(&net, &env, &url, &trust).expect("a client")).await
    })
}

/// Has a fresh key signed for `names` with this token.
fn sign(ca: &StepCa, token: &str, names: &[&str]) -> (PrivateKey, Result<SignedChain, RequestFailure>) {
    let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let names: Vec<SubjectAltName> = names.iter().map(|name| name.parse().expect("a name")).collect();
    let csr = key.csr(&names, None).expect("a request");
    let signed =
        with_client(ca, None, async |client| client.sign(&csr, token, Some(NotAfter::Duration(3600))).await);
    (key, signed)
}

/// Wants a certificate for these names and this key, which chains to the CA's intermediate.
fn good(key: &PrivateKey, chain: &[Certificate], names: &[&str]) {
    let names: Vec<SubjectAltName> = names.iter().map(|name| name.parse().expect("a name")).collect();
    let [leaf, intermediate] = chain else { panic!("leaf and intermediate: {chain:?}") };
    assert_eq!(leaf.public_key(), key.public_key());
    assert_eq!(leaf.issuer_der(), intermediate.subject_der());
    let mut found = leaf.subject_alt_names().expect("names");
    let mut wanted = names;
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let life = leaf.not_after() - leaf.not_before();
    assert!((3600..=3720).contains(&life), "an hour and the backdate: {life}");
}

#[test]
#[ignore = "needs step-ca"]
fn tokens_by_password_are_accepted_from_a_list_of_many_pages() {
    let ca = StepCa::start(StepCaOptions { more_provisioners: 230, ..StepCaOptions::default() });
    let names = ["web.internal", "10.0.0.7", "a@b.test", "spiffe://x/y"];
    let run = by_password(&ca, &["web.internal", "--san", &names.join(",")]).ok();
    let token = printed(&run);
    let (key, signed) = sign(&ca, &token, &names);
    good(&key, &signed.expect("signed").chain, &names);
    let listed = with_client(&ca, None, async |client| client.provisioners().await.expect("a list"));
    assert_eq!(listed.0.len(), 233);
    // Nothing secret was said.
    for text in [&run.stderr, &ca.log()] {
        assert!(!text.contains(&ca.password()), "{text}");
    }
    assert!(!run.stderr.contains(&token), "{run}");
}

#[test]
#[ignore = "needs step-ca"]
fn what_the_ca_says_of_itself_is_understood() {
    let ca = StepCa::start(StepCaOptions::default());
    with_client(&ca, Some(now() - 100), async |client| {
        assert_eq!(client.skew(), None);
        client.health().await.expect("well");
        assert!(client.skew().is_some_and(|skew| (99..=130).contains(&skew)), "{:?}", client.skew());
        let listed = client.provisioners().await.expect("a list");
        let (kid, key) = listed.encrypted_keys(StepCa::PROVISIONER).expect("keys")[0];
        assert_eq!(kid, ca.kid());
        let json = jwe::decrypt(key, ca.password().as_bytes()).expect("decrypted");
        let key = PrivateKey::from_jwk(&json).expect("a key");
        assert_eq!(trustup::pki::jose::jwk::thumbprint(key.public()), ca.kid());
    });
}

#[test]
#[ignore = "needs step-ca"]
fn step_takes_our_token_and_we_take_steps() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = place();
    let out = place.path().join("token");
    let run = by_password(&ca, &["web.internal", "--json", "--out"]).arg(&out).ok();
    let said_json = run.json();
    assert_eq!(
        [&said_json["changed"], &said_json["subject"]],
        [&Value::from(true), &Value::from("web.internal")]
    );
    let token = std::fs::read_to_string(&out).expect("the token");
    assert!(!format!("{run}").contains(token.trim_end()), "the token is in the file only");
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(&out).expect("metadata").permissions().mode() & 0o7777
    };
    assert_eq!(mode, 0o600);
    assert_eq!(std::fs::read_dir(place.path()).expect("a directory").count(), 1, "nothing beside it");

    // step believes the CA and root that the token names, and nothing else is configured.
    let inspected = passes(
        step(
            place.path(),
            ["crypto", "jwt", "inspect", "--insecure", token.trim_end()].iter().copied().take(4),
        )
        .stdin(std::fs::File::open(&out).expect("the token")),
    );
    let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(inspected["payload"]["iss"], StepCa::PROVISIONER);
    passes(&mut step(
        place.path(),
        [
            "ca",
            "certificate",
            "web.internal",
            "web.crt",
            "web.key",
            "--token",
            token.trim_end(),
            "--not-after",
            "1h",
        ],
    ));
    let issued = std::fs::read(place.path().join("web.crt")).expect("a certificate");
    let issued = trustup::pki::cert::input::read(&issued, "web.crt").expect("certificates").certificates;
    let key = PrivateKey::from_pem(&std::fs::read(place.path().join("web.key")).expect("a key"))
        .expect("step's key");
    good(&key, &issued, &["web.internal"]);

    // The other way round.
    let root = ca.root_file();
    let theirs = passes(
        step(
            place.path(),
            ["ca", "token", "web.internal", "--san", "a.test", "--ca-url", &ca.url(), "--root"],
        )
        .arg(&root)
        .args(["--provisioner", StepCa::PROVISIONER, "--provisioner-password-file"])
        .arg(ca.password_file()),
    );
    let theirs = String::from_utf8(theirs.stdout).expect("text");
    let theirs = theirs.trim_end();
    let read = jws::peek(theirs).expect("a token");
    assert_eq!((read.texts("sans"), read.claim("sha")), (vec!["a.test"], Some(ca.fingerprint().as_str())));
    assert_eq!(read.header("kid"), Some(ca.kid()));
    assert_eq!(found(&ca, theirs, None), []);
    let (key, signed) = sign(&ca, theirs, &["a.test"]);
    good(&key, &signed.expect("signed").chain, &["a.test"]);
}

#[test]
#[ignore = "needs step-ca"]
fn a_provisioners_key_and_a_birth_certificate_need_no_network() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = place();
    let listed = with_client(&ca, None, async |client| client.provisioners().await.expect("a list"));
    let encrypted = listed.encrypted_keys(StepCa::PROVISIONER).expect("keys")[0].1.to_owned();
    let json = jwe::decrypt(&encrypted, ca.password().as_bytes()).expect("decrypted");
    let pem = PrivateKey::from_jwk(&json).expect("a key").to_pem();
    let before = ca.log().lines().count();
    let birth = ca.birth_pair(place.path(), "machine.internal");
    let key = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let (encrypted, plain, pem) =
        (key("encrypted", encrypted.as_bytes()), key("plain", &json), key("pem", pem.as_bytes()));
    let of_dev = || token(&ca, &["web.internal", "--provisioner", StepCa::PROVISIONER]);
    let tokens = [
        of_dev().arg("--provisioner-key").arg(&encrypted).arg("--password-file").arg(ca.password_file()).ok(),
        of_dev().arg("--provisioner-key").arg(&plain).ok(),
        of_dev().arg("--provisioner-key").arg(&pem).ok(),
        token(&ca, &["web.internal", "--provisioner", StepCa::X5C])
            .arg("--x5c-cert")
            .arg(&birth.cert)
            .arg("--x5c-key")
            .arg(&birth.key)
            .ok(),
    ];
    assert_eq!(ca.log().lines().count(), before, "nobody was asked");
    // step makes the same of the same birth certificate.
    let theirs = passes(
        step(
            place.path(),
            ["ca", "token", "web.internal", "--ca-url", &ca.url(), "--provisioner", StepCa::X5C],
        )
        .arg("--root")
        .arg(ca.root_file())
        .arg("--x5c-cert")
        .arg(&birth.cert)
        .arg("--x5c-key")
        .arg(&birth.key),
    );
    let theirs = String::from_utf8(theirs.stdout).expect("text");
    let audience = |token: &str| jws::peek(token).expect("a token").audience().join(" ");
    assert_eq!(audience(theirs.trim_end()), audience(&printed(&tokens[3])));
    assert_eq!(found(&ca, theirs.trim_end(), None), []);
    for run in &tokens {
        let token = printed(run);
        assert_eq!(found(&ca, &token, None), []);
        let (key, signed) = sign(&ca, &token, &["web.internal"]);
        good(&key, &signed.expect("signed").chain, &["web.internal"]);
    }
    let run = of_dev().arg("--provisioner-key").arg(&encrypted).fails(2);
    run.says(["encrypted", "--password-file"]);
}

#[test]
#[ignore = "needs step-ca"]
fn a_token_for_one_request_takes_no_other() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = place();
    let (mine, other) = [0; 2].map(|_| PrivateKey::generate(KeyType::EcP256).expect("a key")).into();
    let names = ["web.internal".parse().expect("a name")];
    let [mine, other] = [&mine, &other].map(|key: &PrivateKey| key.csr(&names, None).expect("a request"));
    let file = place.path().join("web.csr");
    std::fs::write(&file, crate::support::ca::pem("CERTIFICATE REQUEST", &mine)).expect("written");
    let bound = || printed(&by_password(&ca, &["web.internal", "--cnf-csr"]).arg(&file).ok());
    let send =
        |token: &str, csr: &[u8]| with_client(&ca, None, async |client| client.sign(csr, token, None).await);
    let refused = send(&bound(), &other).expect_err("another request");
    assert_eq!((refused.status, refused.error.kind().exit_code()), (Some(403), 4), "{:?}", refused.error);
    assert!(refused.error.causes()[0].contains("the CA says"), "{:?}", refused.error);
    send(&bound(), &mine).expect("the request that it is for");
    std::fs::write(&file, "no request").expect("written");
    by_password(&ca, &["web.internal", "--cnf-csr"])
        .arg(&file)
        .fails(2)
        .says(["not a certificate signing request"]);
}

#[test]
#[ignore = "needs step-ca"]
fn wrong_passwords_provisioners_and_roots_are_told_apart() {
    let ca = StepCa::start(StepCaOptions::default());
    let place = place();
    let wrong = place.path().join("wrong");
    std::fs::write(&wrong, "hunter2\n").expect("written");
    let base = |provisioner: &str, password: &Path| {
        token(&ca, &["web.internal", "--provisioner", provisioner, "--password-file"]).arg(password)
    };
    let run = base(StepCa::PROVISIONER, &wrong).fails(4);
    run.says(["the password is wrong", StepCa::PROVISIONER]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("hunter2"), "{run}");
    base("nobody", &wrong).fails(2).says(["no provisioner `nobody`", "`dev`"]);
    base(StepCa::X5C, &wrong).fails(2).says(["of type X5C", "`dev`"]);
    let home = place.path();
    Trustup::new(["token", "web.internal", "--provisioner", "dev", "--ca-url", &ca.url(), "--fingerprint"])
        .env("HOME", home)
        .arg("aa".repeat(32))
        .arg("--password-file")
        .arg(ca.password_file())
        .fails(4)
        .says(["does not know a root"]);
    // A root file instead of the fingerprint.
    let run =
        Trustup::new(["token", "web.internal", "--provisioner", "dev", "--ca-url", &ca.url(), "--ca-root"])
            .env("HOME", home)
            .arg(ca.root_file())
            .args(["--password-file", "-"])
            .stdin(format!("{}\r\n", ca.password()))
            .ok();
    let read = jws::peek(&printed(&run)).expect("a token");
    assert_eq!(read.claim("sha"), Some(ca.fingerprint().as_str()));
}

/// Our key for the CA's JWK provisioner.
fn provisioner_key(ca: &StepCa) -> ProvisionerKey {
    with_client(ca, None, async |client| {
        let listed = client.provisioners().await.expect("a list");
        mint::decrypt_key(&listed, StepCa::PROVISIONER, ca.password().as_bytes()).expect("the key")
    })
}

/// What is wrong with a token, by all that can be known.
fn found(ca: &StepCa, token: &str, our_clock: Option<i64>) -> Vec<Cause> {
    let url = Url::parse(&ca.url()).expect("a URL");
    let (provisioners, skew) = with_client(ca, our_clock, async |client| {
        (client.provisioners().await.expect("a list"), client.skew())
    });
    let facts = diagnosis::RefusalFacts {
        token,
        now: our_clock.unwrap_or_else(now),
        skew,
        ca_url: &url,
        ca_names: &[],
        provisioners: Some(&provisioners),
        presented_before: None,
    };
    diagnosis::diagnose(&facts).into_iter().map(|finding| finding.cause).collect()
}

/// The explanation of a refusal.
fn explained(ca: &StepCa, token: &str, error: Error, presented_before: Option<i64>) -> Error {
    let url = Url::parse(&ca.url()).expect("a URL");
    let facts = diagnosis::RefusalFacts {
        token,
        now: now(),
        skew: Some(0),
        ca_url: &url,
        ca_names: &[],
        provisioners: None,
        presented_before,
    };
    diagnosis::explain(error, &facts)
}

#[test]
#[ignore = "needs step-ca"]
fn every_token_that_the_ca_refuses_is_diagnosed_and_no_other() {
    let mut ca = StepCa::start(StepCaOptions::default());
    let key = provisioner_key(&ca);
    let other = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let (url, elsewhere) =
        (Url::parse(&ca.url()).expect("a URL"), Url::parse("https://elsewhere.test").expect("a URL"));
    let made = |now: i64, provisioner: &str, ca_url: &Url, key: &PrivateKey, kid: &str| {
        let request = mint::TokenRequest {
            provisioner,
            subject: "web.internal",
            names: &[],
            ca_url,
            hosts: &[],
            root: None,
            now,
            valid_for: mint::VALID_FOR,
            csr: None,
        };
        mint::mint(&request, &Signer::Jwk { key, kid }).expect("a token").to_string()
    };
    let (dev, kid) = (StepCa::PROVISIONER, key.kid.as_str());
    // The CA itself says yes or no; we have to say why.
    for (token, wanted) in [
        (made(now(), dev, &url, &key.key, kid), None),
        (made(now() + 40, dev, &url, &key.key, kid), None),
        (made(now() + 120, dev, &url, &key.key, kid), Some(Cause::NotYetValid)),
        (made(now() - 1000, dev, &url, &key.key, kid), Some(Cause::Expired)),
        (made(now(), dev, &elsewhere, &key.key, kid), Some(Cause::WrongAudience)),
        (made(now(), "nobody", &url, &key.key, kid), Some(Cause::UnknownProvisioner)),
        (made(now(), dev, &url, &key.key, "old"), Some(Cause::UnknownKey)),
        (made(now(), dev, &url, &other, kid), Some(Cause::WrongSignature)),
    ] {
        let (_, signed) = sign(&ca, &token, &["web.internal"]);
        assert_eq!(found(&ca, &token, None), wanted.into_iter().collect::<Vec<_>>());
        match (signed, wanted) {
            (Ok(_), None) => {}
            (Err(failed), Some(cause)) => {
                assert_eq!(failed.status, Some(401), "{cause:?}: {}", failed.error);
                assert!(failed.sent && !failed.is_unsettled(), "{cause:?}");
            }
            (signed, wanted) => panic!("the CA and we do not agree: {signed:?}, {wanted:?}"),
        }
    }
    // Clocks: ours is ten minutes behind, so what we mint is expired there.
    let behind = now() - 600;
    let token = made(behind, dev, &url, &key.key, kid);
    assert_eq!(found(&ca, &token, Some(behind)), [Cause::ClockSkew]);
    assert_eq!(sign(&ca, &token, &["web.internal"]).1.expect_err("refused").status, Some(401));

    // Used twice.
    let token = made(now(), dev, &url, &key.key, kid);
    sign(&ca, &token, &["web.internal"]).1.expect("the first time");
    let again = sign(&ca, &token, &["web.internal"]).1.expect_err("the second time");
    assert_eq!(again.status, Some(401));
    let error = explained(&ca, &token, again.error, Some(now()));
    assert!(error.what().contains("presented before"), "{error}");

    // From before the CA's start.
    let token = made(now(), dev, &url, &key.key, kid);
    ca.restart();
    let early = sign(&ca, &token, &["web.internal"]).1.expect_err("from before the start");
    assert_eq!(early.status, Some(401));
    let error = explained(&ca, &token, early.error, None);
    assert!(error.hints().iter().any(|hint| hint.contains("started after the token was made")), "{error:?}");
}

#[test]
#[ignore = "needs step-ca"]
fn what_the_ca_forbids_is_said_in_its_words() {
    let ca = StepCa::start(StepCaOptions::default());
    let token = || printed(&by_password(&ca, &["web.internal"]).ok());
    let (_, names) = sign(&ca, &token(), &["other.internal"]);
    let names = names.expect_err("other names");
    assert_eq!((names.status, names.error.kind().exit_code()), (Some(403), 4));
    assert!(names.error.causes()[0].contains("other.internal"), "{:?}", names.error);
    let key = PrivateKey::generate(KeyType::EcP256).expect("a key");
    let csr = key.csr(&["web.internal".parse().expect("a name")], None).expect("a request");
    for (life, status) in
        [(NotAfter::Duration(48 * 3600), 403), (NotAfter::Duration(60), 403), (NotAfter::Moment(1), 400)]
    {
        let token = token();
        let refused = with_client(&ca, None, async |client| client.sign(&csr, &token, Some(life)).await);
        let refused = refused.expect_err("a life that is not allowed");
        assert_eq!(refused.status, Some(status), "{:?}", refused.error);
    }
}

#[test]
#[ignore = "needs step"]
fn step_decrypts_what_we_encrypt() {
    let place = place();
    let at = |name: &str| place.path().join(name);
    std::fs::write(at("password"), "correct horse").expect("written");
    passes(&mut step(
        place.path(),
        [
            "crypto",
            "jwk",
            "create",
            "public",
            "private",
            "--kty",
            "EC",
            "--crv",
            "P-256",
            "--use",
            "sig",
            "--no-password",
            "--insecure",
        ],
    ));
    let json = std::fs::read(at("private")).expect("a key");
    let compact = jwe::encrypt(&json, "jwk+json", b"correct horse", 600_000).expect("encrypted");
    std::fs::write(at("encrypted"), &compact).expect("written");
    // step signs with the key in it, and the signature is that of its public half.
    let mut signing = step(
        place.path(),
        [
            "crypto",
            "jwt",
            "sign",
            "--key",
            "encrypted",
            "--password-file",
            "password",
            "--iss",
            "a",
            "--aud",
            "b",
            "--sub",
            "c",
            "--exp",
            "4000000000",
        ],
    );
    let signed = signing.output().expect("step runs");
    assert!(signed.status.success(), "{}", said(&signed));
    let token = String::from_utf8(signed.stdout).expect("text");
    let public: Value = serde_json::from_slice(&std::fs::read(at("public")).expect("a key")).expect("JSON");
    let key = trustup::pki::jose::jwk::parse(&public).expect("a key");
    assert_eq!(jws::verify(token.trim_end(), &key).expect("verified").claim("sub"), Some("c"));
}
