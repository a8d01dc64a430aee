//! The chance that a threshold is exceeded: read from the quantiles of a forecast, put right by how often it came.

use serde::{Deserialize, Serialize};

use crate::score::{LEVELS, Table};

/// Chance that a value given by its quantiles at [`LEVELS`] (ascending) is above a threshold. Beyond the outer quantiles the
/// chance falls by half with each distance between the two outermost ones.
pub fn chance_above(quantiles: &[f64], threshold: f64) -> f64 {
    let last = LEVELS.len() - 1;
    let (lowest, highest) = (quantiles[0], quantiles[last]);
    if threshold < lowest {
        let width = (quantiles[1] - lowest).max((highest - lowest) * 0.02).max(1e-12);
        return 1.0 - LEVELS[0] * 0.5f64.powf((lowest - threshold) / width);
    }
    if threshold >= highest {
        let width = (highest - quantiles[last - 1])
            .max((highest - lowest) * 0.02)
            .max(1e-12);
        return (1.0 - LEVELS[last]) * 0.5f64.powf((threshold - highest) / width);
    }
    let above = quantiles.partition_point(|q| *q <= threshold).clamp(1, last);
    let (a, b) = (quantiles[above - 1], quantiles[above]);
    let share = if b > a { (threshold - a) / (b - a) } else { 1.0 };
    1.0 - (LEVELS[above - 1] + share * (LEVELS[above] - LEVELS[above - 1]))
}

/// A rising curve from chances as read to chances as they came (isotonic regression by pooling adjacent violators).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    knots: Vec<(f64, f64)>,
    /// Chance from which a warning is given: the one with the largest critical success index in training.
    pub warn_at: f64,
}

/// Cases of either kind that a curve needs.
const LEAST: usize = 25;

impl Calibration {
    /// Learns from chances and whether the threshold was exceeded. With fewer than 25 cases of either kind chances stay as
    /// they are and a warning is given from one half.
    pub fn learn(cases: &[(f64, bool)]) -> Self {
        let n_came = cases.iter().filter(|(_, came)| *came).count();
        if n_came < LEAST || cases.len() - n_came < LEAST {
            return Self {
                knots: Vec::new(),
                warn_at: 0.5,
            };
        }
        let mut sorted = cases.to_vec();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks of (sum of chances, number that came, number).
        let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
        for (chance, came) in sorted {
            blocks.push((chance, f64::from(u8::from(came)), 1.0));
            while let [.., before, last] = blocks.as_slice() {
                let apart = last.0 / last.2 - before.0 / before.2;
                if before.1 / before.2 < last.1 / last.2 && before.2 >= 10.0 && apart > 1e-6 {
                    break;
                }
                let merged = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
                blocks.truncate(blocks.len() - 2);
                blocks.push(merged);
            }
        }
        // A block is never surer than its number of cases allows.
        let knots: Vec<(f64, f64)> = blocks
            .iter()
            .map(|(chance, came, n)| (chance / n, (came + 0.1) / (n + 0.2)))
            .collect();
        let mut found = Self { knots, warn_at: 0.5 };
        let csi = |at: f64| {
            let mut table = Table::default();
            for (chance, came) in cases {
                table.count(found.at(*chance) >= at, *came);
            }
            table.csi().unwrap_or(0.0)
        };
        let best = (2..=16)
            .map(|i| f64::from(i) * 0.05)
            .max_by(|a, b| csi(*a).total_cmp(&csi(*b)));
        found.warn_at = best.unwrap_or(0.5);
        found
    }

    /// The chance as it came in training.
    pub fn at(&self, chance: f64) -> f64 {
        let above = self.knots.partition_point(|(x, _)| *x <= chance);
        match (
            above.checked_sub(1).map(|at| self.knots[at]),
            self.knots.get(above),
        ) {
            (None, None) => chance,
            (Some((_, y)), None) => y,
            (None, Some((_, y))) => *y,
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (chance - x0) / (x1 - x0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_follow_the_quantiles() {
        let quantiles: Vec<f64> = LEVELS.iter().map(|level| 10.0 * level).collect();
        assert!((chance_above(&quantiles, 5.0) - 0.5).abs() < 1e-9);
        assert!((chance_above(&quantiles, 9.0) - 0.1).abs() < 1e-9);
        assert!(chance_above(&quantiles, 50.0) < 1e-6 && chance_above(&quantiles, -50.0) > 1.0 - 1e-6);
        let certain = [3.0; LEVELS.len()];
        assert!(chance_above(&certain, 2.0) > 0.99 && chance_above(&certain, 4.0) < 0.02);
    }

    #[test]
    fn a_boast_is_put_right() {
        // Said 0.9, came half of the time; said 0.1, came never.
        let cases: Vec<(f64, bool)> = (0..400)
            .map(|i| {
                if i % 2 == 0 {
                    (0.9, i % 4 == 0)
                } else {
                    (0.1, false)
                }
            })
            .collect();
        let curve = Calibration::learn(&cases);
        assert!((curve.at(0.9) - 0.5).abs() < 0.02, "{curve:?}");
        assert!(curve.at(0.1) < 0.02);
        assert_eq!(Calibration::learn(&cases[..20]).at(0.3), 0.3);
    }
}
