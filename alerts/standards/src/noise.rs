//! Ambient noise by zone and time of day (GB 3096): Ld, Ln, Ldn and their limits.

use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decimal::round_half_even;
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "noise.json";
const DATA: &str = include_str!("../data/noise.json");
const HOUR_MS: i64 = 3_600_000;
const BEIJING_MS: i64 = 8 * HOUR_MS;

/// The limits as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseStandards {
    editions: Vec<NoiseStandard>,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseStandard {
    /// When it holds.
    pub edition: Edition,
    day_from_h: i64,
    night_from_h: i64,
    /// By how much a sudden noise of the night may pass the limit, dB.
    pub night_peak_db: f64,
    zones: Vec<Zone>,
}

/// The limits of a zone, dB(A).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// `0`, `1`, `2`, `3`, `4a`, `4b`.
    pub zone: String,
    /// Where it is.
    pub place: String,
    /// By day.
    pub day: f64,
    /// By night.
    pub night: f64,
}

/// Levels of a day and its night, dB(A); `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DayNight {
    /// Equivalent level of the day.
    pub ld: Option<f64>,
    /// Of the night.
    pub ln: Option<f64>,
    /// Of both, the night with 10 dB more.
    pub ldn: Option<f64>,
    /// Hours by day that it is made of.
    pub n_day: u32,
    /// Hours by night.
    pub n_night: u32,
}

/// What the law says of a level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NoiseJudged {
    /// The limit, dB(A).
    pub limit: f64,
    /// By how much the level, to a tenth, is above it; `None` when it is met.
    pub over_db: Option<f64>,
}

impl Zone {
    /// Judges the level of a day, or of a night; `None` when it is no number. The law has limits for these two and not for
    /// Ldn or single hours.
    pub fn judge(&self, is_night: bool, level: f64) -> Option<NoiseJudged> {
        let limit = if is_night { self.night } else { self.day };
        let over = round_half_even(level, 1)? as f64 / 10.0 - limit;
        let over = round_half_even(over, 1)? as f64 / 10.0;
        Some(NoiseJudged {
            limit,
            over_db: (over > 0.0).then_some(over),
        })
    }
}

/// The standards of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn standards() -> &'static NoiseStandards {
    static STANDARDS: OnceLock<NoiseStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| NoiseStandards::parse(DATA).expect("a test reads this file"))
}

impl NoiseStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for one in &all.editions {
            if !(0 < one.day_from_h && one.day_from_h < one.night_from_h && one.night_from_h < 24) {
                return Err(fault("the day does not begin before the night".to_owned()));
            }
        }
        Ok(all)
    }
    /// The edition that holds for an hour that ends then.
    pub fn at(&self, end: Timestamp) -> Option<&NoiseStandard> {
        on_day(&self.editions, |one| &one.edition, end)
    }
}

impl NoiseStandard {
    /// The limits of a zone.
    pub fn zone(&self, zone: &str) -> Option<&Zone> {
        self.zones.iter().find(|one| one.zone == zone)
    }
    /// How many hours the day and the night have.
    pub fn n_hours(&self) -> (u32, u32) {
        let day = (self.night_from_h - self.day_from_h) as u32;
        (day, 24 - day)
    }
    /// Whether the hour that ends then is of the night.
    pub fn is_night(&self, end: Timestamp) -> bool {
        let hour = (end.ms() - 1 + BEIJING_MS).div_euclid(HOUR_MS).rem_euclid(24);
        !(self.day_from_h..self.night_from_h).contains(&hour)
    }
    /// Levels of a day and a night from the equivalent levels of their hours, each with the time of its end.
    pub fn day_night(&self, hours: impl IntoIterator<Item = (Timestamp, f64)>) -> DayNight {
        let (mut day, mut night) = ((0.0, 0u32), (0.0, 0u32));
        for (end, level) in hours.into_iter().filter(|(_, level)| level.is_finite()) {
            let of = if self.is_night(end) { &mut night } else { &mut day };
            of.0 += energy(level);
            of.1 += 1;
        }
        let mean = |(sum, n): (f64, u32)| (n > 0).then(|| level_of(sum / f64::from(n)));
        let (ld, ln) = (mean(day), mean(night));
        let n_day = (self.night_from_h - self.day_from_h) as f64;
        let ldn = ld
            .zip(ln)
            .map(|(ld, ln)| level_of((n_day * energy(ld) + (24.0 - n_day) * energy(ln + 10.0)) / 24.0));
        DayNight {
            ld,
            ln,
            ldn,
            n_day: day.1,
            n_night: night.1,
        }
    }
}

fn energy(level: f64) -> f64 {
    10f64.powf(level / 10.0)
}
fn level_of(energy: f64) -> f64 {
    10.0 * energy.log10()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hour(h: i64) -> Timestamp {
        Timestamp::from_ms(Timestamp::parse("2026-06-01T00:00:00+08:00").unwrap().ms() + h * HOUR_MS)
    }

    #[test]
    fn the_night_is_from_22_to_6() {
        let standard = standards().at(hour(1)).unwrap();
        let night: Vec<i64> = (1..=24).filter(|h| standard.is_night(hour(*h))).collect();
        assert_eq!(night, [1, 2, 3, 4, 5, 6, 23, 24]);
        assert_eq!(standard.zone("4a").unwrap().night, 55.0);
        assert_eq!(standard.zone("5"), None);
    }

    #[test]
    fn a_level_is_judged_by_the_limit_of_its_zone_and_time() {
        let standard = standards().at(hour(1)).unwrap();
        let zone = standard.zone("4a").unwrap();
        let over = |is_night, level| zone.judge(is_night, level).unwrap().over_db;
        assert_eq!((over(false, 70.04), over(false, 70.06)), (None, Some(0.1)));
        assert_eq!((over(true, 55.0), over(true, 61.2)), (None, Some(6.2)));
        assert_eq!(zone.judge(true, f64::NAN), None);
    }

    #[test]
    fn levels_are_means_of_energy_and_the_night_weighs_more() {
        let standard = standards().at(hour(1)).unwrap();
        let near = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 0.005;
        // All hours alike: Ldn = 10 lg((16 * 10^6 + 8 * 10^7) / 24) = 66.02.
        let alike = standard.day_night((1..=24).map(|h| (hour(h), 60.0)));
        assert!(
            near(alike.ld, 60.0) && near(alike.ln, 60.0) && near(alike.ldn, 66.02),
            "{alike:?}"
        );
        assert_eq!((alike.n_day, alike.n_night), (16, 8));
        // 60 and 70 dB: 10 lg((10^6 + 10^7) / 2) = 67.40.
        let two = standard.day_night([(hour(8), 60.0), (hour(9), 70.0), (hour(10), f64::NAN)]);
        assert!(near(two.ld, 67.40), "{two:?}");
        assert_eq!((two.ln, two.ldn, two.n_day), (None, None, 2));
    }
}
