#!/usr/bin/env python3
"""A history that is written to for an hour, days and weeks ending meanwhile: memory and disk stay where they belong.

100,000 series (12,500 devices of eight quantities) get a value each two seconds by line protocol over HTTP, evenly
paced: 50,000 points a second, each acknowledged once it is durable. Retention counts days, so the server's wall clock
runs SPEED (1200) times as fast (fast_clock.c; its monotonic clock does not): an hour is 50 days, the cadence forty
minutes. Stamps are of that clock and never ahead of it. Days close each 72 s and are packed and rolled up each ten
minutes, as care does it. Half of the quantities are kept for 7 days (they go row by row), the others for 14 (then the
week goes whole), hours as long as values; values go by whole weeks, so each 8.4 minutes there is something to let go.
The journal keeps what KEEP_HOURS says.

What is checked:
- nothing lost, nothing twice: the count of every quantity, by the hour over all devices, is what was acknowledged, from
  the time on that its class is kept; of one device in 250 every value and its time; `history verify` finds no fault;
- memory: the median RSS of the last quarter is at most 1.10 times that of the second, and 16 MiB, and what the gap ledger
  has for more days by then (it keeps 40). Told beside it: the RSS of a server that is started on the same folder then,
  which is what the data needs without what the allocator has kept;
- disk: the largest it ever was, and what it is at the end, are at most what is predicted;
- values were let go, and the oldest week's keyspace with them.

    tests/proof/soak.py [--minutes 60] [--rate 50000] [--speed 1200] [--keep]
"""
import argparse
import collections
import datetime
import http.client
import json
import os
import pathlib
import queue
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time

from outside import BIN, ROOT, Server, size_mib, until

#: Of a class that keeps seven days, and of one that keeps fourteen.
SHORT = ["temperature", "humidity", "noise_laeq", "co2"]
LONG = ["pm2_5", "pm10", "water_level", "voltage"]
QUANTITIES = SHORT + LONG
#: Real seconds between two values of a series, and pieces it is cut into.
CADENCE_S = 2
N_TICKS = 20
TICK_S = CADENCE_S / N_TICKS
N_WORKERS = 4
#: Of the server's clock: four days, less than five minutes at a speed of 1200.
KEEP_HOURS = 96
SEGMENT_BYTES = 32 << 20
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
N_VALUES = 4096
SAMPLE_S = 10
#: What disk is predicted from: bytes of a point in fresh chunks of 60, in those that care made of a week, of a row of
#: hours by series and day (a third of it for rows that are removed and not merged away yet), of a series' head and what
#: it grew by; packed bytes of a byte of the journal.
FRESH, DENSE, ROLLUP, HEAD, PACKED = 3.5, 2.1, 160.0, 400.0, 0.45
#: Care comes this often after it has ended (`EVERY` in src/care.rs), and takes this for a day of a series: 75 us where
#: four servers shared two cores, 180 to 250 us under compilers. What is due to go waits for the care that is under way,
#: the pause and the next care; then the floor is raised, series forget and rows go, a checkpoint between each two.
CARE_EVERY_S, CARE_OF_DAY_S, GOING_S = 600, 150e-6, 100

#: Memory of a device's day in the gap ledger, and days that it keeps.
LEDGER_BYTES, LEDGER_DAYS = 150, 40

CONFIG = """
[http]
listen = "127.0.0.1:0"
[mqtt]
listen = "127.0.0.1:0"
[journal]
segment_bytes = {segment}
keep_hours = {keep}
[history.retention]
raw_days = 14
rollup_days = 14
[[history.retention.class]]
name = "short"
quantities = {short}
raw_days = 7
rollup_days = 7
"""


def walks(seed):
    """Of each quantity a walk that ends where it begins."""
    chance = random.Random(seed)
    found = {}
    for name, first, decimals, step in [("temperature", 200, 1, 1), ("humidity", 450, 1, 3), ("noise_laeq", 550, 1, 30), ("co2", 440, 0, 6),
                                        ("pm2_5", 350, 1, 15), ("pm10", 700, 1, 15), ("water_level", 1200, 2, 2), ("voltage", 2300, 1, 8)]:
        steps = [chance.randint(-step, step) for _ in range(N_VALUES // 2)]
        value, walk = first, []
        for move in steps + [-s for s in reversed(steps)]:
            value = min(max(value + move, first // 2), first * 2)
            walk.append(value / 10**decimals)
        found[name] = walk
    return found


class Load:
    """What is sent when: known by itself, so that every value can be told again at the end."""

    def __init__(self, rate, speed, base_s):
        self.n_devices = round(rate * CADENCE_S / len(QUANTITIES) / N_TICKS) * N_TICKS
        self.speed, self.base_s = speed, base_s
        self.walks = walks("soak")
        self.fields = [",".join(f"{q}={self.walks[q][i]}" for q in QUANTITIES) for i in range(N_VALUES)]
        # Neighbours of one group are sent together; each group has its own connection, so a device's stamps ascend.
        self.groups = [range(g, self.n_devices, N_TICKS) for g in range(N_TICKS)]
        self.tick_ms = round(TICK_S * 1000) * speed

    def stamp(self, device, tick):
        """Half of the devices are up to two seconds late by their own clock."""
        late = (device * 7919 + tick * 104_729) % 2000 if device & 1 else 0
        return round(self.base_s * 1000) + tick * self.tick_ms + late

    def value(self, quantity, device, tick):
        return self.walks[quantity][(tick // N_TICKS + 37 * device) % N_VALUES]

    def body(self, tick):
        k, fields = tick // N_TICKS, self.fields
        lines = [f"s,device=soak-{d:05} {fields[(k + 37 * d) % N_VALUES]} {self.stamp(d, tick)}" for d in self.groups[tick % N_TICKS]]
        return "\n".join(lines).encode()

    def ticks_of(self, device, ticks):
        """Of a span of ticks that begins with the first group's."""
        return range(ticks[0] + device % N_TICKS, ticks[1], N_TICKS)

    def count_by_hour(self, ticks, since):
        count = collections.Counter()
        for device in range(self.n_devices):
            count.update(at // HOUR_MS for tick in self.ticks_of(device, ticks) if (at := self.stamp(device, tick)) >= since)
        return count


class Writer(threading.Thread):
    """One connection: bodies in order, each until it is acknowledged."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.queue = server, queue.Queue()
        self.took, self.n_waits, self.fault = [], 0, None
        self.n_bytes = 0
        self.start()

    def run(self):
        host, port = self.server.http.removeprefix("http://").rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        head = {"authorization": f"Bearer {self.server.token}"}
        while (body := self.queue.get()) is not None:
            began = time.monotonic()
            try:
                while True:
                    connection.request("POST", "/api/v2/write?precision=ms", body, head)
                    answer = connection.getresponse()
                    said = answer.read()
                    if answer.status == 204:
                        break
                    if answer.status not in (429, 503):
                        raise RuntimeError(f"{answer.status} {said[:400]!r}")
                    self.n_waits += 1
                    time.sleep(min(float(answer.getheader("retry-after") or 1), 5))
            except Exception as fault:  # noqa: BLE001: told by the main thread
                self.fault = fault
                return
            self.took.append(time.monotonic() - began)
            self.n_bytes += len(body)


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the server is gone")


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stolen_s():
    """What the machine was busy with in all."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def rfc3339(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ms_of(text):
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def kept_from(server, device, quantity, first_ms, last_ms):
    """Series, and from when on it is kept; the begin when nothing of it was let go."""
    series = server.ask(f"/api/v1/series?device={device}&quantity={quantity}")["items"][0]["id"]
    page = server.ask(f"/api/v1/series/{series}/values?from={rfc3339(first_ms)}&to={rfc3339(last_ms)}&limit=1")
    return series, ms_of(page["kept_from"]) if page.get("kept_from") else first_ms


def wrong_counts(server, expected, quantity, since, last_ms):
    """How many stand from a time on, and the hours whose count over all devices is not what was acknowledged."""
    found = collections.Counter()
    at = since // HOUR_MS * HOUR_MS
    while at < last_ms:
        to = at + 96 * HOUR_MS
        answer = server.ask(f"/api/v1/aggregate?quantity={quantity}&group_by=none&from={rfc3339(at)}&to={rfc3339(to)}&step=1h&agg=count")
        for group in answer["groups"]:
            for item in group["items"]:
                found[ms_of(item["t"]) // HOUR_MS] += item["n"]
        at = to
    hours = {hour for hour in expected | found if expected[hour] != found[hour]}
    return sum(found.values()), {hour: (expected[hour], found[hour]) for hour in sorted(hours)}


def wrong_values(server, load, ticks, device, quantity, first_ms, last_ms):
    stamps = [(load.stamp(device, t), load.value(quantity, device, t)) for t in load.ticks_of(device, ticks)]
    since = None
    while (floor := kept_from(server, f"soak-{device:05}", quantity, first_ms, last_ms)) != since:
        since = floor
        expected = [(at, value) for at, value in stamps if at >= since[1]]
        window = f"from={rfc3339(since[1])}&to={rfc3339(last_ms)}&revisions=true"
        found = [(ms_of(i["t"]), i["v"]) for i in server.items(f"/api/v1/series/{since[0]}/values?{window}")]
    return len(expected), sum(a != b for a, b in zip(expected, found)) + abs(len(expected) - len(found))


def predicted_mib(load, args, minutes, body_bytes):
    """Journal and history at most, of what the load and the configuration say."""
    rate = load.n_devices * len(QUANTITIES) / CADENCE_S
    journal_s = KEEP_HOURS * 3600 / args.speed
    # What is to be kept, packed; what waits to be packed and released, as it came: four segments and 30 s.
    journal = rate * body_bytes * min(journal_s, 60 * minutes) * PACKED + 4 * SEGMENT_BYTES + 30 * rate * body_bytes
    # A class has its days, up to eight more, and what comes late by care.
    days = 60 * minutes * args.speed / 86_400
    days_a_s = args.speed / 86_400
    n_series = load.n_devices * len(QUANTITIES)
    care_s = CARE_EVERY_S / (1 / (n_series * days_a_s * CARE_OF_DAY_S) - 1)
    late = (care_s + CARE_EVERY_S + care_s + GOING_S) * days_a_s
    uncared = (CARE_EVERY_S + care_s) * days_a_s
    a_day = rate * 86_400 / args.speed / 2
    held = min(days, 7 + 8 + late) + min(days, 14 + 8 + late)
    points = a_day * held
    fresh = min(points, 2 * a_day * (uncared + 7))
    rollups = n_series / 2 * held * ROLLUP
    chunks = fresh * FRESH + (points - fresh) * DENSE
    # Tables that are being replaced stand twice: those of one week, fresh.
    twice = min(points, 2 * a_day * 7) * FRESH
    return {"journal": journal / 2**20, "history": (chunks + rollups + twice + n_series * HEAD) / 2**20 + 128}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=50_000, help="points a second")
    parser.add_argument("--speed", type=int, default=1200, help="of the server's wall clock")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    args = parser.parse_args()
    work = pathlib.Path(os.environ.get("PROOF_DIR", ROOT / "proof-work")) / "soak"
    shutil.rmtree(work, ignore_errors=True)
    data = work / "data"
    data.mkdir(parents=True)
    clock = work / "fast_clock.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", clock, pathlib.Path(__file__).parent / "fast_clock.c", "-ldl"], check=True)
    (data / "onemap.toml").write_text(CONFIG.format(segment=SEGMENT_BYTES, keep=KEEP_HOURS, short=json.dumps(SHORT)))
    base_ns = time.time_ns()
    load = Load(args.rate, args.speed, base_ns / 1e9)
    env = {"LD_PRELOAD": str(clock), "FAST_CLOCK": f"{base_ns} {args.speed}"}
    server = Server(data, {**env, "ONEMAP_LOG": "info"})
    try:
        ok = soak(server, load, args, data, base_ns, env)
    finally:
        if server.process.poll() is None:
            server.kill()
    if not args.keep and ok:
        shutil.rmtree(work)
    sys.exit(0 if ok else 1)


def register(server, load, speed):
    cadence = CADENCE_S * speed
    rows = "".join(f"soak-{i:05},air_station,630102{i % 50:03},{cadence}\n" for i in range(load.n_devices))
    status, said = server.raw("POST", "/api/v1/devices/import", ("id,kind,division,cadence_s\n" + rows).encode(), "text/csv")
    if status != 200 or json.loads(said)["refused"]:
        sys.exit(f"devices: {status} {said[:400]}")


def soak(server, load, args, data, base_ns, env):
    register(server, load, args.speed)
    server.caught_up()
    pid = server.process.pid
    # The first tick lies behind the devices' registration.
    first_tick = int((time.time_ns() - base_ns) / 1e9 / TICK_S / N_TICKS + 1) * N_TICKS
    n_ticks = first_tick + round(60 * args.minutes / TICK_S)
    writers = [Writer(server) for _ in range(N_WORKERS)]
    samples, behind, body_bytes = [], 0.0, None
    cpu, busy, began = cpu_s(pid), stolen_s(), time.monotonic()
    next_sample = began + SAMPLE_S
    for tick in range(first_tick, n_ticks):
        body = load.body(tick)
        body_bytes = body_bytes or len(body) / (len(load.groups[0]) * len(QUANTITIES))
        due = base_ns / 1e9 + (tick + 1) * TICK_S
        wait = due - time.time()
        if wait > 0:
            time.sleep(wait)
        behind = max(behind, -wait)
        writers[tick % N_WORKERS].queue.put(body)
        if any(writer.fault for writer in writers):
            raise RuntimeError(f"a write failed: {[w.fault for w in writers]}")
        if time.monotonic() >= next_sample:
            next_sample += SAMPLE_S
            sample = {"s": round(time.monotonic() - began), "rss": rss_mib(pid), "journal": size_mib(data / "journal"), "history": size_mib(data / "history"),
                      "all": size_mib(data), "waiting": sum(w.queue.qsize() for w in writers), "load": os.getloadavg()[0]}
            samples.append(sample)
            print("sample", json.dumps(sample), file=sys.stderr, flush=True)
    for writer in writers:
        writer.queue.put(None)
    for writer in writers:
        writer.join(300)
    ended = time.monotonic()
    if any(w.fault or w.is_alive() for w in writers):
        raise RuntimeError(f"a write failed: {[w.fault for w in writers]}")
    cpu, busy = cpu_s(pid) - cpu, stolen_s() - busy
    server.caught_up()
    until("the last checkpoint", 60, lambda: max(v for n, v in server.metrics().items() if n.startswith("onemap_checkpoint_lag_records")) <= 30)
    took = sorted(t for w in writers for t in w.took)
    n_points = (n_ticks - first_tick) * len(load.groups[0]) * len(QUANTITIES)
    minutes = (ended - began) / 60
    print(f"{minutes:.1f} minutes, {n_points:,} points of {load.n_devices * len(QUANTITIES):,} series acknowledged, {n_points / (ended - began):,.0f} a second;"
          f" the server's wall clock {args.speed} times as fast: {minutes * 60 * args.speed / 86_400:.1f} days of values")
    print(f"acknowledgements: {len(took):,} requests, median {1000 * took[len(took) // 2]:.0f} ms, 99 of 100 within {1000 * took[len(took) * 99 // 100]:.0f} ms,"
          f" longest {1000 * took[-1]:.0f} ms; asked to wait {sum(w.n_waits for w in writers)} times; the sender was behind its pace by {1000 * behind:.0f} ms at most")
    print(f"CPU: the server {cpu / (ended - began):.2f} cores, {cpu * 1e9 / n_points:,.0f} ns a point; the machine in all {busy / (ended - began):.2f} of {os.cpu_count()};"
          f" load average, median {statistics.median(s['load'] for s in samples):.1f}, at most {max(s['load'] for s in samples):.1f}")
    print("RSS each two minutes, MiB:", ", ".join(f"{s['rss']:.0f}" for s in samples[11::12]))
    ok = memory(samples, load, args) & disk(samples, load, args, minutes, body_bytes, data)
    return kept(server, load, (first_tick, n_ticks), args) & verify(server, data, env) & ok


def memory(samples, load, args):
    if len(samples) < 4:
        sys.exit("too short a run for quarters")
    quarters = [samples[i * len(samples) // 4:(i + 1) * len(samples) // 4] for i in range(4)]
    medians = [statistics.median(s["rss"] for s in quarter) for quarter in quarters]
    second, last = (min(statistics.median(s["s"] for s in quarters[i]) * args.speed / 86_400, LEDGER_DAYS) for i in (1, 3))
    bound = 1.10 * medians[1] + 16 + (last - second) * load.n_devices * LEDGER_BYTES / 2**20
    print(f"memory: RSS by quarter, median {', '.join(f'{m:.0f}' for m in medians)} MiB, largest {max(s['rss'] for s in samples):.0f};"
          f" the last may be {bound:.0f}: {'flat' if medians[3] <= bound else 'GROWS'}")
    return medians[3] <= bound


def disk(samples, load, args, minutes, body_bytes, data):
    ok = True
    for name, predicted in predicted_mib(load, args, minutes, body_bytes).items():
        quarters = [samples[i * len(samples) // 4:(i + 1) * len(samples) // 4] for i in range(4)]
        largest, last = max(s[name] for s in samples), size_mib(data / name)
        fits = largest <= predicted
        ok &= fits
        print(f"disk, {name}: predicted at most {predicted:.0f} MiB, largest {largest:.0f}, at the end {last:.0f}; largest by quarter"
              f" {', '.join(f'{max(s[name] for s in q):.0f}' for q in quarters)}: {'as predicted' if fits else 'MORE'}")
    print(f"disk, all else: {size_mib(data) - size_mib(data / 'journal') - size_mib(data / 'history'):.1f} MiB")
    return ok


def kept(server, load, ticks, args):
    """Everything that is to be there is, once."""
    first_ms, last_ms = load.stamp(0, ticks[0]), load.stamp(0, ticks[1]) + 2000
    n_expected = n_found = n_wrong_hours = 0
    floors, expected = {}, {}
    for quantity in QUANTITIES:
        since = None
        # The clock goes on: what is let go while it is counted is counted again.
        while (floor := kept_from(server, "soak-00000", quantity, first_ms, last_ms)[1]) != since:
            since = floors[quantity] = floor
            if since not in expected:
                expected[since] = load.count_by_hour(ticks, since)
            found, wrong = wrong_counts(server, expected[since], quantity, since, last_ms)
        n_expected, n_found, n_wrong_hours = n_expected + sum(expected[since].values()), n_found + found, n_wrong_hours + len(wrong)
        if wrong:
            print(f"{quantity}: {len(wrong)} hours are WRONG, acknowledged and found: {list(wrong.items())[:10]}")
    print(f"kept by count: {n_expected:,} acknowledged points from kept_from on, {n_found:,} found, {n_wrong_hours} hours wrong;"
          f" written from {rfc3339(first_ms)[:16]} to {rfc3339(last_ms)[:16]}, kept those of 7 days from {rfc3339(floors[SHORT[0]])[:16]}, of 14 days from {rfc3339(floors[LONG[0]])[:16]}")
    n_values = n_wrong = 0
    devices = range(0, load.n_devices, 250)
    for device in devices:
        for quantity in QUANTITIES:
            n, wrong = wrong_values(server, load, ticks, device, quantity, first_ms, last_ms)
            n_values, n_wrong = n_values + n, n_wrong + wrong
    print(f"kept by value: {n_values:,} values with their times of {len(devices) * len(QUANTITIES)} series, {n_wrong} wrong")
    # A class had this to let go when care looked for the last time but one.
    looked = last_ms - 1300 * args.speed * 1000
    for name, days in (SHORT[0], 7), (LONG[0], 14):
        due = (looked - (24 * days + 16) * HOUR_MS) // WEEK_MS * WEEK_MS + 16 * HOUR_MS
        if due > max(first_ms, floors[name]):
            print(f"retention LAGS: {name} is to be gone before {rfc3339(due)}")
            n_wrong += 1
    return not n_wrong_hours and not n_wrong and n_expected > 0


def verify(server, data, env):
    server.stop()
    again = Server(data, {**env, "ONEMAP_LOG": "warn"})
    again.caught_up()
    time.sleep(10)
    print(f"memory: a server started on the same folder has {rss_mib(again.process.pid):.0f} MiB")
    again.stop()
    done = subprocess.run([BIN / "onemap", "--json", "--data-dir", data, "--config", data / "onemap.toml", "history", "verify"],
                          stdout=subprocess.PIPE, env={**os.environ, **env})
    text = done.stdout.decode().strip()
    print(f"history verify: exit {done.returncode}, {text[:600]}")
    stat = subprocess.run([BIN / "onemap", "--json", "--data-dir", data, "--config", data / "onemap.toml", "history", "stat"],
                          stdout=subprocess.PIPE, env={**os.environ, **env})
    if stat.returncode == 0:
        stat = json.loads(stat.stdout)
        weeks = "; ".join(f"{w['keyspace']} {w['class']} {w['points']:,} points {w['bytes'] / max(w['points'], 1):.2f} B" for w in stat["weeks"])
        print(f"history stat: {stat['points']:,} points, {stat['disk_bytes'] / 2**20:.0f} MiB, {stat['rollups']:,} rollups {stat['rollup_bytes'] / 2**20:.0f} MiB; {weeks}")
    return done.returncode == 0


main()
