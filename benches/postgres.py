"""PostgreSQL as a user would set it up for readings: the peer of history.py.

A table of series, a table of points with a key (series, at) and a BRIN index on `at`, hours and days of every series
in tables of their own as a job would keep them. Readings come by COPY, 10,000 rows a transaction, each synced before it
is acknowledged. Asked over one kept connection that speaks the server's own protocol; answers are read whole as text.
"""
import os, pathlib, pwd, shutil, signal, socket, struct, subprocess, sys, tempfile, time

BIN = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), pathlib.Path("/usr/bin"))
HOUR = 3_600_000
SCHEMA = """
CREATE TABLE series (id integer PRIMARY KEY, quantity text NOT NULL, device text NOT NULL, district text NOT NULL, UNIQUE (quantity, device));
CREATE TABLE points (series integer NOT NULL, at timestamptz NOT NULL, value double precision NOT NULL, PRIMARY KEY (series, at));
CREATE INDEX points_at ON points USING brin (at);
CREATE TABLE hours (series integer, at timestamptz, n bigint, sum double precision, min double precision, max double precision, PRIMARY KEY (series, at));
CREATE TABLE days (LIKE hours INCLUDING ALL);
"""
# As a machine of 4 to 8 GiB has it; what is acknowledged is synced.
CONFIG = """listen_addresses = ''
shared_buffers = 1GB
effective_cache_size = 4GB
work_mem = 64MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
synchronous_commit = on
jit = off
"""


class Connection:
    """A session over the Unix socket: simple queries and COPY. What fails ends the run."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb", 1 << 16)
        said = b"user\0postgres\0database\0postgres\0\0"
        self.socket.sendall(struct.pack("!ii", len(said) + 8, 196608) + said)
        self.until_ready()

    def message(self):
        kind, length = struct.unpack("!ci", self.file.read(5))
        return kind, self.file.read(length - 4)

    def until_ready(self):
        """Rows, to the end of the answer."""
        rows = 0
        while True:
            kind, body = self.message()
            if kind == b"E":
                sys.exit(f"PostgreSQL: {body.decode(errors='replace')}")
            rows += kind == b"D"
            if kind in b"ZG":
                return rows

    def send(self, kind, body):
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def run(self, text):
        self.send(b"Q", text.encode() + b"\0")
        return self.until_ready()

    def value(self, text):
        """The first column of the last row of an answer, as text."""
        self.send(b"Q", text.encode() + b"\0")
        found = None
        while True:
            kind, body = self.message()
            if kind == b"E":
                sys.exit(f"PostgreSQL: {body.decode(errors='replace')}")
            if kind == b"D":
                length = struct.unpack("!i", body[2:6])[0]
                found = body[6:6 + length].decode()
            if kind == b"Z":
                return found

    def copy(self, into, body):
        self.run(f"COPY {into} FROM STDIN")
        self.send(b"d", body)
        self.send(b"c", b"")
        return self.until_ready()


class Postgres:
    name = "PostgreSQL"
    schema = SCHEMA

    def __init__(self, folder):
        self.folder, self.ids, self.process = folder / "postgres", {}, None
        # It refuses to run as root, and its own user cannot look into the folders of others.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="bench-postgres-", dir=folder if self.user is None else "/tmp"))
        self.data = self.base / "data"
        if self.user:
            known = pwd.getpwnam(self.user)
            os.chown(self.base, known.pw_uid, known.pw_gid)
        self.as_user([BIN / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"])
        with open(self.data / "postgresql.conf", "a") as config:
            config.write(CONFIG + f"unix_socket_directories = '{self.base}'\n")
        self.start()
        self.connection.run(self.schema)

    def as_user(self, command):
        subprocess.run(self.user_command(command), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def user_command(self, command):
        return (["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []) + [str(part) for part in command]

    def start(self):
        log = open(self.base.parent / (self.base.name + ".log"), "a")
        self.process = subprocess.Popen(self.user_command([BIN / "postgres", "-D", self.data]), stdout=log, stderr=log, cwd="/")
        until, path = time.monotonic() + 60, self.base / ".s.PGSQL.5432"
        while True:
            try:
                self.connection = Connection(path)
                return
            except (OSError, SystemExit, struct.error):
                if time.monotonic() > until or self.process.poll() is not None:
                    sys.exit(f"PostgreSQL does not come up: {log.name}")
                time.sleep(0.1)

    def stop(self):
        # SIGTERM would wait for the session to end by itself.
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)

    def remove(self):
        shutil.rmtree(self.base, ignore_errors=True)
        (self.base.parent / (self.base.name + ".log")).unlink(missing_ok=True)

    def write(self, files):
        """Every file of line protocol as one COPY; the longest in milliseconds. Who sends it knows the numbers of the series."""
        longest = 0.0
        for file in files:
            rows, new = [], []
            for line in file.read_text().splitlines():
                names, value, at = line.split(" ")
                if names not in self.ids:
                    self.ids[names] = len(self.ids) + 1
                    quantity, device, district = names.split(",")
                    new.append(f"{self.ids[names]}\t{quantity}\t{device.partition('=')[2]}\t{district.partition('=')[2]}\n")
                ms = int(at)
                stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000))
                rows.append(f"{self.ids[names]}\t{stamp}.{ms % 1000:03}Z\t{value.partition('=')[2]}\n")
            new, rows = "".join(new).encode(), "".join(rows).encode()
            began = time.perf_counter()
            if new:
                self.connection.copy("series", new)
            self.connection.copy("points", rows)
            longest = max(longest, time.perf_counter() - began)
        return longest * 1000

    def settle(self):
        """What autovacuum and the checkpointer would do by themselves some time later."""
        self.connection.run("VACUUM (ANALYZE) points")
        self.connection.run("VACUUM (ANALYZE) series")
        self.connection.run("CHECKPOINT")

    def roll_up(self):
        """Hours and days of all points; how long it takes in seconds."""
        began = time.monotonic()
        self.connection.run("INSERT INTO hours SELECT series, date_trunc('hour', at), count(*), sum(value), min(value), max(value) FROM points GROUP BY 1, 2")
        # Days of Beijing, as the question has them.
        self.connection.run("INSERT INTO days SELECT series, date_trunc('day', at, 'Asia/Shanghai'), sum(n), sum(sum), min(min), max(max) FROM hours GROUP BY 1, 2")
        for table in ["hours", "days"]:
            self.connection.run(f"VACUUM (ANALYZE) {table}")
        return time.monotonic() - began

    def pids(self):
        own = self.process.pid
        children = pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def cpu(self):
        """Of the server's processes, those that have ended with them."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended; the server counts it from then on
            ticks += sum(map(int, fields[11:15] if pid == self.process.pid else fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss(self):
        """Memory of all its processes, shared pages by their share."""
        kib = 0
        for pid in self.pids():
            try:
                lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kib / 1024

    def disk_bytes(self):
        return sum(f.stat().st_blocks * 512 for f in (self.data / "base").rglob("*") if f.is_file())

    def query(self, text, least=1):
        def ask():
            if self.connection.run(text) < least:
                sys.exit(f"PostgreSQL: no rows: {text}")
        return ask

    def series(self, quantity, device):
        """Found by name with every question, as whoever asks does."""
        return f"(SELECT id FROM series WHERE quantity = '{quantity}' AND device = '{device}')"

    def single(self, device, first, last):
        return self.query(f"SELECT at, value FROM points WHERE series = {self.series('temperature', device)} AND at >= {stamp(first)} AND at < {stamp(last)} ORDER BY at")

    def stepped(self, device, first, last, table):
        return self.query(f"SELECT at, sum / n FROM {table} WHERE series = {self.series('water_level', device)} AND at >= {stamp(first)} AND at < {stamp(last)} ORDER BY at")

    def stepped_raw(self, device, first, last):
        return self.query(f"SELECT date_trunc('day', at, 'Asia/Shanghai'), avg(value) FROM points WHERE series = {self.series('water_level', device)} AND at >= {stamp(first)} AND at < {stamp(last)} GROUP BY 1 ORDER BY 1")

    def by_division(self, quantity, first, last):
        return self.query(f"SELECT district, hours.at, avg(sum / n) FROM hours JOIN series ON id = series WHERE quantity = '{quantity}' AND hours.at >= {stamp(first)} AND hours.at < {stamp(last)} GROUP BY 1, 2 ORDER BY 1, 2")

    def last_hour(self, first, last):
        """All quantities in one look at the table."""
        return self.query(f"SELECT quantity, district, avg(value) FROM points JOIN series ON id = series WHERE at >= {stamp(first)} AND at < {stamp(last)} GROUP BY 1, 2")

    def latest_all(self):
        """By the key, a look for each series."""
        return self.query("SELECT id, at, value FROM series CROSS JOIN LATERAL (SELECT at, value FROM points WHERE series = id ORDER BY at DESC LIMIT 1) last")()


def stamp(ms):
    return f"to_timestamp({ms / 1000:.3f})"
