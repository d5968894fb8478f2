//! The texts of the units: a service that renews what is due, and a timer that starts it.
//!
//! Source of the rules: systemd.unit(5), systemd.exec(5), systemd.service(5) § Command lines, systemd.timer(5). Everything
//! here is known to systemd 232 and later, which warns of what it does not know and goes on.

use crate::error::{Error, Result};
use crate::text;

/// The first line of both files: only a file with it is ever replaced or removed.
pub(crate) const MARK: &str =
    "# Written by trustup: `trustup renew --remove-timer` removes it. Changes belong into `systemctl edit`.";

/// Directories that `ProtectSystem=full` makes read-only (systemd.exec(5)).
const READ_ONLY: [&str; 4] = ["/usr", "/boot", "/efi", "/etc"];
/// Those that `ProtectHome=read-only` does.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Those that `PrivateTmp=` replaces.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// What the service runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceCommand {
    /// The absolute path of trustup, and its arguments.
    pub(crate) words: Vec<String>,
    /// Directories that it writes to.
    pub(crate) directories: Vec<String>,
    /// Files that it reads, which must not be hidden from it.
    pub(crate) reads: Vec<String>,
    /// Whether it runs programs of the user.
    pub(crate) has_hooks: bool,
}

impl ServiceCommand {
    /// The service, hardened as far as renewals and hooks still work (threat T46).
    ///
    /// # Errors
    /// A word or path that no unit can have.
    pub(crate) fn service(&self) -> Result<String> {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word, true)).collect::<Result<_>>()?;
        let mut writable: Vec<&String> = self.directories.iter().filter(|path| is_read_only(path)).collect();
        writable.sort();
        writable.dedup();
        let writable: Vec<String> =
            writable.into_iter().map(|path| quoted(path, false)).collect::<Result<_>>()?;
        let mut lines = vec![
            MARK.to_owned(),
            "[Unit]".to_owned(),
            "Description=Renew TLS certificates that are due (trustup)".to_owned(),
            "Wants=network-online.target".to_owned(),
            "After=network-online.target".to_owned(),
            String::new(),
            "[Service]".to_owned(),
            "Type=oneshot".to_owned(),
            format!("ExecStart={}", words.join(" ")),
            "UMask=0077".to_owned(),
            "# System directories are read-only, but for those of the certificates.".to_owned(),
            "ProtectSystem=full".to_owned(),
            "ProtectHome=read-only".to_owned(),
        ];
        lines.extend(writable.iter().map(|path| format!("ReadWritePaths={path}")));
        let uses_temporary = self.directories.iter().chain(&self.reads).any(|path| below(path, &TEMPORARY));
        lines.push(match uses_temporary {
            true => "# No PrivateTmp=: a file that it needs is in a temporary directory.".to_owned(),
            false => "PrivateTmp=yes".to_owned(),
        });
        lines.extend(LIMITS.map(str::to_owned));
        lines.push(match self.has_hooks {
            true => "# No MemoryDenyWriteExecute=: a hook may be a program with a just-in-time compiler."
                .to_owned(),
            false => "MemoryDenyWriteExecute=yes".to_owned(),
        });
        Ok(lines.join("\n") + "\n")
    }
}

/// Whether the service cannot write to this directory unless the unit says so.
pub(crate) fn is_read_only(directory: &str) -> bool {
    below(directory, &READ_ONLY) || below(directory, &HOMES)
}

fn below(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| path == *root || path.starts_with(&format!("{root}/")))
}

/// What neither a renewal nor the reload of a service needs.
const LIMITS: [&str; 19] = [
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    "# Servers, systemd and the service that a hook speaks to; names are looked up over netlink, too.",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "# Files of other owners, their directories under their rights, signals to services, and port 80 for ACME.",
    "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL CAP_NET_BIND_SERVICE",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
];

/// The timer.
pub(crate) fn timer() -> String {
    format!(
        "{MARK}
[Unit]
Description=Renew TLS certificates that are due (trustup), several times an hour

[Timer]
# Most runs find nothing due and ask no server. A machine that was off makes up for the missed run.
OnCalendar=*:0/15
RandomizedDelaySec=5min
Persistent=yes

[Install]
WantedBy=timers.target
"
    )
}

/// A word of a setting in double quotes, with specifiers (`%`) and, in a command line, variables (`$`) escaped.
fn quoted(word: &str, is_command: bool) -> Result<String> {
    if word.chars().any(char::is_control) {
        return Err(Error::usage("a unit cannot have a word with control characters")
            .at(text::escape(word))
            .hint("name the file otherwise"));
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '$' if is_command => quoted.push_str("$$"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], directories: &[&str]) -> ServiceCommand {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ServiceCommand { words: owned(words), directories: owned(directories), ..ServiceCommand::default() }
    }

    #[test]
    fn words_are_escaped_as_systemd_demands() {
        let unit =
            command(&["/opt/a b/trustup", "renew", "--cert", "/x/%i$HOME\"\\.crt"], &[]).service().unwrap();
        let line = r#"ExecStart="/opt/a b/trustup" "renew" "--cert" "/x/%%i$$HOME\"\\.crt""#;
        assert!(unit.lines().any(|found| found == line), "{unit}");
        assert!(command(&["/bin/trustup", "a\nExecStart=/bin/sh"], &[]).service().is_err());
        let unit = command(&["/bin/trustup"], &["/etc/a %b", "/run/tls", "/etc/a %b"]).service().unwrap();
        assert_eq!(unit.matches("ReadWritePaths=").count(), 1, "{unit}");
        assert!(unit.contains("ReadWritePaths=\"/etc/a %%b\"\n"), "{unit}");
        assert!(command(&["/bin/trustup"], &["/etc/a\nb"]).service().is_err());
    }

    #[test]
    fn what_it_needs_is_not_hidden() {
        let unit = |directories: &[&str]| command(&["/bin/trustup"], directories).service().unwrap();
        assert!(unit(&["/run/tls"]).contains("\nPrivateTmp=yes\n"));
        assert!(!unit(&["/tmp/tls"]).contains("\nPrivateTmp=yes\n"));
        assert!(unit(&["/root/tls"]).contains("ReadWritePaths=\"/root/tls\""));
        assert!(unit(&[]).contains("\nMemoryDenyWriteExecute=yes\n"));
        let hooks = ServiceCommand { has_hooks: true, ..command(&["/bin/trustup"], &[]) };
        assert!(!hooks.service().unwrap().contains("\nMemoryDenyWriteExecute="));
    }
}
