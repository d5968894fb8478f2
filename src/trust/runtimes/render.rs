//! Variables as text for other programs: a shell, a Dockerfile, `docker run --env-file` (threat T15). What a format
//! cannot express is an error. Pure; nothing here prints.

use super::ProgramVariable;
use crate::error::{Error, Result};
use crate::text;

/// Lines for `eval "$(trustup env)"`; what is kept comes last, as comments.
///
/// # Errors
/// A value with a line end or NUL.
pub fn sh(variables: &[ProgramVariable]) -> Result<Vec<String>> {
    let mut lines = ours(variables, |name, value| Ok(format!("export {name}={}", quote(value))))?;
    lines.extend(kept(variables).into_iter().map(|line| format!("# {line}")));
    Ok(lines)
}

/// `ENV` lines. In double quotes a Dockerfile's escape character (the usual one: `\`) is special before `"`, `$` and
/// itself.
///
/// # Errors
/// As [`sh`].
pub fn dockerfile(variables: &[ProgramVariable]) -> Result<Vec<String>> {
    ours(variables, |name, value| {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            if matches!(c, '"' | '$' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        Ok(format!("ENV {name}=\"{escaped}\""))
    })
}

/// Lines for `docker run --env-file`: everything after the first `=`, as it is.
///
/// # Errors
/// As [`sh`]; and a carriage return, which its reader treats as part of the line end.
pub fn docker(variables: &[ProgramVariable]) -> Result<Vec<String>> {
    ours(variables, |name, value| {
        if value.contains('\r') {
            return Err(unspeakable(name, value, "a carriage return, which an --env-file cannot hold"));
        }
        Ok(format!("{name}={value}"))
    })
}

/// One line for each variable that is left unchanged.
pub(crate) fn kept(variables: &[ProgramVariable]) -> Vec<String> {
    let said = |variable: &ProgramVariable| {
        let (name, value) = (variable.name, text::escape(&variable.value));
        match variable.kept? {
            set if set == name => Some(format!("{name} is already set and keeps its value: {value}")),
            set => {
                Some(format!("{name} stays unset: it would override {set}, which is already set: {value}"))
            }
        }
    };
    variables.iter().filter_map(said).collect()
}

/// In single quotes, as every shell reads it byte for byte.
pub(crate) fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// One line for each variable that is ours to set.
pub(super) fn ours(
    variables: &[ProgramVariable],
    line: impl Fn(&str, &str) -> Result<String>,
) -> Result<Vec<String>> {
    let ours = variables.iter().filter(|variable| variable.kept.is_none());
    ours.map(|variable| {
        let (name, value) = (variable.name, variable.value.as_str());
        if value.contains(['\n', '\0']) {
            return Err(unspeakable(name, value, "a line end or NUL, which no environment file can hold"));
        }
        line(name, value)
    })
    .collect()
}

fn unspeakable(name: &str, value: &str, what: &str) -> Error {
    Error::usage(format!("the value of {name} would have {what}"))
        .at(text::escape(value))
        .hint("use a directory whose name is plain text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn single_variable(value: &str) -> [ProgramVariable; 1] {
        [ProgramVariable { name: "SSL_CERT_FILE", value: value.to_owned(), readers: "", kept: None }]
    }

    fn kept_from(value: &str, set: &'static str) -> [ProgramVariable; 1] {
        [ProgramVariable { name: "CURL_CA_BUNDLE", value: value.to_owned(), readers: "", kept: Some(set) }]
    }

    #[test]
    fn t15_values_are_quoted_as_each_reader_wants_it() {
        let value = "/it's \"$(touch x)\" \\ `y` ü/ca.pem";
        assert_eq!(
            sh(&single_variable(value)).unwrap(),
            [r#"export SSL_CERT_FILE='/it'\''s "$(touch x)" \ `y` ü/ca.pem'"#]
        );
        assert_eq!(
            dockerfile(&single_variable(value)).unwrap(),
            [r#"ENV SSL_CERT_FILE="/it's \"\$(touch x)\" \\ `y` ü/ca.pem""#]
        );
        assert_eq!(docker(&single_variable(value)).unwrap(), [format!("SSL_CERT_FILE={value}")]);
    }

    #[test]
    fn t15_what_a_format_cannot_say_is_an_error() {
        for bad in ["/a\nb", "/a\0b"] {
            for render in [sh, dockerfile, docker] {
                let error = render(&single_variable(bad)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(!error.hints().is_empty());
            }
        }
        assert!(docker(&single_variable("/a\r")).is_err());
        assert!(sh(&single_variable("/a\r")).is_ok());
    }

    #[test]
    fn t15_what_is_kept_cannot_leave_its_comment() {
        let lines = sh(&kept_from("/x\ntouch y", "CURL_CA_BUNDLE")).unwrap();
        assert_eq!(lines, [r"# CURL_CA_BUNDLE is already set and keeps its value: /x\u{a}touch y"]);
        let lines = sh(&kept_from("/x", "SSL_CERT_FILE")).unwrap();
        assert!(lines[0].contains("stays unset") && lines[0].contains("SSL_CERT_FILE"), "{lines:?}");
        assert!(docker(&kept_from("/x", "CURL_CA_BUNDLE")).unwrap().is_empty());
        assert!(dockerfile(&kept_from("/x", "CURL_CA_BUNDLE")).unwrap().is_empty());
    }
}
