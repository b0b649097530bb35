"""Pure and compiled are one broker: the same scripts, in the same pieces, are answered byte by byte alike.

The pure code defines the behaviour.  Where nothing has been compiled there is nothing to compare, and the scripts only
show that the pure code meets no bug of its own; ``BROKERKIT_COMPILED=required`` makes that a failure.
``BROKERKIT_EXAMPLES`` says how many scripts are played (300).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from tests.variants.player import Player
from tests.variants.scripts import scripts
from tests.variants.stage import WORLDS, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = int(os.environ.get("BROKERKIT_EXAMPLES", "300"))
MEANT = "as the script has it"

Answers = list[list[Any]]


@pytest.fixture(scope="module")
def pure() -> Iterator[Player]:
    """Give a broker of pure Python."""
    player = Player(pure=True)
    yield player
    player.leave()


@pytest.fixture(scope="module")
def usual() -> Iterator[Player]:
    """Give a broker as users have it: compiled, where that has been done."""
    player = Player(pure=False)
    yield player
    player.leave()


def _compared(script: Script, pure: Answers, usual: Answers) -> None:
    """Compare the answers to each step; say which step it was."""
    for number, (step, one, other) in enumerate(zip(script.steps, pure, usual, strict=True)):
        what, heard, numbers, problems = one
        assert [what, heard] == other[:2], f"step {number}: {step}"
        assert numbers == other[2], f"step {number}: {step}"
        assert problems == other[3], f"step {number}: {step}"
        assert [problem for problem in problems if MEANT not in problem] == [], f"step {number}: {step}"


def test_the_switch(pure: Player) -> None:
    """``BROKERKIT_PURE=1`` leaves the compiled modules out."""
    assert pure.variant == "pure Python"


def test_something_is_compiled(usual: Player) -> None:
    """The other player is the compiled one, where it has to be."""
    if usual.variant == "pure Python":
        if os.environ.get("BROKERKIT_COMPILED") == "required":
            pytest.fail("nothing is compiled here")
        pytest.skip("nothing is compiled here")
    assert usual.variant == "compiled"


@pytest.mark.parametrize("world", WORLDS)
def test_both_answer_alike(world: str, pure: Player, usual: Player) -> None:
    """Whatever is said by whomever in whatever pieces: the same bytes, endings, counts and complaints."""

    @settings(
        max_examples=EXAMPLES // len(WORLDS),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(scripts((world,)))
    def alike(script: Script) -> None:
        note(f"{script!r}")
        _compared(script, pure.play(script), usual.play(script))

    alike()


_FRAMES = re.compile(rb"(?=H?MSG )")
SPOKEN = b"".join(
    [
        b"SUB a.> 1\r\nSUB *.b q 2\r\nSUB _I.* 3\r\n",
        b"PUB a.b 3\r\nxyz\r\n" * 3,
        b"PUB a.b _I.x 0\r\n\r\nHPUB a.b _I.y 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        b"PUB nobody _I.z 1\r\n?\r\n",
        b"PUB c.b _I.w 1\r\n?\r\n" * 2,  # to one's own group: who wants no echo is told that nobody hears
        b"pub  a 1\r\n!\r\nPUB a.cc 5\r\nPUB a\r\nPUB b 1\r\nx\r\nPING\r\n",
        b"UNSUB 1 9\r\nPUB a.b 2\r\n\r\n\r\nPUB a.b 2\r\nno\r\nPUB a.b  2\r\n",
    ]
)
FED = b"".join(
    bytes((0, 0, 0, 5 + len(body), opcode)) + body
    for opcode, body in [
        (4, b"\3anna.b"),
        *[(3, b"\3ann\3a.bpayload")] * 3,
        (3, b"\3ann\1a"),
        (3, b"\3ann\3a.b" + b"\0\0\0\x12\3\3ann\3a.bx"),
        (5, b"\3anna.b"),
        (3, b"\3ann\1b!"),
        (3, b"\3eve\1b!"),
    ]
)


@pytest.mark.parametrize(("protocol", "said"), [("nats", SPOKEN), ("hpfeeds", FED)])
@pytest.mark.parametrize(("world", "echo"), [("open", True), ("open", False), ("kept", True)])
def test_it_does_not_matter_where_a_stream_is_cut(
    protocol: str, said: bytes, world: str, echo: bool, pure: Player, usual: Player
) -> None:
    """In two pieces, wherever the cut is, or byte by byte: everybody hears the same as if it had come in one.

    Only in which order two subscriptions of one connection have their messages depends on what comes together.
    """
    options = {"headers": True, "no_responders": True, "echo": echo}
    opening = [("connect", "nats", "bob", "pipe", options), ("say", 0, b"SUB a.> 1\r\nSUB a.b q 2\r\nSUB b 3\r\n", ())]
    opening.append(("connect", protocol, "ann", "socket", options))
    whole: Any = None
    for cuts in [(), (1,), (7,), *[(i, len(said)) for i in range(1, len(said))]]:
        script = Script(world, 1, (*opening, ("say", 1, said, cuts), ("wait", 1.0)))
        answers = pure.play(script)
        _compared(script, answers, usual.play(script))
        heard = [(sorted(_FRAMES.split(said)), *ends) for step in (3, 4) for said, *ends in answers[step][1]]
        whole = whole or heard
        assert heard == whole, cuts


def test_a_script_is_played_the_same_way_twice(pure: Player) -> None:
    """Nothing in a script is left to chance: else the comparison would be of dice."""

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scripts())
    def alike(script: Script) -> None:
        _compared(script, pure.play(script), pure.play(script))

    alike()


def test_differences_are_seen() -> None:
    """A byte, a count or a complaint that is another one is a failure."""
    script = Script("open", 0, (("wait", 0.0),))
    answer = [None, [(b"MSG a 1 1\r\nx\r\n", False, False)], [[1]], []]
    _compared(script, [answer], [answer])
    others = ([None, [(b"MSG a 1 1\r\ny\r\n", False, False)], [[1]], []], [None, answer[1], [[2]], []])
    for other in (*others, [None, answer[1], [[1]], ["a bug"]]):
        with pytest.raises(AssertionError):
            _compared(script, [answer], [other])
    with pytest.raises(AssertionError):
        _compared(script, [[*answer[:3], ["a bug"]]], [[*answer[:3], ["a bug"]]])
