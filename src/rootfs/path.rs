//! Paths as text: absolute, as seen inside a root file system.

/// Splits `/a/b/c` into `/a/b` and `c`.
pub(crate) fn split(path: &str) -> (&str, &str) {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", ""),
    }
}

/// `name` in the directory `path`.
pub(crate) fn child(path: &str, name: &str) -> String {
    // Without `format!`, which would cost most: this is called for every entry of every directory.
    let directory = path.trim_end_matches('/');
    let mut child = String::with_capacity(directory.len() + 1 + name.len());
    child.push_str(directory);
    child.push('/');
    child.push_str(name);
    child
}

/// Where a link in `directory` with this target leads, not yet resolved.
pub(crate) fn join(directory: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { child(directory, target) }
}
