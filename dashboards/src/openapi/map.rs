//! Operations of the map.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "get",
        "/api/v1/within",
        "What lies in a region (bbox=, polygon=, or lon=, lat= and radius_m=; borders count), by kind and code, as GeoJSON.",
        &[
            "bbox", "polygon", "lon", "lat", "radius_m", "kind", "class", "division", "stratum", "z", "at",
            "crs", "limit", "after",
        ],
        &[200, 400, 403],
    ),
    Operation(
        "post",
        "/api/v1/within",
        "The same question with its parameters in a JSON object, for long polygons.",
        &[],
        &[200, 400, 403, 413],
    ),
    Operation(
        "get",
        "/api/v1/nearest",
        "The k things nearest to a point, nearest first, with distance_m; of equally near ones the smaller kind and code.",
        &[
            "lon", "lat", "k", "radius_m", "kind", "class", "division", "stratum", "z", "at", "crs",
        ],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/column",
        "What stands over, on and under a point, from the highest to the lowest, and the areas that cover it.",
        &[
            "lon", "lat", "radius_m", "kind", "class", "division", "stratum", "z", "at", "crs",
        ],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/section",
        "What a line (lon,lat;lon,lat) meets, and with width_m= what is near it, in order along the line with heights.",
        &[
            "line", "width_m", "kind", "class", "division", "stratum", "z", "at", "crs",
        ],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/fences",
        "Fences by code with the devices in them: since when, last seen, and unknown when one is silent for longer than it may be. With a strong ETag.",
        &["division", "bbox", "device", "limit", "after"],
        &[200, 304, 400, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/fences/{code}",
        "One fence with its geometry and the devices in it. With a strong ETag.",
        &[],
        &[200, 304, 403, 404],
    ),
    Operation(
        "put",
        "/api/v1/fences/{code}",
        "Set a fence: name, division, department, geometry (Polygon or MultiPolygon), valid_from, valid_to, device_kinds, dwell_s, hysteresis_m. The same act as an entity of kind fence.",
        &[],
        &[200, 400, 403, 422],
    ),
    Operation(
        "delete",
        "/api/v1/fences/{code}",
        "Take a fence off; its events stay.",
        &[],
        &[204, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/fences/events",
        "What moving devices did at fences (enter, exit, dwell), newest first.",
        &["fence", "device", "kind", "from", "to", "limit", "after"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/tiles/{layer}/{z}/{x}/{y}",
        "A vector tile; layer is one or several with commas between; y ends in .mvt; 204 when empty.",
        &[],
        &[200, 204, 304, 400, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/basemaps",
        "The base maps of the configuration: name, name_en, type raster or vector, addresses of tiles on this server, zooms, attribution.",
        &[],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/basemaps/{name}/{z}/{x}/{y}",
        "A tile of a base map, out of a file or fetched by this server; layer= of several; 204 where there is none, 502 when the other server fails.",
        &["layer"],
        &[200, 204, 400, 403, 404, 502],
    ),
    Operation(
        "get",
        "/tiles/{file}",
        "TileJSON of a layer, or of several in one tile; file is {layer}.json.",
        &[],
        &[200, 404],
    ),
];
