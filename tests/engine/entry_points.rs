//! Mistakes with ENTRYPOINT, CMD, ARG and the exec form, made with a real engine and a real build: each is named, and what
//! the message says to do helps. And a container that is created anew while its CA is down.

use std::fs;
use std::path::Path;

use crate::authority::Authority;
use crate::dockerd::{Container, Ended, engine};
use crate::images::{assert_distrusts, assert_trusts, debian, run};
use crate::support::binary;

/// A directory with the shipped binary, for COPY.
struct Context(tempfile::TempDir);

impl Context {
    fn new() -> Context {
        let context = Context(tempfile::tempdir().expect("a directory"));
        fs::copy(binary::shipped(), context.path().join("trustup")).expect("copied");
        context
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Builds this Dockerfile into the image `tag`.
    fn build(&self, tag: &str, dockerfile: &str, arguments: &[(&str, &str)]) -> Ended {
        fs::write(self.path().join("Dockerfile"), dockerfile).expect("written");
        let mut docker = engine().docker();
        docker.args(["build", "--network", "host", "--tag", tag]);
        for (name, value) in arguments {
            docker.arg("--build-arg").arg(format!("{name}={value}"));
        }
        Ended::from(docker.arg(self.path()).output().expect("client"))
    }
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn an_entry_point_that_resets_the_command_starts_no_service() {
    let (base, tag) = ("trustup-test/with-command", "trustup-test/command-reset");
    let context = Context::new();
    let authority = Authority::new("Root Before a Service");
    fs::write(context.path().join("root.pem"), authority.pem()).expect("written");
    let service = r#"CMD ["/bin/echo", "the service has started"]"#;
    let from = format!("FROM {}\nCOPY trustup root.pem /\n{service}\n", debian());
    context.build(base, &from, &[]).passed();
    let entry = r#"ENTRYPOINT ["/trustup", "bootstrap", "--ca-file", "/root.pem", "--"]"#;
    context.build(tag, &format!("FROM {base}\n{entry}\n"), &[]).passed();
    let said = run(tag, &[], &[]).exited(2);
    assert!(said.contains("ENTRYPOINT in a Dockerfile resets the CMD"), "{said}");
    assert!(!said.contains("now trusted") && !said.contains("has started"), "{said}");
    // As the hint says.
    context.build(tag, &format!("FROM {base}\n{entry}\n{service}\n"), &[]).passed();
    let said = run(tag, &[], &[]).passed();
    assert!(said.contains("now trusted") && said.contains("the service has started"), "{said}");
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_build_argument_that_did_not_arrive_is_named() {
    let tag = "trustup-test/build-arguments";
    let context = Context::new();
    let authority = Authority::new("Root of a Build Argument");
    let (ca, server) = (authority.serve(&[]), authority.serve(&[]));
    let (url, pin) = (ca.url(""), authority.fingerprint());
    let arguments = [("CA_URL", url.as_str()), ("CA_FINGERPRINT", pin.as_str())];
    let variables = "ENV CA_URL=${CA_URL} CA_FINGERPRINT=${CA_FINGERPRINT}";
    let stage = |before: &str, behind: &str, step: &str| {
        format!("{before}FROM {}\n{behind}{variables}\nCOPY trustup /\nRUN {step}\n", debian())
    };
    let bootstrap = r#"["/trustup", "bootstrap"]"#;
    // What stands before FROM is not there behind it.
    let wrong = stage("ARG CA_URL\n", "ARG CA_FINGERPRINT\n", bootstrap);
    let said = context.build(tag, &wrong, &arguments).failed();
    assert!(said.contains("`CA_URL` is set, and empty"), "{said}");
    assert!(said.contains("an ARG before FROM is empty after FROM: repeat `ARG CA_URL` there"), "{said}");
    assert_eq!(ca.connections(), 0);
    let right = stage("", "ARG CA_URL\nARG CA_FINGERPRINT\n", bootstrap);
    assert_distrusts(debian(), &server.url("/"));
    context.build(tag, &right, &arguments).passed();
    assert_trusts(tag, &server.url("/"));

    // In the exec form no shell replaces variables.
    let options =
        r#"["/trustup", "bootstrap", "--ca-url", "${CA_URL}", "--fingerprint", "${CA_FINGERPRINT}"]"#;
    let wrong = stage("", "ARG CA_URL\nARG CA_FINGERPRINT\n", options);
    let said = context.build(tag, &wrong, &arguments).failed();
    assert!(said.contains("nothing replaced that by a value") && said.contains("exec form"), "{said}");
    let shell = r#"/trustup bootstrap --ca-url "${CA_URL}" --fingerprint "${CA_FINGERPRINT}""#;
    let right = stage("", "ARG CA_URL\nARG CA_FINGERPRINT\n", shell);
    context.build(tag, &right, &arguments).passed();
    assert_trusts(tag, &server.url("/"));
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn a_container_that_is_created_anew_while_the_ca_is_down() {
    let tag = "trustup-test/with-cache";
    let context = Context::new();
    context.build(tag, &format!("FROM {}\nCOPY trustup /\n", debian()), &[]).passed();
    let authority = ["/trustup", "--json", "dev-ca", "--listen", "127.0.0.1:0", "--state", "/root/state"];
    let ca = Container::start(tag, &["--network", "host"], &authority);
    let ready = ca.ready();
    let text = |name: &str| ready[name].as_str().expect("text").to_owned();
    let (url, pin) = (text("url"), text("fingerprint"));
    let volume = tempfile::tempdir().expect("a directory");
    let volume = format!("{}:/cache", volume.path().display());
    let start = |options: &[&str]| {
        let command = ["/trustup", "--timeout", "5s", "bootstrap", "--ca-url", &url, "--fingerprint", &pin];
        let service = ["--", "/bin/echo", "the service has started"];
        run(tag, &["--volume", &volume], &[&command[..], options, &service].concat())
    };
    let has_started = |said: &str| said.contains("now trusted") && said.contains("the service has started");
    let said = start(&["--cache", "/cache"]).passed();
    assert!(has_started(&said), "{said}");
    ca.stop();
    let said = start(&["--cache", "/cache"]).passed();
    assert!(has_started(&said), "{said}");
    for options in [&[][..], &["--cache", "/cache", "--require-fresh"]] {
        let said = start(options).exited(6);
        assert!(said.contains("refused the connection") && !has_started(&said), "{options:?}: {said}");
    }
}
