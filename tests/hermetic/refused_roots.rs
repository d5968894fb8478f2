//! `bootstrap` warns of roots whose servers common clients refuse: from the root alone, whatever clients are there.

use std::path::Path;

use tempfile::TempDir;

use crate::support::run::{Run, Trustup, unpacked};

/// A root of a CA in the field: `lax`, as easy-rsa makes them; `critext`, with a private critical extension; …
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/roots").join(format!("{name}.crt"));
    path.display().to_string()
}

fn bootstrap(root: &TempDir, names: &[&str], options: &[&str]) -> Run {
    let files: Vec<String> = names.iter().flat_map(|name| ["--ca-file".to_owned(), file(name)]).collect();
    let arguments = files.iter().map(String::as_str).chain(options.iter().copied());
    // The certificates end in 2036.
    Trustup::at(root.path(), ["bootstrap", "--allow-expired"].into_iter().chain(arguments)).run()
}

/// The lines about clients.
fn warnings(run: &Run) -> Vec<String> {
    assert_eq!(run.code, Some(0), "{run}");
    let lines = run.stderr.lines().filter(|line| line.contains("will refuse"));
    lines.map(|line| line.trim_start_matches("warning: ").to_owned()).collect()
}

#[test]
fn clients_that_will_refuse_the_servers_of_a_root_are_named_once_a_reason() {
    for (name, expected) in [
        ("good", &[][..]),
        (
            "lax",
            &[
                "Python 3.13 and later will refuse servers of O=Example Field,CN=Field A lax Root: the root is a CA without keyUsage and has basicConstraints that are not marked critical",
            ],
        ),
        (
            "noski",
            &[
                "Python 3.13 and later will refuse servers of O=Example Field,CN=Field A noski Root: the root is a CA without subjectKeyIdentifier",
            ],
        ),
        (
            "critext",
            &[
                "OpenSSL, GnuTLS, Go and rustls will refuse servers of O=Example Field,CN=Field A critext Root: the root has an unhandled critical extension (1.3.6.1.4.1.99999.1)",
            ],
        ),
        (
            "ncdir",
            &[
                "Go and rustls will refuse servers of CN=Field A ncdir Root: the root has nameConstraints with a directoryName",
            ],
        ),
        ("p521", &[]),
    ] {
        let root = unpacked("debian-12");
        let first = bootstrap(&root, &[name], &[]);
        assert_eq!(warnings(&first), expected, "{name}: {first}");
        // The second run has nothing to do, and the reason is still there.
        let second = bootstrap(&root, &[name], &["--json"]);
        let said = second.json();
        let listed: Vec<&str> =
            said["warnings"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        assert_eq!(
            listed.iter().filter(|line| line.contains("will refuse")).count(),
            expected.len(),
            "{second}"
        );
    }
}

#[test]
fn roots_with_the_same_fault_share_a_line() {
    let root = unpacked("debian-12");
    let copy = tempfile::tempdir().unwrap();
    // Another root with that fault: an extension is the only one that rcgen adds as it is told to.
    let mut params = crate::support::ca::root_params("Another Root");
    let mut extension =
        rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], b"\x0c\x05hello".to_vec());
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    let other = crate::support::ca::root_with(params).write(copy.path(), "other.pem").display().to_string();
    let run = bootstrap(&root, &["critext"], &["--ca-file", &other]);
    let [line] = &warnings(&run)[..] else { panic!("{run}") };
    assert!(line.contains("1 other root"), "{line}");
}

#[test]
fn public_roots_are_no_news() {
    let root = unpacked("scratch");
    let run = bootstrap(&root, &["good"], &["--with-web-pki"]);
    assert_eq!(warnings(&run), Vec::<String>::new());
}
