"""Where ``bpbroker`` keeps its things: the original's directory, and beside it the data directory of the broker.

The configuration is one file, as in the original.  What lasts is in a directory that belongs to that file, so that
every command finds the same one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from brokerkit.cli.bpclient_errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL = "/usr/local/bpbroker"
HOME, DATA = "BPBROKER_HOME", "BROKERKIT_DATA_DIR"  # variables that say otherwise


@attrs.frozen
class Places:
    """The paths of one installation; ``config`` is the file that was named, the global one if none was."""

    config: Path
    data: Path
    library: Path
    named: bool

    @property
    def layers(self) -> list[Path]:
        """The configuration files, the later over the earlier."""
        return [base_config(), self.config] if self.named else [self.config]


def home() -> Path:
    """Give the original's directory."""
    return Path(os.environ.get(HOME) or USUAL)


def base_config() -> Path:
    """Give where the global configuration is."""
    return home() / "etc" / "bpbroker.json"


def places(config: str | None) -> Places:
    """Give the paths for a configuration file, or for the global one."""
    file = Path(config).absolute() if config else base_config()
    given = os.environ.get(DATA)
    data = file.with_name(f"{file.name}.data") if config else home() / "data"
    return Places(file, Path(given).absolute() if given else data, home() / "lib", bool(config))


@contextmanager
def stopped(data: Path) -> Iterator[None]:
    """Keep a broker from starting on a data directory; raise ``Fatal`` if one runs there."""
    try:
        number = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # nothing has ever run there
        yield
        return
    except OSError as error:
        raise Fatal(f"{data}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fatal(f"the service runs on {data}: stop it first, since it writes the file when it ends") from None
        yield
    finally:
        with suppress(OSError):
            os.close(number)
