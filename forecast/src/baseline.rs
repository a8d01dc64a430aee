//! What a model has to beat: persistence, damped trend, the value of a season ago, the way back to what is usual.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use crate::ridge::Moments;

/// Holt's linear trend with damping (Gardner and McKenzie 1985).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DampedTrend {
    /// Smoothing of the level, `(0, 1]`.
    pub level: f64,
    /// Smoothing of the trend, `(0, 1]`.
    pub trend: f64,
    /// Share of the trend that the next step keeps, `[0, 1)`.
    pub damping: f64,
}

impl DampedTrend {
    /// Settings to choose from.
    pub const CHOICES: [Self; 12] = {
        let mut all = [Self {
            level: 1.0,
            trend: 1.0,
            damping: 0.5,
        }; 12];
        let (trends, dampings) = ([0.1, 0.3, 0.6, 1.0], [0.5, 0.8, 0.95]);
        let mut at = 0;
        while at < 12 {
            all[at] = Self {
                level: 0.9,
                trend: trends[at / 3],
                damping: dampings[at % 3],
            };
            at += 1;
        }
        all
    };

    /// Change that is foreseen over `horizon` steps at every step; NaN where the value is missing. After a gap the trend
    /// begins anew at zero.
    pub fn changes(&self, values: &[f64], horizon: usize) -> Vec<f64> {
        let reach: f64 = (1..=horizon)
            .map(|k| self.damping.powi(k.min(10_000) as i32))
            .sum();
        let mut state: Option<(f64, f64)> = None;
        values
            .iter()
            .map(|value| {
                if value.is_nan() {
                    state = None;
                    return f64::NAN;
                }
                let (level, trend) = match state {
                    None => (*value, 0.0),
                    Some((level, trend)) => {
                        let foreseen = level + self.damping * trend;
                        let next = self.level * value + (1.0 - self.level) * foreseen;
                        (
                            next,
                            self.trend * (next - level) + (1.0 - self.trend) * self.damping * trend,
                        )
                    }
                };
                state = Some((level, trend));
                level + reach * trend - value
            })
            .collect()
    }
}

/// What is usual at a time of day and year: a constant and two harmonics each, by least squares with a small penalty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Climatology {
    periods_ms: Vec<f64>,
    weights: Vec<f64>,
}

impl Climatology {
    /// Fits values (NaN is passed over) at their times. `None` of fewer than ten values.
    pub fn fit(times_ms: &[i64], values: &[f64], periods_ms: &[f64]) -> Option<Self> {
        let mut moments = Moments::new(4 * periods_ms.len());
        let known: Vec<(Vec<f64>, f64)> = times_ms
            .iter()
            .zip(values)
            .filter(|(_, value)| !value.is_nan())
            .map(|(time, value)| (harmonics(*time, periods_ms), *value))
            .collect();
        if known.len() < 10 {
            return None;
        }
        moments.add(known.iter().map(|(x, y)| (x.as_slice(), *y, 1.0)));
        let line = moments.solve(known.len() as f64 * 1e-3)?;
        let mut weights = vec![line.intercept];
        weights.extend(line.slopes);
        Some(Self {
            periods_ms: periods_ms.to_vec(),
            weights,
        })
    }

    /// The usual value at a time.
    pub fn at(&self, time_ms: i64) -> f64 {
        let waves = harmonics(time_ms, &self.periods_ms);
        self.weights[0]
            + waves
                .iter()
                .zip(&self.weights[1..])
                .map(|(x, w)| x * w)
                .sum::<f64>()
    }

    /// Change from a value at one time to another when `memory` (`[0, 1]`) of its distance from the usual is left then.
    pub fn change(&self, from_ms: i64, value: f64, to_ms: i64, memory: f64) -> f64 {
        self.at(to_ms) + memory * (value - self.at(from_ms)) - value
    }
}

fn harmonics(time_ms: i64, periods_ms: &[f64]) -> Vec<f64> {
    periods_ms
        .iter()
        .flat_map(|period| {
            let phase = TAU * (time_ms as f64 / period).fract();
            [phase.sin(), phase.cos(), (2.0 * phase).sin(), (2.0 * phase).cos()]
        })
        .collect()
}

/// Seasonal change: what the same phase one whole number of seasons ago did; NaN where that is not known.
pub fn seasonal_changes(values: &[f64], horizon: usize, season: usize) -> Vec<f64> {
    let back = season.max(1) * horizon.div_ceil(season.max(1));
    (0..values.len())
        .map(|at| match (at + horizon).checked_sub(back) {
            Some(then) if at >= back => values[then] - values[at],
            _ => f64::NAN,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_steady_rise_is_carried_on_and_damped() {
        let rise: Vec<f64> = (0..50).map(f64::from).collect();
        let full = DampedTrend {
            level: 1.0,
            trend: 1.0,
            damping: 0.5,
        };
        let changes = full.changes(&rise, 3);
        // With all weight on the newest change of 1: 0.5 + 0.25 + 0.125.
        assert!((changes[40] - 0.875).abs() < 1e-9);
        let gap = full.changes(&[1.0, 2.0, f64::NAN, 4.0], 1);
        assert!(gap[2].is_nan() && gap[3] == 0.0);
    }

    #[test]
    fn a_daily_wave_is_usual_and_what_is_above_comes_back() {
        let day = 86_400_000.0;
        let times: Vec<i64> = (0..24 * 30).map(|h| h * 3_600_000).collect();
        let values: Vec<f64> = times
            .iter()
            .map(|t| 5.0 + (TAU * *t as f64 / day).sin())
            .collect();
        let usual = Climatology::fit(&times, &values, &[day]).unwrap();
        assert!((usual.at(6 * 3_600_000) - 6.0).abs() < 0.02);
        let change = usual.change(0, 7.0, 86_400_000, 0.25);
        assert!((change + 1.5).abs() < 0.03, "{change}");
        assert!(Climatology::fit(&times[..3], &values[..3], &[day]).is_none());
    }

    #[test]
    fn the_season_before_says_the_change() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i % 8)).collect();
        let changes = seasonal_changes(&values, 3, 8);
        assert!(changes[4].is_nan());
        assert_eq!(changes[20], values[23] - values[20]);
    }
}
