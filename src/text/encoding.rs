//! Text in another encoding than ASCII and UTF-8, as editors and PowerShell write it. Recognised to be named: nothing
//! here converts, and no byte of the text is shown.

use std::fmt;

/// UTF-8's byte order mark.
pub(crate) const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The command that removes what UTF-16 adds to ASCII text: zero bytes and byte order marks, in a part of a file too.
/// Every image with a shell has `tr`.
pub(crate) const TO_ASCII: &str = "`tr -d '\\000\\376\\377' <FILE >NEW`";

/// An encoding that no reader of trustup accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextEncoding {
    /// UTF-16, with or without a byte order mark.
    Utf16 {
        /// Whether a byte order mark is in front.
        marked: bool,
        /// Whether the first byte of a character is the less significant one.
        little: bool,
    },
    /// UTF-32 with a byte order mark.
    Utf32,
}

impl TextEncoding {
    /// Its name for `iconv`: one that removes a byte order mark.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TextEncoding::Utf16 { marked: true, .. } => "UTF-16",
            TextEncoding::Utf16 { little: true, .. } => "UTF-16LE",
            TextEncoding::Utf16 { little: false, .. } => "UTF-16BE",
            TextEncoding::Utf32 => "UTF-32",
        }
    }
}

impl fmt::Display for TextEncoding {
    /// Follows "text in".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextEncoding::Utf16 { marked: true, .. } => "UTF-16 (with a byte order mark)",
            TextEncoding::Utf16 { marked: false, .. } => "UTF-16 (without a byte order mark)",
            TextEncoding::Utf32 => "UTF-32",
        })
    }
}

/// The encoding of the whole text, if it is one of these. Without a byte order mark it is UTF-16 if zero bytes are at
/// every second place, at least for half of the characters, and nowhere else: no password, token or PEM file has any.
pub(crate) fn foreign(bytes: &[u8]) -> Option<TextEncoding> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some(TextEncoding::Utf32),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Some(TextEncoding::Utf16 { marked: true, little: bytes[0] == 0xff });
        }
        _ => {}
    }
    let zeros = |start: usize| bytes.iter().skip(start).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let is_wide = (even == 0) != (odd == 0) && (even + odd) * 4 >= bytes.len();
    let is_wide = is_wide && bytes.get(..2).is_some_and(|first| first.contains(&0));
    let is_text = bytes.iter().all(|byte| matches!(byte, 0 | b'\t' | b'\n' | b'\r' | 0x20..));
    (is_wide && is_text).then_some(TextEncoding::Utf16 { marked: false, little: even == 0 })
}

/// Where a part in UTF-16 begins in text that is otherwise ASCII or UTF-8, as a file to which two programs wrote: the
/// number of its line, from 1.
pub(crate) fn mixed_line(bytes: &[u8]) -> Option<usize> {
    if foreign(bytes).is_some() {
        return None;
    }
    let is_ascii = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    // Four wide characters: no text has them by accident.
    let is_wide = |window: &[u8]| {
        let wide = |zero: usize| {
            window
                .iter()
                .enumerate()
                .all(|(at, byte)| if at % 2 == zero { *byte == 0 } else { is_ascii(byte) })
        };
        wide(0) || wide(1)
    };
    let first_zero = bytes.iter().position(|byte| *byte == 0)?;
    let start = bytes.windows(8).skip(first_zero.saturating_sub(1)).position(is_wide)?;
    let start = first_zero.saturating_sub(1) + start;
    // The byte before the first zero may be the last line end in ASCII.
    Some(1 + bytes[..=start].iter().filter(|byte| **byte == b'\n').count())
}

/// The text without the zero bytes and byte order marks of UTF-16, to search it for what it holds; not to be used.
pub(crate) fn narrowed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, 0 | 0xfe | 0xff)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn utf_16_is_recognised_with_and_without_its_mark() {
        for (to_bytes, little) in [(u16::to_le_bytes as fn(u16) -> [u8; 2], true), (u16::to_be_bytes, false)]
        {
            for text in ["p", "hunter2", "hunter2\r\n", "gr\u{fc}n", "-----BEGIN X-----\n"] {
                assert_eq!(
                    foreign(&wide(text, to_bytes)),
                    Some(TextEncoding::Utf16 { marked: false, little }),
                    "{text}"
                );
                let marked = wide(&format!("\u{feff}{text}"), to_bytes);
                assert_eq!(foreign(&marked), Some(TextEncoding::Utf16 { marked: true, little }), "{text}");
            }
        }
        assert_eq!(foreign(b"\xff\xfe\0\0a\0\0\0"), Some(TextEncoding::Utf32));
        for text in [
            &b""[..],
            b"hunter2",
            "\u{feff}hunter2".as_bytes(),
            "日本語".as_bytes(),
            b"a\0",
            b"\0\0",
            b"\0",
            b"a",
        ] {
            let is_one = text == b"a\0";
            assert_eq!(foreign(text).is_some(), is_one, "{text:?}");
        }
        // DER has zeros at both kinds of places.
        let der = crate::pki::cert::testing::TestCertificate::default().der();
        assert_eq!((foreign(&der), mixed_line(&der)), (None, None));
    }

    #[test]
    fn a_part_in_utf_16_is_found_and_its_line_named() {
        for to_bytes in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            for mark in ["", "\u{feff}"] {
                let part = wide(&format!("{mark}-----BEGIN X-----\nAAAA\n"), to_bytes);
                let behind = [b"one\ntwo\n".to_vec(), part.clone()].concat();
                assert_eq!(mixed_line(&behind), Some(3));
                let before = [part.clone(), b"one, and so on, and on, and on, and on\n".repeat(4)].concat();
                assert!(foreign(&before).is_some() || mixed_line(&before) == Some(1), "{before:?}");
                let shown = String::from_utf8(narrowed(&behind)).expect("ASCII");
                assert_eq!(shown, "one\ntwo\n-----BEGIN X-----\nAAAA\n");
            }
        }
        for text in [&b"plain\n"[..], b"one\0two", b""] {
            assert_eq!(mixed_line(text), None);
        }
    }
}
