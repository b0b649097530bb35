"""From one protocol to the other: topics under a prefix, and what one can say and the other cannot."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

import pytest

from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.plugin import protocols
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.protocols.hpfeeds.wire import MAX_PUBLISH
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.run import Batch, Message
    from brokerkit.testing import Client, Peer

LONG = "n" * 256
USERS = {"ann": "secret", "bob": "other", LONG: "long"}
QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"user":"%b","pass":"%b"}\r\n'


def broker(*, hpfeeds: str = "", nats: str = "", grants: dict[str, Grants] | None = None) -> MemoryBroker:
    """Give a broker whose listeners have these prefixes."""
    settings = {"hpfeeds": {"topic_prefix": hpfeeds}, "nats": {"topic_prefix": nats, "max_payload": 2 * 1024 * 1024}}
    return MemoryBroker(users=USERS, settings=settings, grants=grants)


def nats(memory: MemoryBroker, first: bytes = b"", user: str = "bob") -> Peer:
    """Connect to the NATS listener, log in, and say the first words."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(QUIET % (user.encode(), USERS[user].encode()) + first)
    assert peer.take() == b""
    return peer


def hpfeeds(memory: MemoryBroker, *channels: bytes, user: str = "ann") -> Client:
    """Connect to the hpfeeds listener, log in, and subscribe."""
    client = memory.client("hpfeeds", user)
    for channel in channels:
        client.peer.send(frame(4, user.encode(), channel))
    return client


def frame(opcode: int, *fields: bytes) -> bytes:
    """Spell an hpfeeds frame; all fields but the last get a length byte."""
    body = b"".join(bytes([len(field)]) + field for field in fields[:-1]) + fields[-1]
    return pack("!iB", 5 + len(body), opcode) + body


def listen(memory: MemoryBroker, pattern: bytes = b">") -> list[Message]:
    """Give the list that everything under a pattern will be added to."""
    heard: list[Message] = []

    def receive(batch: Batch) -> None:
        heard.extend(batch)

    memory.local("listener").subscribe(pattern, receive)
    return heard


def unspellable(memory: MemoryBroker) -> int:
    """Count the deliveries that could not be written."""
    return memory.broker.realm.router("").unspellable


# -- prefixes ---------------------------------------------------------------------------------------------------------


def test_hpfeeds_channels_lie_under_the_prefix() -> None:
    """The channel ``dionaea`` is the topic ``honeypot.dionaea`` for everybody else."""
    memory = broker(hpfeeds="honeypot")
    heard = listen(memory)
    collector, sensor = hpfeeds(memory, b"dionaea"), hpfeeds(memory, user="bob")
    watcher = nats(memory, b"SUB honeypot.> 1\r\nSUB dionaea 2\r\n")
    sensor.peer.send(frame(3, b"bob", b"dionaea", b"hi"))
    assert [(m.topic, m.payload) for m in heard] == [(b"honeypot.dionaea", b"hi")]
    assert watcher.take() == b"MSG honeypot.dionaea 1 2\r\nhi\r\n"
    assert collector.peer.take() == frame(3, b"bob", b"dionaea", b"hi")


def test_nats_reaches_hpfeeds_under_the_prefix_only() -> None:
    """What is published outside the prefix is nobody's channel."""
    memory = broker(hpfeeds="honeypot")
    collector = hpfeeds(memory, b"a", b"honeypot.a", b"")
    nats(memory, b"PUB a 1\r\n1\r\nPUB honeypot.a 1\r\n2\r\nPUB honeypot 1\r\n3\r\nPUB honeypots.a 1\r\n4\r\n")
    assert collector.peer.take() == frame(3, b"bob", b"a", b"2")
    assert unspellable(memory) == 0


def test_grants_are_asked_for_the_topic() -> None:
    """Rights are about topics; errors speak of channels and subjects, as the client knows them."""
    grants = Grants({PUBLISH: Access(patterns([b"pre.ok"])), SUBSCRIBE: Access(patterns([b"pre.ok"]))})
    memory = broker(hpfeeds="pre", nats="pre", grants={"ann": grants})
    client = hpfeeds(memory, b"ok")
    client.peer.send(frame(3, b"ann", b"ok", b"x"))
    assert client.peer.take() == frame(3, b"ann", b"ok", b"x")
    client.peer.send(frame(3, b"ann", b"pre.ok", b"x"))
    assert client.peer.take() == frame(0, b"Authkey not allowed to pub here. ident=ann, chan=pre.ok")
    peer = nats(memory, user="ann")
    peer.send(b"SUB ok 1\r\nPUB ok 1\r\nx\r\nPUB no 0\r\n\r\nSUB no 2\r\n")
    assert peer.take() == (
        b"MSG ok 1 1\r\nx\r\n"
        b"-ERR 'Permissions Violation for Publish to \"no\"'\r\n"
        b"-ERR 'Permissions Violation for Subscription to \"no\"'\r\n"
    )


def test_nats_subjects_and_replies_lie_under_the_prefix() -> None:
    """Subjects and replies get the prefix on the way in and lose it on the way out."""
    memory = broker(nats="site.one")
    heard = listen(memory)
    asks, serves = nats(memory, b"SUB inbox.* 1\r\n"), nats(memory, b"SUB > 2\r\n")
    for spelled in (b"PUB", b"pub"):
        asks.send(spelled + b" svc inbox.7 2\r\nhi\r\n")
        assert serves.take() == b"MSG svc 2 inbox.7 2\r\nhi\r\n"
    assert [(m.topic, m.reply) for m in heard] == [(b"site.one.svc", b"site.one.inbox.7")] * 2
    memory.local().publish(heard[0].reply, b"answer")
    assert asks.take() == b"MSG inbox.7 1 6\r\nanswer\r\n"


def test_what_lies_outside_the_prefix_is_not_seen() -> None:
    """A subscription to everything is one to everything under the prefix."""
    memory = broker(nats="site")
    peer = nats(memory, b"SUB > 1\r\nSUB sites 2\r\n")
    local = memory.local()
    for topic in (b"a", b"site", b"sites", b"sites.a", b"site.a"):
        local.publish(topic, b"")
    assert peer.take() == b"MSG a 1 0\r\n\r\n"


def test_a_reply_outside_the_prefix_is_left_out() -> None:
    """A message whose reply the subscriber could not publish to comes without it."""
    memory = broker(nats="site")
    peer = nats(memory, b"SUB a 1\r\n")
    memory.local().publish(b"site.a", b"hi", reply=b"elsewhere.r")
    memory.local().publish(b"site.a", b"hi", reply=b"site.r")
    memory.local().publish(b"site.a", b"hi", reply=b"site.with blank")
    assert peer.take() == b"MSG a 1 2\r\nhi\r\nMSG a 1 r 2\r\nhi\r\nMSG a 1 2\r\nhi\r\n"


def test_503_under_a_prefix() -> None:
    """The status names subject and reply as the requester knows them."""
    memory = broker(nats="site")
    peer = nats(memory, b"SUB r 1\r\n")
    peer.send(b"PUB foo r 0\r\n\r\n")
    assert peer.take() == b"HMSG r 1 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n"


def test_hpfeeds_listener_is_somebody() -> None:
    """A request that an hpfeeds subscriber receives is not answered by a 503."""
    memory = broker()
    collector = hpfeeds(memory, b"foo")
    peer = nats(memory, b"SUB r 1\r\n")
    peer.send(b"PUB foo r 2\r\nhi\r\n")
    assert peer.take() == b""
    assert collector.peer.take() == frame(3, b"bob", b"foo", b"hi")


def test_two_hpfeeds_listeners() -> None:
    """What is a channel at one listener has another name at a second one with another prefix."""
    plugin = protocols()["hpfeeds"]
    settings = {"inner": {"topic_prefix": "pre"}}
    memory = MemoryBroker(users=USERS, plugins={"hpfeeds": plugin, "inner": plugin}, settings=settings)
    outer, inner = memory.client("hpfeeds"), memory.client("inner")
    outer.subscribe(b"pre.a")
    inner.subscribe(b"a")
    inner.peer.send(frame(3, b"ann", b"a", b"1") * 2)
    outer.peer.send(frame(3, b"ann", b"pre.a", b"2") * 2)
    said = [b"1", b"1", b"2", b"2"]
    assert [(m.topic, m.payload) for m in outer.messages()] == [(b"pre.a", payload) for payload in said]
    assert [(m.topic, m.payload) for m in inner.messages()] == [(b"a", payload) for payload in said]


def test_two_nats_listeners() -> None:
    """Likewise for subjects and replies."""
    plugin = protocols()["nats"]
    settings = {"inner": {"topic_prefix": "pre"}}
    memory = MemoryBroker(users=USERS, plugins={"nats": plugin, "inner": plugin}, settings=settings)
    outer, inner = memory.client("nats"), memory.client("inner")
    outer.subscribe(b"pre.>")
    inner.subscribe(b">")
    inner.peer.send(b"PUB a r 1\r\n1\r\n" * 2)
    outer.peer.send(b"PUB pre.a pre.r 1\r\n2\r\nPUB pre.a r 1\r\n3\r\n")
    seen = [(b"r", b"1"), (b"r", b"1"), (b"r", b"2"), (b"", b"3")]
    assert [(m.reply, m.payload) for m in inner.messages()] == seen
    seen = [(b"pre.r", b"1"), (b"pre.r", b"1"), (b"pre.r", b"2"), (b"r", b"3")]
    assert [(m.reply, m.payload) for m in outer.messages()] == seen


# -- what hpfeeds says and NATS cannot --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel", [b"a b", b"a\tb", b"a\r\nMSG b 1 0", b"a\nb", b"a\x0cb", b">", b"*", b"x.*", b"x.>"]
)
def test_channels_that_are_no_subjects(channel: bytes) -> None:
    """A channel with blanks, or that would be a pattern, is not told to NATS clients, and counted; the next one is."""
    memory = broker()
    watcher = nats(memory, b"SUB > 1\r\nSUB > 2\r\n")
    collector, sensor = hpfeeds(memory, channel), hpfeeds(memory)
    said = frame(3, b"ann", channel, b"hi")
    sensor.peer.send(said * 3 + frame(3, b"ann", b"good", b"hi"))
    assert sorted(watcher.take().split(b"MSG ")[1:]) == [b"good 1 2\r\nhi\r\n", b"good 2 2\r\nhi\r\n"]
    assert collector.peer.take() == said * 3
    assert unspellable(memory) == 6


@pytest.mark.parametrize("channel", [b"", b".", b"a..b", b".a", b"a."])
def test_channels_with_empty_tokens(channel: bytes) -> None:
    """No pattern reaches a channel with an empty token, and no NATS client can name it."""
    memory = broker()
    watcher = nats(memory, b"SUB > 1\r\nSUB *.> 2\r\nSUB a.*.b 3\r\n")
    collector, sensor = hpfeeds(memory, channel), hpfeeds(memory)
    sensor.peer.send(frame(3, b"ann", channel, b"hi"))
    assert watcher.take() == b""
    assert collector.peer.take() == frame(3, b"ann", channel, b"hi")


def test_patterns_of_nats_do_not_reach_channels_as_names() -> None:
    """A NATS publish to a subject that looks like a pattern reaches the channel of that very name only."""
    memory = broker()
    collector = hpfeeds(memory, b"a.*", b"a.b", b">")
    nats(memory, b"PUB a.* 1\r\n1\r\nPUB > 1\r\n2\r\nPUB a.b 1\r\n3\r\n")
    expected = [
        frame(3, b"bob", channel, payload) for channel, payload in ((b"a.*", b"1"), (b">", b"2"), (b"a.b", b"3"))
    ]
    assert collector.peer.take() == b"".join(expected)


@pytest.mark.parametrize("name", [b"", b".", b"a..b", b"a.", b".a", b"a b", b"a\tb", b"a\rb", b"a\nb", b"a\x0cb"])
def test_nats_heads(name: bytes) -> None:
    """Whatever the router may match, no head is made of what cannot be a subject, or lies outside the prefix."""
    framing = nats_framing(b"p", headers=True)
    assert framing.head(b"p." + name, b"1") is None
    assert framing.head(b"q.a", b"1") is None
    assert framing.head(b"p.a", b"1") == b"MSG a 1 "


# -- what NATS says and hpfeeds cannot --------------------------------------------------------------------------------


def test_payload_too_long_for_a_frame() -> None:
    """A message that no frame can hold is left out and counted; those beside it arrive, in their order."""
    memory = broker()
    collector = hpfeeds(memory, b"a")
    watcher = nats(memory, b"SUB a 1\r\n")
    longest = MAX_PUBLISH - 5 - 4 - 2
    sizes = (1, longest, longest + 1, 2, longest + 1, 3)
    nats(memory, b"".join(b"PUB a %d\r\n%b\r\n" % (size, bytes(size)) for size in sizes))
    assert collector.peer.take() == b"".join(frame(3, b"bob", b"a", bytes(size)) for size in (1, longest, 2, 3))
    assert watcher.take().count(b"MSG a 1 ") == len(sizes)
    assert unspellable(memory) == 2


def test_sender_too_long_for_a_frame() -> None:
    """The messages of a user whose name is no ident are left out and counted."""
    memory = broker()
    collector = hpfeeds(memory, b"a")
    nats(memory, b"PUB a 0\r\n\r\n" * 2, user=LONG)
    memory.local("n" * 255).publish(b"a", b"x")
    assert collector.peer.take() == frame(3, b"n" * 255, b"a", b"x")
    assert unspellable(memory) == 2


@pytest.mark.parametrize("topic", [b"p." + b"c" * 256, b"p", b"q.a", b"pp.a"])
def test_hpfeeds_heads(topic: bytes) -> None:
    """Whatever the router may match, no head is made of what cannot be a channel, or lies outside the prefix."""
    assert hpfeeds_framing(b"p").head(topic, b"") is None


@pytest.mark.parametrize("subject", [b"\xff", b"c" * 256, b"x." * 200 + b"x"])
def test_subjects_that_are_no_channels(subject: bytes) -> None:
    """A subject that is too long is not written to an hpfeeds client that could subscribe to it."""
    memory = broker()
    client = hpfeeds(memory)
    valid = len(subject) > 255
    if valid:  # the frame of a SUBSCRIBE has room for it, that of a PUBLISH has not
        client.peer.send(frame(4, b"ann", subject))
    watcher = nats(memory, b"SUB > 1\r\n")
    nats(memory, b"PUB %b 0\r\n\r\n" % subject)
    assert client.peer.take() == b""
    assert watcher.take() == b"MSG %b 1 0\r\n\r\n" % subject
    assert unspellable(memory) == valid


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"\xc3", bytes(range(128, 256))])
def test_names_that_are_no_text(name: bytes) -> None:
    """A channel that is no UTF-8 reaches who asked for it in hpfeeds; NATS clients are spared it, which is counted."""
    memory = broker()
    collector = hpfeeds(memory, name)
    watcher = nats(memory, b"SUB > 1\r\n")
    hpfeeds(memory).publish(name, b"x")
    assert collector.peer.take() == frame(3, b"ann", name, b"x")
    assert watcher.take() == b""
    assert unspellable(memory) == 1
    nats(memory, b"PUB %b 1\r\ny\r\n" % name)
    assert collector.peer.take() == frame(3, b"bob", name, b"y")
    assert watcher.take() == b"MSG %b 1 1\r\ny\r\n" % name


def test_channel_of_the_greatest_length() -> None:
    """A subject of 255 bytes behind the prefix is a channel."""
    memory = broker(hpfeeds="pre")
    collector = hpfeeds(memory, b"c" * 255)
    nats(memory, b"PUB pre.%b 0\r\n\r\n" % (b"c" * 255))
    assert collector.peer.take() == frame(3, b"bob", b"c" * 255, b"")


def test_headers_are_cut_off_for_hpfeeds() -> None:
    """The other protocol has no headers and no replies: it gets the payload."""
    memory = broker()
    collector = hpfeeds(memory, b"a")
    nats(memory, b"HPUB a r 4 6\r\nabcdhi\r\n" + b"PUB a 2\r\nho\r\n")
    assert collector.peer.take() == frame(3, b"bob", b"a", b"hi") + frame(3, b"bob", b"a", b"ho")


def test_nothing_is_forged() -> None:
    """Payloads and sids made of frames of the other protocol stay what they are."""
    memory = broker()
    collector = hpfeeds(memory, b"a")
    watcher = nats(memory, b"SUB a \0\0\0\x05\x00\r\n")
    evil = b"1\r\nMSG b 1 0\r\n\r\n" + frame(3, b"root", b"b", b"x")
    collector.peer.send(frame(3, b"ann", b"a", evil))
    assert collector.peer.take() == frame(3, b"ann", b"a", evil)
    assert watcher.take() == b"MSG a \0\0\0\x05\x00 %d\r\n%b\r\n" % (len(evil), evil)
