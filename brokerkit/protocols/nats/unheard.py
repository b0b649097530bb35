"""The status 503: a request that nobody hears is answered at once, to whoever asked for that in CONNECT.

It goes to a plain subscription of the requester that waits for the answer; a member of a queue group is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit import topics
from brokerkit.deliver import deliver_to
from brokerkit.protocols.nats.wire import OddRun
from brokerkit.run import Message

if TYPE_CHECKING:
    from brokerkit.client import Client


def answer_503(client: Client, message: Message, prefix: bytes) -> None:
    """Tell ``client`` that nobody hears its message; the subject is named, as in nats-server since 2.12."""
    waiting = [s for s in client.router.match(message.reply) if s.owner is client and not s.queue and s.framing]
    if waiting:
        subject = topics.beneath(prefix, message.topic) or b""
        status = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % subject
        deliver_to(waiting[0], OddRun([Message(message.reply, b"", b"", status)]))
