//! Sources 1 and 2: a step-ca, and a root at any address.

use super::*;

#[test]
fn a_step_ca_gives_the_pinned_root_and_nothing_is_believed_before() {
    let ca = ca();
    let server = serve(&ca);
    for url in [
        server.url(),
        format!("{}/", server.url()),
        format!("127.0.0.1:{}/some/path", server.address().port()),
    ] {
        let acquired = Run::new([step_ca(&url, false)]).pin(ca.fingerprint()).succeeds();
        assert_eq!(fingerprints(&acquired), [ca.fingerprint()], "{url}");
        assert!(acquired.anchors[0].pinned && acquired.left_out.is_empty() && acquired.warnings.is_empty());
        let report = &acquired.sources[0];
        assert_eq!(report.id, format!("{}/", server.url()));
        assert!(report.contacted && report.fresh && !report.replaces && report.proxy.is_none(), "{report:?}");
    }
}

#[test]
fn t8_a_wrong_fingerprint_shows_both_and_offers_neither() {
    let (honest, other) = (ca(), ca());
    let answer = format!("{{\"ca\":{:?}}}", other.root_pem());
    let server = giving(&honest, answer);
    let expected = honest.fingerprint();
    let error = Run::new([step_ca(server.url(""), false)])
        .pin(expected)
        .fails(ErrorKind::NotTrusted, &["expected", "received", "step certificate fingerprint"]);
    assert!(
        error.what().contains(&expected.hex()) && error.what().contains(&other.fingerprint().hex()),
        "{error}"
    );
    assert!(
        !error.hints().join(" ").contains(&other.fingerprint().hex()),
        "a hint offers the received value"
    );

    let server = giving(&honest, other.root_pem());
    let error = Run::new([root_url(server.url("/root.crt"))])
        .pin(expected)
        .fails(ErrorKind::NotTrusted, &["expected", "received"]);
    assert!(
        error.what().contains(&expected.hex()) && error.what().contains(&other.fingerprint().hex()),
        "{error}"
    );
    assert!(!error.hints().join(" ").contains(&other.fingerprint().hex()));
}

#[test]
fn a_root_that_the_ca_does_not_know_is_not_trusted() {
    let server = serve(&ca());
    let pin = Fingerprint::of(b"another root");
    Run::new([step_ca(server.url(), false)])
        .pin(pin)
        .fails(ErrorKind::NotTrusted, &["does not know", &pin.hex(), "--root-url"]);
}

#[test]
fn what_is_no_step_ca_is_told_apart() {
    let ca = ca();
    let two = format!("{{\"ca\":{:?}}}", ca.root_pem() + &self::ca().root_pem());
    for (content, kind, words) in [
        ("<!DOCTYPE html><html><body>It works!</body></html>".to_owned(), ErrorKind::Usage, "--root-url"),
        ("{}".to_owned(), ErrorKind::Usage, "does not answer as a step-ca"),
        ("{\"ca\":\"\"}".to_owned(), ErrorKind::Usage, "empty"),
        (two, ErrorKind::Usage, "exactly one"),
    ] {
        let server = giving(&ca, content);
        Run::new([step_ca(server.url(""), false)]).pin(ca.fingerprint()).fails(kind, &[words]);
    }
    let server = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), |_, stream| {
        respond(stream, 500, &[], b"oops")
    });
    Run::new([step_ca(server.url(""), false)]).pin(ca.fingerprint()).fails(ErrorKind::Failed, &["500"]);
}

#[test]
fn several_pins_are_each_asked_for_and_each_must_be_found() {
    let (one, other) = (ca(), ca());
    let (first, second) = (serve(&one), serve(&other));
    let sources = || [step_ca(first.url(), false), step_ca(second.url(), false)];
    let acquired = Run::new(sources()).pin(one.fingerprint()).pin(other.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [one.fingerprint(), other.fingerprint()]);
    assert_eq!(acquired.anchors[1].source, format!("{}/", second.url()));
    let third = Fingerprint::of(b"nobody's");
    Run::new(sources()).pin(one.fingerprint()).pin(third).fails(ErrorKind::NotTrusted, &[&third.hex()]);
}

#[test]
fn all_roots_come_over_tls_that_the_pinned_root_verifies() {
    let ca = ca();
    let server = serve(&ca);
    let acquired = Run::new([step_ca(server.url(), true)]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert!(acquired.sources[0].vouched_by.as_deref().is_some_and(|who| who.contains("pinned root")));

    // Whoever stands in between can hand on the real root, but not speak for it.
    let (attacker, evil) = (self::ca(), self::ca());
    let (root, roots) = (
        format!("{{\"ca\":{:?}}}", ca.root_pem()),
        format!("{{\"crts\":[{:?},{:?}]}}", ca.root_pem(), evil.root_pem()),
    );
    let answer = move |head: &str, stream: &mut dyn Stream| -> io::Result<()> {
        let body = if path_of(head) == "/roots" { &roots } else { &root };
        respond(stream, 200, &[], body.as_bytes())
    };
    let between = WebServer::https(attacker.issue(&["127.0.0.1"]).expect("issued"), answer.clone());
    Run::new([step_ca(between.url(""), true)])
        .pin(ca.fingerprint())
        .fails(ErrorKind::NotTrusted, &["not issued by"]);

    // The CA itself may name others, and they need no pin.
    let honest = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), answer);
    let acquired = Run::new([step_ca(honest.url(""), true)]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint(), evil.fingerprint()]);
    assert_eq!(acquired.anchors.iter().map(|anchor| anchor.pinned).collect::<Vec<_>>(), [true, false]);
}

/// T42: a CA is asked for its list again, what it announced earlier vouches for it, and nothing is lost while it is away.
#[test]
fn t42_a_list_of_roots_is_asked_for_again() {
    let (pinned, next) = (ca(), ca());
    let roots = format!("{{\"crts\":[{:?}]}}", next.root_pem());
    let answer = move |_: &str, stream: &mut dyn Stream| respond(stream, 200, &[], roots.as_bytes());
    // It serves a certificate of the root that it announced.
    let moved = WebServer::https(next.issue(&["127.0.0.1"]).expect("issued"), answer);
    let again = |url: String, previous: &[Fingerprint]| {
        let id = format!("{}roots", url);
        Run::new([step_ca(url, true)])
            .pin(pinned.fingerprint())
            .knowing(&pinned)
            .knowing(&next)
            .previous(&id, previous, &[])
            .with(|request| request.ask_again = true)
    };
    let both = [pinned.fingerprint(), next.fingerprint()];
    let acquired = again(moved.url("/"), &both).succeeds();
    assert!(acquired.sources[0].contacted && acquired.sources[0].fresh);
    assert_eq!(fingerprints(&acquired), both);
    // What is only trusted here, and was never announced by this CA, does not vouch for it.
    again(moved.url("/"), &[pinned.fingerprint()]).fails(ErrorKind::NotTrusted, &["not issued by"]);

    let away = format!("https://{}/", nobody());
    let acquired = again(away.clone(), &both).succeeds();
    assert!(!acquired.sources[0].fresh, "{:?}", acquired.sources);
    assert_eq!(fingerprints(&acquired), both);
    assert!(
        acquired.warnings[0].contains("could not be asked for its roots again"),
        "{:?}",
        acquired.warnings
    );
    let strict = again(away, &both).with(|request| request.require_fresh = true);
    strict.fails(ErrorKind::Unreachable, &["refused"]);
}

#[test]
fn a_root_at_any_address_is_taken_in_every_form() {
    let ca = ca();
    let other = self::ca();
    for content in
        [ca.root_pem().into_bytes(), ca.root_der().to_vec(), ca.root_pem().replace('\n', "\r\n").into_bytes()]
    {
        let server = WebServer::http(move |_, stream| respond(stream, 200, &[], &content));
        let acquired = Run::new([root_url(server.url("/root.crt"))]).pin(ca.fingerprint()).succeeds();
        assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    }
    // What is not pinned is left out and named, even among the pinned.
    let server = giving(&ca, other.root_pem() + &ca.root_pem());
    let acquired = Run::new([root_url(server.url("/roots.pem"))]).pin(ca.fingerprint()).succeeds();
    assert_eq!(fingerprints(&acquired), [ca.fingerprint()]);
    assert_eq!(acquired.left_out.len(), 1);
    assert_eq!(acquired.left_out[0].fingerprint, Some(other.fingerprint()));
}

#[test]
fn t15_a_login_in_the_url_is_used_masked_and_warned_of() {
    let ca = ca();
    let root = ca.root_pem();
    let server = WebServer::https(ca.issue(&["127.0.0.1"]).expect("issued"), move |head, stream| {
        // RFC 7617: base64 of `bob:hunter2`.
        let known = head.to_lowercase().contains("authorization: basic ym9iomh1bnrlcji=");
        respond(stream, if known { 200 } else { 401 }, &[], root.as_bytes())
    });
    let source = |login: &str| {
        root_url(server.url_at(&format!("{login}{}", server.address()), "/root.crt?token=hunter2"))
    };
    let acquired = Run::new([source("bob:hunter2@")]).pin(ca.fingerprint()).succeeds();
    assert!(acquired.warnings[0].contains("not verified"), "{:?}", acquired.warnings);
    assert!(!format!("{acquired:?}").contains("hunter2"), "{acquired:?}");
    let error =
        Run::new([source("bob:wrong@")]).pin(ca.fingerprint()).fails(ErrorKind::Failed, &["401", "login"]);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn what_is_no_certificate_is_an_error_with_a_hint() {
    let ca = ca();
    let pem = ca.root_pem();
    let contents: [(&str, Vec<u8>); 7] = [
        ("HTML", b"<html><body>Sign in</body></html>".to_vec()),
        ("empty", Vec::new()),
        ("garbage", vec![0xff; 300]),
        ("cut off", pem.as_bytes()[..pem.len() / 2].to_vec()),
        ("JSON", b"{\"error\":1}".to_vec()),
        ("key", private_key().into_bytes()),
        ("key behind", format!("{pem}{}", private_key()).into_bytes()),
    ];
    for (what, content) in contents {
        let server = giving(&ca, content);
        for source in [root_url(server.url("/x.crt")), step_ca(server.url(""), false)] {
            let error = Run::new([source]).pin(ca.fingerprint()).fails(ErrorKind::Usage, &[]);
            assert!(!error.to_string().contains("BEGIN"), "{what}: content is quoted: {error}");
        }
    }
}

#[test]
fn a_pinned_leaf_is_still_no_root() {
    let ca = ca();
    let leaf = leaf(&ca);
    let server = giving(&ca, leaf.clone());
    Run::new([root_url(server.url("/leaf.crt"))])
        .pin(Fingerprint::of(&leaf))
        .fails(ErrorKind::Usage, &["unsuitable"]);
}

#[test]
fn an_expired_root_needs_leave() {
    let ca = ca();
    let server = serve(&ca);
    let mut run = Run::new([step_ca(server.url(), false)]).pin(ca.fingerprint());
    run.now += 31 * 24 * 3600;
    run.fails(ErrorKind::Usage, &["expired", "--allow-expired"]);
    let mut run = Run::new([step_ca(server.url(), false)])
        .pin(ca.fingerprint())
        .with(|request| request.allow_expired = true);
    run.now += 31 * 24 * 3600;
    assert_eq!(fingerprints(&run.succeeds()), [ca.fingerprint()]);
}
