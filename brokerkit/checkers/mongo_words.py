"""What both ways to MongoDB share: how documents are decoded, and what an operator is told of errors."""

from __future__ import annotations

from typing import Any

import pymongo.errors
from bson import CodecOptions
from bson.codec_options import DatetimeConversion

from brokerkit.checkers.mongo_uri import COLLECTION, Refused
from brokerkit.errors import OperatorError

# A string that is not UTF-8, or a date far away, is then the trouble of its own document.
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="surrogateescape", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

NOT_ALLOWED = frozenset({8000, 13, 18, 334})  # Atlas' error, Unauthorized, AuthenticationFailed, MechanismUnavailable
TOO_MANY = f"collection {COLLECTION}: more than {{}} documents where fewer were expected"
LONGEST = 300  # characters of a driver's complaint
_INNER_STATE = (", full error", ", Timeout:", " (configured timeouts")


def explain(error: BaseException) -> OperatorError:
    """Give what an operator is told in place of what a driver raises."""
    text = shorten(str(error)) or type(error).__name__
    if isinstance(error, pymongo.errors.OperationFailure) and error.code in NOT_ALLOWED:
        return Refused(text)
    return OperatorError(text)


def shorten(text: str) -> str:
    """Keep to one line, and to what a person reads of it."""
    text = " ".join(text.split()).removeprefix("TxMongo: ")
    for end in _INNER_STATE:
        text = text.partition(end)[0]
    return text[:LONGEST]
