//! Hints of databases that are refused, followed with certutil.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::pipeline::Scene;
use super::{CERT_DB, KEY_DB, Made, SECRET, root};
use crate::support::ca::{root_params, root_with};
use crate::support::hints;
use crate::support::run::Run;

/// Encrypts the check of a password as older versions of NSS did: PKCS#12's PBE with SHA-1 and Triple DES. Arguments: the
/// database, the password.
const OLD_PASSWORD: &str = r#"
import hashlib, hmac, sqlite3, subprocess, sys
def tlv(tag, content): return bytes([tag, len(content)]) + content
database, password = sys.argv[1], sys.argv[2].encode()
connection = sqlite3.connect(database)
salt_of_all = connection.execute("SELECT item1 FROM metaData WHERE id = 'password'").fetchone()[0]
salt = bytes(range(20))
sha1 = lambda text: hashlib.sha1(text).digest()
mac = lambda key, text: hmac.new(key, text, hashlib.sha1).digest()
key = sha1(sha1(salt_of_all + password) + salt)
derived = mac(key, salt + salt) + mac(key, mac(key, salt) + salt)
cipher = ["openssl", "enc", "-des-ede3-cbc", "-nopad", "-K", derived[:24].hex(), "-iv", derived[-8:].hex()]
encrypted = subprocess.run(cipher, input=b"password-check\2\2", stdout=subprocess.PIPE, check=True).stdout
scheme = tlv(0x06, bytes.fromhex("2a864886f70d010c050103")) + tlv(0x30, tlv(0x04, salt) + tlv(0x02, b"\1"))
entry = tlv(0x30, tlv(0x30, scheme) + tlv(0x04, encrypted))
connection.execute("UPDATE metaData SET item2 = ? WHERE id = 'password'", (entry,))
connection.commit()
"#;

/// The words in capitals of a hint, in the database's directory.
fn in_place(scene: &Scene, command: &str) -> String {
    command.replace("sql:DIRECTORY", &format!("sql:{}", scene.directory().display()))
}

/// What certutil says.
fn says(command: &str, directory: &Path) -> String {
    let output = Command::new("sh").args(["-c", command]).current_dir(directory).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn command(scene: &Scene, run: &Run, program: &str) -> String {
    in_place(scene, &hints::command(run, program))
}

#[test]
#[ignore = "needs certutil (Debian package libnss3-tools)"]
fn a_password_is_given_and_checked() {
    let scene = Scene::new(Made::Real);
    let with = |file: &str| scene.bootstrap().arg("--nss-password-file").arg(scene.directory().join(file));
    scene.bootstrap().fails(2).says(["give the file that holds the password with `--nss-password-file`"]);
    fs::write(scene.directory().join("wrong"), "wrong").unwrap();
    let refused = with("wrong").fails(2);
    refused.says(["says whether the password in FILE is the right one (SEC_ERROR_BAD_PASSWORD: it is not)"]);
    let check = command(&scene, &refused, "certutil -K");
    let said = |file: &str| says(&check.replace("FILE", file), scene.directory());
    assert!(said("wrong").contains("SEC_ERROR_BAD_PASSWORD"), "{}", said("wrong"));
    assert!(!said("password").contains("SEC_ERROR"), "{}", said("password"));
    with("password").ok();
}

#[test]
#[ignore = "needs certutil (Debian package libnss3-tools)"]
fn a_damaged_database_is_restored_or_moved_away() {
    let hint = "shows whether NSS can read it; if not, restore both files, or move both away, and run again";
    for restores in [true, false] {
        let scene = Scene::new(Made::Empty);
        let (cert9, key4) = (scene.directory().join(CERT_DB), scene.directory().join(KEY_DB));
        let whole = fs::read(&cert9).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"not a database"] {
            fs::write(&cert9, damaged).unwrap();
            let refused = scene.bootstrap().fails(1);
            refused.says([hint]);
            let said = says(&command(&scene, &refused, "certutil -L"), scene.directory());
            assert!(said.contains("SEC_ERROR_BAD_DATABASE"), "{said}");
        }
        if restores {
            fs::write(&cert9, &whole).unwrap();
        } else {
            fs::rename(&cert9, scene.directory().join("away.cert9")).unwrap();
            fs::rename(&key4, scene.directory().join("away.key4")).unwrap();
        }
        scene.bootstrap().ok();
        assert_eq!(scene.store.list().len(), 1);
    }
}

#[test]
#[ignore = "needs certutil (Debian package libnss3-tools)"]
fn a_certificate_with_the_same_number_is_removed() {
    let scene = Scene::new(Made::Empty);
    let numbered = || {
        let mut params = root_params("Twice");
        params.serial_number = Some(7.into());
        root_with(params)
    };
    let (theirs, ours) = (numbered(), numbered());
    super::add_by_certutil(&scene.store, &theirs, "theirs", "C,,");
    super::add_by_certutil(&scene.store, &root("Another"), "another", "C,,");
    let file = ours.write(scene.directory(), "ours.pem");
    let run =
        || scene.trustup(["bootstrap", "--stores", "nss", "--nss-db", &scene.name(), "--ca-file"]).arg(&file);
    let refused = run().fails(1);
    refused.says([
        "if the other certificate is not needed, remove it (`certutil -L -d sql:DIRECTORY` shows its name)",
    ]);
    let listed = says(&command(&scene, &refused, "certutil -L"), scene.directory());
    assert!(listed.contains("theirs"), "{listed}");
    let remove = command(&scene, &refused, "certutil -D");
    hints::follow(&remove, scene.directory(), &[("NAME", "theirs")], "");
    run().ok();
    assert_eq!(scene.store.list().len(), 2);
}

#[test]
#[ignore = "needs certutil (Debian package libnss3-tools), python3, openssl"]
fn a_new_password_brings_an_old_database_up_to_date() {
    let scene = Scene::new(Made::Real);
    let database = scene.directory().join(KEY_DB);
    let python = Command::new("python3").args(["-c", OLD_PASSWORD]).arg(&database).arg(SECRET).status();
    assert!(python.unwrap().success());
    // NSS itself takes it.
    scene.store.certutil(&["-L"]);
    let refused = scene.with_password(scene.bootstrap()).fails(5);
    refused.says([
        "a new password brings the database up to date: `certutil -W -d sql:DIRECTORY`, with a current NSS",
    ]);
    // It asks for the old password, and twice for the new one; here files answer.
    let renew = command(&scene, &refused, "certutil -W") + " -f password -@ password";
    hints::follow(&renew, scene.directory(), &[], "");
    scene.with_password(scene.bootstrap()).ok();
    assert_eq!(scene.store.list().len(), 1);
}
