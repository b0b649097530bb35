"""What happens to every answer, whichever API gives it: what browsers want to see is added, and who asked pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.web import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.protocols.kafka_rest.cors import Cors
    from brokerkit.protocols.kafka_rest.quotas import Quotas
    from brokerkit.web import Stream
    from brokerkit.web.connection import Connection
    from brokerkit.web.head import Headers


def finishing(cors: Cors, quotas: Quotas) -> Callable[[Answer | Stream, Headers, Connection], Answer | Stream] | None:
    """Give what a ``Site`` is to do last, ``None`` where there is nothing to do."""
    if not cors.allows_some and not quotas.bounds:
        return None

    def finish(answer: Answer | Stream, asked: Headers, connection: Connection) -> Answer | Stream:
        if quotas.bounds and isinstance(answer, Answer):
            quotas.spend(connection, len(answer.body))
        return cors.finish(answer, asked) if cors.allows_some else answer

    return finish
