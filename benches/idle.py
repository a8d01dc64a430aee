#!/usr/bin/env python3
"""What an idle connection costs: the server's resident memory before and with N connections.

    benches/idle.py [--onemap target/release/onemap] [--connections 20000] [--per-device 50] [--commands 5]
                    [--wait 600] [--json] [--quick]

Each connection says CONNECT (keep-alive 0) and subscribes to v1/devices/me/rpc/request/+. They come from
127.0.0.1, .2, .3 ..., which gives ports enough. The limit of open files must allow them here and in the
server: where `ulimit -Hn` is too low, there are as many connections as it allows, and the output says how many
(tests/proof/idle.py has them all, in a guest). The server is started again between the registration of the devices and
the first measurement, so no memory that registration has freed is there for the connections to take. Then
`onemap_mqtt_connections` must count them all, and a few devices get a command each, which must come back executed.
Prints one JSON line; with --json that of a row of `make bench-ingest`. Memory of the system's kernel (slab, pages of
TCP) in it is that of both ends of all connections.
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
connect_seconds = 120
"""
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target"))
PER_ADDRESS = 20_000
AT_ONCE = 500
# Of linux/in.h; the port is chosen by connect, which may take one whose former connection to elsewhere has just ended.
IP_BIND_ADDRESS_NO_PORT = 24
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


def rss_kib(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
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


def kernel_kib():
    """What the whole system's kernel holds: slab, and pages of TCP's queues."""
    found = {}
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split()[:2]
        if name in ("Slab:", "SUnreclaim:"):
            found[f"kernel_{name[:-1].lower()}_kib"] = int(value)
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            fields = line.split()
            found["tcp_sockets"] = int(fields[fields.index("inuse") + 1])
            found["tcp_pages_kib"] = int(fields[fields.index("mem") + 1]) * os.sysconf("SC_PAGESIZE") // 1024
    return found


class Server:
    """`onemap serve` on a folder that holds its onemap.toml."""

    def __init__(self, onemap, folder, wait):
        self.wait = wait
        self.process = subprocess.Popen(
            [onemap, "--data-dir", folder, "--config", folder / "onemap.toml", "serve"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ONEMAP_LOG": "error"})
        ready = json.loads(self.process.stdout.readline())
        self.http, (host, port) = ready["http"], ready["mqtt"].rsplit(":", 1)
        self.mqtt = host, int(port)
        self.token = (folder / "admin.token").read_text().strip()

    def ask(self, path, body=None, kind="application/json"):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(
            self.http + path, data, {"authorization": f"Bearer {self.token}", "content-type": kind})
        with urllib.request.urlopen(request, timeout=self.wait) as answer:
            return answer.read()

    def register(self, n):
        """Tokens of n devices. What one request may bring is bounded, so they come in pieces."""
        tokens = []
        for first in range(0, n, 5000):
            lines = "".join(f"idle-{i},idle {i},meter\n" for i in range(first, min(first + 5000, n)))
            answer = json.loads(self.ask("/api/v1/devices/import", f"id,name,kind\n{lines}".encode(), "text/csv"))
            assert not answer["refused"], answer["errors"][:3]
            tokens += [entry["token"] for entry in answer["tokens"]]
        assert len(tokens) == n
        return tokens

    def connections(self):
        for line in self.ask("/metrics").decode().splitlines():
            if line.startswith("onemap_mqtt_connections "):
                return int(float(line.split()[1]))
        raise SystemExit("onemap_mqtt_connections is not on /metrics")

    def counts(self, n):
        """Waits until the server counts n connections."""
        until = time.time() + self.wait
        while self.connections() != n:
            if time.time() > until:
                raise SystemExit(f"the server counts {self.connections()} connections, not {n}")
            time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        self.process.wait(self.wait)


def take(stream, count):
    got = b""
    while len(got) < count:
        piece = stream.recv(count - len(got))
        if not piece:
            raise SystemExit("the server closed a connection")
        got += piece
    return got


def command(server, device, streams):
    """A command through the API to a device, taken and answered on the one of its connections that gets it."""
    order = json.loads(server.ask("/api/v1/commands", {
        "device": device, "method": "idle", "params": {"of": device}, "ttl_s": 3600, "two_way": True}))["id"]
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream, selectors.EVENT_READ)
    got = selector.select(server.wait)
    if not got:
        raise SystemExit(f"no command came to {device}")
    stream = got[0][0].fileobj
    stream.settimeout(server.wait)
    first, length = take(stream, 2)
    assert first & 0xf6 == 0x32 and length < 128, (first, length)  # PUBLISH of QoS 1
    body = take(stream, length)
    end = 2 + int.from_bytes(body[:2], "big")
    topic, packet_id, payload = body[2:end].decode(), body[end:end + 2], json.loads(body[end + 2:])
    assert payload["method"] == "idle" and payload["params"] == {"of": device}, payload
    answer = text(topic.replace("/request/", "/response/")) + b"\x00\x02" + b'{"ok":true}'
    stream.sendall(packet(0x40, packet_id) + packet(0x32, answer))
    until = time.time() + server.wait
    while (state := json.loads(server.ask(f"/api/v1/commands/{order}?wait_s=30"))["state"]) != "executed":
        if time.time() > until:
            raise SystemExit(f"the command to {device} is {state}")


def open_all(address, n, tokens, wait):
    """Opens connections, some hundred at a time, and waits for CONNACK and SUBACK of each."""
    selector = selectors.DefaultSelector()
    order, n_open, waiting, started = [], 0, {}, 0
    deadline = time.time() + wait
    while n_open < n:
        if time.time() > deadline:
            raise SystemExit(f"{n_open} of {n} connections in {wait} s")
        while started < n and len(waiting) < AT_ONCE:
            stream = socket.socket()
            stream.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            stream.bind((f"127.0.0.{1 + started // PER_ADDRESS}", 0))
            stream.connect(address)
            stream.sendall(hello(f"idle-{started}", tokens[started % len(tokens)]))
            stream.setblocking(False)
            order.append(stream)
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
                n_open += 1
    return order


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--onemap", default=TARGET / "release" / "onemap")
    args.add_argument("--connections", type=int, default=20_000)
    args.add_argument("--per-device", type=int, default=50)
    args.add_argument("--commands", type=int, default=5, help="devices that get a command")
    args.add_argument("--wait", type=int, default=600, help="seconds that anything may take")
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
        server = Server(args.onemap, folder, args.wait)
        try:
            tokens = server.register(-(-n // args.per_device))
            server.stop()
            server = Server(args.onemap, folder, args.wait)
            pid = server.process.pid
            before, kernel_before = settled(pid), kernel_kib()
            anon_before = rss_kib(pid, "RssAnon")
            start = time.time()
            streams = open_all(server.mqtt, n, tokens, args.wait)
            took = time.time() - start
            server.counts(n)
            after, kernel_after = settled(pid), kernel_kib()
            anon_after = rss_kib(pid, "RssAnon")
            n_commands = min(args.commands, len(tokens))
            for device in (i * len(tokens) // n_commands for i in range(n_commands)):
                command(server, f"idle-{device}", streams[device::len(tokens)])
            server.counts(n)
            each = (after - before) / n
            print(json.dumps(
                {"rows": [[f"{n:,} idle connections, each with its RPC subscription", f"{each:.1f} KiB each",
                           f"{after / 1024:.0f} MiB in all, {n / took:,.0f} connects/s", "", "≤ 16 KiB each", each <= 16]]}
                if args.json else
                {"connections": n, "devices": len(tokens), "rss_before_kib": before, "rss_after_kib": after,
                 "rss_anon_kib": [anon_before, anon_after],
                 "kib_each": round(each, 2), "connects_per_second": round(n / took), "commands_executed": n_commands,
                 **{name: [kernel_before[name], value] for name, value in kernel_after.items()}}))
            for stream in streams:
                stream.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
