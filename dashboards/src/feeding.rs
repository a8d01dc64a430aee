//! What consumers of alerts are told, out of the views, and how each of them stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use onemap_alerts::feeds::{Change, Failure, Place, Selection};
use onemap_alerts::{Alert, Texts};
use onemap_model::{DeviceState, DivisionCode, Scope, Timestamp, Transition};
use onemap_store::feeds::Feeds;
use tokio::sync::Notify;

use crate::api::alerts::render;
use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";

/// Consumers of alerts, and the file with what they have.
pub struct Outboxes {
    /// Cursors, receipts, what is set aside.
    pub store: Arc<Feeds>,
    /// How each stands, in the order of the configuration.
    pub all: Vec<Arc<Outbox>>,
}

/// How one consumer stands.
#[derive(Debug)]
pub struct Outbox {
    /// Its name.
    pub name: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// The host that it is reached at; never more of its address.
    pub host: String,
    /// Number of the last transition that is done with.
    pub cursor: AtomicU64,
    /// Items that it received since the start.
    pub n_sent: AtomicU64,
    /// Attempts that failed since the start, by [`Failure`].
    pub n_failed: [AtomicU64; Failure::ALL.len()],
    /// Transitions that were gone before it had them, since the start.
    pub n_missing: AtomicU64,
    /// Items that are set aside.
    pub n_aside: AtomicU64,
    /// What it is tried with.
    pub waiting: Mutex<Option<Waiting>>,
    /// What went wrong last.
    pub last_error: Mutex<Option<LastError>>,
    /// Somebody wants that something set aside be sent again.
    pub asked: Notify,
}

/// What a consumer has not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it was tried first.
    pub since: Timestamp,
    /// How often.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at: Timestamp,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What.
    pub failure: Failure,
    /// Status of the answer.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: String,
}

impl Outbox {
    /// One that nothing is known of yet.
    pub fn new(name: &str, kind: &'static str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            host: host.to_owned(),
            cursor: AtomicU64::new(0),
            n_sent: AtomicU64::new(0),
            n_failed: Default::default(),
            n_missing: AtomicU64::new(0),
            n_aside: AtomicU64::new(0),
            waiting: Mutex::default(),
            last_error: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// Notes an attempt that failed.
    pub fn failed(&self, error: LastError) {
        if let Some(n) = Failure::ALL.iter().position(|known| *known == error.failure) {
            self.n_failed[n].fetch_add(1, Ordering::Relaxed);
        }
        *self.last_error.lock().expect(POISON) = Some(error);
    }

    /// Notes what it is tried with, or that nothing waits for another attempt.
    pub fn waits(&self, waiting: Option<Waiting>) {
        *self.waiting.lock().expect(POISON) = waiting;
    }
}

fn scope_of(division: Option<&DivisionCode>) -> Scope {
    Scope {
        division: division.cloned(),
        ..Scope::local("feeds")
    }
}

fn is_maintained(register: &Register, device: &str) -> bool {
    let device = register.view.devices.get(device);
    device.is_some_and(|device| device.state == DeviceState::Maintenance)
}

/// Whether a transition is for a consumer; `is_told` says whether it was told anything of the alert.
pub fn is_for(
    views: &Views,
    selection: &Selection,
    transition: &Transition,
    is_told: impl FnOnce() -> bool,
) -> bool {
    let device = transition.series.device.as_str();
    let (is_inside, is_maintained) = {
        let register = views.register.read().expect(POISON);
        let belongs = register.recorded(device, transition.division.as_ref());
        let is_inside = scope_of(selection.division.as_ref()).covers(belongs);
        (is_inside, is_maintained(&register, device))
    };
    is_inside && selection.takes(transition, is_maintained, is_told)
}

/// A transition with what is known around it now.
pub fn change(views: &Views, transition: Transition, story: Vec<Transition>) -> Change {
    let alert = views.board.read().expect(POISON).get(&transition.alert).cloned();
    let rule_name = match &alert {
        Some(alert) => alert.rule_name.clone(),
        None => Texts {
            zh: transition.rule.as_str().to_owned(),
            en: transition.rule.as_str().to_owned(),
        },
    };
    let place = {
        let register = views.register.read().expect(POISON);
        let device = register.view.devices.get(&transition.series.device);
        device.map(|device| Place {
            name: device.name.to_string(),
            name_en: device.name_en.to_string(),
        })
    };
    Change {
        place: place.unwrap_or_else(|| Place {
            name: transition.series.device.as_str().to_owned(),
            name_en: String::new(),
        }),
        alert: alert.map(|alert| render(views, &alert)),
        rule_name,
        story,
        transition,
    }
}

/// The open alerts that a consumer is told again of.
pub fn open(views: &Views, selection: &Selection) -> Vec<Alert> {
    let scope = scope_of(selection.division.as_ref());
    let register = views.register.read().expect(POISON);
    let board = views.board.read().expect(POISON);
    let is_for = |alert: &&Alert| {
        let device = alert.series.device.as_str();
        alert.severity >= selection.severity_at_least
            && (selection.rules.is_empty() || selection.rules.contains(&alert.rule))
            && scope.covers(register.recorded(device, alert.division.as_ref()))
            && !is_maintained(&register, device)
            && alert.drill.is_none()
    };
    board.open_alerts().filter(is_for).cloned().collect()
}
