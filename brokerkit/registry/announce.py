"""Every change of the registry as a message, so that whoever watches topics watches the registry too.

A change of NAME is published to ``registry.TOKEN`` (see ``naming``), as JSON with its revision, the operation and the
record, in the order of revisions, once it is on disk.  Only the broker publishes there, and who may hear it is decided
by ``brokerkit.reserved``: the registry's own rights count on every protocol.

Live delivery is at most once, as for all messages.  Who has missed something sees it in the revisions, and asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from brokerkit.deliver import deliver
from brokerkit.grants import ALL
from brokerkit.registry import naming
from brokerkit.registry.access import READ
from brokerkit.registry.shown import shown_change
from brokerkit.reserved import Reserved
from brokerkit.router import Gate
from brokerkit.run import Message, Origin, Spoken

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.registry.service import Registry
    from brokerkit.registry.words import Change
    from brokerkit.router import Router
    from brokerkit.run import Batch
    from brokerkit.turn import Turn

SENDER = b"registry"  # who the message is from, where a protocol says that
ASKING = b"-get"  # what the place where entries are asked for has behind the prefix


def reserved(prefix: bytes) -> Reserved:
    """Give the part of the topic space that is kept for a registry whose changes go to ``prefix``."""
    return Reserved(prefix, prefix + ASKING, READ, naming.PREFIX)


def _go_on(_: Batch) -> bool:
    return True


class Announcer:
    """Publishes each change to one router; ``announced`` counts those that somebody received."""

    def __init__(self, registry: Registry, router: Router, turn: Turn, prefix: bytes) -> None:
        """Begin at once: what changes from here on is published."""
        self.announced = 0
        self._router = router
        self._turn = turn
        self._prefix = prefix
        self._gate = Gate(router, ALL, _go_on)  # the one that is not guarded
        self.stop: Callable[[], None] = registry.listen(self._tell)

    def _tell(self, change: Change) -> None:
        topic = naming.topic(change.name, self._prefix)
        if self._router.route(topic).leads_nowhere:
            return  # before the record is spelled, which may be long
        run = Spoken([Message(topic, json.dumps(shown_change(change), separators=(",", ":")).encode())])
        run.sender = self
        run.name = SENDER
        run.origin = Origin.SERVICE
        with self._turn:
            deliver(run, self._gate)
        self.announced += 1
