//! Where Java's trust stores are in a root file system: in every installed JDK and JRE, and where distributions keep
//! one for all. Only reads; links resolve inside the root file system, and each real file is named once.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::rootfs::{FileKind, Sysroot, is_denied};

/// Directories with a Java in each subdirectory.
const OF_HOMES: [&str; 5] =
    ["/usr/lib/jvm", "/usr/lib64/jvm", "/opt/java", "/usr/java", "/root/.sdkman/candidates/java"];
/// Directories with a Java in those subdirectories whose name has this prefix.
const BY_PREFIX: [(&str, &str); 3] = [("/opt", "jdk"), ("/opt", "jre"), ("/usr/local", "openjdk-")];
/// The directory of the users' homes; each may have its own SDKMAN.
const USERS: &str = "/home";
const SDKMAN: &str = ".sdkman/candidates/java";
/// The directories in which a shell would find `java`.
const BIN: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// The distributions' keystores for every Java: Debian and Alpine (and Arch, where it is a link), RHEL, SUSE.
pub(crate) const SHARED: [&str; 4] = [
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/var/lib/ca-certificates/java-cacerts",
];
/// Below a home: of a JDK since 9 and of a JRE, of a JDK 8.
const SECURITY: [&str; 2] = ["lib/security", "jre/lib/security"];
/// In this order: Java reads the first that exists.
const NAMES: [&str; 2] = ["jssecacerts", "cacerts"];

/// A keystore that Java reads by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKeystore {
    /// The real file, all links resolved inside the root file system.
    pub path: String,
    /// The names that lead there; the first is the one to show.
    pub(crate) names: Vec<String>,
    /// Whether JAVA_HOME names a Java that reads it.
    pub(crate) is_named: bool,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Search {
    /// The keystores, by path.
    pub found: Vec<FoundKeystore>,
    /// Names that a Java would read and that are dangling links or missing: it trusts no root.
    pub missing: Vec<String>,
    /// Homes of Java on whose path another user could put something, and why: nothing is made there (threat T35).
    pub(crate) foreign: BTreeMap<String, String>,
    /// What could not be inspected: loops of links, something other than a file, a JAVA_HOME that the caller may not
    /// look into.
    pub problems: Vec<Error>,
    /// What the caller may not look into and nobody named, such as root's home: a Java there is not one that the caller
    /// runs. Worth a line of `-v`, no more.
    pub(crate) closed: Vec<String>,
}

/// Looks for the keystores of every Java in `sysroot`; `homes` are those named by JAVA_HOME, which come first.
pub fn find(sysroot: &Sysroot, homes: &[String]) -> Search {
    let mut search = Search::default();
    let mut seen = BTreeMap::new();
    for (home, is_named) in all_homes(sysroot, homes, &mut search) {
        for security in SECURITY {
            let directory = format!("{}/{security}", home.trim_end_matches('/'));
            let names = NAMES.map(|name| format!("{directory}/{name}"));
            let [instead, usual] = &names;
            // Java skips a dangling `jssecacerts`.
            let leads_somewhere = sysroot.stat(instead).is_ok_and(|meta| meta.is_some());
            let there = |name: &&String| sysroot.lstat(name).is_ok_and(|meta| meta.is_some());
            match Some(instead).filter(|_| leads_somewhere).or(Some(usual).filter(there)) {
                Some(name) => search.take(sysroot, name, is_named, &mut seen),
                None if is(sysroot, &directory, FileKind::Directory) => search.missing.push(usual.clone()),
                None => {}
            }
        }
    }
    for name in SHARED {
        match sysroot.stat(name) {
            Ok(Some(_)) => search.take(sysroot, name, false, &mut seen),
            Err(error) if is_denied(&error) => search.closed.push(name.to_owned()),
            Ok(None) | Err(_) => {}
        }
    }
    search.found.sort_by(|one, other| one.path.cmp(&other.path));
    search
}

impl Search {
    /// Why nothing may be made at `name` (a keystore below a home of Java); `None` if there is no reason.
    pub(crate) fn foreign_way(&self, name: &str) -> Option<&str> {
        let below =
            |home: &String| name.strip_prefix(home.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.foreign.iter().find(|(home, _)| below(home)).map(|(_, why)| why.as_str())
    }

    /// Notes an error at `path`; a refused permission is a problem only where the user named the place.
    fn note(&mut self, path: &str, is_named: bool, error: Error) {
        if is_denied(&error) && !is_named {
            self.closed.push(path.to_owned());
        } else {
            self.problems.push(error);
        }
    }

    /// Notes the file to which `name` leads, under its identity: a hard link is another name of the same file.
    fn take(
        &mut self,
        sysroot: &Sysroot,
        name: &str,
        is_named: bool,
        seen: &mut BTreeMap<(u64, u64), usize>,
    ) {
        let looked = sysroot.canonical(name).and_then(|path| match path {
            Some(path) => Ok(sysroot.stat(&path)?.map(|meta| (path, meta))),
            None => Ok(None),
        });
        match looked {
            Ok(Some((path, meta))) if meta.kind == FileKind::File => {
                let at = *seen.entry(meta.identity).or_insert(self.found.len());
                match self.found.get_mut(at) {
                    Some(found) => {
                        found.names.push(name.to_owned());
                        found.is_named |= is_named;
                    }
                    None => self.found.push(FoundKeystore { path, names: vec![name.to_owned()], is_named }),
                }
            }
            Ok(Some(_)) => self
                .problems
                .push(Error::failed("a Java keystore is not a regular file").at(sysroot.display(name))),
            Ok(None) => self.missing.push(name.to_owned()),
            Err(error) => self.note(name, is_named, error),
        }
    }
}

/// The homes, links resolved, each once, and whether JAVA_HOME names it.
fn all_homes(sysroot: &Sysroot, named: &[String], search: &mut Search) -> Vec<(String, bool)> {
    let mut candidates: Vec<String> = named.iter().filter(|home| home.starts_with('/')).cloned().collect();
    for directory in BIN {
        let java = sysroot.canonical(&format!("{directory}/java"));
        let home = java.ok().flatten().and_then(|java| java.strip_suffix("/bin/java").map(str::to_owned));
        candidates.extend(home);
    }
    let mut below = |directory: &str, prefix: &str| match sysroot.list(directory) {
        Ok(names) => {
            let names = names.unwrap_or_default();
            let names = names.iter().filter(|name| name.starts_with(prefix));
            candidates.extend(names.map(|name| format!("{directory}/{name}")));
        }
        Err(error) => search.note(directory, false, error),
    };
    OF_HOMES.iter().for_each(|directory| below(directory, ""));
    BY_PREFIX.iter().for_each(|(directory, prefix)| below(directory, prefix));
    for user in sysroot.list(USERS).ok().flatten().unwrap_or_default() {
        below(&format!("{USERS}/{user}/{SDKMAN}"), "");
    }
    let mut homes: Vec<(String, bool)> = Vec::new();
    for candidate in candidates {
        let is_named = named.contains(&candidate);
        let Some(home) = resolved(sysroot, &candidate, is_named, search) else { continue };
        let is_known = homes.iter().any(|(known, _)| *known == home);
        match sysroot.others_way(&candidate) {
            Ok(None) => drop(search.foreign.remove(&home)),
            Ok(Some(_)) if is_known && !search.foreign.contains_key(&home) => {}
            Ok(Some(why)) => drop(search.foreign.insert(home.clone(), why)),
            Err(error) => drop(search.foreign.insert(home.clone(), error.to_string())),
        }
        // A `java` in /usr/bin that is not a link is a user's script: there is no Java in /usr.
        if !is_known && home != "/usr" && home != "/" {
            homes.push((home, is_named));
        }
    }
    homes
}

/// The real directory at `path`.
fn resolved(sysroot: &Sysroot, path: &str, is_named: bool, search: &mut Search) -> Option<String> {
    let looked: Result<Option<String>> = sysroot.canonical(path);
    match looked {
        Ok(home) => home.filter(|home| is(sysroot, home, FileKind::Directory)),
        Err(error) => {
            search.note(path, is_named, error);
            None
        }
    }
}

fn is(sysroot: &Sysroot, path: &str, kind: FileKind) -> bool {
    sysroot.stat(path).is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == kind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests build the trees that they look at")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree of files, and of links where a target is given.
    fn tree(paths: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (path, target) in paths {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match *target {
                "" => fs::write(path, "").unwrap(),
                "/" => fs::create_dir_all(path).unwrap(),
                target => symlink(target, path).unwrap(),
            }
        }
        temp
    }

    fn search(paths: &[(&str, &str)], homes: &[&str]) -> Search {
        let temp = tree(paths);
        let homes: Vec<String> = homes.iter().map(|home| (*home).to_owned()).collect();
        find(&Sysroot::open(temp.path()).unwrap(), &homes)
    }

    fn paths(search: &Search) -> Vec<&str> {
        search.found.iter().map(|found| found.path.as_str()).collect()
    }

    #[test]
    fn each_real_file_is_found_once() {
        let debian = search(
            &[
                ("etc/ssl/certs/java/cacerts", ""),
                ("usr/lib/jvm/java-17-openjdk-amd64/bin/java", ""),
                ("usr/lib/jvm/java-17-openjdk-amd64/lib/security/cacerts", "/etc/ssl/certs/java/cacerts"),
                ("usr/lib/jvm/java-1.17.0-openjdk-amd64", "java-17-openjdk-amd64"),
                ("etc/alternatives/java", "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"),
                ("usr/bin/java", "/etc/alternatives/java"),
            ],
            &["/usr/lib/jvm/java-1.17.0-openjdk-amd64/", "relative", "/missing"],
        );
        assert_eq!(paths(&debian), ["/etc/ssl/certs/java/cacerts"]);
        assert_eq!(
            debian.found[0].names,
            ["/usr/lib/jvm/java-17-openjdk-amd64/lib/security/cacerts", "/etc/ssl/certs/java/cacerts"]
        );
        assert!(debian.missing.is_empty() && debian.problems.is_empty());
        let red_hat = search(
            &[
                ("etc/pki/ca-trust/extracted/java/cacerts", ""),
                ("etc/pki/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"),
                ("usr/lib/jvm/java-21-openjdk/lib/security/cacerts", "/etc/pki/java/cacerts"),
            ],
            &[],
        );
        assert_eq!(paths(&red_hat), ["/etc/pki/ca-trust/extracted/java/cacerts"]);
        assert_eq!(red_hat.found[0].names.len(), 3);
    }

    #[test]
    fn every_layout_is_known() {
        for (file, homes) in [
            ("opt/java/openjdk/lib/security/cacerts", &[][..]),
            ("opt/jdk-21.0.2/lib/security/cacerts", &[]),
            ("usr/java/jdk1.8.0/jre/lib/security/cacerts", &[]),
            ("usr/local/openjdk-11/lib/security/cacerts", &[]),
            ("root/.sdkman/candidates/java/25-tem/lib/security/cacerts", &[]),
            ("home/dev/.sdkman/candidates/java/25-tem/lib/security/cacerts", &[]),
            ("usr/lib64/jvm/java-21-openjdk-21/lib/security/cacerts", &[]),
            ("var/lib/ca-certificates/java-cacerts", &[]),
            ("srv/my java/lib/security/cacerts", &["/srv/my java"]),
        ] {
            assert_eq!(paths(&search(&[(file, "")], homes)), [format!("/{file}")]);
        }
        let by_program = search(
            &[
                ("srv/jdk8/jre/bin/java", ""),
                ("srv/jdk8/jre/lib/security/cacerts", ""),
                ("usr/local/bin/java", "../../../srv/jdk8/jre/bin/java"),
            ],
            &[],
        );
        assert_eq!(paths(&by_program), ["/srv/jdk8/jre/lib/security/cacerts"]);
        assert!(
            paths(&search(&[("usr/bin/java", ""), ("opt/other/lib/security/cacerts", "")], &[])).is_empty()
        );
    }

    #[test]
    fn jssecacerts_replaces_cacerts() {
        let files = [
            ("opt/java/openjdk/lib/security/cacerts", ""),
            ("opt/java/openjdk/lib/security/jssecacerts", ""),
        ];
        assert_eq!(paths(&search(&files, &[])), ["/opt/java/openjdk/lib/security/jssecacerts"]);
    }

    #[test]
    fn a_jssecacerts_that_leads_nowhere_is_passed_over() {
        let files = [
            ("opt/java/openjdk/lib/security/cacerts", ""),
            ("opt/java/openjdk/lib/security/jssecacerts", "/gone"),
        ];
        assert_eq!(paths(&search(&files, &[])), ["/opt/java/openjdk/lib/security/cacerts"]);
        assert_eq!(search(&files[1..], &[]).missing, ["/opt/java/openjdk/lib/security/cacerts"]);
    }

    #[test]
    fn what_is_missing_or_strange_is_said() {
        let strange = search(
            &[
                ("opt/java/a/lib/security/cacerts", "/etc/ssl/certs/java/cacerts"),
                ("opt/java/b/lib/security", "/"),
                ("opt/java/c/lib/security/cacerts", "cacerts"),
                ("opt/java/d/lib/security/cacerts", "/"),
                ("opt/java/e", "e"),
                ("opt/java/f/lib/security/cacerts", "../../../../../../../../etc/passwd"),
            ],
            &[],
        );
        assert!(paths(&strange).is_empty());
        assert_eq!(
            strange.missing,
            [
                "/opt/java/a/lib/security/cacerts",
                "/opt/java/b/lib/security/cacerts",
                "/opt/java/f/lib/security/cacerts"
            ]
        );
        assert_eq!(strange.problems.len(), 3, "{:?}", strange.problems);
    }

    #[test]
    fn another_name_of_the_same_file_is_no_other_file() {
        let temp = tree(&[("opt/java/a/lib/security/cacerts", ""), ("opt/java/b/lib/security", "/")]);
        let [one, other] =
            ["a", "b"].map(|home| temp.path().join(format!("opt/java/{home}/lib/security/cacerts")));
        fs::hard_link(one, other).unwrap();
        let search = find(&Sysroot::open(temp.path()).unwrap(), &[]);
        assert_eq!((search.found.len(), search.found[0].names.len()), (1, 2));
    }
}
