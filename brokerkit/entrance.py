"""Who may connect to a listener at all, and what may be done there: its networks, its numbers, its mode.

Whoever comes from another network is closed when accepted, before anything is made for it.  One connection too many is
told so in its protocol's words, as long as few are being told; a flood of them is closed without a word.  Whatever is
remembered here is bounded by the connections that there are, or by a number.

The mode takes an action away from everybody at one listener: where one can only push, nobody may subscribe, whatever
the source of users says.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from twisted.logger import Logger

from brokerkit.errors import ConfigError
from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.throttle import place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IReactorTime

    Network = IPv4Network | IPv6Network

log = Logger()

BOTH, PUSH, PULL = "both", "push", "pull"
BARRED: dict[str, frozenset[str]] = {BOTH: frozenset(), PUSH: frozenset({SUBSCRIBE}), PULL: frozenset({PUBLISH})}
MAPPED = IPv6Network("::ffff:0:0/96")  # the addresses of IPv4, as a socket of IPv6 shows them
TOLD = 64  # connections that are being told at once that they are too many; further ones are closed without a word
AGAIN = 60.0  # seconds in which a source is named once in the log
SHOWN = "::ffff:"  # what such an address begins with
NAMED = 1024  # sources that are remembered for that; while there are so many, others are counted only


def barred(mode: str, where: str) -> frozenset[str]:
    """Give the actions that nobody may do in that mode; raise ``ConfigError`` for a mode that is none."""
    if mode not in BARRED:
        raise ConfigError(where, "mode", mode, f"{PUSH}, {PULL} or {BOTH}")
    return BARRED[mode]


def read_networks(texts: Iterable[str], where: str, key: str = "networks") -> tuple[Network, ...]:
    """Read networks and single addresses, as 10.0.0.0/8 and ::1; raise ``ConfigError`` naming the ``key``."""
    found = []
    for text in texts:
        try:
            found.append(_unmapped(ip_network(text)))
        except ValueError as error:
            expected = "addresses and networks such as 10.0.0.0/8 and ::1"
            raise ConfigError(where, key, text, expected, str(error)) from None
    return tuple(found)


def _unmapped(network: Network) -> Network:
    """Give the IPv4 network that one of IPv6 stands for, if it does: addresses are held against it as IPv4."""
    if network.version == 4 or not network.subnet_of(MAPPED):  # noqa: PLR2004
        return network
    address = network.network_address.ipv4_mapped
    return IPv4Network((str(address), network.prefixlen - MAPPED.prefixlen))


class Seldom:
    """Whether something is to be said of a source now: once in a while, and of so many sources at the most."""

    def __init__(self, clock: IReactorTime) -> None:
        """Have said nothing yet."""
        self._clock = clock
        self._said: OrderedDict[str, float] = OrderedDict()

    def may_say(self, source: str) -> bool:
        """Say whether it was not said lately; it is said then."""
        now = self._clock.seconds()
        while self._said and not 0 <= now - next(iter(self._said.values())) < AGAIN:
            self._said.popitem(last=False)
        if source in self._said or len(self._said) >= NAMED:
            return False
        self._said[source] = now
        return True


class Entrance:
    """The entrance of one listener; ``refused`` counts those who were not let in, by a fixed few words."""

    def __init__(
        self, protocol: str, networks: tuple[Network, ...], most: int, most_each: int, clock: IReactorTime
    ) -> None:
        """Let in so many connections, so many from each address, from these networks; nought and none: no bound."""
        self._protocol = protocol
        self._networks = networks
        self._most = most
        self._most_each = most_each
        self.seldom = Seldom(clock)
        self.inside = 0
        self.from_address: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def bound(self, most: int, most_each: int) -> None:
        """Let in so many from now on; whoever is inside stays."""
        self._most = most
        self._most_each = most_each

    def turns_away(self, host: str, told: int) -> bool:
        """Say whether to close a connection as soon as it is accepted; ``told`` are refused already, and still here.

        ``host`` is empty where there is no address, as for unix sockets: networks and addresses do not matter there.
        """
        if host and self._networks and not is_within(host, self._networks):
            return self._turn_away(host, "network", "is in none of the networks")
        full = self._full(place(host)) if told >= TOLD else ""
        return bool(full) and self._turn_away(host, full, "is one connection too many")

    def _turn_away(self, host: str, reason: str, why: str) -> bool:
        self.refused[reason] += 1
        if self.seldom.may_say(place(host)):
            log.info("{protocol} {host}: closed at once: {why}", protocol=self._protocol, host=host, why=why)
        return True

    def enter(self, host: str) -> bool:
        """Say whether there is room for one more; if so it is in, until it leaves."""
        source = place(host)
        full = self._full(source)
        if full:
            self.refused[full] += 1
            return False
        self.inside += 1
        if source:
            self.from_address[source] += 1
        return True

    def leave(self, host: str) -> None:
        """Take note that one of those who were let in has gone."""
        self.inside -= 1
        source = place(host)
        if source:
            self.from_address[source] -= 1
            if not self.from_address[source]:
                del self.from_address[source]

    def _full(self, source: str) -> str:
        """Say in one word which number is reached, if any is."""
        if self.inside >= self._most:
            return "connections"
        return "address" if source and 0 < self._most_each <= self.from_address.get(source, 0) else ""


def without_mapping(host: str) -> str:
    """Give an address of IPv4 that a socket of IPv6 shows (``::ffff:10.0.0.1``) as one of IPv4; others as they are."""
    return host[len(SHOWN) :] if host.startswith(SHOWN) and "." in host else host


@lru_cache(maxsize=1024)
def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """Say whether an address is in one of the networks; one of IPv4 that a socket of IPv6 shows is one of IPv4."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if address.version == 6 and address.ipv4_mapped is not None:  # noqa: PLR2004
        address = address.ipv4_mapped
    return any(address in network for network in networks)
