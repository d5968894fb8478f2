//! Programs that fail, hang, or keep their output open.

use std::process::Command;
use std::time::{Duration, Instant};

use super::run::{ProgramRun, ToolFailure};
use super::*;
use crate::error::{Error, ErrorKind};
use crate::host::env::Env;
use crate::host::shutdown::Shutdown;

/// Runs a shell's script as a tool.
fn tool(script: &str, words: &[&str], timeout: Duration, stamp: Option<i64>) -> Result<String, ToolFailure> {
    let context = ToolContext { children: Children::default(), timeout, stamp };
    let arguments: Vec<String> = ["-c", script].iter().chain(words).map(|word| (*word).to_owned()).collect();
    crate::host::runtime::build()
        .expect("runtime")
        .block_on(run_tool("/bin/sh", &arguments, "/tmp", &context))
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_failing_tool_is_quoted_and_escaped() {
    let error = tool("printf 'a\\033[31mb\\n'; exit 3", &[], MINUTE, None).expect_err("exit 3");
    let text = error.to_string();
    assert!(
        text.contains("exit status: 3") && text.contains("it said") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn a_tool_that_hangs_is_ended_with_its_children() {
    for script in ["sleep 600 & sleep 600", "exec >/dev/null 2>&1; sleep 600"] {
        let error = tool(script, &[], Duration::from_millis(200), None).expect_err("hangs");
        assert!(error.to_string().contains("took longer"), "{error}");
    }
}

#[test]
fn what_is_said_and_how_it_ended_are_both_waited_for() {
    let place = tempfile::tempdir().expect("directory");
    let end = place.path().join("end").to_str().expect("UTF-8").to_owned();
    let run = |script: &str| tool(script, &[&end], MINUTE, None);
    // The child reads to the end of what its parent has open for writing: to the parent's own end.
    let script = "mkfifo \"$0\"; { cat \"$0\"; echo late; } & exec 3> \"$0\"; echo early";
    assert_eq!(run(script).expect("ends well"), "early\nlate\n");
    let error = run("exec >/dev/null 2>&1; sleep 0.2; exit 3").expect_err("ends badly");
    assert!(error.to_string().contains("exit status: 3"), "{error}");
}

/// A session of its own is no part of the group, and nobody ends it with the program.
#[test]
fn who_keeps_the_output_open_in_a_session_of_its_own_is_not_waited_for() {
    let env = Env::fixed([], 0);
    let began = Instant::now();
    let mut said = Vec::new();
    for (script, timeout, ends) in [
        ("setsid sleep 60 & echo done", 30, "done"),
        ("setsid sleep 60 & echo failed; exit 3", 30, "exit status: 3"),
        ("echo late; setsid sleep 60 & sleep 60", 1, "took longer"),
    ] {
        let time = Duration::from_secs(timeout);
        let text = tool(script, &[], time, None).unwrap_or_else(|error| error.to_string());
        assert!(text.contains(ends), "{text}");
        said.push(text);
        let owner = (&Children::default(), &Shutdown::default());
        let runtime = crate::host::runtime::build().expect("runtime");
        let hook = runtime.block_on(run_hook(
            owner,
            &env,
            "/bin/sh",
            &["-c", script],
            (&[], (time, ErrorKind::Unreachable)),
        ));
        let code = hook.as_ref().err().map(|error| error.kind().exit_code());
        // The time that was too short may be enough another time.
        assert_eq!(code, [None, Some(1), Some(6)][said.len() - 1], "{hook:?}");
    }
    assert!(said[1].contains("failed") && said[2].contains("late"), "what was said until then: {said:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_program_that_is_not_to_go_on_may_end_by_itself() {
    for script in [
        "sleep 600",
        "trap 'exit 0' TERM; sleep 600 & wait",
        "trap '' TERM; exec >/dev/null 2>&1; sleep 600 & wait",
        "(trap '' TERM; sleep 600) & exec sleep 600",
    ] {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let limit = (Duration::from_secs(300), ErrorKind::Failed);
        let (children, shutdown) = (Children::default(), Shutdown::default());
        let run = ProgramRun { children: &children, who: "the hook", shown: "sh", limit, shutdown };
        let run = run.run_until(command, async { Error::failed("cut short") });
        let error = crate::host::runtime::build().expect("runtime").block_on(run).expect_err(script);
        assert!(error.to_string().contains("cut short"), "{error}");
    }
}

#[test]
fn the_environment_is_ours() {
    let names = "test \"$(env | cut -d= -f1 | sort | tr '\\n' ' ')\" = 'HOME LC_ALL P11_KIT_NO_USER_CONFIG PATH PWD TMPDIR ' || { env; exit 1; }";
    tool(names, &[], MINUTE, None).expect("nothing inherited");
    tool("test \"$SOURCE_DATE_EPOCH\" = 7", &[], MINUTE, Some(7)).expect("given");
}

#[test]
fn secrets_are_known_by_name() {
    assert!(is_secret("TRUSTUP_TOKEN") && is_secret("CA_TOKEN") && is_secret("TRUSTUP_PASSWORD_FILE"));
    assert!(!is_secret("CA_URL") && !is_secret("TRUSTUP_SYSROOT") && !is_secret("MY_TOKEN"));
}
