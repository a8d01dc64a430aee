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
        "/tiles/{layer}/{z}/{x}/{y}",
        "A vector tile; y ends in .mvt; 204 when empty.",
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
        "TileJSON of a layer; file is {layer}.json.",
        &[],
        &[200, 404],
    ),
];
