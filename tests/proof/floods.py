#!/usr/bin/env python3
"""Floods and near-misses through the running service: what was foreseen of them, from forecasts as issued.

Each event has a catchment of its own, made from `--seed`: rain, an upstream gauge, a gauge behind it with a warning
stage. Half of them see that stage exceeded by 3 to 60 %, half come within 75 to 97 % of it. Months of history go in, the
server trains its models, and then its clock (libfaketime's, Debian package `faketime`) is set forward hour by hour
while measured values come in. A rule looks ahead at each gauge. Nothing of the event is known to the server before it
is measured, and what it said is read back from its ledger and its alerts afterwards.

A flood is foreseen when a forecast that was issued before the stage was exceeded said so (`warns`, or the alert of the
rule); the lead is from there to the exceedance. A false one says so of an event that stays below.

With `--rain-forecast` somebody foresees the rain of each catchment every three hours, twelve hours ahead, then and in all of
its history: each storm too much or too little (a factor of half to double), an hour or two early or late, one of six
not at all, and as many that never come. The server has it as an input.

    tests/proof/floods.py [--floods 30] [--near-misses 30] [--seed 1] [--days 150] [--rain-forecast] [--json]
"""
import argparse
import concurrent.futures
import datetime
import json
import math
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time

from outside import Clock, Server, until

HOUR = 3_600_000
#: Of the first hour of the event; long past, so that no real clock helps.
START = 1_789_056_000_000 // HOUR * HOUR
#: Who foresees rain, how often, and how many hours ahead.
BUREAU, EVERY_H, REACH_H = "气象台", 3, 12
#: Hours of the event that are played, and leads that are foreseen.
PLAYED, LEADS = 60, [1, 2, 3, 4, 6]
WITHIN_H = 6


class Catchment:
    """A small mountain catchment in hourly steps: two linear reservoirs to the upper gauge, a reach to the lower."""

    def __init__(self, rng):
        self.rng = rng
        self.k_h = rng.uniform(2, 6)
        self.reach_h = rng.uniform(3, 8)
        self.share = rng.uniform(0.05, 0.25)
        self.base_m, self.scale = rng.uniform(0.4, 1.2), rng.uniform(0.25, 0.6)
        self.season_days = rng.uniform(3, 6)

    def storms(self, hours):
        """Rain of each hour in mm."""
        rain, at = [0.0] * hours, 0.0
        while True:
            at += self.rng.expovariate(1 / (24 * self.season_days))
            if at >= hours:
                return rain
            self.storm(rain, int(at), self.rng.lognormvariate(2.3, 0.8))

    def storm(self, rain, at, depth):
        length = self.rng.randint(3, 14)
        shape = [self.rng.random() ** 2 * math.sin(math.pi * (n + 0.5) / length) for n in range(length)]
        total = sum(shape) or 1
        for n, share in enumerate(shape):
            if at + n < len(rain):
                rain[at + n] += depth * share / total

    def levels(self, rain, noise):
        """Levels in m of the upper and the lower gauge."""
        upper, lower = [], []
        wet, one, two, three, local = 0.2, 0.0, 0.0, 0.0, 0.0
        for n, fell in enumerate(rain):
            wet = min(1.0, wet * 0.985 + fell * 0.012)
            runs_off = fell * (0.08 + 0.7 * wet * wet)
            one += runs_off - one / self.k_h
            two += one / self.k_h - two / self.k_h
            flow = two / self.k_h
            # The reach delays and flattens; what falls beside it comes at once.
            three += flow - three / self.reach_h
            local += runs_off * self.share - local / 1.5
            stage = lambda q: self.base_m + self.scale * (0.05 + max(q, 0)) ** 0.6
            jitter = lambda: noise[n % len(noise)] * 0.004
            upper.append(round(stage(flow) + jitter(), 3))
            lower.append(round(stage(three / self.reach_h + local / 1.5) + jitter(), 3))
        return upper, lower


class Event:
    """A catchment with its history and what happens in the end."""

    def __init__(self, name, is_flood, seed, history_h):
        self.name, self.is_flood = name, is_flood
        rng = random.Random(f"{seed}/{name}")
        catchment = Catchment(rng)
        noise = [rng.gauss(0, 1) for _ in range(997)]
        rain = catchment.storms(history_h)
        quiet = list(rain) + [0.0] * PLAYED
        _, lower = catchment.levels(rain, noise)
        # The stage that is exceeded a few hours in each month.
        ranked = sorted(lower)
        self.stage = round(ranked[int(len(ranked) * 0.985)], 2)
        aim = rng.uniform(1.03, 1.6) if is_flood else rng.uniform(0.75, 0.97)
        base = statistics.median(lower)
        wanted = base + aim * (self.stage - base)
        state = rng.getstate()
        low, high = 0.0, 400.0
        for _ in range(40):
            depth, catchment.rng = (low + high) / 2, random.Random()
            catchment.rng.setstate(state)
            rain = list(quiet)
            catchment.storm(rain, history_h + 14, depth)
            self.upper, self.lower = catchment.levels(rain, noise)
            peak = max(self.lower[history_h:])
            low, high = (depth, high) if peak < wanted else (low, depth)
        self.rain, self.history_h = [round(mm, 1) for mm in rain], history_h
        played = self.lower[history_h:]
        over = [n for n, level in enumerate(played) if level > self.stage]
        assert bool(over) == is_flood or abs(peak - self.stage) < 0.05, (name, peak, self.stage)
        self.is_flood, self.crosses_at = bool(over), (START + over[0] * HOUR if over else None)
        self.peak = max(played)
        self.rain_foreseen = self.foreseen(random.Random(f"{seed}/{name}/rain"))

    def foreseen(self, rng):
        """What somebody foresees of the rain of all hours and ever holds to: storms with errors, and some that never come."""
        foreseen, hour, n = [0.0] * len(self.rain), 0, len(self.rain)
        while hour < n:
            if self.rain[hour] == 0:
                hour += 1
                continue
            end = hour
            while end < n and any(self.rain[end:end + 3]):
                end += 1
            depth, shift = rng.lognormvariate(0, 0.35), rng.choice([-2, -1, -1, 0, 0, 0, 1, 1, 2])
            storm = self.rain[hour:end]
            # How much falls is foreseen better than in which hour.
            smooth = [statistics.fmean(storm[max(0, k - 1):k + 2]) for k in range(len(storm))]
            places = [hour + shift] if rng.random() > 1 / 6 else []
            if rng.random() < 1 / 6:
                places.append(rng.randrange(n))
            for place in places:
                for k, mm in enumerate(smooth):
                    if 0 <= place + k < n:
                        foreseen[place + k] += min(2, max(0.5, depth)) * mm
            hour = end
        return [round(mm, 1) for mm in foreseen]

    def rain_forecast(self, hour):
        """What is issued at an hour, counted from the first of the history: amounts of the hours after it."""
        at = lambda n: START + (n - self.history_h) * HOUR
        ahead = range(hour + 1, min(hour + 1 + REACH_H, len(self.rain)))
        leads = [{"at": at(n), "value": self.rain_foreseen[n]} for n in ahead]
        return {"device": f"{self.name}-rain", "quantity": "rain", "step_s": 3600, "origin": at(hour), "leads": leads}

    def values(self, first, last):
        """Readings of [first, last) hours, counted from the first of the history, of each device."""
        at = lambda n: START + (n - self.history_h) * HOUR
        # What is older than the server takes of live values is said to be resent.
        past = {"r": True} if last < self.history_h + 1 else {}
        of = lambda quantity, all: [{"q": quantity, "t": at(n), "v": all[n], **past} for n in range(first, last)]
        return [
            {"device": f"{self.name}-up", "readings": of("water_level", self.upper)},
            {"device": self.name, "readings": of("water_level", self.lower)},
            {"device": f"{self.name}-rain", "readings": of("rain", self.rain)},
        ]

    def config(self, with_rain_forecast):
        ahead = f'ahead = [{{ series = "{self.name}-rain/rain", source = "{BUREAU}" }}]\n' if with_rain_forecast else ""
        return (
            f'\n[[forecast.series]]\ndevice = "{self.name}"\nquantity = "water_level"\n'
            f'inputs = ["{self.name}-up/water_level", "{self.name}-rain/rain"]\nstep = "1h"\n{ahead}'
            f"leads = {json.dumps([f'{n}h' for n in LEADS])}\nthreshold = {self.stage}\n"
        )

    def rule(self):
        return (
            f"  - id: ahead-{self.name}\n    name: {{zh: 预报超警戒, en: Warning stage foreseen}}\n    severity: major\n"
            f"    applies_to: {{device: {self.name}}}\n"
            f"    when: {{forecast: {{quantity: water_level, within: {WITHIN_H} h, above: {self.stage} m}}}}\n"
            f"    advice: {{zh: 巡查, en: Go and look}}\n"
        )


def told(text):
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def score(events, said_at):
    """POD, FAR and the leads in hours of what was said of each event: a time or None."""
    hits, false, misses, leads = 0, 0, 0, []
    for event in events:
        at = said_at(event)
        if event.crosses_at is None:
            false += at is not None
        elif at is None or at > event.crosses_at:
            misses += 1
        else:
            hits += 1
            leads.append((event.crosses_at - at) / HOUR)
    return {
        "floods": hits + misses, "near_misses": len(events) - hits - misses, "foreseen": hits, "false": false,
        "pod": hits / max(hits + misses, 1), "far": false / max(hits + false, 1),
        "csi": hits / max(hits + false + misses, 1),
        "median_lead_h": statistics.median(leads) if leads else None,
    }


def waited(state, what, limit_s=300):
    """What a state is as soon as it is not None."""
    end = time.monotonic() + limit_s
    while (now := state()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s in vain for {what}")
        time.sleep(0.05)
    return now


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--floods", type=int, default=30)
    parser.add_argument("--near-misses", type=int, default=30)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--days", type=int, default=150, help="of history")
    parser.add_argument("--rain-forecast", action="store_true", help="somebody foresees the rain, with errors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    events = [Event(f"f{n:02}", True, given.seed, given.days * 24) for n in range(given.floods)]
    events += [Event(f"n{n:02}", False, given.seed, given.days * 24) for n in range(given.near_misses)]
    with tempfile.TemporaryDirectory(prefix="floods-") as folder:
        folder = pathlib.Path(folder)
        (folder / "rules").mkdir()
        (folder / "rules" / "ahead.yaml").write_text("version: 1\nrules:\n" + "".join(e.rule() for e in events))
        (folder / "onemap.toml").write_text(
            '[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:0"\n' + "".join(e.config(given.rain_forecast) for e in events))
        clock = Clock(folder)
        clock.set(START - HOUR + 30_000)
        server = Server(folder, env=clock.env)
        try:
            play(server, clock, events, given)
        finally:
            server.stop()


def issue_rain(server, events, hour):
    """Hands in what is foreseen of the rain of all catchments at an hour."""
    issued_at = START + (hour - events[0].history_h) * HOUR
    server.ask("/api/v1/forecasts", {
        "source": BUREAU, "issued_at": issued_at, "forecasts": [event.rain_forecast(hour) for event in events]})


def play(server, clock, events, given):
    began = time.monotonic()
    say = lambda text: print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)
    for event in events:
        for name, kind in [(event.name, "river_gauge"), (f"{event.name}-up", "river_gauge"), (f"{event.name}-rain", "rain_gauge")]:
            server.ask("/api/v1/devices", {"id": name, "name": name, "kind": kind, "cadence_s": 3600})
        for body in event.values(0, event.history_h):
            for at in range(0, len(body["readings"]), 1000):
                server.ask("/api/v1/readings", {**body, "readings": body["readings"][at:at + 1000]})
    if given.rain_forecast:
        for hour in range(0, events[0].history_h, EVERY_H):
            issue_rain(server, events, hour)
    server.caught_up()
    refused = server.ask("/api/v1/quarantine?limit=1")["items"]
    assert not refused, refused
    say(f"{len(events)} catchments with {given.days} days of history are in")
    series = {}
    for event in events:
        items = server.ask(f"/api/v1/series?device={event.name}")["items"]
        series[event.name] = next(item["id"] for item in items if item["quantity"] == "water_level")
        server.raw("POST", f"/api/v1/forecasts/{series[event.name]}/train", b"{}")
    trained = lambda name: server.ask(f"/api/v1/forecasts/{series[name]}?limit=1")["forecaster"]["trained"]
    for event in events:
        until(f"a model of {event.name}", 600, lambda: trained(event.name), every_s=0.2)
    say("models are trained")
    n_silent = 0
    with concurrent.futures.ThreadPoolExecutor(8) as many:
        send = lambda body: server.ask("/api/v1/readings", body)
        for hour in range(PLAYED):
            # The forecast of an hour is made when its values have had a moment to come.
            clock.set(START + hour * HOUR + 1_000)
            at = events[0].history_h + hour
            list(many.map(send, [body for event in events for body in event.values(at, at + 1)]))
            server.caught_up()
            if given.rain_forecast and hour % EVERY_H == 0:
                # Known from the next hour on.
                issue_rain(server, events, at)
            clock.set(START + hour * HOUR + 600_000)
            mark = START + hour * HOUR

            def settled():
                """The series without a forecast of this hour, when all have one or said why not."""
                newest = {
                    row["series"]["device"]: told(row["origin"])
                    for row in server.items("/api/v1/forecasts?limit=200") if row["source"] != BUREAU}
                late = [event.name for event in events if newest.get(event.name, 0) < mark]
                if not late:
                    return late
                why = {row["series"]["device"]: row["forecaster"]["why_not"] for row in server.items("/api/v1/forecasters?limit=200")}
                spoke = [name for name in late if why.get(name) and told(why[name].rsplit(" at ", 1)[1]) >= mark]
                return late if len(spoke) == len(late) else None

            n_silent += len(waited(settled, f"the forecasts of hour {hour}"))
    server.caught_up()
    made = [trained(event.name) for event in events]
    n_refit = sum("refit_at" in model for model in made)
    say(f"{PLAYED} hours are played; {n_refit} of {len(made)} models were solved again in the last night, {n_silent} of {PLAYED * len(made)} hours had no forecast")
    warned, alerted = {}, {}
    for event in events:
        for row in server.items(f"/api/v1/forecasts/{series[event.name]}?limit=1000"):
            if any(e["warns"] for lead in row["leads"] for e in lead["exceed"]):
                at = told(row["issued_at"])
                warned[event.name] = min(at, warned.get(event.name, at))
    for alert in server.items("/api/v1/alerts?state=all&limit=500"):
        name, at = alert["series"]["device"], told(alert["raised_at"])
        if alert["rule"] == f"ahead-{name}":
            alerted[name] = min(at, alerted.get(name, at))
    # A gauge that stood beyond its stage before anything was said of it was not foreseen.
    result = {
        "seed": given.seed, "rain_forecast": given.rain_forecast,
        "warnings": score(events, lambda event: warned.get(event.name)),
        "alerts": score(events, lambda event: alerted.get(event.name)),
    }
    if given.json:
        print(json.dumps(result))
        return
    print(f"seed {given.seed}: {sum(e.is_flood for e in events)} floods, {sum(not e.is_flood for e in events)} near-misses")
    for what, of in [("warnings as issued", result["warnings"]), (f"alerts (median above the stage within {WITHIN_H} h)", result["alerts"])]:
        lead = "none" if of["median_lead_h"] is None else f"{of['median_lead_h']:.1f} h"
        print(f"  {what}: POD {of['pod']:.2f}, FAR {of['far']:.2f}, CSI {of['csi']:.2f}, median lead {lead} "
              f"({of['foreseen']} of {of['floods']} foreseen, {of['false']} false)")


if __name__ == "__main__":
    main()
