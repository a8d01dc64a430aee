#!/usr/bin/env python3
"""Log-in under attack: others log in while one name, no name or their own name is guessed 1,000 times a second.

    benches/login.py [--seconds 20] [--rate 1000]        # of ONEMAP_BIN, else target/release

Guesses come from 16 addresses of the loopback network, each over connections that it keeps; the others come in twice a
second from an address of their own. Prints a table: what was asked, how long others waited, what the server took.
"""

import argparse
import http.client
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "proof"))

import outside  # noqa: E402: its folder is named above

N_NETWORKS = 16
PASSWORD = "a long enough password"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=1000)
    return parser.parse_args()


class Server(outside.Server):
    def __init__(self, folder):
        (folder / "onemap.toml").write_text(
            '[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n'
        )
        super().__init__(folder)

    def add(self, name):
        key = self.ask("/api/v1/accounts", {"id": name, "role": "viewer"})["link"]["key"]
        status, text = ask(self.connect(), "/api/v1/setup", {"key": key, "password": PASSWORD})
        assert status == 204, text

    def connect(self, source="127.0.0.1"):
        host, port = self.http.split("//")[1].split(":")
        return http.client.HTTPConnection(host, int(port), timeout=30, source_address=(source, 0))

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def attack(server, names, rate, until, n_asked, lock):
    """Guesses of one network, evenly spaced; an answer that waits holds up one of its connections."""

    def one(source, start, every):
        connection, at, n = server.connect(source), start, 0
        while time.monotonic() < until:
            time.sleep(max(0, at - time.monotonic()))
            at = max(at + every, time.monotonic() - 1)
            try:
                ask(connection, "/api/v1/session", {"account": names(), "password": f"guess {n} of it"})
                n += 1
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = server.connect(source)
        with lock:
            n_asked[0] += n

    n_each = 32
    every = N_NETWORKS * n_each / rate
    now = time.monotonic()
    return [
        threading.Thread(target=one, args=(f"127.0.0.{2 + k % N_NETWORKS}", now + every * k / (N_NETWORKS * n_each), every))
        for k in range(N_NETWORKS * n_each)
    ]


def main():
    given = arguments()
    counter = iter(range(10**9))
    cases = [
        ("one account", lambda: "guessed"),
        ("names that are none", lambda: f"nobody{next(counter)}"),
        ("the other's own name", lambda: "other"),
    ]
    print("| guessed | a second | others' log-in p50 | p99 | longest | n | CPU | peak RSS |")
    print("|---|---|---|---|---|---|---|---|")
    for what, names in cases:
        with tempfile.TemporaryDirectory() as folder:
            server = Server(pathlib.Path(folder))
            try:
                for name in ("guessed", "other"):
                    server.add(name)
                # Where the other mostly comes from.
                assert ask(server.connect("127.0.0.200"), "/api/v1/session", {"account": "other", "password": PASSWORD})[0] == 204
                until = time.monotonic() + given.seconds
                n_asked, lock, waits = [0], threading.Lock(), []
                before = server.cpu_s()
                threads = attack(server, names, given.rate, until, n_asked, lock)
                for thread in threads:
                    thread.start()
                while time.monotonic() < until:
                    began = time.monotonic()
                    body = {"account": "other", "password": PASSWORD}
                    status, text = ask(server.connect("127.0.0.200"), "/api/v1/session", body)
                    waits.append(time.monotonic() - began)
                    assert status == 204, (status, text)
                    time.sleep(max(0, 0.5 - waits[-1]))
                for thread in threads:
                    thread.join()
                waits.sort()
                at = lambda share: waits[min(len(waits) - 1, int(share * len(waits)))]
                print(
                    f"| {what} | {n_asked[0] / given.seconds:.0f} | {at(0.5):.3f} s | {at(0.99):.3f} s | {waits[-1]:.3f} s "
                    f"| {len(waits)} | {server.cpu_s() - before:.1f} s | {server.rss_mib():.0f} MiB |",
                    flush=True,
                )
            finally:
                server.stop()


main()
