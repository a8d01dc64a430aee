//! What people found values to be: reviews of spans of a series, corrections of it, and times of sand and dust.
//!
//! Both are acts over a series and a span of measuring times, and change nothing of what the station sent: they are
//! looked up when values are read. Of several that cover a time the one recorded last holds.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DivisionCode, Quantity, SeriesKey, Timestamp};

/// Smallest and largest size of a correction's factor: a drift is within a few percent of 1, a unit that was taken for
/// another makes a thousand.
pub const FACTORS: [f64; 2] = [0.001, 1000.0];
/// Largest offset of a quantity without a plausible range, in its canonical unit; of one with a range it is as much as
/// the range is wide.
pub const MAX_OFFSET: f64 = 1e9;

/// Why a correction or a review is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The span holds no time.
    #[error("the span from {from} to before {to} holds no time")]
    Span {
        /// First measuring time.
        from: Timestamp,
        /// The first behind it.
        to: Timestamp,
    },
    /// States are not numbers that could be off.
    #[error("{quantity} is a state; states are reviewed, not corrected")]
    State {
        /// Of what.
        quantity: Quantity,
    },
    /// Texts are no numbers.
    #[error("{quantity} is a text; texts are reviewed as valid or invalid, not corrected or replaced")]
    Text {
        /// Of what.
        quantity: Quantity,
    },
    /// What is worked out here follows from other values.
    #[error("{quantity} on channel {channel} is worked out of other values: correct these")]
    Derived {
        /// Of what.
        quantity: Quantity,
        /// On which channel.
        channel: u16,
    },
    /// A factor that no instrument is off by.
    #[error("factor {factor}: its size is from {} to {}", FACTORS[0], FACTORS[1])]
    Factor {
        /// What was given.
        factor: f64,
    },
    /// It would turn all values of what cannot be negative.
    #[error("factor {factor}: {quantity} is not negative")]
    Turned {
        /// What was given.
        factor: f64,
        /// Of what.
        quantity: Quantity,
    },
    /// An offset that is wider than all that the quantity can be.
    #[error("offset {offset}: at most {most} {} of {quantity}, up or down", quantity.definition().unit)]
    Offset {
        /// What was given.
        offset: f64,
        /// The widest.
        most: f64,
        /// Of what.
        quantity: Quantity,
    },
    /// A value that the quantity cannot have.
    #[error("{value} {} is outside of what {quantity} can be{}", quantity.definition().unit, range_of(*quantity))]
    Value {
        /// What was given.
        value: f64,
        /// Of what.
        quantity: Quantity,
    },
    /// A code without a name.
    #[error("{value} is no state of {quantity}")]
    Code {
        /// What was given.
        value: f64,
        /// Of what.
        quantity: Quantity,
    },
}

fn range_of(quantity: Quantity) -> String {
    match quantity.definition().range {
        Some([least, most]) => format!(", {least} to {most}"),
        None => String::new(),
    }
}

fn check_span(from: Timestamp, to: Timestamp) -> Result<(), ReviewError> {
    match from < to {
        true => Ok(()),
        false => Err(ReviewError::Span { from, to }),
    }
}

/// What a reviewer says of the values in a span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// They are true as they stand, corrected where there is a correction, whatever marks they carry.
    Valid,
    /// They say nothing of what was to be measured.
    Invalid,
    /// Each of them stands for this value, in the quantity's canonical unit.
    Replaced {
        /// Finite.
        value: f64,
    },
    /// They may be wrong: they stay what they are, and no limit is judged by them.
    Doubted,
    /// Nobody has reviewed them: what was said of the span before no longer holds.
    Withdrawn,
}

impl Verdict {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Replaced { .. } => "replaced",
            Self::Doubted => "doubted",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A review of the values of a series that were measured in a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Whose values.
    #[serde(flatten)]
    pub series: SeriesKey,
    /// First measuring time.
    pub from: Timestamp,
    /// The first measuring time behind the span, itself outside.
    pub to: Timestamp,
    /// What they are.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The person's name as given.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Review {
    /// Whether its span holds a time and a value in place of the others is one that the quantity can have: within its
    /// plausible range, or one of its states.
    ///
    /// # Errors
    /// [`ReviewError`] with the first fault.
    pub fn check(&self) -> Result<(), ReviewError> {
        check_span(self.from, self.to)?;
        let Verdict::Replaced { value } = self.verdict else {
            return Ok(());
        };
        let quantity = self.series.quantity;
        let known = quantity.definition();
        if known.text {
            return Err(ReviewError::Text { quantity });
        }
        if !value.is_finite() || !quantity.plausible(value) {
            return Err(ReviewError::Value { value, quantity });
        }
        let is_named = known.states.iter().any(|state| f64::from(state.code) == value);
        if quantity.is_state() && !is_named {
            return Err(ReviewError::Code { value, quantity });
        }
        Ok(())
    }
}

/// A correction of a series: `value × factor + offset` (drift of a calibration, a gauge's zero that moved).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Whose values.
    #[serde(flatten)]
    pub series: SeriesKey,
    /// First measuring time.
    pub from: Timestamp,
    /// The first measuring time behind it, itself outside; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Multiplied first; its size within [`FACTORS`], below 0 only of what can be negative.
    pub factor: f64,
    /// Added then, in the quantity's canonical unit; no wider than the plausible range, else than [`MAX_OFFSET`].
    pub offset: f64,
    /// The person's name as given.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Correction {
    /// The corrected value. What the product of two decimal numbers has behind its ninth decimal is no part of it.
    ///
    /// ```
    /// # use onemap_model::{Correction, DeviceId, Quantity, SeriesKey, Timestamp};
    /// # let series = SeriesKey {
    /// #     device: DeviceId::new("gauge-1").unwrap(), quantity: Quantity::named("water_level").unwrap(), channel: 0,
    /// # };
    /// # let (name, reason) = ("王".to_owned(), "复测".to_owned());
    /// # let from = Timestamp::from_ms(0);
    /// let zero_moved = Correction { series, from, to: None, factor: 1.0, offset: -0.12, name, reason };
    /// assert_eq!(zero_moved.apply(10.49), 10.37);
    /// ```
    pub fn apply(&self, value: f64) -> f64 {
        const EXACT_BELOW: f64 = 1e6;
        let corrected = value * self.factor + self.offset;
        if corrected.abs() < EXACT_BELOW {
            (corrected * 1e9).round() / 1e9
        } else {
            corrected
        }
    }
    /// The corrected value, and whether it is one that the quantity can have: finite and within its plausible range.
    pub fn corrected(&self, value: f64) -> (f64, bool) {
        let corrected = self.apply(value);
        let is_plausible = corrected.is_finite() && self.series.quantity.plausible(corrected);
        (corrected, is_plausible)
    }

    /// Whether its span holds a time, its series is of numbers that were measured, and factor and offset are such that
    /// an instrument can be off by them.
    ///
    /// # Errors
    /// [`ReviewError`] with the first fault.
    pub fn check(&self) -> Result<(), ReviewError> {
        check_span(self.from, self.end())?;
        let SeriesKey {
            quantity, channel, ..
        } = self.series;
        let known = quantity.definition();
        if quantity.is_state() {
            return Err(ReviewError::State { quantity });
        }
        if quantity.is_derived_on(channel) {
            return Err(ReviewError::Derived { quantity, channel });
        }
        if known.text {
            return Err(ReviewError::Text { quantity });
        }
        let (factor, offset) = (self.factor, self.offset);
        if !(FACTORS[0]..=FACTORS[1]).contains(&factor.abs()) {
            return Err(ReviewError::Factor { factor });
        }
        if factor < 0.0 && !quantity.possible(-1.0) {
            return Err(ReviewError::Turned { factor, quantity });
        }
        let most = known.range.map_or(MAX_OFFSET, |[low, high]| high - low);
        if !(-most..=most).contains(&offset) {
            return Err(ReviewError::Offset {
                offset,
                most,
                quantity,
            });
        }
        Ok(())
    }

    /// The first measuring time behind it; the end of time while it goes on.
    pub fn end(&self) -> Timestamp {
        self.to.unwrap_or(Timestamp::from_ms(i64::MAX))
    }
}

/// Where sand and dust were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DustPlace {
    /// In a division.
    Division(DivisionCode),
    /// At one device.
    Device(DeviceId),
}

/// A time of sand and dust (沙尘天气影响) as the authority has named it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dust {
    /// Where.
    #[serde(flatten)]
    pub place: DustPlace,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it.
    pub to: Timestamp,
    /// The notice that names it.
    pub source: String,
    /// The person's name as given.
    pub name: String,
}

impl Dust {
    /// Whether its span holds a time.
    ///
    /// # Errors
    /// [`ReviewError::Span`].
    pub fn check(&self) -> Result<(), ReviewError> {
        check_span(self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::{Act, Scope, Verb};

    #[test]
    fn an_act_spells_a_review_in_one_level() {
        let text = json!({
            "at": "2026-11-26T10:00:00+08:00",
            "by": {"actor": "desk", "role": "officer", "division": null, "departments": []},
            "verb": "review", "device": "air-1", "quantity": "pm2_5", "ch": 20,
            "from": "2026-11-25T09:00:00+08:00", "to": "2026-11-25T10:00:00+08:00",
            "verdict": "replaced", "value": 35.1, "name": "王工", "reason": "零点漂移",
        });
        let act: Act = serde_json::from_value(text.clone()).unwrap();
        let Verb::Review(review) = &act.verb else {
            panic!("{act:?}");
        };
        assert_eq!(review.verdict, Verdict::Replaced { value: 35.1 });
        assert_eq!(review.series.to_string(), "air-1/pm2_5/20");
        let read: Act = serde_json::from_str(&serde_json::to_string(&act).unwrap()).unwrap();
        assert_eq!(read, act);
        let mut bad = text;
        bad["verdict"] = "fine".into();
        assert!(serde_json::from_value::<Act>(bad).is_err());
    }

    fn correction(quantity: &str, channel: u16, factor: f64, offset: f64) -> Correction {
        let series = json!({"device": "g", "quantity": quantity, "ch": channel});
        Correction {
            series: serde_json::from_value(series).unwrap(),
            from: Timestamp::from_ms(5),
            to: None,
            factor,
            offset,
            name: "王".into(),
            reason: "复测".into(),
        }
    }

    #[test]
    fn a_correction_is_within_what_an_instrument_can_be_off_by() {
        for (quantity, channel, factor, offset, want) in [
            ("pm2_5", 0, 1.0, 0.0, ""),
            ("pm2_5", 0, 1000.0, 2000.0, ""),
            ("pm2_5", 0, 0.001, -2000.0, ""),
            (
                "pm2_5",
                0,
                1000.1,
                0.0,
                "factor 1000.1: its size is from 0.001 to 1000",
            ),
            ("pm2_5", 0, 0.0, 0.0, "factor 0: its size is from 0.001 to 1000"),
            ("pm2_5", 0, f64::NAN, 0.0, "factor NaN: its size"),
            ("pm2_5", 0, f64::INFINITY, 0.0, "factor inf: its size"),
            ("pm2_5", 0, -1.0, 0.0, "factor -1: pm2_5 is not negative"),
            ("flow", 0, -1.0, 0.0, ""),
            (
                "pm2_5",
                0,
                1.0,
                5000.1,
                "offset 5000.1: at most 5000 ug/m3 of pm2_5, up or down",
            ),
            ("pm2_5", 0, 1.0, f64::NAN, "offset NaN: at most"),
            ("water_level", 0, 1.0, 2261.3, ""),
            ("sediment_load", 0, 1.0, -1e9, ""),
            (
                "sediment_load",
                0,
                1.0,
                -2e9,
                "offset -2000000000: at most 1000000000 t of sediment_load",
            ),
            ("fire_alarm", 0, 1.0, 1.0, "fire_alarm is a state"),
            (
                "aqi",
                20,
                1.0,
                1.0,
                "aqi on channel 20 is worked out of other values",
            ),
            ("aqi_primary", 0, 1.0, 1.0, "aqi_primary is a text"),
            ("flow", 50, 1.0, 1.0, "flow on channel 50 is worked out"),
        ] {
            let said = correction(quantity, channel, factor, offset).check();
            let said = said.map_or_else(|e| e.to_string(), |()| String::new());
            let is_as_wanted = if want.is_empty() {
                said.is_empty()
            } else {
                said.starts_with(want)
            };
            assert!(is_as_wanted, "{quantity}/{channel} {factor} {offset}: {said}");
        }
        let mut no_time = correction("pm2_5", 0, 1.0, 1.0);
        no_time.to = Some(no_time.from);
        assert!(
            no_time
                .check()
                .unwrap_err()
                .to_string()
                .ends_with("holds no time")
        );
    }

    #[test]
    fn what_a_correction_makes_is_a_value_or_none() {
        let zero = correction("pm2_5", 0, 1.0, -30.0);
        assert_eq!(zero.corrected(40.0), (10.0, true));
        assert_eq!(zero.corrected(30.0), (0.0, true));
        assert_eq!(zero.corrected(29.9), (-0.1, false));
        assert_eq!(zero.corrected(5030.1), (5000.1, false));
        assert_eq!(
            correction("counter", 0, 1000.0, 0.0).corrected(1e308),
            (f64::INFINITY, false)
        );
    }

    #[test]
    fn a_value_in_place_of_others_is_one_that_the_quantity_can_have() {
        let check = |quantity: &str, value: f64| {
            let Correction {
                series,
                from,
                name,
                reason,
                ..
            } = correction(quantity, 0, 1.0, 0.0);
            let (to, verdict) = (Timestamp::from_ms(6), Verdict::Replaced { value });
            let review = Review {
                series,
                from,
                to,
                verdict,
                name,
                reason,
            };
            review.check().map_or_else(|e| e.to_string(), |()| String::new())
        };
        for (quantity, value, want) in [
            ("pm2_5", 0.0, ""),
            (
                "pm2_5",
                -0.1,
                "-0.1 ug/m3 is outside of what pm2_5 can be, 0 to 5000",
            ),
            (
                "sediment_load",
                f64::INFINITY,
                "inf t is outside of what sediment_load can be",
            ),
            ("fire_alarm", 1.0, ""),
            ("fire_alarm", 77.0, "77 is no state of fire_alarm"),
            (
                "aqi_primary",
                1.0,
                "aqi_primary is a text; texts are reviewed as valid or invalid, not corrected or replaced",
            ),
        ] {
            assert_eq!(check(quantity, value), want, "{quantity} {value}");
        }
    }

    #[test]
    fn an_open_correction_reads_back() {
        let series = serde_json::from_value(json!({"device": "g", "quantity": "water_level"})).unwrap();
        let correction = Correction {
            series,
            from: Timestamp::from_ms(5),
            to: None,
            factor: 1.02,
            offset: 0.1,
            name: "王".into(),
            reason: "复测".into(),
        };
        assert_eq!(correction.end().ms(), i64::MAX);
        assert_eq!(correction.apply(10.0), 10.3);
        assert_eq!(correction.apply(2e9), 2e9 * 1.02 + 0.1);
        let act = Act {
            at: Timestamp::from_ms(7),
            by: Scope::local("x"),
            verb: Verb::Correct(Box::new(correction)),
        };
        let read: Act = serde_json::from_str(&serde_json::to_string(&act).unwrap()).unwrap();
        assert_eq!(read, act);
    }
}
