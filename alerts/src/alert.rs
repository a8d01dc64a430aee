//! One alert as people see it.

use onemap_model::alert::Input;
use onemap_model::{
    AlertId, DivisionCode, DrillId, Past, RuleId, SeriesKey, Severity, Timestamp, Transition,
};
use onemap_rules::Texts;
use serde::{Deserialize, Serialize};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It goes on.
    Open,
    /// Its series went back to normal.
    Cleared,
    /// A person ended it, with a reason.
    Closed,
    /// Its rule no longer looks there; that does not say that things are normal.
    Withdrawn,
}

/// What is known of its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The cause is there.
    Abnormal,
    /// Nothing is known any more.
    Unknown,
    /// The cause is gone.
    Normal,
}

/// What a person said of an alert, and until when that holds: that he takes care of it, or why it is not on the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undertaking {
    /// Token or user.
    pub actor: String,
    /// The person's name as given.
    pub name: String,
    /// What he wrote; of a shelved alert the reason.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// When it runs out.
    pub until: Timestamp,
}

impl Undertaking {
    /// That of an act's edge; `None` of an edge without one.
    pub(crate) fn of(transition: &Transition) -> Option<Self> {
        let note = transition.act.as_ref()?;
        Some(Self {
            actor: note.actor.clone(),
            name: note.name.clone(),
            note: note.note.clone(),
            at: transition.at,
            until: note.until.unwrap_or(transition.at),
        })
    }
}

/// Who is to see to an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Token or user that said so.
    pub actor: String,
    /// The person who said so.
    pub name: String,
    /// Who is to.
    pub to: String,
    /// What is to be done.
    pub note: String,
    /// When it was said.
    pub at: Timestamp,
}

/// One alert. As JSON it is the API's alert object without what the API joins in (the device's name and
/// position, the series' number).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// The rule that raised it.
    pub rule: RuleId,
    /// The rule's version then.
    pub rule_version: String,
    /// The rule's name then.
    pub rule_name: Texts,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// What is known of its cause.
    pub condition: Condition,
    /// Who takes care of it; an ended alert keeps the last one.
    pub acknowledged: Option<Undertaking>,
    /// Why it is not on the desk's list. One that ended or became more severe is not shelved.
    #[serde(default)]
    pub shelved: Option<Undertaking>,
    /// Who is to see to it; an ended alert keeps the last one.
    #[serde(default)]
    pub assigned: Option<Assignment>,
    /// What it is about.
    pub series: SeriesKey,
    /// Where.
    pub division: Option<DivisionCode>,
    /// When it was raised (record time).
    pub raised_at: Timestamp,
    /// Journal position of the record that raised it.
    pub raised_position: u64,
    /// When it last changed: its last edge, whoever made it.
    #[serde(default)]
    pub changed_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Since when nobody has it who had it, or since it is worse than what he took; `None` where nobody ever had it.
    #[serde(default)]
    pub waits_since: Option<Timestamp>,
    /// The sentence of its last edge that the engine told.
    pub message: Texts,
    /// What to do.
    pub advice: Texts,
    /// The values it was raised on, or found again with; newest last.
    pub inputs: Vec<Input>,
    /// The newest of them.
    pub value: Option<f64>,
    /// The rule's limit in the quantity's canonical unit.
    pub threshold: Option<f64>,
    /// The drill that it was raised in: it is kept and shown, and calls nobody. One that goes on when the drill is over has
    /// none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillId>,
    /// When it was, of a historical event: one that was found in data that came late and had ended by then. Its `raised_at` is its
    /// beginning and its `ended_at` its end; when it was found stands in `changed_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
}

impl Alert {
    /// Since when it waits for somebody to take it.
    pub(crate) fn waiting_since(&self) -> Timestamp {
        self.waits_since.unwrap_or(self.raised_at)
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.state == AlertState::Open
    }

    /// Whether a desk has to look at it: it goes on and is not shelved.
    pub fn is_triaged(&self) -> bool {
        self.is_open() && self.shelved.is_none()
    }

    /// The newest time that it holds; an alert kept by a version before `changed_at` says it so.
    pub(crate) fn newest_time(&self) -> Timestamp {
        let acknowledged = self.acknowledged.as_ref().map(|by| by.at);
        let times = [
            Some(self.raised_at),
            acknowledged,
            self.ended_at,
            Some(self.changed_at),
        ];
        times.into_iter().flatten().max().unwrap_or(self.raised_at)
    }
}
