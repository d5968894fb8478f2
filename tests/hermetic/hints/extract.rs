//! The hints in a source file: the string literals of `.hint(…)`, of the last argument of functions that take a hint
//! last, and of constants, variables, fields and functions whose name says that they are hints.

/// Functions whose last argument is a hint.
const LAST_ARGUMENT: [&str; 7] = [
    "Recognised::other(",
    "Recognised::wrapping(",
    "StartProblem::missing(",
    "StartProblem::forbidden(",
    "StartProblem::unsuitable(",
    "RefusalReason::new(",
    "problem_with_hint(",
];

/// What begins a hint that a `;` ends.
const ASSIGNED: [&str; 4] = ["HINT: &str =", "let hint =", "let remedy =", "let hint: String ="];

/// Shorter literals are separators.
const SHORT: usize = 12;

/// One element of source text.
enum Token {
    Text(String),
    Other(char),
}

/// The string literals and the other characters, without comments.
fn tokens(source: &str) -> impl Iterator<Item = Token> {
    let mut chars = source.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let next = chars.next()?;
            match next {
                '"' => return Some(Token::Text(literal(&mut chars))),
                '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
                '\'' => {
                    // A character, or a lifetime.
                    let mut ahead = chars.clone();
                    let is_escaped = ahead.next() == Some('\\');
                    if is_escaped {
                        ahead.next();
                    }
                    if ahead.next() == Some('\'') {
                        chars = ahead;
                    }
                }
                other => return Some(Token::Other(other)),
            }
        }
    })
}

/// The rest of a string literal, as the compiler reads it.
fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    loop {
        match chars.next().expect("a closed string") {
            '"' => return text,
            '\\' => match chars.next().expect("an escape") {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The literals up to what closes the bracket that is open before `source`, or up to one of `ends` outside of
/// brackets; with `last`, those of the last argument.
fn until(source: &str, ends: &[char], last: bool) -> Vec<String> {
    let mut found = Vec::new();
    // A `,` in front of the closing bracket begins no argument.
    let mut has_begun_another = false;
    let mut depth = 0;
    for token in tokens(source) {
        if last && has_begun_another && !matches!(token, Token::Other(c) if c.is_whitespace() || c == ')') {
            found.clear();
            has_begun_another = false;
        }
        match token {
            Token::Text(text) => found.push(text),
            Token::Other(c) if depth == 0 && ends.contains(&c) => break,
            Token::Other('(' | '[' | '{') => depth += 1,
            Token::Other(')' | ']' | '}') if depth == 0 => break,
            Token::Other(')' | ']' | '}') => depth -= 1,
            Token::Other(',') if depth == 0 => has_begun_another = true,
            Token::Other(_) => {}
        }
    }
    found
}

/// All hints of `source`.
pub(super) fn hints(source: &str) -> Vec<String> {
    let after = |what: &str| -> Vec<&str> {
        source.match_indices(what).map(|(at, _)| &source[at + what.len()..]).collect()
    };
    let mut found = Vec::new();
    found.extend(after(".hint(").into_iter().flat_map(|rest| until(rest, &[], false)));
    for call in LAST_ARGUMENT {
        found.extend(after(call).into_iter().flat_map(|rest| until(rest, &[], true)));
    }
    let of_the_network = after("refuse(").into_iter().filter(|rest| rest.trim_start().starts_with("&url"));
    found.extend(of_the_network.flat_map(|rest| until(rest, &[], true)));
    for name in ASSIGNED {
        found.extend(after(name).into_iter().flat_map(|rest| until(rest, &[';'], false)));
    }
    for start in ["\"", "format!("] {
        let fields = after(&format!(" hint: {start}")).into_iter();
        found.extend(fields.flat_map(|rest| until(&format!("{start}{rest}"), &[',', ';'], false)));
    }
    for rest in after("fn ") {
        let name = rest.split(['(', '<']).next().unwrap();
        if (name.contains("hint") || name.contains("remedy"))
            && let Some((_, body)) = rest.split_once('{')
        {
            found.extend(until(body, &[], false));
        }
    }
    found.retain(|text| text.len() >= SHORT);
    found
}
