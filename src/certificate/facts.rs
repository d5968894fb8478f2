//! What exists at the paths of a pair: read once, changed never.

use super::check::{self, Roots, Vouched, Wanted};
use super::life::Life;
use super::place::{current, is_as_asked};
use super::{FILE_LIMIT, Layout, Outputs, PairContent};
use crate::error::Result;
use crate::host::privilege;
use crate::pki::cert::{Certificate, SubjectAltName, readers};
use crate::pki::key::{KeyType, PrivateKey};
use crate::rootfs::{FileKind, Meta, Sysroot};

/// What a good pair requires (threat T21).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairRequirements<'a> {
    /// Its names.
    pub(crate) names: &'a [SubjectAltName],
    /// Whether the CA may have added other names.
    pub(crate) allow_extra_names: bool,
    /// The kind of its key; `None` for any.
    pub(crate) key_type: Option<KeyType>,
    /// Where its chain ends.
    pub(crate) roots: &'a Roots,
}

/// What is there.
#[derive(Debug)]
pub(crate) enum PairState {
    /// Nothing at all.
    Nothing,
    /// Something to replace; the reason, in words that can follow a colon.
    Bad(String),
    /// A pair that was good until it expired; the reason, in words that can follow a colon.
    Expired(Box<Good>, String),
    /// A pair that works and is ours.
    Good(Box<Good>),
}

impl PairState {
    /// The pair, if it is good but for its age.
    pub(crate) fn pair(&self) -> Option<&Good> {
        match self {
            PairState::Good(good) | PairState::Expired(good, _) => Some(good),
            PairState::Nothing | PairState::Bad(_) => None,
        }
    }
}

/// A pair that works and is ours.
#[derive(Debug)]
pub(crate) struct Good {
    /// Leaf first.
    pub(crate) chain: Vec<Certificate>,
    /// How long it works.
    pub(crate) life: Life,
    /// Its key.
    pub(crate) key: PrivateKey,
    /// How far its chain is vouched for.
    pub(crate) vouched: Vouched,
    /// Whether every requested file exists, in the requested layout.
    pub(crate) is_whole: bool,
    /// Whether modes and owners are as requested, too.
    pub(crate) is_neat: bool,
}

/// Inspects what is at `outputs`.
///
/// # Errors
/// Something cannot be read.
pub(crate) fn inspect_pair(
    host: &Sysroot,
    outputs: &Outputs,
    request: &PairRequirements<'_>,
    now: i64,
) -> Result<PairState> {
    let bad = |why: String| Ok(PairState::Bad(why));
    if let Some(why) = unreadable(host, outputs)? {
        return bad(why);
    }
    let cert = read(host, &outputs.cert)?;
    let key = read(host, &outputs.key)?;
    let ((cert_bytes, cert_meta), (key_bytes, key_meta)) = match (cert, key) {
        (None, None) => return Ok(PairState::Nothing),
        (None, Some(_)) => return bad("there is a key without a certificate".to_owned()),
        (Some(_), None) => return bad("there is a certificate without its key".to_owned()),
        (Some(cert), Some(key)) => (cert, key),
    };
    if cert_bytes.iter().chain(&key_bytes).all(u8::is_ascii_whitespace) {
        // Files that were made as mount points.
        return Ok(PairState::Nothing);
    }
    if let Some(why) = unsafe_key(host, outputs, &key_meta)? {
        return bad(why);
    }
    let chain = match readers::read_chain(&cert_bytes) {
        Ok(chain) => chain,
        Err(why) => return bad(format!("the certificate file cannot be used: {why}")),
    };
    let key = match PrivateKey::from_pem(&key_bytes) {
        Ok(key) => key,
        Err(error) => return bad(format!("the key cannot be used: {}", error.what())),
    };
    if let Some(wanted) = request.key_type.filter(|wanted| key.key_type() != Some(*wanted)) {
        return bad(format!("the key is not of type {wanted}"));
    }
    let wanted = Wanted {
        allow_extra_names: request.allow_extra_names,
        public_key: key.public_key(),
        names: request.names,
        roots: request.roots,
    };
    let Some(life) = Life::of(&chain, &request.roots.certificates) else {
        return bad("the certificate file is empty".to_owned());
    };
    let (vouched, expired) = match check::check(&chain, &wanted, now) {
        Ok(vouched) => (vouched, None),
        Err(why) => {
            let why = format!("the certificate: {why}");
            // As it was in its last second.
            match check::check(&chain, &wanted, life.until) {
                Ok(vouched) if now > life.until => (vouched, Some(why)),
                _ => return bad(why),
            }
        }
    };
    let metas = [(&cert_meta, outputs.cert_mode), (&key_meta, outputs.key_mode)];
    let is_whole = has_others(host, outputs, &PairContent::new(&key, &chain, request.roots))?
        && has_layout(host, outputs)?;
    let is_neat = is_whole && metas.iter().all(|(meta, mode)| is_as_asked(meta, outputs, *mode));
    let good = Box::new(Good { chain, life, key, vouched, is_whole, is_neat });
    Ok(match expired {
        Some(why) => PairState::Expired(good, why),
        None => PairState::Good(good),
    })
}

fn read(host: &Sysroot, path: &str) -> Result<Option<(Vec<u8>, Meta)>> {
    host.read(path, FILE_LIMIT)
}

/// A file that belongs to another user and cannot even be read, as after a change of `USER` in an image; it can be
/// replaced if the directory is ours.
fn unreadable(host: &Sysroot, outputs: &Outputs) -> Result<Option<String>> {
    let us = privilege::uid();
    for (what, path) in [("certificate", &outputs.cert), ("key", &outputs.key)] {
        if let Some(meta) = host.stat(path)?
            && meta.kind == FileKind::File
            && meta.uid != us
            && us != 0
            && read(host, path).is_err()
        {
            return Ok(Some(format!("the {what} belongs to user {}, and cannot be read", meta.uid)));
        }
    }
    Ok(None)
}

/// Who else may know the key, or could have put it there.
fn unsafe_key(host: &Sysroot, outputs: &Outputs, meta: &Meta) -> Result<Option<String>> {
    let uid = privilege::uid();
    let owner = outputs.owner.map(|(uid, _)| uid);
    if meta.uid != uid && Some(meta.uid) != owner {
        return Ok(Some(format!("the key belongs to user {}", meta.uid)));
    }
    let wider = meta.mode & 0o077 & !outputs.key_mode;
    if wider != 0 {
        // A volume with `fsGroup` has this mode after each start of a pod, whatever trustup gave the file.
        let remedy = if meta.mode & 0o007 == 0 && outputs.key_mode & 0o060 != 0o060 {
            "; if its group may, as with Kubernetes' `fsGroup`: `--key-mode 0660`"
        } else {
            ""
        };
        return Ok(Some(format!(
            "other users could read or change the key (mode {:04o}){remedy}",
            meta.mode
        )));
    }
    for (_, path) in outputs.paths() {
        let real = host.canonical(path)?;
        for path in std::iter::once(path).chain(real.as_deref()) {
            if let Some(why) = outputs.protection(host, path)?.danger {
                return Ok(Some(format!("other users could have put it there: {why}")));
            }
        }
    }
    Ok(None)
}

/// Whether the files beside certificate and key hold what they should.
fn has_others(host: &Sysroot, outputs: &Outputs, content: &PairContent) -> Result<bool> {
    for (path, wanted) in [(&outputs.chain, &content.chain), (&outputs.ca_out, &content.roots)] {
        let Some(path) = path else { continue };
        let is_so = read(host, path)?.is_some_and(|(bytes, meta)| {
            bytes == wanted.as_bytes() && is_as_asked(&meta, outputs, outputs.cert_mode)
        });
        if !is_so {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether each file is a link into the directory of its version, or none is.
fn has_layout(host: &Sysroot, outputs: &Outputs) -> Result<bool> {
    let current = format!("{}/", current(outputs));
    for (_, path) in outputs.paths() {
        let target = host.read_link(path)?;
        let is_as_asked = match outputs.layout {
            Layout::Versioned => target.is_some(),
            // Links that another program made are fine: they lead to a good pair.
            Layout::Files => !target.is_some_and(|target| target.starts_with(&current)),
        };
        if !is_as_asked {
            return Ok(false);
        }
    }
    Ok(true)
}
