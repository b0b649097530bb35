"""Answers that take their time, made in steps: one at a time, and of each tenant only so many that wait.

Whoever is over that is not answered, which is what a server that is too busy looks like.  So nobody can make the broker
do nothing else, and nothing that waits grows.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.task import Cooperator
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = Logger()

WAITING = 16  # lists of one tenant, the one that is being made among them


class Wanted(NamedTuple):
    """One list, and what is done with it."""

    tenant: str
    pieces: Iterator[bytes]
    then: Callable[[bytes], None]


class Lists:
    """The lists that are to be made."""

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401  any reactor
        """Make them in that reactor's spare time."""
        self._cooperator = Cooperator(scheduler=lambda work: reactor.callLater(0, work))
        self._waiting: deque[Wanted] = deque()
        self._of_tenant: Counter[str] = Counter()
        self.refused = 0

    def make(self, tenant: str, pieces: Iterator[bytes], then: Callable[[bytes], None]) -> None:
        """Call ``then`` with the whole list, some time later; or never, if too many of that tenant wait."""
        if self._of_tenant[tenant] >= WAITING:
            self.refused += 1
            return
        self._of_tenant[tenant] += 1
        self._waiting.append(Wanted(tenant, pieces, then))
        if len(self._waiting) == 1:
            self._cooperator.cooperate(self._work()).whenDone().addErrback(
                lambda why: log.failure("no more lists", why)
            )

    def _work(self) -> Iterator[None]:
        """Make one list after the other, until none waits."""
        while self._waiting:
            wanted = self._waiting[0]
            yield from self._one(wanted)
            self._waiting.popleft()
            self._of_tenant[wanted.tenant] -= 1
            if not self._of_tenant[wanted.tenant]:
                del self._of_tenant[wanted.tenant]

    @staticmethod
    def _one(wanted: Wanted) -> Iterator[None]:
        made: list[bytes] = []
        try:
            for piece in wanted.pieces:
                made.append(piece)
                yield
            wanted.then(b"".join(made))
        except Exception:
            log.failure("a list of the system account failed")
