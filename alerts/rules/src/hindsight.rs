//! What was wrong in a time that is over, found when its values came late.
//!
//! Values that come late raise and clear nothing: the engine that judges the city goes on from now. An engine of its own
//! goes over them here in the order in which they were measured, as if each had come at once, and tells what began and
//! ended meanwhile (a historical event 历史事件). Only rules that look at values can be asked so: what was silent then, what
//! was foreseen and where a device was are told at their time or not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use onemap_model::alert::Input;
use onemap_model::{
    AlertId, Device, DeviceId, DivisionCode, Edge, Hydrology, Observation, Past, RuleId, SeriesKey, Severity,
    Timestamp, Transition,
};

use crate::engine::Engine;
use crate::file::RuleSet;
use crate::message;
use crate::rule::{Rule, Texts, When};

/// Which of two values is the worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    Higher,
    Lower,
    /// No one value is compared with a limit.
    Unknown,
}

/// Something that was wrong, from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The rule.
    pub rule: RuleId,
    /// Its version.
    pub rule_version: String,
    /// What it is about.
    pub series: SeriesKey,
    /// The highest that it came to.
    pub severity: Severity,
    /// Where.
    pub division: Option<DivisionCode>,
    /// When it was, and the worst of it.
    pub past: Past,
    /// Whether no value shows its end: what comes next may be a part of it.
    pub goes_on: bool,
    /// Whether nothing was known any more when the last value was over.
    pub is_lost: bool,
    /// The value with which it began, those with which it was raised, and the worst one; oldest first. Positions are those
    /// that were given.
    pub inputs: Vec<Input>,
    /// What was told when it was raised.
    told: Texts,
    worse: Worse,
    /// Time of the first value that was back, while its hold on clearing runs.
    back_at: Option<Timestamp>,
}

/// The rules that are asked of values that came late, and what they found so far.
pub struct Hindsight {
    engine: Engine,
    rules: BTreeMap<RuleId, Arc<Rule>>,
    open: BTreeMap<AlertId, Episode>,
    ended: Vec<Episode>,
    /// The values of each series that may be judged, in the order of their time.
    seen: HashMap<SeriesKey, Vec<(Timestamp, f64)>>,
    n_seen: u64,
}

impl Rule {
    /// Whether the values of a time tell afterwards what it would have found.
    pub fn looks_at_values(&self) -> bool {
        self.when.facts().iter().all(|fact| {
            !matches!(
                fact,
                When::NoData { .. } | When::Forecast(_) | When::Inside { .. } | When::Outside { .. }
            )
        })
    }

    fn worse(&self, value: f64) -> Worse {
        match &self.when {
            When::Above(_) => Worse::Higher,
            When::Below(_) => Worse::Lower,
            When::OutOf(band) if value < band.raise.0 => Worse::Lower,
            When::OutOf(_) => Worse::Higher,
            _ => Worse::Unknown,
        }
    }
}

impl Hindsight {
    /// Asks some rules from a time on; those that do not look at values are left out.
    pub fn new(from: Timestamp, rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        let rules: Vec<_> = rules.into_iter().filter(|rule| rule.looks_at_values()).collect();
        let mut engine = Engine::new();
        engine.set_file(from, 0, "hindsight", Some(RuleSet::of(&rules)));
        Self {
            engine,
            rules: rules.into_iter().map(|rule| (rule.id.clone(), rule)).collect(),
            open: BTreeMap::new(),
            ended: Vec::new(),
            seen: HashMap::new(),
            n_seen: 0,
        }
    }

    /// States a device that values are of, or that is compared with.
    pub fn set_device(
        &mut self,
        from: Timestamp,
        device: &Device,
        division: Option<&DivisionCode>,
        silent_after_s: u32,
    ) {
        self.engine.set_device(from, 0, device, division);
        self.engine.set_silent_after(&device.id, silent_after_s);
    }

    /// States what the register knows of a gauge, for limits that are its stages.
    pub fn set_stages(&mut self, from: Timestamp, gauge: &DeviceId, known: Option<&Hydrology>) {
        self.engine.set_stages(from, 0, gauge, known);
    }

    /// Takes the next value by the time that it was measured. When it was received does not count, nor its position: that of
    /// what it is raised on is 0 until [`Episode::set_positions`].
    pub fn observe(&mut self, seen: &Observation) {
        // Each at a place of its own, so that each may raise.
        self.n_seen += 1;
        let mut seen = seen.clone();
        seen.reading.position = self.n_seen;
        seen.reading.received_at = seen.reading.measured_at;
        let at = seen.reading.measured_at;
        // What its coming completes was so before it.
        let told = self.engine.tick(at, self.n_seen);
        self.take(told);
        let value = seen
            .reading
            .value
            .number()
            .filter(|_| seen.reading.quality.judgeable());
        if let Some(value) = value {
            match self.seen.get_mut(&seen.reading.series) {
                Some(all) => all.push((at, value)),
                None => drop(self.seen.insert(seen.reading.series.clone(), vec![(at, value)])),
            }
            let open = self.open.values_mut();
            let of_it = open.filter(|open| open.series == seen.reading.series);
            of_it.for_each(|open| open.note_peak(at, value));
        }
        let told = self.engine.observe(at, &seen);
        self.take(told);
        let of_it = self
            .open
            .iter_mut()
            .filter(|(_, open)| open.series == seen.reading.series);
        for (alert, open) in of_it.filter(|_| value.is_some()) {
            match self.engine.clearing_since(alert) {
                // What is over may come back within its hold.
                Some(since) => open.back_at = open.back_at.or(Some(since)),
                None if !open.is_lost => (open.back_at, open.past.until) = (None, open.past.until.max(at)),
                None => {}
            }
        }
    }

    /// Brings time to `now`: completes holds.
    pub fn tick(&mut self, now: Timestamp) {
        let told = self.engine.tick(now, self.n_seen);
        self.take(told);
    }

    /// Whether nothing is wrong, and nothing may become so by the time alone.
    pub fn is_calm(&self) -> bool {
        self.open.is_empty() && self.engine.is_calm()
    }

    /// What was found, oldest first; of what goes on, as far as it is known.
    pub fn finish(mut self) -> Vec<Episode> {
        let mut found = std::mem::take(&mut self.ended);
        for mut open in std::mem::take(&mut self.open).into_values() {
            open.past.until = open.back_at.unwrap_or(open.past.until);
            found.push(open);
        }
        found.sort_by(|a, b| (a.past.from, &a.rule, &a.series).cmp(&(b.past.from, &b.rule, &b.series)));
        found
    }

    fn take(&mut self, told: Vec<Transition>) {
        for told in told {
            if told.edge == Edge::Raised {
                if let Some(rule) = self.rules.get(&told.rule) {
                    let alert = told.alert;
                    let mut open = Episode::of(rule, told);
                    // The worst may have come while its hold ran.
                    let seen = self.seen.get(&open.series).into_iter().flatten();
                    let since: Vec<_> = seen
                        .rev()
                        .take_while(|(at, _)| *at >= open.past.from)
                        .copied()
                        .collect();
                    since
                        .into_iter()
                        .rev()
                        .for_each(|(at, value)| open.note(at, value));
                    self.open.insert(alert, open);
                }
                continue;
            }
            let Some(open) = self.open.get_mut(&told.alert) else {
                continue;
            };
            match told.edge {
                Edge::Worsened if told.severity > open.severity => {
                    open.severity = told.severity;
                    open.told = Texts {
                        zh: told.message_zh,
                        en: told.message_en,
                    };
                }
                Edge::Lost => open.is_lost = true,
                Edge::Found => open.is_lost = false,
                Edge::Cleared | Edge::Withdrawn => {
                    if let Some(mut over) = self.open.remove(&told.alert) {
                        over.goes_on = false;
                        if told.edge == Edge::Cleared && !over.is_lost {
                            let last = told.inputs.last().map_or(told.at, |input| input.measured_at);
                            over.past.until = over.past.until.max(last);
                        }
                        over.past.until = over.back_at.unwrap_or(over.past.until);
                        self.ended.push(over);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Episode {
    fn of(rule: &Rule, told: Transition) -> Self {
        let own = || told.inputs.iter().filter(|input| input.of.is_none());
        let from = own().map(|input| input.measured_at).min().unwrap_or(told.at);
        let last = own().max_by_key(|input| input.measured_at);
        let value = last.map_or(f64::NAN, |input| input.value);
        let peak = (rule.worse(value) != Worse::Unknown && value.is_finite()).then_some(value);
        let until = last.map_or(told.at, |input| input.measured_at);
        let mut inputs = told.inputs;
        inputs.iter_mut().for_each(|input| input.position = 0);
        let mut episode = Self {
            rule: told.rule,
            rule_version: told.rule_version,
            series: told.series,
            severity: told.severity,
            division: told.division,
            past: Past {
                from,
                until,
                peak: None,
            },
            goes_on: true,
            is_lost: false,
            inputs,
            told: Texts {
                zh: told.message_zh,
                en: told.message_en,
            },
            worse: rule.worse(value),
            back_at: None,
        };
        episode.past.peak = peak;
        episode
    }

    /// Takes a value of its series into account.
    fn note(&mut self, at: Timestamp, value: f64) {
        self.past.until = self.past.until.max(at);
        self.note_peak(at, value);
    }

    fn note_peak(&mut self, at: Timestamp, value: f64) {
        let Some(peak) = self.past.peak else {
            return;
        };
        let is_worse = match self.worse {
            Worse::Higher => value > peak,
            Worse::Lower => value < peak,
            Worse::Unknown => false,
        };
        if is_worse {
            self.past.peak = Some(value);
            // Of the worst one only the last is kept.
            self.inputs.retain(|input| {
                input.of.is_some() || input.measured_at <= self.past.from || input.value != peak
            });
            self.inputs.push(Input {
                position: 0,
                measured_at: at,
                value,
                of: None,
            });
        }
    }

    /// States the positions of the frames that its values came with; 0 is not known.
    pub fn set_positions(&mut self, of: impl Fn(&SeriesKey, Timestamp) -> u64) {
        for input in &mut self.inputs {
            let series = input.of.as_ref().unwrap_or(&self.series);
            input.position = of(series, input.measured_at);
        }
    }

    /// Takes in what was told of it before; false when that tells it all.
    pub fn join(&mut self, known: &Past) -> bool {
        let own = &mut self.past;
        own.from = own.from.min(known.from);
        own.until = own.until.max(known.until);
        own.peak = match (own.peak, known.peak, self.worse) {
            (Some(own), Some(known), Worse::Higher) => Some(own.max(known)),
            (Some(own), Some(known), Worse::Lower) => Some(own.min(known)),
            (own, known, _) => own.or(known),
        };
        *own != *known
    }

    /// Whether it was at any time in a span, its ends included.
    pub fn meets(&self, from: Timestamp, to: Timestamp) -> bool {
        self.past.from <= to && self.past.until >= from
    }

    /// What is told of it at `now` by the record at a position. `alert` is the one that it was told as before, if it was.
    pub fn told(self, now: Timestamp, position: u64, alert: Option<AlertId>) -> Transition {
        let alert =
            alert.unwrap_or_else(|| Transition::past_alert_of(&self.rule, &self.series, self.past.from));
        let texts = message::past(&self.past, self.series.quantity, &self.told);
        Transition {
            id: Transition::past_id_of(&alert, &self.rule_version, &self.past),
            alert,
            edge: Edge::Past,
            at: now,
            position,
            rule: self.rule,
            rule_version: self.rule_version,
            series: self.series,
            severity: self.severity,
            division: self.division,
            inputs: self.inputs,
            message_zh: texts.zh,
            message_en: texts.en,
            act: None,
            drill: None,
            past: Some(self.past),
        }
    }
}
