//! Pseudonyms of persons: a citizen number and the key of the data folder give one, and nothing gives the number back.
//!
//! The key stands in `persons.key` (mode 0600), is made at its first use and belongs into backups: without it nobody
//! who is known is found again. Who has the key and a pseudonym can try all numbers, so it lies beside the data and
//! not in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, Mac as _};
use onemap_model::Pseudonym;
use onemap_model::code::CitizenNumber;
use sha2::Sha256;

/// The file of the key, in the data folder.
pub const KEY_FILE: &str = "persons.key";
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonKeyError {
    /// The file cannot be read or made.
    #[error("{path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
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
}

/// Makes pseudonyms. It has no readable `Debug`.
pub struct PersonKey {
    path: PathBuf,
    key: OnceLock<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonKey")
    }
}

impl PersonKey {
    /// The key of a data folder; nothing is read or made before the first pseudonym.
    pub fn of(dir: &Path) -> Self {
        Self {
            path: dir.join(KEY_FILE),
            key: OnceLock::new(),
        }
    }

    /// The pseudonym of a number: the first 16 bytes of HMAC-SHA256 (RFC 2104) over its 18 characters.
    ///
    /// # Errors
    /// [`PersonKeyError`] for a key that cannot be used.
    pub fn pseudonym(&self, number: &CitizenNumber) -> Result<Pseudonym, PersonKeyError> {
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let key = self.open()?;
                self.key.get_or_init(|| key)
            }
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of every length");
        mac.update(number.reveal().as_bytes());
        let whole = mac.finalize().into_bytes();
        let mut first = [0; 16];
        first.copy_from_slice(&whole[..16]);
        Ok(Pseudonym::new(first))
    }

    fn open(&self) -> Result<[u8; KEY_BYTES], PersonKeyError> {
        let path = self.path.clone();
        let failed = |source| PersonKeyError::File {
            path: path.clone(),
            source,
        };
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make().map_err(failed)?;
                File::open(&self.path)
            }
            opened => opened,
        };
        let file = file.map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(PersonKeyError::Mode { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        bytes.try_into().map_err(|_| PersonKeyError::Length {
            path: self.path.clone(),
        })
    }

    /// Makes the key, durable before it is used. Whoever else makes one at the same time, one of the two stays.
    fn make(&self) -> io::Result<()> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let mut own = self.path.clone().into_os_string();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&own)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&own, &self.path);
        std::fs::remove_file(&own)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_number_has_one_pseudonym_by_key() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let number = CitizenNumber::parse("11010519491231002X").unwrap();
        let key = PersonKey::of(a.path());
        assert!(!a.path().join(KEY_FILE).exists(), "made at its first use");
        let first = key.pseudonym(&number).unwrap();
        assert_eq!(PersonKey::of(a.path()).pseudonym(&number).unwrap(), first);
        assert_ne!(PersonKey::of(b.path()).pseudonym(&number).unwrap(), first);
        let mode = std::fs::metadata(a.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(a.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_pseudonym_is_the_hmac_and_a_bad_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        let put = |bytes: &[u8], mode: u32| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let number = CitizenNumber::parse("11010519491231002X").unwrap();
        let pseudonym = || PersonKey::of(dir.path()).pseudonym(&number);
        put(&[0x0b; 32], 0o600);
        assert_eq!(
            pseudonym().unwrap().to_string(),
            "75d6989868fb3481c2bfe9a299451830"
        );
        put(&[0x0b; 32], 0o640);
        assert!(matches!(
            pseudonym(),
            Err(PersonKeyError::Mode { mode: 0o640, .. })
        ));
        put(&[0x0b; 31], 0o600);
        assert!(matches!(pseudonym(), Err(PersonKeyError::Length { .. })));
    }
}
