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
use trustup::pki::cert::Certificate;
use trustup::pki::nss::{
    CERT_DB, Databases, Former, KEY_DB, NssPassword, NssRefusal, ServerTrust, SettingsProtection,
    SettingsSignature, nickname_for,
};

use crate::openssl::openssl;
use crate::support::ca::{Root, root};
use crate::support::tls_server::TlsServer;

mod ours;
mod pipeline;
mod refusals;
mod theirs;

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
        Store::made_in(TempDir::new().expect("a directory"), made)
    }

    fn made_in(directory: TempDir, made: Made) -> Store {
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
        let password = self.password.map(NssPassword::new);
        self.try_open(password.as_ref()).expect("opens")
    }

    fn try_open(&self, password: Option<&NssPassword>) -> Result<Databases, NssRefusal> {
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

/// Whether there was nothing of the certificate.
fn was_absent(former: &Former) -> bool {
    let kept = serde_json::to_value(former).expect("JSON");
    kept["certificate"] == false && kept["trust"].as_array().is_some_and(Vec::is_empty)
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
