#!/usr/bin/env python3
"""Alerts at their size: how fast rules judge, how soon an alert is with who listens, and how long a storm's lists take.

    benches/alerts.py [--rate 20000] [--seconds 30] [--storm 10000]        # of ONEMAP_BIN, else target/release

1. `evaluations`: 10,000 rules over a million series on one core.
2. A device crosses its limit and comes back, twenty times a second, while `onemap-sim load` publishes `--rate` readings a
   second of others over MQTT: from the answer to its POST to the event on `/feeds/alerts`. The answer comes when the
   reading is durable.
3. `--storm` devices raise an alarm each: how long `/api/v1/alerts?state=open` and `/api/v1/alerts/cards` take over HTTP,
   each asked 100 times without an ETag.

Prints the table of docs/benchmarks.md.
"""

import argparse
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "proof"))

import outside  # noqa: E402: its folder is named above

RULES = """version: 1
rules:
  - id: bench-high
    name: {zh: 台架, en: Bench}
    severity: minor
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    panels: {forecast: {none: {zh: 台架, en: Bench}}}
    advice: {zh: 看, en: look}
"""
N_ASKED = 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--storm", type=int, default=10_000)
    return parser.parse_args()


def of(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def server_in(folder):
    (folder / "rules").mkdir()
    (folder / "rules" / "bench.yaml").write_text(RULES)
    (folder / "onemap.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
    return outside.Server(folder)


def connect(server):
    host, port = server.http.split("//")[1].split(":")
    return http.client.HTTPConnection(host, int(port), timeout=60)


def listen(server, came):
    """Notes when each raised edge of a device was read."""
    connection = connect(server)
    connection.request("GET", "/feeds/alerts?after=0", headers={"Authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    for line in answer:
        if line.startswith(b"data:") and b'"raised"' in line:
            at, told = time.monotonic(), json.loads(line[5:])
            if told["edge"] == "raised":
                came[told["inputs"][-1]["value"]] = at


def to_listener(folder, rate, seconds):
    """Milliseconds from the answer to a reading until its alert is read, while others publish."""
    server = server_in(folder)
    try:
        server.add_device("crossing", kind="air_station", cadence_s=60)
        others = [server.add_device(f"other-{i}", kind="load", cadence_s=60) for i in range(8)]
        users = folder / "users"
        users.write_text("\n".join(others))
        came, answered = {}, {}
        threading.Thread(target=listen, args=(server, came), daemon=True).start()
        load = subprocess.Popen(
            [outside.BIN / "onemap-sim", "load", "--mqtt", f"127.0.0.1:{server.port}", "--conns", "8", "--rate", str(rate),
             "--count", str(rate * seconds), "--users", str(users), "--template",
             '{"ts":{ts},"values":{"temperature":{v}}}'],
            stdout=subprocess.PIPE)
        connection, n, began = connect(server), 0, time.monotonic()
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}

        def say(value):
            reading = {"q": "pm10", "t": outside.now_ms(), "v": value}
            connection.request("POST", "/api/v1/readings", json.dumps({"device": "crossing", "readings": [reading]}), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status < 300, answer.status

        while load.poll() is None and time.monotonic() < began + seconds + 30:
            n += 1
            value = 300 + n / 1000
            say(value)
            answered[value] = time.monotonic()
            time.sleep(0.025)
            say(100)
            time.sleep(0.025)
        report = json.loads(load.communicate()[0])
        outside.until("the last alert", 30, lambda: len(came) >= n)
        server.caught_up()
        waited = [1000 * max(0.0, came[value] - at) for value, at in answered.items()]
        return report, waited
    finally:
        server.kill()


def storm(folder, n_devices):
    """Milliseconds of each list while all devices are in alarm."""
    server = server_in(folder)
    try:
        connection = connect(server)
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}

        def ask(method, path, body=None):
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, (path, answer.status, text[:300])
            return text

        for i in range(n_devices):
            place = {"lon": 101.5 + i % 100 / 100, "lat": 36.4 + i // 100 / 200}
            ask("POST", "/api/v1/devices", {"id": f"d-{i}", "name": f"站 {i}", "kind": "air_station", "position": place,
                                            "cadence_s": 3600, "division": "630102"})
        began = time.monotonic()
        for i in range(n_devices):
            reading = {"q": "pm10", "t": outside.now_ms(), "v": 300 + i % 50}
            ask("POST", "/api/v1/readings", {"device": f"d-{i}", "readings": [reading]})
        posted = time.monotonic() - began
        outside.until("all to be in alarm", 120, lambda: json.loads(ask("GET", "/api/v1/alerts/cards"))["alerts"] >= n_devices)
        figures = {}
        for path in ["/api/v1/alerts?state=open&limit=500", "/api/v1/alerts/cards"]:
            took = []
            for _ in range(N_ASKED):
                began = time.monotonic()
                answer = ask("GET", path)
                took.append(1000 * (time.monotonic() - began))
            figures[path] = (took, len(answer))
        cards = json.loads(ask("GET", "/api/v1/alerts/cards"))
        return posted, cards, figures
    finally:
        server.kill()


def main():
    asked = arguments()
    load = os.getloadavg()[0]
    print(f"load before: {load:.1f}\n")
    subprocess.run([outside.BIN / "examples" / "evaluations"], check=True)
    print()
    with tempfile.TemporaryDirectory() as folder:
        report, waited = to_listener(pathlib.Path(folder), asked.rate, asked.seconds)
        print("| acknowledged → read on `/feeds/alerts` | n | p50 | p99 | longest |\n|---|---|---|---|---|")
        rate = report.get("rate") or report.get("per_second")
        print(f"| beside {asked.rate:,} readings/s (reached {rate}) | {len(waited)} | {of(waited, .5):.0f} ms "
              f"| {of(waited, .99):.0f} ms | {max(waited):.0f} ms |\n")
    with tempfile.TemporaryDirectory() as folder:
        posted, cards, figures = storm(pathlib.Path(folder), asked.storm)
        print(f"{asked.storm:,} alarms, posted one by one in {posted:.1f} s, are {cards['total']} cards\n")
        print("| list | p50 | p95 | longest | bytes |\n|---|---|---|---|---|")
        for path, (took, size) in figures.items():
            print(f"| `{path}` | {of(took, .5):.0f} ms | {of(took, .95):.0f} ms | {max(took):.0f} ms | {size:,} |")


if __name__ == "__main__":
    main()
