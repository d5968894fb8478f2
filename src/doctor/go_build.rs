//! What a program says of itself if Go built it: the version of Go, its modules and settings (section `.go.buildinfo`,
//! package debug/buildinfo), and whether it can be a TLS client. The modules do not show that, since crypto/tls belongs to
//! Go itself; the names of its functions (`.gopclntab`, which panics need and `-s -w` keeps) do.

use super::elf::Elf;
use super::library::{Version, version};

/// The section has a kilobyte or two; a program with a thousand modules has 100.
const LIMIT: u64 = 2 * 1024 * 1024;
/// The largest table of functions that is searched. Kubernetes' programs have 20 MiB.
const FUNCTIONS_LIMIT: u64 = 96 * 1024 * 1024;
/// Where the section begins.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The function that begins a connection as a client: linked only into programs that may call it.
const CLIENT: &[u8] = b"crypto/tls.(*Conn).clientHandshake";
/// The module that brings Mozilla's roots, used if the system has none.
const FALLBACK: &str = "golang.org/x/crypto/x509roots/fallback";

/// The build of a Go program.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GoBuild {
    /// Of Go.
    pub(super) version: Option<Version>,
    /// Whether it contains Mozilla's roots for systems without any.
    pub(super) has_fallback: bool,
    /// The settings of GODEBUG that were built in (`x509negativeserial=1`).
    pub(super) debug: Vec<String>,
    /// Whether it may be a TLS client; `None`: that cannot be read.
    pub(super) is_client: Option<bool>,
}

impl GoBuild {
    /// Reads it from a program; `None` if Go did not build it.
    pub(super) fn read(elf: &Elf) -> Option<GoBuild> {
        if !elf.has(".go.buildinfo") {
            return None;
        }
        let (number, modules) =
            elf.section(".go.buildinfo", LIMIT).and_then(|bytes| texts(elf, &bytes)).unwrap_or_default();
        let mut build =
            GoBuild { version: number.strip_prefix("go").and_then(version), ..GoBuild::default() };
        for line in modules.lines() {
            let mut fields = line.split('\t');
            match (fields.next(), fields.next()) {
                (Some("dep"), Some(FALLBACK)) => build.has_fallback = true,
                (Some("build"), Some(setting)) => {
                    let settings = setting.strip_prefix("DefaultGODEBUG=").unwrap_or_default();
                    build.debug.extend(settings_of(settings));
                }
                _ => {}
            }
        }
        let is_table = |name: &str| name == ".gopclntab" || name == ".data.rel.ro.gopclntab";
        if elf.has(".gopclntab") || elf.has(".data.rel.ro.gopclntab") {
            let mut look = |part: &[u8]| memchr::memmem::find(part, CLIENT).is_some();
            build.is_client = elf.search(is_table, FUNCTIONS_LIMIT, CLIENT.len() as u64, &mut look);
        }
        Some(build)
    }

    /// The settings in force if the variable GODEBUG is `variable`: the later one counts.
    pub(super) fn debug_with(&self, variable: Option<&str>) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for setting in self.debug.iter().cloned().chain(settings_of(variable.unwrap_or_default())) {
            let key = setting.split('=').next().unwrap_or_default().to_owned();
            all.retain(|one| one.split('=').next() != Some(key.as_str()));
            all.push(setting);
        }
        all
    }
}

/// The settings that concern certificates.
fn settings_of(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|one| one.starts_with("x509")).map(ToOwned::to_owned)
}

/// Version and modules.
fn texts(elf: &Elf, bytes: &[u8]) -> Option<(String, String)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let flags = *rest.get(1)?;
    let (number, modules) = if flags & 2 != 0 {
        // Since Go 1.18: both texts are here, each behind its length.
        let (number, rest) = sized(bytes.get(32..)?)?;
        (number.to_vec(), sized(rest).map(|(modules, _)| modules.to_vec()).unwrap_or_default())
    } else {
        let text = |offset: usize| {
            let header = elf.at_address(elf.pointer(bytes, offset)?, 16)?;
            let half = header.len() / 2;
            let length = elf.pointer(&header, half)?;
            (length <= LIMIT).then(|| elf.at_address(elf.pointer(&header, 0)?, length)).flatten()
        };
        let size = usize::from(*rest.first()?);
        (text(16)?, text(16 + size).unwrap_or_default())
    };
    // The modules stand between two marks of 16 bytes, which are no text.
    let modules = modules.get(16..modules.len().saturating_sub(16)).unwrap_or_default();
    Some((String::from_utf8_lossy(&number).into_owned(), String::from_utf8_lossy(modules).into_owned()))
}

/// Bytes behind their length (unsigned LEB128, as in encoding/binary), and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let rest = bytes.get(at + 1..)?;
            return rest.get(..length).map(|text| (text, &rest[length..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_overrides_what_was_built_in() {
        let build = GoBuild { debug: vec!["x509negativeserial=1".to_owned()], ..GoBuild::default() };
        assert_eq!(build.debug_with(None), ["x509negativeserial=1"]);
        let given = build.debug_with(Some("http2client=0,x509negativeserial=0,x509usefallbackroots=1"));
        assert_eq!(given, ["x509negativeserial=0", "x509usefallbackroots=1"]);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(sized(b"\x02abc"), Some((&b"ab"[..], &b"c"[..])));
        assert_eq!(sized(b"\x80\x80\x80\x80\x80\x01"), None);
        assert_eq!((sized(b"\x04abc"), sized(b"")), (None, None));
    }
}
