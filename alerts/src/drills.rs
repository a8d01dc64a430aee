//! Drills (演练): which alerts are raised on purpose. They are kept, shown and marked, and reach nobody.
//!
//! A drill's alert that goes on when the drill is over is real from then on: what did not end with the drill was not its.

use std::collections::BTreeMap;

use onemap_model::{Drill, DrillId, Timestamp, Transition};
use serde::{Deserialize, Serialize};

use crate::alert::Alert;

/// Drills that are over are listed for so long, in milliseconds.
const LISTED_MS: i64 = 30 * 86_400_000;

/// Drills by their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Drills(BTreeMap<DrillId, Drill>);

impl Drills {
    /// Puts a drill, or another word on it; those that were over long ago are forgotten.
    pub(crate) fn put(&mut self, now: Timestamp, id: DrillId, drill: Drill) {
        self.0.retain(|_, drill| now - drill.to < LISTED_MS);
        self.0.insert(id, drill);
    }

    /// Ends a drill now; one that has not begun is taken away. False when it is not there or over.
    pub(crate) fn end(&mut self, now: Timestamp, id: &DrillId) -> bool {
        let Some(drill) = self.0.get_mut(id).filter(|drill| drill.to > now) else {
            return false;
        };
        if drill.from >= now {
            self.0.remove(id);
        } else {
            drill.to = now;
        }
        true
    }

    /// The drills, by id; those that are over for up to thirty days.
    pub fn all(&self) -> impl Iterator<Item = (&DrillId, &Drill)> {
        self.0.iter()
    }

    /// One drill.
    pub fn get(&self, id: &DrillId) -> Option<&Drill> {
        self.0.get(id)
    }

    /// The drill that a raised alert belongs to; of several the first by id.
    pub(crate) fn of(&self, raised: &Transition) -> Option<&DrillId> {
        let is_its = |drill: &Drill| {
            drill.is_on(raised.at)
                && drill.is_about(&raised.rule, &raised.series.device, raised.division.as_ref())
        };
        self.0.iter().find(|(_, drill)| is_its(drill)).map(|(id, _)| id)
    }

    /// Whether the drill that an alert was raised in goes on and is still about it.
    pub(crate) fn holds(&self, alert: &Alert, now: Timestamp) -> bool {
        let drill = alert.drill.as_ref().and_then(|id| self.0.get(id));
        drill.is_some_and(|drill| is_its(drill, alert, now))
    }

    /// The drill that is on and about an alert; of several the first by id.
    pub(crate) fn of_alert(&self, alert: &Alert, now: Timestamp) -> Option<&DrillId> {
        let found = self.0.iter().find(|(_, drill)| is_its(drill, alert, now));
        found.map(|(id, _)| id)
    }

    /// How many are on or to come.
    pub fn n_ahead(&self, now: Timestamp) -> usize {
        self.0.values().filter(|drill| drill.to > now).count()
    }
}

fn is_its(drill: &Drill, alert: &Alert, now: Timestamp) -> bool {
    drill.is_on(now) && drill.is_about(&alert.rule, &alert.series.device, alert.division.as_ref())
}
