//! What happened to alerts in a day or a month, counted as transitions come: none of them is kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use onemap_model::{AlertId, DeviceId, DivisionCode, Edge, RuleId, Severity, Timestamp, Transition};
use serde::Serialize;

use crate::load::{Load, Loading};

/// Rules that are counted one by one; a city has some hundreds.
const MOST_RULES: usize = 20_000;
/// Devices whose silence is counted each once.
const MOST_DEVICES: usize = 200_000;

/// How many began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Turns {
    /// Raised.
    pub raised: u64,
    /// Back to normal.
    pub cleared: u64,
    /// Ended by a person.
    pub closed: u64,
    /// Ended because their rule no longer looks there.
    pub withdrawn: u64,
}

impl Turns {
    fn take(&mut self, edge: Edge) {
        match edge {
            Edge::Raised => self.raised += 1,
            Edge::Cleared => self.cleared += 1,
            Edge::Closed => self.closed += 1,
            Edge::Withdrawn => self.withdrawn += 1,
            _ => {}
        }
    }
}

/// How soon people took alerts of the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// Raised and acknowledged in the span.
    pub acknowledged: u64,
    /// From raised to the first acknowledgement, the middle one (the lower of two), in milliseconds.
    pub median_ms: Option<i64>,
    /// Nine of ten were not slower (nearest rank).
    pub p90_ms: Option<i64>,
    /// Raised in the span, and open and taken by nobody at its end.
    pub unacknowledged: u64,
    /// Raised in the span, and ended before anybody took them.
    pub ended_unacknowledged: u64,
}

/// What a span came to.
#[derive(Clone, Debug)]
pub struct Tallied {
    /// All.
    pub all: Turns,
    /// By severity as it was at each edge.
    pub by_severity: BTreeMap<Severity, Turns>,
    /// By rule.
    pub by_rule: BTreeMap<RuleId, Turns>,
    /// Acknowledgements.
    pub response: Response,
    /// Pages by the id of their desk.
    pub pages: BTreeMap<String, u64>,
    /// Alerts of rules that wait for silence, and how many devices they were of.
    pub silences: (u64, u64),
    /// The alarm load.
    pub load: Load,
}

/// Counts a span.
#[derive(Debug)]
pub struct Tally {
    from: Timestamp,
    to: Timestamp,
    all: Turns,
    by_severity: BTreeMap<Severity, Turns>,
    by_rule: BTreeMap<RuleId, Turns>,
    /// Raised in the span and neither taken nor over.
    waiting: HashMap<AlertId, Timestamp>,
    taken_ms: Vec<i64>,
    ended_untaken: u64,
    pages: BTreeMap<String, u64>,
    n_silences: u64,
    silent: HashSet<DeviceId>,
    loading: Loading,
}

impl Tally {
    /// Of the span from a time to before another.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            all: Turns::default(),
            by_severity: BTreeMap::new(),
            by_rule: BTreeMap::new(),
            waiting: HashMap::new(),
            taken_ms: Vec::new(),
            ended_untaken: 0,
            pages: BTreeMap::new(),
            n_silences: 0,
            silent: HashSet::new(),
            loading: Loading::new(from, to),
        }
    }

    /// Takes a transition, which lies in this division now; in the order of their times. Those outside, and those of drills, are left out.
    pub fn take(&mut self, told: &Transition, division: Option<&DivisionCode>, is_silence: bool) {
        if !(self.from..self.to).contains(&told.at) {
            return;
        }
        if told.drill.is_some() {
            return;
        }
        // What goes on behind its drill is raised there.
        let edge = match told.edge {
            Edge::DrillOver => Edge::Raised,
            edge => edge,
        };
        self.loading.take(told, division);
        match edge {
            Edge::Raised => {
                self.waiting.insert(told.alert, told.at);
                if is_silence {
                    self.n_silences += 1;
                    if self.silent.len() < MOST_DEVICES {
                        self.silent.insert(told.series.device.clone());
                    }
                }
            }
            Edge::Acknowledged => {
                if let Some(raised) = self.waiting.remove(&told.alert) {
                    self.taken_ms.push(told.at - raised);
                }
                return;
            }
            Edge::Paged => {
                let desk = told.act.as_ref().map_or_else(String::new, |act| act.name.clone());
                *self.pages.entry(desk).or_default() += 1;
                return;
            }
            Edge::Cleared | Edge::Closed | Edge::Withdrawn => {
                self.ended_untaken += u64::from(self.waiting.remove(&told.alert).is_some());
            }
            _ => return,
        }
        self.all.take(edge);
        self.by_severity.entry(told.severity).or_default().take(edge);
        if self.by_rule.len() < MOST_RULES || self.by_rule.contains_key(&told.rule) {
            self.by_rule.entry(told.rule.clone()).or_default().take(edge);
        }
    }

    /// What it came to.
    pub fn finish(mut self) -> Tallied {
        self.taken_ms.sort_unstable();
        let n = self.taken_ms.len();
        let ranked = |share: f64| {
            self.taken_ms
                .get(((n as f64 * share).ceil() as usize).max(1) - 1)
                .copied()
        };
        Tallied {
            all: self.all,
            response: Response {
                acknowledged: n as u64,
                median_ms: ranked(0.5),
                p90_ms: ranked(0.9),
                unacknowledged: self.waiting.len() as u64,
                ended_unacknowledged: self.ended_untaken,
            },
            by_severity: self.by_severity,
            by_rule: self.by_rule,
            pages: self.pages,
            silences: (self.n_silences, self.silent.len() as u64),
            load: self.loading.finish(),
        }
    }
}
