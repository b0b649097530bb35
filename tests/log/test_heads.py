"""Headers of records and header blocks of NATS, each made of the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.log.heads import block_of, headers_of

_names = st.from_regex(rb"[A-Za-z0-9_-]{1,12}", fullmatch=True)
_values = st.binary(max_size=20).filter(lambda v: b"\r" not in v and b"\n" not in v and v == v.strip(b" \t"))


def test_there_and_back_by_hand() -> None:
    """The same name may come twice, in order, and an empty value is one."""
    block = b"NATS/1.0\r\nfoo: 1\r\nbar:s\r\nfoo:  2 \r\nempty:\r\n\r\n"
    headers = ((b"foo", b"1"), (b"bar", b"s"), (b"foo", b"2"), (b"empty", b""))
    assert headers_of(block) == headers
    assert headers_of(block_of(headers)) == headers
    assert block_of(headers) == b"NATS/1.0\r\nfoo: 1\r\nbar: s\r\nfoo: 2\r\nempty: \r\n\r\n"


def test_a_status() -> None:
    """What stands behind the version is kept by the names that NATS' clients give it."""
    assert headers_of(b"NATS/1.0 503\r\n\r\n") == ((b"Status", b"503"),)
    assert headers_of(b"NATS/1.0 408 Request Timeout\r\na: b\r\n\r\n") == (
        (b"Status", b"408"),
        (b"Description", b"Request Timeout"),
        (b"a", b"b"),
    )


def test_no_headers() -> None:
    """Nothing makes nothing, in both directions."""
    assert headers_of(b"") == ()
    assert headers_of(b"NATS/1.0\r\n\r\n") == ()
    assert block_of(()) == b""


def test_nothing_is_forged() -> None:
    """A header with a line break, or a name that is none, is left out; the others are said."""
    odd = ((b"a", b"1\r\nb: 2"), (b"c\r\nd", b"3"), (b"e:f", b"4"), (b"", b"5"), (b"g h", b"6"), (b"ok", b"7"))
    assert block_of(odd) == b"NATS/1.0\r\nok: 7\r\n\r\n"
    assert block_of(odd[:1]) == b""


def test_null() -> None:
    """NATS has no null: it becomes an empty value there."""
    assert headers_of(block_of(((b"a", None),))) == ((b"a", b""),)


@given(st.lists(st.tuples(_names, _values), max_size=6).map(tuple))
def test_there_and_back(headers: tuple[tuple[bytes, bytes | None], ...]) -> None:
    """What can be said at all comes back as it was."""
    assert headers_of(block_of(headers)) == headers


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"NATS/1.0" + rest))
def test_anything(block: bytes) -> None:
    """Whatever a client has sent as a block is read, or left alone; nothing raises."""
    assert all(name and value is not None for name, value in headers_of(block))


@given(st.lists(st.tuples(st.binary(max_size=6), st.none() | st.binary(max_size=6)), max_size=4).map(tuple))
def test_any_headers(headers: tuple[tuple[bytes, bytes | None], ...]) -> None:
    """Whatever the headers are, each line of the block is one of them, and no more."""
    block = block_of(headers)
    assert block.count(b"\r\n") == (len(headers_of(block)) + 2 if block else 0)
    assert len(headers_of(block)) <= len(headers)
