"""The server as its outside sees it: a process, an HTTP API, a port. Shared by the proofs."""
import glob
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("ONEMAP_BIN", ROOT / "target" / "release"))


def now_ms():
    return time.time_ns() // 10**6


def until(what, limit_s, state, every_s=0.05):
    """The first value of `state()` that says something; an error after the limit."""
    end = time.monotonic() + limit_s
    while True:
        value = state()
        if value is not None and value is not False:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s in vain for {what}")
        time.sleep(every_s)


class Clock:
    """A server's clock that the proof sets: ours plus what stands in a file, by libfaketime (Debian package `faketime`)."""

    def __init__(self, folder):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not libraries:
            sys.exit("libfaketime is missing: apt-get install faketime")
        self.file = folder / "clock"
        self.env = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}

    def set(self, at_ms):
        self.ahead_ms = at_ms - time.time_ns() // 10**6
        part = self.file.with_suffix(".part")
        part.write_text(f"{self.ahead_ms / 1000:+.3f}")
        part.rename(self.file)

    def now(self):
        return time.time_ns() // 10**6 + self.ahead_ms


class Server:
    """`onemap serve` on a folder that holds its onemap.toml."""

    def __init__(self, folder, env=None, wait=True, log=None):
        self.folder = folder
        self.start = time.monotonic()
        (folder / "ready.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [BIN / "onemap", "--data-dir", folder, "--config", folder / "onemap.toml", "serve"],
            stdout=subprocess.PIPE, stderr=log, env={**os.environ, "ONEMAP_LOG": "warn", **(env or {})})
        if wait:
            self.wait()

    def wait(self, limit_s=120):
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        ready = json.loads(lines.get(timeout=limit_s))
        self.opened_after = time.monotonic() - self.start
        self.http, self.port = ready["http"], int(ready["mqtt"].rsplit(":", 1)[1])
        self.token = (self.folder / "admin.token").read_text().strip()

    def raw(self, method, path, body=None, kind="application/json"):
        """Status and bytes of the answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.http + path, data=data, method=method, headers={
            "authorization": f"Bearer {self.token}", "content-type": kind})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read()

    def ask(self, path, body=None):
        status, answer = self.raw("GET" if body is None else "POST", path, body)
        if not 200 <= status < 300:
            raise RuntimeError(f"{path}: {status} {answer[:500]!r}")
        return json.loads(answer)

    def items(self, path):
        """Every item of a list, page by page."""
        after, join = None, "&" if "?" in path else "?"
        while True:
            page = self.ask(path if after is None else f"{path}{join}after={after}")
            yield from page["items"]
            after = page.get("next")
            if after is None:
                return

    def add_device(self, name, **more):
        return self.ask("/api/v1/devices", {"id": name, "name": name, "kind": "load", **more})["token"]

    def metrics(self):
        """Every sample of /metrics by its name with labels."""
        _, text = self.raw("GET", "/metrics")
        lines = (line.rsplit(" ", 1) for line in text.decode().splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in lines}

    def lag(self):
        return self.metrics()['onemap_cursor_lag_records{projection="views"}']

    def caught_up(self, limit_s=180):
        until("the pipeline to catch up", limit_s, lambda: self.lag() <= 1)

    def rss_mib(self):
        """Largest memory it ever had."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def free_port():
    """A port that nobody listens on and that the system gives to nobody who asks for any."""
    import random
    import socket
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def size_mib(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass  # the server renames and removes while we look
    return total / 2**20
