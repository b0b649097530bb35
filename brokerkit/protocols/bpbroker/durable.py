"""Writing a file so that it is there whole or not at all, on disk, and for its owner's eyes alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerkit.on_disk import to_disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, content: Iterable[bytes]) -> os.stat_result:
    """Write the pieces of ``content`` in the place of whatever is there, mode 0600; raise ``OSError``.

    A symbolic link stays one: what it leads to is replaced.  Gives what tells the file from a later one at its place,
    as far as a new name does not change that (the time of change it does).
    """
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # and O_EXCL: no link is followed, and no file of somebody else's is written to
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
            written = os.fstat(file.fileno())
        draft.replace(path)
        to_disk(path.parent)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return written
