//! The binary: passes control to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustup::ui::report_panics();
    ExitCode::from(trustup::cli::main(std::env::args_os().collect(), &trustup::env::Env::os()))
}
