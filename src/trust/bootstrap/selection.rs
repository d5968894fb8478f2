//! Which of Java's keystores and NSS databases are inspected, and with which passwords; the same in every command.

use std::path::PathBuf;

use super::trees::Trees;
use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::pki::keystore;
use crate::pki::nss;
use crate::rootfs::host;
use crate::settings::rows::{
    CREATE_JAVA, CREATE_NSS, JAVA_STOREPASS_FILE, NSS_DB, NSS_PASSWORD_FILE, NSS_USER, stamp,
};
use crate::settings::secret;
use crate::settings::{Opt, Settings};
use crate::trust::stores::{self, Selection, StorePolicy};

/// A password is one line.
const LIMIT: u64 = 64 * 1024;

/// Only stores of earlier runs, and the passwords that open them.
///
/// # Errors
/// A password file that cannot be read.
pub(crate) fn of_earlier_runs(settings: &Settings) -> Result<Selection> {
    let read = |option: &Opt<PathBuf>, what: &str| -> Result<Option<Vec<u8>>> {
        let Some(path) = settings.get(option) else { return Ok(None) };
        let bytes = host::read_file(path, LIMIT)?;
        secret::check_password(&bytes, what).map_err(|error| error.at(path.display()))?;
        Ok(Some(bytes))
    };
    let java_password = match read(&JAVA_STOREPASS_FILE, "the keystores' password")? {
        None => None,
        Some(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| {
                Error::usage("the keystores' password is not UTF-8")
                    .hint("`--java-storepass-file` is a file with the password in its first line")
            })?;
            Some(keystore::StorePassword::new(text.lines().next().unwrap_or_default().to_owned()))
        }
    };
    let nss_password = read(&NSS_PASSWORD_FILE, "the NSS databases' password")?
        .map(|bytes| nss::NssPassword::from_file(&bytes));
    Ok(Selection { java_password, nss_password, ..Selection::default() })
}

/// The selection for the pipeline.
///
/// # Errors
/// A password file that cannot be read, an unknown user, a path that is not absolute.
pub(crate) fn selection(
    settings: &Settings,
    env: &Env,
    trees: &Trees,
    (java, nss): (StorePolicy, StorePolicy),
) -> Result<Selection> {
    let databases = databases(settings)?;
    let users = settings.all(&NSS_USER);
    let is_host = trees.system.is_host();
    let of_caller =
        |name| env.var(name).filter(|path| is_host && path.starts_with('/')).map(ToOwned::to_owned);
    Ok(Selection {
        java,
        nss,
        java_homes: of_caller("JAVA_HOME").into_iter().collect(),
        homes: homes(users, env, trees)?,
        homes_named: !users.is_empty(),
        xdg_data_home: of_caller("XDG_DATA_HOME").filter(|_| users.is_empty()),
        nss_directories: databases,
        create_java: settings.is(&CREATE_JAVA),
        create_nss: settings.is(&CREATE_NSS),
        date: stamp(env)?.unwrap_or_else(|| env.now()) * 1000,
        ..of_earlier_runs(settings)?
    })
}

/// The directories of `--nss-db`.
///
/// # Errors
/// One that is not absolute.
pub(super) fn databases(settings: &Settings) -> Result<Vec<String>> {
    let directory = |path: &PathBuf| {
        let text = path
            .to_str()
            .filter(|path| path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | "..")));
        text.map(|path| path.trim_end_matches('/').to_owned()).ok_or_else(|| {
            let error = Error::usage("`--nss-db` needs the absolute path of a directory inside the sysroot")
                .at(crate::text::escape(&path.to_string_lossy()))
                .hint("for example `--nss-db /etc/pki/nssdb`");
            settings.blame(&NSS_DB, error)
        })
    };
    settings.all(&NSS_DB).iter().map(directory).collect()
}

fn homes(users: &[String], env: &Env, trees: &Trees) -> Result<Vec<String>> {
    if users.is_empty() {
        if !trees.system.is_host() {
            return stores::homes(&trees.system).map(|users| users.into_values().collect());
        }
        let home = env.var("HOME").filter(|home| home.starts_with('/'));
        return Ok(home
            .into_iter()
            .map(|home| home.trim_end_matches('/').to_owned())
            .filter(|home| !home.is_empty())
            .collect());
    }
    let there = stores::homes(&trees.system)?;
    let home = |user: &String| {
        there.get(user).cloned().ok_or_else(|| {
            Error::usage("no such user with a home directory")
                .at(crate::text::escape(user))
                .hint("`--nss-user` names root or a person (user id 1000 and above) of /etc/passwd whose home directory is there; `--nss-db DIR` names a database's directory")
        })
    };
    users.iter().map(home).collect()
}
