"""Says of codes and points what python-stdnum and pyproj make of them, a line for each line in.

In:  "uscc CODE", "ric NUMBER" or "to EPSG LON LAT".
Out: "1" or "0"; of numbers whose division or date alone is wrong "place"; easting and northing.
"""
import functools
import sys

from pyproj import Transformer
from stdnum.cn import ric, uscc
from stdnum.exceptions import InvalidComponent, ValidationError


@functools.cache
def to(code):
    source = "EPSG:4326" if code == "3857" else "EPSG:4490"
    return Transformer.from_crs(source, f"EPSG:{code}", always_xy=True)


for line in sys.stdin.buffer:
    kind, _, rest = line.decode().rstrip("\n").partition(" ")
    if kind == "to":
        code, lon, lat = rest.split()
        x, y = to(code).transform(float(lon), float(lat))
        print(f"{x!r} {y!r}")
        continue
    try:
        (uscc if kind == "uscc" else ric).validate(rest)
        print(1)
    except InvalidComponent:
        try:
            ric.get_birth_date(rest)
            print("place")
        except ValidationError:
            print(0)
    except (ValidationError, KeyError):
        print(0)
