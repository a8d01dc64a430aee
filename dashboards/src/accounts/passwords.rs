//! Hashing passwords: argon2id, one at a time, so that guesses cost the server a core at most and never its memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use onemap_model::AccountId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// KiB and passes: OWASP's first choice for argon2id, about 50 ms.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const SALT_BYTES: usize = 16;
/// Passwords that wait for their turn; more are told to come again.
const N_WAITING: usize = 16;
/// Those ahead that one without an account waits for at most.
const N_PRETENDING: u32 = 8;
/// About what a comparison takes.
const COMPARISON: Duration = Duration::from_millis(50);
/// How long one waits.
const TURN: Duration = Duration::from_secs(2);

const MIN_CHARS: usize = 12;
const MAX_CHARS: usize = 128;
/// Different characters of a password.
const MIN_DIFFERENT: usize = 5;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("a password has {MIN_CHARS} to {MAX_CHARS} characters")]
    Length,
    #[error("a password has at least {MIN_DIFFERENT} different characters")]
    Uniform,
    #[error("a password does not hold the account's name")]
    Name,
}

/// Whether a new password may be an account's.
///
/// # Errors
/// See [`PasswordError`].
pub(crate) fn check_password(id: &AccountId, password: &str) -> Result<(), PasswordError> {
    let n = password.chars().count();
    if !(MIN_CHARS..=MAX_CHARS).contains(&n) {
        return Err(PasswordError::Length);
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < MIN_DIFFERENT {
        return Err(PasswordError::Uniform);
    }
    // A short name is in many words.
    let name = id.as_str().to_lowercase();
    match name.chars().count() >= 4 && password.to_lowercase().contains(&name) {
        true => Err(PasswordError::Name),
        false => Ok(()),
    }
}

/// Too many passwords wait; nothing was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many log-ins at once, try again in a second")]
pub(crate) struct Busy;

/// Hashes and compares passwords beside the requests.
#[derive(Debug)]
pub(crate) struct Hasher {
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Those that have nothing to compare with.
    pretending: AtomicU32,
}

/// Takes one from a count at its end.
struct Leaves<'a>(&'a AtomicU32);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A hash that no password has.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let mut random = [0; 2 * SALT_BYTES];
    // Without randomness it is a hash all the same.
    let _ = getrandom::fill(&mut random);
    let (salt, password) = random.split_at(SALT_BYTES);
    let hash = argon2().hash_password_with_salt(password, salt);
    hash.map(|hash| hash.to_string()).unwrap_or_default()
});

impl Default for Hasher {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(N_WAITING)),
            pretending: AtomicU32::default(),
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("parameters of the standard");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

impl Hasher {
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let _place = self.waiting.clone().try_acquire_owned().map_err(|_| Busy)?;
        let turn = tokio::time::timeout(TURN, self.turn.clone().acquire_owned()).await;
        turn.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// Whether a password is that of a hash. A text that is no hash is nobody's.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn verify(&self, password: String, hash: String) -> Result<bool, Busy> {
        let turn = self.turn().await?;
        let compare = move || {
            let _turn = turn;
            let parsed = PasswordHash::new(&hash);
            parsed.is_ok_and(|parsed| argon2().verify_password(password.as_bytes(), &parsed).is_ok())
        };
        tokio::task::spawn_blocking(compare).await.map_err(|_| Busy)
    }

    /// Does as if there were something to compare with: whether an account is there must not be told by the clock. When
    /// nobody waits a comparison is made; else it waits as long as those take that are before it, and takes nobody's turn.
    pub(crate) async fn pretend(&self, password: String) {
        let ahead = self.pretending.fetch_add(1, Ordering::Relaxed);
        let _one = Leaves(&self.pretending);
        let is_free = self.waiting.available_permits() == N_WAITING;
        let turn = self.turn.clone().try_acquire_owned().ok().filter(|_| is_free);
        let Some(turn) = turn else {
            return tokio::time::sleep(COMPARISON * (ahead.min(N_PRETENDING) + 1)).await;
        };
        let compare = move || {
            let _turn = turn;
            let parsed = PasswordHash::new(&NOBODYS);
            parsed.is_ok_and(|parsed| argon2().verify_password(password.as_bytes(), &parsed).is_ok())
        };
        // Whatever it says, nobody is there.
        let _ = tokio::task::spawn_blocking(compare).await;
    }

    /// Hash of a new password, as a PHC string.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn hash(&self, password: String) -> Result<String, Busy> {
        let turn = self.turn().await?;
        let make = move || {
            let _turn = turn;
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt).map_err(|_| Busy)?;
            let hash = argon2().hash_password_with_salt(password.as_bytes(), &salt);
            Ok(hash.map_err(|_| Busy)?.to_string())
        };
        tokio::task::spawn_blocking(make).await.map_err(|_| Busy)?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn short_uniform_and_named_passwords_are_refused() {
        let id = AccountId::new("li.na").unwrap();
        let check = |password: &str| check_password(&id, password);
        assert_eq!(check("河湟谷地的春天来得晚一些"), Ok(()));
        assert_eq!(check("correct horse"), Ok(()));
        assert_eq!(check("short one.."), Err(PasswordError::Length));
        assert_eq!(check(&"ab3d5".repeat(26)), Err(PasswordError::Length));
        assert_eq!(check("aaaabbbbccccdddd"), Err(PasswordError::Uniform));
        assert_eq!(check("my name is Li.Na!"), Err(PasswordError::Name));
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_only() {
        let hasher = Hasher::default();
        let hash = hasher.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(
            hasher.hash("correct horse".to_owned()).await.unwrap(),
            hash,
            "another salt"
        );
        assert_eq!(
            hasher.verify("correct horse".to_owned(), hash.clone()).await,
            Ok(true)
        );
        assert_eq!(hasher.verify("correct horsf".to_owned(), hash).await, Ok(false));
        assert_eq!(
            hasher.verify("x".to_owned(), "no hash".to_owned()).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_in_is_told_so_at_once() {
        let hasher = Arc::new(Hasher::default());
        let turn = hasher.turn.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..N_WAITING)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.verify(String::new(), String::new()).await })
            })
            .collect();
        while hasher.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.verify(String::new(), String::new()).await, Err(Busy));
        drop(turn);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
    }
}
