//! Chores of this repository: `cargo xtask dist` builds the static release binary, `cargo xtask bench` measures it.
//!
//! What ships is in the library; nothing here may be needed by a user of the product.

#![allow(clippy::disallowed_methods, reason = "a chore drives compilers, tools and throwaway directories")]

mod bench;
mod dist;
mod elf;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask dist  [--target TRIPLE]
       cargo xtask bench [--tree DIR] [--runs N] [--binary FILE] [--only-stores | --only-enroll]

  dist   builds the static release binary and puts it at target/static/trustup; fails if it needs
         a dynamic linker or is over the size budget
  bench  measures it beside `update-ca-certificates --fresh` on the same Debian tree (needs root:
         the real tool runs in a chroot), beside p11-kit's extractions on a tree laid out as Fedora,
         beside keytool and certutil, and beside step; valgrind counts instructions. Without --tree
         the tree is made by debootstrap and kept; --binary measures one that is built already
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some("dist") => dist::main(arguments),
        Some("bench") => bench::main(arguments),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(format!("unknown chore `{other}`\n{USAGE}")),
        None => Err(format!("which chore?\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// What a chore ends with; the text is for a person.
type Outcome<T = ()> = Result<T, String>;

/// The repository: the parent of this crate's directory.
fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target` in the repository.
fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) if !directory.is_empty() => repository().join(directory),
        _ => repository().join("target"),
    }
}

/// The value of option `name` of a chore.
fn value_of(name: &str, arguments: &mut impl Iterator<Item = String>) -> Outcome<String> {
    arguments.next().ok_or_else(|| format!("`{name}` needs a value\n{USAGE}"))
}
