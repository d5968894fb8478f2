//! Runs the real readers, each once for all certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::PublicKeyData;
use trustup::pki::cert::{Certificate, pem};
use trustup::pki::keystore::{Keystore, StorePassword, alias_for};
use trustup::pki::nss;

use super::odd::Odd;
use crate::support::der::{TestCertificate, common_name};
use crate::support::go;
use crate::support::java::{CHANGEIT, Java};

/// What became of a certificate between two good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It is there.
    Loads,
    /// It alone is not.
    Root,
    /// The good ones are not there either.
    Store,
}

/// What became of it, and what the reader says.
pub(super) type Verdict = (Outcome, String);

/// By name of the reader and number of the certificate.
pub(super) type Verdicts = BTreeMap<(String, usize), Verdict>;

/// Runs a command to its end; what it printed.
#[track_caller]
fn printed(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Takes lines of READER, NUMBER, OUTCOME, reason apart; `prefix` goes in front of the reader.
fn collect(lines: &[u8], prefix: &str, verdicts: &mut Verdicts) {
    for line in String::from_utf8_lossy(lines).lines() {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [reader, number, outcome, why] = fields[..] else { panic!("{line:?}") };
        let outcome = match outcome {
            "loads" => Outcome::Loads,
            "root" => Outcome::Root,
            "store" => Outcome::Store,
            _ => panic!("{line:?}"),
        };
        let number = number.parse().expect("a number");
        verdicts.insert((format!("{prefix}{reader}"), number), (outcome, why.to_owned()));
    }
}

fn file(directory: &Path, number: usize, extension: &str) -> PathBuf {
    directory.join(format!("{number:05}.{extension}"))
}

/// Two roots that every reader loads.
fn good() -> [Certificate; 2] {
    ["Good 1", "Good 2"]
        .map(|name| Certificate::from_der(&TestCertificate::named(common_name(name)).der()).expect("a root"))
}

/// Asks every reader about every certificate; those in keystores and databases stand there as we write them. NSS and
/// p11-kit get the accepted ones, the first so many, all at once.
pub(super) fn ask(certificates: &[Certificate], accepted: usize) -> Verdicts {
    let directory = tempfile::TempDir::new().expect("a directory");
    let at = directory.path();
    let good = good();
    for (number, root) in good.iter().enumerate() {
        std::fs::write(at.join(format!("good-{}.der", number + 1)), root.der()).expect("written");
    }
    let leaf = Odd {
        issuer: Some(common_name("Good 1")),
        subject: common_name("leaf"),
        // Java looks no further where a certificate has the key of its own issuer.
        public_key: rcgen::KeyPair::generate().expect("a key").subject_public_key_info(),
        extensions: Vec::new(),
        ..Odd::default()
    };
    std::fs::write(at.join("good-leaf.der"), leaf.der()).expect("written");
    for (number, certificate) in certificates.iter().enumerate() {
        std::fs::write(file(at, number, "der"), certificate.der()).expect("written");
    }
    let mut verdicts = Verdicts::new();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut verdicts = Verdicts::new();
            openssl_gnutls_and_nss(at, &good, &certificates[..accepted], &mut verdicts);
            go(at, &mut verdicts);
            p11_kit(at, &good, &certificates[..accepted], &mut verdicts);
            rustls(certificates, &mut verdicts);
            verdicts
        });
        java(at, &good, certificates, &mut verdicts);
        verdicts.extend(others.join().expect("the readers ran"));
    });
    verdicts
}

fn openssl_gnutls_and_nss(
    at: &Path,
    good: &[Certificate],
    certificates: &[Certificate],
    verdicts: &mut Verdicts,
) {
    let mut databases = nss::Databases::new().expect("new");
    for root in good {
        databases.add(root, &nss::nickname_for(root)).expect("added");
    }
    let mut numbers = String::new();
    for (number, certificate) in certificates.iter().enumerate() {
        match databases.add(certificate, &nss::nickname_for(certificate)) {
            Ok(added) => {
                assert!(added.is_some());
                numbers.push_str(&format!("{number:05}\n"));
            }
            // A database knows a certificate by issuer and serial number, which those that were changed share.
            Err(nss::NssRefusal::SerialTaken) => {}
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    let files = databases.into_files().expect("files");
    let database = at.join("nss");
    std::fs::create_dir(&database).expect("a directory");
    std::fs::write(database.join("numbers"), numbers).expect("written");
    std::fs::write(database.join(nss::CERT_DB), files.cert9).expect("written");
    std::fs::write(database.join(nss::KEY_DB), files.key4).expect("written");
    std::fs::write(at.join("readers.py"), include_str!("readers.py")).expect("written");
    let mut python = Command::new("/usr/bin/python3");
    python.arg("readers.py").arg(at).arg(&database).current_dir(at).env_clear().env("LC_ALL", "C.UTF-8");
    collect(&printed(&mut python), "", verdicts);
}

fn go(at: &Path, verdicts: &mut Verdicts) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/odd_certificates/readers.go");
    go::build(&source, &at.join("readers-go"));
    collect(&printed(Command::new(at.join("readers-go")).arg(at)), "", verdicts);
}

/// What p11-kit makes of a bundle with all of them; see `smuggled_root` for the mount.
fn p11_kit(at: &Path, good: &[Certificate], certificates: &[Certificate], verdicts: &mut Verdicts) {
    let bundle: String = good.iter().chain(certificates).map(Certificate::to_pem).collect();
    std::fs::write(at.join("bundle-of-all.pem"), bundle).expect("written");
    let script = "mount --bind bundle-of-all.pem /etc/ssl/certs/ca-certificates.crt && \
                  trust extract --format=pem-bundle --filter=ca-anchors --overwrite extracted.pem";
    let mut command = Command::new("/usr/bin/unshare");
    command
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .current_dir(at)
        .env_clear();
    printed(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("P11_KIT_NO_USER_CONFIG", "1"));
    let extracted = std::fs::read(at.join("extracted.pem")).expect("extracted");
    let there: Vec<Vec<u8>> = pem::blocks(&extracted).into_iter().filter_map(|block| block.der).collect();
    let there: std::collections::BTreeSet<Vec<u8>> = there.into_iter().collect();
    assert!(good.iter().all(|root| there.contains(root.der())), "p11-kit lost the good ones");
    for (number, certificate) in certificates.iter().enumerate() {
        let outcome = if there.contains(certificate.der()) { Outcome::Loads } else { Outcome::Root };
        verdicts.insert(("p11-kit".to_owned(), number), (outcome, String::new()));
    }
}

fn rustls(certificates: &[Certificate], verdicts: &mut Verdicts) {
    for (number, certificate) in certificates.iter().enumerate() {
        let der = rustls::pki_types::CertificateDer::from(certificate.der());
        let verdict = match webpki::anchor_from_trusted_cert(&der) {
            Ok(_) => (Outcome::Loads, String::new()),
            Err(error) => (Outcome::Root, error.to_string()),
        };
        verdicts.insert(("rustls".to_owned(), number), verdict);
    }
}

fn java(at: &Path, good: &[Certificate], certificates: &[Certificate], verdicts: &mut Verdicts) {
    let javas = Java::installed();
    for (number, root) in good.iter().enumerate() {
        let name = format!("good-{}.pem", number + 1);
        std::fs::write(at.join(&name), root.to_pem()).expect("written");
        let options = format!("-file {name} -storetype PKCS12 -keystore seed -storepass {CHANGEIT}");
        javas[0].keytool(at, &format!("-importcert -noprompt -alias {number} {options}"));
    }
    let seed = std::fs::read(at.join("seed")).expect("read");
    let mut jks = Keystore::new_jks();
    for root in good {
        jks.add(&alias_for(root), root, 1).expect("added");
    }
    let jks = jks.to_bytes(&mut |_| Ok(())).expect("bytes");
    for (number, certificate) in certificates.iter().enumerate() {
        for (extension, bytes) in [("jks", &jks), ("p12", &seed)] {
            let mut keystore = Keystore::parse(bytes, &StorePassword::default()).expect("parses");
            assert!(keystore.add("odd", certificate, 1).expect("added"));
            let bytes = keystore.to_bytes(&mut |bytes| {
                bytes.fill(7);
                Ok(())
            });
            std::fs::write(file(at, number, extension), bytes.expect("bytes")).expect("written");
        }
    }
    std::fs::write(at.join("Readers.java"), include_str!("Readers.java")).expect("written");
    let compiled = javas[0].output(at, "javac", &["--release", "11", "Readers.java"]);
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    for java in &javas {
        let output = java.output(at, "java", &["-XX:+UseSerialGC", "-cp", ".", "Readers", "."]);
        assert!(output.status.success(), "{}: {}", java.name, String::from_utf8_lossy(&output.stderr));
        collect(&output.stdout, &format!("{}: ", java.name), verdicts);
    }
}
