"""What the broker leaves in its data directory is written for its owner alone, whatever somebody has put in the way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerkit.place import write_private

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["a link", "a file that all may write"])
def test_nothing_in_the_way_is_written_to(tmp_path: Path, kind: str) -> None:
    """A link at the place of the draft is not followed, and a file there is not taken over with its mode."""
    other, draft = tmp_path / "other", tmp_path / f".running.json.{os.getpid()}"
    other.write_text("precious")
    if kind == "a link":
        draft.symlink_to(other)
    else:
        draft.touch(0o666)
        draft.chmod(0o666)
    write_private(tmp_path / "running.json", "{}")
    assert other.read_text() == "precious"
    assert (tmp_path / "running.json").read_text() == "{}"
    assert not (tmp_path / "running.json").is_symlink()
    assert (tmp_path / "running.json").stat().st_mode & 0o777 == 0o600
    assert not draft.exists()
