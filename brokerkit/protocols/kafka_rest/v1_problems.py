"""What the log, the groups and the rights refuse, as problems (RFC 9457) that say what to do."""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING, Any

from brokerkit.errors import NotAllowed, OverAllowance
from brokerkit.keeping.service import TooFast
from brokerkit.log import groups_words as groups
from brokerkit.log import words
from brokerkit.web import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from brokerkit.web import Asked

AGAIN = "5"  # seconds after which what could not be done may be tried again
REFUSALS = (words.LogError, groups.GroupError, NotAllowed, OverAllowance)

_PLAIN: tuple[tuple[type[Exception], int, str], ...] = (
    (words.UnknownTopic, 404, "Not Found"),
    (words.UnknownPartition, 404, "Not Found"),
    (words.TopicExists, 409, "Conflict"),
    (words.TooLarge, 413, "Content Too Large"),
    (words.WrongSequence, 409, "Wrong Sequence"),
    (words.Unusable, 400, "Not usable"),
    (words.NoRoom, 507, "Insufficient Storage"),
    (groups.UnknownGroup, 404, "Not Found"),
    (groups.UnknownMember, 404, "Not Found"),
    (groups.NotOwner, 403, "Forbidden"),
    (groups.Fenced, 409, "Fenced"),
    (groups.InUse, 409, "Conflict"),
    (groups.Unfit, 400, "Bad request"),
    (groups.Full, 507, "Insufficient Storage"),
    (OverAllowance, 413, "Content Too Large"),
    (NotAllowed, 403, "Forbidden"),
)


def problem(error: Exception) -> Problem:
    """Give what is answered where something was refused."""
    if isinstance(error, words.Busy):
        return _later(error)
    if isinstance(error, words.OutOfRange):
        return Problem(416, "Offset Out Of Range", str(error), first=error.first, next=error.next)
    if isinstance(error, words.WrongSequence) and error.expected is not None:
        return Problem(409, "Wrong Sequence", str(error), expected=error.expected)
    for kind, status, title in _PLAIN:
        if isinstance(error, kind):
            return Problem(status, title, str(error))
    if isinstance(error, words.Unwritable):
        return Problem(503, "Service Unavailable", str(error), headers={"retry-after": AGAIN})
    raise error


def _later(error: words.Busy) -> Problem:
    status, title = (429, "Too Many Requests") if isinstance(error, TooFast) else (503, "Busy")
    return Problem(status, title, str(error), headers={"retry-after": str(max(1, math.ceil(error.retry_after)))})


def told(call: Callable[[Asked], Coroutine[Any, Any, Any]]) -> Callable[[Asked], Coroutine[Any, Any, Any]]:
    """Give the same call, which answers with a problem where something is refused."""

    @wraps(call)
    async def telling(asked: Asked) -> Any:  # noqa: ANN401  an answer
        try:
            return await call(asked)
        except REFUSALS as error:
            raise problem(error) from None

    return telling
