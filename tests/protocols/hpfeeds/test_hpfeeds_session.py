"""The hpfeeds broker's side, byte by byte: what the original answers, and which of its defects are not copied."""

from __future__ import annotations

from hashlib import sha1
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent

from brokerkit.allowance import Allowance
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, literal
from brokerkit.testing import MemoryBroker, every_chunking

if TYPE_CHECKING:
    from brokerkit.testing import Peer

MEGABYTE = 1024 * 1024
USERS = {"ann": "secret", "bob": "other"}
LIMITED = Grants({PUBLISH: Access(literal([b"a", b"b"])), SUBSCRIBE: Access(literal([b"a", b"s"]))})


def frame(opcode: int, *fields: bytes) -> bytes:
    """Spell a frame; all fields but the last get a length byte."""
    body = b"".join(bytes([len(field)]) + field for field in fields[:-1]) + fields[-1]
    return pack("!iB", 5 + len(body), opcode) + body


def error(text: str | bytes) -> bytes:
    """Spell an ERROR."""
    return frame(0, text.encode() if isinstance(text, str) else text)


def publish(ident: bytes, channel: bytes, payload: bytes) -> bytes:
    """Spell a PUBLISH."""
    return frame(3, ident, channel, payload)


def subscribe(channel: bytes, ident: bytes = b"ann") -> bytes:
    """Spell a SUBSCRIBE."""
    return frame(4, ident, channel)


def unsubscribe(channel: bytes, ident: bytes = b"ann") -> bytes:
    """Spell an UNSUBSCRIBE."""
    return frame(5, ident, channel)


def auth(nonce: bytes, ident: bytes = b"ann", secret: bytes = b"secret") -> bytes:
    """Spell the AUTH that answers a nonce."""
    return frame(2, ident, sha1(nonce + secret).digest())  # noqa: S324  the protocol's own


def broker(**more: Any) -> MemoryBroker:
    """Give a broker in which ann may use a few channels only."""
    return MemoryBroker(users=USERS, grants={"ann": LIMITED}, **more)


def open_(memory: MemoryBroker) -> tuple[Peer, bytes]:
    """Connect; give the connection and the nonce."""
    peer = memory.connect("hpfeeds")
    return peer, peer.take()[-4:]


def login(memory: MemoryBroker, name: str = "ann") -> Peer:
    """Connect and log in."""
    peer, nonce = open_(memory)
    peer.send(auth(nonce, name.encode(), USERS[name].encode()))
    assert peer.take() == b""
    assert not peer.closed
    return peer


def closed(memory: MemoryBroker, peer: Peer) -> bool:
    """Let a connection that is being closed go, and say whether it has gone."""
    memory.advance()
    return peer.closed


def subscriptions(memory: MemoryBroker) -> int:
    """Count the subscriptions that the broker knows of."""
    return sum(router.subscriptions - router.serving for router in memory.broker.realm.routers.values())


# -- the sequence -----------------------------------------------------------------------------------------------------


def test_info_comes_first() -> None:
    """INFO comes at once, in one piece, with a nonce of four bytes that differs, and the name."""
    memory = broker(settings={"hpfeeds": {"name": "hpfeeds"}})
    infos = [memory.connect("hpfeeds").take() for _ in range(8)]
    assert {info[:-4] for info in infos} == {bytes.fromhex("00000011010768706665656473")}
    assert len({info[-4:] for info in infos}) == 8


def test_login_is_silent() -> None:
    """Nothing is sent when a login or a subscription worked."""
    memory = broker()
    peer = login(memory)
    peer.send(subscribe(b"a"), unsubscribe(b"a"), publish(b"ann", b"a", b"x"))
    assert peer.take() == b""
    assert not closed(memory, peer)


def test_all_in_one_segment() -> None:
    """AUTH, SUBSCRIBE and PUBLISH may come in one segment, however it is cut."""
    data = auth(b"\1\2\3\4") + subscribe(b"a") + publish(b"ann", b"a", b"x")
    memory = broker()
    for chunks in every_chunking(data):
        peer = memory.connect("hpfeeds")
        peer.protocol.nonce = b"\1\2\3\4"
        peer.take()
        peer.send(*chunks)
        assert peer.take() == publish(b"ann", b"a", b"x")
        peer.hang_up()


def test_all_in_one_segment_while_the_login_takes_time() -> None:
    """What comes behind AUTH waits, unread, until a login that takes time is decided."""
    memory = broker()
    ask, started = memory.broker.login, Deferred[None]()
    memory.broker.login = lambda *args: started.addCallback(lambda _: ask(*args))  # type: ignore[method-assign]
    peer, nonce = open_(memory)
    peer.send(auth(nonce) + subscribe(b"a") + publish(b"ann", b"a", b"1"))
    peer.send(publish(b"ann", b"a", b"2"))
    assert not peer.transport.reading
    assert subscriptions(memory) == 0
    started.callback(None)
    memory.advance()
    assert peer.take() == publish(b"ann", b"a", b"1") + publish(b"ann", b"a", b"2")


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first", [frame(0, b"x"), frame(1, b"x", b"1234"), publish(b"ann", b"a", b""), subscribe(b"a")]
)
def test_first_frame_has_to_be_auth(first: bytes) -> None:
    """Anything before AUTH is answered and closed."""
    memory = broker()
    peer, nonce = open_(memory)
    peer.send(first + auth(nonce))
    assert peer.take() == error("First message was not AUTH")
    assert closed(memory, peer)


@pytest.mark.parametrize(
    ("ident", "digest"),
    [
        (b"nobody", bytes(20)),
        (b"ann", bytes(20)),
        (b"ann", b"short"),
        (b"ann", b""),
        (b"", b""),
        (b"x" * 255, b"y" * 20),
    ],
)
def test_refused_login(ident: bytes, digest: bytes) -> None:
    """An unknown ident and a wrong digest get the same answer, with the ident in it, and are closed."""
    memory = broker()
    peer, _ = open_(memory)
    peer.send(frame(2, ident, digest))
    assert peer.take() == error(f"Authentication failed for {ident.decode()}")
    assert closed(memory, peer)


def test_login_with_the_digest_of_another_connection() -> None:
    """A digest is good for one nonce only."""
    memory = broker()
    _, nonce = open_(memory)
    peer, _ = open_(memory)
    peer.send(auth(nonce))
    assert peer.take() == error("Authentication failed for ann")
    assert closed(memory, peer)


def test_source_of_users_fails(bugs: list[Any]) -> None:
    """A source of users that raises lets nobody in, with an answer that blames nobody and a traceback in the log."""
    memory = broker()
    memory.broker.login = lambda *_: fail(RuntimeError("database gone"))  # type: ignore[method-assign]
    peer, nonce = open_(memory)
    peer.send(auth(nonce))
    assert peer.take() == error("Users cannot be looked up now, try again later")
    assert closed(memory, peer)
    assert [str(failure.value) for failure in bugs] == ["database gone"]
    bugs.clear()


ANSWERS = {
    "publish as somebody else": (
        publish(b"bob", b"a", b""),
        "Invalid authkey in message, ident=bob",
    ),
    "publish as somebody else where one may not": (
        publish(b"bob", b"zz", b""),
        "Invalid authkey in message, ident=bob",
    ),
    "publish where one may not": (
        publish(b"ann", b"zz", b""),
        "Authkey not allowed to pub here. ident=ann, chan=zz",
    ),
    "publish where one may subscribe": (
        publish(b"ann", b"s", b""),
        "Authkey not allowed to pub here. ident=ann, chan=s",
    ),
    "publish to the empty channel": (
        publish(b"ann", b"", b""),
        "Authkey not allowed to pub here. ident=ann, chan=",
    ),
    "publish with a channel that claims to be longer": (
        pack("!iB", 5 + 4 + 3, 3) + b"\3ann" + b"\x09zz",
        "Authkey not allowed to pub here. ident=ann, chan=zz",
    ),
    "subscribe where one may not": (
        subscribe(b"zz"),
        "Authkey not allowed to sub here. ident=ann, chan=zz",
    ),
    "subscribe where one may not, as somebody else": (
        subscribe(b"zz", b"bob"),
        "Authkey not allowed to sub here. ident=ann, chan=zz",
    ),
    "subscribe to what is a pattern elsewhere": (
        subscribe(b">"),
        "Authkey not allowed to sub here. ident=ann, chan=>",
    ),
    "an ident that is no UTF-8": (publish(b"j\xfcrg", b"a", b""), b"Invalid authkey in message, ident=j\xfcrg"),
    "a channel that is no UTF-8": (
        publish(b"ann", b"caf\xe9", b""),
        b"Authkey not allowed to pub here. ident=ann, chan=caf\xe9",
    ),
    "a channel that is no UTF-8, to subscribe to": (
        subscribe(b"\xff"),
        b"Authkey not allowed to sub here. ident=ann, chan=\xff",
    ),
    "a second AUTH that is bad": (
        frame(2, b"bob", bytes(20)),
        "Authentication failed for bob",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answered_and_closed(case: str) -> None:
    """What is not allowed gets the original's words and the end of the connection, however it is cut."""
    said, text = ANSWERS[case]
    for chunks in every_chunking(said):
        memory = broker()
        peer = login(memory)
        peer.send(*chunks)
        assert peer.take() == error(text)
        assert closed(memory, peer)
        assert not peer.aborted


SILENT = {
    "unknown opcode": pack("!iB", 5, 6),
    "last unknown opcode": pack("!iB", 5, 255),
    "too long": pack("!iB", 5 + MEGABYTE + 1, 3),
    "ERROR from a client": frame(0, b"x"),
    "INFO from a client": frame(1, b"x", b"1234"),
    "empty body of PUBLISH": pack("!iB", 5, 3),
    "empty body of SUBSCRIBE": pack("!iB", 5, 4),
    "PUBLISH without a channel": pack("!iB", 9, 3) + b"\3ann",
    "length 1": pack("!iB", 1, 3),
    "length 4": pack("!iB", 4, 3),
    "negative length": pack("!iB", -1, 3),
    "length 0": pack("!iB", 0, 3),
}


@pytest.mark.parametrize("case", SILENT)
def test_closed_without_a_word(case: str) -> None:
    """What is not the protocol ends the connection without an ERROR."""
    memory = broker()
    peer = login(memory)
    peer.send(SILENT[case])
    assert peer.take() == b""
    assert closed(memory, peer)


@pytest.mark.parametrize("case", ["unknown opcode", "too long", "length 0", "length 4", "negative length"])
def test_closed_without_a_word_before_login(case: str) -> None:
    """The same goes before AUTH."""
    memory = broker()
    peer, _ = open_(memory)
    peer.send(SILENT[case])
    assert peer.take() == b""
    assert closed(memory, peer)


@pytest.mark.parametrize("opcode", [0, 3, 4, 5])
def test_before_login_no_memory_is_filled(opcode: int) -> None:
    """Who has not logged in cannot have a megabyte held: the head of any frame but AUTH is answered at once."""
    memory = broker()
    peer, _ = open_(memory)
    peer.send(pack("!iB", MEGABYTE, opcode))
    assert peer.take() == error("First message was not AUTH")
    assert closed(memory, peer)


def test_what_a_peer_says_cannot_play_with_the_log() -> None:
    """What would move the cursor, end the line or be a page long stands in the log escaped and cut."""
    memory = broker()
    with capturedLogs() as logs:
        peer, _ = open_(memory)
        peer.send(frame(2, b"\x1b[2J\r\nroot\0\xe2\x80\xae", bytes(20)))
        peer = login(memory)
        peer.send(subscribe(b"\x07" * 100_000))
    refused, denied = (formatEvent(event) for event in logs if "kind" in event)
    assert refused.endswith(r"Authentication failed for \x1b[2J\r\nroot\x00\u202e")
    assert refused.isprintable()
    assert denied.isprintable()
    assert len(denied) < 1000


def test_accepted_though_odd() -> None:
    """Idents in SUBSCRIBE and UNSUBSCRIBE do not matter, nor does unsubscribing from what never was."""
    memory = broker()
    peer = login(memory)
    peer.send(unsubscribe(b"never"), unsubscribe(b"never", b"bob"), subscribe(b"a", b"bob"))
    peer.send(publish(b"ann", b"a", b"") + pack("!iB", 5 + 4 + 2, 3) + b"\3ann" + b"\x09a")
    assert peer.take() == publish(b"ann", b"a", b"") * 2
    peer.send(unsubscribe(b"a", b"nobody"), publish(b"ann", b"a", b""))
    assert peer.take() == b""
    assert not closed(memory, peer)


def test_empty_channel() -> None:
    """A channel without a name is a channel like any other, if it is granted."""
    memory = broker()
    peer = login(memory, "bob")
    peer.send(subscribe(b""), publish(b"bob", b"", b"x"))
    assert peer.take() == publish(b"bob", b"", b"x")


def test_second_auth() -> None:
    """A second AUTH that is good replaces ident and rights and keeps the subscriptions."""
    memory = broker()
    peer, nonce = open_(memory)
    peer.send(auth(nonce), subscribe(b"a"), auth(nonce, b"bob", b"other"))
    peer.send(publish(b"bob", b"a", b"1"), publish(b"bob", b"zz", b"2"))
    assert peer.take() == publish(b"bob", b"a", b"1")
    assert subscriptions(memory) == 1
    peer.send(publish(b"ann", b"a", b"3"))
    assert peer.take() == error("Invalid authkey in message, ident=ann")
    assert closed(memory, peer)
    assert subscriptions(memory) == 0


def test_login_takes_too_long() -> None:
    """Who does not log in in time is answered and closed; who did is not."""
    memory = broker(settings={"hpfeeds": {"login_timeout": 5.0}})
    late, _ = open_(memory)
    good = login(memory)
    memory.advance(4.9)
    assert not late.closed
    memory.advance(0.2)
    assert late.take() == error("Authentication timed out")
    assert closed(memory, late)
    assert not closed(memory, good)


def test_too_many_subscriptions() -> None:
    """The number of channels of one connection is bounded; asking for one again does not count."""
    memory = broker(settings={"hpfeeds": {"max_subscriptions": 2}})
    peer = login(memory, "bob")
    peer.send(subscribe(b"a"), subscribe(b"b"), subscribe(b"b"), unsubscribe(b"b"), subscribe(b"c"))
    assert peer.take() == b""
    peer.send(subscribe(b"d"))
    assert peer.take() == error("Too many subscriptions")
    assert closed(memory, peer)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_longest_publish() -> None:
    """A frame of exactly the greatest size is delivered as it is; with one byte more it is refused by its head."""
    memory = broker()
    peer = login(memory)
    data = publish(b"ann", b"a", bytes(MEGABYTE - 5 - 1))
    assert len(data) == 5 + MEGABYTE
    peer.send(subscribe(b"a"), data)
    assert peer.take() == data
    peer.send(pack("!iB", 5 + MEGABYTE + 1, 3))
    assert peer.take() == b""
    assert closed(memory, peer)


def test_longest_auth() -> None:
    """An ident of 255 bytes with a digest of 20 fits; a frame of 282 bytes does not."""
    memory = broker()
    peer, _ = open_(memory)
    peer.send(frame(2, b"x" * 255, bytes(20)))
    assert peer.take() == error("Authentication failed for " + "x" * 255)
    peer, _ = open_(memory)
    peer.send(pack("!iB", 281, 2))
    assert not closed(memory, peer)
    peer, _ = open_(memory)
    peer.send(pack("!iB", 282, 2))
    assert peer.take() == b""
    assert closed(memory, peer)


@pytest.mark.parametrize("opcode", [4, 5])
def test_longest_subscribe(opcode: int) -> None:
    """SUBSCRIBE and UNSUBSCRIBE may be a megabyte, all in all, and no byte more."""
    memory = broker()
    peer = login(memory, "bob")
    peer.send(frame(opcode, b"bob", b"c" * (MEGABYTE - 5 - 4)))
    assert not closed(memory, peer)
    peer.send(pack("!iB", MEGABYTE + 1, opcode))
    assert peer.take() == b""
    assert closed(memory, peer)


@pytest.mark.parametrize(("opcode", "limit"), [(0, 5 + MEGABYTE), (1, 281)])
def test_longest_of_what_only_brokers_say(opcode: int, limit: int) -> None:
    """ERROR and INFO have limits too, before the login as after it."""
    memory = broker()
    for length, answer in ((limit, error("First message was not AUTH")), (limit + 1, b"")):
        peer, _ = open_(memory)
        peer.send(pack("!iB", length, opcode) + bytes(length - 5))
        assert peer.take() == answer
        assert closed(memory, peer)


# -- closing ----------------------------------------------------------------------------------------------------------


def test_nothing_behind_a_refused_login_is_done() -> None:
    """Unlike in the original, a good AUTH and a publish behind a bad AUTH are not looked at."""
    memory = broker()
    hears = login(memory, "bob")
    hears.send(subscribe(b"a"))
    peer, nonce = open_(memory)
    peer.send(frame(2, b"ann", bytes(20)) + auth(nonce) + publish(b"ann", b"a", b"x"))
    assert peer.take() == error("Authentication failed for ann")
    assert closed(memory, peer)
    assert hears.take() == b""


def test_nothing_behind_a_denied_publish_is_done() -> None:
    """Unlike in the original, an allowed publish behind a denied one is not delivered; one before it is."""
    memory = broker()
    hears = login(memory, "bob")
    hears.send(subscribe(b"a"))
    peer = login(memory)
    before, denied, behind = (publish(b"ann", c, p) for c, p in ((b"a", b"1"), (b"zz", b"2"), (b"a", b"3")))
    peer.send(before + denied + behind)
    assert peer.take() == error("Authkey not allowed to pub here. ident=ann, chan=zz")
    assert closed(memory, peer)
    assert hears.take() == before


def test_errors_come_behind_what_was_delivered() -> None:
    """What was delivered before the error is written before it."""
    memory = broker()
    peer = login(memory)
    peer.send(subscribe(b"a") + publish(b"ann", b"a", b"x") + frame(3, b"bob", b"a", b"y"))
    assert peer.take() == publish(b"ann", b"a", b"x") + error("Invalid authkey in message, ident=bob")
    assert closed(memory, peer)


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_self_delivery() -> None:
    """A publisher that is subscribed gets its own message."""
    memory = broker()
    peer = login(memory)
    peer.send(subscribe(b"a"), publish(b"ann", b"a", b"x"))
    assert peer.take() == publish(b"ann", b"a", b"x")


def test_the_publishers_ident_is_delivered() -> None:
    """A delivered message carries the ident of who published it."""
    memory = broker()
    hears, speaks = login(memory), login(memory, "bob")
    hears.send(subscribe(b"a"))
    speaks.send(publish(b"bob", b"a", b"x"))
    assert hears.take() == publish(b"bob", b"a", b"x")


@pytest.mark.parametrize("channel", [b">", b"*", b"a.*", b"a.>", b"a..b", b".", b"a b", b"\0", b"a\r\nb", "é".encode()])
def test_channels_are_literal(channel: bytes) -> None:
    """A channel is reached by its own name alone, whatever it looks like."""
    memory = broker()
    peer = login(memory, "bob")
    peer.send(subscribe(channel))
    peer.send(publish(b"bob", b"a", b"1"), publish(b"bob", b"a.b", b"2"), publish(b"bob", channel, b"3"))
    assert peer.take() == publish(b"bob", channel, b"3")


def test_order() -> None:
    """What one publisher says arrives in its order, across channels and whatever else it says in between."""
    memory = broker()
    hears, speaks = login(memory), login(memory)
    hears.send(subscribe(b"a"), subscribe(b"s"))
    said = [publish(b"ann", b"a", b"%d" % i) for i in range(50)]
    speaks.send(b"".join(frames + unsubscribe(b"x") for frames in said))
    assert hears.take() == b"".join(said)


def test_nothing_is_kept() -> None:
    """What is published before a subscription does not come after it."""
    memory = broker()
    peer = login(memory)
    peer.send(publish(b"ann", b"a", b"1"), subscribe(b"a"), publish(b"ann", b"a", b"2"))
    assert peer.take() == publish(b"ann", b"a", b"2")


# -- defects of the original that are not copied ----------------------------------------------------------------------


def test_b1_length_zero_harms_nobody() -> None:
    """The five bytes that hang the original cost their sender the connection, and nobody anything."""
    memory = broker()
    healthy = login(memory)
    peer, _ = open_(memory)
    peer.send(bytes.fromhex("0000000003"))
    assert closed(memory, peer)
    healthy.send(subscribe(b"a"), publish(b"ann", b"a", b"x"))
    assert healthy.take() == publish(b"ann", b"a", b"x")


def test_b2_subscribing_twice() -> None:
    """Two SUBSCRIBEs are one subscription, which one UNSUBSCRIBE ends, and leave nothing behind."""
    memory = broker()
    peer, speaks = login(memory), login(memory)
    peer.send(subscribe(b"a"), subscribe(b"a"), publish(b"ann", b"a", b"1"))
    assert peer.take() == publish(b"ann", b"a", b"1")
    peer.send(unsubscribe(b"a"), publish(b"ann", b"a", b"2"))
    assert peer.take() == b""
    peer.send(subscribe(b"a"), subscribe(b"a"))
    peer.hang_up()
    assert subscriptions(memory) == 0
    speaks.send(publish(b"ann", b"a", b"3"))
    assert not closed(memory, speaks)


def test_b3_denied_subscribe_registers_nothing() -> None:
    """A subscription that is refused never was there, not even until the connection is gone."""
    memory = broker()
    peer = login(memory)
    peer.stop_reading()
    peer.send(subscribe(b"zz"))
    assert subscriptions(memory) == 0
    assert not peer.protocol.channels


def test_b9_nothing_that_a_peer_chose_is_counted_by_name() -> None:
    """Idents and channels of a peer's choosing do not become keys that stay."""
    memory = broker()
    for i in range(20):
        peer, _ = open_(memory)
        peer.send(frame(2, b"nobody%d" % i, bytes(20)))
        peer = login(memory)
        peer.send(publish(b"nobody%d" % i, b"a", b""))
        peer = login(memory)
        peer.send(publish(b"ann", b"zz%d" % i, b""))
    counts = memory.broker.listener("hpfeeds").counts
    assert counts.errors == {"login": 20, "not-allowed": 40}
    assert counts.logins_refused == 20


def test_b9_unsubscribing_from_the_unknown_costs_nothing() -> None:
    """Unsubscribing from channels that never were leaves no trace."""
    memory = broker()
    peer = login(memory)
    for i in range(100):
        peer.send(unsubscribe(b"never%d" % i))
    assert not peer.protocol.channels
    assert subscriptions(memory) == 0


def test_b15_many_frames_in_one_read() -> None:
    """Frames by the ten thousand in one read are read one after the other, without copying the rest each time."""
    memory = broker()
    hears, speaks = login(memory), login(memory)
    hears.send(subscribe(b"a"))
    data = publish(b"ann", b"a", b"x") * 50_000
    speaks.send(data)
    assert hears.take() == data


def test_b16_a_reader_that_is_given_up_is_removed_once() -> None:
    """A stalled subscriber is aborted and gone; its publisher stays, and nothing is raised."""
    memory = broker(settings={"hpfeeds": {"outbox_limit": 256 * 1024, "outbox_deadline": 5.0}})
    stalled, speaks = login(memory), login(memory)
    stalled.send(subscribe(b"a"))
    stalled.stop_reading()
    for _ in range(20):
        speaks.send(publish(b"ann", b"a", bytes(64 * 1024)))
        memory.advance(1.0)
    assert stalled.aborted
    assert stalled.closed
    assert not speaks.closed
    assert subscriptions(memory) == 0
    assert sum(memory.broker.listener("hpfeeds").counts.slow_readers.values()) == 1


# -- users that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "words"), [("revoked", "was revoked"), ("expired", "has expired"), ("kicked", "was ended by the operator")]
)
def test_sent_away(why: str, words: str) -> None:
    """Who may no longer be here is told why, and is gone."""
    memory = broker()
    peer = login(memory)
    peer.send(subscribe(b"a"))
    if why == "revoked":
        memory.source.put("ann", "another", LIMITED)
    elif why == "expired":
        memory.source.put("ann", "secret", LIMITED, valid_until=memory.reactor.seconds() + 1)
    else:
        memory.broker.revocation.kick(b"ann")
    for _ in range(3):
        memory.advance(1)
    assert peer.take() == error(f"Login of ann {words}")
    assert closed(memory, peer)
    assert subscriptions(memory) == 0


def test_an_outage() -> None:
    """While no users can be looked up it is not said that the secret is wrong; the next login is decided again."""
    memory = broker()
    memory.source.up = False
    peer, nonce = open_(memory)
    peer.send(auth(nonce) + subscribe(b"a"))
    assert peer.take() == error("Users cannot be looked up now, try again later")
    assert closed(memory, peer)
    memory.source.up = True
    memory.advance(1)
    login(memory)


def test_a_lost_grant() -> None:
    """What may no longer be subscribed to ends, in the words of a refused SUBSCRIBE; the connection stays."""
    memory = broker()
    peer = login(memory)
    peer.send(subscribe(b"a"), subscribe(b"s"))
    memory.source.put("ann", "secret", Grants({SUBSCRIBE: Access(literal([b"s"])), PUBLISH: Access(literal([b"s"]))}))
    memory.advance(1)
    assert peer.take() == error("Authkey not allowed to sub here. ident=ann, chan=a")
    peer.send(unsubscribe(b"a"), publish(b"ann", b"s", b"x"))
    assert peer.take() == publish(b"ann", b"s", b"x")
    memory.source.put("ann", "secret", LIMITED)
    memory.advance(1)
    peer.send(subscribe(b"a"), publish(b"ann", b"a", b"y"))
    assert peer.take() == publish(b"ann", b"a", b"y")


def test_second_auth_with_fewer_rights() -> None:
    """What the second ident may not have ends, and can be had again by a third AUTH."""
    memory = broker()
    peer, nonce = open_(memory)
    bob = auth(nonce, b"bob", b"other")
    peer.send(bob, subscribe(b"a", b"bob"), subscribe(b"secret", b"bob"), auth(nonce))
    assert peer.take() == error("Authkey not allowed to sub here. ident=ann, chan=secret")
    assert subscriptions(memory) == 1
    memory.local().publish(b"secret", b"no")
    assert peer.take() == b""
    peer.send(bob, subscribe(b"secret", b"bob"))
    memory.local().publish(b"secret", b"yes")
    assert peer.take() == publish(b"local", b"secret", b"yes")


def test_auth_does_not_make_faster() -> None:
    """Whoever logs in again and again on one connection publishes no faster for that."""
    memory = broker(allowances={"ann": Allowance(rate=10)})
    heard: list[object] = []
    memory.local().subscribe(b"a", heard.extend)
    peer, nonce = open_(memory)
    for _ in range(20):
        peer.send(auth(nonce) + publish(b"ann", b"a", b"x") * 5)
    assert len(heard) < 20
    for _ in range(20):
        memory.advance(1)
    assert len(heard) == 100
    assert not peer.closed


@pytest.mark.parametrize("ident", [b"ann", b"bob"])
def test_a_payload_over_the_users_limit(ident: bytes) -> None:
    """It is answered and ends the connection; what came before it is published, in whatever pieces it comes."""
    data = publish(ident, b"a", b"1") + publish(ident, b"a", b"12") + publish(ident, b"a", b"3")
    memory = broker(allowances={ident.decode(): Allowance(payload=1)})
    heard: list[Any] = []
    memory.local().subscribe(b"a", heard.extend)
    for chunks in every_chunking(data):
        heard.clear()
        peer = login(memory, ident.decode())
        peer.send(*chunks)
        assert peer.take() == error("payloads of this user are at most 1 bytes")
        assert closed(memory, peer)
        assert [m.payload for m in heard] == [b"1"]


def test_so_many_subscriptions_of_a_user() -> None:
    """One too many is answered like one too many of the listener's; the same channel again is not one."""
    memory = broker(allowances={"ann": Allowance(subscriptions=1)})
    peer = login(memory)
    peer.send(subscribe(b"a"), subscribe(b"a"))
    assert peer.take() == b""
    peer.send(subscribe(b"s"))
    assert peer.take() == error("Too many subscriptions")
    assert closed(memory, peer)


def test_who_is_gone_while_asked() -> None:
    """A login that is decided when its connection has gone leaves nobody behind, nor does one that is too late."""
    for how in ("hang up", "time out"):
        memory = broker(thinking=12.0 if how == "time out" else 1.0)
        memory.broker.users.asked[0]._deadline = 60.0
        peer, nonce = open_(memory)
        peer.send(auth(nonce))
        if how == "hang up":
            peer.hang_up()
        for _ in range(14):
            memory.advance(1)
        assert peer.closed
        assert memory.broker.realm.clients == {}
        assert memory.broker.logins.in_flight == 0
