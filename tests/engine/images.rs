//! The base images of the tests: root file systems made by debootstrap, and a fixture, imported into the engine in
//! place of the public images that `Dockerfile.examples` names.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::dockerd::{Ended, engine};
use crate::programs::client;
use crate::support::binary;
use crate::support::roots::Base;
use crate::support::run::unpacked;

/// Debian 12 as the published slim image has it: no ca-certificates, no openssl.
pub(crate) fn debian() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(&Base::Debian12Bare.kept(), "trustup-test/debian"));
    "trustup-test/debian"
}

/// Debian 12 with ca-certificates, openssl and TLS clients.
pub(crate) fn debian_with_ca_certificates() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(&Base::Clients.kept(), "trustup-test/debian-with-ca-certificates"));
    "trustup-test/debian-with-ca-certificates"
}

/// Debian with p11-kit, laid out as this family and with a tool that runs the family's extractions.
pub(crate) fn laid_out_as(base: Base) -> &'static str {
    static TAGS: [(Base, &str, OnceLock<()>); 3] = [
        (Base::RedHat, "trustup-test/red-hat", OnceLock::new()),
        (Base::Arch, "trustup-test/arch", OnceLock::new()),
        (Base::Suse, "trustup-test/suse", OnceLock::new()),
    ];
    let (_, tag, made) = TAGS.iter().find(|(known, ..)| *known == base).expect("a family of p11-kit's");
    made.get_or_init(|| import(&base.kept(), tag));
    tag
}

/// The fixture of the published BusyBox image: no os-release, no `/etc/ssl`, no package of certificates.
pub(crate) fn busybox() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(unpacked("busybox").path(), "trustup-test/busybox"));
    "trustup-test/busybox"
}

/// Debian laid out as Photon with its packages of certificates, and curl.
pub(crate) fn photon() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(&Base::Photon.kept(), "trustup-test/photon"));
    "trustup-test/photon"
}

/// The fixture of the published Nix image: its bundle is in the store.
pub(crate) fn nix() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(unpacked("nixos-nix-2.31").path(), "trustup-test/nix"));
    "trustup-test/nix"
}

/// Debian 13 with a Java of its own.
pub(crate) fn java() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(&Base::Java.kept(), "trustup-test/java"));
    "trustup-test/java"
}

/// Debian 12 with Chromium.
pub(crate) fn browsers() -> &'static str {
    static TAG: OnceLock<()> = OnceLock::new();
    TAG.get_or_init(|| import(&Base::Browsers.kept(), "trustup-test/browsers"));
    "trustup-test/browsers"
}

/// Imports the tree at `root` as the image `tag`.
pub(crate) fn import(root: &Path, tag: &str) {
    let mut tar = Command::new("tar")
        .args(["--numeric-owner", "--create", "--file=-", "--directory"])
        .arg(root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar");
    let archive = tar.stdout.take().expect("pipe");
    Ended::from(engine().docker().args(["import", "-", tag]).stdin(archive).output().expect("client"))
        .passed();
    assert!(tar.wait().expect("tar").success());
}

/// Builds `target` of `Dockerfile.examples` into an image of the same name below `trustup-test/`.
pub(crate) struct Build {
    target: &'static str,
    arguments: Vec<String>,
}

impl Build {
    /// A build on the test's base images, with the network of the host.
    pub(crate) fn of(target: &'static str) -> Build {
        let build = Build { target, arguments: vec!["--network".to_owned(), "host".to_owned()] };
        build
            .argument("DEBIAN", debian())
            .argument("DEBIAN_WITH_CA_CERTIFICATES", debian_with_ca_certificates())
            .argument("BUNDLE_ONLY", busybox())
            .argument("PHOTON", photon())
            .argument("NIX", nix())
    }

    /// A build argument.
    pub(crate) fn argument(mut self, name: &str, value: &str) -> Build {
        self.arguments.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
        self
    }

    /// Any other option of `docker build`.
    pub(crate) fn option(mut self, option: &str) -> Build {
        self.arguments.push(option.to_owned());
        self
    }

    /// Runs the build; the image is `tag`.
    pub(crate) fn into(self, tag: &str) -> Ended {
        let context = binary::shipped().parent().expect("directory");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile.examples");
        let mut docker = engine().docker();
        docker
            .arg("build")
            .args(self.arguments)
            .args(["--target", self.target, "--tag", tag, "--file"])
            .arg(file);
        Ended::from(docker.arg(context).output().expect("client"))
    }
}

/// `docker run` of `image` with the host's network and the TLS client mounted at `/client`.
pub(crate) fn run(image: &str, options: &[&str], command: &[&str]) -> Ended {
    let mut docker = engine().docker();
    docker
        .args(["run", "--rm", "--network", "host", "--volume"])
        .arg(format!("{}:/client:ro", client().display()));
    Ended::from(docker.args(options).arg(image).args(command).output().expect("client"))
}

/// What the TLS client says in a container of `image`, started without the image's own entry point.
pub(crate) fn reach(image: &str, url: &str) -> Ended {
    run(image, &["--entrypoint", "/client"], &[url])
}

/// Fails unless a container of `image` refuses the server at `url` because its root is unknown.
#[track_caller]
pub(crate) fn assert_distrusts(image: &str, url: &str) {
    let said = reach(image, url).failed();
    assert!(
        said.contains("certificate signed by unknown authority"),
        "not refused for the right reason:\n{said}"
    );
}

/// Fails unless a container of `image` reaches the server at `url`.
#[track_caller]
pub(crate) fn assert_trusts(image: &str, url: &str) {
    let said = reach(image, url).passed();
    assert!(said.contains(crate::authority::GREETING), "{said}");
}
