//! Alarm load (告警负荷) in the words of ISA-18.2 and EEMUA 191: how much a desk has to look at, and which alarms cost it most.
//!
//! Figures of transitions in a span of record time: no clock, no I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use onemap_model::{DivisionCode, Edge, RuleId, SeriesKey, Timestamp, Transition};
use serde::Serialize;

/// The span that alarms are counted in.
pub const TEN_MINUTES: Duration = Duration::from_secs(600);
/// So many alarms of a desk in ten minutes are a flood (ISA-18.2, EEMUA 191).
pub const FLOOD: usize = 10;
/// A series that raised a rule so often within [`CHATTER_WITHIN`] chatters.
pub const CHATTER: usize = 3;
/// An hour.
pub const CHATTER_WITHIN: Duration = Duration::from_secs(3600);
/// Bad actors that are named.
const N_BAD_ACTORS: usize = 10;
/// Chattering series that are named, the worst first.
const N_CHATTERING: usize = 100;
/// Rules and series that are looked at one by one; alarms of others are counted.
const MOST_ACTORS: usize = 100_000;
const STEP_MS: i64 = TEN_MINUTES.as_millis() as i64;

/// What one desk had to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeskLoad {
    /// County of the desk, six digits; `None` is what lies in no division.
    pub division: Option<String>,
    /// Alarms raised.
    pub n_raised: usize,
    /// Per ten minutes, over the whole span.
    pub mean: f64,
    /// Most in ten minutes.
    pub most: usize,
    /// When those ten minutes began.
    pub most_at: Timestamp,
    /// Share of the ten minutes that were a flood, 0 to 1.
    pub flood_share: f64,
}

/// A series that raises a rule again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chattering {
    /// The rule.
    pub rule: RuleId,
    /// Where.
    pub series: SeriesKey,
    /// Most alarms in one hour.
    pub index: usize,
    /// How far raise and clear would have to lie apart for its swings to be one alarm, in `unit`: the widest swing between a
    /// raising and the clearing next to it. `None` when no values of two such edges are known.
    pub deadband: Option<f64>,
    /// Unit of the quantity.
    pub unit: &'static str,
}

/// A rule and series that cost desks much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BadActor {
    /// The rule.
    pub rule: RuleId,
    /// Where.
    pub series: SeriesKey,
    /// Alarms raised.
    pub n_raised: usize,
    /// Share of all alarms, 0 to 1.
    pub share: f64,
}

/// The load of a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Its beginning, on full ten minutes.
    pub from: Timestamp,
    /// Its end, not inside.
    pub to: Timestamp,
    /// Alarms raised.
    pub n_raised: usize,
    /// Edges of rules and series beyond those that are looked at one by one: they may chatter unseen.
    pub n_beyond: usize,
    /// By desk, in the order of their codes.
    pub desks: Vec<DeskLoad>,
    /// The worst first.
    pub chattering: Vec<Chattering>,
    /// At most ten, the worst first.
    pub bad_actors: Vec<BadActor>,
}

/// The load of the ten minutes from the one that holds `from` on, up to `to`. `desk_of` says in which division a transition
/// lies now. Transitions in any order; those outside, and those of drills, are left out.
pub fn load<'a>(
    from: Timestamp,
    to: Timestamp,
    transitions: impl IntoIterator<Item = &'a Transition>,
    desk_of: impl Fn(&'a Transition) -> Option<DivisionCode>,
) -> Load {
    let mut loading = Loading::new(from, to);
    let mut inside: Vec<&Transition> = transitions.into_iter().filter(|t| loading.holds(t.at)).collect();
    inside.sort_by_key(|t| (t.at, t.position, t.id));
    for transition in inside {
        loading.take(transition, desk_of(transition).as_ref());
    }
    loading.finish()
}

/// Counts the load of a span as its transitions come, and keeps none of them.
#[derive(Debug)]
pub struct Loading {
    from: Timestamp,
    to: Timestamp,
    n_raised: usize,
    desks: BTreeMap<Option<String>, BTreeMap<i64, usize>>,
    actors: HashMap<(RuleId, SeriesKey), Actor>,
    n_beyond: usize,
}

/// One rule and series.
#[derive(Debug, Default)]
struct Actor {
    n_raised: usize,
    /// Raised within the last hour.
    recent: VecDeque<Timestamp>,
    /// Most of them.
    index: usize,
    last: Option<(Edge, Timestamp, Option<f64>)>,
    widest: Option<f64>,
}

impl Actor {
    fn take(&mut self, told: &Transition) {
        let value = told.inputs.last().map(|input| input.value);
        if let Some((edge, at, before)) = self.last
            && edge != told.edge
            && told.at.since(at) < CHATTER_WITHIN
            && let (Some(before), Some(value)) = (before, value)
        {
            let swing = (before - value).abs();
            if swing.is_finite() {
                self.widest = Some(self.widest.map_or(swing, |most| most.max(swing)));
            }
        }
        self.last = Some((told.edge, told.at, value));
        if told.edge == Edge::Cleared {
            return;
        }
        self.n_raised += 1;
        while self
            .recent
            .front()
            .is_some_and(|first| told.at.since(*first) >= CHATTER_WITHIN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(told.at);
        self.index = self.index.max(self.recent.len());
    }

    fn chatters(&self, rule: &RuleId, series: &SeriesKey) -> Option<Chattering> {
        if self.index < CHATTER {
            return None;
        }
        let quantity = series.quantity;
        // Rounded up to the digits that the quantity is shown with.
        let scale = 10f64.powi(i32::from(quantity.definition().decimals));
        let up = |swing: f64| (swing * scale - 1e-6).ceil() / scale;
        let widest = self.widest.filter(|swing| *swing > 0.0 && !quantity.is_state());
        Some(Chattering {
            rule: rule.clone(),
            series: series.clone(),
            index: self.index,
            deadband: widest.map(up),
            unit: &quantity.definition().unit,
        })
    }
}

impl Loading {
    /// Of the ten minutes from the one that holds `from` on, up to `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from: Timestamp::from_ms(from.ms().div_euclid(STEP_MS) * STEP_MS),
            to,
            n_raised: 0,
            desks: BTreeMap::new(),
            actors: HashMap::new(),
            n_beyond: 0,
        }
    }

    /// Whether a time is in the span.
    pub fn holds(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// Takes a transition of the span that is of no drill, which lies in this division now; in the order of their times.
    pub fn take(&mut self, told: &Transition, division: Option<&DivisionCode>) {
        let is_load =
            told.drill.is_none() && matches!(told.edge, Edge::Raised | Edge::DrillOver | Edge::Cleared);
        if !self.holds(told.at) || !is_load {
            return;
        }
        // What goes on behind its drill is raised there.
        if told.edge != Edge::Cleared {
            self.n_raised += 1;
            let county = division.map(|code| code.as_str().chars().take(6).collect());
            let minutes = self.desks.entry(county).or_default();
            *minutes.entry((told.at - self.from) / STEP_MS).or_insert(0) += 1;
        }
        let key = (told.rule.clone(), told.series.clone());
        match self.actors.len() < MOST_ACTORS || self.actors.contains_key(&key) {
            true => self.actors.entry(key).or_default().take(told),
            false => self.n_beyond += 1,
        }
    }

    /// What it came to.
    pub fn finish(self) -> Load {
        let n_steps = ((self.to - self.from).max(0) as u64)
            .div_ceil(STEP_MS as u64)
            .max(1);
        let of_actors =
            |((rule, series), actor): (&(RuleId, SeriesKey), &Actor)| actor.chatters(rule, series);
        let mut chattering: Vec<Chattering> = self.actors.iter().filter_map(of_actors).collect();
        chattering.sort_by(|a, b| {
            let key = |c: &Chattering| (c.rule.as_str().to_owned(), c.series.to_string());
            b.index.cmp(&a.index).then_with(|| key(a).cmp(&key(b)))
        });
        chattering.truncate(N_CHATTERING);
        let mut worst: Vec<(&(RuleId, SeriesKey), usize)> = (self.actors.iter())
            .map(|(key, actor)| (key, actor.n_raised))
            .filter(|(_, n)| *n > 0)
            .collect();
        worst.sort_by(|((rule, series), n), ((other, others), m)| {
            let key = |rule: &RuleId, series: &SeriesKey| (rule.as_str().to_owned(), series.to_string());
            m.cmp(n).then_with(|| key(rule, series).cmp(&key(other, others)))
        });
        let bad_actors = worst
            .iter()
            .take(N_BAD_ACTORS)
            .map(|((rule, series), n)| BadActor {
                rule: rule.clone(),
                series: series.clone(),
                n_raised: *n,
                share: *n as f64 / self.n_raised as f64,
            });
        Load {
            from: self.from,
            to: self.to,
            n_raised: self.n_raised,
            n_beyond: self.n_beyond,
            chattering,
            bad_actors: bad_actors.collect(),
            desks: (self.desks.into_iter())
                .map(|(division, minutes)| desk_load(self.from, n_steps, division, &minutes))
                .collect(),
        }
    }
}

fn desk_load(
    from: Timestamp,
    n_steps: u64,
    division: Option<String>,
    minutes: &BTreeMap<i64, usize>,
) -> DeskLoad {
    let n: usize = minutes.values().sum();
    // The first of those that are alike.
    let worst = minutes.iter().rev().max_by_key(|(_, n)| **n);
    let (at, most) = worst.map_or((0, 0), |(at, n)| (*at, *n));
    DeskLoad {
        division,
        n_raised: n,
        mean: n as f64 / n_steps as f64,
        most,
        most_at: Timestamp::from_ms(from.ms() + at * STEP_MS),
        flood_share: minutes.values().filter(|n| **n >= FLOOD).count() as f64 / n_steps as f64,
    }
}
