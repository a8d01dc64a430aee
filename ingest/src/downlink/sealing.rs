//! Passwords in commands: what the journal and the ledger hold of one is sealed with a key of the data folder, and a hash.
//!
//! The key stands in `seal.key` (mode 0600) and in no backup: who has journal, ledger or backup has no password. The hash is
//! that of the register, so that the fold needs no key. One password of one station always seals to the same text, so that
//! an order that is repeated is the same order.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

/// The file of the key, in the data folder.
pub const KEY_FILE: &str = "seal.key";
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file cannot be read or made.
    #[error("{path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        #[source]
        /// What the system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error("others may read {path} (mode {mode:04o}): chmod 600 {path}")]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("{path} holds no key of {KEY_BYTES} bytes")]
    Length {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Seals passwords and opens them again. It has no readable `Debug`.
pub struct Sealer {
    aead: LessSafeKey,
    nonces: hmac::Key,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// The sealer of a data folder; its key is made when there is none.
    ///
    /// # Errors
    /// [`SealError`] for a file that cannot be used.
    pub fn open(dir: &Path) -> Result<Self, SealError> {
        Self::of(dir, true)
    }

    /// As [`Sealer::open`] for who only looks: where there is no key none is made, and nothing opens.
    ///
    /// # Errors
    /// [`SealError`] for a file that cannot be used.
    pub fn look(dir: &Path) -> Result<Self, SealError> {
        Self::of(dir, false)
    }

    fn of(dir: &Path, makes: bool) -> Result<Self, SealError> {
        let path = dir.join(KEY_FILE);
        let failed = |source| SealError::File {
            path: path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(SealError::Mode { path, mode });
                }
                file.take(KEY_BYTES as u64 + 1)
                    .read_to_end(&mut bytes)
                    .map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bytes = vec![0; KEY_BYTES];
                SystemRandom::new()
                    .fill(&mut bytes)
                    .map_err(|_| SealError::Random)?;
                if makes {
                    make(&path, &bytes).map_err(failed)?;
                }
            }
            Err(error) => return Err(failed(error)),
        }
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| SealError::Length { path })?;
        Ok(Self::new(&key))
    }

    /// A sealer of a key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        // Two uses, two keys of the one.
        let derived = |use_: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), use_);
        let aead = UnboundKey::new(&AES_256_GCM, derived(b"seal").as_ref());
        Self {
            aead: LessSafeKey::new(aead.expect("a SHA-256 has the bytes of the key")),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, derived(b"nonce").as_ref()),
        }
    }

    /// A password as records hold it: sealed for a station, and its hash.
    pub fn seal(&self, station: &str, password: &str, hash: &str) -> Value {
        // A nonce made of what is sealed comes twice with the same text only.
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(station.as_bytes());
        context.update(&[0]);
        context.update(password.as_bytes());
        let tag = context.sign();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&tag.as_ref()[..NONCE_LEN]);
        let mut sealed = password.as_bytes().to_vec();
        let aad = Aad::from(station.as_bytes());
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("a password is shorter than what a key seals");
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        json!({"sealed": format!("{}{}", hex(&nonce), hex(&sealed)), "hash": hash})
    }

    /// The password that was sealed for a station; `None` with another key, another station and for what is none.
    pub fn open_sealed(&self, station: &str, sealed: &Value) -> Option<String> {
        let text = sealed["sealed"].as_str()?;
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = bytes?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .aead
            .open_in_place(nonce, Aad::from(station.as_bytes()), &mut sealed)
            .ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

/// Written whole or not at all.
fn make(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("key.part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_comes_back_for_its_station_and_stands_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        Sealer::look(folder.path()).unwrap();
        assert!(!folder.path().join(KEY_FILE).exists());
        let sealer = Sealer::open(folder.path()).unwrap();
        let sealed = sealer.seal("A1", "654321", "abc");
        assert_eq!(sealed["hash"], "abc");
        assert!(!sealed.to_string().contains("654321"));
        assert_eq!(sealer.open_sealed("A1", &sealed).as_deref(), Some("654321"));
        assert_eq!(
            sealer.seal("A1", "654321", "abc"),
            sealed,
            "an order again is the same"
        );
        assert_ne!(sealer.seal("A2", "654321", "abc")["sealed"], sealed["sealed"]);
        // The same key after a start; another folder has another.
        let again = Sealer::open(folder.path()).unwrap();
        assert_eq!(again.open_sealed("A1", &sealed).as_deref(), Some("654321"));
        let other = Sealer::new(&[7; 32]);
        for (sealer, station, value) in [
            (&other, "A1", &sealed),
            (&again, "A2", &sealed),
            (&again, "A1", &json!("654321")),
            (&again, "A1", &json!({"sealed": "zz"})),
            (&again, "A1", &json!({"sealed": "00"})),
        ] {
            assert_eq!(sealer.open_sealed(station, value), None);
        }
        assert_eq!(format!("{other:?}"), "Sealer");
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        Sealer::open(folder.path()).unwrap();
        let path = folder.path().join(KEY_FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Sealer::open(folder.path()),
            Err(SealError::Mode { mode: 0o644, .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(
            Sealer::open(folder.path()),
            Err(SealError::Length { .. })
        ));
    }
}
