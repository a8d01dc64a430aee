//! Decides which samples become readings.
//!
//! No clock, no I/O. The caller passes the device, its profile, when and how the frame arrived, and what
//! is remembered of the device ([`Watch`]). What is refused comes back with its name, never dropped here;
//! what is doubtful is kept and marked.

mod clock;
mod fix;
mod limits;
mod watch;

use std::time::Duration;

use onemap_model::{
    Device, DeviceState, Quality, Reading, Refusal, SeriesKey, Timestamp, Value, time::YEAR_2000,
};
use onemap_wire::profile::{Expected, FUTURE_TOLERANCE, Limits, Period, SENTINELS, Stamp};
use onemap_wire::{Message, Profile, Refused, Sample};

pub use clock::{Clock, Offset};
pub use watch::{DeviceWatch, Watch};

/// How far a device's clock may be off, either way, unless its profile says otherwise.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// Silence after which a series of a device whose cadence is not known is silent.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(600);

/// Live readings that are older, and older than three cadences, are a backlog even when nothing says so.
const OLD_NEWS: Duration = Duration::from_secs(86_400);
/// Series of one device. A fire panel or a weather mast has hundreds; without a limit one device could make
/// more than the whole city.
pub const MAX_SERIES: usize = 4096;

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    /// Taken, in the order of the message.
    pub readings: Vec<Reading>,
    /// Of each reading the seconds to the next of its series, where its profile's key or its frame says so; else 0.
    pub every_s: Vec<u32>,
    /// Not taken: first what the decoder refused, then what is refused here.
    pub refused: Vec<Refused>,
    /// For each that is refused here, in the same order, the number of its sample in the message; none when the
    /// device is refused whole.
    pub refused_samples: Vec<usize>,
}

/// Which way readings come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// As they are measured, or from a spool soon after.
    #[default]
    Live,
    /// An import or a re-admission: old data that pages nobody and does not make its device look alive.
    Backfill,
}

/// How old a reading may be when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeLimits {
    /// On the live lane, unless it is said to be resent.
    pub live: Duration,
    /// On the backfill lane, and for what is said to be resent.
    pub backfill: Duration,
}

impl Default for AgeLimits {
    /// 40 days live, which is what the gap ledger keeps; ten years of backfill.
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Self {
            live: days(40),
            backfill: days(3650),
        }
    }
}

/// What all samples of a message share.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Who sent them.
    pub device: &'a Device,
    /// Its profile.
    pub profile: Option<&'a Profile>,
    /// When they arrived.
    pub received_at: Timestamp,
    /// Journal position of their frame.
    pub position: u64,
    /// Which way they came.
    pub lane: Lane,
    /// How old they may be.
    pub ages: AgeLimits,
}

/// Seconds between a device's reports: as the register has it, else as its profile has it (rounded up);
/// 0 is not known.
pub fn cadence_s(device: &Device, profile: Option<&Profile>) -> u32 {
    if device.cadence_s > 0 {
        return device.cadence_s;
    }
    let cadence = profile.and_then(|p| p.cadence).unwrap_or_default();
    u32::try_from(cadence.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Seconds that a device without a cadence may say nothing, as its profile states them, else that of its gateway, which
/// speaks for it; 0 is not stated, and of a device with a cadence it is not asked.
pub fn silent_after_s(device: &Device, profile: Option<&Profile>, of_gateway: Option<&Profile>) -> u32 {
    if cadence_s(device, profile) > 0 {
        return 0;
    }
    let stated = [profile, of_gateway]
        .into_iter()
        .flatten()
        .find_map(|p| p.silent_after);
    let stated = stated.unwrap_or_default();
    u32::try_from(stated.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Admits the samples of one message.
///
/// In this order: a retired device is refused whole; a sentinel is caught before any conversion; a unit
/// the quantity is not given in is refused; the value becomes canonical; a stamp of the start of a period
/// becomes its end; a missing stamp is the receive time, marked; a stamp ahead of the receive time by more
/// than the profile's tolerance, before the year 2000, or older than its lane allows is refused. What is
/// kept carries the device's own marks, and is marked: suspect outside its plausible range (the profile's
/// over the dictionary's), when a state code has no name, or when a position is 0, 0 (no satellites); jump and stuck by the profile's limits against
/// the last values of its series; clock off when the device's stamps are off by more than the profile
/// tolerates (they are not altered): by live data only, what is old enough to be a backlog measures no clock.
///
/// On the backfill lane, and for what says that it was resent and is older than three cadences, readings
/// are marked backfill; they neither move what is remembered nor are measured against it.
///
/// The message's `epoch` and `seqs` are the caller's: take them before, a receipt names refused readings
/// too.
pub fn admit(message: Message, arrival: &Arrival<'_>, watch: &mut Watch) -> Admitted {
    let mut admitted = Admitted {
        readings: Vec::with_capacity(message.samples.len()),
        every_s: Vec::with_capacity(message.samples.len()),
        refused: message.refused,
        refused_samples: Vec::new(),
    };
    let device = arrival.device;
    if device.state == DeviceState::Retired {
        let detail = format!(
            "{} is retired and sent {} values",
            device.id,
            message.samples.len()
        );
        admitted.refused.push(Refused::new(Refusal::Retired, detail));
        return admitted;
    }
    if message.samples.is_empty() {
        return admitted;
    }
    let watched = watch.device(&device.id);
    let patience = match cadence_s(device, arrival.profile) {
        0 => UNKNOWN_PATIENCE,
        s => Duration::from_secs(u64::from(s) * 3),
    };
    let clock_off = arrival.note_clock(&message.samples, message.sent_at, watched, patience);
    for (number, sample) in message.samples.into_iter().enumerate() {
        let expected = arrival.expected(&sample);
        let every_s = arrival.every_s(&sample, expected.as_ref());
        // An hour's mean that is a quarter of an hour old is no backlog of a device of minutes.
        let patience = patience.max(Duration::from_secs(u64::from(every_s) * 3));
        let is_resent = sample.resent;
        let limits = expected.as_ref().map(|expected| &expected.limits);
        let reading = arrival.reading(sample, limits, patience).and_then(|reading| {
            let SeriesKey {
                quantity, channel, ..
            } = reading.series;
            match watched.enter(quantity, channel, MAX_SERIES) {
                true => Ok(reading),
                false => {
                    let detail = format!(
                        "{quantity} on channel {channel}: the device has {MAX_SERIES} series already"
                    );
                    Err(Refused::new(Refusal::TooManySeries, detail))
                }
            }
        });
        match reading {
            Ok(mut reading) => {
                // Of old data that does not say that its device sends it again it is not known whose clock it is by.
                let is_by_own_clock = !reading.quality.has(Quality::STAMPED_HERE)
                    && (is_resent || !reading.quality.has(Quality::BACKFILL));
                if clock_off && is_by_own_clock {
                    reading.quality = reading.quality.with(Quality::CLOCK_OFF);
                }
                if !reading.quality.has(Quality::BACKFILL) {
                    let series = (reading.series.quantity, reading.series.channel);
                    let times = (reading.measured_at, reading.received_at);
                    let number = reading.value.number().unwrap_or(f64::NAN);
                    let moves = watched.note(series, times, number, reading.quality, every_s, limits);
                    reading.quality = reading.quality.with(moves);
                }
                admitted.readings.push(reading);
                admitted.every_s.push(every_s);
            }
            Err(refused) => {
                admitted.refused.push(refused);
                admitted.refused_samples.push(number);
            }
        }
    }
    fix::doubt_positions(&mut admitted.readings);
    admitted
}

impl Arrival<'_> {
    /// Measures the device's clock by what a live message says of its sending, else by its newest moment; whether it is off.
    /// Means of a time that is over say nothing of when they were sent, and a stamp that is old enough to be a backlog
    /// measures nothing.
    fn note_clock(
        &self,
        samples: &[Sample],
        sent_at: Option<Timestamp>,
        watched: &mut DeviceWatch,
        patience: Duration,
    ) -> bool {
        if self.lane == Lane::Live && !samples.iter().any(|sample| sample.resent) {
            let is_moment = |sample: &&Sample| sample.period.is_none_or(|period| period.length.is_zero());
            let moments = samples.iter().filter(is_moment);
            let ends = moments.filter_map(|sample| Some(self.end(sample, sample.measured_at?)));
            let shown = sent_at.or_else(|| ends.max());
            let is_live = |end: &Timestamp| {
                *end >= YEAR_2000 && !self.is_backlog(self.received_at.since(*end), patience)
            };
            if let Some(shown) = shown.filter(is_live) {
                watched.clock.note(shown, self.received_at);
                watched.is_off = watched.clock.is_off(self.clock_tolerance());
            }
        }
        watched.is_off
    }

    /// Whether what is this old when it arrives is a backlog although it does not say so. A clock may be off by
    /// minutes or hours and still be judged; what is a day old is told late, whatever the clock.
    fn is_backlog(&self, age: Duration, patience: Duration) -> bool {
        age > patience.max(OLD_NEWS)
    }

    fn clock_tolerance(&self) -> Duration {
        let own = self.profile.and_then(|profile| profile.clock_tolerance);
        own.unwrap_or(CLOCK_TOLERANCE)
    }

    /// Seconds from a sample to the next of its series: its frame's own period (HJ 212 sends means of minutes, hours and
    /// days side by side), else the cadence of its key; 0 is its device's cadence.
    fn every_s(&self, sample: &Sample, expected: Option<&Expected>) -> u32 {
        let period = sample
            .period
            .map(|period| period.length)
            .filter(|length| !length.is_zero());
        let of_all = self.profile.and_then(|profile| profile.cadence);
        let of_key = expected.and_then(|expected| expected.cadence);
        let every = period.or(of_key.filter(|own| Some(*own) != of_all));
        let seconds = every.unwrap_or_default().as_millis().div_ceil(1000);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// What the profile expects of a sample's series.
    fn expected(&self, sample: &Sample) -> Option<Expected> {
        self.profile?.expected(sample.quantity, sample.channel).copied()
    }

    fn reading(
        &self,
        sample: Sample,
        limits: Option<&Limits>,
        patience: Duration,
    ) -> Result<Reading, Refused> {
        // What was exported comes back by the import; a device must not say what is worked out of its readings.
        if self.lane == Lane::Live && sample.quantity.is_derived_on(sample.channel) {
            let detail = format!(
                "{} on channel {} is worked out here from other readings",
                sample.quantity, sample.channel
            );
            return Err(Refused::new(Refusal::UnknownQuantity, detail));
        }
        let mut quality = sample.quality;
        let value = self.value(&sample)?;
        if let Value::Number(number) = value
            && !limits::plausible(sample.quantity, number, limits)
        {
            quality = quality.with(Quality::SUSPECT);
        }
        let measured_at = match sample.measured_at {
            None => {
                quality = quality.with(Quality::STAMPED_HERE);
                self.received_at
            }
            Some(stamp) => self.measured_at(&sample, stamp)?,
        };
        let age = self.received_at.since(measured_at);
        let backfill = self.lane == Lane::Backfill;
        let is_backlog = !sample.resent && self.is_backlog(age, patience);
        if sample.resent || backfill || is_backlog {
            quality = quality.with(Quality::RESENT);
        }
        if backfill || is_backlog || (sample.resent && age > patience) {
            quality = quality.with(Quality::BACKFILL);
        }
        let oldest = match sample.resent || backfill {
            true => self.ages.backfill,
            false => self.ages.live,
        };
        if age > oldest {
            let (age, oldest) = (age.as_secs() / 86_400, oldest.as_secs() / 86_400);
            let detail = format!(
                "{} is stamped {measured_at}, {age} days old; its lane takes {oldest} days",
                sample.quantity
            );
            return Err(Refused::new(Refusal::TooOld, detail));
        }
        if self.device.state_at(self.received_at) == DeviceState::Maintenance {
            quality = quality.with(Quality::MAINTENANCE);
        }
        Ok(Reading {
            series: SeriesKey {
                device: self.device.id.clone(),
                quantity: sample.quantity,
                channel: sample.channel,
            },
            measured_at,
            period: self.period(&sample).length,
            received_at: self.received_at,
            value,
            quality,
            position: self.position,
        })
    }

    /// The frame's own period stands over the profile's.
    fn period(&self, sample: &Sample) -> Period {
        let of_profile = || self.profile.map_or_else(Period::default, |p| p.period);
        sample.period.unwrap_or_else(of_profile)
    }

    /// The canonical value. Sentinels are looked for in the raw one: -999 in tenths of a degree is
    /// -99.9 afterwards, and looks like a reading.
    fn value(&self, sample: &Sample) -> Result<Value, Refused> {
        let raw = match &sample.value {
            Value::Number(raw) => *raw,
            Value::Text(text) => return Ok(Value::Text(text.clone())),
        };
        let is_sentinel = self
            .profile
            .map_or_else(|| SENTINELS.contains(&raw), |p| p.is_sentinel(raw));
        if is_sentinel {
            let detail = format!("{} is {raw}, which means no value", sample.quantity);
            return Err(Refused::new(Refusal::Sentinel, detail));
        }
        match sample.scaling.apply(sample.quantity, raw) {
            Some(number) if number.is_finite() => Ok(Value::Number(number)),
            Some(_) => {
                let detail = format!("{} cannot be made of {raw}", sample.quantity);
                Err(Refused::new(Refusal::NotANumber, detail))
            }
            None => {
                let unit = sample.scaling.unit.unwrap_or_default();
                let detail = format!("{} is not given in `{unit}`", sample.quantity);
                Err(Refused::new(Refusal::UnknownUnit, detail))
            }
        }
    }

    /// The end of the period that a stamp marks.
    fn end(&self, sample: &Sample, stamp: Timestamp) -> Timestamp {
        let period = self.period(sample);
        match period.stamp {
            Stamp::Start => stamp + period.length,
            Stamp::End => stamp,
        }
    }

    /// The end of the period, when it is believable.
    fn measured_at(&self, sample: &Sample, stamp: Timestamp) -> Result<Timestamp, Refused> {
        let end = self.end(sample, stamp);
        if end < YEAR_2000 {
            let detail = format!("{} is stamped {stamp}", sample.quantity);
            return Err(Refused::new(Refusal::AncientStamp, detail));
        }
        let tolerance = self.profile.map_or(FUTURE_TOLERANCE, |p| p.future_tolerance);
        let ahead = end.since(self.received_at);
        if ahead > tolerance {
            let ahead = Duration::from_secs(ahead.as_secs());
            let detail = format!("{} is stamped {stamp}, {ahead:?} ahead", sample.quantity);
            return Err(Refused::new(Refusal::FutureStamp, detail));
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, ProfileId, Quantity, Setting};
    use onemap_wire::Scaling;

    use super::*;

    /// 2026-11-23T08:00:00+08:00
    const NOW: Timestamp = Timestamp::from_ms(1_795_392_000_000);

    fn device(state: DeviceState) -> Device {
        Device {
            id: DeviceId::new("d").unwrap(),
            name: "甲".into(),
            name_en: String::new(),
            kind: "air_station".into(),
            profile: None,
            position: None,
            division: None,
            setting: Setting::Urban,
            gateway: None,
            entity: None,
            state,
            cadence_s: 0,
            department: String::new(),
            maintenance: None,
            is_gateway: false,
            adopts: false,
            demo: false,
        }
    }

    fn profile(body: &str) -> Profile {
        let text = format!("version: 1\nname: {{zh: 甲, en: A}}\nprotocol: thingsboard\n{body}");
        Profile::parse(&ProfileId::new("p").unwrap(), &text).unwrap()
    }

    fn sample(quantity: &str, number: f64) -> Sample {
        Sample::new(Quantity::named(quantity).unwrap(), 0, number)
    }

    fn at(mut sample: Sample, ms: i64) -> Sample {
        sample.measured_at = Some(Timestamp::from_ms(NOW.ms() + ms));
        sample
    }

    fn arrival<'a>(device: &'a Device, profile: Option<&'a Profile>) -> Arrival<'a> {
        Arrival {
            device,
            profile,
            received_at: NOW,
            position: 7,
            lane: Lane::Live,
            ages: AgeLimits::default(),
        }
    }

    fn admit_one(sample: Sample, profile: Option<&Profile>) -> Result<Reading, Refusal> {
        admit_from(DeviceState::Active, sample, profile)
    }

    fn admit_from(state: DeviceState, sample: Sample, profile: Option<&Profile>) -> Result<Reading, Refusal> {
        let message = Message {
            samples: vec![sample],
            ..Message::default()
        };
        let device = device(state);
        let mut admitted = admit(message, &arrival(&device, profile), &mut Watch::default());
        match (admitted.readings.pop(), admitted.refused.pop()) {
            (Some(reading), None) => Ok(reading),
            (None, Some(refused)) => Err(refused.refusal),
            other => panic!("one sample became {other:?}"),
        }
    }

    #[test]
    fn a_position_of_zeros_is_doubted_and_a_zero_alone_is_not() {
        let device = device(DeviceState::Active);
        let say = |lon: f64, lat: f64, ms: i64| {
            let samples = vec![
                at(sample("longitude", lon), -5),
                sample("battery", 0.0),
                at(sample("latitude", lat), ms),
            ];
            let message = Message {
                samples,
                ..Message::default()
            };
            let admitted = admit(message, &arrival(&device, None), &mut Watch::default());
            let suspect = admitted.readings.iter().map(|r| r.quality.has(Quality::SUSPECT));
            suspect.collect::<Vec<_>>()
        };
        assert_eq!(say(0.0, 0.0, -5), [true, false, true]);
        assert_eq!(say(0.0, 36.6, -5), [false; 3]);
        assert_eq!(say(101.7, 0.0, -5), [false; 3]);
        assert_eq!(say(0.0, 0.0, -6), [false; 3], "not of one time");
        assert_eq!(say(181.0, 36.6, -5), [true, false, false], "outside of its range");
    }

    #[test]
    fn one_device_has_so_many_series_and_no_more() {
        let device = device(DeviceState::Active);
        let mut watch = Watch::default();
        let mut say = |channels: std::ops::Range<u32>, resent: bool| {
            let samples = channels.map(|channel| {
                let mut sample = sample("pm10", 50.0);
                sample.channel = channel as u16;
                sample.resent = resent;
                sample
            });
            let message = Message {
                samples: samples.collect(),
                ..Message::default()
            };
            let admitted = admit(message, &arrival(&device, None), &mut watch);
            assert!(
                admitted
                    .refused
                    .iter()
                    .all(|r| r.refusal == Refusal::TooManySeries)
            );
            (admitted.readings.len(), admitted.refused.len())
        };
        let most = MAX_SERIES as u32;
        assert_eq!(say(0..most - 1, false), (MAX_SERIES - 1, 0));
        // Old data make series too.
        assert_eq!(say(most - 1..most + 9, true), (1, 9));
        assert_eq!(say(0..most + 5, false), (MAX_SERIES, 5));
    }

    #[test]
    fn a_good_value_is_a_good_reading() {
        let reading = admit_one(at(sample("temperature", 21.5), -500), None).unwrap();
        assert_eq!(reading.value, Value::Number(21.5));
        assert_eq!(reading.measured_at.ms(), NOW.ms() - 500);
        assert_eq!((reading.received_at, reading.position), (NOW, 7));
        assert_eq!((reading.quality, reading.period), (Quality::GOOD, Duration::ZERO));
    }

    #[test]
    fn sentinels_are_caught_before_units_are_converted() {
        let own = profile("sentinels: [32767]\nkeys:\n  t: {quantity: temperature, scale: 0.1}\n");
        for raw in [-999.0, -9999.0, 32767.0] {
            let mut tenths = sample("temperature", raw);
            tenths.scaling = own.keys["t"].scaling;
            assert_eq!(admit_one(tenths, Some(&own)), Err(Refusal::Sentinel), "{raw}");
        }
        assert_eq!(
            admit_one(sample("temperature", -999.0), None),
            Err(Refusal::Sentinel)
        );
        // The same number as a converted value is no sentinel: -9990 tenths.
        let mut low = sample("counter", -9990.0);
        low.scaling.scale = 0.1;
        assert_eq!(admit_one(low, None).unwrap().value, Value::Number(-999.0));
        assert!(admit_one(sample("counter", 32767.0), None).is_ok());
    }

    #[test]
    fn units_become_canonical() {
        let mut nanograms = sample("pm2_5", 35_000.0);
        nanograms.scaling = Scaling {
            unit: Some("ng/m3"),
            ..Scaling::NONE
        };
        assert_eq!(admit_one(nanograms, None).unwrap().value, Value::Number(35.0));
        let mut overflow = sample("pm2_5", 1e300);
        overflow.scaling.scale = 1e300;
        assert_eq!(admit_one(overflow, None), Err(Refusal::NotANumber));
        assert_eq!(
            admit_one(sample("pm2_5", f64::NAN), None),
            Err(Refusal::NotANumber)
        );
    }

    #[test]
    fn a_stamp_of_the_start_becomes_the_end() {
        let hourly = profile("period: {stamp: start, length: 1h}\n");
        let reading = admit_one(at(sample("pm10", 50.0), -3_600_000), Some(&hourly)).unwrap();
        assert_eq!(
            (reading.measured_at, reading.period),
            (NOW, Duration::from_secs(3600))
        );
        let ended = profile("period: {stamp: end, length: 1h}\n");
        let reading = admit_one(at(sample("pm10", 50.0), -3_600_000), Some(&ended)).unwrap();
        assert_eq!(reading.measured_at.ms(), NOW.ms() - 3_600_000);
    }

    #[test]
    fn a_frame_s_own_period_and_marks_stand_over_the_profile_s() {
        let ended = profile("period: {stamp: end, length: 1h}\n");
        let mut minute = at(sample("pm10", 50.0), -600_000);
        minute.period = Some(Period {
            stamp: Stamp::Start,
            length: Duration::from_secs(600),
        });
        minute.quality = Quality::CALIBRATION;
        let reading = admit_one(minute, Some(&ended)).unwrap();
        assert_eq!(
            (reading.measured_at, reading.period, reading.quality),
            (NOW, Duration::from_secs(600), Quality::CALIBRATION)
        );
    }

    #[test]
    fn a_series_of_another_cadence_than_its_device_s_says_how_often_it_comes() {
        let own = profile("cadence: 60s\nkeys:\n  a: {quantity: pm10, cadence: 5min}\n  b: {quantity: ph}\n");
        let mut hour = at(sample("so2", 50.0), 0);
        hour.period = Some(Period {
            stamp: Stamp::End,
            length: Duration::from_secs(3600),
        });
        let message = Message {
            samples: vec![sample("pm10", 50.0), sample("ph", 7.0), hour],
            ..Message::default()
        };
        let device = device(DeviceState::Active);
        let mut watch = Watch::default();
        let admitted = admit(message, &arrival(&device, Some(&own)), &mut watch);
        assert_eq!(admitted.every_s, [300, 0, 3600]);
        // What is told of its silence goes by the same.
        let so2 = Quantity::named("so2").unwrap();
        assert_eq!(watch.of(device.id.as_str()).unwrap().series(so2, 0).1, Some(3600));
    }

    #[test]
    fn what_is_worked_out_here_no_device_says() {
        let say = |channel| {
            let mut sample = sample("aqi", 12.0);
            sample.channel = channel;
            admit_one(sample, None).map(|reading| reading.series.channel)
        };
        assert_eq!(say(20), Err(Refusal::UnknownQuantity));
        assert_eq!(say(30), Err(Refusal::UnknownQuantity));
        // An index of the station's own.
        assert_eq!(say(0), Ok(0));
    }

    #[test]
    fn a_missing_stamp_is_the_receive_time_and_marked() {
        let hourly = profile("period: {stamp: start, length: 1h}\n");
        for profile in [None, Some(&hourly)] {
            let reading = admit_one(sample("pm10", 50.0), profile).unwrap();
            assert_eq!(
                (reading.measured_at, reading.quality),
                (NOW, Quality::STAMPED_HERE)
            );
        }
    }

    #[test]
    fn impossible_stamps_are_refused_at_their_borders() {
        let now = NOW.ms();
        for (ms, want) in [
            (now + 120_000, None),
            (now + 120_001, Some(Refusal::FutureStamp)),
            (i64::MAX, Some(Refusal::FutureStamp)),
            (YEAR_2000.ms(), Some(Refusal::TooOld)),
            (YEAR_2000.ms() - 1, Some(Refusal::AncientStamp)),
            (i64::MIN, Some(Refusal::AncientStamp)),
        ] {
            let mut sample = sample("pm10", 50.0);
            sample.measured_at = Some(Timestamp::from_ms(ms));
            assert_eq!(admit_one(sample, None).err(), want, "{ms}");
        }
        for (days, resent, lane, want) in [
            (40, false, Lane::Live, None),
            (41, false, Lane::Live, Some(Refusal::TooOld)),
            (41, true, Lane::Live, None),
            (41, false, Lane::Backfill, None),
            (3651, true, Lane::Live, Some(Refusal::TooOld)),
            (3651, false, Lane::Backfill, Some(Refusal::TooOld)),
        ] {
            let mut old = at(sample("pm10", 50.0), -days * 86_400_000);
            old.resent = resent;
            let device = device(DeviceState::Active);
            let message = Message {
                samples: vec![old],
                ..Message::default()
            };
            let arrival = Arrival {
                lane,
                ..arrival(&device, None)
            };
            let admitted = admit(message, &arrival, &mut Watch::default());
            let refusal = admitted.refused.first().map(|r| r.refusal);
            assert_eq!(refusal, want, "{days} days, resent {resent}, {lane:?}");
            let marked = admitted.readings.iter().all(|r| r.quality.has(Quality::BACKFILL));
            assert!(marked || days == 40);
        }
        let wide = profile("future_tolerance: 1h\n");
        assert!(admit_one(at(sample("pm10", 50.0), 3_600_000), Some(&wide)).is_ok());
    }

    #[test]
    fn the_implausible_is_kept_and_marked() {
        for (quantity, number, suspect) in [
            ("humidity", 100.0, false),
            ("humidity", 100.1, true),
            ("temperature", 90.0, true),
            ("manhole_open", 1.0, false),
            ("manhole_open", 7.0, true),
            ("manhole_open", 0.5, true),
        ] {
            let reading = admit_one(at(sample(quantity, number), 0), None).unwrap();
            assert_eq!(
                reading.quality.has(Quality::SUSPECT),
                suspect,
                "{quantity} {number}"
            );
        }
    }

    #[test]
    fn the_device_s_state_counts() {
        assert_eq!(
            admit_from(DeviceState::Retired, sample("pm10", 50.0), None),
            Err(Refusal::Retired)
        );
        let mut resent = at(sample("pm10", 50.0), 0);
        resent.resent = true;
        let reading = admit_from(DeviceState::Maintenance, resent, None).unwrap();
        assert_eq!(reading.quality, Quality::MAINTENANCE.with(Quality::RESENT));
    }

    #[test]
    fn an_unknown_unit_is_refused_by_name() {
        let mut inches = sample("pm2_5", 3.0);
        inches.scaling.unit = Some("in");
        assert_eq!(admit_one(inches, None), Err(Refusal::UnknownUnit));
    }

    #[test]
    fn what_is_a_day_old_is_a_backlog_and_no_news() {
        let day_ms = 86_400_000;
        let slow = profile("cadence: 12h\n");
        for (age_ms, profile, is_backlog) in [
            (0, None, false),
            (day_ms, None, false),
            (day_ms + 1, None, true),
            (3 * day_ms, None, true),
            // Who speaks twice a day is late after three of its cadences only.
            (day_ms + 1, Some(&slow), false),
            (day_ms * 3 / 2 + 1, Some(&slow), true),
        ] {
            let reading = admit_one(at(sample("pm10", 50.0), -age_ms), profile).unwrap();
            for mark in [Quality::BACKFILL, Quality::RESENT] {
                assert_eq!(reading.quality.has(mark), is_backlog, "{age_ms} ms old: {mark:?}");
            }
        }
    }

    #[test]
    fn resent_data_is_backfill_once_it_is_older_than_three_cadences() {
        let minutely = profile("cadence: 60s\n");
        for (seconds, profile, backfill) in [
            (180, Some(&minutely), false),
            (181, Some(&minutely), true),
            (600, None, false),
            (601, None, true),
        ] {
            let mut resent = at(sample("pm10", 50.0), -seconds * 1000);
            resent.resent = true;
            let reading = admit_one(resent, profile).unwrap();
            assert_eq!(reading.quality.has(Quality::BACKFILL), backfill, "{seconds}");
            assert!(reading.quality.has(Quality::RESENT));
        }
    }

    #[test]
    fn backfill_neither_moves_the_memory_nor_the_clock() {
        let device = device(DeviceState::Active);
        let import = Arrival {
            lane: Lane::Backfill,
            ..arrival(&device, None)
        };
        let mut watch = Watch::default();
        for i in 0..9 {
            let message = Message {
                samples: vec![at(sample("pm10", 50.0), -86_400_000 + i)],
                ..Message::default()
            };
            admit(message, &import, &mut watch);
        }
        let known = watch.of("d").unwrap();
        assert_eq!((known.heard_at(), known.clock().offset()), (None, None));
        assert_eq!(watch.n_clocks_off(), 0);
    }

    #[test]
    fn means_of_a_time_that_is_over_measure_no_clock_and_what_says_its_sending_does() {
        let device = device(DeviceState::Active);
        let arrival = arrival(&device, None);
        let mut watch = Watch::default();
        let mut say = |sent_at: Option<i64>| {
            let mut mean = at(sample("pm10", 50.0), -6_000_000);
            mean.period = Some(Period {
                stamp: Stamp::Start,
                length: Duration::from_secs(3600),
            });
            let message = Message {
                samples: vec![mean],
                sent_at: sent_at.map(|ms| Timestamp::from_ms(arrival.received_at.ms() + ms)),
                ..Message::default()
            };
            admit(message, &arrival, &mut watch);
            watch
                .of("d")
                .unwrap()
                .clock()
                .offset()
                .map(|offset| offset.ahead_ms)
        };
        for _ in 0..20 {
            assert_eq!(say(None), None, "sent 40 minutes after its end");
        }
        for _ in 0..4 {
            say(Some(-200));
        }
        assert_eq!(say(Some(-200)), Some(-200));
    }

    #[test]
    fn a_backlog_that_nobody_announces_says_nothing_of_the_clock_and_is_good() {
        let device = device(DeviceState::Active);
        let arrival = arrival(&device, None);
        let mut watch = Watch::default();
        let say = |watch: &mut Watch, ms: i64| {
            let message = Message {
                samples: vec![at(sample("pm10", 50.0), ms)],
                ..Message::default()
            };
            admit(message, &arrival, watch).readings[0].quality
        };
        let day = 86_400_000;
        for i in 0..20 {
            let quality = say(&mut watch, -30 * day + i * 60_000);
            assert!(
                quality.has(Quality::BACKFILL) && !quality.has(Quality::CLOCK_OFF),
                "{i}"
            );
        }
        let offset = |watch: &Watch| watch.of("d").unwrap().clock().offset();
        assert_eq!(offset(&watch), None);
        for i in 0..6 {
            assert!(!say(&mut watch, i).has(Quality::CLOCK_OFF));
        }
        assert_eq!(offset(&watch).unwrap().ahead_ms, 3);
        // A clock that is off by what is live marks what is live.
        for i in 0..16 {
            say(&mut watch, -7_200_000 + i);
        }
        assert!(say(&mut watch, -7_200_000).has(Quality::CLOCK_OFF));
        assert!(!say(&mut watch, -2 * day).has(Quality::CLOCK_OFF));
    }

    #[test]
    fn a_clock_that_is_off_is_marked_and_its_stamps_stay() {
        let device = device(DeviceState::Active);
        let arrival = arrival(&device, None);
        let mut watch = Watch::default();
        for i in 0..6 {
            let stamp = -3_600_000 + i;
            let message = Message {
                samples: vec![at(sample("pm10", 50.0), stamp), sample("pm2_5", 20.0)],
                ..Message::default()
            };
            let readings = admit(message, &arrival, &mut watch).readings;
            assert_eq!(readings[0].measured_at.ms(), NOW.ms() + stamp);
            let marks: Vec<_> = readings
                .iter()
                .map(|r| r.quality.has(Quality::CLOCK_OFF))
                .collect();
            // What is stamped here has no share in the device's clock.
            assert_eq!(marks, [i >= 4, false], "{i}");
        }
        assert_eq!(watch.n_clocks_off(), 1);
        let offset = watch.of("d").unwrap().clock().offset().unwrap();
        assert!((offset.ahead_ms + 3_600_000).abs() < 10 && offset.bound_ms < 10);
    }

    #[test]
    fn the_decoder_s_refusals_are_handed_on() {
        let message = onemap_wire::native::decode(
            br#"[{"q":"ph","v":7,"s":1},{"q":"colour","v":1,"s":2},{"q":"ph","v":-999,"s":3}]"#,
        );
        let device = device(DeviceState::Active);
        let admitted = admit(message, &arrival(&device, None), &mut Watch::default());
        let labels: Vec<_> = admitted.refused.iter().map(|r| r.refusal).collect();
        assert_eq!(labels, [Refusal::UnknownQuantity, Refusal::Sentinel]);
        assert_eq!(admitted.readings.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_admitted_or_refused_and_never_panics(
            samples in proptest::collection::vec(
                (0usize..60, proptest::num::u16::ANY, proptest::num::f64::ANY, proptest::option::of(proptest::num::i64::ANY), proptest::bool::ANY),
                0..40,
            ),
            received in proptest::num::i64::ANY,
            backfill: bool,
        ) {
            let n = samples.len();
            let quantities: Vec<Quantity> = Quantity::all().collect();
            let samples = samples
                .into_iter()
                .map(|(q, channel, number, stamp, resent)| {
                    let mut sample = Sample::new(quantities[q % quantities.len()], channel, number);
                    sample.measured_at = stamp.map(Timestamp::from_ms);
                    sample.resent = resent;
                    sample
                })
                .collect();
            let device = device(DeviceState::Active);
            let hourly = profile("cadence: 1s\nperiod: {stamp: start, length: 1h}\n");
            let arrival = Arrival {
                received_at: Timestamp::from_ms(received),
                lane: if backfill { Lane::Backfill } else { Lane::Live },
                ..arrival(&device, Some(&hourly))
            };
            let mut watch = Watch::default();
            let message = Message { samples, ..Message::default() };
            let admitted = admit(message, &arrival, &mut watch);
            assert_eq!(admitted.readings.len() + admitted.refused.len(), n);
            assert_eq!(Watch::decode(&watch.encode()).unwrap().encode(), watch.encode());
        }

        #[test]
        fn a_damaged_memory_is_told_and_never_panics(bytes: Vec<u8>) {
            let _: Option<Watch> = Watch::decode(&[&[1], &bytes[..]].concat());
        }
    }
}
