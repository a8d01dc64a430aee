#!/usr/bin/env python3
"""QGIS reads what onemap offers of real data: every thing, every name, every place, by every way there is.

A server of its own takes Xining's divisions, places, lines and hazards, and two foreign registers of components (hydrants,
road lamps). tests/peers/qgis_reader.py then opens it in QGIS as a person would: /ogc in pages of 1, 7 and 1000 with the
token as a password and as a header, register.gpkg while the server writes it, exported GeoPackages (in degrees and in a
Gauss-Krueger zone) and FlatGeobuf, vector tiles, and a picture of all that.

What is checked, against the files that were imported and not against the server: every code once, its name to the
character, points within a hundred-millionth of a degree (a millimetre), no geometry that GEOS calls
invalid, no layer without the token, tiles that hold what lies in their box, each source drawn in the picture.
Ends with 77 (skipped) where QGIS or ../shared/data is not there.

    tests/proof/qgis.py [--work proof-work/qgis]

The server is ONEMAP_BIN/onemap (default target/release); QGIS_PYTHON is Python with PyQGIS (default /usr/bin/python3).
"""
import argparse
import contextlib
import csv
import gzip
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

from outside import BIN, ROOT, Server, until

SKIPPED = 77
DATA = ROOT.parent / "shared" / "data"
PYTHON = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
# Nothing stands on the edges of these: tiles are on a grid of their own, 0.6 m at zoom 14.
CITY, LAMPS = (101.70, 36.58, 101.86, 36.68), (138.281, 34.80, 138.331, 34.851)
PICTURE = "100.8,36.2,102.4,37.5"
#: In degrees: a millimetre, a sixth of the grid that the map's questions are answered on.
AS_GIVEN = 1e-8


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def rows(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def features(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return json.load(file)["features"]


class Source:
    """What a file holds by kind: code -> name, and where its points lie."""

    def __init__(self):
        self.names, self.places = {}, {}

    def add(self, kind, code, name, lon=None, lat=None):
        self.names.setdefault(kind, {})[str(code)] = (name or "").strip()
        if lon is not None:
            self.places.setdefault(kind, {})[str(code)] = (float(lon), float(lat))

    def within(self, kind, box):
        west, south, east, north = box
        return {code for code, (lon, lat) in self.places[kind].items() if west <= lon <= east and south <= lat <= north}


def imported(onemap, source, work):
    """Brings the files in by the command line and says what each gave."""
    admin, places, components = DATA / "xining-admin", DATA / "xining-places", DATA / "city-components"
    # Both registers count from 1: the hydrants' numbers get a letter, as whoever brings two registers together would do.
    hydrants = features(components / "fortaleza_hydrants.geojson.gz")
    for one in hydrants:
        one["properties"]["number"] = f"H{one['properties']['hydrant_id']}"
        source.add("component", one["properties"]["number"], "", *one["geometry"]["coordinates"])
    (work / "hydrants.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": hydrants}))
    for one in features(admin / "districts_wgs84.geojson"):
        source.add("division", one["properties"]["adcode"], one["properties"]["name"])
    for file, code in (("townships.csv", "code12"), ("villages.csv", "code12")):
        for row in rows(admin / file):
            source.add("division", row[code], row["name"])
    for row in rows(places / "places.csv"):
        source.add("place", row["id"], row["name"], row["lon_wgs84"], row["lat_wgs84"])
    for one in features(places / "osm_lines.geojson"):
        source.add("water", one["properties"]["osm_id"], one["properties"]["name"])
    for row in rows(places / "railway_geohazards.csv"):
        source.add("hazard", row["id"], "", row["lon"], row["lat"])
    for row in rows(components / "shizuoka_road_lamps.csv.gz"):
        source.add("component", row["id"], row["location_text"], row["lon"], row["lat"])
    place = ["id=code", "kind=class", "lon_wgs84=lon", "lat_wgs84=lat", "district_code=division"]
    for file, kind, columns, crs in (
        (admin / "districts_wgs84.geojson", "division", ["adcode=code"], "WGS84"),
        (admin / "townships.csv", "division", ["code12=code", "code9=attribute"], None),
        (admin / "villages.csv", "division", ["code12=code"], None),
        (places / "places.csv", "place", place, "WGS84"),
        (places / "osm_lines.geojson", "water", ["osm_id=code"], "WGS84"),
        (places / "railway_geohazards.csv", "hazard", ["id=code"], "WGS84"),
        (work / "hydrants.geojson", "component", ["number=code", "code=attribute", "hydrant_id=attribute"], "WGS84"),
        (components / "shizuoka_road_lamps.csv.gz", "component", ["id=code", "location_text=name"], "WGS84"),
    ):
        options = [part for column in columns for part in ("--map", column)] + (["--crs", crs] if crs else [])
        done = onemap("import", "entities", file, "--kind", kind, *options)
        print(f"{file.name}: {done.splitlines()[-1]}")


def same(what, read, names, places=None):
    """The names that QGIS read are the source's, and its points lie where the source has them. Gives the largest distance."""
    assert read["names"].keys() == names.keys(), (what, sorted(read["names"].keys() ^ names.keys())[:9])
    other = {code: (name, names[code]) for code, name in read["names"].items() if name != names[code]}
    assert not other, (what, list(other.items())[:9])
    if places is None:
        return None
    assert read["places"].keys() == places.keys(), (what, len(read["places"]), len(places))
    far = max(max(abs(a - b) for a, b in zip(read["places"][code], places[code])) for code in places)
    assert far <= AS_GIVEN, (what, far)
    return far


def where(far):
    return "where the file has them" if far < 1e-12 else f"within {far:.0e} degrees"


def held(register):
    """How many components the file has, as somebody else reads it."""
    with contextlib.closing(sqlite3.connect(f"file:{register}?mode=ro", uri=True)) as file:
        return file.execute("select count(*) from components").fetchone()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "proof-work" / "qgis")
    work = parser.parse_args().work.resolve()
    if subprocess.run([PYTHON, "-c", "import qgis.core, qgis.gui"], capture_output=True).returncode:
        skip("QGIS is not here (Debian: python3-qgis, 1 GB)")
    if not DATA.exists():
        skip("the real data is not beside this clone (../shared/data)")
    shutil.rmtree(work, ignore_errors=True)
    folder, home = work / "data", work / "home"
    folder.mkdir(parents=True, mode=0o700)
    home.mkdir()
    (folder / "onemap.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
    log = (work / "server.log").open("w")
    server = Server(folder, log=log)

    def onemap(*words):
        done = subprocess.run([BIN / "onemap", "--data-dir", folder, *words], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-1500:])
        return done.stdout

    try:
        source = Source()
        imported(onemap, source, work)
        register, began = folder / "register.gpkg", time.monotonic()
        until("the register's file to have what came last", 60, lambda: held(register) == len(source.names["component"]))
        print(f"register.gpkg had what was imported {time.monotonic() - began:.1f} s after the import")
        degrees, metres, flatgeobuf = work / "degrees.gpkg", work / "metres.gpkg", work / "all.fgb"
        onemap("export", "entities", "--format", "gpkg", "--out", degrees)
        onemap("export", "entities", "--format", "gpkg", "--kind", "place", "--crs", "EPSG:4543", "--out", metres)
        onemap("export", "entities", "--format", "flatgeobuf", "--out", flatgeobuf)
        box = lambda edges: ",".join(str(edge) for edge in edges)
        done = subprocess.run(
            [PYTHON, ROOT / "tests/peers/qgis_reader.py", server.http, server.token, register, flatgeobuf, work,
             "--collection", "places", "--code", "XP0057", "--box", box(CITY), "--read", "places:1,7,1000",
             "--read", "divisions:7,1000", "--read", "components:1000", "--read", "hazards:1", "--read", "water:7",
             "--file", degrees, "--file", metres, "--tiles", f"places@{box(CITY)}", "--tiles", f"components@{box(LAMPS)}",
             "--tiles", f"divisions@{box(CITY)}", "--picture-box", PICTURE],
            capture_output=True, text=True, env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(home)})
        assert done.returncode == 0, done.stderr[-3000:]
        said = json.loads(done.stdout.splitlines()[-1])
        judge(source, said, json.loads((work / "read.json").read_text()))
    finally:
        server.stop()


def judge(source, said, read):
    print("QGIS {qgis}, Qt {qt}, GDAL {gdal}, Python {python}".format(**said))
    n_places = len(source.names["place"])
    near = len(source.within("place", CITY))
    assert said["ogc"]["n"] == n_places and said["ogc"]["name"] == "西宁市" and said["ogc"]["within"] == near, said["ogc"]
    assert said["auth"] == {"header": n_places, "none": False, "wrong": False}, said["auth"]
    print(f"/ogc places: the token as password and as header; without it and with a wrong one no layer; {near} in a box")

    kind_of = {"places": "place", "divisions": "division", "components": "component", "hazards": "hazard", "water": "water"}
    for what, about in said["pages"].items():
        name, size = what.split(" by ")
        kind = kind_of[name]
        names = source.names[kind]
        far = same(what, read[f"ogc {name} {size}"], names, source.places.get(kind))
        assert about["n"] == len(names) and not about["invalid"] and about["crs"] == "EPSG:4326", (what, about)
        assert about["pages"] == -(-len(names) // int(size)), (what, about)
        print(f"/ogc {name} in pages of {size}: {about['n']} in {about['pages']} pages, {about['seconds']} s; names as in the "
              f"file, 0 invalid" + (f", points {where(far)}" if far is not None else ""))

    tables, placed = said["tables"], {}
    for name, about in tables.items():
        assert not about["invalid"] and about["indexed"] and about["crs"] == "EPSG:4326", (name, about)
        assert about["placed"] == about["n"] == about["codes"], (name, about)
        placed.update(read[f"register {name}"]["names"])
    expected = {**source.names["place"], **source.names["component"], **source.names["hazard"], **source.names["water"],
                **{code: name for code, name in source.names["division"].items() if len(code) == 6}}
    assert placed == expected, sorted(placed.items() ^ expected.items())[:9]
    print(f"register.gpkg beside the running server: {len(placed)} things with a place in {len(tables)} layers, names as in the "
          f"files, EPSG:4326, spatial indexes, 0 invalid")

    for what, about in said["exported"].items():
        file, kind = what.split(" ")
        crs = "EPSG:4543" if file == "metres.gpkg" else "EPSG:4326"
        far = same(what, read[what], source.names[kind], source.places.get(kind))
        assert about["n"] == len(source.names[kind]) and not about["invalid"] and about["indexed"] and about["crs"] == crs, (what, about)
        print(f"exported {file}, {kind}: {about['n']}, {about['placed']} with a place, {crs}, 0 invalid"
              + (f", points {where(far)}" if far is not None else ""))
    assert "metres.gpkg place" in said["exported"]
    assert {what.split(" ")[1] for what in said["exported"] if what.startswith("degrees")} == set(source.names)

    everything = {code: name for names in source.names.values() for code, name in names.items()}
    assert len(everything) == sum(map(len, source.names.values())), "codes are shared between kinds: choose others"
    file = said["file"]["read"]
    points = {code: at for places in source.places.values() for code, at in places.items()}
    far = same("flatgeobuf", read["flatgeobuf"], everything, points)
    assert file["n"] == len(everything) and not file["invalid"] and file["crs"] == "EPSG:4326", file
    print(f"exported FlatGeobuf: {file['n']}, {file['placed']} with a place, names as in the files, 0 invalid, points {where(far)}")

    for name, box in (("places", CITY), ("components", LAMPS)):
        about, kind = said["tiles"][name], kind_of[name]
        inside = source.within(kind, box)
        codes = read[f"tiles {name}"]["names"]
        assert not about["invalid"] and about["zooms"] == [14], about
        assert codes.keys() <= inside and about["counted"] == len(inside), (name, about, len(inside))
        wrong = [code for code, text in codes.items() if text and text != source.names[kind][code]]
        assert not wrong and (name != "places" or codes.keys() == inside), (name, wrong)
        print(f"vector tiles {name}, zoom 14, {about['asked']} tiles: {about['codes']} points decoded by QGIS that stand for "
              f"{about['counted']}, as many as the file has in the box")
    about = said["tiles"]["divisions"]
    assert not about["invalid"] and about["codes"] == 5, about
    assert read["tiles divisions"]["names"].items() <= source.names["division"].items()
    print(f"vector tiles divisions: {about['decoded']} pieces of {about['codes']} districts, 0 invalid")

    picture = said["picture"]
    assert not picture["errors"] and all(n > 100 for n in picture["pixels"].values()), picture
    print("picture: " + ", ".join(f"{what} {n} pixels" for what, n in picture["pixels"].items()))


if __name__ == "__main__":
    main()
