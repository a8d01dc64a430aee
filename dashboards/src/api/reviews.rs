//! Reviews of values: a person's word on what a span of a series is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::{Quantity, Review, Timestamp, Verb, Verdict};
use onemap_store::ledger::SeriesActKind;
use serde::Deserialize;
use serde_json::Value;

use crate::api::review_problem;
use crate::api::series_acts::{ActsQuery, has_values, key, list_acts, record};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams, Params};
use crate::views::Views;

/// How far behind now a review may end: the second in which a value came that is reviewed at once.
const AHEAD_MS: i64 = 1000;

/// Reviews, newest first.
pub(crate) async fn list_reviews(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ActsQuery>,
) -> Result<Json<Value>, Problem> {
    list_acts(&views, &caller, query, SeriesActKind::Review).await
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
    Doubted,
    Withdrawn,
}

impl ReviewBody {
    fn verdict(&self) -> Result<Verdict, Problem> {
        let bad = |why: String| Problem::bad_request("bad_value", why);
        match (self.verdict, self.value) {
            (VerdictName::Replaced, Some(value)) => Ok(Verdict::Replaced { value }),
            (VerdictName::Replaced, None) => Err(bad("`replaced` says by which `value`".to_owned())),
            (_, Some(_)) => Err(bad("a `value` is for the verdict `replaced`".to_owned())),
            (VerdictName::Valid, None) => Ok(Verdict::Valid),
            (VerdictName::Invalid, None) => Ok(Verdict::Invalid),
            (VerdictName::Doubted, None) => Ok(Verdict::Doubted),
            (VerdictName::Withdrawn, None) => Ok(Verdict::Withdrawn),
        }
    }
}

/// Reviews the values of a series in a span.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
    Body(body): Body<ReviewBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let verdict = body.verdict()?;
    let series = key(&views, scope, &body.device, body.quantity, body.ch)?;
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
    review.check().map_err(|fault| review_problem(&fault))?;
    has_values(&views, &review.series)?;
    let shown = record(&views, scope, Verb::Review(Box::new(review))).await?;
    Ok((StatusCode::CREATED, shown))
}
