//! What people found values to be: reviews of spans of a series, corrections of it, and times of sand and dust.
//!
//! Both are acts over a series and a span of measuring times, and change nothing of what the station sent: they are
//! looked up when values are read. Of several that cover a time the one recorded last holds.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DivisionCode, SeriesKey, Timestamp};

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
    /// Multiplied first; finite and not 0.
    pub factor: f64,
    /// Added then, in the quantity's canonical unit; finite.
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
