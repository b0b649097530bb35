"""What INFO says of where the broker is, and when it is said again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.errors import ConfigError
from brokerkit.protocols.nats.advertise import joined, read_address
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.testing import Peer

NEW = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\nPING\r\n'


def broker(**settings: Any) -> MemoryBroker:
    """Give a broker that lets everybody in."""
    return MemoryBroker(auth=("anonymous",), settings={"nats": settings})


def infos(peer: Peer) -> list[dict[str, Any]]:
    """Give what INFO says in what has come."""
    return [json.loads(said) for said in re.findall(rb"INFO (\{.*\}) \r\n", peer.take())]


@pytest.mark.parametrize(
    ("advertised", "host", "port"),
    [
        ("", "192.0.2.2", 4000),
        ("nats.example:4333", "nats.example", 4333),
        ("nats.example", "nats.example", 4000),
        ("[2001:db8::1]:4333", "2001:db8::1", 4333),
        ("198.51.100.7", "198.51.100.7", 4000),
    ],
)
def test_client_advertise(advertised: str, host: str, port: int) -> None:
    """Clients are told the address that they have come to, or the one that is to be advertised."""
    [said] = infos(broker(client_advertise=advertised).connect("nats"))
    assert (said["host"], said["port"]) == (host, port)


@pytest.mark.parametrize("text", ["a b", ":4222", "x:y", "x:99999", "nats://x:4222", "[::1", "x:4222/"])
@pytest.mark.parametrize("key", ["client_advertise", "connect_urls"])
def test_what_is_no_address(key: str, text: str) -> None:
    """It is refused at the start, with a line that names the key and what is expected."""
    with pytest.raises(ConfigError, match=rf"listen\[.*{key}.*HOST:PORT"):
        broker(**{key: [text] if key == "connect_urls" else text})


def test_connect_urls() -> None:
    """Clients are told this broker's own address first, then the others'."""
    [said] = infos(broker(connect_urls=["b.example:4222", "c.example:4222"]).connect("nats"))
    assert said["connect_urls"] == ["192.0.2.2:4000", "b.example:4222", "c.example:4222"]


def test_the_own_url_is_the_advertised_one() -> None:
    """An address that is advertised stands in the list, too, an IPv6 one in brackets."""
    memory = broker(client_advertise="[2001:db8::1]:4333", connect_urls=["b.example:4222"])
    [said] = infos(memory.connect("nats"))
    assert said["connect_urls"] == ["[2001:db8::1]:4333", "b.example:4222"]


def test_news() -> None:
    """INFO is said again when there is news, to clients of protocol 1 that have had their first PONG."""
    memory = broker()
    told, early, old = (memory.connect("nats") for _ in range(3))
    told.send(NEW)
    early.send(NEW.replace(b"PING\r\n", b""))
    old.send(NEW.replace(b"1}", b"0}"))
    for peer in (told, early, old):
        peer.take()
        with memory.broker.turn:
            peer.protocol.inform()
    [said] = infos(told)
    assert not {"connect_info", "remote_account", "ldm", "nonce"} & set(said)
    assert early.take() == old.take() == b""


def test_the_same_server_at_every_listener() -> None:
    """The id is the broker's: another connection, or another broker in this process, tells them apart."""
    first, second = broker(), broker()
    ids = [infos(memory.connect("nats"))[0]["server_id"] for memory in (first, first, second)]
    assert ids[0] == ids[1] == first.broker.server_id
    assert ids[2] != ids[0]


def test_keys_in_the_order_of_nats_server() -> None:
    """People compare INFO by eye."""
    [said] = infos(MemoryBroker(settings={"nats": {"connect_urls": ["b:1"]}}).connect("nats"))
    order = "server_id server_name version proto go host port headers auth_required max_payload client_id client_ip"
    assert list(said) == [*order.split(), "connect_urls"]


@pytest.mark.parametrize("text", ["x:1", "[::1]:4222", "1.2.3.4:65535"])
def test_addresses_are_written_as_they_are_read(text: str) -> None:
    """Reading and joining undo each other."""
    assert joined(*read_address(text)) == text
