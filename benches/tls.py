#!/usr/bin/env python3
"""What TLS costs the server: CPU per message with and without it, CPU per handshake, full and resumed.

    benches/tls.py [--onemap target/release/onemap] [--messages 20000] [--handshakes 300] [--json] [--quick]

The server's CPU is read from /proc before and after. Messages are ThingsBoard JSON of one value, QoS 1,
50 in flight on one connection. Prints one JSON line, CPU in microseconds; with --json that of rows of
`make bench-ingest`.
"""
import argparse
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import urllib.request

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target"))
WINDOW = 50


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    if len(body) < 128:
        return bytes([first, len(body)]) + body
    return bytes([first, len(body) % 128 | 128, len(body) // 128]) + body


def cpu_us(pid):
    """What the scheduler has charged to a process."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def exactly(stream, n):
    data = b""
    while len(data) < n:
        got = stream.recv(n - len(data))
        if not got:
            raise SystemExit("the server closed the connection")
        data += got
    return data


def connect(stream, token):
    stream.sendall(packet(0x10, b"\x00\x04MQTT\x04\x82\x00\x3c" + text("bench") + text(token)))
    assert exactly(stream, 4) == b"\x20\x02\x00\x00"


def publish(stream, n):
    first_stamp = int(time.time() * 1000) - n
    for first in range(0, n, WINDOW):
        batch = b""
        for seq in range(first, first + WINDOW):
            payload = json.dumps({"ts": first_stamp + seq, "values": {"temperature": 20 + seq % 10}})
            body = text("v1/devices/me/telemetry") + struct.pack(">H", seq % 65_535 + 1) + payload.encode()
            batch += packet(0x32, body)
        stream.sendall(batch)
        exactly(stream, 4 * WINDOW)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--onemap", default=TARGET / "release" / "onemap")
    args.add_argument("--messages", type=int, default=20_000)
    args.add_argument("--handshakes", type=int, default=300)
    args.add_argument("--json", action="store_true", help="print rows of make bench-ingest")
    args.add_argument("--quick", action="store_true", help="a smoke run whose figures mean nothing")
    args = args.parse_args()
    if args.quick:
        args.messages, args.handshakes = 1000, 20
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
             "-out", folder / "cert.pem"], check=True, capture_output=True)
        (folder / "onemap.toml").write_text(
            '[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\nconnects_per_second = 0\n[mqtt.tls]\n'
            f'listen = "127.0.0.1:0"\ncert_file = "{folder}/cert.pem"\nkey_file = "{folder}/key.pem"\n')
        server = subprocess.Popen(
            [args.onemap, "--data-dir", folder, "--config", folder / "onemap.toml", "serve"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ONEMAP_LOG": "error"})
        try:
            ready = json.loads(server.stdout.readline())
            admin = (folder / "admin.token").read_text().strip()
            request = urllib.request.Request(
                ready["http"] + "/api/v1/devices", json.dumps({"id": "b", "name": "b", "kind": "meter"}).encode(),
                {"authorization": f"Bearer {admin}", "content-type": "application/json"})
            token = json.load(urllib.request.urlopen(request, timeout=30))["token"]
            context = ssl.create_default_context(cafile=folder / "cert.pem")

            def tcp(name):
                host, port = ready[name].rsplit(":", 1)
                return socket.create_connection((host, int(port)), timeout=60)

            def tls(session=None):
                return context.wrap_socket(tcp("mqtt_tls"), server_hostname="localhost", session=session)

            def cost(n, act):
                """CPU of the server for each of n, its background work of the same time taken off."""
                time.sleep(2)
                idle = cpu_us(server.pid)
                time.sleep(2)
                rate = (cpu_us(server.pid) - idle) / 2
                before, start = cpu_us(server.pid), time.time()
                act()
                time.sleep(1.5)  # the pipeline folds what came last
                return (cpu_us(server.pid) - before - rate * (time.time() - start)) / n

            def messages(stream):
                connect(stream, token)
                used = cost(args.messages, lambda: publish(stream, args.messages))
                stream.close()
                return round(used, 2)

            def handshakes(session):
                def act():
                    for _ in range(args.handshakes):
                        with tls(session) as stream:
                            connect(stream, token)
                            assert stream.session_reused == (session is not None)
                return act

            def plain():
                for _ in range(args.handshakes):
                    with tcp("mqtt") as stream:
                        connect(stream, token)

            without, with_tls = messages(tcp("mqtt")), messages(tls())
            with tls() as stream:
                connect(stream, token)
                session = stream.session
            connect_tcp, full, resumed = (cost(args.handshakes, act) for act in (plain, handshakes(None), handshakes(session)))
            if args.json:
                print(json.dumps({"rows": [
                    ["TLS: CPU a message, one connection, window 50", f"{with_tls:.2f} µs", f"without TLS {without:.2f} µs", "", "written down", None],
                    ["TLS: CPU a connect, P-256 certificate", f"full {full:.0f} µs, resumed {resumed:.0f} µs", f"without TLS {connect_tcp:.0f} µs", "",
                     "written down", None]]}))
            else:
                print(json.dumps({"us_per_message_tcp": without, "us_per_message_tls": with_tls, "us_per_connect_tcp": round(connect_tcp),
                                  "us_per_connect_tls_full": round(full), "us_per_connect_tls_resumed": round(resumed)}))
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
