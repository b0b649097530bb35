r"""Conversations with a NATS server, as text files that tell who says what: data for brokerkit and for nats-server.

A file is a theme.  It holds scripts, each of which begins with ``==`` and perhaps a name:

    == a name
    A: quiet           connection A says the words that ``let quiet ...`` above has given a name
    A> SUB foo 1\r\n   it says this, spelled with the escapes of Python; \(a*4094) is a letter many times
    A?                 it says PING and waits for the PONG: what it has said before is done
    A!                 it waits for the end of the connection
    A< MSG foo 1 0\r\n what it has heard in the end; recorded from nats-server, not written by hand
    A.                 and then the connection was closed
    A<< ... and A..    the same of brokerkit, where it differs
    % server users     which configuration both run with: transcripts/users.conf and users.toml
    % unordered        the order of the lines that are heard is left to the server
    % info             the first INFO is part of the transcript
    % differs REASON   brokerkit answers otherwise, on purpose
    % pieces REASON    what nats-server answers depends on the pieces that it comes in; brokerkit's answer never does

What stands before the first ``==`` holds for the whole file.  Of INFO only the keys and some values are compared.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import attrs

DIRECTORY = Path(__file__).with_name("transcripts")
OWN_VALUES = ("server_id", "server_name", "version", "go", "host", "port", "client_id", "client_ip", "nonce")
LEFT_OUT = ("git_commit", "api_lvl", "xkey")  # of nats-server alone: see docs/protocols/nats.md

_REPEATED = re.compile(r"\\\((.)\*(\d+)\)")
_RUN = re.compile(rb"([A-Za-z0-9])\1{49,}")
_INFO = re.compile(rb"INFO (\{.*\}) \r\n")
_PING = re.compile(rb"^PING\r\n", re.MULTILINE)
_LINE = re.compile(r"([A-Z])(>|:|\?|!|<<|<|\.\.|\.)(?: (.*))?")


class Step(NamedTuple):
    """What a connection says; ``ask``: it says PING and waits for the answer, ``end``: it waits for the end."""

    who: str
    said: bytes = b""
    ask: bool = False
    end: bool = False


class Heard(NamedTuple):
    """What came to a connection, and whether that was the end of it."""

    text: bytes = b""
    closed: bool = False


@attrs.define
class Script:
    """One conversation."""

    theme: str
    line: int
    name: str = ""
    server: str = "open"
    unordered: bool = False
    info: bool = False
    differs: str = ""
    pieces: str = ""
    steps: list[Step] = attrs.field(factory=list)
    heard: dict[str, Heard] = attrs.field(factory=dict)
    ours: dict[str, Heard] = attrs.field(factory=dict)

    def __str__(self) -> str:
        """Give where it stands."""
        return f"{self.theme}.txt:{self.line}: {self.name}"

    @property
    def connections(self) -> list[str]:
        """The connections, in the order in which they are opened."""
        return list(dict.fromkeys(step.who for step in self.steps))

    @property
    def expected(self) -> dict[str, Heard]:
        """What brokerkit has to answer."""
        return self.ours if self.differs else self.heard

    def compared(self, heard: Heard) -> Heard:
        """Give what is compared of what was heard."""
        text = normalised(heard.text)
        if self.unordered:
            text = b"".join(sorted(text.splitlines(keepends=True)))
        return Heard(text, heard.closed)


def normalised(text: bytes) -> bytes:
    """Set aside what differs from one server and one connection to the next, and that it asked for a sign of life."""
    text = _PING.sub(b"", text)
    return _INFO.sub(lambda found: b"INFO %b \r\n" % _keys(json.loads(found[1])), text)


def _keys(said: dict[str, object]) -> bytes:
    kept = {key: "*" if key in OWN_VALUES else value for key, value in said.items() if key not in LEFT_OUT}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def unescaped(text: str) -> bytes:
    """Read bytes as a file spells them."""
    text = _REPEATED.sub(lambda found: found[1] * int(found[2]), text)
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


def escaped(data: bytes) -> str:
    """Spell bytes for a file."""
    data = _RUN.sub(lambda found: b"\0\0(%b*%d)" % (found[1], len(found[0])), data)
    text = data.decode("latin-1").encode("unicode_escape").decode()
    return text.replace(r"\x00\x00(", r"\(")


def read(path: Path) -> list[Script]:
    """Read the scripts of one theme."""
    words: dict[str, bytes] = {}
    default = script = Script(path.stem, 0)
    scripts: list[Script] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("=="):
            script = Script(path.stem, number, line[2:].strip(), default.server, default.unordered, default.info)
            scripts.append(script)
        elif line.startswith("let "):
            _, name, text = line.split(" ", 2)
            words[name] = unescaped(text)
        elif line.startswith("% "):
            _take_option(script, line[2:])
        elif line and not line.startswith("#"):
            _take(script, line, words)
    for script in scripts:
        script.name = script.name or next(escaped(step.said)[:60] for step in reversed(script.steps) if step.said)
    return scripts


def _take_option(script: Script, text: str) -> None:
    name, _, value = text.partition(" ")
    setattr(script, name, value or True)


def _take(script: Script, line: str, words: dict[str, bytes]) -> None:
    found = _LINE.fullmatch(line)
    assert found, f"{script.theme}.txt: {line!r}"
    who, kind, text = found[1], found[2], found[3] or ""
    if kind in "?!":
        script.steps.append(Step(who, ask=kind == "?", end=kind == "!"))
        return
    if kind in ":>":
        script.steps.append(Step(who, words[text] if kind == ":" else unescaped(text)))
        return
    answers = script.ours if kind in ("<<", "..") else script.heard
    before = answers.get(who, Heard())
    answers[who] = Heard(before.text + unescaped(text), kind[0] == ".")


def read_all() -> dict[str, list[Script]]:
    """Read all themes."""
    return {path.stem: read(path) for path in sorted(DIRECTORY.glob("*.txt"))}


def answers(script: Script, heard: dict[str, Heard]) -> list[str]:
    """Give the lines that tell what was heard, for a file."""
    lines = []
    for who in script.connections:
        text, closed = script.compared(heard[who])
        lines += [f"{who}< {escaped(line)}" for line in text.splitlines(keepends=True)]
        lines += [f"{who}."] if closed else []
    return lines
