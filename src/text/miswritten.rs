//! Values that arrive as somebody typed them, although a shell or a template should have changed them first: `${NAME}` in
//! the exec form of a Dockerfile, quotation marks in a file of variables. Recognised to be named; nothing is replaced.

/// What should have happened to a value before it came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miswritten {
    /// This part is the name of a value, not the value.
    Template(String),
    /// The quotation marks are part of the value.
    Quoted,
}

/// Longer names are cut.
const SHOWN: usize = 60;
/// Quotation marks of shells, and those that word processors make of them.
const QUOTES: [char; 11] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '‚', '«', '»'];

impl Miswritten {
    /// What is wrong with this value, if anything of this kind is.
    pub(crate) fn of(value: &str) -> Option<Miswritten> {
        let trimmed = value.trim();
        if let Some(part) = template(trimmed) {
            let shown: String = part.chars().take(SHOWN).collect();
            return Some(Miswritten::Template(super::escape(&shown)));
        }
        let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
        let is_quoted = [trimmed, bare].iter().any(|text| text.starts_with(QUOTES) || text.ends_with(QUOTES));
        is_quoted.then_some(Miswritten::Quoted)
    }

    /// Follows the name of the option.
    pub(crate) fn what(&self) -> String {
        match self {
            Miswritten::Template(part) => format!("contains `{part}`: nothing replaced that by a value"),
            Miswritten::Quoted => "has quotation marks, which are part of the value here".to_owned(),
        }
    }

    /// How to write it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Miswritten::Template(_) => {
                "the exec form (`[\"…\"]`) of RUN, CMD and ENTRYPOINT has no shell that replaces variables, and files of variables are taken as they are: give the value itself, or omit the option and set its variable (`docker run -e`, ENV)"
            }
            Miswritten::Quoted => {
                "write it without them: files for `--env-file`, and variables in Compose and Kubernetes, need no quotes around a value"
            }
        }
    }
}

/// The first part that is a name: of shells, Compose, Kubernetes, Windows, Go and Jinja templates; or `<…>` as a whole,
/// which manuals write.
fn template(text: &str) -> Option<&str> {
    for (open, close) in [("${", "}"), ("$(", ")"), ("{{", "}}")] {
        if let Some(at) = text.find(open)
            && let Some(length) = text[at + open.len()..].find(close)
            && length > 0
        {
            return Some(&text[at..at + open.len() + length + close.len()]);
        }
    }
    let is_name = |name: &str| {
        name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
    };
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if is_name(&rest[..end]) {
            return Some(&text[at..at + 1 + end]);
        }
    }
    let inner = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    let is_windows = inner('%', '%').is_some_and(is_name);
    let is_manual = inner('<', '>').is_some_and(|name| !name.is_empty() && !name.contains(['<', '>']));
    (is_windows || is_manual).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_replaced_is_named() {
        for (value, part) in [
            ("${CA_FINGERPRINT}", "${CA_FINGERPRINT}"),
            ("https://${ca.host}:9000", "${ca.host}"),
            ("https://ca.test/${X:-y}/z", "${X:-y}"),
            ("$(CA_URL)", "$(CA_URL)"),
            ("{{ .Values.ca.url }}", "{{ .Values.ca.url }}"),
            ("https://$CA_HOST:9000", "$CA_HOST"),
            ("$HOME/key.pem", "$HOME"),
            ("%CA_URL%", "%CA_URL%"),
            ("<64 hex digits>", "<64 hex digits>"),
        ] {
            assert_eq!(Miswritten::of(value), Some(Miswritten::Template(part.to_owned())), "{value}");
        }
        for value in
            ["\"https://ca.test\"", "'ab", "“ab”", "https://\"ca.test\"", " \"ab\" \n", "https://ca.test\""]
        {
            assert_eq!(Miswritten::of(value), Some(Miswritten::Quoted), "{value}");
        }
        for value in [
            "",
            "https://u:p%24x@ca.test/a'b?c=$d",
            "/run/a$b/{c}",
            "$",
            "${",
            "$()",
            "a<b>c",
            "%41",
            "$5",
            "O'Neil",
        ] {
            assert_eq!(Miswritten::of(value), None, "{value}");
        }
        let long = format!("${{{}}}", "A".repeat(5000));
        assert!(Miswritten::of(&long).is_some_and(|it| it.what().len() < 200));
    }
}
