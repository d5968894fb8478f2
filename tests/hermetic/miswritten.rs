//! What people really did when a value is wrong: a variable that is set and empty, a name that nothing replaced by its
//! value, quotation marks that came along. The message names that, and its hint works.

use crate::support::ca;
use crate::support::dev_ca::DevCaProcess;
use crate::support::run::{Run, Trustup, unpacked};

/// Nobody listens there.
const DOWN: &str = "https://127.0.0.1:1";

fn bootstrap(variables: &[(&str, &str)], options: &[&str]) -> Run {
    let root = unpacked("debian-12");
    let run = Trustup::at(root.path(), ["bootstrap", "--dry-run"]).args(options);
    variables.iter().fold(run, |run, (name, value)| run.env(name, value)).run()
}

#[test]
fn an_empty_address_is_named_and_not_its_fingerprint() {
    let pin = "ab".repeat(32);
    for (variables, words) in [
        (
            &[("CA_URL", ""), ("CA_FINGERPRINT", pin.as_str())][..],
            "`CA_URL` is set, and empty, so `CA_FINGERPRINT`",
        ),
        (
            &[("CA_URL", ""), ("TRUSTUP_FINGERPRINT", &pin)],
            "`CA_URL` is set, and empty, so `TRUSTUP_FINGERPRINT`",
        ),
        (&[("TRUSTUP_CA_URL", ""), ("TRUSTUP_FINGERPRINT", &pin)], "`TRUSTUP_CA_URL` is set, and empty, so"),
        (
            &[("CA_URL", ""), ("CA_FINGERPRINT", &pin), ("CA_BUNDLE_URL", "https://x.test/b.pem")],
            "`CA_URL` is set, and empty, so `CA_FINGERPRINT`",
        ),
        (
            &[("CA_URL", ""), ("CA_FINGERPRINT", ""), ("TRUSTUP_CA_FILE", "/x")],
            "`CA_FINGERPRINT` is set, and empty",
        ),
    ] {
        let run = bootstrap(variables, &[]);
        assert_eq!(run.code, Some(2), "{run}");
        run.says([words, "ARG before FROM", "--build-arg"]);
    }
    let run = bootstrap(&[("CA_URL", "")], &[]);
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["no source of certificates", "`CA_URL` is set, and empty"]);
    let run = Trustup::new(["token", "a.test", "--password-file", "/dev/null"]);
    let run = run.env("CA_URL", "").env("CA_FINGERPRINT", &pin).run();
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["`CA_URL` is set, and empty"]);
}

#[test]
fn a_name_that_nothing_replaced_is_named() {
    let pin = "ab".repeat(32);
    for (options, part) in [
        (&["--ca-url", DOWN, "--fingerprint", "${CA_FINGERPRINT}"][..], "${CA_FINGERPRINT}"),
        (&["--ca-url", "${CA_URL}", "--fingerprint", &pin], "${CA_URL}"),
        (&["--ca-url", "https://$CA_HOST:9000", "--fingerprint", &pin], "$CA_HOST"),
        (&["--root-url", "https://pki.test/{{ name }}.crt", "--fingerprint", &pin], "{{ name }}"),
        (&["--ca-file", "$(CERTIFICATES)/root.pem"], "$(CERTIFICATES)"),
        (&["--ca-file", "/x", "--timeout", "${PATIENCE:-5s}"], "${PATIENCE:-5s}"),
        (&["--ca-file", "/x", "--fingerprint", "<64 hex digits>"], "<64 hex digits>"),
        (&["--ca-file", "/x", "--name", "%NAME%"], "%NAME%"),
    ] {
        let run = bootstrap(&[], options);
        assert_eq!(run.code, Some(2), "{run}");
        run.says([format!("contains `{part}`: nothing replaced that").as_str(), "exec form"]);
        assert!(!run.stderr.contains("hex digit:"), "{run}");
    }
    for (name, value) in [
        ("CA_FINGERPRINT", "${CA_FINGERPRINT}"),
        ("CA_URL", "${CA_URL}"),
        ("TRUSTUP_CA_FILE", "{{ .Values.ca }}"),
        ("TRUSTUP_WAIT", "$(WAIT)"),
    ] {
        let good = [("CA_URL", DOWN), ("CA_FINGERPRINT", pin.as_str())];
        let others = good.into_iter().filter(|(other, _)| *other != name);
        let run = bootstrap(&others.chain([(name, value)]).collect::<Vec<_>>(), &[]);
        assert_eq!(run.code, Some(2), "{run}");
        run.says([format!("contains `{value}`: nothing replaced that").as_str(), name]);
    }
    // A service's own words are its own.
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("Words Root").write(place.path(), "root.pem");
    let run = Trustup::new(["--private-dir"]).arg(place.path().join("private"));
    let run = run.args(["bootstrap", "--stores", "private", "--ca-file"]).arg(file);
    let run = run.args(["--", "/bin/echo", "${CA_URL}", "{{x}}"]).ok();
    assert!(run.stdout.contains("${CA_URL} {{x}}"), "{run}");
}

#[test]
fn quotation_marks_are_named() {
    let pin = "ab".repeat(32);
    for quoted in [
        "\"https://ca.test:9000\"",
        "'https://ca.test'",
        "“https://ca.test”",
        "\"ca.test:9000\"",
        "https://ca.test\"",
    ] {
        for (url, fingerprint) in [("CA_URL", "CA_FINGERPRINT"), ("TRUSTUP_CA_URL", "TRUSTUP_FINGERPRINT")] {
            let run = bootstrap(&[(url, quoted), (fingerprint, &pin)], &[]);
            assert_eq!(run.code, Some(2), "{run}");
            run.says([url, "quotation marks", "--env-file"]);
            assert!(!run.stderr.contains("relative URL"), "{run}");
        }
    }
    bootstrap(&[("TRUSTUP_CA_FILE", "\"/certificates\"")], &[]).says(["TRUSTUP_CA_FILE", "quotation marks"]);
    // White space around is nothing.
    let run =
        bootstrap(&[("CA_URL", " https://127.0.0.1:1\r\n"), ("CA_FINGERPRINT", &format!("{pin}\r\n"))], &[]);
    assert_eq!(run.code, Some(6), "{run}");
}

/// One of the pair by its published name, the other by ours.
#[test]
fn an_address_and_a_fingerprint_by_two_kinds_of_variables_belong_together() {
    let ca = DevCaProcess::start(&[]);
    let other = ca::root("Other Root").fingerprint.hex();
    for (variables, code) in [
        (&[("TRUSTUP_CA_URL", ca.url()), ("CA_FINGERPRINT", ca.fingerprint())][..], 0),
        (&[("CA_URL", ca.url()), ("TRUSTUP_FINGERPRINT", ca.fingerprint())], 0),
        (&[("TRUSTUP_CA_URL", ca.url()), ("CA_FINGERPRINT", &other)], 4),
        // A pin of the same kind comes first, and the other one then pins nothing.
        (
            &[
                ("TRUSTUP_CA_URL", ca.url()),
                ("TRUSTUP_FINGERPRINT", ca.fingerprint()),
                ("CA_FINGERPRINT", &other),
            ],
            2,
        ),
        // A complete published pair pins itself alone.
        (&[("TRUSTUP_CA_URL", ca.url()), ("CA_URL", DOWN), ("CA_FINGERPRINT", ca.fingerprint())], 2),
    ] {
        let run = bootstrap(variables, &[]);
        assert_eq!(run.code, Some(code), "{run}");
    }
    // It pins nothing that the command line names, and no file beside it.
    let run = bootstrap(&[("CA_FINGERPRINT", ca.fingerprint())], &["--ca-url", ca.url()]);
    assert_eq!(run.code, Some(2), "{run}");
    let place = tempfile::tempdir().unwrap();
    let file = ca::root("File Root").write(place.path(), "root.pem").display().to_string();
    let variables =
        [("TRUSTUP_CA_URL", ca.url()), ("CA_FINGERPRINT", ca.fingerprint()), ("TRUSTUP_CA_FILE", &file)];
    let run = bootstrap(&variables, &[]);
    assert_eq!(run.code, Some(0), "{run}");
    run.says(["CN=File Root"]);
}

#[test]
fn the_clock_is_named_for_a_root_that_is_not_yet_valid() {
    let place = tempfile::tempdir().unwrap();
    let mut params = ca::root_params("Root of Tomorrow");
    params.not_before = rcgen::date_time_ymd(2080, 1, 1);
    let file = ca::root_with(params).write(place.path(), "root.pem").display().to_string();
    let run = bootstrap(&[], &["--ca-file", &file]);
    assert_eq!(run.code, Some(2), "{run}");
    run.says(["not valid before 2080-01-01", "this machine's clock says 20", "set the clock of the host"]);
    assert!(!run.stderr.contains("--allow-expired"), "a wrong clock is not to be ignored: {run}");
}

#[test]
fn localhost_that_refuses_may_be_the_container_itself() {
    let pin = "ab".repeat(32);
    for url in ["https://localhost:1", DOWN, "https://[::1]:1"] {
        let run = bootstrap(&[], &["--ca-url", url, "--fingerprint", &pin]);
        assert_eq!(run.code, Some(6), "{run}");
        run.says(["the container itself", "host.docker.internal"]);
    }
}
