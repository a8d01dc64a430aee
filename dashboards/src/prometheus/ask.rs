//! `query`, `query_range` and what else takes an expression.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use onemap_store::history::{Damage, noting};
use promql_parser::parser::VectorSelector;
use serde_json::{Value, json};

use super::answer::Found;
use super::apart::{Turns, apart, timeout};
use super::eval::Take;
use super::fault::Fault;
use super::grid::Grid;
use super::meter::Meter;
use super::params::{Asked, invalid};
use super::query::{self, MAX_TIMES};
use super::select::{Catalogue, Gone};
use crate::api::query::marks::Marks;
use crate::api::rows;
use crate::auth::Caller;
use crate::views::Views;

/// How far a plain selector of a single time looks back at least, in ms, unless `step` says otherwise.
const LOOKBACK_MS: i64 = 5 * 60_000;

/// Which marks a value may carry: the parameter `quality`, as everywhere else in the API.
pub(super) fn marks(asked: &Asked) -> Result<Marks, Fault> {
    Marks::parse(asked.get("quality")).map_err(|problem| Fault::bad_data(problem.detail()))
}

pub(super) async fn query(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    asked: Asked,
) -> Result<Response, Fault> {
    let at = asked.time("time")?.unwrap_or_else(|| views.now().ms());
    let step = asked.duration("step")?.unwrap_or(LOOKBACK_MS);
    answered(views, &turns, &caller, &asked, move |text, source, meter| {
        query::instant(&query::parse(text)?, at, step, source, meter)
    })
    .await
}

pub(super) async fn query_range(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    asked: Asked,
) -> Result<Response, Fault> {
    let needed = |name| asked.needed(name).map(drop);
    ["start", "end", "step"].into_iter().try_for_each(needed)?;
    let start = asked.time("start")?.unwrap_or_default();
    let end = asked.time("end")?.unwrap_or_default();
    let step = asked.duration("step")?.unwrap_or(LOOKBACK_MS);
    if end < start {
        return Err(invalid(
            "end",
            asked.get("end").unwrap_or_default(),
            "it is before the start",
        ));
    }
    let grid = Grid::new(start, end, step);
    if grid.n > MAX_TIMES {
        return Err(Fault::bad_data(format!(
            "exceeded maximum resolution of {MAX_TIMES} points per timeseries. Try decreasing the query resolution (?step=XX)"
        )));
    }
    answered(views, &turns, &caller, &asked, move |text, source, meter| {
        query::range(&query::parse(text)?, grid, source, meter)
    })
    .await
}

type Evaluate = dyn FnOnce(&str, &super::eval::Source<'_>, &Meter<'_>) -> Result<Found, Fault> + Send;

/// Works on a query in its turn.
async fn answered(
    views: Arc<Views>,
    turns: &Turns,
    caller: &Caller,
    asked: &Asked,
    evaluate: impl FnOnce(&str, &super::eval::Source<'_>, &Meter<'_>) -> Result<Found, Fault> + Send + 'static,
) -> Result<Response, Fault> {
    let scope = caller.scope().clone();
    let marks = marks(asked)?;
    let limit = asked.limit()?;
    let text = asked.needed("query")?.to_owned();
    let time = timeout(asked.duration("timeout")?);
    let evaluate: Box<Evaluate> = Box::new(evaluate);
    let body = apart(turns, time, move |expired| {
        let meter = Meter::new(expired);
        let catalogue = Catalogue {
            views: &views,
            scope: &scope,
            marks,
            gone: Gone::default(),
        };
        let source = |selector: &VectorSelector, span: (i64, i64), take: &mut Take<'_>| {
            catalogue.read(selector, span, &meter, take)
        };
        let (found, missing) = noting(|| evaluate(&text, &source, &meter));
        let mut found = found?;
        let mut warnings = catalogue.gone.warnings();
        warnings.extend(missing.damage().map(|Damage { rows, from, to }| {
            format!("{rows} damaged rows are left out: values from {from} to {to} may be missing")
        }));
        if found.n_series() > limit {
            found.truncate(limit);
            warnings.push("results truncated due to limit".to_owned());
        }
        Ok(found.written(&warnings))
    });
    body.await.map(rows::json)
}

/// No exemplars are kept; the expression is looked at all the same.
pub(super) async fn exemplars(
    Extension(turns): Extension<Turns>,
    _: Caller,
    asked: Asked,
) -> Result<Json<Value>, Fault> {
    read(&turns, &asked, |_| json!([])).await
}

/// The expression as it is read, on lines of its own.
pub(super) async fn format_query(
    Extension(turns): Extension<Turns>,
    _: Caller,
    asked: Asked,
) -> Result<Json<Value>, Fault> {
    read(&turns, &asked, |expr| json!(expr.prettify())).await
}

async fn read(
    turns: &Turns,
    asked: &Asked,
    show: fn(&promql_parser::parser::Expr) -> Value,
) -> Result<Json<Value>, Fault> {
    let text = asked.needed("query")?.to_owned();
    let shown = apart(turns, timeout(None), move |_| Ok(show(&query::parse(&text)?)));
    Ok(Json(json!({"status": "success", "data": shown.await?})))
}
