#!/usr/bin/env python3
"""kill -9 of the server at random moments of MQTT load: nothing acknowledged is missing, nothing stands twice.

One data folder takes every round, so recoveries stack. In a round a generator sends on 1 to 50 connections, in
one of ten as fast as it is acknowledged (QoS 1, now and then QoS 2), and writes down every acknowledged
`connection:sequence`; 0.3 to 3 s later the server is killed; now and then it is killed once or twice more while it
starts. When it has caught up, every acknowledged number is looked for in the history, in every version of every
time.
Beside the generator QoS 2 senders live through all kills with one session each: every message of theirs must be
stored, and the ledger must have counted none of them twice. At the end the windows of all rounds are read again.

Each round's result goes into WORK/rounds.jsonl; a second run goes on after the last one there. The
generator is `onemap-sim load`; LOAD_COMMAND names another with the same options (`--port --conns --qos
--count --inflight --topic --users --template --acklog`; QoS 1 only).
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import time

from exactly_once import ExactSender
from outside import BIN, ROOT, Server, free_port, now_ms, size_mib

TEMPLATE = '{"ts":{t},"values":{"temperature":{v},"seq":{seq}}}'
N_DEVICES = 50
#: Messages a second of nine rounds in ten; the others go as fast as they are acknowledged.
RATE = 20_000
MAX_RSS_MIB = 1024
MAX_DISK_MIB = 12 * 1024
#: QoS 2 senders that live through every kill.
N_EXACT = 4


def start_load(port, users, acklog, conns, qos, rate):
    template = os.environ.get("LOAD_COMMAND")
    if template and qos == 1:
        command = shlex.split(template) + ["--port", str(port)]
    else:
        command = [BIN / "onemap-sim", "load", "--mqtt", f"127.0.0.1:{port}"]
    command += ["--conns", str(conns), "--qos", str(qos), "--count", "1000000000", "--rate", str(rate), "--inflight", "50", "--topic",
                "v1/devices/me/telemetry", "--users", users, "--template", TEMPLATE, "--acklog", acklog]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rfc3339(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stored(server, device, first_ms, last_ms):
    """Every `seq` kept for a device in a window, every version."""
    series = server.ask(f"/api/v1/series?device={device}&quantity=seq")["items"]
    if not series:
        return []
    window = f"from={rfc3339(first_ms)}&to={rfc3339(last_ms)}&revisions=true"
    return [int(i["v"]) for i in server.items(f"/api/v1/series/{series[0]['id']}/values?{window}")]


def counted_twice(server, device, first_ms):
    """What the ledger calls repeated, of the Beijing days since then."""
    day, last = ((ms + 8 * 3600_000) // 86_400_000 for ms in (first_ms, now_ms()))
    n = 0
    while day <= last:
        name = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
        for item in server.items(f"/api/v1/ledger?device={device}&day={name}"):
            n += sum(hour["duplicate"] for hour in item["hours"])
        day += 1
    return n


def digest(found):
    """Of what stands in a window, the same whatever the order of its devices' answers."""
    text = json.dumps({device: sorted(seqs) for device, seqs in found.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Proof:
    def __init__(self, work, seed):
        self.work, self.seed, self.data = work, seed, work / "data"
        self.results = work / "rounds.jsonl"
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        (self.data / "onemap.toml").write_text(
            f'[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:{self.port}"\n'
            '[history]\ncheckpoint_seconds = 2\n')
        (self.data / "rules").mkdir(exist_ok=True)
        self.server = Server(self.data)
        tokens = work / "tokens.json"
        if not tokens.exists():
            tokens.write_text(json.dumps([self.server.add_device(f"load-{i}") for i in range(N_DEVICES)]))
        self.tokens = json.loads(tokens.read_text())
        names = [f"exact-{now_ms()}-{i}" for i in range(N_EXACT)]
        self.exact = [ExactSender(name, self.server.add_device(name), self.port) for name in names]

    def rounds(self):
        lines = self.results.read_text().splitlines() if self.results.exists() else []
        return [json.loads(line) for line in lines]

    def round(self, number):
        chance = random.Random(f"{self.seed}/{number}")
        conns, qos = chance.choice([1, 8, 20, 50]), chance.choice([1, 1, 1, 2])
        after_s = chance.uniform(0.3, 3.0)
        rate = chance.choice([0] + 9 * [RATE])
        early = [chance.uniform(0.02, 1.0) for _ in range(chance.choice([0, 0, 1, 2]) if number % 3 == 0 else 0)]
        users, acklog = self.work / "users.txt", self.work / "acked.txt"
        users.write_text("\n".join(self.tokens[:conns]) + "\n")
        acklog.unlink(missing_ok=True)
        # A millisecond of distance: rounds do not share one.
        time.sleep(0.002)
        first_ms = now_ms()
        generator = start_load(self.port, users, acklog, conns, qos, rate)
        for sender in self.exact:
            sender.sending.set()
        time.sleep(after_s)
        rss, behind = self.server.rss_mib(), self.server.lag()
        self.server.kill()
        try:
            generator.wait(30)
        except subprocess.TimeoutExpired:
            generator.terminate()
            generator.wait()
        last_ms = now_ms()
        for sender in self.exact:
            sender.sending.clear()
        for moment in early:
            server = Server(self.data, wait=False)
            time.sleep(moment)
            server.kill()
        self.server = Server(self.data)
        opened_after = self.server.opened_after
        self.server.caught_up()
        caught_up_after = time.monotonic() - self.server.start
        acked = {}
        for line in acklog.read_text().splitlines():
            conn, _, seq = line.partition(":")
            if seq:
                acked.setdefault(f"load-{conn}", set()).add(int(seq))
        found = {f"load-{c}": stored(self.server, f"load-{c}", first_ms, last_ms) for c in range(conns)}
        result = {
            "round": number, "first_ms": first_ms, "last_ms": last_ms, "conns": conns, "qos": qos,
            "rate": rate, "killed_after_s": round(after_s, 2), "killed_again_at_start": len(early),
            "acknowledged": sum(map(len, acked.values())), "stored": sum(map(len, found.values())),
            "missing": sum(len(seqs - set(found.get(device, []))) for device, seqs in acked.items()),
            "twice": sum(len(seqs) - len(set(seqs)) for seqs in found.values()),
            "counted_twice": sum(counted_twice(self.server, f"load-{c}", first_ms) for c in range(conns)),
            "behind": int(behind), "opened_after_s": round(opened_after, 1),
            "caught_up_after_s": round(caught_up_after, 1), "rss_mib": round(max(rss, self.server.rss_mib())),
            "digest": digest(found), **self.exactly(),
        }
        with self.results.open("a") as out:
            out.write(json.dumps(result) + "\n")
            out.flush()
            os.fsync(out.fileno())
        return result

    def exactly(self):
        """How the QoS 2 senders stand."""
        stand = {"exact_done": 0, "exact_missing": 0, "exact_twice": 0, "exact_lost_sessions": 0}
        for sender in self.exact:
            done = set(sender.done)
            kept = stored(self.server, sender.device, sender.first_ms, sender.first_ms + sender.sent + 1)
            stand["exact_done"] += len(done)
            stand["exact_missing"] += len(done - set(kept))
            stand["exact_twice"] += len(kept) - len(set(kept))
            stand["exact_twice"] += counted_twice(self.server, sender.device, sender.first_ms)
            stand["exact_lost_sessions"] += sender.n_lost_sessions
        return stand

    def finish(self):
        for sender in self.exact:
            sender.ended.set()
        for sender in self.exact:
            sender.join(60)
            if len(sender.done) != sender.sent:
                sys.exit(f"{sender.device} sent {sender.sent}, {len(sender.done)} were completed")
        self.server.caught_up()

    def again(self, results):
        """Rounds whose window does not read as it did right after them."""
        changed = []
        for r in results:
            found = {f"load-{c}": stored(self.server, f"load-{c}", r["first_ms"], r["last_ms"])
                     for c in range(r["conns"])}
            if digest(found) != r["digest"]:
                changed.append(r["round"])
        return changed


BAD = ("missing", "twice", "counted_twice", "exact_missing", "exact_twice", "exact_lost_sessions")


def line(r):
    more = f", again {r['killed_again_at_start']}x while starting" if r["killed_again_at_start"] else ""
    return (f"round {r['round']}: {r['conns']} connections, QoS {r['qos']}, {r['rate'] or 'as many as taken'} a second, killed after {r['killed_after_s']} s{more}; "
            f"{r['acknowledged']} acknowledged, {r['stored']} stored, {r['missing']} missing, {r['twice']} twice; "
            f"pipeline {r['behind']} behind at the kill, open after {r['opened_after_s']} s, "
            f"caught up after {r['caught_up_after_s']} s")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=100)
    arguments.add_argument("--seed", default="1")
    arguments.add_argument("--minutes", type=float, default=25, help="stop after the round in which this is over")
    arguments.add_argument("--fresh", action="store_true", help="forget the rounds of before")
    arguments = arguments.parse_args()
    work = pathlib.Path(os.environ.get("PROOF_DIR", ROOT / "proof-work")) / "kill-under-load"
    if arguments.fresh and work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    proof = Proof(work, arguments.seed)
    try:
        for number in range(len(proof.rounds()) + 1, arguments.rounds + 1):
            if time.monotonic() > end:
                sys.exit(f"{number - 1} of {arguments.rounds} rounds are done; run again to go on")
            result = proof.round(number)
            print(line(result), file=sys.stderr, flush=True)
            if any(result[bad] for bad in BAD):
                sys.exit(f"round {number} fails: {result}")
            if size_mib(work) > MAX_DISK_MIB:
                sys.exit(f"the folder is over {MAX_DISK_MIB} MiB")
        proof.finish()
        results = proof.rounds()
        last, changed = proof.exactly(), proof.again(results)
        total = {
            "rounds": len(results), "kills": len(results) + sum(r["killed_again_at_start"] for r in results),
            **{key: sum(r[key] for r in results) for key in ("acknowledged", "stored", "missing", "twice")},
            "counted_twice": max(r["counted_twice"] for r in results),
            "qos2_senders": last, "rounds_that_read_otherwise_at_the_end": changed,
            "peak_rss_mib": max(r["rss_mib"] for r in results),
            "journal_mib": round(size_mib(proof.data / "journal")), "history_mib": round(size_mib(proof.data / "history")),
        }
        for r in results:
            print(line(r))
        print(json.dumps(total))
        bad = [b for b in BAD if any(r[b] for r in results) or last.get(b)]
        if bad or changed or not total["acknowledged"] or total["peak_rss_mib"] > MAX_RSS_MIB:
            sys.exit(f"fails: {bad}, rounds changed {changed}, peak {total['peak_rss_mib']} MiB (limit {MAX_RSS_MIB})")
        proof.server.stop()
        shutil.rmtree(proof.data)
    finally:
        if proof.server.process.poll() is None:
            proof.server.kill()


main()
