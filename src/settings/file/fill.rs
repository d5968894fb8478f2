//! `${NAME}` in a value of trustup.toml: filled in from the environment, once, and never parsed again (threat T23). A
//! filled-in value is never shown: errors name the variable.

use std::path::Path;

use zeroize::Zeroizing;

use crate::env::Env;
use crate::filled_in::remember;
use crate::text;

/// Why a value cannot be filled in; the text names variables, never their values.
pub(super) type Unfilled = String;

/// `text` with each `${NAME}` replaced by the variable's value; `$${` is an escaped `${`. `used` gets the names.
///
/// # Errors
/// A variable that is unset or empty, an invalid name, an unclosed brace.
pub(super) fn fill(text: &str, env: &Env, mut used: impl FnMut(&str)) -> Result<Zeroizing<String>, Unfilled> {
    let mut filled = Zeroizing::new(String::with_capacity(text.len()));
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
        let name = &rest[at + 2..at + end];
        if !is_name(name) {
            return Err(
                "between `${` and `}` there is no variable name: write `$${` if it is meant so".to_owned()
            );
        }
        match env.raw(name) {
            None => return Err(format!("the variable `{name}` is not set")),
            Some("") => return Err(format!("the variable `{name}` is set, and empty")),
            Some(value) => {
                used(name);
                remember(value, &format!("${{{name}}}"));
                filled.push_str(value);
            }
        }
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    if *filled != text {
        remember(&filled, &text::escape(text));
    }
    Ok(filled)
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
    use crate::filled_in::without_filled_in;

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
    fn what_cannot_be_filled_is_named() {
        for (text, wanted) in [
            ("x${MISSING}y", "`MISSING` is not set"),
            ("${EMPTY}", "`EMPTY` is set, and empty"),
            ("${HOST", "never closed"),
            ("${}", "there is no variable name"),
            ("${1x}", "there is no variable name"),
            ("${HOST:-web}", "there is no variable name"),
            ("${a b}", "there is no variable name"),
        ] {
            let error = filled(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("web"), "{error}");
        }
    }
}
