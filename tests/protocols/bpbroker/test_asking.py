"""Asking the network: over real sockets of loopback, with a broker's side that answers or lies."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from brokerkit.protocols.bpbroker import asking, places, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = [("127.0.0.1", "", 0)]
KEY = "discovery key"
TOLD = signed.Told("brokerkit", 4444, "ab" * 32, 7)


@contextmanager
def answering(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """Answer datagrams at some port of loopback; give the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(20)

        def run() -> None:
            while True:
                datagram, sender = one.recvfrom(65536)
                if datagram == b"stop":
                    return
                for reply in answer(datagram):
                    one.sendto(reply, sender)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield one.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", one.getsockname())
            thread.join(10)


def honest(datagram: bytes) -> list[bytes]:
    """Answer as a broker that has ``foo``."""
    if datagram.startswith(signed.BEGIN):
        key = KEY.encode()
        digest = signed.digest_of(key, "foo")
        answer = signed.Answers(key, "foo".__eq__, {digest: "foo"}.get, lambda: TOLD).answer(datagram)
        return [answer] if answer else []
    return [b"Key Exists\n"] if datagram == b"foo\n" else []


def test_the_originals_question() -> None:
    """A name and a line end go out; the address of the first that answers comes back."""
    with answering(honest) as port:
        assert asking.ask("foo", port=port, to=HERE) == [asking.Found("127.0.0.1", port)]
        assert asking.ask("nope", port=port, to=HERE, timeout=0.1) == []


def test_a_signed_question() -> None:
    """With the key, the answer says the port and how to know the certificate."""
    with answering(honest) as port:
        [found] = asking.ask("foo", port=port, key=KEY, to=HERE)
        assert found == asking.Found("127.0.0.1", 4444, "ab" * 32, "brokerkit")
        assert found.signed
        assert asking.ask("foo", port=port, key="another", to=HERE, timeout=0.1) == []


@pytest.mark.parametrize("lie", [b"Key Exists", b"", b"{}", b'{"mac": 5}', b"x" * 5000, b'{"mac": "\xc3\xa9"}'])
def test_liars_are_not_believed(lie: bytes) -> None:
    """What is not exactly an answer is passed over, and the next one counts."""
    with answering(lambda datagram: [lie, *honest(datagram)]) as port:
        assert asking.ask("foo", port=port, to=HERE)
        assert [one.tls_sha256 for one in asking.ask("foo", port=port, key=KEY, to=HERE)] == ["ab" * 32]


def test_it_is_asked_several_times() -> None:
    """A question that got lost is asked again within the time."""
    asked: list[bytes] = []

    def second(datagram: bytes) -> list[bytes]:
        asked.append(datagram)
        return honest(datagram) if len(asked) > 1 else []

    with answering(second) as port:
        assert asking.ask("foo", port=port, to=HERE, timeout=1.0, tries=5)
    assert asked == [b"foo\n"] * 2


def test_all_that_answer() -> None:
    """With ``every``, each broker is there once, however often it answers."""
    with answering(lambda datagram: honest(datagram) * 3) as port:
        assert len(asking.ask("foo", port=port, to=[*HERE, *HERE], timeout=0.2, every=True)) == 1


def test_nothing_can_be_sent() -> None:
    """Where there is no way out at all, that is an error and not an empty answer."""
    with pytest.raises(OSError, match="there is no network"):
        asking.ask("foo", to=[])


def test_where_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By every interface: its own broadcast and the limited one, the group of IPv6, and loopback."""
    there = [(1, "127.0.0.1/8"), (2, "10.0.0.5/24"), (2, "fe80::5/64"), (3, "192.0.2.7/32")]
    monkeypatch.setattr(places, "interfaces", lambda: [(number, ip_interface(text)) for number, text in there])
    assert places.targets() == [
        ("127.0.0.1", "", 0),
        ("255.255.255.255", "", 0),
        ("10.0.0.255", "10.0.0.5", 2),
        ("255.255.255.255", "10.0.0.5", 2),
        ("ff12::4fdb", "", 2),
    ]
    assert places.broadcast_of("10.0.0.5") == "10.0.0.255"
    assert places.broadcast_of("192.0.2.7") == places.broadcast_of("10.0.0.9") == ""
    found = places.neighbourhood()
    assert {ip_network("10.0.0.0/24"), ip_network("fe80::/64"), ip_network("127.0.0.0/8")} <= set(found)
    assert ip_network("192.0.2.7/32") not in found


def test_the_interfaces_of_this_machine() -> None:
    """They can be listed, and loopback is among them."""
    assert any(one.ip.is_loopback for _, one in places.interfaces())
