"""Where a stream writes to: one connection that says when it is full, and when it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Sink(Protocol):
    """The rest of an answer.

    ``full`` says that the reader is behind: what is written then has to be kept in memory, so nothing should be.
    ``room`` is called when it is not any more, ``lost`` when the connection is gone, after which nothing is written.
    """

    full: bool
    room: Callable[[], None] | None
    lost: Callable[[], None] | None

    def write(self, data: bytes) -> None:
        """Write; does nothing when the connection is gone."""

    def finish(self) -> None:
        """End the answer, in order."""

    def cut(self) -> None:
        """End the connection at once; what is unsent is thrown away."""
