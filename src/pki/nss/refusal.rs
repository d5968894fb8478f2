//! Why a database is not read or not changed, as a type: the caller decides whether that is a warning or an error.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Result of everything in this module.
pub(crate) type Result<T> = std::result::Result<T, NssRefusal>;

/// Why a database stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NssRefusal {
    /// This file (`cert9.db`, `key4.db`) is larger than [`super::SIZE_LIMIT`] bytes.
    TooLarge(&'static str),
    /// This file is not a SQLite database.
    NotSqlite(&'static str),
    /// This file is damaged, or does not have NSS's layout; the text gives the fault, in a form that can follow a
    /// colon.
    Damaged(&'static str, String),
    /// This file has a schema that NSS does not make (threat T18): a view, a trigger, other columns. The text names
    /// it.
    Schema(&'static str, String),
    /// The password entry is encrypted in a way that current NSS does not use.
    Encryption,
    /// The password entry requires this many iterations, more than [`super::MAX_ITERATIONS`] (threat T19).
    Iterations(u64),
    /// The signatures of the database require more work than genuine ones would (threat T19).
    Costs,
    /// The password that was given is not that of the database.
    WrongPassword,
    /// The database has a password, and none was given.
    Locked,
    /// The database holds another certificate with the same issuer and serial number; NSS cannot hold both.
    SerialTaken,
    /// The nickname has characters that we do not write (threat T4).
    Nickname,
    /// Another certificate, of another subject, has the nickname; NSS would confuse them.
    NicknameTaken,
    /// The stored former trust setting does not belong to this certificate.
    Former,
}

impl NssRefusal {
    /// The same for people; add the place with [`Error::at`]. (No `From`: it would break the compiler's inference
    /// elsewhere.)
    pub(crate) fn into_error(self) -> Error {
        let error = Error::new(self.kind(), "could not use the NSS database");
        let error = match self.hint() {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.because(self)
    }

    /// The affected file, if any.
    fn file(&self) -> Option<&'static str> {
        match self {
            NssRefusal::TooLarge(file)
            | NssRefusal::NotSqlite(file)
            | NssRefusal::Damaged(file, _)
            | NssRefusal::Schema(file, _) => Some(file),
            _ => None,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            NssRefusal::WrongPassword
            | NssRefusal::Locked
            | NssRefusal::Nickname
            | NssRefusal::NicknameTaken => ErrorKind::Usage,
            NssRefusal::Encryption => ErrorKind::Unsupported,
            _ => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            NssRefusal::NotSqlite(_) | NssRefusal::Damaged(..) | NssRefusal::TooLarge(_) => Some(
                "`certutil -L -d sql:DIRECTORY` shows whether NSS can read it; if not, restore both files, or move both away, and run again",
            ),
            NssRefusal::WrongPassword => Some(
                "`certutil -K -d sql:DIRECTORY -f FILE` says whether the password in FILE is the right one (SEC_ERROR_BAD_PASSWORD: it is not)",
            ),
            NssRefusal::Locked => Some("give the file that holds the password with `--nss-password-file`"),
            NssRefusal::Encryption => Some(
                "a new password brings the database up to date: `certutil -W -d sql:DIRECTORY`, with a current NSS",
            ),
            NssRefusal::SerialTaken => Some(
                "if the other certificate is not needed, remove it (`certutil -L -d sql:DIRECTORY` shows its name): `certutil -D -d sql:DIRECTORY -n NAME`",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for NssRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = self.file() {
            write!(f, "`{file}`: ")?;
        }
        match self {
            NssRefusal::TooLarge(_) => write!(f, "larger than {} MiB", super::SIZE_LIMIT >> 20),
            NssRefusal::NotSqlite(_) => f.write_str("no SQLite database"),
            NssRefusal::Damaged(_, why) | NssRefusal::Schema(_, why) => f.write_str(why),
            NssRefusal::Encryption => f.write_str("the password is kept in a way that is not supported"),
            NssRefusal::Iterations(count) => write!(
                f,
                "the password asks for {count} iterations, more than {}: not tried",
                super::MAX_ITERATIONS
            ),
            NssRefusal::Costs => f.write_str("the signatures ask for too many iterations"),
            NssRefusal::WrongPassword => f.write_str("wrong password for this database"),
            NssRefusal::Locked => f.write_str("the database has a password, and none was given"),
            NssRefusal::SerialTaken => {
                f.write_str("another certificate with the same issuer and serial number is in there")
            }
            NssRefusal::Nickname => {
                f.write_str("a nickname must consist of letters, digits, `.`, `_` and `-`, and must not begin with `.` or `-`")
            }
            NssRefusal::NicknameTaken => f.write_str("another certificate has this nickname"),
            NssRefusal::Former => {
                f.write_str("what was remembered of the former trust does not belong to this certificate")
            }
        }
    }
}

impl std::error::Error for NssRefusal {}
