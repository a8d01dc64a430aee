//! Who holds which token. Only SHA-256 hashes are kept; a token itself is shown once and never stored.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use onemap_model::record::{ProvisioningStrategy, Register as Change};
use onemap_model::{DeviceId, DeviceState, ProfileId, Role, Scope, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};
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
    /// Hashes the password of a field station. The same six characters are many stations' password: the hash is of
    /// this one's only, and no token opens by it.
    pub fn of_password(protocol: &str, station: &str, password: &str) -> Self {
        Self::of(&format!("{protocol}\0{station}\0{password}"))
    }
    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Its first eight bytes, never 0: tells a device's tokens apart and opens nothing.
    pub fn fingerprint(&self) -> u64 {
        let (first, _) = self.0.split_at(8);
        u64::from_le_bytes(first.try_into().expect("eight bytes")).max(1)
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
    /// The token before the current one, while its grace lasts.
    former: HashMap<DeviceId, TokenHash>,
    /// Of tokens that end by themselves, soonest first.
    ends: BTreeSet<(Timestamp, TokenHash)>,
    access: HashMap<TokenHash, AccessToken>,
    /// Access tokens that no longer open, so that who comes with one is told, and who watches knows whose it was.
    gone: HashMap<TokenHash, Gone>,
    /// Devices that nothing lets in until they are admitted or given a token, by the record that said so; 0 is one
    /// that was applied since these were read.
    revoked: HashMap<DeviceId, u64>,
    /// By profile.
    provisioning: HashMap<ProfileId, Provisioning>,
}

/// With what devices may register themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// The profile they get.
    pub profile: ProfileId,
    /// Which secret is meant; not secret itself.
    pub key: String,
    /// Hash of the secret.
    pub sha256: TokenHash,
    /// Who may.
    pub strategy: ProvisioningStrategy,
    /// Since when.
    pub created: Timestamp,
}

/// Tokens whose end has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The devices that held some.
    pub devices: Vec<DeviceId>,
    /// How many were access tokens.
    pub n_access: usize,
}

/// An access token that no longer opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// What it was called.
    pub name: String,
    /// When it ended by itself; `None` of one that was revoked.
    pub ended: Option<Timestamp>,
}

impl Gone {
    fn revoked(name: String) -> Self {
        Self { name, ended: None }
    }
}

impl Tokens {
    /// Reads every valid token from the ledger. Those whose end has come are in it until the next
    /// [`expire`](Self::expire).
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(ledger: &LedgerReader) -> Result<Self, LedgerError> {
        let mut tokens = Self::default();
        for (device, hash) in ledger.device_tokens()? {
            tokens.put_device(device, hash);
        }
        for (device, hash, ends) in ledger.device_token_ends()? {
            tokens.ends.insert((ends, hash));
            if tokens.by_device.get(&device) != Some(&hash) && !tokens.by_hash.contains_key(&hash) {
                tokens.by_hash.insert(hash, device.clone());
                tokens.former.insert(device, hash);
            }
        }
        tokens.revoked.extend(ledger.revoked_devices()?);
        for token in ledger.access_tokens()? {
            match token.revoked {
                None => drop(tokens.access.insert(token.sha256, token)),
                Some(_) => drop(tokens.gone.insert(token.sha256, Gone::revoked(token.name))),
            }
        }
        let ends = |(hash, token): (&TokenHash, &AccessToken)| Some((token.expires?, *hash));
        tokens.ends.extend(tokens.access.iter().filter_map(ends));
        for provisioning in ledger.provisioning()? {
            tokens
                .provisioning
                .insert(provisioning.profile.clone(), provisioning);
        }
        Ok(tokens)
    }

    /// Applies one change; says whether it was a token's. A retired device's tokens end.
    pub fn apply(&mut self, at: Timestamp, change: &Change) -> bool {
        match (change, hash_of(change)) {
            (
                Change::DeviceToken {
                    device,
                    grace_s,
                    expires,
                    ..
                },
                Some(hash),
            ) => {
                self.revoked.remove(device);
                self.end_former(device);
                let before = self.by_device.get(device).copied();
                if let Some(before) = before {
                    self.ends.retain(|(_, ended)| *ended != before);
                }
                self.put_device(device.clone(), hash);
                if let Some(before) = before.filter(|b| *grace_s > 0 && *b != hash)
                    && !self.by_hash.contains_key(&before)
                {
                    self.by_hash.insert(before, device.clone());
                    self.former.insert(device.clone(), before);
                    self.ends.insert((grace_end(at, *grace_s), before));
                }
                if let Some(expires) = expires {
                    self.ends.insert((*expires, hash));
                }
                true
            }
            (Change::DeviceTokenRevoked { device }, _) => {
                self.revoke(device);
                self.revoked.insert(device.clone(), 0);
                true
            }
            (Change::DeviceAdmitted { device }, _) => {
                self.revoked.remove(device);
                true
            }
            (Change::Device { device }, _) if device.state == DeviceState::Retired => {
                self.revoke(&device.id);
                true
            }
            (
                Change::Provisioning {
                    profile,
                    key,
                    strategy,
                    ..
                },
                Some(sha256),
            ) => {
                let provisioning = Provisioning {
                    profile: profile.clone(),
                    key: key.clone(),
                    sha256,
                    strategy: *strategy,
                    created: at,
                };
                self.provisioning.insert(profile.clone(), provisioning);
                true
            }
            (Change::ProvisioningEnded { profile }, _) => {
                self.provisioning.remove(profile);
                true
            }
            (
                Change::AccessToken {
                    name,
                    role,
                    division,
                    departments,
                    expires,
                    ..
                },
                Some(sha256),
            ) => {
                let token = AccessToken {
                    name: name.clone(),
                    sha256,
                    role: *role,
                    division: division.clone(),
                    departments: departments_of(departments),
                    created: at,
                    expires: *expires,
                    revoked: None,
                };
                self.gone.remove(&sha256);
                self.ends.retain(|(_, ended)| *ended != sha256);
                self.ends.extend(expires.map(|end| (end, sha256)));
                self.access.insert(sha256, token);
                true
            }
            (Change::AccessTokenRevoked { .. }, Some(sha256)) => {
                if let Some(token) = self.access.remove(&sha256) {
                    self.gone.insert(sha256, Gone::revoked(token.name));
                } else if let Some(gone) = self.gone.get_mut(&sha256) {
                    gone.ended = None;
                }
                self.ends.retain(|(_, ended)| *ended != sha256);
                true
            }
            _ => false,
        }
    }

    /// Lets tokens go whose end has come, the end itself included.
    pub fn expire(&mut self, now: Timestamp) -> Ended {
        let mut ended = Ended::default();
        while let Some((end, hash)) = self.ends.first().copied()
            && end <= now
        {
            self.ends.pop_first();
            if let Some(AccessToken { name, .. }) = self.access.remove(&hash) {
                let gone = Gone {
                    name,
                    ended: Some(end),
                };
                self.gone.insert(hash, gone);
                ended.n_access += 1;
            }
            let Some(device) = self.by_hash.remove(&hash) else {
                continue;
            };
            if self.by_device.get(&device) == Some(&hash) {
                self.by_device.remove(&device);
            }
            if self.former.get(&device) == Some(&hash) {
                self.former.remove(&device);
            }
            ended.devices.push(device);
        }
        ended
    }

    /// When an access token ended by itself, if it did.
    pub fn expired(&self, token: &str) -> Option<Timestamp> {
        self.gone(token)?.ended
    }

    /// An access token that no longer opens: who shows it once held it, or found it.
    pub fn gone(&self, token: &str) -> Option<&Gone> {
        self.gone.get(&TokenHash::of(token))
    }

    /// The device that holds a token.
    pub fn device(&self, token: &str) -> Option<&DeviceId> {
        // What a station's password is hashed from is no token.
        let is_token = !token.contains('\0');
        self.by_hash.get(&TokenHash::of(token)).filter(|_| is_token)
    }

    /// Whether a device holds the secret of this hash.
    pub fn holds(&self, device: &DeviceId, hash: &TokenHash) -> bool {
        self.by_hash.get(hash) == Some(device)
    }

    /// Whether a device's connection that came in by this token may stay.
    pub fn opens(&self, device: &DeviceId, fingerprint: u64) -> bool {
        let mut held = self
            .by_device
            .get(device)
            .into_iter()
            .chain(self.former.get(device));
        held.any(|hash| hash.fingerprint() == fingerprint && self.by_hash.get(hash) == Some(device))
    }

    /// The provisioning of a profile.
    pub fn provisioning(&self, profile: &ProfileId) -> Option<&Provisioning> {
        self.provisioning.get(profile)
    }

    /// The provisioning that a key and its secret open.
    pub fn provisioned_by(&self, key: &str, secret: &str) -> Option<&Provisioning> {
        let sha256 = TokenHash::of(secret);
        self.provisioning
            .values()
            .find(|p| p.key == key && p.sha256 == sha256)
    }

    /// What the holder of an access token may see and do.
    pub fn scope(&self, token: &str) -> Option<Scope> {
        self.scope_of(&TokenHash::of(token))
    }

    /// What the holder of the access token of a hash may see and do.
    pub fn scope_of(&self, sha256: &TokenHash) -> Option<Scope> {
        let held = self.access.get(sha256)?;
        // The owner's own are his to name; else names may be anybody's, an account's too, which has no `#`.
        let actor = match held.role {
            Role::Admin => held.name.clone(),
            _ => format!("token#{}", held.name),
        };
        Some(Scope {
            actor,
            role: held.role,
            division: held.division.clone(),
            departments: held.departments.clone(),
        })
    }

    /// The access token of a hash.
    pub fn access(&self, sha256: &TokenHash) -> Option<&AccessToken> {
        self.access.get(sha256)
    }

    /// Every access token that opens, in no order.
    pub fn access_tokens(&self) -> impl Iterator<Item = &AccessToken> {
        self.access.values()
    }

    /// Whether a device has a token.
    pub fn has_token(&self, device: &DeviceId) -> bool {
        self.by_device.contains_key(device)
    }

    /// Whether a device's tokens were revoked, and it was neither admitted nor given a token since.
    pub fn is_revoked(&self, device: &DeviceId) -> bool {
        self.revoked.contains_key(device)
    }
    /// Whether they were when the record at `position` came: what is folded again after a stop is not judged by what
    /// came behind it.
    pub fn is_revoked_at(&self, device: &DeviceId, position: u64) -> bool {
        self.revoked.get(device).is_some_and(|since| position > *since)
    }

    /// A device's former token ends. A token that two devices were given belongs to the later one.
    fn put_device(&mut self, device: DeviceId, hash: TokenHash) {
        if let Some(former) = self.by_device.insert(device.clone(), hash) {
            self.close(&device, former);
        }
        self.by_hash.insert(hash, device);
    }

    fn revoke(&mut self, device: &DeviceId) {
        self.end_former(device);
        if let Some(hash) = self.by_device.remove(device) {
            self.close(device, hash);
        }
    }

    fn end_former(&mut self, device: &DeviceId) {
        if let Some(hash) = self.former.remove(device) {
            self.close(device, hash);
        }
    }

    fn close(&mut self, device: &DeviceId, hash: TokenHash) {
        if self.by_hash.get(&hash) == Some(device) {
            self.by_hash.remove(&hash);
            self.ends.retain(|(_, ended)| *ended != hash);
        }
    }
}

fn grace_end(at: Timestamp, grace_s: u32) -> Timestamp {
    at + Duration::from_secs(grace_s.into())
}

/// The hash in a token's change; `None` for other changes and for a text that is no hash, which opens
/// nothing.
fn hash_of(change: &Change) -> Option<TokenHash> {
    match change {
        Change::DeviceToken { sha256, .. }
        | Change::AccessToken { sha256, .. }
        | Change::AccessTokenRevoked { sha256 }
        | Change::Provisioning { sha256, .. } => sha256.parse().ok(),
        _ => None,
    }
}

/// Departments as the ledger keeps them: without spaces around them, each once, in order.
fn departments_of(stated: &[String]) -> Vec<String> {
    let trimmed = stated.iter().map(|department| department.trim().to_owned());
    trimmed.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Writes a token's change; others are not the ledger's.
pub(crate) fn put(tx: &Connection, position: u64, at: Timestamp, change: &Change) -> rusqlite::Result<()> {
    let run =
        |sql: &str, values: &[&dyn rusqlite::ToSql]| tx.prepare_cached(sql)?.execute(values).map(|_| ());
    let revoke = |device: &DeviceId| {
        run("DELETE FROM device_tokens WHERE device = ?1", &[&device.as_str()])?;
        run(
            "DELETE FROM device_token_ends WHERE device = ?1",
            &[&device.as_str()],
        )
    };
    let admit = |device: &DeviceId| {
        run(
            "DELETE FROM device_revocations WHERE device = ?1",
            &[&device.as_str()],
        )
    };
    match (change, hash_of(change)) {
        (Change::DeviceTokenRevoked { device }, _) => {
            revoke(device)?;
            run(
                "INSERT OR REPLACE INTO device_revocations (device, position) VALUES (?1, ?2)",
                &[&device.as_str(), &signed(position)],
            )
        }
        (Change::DeviceAdmitted { device }, _) => admit(device),
        (Change::Device { device }, _) if device.state == DeviceState::Retired => revoke(&device.id),
        (
            Change::DeviceToken {
                device,
                grace_s,
                expires,
                ..
            },
            Some(hash),
        ) => {
            admit(device)?;
            let before: Option<[u8; 32]> = tx
                .prepare_cached("SELECT sha256 FROM device_tokens WHERE device = ?1")?
                .query_row([device.as_str()], |row| row.get(0))
                .optional()?;
            run(
                "DELETE FROM device_token_ends WHERE device = ?1",
                &[&device.as_str()],
            )?;
            let end = "INSERT OR REPLACE INTO device_token_ends (sha256, device, ends, position) VALUES (?1, ?2, ?3, ?4)";
            if let Some(before) = before.filter(|b| *grace_s > 0 && *b != hash.0) {
                let ends = grace_end(at, *grace_s).ms();
                run(end, &[&before, &device.as_str(), &ends, &signed(position)])?;
            }
            if let Some(expires) = expires {
                run(
                    end,
                    &[&hash.0, &device.as_str(), &expires.ms(), &signed(position)],
                )?;
            }
            run(
                "INSERT OR REPLACE INTO device_tokens (device, sha256, created, position) VALUES (?1, ?2, ?3, ?4)",
                &[&device.as_str(), &hash.0, &at.ms(), &signed(position)],
            )
        }
        (
            Change::AccessToken {
                name,
                role,
                division,
                departments,
                expires,
                ..
            },
            Some(hash),
        ) => {
            run(
                "DELETE FROM access_token_departments WHERE sha256 = ?1",
                &[&hash.0],
            )?;
            for department in departments_of(departments) {
                run(
                    "INSERT INTO access_token_departments (sha256, department, position) VALUES (?1, ?2, ?3)",
                    &[&hash.0, &department, &signed(position)],
                )?;
            }
            run("DELETE FROM access_token_ends WHERE sha256 = ?1", &[&hash.0])?;
            if let Some(expires) = expires {
                run(
                    "INSERT INTO access_token_ends (sha256, ends, position) VALUES (?1, ?2, ?3)",
                    &[&hash.0, &expires.ms(), &signed(position)],
                )?;
            }
            run(
            "INSERT OR REPLACE INTO access_tokens (sha256, name, role, division, created, revoked, position)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)",
            &[
                &hash.0,
                name,
                &role.name(),
                &division.as_ref().map(|d| d.as_str()),
                &at.ms(),
                &signed(position),
            ],
            )
        }
        // The first end counts; a token that was never made leaves nothing.
        (Change::AccessTokenRevoked { .. }, Some(hash)) => run(
            "UPDATE access_tokens SET revoked = ?2 WHERE sha256 = ?1 AND revoked IS NULL",
            &[&hash.0, &at.ms()],
        ),
        (
            Change::Provisioning {
                profile,
                key,
                strategy,
                ..
            },
            Some(hash),
        ) => {
            let strategy = match strategy {
                ProvisioningStrategy::New => "new",
                ProvisioningStrategy::Known => "known",
            };
            run(
                "INSERT OR REPLACE INTO provisioning (profile, key, sha256, strategy, created, position)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    &profile.as_str(),
                    key,
                    &hash.0,
                    &strategy,
                    &at.ms(),
                    &signed(position),
                ],
            )
        }
        (Change::ProvisioningEnded { profile }, _) => run(
            "DELETE FROM provisioning WHERE profile = ?1",
            &[&profile.as_str()],
        ),
        _ => Ok(()),
    }
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
            grace_s: 0,
            expires: None,
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
            grace_s: 0,
            expires: None,
        };
        assert!(!tokens.apply(at, &broken));
        assert!(!tokens.has_token(&device("c")));
    }

    fn rotate(token: &str, grace_s: u32, expires: Option<i64>) -> Change {
        Change::DeviceToken {
            device: DeviceId::new("a").unwrap(),
            sha256: TokenHash::of(token).to_string(),
            grace_s,
            expires: expires.map(Timestamp::from_ms),
        }
    }

    #[test]
    fn a_grace_keeps_the_former_token_for_its_time() {
        let (a, at) = (DeviceId::new("a").unwrap(), Timestamp::from_ms);
        let mut tokens = Tokens::default();
        tokens.apply(at(0), &rotate("one", 0, None));
        tokens.apply(at(0), &rotate("two", 10, None));
        let fingerprint = |token: &str| TokenHash::of(token).fingerprint();
        for token in ["one", "two"] {
            assert_eq!(tokens.device(token), Some(&a));
            assert!(tokens.opens(&a, fingerprint(token)));
        }
        assert!(!tokens.opens(&a, fingerprint("three")));
        assert_eq!(tokens.expire(at(9_999)).devices, []);
        assert_eq!(tokens.expire(at(10_000)).devices, std::slice::from_ref(&a));
        assert_eq!((tokens.device("one"), tokens.device("two")), (None, Some(&a)));
        assert!(!tokens.opens(&a, fingerprint("one")));
        // A rotation without grace ends the one in grace too.
        tokens.apply(at(20_000), &rotate("three", 10, None));
        tokens.apply(at(20_000), &rotate("four", 0, None));
        assert_eq!((tokens.device("two"), tokens.device("three")), (None, None));
        assert_eq!(tokens.expire(at(99_000)).devices, []);
    }

    #[test]
    fn an_end_a_revocation_and_a_retirement_close() {
        let (a, at) = (DeviceId::new("a").unwrap(), Timestamp::from_ms);
        let mut tokens = Tokens::default();
        tokens.apply(at(0), &rotate("one", 0, Some(5)));
        assert_eq!(tokens.expire(at(5)).devices, std::slice::from_ref(&a));
        assert!(!tokens.has_token(&a) && tokens.device("one").is_none());
        tokens.apply(at(6), &rotate("two", 0, None));
        tokens.apply(at(6), &rotate("three", 60, None));
        assert!(tokens.apply(at(7), &Change::DeviceTokenRevoked { device: a.clone() }));
        assert_eq!((tokens.device("two"), tokens.device("three")), (None, None));
        // Nothing lets it in until somebody does.
        assert!(tokens.is_revoked(&a) && tokens.is_revoked_at(&a, 1));
        // As read from a ledger that is ahead of what is folded.
        tokens.revoked.insert(a.clone(), 100);
        assert!(tokens.is_revoked_at(&a, 101) && !tokens.is_revoked_at(&a, 99));
        assert!(tokens.apply(at(7), &Change::DeviceAdmitted { device: a.clone() }));
        assert!(!tokens.is_revoked(&a));
        tokens.apply(at(7), &Change::DeviceTokenRevoked { device: a.clone() });
        tokens.apply(at(8), &rotate("four", 0, None));
        assert!(!tokens.is_revoked(&a));
        let mut device: onemap_model::Device =
            serde_json::from_str(r#"{"id":"a","name":"a","kind":"gauge"}"#).unwrap();
        assert!(!tokens.apply(
            at(9),
            &Change::Device {
                device: device.clone()
            }
        ));
        device.state = DeviceState::Retired;
        assert!(tokens.apply(at(9), &Change::Device { device }));
        assert_eq!(tokens.device("four"), None);
    }

    #[test]
    fn provisioning_opens_by_key_and_secret() {
        let profile = ProfileId::new("p").unwrap();
        let mut tokens = Tokens::default();
        let made = Change::Provisioning {
            profile: profile.clone(),
            key: "k".into(),
            sha256: TokenHash::of("secret").to_string(),
            strategy: ProvisioningStrategy::Known,
        };
        assert!(tokens.apply(Timestamp::from_ms(0), &made));
        assert_eq!(
            tokens.provisioned_by("k", "secret").map(|p| &p.profile),
            Some(&profile)
        );
        assert_eq!(tokens.provisioned_by("k", "other"), None);
        assert_eq!(tokens.provisioned_by("other", "secret"), None);
        tokens.apply(Timestamp::from_ms(1), &Change::ProvisioningEnded { profile });
        assert_eq!(tokens.provisioned_by("k", "secret"), None);
    }
}
