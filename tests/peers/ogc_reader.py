"""Reads places over OGC API - Features with OWSLib and says what it found, as one JSON line.

Argument: {"address": "http://…/ogc", "token": "…"}
"""
import json
import sys

from owslib.ogcapi.features import Features

task = json.loads(sys.argv[1])
features = Features(task["address"], headers={"Authorization": "Bearer " + task["token"]})
pages, after = [], {}
while True:
    page = features.collection_items("places", limit=7, **after)
    pages.append([feature["properties"]["name"] for feature in page["features"]])
    following = [link["href"] for link in page["links"] if link["rel"] == "next"]
    if not following:
        break
    after = {"after": following[0].split("after=")[1]}
box = features.collection_items("places", bbox=[101.04, 36.4, 101.16, 36.6])
print(json.dumps({
    "title": features.links[0]["rel"],
    "api": features.api()["openapi"],
    "core": any(uri.endswith("/conf/core") for uri in features.conformance()["conformsTo"]),
    "collections": features.feature_collections(),
    "queryables": sorted(features.collection_queryables("places")["properties"]),
    "pages": pages,
    "matched": page["numberMatched"],
    "box": [feature["id"] for feature in box["features"]],
    "one": features.collection_item("places", "P07")["properties"]["name"],
}, ensure_ascii=False))
