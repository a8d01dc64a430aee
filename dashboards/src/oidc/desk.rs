//! From a provider's word to a session: whose account it is, its second factor, and what is recorded of it.

use std::net::IpAddr;
use std::time::Instant;

use onemap_model::record::Register;
use onemap_model::{AccountId, Scope, SecondSeen, Subject, Verb};
use onemap_store::ledger::Held;
use tracing::{info, warn};

use super::flow::Used;
use super::people::{Whose, saw_second, whose};
use super::provider::{Provider, Word};
use super::refusal::Refusal;
use super::settings::{CALLBACK, Settings};
use crate::accounts::{Door, Sayer};
use crate::api::{act_problem, behind};
use crate::error::Problem;
use crate::security::{Kind, What};
use crate::views::Views;

/// What log-ins by a provider share.
pub(crate) struct Desk {
    pub(super) settings: Settings,
    pub(super) provider: Provider,
    pub(super) used: Used,
}

/// Why nobody came in.
pub(super) enum Stopped {
    /// For a reason of this log-in.
    Refused(Refusal),
    /// Because something else went wrong.
    Failed(Problem),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// How far somebody has come.
pub(super) enum Come {
    /// All the way.
    In(AccountId),
    /// The code of the account's second factor is missing.
    Half(Box<Held>),
}

impl Desk {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            provider: Provider::new(settings.clone()),
            settings,
            used: Used::default(),
        }
    }

    /// Where the provider sends a browser back to.
    pub(super) fn redirect(&self) -> String {
        format!("{}{CALLBACK}", self.settings.public_url)
    }

    /// Lets in whom the provider speaks of, as far as its word goes.
    pub(super) async fn come(
        &self,
        views: &Views,
        door: &Door,
        ip: IpAddr,
        word: &Word,
    ) -> Result<Come, Stopped> {
        let held = self.account(views, ip, word).await?;
        let id = held.account.id.clone();
        let who = Sayer {
            ip,
            name: id.as_str(),
        };
        let attempts = || door.attempts.lock().expect("no holder of this lock panics");
        // Whom guesses of his password lock out is locked out here, too.
        attempts().take(who, Instant::now()).map_err(Refusal::Guesses)?;
        let has_seen = saw_second(&self.settings, &word.id_token);
        let second = match (&held.second, has_seen) {
            (_, true) => SecondSeen::Provider,
            (Some(_), false) => {
                attempts().not_made(who, Instant::now());
                return Ok(Come::Half(Box::new(held)));
            }
            (None, false) if views.trust.needs_second(held.account.role) => {
                attempts().not_made(who, Instant::now());
                return Err(Refusal::Second.into());
            }
            (None, false) => SecondSeen::None,
        };
        attempts().right(who, Instant::now());
        self.record_log_in(views, &held, &word.subject, second).await?;
        Ok(Come::In(id))
    }

    /// The account of whom the provider speaks, made or linked where the configuration says so.
    async fn account(&self, views: &Views, ip: IpAddr, word: &Word) -> Result<Held, Stopped> {
        let find = || {
            let spoken_of = views.keys.spoken_of(&word.subject);
            whose(&self.settings, &word.claims, spoken_of.as_ref(), |id| {
                views.keys.account(id)
            })
        };
        let known = |id: &AccountId| views.keys.account(id).ok_or(Refusal::Unknown.into());
        if let Whose::Known(id) = find()? {
            return known(&id);
        }
        // Two log-ins do not make or take the same one.
        let _turn = views.accounting.lock().await;
        let (id, made) = match find()? {
            Whose::Known(id) => return known(&id),
            Whose::Bound(id) => (id, None),
            Whose::Made(account) => (account.id.clone(), Some(account)),
        };
        let is_new = made.is_some();
        let subject = Register::AccountSubject {
            id: id.clone(),
            subject: Some(word.subject.clone()),
        };
        let made = made.map(|account| Register::Account { account });
        let changes = made.into_iter().chain([subject]).collect();
        let position = views
            .acts
            .record_register(&Scope::local(id.as_str()), views.now(), changes)
            .await
            .map_err(act_problem)?;
        views.applied(position).await.map_err(behind)?;
        let done = match is_new {
            true => "made for a person of the provider",
            false => "linked with a person of the provider by its name",
        };
        info!(account = %id, "the account `{id}` was {done}");
        note(
            views,
            Kind::Changed,
            Some(&id),
            ip,
            &format!("account {id}"),
            done,
        );
        known(&id)
    }

    /// Writes down that somebody comes in.
    pub(super) async fn record_log_in(
        &self,
        views: &Views,
        held: &Held,
        subject: &Subject,
        second: SecondSeen,
    ) -> Result<(), Problem> {
        let verb = Verb::LogIn {
            account: held.account.id.clone(),
            subject: subject.clone(),
            second,
        };
        let scope = held.account.scope();
        let recorded = views.acts.record_act(&scope, views.now(), verb).await;
        recorded.map_err(act_problem)?;
        views.count_oidc("in");
        Ok(())
    }
}

/// Counts, logs and notes why nobody came in.
pub(super) fn told(views: &Views, ip: IpAddr, refusal: &Refusal) {
    let label = refusal.label();
    views.count_oidc(label);
    let cause = refusal.cause();
    match refusal {
        Refusal::Away(_) | Refusal::Answer(_) | Refusal::Signature(_) => {
            warn!(
                reason = label,
                cause, "a log-in by OpenID Connect was refused: {label}"
            );
        }
        _ => info!(
            reason = label,
            cause, "a log-in by OpenID Connect was refused: {label}"
        ),
    }
    let kind = match refusal {
        // Nobody is turned away by these: he comes again.
        Refusal::Away(_) | Refusal::Busy => return,
        Refusal::Guesses(_) => Kind::LoginLocked,
        _ => Kind::LoginFailed,
    };
    note(views, kind, None, ip, SSO, label);
}

/// What an event is about when no account is known.
const SSO: &str = "single sign-on";

/// Notes what happened for who watches over the server.
pub(super) fn note(
    views: &Views,
    kind: Kind,
    actor: Option<&AccountId>,
    ip: IpAddr,
    subject: &str,
    detail: &str,
) {
    let what = What {
        kind,
        actor: actor.map(ToString::to_string),
        peer: Some(ip.to_canonical().to_string()),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    };
    views.security.note(views.now(), what);
}
