//! What the register knows of a hydrological station: datum, rating curves, ice seasons and stages, all dated.
//!
//! Heights are metres. A gauge sends its level over its own zero; `zero_m` of the datum makes it a height over the
//! datum, in which curves and stages are given. Of each kind one at most holds at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Most entries of each kind.
pub const MAX_ENTRIES: usize = 200;
/// Most points of a curve.
pub const MAX_POINTS: usize = 1000;

/// What heights are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DatumName {
    #[serde(rename = "1985国家高程基准", alias = "national_1985")]
    National1985,
    #[serde(rename = "黄海", alias = "huanghai")]
    Huanghai,
    #[serde(rename = "吴淞", alias = "wusong")]
    Wusong,
    #[serde(rename = "大沽", alias = "dagu")]
    Dagu,
    #[serde(rename = "珠江", alias = "zhujiang")]
    Zhujiang,
    /// A local zero.
    #[serde(rename = "假定", alias = "assumed")]
    Assumed,
}

/// Something that holds from one moment to before another.
trait Dated {
    fn span(&self) -> (Timestamp, Option<Timestamp>);
    fn holds(&self, moment: Timestamp) -> bool {
        let (from, to) = self.span();
        from <= moment && to.is_none_or(|to| moment < to)
    }
}

impl Dated for Datum {
    fn span(&self) -> (Timestamp, Option<Timestamp>) {
        (self.from, self.to)
    }
}
impl Dated for RatingCurve {
    fn span(&self) -> (Timestamp, Option<Timestamp>) {
        (self.from, self.to)
    }
}
impl Dated for DatedStages {
    fn span(&self) -> (Timestamp, Option<Timestamp>) {
        (self.from, self.to)
    }
}

/// What a gauge's zero is over a datum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datum {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Which.
    pub datum: DatumName,
    /// Height of the gauge's zero over it, m: added to what the gauge sends. 0 when it sends heights already.
    pub zero_m: f64,
    /// Where this stands.
    pub source: String,
    /// Somebody has compared it with its source.
    #[serde(default)]
    pub verified: bool,
}

/// A rating curve: the flow that belongs to a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingCurve {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Height over the datum in m and flow in m3/s, rising; between two points in proportion.
    pub points: Vec<(f64, f64)>,
    /// Where this stands.
    pub source: String,
    /// Somebody has compared it with its source.
    #[serde(default)]
    pub verified: bool,
}

/// The stages of a station in m over the datum, as far as it has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedStages {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// 警戒水位.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<f64>,
    /// 保证水位.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guaranteed: Option<f64>,
    /// 历史最高水位.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<f64>,
    /// When the highest was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_at: Option<Timestamp>,
    /// Where this stands.
    pub source: String,
}

/// Days of the Beijing calendar on which ice keeps the curve from holding, the first and the last among them:
/// `11-20` to `03-15` of every year, or `2026-11-20` to `2027-03-15`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceSeason {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
}

impl IceSeason {
    /// Whether its days are days, both of one kind, and in order.
    fn check(&self) -> Result<(), String> {
        for day in [&self.from, &self.to] {
            let year = if day.len() == 5 { "2000-" } else { "" };
            if !matches!(day.len(), 5 | 10)
                || Timestamp::parse(&format!("{year}{day}T00:00:00+08:00")).is_err()
            {
                return Err(format!(
                    "`{day}` is neither a day like 11-20 nor one like 2026-11-20"
                ));
            }
        }
        if self.from.len() != self.to.len() {
            return Err("both days have a year, or none".to_owned());
        }
        if self.from.len() == 10 && self.to < self.from {
            return Err("it ends before it begins".to_owned());
        }
        // Of a leap year or another one.
        if self.from.len() == 5 && [2000, 2001].iter().any(|year| self.begins_behind_its_end(*year)) {
            return Err(format!(
                "from {} to {} is the whole year: of a curve that never holds there is none",
                self.from, self.to
            ));
        }
        Ok(())
    }

    /// Whether its first day follows its last one in a year.
    fn begins_behind_its_end(&self, year: u16) -> bool {
        let end = Timestamp::parse(&format!("{year}-{}T00:00:00+08:00", self.to));
        end.is_ok_and(|end| {
            let next = (end + Duration::from_secs(86_400)).to_string();
            next.get(5..10) == Some(&self.from)
        })
    }

    /// Whether a moment lies in it.
    pub fn at(&self, moment: Timestamp) -> bool {
        // Times are written in Beijing time: `2026-11-20T…`.
        let text = moment.to_string();
        let Some(date) = text.get(..10) else { return false };
        let day = match self.from.len() {
            5 => date.get(5..).unwrap_or_default(),
            _ => date,
        };
        let (from, to) = (self.from.as_str(), self.to.as_str());
        match from <= to {
            true => (from..=to).contains(&day),
            false => day >= from || day <= to,
        }
    }
}

/// What the register knows of a station.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hydrology {
    /// Channel of `water_level` that all of it is about.
    #[serde(default, rename = "ch")]
    pub channel: u16,
    /// Datums.
    #[serde(default)]
    pub datums: Vec<Datum>,
    /// Rating curves.
    #[serde(default)]
    pub curves: Vec<RatingCurve>,
    /// Ice seasons.
    #[serde(default)]
    pub ice: Vec<IceSeason>,
    /// Stages.
    #[serde(default)]
    pub stages: Vec<DatedStages>,
}

/// What is wrong with it: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct HydrologyError {
    /// Like `curves[1]`.
    pub place: String,
    /// In words.
    pub what: String,
}

/// Why a level has no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoFlow {
    /// No curve holds then.
    NoCurve,
    /// No datum holds then.
    NoDatum,
    /// Ice: the curve does not hold.
    Ice,
    /// Below the curve's lowest point.
    BelowCurve,
    /// Above the curve's highest point.
    AboveCurve,
}

impl NoFlow {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCurve => "no_curve",
            Self::NoDatum => "no_datum",
            Self::Ice => "ice",
            Self::BelowCurve => "below_curve",
            Self::AboveCurve => "above_curve",
        }
    }
}

impl RatingCurve {
    /// The flow of a height over the datum; the ends of the curve are on it.
    ///
    /// # Errors
    /// [`NoFlow`] outside of its points: nothing is extrapolated.
    pub fn flow(&self, height_m: f64) -> Result<f64, NoFlow> {
        let behind = self.points.partition_point(|(level, _)| *level < height_m);
        let Some(&(upper, more)) = self.points.get(behind) else {
            return Err(NoFlow::AboveCurve);
        };
        if upper == height_m {
            return Ok(more);
        }
        let before = behind.checked_sub(1).and_then(|i| self.points.get(i));
        let &(lower, less) = before.ok_or(NoFlow::BelowCurve)?;
        Ok(less + (more - less) * (height_m - lower) / (upper - lower))
    }
}

impl Hydrology {
    /// The datum that holds then.
    pub fn datum(&self, at: Timestamp) -> Option<&Datum> {
        self.datums.iter().find(|datum| datum.holds(at))
    }
    /// The curve that holds then, ice or not.
    pub fn curve(&self, at: Timestamp) -> Option<&RatingCurve> {
        self.curves.iter().find(|curve| curve.holds(at))
    }
    /// The stages that hold then.
    pub fn stages(&self, at: Timestamp) -> Option<&DatedStages> {
        self.stages.iter().find(|stages| stages.holds(at))
    }
    /// Whether ice keeps the curve from holding then.
    pub fn is_ice(&self, at: Timestamp) -> bool {
        self.ice.iter().any(|season| season.at(at))
    }
    /// A level as the gauge sends it, over the datum, to the tenth of a millimetre; `None` while none is known: then it is
    /// comparable with no stage and no curve.
    pub fn height_m(&self, at: Timestamp, level_m: f64) -> Option<f64> {
        let zero_m = self.datum(at)?.zero_m;
        Some(((level_m + zero_m) * 1e4).round() / 1e4)
    }
    /// The flow that belongs to a level as the gauge sends it.
    ///
    /// # Errors
    /// [`NoFlow`] when none does.
    pub fn flow(&self, at: Timestamp, level_m: f64) -> Result<f64, NoFlow> {
        let curve = self.curve(at).ok_or(NoFlow::NoCurve)?;
        if self.is_ice(at) {
            return Err(NoFlow::Ice);
        }
        curve.flow(self.height_m(at, level_m).ok_or(NoFlow::NoDatum)?)
    }

    /// The first time of which the two say another flow for a level; `None` when there is none.
    pub fn differs_from(&self, other: &Self) -> Option<Timestamp> {
        if self.channel != other.channel || self.ice != other.ice {
            return Some(Timestamp::from_ms(i64::MIN));
        }
        let datums = differ(&self.datums, &other.datums, |a, b| a.zero_m == b.zero_m);
        let curves = differ(&self.curves, &other.curves, |a, b| a.points == b.points);
        datums.into_iter().chain(curves).min()
    }

    /// Whether it is sound: spans that hold some time and do not lie over one another, finite numbers, curves of at
    /// least two points with levels that rise and flows that do not fall, a warning stage below the guaranteed one and
    /// the highest level below none of them, ice seasons that leave some of the year.
    ///
    /// # Errors
    /// [`HydrologyError`] with the first fault.
    pub fn check(&self) -> Result<(), HydrologyError> {
        let bad = |kind: &str, i: usize, what: String| HydrologyError {
            place: format!("{kind}[{i}]"),
            what,
        };
        let n = [
            ("datums", self.datums.len()),
            ("curves", self.curves.len()),
            ("ice", self.ice.len()),
            ("stages", self.stages.len()),
        ];
        if let Some((kind, n)) = n.into_iter().find(|(_, n)| *n > MAX_ENTRIES) {
            return Err(HydrologyError {
                place: kind.to_owned(),
                what: format!("{n} entries, at most {MAX_ENTRIES} are taken"),
            });
        }
        spans("datums", &self.datums)?;
        spans("curves", &self.curves)?;
        spans("stages", &self.stages)?;
        for (i, datum) in self.datums.iter().enumerate() {
            is_height("zero_m", Some(datum.zero_m)).map_err(|what| bad("datums", i, what))?;
            has_source(&datum.source).map_err(|what| bad("datums", i, what))?;
        }
        for (i, curve) in self.curves.iter().enumerate() {
            check_points(&curve.points).map_err(|what| bad("curves", i, what))?;
            has_source(&curve.source).map_err(|what| bad("curves", i, what))?;
        }
        for (i, season) in self.ice.iter().enumerate() {
            season.check().map_err(|what| bad("ice", i, what))?;
        }
        for (i, stages) in self.stages.iter().enumerate() {
            let all = [
                ("warning", stages.warning),
                ("guaranteed", stages.guaranteed),
                ("highest", stages.highest),
            ];
            if all.iter().all(|(_, height)| height.is_none()) {
                return Err(bad("stages", i, "no stage is given".to_owned()));
            }
            for (name, height) in all {
                is_height(name, height).map_err(|what| bad("stages", i, what))?;
            }
            if let (Some(warning), Some(guaranteed)) = (stages.warning, stages.guaranteed)
                && warning >= guaranteed
            {
                let what =
                    format!("the warning stage {warning} m is not below the guaranteed stage {guaranteed} m");
                return Err(bad("stages", i, what));
            }
            let others = [("warning", stages.warning), ("guaranteed", stages.guaranteed)];
            for (name, height) in others {
                if let (Some(highest), Some(height)) = (stages.highest, height)
                    && highest < height
                {
                    let what = format!("the highest level {highest} m is below the {name} stage {height} m");
                    return Err(bad("stages", i, what));
                }
            }
            has_source(&stages.source).map_err(|what| bad("stages", i, what))?;
        }
        Ok(())
    }
}

/// The first time of which only one of two lists says something, or both something else.
fn differ<T: Dated>(a: &[T], b: &[T], alike: impl Fn(&T, &T) -> bool) -> Option<Timestamp> {
    let ends = |one: &T| one.span().1.unwrap_or(Timestamp::from_ms(i64::MAX));
    let from = |one: &T, others: &[T]| {
        let same = others
            .iter()
            .find(|other| other.span().0 == one.span().0 && alike(one, other));
        match same {
            Some(same) if ends(same) == ends(one) => None,
            Some(same) => Some(ends(same).min(ends(one))),
            None => Some(one.span().0),
        }
    };
    let of_a = a.iter().filter_map(|one| from(one, b));
    let of_b = b.iter().filter_map(|one| from(one, a));
    of_a.chain(of_b).min()
}

fn spans(kind: &str, all: &[impl Dated]) -> Result<(), HydrologyError> {
    let ends = |to: Option<Timestamp>| to.unwrap_or(Timestamp::from_ms(i64::MAX));
    let mut all: Vec<_> = all.iter().map(Dated::span).zip(0..).collect();
    all.sort_by_key(|((from, _), _)| *from);
    let mut before: Option<(Timestamp, usize)> = None;
    for ((from, to), i) in all {
        let fault = |what: String| HydrologyError {
            place: format!("{kind}[{i}]"),
            what,
        };
        if ends(to) <= from {
            return Err(fault("it ends before it begins".to_owned()));
        }
        if let Some((end, other)) = before
            && from < end
        {
            return Err(fault(format!(
                "it lies over {kind}[{other}]: one at most holds at a time"
            )));
        }
        before = Some((ends(to), i));
    }
    Ok(())
}

/// Between the deepest and the highest place there is.
fn is_height(name: &str, height: Option<f64>) -> Result<(), String> {
    match height {
        Some(height) if !(-1000.0..=9000.0).contains(&height) => {
            Err(format!("{name} {height} m is no height"))
        }
        _ => Ok(()),
    }
}

fn has_source(source: &str) -> Result<(), String> {
    match source.trim().is_empty() || source.len() > 1000 {
        true => Err("`source` says where this stands, in at most 1000 bytes".to_owned()),
        false => Ok(()),
    }
}

fn check_points(points: &[(f64, f64)]) -> Result<(), String> {
    if !(2..=MAX_POINTS).contains(&points.len()) {
        return Err(format!(
            "a curve has 2 to {MAX_POINTS} points, not {}",
            points.len()
        ));
    }
    for (i, (level, flow)) in points.iter().enumerate() {
        is_height("a level of", Some(*level))?;
        if !(0.0..=1e6).contains(flow) {
            return Err(format!("the flow {flow} m3/s of point {i} is none"));
        }
    }
    for (i, pair) in points.windows(2).enumerate() {
        if let [(lower, less), (upper, more)] = pair {
            if lower >= upper {
                return Err(format!(
                    "the level of point {} does not rise: {upper} m after {lower} m",
                    i + 1
                ));
            }
            if less > more {
                return Err(format!(
                    "the flow of point {} falls: {more} m3/s after {less} m3/s",
                    i + 1
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn station() -> serde_json::Value {
        json!({
            "datums": [
                {"from": "2020-01-01T00:00:00+08:00", "to": "2026-05-01T00:00:00+08:00", "datum": "假定",
                 "zero_m": 100.0, "source": "站志"},
                {"from": "2026-05-01T00:00:00+08:00", "datum": "1985国家高程基准", "zero_m": 2250.12,
                 "source": "水准测量 2026-04", "verified": true},
            ],
            "curves": [
                {"from": "2026-05-01T00:00:00+08:00", "points": [[2251.0, 0.0], [2252.0, 10.0], [2254.0, 50.0]],
                 "source": "整编 2025"},
            ],
            "ice": [{"from": "11-20", "to": "03-15"}],
            "stages": [{"from": "2020-01-01T00:00:00+08:00", "warning": 2253.5, "guaranteed": 2254.5,
                        "highest": 2254.8, "source": "防汛手册"}],
        })
    }

    #[test]
    fn a_level_has_the_flow_of_the_curve_of_its_time() {
        let station: Hydrology = serde_json::from_value(station()).unwrap();
        station.check().unwrap();
        let summer = at("2026-07-01T08:00:00+08:00");
        assert_eq!(station.height_m(summer, 1.38), Some(2251.5));
        for (level, want) in [
            (0.88, Ok(0.0)),
            (1.38, Ok(5.0)),
            (1.88, Ok(10.0)),
            (2.88, Ok(30.0)),
            (3.88, Ok(50.0)),
            (3.89, Err(NoFlow::AboveCurve)),
            (0.87, Err(NoFlow::BelowCurve)),
            (f64::NAN, Err(NoFlow::AboveCurve)),
        ] {
            let found = station.flow(summer, level);
            match (found, want) {
                (Ok(found), Ok(want)) => assert!((found - want).abs() < 1e-9, "{level}: {found}"),
                (found, want) => assert_eq!(found.is_err(), want.is_err(), "{level}: {found:?} {want:?}"),
            }
        }
        let before = at("2026-04-30T23:59:59+08:00");
        assert_eq!(station.flow(before, 1.38), Err(NoFlow::NoCurve));
        assert_eq!(station.height_m(before, 1.38), Some(101.38));
        assert_eq!(station.height_m(at("2019-01-01T00:00:00Z"), 1.38), None);
        for (day, is_ice) in [
            ("2026-11-19T23:59:59+08:00", false),
            ("2026-11-20T00:00:00+08:00", true),
            ("2027-03-15T23:59:59+08:00", true),
            ("2027-03-16T00:00:00+08:00", false),
        ] {
            assert_eq!(station.is_ice(at(day)), is_ice, "{day}");
            assert_eq!(station.flow(at(day), 1.38) == Err(NoFlow::Ice), is_ice, "{day}");
        }
        assert_eq!(station.stages(summer).unwrap().warning, Some(2253.5));
    }

    #[test]
    fn what_is_not_sound_is_named_by_its_place() {
        for (pointer, value, want) in [
            (
                "/curves/0/points",
                json!([[1.0, 1.0]]),
                "curves[0]: a curve has 2 to 1000 points, not 1",
            ),
            (
                "/curves/0/points/1/0",
                json!(2251.0),
                "curves[0]: the level of point 1 does not rise",
            ),
            (
                "/curves/0/points/1/1",
                json!(60.0),
                "curves[0]: the flow of point 2 falls",
            ),
            (
                "/curves/0/points/0/1",
                json!(-1.0),
                "curves[0]: the flow -1 m3/s of point 0 is none",
            ),
            ("/curves/0/source", json!(" "), "curves[0]: `source` says"),
            ("/datums/0/to", json!(null), "datums[1]: it lies over datums[0]"),
            (
                "/datums/0/to",
                json!("2019-01-01T00:00:00Z"),
                "datums[0]: it ends before it begins",
            ),
            (
                "/datums/1/zero_m",
                json!(1e9),
                "datums[1]: zero_m 1000000000 m is no height",
            ),
            (
                "/ice/0/to",
                json!("2027-03-15"),
                "ice[0]: both days have a year, or none",
            ),
            ("/ice/0/from", json!("13-01"), "ice[0]: `13-01` is neither"),
            (
                "/stages/0/guaranteed",
                json!(2253.5),
                "stages[0]: the warning stage 2253.5 m is not below",
            ),
            (
                "/stages/0/highest",
                json!(2254.4),
                "stages[0]: the highest level 2254.4 m is below the guaranteed stage 2254.5 m",
            ),
            (
                "/ice/0/to",
                json!("11-19"),
                "ice[0]: from 11-20 to 11-19 is the whole year",
            ),
        ] {
            let mut bad = station();
            *bad.pointer_mut(pointer).unwrap() = value;
            let bad: Hydrology = serde_json::from_value(bad).unwrap();
            let said = bad.check().unwrap_err().to_string();
            assert!(said.starts_with(want), "{said}");
        }
        let mut none = station();
        none["stages"][0] = json!({"from": "2020-01-01T00:00:00Z", "source": "x"});
        let none: Hydrology = serde_json::from_value(none).unwrap();
        assert_eq!(
            none.check().unwrap_err().to_string(),
            "stages[0]: no stage is given"
        );
        assert!(serde_json::from_value::<Hydrology>(json!({"more": 1})).is_err());
        assert!(serde_json::from_value::<Hydrology>(json!({"datums": [{"datum": "渤海"}]})).is_err());
    }

    #[test]
    fn a_change_is_felt_from_the_first_time_that_it_touches() {
        let before: Hydrology = serde_json::from_value(station()).unwrap();
        let after = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut changed = station();
            change(&mut changed);
            let changed: Hydrology = serde_json::from_value(changed).unwrap();
            (before.differs_from(&changed), changed.differs_from(&before))
        };
        let may = at("2026-05-01T00:00:00+08:00");
        assert_eq!(after(&|_| {}), (None, None));
        let stages = |s: &mut serde_json::Value| s["stages"][0]["warning"] = json!(2253.0);
        assert_eq!(after(&stages), (None, None));
        let verified = |s: &mut serde_json::Value| s["curves"][0]["verified"] = json!(true);
        assert_eq!(after(&verified), (None, None));
        let points = |s: &mut serde_json::Value| s["curves"][0]["points"][0][1] = json!(0.5);
        assert_eq!(after(&points), (Some(may), Some(may)));
        let july = at("2026-07-01T00:00:00+08:00");
        let ended = |s: &mut serde_json::Value| s["curves"][0]["to"] = json!(july);
        assert_eq!(after(&ended), (Some(july), Some(july)));
        let ice = |s: &mut serde_json::Value| s["ice"] = json!([]);
        assert_eq!(after(&ice).0, Some(Timestamp::from_ms(i64::MIN)));
        assert_eq!(
            before.differs_from(&Hydrology::default()),
            Some(Timestamp::from_ms(i64::MIN))
        );
    }

    #[test]
    fn seasons_of_one_year_and_leap_days_are_taken() {
        let season = |from: &str, to: &str| IceSeason {
            from: from.into(),
            to: to.into(),
        };
        let once = season("2026-11-20", "2027-03-15");
        once.check().unwrap();
        assert!(once.at(at("2027-01-01T00:00:00+08:00")) && !once.at(at("2028-01-01T00:00:00+08:00")));
        season("01-05", "02-29").check().unwrap();
        assert!(season("01-05", "02-20").at(at("2026-01-05T00:00:00+08:00")));
        assert!(!season("01-05", "02-20").at(at("2026-12-05T00:00:00+08:00")));
        assert!(season("2027-03-15", "2026-11-20").check().is_err());
        for (from, to, is_sound) in [
            ("11-20", "11-18", true),
            ("11-20", "11-20", true),
            ("01-01", "12-30", true),
            ("01-01", "12-31", false),
            ("03-01", "02-28", false),
            ("03-01", "02-29", false),
            ("03-01", "02-27", true),
        ] {
            assert_eq!(season(from, to).check().is_ok(), is_sound, "{from} to {to}");
        }
    }
}
