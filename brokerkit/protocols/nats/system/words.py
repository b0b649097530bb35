"""What stands in every answer and event of the system account: which server it comes from, and whom it is about."""

from __future__ import annotations

from itertools import count
from json import dumps
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.spelling import account, moment, nanoseconds

if TYPE_CHECKING:
    from brokerkit.protocols.nats.monitor.seen import Seen
    from brokerkit.protocols.nats.monitor.view import View

ADVISORY = "io.nats.server.advisory.v1."


class Words:
    """The words of one server, which numbers what it says."""

    def __init__(self, view: View) -> None:
        """Begin to number."""
        self._view = view
        self._numbers = count(1)

    def identity(self) -> dict[str, Any]:
        """Give the name, the host and the id."""
        view = self._view
        return {"name": view.server_name, "host": view.place[0], "id": view.server_id}

    def server(self) -> dict[str, Any]:
        """Give what ``server`` says in an answer or an event."""
        return {
            **self.identity(),
            "ver": self._view.version,
            "jetstream": False,
            "flags": 0,
            "seq": next(self._numbers),
            "time": moment(self._view.now()),
        }

    def advisory(self, kind: str) -> dict[str, Any]:
        """Give the first keys of an event of that kind."""
        return {
            "type": ADVISORY + kind,
            "id": token_urlsafe(16),
            "timestamp": moment(self._view.now()),
            "server": self.server(),
        }


def about(seen: Seen) -> dict[str, Any]:
    """Give what ``client`` says of a connection; without what is empty."""
    name, language, version = seen.introduced
    fields = {
        "start": moment(seen.started),
        "host": seen.ip,
        "id": seen.cid,
        "acc": account(seen.tenant),
        "user": seen.user,
        "name": name,
        "lang": language,
        "ver": version,
        "rtt": nanoseconds(seen.rtt) if seen.stopped is not None else 0,
        "stop": moment(seen.stopped) if seen.stopped is not None else "",
        "name_tag": account(seen.tenant),
        "kind": "Client",
        "client_type": seen.kind,
    }
    return {key: value for key, value in fields.items() if value}


def spelled(document: dict[str, Any]) -> bytes:
    """Give a document as it is published."""
    return dumps(document, separators=(",", ":")).encode()
