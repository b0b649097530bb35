"""Confluent's errors: a status, and a code that says more, ``{"error_code": 40401, "message": ...}``.

The code is the status, or the status with two digits behind it.  Source: Confluent's REST Proxy API reference.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brokerkit.errors import NotAllowed, OverAllowance
from brokerkit.log.groups_words import (
    Fenced,
    Full,
    GroupError,
    InUse,
    NotOwner,
    Unfit,
    UnknownGroup,
    UnknownMember,
)
from brokerkit.log.words import (
    Busy,
    LogError,
    NoRoom,
    TooLarge,
    UnknownPartition,
    UnknownTopic,
    Unusable,
)
from brokerkit.web import Problem, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerkit.web import Answer

UNAUTHENTICATED = 40101
FORBIDDEN = 40301
NO_TOPIC = 40401
NO_PARTITION = 40402
NO_INSTANCE = 40403
FORMAT_MISMATCH = 40601
EXISTS = 40902
ILLEGAL_STATE = 40903
BAD_SETTING = 42204
FAILED = 50002
TRY_AGAIN = 50003

_PLAIN = "application/vnd.kafka.v2+json"
_BY_STATUS = {401: UNAUTHENTICATED, 403: FORBIDDEN}
AGAIN = "5"  # seconds after which what could not be done may be tried again
_OF_LOG: tuple[tuple[type[LogError], int, int, str], ...] = (
    (UnknownTopic, NO_TOPIC, 0, "Topic not found: "),
    (UnknownPartition, NO_PARTITION, 0, "Partition not found: "),
    (TooLarge, 413, 0, ""),
    (Unusable, 422, 0, ""),
    (NoRoom, FAILED, 507, ""),
)
_LONGEST = 1000  # status codes have three digits, error codes five


class Refused(Problem):
    """A problem that knows its code."""

    code: int = 0

    def answer(self) -> Answer:
        """Give it in Confluent's shape."""
        return shown(self)


def refused(code: int, message: str, headers: Mapping[str, str] | None = None, status: int = 0) -> Refused:
    """Give the problem of a code; its status is within the code, unless it is another."""
    problem = Refused(status or (code if code < _LONGEST else code // 100), message, headers=headers)
    problem.code = code
    return problem


def shown(problem: Problem, kind: str = _PLAIN) -> Answer:
    """Give any problem in Confluent's shape."""
    code = getattr(problem, "code", 0) or _BY_STATUS.get(problem.status, problem.status)
    message = f"{problem.title}: {problem.detail}" if problem.detail else problem.title
    return json_answer(
        {"error_code": code, "message": message}, problem.status, {"content-type": kind, **problem.headers}
    )


@contextmanager
def in_its_words() -> Iterator[None]:
    """Have what the log or a group does not do told in Confluent's words."""
    try:
        yield
    except NotAllowed as error:
        raise refused(FORBIDDEN, str(error)) from None
    except OverAllowance as error:
        raise refused(413, str(error)) from None
    except LogError as error:
        raise of_log(error) from None
    except GroupError as error:
        raise of_group(error) from None


def of_log(error: LogError) -> Refused:
    """Give the problem of what the log did not do."""
    if isinstance(error, Busy):
        return refused(TRY_AGAIN, str(error), {"retry-after": str(max(1, math.ceil(error.retry_after)))}, 503)
    for kind, code, status, words in _OF_LOG:
        if isinstance(error, kind):
            return refused(code, words + str(error), status=status)
    return refused(TRY_AGAIN, str(error), {"retry-after": AGAIN}, 503)


def of_group(error: GroupError) -> Refused:
    """Give the problem of what a group did not do."""
    if isinstance(error, Fenced | InUse | UnknownMember | UnknownGroup):
        return refused(ILLEGAL_STATE, f"Illegal state: {error}")
    if isinstance(error, NotOwner):
        return refused(FORBIDDEN, str(error))
    if isinstance(error, Full):
        return refused(503, str(error), {"retry-after": "60"})
    if isinstance(error, Unfit):
        return refused(422, str(error))
    return refused(500, str(error))
