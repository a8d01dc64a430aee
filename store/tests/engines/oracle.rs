//! What a history should say, in the plainest way: every value in a map, every question a loop over all of them.

use std::collections::BTreeMap;

use onemap_model::{DeviceId, Quality, Quantity, SeriesKey, Timestamp, Value};
use onemap_store::engine::{Batch, Span};
use onemap_store::history::{Across, Agg, Over, Point};

pub type Values = BTreeMap<i64, (Value, Quality)>;

#[derive(Default)]
pub struct Oracle {
    pub series: BTreeMap<SeriesKey, Values>,
    n_versions: BTreeMap<(SeriesKey, i64), u16>,
}

pub fn key(device: &str, quantity: &str, channel: u16) -> SeriesKey {
    SeriesKey {
        device: DeviceId::new(device).unwrap(),
        quantity: Quantity::named(quantity).unwrap(),
        channel,
    }
}

impl Oracle {
    /// Takes a value as history does, and puts it into the batch for the engine when it is accepted.
    pub fn take(&mut self, batch: &mut Batch, key: &SeriesKey, at: i64, value: Value, quality: Quality) {
        let values = self.series.entry(key.clone()).or_default();
        let mut quality = quality;
        if values.last_key_value().is_some_and(|(last, _)| at < *last) {
            quality = quality.with(Quality::RESENT);
        }
        let versions = self.n_versions.entry((key.clone(), at)).or_default();
        if let Some((before, _)) = values.get(&at) {
            if *before == value {
                return;
            }
            quality = quality.with(Quality::REVISED);
            *versions += 1;
        }
        values.insert(at, (value.clone(), quality));
        let point = Point {
            measured_at: Timestamp::from_ms(at),
            value,
            quality,
        };
        batch.push_point(key, &point, Timestamp::from_ms(at + 700), *versions);
    }

    pub fn keys(&self) -> Vec<SeriesKey> {
        self.series.keys().cloned().collect()
    }

    /// The values of a series in a span.
    pub fn scan(&self, key: &SeriesKey, span: Span) -> Vec<Point> {
        let Some(values) = self.series.get(key).filter(|_| !span.is_empty()) else {
            return Vec::new();
        };
        let range = values.range(span.from.ms()..span.to.ms());
        let point = |(at, (value, quality)): (&i64, &(Value, Quality))| Point {
            measured_at: Timestamp::from_ms(*at),
            value: value.clone(),
            quality: *quality,
        };
        range.map(point).collect()
    }

    /// What every step holds.
    pub fn steps(
        &self,
        key: &SeriesKey,
        span: Span,
        step_ms: i64,
        takes: &dyn Fn(Quality) -> bool,
    ) -> Vec<Cell> {
        let mut cells = Vec::new();
        let mut start = span.from.ms();
        let taken = |span: Span| {
            let mut points = self.scan(key, span);
            points.retain(|point| takes(point.quality));
            points
        };
        let numbers = |points: &[Point]| -> Vec<(i64, f64)> {
            let number = |p: &Point| Some((p.measured_at.ms(), p.value.number()?));
            points.iter().filter_map(number).collect()
        };
        let mut before = numbers(&taken(Span::of_ms(0, start))).pop();
        while start < span.to.ms() {
            let end = (start + step_ms).min(span.to.ms());
            let points = taken(Span::of_ms(start, end));
            cells.push(Cell {
                start,
                n: points.len() as u64,
                n_flagged: points.iter().filter(|p| !p.quality.judgeable()).count() as u64,
                numbers: numbers(&points),
                before,
            });
            before = numbers(&points).pop().or(before);
            start += step_ms;
        }
        cells
    }
}

pub struct Cell {
    pub start: i64,
    pub n: u64,
    pub n_flagged: u64,
    /// With their times, oldest first.
    pub numbers: Vec<(i64, f64)>,
    /// The newest number before the step.
    pub before: Option<(i64, f64)>,
}

fn percentile(mut values: Vec<f64>, p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = p * (values.len() - 1) as f64;
    let (low, high) = (values[place as usize], values[place.ceil() as usize]);
    low + (high - low) * (place - place.floor())
}

impl Cell {
    pub fn value(&self, agg: Agg) -> Option<f64> {
        if agg == Agg::Count {
            return (self.n > 0).then_some(self.n as f64);
        }
        let values: Vec<f64> = self.numbers.iter().map(|(_, number)| *number).collect();
        let (first, last) = (*self.numbers.first()?, *self.numbers.last()?);
        let base = self.before.unwrap_or(first);
        let chain: Vec<f64> = std::iter::once(base.1).chain(values.iter().copied()).collect();
        let rises = chain
            .windows(2)
            .map(|two| if two[1] < two[0] { two[1] } else { two[1] - two[0] });
        let rise: f64 = rises.sum();
        let says_change = self.before.is_some() || values.len() > 1;
        Some(match agg {
            Agg::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Agg::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Agg::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Agg::Sum => values.iter().sum(),
            Agg::First => first.1,
            Agg::Last => last.1,
            Agg::Percentile(p) => percentile(values, p),
            _ if !says_change => return None,
            Agg::Delta => last.1 - base.1,
            Agg::Increase => rise,
            _ => rise / ((last.0 - base.0) as f64 / 1000.0),
        })
    }
}

/// What the cells of a group's series in one step become; each with its weight.
pub fn across(cells: &[(&Cell, f64)], across: Across) -> Option<f64> {
    let said: Vec<(f64, f64, f64)> = cells
        .iter()
        .filter_map(|(cell, weight)| Some((cell.value(across.each)?, *weight, cell.numbers.len() as f64)))
        .collect();
    let values: Vec<f64> = said.iter().map(|(value, _, _)| *value).collect();
    let mean = |weight: &dyn Fn(&(f64, f64, f64)) -> f64| {
        let all: f64 = said.iter().map(weight).sum();
        let weighted: f64 = said.iter().map(|one| weight(one) * one.0).sum();
        (all > 0.0).then(|| weighted / all)
    };
    if values.is_empty() {
        return None;
    }
    match across.over {
        Over::Mean => mean(&|(_, weight, _)| *weight),
        Over::MeanOfPoints => mean(&|(_, weight, n)| weight * n),
        Over::Sum => Some(values.iter().sum()),
        Over::Min => values.iter().copied().reduce(f64::min),
        Over::Max => values.iter().copied().reduce(f64::max),
        Over::Percentile(p) => Some(percentile(values, p)),
    }
}
