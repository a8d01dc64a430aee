//! Who asks: bearer tokens and the screen's session cookie become a [`Scope`].
//!
//! Deny by default: every route behind `require_scope` needs one; handlers then ask the scope for
//! the permission they need.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use onemap_model::record::Register as Change;
use onemap_model::scope::Permission;
use onemap_model::{DeviceId, ProfileId, Scope, Timestamp};
use onemap_store::ledger::{Provisioning, TokenHash, Tokens};

use crate::error::Problem;
use crate::views::Views;

/// 32 random bytes as 43 URL-safe characters.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn new_token() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0u8; 43];
    getrandom::fill(&mut bytes)?;
    // 43 characters of 6 bits each carry 258 random bits.
    Ok(bytes
        .iter()
        .map(|b| char::from(ALPHABET[usize::from(b & 63)]))
        .collect())
}

/// Tokens and sessions, by hash. A look-up by a 256-bit hash tells an attacker nothing by its timing.
#[derive(Default)]
pub struct Keys {
    tokens: RwLock<Tokens>,
    sessions: RwLock<HashMap<TokenHash, Session>>,
}

struct Session {
    scope: Scope,
    began: Timestamp,
    used: Timestamp,
}

/// A session ends this long after its last request …
const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
/// … and this long after its start in any case.
const SESSION_WHOLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions held at once; the least recently used one goes first.
const N_SESSIONS: usize = 1000;

const POISON: &str = "no holder of this lock panics";

impl Keys {
    /// The tokens as the ledger has them.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            tokens: RwLock::new(tokens),
            sessions: RwLock::default(),
        }
    }
    /// Takes a register change; says whether it concerned tokens.
    pub fn apply(&self, at: Timestamp, change: &Change) -> bool {
        self.tokens.write().expect(POISON).apply(at, change)
    }
    /// The device that holds a token.
    pub fn device(&self, token: &str) -> Option<DeviceId> {
        self.tokens.read().expect(POISON).device(token).cloned()
    }
    /// Whether a device's connection that came in by the token of this fingerprint may stay.
    pub fn opens(&self, device: &DeviceId, fingerprint: u64) -> bool {
        self.tokens.read().expect(POISON).opens(device, fingerprint)
    }
    /// Whether a device has a token.
    pub fn has_token(&self, device: &DeviceId) -> bool {
        self.tokens.read().expect(POISON).has_token(device)
    }
    /// Ends tokens whose time has come; gives the devices that held them.
    pub fn expire(&self, now: Timestamp) -> Vec<DeviceId> {
        self.tokens.write().expect(POISON).expire(now)
    }
    /// With what the devices of a profile may register themselves.
    pub fn provisioning(&self, profile: &ProfileId) -> Option<Provisioning> {
        self.tokens.read().expect(POISON).provisioning(profile).cloned()
    }
    /// The provisioning that a key and its secret open.
    pub fn provisioned_by(&self, key: &str, secret: &str) -> Option<Provisioning> {
        self.tokens
            .read()
            .expect(POISON)
            .provisioned_by(key, secret)
            .cloned()
    }
    /// The scope of a bearer token.
    pub fn access(&self, token: &str) -> Option<Scope> {
        self.tokens.read().expect(POISON).scope(token)
    }
    /// Starts a session; returns its secret id.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn begin(&self, scope: Scope, now: Timestamp) -> Result<String, getrandom::Error> {
        let id = new_token()?;
        let mut sessions = self.sessions.write().expect(POISON);
        if sessions.len() >= N_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, s)| s.used).map(|(hash, _)| *hash)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(
            TokenHash::of(&id),
            Session {
                scope,
                began: now,
                used: now,
            },
        );
        Ok(id)
    }
    /// The scope of a living session.
    pub fn session(&self, id: &str, now: Timestamp) -> Option<Scope> {
        let mut sessions = self.sessions.write().expect(POISON);
        let hash = TokenHash::of(id);
        let session = sessions.get_mut(&hash)?;
        if now.since(session.used) > SESSION_IDLE || now.since(session.began) > SESSION_WHOLE {
            sessions.remove(&hash);
            return None;
        }
        session.used = now;
        Some(session.scope.clone())
    }
    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.sessions.write().expect(POISON).remove(&TokenHash::of(id));
    }
}

/// The session id in a request's cookies.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("onemap_session="))
}

fn scope_of(views: &Views, method: &Method, headers: &HeaderMap) -> Result<Scope, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value
            .to_str()
            .ok()
            .and_then(|v| v.strip_prefix("Bearer "))
            .ok_or_else(Problem::unauthorized)?;
        return views.keys.access(token.trim()).ok_or_else(Problem::unauthorized);
    }
    let id = session_cookie(headers).ok_or_else(Problem::unauthorized)?;
    let scope = views
        .keys
        .session(id, views.now())
        .ok_or_else(Problem::unauthorized)?;
    if !(method == Method::GET || method == Method::HEAD) {
        same_origin(headers)?;
    }
    Ok(scope)
}

/// A cookie is sent by browsers on their own; so a changing request with one must come from our own
/// page (SameSite=Strict says so too, this holds where it is not kept).
fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &axum::http::HeaderValue| v.to_str().ok())
    };
    let origin = text(header::ORIGIN)
        .and_then(|o| o.split_once("://"))
        .map(|(_, host)| host);
    match (origin, text(header::HOST)) {
        (Some(origin), Some(host)) if origin == host => Ok(()),
        _ => Err(Problem::forbidden(
            "a request with a session cookie must come from this server's own page",
        )),
    }
}

/// Lets only requests with a scope pass and hands it on.
pub(crate) async fn require_scope(
    State(views): State<Arc<Views>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let scope = scope_of(&views, request.method(), request.headers())?;
    request.extensions_mut().insert(scope);
    Ok(next.run(request).await)
}

/// The scope of a request that passed `require_scope`.
pub(crate) struct Caller(pub(crate) Scope);

impl Caller {
    /// Asks for a permission.
    pub(crate) fn require(&self, permission: Permission) -> Result<&Scope, Problem> {
        if self.0.may(permission) {
            return Ok(&self.0);
        }
        Err(Problem::forbidden(format!(
            "the role {} does not hold the permission {permission:?}",
            self.0.role.name()
        )))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Scope>()
            .cloned()
            .map(Caller)
            .ok_or_else(Problem::unauthorized)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_are_long_and_never_twice() {
        let (a, b) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(a.len(), 43);
        assert_ne!(a, b);
    }

    #[test]
    fn a_new_device_token_ends_the_old_one() {
        let keys = Keys::default();
        let device = DeviceId::new("d").unwrap();
        let at = Timestamp::from_ms(1_763_856_000_000);
        let give = |token: &str| {
            let sha256 = TokenHash::of(token).to_string();
            assert!(keys.apply(
                at,
                &Change::DeviceToken {
                    device: device.clone(),
                    sha256,
                    grace_s: 0,
                    expires: None
                }
            ));
        };
        give("one");
        assert_eq!(keys.device("one"), Some(device.clone()));
        give("two");
        assert_eq!(keys.device("one"), None);
        assert_eq!(keys.device("two"), Some(device.clone()));
    }

    #[test]
    fn sessions_end_idle_and_in_any_case() {
        let keys = Keys::default();
        let start = Timestamp::from_ms(1_763_856_000_000);
        let id = keys.begin(Scope::local("x"), start).unwrap();
        assert!(keys.session(&id, start + SESSION_IDLE).is_some());
        assert!(keys.session(&id, start + SESSION_IDLE * 3).is_none());
        let id = keys.begin(Scope::local("x"), start).unwrap();
        let mut now = start;
        while now.since(start) <= SESSION_WHOLE {
            assert!(keys.session(&id, now).is_some());
            now = now + SESSION_IDLE;
        }
        assert!(keys.session(&id, now).is_none());
    }

    #[test]
    fn a_cookie_from_a_foreign_page_changes_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
        assert!(same_origin(&headers).is_err());
        headers.insert(header::ORIGIN, "http://evil.example".parse().unwrap());
        assert!(same_origin(&headers).is_err());
        headers.insert(header::ORIGIN, "http://127.0.0.1:8080".parse().unwrap());
        assert!(same_origin(&headers).is_ok());
    }
}
