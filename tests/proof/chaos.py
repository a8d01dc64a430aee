#!/usr/bin/env python3
"""Drops, delays, repeats and corrupts what devices send, cuts their connections inside packets, kills the server
once, and keeps its own count per device and hour. Afterwards the gap ledger must equal that count in every
column of every hour, and the refusals by reason too.

Everything is outside the server: MQTT is spoken on own sockets, through a proxy of the script's own that cuts at a
planned byte. The server's clock is libfaketime's (Debian package `faketime`): the script sets it, so that
hours pass in seconds. What happens follows from `--seed`.

How the count stays exact: a QoS 1 device waits for each PUBACK; when its connection is cut, the proxy has either
held back a part of the packet (the server cannot have it) or has seen the server's answer and kept it to itself
(the server has it, and the repetition is one duplicate). QoS 2 devices keep their session, so a repetition is
never one more, whatever was under way; they are in full flow when the server is killed.
"""
import argparse
import asyncio
import collections
import contextlib
import datetime
import json
import os
import pathlib
import random
import sys
import tempfile
import time

from outside import Clock, Server, free_port, until

HOUR, MINUTE, DAY = 3_600_000, 60_000, 86_400_000
BEIJING = 8 * HOUR
#: Midnight of the Beijing day on which it happens; long past, so that no real clock helps.
MIDNIGHT = 1_789_056_000_000 // DAY * DAY - BEIJING
FIRST_HOUR = 8
CADENCES_S = [60, 60, 60, 30, 300]
#: Minutes of each hour at which devices are connected and send.
WAVES = [15, 35, 55]
COLUMNS = ["expected", "received", "late", "duplicate", "revised", "refused", "lost"]
#: Payloads that are refused whole, by reason. {t} is a good time, {ahead} one of tomorrow.
WHOLE = {
    "broken_json": ['{{"ts":{t},"values":{{"temperature":1', '{{"ts":{t},"values":{{"temperature":NaN}}}}', "\x00\x01"],
    "wrong_shape": ["42", '"warm"'],
    "sentinel": ['{{"ts":{t},"values":{{"temperature":-999}}}}'],
    "unknown_quantity": ['{{"ts":{t},"values":{{"flux_capacitance":88}}}}'],
    "not_a_number": ['{{"ts":{t},"values":{{"temperature":"NaN"}}}}'],
    "future_stamp": ['{{"ts":{ahead},"values":{{"temperature":1}}}}'],
    "ancient_stamp": ['{{"ts":{seconds},"values":{{"temperature":1}}}}'],
}
REFUSED = 'onemap_refused_total{reason="%s"}'
#: Refused by the listener; it counts since its start, as a process does.
AT_THE_DOOR = ["malformed_packet"]
WAIT_S = 30


class Count:
    """What the ledger should say of one device: the definitions of docs/api.md, kept from outside."""

    def __init__(self, cadence_s):
        self.cadence_s = cadence_s
        self.hours = collections.defaultdict(collections.Counter)
        self.values, self.newest = {}, None

    def report(self, t, value):
        hour = self.hours[(t + BEIJING) // HOUR]
        if t not in self.values:
            hour["received"] += 1
            hour["late"] += self.newest is not None and t < self.newest
        elif self.values[t] == value:
            hour["duplicate"] += 1
        else:
            hour["revised"] += 1
        self.values[t] = value
        self.newest = t if self.newest is None else max(t, self.newest)

    def refuse(self, at):
        self.hours[(at + BEIJING) // HOUR]["refused"] += 1

    def row(self, hour, now):
        """The columns of an hour since 1970 in Beijing."""
        start, end = hour * HOUR - BEIJING, (hour + 1) * HOUR - BEIJING
        # Nothing is expected of a device before its first reading.
        since = min(self.values, default=now)
        expected = int(max(0, min(end, now) - max(start, since)) // (self.cadence_s * 1000))
        row = {column: self.hours[hour][column] for column in COLUMNS}
        row["expected"] = expected
        row["lost"] = max(0, expected - row["received"]) if now >= end else 0
        return row


class Gone(Exception):
    """The connection was cut."""


class Packets:
    """MQTT packets off a stream: (first byte, body, all bytes)."""

    def __init__(self, reader):
        self.reader = reader

    async def next(self):
        head = await self.reader.readexactly(1)
        length = shift = 0
        raw = bytearray(head)
        while True:
            (byte,) = await self.reader.readexactly(1)
            raw.append(byte)
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = await self.reader.readexactly(length)
        return head[0], body, bytes(raw) + body


def packet(first, body):
    length, head = len(body), bytearray([first])
    while True:
        head.append((length & 127) | (128 if length > 127 else 0))
        length >>= 7
        if not length:
            return bytes(head) + body


def text(value):
    value = value.encode()
    return len(value).to_bytes(2, "big") + value


class Proxy:
    """Stands between one device and the server and does what its device plans.

    `fault` is for the next packet upwards: ("cut", n) passes its first n bytes on and cuts; ("mute", kind) passes
    it on, waits for the server's packet of that kind, keeps it and cuts; ("hang", n) passes n bytes and waits.
    """

    def __init__(self, server_port):
        self.server_port, self.fault, self.hanging = server_port, None, asyncio.Event()
        self.n_cuts = 0

    async def open(self):
        self.serving = set()
        self.listener = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]

    def accept(self, reader, writer):
        task = asyncio.ensure_future(self.serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            return
        muted = []

        async def down():
            packets = Packets(up_reader)
            while True:
                first, _, raw = await packets.next()
                if muted and first >> 4 == muted[0]:
                    return
                writer.write(raw)
                await writer.drain()

        async def up():
            packets = Packets(reader)
            while True:
                _, _, raw = await packets.next()
                fault, self.fault = self.fault, None
                self.n_cuts += fault is not None
                match fault:
                    case ("cut", n):
                        up_writer.write(raw[:min(n, len(raw) - 1)])
                        up_writer.write_eof()
                        # Until the server has seen the end: the device must not come back before.
                        await asyncio.wait([ways[0]], timeout=WAIT_S)
                        return
                    case ("hang", n):
                        up_writer.write(raw[:min(n, len(raw) - 1)])
                        await up_writer.drain()
                        self.hanging.set()
                        await asyncio.sleep(WAIT_S)
                        return
                    case ("mute", kind):
                        muted.append(kind)
                up_writer.write(raw)
                await up_writer.drain()

        ways = [asyncio.ensure_future(down()), asyncio.ensure_future(up())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            # How they ended is known: by a plan, or by one of the two sides.
            await asyncio.gather(*ways, return_exceptions=True)
        # An end of stream to the server (it has read what was passed on), a reset to the device.
        up_writer.close()
        writer.transport.abort()


class Device:
    def __init__(self, name, number, token, proxy, qos):
        self.name, self.number, self.token, self.proxy, self.qos = name, number, token, proxy, qos
        self.chance = None
        self.packet_id = 0
        self.stream = None
        self.queue = []

    async def connect(self):
        end = time.monotonic() + WAIT_S
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
                flags = 0x80 if self.qos == 2 else 0x82
                writer.write(packet(0x10, text("MQTT") + bytes([4, flags, 0, 60]) + text(self.name) + text(self.token)))
                packets = Packets(reader)
                first, body, _ = await asyncio.wait_for(packets.next(), WAIT_S)
                assert (first, body[1]) == (0x20, 0), f"{self.name} was refused: {body!r}"
                self.stream = packets, writer
                return
            except (asyncio.IncompleteReadError, OSError):
                if time.monotonic() > end:
                    raise TimeoutError(f"{self.name} found no server within {WAIT_S} s") from None
                await asyncio.sleep(0.05)

    async def exchange(self, raw, kind):
        """Sends a packet and waits for the one that answers it."""
        packets, writer = self.stream
        try:
            writer.write(raw)
            await writer.drain()
            while True:
                first, body, _ = await asyncio.wait_for(packets.next(), WAIT_S)
                if first >> 4 == kind and body[:2] == self.packet_id.to_bytes(2, "big"):
                    return
        except (asyncio.IncompleteReadError, OSError):
            self.hang_up()
            raise Gone from None

    def hang_up(self):
        if self.stream:
            self.stream[1].close()
        self.stream = None

    def next_id(self):
        self.packet_id = self.packet_id % 65_535 + 1
        return self.packet_id.to_bytes(2, "big")

    async def publish(self, payload, faults=()):
        """Sends until it is acknowledged. Each fault meets one try."""
        body = text("v1/devices/me/telemetry") + self.next_id() + payload
        faults, dup, released = list(faults), 0, False
        while True:
            try:
                # A fault is for the message, not for the CONNECT before it.
                if self.stream is None:
                    await self.connect()
                if not released:
                    self.proxy.fault = faults.pop(0) if faults else None
                    first = 0x30 | self.qos << 1 | dup
                    dup = 8
                    await self.exchange(packet(first, body), 4 if self.qos == 1 else 5)
                if self.qos == 2:
                    released = True
                    self.proxy.fault = faults.pop(0) if faults else None
                    await self.exchange(packet(0x62, self.packet_id.to_bytes(2, "big")), 7)
                return
            except Gone:
                pass

    async def violate(self):
        """A PUBLISH of a quality of service that does not exist: the server closes."""
        if self.stream is None:
            await self.connect()
        packets, writer = self.stream
        writer.write(packet(0x36, text("v1/devices/me/telemetry") + self.next_id() + b"{}"))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await asyncio.wait_for(packets.next(), WAIT_S)
            raise AssertionError(f"{self.name} got an answer to a packet that is none")
        self.hang_up()


class Chaos:
    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        self.clock = Clock(folder)
        self.refused = collections.Counter()
        self.tally = collections.Counter()
        self.port = free_port()
        self.data = folder / "data"
        (self.data / "rules").mkdir(parents=True)
        (self.data / "onemap.toml").write_text(
            f'[http]\nlisten = "127.0.0.1:0"\n[mqtt]\nlisten = "127.0.0.1:{self.port}"\n'
            '[history]\ncheckpoint_seconds = 1\n')

    def start(self):
        self.server = Server(self.data, env=self.clock.env)

    async def register(self):
        self.devices, self.counts = [], {}
        for number in range(self.arguments.devices):
            name, cadence_s = f"chaos-{number:02}", CADENCES_S[number % len(CADENCES_S)]
            token = self.server.add_device(name, cadence_s=cadence_s)
            proxy = Proxy(self.port)
            await proxy.open()
            device = Device(name, number, token, proxy, qos=2 if number % 4 == 3 else 1)
            device.chance = random.Random(f"{self.arguments.seed}/{name}")
            self.devices.append(device)
            self.counts[name] = Count(cadence_s)

    def plan(self):
        """For each device and wave what it sends in which order. What is dropped is in none."""
        waves = [hour * HOUR + minute * MINUTE for hour in range(FIRST_HOUR, FIRST_HOUR + self.arguments.hours)
                 for minute in WAVES]
        waves.append((FIRST_HOUR + self.arguments.hours) * HOUR + WAVES[0] * MINUTE)
        waves = [MIDNIGHT + wave for wave in waves]
        self.waves = waves
        end = MIDNIGHT + (FIRST_HOUR + self.arguments.hours) * HOUR
        for device in self.devices:
            chance, count = device.chance, self.counts[device.name]
            step = count.cadence_s * 1000
            device.waves = [[] for _ in waves]
            slot = MIDNIGHT + FIRST_HOUR * HOUR
            while slot < end:
                wave = next(i for i, w in enumerate(waves) if w > slot)
                value = round(chance.uniform(-20, 35), 2)
                kind = chance.choices(
                    ["plain", "drop", "delay", "repeat", "revise", "corrupt", "half good", "batch", "bad packet",
                     "cut", "lost answer"],
                    [50, 6, 8, 8, 4, 8, 3, 4, 1, 5, 5])[0]
                into = device.waves[wave]
                match kind:
                    case "drop":
                        pass
                    case "delay":
                        later = min(wave + chance.randint(1, 4), len(waves) - 1)
                        device.waves[later].append(("plain", [(slot, value)]))
                    case "repeat":
                        for _ in range(chance.randint(2, 3)):
                            into.append(("plain", [(slot, value)]))
                    case "revise":
                        into += [("plain", [(slot, value)]), ("plain", [(slot, value + 0.5)])]
                    case "batch":
                        into.append(("plain", [(slot, value), (slot + step // 3, value), (slot + step // 2, value)]))
                    case _:
                        into.append((kind, [(slot, value)]))
                self.tally[kind] += 1
                slot += step
            for messages in device.waves:
                if chance.random() < 0.5:
                    chance.shuffle(messages)

    async def send(self, device, message):
        kind, readings = message
        chance, count, now = device.chance, self.counts[device.name], self.clock.now()
        (t, value) = readings[0]
        payload = json.dumps([{"ts": t, "values": {"temperature": v}} for t, v in readings]).encode()
        if kind == "corrupt":
            reason = chance.choice(list(WHOLE))
            bad = chance.choice(WHOLE[reason]).format(t=t, ahead=now + DAY, seconds=t // 1000)
            await device.publish(bad.encode())
            return self.refuse(count, reason)
        if kind == "bad packet":
            await device.violate()
            return self.refuse(count, "malformed_packet")
        if kind == "half good":
            good = json.dumps({"ts": t, "values": {"temperature": value, "flux_capacitance": 88}}).encode()
            await device.publish(good)
            self.refuse(count, "unknown_quantity")
            return count.report(t, value)
        faults = []
        if kind == "cut":
            faults = [("cut", chance.randint(1, 60))]
            # The packet's first byte is there and its last is not.
            self.refuse(count, "malformed_packet")
        if kind == "lost answer":
            faults = [("mute", 4)] if device.qos == 1 else chance.choice([[("mute", 5)], [None, ("mute", 7)]])
        await device.publish(payload, faults)
        n_times = 2 if kind == "lost answer" and device.qos == 1 else 1
        for _ in range(n_times):
            for t, value in readings:
                count.report(t, value)

    def refuse(self, count, reason):
        count.refuse(self.clock.now())
        self.refused[reason] += 1

    async def wave(self, number):
        async def all_of(device):
            for message in device.waves[number]:
                await self.send(device, message)
            device.hang_up()
        await asyncio.gather(*map(all_of, self.devices))

    async def wave_with_kill(self, number):
        """QoS 1 devices have parts of packets on their way, QoS 2 devices whatever it happens to be."""
        calm = [d for d in self.devices if d.qos == 1]
        exact = [d for d in self.devices if d.qos == 2]
        half = {d.name: len(d.waves[number]) // 2 for d in self.devices}
        # What is cut off has no acknowledgement that could be waited for, so nobody knows what a kill leaves of it.
        for device in self.devices:
            device.waves[number] = [("plain" if kind in ("cut", "bad packet") else kind, readings)
                                    for kind, readings in device.waves[number]]

        async def first_half(device):
            for message in device.waves[number][:half[device.name]]:
                await self.send(device, message)

        async def rest(device, start):
            for message in device.waves[number][start:]:
                await self.send(device, message)
            device.hang_up()

        await asyncio.gather(*map(first_half, calm))
        hung = []
        for device in calm:
            device.proxy.hanging.clear()
            t = self.waves[number] - 7 * MINUTE + 1000 * (device.number + 1)
            payload = json.dumps({"ts": t, "values": {"temperature": 1.25}}).encode()
            hung.append((device, t, asyncio.ensure_future(device.publish(payload, [("hang", 20)]))))
        await asyncio.gather(*(asyncio.wait_for(d.proxy.hanging.wait(), WAIT_S) for d in calm))
        exactly = [asyncio.ensure_future(rest(d, 0)) for d in exact]
        await asyncio.sleep(self.kill_after_s)
        self.at_the_door = {reason: self.counter(self.server.metrics(), reason) for reason in AT_THE_DOOR}
        self.server.kill()
        await asyncio.to_thread(self.start)
        for device, t, sending in hung:
            await sending
            self.counts[device.name].report(t, 1.25)
        await asyncio.gather(*exactly, *(rest(d, half[d.name]) for d in calm))

    async def run(self):
        chance = random.Random(f"{self.arguments.seed}/server")
        self.kill_after_s = chance.uniform(0.05, 0.6)
        self.clock.set(MIDNIGHT + FIRST_HOUR * HOUR - MINUTE)
        self.start()
        await self.register()
        self.plan()
        kill_in = len(self.waves) // 2
        for number, wave in enumerate(self.waves):
            # Ten seconds into the minute: no reading of this wave is of the future.
            self.clock.set(wave + 10_000)
            await asyncio.to_thread(until, "the server's clock", WAIT_S, lambda: self.server_now() >= wave + 10_000)
            await (self.wave_with_kill(number) if number == kill_in else self.wave(number))
        # The ends of cut connections are journaled by their own tasks, a moment later.
        with contextlib.suppress(TimeoutError):
            until("the ledger to say what was counted", 10,
                  lambda: self.server.lag() <= 1 and not self.differences() and not self.refusals(), every_s=0.5)

    def server_now(self):
        return datetime.datetime.fromisoformat(self.server.ask("/api/v1/system")["now"]).timestamp() * 1000

    def differences(self):
        """Every cell that is not as counted: (device, hour, column, counted, the ledger's)."""
        found = []
        now = self.server_now()
        day = datetime.datetime.fromtimestamp((MIDNIGHT + BEIJING) / 1000, datetime.UTC).date()
        first = (MIDNIGHT + BEIJING) // HOUR
        theirs = {}
        for device in self.devices:
            for item in self.server.items(f"/api/v1/ledger?device={device.name}&day={day}"):
                theirs[item["device"]] = {hour["hour"]: hour for hour in item["hours"]}
        for device in self.devices:
            for hour in range(24):
                ours = self.counts[device.name].row(first + hour, now)
                row = theirs.get(device.name, {}).get(hour, dict.fromkeys(COLUMNS, 0))
                found += [(device.name, hour, c, ours[c], row[c]) for c in COLUMNS if ours[c] != row[c]]
        return found

    def sums(self):
        now, first = self.server_now(), (MIDNIGHT + BEIJING) // HOUR
        total = collections.Counter()
        for count in self.counts.values():
            for hour in range(24):
                total.update(count.row(first + hour, now))
        return dict(total)

    def refusals(self):
        """Reasons of which the server counted another number: (reason, ours, the server's)."""
        metrics = self.server.metrics()
        before, after = REFUSED.split("%s")
        reasons = {name.removeprefix(before).removesuffix(after) for name in metrics if name.startswith(before)}
        theirs = {reason: self.counter(metrics, reason) + self.at_the_door.get(reason, 0)
                  for reason in sorted(reasons | set(self.refused))}
        return [(reason, self.refused[reason], n) for reason, n in theirs.items() if n != self.refused[reason]]

    @staticmethod
    def counter(metrics, reason):
        return int(metrics.get(REFUSED % reason, 0))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--devices", type=int, default=50)
    arguments.add_argument("--hours", type=int, default=4)
    arguments.add_argument("--seed", default="1")
    arguments = arguments.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=os.environ.get("PROOF_DIR")) as folder:
        chaos = Chaos(pathlib.Path(folder), arguments)
        try:
            asyncio.run(chaos.run())
            cells, refusals = chaos.differences(), chaos.refusals()
            print(json.dumps({
                "seed": arguments.seed, "devices": arguments.devices, "hours": arguments.hours,
                "seconds": round(time.monotonic() - start), "slots": dict(chaos.tally), "counted": chaos.sums(),
                "cuts": sum(d.proxy.n_cuts for d in chaos.devices), "kills": 1, "refused": dict(chaos.refused),
                "cells": len(chaos.devices) * 24 * len(COLUMNS), "differing_cells": len(cells),
                "differing_reasons": len(refusals),
            }))
            for device, hour, column, ours, theirs in cells[:40]:
                print(f"differs: {device} hour {hour:02} {column}: counted {ours}, the ledger says {theirs}")
            for reason, ours, theirs in refusals:
                print(f"differs: refused for {reason}: counted {ours}, the server says {theirs}")
            if cells or refusals or not chaos.refused:
                sys.exit(1)
            chaos.server.stop()
        finally:
            if chaos.server.process.poll() is None:
                chaos.server.kill()


main()
