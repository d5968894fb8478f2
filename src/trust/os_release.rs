//! os-release (os-release(5)): the only thing that chooses a row of the table of distributions.
//!
//! The os-release crate reads the keys, but it panics on a value that is a single quote character and does not process
//! escapes: it gets lines that are checked here, read through [`Sysroot`], never a path.

use os_release::OsRelease;

use crate::error::Result;
use crate::rootfs::Sysroot;

/// Where os-release is looked for, in this order (os-release(5)).
pub(crate) const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// An os-release has a few hundred bytes; threat T9.
const LIMIT: u64 = 64 * 1024;

/// What os-release contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Release {
    /// `ID`, lower case.
    pub(crate) id: String,
    /// `NAME`.
    pub(crate) name: String,
    /// `ID_LIKE`, nearest first, lower case.
    pub(crate) id_like: Vec<String>,
    /// `VERSION_ID`; empty on rolling distributions.
    pub(crate) version_id: String,
    /// `PRETTY_NAME`.
    pub(crate) pretty_name: String,
    /// The file that it was read from.
    pub(crate) file: String,
}

/// Reads the first os-release that exists; `None` if there is none.
///
/// # Errors
/// One exists and is not a regular file of at most 64 KiB.
pub(crate) fn read(sysroot: &Sysroot) -> Result<Option<Release>> {
    for path in PATHS {
        if let Some((bytes, _)) = sysroot.read(path, LIMIT)? {
            return Ok(Some(Release { file: path.to_owned(), ..parse(&String::from_utf8_lossy(&bytes)) }));
        }
    }
    Ok(None)
}

/// Reads the text of an os-release. Lines that are not `KEY=value` (NUL bytes, a lone quote) are omitted.
pub(crate) fn parse(text: &str) -> Release {
    let lines = text.trim_start_matches('\u{feff}').lines().filter_map(checked).map(str::to_owned);
    let release: OsRelease = lines.collect();
    Release {
        id: release.id.to_lowercase(),
        name: release.name,
        id_like: release.id_like.split_whitespace().map(str::to_lowercase).collect(),
        version_id: release.version_id,
        pretty_name: release.pretty_name,
        file: String::new(),
    }
}

/// The trimmed line, if the crate accepts it.
fn checked(line: &str) -> Option<&str> {
    let line = line.trim();
    let (key, value) = line.split_once('=')?;
    let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = value.trim();
    let quotes = value.matches(['"', '\'']).count();
    // A lone quote, as in `ID="`, makes the crate panic; an odd number of quotes is not a value either.
    let spoilt = (value.len() == 1 && quotes == 1) || line.contains('\0');
    (named && !spoilt).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_bare_and_quoted() {
        let release = parse(
            "# c\nID=ubuntu\r\nID_LIKE='debian'\r\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04\"\n",
        );
        assert_eq!((release.id.as_str(), release.version_id.as_str()), ("ubuntu", "24.04"));
        assert_eq!(release.id_like, ["debian"]);
        assert_eq!(parse("ID=\"openEuler\"\nID_LIKE=\"rhel fedora\"").id_like, ["rhel", "fedora"]);
        assert_eq!(parse("ID=openEuler").id, "openeuler");
    }

    #[test]
    fn nothing_in_it_makes_it_panic() {
        for text in
            ["ID=\"", "ID='", "ID=\"\"", "\0\0=\0", "ID=", "=", "ID=\u{1F600}", "ID=\"\u{e9}", "\u{feff}ID=x"]
        {
            let found = parse(text);
            // What cannot be a value is none; an unknown distribution name matches no row.
            let id = match text {
                "\u{feff}ID=x" => "x",
                "ID=\u{1F600}" => "\u{1F600}",
                "ID=\"\u{e9}" => "\"\u{e9}",
                _ => "",
            };
            assert_eq!((found.id.as_str(), found.id_like.len()), (id, 0), "{text:?}");
        }
        assert_eq!(parse("ID=\"\nID=debian").id, "debian");
    }
}
