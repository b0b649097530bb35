"""The events of the system account: who came, who went and why, who was not let in, how the server does.

An event is made only where somebody listens for it.  Those about connections are told behind the turn in which they
happen, since a connection may end in the middle of a delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.accounts import numbers
from brokerkit.protocols.nats.monitor.memory import Sums
from brokerkit.protocols.nats.monitor.reasons import REFUSED
from brokerkit.protocols.nats.monitor.seen import look
from brokerkit.protocols.nats.monitor.spelling import account
from brokerkit.protocols.nats.system.statsz import statsz
from brokerkit.protocols.nats.system.words import Words, about, spelled
from brokerkit.tenant import DEFAULT, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.protocols.nats.monitor.seen import Seen
    from brokerkit.protocols.nats.monitor.view import View
    from brokerkit.protocols.nats.system.account import SystemAccount
    from brokerkit.session import Session


class Events:
    """What is told; a watcher of the census."""

    def __init__(self, view: View, to: SystemAccount) -> None:
        """Tell what that view sees, in that account."""
        self._view = view
        self._to = to
        self._words = Words(view)
        self._going = False

    # -- connections ------------------------------------------------------------------------------------------------

    def logged_in(self, session: Session) -> None:
        """Tell of a login."""
        if self._to.anybody and session.client is not None:
            seen = look(session)
            self._view.broker.turn.after(lambda: self._came(seen))

    def ended(self, session: Session) -> None:
        """Remember an end, and tell of it."""
        seen = self._view.memory.end(session)
        if self._to.anybody:
            known = session.client is not None
            self._view.broker.turn.after(lambda: self._went(seen, known=known))

    def _came(self, seen: Seen) -> None:
        name = account(seen.tenant)
        self._connections(seen.tenant or DEFAULT)
        self._tell(f"$SYS.ACCOUNT.{name}.CONNECT", lambda: self._event("client_connect", seen))

    def _went(self, seen: Seen, *, known: bool) -> None:
        name = account(seen.tenant)
        if seen.reason in REFUSED:
            self._tell(f"$SYS.SERVER.{self._view.server_id}.CLIENT.AUTH.ERR", lambda: self._end(seen))
        if known:
            self._connections(seen.tenant or DEFAULT)
        self._tell(f"$SYS.ACCOUNT.{name}.DISCONNECT", lambda: self._end(seen))

    def _event(self, kind: str, seen: Seen) -> dict[str, Any]:
        return {**self._words.advisory(kind), "client": about(seen)}

    def _end(self, seen: Seen) -> dict[str, Any]:
        """Give the event of an end: ``sent`` is what the client has sent."""
        return {
            **self._event("client_disconnect", seen),
            "sent": {"msgs": seen.messages_in, "bytes": seen.bytes_in},
            "received": {"msgs": seen.messages_out, "bytes": seen.bytes_out},
            "reason": seen.reason,
        }

    def _connections(self, tenant: str) -> None:
        """Tell how many connections an account has now; also by the subject that servers before 2.9 had for it."""
        name = account(tenant)
        for topic in (f"$SYS.ACCOUNT.{name}.SERVER.CONNS", f"$SYS.SERVER.ACCOUNT.{name}.CONNS"):
            self._tell(topic, lambda: self.connections(tenant))

    def connections(self, tenant: str) -> dict[str, Any]:
        """Give the event about the connections of an account."""
        sums = self._view.memory.sums().get(tenant, Sums())
        return {**self._words.advisory("account_connections"), **numbers(self._view, tenant, sums)}

    # -- the server -------------------------------------------------------------------------------------------------

    def report(self) -> None:
        """Tell how the server does."""
        topic = f"$SYS.SERVER.{self._view.server_id}.STATSZ"
        self._tell(topic, lambda: {"server": self._words.server(), "statsz": statsz(self._view)})

    def will_go(self) -> None:
        """Tell, once, that the server begins to send its clients away; one of several listeners may be the first."""
        if self._going:
            return
        self._going = True
        self._tell(f"$SYS.SERVER.{self._view.server_id}.LAMEDUCK", self._words.server)

    def will_stop(self) -> None:
        """Tell that the server goes; an event without words, as nats-server has it."""
        topic = f"$SYS.SERVER.{self._view.server_id}.SHUTDOWN".encode()
        if self._to.is_heard(topic):
            self._to.say(SYSTEM, topic, b"")

    def _tell(self, topic: str, make: Callable[[], dict[str, Any]]) -> None:
        name = topic.encode()
        if self._to.is_heard(name):
            self._to.say(SYSTEM, name, spelled(make()))
