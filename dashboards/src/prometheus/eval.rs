//! Evaluates an expression at all times of a grid at once.
//!
//! Pure: values come from a [`Source`], costs go to a [`Meter`]. A series is one number for each time; NaN there
//! is no value, so that what is undefined is a gap.

use std::time::{Duration, SystemTime};

use promql_parser::parser::{AtModifier, Call, Expr, Offset, VectorSelector};

use super::aggregate::aggregate;
use super::binary::{binary, negated};
use super::fault::Fault;
use super::functions;
use super::grid::{Grid, near};
use super::labels::Labels;
use super::meter::Meter;
use super::window::{Over, SILENCE_MS, roll};

/// Nodes from the root of an expression to its deepest leaf.
pub(super) const MAX_DEPTH: usize = 500;
/// Times of a subquery.
pub(super) const MAX_SUBQUERY_TIMES: usize = 100_000;

/// A series and its values at the times of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) labels: Labels,
    pub(super) values: Vec<f64>,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Made {
    /// One number for each time.
    Scalar(Vec<f64>),
    Text(String),
    Vector(Vec<Row>),
}

/// One series as it was measured: times in ms and values.
pub(super) type Measured = (Labels, Vec<(i64, f64)>);

/// Takes one series: labels, ascending times in ms, values.
pub(super) type Take<'t> = dyn FnMut(&Labels, &[i64], &[f64]) -> Result<(), Fault> + 't;
/// Passes what a selector finds from one time to another, both inside, to a [`Take`], a series at a time.
pub(super) type Source<'s> = dyn Fn(&VectorSelector, (i64, i64), &mut Take<'_>) -> Result<(), Fault> + 's;

/// Evaluates expressions of one query.
pub(super) struct Evaluator<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) meter: &'a Meter<'a>,
    /// Start and end of the query, for `@ start()` and `@ end()`.
    pub(super) range: (i64, i64),
}

/// What a function of windows is given.
pub(super) struct Windowed<'e> {
    pub(super) over: Over,
    pub(super) of: &'e Expr,
    /// A number that goes with it.
    pub(super) param: Option<&'e Expr>,
}

impl Evaluator<'_> {
    /// The value of an expression at the times of a grid.
    pub(super) fn eval(&self, expr: &Expr, grid: Grid) -> Result<Made, Fault> {
        match expr {
            Expr::Paren(paren) => self.eval(&paren.expr, grid),
            Expr::NumberLiteral(number) => {
                self.meter.made(grid.n)?;
                Ok(Made::Scalar(vec![number.val; grid.n]))
            }
            Expr::StringLiteral(text) => Ok(Made::Text(text.val.clone())),
            Expr::Unary(unary) => Ok(negated(self.eval(&unary.expr, grid)?)),
            Expr::VectorSelector(_) => {
                let of = Windowed {
                    over: Over::Plain,
                    of: expr,
                    param: None,
                };
                self.windowed(&of, grid).map(Made::Vector)
            }
            Expr::Binary(own) => {
                let (lhs, rhs) = (self.eval(&own.lhs, grid)?, self.eval(&own.rhs, grid)?);
                binary(own, lhs, rhs, grid.n, self.meter)
            }
            Expr::Aggregate(own) => aggregate(self, own, grid).map(Made::Vector),
            Expr::Call(call) => self.call(call, grid),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => Err(Fault::bad_data(
                "a range vector stands where an instant vector or a number is needed",
            )),
            Expr::Extension(_) => Err(Fault::execution("extensions of the language are not supported")),
        }
    }

    /// The series of an expression.
    pub(super) fn rows(&self, expr: &Expr, grid: Grid) -> Result<Vec<Row>, Fault> {
        match self.eval(expr, grid)? {
            Made::Vector(rows) => Ok(rows),
            Made::Scalar(_) => Err(Fault::bad_data(
                "a number stands where an instant vector is needed",
            )),
            Made::Text(_) => Err(Fault::bad_data("a text stands where an instant vector is needed")),
        }
    }
    /// The numbers of an expression.
    pub(super) fn numbers(&self, expr: &Expr, grid: Grid) -> Result<Vec<f64>, Fault> {
        match self.eval(expr, grid)? {
            Made::Scalar(values) => Ok(values),
            _ => Err(Fault::bad_data("something else stands where a number is needed")),
        }
    }
    /// The text of an expression.
    pub(super) fn text(expr: &Expr) -> Result<&str, Fault> {
        match peeled(expr) {
            Expr::StringLiteral(text) => Ok(&text.val),
            _ => Err(Fault::bad_data("something else stands where a text is needed")),
        }
    }

    fn call(&self, call: &Call, grid: Grid) -> Result<Made, Fault> {
        let args: Vec<&Expr> = call.args.args.iter().map(|arg| &**arg).collect();
        let name = call.func.name;
        let over = match (name, args.first()) {
            ("timestamp", Some(arg)) if matches!(peeled(arg), Expr::VectorSelector(_)) => {
                Some(Over::Timestamp)
            }
            _ => Over::named(name),
        };
        let Some(over) = over else {
            return functions::call(self, name, &args, grid);
        };
        let of = match args[..] {
            [param, of] if over == Over::Quantile => Windowed {
                over,
                of,
                param: Some(param),
            },
            [of, param] => Windowed {
                over,
                of,
                param: Some(param),
            },
            [of] => Windowed {
                over,
                of,
                param: None,
            },
            _ => return Err(Fault::bad_data(format!("wrong number of arguments of {name}"))),
        };
        if over == Over::Absent {
            let present = Windowed {
                over: Over::Present,
                ..of
            };
            let rows = self.windowed(&present, grid)?;
            return Ok(Made::Vector(functions::absent(of.of, &rows, grid)));
        }
        self.windowed(&of, grid).map(Made::Vector)
    }

    /// A function of windows over what a selector or a subquery gives.
    fn windowed(&self, of: &Windowed<'_>, grid: Grid) -> Result<Vec<Row>, Fault> {
        let params = of.param.map(|p| self.numbers(p, grid)).transpose()?;
        let params = params.unwrap_or_default();
        let (offset, at) = match peeled(of.of) {
            Expr::VectorSelector(own) => (&own.offset, &own.at),
            Expr::MatrixSelector(own) => (&own.vs.offset, &own.vs.at),
            Expr::Subquery(own) => (&own.offset, &own.at),
            _ => {
                return Err(Fault::bad_data(
                    "something else stands where a range vector is needed",
                ));
            }
        };
        let back = offset.as_ref().map_or(0, offset_ms);
        let inner = match at {
            None => grid.moved(-back),
            Some(at) => grid.only(self.at_ms(at)).moved(-back),
        };
        let mut rows = Vec::new();
        let mut take = |labels: &Labels, times: &[i64], values: &[f64], window: Option<i64>| {
            let labels = match of.over.keeps_name() {
                true => labels.clone(),
                false => labels.unnamed(),
            };
            let mut values = roll(of.over, inner, window, (times, values), &params, self.meter)?;
            if values.iter().any(|value| !value.is_nan()) {
                if at.is_some() {
                    self.meter.made(grid.n)?;
                    values = vec![values[0]; grid.n];
                }
                rows.push(Row { labels, values });
            }
            Ok(())
        };
        match peeled(of.of) {
            Expr::VectorSelector(own) => {
                let from = inner.start - SILENCE_MS - grid.step;
                (self.source)(own, (from, inner.end), &mut |labels, times, values| {
                    take(labels, times, values, None)
                })?;
            }
            Expr::MatrixSelector(own) => {
                let window = ms(own.range);
                let from = inner.start - SILENCE_MS - window.max(grid.step);
                (self.source)(&own.vs, (from, inner.end), &mut |labels, times, values| {
                    take(labels, times, values, Some(window))
                })?;
            }
            Expr::Subquery(own) => {
                let window = ms(own.range);
                let step = own.step.map_or(grid.step, ms).max(1);
                let first = inner.start - window - SILENCE_MS - step;
                let start = first.div_euclid(step) * step;
                let fine = Grid::new(start, inner.end + step, step);
                if fine.n > MAX_SUBQUERY_TIMES {
                    return Err(Fault::execution(format!(
                        "a subquery has {} steps, more than {MAX_SUBQUERY_TIMES}; take a longer step or a shorter range",
                        fine.n
                    )));
                }
                let times: Vec<i64> = fine.times().collect();
                for row in self.subquery_rows(&own.expr, fine)? {
                    let kept = || times.iter().zip(&row.values).filter(|(_, value)| !value.is_nan());
                    let times: Vec<i64> = kept().map(|(time, _)| *time).collect();
                    let values: Vec<f64> = kept().map(|(_, value)| *value).collect();
                    take(&row.labels, &times, &values, Some(window))?;
                }
            }
            _ => unreachable!("looked at above"),
        }
        Ok(rows)
    }

    /// What a subquery is of: a number counts as a series without labels.
    fn subquery_rows(&self, expr: &Expr, grid: Grid) -> Result<Vec<Row>, Fault> {
        match self.eval(expr, grid)? {
            Made::Scalar(values) => Ok(vec![Row {
                labels: Labels::default(),
                values,
            }]),
            Made::Vector(rows) => Ok(rows),
            Made::Text(_) => Err(Fault::bad_data("a subquery of a text")),
        }
    }

    fn at_ms(&self, at: &AtModifier) -> i64 {
        match at {
            AtModifier::Start => self.range.0,
            AtModifier::End => self.range.1,
            AtModifier::At(time) => match time.duration_since(SystemTime::UNIX_EPOCH) {
                Ok(after) => ms(after),
                Err(before) => -ms(before.duration()),
            },
        }
    }

    /// The raw values of a range vector that ends at a time: labels, times, values.
    pub(super) fn raw(&self, expr: &Expr, at: i64, step: i64) -> Result<Vec<Measured>, Fault> {
        let mut all = Vec::new();
        match expr {
            Expr::MatrixSelector(own) => {
                let end = own.vs.at.as_ref().map_or(at, |at| self.at_ms(at));
                let end = near(end - own.vs.offset.as_ref().map_or(0, offset_ms));
                let from = near(end - ms(own.range)) + 1;
                (self.source)(&own.vs, (from, end), &mut |labels, times, values| {
                    self.meter.made(times.len())?;
                    all.push((labels.clone(), pairs(times, values)));
                    Ok(())
                })?;
            }
            Expr::Subquery(own) => {
                let end = own.at.as_ref().map_or(at, |at| self.at_ms(at));
                let end = near(end - own.offset.as_ref().map_or(0, offset_ms));
                let step = own.step.map_or(step, ms).max(1);
                let first = (near(end - ms(own.range)).div_euclid(step) + 1) * step;
                if first > end {
                    return Ok(all);
                }
                let grid = Grid::new(first, end, step);
                if grid.n > MAX_SUBQUERY_TIMES {
                    return Err(Fault::execution(format!(
                        "a subquery has {} steps, more than {MAX_SUBQUERY_TIMES}",
                        grid.n
                    )));
                }
                let times: Vec<i64> = grid.times().collect();
                for row in self.subquery_rows(&own.expr, grid)? {
                    let mut points = pairs(&times, &row.values);
                    points.retain(|(_, value)| !value.is_nan());
                    all.push((row.labels, points));
                }
            }
            _ => unreachable!("the caller looked what it is"),
        }
        all.retain(|(_, points)| !points.is_empty());
        Ok(all)
    }
}

fn pairs(times: &[i64], values: &[f64]) -> Vec<(i64, f64)> {
    times.iter().copied().zip(values.iter().copied()).collect()
}

/// An expression without its parentheses.
pub(super) fn peeled(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

/// Whole milliseconds, at most so many that nothing overflows.
fn ms(duration: Duration) -> i64 {
    near(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn offset_ms(offset: &Offset) -> i64 {
    match offset {
        Offset::Pos(back) => ms(*back),
        Offset::Neg(ahead) => -ms(*ahead),
    }
}

/// How deep an expression is; stops counting above `max`.
pub(super) fn depth(expr: &Expr, max: usize) -> usize {
    if max == 0 {
        return 1;
    }
    let below = |expr: &Expr| depth(expr, max - 1);
    1 + match expr {
        Expr::Paren(own) => below(&own.expr),
        Expr::Unary(own) => below(&own.expr),
        Expr::Subquery(own) => below(&own.expr),
        Expr::Binary(own) => below(&own.lhs).max(below(&own.rhs)),
        Expr::Aggregate(own) => below(&own.expr).max(own.param.as_deref().map_or(0, below)),
        Expr::Call(own) => own.args.args.iter().map(|arg| below(arg)).max().unwrap_or(0),
        _ => 0,
    }
}
