//! The air quality index: from concentrations to a sub-index each, the largest of them, level and primary
//! pollutant (HJ 633).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Averaging, Pollutant};
use crate::decimal::round_half_even;
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "aqi.json";
const DATA: &str = include_str!("../../data/aqi.json");

/// The tables as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirStandards {
    index: Vec<u16>,
    pollutants: Vec<PollutantName>,
    levels: Vec<Level>,
    editions: Vec<AirStandard>,
}

/// How a pollutant is named, and what its concentrations are rounded to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PollutantName {
    /// Which.
    pub pollutant: Pollutant,
    /// Chinese, as the national network publishes it.
    pub zh: String,
    /// English.
    pub en: String,
    /// Of its concentrations.
    pub unit: String,
    /// Decimals that count.
    pub decimals: usize,
}

/// A level of the index.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// 1 to 6.
    pub level: u8,
    /// The largest index that belongs to it; none above the others.
    pub up_to: Option<u16>,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
    /// Colour on maps.
    pub rgb: [u8; 3],
}

/// One edition of the index.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirStandard {
    /// When it holds.
    pub edition: Edition,
    /// Whether it names the pollutants whose sub-index is above 100.
    names_exceeding: bool,
    hourly: BTreeMap<Pollutant, Averaging>,
    daily: BTreeMap<Pollutant, Averaging>,
    tables: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    pollutant: Pollutant,
    averaging: Averaging,
    /// Concentrations at the break points of the index; a short table ends early.
    breakpoints: Vec<i64>,
    beyond: Beyond,
}

/// What holds above the last break point.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Beyond {
    /// This index.
    Index(u16),
    /// What the table of another averaging says.
    As(Averaging),
}

/// The index of a station for an hour or a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AirIndex {
    /// The largest sub-index.
    pub aqi: u16,
    /// Its level.
    pub level: u8,
    /// The edition that it was made by.
    pub standard: String,
    /// The pollutants with the largest sub-index, when that is above 50.
    pub primary: Vec<Pollutant>,
    /// Those whose sub-index is above 100, in editions that name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceeding: Vec<Pollutant>,
    /// Sub-indices.
    pub iaqi: BTreeMap<Pollutant, u16>,
    /// Pollutants of which there was no concentration.
    pub missing: Vec<Pollutant>,
}

/// The standards of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn standards() -> &'static AirStandards {
    static STANDARDS: OnceLock<AirStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| AirStandards::parse(DATA).expect("a test reads this file"))
}

impl AirStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for pollutant in Pollutant::ALL {
            if !all.pollutants.iter().any(|name| name.pollutant == pollutant) {
                return Err(fault(format!("{} has no name", pollutant.quantity())));
            }
        }
        if !all.index.is_sorted_by(|a, b| a < b) || all.levels.last().is_none_or(|l| l.up_to.is_some()) {
            return Err(fault(
                "the index does not rise, or the last level ends".to_owned(),
            ));
        }
        for one in &all.editions {
            let id = &one.edition.id;
            for table in &one.tables {
                let points = &table.breakpoints;
                if points.len() < 2 || points.len() > all.index.len() || !points.is_sorted_by(|a, b| a < b) {
                    let what = format!("{id}: {:?} of {:?}", table.averaging, table.pollutant);
                    return Err(fault(format!(
                        "{what}: break points do not rise, or are too many"
                    )));
                }
                if let Beyond::As(other) = table.beyond
                    && one
                        .table(table.pollutant, other)
                        .is_none_or(|t| matches!(t.beyond, Beyond::As(_)))
                {
                    return Err(fault(format!("{id}: {:?} leads to no table", table.pollutant)));
                }
            }
            for (pollutant, averaging) in one.hourly.iter().chain(&one.daily) {
                if one.table(*pollutant, *averaging).is_none() {
                    return Err(fault(format!(
                        "{id}: no table for {averaging:?} of {pollutant:?}"
                    )));
                }
            }
        }
        Ok(all)
    }

    /// The edition that holds for a value whose period ends then.
    pub fn at(&self, end: Timestamp) -> Option<&AirStandard> {
        on_day(&self.editions, |one| &one.edition, end)
    }
    /// The edition of a name, `HJ 633-2012`.
    pub fn named(&self, id: &str) -> Option<&AirStandard> {
        self.editions.iter().find(|one| one.edition.id == id)
    }
    /// How a pollutant is named.
    pub fn name(&self, pollutant: Pollutant) -> &PollutantName {
        let named = self.pollutants.iter().find(|name| name.pollutant == pollutant);
        named.expect("the file was checked for all of them")
    }
    /// The level of an index.
    pub fn level(&self, aqi: u16) -> &Level {
        let level = self
            .levels
            .iter()
            .find(|level| level.up_to.is_none_or(|most| aqi <= most));
        level.expect("the file was checked for a last level without end")
    }

    /// The sub-index of a concentration, rounded up; `None` when the edition has no table for it, or it is
    /// negative or no number.
    pub fn iaqi(
        &self,
        standard: &AirStandard,
        pollutant: Pollutant,
        averaging: Averaging,
        concentration: f64,
    ) -> Option<u16> {
        let decimals = self.name(pollutant).decimals;
        let c = round_half_even(concentration, decimals).filter(|c| *c >= 0)?;
        let scale = 10i64.pow(u32::try_from(decimals).ok()?);
        let mut table = standard.table(pollutant, averaging)?;
        let last = |table: &Table| table.breakpoints.last().copied().unwrap_or_default() * scale;
        if c > last(table) {
            match table.beyond {
                Beyond::Index(index) => return Some(index),
                Beyond::As(other) => table = standard.table(pollutant, other)?,
            }
            if c > last(table) {
                return match table.beyond {
                    Beyond::Index(index) => Some(index),
                    Beyond::As(_) => None,
                };
            }
        }
        let i = table
            .breakpoints
            .partition_point(|point| point * scale < c)
            .max(1);
        let (low, high) = (table.breakpoints[i - 1] * scale, table.breakpoints[i] * scale);
        let (from, to) = (i64::from(self.index[i - 1]), i64::from(self.index[i]));
        // Rounded up: all of it is whole numbers.
        let steps = (to - from) * (c - low);
        let index = from + (steps + (high - low) - 1) / (high - low);
        u16::try_from(index).ok()
    }

    /// The index of an hour: particles and gases as means of that hour. `None` when there is no concentration.
    pub fn hourly(&self, standard: &AirStandard, said: &BTreeMap<Pollutant, f64>) -> Option<AirIndex> {
        self.index_of(standard, &standard.hourly, said)
    }
    /// The index of a day: means of the day, and of ozone the largest mean of eight hours.
    pub fn daily(&self, standard: &AirStandard, said: &BTreeMap<Pollutant, f64>) -> Option<AirIndex> {
        self.index_of(standard, &standard.daily, said)
    }

    fn index_of(
        &self,
        standard: &AirStandard,
        by: &BTreeMap<Pollutant, Averaging>,
        said: &BTreeMap<Pollutant, f64>,
    ) -> Option<AirIndex> {
        let iaqi: BTreeMap<Pollutant, u16> = by
            .iter()
            .filter_map(|(pollutant, averaging)| {
                let concentration = *said.get(pollutant)?;
                Some((
                    *pollutant,
                    self.iaqi(standard, *pollutant, *averaging, concentration)?,
                ))
            })
            .collect();
        let aqi = *iaqi.values().max()?;
        let which = |wanted: &dyn Fn(u16) -> bool| {
            let chosen = iaqi.iter().filter(|(_, index)| wanted(**index));
            chosen.map(|(pollutant, _)| *pollutant).collect::<Vec<_>>()
        };
        Some(AirIndex {
            aqi,
            level: self.level(aqi).level,
            standard: standard.edition.id.clone(),
            primary: which(&|index| aqi > 50 && index == aqi),
            exceeding: which(&|index| standard.names_exceeding && index > 100),
            missing: by.keys().filter(|p| !iaqi.contains_key(p)).copied().collect(),
            iaqi,
        })
    }
}

impl AirStandard {
    fn table(&self, pollutant: Pollutant, averaging: Averaging) -> Option<&Table> {
        self.tables
            .iter()
            .find(|table| table.pollutant == pollutant && table.averaging == averaging)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_data_file_is_whole_and_faults_in_one_are_told() {
        AirStandards::parse(DATA).unwrap();
        for (from, to) in [
            ("[0, 35, 75, 115", "[0, 35, 35, 115"),
            ("\"2026-02-28\"", "\"2026-03-02\""),
            ("\"up_to\": null", "\"up_to\": 400"),
            ("\"as\": \"day\"", "\"as\": \"eight_hours\""),
            ("\"decimals\": 1", "\"decimal\": 1"),
        ] {
            assert!(DATA.contains(from), "{from}");
            assert!(AirStandards::parse(&DATA.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn above_the_tables_the_editions_differ() {
        let all = standards();
        let (old, new) = (
            all.named("HJ 633-2012").unwrap(),
            all.named("HJ 633-2026").unwrap(),
        );
        for (pollutant, averaging, c, in_old, in_new) in [
            (Pollutant::So2, Averaging::Hour, 800.0, 200, 200),
            // (300 - 200) / (1600 - 800) * 1 + 200, rounded up.
            (Pollutant::So2, Averaging::Hour, 801.0, 201, 200),
            (Pollutant::So2, Averaging::Hour, 9000.0, 500, 200),
            (Pollutant::O3, Averaging::EightHours, 800.0, 300, 300),
            // (400 - 300) / (1000 - 800) * 1 + 300, rounded up.
            (Pollutant::O3, Averaging::EightHours, 801.0, 301, 300),
            (Pollutant::Pm25, Averaging::Day, 501.0, 500, 500),
            (Pollutant::Pm25, Averaging::Day, 60.6, 83, 101),
            (Pollutant::Co, Averaging::Hour, 5.04, 50, 50),
            (Pollutant::Co, Averaging::Hour, 5.06, 51, 51),
        ] {
            let found = [old, new].map(|s| all.iaqi(s, pollutant, averaging, c));
            assert_eq!(
                found,
                [Some(in_old), Some(in_new)],
                "{pollutant:?} {averaging:?} {c}"
            );
        }
        assert_eq!(all.iaqi(old, Pollutant::Pm25, Averaging::Hour, 1.0), None);
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(all.iaqi(old, Pollutant::Pm25, Averaging::Day, bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_not_measured_is_missing_and_not_clean() {
        let all = standards();
        let old = all.named("HJ 633-2012").unwrap();
        assert_eq!(all.hourly(old, &BTreeMap::new()), None);
        let index = all.hourly(old, &[(Pollutant::Pm10, 40.0)].into()).unwrap();
        assert_eq!((index.aqi, index.level), (40, 1));
        assert_eq!(index.primary, []);
        assert_eq!(index.missing.len(), 5);
        let index = all
            .hourly(old, &[(Pollutant::Pm10, 152.0), (Pollutant::Pm25, 76.0)].into())
            .unwrap();
        assert_eq!((index.aqi, index.level), (102, 3));
        assert_eq!(index.primary, [Pollutant::Pm25]);
        assert_eq!(index.exceeding, [Pollutant::Pm25, Pollutant::Pm10]);
    }

    proptest! {
        #[test]
        fn more_is_never_better(c in 0.0f64..3000.0, more in 0.0f64..100.0) {
            let all = standards();
            for standard in &all.editions {
                for table in &standard.tables {
                    let index = |c| all.iaqi(standard, table.pollutant, table.averaging, c).unwrap();
                    prop_assert!(index(c) <= index(c + more));
                    prop_assert!(index(c) <= 500);
                }
            }
        }
    }

    #[test]
    fn the_dictionary_has_the_levels_of_the_law_and_the_channels_of_hours_and_days() {
        use onemap_model::Quantity;

        use crate::hour::{OF_DAYS, OF_HOURS};
        for name in ["aqi", "aqi_level", "aqi_primary"] {
            let quantity = Quantity::named(name).map(|quantity| &*quantity.definition().derived);
            assert_eq!(quantity, Some(&[OF_HOURS, OF_DAYS][..]), "{name}");
        }
        let states = Quantity::named("aqi_level").map_or(&[][..], |level| &level.definition().states);
        let of_dictionary: Vec<_> = states
            .iter()
            .map(|state| (state.code, &*state.zh, &*state.en))
            .collect();
        let of_law: Vec<_> = standards()
            .levels
            .iter()
            .map(|level| (u16::from(level.level), &*level.zh, &*level.en))
            .collect();
        assert_eq!(of_dictionary, of_law);
    }
}
