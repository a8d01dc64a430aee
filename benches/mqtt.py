#!/usr/bin/env python3
"""MQTT ingest beside mosquitto: acknowledged messages a second and CPU a message, QoS 1.

Both servers run at the same time on loopback and are loaded in turn, A B A B, by the same generator
(`onemap-sim load`). onemap runs whole: fsync before each PUBACK, decoding, history, rules, ledger; its CPU
is counted until its pipeline has caught up. mosquitto runs without persistence: it stores nothing.
Prints one JSON line a run and a Markdown table of medians.

    benches/mqtt.py [--count N] [--rounds N]
"""
import argparse, json, os, pathlib, platform, shutil, socket, statistics, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "target" / "release"
TEMPLATE = '{"ts":{t},"values":{"temperature":{v},"humidity":45,"pm10":81,"pm2_5":35,"noise_laeq":51.5,"battery":97,"seq":{seq}}}'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


class Onemap:
    name = "onemap"

    def __init__(self, folder, conns):
        (folder / "rules").mkdir(parents=True)
        for rules in (ROOT / "config" / "rules").glob("*.yaml"):
            shutil.copy(rules, folder / "rules")
        (folder / "onemap.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
        self.process = subprocess.Popen(
            [BIN / "onemap", "--data-dir", folder, "--config", folder / "onemap.toml", "serve"],
            stdout=subprocess.PIPE, env={**os.environ, "ONEMAP_LOG": "warn"})
        ready = json.loads(self.process.stdout.readline())
        self.http, self.mqtt, self.pid = ready["http"], ready["mqtt"], self.process.pid
        self.token = (folder / "admin.token").read_text().strip()
        self.users = folder / "users.txt"
        tokens = [self.post("/api/v1/devices", {"id": f"bench-{i}", "name": f"bench {i}", "kind": "air_station",
                                                "position": {"lon": 101.78, "lat": 36.62}, "cadence_s": 60})["token"]
                  for i in range(conns)]
        self.users.write_text("\n".join(tokens) + "\n")

    def ask(self, path, body=None):
        request = urllib.request.Request(self.http + path, data=body and json.dumps(body).encode(),
                                         headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def post(self, path, body):
        return json.loads(self.ask(path, body))

    def settle(self):
        """Waits until every record is folded in; returns the seconds it took."""
        start = time.monotonic()
        while True:
            for line in self.ask("/metrics").decode().splitlines():
                if line.startswith('onemap_cursor_lag_records{projection="views"}') and int(line.split()[-1]) <= 1:
                    return time.monotonic() - start
            time.sleep(0.05)


class Mosquitto:
    name = "mosquitto"

    def __init__(self, folder, conns):
        port = free_port()
        folder.mkdir(parents=True)
        conf = folder / "mosquitto.conf"
        conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = subprocess.Popen([program, "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.mqtt, self.pid, self.users = f"127.0.0.1:{port}", self.process.pid, None
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("mosquitto did not come up")

    def settle(self):
        return 0.0


def run(server, conns, count):
    before = cpu_seconds(server.pid)
    command = [BIN / "onemap-sim", "load", "--mqtt", server.mqtt, "--conns", str(conns), "--qos", "1", "--count",
               str(count), "--inflight", "50", "--template", TEMPLATE]
    if server.users:
        command += ["--users", server.users]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    behind = server.settle()
    cpu = cpu_seconds(server.pid) - before
    return {"server": server.name, "conns": conns, "acked": report["acknowledged"], "rate": report["msgs_per_s"],
            "p50_ms": report["ack_p50_ms"], "p99_ms": report["ack_p99_ms"],
            "cpu_us_per_message": cpu * 1e6 / report["acknowledged"], "caught_up_after_s": round(behind, 2),
            "rss_mib": round(rss_mib(server.pid))}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=300_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments = arguments.parse_args()
    rows = []
    for conns in (1, 50):
        with tempfile.TemporaryDirectory() as folder:
            servers = [kind(pathlib.Path(folder) / kind.name, conns) for kind in (Onemap, Mosquitto)]
            try:
                for server in servers:
                    run(server, conns, arguments.count // 10)
                for _ in range(arguments.rounds):
                    for server in servers:
                        rows.append(run(server, conns, arguments.count))
                        print(json.dumps(rows[-1]), flush=True)
            finally:
                for server in servers:
                    server.process.terminate()
                    server.process.wait(30)
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {cpu}, Linux {platform.release()}, medians of {arguments.rounds} runs\n")
    print("| connections | server | acknowledged msgs/s | ack p50 ms | ack p99 ms | CPU µs/msg | RSS MiB | caught up after s |")
    print("|---|---|---|---|---|---|---|---|")
    for conns in (1, 50):
        medians = {}
        for name in ("onemap", "mosquitto"):
            own = [r for r in rows if r["conns"] == conns and r["server"] == name]
            m = {k: statistics.median(r[k] for r in own) for k in ("rate", "p50_ms", "p99_ms", "cpu_us_per_message", "rss_mib", "caught_up_after_s")}
            medians[name] = m
            print(f"| {conns} | {name} | {m['rate']:,.0f} | {m['p50_ms']:.2f} | {m['p99_ms']:.2f} | {m['cpu_us_per_message']:.2f} | {m['rss_mib']:.0f} | {m['caught_up_after_s']:.2f} |")
        a, b = medians["onemap"], medians["mosquitto"]
        print(f"| {conns} | ratio | {a['rate'] / b['rate']:.2f}x | {a['p50_ms'] / b['p50_ms']:.2f}x | {a['p99_ms'] / b['p99_ms']:.2f}x | {a['cpu_us_per_message'] / b['cpu_us_per_message']:.2f}x | | |")


main()
