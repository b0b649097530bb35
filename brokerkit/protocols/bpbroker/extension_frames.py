"""What passes through the pipes between the broker and a child that runs extensions: JSON, with its length before it.

Both sides use this file, so it imports nothing of Twisted: a child has to start quickly.
"""

from __future__ import annotations

import json
from typing import IO, Any

HEAD = 4  # bytes of a length, the highest first


class FrameTooLong(ValueError):
    """A frame says that it is longer than it may be."""


def frame(said: dict[str, Any]) -> bytes:
    """Give an object as it is sent; raise ``ValueError`` or ``TypeError`` for what is no JSON."""
    text = json.dumps(said, allow_nan=False).encode()
    return len(text).to_bytes(HEAD, "big") + text


class Frames:
    """Puts frames together again from chunks; holds no more than one frame of ``longest`` bytes and one chunk."""

    def __init__(self, longest: int) -> None:
        """Begin with nothing."""
        self._longest = longest
        self._held = bytearray()

    def receive(self, chunk: bytes) -> list[dict[str, Any]]:
        """Give what is complete; raise ``ValueError`` for what is too long or no JSON object."""
        self._held += chunk
        found = []
        while len(self._held) >= HEAD:
            size = int.from_bytes(self._held[:HEAD], "big")
            if size > self._longest:
                raise FrameTooLong(f"{size} bytes")
            if len(self._held) < HEAD + size:
                break
            found.append(_an_object(bytes(self._held[HEAD : HEAD + size])))
            del self._held[: HEAD + size]
        return found


def read(file: IO[bytes]) -> dict[str, Any] | None:
    """Wait for the next frame of a file; ``None`` where it ends."""
    head = file.read(HEAD)
    if len(head) < HEAD:
        return None
    text = file.read(int.from_bytes(head, "big"))
    return _an_object(text)


def _an_object(text: bytes) -> dict[str, Any]:
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("no object")  # noqa: TRY004  like what is no JSON
    return said
