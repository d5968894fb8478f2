//! Files that people give by mistake, as the programs write them that make them: each is named, and its hint is
//! followed with the same programs until trustup accepts the result.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::ca::{self, Root};
use crate::support::hints;
use crate::support::run::{Run, Trustup, unpacked};

/// A root `ca.crt` with its key `ca.key`, a certificate request, a public key, keystores.
struct Scene {
    directory: TempDir,
    sysroot: TempDir,
    ca: Root,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene {
            directory: TempDir::new().unwrap(),
            sysroot: unpacked("debian-12-minimal"),
            ca: ca::root("Wrong Input Root"),
        };
        fs::write(scene.directory.path().join("ca.crt"), &scene.ca.pem).unwrap();
        fs::write(scene.directory.path().join("ca.key"), &scene.ca.key_pem).unwrap();
        scene
    }

    /// Makes `wrong` with a shell command.
    fn make(&self, command: &str) {
        // Files of the case before.
        for name in ["wrong", "ca.pem", "ca.der", "NEW"] {
            let _ = fs::remove_file(self.directory.path().join(name));
        }
        sh(self.directory.path(), command);
    }

    fn bootstrap(&self, file: &str) -> Run {
        let run = Trustup::at(self.sysroot.path(), ["bootstrap", "--dry-run", "--json", "--ca-file"]);
        run.arg(self.directory.path().join(file)).run()
    }

    #[track_caller]
    fn accepts(&self, file: &str, case: &str) {
        let run = self.bootstrap(file);
        assert_eq!(run.code, Some(0), "{case}: {run}");
        assert_eq!(run.json()["anchors"][0]["fingerprint"], self.ca.pin().as_str(), "{case}: {run}");
    }
}

#[track_caller]
fn sh(directory: &Path, command: &str) {
    let output = Command::new("sh").args(["-e", "-c", command]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&output.stderr));
}

const OPENSSL_REQUEST: &str = "openssl req -new -key ca.key -subj /CN=x";

/// How it is made, what trustup says, the hint up to the program that makes it right, and the file that it makes.
#[test]
#[ignore = "needs openssl, keytool, iconv, certutil, pk12util"]
fn each_wrong_certificate_is_named_and_its_hint_works() {
    let scene = Scene::new();
    let secret = |kind: &str, key: &str| {
        format!(
            "printf 'apiVersion: v1\\nkind: {kind}\\ndata:\\n  {key}: %s\\n' \"$(base64 -w0 ca.crt)\" >wrong"
        )
    };
    let json = "sed ':a;N;$!ba;s/\\n/\\\\n/g' ca.crt";
    const PRINTF: &str = "make lines of it: `printf '%b' \"$(cat FILE)\"";
    let cases: Vec<(&str, String, &str, &str, &str)> = vec![
        ("base64 of PEM, one line", "base64 -w0 ca.crt >wrong".into(), "base64 once more", "decode it: `base64 -d", "ca.pem"),
        ("base64 of PEM, wrapped", "base64 ca.crt >wrong".into(), "base64 once more", "decode it: `base64 -d", "ca.pem"),
        (
            "base64 of PEM in quotes",
            "printf '\"%s\"' \"$(base64 -w0 ca.crt)\" >wrong".into(),
            "base64 once more",
            "decode it: `grep",
            "ca.pem",
        ),
        (
            "base64 of DER",
            "openssl x509 -in ca.crt -outform DER | base64 >wrong".into(),
            "base64 without the BEGIN and END lines",
            "decode it: `base64 -d",
            "ca.der",
        ),
        ("a Secret", secret("Secret", "ca.crt"), "a Kubernetes Secret (YAML)", "decode it: `grep", "ca.pem"),
        ("a Secret of TLS", secret("Secret", "tls.crt"), "a Kubernetes Secret (YAML)", "decode it: `grep", "ca.pem"),
        (
            "a Secret as JSON",
            "printf '{\"apiVersion\":\"v1\",\"data\":{\"ca.crt\":\"%s\"},\"kind\":\"Secret\"}' \"$(base64 -w0 ca.crt)\" >wrong"
                .into(),
            "a Kubernetes Secret (JSON)",
            "decode it: `grep",
            "ca.pem",
        ),
        (
            "a ConfigMap as JSON",
            format!("printf '{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{{\"ca.crt\":\"%s\"}}}}' \"$({json})\" >wrong"),
            "a Kubernetes ConfigMap (JSON): its line ends are written as",
            PRINTF,
            "ca.pem",
        ),
        ("literal line ends", format!("{json} >wrong"), "the two characters `\\n`", PRINTF, "ca.pem"),
        (
            "literal line ends of Windows",
            "sed ':a;N;$!ba;s/\\n/\\\\r\\\\n/g' ca.crt >wrong".into(),
            "the two characters `\\n`",
            PRINTF,
            "ca.pem",
        ),
        (
            "a JSON string",
            format!("printf '\"%s\"' \"$({json})\" >wrong"),
            "as a JSON string",
            PRINTF,
            "ca.pem",
        ),
        (
            "step-ca's answer",
            format!("printf '{{\"ca\":\"%s\"}}' \"$({json})\" >wrong"),
            "JSON with PEM in it",
            PRINTF,
            "ca.pem",
        ),
        ("en dashes", "sed 's/-/–/g' ca.crt >wrong".into(), "U+2013", "sed", "ca.pem"),
        ("em dashes", "sed 's/-----/———/g' ca.crt >wrong".into(), "U+2014", "sed", "ca.pem"),
        ("minus signs", "sed 's/-/−/g' ca.crt >wrong".into(), "U+2212", "sed", "ca.pem"),
        (
            "four hyphens at the end",
            "sed 's/^-----END CERTIFICATE-----/-----END CERTIFICATE----/' ca.crt >wrong".into(),
            "its END line is damaged",
            "sed",
            "ca.pem",
        ),
        (
            "four hyphens at the beginning",
            "sed '1s/^-----/----/' ca.crt >wrong".into(),
            "BEGIN or END line is missing or damaged",
            "sed",
            "ca.pem",
        ),
        (
            "non-breaking spaces",
            "sed 's/^MII/\u{a0}MII/' ca.crt >wrong".into(),
            "U+00A0",
            "LC_ALL=C tr",
            "ca.pem",
        ),
        ("UTF-16, little-endian", "iconv -t UTF-16LE ca.crt >wrong".into(), "UTF-16 (without", "write it as ASCII: `tr", "NEW"),
        ("UTF-16, big-endian", "iconv -t UTF-16BE ca.crt >wrong".into(), "UTF-16 (without", "write it as ASCII: `tr", "NEW"),
        ("UTF-16 with a mark", "iconv -t UTF-16 ca.crt >wrong".into(), "UTF-16 (with", "write it as ASCII: `tr", "NEW"),
        (
            "two encodings",
            "(cat ca.crt; iconv -t UTF-16 ca.crt) >wrong".into(),
            "two encodings",
            "write it as ASCII: `tr",
            "NEW",
        ),
        ("gzip", "gzip -c ca.crt >wrong".into(), "a gzip archive", "gzip", "NEW"),
        (
            "PKCS#12 with a password",
            "openssl pkcs12 -export -nokeys -in ca.crt -passout pass:hunter2 -out wrong".into(),
            "has a password",
            "openssl pkcs12",
            "ca.pem",
        ),
        (
            "PKCS#12 with a key",
            "openssl pkcs12 -export -inkey ca.key -in ca.crt -passout pass:hunter2 -out wrong".into(),
            "private key (PKCS#12)",
            "openssl pkcs12",
            "ca.pem",
        ),
        ("certificate and key", "cat ca.key ca.crt >wrong".into(), "private key (PEM)", "sed", "ca.pem"),
        (
            "a Secret with a key",
            "printf 'apiVersion: v1\\nkind: Secret\\ndata:\\n  tls.crt: %s\\n  tls.key: %s\\n' \
             \"$(base64 -w0 ca.crt)\" \"$(base64 -w0 ca.key)\" >wrong"
                .into(),
            "it has a private key (PEM); this is a Kubernetes Secret (YAML)",
            "decode it: `grep",
            "ca.pem",
        ),
        (
            "PKCS#7 in BER",
            "openssl cms -sign -nodetach -stream -binary -in ca.crt -signer ca.crt -inkey ca.key -outform DER -out wrong"
                .into(),
            "BER with indefinite lengths",
            "convert it: `openssl pkcs7 -inform DER",
            "ca.pem",
        ),
        (
            "bytes behind it",
            "(openssl x509 -in ca.crt -outform DER; printf junk) >wrong; rm ca.crt".into(),
            "has 4 bytes behind it",
            "create it again from the original: `openssl x509",
            "ca.crt",
        ),
        (
            "distrusted by itself",
            "openssl x509 -in ca.crt -addreject serverAuth -out wrong; rm ca.crt".into(),
            "its own trust settings",
            "if you trust it anyway, convert it to a plain certificate: `openssl x509",
            "ca.crt",
        ),
        (
            "p11-kit's own format",
            "(printf '[p11-kit-object-v1]\\ntrusted: true\\nx-distrusted: false\\n'; cat ca.crt) >wrong".into(),
            "p11-kit's own format",
            "if it distrusts nothing (`x-distrusted: true`), give its certificates as PEM: `sed",
            "ca.pem",
        ),
        (
            "PKCS#12 with an old cipher",
            "openssl pkcs12 -export -legacy -nokeys -in ca.crt -passout pass:hunter2 -certpbe PBE-SHA1-RC4-128 -out wrong"
                .into(),
            "the encryption algorithm 1.2.840.113549.1.12.1.1 are not supported",
            "convert it: `openssl pkcs12 -legacy",
            "ca.pem",
        ),
        (
            "PKCS#12 of NSS, in BER",
            "rm -rf nss; mkdir nss; certutil -N --empty-password -d sql:nss; \
             openssl pkcs12 -export -inkey ca.key -in ca.crt -passout pass:x -name n -out k.p12; \
             pk12util -i k.p12 -W x -d sql:nss; pk12util -o wrong -n n -W hunter2 -d sql:nss"
                .into(),
            "PKCS#12 in BER",
            "convert it: `openssl pkcs12 -legacy",
            "ca.pem",
        ),
        ("a tar archive", "tar -cf wrong ca.crt; rm ca.crt".into(), "a tar archive", "unpack it: `tar -xf", "ca.crt"),
    ];
    for (case, make, wanted, hint, made) in cases {
        scene.make(&make);
        let run = scene.bootstrap("wrong");
        assert!(matches!(run.code, Some(2 | 5)), "{case}: {run}");
        run.says([wanted, hint, "wrong"]);
        let program = hint.rsplit('`').next().unwrap();
        // The file has a name of its own, as a user's.
        let command = hints::command(&run, program);
        hints::follow(&command, scene.directory.path(), &[("FILE", "wrong")], "hunter2\n");
        scene.accepts(made, case);
    }
}

/// What has no certificate: named, with what to give instead.
#[test]
#[ignore = "needs openssl, keytool, tar, zip"]
fn what_is_no_certificate_is_named() {
    let scene = Scene::new();
    let cases: Vec<(&str, String, &str)> = vec![
        ("a CSR", format!("{OPENSSL_REQUEST} -out wrong"), "a certificate signing request (CSR)"),
        ("a CSR as DER", format!("{OPENSSL_REQUEST} -outform DER -out wrong"), "a certificate signing request (CSR)"),
        ("a public key", "openssl pkey -in ca.key -pubout -out wrong".into(), "a public key"),
        ("the same as DER", "openssl pkey -in ca.key -pubout -outform DER -out wrong".into(), "a public key"),
        (
            "an RSA public key",
            "openssl genrsa 2048 2>/dev/null | openssl rsa -RSAPublicKey_out -outform DER -out wrong".into(),
            "a public key",
        ),
        ("an encrypted key", "openssl pkey -in ca.key -aes256 -passout pass:x -out wrong".into(), "private key"),
        ("a key as DER", "openssl pkey -in ca.key -outform DER -out wrong".into(), "private key"),
        ("an SSH key", "ssh-keygen -q -t ed25519 -N '' -f wrong".into(), "private key"),
        ("an SSH public key", "rm -f s s.pub; ssh-keygen -q -t ed25519 -N '' -f s; cp s.pub wrong".into(), "an SSH public key"),
        (
            "an SSH certificate",
            "rm -f s s.pub; ssh-keygen -q -t ed25519 -N '' -f s; ssh-keygen -q -s s -I x s.pub; cp s-cert.pub wrong"
                .into(),
            "an SSH certificate",
        ),
        (
            "a CRL",
            "touch index; printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ndefault_md=sha256\\ndefault_crl_days=1\\n' >c; \
             openssl ca -config c -gencrl -keyfile ca.key -cert ca.crt -out wrong"
                .into(),
            "a certificate revocation list (CRL)",
        ),
        (
            "a CRL as DER",
            "openssl ca -config c -gencrl -keyfile ca.key -cert ca.crt | openssl crl -outform DER -out wrong".into(),
            "a certificate revocation list (CRL)",
        ),
        (
            "an OCSP response",
            "openssl ocsp -index index -rsigner ca.crt -rkey ca.key -CA ca.crt -issuer ca.crt -cert ca.crt \
             -respout wrong -noverify"
                .into(),
            "an OCSP response",
        ),
        ("a tar archive", "tar -cf wrong ca.crt".into(), "a tar archive"),
        ("an image", "printf '\\211PNG\\r\\n\\032\\n\\0\\0\\0\\r' >wrong".into(), "an image (PNG)"),
        ("a login page", "printf '<!DOCTYPE html><html><title>Sign in</title>' >wrong".into(), "a web page"),
        (
            "a ConfigMap without one",
            "printf 'apiVersion: v1\\nkind: ConfigMap\\ndata:\\n  x: y\\n' >wrong".into(),
            "a Kubernetes ConfigMap (YAML)",
        ),
        ("white space", "printf ' \\r\\n\\t' >wrong".into(), "empty"),
    ];
    for (case, make, wanted) in cases {
        scene.make(&make);
        let run = scene.bootstrap("wrong");
        assert_eq!(run.code, Some(2), "{case}: {run}");
        run.says([wanted, "wrong", "hint: "]);
        assert!(
            run.stderr.contains("not a certificate") || wanted.contains("key") || wanted == "empty",
            "{case}: {run}"
        );
    }
}

/// Keystores without a key are read, as PKCS#7 is.
#[test]
#[ignore = "needs openssl, keytool"]
fn keystores_without_a_key_are_read() {
    let scene = Scene::new();
    let import = "keytool -importcert -noprompt -alias a -file ca.crt -keystore wrong -storepass changeit";
    let cases = [
        "openssl pkcs12 -export -nokeys -in ca.crt -passout pass: -out wrong".to_owned(),
        "openssl pkcs12 -export -nokeys -in ca.crt -passout pass:changeit -out wrong".to_owned(),
        "openssl pkcs12 -export -nokeys -in ca.crt -passout pass: -nomac -out wrong".to_owned(),
        "openssl pkcs12 -export -nokeys -in ca.crt -passout pass:changeit -certpbe NONE -out wrong"
            .to_owned(),
        format!("{import} -storetype PKCS12"),
        format!("{import} -storetype JKS"),
        "openssl crl2pkcs7 -nocrl -certfile ca.crt | sed 's/PKCS7/CERTIFICATE/' >wrong".to_owned(),
    ];
    for case in cases {
        scene.make(&case);
        scene.accepts("wrong", &case);
    }
    // With a key, in any of them: refused.
    let make = "keytool -genkeypair -alias a -keyalg EC -dname CN=x -keystore wrong -storepass changeit -keypass changeit";
    for kind in ["PKCS12", "JKS"] {
        scene.make(&format!("{make} -storetype {kind}"));
        let run = scene.bootstrap("wrong");
        assert_eq!(run.code, Some(2), "{run}");
        run.says(
            ["private key", "keystore", "hint: "]
                .into_iter()
                .filter(|word| kind == "JKS" || *word != "keystore"),
        );
    }
}
