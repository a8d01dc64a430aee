//! Accounts of people: who logs in with a password, as what, for which division and departments.

use serde::{Deserialize, Serialize};

use crate::{AccountId, DivisionCode, Role, Scope};

/// Most characters of a shown name or a department.
const MAX_SHOWN: usize = 64;
/// Most departments of one account.
const MAX_DEPARTMENTS: usize = 32;
/// Most characters of a provider's address.
const MAX_ISSUER: usize = 1024;
/// Most characters of a provider's name for a person (OpenID Connect Core 1.0, section 2, `sub`).
const MAX_SUB: usize = 255;

/// What is known of an account. Its password's hash and its second factor are changes of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The name that its holder logs in with.
    pub id: AccountId,
    /// The holder's name as people read it; the id when it is empty.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Only what lies in this division; `None` is the whole city.
    #[serde(default)]
    pub division: Option<DivisionCode>,
    /// Only these departments; empty is all.
    #[serde(default)]
    pub departments: Vec<String>,
    /// It stays known and lets nobody in.
    #[serde(default)]
    pub disabled: bool,
}

/// Whom a provider of OpenID Connect speaks of: what its ID tokens say as `iss` and `sub`.
///
/// The two together name one person for good (OpenID Connect Core 1.0, section 5.7); no other claim does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The provider's address, as it says it.
    pub issuer: String,
    /// Its name for the person: at most 255 characters, often no readable ones.
    pub sub: String,
}

impl Subject {
    /// Whether this may be somebody.
    ///
    /// # Errors
    /// [`AccountError::Subject`].
    pub fn check(&self) -> Result<(), AccountError> {
        let is_one = |text: &str, most: usize| {
            !text.is_empty() && text.chars().count() <= most && !text.contains(char::is_control)
        };
        match is_one(&self.issuer, MAX_ISSUER) && is_one(&self.sub, MAX_SUB) {
            true => Ok(()),
            false => Err(AccountError::Subject),
        }
    }
}

/// Why there is no such account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// `admin` is the owner of the data folder, who has a token there.
    #[error("the role admin is that of the data folder's owner; no account has it")]
    Role,
    /// A shown name or a department is empty, too long or not printable.
    #[error("{what} is 1 to {MAX_SHOWN} printable characters")]
    Text {
        /// Which field.
        what: &'static str,
    },
    /// Too many departments.
    #[error("{MAX_DEPARTMENTS} departments at most are somebody's")]
    Departments,
    /// A provider's address or its name for a person is empty, too long or not printable.
    #[error("an issuer is 1 to {MAX_ISSUER}, a subject 1 to {MAX_SUB} printable characters")]
    Subject,
}

impl Account {
    /// Whether this may be an account.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn check(&self) -> Result<(), AccountError> {
        if self.role == Role::Admin {
            return Err(AccountError::Role);
        }
        if !is_text(&self.name) {
            return Err(AccountError::Text { what: "name" });
        }
        check_departments(&self.departments)
    }

    /// What its holder may see and do.
    pub fn scope(&self) -> Scope {
        Scope {
            actor: self.id.to_string(),
            role: self.role,
            division: self.division.clone(),
            departments: self.departments.clone(),
        }
    }
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= MAX_SHOWN && !text.contains(char::is_control)
}

/// Whether these may be the departments of an account or a token.
///
/// # Errors
/// [`AccountError::Departments`], [`AccountError::Text`].
pub fn check_departments(departments: &[String]) -> Result<(), AccountError> {
    if departments.len() > MAX_DEPARTMENTS {
        return Err(AccountError::Departments);
    }
    let is_department = |text: &String| is_text(text) && !text.trim().is_empty();
    match departments.iter().all(is_department) {
        true => Ok(()),
        false => Err(AccountError::Text { what: "departments" }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn account(role: Role) -> Account {
        Account {
            id: AccountId::new("li.na").unwrap(),
            name: "李娜".to_owned(),
            role,
            division: None,
            departments: vec!["水务局".to_owned()],
            disabled: false,
        }
    }

    #[test]
    fn no_account_is_the_owner_and_texts_are_bounded() {
        assert_eq!(account(Role::Commander).check(), Ok(()));
        assert_eq!(account(Role::Admin).check(), Err(AccountError::Role));
        let mut long = account(Role::Viewer);
        long.name = "长".repeat(MAX_SHOWN + 1);
        assert_eq!(long.check(), Err(AccountError::Text { what: "name" }));
        for bad in [" ", "a\nb"] {
            let mut odd = account(Role::Viewer);
            odd.departments = vec![bad.to_owned()];
            let expected = Err(AccountError::Text { what: "departments" });
            assert_eq!(odd.check(), expected, "{bad:?}");
        }
        let mut many = account(Role::Viewer);
        many.departments = vec!["a".to_owned(); MAX_DEPARTMENTS + 1];
        assert_eq!(many.check(), Err(AccountError::Departments));
    }

    #[test]
    fn a_subject_is_of_somebody_and_of_bounded_length() {
        let check = |issuer: &str, sub: &str| {
            let (issuer, sub) = (issuer.to_owned(), sub.to_owned());
            Subject { issuer, sub }.check()
        };
        assert_eq!(check("https://sso.example", &"9".repeat(MAX_SUB)), Ok(()));
        for (issuer, sub) in [
            ("", "9"),
            ("https://sso.example", ""),
            ("https://sso.example", "a\nb"),
            ("https://sso.example", &"9".repeat(MAX_SUB + 1)),
            (&"i".repeat(MAX_ISSUER + 1), "9"),
        ] {
            assert_eq!(
                check(issuer, sub),
                Err(AccountError::Subject),
                "{issuer:.20} {sub:.20}"
            );
        }
    }

    #[test]
    fn its_scope_is_what_it_says() {
        let scope = account(Role::Officer).scope();
        assert_eq!((scope.actor.as_str(), scope.role), ("li.na", Role::Officer));
        assert_eq!(scope.departments, ["水务局"]);
    }
}
