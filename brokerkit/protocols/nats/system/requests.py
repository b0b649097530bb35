"""The requests of the system account: what is asked under which subject, and what answers it.

An answer is ``{"server": …, "data": …}``, or has an ``error`` in the place of its data.  Lists are made in steps, one
after the other: an account that asks again and again gets its answers late, and costs the others no more than that.

Every account may ask about itself: who am I, and what connections and sums does my account have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from brokerkit.protocols.nats.monitor import asked
from brokerkit.protocols.nats.monitor.accounts import NoAccount, accountz, in_detail, names, statz
from brokerkit.protocols.nats.monitor.connz import connz
from brokerkit.protocols.nats.monitor.health import healthz
from brokerkit.protocols.nats.monitor.links import gatewayz, jsz, leafz, routez
from brokerkit.protocols.nats.monitor.spelling import account, tenant
from brokerkit.protocols.nats.monitor.subsz import subsz
from brokerkit.protocols.nats.monitor.varz import varz
from brokerkit.protocols.nats.system.lists import Lists
from brokerkit.protocols.nats.system.orders import Orders, Refused
from brokerkit.protocols.nats.system.person import person
from brokerkit.protocols.nats.system.statsz import statsz
from brokerkit.protocols.nats.system.words import Words, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.client import Client
    from brokerkit.protocols.nats.monitor.view import View
    from brokerkit.run import Message

    Say = Callable[[str, bytes, bytes], None]
    Answer = Callable[["Ask"], dict[str, Any] | None]
    Pieces = Callable[["Ask"], Iterator[bytes]]

log = Logger()

BAD_REQUEST, FAILED = 400, 500
_ACCOUNT = 3  # the token of $SYS.REQ.ACCOUNT.<account>.INFO that names it
ALL_SERVERS = "PING"  # stands there for every account


@attrs.frozen
class Ask:
    """One request: from which tenant and whom, what it is published to, and what its JSON says."""

    tenant: str
    topic: bytes
    reply: bytes
    said: dict[str, Any]
    sender: Client | None

    @property
    def account(self) -> str:
        """The account that the subject names."""
        return self.topic.split(b".")[_ACCOUNT].decode(errors="replace")


class Requests:
    """What answers requests; ``say`` publishes in a tenant."""

    def __init__(self, view: View, say: Say, connections: Callable[[str], dict[str, Any]]) -> None:
        """Answer from that view; ``connections`` gives the event about the connections of a tenant."""
        self._view = view
        self._say = say
        self._connections = connections
        self._words = Words(view)
        self._lists = Lists(view.broker.reactor)
        self._orders = Orders(view.broker)
        self.of_the_system = self._system()
        self.of_everybody: dict[bytes, Answer] = {
            b"$SYS.REQ.USER.INFO": self._who,
            b"$SYS.REQ.ACCOUNT.PING.STATZ": self._own_statistics,
        }
        self.identities = (b"$SYS.REQ.SERVER.PING.IDZ", self._own("IDZ"))
        self.lists_of_the_system = self._system_lists()
        self.lists_of_everybody: dict[bytes, Pieces] = {
            b"$SYS.REQ.ACCOUNT.PING.CONNZ": self._own_connections,
            b"$SYS.REQ.SERVER.PING.CONNZ": self._own_connections,
        }

    # -- what there is ----------------------------------------------------------------------------------------------

    def _system(self) -> dict[bytes, Answer]:
        """Give what is answered at once in the system account, by pattern."""
        view = self._view
        about_the_server: dict[str, Answer] = {
            "STATSZ": self._statistics,
            "VARZ": lambda _: {"data": varz(view)},
            "ROUTEZ": lambda _: {"data": routez(view)},
            "GATEWAYZ": lambda _: {"data": gatewayz(view)},
            "LEAFZ": lambda _: {"data": leafz(view)},
            "JSZ": lambda _: {"data": jsz(view)},
            "ACCOUNTZ": lambda ask: {"data": accountz(view, asked.record(asked.Accounts, ask.said))},
            "HEALTHZ": self._health,
        }
        orders: dict[str, Answer] = {
            "KICK": lambda ask: self._orders.kick(ask.said),
            "LDM": lambda ask: self._orders.send_away(ask.said),
            "RELOAD": lambda _: self._orders.reload(),
        }
        about_an_account: dict[str, Answer] = {
            "INFO": lambda ask: {"data": in_detail(view, ask.account)} if ask.account != ALL_SERVERS else None,
            "CONNS": self._how_many,
            "STATZ": self._sums,
            "LEAFZ": lambda _: {"data": leafz(view)},
            "JSZ": lambda _: {"data": jsz(view)},
        }
        return {
            **self._at_the_server(about_the_server),
            **{self._own(verb): order for verb, order in orders.items()},
            **{b"$SYS.REQ.ACCOUNT.*.%b" % verb.encode(): make for verb, make in about_an_account.items()},
            b"$SYS.REQ.SERVER.PING": self._statistics,
            b"$SYS.REQ.USER.INFO": self._who,
        }

    def _system_lists(self) -> dict[bytes, Pieces]:
        """Give what is answered by a list in the system account, by pattern."""
        return {
            **self._at_the_server({"CONNZ": self._all_connections, "SUBSZ": self._all_subscriptions}),
            b"$SYS.REQ.ACCOUNT.*.CONNZ": self._connections_of,
            b"$SYS.REQ.ACCOUNT.*.SUBSZ": self._subscriptions_of,
        }

    def _own(self, verb: str) -> bytes:
        return f"$SYS.REQ.SERVER.{self._view.server_id}.{verb}".encode()

    def _at_the_server(self, table: dict[str, Any]) -> dict[bytes, Any]:
        """Give the patterns by which all servers are asked, and this one."""
        pinged = {b"$SYS.REQ.SERVER.PING.%b" % verb.encode(): make for verb, make in table.items()}
        return {**pinged, **{self._own(verb): make for verb, make in table.items()}}

    # -- answering --------------------------------------------------------------------------------------------------

    def answer(self, make: Answer, where: str, message: Message, sender: Client | None) -> None:
        """Answer a request at once; one without a reply can only be for what it does."""
        document = self._tried(where, message, sender, make)
        if document is not None and message.reply:
            self._say(where, message.reply, spelled({"server": self._words.server(), **document}))

    def answer_list(self, make: Pieces, where: str, message: Message, sender: Client | None) -> None:
        """Answer a request by a list, when it is its turn."""
        if not message.reply:
            return
        pieces: list[Iterator[bytes]] = []

        def begin(ask: Ask) -> None:
            pieces.append(make(ask))

        refused = self._tried(where, message, sender, begin)
        if refused is not None:
            self._say(where, message.reply, spelled({"server": self._words.server(), **refused}))
        elif pieces:
            reply = message.reply
            self._lists.make(where, pieces[0], lambda document: self._say(where, reply, self._wrapped(document)))

    def identify(self, where: str, message: Message, _: Client | None) -> None:
        """Answer who this is: the one answer that is not wrapped."""
        if message.reply:
            self._say(where, message.reply, spelled(self._words.identity()))

    def _wrapped(self, document: bytes) -> bytes:
        return b'{"server":%b,"data":%b}' % (spelled(self._words.server()), document)

    def _tried(
        self, where: str, message: Message, sender: Client | None, make: Callable[[Ask], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Read the request and make its answer; what cannot be meant is answered by an error."""
        view = self._view
        try:
            said = asked.object_in(message.payload)
            if not asked.record(asked.Whom, said).includes(view.server_name, view.place[0]):
                return None
            return make(Ask(where, message.topic, message.reply, said, sender))
        except (asked.NotMeant, NoAccount) as error:
            return {"data": None, **_error(FAILED, error)}
        except asked.NotAsked as error:
            return _error(BAD_REQUEST, error)
        except Refused as error:
            return _error(FAILED, error)

    # -- the answers ------------------------------------------------------------------------------------------------

    def _statistics(self, _: Ask) -> dict[str, Any]:
        return {"statsz": statsz(self._view)}

    def _health(self, _: Ask) -> dict[str, Any]:
        code, document = healthz(self._view)
        return {"data": {**document, "status_code": code}}

    def _who(self, ask: Ask) -> dict[str, Any] | None:
        return {"data": person(ask.sender, self._view.now())} if ask.sender is not None else None

    def _how_many(self, ask: Ask) -> dict[str, Any] | None:
        """Give the connections of an account; about one that is not there, nothing is said."""
        found = tenant(ask.account)
        return self._connections(found) if found in names(self._view) else None

    def _sums(self, ask: Ask) -> dict[str, Any]:
        wanted = asked.record(asked.Statistics, ask.said)
        if ask.account != ALL_SERVERS:
            wanted = asked.Statistics((ask.account,), unused=True)
        return {"data": statz(self._view, wanted)}

    def _own_statistics(self, ask: Ask) -> dict[str, Any]:
        return {"data": statz(self._view, asked.Statistics((account(ask.tenant),), unused=True))}

    def _all_connections(self, ask: Ask) -> Iterator[bytes]:
        return connz(self._view, self._page_of_connections(ask))

    def _connections_of(self, ask: Ask) -> Iterator[bytes]:
        return connz(self._view, attrs.evolve(self._page_of_connections(ask), account=ask.account))

    def _own_connections(self, ask: Ask) -> Iterator[bytes]:
        return connz(self._view, attrs.evolve(self._page_of_connections(ask), account=account(ask.tenant)))

    def _page_of_connections(self, ask: Ask) -> asked.Connections:
        wanted = asked.record(asked.Connections, ask.said).checked()
        return attrs.evolve(wanted, limit=min(wanted.limit, asked.PAGE))

    def _all_subscriptions(self, ask: Ask) -> Iterator[bytes]:
        return subsz(self._view, self._page_of_subscriptions(ask))

    def _subscriptions_of(self, ask: Ask) -> Iterator[bytes]:
        wanted = attrs.evolve(self._page_of_subscriptions(ask), account=ask.account, subscriptions=True)
        return subsz(self._view, wanted)

    def _page_of_subscriptions(self, ask: Ask) -> asked.Subscribed:
        wanted = asked.record(asked.Subscribed, ask.said).checked()
        return attrs.evolve(wanted, limit=min(wanted.limit, asked.PAGE))


def _error(code: int, error: Exception) -> dict[str, Any]:
    return {"error": {"code": code, "description": str(error)}}
