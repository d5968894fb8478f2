//! `trustup enroll provisioner` beside `step ca certificate` with a password: the same step-ca, the same provisioner, in one
//! run. Time, processor time, peak memory (GNU time), and the connections that the CA saw (through a forwarder that counts). What each
//! left behind is checked with `openssl verify` before its time counts. Needs the programs that `./test servers` builds.

use std::path::Path;
use std::process::Command;

use super::processes::{median, millis};
use super::step_ca::{Arena, NAME, PROVISIONER, bare, forget};
use crate::Outcome;

/// The budgets: ours, as a part of step's.
const WANTED_TIME: f64 = 0.75;
const WANTED_MEMORY: f64 = 1.0 / 4.0;
const WANTED_CONNECTIONS: usize = 2;

/// Measures both and prints what it saw.
pub(super) fn compare(binary: &Path, runs: usize) -> Outcome {
    let arena = Arena::new("enroll", binary)?;
    let [tool, ours]: [fn(&Arena, u16) -> Command; 2] = [step, trustup];
    forget(&step(&arena, arena.port))?;
    forget(&trustup(&arena, arena.port))?;
    // One run each that does not count: it warms the caches of the kernel for both alike.
    arena.once(tool)?;
    arena.once(ours)?;
    let [mut step_times, mut our_times, mut step_processor, mut our_processor] = [const { Vec::new() }; 4];
    for _ in 0..runs {
        step_times.push(arena.once(tool)?);
        our_times.push(arena.once(ours)?);
        step_processor.push(arena.processor(tool)?);
        our_processor.push(arena.processor(ours)?);
    }
    let (step_time, our_time) = (median(step_times), median(our_times));
    let (step_processor, our_processor) = (median(step_processor), median(our_processor));
    let (step_memory, our_memory) = (arena.memory(tool)?, arena.memory(ours)?);
    let (step_connections, our_connections) = (arena.connections(tool)?, arena.connections(ours)?);
    println!(
        "a certificate with a provisioner's password; median of {runs} alternating runs, the same step-ca"
    );
    println!("                                      time      processor   peak memory   connections");
    let line = |name: &str, [time, processor]: [std::time::Duration; 2], memory, connections| {
        let [time, processor] = [time, processor].map(millis);
        println!("{name:<32}{time:>8.1} ms {processor:>8.1} ms {memory:>9} KiB {connections:>13}");
    };
    line("step ca certificate", [step_time, step_processor], step_memory, step_connections);
    line("trustup enroll provisioner", [our_time, our_processor], our_memory, our_connections);
    let verdict = |kept: bool| if kept { "kept" } else { "MISSED" };
    for (what, part, wanted) in [
        ("time", our_time.as_secs_f64() / step_time.as_secs_f64(), WANTED_TIME),
        ("processor", our_processor.as_secs_f64() / step_processor.as_secs_f64(), WANTED_TIME),
        ("memory", our_memory as f64 / step_memory as f64, WANTED_MEMORY),
    ] {
        println!("part of step's {what:<11} {part:>5.2} (budget {wanted:.2}, {})", verdict(part <= wanted));
    }
    let kept = our_connections <= WANTED_CONNECTIONS;
    println!("connections {our_connections} (budget {WANTED_CONNECTIONS}, {})", verdict(kept));
    Ok(())
}

/// `step ca certificate` through `port`.
fn step(arena: &Arena, port: u16) -> Command {
    let mut command = bare(&arena.directory, "step").unwrap_or_else(|_| Command::new("step"));
    command.args(["ca", "certificate", NAME, "out/web.pem", "out/web.key", "--provisioner", PROVISIONER]);
    command.args(["--provisioner-password-file", "password", "--root", &arena.root()]);
    command.args(["--ca-url", &format!("https://localhost:{port}")]);
    command
}

/// `trustup enroll provisioner` through `port`.
fn trustup(arena: &Arena, port: u16) -> Command {
    let mut command = Command::new(&arena.binary);
    command.env_clear().env("HOME", &arena.directory).current_dir(&arena.directory);
    command.args(["enroll", "provisioner", NAME, "--cert", "out/web.pem", "--key", "out/web.key"]);
    command.args(["--provisioner", PROVISIONER, "--password-file", "password", "--ca-root", &arena.root()]);
    command.args(["--ca-url", &format!("https://localhost:{port}")]);
    command
}
