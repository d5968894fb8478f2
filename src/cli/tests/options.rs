//! The table of options: each can be set as declared, and none has two meanings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::ArgAction;

use super::super::*;
use crate::certificate::issue::methods::table::{METHODS, variants};
use crate::settings::rows::ALL;
use crate::settings::{Flag, OptionKind, Reason, Row, Variable};

/// The arguments that each command needs besides options.
fn line(command: &str) -> Vec<OsString> {
    let rest: &[&str] = match command {
        "token" => &["web.test"],
        "untrust" => &["--all"],
        "config" => &["check"],
        _ => &[],
    };
    ["trustup", command].iter().chain(rest).map(OsString::from).collect()
}

/// The command's value with this variable.
fn with(row: &CommandRow, variable: &str, value: &str) -> Option<Settings> {
    let env = Env::fixed([(variable, value)], 0);
    let matches = command().try_get_matches_from(line(row.name)).expect("a command line");
    let (_, own) = matches.subcommand().expect("a command");
    settings(row, own, &env).ok().map(|(settings, _)| settings)
}

/// Values, of which each option accepts one.
fn values(row: &dyn Row) -> Vec<String> {
    let pin = "ab".repeat(32);
    let values = [
        "30s",
        "http-01",
        "127.0.0.1:80",
        "0640",
        "ec-p256",
        "web.test",
        "https://a.test/x",
        &pin,
        "/app/server",
        "10",
    ];
    let words = match row.spec().kind {
        OptionKind::Words(words) => words(),
        _ => Vec::new(),
    };
    words.into_iter().chain(values.map(ToOwned::to_owned)).collect()
}

/// Every row: those of the table, of the methods, and of single commands.
fn rows() -> Vec<&'static dyn Row> {
    let methods = METHODS.iter().flat_map(|method| method.rows.iter().copied());
    let commands = COMMANDS.iter().flat_map(|row| (row.options)()).map(|taken| taken.row);
    let global = GLOBAL.iter().map(|taken| taken.row);
    ALL.iter().copied().chain(methods).chain(commands).chain(global).collect()
}

/// The same row, not one of the same name.
fn is_same(one: &dyn Row, other: &dyn Row) -> bool {
    std::ptr::addr_eq(one, other)
}

#[test]
fn every_option_of_every_command_can_be_set_by_its_variable() {
    let mut switches = 0;
    for row in COMMANDS {
        let own = if row.reads_variables { (row.options)() } else { Vec::new() };
        for taken in GLOBAL.iter().chain(&own) {
            let spec = taken.row.spec();
            let Some(variable) = spec.variable() else { continue };
            let command = row.name;
            if let OptionKind::Switch = spec.kind {
                switches += 1;
                for (value, wanted) in [("1", true), ("yes", true), ("0", false), ("off", false), ("", false)]
                {
                    let settings = with(row, &variable, value);
                    let settings = settings.unwrap_or_else(|| panic!("{command}: {variable}={value}"));
                    assert_eq!(settings.has(taken.row), wanted, "{command}: {variable}={value}");
                }
                assert!(with(row, &variable, "maybe").is_none(), "{command}: {variable}=maybe");
                continue;
            }
            let set = values(taken.row).into_iter().find_map(|value| with(row, &variable, &value));
            let settings = set.unwrap_or_else(|| panic!("{command}: {variable} takes nothing"));
            let origin = settings.origin(taken.row);
            assert_eq!(origin, Some(&crate::settings::Origin::Variable(variable.clone())), "{command}");
        }
    }
    assert!(switches > 30, "{switches} switches");
}

/// T1: an option without a variable is not set by one.
#[test]
fn t1_an_option_without_a_variable_is_not_set_by_one() {
    let mut seen = 0;
    for row in COMMANDS {
        for taken in (row.options)() {
            let spec = taken.row.spec();
            if spec.flag != Flag::Long || row.reads_variables && spec.variable().is_some() {
                continue;
            }
            seen += 1;
            let variable = format!("TRUSTUP_{}", spec.name.to_uppercase().replace('-', "_"));
            for value in values(taken.row).into_iter().chain(["1".to_owned()]) {
                let settings = with(row, &variable, &value).unwrap_or_default();
                assert!(!settings.has(taken.row) || settings.is_given(taken.row), "{}: {variable}", row.name);
            }
        }
    }
    assert!(seen > 10, "{seen} options");
}

#[test]
fn every_option_has_a_variable_or_a_reason_for_none() {
    for row in rows() {
        let spec = row.spec();
        let is_loose = spec.name.starts_with("allow-") || matches!(spec.name, "force");
        match spec.variable {
            Variable::Allowed => {
                assert_eq!(spec.flag, Flag::Long, "{}", spec.name);
                assert!(!is_loose, "{} loosens a check", spec.name);
            }
            Variable::Never(Reason::LoosensACheck | Reason::AcceptsSharedPlaces) => {
                assert!(is_loose, "{}", spec.name);
            }
            Variable::Never(Reason::NoFlag) => assert_ne!(spec.flag, Flag::Long, "{}", spec.name),
            Variable::Never(_) => assert_eq!(spec.flag, Flag::Long, "{}", spec.name),
        }
        // Nothing that loosens a check, runs at once or removes trust is a key of the file; a hook is, and what T41 lets
        // the file decide.
        let is_for_the_file = |reason| matches!(reason, Reason::RunsAProgram | Reason::AcceptsSharedPlaces);
        if matches!(spec.variable, Variable::Never(reason) if !is_for_the_file(reason)) {
            assert!(spec.keys.is_empty() || spec.flag != Flag::Long, "{}", spec.name);
        }
        assert!(!spec.help.is_empty(), "{} has no help", spec.name);
    }
}

/// A flag, a variable, a published variable or a key means one thing.
#[test]
fn no_two_options_share_a_name() {
    let mut names: BTreeMap<String, &'static dyn Row> = BTreeMap::new();
    for row in rows() {
        let spec = row.spec();
        let is_ambiguous = spec.variable == Variable::Never(Reason::Ambiguous);
        let flag = (!is_ambiguous).then(|| spec.shown());
        let keys = spec.keys.iter().map(|key| format!("[{key}]"));
        let published = spec.published.map(ToOwned::to_owned);
        for name in flag.into_iter().chain(keys).chain(published).chain(spec.variable()) {
            let known = names.entry(name.clone()).or_insert(row);
            // A published variable without an option of its own is named after itself.
            assert!(is_same(*known, row), "{name} is two options");
        }
    }
    assert!(names.len() > 100, "{} names", names.len());
}

/// The parts of a method's row agree.
#[test]
fn methods_are_what_their_rows_say() {
    for method in METHODS {
        for taken in method.options {
            assert!(method.rows.iter().any(|row| is_same(*row, taken.row)), "{}", taken.row.spec().name);
        }
        for required in method.required {
            let mut keys = method.rows.iter().filter_map(|row| row.spec().key_in("enroll"));
            assert!(keys.any(|key| key == *required), "{required}");
        }
        assert!(method.beside_file.iter().all(|row| method.has(*row)), "{}", method.word);
    }
    assert_eq!(variants().len(), METHODS.len());
}

/// clap's own checks of the options panic in debug builds.
#[test]
fn the_tree_of_commands_is_one_that_clap_takes() {
    command().debug_assert();
    let tree = command();
    let enroll = tree.find_subcommand("enroll").expect("enroll");
    for method in METHODS {
        let own = enroll.find_subcommand(method.word).expect(method.word);
        for taken in METHODS.iter().flat_map(|other| other.options) {
            let name = taken.row.spec().name;
            let arg = own.get_arguments().find(|arg| arg.get_id() == name).expect(name);
            assert_eq!(arg.is_hide_set(), !method.has(taken.row), "{} {name}", method.word);
        }
    }
    let flags = tree.get_subcommands().flat_map(|command| command.get_arguments());
    assert!(flags.filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)).count() > 20);
}
