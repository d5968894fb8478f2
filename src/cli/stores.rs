//! Options about Java's keystores and NSS databases, the same in every command that looks at them.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::trees::Trees;
use crate::error::{Error, Result};
use crate::keystore;
use crate::nss;
use crate::rootfs::host;
use crate::trust::stores::{self, Selection, Wish};

/// A password is a line.
const LIMIT: u64 = 64 * 1024;

/// How to open Java's keystores and NSS databases.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Java keystores and NSS databases")]
pub(super) struct Passwords {
    /// File with the password of Java's keystores [default: Java's own, `changeit`]
    #[arg(long, value_name = "FILE")]
    java_storepass_file: Option<PathBuf>,
    /// File with the password of NSS databases [default: those without one are opened]
    #[arg(long, value_name = "FILE")]
    nss_password_file: Option<PathBuf>,
}

impl Passwords {
    /// Stores of earlier runs alone, and what opens them.
    ///
    /// # Errors
    /// A password file that cannot be read.
    pub(super) fn selection(&self) -> Result<Selection> {
        let read = |path: &Option<PathBuf>| -> Result<Option<Vec<u8>>> {
            path.as_ref().map(|path| host::read_file(path, LIMIT)).transpose()
        };
        let java_password = match read(&self.java_storepass_file)? {
            None => None,
            Some(bytes) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| Error::usage("the password of `--java-storepass-file` is not UTF-8"))?;
                Some(keystore::StorePassword::new(text.lines().next().unwrap_or_default().to_owned()))
            }
        };
        let nss_password = read(&self.nss_password_file)?.map(|bytes| nss::NssPassword::from_file(&bytes));
        Ok(Selection { java_password, nss_password, ..Selection::default() })
    }
}

/// Which stores are made where there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Create {
    /// `--create-java`
    pub(super) java: bool,
    /// `--create-nss`
    pub(super) nss: bool,
}

/// The same, and where databases are.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Java keystores and NSS databases")]
pub(super) struct StoreArgs {
    #[command(flatten)]
    passwords: Passwords,
    /// A user whose NSS databases are looked for (repeatable) [default: who runs trustup; in a sysroot, everybody]
    #[arg(long, value_name = "USER")]
    nss_user: Vec<String>,
    /// A directory with an NSS database; made if it is not there (repeatable)
    #[arg(long, value_name = "DIR")]
    nss_db: Vec<String>,
}

impl StoreArgs {
    /// What the pipeline is asked for.
    ///
    /// # Errors
    /// A password file that cannot be read, an unknown user, a path that is not absolute.
    pub(super) fn selection(
        &self,
        context: &Context,
        trees: &Trees,
        (java, nss): (Wish, Wish),
        create: Create,
    ) -> Result<Selection> {
        if let Some(relative) = self
            .nss_db
            .iter()
            .find(|path| !path.starts_with('/') || path.split('/').any(|part| matches!(part, "." | "..")))
        {
            return Err(Error::usage("`--nss-db` needs the absolute path of a directory inside the sysroot")
                .at(crate::text::escape(relative))
                .hint("such as `--nss-db /etc/pki/nssdb`"));
        }
        let is_host = trees.system.is_host();
        let of_caller = |name| {
            context.env.var(name).filter(|path| is_host && path.starts_with('/')).map(ToOwned::to_owned)
        };
        Ok(Selection {
            java,
            nss,
            java_homes: of_caller("JAVA_HOME").into_iter().collect(),
            homes: self.homes(context, trees)?,
            xdg_data_home: of_caller("XDG_DATA_HOME").filter(|_| self.nss_user.is_empty()),
            nss_directories: self.nss_db.iter().map(|path| path.trim_end_matches('/').to_owned()).collect(),
            create_java: create.java,
            create_nss: create.nss,
            date: context.stamp()?.unwrap_or_else(|| context.env.now()) * 1000,
            ..self.passwords.selection()?
        })
    }

    /// Whether a database was named.
    pub(super) fn names_a_database(&self) -> bool {
        !self.nss_db.is_empty()
    }

    fn homes(&self, context: &Context, trees: &Trees) -> Result<Vec<String>> {
        if self.nss_user.is_empty() {
            if !trees.system.is_host() {
                return stores::homes(&trees.system).map(|users| users.into_values().collect());
            }
            let home = context.env.var("HOME").filter(|home| home.starts_with('/'));
            return Ok(home
                .into_iter()
                .map(|home| home.trim_end_matches('/').to_owned())
                .filter(|home| !home.is_empty())
                .collect());
        }
        let users = stores::homes(&trees.system)?;
        let home = |user: &String| {
            users.get(user).cloned().ok_or_else(|| {
                Error::usage("no such user with a home directory").at(crate::text::escape(user)).hint(
                    "`--nss-user` names a user of /etc/passwd; `--nss-db DIR` names a database's directory",
                )
            })
        };
        self.nss_user.iter().map(home).collect()
    }
}
