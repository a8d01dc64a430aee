#!/usr/bin/env python3
"""kill -9 of the server in the middle of what the history does: nothing acknowledged is missing, nothing stands twice.

One data folder takes every round. Six connections write line protocol as fast as it is acknowledged: new values of now,
values of days long closed (they make care's work), and blocks for weeks up to a year ago (they are what is let go).
Each round aims its kill:
- checkpoint: a moment after the engine's log is seen being written;
- sealing: the same, for a checkpoint after heads got their 240th point, so that it turns heads into chunks;
- care: the server is stopped and started with days due, and killed before its first pass of care is over;
- letting go: it is stopped, its retention made shorter by weeks and started; killed after it said which floors are to rise
  (the next checkpoint raises them, the next pass shortens series), or after it shortened series (the next pass drops
  weeks and removes rows);
- random: 0.3 to 1 s after the load began.
All six write at full rate for at most BURST_S, since more is acknowledged than two shared cores fold meanwhile; while a
moment is still waited for the first goes on alone, ten requests a second.
What a kill did hit is told afterwards by the server's log and the times of its files. After each: start, catch up, compare
values and times of random series with what was acknowledged, write again what was not, as a client would, and compare the
count of every quantity over all devices, exactly. At the end every value and time of every series, `history verify`, and
no revision (a point written again is the same point). What was acknowledged is in memory only: a run goes to its end or
begins anew.

    tests/proof/history_kills.py [--rounds 50] [--minutes 40] [--seed 1]
"""
import argparse
import collections
import datetime
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time

from outside import BIN, ROOT, Server, now_ms, size_mib, until

SHORT = ["temperature", "humidity", "noise_laeq", "co2"]
LONG = ["pm2_5", "pm10", "water_level", "voltage"]
QUANTITIES = SHORT + LONG
FIELDS = [f"temperature={20 + i % 97 / 10},humidity={40 + i % 41},noise_laeq={50 + i % 211 / 10},co2={400 + i % 173},"
          f"pm2_5={30 + i % 59},pm10={60 + i % 89},water_level={12 + i % 31 / 100},voltage={220 + i % 67 / 10}" for i in range(4096)]
VALUES = [dict((k, float(v)) for k, v in (field.split("=") for field in text.split(","))) for text in FIELDS]
BY_QUANTITY = {q: [row[q] for row in VALUES] for q in QUANTITIES}
MINUTE_MS, DAY_MS = 60_000, 86_400_000
WEEK_MS, TO_MIDNIGHT_MS = 7 * DAY_MS, 16 * 3_600_000
N_CONNECTIONS, N_DEVICES = 6, 200
#: Points after which a head becomes a chunk.
CHUNK = 240
CHECKPOINT_S = 1
BURST_S = 1.0
#: From one pass of letting go to the next: a checkpoint, and a second.
PASS_S = CHECKPOINT_S + 1
#: Of the short class at first, and how many fewer each time that something is to go.
RAW_DAYS, LESS_DAYS = 380, 21
#: How many more the others are kept.
MORE_DAYS = 14
MAX_DISK_MIB = 5 * 1024
KINDS = ["sealing", "care", "letting go", "checkpoint", "random"]

CONFIG = """
[http]
listen = "127.0.0.1:0"
[mqtt]
listen = "127.0.0.1:0"
[journal]
segment_bytes = 16777216
[ingest]
live_max_age_days = 400
[history]
checkpoint_seconds = {checkpoint}
[history.retention]
raw_days = {long_days}
[[history.retention.class]]
name = "short"
quantities = {short}
raw_days = {raw_days}
"""


def floor_of(raw_days):
    """Where values that are kept for so many days begin: at a week's first midnight in Beijing."""
    return (now_ms() - raw_days * DAY_MS - TO_MIDNIGHT_MS) // WEEK_MS * WEEK_MS + TO_MIDNIGHT_MS


def index(device, at):
    return (at // 977 + 37 * device) % 4096


def rfc3339(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ms_of(text):
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


class Block:
    """Stamps of several devices, each with all quantities: one request."""

    def __init__(self, devices, stamps):
        self.devices, self.stamps = devices, stamps

    def body(self):
        return "\n".join(f"s,device=kill-{d:03} {FIELDS[index(d, at)]} {at}" for at in self.stamps for d in self.devices).encode()


class Writer:
    """One connection's devices, what it has had acknowledged, and what it does not know of."""

    def __init__(self, number, began_ms):
        mine = range(number, N_DEVICES, N_CONNECTIONS)
        self.past, self.live = mine[::2], mine[1::2]
        self.next_past = began_ms // MINUTE_MS * MINUTE_MS - 25 * DAY_MS
        self.last_live = 0
        self.in_week = collections.Counter()
        self.acked, self.unknown = [], None
        self.n_sent = 0
        self.n_live = self.n_past = 0
        self.fault, self.pause_s = None, 0

    def next_block(self, floor):
        """One of ten for a week of the past, four for closed days, five for now."""
        self.n_sent += 1
        turn = self.n_sent % 10
        if turn == 9:
            week = floor + self.n_sent // 10 % 5 * WEEK_MS
            while self.in_week[week] >= 45:
                week += WEEK_MS
            first = week + self.in_week[week] * 200 * MINUTE_MS
            self.in_week[week] += 1
            if week < now_ms() - 40 * DAY_MS:
                return Block(self.live, range(first, first + 200 * MINUTE_MS, 5 * MINUTE_MS))
        if turn % 2 and self.next_past < now_ms() - DAY_MS:
            first, self.next_past = self.next_past, self.next_past + 30 * MINUTE_MS
            return Block(self.past, range(first, self.next_past, MINUTE_MS))
        first = max(self.last_live + 1, now_ms() - 30)
        self.last_live = first + 29
        # Never ahead of the clock by more than what a fast connection gains.
        return Block(self.live, range(first, first + 30))

    def run(self, server, floor, stop):
        """Until the server is gone or it is told to stop; what was not acknowledged is `unknown`."""
        host, port = server.http.removeprefix("http://").rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        while not stop.is_set():
            block = self.next_block(floor)
            self.unknown = block
            try:
                self.send(connection, server.token, block)
                stop.wait(self.pause_s)
            except (OSError, http.client.HTTPException):
                break
            except RuntimeError as fault:
                self.fault = fault
                break
        connection.close()

    def send(self, connection, token, block):
        while True:
            connection.request("POST", "/api/v2/write?precision=ms", block.body(), {"authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 204:
                self.acked.append(block)
                self.unknown = None
                if len(block.stamps) == 30:
                    is_live = block.devices is self.live
                    self.n_live, self.n_past = self.n_live + 30 * is_live, self.n_past + 30 * (not is_live)
                return
            if answer.status not in (429, 503):
                raise RuntimeError(f"{answer.status} {said[:500]!r}")
            time.sleep(0.05)

    def n_sealed(self):
        """Heads of each of its devices' series that are full by what was acknowledged."""
        return self.n_live // CHUNK + self.n_past // CHUNK


class Log:
    """What the server says, line by line."""

    def __init__(self, path):
        self.path, self.at = path, 0

    def begin(self):
        self.at = self.path.stat().st_size if self.path.exists() else 0

    def lines(self):
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.at)
            return file.read().decode(errors="replace").splitlines()

    def passes(self):
        """Passes of care that have ended, and what letting go said, in order."""
        ended, gone = 0, []
        for line in self.lines():
            if "closed days are packed" in line:
                ended += 1
            elif "past their retention" in line:
                gone.append({k: int(v) for k, v in (word.split("=") for word in line.split() if "=" in word)} | {"at": ms_of(line.split()[0])})
        return ended, gone


class Proof:
    def __init__(self, work, seed):
        self.work, self.data, self.chance = work, work / "data", random.Random(seed)
        self.data.mkdir(parents=True)
        self.raw_days = RAW_DAYS
        self.log = Log(work / "log")
        self.care_s = 1.0
        self.writers = [Writer(n, now_ms()) for n in range(N_CONNECTIONS)]
        self.server = self.start()
        rows = "".join(f"kill-{i:03},air_station,630102{i % 50:03},60\n" for i in range(N_DEVICES))
        status, said = self.server.raw("POST", "/api/v1/devices/import", ("id,kind,division,cadence_s\n" + rows).encode(), "text/csv")
        if status != 200 or json.loads(said)["refused"]:
            sys.exit(f"devices: {status} {said[:400]}")

    def start(self):
        (self.data / "onemap.toml").write_text(CONFIG.format(checkpoint=CHECKPOINT_S, short=json.dumps(SHORT), raw_days=self.raw_days, long_days=self.raw_days + MORE_DAYS))
        self.log.begin()
        with self.log.path.open("ab") as log:
            server = Server(self.data, {"ONEMAP_LOG": "warn,onemap=info"}, log=log)
        self.ready_at = time.monotonic()
        return server

    def since(self, quantity):
        return floor_of(self.raw_days if quantity in SHORT else self.raw_days + MORE_DAYS)

    def log_written(self):
        """When the engine's log was written last, ns."""
        times = [0]
        for name in os.listdir(self.data / "history"):
            if name.endswith(".jnl"):
                try:
                    times.append(os.stat(self.data / "history" / name).st_mtime_ns)
                except FileNotFoundError:
                    pass  # cut back meanwhile
        return max(times)

    def all_folded(self):
        """Waits until every record that is durable now is in the history; `Server.caught_up` leaves one out."""
        durable = self.server.metrics()["onemap_journal_durable_position"]

        def is_folded():
            metrics = self.server.metrics()
            return metrics["onemap_journal_durable_position"] - metrics['onemap_cursor_lag_records{projection="views"}'] >= durable

        until("the pipeline to catch up", 180, is_folded)

    def load(self):
        stops = [threading.Event() for _ in self.writers]
        threads = [threading.Thread(target=w.run, args=(self.server, floor_of(self.raw_days), stop), daemon=True) for w, stop in zip(self.writers, stops)]
        for writer, thread in zip(self.writers, threads):
            writer.pause_s = 0
            thread.start()
        return threads, stops

    def ease(self, load):
        """After the burst."""
        self.writers[0].pause_s = 0.1
        for stop in load[1][1:]:
            stop.set()

    def unload(self, load):
        threads, stops = load
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(90)
        faults = [str(w.fault) for w in self.writers if w.fault]
        if faults or any(t.is_alive() for t in threads):
            sys.exit(f"writing failed: {faults}")

    def aim(self, kind):
        """Loads, and comes back at the moment to kill."""
        chance = self.chance
        if kind in ("care", "letting go"):
            # Days that are due, and everything acknowledged: then a start that finds work at once.
            load = self.load()
            time.sleep(0.5)
            self.unload(load)
            self.server.stop()
            if kind == "letting go":
                self.raw_days -= LESS_DAYS
            self.server = self.start()
            if kind == "care":
                wait = chance.uniform(0.05, 0.9) * self.care_s
                load = self.load()
                time.sleep(min(wait, BURST_S))
                self.ease(load)
                time.sleep(max(wait - BURST_S, 0))
                return load
            n = chance.choice([1, 2, 2])
            end = time.monotonic() + 25
            while time.monotonic() < end and len(self.log.passes()[1]) < n:
                time.sleep(0.01)
            wait = PASS_S + chance.uniform(-0.02, 0.4)
            wait = chance.choice([wait, chance.uniform(0.1, PASS_S)]) if n == 1 else wait
            time.sleep(max(wait - BURST_S, 0))
            load = self.load()
            time.sleep(min(wait, BURST_S))
            return load
        load = self.load()
        began, burst = time.monotonic(), chance.uniform(0.3, BURST_S)
        if kind == "random":
            time.sleep(burst)
            return load
        # Not the first write after the load began, which may hold nothing of it.
        seen, sealed = self.log_written(), None
        while time.monotonic() < began + 15:
            written = self.log_written()
            if written != seen:
                is_sealing = sealed is not None and self.n_sealed() > sealed
                self.sealed_at_write = self.n_sealed() if sealed is None else sealed
                seen, sealed = written, self.n_sealed()
                if time.monotonic() > began + 0.3 and (kind == "checkpoint" or is_sealing):
                    time.sleep(chance.choice([0, 0.005, 0.02, 0.05]))
                    return load
            if time.monotonic() > began + burst:
                self.ease(load)
            time.sleep(0.001)
        return load

    def n_sealed(self):
        return sum(w.n_sealed() for w in self.writers)

    def hit(self, kind, killed_ns, sealed_before):
        """What the server was doing when it was killed, as far as its log and files tell."""
        ended, gone = self.log.passes()
        found = []
        if gone and not any(g["weeks"] or g["rows"] for g in gone):
            is_in_pass = killed_ns / 1e6 - gone[-1]["at"] >= PASS_S * 1000
            if any(g["series"] for g in gone):
                found.append("letting go: removing" if is_in_pass else "letting go: between two passes")
            else:
                found.append("letting go: shortening" if is_in_pass else "letting go: raising floors")
        elif kind in ("care", "letting go") and not ended:
            # It began with days due, and says so when the pass has ended.
            found.append("care")
        # A batch is written and synced within this.
        if killed_ns - self.log_written() < 60_000_000:
            found.append("checkpoint with sealing" if self.n_sealed() > sealed_before else "checkpoint")
        return found or ["nothing of these"]

    def round(self, number, kind):
        n_before, self.sealed_at_write = sum(len(w.acked) for w in self.writers), self.n_sealed()
        load = self.aim(kind)
        killed_ns, since_ready = time.time_ns(), time.monotonic() - self.ready_at
        self.server.process.kill()
        self.server.process.wait()
        self.unload(load)
        hit = self.hit(kind, killed_ns, self.sealed_at_write)
        n_requests = sum(len(w.acked) for w in self.writers) - n_before
        usual_care_s = self.care_s
        self.server = self.start()
        opened, behind = self.server.opened_after, self.server.lag()
        self.all_folded()
        caught_up = time.monotonic() - self.server.start
        missing, twice, n_read = self.compare_some()
        n_again = self.write_again()
        wrong = self.compare_counts()
        self.note_care()
        return {"round": number, "kind": kind, "hit": hit, "requests": n_requests, "behind": round(behind), "running_s": round(since_ready, 2), "usual_care_s": round(usual_care_s, 1), "opened_after_s": round(opened, 1), "caught_up_after_s": round(caught_up, 1),
                "read": n_read, "missing": missing, "twice": twice, "again": n_again, "wrong_counts": wrong, "raw_days": self.raw_days}

    def note_care(self):
        """Waits for the end of the first pass, which also says how long one takes. One without work says nothing."""
        end = time.monotonic() + 4
        while time.monotonic() < end:
            if self.log.passes()[0]:
                self.care_s = min(max(time.monotonic() - self.ready_at, 0.3), 3.0)
                return
            time.sleep(0.02)

    def expected(self, devices):
        """Times of each of these devices, as they were written."""
        times = {d: [] for d in devices}
        unknown = {d: [] for d in devices}
        for writer in self.writers:
            for block in writer.acked:
                for d in times.keys() & set(block.devices):
                    times[d].extend(block.stamps)
            if writer.unknown:
                for d in unknown.keys() & set(writer.unknown.devices):
                    unknown[d].extend(writer.unknown.stamps)
        for stamps in times.values():
            stamps.sort()
        return times, unknown

    def values(self, device, quantity):
        """Times and values that the server has, and from when on it is to have them."""
        found = self.server.ask(f"/api/v1/series?device=kill-{device:03}&quantity={quantity}")["items"]
        since = self.since(quantity)
        if not found:
            return since, [], []
        series, after, times, values = found[0]["id"], None, [], []
        while True:
            path = f"/api/v1/series/{series}/values?from={rfc3339(since)}&to={rfc3339(now_ms() + 3_600_000)}&shape=columns"
            page = self.server.ask(path + (f"&after={after}" if after is not None else ""))
            for block in page.get("items", page.get("blocks", [])):
                times.extend(block["t"])
                values.extend(block["v"])
            after = page.get("next")
            if after is None:
                break
        if page.get("kept_from") and ms_of(page["kept_from"]) > since:
            sys.exit(f"{quantity} is kept from {page['kept_from']} on, not from {rfc3339(since)}")
        return since, times, values

    def compare(self, device, quantity, acked, unknown):
        """Acknowledged times that are missing, and times that are there twice, of nobody's, or with another value."""
        since, times, values = self.values(device, quantity)
        acked = [at for at in acked if at >= since]
        mine = BY_QUANTITY[quantity]
        wrong = sum(mine[(at // 977 + 37 * device) % 4096] != v for at, v in zip(times, values))
        if times == acked:
            return 0, wrong, len(times)
        found, acked = set(times), set(acked)
        return len(acked - found), len(times) - len(found) + len(found - acked - set(unknown)) + wrong, len(times)

    def compare_some(self):
        devices = self.chance.sample(range(N_DEVICES), 10)
        acked, unknown = self.expected(devices)
        total = [0, 0, 0]
        for device in devices:
            for quantity in (self.chance.choice(SHORT), self.chance.choice(LONG)):
                for i, n in enumerate(self.compare(device, quantity, acked[device], unknown[device])):
                    total[i] += n
        return total

    def write_again(self):
        n = 0
        host, port = self.server.http.removeprefix("http://").rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        for writer in self.writers:
            block = writer.unknown
            if block is None:
                continue
            if block.stamps[0] < floor_of(self.raw_days):
                writer.unknown = None  # never acknowledged, and past its time by now
                continue
            writer.send(connection, self.server.token, block)
            n += 1
        self.all_folded()
        return n

    def compare_counts(self):
        """Quantities whose points of all devices are not as many as were acknowledged."""
        wrong = {}
        for quantity in QUANTITIES:
            since = self.since(quantity)
            expected = sum(len(b.devices) * len(b.stamps) for w in self.writers for b in w.acked if b.stamps[0] >= since)
            path = f"/api/v1/aggregate?quantity={quantity}&group_by=none&from={rfc3339(since)}&to={rfc3339(now_ms() + 2 * 3_600_000)}&step=24h&agg=count"
            found = sum(item["n"] for group in self.server.ask(path)["groups"] for item in group["items"])
            if found != expected:
                wrong[quantity] = {"acknowledged": expected, "found": found}
        return wrong

    def finish(self):
        """Every value of every series, and what the server's own tools say."""
        acked, unknown = self.expected(range(N_DEVICES))
        total = [0, 0, 0]
        for device in range(N_DEVICES):
            for quantity in QUANTITIES:
                for i, n in enumerate(self.compare(device, quantity, acked[device], unknown[device])):
                    total[i] += n
        self.server.stop()
        told = {}
        for name in ("verify", "stat"):
            done = subprocess.run([BIN / "onemap", "--json", "--data-dir", self.data, "--config", self.data / "onemap.toml", "history", name], stdout=subprocess.PIPE)
            told[name] = json.loads(done.stdout) if done.stdout else {}
            told[name]["exit"] = done.returncode
        return total, told


def line(r):
    return (f"round {r['round']}: aimed at {r['kind']}, hit {', '.join(r['hit'])}, {r['running_s']} s after its start (a first pass of care takes {r['usual_care_s']} s); "
            f"{r['requests']} requests acknowledged, {r['behind']} records to fold again, {r['again']} written again; open after {r['opened_after_s']} s, "
            f"caught up after {r['caught_up_after_s']} s; {r['read']} values read, {r['missing']} missing, {r['twice']} twice or wrong; counts {r['wrong_counts'] or 'exact'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--seed", default="1")
    args = parser.parse_args()
    work = pathlib.Path(os.environ.get("PROOF_DIR", ROOT / "proof-work")) / "history-kills"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    proof = Proof(work, args.seed)
    end = time.monotonic() + 60 * args.minutes
    hits = collections.Counter()
    try:
        for number in range(1, args.rounds + 1):
            if time.monotonic() > end:
                sys.exit(f"{number - 1} of {args.rounds} rounds in {args.minutes} minutes; the folder is kept")
            result = proof.round(number, KINDS[number % len(KINDS)])
            hits.update(result["hit"])
            print(line(result), flush=True)
            if result["missing"] or result["twice"] or result["wrong_counts"]:
                sys.exit(f"round {number} fails: {json.dumps(result)}; the folder is kept")
            if size_mib(work) > MAX_DISK_MIB:
                sys.exit(f"the folder is over {MAX_DISK_MIB} MiB")
        (missing, twice, n_read), told = proof.finish()
        n = sum(len(b.devices) * len(b.stamps) * len(QUANTITIES) for w in proof.writers for b in w.acked)
        print(f"kills by what they hit (one may hit several): {json.dumps(hits)}")
        print(f"{args.rounds} kills, {n:,} points acknowledged; at the end {n_read:,} values with their times of {N_DEVICES * len(QUANTITIES)} series read: {missing} missing, {twice} twice or wrong")
        stat = told["stat"]
        print(f"history verify: {json.dumps({k: v for k, v in told['verify'].items() if k != 'faults'})}")
        print(f"history stat: {stat.get('points'):,} points, {stat.get('revisions')} revisions, {stat.get('rollups'):,} rollups, {stat.get('disk_bytes', 0) / 2**20:.0f} MiB, classes {json.dumps(stat.get('classes'))}")
        if missing or twice or told["verify"]["exit"] or told["verify"].get("n_faults") != 0 or stat.get("revisions") != 0:
            sys.exit(f"fails; the folder is kept: {json.dumps(told['verify'])[:2000]}")
        if not all(any(h.startswith(k) for h in hits) for k in ("checkpoint", "checkpoint with sealing", "care", "letting go: raising", "letting go: removing")):
            sys.exit(f"not everything was hit: {dict(hits)}")
        shutil.rmtree(work)
    finally:
        if proof.server.process.poll() is None:
            proof.server.kill()


main()
