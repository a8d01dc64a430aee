//! Ridge regression by normal equations: sums over blocks of rows, so that leaving a block out costs a subtraction.

use serde::{Deserialize, Serialize};

/// Weighted sums of products over rows of `[1, x_1 … x_p]` and a target: what a ridge is solved from.
///
/// Sums of disjoint rows add up and can be taken away again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    p: usize,
    /// Upper triangle, row after row: `p + 1` numbers, `p`, … 1.
    xx: Vec<f64>,
    xy: Vec<f64>,
    weight: f64,
}

/// Coefficients of `intercept + Σ slopes·x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    /// Value where all inputs are zero, in units of the target.
    pub intercept: f64,
    /// One a column.
    pub slopes: Vec<f64>,
}

impl Moments {
    /// Sums over no rows of `p` columns.
    pub fn new(p: usize) -> Self {
        let n = p + 1;
        Self {
            p,
            xx: vec![0.0; n * (n + 1) / 2],
            xy: vec![0.0; n],
            weight: 0.0,
        }
    }

    /// Whether they are sums over `p` columns, as read sums may not be.
    pub(crate) fn is_of(&self, p: usize) -> bool {
        self.p == p && self.xx.len() == (p + 1) * (p + 2) / 2 && self.xy.len() == p + 1
    }

    /// Where the row of the upper triangle begins whose diagonal is at `i`.
    fn place(&self, i: usize) -> usize {
        i * (2 * (self.p + 1) - i + 1) / 2
    }

    /// Adds rows: `x` holds `targets.len()` rows of `p` finite numbers; weights are not negative.
    ///
    /// # Panics
    /// When the lengths do not fit one another.
    pub fn add<'a>(&mut self, rows: impl Iterator<Item = (&'a [f64], f64, f64)>) {
        const BLOCK: usize = 8;
        let n = self.p + 1;
        let mut block = vec![0.0; BLOCK * n];
        let mut n_held = 0;
        for (x, y, w) in rows {
            assert_eq!(x.len(), self.p, "a row has as many numbers as there are columns");
            let root = w.sqrt();
            let slot = &mut block[n_held * n..(n_held + 1) * n];
            slot[0] = root;
            for (to, from) in slot[1..].iter_mut().zip(x) {
                *to = from * root;
            }
            for (sum, value) in self.xy.iter_mut().zip(slot.iter()) {
                *sum += value * (root * y);
            }
            self.weight += w;
            n_held += 1;
            if n_held == BLOCK {
                self.fold(&block);
                n_held = 0;
            }
        }
        if n_held > 0 {
            block[n_held * n..].fill(0.0);
            self.fold(&block);
        }
    }

    /// Adds eight rows at once: the sums of a row are read and written once for them.
    fn fold(&mut self, block: &[f64]) {
        let n = self.p + 1;
        let rows: [&[f64]; 8] = std::array::from_fn(|r| &block[r * n..(r + 1) * n]);
        for i in 0..n {
            let at: [f64; 8] = std::array::from_fn(|r| rows[r][i]);
            let tails: [&[f64]; 8] = std::array::from_fn(|r| &rows[r][i..]);
            let from = self.place(i);
            let sums = &mut self.xx[from..from + n - i];
            for (j, sum) in sums.iter_mut().enumerate() {
                let mut more = 0.0;
                for r in 0..8 {
                    more += at[r] * tails[r][j];
                }
                *sum += more;
            }
        }
    }

    /// Takes the sums of rows away that were added before.
    ///
    /// # Panics
    /// When the columns are not as many.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, -1.0);
    }

    /// Adds the sums of other rows.
    ///
    /// # Panics
    /// When the columns are not as many.
    pub fn merge(&mut self, other: &Self) {
        self.combine(other, 1.0);
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        assert_eq!(self.p, other.p, "sums of the same columns");
        for (a, b) in self.xx.iter_mut().zip(&other.xx) {
            *a += sign * b;
        }
        for (a, b) in self.xy.iter_mut().zip(&other.xy) {
            *a += sign * b;
        }
        self.weight += sign * other.weight;
    }

    /// The sums of some columns alone, ascending places in `0..p`.
    pub fn select(&self, columns: &[usize]) -> Self {
        let mut some = Self::new(columns.len());
        let places: Vec<usize> = [0]
            .into_iter()
            .chain(columns.iter().map(|column| column + 1))
            .collect();
        for (i, from) in places.iter().enumerate() {
            some.xy[i] = self.xy[*from];
            let (own, theirs) = (some.place(i), self.place(*from));
            for (j, to) in places[i..].iter().enumerate() {
                some.xx[own + j] = self.xx[theirs + to - from];
            }
        }
        some.weight = self.weight;
        some
    }

    /// Sum of weighted products of a column, from its mean, with the target, over the root of the column's own: how much of
    /// the target a line through that column alone explains, in the target's unit times the root of the weight.
    pub fn pull(&self, column: usize) -> f64 {
        if self.weight <= 0.0 {
            return 0.0;
        }
        let (mean, sum) = (self.xx[column + 1] / self.weight, self.xx[self.place(column + 1)]);
        let own = sum - mean * mean * self.weight;
        let shared = self.xy[column + 1] - mean * self.xy[0];
        if own > 0.0 { shared / own.sqrt() } else { 0.0 }
    }

    /// Sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Minimises `Σ w (y − b₀ − x·b)² + penalty·Σ b²`; the intercept is free. `None` when there is no row or the
    /// equations cannot be solved.
    pub fn solve(&self, penalty: f64) -> Option<Ridge> {
        let n = self.p + 1;
        if self.weight <= 0.0 {
            return None;
        }
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            let row = &self.xx[self.place(i)..][..n - i];
            for (j, sum) in row.iter().enumerate() {
                a[(i + j) * n + i] = *sum;
            }
        }
        for i in 1..n {
            a[i * n + i] += penalty;
        }
        let solved = cholesky_solve(&mut a, &self.xy, n)?;
        Some(Ridge {
            intercept: solved[0],
            slopes: solved[1..].to_vec(),
        })
    }
}

impl Ridge {
    /// The same among `n` columns, where its own stand at `columns`: the others count for nothing.
    ///
    /// # Panics
    /// When a place is not among the columns.
    pub fn spread(self, columns: &[usize], n: usize) -> Self {
        let mut slopes = vec![0.0; n];
        columns
            .iter()
            .zip(self.slopes)
            .for_each(|(column, slope)| slopes[*column] = slope);
        Self { slopes, ..self }
    }

    /// The value at a row of finite numbers.
    pub fn at(&self, x: &[f64]) -> f64 {
        self.intercept + self.slopes.iter().zip(x).map(|(b, x)| b * x).sum::<f64>()
    }
}

/// Solves `A x = b` with `A` symmetric and positive, given by its lower triangle in rows of `n`; `A` is overwritten.
pub(crate) fn cholesky_solve(a: &mut [f64], b: &[f64], n: usize) -> Option<Vec<f64>> {
    for j in 0..n {
        let (above, below) = a.split_at_mut((j + 1) * n);
        let row_j = &mut above[j * n..];
        let own: f64 = row_j[..j].iter().map(|v| v * v).sum();
        let left = row_j[j] - own;
        if left.is_nan() || left <= row_j[j].abs() * 1e-13 {
            return None;
        }
        row_j[j] = left.sqrt();
        let (diagonal, head) = (row_j[j], &row_j[..j]);
        for row in below.chunks_exact_mut(n) {
            let dot: f64 = row[..j].iter().zip(head).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - dot) / diagonal;
        }
    }
    let mut x = b.to_vec();
    for i in 0..n {
        let dot: f64 = a[i * n..i * n + i].iter().zip(&x).map(|(a, x)| a * x).sum();
        x[i] = (x[i] - dot) / a[i * n + i];
    }
    for i in (0..n).rev() {
        x[i] /= a[i * n + i];
        let value = x[i];
        for (j, slot) in x[..i].iter_mut().enumerate() {
            *slot -= a[i * n + j] * value;
        }
    }
    x.iter().all(|v| v.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_without_penalty_is_found_exactly() {
        let rows: Vec<[f64; 2]> = (0..20).map(|i| [f64::from(i), f64::from(i * i)]).collect();
        let mut moments = Moments::new(2);
        moments.add(
            rows.iter()
                .map(|x| (x.as_slice(), 3.0 + 2.0 * x[0] - 0.5 * x[1], 1.0)),
        );
        let ridge = moments.solve(0.0).unwrap();
        assert!((ridge.intercept - 3.0).abs() < 1e-8);
        assert!((ridge.slopes[0] - 2.0).abs() < 1e-8 && (ridge.slopes[1] + 0.5).abs() < 1e-8);
    }

    #[test]
    fn rows_that_are_taken_away_were_never_there() {
        let rows: Vec<[f64; 1]> = (0..30).map(|i| [f64::from(i * 7 % 11)]).collect();
        let row = |i: usize| {
            (
                rows[i].as_slice(),
                rows[i][0] * 1.5 + (i % 3) as f64,
                1.0 + (i % 2) as f64,
            )
        };
        let (mut all, mut some, mut rest) = (Moments::new(1), Moments::new(1), Moments::new(1));
        all.add((0..30).map(row));
        some.add((0..13).map(row));
        rest.add((13..30).map(row));
        all.subtract(&some);
        let (a, b) = (all.solve(0.3).unwrap(), rest.solve(0.3).unwrap());
        assert!((a.intercept - b.intercept).abs() < 1e-9 && (a.slopes[0] - b.slopes[0]).abs() < 1e-9);
    }

    #[test]
    fn no_rows_and_columns_that_are_one_another_have_no_answer_without_a_penalty() {
        assert_eq!(Moments::new(2).solve(1.0), None);
        let rows: Vec<[f64; 2]> = (0..9).map(|i| [f64::from(i), f64::from(i)]).collect();
        let mut moments = Moments::new(2);
        moments.add(rows.iter().map(|x| (x.as_slice(), x[0], 1.0)));
        assert_eq!(moments.solve(0.0), None);
        let ridge = moments.solve(1e-3).unwrap();
        assert!((ridge.slopes[0] - ridge.slopes[1]).abs() < 1e-6);
    }
}
