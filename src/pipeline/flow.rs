//! The flow of a station, from its level by the rating curve of the level's time.
//!
//! It follows a level as it comes, and is made again where the register changes what was known of a time that has
//! passed: some levels at each tick, so that nothing else waits for long. What comes out once more is no news.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_model::hydrology::{Hydrology, NoFlow};
use onemap_model::{Device, DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{Kind, Outcome, Which};

use super::fold::Fold;
use super::patience::patiently;

/// Channel of the flows that follow from levels: what a station measures itself stands on others.
pub(crate) const FROM_CURVE: u16 = 50;
/// Levels that one tick works through: some milliseconds in which nothing else is folded.
const N_LEVELS: usize = 2000;
/// In place of a flow whose level may not be judged by.
const DOUBTFUL: &str = "doubtful_level";
/// In place of a flow whose level is none any more: the station's levels stand on another channel now.
const NO_LEVEL: &str = "no_level";

const POISON: &str = "no holder of this lock panics";

struct Named {
    level: Quantity,
    flow: Quantity,
}

static NAMED: LazyLock<Named> = LazyLock::new(|| {
    let named = |name| Quantity::named(name).expect("the dictionary has levels and flows");
    Named {
        level: named("water_level"),
        flow: named("flow"),
    }
});

/// Stations whose flows are to be made again, each with the first measuring time (ms) that is left. Made of the
/// journal alone and kept in the checkpoint, so that a replay makes them at the same ticks.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Flows(BTreeMap<DeviceId, i64>);

impl Flows {
    /// As bytes for the checkpoint.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("ids are text keys")
    }
    /// Reads what [`Flows::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map(Self)
            .context("the stations whose flows are to be made again cannot be read")
    }
}

/// What stands in the series for a level; `None` of a station without any curve.
fn flow_of(known: &Hydrology, at: Timestamp, level: f64) -> Option<Value> {
    match known.flow(at, level) {
        Ok(flow) => Some(Value::Number((flow * 1e6).round() / 1e6)),
        Err(NoFlow::NoCurve) if known.curves.is_empty() => None,
        Err(why) => Some(Value::Text(why.name().into())),
    }
}

/// In place of a flow, of a station with curves.
fn doubtful(known: &Hydrology) -> Option<Value> {
    (!known.curves.is_empty()).then(|| Value::Text(DOUBTFUL.into()))
}

/// In place of a flow that followed from what is not there any more.
fn ended(known: &Hydrology) -> Value {
    let why = match known.curves.is_empty() {
        true => NoFlow::NoCurve.name(),
        false => NO_LEVEL,
    };
    Value::Text(why.into())
}

/// No flow is unknown to rules, not normal.
fn quality_of(value: &Value) -> Quality {
    match value {
        Value::Number(_) => Quality::DERIVED,
        Value::Text(_) => Quality::DERIVED.with(Quality::SUSPECT),
    }
}

impl Fold<'_> {
    /// What is known of a station.
    pub(super) fn hydrology(&self, device: &DeviceId) -> Option<Arc<Hydrology>> {
        let register = self.views.register.read().expect(POISON);
        register.view.hydrology.get(device).cloned()
    }

    /// The flows of levels that have come.
    pub(super) fn flows(&self, device: &Device, readings: &[Reading], outcomes: &[Outcome]) -> Vec<Reading> {
        let is_level = |reading: &Reading| reading.series.quantity == NAMED.level;
        if !readings.iter().any(is_level) {
            return Vec::new();
        }
        let Some(known) = self.hydrology(&device.id) else {
            return Vec::new();
        };
        let mut made = Vec::new();
        for (reading, outcome) in readings.iter().zip(outcomes) {
            if !is_level(reading) || reading.series.channel != known.channel {
                continue;
            }
            let value = match (outcome.kind, reading.value.number()) {
                (Kind::Duplicate, _) => continue,
                (_, Some(level)) if outcome.quality.judgeable() => {
                    flow_of(&known, reading.measured_at, level)
                }
                // A text where none was a level has no flow to take back.
                (Kind::New | Kind::Late, None) => continue,
                // Neither does what followed from the value before follow from this one.
                _ => doubtful(&known),
            };
            let backfill = Quality(outcome.quality.0 & Quality::BACKFILL.0);
            made.extend(value.map(|value| Reading {
                series: flow_series(&device.id),
                quality: quality_of(&value).with(backfill),
                value,
                ..reading.clone()
            }));
        }
        made
    }

    /// Notes that flows are to be made again from the first time at which something else is known now.
    pub(super) fn hydrology_changed(
        &mut self,
        device: &DeviceId,
        before: Option<&Hydrology>,
        now: Option<&Hydrology>,
    ) {
        let nothing = Hydrology::default();
        let Some(from) = before.unwrap_or(&nothing).differs_from(now.unwrap_or(&nothing)) else {
            return;
        };
        let left = self.flows.0.entry(device.clone()).or_insert(i64::MAX);
        *left = (*left).min(from.ms());
    }

    /// Makes flows again, of at most [`N_LEVELS`] levels; the rest follows at the next tick.
    pub(super) fn flows_again(&mut self, position: u64) -> Result<()> {
        let mut n = N_LEVELS;
        while n > 0
            && let Some((id, from)) = self.flows.0.pop_first()
        {
            let Some((device, division)) = self.known.find(self.views, id.as_str()) else {
                continue;
            };
            let known = self.hydrology(&id).unwrap_or_default();
            let levels = self.levels(&id, known.channel, from, n)?;
            let there = self.flow_times(&id, from, n)?;
            // Where one of the two goes on, the other is not known further than it.
            let goes_on = |len: usize, last: Option<Timestamp>| last.filter(|_| len == n);
            let until = [
                goes_on(levels.len(), levels.keys().next_back().copied()),
                goes_on(there.len(), there.last().copied()),
            ];
            let until = until.into_iter().flatten().min();
            if let Some(until) = until {
                self.flows.0.insert(id.clone(), until.ms() + 1);
            }
            let times: BTreeSet<Timestamp> = levels.keys().chain(&there).copied().collect();
            let times = times.range(..=until.unwrap_or(Timestamp::from_ms(i64::MAX)));
            n = n.saturating_sub(times.clone().count().max(1));
            let made = times.filter_map(|at| {
                let value = match levels.get(at) {
                    Some((level, quality)) if quality.judgeable() => flow_of(&known, *at, *level),
                    Some(_) => doubtful(&known),
                    None => None,
                };
                // What followed before does no longer.
                let value = value.or_else(|| there.contains(at).then(|| ended(&known)))?;
                Some(Reading {
                    series: flow_series(&id),
                    measured_at: *at,
                    period: Duration::ZERO,
                    received_at: *self.now,
                    quality: quality_of(&value).with(Quality::BACKFILL),
                    value,
                    position,
                })
            });
            let made = made.collect();
            self.derived(&device, division, made)?;
        }
        Ok(())
    }

    /// At most `n` levels of a gauge from a time on.
    fn levels(
        &self,
        device: &DeviceId,
        channel: u16,
        from: i64,
        n: usize,
    ) -> Result<BTreeMap<Timestamp, (f64, Quality)>> {
        let key = SeriesKey {
            device: device.clone(),
            quantity: NAMED.level,
            channel,
        };
        let Some(id) = self.views.history.series_id(&key) else {
            return Ok(BTreeMap::new());
        };
        patiently(self.views, self.patience, "levels are read", || {
            let mut levels = BTreeMap::new();
            let (from, to) = (Timestamp::from_ms(from), Timestamp::from_ms(i64::MAX));
            let history = &self.views.history;
            history.scan_of(id, from, to, Which::default(), &mut |point| {
                if let Some(level) = point.value.number() {
                    levels.insert(point.measured_at, (level, point.quality));
                }
                match levels.len() < n {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            Ok(levels)
        })
    }

    /// At most `n` times from one on for which the series of flows has something.
    fn flow_times(&self, device: &DeviceId, from: i64, n: usize) -> Result<BTreeSet<Timestamp>> {
        let Some(id) = self.views.history.series_id(&flow_series(device)) else {
            return Ok(BTreeSet::new());
        };
        patiently(self.views, self.patience, "flows are read", || {
            let mut times = BTreeSet::new();
            let (from, to) = (Timestamp::from_ms(from), Timestamp::from_ms(i64::MAX));
            let history = &self.views.history;
            history.scan_of(id, from, to, Which::default(), &mut |point| {
                times.insert(point.measured_at);
                match times.len() < n {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            Ok(times)
        })
    }
}

fn flow_series(device: &DeviceId) -> SeriesKey {
    SeriesKey {
        device: device.clone(),
        quantity: NAMED.flow,
        channel: FROM_CURVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_knows_where_flows_are_made() {
        assert_eq!(NAMED.flow.definition().derived, [FROM_CURVE]);
    }
}
