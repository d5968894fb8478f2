//! The binary: passes control to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustup::cli::ui::report_panics();
    ExitCode::from(trustup::cli::main(std::env::args_os().collect(), &trustup::host::env::Env::os()))
}
