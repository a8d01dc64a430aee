//! Boosted trees on histograms: squared, absolute and quantile loss.
//!
//! Each column is cut into at most 255 bins by its quantiles, missing numbers have a bin of their own. A tree grows
//! leaf by leaf, the best split of all leaves first; its leaves hold means (squared loss) or quantiles (the others) of
//! the residuals. The same data, options and seed give the same trees. Nothing here extrapolates beyond the values of
//! the training rows: a blend with a line does (`blend`).

use serde::{Deserialize, Serialize};

use crate::score::quantile_of;

/// Bins of a column without that of missing numbers.
const N_BINS: usize = 255;
const MISSING: u8 = 255;

/// What a leaf makes small.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Loss {
    /// Squared error: leaves hold means.
    Squared,
    /// Pinball loss of this quantile in `(0, 1)`; 0.5 is absolute error.
    Quantile(f64),
}

/// How trees grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The loss.
    pub loss: Loss,
    /// Trees.
    pub n_trees: usize,
    /// Share of a tree that is taken, in `(0, 1]`.
    pub rate: f64,
    /// Leaves of a tree at most.
    pub max_leaves: usize,
    /// Rows of a leaf at least.
    pub min_rows: usize,
    /// Added to a leaf's weight when its mean is taken.
    pub penalty: f64,
    /// Share of the columns that a tree looks at, in `(0, 1]`.
    pub columns: f64,
    /// Where the choice of columns begins.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            loss: Loss::Squared,
            n_trees: 100,
            rate: 0.1,
            max_leaves: 15,
            min_rows: 20,
            penalty: 0.0,
            columns: 1.0,
            seed: 1,
        }
    }
}

/// Columns of a training table as bins.
#[derive(Clone, Debug)]
pub struct Binned {
    n_rows: usize,
    cuts: Vec<Vec<f64>>,
    /// Column after column.
    bins: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    /// Column of a split; of a leaf `u32::MAX`.
    column: u32,
    /// Largest value that goes left, infinite where only missing ones go right; of a leaf its value.
    #[serde(with = "crate::bound")]
    value: f64,
    left: u32,
    right: u32,
    missing_left: bool,
    /// Mean of what its leaves say to the training rows.
    mean: f64,
}

const LEAF: u32 = u32::MAX;

/// A sum of trees over a constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    base: f64,
    trees: Vec<Vec<Node>>,
}

impl Binned {
    /// Cuts a table (rows of `p` numbers, NaN where missing) into bins; equal to midpoints between neighbouring values
    /// where a column has at most 255 distinct ones.
    pub fn new(x: &[f64], p: usize) -> Self {
        let n_rows = x.len().checked_div(p).unwrap_or(0);
        let mut bins = vec![0u8; n_rows * p];
        let mut cuts = Vec::with_capacity(p);
        for column in 0..p {
            let mut sorted: Vec<f64> = (0..n_rows)
                .map(|row| x[row * p + column])
                .filter(|v| !v.is_nan())
                .collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let cut = cuts_of(&sorted);
            for row in 0..n_rows {
                bins[column * n_rows + row] = bin_of(&cut, x[row * p + column]);
            }
            cuts.push(cut);
        }
        Self { n_rows, cuts, bins }
    }

    fn column(&self, column: usize) -> &[u8] {
        &self.bins[column * self.n_rows..(column + 1) * self.n_rows]
    }
}

fn cuts_of(sorted: &[f64]) -> Vec<f64> {
    let mut distinct = sorted.to_vec();
    distinct.dedup();
    if distinct.len() <= N_BINS {
        return distinct.windows(2).map(|two| (two[0] + two[1]) / 2.0).collect();
    }
    let mut cuts: Vec<f64> = (1..N_BINS)
        .map(|i| quantile_of(sorted, i as f64 / N_BINS as f64))
        .collect();
    cuts.dedup();
    cuts
}

fn bin_of(cuts: &[f64], value: f64) -> u8 {
    if value.is_nan() {
        return MISSING;
    }
    u8::try_from(cuts.partition_point(|cut| *cut < value)).expect("at most 254 cuts")
}

#[derive(Clone, Copy, Default)]
struct Bin {
    gradient: f64,
    weight: f64,
    n: u32,
}

struct Leaf {
    node: usize,
    rows: std::ops::Range<usize>,
    histograms: Vec<Bin>,
    split: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    column: usize,
    bin: u8,
    missing_left: bool,
}

impl Trees {
    /// Fits trees to the rows `rows` of a table; `targets` and `weights` are those of all its rows.
    ///
    /// # Panics
    /// When targets or weights are not as many as rows of the table.
    pub fn fit(table: &Binned, targets: &[f64], weights: &[f64], rows: &[u32], options: &Options) -> Self {
        assert!(
            targets.len() == table.n_rows && weights.len() == table.n_rows,
            "one target and weight a row"
        );
        let base = leaf_value(rows, targets, weights, options.loss, 0.0);
        let mut residuals: Vec<f64> = targets.iter().map(|y| y - base).collect();
        let mut fitted = Self {
            base,
            trees: Vec::with_capacity(options.n_trees),
        };
        if rows.len() < 2 * options.min_rows {
            return fitted;
        }
        let mut dice = Dice(options.seed);
        let p = table.cuts.len();
        let n_columns = ((p as f64 * options.columns).ceil() as usize).clamp(1.min(p), p);
        let mut gradients = vec![0.0; table.n_rows];
        let mut order: Vec<u32> = rows.to_vec();
        for _ in 0..options.n_trees {
            for row in rows {
                let row = *row as usize;
                gradients[row] = weights[row] * pull(residuals[row], options.loss);
            }
            let columns = dice.some(p, n_columns);
            order.copy_from_slice(rows);
            let mut grower = Grower {
                table,
                gradients: &gradients,
                weights,
                columns: &columns,
                options,
            };
            let (mut nodes, leaves) = grower.grow(&mut order);
            if leaves.len() < 2 {
                break;
            }
            for leaf in &leaves {
                let of_leaf = &order[leaf.rows.clone()];
                let value =
                    options.rate * leaf_value(of_leaf, &residuals, weights, options.loss, options.penalty);
                nodes[leaf.node].value = value;
                for row in of_leaf {
                    residuals[*row as usize] -= value;
                }
            }
            let mut n_rows = vec![0.0; nodes.len()];
            for leaf in &leaves {
                n_rows[leaf.node] = leaf.rows.len() as f64;
                nodes[leaf.node].mean = nodes[leaf.node].value;
            }
            // Children stand behind their parents.
            for at in (0..nodes.len())
                .rev()
                .filter(|at| nodes[*at].column != LEAF)
                .collect::<Vec<_>>()
            {
                let (l, r) = (nodes[at].left as usize, nodes[at].right as usize);
                n_rows[at] = n_rows[l] + n_rows[r];
                nodes[at].mean = (nodes[l].mean * n_rows[l] + nodes[r].mean * n_rows[r]) / n_rows[at];
            }
            fitted.trees.push(nodes);
        }
        fitted
    }

    /// The value at a row of numbers, NaN where missing.
    pub fn at(&self, x: &[f64]) -> f64 {
        self.base + self.trees.iter().map(|tree| walk(tree, x)).sum::<f64>()
    }

    /// Adds what each split on a row's ways changed of the mean of the training rows there, times `weight`, to its column's
    /// place in `into`; the sums add up to the value less the base and what the trees say on average.
    pub fn attribute(&self, x: &[f64], weight: f64, into: &mut [f64]) {
        for tree in &self.trees {
            let mut at = 0usize;
            while tree[at].column != LEAF {
                let to = next(&tree[at], x);
                into[tree[at].column as usize] += weight * (tree[to].mean - tree[at].mean);
                at = to;
            }
        }
    }
}

/// Which way the loss pulls a prediction.
fn pull(residual: f64, loss: Loss) -> f64 {
    match loss {
        Loss::Squared => residual,
        Loss::Quantile(q) if residual >= 0.0 => q,
        Loss::Quantile(q) => q - 1.0,
    }
}

/// Weighted mean or quantile of residuals.
fn leaf_value(rows: &[u32], residuals: &[f64], weights: &[f64], loss: Loss, penalty: f64) -> f64 {
    let Loss::Quantile(q) = loss else {
        let (sum, weight) = rows.iter().fold((0.0, 0.0), |(sum, weight), row| {
            let row = *row as usize;
            (sum + weights[row] * residuals[row], weight + weights[row])
        });
        return if weight > 0.0 {
            sum / (weight + penalty)
        } else {
            0.0
        };
    };
    let mut values: Vec<f64> = rows.iter().map(|row| residuals[*row as usize]).collect();
    if values.is_empty() {
        return 0.0;
    }
    // Absolute and quantile loss are fitted to rows of equal weight.
    let at = q * (values.len() - 1) as f64;
    let below = at.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    if high.is_finite() {
        low + (high - low) * (at - below as f64)
    } else {
        low
    }
}

fn next(node: &Node, x: &[f64]) -> usize {
    let value = x[node.column as usize];
    let left = if value.is_nan() {
        node.missing_left
    } else {
        value <= node.value
    };
    (if left { node.left } else { node.right }) as usize
}

fn walk(tree: &[Node], x: &[f64]) -> f64 {
    let mut at = 0usize;
    while tree[at].column != LEAF {
        at = next(&tree[at], x);
    }
    tree[at].value
}

struct Grower<'a> {
    table: &'a Binned,
    gradients: &'a [f64],
    weights: &'a [f64],
    columns: &'a [usize],
    options: &'a Options,
}

impl Grower<'_> {
    fn grow(&mut self, order: &mut [u32]) -> (Vec<Node>, Vec<Leaf>) {
        let mut nodes = vec![Node {
            column: LEAF,
            value: 0.0,
            left: 0,
            right: 0,
            missing_left: false,
            mean: 0.0,
        }];
        let histograms = self.histograms(order);
        let mut leaves = vec![self.leaf(0, 0..order.len(), histograms)];
        while leaves.len() < self.options.max_leaves {
            let best = leaves
                .iter()
                .enumerate()
                .filter_map(|(at, leaf)| Some((at, leaf.split?)))
                .max_by(|a, b| a.1.gain.total_cmp(&b.1.gain).then(b.0.cmp(&a.0)));
            let Some((at, split)) = best else { break };
            let leaf = leaves.swap_remove(at);
            let bins = self.table.column(split.column);
            let middle = leaf.rows.start
                + partition(&mut order[leaf.rows.clone()], |row| {
                    let bin = bins[row as usize];
                    if bin == MISSING {
                        split.missing_left
                    } else {
                        bin <= split.bin
                    }
                });
            let (left, right) = (nodes.len(), nodes.len() + 1);
            nodes[leaf.node] = Node {
                column: split.column as u32,
                value: self.table.cuts[split.column]
                    .get(split.bin as usize)
                    .copied()
                    .unwrap_or(f64::INFINITY),
                left: left as u32,
                right: right as u32,
                missing_left: split.missing_left,
                mean: 0.0,
            };
            nodes.extend(
                [Node {
                    column: LEAF,
                    value: 0.0,
                    left: 0,
                    right: 0,
                    missing_left: false,
                    mean: 0.0,
                }; 2],
            );
            let (left_rows, right_rows) = (leaf.rows.start..middle, middle..leaf.rows.end);
            let small_is_left = left_rows.len() <= right_rows.len();
            let small = if small_is_left {
                left_rows.clone()
            } else {
                right_rows.clone()
            };
            let of_small = self.histograms(&order[small]);
            let mut of_large = leaf.histograms;
            for (all, some) in of_large.iter_mut().zip(&of_small) {
                all.gradient -= some.gradient;
                all.weight -= some.weight;
                all.n -= some.n;
            }
            let (of_left, of_right) = if small_is_left {
                (of_small, of_large)
            } else {
                (of_large, of_small)
            };
            leaves.push(self.leaf(left, left_rows, of_left));
            leaves.push(self.leaf(right, right_rows, of_right));
        }
        (nodes, leaves)
    }

    fn leaf(&self, node: usize, rows: std::ops::Range<usize>, histograms: Vec<Bin>) -> Leaf {
        let split = (rows.len() >= 2 * self.options.min_rows)
            .then(|| self.best(&histograms))
            .flatten();
        Leaf {
            node,
            rows,
            histograms,
            split,
        }
    }

    fn histograms(&self, rows: &[u32]) -> Vec<Bin> {
        let mut all = vec![Bin::default(); self.columns.len() * 256];
        for (column, bins) in self.columns.iter().zip(all.chunks_exact_mut(256)) {
            let of_column = self.table.column(*column);
            for row in rows {
                let row = *row as usize;
                let bin = &mut bins[of_column[row] as usize];
                bin.gradient += self.gradients[row];
                bin.weight += self.weights[row];
                bin.n += 1;
            }
        }
        all
    }

    fn best(&self, histograms: &[Bin]) -> Option<Split> {
        let mut best: Option<Split> = None;
        for (column, bins) in self.columns.iter().zip(histograms.chunks_exact(256)) {
            let n_cuts = self.table.cuts[*column].len();
            let (mut all, missing) = (Bin::default(), bins[MISSING as usize]);
            for bin in bins {
                all.gradient += bin.gradient;
                all.weight += bin.weight;
                all.n += bin.n;
            }
            let whole = self.worth(all);
            let mut sum = Bin::default();
            for (at, bin) in bins.iter().enumerate().take(n_cuts + 1) {
                sum.gradient += bin.gradient;
                sum.weight += bin.weight;
                sum.n += bin.n;
                if bin.n == 0 || (at == n_cuts && missing.n == 0) {
                    continue;
                }
                for missing_left in [false, true] {
                    if missing_left && (missing.n == 0 || at == n_cuts) {
                        continue;
                    }
                    let mut left = sum;
                    if missing_left {
                        left.gradient += missing.gradient;
                        left.weight += missing.weight;
                        left.n += missing.n;
                    }
                    let right = Bin {
                        gradient: all.gradient - left.gradient,
                        weight: all.weight - left.weight,
                        n: all.n - left.n,
                    };
                    let least = self.options.min_rows as u32;
                    if left.n < least || right.n < least {
                        continue;
                    }
                    let gain = self.worth(left) + self.worth(right) - whole;
                    if gain > whole.abs() * 1e-12 + 1e-300 && best.is_none_or(|b| gain > b.gain) {
                        best = Some(Split {
                            gain,
                            column: *column,
                            bin: at as u8,
                            missing_left,
                        });
                    }
                }
            }
        }
        best
    }

    fn worth(&self, bin: Bin) -> f64 {
        let weight = bin.weight + self.options.penalty;
        if weight > 0.0 {
            bin.gradient * bin.gradient / weight
        } else {
            0.0
        }
    }
}

/// Puts the rows that go left first, in their order on both sides, and returns how many they are.
fn partition(rows: &mut [u32], goes_left: impl Fn(u32) -> bool) -> usize {
    let mut right = Vec::with_capacity(rows.len());
    let mut n_left = 0;
    for at in 0..rows.len() {
        let row = rows[at];
        if goes_left(row) {
            rows[n_left] = row;
            n_left += 1;
        } else {
            right.push(row);
        }
    }
    rows[n_left..].copy_from_slice(&right);
    n_left
}

/// SplitMix64: a choice of columns that is the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `n` of `0..p`, ascending.
    fn some(&mut self, p: usize, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..p).collect();
        if n < p {
            for i in 0..n {
                let j = i + (self.next() % (p - i) as u64) as usize;
                all.swap(i, j);
            }
            all.truncate(n);
            all.sort_unstable();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut dice = Dice(7);
        let mut unit = || (dice.next() >> 11) as f64 / (1u64 << 53) as f64;
        let mut x = Vec::new();
        let mut y = Vec::new();
        for _ in 0..n {
            let (a, b, c) = (unit(), unit(), unit());
            x.extend([a, b, c]);
            y.push(if a > 0.6 { 5.0 } else { 0.0 } + if b > 0.3 && a <= 0.6 { 2.0 } else { 0.0 } + 0.01 * c);
        }
        (x, y)
    }

    #[test]
    fn steps_are_found() {
        let (x, y) = table(2000);
        let rows: Vec<u32> = (0..2000).collect();
        let trees = Trees::fit(
            &Binned::new(&x, 3),
            &y,
            &vec![1.0; 2000],
            &rows,
            &Options::default(),
        );
        let mut errors: Vec<f64> = (0..2000)
            .map(|i| (trees.at(&x[3 * i..3 * i + 3]) - y[i]).abs())
            .collect();
        errors.sort_unstable_by(f64::total_cmp);
        // A bin on the edge of a step holds a few rows of either side.
        let most = quantile_of(&errors, 0.98);
        assert!(most < 0.3, "{most}");
    }

    #[test]
    fn a_quantile_has_its_share_below() {
        let (x, mut y) = table(4000);
        let mut dice = Dice(3);
        for value in &mut y {
            *value += (dice.next() >> 11) as f64 / (1u64 << 53) as f64;
        }
        let rows: Vec<u32> = (0..4000).collect();
        let options = Options {
            loss: Loss::Quantile(0.9),
            n_trees: 60,
            ..Options::default()
        };
        let trees = Trees::fit(&Binned::new(&x, 3), &y, &vec![1.0; 4000], &rows, &options);
        let n_below = (0..4000)
            .filter(|i| y[*i] <= trees.at(&x[3 * i..3 * i + 3]))
            .count();
        assert!((3500..=3700).contains(&n_below), "{n_below}");
    }

    #[test]
    fn missing_numbers_go_where_their_rows_went() {
        let x: Vec<f64> = (0..400)
            .map(|i| if i % 4 == 0 { f64::NAN } else { f64::from(i % 7) })
            .collect();
        let y: Vec<f64> = x.iter().map(|v| if v.is_nan() { 9.0 } else { *v }).collect();
        let rows: Vec<u32> = (0..400).collect();
        let trees = Trees::fit(
            &Binned::new(&x, 1),
            &y,
            &vec![1.0; 400],
            &rows,
            &Options::default(),
        );
        assert!((trees.at(&[f64::NAN]) - 9.0).abs() < 0.2 && (trees.at(&[3.0]) - 3.0).abs() < 0.2);
    }

    #[test]
    fn few_rows_give_their_mean_alone() {
        let trees = Trees::fit(
            &Binned::new(&[1.0, 2.0], 1),
            &[3.0, 5.0],
            &[1.0, 1.0],
            &[0, 1],
            &Options::default(),
        );
        assert!((trees.at(&[77.0]) - 4.0).abs() < 1e-12);
        let none = Trees::fit(&Binned::new(&[], 3), &[], &[], &[], &Options::default());
        assert!((none.at(&[1.0, 2.0, 3.0])).abs() < 1e-12);
    }
}
