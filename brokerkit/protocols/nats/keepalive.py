"""Whether a client is still there: a PING now and then, and the end when too many went without a PONG.

The times are nats-server's.  The first question comes soon and is always asked, as nats-server does to measure the
round trip; later ones are left out while the client is heard anyway.
"""

from __future__ import annotations

from random import uniform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from brokerkit.protocols.nats.session import NatsSession

FIRST_PING = 2.0  # seconds: the first PING comes soon, to see whether anybody is there


class KeepAlive:
    """The questions to one connection: one in each ``interval`` seconds, ``most`` of them without an answer."""

    __slots__ = ("_asked", "_asked_at", "_interval", "_most", "_session", "_timer", "_unanswered")

    def __init__(self, session: NatsSession, interval: float, most: int) -> None:
        """Ask nothing yet."""
        self._session = session
        self._interval = interval
        self._most = most
        self._asked = False
        self._asked_at = 0.0
        self._unanswered = 0
        self._timer: IDelayedCall | None = None

    def follow(self, interval: float, most: int) -> None:
        """Go by other numbers, from the next question on."""
        self._interval = interval
        self._most = most

    def begin(self) -> None:
        """Ask for the first time in a while, not all clients at once."""
        self._tick_in(min(FIRST_PING, self._interval) * uniform(1.0, 1.2))  # noqa: S311

    def answered(self) -> None:
        """Note that the client has answered, and how long that took."""
        if self._asked_at:
            session = self._session
            session.rtt = session.listener.seconds() - self._asked_at
            if session.client is not None:
                session.client.rtt = session.rtt
            self._asked_at = 0.0
        self._unanswered = 0

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick_in(self, seconds: float) -> None:
        self._timer = self._session.listener.clock.callLater(seconds, self._tick)

    def _tick(self) -> None:
        """Ask whether the client is there, unless it has just been heard; give up after so many questions."""
        session = self._session
        self._timer = None
        with session.listener.broker.turn:
            if self._asked and session.heard and not self._unanswered:
                session.heard = False
            elif self._unanswered >= self._most and not session.held:  # an answer would not have been read
                session.refuse(session.too_slow())
                return
            else:
                self._asked = True
                self._unanswered += 1
                self._asked_at = session.listener.seconds()
                session.outbox.put(b"PING\r\n")
        self._tick_in(self._interval)
