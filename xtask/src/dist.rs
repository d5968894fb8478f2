//! `cargo xtask dist`: the release binary with the C library linked in, so that it starts in an image that holds
//! nothing else, and the proof that it is one and within its budget.
//!
//! The C library is glibc with `+crt-static`, because Rust's own target for the machine then suffices. What glibc
//! cannot do when it is static is load name-service plug-ins; trustup resolves names by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, elf, repository, target_directory, value_of};

/// The maximum size of the binary, in bytes.
const BUDGET: u64 = 12 << 20;

/// The chore.
pub fn main(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let mut target = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--target" => target = Some(value_of("--target", &mut arguments)?),
            other => return Err(format!("`dist` has no option `{other}`")),
        }
    }
    let (path, size) = build(target)?;
    println!("{}", path.display());
    println!("{size} bytes ({:.2} MiB of {} MiB), static", mib(size), BUDGET >> 20);
    Ok(())
}

/// Builds for `target` (default: this machine's) and gives the path and size of the checked binary.
pub fn build(target: Option<String>) -> Outcome<(PathBuf, u64)> {
    let target = match target {
        Some(target) => target,
        None => host()?,
    };
    let machine = machine_of(&target)?;
    let built = compile(&target)?;
    let size = check(&built, machine)?;
    if target == host()? {
        starts(&built)?;
    }
    let path = place(&built)?;
    Ok((path, size))
}

/// Builds for `target`.
fn compile(target: &str) -> Outcome<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` tells this chore of itself would count as a change of ring's build script's environment, and
    // half of the graph would be built anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    // --target keeps the flags away from build scripts and procedural macros, which must stay dynamic.
    let status = cargo
        .current_dir(repository())
        .args(["build", "--quiet", "--locked", "--package", "trustup", "--bin", "trustup"])
        .args(["--profile", "dist", "--target", target])
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?)
        .status()
        .map_err(|error| format!("could not start cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build failed: {status}"));
    }
    Ok(target_directory().join(target).join("dist").join("trustup"))
}

/// The triple that this machine's compiler builds for.
fn host() -> Outcome<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().map_err(|error| format!("could not start rustc: {error}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| "rustc -vV does not name its host".to_owned())
}

/// ELF's number for the processor of `target`; an error for targets that cannot give a static binary here.
fn machine_of(target: &str) -> Outcome<u16> {
    if !(target.ends_with("-linux-gnu") || target.ends_with("-linux-musl")) {
        return Err(format!(
            "`{target}` gives no static Linux binary: use a …-linux-gnu or …-linux-musl target"
        ));
    }
    match target.split('-').next() {
        Some("x86_64") => Ok(62),
        Some("aarch64") => Ok(183),
        _ => Err(format!("`{target}`: only x86_64 and aarch64 are built and tried")),
    }
}

/// The compiler flags, in cargo's encoding (separated by 0x1f): the C library linked in, random numbers straight from
/// the kernel, and no path of this machine in panic messages.
fn flags() -> Outcome<String> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let mut flags: Vec<String> = match std::env::var("CARGO_ENCODED_RUSTFLAGS") {
        Ok(encoded) => encoded.split('\x1f').filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
        Err(_) => {
            std::env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        }
    };
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    // The crate getrandom looks its namesake up at run time, finds nothing in a static binary, and then wants
    // /dev/urandom, which an empty root lacks. So it is told to call it.
    flags.push("--cfg=getrandom_backend=\"linux_getrandom\"".to_owned());
    flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    flags.push(format!("--remap-path-prefix={}=trustup", repository().display()));
    Ok(flags.join("\x1f"))
}

/// Checks linkage, processor and size of `binary`; gives the size.
fn check(binary: &Path, machine: u16) -> Outcome<u64> {
    let file = std::fs::read(binary).map_err(|error| format!("`{}`: {error}", binary.display()))?;
    let linkage = elf::linkage(&file).map_err(|error| format!("`{}`: {error}", binary.display()))?;
    if !linkage.is_static() {
        return Err(format!(
            "`{}` is not static: interpreter: {}, shared objects: {}",
            binary.display(),
            if linkage.interpreter { "yes" } else { "no" },
            linkage.needed
        ));
    }
    if linkage.machine != machine {
        return Err(format!("`{}` is for machine {}, not {machine}", binary.display(), linkage.machine));
    }
    let size = file.len() as u64;
    if size > BUDGET {
        return Err(format!(
            "`{}`: {:.2} MiB is over the budget of {} MiB",
            binary.display(),
            mib(size),
            BUDGET >> 20
        ));
    }
    Ok(size)
}

/// Whether it starts here.
fn starts(binary: &Path) -> Outcome {
    let status =
        Command::new(binary).arg("--version").env_clear().stdout(std::process::Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` does not start: {status}", binary.display())),
        Err(error) => Err(format!("`{}` does not start: {error}", binary.display())),
    }
}

/// Puts a copy at `target/static/trustup`: one short path on every machine, and a directory that can be the
/// build context of `Dockerfile.examples` as it is.
fn place(built: &Path) -> Outcome<PathBuf> {
    let directory = target_directory().join("static");
    let path = directory.join("trustup");
    // Of this process: two that build the same place it one after the other, each whole.
    let fresh = directory.join(format!("trustup.{}.new", std::process::id()));
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::copy(built, &fresh))
        .and_then(|_| std::fs::rename(&fresh, &path))
        .map_err(|error| format!("`{}`: {error}", path.display()))?;
    Ok(path)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_processors_are_known_and_others_are_named() {
        assert_eq!(machine_of("x86_64-unknown-linux-gnu"), Ok(62));
        assert_eq!(machine_of("aarch64-unknown-linux-gnu"), Ok(183));
        assert_eq!(machine_of("aarch64-unknown-linux-musl"), Ok(183));
        for target in ["x86_64-pc-windows-msvc", "riscv64gc-unknown-linux-gnu", "x86_64-unknown-linux-gnux32"]
        {
            machine_of(target).expect_err(target);
        }
    }

    #[test]
    fn a_dynamic_program_is_refused() {
        let own = std::env::current_exe().expect("own path");
        let reason = check(&own, 62).expect_err("this program is dynamic");
        assert!(reason.contains("not static"), "{reason}");
    }
}
