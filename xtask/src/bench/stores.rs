//! Java's keystores and NSS databases: trustup beside `keytool -importcert` and `certutil -A`, in one run, on the same files.
//! What each left behind is checked, by keytool and certutil themselves, before its time counts. Needs `openssl`,
//! `keytool` and `certutil`; no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{finish, median, millis, ratio, timed};
use crate::{Outcome, target_directory};

/// As many roots as a distribution has.
const MANY: usize = 140;
/// How many times faster than keytool one root has to get into a keystore with [`MANY`] (design, budgets).
const WANTED_ONE: f64 = 80.0;
/// The same for [`MANY`] roots into a new keystore, against a keytool for each.
const WANTED_MANY: f64 = 1000.0;
/// Where trustup finds Java's keystore in the sysroot.
const KEYSTORE: &str = "usr/lib/jvm/bench/lib/security/cacerts";
/// Where the database is.
const DATABASE: &str = "nssdb";

/// Measures all three and prints what it saw.
pub(super) fn compare(binary: &Path, runs: usize) -> Outcome {
    let arena = Arena::new(binary)?;
    println!("Java keystores and NSS databases; median of {runs} alternating runs, {MANY} keytools once");

    // The loop first: its result is the keystore that one root more goes into.
    arena.keystore("empty")?;
    let mut keytools = Duration::ZERO;
    for number in 0..MANY {
        keytools += arena.keytool_import(number)?;
    }
    arena.keystore_holds(MANY)?;
    arena.keep_keystore("full")?;
    let mut all = Vec::new();
    for _ in 0..=runs {
        arena.keystore("empty")?;
        all.push(arena.trustup("java", "all.pem")?);
        arena.keystore_holds(MANY)?;
    }
    say(
        &format!("{MANY} roots into a new keystore"),
        "keytool -importcert, each",
        keytools,
        warm(all),
        Some(WANTED_MANY),
    );

    let (mut keytool, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        arena.keystore("full")?;
        keytool.push(arena.keytool_import(MANY)?);
        arena.keystore_holds(MANY + 1)?;
        arena.keystore("full")?;
        ours.push(arena.trustup("java", &name(MANY))?);
        arena.keystore_holds(MANY + 1)?;
    }
    say(
        &format!("one root into a keystore with {MANY}"),
        "keytool -importcert",
        warm(keytool),
        warm(ours),
        Some(WANTED_ONE),
    );

    let (mut certutil, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        arena.database()?;
        certutil.push(arena.certutil_add()?);
        arena.database_holds_one()?;
        arena.database()?;
        ours.push(arena.trustup("nss", &name(MANY))?);
        arena.database_holds_one()?;
    }
    say("one root into an NSS database", "certutil -A", warm(certutil), warm(ours), None);
    Ok(())
}

/// The median without the first run, which warms the caches of the kernel.
fn warm(mut times: Vec<Duration>) -> Duration {
    times.remove(0);
    median(times)
}

fn say(what: &str, name: &str, tool: Duration, ours: Duration, wanted: Option<f64>) {
    let ratio = ratio(tool, ours);
    println!("{what}");
    println!("  {name:<30}{:>10.1} ms", millis(tool));
    println!("  {:<30}{:>10.1} ms", "trustup bootstrap", millis(ours));
    match wanted {
        Some(wanted) => {
            let verdict = if ratio >= wanted { "kept" } else { "MISSED" };
            println!("  ratio {ratio:>24.0} : 1 (budget {wanted:.0} : 1, {verdict})");
        }
        None => println!("  ratio {ratio:>24.1} : 1"),
    }
}

fn name(number: usize) -> String {
    format!("root-{number}.pem")
}

/// Certificates, and a sysroot with a keystore and a database.
struct Arena {
    /// Holds all of it; removed at the end.
    directory: PathBuf,
    binary: PathBuf,
}

impl Arena {
    fn new(binary: &Path) -> Outcome<Arena> {
        let directory = target_directory().join(format!("bench-stores-{}", std::process::id()));
        let arena = Arena { directory, binary: binary.to_owned() };
        for place in [arena.place(KEYSTORE).parent().map(Path::to_owned), Some(arena.directory.join("roots"))]
        {
            let place = place.ok_or("no directory")?;
            fs::create_dir_all(&place).map_err(|error| format!("`{}`: {error}", place.display()))?;
        }
        let mut all = String::new();
        for number in 0..=MANY {
            let file = arena.root(&name(number));
            // The keys are thrown away at once: nothing is ever signed with them.
            finish(
                Command::new("openssl")
                    .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                    .args(["-keyout", "/dev/null", "-days", "30", "-subj"])
                    .arg(format!("/CN=Benchmark Root {number}"))
                    .args(["-addext", "keyUsage=critical,keyCertSign", "-out"])
                    .arg(&file),
            )?;
            if number < MANY {
                all +=
                    &fs::read_to_string(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
            }
        }
        write(&arena.root("all.pem"), all.as_bytes())?;

        // keytool makes no keystore without an entry.
        let empty = arena.place(KEYSTORE);
        let make = "-genkeypair -alias none -keyalg EC -dname CN=none -keypass changeit -storetype JKS";
        finish(arena.keytool(&empty).args(make.split(' ')))?;
        finish(arena.keytool(&empty).args(["-delete", "-alias", "none"]))?;
        arena.keep_keystore("empty")?;
        Ok(arena)
    }

    fn place(&self, path: &str) -> PathBuf {
        self.directory.join("sysroot").join(path)
    }

    fn root(&self, name: &str) -> PathBuf {
        self.directory.join("roots").join(name)
    }

    /// A keytool command on a keystore.
    fn keytool(&self, keystore: &Path) -> Command {
        let mut command = plain("keytool");
        command.arg("-J-Duser.language=en").arg("-keystore").arg(keystore).args(["-storepass", "changeit"]);
        command
    }

    fn keep_keystore(&self, name: &str) -> Outcome {
        copy(&self.place(KEYSTORE), &self.directory.join(name))
    }

    /// Puts a kept keystore back, as if nobody had been there.
    fn keystore(&self, name: &str) -> Outcome {
        self.forget()?;
        copy(&self.directory.join(name), &self.place(KEYSTORE))?;
        finish(&mut Command::new("sync"))
    }

    /// A new database with an empty password, as certutil and browsers make it.
    fn database(&self) -> Outcome {
        self.forget()?;
        let place = self.place(DATABASE);
        finish(Command::new("rm").arg("-rf").arg("--").arg(&place))?;
        fs::create_dir(&place).map_err(|error| format!("`{}`: {error}", place.display()))?;
        finish(self.certutil().args(["-N", "--empty-password"]))?;
        finish(&mut Command::new("sync"))
    }

    fn forget(&self) -> Outcome {
        finish(Command::new("rm").arg("-rf").arg("--").arg(self.place("var")))
    }

    fn certutil(&self) -> Command {
        let mut command = plain("certutil");
        command.arg("-d").arg(format!("sql:{}", self.place(DATABASE).display()));
        command
    }

    fn keytool_import(&self, number: usize) -> Outcome<Duration> {
        let mut command = self.keytool(&self.place(KEYSTORE));
        command.args(["-importcert", "-noprompt", "-alias", &name(number), "-file"]);
        timed(command.arg(self.root(&name(number))))
    }

    fn certutil_add(&self) -> Outcome<Duration> {
        let mut command = self.certutil();
        command.args(["-A", "-n", "Benchmark", "-t", "C,,", "-i"]);
        timed(command.arg(self.root(&name(MANY))))
    }

    fn trustup(&self, stores: &str, file: &str) -> Outcome<Duration> {
        let mut command = Command::new(&self.binary);
        command.env_clear().arg("--sysroot").arg(self.place("")).args(["bootstrap", "--stores", stores]);
        if stores == "nss" {
            command.arg("--nss-db").arg(format!("/{DATABASE}"));
        }
        timed(command.arg("--ca-file").arg(self.root(file)))
    }

    /// keytool counts this many entries.
    fn keystore_holds(&self, count: usize) -> Outcome {
        let talk = output(self.keytool(&self.place(KEYSTORE)).arg("-list"))?;
        let wanted = format!("contains {count} entr");
        if talk.contains(&wanted) {
            Ok(())
        } else {
            Err(format!("no `{wanted}…` in what keytool says: {talk}"))
        }
    }

    /// certutil lists one root, for servers.
    fn database_holds_one(&self) -> Outcome {
        let talk = output(self.certutil().arg("-L"))?;
        let count = talk.lines().filter(|line| line.trim_end().ends_with("C,,")).count();
        if count == 1 { Ok(()) } else { Err(format!("{count} roots in what certutil lists: {talk}")) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("warning: `{}` is left: {error}", self.directory.display());
        }
    }
}

/// A program with nothing of our environment.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command
}

fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write(path: &Path, content: &[u8]) -> Outcome {
    fs::write(path, content).map_err(|error| format!("`{}`: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    let copied = fs::copy(from, to).map_err(|error| format!("`{}`: {error}", from.display()));
    copied.map(|_| ())
}
