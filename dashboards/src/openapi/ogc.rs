//! Operations of OGC API - Features; `/ogc/api` describes them collection by collection.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "get",
        "/ogc",
        "OGC API - Features: landing page.",
        &["f"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/ogc/",
        "OGC API - Features: landing page.",
        &["f"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/ogc/conformance",
        "OGC API - Features: conformance classes.",
        &["f"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/ogc/api",
        "OGC API - Features: its definition in OpenAPI 3.0, with the parameters of each collection.",
        &["f"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/ogc/collections",
        "One collection for each kind of thing; persons have none.",
        &["f"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/ogc/collections/{id}",
        "A collection with its extent and systems of coordinates.",
        &["f"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "get",
        "/ogc/collections/{id}/queryables",
        "JSON Schema of the properties that features can be asked by.",
        &["f"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "get",
        "/ogc/collections/{id}/items",
        "Features by pages, in the order of their codes; every queryable is a parameter, too.",
        &["limit", "bbox", "bbox-crs", "datetime", "crs", "after", "f"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "get",
        "/ogc/collections/{id}/items/{feature}",
        "One feature.",
        &["crs", "f"],
        &[200, 400, 403, 404],
    ),
];
