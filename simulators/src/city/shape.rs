//! How an undisturbed value goes through the day: a pure function of seed and time.
//!
//! Every part is bounded, so the largest and smallest value a shape can give are known
//! ([`Shape::bounds`]); the margin to the alarm thresholds is a fact, not luck.

use crate::prng::{seed_of, wave};

/// What makes up a value; every amplitude is in the quantity's unit.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Shape {
    /// Mean level.
    pub base: f64,
    /// Highest at 15:00, lowest at 03:00 (sun: temperature, ozone).
    pub sun: f64,
    /// Added at the rush hours around 08:00 and 18:00 (traffic: noise, NO2).
    pub rush: f64,
    /// Taken away in the dead of night (02:30).
    pub night: f64,
    /// Slow change over hours (weather).
    pub slow: f64,
    /// Change over a minute or two.
    pub fast: f64,
    /// Noise of each single value.
    pub jitter: f64,
    /// Never below.
    pub low: f64,
    /// Values under `base` are cut to `low`: gives long dry times and short showers.
    pub showers: bool,
}

const HOUR_S: f64 = 3600.0;

fn bell(hour: f64, peak: f64, width_h: f64) -> f64 {
    let mut away = (hour - peak).abs();
    if away > 12.0 {
        away = 24.0 - away;
    }
    (-(away / width_h).powi(2)).exp()
}

impl Shape {
    /// A steady level with noise in proportion.
    pub fn steady(base: f64, noise: f64) -> Self {
        Self {
            base,
            slow: noise * 0.5,
            fast: noise * 0.3,
            jitter: noise * 0.2,
            low: f64::NEG_INFINITY,
            ..Self::default()
        }
    }

    /// The value at a time (seconds since 1970, UTC) for one sensor's seed.
    pub fn value(&self, seed: u64, time_s: f64) -> f64 {
        let beijing_hour = (time_s / HOUR_S + 8.0).rem_euclid(24.0);
        let day = ((beijing_hour - 15.0) / 24.0 * std::f64::consts::TAU).cos();
        let rush = (bell(beijing_hour, 8.0, 1.5) + bell(beijing_hour, 18.0, 2.0)).min(1.0);
        let value = self.base + self.sun * day + self.rush * rush - self.night * bell(beijing_hour, 2.5, 2.5)
            + self.slow * wave(seed_of(&[seed, 1]), time_s, 2.5 * HOUR_S)
            + self.fast * wave(seed_of(&[seed, 2]), time_s, 75.0)
            + self.jitter * wave(seed_of(&[seed, 3]), time_s, 1.0);
        if self.showers && value < self.base {
            self.low
        } else {
            value.max(self.low)
        }
    }

    /// No value lies outside these two.
    pub fn bounds(&self) -> (f64, f64) {
        let swing = self.sun.abs() + self.slow + self.fast + self.jitter;
        let high = self.base + swing + self.rush.max(0.0) + (-self.night).max(0.0);
        let low = if self.showers {
            self.low
        } else {
            self.base - swing - self.night.max(0.0) + self.rush.min(0.0)
        };
        (low.max(self.low), high.max(self.low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_UTC: f64 = 1_795_435_200.0;

    fn traffic() -> Shape {
        Shape {
            base: 55.0,
            sun: 1.0,
            rush: 6.0,
            night: 10.0,
            slow: 1.0,
            fast: 2.0,
            jitter: 0.8,
            low: 30.0,
            showers: false,
        }
    }

    #[test]
    fn values_stay_within_the_stated_bounds() {
        let rain = Shape {
            base: 0.0,
            slow: 0.4,
            low: 0.0,
            showers: true,
            ..Shape::default()
        };
        for (seed, shape) in [(1, traffic()), (2, Shape::steady(1.4, 0.1)), (3, rain)] {
            let (low, high) = shape.bounds();
            for i in 0..20_000 {
                let v = shape.value(seed, NOON_UTC + f64::from(i) * 17.3);
                assert!((low..=high).contains(&v), "{v} not in {low}..={high}");
            }
        }
    }

    #[test]
    fn rush_hour_is_louder_than_the_night() {
        let at = |beijing_hour: f64| {
            let midnight_beijing = (NOON_UTC / 86_400.0).floor() * 86_400.0 - 8.0 * HOUR_S;
            traffic().value(5, midnight_beijing + beijing_hour * HOUR_S)
        };
        assert!(at(8.0) > at(2.5) + 8.0);
        assert!(at(18.0) > at(2.5) + 8.0);
    }

    #[test]
    fn the_same_seed_and_time_give_the_same_value_in_any_order() {
        let shape = traffic();
        let first = shape.value(9, NOON_UTC);
        shape.value(9, NOON_UTC + 1e6);
        assert_eq!(shape.value(9, NOON_UTC), first);
        assert_ne!(shape.value(10, NOON_UTC), first);
    }
}
