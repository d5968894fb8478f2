//! `/etc/resolv.conf` and `/etc/hosts` of a root file system. Container engines, DHCP clients and VPNs rewrite both while
//! a process runs: they are read again before each lookup, and compared byte by byte. Times and sizes would miss a second
//! change within one tick of the kernel's clock.

use std::path::{Path, PathBuf};

use super::ResolverSettings;
use crate::error::Result;
use crate::rootfs::host;

/// Largest file that is read.
const MAX_CONFIGURATION: u64 = 4 * 1024 * 1024;

const RESOLV_CONF: &str = "etc/resolv.conf";
const HOSTS: &str = "etc/hosts";

/// Both files as they were read last.
#[derive(Debug)]
pub struct ResolverFiles {
    root: PathBuf,
    /// `None` if there is no such file.
    resolv_conf: Option<Vec<u8>>,
    hosts: Option<Vec<u8>>,
}

impl ResolverFiles {
    /// Those of the root file system at `root`. An unreadable file is ignored with a warning: an address, or a name
    /// from the other file, may be all that is needed.
    pub fn of_root(root: &Path, warn: &mut dyn FnMut(String)) -> Self {
        let mut read = |path: &str| {
            read(root, path).unwrap_or_else(|error| {
                warn(format!("ignoring an unreadable resolver file: {error}"));
                None
            })
        };
        ResolverFiles { root: root.to_owned(), resolv_conf: read(RESOLV_CONF), hosts: read(HOSTS) }
    }

    /// What they say.
    pub(super) fn settings(&self) -> ResolverSettings {
        ResolverSettings::from_texts(self.resolv_conf.as_deref(), self.hosts.as_deref())
    }

    /// What they say now, if one of them changed. One that cannot be read now counts as unchanged.
    pub(super) fn read_again(&mut self) -> Option<ResolverSettings> {
        let mut is_changed = false;
        for (path, known) in [(RESOLV_CONF, &mut self.resolv_conf), (HOSTS, &mut self.hosts)] {
            if let Ok(text) = read(&self.root, path)
                && text != *known
            {
                *known = text;
                is_changed = true;
            }
        }
        is_changed.then(|| self.settings())
    }
}

fn read(root: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let path = root.join(path);
    host::stat(&path)?.map(|_| host::read_file(&path, MAX_CONFIGURATION)).transpose()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test writes what others write")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_seen_once_and_what_cannot_be_read_is_no_change() {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("etc")).expect("etc");
        let (resolv_conf, hosts) = (root.path().join(RESOLV_CONF), root.path().join(HOSTS));
        fs::write(&resolv_conf, "nameserver 10.0.0.2\n").expect("resolv.conf");
        let mut files = ResolverFiles::of_root(root.path(), &mut |warning| panic!("{warning}"));
        let servers = |settings: ResolverSettings| -> Vec<String> {
            settings.servers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(servers(files.settings()), ["10.0.0.2:53"]);
        assert_eq!(files.read_again(), None);
        fs::write(&resolv_conf, "nameserver 10.0.0.3\n").expect("resolv.conf");
        assert_eq!(files.read_again().map(servers), Some(vec!["10.0.0.3:53".to_owned()]));
        assert_eq!(files.read_again(), None);
        fs::create_dir(&hosts).expect("a directory in place of the file");
        assert_eq!(files.read_again(), None);
        fs::remove_file(&resolv_conf).expect("resolv.conf");
        assert_eq!(files.read_again().map(servers), Some(Vec::new()), "without the file there is no server");

        let mut warnings = Vec::new();
        let files = ResolverFiles::of_root(root.path(), &mut |warning| warnings.push(warning));
        assert_eq!(servers(files.settings()), Vec::<String>::new());
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.starts_with("ignoring an unreadable resolver file: "), "{warning}");
    }
}
