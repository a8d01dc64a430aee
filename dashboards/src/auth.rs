//! Who asks: bearer tokens and the screen's session cookie become a [`Scope`].
//!
//! What each route needs of it stands in `access.rs`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use onemap_model::record::Register as Change;
use onemap_model::{AccountId, DeviceId, ProfileId, Scope, Subject, Timestamp};
use onemap_store::ledger::{AccessToken, Accounts, Gone, Held, Provisioning, TokenHash, Tokens};
use tokio::sync::watch;

use crate::error::Problem;
use crate::views::Views;

/// The file of the data folder (mode 0600) with the link that makes the first account; there as long as there is none.
pub const SETUP_LINK: &str = "setup.link";

/// Removes the file of a first link that opens nothing any more; it may be gone already.
pub(crate) fn forget_first_link(dir: &Path) {
    let _ = std::fs::remove_file(dir.join(SETUP_LINK));
}

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

/// Tokens, accounts and sessions. A look-up by a 256-bit hash tells an attacker nothing by its timing.
#[derive(Default)]
pub struct Keys {
    tokens: RwLock<Tokens>,
    accounts: RwLock<Accounts>,
    sessions: RwLock<HashMap<TokenHash, Session>>,
    /// Opens the making of the first account.
    first: RwLock<Option<TokenHash>>,
    /// Changes when a token or session may have ended.
    ends: watch::Sender<()>,
}

/// By what a request was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// An access token.
    Token(TokenHash),
    /// A session.
    Session(TokenHash),
}

struct Session {
    opened: Opened,
    /// How the request came that began it: a session of a protected line opens nothing on one that others read.
    over: Over,
    began: Timestamp,
    used: Timestamp,
}

/// What opened a session: it ends with that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Opened {
    /// An access token.
    Token(TokenHash),
    /// An account, as long as nothing ended its sessions since.
    Account { id: AccountId, era: u64 },
}

impl Opened {
    /// Whether the same token or account opened both.
    fn is_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Account { id, .. }, Self::Account { id: other, .. }) => id == other,
            (own, other) => own == other,
        }
    }
    /// How long after its last request, which an open stream is, and after its start in any case a session ends: a
    /// wall's holds a week, a person's a shift.
    fn lives(&self) -> [Duration; 2] {
        match self {
            Self::Token(_) => [SESSION_IDLE, SESSION_WHOLE],
            Self::Account { .. } => [ACCOUNT_IDLE, ACCOUNT_WHOLE],
        }
    }
}

const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
const SESSION_WHOLE: Duration = Duration::from_secs(7 * 24 * 3600);
const ACCOUNT_IDLE: Duration = Duration::from_secs(30 * 60);
const ACCOUNT_WHOLE: Duration = Duration::from_secs(12 * 3600);
/// Sessions held at once; the least recently used one goes first.
const N_SESSIONS: usize = 10_000;
/// Of them those that one token or account opened.
const N_OWN_SESSIONS: usize = 256;

/// How often a stream looks whether its session's time has come.
const LOOK_EVERY: Duration = Duration::from_secs(10);

const POISON: &str = "no holder of this lock panics";

impl Keys {
    /// Tokens and accounts as the ledger has them.
    pub fn new(tokens: Tokens, accounts: Accounts) -> Self {
        Self {
            tokens: RwLock::new(tokens),
            accounts: RwLock::new(accounts),
            sessions: RwLock::default(),
            first: RwLock::default(),
            ends: watch::Sender::default(),
        }
    }
    /// Takes a register change; says whether it concerned tokens or accounts.
    pub fn apply(&self, at: Timestamp, change: &Change) -> bool {
        let concerned = self.tokens.write().expect(POISON).apply(at, change)
            || self.accounts.write().expect(POISON).apply(at, change);
        if concerned {
            self.ends.send_replace(());
        }
        concerned
    }
    /// Wakes when a token or session may have ended.
    pub(crate) fn ends(&self) -> watch::Receiver<()> {
        self.ends.subscribe()
    }
    /// The device that holds a token.
    pub fn device(&self, token: &str) -> Option<DeviceId> {
        self.tokens.read().expect(POISON).device(token).cloned()
    }
    /// Whether a device's connection that came in by the token of this fingerprint may stay.
    pub fn opens(&self, device: &DeviceId, fingerprint: u64) -> bool {
        self.tokens.read().expect(POISON).opens(device, fingerprint)
    }
    /// The hash of a station's password, when it is the one that the register has of it.
    pub fn station(&self, protocol: &str, device: &DeviceId, password: &str) -> Option<TokenHash> {
        let hash = TokenHash::of_password(protocol, device.as_str(), password);
        self.tokens
            .read()
            .expect(POISON)
            .holds(device, &hash)
            .then_some(hash)
    }
    /// Who is behind what let a request in: its access token, or the token or account that opened its session. Of a
    /// session that has just ended it is the session's own.
    pub(crate) fn holder(&self, pass: Pass) -> TokenHash {
        match pass {
            Pass::Token(token) => token,
            Pass::Session(session) => {
                let sessions = self.sessions.read().expect(POISON);
                match sessions.get(&session).map(|session| &session.opened) {
                    Some(Opened::Token(token)) => *token,
                    // No token has a NUL.
                    Some(Opened::Account { id, .. }) => TokenHash::of(&format!("account\0{id}")),
                    None => session,
                }
            }
        }
    }
    /// Whether a device has a token.
    pub fn has_token(&self, device: &DeviceId) -> bool {
        self.tokens.read().expect(POISON).has_token(device)
    }
    /// Whether a device's tokens were revoked, so that nothing lets it in until it is admitted again.
    pub fn is_revoked(&self, device: &DeviceId) -> bool {
        self.tokens.read().expect(POISON).is_revoked(device)
    }
    /// Whether they were when the record at a position came.
    pub fn is_revoked_at(&self, device: &DeviceId, position: u64) -> bool {
        self.tokens.read().expect(POISON).is_revoked_at(device, position)
    }
    /// Ends tokens whose time has come; gives the devices that held them.
    pub fn expire(&self, now: Timestamp) -> Vec<DeviceId> {
        let ended = self.tokens.write().expect(POISON).expire(now);
        if !ended.devices.is_empty() || ended.n_access > 0 {
            self.ends.send_replace(());
        }
        ended.devices
    }
    /// When a bearer token ended by itself, if it did.
    pub(crate) fn expired(&self, token: &str) -> Option<Timestamp> {
        self.tokens.read().expect(POISON).expired(token)
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
    /// An access token that no longer opens.
    pub(crate) fn gone(&self, token: &str) -> Option<Gone> {
        self.tokens.read().expect(POISON).gone(token).cloned()
    }
    /// Every access token that opens, oldest first.
    pub fn access_tokens(&self) -> Vec<AccessToken> {
        let tokens = self.tokens.read().expect(POISON);
        let mut all: Vec<_> = tokens.access_tokens().cloned().collect();
        all.sort_by_key(|token| (token.created, token.sha256));
        all
    }
    /// Starts a session by an access token; returns its secret id, or `None` for a token nobody holds.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn begin(
        &self,
        token: &str,
        over: Over,
        now: Timestamp,
    ) -> Result<Option<String>, getrandom::Error> {
        match self.access(token) {
            Some(_) => self
                .open(Opened::Token(TokenHash::of(token)), over, now)
                .map(Some),
            None => Ok(None),
        }
    }
    /// Starts a session of an account whose holder has shown what lets him in; returns its secret id, or `None` when
    /// the account is gone or disabled.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn begin_as(
        &self,
        id: &AccountId,
        over: Over,
        now: Timestamp,
    ) -> Result<Option<String>, getrandom::Error> {
        let Some(held) = self.account(id).filter(|held| !held.account.disabled) else {
            return Ok(None);
        };
        let (id, era) = (id.clone(), held.era);
        self.open(Opened::Account { id, era }, over, now).map(Some)
    }
    fn open(&self, opened: Opened, over: Over, now: Timestamp) -> Result<String, getrandom::Error> {
        let id = new_token()?;
        let mut sessions = self.sessions.write().expect(POISON);
        // Who opens more than he may ends his own, and nobody else's.
        let n_own = sessions.values().filter(|s| s.opened.is_by(&opened)).count();
        let gives_way = |session: &Session| match n_own >= N_OWN_SESSIONS {
            true => session.opened.is_by(&opened),
            false => sessions.len() >= N_SESSIONS,
        };
        let oldest = sessions.iter().filter(|(_, session)| gives_way(session));
        let oldest = oldest.min_by_key(|(_, s)| s.used).map(|(hash, _)| *hash);
        if let Some(oldest) = oldest {
            sessions.remove(&oldest);
            self.ends.send_replace(());
        }
        sessions.insert(
            TokenHash::of(&id),
            Session {
                opened,
                over,
                began: now,
                used: now,
            },
        );
        Ok(id)
    }
    /// An account.
    pub(crate) fn account(&self, id: &AccountId) -> Option<Held> {
        self.accounts.read().expect(POISON).get(id).cloned()
    }
    /// The account whose holder a provider of OpenID Connect speaks of.
    pub(crate) fn spoken_of(&self, subject: &Subject) -> Option<Held> {
        self.accounts.read().expect(POISON).spoken_of(subject).cloned()
    }
    /// Every account, by id.
    pub(crate) fn accounts(&self) -> Vec<Held> {
        self.accounts.read().expect(POISON).iter().cloned().collect()
    }
    /// Whether there is an account.
    pub fn has_accounts(&self) -> bool {
        !self.accounts.read().expect(POISON).is_empty()
    }
    /// A new key by which the first account is made; `None` when there is one. The key of before ends.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn first_key(&self) -> Result<Option<String>, getrandom::Error> {
        if self.has_accounts() {
            return Ok(None);
        }
        let key = new_token()?;
        *self.first.write().expect(POISON) = Some(TokenHash::of(&key));
        Ok(Some(key))
    }
    /// Whether a key makes the first account.
    pub(crate) fn is_first(&self, key: &str) -> bool {
        *self.first.read().expect(POISON) == Some(TokenHash::of(key)) && !self.has_accounts()
    }
    /// The account whose link has this key.
    pub(crate) fn linked(&self, key: &str, now: Timestamp) -> Option<Held> {
        self.accounts.read().expect(POISON).linked(key, now).cloned()
    }
    /// The account that opened a session.
    pub(crate) fn session_account(&self, pass: Pass) -> Option<AccountId> {
        let Pass::Session(session) = pass else {
            return None;
        };
        match &self.sessions.read().expect(POISON).get(&session)?.opened {
            Opened::Account { id, .. } => Some(id.clone()),
            Opened::Token(_) => None,
        }
    }
    /// How many sessions of an account are open.
    pub(crate) fn n_sessions(&self, of: &AccountId) -> usize {
        let Some(held) = self.account(of) else { return 0 };
        let sessions = self.sessions.read().expect(POISON);
        let is_of =
            |s: &&Session| matches!(&s.opened, Opened::Account { id, era } if id == of && *era == held.era);
        sessions.values().filter(is_of).count()
    }
    /// The scope of a living session that a request over such a line may use.
    pub(crate) fn session(&self, id: &str, over: Over, now: Timestamp) -> Option<Scope> {
        let id = TokenHash::of(id);
        let is_own = |session: &Session| session.over == over;
        let is_own = self.sessions.read().expect(POISON).get(&id).is_some_and(is_own);
        is_own.then(|| self.used(&id, now)).flatten()
    }
    fn used(&self, id: &TokenHash, now: Timestamp) -> Option<Scope> {
        let mut sessions = self.sessions.write().expect(POISON);
        let session = sessions.get_mut(id)?;
        let [idle, whole] = session.opened.lives();
        let is_over = now.since(session.used) > idle || now.since(session.began) > whole;
        let scope = self.scope_of(&session.opened).filter(|_| !is_over);
        match scope {
            Some(_) => session.used = now,
            None => drop(sessions.remove(id)),
        }
        scope
    }
    /// What a session may see and do now; `None` when what opened it no longer does.
    fn scope_of(&self, opened: &Opened) -> Option<Scope> {
        match opened {
            Opened::Token(token) => self.tokens.read().expect(POISON).scope_of(token),
            Opened::Account { id, era } => {
                let accounts = self.accounts.read().expect(POISON);
                let held = accounts.get(id).filter(|held| held.era == *era)?;
                Some(held.account.scope()).filter(|_| !held.account.disabled)
            }
        }
    }
    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.sessions.write().expect(POISON).remove(&TokenHash::of(id));
        self.ends.send_replace(());
    }
    /// What a request that was let in may see and do now; `None` when what let it in no longer does. That counts as a
    /// use.
    fn holds(&self, pass: Pass, now: Timestamp) -> Option<Scope> {
        match pass {
            Pass::Token(token) => self.tokens.read().expect(POISON).scope_of(&token),
            Pass::Session(id) => self.used(&id, now),
        }
    }
}

/// How a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    /// As it stands on the line.
    #[default]
    Clear,
    /// Encrypted, by us.
    Tls,
}

impl Over {
    /// As its connection noted it.
    pub(crate) fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// The session's cookie. With the prefix a browser keeps it only from this host and only over TLS, so that neither a
    /// neighbour's page nor somebody on the line sets one (RFC 6265bis section 4.1.3.2).
    fn cookie_name(self) -> &'static str {
        match self {
            Self::Clear => "onemap_session",
            Self::Tls => "__Host-onemap_session",
        }
    }

    /// What sets the cookie, or takes it away with an empty id.
    pub(crate) fn set_cookie(self, id: &str) -> String {
        let name = self.cookie_name();
        let secure = if self == Self::Tls { "; Secure" } else { "" };
        let age = if id.is_empty() { "; Max-Age=0" } else { "" };
        format!("{name}={id}; HttpOnly; SameSite=Strict; Path=/{secure}{age}")
    }
}

impl<S: Sync> FromRequestParts<S> for Over {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The session id in a request's cookies.
pub(crate) fn session_cookie(over: Over, headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(over.cookie_name())?.strip_prefix('='))
}

/// Ends when what let a stream in no longer does, or lets see and do something else than the stream was begun with: an
/// account got another division or other departments.
pub(crate) async fn ended(views: &Views, pass: Pass, begun: &Scope) {
    let mut ends = views.keys.ends();
    while views.keys.holds(pass, views.now()).as_ref() == Some(begun) {
        tokio::select! {
            changed = ends.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The token of an `Authorization` head. GIS programs know user names and passwords only: there the token is the
/// password, or the name when there is no password. Browsers send such a pair again on their own, so it only reads.
fn token_of(method: &Method, value: &str) -> Option<String> {
    // A scheme is in any case (RFC 9110, 11.1).
    let (scheme, shown) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(shown.trim().to_owned());
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    let pair = Some(shown).filter(|_| is_read && scheme.eq_ignore_ascii_case("basic"))?;
    let pair = String::from_utf8(BASE64_STANDARD.decode(pair.trim()).ok()?).ok()?;
    match pair.split_once(':')? {
        (name, "") => Some(name.to_owned()),
        (_, password) => Some(password.to_owned()),
    }
}

fn scope_of(views: &Views, request: &Request) -> Result<(Scope, Pass), Problem> {
    let (method, headers) = (request.method(), request.headers());
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| token_of(method, value));
        let token = token.ok_or_else(Problem::unauthorized)?;
        let refused = || {
            views
                .keys
                .expired(&token)
                .map_or_else(Problem::unauthorized, Problem::expired)
        };
        let scope = views.keys.access(&token).ok_or_else(refused)?;
        return Ok((scope, Pass::Token(TokenHash::of(&token))));
    }
    let over = Over::of(request.extensions());
    let id = session_cookie(over, headers).ok_or_else(Problem::unauthorized)?;
    let scope = views
        .keys
        .session(id, over, views.now())
        .ok_or_else(Problem::unauthorized)?;
    if !(method == Method::GET || method == Method::HEAD) {
        same_origin(headers)?;
    }
    Ok((scope, Pass::Session(TokenHash::of(id))))
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

/// What begins a session must not come from a foreign page either: it would put its visitor into an account of its own.
/// Programs that are no browsers send no Origin.
///
/// # Errors
/// 403.
pub(crate) fn own_page(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(header::ORIGIN) {
        true => same_origin(headers),
        false => Ok(()),
    }
}

/// Who asks, and by what.
///
/// # Errors
/// 401 for nobody; 403 for a session's cookie from a foreign page.
pub(crate) fn caller_of(views: &Views, request: &Request) -> Result<(Scope, Pass), Problem> {
    scope_of(views, request).map_err(|problem| {
        // GIS programs ask for a user's name and password when they are told so.
        match problem.status() == StatusCode::UNAUTHORIZED && request.uri().path().starts_with("/ogc") {
            true => Problem::wrong_credential(r#"Basic realm="onemap""#, problem.detail()),
            false => problem,
        }
    })
}

/// What a request showed that lets nobody in.
#[derive(Debug)]
pub(crate) enum Shown {
    /// It showed nothing.
    Nothing,
    /// An access token that no longer opens.
    Gone(Gone),
    /// Something else, in words.
    Unknown(&'static str),
}

/// What a request showed that [`caller_of`] found nobody by.
pub(crate) fn shown(views: &Views, request: &Request) -> Shown {
    let (method, headers) = (request.method(), request.headers());
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| token_of(method, value));
        return match token.and_then(|token| views.keys.gone(&token)) {
            Some(gone) => Shown::Gone(gone),
            None => Shown::Unknown("nobody holds this token"),
        };
    }
    match session_cookie(Over::of(request.extensions()), headers) {
        Some(_) => Shown::Unknown("its session has ended, or is none of this server's"),
        None => Shown::Nothing,
    }
}

/// Why a token that no longer opens does not, in words.
pub(crate) fn why_gone(gone: &Gone) -> &'static str {
    match gone.ended {
        Some(_) => "this token has ended",
        None => "this token was revoked",
    }
}

/// In the extensions of an answer that begins a session: whose, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    /// The account, or the name of the token.
    pub(crate) actor: String,
    pub(crate) by: &'static str,
}

/// The scope of a request that passed the gate ([`access`](crate::access)), which holds what the route needs.
pub(crate) struct Caller(pub(crate) Scope);

impl Caller {
    /// What it may see and do.
    pub(crate) fn scope(&self) -> &Scope {
        &self.0
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

    /// Keys with one access token.
    fn keys(token: &str) -> Keys {
        let keys = Keys::default();
        let change = Change::AccessToken {
            name: "x".into(),
            sha256: TokenHash::of(token).to_string(),
            role: onemap_model::Role::Viewer,
            division: None,
            departments: Vec::new(),
            expires: None,
        };
        assert!(keys.apply(Timestamp::from_ms(0), &change));
        keys
    }

    #[test]
    fn a_session_ends_with_the_token_that_opened_it() {
        let (keys, now) = (keys("one"), Timestamp::from_ms(1_763_856_000_000));
        assert_eq!(keys.begin("two", Over::Tls, now).unwrap(), None);
        let id = keys.begin("one", Over::Tls, now).unwrap().unwrap();
        let session = Pass::Session(TokenHash::of(&id));
        let token = Pass::Token(TokenHash::of("one"));
        assert!(keys.holds(session, now).is_some() && keys.holds(token, now).is_some());
        let woken = keys.ends();
        let revoked = Change::AccessTokenRevoked {
            sha256: TokenHash::of("one").to_string(),
        };
        assert!(keys.apply(now, &revoked));
        assert!(woken.has_changed().unwrap());
        assert!(keys.holds(session, now).is_none() && keys.holds(token, now).is_none());
        assert_eq!(keys.access("one"), None);
        assert_eq!(keys.session(&id, Over::Tls, now), None);
    }

    #[test]
    fn a_session_of_a_protected_line_opens_nothing_in_the_clear() {
        let (keys, now) = (keys("one"), Timestamp::from_ms(1_763_856_000_000));
        for (begun, other) in [(Over::Tls, Over::Clear), (Over::Clear, Over::Tls)] {
            let id = keys.begin("one", begun, now).unwrap().unwrap();
            assert_eq!(keys.session(&id, other, now), None, "{begun:?}");
            assert!(keys.session(&id, begun, now).is_some(), "{begun:?}");
        }
    }

    #[test]
    fn sessions_end_idle_and_in_any_case() {
        let keys = keys("one");
        let start = Timestamp::from_ms(1_763_856_000_000);
        let id = keys.begin("one", Over::Clear, start).unwrap().unwrap();
        assert!(keys.session(&id, Over::Clear, start + SESSION_IDLE).is_some());
        assert!(keys.session(&id, Over::Clear, start + SESSION_IDLE * 3).is_none());
        let id = keys.begin("one", Over::Clear, start).unwrap().unwrap();
        let mut now = start;
        while now.since(start) <= SESSION_WHOLE {
            assert!(keys.session(&id, Over::Clear, now).is_some());
            now = now + SESSION_IDLE;
        }
        assert!(keys.session(&id, Over::Clear, now).is_none());
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
