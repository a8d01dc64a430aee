//! Vector tiles and what describes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use onemap_model::{Reach, Scope, Timestamp};
use onemap_spatial::{CityView, Layer, LiveState, Look, States, Tile, TileError};
use serde_json::Value;

use crate::api::devices::status;
use crate::api::map::{POISON, city};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Bytes of tiles that are kept.
const N_KEPT_BYTES: usize = 64 << 20;
/// Things that time ends or begins are seen at most so much later, milliseconds.
const KEPT_MS: i64 = 60_000;

/// A tile that was made, as long as nothing it shows changes.
#[derive(Clone)]
struct Kept {
    version: u64,
    /// Of what devices stand on.
    states: Arc<States>,
    made_at: Timestamp,
    /// `None` for a tile without content.
    tile: Option<(Bytes, String, usize, usize)>,
}

/// Tiles that were made for callers who see the whole city.
#[derive(Default)]
pub struct Tiles(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    tiles: HashMap<(Layer, [u32; 3]), Kept>,
    n_bytes: usize,
}

impl Tiles {
    fn find(
        &self,
        layer: Layer,
        at: [u32; 3],
        (version, states): (u64, &States),
        now: Timestamp,
    ) -> Option<Kept> {
        let shelf = self.0.lock().expect(POISON);
        let kept = shelf.tiles.get(&(layer, at))?;
        let is_fresh = kept.version == version && (0..KEPT_MS).contains(&(now.ms() - kept.made_at.ms()));
        (is_fresh && *kept.states == *states).then(|| kept.clone())
    }

    fn keep(&self, layer: Layer, at: [u32; 3], kept: Kept) {
        let size = |kept: &Kept| {
            128 + kept.states.n_bytes() + kept.tile.as_ref().map_or(0, |(bytes, ..)| bytes.len())
        };
        let mut shelf = self.0.lock().expect(POISON);
        if shelf.n_bytes + size(&kept) > N_KEPT_BYTES {
            *shelf = Shelf::default();
        }
        shelf.n_bytes += size(&kept);
        if let Some(before) = shelf.tiles.insert((layer, at), kept) {
            shelf.n_bytes -= size(&before);
        }
    }
}

/// State of a device, and whether it is stale; unknown of one that is not there.
pub(crate) fn live_state(views: &Views, id: &str) -> (LiveState, bool) {
    let register = views.register.read().expect(POISON);
    let Some(device) = register.view.devices.get(id).cloned() else {
        return (LiveState::Unknown, false);
    };
    let pace = register.pace(&device);
    drop(register);
    let seen = views.seen.read().expect(POISON).get(&device.id).copied();
    let is_stale = Views::stale(pace.limit(), seen, views.now());
    let state = match status(views, &device, pace, seen) {
        "abnormal" => LiveState::Abnormal,
        "normal" => LiveState::Normal,
        _ => LiveState::Unknown,
    };
    (state, is_stale)
}

/// The same of a device that a scope sees.
fn seen_state(views: &Views, scope: &Scope, id: &str) -> Option<(LiveState, bool)> {
    let is_seen = scope.is_whole() || views.register.read().expect(POISON).sees(scope, id);
    is_seen.then(|| live_state(views, id))
}

/// What is drawn for whom.
fn draw(
    views: &Views,
    city: &CityView,
    layer: Layer,
    at: [u32; 3],
    (reach, states): (&Reach, &States),
) -> Result<Option<Tile>, TileError> {
    let state = |id: &str| live_state(views, id);
    let look = Look {
        reach,
        at: Some(views.now()),
        state: &state,
        standing: states,
        name: Some(onemap_store::register::name_on),
    };
    city.tile(layer, at, &look)
}

/// Tiles of some layers: those that are kept, the others drawn anew.
struct Drawing {
    city: Arc<CityView>,
    layers: Vec<Layer>,
    at: [u32; 3],
    scope: Scope,
    now: Timestamp,
}

impl Drawing {
    /// Whether a tile of a layer is the same for all callers.
    fn is_shared(&self, layer: Layer) -> bool {
        self.scope.is_whole() && layer != Layer::Live
    }

    fn find(&self, views: &Views, layer: Layer, states: &States) -> Option<Kept> {
        let version = self.city.tile_version(layer, self.at);
        let shared = self.is_shared(layer);
        shared
            .then(|| views.tiles.find(layer, self.at, (version, states), self.now))
            .flatten()
    }

    /// Whether all that is not kept is drawn sooner than another thread is woken.
    fn is_light(&self, views: &Views) -> bool {
        let light = |layer: &Layer| {
            // Who asks for states asks for those of many devices.
            !self.city.has_states(*layer)
                && (self.find(views, *layer, &States::default()).is_some()
                    || self.is_shared(*layer) && self.city.is_light_tile(*layer, self.at))
        };
        self.layers.iter().all(light)
    }

    fn all(&self, views: &Views) -> Result<Vec<Kept>, TileError> {
        let reach = self.scope.reach();
        let one = |layer: &Layer| {
            let states = self
                .city
                .states(*layer, self.at, &|id| seen_state(views, &self.scope, id))?;
            if let Some(kept) = self.find(views, *layer, &states) {
                return Ok(kept);
            }
            let city = match layer {
                Layer::Live => &self.city.moved(),
                _ => &self.city,
            };
            let tile = draw(views, city, *layer, self.at, (&reach, &states))?;
            let kept = Kept {
                version: self.city.tile_version(*layer, self.at),
                states: Arc::new(states),
                made_at: self.now,
                tile: tile.map(|tile| (Bytes::from(tile.bytes), tile.etag, tile.n_dropped, tile.n_hidden)),
            };
            if self.is_shared(*layer) {
                views.tiles.keep(*layer, self.at, kept.clone());
            }
            Ok(kept)
        };
        self.layers.iter().map(one).collect()
    }
}

/// The layers of a tile in one: a vector tile is its layers, one behind the other. `None` when all are empty.
fn joined(layers: Vec<Kept>) -> Option<(Bytes, String, usize, usize)> {
    let mut tiles = layers.into_iter().filter_map(|kept| kept.tile);
    let (first, mut etag, mut n_dropped, mut n_hidden) = tiles.next()?;
    let mut all: Vec<Bytes> = vec![first];
    for (bytes, other, dropped, hidden) in tiles {
        all.push(bytes);
        etag.pop();
        etag.push('-');
        etag.push_str(other.trim_start_matches('"'));
        n_dropped += dropped;
        n_hidden += hidden;
    }
    let bytes = match &all[..] {
        [only] => only.clone(),
        _ => all.concat().into(),
    };
    Some((bytes, etag, n_dropped, n_hidden))
}

pub(crate) async fn tile(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path((layers, z, x, y)): Path<(String, u8, u32, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let layers = find_layers(&layers)?;
    if !scope.is_whole() && layers.contains(&Layer::Devices) {
        return Err(Problem::forbidden(
            "the device layer is for the whole city; use the layer `live` or /api/v1/devices",
        ));
    }
    let y = y
        .strip_suffix(".mvt")
        .and_then(|y| y.parse().ok())
        .ok_or_else(|| {
            Problem::bad_request("bad_tile", "a tile address is /tiles/{layer}/{z}/{x}/{y}.mvt")
        })?;
    let drawing = Drawing {
        city: city(&views),
        layers,
        at: [u32::from(z), x, y],
        scope: scope.clone(),
        now: views.now(),
    };
    let made = match drawing.is_light(&views) {
        true => drawing.all(&views),
        false => {
            let views = views.clone();
            let made = tokio::task::spawn_blocking(move || drawing.all(&views));
            made.await.map_err(|error| Problem::internal(&error))?
        }
    };
    let made = made.map_err(|error| match error {
        TileError::Zoom { .. } | TileError::Outside { .. } => {
            Problem::bad_request("bad_tile", error.to_string())
        }
        error => Problem::internal(&error),
    })?;
    let Some((bytes, etag, n_dropped, n_hidden)) = joined(made) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let cache = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|v| v.as_bytes() == etag.as_bytes())
    {
        return Ok((StatusCode::NOT_MODIFIED, cache).into_response());
    }
    let said = [
        (
            header::CONTENT_TYPE,
            "application/vnd.mapbox-vector-tile".to_owned(),
        ),
        (HeaderName::from_static("onemap-dropped"), n_dropped.to_string()),
        (HeaderName::from_static("onemap-gathered"), n_hidden.to_string()),
    ];
    Ok((said, cache, bytes).into_response())
}

/// Layers by their names with commas between, each once.
fn find_layers(names: &str) -> Result<Vec<Layer>, Problem> {
    let mut layers = Vec::new();
    for name in names.split(',') {
        let layer = find_layer(name)?;
        if layers.contains(&layer) {
            let detail = format!("the layer {layer} stands there twice");
            return Err(Problem::bad_request("bad_layers", detail));
        }
        layers.push(layer);
    }
    Ok(layers)
}

fn find_layer(name: &str) -> Result<Layer, Problem> {
    name.parse()
        .map_err(|_| Problem::not_found("unknown_layer", format!("no map layer is called `{name}`")))
}

pub(crate) async fn tilejson(
    State(views): State<Arc<Views>>,
    Caller(scope): Caller,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let layers = find_layers(file.strip_suffix(".json").unwrap_or(&file))?;
    let host = headers
        .get(header::HOST)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("localhost");
    let base = format!("http://{host}");
    let city = city(&views);
    let made = tokio::task::spawn_blocking(move || city.tilejson(&layers, &base, &scope.reach()));
    Ok(Json(made.await.map_err(|error| Problem::internal(&error))?))
}
