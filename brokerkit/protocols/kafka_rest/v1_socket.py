"""Following over a WebSocket, with credit and acknowledgement: the reader says how much it will take.

Everything that is said is a JSON object with a ``type``.  The broker sends no more records than it was given credit
for, so a reader is never sent what it cannot hold.  As a member of a group what is done with is acknowledged, which
commits it; without one, it reads topics from where it says.

The frames are wsproto's, with the bounds of ``brokerkit.deflate``; a message is text of at most a megabyte.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from brokerkit.deflate import Messages
from brokerkit.log.groups_words import GroupError
from brokerkit.log.words import LogError
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_problems import REFUSALS, problem
from brokerkit.protocols.kafka_rest.v1_shown import AUTO, ENCODINGS
from brokerkit.protocols.kafka_rest.v1_source import GroupSource, TopicSource
from brokerkit.web import Problem, read_json

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.protocols.kafka_rest.v1_sockets import Sockets
    from brokerkit.protocols.kafka_rest.v1_source import Source
    from brokerkit.web import Asked
    from brokerkit.web.sink import Sink

log = Logger()

MESSAGE = 1024 * 1024  # bytes of one message of the reader
CREDIT, MOST_CREDIT = 100, 1_000_000  # records
WAITING = 64  # messages of the reader that may wait for their turn; then it is not read from
STEP, STEP_BYTES = 500, 256 * 1024  # records and bytes in one message
BEAT = 30.0  # seconds between pings
STALL = 30.0  # seconds that a reader may take nothing
LOGIN = 10.0  # seconds within which it has to say who it is, where nobody may be nobody
_KINDS = ("topics", "group", "member", "offset", "credit", "encoding", "start", "patterns", "session_timeout")


class Socket:
    """One WebSocket."""

    def __init__(self, sockets: Sockets, asked: Asked, credit: int, encoding: str, *, deflate: bool) -> None:
        """Begin with that much credit."""
        self.here = sockets.here
        self.groups = sockets.groups
        self.waiting = sockets.waiting
        self.client: Client | None = None
        self.credit = credit
        self.encoding = encoding
        self._sockets = sockets
        self._asked = asked
        self._clock: Any = self.here.clock
        self._frames: FrameProtocol | None = FrameProtocol(False, [Messages(MESSAGE, deflate=deflate)])
        self._sink: Sink | None = None
        self._text: list[str] = []
        self._orders: deque[dict[str, Any]] = deque()
        self._obeying = False
        self._source: Source | None = None
        self._sending = False
        self._room: Deferred[None] | None = None
        self._credited: Deferred[None] | None = None
        self._alarms: dict[str, Any] = {}

    # -- beginning and end --------------------------------------------------------------------------------------------

    async def log_in(self, shown: bytes | None = None) -> None:
        """Be somebody; raise ``Problem`` 401."""
        client = await self.here.who.stay(self._asked, self._ended, shown)
        former, self.client = self.client, client
        client.changed = self._changed
        if former is not None:
            _leave(former)
        if self._sink is None and self._frames is None:  # it has gone meanwhile
            _leave(client)

    def _ended(self, why: str) -> None:
        self.close(CloseReason.POLICY_VIOLATION, why)

    def _changed(self) -> None:
        """End what may not be read any more."""
        if self._source is not None and self.client is not None:
            try:
                self._source.see(self.client)
            except Problem as refused:
                self.close(CloseReason.POLICY_VIOLATION, refused.title)

    def start(self, sink: Sink) -> None:
        """Write there."""
        self._sink = sink
        sink.room, sink.lost = self._has_room, self.leave
        user = None if self.client is None else self.client.user.name.decode(errors="replace")
        self.say({"type": "hello", "user": user, "credit": self.credit})
        self._alarm("beat", BEAT, self._beat)
        if self.client is None:
            self._alarm("login", LOGIN, self._late)

    def _late(self) -> None:
        if self.client is None:
            self.close(CloseReason.POLICY_VIOLATION, "nobody has logged in")

    def _beat(self) -> None:
        if self._frames is not None and self._sink is not None and not self._sink.full:
            self._sink.write(bytes(self._frames.ping()))
        self._alarm("beat", BEAT, self._beat)

    def _alarm(self, name: str, seconds: float, call: Any) -> None:  # noqa: ANN401  a function
        self._quiet(name)
        if self._sink is not None:
            self._alarms[name] = self._clock.callLater(seconds, call)

    def _quiet(self, name: str) -> None:
        alarm = self._alarms.pop(name, None)
        if alarm is not None and alarm.active():
            alarm.cancel()

    def close(self, code: int, why: str) -> None:
        """Say goodbye, and why, and hang up."""
        frames, sink = self._frames, self._sink
        if sink is not None and frames is not None and not sink.full:
            sink.write(bytes(frames.close(code, why[:100])))
        self.leave()
        if sink is not None:
            sink.finish()

    def leave(self) -> None:
        """Forget everything: the connection is gone, or is about to be."""
        for name in list(self._alarms):
            self._quiet(name)
        self._sink = self._frames = None
        self._orders.clear()
        client, self.client = self.client, None
        if client is not None:
            _leave(client)
        source, self._source = self._source, None
        if source is not None:
            source.stop()
        self._wake()
        self._sockets.forget(self)

    # -- what the reader says -----------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what has come."""
        frames = self._frames
        if frames is None:
            return
        frames.receive_bytes(data)
        try:
            for frame in frames.received_frames():
                if self._frames is None:
                    return
                self._take(frame)
        except ParseFailed as error:
            self.close(error.code, str(error))

    def _take(self, frame: Any) -> None:  # noqa: ANN401  a Frame
        if frame.opcode is Opcode.PING:
            if self._sink is not None and self._frames is not None and not self._sink.full:
                self._sink.write(bytes(self._frames.pong(frame.payload)))
        elif frame.opcode is Opcode.CLOSE:
            code = frame.payload[0]
            self.close(CloseReason.NORMAL_CLOSURE if code == CloseReason.NO_STATUS_RCVD else code, "")
        elif frame.opcode is Opcode.BINARY:
            self.close(CloseReason.UNSUPPORTED_DATA, "expected JSON as text")
        elif frame.opcode is not Opcode.PONG:
            self._text.append(frame.payload)
            if frame.message_finished:
                text, self._text = "".join(self._text), []
                self._order(text)

    def _order(self, text: str) -> None:
        try:
            order = asking.an_object(read_json(text), "a message")
        except Problem as refused:
            self.complain(refused, None)
            return
        if len(self._orders) >= WAITING:
            self.close(CloseReason.POLICY_VIOLATION, "too many messages wait for their turn")
            return
        self._orders.append(order)
        if not self._obeying:
            self._obeying = True
            Deferred.fromCoroutine(self._obey()).addErrback(self._broken)

    async def _obey(self) -> None:
        """Do what was asked, in order."""
        try:
            while self._orders:
                order = self._orders.popleft()
                try:
                    await self._do(order)
                except Problem as refused:
                    self.complain(refused, order)
                except REFUSALS as error:
                    self.complain(problem(error), order)
        finally:
            self._obeying = False

    async def _do(self, order: dict[str, Any]) -> None:
        kind = order.get("type")
        if kind == "login":
            await self._log_in_again(order)
            return
        if self.client is None:
            raise Problem(401, "Unauthenticated", 'send {"type": "login", "authorization": "Bearer ..."} first')
        if kind == "credit":
            self._give_credit(asking.whole_of(order, "records", None, 0, MOST_CREDIT))
        elif kind == "follow":
            await self._follow(order, self.client)
        elif kind == "ack":
            await self._acknowledge(order)
        elif kind == "stop":
            self._stop()
            self._answer(order, {"type": "stopped"})
        elif kind == "ping":
            self._answer(order, {"type": "pong"})
        else:
            raise asking.bad("type: expected login, follow, credit, ack, stop or ping")

    async def _log_in_again(self, order: dict[str, Any]) -> None:
        from brokerkit.protocols.kafka_rest.who import normal

        self._stop()
        await self.log_in(normal(asking.text_of(order, "authorization").encode()))
        self._quiet("login")
        if self.client is not None:
            self._answer(order, {"type": "hello", "user": self.client.user.name.decode(errors="replace")})

    async def _follow(self, order: dict[str, Any], client: Client) -> None:
        self._stop()
        asking.only(order, "follow", "type", "id", *_KINDS)
        self.encoding = order.get("encoding", self.encoding)
        if self.encoding not in ENCODINGS:
            self.encoding = AUTO
            raise asking.bad(f"encoding: expected {' or '.join(ENCODINGS)}")
        if "group" in order:
            source: Source = await GroupSource.begin(self, order, client, self._asked.address)
        else:
            source = TopicSource.begin(self, order, client)
        if self._frames is None:
            source.stop()
            return
        self._source = source
        self._answer(order, {"type": "following", **source.said()})
        if "credit" in order:
            self._give_credit(asking.whole_of(order, "credit", None, 0, MOST_CREDIT))
        self._send()

    async def _acknowledge(self, order: dict[str, Any]) -> None:
        if self._source is None:
            raise asking.bad("ack: nothing is followed")
        asking.only(order, "ack", "type", "id", "offsets", "credit")
        if "offsets" in order:
            await self._source.acknowledge(order)
        if "credit" in order:
            self._give_credit(asking.whole_of(order, "credit", None, 0, MOST_CREDIT))
        self._answer(order, {"type": "acknowledged"})

    def _stop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.stop()
        self._wake()

    def _give_credit(self, records: int) -> None:
        self.credit = min(MOST_CREDIT, self.credit + records)
        self._wake()
        self._send()

    # -- what is said to the reader -----------------------------------------------------------------------------------

    def say(self, what: dict[str, Any]) -> None:
        """Send something small."""
        self._write(json.dumps(what))

    def _answer(self, order: dict[str, Any], what: dict[str, Any]) -> None:
        self.say({**what, "id": order["id"]} if "id" in order else what)

    def complain(self, refused: Problem, order: dict[str, Any] | None) -> None:
        """Say what is wrong with something that was asked."""
        what = {"type": "error", "status": refused.status, "title": refused.title, "detail": refused.detail}
        self._answer(order or {}, what)

    def _write(self, text: str) -> None:
        if self._frames is not None and self._sink is not None:
            self._sink.write(bytes(self._frames.send_data(text, fin=True)))

    def _send(self) -> None:
        if not self._sending and self._source is not None:
            self._sending = True
            Deferred.fromCoroutine(self._go_on()).addErrback(self._broken)

    async def _go_on(self) -> None:
        """Send records as long as there are some, with room and credit for them."""
        try:
            while (source := self._source) is not None and (sink := self._sink) is not None:
                if sink.full:
                    await self._wait_for_room()
                elif self.credit <= 0:
                    self._credited = Deferred()
                    await self._credited
                else:
                    await self._step(source)
        finally:
            self._sending = False

    async def _step(self, source: Source) -> None:
        try:
            count, text = await source.read(min(self.credit, STEP), STEP_BYTES, self.encoding)
        except (LogError, GroupError) as error:
            if self._source is source:
                self.complain(problem(error), None)
                self._stop()
            return
        except Problem as refused:
            if self._source is source:
                self.complain(refused, None)
                self._stop()
            return
        if text and self._source is source:
            self.credit -= count
            self._write(text)

    async def _wait_for_room(self) -> None:
        self._room = Deferred()
        self._alarm("stall", STALL, self._cut)
        try:
            await self._room
        finally:
            self._room = None
            self._quiet("stall")

    def _has_room(self) -> None:
        if self._room is not None and not self._room.called:
            self._room.callback(None)

    def _cut(self) -> None:
        self._sockets.cut += 1
        if self._sink is not None:
            self._sink.cut()

    def _wake(self) -> None:
        self._has_room()
        credited, self._credited = self._credited, None
        if credited is not None:
            credited.callback(None)

    def _broken(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        log.failure("a WebSocket is broken because of a bug", failure)
        self.close(CloseReason.INTERNAL_ERROR, "")


def _leave(client: Client) -> None:
    client.ended = client.changed = None
    client.leave()
