//! Where trustup.toml is, and who else could have written it (threats T23 and T41). Never the current directory: a file there
//! belongs to the user who made the directory.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::host::env::Env;
use crate::rootfs::host;
use crate::rootfs::sharing::{Sharing, protection_of_file};
use crate::settings::Settings;
use crate::settings::rows::ALLOW_SHARED_CONFIG;

/// The default path of the file.
pub(crate) const DEFAULT: &str = "/etc/trustup/trustup.toml";
/// A file of a thousand certificates has 300 KiB.
const LIMIT: u64 = 1024 * 1024;

/// The path, and whether it was named: then it must exist.
pub(super) fn choose(env: &Env, given: Option<&Path>) -> Result<(PathBuf, bool)> {
    let named = given.or_else(|| env.var("TRUSTUP_CONFIG").map(Path::new));
    let Some(named) = named else { return Ok((DEFAULT.into(), false)) };
    Ok((host::absolute(named)?, true))
}

/// The file's text, and for `-v` which part of the rule about shared places applied; `None` if it was not named and
/// does not exist.
pub(super) fn read(
    path: &Path,
    named: bool,
    sharing: Sharing<'_>,
) -> Result<Option<(Zeroizing<String>, Option<String>)>> {
    if host::stat(path)?.is_none() {
        if !named {
            return Ok(None);
        }
        return Err(Error::usage("no such configuration file")
            .at(path.display())
            .hint("is it mounted? `--config` and TRUSTUP_CONFIG name it; without them it is /etc/trustup/trustup.toml, if that exists"));
    }
    let note = refuse_others(path, sharing)?;
    let bytes = Zeroizing::new(host::read_file(path, LIMIT)?);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some((Zeroizing::new(text.to_owned()), note))),
        Err(_) => Err(Error::usage("the configuration file is not UTF-8").at(path.display())),
    }
}

/// What the command line accepts: no variable, and no key of the file itself (threat T41).
pub(super) fn sharing(above: &Settings) -> Sharing<'static> {
    let accepted_by = above.is(&ALLOW_SHARED_CONFIG).then_some("--allow-shared-config");
    Sharing { accepted_by, ..Sharing::default() }
}

/// Refuses a file that a user other than root and us could have written or put there: it decides where secrets go and
/// which programs are run (threats T23 and T41). Returns for `-v` which part of the rule applied.
pub(super) fn refuse_others(path: &Path, sharing: Sharing<'_>) -> Result<Option<String>> {
    let not_text = || Error::usage("the path of the configuration file is not UTF-8").at(path.display());
    let text = path.to_str().ok_or_else(not_text)?;
    let protection = protection_of_file(text, sharing)?;
    let note = protection.note(text);
    let Some(why) = &protection.danger else { return Ok(note) };
    let error = Error::usage(format!("another user could have written this file: {why}"))
        .at(path.display())
        .hint(format!(
            "the file and its directories must belong to root or to the user who runs trustup, and no other user may be able to write to them{}",
            protection.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default()
        ))
        .hint("or mount it read-only: `docker run -v …:ro`, a ConfigMap or a Secret of Kubernetes");
    Err(if protection.acceptable {
        error.hint("where only you and your containers can write, such as in a directory of your laptop: `--allow-shared-config` on the command line")
    } else {
        error
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t23_what_is_named_comes_first_and_the_current_directory_never_does() {
        let env = Env::fixed([("TRUSTUP_CONFIG", "/from/variable.toml")], 0);
        let given = Some(Path::new("/given.toml"));
        assert_eq!(choose(&env, given).unwrap(), ("/given.toml".into(), true));
        assert_eq!(choose(&env, None).unwrap(), ("/from/variable.toml".into(), true));
        for env in [Env::fixed([], 0), Env::fixed([("TRUSTUP_CONFIG", "")], 0)] {
            assert_eq!(choose(&env, None).unwrap(), (DEFAULT.into(), false));
        }
    }
}
