//! `/ogc/api`: the definition of this API in OpenAPI 3.0, made from the collections (OGC 17-069r4, 7.3 and 9).

use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::axes::{Axes, CRS84};
use super::collections::{COLLECTIONS, Collection};
use super::query::{DEFAULT_LIMIT, MAX_LIMIT, only_format};
use super::{Base, GEOJSON, OPENAPI, SCHEMA, answer};
use crate::auth::Caller;
use crate::error::Problem;

pub(super) async fn show(
    _: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    only_format(query.as_deref())?;
    let Base(base) = Base::of(&headers);
    Ok(answer(OPENAPI, &document(&base)))
}

fn document(base: &str) -> Value {
    let mut paths = Map::new();
    let mut add = |path: &str, summary: &str, kind: &str, parameters: Vec<Value>| {
        let named: Vec<_> = path.match_indices('{').map(|(at, _)| &path[at + 1..]).collect();
        let named = named.into_iter().filter_map(|rest| rest.split_once('}')).map(
            |(name, _)| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
        );
        let all: Vec<Value> = named.chain(parameters).chain([format()]).collect();
        let operation = json!({
            "summary": summary,
            "operationId": path.replace(['/', '{', '}'], "_"),
            "parameters": all,
            "responses": {
                "200": {"description": summary, "content": {kind: {"schema": {"type": "object"}}}},
                "default": {"description": "What is wrong (RFC 9457)", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}}},
            },
        });
        paths.insert(path.to_owned(), json!({"get": operation}));
    };
    add("/", "Landing page", "application/json", Vec::new());
    add(
        "/conformance",
        "Conformance classes",
        "application/json",
        Vec::new(),
    );
    add("/api", "This definition", OPENAPI, Vec::new());
    add("/collections", "Collections", "application/json", Vec::new());
    for collection in &COLLECTIONS {
        let path = format!("/collections/{}", collection.id);
        add(&path, "The collection", "application/json", Vec::new());
        add(
            &format!("{path}/queryables"),
            "What its features can be asked by",
            SCHEMA,
            Vec::new(),
        );
        add(
            &format!("{path}/items"),
            "Features by pages",
            GEOJSON,
            of_items(collection),
        );
        add(
            &format!("{path}/items/{{featureId}}"),
            "One feature",
            GEOJSON,
            vec![axes("crs", "System of coordinates of the answer")],
        );
    }
    json!({
        "openapi": "3.0.3",
        "info": {"title": "onemap: OGC API - Features", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": base}],
        "paths": paths,
        "security": [{"bearer": []}, {"basic": []}],
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The token as password, with any user name"},
            },
            "schemas": {"problem": {"type": "object", "required": ["title", "status"], "properties": {
                "title": {"type": "string"}, "status": {"type": "integer"}, "code": {"type": "string"}, "detail": {"type": "string"},
            }}},
        },
    })
}

fn format() -> Value {
    json!({"name": "f", "in": "query", "required": false, "schema": {"type": "string", "enum": ["json", "geojson"]}})
}

fn axes(name: &str, description: &str) -> Value {
    let all: Vec<String> = Axes::all().map(Axes::uri).collect();
    json!({
        "name": name, "in": "query", "required": false, "description": description, "style": "form", "explode": false,
        "schema": {"type": "string", "format": "uri", "enum": all, "default": CRS84},
    })
}

/// The parameters of pages. `bbox` and `limit` read as the standard prints them.
fn of_items(collection: &Collection) -> Vec<Value> {
    let mut all = vec![
        json!({
            "name": "limit", "in": "query", "required": false, "style": "form", "explode": false,
            "description": "Most features of a page; who asks for more than the maximum gets as many as that",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        }),
        json!({
            "name": "bbox", "in": "query", "required": false, "style": "form", "explode": false,
            "description": "Features that meet this box: two corners of two numbers, or three with heights; west may be greater than east",
            "schema": {"type": "array", "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}], "items": {"type": "number"}},
        }),
        axes("bbox-crs", "System of coordinates of bbox"),
        json!({
            "name": "datetime", "in": "query", "required": false, "style": "form", "explode": false,
            "description": "Features valid at this time (RFC 3339), or at some time of an interval; `..` leaves one end open",
            "schema": {"type": "string"},
        }),
        axes("crs", "System of coordinates of the answer"),
        json!({
            "name": "after", "in": "query", "required": false,
            "description": "Features behind this code; links to next pages have it", "schema": {"type": "string"},
        }),
    ];
    all.extend(collection.properties().iter().map(|property| {
        json!({
            "name": property.name(), "in": "query", "required": false,
            "description": "Features whose property is this text", "schema": {"type": "string"},
        })
    }));
    all
}
