//! Forecasts as they were issued.
//!
//! What a forecast said is never changed: the next one is another. So what it was worth can be found later from what came,
//! by whoever made it.

use serde::{Deserialize, Serialize};

use crate::{SeriesKey, Timestamp};

/// Most leads of one forecast.
pub const MAX_LEADS: usize = 1_000;
/// Most quantiles of one lead, and most thresholds.
pub const MAX_LEVELS: usize = 32;
/// Characters of the name of who made it.
pub const MAX_SOURCE: usize = 64;
/// Characters of the name of a model.
pub const MAX_MODEL: usize = 200;
/// Beyond this no quantity has a value, in any unit.
const MAX_VALUE: f64 = 1e12;
/// A forecast reaches at most so far ahead: 400 days.
pub const MAX_LEAD_S: u32 = 400 * 86_400;
/// Seconds of the widest grid: a month.
pub const MAX_STEP_S: u32 = 31 * 86_400;
/// Notes of one forecast, and characters of each.
pub const MAX_NOTES: usize = 32;
/// Characters of a note.
pub const MAX_NOTE: usize = 500;

/// What the server's own forecasts have as their source.
pub const OWN: &str = "onemap";

/// What a series does where a forecast begins; intervals are kept apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// It rises faster than it mostly does.
    Rising,
    /// Rain has fallen, or it stands high.
    Wet,
    /// Neither.
    Steady,
}

impl Regime {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Wet => "wet",
            Self::Steady => "steady",
        }
    }
}

/// How likely a value is over a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceedance {
    /// In the quantity's unit.
    pub threshold: f64,
    /// 0 to 1.
    pub probability: f64,
    /// Whether that is enough to warn, by who made it.
    pub warns: bool,
}

/// What is said of one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lead {
    /// The time that the value is of.
    pub at: Timestamp,
    /// The one value: the mean, where a distribution is given.
    pub value: f64,
    /// The value that is exceeded half of the time; the same as `value` where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// Probability and the value that is not exceeded with it, both ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<(f64, f64)>,
    /// By threshold, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceed: Vec<Exceedance>,
}

/// A time ahead of which the forecaster has nothing to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silent {
    /// Seconds after the origin.
    pub lead_s: u32,
    /// Why, as people read it.
    pub why: String,
}

/// What one input moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Influence {
    /// Seconds after the origin.
    pub lead_s: u32,
    /// The input's series, or what else it is called.
    pub input: String,
    /// By how much, in the quantity's unit.
    pub by: f64,
}

/// A forecast of a series as it was issued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Of which series.
    pub series: SeriesKey,
    /// Who made it: [`OWN`], or whom the server has it from.
    pub source: String,
    /// Which model, where it was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// When it was issued by who made it.
    pub issued_at: Timestamp,
    /// The time of the newest value that it knows: leads are counted from it.
    pub origin: Timestamp,
    /// The value then, which is what persistence says of every lead; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_origin: Option<f64>,
    /// Seconds of the grid that it was made on: what came is looked for within half of it. 0 is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step_s: u32,
    /// What the series did at the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regime: Option<Regime>,
    /// By time, ascending.
    pub leads: Vec<Lead>,
    /// Where it says nothing, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
    /// What moved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub influences: Vec<Influence>,
    /// What else its maker has to say: inputs that are gone, values that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Characters of a name that are not seen: it would look like another.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_number(value: f64) -> bool {
    value.abs() <= MAX_VALUE
}

/// Whether a name reads as the server's own: in other letters that look like these, with signs between them, or as the screen calls it.
pub fn reads_as_own(source: &str) -> bool {
    let lower = source.to_lowercase();
    let letters: String = lower.chars().filter(|c| c.is_alphanumeric()).map(plain).collect();
    letters == OWN || OWN_SHOWN.contains(&letters.as_str())
}

/// What the screen calls the server's own forecasts, as [`reads_as_own`] compares.
const OWN_SHOWN: [&str; 2] = ["本系统", "thissystem"];

/// The letter of [`OWN`] that another looks like.
fn plain(c: char) -> char {
    match c {
        'ａ'..='ｚ' => char::from(b'a' + (c as u32 - 'ａ' as u32) as u8),
        'о' | 'ο' | '０' | '0' | 'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'օ' => 'o',
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ո' => 'n',
        'е' | 'ε' | 'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'м' | 'ṁ' | 'ṃ' => 'm',
        'а' | 'α' | 'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'р' | 'ρ' | 'þ' => 'p',
        _ => c,
    }
}

/// Why a forecast is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// The name of who made it.
    #[error("source has 1 to {MAX_SOURCE} characters, no space at its ends and none that is not seen")]
    Source,
    /// What its maker calls the model.
    #[error("model has at most {MAX_MODEL} characters, none that is not seen")]
    Model,
    /// It says nothing, or too much.
    #[error("leads are 1 to {MAX_LEADS}, not {n}")]
    Leads {
        /// How many there are.
        n: usize,
    },
    /// A lead's time.
    #[error("lead {index}: at lies after the origin and the lead before it, and within {} days", MAX_LEAD_S / 86_400)]
    Time {
        /// From 0.
        index: usize,
    },
    /// A lead's numbers.
    #[error("lead {index}: {what}")]
    Number {
        /// From 0.
        index: usize,
        /// Which, and what is wrong with it.
        what: &'static str,
    },
    /// Its grid.
    #[error("step_s is at most {MAX_STEP_S}")]
    Step,
    /// What else its maker has to say.
    #[error("at most {MAX_NOTES} notes of {MAX_NOTE} characters, none of them a control character")]
    Notes,
    /// It was issued before the newest value that it knows.
    #[error("it was issued before its origin")]
    Issued,
}

impl Lead {
    /// The value that is exceeded half of the time.
    pub fn middle(&self) -> f64 {
        self.median.unwrap_or(self.value)
    }

    fn check(&self) -> Result<(), &'static str> {
        let numbers = [Some(self.value), self.median].into_iter().flatten();
        if !numbers.chain(self.quantiles.iter().map(|q| q.1)).all(is_number) {
            return Err("a value is no number up to 1e12");
        }
        if self.quantiles.len() > MAX_LEVELS || self.exceed.len() > MAX_LEVELS {
            return Err("at most 32 quantiles and 32 thresholds");
        }
        if !self
            .quantiles
            .iter()
            .all(|(level, _)| *level > 0.0 && *level < 1.0)
        {
            return Err("a quantile's probability lies between 0 and 1");
        }
        let ascends = |two: &[(f64, f64)]| two[0].0 < two[1].0 && two[0].1 <= two[1].1;
        if !self.quantiles.windows(2).all(ascends) {
            return Err("quantiles ascend, and so do their values");
        }
        if !self
            .exceed
            .iter()
            .all(|e| is_number(e.threshold) && (0.0..=1.0).contains(&e.probability))
        {
            return Err("an exceedance has a threshold up to 1e12 and a probability of 0 to 1");
        }
        if !self
            .exceed
            .windows(2)
            .all(|two| two[0].threshold < two[1].threshold)
        {
            return Err("thresholds ascend");
        }
        if !self
            .exceed
            .windows(2)
            .all(|two| two[0].probability >= two[1].probability)
        {
            return Err("a higher threshold is no likelier exceeded");
        }
        Ok(())
    }
}

impl Forecast {
    /// Seconds from the origin to a lead.
    pub fn lead_s(&self, lead: &Lead) -> u32 {
        let seconds = (lead.at.ms() - self.origin.ms()) / 1000;
        u32::try_from(seconds).unwrap_or_default()
    }

    /// Whether it is one.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), ForecastError> {
        let n = self.source.chars().count();
        let is_name = self.source.trim() == self.source && !self.source.chars().any(is_unseen);
        if !(1..=MAX_SOURCE).contains(&n) || !is_name {
            return Err(ForecastError::Source);
        }
        if self.step_s > MAX_STEP_S {
            return Err(ForecastError::Step);
        }
        let is_note = |note: &String| note.chars().count() <= MAX_NOTE && !note.chars().any(char::is_control);
        if self.notes.len() > MAX_NOTES || !self.notes.iter().all(is_note) {
            return Err(ForecastError::Notes);
        }
        if self.issued_at < self.origin {
            return Err(ForecastError::Issued);
        }
        let n = self.leads.len();
        if n > MAX_LEADS || (n == 0 && self.silent.is_empty()) {
            return Err(ForecastError::Leads { n });
        }
        let mut before = self.origin;
        for (index, lead) in self.leads.iter().enumerate() {
            let reach = lead.at.ms().saturating_sub(self.origin.ms());
            if lead.at <= before || reach > i64::from(MAX_LEAD_S) * 1000 {
                return Err(ForecastError::Time { index });
            }
            before = lead.at;
            lead.check()
                .map_err(|what| ForecastError::Number { index, what })?;
        }
        if !self.at_origin.is_none_or(is_number) {
            return Err(ForecastError::Number {
                index: 0,
                what: "the value at the origin is no number up to 1e12",
            });
        }
        if self.model.chars().count() > MAX_MODEL || self.model.chars().any(is_unseen) {
            return Err(ForecastError::Model);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::{DeviceId, Quantity};

    fn forecast() -> Forecast {
        let origin = Timestamp::from_ms(1_763_856_000_000);
        let lead = |hours: u64, value: f64| Lead {
            at: origin + Duration::from_secs(3600 * hours),
            value,
            median: None,
            quantiles: vec![(0.1, value - 0.1), (0.5, value), (0.9, value + 0.2)],
            exceed: vec![Exceedance {
                threshold: 2.5,
                probability: 0.3,
                warns: false,
            }],
        };
        Forecast {
            series: SeriesKey {
                device: DeviceId::new("gauge").unwrap(),
                quantity: Quantity::named("water_level").unwrap(),
                channel: 0,
            },
            source: OWN.to_owned(),
            model: String::new(),
            issued_at: origin,
            origin,
            at_origin: Some(2.1),
            step_s: 3600,
            regime: Some(Regime::Rising),
            leads: vec![lead(1, 2.2), lead(3, 2.4)],
            silent: vec![],
            influences: vec![],
            notes: vec![],
        }
    }

    #[test]
    fn a_forecast_is_read_as_it_was_written() {
        let one = forecast();
        assert_eq!(one.check(), Ok(()));
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Forecast>(&text).unwrap(), one);
        assert_eq!(one.lead_s(&one.leads[1]), 3 * 3600);
    }

    #[test]
    fn names_that_read_as_the_servers_own_are_known() {
        for own in [
            "onemap",
            "OneMap",
            " onemap",
            "ｏｎｅｍａｐ",
            "оnemap",
            "Οnemap",
            "ònemap",
            "One Map",
            "on-emap",
            "0nemap",
            "本系统",
            "This system",
        ] {
            assert!(reads_as_own(own), "{own}");
        }
        for other in ["气象台", "省水文局", "onemapper", "map", "HydroMap 1"] {
            assert!(!reads_as_own(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_forecast_is_told_by_its_first_fault() {
        type Change = fn(&mut Forecast);
        let cases: [(Change, &str); 21] = [
            (|f| f.source = " onemap".to_owned(), "source has"),
            (|f| f.source = "one\u{200b}map".to_owned(), "source has"),
            (|f| f.step_s = MAX_STEP_S + 1, "step_s is at most"),
            (|f| f.notes = vec!["n".repeat(MAX_NOTE + 1)], "at most 32 notes"),
            (|f| f.notes = vec!["\u{0}".to_owned()], "at most 32 notes"),
            (|f| f.source.clear(), "source has"),
            (|f| f.source = "a\nb".to_owned(), "source has"),
            (|f| f.issued_at = Timestamp::from_ms(0), "before its origin"),
            (|f| f.leads.clear(), "not 0"),
            (|f| f.leads = vec![f.leads[0].clone(); MAX_LEADS + 1], "not 1001"),
            (|f| f.leads[1].at = f.leads[0].at, "lead 1: at lies"),
            (|f| f.leads[0].at = f.origin, "lead 0: at lies"),
            (
                |f| f.leads[1].at = f.origin + Duration::from_secs(u64::from(MAX_LEAD_S) + 1),
                "within 400 days",
            ),
            (|f| f.leads[0].value = f64::NAN, "no number up to 1e12"),
            (|f| f.leads[0].quantiles[2].1 = 1e308, "no number up to 1e12"),
            (|f| f.at_origin = Some(-1e13), "no number up to 1e12"),
            (|f| f.model = "m".repeat(MAX_MODEL + 1), "model has"),
            (
                |f| {
                    let more = Exceedance {
                        threshold: 3.0,
                        probability: 0.4,
                        warns: false,
                    };
                    f.leads[0].exceed.push(more);
                },
                "no likelier exceeded",
            ),
            (|f| f.leads[0].quantiles[0].0 = 0.0, "between 0 and 1"),
            (|f| f.leads[0].quantiles[2].1 = 0.0, "quantiles ascend"),
            (
                |f| f.leads[1].exceed[0].probability = 1.1,
                "probability of 0 to 1",
            ),
        ];
        for (change, expected) in cases {
            let mut one = forecast();
            change(&mut one);
            let said = one.check().unwrap_err().to_string();
            assert!(said.contains(expected), "{said} ({expected})");
        }
    }
}
