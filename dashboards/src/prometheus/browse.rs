//! Names of series, labels and quantities, for the browser of labels and for completion.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use onemap_model::{AlertId, Quantity, Scope};
use promql_parser::parser::{Expr, VectorSelector};
use serde_json::{Map, Value, json};

use super::apart::{Turns, apart, timeout};
use super::fault::Fault;
use super::labels::NAME;
use super::params::{Asked, invalid};
use super::select::{Catalogue, Gone, Known, says_something};
use super::{answer, query};
use crate::api::alerts::alert_json;
use crate::api::query::marks::Marks;
use crate::api::rows;
use crate::auth::Caller;
use crate::views::Views;

/// Quantities that only grow until they begin anew.
const COUNTERS: [&str; 3] = ["rain_total", "energy", "counter"];
/// The version of Prometheus whose API this is.
const SPOKEN: &str = "2.45.0";
const POISON: &str = "no holder of this lock panics";

/// Label sets of the series that match.
pub(super) async fn series(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    asked: Asked,
) -> Result<Response, Fault> {
    if asked.get("match[]").is_none() {
        return Err(Fault::bad_data("no match[] parameter provided"));
    }
    let limit = asked.limit()?;
    let body = known(views, &turns, &caller, &asked, move |found| {
        let mut out = br#"{"status":"success","data":["#.to_vec();
        for (i, known) in found.iter().take(limit).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            answer::labels(&mut out, &known.labels);
        }
        out.push(b']');
        if found.len() > limit {
            out.extend_from_slice(br#","warnings":["results truncated due to limit"]"#);
        }
        out.push(b'}');
        out
    });
    body.await.map(rows::json)
}

/// Names of labels.
pub(super) async fn labels(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<Value>, Fault> {
    let limit = asked.limit()?;
    let names = known(views, &turns, &caller, &asked, |found| {
        let names = found.iter().flat_map(|known| known.labels.iter());
        names.map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>()
    });
    Ok(list(names.await?, limit))
}

/// Values of one label.
pub(super) async fn values(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Json<Value>, Fault> {
    super::functions::check_label(&name).map_err(|fault| Fault::bad_data(fault.text))?;
    let limit = asked.limit()?;
    let values = known(views, &turns, &caller, &asked, move |found| {
        let values = found.iter().map(|known| known.labels.get(&name));
        let there = values.filter(|value| !value.is_empty());
        there.map(str::to_owned).collect::<BTreeSet<_>>()
    });
    Ok(list(values.await?, limit))
}

fn list(items: BTreeSet<String>, limit: usize) -> Json<Value> {
    let is_cut = items.len() > limit;
    let items: Vec<String> = items.into_iter().take(limit).collect();
    let mut answer = json!({"status": "success", "data": items});
    if is_cut {
        answer["warnings"] = json!(["results truncated due to limit"]);
    }
    Json(answer)
}

/// Makes something of the series that match any `match[]` (all without one) and spoke between `start` and `end`.
async fn known<T: Send + 'static>(
    views: Arc<Views>,
    turns: &Turns,
    caller: &Caller,
    asked: &Asked,
    make: impl FnOnce(&[Known]) -> T + Send + 'static,
) -> Result<T, Fault> {
    let scope = caller.scope().clone();
    let (start, end) = (asked.time("start")?, asked.time("end")?);
    let span =
        (start.is_some() || end.is_some()).then(|| (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX)));
    let texts: Vec<String> = asked.all("match[]").map(str::to_owned).collect();
    apart(turns, timeout(None), move |_| {
        let selectors: Vec<VectorSelector> = texts
            .iter()
            .map(|text| selector(text))
            .collect::<Result<_, _>>()?;
        let selectors: Vec<&VectorSelector> = selectors.iter().collect();
        Ok(make(&seen(&views, &scope).series(&selectors, span)?))
    })
    .await
}

fn seen<'v>(views: &'v Views, scope: &'v Scope) -> Catalogue<'v> {
    Catalogue {
        views,
        scope,
        marks: Marks::Any,
        gone: Gone::default(),
    }
}

fn selector(text: &str) -> Result<VectorSelector, Fault> {
    let wrong = |why: &str| invalid("match[]", text, why);
    match query::parse(text).map_err(|fault| wrong(&fault.text))? {
        Expr::VectorSelector(own) if says_something(&own) => Ok(own),
        Expr::VectorSelector(_) => Err(wrong("match[] must contain at least one non-empty matcher")),
        _ => Err(wrong("it is no selector of series")),
    }
}

/// What each quantity is that the caller may see a series of.
pub(super) async fn metadata(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    asked: Asked,
) -> Result<Json<Value>, Fault> {
    let scope = caller.scope().clone();
    let limit = asked.limit()?;
    let wanted = asked.get("metric").map(str::to_owned);
    let seen = apart(&turns, timeout(None), move |_| {
        let found = seen(&views, &scope).series(&[], None)?;
        let names = found.iter().map(|known| known.labels.get(NAME));
        let names: BTreeSet<Quantity> = names.filter_map(Quantity::named).collect();
        Ok(names)
    });
    let seen = seen.await?.into_iter();
    let wanted = seen.filter(|own| wanted.as_deref().is_none_or(|name| own.name() == name));
    let all: Map<String, Value> = wanted
        .take(limit)
        .map(|quantity| (quantity.name().to_owned(), described(quantity)))
        .collect();
    Ok(Json(json!({"status": "success", "data": all})))
}

fn described(quantity: Quantity) -> Value {
    let own = quantity.definition();
    let kind = match COUNTERS.contains(&own.name.as_str()) {
        true => "counter",
        false => "gauge",
    };
    let states = own
        .states
        .iter()
        .map(|state| format!("{} {}", state.code, state.en));
    let states = states.collect::<Vec<_>>().join(", ");
    let help = match states.is_empty() {
        true => format!("{} {}", own.zh, own.en),
        false => format!("{} {} ({states})", own.zh, own.en),
    };
    json!([{"type": kind, "help": help, "unit": own.unit}])
}

/// Rules of onemap are no PromQL, so none is listed.
pub(super) async fn rules(_: Caller) -> Result<Json<Value>, Fault> {
    Ok(Json(json!({"status": "success", "data": {"groups": []}})))
}

/// Open alerts that the caller sees, as firing ones.
pub(super) async fn alerts(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Fault> {
    let scope = caller.scope().clone();
    let open: Vec<AlertId> = {
        let register = views.register.read().expect(POISON);
        let board = views.board.read().expect(POISON);
        let open = board.open_alerts().filter(|alert| {
            let device = alert.series.device.as_str();
            scope.covers(register.recorded(device, alert.division.as_ref()))
        });
        open.map(|alert| alert.id).collect()
    };
    let shown = open.iter().filter_map(|id| alert_json(&views, &scope, id));
    let alerts: Vec<Value> = shown.map(|alert| firing(&alert)).collect();
    Ok(Json(json!({"status": "success", "data": {"alerts": alerts}})))
}

/// An alert in Prometheus's shape.
fn firing(alert: &Value) -> Value {
    let series = &alert["series"];
    let labels = [
        ("alertname", &alert["rule"]),
        ("severity", &alert["severity"]),
        ("division", &alert["division"]),
        ("device", &series["device"]),
        ("device_name", &alert["device_name"]),
        ("quantity", &series["quantity"]),
        ("channel", &series["ch"]),
    ];
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), text(value)));
    let labels: BTreeMap<String, String> = labels.filter(|(_, value)| !value.is_empty()).collect();
    json!({
        "labels": labels, "state": "firing", "activeAt": alert["raised_at"],
        "annotations": {"summary": alert["message"]["zh"], "summary_en": alert["message"]["en"],
                        "description": alert["advice"]["zh"], "id": alert["id"]},
        "value": alert["value"].as_f64().map(answer::number).unwrap_or_default(),
    })
}

/// Which API is spoken, and by what.
pub(super) async fn build_info(_: Caller) -> Result<Json<Value>, Fault> {
    Ok(Json(json!({"status": "success", "data": {
        "version": SPOKEN, "revision": concat!("onemap ", env!("CARGO_PKG_VERSION")), "branch": "",
        "buildUser": "", "buildDate": "", "goVersion": "",
    }})))
}
