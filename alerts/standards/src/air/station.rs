//! The index of a station's hours and days, from what each of its pollutants said hour by hour.

use std::collections::BTreeMap;

use onemap_model::Timestamp;

use super::{AirIndex, Averaging, Class, Day, Pollutant, Validity, day_of, limits, standards};
use crate::hour::{Came, HOUR_MS, Hour};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Hours of a station by pollutant and by their ends in ms.
pub type StationHours = BTreeMap<Pollutant, BTreeMap<i64, Hour>>;

/// A pollutant's day that ends at `end` (ms, a midnight of Beijing) from its valid hours: of ozone the largest mean
/// of eight hours, valid also with fewer of them when it is above `limit`. `None` when no hour is valid.
pub fn day_value(
    pollutant: Pollutant,
    hours: &BTreeMap<i64, Hour>,
    end: i64,
    limit: Option<f64>,
    validity: &Validity,
) -> Option<(Day, Came)> {
    let mut said = [None; 24];
    let mut came = Came::default();
    for (i, slot) in said.iter_mut().enumerate() {
        let hour_end = end - DAY_MS + (i as i64 + 1) * HOUR_MS;
        if let Some(hour) = hours.get(&hour_end).filter(|hour| hour.is_valid) {
            *slot = Some(hour.value);
            came = came.with(hour.came);
        }
    }
    let day = day_of(&said, pollutant == Pollutant::O3, limit, validity)?;
    Some((day, came))
}

/// The index of the hour that ends at `end`, by the edition of that time; `None` when nothing of it is valid, or no
/// edition held then.
pub fn hourly_index(hours: &StationHours, end: i64) -> Option<AirIndex> {
    let at = |hours: &BTreeMap<i64, Hour>| hours.get(&end).filter(|hour| hour.is_valid).map(|h| h.value);
    let said = hours
        .iter()
        .filter_map(|(pollutant, hours)| Some((*pollutant, at(hours)?)));
    standards().hourly(standards().at(Timestamp::from_ms(end))?, &said.collect())
}

/// The index of the day that ends at `end`, a midnight of Beijing, as [`hourly_index`]. The ozone limit of `class`
/// decides whether a day of few hours is valid.
pub fn daily_index(hours: &StationHours, end: i64, class: Class) -> Option<AirIndex> {
    let at = Timestamp::from_ms(end);
    let law = limits().at(at)?;
    let limit = law.limit(Pollutant::O3, Averaging::EightHours, class);
    let valid = |pollutant, hours| {
        let (day, _) = day_value(pollutant, hours, end, limit, &law.validity)?;
        day.is_valid.then_some(day.value)
    };
    let said = hours
        .iter()
        .filter_map(|(pollutant, hours)| Some((*pollutant, valid(*pollutant, hours)?)));
    standards().daily(standards().at(at)?, &said.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// 24 hours of a day of June 2025 that all say the same, but for those of ozone at 8 to 20 h.
    fn station(end: i64) -> StationHours {
        let hour = |value| Hour {
            value,
            is_valid: true,
            came: Came::default(),
        };
        let day = |value: f64, noon: f64| {
            let hours = (0..24).map(|i| {
                let value = if (8..20).contains(&i) { noon } else { value };
                (end - i * HOUR_MS, hour(value))
            });
            hours.collect()
        };
        [
            (Pollutant::Pm25, day(75.0, 75.0)),
            (Pollutant::O3, day(60.0, 180.0)),
        ]
        .into()
    }

    #[test]
    fn an_hour_and_a_day_have_their_own_index() {
        let end = Timestamp::parse("2025-06-02T00:00:00+08:00").unwrap().ms();
        let mut hours = station(end);
        assert_eq!(hourly_index(&hours, end).unwrap().aqi, 100);
        // O3 of eight hours at 180: 100 + 20/55 of 50.
        let day = daily_index(&hours, end, Class::try_from(2).unwrap()).unwrap();
        assert_eq!((day.aqi, day.primary), (119, vec![Pollutant::O3]));
        for hour in hours.values_mut().flat_map(BTreeMap::values_mut) {
            hour.is_valid = false;
        }
        assert_eq!(hourly_index(&hours, end), None);
        assert_eq!(daily_index(&hours, end, Class::try_from(2).unwrap()), None);
        assert_eq!(hourly_index(&StationHours::new(), end), None);
    }
}
