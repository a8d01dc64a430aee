"""QoS 2 devices on sockets of our own that live through every kill of the server with one session each.

By the letter of MQTT 3.1.1 section 4.4: what has no PUBREC is sent again with DUP, what has one only ever as PUBREL.
(paho-mqtt 2.2.0 publishes a released message anew after two attempts to connect that fail, so it cannot count this.)
"""
import json
import socket
import threading
import time


def packet(first, body):
    assert len(body) < 16_384
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([first]) + length + body


def text(value):
    return len(value.encode()).to_bytes(2, "big") + value.encode()


class ExactSender(threading.Thread):
    """One message after the other while it is told to send; each is done with its PUBCOMP."""

    def __init__(self, device, token, port):
        super().__init__(daemon=True)
        self.device, self.token, self.port = device, token, port
        self.first_ms = time.time_ns() // 10**6
        self.sent, self.done, self.n_lost_sessions = 0, set(), 0
        self.stream = None
        self.sending, self.ended = threading.Event(), threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            if not self.sending.wait(0.05):
                continue
            number, self.sent = self.sent, self.sent + 1
            self.deliver(number)
            self.done.add(number)
        if self.stream:
            self.stream[0].close()

    def deliver(self, number):
        """The time of a reading is its own: no two share a millisecond."""
        packet_id = (number % 65_535 + 1).to_bytes(2, "big")
        reading = json.dumps({"ts": self.first_ms + number, "values": {"seq": number}}).encode()
        body, dup, is_received = text("v1/devices/me/telemetry") + packet_id + reading, 0, False
        while True:
            try:
                self.connect(number > 0 or dup > 0)
                if not is_received:
                    first, dup = 0x34 | dup, 8
                    self.exchange(packet(first, body), 5, packet_id)
                    is_received = True
                self.exchange(packet(0x62, packet_id), 7, packet_id)
                return
            except OSError:
                self.stream = None
                time.sleep(0.02)

    def connect(self, has_session):
        if self.stream:
            return
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        stream = raw, raw.makefile("rb")
        raw.sendall(packet(0x10, text("MQTT") + bytes([4, 0x80, 0, 60]) + text(self.device) + text(self.token)))
        first, body = self.next(stream)
        if first != 0x20 or body[1] != 0:
            raise ConnectionError(f"{self.device} was refused: {body!r}")
        self.n_lost_sessions += has_session and not body[0]
        self.stream = stream

    def exchange(self, raw, kind, packet_id):
        self.stream[0].sendall(raw)
        while True:
            first, body = self.next(self.stream)
            if first >> 4 == kind and body[:2] == packet_id:
                return

    @staticmethod
    def next(stream):
        head = stream[1].read(2)
        if len(head) < 2:
            raise ConnectionError("the server is gone")
        # Everything a publisher is sent is short.
        body = stream[1].read(head[1])
        if len(body) < head[1]:
            raise ConnectionError("the server is gone")
        return head[0], body
