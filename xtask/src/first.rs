//! The functions that an enrollment calls stand side by side in the static binary: the kernel maps a program in pieces of
//! 64 KiB, so that functions that are strewn over it bring nearly all of it into memory (7.1 MiB; side by side 4.9 MiB).
//!
//! `first-functions.txt` has their names, without what a compiler adds at random. A name that is gone does no harm, and a
//! function that is new stands among the others, so that the list may be older than the code; `cargo xtask first-functions`
//! makes it anew, with valgrind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Outcome, repository, target_directory};

/// Where they stand.
pub(crate) const SECTION: &str = ".text.first";

/// Legacy mangling: `17h`, 16 hex digits and `E` end a name.
const HASH: usize = 16;

/// Writes the linker script for the names; gives its path, which changes with its content, so that cargo links anew.
///
/// # Errors
/// The list cannot be read, or the script not written.
pub(crate) fn script() -> Outcome<PathBuf> {
    let list = repository().join("xtask/src/first-functions.txt");
    let names = fs::read_to_string(&list).map_err(|error| format!("`{}`: {error}", list.display()))?;
    // `unlikely`: what the compiler takes for cold, and is called all the same.
    let sections: String =
        names.lines().map(|name| format!("  *(.text.{name} .text.unlikely.{name})\n")).collect();
    let script = format!("SECTIONS {{ {SECTION} : {{\n{sections}}} }} INSERT BEFORE .text;\n");
    // FNV-1a: it tells versions apart, and nobody attacks it.
    let hash = script.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = target_directory().join("linker").join(format!("first-functions-{hash:016x}.ld"));
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, script));
    written.map_err(|error| format!("`{}`: {error}", path.display()))?;
    Ok(path)
}

/// The chore: enrolls with `binary`, which has its symbols, and writes down the functions that it called.
///
/// # Errors
/// valgrind is not there, or the enrollment does not work.
pub(crate) fn renew(binary: &Path) -> Outcome {
    let place = target_directory().join(format!("first-functions-{}", std::process::id()));
    fs::create_dir_all(&place).map_err(|error| format!("`{}`: {error}", place.display()))?;
    let called = called(binary, &place);
    // Nothing of use is in it.
    let _ = fs::remove_dir_all(&place);
    let names: BTreeSet<String> = called?.iter().map(|name| pattern(name)).collect();
    let list = repository().join("xtask/src/first-functions.txt");
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    fs::write(&list, text).map_err(|error| format!("`{}`: {error}", list.display()))?;
    println!("{} functions in {}", names.len(), list.display());
    Ok(())
}

/// The symbols of the functions that an enrollment with a provisioner's password calls.
fn called(binary: &Path, place: &Path) -> Outcome<Vec<String>> {
    let ca = Ca::start(binary, place)?;
    let profile = place.join("profile");
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind", "--demangle=no"]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(binary).args(["--timeout", "5m", "enroll", "provisioner", "web.test", "--ca-url", &ca.url]);
    command.args(["--fingerprint", &ca.fingerprint, "--password-file"]).arg(place.join("ca/password"));
    command.arg("--cert").arg(place.join("web.crt")).arg("--key").arg(place.join("web.key"));
    let status = command.status().map_err(|error| format!("could not start valgrind: {error}"))?;
    if !status.success() {
        return Err(format!("the enrollment under valgrind failed: {status}"));
    }
    let text = fs::read_to_string(&profile).map_err(|error| format!("`{}`: {error}", profile.display()))?;
    Ok(functions(&text))
}

/// The functions in what callgrind wrote: `fn=(ID) NAME` where one is named first, with `'2` behind one that calls itself.
fn functions(profile: &str) -> Vec<String> {
    let named = profile.lines().filter_map(|line| {
        let (_, name) = line.strip_prefix("fn=(").or_else(|| line.strip_prefix("cfn=("))?.split_once(") ")?;
        Some(name.split('\'').next().unwrap_or(name))
    });
    // What has no symbol, and what valgrind names by itself.
    let symbols = named.filter(|name| !name.starts_with("0x") && !name.contains(['(', ' ', '?']));
    symbols.map(str::to_owned).collect()
}

/// The name of a function's section, with `*` for what differs from build to build.
fn pattern(symbol: &str) -> String {
    if symbol.starts_with("_ZN")
        && let Some((name, hash)) = symbol.rsplit_once("17h")
        && hash.len() > HASH
        && hash.bytes().take(HASH).all(|byte| byte.is_ascii_hexdigit())
    {
        return format!("{name}17h*");
    }
    if !symbol.starts_with("_R") {
        return symbol.to_owned();
    }
    // Mangling v0: `Cs` and letters and digits up to `_` are a crate's number.
    let mut parts = symbol.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                pattern.push_str("Cs*_");
                pattern.push_str(rest);
            }
            _ => {
                pattern.push_str("Cs");
                pattern.push_str(part);
            }
        }
    }
    pattern
}

/// The embedded CA, until this is dropped.
struct Ca {
    child: Child,
    url: String,
    fingerprint: String,
}

impl Ca {
    fn start(binary: &Path, place: &Path) -> Outcome<Ca> {
        let mut child = Command::new(binary)
            .args(["--json", "dev-ca", "--listen", "127.0.0.1:0", "--state"])
            .arg(place.join("ca"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{}`: {error}", binary.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let text = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (url, fingerprint) = (text("url"), text("fingerprint"));
        let mut ca = Ca { child, url: String::new(), fingerprint: String::new() };
        ca.url = url.ok_or_else(|| format!("the CA does not say where it is: {line}"))?;
        ca.fingerprint = fingerprint.ok_or_else(|| format!("the CA does not say its pin: {line}"))?;
        Ok(ca)
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_differs_from_build_to_build() {
        for (symbol, wanted) in [
            ("_ZN7trustup3cli3run17h0123456789abcdefE", "_ZN7trustup3cli3run17h*"),
            ("_ZN3std2io5stdio6_print17h0123456789abcdefE.llvm.1234", "_ZN3std2io5stdio6_print17h*"),
            ("_ZN1a17hello17h0123456789abcdefE", "_ZN1a17hello17h*"),
            ("_RNvNtNtCsgEmfK2I1SDS_4core5slice6memchr", "_RNvNtNtCs*_4core5slice6memchr"),
            (
                "_RNvXs3_NtCsjrHSEGnQ3l9_3std4pathNtCsgEmfK2I1SDS_4core3cmp",
                "_RNvXs3_NtCs*_3std4pathNtCs*_4core3cmp",
            ),
            ("ring_core_0_17_14__p256_mul_mont", "ring_core_0_17_14__p256_mul_mont"),
        ] {
            assert_eq!(pattern(symbol), wanted);
        }
    }

    #[test]
    fn what_callgrind_writes_is_read() {
        let profile = "events: Ir\nfn=(1) 0x0000000000001000\n1 2\nfn=(2) _ZN1a1b17h0123456789abcdefE\n\
                       cfn=(3) memcpy\ncalls=1 0\nfn=(4) _ZN1a1c17h0123456789abcdefE'2\nfn=(2)\nfn=(5) (below main)\n";
        let wanted = ["_ZN1a1b17h0123456789abcdefE", "memcpy", "_ZN1a1c17h0123456789abcdefE"];
        assert_eq!(functions(profile), wanted);
    }
}
