"""What commands that ask sources of users share: which sources are meant, and how answers look."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from brokerkit.errors import OperatorError
from brokerkit.place import default_directory, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.config import Config


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which sources of users are meant."""
    for option in (
        click.option(
            "--auth", multiple=True, metavar="SOURCE", help="Source of users; instead of the configured ones."
        ),
        click.option("--data-dir", type=click.Path(file_okay=False), help="Directory of the broker that is meant."),
        click.option("-c", "--config", type=click.Path(dir_okay=False), help="TOML file of the broker that is meant."),
    ):
        command = option(command)
    return command


def configuration(config: str | None, data_dir: str | None, auth: tuple[str, ...]) -> Config:
    """Give what a broker with these flags is told; without any, what ``brokerkit run`` is told by itself.

    Raises ``OperatorError`` if the file cannot be used or names no source.
    """
    from brokerkit.config import FLAGS, Config, load
    from brokerkit.plugin import protocols

    directory = Path(data_dir).absolute() if data_dir else None
    if config:
        told = load(config, protocols())
        told = attrs.evolve(told, auth=auth or told.auth, data_dir=str(directory) if directory else told.data_dir)
        if auth:
            told = attrs.evolve(told, users=())
    else:
        directory = directory or default_directory().absolute()
        told = Config(source=FLAGS, data_dir=str(directory), auth=auth or sources(directory))
    if not (told.auth or told.users):
        raise OperatorError(
            f"{told.source}: auth: no source of users; name one, for example with --auth json:users.json"
        )
    return told


def one_by_one(told: Config) -> list[tuple[str, Config]]:
    """Give each source as a configuration of its own, with what it is called where it cannot be made."""
    found = [(text, attrs.evolve(told, auth=(text,), users=())) for text in told.auth]
    return [(f"users in {told.source}", attrs.evolve(told, auth=())), *found] if told.users else found


def without_secrets(text: str) -> str:
    """Give a source of users as far as it may be seen: no password, and no options, one of which may be one."""
    text = re.sub("//.*@", "//***@", text, flags=re.DOTALL)
    return re.sub(r"\?.*", "?***", text, flags=re.DOTALL) if "://" in text else text


def asked_for(user: str) -> bytes:
    """Give the name that a user goes by; of a file of credentials (.creds, .jwt), the JWT in it.

    Raises ``OperatorError`` if there is such a file and it cannot be read.
    """
    if user.endswith((".creds", ".jwt")) and Path(user).is_file():
        from brokerkit.checkers.jwt_setting import bare

        try:
            return bare(Path(user).read_text(encoding="ascii")).encode()
        except (OSError, ValueError) as error:
            text = f"{user}: cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
            raise OperatorError(text) from None
    return user.encode(errors="surrogateescape")


def lines(pairs: Iterable[tuple[str, str]]) -> str:
    """Give labelled lines, one below the other."""
    return "\n".join(f"  {label + ':':<12} {text}" for label, text in pairs)


def passed(valid_until: float) -> str:
    """Give what is to be said behind a moment after which nobody is let in (seconds since 1970)."""
    return " (has passed)" if 0 < valid_until <= time.time() else ""
