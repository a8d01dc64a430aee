"""Opens what onemap offers in QGIS (PyQGIS, offscreen) as a person would.

/ogc as layers of QGIS' own OGC API - Features provider, in pages of several sizes; register.gpkg and exported files by
its OGR provider; vector tiles in a vector tile layer, whose features QGIS' own decoder gives to the identify tool; and
all of it drawn into a picture. The token goes as the password of basic authentication, and as a header.

    qgis_reader.py ADDRESS TOKEN REGISTER.GPKG FILE.FGB FOLDER [options]

The folder gets qgis.png and read.json (of each layer read: code -> name and, for points, where QGIS has it in WGS 84).
The last line is JSON.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsAuthMethodConfig,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsGeometry,
    QgsLineSymbol,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMarkerSymbol,
    QgsNetworkAccessManager,
    QgsPalLayerSettings,
    QgsProject,
    QgsRectangle,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
    QgsVectorTileBasicRenderer,
    QgsVectorTileBasicRendererStyle,
    QgsVectorTileLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsMapToolIdentify
from qgis.PyQt.QtCore import QSize, QT_VERSION_STR
from qgis.PyQt.QtGui import QColor

WGS84 = QgsCoordinateReferenceSystem("EPSG:4326")
MERCATOR = QgsCoordinateReferenceSystem("EPSG:3857")


def box_of(text):
    return QgsRectangle(*(float(part) for part in text.split(",")))


parser = argparse.ArgumentParser()
for word in ("base", "token", "register", "fgb", "shots"):
    parser.add_argument(word)
# What is asked of one feature: by default the component m7 alone.
parser.add_argument("--collection", default="components")
parser.add_argument("--code", default="m7")
parser.add_argument("--box", type=box_of, default=box_of("101.7379,36.5099,101.7381,36.5101"))
# Further collections and page sizes, `places:1,7,1000`.
parser.add_argument("--read", action="append", default=[])
parser.add_argument("--file", action="append", default=[], help="a GeoPackage that was exported")
parser.add_argument("--tiles", action="append", default=[], help="a layer of vector tiles and a box, `places@W,S,E,N`")
parser.add_argument("--tile-zoom", type=int, default=14)
parser.add_argument("--picture-box", type=box_of, default=box_of("101.69,36.49,101.91,36.61"))
args = parser.parse_args()

app = QgsApplication([], True)
app.initQgis()
said = {"qgis": Qgis.QGIS_VERSION, "qt": QT_VERSION_STR, "gdal": gdal.__version__, "python": platform.python_version()}
read = {}
# Every address that QGIS asks of the server, in whatever thread.
asked = []
QgsNetworkAccessManager.setRequestPreprocessor(lambda request: asked.append(request.url()))


def count(layer, request=None):
    return sum(1 for _ in (layer.getFeatures(request) if request else layer.getFeatures()))


def looked_at(layer, key):
    """Every feature of a layer: how many, how many codes, which geometries are not valid by GEOS, where points lie."""
    to_wgs84 = QgsCoordinateTransform(layer.crs(), WGS84, QgsProject.instance())
    names, places, invalid, n, placed = {}, {}, [], 0, 0
    for feature in layer.getFeatures():
        n += 1
        code, geometry = feature["code"], feature.geometry()
        names[code] = feature["name"] or ""
        if geometry.isNull():
            continue
        placed += 1
        if geometry.isEmpty() or not geometry.isGeosValid():
            invalid.append(code)
        if geometry.type() == QgsWkbTypes.PointGeometry and geometry.constGet().partCount() == 1:
            geometry.transform(to_wgs84)
            point = geometry.vertexAt(0)
            places[code] = [point.x(), point.y()]
    read[key] = {"names": names, "places": places}
    return {"n": n, "codes": len(names), "placed": placed, "invalid": invalid, "crs": layer.crs().authid(),
            "geometry": QgsWkbTypes.displayString(layer.wkbType())}


def named(layer, wanted):
    """The attribute table's name of a feature, by its code."""
    for feature in layer.getFeatures():
        if feature["code"] == wanted:
            return feature["name"]


# A person types the token as the password of basic authentication.
manager = QgsApplication.authManager()
manager.setMasterPassword("offscreen", True)


def login(password):
    config = QgsAuthMethodConfig("Basic")
    config.setName("onemap")
    config.setConfigMap({"username": "token", "password": password})
    manager.storeAuthenticationConfig(config)
    return config.id()


def ogc(name, page_size, authcfg):
    auth = f" authcfg='{authcfg}'" if authcfg else ""
    address = f"pageSize='{page_size}' typename='{name}' url='{args.base}/ogc'{auth} restrictToRequestBBOX='1'"
    return QgsVectorLayer(address, name, "OAPIF")


basic = login(args.token)
collections = urllib.request.Request(f"{args.base}/ogc/collections", headers={"authorization": f"Bearer {args.token}"})
ids = [one["id"] for one in json.load(urllib.request.urlopen(collections))["collections"]]
layer = ogc(args.collection, 100, basic)
assert layer.isValid(), (layer.source(), layer.error().message(), ids)
said["ogc"] = {
    "n": count(layer),
    "name": named(layer, args.code),
    "within": count(layer, QgsFeatureRequest().setFilterRect(args.box)),
    "extent": [round(v, 3) for v in (layer.extent().xMinimum(), layer.extent().yMinimum())],
    "fields": [field.name() for field in layer.fields()],
}
# A script or plug-in may set the header itself (QGIS knows no such login before 3.24).
header = QgsNetworkAccessManager.setRequestPreprocessor(
    lambda request: request.setRawHeader(b"Authorization", f"Bearer {args.token}".encode())
    if request.url().toString().startswith(args.base) else None)
layer = ogc(args.collection, 1000, None)
said["auth"] = {"header": count(layer) if layer.isValid() else None}
QgsNetworkAccessManager.removeRequestPreprocessor(header)
# Without the token, and with a wrong one, there is no layer.
said["auth"]["none"] = ogc(args.collection, 1000, None).isValid()
said["auth"]["wrong"] = ogc(args.collection, 1000, login("x" * 43)).isValid()

said["pages"] = {}
drawn = {}
for what in args.read:
    name, sizes = what.split(":")
    for size in sizes.split(","):
        began = time.monotonic()
        layer = ogc(name, size, basic)
        assert layer.isValid(), (name, layer.error().message())
        asked.clear()
        about = looked_at(layer, f"ogc {name} {size}")
        pages = sum(url.path().endswith("/items") for url in asked)
        said["pages"][f"{name} by {size}"] = {**about, "pages": pages, "seconds": round(time.monotonic() - began, 2)}
        drawn[name] = layer


def tables_of(path):
    """The names of a file's layers that are of features of the register."""
    whole = QgsVectorLayer(path, "all", "ogr")
    names = [part.split("!!::!!")[1] for part in whole.dataProvider().subLayers()]
    return [name for name in names if name not in ("profiles", "unplaced")]


tables = {name: QgsVectorLayer(f"{args.register}|layername={name}", name, "ogr") for name in tables_of(args.register)}
assert all(layer.isValid() for layer in tables.values())
said["register"] = {name: count(layer) for name, layer in tables.items()}
two = (tables["components"], tables["divisions"])
said["register"]["indexed"] = all(layer.hasSpatialIndex() == 2 for layer in two)
if (name := named(tables["components"], args.code)) is not None:
    said["register"]["name"] = name
said["tables"] = {
    name: looked_at(layer, f"register {name}") | {"indexed": layer.hasSpatialIndex() == 2}
    for name, layer in tables.items() if name != "devices"
}
said["exported"] = {}
for path in args.file:
    for name in tables_of(path):
        layer = QgsVectorLayer(f"{path}|layername={name}", name, "ogr")
        assert layer.isValid(), (path, name)
        about = looked_at(layer, f"{Path(path).name} {name}")
        said["exported"][f"{Path(path).name} {name}"] = about | {"indexed": layer.hasSpatialIndex() == 2}
file = QgsVectorLayer(args.fgb, "file", "ogr")
assert file.isValid()
points = QgsVectorLayer(f"{args.fgb}|geometrytype=Point", "points", "ogr")
said["file"] = {
    "n": count(file),
    "within": count(points, QgsFeatureRequest().setFilterRect(args.box)),
    "fields": [field.name() for field in file.fields()],
} | {"read": looked_at(file, "flatgeobuf")}


def tile_layer(name):
    template = f"{args.base}/tiles/{name}/%7Bz%7D/%7Bx%7D/%7By%7D.mvt"
    layer = QgsVectorTileLayer(f"type=xyz&url={template}&zmin=0&zmax=16&authcfg={basic}", name)
    assert layer.isValid(), (name, layer.error().message())
    return layer


# The canvas is as large as the box is at the zoom, so that QGIS asks for tiles of this zoom.
to_mercator = QgsCoordinateTransform(WGS84, MERCATOR, QgsProject.instance())
said["tiles"] = {}
for what in args.tiles:
    name, box = what.split("@")
    layer = tile_layer(name)
    canvas = QgsMapCanvas()
    canvas.setDestinationCrs(MERCATOR)
    canvas.setLayers([layer])
    area = to_mercator.transformBoundingBox(box_of(box))
    metres_each = 2 * math.pi * 6378137 / 512 / 2**args.tile_zoom
    canvas.resize(max(300, int(area.width() / metres_each)), max(300, int(area.height() / metres_each)))
    canvas.show()
    app.processEvents()
    canvas.setExtent(area)
    canvas.freeze()
    tool = QgsMapToolIdentify(canvas)
    asked.clear()
    began = time.monotonic()
    found = tool.identify(QgsGeometry.fromRect(area), QgsMapToolIdentify.TopDownAll, [layer], QgsMapToolIdentify.VectorTileLayer)
    features, gathered, counts, invalid = {}, {}, Counter(), []
    for one in found:
        # QGIS 3.22 says MVT properties in the order of its fields.
        values = dict(zip((field.name() for field in one.mFields), one.mFeature.attributes()))
        counts[one.mLabel.split(" ")[0]] += 1
        code = values.get("code") or values.get("id") or values.get("name")
        features[code] = values.get("name") or ""
        gathered[code] = int(values.get("count") or 1)
        if not one.mFeature.geometry().isGeosValid():
            invalid.append(code)
    read[f"tiles {name}"] = {"names": features, "places": {}}
    said["tiles"][name] = {"decoded": sum(counts.values()), "codes": len(features), "counted": sum(gathered.values()), "invalid": invalid, "by_layer": counts,
                           "asked": len(asked), "zooms": sorted({int(url.path().split("/")[-3]) for url in asked}),
                           "seconds": round(time.monotonic() - began, 2)}

# The picture: each source in a colour of its own, so that what is drawn can be counted.
AREA, LINE, POINT, TILE = "#dfe8d8", "#2a6fdb", "#d0202e", "#8a2be2"


def symbol(layer, colour):
    if layer.geometryType() == QgsWkbTypes.PolygonGeometry:
        return QgsFillSymbol.createSimple({"color": colour, "outline_color": "#555555", "outline_width": "0.4"})
    if layer.geometryType() == QgsWkbTypes.LineGeometry:
        return QgsLineSymbol.createSimple({"color": colour, "width": "0.7"})
    return QgsMarkerSymbol.createSimple({"color": colour, "size": "2.2", "outline_style": "no"})


def dressed(layer, colour, labels=False):
    layer.renderer().setSymbol(symbol(layer, colour))
    if labels:
        settings = QgsPalLayerSettings()
        settings.fieldName = "name"
        text = QgsTextFormat()
        text.setSize(8)
        settings.setFormat(text)
        layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))
        layer.setLabelsEnabled(True)
    return layer


layers = []
if "places" in drawn:
    layers.append(dressed(drawn["places"], POINT, labels=True))
else:
    layers.append(dressed(points, POINT))
for name in (what.split("@")[0] for what in args.tiles):
    layer = tile_layer(name)
    styles = []
    for geometry, kind, drawn_by in (
        ("Point", QgsWkbTypes.PointGeometry, QgsMarkerSymbol.createSimple({"color": TILE, "size": "4", "outline_style": "no"})),
        ("Line", QgsWkbTypes.LineGeometry, QgsLineSymbol.createSimple({"color": TILE, "width": "0.6"})),
        ("Polygon", QgsWkbTypes.PolygonGeometry, QgsFillSymbol.createSimple({"style": "no", "outline_color": TILE, "outline_width": "0.6"})),
    ):
        style = QgsVectorTileBasicRendererStyle(f"{name} {geometry}", None, kind)
        style.setFilterExpression(f"geometry_type($geometry) = '{geometry}'")
        style.setSymbol(drawn_by)
        styles.append(style)
    renderer = QgsVectorTileBasicRenderer()
    renderer.setStyles(styles)
    layer.setRenderer(renderer)
    layers.append(layer)
layers += [dressed(layer, LINE) for name, layer in tables.items() if layer.geometryType() == QgsWkbTypes.LineGeometry and name == "lines"]
layers.append(dressed(drawn.get("divisions", tables["divisions"]), AREA, labels="divisions" in drawn))
settings = QgsMapSettings()
settings.setLayers(layers)
settings.setDestinationCrs(WGS84)
settings.setExtent(args.picture_box)
settings.setOutputSize(QSize(1000, 600))
settings.setBackgroundColor(QColor("white"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
image = job.renderedImage()
image.save(str(Path(args.shots) / "qgis.png"))
pixels = Counter(image.pixel(x, y) & 0xFFFFFF for x in range(image.width()) for y in range(image.height()))
said["picture"] = {
    "errors": [f"{error.layerID}: {error.message}" for error in job.errors()],
    "pixels": {what: pixels[int(colour[1:], 16)]
               for what, colour in (("areas", AREA), ("lines", LINE), ("points", POINT), ("tiles", TILE))},
}
(Path(args.shots) / "read.json").write_text(json.dumps(read, ensure_ascii=False))
print(json.dumps(said, ensure_ascii=False), flush=True)
# PyQGIS of this age falls over its own threads when it takes itself down.
os._exit(0)
