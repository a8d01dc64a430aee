//! `/ogc` and `/ogc/conformance` (OGC 17-069r4, 7.2 and 7.4).

use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::query::only_format;
use super::{Base, CONFORMS_TO, OPENAPI, answer};
use crate::auth::Caller;
use crate::error::Problem;

const JSON: &str = "application/json";

pub(super) async fn page(
    _: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    only_format(query.as_deref())?;
    let base = Base::of(&headers);
    let body = json!({
        "title": "城市运行管理一张图 One map",
        "description": "人、企、地、物、事、部件与设备:按编码、图层、范围和时间查询 Places, organisations, components, hazards and devices of the city",
        "links": [
            base.link("self", JSON, "", "This page"),
            base.link("service-desc", OPENAPI, "/api", "OpenAPI 3.0"),
            base.link("conformance", JSON, "/conformance", "Conformance classes"),
            base.link("data", JSON, "/collections", "Collections 图层"),
        ],
    });
    Ok(answer(JSON, &body))
}

pub(super) async fn conformance(_: Caller, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    only_format(query.as_deref())?;
    Ok(answer(JSON, &json!({"conformsTo": CONFORMS_TO})))
}
