//! Addresses to places, one or many; names while they are typed; positions to addresses.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use onemap_model::{Crs, EntityKind, Position, Scope};
use onemap_spatial::geocode::{AddressError, Asker, Geocoder};
use onemap_spatial::query::Filter;
use onemap_spatial::{CityView, ThingKind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Params, Unread};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// The version of the names that an answer was made with: it counts changes of the whole city, so who is of a division
/// or of departments is told none.
fn version_for(scope: &Scope, version: u64) -> Value {
    match scope.is_whole() {
        true => version.into(),
        false => Value::Null,
    }
}

/// Addresses of one bulk request.
pub(crate) const N_BULK: usize = 10_000;
/// Alternatives of an answer when nothing is said, and at most.
const N_ALTERNATIVES: usize = 5;
const MOST_ALTERNATIVES: usize = 10;
/// Suggestions when nothing is said, and at most.
const N_SUGGESTIONS: usize = 10;
const MOST_SUGGESTIONS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    q: Option<String>,
    limit: Option<usize>,
    near: Option<String>,
}

impl Asked {
    /// Who asks, from where, and how many answers are wanted.
    fn asker(&self, scope: &Scope, usual: usize, most: usize) -> Result<(Asker, usize), Problem> {
        let near = self.near.as_deref().map(near).transpose()?;
        let limit = self.limit.unwrap_or(usual);
        if limit > most {
            let text = format!("limit={limit}: at most {most} are given");
            return Err(Problem::bad_request("bad_limit", text));
        }
        let division = scope.division.clone();
        Ok((Asker { division, near }, limit))
    }

    fn text(&self) -> Result<&str, Problem> {
        let missing = || Problem::bad_request("bad_parameter", "q is needed: the address");
        self.q.as_deref().ok_or_else(missing)
    }
}

/// `lon,lat` in WGS 84 degrees.
fn near(text: &str) -> Result<Position, Problem> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let position = match numbers.as_deref() {
        Some([lon, lat]) => Position::new(*lon, *lat, None).ok(),
        _ => None,
    };
    position.ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        Problem::bad_request(
            "bad_near",
            format!("near={shown}: longitude,latitude in degrees are needed"),
        )
    })
}

fn refused(error: &AddressError) -> Problem {
    Problem::bad_request(error.code(), error.to_string())
}

fn answered(geocoder: &Geocoder, text: &str, asker: &Asker, limit: usize) -> Result<Value, AddressError> {
    let mut answer = geocoder.geocode(text, asker)?;
    answer.alternatives.truncate(limit);
    let mut value = answer.to_json();
    value["query"] = text.into();
    value["ok"] = true.into();
    Ok(value)
}

/// One address.
pub(crate) async fn one(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let (asker, limit) = asked.asker(scope, N_ALTERNATIVES, MOST_ALTERNATIVES)?;
    let text = asked.text()?;
    let made = views.places.current().await?;
    let mut value = answered(&made.geocoder, text, &asker, limit).map_err(|error| refused(&error))?;
    value["version"] = version_for(scope, made.version);
    Ok(Json(value))
}

/// Many addresses: a JSON list of texts, or text with one a line. Each has its answer or its error, in order.
pub(crate) async fn many(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(asked): Params<Asked>,
    body: Unread,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let (asker, limit) = asked.asker(scope, N_ALTERNATIVES, MOST_ALTERNATIVES)?;
    let is_json = body.is_json();
    let bytes = body.read().await?;
    let is_list = bytes.trim_ascii_start().starts_with(b"[");
    let texts: Vec<String> = if is_list || (is_json && !bytes.trim_ascii().is_empty()) {
        let read = serde_json::from_slice(&bytes);
        read.map_err(|e| Problem::bad_request("bad_body", format!("a list of texts is needed: {e}")))?
    } else {
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Problem::bad_request("bad_body", format!("the body is not UTF-8: {e}")))?;
        text.lines().map(str::to_owned).collect()
    };
    if texts.len() > N_BULK {
        return Err(Problem::too_large(format!(
            "{} addresses, at most {N_BULK} at once",
            texts.len()
        )));
    }
    let made = views.places.current().await?;
    let geocoder = made.geocoder.clone();
    let items = tokio::task::spawn_blocking(move || {
        let each = texts.iter().enumerate().map(|(i, text)| {
            let mut item =
                answered(&geocoder, text, &asker, limit).unwrap_or_else(|error| not_read(text, &error));
            item["line"] = (i + 1).into();
            item
        });
        each.collect::<Vec<Value>>()
    })
    .await
    .map_err(|e| Problem::internal(&e))?;
    Ok(Json(
        json!({"items": items, "version": version_for(scope, made.version)}),
    ))
}

/// The answer to what is no address; of a long text its beginning.
fn not_read(text: &str, error: &AddressError) -> Value {
    let query: String = text.chars().take(64).collect();
    json!({"query": query, "ok": false, "error": {"code": error.code(), "detail": error.to_string()}})
}

/// Names that begin so, are typed so or sound so.
pub(crate) async fn suggest(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let (asker, limit) = asked.asker(scope, N_SUGGESTIONS, MOST_SUGGESTIONS)?;
    let text = asked.text()?;
    let made = views.places.current().await?;
    let found = made
        .geocoder
        .suggest(text, &asker, limit)
        .map_err(|error| refused(&error))?;
    let items: Vec<Value> = found.iter().map(|suggestion| suggestion.to_json()).collect();
    Ok(Json(
        json!({"query": text, "items": items, "version": version_for(scope, made.version)}),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Here {
    lon: f64,
    lat: f64,
    #[serde(default)]
    crs: Option<String>,
}

/// The address of a position.
pub(crate) async fn reverse(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(here): Params<Here>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let crs: Crs = match &here.crs {
        None => Crs::default(),
        Some(name) => name
            .parse()
            .map_err(|e| Problem::bad_request("bad_crs", format!("crs={name:.32}: {e}")))?,
    };
    let off = |e: onemap_model::place::PositionError| Problem::bad_request("bad_position", e.to_string());
    let (lon, lat) = crs.to_wgs84(here.lon, here.lat);
    let position = Position::new(lon, lat, None).map_err(off)?;
    let made = views.places.current().await?;
    let city = views.register.read().expect(POISON).city.view();
    let covering = city.divisions_at(&position);
    let grid = grid(&views, &city, &position, scope)?;
    let asker = Asker {
        division: scope.division.clone(),
        near: None,
    };
    let mut value = made.geocoder.reverse(&position, &covering, &asker).to_json();
    value["grid"] = grid;
    value["position"] = json!({"lon": position.lon(), "lat": position.lat()});
    value["version"] = version_for(scope, made.version);
    Ok(Json(value))
}

/// The responsibility grid at a position that the caller may see: the valid one with the first code, as code and name.
fn grid(views: &Views, city: &CityView, at: &Position, scope: &Scope) -> Result<Value, Problem> {
    let filter = Filter {
        kinds: vec![ThingKind::Entity(EntityKind::Grid)],
        valid_at: Some(views.now()),
        scope: scope.reach(),
        ..Filter::default()
    };
    let column = city
        .column((at.lon(), at.lat()), None, &filter)
        .map_err(|e| Problem::bad_request("bad_position", e.to_string()))?;
    let Some(grid) = column.grids.first() else {
        return Ok(Value::Null);
    };
    let register = views.register.read().expect(POISON);
    let known = register.view.entities.get(&EntityKind::Grid, grid.code());
    Ok(json!({"code": &**grid.code(), "name": known.map(|grid| grid.name)}))
}
