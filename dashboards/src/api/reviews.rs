//! Reviews of values: a person's word on what a span of a series is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::scope::Permission;
use onemap_model::{Quantity, Review, Scope, SeriesKey, Timestamp, Verb, Verdict};
use onemap_store::ledger::{LedgerError, SeriesAct, SeriesActFilter, SeriesActKind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::quarantine::read;
use crate::api::{act_problem, behind, limit, list, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::Views;

/// Acts that a list reads at once.
const READ_ROWS: usize = 256;
/// How far behind now a review may end: the second in which a value came that is reviewed at once.
const AHEAD_MS: i64 = 1000;

/// Which acts about series a list holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActsQuery {
    device: Option<String>,
    quantity: Option<Quantity>,
    ch: Option<u16>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Reviews, newest first.
pub(crate) async fn list_reviews(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ActsQuery>,
) -> Result<Json<Value>, Problem> {
    list_acts(&views, &caller, query, SeriesActKind::Review).await
}

impl ActsQuery {
    /// Whether it chooses by what only a series has.
    pub(crate) fn is_of_series(&self) -> bool {
        self.quantity.is_some() || self.ch.is_some()
    }
}

/// Acts of a kind about the series of devices that the caller may see, newest first.
pub(crate) async fn list_acts(
    views: &Arc<Views>,
    caller: &Caller,
    query: ActsQuery,
    kind: SeriesActKind,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::View)?.clone();
    let (quantity, ch) = (query.quantity, query.ch);
    let wants = move |views: &Views, row: &SeriesAct| {
        row.series().is_some_and(|series| {
            quantity.is_none_or(|quantity| series.quantity == quantity)
                && ch.is_none_or(|ch| series.channel == ch)
                && views.device(&scope, series.device.as_str()).is_some()
        })
    };
    list_chosen(views, query, kind, wants).await
}

/// Acts of a kind that are wanted, newest first.
pub(crate) async fn list_chosen(
    views: &Arc<Views>,
    query: ActsQuery,
    kind: SeriesActKind,
    wants: impl Fn(&Views, &SeriesAct) -> bool + Send + 'static,
) -> Result<Json<Value>, Problem> {
    let limit = limit(query.limit, 100)?;
    let filter = SeriesActFilter {
        kind: Some(kind),
        from: query.from.as_deref().map(|t| time("from", t)).transpose()?,
        to: query.to.as_deref().map(|t| time("to", t)).transpose()?,
        device: query.device,
        series: None,
    };
    let after = query.after;
    let page = read(views, move |views| page(views, &filter, after, limit, &wants));
    let (items, next) = page.await?;
    Ok(list(items, next.map(|id| id.to_string())))
}

fn page(
    views: &Views,
    filter: &SeriesActFilter,
    mut before: Option<u64>,
    limit: usize,
    wants: &dyn Fn(&Views, &SeriesAct) -> bool,
) -> Result<(Vec<Value>, Option<u64>), LedgerError> {
    let (mut items, mut last) = (Vec::new(), None);
    loop {
        let rows = views.ledger.series_acts(filter, before, READ_ROWS)?;
        let is_end = rows.len() < READ_ROWS;
        for row in rows {
            before = Some(row.position);
            if !wants(views, &row) {
                continue;
            }
            // One more than is shown says that there is a next page.
            if items.len() == limit {
                return Ok((items, last));
            }
            last = Some(row.position);
            items.push(act_json(views, &row));
        }
        if is_end {
            return Ok((items, None));
        }
    }
}

/// An act about a series as it is shown: its own members, who and when.
pub(crate) fn act_json(views: &Views, row: &SeriesAct) -> Value {
    let act = &row.act;
    let mut shown = match &act.verb {
        Verb::Review(review) => json!(review),
        Verb::Correct(correction) => json!(correction),
        Verb::Dust(dust) => json!(dust),
        _ => json!({}),
    };
    shown["id"] = row.position.into();
    shown["at"] = json!(act.at);
    shown["by"] = json!(act.by.actor);
    shown["role"] = json!(act.by.role);
    if let Some(key) = row.series() {
        shown["series"] = json!(views.history.series_id(key).map(|id| id.0));
    }
    if let Some(withdrawn) = &row.withdrawn
        && let Verb::WithdrawCorrection { name, reason, .. } | Verb::WithdrawDust { name, reason, .. } =
            &withdrawn.act.verb
    {
        let by = &withdrawn.act.by;
        shown["withdrawn"] = json!({"at": withdrawn.act.at, "by": by.actor, "role": by.role,
                                    "name": name, "reason": reason});
    }
    shown
}

/// The key of a series that a scope may see and that has values.
pub(crate) fn series(
    views: &Views,
    scope: &Scope,
    device: &str,
    quantity: Quantity,
    channel: u16,
) -> Result<SeriesKey, Problem> {
    let device = views
        .device(scope, device)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{device}`")))?;
    let key = SeriesKey {
        device: device.id.clone(),
        quantity,
        channel,
    };
    match views.history.series_id(&key) {
        Some(_) => Ok(key),
        None => Err(Problem::not_found(
            "unknown_series",
            format!("nothing was measured of {key}"),
        )),
    }
}

/// Records an act and gives it as it is shown then.
pub(crate) async fn record(
    views: &Arc<Views>,
    scope: &Scope,
    verb: Verb,
    id: Option<u64>,
) -> Result<Json<Value>, Problem> {
    let acts = &views.acts;
    let position = acts
        .record_act(scope, views.now(), verb)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    let id = id.unwrap_or(position);
    // It is in the ledger: the fold that was waited for has written it.
    let found = one(views, id, None).await?.ok_or_else(|| {
        Problem::internal(&std::io::Error::other(format!(
            "the act {id} is not in the ledger"
        )))
    })?;
    Ok(Json(act_json(views, &found)))
}

/// One act about a series.
pub(crate) async fn one(
    views: &Arc<Views>,
    id: u64,
    kind: Option<SeriesActKind>,
) -> Result<Option<SeriesAct>, Problem> {
    let filter = SeriesActFilter {
        kind,
        ..SeriesActFilter::default()
    };
    let newest = read(views, move |views| {
        views.ledger.series_acts(&filter, Some(id.saturating_add(1)), 1)
    });
    Ok(newest.await?.pop().filter(|row| row.position == id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewBody {
    device: String,
    quantity: Quantity,
    #[serde(default)]
    ch: u16,
    from: Timestamp,
    to: Timestamp,
    verdict: VerdictName,
    value: Option<f64>,
    name: String,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictName {
    Valid,
    Invalid,
    Replaced,
    Withdrawn,
}

impl ReviewBody {
    fn verdict(&self) -> Result<Verdict, Problem> {
        let bad = |why: String| Problem::bad_request("bad_value", why);
        match (self.verdict, self.value) {
            (VerdictName::Replaced, Some(value)) => {
                is_possible(self.quantity, value).map_err(bad)?;
                Ok(Verdict::Replaced { value })
            }
            (VerdictName::Replaced, None) => Err(bad("`replaced` says by which `value`".to_owned())),
            (_, Some(_)) => Err(bad("a `value` is for the verdict `replaced`".to_owned())),
            (VerdictName::Valid, None) => Ok(Verdict::Valid),
            (VerdictName::Invalid, None) => Ok(Verdict::Invalid),
            (VerdictName::Withdrawn, None) => Ok(Verdict::Withdrawn),
        }
    }
}

/// Whether a quantity can have a value.
fn is_possible(quantity: Quantity, value: f64) -> Result<(), String> {
    let known = quantity.definition();
    if let Some([least, most]) = known.range
        && !(least..=most).contains(&value)
    {
        return Err(format!(
            "{value} {} is outside of what {quantity} can be, {least} to {most}",
            known.unit
        ));
    }
    let is_state = |code: u16| f64::from(code) == value;
    if !known.states.is_empty() && !known.states.iter().any(|state| is_state(state.code)) {
        return Err(format!("{value} is no state of {quantity}"));
    }
    Ok(())
}

/// Reviews the values of a series in a span.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(body): Body<ReviewBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::Review)?;
    let verdict = body.verdict()?;
    let series = series(&views, scope, &body.device, body.quantity, body.ch)?;
    if body.to.ms() > views.now().ms().saturating_add(AHEAD_MS) {
        return Err(Problem::bad_request(
            "bad_range",
            "`to` lies ahead: nobody has seen the values that will come",
        ));
    }
    let review = Review {
        series,
        from: body.from,
        to: body.to,
        verdict,
        name: body.name,
        reason: body.reason,
    };
    let shown = record(&views, scope, Verb::Review(Box::new(review)), None).await?;
    Ok((StatusCode::CREATED, shown))
}
