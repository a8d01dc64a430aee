//! Duty (值班): who is at a desk when, and whom an alert that nobody takes reaches next.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{DivisionCode, RuleId, Severity, Timestamp};

/// Most steps of a desk.
pub const MAX_STEPS: usize = 10;
/// Most shifts of a desk: two years of three a day.
pub const MAX_SHIFTS: usize = 2_200;
/// Most people of one post.
pub const MAX_PEOPLE: usize = 20;
/// Characters of a name.
pub const MAX_NAME: usize = 64;
/// The latest step, and the longest time between two reminders: a day, in minutes.
pub const MAX_MINUTES: u32 = 1_440;
/// Minutes behind the start of a shift by which it has taken over where the desk says nothing.
pub const HANDOVER_MIN: u32 = 30;
/// The earliest that a shift takes over before it begins, in milliseconds; half of the shift before where that is shorter.
const EARLY_MS: i64 = 2 * 3_600_000;

/// A desk (席位): what it looks at, and who sits there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// What it is called.
    pub name: String,
    /// Alerts of this division; of the whole city, also what lies in none, when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// From this severity on.
    pub severity: Severity,
    /// Only alerts of these rules; of all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleId>,
    /// Whom an alert that nobody takes reaches, and when; ascending.
    pub steps: Vec<Step>,
    /// Behind the last step its post is reminded every so many minutes; never when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_min: Option<u32>,
    /// Minutes behind the start of a shift by which it has taken over; [`HANDOVER_MIN`] when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_min: Option<u32>,
    /// Who is on duty when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<Shift>,
    /// Who stands in for posts that no shift fills.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub standby: BTreeMap<String, Vec<String>>,
}

/// One step of an escalation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Minutes for which nobody has taken the alert.
    pub after_min: u32,
    /// Whose turn it is: 值班员, 带班领导.
    pub post: String,
}

/// A shift (班次).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// From this time on.
    pub from: Timestamp,
    /// Until before this time.
    pub to: Timestamp,
    /// What it is called: 早班, 夜班.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The people of each post, by name.
    pub posts: BTreeMap<String, Vec<String>>,
}

/// What is wrong with a desk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// A name is empty, too long, or holds control characters.
    #[error("{what}: a name has 1 to {MAX_NAME} characters")]
    Name {
        /// Whose.
        what: &'static str,
    },
    /// There are none, too many, or they do not ascend.
    #[error("`steps` are 1 to {MAX_STEPS}, each later than the one before, at most {MAX_MINUTES} minutes")]
    Steps,
    /// Reminders come too often or too seldom.
    #[error("`remind_min` is 1 to {MAX_MINUTES}")]
    Remind,
    /// A hand-over waits for nothing or for too long.
    #[error("`handover_min` is 1 to {MAX_MINUTES}")]
    Handover,
    /// A shift ends before it begins.
    #[error("shift {at} (from 0) ends before it begins")]
    Shift {
        /// Which.
        at: usize,
    },
    /// Too many shifts, or too many people.
    #[error("a desk has at most {MAX_SHIFTS} shifts, a post at most {MAX_PEOPLE} people")]
    TooMany,
    /// A shift fills a post that no step reaches: a mistyped name would leave the post empty.
    #[error("no step reaches the post `{post}`")]
    Post {
        /// The post.
        post: String,
    },
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_NAME && !text.contains(char::is_control)
}

impl Desk {
    /// Whether it can be.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn check(&self) -> Result<(), DeskError> {
        let named = |text: &str, what| is_name(text).then_some(()).ok_or(DeskError::Name { what });
        named(&self.name, "name")?;
        for step in &self.steps {
            named(&step.post, "post")?;
        }
        let ascends = self
            .steps
            .windows(2)
            .all(|pair| pair[0].after_min < pair[1].after_min);
        let is_long = self.steps.iter().any(|step| step.after_min > MAX_MINUTES);
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS || !ascends || is_long {
            return Err(DeskError::Steps);
        }
        if self.remind_min.is_some_and(|n| n == 0 || n > MAX_MINUTES) {
            return Err(DeskError::Remind);
        }
        if self.handover_min.is_some_and(|n| n == 0 || n > MAX_MINUTES) {
            return Err(DeskError::Handover);
        }
        for shift in &self.shifts {
            named(shift.name.as_deref().unwrap_or("-"), "shift")?;
        }
        if self.shifts.len() > MAX_SHIFTS {
            return Err(DeskError::TooMany);
        }
        if let Some(at) = self.shifts.iter().position(|shift| shift.to <= shift.from) {
            return Err(DeskError::Shift { at });
        }
        let posts = self.shifts.iter().flat_map(|shift| &shift.posts);
        for (post, people) in posts.chain(&self.standby) {
            if !self.steps.iter().any(|step| step.post == *post) {
                return Err(DeskError::Post { post: post.clone() });
            }
            if people.len() > MAX_PEOPLE {
                return Err(DeskError::TooMany);
            }
            for name in people {
                named(name, "people")?;
            }
        }
        Ok(())
    }

    /// Who is on a post at a time: of every shift that holds it, else who stands in; nobody when the post is not filled.
    pub fn on_duty(&self, post: &str, at: Timestamp) -> BTreeSet<&str> {
        let shifts = self
            .shifts
            .iter()
            .filter(|shift| (shift.from..shift.to).contains(&at));
        let people: BTreeSet<&str> = shifts
            .filter_map(|shift| shift.posts.get(post))
            .flatten()
            .map(String::as_str)
            .collect();
        match people.is_empty() {
            false => people,
            true => self
                .standby
                .get(post)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        }
    }

    /// The shift of a time; of several the one that began last.
    pub fn shift_at(&self, at: Timestamp) -> Option<&Shift> {
        let holding = self
            .shifts
            .iter()
            .filter(|shift| (shift.from..shift.to).contains(&at));
        holding.max_by_key(|shift| shift.from)
    }

    /// The first shift that begins behind a time.
    pub fn shift_after(&self, at: Timestamp) -> Option<&Shift> {
        let coming = self.shifts.iter().filter(|shift| shift.from > at);
        coming.min_by_key(|shift| shift.from)
    }

    /// The shift that began before another one, the last of them.
    pub fn shift_before(&self, shift: &Shift) -> Option<&Shift> {
        let before = self.shifts.iter().filter(|other| other.from < shift.from);
        before.max_by_key(|other| other.from)
    }

    /// From when to when taking over is on time for a shift; `None` for the first of the roster, which nobody hands over to.
    pub fn takeover_span(&self, shift: &Shift) -> Option<(Timestamp, Timestamp)> {
        let before = self.shift_before(shift)?;
        let early = EARLY_MS.min((before.to - before.from) / 2);
        let late = i64::from(self.handover_min.unwrap_or(HANDOVER_MIN)) * 60_000;
        let at = |ms| Timestamp::from_ms(shift.from.ms().saturating_add(ms));
        Some((at(-early), at(late)))
    }

    /// How many steps and reminders have come when nobody has taken an alert for so many milliseconds.
    pub fn reached(&self, waited_ms: i64) -> u32 {
        let minutes = waited_ms.max(0) / 60_000;
        let steps = self
            .steps
            .iter()
            .filter(|step| i64::from(step.after_min) <= minutes)
            .count();
        let last = self.steps.last().map_or(0, |step| i64::from(step.after_min));
        let reminders = match self.remind_min {
            Some(every) if steps == self.steps.len() => (minutes - last) / i64::from(every),
            _ => 0,
        };
        u32::try_from(steps as i64 + reminders).unwrap_or(u32::MAX)
    }
}
