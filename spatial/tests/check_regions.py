"""Asks shapely (GEOS) the same questions: one JSON object a line in, one JSON object out.

Coordinates are whole steps of 1e-7 degree, so GEOS works on the very numbers. Where the answers differ, the
two are asked how near an edge the matter is: within one step counts as agreed (its intersections are in
floating point). Geometries that GEOS finds invalid are left out of the polygon questions and counted.
"""

import json
import sys

from shapely.geometry import LineString, Point, Polygon

STEP = 1.0
result = {"answers": 0, "near_an_edge": 0, "invalid": 0, "wrong": [], "true": {}}


def near(name, polygon, other, line, second, point):
    """Whether moving by a step would change the answer."""
    if name == "covers_point":
        return polygon.boundary.distance(point) <= STEP
    if name == "meets_line":
        return polygon.distance(line) <= STEP and not polygon.buffer(-STEP).intersects(line)
    if name == "covers_line":
        return polygon.buffer(STEP).covers(line) and not polygon.buffer(-STEP).covers(line)
    if name == "meets":
        return polygon.distance(other) <= STEP and not polygon.buffer(-STEP).intersects(other.buffer(-STEP))
    if name == "covers":
        return polygon.buffer(STEP).covers(other) and not polygon.buffer(-STEP).covers(other)
    return line.distance(second) <= STEP


for text in sys.stdin:
    question = json.loads(text)
    own = question["answers"]
    polygon, other = (Polygon(rings[0], rings[1:]) for rings in (question["polygon"], question["other"]))
    line = LineString(question["line"]) if len(question["line"]) > 1 else Point(question["line"][0])
    second = LineString(question["second"]) if len(question["second"]) > 1 else Point(question["second"][0])
    point = Point(question["point"])
    theirs = {"lines_meet": line.intersects(second)}
    if polygon.is_valid:
        theirs["covers_point"] = polygon.covers(point)
        theirs["meets_line"] = polygon.intersects(line)
        theirs["covers_line"] = polygon.covers(line)
        if other.is_valid:
            theirs["meets"] = polygon.intersects(other)
            theirs["covers"] = polygon.covers(other)
    result["invalid"] += not (polygon.is_valid and other.is_valid)
    for name, answer in theirs.items():
        result["answers"] += 1
        result["true"][name] = result["true"].get(name, 0) + own[name]
        if own[name] != bool(answer):
            if near(name, polygon, other, line, second, point):
                result["near_an_edge"] += 1
            else:
                result["wrong"].append({"question": name, "own": own[name], **question})
result["wrong"] = result["wrong"][:3]
print(json.dumps(result))
