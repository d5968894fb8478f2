//! Random bytes from the kernel through ring: the only source, for keys, tokens, names of staged files and pauses.
#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for randomness")]

use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

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

/// Random bits that spread pauses; 0 if the kernel gave none, which was found out when the program began.
pub(crate) fn jitter() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes).map_or(0, |()| u64::from_ne_bytes(bytes))
}

/// Random bytes that were drawn beforehand: what is computed from them depends on nothing but its input.
pub(crate) struct Seed([u8; 32]);

impl Seed {
    /// Draws a seed.
    ///
    /// # Errors
    /// The kernel gave no random bytes.
    pub(crate) fn draw() -> Result<Self> {
        let mut seed = [0; 32];
        fill(&mut seed)?;
        Ok(Seed(seed))
    }

    /// A source of random bytes for one purpose: each purpose has bytes of its own, and the same ones again if asked
    /// again. For salts, not for keys: nothing wipes them from memory.
    pub(crate) fn stream(&self, purpose: &[&str]) -> impl FnMut(&mut [u8]) -> Result<()> + use<> {
        let mut hash = Sha256::new_with_prefix(self.0);
        for part in purpose {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut number: u64 = 0;
        move |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let block = hash.clone().chain_update(number.to_be_bytes()).finalize();
                chunk.copy_from_slice(&block[..chunk.len()]);
                number += 1;
            }
            Ok(())
        }
    }
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

    #[test]
    fn a_seed_gives_each_purpose_bytes_of_its_own_and_the_same_again() {
        let seed = Seed::draw().expect("random bytes");
        let bytes = |seed: &Seed, purpose: &[&str]| {
            let mut stream = seed.stream(purpose);
            let (mut first, mut second) = ([0; 40], [0; 8]);
            stream(&mut first).expect("bytes");
            stream(&mut second).expect("bytes");
            [&first[..], &second].concat()
        };
        let one = bytes(&seed, &["a", "b"]);
        assert_eq!(one, bytes(&seed, &["a", "b"]));
        assert!(one[..8] != one[32..40] && one[..8] != one[40..]);
        assert_ne!(one, bytes(&seed, &["ab"]));
        assert_ne!(one, bytes(&seed, &["a", "c"]));
        assert_ne!(one, bytes(&Seed::draw().expect("random bytes"), &["a", "b"]));
    }
}
