"""The NATS client for Python, unmodified, does everything of core NATS that it can do, as it does with nats-server.

Each test is done with both; tests/servers/nats_clients has the same for Go and JavaScript.
Each test takes subjects of its own, since one broker serves them all.  ``joined`` holds in passing
that a client was told of no error that its test did not ask for, and so also that no pending limit
was hit.
"""

from __future__ import annotations

import asyncio
import collections
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest

from .conftest import Broker
from .nats_server import TOKEN, NatsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

MAX_PAYLOAD = 1024 * 1024


@pytest.fixture(scope="module", params=[Broker, NatsServer], ids=["brokerkit", "nats-server"])
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | NatsServer]:
    """Run one of both; the tests are done once with each."""
    running = request.param(tmp_path_factory.mktemp("standing"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def nats_url(standing: Broker | NatsServer) -> str:
    """Say where NATS clients connect to."""
    return f"nats://127.0.0.1:{standing.ports['nats']}"


@pytest.fixture
def token_url(standing: Broker | NatsServer, nats_url: str, tmp_path: Path) -> Iterator[str]:
    """Say where clients with a token connect to: nats-server takes either users or a token."""
    if isinstance(standing, Broker):
        yield nats_url
        return
    another = NatsServer(tmp_path, TOKEN)
    another.start()
    yield f"nats://127.0.0.1:{another.ports['nats']}"
    another.stop()


@pytest.fixture
def restart(standing: Broker | NatsServer) -> Callable[[], None]:
    """Give a function that stops it and starts it on the same port; it blocks."""

    def again() -> None:
        standing.stop()
        standing.start()

    return again


@asynccontextmanager
async def joined(url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect as alice (or as ``options`` say), and at the end hold that no error was reported."""
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    chosen = {"user": "alice", "password": "secret", "allow_reconnect": False, "error_cb": note}
    async with await nats.connect(url, **{**chosen, **options}) as client:
        yield client
    assert errors == []


async def bodies(subscription: Subscription, count: int) -> list[bytes]:
    """Receive ``count`` messages and give their payloads."""
    return [(await subscription.next_msg(timeout=30)).data for _ in range(count)]


async def settle(client: Client) -> None:
    """Wait until the broker has dealt with all that ``client`` sent, and what came of it is here.

    ``flush`` does not promise that: its PING overtakes what the client has still in its queue.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(inbox)
    await subscription.next_msg(timeout=30)
    await subscription.unsubscribe()


async def received(client: Client) -> int:
    """Count what the broker has sent to ``client`` for anything but ``settle``."""
    await settle(client)
    client.stats["in_msgs"] -= 1
    return client.stats["in_msgs"]


async def is_silent(client: Client, subscription: Subscription) -> bool:
    """Say whether nothing waits for ``subscription`` once the broker has dealt with all before."""
    await settle(client)
    return subscription.pending_msgs == 0


async def test_user_and_password(nats_url: str) -> None:
    """A user with a password gets in, and is told the client's number and the payload limit."""
    async with joined(nats_url) as client:
        assert client.is_connected
        assert client.client_id
        assert client.max_payload == MAX_PAYLOAD


async def test_credentials_in_the_url(nats_url: str) -> None:
    """User and password may stand in the URL."""
    url = nats_url.replace("//", "//alice:secret@")
    async with joined(url, user=None, password=None) as client:
        await client.flush()


async def test_token(token_url: str) -> None:
    """A token alone gets in, with the rights of the user that has it."""
    async with joined(token_url, user=None, password=None, token="t0ken") as client:
        subscription = await client.subscribe("token.one")
        await client.publish("token.one", b"by token")
        assert await bodies(subscription, 1) == [b"by token"]


@pytest.mark.parametrize(
    "credentials",
    [
        {"user": "alice", "password": "wrong"},
        {"user": "alice", "password": ""},
        {"user": "nobody", "password": "secret"},
        {"token": "wrong"},
        {},
    ],
    ids=["wrong password", "empty password", "unknown user", "wrong token", "none"],
)
async def test_refused_credentials(nats_url: str, credentials: dict[str, str]) -> None:
    """Wrong and missing credentials all get the same answer, Authorization Violation."""

    async def ignore(_error: Exception) -> None:
        """Be called with the error that connect raises as well."""

    with pytest.raises(nats.errors.Error, match="'Authorization Violation'"):
        await nats.connect(nats_url, allow_reconnect=False, error_cb=ignore, **credentials)


async def test_publish_and_subscribe(nats_url: str) -> None:
    """A message arrives with its subject, reply and payload, from another connection."""
    async with joined(nats_url) as reader, joined(nats_url) as writer:
        subscription = await reader.subscribe("basic.one")
        await settle(reader)
        await writer.publish("basic.other", b"not this")
        await writer.publish("basic.one", b"hello", reply="basic.back")
        message = await subscription.next_msg(timeout=5)
        assert (message.subject, message.reply) == ("basic.one", "basic.back")
        assert (message.data, message.headers) == (b"hello", None)


async def test_echo(nats_url: str) -> None:
    """A client receives what it publishes itself, on each of its subscriptions."""
    async with joined(nats_url) as client:
        first = await client.subscribe("echo.one")
        second = await client.subscribe("echo.one")
        wide = await client.subscribe("echo.>")
        await client.publish("echo.one", b"x")
        for subscription in (first, second, wide):
            assert await bodies(subscription, 1) == [b"x"]
            assert await is_silent(client, subscription)


async def test_no_echo(nats_url: str) -> None:
    """A client that asked for no echo receives the others' messages and not its own."""
    async with joined(nats_url, no_echo=True) as quiet, joined(nats_url) as other:
        marks = await other.subscribe("noecho.mark")
        await settle(other)
        subscription = await quiet.subscribe("noecho.one")
        await quiet.publish("noecho.one", b"mine")
        await quiet.publish("noecho.mark", b"ready")
        assert await bodies(marks, 1) == [b"ready"]
        await other.publish("noecho.one", b"theirs")
        await other.publish("noecho.one", b"theirs too")
        assert await bodies(subscription, 2) == [b"theirs", b"theirs too"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("wild.*", ["wild.a", "wild.b"]),
        ("wild.>", ["wild.a", "wild.b", "wild.a.b", "wild.a.b.c"]),
        ("wild.*.b", ["wild.a.b"]),
        ("*.a", ["wild.a", "other.a"]),
        ("wild.*.>", ["wild.a.b", "wild.a.b.c"]),
        ("*.*.*.*", ["wild.a.b.c"]),
        ("wild.a", ["wild.a"]),
    ],
)
async def test_wildcards(nats_url: str, pattern: str, expected: list[str]) -> None:
    """``*`` stands for one token and a last ``>`` for one or more."""
    async with joined(nats_url) as client:
        subscription = await client.subscribe(pattern)
        for subject in ("wild", "wild.a", "wild.b", "wild.a.b", "wild.a.b.c", "other.a"):
            await client.publish(subject)
        await settle(client)
        count = subscription.pending_msgs
        subjects = [(await subscription.next_msg(timeout=5)).subject for _ in range(count)]
        assert subjects == expected


async def test_utf8_subjects(nats_url: str) -> None:
    """A subject may hold any characters, and its tokens match wildcards like others."""
    async with joined(nats_url) as client:
        literal = await client.subscribe("été.café.日本")
        wild = await client.subscribe("été.*.>")
        await client.publish("été.café.日本", "œuf".encode())
        for subscription in (literal, wild):
            message = await subscription.next_msg(timeout=5)
            assert (message.subject, message.data) == ("été.café.日本", "œuf".encode())


async def test_unsubscribe(nats_url: str) -> None:
    """Nothing is sent for a subscription that was taken back, while others go on."""
    async with joined(nats_url) as client:
        gone = await client.subscribe("unsub.one")
        stays = await client.subscribe("unsub.one")
        await gone.unsubscribe()
        await client.publish("unsub.one", b"x")
        assert await bodies(stays, 1) == [b"x"]
        assert await received(client) == 1


async def test_auto_unsubscribe(nats_url: str) -> None:
    """After the number of messages that was asked for the broker sends no more."""
    async with joined(nats_url) as reader, joined(nats_url) as writer:
        subscription = await reader.subscribe("auto.one")
        await subscription.unsubscribe(limit=3)
        before = await received(reader)
        for number in range(5):
            await writer.publish("auto.one", b"%d" % number)
        await settle(writer)
        assert [message.data async for message in subscription.messages] == [b"0", b"1", b"2"]
        assert await received(reader) - before == 3


async def test_auto_unsubscribe_counts_from_the_start(nats_url: str) -> None:
    """A limit that was already reached ends the subscription at once."""
    async with joined(nats_url) as client:
        subscription = await client.subscribe("auto.two")
        for _ in range(3):
            await client.publish("auto.two")
        before = await received(client)
        await subscription.unsubscribe(limit=2)
        await client.publish("auto.two")
        assert await received(client) == before == 3


async def test_queue_shares_the_messages(nats_url: str) -> None:
    """A queue group gets every message exactly once, each member a part; others get all of them."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(joined(nats_url)) for _ in range(3)]
        writer = await stack.enter_async_context(joined(nats_url))
        shares = [await member.subscribe("queue.one", queue="workers") for member in members]
        plain = await members[0].subscribe("queue.*")
        lone = await members[1].subscribe("queue.one", queue="auditors")
        for member in members:
            await settle(member)
        sent = [b"%d" % number for number in range(600)]
        for body in sent:
            await writer.publish("queue.one", body)
        await settle(writer)
        for member in members:
            await settle(member)
        counts = [share.pending_msgs for share in shares]
        handled = [body for share in shares for body in await bodies(share, share.pending_msgs)]
        assert sorted(handled) == sorted(sent)
        assert min(counts) > 0
        assert await bodies(plain, len(sent)) == sent
        assert await bodies(lone, len(sent)) == sent


async def test_queue_over_different_patterns(nats_url: str) -> None:
    """Members of one queue whose patterns overlap are one group for a message that both match."""
    async with joined(nats_url) as client:
        wide = await client.subscribe("overlap.*", queue="workers")
        narrow = await client.subscribe("overlap.one", queue="workers")
        for _ in range(100):
            await client.publish("overlap.one")
        await settle(client)
        assert wide.pending_msgs + narrow.pending_msgs == 100
        assert wide.pending_msgs > 0
        assert narrow.pending_msgs > 0


async def test_queue_goes_on_without_a_member(nats_url: str) -> None:
    """When a member leaves, the others get its share."""
    async with joined(nats_url) as writer, joined(nats_url) as stays:
        share = await stays.subscribe("leave.one", queue="workers")
        await settle(stays)
        async with joined(nats_url) as leaves:
            await leaves.subscribe("leave.one", queue="workers")
            await leaves.drain()
        for number in range(50):
            await writer.publish("leave.one", b"%d" % number)
        assert await bodies(share, 50) == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("old_style", [False, True], ids=["mux", "old style"])
async def test_request(nats_url: str, *, old_style: bool) -> None:
    """A request gets its answer, by the shared inbox as by an inbox of its own."""
    async with joined(nats_url) as server, joined(nats_url) as client:

        async def answer(message: Msg) -> None:
            await message.respond(message.data[::-1])

        subject = f"request.{old_style}"
        await server.subscribe(subject, cb=answer)
        await settle(server)
        reply = await client.request(subject, b"abc", timeout=5, old_style=old_style)
        assert reply.data == b"cba"


async def test_many_requests_at_once(nats_url: str) -> None:
    """Each of many requests under way gets its own answer, from a queue of servers."""
    async with joined(nats_url) as one, joined(nats_url) as two, joined(nats_url) as client:

        async def answer(message: Msg) -> None:
            await message.respond(b"re:" + message.data)

        for server in (one, two):
            await server.subscribe("requests.*", queue="servers", cb=answer)
            await settle(server)
        asked = [b"%d" % number for number in range(200)]
        replies = await asyncio.gather(*(client.request("requests.x", body, timeout=10) for body in asked))
        assert [reply.data for reply in replies] == [b"re:" + body for body in asked]


async def test_first_answer_counts(nats_url: str) -> None:
    """With several servers that answer, an old-style request takes one answer and no more."""
    async with joined(nats_url) as server, joined(nats_url) as client:

        async def answer(message: Msg) -> None:
            await message.respond(b"here")

        for _ in range(3):
            await server.subscribe("first.one", cb=answer)
        await settle(server)
        reply = await client.request("first.one", timeout=5, old_style=True)
        assert reply.data == b"here"
        await settle(server)
        assert await received(client) == 1


@pytest.mark.parametrize("old_style", [False, True], ids=["mux", "old style"])
async def test_no_responders(nats_url: str, *, old_style: bool) -> None:
    """A request that nobody listens for fails at once and not by its timeout."""
    async with joined(nats_url) as client:
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("nobody.here", b"?", timeout=10, old_style=old_style)


async def test_no_responders_does_not_count_ones_own_ears(nats_url: str) -> None:
    """A client without echo does not count as somebody who could answer itself."""
    async with joined(nats_url, no_echo=True) as client:
        await client.subscribe("nobody.else")
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("nobody.else", b"?", timeout=10)


async def test_request_timeout(nats_url: str) -> None:
    """A request that somebody hears and does not answer ends by its timeout."""
    async with joined(nats_url) as deaf, joined(nats_url) as client:
        await deaf.subscribe("silent.one")
        await settle(deaf)
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("silent.one", b"?", timeout=0.2)


async def test_headers_both_ways(nats_url: str) -> None:
    """Headers arrive with a request and with its answer, beside their payloads."""
    async with joined(nats_url) as server, joined(nats_url) as client:
        heard = []

        async def answer(message: Msg) -> None:
            heard.append((message.headers, message.data))
            await server.publish(message.reply, b"pong", headers={"Answer": "oui", "Egg": "œuf"})

        await server.subscribe("headers.one", cb=answer)
        await settle(server)
        asked = {"Question": "a: b", "Empty": ""}
        reply = await client.request("headers.one", b"ping", timeout=5, headers=asked)
        assert heard == [(asked, b"ping")]
        assert (reply.headers, reply.data) == ({"Answer": "oui", "Egg": "œuf"}, b"pong")


async def test_headers_without_payload(nats_url: str) -> None:
    """A message may consist of headers alone."""
    async with joined(nats_url) as client:
        subscription = await client.subscribe("headers.two")
        await client.publish("headers.two", headers={"Only": "this"})
        message = await subscription.next_msg(timeout=5)
        assert (message.headers, message.data) == ({"Only": "this"}, b"")


async def test_drain_subscription(nats_url: str) -> None:
    """Draining a subscription handles all that was sent before, and nothing after."""
    async with joined(nats_url) as reader, joined(nats_url) as writer:
        handled = []

        async def handle(message: Msg) -> None:
            await asyncio.sleep(0)
            handled.append(message.data)

        subscription = await reader.subscribe("drain.one", cb=handle)
        await settle(reader)
        sent = [b"%d" % number for number in range(500)]
        for body in sent:
            await writer.publish("drain.one", body)
        await settle(writer)
        await subscription.drain()  # type: ignore[no-untyped-call]
        await writer.publish("drain.one", b"too late")
        await settle(writer)
        await settle(reader)
        assert handled == sent


async def test_drain_connection(nats_url: str) -> None:
    """Draining a connection handles what was received, sends what that led to, and closes."""
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    async with joined(nats_url) as other, joined(nats_url, closed_cb=on_closed) as worker:
        results = await other.subscribe("drain.results")

        async def handle(message: Msg) -> None:
            await worker.publish("drain.results", message.data)

        await worker.subscribe("drain.jobs", cb=handle)
        await settle(worker)
        await settle(other)
        sent = [b"%d" % number for number in range(500)]
        for body in sent:
            await other.publish("drain.jobs", body)
        await settle(other)
        await worker.drain()
        await asyncio.wait_for(closed.wait(), 5)
        assert worker.is_closed
        assert await bodies(results, len(sent)) == sent


async def test_flush_and_rtt(nats_url: str) -> None:
    """Pings are answered one by one, while messages come in between."""
    async with joined(nats_url) as client:
        subscription = await client.subscribe("flush.one")
        for _ in range(100):
            await client.publish("flush.one")
            await client.flush()
        assert 0 < await client.rtt() < 5
        assert await bodies(subscription, 100) == [b""] * 100


@pytest.mark.parametrize("size", [0, 1, 127, 4096, 65536, 65537, MAX_PAYLOAD - 1, MAX_PAYLOAD])
async def test_payload_sizes(nats_url: str, size: int) -> None:
    """Every payload from nothing to the limit arrives as it was, whatever bytes it holds."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    async with joined(nats_url) as reader, joined(nats_url) as writer:
        subscription = await reader.subscribe(f"size.{size}")
        await settle(reader)
        await writer.publish(f"size.{size}", body)
        await writer.publish(f"size.{size}", b"next")
        assert await bodies(subscription, 2) == [body, b"next"]


async def test_payload_like_the_protocol(nats_url: str) -> None:
    """A payload that looks like operations is a payload."""
    body = b"\r\nMSG like.one 1 2\r\nhi\r\nPING\r\n-ERR 'no'\r\n"
    async with joined(nats_url) as client:
        subscription = await client.subscribe("like.one")
        await client.publish("like.one", body)
        assert await bodies(subscription, 1) == [body]


async def test_payload_over_the_limit(nats_url: str) -> None:
    """The client knows the limit from the broker, and the connection stays."""
    async with joined(nats_url) as client:
        subscription = await client.subscribe("over.one")
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("over.one", bytes(MAX_PAYLOAD + 1))
        await client.publish("over.one", b"x")
        assert await bodies(subscription, 1) == [b"x"]


async def test_headers_count_for_the_limit(nats_url: str) -> None:
    """Headers and payload too long together cost the connection, and nobody else theirs."""
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    async def ignore(_error: Exception) -> None:
        """Be called with the error, or with the reset that may overtake it."""

    async with (
        joined(nats_url) as other,
        joined(nats_url, closed_cb=on_closed, error_cb=ignore) as client,
    ):
        subscription = await other.subscribe("over.two")
        await settle(other)
        await client.publish("over.two", bytes(MAX_PAYLOAD), headers={"One": "more"})
        await asyncio.wait_for(closed.wait(), 10)
        await other.publish("over.two", b"x")
        assert await bodies(subscription, 1) == [b"x"]


async def test_many_small_messages_in_order(nats_url: str) -> None:
    """Each of two subscribers gets all messages of a fast publisher, in the order of sending."""
    count = 50_000
    async with joined(nats_url) as one, joined(nats_url) as two, joined(nats_url) as writer:
        arrived: list[list[bytes]] = [[], []]
        complete = [asyncio.Event(), asyncio.Event()]

        for index, reader in enumerate((one, two)):

            async def handle(message: Msg, index: int = index) -> None:
                arrived[index].append(message.data)
                if len(arrived[index]) == count:
                    complete[index].set()

            await reader.subscribe("many.>", cb=handle)
            await settle(reader)
        sent = [b"%d" % number for number in range(count)]
        for number, body in enumerate(sent):
            await writer.publish("many.odd" if number % 2 else "many.even", body)
        await settle(writer)
        for event in complete:
            await asyncio.wait_for(event.wait(), 60)
        assert arrived == [sent, sent]


async def test_denied_publish(nats_url: str) -> None:
    """A publish without the right is reported and goes nowhere; the connection stays."""
    reported: asyncio.Queue[Exception] = asyncio.Queue()
    async with (
        joined(nats_url) as other,
        joined(nats_url, user="guest", error_cb=reported.put) as guest,
    ):
        subscription = await other.subscribe("denied.>")
        allowed = await other.subscribe("guest.>")
        await settle(other)
        await guest.publish("denied.one", b"no")
        error = await asyncio.wait_for(reported.get(), 5)
        assert 'permissions violation for publish to "denied.one"' in str(error).lower()
        await guest.publish("guest.one", b"yes")
        assert await bodies(allowed, 1) == [b"yes"]
        assert await is_silent(other, subscription)
        assert guest.is_connected


@pytest.mark.parametrize("queue", ["", "workers"])
@pytest.mark.parametrize("pattern", ["denied.two", "*.one", ">", "guest"])
async def test_denied_subscription(nats_url: str, pattern: str, queue: str) -> None:
    """A subscription wider than the right is reported and gets nothing; the connection stays."""
    reported: asyncio.Queue[Exception] = asyncio.Queue()
    async with (
        joined(nats_url) as other,
        joined(nats_url, user="guest", error_cb=reported.put) as guest,
    ):
        denied = await guest.subscribe(pattern, queue=queue)
        error = str(await asyncio.wait_for(reported.get(), 5)).lower()
        assert f'permissions violation for subscription to "{pattern}"' in error
        assert ('using queue "workers"' in error) == bool(queue)
        allowed = await guest.subscribe("guest.>")
        await settle(guest)
        for subject in ("denied.two", "guest", "guest.one"):
            await other.publish(subject, b"x")
        assert await bodies(allowed, 1) == [b"x"]
        assert await is_silent(guest, denied)


async def test_verbose_and_pedantic(nats_url: str) -> None:
    """A client that wants every operation confirmed and checked does all it does otherwise."""
    async with joined(nats_url, verbose=True, pedantic=True) as client:

        async def answer(message: Msg) -> None:
            await message.respond(message.data)

        await client.subscribe("verbose.echo", cb=answer)
        subscription = await client.subscribe("verbose.one", queue="workers")
        for number in range(100):
            await client.publish("verbose.one", b"%d" % number, headers={"Number": str(number)})
        assert await bodies(subscription, 100) == [b"%d" % number for number in range(100)]
        assert (await client.request("verbose.echo", b"x", timeout=5)).data == b"x"
        await subscription.unsubscribe()
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("verbose.nobody", timeout=5)


async def test_many_subscriptions(nats_url: str) -> None:
    """A client with a thousand subscriptions gets each message on the right one."""
    async with joined(nats_url) as reader, joined(nats_url) as writer:
        tally: collections.Counter[str] = collections.Counter()

        for number in range(1000):

            async def handle(message: Msg, own: str = f"subs.{number}") -> None:
                assert message.subject == own
                tally[own] += 1

            await reader.subscribe(f"subs.{number}", cb=handle)
        last = await reader.subscribe("subs.last")
        await settle(reader)
        for _ in range(2):
            for number in range(1000):
                await writer.publish(f"subs.{number}")
        await writer.publish("subs.last", b"end")
        assert await bodies(last, 1) == [b"end"]
        await reader.drain()
        assert tally == {f"subs.{number}": 2 for number in range(1000)}


async def test_restart(nats_url: str, restart: Callable[[], None]) -> None:
    """After the broker was restarted, clients come back, subscribe again and go on."""
    back = [asyncio.Event(), asyncio.Event()]

    def options(event: asyncio.Event) -> dict[str, Any]:
        async def on_reconnected() -> None:
            event.set()

        async def ignore(_error: Exception) -> None:
            """Be called for each attempt that finds nobody."""

        return {
            "allow_reconnect": True,
            "reconnect_time_wait": 0.1,
            "max_reconnect_attempts": -1,
            "reconnected_cb": on_reconnected,
            "error_cb": ignore,
        }

    async with (
        joined(nats_url, **options(back[0])) as reader,
        joined(nats_url, **options(back[1])) as writer,
    ):
        plain = await reader.subscribe("restart.*")
        share = await reader.subscribe("restart.one", queue="workers")
        await settle(reader)
        await writer.publish("restart.one", b"before")
        assert await bodies(plain, 1) + await bodies(share, 1) == [b"before"] * 2
        await asyncio.to_thread(restart)
        for event in back:
            await asyncio.wait_for(event.wait(), 10)
        await writer.publish("restart.one", b"after")
        assert await bodies(plain, 1) + await bodies(share, 1) == [b"after"] * 2
