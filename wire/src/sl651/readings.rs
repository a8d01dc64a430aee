//! Readings out of a whole message: whose, what, when, and by name what is not understood.
//!
//! A value's stamp is the observation time before it, and the send time where none is; of a series each value has
//! its own. Values of a report in which no observation time stands have the mark `stamped_sent`. Stamps mark the end of a
//! period. Missing values are refused as sentinels, never left out in silence; what gives no reading is named
//! ([`Message::unread`]).

use std::time::Duration;

use encoding_rs::GBK;
use onemap_model::{Quality, Quantity, Refusal, Timestamp, Value};

use super::body::{Body, Content};
use super::element::state_bits;
use super::{COUNTERS, Control, Direction, Element, Frame, Group, Number, Station, StationClass};
use crate::message::quoted;
use crate::profile::{Period, Stamp as PeriodEnd};
use crate::{Message, Profile, Refused, Sample, Scaling};

/// From one value of F4 to FC to the next.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// Report that a person at the station asks for, to see whether it works.
const TEST_REPORT: u8 = 0x30;
/// Answer to a question about the past.
const PERIOD_DATA: u8 = 0x38;

/// What one station said; a relay's message may hold several.
#[derive(Clone, Debug, PartialEq)]
pub struct StationReadings {
    /// Address, whose text is the device's id.
    pub station: Station,
    /// Class, in reports.
    pub class: Option<StationClass>,
    /// Samples and refusals.
    pub message: Message,
}

/// Heights in m that the arrays F5 to FC count from, as far as they are known (run parameters 28 to 2F). An array
/// with a base gives `water_level` on the channel of its place (F5 is 0); without it `water_level_relative`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bases(pub [Option<f64>; 8]);

/// Reads the samples of a message that came up and is whole; of other frames none. The profile's `keys` go before
/// the dictionary: by identifier (`FF11`, `39`), in ASCII frames also by symbol.
///
/// Event counters (50) are `counter` on channels 1 to 18. Answers to questions about the past (38) are marked as resent, values of test reports (30) as maintenance.
pub fn readings(
    frame: &Frame,
    body: &Body,
    profile: Option<&Profile>,
    bases: &Bases,
) -> Vec<StationReadings> {
    let (groups, counters) = match &body.content {
        Content::Groups { groups, n_cut: 0 } => (groups.as_slice(), &[][..]),
        Content::Control {
            control: Some(Control::Counters(counters)),
            ..
        } => (&[][..], counters.as_slice()),
        Content::Unknown(_) if frame.direction == Direction::Up && frame.is_whole() => {
            let mut message = Message::default();
            message.unread.push("unknown_function");
            return vec![StationReadings {
                station: frame.station,
                class: None,
                message,
            }];
        }
        _ => return Vec::new(),
    };
    if frame.direction == Direction::Down || !frame.is_whole() {
        return Vec::new();
    }
    let mut reader = Reader {
        profile,
        bases,
        function: frame.function,
        time: body.sent.as_ref().map(|sent| sent.moment()),
        is_observed: false,
        step: None,
        stations: vec![StationReadings {
            station: frame.station,
            class: None,
            message: Message::default(),
        }],
    };
    for group in groups {
        reader.group(group);
    }
    reader.counters(counters);
    let said = |one: &StationReadings| {
        let Message {
            samples,
            refused,
            unread,
            ..
        } = &one.message;
        !samples.is_empty() || !refused.is_empty() || !unread.is_empty()
    };
    reader.stations.retain(said);
    reader.stations
}

struct Reader<'a> {
    profile: Option<&'a Profile>,
    bases: &'a Bases,
    function: u8,
    /// Of the values that follow; inner none when the digits are no time.
    time: Option<Option<Timestamp>>,
    /// Whether that is an observation time and not the send time.
    is_observed: bool,
    /// Of the series that follows: as sent, and how long.
    step: Option<Duration>,
    /// The last one is whose values follow.
    stations: Vec<StationReadings>,
}

/// What a value measures, how it is written, and over how long.
struct Measure {
    quantity: Quantity,
    channel: u16,
    scaling: Scaling,
    period: Duration,
}

impl Reader<'_> {
    fn group(&mut self, group: &Group) {
        match group {
            Group::Station { station, class } => {
                let (station, class) = (*station, *class);
                match self.stations.last_mut() {
                    Some(last) if last.station == station => last.class = class.or(last.class),
                    _ => self.stations.push(StationReadings {
                        station,
                        class,
                        message: Message::default(),
                    }),
                }
            }
            Group::Observed(stamp) => {
                self.time = Some(stamp.moment());
                self.is_observed = true;
                if stamp.moment().is_none() {
                    self.refuse(
                        Refusal::WrongShape,
                        format!("the observation time {} is no time", quoted(&stamp.digits)),
                    );
                }
            }
            Group::Step(step) => self.step = self.step_of(*step),
            Group::Rain(values) => {
                let measure = self.measure(Element::RAIN_ARRAY, 1.0, None);
                let values: Vec<Option<f64>> =
                    values.iter().map(|v| v.map(|v| f64::from(v) / 10.0)).collect();
                self.array(Element::RAIN_ARRAY, measure, &values);
            }
            Group::Levels { element, values } => {
                let base = self.bases.0[usize::from(element.0 - 0xF5).min(7)];
                let measure = self.measure(*element, 1.0, base);
                let values: Vec<Option<f64>> =
                    values.iter().map(|v| v.map(|v| f64::from(v) / 100.0)).collect();
                self.array(*element, measure, &values);
            }
            Group::State(bits) => self.state(*bits),
            Group::Element {
                element,
                values,
                is_series,
                ..
            } => self.element(*element, values, *is_series),
            Group::Symbol { symbol, text } => self.symbol(symbol, text),
            Group::Manual(text) => self.manual(text),
            Group::Picture(_) => self.unread("picture"),
            Group::Velocities(_) => self.refuse(
                Refusal::UnknownQuantity,
                "element FD is a batch whose layout is the maker's".to_owned(),
            ),
        }
    }

    fn unread(&mut self, what: &'static str) {
        if let Some(last) = self.stations.last_mut() {
            last.message.unread.push(what);
        }
    }

    /// Text that a person entered at the station.
    fn manual(&mut self, text: &[u8]) {
        let (Some(quantity), Ok(at)) = (Quantity::named("manual_text"), self.stamp()) else {
            return;
        };
        let measure = Measure {
            quantity,
            channel: 0,
            scaling: Scaling::NONE,
            period: Duration::ZERO,
        };
        let text = manual_text(text);
        match text.trim_matches(|c: char| c.is_whitespace() || c == '\0') {
            "" => self.refuse(Refusal::Sentinel, "the manual entry is empty".to_owned()),
            text => self.value(&measure, Value::Text(text.into()), at),
        }
    }

    fn refuse(&mut self, refusal: Refusal, detail: String) {
        if let Some(last) = self.stations.last_mut() {
            last.message.refused.push(Refused::new(refusal, detail));
        }
    }

    fn step_of(&mut self, step: [u8; 3]) -> Option<Duration> {
        let digits = step.map(|byte| match (byte >> 4, byte & 0x0F) {
            (high @ 0..=9, low @ 0..=9) => Some(u64::from(high * 10 + low)),
            _ => None,
        });
        match digits {
            [Some(0), Some(0), Some(0)] => Some(FIVE_MINUTES),
            [Some(days), Some(0), Some(0)] => Some(Duration::from_secs(days * 86_400)),
            [Some(0), Some(hours), Some(0)] => Some(Duration::from_secs(hours * 3600)),
            [Some(0), Some(0), Some(minutes)] => Some(Duration::from_secs(minutes * 60)),
            _ => {
                let [d, h, m] = step;
                let detail =
                    format!("the time step {d:02X}{h:02X}{m:02X} is not one of days, hours or minutes");
                self.refuse(Refusal::WrongShape, detail);
                None
            }
        }
    }

    /// What an element measures, by the profile, then by the dictionary.
    fn measure(&self, element: Element, scale: f64, base: Option<f64>) -> Result<Measure, String> {
        let kind = element.kind();
        let keys = self.profile.map(|profile| &profile.keys);
        let own = keys.and_then(|keys| {
            keys.get(&element.to_string())
                .or_else(|| keys.get(kind?.symbol.as_str()))
        });
        let period = Duration::from_secs(u64::from(kind.map_or(0, |kind| kind.period_s)));
        if let Some(mapping) = own {
            return Ok(Measure {
                quantity: mapping.quantity,
                channel: mapping.channel,
                scaling: mapping.scaling,
                period,
            });
        }
        let kind =
            kind.ok_or_else(|| format!("element {element} is neither in the dictionary nor in the profile"))?;
        let quantity = kind.quantity.ok_or_else(|| {
            let why = kind.unmapped.as_deref().unwrap_or("it gives no reading");
            format!("element {element} ({}): {why}", kind.symbol)
        })?;
        let (quantity, offset) = match (base, Quantity::named("water_level")) {
            (Some(base), Some(level)) => (level, base),
            _ => (quantity, 0.0),
        };
        let unit = kind
            .unit
            .as_deref()
            .filter(|unit| *unit != quantity.definition().unit);
        Ok(Measure {
            quantity,
            channel: kind.channel,
            scaling: Scaling { scale, offset, unit },
            period,
        })
    }

    /// One value, or refused by name.
    fn sample(&mut self, measure: &Measure, raw: f64, at: Option<Timestamp>) {
        self.value(measure, Value::Number(raw), at);
    }

    fn value(&mut self, measure: &Measure, value: Value, at: Option<Timestamp>) {
        let mut sample = Sample::new(measure.quantity, measure.channel, 0.0);
        sample.value = value;
        sample.scaling = measure.scaling;
        sample.measured_at = at;
        sample.period = Some(Period {
            stamp: PeriodEnd::End,
            length: measure.period,
        });
        sample.resent = self.function == PERIOD_DATA;
        if self.function == TEST_REPORT {
            sample.quality = Quality::MAINTENANCE;
        }
        if at.is_some() && !self.is_observed && has_observation(self.function) {
            sample.quality = sample.quality.with(Quality::STAMPED_SENT);
        }
        if let Some(last) = self.stations.last_mut() {
            last.message.samples.push(sample);
        }
    }

    /// When the values that follow were observed. None inside: not known, admission takes the time it came. A wrong
    /// observation time was refused once already, and takes its values with it.
    fn stamp(&self) -> Result<Option<Timestamp>, ()> {
        match self.time {
            Some(None) if self.is_observed => Err(()),
            time => Ok(time.flatten()),
        }
    }

    fn array(&mut self, element: Element, measure: Result<Measure, String>, values: &[Option<f64>]) {
        let measure = match measure {
            Ok(measure) => measure,
            Err(detail) => return self.refuse(Refusal::UnknownQuantity, detail),
        };
        let Ok(start) = self.stamp() else {
            return;
        };
        let Some(start) = start else {
            let detail = format!("the values of {element} have no time of their first");
            return self.refuse(Refusal::WrongShape, detail);
        };
        for (i, value) in values.iter().enumerate() {
            if let Some(value) = value {
                self.sample(&measure, *value, Some(start + FIVE_MINUTES * i as u32));
            }
        }
        let n_missing = values.iter().filter(|value| value.is_none()).count();
        if n_missing > 0 {
            let detail = format!("{n_missing} of {} values of {element} are missing", values.len());
            self.refuse(Refusal::Sentinel, detail);
        }
    }

    fn element(&mut self, element: Element, values: &[Number], is_series: bool) {
        let measure = match self.measure(element, 1.0, None) {
            Ok(measure) => measure,
            Err(detail) => return self.refuse(Refusal::UnknownQuantity, detail),
        };
        let Ok(start) = self.stamp() else {
            return;
        };
        let step = match (is_series && values.len() > 1, self.step) {
            (false, _) => Duration::ZERO,
            (true, Some(step)) if !step.is_zero() && start.is_some() => step,
            (true, _) => {
                let detail =
                    format!("the series of {element} has no time step, or no time of its first value");
                return self.refuse(Refusal::WrongShape, detail);
            }
        };
        for (i, value) in values.iter().enumerate() {
            let at = start.map(|start| start + step.saturating_mul(i as u32));
            self.number(element, &measure, value, at);
        }
    }

    fn number(&mut self, element: Element, measure: &Measure, value: &Number, at: Option<Timestamp>) {
        let name = measure.quantity;
        match value {
            Number::Value(decimal) => self.sample(measure, decimal.value(), at),
            Number::Missing { raw } => {
                self.refuse(
                    Refusal::Sentinel,
                    format!("{name} ({element}) is {}, no value", quoted(raw)),
                );
            }
            Number::NotANumber { raw } => {
                self.refuse(
                    Refusal::NotANumber,
                    format!("{name} ({element}) is {}", quoted(raw)),
                );
            }
        }
    }

    fn symbol(&mut self, symbol: &str, text: &str) {
        let own = self.profile.and_then(|profile| profile.keys.get(symbol));
        let Some(mapping) = own else {
            let symbol = quoted(symbol);
            let detail = format!("symbol {symbol} is neither in the dictionary nor in the profile");
            return self.refuse(Refusal::UnknownQuantity, detail);
        };
        let Ok(at) = self.stamp() else {
            return;
        };
        let measure = Measure {
            quantity: mapping.quantity,
            channel: mapping.channel,
            scaling: mapping.scaling,
            period: Duration::ZERO,
        };
        match Number::of_text(text) {
            Number::Value(decimal) => self.sample(&measure, decimal.value(), at),
            Number::Missing { raw } => {
                self.refuse(
                    Refusal::Sentinel,
                    format!("{symbol} is {}, no value", quoted(&raw)),
                );
            }
            Number::NotANumber { raw } => {
                self.refuse(
                    Refusal::NotANumber,
                    format!("{} is {}", quoted(symbol), quoted(&raw)),
                );
            }
        }
    }

    /// The event counters of function 50, each on the channel of its number in the standard (ERC1 is 1).
    fn counters(&mut self, counters: &[u16]) {
        let (Some(quantity), Ok(at)) = (Quantity::named("counter"), self.stamp()) else {
            return;
        };
        for (channel, count) in (1..).zip(counters).take(COUNTERS.len()) {
            let measure = Measure {
                quantity,
                channel,
                scaling: Scaling::NONE,
                period: Duration::ZERO,
            };
            self.sample(&measure, f64::from(*count), at);
        }
    }

    fn state(&mut self, bits: u32) {
        let Ok(at) = self.stamp() else {
            return;
        };
        let class = self.stations.last().and_then(|last| last.class);
        for bit in state_bits() {
            let Some(quantity) = bit.quantity else { continue };
            let is_set = bits >> bit.bit & 1 == 1;
            // A station of another class has the bit and not the thing.
            if bit
                .class
                .as_ref()
                .is_some_and(|only| class.is_none_or(|class| class.name() != Some(only.as_str())))
            {
                if is_set {
                    self.unread("state_bit_of_another_class");
                }
                continue;
            }
            let measure = Measure {
                quantity,
                channel: bit.channel,
                scaling: Scaling::NONE,
                period: Duration::ZERO,
            };
            self.sample(&measure, f64::from(u8::from(is_set != bit.inverted)), at);
        }
        if state_bits().iter().fold(bits, |rest, bit| rest & !(1 << bit.bit)) != 0 {
            self.unread("reserved_state_bit");
        }
    }
}

/// Whether the standard has an observation time (F0F0) in messages of a function.
fn has_observation(function: u8) -> bool {
    matches!(function, 0x30..=0x34 | 0x37 | 0x3A)
}

/// A manual entry as text: GBK, of which ASCII is a part. What is no GBK becomes U+FFFD.
pub(super) fn manual_text(text: &[u8]) -> String {
    GBK.decode_without_bom_handling(text).0.into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::ProfileId;

    use super::*;
    use crate::hex;
    use crate::sl651::decode;

    const HOURLY: &str = "7E7E05001122334403E8340068020033170718110014F1F1001122334448F0F01707181005F4600500000014FFFFFFFFFF0000F0F017071811002619000040F0F01707181005F5C0000C000C001C00310031FFFFFFFFFFFFFFFFFFFF00310031F0F0170718110039230001049020190000403812109903F502";

    /// A frame of function `function` with these groups.
    fn said(function: u8, groups: &str, profile: Option<&Profile>, bases: &Bases) -> Vec<StationReadings> {
        let mut frame = Frame::decode(&hex::read(HOURLY.as_bytes()).unwrap()).unwrap();
        frame.function = function;
        frame.body.truncate(8);
        frame.body.extend(hex::read(groups.as_bytes()).unwrap());
        let view = decode(&frame.encode().unwrap()).unwrap();
        readings(&view.frame, &view.body, profile, bases)
    }

    fn lines(message: &Message) -> Vec<String> {
        let samples = message.samples.iter().map(|sample| {
            let value = sample
                .scaling
                .apply(sample.quantity, sample.value.number().unwrap());
            let at = sample.measured_at.map_or("none".into(), |at| at.to_string());
            format!(
                "{}#{} {:.3} {} {}s",
                sample.quantity,
                sample.channel,
                value.unwrap(),
                at.get(5..16).unwrap_or("none"),
                sample.period.unwrap().length.as_secs()
            )
        });
        let refused = message
            .refused
            .iter()
            .map(|refused| format!("{}: {}", refused.refusal, refused.detail));
        samples.chain(refused).collect()
    }

    #[test]
    fn an_hourly_report_has_slots_with_their_own_times() {
        let view = decode(&hex::read(HOURLY.as_bytes()).unwrap()).unwrap();
        let all = readings(&view.frame, &view.body, None, &Bases::default());
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].station.to_string().as_str(), all[0].class),
            ("0011223344", Some(StationClass(b'H')))
        );
        let lines = lines(&all[0].message);
        assert_eq!(lines.len(), 7 + 1 + 7 + 3 + 2);
        assert_eq!(lines[0], "rain#0 0.500 07-18T10:05 300s");
        assert_eq!(lines[6], "rain#0 0.000 07-18T11:00 300s");
        assert_eq!(lines[7], "rain_total#0 4.000 07-18T11:00 0s");
        assert_eq!(lines[10], "water_level_relative#0 0.280 07-18T10:15 0s");
        assert_eq!(lines[15], "water_level#0 10.490 07-18T11:00 0s");
        assert_eq!(lines[18], "sentinel: 5 of 12 values of F4 are missing");
        let based = readings(&view.frame, &view.body, None, &Bases([Some(10.0); 8]));
        assert_eq!(
            super::tests::lines(&based[0].message)[10],
            "water_level#0 10.280 07-18T10:15 0s"
        );
    }

    #[test]
    fn a_manual_entry_is_a_text() {
        // 水位正常, with a blank behind it.
        let all = said(
            0x35,
            "F1F1001122334448F0F01707181100F2F2CBAECEBBD5FDB3A320",
            None,
            &Bases::default(),
        );
        let [sample] = &all[0].message.samples[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            (sample.quantity.name(), &sample.value),
            ("manual_text", &Value::Text("水位正常".into()))
        );
        let all = said(0x35, "F2F22000", None, &Bases::default());
        assert_eq!(lines(&all[0].message), ["sentinel: the manual entry is empty"]);
        let all = said(0x36, "F3F3FFD8", None, &Bases::default());
        assert_eq!(all[0].message.unread, ["picture"]);
    }

    #[test]
    fn values_without_a_time_of_observation_are_marked() {
        let marks = |function, groups: &str| {
            let all = said(function, groups, None, &Bases::default());
            all[0].message.samples[0].quality
        };
        for function in [0x31, 0x32, 0x33, 0x34, 0x37, 0x3A] {
            let quality = marks(function, "39230001049020190000 40".replace(' ', "").as_str());
            assert_eq!(quality, Quality::STAMPED_SENT, "{function:02X}");
            assert!(quality.judgeable());
            let observed = marks(
                function,
                "F1F1001122334448F0F017071811003923000104 90"
                    .replace(' ', "")
                    .as_str(),
            );
            assert_eq!(observed, Quality::GOOD, "{function:02X}");
        }
        let tested = marks(0x30, "3923000104 90".replace(' ', "").as_str());
        assert_eq!(tested, Quality::MAINTENANCE.with(Quality::STAMPED_SENT));
    }

    #[test]
    fn every_bit_of_a_state_is_a_reading_or_named() {
        // Bits 9 and 10, and 12; of a river station, and of a pump station.
        let river = said(
            0x32,
            "F1F1001122334448F0F01707181100452000001600",
            None,
            &Bases::default(),
        );
        let lines_of_river = lines(&river[0].message);
        assert!(
            lines_of_river.contains(&"card_valid#0 1.000 07-18T11:00 0s".to_owned()),
            "{lines_of_river:?}"
        );
        assert_eq!(
            river[0].message.unread,
            ["state_bit_of_another_class", "reserved_state_bit"]
        );
        let pump = said(
            0x32,
            "F1F1001122334444F0F01707181100452000000400",
            None,
            &Bases::default(),
        );
        let lines_of_pump = lines(&pump[0].message);
        assert!(
            lines_of_pump.contains(&"pump_running#0 0.000 07-18T11:00 0s".to_owned()),
            "{lines_of_pump:?}"
        );
        assert!(pump[0].message.unread.is_empty());
    }

    #[test]
    fn values_have_units_periods_and_signs() {
        let groups = "F1F1001122334448F0F01707181100\
            1A19000012 1F19000345 FF112300000021 0211FF53 1211 0305 0818000812 581A010000 4511AAAA 3B23FFFFFFFF 271A12345B";
        let groups = groups.replace(' ', "");
        let all = said(0x32, &groups, None, &Bases::default());
        assert_eq!(
            lines(&all[0].message),
            [
                "rain_1h#0 1.200 07-18T11:00 3600s",
                "rain_24h#0 34.500 07-18T11:00 86400s",
                "temperature#0 -5.300 07-18T11:00 0s",
                "soil_moisture#30 30.500 07-18T11:00 0s",
                "pressure#0 812.000 07-18T11:00 0s",
                "pipe_pressure#0 0.100 07-18T11:00 0s",
                "unknown_quantity: element FF11 is neither in the dictionary nor in the profile",
                "unknown_quantity: element 45 (ZT): bits, each with its own meaning",
                "sentinel: headwater_level (3B) is FFFFFFFF, no value",
                "not_a_number: flow (27) is 12345B",
            ]
        );
    }

    #[test]
    fn a_profile_names_vendors_elements() {
        let yaml = "version: 1\nname: {zh: 站, en: Station}\nprotocol: http\nkeys:\n  FF11: {quantity: flow_velocity}\n";
        let profile = Profile::parse(&ProfileId::new("p").unwrap(), yaml).unwrap();
        let groups = "F1F1001122334448F0F01707181100FF112300000021";
        let all = said(0x32, groups, Some(&profile), &Bases::default());
        assert_eq!(lines(&all[0].message), ["flow_velocity#0 0.021 07-18T11:00 0s"]);
    }

    #[test]
    fn a_series_goes_by_its_step_and_two_stations_stay_apart() {
        let groups = "F1F1001122334448F0F017071808000418000100392300001000FFFFFFFF00001020";
        let all = said(0x31, groups, None, &Bases::default());
        assert_eq!(
            lines(&all[0].message),
            [
                "water_level#0 1.000 07-18T08:00 0s",
                "water_level#0 1.020 07-18T10:00 0s",
                "sentinel: water_level (39) is FFFFFFFF, no value",
            ]
        );
        let two = "F1F1001122334448F0F01707181100392300001000F1F1001122334550F0F01707181100201900005";
        let all = said(0x32, &format!("{two}5"), None, &Bases::default());
        assert_eq!(all.len(), 2);
        assert_eq!(lines(&all[1].message), ["rain_today#0 5.500 07-18T11:00 0s"]);
        let past = said(0x38, groups, None, &Bases::default());
        assert!(past[0].message.samples.iter().all(|sample| sample.resent));
    }

    #[test]
    fn a_wrong_time_or_step_takes_its_values_with_it() {
        let wrong = said(
            0x32,
            "F1F1001122334448F0F01713181100392300001000",
            None,
            &Bases::default(),
        );
        assert_eq!(
            lines(&wrong[0].message),
            ["wrong_shape: the observation time 1713181100 is no time"]
        );
        let groups = "F1F1001122334448F0F0170718080004180101003923000010000000102000001020";
        let wrong = said(0x31, groups, None, &Bases::default());
        assert_eq!(wrong[0].message.refused.len(), 2);
        assert!(wrong[0].message.samples.is_empty());
    }

    #[test]
    fn state_bits_are_states() {
        let all = said(0x46, "F1F10011223344452000000083", None, &Bases::default());
        let lines = lines(&all[0].message);
        assert_eq!(lines[0], "station_alarm#0 1.000 07-18T11:00 0s");
        assert_eq!(lines[2], "station_alarm#2 0.000 07-18T11:00 0s");
        assert!(lines.contains(&"cabinet_open#0 0.000 07-18T11:00 0s".to_owned()));
        assert!(
            !lines.iter().any(|line| line.starts_with("pump_running")),
            "not a pump station"
        );
    }
}
