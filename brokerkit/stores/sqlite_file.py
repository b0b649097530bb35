"""An SQLite file of the broker's own: made for its owner's eyes alone, and what goes wrong with it in one line.

SQLite itself never makes such a file, since others could read it; so it is made here, empty, before it is opened.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

from brokerkit.errors import OperatorError
from brokerkit.on_disk import to_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DAMAGED = "is damaged"
LOCKED = "another program has locked it; is another broker running with this data directory?"
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "SQLITE_BUSY": LOCKED,
        "SQLITE_LOCKED": LOCKED,
        "SQLITE_FULL": "the disk is full",
        "SQLITE_NOTADB": "is no SQLite database",
        "SQLITE_CORRUPT": DAMAGED,
        "SQLITE_READONLY": "cannot be written to",
        "SQLITE_CANTOPEN": "cannot be opened",
        "SQLITE_IOERR": "cannot be read or written: the disk reports an error",
        "SQLITE_PERM": "cannot be opened: permission denied",
    }
)
BROKEN = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the latter: no room for the index of the WAL


def with_remedy(remedy: str) -> dict[str, str]:
    """Give the words for SQLite's errors, those of a broken file with the command that helps behind them."""
    return {code: text + remedy if code in BROKEN else text for code, text in WORDS.items()}


def said(error: sqlite3.Error, words: Mapping[str, str] = WORDS) -> str:
    """Give what SQLite says in these words."""
    code = getattr(error, "sqlite_errorname", "")
    return next((text for name, text in words.items() if code.startswith(name)), str(error))


def is_full(error: sqlite3.Error) -> bool:
    """Say whether there is no room on the disk."""
    return getattr(error, "sqlite_errorname", "").startswith(_FULL)


@contextmanager
def one_line(path: Path | None, words: Mapping[str, str] = WORDS) -> Iterator[None]:
    """Turn whatever SQLite and the system say into the one line that the operator reads."""
    try:
        yield
    except sqlite3.Error as error:
        raise OperatorError(f"{path}: {said(error, words)}") from None
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror or error}") from None


def address(path: Path) -> str:
    """Give the address of a file that is there: SQLite is not to make one."""
    return f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"


def make_file(path: Path) -> None:
    """Make an empty file for the owner's eyes alone, unless there is one; it is there after a crash, too."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        to_disk(path.absolute().parent)
