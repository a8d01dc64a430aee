//! Ambient air: the air quality index of HJ 633 and what of an hour or a day it is made, the limits of GB 3095, years by
//! HJ 663.

mod day;
mod index;
mod limits;
mod station;
mod year;

pub use day::{Day, EIGHT_HOURS, day_of};
pub use index::{AirIndex, AirStandard, Level, PollutantName, standards};
pub use limits::{AirLimit, AirLimits, Class, ClassName, Judged, Validity, limits};
pub use station::{DAY_MS, StationHours, daily_index, day_value, hourly_index};
pub use year::{Year, YearStandard, YearStandards, percentile, year_standards};

use serde::{Deserialize, Serialize};

/// A pollutant of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pollutant {
    /// Particles up to 2.5 um, ug/m3.
    #[serde(rename = "pm2_5")]
    Pm25,
    /// Particles up to 10 um, ug/m3.
    Pm10,
    /// Sulphur dioxide, ug/m3.
    So2,
    /// Nitrogen dioxide, ug/m3.
    No2,
    /// Carbon monoxide, mg/m3.
    Co,
    /// Ozone, ug/m3.
    O3,
}

impl Pollutant {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Pm25, Self::Pm10, Self::So2, Self::No2, Self::Co, Self::O3];

    /// Its name in the dictionary of quantities.
    pub fn quantity(self) -> &'static str {
        match self {
            Self::Pm25 => "pm2_5",
            Self::Pm10 => "pm10",
            Self::So2 => "so2",
            Self::No2 => "no2",
            Self::Co => "co",
            Self::O3 => "o3",
        }
    }
}

/// Over how long a concentration is a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// One hour.
    Hour,
    /// Eight hours, sliding by one.
    EightHours,
    /// A day.
    Day,
    /// A year of the calendar.
    Year,
}
