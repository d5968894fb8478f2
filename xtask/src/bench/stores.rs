//! Java's keystores and NSS databases: trustup beside `keytool -importcert` and `certutil -A`, in one run, on the same files.
//! What each left behind is checked, by keytool and certutil themselves, before its time counts. Needs `openssl`,
//! `keytool` and `certutil`; no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::processes::{finish, median, millis, processor, timed};
use super::ratio;
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
    println!("                                      time      processor");

    // The loop first: its result is the keystore that one root more goes into.
    arena.keystore("empty")?;
    let (mut time, mut processor) = (Duration::ZERO, Duration::ZERO);
    for number in 0..MANY {
        // Half of them each: neither is disturbed by the other, and together they are the loop.
        match number % 2 {
            0 => time += 2 * timed(&mut arena.keytool_import(number))?,
            _ => processor += 2 * arena.processor(arena.keytool_import(number))?,
        }
    }
    arena.keystore_holds(MANY)?;
    arena.keep_keystore("full")?;
    let ours = Contender {
        prepare: &|| arena.keystore("empty"),
        command: &|| arena.trustup("java", "all.pem"),
        check: &|| arena.keystore_holds(MANY),
    };
    let [ours] = costs(&arena, [ours], runs)?;
    say(
        &format!("{MANY} roots into a new keystore"),
        "keytool, each",
        &Cost { time, processor },
        &ours,
        Some(WANTED_MANY),
    );

    let one_more = || arena.keystore("full");
    let has_it = || arena.keystore_holds(MANY + 1);
    let keytool = Contender { prepare: &one_more, command: &|| arena.keytool_import(MANY), check: &has_it };
    let ours =
        Contender { prepare: &one_more, command: &|| arena.trustup("java", &name(MANY)), check: &has_it };
    let [keytool, ours] = costs(&arena, [keytool, ours], runs)?;
    say(&format!("one root into a keystore with {MANY}"), "keytool", &keytool, &ours, Some(WANTED_ONE));

    let fresh = || arena.database();
    let has_it = || arena.database_holds_one();
    let certutil = Contender { prepare: &fresh, command: &|| arena.certutil_add(), check: &has_it };
    let ours = Contender { prepare: &fresh, command: &|| arena.trustup("nss", &name(MANY)), check: &has_it };
    let [certutil, ours] = costs(&arena, [certutil, ours], runs)?;
    say("one root into an NSS database", "certutil -A", &certutil, &ours, None);
    Ok(())
}

/// One of those that are measured.
struct Contender<'a> {
    prepare: &'a dyn Fn() -> Outcome,
    command: &'a dyn Fn() -> Command,
    check: &'a dyn Fn() -> Outcome,
}

/// From start to end, and on the processors (what is left when the machine is busy).
struct Cost {
    time: Duration,
    processor: Duration,
}

/// The medians of alternating runs, without the first, which warms the caches of the kernel.
fn costs<const N: usize>(arena: &Arena, contenders: [Contender<'_>; N], runs: usize) -> Outcome<[Cost; N]> {
    let mut times = [const { Vec::new() }; N];
    let mut processors = [const { Vec::new() }; N];
    for run in 0..=runs {
        for (index, contender) in contenders.iter().enumerate() {
            (contender.prepare)()?;
            let time = timed(&mut (contender.command)())?;
            (contender.check)()?;
            (contender.prepare)()?;
            let processor = arena.processor((contender.command)())?;
            (contender.check)()?;
            if run > 0 {
                times[index].push(time);
                processors[index].push(processor);
            }
        }
    }
    let mut processors = processors.into_iter();
    Ok(times.map(|times| Cost {
        time: median(times),
        processor: processors.next().map_or(Duration::ZERO, median),
    }))
}

fn say(what: &str, name: &str, tool: &Cost, ours: &Cost, wanted: Option<f64>) {
    println!("{what}");
    for (name, cost) in [(name, tool), ("trustup bootstrap", ours)] {
        println!("  {name:<30}{:>8.1} ms {:>8.1} ms", millis(cost.time), millis(cost.processor));
    }
    for (what, ratio) in
        [("time", ratio(tool.time, ours.time)), ("processor", ratio(tool.processor, ours.processor))]
    {
        let budget = wanted.map(|wanted| {
            let verdict = if ratio >= wanted { "kept" } else { "MISSED" };
            format!(" (budget {wanted:.0} : 1, {verdict})")
        });
        println!("  ratio of {what:<9} {ratio:>7.1} : 1{}", budget.unwrap_or_default());
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

    fn keytool_import(&self, number: usize) -> Command {
        let mut command = self.keytool(&self.place(KEYSTORE));
        command.args(["-importcert", "-noprompt", "-alias", &name(number), "-file"]);
        command.arg(self.root(&name(number)));
        command
    }

    fn certutil_add(&self) -> Command {
        let mut command = self.certutil();
        command.args(["-A", "-n", "Benchmark", "-t", "C,,", "-i"]);
        command.arg(self.root(&name(MANY)));
        command
    }

    fn trustup(&self, stores: &str, file: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().arg("--sysroot").arg(self.place("")).args(["bootstrap", "--stores", stores]);
        if stores == "nss" {
            command.arg("--nss-db").arg(format!("/{DATABASE}"));
        }
        command.arg("--ca-file").arg(self.root(file));
        command
    }

    fn processor(&self, mut command: Command) -> Outcome<Duration> {
        processor(&mut command, &self.directory.join("report"))
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
