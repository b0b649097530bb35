"""``/connz``: the connections, a page of them in the order that is asked for.

In the order of numbers only the page itself is looked at.  Any other order needs a look at every connection, which is
taken in steps, so that what it costs is spread between the broker's own work.  Connections of other protocols are
clients of this broker like those of NATS, so they are listed too; ``type`` says which protocol they speak.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.asked import ANY, CLOSED, OPEN
from brokerkit.protocols.nats.monitor.document import STEP, listing
from brokerkit.protocols.nats.monitor.seen import Seen, look, row
from brokerkit.protocols.nats.monitor.spelling import moment, tenant, text
from brokerkit.protocols.nats.monitor.subsz import detail
from brokerkit.topics import beneath, overlaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.protocols.nats.monitor.asked import Connections
    from brokerkit.protocols.nats.monitor.view import View
    from brokerkit.session import Session

    One = Session | Seen

MANY = 2048  # connections that are held against a filter in one step
_BY_NUMBER = ("cid", "start")
_UPWARDS = ("uptime", "reason")  # all others begin with the largest
_KEYS: dict[str, Callable[[Seen], Any]] = {
    "subs": attrgetter("subscriptions"),
    "pending": attrgetter("pending"),
    "msgs_to": attrgetter("messages_out"),
    "msgs_from": attrgetter("messages_in"),
    "bytes_to": attrgetter("bytes_out"),
    "bytes_from": attrgetter("bytes_in"),
    "last": attrgetter("heard_at"),
    "stop": attrgetter("stopped"),
    "reason": attrgetter("reason"),
    "rtt": attrgetter("rtt"),
}


def connz(view: View, wanted: Connections) -> Iterator[bytes]:
    """Give the document, in pieces, some of them empty."""
    now = view.now()
    every: list[One] = []
    for some in _every(view, wanted):
        every += some
        yield b""
    total = len(every)
    if wanted.cid:
        every = [one for one in every if one.cid == wanted.cid]
    if wanted.user:
        every = [one for one in every if _user(one) == wanted.user]
    if wanted.sort not in _BY_NUMBER:
        seen: list[Seen] = []
        for place in range(0, len(every), STEP):
            seen += map(_look, every[place : place + STEP])
            yield b""
        every = list(_in_order(seen, wanted.sort, now))
    elif wanted.state != OPEN:
        every.sort(key=attrgetter("cid"))
    page = every[wanted.offset : wanted.offset + wanted.limit]
    head = {
        "server_id": view.server_id,
        "now": moment(now),
        "num_connections": len(page),
        "total": total,
        "offset": wanted.offset,
        "limit": wanted.limit,
    }
    yield from listing(head, "connections", (_row(one, wanted, now) for one in page))


def _every(view: View, wanted: Connections) -> Iterator[list[One]]:
    """Give all that are of the state, the account and the interest that is asked for, some at a time."""
    every: list[One] = []
    if wanted.state in (OPEN, ANY):
        every += view.broker.census.there.values()
    if wanted.state in (CLOSED, ANY):
        every += view.memory.recent()
    if not (wanted.account or wanted.filter_subject):
        yield every
        return
    name, subject = tenant(wanted.account), wanted.filter_subject.encode()
    for place in range(0, len(every), MANY):
        some = every[place : place + MANY]
        if wanted.account:
            some = [one for one in some if _tenant(one) == name]
        if subject:
            some = [one for one in some if not isinstance(one, Seen) and _wants(one, subject)]
        yield some


def _look(one: One) -> Seen:
    return one if isinstance(one, Seen) else look(one)


def _tenant(one: One) -> str | None:
    if isinstance(one, Seen):
        return one.tenant
    return one.client.user.tenant if one.client is not None else None


def _user(one: One) -> str:
    if isinstance(one, Seen):
        return one.user
    return text(one.client.user.name) if one.client is not None else one.claimed()


def _wants(session: Session, subject: bytes) -> bool:
    """Say whether a connection listens to something of a subject."""
    subscriptions = session.client.subscriptions if session.client is not None else ()
    return any(overlaps(subscription.pattern, subject) for subscription in subscriptions)


def _in_order(seen: list[Seen], sort: str, now: float) -> list[Seen]:
    if sort == "idle":
        return sorted(seen, key=lambda one: one.idle(now), reverse=True)
    if sort == "uptime":
        return sorted(seen, key=lambda one: one.lasted(now))
    return sorted(seen, key=_KEYS[sort], reverse=sort not in _UPWARDS)


def _row(one: One, wanted: Connections, now: float) -> dict[str, Any]:
    entry = row(_look(one), now, auth=wanted.auth)
    if isinstance(one, Seen) or one.client is None or not (wanted.subscriptions or wanted.detail):
        return entry
    subscriptions = one.client.subscriptions
    if wanted.detail:
        entry["subscriptions_list_detail"] = [detail(s, one.cid, one.listener.prefix) for s in subscriptions]
    else:
        prefix = one.listener.prefix
        entry["subscriptions_list"] = [text(beneath(prefix, s.pattern) or b"") for s in subscriptions]
    return {key: value for key, value in entry.items() if value != []}
