//! Accounts of people: made by who may, and who enters by a link of 24 hours.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use onemap_model::record::Register;
use onemap_model::scope::{Permission, Role};
use onemap_model::{Account, AccountId, DivisionCode, Scope, Subject};
use onemap_store::ledger::{Held, TokenHash};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::LINK_LIFE;
use crate::api::listed::some_division;
use crate::api::{act_problem, behind, list};
use crate::auth::{Caller, forget_first_link, new_token};
use crate::error::Problem;
use crate::oidc::Oidc;
use crate::request::{Body, NoParams};
use crate::views::Views;

fn unknown(id: &str) -> Problem {
    Problem::not_found("unknown_account", format!("no account `{id}`"))
}

/// Whether an account is the caller's to see: its holder sees nothing that the caller does not.
fn sees(scope: &Scope, held: &Held) -> bool {
    scope.encloses(held.account.division.as_ref(), &held.account.departments)
}

/// An account that the caller may see.
fn find(views: &Views, scope: &Scope, id: &str) -> Result<Held, Problem> {
    let held = AccountId::new(id).ok().and_then(|id| views.keys.account(&id));
    held.filter(|held| sees(scope, held)).ok_or_else(|| unknown(id))
}

fn shown(views: &Views, held: &Held) -> Value {
    let mut shown = json!(held.account);
    shown["created"] = json!(held.created);
    shown["has_password"] = held.hash.is_some().into();
    shown["has_second"] = held.second.is_some().into();
    shown["needs_second"] = views.trust.needs_second(held.account.role).into();
    shown["link_ends"] = json!(held.link.map(|link| link.ends).filter(|ends| *ends > views.now()));
    shown["subject"] = json!(held.subject);
    shown["sessions"] = views.keys.n_sessions(&held.account.id).into();
    shown
}

/// Whether somebody may come in by an account.
fn opens(held: &Held) -> bool {
    !held.account.disabled && (held.hash.is_some() || held.subject.is_some())
}

/// That an administering role keeps one who comes in and sees the whole city; whoever has the machine may take the
/// last one away. `after` is what is to stand for `held`, nothing where it goes.
fn not_last(views: &Views, scope: &Scope, held: &Held, after: Option<&Account>) -> Result<(), Problem> {
    let role = held.account.role;
    let rules = |account: &Account| {
        account.role == role && account.division.is_none() && account.departments.is_empty()
    };
    let stays = after.is_some_and(|after| rules(after) && !after.disabled);
    let is_one = role.administers() && opens(held) && rules(&held.account);
    if scope.role == Role::Admin || stays || !is_one {
        return Ok(());
    }
    let all = views.keys.accounts();
    let mut others = all.iter().filter(|other| other.account.id != held.account.id);
    match others.any(|other| opens(other) && rules(&other.account)) {
        true => Ok(()),
        false => Err(Problem::conflict(
            "last_of_role",
            format!(
                "`{}` is the last {} of the whole city who can come in: make another first, or do it on the machine (onemap user)",
                held.account.id,
                role.name()
            ),
        )),
    }
}

async fn record(views: &Views, scope: &Scope, changes: Vec<Register>) -> Result<(), Problem> {
    let position = views
        .acts
        .record_register(scope, views.now(), changes)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)
}

/// Accounts of the caller's division and departments, by id.
pub(crate) async fn list_accounts(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let all = views.keys.accounts();
    let seen = all.iter().filter(|held| sees(scope, held));
    Ok(list(seen.map(|held| shown(&views, held)).collect(), None))
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let held = find(&views, caller.scope(), &id)?;
    Ok(Json(shown(&views, &held)))
}

/// A link and the change that makes it good.
fn link(views: &Views, id: &AccountId) -> Result<(Register, Value), Problem> {
    let key = new_token().map_err(|e| Problem::internal(&e))?;
    let expires = views.now() + LINK_LIFE;
    let change = Register::AccountInvited {
        id: id.clone(),
        sha256: TokenHash::of(&key).to_string(),
        expires,
    };
    // In the fragment, which browsers send nowhere.
    Ok((
        change,
        json!({"path": format!("/#setup={key}"), "key": key, "ends": expires}),
    ))
}

/// Makes an account; its link stands in this answer only.
pub(crate) async fn add(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(account): Body<Account>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let _turn = views.accounting.lock().await;
    // Who reads a list of acts does not tell Li from li.
    let spelt = account.id.as_str().to_lowercase();
    let held = views.keys.accounts();
    let like = held.iter().map(|held| &held.account.id);
    if let Some(known) = like.into_iter().find(|id| id.as_str().to_lowercase() == spelt) {
        let message = format!("there is an account `{known}`");
        return Err(Problem::conflict("known_account", message));
    }
    let ends_first_link = held.is_empty();
    some_division(&views, account.division.as_ref())?;
    let (invited, link) = link(&views, &account.id)?;
    let id = account.id.clone();
    let made = Register::Account {
        account: Box::new(account),
    };
    record(&views, scope, vec![made, invited]).await?;
    if ends_first_link {
        forget_first_link(&views.dir);
    }
    let held = views.keys.account(&id).ok_or_else(|| unknown(id.as_str()))?;
    let answer = json!({"account": shown(&views, &held), "link": link, "first_link_ended": ends_first_link});
    Ok((StatusCode::CREATED, Json(answer)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patch {
    name: Option<String>,
    role: Option<Role>,
    /// `null` is the whole city.
    #[serde(default, deserialize_with = "some")]
    division: Option<Option<DivisionCode>>,
    departments: Option<Vec<String>>,
    disabled: Option<bool>,
}

/// Tells a member that is null from one that is not there.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<DivisionCode>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Changes what is said. Nobody changes the own account here.
pub(crate) async fn patch(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(patch): Body<Patch>,
) -> Result<Json<Value>, Problem> {
    let says_who = patch.name.is_some()
        || patch.role.is_some()
        || patch.division.is_some()
        || patch.departments.is_some();
    let scope = caller.scope();
    if says_who && !scope.may(Permission::Tokens) {
        return Err(Problem::forbidden(format!(
            "the role {} keeps the security of accounts; who they are is for the permission tokens",
            scope.role.name()
        )));
    }
    let _turn = views.accounting.lock().await;
    let held = find(&views, scope, &id)?;
    not_own(scope, &held)?;
    let mut account = held.account.clone();
    account.name = patch.name.unwrap_or(account.name);
    account.role = patch.role.unwrap_or(account.role);
    account.division = patch.division.unwrap_or(account.division);
    account.departments = patch.departments.unwrap_or(account.departments);
    account.disabled = patch.disabled.unwrap_or(account.disabled);
    if account.division != held.account.division {
        some_division(&views, account.division.as_ref())?;
    }
    not_last(&views, scope, &held, Some(&account))?;
    let change = Register::Account {
        account: Box::new(account),
    };
    record(&views, scope, vec![change]).await?;
    let held = find(&views, scope, &id)?;
    Ok(Json(shown(&views, &held)))
}

fn not_own(scope: &Scope, held: &Held) -> Result<(), Problem> {
    match scope.actor == held.account.id.as_str() && scope.role == held.account.role {
        true => Err(Problem::forbidden("nobody changes or ends the own account")),
        false => Ok(()),
    }
}

/// A new link for who has lost password or second factor; a former link ends, the password stays until it is used.
pub(crate) async fn invite(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let _turn = views.accounting.lock().await;
    let held = find(&views, scope, &id)?;
    if held.account.disabled {
        let message = format!(
            "`{}` is disabled, and a link would open nothing: enable it first",
            held.account.id
        );
        return Err(Problem::conflict("account_disabled", message));
    }
    let (invited, link) = link(&views, &held.account.id)?;
    record(&views, scope, vec![invited]).await?;
    Ok((StatusCode::CREATED, Json(json!({"link": link}))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spoken {
    /// The provider's name for the person.
    subject: String,
    /// The provider's address; the configured one when absent.
    issuer: Option<String>,
}

/// Links an account with the person of whom a provider of OpenID Connect speaks.
pub(crate) async fn speak_of(
    State(views): State<Arc<Views>>,
    Extension(oidc): Extension<Oidc>,
    caller: Caller,
    Path(id): Path<String>,
    Body(spoken): Body<Spoken>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let _turn = views.accounting.lock().await;
    let held = find(&views, scope, &id)?;
    not_own(scope, &held)?;
    let id = held.account.id;
    let issuer = spoken.issuer.or_else(|| oidc.issuer().map(str::to_owned));
    let issuer = issuer.ok_or_else(|| {
        let message = "issuer is missing: the address of the provider, where none is configured";
        Problem::bad_request("bad_issuer", message)
    })?;
    let subject = Subject {
        issuer,
        sub: spoken.subject,
    };
    let holder = views.keys.spoken_of(&subject);
    if holder.is_some_and(|holder| holder.account.id != id) {
        let message = "this person is linked with another account: end that first";
        return Err(Problem::conflict("known_subject", message));
    }
    let change = Register::AccountSubject {
        id: id.clone(),
        subject: Some(subject),
    };
    record(&views, scope, vec![change]).await?;
    let held = find(&views, scope, id.as_str())?;
    Ok(Json(shown(&views, &held)))
}

/// Ends the link with a provider's person, and the account's sessions.
pub(crate) async fn forget_subject(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    let _turn = views.accounting.lock().await;
    let held = find(&views, scope, &id)?;
    not_own(scope, &held)?;
    let id = held.account.id;
    let change = Register::AccountSubject { id, subject: None };
    record(&views, scope, vec![change]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the sessions of an account and their streams.
pub(crate) async fn log_out(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    let id = find(&views, scope, &id)?.account.id;
    record(&views, scope, vec![Register::AccountLoggedOut { id }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends an account. What its holder did stays under its name.
pub(crate) async fn remove(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    let _turn = views.accounting.lock().await;
    let held = find(&views, scope, &id)?;
    not_own(scope, &held)?;
    not_last(&views, scope, &held, None)?;
    let id = held.account.id;
    record(&views, scope, vec![Register::AccountGone { id }]).await?;
    Ok(StatusCode::NO_CONTENT)
}
