//! Acts about the values of a series or about a place, whatever they say: how they are listed, recorded and withdrawn.

use std::sync::Arc;

use axum::Json;
use onemap_model::{DivisionCode, Quantity, Scope, SeriesKey, Verb};
use onemap_store::ledger::{LedgerError, SeriesAct, SeriesActFilter, SeriesActKind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::dust;
use crate::api::quarantine::read;
use crate::api::{carried_out, limit, list, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Acts that a list reads at once.
const READ_ROWS: usize = 256;

/// Which acts about series or places a list holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActsQuery {
    pub(crate) device: Option<String>,
    pub(crate) division: Option<DivisionCode>,
    pub(crate) quantity: Option<Quantity>,
    pub(crate) ch: Option<u16>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Acts of a kind about the series of devices that the caller may see, newest first.
pub(crate) async fn list_acts(
    views: &Arc<Views>,
    caller: &Caller,
    query: ActsQuery,
    kind: SeriesActKind,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let (quantity, ch, division) = (query.quantity, query.ch, query.division.clone());
    if let Some(division) = &division {
        known_division(views, &scope, division)?;
    }
    let device = query.device.clone();
    let wants = move |views: &Views, row: &SeriesAct| {
        let register = views.register.read().expect(POISON);
        row.series().is_some_and(|series| {
            quantity.is_none_or(|quantity| series.quantity == quantity)
                && ch.is_none_or(|ch| series.channel == ch)
                && register
                    .asked_for(&scope, &series.device, division.as_ref(), None)
                    .is_some()
        })
    };
    list_chosen(views, query, kind, device, wants).await
}

/// That a division is one of the register, or has a device in it that the scope sees.
///
/// # Errors
/// [`Problem`] (404 `unknown_division`).
pub(crate) fn known_division(views: &Views, scope: &Scope, division: &DivisionCode) -> Result<(), Problem> {
    match views.register.read().expect(POISON).knows(scope, division) {
        true => Ok(()),
        false => Err(Problem::not_found(
            "unknown_division",
            format!("no division of the register has the code {division}, and no device lies in it"),
        )),
    }
}

/// Acts of a kind that are wanted, newest first; of one device when it is given.
pub(crate) async fn list_chosen(
    views: &Arc<Views>,
    query: ActsQuery,
    kind: SeriesActKind,
    device: Option<String>,
    wants: impl Fn(&Views, &SeriesAct) -> bool + Send + 'static,
) -> Result<Json<Value>, Problem> {
    let limit = limit(query.limit, 100)?;
    let filter = SeriesActFilter {
        kind: Some(kind),
        from: query.from.as_deref().map(|t| time("from", t)).transpose()?,
        to: query.to.as_deref().map(|t| time("to", t)).transpose()?,
        device,
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

/// The key of a series of a device that a scope may see, whether it has values or not.
pub(crate) fn key(
    views: &Views,
    scope: &Scope,
    device: &str,
    quantity: Quantity,
    channel: u16,
) -> Result<SeriesKey, Problem> {
    let device = views
        .device(scope, device)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{device}`")))?;
    Ok(SeriesKey {
        device: device.id.clone(),
        quantity,
        channel,
    })
}

/// That a series has values.
pub(crate) fn has_values(views: &Views, key: &SeriesKey) -> Result<(), Problem> {
    match views.history.series_id(key) {
        Some(_) => Ok(()),
        None => Err(Problem::not_found(
            "unknown_series",
            format!("nothing was measured of {key}"),
        )),
    }
}

/// Records an act about a series or place and gives it as it is shown then.
pub(crate) async fn record(views: &Arc<Views>, scope: &Scope, verb: Verb) -> Result<Json<Value>, Problem> {
    let id = carried_out(views, scope, verb).await?;
    Ok(Json(act_json(views, &folded(views, id).await?)))
}

/// An act that is in the ledger: the fold that was waited for has written it.
async fn folded(views: &Arc<Views>, id: u64) -> Result<SeriesAct, Problem> {
    one(views, id, None).await?.ok_or_else(|| {
        Problem::internal(&std::io::Error::other(format!(
            "the act {id} is not in the ledger"
        )))
    })
}

/// One act about a series.
async fn one(views: &Arc<Views>, id: u64, kind: Option<SeriesActKind>) -> Result<Option<SeriesAct>, Problem> {
    let filter = SeriesActFilter {
        kind,
        ..SeriesActFilter::default()
    };
    let newest = read(views, move |views| {
        views.ledger.series_acts(&filter, Some(id.saturating_add(1)), 1)
    });
    Ok(newest.await?.pop().filter(|row| row.position == id))
}

/// Who withdraws, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawBody {
    name: String,
    reason: String,
}

/// Withdraws a correction or a time of sand and dust, and gives it as it is shown then. Of several that withdraw at once
/// the first in the journal did.
///
/// # Errors
/// [`Problem`]: 404 for what the scope does not see, 403 for what it may not withdraw, 409 `withdrawn` for what is.
pub(crate) async fn withdraw(
    views: &Arc<Views>,
    caller: &Caller,
    kind: SeriesActKind,
    id: u64,
    WithdrawBody { name, reason }: WithdrawBody,
) -> Result<Json<Value>, Problem> {
    let (code, what) = match kind {
        SeriesActKind::Correction => ("unknown_correction", "no correction has"),
        SeriesActKind::Dust => ("unknown_dust", "no sand and dust have"),
        SeriesActKind::Review => ("unknown_review", "no review has"),
    };
    let scope = caller.scope();
    let unknown = || Problem::not_found(code, format!("{what} the id {id}"));
    let withdrawn = || Problem::conflict("withdrawn", format!("{id} is withdrawn already"));
    let found = one(views, id, Some(kind)).await?.ok_or_else(unknown)?;
    let verb = match &found.act.verb {
        Verb::Correct(correction) => {
            let series = correction.series.clone();
            views.device(scope, series.device.as_str()).ok_or_else(unknown)?;
            Verb::WithdrawCorrection {
                correction: id,
                series,
                from: correction.from,
                to: correction.to,
                name,
                reason,
            }
        }
        Verb::Dust(dust) => {
            if !dust::sees(views, scope, &dust.place) {
                return Err(unknown());
            }
            dust::is_named_by(scope, &dust.place)?;
            Verb::WithdrawDust {
                dust: id,
                name,
                reason,
            }
        }
        // A review is taken back by another over its span.
        _ => return Err(unknown()),
    };
    if found.withdrawn.is_some() {
        return Err(withdrawn());
    }
    let position = carried_out(views, scope, verb).await?;
    let found = folded(views, id).await?;
    match &found.withdrawn {
        Some(by) if by.position == position => Ok(Json(act_json(views, &found))),
        _ => Err(withdrawn()),
    }
}
