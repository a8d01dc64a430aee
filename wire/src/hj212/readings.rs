//! Readings out of a segment: what, when, how marked, and by name what is not understood.
//!
//! Channels keep apart what would fall on one another: the statistic of a value is its last digit, the kind of
//! data its tens. Real-time 0, minute 10, hour 20, day 30, mean of 5 minutes of a furnace 40; mean (and `Data`)
//! +0, smallest +1, largest +2, amount +3, the same converted to reference oxygen +5, +6, +7, day +8, night +9.
//! Treatment equipment has its own number as channel.

use std::borrow::Cow;
use std::time::Duration;

use onemap_model::{Quality, Quantity, Refusal, Timestamp};

use super::factor::{Factor, Measure, factor_of};
use super::flag::Version;
use super::interval::MinuteData;
use super::segment::{Group, Item, Segment};
use super::stamp;
use crate::message::quoted;
use crate::profile::{Period, Stamp};
use crate::{Message, Profile, Refused, Sample, Scaling};

/// Minute data stand for so long unless the device is set to another interval ([`super::MinuteData`]).
pub const MINUTE_DATA: Duration = Duration::from_secs(600);
/// What is sent in place of a converted concentration that cannot be computed (2025, 8.1.1 d).
const NOT_CONVERTED: f64 = 9999.99;

/// Channels of minute data are this and more.
const MINUTES: u16 = 10;

/// Channels of an element (w20138) are by so much higher in a frame that has the element in total (w20122), too: they are one
/// quantity, and neither takes the other's place.
const BESIDE_TOTAL: u16 = 100;

/// What is known of the sender beside its frame.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Its profile: `keys` under `a34004-Avg` or `a34004` stand over the dictionary's units and quantities.
    pub profile: Option<&'a Profile>,
    /// Length of minute data (MinInterval): of all, or by what is known of the station and when the frame came (`None`:
    /// it was asked for).
    pub minute: Minutes<'a>,
    /// Which end of a period it stamps; the standard says the start.
    pub stamp: Stamp,
}

/// How long minute data stand for.
#[derive(Clone, Copy, Debug)]
pub enum Minutes<'a> {
    /// Always so long.
    Of(Duration),
    /// As is known of the station.
    Known(&'a MinuteData, Option<Timestamp>),
}

impl Minutes<'_> {
    fn length(&self, start: Option<Timestamp>) -> Duration {
        match (self, start) {
            (Self::Of(length), _) => *length,
            (Self::Known(known, received_at), Some(start)) => known.length(start, *received_at),
            (Self::Known(..), None) => MINUTE_DATA,
        }
    }
}

impl<'a> Sender<'a> {
    /// A sender of this profile. A period in the profile tells the length of minute data and the stamped end.
    pub fn new(profile: Option<&'a Profile>) -> Self {
        let period = profile.map(|p| p.period).filter(|p| !p.length.is_zero());
        Self {
            profile,
            minute: Minutes::Of(period.map_or(MINUTE_DATA, |p| p.length)),
            stamp: period.map_or(Stamp::Start, |p| p.stamp),
        }
    }
}

/// Whether a command's data are what is measured ([`readings`] of other commands are what a station says of itself).
pub fn is_measured(cn: &str) -> bool {
    Data::of(cn, &Sender::new(None)).is_some()
}

/// Reads the samples of a frame that came up: data of 2011, 2021, 2031, 2041, 2051, 2061 and 2111, and what a station says of
/// itself (`information`). Of other commands that are no answers and notices only the name is noted. Whose they are,
/// [`Segment::mn`] says.
pub fn readings(segment: &Segment, sender: &Sender<'_>) -> Message {
    let mut message = Message {
        sent_at: stamp::read(segment.qn()),
        ..Message::default()
    };
    let Some(data) = Data::of(segment.cn(), sender) else {
        return super::information::information(segment);
    };
    let read = |text| stamp::read(text).map(Some).ok_or(text);
    // The first stands for all, wherever it stands; another one for what stands with it and behind it.
    let mut stamp = segment.data_time().map_or(Ok(None), read);
    let mut reader = Reader {
        segment,
        sender,
        data,
        message: &mut message,
    };
    for (i, group) in segment.cp.iter().enumerate() {
        stamp = group.value("DataTime").map_or(stamp, read);
        reader.group(i, group, stamp);
    }
    message
}

/// Kind of data of a command.
#[derive(Clone, Copy)]
struct Data {
    channel: u16,
    period: Period,
}

impl Data {
    fn of(cn: &str, sender: &Sender<'_>) -> Option<Self> {
        let (channel, length) = match cn {
            "2011" | "2021" => (0, Duration::ZERO),
            // Its length is each record's own.
            "2051" => (MINUTES, MINUTE_DATA),
            "2061" => (20, Duration::from_secs(3600)),
            "2031" | "2041" => (30, Duration::from_secs(86_400)),
            "2111" => (40, Duration::from_secs(300)),
            _ => return None,
        };
        let stamp = if length.is_zero() {
            Stamp::End
        } else {
            sender.stamp
        };
        Some(Self {
            channel,
            period: Period { stamp, length },
        })
    }
}

/// What a suffix gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suffix {
    /// A value of the statistic with this digit.
    Value(u16),
    /// A value converted to reference oxygen.
    Converted(u16),
    /// The amount in the period.
    Amount,
}

impl Suffix {
    fn of(name: &str, is_real_time: bool) -> Option<Self> {
        Some(match (name, is_real_time) {
            ("Rtd", true) | ("Avg" | "Data", false) => Self::Value(0),
            ("ZsRtd", true) | ("ZsAvg", false) => Self::Converted(5),
            ("Min", false) => Self::Value(1),
            ("Max", false) => Self::Value(2),
            ("Cou", false) => Self::Amount,
            ("ZsMin", false) => Self::Converted(6),
            ("ZsMax", false) => Self::Converted(7),
            ("DayData", false) => Self::Value(8),
            ("NightData", false) => Self::Value(9),
            _ => return None,
        })
    }
    fn digit(self) -> u16 {
        match self {
            Self::Value(digit) | Self::Converted(digit) => digit,
            Self::Amount => 3,
        }
    }
}

struct Reader<'a> {
    segment: &'a Segment,
    sender: &'a Sender<'a>,
    data: Data,
    message: &'a mut Message,
}

impl Reader<'_> {
    fn group(&mut self, number: usize, group: &Group, stamp: Result<Option<Timestamp>, &str>) {
        for (at, item) in group.0.iter().enumerate() {
            let Some((code, suffix)) = item.key.rsplit_once('-') else {
                self.plain(group, at, item);
                continue;
            };
            if matches!(suffix, "Flag" | "EFlag" | "SampleTime") {
                continue;
            }
            let mut value = Cow::Borrowed(item.value.as_deref().unwrap_or_default());
            // `35,1` is one value whose comma separates what belongs together.
            let is_digits =
                |item: &&Item| item.value.is_none() && item.key.bytes().all(|b| b.is_ascii_digit());
            if let Some(behind) = group.0.get(at + 1).filter(is_digits) {
                value = format!("{value},{}", behind.key).into();
            }
            match self.sample(number, group, code, suffix, &value, stamp) {
                Ok(sample) => self.message.samples.push(sample),
                Err(refused) => self.message.refused.push(refused),
            }
        }
    }

    /// An item that is no factor's: a field of the command, the end of a value with a comma, or nothing that the standard has.
    fn plain(&mut self, group: &Group, at: usize, item: &Item) {
        const FIELDS: [&str; 9] = [
            "DataTime",
            "BeginTime",
            "EndTime",
            "PolId",
            "QN",
            "Flag",
            "CTime",
            "SampleTime",
            "RestartTime",
        ];
        let is_end = item.value.is_none() && at > 0;
        if item.key.is_empty() || is_end || FIELDS.contains(&item.key.as_str()) || group.0.is_empty() {
            return;
        }
        // `a34004_Rtd=14`: a value whose `-` is another mark.
        let suffix = item.key.rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
        let is_value = suffix.is_some_and(|suffix| {
            suffix.len() < item.key.len()
                && [true, false]
                    .into_iter()
                    .any(|real_time| Suffix::of(suffix, real_time).is_some())
        });
        if is_value {
            let detail = format!(
                "`{}` is no code and suffix with `-` between them",
                quoted(&item.key)
            );
            self.message
                .refused
                .push(Refused::new(Refusal::WrongShape, detail));
        } else {
            self.message.unread.push("field");
        }
    }

    fn sample(
        &self,
        number: usize,
        group: &Group,
        code: &str,
        suffix: &str,
        value: &str,
        stamp: Result<Option<Timestamp>, &str>,
    ) -> Result<Sample, Refused> {
        let key = format!("{code}-{suffix}");
        let (quantity, channel, scaling) = self.meaning(code, suffix).ok_or_else(|| {
            let detail = format!(
                "nothing is known of `{}` in {}",
                quoted(&key),
                quoted(self.segment.cn())
            );
            Refused::new(Refusal::UnknownQuantity, detail)
        })?;
        let raw = read_number(value).ok_or_else(|| {
            let detail = format!("`{}` is `{}`, not a number", quoted(&key), quoted(value));
            Refused::new(Refusal::NotANumber, detail)
        })?;
        if suffix.starts_with("Zs") && raw == NOT_CONVERTED {
            let detail = format!("`{}` is {raw}: oxygen is too high to convert it", quoted(&key));
            return Err(Refused::new(Refusal::Sentinel, detail));
        }
        let unreadable = |text: &str| {
            let detail = format!(
                "`{}` is stamped `{}`, which is no time",
                quoted(&key),
                quoted(text)
            );
            Refused::new(Refusal::WrongShape, detail)
        };
        let own_stamp = group.value(&format!("{code}-SampleTime"));
        let measured_at = match own_stamp {
            Some(text) => Some(stamp::read(text).ok_or_else(|| unreadable(text))?),
            None => stamp.map_err(unreadable)?,
        };
        if measured_at.is_none() && !self.data.period.length.is_zero() {
            let detail = format!("`{}` stands for a period and has no DataTime", quoted(&key));
            return Err(Refused::new(Refusal::WrongShape, detail));
        }
        let mut period = self.data.period;
        if self.data.channel == MINUTES {
            period.length = self.sender.minute.length(measured_at);
        }
        Ok(Sample {
            measured_at,
            period: Some(period),
            quality: self
                .flag(number, code)
                .map_or(Quality::GOOD, |flag| mark_of(flag, self.segment.version()).1),
            scaling,
            resent: self.segment.is_resent(),
            ..Sample::new(quantity, channel, raw)
        })
    }

    fn meaning(&self, code: &str, suffix: &str) -> Option<(Quantity, u16, Scaling)> {
        let keys = self.sender.profile.map(|profile| &profile.keys);
        let mapping = |key: &str| keys.and_then(|keys| keys.get(key));
        if let Some(own) = mapping(&format!("{code}-{suffix}")) {
            return Some((own.quantity, own.channel, own.scaling));
        }
        if let Some(treatment) = treatment(code, suffix) {
            return Some(treatment);
        }
        let suffix = Suffix::of(suffix, self.data.period.length.is_zero())?;
        let channel = self.data.channel + suffix.digit();
        if let Some(own) = mapping(code).filter(|_| suffix != Suffix::Amount) {
            return Some((own.quantity, own.channel.checked_add(channel)?, own.scaling));
        }
        let factor = factor_of(code)?;
        let measure = match suffix {
            Suffix::Amount => factor.amount.clone()?,
            _ => factor.measure(self.segment.st()),
        };
        let channel = match &factor.in_total {
            Some(total) if self.says(total) && self.is_one_with(factor, total) => channel + BESIDE_TOTAL,
            _ => channel,
        };
        Some((measure.quantity, channel, scaling_of(&measure)))
    }

    /// Whether a code is the same quantity in this frame.
    fn is_one_with(&self, factor: &Factor, code: &str) -> bool {
        let quantity = |factor: &Factor| factor.measure(self.segment.st()).quantity;
        factor_of(code).is_some_and(|other| quantity(other) == quantity(factor))
    }

    /// Whether the frame has a value of a code.
    fn says(&self, code: &str) -> bool {
        let mut items = self.segment.cp.iter().flat_map(|group| &group.0);
        items.any(|item| item.key.rsplit_once('-').is_some_and(|(of, _)| of == code))
    }

    /// The mark of a factor: its own, one without factor in its group, or alone in the group behind.
    fn flag(&self, number: usize, code: &str) -> Option<&str> {
        let cp = &self.segment.cp;
        let own = format!("{code}-Flag");
        let alone = || match &cp.get(number + 1)?.0[..] {
            [item] if item.key == "Flag" => item.value.as_deref(),
            _ => None,
        };
        let beside = cp.get(number).and_then(|group| group.value(&own));
        let own = beside.or_else(|| cp.iter().find_map(|group| group.value(&own)));
        own.or_else(|| cp.get(number)?.value("Flag")).or_else(alone)
    }
}

/// State and running hours of treatment equipment: `SB12-RS`.
fn treatment(code: &str, suffix: &str) -> Option<(Quantity, u16, Scaling)> {
    let channel = code.strip_prefix("SB")?;
    let is_number = !channel.is_empty() && channel.bytes().all(|b| b.is_ascii_digit());
    let channel = if is_number {
        channel.parse().ok()?
    } else {
        return None;
    };
    let quantity = match suffix {
        "RS" => "treatment_state",
        "RT" => "running_hours",
        _ => return None,
    };
    Some((Quantity::named(quantity)?, channel, Scaling::NONE))
}

fn scaling_of(measure: &Measure) -> Scaling {
    let definition = measure.quantity.definition();
    let foreign = definition
        .units
        .iter()
        .find(|conversion| conversion.unit == measure.unit);
    Scaling {
        unit: foreign.map(|conversion| conversion.unit.as_str()),
        ..Scaling::NONE
    }
}

/// A decimal number as devices write it; no infinities, no names of numbers.
fn read_number(text: &str) -> Option<f64> {
    let is_part = |b: u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    if !text.bytes().all(is_part) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What a data mark means, and how a reading is marked by it. Whatever is not normal cannot show that
/// something is normal: it is kept and not judged by. An unknown mark is not normal.
pub fn mark_of(flag: &str, version: Version) -> (&'static str, Quality) {
    match (flag.trim(), version) {
        ("N", _) => ("normal", Quality::GOOD),
        ("F", _) => ("stopped", Quality::SUSPECT),
        ("M", _) => ("maintenance", Quality::MAINTENANCE.with(Quality::SUSPECT)),
        ("S", _) => ("entered by hand", Quality::SUSPECT),
        ("D", _) => ("fault", Quality::SUSPECT),
        ("C", _) => ("calibrating", Quality::CALIBRATION),
        ("T", _) => ("above range", Quality::SUSPECT),
        ("B", _) => ("no contact between analyser and logger", Quality::SUSPECT),
        ("P", Version::V2005) => ("power fault", Quality::SUSPECT),
        _ => ("unknown", Quality::SUSPECT),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::{ProfileId, Value};

    fn segment(st: &str, cn: &str, cp: &str) -> Segment {
        Segment::parse(
            format!("QN=20160801085857223;ST={st};CN={cn};PW=1;MN=A;Flag=5;CP=&&{cp}&&").as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn an_element_and_the_element_in_total_keep_both_their_values() {
        let said = |cp: &str| {
            let message = readings(&segment("21", "2011", cp), &Sender::new(None));
            assert!(message.refused.is_empty(), "{:?}", message.refused);
            let samples = message.samples.into_iter();
            samples
                .map(|s| (s.quantity.name(), s.channel))
                .collect::<Vec<_>>()
        };
        let time = "DataTime=20160801085857;";
        for both in ["w20120-Rtd=12;w20144-Rtd=0.005", "w20144-Rtd=0.005;w20120-Rtd=12"] {
            let mut channels = said(&format!("{time}{both}"));
            channels.sort_unstable();
            assert_eq!(channels, [("lead", 0), ("lead", 100)], "{both}");
        }
        assert_eq!(said(&format!("{time}w20144-Rtd=0.005")), [("lead", 0)]);
    }

    /// Quantity, channel, canonical value, marks.
    fn read(segment: &Segment, sender: &Sender<'_>) -> Vec<(&'static str, u16, f64, Quality)> {
        let message = readings(segment, sender);
        assert_eq!(message.refused, []);
        let one = |sample: &Sample| {
            let Value::Number(raw) = sample.value else {
                panic!()
            };
            let canonical = sample.scaling.apply(sample.quantity, raw).unwrap();
            (sample.quantity.name(), sample.channel, canonical, sample.quality)
        };
        message.samples.iter().map(one).collect()
    }

    #[test]
    fn real_time_and_periods_do_not_fall_on_one_another() {
        let sender = Sender::new(None);
        let rtd = segment(
            "22",
            "2011",
            "DataTime=20160801085857;a34004-Rtd=35.1,a34004-Flag=N;a01006-Rtd=101.38",
        );
        assert_eq!(
            read(&rtd, &sender),
            [
                ("pm2_5", 0, 35.1, Quality::GOOD),
                ("pressure", 0, 1013.8, Quality::GOOD)
            ]
        );
        let hour = segment(
            "32",
            "2061",
            "DataTime=20160801080000;w01018-Cou=63,w01018-Min=1,w01018-Avg=2,w01018-Max=3,w01018-Flag=D",
        );
        let suspect = Quality::SUSPECT;
        assert_eq!(
            read(&hour, &sender),
            [
                ("cod_load", 23, 63.0, suspect),
                ("cod", 21, 1.0, suspect),
                ("cod", 20, 2.0, suspect),
                ("cod", 22, 3.0, suspect)
            ]
        );
        let message = readings(&hour, &sender);
        let period = message.samples[0].period.unwrap();
        assert_eq!((period.stamp, period.length.as_secs()), (Stamp::Start, 3600));
        let eight = Timestamp::parse("2016-08-01T08:00:00+08:00").unwrap();
        assert_eq!(message.samples[0].measured_at, Some(eight));
    }

    #[test]
    fn one_code_is_another_thing_in_the_air_and_in_flue_gas() {
        let sender = Sender::new(None);
        let cp = "DataTime=20160801085857;a21026-Rtd=20,a21026-ZsRtd=24";
        let air = read(&segment("22", "2011", cp), &sender);
        let flue = read(&segment("31", "2011", cp), &sender);
        assert_eq!((air[0].0, air[0].1), ("so2", 0));
        assert_eq!((flue[0].0, flue[1].0, flue[1].1), ("flue_so2", "flue_so2", 5));
    }

    #[test]
    fn every_mark_but_normal_keeps_a_value_from_being_judged() {
        let sender = Sender::new(None);
        for flag in ["F", "M", "S", "D", "C", "T", "B", "X", ""] {
            for cp in [
                format!("DataTime=20160801085857;LA-Rtd=50,LA-Flag={flag}"),
                format!("DataTime=20160801085857;LA-Flag={flag},LA-Rtd=50"),
                format!("DataTime=20160801085857;LA-Rtd=50;Flag={flag}"),
                format!("DataTime=20160801085857;LA-Rtd=50,Flag={flag}"),
            ] {
                let read = read(&segment("23", "2011", &cp), &sender);
                assert!(!read[0].3.judgeable(), "{cp}");
            }
        }
        let plain = segment("23", "2011", "DataTime=20160801085857;LA-Rtd=50;x-Flag=D");
        assert_eq!(read(&plain, &sender)[0].3, Quality::GOOD);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (cn, item, refusal) in [
            ("2011", "l01001-Rtd=119.9", Refusal::UnknownQuantity),
            ("2011", "LA-Rtd-Rtd=71", Refusal::UnknownQuantity),
            ("2011", "LA-Ori=71", Refusal::UnknownQuantity),
            ("2011", "LA-Avg=71", Refusal::UnknownQuantity),
            ("2011", "LA-Rtd=", Refusal::NotANumber),
            ("2011", "LA-Rtd", Refusal::NotANumber),
            ("2011", "LA-Rtd=NaN", Refusal::NotANumber),
            ("2011", "LA-Rtd=1e999", Refusal::NotANumber),
            ("2011", "LA-Rtd=5 0", Refusal::NotANumber),
            ("2011", "LA-Rtd=5,1", Refusal::NotANumber),
            ("2011", "a34004_Rtd=14", Refusal::WrongShape),
            ("2061", "a34004.Avg=14,a34004.Flag=N", Refusal::WrongShape),
            (
                "2011",
                "LA-Rtd=1,LA-SampleTime=20160230000000",
                Refusal::WrongShape,
            ),
            ("2061", "a21026-ZsAvg=9999.99", Refusal::Sentinel),
            ("2021", "SBx-RS=1", Refusal::UnknownQuantity),
        ] {
            let cp = format!("DataTime=20160801080000;{item}");
            let message = readings(&segment("31", cn, &cp), &Sender::new(None));
            assert!(message.samples.is_empty(), "{item}");
            assert_eq!(
                message.refused.iter().map(|r| r.refusal).collect::<Vec<_>>(),
                [refusal],
                "{item}"
            );
        }
        for (cn, cp) in [("2061", "LA-Avg=5"), ("2011", "DataTime=2016;LA-Rtd=5")] {
            let message = readings(&segment("31", cn, cp), &Sender::new(None));
            assert_eq!(message.refused[0].refusal, Refusal::WrongShape, "{cp}");
        }
        let stampless = readings(&segment("31", "2011", "LA-Rtd=5"), &Sender::new(None));
        assert_eq!(stampless.samples[0].measured_at, None);
        let request = readings(
            &segment("31", "2061", "BeginTime=20160801080000;EndTime=20160801080000"),
            &Sender::new(None),
        );
        let empty = Message {
            sent_at: request.sent_at,
            ..Message::default()
        };
        assert_eq!(request, empty);
    }

    #[test]
    fn a_second_time_is_that_of_what_stands_behind_it() {
        let hours = segment(
            "22",
            "2061",
            "a34002-Avg=1;DataTime=20160801080000;a34004-Avg=2,a34004-Flag=N;DataTime=20160801090000;a34004-Avg=3,a34004-Flag=D",
        );
        let message = readings(&hours, &Sender::new(None));
        let told: Vec<_> = message
            .samples
            .iter()
            .map(|sample| (sample.measured_at.unwrap(), sample.quality))
            .collect();
        let at = |text: &str| stamp::read(text).unwrap();
        assert_eq!(
            told,
            [
                (at("20160801080000"), Quality::GOOD),
                (at("20160801080000"), Quality::GOOD),
                (at("20160801090000"), Quality::SUSPECT)
            ]
        );
    }

    #[test]
    fn equipment_is_told_apart_by_its_number() {
        let sender = Sender::new(None);
        let state = segment("51", "2021", "DataTime=20160801085857;SB1-RS=1;SB12-RS=4");
        assert_eq!(
            read(&state, &sender),
            [
                ("treatment_state", 1, 1.0, Quality::GOOD),
                ("treatment_state", 12, 4.0, Quality::GOOD)
            ]
        );
    }

    #[test]
    fn the_profile_s_unit_and_period_stand_over_the_usual_ones() {
        let text = "version: 1\nname: {zh: 尘, en: D}\nprotocol: native\nperiod: {stamp: end, length: 1min}\nkeys:\n  a34004: {quantity: pm2_5, unit: ng/m3}\n  x1-Ori: {quantity: counter, channel: 7}\n";
        let profile = Profile::parse(&ProfileId::new("p").unwrap(), text).unwrap();
        let sender = Sender::new(Some(&profile));
        let minute = segment(
            "39",
            "2051",
            "DataTime=20160801085800;a34004-Avg=75000,a34004-Flag=N;x1-Ori=3",
        );
        assert_eq!(
            read(&minute, &sender),
            [
                ("pm2_5", 10, 75.0, Quality::GOOD),
                ("counter", 7, 3.0, Quality::GOOD)
            ]
        );
        let period = readings(&minute, &sender).samples[0].period.unwrap();
        assert_eq!((period.stamp, period.length.as_secs()), (Stamp::End, 60));
    }
}
