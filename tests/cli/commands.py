"""The ``brokerkit`` command, run in this process: what it prints and exits with, without a program's slow start.

A command that asks sources of users gets a reactor of its own, since no reactor runs twice.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from click.testing import CliRunner
from twisted.internet import task
from twisted.internet.selectreactor import SelectReactor

from brokerkit.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Done(NamedTuple):
    """What came of a command, in the words of ``subprocess``."""

    returncode: int
    stdout: str
    stderr: str


def invoke(place: Path, environment: Mapping[str, str], *words: str, stdin: str = "") -> Done:
    """Run a command in that directory with that environment; what it does not expect itself is raised here."""
    react = partial(task.react, _reactor=SelectReactor())
    with (
        contextlib.chdir(place),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(task, "react", react),
    ):
        result = CliRunner().invoke(main, words, input=stdin)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def brokerkit(place: Path, *words: str, stdin: str = "", **environment: str) -> Done:
    """Run a command in that directory, with an empty home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BROKERKIT_", "HPFEEDS_", "XDG_"))}
    return invoke(place, {**kept, "HOME": str(place / "home"), **environment}, *words, stdin=stdin)
