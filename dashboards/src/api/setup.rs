//! What somebody does who has a link: sets the account's password and second factor, and is in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json};
use onemap_model::record::Register;
use onemap_model::{Account, AccountId, Role, Scope};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use crate::accounts::{Door, check_password};
use crate::api::session::{busy, entered, second_of};
use crate::api::{act_problem, behind};
use crate::auth::{Over, forget_first_link, own_page};
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    key: String,
    /// The name that the holder of a first link chooses.
    id: Option<String>,
}

/// Whose password a link sets.
enum Whom {
    /// A first account, which is the system administrator's.
    First,
    Held(Box<Account>),
}

fn whom(views: &Views, key: &str) -> Result<Whom, Problem> {
    if views.keys.is_first(key) {
        return Ok(Whom::First);
    }
    let held = views.keys.linked(key, views.now());
    held.map(|held| Whom::Held(Box::new(held.account)))
        .ok_or_else(|| {
            Problem::not_found(
                "unknown_link",
                "this link was used, has ended or was replaced by a newer one: ask who made it for another",
            )
        })
}

fn id_of(text: Option<&str>) -> Result<AccountId, Problem> {
    let text =
        text.ok_or_else(|| Problem::bad_request("bad_id", "id is missing: the name to log in with"))?;
    AccountId::new(text).map_err(|error| Problem::bad_request("bad_id", error.to_string()))
}

/// What a link is for, and the secret for the second factor.
pub(crate) async fn look(
    State(views): State<Arc<Views>>,
    Extension(door): Extension<Arc<Door>>,
    headers: HeaderMap,
    Body(look): Body<Look>,
) -> Result<Json<Value>, Problem> {
    own_page(&headers)?;
    let whom = whom(&views, &look.key)?;
    let secret = door
        .pending(TokenHash::of(&look.key))
        .map_err(|e| Problem::internal(&e))?;
    let (account, id, role) = match &whom {
        Whom::First => {
            let id = look.id.as_deref().map(|id| id_of(Some(id))).transpose()?;
            (Value::Null, id, Role::SystemAdmin)
        }
        Whom::Held(account) => (json!(account), Some(account.id.clone()), account.role),
    };
    Ok(Json(json!({
        "account": account, "role": role,
        "second": if views.trust.needs_second(role) { "needed" } else { "optional" },
        "secret": secret.text(), "uri": id.map(|id| secret.uri(&id)),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    key: String,
    password: String,
    /// A code of the secret that [`look`] showed; without one there is no second factor.
    code: Option<String>,
    /// Of a first account.
    id: Option<String>,
    /// Of a first account.
    #[serde(default)]
    name: String,
}

/// Sets password and second factor, and begins a session.
pub(crate) async fn finish(
    State(views): State<Arc<Views>>,
    Extension(door): Extension<Arc<Door>>,
    over: Over,
    headers: HeaderMap,
    Body(setup): Body<Setup>,
) -> Result<Response, Problem> {
    own_page(&headers)?;
    let whom = whom(&views, &setup.key)?;
    let (account, mut changes) = match whom {
        Whom::Held(account) => (account, Vec::new()),
        Whom::First => {
            let account = Box::new(Account {
                id: id_of(setup.id.as_deref())?,
                name: setup.name,
                role: Role::SystemAdmin,
                division: None,
                departments: Vec::new(),
                disabled: false,
            });
            let change = Register::Account {
                account: account.clone(),
            };
            (account, vec![change])
        }
    };
    check_password(&account.id, &setup.password)
        .map_err(|error| Problem::bad_request("weak_password", error.to_string()))?;
    let link = TokenHash::of(&setup.key);
    let sealed = match setup
        .code
        .as_deref()
        .map(str::trim)
        .filter(|code| !code.is_empty())
    {
        None if views.trust.needs_second(account.role) => {
            let message = "this account needs a second factor: enter the secret into an authenticator and give its code";
            return Err(Problem::bad_request("code_needed", message));
        }
        None => None,
        Some(code) => {
            let secret = door.pending(link).map_err(|e| Problem::internal(&e))?;
            let at_s = views.now().ms().max(0) as u64 / 1000;
            if secret.step_of(code, at_s, None).is_none() {
                let message = "the code is not that of this secret now: look at the authenticator's clock";
                return Err(Problem::bad_request("wrong_code", message));
            }
            // It opens nothing else.
            door.forget_steps(&account.id);
            door.takes(&account.id, &secret, code, at_s);
            Some(second_of(&views, &account.id, &secret))
        }
    };
    let hash = door.hasher.hash(setup.password).await.map_err(busy)?;
    // Somebody else may have used it meanwhile, or the account be another's by now.
    let _turn = views.accounting.lock().await;
    let is_first = !changes.is_empty();
    let is_same = match self::whom(&views, &setup.key)? {
        Whom::First => is_first,
        Whom::Held(now) => !is_first && now == account,
    };
    if !is_same {
        let message = "what this link sets has changed meanwhile: open it again";
        return Err(Problem::conflict("link_changed", message));
    }
    let id = account.id.clone();
    changes.push(Register::AccountPassword { id: id.clone(), hash });
    changes.push(Register::AccountSecond {
        id: id.clone(),
        sealed,
    });
    let position = views
        .acts
        .record_register(&Scope::local(id.as_str()), views.now(), changes)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    door.settled(link);
    forget_first_link(&views.dir);
    info!(account = %id, "`{id}` has set a password by a link");
    entered(&views, over, &id)
}
