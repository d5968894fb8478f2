//! What `--sysroot` says about an image that was saved and not unpacked: its hints, followed to the letter.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::dockerd::{Ended, engine};
use crate::images::debian_with_ca_certificates;
use crate::support::ca;
use crate::support::run::Trustup;

/// Runs a command of a hint in `directory`, with the engine's client as `docker`.
fn follow(directory: &Path, command: &str) {
    let docker = engine().docker();
    let mut shell = Command::new("/bin/bash");
    shell.args(["-o", "pipefail", "-euc", command]).current_dir(directory).env_clear().stdin(Stdio::null());
    for (name, value) in docker.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    Ended::from(shell.output().expect("bash")).passed();
}

/// The commands in the hints of this message: what is between backquotes and calls Docker.
fn commands(said: &str, image: &str) -> Vec<String> {
    let hints: Vec<&str> = said.lines().filter(|line| line.contains("hint:")).collect();
    let quoted = hints.iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|text| text.contains("docker ")).map(|text| text.replace("IMAGE", image)).collect()
}

#[test]
#[ignore = "needs root and Debian's docker.io"]
fn the_hints_unpack_what_docker_save_wrote() {
    let image = debian_with_ca_certificates();
    let place = tempfile::tempdir().unwrap();
    let root = ca::root("Root of a Saved Image").write(place.path(), "root.pem");
    let saved = place.path().join("image.tar");
    let mut save = engine().docker();
    Ended::from(save.args(["save", "--output"]).arg(&saved).arg(image).output().expect("client")).passed();
    let bootstrap = |sysroot: &Path| Trustup::at(sysroot, ["bootstrap", "--ca-file"]).arg(&root);
    let run = bootstrap(&saved).fails(2);
    run.says(["a tar archive", "an archive of `docker save` holds layers: `docker load -i FILE`, then:"]);
    // First the hints of the archive itself.
    let rootfs = place.path().join("rootfs");
    let steps = commands(&run.stderr, image);
    assert_eq!(steps.len(), 3, "{steps:?}: {run}");
    for step in &steps[1..] {
        follow(place.path(), &step.replace("FILE", "image.tar"));
    }
    bootstrap(&rootfs).arg("--dry-run").ok();
    std::fs::remove_dir_all(&rootfs).unwrap();

    let unpacked = place.path().join("image");
    std::fs::create_dir(&unpacked).unwrap();
    follow(place.path(), "tar -x -f image.tar -C image");
    let run = bootstrap(&unpacked).fails(2);
    run.says(["docker save", "must be unpacked"]);
    let steps = commands(&run.stderr, image);
    assert_eq!(steps.len(), 2, "{steps:?}: {run}");
    for step in &steps {
        follow(place.path(), step);
    }
    bootstrap(&rootfs).ok();
    Trustup::at(&rootfs, ["status"]).ok();

    // The context of a build.
    let context = place.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM {image}\nLABEL built=here\n")).unwrap();
    let run = bootstrap(&context).fails(2);
    run.says(["hint: build the image first; then:"]);
    follow(place.path(), "docker build --quiet --tag built-here context");
    let [step] = &commands(&run.stderr, "built-here")[..] else { panic!("{run}") };
    std::fs::remove_dir_all(&rootfs).unwrap();
    follow(place.path(), step);
    bootstrap(&rootfs).arg("--dry-run").ok();

    // And an empty directory.
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let run = bootstrap(&empty).fails(2);
    let [step] = &commands(&run.stderr, image)[..] else { panic!("{run}") };
    std::fs::remove_dir_all(&rootfs).unwrap();
    follow(place.path(), step);
    bootstrap(&rootfs).ok();
    // That of an image FROM scratch.
    let mark =
        run.stderr.split('`').find(|text| text.starts_with("mkdir ") && text.ends_with("/etc")).unwrap();
    follow(place.path(), mark);
    bootstrap(&empty).ok();
    Trustup::at(&empty, ["status"]).ok();
}

/// What skopeo copies to a directory, in both of its forms.
#[test]
#[ignore = "needs root, Debian's docker.io, skopeo and umoci"]
fn the_hints_unpack_what_skopeo_copied() {
    let image = debian_with_ca_certificates();
    let place = tempfile::tempdir().unwrap();
    let root = ca::root("Root of a Copied Image").write(place.path(), "root.pem");
    let bootstrap = |sysroot: &Path| Trustup::at(sysroot, ["bootstrap", "--ca-file"]).arg(&root);
    let rootfs = place.path().join("rootfs");
    let mut save = engine().docker();
    Ended::from(
        save.args(["save", "--output"]).arg(place.path().join("image.tar")).arg(image).output().unwrap(),
    )
    .passed();
    follow(place.path(), "skopeo copy docker-archive:image.tar oci:layout:tag");
    follow(place.path(), "skopeo copy docker-archive:image.tar dir:copy");
    // Skopeo knows no DOCKER_HOST: the engine of the tests is not at the usual place.
    let fill = |command: &str| {
        let filled = command.replace("IMAGE", "copied").replace(":TAG", ":tag");
        filled.replace("skopeo copy ", "skopeo copy --dest-daemon-host \"$DOCKER_HOST\" ")
    };
    let quoted = |said: &str, program: &str| {
        let hints = said.lines().filter(|line| line.contains("hint: "));
        let mut found = hints.flat_map(|line| line.split('`').skip(1).step_by(2));
        let found = found.find(|text| text.starts_with(program)).map(fill);
        found.unwrap_or_else(|| panic!("no command of {program}: {said}"))
    };
    let loaded = |said: &str| {
        follow(place.path(), &quoted(said, "skopeo copy "));
        follow(
            place.path(),
            &quoted(said, "mkdir rootfs ").replace("create copied x", "create copied:tag x"),
        );
        bootstrap(&rootfs).arg("--dry-run").ok();
        std::fs::remove_dir_all(&rootfs).unwrap();
    };

    let run = bootstrap(&place.path().join("layout")).fails(2);
    run.says(["its layers are archives and must be unpacked: `umoci unpack --image ", "`skopeo copy oci:"]);
    follow(place.path(), &quoted(&run.stderr, "umoci unpack "));
    bootstrap(&place.path().join("bundle/rootfs")).ok();
    loaded(&run.stderr);

    let run = bootstrap(&place.path().join("copy")).fails(2);
    run.says(["hint: load it with `skopeo copy dir:"]);
    loaded(&run.stderr);
}
