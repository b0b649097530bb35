"""The NATS broker's side where one connection and one answer do not tell it all: others, time, limits, differences."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred

from brokerkit.allowance import Allowance
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.realm import Mind
from brokerkit.testing import MemoryBroker

from .words import (
    ANN,
    GRANTS,
    NO_ECHO,
    NO_RESPONDERS,
    OK,
    QUIET,
    REFUSED,
    TOO_LONG,
    USERS,
    VERBOSE,
    status,
    sub,
)

if TYPE_CHECKING:
    from brokerkit.testing import Peer

HI = b"MSG foo 1 2\r\nhi\r\n"
PUB = b"PUB foo 2\r\nhi\r\n"
STALE = b"-ERR 'Stale Connection'\r\n"
NO_HEADERS = b'CONNECT {"verbose":false,"pedantic":false}\r\n'


def broker(**settings: Any) -> MemoryBroker:
    """Give a broker that lets everybody in, with these settings."""
    return MemoryBroker(auth=("anonymous",), settings={"nats": settings})


def connect(memory: MemoryBroker, first: bytes = QUIET) -> Peer:
    """Connect, and say the first words."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(first)
    peer.take()
    return peer


def info(peer: Peer) -> dict[str, Any]:
    """Take INFO and give what it says."""
    said = peer.take()
    assert re.fullmatch(rb"INFO \{.*\} \r\n", said)
    return json.loads(said[5:])


def closed(memory: MemoryBroker, peer: Peer) -> bool:
    """Let a connection that is being closed go, and say whether it has gone."""
    memory.advance()
    return peer.closed


def subscriptions(memory: MemoryBroker) -> int:
    """Count the clients' subscriptions: all that the broker knows of, but for its own."""
    return sum(router.subscriptions - router.serving for router in memory.broker.realm.routers.values())


# -- starting up ------------------------------------------------------------------------------------------------------


def test_info() -> None:
    """INFO comes first, with every key that clients look for and none that is empty."""
    said = info(broker(max_payload=1000, server_name="one").connect("nats"))
    assert said["server_name"] == "one"
    assert said["max_payload"] == 1000
    assert said["proto"] == 1
    assert said["headers"] is True
    assert said["client_ip"] == "192.0.2.1"
    assert said["port"] == 4000
    assert re.fullmatch("N[A-Z2-7]{55}", said["server_id"])
    assert re.fullmatch(r"2\.\d+\.\d+", said["version"])
    assert {"go", "host", "client_id"} <= set(said)
    assert not set(said) & {"auth_required", "tls_required", "tls_available", "nonce", "connect_urls", "jetstream"}


def test_client_ids_differ() -> None:
    """Each connection has an id of its own, none of them 0, and all are told the same server."""
    memory = broker()
    said = [info(memory.connect("nats")) for _ in range(5)]
    assert len({one["client_id"] for one in said} - {0}) == 5
    assert len({one["server_id"] for one in said}) == 1


def test_auth_required() -> None:
    """INFO says that a login is needed where it is."""
    assert info(MemoryBroker().connect("nats"))["auth_required"] is True


def test_second_info() -> None:
    """Behind the first PONG a client of protocol 1 is told its account and its own limits; one of protocol 0 is not."""
    memory = MemoryBroker(allowances={"ann": Allowance(payload=1000)})
    hello = {"user": "ann", "pass": memory.users["ann"], "verbose": False, "pedantic": False}
    for protocol in (0, 1):
        peer = connect(memory, b"")
        peer.send(b"CONNECT %b\r\nPING\r\n" % json.dumps({**hello, "protocol": protocol}).encode())
        pong, _, rest = peer.take().partition(b"\r\n")
        assert pong == b"PONG"
        if not protocol:
            assert rest == b""
            continue
        said = json.loads(rest.removeprefix(b"INFO "))
        assert (said["connect_info"], said["remote_account"], said["max_payload"]) == (True, "$G", 1000)


def test_login_takes_too_long() -> None:
    """Who has not said CONNECT in time is told and closed; who has is not."""
    memory = MemoryBroker(users=USERS)
    late, good = connect(memory, b""), connect(memory, ANN)
    memory.advance(1.9)
    assert not late.closed
    memory.advance(0.2)
    assert late.take() == b"-ERR 'Authentication Timeout'\r\n"
    assert closed(memory, late)
    assert not closed(memory, good)


def test_no_login_is_needed_in_time_where_none_is_needed() -> None:
    """A connection to a broker that lets everybody in may say nothing for as long as it likes."""
    memory = broker(ping_interval=1000.0)
    peer = connect(memory, b"")
    memory.advance(60.0)
    peer.send(PUB)
    assert b"+OK" in peer.take()


def test_what_comes_behind_connect_waits_for_the_login() -> None:
    """Nothing behind CONNECT is read, and nothing of it lost, while a login that takes time is decided."""
    memory = MemoryBroker(users=USERS)
    ask, started = memory.broker.login, Deferred[None]()
    memory.broker.login = lambda *args: started.addCallback(lambda _: ask(*args))  # type: ignore[method-assign]
    peer = connect(memory, ANN + b"SUB foo 1\r\nPING\r\n")
    peer.send(PUB)
    assert not peer.transport.reading
    assert subscriptions(memory) == 0
    started.callback(None)
    memory.advance()
    assert peer.take() == b"PONG\r\n" + HI


def test_a_login_that_came_too_late_is_nobody() -> None:
    """A login that is decided after the time was up lets nobody in."""
    memory = MemoryBroker(users=USERS)
    ask, started = memory.broker.login, Deferred[None]()
    memory.broker.login = lambda *args: started.addCallback(lambda _: ask(*args))  # type: ignore[method-assign]
    peer = connect(memory, ANN + b"SUB sub.a 1\r\n")
    memory.advance(3.0)
    started.callback(None)
    memory.advance()
    assert peer.take() == b"-ERR 'Authentication Timeout'\r\n"
    assert closed(memory, peer)
    assert subscriptions(memory) == 0


def test_max_connections() -> None:
    """One connection too many gets INFO, its error and the end; when another has gone there is room again."""
    memory = broker(max_connections=2)
    first, _ = connect(memory), connect(memory)
    third = memory.connect("nats")
    assert re.fullmatch(rb"INFO .*\r\n-ERR 'maximum connections exceeded'\r\n", third.take())
    assert closed(memory, third)
    first.hang_up()
    fourth = connect(memory)
    fourth.send(b"PING\r\n")
    assert fourth.take() == b"PONG\r\n"


# -- subscribing ------------------------------------------------------------------------------------------------------


def test_max_subscriptions() -> None:
    """A SUB too many is dropped with an error, whatever is wrong with it, and there is room again after an UNSUB."""
    memory = broker(max_subscriptions=2)
    peer = connect(memory, QUIET + b"SUB a 1\r\nSUB b 2\r\n")
    peer.send(b"SUB foo 3\r\nSUB a 1\r\nSUB a..b 5\r\n")
    assert peer.take() == b"-ERR 'maximum subscriptions exceeded'\r\n" * 3
    peer.send(b"UNSUB 1\r\nSUB foo 1\r\n" + PUB)
    assert peer.take() == HI


def test_max_subscriptions_counts_those_that_are_there() -> None:
    """A subscription that ended by itself does not count."""
    peer = connect(broker(max_subscriptions=1))
    peer.send((b"SUB foo 1\r\nUNSUB 1 1\r\n" + PUB) * 5)
    assert peer.take() == HI * 5


def test_two_subscriptions_of_one_connection() -> None:
    """Each of them gets its copy."""
    peer = connect(broker(), QUIET + b"SUB foo 1\r\nSUB foo 2\r\nSUB * 3\r\n")
    peer.send(PUB)
    assert sorted(peer.take().split(b"MSG ")[1:]) == [b"foo %d 2\r\nhi\r\n" % sid for sid in (1, 2, 3)]


def test_nothing_is_left_of_a_connection() -> None:
    """What a connection subscribed to goes with it."""
    memory = broker()
    peer = connect(memory, QUIET + b"SUB foo 1\r\nSUB foo.> 2\r\nSUB foo q 3\r\nSUB bar 4\r\nUNSUB 4 9\r\n")
    assert subscriptions(memory) == 4
    peer.hang_up()
    assert subscriptions(memory) == 0


def test_unsub_counts_within_one_chunk() -> None:
    """A subscription ends with its last message, in the middle of a run."""
    memory = broker()
    hears, speaks = connect(memory, QUIET + b"SUB foo 1\r\nSUB foo 2\r\nUNSUB 1 2\r\n"), connect(memory)
    speaks.send(PUB * 5)
    assert Counter(re.findall(rb"foo (\d)", hears.take())) == {b"1": 2, b"2": 5}
    assert subscriptions(memory) == 1


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_order() -> None:
    """What one connection publishes arrives in its order, across subjects, runs and odd spellings."""
    memory = broker()
    hears, speaks = connect(memory, QUIET + b"SUB > 1\r\n"), connect(memory)
    said = b"".join(
        b"%b s.%d %d\r\n%d\r\n" % (b"pub" if i % 7 == 0 else b"PUB", i % 3, len(str(i)), i) for i in range(200)
    )
    speaks.send(said)
    assert hears.take() == b"".join(b"MSG s.%d 1 %d\r\n%d\r\n" % (i % 3, len(str(i)), i) for i in range(200))


@pytest.mark.parametrize("speaks", [QUIET, VERBOSE])
def test_subscribers_without_headers(speaks: bytes) -> None:
    """Who did not agree upon headers gets MSG with the headers cut off, beside others who get them."""
    memory = broker()
    plain, headed = connect(memory, NO_HEADERS + b"SUB foo 1\r\n"), connect(memory, QUIET + b"SUB foo 1\r\n")
    said = b"HPUB foo 4 6\r\nabcdhi\r\nHPUB foo r 4 6\r\nabcdhi\r\nPUB foo 2\r\nhi\r\n"
    connect(memory, speaks + said)
    assert plain.take() == HI + b"MSG foo 1 r 2\r\nhi\r\n" + HI
    assert headed.take() == b"HMSG foo 1 4 6\r\nabcdhi\r\nHMSG foo 1 r 4 6\r\nabcdhi\r\n" + HI


def test_echo_off() -> None:
    """One's own messages are left out, others' and those of one's other connections are not."""
    memory = broker()
    silent, other = connect(memory, NO_ECHO + b"SUB foo 1\r\nSUB foo q 2\r\n"), connect(memory)
    silent.send(PUB, b"pub foo 2\r\nhi\r\n")
    assert silent.take() == b""
    other.send(PUB)
    assert sorted(silent.take().split(b"MSG ")[1:]) == [b"foo 1 2\r\nhi\r\n", b"foo 2 2\r\nhi\r\n"]


def test_queue_group() -> None:
    """One member of each group gets each message, all of them about as often, plain subscribers all of them."""
    memory = broker()
    members = [connect(memory, QUIET + b"SUB foo g 1\r\n") for _ in range(3)]
    other, plain = connect(memory, QUIET + b"SUB foo h 1\r\n"), connect(memory, QUIET + b"SUB foo 1\r\n")
    connect(memory, QUIET + PUB * 3000)
    counts = [member.take().count(HI) for member in members]
    assert sum(counts) == 3000
    assert min(counts) > 800
    assert other.take() == plain.take() == HI * 3000


def test_queue_group_of_overlapping_subjects() -> None:
    """Members with different subjects that match are one group if its name is the same."""
    memory = broker()
    wide, narrow = connect(memory, QUIET + b"SUB a.* g 1\r\n"), connect(memory, QUIET + b"SUB a.b g 1\r\n")
    connect(memory, QUIET + b"PUB a.b 0\r\n\r\n" * 1000)
    counts = [peer.take().count(b"MSG") for peer in (wide, narrow)]
    assert sum(counts) == 1000
    assert min(counts) > 350


def test_queue_group_goes_on_without_who_has_left() -> None:
    """A member that is gone or has had its last message gets none."""
    memory = broker()
    gone, used_up, stays = (connect(memory, QUIET + b"SUB foo g 1\r\n") for _ in range(3))
    used_up.send(b"UNSUB 1 2\r\n")
    gone.hang_up()
    connect(memory, QUIET + PUB * 100)
    assert used_up.take() == HI * 2
    assert stays.take() == HI * 98


# -- requests ---------------------------------------------------------------------------------------------------------


def test_request_and_reply() -> None:
    """The reply subject goes along unchanged, and the answer comes back by it."""
    memory = broker()
    serves, asks = connect(memory, QUIET + b"SUB svc q 1\r\n"), connect(memory, NO_RESPONDERS + b"SUB inbox.* 7\r\n")
    asks.send(b"PUB svc inbox.1 2\r\nhi\r\n")
    assert serves.take() == b"MSG svc 1 inbox.1 2\r\nhi\r\n"
    serves.send(b"PUB inbox.1 2\r\nho\r\n")
    assert asks.take() == b"MSG inbox.1 7 2\r\nho\r\n"


def test_503_is_for_who_asked() -> None:
    """The status goes to the requester alone, also when others subscribe to the reply subject."""
    memory = broker()
    other, asks = connect(memory, QUIET + b"SUB r 2\r\n"), connect(memory, NO_RESPONDERS + b"SUB r 1\r\n")
    asks.send(b"PUB foo r 0\r\n\r\n")
    assert asks.take() == status(b"foo")
    assert other.take() == b""


def test_503_comes_in_its_place() -> None:
    """Statuses and messages come in the order of what caused them."""
    memory = broker()
    asks = connect(memory, NO_RESPONDERS + b"SUB r 1\r\nSUB own 1x\r\n")
    asks.send(b"PUB own 0\r\n\r\nPUB foo r 0\r\n\r\nPUB own 0\r\n\r\nPUB bar r 0\r\n\r\n")
    own = b"MSG own 1x 0\r\n\r\n"
    assert asks.take() == own + status(b"foo") + own + status(b"bar")


def test_503_is_asked_for_anew_by_each_connect() -> None:
    """A second CONNECT that does not want it ends it."""
    memory = broker()
    peer = connect(memory, NO_RESPONDERS)
    peer.send(b'CONNECT {"no_responders":false}\r\nSUB r 1\r\nPUB foo r 0\r\n\r\n')
    assert peer.take() == b""


def test_denied_request_is_not_answered_by_503() -> None:
    """A request that may not be published gets its error and nothing else."""
    memory = MemoryBroker(users=USERS, grants=GRANTS)
    peer = connect(memory, ANN.replace(b'"user"', b'"no_responders":true,"user"') + b"SUB r 1\r\n")
    peer.send(b"PUB x r 0\r\n\r\nPUB x..y r 0\r\n\r\n")
    assert peer.take() == b"".join(
        b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % subject for subject in (b"x", b"x..y")
    )


# -- rights -----------------------------------------------------------------------------------------------------------


def test_denial_filters_a_wider_subscription() -> None:
    """A subscription that is wider than a denial is accepted; what is denied does not arrive, whoever publishes it."""
    memory = MemoryBroker(users=USERS, grants=GRANTS)
    hears = connect(memory, ANN + b"SUB pub.> 1\r\n")
    speaks = connect(memory, b'CONNECT {"verbose":false,"pedantic":false,"user":"bob","pass":"other"}\r\n')
    speaks.send(b"PUB pub.hidden.x 0\r\n\r\nPUB pub.seen 0\r\n\r\n" * 2)
    assert hears.take() == b"MSG pub.seen 1 0\r\n\r\n" * 2


def test_literal_grants_are_no_patterns() -> None:
    """A channel list that says ``*`` grants that one name: no subscription to a pattern, as hpfeeds has it."""
    stars = literal([b"*", b"a.*", b"a"])
    memory = MemoryBroker(users=USERS, grants={"ann": Grants({SUBSCRIBE: Access(stars), PUBLISH: Access(stars)})})
    peer = connect(memory, ANN)
    peer.send(b"SUB * 1\r\nSUB a.* 2\r\nSUB a 3\r\nPUB a 0\r\n\r\n")
    text = b"-ERR 'Permissions Violation for Subscription to \"%b\"'\r\n"
    assert peer.take() == text % b"*" + text % b"a.*" + b"MSG a 3 0\r\n\r\n"


def test_queue_subscriptions_are_denied_by_name() -> None:
    """The error of a queue subscription names the queue."""
    peer = connect(MemoryBroker(users=USERS, grants=GRANTS), ANN)
    peer.send(b"SUB x workers 1\r\n")
    assert peer.take() == sub("x", "workers")


def test_second_login_replaces_the_first() -> None:
    """Rights are those of the last CONNECT, and nothing of the one before is left."""
    users = {"ann": "secret", "bob": "other"}
    narrow = Grants({PUBLISH: Access(patterns([b"b.>"])), SUBSCRIBE: Access(patterns([b"b.>"]))})
    memory = MemoryBroker(users=users, grants={"ann": ALL, "bob": narrow})
    peer = connect(memory, ANN + b"SUB a 1\r\n")
    peer.send(b'CONNECT {"user":"bob","pass":"other"}\r\nPUB a 0\r\n\r\nSUB b.1 2\r\nPUB b.1 0\r\n\r\n')
    assert peer.take() == b"-ERR 'Permissions Violation for Publish to \"a\"'\r\nMSG b.1 2 0\r\n\r\n"
    assert subscriptions(memory) == 1


def test_errors_are_counted_by_kind() -> None:
    """Refusals are counted under a few fixed words."""
    memory = MemoryBroker(users=USERS, grants=GRANTS)
    connect(memory, ANN + b"PUB x 0\r\n\r\nSUB y 1\r\nSUB sub..x 1\r\nFOO\r\n")
    connect(memory, b"PING\r\n")
    connect(memory, ANN + b"PUB pub.x 1048577\r\n")
    counts = memory.broker.listener("nats").counts
    assert counts.errors == {"not-allowed": 3, "protocol": 1, "login": 1, "too-large": 1}


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [QUIET, VERBOSE])
def test_max_payload(first: bytes) -> None:
    """The limit is the listener's own, headers counted in, and an error comes before the payload."""
    memory = broker(max_payload=10)
    peer = connect(memory, first + b"SUB foo 1\r\n")
    peer.send(b"PUB foo 10\r\n0123456789\r\nHPUB foo 4 10\r\n0123456789\r\n")
    assert peer.take().endswith(b"HMSG foo 1 4 10\r\n0123456789\r\n")
    peer.send(b"HPUB foo 4 11\r\n")
    assert peer.take() == b"-ERR 'Maximum Payload Violation'\r\n"
    assert closed(memory, peer)


def test_max_control_line() -> None:
    """The limit is the listener's own and counts the arguments only."""
    memory = broker(max_control_line=16)
    peer = connect(memory, b"")
    peer.send(b"SUB 0123456789abcd 1\r\n")
    assert peer.take() == OK
    peer.send(b"SUB 0123456789abcde 1\r\n")
    assert peer.take() == TOO_LONG
    assert closed(memory, peer)


def test_payload_in_pieces() -> None:
    """A large payload may come in any pieces, with others' messages in between."""
    memory = broker()
    hears, slow, quick = connect(memory, QUIET + b"SUB > 1\r\n"), connect(memory), connect(memory)
    body = bytes(range(256)) * 4096
    data = b"PUB large %d\r\n%b\r\n" % (len(body), body)
    slow.send(data[:100_000])
    quick.send(PUB)
    assert hears.take() == HI
    slow.send(*(data[i : i + 50_000] for i in range(100_000, len(data), 50_000)))
    assert hears.take() == b"MSG large 1 %d\r\n%b\r\n" % (len(body), body)


def test_nothing_behind_an_error_is_done() -> None:
    """What stands behind a fatal error is not looked at, in the same chunk or in another."""
    memory = broker()
    hears, speaks = connect(memory, QUIET + b"SUB > 1\r\n"), connect(memory)
    speaks.send(PUB + b"FOO\r\n" + PUB, PUB)
    assert hears.take() == HI


# -- staying alive ----------------------------------------------------------------------------------------------------


def heard_within(memory: MemoryBroker, peer: Peer, seconds: float) -> bytes:
    """Let time pass in small steps and give what has come."""
    for _ in range(round(seconds * 10)):
        memory.advance(0.1)
    return peer.take()


def test_first_ping() -> None:
    """The first PING comes some two seconds after the beginning, also to a client that is talking."""
    memory = broker()
    peer = connect(memory)
    assert heard_within(memory, peer, 1.9) == b""
    peer.send(PUB)
    assert heard_within(memory, peer, 0.7) == b"PING\r\n"


def test_stale_connection() -> None:
    """Two PINGs without an answer, and a third due: the end."""
    memory = broker(ping_interval=1.0)
    peer = connect(memory)
    assert heard_within(memory, peer, 4.0) == b"PING\r\n" * 2 + STALE
    assert closed(memory, peer)


def test_who_answers_stays() -> None:
    """A client that answers its PINGs and says nothing else stays for ever."""
    memory = broker(ping_interval=1.0)
    peer = connect(memory)
    pings = 0
    for _ in range(200):
        memory.advance(0.1)
        came = peer.take()
        pings += came.count(b"PING\r\n")
        peer.send(b"PONG\r\n" * came.count(b"PING\r\n"))
    assert not closed(memory, peer)
    assert pings >= 5


def test_who_talks_is_not_asked() -> None:
    """After the first question, a client that has just been heard is not asked."""
    memory = broker(ping_interval=1.0)
    peer = connect(memory)
    assert heard_within(memory, peer, 1.3) == b"PING\r\n"
    peer.send(b"PONG\r\n")
    for _ in range(50):
        peer.send(PUB)
        assert heard_within(memory, peer, 0.5) == b""


def test_ping_max() -> None:
    """The number of unanswered PINGs is the listener's own."""
    memory = broker(ping_interval=1.0, ping_max=4)
    assert heard_within(memory, connect(memory), 6.0) == b"PING\r\n" * 4 + STALE


def test_nothing_ticks_for_who_has_gone() -> None:
    """A connection that has ended leaves no timer behind."""
    memory = MemoryBroker(users=USERS)
    idle = memory.reactor.getDelayedCalls()
    for first in (b"", ANN, b"FOO\r\n"):
        peer = connect(memory, first)
        memory.advance()
        if not peer.closed:
            peer.hang_up()
    memory.advance()
    assert memory.reactor.getDelayedCalls() == idle


def test_stop_closes_without_a_word() -> None:
    """When the broker stops, clients see the end and no error."""
    memory = broker()
    peer = connect(memory)
    memory.broker.stopService()
    assert closed(memory, peer)
    assert peer.take() == b""


def test_slow_reader_is_closed_without_a_word() -> None:
    """A reader that has stopped is cut off and counted; nothing is said to it."""
    memory = broker(outbox_limit=256 * 1024, outbox_deadline=5.0)
    stalled, speaks = connect(memory, QUIET + b"SUB foo 1\r\n"), connect(memory)
    stalled.stop_reading()
    for _ in range(20):
        speaks.send(b"PUB foo 65536\r\n" + bytes(65536) + b"\r\n")
        memory.advance(1.0)
    assert stalled.aborted
    assert not speaks.closed
    assert b"-ERR" not in stalled.read()
    assert sum(memory.broker.listener("nats").counts.slow_readers.values()) == 1


# -- where nats-server does otherwise, on purpose ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"PING", b"PONG", b"+OK", b"SUB "])
def test_endless_lines_are_not_read(name: bytes) -> None:
    """What nats-server skips without end (words behind PING, blanks before arguments) has the limit of a line here."""
    memory = broker()
    peer = connect(memory)
    peer.send(name + b" " * 5000)
    assert peer.take() == TOO_LONG
    assert closed(memory, peer)


@pytest.mark.parametrize("subject", [b"a\rb", b"a\x0cb"])
def test_blanks_of_other_kinds_are_not_written(subject: bytes) -> None:
    """A subject with CR or FF, which nats-server passes on, is nothing that a NATS client is told here."""
    memory = broker()
    heard: list[bytes] = []
    memory.local().subscribe(b">", lambda batch: heard.extend(message.topic for message in batch))
    peer = connect(memory, QUIET + b"SUB > 1\r\n")
    peer.send(b"PUB " + subject + b" 0\r\n\r\nPING\r\n")
    assert peer.take() == b"PONG\r\n"
    assert heard == [subject]
    assert memory.broker.realm.router("").unspellable == 1


def test_patterns_are_covered_strictly() -> None:
    """``SUB a.>`` is not covered by the grant ``a.*``; nats-server takes the ``>`` for a token and lets it pass."""
    peer = connect(MemoryBroker(users=USERS, grants=GRANTS), ANN)
    peer.send(b"SUB a.> 1\r\n")
    assert peer.take() == sub("a.>")


def test_503_is_no_delivery() -> None:
    """An auto-unsubscribe does not count the 503, as in nats-server."""
    memory = broker()
    peer = connect(memory, NO_RESPONDERS + b"SUB r 1\r\nUNSUB 1 1\r\n")
    peer.send(b"PUB foo r 0\r\n\r\n" * 2)
    assert peer.take() == status(b"foo") * 2
    assert subscriptions(memory) == 1


def test_refusal_of_the_login_is_the_same_for_all() -> None:
    """Nobody learns whether a name exists."""
    memory = MemoryBroker(users=USERS)
    for user, password in ((b"ann", b"wrong"), (b"nobody", b"secret")):
        peer = connect(memory, b"")
        peer.send(b'CONNECT {"user":"%b","pass":"%b"}\r\n' % (user, password))
        assert peer.take() == REFUSED
        assert closed(memory, peer)


# -- users that change ------------------------------------------------------------------------------------------------


def _login(memory: MemoryBroker, name: str = "ann") -> Peer:
    words = json.dumps({"user": name, "pass": memory.users[name], "verbose": False, "pedantic": False})
    return connect(memory, b"CONNECT %b\r\nPING\r\n" % words.encode())


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("revoked", b"-ERR 'User Authentication Revoked'\r\n"),
        ("expired", b"-ERR 'User Authentication Expired'\r\n"),
        ("kicked", b""),
    ],
)
def test_sent_away(why: str, words: bytes) -> None:
    """Who may no longer be here is told so in nats-server's words, and is gone; of a kick nothing is said."""
    memory = MemoryBroker()
    peer = _login(memory)
    peer.send(b"SUB > 1\r\n")
    if why == "revoked":
        memory.source.remove("ann")
    elif why == "expired":
        memory.source.put("ann", memory.users["ann"], valid_until=memory.reactor.seconds() + 1)
    else:
        memory.broker.revocation.kick(b"ann")
    for _ in range(3):
        memory.advance(1)
    assert peer.take() == words
    assert closed(memory, peer)
    assert subscriptions(memory) == 0


def test_an_outage_is_silent() -> None:
    """While no users can be looked up a client is hung up on without a word: it gives up after two refusals."""
    memory = MemoryBroker()
    memory.source.up = False
    peer = memory.connect("nats")
    peer.take()
    peer.send(b'CONNECT {"user":"ann","pass":"x"}\r\nPING\r\n')
    assert peer.take() == b""
    assert closed(memory, peer)


def test_a_lost_grant() -> None:
    """What may no longer be subscribed to ends, in the words of a refused SUB; its sid is free again."""
    memory = MemoryBroker()
    peer = _login(memory)
    peer.send(b"SUB a.> 1\r\nSUB b q 2\r\nSUB b 3\r\n")
    grants = Grants({PUBLISH: ALL.actions[PUBLISH], SUBSCRIBE: Access(patterns([b"a.*"]))})
    memory.source.put("ann", memory.users["ann"], grants)
    memory.advance(1)
    violation = b"-ERR 'Permissions Violation for Subscription to %b'\r\n"
    lost = (b'"a.>" (sid "1")', b'"b" using queue "q" (sid "2")', b'"b" (sid "3")')
    assert peer.take() == b"".join(violation % what for what in lost)
    peer.send(b"UNSUB 1\r\nSUB a.* 1\r\nPUB a.x 0\r\n\r\nPUB b 0\r\n\r\n")
    assert peer.take() == b"MSG a.x 1 0\r\n\r\n"
    assert not closed(memory, peer)


def test_who_is_slowed_down_is_not_stale() -> None:
    """A client that is not read from because it is too fast is asked, but not given up: its answers wait unread."""
    memory = MemoryBroker(allowances={"ann": Allowance(rate=1.0)}, settings={"nats": {"ping_interval": 2.0}})
    peer = _login(memory)
    peer.send(b"SUB a 1\r\n", b"PUB a 0\r\n\r\n" * 60)
    for _ in range(58):
        if b"PING" in peer.take():
            peer.send(b"PONG\r\n")
        memory.advance(1)
    assert not peer.closed
    for _ in range(30):
        if b"PING" in peer.take():
            peer.send(b"PONG\r\n")
        memory.advance(1)
    assert not peer.closed
    for _ in range(30):
        memory.advance(1)
    assert peer.closed


def test_a_new_rate_counts_at_once() -> None:
    """Who was slowed down for long and may be faster now is read from again within seconds."""
    memory = MemoryBroker(allowances={"ann": Allowance(rate=0.01)})
    peer = _login(memory)
    peer.send(b"SUB a 1\r\n", b"PUB a 0\r\n\r\n" * 60, b"PUB a 2\r\nhi\r\n")
    memory.source.put("ann", memory.users["ann"])
    peer.take()
    for _ in range(3):
        memory.advance(1)
    assert peer.take().startswith(b"MSG a 1 2\r\nhi\r\n")


def test_a_payload_over_the_users_limit() -> None:
    """It is answered as one over the listener's limit."""
    memory = MemoryBroker(allowances={"ann": Allowance(payload=1)})
    peer = _login(memory)
    peer.send(b"SUB a 1\r\nPUB a 1\r\nx\r\nPUB a 2\r\nxx\r\n")
    assert peer.take() == b"MSG a 1 1\r\nx\r\n-ERR 'Maximum Payload Violation'\r\n"
    assert closed(memory, peer)
    assert memory.broker.listener("nats").counts.messages_in == 1


def test_one_connection_too_many_of_a_user() -> None:
    """It is answered as one too many of the listener's; a second CONNECT is not one."""
    memory = MemoryBroker(allowances={"ann": Allowance(connections=1)})
    first = _login(memory)
    first.send(b'CONNECT {"user":"ann","pass":"ann\'s secret","verbose":false}\r\nPING\r\n')
    assert first.take() == b"PONG\r\n"
    peer = memory.connect("nats")
    peer.take()
    peer.send(b'CONNECT {"user":"ann","pass":"ann\'s secret"}\r\n')
    assert peer.take() == b"-ERR 'maximum connections exceeded'\r\n"
    assert closed(memory, peer)


def test_revoked_while_logging_in_anew() -> None:
    """A user who is revoked while a second login of its connection is being decided is gone, whatever comes of that."""
    memory = MemoryBroker()
    peer = _login(memory)
    decision: Deferred[Any] = Deferred()
    login = memory.broker.login
    memory.broker.login = lambda *arguments: decision  # type: ignore[method-assign]  # noqa: ARG005
    peer.send(b'CONNECT {"user":"bob","pass":"bob\'s secret","verbose":false}\r\nSUB > 1\r\n')
    memory.source.remove("ann")
    memory.advance(1)
    login(UsernamePassword(b"bob", b"bob's secret"), Mind()).addCallback(decision.callback)
    memory.advance(0)
    assert b"Revoked" in peer.take()
    assert closed(memory, peer)
    assert memory.broker.realm.clients == {}
    assert subscriptions(memory) == 0
