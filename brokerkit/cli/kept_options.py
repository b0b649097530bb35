"""The options of the commands about kept topics: which broker, who asks, how long to wait; and what they exit with."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.kept_talk import Refused, Talk, Unreachable, find
from brokerkit.cli.talk import INTERRUPTED, LATE, REFUSED, UNREACHABLE, WRONG, fail
from brokerkit.cli.trust import tls_options
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.cli.trust import Trust

SERVER, TOKEN = "BROKERKIT_HTTP", "BROKERKIT_TOKEN"  # variables


class Late(Exception):
    """The time is over, and it is not done."""


def talk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which broker is meant; it gets a ``Talk`` as ``talk``."""

    @wraps(command)
    def told(
        *,
        server: str | None,
        data_dir: str | None,
        token_file: str | None,
        patience: float,
        trust: Trust | None,
        **others: Any,  # noqa: ANN401  the command's own
    ) -> None:
        with exit_codes():
            address = find(server, data_dir, _token(token_file), trust)
            talk = Talk(address, patience, lambda text: click.echo(f"brokerkit: {text}", err=True))
            try:
                command(talk=talk, **others)
            finally:
                talk.close()

    wrapped: Callable[..., None] = tls_options(told)
    for option in (
        click.option(
            "--patience",
            type=click.FloatRange(min=0.1),
            default=30.0,
            show_default=True,
            help="Seconds for an answer, and for trying again.",
        ),
        click.option(
            "--token-file",
            type=click.Path(exists=True, dir_okay=False),
            help=f"File with a token to show: one line; or ${TOKEN}.",
        ),
        click.option("--data-dir", type=click.Path(file_okay=False), help="Data directory of the broker of this host."),
        click.option(
            "-s",
            "--server",
            envvar=SERVER,
            metavar="URL",
            help="http://[USER:SECRET@]HOST[:PORT], or https://; the broker of this host if not given.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _token(file: str | None) -> str:
    if file is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"--token-file {file}: {getattr(error, 'strerror', None) or 'is no text'}") from None
    if len(lines) != 1 or not lines[0].strip():
        raise OperatorError(f"--token-file {file}: expected one line")
    return lines[0].strip()


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    try:
        yield
    except Unreachable as error:
        raise fail(UNREACHABLE, str(error)) from None
    except Refused as error:
        raise fail(REFUSED, f"the broker refused: {error}") from None
    except OperatorError as error:
        raise fail(WRONG, str(error)) from None
    except Late as error:
        raise fail(LATE, str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
