"""Waiting until something is on disk: a file, or the names that stand in a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def to_disk(path: Path) -> None:
    """Wait until a file, or what stands in a directory, is on disk; raise ``OSError``."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
