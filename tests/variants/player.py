"""The parent's half: one child for each variant, which plays scripts; a child that dies is a failure that names why."""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brokerkit
from tests.variants.stage import LENGTH

if TYPE_CHECKING:
    from tests.variants.stage import Script

HERE = Path(brokerkit.__file__).resolve().parents[1]  # a child has the modules that its parent has
STAGE = Path(__file__).with_name("stage.py")
SECONDS = 60.0  # that a script may take


class Died(AssertionError):
    """A child has ended, or does not answer."""


class Player:
    """One variant, in a process of its own; ``variant`` is what it says of itself."""

    def __init__(self, *, pure: bool) -> None:
        """Start it."""
        self._pure = pure
        self._start()

    def _start(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed in leave()
        self._child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(STAGE)],
            env=os.environ
            | {"BROKERKIT_PURE": "1" if self._pure else "", "PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self.variant: str = self._hear()

    def play(self, script: Script) -> list[Any]:
        """Have a script played; raise ``Died`` where that ends the child, and start another one for the next."""
        data = pickle.dumps(tuple(script))
        try:
            self._child.stdin.write(LENGTH.pack(len(data)) + data)  # type: ignore[union-attr]
            self._child.stdin.flush()  # type: ignore[union-attr]
            return self._hear()  # type: ignore[no-any-return]
        except (Died, BrokenPipeError) as problem:
            said = self.leave()
            self._start()
            raise Died(f"{self.variant}: {problem}\n{said}") from None

    def _hear(self) -> Any:
        return pickle.loads(self._read(*LENGTH.unpack(self._read(LENGTH.size))))  # noqa: S301  from our own child

    def _read(self, size: int) -> bytes:
        source = self._child.stdout
        assert source is not None
        data = b""
        while len(data) < size:
            if not select.select([source], [], [], SECONDS)[0]:
                raise Died(f"no answer within {SECONDS:.0f} s")
            more = os.read(source.fileno(), size - len(data))
            if not more:
                raise Died(f"ended with {self._child.wait(SECONDS)}")
            data += more
        return data

    def leave(self) -> str:
        """End the child; give the end of what it has said."""
        self._child.kill()
        self._child.wait(SECONDS)
        self._child.stdin.close()  # type: ignore[union-attr]
        self._child.stdout.close()  # type: ignore[union-attr]
        self._said.seek(0)
        text = self._said.read().decode(errors="replace")[-4000:]
        self._said.close()
        return text
