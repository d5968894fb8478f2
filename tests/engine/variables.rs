//! What `env` prints for a Dockerfile and for `--env-file`, read by a real engine (threat T15): every byte arrives.

use std::fs;
use std::path::Path;
use std::process::Command;

use trustup::trust::runtimes::{ProgramVariable, RootLocations, render, variables};

use crate::dockerd::{Ended, engine};
use crate::images::import;

const IMAGE: &str = "trustup-test/empty";
/// As in the shell's test: quotes, expansions, spaces, letters beyond ASCII, what a Dockerfile takes for its own.
const TRAP: &str = "/it's a \"trap\" $(touch x) ${PATH} $PATH \\$PATH \\\" \\\\ # = `y` ü 日本 \\";

fn wanted() -> Vec<ProgramVariable> {
    let path = |name: &str| format!("{TRAP}/{name}");
    let roots = RootLocations {
        bundle: path("bundle.pem"),
        // At the very end, where a line could seem to go on.
        directory: Some(format!("{TRAP}\\")),
        anchor: Some(path("anchor ")),
        keystore: None,
    };
    variables(&roots, |_| None)
}

/// The variables that `docker inspect` reports of a container or an image, without what the engine adds.
fn environment(of: &str) -> Vec<String> {
    let mut docker = engine().docker();
    docker.args(["inspect", "--format", "{{json .Config.Env}}", of]);
    let answer = Ended::from(docker.output().expect("client")).passed();
    let mut all: Vec<String> = serde_json::from_str(answer.trim()).unwrap();
    all.retain(|one| !one.starts_with("PATH="));
    all.sort();
    all
}

fn expected() -> Vec<String> {
    let mut all: Vec<String> = wanted().iter().map(|one| format!("{}={}", one.name, one.value)).collect();
    all.sort();
    all
}

fn empty_image(directory: &Path) {
    let root = directory.join("root");
    fs::create_dir(&root).unwrap();
    import(&root, IMAGE);
}

fn ended(docker: &mut Command) -> String {
    Ended::from(docker.output().expect("client")).passed()
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn t15_an_env_file_brings_every_byte() {
    let directory = tempfile::tempdir().unwrap();
    empty_image(directory.path());
    let file = directory.path().join("ca.env");
    fs::write(&file, format!("{}\n", render::docker(&wanted()).unwrap().join("\n"))).unwrap();
    let said = ended(engine().docker().args(["create", "--env-file"]).arg(&file).args([IMAGE, "/nothing"]));
    // Standard error comes behind it: the engine warns of networks that it does without.
    let container = said.lines().next().expect("an id").trim().to_owned();
    let found = environment(&container);
    ended(engine().docker().args(["rm", &container]));
    assert_eq!(found, expected());
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn t15_env_lines_of_a_dockerfile_bring_every_byte() {
    let directory = tempfile::tempdir().unwrap();
    empty_image(directory.path());
    let context = directory.path().join("context");
    fs::create_dir(&context).unwrap();
    let lines = render::dockerfile(&wanted()).unwrap().join("\n");
    fs::write(context.join("Dockerfile"), format!("FROM {IMAGE}\n{lines}\nLABEL last=one\n")).unwrap();
    let tag = "trustup-test/with-variables";
    ended(engine().docker().args(["build", "--tag", tag]).arg(&context));
    assert_eq!(environment(tag), expected());
}
