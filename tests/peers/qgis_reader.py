"""Opens what onemap offers in QGIS (PyQGIS, offscreen) as a person would: a layer of /ogc, register.gpkg, a FlatGeobuf.

Arguments: address of the server, token, register.gpkg, FlatGeobuf, folder for the picture. The last line is JSON.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsAuthMethodConfig,
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

base, token, register, fgb, shots = sys.argv[1:]
app = QgsApplication([], False)
app.initQgis()
said = {"qgis": Qgis.QGIS_VERSION}
# Around the component m7 alone.
box = QgsRectangle(101.7379, 36.5099, 101.7381, 36.5101)


def named(layer, wanted):
    """The attribute table's name of a feature, by its code."""
    for feature in layer.getFeatures():
        if feature["code"] == wanted:
            return feature["name"]


def count(layer, request=None):
    return sum(1 for _ in (layer.getFeatures(request) if request else layer.getFeatures()))


# A person types the token as the password of basic authentication.
manager = QgsApplication.authManager()
manager.setMasterPassword("offscreen", True)
login = QgsAuthMethodConfig("Basic")
login.setName("onemap")
login.setConfigMap({"username": "token", "password": token})
manager.storeAuthenticationConfig(login)
collections = urllib.request.Request(f"{base}/ogc/collections", headers={"authorization": f"Bearer {token}"})
ids = [one["id"] for one in json.load(urllib.request.urlopen(collections))["collections"]]
name = next(one for one in ids if one.startswith("component"))
address = f"pageSize='100' typename='{name}' url='{base}/ogc' authcfg='{login.id()}' restrictToRequestBBOX='1'"
ogc = QgsVectorLayer(address, "ogc", "OAPIF")
assert ogc.isValid(), (address, ogc.error().message(), ids)
said["ogc"] = {
    "n": count(ogc),
    "name": named(ogc, "m7"),
    "within": count(ogc, QgsFeatureRequest().setFilterRect(box)),
    "extent": [round(v, 3) for v in (ogc.extent().xMinimum(), ogc.extent().yMinimum())],
    "fields": [field.name() for field in ogc.fields()],
}
tables = {name: QgsVectorLayer(f"{register}|layername={name}", name, "ogr") for name in ("components", "divisions")}
assert all(layer.isValid() for layer in tables.values())
said["register"] = {name: count(layer) for name, layer in tables.items()}
indexed = Qgis.QGIS_VERSION_INT and all(layer.hasSpatialIndex() == 2 for layer in tables.values())
said["register"]["indexed"] = bool(indexed)
said["register"]["name"] = named(tables["components"], "m7")
file = QgsVectorLayer(fgb, "file", "ogr")
assert file.isValid()
points = QgsVectorLayer(f"{fgb}|geometrytype=Point", "points", "ogr")
said["file"] = {
    "n": count(file),
    "within": count(points, QgsFeatureRequest().setFilterRect(box)),
    "fields": [field.name() for field in file.fields()],
}
settings = QgsMapSettings()
settings.setLayers([points, tables["components"], tables["divisions"]])
settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
settings.setExtent(QgsRectangle(101.69, 36.49, 101.91, 36.61))
settings.setOutputSize(QSize(1000, 600))
settings.setBackgroundColor(QColor("white"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(str(Path(shots) / "qgis.png"))
print(json.dumps(said, ensure_ascii=False), flush=True)
# PyQGIS of this age falls over its own threads when it takes itself down.
os._exit(0)
