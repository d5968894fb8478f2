//! `cert::readers` beside the readers themselves: OpenSSL and GnuTLS (a small C program), Go, p11-kit. Each model finds
//! what its original finds, file by file; so what we call offered is what every real client has.

mod variations;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use trustup::pki::cert::pem;
use trustup::pki::cert::readers::{self, Findings, Reader, openssl};
use trustup::pki::fingerprint::Fingerprint;

use self::variations::{Certificates, Variation};
use crate::support::xorshift::Xorshift;
use crate::support::{ca, go};

/// What a real reader found, or a model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    refused: bool,
    certificates: BTreeSet<String>,
}

impl Found {
    fn of_model(findings: &Findings) -> Found {
        Found {
            refused: findings.gives_up.is_some(),
            certificates: findings.certificates.iter().map(|der| Fingerprint::of(der).hex()).collect(),
        }
    }

    fn of_field(field: &str) -> Found {
        let list = field.strip_prefix('!');
        let certificates = list.unwrap_or(field).split(',').filter(|one| !one.is_empty());
        Found { refused: list.is_some(), certificates: certificates.map(str::to_owned).collect() }
    }
}

/// The real readers, built for this test.
struct Real {
    directory: TempDir,
}

impl Real {
    fn build() -> Real {
        let directory = TempDir::new().expect("a directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/readers");
        run(Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-o"])
            .arg(directory.path().join("c"))
            .arg(source.join("readers.c"))
            .args(["-lssl", "-lcrypto", "-lgnutls"]));
        go::build(&source.join("go/main.go"), &directory.path().join("go"));
        Real { directory }
    }

    /// What each of them finds in these files: CAfile, CApath, GnuTLS, Go.
    fn read(&self, files: &[Vec<u8>]) -> Vec<[Found; 4]> {
        let place = self.directory.path().join("files");
        fs::create_dir_all(&place).expect("a directory");
        let paths: Vec<PathBuf> = (0..files.len()).map(|index| place.join(index.to_string())).collect();
        for (path, bytes) in paths.iter().zip(files) {
            fs::write(path, bytes).expect("written");
        }
        let list: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
        let (c, go) = (self.ask("c", &list), self.ask("go", &list));
        assert_eq!((c.len(), go.len()), (files.len(), files.len()));
        c.iter()
            .zip(go)
            .map(|(line, go)| {
                let fields: Vec<Found> = line.split('\t').map(Found::of_field).collect();
                let [file, hashed, gnutls] = <[Found; 3]>::try_from(fields).expect("three fields");
                [file, hashed, gnutls, Found::of_field(&go)]
            })
            .collect()
    }

    fn ask(&self, program: &str, list: &str) -> Vec<String> {
        let input = self.directory.path().join("list");
        fs::write(&input, list).expect("written");
        let output = Command::new(self.directory.path().join(program))
            .env_clear()
            .stdin(fs::File::open(&input).expect("opened"))
            .output()
            .expect("the reader runs");
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }

    /// The same for p11-kit, which reads nothing but Debian's bundle: in a mount namespace of its own.
    fn p11_kit(&self, files: &[Vec<u8>]) -> Vec<BTreeSet<String>> {
        let place = self.directory.path().join("p11");
        fs::create_dir_all(&place).expect("a directory");
        for (index, bytes) in files.iter().enumerate() {
            fs::write(place.join(format!("{index}.in")), bytes).expect("written");
        }
        let script = "for file in *.in; do\n\
                      mount --bind \"$file\" /etc/ssl/certs/ca-certificates.crt\n\
                      trust extract --format=pem-bundle --filter=ca-anchors --overwrite \"${file%.in}.out\" 2>>errors\n\
                      umount /etc/ssl/certs/ca-certificates.crt\n\
                      done";
        run(Command::new("unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-eu", "-c", script])
            .current_dir(&place)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("P11_KIT_NO_USER_CONFIG", "1"));
        (0..files.len())
            .map(|index| {
                let out = fs::read(place.join(format!("{index}.out"))).expect("extracted");
                pem::blocks(&out)
                    .iter()
                    .map(|block| Fingerprint::of(block.der.as_deref().expect("whole")).hex())
                    .collect()
            })
            .collect()
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn certificates() -> Certificates {
    let [first, changed, last] = ["First", "Changed", "Last"].map(|name| ca::root(name).der);
    Certificates { first, changed, last }
}

/// The models of the four, in the same order.
fn models(bytes: &[u8]) -> [Found; 4] {
    [
        Found::of_model(&Reader::OpenSsl.read(bytes)),
        Found::of_model(&openssl::read_hashed(bytes)),
        Found::of_model(&Reader::GnuTls.read(bytes)),
        Found::of_model(&Reader::Go.read(bytes)),
    ]
}

/// Where model and original disagree, in words. An original also refuses a file without any certificate: that is not
/// asked of a model. With `may_be_stricter` a model may find less than its original.
fn disagreements(name: &str, bytes: &[u8], real: &[Found; 4], may_be_stricter: bool) -> Vec<String> {
    let mut found = Vec::new();
    for ((reader, model), original) in
        ["CAfile", "CApath", "GnuTLS", "Go"].iter().zip(models(bytes)).zip(real)
    {
        // Bytes above 127 at the end of a line are white space on x86 and not on Arm: the model wants both.
        let stricter =
            (may_be_stricter || !bytes.is_ascii()) && model.certificates.is_subset(&original.certificates);
        if model.certificates != original.certificates && !stricter {
            found.push(format!("{name}: {reader}: model {model:?}, original {original:?}"));
        } else if original.refused && !model.refused && !model.certificates.is_empty() {
            found.push(format!("{name}: {reader} refuses the file, and the model does not"));
        }
    }
    found
}

#[test]
#[ignore = "needs cc, libssl-dev, libgnutls28-dev, Go, p11-kit, and root for a mount namespace"]
fn every_model_finds_what_its_original_finds() {
    let real = Real::build();
    let variations: Vec<Variation> = variations::all(&certificates());
    assert!(variations.len() > 1000, "{} variations", variations.len());
    let files: Vec<Vec<u8>> = variations.iter().map(|variation| variation.bytes.clone()).collect();
    let mut wrong = Vec::new();
    for (variation, real) in variations.iter().zip(real.read(&files)) {
        wrong.extend(disagreements(&variation.name, &variation.bytes, &real, false));
    }
    for (variation, real) in variations.iter().zip(real.p11_kit(&files)) {
        let model = Found::of_model(&Reader::P11Kit.read(&variation.bytes)).certificates;
        if model != real {
            wrong.push(format!("{}: p11-kit: model {model:?}, original {real:?}", variation.name));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs cc, libssl-dev, libgnutls28-dev, Go"]
fn random_changes_make_no_model_disagree() {
    let real = Real::build();
    let certificates = certificates();
    let known = [&certificates.first, &certificates.changed, &certificates.last];
    let variations = variations::all(&certificates);
    let mut random = Xorshift(seed());
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for _ in 0..rounds() {
        let files: Vec<Vec<u8>> = (0..500)
            .map(|_| {
                let chosen = random.below(variations.len());
                random.mutate(&variations[chosen].bytes)
            })
            .collect();
        for (bytes, real) in files.iter().zip(real.read(&files)) {
            // A changed certificate is another matter: this is about the text around it.
            let seen = pem::blocks(bytes).into_iter().filter_map(|block| block.der);
            let found = Reader::OF_BUNDLES.iter().flat_map(|reader| reader.read(bytes).certificates);
            if seen.chain(found).any(|der| !known.contains(&&der)) {
                continue;
            }
            compared += 1;
            let name = String::from_utf8_lossy(bytes);
            wrong.extend(disagreements(&name, bytes, &real, true));
            // What all are said to find, all find.
            for one in readers::read(bytes, &[Reader::OpenSsl, Reader::GnuTls, Reader::Go]).offered {
                if ![0, 2, 3].iter().all(|reader: &usize| real[*reader].certificates.contains(&one.hex())) {
                    wrong.push(format!("{name}: {one} is offered, and found by not all: {real:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    }
    assert!(compared > rounds() * 50, "{compared} files were compared");
}

/// `READERS_SEED` and `READERS_ROUNDS` (of 500 files) serve a longer search than the tests have time for.
fn seed() -> u64 {
    std::env::var("READERS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0012)
}

fn rounds() -> usize {
    std::env::var("READERS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10)
}
