//! Whose account it is that a provider's word opens. Pure.
//!
//! A person is known by issuer and subject. A name, which people may change at many providers, only finds an account at
//! the first time, where the configuration says so, and never one that needs a second factor: who commands or
//! administers is linked by an administrator.

use onemap_model::{Account, AccountId};
use onemap_store::ledger::Held;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::settings::Settings;

/// Characters of a shown name that are kept.
const N_SHOWN: usize = 64;

/// What is to be done before its holder is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Nothing: the account is his.
    Known(AccountId),
    /// The account of his name becomes his.
    Bound(AccountId),
    /// An account is made.
    Made(Box<Account>),
}

/// Whose account opens to who is `spoken_of`, or else to whom the claims describe; `named` looks an account up.
///
/// # Errors
/// [`Refusal::Disabled`], [`Refusal::Name`], [`Refusal::NotLinked`], [`Refusal::Unknown`].
pub(crate) fn whose(
    settings: &Settings,
    claims: &Map<String, Value>,
    spoken_of: Option<&Held>,
    named: impl FnOnce(&AccountId) -> Option<Held>,
) -> Result<Whose, Refusal> {
    if let Some(held) = spoken_of {
        return match held.account.disabled {
            true => Err(Refusal::Disabled),
            false => Ok(Whose::Known(held.account.id.clone())),
        };
    }
    let name = claim(claims, &settings.name_claim).and_then(Value::as_str);
    if !settings.bind_by_name && settings.makes.is_empty() {
        // No name would open anything; that there is an account of it is the holder's to know.
        let is_there = name
            .and_then(|name| AccountId::new(name).ok())
            .and_then(|id| named(&id));
        return Err(is_there.map_or(Refusal::Unknown, |_| Refusal::NotLinked));
    }
    let id = name
        .and_then(|name| AccountId::new(name).ok())
        .ok_or(Refusal::Name)?;
    if let Some(held) = named(&id) {
        let is_free = held.subject.is_none() && !held.account.role.needs_second();
        return match settings.bind_by_name && is_free {
            false => Err(Refusal::NotLinked),
            true if held.account.disabled => Err(Refusal::Disabled),
            true => Ok(Whose::Bound(id)),
        };
    }
    let fits = settings
        .makes
        .iter()
        .find(|make| claim(claims, &make.claim).is_some_and(|found| says(found, &make.value)));
    let make = fits.ok_or(Refusal::Unknown)?;
    let shown = claims.get("name").and_then(Value::as_str).unwrap_or_default();
    let shown = shown.chars().filter(|c| !c.is_control()).take(N_SHOWN);
    Ok(Whose::Made(Box::new(Account {
        id,
        name: shown.collect(),
        role: make.role,
        division: make.division.clone(),
        departments: make.departments.clone(),
        disabled: false,
    })))
}

/// Whether the provider says that it saw a second factor: by `amr` or `acr` of the ID token, which nobody else signs.
pub(crate) fn saw_second(settings: &Settings, id_token: &Map<String, Value>) -> bool {
    let is_said = |name: &str, values: &[String]| {
        let found = id_token.get(name);
        found.is_some_and(|found| values.iter().any(|value| says(found, value)))
    };
    is_said("amr", &settings.second_amr) || is_said("acr", &settings.second_acr)
}

/// A claim by its name, or by a way of names with dots between them into objects.
pub(crate) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Whether a claim is this text, or a list that holds it.
fn says(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(own) => own == text,
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DivisionCode, Role, Subject, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::oidc::settings::Make;

    fn settings(bind_by_name: bool, makes: Vec<Make>) -> Settings {
        Settings {
            issuer: "https://sso.example".to_owned(),
            client_id: "onemap".to_owned(),
            client_secret: None,
            public_url: String::new(),
            scopes: Vec::new(),
            name_claim: "preferred_username".to_owned(),
            bind_by_name,
            makes,
            second_amr: vec!["otp".to_owned(), "mfa".to_owned()],
            second_acr: vec!["gold".to_owned()],
            roots: None,
            label: (String::new(), String::new()),
        }
    }

    fn make(value: &str, role: Role) -> Make {
        Make {
            claim: "realm.groups".to_owned(),
            value: value.to_owned(),
            role,
            division: Some(DivisionCode::new("630104").unwrap()),
            departments: vec!["水务局".to_owned()],
        }
    }

    fn held(role: Role, disabled: bool, sub: Option<&str>) -> Held {
        Held {
            account: Account {
                id: AccountId::new("li").unwrap(),
                name: String::new(),
                role,
                division: None,
                departments: Vec::new(),
                disabled,
            },
            hash: None,
            second: None,
            link: None,
            subject: sub.map(|sub| Subject {
                issuer: "https://sso.example".to_owned(),
                sub: sub.to_owned(),
            }),
            created: Timestamp::from_ms(0),
            era: 0,
        }
    }

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn claims_are_found_by_name_and_by_way() {
        let found = json!({"groups": ["a", "b"], "realm_access": {"roles": ["c"]}, "a.b": "d", "n": 3});
        let all = claims(found);
        for (name, value, is_it) in [
            ("groups", "b", true),
            ("groups", "c", false),
            ("realm_access.roles", "c", true),
            ("realm_access", "c", false),
            ("a.b", "d", true),
            ("n", "3", false),
        ] {
            assert_eq!(says(claim(&all, name).unwrap(), value), is_it, "{name} {value}");
        }
        for missing in ["roles", "realm_access.groups", "groups.a", ""] {
            assert_eq!(claim(&all, missing), None, "{missing}");
        }
    }

    #[test]
    fn who_is_linked_is_in_whatever_he_is_called() {
        let claims = claims(json!({"preferred_username": "wang"}));
        let own = held(Role::Commander, false, Some("9"));
        let found = whose(&settings(false, vec![]), &claims, Some(&own), |_| None);
        assert_eq!(found, Ok(Whose::Known(AccountId::new("li").unwrap())));
        let own = held(Role::Commander, true, Some("9"));
        let found = whose(&settings(true, vec![]), &claims, Some(&own), |_| None);
        assert_eq!(found, Err(Refusal::Disabled));
    }

    #[test]
    fn a_name_opens_nothing_unless_it_is_said_to() {
        let who = claims(json!({"preferred_username": "li"}));
        let ask = |settings: &Settings, held: Option<Held>| whose(settings, &who, None, |_| held);
        let (deny, bind) = (settings(false, vec![]), settings(true, vec![]));
        assert_eq!(ask(&deny, None), Err(Refusal::Unknown));
        assert_eq!(
            ask(&deny, Some(held(Role::Viewer, false, None))),
            Err(Refusal::NotLinked)
        );
        let li = AccountId::new("li").unwrap();
        assert_eq!(
            ask(&bind, Some(held(Role::Viewer, false, None))),
            Ok(Whose::Bound(li))
        );
        for (role, disabled, sub, refused) in [
            (Role::Viewer, true, None, Refusal::Disabled),
            (Role::Viewer, false, Some("8"), Refusal::NotLinked),
            (Role::Operator, false, None, Refusal::NotLinked),
            (Role::SystemAdmin, false, None, Refusal::NotLinked),
        ] {
            let own = held(role, disabled, sub);
            assert_eq!(ask(&bind, Some(own)), Err(refused), "{role:?} {disabled} {sub:?}");
        }
        assert_eq!(ask(&bind, None), Err(Refusal::Unknown));
        for odd in [
            json!({}),
            json!({"preferred_username": 3}),
            json!({"preferred_username": "a b"}),
        ] {
            let found = whose(&bind, &claims(odd), None, |_| None);
            assert_eq!(found, Err(Refusal::Name));
        }
    }

    #[test]
    fn an_account_is_made_by_the_first_entry_that_fits() {
        let makes = vec![make("officers", Role::Officer), make("viewers", Role::Viewer)];
        let settings = settings(false, makes);
        let ask = |groups: Value, held: Option<Held>| {
            let who = json!({"preferred_username": "li", "name": "李\n娜", "realm": {"groups": groups}});
            whose(&settings, &claims(who), None, |_| held)
        };
        let Ok(Whose::Made(account)) = ask(json!(["viewers", "officers"]), None) else {
            panic!("an account is made");
        };
        assert_eq!((account.role, account.name.as_str()), (Role::Officer, "李娜"));
        assert_eq!(account.division, DivisionCode::new("630104").ok());
        assert_eq!(account.departments, ["水务局"]);
        assert_eq!(ask(json!(["others"]), None), Err(Refusal::Unknown));
        // One that is there is not his by its name.
        let there = held(Role::Viewer, false, None);
        assert_eq!(ask(json!(["viewers"]), Some(there)), Err(Refusal::NotLinked));
    }

    #[test]
    fn a_second_factor_is_what_the_configuration_says() {
        let settings = settings(false, vec![]);
        for (token, saw) in [
            (json!({"amr": ["pwd", "otp"]}), true),
            (json!({"amr": "mfa"}), true),
            (json!({"acr": "gold"}), true),
            (json!({"amr": ["pwd"]}), false),
            (json!({"amr": ["gold"]}), false),
            (json!({"acr": "otp"}), false),
            (json!({}), false),
        ] {
            assert_eq!(saw_second(&settings, &claims(token.clone())), saw, "{token}");
        }
        let nothing = Settings {
            second_amr: Vec::new(),
            second_acr: Vec::new(),
            ..settings
        };
        assert!(!saw_second(
            &nothing,
            &claims(json!({"amr": ["otp"], "acr": "gold"}))
        ));
    }
}
