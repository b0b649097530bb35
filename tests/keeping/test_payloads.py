"""Every run gives the payloads of a batch as its messages have them, however it came by them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.protocols.nats import wire as nats
from brokerkit.run import Message, Run, Spoken, renamed
from tests.strategies import messages

_said = st.lists(st.tuples(st.sampled_from([b"a", b"b.c"]), st.binary(max_size=20), st.booleans()), max_size=12)


def _hold(run: Run | None) -> int:
    """Hold each batch of a run against its messages, and give their number."""
    count = 0
    for batch in run.batches() if run is not None else ():
        wanted = [message.payload for message in batch]
        assert batch.run.payloads(batch.start, batch.stop) == wanted
        other = renamed(batch, b"x.y")
        assert other.run.payloads(other.start, other.stop) == wanted
        for i in range(batch.start, batch.stop):
            assert batch.run.payloads(i, i + 1) == [wanted[i - batch.start]]
        count += len(batch)
    return count


@given(st.lists(messages, max_size=8))
def test_spoken(said: list[Message]) -> None:
    """Whole messages."""
    assert _hold(Spoken(said)) == len(said)


@given(_said)
def test_nats(said: list[tuple[bytes, bytes, bool]]) -> None:
    """PUB and HPUB, with and without a reply."""
    wire = nats.Wire(nats.Spellings(b"", 1000, 1000))
    wire.headers = True
    for topic, payload, headed in said:
        block = b"NATS/1.0\r\nx: \n\r\n\r\n"
        if headed:
            wire.feed(b"HPUB %b r %d %d\r\n%b%b\r\n" % (topic, len(block), len(block) + len(payload), block, payload))
        else:
            wire.feed(b"PUB %b %d\r\n%b\r\n" % (topic, len(payload), payload))
    assert _hold(wire.scan()) == len(said)


@given(_said)
def test_hpfeeds(said: list[tuple[bytes, bytes, bool]]) -> None:
    """PUBLISH."""
    wire = hpfeeds.Wire(b"site")
    wire.own(b"ann")
    for topic, payload, _ in said:
        wire.feed(hpfeeds.spell(hpfeeds.Publish(b"ann", topic, payload)))
    assert _hold(wire.scan()) == len(said)
