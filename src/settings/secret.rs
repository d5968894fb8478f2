//! Passwords, tokens and other secrets from their usual places: files, standard input, descriptors, variables; never
//! the command line. Bounded, wiped when dropped, never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::rootfs::host;
use crate::text::{self, encoding};

/// The largest secret, in bytes: a token with a chain of certificates, a key with its certificates.
const LIMIT: u64 = 64 * 1024;

/// Container engines put secrets here: in memory, readable by all in the container; users cannot change that.
const ENGINES: [&str; 2] = ["/run/secrets/", "/var/run/secrets/"];

/// The location of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// A regular file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A descriptor that the caller left us, by number.
    Descriptor(u32),
    /// Already here: its origin, and its value.
    Value(String, Zeroizing<String>),
    /// Known to be missing: its location, and why.
    Missing(String, String),
}

impl SecretSource {
    /// Whether it can be read only once.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, SecretSource::Stdin | SecretSource::Descriptor(_))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SecretSource {
    type Err = Error;

    /// `-`, `fd:3` (`/dev/fd/3`, `/proc/self/fd/3`), or a path. Text never names a variable.
    fn from_str(text: &str) -> Result<Self> {
        if matches!(text, "-" | "/dev/stdin") {
            return Ok(SecretSource::Stdin);
        }
        if text.is_empty() {
            return Err(Error::usage("the name of the file is empty"));
        }
        let number = ["fd:", "/dev/fd/", "/proc/self/fd/"].iter().find_map(|front| text.strip_prefix(front));
        match number.map(str::parse) {
            Some(Ok(number @ (1 | 2))) => {
                Err(Error::usage(format!("descriptor {number} is for what trustup prints"))
                    .at(text::escape(text))
                    .hint("give it by another one: `fd:3`, and `3<FILE` in the shell; `-` is standard input"))
            }
            Some(Ok(number)) => Ok(SecretSource::Descriptor(number)),
            Some(Err(error)) => Err(Error::usage("not a descriptor number")
                .at(text::escape(text))
                .because(anyhow::Error::from(error))
                .hint("write it as `fd:3`")),
            None => Ok(SecretSource::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => f.write_str(&text::escape(&path.to_string_lossy())),
            SecretSource::Stdin => f.write_str("-"),
            SecretSource::Descriptor(number) => write!(f, "fd:{number}"),
            SecretSource::Value(name, _) | SecretSource::Missing(name, _) => f.write_str(name),
        }
    }
}

/// A secret at its place, which is read again at each attempt: its file may be replaced meanwhile. A stream gives its
/// content once, so it is kept.
#[derive(Debug)]
pub(crate) struct SecretReader {
    source: SecretSource,
    /// Names it in errors.
    what: &'static str,
    of_stream: OnceLock<Secret>,
}

impl SecretReader {
    /// The secret at `source`, which `what` names in errors, such as "the password".
    pub(crate) fn new(source: SecretSource, what: &'static str) -> Self {
        SecretReader { source, what, of_stream: OnceLock::new() }
    }

    /// Its place.
    pub(crate) fn source(&self) -> &SecretSource {
        &self.source
    }

    /// Reads it as it is now.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub(crate) fn read(&self) -> Result<Secret> {
        if !self.source.is_stream() {
            return Secret::read(&self.source, self.what);
        }
        match self.of_stream.get() {
            Some(secret) => Ok(secret.clone()),
            None => {
                let secret = Secret::read(&self.source, self.what)?;
                Ok(self.of_stream.get_or_init(|| secret).clone())
            }
        }
    }
}

/// A secret.
#[derive(Clone)]
pub(crate) struct Secret {
    value: Zeroizing<Vec<u8>>,
    /// What it is, and where it came from: for errors about it.
    what: String,
    place: String,
    /// For people: who else can read it; that a byte order mark is in front.
    pub(crate) warning: Option<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads it whole; trailing white space is removed (an editor's newline is not part of a password; step does the
    /// same). `what` names it in errors, such as "the password".
    ///
    /// # Errors
    /// Nothing there, empty, larger than 64 KiB, in UTF-16.
    pub(crate) fn read(source: &SecretSource, what: &str) -> Result<Self> {
        let (bytes, warning) = match source {
            SecretSource::File(path) => {
                let bytes = host::read_file(path, LIMIT).map_err(|error| unreadable(&error, what))?;
                (bytes, readable_by_others(path, what)?)
            }
            SecretSource::Stdin => (host::read_stdin(LIMIT)?, None),
            SecretSource::Descriptor(number) => (host::read_descriptor(*number, LIMIT)?, None),
            SecretSource::Value(_, value) => (value.as_bytes().to_vec(), None),
            SecretSource::Missing(name, why) => {
                return Err(Error::usage(format!("{what} is not there"))
                    .at(name)
                    .because(anyhow::anyhow!("{why}")));
            }
        };
        let mut value = Zeroizing::new(bytes);
        let place = source.to_string();
        refuse_wide(&value, what).map_err(|error| error.at(&place))?;
        let length = value.trim_ascii_end().len();
        value.truncate(length);
        if value.is_empty() {
            return Err(Error::usage(format!("{what} is empty"))
                .at(source)
                .hint("is the right file mounted, and was it written to the end?"));
        }
        let marked = value.starts_with(encoding::UTF_8_MARK).then(|| {
            format!("`{place}` begins with a byte order mark of UTF-8, which is not part of {what}")
        });
        let warnings: Vec<String> = warning.into_iter().chain(marked).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        Ok(Secret { value, what: what.to_owned(), place, warning })
    }

    /// The bytes: a key, whose readers skip a byte order mark.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.value
    }

    /// A password: all bytes count.
    ///
    /// # Errors
    /// A byte order mark is in front: nobody can tell whether it belongs to the password.
    pub(crate) fn password(&self) -> Result<&[u8]> {
        refuse_mark(&self.value, &self.what).map_err(|error| error.at(&self.place))?;
        Ok(&self.value)
    }

    /// As text without white space at its ends: a token. An editor's byte order mark at the beginning is not part of it
    /// either.
    ///
    /// # Errors
    /// It is not such text.
    pub(crate) fn text(&self, what: &str) -> Result<&str> {
        let text = str::from_utf8(&self.value).map_err(|_| {
            Error::usage(format!("{what} is not text"))
                .at(&self.place)
                .hint("is this the right file? A text secret is ASCII or UTF-8")
        })?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.is_empty() {
            return Err(Error::usage(format!("{what} is empty"))
                .at(&self.place)
                .hint("is the right file mounted, and was it written to the end?"));
        }
        Ok(text)
    }
}

/// Refuses the encodings of a password file that its reader takes for a part of the password; the error has no place.
///
/// # Errors
/// UTF-16, or a byte order mark.
pub(crate) fn check_password(bytes: &[u8], what: &str) -> Result<()> {
    refuse_wide(bytes, what)?;
    refuse_mark(bytes, what)
}

/// PowerShell's `>` and `Out-File` write UTF-16 with a mark (version 5), `-Encoding utf8` a mark.
fn refuse_wide(bytes: &[u8], what: &str) -> Result<()> {
    let Some(encoding) = encoding::foreign(bytes) else { return Ok(()) };
    let from = encoding.name();
    Err(Error::usage(format!("{what} is text in {encoding}"))
        .hint(format!(
            "write the file as UTF-8 without a mark: `(umask 077; iconv -f {from} -t UTF-8 FILE >NEW)`"
        ))
        .hint(IN_POWERSHELL))
}

fn refuse_mark(bytes: &[u8], what: &str) -> Result<()> {
    if !bytes.starts_with(encoding::UTF_8_MARK) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{what} begins with a byte order mark of UTF-8, which other programs take for a part of it"
    ))
    .hint("write the file without it: `(umask 077; tail -c +4 FILE >NEW)`")
    .hint(IN_POWERSHELL))
}

const IN_POWERSHELL: &str = "in PowerShell: `[IO.File]::WriteAllText(\"NEW\", \"SECRET\")`, or `Set-Content -NoNewline -Encoding ascii`";

/// A file that cannot be read, with the secret that it should hold and the next step.
fn unreadable(error: &Error, what: &str) -> Error {
    let why = error.causes().iter().fold(error.what().to_owned(), |why, cause| format!("{why}: {cause}"));
    let told = Error::new(error.kind(), format!("could not read {what}")).because(anyhow::anyhow!("{why}"));
    let told = match error.place() {
        Some(place) => told.at(text::escape(place)),
        None => told,
    };
    if error.hints().is_empty() {
        return told.hint("is the right file named and mounted, and may the user who runs trustup read it?");
    }
    error.hints().iter().fold(told, Error::hint)
}

fn readable_by_others(path: &Path, what: &str) -> Result<Option<String>> {
    let by_engine = ENGINES.iter().any(|directory| path.starts_with(directory));
    let Some(meta) = host::stat(path)?.filter(|_| !by_engine) else { return Ok(None) };
    Ok((meta.mode & 0o004 != 0).then(|| {
        let path = text::escape(&path.to_string_lossy());
        format!("every user of this machine can read {what} in `{path}`: `chmod 600` it")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        for (text, wanted) in [
            ("-", SecretSource::Stdin),
            ("/dev/stdin", SecretSource::Stdin),
            ("fd:3", SecretSource::Descriptor(3)),
            ("/dev/fd/63", SecretSource::Descriptor(63)),
            ("/proc/self/fd/4", SecretSource::Descriptor(4)),
            ("/run/secrets/password", SecretSource::File("/run/secrets/password".into())),
            ("fdx", SecretSource::File("fdx".into())),
        ] {
            assert_eq!(text.parse::<SecretSource>().expect(text), wanted);
        }
        for text in ["", "fd:", "fd:x", "fd:-1", "/dev/fd/3/x", "fd:1", "/dev/fd/2"] {
            assert!(text.parse::<SecretSource>().is_err(), "{text}");
        }
    }

    fn value(text: &str) -> SecretSource {
        SecretSource::Value("P".to_owned(), text.to_owned().into())
    }

    #[test]
    fn the_end_is_trimmed_and_nothing_else() {
        let read = |text: &str| Secret::read(&value(text), "the password");
        assert_eq!(read(" a b \r\n\n").expect("a password").bytes(), b" a b");
        for text in ["", "\n"] {
            let error = read(text).expect_err(text);
            assert_eq!((error.what(), error.kind().exit_code()), ("the password is empty", 2));
        }
        let secret = read("a");
        assert!(!format!("{secret:?}").contains('a'), "{secret:?}");
    }

    #[test]
    fn what_stands_before_a_text_is_no_part_of_it() {
        let read = |text: &str| Secret::read(&value(text), "the token");
        let marked = read("\u{feff}hunter2").expect("bytes");
        let error = marked.password().expect_err("a mark");
        assert!(error.what().contains("byte order mark") && error.place() == Some("P"), "{error}");
        assert!(marked.warning.is_some_and(|warning| warning.contains("byte order mark")));
        assert_eq!(read("\u{feff} \r\n a.b \n").expect("a token").text("the token").expect("text"), "a.b");
        let empty = read("\u{feff}").expect("bytes");
        assert_eq!(empty.text("the token").expect_err("nothing").what(), "the token is empty");
        assert_eq!(read(" p ").expect("a password").bytes(), b" p", "a password may begin with a blank");
    }

    #[test]
    fn files_pipes_and_who_can_read_them() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"hunter2\n").expect("written");
        let source = SecretSource::File(file.path().to_owned());
        let read = Secret::read(&source, "the password").expect("read");
        assert_eq!((read.bytes(), &read.warning), (&b"hunter2"[..], &None));
        rustix::fs::chmod(file.path(), 0o644.into()).expect("chmod");
        let warning = Secret::read(&source, "the password").expect("read").warning;
        assert!(warning.is_some_and(|warning| warning.contains("chmod 600") && !warning.contains("hunter2")));

        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let source = SecretSource::Descriptor(u32::try_from(reader.as_raw_fd()).expect("a number"));
        // Our own descriptor was not handed over; such a one would have come through `exec`.
        let error = Secret::read(&source, "the token").expect_err("refused");
        assert!(error.what().ends_with("is not open") && error.hints()[0].contains("<FILE"), "{error}");
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty()).expect("kept");
        // In pieces, the second while the reader is waiting.
        let thread = std::thread::spawn(move || {
            writer.write_all(b"hun").expect("written");
            std::thread::yield_now();
            writer.write_all(b"ter2\n").expect("written");
        });
        assert_eq!(
            Secret::read(&source, "the token").expect("read").text("the token").expect("text"),
            "hunter2"
        );
        thread.join().expect("joined");
        // Its writer has exited.
        assert!(Secret::read(&source, "the token").is_err());

        for source in [
            SecretSource::Descriptor(99_999),
            SecretSource::File("/".into()),
            SecretSource::File("/nowhere/at/all".into()),
        ] {
            let error = Secret::read(&source, "the token").expect_err("refused");
            assert!(error.kind().exit_code() == 2 && !error.hints().is_empty(), "{error}");
            let named = error.what() == "could not read the token" || error.what().contains("descriptor");
            assert!(named && error.place().is_some(), "{error}");
        }
        file.as_file().set_len(LIMIT + 1).expect("grown");
        assert!(Secret::read(&SecretSource::File(file.path().to_owned()), "it").is_err());
    }
}
