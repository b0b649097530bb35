"""Writing into the transcripts what a nats-server answers.

It is done by the comparison with nats-server (tests/servers), when it is told to by RECORD=1; read what has changed
before you keep it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .conversation import OverTCP, converse
from .transcript import Heard, Script, answers, read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUIET = 0.3  # seconds without a byte that are taken for the end of an answer
_ANSWER = re.compile(r"[A-Z](< .*|\.)")


class Recorder(OverTCP):
    """A connection that is heard until it falls silent."""

    def hear(self, pongs: int) -> Heard:  # noqa: ARG002  how many there should be is what is to be found out
        """Give all that comes within a while."""
        return self.quiet(QUIET)


def heard(script: Script, port: int) -> dict[str, Heard]:
    """Carry a script out; once more where connections were closed, without asking those."""

    def connect() -> Recorder:
        return Recorder(port, info=script.info)

    found = converse(script, connect, "whole", {})
    return converse(script, connect, "whole", found) if any(end.closed for end in found.values()) else found


def record(path: Path, ports: Mapping[str, int]) -> None:
    """Write the answers into one file."""
    scripts = {script.line: script for script in read(path)}
    out: list[str] = []
    block: list[str] = []
    script: Script | None = None

    def finish() -> None:
        kept = [line for line in block if not _ANSWER.fullmatch(line) and line]
        own = [line for line in kept if re.match(r"[A-Z](<<|\.\.)", line)]
        kept = [line for line in kept if line not in own]
        if script is not None:
            kept += [*answers(script, heard(script, ports[script.server])), *own, ""]
            out.extend(kept)
        else:
            out.extend(block)

    for number, line in enumerate(path.read_text().splitlines(), 1):
        if number in scripts:
            finish()
            block, script = [], scripts[number]
        block.append(line)
    finish()
    path.write_text("\n".join(out).rstrip("\n") + "\n")
