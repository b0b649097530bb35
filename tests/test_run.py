"""Runs, and the batches that are views of them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.run import Message, Origin, Spoken, may_cross
from tests.strategies import messages

HEADERS = b"NATS/1.0\r\n\r\n"


@given(said=st.lists(messages))
def test_batches_are_the_run(said: list[Message]) -> None:
    """The batches, one behind the other, are all messages in their order."""
    run = Spoken(said)
    assert [m for batch in run.batches() for m in batch] == said == list(run)
    assert sum(len(batch) for batch in run.batches()) == len(run)


@given(said=st.lists(messages))
def test_batches_are_as_long_as_they_can_be(said: list[Message]) -> None:
    """A batch has one topic and one kind, and its neighbours have another."""
    kinds = []
    for batch in Spoken(said).batches():
        assert {(m.topic, bool(m.headers)) for m in batch} == {(batch.topic, batch.headed)}
        kinds.append((batch.topic, batch.headed))
    assert all(one != other for one, other in pairwise(kinds))


def test_alternating_topics_are_not_regrouped() -> None:
    """Order is the sender's, across topics: nothing is pulled forward."""
    run = Spoken([Message(topic, b"") for topic in (b"a", b"b", b"a", b"a")])
    assert [(b.topic, len(b)) for b in run.batches()] == [(b"a", 1), (b"b", 1), (b"a", 2)]


def test_headers_begin_a_batch() -> None:
    """Messages with headers and without are spelled differently, so they are never in one batch."""
    run = Spoken([Message(b"a", b"1"), Message(b"a", b"2", headers=HEADERS), Message(b"a", b"3", headers=HEADERS)])
    assert [(b.headed, len(b)) for b in run.batches()] == [(False, 1), (True, 2)]


def test_a_batch_knows_its_sender() -> None:
    """The sender of a batch is the name of the user who published the run."""
    run = Spoken([Message(b"a", b"")])
    run.name = b"ann"
    assert [batch.sender for batch in run.batches()] == [b"ann"]


def test_a_run_forgets() -> None:
    """A cleared run holds nothing of what was said, nor who said it."""
    run = Spoken([Message(b"a", b"")])
    run.sender = object()
    run.clear()
    assert not len(run)
    assert run.sender is None
    assert list(run.batches()) == []


def test_a_run_takes_a_copy() -> None:
    """Clearing a run leaves the list that it was made of alone."""
    said = [Message(b"a", b"")]
    Spoken(said).clear()
    assert said == [Message(b"a", b"")]


def test_nothing_is_forwarded_within_the_mesh() -> None:
    """What a route or gateway brought does not leave by one; everything else may go anywhere."""
    mesh = {Origin.ROUTE, Origin.GATEWAY}
    for source in Origin:
        for target in Origin:
            assert may_cross(source, target) is not (source in mesh and target in mesh)
