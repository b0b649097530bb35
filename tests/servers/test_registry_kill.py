"""What was acknowledged is there after ``kill -9``, however often, and nothing is there by halves.

``BROKERKIT_ROUNDS`` says how often it is killed; ``make torture`` is this with as many rounds as one likes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.registry_process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.registry_process import Api

ROUNDS = int(os.environ.get("BROKERKIT_ROUNDS", "20"))
WRITERS = 6
NAMES = 10  # of each writer: most are written again and again, and deleted
LONGEST = 0.6  # seconds under load before it is killed
PATIENCE = 20.0
GONE = -1  # the number of an entry that was deleted


@attrs.define
class Written:
    """What is known of one name: the number that was acknowledged last, and those that were sent since, in order."""

    acknowledged: int = GONE
    sent: list[int] = attrs.field(factory=list)

    def allows(self, found: int) -> bool:
        """Say whether that may be there now."""
        return found == self.acknowledged or found in self.sent

    def settle(self, found: int) -> None:
        """Take what was there as the truth."""
        self.acknowledged = found
        self.sent.clear()


class Writer(threading.Thread):
    """Writes to names of its own until the connection breaks, and remembers what was acknowledged."""

    def __init__(self, number: int, seed: int, names: dict[str, Written], revisions: list[int]) -> None:
        """Go on with what is known; ``revisions`` collects those that were acknowledged."""
        super().__init__(daemon=True)
        self.mine = [f"{number}-{i}" for i in range(NAMES)]
        self.names = names
        self.revisions = revisions
        self.acknowledged = 0
        self.odd: list[str] = []
        self.begun = threading.Event()
        self._random = random.Random(f"{number} {seed}")  # noqa: S311  what to write, not a secret

    def run_against(self, api: Api) -> None:
        """Begin."""
        self.api = api
        self.start()

    def run(self) -> None:
        """Write until it breaks."""
        value = max((max([w.acknowledged, *w.sent]) for w in self.names.values()), default=0) + 1
        try:
            while True:
                self._write(value)
                value += 1
                self.acknowledged += 1
                self.begun.set()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass
        finally:
            self.begun.set()
            self.api.close()

    def _write(self, value: int) -> None:
        name, other = self._random.sample(self.mine[1:], 2)
        kind = self._random.randrange(6)
        if kind == 0:
            self._do([(name, GONE)], "DELETE", f"/v1/kv/{name}", None)
        elif kind == 1:  # two at once, the same value in both
            first = [(self.mine[0], value), (f"{self.mine[0]}-twin", value)]
            ops = [{"operation": "put", "name": n, "data": _data(v)} for n, v in first]
            self._do(first, "POST", "/v1/txn", {"operations": ops})
        elif kind == 2:  # by the original's way
            self._do([(name, value)], "POST", f"/services/Replace/?name={name}&data={json.dumps(_data(value))}", None)
        else:
            self._do([(other, value)], "PUT", f"/v1/kv/{other}", _data(value))

    def _do(self, writes: list[tuple[str, int]], method: str, target: str, data: Any) -> None:
        for name, value in writes:
            self.names.setdefault(name, Written()).sent.append(value)
        status, answer = self.api.ask(method, target.replace(" ", "%20").replace('"', "%22"), data)
        if status not in {200, 201, 204, 404}:  # 404: to be deleted, and not there
            self.odd.append(f"{method} {target}: {status} {answer}")
        for name, value in writes:
            self.names[name].settle(value)
        if isinstance(answer, dict) and isinstance(answer.get("revision"), int):
            self.revisions.append(answer["revision"])


def _data(value: int) -> dict[str, Any]:
    return {"value": value, "filling": "x" * (value % 700)}


def _found(everything: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, entry in everything.items():
        value = entry["data"]["value"]
        assert entry["data"] == _data(value), f"{name} is there by halves"
        yield name, value


def _hold(everything: dict[str, Any], names: dict[str, Written]) -> None:
    """Hold what is there against what was acknowledged, and take it as the beginning of the next round."""
    there = dict(_found(everything))
    assert there.keys() <= names.keys(), "something is there that nobody wrote"
    for name, written in names.items():
        found = there.get(name, GONE)
        assert written.allows(found), f"{name}: acknowledged {written.acknowledged}, sent {written.sent}, found {found}"
        written.settle(found)
    for name in names:
        if name.endswith("-twin"):
            assert there.get(name) == there.get(name.removesuffix("-twin")), f"half of a transaction: {name}"


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_kill(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, revisions never go back, transactions are whole, and it always starts again."""
    names: dict[str, Written] = {}
    revisions = [0]
    acknowledged = 0
    chance = random.Random()  # noqa: S311  when to kill it, not a secret
    broker = Process(tmp_path)
    try:
        for turn in range(ROUNDS):
            broker.start()
            _look(broker, names, revisions)
            writers = [Writer(i, turn, names, revisions) for i in range(WRITERS)]
            for writer in writers:
                writer.run_against(broker.api(PATIENCE))
            assert all(writer.begun.wait(PATIENCE) for writer in writers)
            threading.Event().wait(chance.uniform(0, LONGEST))
            broker.kill()
            for writer in writers:
                writer.join(PATIENCE)
                assert not writer.is_alive()
                assert writer.odd == []
            acknowledged += sum(writer.acknowledged for writer in writers)
        broker.start()
        _look(broker, names, revisions)
    finally:
        broker.stop()
    assert acknowledged > ROUNDS * WRITERS, "there was no load to speak of"


def _look(broker: Process, names: dict[str, Written], revisions: list[int]) -> None:
    api = broker.api()
    _hold(api.everything(), names)
    assert api.ask("GET", "/v1/kv?limit=1")[1]["revision"] >= max(revisions), "the revision went back"
    api.close()
