//! How much of each candidate a forecast takes, chosen from forecasts of rows that the candidates had not seen.

use serde::{Deserialize, Serialize};

/// Weights of candidate changes, none negative. All zero is persistence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// One a candidate.
    pub weights: Vec<f64>,
}

impl Blend {
    /// Persistence.
    pub fn none(n: usize) -> Self {
        Self {
            weights: vec![0.0; n],
        }
    }

    /// The blended change.
    pub fn at(&self, candidates: &[f64]) -> f64 {
        self.weights.iter().zip(candidates).map(|(w, c)| w * c).sum()
    }

    /// Minimises `Σ w (change − Σ weight·candidate)²` over weights ≥ 0; `candidates` in rows of `n`. A hundredth of the mean
    /// diagonal keeps weights of candidates that are alike near one another.
    pub fn squares(candidates: &[f64], n: usize, changes: &[f64], weights: impl Fn(usize) -> f64) -> Self {
        let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
        for (at, (row, change)) in candidates.chunks_exact(n.max(1)).zip(changes).enumerate() {
            let w = weights(at);
            for i in 0..n {
                b[i] += w * row[i] * change;
                for j in 0..n {
                    a[i * n + j] += w * row[i] * row[j];
                }
            }
        }
        let mean = (0..n).map(|i| a[i * n + i]).sum::<f64>() / n.max(1) as f64;
        for i in 0..n {
            a[i * n + i] += 0.01 * mean + 1e-300;
        }
        Self {
            weights: non_negative(&a, &b, n),
        }
    }

    /// Minimises `Σ |change − Σ weight·candidate|` over weights ≥ 0, by squares that are weighted anew until they settle.
    pub fn absolute(candidates: &[f64], n: usize, changes: &[f64]) -> Self {
        let mut sizes: Vec<f64> = changes.iter().map(|c| c.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let least = (crate::score::quantile_of(&sizes, 0.5) * 0.05).max(1e-9);
        let mut blend = Self::none(n);
        let mut best = (f64::INFINITY, blend.clone());
        for _ in 0..12 {
            let residuals: Vec<f64> = candidates
                .chunks_exact(n.max(1))
                .zip(changes)
                .map(|(row, change)| (change - blend.at(row)).abs())
                .collect();
            let loss: f64 = residuals.iter().sum();
            if loss < best.0 {
                best = (loss, blend.clone());
            }
            blend = Self::squares(candidates, n, changes, |at| 1.0 / residuals[at].max(least));
        }
        best.1
    }
}

/// Minimises `½ x'Ax − b'x` over x ≥ 0 by going through the coordinates; A is positive definite.
fn non_negative(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut x = vec![0.0; n];
    for _ in 0..2000 {
        let mut moved = 0.0f64;
        for i in 0..n {
            let rest: f64 = (0..n).filter(|j| *j != i).map(|j| a[i * n + j] * x[j]).sum();
            let next = ((b[i] - rest) / a[i * n + i]).max(0.0);
            moved = moved.max((next - x[i]).abs());
            x[i] = next;
        }
        if moved < 1e-10 {
            break;
        }
    }
    x.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<f64>, Vec<f64>) {
        let (mut candidates, mut changes) = (Vec::new(), Vec::new());
        for i in 0..300 {
            let (good, bad) = ((f64::from(i) * 0.7).sin(), (f64::from(i) * 1.3).cos());
            candidates.extend([good, bad]);
            changes.push(0.8 * good);
        }
        (candidates, changes)
    }

    #[test]
    fn what_helps_is_taken_and_what_does_not_is_left() {
        let (candidates, changes) = rows();
        for blend in [
            Blend::squares(&candidates, 2, &changes, |_| 1.0),
            Blend::absolute(&candidates, 2, &changes),
        ] {
            assert!(
                (blend.weights[0] - 0.8).abs() < 0.02 && blend.weights[1] < 0.02,
                "{blend:?}"
            );
        }
    }

    #[test]
    fn candidates_that_are_wrong_leave_persistence() {
        let (candidates, changes) = rows();
        let wrong: Vec<f64> = candidates.iter().map(|c| -c).collect();
        let blend = Blend::squares(&wrong, 2, &changes, |_| 1.0);
        assert!(blend.weights[0] == 0.0 && blend.weights[1] < 0.02, "{blend:?}");
        assert_eq!(Blend::squares(&[], 2, &[], |_| 1.0).weights, [0.0, 0.0]);
    }

    #[test]
    fn no_candidate_at_all_is_persistence() {
        assert_eq!(Blend::squares(&[], 0, &[1.0, -2.0], |_| 1.0), Blend::none(0));
        assert_eq!(Blend::absolute(&[], 0, &[1.0, -2.0]), Blend::none(0));
    }

    #[test]
    fn one_wild_row_does_not_move_the_absolute_blend() {
        let (candidates, mut changes) = rows();
        changes[5] = 1e4;
        let blend = Blend::absolute(&candidates, 2, &changes);
        assert!((blend.weights[0] - 0.8).abs() < 0.05, "{blend:?}");
    }
}
