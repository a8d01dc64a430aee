//! What follows from readings and becomes series of their device: the air quality index of stations (HJ 633), hour by
//! hour and day by day.
//!
//! A reading of a pollutant opens its hour, also one that is over; the tick works out what is due. What comes out once
//! more is no news; another value is a revision like any other, so `known_at` has both.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Result;
use onemap_dashboards::hours_of;
use onemap_model::{
    Device, DeviceId, DivisionCode, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp, Value,
};
use onemap_standards::air::{
    AirIndex, Class, DAY_MS, Pollutant, StationHours, daily_index, hourly_index, limits, standards,
};
use onemap_standards::hour::{self, CHANNELS, HOUR_MS, Make, OF_DAYS, OF_HOURS};
use onemap_store::history::{Kind, Outcome, Point, SeriesInfo};
use onemap_store::reviewed::Reviewed;

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
/// In place of an index whose values a review took away.
const VOID: &str = "void";

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

    /// Opens the hours of a station in which a quantity was measured from a time to before another.
    pub(super) fn opens_span(
        &mut self,
        station: &DeviceId,
        quantity: Quantity,
        (from, to): (Timestamp, Timestamp),
    ) {
        let is_of_air = self
            .device(station.as_str())
            .is_some_and(|device| *device.kind == *AIR_STATION);
        if !is_of_air || !NAMED.pollutants.contains(&quantity) {
            return;
        }
        for info in self.views.history.series_of(station) {
            let (first, last) = (
                from.max(info.first),
                to.min(Timestamp::from_ms(info.last.ms() + 1)),
            );
            if info.key.quantity == quantity && first < last {
                let last = Timestamp::from_ms(last.ms() - 1);
                let ends = (hour::end_of(first), hour::end_of(last));
                self.open.touch_all(station, ends, *self.now);
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
            // Whatever the device is by now: its hours were opened while it stood in ambient air, and nobody else says
            // what came of them.
            let readings = self.indices(position, &device, &work)?;
            self.derived(&device, division, readings)?;
        }
        Ok(())
    }

    /// The indices of a station's hours and days, in the order of their time.
    fn indices(&self, position: u64, device: &Device, work: &Work) -> Result<Vec<Reading>> {
        let series = self.views.history.series_of(&device.id);
        let mut made = Vec::new();
        for (from, to) in spans(work) {
            let hours = self.hours(position, device, &series, (from, to))?;
            let within = |end: &&i64| (from + 1..=to).contains(*end);
            for end in work.hours.iter().filter(within) {
                made.push((*end, OF_HOURS, hourly_index(&hours, *end)));
            }
            for end in work.days.iter().filter(within) {
                made.push((*end, OF_DAYS, daily_index(&hours, *end, Class::Second)));
            }
        }
        made.sort_by_key(|(end, channel, _)| (*end, *channel));
        let mut readings = Vec::with_capacity(3 * made.len());
        for (end, channel, index) in made {
            // What has no index now and had one is void; else there is nothing to say.
            if index.is_some() || self.has_index(&series, end, channel)? {
                let values = index.map_or_else(void, |index| values_of(&index));
                readings.extend(self.readings_of(position, device, (end, channel), values));
            }
        }
        Ok(readings)
    }

    /// Whether an hour or day has an index in the history.
    fn has_index(&self, series: &[SeriesInfo], end: i64, channel: u16) -> Result<bool> {
        let is_it = |info: &&SeriesInfo| info.key.quantity == NAMED.aqi && info.key.channel == channel;
        let Some(info) = series.iter().find(is_it) else {
            return Ok(false);
        };
        let (from, to) = (Timestamp::from_ms(end), Timestamp::from_ms(end + 1));
        patiently(self.views, self.patience, "an index is looked up", || {
            let mut found = false;
            self.views.history.scan(info.id, from, to, &mut |_| {
                found = true;
                ControlFlow::Break(())
            })?;
            Ok(found)
        })
    }

    /// What the station said from hour to hour, without the beginning and with the end, as far as people found it true.
    fn hours(
        &self,
        position: u64,
        device: &Device,
        series: &[SeriesInfo],
        (from, to): (i64, i64),
    ) -> Result<StationHours> {
        let law = limits().at(Timestamp::from_ms(to));
        let hour_minutes = law.map_or(60, |law| law.validity.hour_minutes);
        let (first, behind) = (Timestamp::from_ms(from + 1), Timestamp::from_ms(to + 1));
        let mut all = StationHours::new();
        for (pollutant, quantity) in Pollutant::ALL.into_iter().zip(NAMED.pollutants) {
            let mut channels = Vec::new();
            for channel in CHANNELS {
                let is_it = |info: &&SeriesInfo| info.key.quantity == quantity && info.key.channel == channel;
                let Some(info) = series.iter().find(is_it) else {
                    continue;
                };
                let said = patiently(self.views, self.patience, "hours are read", || {
                    let reviewed = self.reviewed_of(position, info, (first, behind))?;
                    let scan = |take: &mut dyn FnMut(Point) -> ControlFlow<()>| {
                        self.views.history.scan(info.id, first, behind, take)
                    };
                    Ok(hours_of(Make::Mean, channel, &reviewed, scan)?)
                })?;
                channels.push(said);
            }
            let hours = hour::of_channels(channels, device.cadence_s, hour_minutes, &mut BTreeSet::new());
            all.insert(pollutant, hours);
        }
        Ok(all)
    }

    /// What people had found of a series' values at a position.
    fn reviewed_of(
        &self,
        position: u64,
        info: &SeriesInfo,
        span: (Timestamp, Timestamp),
    ) -> Result<Reviewed> {
        if !self.reviewed.contains(&info.key.device) {
            return Ok(Reviewed::default());
        }
        let acts = self.views.ledger.series_acts_at(&info.key, span, position)?;
        Ok(Reviewed::of(acts))
    }

    fn readings_of(
        &self,
        position: u64,
        device: &Device,
        (end, channel): (i64, u16),
        values: [Value; 3],
    ) -> impl Iterator<Item = Reading> {
        let length = if channel == OF_DAYS { DAY_MS } else { HOUR_MS };
        let mut quality = Quality::DERIVED;
        if self.now.ms() - end > LIVE_MS {
            quality = quality.with(Quality::BACKFILL);
        }
        // No rule may take what is void for clean.
        if values.iter().all(|value| value.number().is_none()) {
            quality = quality.with(Quality::SUSPECT);
        }
        let (device, received_at) = (device.id.clone(), *self.now);
        let quantities = [NAMED.aqi, NAMED.level, NAMED.primary];
        quantities
            .into_iter()
            .zip(values)
            .map(move |(quantity, value)| Reading {
                series: SeriesKey {
                    device: device.clone(),
                    quantity,
                    channel,
                },
                measured_at: Timestamp::from_ms(end),
                period: Duration::from_millis(length as u64),
                received_at,
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
        self.opens_late(&readings, &outcomes);
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

/// Index, level and primary pollutants.
fn values_of(index: &AirIndex) -> [Value; 3] {
    let primary: Vec<&str> = index
        .primary
        .iter()
        .map(|pollutant| pollutant.quantity())
        .collect();
    let primary = match primary.as_slice() {
        [] => NO_PRIMARY.to_owned(),
        some => some.join(","),
    };
    let level = standards().level(index.aqi).level;
    [
        Value::Number(index.aqi.into()),
        Value::Number(level.into()),
        Value::Text(primary.into()),
    ]
}

/// In place of an index that no longer holds.
fn void() -> [Value; 3] {
    [(); 3].map(|()| Value::Text(VOID.into()))
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
