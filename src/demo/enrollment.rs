//! The second half of trustup's work: a certificate from the demo's CA, a TLS server that serves it, and clients with
//! the stores of a root file system that accept that server.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::pair_server::PairServer;
use super::{Demo, could_not, expect, inspect_root_file_system, unproven};
use crate::error::Result;
use crate::rootfs::Sysroot;

/// The certificate's name; the client finds it on loopback.
pub(super) const HOST: &str = "web.internal";

/// What was proven of enrollment.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnrollmentReport {
    /// What the certificate is for.
    pub(crate) name: &'static str,
    /// The stores whose clients accepted a server with the pair.
    pub(crate) accepted_by: Vec<String>,
    /// How many connections the CA saw for it.
    pub(crate) connections: usize,
    /// The second run changed nothing and asked no server.
    pub(crate) second_run_idle: bool,
}

/// Bytes, time of last change and inode of a file.
type FileIdentity = (Vec<u8>, (i64, i64), u64);

impl Demo<'_, '_> {
    /// Enrolls below `scratch`, and asks a server that serves the pair with every store of the root file system
    /// `directory`.
    pub(super) async fn enrollment(&self, scratch: &Path, directory: &Path) -> Result<EnrollmentReport> {
        self.say("");
        self.say(&format!("== a certificate for {HOST}"));
        let sysroot = Sysroot::open(directory)?;
        let password = scratch.join("password");
        private_file(&password, self.ca.password())?;
        expect(self.bootstrap(directory, &[]).await, 0, "bootstrap")?;

        let [cert, key] = pair(scratch);
        let connections = self.server.connections();
        expect(self.enroll(scratch, &[]).await, 0, "enroll")?;
        let used = self.server.connections() - connections;
        let first = [see(&cert)?, see(&key)?];

        let pair = PairServer::start(&cert, &key)?;
        let (_, _, outputs) = inspect_root_file_system(&sysroot).await?;
        let url = format!("https://{HOST}:{}", pair.address.port());
        let mut accepted_by = Vec::new();
        for (store, answer) in self.ask_with_every_store(&sysroot, &outputs, &url, "a server with it").await?
        {
            if !answer.accepted {
                return Err(unproven("a client refuses a server with the certificate", &store.path));
            }
            accepted_by.push(store.path);
        }
        if accepted_by.is_empty() {
            return Err(unproven("there is no store to ask with", directory));
        }
        if self.accepts(vec![self.stranger()?], &url).await? {
            return Err(unproven("a client with another root accepted the server", directory));
        }
        self.say("  a client with another root refuses a server with it");

        let connections = self.server.connections();
        expect(self.enroll(scratch, &[]).await, 0, "the second run")?;
        if [see(&cert)?, see(&key)?] != first {
            return Err(unproven("the second run changed the pair", scratch));
        }
        if self.server.connections() != connections {
            return Err(unproven("the second run asked the CA, although the pair is good", scratch));
        }
        self.say("  nothing changed, and the CA was not asked");
        expect(self.trustup(directory, &["untrust", "--all"]).await, 0, "untrust")?;
        Ok(EnrollmentReport { name: HOST, accepted_by, connections: used, second_run_idle: true })
    }

    /// Gets the pair below `scratch` by the password there, with more options.
    pub(super) async fn enroll(&self, scratch: &Path, more: &[&str]) -> u8 {
        let (url, pin) = (self.server.url(), self.ca.fingerprint().hex());
        let password = scratch.join("password").display().to_string();
        let [cert, key] = pair(scratch).map(|path| path.display().to_string());
        let provisioner = self.ca.provisioner();
        #[rustfmt::skip]
        let arguments = [
            "enroll", "provisioner", HOST, "--ca-url", &url, "--fingerprint", &pin,
            "--provisioner", provisioner, "--password-file", &password, "--cert", &cert, "--key", &key,
        ];
        self.run(&[&arguments, more].concat()).await
    }

    /// The root of another CA.
    fn stranger(&self) -> Result<Vec<u8>> {
        Ok(crate::dev_ca::DevCa::new(self.env)?.root_der().to_vec())
    }
}

/// The certificate and its key.
pub(super) fn pair(scratch: &Path) -> [PathBuf; 2] {
    ["web.pem", "web.key"].map(|name| scratch.join(name))
}

fn see(path: &Path) -> Result<FileIdentity> {
    let missing = |_| unproven("enroll ended well, and the file is not there", path);
    let meta = fs::metadata(path).map_err(missing)?;
    Ok((fs::read(path).map_err(missing)?, (meta.mtime(), meta.mtime_nsec()), meta.ino()))
}

fn private_file(path: &Path, content: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|error| could_not(path, error))
}
