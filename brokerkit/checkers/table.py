"""What all sources in SQL tables share: rows in, users out, whatever the database is.

Names are compared here once more, byte by byte: a column may well have a collation that takes ``Ann`` for ``ann``, and
``ann`` with a space behind it for ``ann``.  Of two rows with one name the one with the lower id counts, always.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from brokerkit.checkers import registry_rights
from brokerkit.checkers.polled import ROOM, Polled, read_row
from brokerkit.checkers.threads import Threads
from brokerkit.grants import PUBLISH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brokerkit.checkers.known import Known
    from brokerkit.errors import ConfigError
    from brokerkit.grants import Rule

log = Logger()


@attrs.frozen
class Layout:
    """How a table and its columns are called; an ``owner`` that is empty is no column, and the name is the owner."""

    table: str
    name: str
    publish: str
    subscribe: str
    owner: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are needed, in the order in which rows have them."""
        return ("id", self.name, "secret", self.publish, self.subscribe, *([self.owner] if self.owner else []))

    @property
    def row(self) -> tuple[str, ...]:
        """What a row has: those columns, and those of the registry, of which one that is not there is NULL."""
        return (*self.columns, *registry_rights.FIELDS)


AUTHKEYS = Layout("authkeys", "ident", "pubchans", "subchans", "owner")
AUTH_KEYS = Layout("auth_keys", "identifier", "publish", "subscribe")


class Table(Polled, Service):
    """A table of users; a subclass gives the rows.  It is a service, because its threads have to end."""

    def __init__(self, reactor: Any, source: str, layout: Layout, prefix: bytes, threads: Threads | None) -> None:  # noqa: ANN401
        """Take what the source is called, and a topic that all its names lie under; nothing is asked yet."""
        super().__init__(reactor)
        self.source = source
        self._layout = layout
        self.prefix = prefix
        self._threads = Threads(reactor) if threads is None else threads
        self._ids: OrderedDict[bytes, object] = OrderedDict()
        self._twice: OrderedDict[bytes, None] = OrderedDict()

    def select(self, names: Sequence[str]) -> Iterable[Sequence[Any]]:
        """Give the rows that may be of those names, the lowest id first; called in a thread.

        Raises ``OperatorError`` if that cannot be said now.
        """
        raise NotImplementedError

    def fetch(self, names: list[bytes]) -> Deferred[Mapping[bytes, Known | ConfigError]]:
        """Ask for the users of those names, all at once."""
        if not names:
            return succeed({})
        asking = self._threads.call(lambda: self.select([name.decode() for name in names]))
        return asking.addCallback(self._records, frozenset(names))

    def select_names(self) -> Iterable[object]:
        """Give the names in all rows; called in a thread, and raises as ``select`` does."""
        raise NotImplementedError

    def names(self) -> Deferred[list[bytes]]:
        """Give all names, in order."""
        asking = self._threads.call(self.select_names)
        return asking.addCallback(lambda found: sorted({_octets(name) for name in found if name is not None}))

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give table and row, and the column of a rule; the row is known once the name has been asked for."""
        place = self._row(self._ids[name]) if name in self._ids else f"table {self._layout.table}"
        if rule is None:
            return place
        if listed := registry_rights.field(action):
            return f"{place}, column {listed}"
        return f"{place}, column {self._layout.publish if action == PUBLISH else self._layout.subscribe}"

    def startService(self) -> None:
        """Take questions."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()

    def stopService(self) -> Deferred[None] | None:
        """Take no more questions; a thread that is stuck is not waited for."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._threads.stop()
        return None

    def _row(self, number: object) -> str:
        return f"table {self._layout.table}, row id {number}"

    def _records(self, rows: Iterable[Sequence[Any]], names: frozenset[bytes]) -> dict[bytes, Known | ConfigError]:
        found: dict[bytes, Known | ConfigError] = {}
        for values in rows:
            row = dict(zip(self._layout.row, values, strict=True))
            name = _octets(row[self._layout.name])
            if name in found:
                self._say_twice(name, row["id"])
            elif name in names:
                _keep(self._ids, name, row["id"])
                found[name] = self._record(name, row)
        return found

    def _record(self, name: bytes, row: Mapping[str, Any]) -> Known | ConfigError:
        row = {**row, "owner": row[self._layout.owner] if self._layout.owner else name.decode()}
        where = f"{self.source}: {self._row(row['id'])}"
        layout = self._layout
        return read_row(
            self.source, where, name, row, publish=layout.publish, subscribe=layout.subscribe, prefix=self.prefix
        )

    def _say_twice(self, name: bytes, number: object) -> None:
        if name not in self._twice:
            _keep(self._twice, name, None)
            text = "{source}: {name} stands twice: {first} counts, row id {number} does not"
            first = self._row(self._ids[name])
            log.warn(text, source=self.source, name=repr(name.decode()), first=first, number=number)


def _octets(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value if isinstance(value, bytes) else b""


def _keep(where: OrderedDict[bytes, Any], name: bytes, value: object) -> None:
    """Remember something of the names that were asked for last."""
    where[name] = value
    where.move_to_end(name)
    if len(where) > ROOM:
        where.popitem(last=False)
