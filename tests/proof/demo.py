#!/usr/bin/env python3
"""The demo over minutes: a calm city raises no alarm; another seed has its incident elsewhere and at another time."""
import argparse, json, os, pathlib, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("ONEMAP_BIN", ROOT / "target" / "release"))


class Demo:
    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        config = folder / "ports.toml"
        config.write_text('[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n')
        self.start = time.monotonic()
        self.process = subprocess.Popen([BIN / "onemap", "--data-dir", folder / "data", "--config", config, "demo", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "ONEMAP_LOG": "warn"})
        ready = json.loads(self.process.stdout.readline())
        self.ready_after = time.monotonic() - self.start
        self.http, self.token = ready["http"], ready["token"]

    def get(self, path):
        request = urllib.request.Request(self.http + path, headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def stop(self):
        begun = time.monotonic()
        self.process.send_signal(2)
        self.process.wait(20)
        self.folder.cleanup()
        return time.monotonic() - begun


def calm(minutes):
    demo = Demo("--without-incidents")
    print(f"ready after {demo.ready_after:.1f} s")
    worst = {}
    while time.monotonic() - demo.start < minutes * 60:
        time.sleep(5)
        alerts = demo.get("/api/v1/alerts?state=all")["items"]
        counts = demo.get("/api/v1/system")["counts"]
        if alerts:
            print(json.dumps(alerts, ensure_ascii=False))
            demo.stop()
            sys.exit("a calm city raised an alarm")
        worst = {k: max(worst.get(k, 0), counts[k]) for k in ("unknown", "stale", "abnormal")} if time.monotonic() - demo.start > 40 else worst
    print(f"{minutes} minutes, no alert; worst counts after the first 40 s {worst}; {counts}")
    print(f"stopped in {demo.stop():.1f} s")


def seeds():
    seen = []
    for seed in ("1", "7"):
        demo = Demo("--seed", seed)
        while True:
            alerts = demo.get("/api/v1/alerts?state=open")["items"]
            after = time.monotonic() - demo.start
            if alerts:
                break
            if after > 90:
                demo.stop()
                sys.exit(f"seed {seed}: no alarm within 90 s")
            time.sleep(0.2)
        first = alerts[-1]
        seen.append((first["device_name"], first["rule"], round(after)))
        print(f"seed {seed}: {first['rule']} at {first['device_name']} after {after:.0f} s; stopped in {demo.stop():.1f} s", flush=True)
    if seen[0][0] == seen[1][0] or seen[0][2] == seen[1][2]:
        sys.exit("the other seed's incident is not elsewhere and at another time")


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["calm", "seeds"])
parser.add_argument("--minutes", type=float, default=5)
arguments = parser.parse_args()
calm(arguments.minutes) if arguments.what == "calm" else seeds()
