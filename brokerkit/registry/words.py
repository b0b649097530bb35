"""The words of the registry: an entry, what can be asked of it, what has changed, and what can go wrong.

Names are ``str``, data is a JSON object.  An entry is never changed in place, neither is its data: whoever wants other
data asks for a write.  Names that begin with ``_`` are the broker's own: they are kept like all others, and shown to
nobody who does not ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Data = Mapping[str, Any]

PUT, DELETE, EXPIRE = "put", "delete", "expire"
HIDDEN = "_"  # what names begin with that are the broker's own


@attrs.frozen
class Entry:
    """One record.

    ``revision`` is that of its last write and ``created`` that of its first; ``version`` counts its writes.  ``ip`` and
    ``by`` are the address and the name of who wrote last, ``ts`` is when, in whole seconds since 1970.  ``ttl`` is in
    seconds, and ``expires`` the moment in seconds since 1970 from which it is not there any more; both are ``None`` for
    one that stays.  ``owner`` is the connection that it is bound to, empty for none.
    """

    name: str
    data: Data
    revision: int
    created: int
    version: int = 1
    ip: str = ""
    ts: int = 0
    by: str = ""
    ttl: float | None = None
    expires: float | None = None
    owner: str = ""

    def is_over(self, now: float) -> bool:
        """Say whether its time has passed."""
        return self.expires is not None and self.expires <= now


@attrs.frozen
class Change:
    """What has happened to one name: ``operation`` is put, delete or expire.

    ``entry`` is the new one of a put; for the others the last one that there was.
    """

    revision: int
    operation: str
    name: str
    entry: Entry
    ts: int = 0
    by: str = ""
    ip: str = ""


# -- what can be asked of it ------------------------------------------------------------------------------------------


@attrs.frozen
class Put:
    """Create or replace an entry.

    ``if_revision`` is the revision that it has to have, 0: it must not be there; ``if_absent`` says the latter, too,
    and ``if_there`` the opposite.  ``ttl`` is in seconds; ``None``: it stays.  ``written`` are the address and the
    moment of an entry that was written elsewhere, and is taken over.
    """

    name: str
    data: Data
    if_revision: int | None = None
    if_absent: bool = False
    ttl: float | None = None
    owner: str | None = None
    if_there: bool = False
    written: tuple[str, int] | None = None


@attrs.frozen
class Merge:
    """Put members of ``data`` over those of an entry, or create it.

    Shallow as the original's update is, or, with ``deep``, as RFC 7396 has it: objects are merged member by member, and
    ``null`` takes a member away.  Without ``ttl`` and ``owner`` the entry keeps those that it has, and its lease is not
    renewed.  ``if_there`` refuses to create it.
    """

    name: str
    data: Data
    deep: bool = False
    if_revision: int | None = None
    ttl: float | None = None
    owner: str | None = None
    if_there: bool = False


@attrs.frozen
class Delete:
    """Take an entry away; one that is not there is no error, unless ``if_there`` or ``if_revision`` says so."""

    name: str
    if_revision: int | None = None
    if_there: bool = False


@attrs.frozen
class Check:
    """See that an entry has this revision, 0: that there is none."""

    name: str
    revision: int


@attrs.frozen
class Renew:
    """Begin the time of an entry with a ``ttl`` anew, or with another ``ttl``.

    This is no change: neither the revision grows, nor is anybody told.  ``Conflict`` if there is no such entry.
    """

    name: str
    ttl: float | None = None
    if_revision: int | None = None


@attrs.frozen
class Release:
    """Take away all that is bound to ``owner``, as expired; what is there of it when the turn comes."""

    owner: str


@attrs.frozen
class Expire:
    """Take an entry away if its time has passed; the registry asks this of itself."""

    name: str


Operation = Put | Merge | Delete | Check | Renew | Release | Expire


# -- what can go wrong ------------------------------------------------------------------------------------------------


class RegistryError(BrokerError):
    """A write was not done, and nothing of it."""


class Conflict(RegistryError):
    """A condition does not hold; ``entry`` is the one that there is, ``None`` if there is none."""

    def __init__(self, name: str, entry: Entry | None) -> None:
        """Take the name, and what is there."""
        there = f"has revision {entry.revision}" if entry is not None else "is not there"
        super().__init__(f"the entry {name!r} {there}")
        self.name = name
        self.entry = entry


class NoRoom(RegistryError):
    """The disk is full, or the registry as large as it may be; it can be read, and written to when there is room."""


class Unusable(RegistryError):
    """What was asked for can never be kept: the name or the data is not usable; the text says why."""


class Unwritable(RegistryError):
    """The disk reports an error, too much waits already, or the registry is closed: it may work later."""


class Compacted(RegistryError):
    """What happened since a revision is not known any more; ``oldest`` is the first revision that can be asked for."""

    def __init__(self, oldest: int) -> None:
        """Take the oldest revision after which all is known."""
        super().__init__(f"what happened before revision {oldest} is not known any more")
        self.oldest = oldest
