//! The screen's session: a token, or an account's password and second factor, once; then a cookie.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use onemap_model::account::check_departments;
use onemap_model::record::Register;
use onemap_model::scope::{Permission, Role};
use onemap_model::{AccountId, DivisionCode, Scope, Timestamp};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::{Busy, Door, Sayer, Secret, check_password};
use crate::api::listed::some_division;
use crate::api::{act_problem, behind, list};
use crate::auth::{Caller, Entered, Over, Pass, new_token, own_page, session_cookie, why_gone};
use crate::error::Problem;
use crate::request::Body;
use crate::security::{Kind, What};
use crate::views::Views;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    token: Option<String>,
    account: Option<String>,
    password: Option<String>,
    /// Of the second factor.
    code: Option<String>,
}

/// Begins a session by a token, or by an account's password and second factor. A session that the request came with
/// ends.
pub(crate) async fn begin(
    State(views): State<Arc<Views>>,
    Extension(door): Extension<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    over: Over,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    own_page(&headers)?;
    let answer = match login {
        Login {
            token: Some(token),
            account: None,
            password: None,
            code: None,
        } => {
            let token = token.trim();
            let id = views.keys.begin(token, over, views.now());
            let id = id.map_err(|e| Problem::internal(&e))?.ok_or_else(|| {
                wrong_token(&views, peer.ip(), token);
                let ended = views.keys.expired(token);
                ended.map_or_else(Problem::unauthorized, Problem::expired)
            })?;
            let actor = views.keys.access(token).map(|scope| scope.actor);
            begun(over, &id, actor.unwrap_or_default(), "by a token")
        }
        Login {
            token: None,
            account: Some(account),
            password: Some(password),
            code,
        } => {
            let id = account.trim();
            let who = Sayer {
                ip: peer.ip(),
                name: id,
            };
            let id = by_password(&views, &door, who, password, code.as_deref()).await?;
            entered(&views, over, &id)?
        }
        _ => {
            let message = "a log-in has token, or account, password and perhaps code";
            return Err(Problem::bad_request("bad_body", message));
        }
    };
    if let Some(before) = session_cookie(over, &headers) {
        views.keys.end(before);
    }
    Ok(answer)
}

/// Notes that a token opens no session.
fn wrong_token(views: &Views, peer: IpAddr, token: &str) {
    let gone = views.keys.gone(token);
    let detail = gone.as_ref().map_or("nobody holds this token", why_gone);
    let what = What {
        kind: Kind::WrongToken,
        actor: gone.map(|gone| gone.name),
        peer: Some(peer.to_canonical().to_string()),
        subject: "a session by a token".to_owned(),
        detail: detail.to_owned(),
    };
    views.security.note(views.now(), what);
}

/// Notes that somebody is not let in, and why, which the answer does not tell.
fn turned_away(views: &Views, who: Sayer<'_>, kind: Kind, why: &str) {
    // What is no account's name may be a password in the wrong field.
    let id = AccountId::new(who.name).ok();
    let known = id.filter(|id| views.keys.account(id).is_some());
    let what = What {
        kind,
        actor: None,
        peer: Some(who.ip.to_canonical().to_string()),
        subject: known.map_or("no account".to_owned(), |id| format!("account {id}")),
        detail: why.to_owned(),
    };
    views.security.note(views.now(), what);
}

/// Whose password and code these are.
async fn by_password(
    views: &Views,
    door: &Door,
    who: Sayer<'_>,
    password: String,
    code: Option<&str>,
) -> Result<AccountId, Problem> {
    let attempts = || door.attempts.lock().expect("no holder of this lock panics");
    let _turn = door.turn(who).ok_or_else(|| {
        let message = "other log-ins of this account are under way";
        Problem::too_soon("login_under_way", message, std::time::Duration::from_secs(1))
    })?;
    let no = |kind, why| turned_away(views, who, kind, why);
    attempts().take(who, Instant::now()).map_err(|wait| {
        no(
            Kind::LoginLocked,
            "too many guesses for this account from this network",
        );
        let message = "too many wrong passwords or codes for this account from this network";
        Problem::too_soon("too_many_guesses", message, wait)
    })?;
    let wrong = |kind, why| {
        no(kind, why);
        Problem::unauthorized_by("wrong_login", "account, password or code is wrong")
    };
    let held = AccountId::new(who.name)
        .ok()
        .and_then(|id| views.keys.account(&id))
        .filter(|held| !held.account.disabled);
    let Some((held, hash)) = held.and_then(|held| held.hash.clone().map(|hash| (held, hash))) else {
        door.hasher.pretend(password).await;
        return Err(wrong(
            Kind::LoginFailed,
            "no account that has a password and is not disabled",
        ));
    };
    match door.hasher.verify(password, hash).await {
        Ok(true) => {}
        Ok(false) => return Err(wrong(Kind::LoginFailed, "the password is wrong")),
        Err(error) => {
            attempts().not_made(who, Instant::now());
            return Err(busy(error));
        }
    }
    let id = held.account.id;
    if let Some(sealed) = &held.second {
        let Some(code) = code.filter(|code| !code.trim().is_empty()) else {
            // The password was right; how often codes are guessed is counted all the same.
            attempts().not_made(who, Instant::now());
            let message = "this account has a second factor: give the code of its authenticator, too";
            return Err(Problem::unauthorized_by("code_needed", message));
        };
        let secret = opened(views, &id, sealed).inspect_err(|_| {
            no(Kind::LoginFailed, "the second factor cannot be opened");
        })?;
        let at_s = views.now().ms().max(0) as u64 / 1000;
        if !door.takes(&id, &secret, code, at_s) {
            let why = "the password is right and the code is wrong or was used";
            return Err(wrong(Kind::SecondFactorFailed, why));
        }
    } else if views.trust.needs_second(held.account.role) {
        no(
            Kind::LoginFailed,
            "the password is right, and the second factor that the account needs is missing",
        );
        let message = "this account needs a second factor and has none: ask for a new link";
        return Err(Problem::forbidden_by("second_factor_needed", message));
    }
    attempts().right(who, Instant::now());
    Ok(id)
}

/// The answer to who is in.
pub(super) fn entered(views: &Views, over: Over, id: &AccountId) -> Result<Response, Problem> {
    let session = views.keys.begin_as(id, over, views.now());
    let session = session.map_err(|e| Problem::internal(&e))?;
    let session = session.ok_or_else(Problem::unauthorized)?;
    Ok(begun(over, &session, id.to_string(), "as an account"))
}

/// The answer that begins a session, with whose it is for who notes that.
fn begun(over: Over, session: &str, actor: String, by: &'static str) -> Response {
    let mut answer = cookie(over, session);
    answer.extensions_mut().insert(Entered { actor, by });
    answer
}

fn cookie(over: Over, id: &str) -> Response {
    (
        StatusCode::NO_CONTENT,
        [(header::SET_COOKIE, over.set_cookie(id))],
    )
        .into_response()
}

pub(super) fn busy(busy: Busy) -> Problem {
    Problem::unavailable(busy.to_string())
}

/// What a secret is sealed for.
fn seal_of(id: &AccountId) -> String {
    format!("account\0{id}")
}

/// The second factor of an account, as records hold it.
pub(super) fn second_of(views: &Views, id: &AccountId, secret: &Secret) -> String {
    let sealed = views.sealer.seal(&seal_of(id), &secret.text(), "");
    sealed["sealed"].as_str().unwrap_or_default().to_owned()
}

/// The secret of a second factor that a record holds.
pub(crate) fn opened(views: &Views, id: &AccountId, sealed: &str) -> Result<Secret, Problem> {
    let opened = views.sealer.open_sealed(&seal_of(id), &json!({"sealed": sealed}));
    opened.as_deref().and_then(Secret::parse).ok_or_else(|| {
        let message = "the second factor cannot be opened: the data folder's seal.key is another one; ask for a new link";
        Problem::forbidden_by("second_factor_lost", message)
    })
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(pass): Extension<Pass>,
    Caller(scope): Caller,
) -> Json<Value> {
    let account = views.keys.session_account(pass);
    let held = account.and_then(|id| views.keys.account(&id));
    let account = held.map(
        |held| json!({"id": held.account.id, "name": held.account.name, "has_second": held.second.is_some()}),
    );
    let may: Vec<&str> = Permission::ALL
        .into_iter()
        .filter(|permission| scope.may(*permission))
        .map(Permission::name)
        .collect();
    Json(json!({
        "actor": scope.actor, "role": scope.role, "division": scope.division, "demo": views.demo,
        "departments": scope.departments, "is_whole": scope.is_whole(), "account": account, "may": may,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    password: String,
    new_password: String,
    code: Option<String>,
}

/// The holder of an account changes the password; all its sessions end but for the one that this answer begins.
pub(crate) async fn change_password(
    State(views): State<Arc<Views>>,
    Extension(door): Extension<Arc<Door>>,
    Extension(pass): Extension<Pass>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    over: Over,
    Body(change): Body<NewPassword>,
) -> Result<Response, Problem> {
    let id = views.keys.session_account(pass).ok_or_else(|| {
        Problem::forbidden("only who has logged in to an account by its password changes it")
    })?;
    let who = Sayer {
        ip: peer.ip(),
        name: id.as_str(),
    };
    check_password(&id, &change.new_password)
        .map_err(|error| Problem::bad_request("weak_password", error.to_string()))?;
    if change.new_password == change.password {
        let message = "the new password is the present one";
        return Err(Problem::bad_request("same_password", message));
    }
    by_password(&views, &door, who, change.password, change.code.as_deref()).await?;
    let hash = door.hasher.hash(change.new_password).await.map_err(busy)?;
    let change = Register::AccountPassword { id: id.clone(), hash };
    let position = views
        .acts
        .record_register(&Scope::local(id.as_str()), views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    entered(&views, over, &id)
}

pub(crate) async fn end(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Caller(scope): Caller,
    over: Over,
    headers: HeaderMap,
) -> Response {
    if let Some(id) = session_cookie(over, &headers) {
        views.keys.end(id);
        let what = What {
            kind: Kind::Logout,
            actor: Some(scope.actor),
            peer: Some(peer.ip().to_canonical().to_string()),
            subject: "a session".to_owned(),
            detail: "ended by its holder".to_owned(),
        };
        views.security.note(views.now(), what);
    }
    cookie(over, "")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is called in the audit; the role's name when absent.
    name: Option<String>,
    role: Role,
    division: Option<DivisionCode>,
    #[serde(default)]
    departments: Vec<String>,
    /// When it ends; before that is `days`.
    expires: Option<Timestamp>,
    /// Days that it opens, 0 for no end; what the configuration says when neither is there.
    days: Option<u32>,
}

/// Characters of a token's name.
const LONGEST_NAME: usize = 64;
/// Most days that a token may be made for; one without an end has to be asked for as such.
const MOST_TOKEN_DAYS: u32 = 3_653;

impl NewToken {
    /// When the token ends.
    fn end(&self, now: Timestamp, default_days: u32) -> Result<Option<Timestamp>, Problem> {
        let bad = |detail: String| Problem::bad_request("bad_expires", detail);
        let day = std::time::Duration::from_secs(86_400);
        match (self.expires, self.days) {
            (Some(_), Some(_)) => Err(bad("either expires or days, not both".to_owned())),
            (Some(end), None) if end <= now => Err(bad(format!("expires = {end} is over already"))),
            (Some(end), None) if end > now + day * MOST_TOKEN_DAYS => Err(bad(format!(
                "expires = {end}: at most {MOST_TOKEN_DAYS} days from now"
            ))),
            (Some(end), None) => Ok(Some(end)),
            (None, days) => match days.unwrap_or(default_days) {
                0 => Ok(None),
                days if days <= MOST_TOKEN_DAYS => Ok(Some(now + day * days)),
                days => Err(bad(format!(
                    "days = {days}: at most {MOST_TOKEN_DAYS}, or 0 for no end"
                ))),
            },
        }
    }
}

/// Makes a bearer token; its text is in this answer only.
pub(crate) async fn token(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    if new.role == Role::Admin && scope.role != Role::Admin {
        return Err(Problem::forbidden(
            "an admin token is made on the server's own machine only",
        ));
    }
    if new.role.needs_second() && scope.role != Role::Admin {
        return Err(Problem::forbidden(
            "who commands or administers has an account with a second factor; a token of such a role is made on the server's own machine only",
        ));
    }
    let name = new.name.as_deref().unwrap_or(new.role.name()).trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(
            "bad_name",
            format!("a token's name has 1 to {LONGEST_NAME} characters, none of them a control character"),
        ));
    }
    let name = name.to_owned();
    check_departments(&new.departments)
        .map_err(|error| Problem::bad_request("bad_departments", error.to_string()))?;
    if !scope.encloses(new.division.as_ref(), &new.departments) {
        return Err(Problem::forbidden(
            "a token cannot see more than its maker: its division and departments lie within these of its maker",
        ));
    }
    some_division(&views, new.division.as_ref())?;
    let expires = new.end(views.now(), views.trust.token_days)?;
    let text = new_token().map_err(|e| Problem::internal(&e))?;
    let sha256 = TokenHash::of(&text);
    let change = Register::AccessToken {
        name,
        sha256: sha256.to_string(),
        role: new.role,
        division: new.division,
        departments: new.departments,
        expires,
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"token": text, "id": id_of(&sha256), "expires": expires})),
    ))
}

/// Hexadecimal digits of a token's id: the first of its hash, which open nothing.
const N_ID_DIGITS: usize = 16;

fn id_of(sha256: &TokenHash) -> String {
    let mut digits = sha256.to_string();
    digits.truncate(N_ID_DIGITS);
    digits
}

/// Bearer tokens that open, without their texts.
pub(crate) async fn tokens(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let all = views.keys.access_tokens();
    let seen = all
        .iter()
        .filter(|token| scope.encloses(token.division.as_ref(), &token.departments));
    let items = seen
        .map(|token| {
            json!({
                "id": id_of(&token.sha256), "name": token.name, "role": token.role,
                "division": token.division, "departments": token.departments, "created": token.created, "expires": token.expires,
            })
        })
        .collect();
    Ok(list(items, None))
}

/// Ends a bearer token, the sessions that it opened and their streams.
pub(crate) async fn revoke(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    let all = views.keys.access_tokens();
    let found = all.iter().find(|token| {
        scope.encloses(token.division.as_ref(), &token.departments) && id_of(&token.sha256) == id
    });
    let token = found.ok_or_else(|| {
        Problem::not_found(
            "unknown_token",
            "no access token of this id opens (onemap token list)",
        )
    })?;
    if token.role == Role::Admin && scope.role != Role::Admin {
        return Err(Problem::forbidden("an admin token is ended by an admin only"));
    }
    let change = Register::AccessTokenRevoked {
        sha256: token.sha256.to_string(),
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(StatusCode::NO_CONTENT)
}
