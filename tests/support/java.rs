//! Java on this machine, or anywhere else that can be run: what keytool sees in a keystore, and whether a program
//! with Java's defaults accepts a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use trustup::pki::fingerprint::Fingerprint;

/// Where Linux distributions put JDKs.
const JVM: &str = "/usr/lib/jvm";

/// Java's default password.
pub const CHANGEIT: &str = "changeit";

/// A JDK or JRE. Its programs run in a directory of the test's, so that they are given names without a path.
pub struct Java {
    /// For messages.
    pub name: String,
    command: Box<Make>,
}

/// Makes the command that runs a program in a directory with arguments.
type Make = dyn Fn(&Path, &str, &[&str]) -> Command;

/// What keytool lists, by alias.
pub type Listing = BTreeMap<String, Listed>;

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `trustedCertEntry`, `PrivateKeyEntry`.
    pub kind: String,
    pub fingerprint: Fingerprint,
}

impl Java {
    /// A Java whose program `NAME` (in `bin`) is run with arguments in a directory by the command that `command`
    /// makes: one in a chroot, for example.
    pub fn new(name: &str, command: impl Fn(&Path, &str, &[&str]) -> Command + 'static) -> Java {
        Java { name: name.to_owned(), command: Box::new(command) }
    }

    /// The one at `home`.
    pub fn at(home: &Path) -> Java {
        let bin = home.join("bin");
        Java::new(&home.to_string_lossy(), move |directory, program, arguments| {
            let mut command = Command::new(bin.join(program));
            command.args(arguments).current_dir(directory).env_clear().env("LC_ALL", "C.UTF-8");
            command
        })
    }

    /// Every one that is installed here, and that of JAVA_HOME; there has to be one.
    pub fn installed() -> Vec<Java> {
        let homes = homes();
        assert!(!homes.is_empty(), "no Java (Debian package openjdk-17-jdk-headless)");
        homes.iter().map(|home| Java::at(home)).collect()
    }

    /// Runs a program of it in `directory`.
    pub fn output(&self, directory: &Path, program: &str, arguments: &[&str]) -> Output {
        let mut command = (self.command)(directory, program, arguments);
        command.stdin(Stdio::null()).output().expect("Java runs")
    }

    /// `keytool` with these words, which has to succeed; what it printed.
    #[track_caller]
    pub fn keytool(&self, directory: &Path, words: &str) -> String {
        // A virtual machine that lives for a second has nothing to optimise.
        let quick = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"];
        let arguments: Vec<&str> = words.split_whitespace().chain(quick).collect();
        let output = self.output(directory, "keytool", &arguments);
        let talk = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: keytool {words}: {talk}{complaint}", self.name);
        talk
    }

    /// What keytool lists in the keystore `file`.
    #[track_caller]
    pub fn list(&self, directory: &Path, file: &str, password: &str) -> Listing {
        let talk = self.keytool(directory, &format!("-list -keystore {file} -storepass {password}"));
        let mut listing = Listing::new();
        let mut entry = None;
        for line in talk.lines() {
            if let Some((_, print)) = line.split_once("(SHA-256): ") {
                let (alias, kind): (String, String) = entry.take().expect("an entry before its fingerprint");
                let fingerprint = print.parse().expect("a fingerprint");
                assert!(listing.insert(alias, Listed { kind, fingerprint }).is_none(), "{talk}");
            } else if let Some((rest, kind)) = line.trim_end_matches([' ', ',']).rsplit_once(", ") {
                // `ALIAS, Nov 23, 2026, KIND`
                let alias = rest.rsplitn(3, ", ").last().expect("an alias");
                entry = Some((alias.to_owned(), kind.to_owned()));
            }
        }
        let counted = talk.lines().find_map(|line| line.strip_prefix("Your keystore contains "));
        let count = counted.and_then(|rest| rest.split(' ').next()).expect("a count");
        assert_eq!(count, listing.len().to_string(), "{talk}");
        listing
    }

    /// Whether a program of Java with its defaults and these options of the virtual machine accepts the server; the
    /// class comes from `compile_client`.
    #[track_caller]
    pub fn accepts(&self, directory: &Path, options: &[&str], url: &str) -> Result<(), String> {
        let arguments = [options, &["-cp", ".", "Client", url]].concat();
        let output = self.output(directory, "java", &arguments);
        let talk = String::from_utf8_lossy(&output.stdout);
        match talk.split_once(' ') {
            Some(("answer", "200\n")) => Ok(()),
            Some(("refused", reason)) => Err(reason.to_owned()),
            _ => panic!("{}: {talk}{}", self.name, String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// The homes of what is installed.
pub fn homes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(JVM).into_iter().flatten();
    let mut homes: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    homes.extend(std::env::var_os("JAVA_HOME").map(PathBuf::from));
    homes.retain(|home| home.join("bin/keytool").exists());
    let mut homes: Vec<PathBuf> =
        homes.iter().map(|home| home.canonicalize().expect("a directory")).collect();
    homes.sort();
    homes.dedup();
    homes
}

/// Puts `Client.class` into `directory`, for every Java since 11.
pub fn compile_client(directory: &Path) {
    let home = homes().into_iter().find(|home| home.join("bin/javac").exists());
    let javac = Java::at(&home.expect("a JDK (Debian package openjdk-17-jdk-headless)"));
    std::fs::write(directory.join("Client.java"), include_str!("Client.java")).expect("written");
    let output = javac.output(directory, "javac", &["--release", "11", "Client.java"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
