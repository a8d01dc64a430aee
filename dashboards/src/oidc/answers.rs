//! The way to the provider and back.
//!
//! A browser is sent on with 303 and told by the screen what went wrong; whoever does not ask for a page gets the
//! problem document.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use onemap_model::{AccountId, SecondSeen};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::desk::{Come, Desk, Stopped, note, told};
use super::flow::{Carried, Flow, Half};
use super::provider::Asked;
use super::refusal::Refusal;
use super::{Oidc, absent};
use crate::accounts::{Door, Sayer};
use crate::api::session::opened;
use crate::auth::{Entered, Over, new_token, own_page, session_cookie};
use crate::error::Problem;
use crate::request::{Body, NoParams};
use crate::security::Kind;
use crate::views::Views;

/// Where a log-in begins, behind the public address.
const BEGIN: &str = "/api/v1/session/oidc";
/// Characters of the provider's answer in the address that are read.
const MOST_ANSWER: usize = 16 << 10;
/// Characters of a provider's word for an error that are logged.
const N_WORDS: usize = 64;

fn desk(oidc: &Oidc) -> Result<&Desk, Problem> {
    oidc.desk.as_deref().ok_or_else(absent)
}

/// By what somebody may come in, beside a password and a token.
pub(crate) async fn ways(Extension(oidc): Extension<Oidc>, _: NoParams) -> Json<Value> {
    let way = oidc.desk.as_deref().map(|desk| {
        let (zh, en) = &desk.settings.label;
        json!({"name": {"zh": zh, "en": en}, "href": format!("{}{BEGIN}", desk.settings.public_url)})
    });
    Json(json!({"oidc": way}))
}

/// Sends a browser to the provider.
pub(crate) async fn begin(
    State(views): State<Arc<Views>>,
    Extension(oidc): Extension<Oidc>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    over: Over,
    headers: HeaderMap,
    _: NoParams,
) -> Result<Response, Problem> {
    let desk = desk(&oidc)?;
    let state = new_token().map_err(|e| Problem::internal(&e))?;
    let begun = match desk.provider.begin(&state, &desk.redirect()).await {
        Ok(begun) => begun,
        Err(refusal) => return Ok(refused(&views, peer.ip(), over, &headers, &refusal)),
    };
    let flow = Flow {
        nonce: begun.nonce,
        verifier: begun.verifier,
        began: views.now(),
        before: session_cookie(over, &headers).map(str::to_owned),
    };
    let cookie = flow.cookie(&views.sealer, over, &state);
    sent(StatusCode::FOUND, &begun.url, &[cookie])
}

/// What the provider lets a browser bring back.
#[derive(Default)]
struct Brought {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    issuer: Option<String>,
}

impl Brought {
    /// Reads an address; each part is there at most once (RFC 6749 section 3.1), and what else there is is ignored.
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let query = uri.query().unwrap_or_default();
        if query.len() > MOST_ANSWER {
            return Err(Refusal::State);
        }
        let mut brought = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let part = match &*name {
                "state" => &mut brought.state,
                "code" => &mut brought.code,
                "error" => &mut brought.error,
                "iss" => &mut brought.issuer,
                _ => continue,
            };
            if part.replace(value.into_owned()).is_some() {
                return Err(Refusal::State);
            }
        }
        Ok(brought)
    }
}

/// Takes what a browser brings back from the provider, and lets in whom the provider speaks of.
pub(crate) async fn callback(
    State(views): State<Arc<Views>>,
    Extension(oidc): Extension<Oidc>,
    Extension(door): Extension<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    over: Over,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let desk = desk(&oidc)?;
    match returned(desk, &views, &door, peer, over, &headers, &uri).await {
        Ok(Returned::In { account, before }) => {
            let session = session_of(&views, over, &account)?;
            if let Some(before) = before {
                views.keys.end(&before);
            }
            let cookies = [session, Carried::Flow.drop(over), Carried::Half.drop(over)];
            sent(StatusCode::SEE_OTHER, "/", &cookies).map(|answer| begun(answer, &account))
        }
        Ok(Returned::Half(half)) => {
            let cookies = [half.cookie(&views.sealer, over), Carried::Flow.drop(over)];
            if is_page(&headers) {
                return sent(StatusCode::SEE_OTHER, "/#sso=code_needed", &cookies);
            }
            let message = "this account has a second factor: give the code of its authenticator, too";
            let problem = Problem::unauthorized_by("code_needed", message);
            Ok(with_cookies(problem.into_response(), &cookies))
        }
        Err(Stopped::Refused(refusal)) => Ok(refused(&views, peer.ip(), over, &headers, &refusal)),
        Err(Stopped::Failed(problem)) => Err(problem),
    }
}

enum Returned {
    In {
        account: AccountId,
        before: Option<String>,
    },
    Half(Half),
}

async fn returned(
    desk: &Desk,
    views: &Views,
    door: &Door,
    peer: SocketAddr,
    over: Over,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Returned, Stopped> {
    let brought = Brought::of(uri)?;
    let state = brought.state.ok_or(Refusal::State)?;
    let flow = Flow::of(&views.sealer, over, headers, &state, views.now())?;
    desk.used.take(&state)?;
    // RFC 9207: the answer of one provider is not taken to another.
    let own = desk.settings.issuer.as_bytes();
    if brought
        .issuer
        .is_some_and(|issuer| !bool::from(issuer.as_bytes().ct_eq(own)))
    {
        return Err(Refusal::Issuer.into());
    }
    if let Some(error) = brought.error {
        let is_word = |c: &char| c.is_ascii_graphic();
        return Err(Refusal::Denied(error.chars().filter(is_word).take(N_WORDS).collect()).into());
    }
    let code = brought.code.ok_or(Refusal::State)?;
    let asked = Asked {
        nonce: &flow.nonce,
        verifier: &flow.verifier,
        began: flow.began,
        now: views.now(),
        redirect: &desk.redirect(),
    };
    let word = desk.provider.word(code, asked).await?;
    Ok(match desk.come(views, door, peer.ip(), &word).await? {
        Come::In(account) => Returned::In {
            account,
            before: flow.before,
        },
        Come::Half(held) => Returned::Half(Half {
            account: held.account.id.clone(),
            era: held.era,
            subject: word.subject,
            began: views.now(),
            before: flow.before,
        }),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: String,
}

/// Takes the code of the second factor of whom the provider has let in.
pub(crate) async fn finish(
    State(views): State<Arc<Views>>,
    Extension(oidc): Extension<Oidc>,
    Extension(door): Extension<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    over: Over,
    headers: HeaderMap,
    Body(given): Body<Code>,
) -> Result<Response, Problem> {
    own_page(&headers)?;
    let desk = desk(&oidc)?;
    let refused = |refusal: Refusal| {
        told(&views, peer.ip(), &refusal);
        refusal.problem()
    };
    let half = Half::of(&views.sealer, over, &headers, views.now()).map_err(refused)?;
    let id = half.account;
    // What has ended the account's sessions since the provider spoke ends this, too.
    let held = views.keys.account(&id).filter(|held| held.era == half.era);
    let held = held.ok_or_else(|| refused(Refusal::Late))?;
    if held.account.disabled {
        return Err(refused(Refusal::Disabled));
    }
    let sealed = held.second.as_deref().ok_or_else(|| refused(Refusal::Late))?;
    let who = Sayer {
        ip: peer.ip(),
        name: id.as_str(),
    };
    let attempts = || door.attempts.lock().expect("no holder of this lock panics");
    let taken = attempts().take(who, Instant::now());
    taken.map_err(|wait| refused(Refusal::Guesses(wait)))?;
    let secret = opened(&views, &id, sealed)?;
    let at_s = views.now().ms().max(0) as u64 / 1000;
    if !door.takes(&id, &secret, &given.code, at_s) {
        views.count_oidc("wrong_login");
        let why = "the provider has let in and the code is wrong or was used";
        note(
            &views,
            Kind::SecondFactorFailed,
            None,
            peer.ip(),
            &format!("account {id}"),
            why,
        );
        return Err(Problem::unauthorized_by("wrong_login", "the code is wrong"));
    }
    attempts().right(who, Instant::now());
    desk.record_log_in(&views, &held, &half.subject, SecondSeen::Own)
        .await?;
    let session = session_of(&views, over, &id)?;
    if let Some(before) = &half.before {
        views.keys.end(before);
    }
    let cookies = [session, Carried::Half.drop(over)];
    let answer = with_cookies(StatusCode::NO_CONTENT.into_response(), &cookies);
    Ok(begun(answer, &id))
}

/// The answer that begins a session, with whose it is for who notes that.
fn begun(mut answer: Response, account: &AccountId) -> Response {
    let actor = account.to_string();
    let by = "as an account, by single sign-on";
    answer.extensions_mut().insert(Entered { actor, by });
    answer
}

/// The cookie of a new session of an account.
fn session_of(views: &Views, over: Over, id: &AccountId) -> Result<String, Problem> {
    let session = views.keys.begin_as(id, over, views.now());
    let session = session.map_err(|e| Problem::internal(&e))?;
    Ok(over.set_cookie(&session.ok_or_else(Problem::unauthorized)?))
}

/// Whether a person's browser asks for a page.
fn is_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Why nobody came in: on the screen for a person, else as a problem.
fn refused(views: &Views, ip: IpAddr, over: Over, headers: &HeaderMap, refusal: &Refusal) -> Response {
    told(views, ip, refusal);
    let cookies = [Carried::Flow.drop(over)];
    if is_page(headers)
        && let Ok(response) = sent(
            StatusCode::SEE_OTHER,
            &format!("/#sso={}", refusal.label()),
            &cookies,
        )
    {
        return response;
    }
    with_cookies(refusal.problem().into_response(), &cookies)
}

fn sent(status: StatusCode, to: &str, cookies: &[String]) -> Result<Response, Problem> {
    let to = HeaderValue::from_str(to).map_err(|e| Problem::internal(&e))?;
    let response = (status, [(header::LOCATION, to)]).into_response();
    Ok(with_cookies(response, cookies))
}

fn with_cookies(mut response: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        let value = HeaderValue::from_str(cookie).expect("a cookie of ours is of printable characters");
        response
            .headers_mut()
            .append(HeaderName::from_static("set-cookie"), value);
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_has_each_part_once() {
        let of = |query: &str| Brought::of(&format!("{}?{query}", super::super::CALLBACK).parse().unwrap());
        let brought = of("code=a%2Bb&state=s&session_state=x&iss=https%3A%2F%2Fsso.example").unwrap();
        assert_eq!(brought.code.as_deref(), Some("a+b"));
        assert_eq!(brought.issuer.as_deref(), Some("https://sso.example"));
        assert!(brought.error.is_none());
        for odd in [
            "state=a&state=b".to_owned(),
            "code=1&state=a&code=2".to_owned(),
            format!("state={}", "x".repeat(MOST_ANSWER)),
        ] {
            assert_eq!(of(&odd).err(), Some(Refusal::State), "{odd:.30}");
        }
    }

    #[test]
    fn who_asks_for_a_page_is_a_browser() {
        let mut headers = HeaderMap::new();
        assert!(!is_page(&headers));
        headers.insert(header::ACCEPT, "application/json".parse().unwrap());
        assert!(!is_page(&headers));
        headers.insert(
            header::ACCEPT,
            "text/html,application/xhtml+xml;q=0.9".parse().unwrap(),
        );
        assert!(is_page(&headers));
    }
}
