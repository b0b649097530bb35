"""Which partition a record without one goes to.

With a key it is murmur2 as Kafka's Java client has it (KIP-480's ``DefaultPartitioner``: ``toPositive(murmur2(key)) %
partitions``), so that records of one key meet those of Kafka's own clients.  Without one it is the sender's own, so
that what one sender says stays in its order.
"""

from __future__ import annotations

from random import randrange
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from brokerkit.log.words import Partitioner

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """Give the 32-bit MurmurHash2 of the bytes, with the seed that Kafka uses, as an unsigned number."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def pick(partitioner: Partitioner, partitions: int, key: bytes | None, sender: bytes) -> int:
    """Give the partition for a record."""
    if partitions == 1:
        return 0
    if partitioner == "random":
        return randrange(partitions)  # noqa: S311  it spreads, it hides nothing
    if key is not None:
        return (murmur2(key) & 0x7FFFFFFF) % partitions
    return crc32(sender) % partitions
