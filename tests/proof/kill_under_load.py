#!/usr/bin/env python3
"""kill -9 of the server at full MQTT load, several rounds: no acknowledged reading may be missing.

The generator writes every acknowledged `connection:sequence`; after the last round each is looked for in the
history (every version of every time). Also prints the largest memory and the disk used. The generator is
`onemap-sim load`; LOAD_COMMAND names another with the same options (`--port --conns --qos --count
--inflight --topic --users --template --acklog`).
"""
import argparse, json, os, pathlib, shlex, subprocess, sys, tempfile, threading, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("ONEMAP_BIN", ROOT / "target" / "release"))
TEMPLATE = '{"ts":{t},"values":{"temperature":{v},"seq":{seq}}}'
MAX_RSS_MIB = 1024


class Server:
    def __init__(self, folder):
        self.folder = folder
        config = folder / "onemap.toml"
        if not config.exists():
            config.write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
        start = time.monotonic()
        self.process = subprocess.Popen([BIN / "onemap", "--data-dir", folder, "--config", config, "serve"],
                                        stdout=subprocess.PIPE, env={**os.environ, "ONEMAP_LOG": "warn"})
        ready = json.loads(self.process.stdout.readline())
        self.opened_after = time.monotonic() - start
        self.http, self.port = ready["http"], ready["mqtt"].rsplit(":", 1)[1]
        self.token = (folder / "admin.token").read_text().strip()

    def ask(self, path, body=None):
        request = urllib.request.Request(self.http + path, data=body and json.dumps(body).encode(),
                                         headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def rss_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024

    def lag(self):
        for line in self.ask("/metrics").decode().splitlines():
            if line.startswith('onemap_cursor_lag_records{projection="views"}'):
                return int(line.split()[-1])


def load(server, users, acklog, conns):
    template = os.environ.get("LOAD_COMMAND")
    if template:
        command = shlex.split(template) + ["--port", server.port]
    else:
        command = [BIN / "onemap-sim", "load", "--mqtt", f"127.0.0.1:{server.port}"]
    command += ["--conns", str(conns), "--qos", "1", "--count", "1000000000", "--inflight", "50", "--topic",
                "v1/devices/me/telemetry", "--users", users, "--template", TEMPLATE, "--acklog", acklog]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=10)
    arguments.add_argument("--conns", type=int, default=20)
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("PROOF_DIR")) as folder:
        folder = pathlib.Path(folder)
        acked, peak = [], 0
        server = Server(folder)
        for turn in range(arguments.rounds):
            names = [f"load-{turn}-{i}" for i in range(arguments.conns)]
            tokens = [json.loads(server.ask("/api/v1/devices", {"id": n, "name": n, "kind": "load"}))["token"] for n in names]
            users, acklog = folder / "users.txt", folder / f"acked-{turn}.txt"
            users.write_text("\n".join(tokens) + "\n")
            generator = load(server, users, acklog, arguments.conns)
            time.sleep(arguments.seconds * (0.6 + 0.2 * turn))
            peak = max(peak, server.rss_mib())
            behind = server.lag()
            server.process.kill()
            server.process.wait()
            try:
                generator.wait(30)
            except subprocess.TimeoutExpired:
                generator.terminate()
                generator.wait()
            rows = [line.split(":") for line in acklog.read_text().splitlines() if ":" in line]
            acked += [(names[int(c)], int(s)) for c, s in rows]
            server = Server(folder)
            print(f"round {turn + 1}: {len(rows)} acknowledged, pipeline {behind} records behind at the kill, open again after {server.opened_after:.1f} s", flush=True)
        while server.lag() > 1:
            time.sleep(0.1)
        peak = max(peak, server.rss_mib())
        wanted = {}
        for device, seq in acked:
            wanted.setdefault(device, set()).add(seq)
        missing = twice = stored = 0
        for device, seqs in wanted.items():
            series = json.loads(server.ask(f"/api/v1/series?device={device}&quantity=seq"))["items"][0]["id"]
            items = json.loads(server.ask(f"/api/v1/series/{series}/values?revisions=true"))["items"]
            values = [int(i["v"]) for i in items]
            missing += len(seqs - set(values))
            twice += len(values) - len(set(values))
            stored += len(values)
        size = lambda path: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 2**20
        print(json.dumps({"acknowledged": len(acked), "stored": stored, "missing": missing, "twice": twice,
                          "peak_rss_mib": round(peak), "journal_mib": round(size(folder / "journal")),
                          "history_mib": round(size(folder / "history"))}))
        server.process.terminate()
        server.process.wait(30)
        if missing or twice or not acked or peak > MAX_RSS_MIB:
            sys.exit(f"fails: {missing} missing, {twice} twice, peak {peak:.0f} MiB (limit {MAX_RSS_MIB})")


main()
