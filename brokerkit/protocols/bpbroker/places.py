"""Where questions are sent, and from where they are answered: addresses, networks and interfaces of this machine.

No Twisted here: the client's side uses it, too.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_network
from typing import TYPE_CHECKING

import ifaddr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network

EVERYBODY = "0.0.0.0"  # noqa: S104  every address: the original's
GROUP = "ff12::4fdb"  # link-local, of nobody's: the last digits are the usual port
LIMITED = "255.255.255.255"
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# What a network has to lie in, if discovery is to answer it without being told so.
PRIVATE = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)


def interfaces() -> Iterator[tuple[int, IPv4Interface | IPv6Interface]]:
    """Give each address of this machine with its network, and the number of its interface."""
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            address = one.ip if isinstance(one.ip, str) else one.ip[0]
            kind = IPv4Interface if isinstance(one.ip, str) else IPv6Interface
            yield adapter.index or 0, kind(f"{address}/{one.network_prefix}")


def neighbourhood() -> tuple[IPv4Network | IPv6Network, ...]:
    """Give loopback and the private networks that this machine is in."""
    found = [one.network for _, one in interfaces() if is_private(one.network)]
    return tuple(dict.fromkeys([*LOOPBACK, *found]))


def is_private(network: IPv4Network | IPv6Network) -> bool:
    """Say whether all of a network is nobody's but its owner's."""
    return any(network.version == wide.version and network.subnet_of(wide) for wide in PRIVATE)  # type: ignore[arg-type]


def broadcast_of(host: str) -> str:
    """Give where the broadcasts go of the network in which this machine has that address; empty if there are none."""
    for _, one in interfaces():
        if isinstance(one, IPv4Interface) and str(one.ip) == host:
            return _broadcast(one)
    return ""


def _broadcast(one: IPv4Interface) -> str:
    alone = one.network.prefixlen >= 31 or one.ip.is_loopback  # noqa: PLR2004  such links have none
    return "" if alone else str(one.network.broadcast_address)


def targets() -> list[tuple[str, str, int]]:
    """Give where a question goes: an address to send to, the address of ours to send from, and the interface.

    That is the broadcast of every network of IPv4 and the limited one, from each of our addresses there, loopback,
    where a broker on the same machine hears, and the group of IPv6 on every interface.
    """
    found: list[tuple[str, str, int]] = [("127.0.0.1", "", 0), (LIMITED, "", 0)]
    numbers: dict[int, None] = {}
    for number, one in interfaces():
        if isinstance(one, IPv6Interface):
            numbers[number] = None
        elif broadcast := _broadcast(one):
            found += [(broadcast, str(IPv4Address(one.ip)), number), (LIMITED, str(IPv4Address(one.ip)), number)]
    if socket.has_ipv6:
        found += [(GROUP, "", number) for number in numbers if number]
    return list(dict.fromkeys(found))
