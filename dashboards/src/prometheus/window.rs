//! Functions of the values in a window that moves over a series: `rate`, `increase`, `…_over_time` and the
//! lookback of a plain selector.
//!
//! Where Prometheus and VictoriaMetrics differ this does as VictoriaMetrics: the value before the window
//! counts, nothing is extrapolated, and how far a plain selector looks back follows the interval of the series.

use super::fault::Fault;
use super::grid::Grid;
use super::meter::Meter;

/// How far before a grid and its window values are read: the value before the window is looked for there.
pub(super) const SILENCE_MS: i64 = 5 * 60_000;

/// A function of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The newest value: what a plain selector is.
    Plain,
    /// When the newest value was measured, in seconds.
    Timestamp,
    Last,
    First,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Stddev,
    Stdvar,
    Quantile,
    Present,
    Absent,
    Changes,
    Resets,
    Delta,
    Idelta,
    Increase,
    Rate,
    Irate,
    Deriv,
    PredictLinear,
}

impl Over {
    /// The function of a name in a query.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "last_over_time" => Self::Last,
            "first_over_time" => Self::First,
            "avg_over_time" => Self::Avg,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "quantile_over_time" => Self::Quantile,
            "present_over_time" => Self::Present,
            "absent_over_time" => Self::Absent,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "delta" => Self::Delta,
            "idelta" => Self::Idelta,
            "increase" => Self::Increase,
            "rate" => Self::Rate,
            "irate" => Self::Irate,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            _ => return None,
        })
    }
    /// Whether what comes out is still the quantity that went in.
    pub(super) fn keeps_name(self) -> bool {
        use Over as O;
        matches!(
            self,
            O::Plain | O::Last | O::First | O::Avg | O::Min | O::Max | O::Quantile | O::PredictLinear
        )
    }
    /// Whether the values are a counter, whose falls are restarts.
    fn is_of_counters(self) -> bool {
        matches!(self, Self::Increase | Self::Rate | Self::Irate)
    }
    /// Whether a window too short for the series' interval is made longer.
    fn may_widen(self) -> bool {
        use Over as O;
        matches!(self, O::Plain | O::Timestamp | O::Rate | O::Irate | O::Deriv)
    }
}

/// What a function sees at one step.
struct Window<'a> {
    values: &'a [f64],
    times: &'a [i64],
    /// The value before the window, not too far before it; NaN without one.
    before: f64,
    before_at: i64,
    /// The value before the window, however far; NaN without one.
    long_before: f64,
    /// The value after the window; NaN without one.
    next: f64,
    at: i64,
    param: f64,
}

/// Appends the function's value at every step of a grid to `out`; NaN is no value.
///
/// `window` in ms, `None` for a plain selector; `params` is one number for each step, or empty.
pub(super) fn roll(
    over: Over,
    grid: Grid,
    window: Option<i64>,
    (times, values): (&[i64], &[f64]),
    params: &[f64],
    meter: &Meter<'_>,
) -> Result<Vec<f64>, Fault> {
    meter.made(grid.n)?;
    let corrected;
    let values = match over.is_of_counters() {
        true => {
            corrected = without_resets(values);
            corrected.as_slice()
        }
        false => values,
    };
    let reach = reach_ms(interval_ms(times, grid.step));
    let length = match window {
        Some(window) => window,
        None => grid.step,
    };
    let length = match over.may_widen() {
        true => length.max(reach),
        false => length,
    };
    let mut out = Vec::with_capacity(grid.n);
    let (mut first, mut end) = (0, 0);
    for (i, at) in grid.times().enumerate() {
        let start = at - length;
        first += times[first..].partition_point(|t| *t <= start);
        end = end.max(first);
        end += times[end..].partition_point(|t| *t <= at);
        meter.seen(end - first + 1)?;
        let mut seen = Window {
            values: &values[first..end],
            times: &times[first..end],
            before: f64::NAN,
            before_at: start - reach,
            long_before: f64::NAN,
            next: values.get(end).copied().unwrap_or(f64::NAN),
            at,
            param: params.get(i).copied().unwrap_or(f64::NAN),
        };
        if first > 0 {
            seen.long_before = values[first - 1];
            if first < times.len() && times[first - 1] > seen.before_at {
                seen.before = values[first - 1];
                seen.before_at = times[first - 1];
            }
        }
        out.push(seen.value(over));
    }
    Ok(out)
}

/// The interval between a series' values: six tenths of the first twenty are at most so long.
fn interval_ms(times: &[i64], default: i64) -> i64 {
    let first = &times[..times.len().min(21)];
    let mut intervals: Vec<f64> = first.windows(2).map(|t| (t[1] - t[0]) as f64).collect();
    if intervals.is_empty() {
        return default;
    }
    match quantile(0.6, &mut intervals) as i64 {
        ms if ms > 0 => ms,
        _ => default,
    }
}

/// How long after a value the next may be late before there is a gap; short intervals jitter more.
fn reach_ms(interval: i64) -> i64 {
    interval
        + match interval {
            ..=2_000 => 4 * interval,
            2_001..=4_000 => 2 * interval,
            4_001..=8_000 => interval,
            8_001..=16_000 => interval / 2,
            16_001..=32_000 => interval / 4,
            _ => interval / 8,
        }
}

/// A counter as if it had never begun anew. A fall by less than an eighth is one in part: only what it fell by is
/// given back.
fn without_resets(values: &[f64]) -> Vec<f64> {
    let mut correction = 0.0;
    let mut before = values.first().copied().unwrap_or_default();
    let each = values.iter().map(|value| {
        let fall = before - value;
        if fall > 0.0 {
            correction += if fall * 8.0 < before { fall } else { before };
        }
        before = *value;
        value + correction
    });
    each.collect()
}

/// The value at or below which a share `phi` of the values is, between two by their distance.
pub(super) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let place = phi * (values.len() - 1) as f64;
    let below = values[place.floor() as usize];
    let above = values[(place.floor() as usize + 1).min(values.len() - 1)];
    let weight = place - place.floor();
    below * (1.0 - weight) + above * weight
}

impl Window<'_> {
    fn value(&self, over: Over) -> f64 {
        let (Some(first), Some(last)) = (self.values.first(), self.values.last()) else {
            return self.empty(over);
        };
        let n = self.values.len() as f64;
        match over {
            Over::Plain | Over::Last => *last,
            Over::First => *first,
            Over::Timestamp => self.last_at() as f64 / 1e3,
            Over::Avg => self.values.iter().sum::<f64>() / n,
            Over::Min => self.values.iter().copied().fold(*first, f64::min),
            Over::Max => self.values.iter().copied().fold(*first, f64::max),
            Over::Sum => self.values.iter().sum(),
            Over::Count => n,
            Over::Stddev => variance(self.values).sqrt(),
            Over::Stdvar => variance(self.values),
            Over::Quantile => quantile(self.param, &mut self.values.to_vec()),
            Over::Present => 1.0,
            Over::Absent => f64::NAN,
            Over::Changes => self.changes(),
            Over::Resets => self.resets(),
            Over::Delta | Over::Increase => last - self.base(*first),
            Over::Idelta => match self.values {
                [.., before, last] => last - before,
                _ if self.before.is_nan() => *last,
                _ => last - self.before,
            },
            Over::Rate => self.rate(*first, *last),
            Over::Irate => self.irate(*last),
            Over::Deriv => self.line().1,
            Over::PredictLinear => {
                let (value, slope) = self.line();
                value + slope * self.param
            }
        }
    }

    /// Of a window without a value.
    fn empty(&self, over: Over) -> f64 {
        match over {
            Over::Absent => 1.0,
            // What did not speak did not change.
            Over::Changes | Over::Resets | Over::Delta | Over::Idelta | Over::Increase | Over::Rate
                if !self.before.is_nan() =>
            {
                0.0
            }
            _ => f64::NAN,
        }
    }

    fn last_at(&self) -> i64 {
        self.times.last().copied().unwrap_or(self.at)
    }

    /// From where a change in the window counts: the value before it; without one, zero for a counter that seems
    /// to begin here, else the first value.
    fn base(&self, first: f64) -> f64 {
        if !self.before.is_nan() {
            return self.before;
        }
        if !self.long_before.is_nan() {
            return self.long_before;
        }
        let next = self.values.get(1).copied().unwrap_or(self.next);
        let step = match next - first {
            step if step.is_nan() || step == 0.0 => 10.0,
            step => step,
        };
        match first.abs() < 10.0 * (step.abs() + 1.0) {
            true => 0.0,
            false => first,
        }
    }

    fn rate(&self, first: f64, last: f64) -> f64 {
        let (before, before_at) = match self.before.is_nan() {
            false => (self.before, self.before_at),
            true if self.values.len() == 1 => return f64::NAN,
            true => (first, self.times[0]),
        };
        (last - before) / ((self.last_at() - before_at) as f64 * 1e-3)
    }

    fn irate(&self, last: f64) -> f64 {
        let (before, before_at) = match (self.values, self.times) {
            ([.., before, _], [.., at, _]) => (*before, *at),
            _ if self.before.is_nan() => return f64::NAN,
            _ => (self.before, self.before_at),
        };
        (last - before) / ((self.last_at() - before_at) as f64 * 1e-3)
    }

    fn changes(&self) -> f64 {
        let mut before = self.before;
        let mut n = 0.0;
        for value in self.values {
            if *value != before {
                n += 1.0;
                before = *value;
            }
        }
        n
    }

    fn resets(&self) -> f64 {
        let mut before = self.before;
        let mut n = 0.0;
        for value in self.values {
            if *value < before {
                n += 1.0;
            }
            before = *value;
        }
        n
    }

    /// The least-squares line through the values: its value at the step, and its slope by the second.
    fn line(&self) -> (f64, f64) {
        if self.values.windows(2).all(|pair| pair[0] == pair[1]) {
            return (self.values[0], 0.0);
        }
        let (mut v_sum, mut t_sum, mut tv_sum, mut tt_sum) = (0.0, 0.0, 0.0, 0.0);
        for (value, time) in self.values.iter().zip(self.times) {
            let t = (time - self.at) as f64 / 1e3;
            v_sum += value;
            t_sum += t;
            tv_sum += t * value;
            tt_sum += t * t;
        }
        let n = self.values.len() as f64;
        let spread = tt_sum - t_sum * t_sum / n;
        let slope = match spread.abs() >= 1e-6 {
            true => (tv_sum - t_sum * v_sum / n) / spread,
            false => 0.0,
        };
        (v_sum / n - slope * t_sum / n, slope)
    }
}

/// The mean square distance from the mean.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut n, mut mean, mut sum) = (0.0, 0.0, 0.0);
    for value in values {
        n += 1.0;
        let next = mean + (value - mean) / n;
        sum += (value - mean) * (value - next);
        mean = next;
    }
    sum / n
}
