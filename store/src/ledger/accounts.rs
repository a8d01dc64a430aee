//! Accounts of people, with hashes of their passwords. They stand here and not in the register, which GIS programs open.

use std::collections::BTreeMap;

use onemap_model::record::Register as Change;
use onemap_model::{Account, AccountId, Subject, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::LedgerError;
use super::reader::{LedgerReader, json};
use super::tokens::TokenHash;
use crate::sqlite::signed;

/// Came after the first version: made at every open.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, json TEXT NOT NULL, hash TEXT, second TEXT, link BLOB, link_ends INTEGER,
    created INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account_subjects (
    id TEXT PRIMARY KEY, issuer TEXT NOT NULL, sub TEXT NOT NULL, UNIQUE (issuer, sub)) WITHOUT ROWID;
";

/// A link by which an account's holder sets password and second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Hash of its key.
    pub sha256: TokenHash,
    /// Until when it opens.
    pub ends: Timestamp,
}

/// An account and what lets its holder in.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Who it is.
    pub account: Account,
    /// Hash of the password (PHC string, argon2id); nobody comes in without one.
    pub hash: Option<String>,
    /// The sealed secret of one-time passwords.
    pub second: Option<String>,
    /// The link that waits to be used.
    pub link: Option<Link>,
    /// Whom a provider of OpenID Connect speaks of that may come in.
    pub subject: Option<Subject>,
    /// When it was made.
    pub created: Timestamp,
    /// Grows whenever the account's sessions must end.
    pub era: u64,
}

impl std::fmt::Debug for Held {
    /// Without what lets in.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// Every account, in memory: what a log-in and each request of a session asks.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_id: BTreeMap<AccountId, Held>,
    era: u64,
}

impl Accounts {
    /// Reads every account from the ledger.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(ledger: &LedgerReader) -> Result<Self, LedgerError> {
        let by_id = ledger.accounts()?.into_iter();
        Ok(Self {
            by_id: by_id.map(|held| (held.account.id.clone(), held)).collect(),
            era: 0,
        })
    }

    /// Applies one change; says whether it was an account's. What is said of an account that is not there changes
    /// nothing.
    pub fn apply(&mut self, at: Timestamp, change: &Change) -> bool {
        if let Change::Account { account } = change {
            self.era += 1;
            let era = self.era;
            let held = self.by_id.entry(account.id.clone()).or_insert_with(|| Held {
                account: Account::clone(account),
                hash: None,
                second: None,
                link: None,
                subject: None,
                created: at,
                era,
            });
            // What its holder may see and do is looked up at each request; who may no longer come in is out.
            if account.disabled || held.account.role != account.role {
                held.era = era;
            }
            if !is_bound_alike(&held.account, account) {
                held.link = None;
            }
            held.account = Account::clone(account);
            return true;
        }
        if let Change::AccountGone { id } = change {
            self.by_id.remove(id);
            return true;
        }
        if let Change::AccountSubject { id, subject } = change {
            self.speak_of(id, subject.as_ref());
            return true;
        }
        let Some((id, ends_sessions)) = concerns(change) else {
            return false;
        };
        let Some(held) = self.by_id.get_mut(id) else {
            return true;
        };
        match change {
            Change::AccountInvited { sha256, expires, .. } => {
                held.link = sha256.parse().ok().map(|sha256| Link {
                    sha256,
                    ends: *expires,
                });
            }
            Change::AccountPassword { hash, .. } => {
                held.hash = Some(hash.clone());
                held.link = None;
            }
            Change::AccountSecond { sealed, .. } => held.second = sealed.clone(),
            _ => {}
        }
        if ends_sessions {
            self.era += 1;
            held.era = self.era;
        }
        true
    }

    /// The holder of an account is whom a provider speaks of. Who came in by a former subject is out, and so is who had
    /// this one.
    fn speak_of(&mut self, id: &AccountId, subject: Option<&Subject>) {
        if !self.by_id.contains_key(id) {
            return;
        }
        let is_former = |held: &&mut Held| match held.account.id == *id {
            true => held.subject.is_some() && held.subject.as_ref() != subject,
            false => held.subject.is_some() && held.subject.as_ref() == subject,
        };
        for held in self.by_id.values_mut().filter(is_former) {
            held.subject = None;
            self.era += 1;
            held.era = self.era;
        }
        if let Some(held) = self.by_id.get_mut(id) {
            held.subject = subject.cloned();
        }
    }

    /// The account whose holder a provider speaks of.
    pub fn spoken_of(&self, subject: &Subject) -> Option<&Held> {
        let is_it = |held: &&Held| held.subject.as_ref() == Some(subject);
        self.by_id.values().find(is_it)
    }

    /// An account.
    pub fn get(&self, id: &AccountId) -> Option<&Held> {
        self.by_id.get(id)
    }

    /// The account whose link has this key, before its end.
    pub fn linked(&self, key: &str, now: Timestamp) -> Option<&Held> {
        let sha256 = TokenHash::of(key);
        let is_it = |held: &&Held| {
            let opens = |link: &Link| link.sha256 == sha256 && now < link.ends;
            held.link.as_ref().is_some_and(opens) && !held.account.disabled
        };
        self.by_id.values().find(is_it)
    }

    /// Every account, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Whether a link that was made for the one opens the other: who made it may not be who may make one for what the account
/// is now.
fn is_bound_alike(before: &Account, after: &Account) -> bool {
    before.role == after.role
        && before.division == after.division
        && before.departments == after.departments
        && !after.disabled
}

/// The account that a change other than its making and its end is about, and whether its sessions end.
fn concerns(change: &Change) -> Option<(&AccountId, bool)> {
    match change {
        Change::AccountInvited { id, .. } => Some((id, false)),
        Change::AccountPassword { id, .. }
        | Change::AccountSecond { id, .. }
        | Change::AccountLoggedOut { id } => Some((id, true)),
        _ => None,
    }
}

/// Writes an account's change; others are not meant.
pub(super) fn put(tx: &Connection, position: u64, at: Timestamp, change: &Change) -> rusqlite::Result<()> {
    let run =
        |sql: &str, values: &[&dyn rusqlite::ToSql]| tx.prepare_cached(sql)?.execute(values).map(|_| ());
    match change {
        Change::Account { account } => {
            let before: Option<String> = tx
                .prepare_cached("SELECT json FROM accounts WHERE id = ?1")?
                .query_row([account.id.as_str()], |row| row.get(0))
                .optional()?;
            let before = before.and_then(|json| serde_json::from_str::<Account>(&json).ok());
            if before.is_some_and(|before| !is_bound_alike(&before, account)) {
                run(
                    "UPDATE accounts SET link = NULL, link_ends = NULL WHERE id = ?1",
                    &[&account.id.as_str()],
                )?;
            }
            run(
                "INSERT INTO accounts (id, json, created, position) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET json = ?2, position = ?4",
                &[
                    &account.id.as_str(),
                    &serde_json::to_string(account).expect("accounts have text keys only"),
                    &at.ms(),
                    &signed(position),
                ],
            )
        }
        Change::AccountInvited { id, sha256, expires } => {
            let link = sha256.parse::<TokenHash>().ok();
            run(
                "UPDATE accounts SET link = ?2, link_ends = ?3, position = ?4 WHERE id = ?1",
                &[
                    &id.as_str(),
                    &link.as_ref().map(|hash| hash.bytes().as_slice()),
                    &expires.ms(),
                    &signed(position),
                ],
            )
        }
        Change::AccountPassword { id, hash } => run(
            "UPDATE accounts SET hash = ?2, link = NULL, link_ends = NULL, position = ?3 WHERE id = ?1",
            &[&id.as_str(), hash, &signed(position)],
        ),
        Change::AccountSecond { id, sealed } => run(
            "UPDATE accounts SET second = ?2, position = ?3 WHERE id = ?1",
            &[&id.as_str(), sealed, &signed(position)],
        ),
        Change::AccountSubject { id, subject } => {
            run("DELETE FROM account_subjects WHERE id = ?1", &[&id.as_str()])?;
            let Some(Subject { issuer, sub }) = subject else {
                return Ok(());
            };
            run(
                "INSERT OR REPLACE INTO account_subjects (id, issuer, sub)
                 SELECT id, ?2, ?3 FROM accounts WHERE id = ?1",
                &[&id.as_str(), issuer, sub],
            )
        }
        Change::AccountGone { id } => {
            run("DELETE FROM account_subjects WHERE id = ?1", &[&id.as_str()])?;
            run("DELETE FROM accounts WHERE id = ?1", &[&id.as_str()])
        }
        _ => Ok(()),
    }
}

/// Every account, by id.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Held>> {
    let mut statement = connection.prepare_cached(
        "SELECT json, hash, second, link, link_ends, created, issuer, sub
         FROM accounts LEFT JOIN account_subjects USING (id) ORDER BY id",
    )?;
    let rows = statement.query_map(params![], |row| {
        let link: Option<Vec<u8>> = row.get(3)?;
        let ends: Option<i64> = row.get(4)?;
        let issuer: Option<String> = row.get(6)?;
        let sub: Option<String> = row.get(7)?;
        let link = link.as_deref().and_then(TokenHash::from_slice).zip(ends);
        Ok(Held {
            account: json(row, 0)?,
            hash: row.get(1)?,
            second: row.get(2)?,
            link: link.map(|(sha256, ends)| Link {
                sha256,
                ends: Timestamp::from_ms(ends),
            }),
            subject: issuer.zip(sub).map(|(issuer, sub)| Subject { issuer, sub }),
            created: Timestamp::from_ms(row.get(5)?),
            era: 0,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Role;

    use super::*;

    fn id() -> AccountId {
        AccountId::new("li").unwrap()
    }

    fn account(role: Role, disabled: bool) -> Change {
        Change::Account {
            account: Box::new(Account {
                id: id(),
                name: String::new(),
                role,
                division: None,
                departments: Vec::new(),
                disabled,
            }),
        }
    }

    fn invited(key: &str, expires: i64) -> Change {
        Change::AccountInvited {
            id: id(),
            sha256: TokenHash::of(key).to_string(),
            expires: Timestamp::from_ms(expires),
        }
    }

    fn password(hash: &str) -> Change {
        Change::AccountPassword {
            id: id(),
            hash: hash.to_owned(),
        }
    }

    fn subject(of: &str, sub: Option<&str>) -> Change {
        Change::AccountSubject {
            id: AccountId::new(of).unwrap(),
            subject: sub.map(|sub| Subject {
                issuer: "https://sso.example".to_owned(),
                sub: sub.to_owned(),
            }),
        }
    }

    fn other() -> Change {
        let Change::Account { mut account } = account(Role::Viewer, false) else {
            unreachable!("it is an account");
        };
        account.id = AccountId::new("wang").unwrap();
        Change::Account { account }
    }

    /// The same changes in memory and in a file.
    fn both(changes: &[Change]) -> (Accounts, Vec<Held>) {
        let (mut accounts, file) = (Accounts::default(), Connection::open_in_memory().unwrap());
        file.execute_batch(SCHEMA).unwrap();
        for (i, change) in changes.iter().enumerate() {
            let at = Timestamp::from_ms(i as i64);
            assert!(accounts.apply(at, change), "{change:?}");
            put(&file, i as u64, at, change).unwrap();
        }
        let all = all(&file).unwrap();
        (accounts, all)
    }

    #[test]
    fn memory_and_file_say_the_same() {
        let second = |sealed: Option<&str>| Change::AccountSecond {
            id: id(),
            sealed: sealed.map(str::to_owned),
        };
        let steps = [
            account(Role::Viewer, false),
            invited("key", 50),
            password("h1"),
            second(Some("s")),
            invited("other", 90),
            account(Role::Officer, false),
            Change::AccountLoggedOut { id: id() },
            second(None),
            account(Role::Officer, true),
            subject("li", Some("9")),
            other(),
            subject("wang", Some("8")),
            subject("li", Some("7")),
            subject("wang", Some("7")),
            subject("nobody", Some("7")),
            subject("li", Some("7")),
            subject("wang", None),
            Change::AccountGone { id: id() },
            password("nobody's"),
            subject("wang", Some("7")),
        ];
        for n in 0..=steps.len() {
            let (accounts, file) = both(&steps[..n]);
            let plain = |held: &Held| Held {
                era: 0,
                ..held.clone()
            };
            let memory: Vec<Held> = accounts.iter().map(plain).collect();
            assert!(memory == file, "after {n} changes");
        }
    }

    #[test]
    fn a_link_opens_until_its_end_and_once() {
        let now = Timestamp::from_ms;
        let (mut accounts, _) = both(&[account(Role::Viewer, false), invited("key", 50)]);
        assert!(accounts.linked("key", now(49)).is_some());
        assert!(accounts.linked("key", now(50)).is_none());
        assert!(accounts.linked("other", now(0)).is_none());
        accounts.apply(now(2), &invited("other", 60));
        assert!(accounts.linked("key", now(3)).is_none(), "a newer link ends it");
        accounts.apply(now(3), &account(Role::Viewer, true));
        assert!(
            accounts.linked("other", now(4)).is_none(),
            "a disabled account has none"
        );
        accounts.apply(now(4), &account(Role::Viewer, false));
        accounts.apply(now(5), &password("h"));
        assert!(accounts.linked("other", now(6)).is_none(), "it was used");
    }

    #[test]
    fn who_never_had_a_password_is_out_like_others() {
        for last in [
            Change::AccountLoggedOut { id: id() },
            subject("li", None),
            subject("li", Some("8")),
        ] {
            let (mut accounts, _) = both(&[account(Role::Viewer, false), subject("li", Some("9"))]);
            let before = accounts.get(&id()).unwrap().era;
            accounts.apply(Timestamp::from_ms(9), &last);
            assert_ne!(accounts.get(&id()).unwrap().era, before, "{last:?}");
        }
    }

    #[test]
    fn a_subject_is_one_account_s_and_its_loss_ends_sessions() {
        let (mut accounts, _) = both(&[account(Role::Viewer, false), other(), subject("li", Some("9"))]);
        let nine = Subject {
            issuer: "https://sso.example".to_owned(),
            sub: "9".to_owned(),
        };
        let elsewhere = Subject {
            issuer: "https://other.example".to_owned(),
            ..nine.clone()
        };
        let who = |accounts: &Accounts| accounts.spoken_of(&nine).map(|held| held.account.id.to_string());
        assert_eq!(who(&accounts).as_deref(), Some("li"));
        assert_eq!(accounts.spoken_of(&elsewhere), None);
        let era = |accounts: &Accounts, of: &str| accounts.get(&AccountId::new(of).unwrap()).unwrap().era;
        let before = (era(&accounts, "li"), era(&accounts, "wang"));
        let at = Timestamp::from_ms(9);
        accounts.apply(at, &subject("li", Some("9")));
        assert_eq!(before.0, era(&accounts, "li"), "the same again");
        accounts.apply(at, &subject("wang", Some("9")));
        assert_eq!(who(&accounts).as_deref(), Some("wang"));
        assert_ne!(before.0, era(&accounts, "li"), "who has lost it is out");
        assert_eq!(before.1, era(&accounts, "wang"), "who is new to it stays");
        accounts.apply(at, &subject("wang", None));
        assert_eq!(who(&accounts), None);
        assert_ne!(before.1, era(&accounts, "wang"));
    }

    #[test]
    fn sessions_end_with_what_let_them_in() {
        let (mut accounts, _) = both(&[account(Role::Viewer, false), password("h")]);
        let mut era = accounts.get(&id()).unwrap().era;
        let mut step = |change: Change, ends: bool| {
            accounts.apply(Timestamp::from_ms(9), &change);
            let now = accounts.get(&id()).unwrap().era;
            assert_eq!(now != era, ends, "{change:?}");
            era = now;
        };
        step(invited("k", 99), false);
        step(account(Role::Viewer, false), false);
        step(password("h2"), true);
        step(account(Role::Officer, false), true);
        step(Change::AccountLoggedOut { id: id() }, true);
        step(
            Change::AccountSecond {
                id: id(),
                sealed: None,
            },
            true,
        );
        step(account(Role::Officer, true), true);
    }
}
