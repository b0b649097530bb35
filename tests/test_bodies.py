"""Payloads one behind the other are what they were one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.bodies import Bodies, together, united

PAYLOADS = st.lists(st.binary(max_size=5), min_size=1, max_size=9) | st.lists(st.just(b"even"), min_size=1, max_size=9)


@given(PAYLOADS)
def test_together(payloads: list[bytes]) -> None:
    """Each is there, in its order, with its size."""
    bodies = together(payloads)
    assert list(bodies) == payloads
    assert len(bodies) == len(payloads)
    assert list(bodies.sizes) == [len(one) for one in payloads]
    assert bodies.largest == max(bodies.sizes)
    assert isinstance(bodies.lengths, int) == (len(set(bodies.sizes)) == 1)


@given(PAYLOADS, st.data())
def test_a_part(payloads: list[bytes], data: st.DataObject) -> None:
    """Some that follow each other can be taken out."""
    start = data.draw(st.integers(0, len(payloads) - 1))
    stop = data.draw(st.integers(start + 1, len(payloads)))
    assert list(together(payloads)[start:stop]) == payloads[start:stop]


@given(st.lists(PAYLOADS, min_size=1, max_size=4))
def test_united(some: list[list[bytes]]) -> None:
    """Several of them make one, of whatever lengths each is."""
    joined, lengths = united([together(payloads) for payloads in some])
    whole = [one for payloads in some for one in payloads]
    assert list(Bodies(b"".join(joined), lengths, len(whole))) == whole
