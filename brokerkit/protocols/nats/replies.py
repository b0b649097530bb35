"""The right to answer (``allow_responses``): a request that comes in opens its reply subject, for so long and so often.

Only the subscriptions of a client with that right have the framing that notes replies, so nobody else pays for it.
What is noted is bounded: of too many open requests the oldest can no longer be answered.  A reply that the client is
denied is opened as well, as nats-server has it: whoever writes ``deny = [">"]`` beside the right to answer means that
nothing else is published.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.client import Client
    from brokerkit.framing import Framing
    from brokerkit.grants import Responses
    from brokerkit.run import Batch

OPEN = 16384  # requests of one connection that can be answered at a time


class Replies:
    """The topics that one client may answer to now."""

    def __init__(self, right: Responses, clock: Callable[[], float]) -> None:
        """Begin with none; ``clock`` gives seconds."""
        self.right = right
        self._clock = clock
        self._open: OrderedDict[bytes, tuple[float, int]] = OrderedDict()  # when it came, how often it was answered

    def __len__(self) -> int:
        """Give the number of topics that are noted, some of them perhaps no longer open."""
        return len(self._open)

    def note(self, topic: bytes) -> None:
        """Open a topic, as if it had never been answered."""
        self._open[topic] = (self._clock(), 0)
        self._open.move_to_end(topic)
        if len(self._open) > OPEN:
            self._open.popitem(last=False)

    def opens(self, topic: bytes) -> bool:
        """Say whether an answer could be published there now."""
        noted = self._open.get(topic)
        if noted is None:
            return False
        came, answered = noted
        late = 0 < self.right.seconds < self._clock() - came
        if late or 0 < self.right.most <= answered:
            del self._open[topic]
            return False
        return True

    def use(self, topic: bytes) -> bool:
        """Say whether an answer may be published there, and count it."""
        if not self.opens(topic):
            return False
        came, answered = self._open[topic]
        self._open[topic] = (came, answered + 1)
        return True


class Noting:
    """A framing that notes the reply topics of what it spells; what one does not hear oneself is not noted."""

    def __init__(self, framing: Framing, replies: Replies, deaf_to: Client | None) -> None:
        """Spell as ``framing`` does; ``deaf_to`` is the client itself where it wants no echo."""
        self.frame = framing.frame
        self.head = framing.head
        self._pieces = framing.pieces
        self._replies = replies
        self._deaf_to = deaf_to

    def pieces(self, batch: Batch) -> Any:  # noqa: ANN401  whatever the framing makes
        """Give what the framing gives."""
        pieces = self._pieces(batch)
        if pieces is not None and batch.run.sender is not self._deaf_to:
            for message in batch:
                if message.reply:
                    self._replies.note(message.reply)
        return pieces
