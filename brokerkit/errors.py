"""Errors that are data: who is at fault, what the wire answers, whether the connection ends.

There are two branches.  A ``ClientError`` is a peer's doing: it is answered in the peer's own protocol, counted under
its ``kind`` and never shown as a traceback.  An ``OperatorError`` is in the configuration or on the machine: its text
is written for the person who starts the broker and says what to change.  Anything else that escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar

from twisted.cred.error import UnauthorizedLogin


class BrokerError(Exception):
    """The root of everything that brokerkit raises on purpose."""


class ClientError(BrokerError):
    """A peer broke a rule.

    ``reply`` is what the protocol answers, in its own words without framing; ``None`` where it prescribes silence.
    ``fatal`` says whether the connection ends.  ``kind`` is the word that the error is counted under: one of a fixed
    few, never anything a peer chose.  ``why`` is what the log says, where the reply says less than the operator needs.
    """

    kind: ClassVar[str] = "client"
    fatal: bool = True
    why: str = ""

    def __init__(self, reply: str | None, *, fatal: bool = True) -> None:
        """Take the answer and whether the connection ends."""
        super().__init__(reply or "")
        self.reply = reply
        self.fatal = fatal


class ProtocolViolation(ClientError):
    """What came in is not the protocol."""

    kind = "protocol"


class TooLarge(ClientError):
    """A frame, a line or a payload is over its limit."""

    kind = "too-large"


class OverAllowance(TooLarge):
    """A payload is larger than this user's may be; ``passed`` is the number of messages before it that were let in."""

    passed = 0


class NotAllowed(ClientError):
    """The user lacks the grant."""

    kind = "not-allowed"


class TooSlow(ClientError):
    """A frame was begun and does not get on."""

    kind = "too-slow"


class LoginFailed(ClientError):
    """The credentials were not accepted, or none came in time."""

    kind = "login"


class UnknownUser(UnauthorizedLogin):
    """One source of users does not know the name: the next one is asked.

    ``why`` is for the log, where there is more to say.
    """

    def __init__(self, *arguments: object, why: str = "") -> None:
        """Take what ``UnauthorizedLogin`` takes."""
        super().__init__(*arguments)
        self.why = why


class WrongSecret(UnauthorizedLogin):
    """One source knows the user, and the secret is wrong: no other source is asked.

    ``checked`` says that a password hash was checked, which takes its time.  ``why`` is for the log.
    """

    def __init__(self, *arguments: object, checked: bool = False, why: str = "") -> None:
        """Take what ``UnauthorizedLogin`` takes."""
        super().__init__(*arguments)
        self.checked = checked
        self.why = why


class Expired(UnauthorizedLogin):
    """The user is known, but was valid until a moment that has passed."""


class NotHere(UnauthorizedLogin):
    """The user is known, but may not come in here, or not now; ``why`` is for the log."""

    def __init__(self, name: bytes, why: str) -> None:
        """Take the name of the user, and the reason."""
        super().__init__(name)
        self.why = why


class TooManyConnections(UnauthorizedLogin):
    """The user has as many connections as it may have."""


class TenantFull(TooManyConnections):
    """The user's tenant has as many connections as it may have."""


class TryAgain(UnauthorizedLogin):
    """Nothing is said about the credentials: it could not be found out now, and may be in a while.

    ``why`` is what the log says of it.
    """

    why: ClassVar[str] = "users cannot be looked up now"


class SourceFailed(TryAgain):
    """A source of users could not be asked, so it is not known whose name this is."""


class Throttled(TryAgain):
    """Too many logins have failed here lately."""

    why = "not tried, since too many have failed from there lately"


class TooBusy(TryAgain):
    """More logins are being decided already than there is room for."""

    why = "not tried, since too many are being decided already"


class OperatorError(BrokerError):
    """The configuration or the machine is at fault; the message says what to change."""


class ConfigError(OperatorError):
    """A value in a file or a flag is not usable.

    The message names the source, the key, what was found and what was expected.
    """

    def __init__(self, where: str, key: str, found: object, expected: str, hint: str = "") -> None:
        """Build the one line that the operator reads."""
        text = f"{where}: {key}: found {found!r}, expected {expected}"
        super().__init__(f"{text} ({hint})" if hint else text)
        self.where = where
        self.key = key
        self.found = found
        self.expected = expected
        self.hint = hint


class Words(str):
    """What was found, in words, for a ``ConfigError``: it is shown without quotes.

    It stands where there is no value to show, or the value might be a secret that has slipped.
    """

    __slots__ = ()
    __repr__ = str.__str__
