//! How good forecasts were, from forecasts as they were issued and what came.

use serde::{Deserialize, Serialize};

/// One forecast of one horizon as it was issued, and what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// When it was issued, milliseconds.
    pub origin_ms: i64,
    /// What it is for, milliseconds.
    pub target_ms: i64,
    /// The value at the origin: what persistence says.
    pub persistence: f64,
    /// Expected value: what squared error asks for.
    pub mean: f64,
    /// Median: what absolute error asks for.
    pub median: f64,
    /// Values at [`LEVELS`].
    pub quantiles: Vec<f64>,
    /// Ends of the 80 % interval.
    pub band80: (f64, f64),
    /// Chance that the threshold is exceeded, when there is one.
    pub crossing: Option<f64>,
    /// Whether the rule for warnings warns.
    pub warns: bool,
    /// State at the origin.
    pub state: crate::conformal::State,
    /// What came.
    pub observed: f64,
}

impl Scored {
    /// Whether what came lies in the 80 % interval, ends included.
    pub fn is_inside(&self) -> bool {
        self.band80.0 <= self.observed && self.observed <= self.band80.1
    }
}

/// Levels of issued quantiles.
pub const LEVELS: [f64; 11] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98];

/// Scores of one horizon. What cannot be said is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Forecasts scored.
    pub n: usize,
    /// Root of the mean squared error of the mean, units of the target.
    pub rmse: Option<f64>,
    /// That of persistence.
    pub rmse_persistence: Option<f64>,
    /// 1 − MSE/MSE(persistence): the persistence index.
    pub skill: Option<f64>,
    /// The same on rows whose observed value exceeds the threshold.
    pub flood_skill: Option<f64>,
    /// Those rows.
    pub n_flood: usize,
    /// Mean absolute error of the median.
    pub mae: Option<f64>,
    /// That of persistence.
    pub mae_persistence: Option<f64>,
    /// 1 − MAE/MAE(persistence).
    pub mae_skill: Option<f64>,
    /// Nash–Sutcliffe efficiency of the mean.
    pub nse: Option<f64>,
    /// Kling–Gupta efficiency of the mean.
    pub kge: Option<f64>,
    /// Continuous ranked probability score, from the issued quantiles, units of the target.
    pub crps: Option<f64>,
    /// 1 − CRPS/MAE(persistence): a single value's CRPS is its absolute error.
    pub crps_skill: Option<f64>,
    /// Share of observed values inside the 80 % interval, ends included.
    pub coverage80: Option<f64>,
    /// The same on rows above the threshold.
    pub coverage80_above: Option<f64>,
    /// Mean width of the 80 % interval.
    pub width80: Option<f64>,
    /// Hits, misses, false alarms and correct silences of warnings.
    pub table: Option<Table>,
    /// Probability of detection: hits/(hits + misses).
    pub pod: Option<f64>,
    /// False-alarm ratio: false alarms/(hits + false alarms).
    pub far: Option<f64>,
    /// Critical success index: hits/(hits + misses + false alarms).
    pub csi: Option<f64>,
    /// That of persistence.
    pub csi_persistence: Option<f64>,
    /// Mean squared error of the crossing probability.
    pub brier: Option<f64>,
    /// 1 − Brier/Brier(persistence as 0 or 1).
    pub brier_skill: Option<f64>,
}

/// A two-by-two table of warnings and exceedances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Warned and exceeded.
    pub hits: usize,
    /// Exceeded without a warning.
    pub misses: usize,
    /// Warned in vain.
    pub false_alarms: usize,
    /// Neither.
    pub correct_silences: usize,
}

impl Table {
    /// Counts one.
    pub fn count(&mut self, is_warned: bool, is_exceeded: bool) {
        match (is_warned, is_exceeded) {
            (true, true) => self.hits += 1,
            (false, true) => self.misses += 1,
            (true, false) => self.false_alarms += 1,
            (false, false) => self.correct_silences += 1,
        }
    }

    /// Probability of detection; `None` when nothing was exceeded.
    pub fn pod(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses)
    }

    /// False-alarm ratio; `None` when nothing was warned of.
    pub fn far(&self) -> Option<f64> {
        ratio(self.false_alarms, self.hits + self.false_alarms)
    }

    /// Critical success index; `None` when nothing was exceeded nor warned of.
    pub fn csi(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses + self.false_alarms)
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// 1 − a/b; `None` when b is zero.
fn gain(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then(|| 1.0 - a / b).filter(|gain| gain.is_finite())
}

/// Scores forecasts of one horizon; an exceedance is `observed > threshold`.
pub fn score(rows: &[Scored], threshold: Option<f64>) -> Scores {
    let n = rows.len();
    let mut out = Scores {
        n,
        ..Scores::default()
    };
    if n == 0 {
        return out;
    }
    let mean_of = |f: &dyn Fn(&Scored) -> f64| rows.iter().map(f).sum::<f64>() / n as f64;
    let mse = mean_of(&|r| (r.observed - r.mean).powi(2));
    let mse_persistence = mean_of(&|r| (r.observed - r.persistence).powi(2));
    let mae = mean_of(&|r| (r.observed - r.median).abs());
    let mae_persistence = mean_of(&|r| (r.observed - r.persistence).abs());
    out.rmse = Some(mse.sqrt());
    out.rmse_persistence = Some(mse_persistence.sqrt());
    out.skill = gain(mse, mse_persistence);
    out.mae = Some(mae);
    out.mae_persistence = Some(mae_persistence);
    out.mae_skill = gain(mae, mae_persistence);
    let (mean_observed, mean_forecast) = (mean_of(&|r| r.observed), mean_of(&|r| r.mean));
    let variance = mean_of(&|r| (r.observed - mean_observed).powi(2));
    let variance_forecast = mean_of(&|r| (r.mean - mean_forecast).powi(2));
    out.nse = gain(mse, variance);
    if variance > 0.0 && variance_forecast > 0.0 && mean_observed != 0.0 {
        let shared = mean_of(&|r| (r.observed - mean_observed) * (r.mean - mean_forecast));
        let correlation = shared / (variance * variance_forecast).sqrt();
        let spread = (variance_forecast / variance).sqrt();
        let bias = mean_forecast / mean_observed;
        out.kge =
            Some(1.0 - ((correlation - 1.0).powi(2) + (spread - 1.0).powi(2) + (bias - 1.0).powi(2)).sqrt());
    }
    let crps = mean_of(&|r| crps_of(&r.quantiles, r.observed));
    out.crps = Some(crps);
    out.crps_skill = gain(crps, mae_persistence);
    out.coverage80 = ratio(rows.iter().filter(|r| r.is_inside()).count(), n);
    out.width80 = Some(mean_of(&|r| r.band80.1 - r.band80.0));
    let Some(threshold) = threshold else {
        return out;
    };
    let above: Vec<&Scored> = rows.iter().filter(|r| r.observed > threshold).collect();
    out.n_flood = above.len();
    let sse: f64 = above.iter().map(|r| (r.observed - r.mean).powi(2)).sum();
    let sse_persistence: f64 = above.iter().map(|r| (r.observed - r.persistence).powi(2)).sum();
    out.flood_skill = gain(sse, sse_persistence);
    out.coverage80_above = ratio(above.iter().filter(|r| r.is_inside()).count(), above.len());
    let (mut table, mut of_persistence) = (Table::default(), Table::default());
    for row in rows {
        table.count(row.warns, row.observed > threshold);
        of_persistence.count(row.persistence > threshold, row.observed > threshold);
    }
    out.table = Some(table);
    out.pod = table.pod();
    out.far = table.far();
    out.csi = table.csi();
    out.csi_persistence = of_persistence.csi();
    let chance = |r: &Scored| {
        r.crossing
            .unwrap_or_else(|| f64::from(u8::from(r.persistence > threshold)))
    };
    let came = |r: &Scored| f64::from(u8::from(r.observed > threshold));
    let brier = mean_of(&|r| (chance(r) - came(r)).powi(2));
    out.brier = Some(brier);
    out.brier_skill = gain(
        brier,
        mean_of(&|r| (f64::from(u8::from(r.persistence > threshold)) - came(r)).powi(2)),
    );
    out
}

/// CRPS of a distribution given by its values at [`LEVELS`]: twice the pinball loss, weighted by the distance of the levels.
pub fn crps_of(quantiles: &[f64], observed: f64) -> f64 {
    let n = LEVELS.len();
    (0..n)
        .map(|i| {
            let below = if i == 0 {
                0.0
            } else {
                (LEVELS[i - 1] + LEVELS[i]) / 2.0
            };
            let above = if i + 1 == n {
                1.0
            } else {
                (LEVELS[i] + LEVELS[i + 1]) / 2.0
            };
            2.0 * (above - below) * pinball(observed - quantiles[i], LEVELS[i])
        })
        .sum()
}

/// Pinball loss of a residual at a level.
pub fn pinball(residual: f64, level: f64) -> f64 {
    if residual >= 0.0 {
        level * residual
    } else {
        (level - 1.0) * residual
    }
}

/// Of up-crossings that came, the longest horizon at which one was warned of, milliseconds; zero where none was, and
/// the median over all. `by_horizon` has the scored forecasts of each. `None` when nothing crossed.
pub fn median_lead_ms(by_horizon: &[Vec<Scored>], threshold: f64) -> Option<i64> {
    let mut events: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
    // The shortest horizon sees most: its observed values tell where the crossings are.
    for two in by_horizon.first()?.windows(2) {
        if two[0].observed <= threshold && two[1].observed > threshold {
            events.insert(two[1].target_ms, 0);
        }
    }
    for rows in by_horizon {
        for row in rows
            .iter()
            .filter(|row| row.warns && row.persistence <= threshold)
        {
            if let Some(lead) = events.get_mut(&row.target_ms) {
                *lead = (*lead).max(row.target_ms - row.origin_ms);
            }
        }
    }
    let mut leads: Vec<i64> = events.into_values().collect();
    leads.sort_unstable();
    (!leads.is_empty()).then(|| leads[leads.len() / 2])
}

/// A quantile of ascending values by linear interpolation; NaN of none.
pub fn quantile_of(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::conformal::State;

    fn row(origin: i64, persistence: f64, mean: f64, observed: f64, chance: f64) -> Scored {
        Scored {
            origin_ms: origin,
            target_ms: origin + 1,
            persistence,
            mean,
            median: mean,
            quantiles: LEVELS.iter().map(|level| mean + (level - 0.5)).collect(),
            band80: (mean - 0.4, mean + 0.4),
            crossing: Some(chance),
            warns: chance >= 0.5,
            state: State::Steady,
            observed,
        }
    }

    #[test]
    fn scores_equal_those_worked_by_hand() {
        // Threshold 2: hit, miss, false alarm, silence.
        let rows = [
            row(0, 1.0, 2.9, 3.0, 0.9),
            row(1, 1.0, 1.5, 2.5, 0.2),
            row(2, 2.0, 2.6, 1.0, 0.6),
            row(3, 1.0, 1.0, 1.0, 0.1),
        ];
        let scores = score(&rows, Some(2.0));
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        assert_eq!(
            scores.table.unwrap(),
            Table {
                hits: 1,
                misses: 1,
                false_alarms: 1,
                correct_silences: 1
            }
        );
        near(scores.pod, 0.5);
        near(scores.far, 0.5);
        near(scores.csi, 1.0 / 3.0);
        // Squares: 0.01, 1, 2.56, 0 against 4, 2.25, 1, 0.
        near(scores.skill, 1.0 - 3.57 / 7.25);
        near(scores.flood_skill, 1.0 - 1.01 / 6.25);
        near(scores.mae_skill, 1.0 - 2.7 / 4.5);
        near(scores.brier, (0.01 + 0.64 + 0.36 + 0.01) / 4.0);
        // Persistence never exceeds 2: wrong twice.
        near(scores.brier_skill, 1.0 - (1.02 / 4.0) / 0.5);
        near(scores.coverage80, 0.5);
        near(scores.coverage80_above, 0.5);
    }

    #[test]
    fn what_cannot_be_said_is_none() {
        let empty = score(&[], Some(1.0));
        assert_eq!((empty.skill, empty.rmse, empty.n), (None, None, 0));
        let constant = score(&[row(0, 1.0, 1.0, 1.0, 0.0)], Some(5.0));
        assert_eq!(
            (constant.skill, constant.flood_skill, constant.pod, constant.nse),
            (None, None, None, None)
        );
    }

    #[test]
    fn crps_of_a_point_is_about_its_error_and_grows_with_it() {
        let sharp = [1.0; LEVELS.len()];
        assert!((crps_of(&sharp, 3.0) - 2.0).abs() < 0.05);
        assert!(crps_of(&sharp, 4.0) > crps_of(&sharp, 3.0));
    }

    #[test]
    fn the_lead_is_that_of_the_longest_warning_before_a_crossing() {
        let at = |origin: i64, h: i64, chance: f64, observed: f64| Scored {
            origin_ms: origin,
            target_ms: origin + h,
            ..row(origin, 1.0, 1.0, observed, chance)
        };
        let short = vec![at(0, 1, 0.0, 1.0), at(1, 1, 0.9, 3.0), at(2, 1, 0.9, 3.0)];
        let long = vec![at(-4, 6, 0.8, 3.0), at(-3, 6, 0.0, 3.0)];
        assert_eq!(median_lead_ms(&[short.clone(), long], 2.0), Some(6));
        assert_eq!(median_lead_ms(&[short], 2.0), Some(1));
    }
}
