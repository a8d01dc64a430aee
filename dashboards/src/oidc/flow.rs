//! What a browser carries from the begin of a log-in to its end: two short-lived cookies that only this server opens.
//!
//! The first one goes to the provider and back. It is sealed for the state of its log-in, so that it opens no other,
//! and is `SameSite=Lax`, because the way back begins at the provider's page. The second one waits for the code of a
//! second factor. Neither is a session, and neither is kept here: who begins log-ins without end fills nothing.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use onemap_ingest::downlink::Sealer;
use onemap_model::{AccountId, Subject, Timestamp};
use onemap_store::ledger::TokenHash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::refusal::Refusal;
use crate::auth::Over;

/// How long somebody may be at the provider: to find a phone, to change a password.
pub(super) const AWAY: Duration = Duration::from_secs(10 * 60);
/// How long the code of a second factor is waited for.
const HALF: Duration = Duration::from_secs(5 * 60);
/// States that were used, for as long as their cookies would open; beyond, only the provider knows its codes again.
const N_USED: usize = 8192;

/// A log-in that is at the provider.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flow {
    /// What the ID token must hold.
    pub(super) nonce: String,
    /// What proves to the provider that the code is ours.
    pub(super) verifier: String,
    /// When it began.
    pub(super) began: Timestamp,
    /// The session that the browser had before.
    pub(super) before: Option<String>,
}

/// Somebody whom the provider has let in, and who has a second factor here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Half {
    pub(super) account: AccountId,
    /// Of the account when the provider spoke: what has ended its sessions since, ends this.
    pub(super) era: u64,
    pub(super) subject: Subject,
    pub(super) began: Timestamp,
    pub(super) before: Option<String>,
}

/// Which cookie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried {
    /// [`Flow`]
    Flow,
    /// [`Half`]
    Half,
}

impl Carried {
    fn name(self, over: Over) -> &'static str {
        match (self, over) {
            (Self::Flow, Over::Clear) => "onemap_oidc",
            (Self::Flow, Over::Tls) => "__Host-onemap_oidc",
            (Self::Half, Over::Clear) => "onemap_oidc_second",
            (Self::Half, Over::Tls) => "__Host-onemap_oidc_second",
        }
    }

    fn same_site(self) -> &'static str {
        match self {
            Self::Flow => "Lax",
            Self::Half => "Strict",
        }
    }

    fn life(self) -> Duration {
        match self {
            Self::Flow => AWAY,
            Self::Half => HALF,
        }
    }

    /// What sets the cookie.
    fn set(self, over: Over, text: &str) -> String {
        let secure = if over == Over::Tls { "; Secure" } else { "" };
        let age = if text.is_empty() { 0 } else { self.life().as_secs() };
        format!(
            "{}={text}; HttpOnly; SameSite={}; Path=/{secure}; Max-Age={age}",
            self.name(over),
            self.same_site()
        )
    }

    /// What takes the cookie away.
    pub(super) fn drop(self, over: Over) -> String {
        self.set(over, "")
    }

    fn read(self, over: Over, headers: &HeaderMap) -> Option<&str> {
        let values = headers.get_all(header::COOKIE).iter();
        let pairs = values.filter_map(|value| value.to_str().ok());
        let mut pairs = pairs.flat_map(|value| value.split(';'));
        pairs.find_map(|pair| pair.trim().strip_prefix(self.name(over))?.strip_prefix('='))
    }
}

fn seal(sealer: &Sealer, for_what: &str, what: &impl Serialize) -> String {
    let text = serde_json::to_string(what).expect("texts and times are JSON");
    let sealed = sealer.seal(for_what, &text, "");
    sealed["sealed"].as_str().unwrap_or_default().to_owned()
}

fn open<T: DeserializeOwned>(sealer: &Sealer, for_what: &str, sealed: &str) -> Option<T> {
    let text = sealer.open_sealed(for_what, &json!({"sealed": sealed}))?;
    serde_json::from_str(&text).ok()
}

/// What a flow is sealed for.
fn of_state(state: &str) -> String {
    format!("oidc flow\0{state}")
}

const OF_HALF: &str = "oidc half\0";

impl Flow {
    /// The cookie of a log-in of this state.
    pub(super) fn cookie(&self, sealer: &Sealer, over: Over, state: &str) -> String {
        Carried::Flow.set(over, &seal(sealer, &of_state(state), self))
    }

    /// The log-in of this state that the browser began here.
    ///
    /// # Errors
    /// [`Refusal::State`], [`Refusal::Late`].
    pub(super) fn of(
        sealer: &Sealer,
        over: Over,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let sealed = Carried::Flow.read(over, headers).ok_or(Refusal::State)?;
        let flow: Self = open(sealer, &of_state(state), sealed).ok_or(Refusal::State)?;
        match is_within(flow.began, now, AWAY) {
            true => Ok(flow),
            false => Err(Refusal::Late),
        }
    }
}

impl Half {
    /// Its cookie.
    pub(super) fn cookie(&self, sealer: &Sealer, over: Over) -> String {
        Carried::Half.set(over, &seal(sealer, OF_HALF, self))
    }

    /// Who has come so far.
    ///
    /// # Errors
    /// [`Refusal::State`], [`Refusal::Late`].
    pub(super) fn of(
        sealer: &Sealer,
        over: Over,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let sealed = Carried::Half.read(over, headers).ok_or(Refusal::State)?;
        let half: Self = open(sealer, OF_HALF, sealed).ok_or(Refusal::State)?;
        match is_within(half.began, now, HALF) {
            true => Ok(half),
            false => Err(Refusal::Late),
        }
    }
}

fn is_within(began: Timestamp, now: Timestamp, life: Duration) -> bool {
    // A clock that was set back does not prolong it.
    began <= now + Duration::from_secs(60) && now.since(began) <= life
}

/// States whose answer has come: each opens once.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<VecDeque<TokenHash>>);

impl Used {
    /// Notes a state.
    ///
    /// # Errors
    /// [`Refusal::Again`].
    pub(super) fn take(&self, state: &str) -> Result<(), Refusal> {
        let state = TokenHash::of(state);
        let mut used = self.0.lock().expect("no holder of this lock panics");
        if used.contains(&state) {
            return Err(Refusal::Again);
        }
        if used.len() >= N_USED {
            used.pop_front();
        }
        used.push_back(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + 1000 * s)
    }

    fn headers(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn a_log_in_is_of_one_browser_one_state_and_a_while() {
        let sealer = Sealer::new(&[7; 32]);
        let flow = Flow {
            nonce: "n".to_owned(),
            verifier: "v".to_owned(),
            began: at(0),
            before: Some("s".to_owned()),
        };
        let cookie = flow.cookie(&sealer, Over::Tls, "state");
        assert!(cookie.starts_with("__Host-onemap_oidc=") && cookie.contains("SameSite=Lax"));
        assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly") && cookie.contains("; Path=/"));
        let of = |over, cookie: &str, state: &str, now| Flow::of(&sealer, over, &headers(cookie), state, now);
        let found = of(Over::Tls, &cookie, "state", at(600)).unwrap();
        assert_eq!((&*found.nonce, &*found.verifier, found.began), ("n", "v", at(0)));
        assert_eq!(found.before.as_deref(), Some("s"));
        let refused = |found: Result<Flow, Refusal>| found.unwrap_err();
        assert_eq!(refused(of(Over::Tls, &cookie, "other", at(1))), Refusal::State);
        assert_eq!(refused(of(Over::Clear, &cookie, "state", at(1))), Refusal::State);
        assert_eq!(refused(of(Over::Tls, "x=y", "state", at(1))), Refusal::State);
        assert_eq!(refused(of(Over::Tls, &cookie, "state", at(601))), Refusal::Late);
        assert_eq!(refused(of(Over::Tls, &cookie, "state", at(-61))), Refusal::Late);
        let other = Sealer::new(&[8; 32]);
        let foreign = Flow::of(&other, Over::Tls, &headers(&cookie), "state", at(1));
        assert_eq!(refused(foreign), Refusal::State);
        assert!(Carried::Flow.drop(Over::Clear).ends_with("Max-Age=0"));
    }

    #[test]
    fn half_a_log_in_is_no_flow_and_ends_sooner() {
        let sealer = Sealer::new(&[7; 32]);
        let half = Half {
            account: AccountId::new("li").unwrap(),
            era: 3,
            subject: Subject {
                issuer: "https://sso.example".to_owned(),
                sub: "9".to_owned(),
            },
            began: at(0),
            before: None,
        };
        let cookie = half.cookie(&sealer, Over::Clear);
        assert!(cookie.contains("SameSite=Strict") && !cookie.contains("Secure"));
        let of = |now| Half::of(&sealer, Over::Clear, &headers(&cookie), now);
        let found = of(at(300)).unwrap();
        assert_eq!((found.account, found.era), (half.account, 3));
        assert_eq!(of(at(301)).unwrap_err(), Refusal::Late);
        // One cookie in the other's place opens nothing.
        let value = cookie.split(['=', ';']).nth(1).unwrap();
        let moved = headers(&format!("onemap_oidc={value}"));
        let found = Flow::of(&sealer, Over::Clear, &moved, "", at(1));
        assert_eq!(found.unwrap_err(), Refusal::State);
    }

    #[test]
    fn a_state_is_taken_once() {
        let used = Used::default();
        assert_eq!(used.take("a"), Ok(()));
        assert_eq!(used.take("b"), Ok(()));
        assert_eq!(used.take("a"), Err(Refusal::Again));
        for i in 0..2 * N_USED {
            used.take(&i.to_string()).unwrap();
        }
        assert_eq!(used.0.lock().unwrap().len(), N_USED);
    }
}
