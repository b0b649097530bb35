"""How a protocol spells messages for its subscribers: frame = head + tail.

The *head* is what is the subscriber's own in a frame (its topic and tag); the rest is the same for all subscribers of
one framing and is made once for each batch (``pieces``).  ``frame`` puts the two together: for a framing that is text
before text this is ``bytes.join``, which sets the head between the pieces in one go, however many messages there are.

A framing that cannot spell a topic (``head``) or a batch (``pieces``) gives ``None``.  It is then not written, and the
router counts it: nothing that came in by one protocol can forge a frame of another.

Runs of places in a chunk (``brokerkit.run.Scanned``) may have a ``form``.  A framing that has the very same one says:
to the messages of those runs the head is all that is added, and what follows the place where a batch is cut is
sent as it stands in the chunk.  It has two more attributes then.  ``headed`` is what stands before the head of a
message with headers, or ``None`` if these have to be made.  ``around`` is ``(a, b, c)`` if the head of a topic that
such a run brought is always ``a + name + b + tag + c``, the name being the topic without its prefix, or ``None``.  The
compiled message path is fast for those alone; whoever has no ``form`` is called as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.run import Batch


class Framing(Protocol):
    """What the router needs of a protocol; ``Pieces`` are the framing's own business."""

    @property
    def frame(self) -> Callable[[Any, Any], bytes]:
        """Make the bytes of a whole batch of a head and the batch's pieces."""

    def head(self, topic: bytes, tag: bytes) -> Any:  # noqa: ANN401  a head is whatever `frame` takes
        """Give what is the same in all frames on ``topic`` to subscribers with ``tag``; ``None``: cannot be spelled."""

    def pieces(self, batch: Batch) -> Any:  # noqa: ANN401  pieces are whatever `frame` takes
        """Give what all subscribers share; ``None``: this batch cannot be spelled."""


class Rendering:
    """The simple way to a framing: one pure function ``render(batch, tag) -> bytes``.

    An empty answer means that the batch cannot be spelled.
    """

    def __init__(self, render: Callable[[Batch, bytes], bytes]) -> None:
        """Take the function."""
        self._render = render

    def frame(self, tag: bytes, batch: Batch) -> bytes:
        """Render the batch for one tag."""
        return self._render(batch, tag)

    def head(self, topic: bytes, tag: bytes) -> bytes:  # noqa: ARG002  any topic can be tried
        """Give the tag: subscribers with the same one share what is rendered."""
        return tag

    def pieces(self, batch: Batch) -> Batch:
        """Give the batch itself."""
        return batch
