"""What pages of other origins may do here (the Fetch standard's CORS): ask, if their origin is among those named.

Nobody is logged in by a cookie, so nothing is allowed to be sent by itself (no ``Allow-Credentials``): a page has to
know a token or a password, and shows it in ``Authorization``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.upgrade import origin_of, read_origins

if TYPE_CHECKING:
    from brokerkit.web import Answer, Stream
    from brokerkit.web.head import Headers

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS = (
    "Authorization, Content-Type, Content-Encoding, Accept, If-None-Match, Last-Event-ID, Idempotency-Key, "
    "Producer-Id, Producer-Epoch, Producer-Sequence, X-Message-Headers, X-Request-Id"
)
EXPOSED = (
    "Cursor, ETag, Link, Location, Retry-After, X-Kafka-Partition, X-Message-Offset, X-Message-Headers, X-Message-Ts, "
    "X-Message-Ts-Type, X-High-Wm-Offset, X-Request-Id, Record-Offset, Record-Partition, Record-Timestamp, Record-Null"
)
FRESH = "600"  # seconds that a browser may remember what it was told


class Cors:
    """The origins of one listener."""

    def __init__(self, origins: tuple[str, ...], where: str) -> None:
        """Allow those origins, ``*`` for all; raise ``ConfigError``."""
        self.origins = read_origins(origins, where)
        self.allows_all = "*" in origins

    @property
    def allows_some(self) -> bool:
        """Whether there is any origin that may ask."""
        return self.allows_all or bool(self.origins)

    def finish(self, answer: Answer | Stream, asked: Headers) -> Answer | Stream:
        """Give an answer with what a browser wants to see of it."""
        found = asked.get(b"origin")
        if not found:
            return answer
        headers = {**answer.headers, **self._said(found[-1].decode("latin-1"), asked)}
        if not self.allows_all:
            vary = answer.headers.get("vary", "")
            headers["vary"] = f"{vary}, origin" if vary else "origin"
        return attrs.evolve(answer, headers=headers)

    def _said(self, origin: str, asked: Headers) -> dict[str, str]:
        if not self.allows_all and origin_of(origin) not in self.origins:
            return {}
        said = {"access-control-allow-origin": "*" if self.allows_all else origin}
        if b"access-control-request-method" in asked:
            return {
                **said,
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": HEADERS,
                "access-control-max-age": FRESH,
            }
        return {**said, "access-control-expose-headers": EXPOSED}
