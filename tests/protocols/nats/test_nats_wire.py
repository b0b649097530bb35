"""The NATS wire by itself: the same bytes give the same events however they are cut, and bad bytes are data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokerkit.errors import LoginFailed, ProtocolViolation, TooLarge
from brokerkit.protocols.nats import wire
from brokerkit.protocols.nats.wire import Connect, Okay, Ping, Pong, Pub, ServerInfo, Spellings, Sub, Unsub, Wire
from brokerkit.run import Message
from brokerkit.testing import every_chunking

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PAYLOAD = 64
MAX_LINE = 48

VECTORS: list[tuple[bytes, Any]] = [
    (b'CONNECT {"verbose":false}\r\n', Connect(b'{"verbose":false}')),
    (b"PUB foo 5\r\nhello\r\n", Message(b"foo", b"hello")),
    (b"PUB foo 0\r\n\r\n", Message(b"foo", b"")),
    (b"PUB foo bar.baz 2\r\n\r\n\r\n", Message(b"foo", b"\r\n", b"bar.baz")),
    (
        b"HPUB foo 22 24\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhi\r\n",
        Message(b"foo", b"hi", b"", b"NATS/1.0\r\nBar: Baz\r\n\r\n"),
    ),
    (b"HPUB foo re.ply 4 6\r\nabcdhi\r\n", Message(b"foo", b"hi", b"re.ply", b"abcd")),
    (b"SUB foo.* 1\r\n", Sub(b"foo.*", b"", b"1")),
    (b"SUB foo workers abc-DEF\r\n", Sub(b"foo", b"workers", b"abc-DEF")),
    (b"UNSUB 1\r\n", Unsub(b"1", 0)),
    (b"UNSUB 1 5\r\n", Unsub(b"1", 5)),
    (b"UNSUB 1 xx\r\n", Unsub(b"1", 0)),
    (b"PING\r\n", Ping()),
    (b"PONG\r\n", Pong()),
    (b"+OK\r\n", Okay()),
    (b'INFO {"a":1}\r\n', ServerInfo(b'{"a":1}')),
]
ODD_VECTORS: list[tuple[bytes, Any]] = [
    (b"SUB subj  1\r\n", Sub(b"subj", b"", b"1")),
    (b"PUB subj  0\r\n\r\n", Message(b"subj", b"")),
    (b"UNSUB 3 \r\n", Unsub(b"3", 0)),
    (b"pub foo 2\r\nhi\r\n", Message(b"foo", b"hi")),
    (b"PUB\t foo\t002 \nhi\r\n", Message(b"foo", b"hi")),
    (b"hPuB foo 0 2\r\nhi\r\n", Message(b"foo", b"hi")),
    (b"PUB foo 000000002\r\nhi\r\n", Message(b"foo", b"hi")),
    (b"PUB a\rb 0\r\n\r\n", Message(b"a\rb", b"")),
    (b"PUB a\x0bb\x0c 0\r\n\r\n", Message(b"a\x0bb\x0c", b"")),
    (b"PUB \xff.\xc3\xa9 0\r\n\r\n", Message(b"\xff.\xc3\xa9", b"")),
    (b"ping\r\n", Ping()),
    (b"PINGx\n", Ping()),
    (b"connect{}\n", Connect(b"{}")),
]
BROKEN: list[tuple[bytes, tuple[type, str | None]]] = [
    (b"FOO\r\n", (ProtocolViolation, wire.UNKNOWN)),
    (b"\r\n", (ProtocolViolation, wire.UNKNOWN)),
    (b" PING\r\n", (ProtocolViolation, wire.UNKNOWN)),
    (b"MSG a 1 0\r\n\r\n", (ProtocolViolation, wire.UNKNOWN)),
    (b"PUB\r\n", (ProtocolViolation, wire.UNKNOWN)),
    (b"PUB \r\n", (ProtocolViolation, None)),
    (b"PUB foo\r\n", (ProtocolViolation, None)),
    (b"PUB a b c 2\r\n", (ProtocolViolation, None)),
    (b"PUB foo -1\r\n", (ProtocolViolation, None)),
    (b"PUB foo +1\r\n", (ProtocolViolation, None)),
    (b"PUB foo 1_0\r\n", (ProtocolViolation, None)),
    (b"PUB foo \xd9\xa1\r\n", (ProtocolViolation, None)),
    (b"PUB foo 0000000002\r\n", (ProtocolViolation, None)),
    (b"PUB foo 65\r\n", (TooLarge, wire.PAYLOAD_TOO_LARGE)),
    (b"HPUB foo 64 65\r\n", (TooLarge, wire.PAYLOAD_TOO_LARGE)),
    (b"HPUB foo 7 6\r\n", (ProtocolViolation, None)),
    (b"PUB foo 2\r\nhiX", (ProtocolViolation, wire.UNKNOWN)),
    (b"PUB foo 2\r\nhi\n", (ProtocolViolation, wire.UNKNOWN)),
    (b"PUB foo 2\r\nhi\r\r", (ProtocolViolation, wire.UNKNOWN)),
    (b"-ERR 'x'\r\n", (ProtocolViolation, None)),
    (b"SUB " + b"a" * (MAX_LINE + 1), (TooLarge, wire.LINE_TOO_LONG)),
    (b"SUB " + b" " * (MAX_LINE + 1), (TooLarge, wire.LINE_TOO_LONG)),
]


def new() -> Wire:
    """Give a wire with small limits and headers."""
    fresh = Wire(Spellings(b"", MAX_PAYLOAD, MAX_LINE))
    fresh.headers = True
    return fresh


def flat(item: Any) -> Any:
    """Give a publish as the message that a run would have given."""
    return Message(item.subject, item.payload, item.reply, item.headers) if isinstance(item, Pub) else item


def pull(chunks: Iterable[bytes], *, scan: bool = True, source: Wire | None = None) -> list[Any]:
    """Pull as a session does; give all events in a row.

    Runs come first, then one other item, a SUB with those behind it, and nothing behind an error.  Without ``scan``
    there are only single items.
    """
    source = new() if source is None else source
    events: list[Any] = []
    fed = 0
    for chunk in chunks:
        source.feed(chunk)
        fed += len(chunk)
        try:
            while True:
                run = source.scan() if scan else None
                if run is not None:
                    events += list(run)
                    spread = [(b.topic, b.headed) for b in run.batches() for _ in b]
                    assert spread == [(m.topic, bool(m.headers)) for m in run]
                    assert all(len(b) for b in run.batches())
                    run.clear()
                    continue
                item = source.next()
                if item is None:
                    break
                events.append(flat(item))
                if scan and isinstance(item, Sub):
                    events += [Sub(*wish) for wish in source.subs()]
                assert len(events) <= fed
        except (ProtocolViolation, TooLarge) as error:
            source.drop()
            return [*events, (type(error), error.reply)]
        source.settle()
        assert len(source) <= 2 * MAX_LINE + 16 + MAX_PAYLOAD
    return events


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


blanks = st.sampled_from([b" "] * 6 + [b"  ", b"\t", b" \t "])
ends = st.sampled_from([b"\r\n"] * 6 + [b"\n", b" \r\n", b"\t\n"])
subjects = st.sampled_from([b"a", b"a", b"a", b"a.b", b"a.*", b">", b"a..b", b"_GR_.x", b"\xc3\xa9", b"\xff"])
replies = st.sampled_from([b"", b"", b"", b"r", b"r.1", b"_R_.x"])
payloads = st.binary(max_size=12) | st.sampled_from([b"\r\n", b"PUB a 0\r\n\r\n", b"\r", b"\n"])
headers = st.sampled_from([b"NATS/1.0\r\n\r\n", b"abcd", b"\r\n"])


@st.composite
def said(draw: Any) -> tuple[bytes, Any]:
    """Give an item in one of its legal spellings, with what it means."""
    kind = draw(st.sampled_from(["PUB", "PUB", "PUB", "HPUB", "SUB", "UNSUB", "other"]))
    if kind == "other":
        return draw(st.sampled_from(VECTORS + ODD_VECTORS))
    plain = draw(st.booleans())
    name = (kind if plain else draw(st.sampled_from([kind, kind.lower()]))).encode()
    if kind == "SUB":
        words = [draw(subjects), *draw(st.sampled_from([[], [b"q"]])), draw(st.sampled_from([b"1", b"x-Y"]))]
        item: Any = Sub(words[0], words[1] if len(words) > 2 else b"", words[-1])
    elif kind == "UNSUB":
        after = draw(st.integers(0, 20))
        words = [b"1", b"%d" % after] if after else [b"1"]
        item = Unsub(b"1", after)
    else:
        head = draw(headers) if kind == "HPUB" else b""
        item = Message(draw(subjects), draw(payloads), draw(replies), head)
        sizes = [len(head)] if kind == "HPUB" else []
        words = [item.topic, *([item.reply] if item.reply else [])]
        words += [b"%d" % size for size in (*sizes, len(head + item.payload))]
    line = (
        name + b"".join((b" " if plain else draw(blanks)) + word for word in words) + (b"\r\n" if plain else draw(ends))
    )
    return line + (item.headers + item.payload + b"\r\n" if isinstance(item, Message) else b""), item


places = st.lists(st.integers(0, 2000), max_size=8)
fragments = st.sampled_from(
    [
        *(b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"CONNECT", b"INFO", b"+OK", b"-ERR", b"MSG", b"pub", b"P", b"H"),
        *(
            b" ",
            b" ",
            b" ",
            b"\t",
            b"\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"\xff",
            b"a",
            b"a.b",
            b"0",
            b"1",
            b"2",
            b"65",
        ),
        *(b"x" * MAX_LINE, b" " * MAX_LINE, b"1234567890", b"-1", b"{}"),
    ]
)
soups = st.lists(fragments, max_size=20).map(b"".join)
broken = st.sampled_from([data for data, _ in BROKEN])
streams = st.lists(said().map(lambda pair: pair[0]) | soups | broken | st.binary(max_size=6), max_size=6).map(b"".join)


@pytest.mark.parametrize(("data", "item"), VECTORS + ODD_VECTORS, ids=repr)
def test_vectors(data: bytes, item: Any) -> None:
    """Every operation is read, in its plain and in its odd spellings, however it is cut."""
    for chunks in every_chunking(data):
        assert pull(chunks) == [item]


@pytest.mark.parametrize(("data", "error"), BROKEN, ids=repr)
def test_broken(data: bytes, error: Any) -> None:
    """What is wrong is found with the byte that makes it so, or with the end of its line, not later."""
    for chunks in every_chunking(data):
        assert pull(chunks) == [error]


@settings(deadline=None)
@given(st.lists(said(), max_size=12), places)
def test_any_chunking(pairs: list[tuple[bytes, Any]], where: list[int]) -> None:
    """What was spelled is what is read, whole, byte by byte and cut anywhere."""
    data = b"".join(spelled for spelled, _ in pairs)
    expected = [item for _, item in pairs]
    for chunks in ([data], cut(data, where), cut(data, range(len(data)))):
        assert pull(chunks) == expected


@settings(deadline=None)
@given(st.lists(said(), max_size=12))
def test_scan_and_next_agree(pairs: list[tuple[bytes, Any]]) -> None:
    """A run holds what ``next`` alone would give."""
    data = b"".join(spelled for spelled, _ in pairs)
    assert pull([data]) == pull([data], scan=False)


@settings(deadline=None)
@given(streams, places)
@example(b"PUB a 2\r\nhi\r\n" + b"PUB a 2\r\nho\r", [])
@example(b"SUB a\rb 1\r\n", [6])
@example(b"SUB a 1\r\nSUB a q 2\r\nSUB b 3\r\nsub b 4\r\nSUB b\t5\r\nSUB b 6\nSUB b 7\r\nSUB b", [20])
@example(b"SUB a 1\r\nSUB " + b"b" * MAX_LINE + b" 1\r\n", [])
@example(b"SUB a 1\r\nSUB " + b"b" * 13 + b" " + b"c" * 12 + b" " + b"d" * 12 + b"\r\nSUB a b c d\r\n", [])
@example(b"PUB a 0\r\r\n\r\n", [])
def test_any_bytes(data: bytes, where: list[int]) -> None:
    """Any bytes give the same items and the same error however they are cut, and no error of another kind."""
    whole = pull([data])
    assert whole == pull([data], scan=False)
    assert whole == pull(cut(data, where))
    assert whole == pull(cut(data, range(len(data))))


@settings(deadline=None)
@given(streams)
def test_what_was_said_before_does_not_matter(data: bytes) -> None:
    """Two connections that share a memory of control lines read what each would read alone."""
    alone = pull([data])
    first, second = new(), new()
    second.spellings = first.spellings
    assert pull([data], source=first) == alone
    assert pull([data], source=second) == alone


@settings(deadline=None)
@given(streams)
@example(b"PUB a 0\r\n\r\nHPUB a 4 4\r\nabcd\r\n")
def test_without_headers(data: bytes) -> None:
    """Where headers were not agreed upon no HPUB is read, by neither way."""
    results = []
    for scan in (True, False):
        source = new()
        source.headers = False
        results.append(pull([data], scan=scan, source=source))
    assert results[0] == results[1]
    assert not any(isinstance(event, Message) and event.headers for event in results[0])


@pytest.mark.parametrize("first", [b"P", b"S", b"+", b" ", b"\n", b"\0", b"H"])
def test_locked(first: bytes) -> None:
    """Before a login anything but CONNECT is refused by its first byte."""
    source = new()
    source.locked = True
    source.feed(first)
    with pytest.raises(LoginFailed, match="Authorization Violation"):
        source.next()


@pytest.mark.parametrize("name", [b"CONNECT", b"connect"])
def test_locked_lets_connect_in(name: bytes) -> None:
    """CONNECT is read before a login, in any case."""
    source = new()
    source.locked = True
    source.feed(name + b" {}\r\n")
    assert source.next() == Connect(b"{}")


@pytest.mark.parametrize("operation", [b"SUB ", b"PUB ", b"UNSUB ", b"CONNECT ", b"INFO "])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_longest_line(operation: bytes, end: bytes) -> None:
    """The arguments of a line may be as long as the limit, its end not counted, and no byte longer."""
    fits = operation + b"a" * MAX_LINE + end
    too_long = operation + b"a" * (MAX_LINE + 1) + end
    for chunks in every_chunking(fits):
        assert (TooLarge, wire.LINE_TOO_LONG) not in pull(chunks)
    for chunks in every_chunking(too_long):
        assert pull(chunks) == [(TooLarge, wire.LINE_TOO_LONG)]


def test_longest_payload() -> None:
    """A payload, its headers counted in, may be as long as the limit."""
    body = bytes(MAX_PAYLOAD)
    assert pull([b"PUB a 64\r\n" + body + b"\r\n"]) == [Message(b"a", body)]
    assert pull([b"HPUB a 4 64\r\n" + body + b"\r\n"]) == [Message(b"a", body[4:], b"", body[:4])]


def test_payload_that_claims_to_be_too_long() -> None:
    """It is refused by the control line: nothing of it is waited for."""
    assert pull([b"PUB a 65\r\n"]) == [(TooLarge, wire.PAYLOAD_TOO_LARGE)]
    assert pull([b"PUB a 999999999\r\n"]) == [(TooLarge, wire.PAYLOAD_TOO_LARGE)]


def test_endless_blanks_are_not_held() -> None:
    """A line that begins with blanks without end is given up (nats-server reads on for ever)."""
    source = new()
    assert pull([b"SUB "] + [b" "] * 1000, source=source) == [(TooLarge, wire.LINE_TOO_LONG)]
    assert len(source) == 0


def test_subs_in_a_row() -> None:
    """All SUBs that are spelled in the plain way are taken at once, up to the first other thing."""
    source = new()
    source.feed(b"SUB a 1\r\n" * 3000 + b"PING\r\nSUB a 1\r\n")
    assert source.next() == Sub(b"a", b"", b"1")
    assert source.subs() == [(b"a", b"", b"1")] * 2999
    assert source.subs() == []
    assert source.next() == Ping()
    assert source.subs() == [(b"a", b"", b"1")]


def test_long_runs() -> None:
    """A run ends after so many messages, and the next one goes on where it ended."""
    source = new()
    source.feed(b"PUB a 1\r\nx\r\n" * (2 * wire.RUN_LENGTH + 1))
    lengths = []
    while (run := source.scan()) is not None:
        lengths.append(len(run))
        run.clear()
    assert lengths == [wire.RUN_LENGTH, wire.RUN_LENGTH, 1]


def test_control_lines_are_remembered_within_bounds() -> None:
    """Subjects and replies without end do not fill the memory that a listener shares."""
    source = new()
    for i in range(2 * wire.SPELLINGS):
        source.feed(b"PUB s%d 0\r\n\r\nPUB a r%d 0\r\n\r\n" % (i, i))
        run = source.scan()
        assert run is not None
        assert [m.reply for m in run] == [b"", b"r%d" % i]
        run.clear()
        assert len(source.spellings.known) <= wire.SPELLINGS
    assert not any(spelling.reply for spelling in source.spellings.known.values())


def test_run_outlives_the_memory() -> None:
    """A run can be read also when the control lines that it was made of have been forgotten."""
    source = new()
    source.feed(b"PUB a 1\r\nx\r\nPUB b r 1\r\ny\r\n")
    run = source.scan()
    assert run is not None
    source.spellings.known.clear()
    assert list(run) == [Message(b"a", b"x"), Message(b"b", b"y", b"r")]


def test_prefix() -> None:
    """Topics and replies of a run lie under the listener's prefix."""
    source = Wire(Spellings(b"pre.fix", MAX_PAYLOAD, MAX_LINE))
    source.feed(b"PUB a r 1\r\nx\r\n")
    run = source.scan()
    assert run is not None
    assert list(run) == [Message(b"pre.fix.a", b"x", b"pre.fix.r")]
