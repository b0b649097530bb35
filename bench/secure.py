"""What TLS costs one publisher and one subscriber, with NATS' own way into it: INFO first, then the handshake.

The generator encrypts and decrypts as much as the broker does, and both peers of the broker are one process: the
figures say less about a broker alone than those without TLS do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.brokers import secure_brokers
from bench.certificate import make_certificate
from brokerkit.bench import cast
from brokerkit.bench.contest import contest
from brokerkit.bench.secure import trusting
from brokerkit.bench.servers import hall
from brokerkit.bench.speak_nats import Nats
from brokerkit.bench.throughput import DELIVERIES, deliveries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.bench.contest import Measure, Options, Row
    from brokerkit.bench.servers import Server

SIZES = (128, 1024)


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure one to one, by payload."""
    if protocol != "nats":
        return []
    seconds = 0.2 if options.quick else 0.4
    tls = trusting(anybody=True)  # whoever answers: it is on loopback, and lives for seconds
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        certificate = make_certificate(Path(folder))
        with hall(secure_brokers(certificate)) as servers:
            for server in servers:
                server.speaking = lambda: Nats(tls=tls)
            for size in SIZES[: 1 if options.quick else None]:

                def measure(server: Server, size: int = size) -> Mapping[Measure, float]:
                    return deliveries(server, seconds, 1, size, 1)

                case = f"1 → 1 over TLS, {cast.size_name(size)}, one topic"
                rows += contest(case, [servers] * options.rounds, [DELIVERIES], measure)
    return rows
