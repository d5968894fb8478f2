//! The demo: all of trustup's work, thrown away afterwards. A CA in this process, root file systems of real images in a
//! temporary directory, trustup's own commands on them, and a TLS client that reports, for every store, whether it
//! accepts the CA's server. Nothing of this machine changes but that directory, which is removed at the end.
//!
//! It proves or fails: each claim is checked from outside (the client, the trees, the CA's count of connections), never
//! taken from a command's own output.

#![expect(
    clippy::disallowed_methods,
    reason = "makes and takes away a directory of its own, never a sysroot's"
)]

mod enrollment;
pub mod fixture;
mod pair_server;
mod reading;
mod renewal;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::demo::fixture::Fixture;
use crate::dev_ca::{DevCa, Server};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::net::dns::ResolverSettings;
use crate::net::{Net, Trust};
use crate::pki::cert::Purpose;
use crate::pki::fingerprint::Fingerprint;
use crate::rootfs::Sysroot;
use crate::rootfs::tree::{self, Node};
use crate::trust::facts::Facts;
use crate::trust::state::State;
use crate::trust::stores::{self, Selection, StorePolicy};
use crate::trust::updater::{Output, OutputKind};
use crate::trust::view::View;

pub(crate) use self::enrollment::EnrollmentReport;
pub(crate) use self::renewal::RenewalReport;

use self::reading::{bundle, database, hash_directory, keystore};

/// The client on loopback needs no patience.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The demo's interface to the rest of the program, and to the user.
pub(crate) struct Stage<'a> {
    /// Prints a line.
    pub(crate) say: &'a dyn Fn(&str),
    /// Runs trustup with these arguments (without the program's name), and returns its exit code.
    pub(crate) trustup: &'a Trustup<'a>,
}

/// Runs trustup with its arguments.
pub(crate) type Trustup<'a> = dyn Fn(Vec<String>) -> Pin<Box<dyn Future<Output = u8> + 'a>> + 'a;

/// What was proven.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DemoProof {
    /// The CA's root.
    pub(crate) fingerprint: Fingerprint,
    /// One for each root file system.
    pub(crate) systems: Vec<SystemReport>,
    /// A wrong fingerprint was refused, and nothing was changed.
    pub(crate) wrong_pin_refused: bool,
    /// A certificate from the CA, served and accepted.
    pub(crate) enrollment: EnrollmentReport,
    /// The daemon renewed it while a server served it.
    pub(crate) renewal: RenewalReport,
}

/// What was proven of one root file system.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SystemReport {
    /// The fixture's name.
    pub(crate) name: &'static str,
    /// The row of the table of distributions.
    pub(crate) row: &'static str,
    /// Every store.
    pub(crate) stores: Vec<StoreReport>,
    /// The second run changed nothing and asked no server.
    pub(crate) second_run_idle: bool,
    /// `untrust` gave back the first tree.
    pub(crate) restored: bool,
}

/// One store: where programs read roots.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StoreReport {
    /// Path inside the root file system.
    pub(crate) path: String,
    /// How many roots it had before; `None` if it was not there.
    pub(crate) roots_before: Option<usize>,
    /// How many it has with the CA's root.
    pub(crate) roots_after: usize,
    /// Whether a client with these roots refused the CA's server before.
    pub(crate) refused_before: bool,
    /// Whether it accepted the server afterwards.
    pub(crate) accepted_after: bool,
}

/// Runs the demo in a new directory below `temporary`.
///
/// # Errors
/// The first claim that could not be proven.
pub(crate) async fn run(env: &Env, temporary: &Path, stage: &Stage<'_>) -> Result<DemoProof> {
    let ca = Arc::new(DevCa::new(env)?);
    let server = Server::start(Arc::clone(&ca), ([127, 0, 0, 1], 0).into(), &["127.0.0.1", "localhost"])?;
    let scratch = Scratch::new(temporary.join(format!("trustup-demo-{}", ca.fingerprint().short(12))))?;
    (stage.say)("A CA for this demo is up, and answers as step-ca does. In what follows:");
    let names =
        [("CA", server.url()), ("PIN", ca.fingerprint().hex()), ("DIR", scratch.0.display().to_string())];
    for (name, value) in &names {
        (stage.say)(&format!("  {name}={value}"));
    }
    let demo = Demo { env, ca: &ca, server: &server, stage, names: &names };
    let mut systems = Vec::new();
    let mut last = None;
    for (name, fixture) in Fixture::embedded()? {
        let directory = scratch.0.join(name);
        fs::create_dir(&directory).map_err(|error| could_not(&directory, error))?;
        fixture.unpack(&directory)?;
        systems.push(demo.system(name, &directory).await?);
        last = Some(directory);
    }
    let Some(directory) = last else { return Err(unproven("no root file system is embedded", &scratch.0)) };
    demo.wrong_pin(&directory).await?;
    let enrollment = demo.enrollment(&scratch.0, &directory).await?;
    let renewal = demo.renewal(&scratch.0).await?;
    Ok(DemoProof { fingerprint: ca.fingerprint(), systems, wrong_pin_refused: true, enrollment, renewal })
}

struct Demo<'a, 's> {
    env: &'a Env,
    ca: &'a DevCa,
    server: &'a Server,
    stage: &'a Stage<'s>,
    /// Long values to show as variables.
    names: &'a [(&'static str, String)],
}

impl Demo<'_, '_> {
    /// The life of one root in one root file system.
    async fn system(&self, name: &'static str, directory: &Path) -> Result<SystemReport> {
        let sysroot = Sysroot::open(directory)?;
        let (row, title, outputs) = inspect_root_file_system(&sysroot).await?;
        self.say("");
        self.say(&format!("== $DIR/{name}: {title}"));
        let first = snapshot(&sysroot)?;
        let before = self.ask_the_ca(&sysroot, &outputs).await?;
        for (store, answer) in &before {
            if answer.accepted {
                return Err(unproven(
                    "a client accepted the CA's server before its root was trusted",
                    &store.path,
                ));
            }
        }

        expect(self.bootstrap(directory, &["--dry-run"]).await, 0, "the plan")?;
        same(&first, &snapshot(&sysroot)?, "`--dry-run` changed the root file system", directory)?;
        expect(self.bootstrap(directory, &[]).await, 0, "bootstrap")?;
        let (_, _, outputs) = inspect_root_file_system(&sysroot).await?;
        let after = self.ask_the_ca(&sysroot, &outputs).await?;
        let mut stores = Vec::new();
        for (store, answer) in after {
            if !answer.accepted {
                return Err(unproven("a client still refuses the CA's server", &store.path));
            }
            let then = before.iter().find(|(earlier, _)| earlier.path == store.path);
            stores.push(StoreReport {
                roots_before: then.and_then(|(_, earlier)| earlier.roots),
                roots_after: answer.roots.unwrap_or_default(),
                refused_before: true,
                accepted_after: true,
                path: store.path,
            });
        }
        if stores.is_empty() {
            return Err(unproven("there is no store to ask with", directory));
        }
        let trusting = snapshot(&sysroot)?;

        let connections = self.server.connections();
        expect(self.bootstrap(directory, &[]).await, 0, "the second run")?;
        same(&trusting, &snapshot(&sysroot)?, "the second run changed the root file system", directory)?;
        if self.server.connections() != connections {
            return Err(unproven("the second run asked the CA, although everything was there", directory));
        }
        self.say("  nothing changed, and the CA was not asked");
        expect(self.trustup(directory, &["untrust", "--all"]).await, 0, "untrust")?;
        same(&first, &snapshot(&sysroot)?, "`untrust` left the root file system different", directory)?;
        self.say(&format!("  all {} paths are as they were", first.len()));
        Ok(SystemReport { name, row, stores, second_run_idle: true, restored: true })
    }

    async fn bootstrap(&self, directory: &Path, extra: &[&str]) -> u8 {
        let (url, fingerprint) = (self.server.url(), self.ca.fingerprint().hex());
        let own = ["bootstrap", "--ca-url", url.as_str(), "--fingerprint", fingerprint.as_str()];
        self.trustup(directory, &[extra, &own].concat()).await
    }

    /// A fingerprint that is not the root's own.
    async fn wrong_pin(&self, directory: &Path) -> Result<()> {
        let sysroot = Sysroot::open(directory)?;
        let first = snapshot(&sysroot)?;
        self.say("");
        self.say("== a wrong fingerprint");
        let wrong = Fingerprint::of(b"another root").hex();
        let url = format!("{}/roots.pem", self.server.url());
        let arguments = ["bootstrap", "--root-url", url.as_str(), "--fingerprint", wrong.as_str()];
        let code = self.trustup(directory, &arguments).await;
        expect(code, ErrorKind::NotTrusted.exit_code(), "bootstrap with a wrong fingerprint")?;
        same(&first, &snapshot(&sysroot)?, "a refused certificate changed the root file system", directory)?;
        self.say("  refused, and nothing was changed");
        Ok(())
    }

    async fn ask_the_ca(&self, sysroot: &Sysroot, outputs: &[Output]) -> Result<Vec<(Output, ClientAnswer)>> {
        self.ask_with_every_store(sysroot, outputs, &self.server.url(), "the CA's server").await
    }

    /// Asks the server at `url` with the roots of each store, and no others.
    async fn ask_with_every_store(
        &self,
        sysroot: &Sysroot,
        outputs: &[Output],
        url: &str,
        server: &str,
    ) -> Result<Vec<(Output, ClientAnswer)>> {
        let mut answers = Vec::new();
        for output in outputs {
            let Some(answer) = self.ask(sysroot, output, url).await? else { continue };
            let with = match answer.roots {
                Some(1) => format!("with the one root of {}", output.path),
                Some(roots) => format!("with the {roots} roots of {}", output.path),
                None => format!("with {}, which is not there,", output.path),
            };
            let verdict = if answer.accepted { "accepts" } else { "refuses" };
            self.say(&format!("  a client {with} {verdict} {server}"));
            answers.push((output.clone(), answer));
        }
        Ok(answers)
    }

    async fn ask(&self, sysroot: &Sysroot, output: &Output, url: &str) -> Result<Option<ClientAnswer>> {
        let roots = match output.kind {
            OutputKind::Bundle => bundle(sysroot, &output.path)?,
            // Firmware reads these, not a TLS client of a container.
            OutputKind::SignatureList => return Ok(None),
            OutputKind::Keystore => keystore(sysroot, &output.path)?,
            OutputKind::NssDatabase => database(sysroot, &output.path)?,
            OutputKind::HashDirectory => {
                let found = hash_directory(sysroot, &output.path)?;
                // Without hash links, OpenSSL finds nothing in a directory, and it is not asked to.
                if found.is_none() {
                    return Ok(None);
                }
                found
            }
        };
        let count = roots.as_ref().map(Vec::len);
        let roots = roots.unwrap_or_default();
        Ok(Some(ClientAnswer {
            roots: count,
            accepted: !roots.is_empty() && self.accepts(roots, url).await?,
        }))
    }

    /// Whether a TLS client that trusts `roots` alone can connect to the server at `url`.
    async fn accepts(&self, roots: Vec<Vec<u8>>, url: &str) -> Result<bool> {
        let roots = roots.into_iter().map(Into::into).collect();
        let trust = Trust::Roots { roots, vouched_by: "the store's roots".to_owned() };
        let url = crate::net::url::parse(&format!("{url}/health"), "the server's address")?;
        let hosts = format!("127.0.0.1 {}\n", enrollment::HOST);
        let env = Env::fixed([], self.env.now());
        let settings = ResolverSettings::from_texts(None, Some(hosts.as_bytes()));
        let answer = Net::new(&env, &settings, CLIENT_TIMEOUT)?.get(&url, &trust).await;
        match answer.and_then(crate::net::FetchAnswer::success) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotTrusted => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn trustup(&self, directory: &Path, arguments: &[&str]) -> u8 {
        let sysroot = directory.display().to_string();
        self.run(&[&["--sysroot", &sysroot], arguments].concat()).await
    }

    /// Runs trustup, and shows the line.
    async fn run(&self, arguments: &[&str]) -> u8 {
        let line: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let shown = self
            .names
            .iter()
            .fold(line.join(" "), |shown, (name, value)| shown.replace(value, &format!("${name}")));
        self.say(&format!("$ trustup {shown}"));
        (self.stage.trustup)(line).await
    }

    fn say(&self, line: &str) {
        (self.stage.say)(line);
    }
}

struct ClientAnswer {
    /// Their number; `None` if the store does not exist.
    roots: Option<usize>,
    accepted: bool,
}

/// Row, name and stores of a root file system.
async fn inspect_root_file_system(sysroot: &Sysroot) -> Result<(&'static str, String, Vec<Output>)> {
    let state = State::load(sysroot)?;
    let view = View::new(sysroot, state.ours())?;
    let facts = Facts::gather(&view)?;
    let homes = stores::homes(sysroot)?.into_values().collect();
    let all =
        Selection { java: StorePolicy::IfThere, nss: StorePolicy::IfThere, homes, ..Selection::default() };
    let beside = stores::discover_stores(&view, facts.row.updater, &all, &state.added).await?;
    let beside = beside.found.into_iter().map(|found| Output {
        path: found.path,
        kind: found.kind,
        purpose: Some(Purpose::ServerAuth),
    });
    let outputs = facts.outputs.into_iter().chain(beside).collect();
    Ok((facts.row.id, format!("{} ({})", facts.row.name, facts.why), outputs))
}

/// Every path of a root file system and its node; times are ignored.
fn snapshot(sysroot: &Sysroot) -> Result<BTreeMap<String, Node>> {
    let mut paths = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let names = sysroot.list(if directory.is_empty() { "/" } else { &directory })?.unwrap_or_default();
        for name in names {
            let path = format!("{directory}/{name}");
            let node = match tree::read(sysroot, &path)? {
                Node::File(file) => Node::File(tree::File { modified: None, ..file }),
                node => node,
            };
            if matches!(node, Node::Directory { .. }) {
                directories.push(path.clone());
            }
            paths.insert(path, node);
        }
    }
    Ok(paths)
}

fn same(
    one: &BTreeMap<String, Node>,
    other: &BTreeMap<String, Node>,
    claim: &str,
    directory: &Path,
) -> Result<()> {
    let differs = |path: &&String| one.get(*path) != other.get(*path);
    match one.keys().chain(other.keys()).find(differs) {
        None => Ok(()),
        Some(path) => Err(unproven(claim, format!("{}{path}", directory.display()))),
    }
}

fn expect(code: u8, wanted: u8, what: &str) -> Result<()> {
    if code == wanted {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the demo did not prove what it claims: {what} ended with exit code {code}, not {wanted}"
    )))
}

fn unproven(what: &str, place: impl AsRef<Path>) -> Error {
    Error::failed(format!("the demo did not prove what it claims: {what}")).at(place.as_ref().display())
}

fn could_not(path: &Path, error: std::io::Error) -> Error {
    Error::failed("could not make a directory for the demo")
        .at(path.display())
        .because(error)
        .hint("TMPDIR names the directory that it is made in")
}

/// A directory of ours that is removed with this value.
struct Scratch(PathBuf);

impl Scratch {
    /// Fails if anything is there already: another user may have put it there.
    fn new(path: PathBuf) -> Result<Self> {
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| could_not(&path, error))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in a temporary directory, readable by us alone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::shutdown::Shutdown;
    use crate::process::Children;

    /// Runs the demo with a trustup of which `alter` changes arguments or result.
    fn demo(alter: impl Fn(&[String]) -> Option<u8>) -> Result<DemoProof, String> {
        let temporary = tempfile::tempdir().expect("temporary directory");
        let env = &Env::without_variables();
        let trustup = |arguments: Vec<String>| -> Pin<Box<dyn Future<Output = u8> + '_>> {
            let altered = alter(&arguments);
            let line = ["trustup", "-q"].into_iter().map(str::to_owned).chain(arguments);
            let line = line.map(Into::into).collect();
            Box::pin(async move {
                match altered {
                    Some(code) => code,
                    None => crate::cli::run(line, env, &Shutdown::default(), &Children::default()).await,
                }
            })
        };
        let runtime = crate::host::runtime::build().expect("runtime");
        let stage = Stage { say: &|_| {}, trustup: &trustup };
        let done = runtime.block_on(run(env, temporary.path(), &stage));
        let left = fs::read_dir(temporary.path()).expect("temporary directory").count();
        assert_eq!(left, 0, "the demo left something behind");
        done.map_err(|error| error.to_string())
    }

    fn has(arguments: &[String], word: &str) -> bool {
        arguments.iter().any(|argument| argument == word)
    }

    #[test]
    fn it_proves_what_it_claims() {
        let report = demo(|_| None).expect("proven");
        assert_eq!(report.systems.len(), 5);
        for system in report.systems {
            assert!(!system.stores.is_empty() && system.restored && system.second_run_idle, "{system:?}");
            for store in system.stores {
                assert!(store.refused_before && store.accepted_after, "{store:?}");
                assert_eq!(store.roots_after, store.roots_before.unwrap_or(0) + 1, "{store:?}");
            }
        }
        let enrollment = report.enrollment;
        assert!(!enrollment.accepted_by.is_empty() && enrollment.second_run_idle, "{enrollment:?}");
        assert!((1..=2).contains(&enrollment.connections), "{enrollment:?}");
        assert_ne!(report.renewal.former_serial, report.renewal.served_serial);
    }

    #[test]
    fn it_fails_if_a_step_is_not_proven() {
        type Alter = fn(&[String]) -> Option<u8>;
        let cases: [(&str, Alter); 7] = [
            ("the daemon ended", |arguments| has(arguments, "--daemon").then_some(0)),
            ("enroll ended well, and the file is not there", |arguments| {
                has(arguments, "enroll").then_some(0)
            }),
            ("still refuses", |arguments| {
                (has(arguments, "bootstrap") && !has(arguments, "--dry-run")).then_some(0)
            }),
            ("`untrust` left", |arguments| has(arguments, "untrust").then_some(0)),
            ("wrong fingerprint", |arguments| has(arguments, "--root-url").then_some(0)),
            ("exit code 1", |arguments| has(arguments, "--dry-run").then_some(1)),
            ("`--dry-run` changed", |arguments| {
                has(arguments, "--dry-run").then(|| {
                    let sysroot = arguments.iter().skip_while(|argument| *argument != "--sysroot").nth(1);
                    fs::write(Path::new(sysroot.expect("sysroot")).join("etc/new"), "x").expect("file");
                    0
                })
            }),
        ];
        for (words, alter) in cases {
            let error = demo(alter).expect_err(words);
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn a_directory_that_is_there_already_is_not_used() {
        let temporary = tempfile::tempdir().expect("temporary directory");
        let path = temporary.path().join("x");
        fs::create_dir(&path).expect("directory");
        assert!(Scratch::new(path.clone()).is_err());
        assert!(path.is_dir(), "what others made stays");
    }
}
