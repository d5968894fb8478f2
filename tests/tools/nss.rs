//! NSS databases beside NSS' own tools: certutil lists and validates what we wrote, tstclnt completes a handshake
//! with it, and what certutil made survives our changes.
//!
//! These tools use the empty password by themselves, so NSS checks the signatures of trust settings. They do not log
//! in with another, so a few lines of Python call NSS' library to do that and to validate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rusqlite::{Connection, types::Value};
use tempfile::TempDir;
use trustup::cert::Certificate;
use trustup::nss::{
    CERT_DB, Databases, Former, KEY_DB, Password, Protection, Refusal, Signed, Trust, nickname_for,
};

use crate::openssl::openssl;
use crate::support::ca::{Root, root};
use crate::support::tls_server::TlsServer;

const SECRET: &str = "correct horse";

/// Everything in a directory's databases: table, and each row as its values by column.
type Content = Vec<(String, BTreeMap<String, String>)>;

/// Arguments: nickname, password, trust flags. Logs in if there is a password, sets the trust if there are flags,
/// and validates the certificate as a CA of servers.
const LIBRARY: &str = r#"
import ctypes, sys
nss = ctypes.CDLL("libnss3.so")
for name in ("PK11_GetInternalKeySlot", "PK11_FindCertFromNickname", "CERT_GetDefaultCertDB"):
    getattr(nss, name).restype = ctypes.c_void_p
nickname, password, flags = (argument.encode() for argument in sys.argv[1:4])
assert (nss.NSS_InitReadWrite if flags else nss.NSS_Init)(b"sql:.") == 0
database = ctypes.c_void_p(nss.CERT_GetDefaultCertDB())
if password:
    slot = ctypes.c_void_p(nss.PK11_GetInternalKeySlot())
    assert nss.PK11_CheckUserPassword(slot, password) == 0, "wrong password"
certificate = ctypes.c_void_p(nss.PK11_FindCertFromNickname(nickname, None))
assert certificate, "no such certificate"
if flags:
    trust = (ctypes.c_uint * 3)()
    assert nss.CERT_DecodeTrustString(trust, flags) == 0
    assert nss.CERT_ChangeCertTrust(database, certificate, trust) == 0
usage = ctypes.c_int64(0x8)
verdict = nss.CERT_VerifyCertificateNow(database, certificate, 1, usage, None, None)
print("valid" if verdict == 0 else "invalid")
"#;

/// Where Debian's Firefox has its own NSS, much later than the system's: one that writes trust of PKCS#11 3.2.
const LATER: &str = "/usr/lib/firefox-esr";

/// A directory of databases, and how to open it.
struct Store {
    directory: TempDir,
    password: Option<&'static str>,
}

/// The databases that the tests go through.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Made {
    /// By us, no password.
    New,
    /// By certutil, with the empty password.
    Empty,
    /// By certutil, with a password.
    Real,
}

const ALL: [Made; 3] = [Made::New, Made::Empty, Made::Real];

impl Store {
    fn new(made: Made) -> Store {
        let directory = TempDir::new().expect("a directory");
        let store = Store { directory, password: (made == Made::Real).then_some(SECRET) };
        std::fs::write(store.path("password"), SECRET).expect("written");
        match made {
            Made::New => store.write(Databases::new().expect("new databases")),
            Made::Empty => drop(store.certutil(&["-N", "--empty-password"])),
            Made::Real => drop(store.certutil(&["-N"])),
        }
        store
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> Databases {
        let password = self.password.map(Password::new);
        self.try_open(password.as_ref()).expect("opens")
    }

    fn try_open(&self, password: Option<&Password>) -> Result<Databases, Refusal> {
        let read = |name| std::fs::read(self.path(name)).expect("read");
        Databases::open(&read(CERT_DB), &read(KEY_DB), password)
    }

    fn write(&self, databases: Databases) {
        let files = databases.into_files().expect("bytes");
        std::fs::write(self.path(KEY_DB), files.key4).expect("written");
        std::fs::write(self.path(CERT_DB), files.cert9).expect("written");
    }

    fn add(&self, root: &Root) -> Option<Former> {
        let certificate = Certificate::from_der(&root.der).expect("parses");
        let mut databases = self.open();
        let former = databases.add(&certificate, &nickname_for(&certificate)).expect("added");
        self.write(databases);
        former
    }

    fn remove(&self, root: &Root, former: Option<&Former>) {
        let mut databases = self.open();
        let certificate = Certificate::from_der(&root.der).expect("parses");
        assert!(databases.remove(&certificate, former).expect("removed"));
        self.write(databases);
    }

    /// Runs certutil, logged in; the error is what it said.
    fn try_certutil(&self, arguments: &[&str]) -> Result<String, String> {
        let mut arguments = [arguments, &["-d", "sql:."]].concat();
        if self.password.is_some() {
            arguments.extend(["-f", "password"]);
        }
        self.run("certutil", &arguments)
    }

    fn certutil(&self, arguments: &[&str]) -> String {
        self.try_certutil(arguments).unwrap_or_else(|talk| panic!("certutil {arguments:?}: {talk}"))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("it runs (Debian package libnss3-tools)");
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// Whether NSS takes the certificate for a root of servers before anybody logs in (the empty password it enters
    /// by itself).
    fn is_valid_before_login(&self, nickname: &str) -> bool {
        let (said, valid) = match self.run("certutil", &["-V", "-u", "L", "-n", nickname, "-d", "sql:."]) {
            Ok(said) => (said, true),
            Err(said) => (said, false),
        };
        let wanted = if valid { "certificate is valid" } else { "certificate is invalid" };
        assert!(said.contains(wanted), "{said}");
        valid
    }

    /// Whether it does so once the password was entered.
    fn is_valid(&self, nickname: &str) -> bool {
        match self.password {
            None => self.is_valid_before_login(nickname),
            Some(_) => self.library("", nickname, ""),
        }
    }

    /// Whether the NSS of Firefox does, once the password was entered.
    fn is_valid_later(&self, nickname: &str) -> bool {
        self.library(LATER, nickname, "")
    }

    /// Lets NSS' library in `directory` (or the system's) set these trust flags if there are any, and validate.
    fn library(&self, directory: &str, nickname: &str, flags: &str) -> bool {
        let path = format!("LD_LIBRARY_PATH={directory}");
        let password = self.password.unwrap_or_default();
        let said = self.run("env", &[&path, "python3", "-c", LIBRARY, nickname, password, flags]);
        match said.as_deref().map(str::trim) {
            Ok("valid") => true,
            Ok("invalid") => false,
            other => panic!("{other:?}"),
        }
    }

    /// Nickname and flags of all certificates, as `certutil -L` prints them.
    fn list(&self) -> BTreeMap<String, String> {
        let said = self.certutil(&["-L"]);
        let rows = said.lines().filter_map(|line| line.trim().rsplit_once(char::is_whitespace));
        rows.filter(|(_, flags)| flags.matches(',').count() == 2 && !flags.contains('/'))
            .map(|(nickname, flags)| (nickname.trim().to_owned(), flags.to_owned()))
            .collect()
    }

    /// Everything in the databases.
    fn content(&self) -> Content {
        let mut rows = Vec::new();
        for (file, tables) in [(CERT_DB, &["nssPublic"][..]), (KEY_DB, &["nssPrivate", "metaData"])] {
            let connection = Connection::open(self.path(file)).expect("opens");
            for table in tables {
                let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("a table");
                let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
                let mut found = statement.query([]).expect("rows");
                while let Some(row) = found.next().expect("a row") {
                    let values = names.iter().enumerate().filter_map(|(index, name)| {
                        match row.get::<_, Value>(index).expect("a value") {
                            Value::Null => None,
                            value => Some((name.clone(), format!("{value:?}"))),
                        }
                    });
                    rows.push(((*table).to_owned(), values.collect()));
                }
            }
        }
        rows.sort();
        rows
    }

    /// Whether tstclnt accepts the server's certificate and gets its answer.
    fn connects(&self, server: &TlsServer) -> bool {
        let (host, port) =
            server.authority().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("both");
        std::fs::write(self.path("request"), "GET / HTTP/1.0\r\n\r\n").expect("written");
        let mut arguments = vec!["-h", &host, "-p", &port, "-4", "-A", "request", "-d", "sql:."];
        if self.password.is_some() {
            arguments.extend(["-W", "password"]);
        }
        let before = server.accepted();
        let said = self.run("tstclnt", &arguments);
        let answered = said.as_ref().is_ok_and(|said| said.contains("200 OK"));
        assert_eq!(answered, server.accepted() > before, "{said:?}");
        answered
    }
}

fn nickname(root: &Root) -> String {
    nickname_for(&Certificate::from_der(&root.der).expect("parses"))
}

/// Adds the certificate as a user would, with these flags.
fn add_by_certutil(store: &Store, root: &Root, nickname: &str, flags: &str) {
    root.write(store.directory.path(), "root.pem");
    store.certutil(&["-A", "-n", nickname, "-t", flags, "-i", "root.pem"]);
}

/// The objects in `content`, without their numbers, and their nicknames.
fn objects(content: &Content) -> Vec<BTreeMap<String, String>> {
    let mut objects: Vec<_> =
        content.iter().filter(|(table, _)| table == "nssPublic").map(|(_, row)| row.clone()).collect();
    for object in &mut objects {
        object.remove("id");
        if object["a0"] == "Blob([0, 0, 0, 1])" {
            object.remove("a3");
        }
    }
    objects.sort();
    objects
}

/// The names of the signatures in `content`: which objects and attributes.
fn signatures(content: &Content) -> Vec<String> {
    content.iter().filter_map(|(_, row)| row.get("id").filter(|id| id.contains("sig_")).cloned()).collect()
}

#[test]
#[ignore = "needs libnss3-tools"]
fn certutil_and_tstclnt_believe_what_we_added() {
    for made in ALL {
        let (store, root) = (Store::new(made), root("Root of ours"));
        let server = TlsServer::start(&root);
        assert!(!store.connects(&server), "{made:?}: refused before");
        let former = store.add(&root).expect("it was not there");
        assert!(former.is_absent());
        assert_eq!(store.list(), BTreeMap::from([(nickname(&root), "C,,".to_owned())]), "{made:?}");
        assert!(store.is_valid(&nickname(&root)), "{made:?}");
        assert!(store.connects(&server), "{made:?}");
        assert_eq!(store.add(&root), None, "{made:?}: there already");
        store.remove(&root, Some(&former));
        assert_eq!(store.list(), BTreeMap::new(), "{made:?}");
        assert!(!store.connects(&server), "{made:?}: refused again");
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn signatures_decide_in_nss_as_they_do_here() {
    for (made, logged_in, logged_out) in
        [(Made::New, true, true), (Made::Empty, false, false), (Made::Real, false, true)]
    {
        let (store, root) = (Store::new(made), root("Unsigned"));
        store.add(&root);
        assert!(store.is_valid(&nickname(&root)) && store.is_valid_before_login(&nickname(&root)));
        let connection = Connection::open(store.path(KEY_DB)).expect("opens");
        let removed =
            connection.execute("DELETE FROM metaData WHERE id LIKE 'sig_cert_%'", []).expect("removed");
        drop(connection);
        assert_eq!(removed, if made == Made::New { 0 } else { 7 });
        assert_eq!(store.is_valid(&nickname(&root)), logged_in, "{made:?}");
        assert_eq!(store.is_valid_before_login(&nickname(&root)), logged_out, "{made:?}");
        let entry = &store.open().entries().expect("listed")[0];
        assert_eq!((entry.trust, entry.is_trusted()), (Trust::Trusted, logged_in), "{made:?}");
        let entry = &store.try_open(None).expect("opens").entries().expect("listed")[0];
        assert_eq!(entry.is_trusted(), logged_out, "{made:?}");
        // Adding it again mends it.
        let former = store.add(&root);
        assert_eq!(former.is_some(), !logged_in, "{made:?}");
        assert!(store.is_valid(&nickname(&root)), "{made:?}");
    }
}

#[test]
#[ignore = "needs libnss3-tools and openssl"]
fn our_rows_are_those_of_certutil() {
    let directory = TempDir::new().expect("a directory");
    let keys: [&[&str]; 3] = [
        &["rsa:2048"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ];
    for key in keys {
        let mut arguments =
            vec!["req", "-x509", "-nodes", "-days", "30", "-subj", "/O=Größe/CN=Wurzel", "-utf8"];
        arguments.extend(["-keyout", "k", "-outform", "DER", "-out", "root.der", "-newkey"]);
        arguments.extend(key);
        openssl(directory.path(), &arguments);
        let der = std::fs::read(directory.path().join("root.der")).expect("read");
        let certificate = Certificate::from_der(&der).expect("parses");
        let (ours, theirs) = (Store::new(Made::Empty), Store::new(Made::Empty));
        let mut databases = ours.open();
        databases.add(&certificate, "ours").expect("added");
        ours.write(databases);
        std::fs::write(theirs.path("root.der"), &der).expect("written");
        theirs.certutil(&["-A", "-n", "theirs", "-t", "C,,", "-i", "root.der"]);
        assert_eq!(objects(&ours.content()), objects(&theirs.content()), "{key:?}");
        assert_eq!(signatures(&ours.content()).len(), signatures(&theirs.content()).len(), "{key:?}");
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn what_certutil_made_comes_back_as_it_was() {
    for made in [Made::Empty, Made::Real] {
        for (flags, after) in [
            ("C,,", "C,,"),
            ("CT,C,C", "CT,C,C"),
            (",,", "C,,"),
            ("c,c,c", "C,c,c"),
            ("p,p,p", "pC,p,p"),
            ("T,,", "CT,,"),
            ("P,,", "CP,,"),
        ] {
            let (store, root, other) = (Store::new(made), root("Theirs"), root("Another"));
            add_by_certutil(&store, &other, "another", "CT,C,C");
            add_by_certutil(&store, &root, "their name", flags);
            let server = TlsServer::start(&root);
            let before = store.content();
            let was_valid = store.is_valid("their name");
            let trusted = |entries: Vec<trustup::nss::Entry>| {
                entries.iter().find(|entry| entry.nickname == "their name").is_some_and(|e| e.is_trusted())
            };
            assert_eq!(trusted(store.open().entries().expect("listed")), flags.starts_with('C'), "{flags}");
            let former = store.add(&root);
            assert!(store.is_valid("their name"), "{made:?} {flags}");
            assert!(store.connects(&server), "{made:?} {flags}");
            assert_eq!(former.is_none(), flags.starts_with('C'), "{flags}");
            let listed = store.list();
            assert_eq!(listed.len(), 2, "{listed:?}");
            assert_eq!(listed["their name"], after, "{flags}");
            if let Some(former) = former {
                assert!(!former.is_absent());
                // It survives the state file.
                let kept = serde_json::to_string(&former).expect("JSON");
                store.remove(&root, Some(&serde_json::from_str(&kept).expect("read back")));
            }
            assert_eq!(store.content(), before, "{made:?} {flags}");
            assert_eq!(store.is_valid("their name"), was_valid);
        }
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn certutil_changes_and_removes_what_we_added() {
    for made in ALL {
        let (store, root, other) = (Store::new(made), root("Ours"), root("Theirs"));
        add_by_certutil(&store, &other, "theirs", "C,,");
        let before = store.content();
        store.add(&root);
        store.certutil(&["-D", "-n", &nickname(&root)]);
        assert_eq!(store.content(), before, "{made:?}");

        let former = store.add(&root).expect("it was not there");
        store.certutil(&["-M", "-n", &nickname(&root), "-t", "p,p,p"]);
        assert!(!store.is_valid(&nickname(&root)), "{made:?}");
        let entries = store.open().entries().expect("listed");
        let entry = entries.iter().find(|entry| entry.nickname == nickname(&root)).expect("there");
        assert_eq!(entry.trust, Trust::Distrusted, "{made:?}");
        assert_eq!(store.list()[&nickname(&root)], "p,p,p", "{made:?}");
        store.remove(&root, Some(&former));
        assert_eq!(store.content(), before, "{made:?}");

        add_by_certutil(&store, &root, "again", "C,,");
        assert_eq!(store.add(&root), None, "{made:?}: under another nickname");
        assert_eq!(store.list().keys().collect::<Vec<_>>(), ["again", "theirs"]);
    }
}

#[test]
#[ignore = "needs libnss3-tools"]
fn a_changed_password_signs_what_comes_back() {
    let (mut store, root) = (Store::new(Made::Empty), root("Theirs"));
    add_by_certutil(&store, &root, "their name", "CT,C,C");
    store.certutil(&["-M", "-n", "their name", "-t", "T,C,C"]);
    let former = store.add(&root).expect("changed");
    // The salt of the database changes with the password, so that no old signature holds.
    std::fs::write(store.path("empty"), "\n").expect("written");
    store.run("certutil", &["-W", "-f", "empty", "-@", "password", "-d", "sql:."]).expect("a new password");
    store.password = Some(SECRET);
    assert_eq!(store.open().protection(), Protection::Unlocked);
    assert!(store.is_valid("their name"));
    store.remove(&root, Some(&former));
    assert_eq!(store.list()["their name"], "T,C,C");
    let entry = &store.open().entries().expect("listed")[0];
    assert_eq!((entry.trust, entry.signed), (Trust::Unset, Signed::Valid));
}

#[test]
#[ignore = "needs libnss3-tools"]
fn passwords_are_tried_before_anything_is_written() {
    let (store, root) = (Store::new(Made::Real), root("Ours"));
    let certificate = Certificate::from_der(&root.der).expect("parses");
    let wrong = store.try_open(Some(&Password::new("wrong"))).err();
    assert_eq!(wrong, Some(Refusal::WrongPassword));
    let mut locked = store.try_open(None).expect("can be read");
    assert_eq!(locked.protection(), Protection::Locked);
    assert_eq!(locked.add(&certificate, "ours"), Err(Refusal::Locked));
    let before = std::fs::read(store.path(CERT_DB)).expect("read");
    let files = locked.into_files().expect("bytes");
    assert_eq!(files.cert9, before, "untouched");
    let password = Password::from_file(&std::fs::read(store.path("password")).expect("read"));
    assert_eq!(store.try_open(Some(&password)).expect("opens").protection(), Protection::Unlocked);
    // A database with the empty password needs none, whatever is given for others.
    let empty = Store::new(Made::Empty);
    assert_eq!(empty.try_open(Some(&password)).expect("opens").protection(), Protection::Empty);
}

#[test]
#[ignore = "needs libnss3-tools"]
fn nss_signs_our_rows_when_it_sets_the_first_password() {
    let (store, root) = (Store::new(Made::New), root("Ours"));
    store.add(&root);
    assert_eq!(store.open().protection(), Protection::None);
    // As a browser does at its first start: the empty password.
    store.certutil(&["-N", "--empty-password"]);
    let databases = store.open();
    assert_eq!(databases.protection(), Protection::Empty);
    let entry = &databases.entries().expect("listed")[0];
    assert_eq!((entry.trust, entry.signed), (Trust::Trusted, Signed::Valid));
    assert!(store.is_valid(&nickname(&root)));
}

#[test]
#[ignore = "needs libnss3-tools and firefox-esr"]
fn a_later_nss_believes_us_and_gets_its_own_settings_back() {
    for made in ALL {
        let (store, ours, theirs) = (Store::new(made), root("Ours"), root("Theirs"));
        store.add(&ours);
        assert!(store.is_valid_later(&nickname(&ours)), "{made:?}");
        add_by_certutil(&store, &theirs, "theirs", ",,");
        // The later NSS stores a change as an object of its own, beside what certutil wrote.
        for flags in ["c,c,c", "p,p,p"] {
            assert!(!store.library(LATER, "theirs", flags), "{made:?} {flags}");
            let before = store.content();
            let own = |(_, row): &(String, BTreeMap<String, String>)| {
                row.get("a0").is_some_and(|class| class == "Blob([0, 0, 0, 11])")
            };
            assert_eq!(before.iter().filter(|row| own(row)).count(), 1);
            let entries = store.open().entries().expect("listed");
            let entry = entries.iter().find(|entry| entry.nickname == "theirs").expect("there");
            let wanted = if flags == "p,p,p" { Trust::Distrusted } else { Trust::Unset };
            assert_eq!((entry.trust, entry.signed == Signed::Invalid), (wanted, false), "{made:?}");
            let former = store.add(&theirs).expect("changed");
            assert!(store.is_valid_later("theirs") && store.is_valid("theirs"), "{made:?} {flags}");
            assert!(store.is_valid_later(&nickname(&ours)), "{made:?}");
            store.remove(&theirs, Some(&former));
            assert_eq!(store.content(), before, "{made:?} {flags}");
            assert!(!store.is_valid_later("theirs"), "{made:?} {flags}");
        }
        // What the later NSS trusts is trusted here too.
        assert!(store.library(LATER, "theirs", "C,,"), "{made:?}");
        assert_eq!(store.add(&theirs), None, "{made:?}");
    }
}
