"""Several writes at once: all of them are done, in one revision after the other and on disk together, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.protocols.bpbroker.v1_asker import see
from brokerkit.registry import Check, Conflict, Delete, Merge, Put, Renew
from brokerkit.registry.access import READ, WRITE
from brokerkit.registry.shown import shown_entry
from brokerkit.web import Problem, Route, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.protocols.bpbroker.v1_asker import Asker
    from brokerkit.registry.words import Operation
    from brokerkit.web import Answer, Asked

_TEXT, _NUMBER, _WHOLE, _SWITCH, _OBJECT = "a text", "a number over 0", "a whole number", "true or false", "an object"
_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "put": {"data": _OBJECT, "if_revision": _WHOLE, "if_absent": _SWITCH, "if_there": _SWITCH, "ttl": _NUMBER},
    "merge": {"data": _OBJECT, "deep": _SWITCH, "if_revision": _WHOLE, "if_there": _SWITCH, "ttl": _NUMBER},
    "delete": {"if_revision": _WHOLE, "if_there": _SWITCH},
    "check": {"revision": _WHOLE},
    "renew": {"if_revision": _WHOLE, "ttl": _NUMBER},
}
_KINDS: Mapping[str, Any] = {"put": Put, "merge": Merge, "delete": Delete, "check": Check, "renew": Renew}
_NEEDED = {"put": "data", "merge": "data", "check": "revision"}


class Transactions:
    """The route ``/v1/txn``."""

    def __init__(self, asker: Asker) -> None:
        """Write by that."""
        self._asker = asker

    def routes(self) -> list[Route]:
        """Give its route."""
        answers = {
            200: "All was done; for each operation its entry.",
            400: "An operation cannot be meant.",
            403: "Not allowed.",
            409: "A condition does not hold; nothing was done.",
            507: "The disk is full; nothing was done.",
        }
        body = "operations: a list of objects with operation (put, merge, delete, check, renew), name, and its members."
        return [Route("POST", "/v1/txn", self._txn, "Do several writes, all or none.", (), answers, body)]

    async def _txn(self, asked: Asked) -> Answer:
        body = reading.an_object(asked.json())
        given = body.get("operations")
        if not isinstance(given, list) or body.keys() != {"operations"}:
            raise Problem(400, "Not usable", 'expected {"operations": [...]}')
        operations = [_read(one, f"operations[{i}]") for i, one in enumerate(given)]
        client = await self._asker.admit(asked)
        try:
            for one in operations:
                see(client, READ if isinstance(one, Check) else WRITE, one.name)  # type: ignore[union-attr]
            by = client.user.name.decode(errors="replace")
        finally:
            client.leave()
        try:
            results = await self._asker.write(operations, by, asked)
        except Conflict as conflict:
            revision = conflict.entry.revision if conflict.entry is not None else 0
            raise Problem(409, "Conflict", str(conflict), name=conflict.name, revision=revision) from None
        shown = [shown_entry(entry) if entry is not None else None for entry in results]
        return json_answer({"results": shown, "revision": self._asker.registry.revision})


def _read(given: object, where: str) -> Operation:
    """Read one operation; raise ``Problem`` 400 for what cannot be meant."""
    members = dict(reading.an_object(given, where))
    word, name = members.pop("operation", None), members.pop("name", None)
    if not isinstance(word, str) or word not in _KINDS:
        raise Problem(400, "Not usable", f"{where}.operation: expected one of {', '.join(_KINDS)}")
    if not isinstance(name, str):
        raise Problem(400, "Not usable", f"{where}.name: expected a text")
    reading.writable(name)
    for key, value in members.items():
        expected = _MEMBERS[word].get(key)
        if expected is None:
            raise Problem(400, "Not usable", f"{where}: {word} has no member {key[:100]!r}")
        if not _fits(value, expected):
            raise Problem(400, "Not usable", f"{where}.{key}: expected {expected}")
    if (needed := _NEEDED.get(word)) and needed not in members:
        raise Problem(400, "Not usable", f"{where}: {word} needs {needed}")
    operation: Operation = _KINDS[word](name=name, **members)
    return operation


def _fits(value: object, expected: str) -> bool:
    if expected == _OBJECT:
        return isinstance(value, dict)
    if expected == _SWITCH:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if expected == _WHOLE:
        return isinstance(value, int) and 0 <= value < 1 << 62
    return isinstance(value, int | float) and value > 0
