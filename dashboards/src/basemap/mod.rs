//! Base maps by configuration: pictures of others under the map, fetched by the server so that no browser asks another
//! host and no key leaves this one.
//!
//! None is there unless it is configured; the screen's own layers are always.

mod address;
mod fetch;
pub mod pmtiles;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub use address::{Address, AddressError, Key, Wmts};
pub use fetch::Upstream;
use pmtiles::{PmTiles, TileType};

use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Where a base map's tiles come from.
#[derive(Debug)]
pub enum Source {
    /// Other servers, one for each layer, the lowest first.
    Servers(Vec<Upstream>),
    /// A file.
    File(Box<PmTiles>),
}

/// One base map, as it was configured and checked.
#[derive(Debug)]
pub struct BaseMap {
    /// Its name, unique, Chinese first.
    pub name: String,
    /// Its English name; the other when empty.
    pub name_en: String,
    /// Where its tiles come from.
    pub source: Source,
    /// Smallest and largest zoom that it has.
    pub zooms: [u8; 2],
    /// What its licence wants to be shown.
    pub attribution: String,
}

/// All of them, in the order of the configuration.
#[derive(Debug, Default)]
pub struct BaseMaps(pub Vec<BaseMap>);

impl BaseMap {
    fn described(&self) -> Value {
        let (kind, layers) = match &self.source {
            Source::File(file) if file.tile_type == TileType::Vector => ("vector", json!(file.layers)),
            Source::File(_) => ("raster", json!([])),
            Source::Servers(_) => ("raster", json!([])),
        };
        let path = format!("/basemaps/{}", onemap_store::remote::encoded(&self.name));
        let tiles: Vec<String> = match &self.source {
            Source::File(_) => vec![format!("{path}/{{z}}/{{x}}/{{y}}")],
            Source::Servers(servers) => (0..servers.len())
                .map(|i| format!("{path}/{{z}}/{{x}}/{{y}}?layer={i}"))
                .collect(),
        };
        let name_en = match self.name_en.as_str() {
            "" => &self.name,
            name => name,
        };
        json!({
            "name": self.name, "name_en": name_en, "type": kind, "tiles": tiles, "vector_layers": layers,
            "min_zoom": self.zooms[0], "max_zoom": self.zooms[1], "attribution": self.attribution,
        })
    }
}

/// `/api/v1/basemaps`: what there is to choose from, for whoever may see the map. Addresses are this server's own.
pub(crate) async fn list(
    State(views): State<Arc<Views>>,
    _: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(Problem::bad_request("bad_parameter", "it takes no parameters"));
    }
    let items: Vec<Value> = views.basemaps.0.iter().map(BaseMap::described).collect();
    Ok(Json(json!({ "items": items })))
}

/// `/basemaps/{name}/{z}/{x}/{y}`: a tile as it is; 204 where there is none, 502 when another server fails.
pub(crate) async fn tile(
    State(views): State<Arc<Views>>,
    _: Caller,
    Path((name, z, x, y)): Path<(String, u8, u32, u32)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let layer = layer_of(query.as_deref())?;
    let map = views.basemaps.0.iter().find(|map| map.name == name);
    let unknown = || {
        Problem::not_found(
            "unknown_basemap",
            "no base map of this name and layer is configured",
        )
    };
    let map = map.ok_or_else(unknown)?;
    if z > 30 || x >> z != 0 || y >> z != 0 {
        return Err(Problem::bad_request(
            "bad_tile",
            format!("{z}/{x}/{y} is no tile"),
        ));
    }
    if !(map.zooms[0]..=map.zooms[1]).contains(&z) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (bytes, kind, is_gzip) = match &map.source {
        Source::Servers(servers) => {
            let server = servers.get(layer).ok_or_else(unknown)?;
            match server.tile(z, x, y).await {
                Ok(Some((bytes, kind))) => (bytes, kind, false),
                Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
                Err(error) => {
                    return Err(Problem::bad_gateway(format!("base map `{name}`: {error}")));
                }
            }
        }
        Source::File(_) if layer > 0 => return Err(unknown()),
        Source::File(_) => {
            let reader = views.clone();
            let read = tokio::task::spawn_blocking(move || {
                let map = reader.basemaps.0.iter().find(|map| map.name == name);
                match map.map(|map| &map.source) {
                    Some(Source::File(file)) => file
                        .tile(z, x, y)
                        .map(|tile| tile.map(|bytes| (bytes, file.tile_type, file.is_gzip))),
                    _ => Ok(None),
                }
            });
            let read = read.await.map_err(|error| Problem::internal(&error))?;
            match read.map_err(|error| Problem::internal(&error))? {
                None => return Ok(StatusCode::NO_CONTENT.into_response()),
                Some((bytes, TileType::Picture(kind), is_gzip)) => {
                    (bytes.into(), HeaderValue::from_static(kind), is_gzip)
                }
                Some((bytes, TileType::Vector, is_gzip)) => {
                    let kind = HeaderValue::from_static("application/vnd.mapbox-vector-tile");
                    (bytes.into(), kind, is_gzip)
                }
            }
        }
    };
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let takes_gzip = accepts.is_some_and(|accepts| accepts.contains("gzip"));
    let (bytes, is_gzip) = match (is_gzip, takes_gzip) {
        (true, false) => (fetch::unpacked(&bytes)?, false),
        (is_gzip, _) => (bytes, is_gzip),
    };
    let mut response = Response::new(Body::from(bytes));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, kind);
    // Others may not keep it for those who are not logged in.
    out.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=86400"),
    );
    if is_gzip {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn layer_of(query: Option<&str>) -> Result<usize, Problem> {
    let bad = || {
        Problem::bad_request(
            "bad_parameter",
            "layer= is the number of a layer, from 0; nothing else is asked",
        )
    };
    match query.unwrap_or_default() {
        "" => Ok(0),
        text => text
            .strip_prefix("layer=")
            .and_then(|n| n.parse().ok())
            .ok_or_else(bad),
    }
}
