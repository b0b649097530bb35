"""What the message path reads and writes of a run, a route and a subscription, and nothing of what they do.

Each of these is what the class of that name stands on.  They are by themselves because they have compiled twins, in
which the fields are machine words and arrays: the compiled message path reaches them without asking Python, and the
classes above stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.compiled import twin

if TYPE_CHECKING:
    from brokerkit.framing import Framing
    from brokerkit.grants import Grants
    from brokerkit.outbox import Outbox
    from brokerkit.run import Origin
    from brokerkit.subscription import Subscription


@twin
class Places:
    """Where messages stand in a chunk, one behind the other, and where batches of them begin.

    ``starts`` are offsets in the chunk, one for each message, and ``end`` is where the last one ends.  ``topics`` and
    ``cuts`` have one entry for each batch: its topic, and the index of its first message.  ``form`` is the same object
    for all runs whose messages subscribers of some framing can be sent as they stand (see ``Framing``).  ``asking``:
    there may be a message that says where its answer is to go.
    """

    __slots__ = ("asking", "chunk", "cuts", "end", "form", "name", "origin", "sender", "starts", "topics")

    asking: bool
    chunk: bytes
    cuts: list[int]
    end: int
    form: object
    name: bytes
    origin: Origin
    sender: object
    starts: list[int]
    topics: list[bytes]

    def __init__(self) -> None:
        """Begin with none."""
        self.form = None
        self.asking = False
        self.end = 0
        self.starts = []
        self.topics = []
        self.cuts = []
        self.chunk = b""

    def __len__(self) -> int:
        """Give the number of messages."""
        return len(self.starts)

    def ending(self, index: int) -> int:
        """Give where the message at ``index`` ends."""
        following = index + 1
        return self.starts[following] if following < len(self.starts) else self.end

    def empty(self) -> None:
        """Forget all places, and the chunk."""
        self.chunk = b""
        self.topics.clear()
        self.cuts.clear()
        self.starts.clear()


@twin
class Leads:
    """Whether a route is still true: it is not if it is ``stale``, or if the router is at another ``generation``.

    The compiled twin keeps here, too, what it has worked out from the rest of the route.
    """

    __slots__ = ("generation", "stale")

    generation: int
    stale: bool


@twin
class Receiver:
    """Who receives: where it is put, how it is spelled, what is special about it, and what is counted.

    ``keeps`` has a ``Held`` for topics whose payloads it wants held.
    """

    __slots__ = (
        "alive",
        "filter",
        "framing",
        "keeps",
        "left",
        "messages",
        "mute",
        "origin",
        "original",
        "outbox",
        "queue",
        "tag",
    )

    alive: bool
    filter: Grants | None
    framing: Framing | None
    keeps: dict[bytes, Any]
    left: int
    messages: int
    mute: object
    origin: Origin
    original: Subscription | None
    outbox: Outbox | None
    queue: bytes
    tag: bytes
