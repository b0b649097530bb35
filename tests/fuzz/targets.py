"""What a fuzzer calls with bytes, for the memory of the compiled code and for what it does.

``scan-nats``, ``scan-hpfeeds`` and ``walk`` (a scan and its delivery) do as little else as there can be, so that
millions of inputs are tried: it is the sanitizer that looks.  ``nats``, ``hpfeeds`` and ``deliver`` take the same
inputs, do the same with the pure code and compare: where messages stand and what they are, and every byte that
subscribers are sent; what the others have found interesting is run through them.  Both variants are in one process: the
pure scan is what a wire does without a scanner, the pure delivery is ``deliver_plainly``.

Nothing here is imported from the tests, since a fuzzer runs it by its path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit import compiled, deliver
from brokerkit.errors import ClientError
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.pile import Pile
from brokerkit.protocols.hpfeeds import wire as hpfeeds_wire
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.protocols.nats import wire as nats_wire
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.router import Gate, Router
from brokerkit.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.run import Batch, Run

MAX_PAYLOAD, MAX_LINE = 300, 64
STEPS = 64  # scans of one input
OWN = b"me"


def _pure(shared: Any) -> Any:
    """Take the compiled scanner from what the connections of a listener share."""
    shared.scanner = None
    return shared


_SPELLINGS = {
    prefix: (
        _pure(nats_wire.Spellings(prefix, MAX_PAYLOAD, MAX_LINE)),
        nats_wire.Spellings(prefix, MAX_PAYLOAD, MAX_LINE),
    )
    for prefix in (b"", b"a.b")
}
_CHANNELS = {prefix: (_pure(hpfeeds_wire.Channels(prefix)), hpfeeds_wire.Channels(prefix)) for prefix in (b"", b"a.b")}


def _parts(data: bytes) -> tuple[int, list[bytes]]:
    """Cut an input: what it chooses, and the chunks that a connection would read."""
    if not data:
        return 0, []
    choice, rest = data[0], data[1:]
    if choice & 1 or not rest:
        return choice, [rest]
    at = rest[0] * (len(rest) // 64 + 1)
    return choice, [rest[1 : 1 + at], rest[1 + at :]]


def nats(data: bytes) -> None:
    """Scan NATS."""
    choice, chunks = _parts(data)
    pair = [nats_wire.Wire(spellings) for spellings in _SPELLINGS[b"a.b" if choice & 2 else b""]]
    for wire in pair:
        wire.headers = bool(choice & 4)
    _scan(pair, chunks)


def hpfeeds(data: bytes) -> None:
    """Scan hpfeeds."""
    choice, chunks = _parts(data)
    prefix = b"a.b" if choice & 2 else b""
    pair = [hpfeeds_wire.Wire(prefix, channels) for channels in _CHANNELS[prefix]]
    for wire in pair:
        wire.own(OWN if choice & 4 else b"")
    _scan(pair, chunks)


def _scan(pair: list[Any], chunks: list[bytes]) -> None:
    """Have two wires read the same, and compare."""
    for chunk in chunks:
        for wire in pair:
            wire.feed(chunk)
        for _ in range(STEPS):
            one, other = (_step(wire) for wire in pair)
            assert one == other, (one, other)
            if one is None or one[0] == "refused":
                break
        if one is not None and one[0] == "refused":
            break
        for wire in pair:
            wire.settle()


def _step(wire: Any) -> Any:
    """Have a wire give what stands next, and say everything about it."""
    try:
        run = wire.scan()
        if run is None:
            item = wire.next()
            return None if item is None else ("item", item, wire.pos)
    except ClientError as error:
        return "refused", repr(error), error.reply
    count = len(run)
    found = (
        *("run", wire.pos, run.end, count, list(run.starts), list(run.cuts), list(run.topics)),
        [run[i] for i in range(count)],
        [run.ending(i) for i in range(count)],
        [(batch.topic, batch.start, batch.stop, batch.headed) for batch in run.batches()],
    )
    run.clear()
    assert not len(run)
    return found


# -- delivery ---------------------------------------------------------------------------------------------------------


class Turn:
    """What a pile touches of a turn."""

    def __init__(self) -> None:
        """Begin."""
        self.touched: list[Any] = []


class Box(Pile):
    """An outbox that keeps what a turn has put there, and gives up where it is too much."""

    def __init__(self, turn: Turn) -> None:
        """Begin."""
        super().__init__(turn, 40_000, 20_000)  # type: ignore[arg-type]  # all that it touches
        self.given_up = 0

    def abort(self, why: str) -> None:  # noqa: ARG002
        """Throw everything away."""
        self.take()
        self.pending = 0
        self.open = False
        self.given_up += 1

    def said(self) -> tuple[bytes, int, bool, int]:
        """Give all of it, and begin anew."""
        heard = b"".join(bytes(piece) for piece in self.take())
        answer = heard, self.pending, self.open, self.given_up
        self.pending = 0
        self.open = True
        return answer


class _Dice:
    """The compiled heart's choice among the members of a queue group, for the pure one."""

    state = 1

    def __call__(self, most: int) -> int:
        """Give a number below ``most``."""
        state = self.state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self.state = state
        return state % most


_FRAMINGS = (
    nats_framing(b"", headers=True),
    nats_framing(b"", headers=False),
    nats_framing(b"a", headers=True),
    hpfeeds_framing(b""),
    hpfeeds_framing(b"a"),
)
_PATTERNS = (b"a", b"a.b", b"b", b"a.*", b"*.b", b"a.>", b">", b"cc", b"b.*.a", b"a.b.cc", b"a.a", b"b.>")
_GRANTS = (ALL, Grants({PUBLISH: Access(patterns([b"a.>", b"b"]), patterns([b"a.a"])), SUBSCRIBE: Access()}))


class Room:
    """Subscribers, and one who publishes by NATS or hpfeeds."""

    def __init__(self, choice: bytes, wires: tuple[Any, Any], how: Callable[[Run, Gate], int]) -> None:
        """Have subscribers come in, as the choice says: three bits of it for each of what there is to choose."""
        self.how = how
        self.wires = wires
        self.told: list[Any] = []
        self.run: Any = None
        self.router = Router()
        self.turn = Turn()
        self.boxes = [Box(self.turn) for _ in range(3)]
        self.me = object()
        self.subscriptions = [self._subscription(byte, i) for i, byte in enumerate(choice)]
        for one in self.subscriptions:
            self.router.add(one)
        unheard = self._unheard if len(choice) % 2 else None
        self.gate = Gate(self.router, _GRANTS[len(choice) % 7 == 0], self._refused, unheard)

    def _subscription(self, byte: int, i: int) -> Subscription:
        pattern, rest = _PATTERNS[byte % len(_PATTERNS)], byte // len(_PATTERNS)
        framing = _FRAMINGS[(rest + i) % len(_FRAMINGS)]
        one = Subscription(pattern, literal=False, outbox=self.boxes[i % 3], framing=framing, tag=b"%d" % i)  # type: ignore[arg-type]
        kind = rest % 7
        if kind == 1:
            one.mute = self.me
        elif kind == 2:
            one.left = 2
        elif kind in {3, 4}:
            one.queue = b"q"
        elif kind == 5:
            one.outbox = one.framing = None
            one.receive = self._meddler(one, i)
        return one

    def _meddler(self, one: Subscription, i: int) -> Callable[[Batch], bool]:
        """Give a subscriber that is a function, and changes who is here, or clears the very run, as it is called."""

        def receive(batch: Batch) -> bool:
            self.told.append([batch.topic, *batch])
            if i % 4 == 0:
                self.router.remove(one)
            elif i % 4 == 1 and len(self.subscriptions) > 1:
                self.router.remove(self.subscriptions[0])
            elif i % 4 == 2:
                self.router.generation += 1
            return bool(i % 3)

        return receive

    def _refused(self, batch: Batch) -> bool:
        self.told.append(("refused", batch.topic, len(batch)))
        return len(self.told) % 5 != 0

    def _unheard(self, batch: Batch) -> None:
        """Note it, and have somebody come or go, once in a while: also in the middle of a batch."""
        self.told.append(("unheard", *batch))
        if len(self.told) % 3 == 0:
            one = self.subscriptions[-1]
            (self.router.remove if one.alive else self.router.add)(one)

    def hear(self, which: int, chunk: bytes) -> list[Any]:
        """Publish what stands in a chunk; say what everybody has heard."""
        wire = self.wires[which]
        wire.feed(chunk)
        passed = []
        for _ in range(STEPS):
            try:
                run = wire.scan()
                if run is None and wire.next() is None:
                    break
            except ClientError:
                wire.drop()
                break
            if run is not None:
                run.sender, run.name = self.me, OWN
                passed.append(self.how(run, self.gate))
                run.clear()
        wire.settle()
        self.turn.touched.clear()
        counts = [(one.messages, one.left, one.alive) for one in self.subscriptions]
        told, self.told = self.told, []
        router = self.router
        return [passed, [box.said() for box in self.boxes], counts, told, router.messages, router.unspellable]


def deliver_(data: bytes) -> None:
    """Deliver."""
    if len(data) < 3:
        return
    many, which = data[0] % 8, data[1] & 1
    choice, stream = data[2 : 2 + many], data[2 + many :]
    answers = [list(_heard(room, which, stream)) for room in _rooms(choice)]
    assert answers[0] == answers[1], answers


def _heard(room: Room, which: int, stream: bytes) -> Iterator[Any]:
    """Say the stream in two chunks, and begin the dice anew, since both rooms cast them."""
    compiled.heart.seed(1)
    deliver.randrange = _Dice() if room.how is deliver.deliver_plainly else compiled.heart.choose  # type: ignore[attr-defined]
    half = len(stream) // 2
    for chunk in (stream[:half], stream[half:]):
        yield room.hear(which, chunk)


def _rooms(choice: bytes) -> list[Room]:
    ways = (deliver.deliver_plainly, compiled.heart.deliver)
    return [Room(choice, _wires(number), way) for number, way in enumerate(ways)]


def _wires(number: int) -> tuple[Any, Any]:
    talker = nats_wire.Wire(_SPELLINGS[b""][number])
    talker.headers = True
    feeder = hpfeeds_wire.Wire(b"", _CHANNELS[b""][number])
    feeder.own(OWN)
    return talker, feeder


# -- only the compiled code -------------------------------------------------------------------------------------------


def _scan_nats(data: bytes) -> None:
    choice, chunks = _parts(data)
    shared = _SPELLINGS[b"a.b" if choice & 2 else b""][1]
    run = nats_wire.NatsRun(shared)
    for chunk in chunks:
        shared.scanner.scan(run, chunk, 0, bool(choice & 4))
        run.clear()


def _scan_hpfeeds(data: bytes) -> None:
    choice, chunks = _parts(data)
    shared = _CHANNELS[b"a.b" if choice & 2 else b""][1]
    run = hpfeeds_wire.HpfeedsRun(b"")
    own = hpfeeds_wire.short(OWN if choice & 4 else b"")
    for chunk in chunks:
        shared.scanner.scan(run, chunk, 0, own)
        run.clear()


_ROOMS: dict[bytes, Room] = {}
_KEPT = 512  # rooms that are used again, since it takes longer to furnish one than to deliver


def _walk(data: bytes) -> None:
    """Deliver what stands next, in a room that may have seen others."""
    if len(data) < 3:
        return
    many, which = data[0] % 8, data[1] & 1
    choice, stream = data[2 : 2 + many], data[2 + many :]
    room = _ROOMS.get(choice)
    if room is None:
        if len(_ROOMS) >= _KEPT:
            _ROOMS.clear()
        room = _ROOMS[choice] = Room(choice, _wires(1), compiled.heart.deliver)
    wire = room.wires[which]
    wire.feed(stream)
    run = wire.scan()
    wire.drop()
    if run is not None:
        run.sender = room.me
        room.how(run, room.gate)
        run.clear()
        for box in room.boxes:
            box.said()
        room.turn.touched.clear()
        room.told.clear()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "scan-nats": _scan_nats,
    "scan-hpfeeds": _scan_hpfeeds,
    "walk": _walk,
    "nats": nats,
    "hpfeeds": hpfeeds,
    "deliver": deliver_,
}
CORPUS = {"scan-nats": "nats", "scan-hpfeeds": "hpfeeds", "walk": "deliver"}  # of those that share one
