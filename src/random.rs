//! Random bytes from the kernel through ring: the only source, for keys, tokens, names of staged files and pauses.
#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for randomness")]

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::{Error, Result};

/// The source, for functions of ring that use it themselves.
pub(crate) fn source() -> SystemRandom {
    SystemRandom::new()
}

/// Fills all of `bytes`.
///
/// # Errors
/// The kernel gave no random bytes; `bytes` must not be used then.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    source().fill(bytes).map_err(unavailable)
}

/// The error if ring, using [`source`], failed: it gives no reason.
pub(crate) fn unavailable(_: ring::error::Unspecified) -> Error {
    Error::failed("the kernel gave no random bytes")
        .hint("a sandbox that filters system calls must allow `getrandom`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_byte_anew() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        fill(&mut one).expect("random bytes");
        fill(&mut other).expect("random bytes");
        assert!(one != other && one[16..] != [0; 16] && one[..16] != [0; 16]);
    }
}
