//! OGC API - Features under `/ogc`: what GIS programs (QGIS, GDAL, ArcGIS) read the map by.
//!
//! OGC 17-069r4 (Part 1: Core, with GeoJSON and OpenAPI 3.0), OGC 18-058r1 (Part 2: CRS by reference) and the
//! queryables of OGC 19-079r2 (Part 3). Read only. One collection for each kind of thing; persons have none. Each caller
//! sees what its scope covers, and counts of that only.

mod axes;
mod collections;
mod definition;
mod feature;
mod items;
mod landing;
mod matched;
mod projected;
mod query;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::error::Problem;
use crate::views::Views;

/// What this server conforms to.
const CONFORMS_TO: [&str; 6] = [
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables-query-parameters",
];
const GEOJSON: &str = "application/geo+json";
const SCHEMA: &str = "application/schema+json";
const OPENAPI: &str = "application/vnd.oai.openapi+json;version=3.0";
const POISON: &str = "no holder of this lock panics";

pub(crate) use matched::Matched;

pub(crate) fn routes() -> Router<Arc<Views>> {
    Router::new()
        .route("/ogc", get(landing::page))
        .route("/ogc/", get(landing::page))
        .route("/ogc/conformance", get(landing::conformance))
        .route("/ogc/api", get(definition::show))
        .route("/ogc/collections", get(collections::list))
        .route("/ogc/collections/{id}", get(collections::show))
        .route("/ogc/collections/{id}/queryables", get(collections::queryables))
        .route("/ogc/collections/{id}/items", get(items::page))
        .route("/ogc/collections/{id}/items/{feature}", get(items::one))
}

/// Where this server is reached, as the caller wrote it: links are whole addresses.
struct Base(String);

impl Base {
    /// By the request's `Host`; `https` only when a proxy in front says so.
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST.as_str()).unwrap_or("localhost");
        let scheme = match text("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        Self(format!("{scheme}://{host}/ogc"))
    }

    fn link(&self, rel: &str, kind: &str, path: &str, title: &str) -> Value {
        json!({"rel": rel, "type": kind, "href": format!("{}{path}", self.0), "title": title})
    }
}

/// JSON with its own media type.
fn answer(kind: &'static str, body: &Value) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
}

/// The format asked for by `f=`: JSON is all there is.
fn check_format(format: Option<&str>) -> Result<(), Problem> {
    match format {
        None | Some("json" | "geojson" | "application/json" | "application/geo+json") => Ok(()),
        Some(other) => Err(Problem::bad_request(
            "bad_format",
            format!("f={}: the one format is json", short(other)),
        )),
    }
}

/// The start of what a caller wrote, for messages.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
