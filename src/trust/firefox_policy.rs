//! Firefox's enterprise policy file, for Firefox without a profile (and so without an NSS database): the list of
//! certificates that every profile accepts as roots. What is ours is inserted into the text in one piece, so that
//! everything else keeps its bytes, and what we record of the file can never add anything (threat T11).
//!
//! ```json
//! {"policies": {"Certificates": {"Install": ["/usr/local/share/ca-certificates/corp.crt"]}}}
//! ```
//!
//! Pure. Firefox reads PEM and DER, one certificate a file, and a damaged policy file not at all.

mod owner;

use std::ops::Range;

use serde::de::IgnoredAny;

pub(crate) use self::owner::Policy;
use crate::error::{Error, Result};

/// Where Firefox reads it on Linux, for every user.
pub(crate) const PATH: &str = "/etc/firefox/policies/policies.json";
/// A policy file that we make: browsers of every user read it.
pub(crate) const MODE: u32 = 0o644;
/// Directory for certificates that have no anchor file of their own; Firefox resolves relative names here.
pub(crate) const CERTIFICATES: &str = "/usr/lib/mozilla/certificates";

/// The keys that lead to the list.
const KEYS: [&str; 3] = ["policies", "Certificates", "Install"];

/// The file of an anchor of this name that has no other file.
pub(crate) fn certificate_file(name: &str) -> String {
    format!("{CERTIFICATES}/{name}.pem")
}

/// The policy file that names `ours` (absolute paths) and nothing else of what earlier runs inserted (`former_ours`).
/// `None`: the file should not exist, since it would be empty. Everything else in it stays, order and spaces too.
///
/// # Errors
/// The existing file is not JSON, or has another type where the list should be.
pub(crate) fn merged(
    existing: Option<&[u8]>,
    ours: &[String],
    former_ours: &[String],
) -> Result<Option<Vec<u8>>> {
    let Some(existing) = existing else {
        return Ok((!ours.is_empty()).then(|| fresh(ours).into_bytes()));
    };
    let mut text = std::str::from_utf8(existing).map_err(|error| malformed().because(error))?.to_owned();
    let _: IgnoredAny = serde_json::from_str(&text).map_err(|error| malformed().because(error))?;
    let gone = |path: &String| former_ours.contains(path) && !ours.contains(path);
    if remove(&mut text, gone)? && text.trim() == "{}" {
        return Ok((!ours.is_empty()).then(|| fresh(ours).into_bytes()));
    }
    insert(&mut text, ours)?;
    Ok(Some(text.into_bytes()))
}

/// The certificates that a policy file names; none if it is damaged, as for Firefox.
pub(crate) fn named(existing: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(existing).unwrap_or_default();
    match serde_json::from_str::<IgnoredAny>(text).ok().and_then(|_| ListPosition::find(text).ok()) {
        Some(place) if place.missing.is_empty() => {
            place.items.iter().filter_map(|item| string(&text[item.value.clone()])).collect()
        }
        _ => Vec::new(),
    }
}

fn malformed() -> Error {
    Error::failed("Firefox's policy file is not valid JSON, so Firefox does not read it either")
        .hint("repair or remove it, and run again")
}

fn fresh(ours: &[String]) -> String {
    let list: Vec<String> = ours.iter().map(|path| format!("        {}", quoted(path))).collect();
    let [policies, certificates, install] = KEYS;
    format!(
        "{{\n  \"{policies}\": {{\n    \"{certificates}\": {{\n      \"{install}\": [\n{}\n      ]\n    }}\n  }}\n}}\n",
        list.join(",\n")
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of a JSON string.
fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// Where the list is, or how much of the path to it exists.
struct ListPosition {
    /// The missing keys; none if the list itself exists.
    missing: &'static [&'static str],
    /// The containers on the path, outermost first, each an item of the one before; the last is the innermost.
    way: Vec<Item>,
    /// What is in the innermost.
    items: Vec<Item>,
}

/// An entry of a list or an object.
#[derive(Clone, Debug)]
struct Item {
    /// Of an object: with the key.
    whole: Range<usize>,
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl ListPosition {
    fn find(text: &str) -> Result<ListPosition> {
        let start = text.len() - text.trim_start().len();
        let value = start..value_end(text.as_bytes(), start);
        let mut inner = Item { whole: value.clone(), key: None, value };
        let mut way = Vec::new();
        for depth in 0..=KEYS.len() {
            let wanted = if depth < KEYS.len() { ('{', "object") } else { ('[', "array") };
            if !text[inner.value.clone()].starts_with(wanted.0) {
                let name =
                    if depth == 0 { "its top".to_owned() } else { format!("`{}`", KEYS[..depth].join(".")) };
                return Err(Error::failed(format!(
                    "in Firefox's policy file, expected {name} to be an {}",
                    wanted.1
                ))
                .hint("repair or remove it, and run again"));
            }
            let items = items(text, &inner.value);
            way.push(inner);
            // Of a key that occurs twice, the last counts, as in Firefox.
            let next = KEYS.get(depth).and_then(|wanted| {
                let is_it = |key: &Range<usize>| string(&text[key.clone()]).as_deref() == Some(*wanted);
                items.iter().rev().find(|item| item.key.as_ref().is_some_and(is_it))
            });
            match next {
                Some(next) => inner = next.clone(),
                None => return Ok(ListPosition { missing: &KEYS[depth..], way, items }),
            }
        }
        Err(malformed())
    }
}

/// Inserts what is not in the list yet, in one piece.
fn insert(text: &mut String, ours: &[String]) -> Result<()> {
    let there = named(text.as_bytes());
    let new: Vec<String> =
        ours.iter().filter(|path| !there.contains(path)).map(|path| quoted(path)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let place = ListPosition::find(text)?;
    let new = match place.missing.split_first() {
        None => new,
        Some((first, rest)) => {
            let inner = rest
                .iter()
                .rev()
                .fold(format!("[{}]", new.join(", ")), |inner, key| format!("{{\"{key}\": {inner}}}"));
            vec![format!("\"{first}\": {inner}")]
        }
    };
    let (at, piece) = match (place.items.last(), place.way.last()) {
        // As the item before it: on a line of its own, or not.
        (Some(last), _) => {
            let before = &text[..last.whole.start];
            let spaces = &before[before.trim_end().len()..];
            let piece: String = new.iter().map(|item| format!(",{spaces}{item}")).collect();
            (last.whole.end, piece)
        }
        (None, Some(container)) => (container.value.start + 1, new.join(", ")),
        (None, None) => return Err(malformed()),
    };
    text.insert_str(at, &piece);
    Ok(())
}

/// Removes those that are `gone` from the list, then any containers left empty. Returns whether anything was removed.
fn remove(text: &mut String, gone: impl Fn(&String) -> bool) -> Result<bool> {
    let mut removed = false;
    loop {
        let place = ListPosition::find(text)?;
        let is_gone = |item: &Item| string(&text[item.value.clone()]).as_ref().is_some_and(&gone);
        let index = if place.missing.is_empty() { place.items.iter().position(is_gone) } else { None };
        match (index, place.way.as_slice()) {
            (Some(index), _) => cut(text, &place.items, index),
            // The list, and each object that only led to it.
            (None, [.., parent, inner]) if removed && place.items.is_empty() => {
                let siblings = items(text, &parent.value);
                let Some(index) = siblings.iter().position(|item| item.whole == inner.whole) else {
                    return Err(malformed());
                };
                cut(text, &siblings, index);
            }
            (None, _) => return Ok(removed),
        }
        removed = true;
    }
}

/// Removes an item and its comma.
fn cut(text: &mut String, items: &[Item], index: usize) {
    let whole = items[index].whole.clone();
    let range = match (index.checked_sub(1).map(|index| &items[index]), items.get(index + 1)) {
        (_, Some(next)) => whole.start..next.whole.start,
        (Some(last), None) => last.whole.end..whole.end,
        (None, None) => {
            let behind = &text[whole.end..];
            let spaces = behind.len() - behind.trim_start().len();
            text[..whole.start].trim_end().len()..whole.end + spaces
        }
    };
    text.replace_range(range, "");
}

/// The items of a list or an object; `text` is known to be JSON.
fn items(text: &str, container: &Range<usize>) -> Vec<Item> {
    let bytes = text.as_bytes();
    let is_object = bytes.get(container.start) == Some(&b'{');
    let mut items = Vec::new();
    let mut at = spaces_end(bytes, container.start + 1);
    while at + 1 < container.end {
        let start = at;
        let mut key = None;
        if is_object {
            let end = value_end(bytes, at);
            key = Some(at..end);
            // The colon.
            at = spaces_end(bytes, spaces_end(bytes, end) + 1);
        }
        let end = value_end(bytes, at);
        items.push(Item { whole: start..end, key, value: at..end });
        // The comma, or the end.
        at = spaces_end(bytes, spaces_end(bytes, end) + 1);
    }
    items
}

fn spaces_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the value that begins at `at` ends.
fn value_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(at) {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') if depth == 0 => return index + 1,
            (_, b'"') => in_string = !in_string,
            (true, _) => {}
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n') if depth == 0 => return index,
            (false, b'}' | b']') if depth == 1 => return index + 1,
            (false, b'}' | b']') => depth -= 1,
            (false, _) => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::record::{Mark, PathRecord, Saved};
    use crate::trust::owners;

    fn merge(existing: Option<&str>, ours: &[&str], former: &[&str]) -> Result<Option<String>> {
        let owned = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let merged = merged(existing.map(str::as_bytes), &owned(ours), &owned(former))?;
        Ok(merged.map(|bytes| String::from_utf8(bytes).expect("text")))
    }

    #[test]
    fn a_new_file_has_the_list_and_nothing_else() {
        let made = merge(None, &["/a/b.crt", "/c \"d\".pem"], &[]).expect("made").expect("a file");
        let json: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({"policies": {"Certificates": {"Install": ["/a/b.crt", "/c \"d\".pem"]}}})
        );
        assert_eq!(named(made.as_bytes()), ["/a/b.crt", "/c \"d\".pem"]);
        assert_eq!(merge(None, &[], &["/a"]).expect("merged"), None);
        assert_eq!(
            merge(Some(&made), &["/a/b.crt", "/c \"d\".pem"], &[]).expect("merged").as_ref(),
            Some(&made)
        );
        assert_eq!(merge(Some(&made), &[], &["/a/b.crt", "/c \"d\".pem"]).expect("merged"), None);
    }

    #[test]
    fn what_others_wrote_stays_to_the_byte() {
        for (before, after) in [
            ("{}", r#"{"policies": {"Certificates": {"Install": ["/n"]}}}"#),
            (" {\n}\n", " {\"policies\": {\"Certificates\": {\"Install\": [\"/n\"]}}\n}\n"),
            (r#"{"policies":{}}"#, r#"{"policies":{"Certificates": {"Install": ["/n"]}}}"#),
            (
                "{\n\t\"policies\": {\n\t\t\"B\": 1e3,\n\t\t\"A\": [\"}\", \"\\\\\\\"{\"]\n\t}\n}",
                "{\n\t\"policies\": {\n\t\t\"B\": 1e3,\n\t\t\"A\": [\"}\", \"\\\\\\\"{\"],\n\t\t\"Certificates\": {\"Install\": [\"/n\"]}\n\t}\n}",
            ),
            (
                r#"{"policies":{"Certificates":{"ImportEnterpriseRoots":true}}, "x":null}"#,
                r#"{"policies":{"Certificates":{"ImportEnterpriseRoots":true,"Install": ["/n"]}}, "x":null}"#,
            ),
            (
                "{\"policies\": {\"Certificates\": {\"Install\": [\n  \"a.pem\"\n]}}}\r\n",
                "{\"policies\": {\"Certificates\": {\"Install\": [\n  \"a.pem\",\n  \"/n\"\n]}}}\r\n",
            ),
            (
                r#"{"policies":{"Certificates":{"Install":[ ]}}}"#,
                r#"{"policies":{"Certificates":{"Install":["/n" ]}}}"#,
            ),
            // The last of two counts; an escaped key is the same key.
            (
                r#"{"policies":{"Certificates":{"Install":[1]}},"polic\u0069es":{"a":{}}}"#,
                r#"{"policies":{"Certificates":{"Install":[1]}},"polic\u0069es":{"a":{},"Certificates": {"Install": ["/n"]}}}"#,
            ),
        ] {
            assert_eq!(merge(Some(before), &["/n"], &[]).expect(before).as_deref(), Some(after));
            assert_eq!(merge(Some(before), &[], &[]).expect(before).as_deref(), Some(before));
            assert!(named(after.as_bytes()).contains(&"/n".to_owned()), "{after}");
            // Our record of it only removes, whatever was there.
            let node = |text: &str| {
                crate::rootfs::tree::Node::File(crate::rootfs::tree::File::new(
                    text.as_bytes().to_vec(),
                    MODE,
                ))
            };
            let before = Saved::new(&node(before), &node(after)).expect("saved");
            assert!(owners::may_keep(PATH, &PathRecord::new(before, Mark::Absent)));
        }
    }

    #[test]
    fn what_is_ours_is_found_in_a_file_that_others_changed() {
        let changed = r#"{"policies": {"Certificates": {"Install": ["x.pem", "/old", "/kept"]}, "Y": 1}}"#;
        assert_eq!(
            merge(Some(changed), &["/kept", "/new"], &["/old", "/kept"]).expect("merged").as_deref(),
            Some(r#"{"policies": {"Certificates": {"Install": ["x.pem", "/kept", "/new"]}, "Y": 1}}"#)
        );
        assert_eq!(
            merge(Some(changed), &[], &["/old", "/kept"]).expect("merged").as_deref(),
            Some(r#"{"policies": {"Certificates": {"Install": ["x.pem"]}, "Y": 1}}"#)
        );
        let only_ours =
            "{\n  \"policies\": {\n    \"Certificates\": {\"Install\": [ \"/old\" ] },\n    \"Y\": 1\n  }\n}";
        assert_eq!(
            merge(Some(only_ours), &[], &["/old"]).expect("merged").as_deref(),
            Some("{\n  \"policies\": {\n    \"Y\": 1\n  }\n}")
        );
        let theirs = r#"{"policies": {"Certificates": {"Install": []}}}"#;
        assert_eq!(merge(Some(theirs), &[], &["/old"]).expect("merged").as_deref(), Some(theirs));
    }

    #[test]
    fn what_firefox_would_not_read_is_an_error() {
        for bad in [
            "",
            " ",
            "{",
            "[]",
            "7",
            "{} x",
            "\u{feff}{}",
            "{\"policies\": []}",
            "// no\n{}",
            r#"{"policies":{"Certificates":null}}"#,
            r#"{"policies":{"Certificates":{"Install":{}}}}"#,
        ] {
            let error = merge(Some(bad), &["/n"], &[]).expect_err(bad);
            assert!(error.what().contains("policy file"), "{error}");
            assert!(named(bad.as_bytes()).is_empty());
        }
        merged(Some(b"{\"a\": \"\xff\"}"), &["/n".to_owned()], &[]).expect_err("no UTF-8");
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        merge(Some(&deep), &["/n"], &[]).expect_err("a list");
        let deep = format!("{{\"x\": {deep}}}");
        assert!(
            merge(Some(&deep), &["/n"], &[])
                .is_ok_and(|merged| merged.is_some_and(|text| text.contains("/n")))
        );
    }
}
