"""How KastleX answers: what stands in every head, and ``{"error": text}`` for what cannot be answered as it was meant.

The text of an error is KastleX's where its users know one; what helps beyond that stands beside it as ``detail``.
"""

from __future__ import annotations

from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING

from brokerkit.errors import NotAllowed, TooLarge
from brokerkit.log.words import Busy, LogError, OutOfRange, UnknownPartition, UnknownTopic, Unusable, Unwritable
from brokerkit.log.words import TooLarge as RecordTooLarge
from brokerkit.protocols.kafka_rest.who import Nobody
from brokerkit.web import Problem, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.web import Answer, Asked

JSON = "application/json; charset=utf-8"
WRONG = "Something went wrong"
UNKNOWN = "unknown_topic_or_partition"
IN_ITS_WORDS = {401: "Unauthenticated", 403: "Unauthorized", 404: WRONG, 405: WRONG, 406: WRONG, 500: WRONG}
HERE = (b"/api/", b"/login", b"/admin/", b"/metrics", b"/favicon.ico")
CACHE = "max-age=0, private, must-revalidate"
SHORT, LONG = 20, 200  # characters of a request's id

_PREFIX = token_hex(6)
_numbers = count(1)


def is_kastlex(path: bytes) -> bool:
    """Say whether a path is one of KastleX's, whether there is a route for it or not."""
    return path.startswith(HERE)


def head(asked: Asked | None = None, content: str = JSON) -> dict[str, str]:
    """Give what stands in the head of every answer; an id that the request has is its answer's, too."""
    given = asked.headers.get(b"x-request-id") if asked is not None else None
    if given and SHORT <= len(given[-1]) <= LONG:
        request_id = given[-1].decode("latin-1")
    else:
        request_id = f"{_PREFIX}{next(_numbers):012x}"
    return {"cache-control": CACHE, "x-request-id": request_id, "content-type": content}


def refused(problem: Problem, headers: Mapping[str, str] | None = None) -> Answer:
    """Give the answer to a request that KastleX's API refuses."""
    status = 403 if isinstance(problem, Nobody) else problem.status  # whoever is not logged in may do nothing
    text = problem.more.get("error") or IN_ITS_WORDS.get(status) or problem.detail or problem.title
    body = {"error": text}
    if problem.detail not in {"", text}:
        body["detail"] = problem.detail
    return json_answer(body, status, {**(headers or head()), **problem.headers})


# What went wrong in the log or before it: the status, its title, and KastleX' text if it has one; the first that fits.
_PROBLEMS: tuple[tuple[tuple[type[Exception], ...], int, str, str], ...] = (
    ((UnknownTopic, UnknownPartition), 404, "Not Found", UNKNOWN),
    ((NotAllowed,), 403, "Forbidden", ""),
    ((TooLarge, RecordTooLarge), 413, "Content Too Large", "message_too_large"),
    ((OutOfRange,), 503, "Out Of Range", "offset_out_of_range"),
    ((Unusable,), 400, "Bad Request", ""),
    ((Busy,), 503, "Busy", "busy"),
    ((LogError,), 503, "Unavailable", ""),
)


def in_words(error: Exception) -> Problem:
    """Give what went wrong as KastleX says it; raise what is no answer."""
    for kinds, status, title, text in _PROBLEMS:
        if isinstance(error, kinds):
            after = getattr(error, "retry_after", 5.0)
            headers = {"retry-after": str(max(1, round(after)))} if isinstance(error, Unwritable) else {}
            return Problem(status, title, str(error), headers=headers, **({"error": text} if text else {}))
    raise error
