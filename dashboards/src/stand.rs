//! How rules stand to a series: asked of the pipeline, which has the engine.

use onemap_model::{RuleId, SeriesKey, Timestamp};
use onemap_rules::{Aside, Engine, Explanation};
use tokio::sync::oneshot;

/// What the pipeline is asked between two batches.
#[derive(Debug)]
pub enum Question {
    /// Digests of everything that is made of the journal.
    Digests(oneshot::Sender<serde_json::Value>),
    /// How the rules, or one of them, stand to a series.
    Stand {
        /// Which series.
        series: SeriesKey,
        /// Only this rule.
        rule: Option<RuleId>,
        /// Who wants to know.
        answer: oneshot::Sender<Stand>,
    },
}

/// How rules stand to a series.
#[derive(Debug)]
pub struct Stand {
    /// When.
    pub at: Timestamp,
    /// Those that look at it.
    pub rules: Vec<Explanation>,
    /// Why the one that was asked for does not.
    pub aside: Option<Aside>,
}

impl Stand {
    /// What an engine says of it.
    pub fn of(engine: &Engine, at: Timestamp, series: &SeriesKey, rule: Option<&RuleId>) -> Self {
        let Some(rule) = rule else {
            return Self {
                at,
                rules: engine.explain(series),
                aside: None,
            };
        };
        match engine.why(rule, series) {
            Ok(told) => Self {
                at,
                rules: vec![told],
                aside: None,
            },
            Err(aside) => Self {
                at,
                rules: Vec::new(),
                aside: Some(aside),
            },
        }
    }
}
