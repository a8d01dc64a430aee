"""The map beside PostGIS on the synthetic city, in one run: the tables of docs/benchmarks.md (`make bench-map`).

The first table is of the indexes, the second of the whole map and its tiles (`map_tiles.py`), both in process; the third
is of the server, asked by HTTP.

Rates are answers for each CPU second: here of the process that holds the indexes (`spatial/examples/ground`), there of
the session's own server process, which is asked through its Unix socket by prepared statements; what the client takes
does not count. Both hold the very same coordinates, and where both are asked the same thing the number of what is
found is compared question by question: a difference ends the run. (PostGIS rounds boxes outwards to 32-bit floats, half
a metre here: in boxes it may find a few more, never fewer.)

ARGS: --seconds N (CPU seconds that PostGIS has for a row, 3), --print (do not write into docs/benchmarks.md),
--only indexes,tiles,server (the tables that are made and written, all of them otherwise).
"""
import argparse, json, os, pathlib, platform, re, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import map_tiles, postgres

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
GROUND, SERVER = TARGET / "examples/ground", TARGET / "onemap"
DOC = ROOT / "docs/benchmarks.md"
# Where each table stands in the document; what heads its column of questions.
TABLES = {
    "indexes": "in process, for each CPU second (p50 in brackets)",
    "tiles": "the whole map in process, for each CPU second (p50 in brackets)",
    "server": "the server over HTTP, one kept connection, p50 by the client's clock",
}
SCHEMA = """
CREATE EXTENSION postgis;
CREATE TABLE points (id integer, kind smallint, g geometry(Point, 4326));
CREATE TABLE polygons (id integer, g geometry(Polygon, 4326));
CREATE TABLE lines (id integer, g geometry(LineString, 4326));
CREATE TABLE fences (id integer, g geometry(Polygon, 4326));
CREATE UNLOGGED TABLE movers (id integer PRIMARY KEY, g geometry(Point, 4326)) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE inside (object integer, fence integer, PRIMARY KEY (object, fence));
"""
POINT = "ST_SetSRID(ST_MakePoint($1, $2), 4326)"
BOX = "ST_MakeEnvelope($1, $2, $3, $4, 4326)"
# The newest position of each object in a batch; what a batch moves, and what it enters and leaves.
NEWEST = "SELECT DISTINCT ON (i) i, ST_SetSRID(ST_MakePoint(x, y), 4326) AS p FROM unnest($1, $2, $3) WITH ORDINALITY AS t(i, x, y, o) ORDER BY i, o DESC"
STATEMENTS = {
    "points_bbox(float8, float8, float8, float8)": f"SELECT id FROM points WHERE g && {BOX}",
    "lines_bbox(float8, float8, float8, float8)": f"SELECT id FROM lines WHERE g && {BOX}",
    "movers_bbox(float8, float8, float8, float8)": f"SELECT id FROM movers WHERE g && {BOX}",
    "knn10(float8, float8)": f"SELECT id FROM points ORDER BY g <-> {POINT} LIMIT 10",
    "knn100(float8, float8)": f"SELECT id FROM points ORDER BY g <-> {POINT} LIMIT 100",
    "knnrare(float8, float8)": f"SELECT id FROM points WHERE kind > 28 ORDER BY g <-> {POINT} LIMIT 10",
    "movers_knn(float8, float8)": f"SELECT id FROM movers ORDER BY g <-> {POINT} LIMIT 10",
    "lines_knn(float8, float8)": f"SELECT id FROM lines ORDER BY g <-> {POINT} LIMIT 1",
    "radius(float8, float8)": f"SELECT id FROM points WHERE ST_DWithin(g::geography, {POINT}::geography, 250, false)",
    "polygon(geometry)": "SELECT id FROM points WHERE ST_Covers($1, g)",
    "lines_polygon(geometry)": "SELECT id FROM lines WHERE ST_Intersects($1, g)",
    "polygons_meet(geometry)": "SELECT id FROM polygons WHERE ST_Intersects($1, g)",
    "areas_at(float8, float8)": f"SELECT id FROM polygons WHERE ST_Covers(g, {POINT})",
    "move(int[], float8[], float8[])": f"UPDATE movers m SET g = u.p FROM ({NEWEST}) u WHERE m.id = u.i",
    "observe(int[], float8[], float8[])": f"WITH u AS ({NEWEST}), now AS MATERIALIZED (SELECT u.i, f.id FROM u JOIN fences f ON ST_Covers(f.g, u.p)), gone AS (DELETE FROM inside s USING u WHERE s.object = u.i AND NOT EXISTS (SELECT 1 FROM now n WHERE n.i = s.object AND n.id = s.fence) RETURNING 1), came AS (INSERT INTO inside SELECT i, id FROM now ON CONFLICT DO NOTHING RETURNING 1) SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM came)",
}
# What is asked: our name, what it is called, statement, file of questions, how the counts compare, target.
ASKED = [
    ("bbox-100", "points in a box, half side 100 m", "points_bbox", "bbox-100", "rounded", None),
    ("bbox-250", "points in a box, half side 250 m", "points_bbox", "bbox-250", "rounded", 50),
    ("bbox-1000", "points in a box, half side 1 km", "points_bbox", "bbox-1000", "rounded", None),
    ("knn-10", "10 nearest points", "knn10", "point", True, 50),
    ("knn-100", "100 nearest points", "knn100", "point", True, None),
    ("knn-10-rare", "10 nearest of a kind of 3 in 1,000", "knnrare", "point", True, None),
    ("radius-250", "points within 250 m on the sphere", "radius", "point", True, None),
    ("polygon", "points in a polygon of 48 vertices, 400 m", "polygon", "polygon", True, None),
    ("lines-bbox-250", "boxes of lines, half side 250 m", "lines_bbox", "bbox-250", "rounded", None),
    ("lines-nearest", "nearest line", "lines_knn", "point", True, None),
    ("lines-polygon", "lines that meet the polygon", "lines_polygon", "polygon", True, None),
    ("polygons-meet", "polygons that meet the polygon", "polygons_meet", "polygon", True, None),
    ("areas-at", "which of 50,000 polygons cover a point", "areas_at", "point", True, None),
    ("movers-bbox-250", "movers in a box, half side 250 m", "movers_bbox", "bbox-250", False, None),
    ("movers-knn-10", "10 nearest movers", "movers_knn", "point", True, None),
]
BATCH = 1000


class PostGis(postgres.Postgres):
    name, schema = "PostGIS", SCHEMA

    def start(self):
        super().start()
        pid = self.connection.value("SELECT pg_backend_pid()")
        self.stat = pathlib.Path(f"/proc/{pid}/stat")
        # All work in the one process that is measured.
        self.connection.run("SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0; SET synchronous_commit = off")

    def seconds(self):
        """CPU seconds of the session's process."""
        fields = self.stat.read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def load(self, folder):
        run, began = self.connection.run, self.seconds()
        self.connection.copy("points", (folder / "points.copy").read_bytes())
        run("CREATE INDEX ON points USING gist (g)")
        took = self.seconds() - began
        size = int(self.connection.value("SELECT pg_total_relation_size('points')"))
        for table in ["polygons", "lines", "movers", "fences"]:
            self.connection.copy(table, (folder / f"{table}.copy").read_bytes())
            run(f"CREATE INDEX ON {table} USING gist (g)")
        run("CREATE INDEX ON points USING gist ((g::geography))")
        run("CLUSTER points USING points_g_idx")
        for table in ["points", "polygons", "lines", "movers", "fences"]:
            run(f"VACUUM (ANALYZE) {table}")
        run("CHECKPOINT")
        for head, text in STATEMENTS.items():
            run(f"PREPARE {head} AS {text}")
        return 1_000_000 / took, size

    def ask(self, statement, questions, compared, rounded, seconds):
        """Answers a CPU second, p50 in microseconds; the counts of the first must be those given."""
        took, began, at = [], self.seconds(), 0
        # Plans are made, pages are read.
        for question in questions[:20]:
            self.connection.run(f"EXECUTE {statement}{question}")
        began = self.seconds()
        while self.seconds() - began < seconds and at < len(questions):
            sent = time.perf_counter()
            n = self.connection.run(f"EXECUTE {statement}{questions[at]}")
            took.append(time.perf_counter() - sent)
            more = n - compared[at] if compared and at < len(compared) else 0
            if more < 0 or more > (5 + n / 20 if rounded else 0):
                sys.exit(f"{statement} {questions[at][:200]}: {compared[at]} here, {n} in PostGIS")
            at += 1
        return at / max(self.seconds() - began, 0.01), sorted(took)[len(took) // 2] * 1e6, at

    def batches(self, statement, batches, seconds):
        """Positions a CPU second, and the sum of what the batches answer."""
        began, at, told = self.seconds(), 0, 0
        while self.seconds() - began < seconds and at < len(batches):
            if statement == "observe":
                told += int(self.connection.value(f"EXECUTE observe{batches[at]}"))
            else:
                self.connection.run(f"EXECUTE {statement}{batches[at]}")
            at += 1
        return at * BATCH / max(self.seconds() - began, 0.01), at, told


def measured(what):
    """Rows of the example by name."""
    text = subprocess.run([GROUND, what], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {row["name"]: row for row in map(json.loads, text.splitlines())}


def number(value):
    return f"{value / 1e6:.2f} M" if value >= 999_500 else f"{value:,.0f}"


class Table:
    def __init__(self):
        self.lines = []

    def line(self, what, ours, theirs, ratio, target, holds):
        mark = "" if target is None else "holds" if holds else "falls short"
        self.lines.append(f"| {what} | {ours} | {theirs} | {ratio} | {target or ''} | {mark} |")

    def compare(self, what, ours, theirs, target, more=("", "")):
        """Rates: more is better."""
        ratio = ours / theirs
        self.line(what, number(ours) + more[0], number(theirs) + more[1], times(ratio), target and f"≥ {target}x", target is None or ratio >= target)


def times(ratio):
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def rows(own, peer, seconds, folder, load, size):
    """The lines of the table of the indexes."""
    table = Table()
    lines, line, compare = table.lines, table.line, table.compare
    compare("load 1,000,000 points with their index", own["points-load"]["rate"], load, None)
    megabytes = own["points"]["bytes"] / 1e6
    line("memory of 1,000,000 points", f"{megabytes:.1f} MB", f"{size / 1e6:.0f} MB on disk", "", "≤ 20 MB", megabytes <= 20)
    for name, what, statement, file, equal, target in ASKED:
        print(f"   {what}", file=sys.stderr)
        ours = own[name]
        questions = (folder / f"{file}.sql").read_text().splitlines()
        rate, p50, n = peer.ask(statement, questions, ours["compared"] if equal else None, equal == "rounded", seconds)
        compare(f"{what} ({ours['found']:,.0f} found)" if "near" not in what else what, ours["rate"], rate, target,
                (f" ({ours['p50_us']:.1f} µs)", f" ({p50:,.0f} µs)"))
    batches = (folder / "moves.sql").read_text().splitlines()
    moved, n_moved, _ = peer.batches("move", batches, seconds * 2)
    compare("positions of 100,000 movers", own["movers-set"]["rate"], moved, 300)
    watched, n_watched, told = peer.batches("observe", batches, seconds * 2)
    compare("positions against 10,000 fences, enter and exit", own["fences-observe"]["rate"], watched, 50)
    print(f"   {n_moved} and {n_watched} batches of {BATCH}, {told} events", file=sys.stderr)
    compare("add a fence", own["fences-load"]["rate"], own["fences-load"]["rate"], None)
    lines[-1] = f"| add a fence | {number(own['fences-load']['rate'])} |  |  |  |  |"
    lines.append(f"| memory of 10,000 fences in cells | {own['fences']['bytes'] / 1e6:.0f} MB |  |  |  |  |")
    lines.append(f"| move a point of the static index (remove, insert) | {number(own['points-change']['rate'])} |  |  |  |  |")
    return lines


def tile_rows(own, peer, seconds, folder):
    """The lines of the table of the whole map in process."""
    table = Table()
    first = own["view-first-tile"]
    table.line("first tile with the making of the index, 1.26 M things", f"{first['cpu_seconds']:.2f} CPU-s, {first['seconds']:.2f} s", "", "", "≤ 3 s", first["seconds"] <= 3)
    table.line("resident, with codes; with the index", f"{first['mb_without_index']:.0f} MB; {first['mb']:.0f} MB", "", "", None, True)
    for name, what, statement, file in [
        ("view-bbox-250", "components in a box, half side 250 m", "points_bbox", "bbox-250"),
        ("view-knn-10", "10 nearest components", "knn10", "point"),
        ("view-grid", "the grid of a point, of 10,000", "grid_at", "point"),
    ]:
        questions = (folder / f"{file}.sql").read_text().splitlines()
        rate, p50, _ = peer.ask(statement, questions, None, False, seconds)
        table.compare(what, own[name]["rate"], rate, None, (f" ({own[name]['p50_us']:.1f} µs)", f" ({p50:,.0f} µs)"))
    for zoom, tiles in map_tiles.addresses(folder).items():
        print(f"   tiles of zoom {zoom}", file=sys.stderr)
        ours, theirs = own[f"view-tiles-{zoom}"], map_tiles.peer_tiles(peer, tiles, max(seconds, 5))
        kept = map_tiles.features_of(ours, theirs)
        table.compare(f"tiles of zoom {zoom} ({kept})", ours["rate"], theirs["rate"], 10 if zoom >= 14 else None,
                      (f" ({ours['p50_us'] / 1e3:.2f} ms, {ours['bytes'] / 1e3:,.0f} kB)", f" ({theirs['p50']:.2f} ms, {theirs['bytes'] / 1e3:,.0f} kB)"))
    return table.lines


def server_rows(told):
    """The lines of the table of the server."""
    table = Table()
    first, rest, cold = told["import"], told["rest"], told["cold"]
    table.line(f"import of {first['n']:,} components, the file as one request", f"{first['seconds']:.1f} s", "", "", "≤ 60 s", first["seconds"] <= 60)
    table.line("memory that it takes, at most (in the end)", f"{first['most']:,.0f} MiB ({first['growth']:,.0f})", "", "", "≤ 1 GiB", first["most"] <= 1024)
    table.line(f"import of {rest['n']:,} polygons and lines after that", f"{rest['seconds']:.1f} s", "", "", None, True)
    table.line("resident after both", f"{told['rss']:,.0f} MiB", "", "", None, True)
    table.line("cold start until it listens", f"{cold['start']:.2f} s", "", "", None, True)
    table.line("first tile after that, zoom 12", f"{cold['tile']:.2f} s", "", "", "≤ 3 s", cold["tile"] <= 3)
    for what, ours, theirs, target in told["rows"]:
        table.line(what, f"{ours:.3f} ms", f"{theirs:.3f} ms", times(theirs / ours), f"≥ {target}x", theirs / ours >= target)
    return table.lines


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--seconds", type=float, default=3.0)
    parse.add_argument("--print", action="store_true")
    parse.add_argument("--only", default="indexes,tiles,server")
    arguments = parse.parse_args()
    if not list(pathlib.Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        sys.exit("PostGIS is needed: apt-get install postgresql-15-postgis-3")
    parts = arguments.only.split(",")
    if not GROUND.exists() or ("server" in parts and not SERVER.exists()):
        sys.exit("cargo build --release -p onemap -p onemap-spatial --bins --examples")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-map-"))
    peer = None
    try:
        subprocess.run([GROUND, "tables", folder], check=True)
        peer = PostGis(folder)
        load, size = peer.load(folder)
        map_tiles.prepare(peer, folder)
        version = peer.connection.value("SELECT postgis_lib_version() || ', PostgreSQL ' || current_setting('server_version')")
        make = {
            "indexes": lambda: rows(measured("measure"), peer, arguments.seconds, folder, load, size),
            "tiles": lambda: tile_rows(measured("view"), peer, arguments.seconds, folder),
            "server": lambda: server_rows(map_tiles.measured(SERVER, peer, folder)),
        }
        for part in parts:
            text = "\n".join([head(version), "", f"| {TABLES[part]} | onemap | PostGIS | ratio | target | |", "|---|---|---|---|---|---|", *make[part]()])
            print(text, flush=True)
            if not arguments.print:
                write(part, text)
    finally:
        if peer:
            peer.stop()
            peer.remove()
        shutil.rmtree(folder, ignore_errors=True)


def head(version):
    machine = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {machine}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}; PostGIS {version}."


def write(part, text):
    begin, end = f"<!-- bench-map {part}: written by benches/map.py -->", f"<!-- bench-map {part}: end -->"
    document = DOC.read_text()
    if begin not in document:
        sys.exit(f"no place for the table of {part} in {DOC.name}")
    DOC.write_text(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.S))


if __name__ == "__main__":
    main()
