"""Who said and heard how much, by name: what metrics need that are labelled with users and topics.

All counts are plain integers.  A connection has a ``Teller``; what it does once for each run that is published is a few
additions, and nothing at all is done for each delivery: what a subscriber was given is what its topic has grown by
since it subscribed.  The counts live in tables that outlast connections, so those that have gone are not lost.

A name comes into the tables only when somebody has logged in by it, and the tables are bounded: whoever comes when they
are full is counted as ``other``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from brokerkit.topics import beneath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.client import User
    from brokerkit.outbox import Outbox
    from brokerkit.run import Run

IDENTS = 1000  # users with a row of their own
PAIRS = 500  # users on a channel with a row of their own: each is a histogram
KNOWN = 256  # topics that one connection remembers its row of
OTHER = b"other"
FIRST = 1024  # bytes: the upper bound of the first bucket, doubled for each of the next
BUCKETS = 13  # up to 4 MiB; one more is for what is larger still


class Connection(Protocol):
    """What a teller reads of its connection."""

    outbox: Outbox
    received: int

    @property
    def unread(self) -> int:
        """Bytes that have come in and are not yet parsed."""


class Account:
    """What all connections of one user have done since the start."""

    __slots__ = ("errors", "filled", "lost", "name", "owner", "queued", "ready", "received", "recovered", "sent")

    def __init__(self, name: bytes) -> None:
        """Begin at nought."""
        self.name = name
        self.owner = ""
        self.ready = 0  # logins
        self.lost = 0  # connections that have ended
        self.errors: Counter[str] = Counter()  # by a fixed few words
        self.received = 0  # bytes read after the login
        self.queued = 0  # bytes of payload for its subscriptions
        self.sent = 0  # bytes written after the login
        self.filled = 0  # times that its outbox was nearly full
        self.recovered = 0  # times that it was no more


class Said:
    """What one user has published to one channel."""

    __slots__ = ("buckets", "channel", "messages", "name", "octets", "subscribed")

    def __init__(self, name: bytes, channel: bytes) -> None:
        """Begin at nought."""
        self.name = name
        self.channel = channel
        self.messages = 0
        self.octets = 0  # of payload
        self.buckets = [0] * (BUCKETS + 1)  # messages by size
        self.subscribed = False

    def sort(self, run: Run, start: int, stop: int) -> None:
        """Put the messages of a batch into their buckets; mostly they are all small."""
        if run.largest(start, stop) <= FIRST:
            self.buckets[0] += stop - start
        else:
            for size in run.sizes(start, stop):
                self.buckets[bucket(size)] += 1


def bucket(octets: int) -> int:
    """Give the number of the bucket that a payload of so many bytes belongs to."""
    return min(((max(octets, 1) - 1) // FIRST).bit_length(), BUCKETS)


class Heard:
    """The payload that went to one topic while somebody listened."""

    __slots__ = ("octets", "readers")

    def __init__(self) -> None:
        """Begin at nought."""
        self.octets = 0
        self.readers = 0


class Tally:
    """The tables."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.accounts: dict[bytes, Account] = {}
        self.said: dict[tuple[bytes, bytes], Said] = {}
        self.nobody = Account(b"")  # connections before their login
        self.tellers: set[Teller] = set()
        self._heard: dict[str, dict[bytes, Heard]] = {}  # by tenant and topic, while somebody listens

    def teller(self, connection: Connection, prefix: bytes = b"") -> Teller:
        """Give what counts for a new connection to a listener with that topic prefix."""
        teller = Teller(self, connection, prefix)
        self.tellers.add(teller)
        return teller

    def known(self, name: bytes) -> Account:
        """Give the row of a user who has logged in before, or that of nobody: a name that was only claimed is none."""
        return self.accounts.get(name, self.nobody)

    def account(self, name: bytes) -> Account:
        """Give the row of a user who has logged in."""
        account = self.accounts.get(name)
        if account is None:
            if len(self.accounts) >= IDENTS:
                name = OTHER
            account = self.accounts.setdefault(name, Account(name))
        return account

    def pair(self, name: bytes, channel: bytes) -> Said:
        """Give the row of a user on a channel."""
        said = self.said.get((name, channel))
        if said is None:
            if len(self.said) >= PAIRS:
                name = channel = OTHER
            said = self.said.setdefault((name, channel), Said(name, channel))
        return said

    def heard(self, tenant: str) -> dict[bytes, Heard]:
        """Give the topics of a tenant that somebody listens to."""
        return self._heard.setdefault(tenant, {})

    def settle(self) -> None:
        """Bring the rows up to this moment: connections keep their own counts until somebody asks."""
        for teller in self.tellers:
            teller.settle()


class Teller:
    """Counts for one connection; ``account`` is whose it is now, nobody's before the login."""

    __slots__ = (
        "_connection",
        "_filled",
        "_heard",
        "_listens",
        "_prefix",
        "_received",
        "_recovered",
        "_said",
        "_sent",
        "_tally",
        "account",
        "name",
        "ready",
    )

    def __init__(self, tally: Tally, connection: Connection, prefix: bytes) -> None:
        """Begin before the login."""
        self.account = tally.nobody
        self.name = b""
        self.ready = False
        self._tally = tally
        self._connection = connection
        self._prefix = prefix
        self._said: dict[bytes, Said] = {}  # by topic
        self._listens: dict[bytes, tuple[Heard, int]] = {}  # by topic, with what it had when this was last settled
        self._heard: dict[bytes, Heard] = {}
        self._received = self._sent = self._filled = self._recovered = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """The bytes that wait to be sent, and those that wait to be parsed."""
        return self._connection.outbox.pending, self._connection.unread

    def logged_in(self, user: User) -> None:
        """Count for this user from now on."""
        self.settle()
        listens, self._listens = self._listens, {}
        for topic, (heard, _) in listens.items():  # what an earlier user of this connection listened to
            self._leave(topic, heard)
        self.account = self._tally.account(user.name)
        self.account.owner = user.owner
        self.account.ready += 1
        self.name = user.name
        self.ready = True
        self._said = {}
        self._heard = self._tally.heard(user.tenant)
        for topic in listens:
            self.listens(topic)
        connection, outbox = self._connection, self._connection.outbox
        self._received, self._sent = connection.received, outbox.sent + outbox.pending
        self._filled, self._recovered = outbox.filled, outbox.recovered

    def published(self, run: Run, passed: int) -> None:
        """Count the first ``passed`` messages of a run."""
        topics, cuts = run.topics, run.cuts
        last = len(cuts) - 1
        for k, start in enumerate(cuts):
            if start >= passed:
                break
            stop = min(cuts[k + 1], passed) if k < last else passed
            topic = topics[k]
            said = self._said.get(topic) or self._row(topic)
            octets = run.octets(start, stop)
            said.messages += stop - start
            said.octets += octets
            if octets <= FIRST:
                said.buckets[0] += stop - start
            elif stop - start == 1:
                said.buckets[bucket(octets)] += 1
            else:
                said.sort(run, start, stop)
            heard = self._heard.get(topic)
            if heard is not None:
                heard.octets += octets

    def _row(self, topic: bytes) -> Said:
        if len(self._said) >= KNOWN:
            self._said.clear()
        said = self._said[topic] = self._tally.pair(self.name, self._channel(topic))
        return said

    def _channel(self, topic: bytes) -> bytes:
        return beneath(self._prefix, topic) or b""

    def listens(self, topic: bytes) -> None:
        """Count what goes to a topic from now on: it has been subscribed to."""
        heard = self._heard.setdefault(topic, Heard())
        heard.readers += 1
        self._listens[topic] = heard, heard.octets
        self._tally.pair(self.name, self._channel(topic)).subscribed = True

    def listens_no_more(self, topic: bytes) -> None:
        """Take note of the end of a subscription."""
        heard, before = self._listens.pop(topic, (None, 0))
        if heard is not None:
            self.account.queued += heard.octets - before
            self._leave(topic, heard)

    def _leave(self, topic: bytes, heard: Heard) -> None:
        heard.readers -= 1
        if not heard.readers:
            self._heard.pop(topic, None)

    @property
    def topics(self) -> Iterator[bytes]:
        """The names, as the listener has them, that are listened to now."""
        return map(self._channel, self._listens)

    def erred(self, category: str, name: bytes | None = None) -> None:
        """Count a mistake: of whoever is logged in, or of a ``name`` that was only claimed, if it is known."""
        account = self.account if name is None else self._tally.known(name)
        account.errors[category] += 1

    def settle(self) -> None:
        """Bring the row up to this moment."""
        if not self.ready:
            return
        connection, account = self._connection, self.account
        outbox = connection.outbox
        account.received += connection.received - self._received
        account.sent += max(outbox.sent - self._sent, 0)
        account.filled += outbox.filled - self._filled
        account.recovered += outbox.recovered - self._recovered
        self._received, self._sent = connection.received, max(outbox.sent, self._sent)
        self._filled, self._recovered = outbox.filled, outbox.recovered
        for topic, (heard, before) in self._listens.items():
            if heard.octets != before:
                account.queued += heard.octets - before
                self._listens[topic] = heard, heard.octets

    def ended(self) -> None:
        """Take note of the end of the connection."""
        self.settle()
        for topic in list(self._listens):
            self.listens_no_more(topic)
        self.account.lost += 1
        self._tally.tellers.discard(self)
