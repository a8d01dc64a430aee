#!/usr/bin/env python3
"""What an idle connection costs: the server's resident memory before and with N connections.

    benches/idle.py [--onemap target/release/onemap] [--connections 20000] [--per-device 50] [--json] [--quick]

Each connection says CONNECT (keep-alive 0) and subscribes to v1/devices/me/rpc/request/+. They come from
127.0.0.1, .2, .3 ..., which gives ports enough. The limit of open files must allow them here and in the
server: where `ulimit -Hn` is too low, there are as many connections as it allows, and the output says how many.
Prints one JSON line; with --json that of a row of `make bench-ingest`.
"""
import argparse
import json
import os
import pathlib
import resource
import selectors
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

CONFIG = """[http]
listen = "127.0.0.1:0"
[mqtt]
listen = "127.0.0.1:0"
max_connections = {n}
max_connections_per_device = 0
connects_per_second = 0
"""
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target"))
PER_ADDRESS = 20_000
AT_ONCE = 500
# Descriptors that the server keeps for all else than devices.
KEPT = 2600


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    assert len(body) < 16_384
    if len(body) < 128:
        return bytes([first, len(body)]) + body
    return bytes([first, len(body) % 128 | 128, len(body) // 128]) + body


def hello(client, token):
    connect = packet(0x10, b"\x00\x04MQTT\x04\x82\x00\x00" + text(client) + text(token))
    return connect + packet(0x82, b"\x00\x01" + text("v1/devices/me/rpc/request/+") + b"\x01")


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit("the server is gone")


def settled(pid):
    """Resident memory when it no longer moves much."""
    last = rss_kib(pid)
    for _ in range(20):
        time.sleep(1)
        now = rss_kib(pid)
        if abs(now - last) < 256:
            return now
        last = now
    return last


def open_all(address, n, tokens):
    """Opens connections, some hundred at a time, and waits for CONNACK and SUBACK of each."""
    selector = selectors.DefaultSelector()
    open_now, waiting, started = [], {}, 0
    deadline = time.time() + 600
    while len(open_now) < n:
        if time.time() > deadline:
            raise SystemExit(f"{len(open_now)} of {n} connections in 600 s")
        while started < n and len(waiting) < AT_ONCE:
            stream = socket.socket()
            stream.bind((f"127.0.0.{1 + started // PER_ADDRESS}", 0))
            stream.connect(address)
            stream.sendall(hello(f"idle-{started}", tokens[started % len(tokens)]))
            stream.setblocking(False)
            waiting[stream] = b""
            selector.register(stream, selectors.EVENT_READ)
            started += 1
        for key, _ in selector.select(1):
            stream = key.fileobj
            got = stream.recv(64)
            if not got:
                raise SystemExit("the server closed a connection")
            waiting[stream] += got
            if len(waiting[stream]) >= 9:
                assert waiting[stream] == b"\x20\x02\x00\x00\x90\x03\x00\x01\x01", waiting[stream]
                selector.unregister(stream)
                del waiting[stream]
                open_now.append(stream)
    return open_now


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--onemap", default=TARGET / "release" / "onemap")
    args.add_argument("--connections", type=int, default=20_000)
    args.add_argument("--per-device", type=int, default=50)
    args.add_argument("--json", action="store_true", help="print a row of make bench-ingest")
    args.add_argument("--quick", action="store_true", help="a smoke run whose figure means nothing")
    args = args.parse_args()
    n = 500 if args.quick else args.connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        n = min(n, hard - KEPT)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + KEPT, hard))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "onemap.toml").write_text(CONFIG.format(n=n + 100))
        server = subprocess.Popen(
            [args.onemap, "--data-dir", folder, "--config", folder / "onemap.toml", "serve"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ONEMAP_LOG": "error"})
        try:
            ready = json.loads(server.stdout.readline())
            token = (folder / "admin.token").read_text().strip()

            def post(path, body):
                request = urllib.request.Request(
                    ready["http"] + path, json.dumps(body).encode(),
                    {"authorization": f"Bearer {token}", "content-type": "application/json"})
                return json.load(urllib.request.urlopen(request, timeout=30))

            tokens = [post("/api/v1/devices", {"id": f"idle-{i}", "name": f"idle {i}", "kind": "meter"})["token"]
                      for i in range(-(-n // args.per_device))]
            host, port = ready["mqtt"].rsplit(":", 1)
            before = settled(server.pid)
            start = time.time()
            streams = open_all((host, int(port)), n, tokens)
            took = time.time() - start
            after = settled(server.pid)
            each = (after - before) / n
            print(json.dumps(
                {"rows": [[f"{n:,} idle connections, each with its RPC subscription", f"{each:.1f} KiB each",
                           f"{after / 1024:.0f} MiB in all, {n / took:,.0f} connects/s", "", "≤ 16 KiB each", each <= 16]]}
                if args.json else
                {"connections": len(streams), "devices": len(tokens), "rss_before_kib": before, "rss_after_kib": after,
                 "kib_each": round(each, 2), "connects_per_second": round(n / took)}))
            for stream in streams:
                stream.close()
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
