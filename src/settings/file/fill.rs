//! `${NAME}` and `${NAME:-default}` in a value of trustup.toml: filled in from the environment, once, and never parsed
//! again (threat T23). A filled-in value is never shown: errors name the variable.
//!
//! `:-` is what shells and Compose have (POSIX, section 2.6.2): the default counts if the variable is unset or empty. It is
//! literal text up to the next `}`. The other forms are refused: `${NAME}` is required already, and an empty variable
//! never counts as a value.

use std::path::Path;

use zeroize::Zeroizing;

use crate::host::env::Env;
use crate::settings::filled_in::remember;
use crate::text;

/// Why a value cannot be filled in; the text names variables, never their values.
pub(super) type Unfilled = String;

/// `text` with each `${NAME}` replaced by the variable's value, and `${NAME:-default}` by that or the default; `$${` is an
/// escaped `${`. `used` gets the names of the variables that have a value.
///
/// # Errors
/// A variable without a default that is unset or empty, an invalid name or another form, an unclosed brace.
pub(super) fn fill(text: &str, env: &Env, mut used: impl FnMut(&str)) -> Result<Zeroizing<String>, Unfilled> {
    let mut filled = Zeroizing::new(String::with_capacity(text.len()));
    let mut has_value = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at]);
            filled.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return Err("`${` is never closed: write `$${` if it is meant so".to_owned());
        };
        let (name, default) = parse(&rest[at + 2..at + end])?;
        match (env.raw(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => {
                used(name);
                has_value = true;
                remember(value, &format!("${{{name}}}"));
                filled.push_str(value);
            }
            (None, Some(default)) => filled.push_str(default),
            (None, None) => {
                let state = if env.raw(name).is_some() { "set, and empty" } else { "not set" };
                return Err(format!("the variable `{name}` is {state}"));
            }
        }
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    // A default is in the file anyway.
    if has_value {
        remember(&filled, &text::escape(text));
    }
    Ok(filled)
}

/// What is between `${` and `}`: a name, and the default behind `:-`.
fn parse(inner: &str) -> Result<(&str, Option<&str>), Unfilled> {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !is_name(name) {
        return Err(
            "between `${` and `}` there is no variable name: write `$${` if it is meant so".to_owned()
        );
    }
    match rest.strip_prefix(":-") {
        _ if rest.is_empty() => Ok((name, None)),
        Some(default) if default.contains("${") => Err(format!(
            "the default in `${{{name}:-…}}` contains `${{`: a default is plain text, without variables"
        )),
        Some(default) => Ok((name, Some(default))),
        None if rest.starts_with('-') => Err(format!(
            "`${{{name}-…}}` is not supported: write `${{{name}:-default}}`, whose default also replaces an empty variable"
        )),
        None if rest.starts_with(":?") || rest.starts_with('?') => Err(format!(
            "`${{{name}:?…}}` is not supported: write `${{{name}}}`, which is an error if the variable is unset or empty"
        )),
        None => Err(format!(
            "`${{{name}…}}` is not supported behind the name: only `${{{name}}}` and `${{{name}:-default}}` are"
        )),
    }
}

/// The same for the text of the file at `path`, and for each of its lines.
pub(super) fn remember_lines(text: Zeroizing<String>, path: &Path) -> Zeroizing<String> {
    let shown = format!("(from {})", path.display());
    text.lines().map(str::trim).chain([text.as_str()]).for_each(|value| remember(value, &shown));
    text
}

/// A name as in shells (POSIX, section 8.1).
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::filled_in::without_filled_in;

    fn filled(text: &str) -> Result<String, Unfilled> {
        let env = Env::fixed([("HOST", "web"), ("EMPTY", ""), ("TWICE", "${HOST}"), ("_x1", "$${")], 0);
        fill(text, &env, |_| ()).map(|text| text.to_string())
    }

    #[test]
    fn variables_fill_values_once() {
        for (text, wanted) in [
            ("", ""),
            ("plain $ and } and $HOST", "plain $ and } and $HOST"),
            ("${HOST}", "web"),
            ("a-${HOST}.b-${HOST}", "a-web.b-web"),
            ("${TWICE}", "${HOST}"),
            ("${_x1}", "$${"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("é${HOST}é", "éwebé"),
            ("$${", "${"),
            ("${HOST:-other}", "web"),
            ("${MISSING:-other}", "other"),
            ("${EMPTY:-other}", "other"),
            ("a-${MISSING:-x.test:9000/p?q=1 - $y {z}-b", "a-x.test:9000/p?q=1 - $y {z-b"),
            ("${MISSING:-}", ""),
            ("${MISSING:--}", "-"),
            ("${TWICE:-x}", "${HOST}"),
            ("$${MISSING:-x}", "${MISSING:-x}"),
            ("${MISSING:-é}", "é"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn t23_messages_show_values_as_they_are_in_the_file() {
        let env = Env::fixed([("X", "Hunter2-Long"), ("SHORT", "web"), ("NO", "ab")], 0);
        let all = |text: &str| fill(text, &env, |_| ()).expect("filled");
        all("a-${X}.test");
        all("${SHORT}");
        all("${NO}");
        for (message, wanted) in [
            ("no such user: `a-Hunter2-Long.test`", "no such user: `a-${X}.test`"),
            ("lower case: a-hunter2-long.test", "lower case: a-${X}.test"),
            ("behind é: xHUNTER2-LONGx é", "behind é: x${X}x é"),
            ("a web server at `web`, `w`, `cobweb`", "a web server at `${SHORT}`, `w`, `cob${SHORT}`"),
            ("`ab` cab", "`ab` cab"),
            ("Hunter2-Lon", "Hunter2-Lon"),
            ("", ""),
        ] {
            assert_eq!(without_filled_in(message), wanted);
        }
    }

    #[test]
    fn a_default_is_no_secret() {
        let env = Env::fixed([], 0);
        let text = fill("${DEFAULTED:-plain-default}", &env, |_| panic!("no variable has a value"));
        assert_eq!(text.expect("filled").as_str(), "plain-default");
        assert_eq!(without_filled_in("no such host: `plain-default`"), "no such host: `plain-default`");
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        for (text, wanted) in [
            ("x${MISSING}y", "`MISSING` is not set"),
            ("${EMPTY}", "`EMPTY` is set, and empty"),
            ("${HOST", "never closed"),
            ("${MISSING:-x", "never closed"),
            ("${}", "there is no variable name"),
            ("${1x}", "there is no variable name"),
            ("${MISSING-x}", "`${MISSING:-default}`"),
            ("${MISSING:?say so}", "write `${MISSING}`"),
            ("${MISSING?}", "write `${MISSING}`"),
            ("${HOST:+x}", "not supported"),
            ("${HOST:=x}", "not supported"),
            ("${HOST:}", "not supported"),
            ("${HOST%x}", "not supported"),
            ("${#HOST}", "there is no variable name"),
            ("${:-x}", "there is no variable name"),
            ("${MISSING:-${HOST}}", "without variables"),
            ("${a b}", "not supported"),
        ] {
            let error = filled(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("web"), "{error}");
        }
    }
}
