#!/usr/bin/env python3
"""What HJ 212 stations cost: resident memory of idle ones, and frames a second of CPU from socket to history.

    benches/stations.py [--onemap target/release/onemap] [--stations 5000] [--busy 4] [--frames 200000] [--superior]

Every station says one frame and is idle then. The busy ones send real-time frames (2011, two values with their marks, each
with a stamp of its own) without waiting for answers; the figures count until the last frame is answered and folded
(`onemap_cursor_lag_records`), and until the next checkpoint. Prints one JSON line. Frames a second of one core are
frames by the CPU seconds of the whole server, ticks and requests of this script included.

With --superior every frame goes on to a superior platform, too (a process of this script that answers each with 9014);
the figures count until it has answered all. Of each station one frame is under way there, so many --busy stations make
the rate.
"""
import argparse
import datetime
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

CONFIG = """[http]
listen = "127.0.0.1:0"
[mqtt]
listen = "127.0.0.1:0"
[hj212]
listen = "127.0.0.1:0"
frames_per_second = 0
connects_per_second = 0
resend_hours = 0
"""
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target"))
LOW = []
for byte in range(256):
    register = byte
    for _ in range(8):
        register = register >> 1 ^ 0xA001 if register & 1 else register >> 1
    LOW.append(register)
BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def crc(data):
    register = 0xFFFF
    for byte in data:
        register = register >> 8 ^ byte
        register = register >> 8 ^ LOW[register & 0xFF]
    return register


def frame(mn, qn, at, a, b, flag=4):
    cp = f"DataTime={at};a34004-Rtd={a},a34004-Flag=N;a34002-Rtd={b},a34002-Flag=N"
    data = f"QN={qn};ST=22;CN=2011;PW=123456;MN={mn};Flag={flag};CP=&&{cp}&&".encode()
    return b"##%04d%s%04X\r\n" % (len(data), data, crc(data))


SUPERIOR = """[[superior]]
name = "above"
to = "{}"
"""


def superior(listener):
    """Answers each frame with its 9014."""
    connection, _ = listener.accept()
    rest = b""
    while data := connection.recv(1 << 20):
        *whole, rest = (rest + data).split(b"\r\n")
        answers = []
        for one in whole:
            said = one[6:-4]
            field = lambda key: said.split(key, 1)[1].split(b";", 1)[0]
            data = b"QN=%s;ST=91;CN=9014;PW=%s;MN=%s;Flag=4;CP=&&&&" % (field(b"QN="), field(b"PW="), field(b"MN="))
            answers.append(b"##%04d%s%04X\r\n" % (len(data), data, crc(data)))
        connection.sendall(b"".join(answers))


def status(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise SystemExit("the server is gone")


def cpu(pid):
    spent = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that has just ended
    return spent / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onemap", default=str(TARGET / "release" / "onemap"))
    parser.add_argument("--stations", type=int, default=5000)
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--superior", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "rules").mkdir()
        config = CONFIG
        if args.superior:
            listener = socket.create_server(("127.0.0.1", 0))
            config += SUPERIOR.format("127.0.0.1:%d" % listener.getsockname()[1])
            multiprocessing.Process(target=superior, args=(listener,), daemon=True).start()
        (folder / "onemap.toml").write_text(config)
        command = [args.onemap, "--data-dir", str(folder), "--config", str(folder / "onemap.toml"), "serve"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "ONEMAP_LOG": "error"})
        try:
            print(json.dumps(measure(args, folder, server)))
        finally:
            server.terminate()
            server.wait()


def measure(args, folder, server):
    ready = json.loads(server.stdout.readline())
    token = (folder / "admin.token").read_text().strip()
    host, port = ready["hj212"].rsplit(":", 1)

    def ask(path, body=None):
        request = urllib.request.Request(ready["http"] + path, body, {"authorization": f"Bearer {token}"})
        if body is not None:
            request.add_header("content-type", "application/json")
        return urllib.request.urlopen(request).read()

    def caught_up():
        while True:
            text = ask("/metrics").decode()
            lags = [int(l.rsplit(" ", 1)[1]) for l in text.splitlines() if l.startswith("onemap_cursor_lag_records{")]
            if max(lags) <= 2:
                return
            time.sleep(0.05)

    def all_forwarded(n):
        """Waits until the superior has answered so many; how many it has."""
        while True:
            text = ask("/metrics").decode()
            answered = [int(l.rsplit(" ", 1)[1]) for l in text.splitlines() if l.startswith("onemap_forward_answered_total{")]
            if answered[0] >= n:
                return answered[0]
            time.sleep(0.05)

    names = [f"S{i:06}" for i in range(args.stations)]
    for mn in names:
        device = {"id": mn, "name": mn, "kind": "air_station", "profile": "hj212-air"}
        ask("/api/v1/devices", json.dumps(device).encode())
        ask(f"/api/v1/devices/{mn}/token", b'{"password":"123456"}')
    caught_up()
    time.sleep(3)
    before = status(server.pid, "VmRSS")
    now = datetime.datetime.now(BEIJING)
    stamp = lambda at: at.strftime("%Y%m%d%H%M%S")
    stations = []
    for mn in names:
        station = socket.create_connection((host, int(port)))
        station.sendall(frame(mn, "1", stamp(now), 10, 20, flag=5))
        stations.append(station)
    for station in stations:
        assert station.recv(4096).startswith(b"##"), "an answer"
    caught_up()
    time.sleep(5)
    if args.superior:
        all_forwarded(args.stations)
    idle = status(server.pid, "VmRSS")

    share = args.frames // args.busy
    streams = []
    for k in range(args.busy):
        start = now - datetime.timedelta(seconds=share + 60)
        parts = [frame(names[k], str(i), stamp(start + datetime.timedelta(seconds=i)), i % 97 / 2, i % 89) for i in range(share)]
        parts.append(frame(names[k], "end", stamp(now), 1, 2, flag=5))
        streams.append(b"".join(parts))
    cpu_before, began = cpu(server.pid), time.monotonic()
    senders = [threading.Thread(target=s.sendall, args=(data,)) for s, data in zip(stations, streams)]
    for sender in senders:
        sender.start()
    for sender, station in zip(senders, stations):
        sender.join()
        assert b"QN=end" in station.recv(4096)
    answered = time.monotonic() - began
    caught_up()
    if args.superior:
        all_forwarded(args.stations + (share + 1) * args.busy)
    took, spent = time.monotonic() - began, cpu(server.pid) - cpu_before
    frames = share * args.busy
    return {
        "stations": args.stations,
        "rss_before_kib": before,
        "rss_idle_kib": idle,
        "kib_per_station": round((idle - before) / args.stations, 2),
        "frames": frames,
        "bytes_per_frame": len(streams[0]) // (share + 1),
        "answered_per_s": round(frames / answered),
        "folded_per_s": round(frames / took),
        "cpu_us_per_frame": round(spent / frames * 1e6, 2),
        "frames_per_core_second": round(frames / spent),
    }


main()
