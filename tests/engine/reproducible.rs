//! With `SOURCE_DATE_EPOCH` two builds give the same layers, byte for byte: registries and caches see one image.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::authority::Authority;
use crate::dockerd::{Ended, engine};
use crate::images::{Build, debian, debian_with_ca_certificates};

/// The digests of the image's layers, as uncompressed archives.
fn layers(tag: &str) -> Vec<String> {
    let output =
        engine().docker().args(["image", "inspect", "--format", "{{json .RootFS.Layers}}", tag]).output();
    serde_json::from_str(Ended::from(output.unwrap()).passed().trim()).expect("list of digests")
}

/// A base on which the engine has nothing to create before a RUN step: mount points and network files are there.
fn complete(base: &str, tag: &str) {
    let file = format!(
        "FROM {base}\nRUN [\"/bin/mkdir\", \"-p\", \"/dev\", \"/proc\", \"/sys\"]\nCOPY hosts /etc/hosts\nCOPY hosts /etc/resolv.conf\n"
    );
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), file).unwrap();
    std::fs::write(context.path().join("hosts"), "").unwrap();
    let mut build = engine().docker();
    build.args(["build", "--network", "host", "--tag", tag]).arg(context.path());
    Ended::from(build.output().unwrap()).passed();
}

/// Waits until the clock shows another second, so that equal times cannot be luck.
fn next_second() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = now();
    while now() < start + 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The members of the image's last layer with their times, to show what differs.
fn listing(tag: &str) -> String {
    let mut save = engine().docker().args(["save", tag]).stdout(Stdio::piped()).spawn().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let tar = Command::new("tar")
        .arg("-xC")
        .arg(directory.path())
        .stdin(save.stdout.take().unwrap())
        .status()
        .unwrap();
    assert!(tar.success() && save.wait().unwrap().success());
    let manifest = std::fs::read(directory.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let last = manifest[0]["Layers"].as_array().and_then(|layers| layers.last()).unwrap();
    let layer = directory.path().join(last.as_str().unwrap());
    Ended::from(Command::new("tar").args(["--full-time", "-tvf"]).arg(layer).output().unwrap()).passed()
}

fn twice(target: &'static str, variable: &str, base: &str, epoch: Option<&str>) -> [String; 2] {
    let authority = Authority::new("Reproducible Root");
    let server = authority.serve(&[]);
    ["a", "b"].map(|round| {
        next_second();
        let tag = format!("trustup-test/{target}-{}-{round}", epoch.unwrap_or("now"));
        let build = Build::of(target)
            .option("--no-cache")
            .argument(variable, base)
            .argument("CA_URL", &server.url(""))
            .argument("CA_FINGERPRINT", &authority.fingerprint());
        match epoch {
            Some(epoch) => build.argument("SOURCE_DATE_EPOCH", epoch),
            None => build,
        }
        .into(&tag)
        .passed();
        tag
    })
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn two_builds_give_the_same_image() {
    complete(debian(), "trustup-test/complete-debian");
    let [a, b] = twice("without-the-binary", "DEBIAN", "trustup-test/complete-debian", Some("1700000000"));
    assert_eq!(layers(&a), layers(&b), "\n{}\n{}", listing(&a), listing(&b));
    assert!(
        listing(&a).contains("ca-certificates.crt"),
        "the layer holds what was installed:\n{}",
        listing(&a)
    );
    assert!(!listing(&a).contains(" trustup\n"), "the binary is left behind:\n{}", listing(&a));
}

/// Only the last layer, the RUN step's: BuildKit stamps the directory that COPY writes to with the time of the build.
#[test]
#[ignore = "needs root and Debian's docker.io"]
fn two_builds_give_the_same_layer_where_the_native_tool_works() {
    let base = "trustup-test/complete-debian-with-ca-certificates";
    complete(debian_with_ca_certificates(), base);
    let [a, b] =
        twice("debian-with-ca-certificates", "DEBIAN_WITH_CA_CERTIFICATES", base, Some("1700000000"));
    assert_eq!(layers(&a).last(), layers(&b).last(), "\n{}\n{}", listing(&a), listing(&b));
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn without_the_variable_the_layers_differ() {
    complete(debian(), "trustup-test/complete-debian-now");
    let [a, b] = twice("without-the-binary", "DEBIAN", "trustup-test/complete-debian-now", None);
    assert_ne!(layers(&a), layers(&b), "then the other test proves nothing");
}
