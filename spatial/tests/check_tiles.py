"""Reads tiles with mapbox-vector-tile and judges them with shapely (GEOS): prints one JSON line.

Argument: a folder of NAME.mvt files. Exit code 3 when the two packages are not installed.
"""

import json
import sys
from pathlib import Path

try:
    import mapbox_vector_tile
    from shapely.geometry import shape
except ImportError:
    sys.exit(3)

result = {"tiles": 0, "polygons": 0, "invalid": [], "features": 0, "largest": 0}
for path in sorted(Path(sys.argv[1]).glob("*.mvt")):
    data = path.read_bytes()
    result["tiles"] += 1
    result["largest"] = max(result["largest"], len(data))
    for name, layer in mapbox_vector_tile.decode(data, default_options={"y_coord_down": True}).items():
        assert layer["extent"] == 4096 and layer["version"] == 2
        for feature in layer["features"]:
            result["features"] += 1
            geometry = shape(feature["geometry"])
            if geometry.geom_type in ("Polygon", "MultiPolygon"):
                result["polygons"] += 1
            if not geometry.is_valid or geometry.is_empty:
                result["invalid"].append(f"{path.name} {feature['properties']}")
print(json.dumps(result, ensure_ascii=False))
