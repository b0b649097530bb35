"""What comes in by one protocol leaves by the other, as far as that can say it.

What it cannot say is left out and harms nobody.  Here hpfeeds' asyncio session and nats-py talk to
each other through the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import nats
import pytest
from hpfeeds.asyncio import ClientSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

pytestmark = pytest.mark.skipif(
    "BROKERKIT_TEST_HPFEEDS" in os.environ,
    reason="no other broker speaks both protocols",
)

EVERY_BYTE = bytes(range(256))
MAX_PAYLOAD = 1024 * 1024
SECONDS = 10

Address = tuple[str, int]
Message = tuple[str, str, bytes]

NOT_FOR_NATS = [
    pytest.param("", id="empty"),
    pytest.param("a b", id="blank"),
    pytest.param("a\tb", id="tab"),
    pytest.param("a\x0bb", id="vertical tab"),
    pytest.param("a\x0cb", id="form feed"),
    pytest.param("a\r\nMSG after 1 4\r\nfake", id="a forged message"),
    pytest.param("a..b", id="empty token"),
    pytest.param(".a", id="empty first token"),
    pytest.param("a.", id="empty last token"),
    pytest.param(">", id="rest"),
    pytest.param("*", id="any"),
    pytest.param("a.*", id="any below"),
    pytest.param("a.>", id="rest below"),
]


@contextlib.asynccontextmanager
async def feed(address: Address, *channels: str, ident: str = "sensor") -> AsyncIterator[ClientSession]:
    """Connect an hpfeeds session whose subscriptions stand, and hold that it stays connected.

    (It would make a new connection without a word.)
    """
    session = ClientSession(*address, ident, "secret")
    for channel in (*channels, "chan.sync"):
        session.subscribe(channel)
    await asyncio.wait_for(session.when_connected, SECONDS)
    async with session:
        session.publish("chan.sync", b"")
        assert await heard(session, 1) == [(ident, "chan.sync", b"")]
        session.unsubscribe("chan.sync")
        connection = session.protocol
        yield session
        assert session.protocol is connection


@contextlib.asynccontextmanager
async def joined(url: str, user: str = "alice") -> AsyncIterator[Client]:
    """Connect a NATS client, and at the end hold that no error was reported."""
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    connecting = nats.connect(url, user=user, password="secret", allow_reconnect=False, error_cb=note)
    async with await connecting as client:
        yield client
        assert client.is_connected
    assert errors == []


async def subscribed(client: Client, pattern: str, queue: str = "") -> Subscription:
    """Subscribe, and return when the subscription stands."""
    subscription = await client.subscribe(pattern, queue=queue)
    inbox = client.new_inbox()
    mark = await client.subscribe(inbox)
    await client.publish(inbox)
    await mark.next_msg(timeout=SECONDS)
    await mark.unsubscribe()
    if pattern == ">":
        # It hears the mark, too.
        await subscription.next_msg(timeout=SECONDS)
    return subscription


async def heard(session: ClientSession, count: int) -> list[Message]:
    """Receive ``count`` messages by hpfeeds."""
    return [await asyncio.wait_for(session.read(), SECONDS) for _ in range(count)]


async def taken(subscription: Subscription, count: int) -> list[tuple[str, bytes]]:
    """Receive ``count`` messages by NATS: subjects and payloads."""
    messages = [await subscription.next_msg(timeout=SECONDS) for _ in range(count)]
    return [(message.subject, message.data) for message in messages]


@pytest.mark.parametrize("pattern", ["honeypot.ssh", "honeypot.*", "*.ssh", "honeypot.>", ">"])
async def test_hpfeeds_to_nats(nats_url: str, hpfeeds_port: Address, pattern: str) -> None:
    """A NATS subscriber gets what is published to an hpfeeds channel that its pattern matches."""
    async with joined(nats_url) as client, feed(hpfeeds_port) as sensor:
        subscription = await subscribed(client, pattern)
        sensor.publish("honeypot.ssh", EVERY_BYTE)
        message = await subscription.next_msg(timeout=SECONDS)
        assert (message.subject, message.data) == ("honeypot.ssh", EVERY_BYTE)
        assert (message.reply, message.headers) == ("", None)


async def test_hpfeeds_to_nats_queue(nats_url: str, hpfeeds_port: Address) -> None:
    """A queue group gets each message of an hpfeeds client exactly once."""
    async with (
        joined(nats_url) as one,
        joined(nats_url) as two,
        feed(hpfeeds_port, "honeypot.ssh") as sensor,
    ):
        shares = [await subscribed(member, "honeypot.*", "workers") for member in (one, two)]
        sent = [b"%d" % number for number in range(200)]
        for payload in sent:
            sensor.publish("honeypot.ssh", payload)
        assert await heard(sensor, len(sent)) == [("sensor", "honeypot.ssh", x) for x in sent]
        # What is sent to a mark behind them tells that they are here.
        for member in (one, two):
            await subscribed(member, "behind.them")
        counts = [share.pending_msgs for share in shares]
        payloads = [x for share in shares for _, x in await taken(share, share.pending_msgs)]
        assert sorted(payloads) == sorted(sent)
        assert min(counts) > 0


@pytest.mark.parametrize("channel", ["honeypot.ssh", "honeypot.été", "plain"])
async def test_nats_to_hpfeeds(nats_url: str, hpfeeds_port: Address, channel: str) -> None:
    """An hpfeeds subscriber gets what is published by NATS, under the name of the NATS user."""
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, channel, "after") as collector,
    ):
        await client.publish("honeypot.other", b"not subscribed")
        await client.publish(channel, EVERY_BYTE)
        await client.publish(channel, b"")
        await client.publish("after", b"end")
        assert await heard(collector, 3) == [
            ("alice", channel, EVERY_BYTE),
            ("alice", channel, b""),
            ("alice", "after", b"end"),
        ]


async def test_token_user_to_hpfeeds(nats_url: str, hpfeeds_port: Address) -> None:
    """A NATS user who logged in by token alone has the name of its entry, not the token."""
    async with (
        await nats.connect(nats_url, token="t0ken", allow_reconnect=False) as client,
        feed(hpfeeds_port, "plain") as collector,
    ):
        await client.publish("plain", b"x")
        assert await heard(collector, 1) == [("robot", "plain", b"x")]


async def test_nats_headers_to_hpfeeds(nats_url: str, hpfeeds_port: Address) -> None:
    """Of a message with headers and a reply, an hpfeeds subscriber gets the payload alone."""
    async with joined(nats_url) as client, feed(hpfeeds_port, "plain") as collector:
        await client.publish("plain", b"body", reply="some.where", headers={"Key": "value"})
        assert await heard(collector, 1) == [("alice", "plain", b"body")]


async def test_no_wildcards_by_hpfeeds(nats_url: str, hpfeeds_port: Address) -> None:
    """An hpfeeds channel named like a wildcard is a name: nothing else arrives on it."""
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, ">", "*", "a.*", "a.>", "after") as collector,
    ):
        for subject in ("a", "a.b", "a.b.c", "after"):
            await client.publish(subject, b"x")
        assert await heard(collector, 1) == [("alice", "after", b"x")]


@pytest.mark.parametrize("channel", NOT_FOR_NATS)
async def test_channels_not_for_nats(nats_url: str, hpfeeds_port: Address, channel: str) -> None:
    """A channel that NATS cannot spell reaches hpfeeds subscribers, and leaves NATS ones whole."""
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, channel, "after", ident="collector") as collector,
        feed(hpfeeds_port) as sensor,
    ):
        everything = await subscribed(client, ">")
        below = await subscribed(client, "a.*")
        # The other subscription's mark.
        assert len(await taken(everything, 1)) == 1
        for _ in range(2):
            sensor.publish(channel, b"payload")
            sensor.publish("after", b"end")
        assert await heard(collector, 4) == 2 * [
            ("sensor", channel, b"payload"),
            ("sensor", "after", b"end"),
        ]
        assert await taken(everything, 2) == [("after", b"end")] * 2
        assert below.pending_msgs == 0


async def test_payload_too_long_for_hpfeeds(nats_url: str, hpfeeds_port: Address) -> None:
    """A NATS payload that no hpfeeds frame can hold is left out for hpfeeds subscribers alone."""
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, "plain") as collector,
    ):
        subscription = await subscribed(client, "plain")
        longest = MAX_PAYLOAD - len("\x05alice" + "\x05plain")
        for size in (MAX_PAYLOAD, longest + 1, longest):
            await client.publish("plain", bytes(size))
        await client.publish("plain", b"end")
        assert await heard(collector, 2) == [
            ("alice", "plain", bytes(longest)),
            ("alice", "plain", b"end"),
        ]
        sizes = [len(payload) for _, payload in await taken(subscription, 4)]
        assert sizes == [MAX_PAYLOAD, longest + 1, longest, len(b"end")]


async def test_topic_too_long_for_hpfeeds(nats_url: str, hpfeeds_port: Address) -> None:
    """A subject too long for an hpfeeds frame is left out, though hpfeeds can subscribe to it."""
    long = "c" * 300
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, long, "after") as collector,
    ):
        subscription = await subscribed(client, long)
        await client.publish(long, b"x")
        await client.publish("after", b"end")
        assert await heard(collector, 1) == [("alice", "after", b"end")]
        assert await taken(subscription, 1) == [(long, b"x")]


async def test_request_over_hpfeeds_traffic(nats_url: str, hpfeeds_port: Address) -> None:
    """A NATS service goes on answering while an hpfeeds client floods the channel beside it."""
    async with (
        joined(nats_url) as server,
        joined(nats_url) as client,
        feed(hpfeeds_port, "honeypot.ssh") as sensor,
    ):

        async def answer(message: Msg) -> None:
            if message.reply:
                await message.respond(message.data)

        await server.subscribe("honeypot.*", cb=answer)
        await subscribed(server, "behind.it")
        for _ in range(2000):
            sensor.publish("honeypot.ssh", EVERY_BYTE)
        for number in range(20):
            reply = await client.request("honeypot.service", b"%d" % number, timeout=SECONDS)
            assert reply.data == b"%d" % number
        assert len(await heard(sensor, 2000)) == 2000


async def test_order_across(nats_url: str, hpfeeds_port: Address) -> None:
    """Order is the sender's for readers of the other protocol too, over several topics."""
    count = 3000
    async with (
        joined(nats_url) as client,
        feed(hpfeeds_port, "honeypot.ssh", "plain", ident="collector") as collector,
        feed(hpfeeds_port) as sensor,
    ):
        topics = ("honeypot.ssh", "plain", "chan.one")
        subscription = await subscribed(client, ">")
        sent = [(topics[number % 3], b"%d" % number) for number in range(count)]
        for topic, payload in sent:
            sensor.publish(topic, payload)
        assert await taken(subscription, count) == sent
        known = [("sensor", *message) for message in sent if message[0] != "chan.one"]
        assert await heard(collector, len(known)) == known
        for topic, payload in sent:
            await client.publish(topic, payload)
        known = [("alice", *message) for message in sent if message[0] != "chan.one"]
        assert await heard(collector, len(known)) == known
