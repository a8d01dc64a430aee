//! Public keys, as SubjectPublicKeyInfo in PEM.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Algorithm, NotaryError};

/// What stands before the 32 bytes of an ed25519 key (RFC 8410).
const ED25519_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before the 65 bytes of a point: id-ecPublicKey (RFC 5480) on 1.2.156.10197.1.301 (GB/T 33560-2017).
const SM2_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x81,
    0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, 0x03, 0x42, 0x00,
];

/// Who signs.
///
/// Invariant: so many bytes as the algorithm has; whether they are a point shows when something is verified by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Algorithm {
    /// What stands before a public key's bytes, and how many these are.
    const fn shape(self) -> (&'static [u8], usize) {
        match self {
            Self::Ed25519 => (&ED25519_HEAD, 32),
            Self::Sm2 => (&SM2_HEAD, 65),
        }
    }
}

impl PublicKey {
    pub(super) fn new(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self {
            algorithm,
            bytes: bytes.to_vec(),
        }
    }

    /// Reads a key of any algorithm, built in or not.
    ///
    /// # Errors
    /// [`NotaryError::NoPublicKey`].
    pub fn from_pem(pem: &str) -> Result<Self, NotaryError> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let text: String = lines.map(str::trim).collect();
        let der = BASE64_STANDARD
            .decode(text)
            .map_err(|_| NotaryError::NoPublicKey)?;
        let of = |algorithm: Algorithm| {
            let (head, n_bytes) = algorithm.shape();
            let bytes = der.strip_prefix(head)?;
            (bytes.len() == n_bytes).then(|| Self::new(algorithm, bytes))
        };
        let found = Algorithm::ALL.into_iter().find_map(of);
        found.ok_or(NotaryError::NoPublicKey)
    }

    /// The key in PEM, lines of 64 characters.
    pub fn pem(&self) -> String {
        let (head, _) = self.algorithm.shape();
        let der = BASE64_STANDARD.encode([head, &self.bytes].concat());
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in der.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem + "-----END PUBLIC KEY-----\n"
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a signature is that of the bytes by this key's holder.
    ///
    /// # Errors
    /// [`NotaryError::NotBuiltIn`].
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> Result<bool, NotaryError> {
        match self.algorithm {
            Algorithm::Ed25519 => {
                let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
                Ok(key.verify(bytes, signature).is_ok())
            }
            #[cfg(feature = "sm2")]
            Algorithm::Sm2 => Ok(super::sm2::is_signed(&self.bytes, bytes, signature)),
            #[cfg(not(feature = "sm2"))]
            Algorithm::Sm2 => Err(NotaryError::NotBuiltIn(Algorithm::Sm2)),
        }
    }
}
