//! PEM in another form than lines of a file: encoded in base64 once more, in JSON or YAML (a Kubernetes Secret), with
//! its line ends written as `\n`, with the dashes of a word processor. Recognised to be named, with the command that
//! makes PEM of it; nothing is decoded to be used.

use super::pem;
use super::recognise::{Asked, Recognised};

/// Base64 of `-----BEGIN `, whatever follows.
const BASE64_OF_BEGIN: &[u8] = b"LS0tLS1CRUdJTi";

/// The characters that word processors and browsers put in place of a hyphen: the hyphens and dashes of U+2010 to
/// U+2015, the minus sign, the small and the full-width hyphen.
const DASHES: [char; 10] = [
    '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}', '\u{fe58}',
    '\u{fe63}', '\u{ff0d}',
];

/// Names the form, if it is one of these.
pub(super) fn recognise(bytes: &[u8], asked: Asked) -> Option<Recognised> {
    let text = bytes.trim_ascii();
    let manifest = manifest(text);
    let has = |wanted: &[u8]| text.windows(wanted.len()).any(|window| window == wanted);
    if has(BASE64_OF_BEGIN) {
        let is_whole = text.iter().all(|byte| is_base64(*byte) || byte.is_ascii_whitespace());
        let what = match &manifest {
            Some(manifest) => format!("{manifest}, with PEM encoded in base64"),
            None if is_whole => "PEM that is encoded in base64 once more".to_owned(),
            None => "text with PEM that is encoded in base64 once more".to_owned(),
        };
        let command = match (is_whole, asked) {
            (true, _) => "base64 -d FILE",
            (false, Asked::Certificate) => "grep -o 'LS0tLS1CRUdJTiBDRVJU[A-Za-z0-9+/=]*' FILE | base64 -d",
            (false, Asked::PrivateKey) => {
                "grep -oE 'LS0tLS1CRUdJTi(BQUk|BSU0|BFQy)[A-Za-z0-9+/=]*' FILE | base64 -d"
            }
        };
        let hint = format!("decode it: {}", asked.into_file(command));
        return Some(Recognised::wrapping(
            what,
            if manifest.is_some() {
                format!("{hint}; or mount it into the container: each of its keys is a file then")
            } else {
                hint
            },
        ));
    }
    if let Some(manifest) = manifest.filter(|_| !has(b"\\n")) {
        let hint = "mount it into the container, and give one of the files: each of its keys is a file then";
        return Some(Recognised::other(manifest, hint));
    }
    if has(b"BEGIN ") && has(b"\\n") {
        return Some(literal_line_ends(text, asked));
    }
    if let Some(dash) = odd_dash(text) {
        return Some(Recognised::wrapping(
            format!(
                "PEM with other characters in place of its hyphens (U+{:04X}, as word processors write them)",
                u32::from(dash)
            ),
            repair_markers(asked),
        ));
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Some(Recognised::other("JSON", super::recognise::next_step("JSON", asked)));
    }
    if pem::decode_base64(text).is_some_and(|decoded| decoded.starts_with(&[0x30])) {
        let command = match asked {
            Asked::Certificate => "`base64 -d FILE >ca.der`".to_owned(),
            Asked::PrivateKey => asked.into_file("base64 -d FILE | openssl pkey -inform DER"),
        };
        return Some(Recognised::wrapping(
            "base64 without the BEGIN and END lines of PEM",
            format!("decode it: {command}"),
        ));
    }
    None
}

/// `\n` as two characters, as in JSON and in variables that nobody expanded.
pub(super) fn literal_line_ends(text: &[u8], asked: Asked) -> Recognised {
    let place = match text.first() {
        Some(b'{' | b'[') => "JSON with PEM in it",
        Some(b'"') => "PEM as a JSON string",
        _ => "PEM",
    };
    let place = manifest(text).unwrap_or_else(|| place.to_owned());
    Recognised::wrapping(
        format!("{place}: its line ends are written as the two characters `\\n`"),
        format!("make lines of it: {}", asked.into_file("printf '%b' \"$(cat FILE)\"")),
    )
}

/// BEGIN and END lines written anew, whatever is around their words.
pub(super) fn repair_markers(asked: Asked) -> String {
    let command = match asked {
        Asked::Certificate => {
            r"sed -E 's/^.*(BEGIN|END)[^A-Za-z]+CERTIFICATE.*$/-----\1 CERTIFICATE-----/' FILE"
        }
        Asked::PrivateKey => r"sed -E 's/^.*(BEGIN|END)[^A-Za-z]+(.*PRIVATE KEY).*$/-----\1 \2-----/' FILE",
    };
    format!("write these lines anew: {}", asked.into_file(command))
}

/// The kind of a Kubernetes object, as YAML or JSON, or `None`.
fn manifest(text: &[u8]) -> Option<String> {
    /// The line of a manifest is short, and near one of its ends.
    const NEAR: usize = 1 << 20;
    let text = String::from_utf8_lossy(&text[..text.len().min(NEAR)]);
    let is_json = text.starts_with('{');
    let value = |name: &str| {
        text.lines().flat_map(|line| line.split([',', '{'])).find_map(|part| {
            let (key, value) = part.split_once(':')?;
            let plain = |text: &str| text.trim().trim_matches(['"', '\'', '}', ' ']).to_owned();
            (plain(key) == name).then(|| plain(value))
        })
    };
    value("apiVersion")?;
    let kind = value("kind")?;
    let kind = ["Secret", "ConfigMap", "List"].into_iter().find(|known| kind == *known)?;
    Some(format!("a Kubernetes {kind} ({})", if is_json { "JSON" } else { "YAML" }))
}

/// The character in place of a hyphen beside BEGIN or END.
fn odd_dash(text: &[u8]) -> Option<char> {
    let text = str::from_utf8(text).ok()?;
    ["BEGIN", "END"]
        .iter()
        .flat_map(|word| text.match_indices(word))
        .find_map(|(at, _)| text[..at].chars().rev().take(5).find(|c| DASHES.contains(c)))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

const DAMAGED_MARKER: &str =
    "its BEGIN or END line is missing or damaged (five hyphens on each side, in capitals)";

/// The position of what looks like a certificate or a key outside of PEM's blocks, and why it is none: a root that no
/// reader takes must not get lost silently. `None` for comments.
pub(super) fn remnant(text: &[u8]) -> Option<(usize, &'static str)> {
    let find = |wanted: &[u8]| text.windows(wanted.len()).position(|window| window == wanted);
    if let Some(at) = find(BASE64_OF_BEGIN) {
        return Some((at, "it is PEM that is encoded in base64 once more"));
    }
    // Only with dashes or the like beside it: comments may have the words.
    for word in [&b"BEGIN"[..], b"END", b"begin", b"end"] {
        let mut from = 0;
        while let Some(at) = text[from..].windows(word.len()).position(|window| window == word) {
            let at = from + at;
            from = at + word.len();
            let before = &text[..at];
            let follows = &text[from..text.len().min(from + 40)];
            let line = follows.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            let is_marked = before.ends_with(b"--") || before.last().is_some_and(|byte| !byte.is_ascii());
            let is_marked = is_marked || before.ends_with(b"- ");
            let upper = line.to_ascii_uppercase();
            if is_marked && upper.windows(11).any(|window| window == b"CERTIFICATE") {
                let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                return Some((start, DAMAGED_MARKER));
            }
        }
    }
    bare_base64(text).map(|at| (at, "it is base64 without its BEGIN line"))
}

/// The start of lines of base64 that hold DER: the first line begins as a SEQUENCE of two bytes of length, another line
/// of base64 follows.
fn bare_base64(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let body = line.trim_ascii();
        if body.len() >= 48 && body.starts_with(b"MI") && body.iter().all(|byte| is_base64(*byte)) {
            let next = lines.peek().map(|line| line.trim_ascii());
            let goes_on = next.is_some_and(|next| next.len() > 3 && next.iter().all(|byte| is_base64(*byte)));
            if body.len() > 200 || goes_on {
                return Some(at);
            }
        }
        at += line.len();
    }
    None
}

/// Why the body of a PEM block is not base64, and the next step, if the fault is one that people meet. `file` is all of
/// the file.
pub(super) fn body_fault(body: &[u8], file: &[u8], asked: Asked) -> Option<(String, String)> {
    if body.windows(2).any(|window| window == b"\\n") {
        let found = literal_line_ends(file.trim_ascii(), asked);
        return Some((found.sentence(asked), found.hint));
    }
    let text = str::from_utf8(body).ok()?;
    let odd = text.chars().find(|c| !c.is_ascii())?;
    let command = asked.into_file("LC_ALL=C tr -d '\\200-\\377' <FILE");
    Some((
        format!("its body has a character that is not base64 (U+{:04X})", u32::from(odd)),
        format!("remove all that is not ASCII: {command}"),
    ))
}
