//! NSS databases beside NSS' own tools: certutil lists and validates what we wrote, tstclnt completes a handshake
//! with it, and what certutil made survives our changes.
//!
//! certutil and tstclnt use the empty password by themselves, and another where they are given its file: then they
//! are logged in, and NSS checks the signatures of trust settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::{Connection, types::Value};
use tempfile::TempDir;
use trustup::cert::Certificate;
use trustup::nss::{CERT_DB, Databases, Former, KEY_DB, Password, Protection, Refusal, Trust, nickname_for};

use crate::support::ca::{Root, root};
use crate::support::tls_server::TlsServer;

const SECRET: &str = "correct horse";

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
        let mut arguments = arguments.to_vec();
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
            .args(["-d", "sql:."])
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

    /// Whether certutil takes the certificate for a root of servers; with the password unless it is not to log in.
    fn is_valid(&self, nickname: &str, log_in: bool) -> bool {
        let arguments = ["-V", "-u", "L", "-n", nickname];
        let verdict = if log_in { self.try_certutil(&arguments) } else { self.run("certutil", &arguments) };
        match verdict {
            Ok(said) => {
                assert!(said.contains("certificate is valid"), "{said}");
                true
            }
            Err(said) => {
                assert!(said.contains("certificate is invalid"), "{said}");
                false
            }
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

    /// Everything in the databases: table, and each row as its values by column.
    fn content(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let mut rows = Vec::new();
        for (file, tables) in [(CERT_DB, &["nssPublic"][..]), (KEY_DB, &["nssPrivate", "metaData"])] {
            let connection = Connection::open(self.path(file)).expect("opens");
            for table in tables {
                let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("a table");
                let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
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
        let (host, port) = server.authority().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("both");
        std::fs::write(self.path("request"), "GET / HTTP/1.0\r\n\r\n").expect("written");
        let mut arguments = vec!["-h", &host, "-p", &port, "-4", "-A", "request"];
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

fn write_pem(store: &Store, root: &Root, name: &str) {
    drop(root.write(store.directory.path(), name));
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
        assert!(store.is_valid(&nickname(&root), true), "{made:?}");
        assert!(store.connects(&server), "{made:?}");
        assert_eq!(store.add(&root), None, "{made:?}: there already");
        store.remove(&root, Some(&former));
        assert_eq!(store.list(), BTreeMap::new(), "{made:?}");
        assert!(!store.connects(&server), "{made:?}: refused again");
    }
}
