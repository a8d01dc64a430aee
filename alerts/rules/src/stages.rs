//! Limits that are a stage of the gauge itself: `stage warning`, `stage 保证水位 - 0.10 m`. The register gives stages over a
//! datum; a limit is over the gauge's own zero, as the gauge sends its level.

use onemap_model::{Hydrology, Quantity, Timestamp};
use serde::Serialize;
use serde_saphyr::Spanned;

use crate::amount::parse_difference;
use crate::fault::{RuleError, said};
use crate::file::{Errors, keep};
use crate::rule::Texts;

/// No gauge has a limit further from its stage.
const FURTHEST_M: f64 = 100.0;

/// A stage of a hydrological station, the lower ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// 警戒水位.
    Warning,
    /// 保证水位.
    Guaranteed,
    /// 历史最高水位.
    Highest,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Warning, Self::Guaranteed, Self::Highest];

    /// Its names: as the register has it, and in Chinese; each with `水位` behind it or not.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|stage| {
            let (zh, name) = (stage.zh(), stage.name());
            text == name || text == zh || text == zh.trim_end_matches("水位")
        })
    }

    /// Its name, as in the register.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Guaranteed => "guaranteed",
            Self::Highest => "highest",
        }
    }

    fn zh(self) -> &'static str {
        match self {
            Self::Warning => "警戒水位",
            Self::Guaranteed => "保证水位",
            Self::Highest => "历史最高水位",
        }
    }

    /// Its name for people.
    pub(crate) fn texts(self) -> Texts {
        let en = match self {
            Self::Warning => "the warning stage",
            Self::Guaranteed => "the guaranteed stage",
            Self::Highest => "the highest stage on record",
        };
        Texts {
            zh: self.zh().to_owned(),
            en: en.to_owned(),
        }
    }
}

/// A stage with what is added to it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct StageLimit {
    /// Which.
    pub stage: Stage,
    /// Metres that are added.
    pub by: f64,
}

/// Whether a limit is written as a stage.
pub(crate) fn is_stage(text: &str) -> bool {
    text.split_whitespace().next() == Some("stage")
}

/// Reads `stage warning`, `stage 警戒水位 - 0.10 m`.
pub(crate) fn read(errors: &mut Errors, quantity: Quantity, written: &Spanned<String>) -> Option<StageLimit> {
    if Quantity::named("water_level") != Some(quantity) {
        let message = said!(
            "特征水位只用于 water_level，量 {quantity} 没有特征水位",
            "stages are of water_level; {quantity} has none"
        );
        errors.push(RuleError::at(written.referenced, message));
        return None;
    }
    let rest = written.value.trim().trim_start_matches("stage").trim();
    let (name, sign, amount) = match rest.find(['+', '-']) {
        None => (rest, 0.0, ""),
        Some(at) => {
            let sign = if rest[at..].starts_with('+') { 1.0 } else { -1.0 };
            (&rest[..at], sign, rest[at + 1..].trim())
        }
    };
    let Some(stage) = Stage::named(name) else {
        let message = said!(
            "`{name}` 不是特征水位：可写 warning（警戒水位）、guaranteed（保证水位）、highest（历史最高水位）",
            "`{name}` is no stage: warning (警戒水位), guaranteed (保证水位) or highest (历史最高水位)",
            name = name.trim()
        );
        errors.push(RuleError::at(written.referenced, message));
        return None;
    };
    let by = match sign == 0.0 {
        true => 0.0,
        false => sign * keep(errors, written, |_| parse_difference(quantity, amount))?,
    };
    if by.abs() > FURTHEST_M {
        let message = said!(
            "限值距特征水位不超过 {most} m",
            "a limit lies at most {most} m from its stage",
            most = FURTHEST_M
        );
        errors.push(RuleError::at(written.referenced, message));
        return None;
    }
    Some(StageLimit { stage, by })
}

/// The stages of one gauge at one time, over its own zero, and the channel that they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stages {
    pub(crate) channel: u16,
    /// In the order of [`Stage::ALL`].
    heights_m: [Option<f64>; 3],
}

impl Stages {
    /// Those that hold then; none where no datum says what the gauge's zero is.
    pub(crate) fn at(known: &Hydrology, at: Timestamp) -> Self {
        let stages = known.stages(at);
        let zero_m = known.datum(at).map(|datum| datum.zero_m);
        let own = |height: Option<f64>| Some(((height? - zero_m?) * 1e4).round() / 1e4);
        Self {
            channel: known.channel,
            heights_m: [
                own(stages.and_then(|stages| stages.warning)),
                own(stages.and_then(|stages| stages.guaranteed)),
                own(stages.and_then(|stages| stages.highest)),
            ],
        }
    }

    /// A stage as the gauge sends its level.
    pub(crate) fn of(&self, limit: StageLimit) -> Option<f64> {
        let height_m = self.heights_m[limit.stage as usize]?;
        Some(((height_m + limit.by) * 1e4).round() / 1e4)
    }
}
