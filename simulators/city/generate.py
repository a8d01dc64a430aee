#!/usr/bin/env python3
"""Draws the demo city's divisions, rivers and roads around real places.

    python3 generate.py        (needs shapely 2; the same input gives the same bytes)

Reads places.geojson (GeoNames and OpenStreetMap rows) and the OpenStreetMap features already in
water.geojson and roads.geojson; writes divisions.geojson and renews the drawn features of the other
two. Division borders are NOT official: every spot goes to the district of the nearest town known to
belong to it, with a warp that makes borders look natural. Codes and names are real. Lines are drawn
by hand through places they really pass and then given small deterministic bends.
"""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path

from shapely import LineString, MultiPoint, Point, STRtree, delaunay_triangles
from shapely.ops import polygonize

HERE = Path(__file__).parent
SOURCE = "示意 generated, not official boundaries"
DRAWN = "示意 hand-drawn, not surveyed"
STRETCH = math.cos(math.radians(36.8))  # degrees of longitude are this much shorter than of latitude

CITY = ("630100", "西宁市", "Xining")
DISTRICTS = {
    "630102": ("城东区", "Chengdong District"),
    "630103": ("城中区", "Chengzhong District"),
    "630104": ("城西区", "Chengxi District"),
    "630105": ("城北区", "Chengbei District"),
    "630106": ("湟中区", "Huangzhong District"),
    "630121": ("大通回族土族自治县", "Datong Hui and Tu Autonomous County"),
    "630123": ("湟源县", "Huangyuan County"),
}
OUTSIDE = "outside"

# Which district a GeoNames place belongs to (public knowledge, by name of the town).
TOWNS = {
    "630103": [1783648],
    "630104": [1788852],
    "630105": [1811651],
    "630106": [1796072, 1912744, 8577918, 1811970, 8577922, 8577923, 1801734, 8577919, 8577921, 1792953],
    "630121": [8578249, 1798131, 8578246, 1787767, 1788440, 8578247, 8578248],
    "630123": [8577882, 8577883, 8577880, 1816827, 8577879, 1912745, 8577881, 8577916],
    OUTSIDE: [
        8577948, 1812630, 1792390, 8577952, 8457445, 8577949, 8577947, 1810276, 12382532, 8577951, 1808820,
        1796743, 8577950, 8577955, 6545397, 13512504, 1797755, 1912743, 1791576, 1813756, 8577953, 8577954,
    ],
}  # fmt: skip

# Spots without a GeoNames row, put by hand: built-up centres and empty mountain country.
HAND = {
    "630102": [(101.803, 36.607), (101.845, 36.593), (101.812, 36.578), (101.868, 36.585)],
    "630103": [(101.779, 36.617), (101.757, 36.585), (101.735, 36.555)],
    "630104": [(101.748, 36.627), (101.718, 36.633), (101.712, 36.606), (101.690, 36.625)],
    "630105": [(101.768, 36.652), (101.730, 36.662), (101.690, 36.672), (101.800, 36.655), (101.745, 36.742)],
    "630106": [(101.63, 36.55), (101.60, 36.44), (101.45, 36.46), (101.38, 36.76), (101.72, 36.42),
               (101.83, 36.49), (101.62, 36.62), (101.44, 36.36), (101.60, 36.32), (101.33, 36.87), (101.80, 36.38)],
    "630121": [(101.30, 37.20), (101.15, 37.28), (101.45, 37.20), (101.85, 37.10), (101.84, 36.97), (101.58, 36.92),
               (101.20, 37.08), (101.62, 37.20), (101.72, 37.12), (101.36, 37.02), (101.02, 37.33), (101.30, 37.36)],
    "630123": [(101.05, 36.60), (101.30, 36.56), (101.10, 36.43), (101.22, 36.79), (101.00, 36.68), (101.27, 36.48)],
    OUTSIDE: [(100.85, 37.08), (100.98, 37.02), (100.90, 36.50), (101.00, 36.33), (101.22, 36.30), (101.40, 36.22),
              (101.72, 36.24), (101.90, 36.56), (101.90, 36.70), (101.86, 36.62), (101.97, 37.06), (101.90, 37.25),
              (101.75, 37.30), (101.55, 37.40), (101.25, 37.55), (100.95, 37.48), (101.05, 36.90), (101.15, 36.95),
              (101.88, 36.52), (101.35, 37.48), (100.80, 37.30), (100.84, 36.62)],
}  # fmt: skip

# The frame within which divisions may lie (degrees), and the denser part around the built-up city.
FRAME = (100.87, 36.23, 101.91, 37.47)
URBAN = (101.62, 36.48, 101.93, 36.80)


def chance(*key):
    """A number in [0, 1) from integers: the same on every machine and every run."""
    h = 0xCBF29CE484222325
    for part in key:
        for byte in int(part).to_bytes(8, "little", signed=True):
            h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    h ^= h >> 32
    h = (h * 0xD6E8FEB86659FD93) & 0xFFFFFFFFFFFFFFFF
    return ((h ^ (h >> 32)) >> 11) / (1 << 53)


def smooth_noise(x, y, salt):
    """Value noise in [-1, 1] with cells of size 1."""
    ix, iy = math.floor(x), math.floor(y)
    fx, fy = x - ix, y - iy
    sx, sy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    c = [[chance(ix + i, iy + j, salt) for i in (0, 1)] for j in (0, 1)]
    top = c[0][0] + (c[0][1] - c[0][0]) * sx
    low = c[1][0] + (c[1][1] - c[1][0]) * sx
    return 2 * (top + (low - top) * sy) - 1


def warp(x, y, cell, reach):
    """Moves a point by up to `reach`, smoothly over distances of `cell`."""
    return (
        x + reach * smooth_noise(x / cell, y / cell, 1) + reach / 2 * smooth_noise(2 * x / cell, 2 * y / cell, 3),
        y + reach * smooth_noise(x / cell, y / cell, 2) + reach / 2 * smooth_noise(2 * x / cell, 2 * y / cell, 4),
    )


def read(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))["features"]


def write(name, features):
    rows = ",\n".join(json.dumps(f, ensure_ascii=False, separators=(",", ":")) for f in features)
    (HERE / name).write_text('{"type":"FeatureCollection","features":[\n' + rows + "\n]}\n", encoding="utf-8")


def feature(code, kind, name, name_en, source, attributes, geometry):
    properties = {"code": code, "kind": kind, "name": name, "name_en": name_en, "source": source, "attributes": attributes}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def anchors():
    """Points with known district, in stretched degrees."""
    where = {f["properties"]["code"]: f["geometry"]["coordinates"] for f in read("places.geojson")}
    out = [(where[f"gn-{i}"], label) for label, ids in TOWNS.items() for i in ids]
    out += [(xy, label) for label, spots in HAND.items() for xy in spots]
    return [((x * STRETCH, y), label) for (x, y), label in out]


def cells():
    """Jittered sites, dense in the city, and for each the district of the nearest anchor."""
    known = anchors()
    tree = STRtree([Point(xy) for xy, _ in known])
    sites, labels = [], []

    def fill(bounds, step, cell, reach, hole, salt):
        w, s, e, n = bounds
        for j in range(math.floor(s / step), math.ceil(n / step) + 1):
            for i in range(math.floor(w * STRETCH / step), math.ceil(e * STRETCH / step) + 1):
                x = (i + 0.15 + 0.7 * chance(i, j, salt)) * step
                y = (j + 0.15 + 0.7 * chance(i, j, salt + 1)) * step
                lon = x / STRETCH
                if hole and hole[0] <= lon <= hole[2] and hole[1] <= y <= hole[3]:
                    continue
                if not (w <= lon <= e and s <= y <= n):
                    continue
                label = known[tree.nearest(Point(warp(x, y, cell, reach)))][1]
                if not (FRAME[0] < lon < FRAME[2] and FRAME[1] < y < FRAME[3]):
                    label = OUTSIDE
                sites.append((x, y))
                labels.append(label)

    wide = (FRAME[0] - 0.15, FRAME[1] - 0.15, FRAME[2] + 0.15, FRAME[3] + 0.15)
    fill(wide, 0.028, 0.11, 0.022, URBAN, 10)
    fill(URBAN, 0.0075, 0.03, 0.006, None, 20)
    return sites, labels


def voronoi_edges(sites):
    """{(site, site): (point, point)} for every pair of neighbouring cells, by Delaunay triangles.

    Every Voronoi point is computed once, so lines that meet there have the same coordinates.
    """
    number = {xy: i for i, xy in enumerate(sites)}
    seen = defaultdict(list)
    for triangle in delaunay_triangles(MultiPoint(sites)).geoms:
        (ax, ay), (bx, by), (cx, cy) = corners = list(triangle.exterior.coords)[:3]
        bx, by, cx, cy = bx - ax, by - ay, cx - ax, cy - ay
        d = 2 * (bx * cy - by * cx)
        b2, c2 = bx * bx + by * by, cx * cx + cy * cy
        centre = (ax + (cy * b2 - by * c2) / d, ay + (bx * c2 - cx * b2) / d)
        i, j, k = sorted(number[c] for c in corners)
        for pair in ((i, j), (i, k), (j, k)):
            seen[pair].append(centre)
    return {pair: tuple(sorted(ends)) for pair, ends in seen.items() if len(ends) == 2}


def without_exclaves(labels, edges):
    """Gives every connected piece but the largest of each district to the neighbour it borders most."""
    near = defaultdict(set)
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    while True:
        piece, pieces = {}, []
        for start in range(len(labels)):
            if start in piece:
                continue
            piece[start], members, todo = len(pieces), [start], [start]
            while todo:
                for other in near[todo.pop()]:
                    if other not in piece and labels[other] == labels[start]:
                        piece[other] = len(pieces)
                        members.append(other)
                        todo.append(other)
            pieces.append(members)
        largest = {}
        for members in pieces:
            label = labels[members[0]]
            if len(members) > len(largest.get(label, [])):
                largest[label] = members
        stray = [m for m in pieces if m is not largest[labels[m[0]]]]
        if not stray:
            return labels
        for members in stray:
            around = Counter(labels[o] for m in members for o in near[m] if labels[o] != labels[m])
            new = min(around, key=lambda label: (-around[label], label))
            for m in members:
                labels[m] = new


def bend(a, b, p, q, depth, salt):
    """A ragged line from a to b that stays inside the quadrilateral a-p-b-q.

    Each level meets near the middle of the quadrilateral's four sides, so lines of different
    Voronoi edges never touch.
    """
    if depth == 0:
        return [b]
    t = 0.2 + 0.6 * chance(round(a[0] * 1e7), round(a[1] * 1e7), round(b[0] * 1e7), round(b[1] * 1e7), salt)
    mid = lambda u, v, s=0.5: (u[0] + (v[0] - u[0]) * s, u[1] + (v[1] - u[1]) * s)
    m = mid(p, q, t)
    return bend(a, m, mid(a, p), mid(a, q), depth - 1, salt) + bend(m, b, mid(p, b), mid(q, b), depth - 1, salt)


def rhombus(a, b, site, other):
    """The two other corners of a rhombus over the Voronoi edge a-b that lies inside both cells.

    The cells are convex, so the triangle of the edge and its site lies in the cell; the corner stands
    over the edge's middle as high as that triangle allows, at most 0.45 edge lengths.
    """
    length = math.dist(a, b)
    along = ((b[0] - a[0]) / length, (b[1] - a[1]) / length)
    between = ((site[0] + other[0]) / 2 - a[0], (site[1] + other[1]) / 2 - a[1])
    foot = between[0] * along[0] + between[1] * along[1]
    height = math.dist(site, other) / 2 * (length / 2) / max(foot, length - foot)
    height = min(height, 0.45 * length)
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    return tuple((middle[0] - s * along[1] * height, middle[1] + s * along[0] * height) for s in (1, -1))


def bordering(edges, sites, labels, group):
    """Ragged border lines between cells of different groups, in degrees, each drawn once."""
    lines = []
    for (i, j), (a, b) in sorted(edges.items()):
        if group(labels[i]) == group(labels[j]):
            continue
        length = math.dist(a, b)
        if length < 1e-7:
            continue  # both ends are the same point after rounding
        depth = max(1, min(4, round(math.log2(length / 0.0012)) if length > 0.0012 else 1))
        p, q = rhombus(a, b, sites[i], sites[j])
        line = [a, *bend(a, b, p, q, depth, 7)]
        line = [(round(x / STRETCH, 5), round(y, 5)) for x, y in line]
        line = [p for k, p in enumerate(line) if k == 0 or p != line[k - 1]]
        if len(line) > 1:
            lines.append(((group(labels[i]), group(labels[j])), line))
    return lines


def area_of(lines, name):
    """The polygon whose border the lines of this name are."""
    own = [LineString(line) for names, line in lines if name in names]
    # Polygons with holes come out whole; the holes' own faces are smaller.
    return max(polygonize(own), key=lambda face: face.area)


def geojson_polygon(polygon):
    rings = [list(polygon.exterior.coords)] + [list(r.coords) for r in polygon.interiors]
    oriented = []
    for k, ring in enumerate(rings):
        ccw = sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in zip(ring, ring[1:])) < 0
        oriented.append([list(p) for p in (ring if ccw == (k == 0) else ring[::-1])])
    return {"type": "Polygon", "coordinates": oriented}


def divisions():
    sites, labels = cells()
    edges = voronoi_edges(sites)
    labels = without_exclaves(labels, edges)
    attributes = {"source": SOURCE, "licence": "onemap demo; place positions GeoNames CC BY 4.0"}
    features = []
    city_lines = bordering(edges, sites, labels, lambda label: CITY[0] if label != OUTSIDE else OUTSIDE)
    city = area_of(city_lines, CITY[0])
    features.append(feature(*CITY[:1], "division", *CITY[1:], SOURCE, {"class": "city", "rank": 1, **attributes}, geojson_polygon(city)))
    lines = bordering(edges, sites, labels, lambda label: label)
    total = 0.0
    for code, (name, name_en) in DISTRICTS.items():
        area = area_of(lines, code)
        assert area.is_valid, code
        total += area.area
        features.append(feature(code, "division", name, name_en, SOURCE, {"class": "district", "rank": 2, **attributes}, geojson_polygon(area)))
    # No gap, no overlap: the districts' areas add up to the city's.
    assert city.is_valid and abs(total - city.area) < 1e-9, (total, city.area)
    return features


def meander(points, reach, salt):
    """Adds small bends between hand-set points; `reach` is the part of a leg's length."""
    out = [points[0]]

    def leg(a, b, depth):
        if depth == 0 or math.dist(a, b) < 0.002:
            out.append(b)
            return
        k = chance(round(a[0] * 1e6), round(a[1] * 1e6), round(b[0] * 1e6), salt) * 2 - 1
        m = ((a[0] + b[0]) / 2 - (b[1] - a[1]) * k * reach, (a[1] + b[1]) / 2 + (b[0] - a[0]) * k * reach)
        leg(a, m, depth - 1)
        leg(m, b, depth - 1)

    for a, b in zip(points, points[1:]):
        leg(a, b, 4)
    return {"type": "LineString", "coordinates": [[round(x, 5), round(y, 5)] for x, y in out]}


RIVERS = [
    ("demo-huangshui", "湟水河", "Huangshui River", 1, [
        (100.96, 36.885), (101.05, 36.80), (101.14, 36.735), (101.21, 36.695), (101.26, 36.682), (101.33, 36.672),
        (101.40, 36.655), (101.46, 36.648), (101.53, 36.652), (101.60, 36.647), (101.66, 36.641), (101.71, 36.637),
        (101.745, 36.634), (101.775, 36.632), (101.800, 36.618), (101.835, 36.598), (101.873, 36.571),
        (101.93, 36.552), (101.967, 36.536), (102.04, 36.515), (102.11, 36.508)]),
    ("demo-beichuan", "北川河", "Beichuan River", 2, [
        (101.34, 37.17), (101.45, 37.10), (101.55, 37.03), (101.63, 36.985), (101.672, 36.93), (101.695, 36.88),
        (101.728, 36.83), (101.745, 36.77), (101.753, 36.71), (101.762, 36.665), (101.772, 36.632)]),
    ("demo-nanchuan", "南川河", "Nanchuan River", 2, [
        (101.61, 36.40), (101.635, 36.45), (101.672, 36.497), (101.705, 36.53), (101.733, 36.565), (101.752, 36.595),
        (101.763, 36.618), (101.766, 36.633)]),
    ("demo-xinachuan", "西纳川", "Xina River", 3, [
        (101.40, 36.87), (101.445, 36.81), (101.48, 36.765), (101.51, 36.71), (101.53, 36.652)]),
    ("demo-yaoshui", "药水河", "Yaoshui River", 3, [
        (101.13, 36.50), (101.19, 36.57), (101.235, 36.63), (101.262, 36.682)]),
    ("demo-heilin", "黑林河", "Heilin River", 3, [(101.42, 37.00), (101.52, 36.99), (101.63, 36.985)]),
    ("demo-dongxia", "东峡河", "Dongxia River", 3, [(101.83, 37.09), (101.785, 37.035), (101.73, 36.97), (101.685, 36.90)]),
    ("demo-shatang-gap-1", "沙塘川", "Shatang River", 2, [(101.9431521, 36.8330395), (101.941, 36.818), (101.9367995, 36.8043189)]),
    ("demo-shatang-gap-2", "沙塘川", "Shatang River", 2, [(101.893936, 36.727136), (101.884, 36.695), (101.8813485, 36.6612264)]),
]  # fmt: skip

ROADS = [
    ("demo-g6", "京藏高速", "G6 Beijing–Lhasa Expressway", "motorway", 1, [
        (102.0996, 36.5092), (102.03, 36.523), (101.9676, 36.5454), (101.90, 36.565), (101.86, 36.597), (101.825, 36.625),
        (101.79, 36.650), (101.7476, 36.6655), (101.70, 36.6605), (101.62, 36.658), (101.53, 36.664), (101.4425, 36.6582),
        (101.36, 36.675), (101.2962, 36.6828), (101.2735, 36.6618), (101.22, 36.60), (101.15, 36.535), (101.10, 36.46),
        (100.985, 36.3994)]),
    ("demo-g0611", "张汶高速（宁大段）", "G0611 Expressway", "motorway", 1, [
        (101.7476, 36.6655), (101.742, 36.72), (101.752, 36.78), (101.7676, 36.8273), (101.74, 36.88), (101.71, 36.94),
        (101.75, 37.01), (101.8186, 37.0614), (101.86, 37.14)]),
    ("demo-ningta", "西塔高速", "Xining–Ta'er Expressway", "motorway", 1, [
        (101.735, 36.575), (101.70, 36.545), (101.65, 36.525), (101.60, 36.51), (101.575, 36.502)]),
    ("demo-south-ring", "南绕城高速", "South Ring Expressway", "motorway", 1, [
        (101.90, 36.565), (101.85, 36.555), (101.79, 36.553), (101.735, 36.575), (101.68, 36.600), (101.62, 36.63), (101.60, 36.658)]),
    ("demo-kunlun", "昆仑大道", "Kunlun Avenue", "trunk", 2, [
        (101.698, 36.616), (101.725, 36.611), (101.750, 36.603), (101.775, 36.601), (101.800, 36.596), (101.826, 36.590)]),
    ("demo-chaidamu", "柴达木路", "Chaidamu Road", "trunk", 2, [
        (101.655, 36.660), (101.690, 36.654), (101.725, 36.648), (101.752, 36.643), (101.772, 36.638)]),
    ("demo-ningda", "宁大路", "Ningda Road", "trunk", 2, [
        (101.765, 36.642), (101.757, 36.68), (101.750, 36.72), (101.740, 36.77), (101.733, 36.82), (101.703, 36.87), (101.676, 36.925)]),
    ("demo-wusi", "五四大街", "Wusi Street", "primary", 3, [(101.728, 36.6285), (101.742, 36.6272), (101.757, 36.6255), (101.7635, 36.6245)]),
    ("demo-xiguan", "西关大街", "Xiguan Street", "primary", 3, [(101.7635, 36.6222), (101.770, 36.6212), (101.7765, 36.6202)]),
    ("demo-dongguan", "东关大街", "Dongguan Street", "primary", 3, [(101.7835, 36.6190), (101.792, 36.6168), (101.801, 36.6140)]),
    ("demo-qiyi", "七一路", "Qiyi Road", "primary", 3, [(101.7655, 36.6272), (101.776, 36.6258), (101.788, 36.6225), (101.801, 36.6175)]),
    ("demo-bayi", "八一路", "Bayi Road", "primary", 3, [(101.801, 36.6045), (101.825, 36.600), (101.850, 36.591), (101.872, 36.581)]),
    ("demo-tongren", "同仁路", "Tongren Road", "primary", 3, [(101.7605, 36.634), (101.7600, 36.625), (101.7585, 36.613), (101.757, 36.603)]),
    ("demo-changjiang", "长江路", "Changjiang Road", "primary", 3, [(101.771, 36.634), (101.7705, 36.624), (101.768, 36.612), (101.7665, 36.602)]),
    ("demo-jianguo", "建国路", "Jianguo Road", "primary", 3, [(101.797, 36.625), (101.7985, 36.614), (101.800, 36.603)]),
    ("demo-nanchuan-east", "南川东路", "Nanchuan East Road", "primary", 3, [
        (101.764, 36.600), (101.752, 36.58), (101.735, 36.556), (101.714, 36.530), (101.685, 36.502)]),
    ("demo-haihu", "海湖大道", "Haihu Avenue", "trunk", 2, [
        (101.716, 36.606), (101.7225, 36.622), (101.7330069, 36.6355118), (101.7385, 36.646), (101.7436, 36.665), (101.738, 36.700), (101.737, 36.735)]),
    ("demo-g109", "109国道", "National Road 109", "trunk", 2, [
        (101.655, 36.660), (101.60, 36.653), (101.53, 36.659), (101.456, 36.648), (101.40, 36.660), (101.33, 36.678), (101.265, 36.686),
        (101.235, 36.64), (101.20, 36.585), (101.15, 36.525), (101.105, 36.455), (101.00, 36.41)]),
    ("demo-x-duoba", "多巴大街", "Duoba Street", "secondary", 4, [(101.515, 36.661), (101.534, 36.658), (101.556, 36.654)]),
    ("demo-lushar", "鲁沙尔迎宾路", "Lushar Yingbin Road", "secondary", 4, [(101.600, 36.510), (101.580, 36.497), (101.563, 36.486)]),
    ("demo-qiaotou", "桥头人民路", "Qiaotou Renmin Road", "secondary", 4, [(101.660, 36.945), (101.674, 36.935), (101.690, 36.925)]),
]  # fmt: skip


def drawn(table):
    features = []
    for k, row in enumerate(table):
        code, name, name_en, *rest, points = row
        kind, klass, rank, reach = ("water", "river", rest[0], 0.16) if len(rest) == 1 else ("road", *rest, 0.05)
        attributes = {"class": klass, "rank": rank, "licence": "onemap demo"}
        features.append(feature(code, kind, name, name_en, DRAWN, attributes, meander(points, reach, 100 + k)))
    return features


def main():
    write("divisions.geojson", divisions())
    for name, table in (("water.geojson", RIVERS), ("roads.geojson", ROADS)):
        kept = [f for f in read(name) if f["properties"]["source"] != DRAWN]
        write(name, kept + drawn(table))


if __name__ == "__main__":
    main()
