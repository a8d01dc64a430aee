//! Stages of a river or reservoir: 警戒水位, 保证水位 and the highest on record, and where a level stands to them.
//!
//! The stages belong to the station and have its datum; the level must be given in the same one.

use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "stages.json";
const DATA: &str = include_str!("../data/stages.json");

/// Names of stages as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageStandards {
    editions: Vec<StageStandard>,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageStandard {
    /// When it holds.
    pub edition: Edition,
    stages: Vec<StageName>,
    /// A level that moves by less is steady, m.
    pub steady_m: f64,
}

/// Where a level stands, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Below the warning stage.
    Normal,
    /// At or above the warning stage (警戒水位).
    Warning,
    /// At or above the guaranteed stage (保证水位).
    Guaranteed,
    /// Above the highest on record.
    Highest,
}

/// What a stage is called.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StageName {
    /// Which.
    pub stage: Stage,
    /// Field of the station's table in SL 323; empty for normal.
    pub field: String,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
}

/// The stages of a station in m, as far as it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// 警戒水位.
    #[serde(default)]
    pub warning: Option<f64>,
    /// 保证水位.
    #[serde(default)]
    pub guaranteed: Option<f64>,
    /// 历史最高水位.
    #[serde(default)]
    pub highest: Option<f64>,
}

/// Stages that are none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the {lower} stage {low} m is not below the {upper} stage {high} m")]
pub struct StagesError {
    lower: &'static str,
    low: f64,
    upper: &'static str,
    high: f64,
}

/// Which way a level goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// 涨.
    Rising,
    /// 落.
    Falling,
    /// 平.
    Steady,
}

/// Names of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn standards() -> &'static StageStandards {
    static STANDARDS: OnceLock<StageStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| StageStandards::parse(DATA).expect("a test reads this file"))
}

impl StageStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        let each = [Stage::Normal, Stage::Warning, Stage::Guaranteed, Stage::Highest];
        for one in &all.editions {
            if let Some(stage) = each.iter().find(|stage| one.name(**stage).is_none()) {
                return Err(fault(format!("{}: {stage:?} has no name", one.edition.id)));
            }
            if !(one.steady_m > 0.0 && one.steady_m.is_finite()) {
                return Err(fault(format!("{}: steady_m is not above 0", one.edition.id)));
            }
        }
        Ok(all)
    }

    /// The edition that holds then.
    pub fn at(&self, moment: Timestamp) -> Option<&StageStandard> {
        on_day(&self.editions, |one| &one.edition, moment)
    }
}

impl StageStandard {
    /// What a stage is called.
    pub fn name(&self, stage: Stage) -> Option<&StageName> {
        self.stages.iter().find(|name| name.stage == stage)
    }
    /// Which way a level went between two values; `None` when one of them is no number.
    pub fn trend(&self, before: f64, now: f64) -> Option<Trend> {
        let by = now - before;
        if !by.is_finite() {
            return None;
        }
        Some(match by {
            by if by >= self.steady_m => Trend::Rising,
            by if by <= -self.steady_m => Trend::Falling,
            _ => Trend::Steady,
        })
    }
}

impl Stages {
    /// Checks that the stages rise: warning below guaranteed. The highest on record may lie anywhere.
    ///
    /// # Errors
    /// [`StagesError`] with the two that do not.
    pub fn check(&self) -> Result<(), StagesError> {
        match (self.warning, self.guaranteed) {
            (Some(low), Some(high)) if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) => {
                Err(StagesError {
                    lower: "warning",
                    low,
                    upper: "guaranteed",
                    high,
                })
            }
            _ => Ok(()),
        }
    }

    /// Where a level stands; one that is equal to the warning or guaranteed stage has reached it. `None` when the level
    /// is no number, or the station has none of the stages that would tell: without a warning stage a low level is
    /// unknown, not normal.
    pub fn stage(&self, level_m: f64) -> Option<Stage> {
        if !level_m.is_finite() {
            return None;
        }
        if self.highest.is_some_and(|highest| level_m > highest) {
            return Some(Stage::Highest);
        }
        if self.guaranteed.is_some_and(|guaranteed| level_m >= guaranteed) {
            return Some(Stage::Guaranteed);
        }
        let warning = self.warning?;
        Some(match level_m >= warning {
            true => Stage::Warning,
            false => Stage::Normal,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_level_has_the_highest_stage_that_it_reaches() {
        let all = Stages {
            warning: Some(2261.5),
            guaranteed: Some(2263.0),
            highest: Some(2263.8),
        };
        all.check().unwrap();
        for (level, want) in [
            (2261.49, Some(Stage::Normal)),
            (2261.5, Some(Stage::Warning)),
            (2262.99, Some(Stage::Warning)),
            (2263.0, Some(Stage::Guaranteed)),
            (2263.8, Some(Stage::Guaranteed)),
            (2263.81, Some(Stage::Highest)),
            (f64::NAN, None),
        ] {
            assert_eq!(all.stage(level), want, "{level}");
        }
    }

    #[test]
    fn without_a_stage_to_compare_with_nothing_is_known() {
        let only_guaranteed = Stages {
            guaranteed: Some(10.0),
            ..Stages::default()
        };
        assert_eq!(Stages::default().stage(1.0), None);
        assert_eq!(only_guaranteed.stage(9.0), None);
        assert_eq!(only_guaranteed.stage(10.0), Some(Stage::Guaranteed));
        let swapped = Stages {
            warning: Some(12.0),
            ..only_guaranteed
        };
        let error = swapped.check().unwrap_err().to_string();
        assert_eq!(
            error,
            "the warning stage 12 m is not below the guaranteed stage 10 m"
        );
    }

    #[test]
    fn stages_have_names_and_levels_a_direction() {
        let now = Timestamp::parse("2026-07-01T08:00:00+08:00").unwrap();
        let standard = standards().at(now).unwrap();
        assert_eq!(standard.name(Stage::Warning).unwrap().zh, "超警戒");
        for (before, now, want) in [
            (10.0, 10.02, Some(Trend::Rising)),
            (10.0, 9.98, Some(Trend::Falling)),
            (10.0, 10.004, Some(Trend::Steady)),
            (10.0, f64::NAN, None),
        ] {
            assert_eq!(standard.trend(before, now), want, "{now}");
        }
        for (from, to) in [
            ("\"steady_m\": 0.01", "\"steady_m\": 0"),
            ("\"stage\": \"highest\"", "\"stage\": \"warning\""),
        ] {
            assert!(DATA.contains(from), "{from}");
            assert!(StageStandards::parse(&DATA.replace(from, to)).is_err(), "{to}");
        }
    }
}
