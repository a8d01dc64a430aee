//! Decides which samples become readings.
//!
//! Pure: no clock, no I/O. The caller passes the device, its profile and when and where the frame
//! arrived. What is refused comes back with its name, never dropped here; what is doubtful is kept
//! and marked.

use std::time::Duration;

use onemap_model::{
    Device, DeviceState, Quality, Quantity, Reading, Refusal, SeriesKey, Timestamp, Value, time::YEAR_2000,
};
use onemap_wire::profile::{FUTURE_TOLERANCE, Period, SENTINELS, Stamp};
use onemap_wire::{Message, Profile, Refused, Sample};

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    /// Taken, in the order of the message.
    pub readings: Vec<Reading>,
    /// Not taken: first what the decoder refused, then what is refused here.
    pub refused: Vec<Refused>,
}

/// Admits the samples of one message.
///
/// In this order: a retired device is refused whole; a sentinel is caught before any conversion; the
/// value becomes canonical; a stamp of the start of a period becomes its end; a missing stamp is the
/// receive time, marked; a stamp ahead of the receive time by more than the profile's tolerance, or
/// before the year 2000, is refused. A value outside its quantity's plausible range, or a state code
/// without a name, is kept and marked suspect.
///
/// `position` is the journal position of the frame. The message's `epoch` and `seqs` are the caller's:
/// take them before, a receipt names refused readings too.
pub fn admit(
    message: Message,
    device: &Device,
    profile: Option<&Profile>,
    received_at: Timestamp,
    position: u64,
) -> Admitted {
    let mut admitted = Admitted {
        readings: Vec::with_capacity(message.samples.len()),
        refused: message.refused,
    };
    if device.state == DeviceState::Retired {
        let detail = format!(
            "{} is retired and sent {} values",
            device.id,
            message.samples.len()
        );
        admitted.refused.push(Refused::new(Refusal::Retired, detail));
        return admitted;
    }
    let arrival = Arrival {
        device,
        profile,
        received_at,
        position,
    };
    for sample in message.samples {
        match arrival.reading(sample) {
            Ok(reading) => admitted.readings.push(reading),
            Err(refused) => admitted.refused.push(refused),
        }
    }
    admitted
}

/// What all samples of a message share.
struct Arrival<'a> {
    device: &'a Device,
    profile: Option<&'a Profile>,
    received_at: Timestamp,
    position: u64,
}

impl Arrival<'_> {
    fn reading(&self, sample: Sample) -> Result<Reading, Refused> {
        let mut quality = Quality::GOOD;
        let value = self.value(&sample)?;
        if let Value::Number(number) = value
            && !plausible(sample.quantity, number)
        {
            quality = quality.with(Quality::SUSPECT);
        }
        let period = self.profile.map_or_else(Period::default, |p| p.period);
        let measured_at = match sample.measured_at {
            None => {
                quality = quality.with(Quality::STAMPED_HERE);
                self.received_at
            }
            Some(stamp) => self.measured_at(&sample, stamp, period)?,
        };
        if sample.resent {
            quality = quality.with(Quality::RESENT);
        }
        if self.device.state == DeviceState::Maintenance {
            quality = quality.with(Quality::MAINTENANCE);
        }
        Ok(Reading {
            series: SeriesKey {
                device: self.device.id.clone(),
                quantity: sample.quantity,
                channel: sample.channel,
            },
            measured_at,
            period: period.length,
            received_at: self.received_at,
            value,
            quality,
            position: self.position,
        })
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
            _ => {
                let detail = format!("{} cannot be made of {raw}", sample.quantity);
                Err(Refused::new(Refusal::NotANumber, detail))
            }
        }
    }

    /// The end of the period, when it is believable.
    fn measured_at(&self, sample: &Sample, stamp: Timestamp, period: Period) -> Result<Timestamp, Refused> {
        let end = match period.stamp {
            Stamp::Start => stamp + period.length,
            Stamp::End => stamp,
        };
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

fn plausible(quantity: Quantity, number: f64) -> bool {
    let states = &quantity.definition().states;
    let known_state = states.is_empty() || states.iter().any(|s| f64::from(s.code) == number);
    known_state && quantity.plausible(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, ProfileId, Setting};
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
            state,
            cadence_s: 0,
            department: String::new(),
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

    fn admit_one(sample: Sample, profile: Option<&Profile>) -> Result<Reading, Refusal> {
        admit_from(DeviceState::Active, sample, profile)
    }

    fn admit_from(state: DeviceState, sample: Sample, profile: Option<&Profile>) -> Result<Reading, Refusal> {
        let message = Message {
            samples: vec![sample],
            ..Message::default()
        };
        let mut admitted = admit(message, &device(state), profile, NOW, 7);
        match (admitted.readings.pop(), admitted.refused.pop()) {
            (Some(reading), None) => Ok(reading),
            (None, Some(refused)) => Err(refused.refusal),
            other => panic!("one sample became {other:?}"),
        }
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
            (YEAR_2000.ms(), None),
            (YEAR_2000.ms() - 1, Some(Refusal::AncientStamp)),
            (i64::MIN, Some(Refusal::AncientStamp)),
        ] {
            let mut sample = sample("pm10", 50.0);
            sample.measured_at = Some(Timestamp::from_ms(ms));
            assert_eq!(admit_one(sample, None).err(), want, "{ms}");
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
    fn the_decoder_s_refusals_are_handed_on() {
        let message = onemap_wire::native::decode(
            br#"[{"q":"ph","v":7,"s":1},{"q":"colour","v":1,"s":2},{"q":"ph","v":-999,"s":3}]"#,
        );
        let admitted = admit(message, &device(DeviceState::Active), None, NOW, 1);
        let labels: Vec<_> = admitted.refused.iter().map(|r| r.refusal).collect();
        assert_eq!(labels, [Refusal::UnknownQuantity, Refusal::Sentinel]);
        assert_eq!(admitted.readings.len(), 1);
    }
}
