"""Tiles and answers of the whole map beside PostGIS: the second and third table of map.py.

A tile is components, hazards and pipes, one layer each. PostGIS makes all three in one statement from tables in Web
Mercator that are clustered by their index, and sends them in binary. What both draw is compared feature by feature in
number. Through the server everything is asked on one kept-alive connection, and the client's clock counts, on both
sides; the client is `spatial/examples/ask.rs`, which costs next to nothing.
"""
import json, os, pathlib, socket, struct, subprocess, sys, time

# What the map knows of each entity, in Web Mercator for tiles and in degrees for questions.
TABLES = """
CREATE TABLE components AS SELECT 'LD630102-' || lpad(id::text, 7, '0') AS code, '路灯' || id AS name, ''::text AS class, ''::text AS division, 'surface'::text AS stratum, g, ST_Transform(g, 3857) AS m FROM points;
CREATE TABLE hazards AS SELECT 'h' || lpad(id::text, 5, '0') AS code, ST_Transform(g, 3857) AS m FROM polygons;
CREATE TABLE pipes AS SELECT 'p' || lpad(id::text, 6, '0') AS code, ST_Transform(g, 3857) AS m FROM lines;
CREATE TABLE grids (id integer, g geometry(Polygon, 4326));
CREATE INDEX components_g ON components USING gist (g);
CREATE INDEX components_m ON components USING gist (m);
CREATE INDEX hazards_m ON hazards USING gist (m);
CREATE INDEX pipes_m ON pipes USING gist (m);
CREATE INDEX grids_g ON grids USING gist (g);
CLUSTER components USING components_m;
CLUSTER hazards USING hazards_m;
CLUSTER pipes USING pipes_m;
"""
ASK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target")) / "release/examples/ask"
ENVELOPE = "ST_TileEnvelope($1, $2, $3)"
WIDE = "ST_TileEnvelope($1, $2, $3, margin => 64.0 / 4096)"
# From here on tiles of components carry names (docs/api.md).
NAME_ZOOM = 16
POINT = "ST_SetSRID(ST_MakePoint($1, $2), 4326)"
BOX = "ST_MakeEnvelope($1, $2, $3, $4, 4326)"


def layer(table, columns, reach):
    """One layer of a tile. Points belong to one tile only, shapes reach into the margin of the next."""
    rows = f"SELECT ST_AsMVTGeom(m, {ENVELOPE}, 4096, 64, true) AS g, {columns} FROM {table} WHERE m && {reach}"
    return f"coalesce((SELECT ST_AsMVT(t, '{table}', 4096, 'g') FROM ({rows}) t), ''::bytea)"


def tile(named):
    point = layer("components", "code, name" if named else "code", ENVELOPE)
    return f"SELECT {point} || {layer('hazards', 'code', WIDE)} || {layer('pipes', 'code', WIDE)}"


ROWS = "code, name, class, division, stratum, ST_X(g), ST_Y(g)"
STATEMENTS = {
    "tile(int, int, int)": tile(False),
    "tile_named(int, int, int)": tile(True),
    "within(float8, float8, float8, float8)": f"SELECT {ROWS}, count(*) OVER () FROM components WHERE g && {BOX} ORDER BY code LIMIT 100",
    "nearest(float8, float8)": f"SELECT {ROWS}, ST_Distance(g::geography, {POINT}::geography, false) FROM components ORDER BY g <-> {POINT} LIMIT 10",
    "grid_at(float8, float8)": f"SELECT id FROM grids WHERE ST_Covers(g, {POINT})",
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def features(data):
    """Features of each layer of a vector tile."""
    def fields(data):
        at = 0
        while at < len(data):
            head, at = varint(data, at)
            if head & 7 == 2:
                length, at = varint(data, at)
                yield head >> 3, data[at:at + length]
                at += length
            else:
                _, at = varint(data, at)
    found = {}
    for number, body in fields(memoryview(data)):
        if number == 3:
            parts = list(fields(body))
            name = next(bytes(part).decode() for number, part in parts if number == 1)
            found[name] = sum(number == 2 for number, _ in parts)
    return found


def binary(statement, arguments):
    """The messages that ask for one row of one binary value of a prepared statement."""
    values = b"".join(struct.pack("!i", len(a)) + a for a in (str(a).encode() for a in arguments))
    bind = b"\0" + statement.encode() + b"\0" + struct.pack("!hh", 0, len(arguments)) + values + struct.pack("!hh", 1, 1)
    parts = [(b"B", bind), (b"E", b"\0" + struct.pack("!i", 0)), (b"S", b"")]
    return b"".join(kind + struct.pack("!i", len(body) + 4) + body for kind, body in parts)


def execute(connection, statement, arguments):
    """One row of one binary value of a prepared statement."""
    connection.socket.sendall(binary(statement, arguments))
    found = None
    while True:
        kind, body = connection.message()
        if kind == b"E":
            sys.exit(f"PostgreSQL: {body.decode(errors='replace')}")
        if kind == b"D":
            found = body[6:]
        if kind == b"Z":
            return found


def prepare(peer, folder):
    run = peer.connection.run
    for statement in filter(str.strip, TABLES.split(";")):
        run(statement)
    peer.connection.copy("grids", (folder / "grids.copy").read_bytes())
    for table in ["components", "hazards", "pipes", "grids"]:
        run(f"VACUUM (ANALYZE) {table}")
    for head, text in STATEMENTS.items():
        run(f"PREPARE {head} AS {text}")


def addresses(folder):
    by_zoom = {}
    for line in (folder / "tiles.txt").read_text().splitlines():
        z, x, y = map(int, line.split())
        by_zoom.setdefault(z, []).append((z, x, y))
    return by_zoom


def peer_tiles(peer, tiles, seconds, statement="tile"):
    """Tiles a CPU second, p50 in ms, bytes and features of each, of those that the time is enough for."""
    for address in tiles[:3]:
        execute(peer.connection, statement, address)
    began, took, size, counts = peer.seconds(), [], 0, []
    for address in tiles:
        sent = time.perf_counter()
        data = execute(peer.connection, statement, address)
        took.append(time.perf_counter() - sent)
        size += len(data)
        if len(counts) < 50:
            counts.append(features(data))
        if peer.seconds() - began > seconds:
            break
    return {"rate": len(took) / max(peer.seconds() - began, 0.01), "p50": median(took) * 1e3, "bytes": size / len(took), "counts": counts, "n": len(took)}


def median(values):
    return sorted(values)[len(values) // 2]


def features_of(ours, theirs):
    """Features of a tile on both sides, of the tiles that PostGIS was counted for."""
    n = len(theirs["counts"])
    mine = sum(ours["features"][:n]) / n
    others = sum(sum(count.values()) for count in theirs["counts"]) / n
    return f"{mine:,.0f} features, PostGIS {others:,.0f}"


class Server:
    """onemap with an empty folder, asked on one connection."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder / "onemap"
        self.folder.mkdir()
        (self.folder / "onemap.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
        self.start()

    def start(self):
        began, log = time.perf_counter(), open(self.folder / "log", "a")
        self.process = subprocess.Popen([self.binary, "--data-dir", self.folder, "--config", self.folder / "onemap.toml", "serve"],
                                        stdout=subprocess.PIPE, stderr=log, env={**os.environ, "ONEMAP_LOG": "error"})
        line = self.process.stdout.readline()
        if not line:
            sys.exit((self.folder / "log").read_text())
        self.started_s = time.perf_counter() - began
        host, port = json.loads(line)["http"].removeprefix("http://").split(":")
        self.port = int(port)
        self.socket = socket.create_connection((host, self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)
        self.token = (self.folder / "admin.token").read_text().strip()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def seconds(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def rss(self):
        """Resident now and at most, MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        value = lambda name: int(next(l for l in status.splitlines() if l.startswith(name)).split()[1]) / 1024
        return value("VmRSS:"), value("VmHWM:")

    def head(self, method, path):
        return f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {self.token}\r\n"

    def ask(self, path, body=None, kind="application/json"):
        head = self.head("GET" if body is None else "POST", path)
        if body is not None:
            head += f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + (body or b""))
        status, length, chunked = int(self.file.readline().split()[1]), 0, False
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            chunked |= name.lower() == b"transfer-encoding"
        data = self.file.read(length)
        while chunked:
            size = int(self.file.readline(), 16)
            data += self.file.read(size)
            self.file.readline()
            chunked = size > 0
        if status not in (200, 201, 204):
            sys.exit(f"{path}: {status} {data[:500]}")
        return data

    def imported(self, path):
        """Seconds of an import and MiB that it took, at most and in the end."""
        before, began = self.rss()[0], time.perf_counter()
        told = json.loads(self.ask(f"/api/v1/entities/import?name={path.name}&format=geojsonseq", path.read_bytes()))
        took = time.perf_counter() - began
        if told["refused"]:
            sys.exit(f"{path.name}: {json.dumps(told)[:500]}")
        now, most = self.rss()
        return {"n": told["imported"], "seconds": took, "growth": now - before, "most": most - before}


def query(text):
    return b"Q" + struct.pack("!i", len(text.encode()) + 5) + text.encode() + b"\0"


def in_turn(server, peer, folder, pairs, warm=20):
    """Both are asked the same, one after the other, so both meet what else the machine does; p50 in ms. Pairs are a path
    and the messages to PostgreSQL; what comes first only warms up."""
    said = b"user\0postgres\0database\0postgres\0\0"
    opening = [struct.pack("!ii", len(said) + 8, 196608) + said]
    opening += [query(text) for text in ["SET max_parallel_workers_per_gather = 0", *(f"PREPARE {head} AS {text}" for head, text in STATEMENTS.items())]]
    parts = [*opening, b""]
    for path, messages in [*pairs[:warm], *pairs]:
        parts += [server.head("GET", path).encode() + b"\r\n", messages]
    file = folder / "pairs"
    file.write_bytes(b"".join(struct.pack("<I", len(part)) + part for part in parts))
    socket_of_peer = peer.base / ".s.PGSQL.5432"
    told = subprocess.run([ASK, str(server.port), socket_of_peer, file], check=True, stdout=subprocess.PIPE, text=True).stdout
    took = [list(map(int, line.split())) for line in told.splitlines()][min(warm, len(pairs)):]
    return median([row[0] for row in took]) / 1e6, median([row[1] for row in took]) / 1e6


def through_http(server, peer, folder, n=1500):
    """Rows: what, our p50 and theirs in ms, target."""
    boxes = (folder / "bbox-250.sql").read_text().splitlines()
    points = (folder / "point.sql").read_text().splitlines()
    lonlat = [point.strip("()").split(",") for point in points]
    run = peer.connection.run
    rows = []

    def count(what, path, statement):
        """What is found must be the same."""
        for i in range(20):
            collection = json.loads(server.ask(path(i)))
            ours = collection.get("numberReturned")
            theirs = run(statement(i))
            if what == "grid":
                ours = sum(area["kind"] == "grid" for area in collection["areas"])
            if ours != theirs:
                sys.exit(f"{path(i)}: {ours} here, {theirs} in PostGIS")

    within = lambda i: f"/api/v1/within?kind=component&bbox={boxes[i].strip('()')}"
    nearest = lambda i: f"/api/v1/nearest?kind=component&k=10&lon={lonlat[i][0]}&lat={lonlat[i][1]}"
    grid = lambda i: f"/api/v1/column?kind=grid&lon={lonlat[i][0]}&lat={lonlat[i][1]}"
    for what, name, path, statement, target in [
        ("components in a box, half side 250 m: their number and the first 100 by code", "within", within, lambda i: f"EXECUTE within{boxes[i]}", 5),
        ("10 nearest components with their distances", "nearest", nearest, lambda i: f"EXECUTE nearest{points[i]}", 5),
        ("the grid of a point", "grid", grid, lambda i: f"EXECUTE grid_at{points[i]}", 5),
    ]:
        count(name, path, statement)
        ours, theirs = in_turn(server, peer, folder, [(path(i), query(statement(i))) for i in range(20, n + 20)])
        rows.append((what, ours, theirs, target))
    for zoom, tiles in addresses(folder).items():
        if zoom < 14:
            continue
        statement = "tile_named" if zoom >= NAME_ZOOM else "tile"
        path = "/tiles/components,hazards,pipes/{}/{}/{}.mvt"
        tiles = tiles[:300]
        for address in tiles[:20]:
            compare(server.ask(path.format(*address)), execute(peer.connection, statement, address), address)
        pairs = [(path.format(*address), binary(statement, address)) for address in tiles[20:]]
        ours, theirs = in_turn(server, peer, folder, pairs, 0)
        rows.append((f"tile of zoom {zoom}, drawn anew: three layers in one request beside one statement", ours, theirs, 10))
    return rows


def compare(ours, theirs, address):
    """Tiles hold the same features but for points of one unit and shapes that hardly reach in, and the same properties."""
    mine, others = features(ours), features(theirs)
    if len(theirs) > 500_000:
        # A layer here has at most so many bytes: points are gathered.
        return
    if any(not 0.9 <= mine.get(layer, 0) / n <= 1.05 for layer, n in others.items() if n > 20):
        sys.exit(f"tile {address}: {mine} here, {others} in PostGIS")
    if "路灯".encode() in bytes(ours) and "路灯".encode() not in bytes(theirs) or len(ours) < 0.8 * len(theirs):
        sys.exit(f"tile {address}: {len(ours)} bytes here, {len(theirs)} in PostGIS")


def measured(binary, peer, folder):
    """Import, cold start and all rows through the server."""
    server = Server(binary, folder)
    try:
        first = server.imported(folder / "components.geojsonl")
        rest = server.imported(folder / "others.geojsonl")
        rss = server.rss()[0]
        server.stop()
        server.start()
        z, x, y = addresses(folder)[12][0]
        began = time.perf_counter()
        server.ask(f"/tiles/components/{z}/{x}/{y}.mvt")
        cold = {"start": server.started_s, "tile": time.perf_counter() - began}
        return {"import": first, "rest": rest, "rss": rss, "cold": cold, "rows": through_http(server, peer, folder)}
    finally:
        server.stop()
