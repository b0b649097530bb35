"""Slowing down those who try many passwords: so many failures, then a pause, for an address and for a name from there.

Never for a name alone: sensors share names, and anybody could lock anybody out.  A name that lately succeeded from an
address is exempt from what others do wrong at that address.  The table is bounded; when it is full, those whose last
failure is longest ago are forgotten.

Where nobody gives a name there is only the address: what one of the nameless did right says nothing of the next.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    Key = tuple[str, bytes]  # an address, and a name, or nothing for all names

PAIR = 10  # failures of one name from one address that may follow each other without a pause
ADDRESS = 100  # failures from one address, whatever the names
PERIOD = 60.0  # seconds in which that many are forgiven again, one after the other
LONGEST = 600.0  # seconds that are owed at most, however many logins failed at once
SLACK = 0.001  # seconds: of the time of day as a float, the last digits are not to be trusted
LATELY = 86400.0  # seconds that a success counts: sensors stay for long, and come back together
ENTRIES = 65536  # the most that is remembered, of each kind
LONG = 64  # bytes of a name that are kept as they are
TRANSLATED = IPv6Network("64:ff9b::/96")  # the IPv4 addresses, as a translating router shows them


class Throttle:
    """Failures, each as a debt in seconds that is paid off by the time that passes."""

    def __init__(self, clock: IReactorTime) -> None:
        """Begin with nobody."""
        self._clock = clock
        self._paid: OrderedDict[Key, float] = OrderedDict()  # → when nothing is owed any more
        self._succeeded: OrderedDict[Key, float] = OrderedDict()
        self.refused = 0

    def __len__(self) -> int:
        """Give the number of entries."""
        return len(self._paid) + len(self._succeeded)

    def admits(self, address: str, name: bytes) -> bool:
        """Say whether a login may be tried; always where there is no address."""
        if not (self._paid and address):
            return True
        key = _key(address, name)
        pair = bool(name) and self._owes(key, PAIR)
        if pair or (self._owes((key[0], b""), ADDRESS) and not self._lately(key)):
            self.refused += 1
            return False
        return True

    def failed(self, address: str, name: bytes) -> None:
        """Take note of a login that was refused because of its credentials."""
        if address:
            key = _key(address, name)
            if name:
                self._succeeded.pop(key, None)
                self._charge(key, PAIR)
            self._charge((key[0], b""), ADDRESS)

    def succeeded(self, address: str, name: bytes) -> None:
        """Take note of a login that was accepted: what this name did wrong here is forgotten."""
        if address and name:
            key = _key(address, name)
            self._paid.pop(key, None)
            _keep(self._succeeded, key, self._clock.seconds())

    def _owes(self, key: Key, failures: int) -> bool:
        """Say whether one more failure is too many: each costs its share of the period."""
        return self._owed(key) > PERIOD - PERIOD / failures + SLACK

    def _owed(self, key: Key) -> float:
        owed = self._paid.get(key, 0.0) - self._clock.seconds()
        return owed if 0 < owed <= LONGEST + SLACK else 0.0  # more: the clock has been set back

    def _lately(self, key: Key) -> bool:
        return bool(key[1]) and self._clock.seconds() - self._succeeded.get(key, -LATELY) < LATELY

    def _charge(self, key: Key, failures: int) -> None:
        owed = min(self._owed(key) + PERIOD / failures, LONGEST)
        _keep(self._paid, key, self._clock.seconds() + owed)


def _keep(table: OrderedDict[Key, float], key: Key, value: float) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > ENTRIES:
        table.popitem(last=False)


def _key(address: str, name: bytes) -> Key:
    """Give what is remembered: of a long name a digest, since the table is bounded in entries only."""
    return place(address), name if len(name) <= LONG else blake2b(name, digest_size=16).digest()


def place(address: str) -> str:
    """Give the network that one machine has to itself: of IPv6, that is half of the address.

    Not so where it stands for an IPv4 address: those share one half.
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if found in TRANSLATED:
        return str(found)
    return str(IPv6Address(int(found) >> 64 << 64))
