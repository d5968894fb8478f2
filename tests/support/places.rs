//! Where the repository is, and what cargo built of it.

use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn repository() -> &'static Path {
    let parents = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    parents.into_iter().nth(2).expect("this crate is in `tests/support`")
}

/// Where cargo puts the binaries of this build: the running test is one level below, in `deps`.
pub(crate) fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("the running test");
    test.ancestors().nth(2).expect("a directory of cargo").to_owned()
}

/// The directory `target`, which has one for each profile.
pub(crate) fn target() -> PathBuf {
    binaries().parent().expect("a profile is in `target`").to_owned()
}
