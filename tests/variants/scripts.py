"""What hypothesis makes for the test of both variants: several connections, few and telling names, odd frames too.

Few names, so that subscriptions and messages meet; runs of equal publishes, since those are what is compiled; and for
each way of being spelled well a few of being spelled badly, since the two have to end in the same place.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.strategies import names, odd_names, odd_patterns, patterns
from tests.variants.stage import NAMES, WORLDS, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

_sids = st.sampled_from([b"1", b"2", b"3", b"17", b"x9"])
_queues = st.sampled_from([b"q", b"r.s"])
_payloads = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"", b"\r\n", b"PUB a 1\r\nx\r\n", b"x" * 128, b"m" * 256, b"m" * 257, b"y" * 300, b"z" * 1000, b"w" * 20_000]
    ),
)
_replies = st.one_of(st.just(b""), st.just(b""), names, st.sampled_from([b"_R_.1", b"$JS.ACK.x", b"_INBOX.a.b"]))
_headers = st.sampled_from(
    [b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"anything", b"x" * 40]
)
_times = st.sampled_from([1, 1, 2, 3, 8, 40])
_cuts = st.one_of(
    st.just(()), st.just((1,)), st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple), st.just((700, 1))
)
_subjects = st.one_of(names, names, names, odd_names, st.sampled_from([b"$SYS.x", b"_GR_.a", b"$NRG.a", b"a" * 70]))


# -- NATS -------------------------------------------------------------------------------------------------------------


def _pub(subject: bytes, reply: bytes, payload: bytes) -> bytes:
    return b"PUB %b %b%d\r\n%b\r\n" % (subject, reply + b" " if reply else b"", len(payload), payload)


def _hpub(subject: bytes, reply: bytes, headers: bytes, payload: bytes) -> bytes:
    sizes = len(headers), len(headers) + len(payload)
    return b"HPUB %b %b%d %d\r\n%b%b\r\n" % (subject, reply + b" " if reply else b"", *sizes, headers, payload)


def _sub(pattern: bytes, queue: bytes, sid: bytes) -> bytes:
    return b"SUB %b %b%b\r\n" % (pattern, queue + b" " if queue else b"", sid)


_pubs = st.builds(_pub, names, _replies, _payloads)
_hpubs = st.builds(_hpub, names, _replies, _headers, _payloads)
_runs = st.builds(lambda frame, times: frame * times, st.one_of(_pubs, _hpubs), _times)
_mixed = st.lists(st.one_of(_pubs, _pubs, _hpubs), min_size=2, max_size=6).map(b"".join)
_subs = st.builds(_sub, st.one_of(patterns, patterns, odd_patterns), st.one_of(st.just(b""), _queues), _sids)
_unsubs = st.builds(
    lambda sid, after: b"UNSUB %b%b\r\n" % (sid, after), _sids, st.sampled_from([b"", b" 1", b" 3", b" 0", b" x"])
)
_odd_nats = st.one_of(
    st.builds(_pub, _subjects, _replies, _payloads),
    st.builds(lambda s, p: b"pub  %b\t%d \r\n%b\r\n" % (s, len(p), p), _subjects, _payloads),
    st.builds(lambda s, p: b"PUB %b %d\n%b\r\n" % (s, len(p), p), names, _payloads),
    st.builds(lambda s, p: b"PUB %b %09d\r\n%b\r\n" % (s, len(p), p), names, _payloads),
    st.builds(lambda s, p, n: b"PUB %b %d\r\n%b\r\n" % (s, n, p), names, _payloads, st.integers(0, 20)),
    st.builds(
        lambda s, h, n, p: b"HPUB %b %d %d\r\n%b\r\n" % (s, h, n, p),
        names,
        st.integers(0, 15),
        st.integers(0, 15),
        _payloads,
    ),
    st.sampled_from(
        [
            b"PUB a 999999999\r\n",
            b"PUB a 1048577\r\n",
            b"PUB a 9999999999\r\n",
            b"PUB a -1\r\n",
            b"PUB a 1 2 3\r\n",
            b"PUB a\r\n",
            b"PUB",
            b"HPUB a 1 0\r\n",
            b"+OK\r\n",
            b"-ERR 'x'\r\n",
            b"\r\n",
            b"MSG a 1 0\r\n\r\n",
            b'CONNECT {"verbose":true}\r\n',
            b"INFO {}\r\n",
            b"PING" + b" " * 100 + b"\r\n",
        ]
    ),
    st.binary(max_size=6),
)
_nats = st.one_of(
    _runs, _runs, _mixed, _subs, _subs, _unsubs, st.sampled_from([b"PING\r\n", b"PONG\r\n", b"ping\r\n"]), _odd_nats
)


# -- hpfeeds ----------------------------------------------------------------------------------------------------------


def _frame(opcode: int, *shorts: bytes, rest: bytes = b"") -> bytes:
    body = b"".join(bytes((len(short),)) + short for short in shorts) + rest
    return struct.pack("!iB", 5 + len(body), opcode) + body


def _hpfeeds(name: bytes) -> st.SearchStrategy[bytes]:
    """Give frames of the ident that has logged in, and a few of somebody else's."""
    idents = st.one_of(st.just(name), st.just(name), st.just(name), st.just(name), st.just(b"eve"))
    publishes = st.builds(lambda channel, data: _frame(3, name, channel, rest=data), names, _payloads)
    return st.one_of(
        st.builds(lambda frame, times: frame * times, publishes, _times),
        st.lists(publishes, min_size=2, max_size=6).map(b"".join),
        st.builds(lambda ident, channel: _frame(4, ident, rest=channel), st.just(name), names),
        st.builds(lambda ident, channel: _frame(5, ident, rest=channel), st.just(name), names),
        st.builds(lambda i, channel, data: _frame(3, i, channel, rest=data), idents, odd_names, _payloads),
        st.builds(lambda op, size, data: struct.pack("!iB", size, op) + data, st.integers(0, 7), _sizes, _payloads),
        st.builds(lambda ident, data: _frame(3, ident) + data, idents, st.binary(max_size=4)),
        st.binary(max_size=6),
    )


_sizes = st.one_of(st.integers(-1, 40), st.sampled_from([2**31 - 1, -(2**31), 1024 * 1024 + 5, 1024 * 1024 + 6]))


# -- scripts ----------------------------------------------------------------------------------------------------------


def _damaged(data: bytes, where: int, how: str, byte: int) -> bytes:
    """Change one byte of what would be said."""
    at = where % (len(data) + 1)
    if how == "insert":
        return data[:at] + bytes((byte,)) + data[at:]
    return data[:at] + (bytes((byte,)) if how == "change" else b"") + data[at + 1 :]


def _frames(who: tuple[str, str]) -> st.SearchStrategy[bytes]:
    return _nats if who[0] == "nats" else _hpfeeds(who[1].encode())


_options = st.fixed_dictionaries(
    {
        "headers": st.booleans(),
        "echo": st.booleans(),
        "no_responders": st.booleans(),
        "verbose": st.sampled_from([False, False, False, True]),
        "pedantic": st.sampled_from([False, False, False, True]),
    }
)
_ways = st.sampled_from(["hear", "hear", "deaf", "fail", "leave"])
_someone = st.sampled_from([name.encode() for name in NAMES])
_meddling = st.one_of(  # what a listener does as it hears, and to what
    st.tuples(st.just("publish"), names),
    st.tuples(st.just("join"), patterns),
    st.tuples(st.just("leave"), st.just(b"")),
    st.tuples(st.sampled_from(["kick", "narrow"]), _someone),
    st.tuples(st.sampled_from(["drop", "limits", "keep", "tenants"]), st.sampled_from([b"0", b"1", b"2"])),
)
_words = st.sampled_from(
    ["say"] * 8 + ["together"] * 2 + ["subscribe"] * 3 + ["stop", "read", "wait", "publish", "listen", "connect"] * 2
    + ["hang_up", "break", "kick", "rights", "unlisten", "limits", "keep", "tenants"]
)  # fmt: skip


_common = st.sampled_from([b"a", b"a.b", b"b", b"a.*", b"*.b", b"a.>", b">"])
_wishes = st.lists(st.tuples(_common, st.sampled_from([b"", b"", b"q"])), max_size=3)
_bursts = st.lists(
    st.tuples(st.sampled_from([b"a", b"a.b", b"b", b"a.cc"]), _replies, _headers, st.booleans(), _times), max_size=4
)


def _opening(draw: st.DrawFn, number: int, who: tuple[str, str]) -> list[tuple[object, ...]]:
    """Have a connection subscribe and publish where others do: so that what is said reaches somebody."""
    name = who[1].encode()
    subs, pubs = b"", b""
    for sid, (pattern, queue) in enumerate(draw(_wishes), 100):
        subs += _sub(pattern, queue, b"%d" % sid) if who[0] == "nats" else _frame(4, name, rest=pattern)
    for subject, reply, headers, headed, times in draw(_bursts):
        said = _hpub(subject, reply, headers, b"h%d" % times) if headed else _pub(subject, reply, b"p" * times)
        pubs += (said if who[0] == "nats" else _frame(3, name, subject, rest=b"f" * times)) * times
    return [("say", number, subs, ()), ("say", number, pubs, draw(_cuts))]


@st.composite
def scripts(draw: st.DrawFn, worlds: Sequence[str] = WORLDS) -> Script:
    """Give a script: a few connections at first, then anything."""
    people: list[tuple[str, str]] = []
    steps = [_connect(draw, people) for _ in range(draw(st.integers(2, 4)))]
    said = [step for number, who in enumerate(people) for step in _opening(draw, number, who)]
    subscribed, published = said[::2], said[1::2]
    steps += subscribed + published  # first all subscribe, then all publish
    if meddlers := draw(st.lists(st.tuples(_common, _meddling), max_size=2)):
        steps += published  # what comes again is remembered, and must not be believed for too long
        steps += [("listen", pattern, way, word) for pattern, (way, word) in meddlers]
        steps += published
    steps += [_step(draw, people) for _ in range(draw(st.integers(2, 14)))]
    steps += [("wait", 5.0), *(("read", number) for number in range(len(people)))]
    return Script(draw(st.sampled_from(worlds)), draw(st.integers(0, 1000)), tuple(steps))


def _connect(draw: st.DrawFn, people: list[tuple[str, str]]) -> tuple[object, ...]:
    protocol, name = draw(st.sampled_from(["nats", "nats", "nats", "hpfeeds"])), draw(st.sampled_from(NAMES))
    people.append((protocol, name))
    return ("connect", protocol, name, draw(st.sampled_from(["socket", "pipe"])), draw(_options))


def _step(draw: st.DrawFn, people: list[tuple[str, str]]) -> tuple[object, ...]:
    word = draw(_words)
    number = draw(st.integers(0, len(people) - 1))
    plain = _PLAIN.get(word)
    if plain is not None:
        return (word, *draw(plain))
    if word == "connect":
        return _connect(draw, people)
    if word == "together":
        some = draw(st.lists(st.integers(0, len(people) - 1), min_size=2, max_size=4))
        return (word, tuple((one, draw(_frames(people[one]))) for one in some))
    if word == "subscribe":
        return ("say", number, draw(_subs if people[number][0] == "nats" else _frames(people[number])), ())
    if word == "say":
        data = b"".join(draw(st.lists(_frames(people[number]), min_size=1, max_size=5)))
        if draw(st.integers(0, 9)) == 0:
            how = st.sampled_from(["insert", "change", "remove"])
            data = _damaged(data, draw(st.integers(0, 5000)), draw(how), draw(st.integers(0, 255)))
        return ("say", number, data, draw(_cuts))
    return (word, number)


_PLAIN: dict[str, st.SearchStrategy[tuple[object, ...]]] = {
    "wait": st.tuples(st.sampled_from([0.0, 0.02, 1.0, 4.0])),
    "kick": st.tuples(st.sampled_from(NAMES)),
    "rights": st.tuples(st.sampled_from(NAMES), st.booleans()),
    "limits": st.tuples(st.integers(0, 2)),
    "keep": st.tuples(st.integers(0, 2)),
    "tenants": st.tuples(st.integers(0, 2)),
    "publish": st.tuples(names, _payloads, _replies, st.one_of(st.just(b""), _headers)),
    "listen": st.one_of(
        st.tuples(patterns, _ways, st.just(b"")),
        st.builds(lambda pattern, meddling: (pattern, *meddling), patterns, _meddling),
    ),
}
