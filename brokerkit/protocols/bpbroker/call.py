"""What passes between the API and whatever runs extensions: a call, its outcome, and how it can fail.

Whoever runs them implements ``Extensions``; the API knows nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred


EXECUTE = "bpbroker.execute"  # the action; its topics are PACKAGE.METHOD
ACTIONS = {EXECUTE: "Call a method of an extension: PACKAGE.METHOD."}


@attrs.frozen
class Call:
    """One call of ``method`` in the module ``package``.

    ``qs`` are the parameters, without the access key; ``address`` is the caller's; ``command``, ``path`` (without the
    query) and ``headers`` are those of the request, without what the caller logs in with.
    """

    package: str
    method: str
    qs: Mapping[str, str] = attrs.field(repr=False)
    address: str
    command: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Outcome:
    """What the method has set: of a status other than 200, the caller sees ``status_message``."""

    status: int = 200
    status_message: str = ""
    content_type: str = "application/json"
    data: bytes = attrs.field(default=b"", repr=False)


class UnknownMethod(BrokerError):
    """There is no such module or method, or it is not to be called from outside."""


class TooLong(BrokerError):
    """The method did not return within its time."""


class NoPlace(BrokerError):
    """Too many calls wait already."""


class ExtensionFailed(BrokerError):
    """The method raised something, or its process ended; it is in the log."""


class Extensions(Protocol):
    """What runs extensions; a service too, if it has to be started and stopped."""

    def has(self, package: str) -> bool:
        """Say whether the configuration names that module."""

    def call(self, call: Call) -> Deferred[Outcome]:
        """Do it; fails with ``UnknownMethod``, ``TooLong``, ``NoPlace`` or ``ExtensionFailed``."""
