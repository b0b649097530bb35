"""The subscriptions of one connection, by the sid that the client gave each.

Which of several things that are wrong is said first is nats-server's choice: the right, the number, the form.  A sid
that is in use already keeps the subscription that it has, and nothing is said about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit import topics
from brokerkit.errors import ClientError, NotAllowed
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.protocols.nats.quoting import denied
from brokerkit.protocols.nats.replies import Noting

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.framing import Framing
    from brokerkit.protocols.nats.framing import NatsFraming
    from brokerkit.protocols.nats.options import Options
    from brokerkit.protocols.nats.replies import Replies
    from brokerkit.protocols.nats.wire import Unsub, Wish
    from brokerkit.subscription import Subscription

CLOSED_QUEUE = b"_sys_"  # nobody may be a member of it


class Subscriptions:
    """What one connection listens to; ``most`` at a time, 0 for as many as it likes."""

    __slots__ = ("_forget", "_most", "_noting", "_plain", "_prefix", "replies", "sids")

    def __init__(self, prefix: bytes, most: int) -> None:
        """Begin with none."""
        self._prefix = prefix
        self._most = most
        self.replies: Replies | None = None  # where answers may be published, for a client with that right
        self._noting: Noting | None = None  # the framing of all subscriptions then
        self.sids: dict[bytes, Subscription] = {}
        self._forget = self.forget  # one object for all of them
        self._plain: NatsFraming | None = None

    def begin(self, sub: Wish, client: Client, options: Options) -> None:
        """Subscribe; raise the ``ClientError`` that answers what cannot be."""
        subject, queue, sid = sub
        if sid in self.sids or queue == CLOSED_QUEUE or 0 < self._most <= len(self.sids):
            self._check(subject, queue, client)
            return
        try:
            self.sids[sid] = client.subscribe(
                topics.under(self._prefix, subject),
                framing=self._framing(client, options),
                tag=sid,
                queue=queue,
                echo=options.echo,
                ended=self._forget,
            )
        except (NotAllowed, ValueError):  # which of the things that are wrong is said, is looked for only then
            self._check(subject, queue, client)
            raise ClientError("Invalid Subject", fatal=False) from None

    def _check(self, subject: bytes, queue: bytes, client: Client) -> None:
        pattern = topics.under(self._prefix, subject)
        literal = not topics.is_pattern(subject)
        allowed = client.grants.permits("subscribe", pattern, literal=literal, queue=queue)
        if queue == CLOSED_QUEUE or not allowed:
            raise denied(b"Subscription to", subject, queue)
        if 0 < self._most <= len(self.sids) or client.full:
            raise ClientError("maximum subscriptions exceeded", fatal=False)

    def _framing(self, client: Client, options: Options) -> Framing:
        plain = self._plain
        if plain is None or plain.headers != options.headers:
            plain = self._plain = nats_framing(self._prefix, headers=options.headers)
        if self.replies is None:
            return plain
        if self._noting is None:
            self._noting = Noting(plain, self.replies, None if options.echo else client)
        return self._noting

    def answer(self, replies: Replies | None, client: Client, options: Options) -> None:
        """Note from now on, or no longer, where requests that come in want their answers."""
        self.replies, self._noting = replies, None
        for subscription in self.sids.values():
            subscription.framing = self._framing(client, options)
            client.router.changed(subscription)

    def end(self, unsub: Unsub, client: Client) -> None:
        """End a subscription, now or after so many messages; an unknown one is no error."""
        subscription = self.sids.get(unsub.sid)
        if subscription is not None:
            client.unsubscribe(subscription, unsub.after)
            if not subscription.alive:
                del self.sids[unsub.sid]

    def end_all(self, client: Client) -> None:
        """End them all: a second CONNECT may be somebody else's, and nats-server drops them too."""
        for subscription in self.sids.values():
            client.unsubscribe(subscription)
        self.sids.clear()

    def forget(self, subscription: Subscription) -> None:
        """Take note that a subscription has ended by itself, or by a right that was lost; its sid is free."""
        self.sids.pop(subscription.tag, None)
