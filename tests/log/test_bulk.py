"""Writes in columns are kept, numbered, placed and repeated as the same writes one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerkit.log import Idempotency, Producer, TooLarge
from brokerkit.log.bulk import Bulk, Places
from tests.log.logs import got, make, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log import Log, Write

VALUES = [b"", b"a", None, b"\xff" * 300]
BULKS = [
    Bulk("", b"t", list(VALUES), b"ann"),
    Bulk("", b"t", list(VALUES), b"", keys=[b"k", None, b"", b"k2"]),
    Bulk("", b"t", list(VALUES), b"ann", timestamps=[5, None, 3, 2**61]),
    Bulk("", b"t", list(VALUES), b"ann", keys=[None] * 4, timestamps=[7] * 4, partition=0),
]


def _log(partitions: int, **settings: int) -> Log:
    log = memory()
    make(log, b"t", partitions, **settings)
    return log


def _kept(log: Log, partitions: int) -> list[object]:
    return [got(log.fetch(b"t", one, 0)).records for one in range(partitions) if log.span(b"t", one).next]


@pytest.mark.parametrize("bulk", BULKS)
@pytest.mark.parametrize("partitions", [1, 3])
def test_as_one_by_one(bulk: Bulk, partitions: int) -> None:
    """Records and their places are the same, in one partition and in several."""
    one, other = _log(partitions), _log(partitions)
    placed, expected = got(one.append(bulk)), got(other.append(list(bulk)))
    assert list(placed) == expected
    assert placed[-1] == expected[-1]
    assert placed[1:3] == expected[1:3]
    assert _kept(one, partitions) == _kept(other, partitions)
    assert (type(placed) is Places) is (len({one.partition for one in expected}) == 1)


@pytest.mark.parametrize("who", [Producer(b"p", 0, 0), Idempotency(b"k", b"d")])
def test_repeated(who: Producer | Idempotency) -> None:
    """What was done in columns is not done again one by one."""
    log = _log(1)
    placed = got(log.append(BULKS[2], producer=who))
    again = got(log.append(list(BULKS[2]), producer=who))
    assert [one.offset for one in again] == [one.offset for one in placed]
    assert all(one.duplicate for one in again)
    assert log.span(b"t", 0).next == len(VALUES)


def test_too_large() -> None:
    """A record that is too large refuses all; a large key and a large value of different records do not."""
    log = _log(1, max_message_bytes=100)
    fits: Sequence[Write] = Bulk("", b"t", [b"x" * 90, b"x"], b"", keys=[b"k", b"k" * 90])
    assert len(got(log.append(fits))) == 2
    with pytest.raises(TooLarge):
        got(log.append(Bulk("", b"t", [b"x", b"x" * 90], b"", keys=[b"k", b"k" * 90])))
    assert log.span(b"t", 0).next == 2


def test_empty() -> None:
    """Nothing is written for none."""
    assert list(got(_log(1).append(Bulk("", b"t", [], b"")))) == []
