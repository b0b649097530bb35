"""The fuzzer's targets hold for its corpus, in which every crash that it has found has its place, and for some more.

``make fuzz`` has tried millions of inputs; here it is seen that pure and compiled are alike for those that matter, and
that the targets would notice if they were not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit import compiled
from tests.fuzz import targets

pytestmark = pytest.mark.skipif(compiled.heart is None, reason="nothing is compiled here")
CORPUS = Path(__file__).with_name("corpus")
COMPARING = ("nats", "hpfeeds", "deliver")
FILES = [(name, path) for name in COMPARING for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("name", "path"), FILES, ids=[f"{name}-{path.name}" for name, path in FILES])
def test_the_corpus(name: str, path: Path) -> None:
    """Both variants do the same with every input that is kept, and neither breaks."""
    data = path.read_bytes()
    for target, call in targets.TARGETS.items():
        if targets.CORPUS.get(target, target) == name:
            call(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_any_bytes(name: str) -> None:
    """Both variants do the same with bytes that nobody has chosen, behind some that somebody has."""
    seeds = [path.read_bytes() for path in sorted((CORPUS / targets.CORPUS.get(name, name)).iterdir())]

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(seeds), st.integers(0, 400), st.binary(max_size=20), st.integers(0, 20))
    def alike(seed: bytes, at: int, more: bytes, less: int) -> None:
        targets.TARGETS[name](seed[:at] + more + seed[at + less :])

    alike()


def test_a_scan_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison sees a place that is another one."""
    real = targets._step

    def wrong(wire: object) -> object:
        found = real(wire)
        is_run = found is not None and found[0] == "run"
        return (*found[:3], 0) if is_run and wire.spellings.scanner is not None else found  # type: ignore[attr-defined]

    monkeypatch.setattr(targets, "_step", wrong)
    with pytest.raises(AssertionError):
        targets.nats((CORPUS / "nats" / "run").read_bytes())


def test_a_delivery_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison sees a message that somebody did not get."""
    real = targets._rooms

    def wrong(choice: bytes) -> list[targets.Room]:
        rooms = real(choice)
        rooms[1].router.remove(rooms[1].subscriptions[0])
        return rooms

    monkeypatch.setattr(targets, "_rooms", wrong)
    with pytest.raises(AssertionError):
        targets.deliver_((CORPUS / "deliver" / "plain").read_bytes())
