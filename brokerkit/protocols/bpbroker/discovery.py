"""Discovery: whoever asks by UDP whether a name is in the registry is told so, if it may ask, and else hears nothing.

The original's question is the name alone, and its answer eleven bytes that anybody could send.  The second version
(``brokerkit.protocols.bpbroker.signed``) is signed and says how to know the broker.  Neither is ever longer than its
question by more than a few bytes, nobody outside the neighbourhood is answered, and nobody is answered often: the
address of a sender is easily forged, and then the answers go to somebody who has not asked.

What is remembered of senders is bounded, and only those who ask for what is there are remembered at all, so that a
flood costs a look-up for each datagram and no memory.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import DatagramProtocol

from brokerkit.entrance import is_within, without_mapping
from brokerkit.protocols.bpbroker import signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.entrance import Network

FOUND = b"Key Exists\n"
LARGEST = 8192  # bytes of a datagram, as the original reads it; of a larger one nothing is believed
SENDERS = 4096  # that are remembered
BURST = 2.0  # seconds for which answers may be saved up
SLACK = 0.001  # seconds: of the time of day as a float, the last digits are not to be trusted
ALL = 1000  # answers in a second, to all together


class Rate:
    """So many answers in a second: to each address, and to all together."""

    def __init__(self, clock: Any, each: float, everybody: float = ALL) -> None:  # noqa: ANN401  any clock
        """Take the numbers; a burst of twice as many is let through."""
        self._clock = clock
        self._cost = 1 / each if each else float("inf")
        self._cost_of_all = 1 / everybody
        self._paid: OrderedDict[str, float] = OrderedDict()  # → when nothing is owed any more
        self._paid_by_all = 0.0

    def __len__(self) -> int:
        """Give the number of addresses that are remembered."""
        return len(self._paid)

    def admits(self, address: str) -> bool:
        """Say whether one more answer may go there; if so, it counts."""
        now = self._clock.seconds()
        mine = self._after(self._paid.get(address, now), now, self._cost)
        everybody = self._after(self._paid_by_all, now, self._cost_of_all)
        if max(mine, everybody) - now > BURST + SLACK:
            return False
        self._paid_by_all = everybody
        self._paid[address] = mine
        self._paid.move_to_end(address)
        if len(self._paid) > SENDERS:
            self._paid.popitem(last=False)
        return True

    def _after(self, paid: float, now: float, cost: float) -> float:
        """Give when all is paid with one more; a clock that was set back is forgiven."""
        return (paid if now < paid <= now + BURST + cost else now) + cost


class Discovery:
    """Decides what is answered; the sockets hand it what came.

    ``counts`` are datagrams by what became of them, a fixed few words.
    """

    def __init__(
        self,
        is_there: Callable[[str], bool],
        networks: tuple[Network, ...],
        rate: Rate,
        answers: signed.Answers | None = None,
    ) -> None:
        """Ask ``is_there`` about names; ``answers`` answers the second version, if there is a key for it."""
        self._is_there = is_there
        self._networks = networks
        self._rate = rate
        self._answers = answers
        self.counts: Counter[str] = Counter()

    def answer(self, datagram: bytes, host: str) -> bytes:
        """Give what is answered to a datagram from there; nothing for silence."""
        word, answer = self._decide(datagram, without_mapping(host.partition("%")[0]))
        self.counts[word] += 1
        return answer

    def _decide(self, datagram: bytes, host: str) -> tuple[str, bytes]:
        if len(datagram) > LARGEST:
            return "too-large", b""
        if not is_within(host, self._networks):
            return "network", b""
        if datagram.startswith(signed.BEGIN):
            answer = self._answers.answer(datagram) if self._answers is not None else b""
        else:
            answer = FOUND if self._knows(datagram) else b""
        if not answer:
            return "unknown", b""
        return ("answered", answer) if self._rate.admits(host) else ("rate", b"")

    def _knows(self, datagram: bytes) -> bool:
        """Say whether the question of the original is for a name that is there; blanks around it do not count."""
        try:
            return self._is_there(datagram.strip(BLANKS).decode())
        except UnicodeDecodeError:
            return False


BLANKS = b" \t\n\r\x0b\x0c"  # what Python 2 strips


class Ears(DatagramProtocol):
    """One socket of discovery; answers go out by ``mouth``, which is another one where this cannot send."""

    noisy = False

    def __init__(self, discovery: Discovery) -> None:
        """Hand to that what comes."""
        self._discovery = discovery
        self.mouth: Ears = self

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        """Answer, or not."""
        answer = self._discovery.answer(datagram, addr[0])
        transport = self.mouth.transport
        if answer and transport is not None:
            try:
                transport.write(answer, addr)
            except OSError:  # no way back to a forged address
                self._discovery.counts["unsent"] += 1
