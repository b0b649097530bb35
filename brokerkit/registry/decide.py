"""What a write does, decided in memory against what is there: nothing here touches a disk, a clock or a reactor.

A ``Draft`` collects the writes that will be one commit.  Each of them is all or nothing by itself: one that cannot be
done leaves no trace, and those before and behind it stand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.registry import merge
from brokerkit.registry.words import (
    DELETE,
    EXPIRE,
    PUT,
    Change,
    Check,
    Conflict,
    Delete,
    Entry,
    Expire,
    Merge,
    NoRoom,
    Put,
    Release,
    Renew,
    Unusable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from brokerkit.registry.words import Data, Operation

DEEPEST = 64  # objects and lists within each other


@attrs.frozen
class Limits:
    """How large a registry may grow; bytes are those of names and of data as JSON.

    ``history`` is a number of changes, ``history_age`` is in seconds, ``waiting`` a number of writes.
    """

    name: int = 1024  # bytes of UTF-8
    value: int = 1024 * 1024  # bytes
    entries: int = 1_000_000
    total: int = 512 * 1024 * 1024  # bytes
    operations: int = 256  # of one write
    waiting: int = 10_000
    history: int = 10_000
    history_bytes: int = 16 * 1024 * 1024
    history_age: float = 7 * 86400.0
    longest: float = 366 * 86400.0  # seconds that a lease may last


class State:
    """What is committed: the entries, how large they are, whose they are, and the last revision."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.entries: dict[str, Entry] = {}
        self.sizes: dict[str, int] = {}
        self.total = 0
        self.owned: dict[str, set[str]] = {}
        self.revision = 0

    def put(self, entry: Entry, size: int) -> None:
        """Take a new entry, or one in the place of another."""
        self.remove(entry.name)
        self.entries[entry.name] = entry
        self.sizes[entry.name] = size
        self.total += size
        if entry.owner:
            self.owned.setdefault(entry.owner, set()).add(entry.name)

    def remove(self, name: str) -> None:
        """Forget an entry, if it is there."""
        entry = self.entries.pop(name, None)
        if entry is None:
            return
        self.total -= self.sizes.pop(name)
        if entry.owner:
            names = self.owned[entry.owner]
            names.discard(name)
            if not names:
                del self.owned[entry.owner]


@attrs.define
class Draft:
    """What one commit will do: ``entries`` as they will be (``None``: gone), and every change on the way.

    ``texts`` is the data, as JSON, of those that were written; of an entry without, only the time is another.
    """

    state: State
    limits: Limits
    now: float
    entries: dict[str, Entry | None] = attrs.field(factory=dict)
    texts: dict[str, str] = attrs.field(factory=dict)
    changes: list[tuple[Change, str]] = attrs.field(factory=list)  # with the data as JSON
    grown: int = 0  # bytes
    more: int = 0  # entries
    written: int = 0  # bytes of data

    @property
    def revision(self) -> int:
        """The revision of the last change."""
        return self.state.revision + len(self.changes)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.entries

    def write(self, operations: Sequence[Operation], by: str, ip: str) -> list[Entry | None]:
        """Do all the operations, or raise what is in the way of one, with nothing done."""
        attempt = _Attempt(self, by, ip)
        results = [attempt.do(operation) for operation in operations]
        attempt.see_that_it_fits()
        attempt.keep()
        return results


class _Attempt:
    """One write on top of a draft, thrown away if it cannot be done."""

    def __init__(self, draft: Draft, by: str, ip: str) -> None:
        self._draft = draft
        self._by = by
        self._ip = ip
        self._entries: dict[str, Entry | None] = {}
        self._texts: dict[str, str] = {}
        self._changes: list[tuple[Change, str]] = []
        self._grown = 0
        self._more = 0

    def keep(self) -> None:
        """Make it part of the draft."""
        draft = self._draft
        draft.entries.update(self._entries)
        draft.texts.update(self._texts)
        draft.changes += self._changes
        draft.written += sum(len(text) for _, text in self._changes)
        draft.grown += self._grown
        draft.more += self._more

    def see_that_it_fits(self) -> None:
        draft = self._draft
        limits, state = draft.limits, draft.state
        if self._grown > 0 and state.total + draft.grown + self._grown > limits.total:
            raise NoRoom(f"the registry holds {state.total} bytes, and may hold {limits.total}")
        if self._more > 0 and len(state.entries) + draft.more + self._more > limits.entries:
            raise NoRoom(f"the registry holds {len(state.entries)} entries, and may hold {limits.entries}")

    def do(self, operation: Operation) -> Entry | None:
        return _DOING[type(operation)](self, operation)

    # -- what is there ------------------------------------------------------------------------------------------------

    def _there(self, name: str) -> Entry | None:
        """Give the entry as it is by now; one whose time has passed goes first."""
        entry = self._last(name)
        if entry is not None and entry.is_over(self._draft.now):
            self._remove(entry, EXPIRE, "", "")
            return None
        return entry

    def _last(self, name: str) -> Entry | None:
        for entries in (self._entries, self._draft.entries):
            if name in entries:
                return entries[name]
        return self._draft.state.entries.get(name)

    def _text(self, name: str) -> str | None:
        return self._texts.get(name) or self._draft.texts.get(name)

    def _size(self, name: str) -> int:
        """Give the bytes of an entry that is there."""
        text = self._text(name)
        return self._draft.state.sizes[name] if text is None else len(name.encode()) + len(text)

    # -- what is done -------------------------------------------------------------------------------------------------

    def put(self, operation: Put) -> Entry:
        entry = self._there(operation.name)
        if (operation.if_absent and entry is not None) or (operation.if_there and entry is None):
            raise Conflict(operation.name, entry)
        self._require(operation.name, entry, operation.if_revision)
        ttl, owner, written = operation.ttl, operation.owner or "", operation.written
        return self._store(operation.name, operation.data, entry, ttl, owner, written=written)

    def merge(self, operation: Merge) -> Entry:
        entry = self._there(operation.name)
        self._require(operation.name, entry, operation.if_revision)
        if entry is None and operation.if_there:
            raise Conflict(operation.name, None)
        how = merge.deep if operation.deep else merge.shallow
        try:
            data = how(entry.data if entry is not None else {}, operation.data)
        except RecursionError:
            raise Unusable("the data is nested too deeply") from None
        owner = operation.owner if operation.owner is not None else (entry.owner if entry is not None else "")
        if entry is None or operation.ttl is not None:
            return self._store(operation.name, data, entry, operation.ttl, owner)
        return self._store(operation.name, data, entry, entry.ttl, owner, entry.expires)

    def delete(self, operation: Delete) -> None:
        entry = self._there(operation.name)
        self._require(operation.name, entry, operation.if_revision)
        if operation.if_there and entry is None:
            raise Conflict(operation.name, None)
        if entry is not None:
            self._remove(entry, DELETE, self._by, self._ip)

    def check(self, operation: Check) -> Entry | None:
        entry = self._there(operation.name)
        self._require(operation.name, entry, operation.revision)
        return entry

    def renew(self, operation: Renew) -> Entry:
        entry = self._there(operation.name)
        if entry is None:
            raise Conflict(operation.name, None)
        self._require(operation.name, entry, operation.if_revision)
        ttl = entry.ttl if operation.ttl is None else operation.ttl
        if ttl is None:
            return entry
        entry = attrs.evolve(entry, ttl=ttl, expires=self._ending(ttl))
        self._entries[entry.name] = entry
        return entry

    def release(self, operation: Release) -> None:
        names = set(self._draft.state.owned.get(operation.owner, ()))
        names.update(name for entries in (self._draft.entries, self._entries) for name in entries)
        for name in sorted(names):
            entry = self._last(name)
            if entry is not None and entry.owner == operation.owner:
                self._remove(entry, EXPIRE, "", "")

    def expire(self, operation: Expire) -> None:
        self._there(operation.name)

    # -- and how ------------------------------------------------------------------------------------------------------

    def _require(self, name: str, entry: Entry | None, revision: int | None) -> None:
        if revision is not None and revision != (entry.revision if entry is not None else 0):
            raise Conflict(name, entry)

    def _ending(self, ttl: float | None) -> float | None:
        if ttl is None:
            return None
        if not 0 < ttl <= self._draft.limits.longest:
            raise Unusable(f"a ttl has to be over 0 and at most {self._draft.limits.longest:.0f} seconds")
        return self._draft.now + ttl

    def _store(
        self,
        name: str,
        data: Data,
        former: Entry | None,
        ttl: float | None,
        owner: str,
        expires: float | None = None,
        written: tuple[str, int] | None = None,
    ) -> Entry:
        limits = self._draft.limits
        check_name(name, limits.name)
        text = write_data(data, limits.value)
        revision = self._draft.revision + len(self._changes) + 1
        ip, ts = written or (self._ip, int(self._draft.now))
        entry = Entry(
            name,
            data,
            revision,
            revision if former is None else former.created,
            1 if former is None else former.version + 1,
            ip,
            ts,
            self._by,
            ttl,
            self._ending(ttl) if expires is None else expires,
            owner,
        )
        self._grown += len(name.encode()) + len(text) - (self._size(name) if former is not None else 0)
        self._more += former is None
        self._entries[name] = entry
        self._texts[name] = text
        self._changes.append((Change(revision, PUT, name, entry, int(self._draft.now), self._by, ip), text))
        return entry

    def _remove(self, entry: Entry, operation: str, by: str, ip: str) -> None:
        name = entry.name
        text = self._text(name)
        revision = self._draft.revision + len(self._changes) + 1
        change = Change(revision, operation, name, entry, int(self._draft.now), by, ip)
        self._grown -= self._size(name)
        self._more -= 1
        self._entries[name] = None
        self._changes.append((change, write_data(entry.data) if text is None else text))


_DOING: Mapping[type, Callable[[_Attempt, Any], Entry | None]] = {
    Put: _Attempt.put,
    Merge: _Attempt.merge,
    Delete: _Attempt.delete,
    Check: _Attempt.check,
    Renew: _Attempt.renew,
    Release: _Attempt.release,
    Expire: _Attempt.expire,
}


def check_name(name: str, most: int) -> None:
    """Raise ``Unusable`` for a name that cannot be kept."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise Unusable("a name has to be Unicode") from None
    if not name:
        raise Unusable("a name may not be empty")
    if length > most:
        raise Unusable(f"a name may have {most} bytes, this one has {length}")
    if "\0" in name:
        raise Unusable("a name may not hold a NUL")


def write_data(data: Data, most: int = 0) -> str:
    """Give data as JSON in ASCII; raise ``Unusable`` if it is no object, not JSON, too deep or too large."""
    if not isinstance(data, dict):
        raise Unusable("data has to be a JSON object")
    if most and _is_deeper(data, DEEPEST):
        raise Unusable(f"data may be nested {DEEPEST} deep")
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(f"data has to be JSON: {str(error)[:200]}") from None
    if most and len(text) > most:
        raise Unusable(f"data may have {most} bytes as JSON, this has {len(text)}")
    return text


def _is_deeper(value: object, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        level = [
            below
            for one in level
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, dict | list)
        ]
        if not level:
            return False
    return True
