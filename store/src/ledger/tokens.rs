//! Who holds which token. Only SHA-256 hashes are kept; a token itself is shown once and never stored.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use onemap_model::record::Register as Change;
use onemap_model::{DeviceId, Scope, Timestamp};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::LedgerError;
use super::reader::{AccessToken, LedgerReader};
use crate::canonical::hex;
use crate::sqlite::signed;

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// A text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token's hash is 64 hexadecimal digits")]
pub struct TokenHashError;

impl TokenHash {
    /// Hashes a token as a client shows it. Finding the hash in a map leaks nothing useful by time:
    /// nobody can choose a hash's digits.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;
    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(TokenHashError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(TokenHashError);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}
impl fmt::Debug for TokenHash {
    /// Its first digits only: enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex(&self.0[..4]))
    }
}

/// Every valid token in memory: what a listener asks for each connection and a route for each request.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    by_hash: HashMap<TokenHash, DeviceId>,
    by_device: HashMap<DeviceId, TokenHash>,
    access: HashMap<TokenHash, AccessToken>,
}

impl Tokens {
    /// Reads every valid token from the ledger.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(ledger: &LedgerReader) -> Result<Self, LedgerError> {
        let mut tokens = Self::default();
        for (device, hash) in ledger.device_tokens()? {
            tokens.put_device(device, hash);
        }
        for token in ledger.access_tokens()? {
            tokens.access.insert(token.sha256, token);
        }
        tokens.access.retain(|_, token| token.revoked.is_none());
        Ok(tokens)
    }

    /// Applies one change; says whether it was a token's.
    pub fn apply(&mut self, at: Timestamp, change: &Change) -> bool {
        match (change, hash_of(change)) {
            (Change::DeviceToken { device, .. }, Some(hash)) => {
                self.put_device(device.clone(), hash);
                true
            }
            (
                Change::AccessToken {
                    name, role, division, ..
                },
                Some(sha256),
            ) => {
                let token = AccessToken {
                    name: name.clone(),
                    sha256,
                    role: *role,
                    division: division.clone(),
                    created: at,
                    revoked: None,
                };
                self.access.insert(sha256, token);
                true
            }
            _ => false,
        }
    }

    /// The device that holds a token.
    pub fn device(&self, token: &str) -> Option<&DeviceId> {
        self.by_hash.get(&TokenHash::of(token))
    }

    /// What the holder of an access token may see and do.
    pub fn scope(&self, token: &str) -> Option<Scope> {
        let held = self.access.get(&TokenHash::of(token))?;
        Some(Scope {
            actor: held.name.clone(),
            role: held.role,
            division: held.division.clone(),
            departments: Vec::new(),
        })
    }

    /// Whether a device has a token.
    pub fn has_token(&self, device: &DeviceId) -> bool {
        self.by_device.contains_key(device)
    }

    /// A device's former token ends. A token that two devices were given belongs to the later one.
    fn put_device(&mut self, device: DeviceId, hash: TokenHash) {
        if let Some(former) = self.by_device.insert(device.clone(), hash)
            && self.by_hash.get(&former) == Some(&device)
        {
            self.by_hash.remove(&former);
        }
        self.by_hash.insert(hash, device);
    }
}

/// The hash in a token's change; `None` for other changes and for a text that is no hash, which opens
/// nothing.
fn hash_of(change: &Change) -> Option<TokenHash> {
    match change {
        Change::DeviceToken { sha256, .. } | Change::AccessToken { sha256, .. } => sha256.parse().ok(),
        _ => None,
    }
}

/// Writes a token's change; others are not the ledger's.
pub(crate) fn put(tx: &Connection, position: u64, at: Timestamp, change: &Change) -> rusqlite::Result<()> {
    let Some(hash) = hash_of(change) else {
        return Ok(());
    };
    match change {
        Change::DeviceToken { device, .. } => tx
            .prepare_cached(
                "INSERT OR REPLACE INTO device_tokens (device, sha256, created, position) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![device.as_str(), hash.0, at.ms(), signed(position)])?,
        Change::AccessToken {
            name, role, division, ..
        } => tx
            .prepare_cached(
                "INSERT OR REPLACE INTO access_tokens (sha256, name, role, division, created, revoked, position)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)",
            )?
            .execute(params![
                hash.0,
                name,
                role.name(),
                division.as_ref().map(|d| d.as_str()),
                at.ms(),
                signed(position)
            ])?,
        _ => 0,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hashes_are_read_and_shown() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            TokenHash::of("abc").to_string(),
            text,
            "the published value of SHA-256"
        );
        assert_eq!(text.parse(), Ok(TokenHash::of("abc")));
        assert_eq!(text.to_uppercase().parse(), Ok(TokenHash::of("abc")));
        for bad in ["", "ba78", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(bad.parse::<TokenHash>(), Err(TokenHashError), "{bad}");
        }
        assert_eq!(format!("{:?}", TokenHash::of("abc")), "ba7816bf…");
    }

    #[test]
    fn a_new_device_token_ends_the_old_one() {
        let device = |name: &str| DeviceId::new(name).unwrap();
        let give = |name: &str, token: &str| Change::DeviceToken {
            device: device(name),
            sha256: TokenHash::of(token).to_string(),
        };
        let at = Timestamp::from_ms(0);
        let mut tokens = Tokens::default();
        assert!(tokens.apply(at, &give("a", "one")));
        assert!(tokens.apply(at, &give("a", "two")));
        assert_eq!(tokens.device("one"), None);
        assert_eq!(tokens.device("two"), Some(&device("a")));
        assert!(tokens.apply(at, &give("b", "two")), "the same token for another");
        assert!(tokens.apply(at, &give("a", "three")));
        assert_eq!(tokens.device("two"), Some(&device("b")));
        let broken = Change::DeviceToken {
            device: device("c"),
            sha256: "no hash".into(),
        };
        assert!(!tokens.apply(at, &broken));
        assert!(!tokens.has_token(&device("c")));
    }
}
