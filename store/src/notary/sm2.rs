//! SM2 with SM3 (GB/T 32918.2-2016 on the curve of GB/T 32918.5-2017), signatures in DER as GB/T 35276-2017 and OpenSSL have
//! them.

use ring::rand::{SecureRandom as _, SystemRandom};
use sm2::SecretKey;
use sm2::dsa::signature::{Signer as _, Verifier as _};
use sm2::dsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use sm2::elliptic_curve::sec1::ToSec1Point as _;
use sm2::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

/// The identity that goes into what is signed where none is agreed on (GB/T 35276-2017 section 10).
const ID: &str = "1234567812345678";
/// Tries to find a number that is a key; one in 2^32 is none.
const N_TRIES: usize = 8;

/// A new key as PKCS #8; `None` without randomness.
pub(super) fn make() -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    (0..N_TRIES).find_map(|_| {
        let mut scalar = [0; 32];
        random.fill(&mut scalar).ok()?;
        let key = SecretKey::from_slice(&scalar).ok()?;
        Some(key.to_pkcs8_der().ok()?.as_bytes().to_vec())
    })
}

/// The key of a PKCS #8 document, in words why it is none.
pub(super) fn pair(pkcs8: &[u8]) -> Result<SigningKey, String> {
    let key = SecretKey::from_pkcs8_der(pkcs8).map_err(|error| error.to_string())?;
    SigningKey::new(ID, &key).map_err(|error| error.to_string())
}

/// The public point, uncompressed: 65 bytes.
pub(super) fn public(key: &SigningKey) -> Vec<u8> {
    let point = key.verifying_key().as_affine().to_sec1_point(false);
    point.as_bytes().to_vec()
}

pub(super) fn sign(key: &SigningKey, bytes: &[u8]) -> Option<Vec<u8>> {
    let signature: Signature = key.try_sign(bytes).ok()?;
    Some(DerSignature::from(signature).as_bytes().to_vec())
}

/// Whether a signature in DER is that of the bytes by the holder of a public point.
pub(super) fn is_signed(public: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_sec1_bytes(ID, public).ok();
    let signature = Signature::from_der(signature).ok();
    key.zip(signature)
        .is_some_and(|(key, signature)| key.verify(bytes, &signature).is_ok())
}
