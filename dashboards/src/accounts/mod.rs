//! How people come in: passwords, one-time passwords, links, and how often they may be guessed.

mod attempts;
mod passwords;
mod second;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use onemap_model::{AccountId, Role};
use onemap_store::ledger::TokenHash;

pub(crate) use attempts::{Attempts, Sayer};
pub(crate) use passwords::{Busy, Hasher, check_password};

pub(crate) use second::{Secret, Step};

/// What accounts and tokens have to show, as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether every account needs a second factor, and not only those that may command or administer.
    pub second_for_all: bool,
    /// Days that an access token opens when its maker states no end; 0 is without an end.
    pub token_days: u32,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            second_for_all: false,
            token_days: 365,
        }
    }
}

impl Trust {
    /// Whether an account of a role must show a second factor.
    pub fn needs_second(self, role: Role) -> bool {
        self.second_for_all || role.needs_second()
    }
}

/// How long a link opens.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Secrets that were shown to who sets up an account, and wait for their first code.
const N_PENDING: usize = 256;

const POISON: &str = "no holder of this lock panics";

/// What log-ins share.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(crate) hasher: Hasher,
    pub(crate) attempts: Mutex<Attempts>,
    /// The newest step whose code came, by account: a code opens once.
    steps: Mutex<HashMap<AccountId, Step>>,
    /// By link, oldest first.
    pending: Mutex<Vec<(TokenHash, Secret)>>,
}

/// A password that is looked at; dropped, the next of the same name from the same network may come.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    door: &'a Door,
    who: Sayer<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.door.attempts.lock().expect(POISON).leave(self.who);
    }
}

impl Door {
    /// Begins to look at a password; `None` while others of the same name are looked at (see [`Attempts::enter`]).
    pub(crate) fn turn<'a>(&'a self, who: Sayer<'a>) -> Option<Turn<'a>> {
        let is_free = self.attempts.lock().expect(POISON).enter(who);
        is_free.then(|| Turn { door: self, who })
    }

    /// Whether a code is that of one of the steps around now and of none before; then it is used up.
    pub(crate) fn takes(&self, id: &AccountId, secret: &Secret, code: &str, at_s: u64) -> bool {
        let mut steps = self.steps.lock().expect(POISON);
        let newest = steps.get(id).copied();
        let Some(step) = secret.step_of(code, at_s, newest) else {
            return false;
        };
        steps.insert(id.clone(), step);
        true
    }

    /// An account's codes begin anew with another secret.
    pub(crate) fn forget_steps(&self, id: &AccountId) {
        self.steps.lock().expect(POISON).remove(id);
    }

    /// The secret that who has a link is shown, the same one at each look.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn pending(&self, link: TokenHash) -> Result<Secret, getrandom::Error> {
        let mut pending = self.pending.lock().expect(POISON);
        if let Some((_, secret)) = pending.iter().find(|(of, _)| *of == link) {
            return Ok(secret.clone());
        }
        if pending.len() >= N_PENDING {
            pending.remove(0);
        }
        let secret = Secret::new()?;
        pending.push((link, secret.clone()));
        Ok(secret)
    }

    /// The link was used.
    pub(crate) fn settled(&self, link: TokenHash) {
        self.pending.lock().expect(POISON).retain(|(of, _)| *of != link);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Role;

    use super::*;

    #[test]
    fn a_code_opens_once() {
        let (door, id) = (Door::default(), AccountId::new("li").unwrap());
        let secret = Secret::new().unwrap();
        let at = 1_763_856_000;
        let code = secret.code(at);
        assert!(door.takes(&id, &secret, &code, at));
        assert!(!door.takes(&id, &secret, &code, at + 1), "again");
        let before = secret.code(at - 30);
        assert!(!door.takes(&id, &secret, &before, at), "an older one");
        assert!(door.takes(&id, &secret, &secret.code(at + 30), at + 30));
    }

    #[test]
    fn a_link_shows_one_secret_until_it_is_used() {
        let door = Door::default();
        let (a, b) = (TokenHash::of("a"), TokenHash::of("b"));
        let first = door.pending(a).unwrap();
        assert_eq!(door.pending(a).unwrap(), first);
        assert_ne!(door.pending(b).unwrap(), first);
        door.settled(a);
        assert_ne!(door.pending(a).unwrap(), first);
        for i in 0..2 * N_PENDING {
            door.pending(TokenHash::of(&i.to_string())).unwrap();
        }
        assert_eq!(door.pending.lock().unwrap().len(), N_PENDING);
    }

    #[test]
    fn who_commands_or_administers_needs_a_second_factor() {
        for (role, needs) in [
            (Role::Viewer, false),
            (Role::Officer, false),
            (Role::Integrator, false),
            (Role::Operator, true),
            (Role::Commander, true),
            (Role::SystemAdmin, true),
            (Role::SecurityAdmin, true),
            (Role::AuditAdmin, true),
        ] {
            assert_eq!(role.needs_second(), needs, "{role:?}");
        }
    }
}
