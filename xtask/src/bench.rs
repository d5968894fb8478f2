//! `cargo xtask bench`: `trustup bootstrap --updater builtin` beside the distribution's own tool, on the same tree and in
//! one run, since only ratios survive a change of machine: `update-ca-certificates --fresh` on a Debian tree, and the
//! extractions of `update-ca-trust` (Debian's p11-kit) on one that is laid out as Fedora, with the roots of Debian and with
//! 388. Both add one root to the tree; what each left behind is checked before its time counts. Callgrind counts the
//! instructions of trustup: that number is the same on a busy machine.
//!
//! Then Java's keystores and NSS databases, beside `keytool` and `certutil`: [`stores`]. Then a certificate from step-ca,
//! beside `step`: [`enroll`]. Then renewals, once and as a daemon: [`renewal`].
//!
//! It works on a copy of the tree and needs root (the real tool runs in a chroot) and GNU time (peak memory).

mod enroll;
mod instructions;
mod processes;
mod renewal;
mod step_ca;
mod stores;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::processes::{finish, in_bash, median, millis, processor_in, timed, wrap};
use crate::{Outcome, dist, target_directory, value_of};

/// What is compared.
struct Family {
    /// How many times faster than the native tool the built-in updater has to be (design, budgets).
    wanted_ratio: f64,
    /// How many instructions the built-in updater may take (design, budgets); `None`: any number.
    most_instructions: Option<u64>,
    /// How many roots the vendor has beside Debian's, and the directory for them.
    more_roots: (usize, &'static str),
    /// How the kept tree of the tests is called, before its key.
    tree: &'static str,
    /// The native tool with its arguments.
    tool: &'static [&'static str],
    /// Where the tool finds the new root.
    anchor: &'static str,
    /// The bundle.
    bundle: &'static str,
    /// The hashed directory.
    hashed: &'static str,
    /// The only directories that either contender changes.
    changed: &'static [&'static str],
}

const DEBIAN: Family = Family {
    wanted_ratio: 100.0,
    most_instructions: None,
    more_roots: (0, ""),
    tree: "debian-12",
    tool: &["/usr/sbin/update-ca-certificates", "--fresh"],
    anchor: "usr/local/share/ca-certificates/bench-root.crt",
    bundle: "etc/ssl/certs/ca-certificates.crt",
    hashed: "/etc/ssl/certs",
    changed: &["etc/ssl", "etc/ca-certificates", "usr/local/share/ca-certificates", "var/lib/trustup"],
};

const RED_HAT: Family = Family {
    wanted_ratio: 50.0,
    most_instructions: None,
    more_roots: (0, ""),
    tree: "red-hat",
    tool: &["/usr/bin/update-ca-trust"],
    anchor: "etc/pki/ca-trust/source/anchors/bench-root.pem",
    bundle: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    hashed: "/etc/pki/ca-trust/extracted/pem/directory-hash",
    changed: &["etc/pki", "var/lib/trustup"],
};

/// With Debian's 142 roots, 388 in all.
const LARGE_RED_HAT: Family = Family {
    most_instructions: Some(300_000_000),
    more_roots: (246, "usr/share/pki/ca-trust-source/anchors"),
    ..RED_HAT
};

/// The chore.
pub fn main(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let mut tree = None;
    let mut binary = None;
    let mut only_stores = false;
    let mut only_enroll = false;
    let mut only_renewal = false;
    let mut runs = 9;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--tree" => tree = Some(PathBuf::from(value_of("--tree", &mut arguments)?)),
            "--binary" => {
                // It is run from other directories.
                let path = PathBuf::from(value_of("--binary", &mut arguments)?);
                let found = path.canonicalize().map_err(|error| format!("`{}`: {error}", path.display()))?;
                binary = Some(found);
            }
            "--only-stores" => only_stores = true,
            "--only-enroll" => only_enroll = true,
            "--only-renewal" => only_renewal = true,
            "--runs" => {
                let value = value_of("--runs", &mut arguments)?;
                runs = value
                    .parse()
                    .ok()
                    .filter(|runs| *runs > 0)
                    .ok_or(format!("`--runs {value}`: no number"))?;
            }
            other => return Err(format!("`bench` has no option `{other}`")),
        }
    }
    let binary = match binary {
        Some(binary) => binary,
        None => dist::build(None)?.0,
    };
    let size = fs::metadata(&binary).map_err(|error| format!("`{}`: {error}", binary.display()))?.len();
    if only_stores {
        return stores::compare(&binary, runs);
    }
    if only_enroll {
        return enroll::compare(&binary, runs);
    }
    if only_renewal {
        return renewal::compare(&binary, runs);
    }
    let tree = match tree {
        Some(tree) => tree,
        None => debian()?,
    };
    compare(&DEBIAN, &tree, &binary, runs)?;
    println!();
    match kept(&RED_HAT) {
        Some(tree) => {
            compare(&RED_HAT, &tree, &binary, runs)?;
            println!();
            compare(&LARGE_RED_HAT, &tree, &binary, runs)?;
        }
        None => println!("no tree laid out as Fedora: `./test p11_kit` makes it"),
    }
    println!();
    stores::compare(&binary, runs)?;
    println!();
    enroll::compare(&binary, runs)?;
    println!();
    renewal::compare(&binary, runs)?;
    println!("binary {:.2} MiB", size as f64 / f64::from(1 << 20));
    Ok(())
}

/// Measures both on a tree and prints what it saw.
fn compare(family: &'static Family, tree: &Path, binary: &Path, runs: usize) -> Outcome {
    let arena = Arena::new(family, tree, binary)?;
    let before = arena.certificates()?;
    // One run each that does not count: it warms the caches of the kernel for both alike.
    arena.native(&mut plain())?;
    arena.builtin(&mut plain())?;
    let (mut native, mut builtin, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        native.push(arena.native(&mut plain())?);
        builtin.push(arena.builtin(&mut plain())?);
        again.push(arena.once_more()?);
    }
    let tool = Cost::of(&arena, Arena::native, median(native), runs)?;
    let ours = Cost::of(&arena, Arena::builtin, median(builtin), runs)?;

    let name = family.tool.join(" ");
    let name = name.rsplit('/').next().unwrap_or_default();
    println!("tree {}: {before} roots, one added; median of {runs} alternating runs", tree.display());
    println!("                                      time      processor   peak memory");
    println!("{name:<32}{tool}");
    println!("trustup bootstrap (built-in)    {ours}");
    println!("trustup bootstrap, second run   {:>8.1} ms", millis(median(again)));
    for (what, ratio) in
        [("time", ratio(tool.time, ours.time)), ("processor", ratio(tool.processor, ours.processor))]
    {
        let wanted = family.wanted_ratio;
        println!(
            "ratio of {what:<9} {ratio:>5.0} : 1 (budget {wanted:.0} : 1, {})",
            verdict(ratio >= wanted)
        );
    }
    match instructions::of(&arena)? {
        Some(count) => println!("{}", instructions::line(count, family.most_instructions)),
        None => println!("instructions: not counted, since there is no `valgrind`"),
    }
    Ok(())
}

/// Whether a budget was kept, in a word.
fn verdict(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "MISSED" }
}

/// What one contender takes.
struct Cost {
    /// From start to end, while others may use the machine too.
    time: Duration,
    /// On the processors, its children's included: what is left when the machine is busy.
    processor: Duration,
    /// KiB, of the largest process.
    memory: u64,
}

impl Cost {
    fn of(arena: &Arena, contender: Contender, time: Duration, runs: usize) -> Outcome<Cost> {
        let report = arena.directory.join("report");
        let read = || fs::read_to_string(&report).map_err(|error| format!("`{}`: {error}", report.display()));

        let in_time = |command: &mut Command| {
            wrap(Command::new("/usr/bin/time").args(["-f", "%M", "-o"]).arg(&report), command)
        };
        contender(arena, &mut { in_time })
            .map_err(|error| format!("{error} (peak memory needs the package `time`)"))?;
        let text = read()?;
        let memory = text.trim().parse().map_err(|_| format!("GNU time said {text:?}"))?;

        // GNU time counts in hundredths of a second, bash in thousandths.
        let mut times = Vec::new();
        for _ in 0..runs {
            contender(arena, &mut |command: &mut Command| in_bash(command, &report))?;
            times.push(processor_in(&report)?);
        }
        Ok(Cost { time, processor: median(times), memory })
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8.1} ms {:>8.1} ms {:>9} KiB", millis(self.time), millis(self.processor), self.memory)
    }
}

fn ratio(tool: Duration, ours: Duration) -> f64 {
    tool.as_secs_f64() / ours.as_secs_f64()
}

/// A copy of the tree that both contenders start from afresh each time.
struct Arena {
    family: &'static Family,
    /// Holds all of it; removed at the end.
    directory: PathBuf,
    tree: PathBuf,
    pristine: PathBuf,
    binary: PathBuf,
    certificate: PathBuf,
}

impl Arena {
    fn new(family: &'static Family, source: &Path, binary: &Path) -> Outcome<Arena> {
        for path in [family.tool[0], "/usr/bin/openssl"] {
            if !source.join(&path[1..]).is_file() {
                return Err(format!("`{}` has no `{path}`: install its package in it", source.display()));
            }
        }
        let directory = target_directory().join(format!("bench-{}", std::process::id()));
        let arena = Arena {
            tree: directory.join("tree"),
            pristine: directory.join("pristine"),
            certificate: directory.join("bench-root.crt"),
            directory,
            binary: binary.to_owned(),
            family,
        };
        fs::create_dir_all(&arena.pristine)
            .map_err(|error| format!("`{}`: {error}", arena.pristine.display()))?;
        finish(Command::new("cp").arg("-a").arg("--").args([source, &arena.tree]))?;
        arena.add_roots()?;
        for (index, path) in family.changed.iter().enumerate() {
            let from = arena.tree.join(path);
            if from.exists() {
                finish(
                    Command::new("cp")
                        .arg("-a")
                        .arg("--")
                        .arg(from)
                        .arg(arena.pristine.join(index.to_string())),
                )?;
            }
        }
        arena.make_root("Benchmark Root", "/bench-root.crt")?;
        let made = arena.tree.join("bench-root.crt");
        fs::rename(made, &arena.certificate).map_err(|error| format!("moving the certificate: {error}"))?;
        Ok(arena)
    }

    /// A new root at `path` in the tree.
    fn make_root(&self, name: &str, path: &str) -> Outcome {
        // The key is thrown away at once: nothing is ever signed with it.
        finish(
            self.inside("openssl")
                .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"])
                .args(["-days", "30", "-addext", "keyUsage=critical,keyCertSign"])
                .args(["-subj", &format!("/CN={name}"), "-out", path]),
        )
    }

    /// The vendor's further roots, and every output with them.
    fn add_roots(&self) -> Outcome {
        let (count, directory) = self.family.more_roots;
        for number in 0..count {
            self.make_root(
                &format!("Generated Root {number}"),
                &format!("/{directory}/generated-{number}.crt"),
            )?;
        }
        let (program, arguments) = self.family.tool.split_first().ok_or("no tool")?;
        if count > 0 { finish(self.inside(program).args(arguments)) } else { Ok(()) }
    }

    /// A program of the tree, in the tree, with nothing of our environment.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command
            .arg(&self.tree)
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command
    }

    /// Puts the tree back to what it was.
    fn reset(&self) -> Outcome {
        for (index, path) in self.family.changed.iter().enumerate() {
            let (place, copy) = (self.tree.join(path), self.pristine.join(index.to_string()));
            finish(Command::new("rm").arg("-rf").arg("--").arg(&place))?;
            if copy.exists() {
                finish(Command::new("cp").arg("-a").arg("--").arg(copy).arg(place))?;
            }
        }
        // What is not yet on the disk would be paid for by the next contender.
        finish(&mut Command::new("sync"))
    }

    /// The native tool, from a fresh tree; `wrapper` goes in front of the command.
    fn native(&self, wrapper: &mut Wrapper<'_>) -> Outcome<Duration> {
        self.reset()?;
        let anchor = self.tree.join(self.family.anchor);
        fs::create_dir_all(anchor.parent().unwrap_or(&self.tree))
            .and_then(|()| fs::copy(&self.certificate, &anchor))
            .map_err(|error| format!("`{}`: {error}", anchor.display()))?;
        let (program, arguments) = self.family.tool.split_first().ok_or("no tool")?;
        let took = timed(&mut wrapper(self.inside(program).args(arguments)))?;
        self.proven()?;
        Ok(took)
    }

    /// The built-in updater, from a fresh tree.
    fn builtin(&self, wrapper: &mut Wrapper<'_>) -> Outcome<Duration> {
        self.reset()?;
        let took = timed(&mut wrapper(&mut self.bootstrap()))?;
        self.proven()?;
        Ok(took)
    }

    /// The built-in updater on the tree that it has just finished: nothing to do.
    fn once_more(&self) -> Outcome<Duration> {
        timed(&mut self.bootstrap())
    }

    fn bootstrap(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().arg("--sysroot").arg(&self.tree);
        command.args(["bootstrap", "--updater", "builtin", "--ca-file"]).arg(&self.certificate);
        command
    }

    /// The new root is in the bundle and can be found by its hash link, and no other was lost.
    fn proven(&self) -> Outcome {
        let wanted = body(&fs::read_to_string(&self.certificate).map_err(|error| error.to_string())?);
        if !body(&self.bundle()?).contains(&wanted) {
            let bundle = self.family.bundle;
            return Err(format!("the new root is not in `{bundle}`: what was timed did not do the job"));
        }
        let copy = self.tree.join("bench-root.crt");
        fs::copy(&self.certificate, &copy).map_err(|error| error.to_string())?;
        let verified = finish(self.inside("openssl").args([
            "verify",
            "-no-CAfile",
            "-CApath",
            self.family.hashed,
            "/bench-root.crt",
        ]));
        fs::remove_file(copy).map_err(|error| error.to_string())?;
        verified
    }

    /// How many certificates the bundle holds.
    fn certificates(&self) -> Outcome<usize> {
        Ok(self.bundle()?.matches("-----BEGIN CERTIFICATE-----").count())
    }

    fn bundle(&self) -> Outcome<String> {
        let path = self.tree.join(self.family.bundle);
        fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("warning: `{}` is left: {error}", self.directory.display());
        }
    }
}

/// One run of one contender; gives its wall time.
type Contender = for<'w> fn(&Arena, &mut Wrapper<'w>) -> Outcome<Duration>;

/// Turns a command into the one that is really run.
type Wrapper<'w> = dyn FnMut(&mut Command) -> Command + 'w;

/// Runs the command as it is.
fn plain() -> impl FnMut(&mut Command) -> Command {
    |command| std::mem::replace(command, Command::new("true"))
}

/// The base64 text of PEM without line endings, so that wrapping does not matter.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// A Debian 12 tree with ca-certificates: the one that the tests keep below `target`, else one made by debootstrap.
fn debian() -> Outcome<PathBuf> {
    if let Some(tree) = kept(&DEBIAN) {
        return Ok(tree);
    }
    let cache = target_directory().join("test-cache");
    eprintln!("making a Debian 12 tree with debootstrap (once; about a minute)");
    fs::create_dir_all(&cache).map_err(|error| format!("`{}`: {error}", cache.display()))?;
    let (tree, unfinished) = (cache.join("debian-12-bench"), cache.join("debian-12-bench.partial"));
    finish(Command::new("rm").arg("-rf").arg("--").arg(&unfinished))?;
    finish(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=ca-certificates", "bookworm"])
            .arg(&unfinished),
    )?;
    fs::rename(&unfinished, &tree).map_err(|error| format!("`{}`: {error}", tree.display()))?;
    Ok(tree)
}

/// The tree of this family that the tests keep.
fn kept(family: &Family) -> Option<PathBuf> {
    let cache = target_directory().join("test-cache");
    let entries =
        [cache.join("roots"), cache].into_iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
    entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_it = name.strip_prefix(family.tree).is_some_and(|key| key.starts_with('-'));
        is_it && path.extension().is_none() && path.join(family.bundle).is_file()
    })
}
