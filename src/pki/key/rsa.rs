//! Makes RSA keys, which ring cannot. The only code that calls the `rsa` crate: its operations with a private key are
//! not constant in time (RUSTSEC-2023-0071), so it makes keys and never uses one (docs/decisions/0011-rsa.md).

use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::pki::cert::der;
use crate::random;

/// A new key as PKCS#1's RSAPrivateKey (RFC 8017 appendix A.1.2): two primes, exponent 65537.
pub(super) fn generate(bits: usize) -> Result<Zeroizing<Vec<u8>>> {
    let failed = || Error::failed("could not generate an RSA key");
    let key = rsa::PrivateKey::new(&mut RingRandom, bits).map_err(|error| failed().because(error))?;
    let [p, q] = key.primes() else { return Err(failed()) };
    let (Some(dp), Some(dq), Some(coefficient)) = (key.dp(), key.dq(), key.crt_coefficient()) else {
        return Err(failed());
    };
    let coefficient = Zeroizing::new(coefficient);
    let numbers = [key.n().as_ref(), key.e(), key.d(), p.as_ref(), q.as_ref(), dp, dq, &*coefficient];
    Ok(encode(numbers.map(|number| Zeroizing::new(number.to_be_bytes().into_vec()))))
}

/// RSAPrivateKey from n, e, d, p, q, dP, dQ and qInv, big-endian.
pub(super) fn encode(numbers: [Zeroizing<Vec<u8>>; 8]) -> Zeroizing<Vec<u8>> {
    let mut fields = vec![Zeroizing::new(der::unsigned(0))];
    fields.extend(numbers.iter().map(|number| Zeroizing::new(der::unsigned_bytes(number))));
    let body = Zeroizing::new(fields.iter().map(|field| field.as_slice()).collect::<Vec<_>>().concat());
    Zeroizing::new(der::element(der::SEQUENCE, &body))
}

/// The one source of randomness, in the crate's interface.
struct RingRandom;

impl TryRng for RingRandom {
    type Error = Error;

    fn try_next_u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<()> {
        random::fill(into)
    }
}

impl TryCryptoRng for RingRandom {}
