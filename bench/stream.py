"""A kept topic beside nats-server's JetStream: what is published without waiting, delivered, and kept.

JetStream writes to its files and has them synced every two minutes, where brokerkit's log has each commit synced: it is
measured as it comes.  With each write synced it keeps a few per cent of what it is sent here, and goes on to write for
so long that whoever is measured next pays for it.  What it has not kept it has dropped: a publisher who does not ask
for an answer is not told.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from bench.brokers import brokers
from bench.disk import STREAM, SYNC, file_system, stream, sync
from bench.kept import DELIVERIES, MISSING, SIZE, flooded, kept
from brokerkit.bench import cast
from brokerkit.bench.contest import contest
from brokerkit.bench.links import LIMIT
from brokerkit.bench.servers import hall
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

TOPICS = cast.TOPICS[:100]


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure one to one at full speed, on one topic and on many in turn."""
    seconds = 0.4 if options.quick else 1.5
    rows: list[Row] = []
    with hall(brokers(protocol)) as servers:
        for server in servers:
            if server.broker.name != "brokerkit" and not server.absent:
                _ask(server, b"$JS.API.STREAM.CREATE.bench", {"subjects": [topic.decode() for topic in TOPICS]})
        for topics in (1, len(TOPICS)):
            kind = "one topic" if topics == 1 else f"{topics} topics"
            chosen = TOPICS[:topics]
            rows += contest(
                f"1 → 1, {SIZE} B, kept, {kind}",
                [servers] * options.rounds,
                [DELIVERIES, MISSING],
                lambda server, chosen=chosen: flooded(server, chosen, seconds, _there),  # type: ignore[misc]
            )
        ours = [servers[:1]]
        rows += contest(f"the disk ({file_system()})", ours, [SYNC], lambda _: {SYNC: sync()})
        rows += contest(f"the disk ({file_system()})", ours * 3, [STREAM], lambda _: {STREAM: stream()})
    return rows


def _there(server: Server, topics: list[bytes]) -> int:
    """Give the number of messages that are kept."""
    if "kafka" in server.ports:
        return kept(server, topics)
    found: int = _ask(server, b"$JS.API.STREAM.INFO.bench", None)["state"]["messages"]
    return found


def _ask(server: Server, subject: bytes, request: dict[str, Any] | None) -> dict[str, Any]:
    """Ask JetStream for something; raise ``BenchError`` for its errors."""
    body = json.dumps({"name": "bench", "storage": "file", **request}).encode() if request is not None else b""
    with socket.create_connection(server.place, LIMIT) as sock, sock.makefile("rb") as lines:
        line = b"SUB answer 1\r\nPUB %b answer %d\r\n%b\r\n" % (subject, len(body), body)
        sock.sendall(b'CONNECT {"verbose":false}\r\n' + line)
        for said in lines:
            if said.startswith(b"MSG"):
                answer: dict[str, Any] = json.loads(lines.read(int(said.split()[-1])))
                if "error" in answer:
                    raise BenchError(f"{subject.decode()}: {answer['error']}")
                return answer
    raise BenchError(f"{server.broker.name} did not answer {subject.decode()}")
