//! PBKDF2 with HMAC-SHA-256 (RFC 8018 section 5.2) for one block of 32 bytes, which suffices for a JWE's password.
//!
//! Every round hashes one block of known shape twice, so only the compression function is called: the generic code
//! between it and PBKDF2 is optimised for size in the shipped binary, and costs a quarter of the time of an enrollment
//! there (`cargo xtask bench --only-enroll`).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// FIPS 180-4 section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

const BLOCK: usize = 64;
const OUTPUT: usize = 32;

/// Derives 32 bytes; `iterations` of 0 counts as 1.
pub(super) fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; OUTPUT]> {
    #[cfg(test)]
    crate::pki::cert::testing::derived_blocks(iterations, 1);
    // RFC 2104: a key longer than a block is hashed first.
    let mut key = Zeroizing::new([0; BLOCK]);
    if password.len() > BLOCK {
        key[..OUTPUT].copy_from_slice(&Sha256::digest(password));
    } else {
        key[..password.len()].copy_from_slice(password);
    }
    let [inner, outer] = [0x36, 0x5c].map(|pad| {
        let block = Zeroizing::new(key.map(|byte| byte ^ pad));
        let mut state = Zeroizing::new(INITIAL);
        compress256(&mut state, std::slice::from_ref(&*block));
        state
    });
    // Only the first round has an input of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(password) else { return Zeroizing::new([0; OUTPUT]) };
    mac.update(salt);
    mac.update(&1_u32.to_be_bytes());
    // The input of the other rounds: 32 bytes after a block of the key, and FIPS 180-4's padding for 96 bytes.
    let mut block = Zeroizing::new([0; BLOCK]);
    block[..OUTPUT].copy_from_slice(&mac.finalize().into_bytes());
    block[OUTPUT] = 0x80;
    block[BLOCK - 2..].copy_from_slice(&((BLOCK + OUTPUT) as u16 * 8).to_be_bytes());
    let mut derived = Zeroizing::new([0; OUTPUT]);
    derived.copy_from_slice(&block[..OUTPUT]);
    let mut state = Zeroizing::new(INITIAL);
    for _ in 1..iterations {
        for start in [&inner, &outer] {
            *state = **start;
            compress256(&mut state, std::slice::from_ref(&*block));
            for (bytes, word) in block.chunks_exact_mut(4).zip(state.iter()) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
        }
        for (derived, byte) in derived.iter_mut().zip(block.iter()) {
            *derived ^= byte;
        }
    }
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        // RFC 7914 section 11, the first 32 bytes.
        for (password, salt, iterations, wanted) in [
            ("passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
            ("Password", "NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
        ] {
            let derived = pbkdf2(password.as_bytes(), salt.as_bytes(), iterations);
            assert_eq!(hex::encode(*derived), wanted, "{password}");
        }
    }

    #[test]
    fn it_derives_what_the_generic_one_derives() {
        for length in [0, 1, 31, 32, 63, 64, 65, 200] {
            for iterations in [1, 2, 3, 100] {
                let password: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
                let salt = vec![7; length + 8];
                let mut wanted = [0; OUTPUT];
                pbkdf2::pbkdf2_hmac::<Sha256>(&password, &salt, iterations, &mut wanted);
                assert_eq!(*pbkdf2(&password, &salt, iterations), wanted, "{length} {iterations}");
            }
        }
    }
}
