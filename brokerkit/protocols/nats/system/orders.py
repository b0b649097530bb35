"""What the system account may have done: end a connection, ask one to go elsewhere, read the configuration again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.broker import Broker
    from brokerkit.session import Session

NO_SUCH_CLIENT = "no such client or leafnode id"


class Refused(Exception):
    """An order cannot be carried out; the text says why, in nats-server's words where it has some."""


class Orders:
    """Carries them out; each gives the answer, which says no more than that it was done."""

    def __init__(self, broker: Broker) -> None:
        """Work on that broker."""
        self._broker = broker

    def kick(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """End a connection without a word: behind the turn, since it may be the one that asks."""
        session = self._session(said)
        self._broker.turn.after(lambda: _end(session))
        return {}

    def send_away(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Tell a connection that it had better go elsewhere, as in lame duck mode."""
        self._session(said).will_go()
        return {}

    def reload(self) -> dict[str, Any]:
        """Read the configuration again, or at least the files of users and certificates."""
        try:
            self._broker.reload()
        except OperatorError as error:
            raise Refused(str(error)) from None
        return {}

    def _session(self, said: Mapping[str, Any]) -> Session:
        cid = said.get("cid")
        there = self._broker.census.there
        if type(cid) is not int or cid not in there:
            raise Refused(NO_SUCH_CLIENT)
        return there[cid]


def _end(session: Session) -> None:
    if session.client is not None and session.client.ended is not None:
        session.client.ended("kicked")
    else:
        session.close("kicked")
