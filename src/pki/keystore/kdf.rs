//! Keys from passwords: PKCS#12's own derivation (RFC 7292 appendix B) and PBKDF2 (RFC 8018 section 5.2). Derived keys
//! are wiped when they are dropped. Pure; the callers bound the iterations first (threat T19).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::StorePassword;

/// A password in the forms that the two derivations need.
pub(super) struct EncodedPassword {
    /// UTF-8, for PBKDF2.
    pub(super) utf8: Zeroizing<Vec<u8>>,
    /// UTF-16, big-endian, with a final zero character, for PKCS#12's own.
    pub(super) bmp: Zeroizing<Vec<u8>>,
}

impl EncodedPassword {
    /// As in RFC 7292.
    pub(super) fn of(password: &StorePassword) -> EncodedPassword {
        let mut bmp = password.utf_16();
        bmp.extend([0, 0]);
        EncodedPassword { utf8: Zeroizing::new(password.text().as_bytes().to_vec()), bmp }
    }

    /// The other reading of an empty password: not even the final zero (Java tries both).
    pub(super) fn nothing() -> EncodedPassword {
        EncodedPassword { utf8: Zeroizing::default(), bmp: Zeroizing::default() }
    }
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The purpose of a key derived by PKCS#12's own function (RFC 7292 appendix B.3).
#[derive(Clone, Copy, Debug)]
pub(super) enum DerivationPurpose {
    Encryption = 1,
    InitialValue = 2,
    Mac = 3,
}

/// Calls a generic function with the hash's type.
macro_rules! with_hash {
    ($hash:expr, $function:ident($($argument:expr),*)) => {
        match $hash {
            Hash::Sha1 => $function::<Sha1>($($argument),*),
            Hash::Sha224 => $function::<Sha224>($($argument),*),
            Hash::Sha256 => $function::<Sha256>($($argument),*),
            Hash::Sha384 => $function::<Sha384>($($argument),*),
            Hash::Sha512 => $function::<Sha512>($($argument),*),
        }
    };
}

impl Hash {
    /// Bytes of a digest.
    pub(super) fn size(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha224 => 28,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// Bytes of its blocks.
    fn block(self) -> usize {
        match self {
            Hash::Sha1 | Hash::Sha224 | Hash::Sha256 => 64,
            Hash::Sha384 | Hash::Sha512 => 128,
        }
    }

    /// HMAC (RFC 2104).
    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        macro_rules! hmac {
            ($hash:ty) => {
                // A key of any length is accepted.
                Hmac::<$hash>::new_from_slice(key)
                    .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
                    .unwrap_or_default()
            };
        }
        match self {
            Hash::Sha1 => hmac!(Sha1),
            Hash::Sha224 => hmac!(Sha224),
            Hash::Sha256 => hmac!(Sha256),
            Hash::Sha384 => hmac!(Sha384),
            Hash::Sha512 => hmac!(Sha512),
        }
    }

    /// PBKDF2 with HMAC of this hash.
    pub(super) fn pbkdf2(
        self,
        secret: &EncodedPassword,
        salt: &[u8],
        iterations: u32,
        length: usize,
    ) -> Zeroizing<Vec<u8>> {
        use pbkdf2::pbkdf2_hmac;
        #[cfg(test)]
        crate::pki::cert::testing::derived_blocks(iterations, length.div_ceil(self.size()));
        let mut key = Zeroizing::new(vec![0; length]);
        with_hash!(self, pbkdf2_hmac(&secret.utf8, salt, iterations, &mut key));
        key
    }

    /// PKCS#12's own derivation.
    pub(super) fn pkcs12(
        self,
        purpose: DerivationPurpose,
        secret: &EncodedPassword,
        salt: &[u8],
        iterations: u32,
        length: usize,
    ) -> Zeroizing<Vec<u8>> {
        #[cfg(test)]
        crate::pki::cert::testing::derived_blocks(iterations, length.div_ceil(self.size()));
        let block = self.block();
        let filled = |bytes: &[u8]| bytes.len().div_ceil(block) * block;
        let (of_salt, of_password) = (filled(salt), filled(&secret.bmp));
        let mut input = Zeroizing::new(Vec::with_capacity(of_salt + of_password));
        input.extend(salt.iter().cycle().take(of_salt));
        input.extend(secret.bmp.iter().cycle().take(of_password));
        let mut key = Zeroizing::new(Vec::with_capacity(length + self.size()));
        let diversifier = vec![purpose as u8; block];
        while key.len() < length {
            let mut digest = Zeroizing::new(vec![0; self.size()]);
            with_hash!(self, digest_of(&[&diversifier, &input], &mut digest));
            for _ in 1..iterations {
                with_hash!(self, digest_again(&mut digest));
            }
            key.extend_from_slice(&digest);
            // Each block of the input, as a number, plus the digest repeated to a block, plus one.
            for piece in input.chunks_exact_mut(block) {
                let mut carry = 1;
                for (at, byte) in piece.iter_mut().enumerate().rev() {
                    carry += u16::from(*byte) + u16::from(digest[at % self.size()]);
                    *byte = carry as u8;
                    carry >>= 8;
                }
            }
        }
        key[length..].zeroize();
        key.truncate(length);
        key
    }
}

fn digest_of<D: Digest>(parts: &[&[u8]], into: &mut [u8]) {
    let digest = parts.iter().fold(D::new(), |digest, part| digest.chain_update(part)).finalize();
    into.copy_from_slice(&digest);
}

fn digest_again<D: Digest>(digest: &mut [u8]) {
    let mut next = D::digest(&*digest);
    digest.copy_from_slice(&next);
    next.as_mut_slice().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(
        hash: Hash,
        purpose: DerivationPurpose,
        password: &str,
        salt: &str,
        count: u32,
        length: usize,
    ) -> String {
        let secret = EncodedPassword::of(&StorePassword::new(password.to_owned()));
        hex::encode(hash.pkcs12(purpose, &secret, &hex::decode(salt).unwrap(), count, length))
    }

    #[test]
    fn pkcs12_derivation_gives_the_known_values() {
        // Widely used vectors (smeg/queeg), with SHA-1.
        let salts = ["0a58cf64530d823f", "642b99ab44fb4b1f", "3d83c0e4546ac140", "1682c0fc5b3f7ec5"];
        use DerivationPurpose::{Encryption, InitialValue, Mac};
        assert_eq!(
            derived(Hash::Sha1, Encryption, "smeg", salts[0], 1, 24),
            "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"
        );
        assert_eq!(derived(Hash::Sha1, InitialValue, "smeg", salts[0], 1, 8), "79993dfe048d3b76");
        assert_eq!(
            derived(Hash::Sha1, Encryption, "smeg", salts[1], 1, 24),
            "f3a95fec48d7711e985cfe67908c5ab79fa3d7c5caa5d966"
        );
        assert_eq!(
            derived(Hash::Sha1, Mac, "smeg", salts[2], 1, 20),
            "8d967d88f6caa9d714800ab3d48051d63f73a312"
        );
        assert_eq!(
            derived(Hash::Sha1, Encryption, "queeg", "05dec959acff72f7", 1000, 24),
            "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4"
        );
    }

    #[test]
    fn pbkdf2_and_hmac_give_the_known_values() {
        // RFC 6070, second; RFC 4231, second.
        let secret = EncodedPassword::of(&StorePassword::new("password".to_owned()));
        assert_eq!(
            hex::encode(Hash::Sha1.pbkdf2(&secret, b"salt", 2, 20)),
            "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"
        );
        assert_eq!(
            hex::encode(Hash::Sha256.hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn sizes_are_those_of_the_hashes() {
        for hash in [Hash::Sha1, Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            assert_eq!(hash.hmac(b"", b"").len(), hash.size());
            for length in [0, 1, 20, 64, 200] {
                let secret = EncodedPassword::nothing();
                assert_eq!(hash.pkcs12(DerivationPurpose::Mac, &secret, b"salt", 3, length).len(), length);
            }
        }
    }
}
