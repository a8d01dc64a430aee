//! Pseudonyms of persons: a citizen number and the keys of the data folder give one, and nothing gives the number back.
//! What is known of a person is sealed by the newest of these keys (AES-256-GCM) before it is journaled.
//!
//! The keys stand in `persons.key` (mode 0600), the first is made at its first use, and no backup has them: who has a
//! backup, or the data without this file, learns nothing of a person. Who has the file and a pseudonym can try all
//! numbers. Without the file nobody who is known is found again: a copy of it is kept apart.
//!
//! A pseudonym of key n is that of key n-1, keyed again: so a new key changes what stands for everybody without the
//! numbers, and who has the keys of before gets from no number to what stands for it now.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hmac::{Hmac, Mac as _};
use onemap_model::code::CitizenNumber;
use onemap_model::{Person, Pseudonym, SealedPerson};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use crate::canonical::hex;
use crate::ledger::KeptPerson;

/// The file of the keys, in the data folder.
pub const KEY_FILE: &str = "persons.key";
const KEY_BYTES: usize = 32;
/// Most keys of a data folder: one a quarter for sixty years.
const N_KEYS: usize = 256;

/// Why there is no key, or none that opens.
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
    #[error("{path} holds no keys of {KEY_BYTES} bytes, 1 to {N_KEYS}")]
    Length {
        /// Which file.
        path: PathBuf,
    },
    /// Persons are known by a key, and it is not there.
    #[error("{path} is missing, and persons are known by its keys: put back the copy that was kept apart")]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// What is known of a person was sealed by a key that the file does not hold.
    #[error("{path} does not hold key {key} of this data folder: put back the newest copy")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// The number of the key.
        key: u16,
    },
    /// There is no room for another key.
    #[error("{path} holds {N_KEYS} keys, and takes no more")]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Makes pseudonyms, seals what is known of persons and opens it. It has no readable `Debug`.
pub struct PersonKeys {
    path: PathBuf,
    /// A person who is known: there have to be keys, and they have to open it.
    probe: Option<KeptPerson>,
    chain: RwLock<Option<Arc<Chain>>>,
    /// Held while another key is made: of two at once one would write over the other's.
    making: Mutex<()>,
}

impl std::fmt::Debug for PersonKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonKeys")
    }
}

/// All keys, oldest first; at least one.
struct Chain(Vec<Key>);

struct Key {
    bytes: [u8; KEY_BYTES],
    aead: LessSafeKey,
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        // Two uses, two keys of the one.
        let sealing = mac(&bytes, b"onemap: persons at rest");
        let aead = UnboundKey::new(&AES_256_GCM, &sealing).expect("a SHA-256 has the bytes of the key");
        Self {
            bytes,
            aead: LessSafeKey::new(aead),
        }
    }
}

/// HMAC-SHA256 (RFC 2104).
fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn first_16(mac: [u8; 32]) -> Pseudonym {
    let (first, _) = mac.split_first_chunk().expect("32 bytes are more than 16");
    Pseudonym::new(*first)
}

impl Chain {
    fn newest(&self) -> u16 {
        self.0.len() as u16
    }

    /// Under each key, oldest first.
    fn pseudonyms(&self, number: &CitizenNumber) -> Vec<Pseudonym> {
        let mut all: Vec<Pseudonym> = Vec::with_capacity(self.0.len());
        for key in &self.0 {
            let text = match all.last() {
                None => mac(&key.bytes, number.reveal().as_bytes()),
                Some(former) => mac(&key.bytes, former.bytes()),
            };
            all.push(first_16(text));
        }
        all
    }

    /// What stands under the newest key for what stands under an earlier one.
    fn forward(&self, pseudonym: Pseudonym, key: u16) -> Pseudonym {
        self.0
            .iter()
            .skip(usize::from(key))
            .fold(pseudonym, |former, key| first_16(mac(&key.bytes, former.bytes())))
    }
}

/// What a sealing is bound to.
fn bound(pseudonym: &Pseudonym, key: u16) -> [u8; 18] {
    let mut text = [0; 18];
    text[..16].copy_from_slice(pseudonym.bytes());
    text[16..].copy_from_slice(&key.to_be_bytes());
    text
}

impl PersonKeys {
    /// The keys of a data folder; nothing is read or made before the first use. Where its ledger knows a person (`probe`)
    /// no key is made, and keys that do not open what is sealed are not used.
    pub fn of(dir: &Path, probe: Option<KeptPerson>) -> Self {
        Self {
            path: dir.join(KEY_FILE),
            probe,
            chain: RwLock::new(None),
            making: Mutex::new(()),
        }
    }

    /// The pseudonym of a number under the newest key: the first 16 bytes of HMAC-SHA256 (RFC 2104) over its 18
    /// characters by the first key, and of that over these 16 bytes by each key after it.
    ///
    /// # Errors
    /// [`PersonKeyError`] for keys that cannot be used.
    pub fn pseudonym(&self, number: &CitizenNumber) -> Result<Pseudonym, PersonKeyError> {
        let all = self.chain()?.pseudonyms(number);
        Ok(*all.last().expect("a chain has a key"))
    }

    /// As [`pseudonym`](Self::pseudonym) under each key, the newest first.
    ///
    /// # Errors
    /// As there.
    pub fn pseudonyms(&self, number: &CitizenNumber) -> Result<Vec<Pseudonym>, PersonKeyError> {
        let mut all = self.chain()?.pseudonyms(number);
        all.reverse();
        Ok(all)
    }

    /// The number of the newest key; 0 where none was made yet.
    ///
    /// # Errors
    /// [`PersonKeyError`] for keys that cannot be used.
    pub fn newest(&self) -> Result<u16, PersonKeyError> {
        match self.probe.is_none() && self.held().is_none() && !self.path.exists() {
            true => Ok(0),
            false => Ok(self.chain()?.newest()),
        }
    }

    /// The person of a number, `known` under the newest pseudonym, and as it is journaled: pseudonym and sealing are of
    /// one key, also while another is made.
    ///
    /// # Errors
    /// [`PersonKeyError`] for keys that cannot be used.
    pub fn seal(
        &self,
        number: &CitizenNumber,
        known: impl FnOnce(Pseudonym) -> Person,
    ) -> Result<(Person, SealedPerson), PersonKeyError> {
        let chain = self.chain()?;
        let mut former = chain.pseudonyms(number);
        let person = known(former.pop().expect("a chain has a key"));
        former.reverse();
        let sealed = seal(&chain, &person, former)?;
        Ok((person, sealed))
    }

    /// What is known of a person.
    ///
    /// # Errors
    /// [`PersonKeyError`] for keys that cannot be used, [`PersonKeyError::Foreign`] for those that do not open it.
    pub fn open(&self, kept: KeptPerson) -> Result<Person, PersonKeyError> {
        match kept {
            KeptPerson::Clear(person) => Ok(person),
            KeptPerson::Sealed(sealed) => {
                let chain = self.chain()?;
                self.open_by(&chain, &sealed)
            }
        }
    }

    /// A person as the newest key has it, carried over from what an earlier key or none had.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn carry_over(&self, kept: KeptPerson) -> Result<SealedPerson, PersonKeyError> {
        let chain = self.chain()?;
        let (key, former) = (kept.key(), kept.pseudonym());
        let mut person = self.open(kept)?;
        // What is in clear stands under the first key.
        person.pseudonym = chain.forward(former, key.max(1));
        let sealed = seal(&chain, &person, vec![former])?;
        Ok(SealedPerson {
            moved: true,
            ..sealed
        })
    }

    /// Whether the file still holds the keys that are in use.
    ///
    /// # Errors
    /// What is wrong with it: then nobody is found after the next start.
    pub fn check(&self) -> Result<(), PersonKeyError> {
        let Some(held) = self.held() else {
            // Not read yet: whether it can be, where somebody is known by it.
            return match &self.probe {
                Some(_) => self.chain().map(drop),
                None => Ok(()),
            };
        };
        if !self.path.exists() {
            let path = self.path.clone();
            return Err(PersonKeyError::Missing { path });
        }
        let bytes = |chain: &Chain| chain.0.iter().map(|key| key.bytes).collect::<Vec<_>>();
        match bytes(&self.read()?) == bytes(&held) {
            true => Ok(()),
            false => Err(PersonKeyError::Foreign {
                path: self.path.clone(),
                key: held.newest(),
            }),
        }
    }

    /// Makes another key, durable before it is used; its number.
    ///
    /// # Errors
    /// [`PersonKeyError`] for a file that cannot be read or written, or that is full. Nothing has changed then.
    pub fn rotate(&self) -> Result<u16, PersonKeyError> {
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.chain()?;
        self.check()?;
        if before.0.len() >= N_KEYS {
            return Err(PersonKeyError::Full {
                path: self.path.clone(),
            });
        }
        let mut keys: Vec<[u8; KEY_BYTES]> = before.0.iter().map(|key| key.bytes).collect();
        keys.push(random()?);
        let part = self.part();
        let written = write(&part, &keys.concat())
            .and_then(|()| std::fs::rename(&part, &self.path))
            .and_then(|()| sync_dir(&self.path));
        written.map_err(|source| self.failed(source))?;
        let chain = Arc::new(Chain(keys.into_iter().map(Key::new).collect()));
        let newest = chain.newest();
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = Some(chain);
        Ok(newest)
    }

    fn open_by(&self, chain: &Chain, sealed: &SealedPerson) -> Result<Person, PersonKeyError> {
        let foreign = || PersonKeyError::Foreign {
            path: self.path.clone(),
            key: sealed.key,
        };
        let key = usize::from(sealed.key)
            .checked_sub(1)
            .and_then(|at| chain.0.get(at));
        let opened = key.and_then(|key| {
            let bytes = bytes_of(&sealed.sealed)?;
            let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let aad = Aad::from(bound(&sealed.pseudonym, sealed.key));
            let mut text = text.to_vec();
            let opened = key.aead.open_in_place(nonce, aad, &mut text).ok()?;
            serde_json::from_slice(opened).ok()
        });
        opened.ok_or_else(foreign)
    }

    fn held(&self) -> Option<Arc<Chain>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn chain(&self) -> Result<Arc<Chain>, PersonKeyError> {
        if let Some(chain) = self.held() {
            return Ok(chain);
        }
        let chain = Arc::new(self.read()?);
        if let Some(KeptPerson::Sealed(probe)) = &self.probe {
            self.open_by(&chain, probe)?;
        }
        let mut held = self.chain.write().unwrap_or_else(PoisonError::into_inner);
        Ok(held.get_or_insert(chain).clone())
    }

    fn failed(&self, source: io::Error) -> PersonKeyError {
        PersonKeyError::File {
            path: self.path.clone(),
            source,
        }
    }

    fn part(&self) -> PathBuf {
        let mut part = self.path.clone().into_os_string();
        part.push(format!(".{}", std::process::id()));
        PathBuf::from(part)
    }

    fn read(&self) -> Result<Chain, PersonKeyError> {
        let path = self.path.clone();
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.probe.is_some() {
                    return Err(PersonKeyError::Missing { path });
                }
                let key = random()?;
                self.make(&key).map_err(|source| self.failed(source))?;
                File::open(&self.path)
            }
            opened => opened,
        };
        let file = file.map_err(|source| self.failed(source))?;
        let about = file.metadata().map_err(|source| self.failed(source))?;
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(PersonKeyError::Mode { path, mode });
        }
        let mut bytes = Vec::new();
        file.take((KEY_BYTES * N_KEYS) as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.failed(source))?;
        let (keys, rest) = bytes.as_chunks::<KEY_BYTES>();
        if keys.is_empty() || !rest.is_empty() {
            return Err(PersonKeyError::Length { path });
        }
        Ok(Chain(keys.iter().copied().map(Key::new).collect()))
    }

    /// Makes the first key, durable before it is used. Whoever else makes one at the same time, one of the two stays.
    fn make(&self, key: &[u8; KEY_BYTES]) -> io::Result<()> {
        let part = self.part();
        write(&part, key)?;
        let linked = std::fs::hard_link(&part, &self.path);
        std::fs::remove_file(&part)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        sync_dir(&self.path)
    }
}

fn seal(chain: &Chain, person: &Person, former: Vec<Pseudonym>) -> Result<SealedPerson, PersonKeyError> {
    let (number, key) = (chain.newest(), chain.0.last().expect("a chain has a key"));
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| PersonKeyError::Random)?;
    let mut text = serde_json::to_vec(person).expect("persons have text keys only");
    let aad = Aad::from(bound(&person.pseudonym, number));
    key.aead
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
        .expect("a person is shorter than what a key seals");
    Ok(SealedPerson {
        pseudonym: person.pseudonym,
        key: number,
        former,
        moved: false,
        sealed: hex(&nonce) + &hex(&text),
    })
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn random() -> Result<[u8; KEY_BYTES], PersonKeyError> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| PersonKeyError::Random)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number() -> CitizenNumber {
        CitizenNumber::parse("11010519491231002X").unwrap()
    }

    fn person(keys: &PersonKeys) -> Person {
        Person {
            pseudonym: keys.pseudonym(&number()).unwrap(),
            last_four: "002X".into(),
            division: Some("630104001001".parse().unwrap()),
            place: None,
            source: "户籍".into(),
        }
    }

    fn put(dir: &Path, bytes: &[u8], mode: u32) {
        let path = dir.join(KEY_FILE);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn one_number_has_one_pseudonym_by_key() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = PersonKeys::of(a.path(), None);
        assert_eq!(keys.newest().unwrap(), 0);
        assert!(!a.path().join(KEY_FILE).exists(), "made at its first use");
        let first = keys.pseudonym(&number()).unwrap();
        assert_eq!(
            PersonKeys::of(a.path(), None).pseudonym(&number()).unwrap(),
            first
        );
        assert_ne!(
            PersonKeys::of(b.path(), None).pseudonym(&number()).unwrap(),
            first
        );
        let mode = std::fs::metadata(a.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(a.path()).unwrap().count(), 1);
        assert_eq!(keys.newest().unwrap(), 1);
    }

    #[test]
    fn the_pseudonym_is_the_hmac_and_a_bad_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let pseudonym = || PersonKeys::of(dir.path(), None).pseudonym(&number());
        put(dir.path(), &[0x0b; 32], 0o600);
        assert_eq!(
            pseudonym().unwrap().to_string(),
            "75d6989868fb3481c2bfe9a299451830"
        );
        put(dir.path(), &[0x0b; 32], 0o640);
        assert!(matches!(
            pseudonym(),
            Err(PersonKeyError::Mode { mode: 0o640, .. })
        ));
        for n in [0, 31, 33, 32 * 257] {
            put(dir.path(), &vec![0x0b; n], 0o600);
            assert!(matches!(pseudonym(), Err(PersonKeyError::Length { .. })), "{n}");
        }
    }

    #[test]
    fn a_new_key_keys_what_stood_before_and_opens_what_former_keys_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let keys = PersonKeys::of(dir.path(), None);
        let first = keys.pseudonym(&number()).unwrap();
        let kept = keys.seal(&number(), |_| person(&keys)).unwrap().1;
        assert_eq!(keys.rotate().unwrap(), 2);
        let all = keys.pseudonyms(&number()).unwrap();
        assert_eq!(all[1], first);
        let key_2: [u8; 32] = std::fs::read(dir.path().join(KEY_FILE)).unwrap()[32..]
            .try_into()
            .unwrap();
        assert_eq!(all[0], first_16(mac(&key_2, first.bytes())));

        let carried = keys.carry_over(KeptPerson::Sealed(kept.clone())).unwrap();
        assert_eq!(
            (carried.pseudonym, carried.key, &*carried.former, carried.moved),
            (all[0], 2, &[first][..], true)
        );
        // After a start, too.
        let again = PersonKeys::of(dir.path(), Some(KeptPerson::Sealed(carried.clone())));
        let opened = again.open(KeptPerson::Sealed(carried)).unwrap();
        assert_eq!(opened, person(&keys));
        assert_eq!(again.open(KeptPerson::Sealed(kept)).unwrap().pseudonym, first);
        // Of three keys at once, and out of the clear.
        let clear = Person {
            pseudonym: first,
            ..person(&keys)
        };
        again.rotate().unwrap();
        let carried = again.carry_over(KeptPerson::Clear(clear)).unwrap();
        assert_eq!(carried.pseudonym, again.pseudonym(&number()).unwrap());
        assert_eq!((carried.key, &*carried.former), (3, &[first][..]));
    }

    #[test]
    fn keys_that_are_made_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let keys = PersonKeys::of(dir.path(), None);
        let sealed = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        keys.rotate().unwrap();
                        keys.seal(&number(), |pseudonym| Person {
                            pseudonym,
                            ..person(&keys)
                        })
                        .unwrap()
                        .1
                    })
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(keys.newest().unwrap(), 9);
        let again = PersonKeys::of(dir.path(), None);
        let all = again.pseudonyms(&number()).unwrap();
        for one in sealed {
            assert_eq!(one.former.len(), usize::from(one.key) - 1);
            assert_eq!(one.pseudonym, all[all.len() - usize::from(one.key)]);
            again.open(KeptPerson::Sealed(one)).unwrap();
        }
    }

    #[test]
    fn what_is_sealed_shows_nothing_and_opens_for_its_own_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = PersonKeys::of(dir.path(), None);
        let sealed = keys.seal(&number(), |_| person(&keys)).unwrap().1;
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(
            !text.contains("002X") && !text.contains("630104") && !text.contains("户籍"),
            "{text}"
        );
        let mut other = person(&keys);
        other.pseudonym = Pseudonym::new([9; 16]);
        let other = keys.seal(&number(), |_| other).unwrap().1;
        let swapped = SealedPerson {
            sealed: other.sealed,
            ..sealed.clone()
        };
        let flipped = |at: usize| {
            let mut digits = sealed.sealed.clone().into_bytes();
            digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
            SealedPerson {
                sealed: String::from_utf8(digits).unwrap(),
                ..sealed.clone()
            }
        };
        let of_key = |key| SealedPerson {
            key,
            ..sealed.clone()
        };
        let cut = SealedPerson {
            sealed: "00".into(),
            ..sealed.clone()
        };
        for wrong in [
            swapped,
            flipped(0),
            flipped(30),
            flipped(sealed.sealed.len() - 1),
            of_key(0),
            of_key(2),
            cut,
        ] {
            let opened = keys.open(KeptPerson::Sealed(wrong.clone()));
            assert!(matches!(opened, Err(PersonKeyError::Foreign { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn where_persons_are_known_no_other_key_is_made_or_used() {
        let dir = tempfile::tempdir().unwrap();
        let keys = PersonKeys::of(dir.path(), None);
        let sealed = keys.seal(&number(), |_| person(&keys)).unwrap().1;
        let path = dir.path().join(KEY_FILE);
        let own = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let without = PersonKeys::of(dir.path(), Some(KeptPerson::Sealed(sealed.clone())));
        let in_clear = PersonKeys::of(dir.path(), Some(KeptPerson::Clear(person(&keys))));
        for error in [
            without.pseudonym(&number()).map(|_| ()),
            without.newest().map(|_| ()),
            without.rotate().map(|_| ()),
            in_clear.pseudonym(&number()).map(|_| ()),
        ] {
            assert!(matches!(error, Err(PersonKeyError::Missing { .. })), "{error:?}");
        }
        assert!(!path.exists());
        put(dir.path(), &[7; 32], 0o600);
        assert!(matches!(
            without.pseudonym(&number()),
            Err(PersonKeyError::Foreign { key: 1, .. })
        ));
        // It is taken up when it comes back.
        put(dir.path(), &own, 0o600);
        assert_eq!(without.pseudonym(&number()).unwrap(), sealed.pseudonym);
        // Taken away under who uses it, that is told, and no other is made of what is in memory.
        assert!(without.check().is_ok());
        put(dir.path(), &[7; 32], 0o600);
        assert!(matches!(
            without.check(),
            Err(PersonKeyError::Foreign { key: 1, .. })
        ));
        assert!(without.rotate().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(without.check(), Err(PersonKeyError::Missing { .. })));
        assert!(without.rotate().is_err() && !path.exists());
    }
}
