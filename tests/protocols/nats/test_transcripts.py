"""brokerkit answers as nats-server has been recorded to answer, whatever pieces the questions come in."""

from __future__ import annotations

import pytest

from tests.pages import ROOT

from .conversation import WAYS, Configured, InMemory, converse
from .transcript import DIRECTORY, Heard, Script, read_all

THEMES = read_all()


def check(script: Script, memory: Configured, way: str) -> None:
    """Carry a script out, and compare."""
    heard = converse(script, lambda: InMemory(memory, info=script.info), way, script.expected)
    assert heard == {who: script.expected.get(who, Heard()) for who in heard}, str(script)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("theme", THEMES)
def test_answers(theme: str, way: str) -> None:
    """Every connection of every script hears what was recorded."""
    brokers: dict[str, Configured] = {}
    for script in THEMES[theme]:
        if script.server not in brokers:
            brokers[script.server] = Configured(script.server)
        check(script, brokers[script.server], way)


def test_there_are_enough() -> None:
    """There are scripts on every theme, and each of them says something."""
    scripts = [script for theme in THEMES.values() for script in theme]
    assert len(scripts) > 300
    assert all(script.steps for script in scripts)
    assert {script.server for script in scripts} <= {path.stem for path in DIRECTORY.glob("*.toml")}


def test_differences_are_explained() -> None:
    """Where brokerkit is to answer otherwise there is a reason, and it does differ."""
    for theme in THEMES.values():
        for script in theme:
            assert bool(script.differs) == bool(script.ours), str(script)
            if script.differs:
                assert script.ours != script.heard, str(script)


def test_reasons_are_documented() -> None:
    """Every reason for an answer of brokerkit's own, or for not being held to nats-server's, stands in the manual."""
    page = " ".join((ROOT / "docs" / "protocols" / "nats.md").read_text(encoding="utf-8").split())
    reasons = {reason for theme in THEMES.values() for script in theme for reason in (script.differs, script.pieces)}
    for reason in reasons - {""}:
        assert reason in page
