"""Users in MongoDB, as hpfeeds-broker keeps them: the collection ``auth_key``, asked for each login.

A question goes by txmongo, which needs no thread, or by pymongo, where the URI or the server asks for what txmongo
cannot do.

A password that the database refuses is an error at the start, if the database can be reached then.  If it cannot, the
broker starts all the same: the log says so, and logins are told to try again.
"""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.checkers import registry_rights
from brokerkit.checkers.mongo_uri import COLLECTION, MISSING, Refused
from brokerkit.checkers.polled import ROOM, Polled, read_row
from brokerkit.errors import ConfigError, OperatorError, Words
from brokerkit.grants import PUBLISH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.checkers.known import Known
    from brokerkit.checkers.mongo_uri import Place
    from brokerkit.grants import Rule

log = Logger()

FIELDS = dict.fromkeys(("identifier", "owner", "secret", "publish", "subscribe", *registry_rights.FIELDS), 1)
AT_THE_START = 3.0  # seconds that the start waits for a database
MOST = 20_000  # documents that one question about some names may bring
MOST_NAMES = 500_000  # documents whose names are listed


class Way(Protocol):
    """A way to ask MongoDB."""

    def find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> Deferred[list[dict[str, Any]]]:
        """Give the documents, the lowest ``_id`` first; fails with ``OperatorError``."""

    def stop(self) -> None:
        """Hang up, without waiting."""


class MongoUsers(Polled, Service):
    """Knows the users in one database; a service, because it has a connection to end."""

    def __init__(
        self,
        place: Place,
        reactor: Any,  # noqa: ANN401  any reactor
        *,
        ways: Callable[[bool], Way] | None = None,
        try_now: Callable[[Place, float], None] | None = None,
    ) -> None:
        """Ask at that place; nothing is dialled yet.

        Tests give ``ways`` (called with whether it is to be txmongo) and ``try_now`` (see ``mongo_pymongo.try_now``).
        Raises ``OperatorError`` if a package is missing.
        """
        if not (find_spec("txmongo") and find_spec("pymongo")):
            raise OperatorError(MISSING)
        super().__init__(reactor)
        self.source = place.name
        self.prefix = place.prefix
        self._place = place
        self._reactor = reactor
        self._ways = ways or self._make_way
        self._try_now = try_now
        self._by_txmongo = place.by_txmongo
        self._way: Way | None = None
        self._documents: OrderedDict[bytes, str] = OrderedDict()  # name → which document it was found in
        self._remarks: OrderedDict[str, None] = OrderedDict()

    def startService(self) -> None:
        """Try it, waiting for the answer; raise ``OperatorError`` if the database is there and refuses the broker."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            (self._try_now or _try_now)(self._place, AT_THE_START)
        except Refused as error:
            raise OperatorError(f"{self.source}: {error}") from None
        except OperatorError as error:
            text = "{source}: cannot be asked yet; until it can be, logins are told to try again: {error}"
            log.error(text, source=self.source, error=error)

    def stopService(self) -> None:
        """Hang up; a thread that is stuck is not waited for."""
        super().stopService()  # type: ignore[no-untyped-call]
        way, self._way = self._way, None
        if way is not None:
            way.stop()

    def fetch(self, names: list[bytes]) -> Deferred[Mapping[bytes, Known | ConfigError]]:
        """Ask for the documents of those names."""
        return Deferred.fromCoroutine(self._fetch(names))

    def names(self) -> Deferred[list[bytes]]:
        """Ask for all names."""
        return Deferred.fromCoroutine(self._names())

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give collection and document, and the field of a rule; the document is known once the name was asked for."""
        place = f"collection {COLLECTION}"
        if name in self._documents:
            place = f"{place}, document {self._documents[name]}"
        if rule is None:
            return place
        if listed := registry_rights.field(action):
            return f"{place}, field {listed}"
        return f"{place}, field {'publish' if action == PUBLISH else 'subscribe'}"

    async def _fetch(self, names: list[bytes]) -> dict[bytes, Known | ConfigError]:
        if not names:
            return {}
        query = {"identifier": {"$in": [name.decode() for name in names]}}
        return self._read(await self._find(query, FIELDS, MOST), names)

    async def _names(self) -> list[bytes]:
        documents = await self._find({}, {"identifier": 1}, MOST_NAMES)
        texts = {one["identifier"] for one in documents if isinstance(one.get("identifier"), str)}
        return sorted(text.encode(errors="surrogateescape") for text in texts)

    async def _find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> list[dict[str, Any]]:
        if self._way is None:
            self._way = self._ways(self._by_txmongo)
        way = self._way
        if not self._by_txmongo:
            return await way.find(query, fields, most)
        from brokerkit.checkers.mongo_txmongo import Unsuited

        try:
            return await way.find(query, fields, most)
        except Unsuited as reason:
            if self._way is way:  # the first to be told
                self._by_txmongo, self._way = False, None
                log.info("{source}: asked by pymongo from now on: {reason}", source=self.source, reason=reason)
                way.stop()
        return await self._find(query, fields, most)

    def _make_way(self, by_txmongo: bool) -> Way:
        if by_txmongo:
            from brokerkit.checkers.mongo_txmongo import ByTxmongo

            return ByTxmongo(self._place, self._reactor)
        from brokerkit.checkers.mongo_pymongo import ByPymongo

        return ByPymongo(self._place, self._reactor)

    def _read(self, documents: Iterable[dict[str, Any]], names: Iterable[bytes]) -> dict[bytes, Known | ConfigError]:
        found: dict[bytes, Known | ConfigError] = {}
        wanted = set(names)
        for document in documents:
            which = _which(document)
            identifier = document.get("identifier")
            if not isinstance(identifier, str):
                self._say_once(f"document {which}: identifier: found {_kind(identifier)}, expected a string")
                continue
            name = identifier.encode(errors="surrogateescape")
            if name in found:
                self._say_once(f"document {which}: a second {identifier!r}, which is left aside")
            elif name in wanted:
                found[name] = self._known(name, document, which)
        return found

    def _known(self, name: bytes, document: dict[str, Any], which: str) -> Known | ConfigError:
        _remember(self._documents, name, which)
        where = f"{self.source}: collection {COLLECTION}, document {which}"
        for key in ("owner", "secret", "publish", "subscribe", *registry_rights.FIELDS):
            if not _is_text(document.get(key)):
                return ConfigError(where, key, Words("other bytes"), "UTF-8")
        row = {**document, "owner": document.get("owner") or name.decode()}
        return read_row(self.source, where, name, row, publish="publish", subscribe="subscribe", prefix=self.prefix)

    def _say_once(self, text: str) -> None:
        if text not in self._remarks:
            _remember(self._remarks, text, None)
            log.warn("{source}: collection {collection}, {text}", source=self.source, collection=COLLECTION, text=text)


def _try_now(place: Place, seconds: float) -> None:
    from brokerkit.checkers.mongo_pymongo import try_now

    try_now(place, seconds)


def _remember(table: OrderedDict[Any, Any], key: object, value: object) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > ROOM:
        table.popitem(last=False)


def _which(document: dict[str, Any]) -> str:
    """Name a document; an ``_id`` can be anything."""
    text = str(document.get("_id"))
    return text if text.isprintable() and len(text) <= 64 else ascii(text)[:64]  # noqa: PLR2004  enough for a line


def _is_text(value: Any) -> bool:  # noqa: ANN401  whatever the database has
    """Say whether the strings in it were UTF-8; other values are looked at elsewhere."""
    texts = value if isinstance(value, list) else [value]
    return not any(isinstance(text, str) and not _is_utf8(text) for text in texts)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
