//! Keystores beside Java itself: keytool and a TLS client of every JDK on the machine open what we wrote, and what
//! keytool wrote survives our edits. The JKS of p11-kit beside the real `trust`.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use trustup::pki::cert::{Certificate, input};
use trustup::pki::keystore::{EntryContent, Keystore, KeystoreFormat, StorePassword, alias_for, p11_kit};

use crate::openssl::mozilla_roots;
use crate::support::ca;
use crate::support::der::{TestCertificate, UTF8, attribute, common_name, name};
use crate::support::java::{CHANGEIT, Java, compile_client, homes};
use crate::support::keystores::{KINDS, read, root, salts, survives, write};
use crate::support::run::Trustup;
use crate::support::tls_server::TlsServer;

#[test]
#[ignore = "needs openjdk-17-jdk-headless"]
fn what_keytool_wrote_survives_and_keytool_goes_on() {
    std::thread::scope(|scope| {
        for home in homes() {
            scope.spawn(move || {
                let directory = TempDir::new().expect("a directory");
                survives(&Java::at(&home), &Java::installed(), directory.path());
            });
        }
    });
}

#[test]
#[ignore = "needs openjdk-17-jdk-headless and ca-certificates"]
fn keytool_reads_a_new_keystore_of_many_roots() {
    let directory = TempDir::new().expect("a directory");
    let mut keystore = Keystore::new_jks();
    let mut roots: Vec<Certificate> = mozilla_roots()
        .iter()
        .map(|path| {
            input::read(&std::fs::read(path).expect("read"), "root").expect("a root").certificates[0].clone()
        })
        .collect();
    // Names of every kind of string, and none.
    let latin: Vec<u8> = "Größe".chars().map(|c| c as u8).collect();
    let bmp: Vec<u8> = "日本 Root".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for subject in [
        name(&[&[&attribute("2.5.4.3", UTF8, "Größe 日本 \u{1f512}".as_bytes())]]),
        name(&[&[&attribute("2.5.4.3", crate::support::der::BMP, &bmp)]]),
        name(&[&[&attribute("2.5.4.3", crate::support::der::T61, &latin)]]),
        name(&[&[&attribute("2.5.4.6", crate::support::der::PRINTABLE, b"DE")]]),
        common_name("../x, $(id)"),
    ] {
        roots.push(Certificate::from_der(&TestCertificate::named(subject).der()).expect("parses"));
    }
    for root in &roots {
        assert!(keystore.add(&alias_for(root), root, 1_700_000_000_000).expect("added"));
    }
    write(directory.path(), "many", &keystore);
    for java in Java::installed() {
        let listed = java.list(directory.path(), "many", CHANGEIT);
        assert_eq!(listed.len(), roots.len());
        for root in &roots {
            let entry = &listed[&alias_for(root)];
            assert!(
                entry.fingerprint == root.fingerprint() && entry.kind == "trustedCertEntry",
                "{}",
                java.name
            );
        }
        let wrong = ["-list", "-keystore", "many", "-storepass", "swordfish"];
        assert!(!java.output(directory.path(), "keytool", &wrong).status.success());
    }
}

#[test]
#[ignore = "needs openjdk-17-jdk-headless"]
fn the_keystores_that_come_with_java_are_read_as_keytool_reads_them() {
    let directory = TempDir::new().expect("a directory");
    for home in homes() {
        let (java, file) = (Java::at(&home), "cacerts");
        // A copy: the machine's own is nobody's to change.
        let Ok(first) = std::fs::read(home.join("lib/security/cacerts")) else { continue };
        std::fs::write(directory.path().join(file), &first).expect("written");
        let listed = java.list(directory.path(), file, CHANGEIT);
        let mut keystore = read(directory.path(), file, CHANGEIT);
        assert!(keystore.format() != KeystoreFormat::Pkcs12 && listed.len() == keystore.entries().len());
        for entry in keystore.entries() {
            let theirs = &listed[&entry.alias().to_lowercase()];
            assert_eq!((Some(theirs.fingerprint), &*theirs.kind), (entry.fingerprint(), "trustedCertEntry"));
        }
        let ours = root("Ours");
        assert!(keystore.add(&alias_for(&ours), &ours, 1).expect("added"));
        write(directory.path(), file, &keystore);
        let with = java.list(directory.path(), file, CHANGEIT);
        assert_eq!((with.len(), with[&alias_for(&ours)].fingerprint), (listed.len() + 1, ours.fingerprint()));
        assert_eq!(keystore.remove(&ours.fingerprint()), 1);
        assert_eq!(keystore.to_bytes(&mut salts).expect("bytes"), first, "{}", java.name);
    }
}

#[test]
#[ignore = "needs openjdk-17-jdk-headless"]
fn the_kinds_that_we_refuse_are_refused() {
    let directory = TempDir::new().expect("a directory");
    let java = &Java::installed()[0];
    std::fs::write(directory.path().join("root.pem"), ca::root("Root").pem).expect("written");
    let make = "-importcert -noprompt -alias a -file root.pem -storepass changeit -keystore";
    java.keytool(directory.path(), &format!("{make} jceks -storetype JCEKS"));
    java.keytool(directory.path(), &format!("{make} default -storetype PKCS12"));
    let parse = |file: &str, password: &str| {
        let bytes = std::fs::read(directory.path().join(file)).expect("read");
        Keystore::parse(&bytes, &StorePassword::new(password.to_owned()))
            .expect_err(file)
            .into_error()
            .to_string()
    };
    assert!(parse("jceks", CHANGEIT).contains("JCEKS"));
    assert!(parse("default", "swordfish").contains("password"));
}

#[test]
#[ignore = "needs openjdk-17-jdk-headless, and root for a mount namespace"]
fn a_program_with_javas_defaults_trusts_what_we_added_and_nothing_before() {
    let directory = TempDir::new().expect("a directory");
    let at = directory.path();
    compile_client(at);
    let root = ca::root("Held Out Root");
    let server = TlsServer::start(&root);
    let root = Certificate::from_der(&root.der).expect("parses");
    std::fs::write(at.join("vendor.pem"), ca::root("Vendor").pem).expect("written");
    for home in homes() {
        let maker = Java::at(&home);
        // Its own cacerts lies under the file for the time of one command, in a mount namespace of its own.
        let default = |file: &str| {
            let (home, file) = (home.clone(), file.to_owned());
            Java::new(&maker.name, move |directory, program, arguments| {
                let script = "mount --bind \"$1\" \"$2/lib/security/cacerts\" && program=$2/bin/$3 && shift 3 && exec \"$program\" \"$@\"";
                let mut command = Command::new("/usr/bin/unshare");
                command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"]);
                command.arg(&file).arg(&home).arg(program).args(arguments);
                command.current_dir(directory).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                command
            })
        };
        for (file, options, format) in
            KINDS.into_iter().filter(|kind| ["jks", "default", "plain", "with-mac"].contains(&kind.0))
        {
            if at.join(file).exists() {
                std::fs::remove_file(at.join(file)).expect("removed");
            }
            let make = format!("-keystore {file} -storepass {CHANGEIT} {options}");
            maker.keytool(at, &format!("-importcert -noprompt -alias Vendor -file vendor.pem {make}"));
            // Java opens cacerts without a password: then what is encrypted has no certificates in it.
            let named = [
                format!("-Djavax.net.ssl.trustStore={file}"),
                format!("-Djavax.net.ssl.trustStorePassword={CHANGEIT}"),
            ];
            let accepts = || match format {
                KeystoreFormat::Pkcs12 => maker.accepts(at, &[&named[0], &named[1]], &server.url()),
                _ => default(file).accepts(at, &[], &server.url()),
            };
            let refusal = accepts().expect_err("before");
            assert!(refusal.contains("PKIX path"), "{refusal}");
            let mut keystore = read(at, file, CHANGEIT);
            keystore.add(&alias_for(&root), &root, 1).expect("added");
            write(at, file, &keystore);
            accepts().unwrap_or_else(|reason| panic!("{}: {file}: {reason}", maker.name));
            if format == KeystoreFormat::Pkcs12 {
                // As its default, opened without a password: we know what Java sees.
                let bytes = std::fs::read(at.join(file)).expect("read");
                let seen = Keystore::trusted_without_password(&bytes).expect("opens");
                let accepted = default(file).accepts(at, &[], &server.url()).is_ok();
                assert_eq!(
                    (seen.contains(&root.fingerprint()), accepted),
                    (file == "with-mac", file == "with-mac")
                );
            }
            keystore.remove(&root.fingerprint());
            write(at, file, &keystore);
            accepts().expect_err("after");
        }
    }
}

/// What p11-kit makes of a bundle; see `smuggled_root` for the mount.
fn java_cacerts(directory: &Path, bundle: &str, epoch: i64) -> Vec<u8> {
    std::fs::write(directory.join("bundle.pem"), bundle).expect("written");
    let script = "mount --bind bundle.pem /etc/ssl/certs/ca-certificates.crt && \
                  trust extract --format=java-cacerts --filter=ca-anchors --overwrite out.jks";
    let output = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("P11_KIT_NO_USER_CONFIG", "1")
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(directory.join("out.jks")).expect("extracted")
}

#[test]
#[ignore = "needs p11-kit, ca-certificates, and root for a mount namespace"]
fn the_jks_of_p11_kit_is_written_byte_for_byte() {
    let directory = TempDir::new().expect("a directory");
    let unlabeled = name(&[&[&attribute("2.5.4.6", crate::support::der::PRINTABLE, b"DE")]]);
    let subjects = [
        common_name("Same Name"),
        common_name("same\tname"),
        common_name("SAMENAME"),
        common_name("SameName-1"),
        common_name("Größe 日本 X"),
        common_name("日本"),
        common_name("日"),
        common_name(" "),
        unlabeled.clone(),
        common_name("Unlabeled"),
        common_name("Held Out Root (R1), ü"),
        name(&[&[&attribute("2.5.4.10", UTF8, b"Only Org")]]),
    ];
    let mut bundle: String = subjects
        .iter()
        .map(|subject| {
            Certificate::from_der(&TestCertificate::named(subject.clone()).der()).expect("parses").to_pem()
        })
        .collect();
    for path in mozilla_roots() {
        bundle.push_str(&std::fs::read_to_string(path).expect("read"));
    }
    let theirs = java_cacerts(directory.path(), &bundle, 1_700_000_000);
    let keystore = Keystore::parse(&theirs, &StorePassword::default()).expect("parses");
    assert!(keystore.entries().len() > 100 + subjects.len());
    // The certificates in their order; everything else is ours.
    let roots: Vec<p11_kit::ListedRoot> = keystore
        .entries()
        .iter()
        .map(|entry| match entry.content() {
            EntryContent::Trusted { der, .. } => {
                p11_kit::ListedRoot::of(&Certificate::from_der(der).expect("parses"))
            }
            _ => panic!("{entry:?}"),
        })
        .collect();
    let aliases: Vec<&str> = keystore.entries().iter().map(|entry| entry.alias()).collect();
    let ours = p11_kit::write(&roots, 1_700_000_000_000).expect("written");
    let again = Keystore::parse(&ours, &StorePassword::default()).expect("parses");
    assert_eq!(again.entries().iter().map(|entry| entry.alias()).collect::<Vec<_>>(), aliases);
    assert_eq!(ours, theirs);
    // Read back: the same file.
    let (read, date) = p11_kit::read(&theirs).expect("p11-kit's");
    assert_eq!((read.len(), date), (roots.len(), Some(1_700_000_000_000)));
    assert_eq!(p11_kit::write(&read, 1_700_000_000_000).expect("written"), theirs);
    assert_eq!(java_cacerts(directory.path(), "", 5), p11_kit::write(&[], 5000).expect("written"));
}

/// The same through the command line: bootstrap and untrust on keystores that keytool made, as keytool sees them; for
/// a plain and an encrypted one also after SIGKILL before every step.
#[test]
#[ignore = "needs openjdk-17-jdk-headless"]
fn bootstrap_and_untrust_on_keystores_of_every_kind() {
    let password = "hunter2";
    let java = &Java::installed()[0];
    let ours = ca::root("Pipeline Root");
    for (kind, options, _) in KINDS {
        let sysroot = TempDir::new().expect("a directory");
        let security = sysroot.path().join("opt/jdk/lib/security");
        std::fs::create_dir_all(&security).expect("directories");
        std::fs::create_dir(sysroot.path().join("etc")).expect("a root file system");
        std::fs::write(security.join("vendor.pem"), ca::root("Vendor").pem).expect("written");
        let (root, secret) = (ours.write(&security, "root.pem"), security.join("secret"));
        std::fs::write(&secret, password).expect("written");
        let open = format!("-keystore cacerts -storepass {password} {options}");
        java.keytool(
            &security,
            &format!("-genkeypair -alias key -keyalg EC -dname CN=x -keypass {password} {open}"),
        );
        java.keytool(&security, &format!("-importcert -noprompt -alias vendor -file vendor.pem {open}"));
        let first = std::fs::read(security.join("cacerts")).expect("read");
        let listed = java.list(&security, "cacerts", password);
        let bootstrap = || {
            let run = Trustup::at(sysroot.path(), ["bootstrap", "--stores", "java", "--ca-file"]).arg(&root);
            run.arg("--java-storepass-file").arg(&secret)
        };
        let steps = if matches!(kind, "jks" | "default") { 1..100 } else { 99..100 };
        for step in steps {
            let run = bootstrap().killed_at(step).run();
            let now = java.list(&security, "cacerts", password);
            let rest: Vec<_> = now.values().filter(|entry| entry.fingerprint != ours.fingerprint).collect();
            assert_eq!(rest, listed.values().collect::<Vec<_>>(), "{kind}, step {step}");
            bootstrap().ok();
            let with = java.list(&security, "cacerts", password);
            assert!(with.values().any(|entry| entry.fingerprint == ours.fingerprint), "{kind}, step {step}");
            java.keytool(&security, &format!("-certreq -alias key -keystore cacerts -storepass {password}"));
            assert_eq!(bootstrap().arg("--json").ok().json()["changed"], false, "{kind}");
            Trustup::at(sysroot.path(), ["untrust", "--all"]).ok();
            assert_eq!(std::fs::read(security.join("cacerts")).expect("read"), first, "{kind}, step {step}");
            if run.code.is_some() {
                break;
            }
        }
    }
}

/// A Java whose `cacerts` leads to the bundle: with `--create-java` its own default trust store accepts a server of our
/// root, keytool lists the system's roots, and after `untrust` it is as it was.
#[test]
#[ignore = "needs openjdk-17-jdk-headless and ca-certificates"]
fn java_with_its_defaults_accepts_a_server_by_the_keystore_that_we_made() {
    const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
    for (number, home) in homes().into_iter().enumerate() {
        let sysroot = TempDir::new().expect("a directory");
        let at = |path: &str| sysroot.path().join(path.trim_start_matches('/'));
        let java_home = at("/opt/java/openjdk");
        std::fs::create_dir_all(at("/etc/ssl/certs")).expect("made");
        std::fs::create_dir_all(at("/opt/java")).expect("made");
        std::fs::copy(BUNDLE, at(BUNDLE)).expect("copied");
        let copied = Command::new("cp").arg("-a").arg(&home).arg(&java_home).status().expect("cp");
        assert!(copied.success());
        let cacerts = java_home.join("lib/security/cacerts");
        std::fs::remove_file(&cacerts).expect("removed");
        // One leads to the bundle, the next to nothing.
        let target = if number % 2 == 0 { BUNDLE } else { "/etc/ssl/certs/java/cacerts" };
        std::os::unix::fs::symlink(target, &cacerts).expect("linked");

        let held_out = ca::root("Created for Java");
        held_out.write(sysroot.path(), "root.pem");
        let server = TlsServer::start(&held_out);
        let given = TempDir::new().expect("a directory");
        compile_client(given.path());
        let java = Java::at(&java_home);
        let bootstrap = || {
            Trustup::at(sysroot.path(), ["bootstrap", "--create-java", "--strict", "--ca-file"])
                .arg(sysroot.path().join("root.pem"))
        };
        bootstrap().ok();
        java.accepts(given.path(), &[], &server.url()).expect("by the keystore that we made");
        std::fs::copy(&cacerts, given.path().join("made")).expect("copied");
        let listed = java.list(given.path(), "made", CHANGEIT);
        let bundle = ca::held(&std::fs::read(at(BUNDLE)).expect("read"));
        let listed: std::collections::BTreeSet<_> = listed.values().map(|one| one.fingerprint).collect();
        assert_eq!(listed, bundle.into_iter().collect(), "{}", java.name);
        assert!(listed.contains(&held_out.fingerprint) && listed.len() > 100);
        Trustup::at(sysroot.path(), ["untrust", "--all"]).ok();
        assert_eq!(std::fs::read_link(&cacerts).expect("a link again").to_str(), Some(target));
    }
}
