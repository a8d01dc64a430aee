//! A file of rules as written: the shapes that YAML is read into, nothing checked yet.

use std::collections::BTreeMap;

use onemap_model::{Quantity, Severity};
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::panels::PanelsText;
use crate::rule::{Clause, Texts};
use crate::trial::TrialText;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileText {
    /// Version of this format: 1.
    pub(crate) version: Spanned<u32>,
    pub(crate) rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    pub(crate) id: Spanned<String>,
    pub(crate) name: Spanned<Texts>,
    #[serde(default)]
    pub(crate) applies_to: SelectorText,
    pub(crate) severity: Spanned<Severity>,
    pub(crate) when: WhenText,
    /// Further out it matters more.
    #[serde(default)]
    pub(crate) levels: Vec<LevelText>,
    /// Values that limits name with a `$` before them.
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, ParameterText>,
    #[serde(default, rename = "for")]
    pub(crate) hold: Option<Spanned<String>>,
    #[serde(default, rename = "clear_for")]
    pub(crate) clear_hold: Option<Spanned<String>>,
    pub(crate) advice: Spanned<Texts>,
    #[serde(default)]
    pub(crate) clause: Option<Spanned<Clause>>,
    #[serde(default)]
    pub(crate) valid: Option<Spanned<ValidText>>,
    #[serde(default)]
    pub(crate) during: Option<Spanned<Vec<HoursText>>>,
    #[serde(default)]
    pub(crate) otherwise: Option<Spanned<String>>,
    /// What its alerts show beside their evidence and place.
    #[serde(default)]
    pub(crate) panels: Option<PanelsText>,
    #[serde(default)]
    pub(crate) tests: Vec<TrialText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelText {
    pub(crate) severity: Spanned<Severity>,
    pub(crate) raise: Spanned<String>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParameterText {
    /// For devices that are not named; without it the rule looks at none of these.
    #[serde(default)]
    pub(crate) default: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) devices: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) divisions: BTreeMap<String, Spanned<String>>,
}

/// The days on which a rule begins and ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidText {
    #[serde(default)]
    pub(crate) from: Option<Spanned<String>>,
    /// The first day on which it is no longer in force.
    #[serde(default)]
    pub(crate) to: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursText {
    /// Like `5 to 9`.
    #[serde(default)]
    pub(crate) months: Option<Spanned<String>>,
    /// Like `mon to fri`, or a list.
    #[serde(default)]
    pub(crate) days: Option<Spanned<Names>>,
    #[serde(default)]
    pub(crate) from: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) to: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelectorText {
    #[serde(default)]
    pub(crate) kind: Names,
    #[serde(default)]
    pub(crate) not_kind: Names,
    #[serde(default)]
    pub(crate) division: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) device: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) fence: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WhenText {
    Above(ThresholdText),
    Below(ThresholdText),
    State(StateText),
    NoData(NoDataText),
    Inside(FenceText),
    Outside(OutsideText),
    Forecast(Box<ForecastText>),
    Change(Box<ChangeText>),
    Stuck(Box<StuckText>),
    Neighbours(Box<NeighboursText>),
    All(Spanned<Vec<WhenText>>),
    Any(Spanned<Vec<WhenText>>),
    Not(Box<WhenText>),
}

/// Outside of a fence, or of a band of values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutsideText {
    #[serde(default)]
    pub(crate) fence: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) quantity: Option<Spanned<Quantity>>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    /// Like `6 to 9`, `5 to 35 Cel`.
    #[serde(default)]
    pub(crate) raise: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeText {
    pub(crate) quantity: Spanned<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    pub(crate) over: Spanned<String>,
    #[serde(default)]
    pub(crate) rises: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) falls: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) changes: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StuckText {
    pub(crate) quantity: Spanned<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    #[serde(rename = "for")]
    pub(crate) time: Spanned<String>,
    #[serde(default)]
    pub(crate) within: Option<Spanned<String>>,
    /// Values at which standing still is normal.
    #[serde(default)]
    pub(crate) except: Option<Spanned<Names>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeighboursText {
    /// Like `500 m`, `3 km`.
    #[serde(default)]
    pub(crate) within: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) nearest: Option<Spanned<u16>>,
    #[serde(default)]
    pub(crate) devices: Option<Spanned<Names>>,
    pub(crate) at_least: Spanned<u16>,
    #[serde(default)]
    pub(crate) differs: Option<DiffersText>,
    #[serde(default)]
    pub(crate) agree: Option<Spanned<Box<WhenText>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiffersText {
    pub(crate) quantity: Spanned<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    #[serde(default)]
    pub(crate) above: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) below: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) by: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastText {
    pub(crate) quantity: Spanned<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    pub(crate) within: Spanned<String>,
    #[serde(default)]
    pub(crate) quantile: Option<Spanned<f64>>,
    #[serde(default)]
    pub(crate) above: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) below: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
    /// Whose forecasts; the server's own when absent.
    #[serde(default)]
    pub(crate) source: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FenceText {
    /// Its code.
    pub(crate) fence: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThresholdText {
    pub(crate) quantity: Quantity,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    pub(crate) raise: Spanned<String>,
    #[serde(default)]
    pub(crate) clear: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateText {
    pub(crate) quantity: Spanned<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<u16>,
    /// Names (English) or codes of states, one or a list.
    pub(crate) is: Spanned<Names>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoDataText {
    #[serde(default)]
    pub(crate) quantity: Option<Quantity>,
    #[serde(default)]
    pub(crate) ch: Option<Spanned<u16>>,
    #[serde(rename = "for")]
    pub(crate) silence: Spanned<String>,
}

/// One name or a list of names.
#[derive(Default)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Names;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name or a list of names")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }
            fn visit_u64<E: serde::de::Error>(self, code: u64) -> Result<Names, E> {
                Ok(Names(vec![code.to_string()]))
            }
            fn visit_i64<E: serde::de::Error>(self, code: i64) -> Result<Names, E> {
                Ok(Names(vec![code.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        d.deserialize_any(OneOrMany)
    }
}
