//! Whom alerts reach that nobody takes: desks with their shifts, step by step, and reminders.
//!
//! A desk is paged once for all that waits, not once for each alert: one page names the worst, who is called, and how many
//! more wait. Two pages of a desk lie a minute apart. Time is the journal's, so a replay pages the same.

use std::collections::{BTreeMap, BTreeSet};

use onemap_model::alert::ActNote;
use onemap_model::duty::Desk;
use onemap_model::{
    Act, AlertId, DeskId, DeviceId, DivisionCode, Edge, RuleId, Severity, Timestamp, Transition, TransitionId,
};
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::board::edge;
use crate::handover::{DutyRefused, Handovers, entry_of};

/// Milliseconds between two pages of a desk.
const PAUSE_MS: i64 = 60_000;

/// The desks, and how far each has been paged.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Duty {
    desks: BTreeMap<DeskId, Manned>,
}

/// A desk with what it was told.
#[derive(Debug, Serialize, Deserialize)]
struct Manned {
    desk: Desk,
    /// What was there before the desk is not new to anybody.
    since: Timestamp,
    paged_at: Option<Timestamp>,
    /// Of alerts that wait: since when, and how many steps and reminders were paged.
    told: BTreeMap<AlertId, (Timestamp, u32)>,
    /// How shifts handed over; a desk of before has none.
    #[serde(default)]
    handovers: Handovers,
}

/// Whether a desk looks at what a rule says somewhere.
pub fn looks_at(desk: &Desk, severity: Severity, rule: &RuleId, division: Option<&DivisionCode>) -> bool {
    severity >= desk.severity
        && (desk.rules.is_empty() || desk.rules.contains(rule))
        && match (&desk.division, division) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        }
}

impl Manned {
    fn looks_at(&self, alert: &Alert) -> bool {
        looks_at(&self.desk, alert.severity, &alert.rule, alert.division.as_ref())
    }

    fn waits(&self, alert: &Alert) -> bool {
        alert.acknowledged.is_none()
            && alert.shelved.is_none()
            && alert.drill.is_none()
            && self.looks_at(alert)
    }

    /// The page that is due, as the edge of the worst alert that is due.
    fn page<'a>(
        &mut self,
        id: &DeskId,
        now: Timestamp,
        position: u64,
        open: impl Iterator<Item = &'a Alert> + Clone,
        is_muted: &dyn Fn(&DeviceId) -> bool,
    ) -> Option<Transition> {
        let waits = |alert: &&Alert| self.waits(alert) && !is_muted(&alert.series.device);
        let waiting: Vec<&Alert> = open.filter(waits).collect();
        let ids: BTreeSet<AlertId> = waiting.iter().map(|alert| alert.id).collect();
        self.told.retain(|alert, _| ids.contains(alert));
        if self.paged_at.is_some_and(|at| now - at < PAUSE_MS) {
            return None;
        }
        let mut due: Vec<(&Alert, u32, u32)> = Vec::new();
        for alert in &waiting {
            let since = alert.waiting_since().max(self.since);
            let told = self.told.get(&alert.id).filter(|(at, _)| *at == since);
            let (told, reached) = (told.map_or(0, |(_, n)| *n), self.desk.reached(now - since));
            if reached > told {
                due.push((alert, told, reached));
            }
        }
        let (worst, _, _) = due
            .iter()
            .max_by_key(|(alert, ..)| (alert.severity, std::cmp::Reverse((alert.raised_at, alert.id))))?;
        let (posts, names) = self.called(now, due.iter().map(|(_, told, reached)| (*told, *reached)));
        let n_steps = self.desk.steps.len() as u32;
        let is_reminder = due.iter().all(|(_, told, _)| *told >= n_steps);
        let words = words(&self.desk, is_reminder, &posts, &names, waiting.len() - 1);
        let note = ActNote {
            actor: "duty".to_owned(),
            name: id.to_string(),
            note: posts.join("、"),
            until: None,
            to: Some(names.join("、")),
        };
        let mut page = edge(worst, Edge::Paged, now, position, words, Some(note));
        // Two desks may be paged of one alert by one record.
        page.id = TransitionId::of(&[page.id.to_string().as_bytes(), id.as_str().as_bytes()]);
        for (alert, _, reached) in due {
            let since = alert.waiting_since().max(self.since);
            self.told.insert(alert.id, (since, reached));
        }
        self.paged_at = Some(now);
        Some(page)
    }

    /// The posts whose turn has come and who is on them. A post that nobody is on is passed over to the next.
    fn called(&self, now: Timestamp, turns: impl Iterator<Item = (u32, u32)>) -> (Vec<String>, Vec<String>) {
        let steps = &self.desk.steps;
        let last = steps.len().saturating_sub(1);
        let mut indexes = BTreeSet::new();
        for (told, reached) in turns {
            indexes.extend((told..reached).map(|n| (n as usize).min(last)));
        }
        let mut posts: Vec<String> = Vec::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for first in indexes {
            for step in &steps[first..] {
                if !posts.contains(&step.post) {
                    posts.push(step.post.clone());
                }
                let people = self.desk.on_duty(&step.post, now);
                let is_filled = !people.is_empty();
                names.extend(people);
                if is_filled {
                    break;
                }
            }
        }
        (posts, names.into_iter().map(str::to_owned).collect())
    }
}

fn words(
    desk: &Desk,
    is_reminder: bool,
    posts: &[String],
    names: &[String],
    n_more: usize,
) -> (String, String) {
    let (zh_verb, en_verb) = match is_reminder {
        true => ("再次提醒", "Reminded"),
        false => ("通知", "Paged"),
    };
    let posts_zh = posts.join("、");
    let (zh_who, en_who) = match names {
        [] => (
            format!("{posts_zh}（无人值班）"),
            format!("{posts_zh} (nobody is on duty)"),
        ),
        names => (
            format!("{posts_zh} {}", names.join("、")),
            format!("{posts_zh} {}", names.join(", ")),
        ),
    };
    let (zh_more, en_more) = match n_more {
        0 => (String::new(), String::new()),
        n => (format!("；另有 {n} 条无人处理"), format!("; {n} more wait")),
    };
    (
        format!("{}{zh_verb}{zh_who}{zh_more}", desk.name),
        format!("{}: {en_verb} {en_who}{en_more}", desk.name),
    )
}

impl Duty {
    /// Puts a desk, or another word on it. Alerts of before are new to a new desk from then on.
    pub fn put(&mut self, now: Timestamp, id: DeskId, desk: Desk) {
        match self.desks.get_mut(&id) {
            Some(manned) => {
                // Whose desk it was before is nothing to who has it now.
                if manned.desk.division != desk.division {
                    manned.handovers = Handovers::default();
                }
                manned.desk = desk;
            }
            None => {
                let manned = Manned {
                    desk,
                    since: now,
                    paged_at: None,
                    told: BTreeMap::new(),
                    handovers: Handovers::default(),
                };
                self.desks.insert(id, manned);
            }
        }
    }

    /// Takes a desk away; false when there is none.
    pub fn remove(&mut self, id: &DeskId) -> bool {
        self.desks.remove(id).is_some()
    }

    /// The desks, by id.
    pub fn desks(&self) -> impl Iterator<Item = (&DeskId, &Desk)> {
        self.desks.iter().map(|(id, manned)| (id, &manned.desk))
    }

    /// How many alerts wait at a desk, and when it was paged last.
    pub fn waiting<'a>(
        &self,
        id: &DeskId,
        open: impl Iterator<Item = &'a Alert>,
    ) -> Option<(usize, Option<Timestamp>)> {
        let manned = self.desks.get(id)?;
        let n = open.filter(|alert| manned.waits(alert)).count();
        Some((n, manned.paged_at))
    }

    /// The alerts that somebody was called for at a desk and that still wait there.
    pub fn paged<'a>(&self, id: &DeskId, open: impl Iterator<Item = &'a Alert>) -> BTreeSet<AlertId> {
        let Some(manned) = self.desks.get(id) else {
            return BTreeSet::new();
        };
        let is_told = |alert: &&Alert| manned.told.get(&alert.id).is_some_and(|(_, n)| *n > 0);
        let paged = open.filter(|alert| manned.waits(alert)).filter(is_told);
        paged.map(|alert| alert.id).collect()
    }

    /// A desk and how its shifts handed over.
    pub fn desk(&self, id: &DeskId) -> Option<(&Desk, &Handovers)> {
        self.desks.get(id).map(|manned| (&manned.desk, &manned.handovers))
    }

    /// Whether an entry may be written into a desk's log now; for the answer to the person before it is journaled.
    ///
    /// # Errors
    /// See [`DutyRefused`].
    pub fn check(&self, act: &Act) -> Result<(), DutyRefused> {
        let entry = entry_of(act)?;
        let unknown = || DutyRefused::UnknownDesk(entry.desk.clone());
        let manned = self.desks.get(&entry.desk).ok_or_else(unknown)?;
        if !act.by.encloses(manned.desk.division.as_ref(), &[]) {
            return Err(DutyRefused::OutOfScope);
        }
        manned.handovers.check(&act.by.actor, entry)
    }

    /// Writes an entry into a desk's log, if it may be.
    ///
    /// # Errors
    /// See [`DutyRefused`]; then nothing changed.
    pub(crate) fn write(&mut self, position: u64, act: &Act) -> Result<(), DutyRefused> {
        self.check(act)?;
        let entry = entry_of(act)?;
        if let Some(manned) = self.desks.get_mut(&entry.desk) {
            manned.handovers.note(position, act, entry);
        }
        Ok(())
    }

    /// The pages that are due now.
    pub(crate) fn tick<'a>(
        &mut self,
        now: Timestamp,
        position: u64,
        open: impl Iterator<Item = &'a Alert> + Clone,
        is_muted: &dyn Fn(&DeviceId) -> bool,
    ) -> Vec<Transition> {
        let desks = self.desks.iter_mut();
        desks
            .filter_map(|(id, manned)| manned.page(id, now, position, open.clone(), is_muted))
            .collect()
    }
}
