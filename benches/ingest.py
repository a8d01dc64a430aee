#!/usr/bin/env python3
"""The front door's figures beside its peers, in one run (`make bench-ingest`).

Peers, all from Debian: mosquitto without persistence and without a subscriber (it stores nothing), and the
usual stack that does store, mosquitto + a subscriber + VictoriaMetrics. Servers of one case are up together
and loaded in turn, A B C A B C, by one generator; figures are medians over the rounds.

onemap runs whole: fsync before each PUBACK, decoding, admission, history, gap ledger, one rule for each
series. Payloads are ThingsBoard JSON of one value, `{"ts":…,"values":{"temperature":…}}`, every reading a
new point of its device. Its rate counts until every cursor (`onemap_cursor_lag_records`) has caught up, its
CPU until the checkpoint that holds the last record.

    benches/ingest.py [--quick] [--noisy] [--rounds N] [--generator PATH_OF_MQTT_LOAD] [--only CASE,…]

`--quick` is a smoke run of seconds whose figures mean nothing; its exit code says whether it ran. Figures
that fall short do not change the exit code.
"""
import argparse, json, os, pathlib, platform, shutil, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
TEMPLATE = '{"ts":{ts},"values":{"temperature":{v}}}'
# mqtt-load has no mark for distinct stamps: several messages of one millisecond revise one another.
TEMPLATE_REVISING = '{"ts":{t},"values":{"temperature":{v}}}'
WINDOW = 50


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=60, pause=0.02):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(pause)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def cpu_seconds(pid):
    """What the scheduler has charged to a process, to the nanosecond (`stat` counts in hundredths)."""
    spent = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that has just ended
    return spent / 1e9


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def busy_seconds():
    """CPU seconds of the whole machine, to see what others take."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


class Server:
    """Something that takes MQTT, with the processes that make it up."""

    topic = "v1/devices/me/telemetry"
    users = None

    def __init__(self, name):
        self.name, self.processes, self.next_stamp = name, [], 0

    def start(self, command, **options):
        process = subprocess.Popen([str(c) for c in command], **options)
        self.processes.append(process)
        return process

    def cpu(self):
        return sum(cpu_seconds(p.pid) for p in self.processes)

    def rss(self):
        return sum(rss_mib(p.pid) for p in self.processes)

    def before(self):
        pass

    def settle(self, count):
        """Waits until everything acknowledged is taken in."""

    def rest(self):
        """Waits for work that is put off and still belongs to the load."""

    def stop(self):
        for process in reversed(self.processes):
            if process.stdin:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


RULE = """  - id: hot-{i}
    name: {{zh: 高温, en: hot}}
    applies_to: {{device: bench-{i}}}
    severity: minor
    when:
      above: {{quantity: temperature, raise: 60 Cel, clear: 55 Cel}}
    for: 10 s
    clear_for: 10 s
    advice: {{zh: 查看, en: Look}}
"""


class Onemap(Server):
    def __init__(self, folder, conns):
        super().__init__("onemap")
        self.folder = folder / "onemap"
        (self.folder / "rules").mkdir(parents=True)
        rules = "".join(RULE.format(i=i) for i in range(conns))
        (self.folder / "rules" / "bench.yaml").write_text("version: 1\nrules:\n" + rules)
        config = self.folder / "onemap.toml"
        config.write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n[history]\ncheckpoint_seconds = 2\n')
        process = self.start([TARGET / "onemap", "--data-dir", self.folder, "--config", config, "serve"],
                             stdout=subprocess.PIPE, env={**os.environ, "ONEMAP_LOG": "error"})
        ready = json.loads(process.stdout.readline())
        self.http, self.mqtt, self.pid = ready["http"], ready["mqtt"], process.pid
        self.token = (self.folder / "admin.token").read_text().strip()
        self.users = folder / "users.txt"
        tokens = [json.loads(self.ask("/api/v1/devices", {"id": f"bench-{i}", "name": f"bench {i}", "kind": "air_station",
                                      "position": {"lon": 101.78, "lat": 36.62}, "cadence_s": 60}))["token"]
                  for i in range(conns)]
        self.users.write_text("\n".join(tokens) + "\n")

    def ask(self, path, body=None):
        request = urllib.request.Request(self.http + path, data=body and json.dumps(body).encode(),
                                         headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def metrics(self, name):
        lines = self.ask("/metrics").decode().splitlines()
        return [int(line.split()[-1]) for line in lines if line.startswith(name)]

    def before(self):
        self.readings = sum(self.metrics("onemap_readings_total"))

    def settle(self, count):
        wait_for("onemap's cursors", lambda: max(self.metrics("onemap_cursor_lag_records")) <= 1, 300)
        taken = sum(self.metrics("onemap_readings_total")) - self.readings
        if taken != count:
            sys.exit(f"onemap acknowledged {count} readings and took in {taken}")

    def rest(self):
        # A tick a second is a record too.
        wait_for("onemap's checkpoint", lambda: max(self.metrics("onemap_checkpoint_lag_records")) <= 4)


class FrontEnd(Server):
    """onemap's front end and journal alone."""

    def __init__(self, folder, conns):
        super().__init__("front end + journal")
        self.users = folder / "front-users.txt"
        self.users.write_text("".join(f"token-{i}\n" for i in range(conns)))
        process = self.start([TARGET / "examples" / "front_end", "127.0.0.1:0", folder / "front", self.users],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.mqtt, self.pid = process.stdout.readline().decode().split()[2].rstrip(","), process.pid


class Mosquitto(Server):
    topic = "bench/{conn}/telemetry"

    def __init__(self, folder, conns, name="mosquitto"):
        super().__init__(name)
        folder = folder / name.replace(" ", "")
        folder.mkdir()
        port = free_port()
        conf = folder / "mosquitto.conf"
        conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                        "max_inflight_messages 0\nmax_queued_messages 0\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        process = self.start([program, "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.mqtt, self.pid = f"127.0.0.1:{port}", process.pid
        wait_for("mosquitto", lambda: is_open(port))


class Stack(Mosquitto):
    """mosquitto, a subscriber, VictoriaMetrics."""

    def __init__(self, folder, conns):
        super().__init__(folder, conns, "mosquitto + subscriber + VictoriaMetrics")
        port = free_port()
        self.start(["victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'vm'}",
                    "-retentionPeriod=10y", "-selfScrapeInterval=0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("VictoriaMetrics", lambda: is_open(port))
        writer = self.start([TARGET / "examples" / "vm_writer", self.mqtt, f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
        self.written, self.is_ready = 0, False
        threading.Thread(target=self.follow, args=(writer.stdout,), daemon=True).start()
        wait_for("the subscriber", lambda: self.is_ready)

    def follow(self, lines):
        for line in lines:
            if line.strip() == b"ready":
                self.is_ready = True
            else:
                self.written = int(line)

    def before(self):
        self.first = self.written

    def settle(self, count):
        wait_for("VictoriaMetrics has every reading", lambda: self.written - self.first >= count, 120)

    def rest(self):
        time.sleep(1.5)  # it makes parts of what it took a second ago


class Sim:
    """`onemap-sim load`: distinct stamps."""

    name = "onemap-sim load"

    def load(self, server, conns, count, inflight=WINDOW, rate=0, users=None):
        users = users or server.users
        # Stamps of a connection rise by a millisecond a message, faster than time does.
        per_connection = -(-count // conns)
        stamp = max(server.next_stamp, int(time.time() * 1000) - 90_000) if users is server.users else None
        server.next_stamp = stamp + per_connection if stamp else server.next_stamp
        command = [TARGET / "onemap-sim", "load", "--mqtt", server.mqtt, "--conns", conns, "--qos", 1, "--count", count,
                   "--inflight", inflight, "--rate", rate, "--template", TEMPLATE, "--topic", server.topic]
        command += ["--users", users] if users else []
        command += ["--first-stamp", stamp] if stamp else []
        report = json.loads(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout)
        if report["lost_connections"] or report["refused_connections"]:
            sys.exit(f"{server.name} lost connections: {report}")
        return {"acked": report["acknowledged"], "seconds": report["seconds"], "p50_ms": report["ack_p50_ms"],
                "p99_ms": report["ack_p99_ms"]}


class MqttLoad:
    """`mqtt-load`, written by others."""

    name = "mqtt-load"

    def __init__(self, program):
        self.program = program

    def load(self, server, conns, count, inflight=WINDOW, rate=0, users=None):
        host, port = server.mqtt.rsplit(":", 1)
        command = [self.program, "--host", host, "--port", port, "--conns", conns, "--qos", 1, "--count", count,
                   "--inflight", inflight, "--rate", rate, "--template", TEMPLATE_REVISING,
                   "--topic", server.topic.replace("{conn}", "{c}"), "--max-secs", 120]
        command += ["--users", users or server.users] if users or server.users else []
        report = json.loads(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout)
        if report["errs"]:
            sys.exit(f"{server.name} lost connections: {report}")
        return {"acked": report["done"], "seconds": report["done"] / max(report["rate"], 1), "p50_ms": report["lat_us_p50"] / 1000,
                "p99_ms": report["p99"] / 1000}


def measure(server, generator, conns, count, **options):
    """One run; again when other processes took more than a fifth of the machine meanwhile."""
    for attempt in range(3):
        server.before()
        cpu, wall, others = server.cpu(), time.monotonic(), busy_seconds()
        children = os.times()
        report = generator.load(server, conns, count, **options)
        loaded = time.monotonic()
        server.settle(report["acked"])
        behind = time.monotonic() - loaded
        server.rest()
        spent = server.cpu() - cpu
        now = os.times()
        generated = now.children_user + now.children_system - children.children_user - children.children_system
        generated += now.user + now.system - children.user - children.system
        others = (busy_seconds() - others - spent - generated) / (time.monotonic() - wall) / os.cpu_count()
        if others < 0.2 or NOISE_ALLOWED:
            break
        print(f"   other processes took {others:.0%} of the machine: again", file=sys.stderr)
    seconds = report["seconds"] + behind
    row = {"server": server.name, "generator": generator.name, "conns": conns, "n": report["acked"],
           "rate": report["acked"] / seconds, "acked_rate": report["acked"] / report["seconds"], "cpu_us": spent * 1e6 / report["acked"],
           "p50_ms": report["p50_ms"], "p99_ms": report["p99_ms"], "behind_s": behind, "rss_mib": server.rss(), "others": others}
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    return row


def fdatasync_ms(folder, seconds):
    """How long this disk takes to make a small append durable, into room set aside as the journal does."""
    times = []
    fd = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(fd, 0, 32 << 20)
        end, at = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            os.pwrite(fd, b"x" * 4096, at % (32 << 20))
            at += 4096
            start = time.monotonic()
            os.fdatasync(fd)
            times.append((time.monotonic() - start) * 1000)
    finally:
        os.close(fd)
        os.unlink(folder / "sync")
    return times


class Bench:
    def __init__(self, arguments):
        self.quick, self.rounds = arguments.quick, 1 if arguments.quick else arguments.rounds
        self.scale = 0.02 if arguments.quick else 1.0
        self.sim = Sim()
        self.independent = mqtt_load(arguments.generator)
        self.rows, self.syncs, self.only = [], [], arguments.only
        self.unsure = 0

    def count(self, n):
        return max(int(n * self.scale), 2000)

    def wanted(self, case):
        return self.only is None or case in self.only

    def row(self, case, figure, peer, ratio, target, holds):
        self.rows.append((case, figure, peer, ratio, target, holds))

    def sync(self, folder):
        self.syncs += fdatasync_ms(folder, 0.3 if self.quick else 1.0)

    def up(self, kinds, conns):
        self.folder = tempfile.TemporaryDirectory(dir=BENCH_DIR)
        folder, servers = pathlib.Path(self.folder.name), []
        self.servers = servers
        for kind in kinds:
            servers.append(kind(folder, conns))
        return folder, servers

    def down(self):
        for server in self.servers:
            server.stop()
        self.folder.cleanup()

    def rounds_of(self, kinds, conns, count, generator):
        """Medians by server."""
        results = {}
        folder, servers = self.up(kinds, conns)
        try:
            for server in servers:
                measure(server, generator, conns, max(count // 10, conns))
            for _ in range(self.rounds):
                self.sync(folder)
                for server in servers:
                    results.setdefault(server.name, []).append(measure(server, generator, conns, count))
        finally:
            self.down()
        return {name: {k: statistics.median(r[k] for r in rows) for k in rows[0] if isinstance(rows[0][k], (int, float))}
                for name, rows in results.items()}

    def many(self, conns):
        stack = [Stack] if conns == 50 and shutil.which("victoria-metrics") else []
        kinds, count = [Onemap, FrontEnd, Mosquitto], self.count(400_000)
        m = self.rounds_of(kinds + stack, conns, count, self.sim)
        self.beside_mosquitto(f"{conns} connections", conns, m)
        if self.independent and conns == 50:
            other = self.rounds_of(kinds, conns, count, self.independent)
            self.beside_mosquitto("the same by mqtt-load, most readings revising one of the same ms", conns, other)
        whole = m["onemap"]
        self.row(f"{conns} connections, whole: memory under load", f"{whole['rss_mib']:.0f} MiB", "", "", "bounded, see below", None)
        if conns == 50 and not stack:
            self.row(f"{conns} connections against a stack that stores", "not measured: apt-get install victoria-metrics", "", "", "≤ 0.2x", None)
        if stack:
            other = m["mosquitto + subscriber + VictoriaMetrics"]
            cpu = whole["cpu_us"] / other["cpu_us"]
            self.row(f"{conns} connections against a stack that stores: CPU a reading", f"{whole['cpu_us']:.2f} µs",
                     f"mosquitto + subscriber + VictoriaMetrics {other['cpu_us']:.2f} µs", f"{cpu:.2f}x", "≤ 0.2x", cpu <= 0.2)
            self.row(f"{conns} connections against a stack that stores: rate", f"{whole['rate']:,.0f}/s",
                     f"{other['rate']:,.0f}/s", f"{whole['rate'] / other['rate']:.2f}x", "", None)

    def beside_mosquitto(self, what, conns, m):
        whole, front, bare = (m[name] for name in ("onemap", "front end + journal", "mosquitto"))
        for name, own, more, less in (("whole", whole, 1.5, 1.0), ("front end and journal alone", front, {50: 2.5, 1000: 2.0}[conns], 0.35)):
            rate, cpu = own["rate"] / bare["rate"], own["cpu_us"] / bare["cpu_us"]
            self.row(f"{what}, {name}: rate", f"{own['rate']:,.0f}/s", f"mosquitto {bare['rate']:,.0f}/s", f"{rate:.2f}x", f"≥ {more}x", rate >= more)
            self.row(f"{what}, {name}: CPU a message", f"{own['cpu_us']:.2f} µs", f"mosquitto {bare['cpu_us']:.2f} µs", f"{cpu:.2f}x", f"≤ {less}x", cpu <= less)

    def one(self):
        """One connection: each run speaks as another device, so that its stamps never meet old ones."""
        n_devices = 2 * self.rounds + 1
        folder, servers = self.up([Onemap, Mosquitto], n_devices)
        bound, windowed, bare = [], [], []
        try:
            tokens = servers[0].users.read_text().split()
            users = [folder / f"user-{i}" for i in range(n_devices)]
            for path, token in zip(users, tokens):
                path.write_text(token + "\n")
            whole, mosquitto = servers
            measure(whole, self.sim, 1, self.count(20_000), users=users.pop())
            measure(mosquitto, self.sim, 1, self.count(20_000))
            syncs = []
            for _ in range(self.rounds):
                syncs += fdatasync_ms(folder, 0.3 if self.quick else 1.5)
                bound.append(measure(whole, self.sim, 1, self.count(1_000_000), inflight=10_000, users=users.pop()))
                windowed.append(measure(whole, self.sim, 1, self.count(600_000), users=users.pop()))
                bare.append(measure(mosquitto, self.sim, 1, self.count(600_000)))
                syncs += fdatasync_ms(folder, 0.3 if self.quick else 1.5)
        finally:
            self.down()
        self.syncs += syncs
        median = lambda rows, key: statistics.median(r[key] for r in rows)
        sync = statistics.median(syncs)
        by_disk, by_cpu, rate = WINDOW / sync * 1000, median(bound, "rate"), median(windowed, "rate")
        least = min(by_disk, by_cpu)
        self.row("one connection, window 50: rate", f"{rate:,.0f}/s",
                 f"least of CPU bound {by_cpu:,.0f}/s (window 10,000) and 50 ÷ fdatasync {sync:.2f} ms = {by_disk:,.0f}/s",
                 f"{rate / least:.2f}x", "≥ 0.8x", rate >= 0.8 * least)
        self.row("one connection, window 50: beside mosquitto", f"{rate:,.0f}/s", f"mosquitto {median(bare, 'rate'):,.0f}/s",
                 f"{rate / median(bare, 'rate'):.2f}x", "", None)

    def latency(self):
        folder, servers = self.up([Onemap, Mosquitto], 50)
        rows, bare, syncs = [], [], []
        try:
            seconds = 1 if self.quick else 6
            measure(servers[0], self.sim, 50, 2000)
            for _ in range(self.rounds):
                syncs += fdatasync_ms(folder, 0.3 if self.quick else 1.5)
                rows.append(measure(servers[0], self.sim, 50, 2000 * seconds, rate=2000))
                bare.append(measure(servers[1], self.sim, 50, 2000 * seconds, rate=2000))
                syncs += fdatasync_ms(folder, 0.3 if self.quick else 1.5)
        finally:
            self.down()
        self.syncs += syncs
        sync, own = statistics.median(syncs), statistics.median(r["p50_ms"] for r in rows)
        self.row("2,000 messages/s over 50 connections: ack p50", f"{own:.2f} ms", f"one fdatasync {sync:.2f} ms", f"{own / sync:.2f}x", "≤ 2.2x", own <= 2.2 * sync)
        self.row("the same: ack p99, CPU a message", f"{statistics.median(r['p99_ms'] for r in rows):.2f} ms, {statistics.median(r['cpu_us'] for r in rows):.1f} µs",
                 f"mosquitto p50 {statistics.median(r['p50_ms'] for r in bare):.2f}, p99 {statistics.median(r['p99_ms'] for r in bare):.2f} ms, {statistics.median(r['cpu_us'] for r in bare):.1f} µs", "", "", None)

    def decode(self):
        out = subprocess.run([TARGET / "examples" / "admit_bench"], check=True, stdout=subprocess.PIPE).stdout
        ns = json.loads(out)
        ten = ns["decode_admit_10_ns"] / 1000
        self.row("decode + admit of a 10-value message: CPU", f"{ten:.2f} µs", f"of one value {ns['decode_admit_1_ns'] / 1000:.2f} µs", "", "≤ 2 µs", ten <= 2)

    def other(self, script, case):
        """A bench of its own that prints one JSON line {"rows": [[case, figure, peer, ratio, target, holds], …]}."""
        path = ROOT / "benches" / script
        if not path.exists():
            self.row(case, "not measured", "", "", "", None)
            return
        command = [sys.executable, str(path), "--json"] + (["--quick"] if self.quick else [])
        done = subprocess.run(command, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"benches/{script} failed")
        self.rows += [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])["rows"]]


def mqtt_load(given):
    """Builds `../shared/tools/mqtt-load` when it is there."""
    if given:
        return MqttLoad(given)
    source = ROOT.parent / "shared" / "tools" / "mqtt-load"
    if not (source / "Cargo.toml").exists():
        return None
    target = TARGET.parent / "mqtt-load"
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", str(source / "Cargo.toml"), "--target-dir", str(target)], check=True)
    return MqttLoad(target / "release" / "mqtt-load")


def main():
    global NOISE_ALLOWED, BENCH_DIR
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a smoke run")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--generator", help="program to use beside onemap-sim load, default ../shared/tools/mqtt-load when it is there")
    arguments.add_argument("--only", type=lambda text: text.split(","), help="50, 1000, one, latency, decode, idle, tls")
    arguments.add_argument("--noisy", action="store_true", help="take runs as they come, also beside other busy processes")
    arguments.add_argument("--dir", help="folder on the disk to measure, default target/")
    arguments = arguments.parse_args()
    NOISE_ALLOWED = arguments.quick or arguments.noisy
    BENCH_DIR = arguments.dir or TARGET.parent
    if not (shutil.which("mosquitto") or os.path.exists("/usr/sbin/mosquitto")):
        sys.exit("mosquitto is needed: apt-get install mosquitto")
    bench, started = Bench(arguments), time.monotonic()
    for case, work in (("50", lambda: bench.many(50)), ("1000", lambda: bench.many(1000)), ("one", bench.one), ("latency", bench.latency),
                       ("decode", bench.decode), ("idle", lambda: bench.other("idle.py", "20,000 idle connections, each with its RPC subscription")),
                       ("tls", lambda: bench.other("tls.py", "TLS: cost a message and a handshake"))):
        if bench.wanted(case):
            work()
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {cpu}, Linux {platform.release()}, medians of {bench.rounds} rounds, {time.monotonic() - started:.0f} s")
    if bench.syncs:
        s = sorted(bench.syncs)
        print(f"fdatasync of 4 KiB on the same disk in the same run: p50 {statistics.median(s):.2f} ms, p99 {s[int(len(s) * 0.99)]:.2f} ms ({len(s)} samples)")
    print("\n| case | onemap | peer | ratio | target | |\n|---|---|---|---|---|---|")
    for case, figure, peer, ratio, target, holds in bench.rows:
        print(f"| {case} | {figure} | {peer} | {ratio} | {target} | {'' if holds is None else 'holds' if holds else 'falls short'} |")


if __name__ == "__main__":
    main()
