//! What is known of the series that the server foresees: whose models, how good in training, and why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

use onemap_model::{SeriesKey, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

const POISON: &str = "no holder of this lock panics";

/// How a model did in training, on rows that it had not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadSkill {
    /// Seconds ahead.
    pub lead_s: u32,
    /// Rows that it was looked at on.
    pub rows: usize,
    /// 1 − MSE/MSE(persistence).
    pub skill: Option<f64>,
    /// 1 − MAE/MAE(persistence).
    pub mae_skill: Option<f64>,
    /// Why it says nothing so far ahead.
    pub silent: Option<String>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The first digits of its digest.
    pub model: String,
    /// When it was trained.
    pub at: Timestamp,
    /// When it was last solved again on newer values, with what training chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit_at: Option<Timestamp>,
    /// On values from this time on.
    pub first: Timestamp,
    /// Up to this.
    pub last: Timestamp,
    /// How many of the series itself.
    pub values: usize,
    /// By lead.
    pub leads: Vec<LeadSkill>,
}

/// A series that is foreseen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gauge {
    /// Other series that it is foreseen from.
    pub inputs: Vec<String>,
    /// Seconds between two forecasts.
    pub step_s: u32,
    /// Seconds ahead.
    pub leads_s: Vec<u32>,
    /// Of exceedances.
    pub threshold: Option<f64>,
    /// Its model.
    pub trained: Option<Trained>,
    /// Why nothing is foreseen now.
    pub why_not: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Foresight {
    gauges: RwLock<BTreeMap<SeriesKey, Gauge>>,
    orders: RwLock<BTreeSet<SeriesKey>>,
    asked: Notify,
}

impl Foresight {
    /// Says what a series is foreseen by now.
    pub fn put(&self, key: &SeriesKey, gauge: Gauge) {
        self.gauges.write().expect(POISON).insert(key.clone(), gauge);
    }
    /// Says why nothing is foreseen, or that something is.
    pub fn told(&self, key: &SeriesKey, why_not: Option<String>) {
        if let Some(gauge) = self.gauges.write().expect(POISON).get_mut(key) {
            gauge.why_not = why_not;
        }
    }
    /// What is known of a series; `None` where it is not foreseen.
    pub(crate) fn of(&self, key: &SeriesKey) -> Option<Gauge> {
        self.gauges.read().expect(POISON).get(key).cloned()
    }
    /// What is known of those that are foreseen, in the order of their names (`device/quantity/channel`), behind one.
    pub(crate) fn behind(&self, after: &str) -> Vec<(String, SeriesKey, Gauge)> {
        let gauges = self.gauges.read().expect(POISON);
        let all = gauges.iter().map(|(key, gauge)| (key.to_string(), key, gauge));
        let mut all: Vec<_> = all.filter(|(name, ..)| name.as_str() > after).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let whole = all.into_iter();
        whole
            .map(|(name, key, gauge)| (name, key.clone(), gauge.clone()))
            .collect()
    }
    /// Asks for a model to be trained; whether the series is foreseen.
    pub(crate) fn order(&self, key: &SeriesKey) -> bool {
        if self.of(key).is_none() {
            return false;
        }
        self.orders.write().expect(POISON).insert(key.clone());
        self.asked.notify_one();
        true
    }
    /// Takes an order, if there is one.
    pub fn take_order(&self, key: &SeriesKey) -> bool {
        self.orders.write().expect(POISON).remove(key)
    }
    /// Wakes when a model is asked for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }
}
