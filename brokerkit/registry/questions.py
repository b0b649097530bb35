"""Reading the registry by messages: a request to ``registry-get.TOKEN`` is answered with the entry, as JSON.

The place is beside that of the changes and not within it, so that a question is never taken for a change.  It is
answered under the rights of the one who asks, to whom alone the answer goes: an inbox that others listen to as well
tells them nothing.  What is asked without a place for the answer, or by a part of the broker that acts for nobody, is
not answered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from brokerkit import topics
from brokerkit.client import Client
from brokerkit.deliver import deliver_back
from brokerkit.registry import naming
from brokerkit.registry.access import READ, may
from brokerkit.registry.shown import shown_entry
from brokerkit.registry.words import HIDDEN
from brokerkit.run import Message, Origin, Spoken
from brokerkit.subscription import Subscription

if TYPE_CHECKING:
    from brokerkit.registry.service import Registry
    from brokerkit.router import Router
    from brokerkit.run import Batch
    from brokerkit.turn import Turn


class Questions:
    """Answers what is asked at one router; ``answered`` counts all answers, ``refused`` those that say no."""

    def __init__(self, registry: Registry, router: Router, turn: Turn, place: bytes) -> None:
        """Begin at once: listen at ``place`` and one token behind it."""
        self.answered = 0
        self.refused = 0
        self._registry = registry
        self._router = router
        self._turn = turn
        self._place = place
        pattern = topics.under(place, topics.ANY)
        self._subscription = Subscription(pattern, literal=False, receive=self._take, origin=Origin.SERVICE)
        router.add(self._subscription)

    def stop(self) -> None:
        """Answer no more."""
        self._router.remove(self._subscription)

    def _take(self, batch: Batch) -> bool:
        """Answer each message, and say whether it is heard: a question from another tenant is not."""
        asker = batch.run.sender
        if not isinstance(asker, Client) or asker.router is not self._router:
            return False
        token = topics.beneath(self._place, batch.topic) or b""
        for message in batch:
            if message.reply:
                self._answer(asker, token, message.reply)
        return True

    def _answer(self, asker: Client, token: bytes, reply: bytes) -> None:
        answer = json.dumps(self._found(asker, token), separators=(",", ":")).encode()
        run = Spoken([Message(reply, answer)])
        run.sender = self
        run.origin = Origin.SERVICE
        with self._turn:
            deliver_back(run, asker, self._router)
        self.answered += 1

    def _found(self, asker: Client, token: bytes) -> dict[str, Any]:
        """Give the answer: the entry, or as for a request over HTTP a status and what is the matter."""
        try:
            name = naming.name_of(token)
        except ValueError:
            return self._no(400, "Bad Name", "expected one token: letters, digits and -_/:@+~, other bytes as =XX")
        if not may(asker, READ, name):
            return self._no(403, "Forbidden", "the name may not be read")
        entry = None if name.startswith(HIDDEN) else self._registry.get(name)
        if entry is None:
            return self._no(404, "Not Found", "there is no such entry") | {"name": name}
        return {"status": 200, "record": shown_entry(entry)}

    def _no(self, status: int, title: str, detail: str) -> dict[str, Any]:
        self.refused += 1
        return {"status": status, "title": title, "detail": detail}
