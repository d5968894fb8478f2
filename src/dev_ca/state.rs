//! A development CA that outlives its process: one file with its whole state, written once, readable only by its owner.
//! Beside it are the root and the password, for people and their commands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::DevCa;
use super::authority::Authority;
use super::names::PermittedNames;
use super::provisioners::{JWK, JwkProvisioner};
use crate::error::{Error, ErrorKind, Result};
use crate::host::env::Env;
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::pki::key::PrivateKey;
use crate::rootfs::own_directory::{DirectoryRequest, OwnDirectory, Unavailable};
use crate::rootfs::{Meta, Sysroot, host, remedy};
use crate::text;
use crate::versioned::{Field, Format, Unreadable};

const STATE: &str = "ca.json";
const ROOT: &str = "root.pem";
const PASSWORD: &str = "password";
/// Two certificates, two keys.
const LIMIT: u64 = 64 * 1024;
const VERSION: u64 = 1;
const FORMAT: Format = Format {
    what: "state of a development CA",
    field: Field::Version,
    newest: VERSION,
    unnamed: Some(VERSION),
};

/// The file. It is written once: fields that only a newer trustup knows stay in it.
#[derive(Serialize, Deserialize)]
struct StateFile {
    #[serde(default)]
    version: u64,
    root: String,
    intermediate: String,
    /// PKCS#8.
    intermediate_key: Zeroizing<String>,
    /// In addition to local ones.
    names: Vec<String>,
    provisioner: JwkProvisioner,
    password: Zeroizing<String>,
}

/// A CA in a directory; no other process runs it as long as this lives.
pub(crate) struct KeptCa {
    /// The CA.
    pub(crate) ca: Arc<DevCa>,
    /// Whether it was made by this run.
    pub(crate) is_new: bool,
    /// The file with its password.
    pub(crate) password_file: PathBuf,
    /// The file with its root.
    pub(crate) root_file: PathBuf,
    _place: OwnDirectory,
}

impl DevCa {
    /// The CA stored in `directory`; if there is none, it is made as by [`DevCa::with`], with the provisioner [`JWK`]
    /// if none is named.
    ///
    /// # Errors
    /// The directory cannot be made or used safely, another process runs this CA, it has ended, or it was made for
    /// other names or with another provisioner than the named one.
    pub(crate) fn open(
        env: &Env,
        directory: &Path,
        provisioner: Option<&str>,
        names: &[SubjectAltName],
    ) -> Result<KeptCa> {
        let host = Sysroot::open(Path::new("/"))?;
        let path = absolute(&host, directory)?;
        let shown = |name: &str| Path::new(&path).join(name);
        let accept = |meta: &Meta| refuse_shared(meta, &path);
        let wanted = DirectoryRequest { path: &path, make_above: false, stamp: None, accept: &accept };
        let place = OwnDirectory::open_at_once(&host, &wanted).map_err(|why| match why {
            Unavailable::Busy(_) => Error::failed("another process runs the CA of this directory")
                .at(directory.display())
                .hint("use that one, or stop it first; a second CA needs another directory (`--state DIR`)"),
            Unavailable::Failed(error) if error.kind() == ErrorKind::Unsupported => {
                error.hint("`--state DIR` names a directory on a file system with locks, such as a local disk or a tmpfs")
            }
            Unavailable::Failed(error) => error,
        })?;
        let damaged = |why: &dyn std::fmt::Display| {
            Error::failed("the CA that is kept here cannot be used")
                .at(shown(STATE).display())
                .because(anyhow::anyhow!("{why}"))
                .hint(format!(
                    "{} to start with a new CA; clients that trust the old root must bootstrap again",
                    remedy::remove_directory(&path)
                ))
        };
        let (ca, is_new) = match place.read(STATE, LIMIT)? {
            Some((bytes, meta)) => {
                let bytes = Zeroizing::new(bytes);
                if meta.mode & 0o077 != 0 || meta.uid != crate::host::privilege::uid() {
                    return Err(damaged(&"other users can read its keys, or wrote it"));
                }
                let place = shown(STATE).display().to_string();
                let kept: StateFile = FORMAT.read(&bytes, &place).map_err(|unreadable| match unreadable {
                    Unreadable::Newer(error) => error,
                    // The cause could quote a key.
                    Unreadable::Damaged(_) => damaged(&"it is not the state of a development CA"),
                })?;
                let ca = kept.restore(env).map_err(|error| damaged(&error))?;
                let ends = i64::try_from(ca.authority.ends()).unwrap_or(i64::MAX);
                if env.now() >= ends {
                    return Err(damaged(&format!("its root expired on {}", text::date(ends))));
                }
                let names = PermittedNames::new(names)?;
                if let Some(name) = names.given().iter().find(|name| !ca.authority.names().permit(name)) {
                    return Err(damaged(&format!("its root was made for other names, not for {name}")));
                }
                if let Some(other) = provisioner.filter(|name| *name != ca.provisioner()) {
                    let (its, other) = (text::escape(ca.provisioner()), text::escape(other));
                    return Err(damaged(&format!("its provisioner is `{its}`, not `{other}`")));
                }
                (ca, false)
            }
            None => {
                let ca = DevCa::with(env, provisioner.unwrap_or(JWK), names)?;
                write(&place, STATE, &StateFile::of(&ca)?, 0o600)?;
                (ca, true)
            }
        };
        write(&place, ROOT, ca.root_pem().as_bytes(), 0o644)?;
        write(&place, PASSWORD, ca.password().as_bytes(), 0o600)?;
        Ok(KeptCa {
            ca: Arc::new(ca),
            is_new,
            password_file: shown(PASSWORD),
            root_file: shown(ROOT),
            _place: place,
        })
    }
}

impl StateFile {
    fn of(ca: &DevCa) -> Result<Zeroizing<Vec<u8>>> {
        let failed =
            |error: serde_json::Error| Error::failed("could not write the CA's state").because(error);
        let kept = StateFile {
            version: VERSION,
            root: ca.root_pem(),
            intermediate: ca.authority.intermediate().to_pem(),
            intermediate_key: ca.authority.key().to_pem(),
            names: ca.authority.names().given().iter().map(ToString::to_string).collect(),
            provisioner: ca.provisioners.jwk().clone(),
            password: ca.password.clone(),
        };
        serde_json::to_vec_pretty(&kept).map(Zeroizing::new).map_err(failed)
    }

    fn restore(self, env: &Env) -> Result<DevCa> {
        let certificate = |text: &str| {
            let found = Certificate::all_in(text.as_bytes()).into_iter().next();
            found.ok_or_else(|| Error::failed("a certificate in it cannot be read"))
        };
        let names = self.names.iter().map(|name| name.parse()).collect::<Result<Vec<_>>>()?;
        let authority = Authority::load(
            certificate(&self.root)?,
            certificate(&self.intermediate)?,
            PrivateKey::from_pem(self.intermediate_key.as_bytes())?,
            PermittedNames::new(&names)?,
        )?;
        DevCa::assemble(env, authority, self.provisioner, self.password)
    }
}

/// The directory's absolute path; if it exists, without a link at its end.
fn absolute(host: &Sysroot, directory: &Path) -> Result<String> {
    let path = host::absolute_text(directory)?;
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
    Ok(host.canonical(path)?.unwrap_or_else(|| path.to_owned()))
}

/// No other user may write in the directory.
fn refuse_shared(meta: &Meta, path: &str) -> Result<()> {
    let us = crate::host::privilege::uid();
    if meta.mode & 0o022 == 0 && (meta.uid == us || meta.uid == 0) {
        return Ok(());
    }
    Err(Error::failed("other users can write to the directory that is to keep the CA's keys")
        .at(path)
        .hint(if meta.uid == us || meta.uid == 0 {
            format!("{}, or name a directory of your own with `--state DIR`", remedy::chmod(path, meta.uid, "700"))
        } else {
            format!("it belongs to user {}: name a directory of user {us} with `--state DIR`, or `chown {us} {path}` as root", meta.uid)
        }))
}

fn write(place: &OwnDirectory, name: &str, content: &[u8], mode: u32) -> Result<()> {
    if let Some((there, meta)) = place.read(name, LIMIT)?
        && there == content
        && meta.mode & 0o7777 == mode
    {
        return Ok(());
    }
    place.write_with_mode(name, content, mode)
}
