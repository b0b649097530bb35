"""Heads and bodies of requests: what is read is read as everybody else reads it, and the rest is refused."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.web import Answer, Asked, Bounds, Site
from brokerkit.web.chunks import Chunks
from brokerkit.web.head import Head, NoRequest, read_head
from tests.talk import Line, Time

TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode)
TARGETS = st.binary(min_size=1, max_size=20).map(lambda some: bytes(b for b in some if 0x21 <= b <= 0x7E) or b"/")
VALUES = st.binary(max_size=20).map(lambda some: bytes(b for b in some if b >= 0x20 and b != 0x7F).strip())
NAMES = TOKENS.filter(lambda name: name.lower() not in {b"content-length", b"transfer-encoding", b"host", b"expect"})
FRAMING = st.sampled_from(
    [
        b"",
        b"Content-Length: 0",
        b"content-length:5",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length : 5",
        b"Content-Length: 5\r\n 6",
        b"Content-Length:\t5\t",
        b"Content-Length: 0x5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: CHUNKED",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Connection: close",
        b"Connection: keep-alive, Close",
        b"Expect: 100-continue",
        b"Host: two",
    ]
)
GAPS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n ", b"\x00", b""])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Give heads of which many are almost, and some are wholly, right."""
    spaces = st.sampled_from([b" ", b" ", b" ", b" ", b"  ", b"\t"])
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10"]))
    lines = [draw(TOKENS) + draw(spaces) + draw(TARGETS) + draw(spaces) + version, b"Host: test"]
    lines += [name + b": " + value for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))]
    lines += draw(st.lists(FRAMING.filter(bool), max_size=2))
    text = lines[0]
    for line in lines[1:]:
        text += draw(GAPS) + line
    return text


def by_h11(head: bytes) -> tuple[h11.Request, bool, bool]:
    """Give what the library that others use reads: the request, whether it keeps the connection, and waits."""
    other = h11.Connection(h11.SERVER)
    other.receive_data(head + b"\r\n\r\n")
    request = other.next_event()
    assert isinstance(request, h11.Request), request
    return request, other.their_state is not h11.MUST_CLOSE, other.they_are_waiting_for_100_continue


@given(heads())
def test_what_is_read_is_what_others_read(text: bytes) -> None:
    """Whatever is taken for a request here is the same request to h11, with the same end."""
    try:
        head = read_head(text)
    except NoRequest:
        return
    request, _, waits = by_h11(text)
    assert (request.method, request.target) == (head.method, head.target)
    assert b"HTTP/" + request.http_version == head.version
    ours = [(name, one) for name, values in head.headers.items() for one in values]
    assert sorted((name, one.lower()) for name, one in request.headers) == sorted((a, b.lower()) for a, b in ours)
    assert waits == head.waits
    assert head.length == _length(request)


def _length(request: h11.Request) -> int | None:
    found = dict(request.headers)
    return None if b"transfer-encoding" in found else int(found.get(b"content-length", 0))


@given(TOKENS, TARGETS, st.lists(st.tuples(NAMES.filter(lambda name: name.lower() != b"connection"), VALUES)))
def test_what_is_right_is_read(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever a head may be made of by the RFC comes out as it went in; names in small letters."""
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b:  %b\t" % header for header in headers)]
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    assert read_head(b"\r\n".join(lines)) == Head(method, target, b"HTTP/1.1", found, 0, True, False)


@pytest.mark.parametrize(
    ("lines", "persistent"),
    [
        (b"HTTP/1.1", True),
        (b"HTTP/1.1\r\nConnection: keep-alive", True),
        (b"HTTP/1.1\r\nConnection: Close", False),
        (b"HTTP/1.1\r\nConnection: upgrade\r\nConnection: x , close", False),
        (b"HTTP/1.0", False),
        (b"HTTP/1.0\r\nConnection: keep-alive", False),
    ],
)
def test_connections_that_stay(lines: bytes, *, persistent: bool) -> None:
    """They do by HTTP/1.1, unless somebody says otherwise."""
    assert read_head(b"GET / " + lines).persistent is persistent


# -- bodies -----------------------------------------------------------------------------------------------------------

EXTENSIONS = st.sampled_from([b"", b"", b";a", b';a="b c"'])
SPOILT = [b"", b"\n", b"\r", b"0", b"f", b" ", b"\x00", b";"]
TRAILERS = st.sampled_from([b"", b"", b"X-Sum: 1\r\n", b"a: b\r\nc: d\r\n"])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Give a body, and it in chunks."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    form = draw(st.sampled_from([b"%x", b"%X", b"0%x"]))
    text = b"".join(form % len(one) + draw(EXTENSIONS) + b"\r\n" + one + b"\r\n" for one in pieces)
    return b"".join(pieces), text + b"0\r\n" + draw(TRAILERS) + b"\r\n"


def fed(chunks: Chunks, text: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Read a text that comes in pieces; give the body and what was left behind it."""
    held, body = bytearray(), bytearray()
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        held += text[start:stop]
        assert chunks.read(held, body, 2**62)
    return bytes(body), bytes(held)


@given(chunked(), st.binary(max_size=5), st.data())
def test_chunks(given_: tuple[bytes, bytes], behind: bytes, data: st.DataObject) -> None:
    """They give the body however they are cut, and leave what stands behind them."""
    body, text = given_
    text += behind
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = Chunks()
    assert fed(chunks, text, cuts) == (body, behind)
    assert chunks.done


@given(chunked(), st.data())
def test_broken_chunks(given_: tuple[bytes, bytes], data: st.DataObject) -> None:
    """With a byte put in, changed or taken out they are refused, or read as h11 reads them."""
    text = bytearray(given_[1])
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from(SPOILT))
    chunks = Chunks()
    try:
        body, left = fed(chunks, bytes(text), [])
    except NoRequest:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + text)
    found, end = b"", False
    while not isinstance(event := other.next_event(), type):  # those that are none say that it waits
        found += bytes(event.data) if isinstance(event, h11.Data) else b""
        end = end or isinstance(event, h11.EndOfMessage)
    assert found.startswith(body)
    if chunks.done:  # h11 also takes a bare LF for the end of a line
        assert (found, end, other.trailing_data[0]) == (body, True, left)


def test_what_chunks_may_hold() -> None:
    """A line between them that does not end is refused, and so are trailers without an end."""
    for text in (b"1;" + b"x" * 2000, b"0\r\n" + b"a: b\r\n" * 100, b"0\r\n" + b"a" * 2000):
        with pytest.raises(NoRequest):
            fed(Chunks(), text, [])


# -- both, as a site reads them ---------------------------------------------------------------------------------------


class Echo:
    """A site that notes what it was asked."""

    def __init__(self) -> None:
        """Open it."""
        self.bodies: list[bytes] = []
        self.site = Site([], Time(), otherwise=self._note, bounds=Bounds(body_bytes=10_000))

    def _note(self, asked: Asked) -> Answer:
        self.bodies.append(asked.body)
        return Answer(200, b"{}")


@given(st.lists(st.one_of(st.binary(max_size=50), chunked()), min_size=1, max_size=4), st.data())
def test_requests_in_a_row(requests: list[Any], data: st.DataObject) -> None:
    """Any number of requests in any pieces are each answered, in order, with the body that each had."""
    echo = Echo()
    text = b""
    for one in requests:
        if isinstance(one, bytes):
            text += b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(one), one)
        else:
            text += b"\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + one[1]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    line = Line(echo.site)
    line.send(*(text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True) if start < stop))
    assert echo.bodies == [one if isinstance(one, bytes) else one[0] for one in requests]
    for _ in requests:
        assert line.reply().status == 200
    assert line.received == b""
    line.hang_up()


def test_a_body_that_is_asked_for() -> None:
    """Who waits for 100-continue is told to go on, unless the body is on its way."""
    echo = Echo()
    line = Line(echo.site)
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    line.send(head)
    assert line.peer.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.send(b"ab")
    assert line.reply().status == 200
    line.send(head + b"cd")
    assert line.reply().status == 200
    assert echo.bodies == [b"ab", b"cd"]
