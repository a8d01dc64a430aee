//! What admission remembers: of each series its last values and when it was heard, of each device its
//! clock.
//!
//! Part of the fold: made of the journal alone, kept in the checkpoint, the same in every replay.

use std::time::Duration;

use foldhash::HashMap;
use onemap_model::quantity::Family;
use onemap_model::{DeviceId, Quality, Quantity, Timestamp};

use onemap_wire::profile::Limits;

use super::clock::Clock;

mod kept;

/// A value is stuck only after it was said this often: two equal values far apart say nothing.
const N_STUCK: u32 = 3;
/// A rate is a change within one minute or longer: what happens between two samples of a fast sensor is
/// not held against its allowance for a minute.
const MINUTE_MS: i64 = 60_000;

/// What is remembered of all devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    devices: HashMap<DeviceId, DeviceWatch>,
}

/// What is remembered of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceWatch {
    /// When its last live value came.
    heard_at: i64,
    /// The newest time it measured at, live.
    measured_at: i64,
    pub(super) clock: Clock,
    /// The clock was off beyond the tolerance at its last message.
    pub(super) is_off: bool,
    /// Quantity and channel of its series, in this order; apart, so that one is found by few looks at memory.
    names: Vec<(Quantity, u16)>,
    /// What is remembered of each.
    series: Vec<SeriesWatch>,
}

/// What is remembered of one series. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct SeriesWatch {
    /// When its last new live value came.
    heard_at: i64,
    /// Seconds between its values where its profile's key says so; 0 is not said.
    cadence_s: u32,
    /// Newest measuring time, and the value then (NaN for texts).
    last_at: i64,
    last: f64,
    /// Time of the first of the values that are all like the last, and how many they are.
    moved_at: i64,
    n_same: u32,
    /// The last value that could be judged; NaN before the first.
    base_at: i64,
    base: f64,
}

const NEVER: i64 = i64::MIN;

impl Default for DeviceWatch {
    fn default() -> Self {
        Self {
            heard_at: NEVER,
            measured_at: NEVER,
            clock: Clock::default(),
            is_off: false,
            names: Vec::new(),
            series: Vec::new(),
        }
    }
}

impl Watch {
    /// The memory of one device, made when there is none.
    pub(super) fn device(&mut self, id: &DeviceId) -> &mut DeviceWatch {
        if !self.devices.contains_key(id.as_str()) {
            self.devices.insert(id.clone(), DeviceWatch::default());
        }
        self.devices
            .get_mut(id.as_str())
            .expect("it was put there in the lines before")
    }

    /// What is known of a device.
    pub fn of(&self, id: &str) -> Option<&DeviceWatch> {
        self.devices.get(id)
    }

    /// Devices with what is known of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &DeviceWatch)> {
        self.devices.iter()
    }

    /// Devices whose clock is off beyond their tolerance.
    pub fn n_clocks_off(&self) -> usize {
        self.devices.values().filter(|device| device.is_off).count()
    }
}

impl DeviceWatch {
    /// When its last live value came.
    pub fn heard_at(&self) -> Option<Timestamp> {
        known(self.heard_at)
    }
    /// The newest time it measured at, live.
    pub fn measured_at(&self) -> Option<Timestamp> {
        known(self.measured_at)
    }
    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    /// Its clock was off beyond the tolerance at its last message.
    pub fn is_off(&self) -> bool {
        self.is_off
    }
    /// When the last new live value of a series came.
    pub fn series_heard_at(&self, quantity: Quantity, channel: u16) -> Option<Timestamp> {
        self.series(quantity, channel).0
    }

    /// [`Self::series_heard_at`], and the seconds between its values where its profile's key says so.
    pub fn series(&self, quantity: Quantity, channel: u16) -> (Option<Timestamp>, Option<u32>) {
        let Ok(at) = self.find(quantity, channel) else {
            return (None, None);
        };
        let series = &self.series[at];
        (known(series.heard_at), Some(series.cadence_s).filter(|s| *s > 0))
    }

    fn find(&self, quantity: Quantity, channel: u16) -> Result<usize, usize> {
        self.names.binary_search(&(quantity, channel))
    }

    fn insert(&mut self, place: usize, name: (Quantity, u16)) {
        self.names.insert(place, name);
        self.series.insert(place, SeriesWatch::new());
    }

    /// Whether the device may speak of a series: one that is known, or one more of at most `most`.
    pub(super) fn enter(&mut self, quantity: Quantity, channel: u16, most: usize) -> bool {
        match self.find(quantity, channel) {
            Ok(_) => true,
            Err(place) if self.series.len() < most => {
                self.insert(place, (quantity, channel));
                true
            }
            Err(_) => false,
        }
    }

    /// Takes a live value and says how it moved: the marks of a jump and of a stuck sensor. `quality` are
    /// its other marks. A value that is not newer than the last says nothing.
    pub(super) fn note(
        &mut self,
        (quantity, channel): (Quantity, u16),
        (measured_at, received_at): (Timestamp, Timestamp),
        value: f64,
        quality: Quality,
        every_s: u32,
        limits: Option<&Limits>,
    ) -> Quality {
        let (at, received) = (measured_at.ms(), received_at.ms());
        let place = match self.find(quantity, channel) {
            Ok(place) => place,
            Err(place) => {
                self.insert(place, (quantity, channel));
                place
            }
        };
        let series = &mut self.series[place];
        if at <= series.last_at {
            return Quality::GOOD;
        }
        self.heard_at = self.heard_at.max(received);
        self.measured_at = self.measured_at.max(at);
        series.heard_at = series.heard_at.max(received);
        series.last_at = at;
        if value == series.last {
            series.n_same = series.n_same.saturating_add(1);
        } else {
            (series.last, series.moved_at, series.n_same) = (value, at, 1);
        }
        let mut moves = Quality::GOOD;
        series.cadence_s = every_s;
        if let Some(limits) = limits {
            if series.jumps(quantity, at, value, limits.rate_per_min) {
                moves = moves.with(Quality::JUMP);
            }
            if series.is_stuck(quantity, at, limits.stuck_after) {
                moves = moves.with(Quality::STUCK);
            }
        }
        // A stuck value is still where the next change is counted from.
        if quality.with(moves).without(Quality::STUCK).judgeable() && value.is_finite() {
            (series.base_at, series.base) = (at, value);
        }
        moves
    }
}

impl SeriesWatch {
    fn new() -> Self {
        Self {
            heard_at: NEVER,
            cadence_s: 0,
            last_at: NEVER,
            last: f64::NAN,
            moved_at: NEVER,
            n_same: 0,
            base_at: NEVER,
            base: f64::NAN,
        }
    }
    /// Whether the change since the last value that could be judged is more than its rate allows. So a
    /// spike is marked and the value after it is not, and a true step is believed once so much time has
    /// gone by that it could have come about.
    fn jumps(&self, quantity: Quantity, at: i64, value: f64, rate_per_min: Option<f64>) -> bool {
        let Some(rate) = rate_per_min else { return false };
        let minutes = at.saturating_sub(self.base_at).max(MINUTE_MS) as f64 / MINUTE_MS as f64;
        !quantity.is_state() && (value - self.base).abs() > rate * minutes
    }
    fn is_stuck(&self, quantity: Quantity, at: i64, stuck_after: Option<Duration>) -> bool {
        let Some(after) = stuck_after else { return false };
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        self.n_same >= N_STUCK && at.saturating_sub(self.moved_at) >= after && moves(quantity, self.last)
    }
}

/// Whether a quantity at this value is bound to move before long. States, counters and totals stand still
/// for as long as nothing happens, and it may not rain for months.
fn moves(quantity: Quantity, value: f64) -> bool {
    const TOTALS: [&str; 2] = ["rain_total", "energy"];
    const AT_REST: [&str; 8] = [
        "rain",
        "evaporation",
        "flow",
        "flow_velocity",
        "wind_speed",
        "smoke",
        "power",
        "current",
    ];
    let definition = quantity.definition();
    let name = definition.name.as_str();
    !(value.is_nan()
        || quantity.is_state()
        || definition.family == Family::Technical
        || TOTALS.contains(&name)
        || (value == 0.0 && AT_REST.contains(&name)))
}

fn known(at: i64) -> Option<Timestamp> {
    (at != NEVER).then_some(Timestamp::from_ms(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_795_392_000_000;

    fn play(quantity: &str, limits: &Limits, values: &[(i64, f64)]) -> Vec<String> {
        let mut device = DeviceWatch::default();
        let quantity = Quantity::named(quantity).unwrap();
        let at = |seconds: i64| Timestamp::from_ms(START + seconds * 1000);
        let mut marks = Vec::new();
        for (seconds, value) in values {
            let times = (at(*seconds), at(*seconds));
            let moves = device.note((quantity, 0), times, *value, Quality::GOOD, 0, Some(limits));
            marks.push(moves.names().collect::<Vec<_>>().join("+"));
        }
        marks
    }

    fn rate(rate_per_min: f64) -> Limits {
        Limits {
            rate_per_min: Some(rate_per_min),
            ..Limits::default()
        }
    }

    fn stuck(seconds: u64) -> Limits {
        Limits {
            stuck_after: Some(Duration::from_secs(seconds)),
            ..Limits::default()
        }
    }

    #[test]
    fn a_spike_is_a_jump_and_the_value_after_it_is_none() {
        let level = [(0, 1.0), (60, 1.5), (120, 9.0), (180, 1.6), (240, 2.6)];
        assert_eq!(
            play("water_level", &rate(0.5), &level),
            ["", "", "jump", "", "jump"]
        );
        // Exactly the rate is no jump; less than a minute counts as one.
        assert_eq!(play("water_level", &rate(0.5), &[(0, 1.0), (1, 1.5)]), ["", ""]);
        assert_eq!(play("manhole_open", &rate(0.5), &[(0, 0.0), (60, 1.0)]), ["", ""]);
    }

    #[test]
    fn a_true_step_is_believed_when_enough_time_has_gone_by() {
        let step: Vec<_> = [(0, 1.0)]
            .into_iter()
            .chain((1..=5).map(|i| (i * 60, 3.0)))
            .collect();
        assert_eq!(
            play("water_level", &rate(0.5), &step),
            ["", "jump", "jump", "jump", "", ""]
        );
    }

    #[test]
    fn late_values_neither_jump_nor_become_what_the_next_is_measured_by() {
        let values = [(60, 1.0), (0, 50.0), (60, 50.0), (120, 1.2)];
        assert_eq!(play("water_level", &rate(0.5), &values), ["", "", "", ""]);
    }

    #[test]
    fn only_what_is_bound_to_move_gets_stuck() {
        let same = |value| {
            [
                (0, value),
                (600, value),
                (1200, value),
                (1800, value + 0.1),
                (2400, value),
            ]
        };
        let marks = ["", "", "stuck", "", ""];
        assert_eq!(play("pm2_5", &stuck(1200), &same(35.0)), marks);
        assert_eq!(play("rain", &stuck(1200), &same(0.2)), marks);
        // A river that has run dry is a matter for a rule, a gauge that says so for hours is none.
        for (quantity, value) in [
            ("rain", 0.0),
            ("manhole_open", 1.0),
            ("counter", 7.0),
            ("battery", 90.0),
            ("rain_total", 12.0),
        ] {
            assert_eq!(play(quantity, &stuck(1200), &same(value)), [""; 5], "{quantity}");
        }
        // Two equal values with an outage between them are none.
        assert_eq!(play("pm2_5", &stuck(1200), &[(0, 35.0), (9000, 35.0)]), ["", ""]);
    }

    #[test]
    fn memory_reads_back_as_written_and_damage_is_told() {
        let mut watch = Watch::default();
        for (name, n) in [("b", 3), ("a", 1)] {
            let device = watch.device(&DeviceId::new(name).unwrap());
            for i in 0..n {
                let at = Timestamp::from_ms(START + i);
                let series = (Quantity::named("pm10").unwrap(), i as u16);
                device.note(series, (at, at), 5.0, Quality::GOOD, 0, None);
                device.clock.note(at, at);
            }
        }
        let bytes = watch.encode();
        assert_eq!(Watch::decode(&bytes), Some(watch.clone()));
        // As it was written before its numbers were steps.
        let whole = include_bytes!("../../tests/fixtures/watch-1");
        assert_eq!(Watch::decode(whole), Some(watch));
        for cut in 1..bytes.len() {
            // Cut between two devices it is a shorter memory.
            assert!(
                Watch::decode(&bytes[..cut]).is_none_or(|w| w.devices.len() < 2),
                "{cut}"
            );
        }
        assert_eq!(Watch::decode(&[]), None);
    }

    proptest! {
        #[test]
        fn every_memory_reads_back(heard: i64, steps in vec((0u16..3, any::<i64>(), any::<i64>(), any::<f64>(), any::<f64>(), any::<u32>()), 0..6)) {
            let mut watch = Watch::default();
            let device = watch.device(&DeviceId::new("a").unwrap());
            (device.heard_at, device.measured_at) = (heard, heard.wrapping_mul(3));
            for (channel, at, base_at, last, base, n_same) in steps {
                let name = (Quantity::named("pm10").unwrap(), channel);
                if let Err(place) = device.names.binary_search(&name) {
                    device.insert(place, name);
                    device.series[place] = SeriesWatch {
                        heard_at: at,
                        cadence_s: n_same,
                        last_at: at.wrapping_add(1),
                        last,
                        moved_at: base_at,
                        n_same,
                        base_at,
                        base,
                    };
                }
            }
            let bytes = watch.encode();
            let back = Watch::decode(&bytes).unwrap();
            prop_assert_eq!(back.encode(), bytes);
            prop_assert_eq!(format!("{back:?}"), format!("{watch:?}"));
        }
    }
}
