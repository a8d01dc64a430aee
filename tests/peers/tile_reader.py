"""Reads every tile of some layers over HTTP with mapbox-vector-tile and judges the polygons with shapely (GEOS).

Arguments: address of the server, token, zoom, west,south,east,north, a folder for the tiles, layers with commas.
Prints one JSON line: by layer the codes, names, polygons, invalid ones, tiles, and features by tile.
"""

import json
import math
import sys
import urllib.request
from pathlib import Path

import mapbox_vector_tile
from shapely.geometry import shape

base, token, zoom, bbox, folder, layers = sys.argv[1:]
zoom = int(zoom)
west, south, east, north = map(float, bbox.split(","))


def tile_of(lon, lat):
    n = 1 << zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return int((lon + 180) / 360 * n), int(y * n)


(left, top), (right, bottom) = tile_of(west, north), tile_of(east, south)
said = {}
for layer in layers.split(","):
    out = said[layer] = {"codes": set(), "names": set(), "polygons": 0, "invalid": [], "tiles": 0, "empty": 0, "files": {}}
    for x in range(left, right + 1):
        for y in range(top, bottom + 1):
            request = urllib.request.Request(f"{base}/tiles/{layer}/{zoom}/{x}/{y}.mvt")
            request.add_header("authorization", f"Bearer {token}")
            with urllib.request.urlopen(request) as answer:
                data = answer.read()
                if answer.status == 204:
                    assert data == b""
                    out["empty"] += 1
                    continue
                assert answer.headers["onemap-dropped"] == "0", "a layer that keeps all drops nothing"
            out["tiles"] += 1
            path = Path(folder) / f"{layer}-{x}-{y}.mvt"
            path.write_bytes(data)
            decoded = mapbox_vector_tile.decode(data, default_options={"y_coord_down": True})
            out["files"][path.name] = {name: len(part["features"]) for name, part in decoded.items()}
            for feature in decoded[layer]["features"]:
                properties = feature["properties"]
                out["codes"].add(properties.get("code") or properties.get("id") or properties["name"])
                out["names"].add(properties.get("name", ""))
                geometry = shape(feature["geometry"])
                if geometry.geom_type in ("Polygon", "MultiPolygon"):
                    out["polygons"] += 1
                if not geometry.is_valid or geometry.is_empty:
                    out["invalid"].append(f"{path.name} {properties}")
    out["codes"], out["names"] = sorted(out["codes"]), sorted(out["names"])
print(json.dumps(said, ensure_ascii=False))
