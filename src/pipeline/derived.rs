//! What follows from readings and becomes series of their device: the air quality index of stations (HJ 633), hour by
//! hour and day by day.
//!
//! A reading of a pollutant opens its hour, also one that is over; the tick works out what is due. What comes out once
//! more is no news; another value is a revision like any other, so `known_at` has both.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Result;
use onemap_model::{
    Device, DivisionCode, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp, Value,
};
use onemap_standards::air::{
    AirIndex, Class, DAY_MS, Pollutant, StationHours, daily_index, hourly_index, limits, standards,
};
use onemap_standards::hour::{self, CHANNELS, HOUR_MS, Hours, Make, OF_DAYS, OF_HOURS};
use onemap_store::history::{Kind, Outcome, SeriesInfo, Which};

use super::fold::Fold;
use super::open::Work;
use super::patience::patiently;

/// The kind of devices whose readings are of ambient air.
const AIR_STATION: &str = "air_station";
/// Hours of stations that one tick works out: some tens of milliseconds in which nothing else is folded.
const N_HOURS: usize = 5000;
/// What is worked out later than this after its end pages nobody.
const LIVE_MS: i64 = 2 * HOUR_MS;
/// In place of a primary pollutant where there is none.
const NO_PRIMARY: &str = "none";

/// Quantities of the pollutants, of the index, its level and its primary pollutants.
struct Named {
    pollutants: [Quantity; 6],
    aqi: Quantity,
    level: Quantity,
    primary: Quantity,
}

static NAMED: LazyLock<Named> = LazyLock::new(|| {
    let named = |name| Quantity::named(name).expect("the dictionary has air");
    Named {
        pollutants: Pollutant::ALL.map(|pollutant| named(pollutant.quantity())),
        aqi: named("aqi"),
        level: named("aqi_level"),
        primary: named("aqi_primary"),
    }
});

impl Fold<'_> {
    /// Opens the hours of a station to which something new came.
    pub(super) fn opens(&mut self, device: &Device, readings: &[Reading], outcomes: &[Outcome]) {
        if *device.kind != *AIR_STATION {
            return;
        }
        let mut last = None;
        for (reading, outcome) in readings.iter().zip(outcomes) {
            if outcome.kind == Kind::Duplicate || !NAMED.pollutants.contains(&reading.series.quantity) {
                continue;
            }
            let end = hour::end_of(reading.measured_at);
            if last != Some(end) {
                self.open.touch(&device.id, end, *self.now);
                last = Some(end);
            }
        }
    }

    /// Works out what is due at a tick, no more than [`N_HOURS`]; the rest follows at the next.
    pub(super) fn derive(&mut self, position: u64) -> Result<()> {
        let mut n = N_HOURS;
        while n > 0
            && let Some(station) = self.open.due(*self.now)
        {
            let work = self.open.take(&station, *self.now, n);
            n = n.saturating_sub(work.hours.len().max(1));
            let Some((device, division)) = self.known.find(self.views, station.as_str()) else {
                continue;
            };
            if *device.kind == *AIR_STATION {
                let readings = self.indices(position, &device, &work)?;
                self.derived(&device, division, readings)?;
            }
        }
        Ok(())
    }

    /// The indices of a station's hours and days, in the order of their time.
    fn indices(&self, position: u64, device: &Device, work: &Work) -> Result<Vec<Reading>> {
        let mut series = self.views.history.series_of(&device.id);
        series.retain(|info| NAMED.pollutants.contains(&info.key.quantity));
        let mut made = Vec::new();
        for (from, to) in spans(work) {
            let hours = self.hours(device, &series, (from, to))?;
            let within = |end: &&i64| (from + 1..=to).contains(*end);
            for end in work.hours.iter().filter(within) {
                made.push((*end, OF_HOURS, hourly_index(&hours, *end)));
            }
            for end in work.days.iter().filter(within) {
                made.push((*end, OF_DAYS, daily_index(&hours, *end, Class::Second)));
            }
        }
        made.sort_by_key(|(end, channel, _)| (*end, *channel));
        let readings = made.into_iter().filter_map(|(end, channel, index)| {
            Some(self.readings_of(position, device, end, channel, &index?))
        });
        Ok(readings.flatten().collect())
    }

    /// What the station said from hour to hour, without the beginning and with the end.
    fn hours(&self, device: &Device, series: &[SeriesInfo], (from, to): (i64, i64)) -> Result<StationHours> {
        let law = limits().at(Timestamp::from_ms(to));
        let hour_minutes = law.map_or(60, |law| law.validity.hour_minutes);
        let judgeable = |quality: Quality| quality.judgeable();
        let mut all = StationHours::new();
        for (pollutant, quantity) in Pollutant::ALL.into_iter().zip(NAMED.pollutants) {
            let mut hours = BTreeMap::new();
            for channel in CHANNELS {
                let is_it = |info: &&SeriesInfo| info.key.quantity == quantity && info.key.channel == channel;
                let Some(info) = series.iter().find(is_it) else {
                    continue;
                };
                let said = patiently(self.views, self.patience, "hours are read", || {
                    let mut said = Hours::new(Make::Mean);
                    let which = Which {
                        known_at: None,
                        takes: Some(&judgeable),
                    };
                    let (first, behind) = (Timestamp::from_ms(from + 1), Timestamp::from_ms(to + 1));
                    self.views
                        .history
                        .scan_of(info.id, first, behind, which, &mut |point| {
                            if let Some(number) = point.value.number() {
                                said.add(point.measured_at, number, point.quality);
                            }
                            ControlFlow::Continue(())
                        })?;
                    Ok(said)
                })?;
                for (end, hour) in said.finish(device.cadence_s, hour_minutes) {
                    hours.entry(end).or_insert(hour);
                }
            }
            all.insert(pollutant, hours);
        }
        Ok(all)
    }

    fn readings_of(
        &self,
        position: u64,
        device: &Device,
        end: i64,
        channel: u16,
        index: &AirIndex,
    ) -> [Reading; 3] {
        let length = if channel == OF_DAYS { DAY_MS } else { HOUR_MS };
        let primary: Vec<&str> = index
            .primary
            .iter()
            .map(|pollutant| pollutant.quantity())
            .collect();
        let primary = if primary.is_empty() {
            NO_PRIMARY.to_owned()
        } else {
            primary.join(",")
        };
        let mut quality = Quality::DERIVED;
        if self.now.ms() - end > LIVE_MS {
            quality = quality.with(Quality::BACKFILL);
        }
        let level = standards().level(index.aqi).level;
        let values = [
            (NAMED.aqi, Value::Number(index.aqi.into())),
            (NAMED.level, Value::Number(level.into())),
            (NAMED.primary, Value::Text(primary.into())),
        ];
        values.map(|(quantity, value)| Reading {
            series: SeriesKey {
                device: device.id.clone(),
                quantity,
                channel,
            },
            measured_at: Timestamp::from_ms(end),
            period: Duration::from_millis(length as u64),
            received_at: *self.now,
            value,
            quality,
            position,
        })
    }

    /// Keeps what was worked out of a device's readings and lets the rules look at it. The device did not say it: it
    /// is not heard by it, and owes none of it.
    pub(super) fn derived(
        &mut self,
        device: &Device,
        division: Option<DivisionCode>,
        mut readings: Vec<Reading>,
    ) -> Result<()> {
        if readings.is_empty() {
            return Ok(());
        }
        // The same as before its revision is a revision, too.
        let outcomes = self.keep(&readings, true)?;
        for (reading, outcome) in readings.iter_mut().zip(&outcomes) {
            reading.quality = outcome.quality;
        }
        let seen = readings.into_iter().map(|reading| Observation {
            every_s: reading.period.as_secs() as u32,
            reading,
            kind: device.kind.clone(),
            division: division.clone(),
        });
        let transitions = self.judge(seen, &outcomes);
        self.judged(transitions);
        Ok(())
    }
}

/// What is to be read for some hours and days: from each beginning to its end, joined where they touch.
fn spans(work: &Work) -> Vec<(i64, i64)> {
    let hours = work.hours.iter().map(|end| (end - HOUR_MS, *end));
    let days = work.days.iter().map(|end| (end - DAY_MS, *end));
    let mut all: Vec<(i64, i64)> = hours.chain(days).collect();
    all.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}
