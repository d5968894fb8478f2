//! The daemon renews the certificate of a running service, and clients see the new one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::enrollment::{HOST, pair};
use super::pair_server::{PairServer, served};
use super::{Demo, expect, unproven};
use crate::error::Result;

/// The life of the certificate, and how much of it is left when it is renewed: a demo cannot last for days.
const LIFE: &str = "2m";
const DUE: &str = "1m58s";
/// A renewal that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks of the client.
const PAUSE: Duration = Duration::from_millis(100);

/// What was proven of the daemon.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RenewalReport {
    /// The serial number that a client saw first, hexadecimal.
    pub(crate) former_serial: String,
    /// The one that it saw later, while the server kept running.
    pub(crate) served_serial: String,
}

impl Demo<'_, '_> {
    /// Lets the daemon renew the pair below `scratch` while a server serves it.
    pub(super) async fn renewal(&self, scratch: &Path) -> Result<RenewalReport> {
        self.say("");
        self.say("== the daemon renews it");
        expect(self.enroll(scratch, &["--force", "--not-after", LIFE]).await, 0, "enroll")?;
        let [cert, key] = pair(scratch);
        let server = PairServer::start(&cert, &key)?;
        let serial =
            || served(server.address, HOST, self.ca.root_der()).map(|leaf| hex::encode(leaf.serial()));
        let former_serial = serial()?;
        self.say(&format!("  a client sees the certificate with the serial number {former_serial}"));
        let [cert, key] = [&cert, &key].map(|path| path.display().to_string());
        let arguments = ["renew", "--daemon", "--cert", &cert, "--key", &key, "--due", DUE];
        let watch = async {
            let began = Instant::now();
            while began.elapsed() < PATIENCE {
                tokio::time::sleep(PAUSE).await;
                let seen = serial()?;
                if seen != former_serial {
                    return Ok(seen);
                }
            }
            Err(unproven("the daemon did not renew the certificate", scratch))
        };
        let served_serial = tokio::select! {
            _ = self.run(&arguments) => return Err(unproven("the daemon ended", scratch)),
            seen = watch => seen?,
        };
        self.say(&format!("  a client sees the certificate with the serial number {served_serial}"));
        Ok(RenewalReport { former_serial, served_serial })
    }
}
