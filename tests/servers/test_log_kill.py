"""What was acknowledged is in the log after ``kill -9``, however often, with no hole before it and nothing twice.

Three protocols publish at once: by HTTP each record is answered when it is on disk, and repeated with its key where the
answer did not come; by NATS and hpfeeds nobody is answered, and what is kept of a connection is the beginning of what
it said.  ``BROKERKIT_ROUNDS`` says how often the broker is killed; ``make torture`` is this with as many rounds as one
likes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.registry_process import Process

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = int(os.environ.get("BROKERKIT_ROUNDS", "20"))
WRITERS = 3  # by HTTP, of each kind
LONGEST = 0.6  # seconds under load before it is killed
PATIENCE = 20.0
PLAIN, KEYED, NATS, HPFEEDS = "kill.plain", "kill.keyed", "kill.nats", "kill.hpfeeds"
SECRET = "the sensor's"
SAYS = f"""\
auth = ["anonymous:publish=>:subscribe=>"]

[[users]]
name = "sensor"
secret = "{SECRET}"
publish = ["kill.>"]

[[keep]]
topics = "kill.>"
"""


@attrs.define
class Kept:
    """How far one topic has been read, and what was new in it the last time."""

    topic: str
    count: int = 0
    new: list[str] = attrs.field(factory=list)

    def read_on(self, api: Api) -> None:
        """Read what is new; there must be no hole."""
        self.new = []
        while True:
            page, following = api.fetch(self.topic, self.count)
            assert [one["offset"] for one in page] == list(range(self.count, self.count + len(page)))
            assert all(one["value"] is not None for one in page), f"{self.topic}: messages are missing"
            self.new += [one["value"] for one in page]
            self.count += len(page)
            if self.count >= following:
                return


class Api:
    """One connection to the API, kept alive."""

    def __init__(self, port: int) -> None:
        """Connect with the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def produce(self, topic: str, value: str) -> int:
        """Keep a record by KastleX' API, and give its offset."""
        self._connection.request("POST", f"/api/v1/messages/{topic}", value.encode())
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 204, (answer.status, body)
        return int(answer.headers["x-message-offset"])

    def produce_once(self, topic: str, value: str) -> int:
        """Keep a record by the modern API, its value being the key of the request, and give its offset."""
        headers = {"Idempotency-Key": value, "Content-Type": "application/octet-stream"}
        self._connection.request("POST", f"/v1/topics/{topic}/records", value.encode(), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status in {200, 201}, (answer.status, body)
        offset: int = json.loads(body)["offset"]
        return offset

    def fetch(self, topic: str, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Give the records from an offset on, and the offset of the next that will be."""
        target = f"/api/v2/messages/{topic}/0/{offset}?max_wait_time=0&max_bytes=4000000"
        self._connection.request("GET", target, headers={"Accept": "application/json"})
        answer = self._connection.getresponse()
        body = json.loads(answer.read())
        if answer.status == 404:
            return [], 0
        assert answer.status == 200, (answer.status, body)
        return body, int(answer.headers["x-high-wm-offset"])

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Writer(threading.Thread):
    """Publishes until the connection breaks; ``begun``: something has got through, ``odd``: what should not be."""

    def __init__(self, name: str) -> None:
        """Say ``name`` in each value, and a number."""
        super().__init__(daemon=True)
        self.said = 0
        self.begun = threading.Event()
        self.odd: list[str] = []
        self._name = name

    def value(self) -> str:
        """Give the next value."""
        self.said += 1
        return f"{self._name}-{self.said - 1}-{'x' * (self.said % 300)}"

    def breathe(self) -> None:
        """Leave the others some of the processor."""
        self.begun.set()
        threading.Event().wait(0.005)

    def run(self) -> None:
        """Publish until it breaks."""
        try:
            with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
                self.publish()
        except Exception as error:  # an assertion, seen in the test's own thread
            self.odd.append(repr(error))
        finally:
            self.begun.set()

    def publish(self) -> None:
        """Publish without end."""
        raise NotImplementedError


class ByHttp(Writer):
    """One record after the other; ``acknowledged`` says where each is."""

    def __init__(self, name: str, port: int) -> None:
        """Connect there."""
        super().__init__(name)
        self.acknowledged: dict[int, str] = {}
        self._api = Api(port)

    def publish(self) -> None:
        """Publish and note the answers."""
        while True:
            value = self.value()
            self.acknowledged[self._api.produce(PLAIN, value)] = value
            self.begun.set()


class Once(Writer):
    """Records with a key each; the one without an answer is sent again first."""

    def __init__(self, name: str, port: int, unanswered: list[str]) -> None:
        """Connect there; ``unanswered`` is what to begin with, and what is left in the end."""
        super().__init__(name)
        self.acknowledged: dict[int, str] = {}
        self.unanswered = unanswered
        self._api = Api(port)

    def publish(self) -> None:
        """Publish and note the answers; now and then also repeat what has been answered."""
        while True:
            if not self.unanswered:
                self.unanswered.append(self.value())
            value = self.unanswered[0]
            offset = self._api.produce_once(KEYED, value)
            if self.said % 7 == 0:
                assert self._api.produce_once(KEYED, value) == offset, "a repetition was kept elsewhere"
            self.acknowledged[offset] = value
            self.unanswered.clear()
            self.begun.set()


class ByNats(Writer):
    """Some thousand messages a second."""

    def __init__(self, name: str, port: int) -> None:
        """Connect there."""
        super().__init__(name)
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def publish(self) -> None:
        """Publish without an answer."""
        self._socket.sendall(b'CONNECT {"verbose":false}\r\n')
        while True:
            values = [self.value().encode() for _ in range(50)]
            self._socket.sendall(b"".join(b"PUB %b %d\r\n%b\r\n" % (NATS.encode(), len(v), v) for v in values))
            self.breathe()


class ByHpfeeds(Writer):
    """Some thousand messages a second."""

    def __init__(self, name: str, port: int) -> None:
        """Connect there."""
        super().__init__(name)
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def publish(self) -> None:
        """Log in, and publish without an answer."""
        info = self._read(int.from_bytes(self._read(4), "big") - 4)
        nonce = info[2 + info[1] :]
        digest = sha1(nonce + SECRET.encode()).digest()  # noqa: S324  as the protocol has it
        self._socket.sendall(_frame(2, b"\x06sensor" + digest))
        address = b"\x06sensor" + bytes([len(HPFEEDS)]) + HPFEEDS.encode()
        while True:
            self._socket.sendall(b"".join(_frame(3, address + self.value().encode()) for _ in range(50)))
            self.breathe()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError
            data += chunk
        return data


def _frame(opcode: int, body: bytes) -> bytes:
    return (5 + len(body)).to_bytes(4, "big") + bytes([opcode]) + body


@attrs.define
class Known:
    """All that has been acknowledged or found, over all rounds."""

    plain: dict[int, str] = attrs.field(factory=dict)
    keyed: dict[int, str] = attrs.field(factory=dict)
    unanswered: list[list[str]] = attrs.field(factory=lambda: [[] for _ in range(WRITERS)])
    kept: dict[str, Kept] = attrs.field(factory=lambda: {t: Kept(t) for t in (PLAIN, KEYED, NATS, HPFEEDS)})
    answered: dict[str, list[str]] = attrs.field(factory=lambda: {PLAIN: [], KEYED: []})  # all values, in order
    following: dict[str, int] = attrs.field(factory=dict)  # the number that is next, of those without answers

    def hold(self, port: int) -> None:
        """Hold what is in the log against what was acknowledged."""
        api = Api(port)
        for topic in self.kept.values():
            topic.read_on(api)
        api.close()
        for topic, acknowledged in ((PLAIN, self.plain), (KEYED, self.keyed)):
            values = self.answered[topic]
            values += self.kept[topic].new
            lost = {offset: value for offset, value in acknowledged.items() if values[offset : offset + 1] != [value]}
            assert not lost, f"{topic}: acknowledged, and not there: {lost}"
            assert len(set(values)) == len(values), f"{topic}: something is there twice"
        for topic in (NATS, HPFEEDS):
            self._hold_order(self.kept[topic].new)

    def _hold_order(self, values: list[str]) -> None:
        """Hold that what is kept of a connection is what it said first, in its order."""
        for value in values:
            name, number, filling = value.rsplit("-", 2)
            wanted = self.following.get(name, 0)
            assert int(number) == wanted, f"{name}: found {number}, and {wanted} should come first"
            assert filling == "x" * ((wanted + 1) % 300), f"{value} is there by halves"
            self.following[name] = wanted + 1


@pytest.mark.timeout(60 + 15 * ROUNDS)
def test_kill(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, there is no hole, nothing that has a key is there twice, and it always starts."""
    known = Known()
    chance = random.Random()  # noqa: S311  when to kill it, not a secret
    broker = Process(tmp_path, ("kafka", "nats", "hpfeeds"), SAYS)
    try:
        for turn in range(ROUNDS):
            broker.start()
            known.hold(broker.ports["kafka"])
            _load(broker, known, turn, chance.uniform(0, LONGEST))
        broker.start()
        for values in known.unanswered:  # also the last that were not answered are kept once
            for value in values:
                Api(broker.ports["kafka"]).produce_once(KEYED, value)
        known.hold(broker.ports["kafka"])
    finally:
        broker.stop()
    assert len(known.plain) > ROUNDS * WRITERS
    assert len(known.keyed) > ROUNDS * WRITERS
    for word in ("nats", "hpfeeds"):
        assert sum(name.startswith(word) for name in known.following) > ROUNDS // 2, "there was no load to speak of"


def _load(broker: Process, known: Known, turn: int, seconds: float) -> None:
    """Have everybody publish, and kill the broker while they do."""
    port = broker.ports["kafka"]
    plain = [ByHttp(f"plain-{i}-{turn}", port) for i in range(WRITERS)]
    keyed = [Once(f"keyed-{i}-{turn}", port, known.unanswered[i]) for i in range(WRITERS)]
    others = [ByNats(f"nats-{turn}", broker.ports["nats"]), ByHpfeeds(f"hpfeeds-{turn}", broker.ports["hpfeeds"])]
    writers: list[Writer] = [*plain, *keyed, *others]
    for writer in writers:
        writer.start()
    assert all(writer.begun.wait(PATIENCE) for writer in writers)
    threading.Event().wait(seconds)
    broker.kill()
    for writer in writers:
        writer.join(PATIENCE)
        assert not writer.is_alive()
        assert writer.odd == []
    for one in plain:
        known.plain |= one.acknowledged
    for two in keyed:
        known.keyed |= two.acknowledged
