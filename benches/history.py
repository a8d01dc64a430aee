#!/usr/bin/env python3
"""History beside its peers, in one run (`make bench-history`).

Peers, all from Debian: VictoriaMetrics, InfluxDB 1.x and PostgreSQL (benches/postgres.py: the same readings by COPY, tables of
hours and days as a user would keep them, asked by its own protocol). The others get the same bytes of line protocol
by HTTP, one request of 10,000 lines after the other, and is asked the same questions by HTTP on one kept
connection; onemap answers in its own forms, columns where it is not said otherwise, the others in theirs. CPU is what the scheduler charged to the server's threads, onemap's until its checkpoint holds the
last reading. onemap runs whole: journal with fsync, decoding, admission, rules, gap ledger; VictoriaMetrics
acknowledges before it has synced anything.

Set A: 1000 stations x 8 quantities, a day at a minute cadence; 40 gauges over 30 days, one over a year.
Set B: 25,000 stations x 8 quantities, 20 minutes.

Set C: 125,000 stations, so a million series, of onemap alone and only when it is asked for: minutes at a minute
cadence, sent one request after the other; memory at the end, the longest answer and the opening after kill -9.

    benches/history.py [--quick] [--only onemap|vm|influx|postgres] [--without-wide] [--keep] [--million MINUTES]

`--quick` is a smoke run whose figures mean nothing.
"""
import argparse, json, os, pathlib, platform, shutil, socket, statistics, subprocess, sys, tempfile, time, urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from ingest import TARGET, cpu_seconds, free_port, is_open, rss_mib, wait_for
from postgres import Postgres

DAY = 86_400_000
# As store/examples/history_set.rs has them.
QUANTITIES = ["temperature", "humidity", "pm2_5", "noise_laeq", "water_level", "energy", "co2", "switch"]
ASKED = QUANTITIES[:5] * 2


class Server:
    def __init__(self, name, folder):
        self.name, self.folder, self.process, self.connection = name, folder, None, None
        folder.mkdir(parents=True)

    def ask(self, method, path, body=None, headers={}):
        """One request on the kept connection: status, body.

        Plain reads: http.client takes a tenth of a millisecond for the headers alone, of every server alike."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.address}", f"content-length: {len(body or b'')}"]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **headers}.items()]
        request = "\r\n".join(lines + ["", ""]).encode() + (body or b"")
        for attempt in range(2):
            try:
                if self.connection is None:
                    host, port = self.address.rsplit(":", 1)
                    self.connection = socket.create_connection((host, int(port)), timeout=300)
                    self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.answers = self.connection.makefile("rb", 1 << 18)
                self.connection.sendall(request)
                return self.answer()
            except OSError:
                self.connection = None
                if attempt:
                    raise

    def answer(self):
        line = self.answers.readline()
        if not line.startswith(b"HTTP/1.1 "):
            raise ConnectionError(f"no status in {line!r}")
        status, length, chunked = int(line[9:12]), 0, False
        while (line := self.answers.readline().lower()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
            chunked |= line.startswith(b"transfer-encoding:") and b"chunked" in line
        if not chunked:
            return status, self.answers.read(length)
        parts = []
        while size := int(self.answers.readline(), 16):
            parts.append(self.answers.read(size))
            self.answers.readline()
        self.answers.readline()
        return status, b"".join(parts)

    def get(self, path):
        status, body = self.ask("GET", path)
        if status != 200:
            sys.exit(f"{self.name}: {path}: {status} {body[:400]}")
        return body

    def write(self, files):
        """Every file, in order; the longest answer in milliseconds."""
        longest = 0.0
        for file in files:
            body = file.read_bytes()
            began = time.perf_counter()
            status, answer = self.ask("POST", self.write_path, body)
            longest = max(longest, time.perf_counter() - began)
            if status != 204:
                sys.exit(f"{self.name}: {file.name}: {status} {answer[:400]}")
        return longest * 1000

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def rss(self):
        return rss_mib(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(120)
        self.connection = None

    def remove(self):
        shutil.rmtree(self.folder)

    def settle(self):
        """Waits until what was taken is durable."""

    def disk_bytes(self):
        return sum(f.stat().st_blocks * 512 for f in self.data.rglob("*") if f.is_file())


class Onemap(Server):
    write_path = "/api/v2/write?precision=ms"

    def __init__(self, folder, stations):
        super().__init__("onemap", folder / "onemap")
        self.data = self.folder / "history"
        self.config = self.folder / "onemap.toml"
        self.config.write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n[ingest]\nlive_max_age_days = 400\n')
        self.start()
        names = [(f"station-{i:06}", i) for i in range(stations)] + [(f"gauge-{i:03}", i) for i in range(40)]
        csv = "id,kind,division,cadence_s\n" + "".join(f"{n},air_station,630102{i % 50:03},60\n" for n, i in names)
        status, body = self.ask("POST", "/api/v1/devices/import", csv.encode(), {"content-type": "text/csv"})
        if status != 200 or json.loads(body)["refused"]:
            sys.exit(f"onemap: devices: {status} {body[:400]}")

    def start(self):
        log = open(self.folder / "log", "a")
        self.process = subprocess.Popen([TARGET / "onemap", "--data-dir", self.folder, "--config", self.config, "serve"],
                                        stdout=subprocess.PIPE, stderr=log, env={**os.environ, "ONEMAP_LOG": "error"})
        ready = json.loads(self.process.stdout.readline())
        self.address = ready["http"].removeprefix("http://")
        self.headers = {"authorization": "Bearer " + (self.folder / "admin.token").read_text().strip()}

    def metrics(self, name):
        lines = self.get("/metrics").decode().splitlines()
        return [float(line.split()[-1]) for line in lines if line.startswith(name)]

    def settle(self):
        wait_for("onemap's cursors", lambda: max(self.metrics("onemap_cursor_lag_records")) <= 1, 600, 0.2)
        wait_for("onemap's checkpoint", lambda: max(self.metrics("onemap_checkpoint_lag_records")) <= 30, 60, 0.2)

    def series(self, device, quantity):
        items = json.loads(self.get(f"/api/v1/series?device={device}&quantity={quantity}"))["items"]
        return items[0]["id"]

    def care(self, now):
        """Stops, cares for closed days, starts again: what the server does in the background."""
        self.stop()
        done = subprocess.run([TARGET / "examples" / "history_care", self.data, str(now)], check=True, stdout=subprocess.PIPE)
        self.start()
        return json.loads(done.stdout)

    def latest_all(self, shape):
        """Whole: rows come in pages of 100,000, columns of a million."""
        after = ""
        while True:
            body = self.get(f"/api/v1/latest?shape={shape}{after}")
            next = json.loads(body[body.rindex(b'"next":') + 7:body.rindex(b',"position"')])
            if next is None:
                return
            after = f"&after={next}"

    def day(self, i, first, last, shape):
        id = self.ids[i]
        return lambda: self.get(f"/api/v1/series/{id}/values?from={rfc(first)}&to={rfc(last)}&shape={shape}")

    def stepped(self, id, first, last, step):
        return lambda: self.get(f"/api/v1/series/{id}/values?from={rfc(first)}&to={rfc(last)}&step={step}&agg=mean")

    def by_division(self, quantity, first, last, step):
        return lambda: self.get(f"/api/v1/aggregate?quantity={quantity}&group_by=division&from={rfc(first)}&to={rfc(last)}&step={step}&agg=mean")


class Vm(Server):
    write_path = "/api/v2/write?precision=ms"
    headers = {}

    def __init__(self, folder):
        super().__init__("VictoriaMetrics", folder / "vm")
        self.data = self.folder
        self.start()

    def start(self):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(["victoria-metrics", f"-httpListenAddr={self.address}", f"-storageDataPath={self.folder}",
                                         "-retentionPeriod=10y", "-selfScrapeInterval=0", "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=1000000",
                                         "-search.maxPointsPerTimeseries=100000", "-search.disableCache"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("VictoriaMetrics", lambda: is_open(port))

    def settle(self):
        self.get("/internal/force_flush")

    def query(self, path, **options):
        text = urllib.parse.urlencode(options)
        return lambda: self.get(f"/api/v1/{path}?{text}")

    def latest_all(self, now):
        return self.query("query", query='{__name__=~".+_value"}', time=now / 1000, nocache=1)()


class Influx(Server):
    write_path = "/write?db=bench&precision=ms"
    headers = {}

    def __init__(self, folder):
        super().__init__("InfluxDB 1", folder / "influx")
        self.data = self.folder / "data"
        port, rpc = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        config = self.folder / "influxdb.conf"
        config.write_text(f'''reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
  index-version = "tsi1"
  max-series-per-database = 0
  max-values-per-tag = 0
  query-log-enabled = false
[http]
  bind-address = "{self.address}"
  log-enabled = false
  max-row-limit = 0
''')
        self.process = subprocess.Popen(["influxd", "-config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("influxd", lambda: is_open(port))
        self.ask("POST", "/query?q=CREATE+DATABASE+bench")

    def query(self, text):
        path = "/query?" + urllib.parse.urlencode({"db": "bench", "epoch": "ms", "q": text})
        return lambda: self.get(path)

    def latest_all(self):
        quantities = ",".join(QUANTITIES)
        return self.query(f"SELECT last(value) FROM {quantities} GROUP BY device")()


def rfc(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


def median_ms(questions):
    """Median time of a list of questions, each asked once after one to warm the connection."""
    questions[0]()
    took = []
    for question in questions[1:]:
        began = time.perf_counter()
        question()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def data_set(folder, end, *sizes):
    folder.mkdir()
    done = subprocess.run([TARGET / "examples" / "history_set", folder, str(end), *map(str, sizes)], check=True, stdout=subprocess.PIPE)
    return sorted(folder.iterdir()), int(done.stdout)


def load(server, files, n, rows, name):
    cpu, began = server.cpu(), time.monotonic()
    longest = server.write(files)
    server.settle()
    spent, wall = server.cpu() - cpu, time.monotonic() - began
    rows.setdefault(f"{name}: CPU ns a point", {})[server.name] = spent * 1e9 / n
    rows.setdefault(f"{name}: points a second", {})[server.name] = n / wall
    rows.setdefault(f"{name}: longest answer, ms", {})[server.name] = longest
    rows.setdefault(f"{name}: RSS, MiB", {})[server.name] = server.rss()
    print(f"{server.name}: {name} {n / wall:,.0f} points/s, {spent * 1e9 / n:.0f} ns CPU a point, longest answer {longest:.0f} ms", flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--quick", action="store_true", help="small sets: a smoke run whose figures mean nothing")
    args.add_argument("--only", action="append", choices=["onemap", "vm", "influx", "postgres"])
    args.add_argument("--keep", action="store_true", help="keep the folder")
    args.add_argument("--without-wide", action="store_true", help="leave set B out")
    args.add_argument("--million", type=int, metavar="MINUTES", help="set C alone: a million series")
    args = args.parse_args()
    stations, wide, year = (50, 500, 31) if args.quick else (1000, 25_000, 365)
    which = args.only or ["onemap", "vm", "influx", "postgres"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-history-", dir=TARGET.parent))
    rows = {}
    try:
        if args.million:
            million(folder, args.million, rows)
        else:
            run(folder, which, stations, wide, year, args, rows)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    table(rows)


def run(folder, which, stations, wide, year, args, rows):
    def put(name, server, value):
        rows.setdefault(name, {})[server.name] = value
        print(f"{server.name}: {name} {value:.3f}", flush=True)

    now = int(time.time() * 1000)
    # The day that closed last, Beijing time: what is asked of it can be answered from what care made of it.
    closed = (now + 8 * 3_600_000) // DAY * DAY - 8 * 3_600_000
    files, n = data_set(folder / "set-a", closed, stations, 1440, 40, year)
    first, month = closed - DAY, closed - 30 * DAY
    picked = list(range(0, stations, max(stations // 40, 1)))
    for kind in which:
        server = {"onemap": lambda: Onemap(folder, stations), "vm": lambda: Vm(folder), "influx": lambda: Influx(folder), "postgres": lambda: Postgres(folder)}[kind]()
        load(server, files, n, rows, "set A")
        if kind == "onemap":
            ids = [server.series(f"station-{i:06}", "temperature") for i in picked]
            gauges = [server.series(f"gauge-{i:03}", "water_level") for i in range(40)]
            server.ids = ids
            def questions():
                return {
                    "one series, 24 h, ms": [server.day(i, first, closed, "columns") for i in range(len(ids))],
                    "one series, 24 h as rows, ms": [server.day(i, first, closed, "rows") for i in range(len(ids))],
                    "one series, 30 d by 1 h, ms": [server.stepped(g, month, closed, "1h") for g in gauges],
                    "one series, 1 y by 1 d, ms": [server.stepped(gauges[0], closed - year * DAY, closed, "24h")] * 12,
                    "1000 series, 24 h by 1 h by division, ms": [server.by_division(q, first, closed, "1h") for q in ASKED],
                    "latest of 8000, ms": [lambda: server.latest_all("columns")] * 6,
                    "latest of 8000 as rows, ms": [lambda: server.latest_all("rows")] * 6,
                }
            for name, asked in questions().items():
                put(name + " (before care)", server, median_ms(asked))
            server.stop()
            put("bytes a point on disk, before care", server, server.disk_bytes() / n)
            server.start()
            cared = server.care(now)
            put("bytes a point in chunks, live", server, cared["bytes_before"] / cared["points"])
            put("bytes a point in chunks, rewritten", server, cared["bytes_after"] / cared["points"])
            put("bytes a point on disk", server, server.disk_bytes() / n)
            for name, asked in questions().items():
                put(name, server, median_ms(asked))
        elif kind == "vm":
            # Stopped, so that all of it is on disk.
            server.stop()
            put("bytes a point on disk", server, server.disk_bytes() / n)
            server.start()
            s = lambda ms: ms / 1000
            put("one series, 24 h, ms", server, median_ms([server.query("query", query=f'temperature_value{{device="station-{i:06}"}}[24h]', time=s(closed), nocache=1) for i in picked]))
            put("one series, 30 d by 1 h, ms", server, median_ms([server.query("query_range", query=f'avg_over_time(water_level_value{{device="gauge-{g:03}"}}[1h])', start=s(month + 3_600_000), end=s(closed), step="1h", nocache=1) for g in range(40)]))
            put("one series, 1 y by 1 d, ms", server, median_ms([server.query("query_range", query='avg_over_time(water_level_value{device="gauge-000"}[1d])', start=s(closed - (year - 1) * DAY), end=s(closed), step="1d", nocache=1)] * 12))
            put("1000 series, 24 h by 1 h by division, ms", server, median_ms([server.query("query_range", query=f"avg by (district) (avg_over_time({q}_value[1h]))", start=s(first + 3_600_000), end=s(closed), step="1h", nocache=1) for q in ASKED]))
            put("latest of 8000, ms", server, median_ms([lambda: server.latest_all(closed)] * 6))
        elif kind == "postgres":
            put("hours and days of all points, s", server, server.roll_up())
            put("bytes a point on disk", server, server.disk_bytes() / n)
            put("one series, 24 h, ms", server, median_ms([server.single(f"station-{i:06}", first, closed) for i in picked]))
            put("one series, 30 d by 1 h, ms", server, median_ms([server.stepped(f"gauge-{g:03}", month, closed, "hours") for g in range(40)]))
            put("one series, 1 y by 1 d, ms", server, median_ms([server.stepped("gauge-000", closed - year * DAY, closed, "days")] * 12))
            put("one series, 1 y by 1 d of its points, ms", server, median_ms([server.stepped_raw("gauge-000", closed - year * DAY, closed)] * 12))
            put("1000 series, 24 h by 1 h by division, ms", server, median_ms([server.by_division(q, first, closed) for q in ASKED]))
            put("latest of 8000, ms", server, median_ms([server.latest_all] * 6))
        else:
            put("bytes a point on disk", server, server.disk_bytes() / n)
            put("one series, 24 h, ms", server, median_ms([server.query(f"SELECT value FROM temperature WHERE device='station-{i:06}' AND time >= {first}ms AND time < {closed}ms") for i in picked]))
            put("one series, 30 d by 1 h, ms", server, median_ms([server.query(f"SELECT mean(value) FROM water_level WHERE device='gauge-{g:03}' AND time >= {month}ms AND time < {closed}ms GROUP BY time(1h)") for g in range(40)]))
            put("one series, 1 y by 1 d, ms", server, median_ms([server.query(f"SELECT mean(value) FROM water_level WHERE device='gauge-000' AND time >= {closed - year * DAY}ms AND time < {closed}ms GROUP BY time(1d)")] * 12))
            put("1000 series, 24 h by 1 h by division, ms", server, median_ms([server.query(f"SELECT mean(value) FROM {q} WHERE time >= {first}ms AND time < {closed}ms GROUP BY time(1h), district") for q in ASKED]))
            put("latest of 8000, ms", server, median_ms([server.latest_all] * 4))
        server.stop()
        server.remove()
    shutil.rmtree(folder / "set-a")
    if args.without_wide:
        return
    now = int(time.time() * 1000)
    files, n = data_set(folder / "set-b", now, wide, 20, 0, 0)
    (folder / "second").mkdir()
    for kind in which:
        server = {"onemap": lambda: Onemap(folder / "second", wide), "vm": lambda: Vm(folder / "second"), "influx": lambda: Influx(folder / "second"), "postgres": lambda: Postgres(folder / "second")}[kind]()
        load(server, files, n, rows, "set B")
        hour = now - 3_600_000
        name = f"last hour of {wide * 8} series by division, ms"
        quantities = QUANTITIES
        if kind == "onemap":
            put(f"latest of {wide * 8}, ms", server, median_ms([lambda: server.latest_all("columns")] * 4))
            put(f"latest of {wide * 8} as rows, ms", server, median_ms([lambda: server.latest_all("rows")] * 4))
            asked = [server.by_division(q, hour, now, "1h") for q in quantities]
            put(name, server, median_ms([lambda: [ask() for ask in asked]] * 4))
        elif kind == "vm":
            put(f"latest of {wide * 8}, ms", server, median_ms([lambda: server.latest_all(now)] * 4))
            asked = [server.query("query", query=f"avg by (district) (avg_over_time({q}_value[1h]))", time=now / 1000, nocache=1) for q in quantities]
            put(name, server, median_ms([lambda: [ask() for ask in asked]] * 4))
        elif kind == "postgres":
            put(f"latest of {wide * 8}, ms", server, median_ms([server.latest_all] * 4))
            put(name, server, median_ms([server.last_hour(hour, now)] * 4))
        else:
            put(f"latest of {wide * 8}, ms", server, median_ms([server.latest_all] * 3))
            asked = [server.query(f"SELECT mean(value) FROM {q} WHERE time >= {hour}ms AND time < {now}ms GROUP BY district") for q in quantities]
            put(name, server, median_ms([lambda: [ask() for ask in asked]] * 4))
        if kind == "onemap":
            server.process.kill()
            server.process.wait()
            server.connection = None
            began = time.monotonic()
            server.start()
            put("open after kill -9, s", server, time.monotonic() - began)
        server.stop()
        server.remove()


def million(folder, minutes, rows):
    """Set C. Its files take 55 MB a minute; each is gone when it has been sent."""
    stations, name = 125_000, "set C"
    server = Onemap(folder, stations)
    rows["set C: RSS with all devices registered, MiB"] = {server.name: server.rss()}
    files, n = data_set(folder / "set-c", int(time.time() * 1000), stations, minutes, 0, 0)
    most, cpu, began, longest = 0.0, server.cpu(), time.monotonic(), 0.0
    of_minute = 8 * stations // 10_000
    for at in range(0, len(files), of_minute):
        some = files[at:at + of_minute]
        longest = max(longest, server.write(some))
        most = max(most, server.rss())
        for file in some:
            file.unlink()
        print(f"{server.name}: {name} minute {at // of_minute + 1}, RSS {server.rss():.0f} MiB, longest answer {longest:.0f} ms", flush=True)
    server.settle()
    wall, spent = time.monotonic() - began, server.cpu() - cpu
    most = max(most, server.rss())
    for what, value in [("CPU ns a point", spent * 1e9 / n), ("points a second", n / wall), ("longest answer, ms", longest), ("largest RSS, MiB", most), ("RSS, MiB", server.rss()),
                        ("bytes of RSS a series", server.rss() * 2**20 / (8 * stations))]:
        rows[f"{name}: {what}"] = {server.name: value}
    server.process.kill()
    server.process.wait()
    server.connection = None
    began = time.monotonic()
    server.start()
    rows[f"{name}: open after kill -9, s"] = {server.name: time.monotonic() - began}
    rows[f"{name}: RSS when opened again, MiB"] = {server.name: server.rss()}
    server.stop()


# What is to be reached: of onemap alone at most so much, or of the peer's figure divided by onemap's at least so much.
AT_MOST = {
    "bytes a point in chunks, live": 1.45,
    "bytes a point in chunks, rewritten": 1.26,
    "set A: longest answer, ms": 100,
    "set B: longest answer, ms": 100,
    "set C: longest answer, ms": 100,
    "set C: largest RSS, MiB": 1229,
    "set C: open after kill -9, s": 5,
    "open after kill -9, s": 5,
}
AHEAD_BY = {
    "set A: CPU ns a point": 2,
    "one series, 24 h, ms": 3,
    "one series, 30 d by 1 h, ms": 3,
    "1000 series, 24 h by 1 h by division, ms": 2,
    "1000 series, 24 h by 1 h by division, ms (before care)": 1,
    "latest of 200000, ms": 50,
}
# Of these no peer may be ahead.
AHEAD_OF_ALL = ["one series, 1 y by 1 d, ms", "last hour of 200000 series by division, ms"]


def table(rows):
    names = ["onemap", "VictoriaMetrics", "InfluxDB 1", "PostgreSQL"]
    machine = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} x {machine}\n\n| | {' | '.join(names)} | VictoriaMetrics / onemap | target | |\n|---|{'---|' * 7}")

    def show(value):
        return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"

    for name, values in rows.items():
        own = values.get("onemap")
        # What is asked before care has no other peer's figure than that of the same question.
        peer = values.get(names[1]) or rows.get(name.removesuffix(" (before care)"), {}).get(names[1])
        ratio = peer / own if own and peer and not name.endswith("points a second") else None
        target = holds = ""
        if name in AT_MOST and own:
            target, holds = f"≤ {AT_MOST[name]}", own <= AT_MOST[name]
        elif name in AHEAD_OF_ALL and own and len(values) > 1:
            least = min(value / own for peer, value in values.items() if peer != "onemap")
            target, holds = "≥ 1x, every peer", least >= 1
        elif name in AHEAD_BY and ratio:
            target, holds = f"≥ {AHEAD_BY[name]}x", ratio >= AHEAD_BY[name]
        said = {True: "holds", False: "falls short", "": ""}[holds]
        print(f"| {name} | " + " | ".join(show(values.get(n)) for n in names) + f" | {f'{ratio:.2f}x' if ratio else ''} | {target} | {said} |")


if __name__ == "__main__":
    main()
