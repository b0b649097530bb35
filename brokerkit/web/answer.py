"""What a call gives back: an answer, a stream, or a problem (RFC 9457).

Whatever text gets into the head of an answer, no line can be broken with it: control characters are left out here, once
for all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerkit.web.sink import Sink

JSON = "application/json"
PROBLEM = "application/problem+json"
_CONTROLS = dict.fromkeys((*range(32), 127))


@attrs.frozen
class Answer:
    """A whole answer; ``reason`` is the phrase of the status line, the usual one if it is empty.

    ``headers`` may have a content-type, which is JSON otherwise.  The length is said by itself.  With ``close`` the
    connection ends behind it.
    """

    status: int = 200
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    reason: str = ""
    close: bool = False


@attrs.frozen
class Stream:
    """An answer without an end: ``start`` is called with the ``Sink`` to write to when the head is sent.

    With ``receive`` the connection is HTTP no more (the status is 101): what comes goes there, and what is written goes
    out as it is.
    """

    start: Callable[[Sink], None]
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    reason: str = ""
    receive: Callable[[bytes], None] | None = None


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None, reason: str = "") -> Answer:
    """Give an answer of JSON, in ASCII."""
    return Answer(status, json.dumps(value).encode() + b"\n", headers or {}, reason)


class Problem(BrokerError):
    """A call ends with this as its answer: a status, a title that is always the same for it, and what is so here.

    ``more`` are further members; ``headers`` further headers.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401  any JSON
    ) -> None:
        """Take what the answer says."""
        super().__init__(f"{status} {title}: {detail}" if detail else f"{status} {title}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def answer(self) -> Answer:
        """Give it as problem+json."""
        body: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        return json_answer({**body, **self.more}, self.status, {"content-type": PROBLEM, **self.headers})


def in_one_line(text: str) -> bytes:
    """Give a text as it may stand in the head of an answer: no control characters, and what is not Latin-1 as ``?``."""
    return text.translate(_CONTROLS).encode("latin-1", "replace")
