"""Leaving on purpose: the connections of a listener are closed one by one, so that not all come back elsewhere at once.

The port is closed already when this begins.  Peers that can be told are told, then comes a time of grace in which they
may go by themselves (and in which other brokers that are to be stopped can say so, too); those who are left are closed
in random order over the rest of the time, a second apart at the most.  It is what nats-server calls lame duck mode.
"""

from __future__ import annotations

from math import ceil
from random import sample
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from brokerkit.listener import Listener
    from brokerkit.session import Session

log = Logger()

APART = 1.0  # seconds between two connections, at the most
TICK = 0.02  # seconds between two rounds of closing, at the least: of many connections, several go in one
REST = 1.0  # seconds for closing where the grace takes up the whole duration


class Departure:
    """The end of one listener's connections, over ``duration`` seconds of which ``grace`` are for going by oneself."""

    def __init__(self, listener: Listener, duration: float, grace: float) -> None:
        """Take the times; nothing happens before it begins."""
        self._listener = listener
        self._clock: Any = listener.clock
        self._grace = grace
        self._closing = duration - grace if duration > grace else REST
        self._end = 0.0
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """Tell those who are there, and close them when the grace is over."""
        with self._listener.broker.turn:
            for session in list(self._listener.sessions):
                session.will_go()
        self._timer = self._clock.callLater(self._grace, self._close)

    def stop(self) -> None:
        """Close no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        listener = self._listener
        log.info("{protocol}: closing existing connections", protocol=listener.protocol)
        self._end = self._clock.seconds() + self._closing
        self._tick()

    def _tick(self) -> None:
        """Close as many as have to go now, so that all are gone in time."""
        self._timer = None
        there = [session for session in self._listener.sessions if not session.closing]
        left = self._end - self._clock.seconds()
        number = ceil(len(there) * TICK / left) if left > TICK else len(there)
        chosen: list[Session] = sample(there, min(number, len(there)))
        with self._listener.broker.turn:
            for session in chosen:
                session.close("shutdown")
        still = len(there) - len(chosen)
        if still:
            self._timer = self._clock.callLater(max(TICK, min(APART, left / still)), self._tick)
